"""What costs time on a GPU besides arithmetic, counted: kernels launched, waits of the host, copies to the device, and
allocations.

    python -m benchmarks.counts [--cells lstm gru]

For every cell and path of a layer, forward and backward: what a further step adds, and what a call costs besides; with
the CUDA kernels on ragged batches too. For one step at a time (`layer.step`), an optimizer's update and the mean of
weights: what one costs. Launches include copies and fills on the device. They are counted by PyTorch's profiler, from
the device's own record, or by cupy_on_cpu, a stand-in for a device, where CuPy runs on that.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import rnnscratch as rs
from benchmarks.gpu import CELLS, torch_on_gpu
from rnnscratch.backend import module_for
from rnnscratch.kernels import cuda
from rnnscratch.kernels.cuda.choice import obstacles_of
from rnnscratch.optimizers import Average

B, D, H = 5, 3, 8
LENGTHS = {"dense": None, "ragged": [3, 1, 2, 3, 1]}  # besides the steps that all have

Call = Callable[[], Any]
Count = Callable[[Call], "Costs"]


class Costs(NamedTuple):
    """How often each happened."""

    launches: float
    waits: float
    uploads: float
    allocations: float

    def minus(self, other: Costs, times: float = 1.0) -> Costs:
        """Less another, so many times."""
        return Costs(*(mine - times * theirs for mine, theirs in zip(self, other)))

    def over(self, number: float) -> Costs:
        """Of one of so many."""
        return Costs(*(each / number for each in self))


class Row(NamedTuple):
    """A line of the table: `a_step` is what a further step adds, `besides` what else a call costs."""

    cell: str
    path: str
    batch: str
    a_step: Costs
    besides: Costs


def of_passes(count: Count, cells: Iterable[str] = CELLS) -> Iterator[Row]:
    """A pass there and back of one layer and direction, by cell and path, on equal lengths and with kernels on others.

    Without, ragged batches come in chunks, so that not every step adds the same.
    """
    for cell in cells:
        layer = CELLS[cell](D, H, device="gpu", seed=0)
        obstacles = obstacles_of(layer.cell, layer.dtype, H)
        for path in (path for path in cuda.PATHS if not obstacles.get(path)):
            for batch, more in list(LENGTHS.items())[: 1 if path == "arrays" else None]:
                found = [count(both_ways(layer, path, T, more)) for T in (4, 8)]
                a_step = found[1].minus(found[0]).over(4)
                yield Row(cell, path, batch, a_step, found[0].minus(a_step, 4))


def both_ways(layer: Any, path: str, T: int, more: list[int] | None) -> Call:
    """A pass there and back, done once before; all sequences have T steps, and so many more."""
    lengths, steps = (None, T) if more is None else ([T + each for each in more], T + max(more))
    x = layer.xp.asarray(np.ones((steps, B, D), layer.dtype))
    dhs = layer.xp.asarray(np.ones((steps, B, H), layer.dtype))

    def run() -> None:
        with cuda.use(path):
            layer.call(x, lengths=lengths)[1](dhs)

    run()
    return run


def of_one_step(count: Count, cells: Iterable[str] = CELLS) -> Iterator[tuple[str, Costs]]:
    """One step of one layer (`layer.step`), by cell."""
    for cell in cells:
        layer = CELLS[cell](D, H, device="gpu", seed=0)
        x = layer.xp.asarray(np.ones((B, D), layer.dtype))
        _, state = layer.step(x)
        yield cell, count(partial(layer.step, x, state))


def of_updates(count: Count) -> Iterator[tuple[str, Costs]]:
    """Of one parameter: its update by each optimizer, and that of the running mean of it."""
    layer = CELLS["lstm"](D, H, device="gpu", seed=0)
    number = len(layer.params)
    for make in (rs.SGD, rs.Momentum, rs.Adagrad, rs.RMSProp, rs.Adam, rs.AdamW):
        optimizer = make()
        optimizer.step(layer.params, layer.grads)
        costs = count(partial(optimizer.step, layer.params, layer.grads))
        yield make.__name__, costs.over(number)
    mean = Average(0.9)
    mean.update(layer.params)
    yield "Average", count(partial(mean.update, layer.params)).over(number)


def by_stand_in(stand_in: Any) -> Count:
    """The counter of cupy_on_cpu."""

    def count(call: Call) -> Costs:
        with stand_in.count() as seen:
            call()
        of = seen.total
        return Costs(of["launch"] + of["copy"] + of["fill"], of["sync"], of["upload"], of["allocation"])

    return count


def by_profiler(cupy: Any, torch: Any) -> Count:
    """PyTorch's profiler, which sees all that this process asks of the device, and CuPy's hook for its memory pool."""

    class Allocations(cupy.cuda.MemoryHook):
        name = "allocations"
        number = 0

        def malloc_preprocess(self, **_: Any) -> None:
            self.number += 1

    kinds = torch.profiler.ProfilerActivity

    def recorded(call: Call) -> Costs:
        cupy.cuda.Device().synchronize()
        with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as seen:
            with Allocations() as allocations:
                call()
            cupy.cuda.Device().synchronize()  # so that the device has done all of it
        there, here = Counter[str](), Counter[str]()
        for event in seen.events():
            (there if event.device_type == torch.autograd.DeviceType.CUDA else here)[event.name] += 1
        uploads = sum(number for name, number in there.items() if "HtoD" in name)
        downloads = sum(number for name, number in there.items() if "DtoH" in name)
        waits = sum(number for name, number in here.items() if "Synchronize" in name)
        return Costs(sum(there.values()) - uploads - downloads, waits, uploads, allocations.number)

    nothing = recorded(lambda: None)
    return lambda call: recorded(call).minus(nothing)


def shown(costs: Costs) -> str:
    """Four columns."""
    return "".join(f"{each:12.4g}" for each in costs)


def main(arguments: list[str] | None = None) -> None:
    """Count, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    options = parser.parse_args(arguments)
    try:
        cupy = module_for("gpu")
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    if "cupy_on_cpu" in sys.modules:
        count = by_stand_in(sys.modules["cupy_on_cpu"])
    else:
        torch = torch_on_gpu()
        if torch is None:
            raise SystemExit("launches are counted by PyTorch's profiler, which needs PyTorch with CUDA")
        count = by_profiler(cupy, torch)
    columns = "".join(f"{name:>12}" for name in Costs._fields)
    print(f"{'a further step, there and back':34}{columns}\n{'  and a call besides':34}{columns}")
    for row in of_passes(count, options.cells):
        print(f"{row.cell:16}{row.path:10}{row.batch:8}{shown(row.a_step)}\n{'':34}{shown(row.besides)}", flush=True)
    print(f"{'one step at a time':34}{columns}")
    for cell, costs in of_one_step(count, options.cells):
        print(f"{cell:34}{shown(costs)}")
    print(f"{'an update of a parameter':34}{columns}")
    for name, costs in of_updates(count):
        print(f"{name:34}{shown(costs)}")


if __name__ == "__main__":
    main()
