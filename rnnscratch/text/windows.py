"""A long text as windows of parallel streams, for truncated back-propagation through time.

N ids have N - 1 next ones to predict. B streams take about as many each, one behind the other in the text, and are read
side by side; a window is some steps of all of them, and the state after it is the state before the next.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import generator
from ..checks import (
    as_column,
    as_list,
    as_sequences,
    check_flags,
    check_ids,
    check_sequences,
    check_sizes,
    is_array,
    is_single,
)

WINDOW = 70


class Window(NamedTuple):
    """T steps of B streams."""

    ids: np.ndarray  # (T, B)
    targets: np.ndarray  # (T, B) the id that comes after each
    lengths: np.ndarray  # (B,) decreasing; T, or T - 1 in the last window of streams with a step less
    start: int  # how many steps the streams have come before: 0 where they begin


class Windows:
    """An iterable of `Window`, each pass from the beginning of the streams.

    `texts` are arrays of ids, which become one text, each followed by `end_id` where that is given. With `shuffle`,
    every pass has them in a new order, and its windows end in other places. `window` is the most steps of one (the
    last may have one more), `batch_size` the number of streams: fewer where the text is short.

    Raises ValueError or TypeError for texts with less than two ids, what are no ids, or a size below 1.
    """

    def __init__(
        self,
        texts: Any,
        batch_size: int = 64,
        window: int = WINDOW,
        end_id: int | None = None,
        shuffle: bool = False,
        seed: int | np.random.Generator | None = None,
    ):
        check_sizes(batch_size=batch_size, window=window)
        check_flags(shuffle=shuffle)
        found = [text for text in as_sequences("texts", texts) if len(text)]
        if end_id is not None:
            check_sizes(0, end_id=end_id)
            found = [np.append(text, end_id) for text in found]
        self.texts, self.window, self.shuffle = found, int(window), bool(shuffle)
        self.tokens, self.rng = sum(map(len, found)), generator(seed)
        if self.tokens < 2:
            raise ValueError(f"ids number {self.tokens}, expected at least two: one to read and one to predict")
        self.batch_size = min(int(batch_size), self.tokens - 1)

    def __len__(self) -> int:
        return math.ceil(self._steps / self.window)

    @property
    def _steps(self) -> int:
        return (self.tokens - 1) // self.batch_size

    def __iter__(self) -> Iterator[Window]:
        texts, B, steps, T = self.texts, self.batch_size, self._steps, self.window
        early = 0  # how much shorter the first window is
        if self.shuffle:
            texts = [texts[k] for k in self.rng.permutation(len(texts))]
            early = int(self.rng.integers(len(self) * T - steps + 1))
        ids = np.concatenate(texts)
        longer = (self.tokens - 1) % B  # the first streams have one step more
        begins = np.arange(B) * steps + np.minimum(np.arange(B), longer)
        bounds = [0, *range(T - early, steps, T), steps]
        for start, stop in zip(bounds, bounds[1:]):
            lengths = np.full(B, stop - start)
            if stop == steps:
                lengths[:longer] += 1
            at = begins + np.arange(start, start + lengths[0])[:, None]
            at[-1, lengths < lengths[0]] = 0  # past the end: changes nothing
            yield Window(ids[at].astype(np.int64), ids[at + 1].astype(np.int64), lengths, start)

    def summary(self) -> dict[str, int]:
        """How many texts and ids, and a checksum."""
        checksum = zlib.crc32(np.array([len(text) for text in self.texts], np.int64).tobytes())
        for text in self.texts:
            checksum = zlib.crc32(text.astype(np.int64).tobytes(), checksum)
        return {"texts": len(self.texts), "tokens": self.tokens, "checksum": checksum}


def as_texts(data: Any, size: int) -> list[np.ndarray]:
    """A long text of ids in [0, size), or several, as a list. Raises ValueError or TypeError for anything else."""
    entries = data if is_array(data) else as_list("ids", data)
    several = getattr(entries, "ndim", 1) > 1 or (len(entries) and not is_single(entries[0]))
    if not several:
        return [check_ids(as_column("ids", entries, "iu"), size)]
    texts = as_sequences("ids", entries)
    check_sequences("ids", texts, size)
    return texts
