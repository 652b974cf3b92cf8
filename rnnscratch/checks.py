"""Validators of arguments: one wording of errors, each naming the argument, what came and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .backend import Array, get_array_module, to_cpu


def check_sizes(**sizes: Any) -> None:
    """Raise TypeError or ValueError unless each is a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"{name} is {size!r}, expected a whole number")
        if size < 1:
            raise ValueError(f"{name} is {size}, expected at least 1")


def check_rates(**rates: Any) -> None:
    """Raise TypeError or ValueError unless each is a number in [0, 1)."""
    for name, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)):
            raise TypeError(f"{name} is {rate!r}, expected a number")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name} is {rate}, expected a probability in [0, 1)")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in list(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def check_number(
    name: str, value: Any, above: float | None = None, least: float | None = None, below: float | None = None
) -> float:
    """The value, if it is a finite number within the bounds. Raises TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} is {value!r}, expected a number")
    low = value > above if above is not None else value >= least if least is not None else True
    if not (math.isfinite(value) and low and (below is None or value < below)):
        lower = f" above {above}" if above is not None else f" of at least {least}" if least is not None else ""
        upper = "" if below is None else f" below {below}"
        raise ValueError(f"{name} is {value}, expected a number{lower}{' and' if lower and upper else ''}{upper}")
    return float(value)


def check_lengths(lengths: Any, T: int, B: int) -> np.ndarray | None:
    """The lengths as a host array (B,) of integers from 1 to T; None stays None."""
    if lengths is None:
        return None
    if get_array_module(lengths) is not np:
        raise TypeError("lengths is a device array, expected integers on the host: they steer the loop")
    found = np.asarray(lengths)
    if found.dtype.kind not in "iu":
        raise TypeError(f"lengths has dtype {found.dtype}, expected integers")
    if found.shape != (B,):
        raise ValueError(f"lengths has shape {found.shape}, expected ({B},): one for each sequence of x")
    for index in np.flatnonzero((found < 1) | (found > T))[:1]:
        if found[index] < 1:
            raise ValueError(
                f"lengths[{index}] is {found[index]}, expected at least 1: a sequence has at least one step"
            )
        raise ValueError(f"lengths[{index}] is {found[index]}, but x has only T={T} steps")
    return found.astype(np.int64)


def check_shape(name: str, array: Array, shape: tuple[int, ...], dtype: Any, meaning: str) -> None:
    """Raise TypeError or ValueError unless `array` is an array of this shape and dtype."""
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise TypeError(f"{name} is {type(array).__name__}, expected an array of shape {shape} {meaning}")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape} {meaning}")
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, expected {dtype}")


def check_ids(ids: Any, size: int) -> None:
    """Raise TypeError or ValueError unless ids are integers in [0, size).

    Reads device arrays back: call it at the border.
    """
    if not hasattr(ids, "dtype") or ids.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {getattr(ids, 'dtype', type(ids).__name__)}, expected an array of integers")
    if ids.size == 0:
        raise ValueError(f"ids has shape {ids.shape}, expected at least one token")
    host = to_cpu(ids)
    outside = (host < 0) | (host >= size)
    if outside.any():
        position = tuple(int(axis[0]) for axis in outside.nonzero())
        raise ValueError(f"ids[{', '.join(map(str, position))}] is {host[position]}, expected 0 to {size - 1}")


def check_shapes(name: str, outputs: Array, targets: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError when there is nothing to take the mean of, or targets do not match the outputs."""
    if outputs.size == 0:
        raise ValueError(f"{name} has shape {outputs.shape}, expected at least one number")
    if getattr(targets, "shape", None) != expected:
        raise ValueError(
            f"targets has shape {getattr(targets, 'shape', None)}, expected {expected} for {name} of {outputs.shape}"
        )


def refuse_first(name: str, values: Array, allowed: Any, expected: str) -> None:
    """Raise ValueError naming the first of the values that is not allowed."""
    if not allowed.all():
        position = tuple(np.argwhere(~allowed)[0].tolist())
        raise ValueError(f"{name}[{', '.join(map(str, position))}] is {values[position]}, expected {expected}")


def check_distribution(name: str, values: Any, size: int | None = None) -> np.ndarray:
    """The values as floats (..., size), if each row is a distribution. Raises ValueError otherwise."""
    found = np.asarray(values, dtype=float)
    if found.ndim == 0 or not found.shape[-1] or (size is not None and found.shape[-1] != size):
        raise ValueError(f"{name} has shape {found.shape}, expected rows of {size or 'some'} probabilities")
    wrong = ~(np.isfinite(found) & (found >= 0)).all(axis=-1) | ~(np.abs(found.sum(axis=-1) - 1.0) <= 1e-8)
    for place in np.argwhere(wrong)[:1]:
        where = f"[{', '.join(map(str, place))}]" if len(place) else ""
        row = found[tuple(place)]
        raise ValueError(
            f"{name}{where} holds {row.min()} to {row.max()} and sums to {row.sum()}, expected probabilities"
        )
    return found


def check_labels(data: Any, num_classes: int) -> None:
    """Raise ValueError or TypeError unless data is (sequences, labels) with whole numbers from 0 to num_classes - 1."""
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"is {type(data).__name__}, expected the pair (sequences, labels)")
    labels = np.asarray(data[1])
    if labels.dtype.kind not in "iub" or labels.ndim != 1 or len(labels) != len(data[0]):
        raise ValueError(
            f"labels have shape {labels.shape} of {labels.dtype}, expected ({len(data[0])},) whole numbers"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1}")


def check_texts(texts: Any) -> list[str]:
    """The texts as a list. Raises TypeError for one string, ValueError when there is none."""
    if isinstance(texts, str):
        raise TypeError("texts is one string, expected a list of strings")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty, expected at least one")
    return texts


def check_answers(labels: Any, count: int) -> np.ndarray:
    """The labels as an array (count,). Raises ValueError or TypeError unless they are as many numbers or strings."""
    y = np.asarray(labels)
    if y.shape != (count,):
        raise ValueError(f"labels has shape {y.shape}, expected ({count},): one for each text")
    if y.dtype == object and all(isinstance(label, str) for label in y):
        y = y.astype(str)
    if y.dtype.kind not in "biufU":
        raise TypeError(f"labels has dtype {y.dtype}, expected strings or numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"labels[{int(np.argmin(np.isfinite(y)))}] is not finite")
    return y
