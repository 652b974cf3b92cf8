"""A learner's own numbers against those of a trace, line by line in the order in which the pass computes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import as_array, check_number

if TYPE_CHECKING:
    from .trace import Entry

# relative to the largest entry, and to that of the whole pass: what rounding leaves of a difference that is 0
DOUBLE, SINGLE = (1e-9, 1e-14), (1e-4, 1e-6)


@dataclass(repr=False)
class Comparison:
    """What `Trace.compare` found: `ok`, or the first intermediate that differs and what its line should compute."""

    ok: bool
    compared: int  # intermediates, up to and with the one that differs
    exact: int  # of these the same to the last bit
    largest: float  # difference of those that agree, relative to the largest entry
    name: str = ""
    step: int = 0  # t, from 1; 0 for what belongs to no step
    phase: str = ""
    formula: str = ""
    equation: str = ""
    mine: np.ndarray | None = None
    expected: np.ndarray | None = None
    ratio: float | None = None  # mine / expected, where it is the same in all entries
    hint: str = ""

    def _lines(self) -> list[tuple[str, str]]:
        """What there is to say, each with its label; the first has none."""
        near = self.compared - self.exact - (not self.ok)
        agree = f"{self.exact} exactly, {near} to rounding" + (f" (at most {self.largest:.0e})" if near else "")
        if self.ok:
            return [("", f"all {self.compared} intermediates agree: {agree}")]
        before = f"{self.compared - 1} agree: {agree}" if self.compared > 1 else "nothing was compared"
        lines = [("", f"{self.place} differs ({self.phase})")]
        lines.append(("should be", self.formula + (f"   (Eq. {self.equation})" if self.equation else "")))
        lines += [("mine", _text(self.mine)), ("expected", _text(self.expected))]
        return [*lines, *([("note", self.hint)] if self.hint else []), ("before it", before)]

    def __str__(self) -> str:
        (_, head), *lines = self._lines()
        return "\n".join([head, *(f"  {label:<9}  " + text.replace("\n", "\n" + " " * 13) for label, text in lines)])

    __repr__ = __str__

    @property
    def place(self) -> str:
        """The name and the step."""
        return f"{self.name} at t = {self.step}" if self.step else self.name

    def _repr_html_(self) -> str:
        (_, head), *lines = self._lines()
        rows = ""
        for label, text in lines:
            pre = f'<pre style="margin:0">{escape(text)}</pre>'
            rows += f'<tr><th style="text-align:left">{label}</th><td style="text-align:left">{pre}</td></tr>'
        return f"<p><b>{escape(head)}</b></p>" + (f"<table><tbody>{rows}</tbody></table>" if rows else "")


def _text(value: Any) -> str:
    return "" if value is None else np.array2string(value, precision=8, max_line_width=100, threshold=60)


@np.errstate(all="ignore")
def compare(
    rows: Sequence[Entry], mine: Mapping[Any, Any], rtol: float | None = None, more: Sequence[Entry] = ()
) -> Comparison:
    """`Trace.compare`, whose docstring says what it does, on the rows of a trace, and `more` that are asked by name."""
    if not isinstance(mine, Mapping):
        raise TypeError(f"mine is {type(mine).__name__}, expected a dict such as {{('h', 1): h_1, 'dW': dW}}")
    if not mine:
        raise ValueError("mine is empty, expected at least one intermediate, such as {('h', 1): h_1, 'dW': dW}")
    if rtol is not None:
        check_number("rtol", rtol, above=0.0)
    asked = {key[0] if isinstance(key, tuple) and key else key for key in mine}
    rows = with_parts(rows, [row for row in more if row.name in asked])
    handed = _by_row(rows, mine)
    largest_of_all = max((np.abs(row.value).max(initial=0.0) for row in rows), default=0.0)
    found = Comparison(True, 0, 0, 0.0)
    for row in rows:
        if (row.name, row.step) not in handed:
            continue
        value, shape = handed[row.name, row.step]
        found.compared += 1
        fits = shape == ""
        if fits and np.array_equal(value, row.value):
            found.exact += 1
            continue
        if fits:
            coarse = any(each.dtype.kind == "f" and each.itemsize < 8 for each in (value, row.value))
            relative, floor = SINGLE if coarse else DOUBLE
            relative = relative if rtol is None else rtol
            size = float(np.abs(row.value).max(initial=0.0))
            away = float(np.abs(value - row.value).max(initial=0.0))
            if away <= max(relative * size, floor * largest_of_all):  # NaN is not
                found.largest = max(found.largest, away / size if size else 0.0)
                continue
        found.ok = False
        found.name, found.step, found.phase = row.name, row.step, row.phase
        found.formula, found.equation = row.formula, row.equation
        found.mine, found.expected = value, row.value
        found.ratio = _ratio(value, row.value) if fits else None
        found.hint = _hint(rows, row, value, found.ratio) if fits else shape
        break
    return found


def with_parts(rows: Sequence[Entry], parts: Sequence[Entry]) -> list[Entry]:
    """The rows and those of single gates, each of these behind the whole: dW_f_t behind dW_t."""
    behind: dict[tuple[str, int], list[Entry]] = {}
    for part in parts:
        behind.setdefault((re.sub("^(d[WUb])_[^_]+", r"\1", part.name), part.step), []).append(part)
    return [each for row in rows for each in (row, *behind.get((row.name, row.step), []))]


def _by_row(rows: Sequence[Entry], mine: Mapping[Any, Any]) -> dict[tuple[str, int], tuple[np.ndarray, str]]:
    """What was handed over for each row: the array, in the row's shape or else with what is wrong with its shape."""
    steps: dict[str, dict[int, Entry]] = {}
    for row in rows:
        steps.setdefault(row.name, {})[row.step] = row
    handed = {}
    for key, value in mine.items():
        name, step = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
        if name not in steps:
            raise ValueError(f"there is no {name!r}; the names are {', '.join(steps)}")
        own = steps[name]
        label = name if step is None else f"{name} at step {step}"
        value = as_array(label, value)
        if step is None and list(own) == [0]:
            step = 0
        if step is not None:
            if step not in own:
                expected = f"{min(own)} to {max(own)}" if list(own) != [0] else "0, for sums over all steps"
                raise ValueError(f"there is no {name!r} at step {step!r}; its steps are {expected}")
            handed[name, int(step)] = _fitted(value, own[step].value.shape)
            continue
        T, shape = len(own), next(iter(own.values())).value.shape
        whole, wrong = _fitted(value, (T, *shape))
        if value.ndim and len(value) == T + 1 and (value.shape[1:] == shape or value.size == T + 1):
            wrong += f": is the one from before the first of the {T} steps among them?"
        elif wrong and value.ndim > 1 and value.swapaxes(0, 1).shape == (T, *shape):
            wrong = wrong.removesuffix(": transposed?") + ": time comes first"
        for t in own:
            handed[name, t] = (value, wrong) if wrong else (whole[t - 1], "")
    return handed


def _fitted(value: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The value in this shape, or as it is with a word on both shapes; axes of length 1 may be missing."""
    if value.shape == shape:
        return value, ""
    bare = tuple(size for size in shape if size != 1)
    if value.shape == bare or value.shape == shape[:1] + tuple(size for size in shape[1:] if size != 1):
        return value.reshape(shape), ""
    word = f"mine has shape {value.shape}, expected {shape}"
    if value.ndim > 1 and value.swapaxes(-1, -2).shape == shape:
        word += ": transposed?"
    return value, word


def _ratio(mine: np.ndarray, expected: np.ndarray) -> float | None:
    """mine / expected, if it is one number."""
    norm = float((expected * expected).sum())
    if not norm or not np.isfinite(mine).all():
        return None
    ratio = float((mine * expected).sum()) / norm
    away = np.abs(mine - ratio * expected).max()
    return ratio if away <= 1e-7 * abs(ratio) * np.abs(expected).max() else None


def _hint(rows: Sequence[Entry], row: Entry, mine: np.ndarray, ratio: float | None) -> str:
    """What is the matter with the numbers, where they show it."""
    if not np.isfinite(mine).all():
        return "mine holds numbers that are not finite"
    if not mine.any():
        return "mine is 0"
    words = []
    if ratio is not None and abs(ratio - 1) > 1e-6:
        known = _name_of(ratio, rows)
        if mine.size > 1 or known or round(ratio, 7) in (-1.0, 2.0, 0.5):
            words.append(f"mine / expected = {ratio:.6g}" + " everywhere" * (mine.size > 1) + known)
    if (
        mine.ndim > 1
        and mine.shape[-1] == mine.shape[-2] > 1
        and np.allclose(mine.swapaxes(-1, -2), row.value, 1e-9, 0.0)
    ):
        words.append("mine is the transpose of it")
    for other in rows:
        same = other.value.shape == mine.shape and (other.name, other.step) != (row.name, row.step)
        if same and np.allclose(mine, other.value, 1e-9, 0.0):
            words.append(f"mine is {other.name} at t = {other.step}" if other.step else f"mine is {other.name}")
            break
    return "; ".join(words)


def _name_of(ratio: float, rows: Sequence[Entry]) -> str:
    """What the ratio is, in sizes of the pass."""
    sizes = {"T": max(row.step for row in rows)}
    sizes |= {"B": next((len(row.value) for row in rows if row.name in ("h", "logits") and row.value.ndim > 1), 0)}
    names: dict[str, float] = {}
    for letter, size in sizes.items():
        if size > 1:
            names |= {letter: float(size), f"1/{letter}": 1 / size, f"-{letter}": -float(size)}
    known = [name for name, number in names.items() if abs(ratio - number) < 1e-7 * abs(number)]
    return f" ({' or '.join(known)})" if known else ""
