"""What runs in the place of the plain recursions where that is faster. Nothing is approximated.

Long sequences are cut into pieces that run side by side: the same recursions in some sqrt(T) steps instead of T.

What a piece does to the state before it is a matrix: column i of its map is the filter at the piece's end, up to a
factor, for a piece that begins in state i. The maps of all pieces are found together, one matrix product a step. A walk
over the pieces then carries the filter from each to the next, and the same maps, transposed, carry beta back; after
that the recursions of `recursions.py` run on all pieces at once.

Viterbi takes so many sequences at a time as fit the cache with all their pairs of states.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from .frames import Frames

RESCALE = 4  # steps between two rescalings of the maps
PAIRS = 65_536  # of states, of some sequences, that fit the cache


def entering(b: Array, start: Array, transmat: Array, frames: Frames) -> tuple[Array, np.ndarray]:
    """p(z_1 | what came before) of each piece (N, P), in sorted order, and the maps of all pieces.

    The maps (P, N, N), in order of time and on the host, have one factor for each piece; it does not matter. Where a
    map's columns differ by more than floats can hold, the outcome may be NaN.
    """
    xp = get_array_module(b, start, transmat)
    N, P = len(b), len(frames.owner)
    maps = xp.zeros((N, N, P), b.dtype)  # to state, from state, piece
    maps[xp.arange(N), xp.arange(N)] = b[:, : frames.starts[1]]
    logs, onward = xp.zeros((N, P), b.dtype), transmat.T
    for t, (now, _) in enumerate(frames.steps()):
        n = now.stop - now.start
        if t:
            moved = (onward @ maps[:, :, :n].reshape(N, N * n)).reshape(N, N, n)
            xp.multiply(moved, b[:, None, now], out=maps[:, :, :n])
        if t % RESCALE == 0:
            _rescale(maps[:, :, :n], logs[:, :n])
    _rescale(maps, logs)
    maps *= xp.exp(logs - logs.max(axis=0))
    maps_by_time = to_cpu(maps).transpose(2, 0, 1)[np.argsort(frames.rank)]
    arrival = np.empty((P, N))
    arrival[0] = state = first = to_cpu(start)
    steps = to_cpu(onward) @ maps_by_time
    joined = set(frames.joined.tolist())
    for p in range(1, P):
        state = steps[p - 1] @ state if p in joined else first
        arrival[p] = state = state / state.sum()
    return xp.asarray(arrival[frames.rank].T.copy()), maps_by_time


def leaving(alpha: Array, transmat: Array, maps: np.ndarray, frames: Frames) -> Array:
    """beta at the last frame of each piece (N, P), in sorted order."""
    xp = get_array_module(alpha, transmat)
    P, N = maps.shape[:2]
    steps = maps @ to_cpu(transmat).T
    departure = np.ones((P, N))
    joined = set(frames.joined.tolist())
    for p in range(P - 1, 0, -1):
        if p in joined:
            state = departure[p] @ steps[p]
            departure[p - 1] = state / state.sum()
    ends = to_cpu(alpha[:, xp.asarray(frames.ends)]).T
    departure /= (ends * departure).sum(axis=1, keepdims=True)
    return xp.asarray(departure[frames.rank].T.copy())


def _rescale(maps: Array, logs: Array) -> None:
    """Divide the columns of maps (N, N, P) by their sums, and take these down in logs (N, P)."""
    xp = get_array_module(maps, logs)
    total = maps.sum(axis=0)
    maps /= xp.where(total > 0, total, 1.0)
    logs += xp.log(total)


def viterbi(log_b: Array, log_start: Array, log_transmat: Array, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """What `recursions.viterbi` finds, states (M,) by column and log p(z, x) (S,), in less time.

    In pieces, of paths that are equally good but for rounding it is one of them.
    """
    if frames.in_pieces:
        return _viterbi_in_pieces(log_b, log_start, log_transmat, frames)
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
    width = max(1, min(frames.starts[1], PAIRS // len(log_b) ** 2))  # sequences at a time
    onward = xp.repeat(log_transmat[:, :, None], width, axis=2)
    through = xp.empty_like(onward)  # from state, to state, sequence
    for now, before in frames.steps():
        if now.start == 0:
            delta[:, now] += log_start if log_start.ndim == 2 else log_start[:, None]
            continue
        for first in range(0, now.stop - now.start, width):
            last = delta[:, before][:, first : first + width]
            n = last.shape[1]
            xp.add(last[:, None], onward[:, :, :n], out=through[:, :, :n])
            delta[:, now.start + first : now.start + first + n] += through[:, :, :n].max(axis=0)
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


def _viterbi_in_pieces(
    log_b: Array, log_start: Array, log_transmat: Array, frames: Frames
) -> tuple[np.ndarray, np.ndarray]:
    """The states (M,) by column and log p(z, x) (S,) of sequences in pieces.

    The maps are those of the best paths: products become sums, sums maxima. Then every piece is traced back from each
    state in which it may end, and a walk from the last piece to the first picks the right ones.
    """
    xp = get_array_module(log_b, log_start, log_transmat)
    N, P = len(log_b), len(frames.owner)
    maps = xp.full((N, N, P), -np.inf)  # to state, from state, piece
    maps[xp.arange(N), xp.arange(N)] = log_b[:, : frames.starts[1]]
    for now, _ in frames.steps():
        n = now.stop - now.start
        if now.start:
            best = maps[0, :, :n] + log_transmat[0][:, None, None]
            for i in range(1, N):
                xp.maximum(best, maps[i, :, :n] + log_transmat[i][:, None, None], out=best)
            xp.add(best, log_b[:, None, now], out=maps[:, :, :n])
    maps_by_time = to_cpu(maps).transpose(2, 0, 1)[np.argsort(frames.rank)]
    start, transmat = to_cpu(log_start), to_cpu(log_transmat)
    joined = set(frames.joined.tolist())
    arrival = np.empty((P, N))
    arrival[0] = start
    for p in range(1, P):
        end = (maps_by_time[p - 1] + arrival[p - 1]).max(axis=1)
        arrival[p] = (end[:, None] + transmat).max(axis=0) if p in joined else start
    delta = best_scores(log_b, xp.asarray(arrival[frames.rank].T.copy()), log_transmat, frames)
    every = xp.asarray(np.tile(np.arange(N)[:, None], (1, P)))
    paths = trace_back(delta, every, log_transmat, frames)  # (N, M): for each state at the end of the piece
    ends, begins = to_cpu(delta[:, xp.asarray(frames.ends)]), to_cpu(paths[:, xp.asarray(frames.begins)])
    chosen = ends.argmax(axis=0)  # right for the last piece of each sequence
    for p in range(P - 1, 0, -1):
        if p in joined:
            chosen[p - 1] = (ends[:, p - 1] + transmat[:, begins[chosen[p], p]]).argmax()
    states = to_cpu(paths)[chosen[frames.pieces], np.arange(len(frames.pieces))]
    last = np.append(np.flatnonzero(frames.owner[1:] != frames.owner[:-1]), P - 1)
    return states, ends.max(axis=0)[last]
