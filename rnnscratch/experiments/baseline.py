"""The honest baselines: logistic regression on words, and on runs of words, with this library's loss and Adam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import as_sequences, check_labels, check_number, check_sequences, check_sizes
from ..kernels.losses import binary_cross_entropy
from ..optimizers import Adam
from ..progress import progress_bar


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


class NbNgrams:
    """Logistic regression on which words, pairs of neighbours, and so on up to `longest` words in a row a text holds,
    each weighted by what naive Bayes makes of it (Wang & Manning 2012, "Baselines and bigrams").

    The weight is the log-count ratio r = log((p / |p|) / (q / |q|)), where p and q are the numbers of texts of class 1
    and 0 that hold the feature, plus `smoothing`. The logit of a text is the sum of r v over its features, plus a bias;
    v is learned, with the penalty l2/2 |v|^2. `interpolation` b mixes it with its mean size: (1 - b) mean|v| + b v.
    Features that fewer than `min_count` texts hold, and the unknown word, are left out. Adam makes `steps` updates,
    each on the next `batch_size` texts, in an order that is drawn once.
    """

    def __init__(
        self,
        vocabulary_size: int,
        longest: int = 2,
        min_count: int = 2,
        smoothing: float = 1.0,
        l2: float = 4e-4,
        interpolation: float = 1.0,
        steps: int = 250,
        learning_rate: float = 0.03,
        batch_size: int = 1000,
    ):
        check_sizes(
            vocabulary_size=vocabulary_size, longest=longest, min_count=min_count, steps=steps, batch_size=batch_size
        )
        if int(vocabulary_size) ** int(longest) >= 2**63:
            raise ValueError(f"longest is {longest}, expected at most {int(63 / math.log2(vocabulary_size))} words")
        self.smoothing = check_number("smoothing", smoothing, above=0.0)
        self.l2 = check_number("l2", l2, least=0.0)
        self.interpolation = check_number("interpolation", interpolation, least=0.0)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.vocabulary_size, self.longest, self.min_count = int(vocabulary_size), int(longest), int(min_count)
        self.steps, self.batch_size = int(steps), int(batch_size)
        self.features = np.zeros(0, np.int64)  # sorted: a word is its id, the pair of words a, b is a V + b, ...
        self.weights = np.zeros(0)  # r times v
        self.bias = np.zeros(1)

    @property
    def num_params(self) -> int:
        """How many numbers the model learns."""
        return self.weights.size + self.bias.size

    def fit(self, sequences: Any, labels: Any) -> NbNgrams:
        """Learn from sequences of token ids and labels 0 or 1. Raises ValueError or TypeError for other data."""
        sequences, targets = check_labels((sequences, labels), 2)
        found, counts = self._found(sequences)
        features, places = np.unique(found, return_inverse=True)
        return self._keep(features, *self._learn(places, counts, targets, len(features)))

    def _keep(self, features: np.ndarray, kept: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> NbNgrams:
        self.features, self.weights, self.bias = features[kept], weights[kept], bias
        return self

    def _learn(
        self, places: np.ndarray, counts: np.ndarray, targets: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of so many features are kept, the weights of all (size,), 0 of the others, and the bias."""
        order = np.random.default_rng(0).permutation(len(targets))
        texts = np.split(places, np.cumsum(counts)[:-1])
        places, counts, targets = np.concatenate([texts[k] for k in order]), counts[order], targets[order]
        kept = np.bincount(places, minlength=size) >= self.min_count
        if not kept.any():
            raise ValueError(f"sequences hold no word or run of words that min_count={self.min_count} texts have")
        places, counts = only((np.cumsum(kept) - 1)[places], kept[places], counts)
        size, text = int(kept.sum()), np.repeat(np.arange(len(counts)), counts)
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
        b, weights = self.interpolation, np.zeros(len(kept))
        weights[kept] = r * ((1 - b) * np.abs(v).mean() + b * v)
        return kept, weights, bias

    def decision(self, sequences: Any) -> np.ndarray:
        """The logits (N,) of class 1. Raises ValueError or TypeError for other sequences."""
        found, counts = self._found(as_sequences("sequences", sequences))
        places = np.minimum(np.searchsorted(self.features, found), max(0, len(self.features) - 1))
        known = self.features[places] == found if len(self.features) else np.zeros(len(found), bool)
        return totals(self.weights, *only(places, known, counts)) + self.bias

    def fit_decision(self, sequences: Any, labels: Any, folds: int = 5, progress: bool = False) -> np.ndarray:
        """`fit`, and the logits (N,) of the same texts, each by a model that learned from the other folds.

        A fold is a run of neighbours of each label, so that texts on one subject, which often stand together, are not
        on both sides. Raises ValueError or TypeError for other data, or less than two texts of a label.
        """
        sequences, targets = check_labels((sequences, labels), 2)
        fold, logits = np.zeros(len(targets), int), np.zeros(len(targets))
        for label in (0, 1):
            members = np.flatnonzero(targets == label)
            if len(members) < 2:
                raise ValueError(f"labels hold {label} {len(members)} times, expected at least 2, one in each part")
            fold[members] = np.arange(len(members)) * min(folds, len(members)) // len(members)
        found, counts = self._found(sequences)
        features, places = np.unique(found, return_inverse=True)
        for k in progress_bar(range(fold.max() + 1), progress, desc="teacher", unit=" folds", leave=False):
            left_out = fold == k
            of_left_out = np.repeat(left_out, counts)
            _, weights, bias = self._learn(places[~of_left_out], counts[~left_out], targets[~left_out], len(features))
            logits[left_out] = totals(weights, places[of_left_out], counts[left_out]) + bias
        self._keep(features, *self._learn(places, counts, targets, len(features)))
        return logits

    def _found(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The different words and runs of words of all texts in a row, and how many each text has (N,)."""
        check_sequences("sequences", sequences, self.vocabulary_size)
        found = []
        for ids in sequences:
            run = ids = ids.astype(np.int64)
            known, features = ids > 0, [ids[ids > 0]]
            for further in range(1, self.longest):
                run = run[:-1] * self.vocabulary_size + ids[further:]
                known = known[:-1] & (ids[further:] > 0)
                features.append(run[known])
            found.append(np.unique(np.concatenate(features)))
        return np.concatenate(found), np.array([len(features) for features in found])


def only(places: np.ndarray, chosen: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the places of all texts in a row, of which each text has so many, those chosen, and how many each text has."""
    ends = np.concatenate([[0], np.cumsum(chosen)])[np.concatenate([[0], np.cumsum(counts)])]
    return places[chosen].astype(np.int32), np.diff(ends)


def totals(values: np.ndarray, places: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sum of the values at each text's places (N,), of which it has so many; 0 where it has none."""
    sums = np.concatenate([[0.0], np.cumsum(values[places])])
    ends = np.concatenate([[0], np.cumsum(counts)])
    return sums[ends[1:]] - sums[ends[:-1]]
