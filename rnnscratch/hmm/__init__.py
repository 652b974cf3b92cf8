"""Markov chains and hidden Markov models (report 2.2.7)."""

from .base import BaseHMM, ConvergenceMonitor
from .chain import MarkovChain
from .classifier import HMMClassifier
from .models import GMMHMM, CategoricalHMM, GaussianHMM, PoissonHMM, load_hmm

__all__ = [
    "BaseHMM",
    "CategoricalHMM",
    "ConvergenceMonitor",
    "GMMHMM",
    "GaussianHMM",
    "HMMClassifier",
    "MarkovChain",
    "PoissonHMM",
    "load_hmm",
]
