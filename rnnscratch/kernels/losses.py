"""Losses on logits, each with its gradient, stable for logits of any size (Eqs 3, 64, 73, 80).

Every loss returns (loss, gradient of the first argument); the loss is a mean, so the gradient is divided by the count.
Arrays keep their dtype (float32, float64 or complex128); lists and whole numbers are taken as float64. What does not
fit is a TypeError or ValueError that names the argument. Exponentials of large negative numbers are meant to vanish, so
underflow is ignored where they are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_array, as_operand, check_distribution, check_rates, check_shapes, refuse_first
from .activations import sigmoid

__all__ = [
    "binary_cross_entropy",
    "kl_divergence",
    "log_softmax",
    "mean_squared_error",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
]


def binary_cross_entropy(logits: Any, targets: Any, smoothing: float = 0.0) -> tuple[Array, Array]:
    """-mean(y log p + (1 - y) log(1 - p)) with p = sigmoid(logits); its gradient is (p - y) / count.

    logits (...) of any size, targets (...) of the same shape, numbers from 0 to 1 (checked on the host only). With
    `smoothing` s from 0 to below 1, y is (1 - s) target + s/2 (Szegedy et al. 2016). Computed
    as max(z, 0) - z y + log(1 + exp(-|z|)), in which no exponential can overflow.
    """
    check_rates(smoothing=smoothing)
    logits, targets = as_operand("logits", logits), as_array("targets", targets, "fiubc")
    check_shapes("logits", logits, targets, logits.shape)
    xp = get_array_module(logits, targets)
    if xp is np:
        refuse_first("targets", targets, (targets.real >= 0) & (targets.real <= 1), "numbers from 0 to 1")
    y = targets.astype(logits.dtype)
    if smoothing:
        y = y * (1.0 - smoothing) + 0.5 * smoothing
    positive = logits.real > 0
    minus_size = xp.where(positive, -logits, logits)  # -|z|, analytic on each side of 0
    with np.errstate(under="ignore"):
        losses = xp.where(positive, logits, 0) - logits * y + xp.log1p(xp.exp(minus_size))
        return losses.mean(), (sigmoid(logits) - y) * (1.0 / logits.size)


def softmax_cross_entropy(
    logits: Any, targets: Any, ignore_index: int | None = None, smoothing: float = 0.0
) -> tuple[Array, Array]:
    """-mean(log softmax(logits)[target]) over the positions whose target is not `ignore_index`.

    logits (..., K), targets (...) integers in [0, K), or the probabilities p (..., K) of all classes as floats, for
    which it is -mean(sum_k p_k log softmax(logits)_k) over all positions (what targets hold is checked on the host
    only). What logits hold at ignored positions changes nothing, and their gradient is 0; when all are ignored, the
    loss is 0. With `smoothing` s from 0 to below 1, the target has 1 - s + s/K of the distribution that is to be met,
    and every other class s/K (Szegedy et al. 2016).
    """
    check_rates(smoothing=smoothing)
    logits, targets = as_operand("logits", logits), as_array("targets", targets)
    if targets.dtype.kind == "f" and targets.shape == logits.shape != ():
        return _soft_cross_entropy(logits, targets, ignore_index, smoothing)
    targets = as_array("targets", targets, "iu")
    check_shapes("logits", logits, targets, logits.shape[:-1])
    xp = get_array_module(logits, targets)
    K = logits.shape[-1]
    kept = xp.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    if xp is np:
        refuse_first("targets", targets, ~kept | (targets >= 0) & (targets < K), f"a class from 0 to {K - 1}")
    kept = kept.reshape(-1)
    count = xp.maximum(kept.sum(), 1).astype(logits.dtype)
    log_p = log_softmax(logits).reshape(-1, K)
    at_target = xp.arange(len(kept)), xp.where(kept, targets.reshape(-1), 0)
    losses = -log_p[at_target]
    if smoothing:
        losses = losses * (1.0 - smoothing) - log_p.sum(axis=1) * (smoothing / K)
    losses = xp.where(kept, losses, 0)
    with np.errstate(under="ignore"):
        gradient = xp.exp(log_p)
        gradient[at_target] -= 1.0 - smoothing
        if smoothing:
            gradient -= smoothing / K
        gradient = xp.where(kept[:, None], gradient / count, 0)
        return losses.sum() / count, gradient.reshape(logits.shape)


def _soft_cross_entropy(logits: Array, p: Array, ignore_index: int | None, smoothing: float) -> tuple[Array, Array]:
    """`softmax_cross_entropy` where targets are the probabilities p of all classes (..., K)."""
    if ignore_index is not None:
        raise ValueError(f"ignore_index is {ignore_index}, expected None where targets are probabilities")
    check_shapes("logits", logits, p, logits.shape)
    xp, K = get_array_module(logits, p), logits.shape[-1]
    if xp is np:
        p = check_distribution("targets", p)
    p = p.astype(logits.dtype)
    if smoothing:
        p = p * (1.0 - smoothing) + smoothing / K
    log_q, count = log_softmax(logits), logits.size // K
    with np.errstate(under="ignore"):
        return -(p * log_q).sum() * logits.dtype.type(1.0 / count), (xp.exp(log_q) - p) * (1.0 / count)


def kl_divergence(logits: Any, reference: Any) -> tuple[Array, Array]:
    """mean(sum_k p_k (log p_k - log q_k)) with p = softmax(reference), a constant, and q = softmax(logits).

    Both (..., K). The gradient of logits is (q - p) / count.
    """
    logits, reference = as_operand("logits", logits), as_operand("reference", reference)
    get_array_module(logits, reference)
    if logits.size == 0:
        raise ValueError(f"logits has shape {logits.shape}, expected at least one number")
    if reference.shape != logits.shape:
        raise ValueError(f"reference has shape {reference.shape}, expected {logits.shape} as logits")
    log_p, log_q = log_softmax(reference), log_softmax(logits)
    xp, count = get_array_module(logits), logits.size // logits.shape[-1]
    with np.errstate(under="ignore"):
        p = xp.exp(log_p)
        return (p * (log_p - log_q)).sum() * logits.dtype.type(1.0 / count), (xp.exp(log_q) - p) * (1.0 / count)


def mean_squared_error(outputs: Any, targets: Any) -> tuple[Array, Array]:
    """mean((outputs - targets)^2) over all entries, arrays of one shape.

    >>> loss, gradient = mean_squared_error([1.0, 3.0], [1.0, 1.0])
    >>> float(loss), gradient.tolist()
    (2.0, [0.0, 2.0])
    """
    outputs, targets = as_operand("outputs", outputs), as_array("targets", targets, "fiubc")
    get_array_module(outputs, targets)
    check_shapes("outputs", outputs, targets, outputs.shape)
    error = outputs - targets.astype(outputs.dtype)
    with np.errstate(under="ignore"):
        return (error * error).mean(), error * (2.0 / outputs.size)


def log_softmax(logits: Any) -> Array:
    """log(exp(z_k) / sum_j exp(z_j)) along the last axis, shifted by the largest logit."""
    logits = as_operand("logits", logits)
    xp = get_array_module(logits)
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    with np.errstate(under="ignore"):
        return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: Any) -> Array:
    """exp(z_k) / sum_j exp(z_j) along the last axis, shifted by the largest logit.

    >>> softmax([[0.0, 0.0], [1000.0, 0.0]]).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    logits = as_operand("logits", logits)
    xp = get_array_module(logits)
    with np.errstate(under="ignore"):
        powers = xp.exp(logits - logits.real.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
