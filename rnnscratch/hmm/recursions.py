"""The recursions of hidden Markov models, each written once for all kinds of observations (report 2.2.7, Eqs 51-57).

N states, S sequences, M frames (observations) in all; z_t is the hidden state and x_t the observation at time t.

    log_b     (N, M)  log p(x_t | z_t = j), the emissions of every frame (Eq. 56)
    start     (N,)    p(z_1 = j)
    transmat  (N, N)  p(z_{t+1} = j | z_t = i) in row i and column j (Eqs 53, 54)

States come first and frames last. The sequences are sorted by decreasing length, so the frames of step t are
neighbouring columns, one for each sequence that still runs: one step of a recursion is one small matrix product for
all sequences, and no work is spent on those that have ended. `Frames` (frames.py) says which column is which.

The five recursions are `forward` (the filter), `backward`, `posteriors` (with the pair posteriors), `viterbi` and
`sample_paths`. They work on probabilities, each frame scaled to sum to 1; `inference.py` keeps the scales as logarithms
and repeats in log space the rare sequence for which that is not enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from .frames import Frames


def forward(b: Array, start: Array, transmat: Array, frames: Frames) -> tuple[Array, Array]:
    """The filter: p(z_t | x_1 .. x_t) as alpha (N, M), and the scales p(x_t | x_1 .. x_{t-1}) (M,).

    b (N, M) holds the emissions, each column up to a factor, which its scale then lacks; start (N,), or (N, S) with a
    distribution for each sequence, in sorted order. The product of a sequence's scales is its likelihood p(x_1 .. x_T),
    the sum of Eq. 57 over all paths. Works on complex numbers too. A column whose scale is 0 comes out as NaN.
    """
    xp = get_array_module(b, start, transmat)
    dtype = xp.result_type(b, start, transmat)
    alpha, scale = xp.empty(b.shape, dtype), xp.empty(b.shape[1], dtype)
    onward = transmat.T
    with np.errstate(all="ignore"):
        for now, before in frames.steps():
            if now.start == 0:
                predicted = start if start.ndim == 2 else start[:, None]
            else:
                predicted = onward @ alpha[:, before]  # p(z_t | x_1 .. x_{t-1}): Eq. 49 on the filtered state
            joint = xp.multiply(predicted, b[:, now], out=alpha[:, now])
            joint.sum(axis=0, out=scale[now])
            joint /= scale[now]
    return alpha, scale


def backward(b: Array, transmat: Array, scale: Array, frames: Frames, end: Array | None = None) -> tuple[Array, Array]:
    """beta (N, M): p(x_{t+1} .. x_T | z_t) over p(x_{t+1} .. x_T | x_1 .. x_t), and b * beta / scale (N, M).

    `end` (N, S), if given, is beta at each sequence's last frame, in sorted order; it is 1 otherwise.
    """
    xp = get_array_module(b, transmat, scale)
    beta, weighted = xp.ones_like(b), b / scale
    if end is not None:
        beta[:, xp.asarray(frames.ends[frames.rank])] = end
    for now, before in reversed(list(frames.steps())):
        weighted[:, now] *= beta[:, now]
        if now.start:
            xp.matmul(transmat, weighted[:, now], out=beta[:, before])
    return beta, weighted


def posteriors(alpha: Array, beta: Array, weighted: Array, transmat: Array, frames: Frames) -> tuple[Array, Array]:
    """p(z_t | x_1 .. x_T) as gamma (N, M), and the sum over all t of p(z_t = i, z_{t+1} = j | x_1 .. x_T) (N, N)."""
    xp = get_array_module(alpha, beta, weighted, transmat)
    pairs = xp.zeros_like(transmat)
    for before, now in frames.transitions(xp):
        pairs += alpha[:, before] @ weighted[:, now].T
    return alpha * beta, transmat * pairs


def viterbi(log_b: Array, log_start: Array, log_transmat: Array, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """The path with the largest p(z, x) (Eq. 57) of every sequence: the states (M,) by column, and log p(z, x) (S,).

    delta[j, t] is the log probability of the best path that ends in state j at time t, and of the data up to there. Of
    equally good states the first wins. What runs in practice is `chunks.viterbi`, which finds the same.
    """
    xp = get_array_module(log_b, log_start, log_transmat)
    delta, states = log_b.copy(), xp.empty(log_b.shape[1], np.int64)
    for now, before in frames.steps():
        if now.start == 0:
            delta[:, now] += log_start[:, None]
        else:
            delta[:, now] += (delta[:, None, before] + log_transmat[:, :, None]).max(axis=0)  # from, to, sequence
    ends = xp.asarray(frames.ends)
    states[ends] = delta[:, ends].argmax(axis=0)
    for now, before in reversed(list(frames.steps())):
        if now.start:
            states[before] = (delta[:, before] + log_transmat[:, states[now]]).argmax(axis=0)
    return to_cpu(states), to_cpu(delta[:, ends].max(axis=0))


def best_paths(
    log_b: np.ndarray, log_start: np.ndarray, log_transmat: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k paths of one sequence with the largest p(z, x), best first: log p (K,) and states (K, T), K <= k.

    Viterbi with the k best paths into each state instead of one; paths of probability zero are left out.
    """
    N, T = log_b.shape
    score = (log_start + log_b[:, 0])[None]  # (paths, N)
    origin = []
    for t in range(1, T):
        candidates = (score[:, :, None] + log_transmat).reshape(-1, N)  # from path and state, to state
        chosen = np.argsort(-candidates, axis=0, kind="stable")[:k]
        origin.append(chosen)
        score = np.take_along_axis(candidates, chosen, axis=0) + log_b[:, t]
    flat = score.ravel()
    last = np.argsort(-flat, kind="stable")[:k]
    last = last[flat[last] > -np.inf]
    paths = np.empty((len(last), T), np.int64)
    path, paths[:, -1] = np.divmod(last, N)
    for t in range(T - 2, -1, -1):
        path, paths[:, t] = np.divmod(origin[t][path, paths[:, t + 1]], N)
    return flat[last], paths


def sample_paths(alpha: Array, transmat: Array, frames: Frames, uniforms: Array) -> Array:
    """Paths (n, M) by column, drawn from p(z_1 .. z_T | x_1 .. x_T); uniforms (n, M) in [0, 1).

    Backwards: z_T from the filter, then z_t from p(z_t | z_{t+1}, x_1 .. x_t), in proportion to alpha_t times the
    transition to z_{t+1}.
    """
    xp = get_array_module(alpha, transmat, uniforms)
    states = xp.empty(uniforms.shape, np.int64)
    following: Any = None
    for now, _ in reversed(list(frames.steps())):
        weights = xp.repeat(alpha[:, None, now], len(uniforms), axis=1)  # (N, n paths, sequences)
        if following is not None:
            weights[:, :, : following.shape[1]] *= transmat[:, following]
        states[:, now] = following = choose(weights, uniforms[:, now])
    return states


def choose(weights: Array, uniforms: Array) -> Array:
    """For each column the index along the first axis that the uniform number picks, in proportion to the weights.

    Rounding never picks an index of weight zero.
    """
    cumulative = weights.cumsum(axis=0)
    picked = (cumulative <= uniforms * cumulative[-1]).sum(axis=0)
    last = len(weights) - 1 - (weights[::-1] > 0).argmax(axis=0)
    return get_array_module(weights).minimum(picked, last)


def gradient(b: Array, start: Array, transmat: Array, frames: Frames) -> tuple[Array, Array, Array]:
    """The gradient of log p(x), summed over sequences, with respect to log start (N,), log transmat and log b.

    The forward recursion is a recurrent network whose state is alpha; this is its back-propagation through time. That
    the outcome equals the expected counts of Baum-Welch is Fisher's identity.
    """
    xp = get_array_module(b, start, transmat)
    alpha, scale = forward(b, start, transmat, frames)
    dlog_b, dtransmat = xp.empty_like(alpha), xp.zeros_like(transmat)
    dalpha = xp.zeros((len(b), frames.starts[1]), alpha.dtype)
    for now, before in reversed(list(frames.steps())):
        passed = dalpha[:, : now.stop - now.start]
        # alpha = joint / scale with scale = sum(joint), and log scale is added to the likelihood
        djoint = (1.0 + passed - (passed * alpha[:, now]).sum(axis=0)) / scale[now]
        dlog_b[:, now] = djoint * alpha[:, now] * scale[now]
        if now.start:
            dpredicted = djoint * b[:, now]
            dtransmat += alpha[:, before] @ dpredicted.T
            passed[...] = transmat @ dpredicted
    dlog_start = dlog_b[:, : frames.starts[1]].sum(axis=1)  # joint = start * b, so their logarithms share a gradient
    return dlog_start, transmat * dtransmat, dlog_b
