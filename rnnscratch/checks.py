"""Validators of arguments: one wording of errors, each naming the argument, what came and what was expected.

`as_array`, `as_column`, `as_list`, `as_labels`, `as_symbols`, `as_strings` and `as_sequences` are the one door for
data: what comes in through any public call goes through one of them, so that the same containers mean the same
everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from importlib import import_module
from numbers import Number
from typing import Any

import numpy as np

from .backend import DTYPES, Array, check_dtype, get_array_module, to_cpu

KINDS = {"f": "numbers", "i": "integers", "u": "integers", "b": "booleans", "c": "complex numbers", "U": "strings"}


def as_array(name: str, value: Any, kinds: str = "fiub", missing: bool = False) -> Array:
    """The value as an array of these kinds of entries, on the host, or on the device where it lies.

    Takes what NumPy can turn into one: lists and numbers, rows and columns of data frames whatever their index, tensors
    of other libraries on the CPU, generators and maps. With `missing`, what is masked, None or NA becomes NaN, else it
    is refused; as are dicts, sets, strings, sparse matrices, and objects that are no numbers. The array may be the
    caller's own, so it is only read.

    Raises TypeError or ValueError, naming the argument.
    """
    found = value if get_array_module(value) is not np else _on_host(name, value, missing)
    if found.dtype.kind in "OT" and kinds != "U":
        found = _numbers(name, found, missing)
    elif found.dtype.kind in "OT":
        for place, entry in np.ndenumerate(found):
            if not isinstance(entry, str):
                raise TypeError(f"{name}{_at(place)} is {entry!r:.60}, expected a string")
        found = found.astype(np.str_)
    if found.size == 0 and not hasattr(value, "dtype"):
        found = found.astype({"f": np.float64, "U": np.str_}.get(kinds[0], np.int64))
    if found.dtype.kind not in kinds:
        expected = " or ".join(dict.fromkeys(KINDS[kind] for kind in (kinds[0] if kinds[0] == "f" else kinds)))
        if found.dtype.kind == "c":
            raise ValueError(f"{name} has dtype {found.dtype}, expected {expected}: Complex data not supported")
        raise TypeError(f"{name} has dtype {found.dtype}, expected {expected}")
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def as_operand(name: str, value: Any, dtype: Any = None) -> Array:
    """The value as an array to compute with.

    An array keeps its dtype, which the caller judges, and one on a device stays as it is. Numbers without one, such as
    lists, take on `dtype`; where that is None, they and whole numbers become float64, and the dtype must be one that
    the kernels compute in. Raises TypeError or ValueError, naming the argument.
    """
    if type(value) is np.ndarray and value.dtype.isnative and (value.dtype == dtype or value.dtype in _COMPUTED):
        return value
    if get_array_module(value) is not np:
        return value
    found = as_array(name, value, "fiubc")
    bare = getattr(value, "dtype", np.dtype(object)) == np.dtype(object)
    if bare or (dtype is None and found.dtype.kind in "iub"):
        if found.dtype.kind == "c" and dtype is not None and np.dtype(dtype).kind != "c":
            raise TypeError(f"{name} has dtype {found.dtype}, expected {np.dtype(dtype)}")
        try:
            with np.errstate(over="raise"):
                return found.astype(dtype or (found.dtype if found.dtype.kind == "c" else np.float64))
        except FloatingPointError:
            raise ValueError(f"{name} holds numbers too large for {np.dtype(dtype)}") from None
    if dtype is None:
        check_dtype(found.dtype, f"{name}'s dtype")
    return found


def as_weights(name: str, value: Any) -> Array:
    """`as_operand` of what decides the others' dtype: lists become float64, an array must have one to compute in."""
    found = as_operand(name, value, np.float64)
    check_dtype(found.dtype, f"{name}'s dtype")
    return found


_COMPUTED = tuple(map(np.dtype, DTYPES))


def as_column(name: str, value: Any, kinds: str = "fiub", missing: bool = False) -> Array:
    """`as_array` of a row (n,); one column (n, 1) is taken as one."""
    return _column(name, as_array(name, value, kinds, missing))


def as_list(name: str, value: Any) -> list[Any]:
    """The entries along the first axis of a list, array, data frame or whatever can be gone through in order.

    Raises TypeError or ValueError, naming the argument.
    """
    if get_array_module(value) is not np or not is_array(value):
        _refuse_unordered(name, value)
        try:
            return list(value)
        except TypeError:
            raise TypeError(f"{name} is {value!r:.60}, expected a list") from None
    found = _on_host(name, value, False)
    if found.ndim == 0:
        raise TypeError(f"{name} is the one number {value!r:.60}, expected a list")
    return list(found)


def as_symbols(name: str, value: Any, missing: bool = True) -> Array:
    """A row or column of symbols as a row (n,): integers, or strings as objects; one string is a row of characters.

    With `missing`, what is masked, None, NA or NaN becomes -1, and None among strings; else it is refused. So are
    strings among numbers, members of an Enum, and numbers that are not whole. Raises TypeError or ValueError.
    """
    if get_array_module(value) is not np:
        found = as_array(name, value)
    else:
        entries = list(value) if isinstance(value, str) else value if is_array(value) else as_list(name, value)
        found = _on_host(name, entries, missing)
        if found.dtype.kind == "T":
            found = found.astype(object)
        if found.dtype.kind == "U":  # of a list with one string NumPy makes strings of all
            found = np.array(entries, dtype=object) if not is_array(entries) else found.astype(object)
    found = _column(name, found)
    if found.dtype.kind == "O" and any(isinstance(entry, str) for entry in found):
        return _strings(name, found, missing)
    if found.dtype.kind == "O":
        found = _numbers(name, found, missing)
    if found.dtype.kind == "f" and found.size:
        host = to_cpu(found)
        absent = np.isnan(host) & missing
        if ((host == np.floor(host)) & (np.abs(host) < 2.0**53) | absent).all():
            found = get_array_module(found).asarray(np.where(absent, -1, host))
            return found.astype(np.int64)
    if found.dtype.kind not in "iu" and found.size:
        raise TypeError(f"{name} has dtype {found.dtype}, expected integers")
    if found.dtype.kind == "u" and found.size and int(to_cpu(found.max())) >= 2**63:
        raise ValueError(f"{name} holds {int(to_cpu(found.max()))}, expected integers below 2**63")
    return found.astype(np.int64, copy=False)


def _strings(name: str, found: np.ndarray, missing: bool) -> np.ndarray:
    """A row of objects as strings of type str, None where missing. Raises TypeError or ValueError."""
    row = np.empty(len(found), dtype=object)
    for k, entry in enumerate(found):
        if isinstance(entry, Enum):
            raise TypeError(f"{name}[{k}] is {entry!r}, a member of an Enum, expected its value")
        if isinstance(entry, str):
            row[k] = str.__str__(entry)
        elif not _is_missing(entry):
            raise TypeError(f"{name} holds strings and {entry!r:.60}, expected one kind")
        elif not missing:
            raise ValueError(f"{name}[{k}] is missing ({entry}), expected a value")
    return row


def _is_missing(entry: Any) -> bool:
    """Whether this is None, masked, NA, NaT or NaN."""
    if entry is None or entry is np.ma.masked or type(entry).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(entry, (float, np.floating)) and bool(np.isnan(entry))


def _column(name: str, found: Array) -> Array:
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ValueError(f"{name} has shape {found.shape}, expected one row or column")
    return found


def _at(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def is_array(value: Any) -> bool:
    """Whether NumPy takes the value as an array: one of its own, a tensor, or rows and columns of a data frame."""
    return any(hasattr(value, mark) for mark in ("__array__", "__array_interface__", "__dlpack__"))


def is_single(value: Any) -> bool:
    """Whether this is no container: a number, a string, or what stands for a missing one."""
    return isinstance(value, (str, bytes)) or getattr(value, "ndim", None) == 0 or not hasattr(value, "__iter__")


def _refuse_unordered(name: str, value: Any) -> None:
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(
            f"{name} is one {'string' if isinstance(value, str) else type(value).__name__}, expected a list"
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(
            f"{name} is sparse ({kind}): sparse input is not supported, value.toarray() makes a dense array"
        )
    if value is None or isinstance(value, (Mapping, set, frozenset)):
        raise TypeError(f"{name} is {'None' if value is None else type(value).__name__}, expected a list or an array")


def _on_host(name: str, value: Any, missing: bool) -> np.ndarray:
    """What NumPy makes of the value, on the host."""
    _refuse_unordered(name, value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (list, tuple)) and _holds_masked(value):
        value = np.ma.masked_array(np.asarray(_unmasked(value)), _mask(value))
    if isinstance(value, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(value)
        if not hidden.any():
            return np.asarray(value.data)
        if not missing:
            place = tuple(np.argwhere(hidden)[0].tolist())
            raise ValueError(f"{name}{_at(place)} is masked, expected a value")
        if value.dtype.kind not in "fiub":
            found = np.array(value.data, dtype=object)
            found[hidden] = None
            return found
        return np.asarray(value.astype(np.float64).filled(np.nan))  # type: ignore[attr-defined]
    if not is_array(value) and isinstance(value, Iterable) and not hasattr(value, "__getitem__"):
        value = list(value)  # a generator, a map, the values of a dict
    try:
        if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        found = np.asarray(value)
    except ValueError as error:
        if is_array(value):
            raise TypeError(f"{name} is {kind}, of which NumPy makes no array: {error}") from None
        raise ValueError(f"{name} is ragged, expected rows of one length") from None
    except (TypeError, RuntimeError, BufferError) as error:  # a tensor with a gradient, or on a device
        raise TypeError(f"{name} is {kind}, of which NumPy makes no array: {error}") from None
    if found.dtype.names is not None:
        raise TypeError(f"{name} has fields {', '.join(found.dtype.names)}, expected plain numbers")
    return found


def _holds_masked(value: Any) -> bool:
    """Whether lists hold masked arrays or entries, whose masks NumPy would drop."""
    kinds = set(map(type, value))
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return True
    return bool(kinds & {list, tuple}) and any(isinstance(row, (list, tuple)) and _holds_masked(row) for row in value)


def _unmasked(value: Any) -> Any:
    """Lists of lists and arrays, with the values under the masks; NaN where there is none."""
    if isinstance(value, (list, tuple)):
        return [_unmasked(row) for row in value]
    return math.nan if value is np.ma.masked else np.ma.getdata(value)


def _mask(value: Any) -> np.ndarray:
    """Which entries of lists of lists and arrays are masked."""
    if isinstance(value, (list, tuple)):
        return np.array([_mask(row) for row in value])
    return np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else np.zeros(np.shape(value), bool)


def _numbers(name: str, objects: np.ndarray, missing: bool) -> np.ndarray:
    """An array of objects as numbers: integers if all are, else floats. Raises TypeError or ValueError."""
    entries = []
    for place, entry in np.ndenumerate(objects):
        if _is_missing(entry) and not isinstance(entry, (float, np.floating)):
            if not missing:
                raise ValueError(f"{name}{_at(place)} is missing ({entry}), expected a value")
            entry = math.nan
        elif not isinstance(entry, (Number, np.number, np.bool_)):
            raise TypeError(f"{name}{_at(place)} is {entry!r:.60}, expected a number")
        entries.append(entry)
    if not entries:
        return np.zeros(objects.shape)
    if any(isinstance(entry, (complex, np.complexfloating)) for entry in entries):
        return np.array(entries, dtype=complex).reshape(objects.shape)
    if all(isinstance(entry, (bool, np.bool_)) for entry in entries):
        return np.array(entries, dtype=bool).reshape(objects.shape)
    whole = all(isinstance(entry, (int, np.integer)) and -(2**63) <= entry < 2**63 for entry in entries)
    try:
        return np.array([int(e) if whole else float(e) for e in entries]).reshape(objects.shape)
    except (OverflowError, ValueError, TypeError) as error:
        raise ValueError(f"{name} holds what is no number for a float: {error}") from None


def as_labels(name: str, labels: Any, count: int | None = None) -> np.ndarray:
    """Labels as a row (count,) of strings, whole or other numbers, or booleans, which come back as they were given.

    Refused are: labels of several kinds, since NumPy would make one of them ("1" of 1); missing ones; members of an
    Enum, which no file could bring back; and more or fewer than `count`. Raises TypeError or ValueError.
    """
    given = _column(name, _on_host(name, labels, False)) if is_array(labels) else as_list(name, labels)
    if count is not None and len(given) != count:
        raise ValueError(f"{name} has shape ({len(given)},), expected ({count},): one for each example")
    if isinstance(given, np.ndarray) and given.dtype.kind in "biufU":
        found = given if given.dtype.isnative else given.astype(given.dtype.newbyteorder("="))
    else:
        entries = []
        for k, entry in enumerate(given):
            if isinstance(entry, Enum):
                raise TypeError(f"{name}[{k}] is {entry!r}, a member of an Enum, expected its value")
            if _is_missing(entry):
                raise ValueError(f"{name}[{k}] is not finite or missing: {entry}")
            entry = entry.item() if getattr(entry, "ndim", None) == 0 else entry  # NumPy's and other libraries' scalars
            if not isinstance(entry, (str, bool, int, float)):
                raise TypeError(f"{name}[{k}] is {entry!r:.60}, expected a string, a number or a boolean")
            entries.append(entry)
            if _label_kind(entry) != _label_kind(entries[0]):
                raise TypeError(f"{name}[0] is {entries[0]!r:.60} and {name}[{k}] is {entry!r:.60}, expected one kind")
        found = np.array(entries) if entries else np.zeros(0, np.int64)
        whole = all(isinstance(entry, int) for entry in entries)
        for k, (entry, back) in enumerate(zip(entries, found.tolist())):
            if entry != back or (whole and not isinstance(back, int)):
                raise ValueError(f"{name}[{k}] is {entry!r:.60}, which NumPy holds as {back!r:.60}")
            if found.dtype.kind == "O" and isinstance(entry, int) and not -(2**63) <= entry < 2**64:
                raise ValueError(f"{name}[{k}] is {entry!s:.60}, expected integers of at most 64 bits")
    if found.dtype.kind == "f" and found.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {found.dtype}, expected float64 or less: a file holds no more")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"{name}[{int(np.argmin(np.isfinite(found)))}] is not finite")
    return found


def _label_kind(label: Any) -> type:
    return str if isinstance(label, str) else bool if isinstance(label, bool) else Number


def check_same_kind(name: str, labels: np.ndarray, other: str, others: np.ndarray) -> None:
    """Raise TypeError where strings would be compared with numbers, which are never equal."""
    if len(labels) and len(others) and (labels.dtype.kind == "U") != (others.dtype.kind == "U"):
        raise TypeError(
            f"{name} holds {labels[:1].tolist()[0]!r} and {other} {others[:1].tolist()[0]!r}, expected one kind of "
            "labels: strings and numbers are never equal"
        )


def comparable(*labels: np.ndarray) -> list[np.ndarray]:
    """Rows of labels with dtypes in which different ones stay different: NumPy compares int64 with uint64, or with
    fractions, as floats, in which whole numbers above 2**53 become one."""
    if np.result_type(*labels).kind != "f":
        return list(labels)
    large = any(row.dtype.kind in "iu" and len(row) and max(-int(row.min()), int(row.max())) > 2**53 for row in labels)
    return [row.astype(object) if large else row for row in labels]


def positions(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Where each label stands among the classes (K,), in any order. Raises TypeError or ValueError for others."""
    check_same_kind(name, labels, "the model's classes", classes)
    labels, classes = comparable(labels, classes)
    order = np.argsort(classes, kind="stable")
    found = order[np.minimum(np.searchsorted(classes[order], labels), len(classes) - 1)]
    for k in np.flatnonzero(classes[found] != labels)[:1]:
        raise ValueError(f"{name}[{k}] is {labels[k : k + 1].tolist()[0]!r}, expected one of {classes.tolist()!s:.200}")
    return found


def check_sizes(least: int = 1, **sizes: Any) -> None:
    """Raise TypeError or ValueError unless each is a whole number of at least `least`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"{name} is {size!r}, expected a whole number")
        if size < least:
            raise ValueError(f"{name} is {size}, expected at least {least}")


def check_rates(**rates: Any) -> None:
    """Raise TypeError or ValueError unless each is a number in [0, 1)."""
    for name, rate in rates.items():
        if not _is_real(rate):
            raise TypeError(f"{name} is {rate!r}, expected a number")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name} is {rate}, expected a probability in [0, 1)")


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def library(name: str, extra: str) -> Any:
    """A module that comes with one of this package's extras. Raises ImportError that says which."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is needed: pip install 'rnnscratch[{extra}]' ({error})") from error


def check_flags(**flags: Any) -> None:
    """Raise TypeError unless each is True or False (or 1 or 0)."""
    for name, flag in flags.items():
        if not isinstance(flag, (int, np.integer, np.bool_)) or flag not in (0, 1):
            raise TypeError(f"{name} is {flag!r:.60}, expected True or False")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in list(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def check_number(
    name: str, value: Any, above: float | None = None, least: float | None = None, below: float | None = None
) -> float:
    """The value, if it is a finite number within the bounds. Raises TypeError or ValueError otherwise."""
    if not _is_real(value):
        raise TypeError(f"{name} is {value!r:.60}, expected a number")
    try:
        number = float(value)
    except OverflowError:  # an int that no float holds
        number = math.inf
    low = number > above if above is not None else number >= least if least is not None else True
    if not (math.isfinite(number) and low and (below is None or number < below)):
        lower = f" above {above}" if above is not None else f" of at least {least}" if least is not None else ""
        upper = "" if below is None else f" below {below}"
        raise ValueError(f"{name} is {value!s:.60}, expected a number{lower}{' and' if lower and upper else ''}{upper}")
    return number


def check_lengths(lengths: Any, T: int, B: int) -> np.ndarray | None:
    """The lengths as a host array (B,) of integers from 1 to T; None stays None."""
    if lengths is None:
        return None
    if get_array_module(lengths) is not np:
        raise TypeError("lengths is a device array, expected integers on the host: they steer the loop")
    found = as_column("lengths", lengths, "iu")
    if found.shape != (B,):
        raise ValueError(f"lengths has shape {found.shape}, expected ({B},): one for each sequence of x")
    for index in np.flatnonzero((found < 1) | (found > T))[:1]:
        if found[index] < 1:
            raise ValueError(
                f"lengths[{index}] is {found[index]}, expected at least 1: a sequence has at least one step"
            )
        raise ValueError(f"lengths[{index}] is {found[index]}, but x has only T={T} steps")
    return found.astype(np.int64)


def check_shape(name: str, value: Any, shape: tuple[int, ...], dtype: Any, meaning: str) -> Array:
    """The value as an array of this shape and dtype, which numbers without a dtype take on (`as_operand`).

    An array that fits is returned as it is. Raises TypeError or ValueError otherwise.
    """
    if type(value) is np.ndarray and value.shape == shape and value.dtype == dtype:
        return value
    found = as_operand(name, value, dtype)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, expected {shape} {meaning}")
    if found.dtype != dtype:
        raise TypeError(f"{name} has dtype {found.dtype}, expected {np.dtype(dtype)}")
    return found


def check_module(name: str, value: Any, xp: Any) -> None:
    """Raise TypeError unless an array is of this module, which is that of the parameters."""
    found = get_array_module(value)
    if found is not xp:
        raise TypeError(
            f"{name} and the parameters are on different devices: {found.__name__} and {xp.__name__}; "
            "move them to one with to_cpu or to_gpu"
        )


def check_ids(ids: Any, size: int, name: str = "ids") -> Array:
    """The ids as an array of integers in [0, size), at least one. Raises TypeError or ValueError otherwise.

    On a device it waits until it can read them: give ids that are on the host still.
    """
    found = as_array(name, ids, "iu")
    if found.size == 0:
        raise ValueError(f"{name} has shape {found.shape}, expected at least one token")
    host = to_cpu(found)
    outside = (host < 0) | (host >= size)
    if outside.any():
        position = tuple(int(axis[0]) for axis in outside.nonzero())
        raise ValueError(f"{name}[{', '.join(map(str, position))}] is {host[position]}, expected 0 to {size - 1}")
    return found


def check_shapes(name: str, outputs: Array, targets: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError when there is nothing to take the mean of, or targets do not match the outputs."""
    if outputs.size == 0:
        raise ValueError(f"{name} has shape {outputs.shape}, expected at least one number")
    if targets.shape != expected:
        raise ValueError(f"targets has shape {targets.shape}, expected {expected} for {name} of {outputs.shape}")


def refuse_first(name: str, values: Array, allowed: Any, expected: str) -> None:
    """Raise ValueError naming the first of the values that is not allowed."""
    if not allowed.all():
        position = tuple(np.argwhere(~allowed)[0].tolist())
        raise ValueError(f"{name}[{', '.join(map(str, position))}] is {values[position]}, expected {expected}")


def check_distribution(name: str, values: Any, size: int | None = None) -> np.ndarray:
    """The values as float64 (..., size), if each row is a distribution to the accuracy that single precision has.

    A row whose sum is off by more than the rounding of doubles is divided by it, so that nothing drifts; float16 may
    be off by as much as it rounds. Raises TypeError or ValueError, naming the argument.
    """
    if get_array_module(values) is not np:
        raise TypeError(f"{name} is a device array, expected one on the host")
    given = as_array(name, values)
    found = given.astype(np.float64)
    if found.ndim == 0 or not found.shape[-1] or (size is not None and found.shape[-1] != size):
        raise ValueError(f"{name} has shape {found.shape}, expected rows of {size or 'some'} probabilities")
    tolerance = 4e-3 if given.dtype == np.float16 else 1e-5
    with np.errstate(all="ignore"):
        total = found.sum(axis=-1, keepdims=True)
    wrong = ~(np.isfinite(found) & (found >= 0)).all(axis=-1) | ~(np.abs(total[..., 0] - 1.0) <= tolerance)
    for place in np.argwhere(wrong)[:1] if wrong.any() else ():
        where = f"[{', '.join(map(str, place))}]" if len(place) else ""
        row = found[tuple(place)]
        raise ValueError(
            f"{name}{where} holds {row.min()} to {row.max()} and sums to {row.sum()}, expected probabilities"
        )
    return np.where(np.abs(total - 1.0) > 1e-12, found / total, found)


def non_finite(arrays: Mapping[str, Array]) -> str | None:
    """The name of the last of the arrays that hold NaN or infinity, if any does. A device is waited for once."""
    xp = get_array_module(*arrays.values())
    if xp is not np:
        finite = to_cpu(xp.stack([xp.isfinite(array).all() for array in arrays.values()]))
        return next((name for name, fine in zip(reversed(list(arrays)), finite[::-1]) if not fine), None)
    for name, array in reversed(list(arrays.items())):
        if not bool(np.isfinite(array).all()):
            return name
    return None


def check_labels(
    data: Any, num_classes: int, unlabelled: bool = False, soft: bool = False
) -> tuple[list[np.ndarray], np.ndarray]:
    """The pair (sequences, labels) as arrays of ids and whole numbers from 0 to num_classes - 1, one for each.

    With `unlabelled`, -1 is no label, which not all may have; with `soft`, labels may be the probabilities
    (N, num_classes) of the classes instead.

    Raises ValueError or TypeError for anything else.
    """
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"is {type(data).__name__}, expected the pair (sequences, labels)")
    sequences = as_sequences("sequences", data[0])
    if soft and are_soft(data[1]):
        return sequences, as_soft("labels", data[1], len(sequences), num_classes)
    labels = as_labels("labels", data[1], len(sequences))
    if not unlabelled:
        return sequences, positions("labels", labels, np.arange(num_classes))
    found = positions("labels", labels, np.arange(-1, num_classes)) - 1
    if (found < 0).all():
        raise ValueError("labels are all -1, expected some sequences with a label")
    return sequences, found


def are_soft(labels: Any) -> bool:
    """Whether labels are a table, of the probabilities of several classes."""
    shape: Any = getattr(labels, "shape", ())
    return len(shape) == 2 and shape[1] != 1


def as_soft(name: str, labels: Any, count: int, num_classes: int | None = None) -> np.ndarray:
    """Such labels as float64 (count, num_classes), rows of probabilities. Raises TypeError or ValueError."""
    found = check_distribution(name, labels, num_classes)
    if len(found) != count:
        raise ValueError(f"{name} has shape {found.shape}, expected {(count, *found.shape[1:])}")
    return found


def as_sequences(name: str, value: Any) -> list[np.ndarray]:
    """Sequences of token ids, each an array (length,) of integers on the host; empty ones too, but at least one.

    A two-dimensional array holds one in each row, a data frame's one column one in each entry. Raises TypeError or
    ValueError, naming the argument and the sequence.
    """
    found = []
    for k, entry in enumerate(_entries(name, value)):
        if type(entry) is not np.ndarray or entry.ndim != 1 or entry.dtype.kind not in "iu":
            if get_array_module(entry) is not np:
                raise TypeError(f"{name}[{k}] is a device array, expected integers on the host")
            entry = as_column(f"{name}[{k}]", entry, "iu" if _length(entry) else "iuf")
            entry = entry if len(entry) else np.zeros(0, np.int64)
        if entry.dtype == np.uint64 and len(entry):
            refuse_first(f"{name}[{k}]", entry, entry < 2**63, "an id below 2**63")
        found.append(entry)
    if not found:
        raise ValueError(f"{name} is empty, expected at least one")
    return found


def check_sequences(name: str, sequences: list[np.ndarray], size: int) -> None:
    """Raise ValueError unless all ids are in [0, size), naming the first that is not."""
    for k, ids in enumerate(sequences):
        if len(ids) and not 0 <= ids.min() <= ids.max() < size:
            refuse_first(f"{name}[{k}]", ids, (ids >= 0) & (ids < size), f"0 to {size - 1}")


def as_strings(name: str, value: Any) -> list[str]:
    """A row or column of strings as a list of Python's own. Raises TypeError or ValueError, naming the argument."""
    found = as_list(name, value) if not is_array(value) else _column(name, _on_host(name, value, False)).tolist()
    if not all(type(text) is str for text in found):
        for k, text in enumerate(found):
            if not isinstance(text, str):
                raise TypeError(f"{name}[{k}] is {type(text).__name__} ({text!r:.60}), expected a string")
        found = [str.__str__(text) for text in found]
    return found


def check_texts(texts: Any, least: int = 1) -> list[str]:
    """The texts as a list of strings. Raises TypeError or ValueError when there is none, or one that is no string."""
    found = as_strings("texts", texts)
    if len(found) < least:
        raise ValueError("texts is empty, expected at least one")
    return found


def _length(entry: Any) -> int:
    return len(entry) if hasattr(entry, "__len__") else 1


def _entries(name: str, value: Any) -> list[Any]:
    """`as_list`, or the entries themselves of one column that holds lists."""
    found = as_list(name, value)
    if found and all(isinstance(row, np.ndarray) and row.dtype == object and row.shape == (1,) for row in found):
        return [row[0] for row in found]
    return found
