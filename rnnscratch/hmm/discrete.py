"""Symbols, of which each state has a probability for each (Eqs 55, 56), and counts, of which it has a mean for each."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_distribution, check_number, check_sizes
from .base import BaseHMM
from .chain import is_text, look_up, vocabulary_of
from .emission import (
    Emission,
    as_parameter,
    centres,
    check_seen,
    dirichlet_log_density,
    draw,
    mean_and_variance,
    shares,
)


class Categorical(Emission):
    """emissionprob_ (N, K): p(symbol | state) of K symbols (Eqs 55, 56)."""

    letters = {"e": "emissionprob_"}
    remembers = ("vocabulary_",)

    def log_density(self, X: Array) -> Array:
        with np.errstate(divide="ignore"):
            return get_array_module(X).asarray(np.log(self.emissionprob_)).take(X, axis=1)

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        K, vocabulary = self.n_features, getattr(self, "vocabulary_", None)
        if K is None and vocabulary is not None:
            K = len(vocabulary)
        if K is not None and X.max() >= K:
            raise ValueError(f"X holds symbol {X.max()}, but n_features is {K}")
        if not self.chosen("init_params"):
            return {}
        K = int(X.max()) + 1 if K is None else K
        drawn = rng.dirichlet(np.ones(K), self.n_components)
        return {"emissionprob_": drawn if self.init == "random" else (drawn + np.bincount(X, minlength=K) / len(X)) / 2}

    def statistics(self, X: Array, weights: Array) -> np.ndarray:
        """How often each state emits each symbol (N, K), by expectation."""
        xp = get_array_module(X, weights)
        return np.stack([to_cpu(xp.bincount(X, row, minlength=self.n_features_)) for row in weights])

    def estimate(self, statistics: np.ndarray) -> dict[str, Any]:
        return {"emissionprob_": shares(statistics, self.emissionprob_prior, self.emissionprob_)[0]}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return draw(self.emissionprob_, states, rng)[:, None]

    def log_prior(self) -> float:
        if not self.chosen("params"):
            return 0.0
        return dirichlet_log_density(self.emissionprob_, self.emissionprob_prior)

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By log emissionprob_, each entry free."""
        return {"emissionprob": self.statistics(X, dlog_b)}

    def count_params(self) -> int:
        return int((self.emissionprob_ > 0).sum()) - self.n_components if self.chosen("params") else 0

    def check_options(self) -> None:
        if self.n_features is not None:
            check_sizes(n_features=self.n_features)

    def check(self) -> dict[str, np.ndarray]:
        as_parameter("emissionprob_", self.emissionprob_, (self.n_components, None))
        return {"emissionprob_": check_distribution("emissionprob_", self.emissionprob_)}

    def encode(self, X: Any, lengths: Any, learn: bool = False) -> tuple[Categorical, Any, Any]:
        X = [X] if isinstance(X, str) else X
        vocabulary = None if learn else getattr(self, "vocabulary_", None)
        if isinstance(X, (list, tuple)) and any(is_text(x) for x in X):
            if lengths is not None and all(isinstance(x, str) for x in X):
                X = [list(X)]  # a row of symbols, cut by lengths
            if not all(is_text(x) or (isinstance(x, (list, tuple)) and not x) for x in X):
                raise TypeError("X holds strings and numbers, expected one kind")
            if learn:
                vocabulary = vocabulary_of(X, self.vocabulary)
            elif vocabulary is None:
                raise TypeError("X holds strings, but the model was fitted to integers")
            X = [look_up(text, vocabulary, f"sequence {s}") for s, text in enumerate(X)]
            X, lengths = np.concatenate(X), [len(x) for x in X] if lengths is None else lengths
        elif lengths is None and isinstance(X, (list, tuple)) and any(isinstance(x, (list, tuple)) for x in X):
            X = [np.asarray(x) for x in X]
        return self.replace(vocabulary_=vocabulary), X, lengths

    def as_frames(self, x: Any, name: str) -> Array:
        """One array of symbols as integers (M,)."""
        found = x if hasattr(x, "dtype") else np.asarray(x)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim != 1:
            raise ValueError(f"{name} has shape {found.shape}, expected symbols (frames,) or (frames, 1)")
        if found.dtype.kind not in "iu":
            raise TypeError(f"{name} has dtype {found.dtype}, expected integers")
        lowest = int(to_cpu(found.min())) if found.size else 0
        if lowest < -1:
            raise ValueError(f"{name} holds {lowest}, expected symbols from 0, or -1 where missing")
        return found.astype(np.int64, copy=False)

    def check_data(self, X: Array) -> None:
        highest = int(to_cpu(X.max()))
        if highest >= self.n_features_:
            raise ValueError(f"X holds symbol {highest}, but the model has n_features={self.n_features_}")

    def missing(self, X: Array) -> Array:
        return X < 0


@dataclass(repr=False, eq=False)
class CategoricalHMM(BaseHMM):
    """Each state emits one of K symbols, state i symbol k with probability emissionprob_[i, k] (Eqs 55, 56).

    Symbols are integers from 0 to n_features - 1 (None: as many as the data hold), -1 where missing; or strings, one
    sequence being a list of them or one str of characters, looked up in `vocabulary` (None: learned, sorted). Letter e.

    >>> model = CategoricalHMM(2, random_state=0)
    >>> model.startprob_, model.transmat_ = np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]])
    >>> model.emissionprob_ = np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])       # normal, cold, dizzy
    >>> log_probability, states = model.decode([0, 1, 2])                        # healthy, healthy, fever
    >>> states, round(float(np.exp(log_probability)), 5)
    (array([0, 0, 1]), 0.01512)
    """

    emission = Categorical

    n_features: int | None = None
    _: KW_ONLY
    emissionprob_prior: Any = 1.0
    vocabulary: list[str] | None = None
    emissionprob_: np.ndarray = field(init=False)
    vocabulary_: list[str] = field(init=False)


class Poisson(Emission):
    """lambdas_ (N, D): the means of D independent counts, of which a frame may lack some."""

    letters = {"l": "lambdas_"}
    marginalises = True

    def log_density(self, X: Array) -> Array:
        xp, lambdas = get_array_module(X), self.lambdas_
        absent = xp.isnan(X)
        X = xp.where(absent, 0.0, X)
        counts = to_cpu(X)
        values, place = np.unique(counts, return_inverse=True)
        log_factorial = np.array([math.lgamma(value + 1) for value in values])[place].reshape(counts.shape).sum(axis=1)
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(lambdas), -1e300)  # a rate of 0 emits 0 and nothing else, and 0 log 0 is 0
        rates = xp.asarray(lambdas) @ (~absent).astype(X.dtype).T
        found = xp.asarray(logs) @ X.T - rates - xp.asarray(log_factorial)
        return xp.where(found < -1e299, -np.inf, found)

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        if not self.chosen("init_params"):
            return {}
        check_seen(X)
        found = centres(X, self.n_components, rng, self.init, self.restart)
        mean, _ = mean_and_variance(X)
        return {"lambdas_": (found + mean) / 2 + 1e-3}  # no rate of 0, from which there is no way back

    def statistics(self, X: Array, weights: Array) -> tuple[np.ndarray, np.ndarray]:
        """The sums of counts, and the number of frames that have them: both (N, D)."""
        xp = get_array_module(X, weights)
        absent = xp.isnan(X)
        return to_cpu(weights @ xp.where(absent, 0.0, X)), to_cpu(weights @ (~absent).astype(X.dtype))

    def estimate(self, statistics: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        sums, mass = statistics[0] + self.lambdas_prior, statistics[1] + self.lambdas_weight
        return {"lambdas_": np.where(mass > 0, sums / np.where(mass > 0, mass, 1.0), self.lambdas_)}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.poisson(self.lambdas_[states])

    def log_prior(self) -> float:
        if not self.chosen("params") or not (self.lambdas_prior or self.lambdas_weight):
            return 0.0
        with np.errstate(divide="ignore"):
            logs = self.lambdas_prior * np.log(self.lambdas_) if self.lambdas_prior else 0.0
        return float((logs - self.lambdas_weight * self.lambdas_).sum())

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By log lambdas_: sum over frames of dlog_b (x - lambda)."""
        sums, mass = self.statistics(X, dlog_b)
        return {"lambdas": sums - mass * self.lambdas_}

    def check_options(self) -> None:
        for name in ("lambdas_prior", "lambdas_weight"):
            check_number(name, getattr(self, name), least=0)

    def check(self) -> dict[str, np.ndarray]:
        found = as_parameter("lambdas_", self.lambdas_, (self.n_components, None))
        if (found < 0).any():
            raise ValueError("lambdas_ holds negative numbers, expected means of counts")
        return {"lambdas_": found}

    def as_frames(self, x: Any, name: str) -> Array:
        found = super().as_frames(x, name)
        xp = get_array_module(found)
        seen = xp.where(xp.isnan(found), 0.0, found)
        if bool(to_cpu(((seen < 0) | (seen != xp.floor(seen))).any())):
            raise ValueError(f"{name} holds numbers that are no counts, expected 0, 1, 2, ... or NaN where missing")
        return found


@dataclass(repr=False, eq=False)
class PoissonHMM(BaseHMM):
    """Each state emits D counts, independent and Poisson with means lambdas_ (N, D). Letter l.

    A count that is NaN is missing and is summed over, alone.

    `lambdas_prior` and `lambdas_weight` are a conjugate prior: as if every state had emitted `lambdas_prior` in all in
    `lambdas_weight` further frames.
    """

    emission = Poisson

    _: KW_ONLY
    lambdas_prior: float = 0.0
    lambdas_weight: float = 0.0
    lambdas_: np.ndarray = field(init=False)
