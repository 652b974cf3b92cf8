"""The four cells under one signature, random arguments for them, and the complex step: shared by the kernel tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnscratch.kernels import gru, lstm, rnn

STEP = 1e-200


class Kernel(NamedTuple):
    """One cell: the number of gates, and forward and backward on a dict of arrays."""

    gates: int
    states: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def _rnn(activation: str) -> Kernel:
    def forward(a: dict, lengths: Any = None) -> Any:
        hs, h, cache = rnn.forward(a["x"], a.get("h0"), a["W"], a["U"], a["b"], lengths, a.get("mask"), activation)
        return hs, {"h": h}, cache

    def backward(cache: Any, dhs: Any, dstate: dict, truncate: Any = None) -> dict:
        return dict(zip(("x", "h0", "W", "U", "b"), rnn.backward(cache, dhs, dstate.get("h"), truncate)))

    return Kernel(1, "h", forward, backward)


def _lstm() -> Kernel:
    def forward(a: dict, lengths: Any = None) -> Any:
        state = (a.get("h0"), a.get("c0"))
        hs, (h, c), cache = lstm.forward(a["x"], state, a["W"], a["U"], a["b"], lengths, a.get("mask"))
        return hs, {"h": h, "c": c}, cache

    def backward(cache: Any, dhs: Any, dstate: dict, truncate: Any = None) -> dict:
        upstream = (dstate.get("h"), dstate.get("c"))
        dx, (dh, dc), dW, dU, db = lstm.backward(cache, dhs, upstream, truncate)
        return {"x": dx, "h0": dh, "c0": dc, "W": dW, "U": dU, "b": db}

    return Kernel(4, "hc", forward, backward)


def _gru(reset_after: bool) -> Kernel:
    def forward(a: dict, lengths: Any = None) -> Any:
        bn = a["bn"] if reset_after else None
        hs, h, cache = gru.forward(a["x"], a.get("h0"), a["W"], a["U"], a["b"], lengths, a.get("mask"), bn)
        return hs, {"h": h}, cache

    def backward(cache: Any, dhs: Any, dstate: dict, truncate: Any = None) -> dict:
        gradients = gru.backward(cache, dhs, dstate.get("h"), truncate)
        return dict(zip(("x", "h0", "W", "U", "b", "bn"), gradients))

    return Kernel(3, "h", forward, backward)


KERNELS = {
    "rnn tanh": _rnn("tanh"),
    "rnn relu": _rnn("relu"),
    "rnn sigmoid": _rnn("sigmoid"),
    "lstm": _lstm(),
    "gru": _gru(False),
    "gru reset_after": _gru(True),
}


def draw(name: str, rng: np.random.Generator, T: int, B: int, D: int, H: int, dtype: Any = complex) -> dict[str, Any]:
    """Random arguments of a cell, initial states included; keys as `Kernel.forward` reads them."""
    G = KERNELS[name].gates
    shapes = {"x": (T, B, D), "W": (D, G * H), "U": (H, G * H), "b": (G * H,)}
    shapes |= {f"{state}0": (B, H) for state in KERNELS[name].states}
    if name == "gru reset_after":
        shapes["bn"] = (H,)
    return {key: (rng.standard_normal(shape) * 0.7).astype(dtype) for key, shape in shapes.items()}


def upstream(name: str, rng: np.random.Generator, T: int, B: int, H: int, dtype: Any = complex) -> tuple[Any, dict]:
    """Random gradients of hs and of each final state."""
    draws = {state: rng.standard_normal((B, H)).astype(dtype) for state in KERNELS[name].states}
    return rng.standard_normal((T, B, H)).astype(dtype), draws


def loss(hs: Any, final: dict, dhs: Any, dstate: dict) -> Any:
    """A scalar whose gradient with respect to hs is dhs, and with respect to the final states dstate."""
    total = 0 if dhs is None else (hs * dhs).sum()
    return total + sum((final[state] * d).sum() for state, d in dstate.items())


def complex_step(function: Callable[[dict], Any], arguments: dict[str, np.ndarray], key: str) -> np.ndarray:
    """d function / d arguments[key], entry by entry, exact to rounding: Im f(x + ih) / h."""
    gradient = np.zeros(arguments[key].shape)
    for index in np.ndindex(gradient.shape):
        shifted = dict(arguments)
        shifted[key] = arguments[key].copy()
        shifted[key][index] += 1j * STEP
        gradient[index] = function(shifted).imag / STEP
    return gradient


def relative_error(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference against the largest entry, 0 where both are all zeros."""
    difference = np.abs(found - right).max(initial=0.0)
    return float(difference / np.abs(right).max()) if difference else 0.0
