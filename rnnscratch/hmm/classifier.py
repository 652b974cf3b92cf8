"""A classifier of sequences: one hidden Markov model for each class, and Bayes' rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..estimator import Estimator, NotFittedError
from .base import BaseHMM
from .chain import is_text, vocabulary_of
from .discrete import CategoricalHMM


@dataclass(repr=False, eq=False)
class HMMClassifier(Estimator):
    """p(class | x) in proportion to p(class) p(x | class), the latter from the class's own hidden Markov model.

    `model` is the prototype, with its options; one like it is fitted to the sequences of each class. `priors` (K,) are
    p(class), None for the shares of the training data.

    >>> X = [np.array([0, 1, 0, 1, 0]), np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0, 0])] * 3
    >>> y = ["alternating", "alternating", "blocks", "blocks"] * 3
    >>> clf = HMMClassifier(CategoricalHMM(2, random_state=0)).fit(X, y)
    >>> clf.predict([np.array([1, 0, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])]).tolist()
    ['alternating', 'blocks']
    """

    model: BaseHMM | None = None
    priors: Any = None
    classes_: np.ndarray = field(init=False)
    models_: list[BaseHMM] = field(init=False)
    priors_: np.ndarray = field(init=False)

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> HMMClassifier:
        """Learn from sequences X and their classes y. Raises ValueError or TypeError for wrong data."""
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(X):
            raise ValueError(f"y has shape {labels.shape}, expected ({len(X)},): one class for each sequence")
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has the one class {classes.tolist()}, expected at least two")
        shares = np.bincount(codes) / len(codes) if self.priors is None else np.asarray(self.priors, dtype=float)
        if shares.shape != classes.shape or not (shares >= 0).all() or not np.isclose(shares.sum(), 1.0):
            raise ValueError(f"priors is {self.priors!r}, expected {len(classes)} probabilities that sum to 1")
        prototype = self.model if self.model is not None else CategoricalHMM(2, random_state=0)
        params = prototype.get_params(deep=False)
        if params.get("vocabulary", "") is None and params.get("n_features", 0) is None:  # all classes know all symbols
            if is_text(X[0]):
                params["vocabulary"] = vocabulary_of(X)
            else:
                params["n_features"] = max(int(np.max(sequence)) for sequence in X) + 1
        members = [np.flatnonzero(codes == k).tolist() for k in range(len(classes))]
        models = [type(prototype)(**params).fit([X[s] for s in own]) for own in members]
        self.models_, self.classes_, self.priors_ = models, classes, shares
        return self

    def predict_log_proba(self, X: Sequence[Any]) -> np.ndarray:
        """log p(class | x) (S, K) of each sequence, in the order of `classes_`.

        A sequence that no class can produce gets the priors.
        """
        if not hasattr(self, "models_"):
            raise NotFittedError("this HMMClassifier is not fitted yet: call fit first")
        with np.errstate(divide="ignore"):
            joint = np.stack([model.score_sequences(list(X)) for model in self.models_], axis=1) + np.log(self.priors_)
            lost = (joint == -np.inf).all(axis=1, keepdims=True)
            joint = np.where(lost, np.log(self.priors_), joint)
        joint -= joint.max(axis=1, keepdims=True)
        return joint - np.log(np.exp(joint).sum(axis=1, keepdims=True))

    def predict_proba(self, X: Sequence[Any]) -> np.ndarray:
        """p(class | x) (S, K) of each sequence, in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Sequence[Any]) -> np.ndarray:
        """The most probable class (S,) of each sequence."""
        found = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[found]

    def score(self, X: Sequence[Any], y: Sequence[Any]) -> float:
        """The share of sequences that are classified right."""
        return float((self.predict(X) == np.asarray(y)).mean())
