"""Vectors of numbers from one Gaussian a state: densities, estimates, and the conjugate prior.

N states, M frames, D features; G Gaussians, of which a family may have several a state (`mixture.py`). Covariances
have, by `covariance_type`, the shape spherical (N,), diag (N, D), full (N, D, D), tied (D, D). Parameters live on the
host, data and densities where the data are.

A frame may lack features, o being those that it has. Its density is then that of x_o, a Gaussian with mean_o and S_oo.
Learning takes independent features from the frames that have them; for the others the missing x_m counts in each state
with its moments, given x_o (Ghahramani & Jordan 1994):

E[x_m | x_o] = mean_m + S_mo S_oo^-1 (x_o - mean_o),    Cov[x_m | x_o] = S_mm - S_mo S_oo^-1 S_om.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_choice, check_number
from .base import BaseHMM
from .chain import require
from .emission import (
    Emission,
    as_parameter,
    as_prior,
    by_feature,
    centres,
    check_seen,
    finite,
    mean_and_variance,
    nearest,
)

COVARIANCES = ("spherical", "diag", "full", "tied")
NONE = 1e-200  # a weight below this is none
ROUNDING = 1e-12  # of the data's variance: no floor is lower, since a covariance must have a root
NUMBER = 1e3 * float(np.finfo(float).eps)  # of the largest number: no deviation is lower, as means are rounded, too


class Moments(NamedTuple):
    """Of the frames of each Gaussian, weighted: all that its estimate needs."""

    mass: np.ndarray  # (G, D) the weights' sum, over the frames that count for the feature
    means: np.ndarray  # (G, D)
    scatter: np.ndarray  # about these means: (G, D) squares, or products (G, D, D)


class Prior(NamedTuple):
    """The prior of each Gaussian's mean and covariance S; up to a constant its log density is

    -(strength/2) (mean - centre)' S^-1 (mean - centre) - (weight/2) log|S| - tr(scale S^-1) / 2.

    Where covariances are diagonal, weight and scale have a number for each feature.
    """

    centre: np.ndarray  # (G, D)
    strength: np.ndarray  # (G, 1)
    weight: np.ndarray  # (G, D); of C covariances that are matrices (C,)
    scale: np.ndarray  # (G, D); or (C, D, D)


class Gaussian(Emission):
    """means_ (N, D) and covars_. Variances stay at or above the floor (D,); see `floor_of`."""

    letters = {"m": "means_", "c": "covars_"}
    marginalises = True

    def gaussians(self) -> tuple[int, ...]:
        """How many Gaussians there are: (N,), or (N, K) in mixtures."""
        return (self.n_components,)

    def covariances(self) -> tuple[int, ...]:
        """How many covariances there are: one for each Gaussian, or fewer if they are tied."""
        return self.gaussians()[:-1] if self.covariance_type == "tied" else self.gaussians()

    def in_a_row(self) -> tuple[np.ndarray, np.ndarray]:
        """The means (G, D) and the variances (G, D) or covariances (G, D, D) of all Gaussians."""
        means = self.means_.reshape(-1, self.n_features_)
        G, D = means.shape
        if self.covariance_type in ("spherical", "diag"):
            return means, np.broadcast_to(self.covars_.reshape(G, -1), (G, D))
        covars = self.covars_.reshape(-1, D, D)
        return means, np.repeat(covars, G // len(covars), axis=0)

    @property
    def full(self) -> bool:
        """Whether covariances are matrices."""
        return self.covariance_type in ("full", "tied")

    def log_density(self, X: Array) -> Array:
        return log_density(X, *self.in_a_row())

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        D, chosen = X.shape[1], self.chosen("init_params")
        self.prior(D)
        floor, found = floor_of(X, self.min_covar), {}
        if "means_" in chosen:
            check_seen(X)
            found["means_"] = self.initial_means(X, rng)
        begun = self.replace(**found)
        require(begun, "means_")
        if "covars_" in chosen:
            check_seen(X)
            means = as_parameter("means_", begun.means_, (*self.gaussians(), D))
            found["covars_"] = self.initial_covars(X, means, floor)
        else:
            require(begun, "covars_")
            floor = lowered(floor, begun.replace(**Gaussian.check(begun)).in_a_row()[1])
        return found | {"floor": floor}

    def initial_means(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return centres(X, self.n_components, rng, self.init, self.restart)

    def initial_covars(self, X: np.ndarray, means: np.ndarray, floor: np.ndarray) -> np.ndarray:
        """Of the frames that are nearest to each mean, and of D + 1 more that vary as frames do about their own means,
        lest few frames make a narrow start; or of all frames, if `init` is "random"."""
        D = X.shape[1]
        if self.init == "random":
            weights = np.ones((1, len(X)))
        else:
            means = means.reshape(-1, D)
            weights = (np.arange(len(means))[:, None] == nearest(X, means)).astype(float)
        own = moments(X, weights, False)
        found = shrunk(own.mass, own.scatter, floor)
        if self.full:  # what is missing counts with its variance
            own = moments(X, weights, True, own.means, found[:, :, None] * np.eye(D))
            found = shrunk(self.tie(own.mass), self.tie(own.scatter), floor)
        if self.covariance_type == "spherical":
            found = np.maximum(found.mean(axis=1), floor.max())
        shape = (*self.covariances(), *found.shape[1:])
        return np.broadcast_to(found[0], shape) if len(found) == 1 else found.reshape(shape)

    def tie(self, each: np.ndarray) -> np.ndarray:
        """Sums by covariance: of the Gaussians that share one together."""
        if self.covariance_type != "tied":
            return each
        C = min(math.prod(self.covariances()), len(each))
        return each.reshape(C, -1, *each.shape[1:]).sum(axis=1)

    def statistics(self, X: Array, weights: Array) -> Moments:
        return moments(X, weights, self.full, *self.in_a_row())

    def add(self, parts: list[Moments]) -> Moments:
        """Those of all frames: Chan, Golub & LeVeque (1983), which cancels nothing."""
        found = parts[0]
        for part in parts[1:]:
            mass = found.mass + part.mass
            share = np.where(mass > 0, part.mass / np.where(mass > 0, mass, 1.0), 0.0)
            apart = part.means - found.means
            between = outer(apart * np.sqrt(found.mass * share), self.full)
            found = Moments(mass, found.means + share * apart, found.scatter + part.scatter + between)
        return found

    def estimate(self, statistics: Moments) -> dict[str, Any]:
        D = self.n_features_
        prior, old = self.prior(D), self.means_.reshape(-1, D)
        means = self.best_means(statistics, prior, old) if "means_" in self.chosen("params") else old
        covars = self.best_covars(statistics, prior, means)
        return {"means_": means.reshape(self.means_.shape), "covars_": covars.reshape(self.covars_.shape)}

    def best_means(self, found: Moments, prior: Prior, old: np.ndarray) -> np.ndarray:
        """The means (G, D) that maximise likelihood times prior, (sum x + strength centre) / (mass + strength).

        Old ones stay where a Gaussian has no weight, or a feature neither weight nor prior.
        """
        total = found.mass + prior.strength
        live = (found.mass.sum(axis=1, keepdims=True) >= NONE) & (total >= NONE)
        lean = prior.strength / np.where(live, total, 1.0)
        return np.where(live, found.means + lean * (prior.centre - found.means), old)

    def best_covars(self, found: Moments, prior: Prior, means: np.ndarray) -> np.ndarray:
        """The covariances about these means (G, D) that maximise likelihood times prior, nowhere below the floor:

        (scatter + mass (x - mean)(x - mean)' + strength (mean - centre)(mean - centre)' + scale) / (mass + weight),
        where x is the mean of the frames. Old ones stay where there is no weight.
        """
        full, D = self.full, means.shape[1]
        strength, mass = (each[:, :, None] if full else each for each in (prior.strength, found.mass))
        scatter = found.scatter + strength * outer(means - prior.centre, full)
        best = self.tie(scatter + mass * outer(found.means - means, full)) + prior.scale
        mass = self.tie(found.mass)
        if full:
            old, mass = self.covars_.reshape(-1, D, D), mass[:, 0]
            total = mass + prior.weight
            live = (mass >= NONE) & (total >= NONE)
            best /= np.where(live, total, 1.0)[:, None, None]
            return np.stack([raise_to_floor(S, self.floor) if ok else was for S, ok, was in zip(best, live, old)])
        total, floor = mass + prior.weight, self.floor
        if self.covariance_type == "spherical":
            best, total, floor = best.sum(axis=1, keepdims=True), total.sum(axis=1, keepdims=True), floor.max()
        live = (mass.sum(axis=1, keepdims=True) >= NONE) & (total >= NONE)
        return np.where(live, np.maximum(best / np.where(live, total, 1.0), floor), self.covars_.reshape(total.shape))

    def prior(self, D: int) -> Prior:
        """The prior that the options describe, for D features. Raises ValueError or TypeError for ones that cannot be.

        An array with the axes of the Gaussians, (N,), or (K,) and (N, K) in mixtures, has a number for each Gaussian;
        one more axis is that of features. What an array means so does not depend on how many there are of either.
        """
        centre = self.by_feature("means_prior", self.means_prior, D)
        strength = as_prior("means_weight", self.means_weight, self.gaussians(), least=0.0)
        axes = len(self.covariances())
        weight, scale = (each.reshape(-1, *each.shape[axes:]) for each in self.covariance_prior(D))
        return Prior(centre.reshape(-1, D), strength.reshape(-1, 1), weight, scale)

    def covariance_prior(self, D: int) -> tuple[np.ndarray, np.ndarray]:
        """weight and scale of `Prior`, each of all covariances."""
        if self.full:
            weight = as_prior("covars_weight", self.covars_weight, self.covariances(), least=0.0)
            return np.maximum(weight - D, 0.0), self.by_matrix("covars_prior", self.covars_prior, D)
        weight = self.by_feature("covars_weight", self.covars_weight, D, least=0.0)
        return np.maximum(weight - 1.0, 0.0), self.by_feature("covars_prior", self.covars_prior, D, least=0.0)

    def by_feature(self, name: str, value: Any, D: int, least: float | None = None) -> np.ndarray:
        """An option with a number for each feature of each Gaussian, (N, D) or (N, K, D)."""
        return by_feature(name, value, (*self.gaussians(), D), least)

    def by_matrix(self, name: str, value: Any, D: int) -> np.ndarray:
        """An option with a matrix (D, D) for each covariance, which a number makes a multiple of the unit matrix."""
        found, each = finite(name, value, "fiu"), self.covariances()
        if found.ndim < 2:
            return as_prior(name, found, each, least=0.0)[..., None, None] * np.eye(D)
        found = as_prior(name, found, (*each, D, D))
        if not is_symmetric(found) or (np.linalg.eigvalsh(found) < -1e-9 * abs(found).max()).any():
            raise ValueError(f"{name} is not symmetric and positive semidefinite")
        return found

    def sample(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sample(rng, states, *self.in_a_row())

    def log_prior(self) -> float:
        D = self.n_features_
        prior, (means, covars) = self.prior(D), self.in_a_row()
        if not (prior.strength.any() or prior.weight.any() or prior.scale.any()):
            return 0.0
        difference = means - prior.centre
        if not self.full:
            terms = prior.strength * difference**2 / covars + prior.weight * np.log(covars) + prior.scale / covars
            return float(-0.5 * terms.sum())
        own = self.covars_.reshape(-1, D, D)
        distance = (difference[:, None] @ np.linalg.solve(covars, difference[:, :, None]))[:, 0]
        log_det, trace = np.linalg.slogdet(own)[1], (np.linalg.inv(own) * prior.scale).sum()
        return float(-0.5 * ((prior.strength * distance).sum() + (prior.weight * log_det).sum() + trace))

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By the means: sum over frames of dlog_b S^-1 (x - mean)."""
        found, (means, covars) = self.statistics(X, dlog_b), self.in_a_row()
        pulls = found.mass * (found.means - means)
        return {"means": np.linalg.solve(covars, pulls[:, :, None])[:, :, 0] if self.full else pulls / covars}

    def count_params(self) -> int:
        D = self.n_features_
        numbers = {"means_": self.means_.size, "covars_": self.covars_.size}
        if self.full:  # symmetric
            numbers["covars_"] = self.covars_.size // D * (D + 1) // 2
        return sum(numbers[name] for name in self.chosen("params") if name in numbers)

    def check_options(self) -> None:
        check_choice("covariance_type", self.covariance_type, COVARIANCES)
        check_number("min_covar", self.min_covar, least=0)

    def check(self) -> dict[str, np.ndarray]:
        check_choice("covariance_type", self.covariance_type, COVARIANCES)
        means = as_parameter("means_", self.means_, (*self.gaussians(), None))
        D = means.shape[-1:]
        shape = {"spherical": (), "diag": D}.get(self.covariance_type, D + D)
        covars = as_parameter("covars_", self.covars_, self.covariances() + shape)
        if self.full:
            if not is_symmetric(covars) or not is_positive(covars):
                raise ValueError("covars_ is not symmetric and positive definite")
        elif (covars <= 0).any():
            raise ValueError(f"covars_ holds {covars.min()}, expected positive variances")
        return {"means_": means, "covars_": covars}


@dataclass(repr=False, eq=False)
class GaussianHMM(BaseHMM):
    """Each state emits vectors of D features from one Gaussian. Letters m, c.

    covars_ has, by covariance_type, the shape spherical (N,), diag (N, D), full (N, D, D), tied (D, D). Variances stay
    above `min_covar` times the data's variance.

    A feature that is NaN is missing and is summed over, alone: the density of a frame is that of the features it has,
    and those are what learning takes from it. A frame of which all are NaN is missing altogether.

    The prior is hmmlearn's, conjugate: a state's mean is Gaussian about `means_prior` with covariance
    S / `means_weight`, each variance is inverse gamma with shape `covars_weight` / 2 and scale `covars_prior` / 2, a
    full or tied S inverse Wishart with `covars_weight` degrees of freedom and scale matrix `covars_prior` (a number b:
    b times the unit matrix; hmmlearn adds b to all entries), and what is learned is the mode in terms of precisions:

    mean = (sum x + means_weight means_prior) / (n + means_weight),
    S = (sum (x - mean)(x - mean)' + means_weight (mean - means_prior)(mean - means_prior)' + covars_prior)
        / (n + max(covars_weight - d, 0)),

    where the n frames are weighted by posteriors, d is D for full and tied, else 1; spherical variances are the mean
    over features of numerator and denominator, tied ones sum over states all but the prior of S. The defaults are no
    prior. Each is a number, or has one for each state (N,); `means_prior`, and in diag those of covars, also (N, D).

    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (50, 1)), rng.normal(5, 1, (50, 1))])
    >>> model = GaussianHMM(2, random_state=0).fit(X)
    >>> np.sort(model.means_.round(0).ravel()), bool((model.predict(X)[:50] == model.predict(X)[0]).all())
    (array([0., 5.]), True)
    """

    emission = Gaussian

    covariance_type: str = "diag"
    min_covar: float = 1e-6
    _: KW_ONLY
    means_prior: Any = 0.0
    means_weight: Any = 0.0
    covars_prior: Any = 0.0
    covars_weight: Any = 0.0
    means_: np.ndarray = field(init=False)
    covars_: np.ndarray = field(init=False)


def log_density(X: Array, means: np.ndarray, covars: np.ndarray) -> Array:
    """log N(x; mean, S) (G, M) of X (M, D), of the features that are not NaN, for variances (G, D) or S (G, D, D).

    Differences from the mean come before any square, so nothing cancels when data lie far from the origin. It is -inf
    only where it is below all doubles.
    """
    xp = get_array_module(X)
    absent = missing_features(X)
    found = xp.empty((len(means), len(X)), X.dtype)
    if covars.ndim == 3 and absent is not None:
        for here, _, rows in patterns(absent):
            part = X[rows][:, xp.asarray(here)]
            found[:, rows] = log_density(part, means[:, here], covars[:, here[:, None], here])
        return found
    with np.errstate(over="ignore", invalid="ignore"):
        if covars.ndim == 3:
            roots = np.linalg.cholesky(covars)
            norm = 2.0 * np.log(np.diagonal(roots, axis1=1, axis2=2))
            whiten = np.linalg.inv(roots)  # x' S^-1 x is |L^-1 x|^2, S = L L'
            for k, mean in enumerate(means):
                white = (X - xp.asarray(mean)) @ xp.asarray(whiten[k].T)
                white *= white
                white.sum(axis=1, out=found[k])
            if not all_finite(found):
                found = xp.where(xp.isnan(found), np.inf, found)  # from numbers of either sign beyond all doubles
        else:
            norm, precision = np.log(covars), 1.0 / covars
            for k, mean in enumerate(means):
                difference = deviations(X, mean, absent)
                difference *= difference
                found[k] = difference @ xp.asarray(precision[k])
            if not all_finite(found):  # where squares are beyond all doubles, their quotients may not be
                for k, mean in enumerate(means):
                    white = deviations(X, mean, absent) * xp.asarray(1.0 / np.sqrt(covars[k]))
                    white *= white
                    white.sum(axis=1, out=found[k])
    norm += math.log(2 * math.pi)
    if absent is None:
        found += xp.asarray(norm.sum(axis=1))[:, None]
    else:
        found += xp.asarray(norm) @ (~absent).astype(X.dtype).T
    found *= -0.5
    return found


def moments(
    X: Array, weights: Array, full: bool, means: np.ndarray | None = None, covars: np.ndarray | None = None
) -> Moments:
    """Of X (M, D), weighted by weights (G, M): with all products of two features if `full`, else with their squares.

    Where features are missing, squares are those of the frames that have the feature; products are expected ones, given
    the features that there are, under means (G, D) and covars (G, D, D). Sums are of differences from the first of the
    means, or of the frames, so that what is constant stays so, and nothing cancels far from the origin.
    """
    absent = missing_features(X)
    if full and absent is not None:
        assert means is not None and covars is not None
        return expected_moments(X, weights, list(patterns(absent)), means, covars)
    origin = mean_and_variance(to_cpu(X))[0] if means is None else means[0]
    away = deviations(X, origin, absent)
    mass = to_cpu(weights.sum(axis=1))[:, None] if absent is None else to_cpu(weights @ (~absent).astype(X.dtype))
    sums = to_cpu(weights @ away)
    found = origin + np.where(mass > 0, sums / np.where(mass > 0, mass, 1.0), 0.0)
    scatter = []
    for mean, weight in zip(found, weights):
        difference = deviations(X, mean, absent)
        scatter.append(to_cpu((difference * weight[:, None]).T @ difference if full else weight @ difference**2))
    return Moments(np.broadcast_to(mass, sums.shape), found, np.stack(scatter))


def expected_moments(
    X: Array, weights: Array, groups: list[tuple[np.ndarray, np.ndarray, Array]], means: np.ndarray, covars: np.ndarray
) -> Moments:
    """`moments` with all products, where features are missing: `groups` are the `patterns`."""
    xp, shape = get_array_module(X, weights), means.shape
    mass, found, scatter = np.empty(shape), np.empty(shape), np.empty((*shape, shape[1]))
    for k, (weight, mean, S) in enumerate(zip(weights, means, covars)):
        filled, spread = X.copy(), np.zeros_like(S)
        for o, m, rows in groups:
            gain = np.linalg.solve(S[np.ix_(o, o)], S[np.ix_(o, m)])
            part = X[rows]
            known = part[:, xp.asarray(o)] - xp.asarray(mean[o])
            part[:, xp.asarray(m)] = known @ xp.asarray(gain) + xp.asarray(mean[m])  # E[x_m | x_o]
            filled[rows] = part
            conditional = S[np.ix_(m, m)] - S[np.ix_(m, o)] @ gain  # Cov[x_m | x_o]
            spread[np.ix_(m, m)] += float(to_cpu(weight[rows].sum())) * conditional
        whole = moments(filled, weight[None], True, mean[None])
        mass[k], found[k], scatter[k] = whole.mass[0], whole.means[0], whole.scatter[0] + spread
    return Moments(mass, found, scatter)


def missing_features(X: Array) -> Array | None:
    """Which entries (M, D) are missing; None if none is."""
    absent = get_array_module(X).isnan(X)
    return absent if bool(to_cpu(absent.any())) else None


def patterns(absent: Array) -> Iterator[tuple[np.ndarray, np.ndarray, Array]]:
    """The frames that lack the same features: the features that they have, those that they lack, and their rows."""
    xp, host = get_array_module(absent), to_cpu(absent)
    _, first, label = np.unique(np.packbits(host, axis=1), axis=0, return_index=True, return_inverse=True)
    label = label.reshape(-1)  # NumPy 2.0 returns (M, 1)
    order = np.argsort(label, kind="stable")
    for row, rows in zip(host[first], np.split(order, np.cumsum(np.bincount(label))[:-1])):
        yield np.flatnonzero(~row), np.flatnonzero(row), xp.asarray(rows)


def deviations(X: Array, mean: np.ndarray, absent: Array | None) -> Array:
    """X (M, D) less the mean (D,), 0 where absent."""
    xp = get_array_module(X)
    found = X - xp.asarray(mean)
    return found if absent is None else xp.where(absent, 0.0, found)


def all_finite(values: Array) -> bool:
    return bool(to_cpu(get_array_module(values).isfinite(values).all()))


def floor_of(X: np.ndarray, share: float) -> np.ndarray:
    """What no variance may be below, of each feature (D,): this share of the variance of X (M, D), or of the mean one
    where it is 0 (of 1 where all are), and no less than rounding leaves of large numbers."""
    _, variance = mean_and_variance(X)
    varies = variance > 0
    variance = np.where(varies, variance, variance[varies].mean() if varies.any() else 1.0)
    largest = np.where(np.isnan(X), 0.0, abs(X)).max(axis=0)
    return np.maximum(max(share, ROUNDING) * variance, (NUMBER * np.where(varies, largest, 0.0)) ** 2)


def shrunk(mass: np.ndarray, scatter: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The covariances, as if D + 1 more frames of each varied as all do about their own means; not below the floor."""
    full, more = scatter.ndim == 3, mass.shape[1] + 1
    mass = mass[:, :, None] if full else mass
    pooled = scatter.sum(axis=0) / np.maximum(mass.sum(axis=0), 1.0)
    each = (scatter + more * pooled) / (mass + more)
    return np.stack([raise_to_floor(S, floor) for S in each]) if full else np.maximum(each, floor)


def outer(vectors: np.ndarray, full: bool) -> np.ndarray:
    """Of each vector (G, D) all products of two entries (G, D, D) if `full`, else the squares (G, D)."""
    return vectors[:, :, None] * vectors[:, None, :] if full else vectors**2


def raise_to_floor(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The likeliest covariance (D, D) among those that are nowhere below diag(floor), given the unbounded estimate.

    In the coordinates where the floor is the unit matrix, the eigenvalues below 1 are raised to 1; or higher where that
    would be lost to rounding beside the largest, as in a state of hardly any weight that a prior pulls from afar.
    """
    root = np.sqrt(floor)
    values, vectors = np.linalg.eigh(covariance / np.outer(root, root))
    least = max(1.0, 1e-13 * values[-1])
    if values[0] >= least:
        return (covariance + covariance.T) / 2
    raised = (vectors * np.maximum(values, least)) @ vectors.T * np.outer(root, root)
    return (raised + raised.T) / 2


def lowered(floor: np.ndarray, covars: np.ndarray) -> np.ndarray:
    """The floor (D,), lower where learning begins with less, lest it lose by rising: variances (G, D) or (G, D, D)."""
    if covars.ndim == 2:
        return np.minimum(floor, covars.min(axis=0))
    root = np.sqrt(floor)
    return floor * min(1.0, np.linalg.eigvalsh(covars / np.outer(root, root)).min())


def is_symmetric(matrices: np.ndarray) -> bool:
    """Whether matrices (..., D, D) are symmetric, to what float32 holds of each entry beside its row and column."""
    size = np.sqrt(abs(np.diagonal(matrices, axis1=-2, axis2=-1)))
    off = abs(matrices - np.swapaxes(matrices, -1, -2))
    return bool((off <= 1e-5 * size[..., :, None] * size[..., None, :]).all())


def is_positive(matrices: np.ndarray) -> bool:
    """Whether symmetric matrices (..., D, D) are positive definite, to rounding: have a root."""
    variances = np.diagonal(matrices, axis1=-2, axis2=-1)
    if (variances <= 0).any():
        return False
    size = np.sqrt(variances)
    return bool((np.linalg.eigvalsh(matrices / (size[..., :, None] * size[..., None, :])) > 1e-15).all())


def sample(rng: np.random.Generator, states: np.ndarray, means: np.ndarray, covars: np.ndarray) -> np.ndarray:
    """One vector (M, D) for each state from its Gaussian with variances (G, D) or covariance (G, D, D)."""
    noise, found = rng.standard_normal((len(states), means.shape[1])), means[states]
    if covars.ndim == 2:
        return found + noise * np.sqrt(covars)[states]
    for k, root in enumerate(np.linalg.cholesky(covars)):
        here = states == k
        found[here] += noise[here] @ root.T
    return found
