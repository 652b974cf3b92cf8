"""Words to numbers and back; number 0 is every unknown word (Table 4 of the report)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import as_column, as_list, as_strings, check_sizes, refuse_first
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

    def __init__(self, words: Any):
        """From all words in order of their ids, the unknown word first. Raises ValueError if they are not that."""
        try:
            self.words = as_strings("words", words)
        except TypeError as error:
            raise ValueError(str(error)) from None
        if not self.words or self.words[0] != UNKNOWN:
            raise ValueError(f"words[0] is {self.words[0] if self.words else None!r}, expected {UNKNOWN!r}")
        self.ids = {word: index for index, word in enumerate(self.words)}
        if len(self.ids) < len(self.words):
            twice = next(word for index, word in enumerate(self.words) if self.ids[word] != index)
            raise ValueError(f"words holds {twice!r} twice, expected different words")

    @classmethod
    def build(cls, texts: Any, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """The words of tokenised texts, the most frequent first, ties in alphabetical order.

        Words seen fewer than `min_count` times are left out, and of the others all but the first `max_size` - 1, so
        that the vocabulary has at most `max_size` entries with the unknown word.
        """
        check_sizes(min_count=min_count, max_size=1 if max_size is None else max_size)
        counts: Counter[str] = Counter()
        for k, text in enumerate(as_list("texts", texts)):
            counts.update(as_strings(f"texts[{k}]", text))
        return cls.from_counts(counts, min_count, max_size)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """`build`, of words that are counted already."""
        check_sizes(min_count=min_count, max_size=1 if max_size is None else max_size)
        often = (word for word, count in counts.items() if count >= min_count and word != UNKNOWN)
        ranked = sorted(often, key=lambda word: (-counts[word], word))
        return cls([UNKNOWN, *(ranked if max_size is None else ranked[: max_size - 1])])

    def encode(self, words: Any) -> np.ndarray:
        """The ids (N,) of N words; 0 for each unknown one. Raises TypeError for a string, which is not yet words."""
        return self._encode("words", words)

    def encode_all(self, texts: Any) -> list[np.ndarray]:
        """`encode` for many texts."""
        return [self._encode(f"texts[{k}]", text) for k, text in enumerate(as_list("texts", texts))]

    def _encode(self, name: str, words: Any) -> np.ndarray:
        return np.array([self.ids.get(word, 0) for word in as_strings(name, words)], dtype=np.int64)

    def decode(self, ids: Any) -> list[str]:
        """The words of ids. Raises ValueError for an id outside the vocabulary, TypeError for no integer."""
        found = as_column("ids", ids, "iu")
        refuse_first("ids", found, (found >= 0) & (found < len(self.words)), f"0 to {len(self.words) - 1}")
        return [self.words[index] for index in found.tolist()]

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
