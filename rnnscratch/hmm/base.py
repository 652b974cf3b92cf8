"""What all hidden Markov models share: their options, inference, learning, sampling, streaming and files."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..backend import generator, get_array_module, to_cpu
from ..checks import check_choice, check_distribution, check_flags, check_number, check_sizes
from ..estimator import Estimator
from ..files import load_arrays, reading, save_arrays
from . import chunks, inference, learning, recursions
from .chain import check_state, check_vocabulary, propagate, require, stationary_distribution, storable, walk
from .emission import Emission, check_dirichlet
from .frames import Data, check_states, prepare, read, tell_apart
from .learning import ConvergenceMonitor, Parameters

Model = TypeVar("Model", bound="BaseHMM")
ALGORITHMS = ("viterbi", "map")
FORMAT = "rnnscratch hmm 1"


@dataclass(repr=False, eq=False)
class BaseHMM(Estimator):
    """A hidden Markov model of `n_components` states, whose emissions are those of its class; see `emission.Emission`.

    `startprob_prior` and `transmat_prior` are Dirichlet's, 1 being none, and not below it; `algorithm`, "viterbi" or
    "map", is how `predict` decodes; `random_state` a seed or generator. Learning takes `n_iter` steps of EM at most (0:
    it only begins), fewer once one gains less than `tol`, and keeps the best of `n_init` starts, made by `init`,
    "kmeans" or "random"; `verbose` writes the objective of each step to standard error, `progress` shows it in a bar.
    `params` and `init_params` are letters of what is learned and of what is set before learning (None: all): s
    startprob_, t transmat_, and the family's own; what there is not yet is always set. `implementation`, hmmlearn's
    "log" or "scaling", changes nothing: numbers of any size are safe. With `n_jobs` other than None and 1, so many
    processes of joblib (-1: all that there are), here or where its `parallel_config` says, take a share of the
    sequences in each step of EM. `README.md` beside this file lists what differs from hmmlearn.

    X, here and in all methods, is what NumPy makes an array of, and is told apart by its shape:

    - (M,) or (M, D), an array, a Series, a data frame, or a list of numbers or rows: one sequence, or with `lengths`
      those that come one after the other in it. Of symbols only (M,) and (M, 1) are one sequence.
    - a list of arrays, a list of lists that are not of one length, and (S, T, D): S sequences. A list of lists of
      symbols is one sequence if each holds one symbol, else each is a sequence.
    - a string: one sequence of its characters. A list of strings: one sequence of symbols if each is one character, if
      all are in the vocabulary, or with `lengths`; else each is a sequence of characters. If some are equal, so that
      they may well be words, and no vocabulary says what they are, that is an error.

    NaN, None, NA and what is masked are missing observations, which are summed over, and -1 is a missing symbol.
    Parameters may also be set by hand, as arrays or lists. Nothing but `fit` changes a model.
    """

    _input_tags = {"three_d_array": True, "allow_nan": True}
    emission: ClassVar[type[Emission]] = Emission

    n_components: int = 1
    _: KW_ONLY
    startprob_prior: Any = 1.0
    transmat_prior: Any = 1.0
    algorithm: str = "viterbi"
    random_state: Any = None
    n_iter: int = 100
    tol: float = 1e-4
    n_init: int = 1
    init: str = "kmeans"
    verbose: bool = False
    params: str | None = None
    init_params: str | None = None
    implementation: str = "log"
    progress: bool = False
    n_jobs: int | None = None
    startprob_: np.ndarray = field(init=False)
    transmat_: np.ndarray = field(init=False)
    monitor_: ConvergenceMonitor = field(init=False)

    @property
    def n_features_(self) -> int:
        """How many features an observation has, or how many symbols there are."""
        return self._parameters().emission.n_features_

    @property
    def n_features_in_(self) -> int:
        """What scikit-learn asks: how many columns X has."""
        return 1 if self.emission.symbols else self.n_features_

    def score_sequences(self, X: Any, lengths: Any = None) -> np.ndarray:
        """The log-likelihood of each sequence (S,); -inf for one that the model cannot produce."""
        p, data = self._read(X, lengths)
        return p.log_likelihood(data)

    def score(self, X: Any, lengths: Any = None) -> float:
        """The log-likelihood of all sequences together. Of densities it may well be positive."""
        return float(self.score_sequences(X, lengths).sum())

    def score_samples(self, X: Any, lengths: Any = None) -> tuple[float, np.ndarray]:
        """The log-likelihood, and p(z_t | whole sequence) of every frame (M, N).

        An observation that no reachable state can emit makes the likelihood 0 (-inf) and counts as missing in the
        posteriors.
        """
        p, data = self._read(X, lengths)
        found = p.expectation(data)
        return float(found.log_likelihood.sum()), to_cpu(found.posterior).T[data.frames.columns]

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """p(z_t | whole sequence) of every frame (M, N)."""
        return self.score_samples(X, lengths)[1]

    def filter(self, X: Any, lengths: Any = None) -> np.ndarray:
        """p(z_t | x_1 .. x_t) of every frame (M, N): what is known at time t, without a look ahead."""
        p, data = self._read(X, lengths)
        return to_cpu(p.expectation(data).filtered).T[data.frames.columns]

    def decode(self, X: Any, lengths: Any = None, algorithm: str | None = None) -> tuple[float, np.ndarray]:
        """The hidden states (M,) and the log probability of path and data together, log p(z, x).

        "viterbi": the most probable path. "map": in each frame the most probable state, which may be another, even an
        impossible path, whose log probability is then -inf. Raises ValueError for another algorithm.
        """
        algorithm = self.algorithm if algorithm is None else algorithm
        check_choice("algorithm", algorithm, ALGORITHMS)
        p, data = self._read(X, lengths)
        log_b, chain, columns = p.log_emissions(data), p.chain(data.X), data.frames.columns
        with np.errstate(divide="ignore"):
            log_start, log_transmat = (get_array_module(log_b).log(array) for array in chain)
        if algorithm == "viterbi":
            states, log_probability = chunks.viterbi(log_b, log_start, log_transmat, data.frames)
            return float(log_probability.sum()), states[columns]
        path = to_cpu(inference.expectation(log_b, *chain, data.frames).posterior).argmax(axis=0)[columns]
        first = data.frames.first_rows
        follows = np.delete(np.arange(len(path)), first)
        total = to_cpu(log_b)[path, columns].sum() + to_cpu(log_start)[path[first]].sum()  # Eqs 57, 59
        return float(total + to_cpu(log_transmat)[path[follows - 1], path[follows]].sum()), path

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """The hidden states (M,), by `algorithm`."""
        return self.decode(X, lengths)[1]

    def decode_best(self, X: Any, k: int, lengths: Any = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each sequence the k most probable paths: log p(z, x) (K,) and states (K, T), K <= k, best first."""
        check_sizes(k=k)
        p, data = self._read(X, lengths, cut=False)
        log_b, frames = to_cpu(p.log_emissions(data)), data.frames
        with np.errstate(divide="ignore"):
            start, transmat = np.log(p.startprob), np.log(p.transmat)
        parts = [log_b[:, frames.sequence(s)] for s in range(len(frames.lengths))]
        return [recursions.best_paths(part, start, transmat, k) for part in parts]

    def sample_paths(self, X: Any, n: int = 1, lengths: Any = None, random_state: Any = None) -> np.ndarray:
        """n paths (n, M) drawn from p(z | x). Raises ValueError for a sequence that the model cannot produce."""
        check_sizes(n=n)
        p, data = self._read(X, lengths, cut=False)
        found = p.expectation(data)
        learning.refuse(found.impossible)
        xp = get_array_module(found.filtered)
        uniforms = xp.asarray(self._generator(random_state).random((n, len(data.frames.rows))))
        paths = recursions.sample_paths(found.filtered, p.chain(data.X)[1], data.frames, uniforms)
        return to_cpu(paths)[:, data.frames.columns]

    def update(self, belief: Any, x: Any) -> np.ndarray:
        """p(z_t | x_1 .. x_t) (N,) after one more observation x, from that before it; None before the first.

        An observation that no reachable state can emit raises ValueError; the belief before it is still good.
        """
        p = self._parameters()
        _, (X,) = p.emission.encode([p.emission.as_frame(x, "x")], ["x"])
        p.emission.check_data(X)
        predicted = p.startprob
        if belief is not None:
            predicted = check_distribution("belief", belief, self.n_components)
            if predicted.ndim != 1:
                raise ValueError(f"belief has shape {predicted.shape}, expected ({self.n_components},)")
            predicted = predicted @ p.transmat
        with np.errstate(divide="ignore"):
            joint = np.log(predicted) + to_cpu(p.log_emissions(prepare(p.emission, X, np.array([1]))))[:, 0]
        if joint.max() == -np.inf:
            raise ValueError(f"x is {x!r}, which no state that can be reached emits")
        joint = np.exp(joint - joint.max())
        return joint / joint.sum()

    def predict_next(self, belief: Any, k: int = 1) -> np.ndarray:
        """p(z_{t+k} | x_1 .. x_t) (N,) or (S, N), from the belief at time t: Eq. 49, k times."""
        check_sizes(k=k)
        transmat = self._parameters().transmat
        return propagate(check_distribution("belief", belief, self.n_components), transmat, k)

    def log_likelihood_gradient(self, X: Any, lengths: Any = None) -> dict[str, np.ndarray]:
        """The gradient of the log-likelihood by log startprob_ (N,), log transmat_ (N, N) and, as "frames" (M, N), the
        log emission of every frame in every state; from the last the family's, by the chain rule.

        The first two take each entry as free, not as one of a row that sums to 1. Raises ValueError for an
        observation that no reachable state can emit.
        """
        p, data = self._read(X, lengths, cut=False)
        b, _ = inference.scaled(p.log_emissions(data))
        start, transmat, frames = recursions.gradient(b, *p.chain(data.X), data.frames)
        if not np.isfinite(to_cpu(frames)).all():
            raise ValueError("X holds an observation that no reachable state can emit, so there is no gradient")
        observed = frames if data.missing is None else get_array_module(frames).where(data.missing, 0.0, frames)
        found = {"startprob": start, "transmat": transmat, **p.emission.gradient(data.X, observed)}
        by_row = to_cpu(frames).T[data.frames.columns]
        return {name: to_cpu(array) for name, array in found.items()} | {"frames": by_row}

    def fit(self: Model, X: Any, lengths: Any = None, states: Any = None, y: Any = None) -> Model:
        """Learn from sequences by Baum-Welch (EM), from `n_init` starts, of which the best is kept.

        `states` (M,), if given, are the true states, -1 where unknown: then they are not summed over, and the emissions
        begin with the estimates from the frames whose states are known, but for those that `init_params` leaves out.
        What the letters in `params` leave out is kept as it is, and what those in `init_params` leave out is where
        learning begins. `y` is scikit-learn's, and not looked at.

        Raises ValueError or TypeError for wrong data or options, among them an observation that no state can emit;
        refused or interrupted, it leaves the model as it was. A state that explains nothing, or is never left, keeps
        its parameters, and a warning names it.
        """
        self._check_options()
        emission = self.emission(**{**vars(self), "vocabulary_": None, "learning": True})
        option = getattr(self, "vocabulary", None)
        sequences = tell_apart("X", X, lengths, emission.symbols, None if option is None else check_vocabulary(option))
        emission, X, sizes = read(emission, sequences, lengths)
        known = None if states is None else check_states(states, sizes, self.n_components)
        data = prepare(emission, X, sizes, known)
        observed = to_cpu(X)
        if data.missing is not None:
            observed = observed[~emission.missing(observed)]
        if not len(observed):
            raise ValueError("X holds no observation that is not missing")
        self._log_overwritten()
        rng, best = self._generator(None), None
        with learning.Parts(data, self.n_jobs, emission, X, known) as parts:
            for restart in range(self.n_init):
                begun = learning.begin(self, emission.replace(restart=restart), observed, rng)
                p = Parameters.of(emission.replace(**begun))
                p.emission.check_data(observed)
                if known is not None:
                    p = learning.learn_from_known(p, data, emission.chosen("init_params"))
                found = learning.climb(self, p, parts)
                if best is None or found[1].history[-1] > best[1].history[-1]:
                    best = found
        assert best is not None
        p, monitor, without = best
        if without:
            warnings.warn("; ".join(sorted(without)), stacklevel=2)
        learned = {name: getattr(p.emission, name) for name in (*emission.letters.values(), *emission.remembers)}
        learned |= {"startprob_": p.startprob, "transmat_": p.transmat, "monitor_": monitor}
        kept = {name: value for name, value in vars(self).items() if name not in learned}
        self.__dict__ = kept | {name: value for name, value in learned.items() if value is not None}
        return self

    def sample(
        self, n_samples: int = 1, random_state: Any = None, currstate: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One sequence of observations (n_samples, D), or symbols (n_samples, 1), and its states (n_samples,).

        `currstate`, if given, is its first state. Raises TypeError or ValueError for one that there is not.
        """
        check_sizes(n_samples=n_samples)
        p = self._parameters()
        if currstate is not None:
            check_state("currstate", currstate, self.n_components)
        rng = self._generator(random_state)
        found = walk(p.startprob, p.transmat, rng.random(n_samples), currstate)
        return p.emission.sample(found, rng), found

    def get_stationary_distribution(self) -> np.ndarray:
        """The distribution (N,) that a step of the chain leaves as it is (Eq. 50). Raises ValueError if not unique."""
        require(self, "transmat_")
        return stationary_distribution(check_distribution("transmat_", self.transmat_, self.n_components))

    @property
    def num_params(self) -> int:
        """How many numbers are free: those that are learned, less one for every sum to 1.

        Zeros where learning begins with what was set by hand (its letter is not in `init_params`) stay and do not
        count; one that was learned, since no double holds what it should be, does.
        """
        p, letters, begun = self._parameters(), self._letters("params"), self._letters("init_params")
        found = p.emission.count_params()
        if "s" in letters:
            found += (self.n_components if "s" in begun else int((p.startprob > 0).sum())) - 1
        if "t" in letters:
            found += (p.transmat.size if "t" in begun else int((p.transmat > 0).sum())) - self.n_components
        return found

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Akaike's information criterion, -2 log p(x) + 2 num_params: the less the better."""
        return -2.0 * self.score(X, lengths) + 2.0 * self.num_params

    def bic(self, X: Any, lengths: Any = None) -> float:
        """The Bayesian information criterion, -2 log p(x) + log(M) num_params for M frames: the less the better."""
        p, data = self._read(X, lengths)
        return -2.0 * float(p.log_likelihood(data).sum()) + math.log(len(data.frames.rows)) * self.num_params

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.npz` without pickle; a failure leaves an older file whole.

        Of `random_state` a seed that is one number is kept, else None. Raises ValueError or TypeError for parameters
        and options that cannot be.
        """
        self._check_options()
        p, params = self._parameters(), self.get_params()
        if isinstance(params["random_state"], bool) or not isinstance(params["random_state"], (int, np.integer)):
            params["random_state"] = None
        params = {name: storable(name, value) for name, value in params.items()}
        header = {"format": FORMAT, "class": type(self).__name__, "params": params, "n_features": self.n_features_}
        if hasattr(self, "vocabulary_"):
            header["vocabulary"] = self.vocabulary_
        arrays = {name: getattr(p.emission, name) for name in p.emission.letters.values()}
        save_arrays(path, header, {"startprob_": p.startprob, "transmat_": p.transmat, **arrays})

    def __getattr__(self, name: str) -> Any:
        """`monitor_` before the first `fit`: what it would begin with, for another to be made like it."""
        if name == "monitor_":
            return ConvergenceMonitor.of(self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _letters(self, option: str) -> str:
        """The letters in `params` or `init_params`; all where it is None."""
        value = getattr(self, option)
        return "st" + "".join(self.emission.letters) if value is None else value

    def _arrays(self) -> list[str]:
        return ["startprob_", "transmat_", *self.emission.letters.values()]

    def _generator(self, given: Any) -> np.random.Generator:
        return generator(self.random_state if given is None else given, "random_state")

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, name) for name in self._arrays())

    def _parameters(self) -> Parameters:
        """Raises NotFittedError without parameters, TypeError or ValueError for ones or options that cannot be."""
        require(self, *self._arrays())
        self._check_options()
        return Parameters.of(self.emission(**vars(self)))

    def _log_prior(self) -> float:
        """The log prior density of what is learned, up to a constant: what EM's objective adds to `score`."""
        return learning.log_prior(self, self._parameters())

    def _read(self, X: Any, lengths: Any, cut: bool = True) -> tuple[Parameters, Data]:
        """The parameters, and the data in columns. Raises ValueError or TypeError."""
        p = self._parameters()
        sequences = tell_apart("X", X, lengths, p.emission.symbols, getattr(self, "vocabulary_", None))
        _, frames, sizes = read(p.emission, sequences, lengths)
        p.emission.check_data(frames)
        return p, prepare(p.emission, frames, sizes, cut=cut)

    def _log_overwritten(self) -> None:
        """Say which parameters that were set by hand learning does not begin with."""
        chosen = self._letters("init_params")
        names = {"s": "startprob_", "t": "transmat_", **self.emission.letters}
        lost = [name for letter, name in names.items() if letter in chosen and hasattr(self, name)]
        if lost and "monitor_" not in vars(self):
            learning.LOG.warning("%s will be overwritten, since init_params holds their letters", ", ".join(lost))

    def _check_options(self) -> None:
        """Raise ValueError or TypeError for constructor's arguments that cannot be."""
        check_sizes(n_components=self.n_components, n_init=self.n_init)
        check_sizes(least=0, n_iter=self.n_iter)
        check_number("tol", self.tol)
        known = "st" + "".join(self.emission.letters)
        for option in ("params", "init_params"):
            value = self._letters(option)
            if not isinstance(value, str):
                raise TypeError(f"{option} is {value!r}, expected letters of {known!r}")
            for letter in sorted(set(value) - set(known))[:1]:
                raise ValueError(f"{option} holds {letter!r}, expected letters of {known!r}")
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        check_choice("init", self.init, ("kmeans", "random"))
        check_choice("implementation", self.implementation, ("log", "scaling"))
        check_flags(progress=self.progress, verbose=self.verbose)
        if self.n_jobs is not None:
            check_sizes(n_jobs=abs(self.n_jobs) if isinstance(self.n_jobs, int) else self.n_jobs)
        N = self.n_components
        check_dirichlet("startprob_prior", self.startprob_prior, (N,))
        check_dirichlet("transmat_prior", self.transmat_prior, (N, N))
        if self.random_state is not None and not isinstance(self.random_state, np.random.RandomState):  # would go on
            self._generator(None)
        self.emission(**vars(self)).check_options()


def load_hmm(path: str | os.PathLike[str]) -> BaseHMM:
    """Read a model that `save` wrote, of one of the families here or of a class of one's own, once that is defined.

    Raises FileNotFoundError, or ValueError, naming the file, for anything else; nothing in it is executed.
    """
    header, arrays = load_arrays(path, FORMAT)
    with reading(path):
        families = {each.__name__: each for each in _families(BaseHMM)}
        check_choice("class", header["class"], tuple(families))
        model = families[header["class"]](**header["params"])
        model._check_options()
        if arrays.keys() != set(model._arrays()):
            raise ValueError(f"it holds {', '.join(arrays)}, expected {', '.join(model._arrays())}")
        for name, array in arrays.items():
            if array.dtype.kind == "c":
                raise ValueError(f"{name} is of {array.dtype}, expected real numbers")
            setattr(model, name, array)
        size = model.n_features_  # which checks the parameters
        if size != header["n_features"]:
            raise ValueError(f"n_features is {header['n_features']!r}, but the arrays are of {size}")
        if "vocabulary" in header:
            vars(model)["vocabulary_"] = check_vocabulary(header["vocabulary"], size)
        model._parameters()
    return model


def _families(base: type[BaseHMM]) -> list[type[BaseHMM]]:
    return [each for kind in base.__subclasses__() for each in (kind, *_families(kind))]
