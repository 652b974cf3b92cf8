"""Inverted dropout: units are dropped and the others scaled up in training, so that prediction needs no change.

A mask of shape (1, B, D) drops the same units at all steps of a sequence (variational dropout, Gal & Ghahramani 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from ..checks import as_operand, check_rates


def draw_mask(shape: tuple[int, ...], rate: float, rng: np.random.Generator, dtype: Any, xp: Any = np) -> Array:
    """A mask that holds 0 with probability `rate`, else 1 / (1 - rate). Drawn on the host, so equal on both devices.

    Raises TypeError or ValueError for a rate outside [0, 1).
    """
    check_rates(rate=rate)
    kept = rng.random(shape, dtype=np.float32) >= rate
    return xp.asarray(kept.astype(dtype) * float(1.0 / (1.0 - rate)))


def forward(x: Any, mask: Any) -> Array:
    """x times the mask, which broadcasts to its shape. Raises TypeError or ValueError for a mask that does not."""
    return _times("x", x, mask)


def backward(dy: Any, mask: Any) -> Array:
    """The gradient of x: dy through the same units."""
    return _times("dy", dy, mask)


def _times(name: str, values: Any, mask: Any) -> Array:
    dtype = getattr(mask, "dtype", None)
    values = as_operand(name, values, None if dtype == np.dtype(object) else dtype)
    mask = as_operand("mask", mask, values.dtype)
    if mask.dtype != values.dtype:
        raise TypeError(f"mask has dtype {mask.dtype}, expected {values.dtype} as {name}")
    sides = zip(mask.shape[::-1], values.shape[::-1])
    if mask.ndim > values.ndim or any(own not in (1, size) for own, size in sides):
        raise ValueError(f"mask has shape {mask.shape}, which does not broadcast to {name}'s {values.shape}")
    return values * mask
