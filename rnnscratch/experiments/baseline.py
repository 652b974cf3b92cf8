"""The honest baseline: logistic regression on a bag of words, with this library's loss and optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import as_sequences, check_labels, check_number, check_sequences, check_sizes
from ..kernels.losses import binary_cross_entropy
from ..optimizers import Adam


class BagOfWords:
    """Logistic regression on which words a text holds, weighted by their rarity (idf) and scaled to length 1.

    Word order plays no part, which is what the recurrent networks must beat. Trained by Adam on the whole data at once.
    """

    def __init__(self, vocabulary_size: int, l2: float = 1e-5, steps: int = 200, learning_rate: float = 0.5):
        check_sizes(vocabulary_size=vocabulary_size, steps=steps)
        check_number("l2", l2, least=0.0)
        check_number("learning_rate", learning_rate, above=0.0)
        self.weights = np.zeros(vocabulary_size)
        self.bias = np.zeros(1)
        self.idf = np.ones(vocabulary_size)
        self.l2, self.steps, self.learning_rate = l2, steps, learning_rate

    @property
    def num_params(self) -> int:
        """How many numbers the model learns."""
        return self.weights.size + self.bias.size

    def fit(self, sequences: Any, labels: Any) -> BagOfWords:
        """Learn from sequences of token ids and labels 0 or 1. Raises ValueError or TypeError for other data."""
        sequences, targets = check_labels((sequences, labels), 2)
        words, starts = self._words(sequences)
        if not words.any():
            raise ValueError("sequences hold no token but 0, the unknown word: there is nothing to learn from")
        count = np.bincount(words, minlength=len(self.weights))
        self.idf = np.log((1 + len(sequences)) / (1 + count)) + 1
        values = self._values(words, starts)
        text_of_word = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(words))))
        optimizer = Adam(self.learning_rate, beta2=0.99)
        for step in range(self.steps):
            logits = np.add.reduceat(self.weights[words] * values, starts) + self.bias
            _, dlogits = binary_cross_entropy(logits, targets)
            dweights = np.bincount(words, values * dlogits[text_of_word], len(self.weights)) + self.l2 * self.weights
            optimizer.learning_rate = self.learning_rate * (1 - step / self.steps)
            optimizer.step(
                {"weights": self.weights, "bias": self.bias},
                {"weights": dweights, "bias": dlogits.sum(keepdims=True)},
            )
        return self

    def decision(self, sequences: Any) -> np.ndarray:
        """The logits (N,) of class 1. Raises ValueError or TypeError for other sequences."""
        words, starts = self._words(as_sequences("sequences", sequences))
        return np.add.reduceat(self.weights[words] * self._values(words, starts), starts) + self.bias

    def _words(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The different words of all texts in a row, and where each text begins; an empty text has the unknown word."""
        check_sequences("sequences", sequences, len(self.weights))
        different = [np.unique(ids) if len(ids) else np.zeros(1, int) for ids in sequences]
        starts = np.cumsum([0, *map(len, different[:-1])])
        return np.concatenate(different), starts

    def _values(self, words: np.ndarray, starts: np.ndarray) -> np.ndarray:
        values = self.idf[words]
        norms = np.sqrt(np.add.reduceat(values**2, starts))
        return values / np.repeat(norms, np.diff(np.append(starts, len(words))))
