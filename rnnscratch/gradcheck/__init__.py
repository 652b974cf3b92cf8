"""Is a hand-written gradient right, and if not, what is wrong with it?

The complex step, Im f(x + ih) / h with h = 1e-200, has no rounding error to trade against: a right gradient agrees to
about 1e-15 (Squire & Trapp 1998). Where a function is not analytic, central differences over a sweep of step sizes
take its place. A failure is diagnosed: `CAUSES` lists what the checker can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..backend import get_array_module
from .compare import Row, Setup
from .diagnosis import CAUSES, diagnose

__all__ = ["CAUSES", "GradientReport", "Row", "check_gradients"]

TOLERANCES = {"complex step": 1e-12, "central differences": 1e-6}


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
        summary = (
            f"{verdict}: largest relative error {self.max_error:.1e} ({self.method}, tolerance {self.tolerance:.0e})"
        )
        return "\n".join([*text, "", summary, *self.diagnosis])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in self._cells(row))}</tr>" for row in self.rows
        )
        summary = escape(str(self)).rpartition("\n\n")[2].replace("\n", "<br>")
        heads = "".join(
            f"<th>{name}</th>" for name in ("gradient of", "part", "shape", "largest", "error", "", "cause")
        )
        return f"<table><tr>{heads}</tr>{rows}</table><p>{summary}</p>"

    @staticmethod
    def _cells(row: Row) -> tuple[str, ...]:
        shape = "x".join(map(str, row.shape)) or "number"
        return row.name, row.part, shape, f"{row.size:.2e}", f"{row.error:.1e}", "ok" if row.ok else "WRONG", row.cause


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
                 output) returns the gradients of the inputs, a tuple if there are several
    inputs       arrays; integer ones (token ids) have no gradient
    lengths      for recurrent targets, as in their forward pass; so is `state`, drawn at random if None
    train        True: with dropout, its masks held fixed
    method       "complex" or "central"; by default the complex step wherever the target is analytic
    dtype        of the backward pass; "float32" tests that of single precision against double
    tolerance    the largest relative error of a right gradient, default 1e-12, differences 1e-6, float32 1e-4
    max_entries  arrays with more entries are checked at so many places, drawn at random, and along a random direction

    Raises ValueError or TypeError for inputs that are missing, not finite or of the wrong kind.

    >>> import rnnscratch as rs
    >>> report = check_gradients(rs.GRU(3, 2, seed=0), np.random.default_rng(0).standard_normal((4, 2, 3)))
    >>> report.ok, report.max_error < 1e-12
    (True, True)
    """
    if method not in (None, "complex", "central"):
        raise ValueError(f"method is {method!r}, expected 'complex', 'central' or None")
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is {dtype!r}, expected 'float64' or 'float32'")
    _check_inputs(inputs)
    setup = Setup(target, inputs, lengths, state, train, seed=seed, max_entries=max_entries, dtype=dtype)
    names = {"complex": "complex step", "central": "central differences"}
    if method is None:
        method = "complex" if setup.is_analytic() else "central"
    limit = (1e-4 if dtype == "float32" else TOLERANCES[names[method]]) if tolerance is None else tolerance
    found = setup.compare(method, limit)
    report = GradientReport(
        ok=all(row.ok for row in found.rows) and not found.cause,
        max_error=max((row.error for row in found.rows), default=0.0),
        method=names[method],
        tolerance=limit,
        rows=found.rows,
    )
    if not report.ok:
        report.cause, report.diagnosis = diagnose(setup, found, method, limit)
    return report


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
