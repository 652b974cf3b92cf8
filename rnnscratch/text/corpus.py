"""Labelled texts of a file as token ids on the disk, so that what is learned from may be larger than memory.

A file is read once. Every word gets a number of its own as it comes, the numbers go to the disk, and words are counted;
which of them are in the vocabulary is known only at the end, so numbers become ids when they are read again.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import generator
from ..files import open_regular
from .batches import Batches
from .encoder import Encoder
from .tables import Row
from .vocabulary import Vocabulary

PART, LETTERS = 1024, 2**21  # texts that are cleaned at a time, at most, and their characters before the last
CLASSES = 1000  # different labels at most: more are numbers or texts, and no classes
WORD_BYTES, NUMBER_BYTES, ROW_BYTES = 200, 16, 48  # memory for a word, a number of a word, a row, roughly, at most


class Words(dict[str, int]):
    """Numbers of words, given as they come, and how often each came.

    Where there are more words than `most`, the rarest go, half of all: a word that comes again later gets a new number,
    so that words that are rare over long stretches may be counted too low.
    """

    def __init__(self, most: int):
        self.most = most
        self.counts = np.zeros(1024, np.int64)
        self.given = 0  # numbers

    def __missing__(self, word: str) -> int:
        self[word] = number = self.given
        self.given += 1
        return number

    def count(self, texts: list[np.ndarray]) -> bool:
        """Count the words of texts, given by their numbers; whether some were forgotten."""
        if self.given > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(self.given, np.int64)])
        numbers, counts = np.unique(np.concatenate(texts), return_counts=True)
        self.counts[numbers] += counts
        if len(self) <= self.most:
            return False
        counts = self.counts[np.fromiter(self.values(), np.int64, len(self))]
        least = int(np.partition(counts, len(counts) // 2)[len(counts) // 2])
        for word in [word for word, number in self.items() if self.counts[number] <= least]:
            del self[word]
        return True


class Index:
    """What is held in memory of the rows of a file: where each ends on the disk, its label, its group."""

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}  # and their numbers, as they come
        self.codes, self.lengths, self.hashes = array("i"), array("i"), array("Q")

    def add(self, row: Row, length: int) -> None:
        """A row whose text has so many words."""
        assert row.label is not None
        self.codes.append(self.labels.setdefault(row.label, len(self.labels)))
        self.lengths.append(length)
        if row.group is not None:
            digest = hashlib.blake2b(row.group.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            self.hashes.append(int.from_bytes(digest, "little"))

    def __len__(self) -> int:
        return len(self.codes)

    def size(self, words: Words | Vocabulary) -> int:
        """Bytes of memory, roughly, at most: of the rows, and of the numbers of their words."""
        return ROW_BYTES * len(self) + NUMBER_BYTES * (words.given if isinstance(words, Words) else 0)

    def in_order(self, classes: Sequence[str]) -> np.ndarray:
        """The labels (N,) of all rows as positions in `classes`."""
        places = np.array([classes.index(label) for label in self.labels])
        return places[np.frombuffer(self.codes, np.int32)]

    def starts(self) -> np.ndarray:
        """Where each row begins, and the last ends (N + 1,), in words."""
        return np.concatenate([[0], np.cumsum(np.frombuffer(self.lengths, np.int32), dtype=np.int64)])

    def groups(self) -> np.ndarray:
        """A number (N,) for the group of each row."""
        return np.frombuffer(self.hashes, np.uint64)


def store(
    rows: Iterator[Row],
    path: Path,
    recipe: str,
    words: Words | Vocabulary,
    name: str,
    classes: Sequence[str] | None = None,
    memory: float = float("inf"),
) -> Index:
    """Write the words of texts, cleaned by a recipe, as int32 numbers to a new file at `path`, and give the rest.

    A vocabulary's numbers are its ids, those of `Words` are given and counted.

    `name` is what the file of the texts is called in errors. Raises ValueError, with its line, for a label that is
    empty, or is not one of `classes` where these are given; for a file without rows; and where the rows take more bytes
    than `memory`.
    """
    index, encode = Index(), Encoder(words, recipe, np.int32)
    with open(path, "wb") as file:
        for part in parts_of(rows):
            for row in part:
                check_label(row, name, classes)
            numbers = encode([row.text for row in part])
            if isinstance(words, Words) and words.count(numbers):
                encode.forget()
            file.write(np.concatenate(numbers).tobytes())
            for row, found in zip(part, numbers):
                index.add(row, len(found))
            if len(index.labels) > CLASSES:
                raise ValueError(f"{name} has more than {CLASSES:,} different labels: is it another column?")
            if (need := index.size(words)) > memory:
                raise ValueError(
                    f"{name}: what is held of the rows up to line {part[-1].line:,} takes {need / 1e6:,.3g} MB, and "
                    f"{memory / 1e6:,.3g} MB are left for it, half of memory: allow more by memory= or --memory"
                )
    if not len(index):
        raise ValueError(f"{name} has no rows, expected at least one text")
    return index


def parts_of(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows by parts of no more than `PART`, and of not many more characters than `LETTERS`."""
    part: list[Row] = []
    letters = 0
    for row in rows:
        part.append(row)
        letters += len(row.text)
        if len(part) == PART or letters >= LETTERS:
            yield part
            part, letters = [], 0
    if part:
        yield part


def check_label(row: Row, name: str, classes: Sequence[str] | None = None) -> None:
    """Raise ValueError, with file and line, for an empty label or one that is none of the classes."""
    if row.label == "":
        raise ValueError(f"{name}, line {row.line}: the label is empty")
    if classes is not None and row.label not in classes:
        raise ValueError(
            f"{name}, line {row.line}: the label is {row.label!r:.60}, expected one of those that were learned: "
            f"{', '.join(classes):.200}"
        )


def checksum(path: Path) -> list[int]:
    """How long a file is, and the CRC-32 of its bytes."""
    size, found = 0, 0
    with open_regular(path) as file:
        while part := file.read(2**20):
            size, found = size + len(part), zlib.crc32(part, found)
    return [size, found]


class Stored(Sequence[np.ndarray]):
    """The texts of some rows as token ids (length,), each read from the disk when it is asked for.

    `starts` (N + 1,) says where each row of the file begins, in tokens; `ids` which id a number of a word has, None
    where they are ids already. Texts keep their last `max_length` ids; an empty one is one unknown word.
    """

    def __init__(
        self,
        path: Path,
        starts: np.ndarray,
        rows: np.ndarray,
        ids: np.ndarray | None = None,
        max_length: int | None = None,
    ):
        self.path, self.rows, self.ids = path, rows, ids
        self.ends = starts[1:][rows]
        length = self.ends - starts[:-1][rows]
        self.lengths = length if max_length is None else np.minimum(length, max_length)
        self._file = open_regular(path)

    def __getitem__(self, index: Any) -> Any:
        length = int(self.lengths[index])
        if not length:
            return np.zeros(1, np.int64)
        self._file.seek(4 * (int(self.ends[index]) - length))
        content = self._file.read(4 * length)
        if len(content) != 4 * length:
            raise OSError(f"{self.path} ends within the words of row {int(self.rows[index]) + 1}")
        numbers = np.frombuffer(content, np.int32)
        return numbers.astype(np.int64) if self.ids is None else self.ids[numbers]

    def __len__(self) -> int:
        return len(self.ends)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class StoredBatches(Batches):
    """`Batches` of stored texts; with more than one part, of a part of them in each epoch of `training.fit`, in turn.

    Which text is in which part is drawn once. With one part they are what `Batches` makes of the same texts in memory.
    """

    def __init__(
        self, texts: Stored, labels: np.ndarray, batch_size: int, shuffle: bool = False, seed: int = 0, parts: int = 1
    ):
        self.sequences: Any = texts
        self.labels, self.batch_size, self.shuffle, self.rng = labels, batch_size, shuffle, generator(seed)
        self.lengths = np.maximum(texts.lengths, 1)
        drawn = generator(seed).permutation(len(texts)) if parts > 1 else np.arange(len(texts))
        self.parts = np.array_split(drawn, parts)
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Go through the part that an epoch, counted from 1, has."""
        self.positions = self.parts[(epoch - 1) % len(self.parts)]
