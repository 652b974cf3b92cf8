"""Vectors of numbers from a mixture of Gaussians in each state (Eq. 58)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ..backend import Array, get_array_module
from ..checks import check_distribution, check_sizes
from .base import BaseHMM
from .emission import as_parameter, dirichlet_log_density, draw, k_means, shares
from .gaussian import Gaussian, Moments, log_density, moments, sample


class Mixture(Gaussian):
    """weights_ (N, K), means_ (N, K, D) and covars_ of the K Gaussians of each of N states, in all N K Gaussians."""

    letters = {"m": "means_", "c": "covars_", "w": "weights_"}

    def gaussians(self) -> tuple[int, ...]:
        return self.n_components, self.n_mix

    def joint_log_density(self, X: Array) -> Array:
        """log of weight times density of every Gaussian of every state: (N, K, M)."""
        xp, kind = get_array_module(X), self.covariance_type
        found = xp.stack([log_density(X, *each, kind) for each in zip(self.means_, self.covars_)])
        with np.errstate(divide="ignore"):
            found += xp.asarray(np.log(self.weights_))[:, :, None]
        return found

    def log_density(self, X: Array) -> Array:
        parts = self.joint_log_density(X)
        xp = get_array_module(parts)
        largest = parts.max(axis=1)
        return xp.log(xp.exp(parts - largest[:, None]).sum(axis=1)) + largest  # Eq. 58

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        each = self.gaussians()
        return super().initialize(X, rng) | {"weights_": np.full(each, 1.0 / self.n_mix)}

    def initial_means(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        N, K = self.gaussians()
        variance = X.var(axis=0)
        spread = np.where(variance > 0, variance, 1.0)
        label = np.stack([((X - c) ** 2 / spread).sum(axis=1) for c in k_means(X, N, rng)]).argmin(axis=0)
        means = []
        for j in range(N):
            own = X[label == j] if self.init == "kmeans" and (label == j).sum() >= K else X
            means.append(k_means(own, K, rng) if self.init == "kmeans" else own[rng.choice(len(own), K)])
        return np.stack(means)

    def statistics(self, X: Array, weights: Array) -> Moments:
        parts = self.joint_log_density(X)
        parts -= parts.max(axis=1, keepdims=True)
        each = get_array_module(X).exp(parts)
        each *= (weights / each.sum(axis=1))[:, None]  # p(state, Gaussian | whole sequence)
        return moments(X, each.reshape(-1, len(X)), self.covariance_type in ("full", "tied"))

    def estimate(self, statistics: Moments) -> dict[str, Any]:
        counts = statistics.mass.reshape(self.gaussians())
        weights, _ = shares(counts, self.weights_prior, self.weights_, self.weights_ > 0)
        means, covars = [], []
        for j, (old_means, old_covars) in enumerate(zip(self.means_, self.covars_)):
            own = Moments(*(each[j * self.n_mix : (j + 1) * self.n_mix] for each in statistics))
            means.append(self.best_means(own, old_means))
            covars.append(self.best_covars(own, means[-1], old_covars))
        return {"weights_": weights, "means_": np.stack(means), "covars_": np.stack(covars)}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        D, tied = self.n_features_, self.covariance_type == "tied"
        part = states * self.n_mix + draw(self.weights_, states, rng)
        covars = np.repeat(self.covars_, self.n_mix, axis=0) if tied else self.covars_
        covars = covars.reshape(-1, *covars.shape[1 if tied else 2 :])
        return sample(rng, part, self.means_.reshape(-1, D), covars, "full" if tied else self.covariance_type)

    def log_prior(self) -> float:
        learned = "weights_" in self.chosen("params")
        found = dirichlet_log_density(self.weights_, self.weights_prior) if learned else 0.0
        return sum((self.prior_density(*each) for each in zip(self.means_, self.covars_)), start=found)

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        return {}

    def count_params(self) -> int:
        weights = int((self.weights_ > 0).sum()) - self.n_components
        return super().count_params() + ("weights_" in self.chosen("params")) * weights

    def check_options(self) -> None:
        super().check_options()
        check_sizes(n_mix=self.n_mix)

    def check(self) -> dict[str, np.ndarray]:
        as_parameter("weights_", self.weights_, self.gaussians())
        return super().check() | {"weights_": check_distribution("weights_", self.weights_)}


@dataclass(repr=False, eq=False)
class GMMHMM(BaseHMM):
    """Each state emits vectors of D features from a mixture of n_mix Gaussians (Eq. 58). Letters m, c, w.

    weights_ (N, K), means_ (N, K, D), and covars_ by covariance_type: spherical (N, K), diag (N, K, D), full
    (N, K, D, D), tied (N, D, D), shared by the Gaussians of a state. `weights_prior` is Dirichlet's; the others are
    those of `GaussianHMM`.
    """

    emission = Mixture

    n_mix: int = 1
    covariance_type: str = "diag"
    min_covar: float = 1e-6
    _: KW_ONLY
    weights_prior: Any = 1.0
    means_prior: Any = 0.0
    means_weight: float = 0.0
    covars_prior: float = 0.0
    covars_weight: float = 0.0
    weights_: np.ndarray = field(init=False)
    means_: np.ndarray = field(init=False)
    covars_: np.ndarray = field(init=False)
