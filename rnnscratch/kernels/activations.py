"""The activation functions of the cells (Eqs 24-27), in place where a buffer is given, and their derivatives.

Each derivative says what it takes: `dtanh_from_output(y)` wants y = tanh(z), not z. All are analytic (relu away from
0), so they are right for complex arguments too, which the complex-step gradient check relies on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_operand


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """1 / (1 + exp(-z)), as tanh(z/2)/2 + 1/2, which cannot overflow (Eq. 24)."""
    if type(z) is not np.ndarray or z.dtype.char not in "fdD":
        z = as_operand("z", z)
    xp = get_array_module(z)
    y = xp.asarray(xp.multiply(z, 0.5, out=out))
    xp.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y


def dsigmoid_from_output(y: Array, out: Array | None = None) -> Array:
    """The slope of the sigmoid where its value is y: y (1 - y) = y - y^2 (Eq. 25)."""
    if type(y) is not np.ndarray or y.dtype.char not in "fdD":
        y = as_operand("y", y)
    xp = get_array_module(y)
    squared = xp.asarray(xp.multiply(y, y, out=out))
    return xp.subtract(y, squared, out=squared)


def tanh(z: Array, out: Array | None = None) -> Array:
    """(e^z - e^-z) / (e^z + e^-z) (Eq. 26)."""
    if type(z) is not np.ndarray or z.dtype.char not in "fdD":
        z = as_operand("z", z)
    return get_array_module(z).tanh(z, out=out)


def dtanh_from_output(y: Array, out: Array | None = None) -> Array:
    """The slope of tanh where its value is y: 1 - y^2 (Eq. 27)."""
    if type(y) is not np.ndarray or y.dtype.char not in "fdD":
        y = as_operand("y", y)
    xp = get_array_module(y)
    squared = xp.asarray(xp.multiply(y, y, out=out))
    return xp.subtract(1, squared, out=squared)


def relu(z: Array, out: Array | None = None) -> Array:
    """max(z, 0)."""
    if type(z) is not np.ndarray or z.dtype.char not in "fdD":
        z = as_operand("z", z)
    xp = get_array_module(z)
    return xp.multiply(z, z.real > 0, out=out)


def drelu_from_output(y: Array, out: Array | None = None) -> Array:
    """The slope of relu where its value is y: 1 where y > 0, else 0 (also at the kink)."""
    y = as_operand("y", y)
    xp = get_array_module(y)
    slope = xp.empty_like(y) if out is None else out
    slope[...] = y.real > 0
    return slope


class Activation(NamedTuple):
    """A function and its derivative, which takes the function's output."""

    function: Callable[..., Array]
    slope_from_output: Callable[..., Array]


ACTIVATIONS = {
    "tanh": Activation(tanh, dtanh_from_output),
    "relu": Activation(relu, drelu_from_output),
    "sigmoid": Activation(sigmoid, dsigmoid_from_output),
}
