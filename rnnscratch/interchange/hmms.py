"""Parameters of hidden Markov models that hmmlearn or depmixS4 (R) learned, as models of this library."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import as_array
from ..hmm import GMMHMM, CategoricalHMM, GaussianHMM, PoissonHMM
from ..hmm.base import BaseHMM

STRUCTURE = ("covariance_type", "n_mix", "algorithm")  # arguments that both have, with one meaning
CLASSES: dict[str, tuple[type[BaseHMM], tuple[str, ...]]] = {
    "GaussianHMM": (GaussianHMM, ("means_", "covars_")),
    "GMMHMM": (GMMHMM, ("weights_", "means_", "covars_")),
    "CategoricalHMM": (CategoricalHMM, ("emissionprob_",)),
    "PoissonHMM": (PoissonHMM, ("lambdas_",)),
}


def public(covars: np.ndarray, kind: str, states: int) -> np.ndarray:
    """Our covariances of Gaussians from those that hmmlearn shows: a matrix for each state, or, of a spherical one, as
    many as there are features.
    """
    if kind == "diag":
        return np.diagonal(covars, axis1=1, axis2=2).copy()
    if kind == "spherical":
        return covars[:: len(covars) // states, 0, 0].copy()
    return covars[0].copy() if kind == "tied" else covars


def from_hmmlearn(model: Any) -> BaseHMM:
    """The same model as a class of this library: structure and fitted parameters; priors and settings of fit are ours.

    Raises TypeError for a class that has no equal here, ValueError for a model that has not been fitted.
    """
    name = type(model).__name__
    if name not in CLASSES:
        raise TypeError(f"model is {name}, expected hmmlearn's {', '.join(CLASSES)}")
    kind, letters = CLASSES[name]
    fitted = ("startprob_", "transmat_", *letters)
    missing = [letter for letter in fitted if not hasattr(model, letter)]
    if missing:
        raise ValueError(f"model has no {', '.join(missing)}: it has not been fitted")
    values = {letter: np.array(getattr(model, letter), float) for letter in fitted}
    if name == "GaussianHMM":
        values["covars_"] = public(values["covars_"], model.covariance_type, model.n_components)
    options = {option: getattr(model, option) for option in STRUCTURE if hasattr(model, option)}
    return _with(kind(model.n_components, **options), values)


def from_depmix(
    initial: Any, transition: Any, mean: Any = None, sd: Any = None, probabilities: Any = None, rate: Any = None
) -> BaseHMM:
    """A model with depmixS4's parameters: initial (N,), transition (N, N), a row for each state, and its responses.

    gaussian responses: `mean` and `sd`, (N,) or (N, D) for D responses; multinomial: `probabilities` (N, K) of the K
    categories; poisson: `rate`, (N,) or (N, D). Raises ValueError for other shapes, or for none or several kinds.
    """
    pi, A = as_array("initial", initial, "f"), as_array("transition", transition, "f")
    if pi.ndim != 1 or A.shape != (len(pi), len(pi)):
        raise ValueError(f"initial has shape {pi.shape} and transition {A.shape}, expected (N,) and (N, N)")
    given = {"mean": mean, "sd": sd, "probabilities": probabilities, "rate": rate}
    names = tuple(name for name, value in given.items() if value is not None)
    if names not in (("mean", "sd"), ("probabilities",), ("rate",)):
        raise ValueError(
            f"the responses are {', '.join(names) or 'missing'}, expected mean and sd, or probabilities, or rate"
        )
    rows = {name: as_array(name, given[name], "f") for name in names}
    for name, array in rows.items():
        rows[name] = array[:, None] if array.ndim == 1 else array
        if rows[name].ndim != 2 or len(rows[name]) != len(pi) or rows[name].shape != rows[names[0]].shape:
            raise ValueError(f"{name} has shape {array.shape}, expected a row for each of {len(pi)} states")
    chain = {"startprob_": pi, "transmat_": A}
    if "mean" in rows:
        return _with(GaussianHMM(len(pi)), {**chain, "means_": rows["mean"], "covars_": rows["sd"] ** 2})
    if "rate" in rows:
        return _with(PoissonHMM(len(pi)), {**chain, "lambdas_": rows["rate"]})
    return _with(CategoricalHMM(len(pi)), {**chain, "emissionprob_": rows["probabilities"]})


def _with(model: BaseHMM, values: dict[str, np.ndarray]) -> BaseHMM:
    """The model with these parameters, checked as where it is asked."""
    for name, value in values.items():
        setattr(model, name, value)
    model._parameters()
    return model
