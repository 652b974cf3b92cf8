"""A stand-in for CuPy on a machine without a GPU: an array module that computes with NumPy, and refuses what CuPy does.

Its arrays live "on the device": NumPy functions, Python numbers (`float(a)`, `if a:`), iteration over values and
mixing with host arrays all raise, as they do, or should, with CuPy. Only `asarray` moves in and `get` moves out. Where
CuPy does otherwise than NumPy and says nothing, this does too, or raises: new memory holds garbage (`fill_empty`), sums
by `add.at` come in an order of chance (`reorder`), indices past the end and repeated ones in an assignment are refused.

`moves` counts what costs time on a GPU: copies to_device and to_host, syncs (the host waits for the device), launches
of kernels and allocations; the last two as CuPy 14 makes them for the calls that the library uses, others as one.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

moves = {"to_device": 0, "to_host": 0, "syncs": 0, "launches": 0, "allocations": 0}
NAMES = frozenset((Path(__file__).parent / "cupy_names.txt").read_text().split())  # dir(cupy) of 14.2.0, public ones
_order = np.random.default_rng(0)  # of the additions by `add.at`
_held: float | None = None  # what `empty` holds: NaN and bytes 0x80 where None


class HiddenCopyError(TypeError):
    """A host array met a device array, or a device array was read on the host."""


class IndexWraps(Exception):
    """An index is out of range: CuPy would take it modulo the length, and NumPy raise IndexError."""


class DuplicateIndices(Exception):
    """An assignment names one place twice: which of the values it gets is chance on a GPU."""


def reset() -> None:
    """Count from 0."""
    moves.update(dict.fromkeys(moves, 0))


def reorder(seed: int) -> None:
    """Other orders of the additions from now on."""
    global _order
    _order = np.random.default_rng(seed)


def fill_empty(value: float | None = None) -> None:
    """What `empty` holds from now on: this number, or NaN (of integers, bytes 0x80) where None."""
    global _held
    _held = value


class Flags:
    """What CuPy says of an array's memory. Setting anything else does nothing, and it cannot be read back."""

    def __init__(self, flags: Any):
        for name in ("c_contiguous", "f_contiguous", "owndata"):
            object.__setattr__(self, name, getattr(flags, name))

    def __setattr__(self, name: str, value: Any) -> None:
        pass


class Memory:
    """Where an array lies: what CUDA kernels are given."""

    def __init__(self, ptr: int):
        self.ptr = ptr


class ndarray:
    """A device array. Wraps a NumPy array that nothing outside this module may touch."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: np.ndarray):
        check_dtype(data.dtype)
        self._data = data

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    flags = property(lambda self: Flags(self._data.flags))
    nbytes = property(lambda self: self._data.nbytes)
    data = property(lambda self: Memory(self._data.ctypes.data))
    T = property(lambda self: ndarray(self._data.T))
    real = property(lambda self: ndarray(self._data.real))
    imag = property(lambda self: ndarray(self._data.imag))

    def get(self) -> np.ndarray:
        moves["to_host"] += 1
        moves["syncs"] += 1
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
        found = np.asarray(self._data[_index(self._data, key)])
        return _count(found, self._data)

    def __setitem__(self, key: Any, value: Any) -> None:
        index = _index(self._data, key)
        given = _operand(value)
        if np.ndim(given) and _duplicates(self._data, index):
            raise DuplicateIndices("an assignment names one place twice")
        view = self._data[index] if _is_basic(index) else None
        if view is not None and isinstance(given, np.ndarray) and _same_place(view, given):
            return
        moves["launches"] += 1
        self._data[index] = given

    def __repr__(self) -> str:
        return f"strict_xp.ndarray(shape={self.shape}, dtype={self.dtype})"


def check_dtype(dtype: Any) -> None:
    """Raise ValueError unless CuPy has kernels for it."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise ValueError(f"Unsupported dtype {dtype}")


def _operand(value: Any) -> Any:
    """A device array's data, or a number as it is."""
    if isinstance(value, ndarray):
        return value._data
    if isinstance(value, np.ndarray):
        raise HiddenCopyError("a host array was mixed with a device array")
    if isinstance(value, (list, tuple)):
        raise TypeError(f"Unsupported type {type(value)}: an operand is a device array or a number")
    return value


def _argument(value: Any) -> Any:
    """An argument of a function that may also take axes, a shape or a dtype."""
    if isinstance(value, tuple) and all(isinstance(part, int | np.integer) for part in value):
        return value
    return _operand(value)


def _several(value: Any) -> Any:
    """An argument that may be a list of arrays."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_several, value))
    return _operand(value)


def _host(value: Any) -> Any:
    """An argument that must be known on the host: a size."""
    if isinstance(value, ndarray):
        raise TypeError("'ndarray' object cannot be interpreted as an integer")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_host, value))
    return value


def _is_basic(index: Any) -> bool:
    return not any(isinstance(part, np.ndarray) for part in (index if isinstance(index, tuple) else (index,)))


def _same_place(a: np.ndarray, b: np.ndarray) -> bool:
    mine, other = a.__array_interface__, b.__array_interface__
    return mine["data"] == other["data"] and a.shape == b.shape and a.strides == b.strides


def _index(data: np.ndarray, key: Any) -> Any:
    """The key for NumPy, once it is one whose meaning is the same with CuPy, without a hidden copy."""
    parts = key if isinstance(key, tuple) else (key,)
    found: list[Any] = []
    for part in parts:
        if isinstance(part, ndarray) and part.dtype == bool:
            raise HiddenCopyError("boolean-mask indexing needs a device-to-host copy")
        if isinstance(part, list):
            raise HiddenCopyError("a host list was used as an index")
        found.append(_operand(part))
    for axis, part in _axes(data.ndim, found):
        if isinstance(part, np.ndarray) and part.size:
            _check_range(part, data.shape[axis])
    return tuple(found) if isinstance(key, tuple) else found[0]


def _check_range(index: np.ndarray, size: int) -> None:
    if (index >= size).any() or (index < -size).any():
        raise IndexWraps(f"an index is {index.max() if (index >= size).any() else index.min()}, of {size} places")


def _axes(ndim: int, parts: list[Any]) -> list[tuple[int, Any]]:
    """The axis that each part of a key is of."""
    used = sum(part is not None and part is not Ellipsis for part in parts)
    axis, found = 0, []
    for part in parts:
        if part is Ellipsis:
            axis += ndim - used
        elif part is not None:
            found.append((axis, part))
            axis += 1
    return found


def _duplicates(data: np.ndarray, index: Any) -> bool:
    """Whether the arrays in a key name a place twice."""
    parts = list(index) if isinstance(index, tuple) else [index]
    named = [(axis, part) for axis, part in _axes(data.ndim, parts) if isinstance(part, np.ndarray)]
    if not named:
        return False
    where = np.broadcast_arrays(*(part % data.shape[axis] for axis, part in named))
    places = np.ravel_multi_index(where, [data.shape[axis] for axis, _ in named])
    return np.unique(places).size < places.size


def _count(result: np.ndarray, *sources: Any) -> ndarray:
    """The result as a device array: a view of a source, or one launch and one allocation; of nothing, neither."""
    if result.size and not any(
        isinstance(source, np.ndarray) and np.may_share_memory(result, source) for source in sources
    ):
        moves["launches"] += 1
        moves["allocations"] += 1
    return ndarray(result)


def _wrap(result: Any, *sources: Any) -> Any:
    if isinstance(result, (np.ndarray, np.generic, bool)):
        return _count(np.asarray(result), *sources)
    return type(result)(_wrap(part, *sources) for part in result) if isinstance(result, (tuple, list)) else result


JOINS = {
    "stack",
    "concatenate",
    "concat",
    "vstack",
    "hstack",
    "dstack",
    "column_stack",
    "broadcast_arrays",
    "einsum",
    "meshgrid",
}
SIZES = {"zeros", "ones", "arange", "eye", "identity", "linspace", "tri", "full"}
STRICT = {
    "where",
    "take",
    "dot",
    "vdot",
    "inner",
    "outer",
    "tensordot",
    "clip",
    "searchsorted",
    "array_equal",
    "allclose",
    "isclose",
    "copyto",
}
PLAIN = {
    "result_type",
    "can_cast",
    "promote_types",
    "issubdtype",
    "isdtype",
    "finfo",
    "iinfo",
    "ndim",
    "shape",
    "size",
    "isscalar",
    "broadcast_shapes",
}
WAITS = {"bincount": 2, "nonzero": 1, "flatnonzero": 1, "argwhere": 1, "unique": 1, "extract": 1}


def _refuse(name: str, kwargs: dict[str, Any]) -> None:
    for option in ("where", "initial", "subok"):
        if option in kwargs:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
    if kwargs.get("kind") not in (None, "stable"):
        raise ValueError(f"{name}'s kind is {kwargs['kind']!r}, of which CuPy has None and 'stable'")


def _lift(function: Any, name: str = "", method: bool = False) -> Any:
    name = name or function.__name__
    strict = isinstance(function, np.ufunc) or name in STRICT
    unwrap = _operand if strict else _several if name in JOINS else _host if name in SIZES else _argument

    def lifted(*args: Any, **kwargs: Any) -> Any:
        _refuse(name, kwargs)
        if method and name == "argsort" and "kind" in kwargs:
            raise TypeError("argsort() of an array has no kind in every CuPy")
        if name == "where" and (not args or not isinstance(args[0], ndarray)):
            raise TypeError("the condition of where is no device array")
        if name == "repeat" and isinstance(kwargs.get("repeats", args[1] if len(args) > 1 else None), ndarray):
            raise HiddenCopyError("repeat reads a device array of repeats on the host")
        if name == "full" and len(args) > 1 and isinstance(args[1], ndarray):
            args = (args[0], args[1]._data, *args[2:])
        elif name == "clip" and any(isinstance(a, ndarray) and a.dtype.kind == "c" for a in args):
            raise TypeError("Wrong type of arguments for cupy_clip: it has no loop for complex numbers")
        given = [unwrap(value) for value in args]
        options = {key: _operand(value) if key == "out" else unwrap(value) for key, value in kwargs.items()}
        if name == "take":
            axis = options.get("axis", given[2] if len(given) > 2 else None)
            index = np.asarray(options.get("indices", given[1] if len(given) > 1 else None))
            _check_range(index, given[0].size if axis is None else given[0].shape[axis])
        if name in ("matmul", "dot") and len(given) > 1:
            _count_product(given[0], given[1], options.get("out"))
        moves["syncs"] += WAITS.get(name, 0) + (name == "where" and len(args) == 1)
        result = function(*given, **options)
        if isinstance(kwargs.get("out"), ndarray):
            moves["launches"] += 1
            return kwargs["out"]
        return result if name in PLAIN else _wrap(result, *given)

    lifted.__name__ = name
    return lifted


def _count_product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> None:
    """What a matrix product launches besides its own kernel: copies of operands, and tables where stacks broadcast."""
    if out is not None and out.ndim == 1:
        raise ValueError("axes don't match array: CuPy 13 takes no one-dimensional out")
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return
    for each in (a, b):
        last = each if each.ndim < 3 else each[0]
        moves["launches"] += not (last.flags.c_contiguous or last.flags.f_contiguous)
    if a.shape[:-2] != b.shape[:-2] and math.prod(a.shape[:-2]) * math.prod(b.shape[:-2]) > 1:
        moves["launches"] += 3
        moves["allocations"] += 3


def _operator(name: str) -> Any:
    in_place = name.startswith("__i") and name != "__invert__"

    def method(self: ndarray, *others: Any) -> Any:
        given = [_operand(other) for other in others]
        if name in ("__matmul__", "__rmatmul__"):
            _count_product(*([self._data, *given] if name == "__matmul__" else [*given, self._data]))
        result = getattr(self._data, name)(*given)
        if not in_place:
            return _wrap(result, self._data) if result is not NotImplemented else result
        moves["launches"] += 1
        return self

    return method


_OPERATORS = """add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv pow rpow ipow floordiv mod matmul
rmatmul neg abs eq ne lt le gt ge and or xor invert"""
_METHODS = """sum mean max min argmax argmin any all astype reshape swapaxes transpose ravel copy cumsum squeeze take
argsort clip"""
for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _METHODS.split():
    setattr(ndarray, _name, _lift(getattr(np.ndarray, _name), _name, method=True))


def _astype(self: ndarray, dtype: Any, *args: Any, **kwargs: Any) -> ndarray:
    check_dtype(dtype)
    return _wrap(self._data.astype(dtype, *args, **kwargs), self._data)


def _fill(self: ndarray, value: Any) -> None:
    moves["launches"] += 1
    self._data.fill(_operand(value))


def _reshape(self: ndarray, *shape: Any) -> ndarray:
    return _wrap(self._data.reshape(*map(_host, shape)), self._data)


ndarray.astype, ndarray.fill, ndarray.reshape = _astype, _fill, _reshape  # type: ignore[attr-defined]


class _Ufunc:
    """A ufunc with those of its methods that CuPy has."""

    def __init__(self, ufunc: Any):
        self.__name__ = ufunc.__name__
        self._ufunc, self._call = ufunc, _lift(ufunc)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def reduce(self, array: ndarray, axis: Any = 0, **kwargs: Any) -> ndarray:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy_{self.__name__}.reduce` is not supported yet")
        return _lift(self._ufunc.reduce, "reduce")(array, axis=axis, **kwargs)

    def at(self, target: ndarray, index: ndarray, values: Any) -> None:
        """As the ufunc's, in an order of chance."""
        name, dtype = self.__name__, target.dtype
        allowed = {
            "add": "i4 u4 i8 u8 f2 f4 f8",
            "subtract": "i4 u4",
            **dict.fromkeys(["maximum", "minimum"], "i4 u4 i8 u8 f4 f8"),
            **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], "i4 u4 i8 u8"),
        }
        if name not in allowed:
            raise NotImplementedError(f"`cupy_{name}.at` is not supported yet")
        if dtype.str[1:] not in allowed[name].split():
            raise TypeError(f"cupy.{name}.at only supports {allowed[name]} as data type, not {dtype}")
        where = _index(target._data, index)
        if not isinstance(where, np.ndarray):
            raise TypeError(f"cupy.{name}.at: strict_xp takes one device array as index")
        given = np.broadcast_to(_operand(values), where.shape + target.shape[1:])
        order = _order.permutation(where.size)
        moves["launches"] += 1
        rows = given.reshape(where.size, *target.shape[1:])
        self._ufunc.at(target._data, where.reshape(-1)[order], rows[order])


def asarray(value: Any, dtype: Any = None) -> ndarray:
    """The one way onto the device."""
    if isinstance(value, ndarray):
        return value if dtype is None else value.astype(dtype, copy=False)
    found = np.array(value, dtype)
    check_dtype(found.dtype)
    moves["to_device"] += 1
    moves["allocations"] += 1
    return ndarray(found)


array = asarray


def ascontiguousarray(value: ndarray) -> ndarray:
    """A host array is refused, as CuPy does."""
    if not isinstance(value, ndarray):
        raise TypeError("ascontiguousarray of what is no device array")
    return value if value.flags.c_contiguous else _wrap(np.ascontiguousarray(value._data))


def asnumpy(value: ndarray) -> np.ndarray:
    return value.get()


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """Memory as it comes: full of garbage."""
    check_dtype(dtype)
    found = np.empty(_host(shape), dtype)
    if found.dtype.kind in "fc":
        found.fill(np.nan if _held is None else _held)
    elif found.dtype.kind == "b":
        found.fill(True)
    elif _held is None:
        found.view(np.uint8).fill(0x80) if found.size and found.ndim else found.fill(-1)
    else:
        found.fill(math.floor(min(_held, 100.0)))
    moves["allocations"] += 1
    return ndarray(found)


def empty_like(array: ndarray, dtype: Any = None) -> ndarray:
    return empty(array.shape, array.dtype if dtype is None else dtype)


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in NAMES:
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    found = getattr(np, name, None)
    if isinstance(found, np.ufunc):
        return _Ufunc(found)
    if name == "newaxis" or isinstance(found, (type, float)):  # dtypes, pi
        return found
    if not callable(found):
        raise AttributeError(f"cupy.{name} is there, but strict_xp does not imitate it")
    return _lift(found, name)


ndarray.__module__ = "strict_xp"
sys.modules.setdefault("strict_xp", sys.modules[__name__])
