"""Vectors of numbers from one Gaussian a state: densities, estimates, and the conjugate prior.

N states, M frames, D features. Covariances have, by `covariance_type`, the shape spherical (N,), diag (N, D), full
(N, D, D), tied (D, D). Parameters live on the host, data and densities where the data are.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_number
from .base import BaseHMM
from .emission import Emission, as_parameter, centres, check_choice

COVARIANCES = ("spherical", "diag", "full", "tied")


class Moments(NamedTuple):
    """Of the frames of each state, weighted: all that the estimate of its Gaussian needs."""

    mass: np.ndarray  # (N,) the weights' sum
    sums: np.ndarray  # (N, D)
    scatter: np.ndarray  # about the state's mean: (N, D) squares, or products (N, D, D)

    @property
    def means(self) -> np.ndarray:
        """(N, D), 0 for a state without weight."""
        mass = self.mass[:, None]
        return np.where(mass > 0, self.sums / np.where(mass > 0, mass, 1.0), 0.0)


class Gaussian(Emission):
    """means_ (N, D) and covars_. The prior of each state's mean and covariance S is, up to a constant,

    log p = -(means_weight/2) (mean - means_prior)' S^-1 (mean - means_prior)
            -(covars_weight/2) log|S| - covars_prior tr(S^-1) / 2

    and variances stay at or above the floor (D,), which is `min_covar` times the data's variance, or times 1 where
    that is 0.
    """

    letters = {"m": "means_", "c": "covars_"}

    def log_density(self, X: Array) -> Array:
        return log_density(X, self.means_, self.covars_, self.covariance_type)

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        variance, chosen = X.var(axis=0), self.chosen("init_params")
        found = {"floor": self.min_covar * np.where(variance > 0, variance, 1.0)}
        if "means_" in chosen:
            found["means_"] = self.initial_means(X, rng)
        if "covars_" in chosen:
            found["covars_"] = self.initial_covars(X, found["floor"])
        return found

    def initial_covars(self, X: np.ndarray, floor: np.ndarray) -> np.ndarray:
        """The covariance of all frames for every Gaussian."""
        variance, each = np.maximum(X.var(axis=0), floor), self.gaussians()
        if self.covariance_type == "spherical":
            return np.full(each, variance.mean())
        if self.covariance_type == "diag":
            return np.tile(variance, (*each, 1))
        whole = raise_to_floor(np.atleast_2d(np.cov(X.T, bias=True)), floor)
        return np.tile(whole, (*(each[:-1] if self.covariance_type == "tied" else each), 1, 1))

    def gaussians(self) -> tuple[int, ...]:
        """How many Gaussians there are: (N,), or (N, K) in mixtures."""
        return (self.n_components,)

    def initial_means(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return centres(X, self.n_components, rng, self.init)

    def statistics(self, X: Array, weights: Array) -> Moments:
        return moments(X, weights, self.covariance_type in ("full", "tied"))

    def estimate(self, statistics: Moments) -> dict[str, Any]:
        means = self.best_means(statistics, self.means_)
        return {"means_": means, "covars_": self.best_covars(statistics, means, self.covars_)}

    def best_means(self, found: Moments, old: np.ndarray) -> np.ndarray:
        """The means (N, D) that maximise likelihood times prior; the old ones where they are not learned."""
        total = (found.mass + self.means_weight)[:, None]
        if "means_" not in self.chosen("params"):
            return old
        lean = self.means_weight * np.asarray(self.means_prior, dtype=float)
        return np.where(total > 0, (found.sums + lean) / np.where(total > 0, total, 1.0), old)

    def best_covars(self, found: Moments, means: np.ndarray, old: np.ndarray) -> np.ndarray:
        """The covariances about these means (N, D) that maximise likelihood times prior, nowhere below the floor."""
        D, alive = means.shape[1], found.mass > 0
        full = found.scatter.ndim == 3
        scatter = found.scatter + self.means_weight * outer(means - self.means_prior, full)
        scatter += (found.mass[:, None, None] if full else found.mass[:, None]) * outer(found.means - means, full)
        if self.covariance_type == "tied":
            if not alive.any():
                return old
            together = scatter.sum(axis=0) + self.covars_prior * np.eye(D)
            return raise_to_floor(together / max(found.mass.sum() + self.covars_weight, 1e-300), self.floor)
        total = np.where(found.mass + self.covars_weight > 0, found.mass + self.covars_weight, 1.0)
        if self.covariance_type == "spherical":
            best = (scatter.sum(axis=1) + D * self.covars_prior) / (D * total)
            return np.where(alive, np.maximum(best, self.floor.max()), old)
        if self.covariance_type == "diag":
            best = (scatter + self.covars_prior) / total[:, None]
            return np.where(alive[:, None], np.maximum(best, self.floor), old)
        best = (scatter + self.covars_prior * np.eye(D)) / total[:, None, None]
        return np.stack([raise_to_floor(S, self.floor) if alive[k] else old[k] for k, S in enumerate(best)])

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sample(rng, states, self.means_, self.covars_, self.covariance_type)

    def log_prior(self) -> float:
        return self.prior_density(self.means_, self.covars_)

    def prior_density(self, means: np.ndarray, covars: np.ndarray) -> float:
        """log p of means (N, D) and covariances."""
        if not (self.means_weight or self.covars_weight or self.covars_prior):
            return 0.0
        difference = means - self.means_prior
        if self.covariance_type in ("spherical", "diag"):
            variances = by_feature(covars, means)
            distance, log_det, trace = (difference**2 / variances).sum(), np.log(variances).sum(), (1 / variances).sum()
        else:
            inverse = np.linalg.inv(covars)
            distance = (difference[:, None] @ inverse @ difference[:, :, None]).sum()
            log_det, trace = np.linalg.slogdet(covars)[1].sum(), np.trace(inverse, axis1=-2, axis2=-1).sum()
        return float(-0.5 * (self.means_weight * distance + self.covars_weight * log_det + self.covars_prior * trace))

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By the means: sum over frames of dlog_b S^-1 (x - mean)."""
        pulls = to_cpu(dlog_b @ X) - to_cpu(dlog_b.sum(axis=1))[:, None] * self.means_
        if self.covariance_type in ("spherical", "diag"):
            return {"means": pulls / by_feature(self.covars_, self.means_)}
        full = np.broadcast_to(self.covars_, (*self.means_.shape, self.n_features_))
        return {"means": np.linalg.solve(full, pulls[:, :, None])[:, :, 0]}

    def count_params(self) -> int:
        D = self.n_features_
        numbers = {"means_": self.means_.size, "covars_": self.covars_.size}
        if self.covariance_type in ("full", "tied"):  # symmetric
            numbers["covars_"] = self.covars_.size // D * (D + 1) // 2
        return sum(numbers[name] for name in self.chosen("params") if name in numbers)

    def check_options(self) -> None:
        check_choice("covariance_type", self.covariance_type, COVARIANCES)
        for name in ("min_covar", "means_weight", "covars_prior", "covars_weight"):
            check_number(name, getattr(self, name), least=0)

    def check(self) -> dict[str, np.ndarray]:
        means = as_parameter("means_", self.means_, (*self.gaussians(), None))
        each, D = means.shape[:-1], means.shape[-1:]
        shapes = {"spherical": each, "diag": each + D, "full": each + D + D, "tied": each[:-1] + D + D}
        covars = as_parameter("covars_", self.covars_, shapes[self.covariance_type])
        if self.covariance_type in ("spherical", "diag"):
            if (covars <= 0).any():
                raise ValueError(f"covars_ holds {covars.min()}, expected positive variances")
        elif not np.allclose(covars, np.swapaxes(covars, -1, -2)) or (np.linalg.eigvalsh(covars) <= 0).any():
            raise ValueError("covars_ is not symmetric and positive definite")
        return {"means_": means, "covars_": covars}


@dataclass(repr=False, eq=False)
class GaussianHMM(BaseHMM):
    """Each state emits vectors of D features from one Gaussian. Letters m, c.

    covars_ has, by covariance_type, the shape spherical (N,), diag (N, D), full (N, D, D), tied (D, D). Variances stay
    above `min_covar` times the data's variance. With `means_weight`, `covars_weight` and `covars_prior` the estimates
    lean to `means_prior` and to covars_prior / covars_weight: see `gaussian.Gaussian`.

    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (50, 1)), rng.normal(5, 1, (50, 1))])
    >>> model = GaussianHMM(2, random_state=0).fit(X)
    >>> model.means_.round(0).ravel(), model.predict(X)[[0, -1]]
    (array([0., 5.]), array([0, 1]))
    """

    emission = Gaussian

    covariance_type: str = "diag"
    min_covar: float = 1e-6
    _: KW_ONLY
    means_prior: Any = 0.0
    means_weight: float = 0.0
    covars_prior: float = 0.0
    covars_weight: float = 0.0
    means_: np.ndarray = field(init=False)
    covars_: np.ndarray = field(init=False)


def log_density(X: Array, means: np.ndarray, covars: np.ndarray, covariance_type: str) -> Array:
    """log N(x; mean, covariance) (N, M) of X (M, D) in each of N states, with means (N, D).

    Differences from the mean come before any square, so nothing cancels when data lie far from the origin.
    """
    xp = get_array_module(X)
    M, D = X.shape
    found = xp.empty((len(means), M), X.dtype)
    if covariance_type in ("spherical", "diag"):
        precision = 1.0 / by_feature(covars, means)
        log_det = -np.log(precision).sum(axis=1)
        for k, mean in enumerate(means):
            difference = X - xp.asarray(mean)
            difference *= difference
            xp.matmul(difference, xp.asarray(precision[k]), out=found[k])
    else:
        roots = np.linalg.cholesky(covars)
        log_det = 2.0 * np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(axis=-1) * np.ones(len(means))
        whiten = np.broadcast_to(np.linalg.inv(roots), (len(means), D, D))  # x' S^-1 x is |L^-1 x|^2, S = L L'
        for k, mean in enumerate(means):
            white = (X - xp.asarray(mean)) @ xp.asarray(whiten[k].T)
            white *= white
            white.sum(axis=1, out=found[k])
    found += xp.asarray(log_det + D * math.log(2 * math.pi))[:, None]
    found *= -0.5
    return found


def moments(X: Array, weights: Array, full: bool) -> Moments:
    """Of X (M, D), weighted by weights (N, M): with all products of two features if `full`, else with their squares."""
    xp = get_array_module(X, weights)
    found = Moments(to_cpu(weights.sum(axis=1)), to_cpu(weights @ X), np.empty(0))
    scatter = []
    for mean, weight in zip(found.means, weights):
        difference = X - xp.asarray(mean)
        scatter.append(to_cpu((difference * weight[:, None]).T @ difference if full else weight @ difference**2))
    return found._replace(scatter=np.stack(scatter))


def outer(vectors: np.ndarray, full: bool) -> np.ndarray:
    """Of each vector (N, D) all products of two entries (N, D, D) if `full`, else the squares (N, D)."""
    return vectors[:, :, None] * vectors[:, None, :] if full else vectors**2


def raise_to_floor(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The likeliest covariance (D, D) among those that are nowhere below diag(floor), given the unbounded estimate.

    In the coordinates where the floor is the unit matrix, the eigenvalues below 1 are raised to 1.
    """
    root = np.sqrt(floor)
    values, vectors = np.linalg.eigh(covariance / np.outer(root, root))
    if values[0] >= 1.0:
        return (covariance + covariance.T) / 2
    raised = (vectors * np.maximum(values, 1.0)) @ vectors.T * np.outer(root, root)
    return (raised + raised.T) / 2


def by_feature(variances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Spherical (N,) or diagonal (N, D) variances as (N, D)."""
    return np.broadcast_to(variances[:, None] if variances.ndim == 1 else variances, means.shape)


def sample(
    rng: np.random.Generator, states: np.ndarray, means: np.ndarray, covars: np.ndarray, covariance_type: str
) -> np.ndarray:
    """One vector (M, D) for each state from its Gaussian."""
    noise, found = rng.standard_normal((len(states), means.shape[1])), means[states]
    if covariance_type in ("spherical", "diag"):
        return found + noise * np.sqrt(covars).reshape(len(covars), -1)[states]
    roots = np.broadcast_to(np.linalg.cholesky(covars), (*means.shape, means.shape[1]))
    for k, root in enumerate(roots):
        here = states == k
        found[here] += noise[here] @ root.T
    return found
