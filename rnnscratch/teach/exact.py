"""An array module of exact numbers: SymPy's expressions, or mpmath's numbers of as many digits as one likes.

The kernels take their array module from the data, so they run on it unchanged: what is proven with it is proven of the
very code that trains networks. Needs SymPy (extra `notebooks`).
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import sympy


class ndarray:
    """An array of exact numbers, which passes for one of float64."""

    __hash__ = None  # type: ignore[assignment]
    dtype = np.dtype("float64")

    def __init__(self, data: Any):
        self.data = np.asarray(data, dtype=object)

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    T = property(lambda self: ndarray(self.data.T))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self.data[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data[key] = _exact(value)

    def __iter__(self) -> Any:
        return (ndarray(part) for part in self.data)

    def astype(self, dtype: Any, copy: bool = True) -> ndarray:
        return self

    def reshape(self, *shape: Any) -> ndarray:
        return ndarray(self.data.reshape(*shape))

    def swapaxes(self, a: int, b: int) -> ndarray:
        return ndarray(self.data.swapaxes(a, b))

    def sum(self, axis: Any = None) -> ndarray:
        return ndarray(self.data.sum(axis=axis))

    def copy(self) -> ndarray:
        return ndarray(self.data.copy())


def _exact(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.data
    return sympy.Rational(value) if isinstance(value, float) else value  # the kernels' 0.5 is one half, exactly


def _operator(name: str) -> Any:
    def method(self: ndarray, other: Any = None) -> Any:
        result = getattr(self.data, name)(*([] if other is None else [_exact(other)]))
        if name.startswith("__i"):
            return self
        return result if name in ("__lt__", "__gt__") else ndarray(result)

    return method


_BINARY = ["add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "truediv", "matmul", "lt", "gt"]
for _name in [*_BINARY, "neg"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _fill(out: ndarray | None, result: Any) -> ndarray:
    if out is None:
        return ndarray(result)
    out.data[...] = result
    return out


def _binary(function: Any) -> Any:
    def call(a: Any, b: Any, out: ndarray | None = None) -> ndarray:
        return _fill(out, function(_exact(a), _exact(b)))

    return call


add, subtract, multiply, matmul = map(_binary, (np.add, np.subtract, np.multiply, np.matmul))
_tanh = np.frompyfunc(lambda v: mpmath.tanh(v) if isinstance(v, mpmath.mpf) else sympy.tanh(v), 1, 1)


def tanh(a: ndarray, out: ndarray | None = None) -> ndarray:
    """Of every entry."""
    return _fill(out, _tanh(a.data))


def asarray(a: Any) -> ndarray:
    """The numbers as exact ones."""
    return a if isinstance(a, ndarray) else ndarray(a)


ascontiguousarray = asarray


def zeros(shape: Any, dtype: Any = None) -> ndarray:
    """All 0."""
    return ndarray(np.full(shape, sympy.Integer(0), dtype=object))


empty = zeros


def zeros_like(a: ndarray) -> ndarray:
    """All 0, of the same shape."""
    return zeros(a.shape)


empty_like = zeros_like


def arange(stop: int) -> np.ndarray:
    """0 .. stop-1; positions are no exact numbers."""
    return np.arange(stop)


def where(condition: np.ndarray, a: Any, b: Any) -> ndarray:
    """Entry by entry a or b."""
    return ndarray(np.where(condition, _exact(a), _exact(b)))
