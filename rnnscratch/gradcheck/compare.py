"""Analytic gradients of a target beside numeric ones, array by array."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    dtype: str = "float64"  # of the backward pass that is checked

    def __post_init__(self) -> None:
        """Check the target, and draw an initial state where none is given: zeros would hide what is wrong with it."""
        kind = type(self.target).__name__
        if not self.is_layer and (hasattr(self.target, "forward") or not callable(self.target)):
            raise TypeError(f"target is {kind}, expected an object with forward and backward, or a function")
        accepted = inspect.signature(self.target.forward).parameters if self.is_layer else {}
        for name, given in (("lengths", self.lengths), ("state", self.state)):
            if given is not None and name not in accepted:
                raise TypeError(f"{name} is given, but the forward pass of {kind} takes none")
        for name, array in (self.target.params if self.is_layer else {}).items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"params[{name!r}] holds NaN or infinite numbers, for which no gradient can be checked"
                )
        if self.recurrent and self.state is None:
            outputs, (_, final) = self.forward(*self.prepare("float64"))
            rng = np.random.default_rng(self.seed + 2)
            drawn = tuple(rng.uniform(-0.8, 0.8, part.shape) for part in outputs[1:])
            self.state = drawn if isinstance(final, tuple) else drawn[0]

    @property
    def is_layer(self) -> bool:
        return hasattr(self.target, "forward") and hasattr(self.target, "backward")

    @property
    def recurrent(self) -> bool:
        return self.is_layer and "state" in inspect.signature(self.target.forward).parameters

    def prepare(self, dtype: str) -> tuple[Any, dict[str, np.ndarray]]:
        """A copy of the target in this dtype, and all arrays that have a gradient, by name.

        Their values are such as the dtype under test can hold, so that all copies compute with the same numbers.
        """

        def convert(values: Any) -> np.ndarray:
            return np.asarray(values).astype(self.dtype).astype(dtype)

        arrays = {}
        for k, given in enumerate(self.inputs):
            if np.asarray(given).dtype.kind not in "iub":
                arrays["x" if len(self.inputs) == 1 else f"input {k}"] = convert(given)
        target = self.target
        if self.is_layer:
            target = copy.deepcopy(self.target)
            for owner in owners(target):
                for name in owner.params:
                    owner.params[name] = convert(owner.params[name])
                    owner.grads[name] = owner.grads[name].astype(dtype)
                    if self.symmetric and name.startswith("U_"):
                        make_symmetric(owner.params[name])
            for k, part in enumerate(parts_of(self.state)):
                arrays[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = convert(part)
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
            return self._of_inputs(outputs(upstream[0] if len(upstream) == 1 else tuple(upstream)))
        gradients: dict[str, np.ndarray] = {}
        if isinstance(outputs, tuple):
            dstate: Any = tuple(upstream[1:]) if len(upstream) > 2 else upstream[1]
            dx, dinitial = target.backward(upstream[0], dstate)
            for k, part in enumerate(parts_of(dinitial) if self.state is not None else []):
                gradients[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = np.array(part)
        else:
            dx = target.backward(upstream[0])
        gradients.update(self._of_inputs(dx))
        return {**gradients, **{name: np.array(gradient) for name, gradient in target.grads.items()}}

    def _of_inputs(self, returned: Any) -> dict[str, np.ndarray]:
        """The gradients of the inputs that have one, which backward may return for all inputs or for those alone."""
        parts = parts_of(returned)
        floating = [k for k, given in enumerate(self.inputs) if np.asarray(given).dtype.kind not in "iub"]
        if len(parts) == len(self.inputs):
            parts = [parts[k] for k in floating]
        names = ["x" if len(self.inputs) == 1 else f"input {k}" for k in floating]
        return {name: np.array(part) for name, part in zip(names, parts) if part is not None}

    def upstream(self, outputs: Sequence[np.ndarray], dtype: str) -> list[np.ndarray]:
        """Random gradients of all outputs, also past a sequence's end, where they must have no effect."""
        rng = np.random.default_rng(self.seed)
        draws = [rng.standard_normal(output.shape).astype(self.dtype).astype(dtype) for output in outputs]
        if self.upstream_only == "outputs":
            for draw in draws[1:]:
                draw[...] = 0
        if self.upstream_only == "last step":
            draws[0][:-1] = 0
        return draws

    def start(self, dtype: str) -> tuple[Any, dict[str, np.ndarray]]:
        """`prepare`, with the dropout masks drawn, from equal generators for each dtype, and held fixed."""
        target, arrays = self.prepare(dtype)
        if self.train:
            self.forward(target, arrays)
            for owner in owners(target, "frozen"):
                owner.frozen = True
        return target, arrays

    def is_analytic(self) -> bool:
        """Whether the target takes complex arrays, and its derivative along the imaginary axis is that along the real.

        A complex answer alone proves nothing: |x| x and x conj(x) are complex where x is, and not analytic.
        """

        def slope(dtype: str, step: complex) -> Any:
            target, arrays = self.start(dtype)
            outputs, _ = self.forward(target, arrays)
            upstream = self.upstream(outputs, dtype)
            rng = np.random.default_rng(self.seed + 3)
            for array in arrays.values():
                array += step * rng.standard_normal(array.shape)
            shifted, _ = self.forward(target, arrays)
            return np.array([((a - b) * up).sum() for a, b, up in zip(shifted, outputs, upstream)])

        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                imaginary = slope("complex128", 1j * STEP).imag / STEP
        except (TypeError, ValueError, np.exceptions.ComplexWarning):
            return False
        real = (slope("float64", 1e-6) - slope("float64", -1e-6)) / 2e-6
        return bool(np.abs(imaginary - real).max(initial=0.0) <= 1e-4 * np.abs(real).max(initial=1e-3))

    def compare(self, method: str, tolerance: float) -> Comparison:
        """Run backward twice, and compare its gradients with those of the forward pass."""
        wide = "complex128" if method == "complex" else "float64"
        with np.errstate(under="ignore"):
            target, arrays = self.start(self.dtype)
            watched = dict(arrays) | {
                f"input {k}": given for k, given in enumerate(self.inputs) if np.asarray(given).dtype.kind in "iub"
            }
            before = {name: array.copy() for name, array in watched.items()}
            outputs, handle = self.forward(target, arrays)
            again, _ = self.forward(target, arrays)
            if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs, again)) and all(
                np.array_equal(array, before[name]) for name, array in watched.items()
            ):
                raise ValueError("forward gives another result each time; dropout must keep its masks while frozen")
            outputs, handle = self.forward(target, arrays)
            upstream = self.upstream(outputs, self.dtype)
            watched |= self._named(upstream) | {f"output {k}": output for k, output in enumerate(outputs)}
            before |= {name: array.copy() for name, array in watched.items() if name not in before}
            analytic = self.backward(target, handle, upstream)
            cause, detail = "", ""
            for name, array in watched.items():
                if not np.array_equal(array, before[name]):
                    cause, detail = "changed arguments", name
                    array.flags.writeable = True
                    array[...] = before[name]
            if not cause:
                repeated = self.backward(target, handle, upstream)
                if any(not np.array_equal(repeated[name], analytic[name], equal_nan=True) for name in analytic):
                    cause = "second backward"
            for name in arrays:
                if name not in analytic:
                    raise ValueError(
                        f"backward gives no gradient of {name}, expected one of shape {arrays[name].shape}"
                    )
            if not cause and self.lengths is not None and not self._ignores_padding(outputs, analytic):
                cause = "lengths"

            wide_target, wide_arrays = self.start(wide)
            wide_outputs, _ = self.forward(wide_target, wide_arrays)
            weights = self.upstream(wide_outputs, wide)

            def loss() -> Any:
                found, _ = self.forward(wide_target, wide_arrays)
                return sum((output * weight).sum() for output, weight in zip(found, weights))

            numeric, at, rows = {}, {}, []
            rng = np.random.default_rng(self.seed + 1)
            for name, array in wide_arrays.items():
                gradient = analytic[name]
                if gradient.shape != array.shape:
                    raise ValueError(
                        f"the gradient of {name} has shape {gradient.shape}, expected {array.shape} as {name}"
                    )
                places = np.arange(array.size)
                if array.size > self.max_entries:
                    places = np.sort(rng.choice(array.size, self.max_entries, replace=False))
                numeric[name] = derivatives(loss, array, places, method)
                at[name] = gradient.reshape(-1)[places].astype(float)
                rows += self._rows(name, gradient.shape, places, at[name], numeric[name], tolerance)
                if array.size > self.max_entries:
                    rows.append(along_direction(loss, name, array, gradient, method, tolerance, rng))
        return Comparison(at, numeric, rows, cause, detail)

    def _ignores_padding(self, outputs: list[np.ndarray], gradients: dict[str, np.ndarray]) -> bool:
        """Whether outputs and gradients stay as they are with garbage past the sequences' ends."""
        rng = np.random.default_rng(self.seed + 4)
        past = np.arange(len(self.inputs[0]))[:, None] >= np.asarray(self.lengths)

        def garbled(array: np.ndarray) -> np.ndarray:
            if array.shape[:2] != past.shape:
                return array
            result, shape = array.copy(), (int(past.sum()), *array.shape[2:])
            ids = array.dtype.kind in "iub"
            result[past] = rng.choice(array.ravel(), shape) if ids else 100.0 * rng.standard_normal(shape)
            return result

        other = replace(self, inputs=tuple(garbled(np.asarray(given)) for given in self.inputs))
        target, arrays = other.start(self.dtype)
        found, handle = other.forward(target, arrays)
        upstream = self.upstream(found, self.dtype)
        if found[0].ndim == 3:
            upstream[0] = garbled(upstream[0])
        repeated = other.backward(target, handle, upstream)
        pairs = [*zip(outputs, found), *((gradients[name], repeated[name]) for name in gradients)]
        slack = 1e3 * float(np.finfo(self.dtype).eps)
        return all(np.abs(a - b).max(initial=0.0) <= slack * np.abs(a).max(initial=1e-300) for a, b in pairs)

    @staticmethod
    def _named(upstream: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {f"the gradient of output {k}": array for k, array in enumerate(upstream)}

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
            if chosen.any():  # a block without a checked entry gets no row: it would claim what nobody looked at
                rows.append(row(f"gate {letter}", chosen, (*shape[:-1], shape[-1] // len(self.gates(name)))))
        if name == "x" and self.recurrent and shape[0] > 1:
            step = places // math.prod(shape[1:])
            rows += [row(f"step {t}", step == t, shape[1:]) for t in range(shape[0]) if (step == t).any()]
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


def derivatives(loss: Callable[[], Any], array: np.ndarray, places: np.ndarray, method: str) -> np.ndarray:
    """d loss / d array at these places, in float64."""
    flat = array.reshape(-1)

    def at(step: float) -> np.ndarray:
        found = np.empty(len(places))
        for j, place in enumerate(places):
            kept = flat[place].copy()
            if method == "complex":
                flat[place] = kept + 1j * step
                found[j] = loss().imag / step
            else:
                flat[place] = kept + step
                above = loss()
                flat[place] = kept - step
                found[j] = (above - loss()) / (2 * step)
            flat[place] = kept
        return found

    return at(STEP) if method == "complex" else steadiest([at(step) for step in SWEEP])


def steadiest(estimates: list[Any]) -> Any:
    """Of a sweep of central differences, the one that changed least from the step size before.

    There neither the curvature nor the rounding counts; the gradient under test has no say in the choice.
    """
    changes = [np.abs(b - a).max(initial=0.0) for a, b in zip(estimates, estimates[1:])]
    return estimates[int(np.argmin(changes)) + 1]


def along_direction(
    loss: Callable[[], Any], name: str, array: np.ndarray, gradient: np.ndarray, method: str, tolerance: float, rng: Any
) -> Row:
    """The derivative along one random direction, in which every entry takes part."""
    direction = rng.standard_normal(array.shape)
    kept = array.copy()

    def at(step: float) -> np.ndarray:
        if method == "complex":
            array[...] = kept + 1j * step * direction
            slope = loss().imag / step
        else:
            array[...] = kept + step * direction
            above = loss()
            array[...] = kept - step * direction
            slope = (above - loss()) / (2 * step)
        array[...] = kept
        return np.array([slope])

    right = float((at(STEP) if method == "complex" else steadiest([at(step) for step in SWEEP]))[0])
    found = float((gradient.astype(float) * direction).sum())
    scale = float(np.sqrt((gradient.astype(float) ** 2).sum()))  # the size that such a sum of random terms has
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
