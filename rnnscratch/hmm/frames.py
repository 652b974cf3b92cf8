"""The frames of many sequences, so sorted that one step of a recursion works on neighbouring columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..kernels.packing import sort_and_shrink
from .emission import Emission

MOST_STATES = 24  # the maps of pieces cost N^3 a frame; with more states the plain recursion is faster


class Frames(NamedTuple):
    """Where each frame of S concatenated sequences stands among the columns, step by step.

    A long sequence may be cut into pieces, which run side by side like sequences; see `chunks.py`.
    """

    lengths: np.ndarray  # (S,) frames of each sequence
    rows: np.ndarray  # (M,) the row of the concatenated data that stands in each column
    columns: np.ndarray  # (M,) the column in which each row stands
    pieces: np.ndarray  # (M,) the piece to which each column belongs
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

    def transitions(self, xp: Any) -> Iterator[tuple[Any, Any]]:
        """Columns, and those of the frames one step later, in as few blocks as may be; last, as arrays, the cuts."""
        yield from self.blocks
        if self.in_pieces:
            yield xp.asarray(self.ends[self.joined - 1]), xp.asarray(self.begins[self.joined])

    @property
    def in_pieces(self) -> bool:
        """Whether any sequence is cut."""
        return len(self.owner) > len(self.lengths)

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
    rank, counts, step, position = sort_and_shrink(sizes)
    pieces = rank[position]
    rows = first[pieces] + step
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
    return Frames(lengths, rows, columns, pieces, starts, owner, rank, begins, ends, blocks, joined)


def piece_length(lengths: np.ndarray, states: int) -> int | None:
    """How many frames a piece should have, or None where plain steps are faster."""
    frames, longest = int(lengths.sum()), int(lengths.max())
    side_by_side = frames / longest
    length = math.ceil(0.74 * math.sqrt(frames))
    if states > MOST_STATES or states**3 * side_by_side > 20_000 or longest < 4 * length or longest < 64:
        return None
    return length


class Data(NamedTuple):
    """Observations in the order of the columns of `frames`."""

    X: Array  # (M, D), or symbols (M,); rows without meaning where missing
    missing: Array | None  # (M,) True where nothing was observed; a feature alone that was not is NaN in X
    states: Array | None  # (M,) known states, -1 where unknown
    frames: Frames


def read(emission: Emission, X: Any, lengths: Any) -> tuple[Array, np.ndarray]:
    """The observations of all sequences in a row (M, D), and the lengths (S,). Raises ValueError or TypeError."""
    if lengths is None and isinstance(X, (list, tuple)) and any(getattr(x, "ndim", 0) > 0 for x in X):
        sequences = [emission.as_frames(x, f"X[{s}]") for s, x in enumerate(X)]
        for s, x in enumerate(sequences):
            if x.shape[1:] != sequences[0].shape[1:]:
                raise ValueError(f"X[{s}] has {x.shape[1]} features, X[0] has {sequences[0].shape[1]}")
        lengths = [len(x) for x in sequences]
        frames = get_array_module(*sequences).concatenate(sequences)
    elif lengths is None and getattr(X, "ndim", 0) == 3:
        lengths = [X.shape[1]] * X.shape[0]
        frames = emission.as_frames(X.reshape(-1, X.shape[2]), "X")
    else:
        frames = emission.as_frames(X, "X")
    found = np.asarray([len(frames)] if lengths is None else lengths)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        raise ValueError(f"lengths is {lengths!r}, expected a row of integers")
    for s in np.flatnonzero(found < 1)[:1]:
        raise ValueError(f"lengths[{s}] is {found[s]}, expected at least 1: a sequence has at least one frame")
    if found.sum() != len(frames):
        raise ValueError(f"lengths sum to {found.sum()}, but X has {len(frames)} frames")
    return frames, found.astype(np.int64)


def prepare(
    emission: Emission, X: Array, lengths: np.ndarray, states: np.ndarray | None = None, cut: bool = True
) -> Data:
    """Sort the frames into columns; a long sequence is cut into pieces if that is faster.

    Raises ValueError for a frame that lacks some of its features, if the family cannot do without them.
    """
    xp = get_array_module(X)
    if not emission.marginalises:
        refuse_partly_missing(emission, X, lengths)
    frames = lay_out(lengths, piece_length(lengths, emission.n_components) if cut else None)
    if len(frames.owner) > 1:
        X = X[xp.asarray(frames.rows)]
    missing = emission.missing(X)
    if bool(to_cpu(missing.any())):
        X = xp.where(missing if X.ndim == 1 else missing[:, None], xp.zeros_like(X), X)
    else:
        missing = None
    return Data(X, missing, None if states is None else xp.asarray(states[frames.rows]), frames)


def refuse_partly_missing(emission: Emission, X: Array, lengths: np.ndarray) -> None:
    """Raise ValueError naming the first frame that lacks some of its features, but not all."""
    if X.ndim == 1 or X.dtype.kind != "f":
        return
    partly = to_cpu(get_array_module(X).isnan(X).any(axis=1) & ~emission.missing(X))
    for row in np.flatnonzero(partly)[:1]:
        ends = np.cumsum(lengths)
        s = int(np.searchsorted(ends, row, side="right"))
        raise ValueError(
            f"frame {row - ends[s] + lengths[s]} of sequence {s} lacks some of its features, which "
            f"{type(emission).__name__} cannot do without; a frame of which all are NaN is missing"
        )


def check_states(states: Any, frames: int, N: int) -> np.ndarray:
    """The known states as integers (frames,), from -1 to N - 1. Raises ValueError."""
    in_parts = isinstance(states, (list, tuple)) and any(np.ndim(part) for part in states)
    found = np.concatenate(states) if in_parts else np.asarray(states)
    if found.shape != (frames,) or found.dtype.kind not in "iu":
        raise ValueError(f"states has shape {found.shape} and dtype {found.dtype}, expected ({frames},) integers")
    if found.min() < -1 or found.max() >= N:
        raise ValueError(f"states holds {found.min()} to {found.max()}, expected -1 to {N - 1}")
    return found
