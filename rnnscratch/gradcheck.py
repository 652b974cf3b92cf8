"""Is a hand-written gradient right, and if not, what is wrong with it?

The complex step, Im f(x + ih) / h with h = 1e-200, has no rounding error to trade against: a right gradient agrees to about
1e-15 (Squire & Trapp 1998). Where a function is not analytic, central differences over a sweep of step sizes take its place.

A failure is diagnosed in two ways. Some errors show in the numbers themselves: a constant ratio, a sign, a transpose, zeros,
two gates exchanged. For the others the checker asks what must be taken away for the gradients to be right - dropout, lengths,
repeated ids, the initial state, all steps but one, the asymmetry of U - and what is left names the cause.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np

from .backend import Array, get_array_module

STEP = 1e-200
SWEEP = tuple(10.0**-k for k in range(2, 10))
TOLERANCES = {"complex step": 1e-12, "central differences": 1e-6}

CAUSES = {
    "changed arguments": "{detail} was changed by backward; it must be left as it came",
    "second backward": "a second backward gives other gradients: the first one changed what forward had stored",
    "not finite": "the gradient is not finite",
    "zero": "the gradient is zero where it should not be: a dead path, nothing is propagated to it",
    "sign": "the sign is wrong: the gradient is -1 times the right one",
    "scale": "the gradient is {detail} times the right one: a forgotten factor, or a mean where a sum belongs",
    "transpose": "the gradient equals the transpose of the right one",
    "gates exchanged": "the gradients of the gates {detail} are exchanged",
    "one gate": "only the gate {detail} is wrong",
    "dropout": "right without dropout: the mask of the forward pass is not applied on the way back",
    "lengths": "right without lengths: padding takes part in the gradient, or the sequences' ends are not where they are",
    "repeated ids": "right when no id is repeated: contributions of repeated ids overwrite each other",
    "initial state": "right when the initial state is zero: its term is missing, in the product with U or in what gates it",
    "final state": "right when no gradient comes from the final state: that one is ignored or put in the wrong place",
    "no gradient through time": "right at the last step only; equal to the gradient with the chain cut at every step",
    "upstream overwritten": "equal to the gradient when only the last output counts: what comes from a step's own output "
    "is overwritten, not added to what comes from later steps",
    "transposed recurrence": "right when U is symmetric: U is multiplied where its transpose belongs, or the other way round",
    "last step only": "equal to the last step's contribution alone: the sum over the steps is missing",
    "recursion": "right for one step, wrong for more: what is handed from step to step is incomplete",
    "one example": "right for a batch of one: the sequences of a batch are mixed up or averaged",
    "slope": "wrong even for one step: a local derivative is wrong{detail}",
    "wrong": "the gradient is wrong, without a pattern that this checker knows",
}


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
class GradientReport:
    """The outcome of a check; prints as a table.

    `ok`, `max_error` (relative), `cause` (a key of `CAUSES`, "" if ok), `diagnosis` (sentences), `rows`, `method`.
    """

    ok: bool
    max_error: float
    method: str
    tolerance: float
    rows: list[Row]
    cause: str = ""
    diagnosis: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        head = ("gradient of", "part", "shape", "largest", "relative error", "", "cause")
        lines = [head, *(self._cells(row) for row in self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        verdict = "gradients are right" if self.ok else "gradients are WRONG"
        summary = f"{verdict}: largest relative error {self.max_error:.1e} ({self.method}, tolerance {self.tolerance:.0e})"
        return "\n".join([*text, "", summary, *self.diagnosis])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in self._cells(row))}</tr>" for row in self.rows)
        summary = escape(str(self)).rpartition("\n\n")[2].replace("\n", "<br>")
        heads = "".join(f"<th>{name}</th>" for name in ("gradient of", "part", "shape", "largest", "error", "", "cause"))
        return f"<table><tr>{heads}</tr>{rows}</table><p>{summary}</p>"

    @staticmethod
    def _cells(row: Row) -> tuple[str, ...]:
        shape = "×".join(map(str, row.shape)) or "number"
        return row.name, row.part, shape, f"{row.size:.2e}", f"{row.error:.1e}", "ok" if row.ok else "WRONG", row.cause


def check_gradients(
    target: Any,
    *inputs: Any,
    lengths: Any = None,
    state: Any = None,
    train: bool = False,
    method: str | None = None,
    tolerance: float | None = None,
    max_entries: int = 150,
    seed: int = 0,
) -> GradientReport:
    """Compare a target's backward pass with the derivative of its forward pass, for random gradients of every output.

    target   a layer or model (`forward`, `backward`, `params`, `grads`), of which a double-precision copy is checked, or a
             function f(*inputs) that returns (output, pullback), where pullback(gradient of the output) returns the
             gradients of the inputs, a tuple if there are several
    inputs   arrays; integer ones (token ids) have no gradient
    lengths, state   for recurrent targets; `train=True` checks with dropout, its masks held fixed
    method   "complex" or "central"; by default the complex step wherever the target is analytic
    max_entries   arrays with more entries are checked at so many places, drawn at random, and along one random direction

    Raises ValueError or TypeError for inputs that are missing, not finite or of the wrong kind.

    >>> import rnnscratch as rs
    >>> report = check_gradients(rs.GRU(3, 2, seed=0), np.random.default_rng(0).standard_normal((4, 2, 3)))
    >>> report.ok, report.max_error < 1e-12
    (True, True)
    """
    if method not in (None, "complex", "central"):
        raise ValueError(f"method is {method!r}, expected 'complex', 'central' or None")
    _check_inputs(inputs)
    setup = _Setup(target, inputs, lengths, state, train, seed=seed, max_entries=max_entries)
    names = {"complex": "complex step", "central": "central differences"}
    if method is None:
        method = "complex" if setup.is_analytic() else "central"
    limit = TOLERANCES[names[method]] if tolerance is None else tolerance
    found = setup.compare(method, limit)
    report = GradientReport(
        ok=all(row.ok for row in found.rows) and not found.cause,
        max_error=max((row.error for row in found.rows), default=0.0),
        method=names[method],
        tolerance=limit,
        rows=found.rows,
    )
    if not report.ok:
        report.cause, report.diagnosis = _diagnose(setup, found, method, limit)
    return report


@dataclass
class _Comparison:
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
class _Setup:
    """A target with everything it is run on; `replace` gives the variations that the diagnosis tries."""

    target: Any
    inputs: tuple[Any, ...]
    lengths: Any
    state: Any
    train: bool
    seed: int
    max_entries: int
    symmetric: bool = False
    upstream_only: str = ""  # "outputs", "last": which of the gradients of the outputs are not zero

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
            for owner in _owners(target):
                for name in owner.params:
                    owner.params[name] = owner.params[name].astype(dtype)
                    owner.grads[name] = owner.grads[name].astype(dtype)
                    if self.symmetric and name.startswith("U_"):
                        _make_symmetric(owner.params[name])
            for k, part in enumerate(_parts(self.state)):
                arrays[f"state {k}" if isinstance(self.state, (tuple, list)) else "state"] = np.array(part, dtype)
            arrays.update(target.params)
        return target, arrays

    def forward(self, target: Any, arrays: dict[str, np.ndarray]) -> tuple[list[np.ndarray], Any]:
        """The outputs as a flat list, and what backward needs."""
        inputs, values = [], iter([a for name, a in arrays.items() if name == "x" or name.startswith("input ")])
        for given in self.inputs:
            inputs.append(np.asarray(given) if np.asarray(given).dtype.kind in "iub" else next(values))
        if not self.is_layer:
            output, pullback = target(*inputs)
            return [np.asarray(part) for part in _parts(output)], pullback
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
        return list(_flatten(outputs)), outputs

    def backward(self, target: Any, outputs: Any, upstream: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The analytic gradient of every array, by name."""
        if not self.is_layer:
            parts = _parts(outputs(upstream[0] if len(upstream) == 1 else tuple(upstream)))
            floating = [k for k, given in enumerate(self.inputs) if np.asarray(given).dtype.kind not in "iub"]
            names = ["x" if len(self.inputs) == 1 else f"input {k}" for k in floating]
            if len(parts) == len(self.inputs):
                parts = [parts[k] for k in floating]
            return {name: np.array(part) for name, part in zip(names, parts)}
        gradients: dict[str, np.ndarray] = {}
        if isinstance(outputs, tuple):
            dstate: Any = tuple(upstream[1:]) if len(upstream) > 2 else upstream[1]
            dx, dinitial = target.backward(upstream[0], dstate)
            for k, part in enumerate(_parts(dinitial) if self.state is not None else []):
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
        if self.upstream_only:
            for draw in draws[1:]:
                draw[...] = 0
        if self.upstream_only == "last" and draws[0].ndim:
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

    def compare(self, method: str, tolerance: float) -> _Comparison:
        """Run backward twice, and compare its gradients with those of the forward pass."""
        dtype = "complex128" if method == "complex" else "float64"
        with np.errstate(under="ignore"):
            target, arrays = self.prepare(dtype)
            if self.train:
                self.forward(target, arrays)
                for owner in _owners(target, "frozen"):
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
                    raise ValueError(f"the gradient of {name} has shape {gradient.shape}, expected {array.shape} as {name}")
                places = np.arange(array.size)
                if array.size > self.max_entries:
                    places = np.sort(rng.choice(array.size, self.max_entries, replace=False))
                numeric[name] = _derivatives(loss, array, places, method, gradient)
                at[name] = gradient.real.reshape(-1)[places].astype(float)
                rows += self._rows(name, gradient.shape, places, at[name], numeric[name], tolerance)
                if array.size > self.max_entries:
                    rows.append(_along_direction(loss, name, array, gradient, method, tolerance, rng))
        return _Comparison(at, numeric, rows, cause, detail)

    @staticmethod
    def _named(upstream: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
        return [(f"the gradient of output {k}", array) for k, array in enumerate(upstream)]

    def _rows(
        self, name: str, shape: tuple[int, ...], places: np.ndarray, found: np.ndarray, right: np.ndarray, tolerance: float
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


def _derivatives(
    loss: Callable[[], Any], array: np.ndarray, places: np.ndarray, method: str, analytic: np.ndarray
) -> np.ndarray:
    """d loss / d array at these places; of a sweep of central differences, the one that comes closest for the whole array."""
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


def _along_direction(
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


def _diagnose(setup: _Setup, found: _Comparison, method: str, tolerance: float) -> tuple[str, list[str]]:
    """The main cause, and sentences about it and about each array that fails."""
    loose = max(tolerance * 1e3, 1e-8)
    patterns = {name: _pattern(setup, found, name, loose) for name in found.failing}
    for row in found.rows:
        if not row.ok and not row.part:
            row.cause = patterns[row.name][0]
    if found.cause:
        cause, detail = found.cause, found.detail
    else:
        known = {pattern for pattern in patterns.values() if pattern[0] != "wrong"}
        if len(known) == 1 and all(pattern in known for pattern in patterns.values()):
            ((cause, detail),) = known
        else:
            cause, detail = _counterfactual(setup, found, method, tolerance, loose)
            if cause == "wrong" and known:
                cause, detail = sorted(known)[0]
    sentences = [CAUSES[cause].format(detail=detail)]
    if found.failing:
        wrong = ", ".join(found.failing)
        right = ", ".join(name for name in found.analytic if name not in found.failing)
        sentences.append(f"wrong: {wrong}" + (f"; right: {right}" if right else ""))
    return cause, sentences


def _pattern(setup: _Setup, found: _Comparison, name: str, loose: float) -> tuple[str, str]:
    """What the numbers of one array show by themselves."""
    a, n = found.analytic[name], found.numeric[name]
    row = next(row for row in found.rows if row.name == name)
    size = np.abs(n).max(initial=0.0)

    def near(first: np.ndarray, second: np.ndarray) -> bool:
        return bool(np.abs(first - second).max(initial=0.0) <= loose * size)

    if not np.isfinite(a).all():
        return "not finite", ""
    if size == 0.0:
        return "wrong", ""
    if not a.any():
        return "zero", ""
    ratio = float(a @ n / (n @ n))
    if near(a, ratio * n):
        return ("sign", "") if abs(ratio + 1) < loose else ("scale", _name_ratio(setup, ratio))
    if len(row.shape) == 2 and row.shape[0] == row.shape[1] and a.size == math.prod(row.shape):
        if near(a.reshape(row.shape), n.reshape(row.shape).T):
            return "transpose", ""
    places = np.arange(a.size) if a.size == math.prod(row.shape) else None
    if places is not None:
        blocks = list(setup.gate_places(name, row.shape, places))
        wrong = [letter for letter, chosen in blocks if not near(a[chosen], n[chosen])]
        where = dict(blocks)
        if len(wrong) == 2 and all(near(a[where[p]], n[where[q]]) for p, q in (wrong, wrong[::-1])):
            return "gates exchanged", f"{wrong[0]} and {wrong[1]}"
        if len(wrong) == 1 and len(blocks) > 1:
            return "one gate", wrong[0]
    return "wrong", ""


def _name_ratio(setup: _Setup, ratio: float) -> str:
    """A ratio as a number, and as what it may come from: the sizes of the batch and of the sequence."""
    shape = np.shape(setup.inputs[0])
    sizes = dict(zip(("T", "B"), shape)) if setup.recurrent and len(shape) == 3 else {"B": shape[0]} if shape else {}
    for letter, size in sizes.items():
        for text, value in ((letter, size), (f"1/{letter}", 1 / size)):
            if size > 1 and abs(ratio - value) < 1e-6 * abs(value):
                return f"{ratio:.6g} ({text})"
    return f"{ratio:.6g}"


def _counterfactual(
    setup: _Setup, found: _Comparison, method: str, tolerance: float, loose: float
) -> tuple[str, str]:
    """What must be taken away for the gradients to be right."""

    def right(**changes: Any) -> bool:
        result = replace(setup, **changes).compare(method, tolerance)
        return not result.cause and all(row.ok for row in result.rows)

    shape = np.shape(setup.inputs[0])
    integers = np.asarray(setup.inputs[0]).dtype.kind in "iub"
    if setup.train and right(train=False):
        return "dropout", ""
    if setup.lengths is not None and right(lengths=None):
        return "lengths", ""
    if integers and (distinct := _distinct(setup)) is not None and right(inputs=distinct):
        return "repeated ids", ""
    if setup.state is not None:
        zero = [np.zeros_like(part) for part in _parts(setup.state)]
        if right(state=tuple(zero) if isinstance(setup.state, (tuple, list)) else zero[0]):
            return "initial state", ""
    if setup.recurrent and right(upstream_only="outputs"):
        return "final state", ""
    if not (setup.recurrent and len(shape) == 3):
        return "wrong", ""
    one_step = {"inputs": (np.asarray(setup.inputs[0])[:1],), "lengths": None}
    if shape[0] > 1 and right(**one_step):
        whole = replace(setup, lengths=None)
        reference = whole.compare(method, tolerance)
        if _agree(reference.analytic, _cut_chain(whole, method), loose):
            return "no gradient through time", ""
        if _agree(reference.analytic, replace(whole, upstream_only="last").compare(method, tolerance).numeric, loose):
            return "upstream overwritten", ""
        if right(symmetric=True):
            return "transposed recurrence", ""
        return "recursion", ""
    if shape[0] > 1 and all(name.startswith("b") for name in found.failing):
        if _agree(found.analytic, _cut_chain(setup, method, last_only=True), loose, found.failing):
            return "last step only", ""
    if shape[1] > 1:
        state = [np.asarray(part)[:, :1] for part in _parts(setup.state)]
        smaller = tuple(state) if isinstance(setup.state, (tuple, list)) else state[0] if state else None
        if right(inputs=(np.asarray(setup.inputs[0])[:, :1],), state=smaller, lengths=None):
            return "one example", ""
    result = replace(setup, **one_step).compare(method, tolerance)
    wrong = [row.part for row in result.rows if row.part.startswith("gate") and not row.ok]
    letters = sorted({part.removeprefix("gate ") for part in wrong})
    return "slope", f", in the gates {', '.join(letters)}" if letters else ""


def _cut_chain(setup: _Setup, method: str, last_only: bool = False) -> dict[str, np.ndarray]:
    """The gradients when each step takes the state before it as given: the sum over steps of one-step gradients."""
    dtype = "complex128" if method == "complex" else "float64"
    target, arrays = setup.prepare(dtype)
    outputs, _ = setup.forward(target, arrays)
    upstream = setup.upstream(outputs, dtype)
    x = np.asarray(setup.inputs[0])
    total: dict[str, np.ndarray] = {}
    state = setup.state
    for t in range(len(x)):
        step = replace(setup, inputs=(x[t : t + 1],), state=state, lengths=None)
        target, arrays = step.prepare(dtype)
        weights = [upstream[0][t : t + 1], *(d if t == len(x) - 1 else np.zeros_like(d) for d in upstream[1:])]

        def loss(step: _Setup = step, target: Any = target, arrays: Any = arrays, weights: Any = weights) -> Any:
            found, _ = step.forward(target, arrays)
            return sum((output * weight).sum() for output, weight in zip(found, weights))

        for name in target.params:
            array = arrays[name]
            gradient = _derivatives(loss, array, np.arange(array.size), method, array)
            if not last_only or t == len(x) - 1:
                total[name] = total.get(name, 0) + gradient
        _, (_, carried) = step.forward(target, arrays)
        state = tuple(part.real for part in carried) if isinstance(carried, tuple) else carried.real
    return total


def _agree(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], loose: float, names: Sequence[str] | None = None
) -> bool:
    """Whether the parameters' gradients are the same."""
    common = [name for name in (names or second) if name in first and name in second and name[0] in "WUb"]
    return bool(common) and all(
        first[name].shape == second[name].shape
        and np.abs(first[name] - second[name]).max() <= loose * max(np.abs(second[name]).max(), 1e-300)
        for name in common
    )


def _distinct(setup: _Setup) -> tuple[Any, ...] | None:
    """The inputs with ids of which none is repeated; None if there are not enough."""
    ids = np.asarray(setup.inputs[0])
    table = next((a for name, a in setup.target.params.items() if name.rpartition(".")[2] == "E"), None)
    if table is None or ids.size > len(table):
        return None
    return (np.random.default_rng(setup.seed).permutation(len(table))[: ids.size].reshape(ids.shape),)


def _make_symmetric(U: np.ndarray) -> None:
    """Make each gate's square block of U (H, G*H) symmetric, in place."""
    H = len(U)
    for first in range(0, U.shape[1], H):
        block = U[:, first : first + H]
        block[...] = (block + block.T) / 2


def _owners(target: Any, attribute: str = "params") -> Iterator[Any]:
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


def _parts(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (tuple, list)) else [value]


def _flatten(value: Any) -> Iterator[Array]:
    for part in _parts(value):
        if isinstance(part, (tuple, list)):
            yield from _flatten(part)
        else:
            yield part


def _check_inputs(inputs: tuple[Any, ...]) -> None:
    if not inputs:
        raise ValueError("inputs is empty, expected the arguments of the forward pass")
    for k, given in enumerate(inputs):
        if get_array_module(given) is not np:
            raise TypeError(f"inputs[{k}] is a device array; check on the host, the code is the same")
        array = np.asarray(given)
        if array.dtype.kind not in "fciub":
            raise TypeError(f"inputs[{k}] has dtype {array.dtype}, expected numbers")
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"inputs[{k}] holds NaN or infinite numbers, for which no gradient can be checked")
