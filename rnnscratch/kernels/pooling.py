"""From the outputs of all steps to one vector for each sequence: their mean or their maximum over the real steps.

T steps, B sequences, H units; lengths (B,) on the host. What hs holds past a sequence's end changes nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_operand, check_lengths, check_shape
from .packing import Packed, Plan


class MeanCache(NamedTuple):
    """The weight 1 / length of each real step, 0 past the end."""

    weights: Array  # (T, B)


class MaxCache(NamedTuple):
    """The step that each maximum was taken from."""

    steps: Array  # (B, H)
    shape: tuple[int, int, int]


def mean_forward(hs: Any, lengths: Any = None) -> tuple[Array, MeanCache]:
    """hs (T, B, H) -> the mean over each sequence's steps (B, H), and the cache for `mean_backward`."""
    hs, lengths = _arguments(hs, lengths)
    xp = get_array_module(hs)
    T, B, _ = hs.shape
    if lengths is None:
        return hs.sum(axis=0) * (1.0 / T), MeanCache(xp.full((T, B), 1.0 / T, hs.dtype))
    scale = (1.0 / lengths).astype(hs.dtype)
    real = real_steps(T, lengths)
    mean = xp.where(xp.asarray(real)[:, :, None], hs, 0).sum(axis=0) * xp.asarray(scale)[:, None]
    return mean, MeanCache(xp.asarray(real * scale))


def mean_backward(cache: MeanCache, dmean: Any) -> Array:
    """dmean (B, H) -> dhs (T, B, H): each real step gets its share, the others 0."""
    dmean = as_operand("dmean", dmean, cache.weights.dtype)
    check_shape("dmean", dmean, (cache.weights.shape[1], *dmean.shape[1:]), cache.weights.dtype, "(B, H)")
    return cache.weights[:, :, None] * dmean


def packed_mean_forward(hs: Packed) -> tuple[Array, tuple[Plan, Array]]:
    """As `mean_forward`, of packed outputs (N, H)."""
    data, plan = hs
    scale = plan.xp.asarray((1.0 / plan.sorted_lengths).astype(data.dtype))[:, None]
    total = plan.xp.zeros((plan.B, data.shape[1]), data.dtype)
    for chunk in plan.chunks:
        for step in chunk.steps:
            total[step.running] += data[step.rows]
    return plan.unsort(total * scale), (plan, plan.unsort(scale))


def packed_mean_backward(cache: tuple[Plan, Array], dmean: Array) -> Array:
    """dmean (B, H) -> packed (N, H): each step gets its share."""
    plan, scale = cache
    return (dmean * scale)[plan.sequence]


def max_forward(hs: Any, lengths: Any = None) -> tuple[Array, MaxCache]:
    """hs (T, B, H) -> the largest value of each unit over its sequence's steps (B, H), and the cache for
    `max_backward`.

    Of equal values the first counts; complex values are compared by their real part, as a complex-step check needs.
    """
    hs, lengths = _arguments(hs, lengths)
    xp = get_array_module(hs)
    T, B, H = hs.shape
    values = hs.real
    if lengths is not None:
        values = xp.where(xp.asarray(real_steps(T, lengths))[:, :, None], values, -np.inf)
    at_maximum = (values == values.max(axis=0)) | (values != values)  # NaN counts as largest: it must not be hidden
    steps = xp.where(at_maximum, xp.arange(T, dtype=np.int32)[:, None, None], T - 1).min(axis=0)
    return hs[steps, xp.arange(B)[:, None], xp.arange(H)], MaxCache(steps, (T, B, H))


def packed_max(hs: Packed) -> Array:
    """The largest values (B, H) of packed outputs (N, H), as `max_forward` finds them, with nothing for a way back.

    NaN counts as largest here too; complex values are compared by their imaginary parts where the real ones are equal.
    """
    data, plan = hs
    largest = data[: plan.B].copy()
    for chunk in plan.chunks:
        for step in chunk.steps:
            running = largest[step.running]
            plan.xp.maximum(running, data[step.rows], out=running)
    return plan.unsort(largest)


def max_backward(cache: MaxCache, dmax: Any) -> Array:
    """dmax (B, H) -> dhs (T, B, H): all of it goes to the step that the maximum was taken from."""
    dmax = as_operand("dmax", dmax)
    check_shape("dmax", dmax, cache.shape[1:], dmax.dtype, "(B, H)")
    xp = get_array_module(dmax)
    _, B, H = cache.shape
    dhs = xp.zeros(cache.shape, dmax.dtype)
    dhs[cache.steps, xp.arange(B)[:, None], xp.arange(H)] = dmax
    return dhs


def _arguments(hs: Any, lengths: Any) -> tuple[Array, np.ndarray | None]:
    hs = as_operand("hs", hs)
    if hs.ndim != 3 or 0 in hs.shape:
        raise ValueError(f"hs has shape {hs.shape}, expected (T, B, H), none 0")
    return hs, check_lengths(lengths, *hs.shape[:2])


def real_steps(T: int, lengths: np.ndarray) -> np.ndarray:
    """(T, B) booleans: whether step t lies within sequence b."""
    return np.arange(T)[:, None] < np.asarray(lengths)
