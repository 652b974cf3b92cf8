"""The dense layer y = x W + b (Eqs 2, 41, 63, 72, 79)."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from ..checks import as_operand, as_weights, check_shape

Cache = tuple[Array, Array]


def forward(x: Any, W: Any, b: Any) -> tuple[Array, Cache]:
    """x (..., D), W (D, K), b (K,) -> y (..., K) and the cache for `backward`.

    All of one dtype; raises TypeError or ValueError for arrays that do not fit together.
    """
    W = as_weights("W", W)
    if W.ndim != 2:
        raise ValueError(f"W has shape {W.shape}, expected (D, K)")
    x, b = as_operand("x", x, W.dtype), check_shape("b", b, W.shape[1:], W.dtype, "(K,)")
    check_shape("x", x, (*x.shape[:-1], len(W)), W.dtype, "(..., D) with W (D, K)")
    get_array_module(x, W, b)
    y = x @ W
    y += b
    return y, (x, W)


def backward(cache: Cache, dy: Any) -> tuple[Array, Array, Array]:
    """dy (..., K) -> dx (..., D), dW (D, K), db (K,).

    W acts at each time once: no product over time (Eqs 10-12, 16-18).
    """
    x, W = cache
    dy = check_shape("dy", dy, (*x.shape[:-1], W.shape[1]), W.dtype, "as the output")
    rows = dy.reshape(-1, dy.shape[-1])
    dW = x.reshape(-1, x.shape[-1]).T @ rows
    return dy @ W.T, dW, rows.sum(axis=0)
