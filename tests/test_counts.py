"""What a pass on a GPU costs in launches, waits and allocations, by cell and path: a budget for all changes.

The fake device of strict_xp.py counts array operations, the shim of cuda_shim.py the launches of the CUDA kernels.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import strict_xp
from cells import KERNELS

from rnnscratch.kernels import cuda

pytestmark = pytest.mark.skipif(strict_xp.__name__ != "strict_xp", reason="counted on the fake device")

# Launches of a call besides its steps, dense and ragged, by path: products, weight gradients, initial and final states.
# Each way, `grid` has to fill the counters that its blocks wait by.
BESIDES = {
    "rnn": {"steps": (24, 45), "sequence": (24, 33), "grid": (26, 35)},
    "lstm": {"steps": (29, 53), "sequence": (29, 41), "grid": (31, 43)},
    "gru": {"steps": (32, 65), "sequence": (29, 38), "grid": (31, 40)},
    "gru reset_after": {"steps": (29, 50), "sequence": (29, 38), "grid": (31, 40)},
    "peephole": {"steps": (40, 64), "sequence": (40, 52), "grid": (42, 54)},
    "layer_norm": {"steps": (62, 86)},
}


@pytest.fixture
def counts(monkeypatch):
    """The benchmark that counts, with the fake as its device."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from benchmarks import counts

    monkeypatch.setattr("rnnscratch.layers.module_for", lambda device: strict_xp)
    return counts


@pytest.fixture
def count(counts, shim):
    def count(call):
        strict_xp.reset()
        shim.launches = 0
        call()
        m = strict_xp.moves
        return counts.Costs(m["launches"] + shim.launches, m["syncs"], m["to_device"], m["allocations"])

    return count


def test_a_step_is_four_launches_and_waits_and_allocates_never(counts, count):
    rows = {(row.cell, row.path, row.batch): row for row in counts.of_passes(count)}
    expected = {(cell, path, batch) for cell in BESIDES for path in BESIDES[cell] for batch in counts.LENGTHS}
    assert rows.keys() == expected | {(cell, "arrays", "dense") for cell in BESIDES}
    for (cell, path, batch), row in rows.items():
        assert row.a_step.waits == row.besides.waits == 0
        if path == "arrays":
            assert row.a_step.launches >= 6
            continue
        kernel = KERNELS["rnn tanh" if cell == "rnn" else cell].cell
        launches = 8 if (cell, path) == ("gru", "steps") else 4 if path == "steps" else 0
        assert row.a_step == (launches, 0, 0, 0), (cell, path, batch)
        assert cuda.launches_a_step(kernel, path, strict_xp) == launches
        assert row.besides.launches <= BESIDES[cell][path][batch == "ragged"], (cell, path, batch)
        assert row.besides.uploads == (batch == "ragged")


def test_one_step_at_a_time_is_four_launches(counts, count):
    # That with the reset gate before the product has two products, and copies of the parts of U that they take.
    found = dict(counts.of_one_step(count))
    assert found.keys() == BESIDES.keys()
    assert all(costs.launches == (8 if cell == "gru" else 4) for cell, costs in found.items())
    assert all(costs.waits == costs.uploads == 0 and costs.allocations <= 7 for costs in found.values())


def test_an_update_and_a_mean_of_weights_are_one_launch_a_parameter(counts, count):
    for name, costs in counts.of_updates(count):
        assert costs == (1, 0, 0, 0), name


def test_the_profilers_record_is_told_apart(counts):
    """Events as PyTorch's profiler names them, of which some come with every record."""
    recorded = []
    device = SimpleNamespace(CUDA="device", CPU="host")

    class Profile:
        def __init__(self, activities):
            assert activities == ["CPU", "CUDA"]

        def __enter__(self):
            recorded[:] = [("cudaDeviceSynchronize", "host"), ("cudaDeviceSynchronize", "host")]
            return self

        def __exit__(self, *_):
            pass

        def events(self):
            return [SimpleNamespace(name=name, device_type=where) for name, where in recorded]

    class Hook:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def call():
        on_device = ["step_forward", "sgemm", "Memset (Device)", "Memcpy DtoD (Device -> Device)"]
        moved = [
            "Memcpy HtoD (Pageable -> Device)",
            "Memcpy HtoD (Pinned -> Device)",
            "Memcpy DtoH (Device -> Pageable)",
        ]
        recorded.extend((name, "device") for name in on_device + moved)
        recorded.extend((name, "host") for name in ("cuLaunchKernel", "cudaMemcpyAsync", "cudaStreamSynchronize"))

    synchronized = SimpleNamespace(synchronize=lambda: None)
    cupy = SimpleNamespace(cuda=SimpleNamespace(MemoryHook=Hook, Device=lambda: synchronized))
    kinds = SimpleNamespace(CPU="CPU", CUDA="CUDA")
    profiler = SimpleNamespace(profile=Profile, ProfilerActivity=kinds)
    torch = SimpleNamespace(profiler=profiler, autograd=SimpleNamespace(DeviceType=device))
    assert counts.by_profiler(cupy, torch)(call) == counts.Costs(launches=4, waits=1, uploads=2, allocations=0)


def test_without_a_device_the_command_says_what_is_missing(counts, monkeypatch):
    def missing(device):
        raise RuntimeError(f"device={device!r}: CuPy is not installed")

    monkeypatch.setattr(counts, "module_for", missing)
    with pytest.raises(SystemExit, match="device='gpu': CuPy is not installed"):
        counts.main([])
