"""Markov chains and hidden Markov models (report 2.2.7)."""

from .base import BaseHMM, load_hmm
from .chain import MarkovChain
from .classifier import HMMClassifier
from .discrete import CategoricalHMM, PoissonHMM
from .emission import Emission
from .gaussian import GaussianHMM
from .learning import ConvergenceMonitor
from .mixture import GMMHMM

__all__ = [
    "BaseHMM",
    "CategoricalHMM",
    "ConvergenceMonitor",
    "Emission",
    "GMMHMM",
    "GaussianHMM",
    "HMMClassifier",
    "MarkovChain",
    "PoissonHMM",
    "load_hmm",
]
