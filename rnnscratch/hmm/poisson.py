"""Counts: each state has a mean for each."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_number
from .base import BaseHMM
from .emission import Emission, as_parameter, centres


class Poisson(Emission):
    """lambdas_ (N, D): the means of D independent counts."""

    letters = {"l": "lambdas_"}

    def log_density(self, X: Array) -> Array:
        xp, lambdas = get_array_module(X), self.lambdas_
        counts = to_cpu(X)
        values, place = np.unique(counts, return_inverse=True)
        log_factorial = np.array([math.lgamma(value + 1) for value in values])[place].reshape(counts.shape).sum(axis=1)
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(lambdas), -1e300)  # a rate of 0 emits 0 and nothing else, and 0 log 0 is 0
        found = xp.asarray(logs) @ X.T - xp.asarray(lambdas.sum(axis=1))[:, None] - xp.asarray(log_factorial)
        return xp.where(found < -1e299, -np.inf, found)

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        if not self.chosen("init_params"):
            return {}
        found = centres(X, self.n_components, rng, self.init)
        return {"lambdas_": (found + X.mean(axis=0)) / 2 + 1e-3}  # no rate of 0, from which there is no way back

    def statistics(self, X: Array, weights: Array) -> tuple[np.ndarray, np.ndarray]:
        """The sums of counts (N, D), and the number of frames (N, 1)."""
        return to_cpu(weights @ X), to_cpu(weights.sum(axis=1))[:, None]

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

    `lambdas_prior` and `lambdas_weight` are a conjugate prior: as if every state had emitted `lambdas_prior` in all in
    `lambdas_weight` further frames.
    """

    emission = Poisson

    _: KW_ONLY
    lambdas_prior: float = 0.0
    lambdas_weight: float = 0.0
    lambdas_: np.ndarray = field(init=False)
