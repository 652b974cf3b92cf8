"""Arrays that know the formula that made them, on which a cell's functions run as they are (see trace.py).

`loop` is told of each line that assigns to an array with a name: `loop.assigned(target, value, equation, before)`.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator
from types import CellType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np


class Written:
    """An array, the formula that made it, and how tightly that binds: 0 a sum, .5 a matrix product, 1 a product, 2 a
    name.
    """

    def __init__(
        self,
        value: Any,
        text: str,
        level: float = 2,
        loop: Any = None,
        name: str = "",
        sources: Any = (),
        letters: str = "",
    ):
        self.value, self.text, self.level, self.loop, self.name = value, text, level, loop, name
        self.sources, self.letters = set(sources), letters
        self.split: tuple[Written, Written] | None = None  # a product whose last factor is the slope of a gate
        self.inner: Written | None = None  # what an activation was given
        self.equation = ""

    T = property(lambda self: Written(self.value.T, f"{self.factor(2)}^T", sources=self.sources))

    def factor(self, level: float = 1) -> str:
        """The formula as a factor."""
        return self.text if self.level >= level else f"({self.text})"

    def __iter__(self) -> Iterator[Written]:
        for letter, part in zip(self.letters or " " * len(self.value), self.value):
            yield Written(part, f"{self.text}_{letter}".rstrip("_ "), loop=self.loop, name=self.name)

    def __getitem__(self, key: Any) -> Written:
        return Written(self.value[key], self.text, self.level, sources=self.sources)

    def swapaxes(self, a: int, b: int) -> Written:
        return Written(self.value.swapaxes(a, b), f"{self.factor(2)}^T", sources=self.sources)

    def sum(self, axis: int) -> Written:
        of = "the batch" if axis == self.value.ndim - 2 else "the gates"  # (n, H) or (G, n, H)
        return Written(self.value.sum(axis=axis), f"sum of {self.text} over {of}", sources=self.sources)

    def __setitem__(self, key: Any, value: Any) -> None:
        value = written(value)
        self.value[key] = value.value
        self.assign(value)

    def assign(self, value: Written, before: Any = None, equation: str | None = None) -> None:
        """Write the row; the line of source that does it is that of the caller's caller."""
        if self.loop is not None and self.name:
            self.loop.assigned(self, value, equation_of(sys._getframe(2)) if equation is None else equation, before)

    def __iadd__(self, other: Any) -> Written:
        other, before = written(other), self.value.copy()
        self.value += other.value
        self.assign(other, before)
        return self

    def __imul__(self, other: Any) -> Written:
        result = self * other
        self.value[...] = result.value
        self.assign(result)
        return self

    def __add__(self, other: Any) -> Written:
        return self._with(other, np.add, "{} + {}", (0, 0), 0)

    def __sub__(self, other: Any) -> Written:
        return self._with(other, np.subtract, "{} - {}", (0, 1), 0)

    def __rsub__(self, other: Any) -> Written:
        return written(other) - self

    def __mul__(self, other: Any) -> Written:
        other = written(other)
        result = self._with(other, np.multiply, "{} {}", (1, 1), 1)
        if other.equation:
            result.split = self, other
        elif other.split is not None:
            result.split = self * other.split[0], other.split[1]
        return result

    def __matmul__(self, other: Any) -> Written:
        return self._with(other, np.matmul, "{} {}", (2, 2), 0.5)

    def _with(self, other: Any, operate: Any, form: str, levels: tuple[float, float], level: float) -> Written:
        other = written(other)
        text = form.format(self.factor(levels[0]), other.factor(levels[1]))
        return Written(operate(self.value, other.value), text, level, sources=self.sources | other.sources)


class Gates(Written):
    """The gates of a step, which can be taken apart."""

    def __init__(self, value: Any, text: str, loop: Any, parts: list[Written]):
        super().__init__(value, text, 0, loop)
        self.parts = parts

    def __iter__(self) -> Iterator[Written]:
        return iter(self.parts)

    def __getitem__(self, key: Any) -> Written:
        parts = self.parts[key]
        return Written(self.value[key], (parts[0] if isinstance(parts, list) else parts).text, 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.value[key] = value.value
        if key is ...:  # before the step: x W
            assert self.loop is not None
            self.loop.input = value.text
            return
        many, equation = isinstance(key, slice), equation_of(sys._getframe(1))
        parts = self.parts[key] if many else [self.parts[key]]
        equations = equation.split(", ") if many else [equation]
        for k, part in enumerate(parts):
            each = Written(part.value, value.text)
            if value.inner is not None:
                each.inner = Written(value.inner.value[k] if many else value.inner.value, value.inner.text, 0)
            part.assign(each, equation=equations[k] if len(equations) == len(parts) else equation)

    def __iadd__(self, other: Any) -> Written:
        self.value += other.value
        for part in self.parts:
            part.text = f"{part.text} + {other.text}"
        return self


def written(value: Any) -> Written:
    """A number as an array that is its own formula."""
    return value if isinstance(value, Written) else Written(np.asarray(value), str(value))


def equation_of(frame: Any) -> str:
    """The equations that the comment of a frame's line names, but for the slopes through which one goes."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    found = re.search(r"Eqs?\.? (\d+(?:, \d+)*)", line.partition("#")[2])
    return found.group(1) if found else ""


SLOPES = {
    "dsigmoid_from_output": ("{} (1 - {})", 1, "25"),
    "dtanh_from_output": ("1 - {}^2", 0, "27"),
    "drelu_from_output": ("[{} > 0]", 2, ""),
}


def wrapped(function: Any) -> Callable[..., Any]:
    """A function of the kernels that takes arrays with formulas, and gives one or fills those with a name."""

    def call(*arguments: Any, out: Any = None) -> Any:
        values = [each.value if isinstance(each, Written) else each for each in arguments]
        first = arguments[0]
        inner = Written(np.array(first.value), first.text, first.level)  # `out` may be its place
        value = function(*values)
        name = function.__name__
        if value is None:
            for each in arguments[1:]:
                if isinstance(each, Written):
                    what = each.name.partition(".")[2]
                    each.assign(Written(each.value, f"{what} of {name}({first.text})"))
            return None
        result = Written(value, f"{name}({first.text})", sources=first.sources)
        if name in SLOPES:
            form, result.level, result.equation = SLOPES[name]
            result.text = form.format(first.factor(2), first.factor(2))
        else:
            result.inner = inner
        if out is not None:
            out.value[...] = value
            out.assign(result)
        return result

    return call


def multiply(a: Written, b: Written, out: Written) -> None:
    """a b into out."""
    result = a * b
    out.value[...] = result.value
    out.assign(result)


def bound(function: Any) -> Any:
    """The cell's function with the functions that it calls wrapped."""

    def wrap(value: Any) -> Any:
        if getattr(value, "__name__", "") == "get_array_module":
            return lambda *arrays: SimpleNamespace(multiply=multiply)
        return wrapped(value) if callable(value) and isinstance(value, FunctionType) else value

    names = {
        name: wrap(function.__globals__[name]) for name in function.__code__.co_names if name in function.__globals__
    }
    closure = tuple(CellType(wrap(cell.cell_contents)) for cell in function.__closure__ or ())
    found = FunctionType(
        function.__code__, {**function.__globals__, **names}, argdefs=function.__defaults__, closure=closure or None
    )
    found.__kwdefaults__ = function.__kwdefaults__
    return found
