"""One update of a parameter, or of its running mean, in one launch (update.cu)."""

from __future__ import annotations

from ...backend import Array, get_array_module
from . import choice
from .source import Rows, kernel

THREADS = 256  # in a block
NUMBERS = 7


def can_update(param: Array) -> bool:
    """Whether `update` takes such a parameter."""
    return choice.on_gpu(get_array_module(param)) and param.dtype.char in choice.SCALARS


def update(rule: str, param: Array, grad: Array, slots: list[Array], numbers: list[float]) -> None:
    """Change a parameter and an optimizer's slots, all C-contiguous, in place.

    `rule` is a struct of update.cu, which says what the numbers are.
    """
    function = kernel("update.cu", "update", f"RULE={rule}", f"SCALAR={choice.SCALARS[param.dtype.char]}")
    gradient = Rows(get_array_module(grad).ascontiguousarray(grad))
    flat = [Rows(array.reshape(-1)) for array in (param, *slots)]
    places = [rows.start for rows in flat] + [0] * (3 - len(flat))
    values = [float(number) for number in numbers] + [0.0] * (NUMBERS - len(numbers))
    if param.size:
        blocks = (param.size + THREADS - 1) // THREADS
        function((blocks,), (THREADS,), (places[0], gradient.start, *places[1:], *values, int(param.size)))
