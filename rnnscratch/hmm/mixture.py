"""Vectors of numbers from a mixture of Gaussians in each state (Eq. 58)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_distribution, check_sizes
from .base import BaseHMM
from .emission import (
    as_parameter,
    as_prior,
    centres,
    check_dirichlet,
    dirichlet_log_density,
    distances,
    draw,
    k_means,
    nearest,
    shares,
    standardise,
)
from .gaussian import Gaussian, Moments, floor_of, log_density, moments, sample, shrunk

MOST_TRIES = 3_000  # exchanges of two Gaussians between states, in search of a start


class Mixture(Gaussian):
    """weights_ (N, K), means_ (N, K, D) and covars_ of the K Gaussians of each of N states, in all N K Gaussians."""

    letters = {"m": "means_", "c": "covars_", "w": "weights_"}

    def gaussians(self) -> tuple[int, ...]:
        return self.n_components, self.n_mix

    def joint_log_density(self, X: Array) -> Array:
        """log of weight times density of every Gaussian of every state: (N, K, M)."""
        found = log_density(X, *self.in_a_row()).reshape(*self.gaussians(), -1)
        with np.errstate(divide="ignore"):
            found += get_array_module(X).asarray(np.log(self.weights_))[:, :, None]
        return found

    def log_density(self, X: Array) -> Array:
        _, total, shift = exponentials(self.joint_log_density(X))
        with np.errstate(divide="ignore"):
            return get_array_module(total).log(total) + shift  # Eq. 58

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        each = self.gaussians()
        return super().initialize(X, rng) | {"weights_": np.full(each, 1.0 / self.n_mix)}

    def initial_means(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """K clusters within each of N; or N K clusters, of which each state gets K so that states that follow each
        other tell the most: first the likelier of the two, in further starts one after the other."""
        N, K = self.gaussians()
        if self.init == "random":
            return centres(X, N * K, rng, self.init).reshape(N, K, -1)
        found = []
        if self.restart % 2 == 0:
            of_all = centres(X, N * K, rng, self.init, self.restart)
            label = nearest(X, of_all)
            found.append(of_all[informative(label, neighbours(of_all, N, K, rng), rng)])
        if self.restart % 2 == 1 or self.restart == 0:
            label = nearest(X, centres(X, N, rng, self.init, self.restart))
            parts = [X[label == j] if (label == j).sum() >= K else X for j in range(N)]
            found.append(np.concatenate([centres(part, K, rng, self.init, self.restart) for part in parts]))
        return max(found, key=lambda means: likelihood_of_clusters(X, means, K)).reshape(N, K, -1)

    def statistics(self, X: Array, weights: Array) -> tuple[np.ndarray, Moments]:  # type: ignore[override]
        """The weight of each Gaussian (N, K), and their moments."""
        each, total, _ = exponentials(self.joint_log_density(X))
        each *= (weights / get_array_module(X).where(total > 0, total, 1.0))[:, None]  # p(state, Gaussian | all of X)
        return to_cpu(each.sum(axis=2)), moments(X, each.reshape(-1, len(X)), self.full, *self.in_a_row())

    def add(self, parts: list[tuple[np.ndarray, Moments]]) -> tuple[np.ndarray, Moments]:  # type: ignore[override]
        return np.sum([counts for counts, _ in parts], axis=0), super().add([found for _, found in parts])

    def estimate(self, statistics: tuple[np.ndarray, Moments]) -> dict[str, Any]:  # type: ignore[override]
        counts, found = statistics
        weights, _ = shares(counts, self.weights_prior, self.weights_, self.weights_ > 0)
        return super().estimate(found) | {"weights_": weights}

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sample(rng, states * self.n_mix + draw(self.weights_, states, rng), *self.in_a_row())

    def covariance_prior(self, D: int) -> tuple[np.ndarray, np.ndarray]:
        if self.full:
            weight, scale = np.zeros(self.covariances()), np.zeros((*self.covariances(), D, D))
            if self.covars_weight is not None:
                shared = self.n_mix if self.covariance_type == "tied" else 1
                degrees = as_prior("covars_weight", self.covars_weight, self.covariances(), least=0.0)
                weight = degrees + (D + 1 + shared)
            return weight, scale if self.covars_prior is None else self.by_matrix("covars_prior", self.covars_prior, D)
        weight = scale = np.zeros((*self.gaussians(), D))
        variances = D if self.covariance_type == "diag" else 1  # of each Gaussian, the D features sharing them
        if self.covars_prior is not None:
            shape = self.by_feature("covars_prior", self.covars_prior, D, least=0.0)
            weight = 1.0 + 2.0 * (shape + 1.0) * variances / D
        if self.covars_weight is not None:
            scale = 2.0 * self.by_feature("covars_weight", self.covars_weight, D, least=0.0) * variances / D
        return weight, scale

    def log_prior(self) -> float:
        learned = "weights_" in self.chosen("params")
        return super().log_prior() + (dirichlet_log_density(self.weights_, self.weights_prior) if learned else 0.0)

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        return {}

    def count_params(self) -> int:
        begun = "weights_" in self.chosen("init_params")
        weights = (self.weights_.size if begun else int((self.weights_ > 0).sum())) - self.n_components
        return super().count_params() + ("weights_" in self.chosen("params")) * weights

    def check_options(self) -> None:
        super().check_options()
        check_sizes(n_mix=self.n_mix)
        check_dirichlet("weights_prior", self.weights_prior, self.gaussians())

    def check(self) -> dict[str, np.ndarray]:
        as_parameter("weights_", self.weights_, self.gaussians())
        return super().check() | {"weights_": check_distribution("weights_", self.weights_)}


@dataclass(repr=False, eq=False)
class GMMHMM(BaseHMM):
    """Each state emits vectors of D features from a mixture of n_mix Gaussians (Eq. 58). Letters m, c, w.

    weights_ (N, K), means_ (N, K, D), and covars_ by covariance_type: spherical (N, K), diag (N, K, D), full
    (N, K, D, D), tied (N, D, D), shared by the Gaussians of a state. Features that are NaN are missing, as in
    `GaussianHMM`.

    Priors are those of hmmlearn's class: each state's weights are Dirichlet with `weights_prior`, at least 1; a mean is
    Gaussian about `means_prior` with covariance S / `means_weight`; a variance is inverse gamma with shape
    `covars_prior` and scale `covars_weight`, a full or tied S inverse Wishart with scale matrix `covars_prior` (a
    number b: b times the unit matrix) and `covars_weight` degrees of freedom. What is learned is the mode of all of
    them, in terms of covariances; where n frames of a Gaussian are weighted by posteriors,

    diag       S = (2 covars_weight + scatter) / (n + 1 + 2 (covars_prior + 1))
    spherical  S = (2 covars_weight + sum over D features of scatter) / (D (n + 1) + 2 (covars_prior + 1))
    full       S = (covars_prior + scatter) / (n + 1 + covars_weight + D + 1)
    tied       S = (covars_prior + sum over K of scatter) / (sum over K of n + K + covars_weight + D + 1),

    scatter being sum (x - mean)(x - mean)' + means_weight (mean - means_prior)(mean - means_prior)'. Without prior, as
    by default, None, S is scatter / n (hmmlearn's default differs if spherical); if but one of the two is None, it
    leaves the denominator or the numerator as it is without prior. Each is a number, or has one for each Gaussian of a
    state (K,) or of all (N, K); `means_prior`, and in diag those of covars, also (N, K, D); tied, one for each state
    (N,).
    """

    emission = Mixture

    n_mix: int = 1
    covariance_type: str = "diag"
    min_covar: float = 1e-6
    _: KW_ONLY
    weights_prior: Any = 1.0
    means_prior: Any = 0.0
    means_weight: Any = 0.0
    covars_prior: Any = None
    covars_weight: Any = None
    weights_: np.ndarray = field(init=False)
    means_: np.ndarray = field(init=False)
    covars_: np.ndarray = field(init=False)


def exponentials(parts: Array) -> tuple[Array, Array, Array]:
    """Of logarithms (N, K, M): their exponentials over the largest of the K, the sums (N, M) of these, and the
    logarithm of that largest (N, M), 0 where it is -inf."""
    xp = get_array_module(parts)
    largest = parts.max(axis=1)
    shift = xp.where(largest > -np.inf, largest, 0.0)
    found = xp.exp(parts - shift[:, None])
    return found, found.sum(axis=1), shift


def neighbours(points: np.ndarray, N: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """N groups of K neighbours among the points (N K, D): the group of each (N K,)."""
    points, _, _ = standardise(points)
    away = distances(points, None, k_means(points, N, rng))
    group, room = np.full(len(points), -1), np.full(N, K)
    for place in np.argsort(away, axis=None, kind="stable"):
        k, n = divmod(int(place), N)
        if group[k] < 0 and room[n]:
            group[k], room[n] = n, room[n] - 1
    return group


def informative(label: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clusters (G,) in the order of their groups, after all exchanges of two between groups by which the groups of
    successive frames tell more of each other.

    label (M,) is each frame's cluster, group (G,) where each cluster begins. What they tell, their mutual information,
    is by how much a chain of groups makes the row of clusters likelier.
    """
    G = len(group)
    follows = pairs_of(label, G)
    best, tries, improved = information(follows, group), 0, True
    while improved and tries < MOST_TRIES:
        improved = False
        for a, b in rng.permutation(np.argwhere(np.triu(np.ones((G, G), bool), 1))):
            if group[a] == group[b] or tries >= MOST_TRIES:
                continue
            swapped = group.copy()
            swapped[a], swapped[b] = group[b], group[a]
            found, tries = information(follows, swapped), tries + 1
            if found > best + 1e-9 * abs(best):
                group, best, improved = swapped, found, True
    return np.argsort(group, kind="stable")


def likelihood_of_clusters(X: np.ndarray, means: np.ndarray, K: int) -> float:
    """The log-likelihood, up to a constant, if each frame is its nearest mean's and every K means are a state."""
    label = nearest(X, means)
    found = moments(X, (np.arange(len(means))[:, None] == label).astype(float), False)
    variances = shrunk(found.mass, found.scatter, floor_of(X, 0.0))
    spread = 0.5 * float((found.mass * np.log(variances)).sum())
    states = np.arange(len(means)) // K
    return information(pairs_of(label, len(means)), states) + x_log_x(np.bincount(label)) - spread


def pairs_of(label: np.ndarray, G: int) -> np.ndarray:
    """How often one label came after another (G, G)."""
    return np.bincount(label[:-1] * G + label[1:], minlength=G * G).reshape(G, G).astype(float)


def information(follows: np.ndarray, group: np.ndarray) -> float:
    """The mutual information of successive groups in nats, times the number of pairs: follows (G, G), group (G,)."""
    member = (np.arange(group.max() + 1)[:, None] == group).astype(float)
    pairs = member @ follows @ member.T
    return x_log_x(pairs) - x_log_x(pairs.sum(axis=0)) - x_log_x(pairs.sum(axis=1)) + x_log_x(pairs.sum())


def x_log_x(counts: np.ndarray) -> float:
    return float((counts * np.log(np.maximum(counts, 1.0))).sum())  # counts are whole: 0, or 1 and more
