"""The CUDA sources: read, compiled, and given addresses."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backend import Array
from .choice import SCALARS

if TYPE_CHECKING:
    from ..sequence import Cell


def source(name: str) -> str:
    """A .cu file with what it includes from this folder, each file once."""
    seen: set[str] = set()

    def read(name: str) -> str:
        lines = []
        for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines():
            if line.startswith('#include "'):
                included = line.split('"')[1]
                if included not in seen:
                    seen.add(included)
                    lines.append(read(included))
            elif line != "#pragma once":
                lines.append(line)
        return "\n".join(lines)

    return read(name) + "\n"


def compile_module(source: str, defines: tuple[str, ...], together: bool) -> Any:
    """A module of kernels, each of which is called as `kernel(grid, block, arguments, shared_mem=bytes)`; with
    `together`, a launch fails whose blocks cannot all run at once.
    """
    import cupy

    options = ("--std=c++17", *(f"-D{define}" for define in defines))
    return cupy.RawModule(code=source, options=options, enable_cooperative_groups=together)


@lru_cache(maxsize=256)
def module(file: str, *defines: str, together: bool = False) -> Any:
    """The compiled .cu file."""
    return compile_module(source(file), defines, together)


@lru_cache(maxsize=1024)
def kernel(file: str, name: str, *defines: str, together: bool = False) -> Any:
    """A kernel of a .cu file."""
    return module(file, *defines, together=together).get_function(name)


def forget() -> None:
    """Compile anew what is needed from now on."""
    module.cache_clear()
    kernel.cache_clear()


def defines(cell: Cell, dtype: np.dtype) -> tuple[str, ...]:
    """What every .cu file is told of a cell."""
    return f"CELL={cell.twin}", f"SCALAR={SCALARS[np.dtype(dtype).char]}"


class Rows:
    """The addresses of an array's rows, which lie one after the other; all 0 for None."""

    def __init__(self, array: Array | None):
        self.array = array  # lives as long as its addresses are used
        self.start = 0 if array is None else array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
        self.pitch = 0 if array is None else array.shape[-1] * array.dtype.itemsize

    def __getitem__(self, row: int) -> int:
        return self.start + row * self.pitch
