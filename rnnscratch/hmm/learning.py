"""Baum-Welch (EM) on parameters that stand apart from the model: each step makes new ones and changes none."""

from __future__ import annotations

import copy
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import library
from ..progress import progress_bar
from . import inference
from .chain import check_chain, require
from .emission import Emission, check_dirichlet, dirichlet_log_density, shares
from .frames import Data, prepare

if TYPE_CHECKING:
    from .base import BaseHMM


@dataclass(repr=False, eq=False)
class ConvergenceMonitor:
    """The objective after each step of EM, the value before the first and after the last included.

    The objective is the log-likelihood plus, where there are priors, their log density up to a constant. EM has
    converged when it grows by less than `tol`. For another rule set an object of a subclass as the model's `monitor_`
    before `fit`: each start has a copy of it.
    """

    tol: float
    n_iter: int
    verbose: bool = False
    history: list[float] = field(default_factory=list)

    def report(self, objective: float) -> None:
        """Take down the objective; if `verbose`, a line on standard error has it, with the step and the gain."""
        gain = objective - self.history[-1] if self.history else math.nan
        self.history.append(objective)
        if self.verbose:
            print(f"{self.iter:>10d} {objective:>16.8f} {gain:>+16.8f}", file=sys.stderr)

    @property
    def iter(self) -> int:
        """How many steps were taken."""
        return max(len(self.history) - 1, 0)

    @property
    def converged(self) -> bool:
        """Whether the last step gained less than `tol`."""
        return len(self.history) > 1 and self.history[-1] - self.history[-2] < self.tol

    def __repr__(self) -> str:
        last = f"{self.history[-1]:.6g}" if self.history else "none"
        return f"{type(self).__name__}(iter={self.iter}, converged={self.converged}, objective={last})"

    @classmethod
    def of(cls, model: BaseHMM) -> ConvergenceMonitor:
        """A new one with the model's options, or like the one of another kind that was set as `monitor_`."""
        given = vars(model).get("monitor_")
        if given is None or type(given) is ConvergenceMonitor:
            return cls(model.tol, model.n_iter, bool(model.verbose))
        found = copy.copy(given)
        found.history = []
        return found


LOG = logging.getLogger(__name__)


class Counts(NamedTuple):
    """What EM learns of sequences: sums over them."""

    log_likelihood: float
    start: np.ndarray  # (N,) of the posteriors of the first frames
    pairs: np.ndarray  # (N, N) of those of neighbouring frames
    mass: np.ndarray  # (N,) of those of all observed frames
    emissions: Any  # the statistics of the emission, None if nothing of it is learned
    impossible: list[tuple[int, int]]  # sequence and frame of each observation that no reachable state can emit


class Parameters(NamedTuple):
    """A hidden Markov model as a value."""

    startprob: np.ndarray  # (N,)
    transmat: np.ndarray  # (N, N)
    emission: Emission

    @classmethod
    def of(cls, emission: Emission) -> Parameters:
        """Those that the emission holds, as arrays.

        Raises NotFittedError without parameters, ValueError for ones that cannot be.
        """
        startprob, transmat = check_chain(emission, emission.n_components)
        require(emission, *emission.letters.values())
        return cls(startprob, transmat, emission.replace(**emission.check()))

    def chain(self, X: Array) -> tuple[Array, Array]:
        """startprob and transmat beside the data."""
        xp = get_array_module(X)
        return xp.asarray(self.startprob), xp.asarray(self.transmat)

    def log_emissions(self, data: Data) -> Array:
        """log p(x | state) (N, M) by column: 0 where x is missing, -inf in states known not to be.

        Raises ValueError where a density is no number.
        """
        log_b = self.emission.log_density(data.X)
        xp = get_array_module(log_b)
        if not float(to_cpu(log_b.max())) < np.inf:
            row = int(data.frames.rows[int(to_cpu((~(log_b < np.inf)).any(axis=0)).argmax())])
            raise ValueError(f"the density of row {row} of X is no number: X or the parameters are out of range")
        if data.missing is not None:
            log_b = xp.where(data.missing, 0.0, log_b)
        if data.states is not None:
            others = (data.states >= 0) & (xp.arange(len(log_b))[:, None] != data.states)
            log_b = xp.where(others, -np.inf, log_b)
        return log_b

    def expectation(self, data: Data) -> inference.Expectation:
        """Forward, backward and posteriors: the E-step."""
        return inference.expectation(self.log_emissions(data), *self.chain(data.X), data.frames)

    def counts(self, data: Data) -> Counts:
        """The E-step, and the sums of it that the M-step needs; of emissions none where frames are impossible."""
        found = self.expectation(data)
        posterior = found.posterior
        if data.missing is not None:
            posterior = get_array_module(posterior).where(data.missing, 0.0, posterior)
        emissions = None
        if self.emission.chosen("params") and not found.impossible:
            emissions = self.emission.statistics(data.X, posterior)
        mass, total = to_cpu(posterior.sum(axis=1)), float(found.log_likelihood.sum())
        return Counts(total, to_cpu(found.start), to_cpu(found.pairs), mass, emissions, found.impossible)

    def log_likelihood(self, data: Data) -> np.ndarray:
        """log p(x) of each sequence (S,)."""
        return inference.log_likelihood(self.log_emissions(data), *self.chain(data.X), data.frames)


def begin(model: BaseHMM, emission: Emission, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """What `init_params` asks for or is not there, and what learning must know of the observed frames X (M, D)."""
    N = model.n_components
    found: dict[str, Any] = {}
    if "s" in model._letters("init_params") or not hasattr(model, "startprob_"):
        found["startprob_"] = rng.dirichlet(np.ones(N)) if model.init == "random" else np.full(N, 1.0 / N)
    if "t" in model._letters("init_params") or not hasattr(model, "transmat_"):
        rows = rng.dirichlet(np.ones(N), N)
        found["transmat_"] = (rows + np.eye(N)) / 2 if model.init == "kmeans" else rows  # states tend to last
    kept = set(emission.letters.values()) - set(emission.chosen("init_params"))
    return found | {name: value for name, value in emission.initialize(X, rng).items() if name not in kept}


def learn_from_known(p: Parameters, data: Data, names: list[str]) -> Parameters:
    """Begin with the emissions of the frames whose states are known, leaning half to all others.

    Of those that are learned, the parameters of these names are set.
    """
    xp = get_array_module(data.X)
    assert data.states is not None
    observed = xp.ones(len(data.X)) if data.missing is None else xp.where(data.missing, 0.0, 1.0)
    known = (xp.arange(len(p.startprob))[:, None] == data.states) * observed
    others = (data.states < 0) * observed
    weights = known + known.sum(axis=1)[:, None] * others / xp.maximum(others.sum(), 1.0)
    both = set(names) & set(p.emission.chosen("params"))
    letters = "".join(letter for letter, name in p.emission.letters.items() if name in both)
    learned = p.emission.replace(params=letters).learn(data.X, weights)
    return p._replace(emission=learned.replace(params=p.emission.params))


def climb(model: BaseHMM, p: Parameters, sequences: Parts) -> tuple[Parameters, ConvergenceMonitor, set[str]]:
    """Where EM leads from the parameters p, with the model's options; and in words, which states kept what they had.

    Raises ValueError for an observation that no state can emit.
    """
    monitor = ConvergenceMonitor.of(model)
    kept: set[str] = set()
    with progress_bar(show=bool(model.progress), total=model.n_iter, desc="EM", unit="step") as bar:
        for _ in range(model.n_iter):
            found = sequences.counts(p)
            refuse(found.impossible)
            monitor.report(found.log_likelihood + log_prior(model, p))
            bar.set_postfix(objective=f"{monitor.history[-1]:.6g}")
            if monitor.converged:
                return p, monitor, kept
            p, without = maximize(model, p, found)
            kept |= without
            bar.update()
    monitor.report(sequences.log_likelihood(p) + log_prior(model, p))
    return p, monitor, kept


class Parts:
    """The sequences, in as many parts as joblib has processes for; with `n_jobs` None or 1 in one, for this process."""

    def __init__(self, data: Data, n_jobs: int | None, emission: Emission, X: Array, states: np.ndarray | None):
        self._pool: Any = None
        self._n_jobs, self.first, self.parts = n_jobs, [0], [data]
        if n_jobs in (None, 1):
            return
        if get_array_module(X) is not np:
            raise ValueError(f"n_jobs is {n_jobs}, expected None for observations on a device")
        self._joblib, lengths = library("joblib", "search"), data.frames.lengths
        count, ends = self._joblib.effective_n_jobs(n_jobs), np.cumsum(lengths)
        cuts = np.searchsorted(ends, len(X) * np.arange(1, count) / count) + 1  # about as many frames in each
        self.first, self.parts = np.unique([0, *cuts[cuts < len(lengths)]]).tolist(), []
        for first, last in zip(self.first, [*self.first[1:], len(lengths)]):
            rows = slice(int(ends[first] - lengths[first]), int(ends[last - 1]))
            known = None if states is None else states[rows]
            self.parts.append(prepare(emission, X[rows], lengths[first:last], known))

    def __enter__(self) -> Parts:
        if len(self.parts) > 1:
            self._pool = self._joblib.Parallel(n_jobs=self._n_jobs).__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.__exit__(*error)

    def _each(self, function: Callable[[Data], Any]) -> list[Any]:
        if self._pool is None:
            return [function(part) for part in self.parts]
        return self._pool(self._joblib.delayed(function)(part) for part in self.parts)

    def counts(self, p: Parameters) -> Counts:
        """Those of all sequences."""
        found: list[Counts] = self._each(p.counts)
        if len(found) == 1:
            return found[0]
        impossible = [(first + s, t) for first, part in zip(self.first, found) for s, t in part.impossible]
        emissions = None if found[0].emissions is None or impossible else p.emission.add([c.emissions for c in found])
        log_likelihood, start, pairs, mass = (sum(each) for each in list(zip(*found))[:4])
        return Counts(log_likelihood, start, pairs, mass, emissions, impossible)

    def log_likelihood(self, p: Parameters) -> float:
        """That of all sequences together."""
        return sum(float(found.sum()) for found in self._each(p.log_likelihood))


def maximize(model: BaseHMM, p: Parameters, found: Counts) -> tuple[Parameters, set[str]]:
    """The M-step: the parameters that maximise the expected log-likelihood plus the log prior. What is 0 stays 0.

    A state without any weight keeps what it has, and is named.
    """
    startprob, transmat, kept = p.startprob, p.transmat, set()
    if "s" in model._letters("params"):
        prior = check_dirichlet("startprob_prior", model.startprob_prior, startprob.shape)
        startprob, _ = shares(found.start, prior, startprob, startprob > 0)
    if "t" in model._letters("params"):
        prior = check_dirichlet("transmat_prior", model.transmat_prior, transmat.shape)
        transmat, never_left = shares(found.pairs, prior, transmat, transmat > 0)
        for k in np.flatnonzero(never_left):
            kept.add(f"state {k} is never left and keeps its row of transmat_")
    for k in np.flatnonzero(found.mass < 1e-200):
        kept.add(f"state {k} explains no observation and keeps its emissions")
    return Parameters(startprob, transmat, p.emission.learned(found.emissions)), kept


def log_prior(model: BaseHMM, p: Parameters) -> float:
    """The log prior density of all parameters that are learned, up to a constant."""
    found, letters = p.emission.log_prior(), model._letters("params")
    if "s" in letters:
        prior = check_dirichlet("startprob_prior", model.startprob_prior, p.startprob.shape)
        found += dirichlet_log_density(p.startprob, prior)
    if "t" in letters:
        prior = check_dirichlet("transmat_prior", model.transmat_prior, p.transmat.shape)
        found += dirichlet_log_density(p.transmat, prior)
    return found


def refuse(impossible: list[tuple[int, int]]) -> None:
    """Raise ValueError for the first of these frames, if any."""
    for s, t in impossible[:1]:
        raise ValueError(f"frame {t} of sequence {s} has an observation that no state reachable there can emit")
