"""What the vectors of words tell: which are near, and along which directions they differ most."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import as_array, check_sizes, refuse_first


def principal_components(vectors: Any, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (N, D) along their `count` directions of largest variance (N, count), and the shares of variance.

    Raises TypeError or ValueError for what are no vectors of finite numbers, or no count.
    """
    check_sizes(count=count)
    centred = _rows(vectors)
    centred = centred - centred.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :count] * s[:count], s[:count] ** 2 / max((s**2).sum(), np.finfo(float).tiny)


def nearest(vectors: Any, index: int, count: int = 5) -> np.ndarray:
    """The `count` rows of vectors (N, D) with the largest cosine to row `index`, nearest first, itself left out.

    Raises TypeError or ValueError for what are no vectors of finite numbers, no row of them, or no count.
    """
    check_sizes(count=count)
    rows = _rows(vectors)
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        raise TypeError(f"index is {index!r:.60}, expected a whole number")
    if not 0 <= index < len(rows):
        raise ValueError(f"index is {index}, expected 0 to {len(rows) - 1}")
    sizes = np.linalg.norm(rows, axis=1)
    cosine = rows @ rows[index] / np.maximum(sizes * sizes[index], np.finfo(float).tiny)
    cosine[index] = -np.inf
    return np.argsort(-cosine, kind="stable")[: min(count, len(rows) - 1)]


def _rows(vectors: Any) -> np.ndarray:
    found = as_array("vectors", vectors).astype(float)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"vectors has shape {found.shape}, expected (N, D), a vector in each row")
    refuse_first("vectors", found, np.isfinite(found), "a finite number")
    return found
