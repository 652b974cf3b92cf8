"""Is a hand-written gradient right, and if not, what is wrong with it?

The complex step, Im f(x + ih) / h with h = 1e-200, has no rounding error to trade against: a right gradient agrees to
about 1e-15 (Squire & Trapp 1998). Where a function is not analytic, central differences over a sweep of step sizes
take its place. A failure is diagnosed: `CAUSES` lists what the checker can tell.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..backend import get_array_module
from ..checks import as_array, as_column, check_choice, check_flags, check_number, check_sizes
from .compare import Row, Setup
from .diagnosis import CAUSES, diagnose
from .own import adapted

__all__ = ["CAUSES", "GradientReport", "Row", "check_gradients"]

TOLERANCES = {"complex step": 1e-12, "central differences": 1e-6}


HEADS = ("gradient of", "part", "shape", "largest", "relative error", "", "ratio", "cause")


@dataclass
class GradientReport:
    """The outcome of a check; prints as a table, in which the parts of arrays that are right are folded away.

    `ok`, `max_error` (relative; infinite where nothing could be compared), `cause` (a key of `CAUSES`, "" if ok),
    `diagnosis` (sentences), `rows`, `method`; `analytic` and `numeric` hold the gradients by name, what backward gave
    and what is right, of the array's shape, or, where only some places were looked at, these in a row. The table's
    ratio is that of the former over the latter, the median and the distance of its quartiles, of what is wrong.
    """

    ok: bool
    max_error: float
    method: str
    tolerance: float
    rows: list[Row]
    cause: str = ""
    diagnosis: list[str] = field(default_factory=list)
    analytic: dict[str, np.ndarray] = field(default_factory=dict)
    numeric: dict[str, np.ndarray] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [HEADS, *self._lines()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(HEADS))]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        verdict = "gradients are right" if self.ok else "gradients are WRONG"
        summary = f"{verdict}: "
        if self.rows:
            summary += f"largest relative error {self.max_error:.1e} ({self.method}, tolerance {self.tolerance:.0e})"
        else:
            summary += "nothing could be compared"
        return "\n".join([*text, "", summary, *self.diagnosis])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in self._lines())
        summary = escape(str(self)).rpartition("\n\n")[2].replace("\n", "<br>")
        heads = "".join(f"<th>{name}</th>" for name in HEADS)
        return f"<table><tr>{heads}</tr>{rows}</table><p>{summary}</p>"

    def _lines(self) -> list[tuple[str, ...]]:
        """The cells of each line: all parts of an array that is wrong, and the number of those of one that is right."""
        found = []
        for name in dict.fromkeys(row.name for row in self.rows):
            rows = [row for row in self.rows if row.name == name]
            if all(row.ok for row in rows) and len(rows) > 1:
                folded = f"and {len(rows) - 1} part{'s' if len(rows) > 2 else ''}"
                found.append(self._cells(rows[0], folded, max(row.error for row in rows)))
            else:
                found += [self._cells(row, row.part, row.error) for row in rows]
        return found

    @staticmethod
    def _cells(row: Row, part: str, error: float) -> tuple[str, ...]:
        shape = "x".join(map(str, row.shape)) or "number"
        ratio = "" if row.ok or not math.isfinite(row.ratio) else f"{row.ratio:.3g} +- {row.spread:.1g}"
        verdict = "ok" if row.ok else "WRONG"
        return row.name, part, shape, f"{row.size:.2e}", f"{error:.1e}", verdict, ratio, row.cause


def check_gradients(
    target: Any,
    *inputs: Any,
    lengths: Any = None,
    state: Any = None,
    train: bool = False,
    method: str | None = None,
    dtype: str = "float64",
    tolerance: float | None = None,
    max_entries: int = 150,
    seed: int = 0,
) -> GradientReport:
    """Compare a target's backward pass with the derivative of its forward pass, for random gradients of every output.

    target       a layer or model (`forward`, `backward`, `params`, `grads`), of which a copy in double precision is
                 checked, or a function f(*inputs) that returns (output, pullback), where pullback(gradient of the
                 output, a tuple or list where the output is one) returns the gradients of the inputs, a tuple if there
                 are several. One's own code may also be an object with arrays and their gradients as attributes (self.W
                 and self.dW), a pair of functions (forward, backward), or a function that returns (loss, gradients);
                 gradients may be dicts, under the names of the arguments or with a "d" before them (own.py)
    inputs       arrays or what NumPy can turn into them; integer ones (token ids) have no gradient
    lengths      for recurrent targets, as in their forward pass; so is `state`, drawn at random if None
    train        True: with dropout, its masks held fixed
    method       "complex" or "central"; by default the complex step wherever the target is analytic
    dtype        of the backward pass; "float32" tests that of single precision against double
    tolerance    the largest relative error of a right gradient, default 1e-12, differences 1e-6, float32 1e-4
    max_entries  arrays with more entries are checked at so many places, drawn at random, at least one in each gate, and
                 along a random direction

    Raises ValueError or TypeError for inputs that are missing, not finite or of the wrong kind, and where there is
    nothing to compare: no floating array, or right gradients that are all zero, by which no backward can be judged.

    >>> import rnnscratch as rs
    >>> report = check_gradients(rs.GRU(3, 2, seed=0), np.random.default_rng(0).standard_normal((4, 2, 3)))
    >>> report.ok, report.max_error < 1e-12
    (True, True)
    """
    if method is not None:
        check_choice("method", method, ("complex", "central"))
    check_choice("dtype", dtype, ("float64", "float32"))
    if tolerance is not None:
        tolerance = check_number("tolerance", tolerance, above=0.0, below=1.0)
    check_sizes(max_entries=max_entries)
    check_flags(train=train)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed is {seed!r}, expected a whole number")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected at least 0")
    target, given = adapted(target, _as_inputs(inputs))
    _check_target(target, lengths, state)
    if lengths is not None:
        lengths = as_column("lengths", lengths, "iu").copy()
    setup = Setup(
        target,
        given,
        lengths,
        _as_state(state),
        train,
        seed=seed,
        max_entries=max_entries,
        dtype=dtype,
    )
    setup.check()
    names = {"complex": "complex step", "central": "central differences"}
    analytic = method != "central" and setup.is_analytic()
    if method == "complex" and not analytic:
        raise ValueError("method is 'complex', but target is not analytic: expected 'central' or None")
    method = "complex" if analytic else "central"
    limit = (1e-4 if dtype == "float32" else TOLERANCES[names[method]]) if tolerance is None else tolerance
    found = setup.compare(method, limit)
    report = GradientReport(
        ok=all(row.ok for row in found.rows) and not found.cause,
        max_error=max((row.error for row in found.rows), default=math.inf),
        method=names[method],
        tolerance=limit,
        rows=found.rows,
    )
    for name in found.numeric:
        shape = next(row.shape for row in found.rows if row.name == name)
        for kept, values in ((report.analytic, found.analytic[name]), (report.numeric, found.numeric[name])):
            kept[name] = values.reshape(shape) if values.size == math.prod(shape) else values
    if not report.ok:
        report.cause, report.diagnosis = diagnose(setup, found, method, limit)
    elif len(found.untested) == len(found.analytic):
        raise ValueError(
            f"there is nothing to compare: the right gradients of {', '.join(found.untested)} are all zero for these "
            "inputs, by which no backward can be judged; take others"
        )
    if found.untested:
        report.diagnosis.append(f"not tested, since zero for these inputs: {', '.join(found.untested)}")
    return report


def _check_target(target: Any, lengths: Any, state: Any) -> None:
    kind, is_layer = type(target).__name__, hasattr(target, "forward") and hasattr(target, "backward")
    if not is_layer and (hasattr(target, "forward") or not callable(target)):
        raise TypeError(f"target is {kind}, expected an object with forward and backward, or a function")
    for name in ("params", "grads") if is_layer else ():
        if not hasattr(target, name):
            raise TypeError(f"target is {kind}, which has no {name}: expected the parameters' arrays by name")
    accepted = inspect.signature(target.forward).parameters if is_layer else {}
    for name, given in (("lengths", lengths), ("state", state)):
        if given is not None and name not in accepted:
            raise TypeError(f"{name} is given, but the forward pass of {kind} takes none")
    for name, array in (target.params if is_layer else {}).items():
        if name in ("x", "state") or name.startswith(("input ", "state ")):
            raise ValueError(f"params holds {name!r}, which is the name of an argument here, expected another name")
        if get_array_module(array) is not np:
            raise TypeError(f"params[{name!r}] is a device array; check on the host, the code is the same")
        if as_array(f"params[{name!r}]", array, "fc").size and not np.isfinite(array).all():
            raise ValueError(f"params[{name!r}] holds NaN or infinite numbers, for which no gradient can be checked")


def _as_inputs(inputs: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    """The inputs as arrays of their own. Raises TypeError or ValueError."""
    if not inputs:
        raise ValueError("inputs is empty, expected the arguments of the forward pass")
    found = tuple(_own(f"inputs[{k}]", given) for k, given in enumerate(inputs))
    for k, array in enumerate(found):
        if array.size == 0:
            raise ValueError(f"inputs[{k}] has shape {array.shape}, expected at least one number")
    return found


def _as_state(state: Any) -> Any:
    """A tuple of arrays, where None stands for one to draw, or one array. Raises TypeError or ValueError."""
    several = isinstance(state, tuple) or (
        isinstance(state, list) and all(part is None or isinstance(part, np.ndarray) for part in state)
    )
    if not several:
        return None if state is None else _own("state", state).astype(float)
    return tuple(part if part is None else _own(f"state[{k}]", part).astype(float) for k, part in enumerate(state))


def _own(name: str, given: Any) -> np.ndarray:
    if get_array_module(given) is not np:
        raise TypeError(f"{name} is a device array; check on the host, the code is the same")
    array = np.array(as_array(name, given))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite numbers, for which no gradient can be checked")
    return array
