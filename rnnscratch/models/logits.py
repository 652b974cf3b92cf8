"""What the logits of classifiers say: classes, probabilities, the mean of several, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence

from ..backend import Array, get_array_module
from ..checks import are_soft, as_operand
from ..kernels import losses


def decide(logits: Array) -> Array:
    """The most probable class (B,), from one logit (B,) for two classes or one for each class (B, K)."""
    return (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=-1)


def hard(labels: Array) -> Array:
    """The class of each label (B,), the most probable one where labels are probabilities (B, K)."""
    return labels.argmax(axis=1) if are_soft(labels) else labels


def probabilities(logits: Array) -> Array:
    """logits (B,) of class 1 against class 0, or (B, K) -> the probabilities (B, 2) or (B, K) (g of Eq. 42)."""
    if logits.ndim == 2:
        return losses.softmax(logits)
    xp = get_array_module(logits)
    return losses.softmax(xp.stack([xp.zeros_like(logits), logits], axis=1))  # 1 - p would be 0 where p rounds to 1


def ensemble(logits: Sequence[Array]) -> Array:
    """The mean of the probabilities (B, K) of several classifiers, whose logits are (B,) for two classes or (B, K).

    Raises ValueError where there are none, or where they differ in shape.

    >>> import numpy as np
    >>> ensemble([np.array([0.0, 9.0]), np.array([np.log(3.0), 9.0])])[0].round(3).tolist()
    [0.375, 0.625]
    """
    members = [as_operand(f"logits[{k}]", each) for k, each in enumerate(logits)]
    if not members:
        raise ValueError("logits is empty, expected those of at least one classifier")
    for k, each in enumerate(members):
        if each.shape != members[0].shape or each.ndim not in (1, 2):
            raise ValueError(
                f"logits[{k}] has shape {each.shape}, expected {members[0].shape} as logits[0], (B,) or (B, K)"
            )
    return sum(map(probabilities, members)) * (1.0 / len(members))


def divergence(logits: Array, reference: Array) -> tuple[Array, Array]:
    """The mean Kullback-Leibler divergence of logits from a reference, a constant, and the gradient of the logits."""
    if logits.ndim == 2:
        return losses.kl_divergence(logits, reference)
    xp = get_array_module(logits)
    loss, d = losses.kl_divergence(*(xp.stack([xp.zeros_like(z), z], axis=1) for z in (logits, reference)))
    return loss, d[:, 1]
