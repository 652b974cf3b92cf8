"""The embedding: row ids[t, b] of a table for each token (4.3 of the report)."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module, scatter_add, to_cpu

Cache = tuple[Array, tuple[int, ...]]


def forward(ids: Array, E: Array) -> tuple[Array, Cache]:
    """ids (...) integers in [0, V), table E (V, D) -> x (..., D) and the cache for `backward`."""
    return E[ids], (ids, E.shape)


def backward(cache: Cache, dx: Array) -> Array:
    """dx (..., D) -> dE (V, D): each row is the sum over all places where its token stands, repeats included."""
    ids, shape = cache
    dE = get_array_module(dx).zeros(shape, dx.dtype)
    scatter_add(dE, ids.reshape(-1), dx.reshape(-1, shape[1]))
    return dE


def check_ids(ids: Any, size: int) -> None:
    """Raise TypeError or ValueError unless ids are integers in [0, size).

    Reads device arrays back: call it at the border.
    """
    if not hasattr(ids, "dtype") or ids.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {getattr(ids, 'dtype', type(ids).__name__)}, expected an array of integers")
    if ids.size == 0:
        raise ValueError(f"ids has shape {ids.shape}, expected at least one token")
    host = to_cpu(ids)
    outside = (host < 0) | (host >= size)
    if outside.any():
        position = tuple(int(axis[0]) for axis in outside.nonzero())
        raise ValueError(f"ids[{', '.join(map(str, position))}] is {host[position]}, expected 0 to {size - 1}")
