"""The CUDA kernels, run on the CPU in double (cuda_shim.py), against the array code; with nvcc, compiled for GPUs."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import cuda_shim
import numpy as np
import pytest
from cells import KERNELS, draw, relative_error, upstream

import rnnscratch as rs
from rnnscratch.kernels import cuda
from rnnscratch.kernels.cuda import choice, grids, layer_norm, source
from rnnscratch.kernels.packing import Plan
from rnnscratch.kernels.sequence import run, run_back
from rnnscratch.optimizers import Average

NAMES = [name for name, kernel in KERNELS.items() if kernel.cell.twin]
ELEMENTWISE = [name for name in NAMES if not KERNELS[name].cell.by_row]  # those of step.cu, sequence.cu and grid.cu
WAYS = [*(("steps", name) for name in NAMES), *((path, name) for path in ("sequence", "grid") for name in ELEMENTWISE)]
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
        x, further = plan.pack(a["x"]), {weight: a[weight] for weight in cell.weights}
        hs, final, cache = run(cell, plan, x, state, a["W"], a["U"], a["b"], further, mask, backwards, keep)
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
@pytest.mark.parametrize(("path", "name"), WAYS)
def test_a_pass_equals_the_array_code_in_any_order_of_the_threads(path, name, H, shim, right, monkeypatch):
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


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("path", "name"), WAYS)
def test_masks_directions_cut_chains_and_chunks(path, name, masked, backwards, shim, right, monkeypatch):
    for lengths in (None, [2, 7, 7, 1, 5]):
        for truncate in (None, 3):
            args = name, 7, 5, 5, lengths, masked, backwards, truncate
            expected = right(*args)
            for one_chunk in (False, True):
                with monkeypatch.context() as patch:
                    if not one_chunk:
                        patch.setattr(Plan, "whole", property(lambda plan: plan.chunks))
                    assert (len(Plan(7, 5, lengths).whole) == 1) == one_chunk
                    shim.seed += 1
                    assert_close(both_ways(args[0], path, *args[1:]), expected)
        forward = both_ways(name, path, 7, 5, 5, lengths, masked, backwards, keep=False)
        assert_close(forward, {key: expected[key] for key in forward})


@pytest.mark.parametrize("in_registers", [4, 12])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_U_may_lie_in_three_kinds_of_memory_and_two_sequences_share_it(name, in_registers, shim, right, monkeypatch):
    H, gates = 22, len(KERNELS[name].cell.gates)
    monkeypatch.setattr(choice, "registers_of", lambda columns, size: in_registers)
    monkeypatch.setattr(choice, "rows_of", lambda cell, dtype, B: min(2, gates))
    large, row = choice.fit(KERNELS[name].cell, np.dtype(float), H, 5), gates * H * 8
    room = max(large.bytes_forward, large.bytes_backward) + (8 - large.in_shared) * row
    monkeypatch.setattr(choice, "device", lambda: (1, room))
    shape = choice.fit(KERNELS[name].cell, np.dtype(float), H, 5)
    assert (shape.in_registers, shape.in_shared) == (in_registers, 8)  # of 24 rows, the last two of them zeros
    for lengths in (None, [2, 4, 4, 1, 3]):
        expected = right(name, 4, 5, H, lengths, masked=True)
        assert_close(both_ways(name, "sequence", 4, 5, H, lengths, masked=True), expected)


@pytest.mark.parametrize(("path", "name"), WAYS)
def test_float32_is_as_exact_as_float32_can_be(name, path, shim, right):
    assert_close(
        both_ways(name, path, 9, 3, 33, ragged(9, 3), dtype=np.float32),
        right(name, 9, 3, 33, ragged(9, 3), dtype=np.float32),
        2e-5,
    )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_few_blocks_take_their_sequences_one_tile_after_the_other(name, backwards, shim, right, monkeypatch):
    B, H = 21, 9
    monkeypatch.setattr(choice, "THREADS", 16)
    monkeypatch.setattr(choice, "device", lambda: (6, 227 * 1024))
    shape = choice.division(KERNELS[name].cell, np.dtype(float), H, B)
    # the last tile of units and the last group are not full; a block has more sequences than it takes at a time
    assert shape.tiles * shape.units > H and shape.groups * shape.sequences > B and shape.groups > 1
    assert shape.sequences > shape.rows_forward or shape.sequences > shape.rows_backward, shape
    for lengths in (None, ragged(4, B)):
        for truncate in (None, 2):
            args = name, 4, B, H, lengths, True, backwards, truncate
            for seed in SEEDS:
                shim.seed = seed
                assert_close(both_ways(args[0], "grid", *args[1:]), right(*args))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_blocks_as_large_as_a_gpus_share_the_products_of_many_rows(name, shim, right, monkeypatch):
    monkeypatch.setattr(choice, "THREADS", 512)
    monkeypatch.setattr(choice, "device", lambda: (4, 227 * 1024))
    shape = choice.division(KERNELS[name].cell, np.dtype(float), 30, 40)
    assert (shape.threads, shape.tiles * shape.groups) == (512, 4) and shape.rows_forward >= 16, shape
    for seed in SEEDS:
        shim.seed = seed
        assert_close(both_ways(name, "grid", 3, 40, 30, ragged(3, 40)), right(name, 3, 40, 30, ragged(3, 40)))


@pytest.mark.parametrize("threads", [32, 64])
def test_a_thread_may_have_several_units_of_a_row(threads, shim, right, monkeypatch):
    monkeypatch.setattr(layer_norm, "THREADS", threads)
    for H in (33, 70):
        assert layer_norm.threads_of(H) <= threads
        for seed in SEEDS:
            shim.seed = seed
            found = both_ways("layer_norm", "steps", 4, 5, H, [2, 4, 4, 1, 3], masked=True)
            assert_close(found, right("layer_norm", 4, 5, H, [2, 4, 4, 1, 3], masked=True))


def caught(name, path, shim, expected):
    """Whether a wrong kernel shows, in one of some orders of the threads, by another result."""
    for seed in SEEDS:
        shim.seed = seed
        found = both_ways(name, path, 5, 4, 7, [5, 2, 4, 3])
        if not all(relative_error(found[key], value) < 1e-12 for key, value in expected.items()):
            return True
    return False


BARRIER, WAIT = "__syncthreads();", "if (s > begin || pass) group.wait();"


def nth_replaced(text, old, new, n):
    """The text with `new` in place of the n-th `old`."""
    parts = text.split(old)
    return old.join([*parts[:n], new.join(parts[n : n + 2]), *parts[n + 2 :]])


WRONG = [
    (file, name, path, BARRIER, ";", n)
    for file, name, path in [
        ("sequence.cu", "gru", "sequence"),
        ("grid.cu", "gru", "grid"),
        ("layer_norm.cu", "layer_norm", "steps"),
    ]
    for n in range(source.source(file).count(BARRIER))
]
# Without a wait of the blocks for one another: between steps, or between the two products of a step; there, and back.
WRONG += [
    ("grid.cu", "gru", "grid", WAIT, f"if ({left}) group.wait();", n) for left in ("pass", "s > begin") for n in (0, 1)
]


@pytest.mark.parametrize(("file", "name", "path", "old", "new", "n"), WRONG)
def test_a_kernel_without_one_of_its_barriers_is_caught(file, name, path, old, new, n, shim, right, monkeypatch):
    monkeypatch.setattr(choice, "rows_of", lambda cell, dtype, B: 2)
    expected = right(name, 5, 4, 7, [5, 2, 4, 3])
    assert not caught(name, path, shim, expected)
    shim.change = lambda text: nth_replaced(text, old, new, n)
    assert shim.change(source.source(file)) != source.source(file)
    source.forget()
    assert caught(name, path, shim, expected)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while (blockIdx.x) __nanosleep(20);", "threads pause for ever"),
        ("if (threadIdx.x) __syncthreads();", "3 of 4 threads at a barrier"),
    ],
)
def test_threads_that_would_wait_for_ever_end_the_process(body, words, shim_folder, tmp_path):
    run = f"cpu::run([](void*) {{ {body} }}, nullptr, {{2, 1}}, 4, 0, 1);"
    (tmp_path / "main.cpp").write_text(f'#include "cuda_on_cpu.h"\nint main() {{ {run} }}')
    tests, program = Path(cuda_shim.__file__).parent, tmp_path / "main"
    sources = tmp_path / "main.cpp", tests / "cuda_on_cpu.cpp"
    subprocess.run(["g++", "-std=c++17", f"-I{tests}", *sources, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode < 0 and words in done.stderr


@pytest.mark.parametrize(("multiprocessors", "shared"), [(132, 227), (108, 163), (46, 99), (20, 64)])
def test_all_blocks_run_at_once_and_have_all_units_and_sequences(multiprocessors, shared):
    batches = 1, 5, 64, 128, 1000
    for G, size, H in itertools.product((1, 3, 4), (4, 8), (1, 7, 100, 129, 256, 500, 512, 1024)):
        fits = [grids.divide(G, H, B, size, multiprocessors, shared * 1024, 512) for B in batches]
        for B, grid in zip(batches, fits):
            if grid is None:
                least = (-(-H // multiprocessors) + 1) * G * H * size  # a multiprocessor's share, in pairs of units
                assert least > shared * 1024 // 4 and fits.count(None) == len(fits), (G, size, H)
                continue
            assert grid.tiles * grid.groups <= multiprocessors
            assert (grid.tiles - 1) * grid.units < H <= grid.tiles * grid.units
            assert (grid.groups - 1) * grid.sequences < B <= grid.groups * grid.sequences
            assert max(grid.bytes_forward, grid.bytes_backward) <= shared * 1024
            assert G * grid.units * H * size < min(grid.bytes_forward, grid.bytes_backward)


@pytest.mark.parametrize("name", NAMES)
def test_a_further_step_is_four_launches_there_and_back_and_a_sequence_two(name, shim, monkeypatch):
    products, matmul = [], np.matmul
    monkeypatch.setattr(np, "matmul", lambda *args, **options: products.append(1) or matmul(*args, **options))

    def launches(path, T):
        shim.launches = 0
        products.clear()
        both_ways(name, path, T, 3, 5, None)
        return shim.launches + len(products) - 2  # x W and dz W^T, of all steps at once

    # The GRU with the reset gate before the product needs two products each way, each with a kernel between.
    cell, a_step = KERNELS[name].cell, 8 if name == "gru" else 4
    for T in (1, 7):
        assert launches("steps", T) == T * a_step + (2 if cell.inputs else 0)
        if name in ELEMENTWISE:
            assert launches("sequence", T) == launches("grid", T) == 2
    assert [cuda.launches_a_step(cell, path, np) for path in cuda.PATHS] == [None, a_step, 0, 0]


LAYERS = {
    "rnn tanh": rs.RNN,
    "rnn relu": partial(rs.RNN, activation="relu"),
    "rnn sigmoid": partial(rs.RNN, activation="sigmoid"),
    "lstm": rs.LSTM,
    "gru": rs.GRU,
    "gru reset_after": partial(rs.GRU, reset_after=True),
    "peephole": rs.PeepholeLSTM,
    "layer_norm": rs.LayerNormLSTM,
}


@pytest.mark.parametrize("name", LAYERS)
def test_one_step_at_a_time_equals_the_array_code(name, shim, rng, monkeypatch):
    assert LAYERS.keys() == set(NAMES)
    layer = LAYERS[name](3, 7, num_layers=2, dtype="float64", seed=0)
    for param in layer.params.values():
        param += 0.3 * rng.standard_normal(param.shape)
    xs, start = rng.standard_normal((4, 5, 3)), [rng.standard_normal((2, 7, 5)) for _ in layer.states]
    start = [part.swapaxes(1, 2) for part in start]  # not contiguous, as a state may be

    def decode():
        state, found = layer._pack(start), []
        for x in xs:
            h, state = layer.step(x, state)
            found.append(h)
        h, _ = layer.step(xs[0])  # from zeros
        return [*found, h, *(state if isinstance(state, tuple) else (state,))]

    with monkeypatch.context() as patch:
        patch.setattr(choice, "on_gpu", lambda xp: False)
        right = decode()
    assert shim.launches == 0
    for seed in SEEDS:
        shim.seed = seed
        for mine, theirs in zip(decode(), right):
            assert relative_error(mine, theirs) < 1e-12
    assert shim.launches > 0


NVCC = shutil.which("nvcc")


@pytest.mark.skipif(NVCC is None, reason="nvcc is not on the PATH: kernels not compiled for GPUs")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", NAMES)
def test_no_register_is_spilled(name, architecture, tmp_path, monkeypatch):
    cell = KERNELS[name].cell
    monkeypatch.setattr(choice, "device", lambda: (108, (163 if architecture == "sm_80" else 227) * 1024))
    jobs = [("layer_norm.cu" if cell.by_row else "step.cu", source.defines(cell, np.dtype(s))) for s in "fd"]
    for scalar, H, B in [] if cell.by_row else [("f", 128, 512), ("d", 128, 64)]:
        shape = choice.fit(cell, np.dtype(scalar), H, B)
        jobs.append(("sequence.cu", (*source.defines(cell, np.dtype(scalar)), *choice.sizes(shape, H))))
    for scalar, H, B in [] if cell.by_row else [("f", 512, 64), ("f", 129, 64), ("d", 256, 64)]:
        division = choice.division(cell, np.dtype(scalar), H, B)
        jobs.append(("grid.cu", (*source.defines(cell, np.dtype(scalar)), *grids.sizes(division, H))))
    for file, defines in jobs:
        text = tmp_path / "kernel.cu"
        text.write_text(source.source(file))
        flags = ["-std=c++17", "-O3", "-cubin", f"-arch={architecture}", "-Xptxas", "-v", *(f"-D{d}" for d in defines)]
        done = subprocess.run([NVCC, *flags, text, "-o", tmp_path / "cubin"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
        assert spills and all(spill == ("0", "0") for spill in spills), f"{file} {defines}: {done.stderr}"


def test_the_path_is_chosen_said_and_can_be_forced(monkeypatch):
    lstm, f4 = KERNELS["lstm"].cell, np.dtype(np.float32)
    assert cuda.path_of(lstm, np, f4, 3, 8).name == "arrays"
    monkeypatch.setattr(choice, "on_gpu", lambda xp: True)
    monkeypatch.setattr(choice, "device", lambda: (132, 227 * 1024))
    monkeypatch.setattr(choice, "launches_together", lambda: True)
    assert cuda.path_of(lstm, np, f4, 64, 128).name == "sequence"
    assert cuda.path_of(lstm, np, f4, 64, 129) == (
        "steps",
        'H = 129 > 128: U does not fit into a multiprocessor; cuda.use("grid") shares it among several',
    )
    assert cuda.path_of(lstm, np, f4, 1, 3000).why == "H = 3000 > 128: U does not fit into a multiprocessor"
    assert cuda.path_of(lstm, np, f4, 5000, 128).name == "steps"
    assert "complex128" in cuda.path_of(lstm, np, np.dtype(complex), 64, 128).why
    assert cuda.path_of(replace(lstm, twin=""), np, f4, 64, 128) == ("arrays", "the cell has no CUDA twin")
    way = cuda.path_of(KERNELS["layer_norm"].cell, np, f4, 64, 128)
    assert way == ("steps", "a step needs sums over all units, for which there is no whole-sequence kernel")
    with cuda.use("arrays"):
        assert cuda.path_of(lstm, np, f4, 64, 128) == ("arrays", "as forced")
    with cuda.use("sequence"), pytest.raises(ValueError, match="path is 'sequence', but H = 300 > 128"):
        cuda.path_of(lstm, np, f4, 64, 300)
    monkeypatch.setattr(choice, "tf32", lambda: True)
    assert [cuda.precision(np, np.dtype(dtype)) for dtype in ("f4", "f8", "c16")] == ["TF32", "float64", "complex128"]
    with cuda.use("grid"):
        assert cuda.path_of(lstm, np, f4, 128, 512) == ("grid", "as forced")
        with pytest.raises(ValueError, match="path is 'grid', but H = 3000: U does not fit"):
            cuda.path_of(lstm, np, f4, 1, 3000)
    monkeypatch.setattr(choice, "launches_together", lambda: False)
    assert cuda.path_of(lstm, np, f4, 64, 512) == ("steps", "H = 512 > 128: U does not fit into a multiprocessor")
    with cuda.use("grid"), pytest.raises(ValueError, match="path is 'grid', but the device cannot launch blocks that"):
        cuda.path_of(lstm, np, f4, 64, 512)
    with pytest.raises(ValueError, match="expected one of 'arrays', 'steps', 'sequence', 'grid' or None"):
        with cuda.use("graph"):
            pass


OPTIMIZERS = {
    "SGD": lambda: rs.SGD(0.1),
    "Momentum": lambda: rs.Momentum(0.1, 0.8),
    "Nesterov": lambda: rs.Momentum(0.1, 0.8, nesterov=True),
    "Adagrad": lambda: rs.Adagrad(0.1, eps=1e-3),
    "RMSProp": lambda: rs.RMSProp(0.1, decay=0.7, eps=1e-3),
    "Adam": lambda: rs.Adam(0.1, beta1=0.6, beta2=0.8, eps=1e-3),
    "AdamW": lambda: rs.AdamW(0.1, weight_decay=0.3),
}


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-13), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_in_one_launch_is_the_optimizers(name, dtype, bound, shim, rng, monkeypatch):
    shapes = {"W": (20, 31), "b": (7,)}
    start = {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
    steps = [{key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()} for _ in range(3)]
    here, there = ({key: value.copy() for key, value in start.items()} for _ in range(2))
    optimizer, fused = OPTIMIZERS[name](), OPTIMIZERS[name]()
    for grads in steps:
        with monkeypatch.context() as patch:
            patch.setattr(choice, "on_gpu", lambda xp: False)
            optimizer.step(here, grads)
        fused.step(there, grads)
    assert shim.launches == len(shapes) * len(steps)
    states = optimizer.state_dict(), fused.state_dict()
    for key, value in {**here, **states[0]}.items():
        found = {**there, **states[1]}[key]
        assert relative_error(np.asarray(found), np.asarray(value)) < bound, key


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-13), (np.float32, 1e-6)])
@pytest.mark.parametrize("decay", [0.8, 1.0])
def test_the_mean_of_weights_is_one_launch_a_parameter(decay, dtype, bound, shim, rng, monkeypatch):
    weights = [{"W": rng.standard_normal((20, 31)), "b": rng.standard_normal(300)} for _ in range(4)]
    weights = [{name: param.astype(dtype) for name, param in each.items()} for each in weights]
    here, there = Average(decay), Average(decay)
    for number, params in enumerate(weights):
        fixed = {"b"} if number == 2 else ()
        with monkeypatch.context() as patch:
            patch.setattr(choice, "on_gpu", lambda xp: False)
            here.update(params, fixed)
        there.update(params, fixed)
    assert shim.launches == 2 * len(weights) - 1  # b was fixed once
    for name, mean in here.values.items():
        assert there.values[name].dtype == dtype
        assert relative_error(there.values[name], mean) < bound
        assert relative_error(mean, weights[-1][name]) > 1e-3


def test_an_optimizer_of_ones_own_keeps_its_own_update(shim):
    class Halves(rs.SGD):
        def _update(self, param, grad, *arrays):
            param *= 0.5

    params, grads = {"W": np.ones((2, 3))}, {"W": np.ones((2, 3))}
    Halves(0.1).step(params, grads)
    assert (params["W"] == 0.5).all()
    assert shim.launches == 0
