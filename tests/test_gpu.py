"""Every CUDA kernel on a real GPU: `python -m pytest -m gpu` checks them all, and skips with the reason elsewhere.

Against float64 NumPy: double to 1e-12, float32 to 1e-5 of the largest entry; odd sizes, memory that starts as NaN, and
the same bits when done again.
"""

from __future__ import annotations

from functools import partial

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


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize(("name", "path"), WAYS)
def test_a_pass_equals_numpys_in_float64_and_repeats_bit_for_bit(name, path, T, B, H, ragged, dtype, xp, rng):
    kernel, lengths = KERNELS[name], [1 + (5 * k + T - 1) % T for k in range(B)] if ragged else None
    if obstacle := choice.obstacles_of(kernel.cell, np.dtype(dtype), H).get(path):
        pytest.skip(obstacle)
    arguments = draw(name, rng, T, B, 3, H, np.float32)
    arguments["U"] *= np.float32(min(1.0, 2.0 / H**0.5))
    arguments["mask"] = (rng.random((B, H)) < 0.6).astype(np.float32) * np.float32(1.5)
    dhs, dstate = upstream(name, rng, T, B, H, np.float32)
    hs, final, cache = kernel.forward({key: value.astype(float) for key, value in arguments.items()}, lengths)
    right = kernel.backward(cache, dhs.astype(float), {key: value.astype(float) for key, value in dstate.items()})
    right |= {"hs": hs, **final}
    there = {key: xp.asarray(value.astype(dtype)) for key, value in arguments.items()}
    dhs, dstate = xp.asarray(dhs.astype(dtype)), {key: xp.asarray(value.astype(dtype)) for key, value in dstate.items()}
    runs = []
    for _ in range(2):
        with cuda.use(path):
            hs, final, cache = kernel.forward(there, lengths)
            assert cache.path == path
        runs.append({**kernel.backward(cache, dhs, dstate), "hs": hs, **final})
    for key, value in right.items():
        # Of one unit, normalising leaves a difference of numbers of size 1: right to their last digits.
        scale = max(np.abs(value).max(), 1.0 if name == "layer_norm" else 0.0)
        assert np.abs(runs[0][key].get() - value).max() <= BOUNDS[dtype] * scale, key
        if path != "arrays":
            assert (runs[0][key] == runs[1][key]).all(), f"{key} is not the same again"


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
