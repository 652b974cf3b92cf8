"""How the error of a numerical derivative depends on its step size: the U-curve, and the complex step without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import as_column, check_choice
from ..layers import Recurrent
from .flow import cast

SIZES = tuple((10.0 ** -np.arange(0, 16.5, 0.5)).tolist())


def step_size_errors(
    layer: Recurrent, x: Any, name: str = "U_l0", sizes: Sequence[float] = SIZES, seed: int = 0
) -> dict[str, np.ndarray]:
    """The relative error of numerical derivatives with respect to one parameter, for each step size.

    The keys are "central, float32", "forward, float64", "central, float64" and "complex step"; each value (len(sizes),)
    is the norm of the difference to the hand-written gradient in float64, over the norm of that. The loss is a random
    combination of all outputs. Raises TypeError or ValueError for arguments that do not fit.
    """
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer is {type(layer).__name__}, expected a recurrent layer")
    check_choice("name", name, layer.params)
    sizes = as_column("sizes", sizes).astype(float).tolist()
    if not sizes or not min(sizes) > 0:
        raise ValueError(f"sizes is {sizes!r}, expected step sizes above 0")
    x = layer._as_x(x)
    rng = np.random.default_rng(seed)
    r = rng.standard_normal((*x.shape[:2], layer.hidden_size * len(layer.directions)))
    twins = {dtype: cast(layer, dtype) for dtype in ("float32", "float64", "complex128")}
    twins["float64"].forward(x.astype("float64"))
    twins["float64"].backward(r)
    right = twins["float64"].grads[name].astype(float)

    def loss(dtype: str) -> Any:
        hs, _ = twins[dtype].forward(x.astype(dtype))
        return (hs * r.astype("float32" if dtype == "float32" else "float64")).sum().item()

    def error(dtype: str, estimate: Any) -> float:
        array = twins[dtype].params[name]
        found = np.empty(array.shape)
        for place in np.ndindex(*array.shape):
            kept = array[place].copy()

            def at(change: complex, place: tuple[int, ...] = place, kept: Any = kept) -> Any:
                array[place] = kept + change
                value = loss(dtype)
                array[place] = kept
                return value

            found[place] = estimate(at)
        return float(np.linalg.norm(found - right) / np.linalg.norm(right))

    return {
        "central, float32": np.array([error("float32", lambda at, h=h: (at(h) - at(-h)) / (2 * h)) for h in sizes]),
        "forward, float64": np.array([error("float64", lambda at, h=h: (at(h) - at(0)) / h) for h in sizes]),
        "central, float64": np.array([error("float64", lambda at, h=h: (at(h) - at(-h)) / (2 * h)) for h in sizes]),
        "complex step": np.array([error("complex128", lambda at, h=h: at(1j * h).imag / h) for h in sizes]),
    }
