"""Hidden Markov models by enumeration: every path, its probability, and what follows from them by counting."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np


class Enumerated(NamedTuple):
    likelihood: float
    filtered: np.ndarray  # (N, T)
    posterior: np.ndarray  # (N, T)
    pairs: np.ndarray  # (N, N), summed over time
    paths: list  # (probability, path), the most probable first


def enumerate_paths(b: np.ndarray, start: np.ndarray, transmat: np.ndarray) -> Enumerated:
    """b (N, T) are the emissions p(x_t | z_t)."""
    N, T = b.shape
    filtered = np.zeros((N, T))
    for t in range(T):
        for path in itertools.product(range(N), repeat=t + 1):
            filtered[path[t], t] += joint(path, b, start, transmat)
    posterior, pairs, paths = np.zeros((N, T)), np.zeros((N, N)), []
    for path in itertools.product(range(N), repeat=T):
        p = joint(path, b, start, transmat)
        paths.append((p, path))
        posterior[path, np.arange(T)] += p
        for before, after in itertools.pairwise(path):
            pairs[before, after] += p
    total = sum(p for p, _ in paths)
    paths.sort(key=lambda each: -each[0])
    return Enumerated(total, filtered / filtered.sum(axis=0), posterior / total, pairs / total, paths)


def joint(path, b, start, transmat):
    """p(z, x) of Eq. 57, for the first len(path) frames."""
    p = start[path[0]] * b[path[0], 0]
    for t in range(1, len(path)):
        p *= transmat[path[t - 1], path[t]] * b[path[t], t]
    return p
