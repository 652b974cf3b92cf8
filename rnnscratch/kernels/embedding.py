"""The embedding: row ids[t, b] of a table for each token (4.3 of the report)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module, scatter_add
from ..checks import as_array, as_weights, check_ids, check_shape

Cache = tuple[Array, Array]  # the ids, and the table for its shape and dtype


def forward(ids: Any, E: Any) -> tuple[Array, Cache]:
    """ids (...) integers in [0, V), table E (V, D) -> x (..., D) and the cache for `backward`.

    Raises TypeError or ValueError for other ids; their range is checked on the host only.
    """
    E = as_weights("E", E)
    if E.ndim != 2:
        raise ValueError(f"E has shape {E.shape}, expected (V, D)")
    ids = as_array("ids", ids, "iu")
    if get_array_module(ids, E) is np:
        check_ids(ids, len(E))
    return E[ids], (ids, E)


def backward(cache: Cache, dx: Any) -> Array:
    """dx (..., D) -> dE (V, D): each row is the sum over all places where its token stands, repeats included."""
    ids, E = cache
    dx = check_shape("dx", dx, (*ids.shape, E.shape[1]), E.dtype, "as the output")
    dE = get_array_module(E).zeros_like(E)
    scatter_add(dE, ids.reshape(-1), dx.reshape(-1, E.shape[1]))
    return dE
