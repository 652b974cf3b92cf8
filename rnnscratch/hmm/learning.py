"""Baum-Welch (EM) on parameters that stand apart from the model: each step makes new ones and changes none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..progress import progress_bar
from . import inference
from .chain import check_chain, require
from .emission import Emission, dirichlet_log_density, shares
from .frames import Data

if TYPE_CHECKING:
    from .base import BaseHMM


@dataclass(repr=False, eq=False)
class ConvergenceMonitor:
    """The objective after each step of EM, the value before the first and after the last included.

    The objective is the log-likelihood plus, where there are priors, their log density up to a constant. EM has
    converged when it grows by less than `tol` times its size.
    """

    tol: float
    n_iter: int
    history: list[float] = field(default_factory=list)

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
        """log p(x | state) (N, M) by column: 0 where x is missing, -inf in states known not to be."""
        log_b = self.emission.log_density(data.X)
        xp = get_array_module(log_b)
        if data.missing is not None:
            log_b = xp.where(data.missing, 0.0, log_b)
        if data.states is not None:
            others = (data.states >= 0) & (xp.arange(len(log_b))[:, None] != data.states)
            log_b = xp.where(others, -np.inf, log_b)
        return log_b

    def expectation(self, data: Data) -> inference.Expectation:
        """Forward, backward and posteriors: the E-step."""
        return inference.expectation(self.log_emissions(data), *self.chain(data.X), data.frames)

    def log_likelihood(self, data: Data) -> np.ndarray:
        """log p(x) of each sequence (S,)."""
        return inference.log_likelihood(self.log_emissions(data), *self.chain(data.X), data.frames)


def begin(model: BaseHMM, emission: Emission, X: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """What the letters in `init_params` ask for, and what learning must know of the observed frames X (M, D)."""
    N = model.n_components
    found: dict[str, Any] = {}
    if "s" in model._letters("init_params"):
        found["startprob_"] = rng.dirichlet(np.ones(N)) if model.init == "random" else np.full(N, 1.0 / N)
    if "t" in model._letters("init_params"):
        rows = rng.dirichlet(np.ones(N), N)
        found["transmat_"] = (rows + np.eye(N)) / 2 if model.init == "kmeans" else rows  # states tend to last
    kept = set(emission.letters.values()) - set(emission.chosen("init_params"))
    return found | {name: value for name, value in emission.initialize(X, rng).items() if name not in kept}


def learn_from_known(p: Parameters, data: Data) -> Parameters:
    """Begin with the emissions of the frames whose states are known, leaning half to all others."""
    xp = get_array_module(data.X)
    assert data.states is not None
    observed = xp.ones(len(data.X)) if data.missing is None else xp.where(data.missing, 0.0, 1.0)
    known = (xp.arange(len(p.startprob))[:, None] == data.states) * observed
    others = (data.states < 0) * observed
    weights = known + known.sum(axis=1)[:, None] * others / xp.maximum(others.sum(), 1.0)
    return p._replace(emission=p.emission.learn(data.X, weights))


def climb(model: BaseHMM, p: Parameters, data: Data) -> tuple[Parameters, ConvergenceMonitor, set[str]]:
    """Where EM leads from the parameters p, with the model's options; and in words, which states kept what they had.

    Raises ValueError for an observation that no state can emit.
    """
    monitor = ConvergenceMonitor(model.tol, model.n_iter)
    kept: set[str] = set()
    with progress_bar(show=bool(model.verbose), total=model.n_iter, desc="EM", unit="step") as bar:
        for _ in range(model.n_iter):
            found = p.expectation(data)
            refuse(found.impossible)
            monitor.history.append(float(found.log_likelihood.sum()) + log_prior(model, p))
            bar.set_postfix(objective=f"{monitor.history[-1]:.6g}")
            if monitor.converged:
                return p, monitor, kept
            p, without = maximize(model, p, data, found)
            kept |= without
            bar.update()
    monitor.history.append(float(p.log_likelihood(data).sum()) + log_prior(model, p))
    return p, monitor, kept


def maximize(model: BaseHMM, p: Parameters, data: Data, found: inference.Expectation) -> tuple[Parameters, set[str]]:
    """The M-step: the parameters that maximise the expected log-likelihood plus the log prior. What is 0 stays 0.

    A state without any weight keeps what it has, and is named.
    """
    startprob, transmat, kept = p.startprob, p.transmat, set()
    if "s" in model._letters("params"):
        startprob, _ = shares(to_cpu(found.start), model.startprob_prior, startprob, startprob > 0)
    if "t" in model._letters("params"):
        transmat, never_left = shares(to_cpu(found.pairs), model.transmat_prior, transmat, transmat > 0)
        for k in np.flatnonzero(never_left):
            kept.add(f"state {k} is never left and keeps its row of transmat_")
    posterior = found.posterior
    if data.missing is not None:
        posterior = get_array_module(posterior).where(data.missing, 0.0, posterior)
    for k in np.flatnonzero(to_cpu(posterior.sum(axis=1)) < 1e-200):
        kept.add(f"state {k} explains no observation and keeps its emissions")
    return Parameters(startprob, transmat, p.emission.learn(data.X, posterior)), kept


def log_prior(model: BaseHMM, p: Parameters) -> float:
    """The log prior density of all parameters that are learned, up to a constant."""
    found, letters = p.emission.log_prior(), model._letters("params")
    if "s" in letters:
        found += dirichlet_log_density(p.startprob, model.startprob_prior)
    if "t" in letters:
        found += dirichlet_log_density(p.transmat, model.transmat_prior)
    return found


def refuse(impossible: list[tuple[int, int]]) -> None:
    """Raise ValueError for the first of these frames, if any."""
    for s, t in impossible[:1]:
        raise ValueError(f"frame {t} of sequence {s} has an observation that no state reachable there can emit")
