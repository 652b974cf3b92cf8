"""The noise on word vectors that raises a loss the most, to train against (Miyato et al. 2017, arXiv 1605.07725).

Of all noise r with |r| = eps over the steps of a sequence, r = eps g / |g| raises the loss most, to first order, g
being the loss's gradient with respect to the vectors. The paper gives every dimension mean 0 and variance 1 over the
words of the texts, so that vectors cannot outgrow the noise. Here the noise is measured in those units instead: the
vector x becomes x + s r, with the standard deviation s (D,) of each dimension over the words of the batch, and r
follows s g, the gradient in those units. It is the same network, but that its first weights read x and not (x - mean)
/ s; s depends on the vectors, so the loss has a gradient through it too.

N words of B sequences, packed; D numbers each; `sequence` (N,) says which sequence a word is of.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, get_array_module, scatter_add

Cache = tuple[Array, Array, Array]  # the distances from the mean, their weights, and s


def spread(x: Array, weights: Array) -> tuple[Array, Cache]:
    """x (N, D), weights (N,) that sum to 1 -> s (D,), the standard deviation of each column, and the cache."""
    away = x - weights @ x
    s = get_array_module(x).sqrt(weights @ (away * away))
    return s, (away, weights, s)


def spread_backward(cache: Cache, ds: Array) -> Array:
    """ds (D,) -> dx (N, D); 0 in columns that are constant, whose standard deviation has no derivative.

    s^2 = sum_n w_n (x_n - mean)^2, so ds/dx_n = w_n (x_n - mean) / s: through the mean goes nothing, since the
    weighted distances from it sum to 0.
    """
    away, weights, s = cache
    xp = get_array_module(away)
    constant = s == 0
    return away * weights[:, None] * xp.where(constant, 0, ds / xp.where(constant, 1, s))


def steepest(g: Array, sequence: Array, B: int, size: float) -> Array:
    """g (N, D) -> size g / |g| with the norm over all words of a sequence; 0 for a sequence whose gradient is 0.

    The real parts are taken, so that a complex step leaves the noise as it is. Each sequence is scaled to a largest
    entry of 1 first: the squares of its gradients may all be too small for a float.
    """
    xp, real = get_array_module(g), g.real
    largest = xp.zeros(B, real.dtype)
    xp.maximum.at(largest, sequence, abs(real).max(axis=1))
    scaled = real / xp.where(largest == 0, 1, largest)[sequence][:, None]
    with np.errstate(under="ignore"):
        squares = xp.zeros((B, 1), real.dtype)
        scatter_add(squares, sequence, (scaled * scaled).sum(axis=1, keepdims=True))
        factor = size / xp.sqrt(xp.where(squares == 0, 1, squares))
        return (scaled * factor.astype(real.dtype)[sequence]).astype(g.dtype)


def perturb(x: Array, s: Array, r: Array) -> Array:
    """x (N, D), s (D,), r (N, D) -> x + s r."""
    return x + s * r


def perturb_backward(r: Array, dy: Array) -> tuple[Array, Array]:
    """dy (N, D) -> dx (N, D) and ds (D,); r is a constant."""
    return dy, (dy * r).sum(axis=0)
