"""Inverted dropout: units are dropped and the others scaled up in training, so that prediction needs no change.

A mask of shape (1, B, D) drops the same units at all steps of a sequence (variational dropout, Gal & Ghahramani 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array


def draw_mask(shape: tuple[int, ...], rate: float, rng: np.random.Generator, dtype: Any, xp: Any = np) -> Array:
    """A mask that holds 0 with probability `rate`, else 1 / (1 - rate). Drawn on the host, so equal on both devices."""
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"rate is {rate!r}, expected a probability in [0, 1)")
    kept = rng.random(shape, dtype=np.float32) >= rate
    return xp.asarray(kept.astype(dtype) * float(1.0 / (1.0 - rate)))


def forward(x: Array, mask: Array) -> Array:
    """x times the mask, which broadcasts to its shape."""
    return x * mask


def backward(dy: Array, mask: Array) -> Array:
    """The gradient of x: dy through the same units."""
    return dy * mask
