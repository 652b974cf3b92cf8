"""A stand-in for CuPy on a machine without a GPU: an array module that computes with NumPy and refuses hidden copies.

Its arrays live "on the device": NumPy functions, Python numbers (`float(a)`, `if a:`), iteration over values and
mixing with host arrays all raise, as they do, or should, with CuPy. Only `asarray` moves in and `get` moves out, and
both are counted.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

moves = {"to_device": 0, "to_host": 0}


class HiddenCopyError(TypeError):
    """A host array met a device array, or a device array was read on the host."""


class ndarray:
    """A device array. Wraps a NumPy array that nothing outside this module may touch."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: np.ndarray):
        self._data = data

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    flags = property(lambda self: self._data.flags)
    nbytes = property(lambda self: self._data.nbytes)
    T = property(lambda self: ndarray(self._data.T))
    real = property(lambda self: ndarray(self._data.real))
    imag = property(lambda self: ndarray(self._data.imag))

    def get(self) -> np.ndarray:
        moves["to_host"] += 1
        return self._data.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise HiddenCopyError("implicit conversion of a device array to a NumPy array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raise HiddenCopyError(f"numpy.{ufunc.__name__} was called with a device array")

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise HiddenCopyError(f"numpy.{function.__name__} was called with a device array")

    def _to_host(self, *_: Any) -> Any:
        raise HiddenCopyError("a device array was read as a Python number")

    __float__ = __int__ = __complex__ = __bool__ = __index__ = item = tolist = _to_host

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (ndarray(np.asarray(part)) for part in self._data) if self.ndim == 1 else map(ndarray, self._data)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(np.asarray(self._data[_unwrap_key(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[_unwrap_key(key)] = _unwrap(value)

    def __repr__(self) -> str:
        return f"strict_xp.ndarray(shape={self.shape}, dtype={self.dtype})"


def _unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._data
    if isinstance(value, np.ndarray):
        raise HiddenCopyError("a host array was mixed with a device array")
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrap(part) for part in value)
    return value


def _unwrap_key(key: Any) -> Any:
    if isinstance(key, ndarray) and key.dtype == bool:
        raise HiddenCopyError("boolean-mask indexing needs a device-to-host copy")
    if isinstance(key, tuple):
        return tuple(_unwrap_key(part) for part in key)
    if isinstance(key, list):
        raise HiddenCopyError("a host list was used as an index")
    return _unwrap(key)


def _wrap(result: Any) -> Any:
    if isinstance(result, (np.ndarray, np.generic)):
        return ndarray(np.asarray(result))
    return type(result)(map(_wrap, result)) if isinstance(result, (tuple, list)) else result


def _lift(function: Any) -> Any:
    def lifted(*args: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        result = function(*map(_unwrap, args), **{name: _unwrap(value) for name, value in kwargs.items()})
        return out if isinstance(out, ndarray) else _wrap(result)

    lifted.__name__ = getattr(function, "__name__", "function")
    return lifted


def _operator(name: str) -> Any:
    def method(self: ndarray, *others: Any) -> Any:
        result = getattr(self._data, name)(*map(_unwrap, others))
        return self if name.startswith("__i") and name != "__invert__" else _wrap(result)

    return method


_OPERATORS = """add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv pow rpow ipow floordiv mod matmul
rmatmul neg abs eq ne lt le gt ge and or xor invert"""
_METHODS = (
    """sum mean max min argmax argmin any all astype reshape swapaxes transpose ravel copy fill cumsum squeeze take"""
)
for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _METHODS.split():
    setattr(ndarray, _name, _lift(getattr(np.ndarray, _name)))


class _Ufunc:
    """A ufunc with its methods `at` and `reduce`."""

    def __init__(self, ufunc: Any):
        self.__name__ = ufunc.__name__
        self._call, self.at = _lift(ufunc), _lift(ufunc.at)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


def asarray(value: Any, dtype: Any = None) -> ndarray:
    """The one way onto the device."""
    if isinstance(value, ndarray):
        return value if dtype is None else value.astype(dtype)
    moves["to_device"] += 1
    return ndarray(np.array(value, dtype))


array = asarray


def asnumpy(value: ndarray) -> np.ndarray:
    return value.get()


def __getattr__(name: str) -> Any:
    found = getattr(np, name)
    if isinstance(found, np.ufunc):
        return _Ufunc(found)
    if isinstance(found, type) or not callable(found):
        return found  # dtypes, pi, newaxis
    return _lift(found)


ndarray.__module__ = "strict_xp"
sys.modules.setdefault("strict_xp", sys.modules[__name__])
