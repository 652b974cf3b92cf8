"""Where the frames of many sequences stand, so that one step of a recursion works on neighbouring columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.packing import sort_and_shrink


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
    rows = first[rank[position]] + step
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
