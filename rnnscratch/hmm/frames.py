"""The frames of many sequences, so sorted that one step of a recursion works on neighbouring columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import as_column, as_list, as_symbols, is_array, is_single
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


class Sequences(list[Any]):
    """Sequences that are told apart already, each a row, or an array-like of frames."""


def tell_apart(name: str, X: Any, lengths: Any, symbols: bool, vocabulary: list[str] | None = None) -> Sequences:
    """The sequences in X, by the rule that `BaseHMM` states; with lengths, all of them in a row, which lengths cut.

    `symbols`: whether an observation is one symbol, not a row of features. The vocabulary, if known, tells words from
    sequences of characters. Raises TypeError or ValueError where X may mean two things.
    """
    if isinstance(X, Sequences):
        return X
    if isinstance(X, str):
        return Sequences([X])
    if is_array(X) or get_array_module(X) is not np:
        dimensions = getattr(X, "ndim", 0)
        if dimensions == 3 and lengths is None:
            return Sequences(as_list(name, X))
        if dimensions != 1 or str(getattr(X, "dtype", "")) != "object" or all(map(is_single, X)):
            return Sequences([X])
    entries = as_list(name, X)
    if lengths is not None or all(map(is_single, entries)):
        if lengths is None and symbols and entries and all(isinstance(entry, str) for entry in entries):
            return _words(entries, vocabulary)
        return Sequences([entries])
    for s, entry in enumerate(entries):
        if is_single(entry) and not (symbols and isinstance(entry, str)):
            raise TypeError(f"{name}[{s}] is {entry!r:.60}, expected a sequence as the others are")
    entries = one_by_one(name, entries)
    rows = [x for x in entries if isinstance(x, list)]
    flat = len(rows) == len(entries) and all(is_single(each) for row in rows for each in row)
    widths = {len(row) for row in rows}
    one = widths == {1} if symbols else len(widths) == 1
    return Sequences([entries]) if flat and one else Sequences(entries)


def one_by_one(name: str, X: Any) -> Sequences:
    """The sequences in X, where it can be nothing but a list of them, or of rows. Raises TypeError or ValueError."""
    entries = enumerate(as_list(name, X))
    return Sequences([x if isinstance(x, str) or is_array(x) else as_list(f"{name}[{s}]", x) for s, x in entries])


def _words(entries: list[Any], vocabulary: list[str] | None) -> Sequences:
    """A list of strings: one sequence of symbols, or sequences of characters."""
    if all(len(entry) == 1 for entry in entries) or (vocabulary and set(entries) <= set(vocabulary)):
        return Sequences([entries])
    if vocabulary is None and len(set(entries)) < len(entries):
        raise ValueError(
            "X is a list of strings, some of them equal, which may be symbols or sequences of characters: give [X] for "
            "one sequence of symbols, [list(x) for x in X] for sequences of characters, or the vocabulary"
        )
    return Sequences(entries)


def read(emission: Emission, sequences: Sequences, lengths: Any) -> tuple[Emission, Array, np.ndarray]:
    """The emission with what it must know of the symbols; all observations in a row (M, D); the lengths (S,).

    Raises ValueError or TypeError.
    """
    if not sequences:
        raise ValueError("X is empty, expected at least one sequence")
    names = ["X"] if len(sequences) == 1 else [f"X[{s}]" for s in range(len(sequences))]
    emission, parts = emission.encode([emission.as_frames(x, name) for x, name in zip(sequences, names)], names)
    for part, name in zip(parts, names):
        if not len(part):
            raise ValueError(f"{name} is empty, expected at least one frame")
    frames = parts[0] if len(parts) == 1 else get_array_module(*parts).concatenate(parts)
    if lengths is None:
        sizes = np.array([len(part) for part in parts], dtype=np.int64)
    elif get_array_module(lengths) is not np:
        raise TypeError("lengths is a device array, expected integers on the host: they steer the loop")
    else:
        sizes = as_column("lengths", lengths, "iu").astype(np.int64)
    for s in np.flatnonzero(sizes > len(frames))[:1]:
        raise ValueError(f"lengths[{s}] is {sizes[s]}, but X has {len(frames)} frames")
    for s in np.flatnonzero(sizes < 1)[:1]:
        raise ValueError(f"lengths[{s}] is {sizes[s]}, expected at least 1: a sequence has at least one frame")
    if int(sizes.sum()) != len(frames):
        hint = "; scikit-learn's y is no argument of an HMM" if len(sizes) == len(frames) else ""
        raise ValueError(f"lengths sum to {sizes.sum()}, but X has {len(frames)} frames{hint}")
    return emission, frames, sizes


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


def check_states(states: Any, sizes: np.ndarray, N: int) -> np.ndarray:
    """The known states of sequences of these sizes as integers (M,), from 0 to N - 1, -1 where unknown.

    They come in a row, or as one row for each sequence. Raises TypeError or ValueError.
    """
    parts: list[Any] = tell_apart("states", states, None, symbols=True)
    names = ["states"] if len(parts) == 1 else [f"states[{s}]" for s in range(len(parts))]
    flat = [part.reshape(-1) if isinstance(part, np.ndarray) else part for part in parts]
    rows = [as_symbols(name, part) for name, part in zip(names, flat)]
    for s, (row, name) in enumerate(zip(rows, names)):
        size = int(sizes.sum()) if len(rows) == 1 else int(sizes[s]) if len(rows) == len(sizes) else 0
        if len(row) != size:
            raise ValueError(f"{name} has shape {row.shape}, expected {sizes.tolist() if not size else (size,)}")
        if row.dtype.kind != "i":
            raise TypeError(f"{name} holds strings, expected integers, -1 where unknown")
    found = np.concatenate([to_cpu(row) for row in rows])
    if found.min() < -1 or found.max() >= N:
        raise ValueError(f"states holds {found.min()} to {found.max()}, expected -1 to {N - 1}")
    return found
