"""What a hidden state emits: densities of all frames in all states, and their weighted maximum-likelihood estimates.

N states, M frames, D features, K symbols. `weights` (N, M) says how much each frame counts for each state: the
posteriors of the E-step. Parameters live on the host, data and densities where the data are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu

COVARIANCES = ("spherical", "diag", "full", "tied")


def categorical_log_density(symbols: Array, emissionprob: np.ndarray) -> Array:
    """log p(symbol | state) (N, M) of symbols (M,), from emissionprob (N, K) (Eqs 55, 56)."""
    xp = get_array_module(symbols)
    with np.errstate(divide="ignore"):
        return xp.asarray(np.log(emissionprob)).take(symbols, axis=1)


def count_symbols(symbols: Array, weights: Array, K: int) -> np.ndarray:
    """How often each state emits each symbol (N, K), by expectation."""
    xp = get_array_module(symbols, weights)
    return np.stack([to_cpu(xp.bincount(symbols, row, minlength=K)) for row in weights])


def poisson_log_density(X: Array, lambdas: np.ndarray) -> Array:
    """log p(x | state) (N, M) of counts X (M, D), independent Poisson with means lambdas (N, D)."""
    xp = get_array_module(X)
    counts = to_cpu(X)
    values, place = np.unique(counts, return_inverse=True)
    log_factorial = np.array([math.lgamma(value + 1) for value in values])[place].reshape(counts.shape).sum(axis=1)
    with np.errstate(divide="ignore"):
        logs = np.log(lambdas)
    logs = np.maximum(logs, -1e300)  # a rate of 0 emits 0 and nothing else, and 0 log 0 is 0
    found = xp.asarray(logs) @ X.T - xp.asarray(lambdas.sum(axis=1))[:, None] - xp.asarray(log_factorial)
    return xp.where(found < -1e299, -np.inf, found)


def gaussian_log_density(X: Array, means: np.ndarray, covars: np.ndarray, covariance_type: str) -> Array:
    """log N(x; mean, covariance) (N, M) of X (M, D) in each of N states.

    means (N, D); covars: spherical (N,), diag (N, D), full (N, D, D), or tied (D, D). Differences from the mean come
    before any square, so nothing cancels when data lie far from the origin.
    """
    xp = get_array_module(X)
    M, D = X.shape
    found = xp.empty((len(means), M), X.dtype)
    if covariance_type in ("spherical", "diag"):
        precision = 1.0 / np.broadcast_to(covars[:, None] if covars.ndim == 1 else covars, means.shape)
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


class GaussianPrior:
    """What the estimates of means and covariances lean to: the conjugate prior, up to a constant

    log p = -(weight/2) (mean - m)' S^-1 (mean - m) for each state, and -(degrees/2) log|S| - tr(scale S^-1) / 2 for
    each covariance S, `scale` being a number on the diagonal; and the floor (D,) of the variances.
    """

    def __init__(self, mean: Any, weight: float, scale: float, degrees: float, floor: np.ndarray):
        self.mean = np.broadcast_to(np.asarray(mean, dtype=float), floor.shape)
        self.weight, self.scale, self.degrees, self.floor = weight, scale, degrees, floor

    def log_density(self, means: np.ndarray, covars: np.ndarray, covariance_type: str) -> float:
        """log p of means (N, D) and covariances."""
        if not (self.weight or self.degrees or self.scale):
            return 0.0
        full = full_covariances(covars, covariance_type, *means.shape)
        inverse, log_det = np.linalg.inv(full), np.linalg.slogdet(full)[1]
        difference = means - self.mean
        found = -0.5 * self.weight * np.einsum("ki,kij,kj->", difference, inverse, difference)
        each = -0.5 * (self.degrees * log_det + self.scale * np.trace(inverse, axis1=1, axis2=2))
        return float(found + (each[0] if covariance_type == "tied" else each.sum()))


def gaussian_estimate(
    X: Array,
    weights: Array,
    covariance_type: str,
    prior: GaussianPrior,
    means: np.ndarray,
    covars: np.ndarray,
    fixed: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The means (N, D) and covariances that maximise the weighted log-likelihood of X (M, D) plus the log prior.

    Variances stay at or above the prior's floor. `fixed` holds the letters of what is not to change ("m", "c"); a
    state without weight keeps what it has.
    """
    xp = get_array_module(X, weights)
    N, D = means.shape
    mass = to_cpu(weights.sum(axis=1))
    alive = mass + prior.weight > 0
    if "m" not in fixed:
        sums = to_cpu(weights @ X)
        total = (mass + prior.weight)[:, None]
        means = np.where(alive[:, None], (sums + prior.weight * prior.mean) / np.where(total > 0, total, 1.0), means)
    if "c" in fixed:
        return means, covars
    kind = "diag" if covariance_type in ("diag", "spherical") else "full"
    scatter = np.empty((N, D) if kind == "diag" else (N, D, D))
    for k in range(N):
        difference = X - xp.asarray(means[k])
        if kind == "diag":
            scatter[k] = to_cpu(weights[k] @ (difference * difference))
        else:
            scatter[k] = to_cpu((difference * weights[k][:, None]).T @ difference)
    offset = means - prior.mean
    scatter += prior.weight * (offset**2 if kind == "diag" else offset[:, :, None] * offset[:, None, :])
    if covariance_type == "tied":
        together = (scatter.sum(axis=0) + prior.scale * np.eye(D)) / max(mass.sum() + prior.degrees, 1e-300)
        return means, raise_to_floor(together, prior.floor)
    total = mass + prior.degrees
    alive = mass > 0
    total = np.where(total > 0, total, 1.0)
    if covariance_type == "spherical":
        found = np.maximum((scatter.sum(axis=1) + D * prior.scale) / (D * total), prior.floor.max())
        return means, np.where(alive, found, covars)
    if covariance_type == "diag":
        found = np.maximum((scatter + prior.scale) / total[:, None], prior.floor)
        return means, np.where(alive[:, None], found, covars)
    found = (scatter + prior.scale * np.eye(D)) / total[:, None, None]
    return means, np.stack([raise_to_floor(S, prior.floor) if alive[k] else covars[k] for k, S in enumerate(found)])


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


def full_covariances(covars: np.ndarray, covariance_type: str, N: int, D: int) -> np.ndarray:
    """The covariances of all states as (N, D, D), whatever their type."""
    if covariance_type == "spherical":
        return covars[:, None, None] * np.eye(D)
    if covariance_type == "diag":
        return covars[:, :, None] * np.eye(D)
    return np.broadcast_to(covars, (N, D, D))


def check_covariances(name: str, covars: Any, covariance_type: str, N: int, D: int) -> np.ndarray:
    """The covariances as an array, if they are positive (definite) and of the right shape. Raises ValueError."""
    found = np.asarray(covars, dtype=float)
    shape = {"spherical": (N,), "diag": (N, D), "full": (N, D, D), "tied": (D, D)}[covariance_type]
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, expected {shape} for covariance_type={covariance_type!r}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    if covariance_type in ("spherical", "diag"):
        if (found <= 0).any():
            raise ValueError(f"{name} holds {found.min()}, expected positive variances")
    elif not np.allclose(found, np.swapaxes(found, -1, -2)) or (np.linalg.eigvalsh(found) <= 0).any():
        raise ValueError(f"{name} is not symmetric and positive definite")
    return found


def variance_floor(X: np.ndarray, min_covar: float) -> np.ndarray:
    """The least variance (D,) allowed: `min_covar` times the data's variance, or times 1 where that is 0."""
    variance = X.var(axis=0)
    return min_covar * np.where(variance > 0, variance, 1.0)


def overall_covariance(X: np.ndarray, covariance_type: str, floor: np.ndarray, N: int) -> np.ndarray:
    """The covariance of all frames X (M, D) for each of N states, in the shape of `covariance_type`."""
    variance = np.maximum(X.var(axis=0), floor)
    if covariance_type == "spherical":
        return np.full(N, variance.mean())
    if covariance_type == "diag":
        return np.tile(variance, (N, 1))
    whole = raise_to_floor(np.atleast_2d(np.cov(X.T, bias=True)), floor)
    return whole if covariance_type == "tied" else np.tile(whole, (N, 1, 1))


def k_means(X: np.ndarray, k: int, rng: np.random.Generator, rounds: int = 30) -> np.ndarray:
    """Centres (k, D) of clusters of X (M, D): k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's rounds.

    Features are scaled to unit variance for the distances. At most 20,000 frames are looked at.
    """
    if len(X) > 20_000:
        X = X[rng.choice(len(X), 20_000, replace=False)]
    spread = X.std(axis=0)
    points = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    chosen = [int(rng.integers(len(points)))]
    nearest = np.full(len(points), np.inf)
    for _ in range(1, k):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        total = nearest.sum()
        weights = nearest / total if total > 0 else None  # all points are chosen already: any will do
        chosen.append(int(rng.choice(len(points), p=weights)))
    centres = points[chosen]
    for _ in range(rounds):
        distances = -2.0 * points @ centres.T + (centres**2).sum(axis=1)
        label = distances.argmin(axis=1)
        counts = np.bincount(label, minlength=k)
        sums = np.stack([np.bincount(label, column, minlength=k) for column in points.T], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres * np.where(spread > 0, spread, 1.0) + X.mean(axis=0)
