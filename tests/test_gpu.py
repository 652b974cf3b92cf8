"""Every CUDA kernel on a real GPU: `python -m pytest -m gpu` checks them all, and skips with the reason elsewhere.

Against float64 NumPy: double to 1e-12, float32 to 1e-5 of the largest entry, with products in TF32 to 1e-3 in root mean
square; odd sizes, memory that starts as NaN, and the same bits when done again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cells import KERNELS, draw, relative_error, upstream

import rnnscratch as rs
from rnnscratch.kernels import cuda
from rnnscratch.kernels.cuda import choice
from rnnscratch.optimizers import Average

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not rs.gpu_available(), reason="no CUDA device on which CuPy runs a kernel"),
]
TF32 = os.environ.get("CUPY_TF32") == "1"  # in a process that the last test starts
BOUNDS = {"float64": 1e-12, "float32": 1e-5}
SIZES = [(1, 1, 1), (9, 3, 7), (5, 65, 33), (9, 3, 100), (20, 5, 128), (3, 4, 129), (4, 150, 260)]  # T, B, H
WAYS = [
    (name, path)
    for name, kernel in KERNELS.items()
    for path in cuda.PATHS
    if path == "arrays" or (kernel.cell.twin and not (path in ("sequence", "grid") and kernel.cell.by_row))
]


@pytest.fixture
def xp():
    """CuPy, whose memory starts as NaN."""
    cupy = pytest.importorskip("cupy")
    pool = cupy.get_default_memory_pool()

    def allocate(size):
        block = pool.malloc(size)
        block.memset(0xFF, size)
        return block

    with cupy.cuda.using_allocator(allocate):
        yield cupy


def lengths_of(T, B):
    """Neither rising nor falling, from 1 to T."""
    return [1 + (5 * k + T - 1) % T for k in range(B)]


def numpys_and_ours(name, path, T, B, H, lengths, dtype, xp, rng, calm=False, times=1):
    """All that a pass there and back finds, by name: in float64 with NumPy, and on the device so many times.

    In a calm network no step amplifies what was rounded before, and relu's slope does not jump from 0 to 1.
    """
    kernel = KERNELS[name]
    if obstacle := choice.obstacles_of(kernel.cell, np.dtype(dtype), H).get(path):
        pytest.skip(obstacle)
    arguments = draw(name, rng, T, B, 3, H, np.float32)
    arguments["U"] *= np.float32(min(1.0, (0.7 if calm else 2.0) / H**0.5))
    if calm and name == "rnn relu":
        arguments["b"] += 6
    if calm and name == "layer_norm":
        arguments["gh"] *= np.float32(0.1)
    arguments["mask"] = (rng.random((B, H)) < 0.6).astype(np.float32) * np.float32(1.5)
    dhs, dstate = upstream(name, rng, T, B, H, np.float32)
    hs, final, cache = kernel.forward({key: value.astype(float) for key, value in arguments.items()}, lengths)
    right = kernel.backward(cache, dhs.astype(float), {key: value.astype(float) for key, value in dstate.items()})
    there = {key: xp.asarray(value.astype(dtype)) for key, value in arguments.items()}
    dhs_there = xp.asarray(dhs.astype(dtype))
    dstate_there = {key: xp.asarray(value.astype(dtype)) for key, value in dstate.items()}
    runs = []
    for _ in range(times):
        with cuda.use(path):
            mine, last, kept = kernel.forward(there, lengths)
            assert kept.path == path
        runs.append({**kernel.backward(kept, dhs_there, dstate_there), "hs": mine, **last})
    return {**right, "hs": hs, **final}, runs


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize(("name", "path"), WAYS)
def test_a_pass_equals_numpys_in_float64_and_repeats_bit_for_bit(name, path, T, B, H, ragged, dtype, xp, rng):
    lengths = lengths_of(T, B) if ragged else None
    right, runs = numpys_and_ours(name, path, T, B, H, lengths, dtype, xp, rng, times=2)
    for key, value in right.items():
        # Of one unit, normalising leaves a difference of numbers of size 1: right to their last digits.
        scale = max(np.abs(value).max(), 1.0 if name == "layer_norm" else 0.0)
        assert np.abs(runs[0][key].get() - value).max() <= BOUNDS[dtype] * scale, key
        if path != "arrays":
            assert (runs[0][key] == runs[1][key]).all(), f"{key} is not the same again"


@pytest.mark.skipif(not TF32, reason="in a process of its own, which test_products_in_tf32 starts")
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("name", "path"), WAYS)
def test_tf32_is_near_float64(name, path, ragged, xp, rng):
    """In root mean square, since a sum of few products, as x W is here, may be off by 2^-10 of each."""
    T, B, H = 9, 5, 100
    lengths = lengths_of(T, B) if ragged else None
    right, (found,) = numpys_and_ours(name, path, T, B, H, lengths, "float32", xp, rng, calm=True)
    for key, value in right.items():
        error = np.linalg.norm(found[key].get() - value) / np.linalg.norm(value)
        assert error <= 1e-3, key


@pytest.mark.parametrize("make", [rs.SGD, rs.Momentum, rs.Adagrad, rs.RMSProp, rs.Adam, rs.AdamW])
def test_an_update_equals_numpys(make, xp, rng):
    here = {"W": rng.standard_normal((301, 7)), "b": rng.standard_normal(5)}
    there = {key: xp.asarray(value) for key, value in here.items()}
    ours, theirs = make(), make()
    for _ in range(3):
        grads = {key: rng.standard_normal(value.shape) for key, value in here.items()}
        ours.step(here, grads)
        theirs.step(there, {key: xp.asarray(value) for key, value in grads.items()})
    for key, value in here.items():
        assert relative_error(there[key].get(), value) < 1e-12, key


def test_a_mean_of_weights_equals_numpys(xp, rng):
    ours, theirs = Average(0.9), Average(0.9)
    for _ in range(3):
        params = {"W": rng.standard_normal((301, 7)), "b": rng.standard_normal(5)}
        ours.update(params)
        theirs.update({key: xp.asarray(value) for key, value in params.items()})
    for key, value in ours.values.items():
        assert relative_error(theirs.values[key].get(), value) < 1e-12, key


MAKERS = [rs.RNN, rs.LSTM, rs.GRU, partial(rs.GRU, reset_after=True), rs.PeepholeLSTM, rs.LayerNormLSTM]


@pytest.mark.parametrize("make", MAKERS)
def test_one_step_at_a_time_equals_the_same_on_the_cpu(make, xp, rng):
    here, there = (make(3, 20, num_layers=2, dtype="float64", device=device, seed=0) for device in ("cpu", "gpu"))
    state, state_there = None, None
    for x in rng.standard_normal((4, 5, 3)):
        h, state = here.step(x, state)
        h_there, state_there = there.step(xp.asarray(x), state_there)
        assert relative_error(h_there.get(), h) < 1e-12


@pytest.mark.parametrize("make", MAKERS)
def test_a_layer_on_the_gpu_equals_the_same_layer_on_the_cpu(make, xp, rng):
    options = {"num_layers": 2, "bidirectional": True, "dtype": "float64", "seed": 0}
    here, there = make(3, 20, **options), make(3, 20, device="gpu", **options)
    x, lengths = rng.standard_normal((9, 5, 3)), [9, 2, 5, 9, 1]
    hs, _ = here.forward(x, lengths=lengths)
    dhs = rng.standard_normal(hs.shape)
    dx, _ = here.backward(dhs)
    hs_there, _ = there.forward(xp.asarray(x), lengths=lengths)
    dx_there, _ = there.backward(xp.asarray(dhs))
    assert relative_error(hs_there.get(), hs) < 1e-12
    assert relative_error(dx_there.get(), dx) < 1e-12
    for key, gradient in here.grads.items():
        assert relative_error(there.grads[key].get(), gradient) < 1e-12, key
    assert there.explain(xp.asarray(x), lengths).path == ("steps" if make is rs.LayerNormLSTM else "sequence")


def test_explain_says_in_what_matrices_are_multiplied(xp):
    x = np.ones((3, 2, 3))
    for dtype, products in (("float64", "float64"), ("float32", "TF32" if TF32 else "float32")):
        layer = rs.LSTM(3, 4, dtype=dtype, device="gpu", seed=0)
        assert layer.explain(xp.asarray(x.astype(dtype))).products == products


@pytest.mark.skipif(TF32, reason="this is the run in TF32")
def test_products_in_tf32():
    command = [sys.executable, "-m", "pytest", "-m", "gpu", Path(__file__), "-k", "tf32 or explain", "--tb=short"]
    environment, root = {**os.environ, "CUPY_TF32": "1"}, Path(__file__).parents[1]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout
