"""Attention over the steps of a source: how much each of them counts for a query, and the mean of its values.

    a_ts = exp(s_ts) / sum over s' of exp(s_ts')           over the real steps of the source alone
    context_t = sum over s of a_ts v_s

    dot        s_ts = q_t . k_s                  Luong et al. 2015, arXiv 1508.04025 ("general", where k_s = W h_s)
    additive   s_ts = w . tanh(q_t + k_s)        Bahdanau et al. 2015, arXiv 1409.0473: q_t = W h_t, k_s = U h_s

T queries (one, where a decoder asks step by step), S steps of the source, B sequences, A numbers in a query and a key,
M in a value; lengths (B,) of the sources, on the host. What keys and values hold past a source's end changes nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_operand, as_weights, check_lengths, check_shape
from .losses import softmax
from .pooling import real_steps


class Memory(NamedTuple):
    """What is attended to, for any number of queries: the batch first, as in the products, and zeros past the ends."""

    k: Array  # (B, S, A)
    v: Array  # (B, S, M)
    real: Array | None  # (B, 1, S): which steps are, None where all


class DotCache(NamedTuple):
    """What `dot_backward` needs."""

    q: Array  # (B, T, A)
    memory: Memory
    weights: Array  # (B, T, S)


class AdditiveCache(NamedTuple):
    """What `additive_backward` needs."""

    u: Array  # (B, T, S, A): tanh(q + k)
    w: Array  # (A,)
    memory: Memory
    weights: Array  # (B, T, S)


def remember(k: Any, v: Any, lengths: Any = None) -> Memory:
    """k (S, B, A) and v (S, B, M), to be asked about. Raises TypeError or ValueError where they do not fit together."""
    k = as_operand("k", k)
    v = as_operand("v", v, k.dtype)
    if k.ndim != 3 or 0 in k.shape:
        raise ValueError(f"k has shape {k.shape}, expected (S, B, A), none 0")
    check_shape("v", v, (*k.shape[:2], *v.shape[2:3]), k.dtype, "(S, B, M) with k (S, B, A)")
    xp = get_array_module(k, v)
    lengths = check_lengths(lengths, *k.shape[:2])
    k, v = k.swapaxes(0, 1), v.swapaxes(0, 1)
    if lengths is None:
        return Memory(k, v, None)
    real = xp.asarray(real_steps(k.shape[1], lengths).T)
    k, v = (xp.where(real[:, :, None], each, 0) for each in (k, v))
    return Memory(k, v, real[:, None])


def dot_forward(q: Any, k: Any, v: Any, lengths: Any = None) -> tuple[Array, Array, DotCache]:
    """q (T, B, A), k (S, B, A), v (S, B, M) -> the contexts (T, B, M), the weights (T, B, S), and the cache.

    Raises TypeError or ValueError, naming the argument, for arrays that do not fit together.
    """
    return dot_attend(q, remember(k, v, lengths))


def dot_attend(q: Any, memory: Memory) -> tuple[Array, Array, DotCache]:
    """`dot_forward` of what `remember` returned."""
    q = _queries(q, memory)
    weights = _weights(q @ memory.k.swapaxes(1, 2), memory.real)
    return _by_time(weights @ memory.v), _by_time(weights), DotCache(q, memory, weights)


def dot_backward(cache: DotCache, dcontext: Any, dweights: Any = None) -> tuple[Array, Array, Array]:
    """dcontext (T, B, M), dweights (T, B, S) or None -> dq (T, B, A), dk (S, B, A), dv (S, B, M)."""
    q, (k, v, _), weights = cache
    ds, dv = _scores_backward(v, weights, dcontext, dweights)
    return _by_time(ds @ k), _by_time(ds.swapaxes(1, 2) @ q), _by_time(dv)


def additive_forward(q: Any, k: Any, v: Any, w: Any, lengths: Any = None) -> tuple[Array, Array, AdditiveCache]:
    """q (T, B, A), k (S, B, A), v (S, B, M), w (A,) -> the contexts (T, B, M), the weights (T, B, S), and the cache.

    The cache holds T S B A numbers. Raises TypeError or ValueError, naming the argument, for arrays that do not fit.
    """
    return additive_attend(q, remember(k, v, lengths), w)


def additive_attend(q: Any, memory: Memory, w: Any) -> tuple[Array, Array, AdditiveCache]:
    """`additive_forward` of what `remember` returned."""
    q = _queries(q, memory)
    w = check_shape("w", as_weights("w", w), q.shape[2:], q.dtype, "(A,) with q (T, B, A)")
    u = get_array_module(q, w).tanh(q[:, :, None] + memory.k[:, None])
    weights = _weights(u @ w, memory.real)
    return _by_time(weights @ memory.v), _by_time(weights), AdditiveCache(u, w, memory, weights)


def additive_backward(cache: AdditiveCache, dcontext: Any, dweights: Any = None) -> tuple[Array, Array, Array, Array]:
    """dcontext (T, B, M), dweights (T, B, S) or None -> dq (T, B, A), dk (S, B, A), dv (S, B, M), dw (A,)."""
    u, w, memory, weights = cache
    ds, dv = _scores_backward(memory.v, weights, dcontext, dweights)
    dz = (1 - u * u) * w  # z = q + k, u = tanh(z), s = u w
    dz *= ds[..., None]
    return _by_time(dz.sum(axis=2)), _by_time(dz.sum(axis=1)), _by_time(dv), ds.reshape(-1) @ u.reshape(-1, len(w))


def _queries(q: Any, memory: Memory) -> Array:
    """q (B, T, A), the batch first."""
    B, _, A = memory.k.shape
    q = as_operand("q", q, memory.k.dtype)
    if q.ndim != 3 or not len(q):
        raise ValueError(f"q has shape {q.shape}, expected (T, B, A), T at least 1")
    check_shape("q", q, (len(q), B, A), memory.k.dtype, "(T, B, A) with k (S, B, A)")
    get_array_module(q, memory.k)
    return q.swapaxes(0, 1)


def _weights(scores: Array, real: Array | None) -> Array:
    """The softmax (B, T, S) of the scores over the real steps."""
    return softmax(scores if real is None else get_array_module(scores).where(real, scores, -np.inf))


def _scores_backward(v: Array, weights: Array, dcontext: Any, dweights: Any) -> tuple[Array, Array]:
    """The gradients (B, T, S) of the scores and (B, S, M) of the values."""
    B, T, S = weights.shape
    dcontext = check_shape("dcontext", dcontext, (T, B, v.shape[2]), v.dtype, "as the contexts").swapaxes(0, 1)
    da = dcontext @ v.swapaxes(1, 2)  # context = weights v
    if dweights is not None:
        dweights = check_shape("dweights", dweights, (T, B, S), v.dtype, "as the weights").swapaxes(0, 1)
        da += get_array_module(weights).where(weights == 0, 0, dweights)  # past a source's end there is no weight
    ds = weights * (da - (weights * da).sum(axis=2, keepdims=True))  # the softmax: 0 where a weight is
    return ds, weights.swapaxes(1, 2) @ dcontext


def _by_time(array: Array) -> Array:
    """(B, T, ...) -> (T, B, ...)."""
    return array.swapaxes(0, 1)
