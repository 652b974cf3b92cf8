"""Arrays: which module an array belongs to, moves between host and device, and the few operations NumPy and CuPy
spell apart.

The array module is always read off the data (`xp = get_array_module(x)`), never off a global switch, so a function
that was written for NumPy runs on CuPy arrays unchanged. CuPy is imported only when it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # a numpy.ndarray or a cupy.ndarray: both have the same methods, and no common type
DTYPES = ("float32", "float64", "complex128")


def get_array_module(*arrays: Any) -> Any:
    """The module that made the arrays: `numpy` or `cupy`. Other objects (None, numbers) have no say.

    Raises TypeError when host and device arrays are mixed: they are never copied behind the caller's back.

    >>> get_array_module(np.zeros(2)).__name__
    'numpy'
    """
    if len(arrays) == 1 and type(arrays[0]) is np.ndarray:  # at every step of a sequence
        return np
    module = None
    for array in arrays:
        found = _module_of(array)
        if found is None or found is module:
            continue
        if module is not None:
            raise TypeError(
                f"arrays on different devices: {module.__name__} and {found.__name__}; "
                "move them to one with to_cpu or to_gpu"
            )
        module = found
    return np if module is None else module


def _module_of(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return np
    home = type(array).__module__
    for name in (home.partition(".")[0], home):
        module = sys.modules.get(name)
        kind = getattr(module, "ndarray", None)  # NumPy and CuPy name it so, PyTorch and pandas do not
        if kind is not None and isinstance(array, kind):
            return module
    return None


def gpu_available() -> bool:
    """Whether a kernel really runs on a CUDA device; `gpu_problem` says why not.

    The first call imports CuPy and takes seconds; importing rnnscratch never does.
    """
    return gpu_problem() is None


def gpu_problem() -> str | None:
    """What is missing for a GPU and how to get it, in one line; None where a kernel runs."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return f"CuPy is not installed; {_INSTALL}"
        return f"CuPy cannot be imported ({_first_line(error)}); {_INSTALL}"
    return _try_kernels(cupy)


_INSTALL = (
    'pip install "rnnscratch[cuda13]" brings it and the CUDA libraries for drivers from 580 on, "rnnscratch[cuda12]" '
    "for older ones"
)


@lru_cache(maxsize=1)
def _try_kernels(cupy: Any) -> str | None:
    """What keeps a kernel that CUDA compiles and a matrix product from running."""
    if int(cupy.__version__.partition(".")[0]) < 14:
        return f"CuPy {cupy.__version__} is installed, expected 14 or later; {_INSTALL}"
    if not cupy.is_available():
        return "CuPy sees no CUDA device: it needs an NVIDIA GPU and its driver, which nvidia-smi shows"
    try:
        row = cupy.arange(3, dtype=np.float32) + 1
        found = (row[None] @ row[:, None]).get()
    except Exception as error:  # CuPy's own kinds, of which most are of the CUDA library that is missing
        return (
            f"CuPy {cupy.__version__} sees a CUDA device, but a first kernel fails "
            f"({type(error).__name__}: {_first_line(error)}); {_INSTALL}"
        )
    return None if found.tolist() == [[14.0]] else f"a first kernel gave {found.tolist()}, expected [[14.0]]"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def to_cpu(array: Any) -> np.ndarray:
    """The array as a `numpy.ndarray`; one that is on the host already is returned as it is.

    Raises TypeError for what makes no array of numbers, such as a dict.
    """
    module = _module_of(array)
    try:
        found = array.get() if module not in (None, np) else np.asarray(array)
    except ValueError as error:  # ragged lists
        raise TypeError(f"array is {type(array).__name__}, expected an array of numbers: {error}") from None
    if module is None and found.dtype.kind not in "biufc":
        raise TypeError(f"array is {type(array).__name__}, expected an array of numbers")
    return found


def to_floats(*values: Any) -> list[float]:
    """Numbers as Python's; those on a device, arrays of one, come in one copy, for which it is waited once."""
    there = [k for k, value in enumerate(values) if get_array_module(value) is not np]
    if not there:
        return [float(value) for value in values]
    parts = [values[k].reshape(()).astype(np.float64) for k in there]
    found = dict(zip(there, to_cpu(get_array_module(*parts).stack(parts)).tolist()))
    return [found[k] if k in found else float(value) for k, value in enumerate(values)]


def to_gpu(array: Array) -> Array:
    """The array on the current CUDA device. Raises RuntimeError, saying what is missing, where no kernel runs."""
    return module_for("gpu").asarray(array)


def module_for(device: str) -> Any:
    """The array module of a device name: "cpu" is NumPy, "gpu" (or "cuda") is CuPy.

    Raises ValueError for another name, and RuntimeError when there is no usable GPU.
    """
    if not isinstance(device, str):
        raise ValueError(f"device is {device!r:.60}, expected 'cpu' or 'gpu'")
    if device == "cpu":
        return np
    if device not in ("gpu", "cuda"):
        raise ValueError(f"device is {device!r}, expected 'cpu' or 'gpu'")
    problem = gpu_problem()
    if problem is not None:
        raise RuntimeError(f'device={device!r}: {problem}; or use device="cpu"')
    import cupy

    return cupy


ENTRIES = 2**14  # numbers that `scatter_add` adds at a time, so that their places stay in the processor's cache
_PAIRS = {"f": np.complex64, "d": np.complex128}


def scatter_add(target: Array, indices: Array, values: Array) -> None:
    """Add `values[k]` to the row `target[indices[k]]`, in place; a repeated index is added every time.

    target (V, E), indices (N,) integers in [0, V), values (N, E). `target[indices] += values` would lose repeats. On a
    GPU, whose threads add in an order of chance, the last bits differ from run to run, but not within
    `deterministic_sums`.
    """
    xp = get_array_module(target, indices, values)
    if xp is np and target.flags.c_contiguous:  # entry by entry: NumPy's loop for 1-d indices is faster
        pair = _PAIRS.get(target.dtype.char)
        if pair and target.dtype == values.dtype and target.shape[1] % 2 == 0:  # two entries as one: 1.7 times as fast
            target, values = target.view(pair), np.ascontiguousarray(values).view(pair)
        width, flat = target.shape[1], target.reshape(-1)
        rows = max(1, ENTRIES // max(1, width))
        for first in range(0, len(indices), rows):
            entries = indices[first : first + rows].astype(np.intp)[:, None] * width + np.arange(width)
            np.add.at(flat, entries.reshape(-1), values[first : first + rows].reshape(-1))
        return
    if xp is not np and _deterministic.get() and len(indices):
        indices, values = _sum_repeats(indices, values)
    parts = (
        ((target.real, values.real), (target.imag, values.imag)) if target.dtype.kind == "c" else ((target, values),)
    )
    for into, part in parts:  # CuPy adds no complex numbers so
        xp.add.at(into, indices, part)


_deterministic: ContextVar[bool] = ContextVar("deterministic", default=False)


@contextmanager
def deterministic_sums(on: bool = True) -> Iterator[None]:
    """Within, in this thread, `scatter_add` adds in one order on a GPU too, so that it gives the same bits again.

    It then sorts the indices, which takes longer. On the CPU it always has one order.
    """
    token = _deterministic.set(on)
    try:
        yield
    finally:
        _deterministic.reset(token)


def _sum_repeats(indices: Array, values: Array) -> tuple[Array, Array]:
    """The indices sorted (N,), and values (N, E) of which the last of each index is the sum of all of it, others 0.

    By doubling: after the step of width w, each row is the sum of the last 2 w rows of its index, up to itself.
    """
    xp = get_array_module(indices, values)
    order = xp.argsort(indices)
    indices, sums = indices[order], values[order]
    width = 1
    while width < len(indices):
        same = (indices[width:] == indices[:-width])[:, None]
        sums[width:] = sums[width:] + xp.where(same, sums[:-width], 0)
        width *= 2
    last = xp.ones(len(indices), bool)
    last[:-1] = indices[1:] != indices[:-1]
    return indices, xp.where(last[:, None], sums, 0)


def generator(seed: Any = None, name: str = "seed") -> np.random.Generator:
    """A host random generator: the one given, or a new one from the seed.

    A seed is a whole number of at least 0, a list of such, a SeedSequence or BitGenerator, or None for another one each
    time. A RandomState, which is what scikit-learn takes, gives a new generator at each call, the same ones in the same
    order again. Random numbers are drawn on the host and moved, so one seed gives the same numbers on the CPU and on
    the GPU. Raises TypeError or ValueError for other seeds.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, np.random.RandomState) or seed is np.random:
        return np.random.default_rng(seed.randint(2**32, size=4, dtype=np.uint32))
    expected = f"{name} is {seed!r:.60}, expected a whole number of at least 0, a generator or None"
    if isinstance(seed, (bool, np.bool_)):
        raise TypeError(expected)
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(expected) from None


def check_dtype(dtype: Any, name: str = "dtype") -> np.dtype:
    """The NumPy dtype, if it is one that the kernels compute in. Raises TypeError or ValueError otherwise."""
    try:
        found = np.dtype("None" if dtype is None else dtype)  # to NumPy, None means float64
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {dtype!r}, expected one of {', '.join(DTYPES)}") from None
    if found.name not in DTYPES:
        raise ValueError(f"{name} is {found.name}, expected one of {', '.join(DTYPES)}")
    return found


SMALL = 256  # hidden units, from which on BLAS has all its threads


@contextmanager
def blas_threads(params: Mapping[str, Array], workers: int = 1) -> Iterator[None]:
    """Within, BLAS has one thread if the matrices among the parameters are small, or there are several workers, else
    all that it had.

    Their size is the largest of min(rows, columns): H for U (H, G*H), E for an embedding (V, E). With small products a
    second thread gains less than a second worker does (`workers.py`), and on a busy machine costs many times what it
    can gain, since the threads wait for each other at every product: `python -m benchmarks.threads` measures it.
    """
    sizes = [min(array.shape) for array in params.values() if getattr(array, "ndim", 0) == 2]
    if workers == 1 and (get_array_module(*params.values()) is not np or not sizes or max(sizes) >= SMALL):
        yield
        return
    with _blas().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
