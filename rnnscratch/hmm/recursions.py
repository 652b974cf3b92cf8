"""The recursions of hidden Markov models, each written once for all kinds of observations (report 2.2.7, Eqs 51-57).

N states, S sequences, M frames (observations) in all; z_t is the hidden state and x_t the observation at time t.

    log_b     (N, M)  log p(x_t | z_t = j), the emissions of every frame (Eq. 56)
    start     (N,)    p(z_1 = j)
    transmat  (N, N)  p(z_{t+1} = j | z_t = i) in row i and column j (Eqs 53, 54)

States come first and frames last. The sequences are sorted by decreasing length, so the frames of step t are
neighbouring columns, one for each sequence that still runs: one step of a recursion is one small matrix product for
all sequences, and no work is spent on those that have ended. `Frames` says which column is which.

The five recursions are `forward` (the filter), `backward`, `posteriors` (with the pair posteriors), `viterbi` and
`sample_paths`. They work on probabilities, each frame scaled to sum to 1, with the scales kept as logarithms;
`expectation` runs them, and repeats in log space the rare sequence for which that is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu

SMALLEST = 1e-200  # a scale below this has lost digits of the states that were cut off at 1e-308


class Frames(NamedTuple):
    """Where each frame of S concatenated sequences stands among the columns, step by step.

    A long sequence may be cut into pieces, which run side by side like sequences; see `chunks.py`.
    """

    lengths: np.ndarray  # (S,) frames of each sequence
    rows: np.ndarray  # (M,) the row of the concatenated data that stands in each column
    columns: np.ndarray  # (M,) the column in which each row stands
    starts: list[int]  # the first column of each step, and M
    owner: np.ndarray  # (P,) the sequence of each piece, in order of time
    rank: np.ndarray  # (P,) the piece that stands at each sorted position
    begins: np.ndarray  # (P,) the column of each piece's first frame, in order of time
    ends: np.ndarray  # (P,) the column of each piece's last frame, in order of time
    blocks: list[tuple[slice, slice]]  # columns, and those of the same sequences one step later, in as few as may be
    joined: np.ndarray  # the pieces, in order of time, that go on where the piece before them ends

    def steps(self) -> Iterator[tuple[slice, slice]]:
        """For each step its columns, and those of the same sequences one step before."""
        before = slice(0, 0)
        for first, last in zip(self.starts, self.starts[1:]):
            yield slice(first, last), slice(before.start, before.start + last - first)
            before = slice(first, last)

    @property
    def first_rows(self) -> np.ndarray:
        """(S,) the row of each sequence's first frame in the concatenated data."""
        return np.cumsum(self.lengths) - self.lengths

    def sequence(self, s: int) -> np.ndarray:
        """The columns of sequence s in order of time."""
        first = self.first_rows[s]
        return self.columns[first : first + self.lengths[s]]


def lay_out(lengths: Sequence[int] | np.ndarray, piece: int | None = None) -> Frames:
    """Sort sequences of these lengths (S,), all at least 1; cut into pieces of at most `piece` frames, if given."""
    lengths = np.asarray(lengths, dtype=np.int64)
    counts = np.ones_like(lengths) if piece is None else -(-lengths // piece)
    owner = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    offset = number * (piece or 0)
    sizes = lengths[owner] - offset if piece is None else np.minimum(piece, lengths[owner] - offset)
    first = (np.cumsum(lengths) - lengths)[owner] + offset
    rank = np.argsort(-sizes, kind="stable")
    counts = len(sizes) - np.searchsorted(np.sort(sizes), np.arange(sizes.max()), side="right")
    step = np.repeat(np.arange(len(counts)), counts)
    rows = first[rank[np.arange(len(step)) - (np.cumsum(counts) - counts)[step]]] + step
    running, starts = counts.tolist(), [0, *np.cumsum(counts).tolist()]
    columns = np.empty_like(rows)
    columns[rows] = np.arange(len(rows))
    blocks: list[tuple[slice, slice]] = []
    for t in range(1, len(running)):
        before, now = slice(starts[t - 1], starts[t - 1] + running[t]), slice(starts[t], starts[t + 1])
        if blocks and blocks[-1][0].stop == before.start:  # nothing ended one step ago
            before, now = slice(blocks[-1][0].start, before.stop), slice(blocks[-1][1].start, now.stop)
            blocks.pop()
        blocks.append((before, now))
    joined = np.flatnonzero(owner[1:] == owner[:-1]) + 1
    begins, ends = columns[first], columns[first + sizes - 1]
    return Frames(lengths, rows, columns, starts, owner, rank, begins, ends, blocks, joined)


# 1. forward


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


# 2. backward


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


# 3. posteriors


def posteriors(alpha: Array, beta: Array, weighted: Array, transmat: Array, frames: Frames) -> tuple[Array, Array]:
    """p(z_t | x_1 .. x_T) as gamma (N, M), and the sum over all t of p(z_t = i, z_{t+1} = j | x_1 .. x_T) (N, N)."""
    xp = get_array_module(alpha, beta, weighted, transmat)
    pairs = xp.zeros_like(transmat)
    for before, now in frames.blocks:
        pairs += alpha[:, before] @ weighted[:, now].T
    if len(frames.joined):
        before, now = xp.asarray(frames.ends[frames.joined - 1]), xp.asarray(frames.begins[frames.joined])
        pairs += alpha[:, before] @ weighted[:, now].T
    return alpha * beta, transmat * pairs


# 4. Viterbi


def viterbi(log_b: Array, log_start: Array, log_transmat: Array, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """The path with the largest p(z, x) (Eq. 57) of every sequence: the states (M,) by column, and log p(z, x) (S,).

    Of equally good states the first wins.
    """
    delta = best_scores(log_b, log_start, log_transmat, frames)
    last = delta[:, get_array_module(delta).asarray(frames.ends[frames.rank])]
    states = trace_back(delta, last.argmax(axis=0)[None], log_transmat, frames)
    return to_cpu(states[0]), to_cpu(last.max(axis=0))[np.argsort(frames.rank)]


def best_scores(log_b: Array, log_start: Array, log_transmat: Array, frames: Frames) -> Array:
    """delta (N, M): the log probability of the best path that ends in each state, and of the data up to there.

    log_start (N,), or (N, S) for each sequence, in sorted order.
    """
    xp = get_array_module(log_b, log_start, log_transmat)
    delta = log_b.copy()
    for now, before in frames.steps():
        if now.start == 0:
            delta[:, now] += log_start if log_start.ndim == 2 else log_start[:, None]
            continue
        last = delta[:, before]
        best = last[0] + log_transmat[0][:, None]
        for i in range(1, len(last)):
            xp.maximum(best, last[i] + log_transmat[i][:, None], out=best)
        delta[:, now] += best
    return delta


def trace_back(delta: Array, last: Array, log_transmat: Array, frames: Frames) -> Array:
    """The best paths (E, M) that end in given states: last (E, S), E of them for each sequence, in sorted order."""
    xp = get_array_module(delta, last, log_transmat)
    states = xp.empty((len(last), delta.shape[1]), np.int64)
    states[:, xp.asarray(frames.ends[frames.rank])] = last
    onward = log_transmat.T.copy()
    for now, before in reversed(list(frames.steps())):
        if now.start:
            towards = onward.take(states[:, now], axis=0)  # (E, sequences, N)
            towards += delta[:, before].T
            states[:, before] = towards.argmax(axis=2)
    return states


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


# 5. sampling


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


# together


class Expectation(NamedTuple):
    """What the E-step of Baum-Welch finds."""

    log_likelihood: np.ndarray  # (S,) log p(x) of each sequence; -inf for an impossible one
    filtered: Array  # (N, M) p(z_t | x_1 .. x_t)
    posterior: Array  # (N, M) p(z_t | x_1 .. x_T)
    start: Array  # (N,) the expected number of starts in each state
    pairs: Array  # (N, N) the expected number of each transition
    impossible: list[tuple[int, int]]  # sequence and frame of each observation that no reachable state can emit


def expectation(log_b: Array, start: Array, transmat: Array, frames: Frames) -> Expectation:
    """Forward, backward and posteriors of all sequences, whatever the size of the emissions.

    Every frame's emissions are divided by their largest before they leave the logarithm. Where that is not enough,
    since the likely states cannot be reached, the sequence is done again in log space. An impossible frame makes the
    likelihood 0 and is left out of the posteriors, as if it were missing.
    """
    from .chunks import entering, leaving

    xp = get_array_module(log_b, start, transmat)
    b, shift = scaled(log_b)
    pieces = len(frames.owner) > len(frames.lengths)
    with np.errstate(all="ignore"):
        if pieces:
            arrival, maps = entering(b, start, transmat, frames)
            alpha, scale = forward(b, arrival, transmat, frames)
            departure = leaving(alpha, transmat, maps, frames)
        else:
            alpha, scale = forward(b, start, transmat, frames)
            departure = None
        beta, weighted = backward(b, transmat, scale, frames, departure)
    broken = broken_sequences(scale, frames)
    if departure is not None:
        lost = frames.rank[~np.isfinite(to_cpu(departure)).all(axis=0)]
        broken = sorted({*broken, *frames.owner[lost].tolist()})
    for s in broken:
        columns = xp.asarray(frames.sequence(s))
        for array in (alpha, beta, weighted):
            array[:, columns] = 0
        scale[columns] = 1
    gamma, pairs = posteriors(alpha, beta, weighted, transmat, frames)
    log_likelihood = sum_by_sequence(xp.log(scale) + shift, frames)
    impossible = []
    for s in broken:
        columns = xp.asarray(frames.sequence(s))
        found = log_space(to_cpu(log_b[:, columns]), to_cpu(start), to_cpu(transmat))
        alpha[:, columns], gamma[:, columns] = xp.asarray(found.filtered), xp.asarray(found.posterior)
        pairs += xp.asarray(found.pairs)
        log_likelihood[s] = found.log_likelihood[0]
        impossible += [(s, t) for _, t in found.impossible]
    starts = gamma[:, xp.asarray(frames.columns[frames.first_rows])].sum(axis=1)
    return Expectation(log_likelihood, alpha, gamma, starts, pairs, impossible)


def log_likelihood(log_b: Array, start: Array, transmat: Array, frames: Frames) -> np.ndarray:
    """log p(x) (S,) of each sequence, by the forward recursion alone."""
    from .chunks import entering

    xp = get_array_module(log_b, start, transmat)
    b, shift = scaled(log_b)
    with np.errstate(all="ignore"):
        pieces = len(frames.owner) > len(frames.lengths)
        _, scale = forward(b, entering(b, start, transmat, frames)[0] if pieces else start, transmat, frames)
        found = sum_by_sequence(xp.log(scale) + shift, frames)
    for s in broken_sequences(scale, frames):
        columns = xp.asarray(frames.sequence(s))
        found[s] = log_space(to_cpu(log_b[:, columns]), to_cpu(start), to_cpu(transmat)).log_likelihood[0]
    return found


def scaled(log_b: Array) -> tuple[Array, Array]:
    """The emissions (N, M) of each frame over their largest, and the logarithm of that (M,); 0 if no state emits it."""
    xp = get_array_module(log_b)
    shift = log_b.max(axis=0)
    shift = xp.where(shift > -np.inf, shift, 0.0)
    return xp.exp(log_b - shift), shift


def broken_sequences(scale: Array, frames: Frames) -> list[int]:
    """The sequences whose scales are too small, zero or NaN."""
    columns = np.flatnonzero(to_cpu(~(scale >= SMALLEST)))
    return np.unique(np.searchsorted(np.cumsum(frames.lengths), frames.rows[columns], side="right")).tolist()


def sum_by_sequence(values: Array, frames: Frames) -> np.ndarray:
    """The sums (S,) of values (M,), one for each frame, over each sequence; on the host."""
    by_row = to_cpu(values)[frames.columns]
    if len(frames.lengths) == 1:
        return by_row.sum(keepdims=True)  # pairwise: a million frames lose no digit
    return np.add.reduceat(by_row, frames.first_rows)


def log_space(log_b: np.ndarray, start: np.ndarray, transmat: np.ndarray) -> Expectation:
    """Forward, backward and posteriors of one sequence, all in logarithms: slow, and safe whatever the range."""
    T = log_b.shape[1]
    log_b = log_b.copy()
    alpha, scale, beta = np.empty_like(log_b), np.empty(T), np.zeros_like(log_b)
    impossible = []
    pairs = np.zeros_like(transmat)
    with np.errstate(divide="ignore"):
        log_transmat, predicted = np.log(transmat), np.log(start)
    for t in range(T):
        if t:
            predicted = log_sum(alpha[:, t - 1, None] + log_transmat, axis=0)
        scale[t] = log_sum(predicted + log_b[:, t], axis=0)
        if scale[t] == -np.inf:
            impossible.append((0, t))
            log_b[:, t] = 0.0
            alpha[:, t] = predicted
        else:
            alpha[:, t] = predicted + log_b[:, t] - scale[t]
    for t in range(T - 2, -1, -1):
        onward = log_transmat + log_b[:, t + 1] + beta[:, t + 1] - (0.0 if (0, t + 1) in impossible else scale[t + 1])
        beta[:, t] = log_sum(onward, axis=1)
        pairs += np.exp(alpha[:, t, None] + onward)
    gamma = np.exp(alpha + beta)
    return Expectation(scale.sum(keepdims=True), np.exp(alpha), gamma, gamma[:, 0], pairs, impossible)


def log_sum(values: np.ndarray, axis: int) -> Any:
    """log(sum(exp(values))) along an axis, safe for any size; -inf where all are -inf."""
    largest = values.max(axis=axis, keepdims=True)
    largest = np.where(largest > -np.inf, largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)


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
