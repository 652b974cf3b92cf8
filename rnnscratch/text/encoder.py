"""From texts to token ids at once, where nobody asks for the words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import check_choice
from .clean import RECIPES, without_markup, words_of
from .vocabulary import Vocabulary

MOST, LONGEST = 2**17, 32  # pieces that are remembered, and their characters


class Encoder:
    """`vocabulary.encode_all(clean_texts(texts, recipe))` in half the time or less.

    Each piece of text between white space is cleaned and looked up once, and remembered for these texts and the next,
    in some 25 MB at most. Raises ValueError for another recipe.

    >>> encode = Encoder(Vocabulary(["<unk>", "good", "film"]), "default")
    >>> [ids.tolist() for ids in encode(["A good, GOOD film", ""])]
    [[0, 1, 1, 2], []]
    """

    def __init__(self, vocabulary: Vocabulary, recipe: str):
        check_choice("recipe", recipe, RECIPES)
        self._recipe, self._pieces = recipe, _Pieces(vocabulary, recipe)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids (N,) int64, read-only, of the N words of each text."""
        ids_of = self._pieces.__getitem__
        return [
            np.frombuffer(b"".join(map(ids_of, without_markup(text, self._recipe).split())), np.int64) for text in texts
        ]


class _Pieces(dict[str, bytes]):
    """The bytes of the ids of a piece's words."""

    def __init__(self, vocabulary: Vocabulary, recipe: str):
        self._ids = {word: np.int64(index).tobytes() for word, index in vocabulary.ids.items()}
        self._unknown, self._recipe = np.int64(0).tobytes(), recipe

    def __missing__(self, piece: str) -> bytes:
        found = b"".join([self._ids.get(word, self._unknown) for word in words_of(piece, self._recipe)])
        if len(piece) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[piece] = found
        return found
