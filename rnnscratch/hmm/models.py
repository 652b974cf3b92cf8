"""Hidden Markov models by what their states emit: symbols, Gaussians, mixtures of Gaussians, counts (Eqs 51-59).

Constructor arguments that all share: `algorithm`, "viterbi" or "map", how `predict` decodes; `random_state`, a seed or
generator; `n_iter` steps of EM at most, fewer once the objective grows by less than `tol` of its size; the best of
`n_init` starts, which `init` makes with "kmeans" or at "random"; `verbose`, a progress bar with the objective;
`params` and `init_params`, letters of what is learned and of what is set before learning (None: all): s startprob_,
t transmat_, and the family's own. `startprob_prior` and `transmat_prior` are Dirichlet's, 1 being none.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_distribution, check_sizes
from .base import BaseHMM, dirichlet_log_density, read_model
from .emissions import (
    COVARIANCES,
    GaussianPrior,
    categorical_log_density,
    check_covariances,
    count_symbols,
    gaussian_estimate,
    gaussian_log_density,
    k_means,
    overall_covariance,
    poisson_log_density,
    variance_floor,
)


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

    letters = {"e": "emissionprob_"}
    symbols = True
    emissionprob_: np.ndarray
    vocabulary_: list[str]

    def __init__(
        self,
        n_components: int = 1,
        n_features: int | None = None,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        emissionprob_prior: Any = 1.0,
        vocabulary: list[str] | None = None,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        n_init: int = 1,
        init: str = "kmeans",
        verbose: bool = False,
        params: str | None = None,
        init_params: str | None = None,
    ):
        self.n_components = n_components
        self.n_features = n_features
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.emissionprob_prior = emissionprob_prior
        self.vocabulary = vocabulary
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.verbose = verbose
        self.params = params
        self.init_params = init_params

    def read(self, X: Any, lengths: Any, fitting: bool = False) -> tuple[Array, np.ndarray]:
        if fitting:
            vars(self).pop("vocabulary_", None)  # of an earlier fit
        if isinstance(X, str):
            X = [X]
        if isinstance(X, (list, tuple)) and X and any(isinstance(x, (str, list, tuple)) for x in X):
            texts = [x for x in X if isinstance(x, str) or (len(x) and isinstance(x[0], str))]
            if texts and len(texts) < len(X):
                raise TypeError("X holds strings and numbers, expected one kind")
            if texts and lengths is not None and all(isinstance(x, str) for x in X):
                texts = [list(X)]  # a row of symbols, cut by lengths
            if texts:
                X, own = self._look_up(texts, fitting)
                lengths = own if lengths is None else lengths
            elif lengths is None:
                X = [np.asarray(x) for x in X]
        X, lengths = super().read(X, lengths, fitting)
        if not fitting:
            highest = int(to_cpu(X.max()))
            if highest >= self.n_features_:
                raise ValueError(f"X holds symbol {highest}, but the model has n_features={self.n_features_}")
        return X, lengths

    def _look_up(self, sequences: list[Any], fitting: bool) -> tuple[np.ndarray, list[int]]:
        if fitting:
            found = sorted({symbol for sequence in sequences for symbol in sequence})
            self.vocabulary_ = found if self.vocabulary is None else list(self.vocabulary)
        elif not hasattr(self, "vocabulary_"):
            raise TypeError("X holds strings, but the model was fitted to integers")
        place = {symbol: k for k, symbol in enumerate(self.vocabulary_)}
        for s, sequence in enumerate(sequences):
            for symbol in sequence:
                if symbol not in place:
                    raise ValueError(f"sequence {s} holds {symbol!r}, which is not in the vocabulary")
        return np.array([place[symbol] for sequence in sequences for symbol in sequence]), [len(s) for s in sequences]

    def as_frames(self, x: Any, name: str) -> Array:
        found = x if hasattr(x, "dtype") else np.asarray(x)
        if found.ndim == 0:
            found = found[None]
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

    def absent(self, X: Array) -> Array:
        return X < 0

    def count_features(self, X: np.ndarray) -> int:
        found = len(self.vocabulary_) if hasattr(self, "vocabulary_") and self.n_features is None else self.n_features
        if found is None:
            kept = "e" not in self.chosen("init_params") and hasattr(self, "emissionprob_")
            return self.emissionprob_.shape[1] if kept else int(X.max()) + 1
        if X.max() >= found:
            raise ValueError(f"X holds symbol {X.max()}, but n_features is {found}")
        return found

    def check_options(self) -> None:
        super().check_options()
        if self.n_features is not None:
            check_sizes(n_features=self.n_features)

    def check_emission(self) -> None:
        self.emissionprob_ = check_distribution("emissionprob_", self.emissionprob_)
        if self.emissionprob_.ndim != 2 or len(self.emissionprob_) != self.n_components:
            raise ValueError(f"emissionprob_ has shape {self.emissionprob_.shape}, expected ({self.n_components}, K)")
        self.n_features_ = self.emissionprob_.shape[1]

    def log_emission(self, X: Array) -> Array:
        return categorical_log_density(X, self.emissionprob_)

    def initialize_emission(self, X: np.ndarray, rng: np.random.Generator) -> None:
        if "e" in self.chosen("init_params"):
            shares = np.bincount(X, minlength=self.n_features_) / len(X)
            drawn = rng.dirichlet(np.ones(self.n_features_), self.n_components)
            self.emissionprob_ = drawn if self.init == "random" else (drawn + shares) / 2

    def maximize_emission(self, X: Array, posterior: Array) -> None:
        if "e" in self.chosen("params"):
            counts = count_symbols(X, posterior, self.n_features_)
            possible = np.ones_like(counts, bool)
            self.emissionprob_ = self._shares(
                "emissionprob_", counts, self.emissionprob_prior, self.emissionprob_, possible
            )

    def emission_prior(self) -> float:
        if "e" not in self.chosen("params"):
            return 0.0
        return dirichlet_log_density(self.emissionprob_, self.emissionprob_prior)

    def emission_gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        return {"emissionprob": count_symbols(X, dlog_b, self.n_features_)}

    def count_emission_params(self) -> int:
        free = int((self.emissionprob_ > 0).sum()) - self.n_components
        return free if "e" in self.chosen("params") else 0

    def sample_emission(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        cumulative = self.emissionprob_.cumsum(axis=1)
        last = self.n_features_ - 1 - (self.emissionprob_[:, ::-1] > 0).argmax(axis=1)
        draws, found = rng.random(len(states)), np.empty(len(states), np.int64)
        for k in range(self.n_components):
            here = states == k
            found[here] = np.minimum(np.searchsorted(cumulative[k], draws[here], side="right"), last[k])
        return found[:, None]

    def extra_header(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary_} if hasattr(self, "vocabulary_") else {}


class _Gaussians(BaseHMM):
    """What one Gaussian and a mixture of them share."""

    letters = {"m": "means_", "c": "covars_"}
    means_: np.ndarray
    covars_: np.ndarray
    covariance_type: str
    min_covar: float
    means_prior: Any
    means_weight: float
    covars_prior: float
    covars_weight: float
    _floor: np.ndarray

    def check_options(self) -> None:
        super().check_options()
        if self.covariance_type not in COVARIANCES:
            expected = ", ".join(map(repr, COVARIANCES))
            raise ValueError(f"covariance_type is {self.covariance_type!r}, expected one of {expected}")
        for name in ("min_covar", "means_weight", "covars_prior", "covars_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected at least 0")

    def _prior(self) -> GaussianPrior:
        floor = getattr(self, "_floor", np.zeros(self.n_features_))
        return GaussianPrior(self.means_prior, self.means_weight, self.covars_prior, self.covars_weight, floor)

    def _fixed(self) -> str:
        return "".join(set("mcw") - set(self.chosen("params")))


class GaussianHMM(_Gaussians):
    """Each state emits vectors of D features from one Gaussian. Letters m, c.

    covars_ has, by covariance_type, the shape spherical (N,), diag (N, D), full (N, D, D), tied (D, D). Variances stay
    above `min_covar` times the data's variance. With `means_weight`, `covars_weight` and `covars_prior` the estimates
    lean to `means_prior` and to covars_prior / covars_weight: see `emissions.GaussianPrior`.

    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (50, 1)), rng.normal(5, 1, (50, 1))])
    >>> model = GaussianHMM(2, random_state=0).fit(X)
    >>> model.means_.round(0).ravel(), model.predict(X)[[0, -1]]
    (array([0., 5.]), array([0, 1]))
    """

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "diag",
        min_covar: float = 1e-6,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        means_prior: Any = 0.0,
        means_weight: float = 0.0,
        covars_prior: float = 0.0,
        covars_weight: float = 0.0,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        n_init: int = 1,
        init: str = "kmeans",
        verbose: bool = False,
        params: str | None = None,
        init_params: str | None = None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.min_covar = min_covar
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.verbose = verbose
        self.params = params
        self.init_params = init_params

    def check_emission(self) -> None:
        self.means_ = np.asarray(self.means_, dtype=float)
        if self.means_.ndim != 2 or len(self.means_) != self.n_components or not np.isfinite(self.means_).all():
            raise ValueError(f"means_ has shape {self.means_.shape}, expected finite ({self.n_components}, D)")
        self.n_features_ = self.means_.shape[1]
        self.covars_ = check_covariances("covars_", self.covars_, self.covariance_type, *self.means_.shape)

    def log_emission(self, X: Array) -> Array:
        return gaussian_log_density(X, self.means_, self.covars_, self.covariance_type)

    def initialize_emission(self, X: np.ndarray, rng: np.random.Generator) -> None:
        letters, N = self.chosen("init_params"), self.n_components
        self._floor = variance_floor(X, self.min_covar)
        if "m" in letters:
            self.means_ = k_means(X, N, rng) if self.init == "kmeans" else X[rng.choice(len(X), N, len(X) < N)]
        if "c" in letters:
            self.covars_ = overall_covariance(X, self.covariance_type, self._floor, N)

    def maximize_emission(self, X: Array, posterior: Array) -> None:
        self.means_, self.covars_ = gaussian_estimate(
            X, posterior, self.covariance_type, self._prior(), self.means_, self.covars_, self._fixed()
        )

    def emission_prior(self) -> float:
        return self._prior().log_density(self.means_, self.covars_, self.covariance_type)

    def emission_gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By the means: sum over frames of dlog_b S^-1 (x - mean)."""
        N, D = self.means_.shape
        pulls = to_cpu(dlog_b @ X) - to_cpu(dlog_b.sum(axis=1))[:, None] * self.means_
        if self.covariance_type in ("spherical", "diag"):
            return {"means": pulls / (self.covars_[:, None] if self.covars_.ndim == 1 else self.covars_)}
        return {"means": np.linalg.solve(np.broadcast_to(self.covars_, (N, D, D)), pulls[:, :, None])[:, :, 0]}

    def count_emission_params(self) -> int:
        (N, D), letters = self.means_.shape, self.chosen("params")
        covars = {"spherical": N, "diag": N * D, "full": N * D * (D + 1) // 2, "tied": D * (D + 1) // 2}
        return ("m" in letters) * N * D + ("c" in letters) * covars[self.covariance_type]

    def sample_emission(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _draw(rng, states, self.means_, self.covars_, self.covariance_type)


class GMMHMM(_Gaussians):
    """Each state emits vectors of D features from a mixture of n_mix Gaussians (Eq. 58). Letters m, c, w.

    weights_ (N, K), means_ (N, K, D), and covars_ by covariance_type: spherical (N, K), diag (N, K, D), full
    (N, K, D, D), tied (N, D, D), shared by the Gaussians of a state. `weights_prior` is Dirichlet's; the others are
    those of `GaussianHMM`.
    """

    letters = {"m": "means_", "c": "covars_", "w": "weights_"}
    weights_: np.ndarray

    def __init__(
        self,
        n_components: int = 1,
        n_mix: int = 1,
        covariance_type: str = "diag",
        min_covar: float = 1e-6,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        weights_prior: Any = 1.0,
        means_prior: Any = 0.0,
        means_weight: float = 0.0,
        covars_prior: float = 0.0,
        covars_weight: float = 0.0,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        n_init: int = 1,
        init: str = "kmeans",
        verbose: bool = False,
        params: str | None = None,
        init_params: str | None = None,
    ):
        self.n_components = n_components
        self.n_mix = n_mix
        self.covariance_type = covariance_type
        self.min_covar = min_covar
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.weights_prior = weights_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.verbose = verbose
        self.params = params
        self.init_params = init_params

    def check_options(self) -> None:
        super().check_options()
        check_sizes(n_mix=self.n_mix)

    def check_emission(self) -> None:
        N, K = self.n_components, self.n_mix
        self.weights_ = check_distribution("weights_", self.weights_)
        self.means_ = np.asarray(self.means_, dtype=float)
        if self.means_.ndim != 3 or self.means_.shape[:2] != (N, K) or not np.isfinite(self.means_).all():
            raise ValueError(f"means_ has shape {self.means_.shape}, expected finite ({N}, {K}, D)")
        if self.weights_.shape != (N, K):
            raise ValueError(f"weights_ has shape {self.weights_.shape}, expected ({N}, {K})")
        D = self.n_features_ = self.means_.shape[2]
        covars = np.asarray(self.covars_, dtype=float)
        shape = {"spherical": (N, K), "diag": (N, K, D), "full": (N, K, D, D), "tied": (N, D, D)}[self.covariance_type]
        if covars.shape != shape:
            raise ValueError(f"covars_ has shape {covars.shape}, expected {shape}")
        if self.covariance_type == "tied":
            check_covariances("covars_", covars, "full", N, D)
        else:
            check_covariances("covars_", covars.reshape(N * K, *covars.shape[2:]), self.covariance_type, N * K, D)
        self.covars_ = covars

    def _components(self, X: Array) -> Array:
        """log of weight times density of every Gaussian of every state: (N, K, M)."""
        xp = get_array_module(X)
        N, K, D = self.means_.shape
        if self.covariance_type == "tied":
            parts = [gaussian_log_density(X, self.means_[j], self.covars_[j], "tied") for j in range(N)]
            found = xp.stack(parts)
        else:
            covars = self.covars_.reshape(N * K, *self.covars_.shape[2:])
            found = gaussian_log_density(X, self.means_.reshape(N * K, D), covars, self.covariance_type)
            found = found.reshape(N, K, len(X))
        with np.errstate(divide="ignore"):
            found += xp.asarray(np.log(self.weights_))[:, :, None]
        return found

    def log_emission(self, X: Array) -> Array:
        found = self._components(X)
        xp = get_array_module(found)
        largest = found.max(axis=1)
        return xp.log(xp.exp(found - largest[:, None]).sum(axis=1)) + largest

    def initialize_emission(self, X: np.ndarray, rng: np.random.Generator) -> None:
        letters, N, K = self.chosen("init_params"), self.n_components, self.n_mix
        self._floor = variance_floor(X, self.min_covar)
        centres = k_means(X, N, rng)
        spread = X.var(axis=0).clip(self._floor)
        label = np.stack([((X - centre) ** 2 / spread).sum(axis=1) for centre in centres]).argmin(axis=0)
        if "m" in letters:
            means = []
            for j in range(N):
                own = X[label == j] if self.init == "kmeans" and (label == j).sum() >= K else X
                means.append(k_means(own, K, rng) if self.init == "kmeans" else own[rng.choice(len(own), K)])
            self.means_ = np.stack(means)
        if "c" in letters:
            if self.covariance_type == "tied":  # within each state
                self.covars_ = overall_covariance(X, "full", self._floor, N)
            else:
                found = overall_covariance(X, self.covariance_type, self._floor, N * K)
                self.covars_ = found.reshape(N, K, *found.shape[1:])
        if "w" in letters:
            self.weights_ = np.full((N, K), 1.0 / K)

    def maximize_emission(self, X: Array, posterior: Array) -> None:
        xp = get_array_module(X)
        N, K, D = self.means_.shape
        parts = self._components(X)
        parts -= parts.max(axis=1, keepdims=True)
        shares = xp.exp(parts)
        shares *= (posterior / shares.sum(axis=1))[:, None]  # p(state, Gaussian | whole sequence)
        if "w" in self.chosen("params"):
            counts, possible = to_cpu(shares.sum(axis=2)), self.weights_ > 0
            self.weights_ = self._shares("weights_", counts, self.weights_prior, self.weights_, possible)
        prior, fixed = self._prior(), self._fixed()
        if self.covariance_type == "tied":
            found = [
                gaussian_estimate(X, shares[j], "tied", prior, self.means_[j], self.covars_[j], fixed)
                if float(to_cpu(shares[j].sum())) > 0
                else (self.means_[j], self.covars_[j])
                for j in range(N)
            ]
            self.means_, self.covars_ = (np.stack(each) for each in zip(*found))
            return
        flat = self.covars_.reshape(N * K, *self.covars_.shape[2:])
        weights, means = shares.reshape(N * K, len(X)), self.means_.reshape(N * K, D)
        means, covars = gaussian_estimate(X, weights, self.covariance_type, prior, means, flat, fixed)
        self.means_, self.covars_ = means.reshape(N, K, D), covars.reshape(self.covars_.shape)

    def emission_prior(self) -> float:
        found = 0.0
        if "w" in self.chosen("params"):
            found += dirichlet_log_density(self.weights_, self.weights_prior)
        prior = self._prior()
        for means, covars in zip(self.means_, self.covars_):
            found += prior.log_density(means, covars, self.covariance_type)
        return found

    def count_emission_params(self) -> int:
        (N, K, D), letters = self.means_.shape, self.chosen("params")
        each = D * (D + 1) // 2
        covars = {"spherical": N * K, "diag": N * K * D, "full": N * K * each, "tied": N * each}
        found = ("m" in letters) * N * K * D + ("c" in letters) * covars[self.covariance_type]
        return found + ("w" in letters) * (int((self.weights_ > 0).sum()) - N)

    def sample_emission(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        N, K, D = self.means_.shape
        cumulative = self.weights_.cumsum(axis=1)[states]
        last = K - 1 - (self.weights_[:, ::-1] > 0).argmax(axis=1)
        part = np.minimum((cumulative <= rng.random(len(states))[:, None]).sum(axis=1), last[states])
        if self.covariance_type == "tied":
            covars, kind = np.repeat(self.covars_, K, axis=0), "full"
        else:
            covars, kind = self.covars_.reshape(N * K, *self.covars_.shape[2:]), self.covariance_type
        return _draw(rng, states * K + part, self.means_.reshape(N * K, D), covars, kind)


class PoissonHMM(BaseHMM):
    """Each state emits D counts, independent and Poisson with means lambdas_ (N, D). Letter l.

    `lambdas_prior` and `lambdas_weight` are a conjugate prior: as if every state had emitted `lambdas_prior` in all in
    `lambdas_weight` further frames.
    """

    letters = {"l": "lambdas_"}
    lambdas_: np.ndarray

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        lambdas_prior: float = 0.0,
        lambdas_weight: float = 0.0,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        n_init: int = 1,
        init: str = "kmeans",
        verbose: bool = False,
        params: str | None = None,
        init_params: str | None = None,
    ):
        self.n_components = n_components
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.lambdas_prior = lambdas_prior
        self.lambdas_weight = lambdas_weight
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.verbose = verbose
        self.params = params
        self.init_params = init_params

    def as_frames(self, x: Any, name: str) -> Array:
        found = super().as_frames(x, name)
        xp = get_array_module(found)
        seen = xp.where(xp.isnan(found), 0.0, found)
        if bool(to_cpu(((seen < 0) | (seen != xp.floor(seen))).any())):
            raise ValueError(f"{name} holds numbers that are no counts, expected 0, 1, 2, ... or NaN where missing")
        return found

    def check_options(self) -> None:
        super().check_options()
        for name in ("lambdas_prior", "lambdas_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected at least 0")

    def check_emission(self) -> None:
        self.lambdas_ = np.asarray(self.lambdas_, dtype=float)
        if self.lambdas_.ndim != 2 or len(self.lambdas_) != self.n_components:
            raise ValueError(f"lambdas_ has shape {self.lambdas_.shape}, expected ({self.n_components}, D)")
        if not (np.isfinite(self.lambdas_) & (self.lambdas_ >= 0)).all():
            raise ValueError("lambdas_ holds negative numbers, NaN or infinity, expected means of counts")
        self.n_features_ = self.lambdas_.shape[1]

    def log_emission(self, X: Array) -> Array:
        return poisson_log_density(X, self.lambdas_)

    def initialize_emission(self, X: np.ndarray, rng: np.random.Generator) -> None:
        if "l" in self.chosen("init_params"):
            N = self.n_components
            found = k_means(X, N, rng) if self.init == "kmeans" else X[rng.choice(len(X), N, len(X) < N)]
            self.lambdas_ = (found + X.mean(axis=0)) / 2 + 1e-3  # no rate of 0, from which there is no way back

    def maximize_emission(self, X: Array, posterior: Array) -> None:
        if "l" in self.chosen("params"):
            sums = to_cpu(posterior @ X) + self.lambdas_prior
            mass = to_cpu(posterior.sum(axis=1))[:, None] + self.lambdas_weight
            self.lambdas_ = np.where(mass > 0, sums / np.where(mass > 0, mass, 1.0), self.lambdas_)

    def emission_prior(self) -> float:
        if "l" not in self.chosen("params") or not (self.lambdas_prior or self.lambdas_weight):
            return 0.0
        with np.errstate(divide="ignore"):
            logs = self.lambdas_prior * np.log(self.lambdas_) if self.lambdas_prior else 0.0
        return float((logs - self.lambdas_weight * self.lambdas_).sum())

    def emission_gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """By log lambdas_: sum over frames of dlog_b (x - lambda)."""
        return {"lambdas": to_cpu(dlog_b @ X) - to_cpu(dlog_b.sum(axis=1))[:, None] * self.lambdas_}

    def count_emission_params(self) -> int:
        return self.lambdas_.size if "l" in self.chosen("params") else 0

    def sample_emission(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.poisson(self.lambdas_[states])


def _draw(
    rng: np.random.Generator, states: np.ndarray, means: np.ndarray, covars: np.ndarray, covariance_type: str
) -> np.ndarray:
    """One vector (M, D) for each state from its Gaussian."""
    noise = rng.standard_normal((len(states), means.shape[1]))
    if covariance_type == "spherical":
        return means[states] + noise * np.sqrt(covars)[states, None]
    if covariance_type == "diag":
        return means[states] + noise * np.sqrt(covars)[states]
    roots = np.linalg.cholesky(covars)
    if covariance_type == "tied":
        return means[states] + noise @ roots.T
    found = means[states]
    for k in range(len(means)):
        here = states == k
        found[here] += noise[here] @ roots[k].T
    return found


def load_hmm(path: str | os.PathLike[str]) -> BaseHMM:
    """Read a model of one of these families that `save` wrote.

    Raises FileNotFoundError, or ValueError, naming the file, for anything else; nothing in it is executed.
    """
    return read_model(path, (CategoricalHMM, GaussianHMM, GMMHMM, PoissonHMM))
