"""Batches of pairs of sequences, a source and its target, bucketed so that both sides are of about one length.

Targets are framed: a decoder reads the start and the target, and is to say the target and the end.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import generator
from ..checks import as_sequences, check_flags, check_sizes
from .batches import POOL, pad

START_ID, END_ID = 1, 2


class PairBatch(NamedTuple):
    """B pairs; S and T are the longest lengths of sources and of targets with their end."""

    source: np.ndarray  # (S, B) ids, 0 past a sequence's end
    source_lengths: np.ndarray  # (B,)
    target_in: np.ndarray  # (T, B): the start, and the target
    target_out: np.ndarray  # (T, B): the target, and the end
    target_lengths: np.ndarray  # (B,)
    indices: np.ndarray  # (B,) the pairs' positions in the data

    @property
    def lengths(self) -> np.ndarray:
        """The steps of each pair, on both sides."""
        return self.source_lengths + self.target_lengths


class PairBatches:
    """An iterable of `PairBatch`; with `shuffle` every pass over it draws a new order from the generator.

    `sources` and `targets` are arrays of ids, as many of the ones as of the others, without start and end; both keep
    their first `max_length` ids. Pairs are sorted by both lengths, with `shuffle` within pools of batches drawn at
    random. An empty source becomes one unknown token; an empty target is the end alone.

    Raises ValueError or TypeError for no pairs, another number of targets, ids that are no integers, a target with the
    id of the start or the end, or a size below 1.
    """

    def __init__(
        self,
        sources: Any,
        targets: Any,
        batch_size: int = 64,
        shuffle: bool = False,
        seed: int | np.random.Generator | None = None,
        max_length: int | None = None,
    ):
        check_sizes(batch_size=batch_size, max_length=1 if max_length is None else max_length)
        check_flags(shuffle=shuffle)
        sources, targets = as_sequences("sources", sources), as_sequences("targets", targets)
        if len(sources) != len(targets):
            raise ValueError(f"targets number {len(targets)}, expected {len(sources)} as sources")
        for k, target in enumerate(targets):
            if len(target) and np.isin(target, (START_ID, END_ID)).any():
                raise ValueError(
                    f"targets[{k}] holds the id {START_ID} or {END_ID}, expected targets without start and end"
                )
        self.sources = [each[:max_length] if len(each) else np.zeros(1, np.int64) for each in sources]
        self.targets = [each[:max_length].astype(np.int64) for each in targets]
        self.lengths = np.array([[len(s), len(t) + 1] for s, t in zip(self.sources, self.targets)])
        self.batch_size, self.shuffle, self.rng = int(batch_size), bool(shuffle), generator(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.sources) / self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        for indices in self._plan():
            source, source_lengths = pad([self.sources[k] for k in indices])
            target_in, target_lengths = pad([np.append(START_ID, self.targets[k]) for k in indices])
            target_out, _ = pad([np.append(self.targets[k], END_ID) for k in indices])
            yield PairBatch(source, source_lengths, target_in, target_out, target_lengths, indices)

    def summary(self) -> dict[str, int]:
        """How many pairs and ids, and a checksum."""
        checksum = zlib.crc32(self.lengths.astype(np.int64).tobytes())
        for sequence in (*self.sources, *self.targets):
            checksum = zlib.crc32(sequence.astype(np.int64).tobytes(), checksum)
        return {"pairs": len(self.sources), "tokens": int(self.lengths.sum()), "checksum": checksum}

    def _plan(self) -> list[np.ndarray]:
        """The indices of each batch, in the order in which they come."""
        count, size = len(self.sources), self.batch_size
        order = self.rng.permutation(count) if self.shuffle else np.arange(count)
        pool = size * POOL if self.shuffle else count
        planned = []
        for start in range(0, count, pool):
            chosen = order[start : start + pool]
            S, T = self.lengths[chosen].T
            turned = np.where(np.unique(S, return_inverse=True)[1] % 2, T, -T)  # so that neighbours are always alike
            chosen = chosen[np.lexsort((turned, -S))]
            planned += [chosen[k : k + size] for k in range(0, len(chosen), size)]
        return [planned[k] for k in self.rng.permutation(len(planned))] if self.shuffle else planned
