"""Long sequences in pieces that run side by side: the same recursions in some sqrt(T) steps instead of T.

What a piece does to the state before it is a matrix: column i of its map is the filter at the piece's end, up to a
factor, for a piece that begins in state i. The maps of all pieces are found together, one matrix product a step. A walk
over the pieces then carries the filter from each to the next, and the same maps, transposed, carry beta back; after
that the recursions of `recursions.py` run on all pieces at once. Nothing is approximated.
"""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from .recursions import Frames

MOST_STATES = 24  # the maps cost N^3 a frame; with more states the plain recursion is faster


def piece_length(lengths: np.ndarray, states: int) -> int | None:
    """How many frames a piece should have, or None where plain steps are faster."""
    frames, longest = int(lengths.sum()), int(lengths.max())
    side_by_side = frames / longest
    length = math.ceil(0.74 * math.sqrt(frames))
    if states > MOST_STATES or states**3 * side_by_side > 20_000 or longest < 4 * length or longest < 64:
        return None
    return length


def entering(b: Array, start: Array, transmat: Array, frames: Frames) -> tuple[Array, tuple[np.ndarray, np.ndarray]]:
    """p(z_1 | what came before) of each piece (N, P), in sorted order, and the maps of all pieces.

    The maps are (P, N, N) with columns that sum to 1, and the logarithms (P, N) of what they were divided by, both in
    order of time and on the host.
    """
    xp = get_array_module(b, start, transmat)
    N, P = len(b), len(frames.owner)
    maps = xp.zeros((N, N, P), b.dtype)  # to state, from state, piece
    maps[xp.arange(N), xp.arange(N)] = b[:, : frames.starts[1]]
    logs = xp.zeros((N, P), b.dtype)
    for now, _ in frames.steps():
        n = now.stop - now.start
        if now.start:
            step = (transmat.T @ maps[:, :, :n].reshape(N, N * n)).reshape(N, N, n)
            maps[:, :, :n] = step * b[:, None, now]
        total = maps[:, :, :n].sum(axis=0)
        maps[:, :, :n] /= xp.where(total > 0, total, 1.0)
        logs[:, :n] += xp.log(total)
    in_time = np.argsort(frames.rank)
    maps_by_time = to_cpu(maps).transpose(2, 0, 1)[in_time]
    logs_by_time = to_cpu(logs).T[in_time]
    host_start, onward = to_cpu(start), to_cpu(transmat).T
    arrival = np.empty((P, N))
    for p in range(P):
        if p == 0 or frames.owner[p] != frames.owner[p - 1]:
            arrival[p] = host_start
        else:
            weights = arrival[p - 1] * _relative(logs_by_time[p - 1], arrival[p - 1])
            end = maps_by_time[p - 1] @ weights
            arrival[p] = onward @ (end / end.sum())
    return xp.asarray(arrival[frames.rank].T.copy()), (maps_by_time, logs_by_time)


def leaving(
    alpha: Array, arrival: Array, transmat: Array, maps: tuple[np.ndarray, np.ndarray], frames: Frames
) -> Array:
    """beta at the last frame of each piece (N, P), in sorted order."""
    xp = get_array_module(alpha, transmat)
    by_time, logs = maps
    P, N = logs.shape
    ends, transmat = to_cpu(alpha[:, xp.asarray(frames.ends)]).T, to_cpu(transmat)
    arrived = to_cpu(arrival).T[np.argsort(frames.rank)]
    departure = np.ones((P, N))
    for p in range(P - 2, -1, -1):
        if frames.owner[p] == frames.owner[p + 1]:
            later = transmat @ (_relative(logs[p + 1], arrived[p + 1]) * (departure[p + 1] @ by_time[p + 1]))
            departure[p] = later / (ends[p] @ later)
    return xp.asarray(departure[frames.rank].T.copy())


def _relative(logs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """exp(logs) over the largest of those that weigh anything; the others, which do not matter, are at most 1."""
    return np.exp(np.minimum(logs - logs[weights > 0].max(initial=-np.inf), 0.0))
