"""The array module comes from the data; nothing is copied between devices unless asked."""

from __future__ import annotations

import configparser
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import strict_xp
from close import close
from hypothesis import example, given
from hypothesis import strategies as st
from peers import torch

from rnnscratch import backend

HOST, DEVICE = np.zeros(2), strict_xp.asarray(np.zeros(2))


@pytest.mark.parametrize(
    ("arrays", "module"),
    [
        ((), np),
        ((HOST,), np),
        ((DEVICE,), strict_xp),
        ((None, 2.0, DEVICE, [1]), strict_xp),
        ((DEVICE, np.float32(2), DEVICE), strict_xp),  # a NumPy number is a number
        ((None, "text", 3), np),
        ((HOST, HOST), np),
    ],
)
def test_the_module_is_that_of_the_arrays(arrays, module):
    assert backend.get_array_module(*arrays) is module


def test_an_array_of_neither_has_no_say():
    """Whoever expects a shape and a dtype says what is wrong with it."""
    assert backend.get_array_module(HOST, torch.zeros(2)) is np


@pytest.mark.parametrize("arrays", [(HOST, DEVICE), (DEVICE, None, HOST)])
def test_host_and_device_arrays_together_are_refused(arrays):
    with pytest.raises(TypeError, match="different devices: .* move them to one with to_cpu or to_gpu"):
        backend.get_array_module(*arrays)


def test_to_cpu_moves_device_arrays_and_leaves_host_arrays():
    assert backend.to_cpu(HOST) is HOST
    moved = backend.to_cpu(strict_xp.asarray(np.arange(3)))
    assert type(moved) is np.ndarray
    assert moved.tolist() == [0, 1, 2]
    assert backend.to_cpu([1, 2]).tolist() == [1, 2]


def test_to_cpu_fetches_arrays_only_and_names_what_holds_no_numbers():
    class Series(list):
        """As pandas': a column of numbers whose `get` looks a label up."""

        def get(self, key):
            raise NotImplementedError

    assert backend.to_cpu(Series([1.5, 2.5])).tolist() == [1.5, 2.5]
    for wrong in ({}, {"a": 1}, None, "text", ["a"], object()):
        with pytest.raises(TypeError, match=f"array is {type(wrong).__name__}, expected an array of numbers"):
            backend.to_cpu(wrong)


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy, with a device."""
    module = types.ModuleType("cupy")
    vars(module).update({**vars(strict_xp), "__version__": "14.2.0", "is_available": lambda: True})
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_a_device_is_used_where_there_is_one(cupy):
    assert backend.gpu_available() is True
    assert backend.module_for("gpu") is backend.module_for("cuda") is cupy
    moved = backend.to_gpu(np.arange(3))
    assert isinstance(moved, strict_xp.ndarray)
    assert moved.get().tolist() == [0, 1, 2]


def fails(*_, **__):
    raise RuntimeError("CuPy failed to load libnvrtc.so.13\nOSError: no such file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_available": lambda: False}, r"CuPy sees no CUDA device: it needs an NVIDIA GPU and its driver"),
        ({"__version__": "13.4.1"}, r'CuPy 13\.4\.1 is installed, expected 14 or later; .*"rnnscratch\[cuda13\]"'),
        ({"arange": fails}, r"CuPy 14\.2\.0 sees a CUDA device, but .*load libnvrtc\.so\.13\);"),
        ({"arange": lambda *_, **__: strict_xp.asarray(np.ones(3))}, r"a first kernel gave \[\[12\.0\]\]"),
    ],
    ids=["no device", "old", "no compiler", "wrong"],
)
def test_a_device_is_there_only_where_a_kernel_runs(change, message, cupy):
    vars(cupy).update(change)
    assert backend.gpu_available() is False
    for ask in (lambda: backend.module_for("gpu"), lambda: backend.to_gpu(HOST)):
        with pytest.raises(RuntimeError, match=rf"device='gpu': {message}.*; or use device=\"cpu\""):
            ask()


def test_without_cupy_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert backend.gpu_available() is False
    with pytest.raises(RuntimeError, match=r'CuPy is not installed; pip install "rnnscratch\[cuda13\]" brings it'):
        backend.module_for("gpu")
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1: no such file')")
    assert "CuPy cannot be imported (libcuda.so.1: no such file)" in backend.gpu_problem()


def test_the_extras_bring_the_compiler_and_cublas():
    """CuPy's wheel has neither; NVIDIA's, which its extra ctk names, have them."""
    config = configparser.ConfigParser()
    config.read(Path(backend.__file__).parents[1] / "setup.cfg", encoding="utf-8")
    for cuda in ("12", "13"):
        assert config["options.extras_require"][f"cuda{cuda}"].split() == [f"cupy-cuda{cuda}x[ctk]>=14"]


def test_the_cpu_needs_no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert backend.module_for("cpu") is np


@pytest.mark.parametrize("device", ["tpu", "", None, 0])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ValueError, match=f"device is {device!r}, expected 'cpu' or 'gpu'"):
        backend.module_for(device)


@given(
    indices=st.lists(st.integers(0, 4), max_size=20),
    dtype=st.sampled_from(["float32", "float64", "complex128"]),
    index_dtype=st.sampled_from(["int64", "int32", "uint8"]),
    contiguous=st.booleans(),
    on_device=st.booleans(),
)
@example(indices=[4, 0, 4], dtype="float32", index_dtype="uint8", contiguous=True, on_device=False)
def test_scatter_add_adds_every_repeat(indices, dtype, index_dtype, contiguous, on_device):
    rng = np.random.default_rng(len(indices))
    target = rng.standard_normal((5, 70)).astype(dtype, order="C" if contiguous else "F")  # 4 * 70 exceeds uint8
    values = rng.standard_normal((len(indices), 70)).astype(dtype)
    right = target.copy()
    for index, row in zip(indices, values):
        right[index] += row
    arguments = [target, np.array(indices, index_dtype), values]
    if on_device:
        arguments = [strict_xp.asarray(array) for array in arguments]
    backend.scatter_add(*arguments)
    assert close(arguments[0], right, ordered=not on_device)
    assert arguments[0].dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_deterministic_sums_come_in_one_order(dtype, rng):
    """The fake adds in another order each time, as a GPU's threads do."""
    indices = rng.integers(0, 7, 1000)
    start, values = rng.standard_normal((7, 3)).astype(dtype), rng.standard_normal((1000, 3)).astype(dtype)
    right = start.astype(complex)
    np.add.at(right, indices, values)

    def twice():
        found = []
        for seed in (0, 1):
            if hasattr(strict_xp, "reorder"):
                strict_xp.reorder(seed)
            target = strict_xp.asarray(start)
            backend.scatter_add(target, strict_xp.asarray(indices), strict_xp.asarray(values))
            assert np.allclose(target.get(), right, rtol=1e-5, atol=1e-4)
            found.append(target.get())
        return found

    if hasattr(strict_xp, "reorder"):
        assert not np.array_equal(*twice())
    with backend.deterministic_sums():
        assert np.array_equal(*twice())
        with backend.deterministic_sums(False):
            assert not backend._deterministic.get()
    assert not backend._deterministic.get()


def test_deterministic_sums_add_every_repeat(rng):
    for indices in ([], [3], [2, 2, 2, 2, 2], [4, 0, 4, 1, 0, 4, 4], list(range(5))):
        start, values = rng.standard_normal((5, 2)), rng.standard_normal((len(indices), 2))
        right, target = start.copy(), strict_xp.asarray(start)
        for index, row in zip(indices, values):
            right[index] += row
        with backend.deterministic_sums():
            moved = strict_xp.asarray(np.array(indices, int)), strict_xp.asarray(values)
            backend.scatter_add(target, *moved)
        assert np.allclose(target.get(), right, rtol=1e-13)
        assert np.array_equal(moved[1].get(), values)


def test_scatter_add_refuses_rows_that_do_not_exist_and_mixed_devices():
    target = np.zeros((3, 2))
    with pytest.raises(IndexError):
        backend.scatter_add(target, np.array([3]), np.ones((1, 2)))
    with pytest.raises(TypeError, match="different devices"):
        backend.scatter_add(target, np.array([1]), strict_xp.asarray(np.ones((1, 2))))
    assert not target.any()


def test_a_generator_comes_from_a_seed_or_is_the_one_given():
    given_one = np.random.default_rng(0)
    assert backend.generator(given_one) is given_one
    draws = [backend.generator(seed).random(4).tolist() for seed in (3, 3, 4, None, None)]
    assert draws[0] == draws[1] == np.random.default_rng(3).random(4).tolist()
    assert len({tuple(draw) for draw in draws}) == 4


@pytest.mark.parametrize("dtype", ["float32", np.float64, np.dtype("complex128"), "f4", float, complex])
def test_the_dtypes_of_the_kernels_pass(dtype):
    assert backend.check_dtype(dtype) == np.dtype(dtype)


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("float16", ValueError, "dtype is float16, expected one of float32, float64, complex128"),
        (int, ValueError, "dtype is int64"),
        ("complex64", ValueError, "dtype is complex64"),
        (None, TypeError, "dtype is None"),
        ("real", TypeError, "dtype is 'real'"),
        (3, TypeError, "dtype is 3"),
    ],
)
def test_other_dtypes_are_named(dtype, error, message):
    with pytest.raises(error, match=message):
        backend.check_dtype(dtype)


def test_small_matrices_get_one_blas_thread_and_large_ones_all_also_after_an_error():
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        small, large = {"U": np.zeros((255, 300)), "E": np.zeros((9000, 64)), "b": np.zeros(900)}, np.zeros((256, 300))
        with backend.blas_threads(small):
            assert threads() == {1}
            with backend.blas_threads({**small, "U": large}):
                assert threads() == {1}  # what an outer limit allows
        assert threads() == before
        with backend.blas_threads({"U": large}):
            assert threads() == before
        with pytest.raises(KeyError), backend.blas_threads(small):
            raise KeyError
        assert threads() == before
        with backend.blas_threads({"U": strict_xp.asarray(np.zeros((3, 3)))}):
            assert threads() == before


def test_what_makes_no_array_of_numbers_is_refused():
    for wrong in ({"a": 1}, [[1], [1, 2]], ["a"]):
        with pytest.raises(TypeError, match=f"array is {type(wrong).__name__}, expected an array of numbers"):
            backend.to_cpu(wrong)


@pytest.mark.parametrize("device", [np.array([1.0, 2.0]), np.zeros(0), None, 3, "tpu"])
def test_a_device_that_is_none_is_named(device):
    with pytest.raises(ValueError, match="device is .*, expected 'cpu' or 'gpu'"):
        backend.module_for(device)


def test_a_dtype_that_cannot_be_written_is_named():
    with pytest.raises(TypeError, match="dtype is .*ud800.*, expected one of"):
        backend.check_dtype("\ud800")
