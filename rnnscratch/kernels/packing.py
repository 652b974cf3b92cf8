"""Sequences of different lengths without padding: sorted by length, so that those still running come first.

Of B sequences sorted by decreasing length, the first n_t have a step t. What belongs to step t is n_t neighbouring rows
of a packed array of N = n_0 + ... + n_{T-1} rows, and no work is spent on sequences that have ended; with equal lengths
the packed array is the (T, B, .) array itself.

The states of a network stand in B + N rows, so that the first step is no special case: slot 0 has B rows, slot t+1 has
the n_t rows of step t, of which the first n_{t+1} go on. Reading forwards, step t leads from slot t to slot t+1; the
initial states are in slot 0, each sequence's final state in the slot of its length. Reading backwards, it leads from
slot t+1 to slot t, and initial and final states change places. So both directions work on one packed array, and nothing
is ever reversed.
"""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_array, check_lengths

CHUNK_ROWS = 1024  # rows (steps x sequences) in one chunk at most, but at least one step


def sort_and_shrink(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How S sequences of these lengths (S,), all at least 1, are packed.

    Returns the order (S,), by decreasing length, equal ones as they came; n_t (T,), how many have a step t; and for
    each packed row its step (N,) and its position (N,) among the sorted sequences.

    >>> order, running, steps, positions = sort_and_shrink(np.array([1, 3, 2]))
    >>> order.tolist(), running.tolist(), steps.tolist(), positions.tolist()
    ([1, 2, 0], [3, 2, 1], [0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0])
    """
    order = np.argsort(-lengths, kind="stable")
    running = len(lengths) - np.searchsorted(lengths[order][::-1], np.arange(lengths.max()), side="right")
    steps = np.repeat(np.arange(len(running)), running)
    positions = np.arange(len(steps)) - np.repeat(np.cumsum(running) - running, running)
    return order, running, steps, positions


class Step(NamedTuple):
    """The rows of one step."""

    time: int  # t
    running: slice  # its n_t sequences, in arrays with a row for each of the sorted sequences
    rows: slice  # its packed rows
    within: slice  # the same, counted from the first row of its chunk
    early: slice  # its n_t states in slot t
    late: slice  # its n_t states in slot t+1


class Chunk(NamedTuple):
    """Steps that share matrix products, on rows that are still in the processor's cache."""

    rows: slice  # packed rows
    steps: tuple[Step, ...]


class Plan:
    """Which rows belong to which step of a batch; made once, and used by all layers and directions.

    T, B             steps of the longest possible sequence (of the padded array), and sequences
    N                real steps of all sequences
    lengths (B,)     on the host, None where all are T
    chunks           all steps in order of time
    sorted_lengths   (B,) of the sorted sequences

    Index arrays on the device of the data, None where they would say 0, 1, 2, ...:

    order (B,)       the sequence at each sorted position; place (B,), its inverse: where each sequence is
    rows (N,)        the row of an array (T*B, .) that is each packed row
    early (N,)       the row among the states, in slot t, of each packed row; in slot t+1 it is row B + k
    ends (B,)        the row among the states of each sequence, in the order given, in the slot of its length
    slots (T+2,)     the first row of each slot, of the steps that there are, and the end of the last
    counts (B,)      `sorted_lengths`
    """

    def __init__(self, T: int, B: int, lengths: Any = None, xp: Any = np):
        lengths = check_lengths(lengths, T, B)
        self.T, self.B, self.lengths, self.xp = T, B, lengths, xp
        self.order: Array | None = None
        self.place: Array | None = None
        self.rows: Array | None = None
        self.early: Array | None = None
        self.ends: Array | None = None
        self.slots: Array | None = None
        self.counts: Array | None = None
        self._host_rows: np.ndarray | None = None
        if lengths is None or (lengths == T).all():
            self.lengths, self.N = None, T * B
            self.sorted_lengths = np.full(B, T)
        else:
            order, running, steps, positions = sort_and_shrink(lengths)
            first = np.concatenate([[0, B], B + np.cumsum(running)])
            starts, self.N = first.tolist(), len(steps)
            place = np.argsort(order)
            self.sorted_lengths = lengths[order]
            self._host_rows = steps * B + order[positions]
            indices = {"rows": self._host_rows, "early": first[steps] + positions, "ends": first[lengths] + place}
            indices |= {"slots": first, "counts": self.sorted_lengths}
            if not (place[1:] > place[:-1]).all():
                indices |= {"order": order, "place": place}
            moved, begin = xp.asarray(np.concatenate(list(indices.values()))), 0  # in one copy
            for name, each in indices.items():
                setattr(self, name, moved[begin : begin + len(each)])
                begin += len(each)
        self._cut = partial(equal_chunks, T, B) if self.lengths is None else partial(cut, running.tolist(), starts)
        self.chunks = self._cut(CHUNK_ROWS)
        self.longest = max(chunk.rows.stop - chunk.rows.start for chunk in self.chunks)

    @cached_property
    def whole(self) -> list[Chunk]:
        """All steps as one chunk."""
        return self._cut(None)

    @cached_property
    def sequence(self) -> Array:
        """(N,) the sequence, in the order given, of each packed row."""
        if self.rows is None:
            return self.xp.asarray(np.tile(np.arange(self.B), self.T))
        return self.rows % self.B

    def pack(self, x: Array) -> Array:
        """x (T, B, ...) -> its real steps (N, ...). What is on the host stays there."""
        rows = x.reshape(self.T * self.B, *x.shape[2:])
        return rows if self.rows is None else rows[self._host_rows if isinstance(x, np.ndarray) else self.rows]

    def unpack(self, *parts: Array) -> Array:
        """Packed arrays (N, .) side by side as (T, B, .), zero past a sequence's end; a view where that is possible."""
        width = sum(part.shape[1] for part in parts)
        if self.rows is None and len(parts) == 1:
            return parts[0].reshape(self.T, self.B, width)
        like = parts[0]
        found = self.xp.empty if self.rows is None else self.xp.zeros
        padded = found((self.T * self.B, width), like.dtype)
        first = 0
        for part in parts:
            columns = slice(first, first + part.shape[1])
            padded[slice(None) if self.rows is None else self.rows, columns] = part
            first = columns.stop
        return padded.reshape(self.T, self.B, width)

    def early_states(self, slots: Array, rows: slice) -> Array:
        """Of states (B + N, .), those in slot t for packed rows of steps t."""
        return slots[rows] if self.early is None else slots[self.early[rows]]

    def late_states(self, slots: Array, rows: slice) -> Array:
        """Of states (B + N, .), those in slot t+1 for packed rows of steps t; a view."""
        return slots[self.B + rows.start : self.B + rows.stop]

    def sort(self, values: Array) -> Array:
        """values (B, .) in the order given -> by decreasing length."""
        return values if self.order is None else values[self.order]

    def unsort(self, values: Array) -> Array:
        """The inverse of `sort`."""
        return values if self.place is None else values[self.place]


def cut(running: list[int], starts: list[int], most: int | None) -> list[Chunk]:
    """Chunks of at most `most` rows, and of a quarter of all, to save memory, or one if that is None."""
    B, N, begin = starts[1], starts[-1] - starts[1], 0
    chunks: list[Chunk] = []
    steps: list[Step] = []
    for t, n in enumerate(running):
        row = starts[t + 1] - B
        if steps and most is not None and row + n - begin > min(most, N // 4):
            chunks.append(Chunk(slice(begin, row), tuple(steps)))
            steps, begin = [], row
        at, early, late = row - begin, starts[t], starts[t + 1]
        here = slice(0, n), slice(row, row + n), slice(at, at + n), slice(early, early + n), slice(late, late + n)
        steps.append(Step(t, *here))
    return [*chunks, Chunk(slice(begin, N), tuple(steps))]


@lru_cache(maxsize=64)
def equal_chunks(T: int, B: int, most: int | None) -> list[Chunk]:
    """Those of B sequences of T steps."""
    return cut([B] * T, [t * B for t in range(T + 2)], most)


class Packed(NamedTuple):
    """The real steps of a batch, and which is which: what layers hand to one another."""

    data: Array  # (N, ...)
    plan: Plan

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the padded array, (T, B, ...)."""
        return self.plan.T, self.plan.B, *self.data.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """That of the data."""
        return self.data.dtype


def pack(x: Any, lengths: Any = None) -> Packed:
    """The real steps of x (T, B, ...), whose sequences have these lengths (B,) on the host, or all T.

    >>> pack(np.array([[1, 4], [2, 0], [3, 0]]), [3, 1]).data.tolist()
    [1, 4, 2, 3]
    """
    x = _steps(x)
    T, B = x.shape[:2]
    plan = lengths if isinstance(lengths, Plan) else Plan(T, B, lengths, get_array_module(x))
    return Packed(plan.pack(x), plan)


def reverse(x: Any, lengths: Any = None) -> Array:
    """Each sequence of x (T, B, ...) back to front within its own length; what lies past its end stays.

    Its own inverse. The layers do without: they read a packed array in either direction.
    """
    x = _steps(x)
    T, B = x.shape[:2]
    lengths = check_lengths(lengths, T, B)
    steps, ends = np.arange(T)[:, None], np.full(B, T) if lengths is None else lengths
    source = np.where(steps < ends, ends - 1 - steps, steps) * B + np.arange(B)
    return x.reshape(T * B, -1)[get_array_module(x).asarray(source.ravel())].reshape(x.shape)


def _steps(x: Any) -> Array:
    x = as_array("x", x, "fiubc")
    if x.ndim < 2 or 0 in x.shape[:2]:
        raise ValueError(f"x has shape {x.shape}, expected (T, B, ...), at least one step and one sequence")
    return x
