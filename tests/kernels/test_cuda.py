"""The CUDA kernels, run on the CPU in double (cuda_shim.py), against the array code; and, with nvcc, compiled for GPUs."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from cells import KERNELS, draw, relative_error, upstream
from cuda_shim import shim, shim_folder  # noqa: F401 - fixtures

from rnnscratch.kernels import cuda, packing
from rnnscratch.kernels.cuda import choice, source
from rnnscratch.kernels.packing import Plan
from rnnscratch.kernels.sequence import run, run_back

NAMES = [name for name, kernel in KERNELS.items() if kernel.cell.twin]
PATHS = ("steps", "sequence")
SEEDS = (0, 1, 2)


def ragged(T, B):
    """Lengths from 1 to T, neither rising nor falling."""
    return [1 + (5 * k + T - 1) % T for k in range(B)]


def both_ways(name, path, T, B, H, lengths, masked=False, backwards=False, truncate=None, dtype=float, keep=True):
    """All that a pass there and back finds, by name; outputs are poisoned by what `np.empty` holds."""
    rng = np.random.default_rng(7)
    a, cell = draw(name, rng, T, B, 3, H, dtype), KERNELS[name].cell
    a["U"] *= dtype(min(1.0, 2.0 / H**0.5))
    mask = (rng.random((B, H)) < 0.6).astype(dtype) / dtype(0.6) if masked else None
    (dhs, dstate), plan = upstream(name, rng, T, B, H, dtype), Plan(T, B, lengths)
    state = tuple(a[f"{letter}0"] for letter in cell.states)
    with cuda.use(path):
        hs, final, cache = run(
            cell, plan, plan.pack(a["x"]), state, a["W"], a["U"], a["b"], {w: a[w] for w in cell.weights}, mask, backwards, keep
        )
    found = {"hs": hs, **{f"final {letter}": part for letter, part in zip(cell.states, final)}}
    if keep:
        dx, initial, grads = run_back(cache, plan.pack(dhs), tuple(dstate.values()), truncate)
        found |= {"x": dx, **{f"{letter}0": d for letter, d in zip(cell.states, initial)}, **grads}
    return found


def assert_close(found, right, bound=1e-12):
    assert found.keys() == right.keys()
    for key, value in right.items():
        assert found[key].dtype == value.dtype, key
        assert relative_error(found[key], value) < bound, key


@pytest.fixture(scope="module")
def right():
    """What the array code finds, each once."""
    known = {}

    def find(name, *args, **options):
        key = (name, *map(repr, args), repr(options))
        if key not in known:
            known[key] = both_ways(name, "arrays", *args, **options)
        return known[key]

    return find


@pytest.mark.parametrize("H", [1, 7, 8, 33, 64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", PATHS)
def test_a_pass_equals_the_array_code_in_any_order_of_the_threads(path, name, H, shim, right, monkeypatch):  # noqa: F811
    for T, B in [(1, 1), (1, 3), (2, 5), (9, 1), (9, 3)] if H < 33 else [(2, 5), (9, 3)]:
        for lengths in (None, ragged(T, B)) if T > 1 else (None,):
            expected = right(name, T, B, H, lengths)
            for seed in SEEDS:
                shim.seed = seed
                found = both_ways(name, path, T, B, H, lengths)
                assert_close(found, expected)
                if seed == 0:
                    first = found
                for key in first:
                    assert np.array_equal(found[key], first[key]), f"{key}: another order of threads, other bits"
