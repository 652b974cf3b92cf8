"""Losses on logits, each with its gradient, stable for logits of any size (Eqs 3, 64, 73, 80).

Every loss returns (loss, gradient of the first argument); the loss is a mean, so the gradient is divided by the count.
"""

from __future__ import annotations

from ..backend import Array, get_array_module
from .activations import sigmoid

__all__ = ["binary_cross_entropy", "log_softmax", "mean_squared_error", "sigmoid", "softmax", "softmax_cross_entropy"]


def binary_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """-mean(y log p + (1 - y) log(1 - p)) with p = sigmoid(logits); its gradient is (p - y) / count.

    logits (...) of any size, targets (...) of the same shape, numbers from 0 to 1. Computed as max(z, 0) - z y +
    log(1 + exp(-|z|)), in which no exponential can overflow.
    """
    check_targets(logits, targets, logits.shape)
    xp = get_array_module(logits, targets)
    y = targets.astype(logits.dtype)
    positive = logits.real > 0
    minus_size = xp.where(positive, -logits, logits)  # -|z|, analytic on each side of 0
    losses = xp.where(positive, logits, 0) - logits * y + xp.log1p(exp_of_logs(minus_size))
    return losses.mean(), (sigmoid(logits) - y) * (1.0 / max(logits.size, 1))


def softmax_cross_entropy(logits: Array, targets: Array, ignore_index: int | None = None) -> tuple[Array, Array]:
    """-mean(log softmax(logits)[target]) over the positions whose target is not `ignore_index`.

    logits (..., K), targets (...) integers in [0, K). Ignored positions get a zero gradient; when all are ignored the
    loss is 0 and so is the gradient.
    """
    check_targets(logits, targets, logits.shape[:-1])
    xp = get_array_module(logits, targets)
    K = logits.shape[-1]
    kept = xp.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    flat = xp.where(kept, targets, 0).reshape(-1)
    weights = kept.astype(logits.dtype) / xp.maximum(kept.sum(), 1).astype(logits.dtype)
    log_p = log_softmax(logits)
    rows = xp.arange(len(flat))
    loss = -(log_p.reshape(-1, K)[rows, flat] * weights.reshape(-1)).sum()
    gradient = exp_of_logs(log_p).reshape(-1, K)
    gradient[rows, flat] -= 1
    return loss, gradient.reshape(logits.shape) * weights[..., None]


def mean_squared_error(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """mean((outputs - targets)^2) over all entries, arrays of one shape."""
    check_targets(outputs, targets, outputs.shape)
    error = outputs - targets.astype(outputs.dtype)
    return (error * error).mean(), error * (2.0 / max(outputs.size, 1))


def log_softmax(logits: Array) -> Array:
    """log(exp(z_k) / sum_j exp(z_j)) along the last axis, shifted by the largest logit."""
    xp = get_array_module(logits)
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    return shifted - xp.log(exp_of_logs(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: Array) -> Array:
    """exp(z_k) / sum_j exp(z_j) along the last axis."""
    return exp_of_logs(log_softmax(logits))


def exp_of_logs(logs: Array) -> Array:
    """exp of numbers that are at most 0; below -87 the result is exp(-87), where float32 would underflow."""
    xp = get_array_module(logs)
    return xp.exp(xp.where(logs.real < -87, -87, logs))


def check_targets(outputs: Array, targets: Array, shape: tuple[int, ...]) -> None:
    if getattr(targets, "shape", None) != shape:
        raise ValueError(
            f"targets has shape {getattr(targets, 'shape', None)}, expected {shape} for logits of {outputs.shape}"
        )
