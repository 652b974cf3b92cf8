"""The dense layer y = x W + b (Eqs 2, 41, 63, 72, 79)."""

from __future__ import annotations

from ..backend import Array

Cache = tuple[Array, Array]


def forward(x: Array, W: Array, b: Array) -> tuple[Array, Cache]:
    """x (..., D), W (D, K), b (K,) -> y (..., K) and the cache for `backward`."""
    y = x @ W
    y += b
    return y, (x, W)


def backward(cache: Cache, dy: Array) -> tuple[Array, Array, Array]:
    """dy (..., K) -> dx (..., D), dW (D, K), db (K,).

    W acts at each time once: no product over time (Eqs 10-12, 16-18).
    """
    x, W = cache
    rows = dy.reshape(-1, dy.shape[-1])
    dW = x.reshape(-1, x.shape[-1]).T @ rows
    return dy @ W.T, dW, rows.sum(axis=0)
