"""Learning-rate schedules, from the number of the update to the rate, and a factor that falls when a loss stalls."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, MethodWrapperType
from typing import Any

import numpy as np

from .checks import check_number, check_sizes

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class StepSchedule:
    """What `step_schedule` returns."""

    learning_rate: float
    every: int
    factor: float

    def __post_init__(self) -> None:
        check_sizes(every=self.every)
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_number("factor", self.factor, above=0.0)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        return self.learning_rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class CosineSchedule:
    """What `cosine_schedule` returns."""

    learning_rate: float
    steps: int
    final: float

    def __post_init__(self) -> None:
        check_sizes(steps=self.steps)
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_number("final", self.final, least=0.0)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        share = 0.5 * (1.0 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return self.final + (self.learning_rate - self.final) * share


@dataclass(frozen=True)
class WarmUp:
    """What `warm_up` returns."""

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(
                f"schedule is {self.schedule!r:.60}, expected a function from the step's number to the learning rate"
            )
        check_sizes(steps=self.steps)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        return self.schedule(step) * min((step + 1) / self.steps, 1.0)


def describe(value: Any, _within: tuple[Any, ...] = ()) -> Any:
    """What can be known of a schedule without calling it, as JSON can hold it: equal schedules have it in common.

    The library's are described whole. A function is described by its name, its code, and the numbers, texts, arrays
    and functions in its closure and defaults; a method by its object's class too, one of a list, dict or array by what
    that holds; another object by its class alone.
    Of the functions on the way here, one that refers to itself is named alone.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.number | np.bool_):
        return value.item()
    if isinstance(value, bytes | complex):
        return repr(value)
    if isinstance(value, np.ndarray):
        return ["array", value.dtype.name, list(value.shape), zlib.crc32(value.tobytes())]
    if any(value is each for each in _within):
        return type(value).__qualname__
    _within = (*_within, value)
    if isinstance(value, list | tuple):
        return [describe(each, _within) for each in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((describe(each, _within) for each in value), key=repr)]
    if isinstance(value, dict):
        return ["dict", *([describe(name, _within), describe(each, _within)] for name, each in value.items())]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(describe(getattr(value, field.name), _within) for field in fields(value))]
    if isinstance(value, partial):
        parts = (value.func, value.args, list(value.keywords.items()))
        return ["partial", *(describe(part, _within) for part in parts)]
    if isinstance(value, MethodType):
        return ["method", type(value.__self__).__qualname__, describe(value.__func__, _within)]
    if isinstance(value, BuiltinFunctionType | MethodWrapperType):
        return ["method", value.__name__, describe(value.__self__, _within)]
    if isinstance(value, np.ufunc):
        return ["ufunc", value.__name__]
    if isinstance(value, CodeType):
        return [zlib.crc32(value.co_code), describe(value.co_consts, _within), list(value.co_names)]
    if isinstance(value, FunctionType):
        closure = [describe(_contents(cell), _within) for cell in value.__closure__ or ()]
        named = [describe(value.__kwdefaults__, _within)] if value.__kwdefaults__ else []
        return [
            value.__qualname__,
            describe(value.__code__, _within),
            closure,
            describe(value.__defaults__ or (), _within),
            *named,
        ]
    return type(value).__qualname__


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return None


def step_schedule(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """The learning rate, times `factor` once more after every `every` steps.

    Raises TypeError or ValueError unless `every` is a whole number, and all are above 0.

    >>> [round(step_schedule(0.1, every=2, factor=0.5)(step), 3) for step in range(6)]
    [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    """
    return StepSchedule(learning_rate, every, factor)


def cosine_schedule(learning_rate: float, steps: int, final: float = 0.0) -> Schedule:
    """From `learning_rate` down to `final` along half a cosine over `steps` steps, and `final` after (SGDR, 2017).

    Raises TypeError or ValueError unless `steps` is a whole number of at least 1, the rate above 0, `final` not below.
    """
    return CosineSchedule(learning_rate, steps, final)


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """`schedule` times 1/steps, 2/steps, ... over the first `steps` steps, then `schedule` itself.

    Raises TypeError unless `schedule` is a function, and TypeError or ValueError unless `steps` is a whole number of at
    least 1.

    >>> rate = warm_up(cosine_schedule(0.1, steps=100), steps=10)
    >>> [round(rate(step), 4) for step in (0, 50, 100)]
    [0.01, 0.05, 0.0]
    """
    return WarmUp(schedule, steps)


class Plateau:
    """Multiplies the learning rate by `factor` when a loss has not improved for more than `patience` epochs.

    An improvement is a fall by more than the relative `threshold`; NaN is none. `update(loss)` returns the factor
    reached so far. For a score that should rise, pass minus the score.
    """

    def __init__(self, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4):
        self.factor = check_number("factor", factor, above=0.0, below=1.0)
        if isinstance(patience, bool) or not isinstance(patience, (int, np.integer)):
            raise TypeError(f"patience is {patience!r}, expected a whole number")
        self.patience = int(check_number("patience", patience, least=0))
        self.threshold = check_number("threshold", threshold, least=0.0)
        self.best, self.waited, self.scale = math.inf, 0, 1.0

    def update(self, loss: float) -> float:
        """Take note of one epoch's loss, and return the factor by which learning rates are to be multiplied now."""
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        if loss < self.best - margin:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.waited, self.scale = 0, self.scale * self.factor
        return self.scale

    def state_dict(self) -> dict[str, float]:
        """What must be saved for a run to continue."""
        return {"best": self.best, "waited": self.waited, "scale": self.scale}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from what `state_dict` returned. Raises ValueError, before anything is changed, for other keys."""
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"state holds {', '.join(map(repr, state))}, expected 'best', 'waited' and 'scale'")
        self.best, self.waited, self.scale = float(state["best"]), int(state["waited"]), float(state["scale"])
