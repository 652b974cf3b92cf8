"""The honest baselines: logistic regression on words, and on pairs of words, with this library's loss and optimizer."""

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


class NbBigrams:
    """Logistic regression on which words and pairs of neighbours a text holds, each weighted by what naive Bayes makes
    of it (Wang & Manning 2012, "Baselines and bigrams").

    The weight is the log-count ratio r = log((p / |p|) / (q / |q|)), where p and q are the numbers of texts of class 1
    and 0 that hold the feature, plus `smoothing`. The logit of a text is the sum of r v over its features, plus a bias;
    v is learned, with the penalty l2/2 |v|^2. `interpolation` b mixes it with its mean size: (1 - b) mean|v| + b v.
    Features that fewer than `min_count` texts hold, and the unknown word, are left out. Adam makes `steps` updates,
    each on the next `batch_size` texts, in an order that is drawn once.
    """

    def __init__(
        self,
        vocabulary_size: int,
        min_count: int = 2,
        smoothing: float = 1.0,
        l2: float = 4e-4,
        interpolation: float = 1.0,
        steps: int = 250,
        learning_rate: float = 0.03,
        batch_size: int = 1000,
    ):
        check_sizes(vocabulary_size=vocabulary_size, min_count=min_count, steps=steps, batch_size=batch_size)
        self.smoothing = check_number("smoothing", smoothing, above=0.0)
        self.l2 = check_number("l2", l2, least=0.0)
        self.interpolation = check_number("interpolation", interpolation, least=0.0)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.vocabulary_size, self.min_count = int(vocabulary_size), int(min_count)
        self.steps, self.batch_size = int(steps), int(batch_size)
        self.features = np.zeros(0, np.int64)  # sorted: a word is its id, the pair of words a, b is a V + b
        self.weights = np.zeros(0)  # r times v
        self.bias = np.zeros(1)

    @property
    def num_params(self) -> int:
        """How many numbers the model learns."""
        return self.weights.size + self.bias.size

    def fit(self, sequences: Any, labels: Any) -> NbBigrams:
        """Learn from sequences of token ids and labels 0 or 1. Raises ValueError or TypeError for other data."""
        sequences, targets = check_labels((sequences, labels), 2)
        order = np.random.default_rng(0).permutation(len(targets))
        targets = targets[order]
        found, counts = self._found([sequences[k] for k in order])
        features, texts_with = np.unique(found, return_counts=True)
        features = features[texts_with >= self.min_count]
        if not len(features):
            raise ValueError(f"sequences hold no word or pair of words that min_count={self.min_count} texts have")
        places, counts = self._places(found, counts, features)
        size, text = len(features), np.repeat(np.arange(len(counts)), counts)
        p, q = (np.bincount(places[targets[text] == k], minlength=size) + self.smoothing for k in (1, 0))
        r = np.log(p / p.sum()) - np.log(q / q.sum())
        v, bias, optimizer = np.zeros(size), np.zeros(1), Adam(self.learning_rate)
        ends, firsts = np.concatenate([[0], np.cumsum(counts)]), range(0, len(counts), self.batch_size)
        for step in range(self.steps):
            first = firsts[step % len(firsts)]
            batch = slice(first, first + self.batch_size)
            here = places[ends[first] : ends[min(batch.stop, len(counts))]]
            _, dlogits = binary_cross_entropy(totals(r * v, here, counts[batch]) + bias, targets[batch])
            dv = r * np.bincount(here, np.repeat(dlogits, counts[batch]), size) + self.l2 * v
            optimizer.learning_rate = self.learning_rate * (1 - step / self.steps)
            optimizer.step({"v": v, "bias": bias}, {"v": dv, "bias": dlogits.sum(keepdims=True)})
        b = self.interpolation
        self.features, self.weights, self.bias = features, r * ((1 - b) * np.abs(v).mean() + b * v), bias
        return self

    def decision(self, sequences: Any) -> np.ndarray:
        """The logits (N,) of class 1. Raises ValueError or TypeError for other sequences."""
        return totals(
            self.weights, *self._places(*self._found(as_sequences("sequences", sequences)), self.features)
        ) + (self.bias)

    def _found(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The different words and pairs of all texts in a row, and how many each text has (N,)."""
        check_sequences("sequences", sequences, self.vocabulary_size)
        found = []
        for ids in sequences:
            ids = ids.astype(np.int64)
            first, second = ids[:-1], ids[1:]
            pairs = (first * self.vocabulary_size + second)[(first > 0) & (second > 0)]
            found.append(np.unique(np.concatenate([ids[ids > 0], pairs])))
        return np.concatenate(found), np.array([len(features) for features in found])

    def _places(self, found: np.ndarray, counts: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of what `_found` gives, the places among the features of those that are there, and how many each text has."""
        places = np.minimum(np.searchsorted(features, found), max(0, len(features) - 1))
        known = features[places] == found if len(features) else np.zeros(len(found), bool)
        ends = np.concatenate([[0], np.cumsum(known)])[np.concatenate([[0], np.cumsum(counts)])]
        return places[known].astype(np.int32), np.diff(ends)


def totals(values: np.ndarray, places: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sum of the values at each text's places (N,), of which it has so many; 0 where it has none."""
    sums = np.concatenate([[0.0], np.cumsum(values[places])])
    ends = np.concatenate([[0], np.cumsum(counts)])
    return sums[ends[1:]] - sums[ends[:-1]]
