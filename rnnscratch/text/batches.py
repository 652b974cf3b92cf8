"""Batches of sequences of different lengths, bucketed so that a batch holds sequences of about one length.

No padding token is needed: lengths say what is real. Inside a batch the longest sequence comes first, the order in
which the kernels work.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import generator
from ..checks import are_soft, as_labels, as_sequences, as_soft, check_flags, check_sizes

POOL = 50  # batches whose sequences are sorted together: enough for even lengths, few enough to stay random
STEPS = 2**17  # padded steps (longest x sequences) of an unshuffled batch of several, at most
FREE = 2**14  # up to so many, how much of it is padding does not matter


class Batch(NamedTuple):
    """T is the longest length of the batch, B its number of sequences."""

    ids: np.ndarray  # (T, B) token ids, 0 past a sequence's end
    lengths: np.ndarray  # (B,) decreasing
    labels: np.ndarray | None  # (B,) or, of probabilities, (B, K)
    indices: np.ndarray  # (B,) the sequences' positions in the data


def keep_last(sequence: Any, max_length: int | None) -> np.ndarray:
    """The last `max_length` tokens: a review's verdict stands at its end. An empty text becomes one unknown token.

    Raises ValueError or TypeError if `max_length` is no whole number of at least 1.
    """
    if max_length is not None:
        check_sizes(max_length=max_length)
    return _last(as_sequences("sequence", [sequence])[0], max_length)


def _last(sequence: np.ndarray, max_length: int | None) -> np.ndarray:
    if len(sequence) == 0:
        return np.zeros(1, np.int64)
    return sequence if max_length is None else sequence[-max_length:]


def pad(sequences: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of ids as one time-major array (T, B), 0 past each end, and their lengths (B,).

    >>> pad([np.array([5, 6, 7]), np.array([8])])
    (array([[5, 8],
           [6, 0],
           [7, 0]]), array([3, 1]))

    Raises ValueError when there is no sequence or an empty one, TypeError for ids that are no integers.
    """
    sequences = as_sequences("sequences", sequences)
    lengths = np.array([len(sequence) for sequence in sequences])
    if not lengths.all():
        raise ValueError(f"sequences[{int(np.argmin(lengths))}] is empty, expected at least one token")
    ids = np.zeros((len(lengths), lengths.max()), np.int64)
    ids[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(sequences)
    return np.ascontiguousarray(ids.T), lengths


class Batches:
    """An iterable of `Batch`; every pass over it draws a new order from the generator.

    `sequences` are arrays of token ids, `labels` (N,), the probabilities of K classes (N, K), or None. With `shuffle`,
    sequences are mixed, sorted by length within pools of `POOL` batches, and the batches mixed again; without, all are
    sorted by length, which is the fastest order to predict in (`indices` says where each belongs), and a batch has
    fewer than `batch_size` sequences where it would else be large or mostly padding. With `max_length`, longer
    sequences keep their last tokens. An empty sequence becomes one unknown token.

    Raises ValueError or TypeError for no sequences, ids that are no integers, labels of another number, or a size
    below 1.
    """

    def __init__(
        self,
        sequences: Any,
        labels: Any = None,
        batch_size: int = 64,
        shuffle: bool = False,
        seed: int | np.random.Generator | None = None,
        max_length: int | None = None,
    ):
        check_sizes(batch_size=batch_size, max_length=1 if max_length is None else max_length)
        check_flags(shuffle=shuffle)
        sequences = as_sequences("sequences", sequences)
        read = as_soft if are_soft(labels) else as_labels
        self.labels = None if labels is None else read("labels", labels, len(sequences))
        self.sequences: Any = [_last(sequence, max_length) for sequence in sequences]
        self.lengths = np.array([len(sequence) for sequence in self.sequences])
        self.positions = np.arange(len(self.sequences))
        self.batch_size, self.shuffle, self.rng = int(batch_size), bool(shuffle), generator(seed)

    def __len__(self) -> int:
        if self.shuffle:
            return math.ceil(len(self.positions) / self.batch_size)
        return len(self._cut(self.positions))

    def __iter__(self) -> Iterator[Batch]:
        for indices in self._plan():
            ids, lengths = pad([self.sequences[index] for index in indices])
            yield Batch(ids, lengths, None if self.labels is None else self.labels[indices], indices)

    def summary(self) -> dict[str, int]:
        """How many sequences and tokens, and a checksum of ids, lengths and labels."""
        checksum = zlib.crc32(self.lengths.astype(np.int64).tobytes())
        if self.labels is not None:
            whole = self.labels.dtype.kind in "biu"
            checksum = zlib.crc32((self.labels.astype(np.int64) if whole else self.labels).tobytes(), checksum)
        for sequence in self.sequences:
            checksum = zlib.crc32(sequence.astype(np.int64).tobytes(), checksum)
        return {"sequences": len(self.lengths), "tokens": int(self.lengths.sum()), "checksum": checksum}

    def _plan(self) -> list[np.ndarray]:
        """The indices of each batch, in the order in which they come."""
        if not self.shuffle:
            return self._cut(self.positions)
        count = len(self.positions)
        order, pool = self.positions[self.rng.permutation(count)], self.batch_size * POOL
        planned = []
        for start in range(0, count, pool):
            chosen = self._longest_first(order[start : start + pool])
            planned += [chosen[k : k + self.batch_size] for k in range(0, len(chosen), self.batch_size)]
        return [planned[k] for k in self.rng.permutation(len(planned))]

    def _longest_first(self, indices: np.ndarray) -> np.ndarray:
        return indices[np.argsort(-self.lengths[indices], kind="stable")]

    def _cut(self, indices: np.ndarray) -> list[np.ndarray]:
        """The sequences longest first, in batches whose cost follows the tokens there are.

        A batch ends when it has `batch_size` sequences, or when one more would make more padded steps than STEPS, or
        than FREE and twice the tokens.
        """
        order = self._longest_first(indices)
        lengths = self.lengths[order].tolist()
        begins, tokens = [0], 0
        for k, length in enumerate(lengths):
            count, steps = k - begins[-1], lengths[begins[-1]] * (k - begins[-1] + 1)
            if count and (count == self.batch_size or steps > min(STEPS, max(FREE, 2 * (tokens + length)))):
                begins.append(k)
                tokens = 0
            tokens += length
        return np.split(order, begins[1:])
