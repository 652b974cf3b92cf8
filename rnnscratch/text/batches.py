"""Batches of sequences of different lengths, bucketed so that a batch holds sequences of about one length.

No padding token is needed: lengths say what is real. Inside a batch the longest sequence comes first, the order in
which the kernels work.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import generator

POOL = 50  # batches whose sequences are sorted together: enough for even lengths, few enough to stay random


class Batch(NamedTuple):
    """T is the longest length of the batch, B its number of sequences."""

    ids: np.ndarray  # (T, B) token ids, 0 past a sequence's end
    lengths: np.ndarray  # (B,) decreasing
    labels: np.ndarray | None  # (B,)
    indices: np.ndarray  # (B,) the sequences' positions in the data


def keep_last(sequence: np.ndarray, max_length: int | None) -> np.ndarray:
    """The last `max_length` tokens: a review's verdict stands at its end. An empty text becomes one unknown token.

    Raises ValueError if `max_length` is less than 1.
    """
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length is {max_length}, expected at least 1")
    if len(sequence) == 0:
        return np.zeros(1, np.int64)
    return sequence if max_length is None else sequence[-max_length:]


def pad(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of ids as one time-major array (T, B), 0 past each end, and their lengths (B,).

    >>> pad([np.array([5, 6, 7]), np.array([8])])
    (array([[5, 8],
           [6, 0],
           [7, 0]]), array([3, 1]))

    Raises ValueError when there is no sequence or an empty one, TypeError for ids that are no integers.
    """
    _check_ids(sequences)
    lengths = np.array([len(sequence) for sequence in sequences])
    if not lengths.all():
        raise ValueError(f"sequences[{int(np.argmin(lengths))}] is empty, expected at least one token")
    ids = np.zeros((len(lengths), lengths.max()), np.int64)
    ids[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(list(sequences))
    return np.ascontiguousarray(ids.T), lengths


def _check_ids(sequences: Sequence[np.ndarray]) -> None:
    if len(sequences) == 0:
        raise ValueError("sequences is empty, expected at least one")
    for position, sequence in enumerate(map(np.asarray, sequences)):
        if sequence.ndim != 1:
            raise ValueError(f"sequences[{position}] has shape {sequence.shape}, expected (length,)")
        if len(sequence) and sequence.dtype.kind not in "iu":
            raise TypeError(f"sequences[{position}] has dtype {sequence.dtype}, expected integers")


class Batches:
    """An iterable of `Batch`; every pass over it draws a new order from the generator.

    `sequences` are arrays of token ids, `labels` (N,) or None. With `shuffle`, sequences are mixed, sorted by length
    within pools of `POOL` batches, and the batches mixed again; without, all are sorted by length, which is the
    fastest order to predict in (`indices` says where each belongs). With `max_length`, longer sequences keep their
    last tokens. An empty sequence becomes one unknown token.

    Raises ValueError or TypeError for no sequences, ids that are no integers, labels of another number, or a size
    below 1.
    """

    def __init__(
        self,
        sequences: Sequence[np.ndarray],
        labels: Any = None,
        batch_size: int = 64,
        shuffle: bool = False,
        seed: int | np.random.Generator | None = None,
        max_length: int | None = None,
    ):
        _check_ids(sequences)
        for name, number in (("batch_size", batch_size), ("max_length", 1 if max_length is None else max_length)):
            if not isinstance(number, (int, np.integer)) or number < 1:
                raise ValueError(f"{name} is {number!r}, expected a whole number of at least 1")
        self.labels = None if labels is None else np.asarray(labels)
        if self.labels is not None and len(self.labels) != len(sequences):
            raise ValueError(f"labels has {len(self.labels)} entries, expected {len(sequences)}: one for each sequence")
        self.sequences = [keep_last(np.asarray(sequence), max_length) for sequence in sequences]
        self.lengths = np.array([len(sequence) for sequence in self.sequences])
        self.batch_size, self.shuffle, self.rng = int(batch_size), shuffle, generator(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.sequences) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self._plan():
            ids, lengths = pad([self.sequences[index] for index in indices])
            yield Batch(ids, lengths, None if self.labels is None else self.labels[indices], indices)

    def summary(self) -> dict[str, int]:
        """How many sequences and tokens, and a checksum of ids, lengths and labels."""
        checksum = zlib.crc32(self.lengths.astype(np.int64).tobytes())
        if self.labels is not None:
            checksum = zlib.crc32(np.asarray(self.labels, np.int64).tobytes(), checksum)
        for sequence in self.sequences:
            checksum = zlib.crc32(sequence.astype(np.int64).tobytes(), checksum)
        return {"sequences": len(self.lengths), "tokens": int(self.lengths.sum()), "checksum": checksum}

    def _plan(self) -> list[np.ndarray]:
        """The indices of each batch, in the order in which they come."""
        count = len(self.sequences)
        order = self.rng.permutation(count) if self.shuffle else np.arange(count)
        pool = self.batch_size * POOL if self.shuffle else count
        planned = []
        for start in range(0, count, pool):
            chosen = order[start : start + pool]
            chosen = chosen[np.argsort(-self.lengths[chosen], kind="stable")]
            planned += [chosen[k : k + self.batch_size] for k in range(0, len(chosen), self.batch_size)]
        if self.shuffle:
            return [planned[k] for k in self.rng.permutation(len(planned))]
        return planned
