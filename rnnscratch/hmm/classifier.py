"""A classifier of sequences: one hidden Markov model for each class, and Bayes' rule."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_labels, check_distribution, positions
from ..estimator import Estimator
from .base import BaseHMM
from .chain import check_entries
from .discrete import CategoricalHMM
from .frames import Sequences, one_by_one, read


@dataclass(repr=False, eq=False)
class HMMClassifier(Estimator):
    """p(class | x) in proportion to p(class) p(x | class), the latter from the class's own hidden Markov model.

    `model` is the prototype, None for a `CategoricalHMM` of two states; one like it, with its options and with the
    parameters that were set by hand (which scikit-learn's `clone` leaves out), is fitted to the sequences of each
    class. `priors` (K,) are p(class), None for the shares of the training data. X is always a list of
    sequences, each a row, a string of characters, or an array-like of frames (T, D); an array (S, T) holds one in each
    row.

    >>> X = [np.array([0, 1, 0, 1, 0]), np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0, 0])] * 3
    >>> y = ["alternating", "alternating", "blocks", "blocks"] * 3
    >>> clf = HMMClassifier(CategoricalHMM(2, random_state=0)).fit(X, y)
    >>> clf.predict([np.array([1, 0, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])]).tolist()
    ['alternating', 'blocks']
    """

    _learned = ("models_", "classes_", "priors_")
    _estimator_type = "classifier"
    _input_tags = {"three_d_array": True, "string": True, "allow_nan": True}

    model: BaseHMM | None = None
    priors: Any = None
    classes_: np.ndarray = field(init=False)
    models_: list[BaseHMM] = field(init=False)
    priors_: np.ndarray = field(init=False)

    def fit(self, X: Any, y: Any) -> HMMClassifier:
        """Learn from sequences X and their classes y, of which there are at least two.

        All classes know the symbols of all. Raises ValueError or TypeError for wrong data or options.
        """
        prototype = self.model if self.model is not None else CategoricalHMM(2, random_state=0)
        if not isinstance(prototype, BaseHMM):
            raise TypeError(f"model is {prototype!r:.60}, expected a hidden Markov model")
        if y is None:
            raise ValueError("HMMClassifier requires y to be passed, but the target y is None")
        prototype._check_options()
        sequences = one_by_one("X", X)
        emission = prototype.emission(**{**vars(prototype), "vocabulary_": None, "learning": True})
        emission, frames, _ = read(emission, sequences, None)
        labels = as_labels("y", y, len(sequences))
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has the one class {classes.tolist()}, expected at least two")
        shares = np.bincount(codes) / len(codes)
        if self.priors is not None:
            shares = check_distribution("priors", self.priors, len(classes))
            if shares.ndim != 1:
                raise ValueError(f"priors has shape {shares.shape}, expected ({len(classes)},)")
        params = prototype.get_params(deep=False)
        if emission.symbols and emission.vocabulary_ is not None:
            params["vocabulary"] = emission.vocabulary_
        elif emission.symbols and params["n_features"] is None:
            params["n_features"] = K = max(int(to_cpu(frames.max())) + 1, 1)
            check_entries("n_features", K, K * prototype.n_components, len(frames))
        members = [np.flatnonzero(codes == k).tolist() for k in range(len(classes))]
        models = [
            copy.copy(prototype).set_params(**params).fit(Sequences([sequences[s] for s in own])) for own in members
        ]
        self.models_, self.classes_, self.priors_ = models, classes, shares
        return self

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """log p(class | x) (S, K) of each sequence, in the order of `classes_`.

        A sequence that no class can produce gets the priors.
        """
        self._check_fitted()
        sequences = one_by_one("X", X)
        with np.errstate(divide="ignore"):
            log_priors = np.log(self.priors_)
        joint = np.stack([model.score_sequences(sequences) for model in self.models_], axis=1) + log_priors
        joint = np.where((joint == -np.inf).all(axis=1, keepdims=True), log_priors, joint)
        joint -= joint.max(axis=1, keepdims=True)
        return joint - np.log(np.exp(joint).sum(axis=1, keepdims=True))

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(class | x) (S, K) of each sequence, in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (S,) of each sequence."""
        found = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[found]

    def score(self, X: Any, y: Any) -> float:
        """The share of sequences that are classified right. Raises ValueError or TypeError for an unknown class."""
        found = self.predict_log_proba(X).argmax(axis=1)
        return float((found == positions("y", as_labels("y", y, len(found)), self.classes_)).mean())
