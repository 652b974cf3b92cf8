"""Words to numbers and back; number 0 is every unknown word (Table 4 of the report)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import index as index_of
from typing import Any

import numpy as np

from ..files import JSON_LIMIT, atomic_write, parse_json, read_bytes, reading, to_json

UNKNOWN = "<unk>"
_FORMAT = "rnnscratch vocabulary 1"


class Vocabulary:
    """A list of words in which a word's position is its id; position 0 is the unknown word.

    >>> vocabulary = Vocabulary.build([["good", "film"], ["good", "plot"]])
    >>> vocabulary.words
    ['<unk>', 'good', 'film', 'plot']
    >>> vocabulary.encode(["good", "acting"])
    array([1, 0])
    """

    def __init__(self, words: Sequence[str]):
        """From all words in order of their ids, the unknown word first. Raises ValueError if they are not that."""
        self.words = list(words)
        if not self.words or self.words[0] != UNKNOWN:
            raise ValueError(f"words[0] is {self.words[0] if self.words else None!r}, expected {UNKNOWN!r}")
        self.ids = {word: index for index, word in enumerate(self.words)}
        if len(self.ids) < len(self.words) or not all(isinstance(word, str) for word in self.words):
            raise ValueError("words holds a word twice or something that is no string")

    @classmethod
    def build(cls, texts: Iterable[Sequence[str]], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """The words of tokenised texts, the most frequent first, ties in alphabetical order.

        Words seen fewer than `min_count` times are left out, and of the others all but the first `max_size` - 1, so
        that the vocabulary has at most `max_size` entries with the unknown word.
        """
        if min_count < 1:
            raise ValueError(f"min_count is {min_count}, expected at least 1")
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size is {max_size}, expected at least 1, for the unknown word")
        counts: Counter[str] = Counter()
        for text in texts:
            if isinstance(text, str):
                raise TypeError("texts holds a string, expected lists of words")
            counts.update(text)
        counts.pop(UNKNOWN, None)
        ranked = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls([UNKNOWN, *(ranked if max_size is None else ranked[: max_size - 1])])

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """The ids (N,) of N words; 0 for each unknown one. Raises TypeError for a string, which is not yet words."""
        if isinstance(words, str):
            raise TypeError("words is one string, expected a list of words")
        return np.array([self.ids.get(word, 0) for word in words], dtype=np.int64)

    def encode_all(self, texts: Iterable[Iterable[str]]) -> list[np.ndarray]:
        """`encode` for many texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of ids. Raises ValueError for an id outside the vocabulary, TypeError for no integer."""
        ids = [index_of(index) for index in ids]
        for position, index in enumerate(ids):
            if not 0 <= index < len(self.words):
                raise ValueError(f"ids[{position}] is {index}, expected 0 to {len(self.words) - 1}")
        return [self.words[index] for index in ids]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, word: str) -> int:
        """The word's id, 0 if it is unknown."""
        return self.ids.get(word, 0)

    def __contains__(self, word: object) -> bool:
        return word in self.ids and word != UNKNOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words: {', '.join(self.words[1:6])}, ...)"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON; a failure leaves an older file whole."""
        text = to_json({"format": _FORMAT, "words": self.words})
        with atomic_write(path) as file:
            file.write(text)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote.

        Raises OSError, or ValueError, naming the file, for a file that is truncated or something else.
        """
        content = read_bytes(path, JSON_LIMIT)
        with reading(path, "is not a vocabulary of this library, or damaged"):
            found: Any = parse_json(content)
            if not isinstance(found, dict) or found.get("format") != _FORMAT:
                raise ValueError(f"no mark {_FORMAT!r}")
            if not isinstance(found["words"], list):
                raise ValueError(f"words is {type(found['words']).__name__}, expected a list")
            return cls(found["words"])
