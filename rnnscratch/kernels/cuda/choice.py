"""Which way a cell runs on a device, and how the whole-sequence kernel uses a multiprocessor of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .grids import THREADS, Grid, divide

if TYPE_CHECKING:
    from ..sequence import Cell

PATHS = ("arrays", "steps", "sequence", "grid")
LARGEST = 128  # hidden units of the whole-sequence kernel
WAVES = (
    8  # blocks that a multiprocessor may have to run one after the other before steps over the whole batch are faster
)
SCALARS = {"f": "float", "d": "double"}
_forced: ContextVar[str | None] = ContextVar("path", default=None)


class Way(NamedTuple):
    """A way to run a cell, and why."""

    name: str
    why: str


class Explanation(NamedTuple):
    """How a recurrent layer runs."""

    path: str  # one of PATHS
    why: str
    launches_a_step: int | None  # there and back, of one layer and direction; None: one for each array operation
    bytes_kept: int  # states, gates and what a cell keeps, of all layers and directions, from a call to its way back
    products: str  # in what matrices are multiplied: the dtype, or "TF32" (see `precision`)


class Fit(NamedTuple):
    """How the whole-sequence kernel uses a multiprocessor: sequences of a block, rows of U in registers and in shared
    memory, and the bytes of the latter in a block, forward and backward.
    """

    rows: int
    in_registers: int
    in_shared: int
    bytes_forward: int
    bytes_backward: int


@contextmanager
def use(path: str | None) -> Iterator[None]:
    """Within, cells on a GPU run so: "arrays", "steps", "sequence" or "grid"; None is the automatic choice, among the
    first three.

    Raises ValueError for another name; a cell that cannot be run so raises ValueError when it is called.
    """
    if path is not None and path not in PATHS:
        raise ValueError(f"path is {path!r}, expected one of {', '.join(map(repr, PATHS))} or None")
    token = _forced.set(path)
    try:
        yield
    finally:
        _forced.reset(token)


def path_of(cell: Cell, xp: Any, dtype: np.dtype, B: int, H: int) -> Way:
    """How a cell of H hidden units runs on B sequences, and why. Raises ValueError where another way is forced."""
    forced = _forced.get()
    if not on_gpu(xp):
        return Way("arrays", "on the CPU the array code is the fast path")
    obstacles = dict.fromkeys(PATHS) | obstacles_of(cell, dtype, H)
    if forced is not None:
        if obstacles[forced]:
            raise ValueError(f"path is {forced!r}, but {obstacles[forced]}")
        return Way(forced, "as forced")
    if obstacles["steps"]:
        return Way("arrays", obstacles["steps"])
    if obstacles["sequence"]:
        shared = "" if obstacles["grid"] else '; cuda.use("grid") shares it among several'
        return Way("steps", obstacles["sequence"] + shared)
    rows, multiprocessors = fit(cell, dtype, H, B).rows, device()[0]
    if WAVES * rows * multiprocessors < B:
        why = (
            f"{B} sequences, {rows} a block, would come in more than {WAVES} turns on {multiprocessors} multiprocessors"
        )
        return Way("steps", why)
    return Way("sequence", f"H = {H} <= {LARGEST}: U stays in registers and shared memory for all steps")


def launches_a_step(cell: Cell, path: str, xp: Any) -> int | None:
    """Those that each further step adds, there and back; a product with U is one."""
    if path in ("sequence", "grid") or not on_gpu(xp):
        return 0
    return None if path == "arrays" else 8 if cell.own and not cell.by_row else 4


def obstacles_of(cell: Cell, dtype: np.dtype, H: int) -> dict[str, str | None]:
    """Why a path cannot be taken, by its name."""
    if not cell.twin:
        return dict.fromkeys(PATHS[1:], "the cell has no CUDA twin")
    if np.dtype(dtype).char not in SCALARS:
        return dict.fromkeys(PATHS[1:], f"the CUDA kernels take float32 and float64, not {np.dtype(dtype).name}")
    if cell.by_row:
        return dict.fromkeys(PATHS[2:], "a step needs sums over all units, for which there is no whole-sequence kernel")
    found: dict[str, str | None] = {}
    if H > LARGEST:
        found["sequence"] = f"H = {H} > {LARGEST}: U does not fit into a multiprocessor"
    if not launches_together():
        found["grid"] = "the device cannot launch blocks that wait for one another"
    elif division(cell, dtype, H, 1) is None:
        found["grid"] = f"H = {H}: U does not fit into the device's {device()[0]} multiprocessors"
    return found


def on_gpu(xp: Any) -> bool:
    """Whether this array module's arrays can be given to CUDA kernels."""
    return xp.__name__ == "cupy"


def precision(xp: Any, dtype: np.dtype) -> str:
    """In what numbers of this dtype are multiplied as matrices: the dtype's name, or "TF32".

    TF32, float32 with 10 bits after the point, is several times as fast on GPUs of compute capability 8.0 or more. It
    is CuPy's to allow, for the whole process: `CUPY_TF32=1` in the environment before its first product. Then float32
    matrices are rounded so where two of them are multiplied: in all products of the path "steps", in those outside the
    kernels of "sequence" and "grid", and in those of "arrays" but for one matrix with several.
    """
    return "TF32" if on_gpu(xp) and np.dtype(dtype) == np.float32 and tf32() else np.dtype(dtype).name


def tf32() -> bool:
    """Whether CuPy multiplies float32 matrices in TF32."""
    from cupy._core import _routines_linalg as products  # which has read CUPY_TF32 at its first product, or does now

    return bool(products.get_compute_type(np.float32) == products.COMPUTE_TYPE_TF32)


@lru_cache(maxsize=1)
def device() -> tuple[int, int]:
    """The device's multiprocessors, and the bytes of shared memory that a block may have."""
    import cupy

    attributes = cupy.cuda.Device().attributes
    return attributes["MultiProcessorCount"], attributes["MaxSharedMemoryPerBlockOptin"]


@lru_cache(maxsize=1)
def launches_together() -> bool:
    """Whether the device launches blocks that wait for one another, and has the instruction that grid.cu waits with."""
    import cupy

    gpu = cupy.cuda.Device()
    return int(gpu.compute_capability) >= 70 and bool(gpu.attributes["CooperativeLaunch"])


def division(cell: Cell, dtype: np.dtype, H: int, B: int) -> Grid | None:
    """How the kernel whose blocks wait for one another uses this device; None where it cannot."""
    return divide(len(cell.gates), H, B, np.dtype(dtype).itemsize, *device(), THREADS)


def fit(cell: Cell, dtype: np.dtype, H: int, B: int) -> Fit:
    """How the whole-sequence kernel uses a multiprocessor of this device."""
    G, size, padded = len(cell.gates), np.dtype(dtype).itemsize, -(-H // 4) * 4
    columns, rows = G * H, rows_of(cell, dtype, B)
    in_registers = min(padded, registers_of(columns, size))
    forward = rows * (padded * (2 if cell.own else 1) + columns + H) * size
    backward = rows * (G * padded + columns) * size
    room = (device()[1] - max(forward, backward)) // (columns * size) // 4 * 4
    in_shared = max(0, min(padded - in_registers, room))
    weights = in_shared * columns * size
    return Fit(rows, in_registers, in_shared, weights + forward, weights + backward)


def rows_of(cell: Cell, dtype: np.dtype, B: int) -> int:
    """How many sequences a block takes: two share a read of U where there are more sequences than multiprocessors."""
    return 2 if device()[0] < B and len(cell.gates) > 1 and np.dtype(dtype).itemsize == 4 else 1


def registers_of(columns: int, size: int) -> int:
    """How many numbers of U's column a thread can hold in registers, beside those that the work needs."""
    registers = min(255, 2**16 // (-(-columns // 32) * 32) // 8 * 8)
    return max(4, (registers - 64) // 16 * 16 if size == 4 else (registers - 104) // 2 // 4 * 4)


def sizes(shape: Fit, H: int) -> tuple[str, ...]:
    """What sequence.cu is told of it."""
    return f"HIDDEN={H}", f"ROWS={shape.rows}", f"IN_REGISTERS={shape.in_registers}", f"IN_SHARED={shape.in_shared}"
