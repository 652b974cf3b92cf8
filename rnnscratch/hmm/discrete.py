"""Symbols, of which each state has a probability for each (Eqs 55, 56), and counts, of which it has a mean for each."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, scatter_add, to_cpu
from ..checks import as_symbols, check_distribution, check_sizes
from .base import BaseHMM
from .chain import check_entries, check_vocabulary, look_up, vocabulary_of
from .emission import (
    Emission,
    as_parameter,
    as_prior,
    as_row,
    by_feature,
    centres,
    check_dirichlet,
    check_seen,
    dirichlet_log_density,
    draw,
    finite,
    mean_and_variance,
    shares,
)


class Categorical(Emission):
    """emissionprob_ (N, K): p(symbol | state) of K symbols (Eqs 55, 56)."""

    letters = {"e": "emissionprob_"}
    remembers = ("vocabulary_",)
    symbols = True

    def log_density(self, X: Array) -> Array:
        with np.errstate(divide="ignore"):
            return get_array_module(X).asarray(np.log(self.emissionprob_)).take(X, axis=1)

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        K, vocabulary, highest = self.n_features, getattr(self, "vocabulary_", None), int(X.max())
        if vocabulary is not None and K not in (None, len(vocabulary)):
            raise ValueError(f"n_features is {K}, but the vocabulary holds {len(vocabulary)} symbols")
        if vocabulary is not None:
            K = len(vocabulary)
        if K is not None and highest >= K:
            raise ValueError(f"X holds symbol {highest}, but n_features is {K}")
        if not self.chosen("init_params"):
            return {}
        if K is None:
            K = highest + 1
            check_entries("n_features", K, K * self.n_components, len(X))
        check_dirichlet("emissionprob_prior", self.emissionprob_prior, (self.n_components, K))
        drawn = rng.dirichlet(np.ones(K), self.n_components)
        return {"emissionprob_": drawn if self.init == "random" else (drawn + np.bincount(X, minlength=K) / len(X)) / 2}

    def statistics(self, X: Array, weights: Array) -> np.ndarray:
        """How often each state emits each symbol (N, K), by expectation."""
        xp = get_array_module(X, weights)
        if xp is np:
            return np.stack([np.bincount(X, row, minlength=self.n_features_) for row in weights])
        found = xp.zeros((self.n_features_, len(weights)), weights.dtype)
        scatter_add(found, X, weights.T)  # `bincount` would wait for the device at each row
        return to_cpu(found).T

    def estimate(self, statistics: np.ndarray) -> dict[str, Any]:
        prior = check_dirichlet("emissionprob_prior", self.emissionprob_prior, statistics.shape)
        return {"emissionprob_": shares(statistics, prior, self.emissionprob_)[0]}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        found = draw(self.emissionprob_, states, rng)[:, None]
        vocabulary = getattr(self, "vocabulary_", None)
        return found if vocabulary is None else np.array(vocabulary)[found]

    def log_prior(self) -> float:
        if not self.chosen("params"):
            return 0.0
        prior = check_dirichlet("emissionprob_prior", self.emissionprob_prior, self.emissionprob_.shape)
        return dirichlet_log_density(self.emissionprob_, prior)

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By log emissionprob_, each entry free."""
        return {"emissionprob": self.statistics(X, dlog_b)}

    def count_params(self) -> int:
        return int((self.emissionprob_ > 0).sum()) - self.n_components if self.chosen("params") else 0

    def check_options(self) -> None:
        if self.n_features is not None:
            check_sizes(n_features=self.n_features)
        if self.vocabulary is not None:
            check_vocabulary(self.vocabulary)
        prior = finite("emissionprob_prior", self.emissionprob_prior)
        check_dirichlet("emissionprob_prior", prior, (self.n_components, prior.shape[-1] if prior.ndim else 1))

    def check(self) -> dict[str, np.ndarray]:
        found = check_distribution("emissionprob_", self.emissionprob_)
        found = as_parameter("emissionprob_", found, (self.n_components, None))
        vocabulary = getattr(self, "vocabulary_", None)
        if vocabulary is not None and len(check_vocabulary(vocabulary)) != found.shape[1]:
            raise ValueError(f"emissionprob_ has shape {found.shape}, but vocabulary_ holds {len(vocabulary)} symbols")
        return {"emissionprob_": found}

    def encode(self, parts: list[Array], names: list[str]) -> tuple[Categorical, list[Array]]:
        vocabulary = getattr(self, "vocabulary_", None)
        if self.learning:
            vocabulary = vocabulary_of(parts, names, self.vocabulary)
        found = []
        for part, name in zip(parts, names):
            if part.dtype.kind == "O":
                if vocabulary is None:
                    raise TypeError(f"{name} holds strings, but the model was fitted to integers")
                part = look_up(part, vocabulary, name)
            found.append(part)
        return self.replace(vocabulary_=vocabulary, learning=False), found

    def as_frames(self, x: Any, name: str) -> Array:
        """One sequence of symbols as integers (M,), or as strings."""
        found = as_symbols(name, x)
        if found.dtype.kind == "i" and found.size and int(to_cpu(found.min())) < -1:
            raise ValueError(f"{name} holds {int(to_cpu(found.min()))}, expected symbols from 0, or -1 where missing")
        return found

    def as_frame(self, x: Any, name: str) -> Array:
        found = self.as_frames(as_row(x), name)
        if len(found) != 1:
            raise ValueError(f"{name} has shape {found.shape}, expected one symbol")
        return found

    def check_data(self, X: Array) -> None:
        highest = int(to_cpu(X.max()))
        if highest >= self.n_features_:
            raise ValueError(f"X holds symbol {highest}, but the model has n_features={self.n_features_}")

    def missing(self, X: Array) -> Array:
        return X < 0


@dataclass(repr=False, eq=False)
class CategoricalHMM(BaseHMM):
    """Each state emits one of K symbols, state i symbol k with probability emissionprob_[i, k] (Eqs 55, 56).

    Symbols are integers from 0 to n_features - 1 (None: as many as the data hold), -1, NaN or None where missing; or
    strings, one sequence being a row of them or one str of characters, looked up in `vocabulary` (None: learned,
    sorted), and samples are strings then too. `emissionprob_prior` is Dirichlet's, 1 being none. Letter e.

    >>> model = CategoricalHMM(2, random_state=0)
    >>> model.startprob_, model.transmat_ = np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]])
    >>> model.emissionprob_ = np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])       # normal, cold, dizzy
    >>> log_probability, states = model.decode([0, 1, 2])                        # healthy, healthy, fever
    >>> states, round(float(np.exp(log_probability)), 5)
    (array([0, 0, 1]), 0.01512)
    """

    _input_tags = {**BaseHMM._input_tags, "string": True}
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

    def prior(self, name: str) -> np.ndarray:
        """`lambdas_prior` or `lambdas_weight` as (N, D): a number, one for each state (N,), or (N, D)."""
        return by_feature(name, getattr(self, name), (self.n_components, self.n_features_), least=0.0)

    def estimate(self, statistics: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        sums, mass = statistics[0] + self.prior("lambdas_prior"), statistics[1] + self.prior("lambdas_weight")
        return {"lambdas_": np.where(mass > 0, sums / np.where(mass > 0, mass, 1.0), self.lambdas_)}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        try:
            return rng.poisson(self.lambdas_[states])
        except ValueError:
            raise ValueError(f"lambdas_ holds {self.lambdas_.max()}, too large for counts to be drawn") from None

    def log_prior(self) -> float:
        if not self.chosen("params"):
            return 0.0
        counts, weight = self.prior("lambdas_prior"), self.prior("lambdas_weight")
        with np.errstate(divide="ignore"):
            logs = counts[counts > 0] * np.log(self.lambdas_[counts > 0])
        return float(logs.sum() - (weight * self.lambdas_).sum())

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By log lambdas_: sum over frames of dlog_b (x - lambda)."""
        sums, mass = self.statistics(X, dlog_b)
        return {"lambdas": sums - mass * self.lambdas_}

    def check_options(self) -> None:
        for name in ("lambdas_prior", "lambdas_weight"):
            value = finite(name, getattr(self, name))
            as_prior(name, value, value.shape, least=0.0)

    def check(self) -> dict[str, np.ndarray]:
        found = as_parameter("lambdas_", self.lambdas_, (self.n_components, None))
        if (found < 0).any():
            raise ValueError("lambdas_ holds negative numbers, expected means of counts")
        for name in ("lambdas_prior", "lambdas_weight"):
            self.prior(name)
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

    `lambdas_prior` and `lambdas_weight`, numbers, one for each state (N,), or (N, D), are a conjugate prior: as if
    every state had emitted `lambdas_prior` in all in `lambdas_weight` further frames.
    """

    _input_tags = {**BaseHMM._input_tags, "positive_only": True}
    emission = Poisson

    _: KW_ONLY
    lambdas_prior: Any = 0.0
    lambdas_weight: Any = 0.0
    lambdas_: np.ndarray = field(init=False)
