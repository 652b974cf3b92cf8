"""What the vectors of words tell: which are near, and along which directions they differ most."""

from __future__ import annotations

import numpy as np


def principal_components(vectors: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (N, D) along their `count` directions of largest variance (N, count), and the shares of variance."""
    centred = np.asarray(vectors, dtype=float)
    centred = centred - centred.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :count] * s[:count], s[:count] ** 2 / (s**2).sum()


def nearest(vectors: np.ndarray, index: int, count: int = 5) -> np.ndarray:
    """The `count` rows of vectors (N, D) with the largest cosine to row `index`, nearest first, itself left out."""
    vectors = np.asarray(vectors, dtype=float)
    sizes = np.linalg.norm(vectors, axis=1)
    cosine = vectors @ vectors[index] / np.maximum(sizes * sizes[index], np.finfo(float).tiny)
    cosine[index] = -np.inf
    return np.argsort(-cosine, kind="stable")[: min(count, len(vectors) - 1)]
