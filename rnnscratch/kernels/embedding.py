"""The embedding: row ids[t, b] of a table for each token (4.3 of the report)."""

from __future__ import annotations

from ..backend import Array, get_array_module, scatter_add

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
