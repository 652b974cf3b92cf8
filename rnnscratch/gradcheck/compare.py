"""Analytic gradients of a target beside numeric ones, array by array."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import as_array

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
    ratio: float = math.nan  # the median of found over right, where that is not 0
    spread: float = math.nan  # between the quartiles of these ratios


@dataclass
class Comparison:
    """Analytic and numeric gradients of every array, both where `places` says, and the rows made of them.

    `cause` is one that the numbers need not show, `untested` are the arrays whose right gradient is zero.
    """

    analytic: dict[str, np.ndarray] = field(default_factory=dict)
    numeric: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    cause: str = ""
    detail: str = ""
    untested: list[str] = field(default_factory=list)
    dtypes: dict[str, np.dtype] = field(default_factory=dict)  # of the gradients as backward gave them
    shared: str = ""  # gradients that lie in the same memory
    kinks: dict[str, str] = field(default_factory=dict)  # the places of an array where forward has one

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
    # "outputs": none from the final state; "last step": none from the outputs before the last; "no cell": none from c
    upstream_only: str = ""
    dtype: str = "float64"  # of the backward pass that is checked

    def __post_init__(self) -> None:
        """Draw the initial state where none is given: zeros would hide what is wrong with it."""
        parts = parts_of(self.state)
        if not self.recurrent or (parts and not any(part is None for part in parts)):
            return
        zeros = replace(self, state=False)  # False: none is given, and none is drawn
        outputs, returned = zeros.forward(*zeros.prepare("float64"))
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise TypeError(
                f"the forward pass takes a state, but returns {type(returned).__name__}, expected the pair (outputs, "
                "final state)"
            )
        final = returned[1]
        rng = self.draws("state")
        drawn = [rng.uniform(-0.8, 0.8, part.shape) for part in outputs[1:]]
        given = [new if part is None else part for part, new in zip(parts or drawn, drawn)] if parts else drawn
        self.state = tuple(given) if isinstance(final, tuple) else given[0]

    def check(self) -> None:
        """Raise TypeError or ValueError unless there are gradients to compare, and a forward pass that has them."""
        arrays = self.prepare(self.dtype)[1]
        if not any(array.size for array in arrays.values()):
            raise ValueError(
                "there is nothing to compare: the inputs are integers, which have no gradient, and the target has no "
                "params; give floats, such as inputs[0].astype(float)"
            )
        outputs, _ = self.forward(*self.start(self.dtype))
        if not outputs:
            raise TypeError("the forward pass returns nothing, expected an array or several")
        for k, output in enumerate(outputs):
            if output.dtype.kind != "f":
                raise TypeError(f"output {k} of the forward pass has dtype {output.dtype}, expected floating numbers")
            if output.size == 0:
                raise ValueError(f"output {k} of the forward pass has shape {output.shape}, expected some numbers")
            if not np.isfinite(output).all():
                raise ValueError(f"output {k} of the forward pass is not finite for these inputs: it has no gradient")

    def draws(self, purpose: str) -> np.random.Generator:
        """Numbers that no caller has drawn as inputs: an upstream gradient equal to x would make x.T @ d symmetric."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    @property
    def is_layer(self) -> bool:
        return hasattr(self.target, "forward") and hasattr(self.target, "backward")

    @property
    def recurrent(self) -> bool:
        return self.is_layer and "state" in inspect.signature(self.target.forward).parameters

    @property
    def sequential(self) -> bool:
        """Whether it is an object that makes one output of each step of its first input (T, B, D)."""
        if self.recurrent:
            return self.inputs[0].ndim == 3
        if not self.is_layer or self.inputs[0].ndim != 3:
            return False
        outputs = self.forward(*self.prepare("float64"))[0]
        alike = len(outputs) == 1 and outputs[0].ndim == 3 and outputs[0].shape[:2] == self.inputs[0].shape[:2]
        return alike and self.hands_on(outputs[0])

    def hands_on(self, outputs: np.ndarray) -> bool:
        """Whether the first axis is time: what stands at its first place changes the outputs at later ones."""
        if len(outputs) == 1 or not (names := self.named_inputs()):
            return True
        target, arrays = self.prepare("float64")
        arrays[names[0]][0] *= 0.9
        return not np.array_equal(self.forward(target, arrays)[0][0][1:], outputs[1:])

    def prepare(self, dtype: str) -> tuple[Any, dict[str, np.ndarray]]:
        """A copy of the target in this dtype, and all arrays that have a gradient, by name.

        Their values are such as the dtype under test can hold, so that all copies compute with the same numbers.
        """

        def convert(values: Any) -> np.ndarray:
            return np.asarray(values).astype(self.dtype).astype(dtype)

        arrays = {name: convert(self.inputs[k]) for k, name in self.named_inputs().items()}
        target = self.target
        if self.is_layer:
            target = self._copy(convert)
            if self.state is not False:
                for k, part in enumerate(parts_of(self.state)):
                    arrays[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = convert(part)
            arrays.update(target.params)
        return target, arrays

    def _copy(self, convert: Callable[[Any], np.ndarray]) -> Any:
        """The target with its parameters and gradients in this dtype; views of one array stay views of one array."""
        weights = [array for owner in owners(self.target) for array in owner.params.values()]
        gradients = [array for owner in owners(self.target) for array in getattr(owner, "grads", {}).values()]
        gradients = [array for array in gradients if isinstance(array, np.ndarray)]
        converted = together([*weights, *gradients], held_arrays(self.target), convert)
        restores_itself = any(hasattr(type(each), "__setstate__") for each in walk(self.target))
        try:
            target = copy.deepcopy(self.target, {} if restores_itself else dict(converted))
        except Exception as error:
            raise TypeError(f"target cannot be copied, as a check needs: {error}") from error
        if restores_itself:  # and would refuse arrays of another precision: they are exchanged afterwards
            held = [
                array
                for owner in owners(target)
                for part in ("params", "grads")
                for array in getattr(owner, part, {}).values()
            ]
            swap(target, {id(array): convert(array) for array in held})
        for owner in owners(target):
            if getattr(owner, "fixed", None):
                owner.fixed = frozenset()  # what does not learn has a gradient all the same
            for name, array in owner.params.items() if self.symmetric else ():
                if name.partition("_")[0] == "U":
                    make_symmetric(array)
        return target

    def named_inputs(self) -> dict[int, str]:
        """The names of the inputs that have a gradient, by position."""
        if getattr(self.target, "inputs_are_data", False):
            return {}
        single = len(self.inputs) == 1
        if own := getattr(self.target, "input_names", None):
            return {k: own[k] for k, given in enumerate(self.inputs) if not is_whole(given)}
        return {k: "x" if single else f"input {k}" for k, given in enumerate(self.inputs) if not is_whole(given)}

    def whole(self) -> dict[str, np.ndarray]:
        """Copies of the arguments that have no gradient, by name: ids and lengths."""
        names = self.named_inputs()
        found = {f"input {k}": given.copy() for k, given in enumerate(self.inputs) if k not in names}
        return found if self.lengths is None else {**found, "lengths": np.array(self.lengths)}

    def forward(
        self, target: Any, arrays: dict[str, np.ndarray], whole: Mapping[str, np.ndarray] | None = None
    ) -> tuple[list[np.ndarray], Any]:
        """The outputs as a flat list, and what backward needs."""
        names, whole = self.named_inputs(), self.whole() if whole is None else whole
        inputs = [arrays[names[k]] if k in names else whole[f"input {k}"] for k in range(len(self.inputs))]
        if not self.is_layer:
            returned = target(*inputs)
            if not (isinstance(returned, (tuple, list)) and len(returned) == 2 and callable(returned[1])):
                kind = f"{type(returned).__name__} {tuple(type(part).__name__ for part in parts_of(returned))}"
                raise TypeError(f"target returns {kind[:80]}, expected the pair (output, pullback)")
            return [as_output(k, part) for k, part in enumerate(parts_of(returned[0]))], returned
        accepted = inspect.signature(target.forward).parameters
        options: dict[str, Any] = {}
        if "lengths" in accepted and self.lengths is not None:
            options["lengths"] = whole["lengths"]
        if "train" in accepted:
            options["train"] = self.train
        parts = [array for name, array in arrays.items() if name == "state" or name.startswith("state ")]
        if parts:
            options["state"] = tuple(parts) if isinstance(self.state, (tuple, list)) else parts[0]
        outputs = target.forward(*inputs, **options)
        return [as_output(k, part) for k, part in enumerate(flatten(outputs))], outputs

    def backward(self, target: Any, handle: Any, upstream: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The analytic gradient of every array, by name: the arrays that backward gave."""
        gradients: dict[str, Any] = {}
        if not self.is_layer:
            output, pullback = handle
            shaped = (
                tuple(upstream) if isinstance(output, tuple) else upstream if isinstance(output, list) else upstream[0]
            )
            gradients = self._of_inputs(pullback(shaped))
        else:
            stateless = "state" not in inspect.signature(target.forward).parameters
            if isinstance(handle, tuple) and stateless and len(self.inputs) > 1:  # several outputs of several inputs
                dx = target.backward(*upstream)
            elif isinstance(handle, tuple):
                dstate: Any = tuple(upstream[1:]) if len(upstream) > 2 else upstream[1]
                returned = target.backward(upstream[0], dstate)
                if not isinstance(returned, (tuple, list)) or len(returned) != 2:
                    raise TypeError(
                        f"backward returns {type(returned).__name__}, expected the pair (gradient of x, gradient of "
                        "the initial state)"
                    )
                dx, dinitial = returned
                for k, part in enumerate(parts_of(dinitial)):
                    gradients[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = part
            else:
                try:
                    dx = target.backward(upstream[0])
                except KeyError as error:
                    if error.args[:1] and error.args[0] in target.params and error.args[0] not in target.grads:
                        raise ValueError(
                            f"backward finds no grads[{error.args[0]!r}]: let grads begin with zeros of each "
                            "parameter's shape"
                        ) from error
                    raise
            gradients |= self._of_inputs(dx) | {name: target.grads.get(name) for name in target.params}
        return {name: as_array(f"the gradient of {name}", part) for name, part in gradients.items() if part is not None}

    def _of_inputs(self, returned: Any) -> dict[str, Any]:
        """The gradients of the inputs that have one, which backward may return for all inputs or for those alone."""
        several = isinstance(returned, tuple) or (
            isinstance(returned, list) and all(part is None or isinstance(part, np.ndarray) for part in returned)
        )
        parts, names = parts_of(returned) if several else [returned], self.named_inputs()
        if len(parts) == len(self.inputs):
            for k, part in enumerate(parts):
                if k not in names and part is not None and np.any(part):
                    raise ValueError(
                        f"inputs[{k}] has dtype {self.inputs[k].dtype}, so it has no gradient, but backward gives one; "
                        f"give floats to have it compared"
                    )
            parts = [parts[k] for k in names]
        elif len(parts) > max(1, len(names)):
            raise ValueError(f"backward gives {len(parts)} gradients of the inputs, expected {len(names)}")
        return dict(zip(names.values(), parts))

    def upstream(self, outputs: Sequence[np.ndarray], dtype: str) -> list[np.ndarray]:
        """Random gradients of all outputs, also past a sequence's end, where they must have no effect."""
        rng = self.draws("upstream")
        draws = [np.asarray(rng.standard_normal(out.shape)).astype(self.dtype).astype(dtype) for out in outputs]
        if self.upstream_only == "outputs":
            for draw in draws[1:]:
                draw[...] = 0
        if self.upstream_only == "last step":
            draws[0][:-1] = 0
        if self.upstream_only == "no cell":
            for draw in draws[2:]:
                draw[...] = 0
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

        sizes, stayed_real = [0.0], np.zeros(0, bool)

        def slope(dtype: str, step: complex) -> Any:
            nonlocal stayed_real
            target, arrays = self.start(dtype)
            outputs, _ = self.forward(target, arrays)
            upstream = self.upstream(outputs, dtype)
            rng = self.draws("slope")
            for array in arrays.values():
                size = np.abs(array)  # relative steps stay where forward is defined, such as above 0
                size = np.where(size == 0, size.max(initial=0.0) or 1.0, size)
                array += step * size * rng.standard_normal(array.shape)
            shifted, _ = self.forward(target, arrays)
            sizes.append(sum(float(np.abs(output * up).sum()) for output, up in zip(outputs, upstream)))
            stayed_real = np.array([output.dtype.kind != "c" for output in shifted])
            return np.array([((a - b) * up).sum() for a, b, up in zip(shifted, outputs, upstream)])

        real = (slope("float64", 1e-6) - slope("float64", -1e-6)) / 2e-6
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                imaginary = slope("complex128", 1j * STEP).imag / STEP
        except Exception:  # whatever forward says to complex numbers, it has just taken real ones
            return False
        if real[stayed_real].any():  # it drops imaginary parts, however little that shows beside a large constant
            return False
        slack = 1e-4 * float(np.abs(real).max()) + 1e-8 * max(sizes)  # differences have rounding errors of 1e-10
        return bool(np.abs(imaginary - real).max() <= slack)

    def compare(self, method: str, tolerance: float) -> Comparison:
        """Run backward twice, and compare its gradients with those of the forward pass."""
        with np.errstate(under="ignore"):
            target, arrays = self.start(self.dtype)
            whole = self.whole()
            fixed = dict(whole)

            def watched() -> dict[str, np.ndarray]:
                return {**arrays, **(target.params if self.is_layer else {}), **fixed}

            before = copies_of(watched())
            outputs, handle = self.forward(target, arrays, whole)
            for name in changed(watched(), before):
                put_back(watched(), before)
                return Comparison(cause="changed by forward", detail=name)
            first = copies_of(dict(enumerate(outputs)))
            again, _ = self.forward(target, arrays, whole)
            if changed(dict(enumerate(again)), first):
                raise ValueError(
                    "forward gives another result each time: it is random (dropout must keep its masks while frozen), "
                    "or it starts from what its last call has left"
                )
            outputs, handle = self.forward(target, arrays, whole)
            upstream = self.upstream(outputs, self.dtype)
            fixed |= {f"the gradient of output {k}": array for k, array in enumerate(upstream)}
            fixed |= {f"output {k}": output for k, output in enumerate(outputs)}
            before = copies_of(watched())
            given = self.backward(target, handle, upstream)
            found = Comparison(dtypes={name: array.dtype for name, array in given.items()})
            analytic = copies_of(given)
            for name, array in arrays.items():
                if name not in analytic:
                    raise ValueError(f"backward gives no gradient of {name}, expected one of shape {array.shape}")
                if analytic[name].shape != array.shape:
                    raise ValueError(
                        f"the gradient of {name} has shape {analytic[name].shape}, expected {array.shape} as {name}"
                    )
            for name in changed(watched(), before):
                found.cause, found.detail = "changed arguments", name
                put_back(watched(), before)
                break
            else:  # what lies in an array that is as it was has not been overwritten
                kept = list(watched().values())
                found.shared = sharing(
                    {
                        name: array
                        for name, array in given.items()
                        if not any(np.may_share_memory(array, other) for other in kept)
                    }
                )
            if not found.cause:
                found.cause, found.detail = self._second(target, arrays, handle, upstream, given, analytic)
            if not found.cause and self.lengths is not None and not self._ignores_padding(outputs, analytic):
                found.cause = "lengths"
            self._differentiate(found, analytic, method, tolerance)
            if not found.cause and changed(dict(enumerate(self.forward(target, arrays, whole)[0])), first):
                raise ValueError(
                    "forward gives another result than when the check began: it depends on something besides its "
                    "arguments, which changes from call to call"
                )
        return found

    def _second(
        self,
        target: Any,
        arrays: dict[str, np.ndarray],
        handle: Any,
        upstream: list[np.ndarray],
        given: dict[str, np.ndarray],
        analytic: dict[str, np.ndarray],
    ) -> tuple[str, str]:
        """The cause, if a second backward gives other gradients, or spoils those of the first."""
        repeated = copies_of(self.backward(target, handle, upstream))
        own = set(given) - set(target.grads if self.is_layer else ())  # `grads` may be filled anew each time
        if differing := changed(repeated, analytic):
            if all(np.allclose(repeated[name], 2 * analytic[name], rtol=1e-9, atol=0) for name in differing):
                return "gradients add up", ", ".join(differing)
            _, handle = self.forward(target, arrays)
            anew = changed(copies_of(self.backward(target, handle, upstream)), analytic)
            return ("not repeatable" if anew else "second backward"), ""
        self.backward(target, handle, [-2 * array for array in upstream])
        for name in sorted(own):
            if changed({name: given[name]}, analytic):
                return "reused buffer", name
        return "", ""

    def _differentiate(self, found: Comparison, analytic: dict[str, np.ndarray], method: str, tolerance: float) -> None:
        """Fill in the numeric gradients, and the rows."""
        wide = "complex128" if method == "complex" else "float64"
        target, arrays = self.start(wide)
        outputs, _ = self.forward(target, arrays)
        weights = self.upstream(outputs, wide)

        def loss() -> Any:
            return sum((output * weight).sum() for output, weight in zip(self.forward(target, arrays)[0], weights))

        whole = sum(float(np.abs(output * weight).sum()) for output, weight in zip(outputs, weights))
        rounding = max(500 * float(np.finfo(self.dtype).eps), 1e-9 if method == "central" else 0.0)
        rng = self.draws("places")
        for name, array in arrays.items():
            gradient = analytic[name]
            if not array.size:
                continue
            scale = whole / (float(np.abs(array).max()) or 1.0)  # what a gradient would be that all of the loss is of
            places = self._places(name, array.shape, rng)
            right = derivatives(loss, array, places, method)
            if not np.isfinite(right).all():
                raise ValueError(f"the derivative of forward by {name} is not finite for these inputs")
            at = gradient.reshape(-1)[places].astype(float)
            if 0 < np.abs(right).max() <= rounding * scale:
                nearby = self._derivatives_nearby(loss, arrays, array, places, method)
                if np.abs(nearby - right).max() > 0.1 * np.abs(right).max():  # the rounding errors of a gradient of 0
                    right = np.zeros_like(right)
            found.numeric[name], found.analytic[name] = right, at
            found.rows += self._rows(name, gradient.shape, places, at, right, tolerance, scale)
            if method == "central" and not found.rows[-1].ok:
                found.kinks[name] = kinks(loss, name, array, places, at)
            tested = bool(right.any())
            if array.size > len(places):
                least = 0.0 if tested else rounding * scale * math.sqrt(array.size)
                row = along_direction(loss, name, array, gradient, method, tolerance, rng, least)
                tested |= row.size > least
                found.rows.append(row)
            if not tested:
                found.untested.append(name)

    def _places(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Where an array is looked at: everywhere, or at places drawn at random, some of every gate."""
        everywhere = np.arange(math.prod(shape))
        if len(everywhere) <= self.max_entries:
            return everywhere
        blocks = [np.flatnonzero(chosen) for _, chosen in self.gate_places(name, shape, everywhere)] or [everywhere]
        each = max(1, self.max_entries // len(blocks))
        return np.sort(np.concatenate([rng.choice(block, min(each, len(block)), replace=False) for block in blocks]))

    def _derivatives_nearby(
        self,
        loss: Callable[[], Any],
        arrays: dict[str, np.ndarray],
        array: np.ndarray,
        places: np.ndarray,
        method: str,
    ) -> np.ndarray:
        """The same derivatives at a point so near that they are the same, but for rounding errors."""
        before, rng = copies_of(arrays), self.draws("nearby")
        for each in arrays.values():
            each *= 1 + 1e-9 * rng.standard_normal(each.shape)
        found = derivatives(loss, array, places, method)
        put_back(arrays, before)
        return found

    def _ignores_padding(self, outputs: list[np.ndarray], gradients: dict[str, np.ndarray]) -> bool:
        """Whether outputs and gradients stay as they are with garbage past the sequences' ends."""
        rng = self.draws("padding")
        past = np.arange(len(self.inputs[0]))[:, None] >= self.lengths

        def garbled(array: np.ndarray) -> np.ndarray:
            if array.shape[:2] != past.shape:
                return array
            result, shape = array.copy(), (int(past.sum()), *array.shape[2:])
            ids = array.dtype.kind in "iub"
            result[past] = rng.choice(array.ravel(), shape) if ids else 100.0 * rng.standard_normal(shape)
            return result

        other = replace(self, inputs=tuple(garbled(given) for given in self.inputs))
        target, arrays = other.start(self.dtype)
        found, handle = other.forward(target, arrays)
        upstream = self.upstream(found, self.dtype)
        if found[0].ndim == 3:
            upstream[0] = garbled(upstream[0])
        repeated = other.backward(target, handle, upstream)
        pairs = [*zip(outputs, found), *((gradients[name], repeated[name]) for name in gradients)]
        slack = 1e3 * float(np.finfo(self.dtype).eps)
        return all(np.abs(a - b).max(initial=0.0) <= slack * np.abs(a).max(initial=1e-300) for a, b in pairs)

    def _rows(
        self,
        name: str,
        shape: tuple[int, ...],
        places: np.ndarray,
        found: np.ndarray,
        right: np.ndarray,
        tolerance: float,
        scale: float,
    ) -> list[Row]:
        size = float(np.abs(right).max(initial=0.0))

        def row(part: str, chosen: Any, part_shape: tuple[int, ...]) -> Row:
            difference = np.abs(found - right)[chosen].max(initial=0.0)
            if not np.isfinite(found[chosen]).all():
                difference = math.inf
            error = float(difference / (size or scale or 1.0))
            largest = float(np.abs(right[chosen]).max(initial=0.0))
            counted = np.abs(right[chosen]) > 1e-9 * (size or 1.0)
            ratios = found[chosen][counted] / right[chosen][counted]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)) if len(ratios) else [math.nan] * 3
            row = Row(name, part, part_shape, largest, error, error <= tolerance)
            row.ratio, row.spread = float(middle), float(high - low)
            return row

        rows = [row("", slice(None), shape)]
        for letter, chosen in self.gate_places(name, shape, places):
            if chosen.any():  # a block without a checked entry gets no row: it would claim what nobody looked at
                rows.append(row(f"gate {letter}", chosen, (*shape[:-1], shape[-1] // len(self.gates(name)))))
        if name == "x" and self.recurrent and shape[0] > 1:
            step = places // math.prod(shape[1:])
            rows += [row(f"step {t + 1}", step == t, shape[1:]) for t in range(shape[0]) if (step == t).any()]
        return rows

    def gates(self, name: str) -> str:
        """The letters of the gates that a parameter is made of; "" if it has none."""
        layer, key = self.target, name
        if "." in name:
            owner, _, key = name.rpartition(".")
            layers = getattr(self.target, "layers", None)
            layer = layers[int(owner)] if owner.isdigit() and layers is not None else getattr(self.target, owner, None)
        letters = getattr(layer, "gates", "")
        if not isinstance(letters, str):  # a learner's own, such as the stored activations
            return ""
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


def kinks(loss: Callable[[], Any], name: str, array: np.ndarray, places: np.ndarray, found: np.ndarray) -> str:
    """The first place where the slopes to both sides differ and the gradient is neither's mean; "" if there is none."""
    flat, here = array.reshape(-1), loss()
    for place, gradient in zip(places, found):
        kept, slopes = flat[place].copy(), []
        for signed in (1e-6, -1e-6, 1e-5, -1e-5):
            flat[place] = kept + signed
            slopes.append((loss() - here) / signed)
        flat[place] = kept
        low, high = min(slopes[:2]), max(slopes[:2])
        slack = 1e-4 * max(abs(low), abs(high))
        lasting = abs(slopes[2] - slopes[3]) > (high - low) / 2  # the rounding errors of slopes fall with the step
        if high - low > 100 * slack and lasting and low - slack <= gradient <= high + slack:
            return f"{name}[{', '.join(map(str, np.unravel_index(place, array.shape)))}]"
    return ""


def steadiest(estimates: list[Any]) -> Any:
    """Of a sweep of central differences, the one that changed least from the step size before.

    There neither the curvature nor the rounding counts; the gradient under test has no say in the choice.
    """
    changes = [np.abs(b - a).max(initial=0.0) for a, b in zip(estimates, estimates[1:])]
    return estimates[int(np.argmin(changes)) + 1]


def along_direction(
    loss: Callable[[], Any],
    name: str,
    array: np.ndarray,
    gradient: np.ndarray,
    method: str,
    tolerance: float,
    rng: Any,
    least: float = 0.0,
) -> Row:
    """The derivative along one random direction, in which every entry takes part; below `least` all is rounding."""
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
    error = abs(found - right) / max(abs(right), scale) if max(abs(right), scale) > least else 0.0
    return Row(name, "random direction", array.shape, abs(right), error, bool(error <= 10 * tolerance))


def make_symmetric(U: np.ndarray) -> None:
    """Make each gate's square block of U (H, G*H) symmetric, in place."""
    H = len(U)
    for first in range(0, U.shape[1], H):
        block = U[:, first : first + H]
        block[...] = (block + block.T) / 2


def owners(target: Any, attribute: str = "params") -> list[Any]:
    """The objects within a target that hold such an attribute themselves: its layers."""
    return [found for found in walk(target) if attribute in getattr(found, "__dict__", {})]


def swap(target: Any, arrays: Mapping[int, np.ndarray]) -> None:
    """Put arrays in the place of others, given by identity, wherever the target holds them: params["W"] and self.W."""
    for found in walk(target):
        held: Any = found if isinstance(found, (dict, list)) else getattr(found, "__dict__", {})
        for key, value in list(held.items() if isinstance(held, dict) else enumerate(held)):
            if isinstance(value, np.ndarray) and id(value) in arrays:
                held[key] = arrays[id(value)]


def held_arrays(target: Any) -> dict[str, np.ndarray]:
    """The arrays that a target holds, by where they are: self.W, params['W']."""
    found: dict[str, np.ndarray] = {}
    for holder in walk(target):
        if isinstance(holder, dict):
            items = [(f"[{key!r}]", value) for key, value in holder.items()]
        elif isinstance(holder, (list, tuple)):
            items = [(f"[{k}]", value) for k, value in enumerate(holder)]
        else:
            items = [(f"self.{key}", value) for key, value in getattr(holder, "__dict__", {}).items()]
        for place, value in items:
            if isinstance(value, np.ndarray):
                place = place if place not in found else f"{place} of {type(holder).__name__} {len(found)}"
                found[place] = value
    return found


def together(
    arrays: list[np.ndarray], held: Mapping[str, np.ndarray], convert: Callable[[Any], np.ndarray]
) -> dict[int, Any]:
    """Converted copies of arrays by identity; arrays that lie in one memory, and what else is held there, still do."""

    def root(array: np.ndarray) -> np.ndarray:
        while isinstance(array.base, np.ndarray):
            array = array.base
        return array

    found, roots = {}, {id(root(array)): root(array) for array in arrays}
    members = {id(array): array for array in [*arrays, *held.values()] if id(root(array)) in roots}
    for key, whole in roots.items():
        group = [array for array in members.values() if id(root(array)) == key]
        one = len(group) > 1 and whole.flags.c_contiguous and all(array.dtype == whole.dtype for array in group)
        memory = convert(whole).reshape(-1) if one else None
        for array in group:
            if memory is None:
                found[id(array)] = convert(array)
                continue
            first = (array.ctypes.data - whole.ctypes.data) // whole.itemsize
            strides = [step // whole.itemsize * memory.itemsize for step in array.strides]
            found[id(array)] = np.lib.stride_tricks.as_strided(memory[first:], array.shape, strides)
    return found


def walk(target: Any) -> Iterator[Any]:
    """All objects, lists and dicts within a target, itself first."""
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
            stack += vars(current).values()
        else:
            continue
        yield current


def is_whole(array: np.ndarray) -> bool:
    """Whether it holds integers or booleans, which have no gradient."""
    return array.dtype.kind in "iub"


def as_output(k: int, value: Any) -> np.ndarray:
    return as_array(f"output {k} of the forward pass", value, "fiubc")


def copies_of(arrays: Mapping[Any, np.ndarray]) -> dict[Any, np.ndarray]:
    return {name: np.array(array) for name, array in arrays.items()}


def changed(arrays: Mapping[Any, np.ndarray], before: Mapping[Any, np.ndarray]) -> list[Any]:
    """The names of those that are not what they were."""
    return [name for name, array in arrays.items() if not np.array_equal(array, before[name], equal_nan=True)]


def put_back(arrays: Mapping[Any, np.ndarray], before: Mapping[Any, np.ndarray]) -> None:
    for name in changed(arrays, before):
        arrays[name].flags.writeable = True
        arrays[name][...] = before[name]


def sharing(arrays: Mapping[str, np.ndarray]) -> str:
    """The names of two arrays that lie in the same memory; "" if there are none."""
    pairs = itertools.combinations(arrays, 2)
    return next((f"{a} and {b}" for a, b in pairs if np.may_share_memory(arrays[a], arrays[b])), "")


def parts_of(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (tuple, list)) else [value]


def flatten(value: Any) -> Iterator[Array]:
    for part in parts_of(value):
        if isinstance(part, (tuple, list)):
            yield from flatten(part)
        else:
            yield part
