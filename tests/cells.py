"""The four cells under one signature, random arguments for them, and the complex step: shared by the kernel tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnscratch.kernels import gru, layer_norm, lstm, peephole, rnn, sequence

STEP = 1e-200


class Kernel(NamedTuple):
    """One cell: its kernel's module and cell, and what else its forward pass takes."""

    module: Any
    cell: sequence.Cell
    options: dict[str, Any] = {}

    @property
    def gates(self) -> int:
        return len(self.cell.gates)

    @property
    def states(self) -> str:
        return self.cell.states

    def forward(self, a: dict, lengths: Any = None) -> Any:
        state = tuple(a.get(f"{letter}0") for letter in self.states)
        further = {name: a[name] for name in self.cell.weights}
        found = self.module.forward(
            a["x"], state, a["W"], a["U"], a["b"], lengths, a.get("mask"), **further, **self.options
        )
        hs, final, cache = found
        return hs, dict(zip(self.states, final)), cache

    def backward(self, cache: Any, dhs: Any, dstate: dict, truncate: Any = None) -> dict:
        upstream = tuple(dstate.get(letter) for letter in self.states)
        dx, initial, *gradients = self.module.backward(cache, dhs, upstream, truncate)
        named = dict(zip(("W", "U", "b", *self.cell.weights), gradients))
        return {"x": dx, **{f"{letter}0": d for letter, d in zip(self.states, initial)}, **named}


KERNELS = {
    "rnn tanh": Kernel(rnn, rnn.CELLS["tanh"], {"activation": "tanh"}),
    "rnn relu": Kernel(rnn, rnn.CELLS["relu"], {"activation": "relu"}),
    "rnn sigmoid": Kernel(rnn, rnn.CELLS["sigmoid"], {"activation": "sigmoid"}),
    "lstm": Kernel(lstm, lstm.CELL),
    "gru": Kernel(gru, gru.BEFORE),
    "gru reset_after": Kernel(gru, gru.AFTER),
    "peephole": Kernel(peephole, peephole.CELL),
    "layer_norm": Kernel(layer_norm, layer_norm.CELL),
}


def draw(name: str, rng: np.random.Generator, T: int, B: int, D: int, H: int, dtype: Any = complex) -> dict[str, Any]:
    """Random arguments of a cell, initial states included; keys as `Kernel.forward` reads them."""
    G = KERNELS[name].gates
    shapes = {"x": (T, B, D), "W": (D, G * H), "U": (H, G * H), "b": (G * H,)}
    shapes |= {f"{state}0": (B, H) for state in KERNELS[name].states}
    shapes |= {weight: (k * H,) for weight, k in KERNELS[name].cell.weights.items()}
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
