"""The recursions put together: safe for emissions of any size, whatever the layout of the sequences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from . import chunks, recursions
from .frames import Frames

SMALLEST = 1e-200  # a scale below this has lost digits of the states that were cut off at 1e-308


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
    since the likely states cannot be reached, and where posteriors do not add up to 1, since numbers on the way left
    the range of doubles, the sequence is done again in log space. An impossible frame makes the
    likelihood 0 and is left out of the posteriors, as if it were missing.
    """
    xp = get_array_module(log_b, start, transmat)
    b, shift = scaled(log_b)
    with np.errstate(all="ignore"):
        if frames.in_pieces:
            arrival, maps = chunks.entering(b, start, transmat, frames)
            alpha, scale = recursions.forward(b, arrival, transmat, frames)
            departure = chunks.leaving(alpha, transmat, maps, frames)
        else:
            alpha, scale = recursions.forward(b, start, transmat, frames)
            departure = None
        beta, weighted = recursions.backward(b, transmat, scale, frames, departure)
        right = (scale >= SMALLEST) & (abs(xp.einsum("nm,nm->m", alpha, beta) - 1.0) < 1e-8)
        if forgets(transmat):
            right &= xp.where(cut_off(alpha, log_b), beta, 0.0).max(axis=0) <= 1e300 * scale
    broken = sequences_of(~right, frames)
    if departure is not None:
        lost = frames.rank[~np.isfinite(to_cpu(departure)).all(axis=0)]
        broken = sorted({*broken, *frames.owner[lost].tolist()})
    for s in broken:
        columns = xp.asarray(frames.sequence(s))
        for array in (alpha, beta, weighted):
            array[:, columns] = 0
        scale[columns] = 1
    gamma, pairs = recursions.posteriors(alpha, beta, weighted, transmat, frames)
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
    xp = get_array_module(log_b, start, transmat)
    b, shift = scaled(log_b)
    with np.errstate(all="ignore"):
        arrival = chunks.entering(b, start, transmat, frames)[0] if frames.in_pieces else start
        alpha, scale = recursions.forward(b, arrival, transmat, frames)
        logs = sum_by_sequence(xp.log(scale), frames)
        found = logs + sum_by_sequence(shift, frames)
    if forgets(transmat) and (logs < -600).any() and bool(to_cpu(cut_off(alpha, log_b).any())):
        return expectation(log_b, start, transmat, frames).log_likelihood  # which sees what was cut off
    for s in sequences_of(~(scale >= SMALLEST), frames):
        columns = xp.asarray(frames.sequence(s))
        found[s] = log_space(to_cpu(log_b[:, columns]), to_cpu(start), to_cpu(transmat)).log_likelihood[0]
    return found


def forgets(transmat: Array) -> bool:
    """Whether a state that numbers cut off may stay so, since not all others lead to it again."""
    return bool(to_cpu(transmat.min()) < 1e-100)


def cut_off(alpha: Array, log_b: Array) -> Array:
    """Where (N, M) the filter is 0 though the state can emit the frame: it is not reached, or below all doubles.

    The latter matters once beta makes up for it: later frames may say that it was this state after all.
    """
    return (alpha == 0) & (log_b > -np.inf)


def scaled(log_b: Array) -> tuple[Array, Array]:
    """The emissions (N, M) of each frame over their largest, and the logarithm of that (M,), 0 if no state emits it."""
    xp = get_array_module(log_b)
    shift = log_b.max(axis=0)
    shift = xp.where(shift > -np.inf, shift, 0.0)
    return xp.exp(log_b - shift), shift


def sequences_of(columns: Array, frames: Frames) -> list[int]:
    """The sequences that have any of the columns (M,) which are True."""
    return np.unique(frames.owner[frames.pieces[np.flatnonzero(to_cpu(columns))]]).tolist()


def sum_by_sequence(values: Array, frames: Frames) -> np.ndarray:
    """The sums (S,) of values (M,), one for each frame, over each sequence; on the host."""
    by_row = to_cpu(values)[frames.columns]
    with np.errstate(over="ignore"):  # what is below all doubles is -inf
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
