"""Analytic gradients of a target beside numeric ones, array by array."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array

STEP = 1e-200
SWEEP = tuple(10.0**-k for k in range(2, 10))


@dataclass
class Row:
    """One comparison: a whole array, or (`part`) one gate's block or one time step of it."""

    name: str
    part: str
    shape: tuple[int, ...]
    size: float  # the largest entry of the right gradient
    error: float  # the largest difference, relative to `size` (of the whole array)
    ok: bool
    cause: str = ""


@dataclass
class Comparison:
    """Analytic and numeric gradients of every array, both where `places` says, and the rows made of them."""

    analytic: dict[str, np.ndarray]
    numeric: dict[str, np.ndarray]
    rows: list[Row]
    cause: str = ""
    detail: str = ""

    @property
    def failing(self) -> list[str]:
        return list(dict.fromkeys(row.name for row in self.rows if not row.ok))


@dataclass
class Setup:
    """A target with everything it is run on; `replace` gives the variations that the diagnosis tries."""

    target: Any
    inputs: tuple[Any, ...]
    lengths: Any
    state: Any
    train: bool
    seed: int
    max_entries: int
    symmetric: bool = False
    upstream_only: str = ""  # "outputs": none from the final state; "last step": none from the outputs before the last

    @property
    def is_layer(self) -> bool:
        return hasattr(self.target, "forward") and hasattr(self.target, "backward")

    @property
    def recurrent(self) -> bool:
        return self.is_layer and "state" in inspect.signature(self.target.forward).parameters

    def prepare(self, dtype: str) -> tuple[Any, dict[str, np.ndarray]]:
        """A copy of the target in this dtype, and all arrays that have a gradient, by name."""
        arrays = {}
        for k, given in enumerate(self.inputs):
            if np.asarray(given).dtype.kind not in "iub":
                arrays["x" if len(self.inputs) == 1 else f"input {k}"] = np.array(given, dtype)
        target = self.target
        if self.is_layer:
            target = copy.deepcopy(self.target)
            for owner in owners(target):
                for name in owner.params:
                    owner.params[name] = owner.params[name].astype(dtype)
                    owner.grads[name] = owner.grads[name].astype(dtype)
                    if self.symmetric and name.startswith("U_"):
                        make_symmetric(owner.params[name])
            for k, part in enumerate(parts_of(self.state)):
                arrays[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = np.array(part, dtype)
            arrays.update(target.params)
        return target, arrays

    def forward(self, target: Any, arrays: dict[str, np.ndarray]) -> tuple[list[np.ndarray], Any]:
        """The outputs as a flat list, and what backward needs."""
        values = iter([array for name, array in arrays.items() if name == "x" or name.startswith("input ")])
        inputs = [given if np.asarray(given).dtype.kind in "iub" else next(values) for given in self.inputs]
        if not self.is_layer:
            output, pullback = target(*inputs)
            return [np.asarray(part) for part in parts_of(output)], pullback
        accepted = inspect.signature(target.forward).parameters
        options: dict[str, Any] = {}
        if "lengths" in accepted and self.lengths is not None:
            options["lengths"] = self.lengths
        if "train" in accepted:
            options["train"] = self.train
        if self.state is not None:
            parts = [array for name, array in arrays.items() if name == "state" or name.startswith("state ")]
            options["state"] = tuple(parts) if isinstance(self.state, (tuple, list)) else parts[0]
        outputs = target.forward(*inputs, **options)
        return list(flatten(outputs)), outputs

    def backward(self, target: Any, outputs: Any, upstream: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The analytic gradient of every array, by name."""
        if not self.is_layer:
            parts = parts_of(outputs(upstream[0] if len(upstream) == 1 else tuple(upstream)))
            floating = [k for k, given in enumerate(self.inputs) if np.asarray(given).dtype.kind not in "iub"]
            names = ["x" if len(self.inputs) == 1 else f"input {k}" for k in floating]
            if len(parts) == len(self.inputs):
                parts = [parts[k] for k in floating]
            return {name: np.array(part) for name, part in zip(names, parts)}
        gradients: dict[str, np.ndarray] = {}
        if isinstance(outputs, tuple):
            dstate: Any = tuple(upstream[1:]) if len(upstream) > 2 else upstream[1]
            dx, dinitial = target.backward(upstream[0], dstate)
            for k, part in enumerate(parts_of(dinitial) if self.state is not None else []):
                gradients[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = np.array(part)
        else:
            dx = target.backward(upstream[0])
        if dx is not None and np.asarray(self.inputs[0]).dtype.kind not in "iub":
            gradients["x"] = np.array(dx)
        return {**gradients, **{name: np.array(gradient) for name, gradient in target.grads.items()}}

    def upstream(self, outputs: Sequence[np.ndarray], dtype: str) -> list[np.ndarray]:
        """Random gradients of all outputs; none past a sequence's end, so that padding has no say."""
        rng = np.random.default_rng(self.seed)
        draws = [rng.standard_normal(output.shape).astype(dtype) for output in outputs]
        if self.upstream_only == "outputs":
            for draw in draws[1:]:
                draw[...] = 0
        if self.upstream_only == "last step":
            draws[0][:-1] = 0
        return draws

    def is_analytic(self) -> bool:
        """Whether the target takes complex arrays and answers with complex ones."""
        try:
            with np.errstate(all="ignore"):
                target, arrays = self.prepare("complex128")
                outputs, _ = self.forward(target, arrays)
        except TypeError:
            return False
        return all(output.dtype.kind == "c" for output in outputs)

    def compare(self, method: str, tolerance: float) -> Comparison:
        """Run backward twice, and compare its gradients with those of the forward pass."""
        dtype = "complex128" if method == "complex" else "float64"
        with np.errstate(under="ignore"):
            target, arrays = self.prepare(dtype)
            if self.train:
                self.forward(target, arrays)
                for owner in owners(target, "frozen"):
                    owner.frozen = True
            outputs, handle = self.forward(target, arrays)
            upstream = self.upstream(outputs, dtype)
            before = {name: array.copy() for name, array in [*arrays.items(), *self._named(upstream)]}
            analytic = self.backward(target, handle, upstream)
            cause, detail = "", ""
            for name, array in [*arrays.items(), *self._named(upstream)]:
                if not np.array_equal(array, before[name]):
                    cause, detail = "changed arguments", name
                    array[...] = before[name]
            if not cause:
                again = self.backward(target, handle, upstream)
                if any(not np.array_equal(again[name], analytic[name], equal_nan=True) for name in analytic):
                    cause = "second backward"

            def loss() -> Any:
                found, _ = self.forward(target, arrays)
                return sum((output * weight).sum() for output, weight in zip(found, upstream))

            numeric, at, rows = {}, {}, []
            rng = np.random.default_rng(self.seed + 1)
            for name, gradient in analytic.items():
                array = arrays[name]
                if gradient.shape != array.shape:
                    raise ValueError(
                        f"the gradient of {name} has shape {gradient.shape}, expected {array.shape} as {name}"
                    )
                places = np.arange(array.size)
                if array.size > self.max_entries:
                    places = np.sort(rng.choice(array.size, self.max_entries, replace=False))
                numeric[name] = derivatives(loss, array, places, method, gradient)
                at[name] = gradient.real.reshape(-1)[places].astype(float)
                rows += self._rows(name, gradient.shape, places, at[name], numeric[name], tolerance)
                if array.size > self.max_entries:
                    rows.append(along_direction(loss, name, array, gradient, method, tolerance, rng))
        return Comparison(at, numeric, rows, cause, detail)

    @staticmethod
    def _named(upstream: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
        return [(f"the gradient of output {k}", array) for k, array in enumerate(upstream)]

    def _rows(
        self,
        name: str,
        shape: tuple[int, ...],
        places: np.ndarray,
        found: np.ndarray,
        right: np.ndarray,
        tolerance: float,
    ) -> list[Row]:
        size = float(np.abs(right).max(initial=0.0))

        def row(part: str, chosen: Any, part_shape: tuple[int, ...]) -> Row:
            difference = np.abs(found - right)[chosen].max(initial=0.0)
            if not np.isfinite(found[chosen]).all():
                difference = math.inf
            error = float(difference / size) if size else float(difference)
            return Row(name, part, part_shape, float(np.abs(right[chosen]).max(initial=0.0)), error, error <= tolerance)

        rows = [row("", slice(None), shape)]
        for letter, chosen in self.gate_places(name, shape, places):
            rows.append(row(f"gate {letter}", chosen, (*shape[:-1], shape[-1] // len(self.gates(name)))))
        if name == "x" and self.recurrent and shape[0] > 1:
            step = places // math.prod(shape[1:])
            rows += [row(f"step {t}", step == t, shape[1:]) for t in range(shape[0])]
        return rows

    def gates(self, name: str) -> str:
        """The letters of the gates that a parameter is made of; "" if it has none."""
        layer, key = self.target, name
        if "." in name:
            owner, _, key = name.rpartition(".")
            layers = getattr(self.target, "layers", None)
            layer = layers[int(owner)] if owner.isdigit() and layers is not None else getattr(self.target, owner, None)
        letters = getattr(layer, "gates", "")
        return letters if len(letters) > 1 and key.split("_")[0] in ("W", "U", "b") else ""

    def gate_places(self, name: str, shape: tuple[int, ...], places: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        letters = self.gates(name)
        if letters:
            block = places % shape[-1] // (shape[-1] // len(letters))
            for k, letter in enumerate(letters):
                yield letter, block == k


def derivatives(
    loss: Callable[[], Any], array: np.ndarray, places: np.ndarray, method: str, analytic: np.ndarray
) -> np.ndarray:
    """d loss / d array at these places;

    of a sweep of central differences, the one that comes closest for the whole array.
    """
    flat = array.reshape(-1)
    steps = (STEP,) if method == "complex" else SWEEP
    found = np.empty((len(steps), len(places)))
    for k, step in enumerate(steps):
        for j, place in enumerate(places):
            kept = flat[place]
            if method == "complex":
                flat[place] = kept + 1j * step
                found[k, j] = loss().imag / step
            else:
                flat[place] = kept + step
                above = loss()
                flat[place] = kept - step
                found[k, j] = (above - loss()) / (2 * step)
            flat[place] = kept
    difference = np.abs(found - analytic.real.reshape(-1)[places]).max(axis=1, initial=0.0)
    return found[int(np.argmin(np.where(np.isfinite(difference), difference, np.inf)))]


def along_direction(
    loss: Callable[[], Any], name: str, array: np.ndarray, gradient: np.ndarray, method: str, tolerance: float, rng: Any
) -> Row:
    """The derivative along one random direction, in which every entry takes part."""
    direction = rng.standard_normal(array.shape)
    kept = array.copy()
    estimates = []
    for step in (STEP,) if method == "complex" else SWEEP:
        if method == "complex":
            array += 1j * step * direction
            estimates.append(loss().imag / step)
        else:
            array += step * direction
            above = loss()
            array -= 2 * step * direction
            estimates.append((above - loss()) / (2 * step))
        array[...] = kept
    found = float((gradient.real * direction).sum())
    right = min(estimates, key=lambda estimate: abs(estimate - found))
    scale = float(np.sqrt((gradient.real**2).sum()))  # the size that such a sum of random terms has
    error = abs(found - right) / max(abs(right), scale) if max(abs(right), scale) else 0.0
    return Row(name, "random direction", array.shape, abs(right), error, bool(error <= 10 * tolerance))


def make_symmetric(U: np.ndarray) -> None:
    """Make each gate's square block of U (H, G*H) symmetric, in place."""
    H = len(U)
    for first in range(0, U.shape[1], H):
        block = U[:, first : first + H]
        block[...] = (block + block.T) / 2


def owners(target: Any, attribute: str = "params") -> Iterator[Any]:
    """The objects within a target that hold such an attribute themselves: its layers."""
    seen: set[int] = set()
    stack = [target]
    while stack:
        current = stack.pop()
        if id(current) in seen or isinstance(current, (np.ndarray, np.random.Generator, str)):
            continue
        seen.add(id(current))
        if isinstance(current, dict):
            stack += current.values()
        elif isinstance(current, (list, tuple)):
            stack += current
        elif hasattr(current, "__dict__") and not inspect.ismodule(current) and not isinstance(current, type):
            if attribute in vars(current):
                yield current
            stack += vars(current).values()


def parts_of(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (tuple, list)) else [value]


def flatten(value: Any) -> Iterator[Array]:
    for part in parts_of(value):
        if isinstance(part, (tuple, list)):
            yield from flatten(part)
        else:
            yield part
