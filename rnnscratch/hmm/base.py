"""What all hidden Markov models share: data, decoding, Baum-Welch, sampling, streaming and files.

A family of emissions is a subclass of `BaseHMM`; its docstring says what it must define.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..backend import Array, generator, get_array_module, to_cpu
from ..checks import check_distribution, check_sizes
from ..estimator import Estimator, NotFittedError
from ..files import load_arrays, save_arrays
from ..progress import progress_bar
from . import chunks, inference, recursions
from .chain import stationary_distribution, walk
from .frames import Frames, lay_out

Model = TypeVar("Model", bound="BaseHMM")
FORMAT = "rnnscratch hmm 1"


class Data(NamedTuple):
    """Observations in the order of the columns of `frames`."""

    X: Array  # (M, D), or symbols (M,); rows without meaning where missing
    missing: Array | None  # (M,) True where nothing was observed
    states: Array | None  # (M,) known states, -1 where unknown
    frames: Frames


class ConvergenceMonitor:
    """The objective after each step of EM, the value before the first and after the last included.

    The objective is the log-likelihood plus, where there are priors, their log density up to a constant. EM has
    converged when it grows by less than `tol` times its size.
    """

    def __init__(self, tol: float, n_iter: int):
        self.tol, self.n_iter = tol, n_iter
        self.history: list[float] = []

    @property
    def iter(self) -> int:
        """How many steps were taken."""
        return max(len(self.history) - 1, 0)

    @property
    def converged(self) -> bool:
        """Whether the last step gained less than the tolerance."""
        return len(self.history) > 1 and self.history[-1] - self.history[-2] < self.tol * abs(self.history[-1])

    def __repr__(self) -> str:
        last = f"{self.history[-1]:.6g}" if self.history else "none"
        return f"ConvergenceMonitor(iter={self.iter}, converged={self.converged}, objective={last})"


class BaseHMM(Estimator):
    """A hidden Markov model; subclasses say what the states emit.

    A family of one's own is a subclass with a constructor that stores its arguments (the ones used below among them)
    and these methods, where X holds M frames (M, D), on the host or the device, and posterior (N, M) their weights:

        letters                            a dict: for each family parameter its letter and its attribute
        log_emission(X) -> (N, M)          log p(x | state)
        initialize_emission(X, rng)        set the parameters whose letters are in `init_params`
        maximize_emission(X, posterior)    set those whose letters are in `params` to their weighted best
        sample_emission(states, rng)       one observation for each state
        count_emission_params() -> int     how many numbers are free, of those whose letters are in `params`
        emission_prior() -> float          the log prior density of the parameters; 0 without
        check_emission()                   raise ValueError for parameters that cannot be
    """

    letters: dict[str, str] = {}  # letter -> attribute
    symbols = False  # whether observations are integers (M,)
    n_components: int
    startprob_: np.ndarray
    transmat_: np.ndarray
    n_features_: int
    monitor_: ConvergenceMonitor
    # arguments that every family stores
    startprob_prior: Any
    transmat_prior: Any
    algorithm: str
    random_state: Any
    n_iter: int
    tol: float
    n_init: int
    init: str
    verbose: bool
    params: str | None
    init_params: str | None

    def log_emission(self, X: Array) -> Array:
        raise NotImplementedError

    def initialize_emission(self, X: np.ndarray, rng: np.random.Generator) -> None:
        raise NotImplementedError

    def maximize_emission(self, X: Array, posterior: Array) -> None:
        raise NotImplementedError

    def sample_emission(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def count_emission_params(self) -> int:
        raise NotImplementedError

    def emission_prior(self) -> float:
        return 0.0

    def check_emission(self) -> None:
        return None

    # data

    def read(self, X: Any, lengths: Any, fitting: bool = False) -> tuple[Array, np.ndarray]:
        """The observations of all sequences in a row, and the lengths. Raises ValueError or TypeError."""
        if lengths is None and isinstance(X, (list, tuple)) and any(getattr(x, "ndim", 0) > 0 for x in X):
            sequences = [self.as_frames(x, f"X[{s}]") for s, x in enumerate(X)]
            for s, x in enumerate(sequences):
                if x.shape[1:] != sequences[0].shape[1:]:
                    raise ValueError(f"X[{s}] has {x.shape[1]} features, X[0] has {sequences[0].shape[1]}")
            lengths = [len(x) for x in sequences]
            frames = get_array_module(*sequences).concatenate(sequences) if sequences else np.empty((0, 1))
        elif lengths is None and getattr(X, "ndim", 0) == 3:
            lengths = [X.shape[1]] * X.shape[0]
            frames = self.as_frames(X.reshape(-1, X.shape[2]), "X")
        else:
            frames = self.as_frames(X, "X")
        found = np.asarray([len(frames)] if lengths is None else lengths)
        if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
            raise ValueError(f"lengths is {lengths!r}, expected a row of integers")
        for s in np.flatnonzero(found < 1)[:1]:
            raise ValueError(f"lengths[{s}] is {found[s]}, expected at least 1: a sequence has at least one frame")
        if found.sum() != len(frames):
            raise ValueError(f"lengths sum to {found.sum()}, but X has {len(frames)} frames")
        if not fitting and not self.symbols and frames.shape[1] != self.n_features_:
            raise ValueError(f"X has {frames.shape[1]} features, but the model has {self.n_features_}")
        return frames, found.astype(np.int64)

    def as_frames(self, x: Any, name: str) -> Array:
        """One array of observations as float64 (M, D)."""
        found = x if hasattr(x, "dtype") else np.asarray(x)
        if found.dtype.kind not in "fiub":
            raise TypeError(f"{name} has dtype {found.dtype}, expected numbers")
        if found.ndim == 1:
            found = found[:, None]
        if found.ndim != 2:
            raise ValueError(f"{name} has shape {found.shape}, expected (frames, features)")
        found = found.astype(np.float64, copy=False)
        if bool(to_cpu(get_array_module(found).isinf(found).any())):
            raise ValueError(f"{name} holds infinity; a missing observation is NaN")
        return found

    def absent(self, X: Array) -> Array:
        """Which frames (M,) were not observed."""
        return get_array_module(X).isnan(X).any(axis=1)

    def prepare(self, X: Array, lengths: np.ndarray, states: np.ndarray | None = None, cut: bool = True) -> Data:
        """Sort the frames into columns; a long sequence is cut into pieces if that is faster."""
        xp = get_array_module(X)
        frames = lay_out(lengths, chunks.piece_length(lengths, self.n_components) if cut else None)
        if len(frames.owner) > 1:
            rows = xp.asarray(frames.rows)
            X = X[rows]
        missing = self.absent(X)
        if bool(to_cpu(missing.any())):
            X = xp.where(missing if X.ndim == 1 else missing[:, None], xp.zeros_like(X), X)
        else:
            missing = None
        known = None if states is None else xp.asarray(states[frames.rows])
        return Data(X, missing, known, frames)

    def emissions(self, data: Data) -> Array:
        """log p(x | state) (N, M) by column: 0 where x is missing, -inf in states known not to be."""
        log_b = self.log_emission(data.X)
        xp = get_array_module(log_b)
        if data.missing is not None:
            log_b = xp.where(data.missing, 0.0, log_b)
        if data.states is not None:
            others = (data.states >= 0) & (xp.arange(self.n_components)[:, None] != data.states)
            log_b = xp.where(others, -np.inf, log_b)
        return log_b

    def chain(self, X: Array) -> tuple[Array, Array]:
        """startprob_ and transmat_ beside the data."""
        xp = get_array_module(X)
        return xp.asarray(self.startprob_), xp.asarray(self.transmat_)

    # inference

    def expectation(self, X: Any, lengths: Any) -> tuple[inference.Expectation, Frames]:
        """Forward, backward and posteriors of the data."""
        self.check()
        data = self.prepare(*self.read(X, lengths))
        return inference.expectation(self.emissions(data), *self.chain(data.X), data.frames), data.frames

    def score_sequences(self, X: Any, lengths: Any = None) -> np.ndarray:
        """The log-likelihood of each sequence (S,); -inf for one that the model cannot produce."""
        self.check()
        data = self.prepare(*self.read(X, lengths))
        return inference.log_likelihood(self.emissions(data), *self.chain(data.X), data.frames)

    def score(self, X: Any, lengths: Any = None) -> float:
        """The log-likelihood of all sequences together. Of densities it may well be positive."""
        return float(self.score_sequences(X, lengths).sum())

    def score_samples(self, X: Any, lengths: Any = None) -> tuple[float, np.ndarray]:
        """The log-likelihood, and p(z_t | whole sequence) of every frame (M, N).

        An observation that no reachable state can emit makes the likelihood 0 (-inf) and counts as missing in the
        posteriors.
        """
        found, frames = self.expectation(X, lengths)
        return float(found.log_likelihood.sum()), to_cpu(found.posterior).T[frames.columns]

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """p(z_t | whole sequence) of every frame (M, N)."""
        return self.score_samples(X, lengths)[1]

    def filter(self, X: Any, lengths: Any = None) -> np.ndarray:
        """p(z_t | x_1 .. x_t) of every frame (M, N): what is known at time t, without a look ahead."""
        found, frames = self.expectation(X, lengths)
        return to_cpu(found.filtered).T[frames.columns]

    def decode(self, X: Any, lengths: Any = None, algorithm: str | None = None) -> tuple[float, np.ndarray]:
        """The hidden states (M,) and the log probability of path and data together, log p(z, x).

        "viterbi": the most probable path. "map": in each frame the most probable state, which may be another, even an
        impossible path, whose log probability is then -inf.
        """
        algorithm = algorithm or self.algorithm
        if algorithm not in ("viterbi", "map"):
            raise ValueError(f"algorithm is {algorithm!r}, expected 'viterbi' or 'map'")
        self.check()
        data = self.prepare(*self.read(X, lengths))
        log_b = self.emissions(data)
        xp = get_array_module(log_b)
        with np.errstate(divide="ignore"):
            start, transmat = (xp.log(array) for array in self.chain(data.X))
        if algorithm == "viterbi":
            states, log_probability = chunks.viterbi(log_b, start, transmat, data.frames)
            return float(log_probability.sum()), states[data.frames.columns]
        path = self.predict_proba(X, lengths).argmax(axis=1)
        log_b, log_start, log_transmat = to_cpu(log_b)[:, data.frames.columns], to_cpu(start), to_cpu(transmat)
        first = data.frames.first_rows
        follows = np.delete(np.arange(len(path)), first)
        total = log_b[path, np.arange(len(path))].sum() + log_start[path[first]].sum()
        return float(total + log_transmat[path[follows - 1], path[follows]].sum()), path

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """The hidden states (M,), by `algorithm`."""
        return self.decode(X, lengths)[1]

    def decode_best(self, X: Any, k: int, lengths: Any = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each sequence the k most probable paths: log p(z, x) (K,) and states (K, T), K <= k, best first."""
        check_sizes(k=k)
        self.check()
        data = self.prepare(*self.read(X, lengths), cut=False)
        log_b = to_cpu(self.emissions(data))
        with np.errstate(divide="ignore"):
            start, transmat = np.log(self.startprob_), np.log(self.transmat_)
        return [
            recursions.best_paths(log_b[:, data.frames.sequence(s)], start, transmat, k)
            for s in range(len(data.frames.lengths))
        ]

    def sample_paths(self, X: Any, n: int = 1, lengths: Any = None, random_state: Any = None) -> np.ndarray:
        """n paths (n, M) drawn from p(z | x). Raises ValueError for a sequence that the model cannot produce."""
        check_sizes(n=n)
        self.check()
        data = self.prepare(*self.read(X, lengths), cut=False)
        found = inference.expectation(self.emissions(data), *self.chain(data.X), data.frames)
        self._refuse(found.impossible)
        xp = get_array_module(found.filtered)
        uniforms = xp.asarray(generator(self._seed(random_state)).random((n, len(data.frames.rows))))
        paths = recursions.sample_paths(found.filtered, self.chain(data.X)[1], data.frames, uniforms)
        return to_cpu(paths)[:, data.frames.columns]

    def update(self, belief: np.ndarray | None, x: Any) -> np.ndarray:
        """p(z_t | x_1 .. x_t) (N,) after one more observation x, from that before it; None before the first.

        An observation that no reachable state can emit raises ValueError; the belief before it is still good.
        """
        self.check()
        frame = self.as_frames(x if self.symbols else np.atleast_1d(np.asarray(x))[None], "x")
        X, _ = self.read(frame, None)
        if len(X) != 1:
            raise ValueError(f"x holds {len(X)} observations, expected one")
        predicted = self.startprob_ if belief is None else self.predict_next(belief)
        with np.errstate(divide="ignore"):
            joint = np.log(predicted) + to_cpu(self.emissions(self.prepare(X, np.array([1]))))[:, 0]
        if joint.max() == -np.inf:
            raise ValueError(f"x is {x!r}, which no state that can be reached emits")
        joint = np.exp(joint - joint.max())
        return joint / joint.sum()

    def predict_next(self, belief: Any, k: int = 1) -> np.ndarray:
        """p(z_{t+k} | x_1 .. x_t) (N,) or (S, N), from the belief at time t: Eq. 49, k times."""
        check_sizes(k=k)
        self.check()
        return check_distribution("belief", belief, self.n_components) @ np.linalg.matrix_power(self.transmat_, k)

    def log_likelihood_gradient(self, X: Any, lengths: Any = None) -> dict[str, np.ndarray]:
        """The gradient of the log-likelihood: by log startprob_ (N,), by log transmat_ (N, N), and by the log emission

        of every frame in every state, "frames" (M, N); from it the family's, by the chain rule. The first two take each
        entry as free, not as one of a row that sums to 1.
        """
        self.check()
        data = self.prepare(*self.read(X, lengths), cut=False)
        b, _ = inference.scaled(self.emissions(data))
        start, transmat, frames = recursions.gradient(b, *self.chain(data.X), data.frames)
        if not np.isfinite(to_cpu(frames)).all():
            raise ValueError("X holds an observation that no reachable state can emit, so there is no gradient")
        observed = frames if data.missing is None else get_array_module(frames).where(data.missing, 0.0, frames)
        found = {"startprob": start, "transmat": transmat, **self.emission_gradient(data.X, observed)}
        return {name: to_cpu(array) for name, array in found.items()} | {
            "frames": to_cpu(frames).T[data.frames.columns]
        }

    def emission_gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """The family's part of `log_likelihood_gradient`, from that by log p(x | state) (N, M)."""
        return {}

    # learning

    def fit(self: Model, X: Any, lengths: Any = None, states: Any = None) -> Model:
        """Learn from sequences by Baum-Welch (EM), from `n_init` starts, of which the best is kept.

        `states` (M,), if given, are the true states, -1 where unknown: then they are not summed over. What the letters
        in `params` leave out is kept as it is, and what those in `init_params` leave out is where learning begins.

        Raises ValueError or TypeError for wrong data or options, among them an observation that no state can emit. A
        state that explains nothing, or is never left, keeps its parameters, and a warning names it.
        """
        self.check_options()
        X, sizes = self.read(X, lengths, fitting=True)
        known = None if states is None else self.check_states(states, len(X))
        rng = generator(self._seed(None))
        data = self.prepare(X, sizes, known)
        host = to_cpu(X)
        if data.missing is not None:
            host = host[~self.absent(host)]
        if not len(host):
            raise ValueError("X holds no observation that is not missing")
        self.n_features_ = self.count_features(host)
        best: tuple[float, dict[str, Any], set[str]] | None = None
        before = {name: getattr(self, name) for name in self._arrays() if hasattr(self, name)}
        for _ in range(self.n_init):
            for name, value in before.items():
                setattr(self, name, value)
            self.initialize(host, rng)
            if known is not None:
                self._learn_from_known(data)
            self.check()
            self._kept: set[str] = set()
            self._zeros = self.startprob_ > 0, self.transmat_ > 0
            monitor = self._climb(data)
            if best is None or monitor.history[-1] > best[0]:
                self.monitor_ = monitor
                best = monitor.history[-1], {name: getattr(self, name) for name in self._arrays()}, self._kept
        assert best is not None
        for name, value in best[1].items():
            setattr(self, name, value)
        if best[2]:
            warnings.warn("; ".join(sorted(best[2])), stacklevel=2)
        del self._kept, self._zeros
        return self

    def _climb(self, data: Data) -> ConvergenceMonitor:
        monitor = ConvergenceMonitor(self.tol, self.n_iter)
        with progress_bar(show=bool(self.verbose), total=self.n_iter, desc="EM", unit="step") as bar:
            for _ in range(self.n_iter):
                found = inference.expectation(self.emissions(data), *self.chain(data.X), data.frames)
                self._refuse(found.impossible)
                monitor.history.append(float(found.log_likelihood.sum()) + self.log_prior())
                bar.set_postfix(objective=f"{monitor.history[-1]:.6g}")
                if monitor.converged:
                    return monitor
                self.maximize(data, found)
                bar.update()
        final = inference.log_likelihood(self.emissions(data), *self.chain(data.X), data.frames)
        monitor.history.append(float(final.sum()) + self.log_prior())
        return monitor

    def initialize(self, X: np.ndarray, rng: np.random.Generator) -> None:
        """Set what the letters in `init_params` ask for, before the first step, from the observed frames X."""
        N, letters = self.n_components, self.chosen("init_params")
        if "s" in letters:
            self.startprob_ = rng.dirichlet(np.ones(N)) if self.init == "random" else np.full(N, 1.0 / N)
        if "t" in letters:
            rows = rng.dirichlet(np.ones(N), N)
            self.transmat_ = (rows + np.eye(N)) / 2 if self.init == "kmeans" else rows  # states tend to last
        self.initialize_emission(X, rng)

    def _learn_from_known(self, data: Data) -> None:
        """Begin with the emissions of the frames whose states are known, leaning half to all others."""
        xp = get_array_module(data.X)
        assert data.states is not None
        observed = xp.ones(len(data.X)) if data.missing is None else xp.where(data.missing, 0.0, 1.0)
        known = (xp.arange(self.n_components)[:, None] == data.states) * observed
        others = (data.states < 0) * observed
        self._kept = set()
        self.maximize_emission(data.X, known + known.sum(axis=1)[:, None] * others / xp.maximum(others.sum(), 1.0))

    def maximize(self, data: Data, found: inference.Expectation) -> None:
        """The M-step: parameters that maximise the expected log-likelihood plus the log prior."""
        letters = self.chosen("params")
        starts, pairs = to_cpu(found.start), to_cpu(found.pairs)
        if "s" in letters:
            self.startprob_ = self._shares("startprob_", starts, self.startprob_prior, self.startprob_, self._zeros[0])
        if "t" in letters:
            self.transmat_ = self._shares("transmat_", pairs, self.transmat_prior, self.transmat_, self._zeros[1])
        posterior = found.posterior
        if data.missing is not None:
            posterior = get_array_module(posterior).where(data.missing, 0.0, posterior)
        for k in np.flatnonzero(to_cpu(posterior.sum(axis=1)) < 1e-200):
            self._kept.add(f"state {k} explains no observation and keeps its emissions")
        self.maximize_emission(data.X, posterior)

    def _shares(self, name: str, counts: np.ndarray, prior: Any, old: np.ndarray, possible: np.ndarray) -> np.ndarray:
        """Rows of counts plus Dirichlet prior as shares; what was 0 stays 0, a row without any keeps its old values."""
        counts = np.where(possible, np.maximum(counts + (np.asarray(prior, dtype=float) - 1.0), 0.0), 0.0)
        total = counts.sum(axis=-1, keepdims=True)
        for k in np.flatnonzero(total < 1e-200):
            if name == "transmat_":
                self._kept.add(f"state {k} is never left and keeps its row of transmat_")
        return np.where(total >= 1e-200, counts / np.where(total >= 1e-200, total, 1.0), old)

    def log_prior(self) -> float:
        """The log prior density of all parameters that are learned, up to a constant."""
        letters = self.chosen("params")
        found = self.emission_prior()
        for letter, values, prior in (
            ("s", self.startprob_, self.startprob_prior),
            ("t", self.transmat_, self.transmat_prior),
        ):
            if letter in letters:
                found += dirichlet_log_density(values, prior)
        return found

    # sampling

    def sample(
        self, n_samples: int = 1, random_state: Any = None, currstate: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One sequence of observations (n_samples, D), or symbols (n_samples, 1), and its states (n_samples,).

        `currstate`, if given, is its first state.
        """
        check_sizes(n_samples=n_samples)
        self.check()
        if currstate is not None and not 0 <= currstate < self.n_components:
            raise ValueError(f"currstate is {currstate}, expected a state from 0 to {self.n_components - 1}")
        rng = generator(self._seed(random_state))
        found = walk(self.startprob_, self.transmat_, rng.random(n_samples), currstate)
        return self.sample_emission(found, rng), found

    # about the model

    def get_stationary_distribution(self) -> np.ndarray:
        """The distribution (N,) that a step of the chain leaves as it is (Eq. 50). Raises ValueError if not unique."""
        self.check()
        return stationary_distribution(self.transmat_)

    @property
    def num_params(self) -> int:
        """How many numbers are free: those that are learned and no structural zeros, less one for every sum to 1."""
        letters, found = self.chosen("params"), self.count_emission_params()
        if "s" in letters:
            found += int((self.startprob_ > 0).sum()) - 1
        if "t" in letters:
            found += int((self.transmat_ > 0).sum()) - self.n_components
        return found

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Akaike's information criterion, -2 log p(x) + 2 num_params: the less the better."""
        return -2.0 * self.score(X, lengths) + 2.0 * self.num_params

    def bic(self, X: Any, lengths: Any = None) -> float:
        """The Bayesian information criterion, -2 log p(x) + log(M) num_params for M frames: the less the better."""
        frames = len(self.read(X, lengths)[0])
        return -2.0 * self.score(X, lengths) + math.log(frames) * self.num_params

    def chosen(self, option: str) -> str:
        """The letters in `params` or `init_params`; all where it is None."""
        value = getattr(self, option)
        return "st" + "".join(self.letters) if value is None else value

    def check_options(self) -> None:
        """Raise ValueError or TypeError for constructor's arguments that cannot be."""
        check_sizes(n_components=self.n_components, n_init=self.n_init, n_iter=self.n_iter)
        for option in ("params", "init_params"):
            wrong = set(self.chosen(option)) - {"s", "t", *self.letters}
            if wrong:
                raise ValueError(f"{option} holds {min(wrong)!r}, expected letters of {'st' + ''.join(self.letters)!r}")
        for name, value, allowed in (
            ("algorithm", self.algorithm, ("viterbi", "map")),
            ("init", self.init, ("kmeans", "random")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")

    def check(self) -> None:
        """Raise NotFittedError without parameters, ValueError for ones that cannot be."""
        for name in self._arrays():
            if not hasattr(self, name):
                raise NotFittedError(f"this {type(self).__name__} has no {name}: call fit first, or set it")
        N = self.n_components
        self.startprob_ = check_distribution("startprob_", self.startprob_, N)
        self.transmat_ = check_distribution("transmat_", self.transmat_, N)
        if self.startprob_.ndim != 1 or self.transmat_.shape != (N, N):
            raise ValueError(
                f"startprob_ has shape {self.startprob_.shape} and transmat_ {self.transmat_.shape}, "
                f"expected ({N},) and ({N}, {N})"
            )
        self.check_emission()

    def check_states(self, states: Any, frames: int) -> np.ndarray:
        """The known states as integers (frames,)."""
        parts = list(states) if isinstance(states, (list, tuple)) and any(np.ndim(s) for s in states) else [states]
        found = np.concatenate([np.asarray(part) for part in parts])
        if found.shape != (frames,) or found.dtype.kind not in "iu":
            raise ValueError(f"states has shape {found.shape} and dtype {found.dtype}, expected ({frames},) integers")
        if found.min() < -1 or found.max() >= self.n_components:
            raise ValueError(f"states holds {found.min()} to {found.max()}, expected -1 to {self.n_components - 1}")
        return found

    def count_features(self, X: np.ndarray) -> int:
        """D of the observed frames (M, D)."""
        return X.shape[1]

    def _arrays(self) -> list[str]:
        return ["startprob_", "transmat_", *dict.fromkeys(self.letters.values())]

    def _seed(self, given: Any) -> Any:
        return self.random_state if given is None else given

    def _refuse(self, impossible: list[tuple[int, int]]) -> None:
        for s, t in impossible[:1]:
            raise ValueError(f"frame {t} of sequence {s} has an observation that no state reachable there can emit")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.npz` without pickle; a failure leaves an older file whole."""
        self.check()
        params = self.get_params()
        if not isinstance(params["random_state"], int | None):
            params["random_state"] = None
        params = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in params.items()}
        header = {"format": FORMAT, "class": type(self).__name__, "params": params, "n_features": self.n_features_}
        save_arrays(path, header | self.extra_header(), {name: getattr(self, name) for name in self._arrays()})

    def extra_header(self) -> dict[str, Any]:
        """What a family adds to its file's header."""
        return {}


def read_model(path: str | os.PathLike[str], classes: Sequence[type[BaseHMM]]) -> BaseHMM:
    """Read what `save` wrote. Raises FileNotFoundError, or ValueError, naming the file, for anything else."""
    header, arrays = load_arrays(path, FORMAT)
    try:
        kind = {each.__name__: each for each in classes}[header["class"]]
        model = kind(**header["params"])
        model.n_features_ = int(header["n_features"])
        for name in model._arrays():
            setattr(model, name, arrays[name])
        if "vocabulary" in header:
            model.vocabulary_ = header["vocabulary"]  # type: ignore[attr-defined]
        model.check()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} does not fit together: {error}") from None
    return model


def dirichlet_log_density(values: np.ndarray, prior: Any) -> float:
    """sum of (prior - 1) log(values) over the values that are not 0: the Dirichlet's log density up to a constant."""
    exponents = np.broadcast_to(np.asarray(prior, dtype=float) - 1.0, values.shape)
    positive = (values > 0) & (exponents != 0)
    return float((exponents[positive] * np.log(values[positive])).sum())
