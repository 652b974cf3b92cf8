"""A chunk of steps in one launch each way. sequence.cu, and grid.cu for larger cells, say what each buffer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backend import Array
from .choice import division, fit, sizes
from .grids import sizes as grid_sizes
from .source import Rows, defines, kernel

if TYPE_CHECKING:
    from ..packing import Chunk
    from .passes import Backward, Forward, Pass

APART_BY = 32  # numbers between the counters of two groups of blocks


def forward(p: Forward) -> Callable[[Chunk, Array, int], None]:
    """As `steps.forward`."""
    launch, places = launcher(p, "forward"), places_of(p)
    h, c, kept, mask, weights = Rows(p.h), Rows(p.c), Rows(p.kept), Rows(p.mask), Rows(p.further)
    masked, U = Rows(p.h_in if p.mask is not None else None), Rows(p.plan.xp.ascontiguousarray(p.U))

    def run(chunk: Chunk, z: Array, at: int) -> None:
        # Rows count from the first of all: z's and kept's from that of the chunk.
        gates, first, steps = Rows(z)[-chunk.rows.start], at - chunk.rows.start, chunk.steps
        states = h[0], c[0], masked[0], kept[first]
        whole = (*states, U[0], mask[0], weights[0], *places, steps[0].time, steps[-1].time + 1, int(p.backwards))
        launch(gates, *whole, int(p.keep))

    return run


def backward(p: Backward) -> Callable[..., None]:
    """As `steps.backward`, with the way through U in p.dstates."""
    launch, places = launcher(p, "backward"), places_of(p)
    xp, G, H = p.plan.xp, len(p.cell.gates), p.H
    U_T = xp.ascontiguousarray(p.U.reshape(H, G, H).transpose(2, 1, 0))  # U_q^T of each gate q, beside each other
    h_in = p.h_in if p.mask is not None else None
    arrays = [Rows(a) for a in (p.gates, p.h, p.c, h_in, p.kept, U_T.reshape(H, G * H), p.mask, p.further)]
    dstates = [Rows(d) for d in (*p.dstates, None)[:2]]

    def run(chunk: Chunk, dz: Array, aside: Array, dhs: Array | None) -> None:
        start, steps = chunk.rows.start, chunk.steps
        given = (*(rows[0] for rows in arrays), Rows(dhs)[0])
        found = (*(rows[0] for rows in dstates), Rows(dz)[-start], Rows(aside)[-start])
        span = steps[0].time, steps[-1].time + 1, int(p.backwards), int(p.truncate or 0)
        launch(*given, *found, *places, *span)

    return run


def places_of(p: Pass) -> tuple[int, ...]:
    """The arguments that say where rows are."""
    return Rows(p.plan.slots)[0], Rows(p.plan.counts)[0], p.plan.T, p.plan.B


def launcher(p: Pass, way: str) -> Callable[..., None]:
    """A function that launches the kernel of this pass with the arguments that it is given."""
    return (grid_launcher if p.path == "grid" else sequence_launcher)(p, way)


def sequence_launcher(p: Pass, way: str) -> Callable[..., None]:
    """A block for every few sequences, a thread for each column of U."""
    shape = fit(p.cell, p.U.dtype, p.H, p.plan.B)
    function = kernel("sequence.cu", f"sequence_{way}", *defines(p.cell, p.U.dtype), *sizes(shape, p.H))
    shared_bytes = shape.bytes_forward if way == "forward" else shape.bytes_backward
    grid, block = (-(-p.plan.B // shape.rows),), (len(p.cell.gates) * p.H,)
    return lambda *arguments: launch(function, grid, block, arguments, shared_bytes)


def grid_launcher(p: Pass, way: str) -> Callable[..., None]:
    """A block for every few units of every few sequences."""
    xp, B, shape = p.plan.xp, p.plan.B, division(p.cell, p.U.dtype, p.H, p.plan.B)
    assert shape is not None  # or the path would be another
    function = kernel("grid.cu", f"grid_{way}", *defines(p.cell, p.U.dtype), *grid_sizes(shape, p.H), together=True)
    shared_bytes = shape.bytes_forward if way == "forward" else shape.bytes_backward
    own = xp.empty((B, p.H), p.U.dtype) if p.cell.own and way == "forward" else None

    def run(*arguments: int) -> None:
        arrived = xp.zeros((shape.groups, APART_BY), np.uint32)
        further = (*([Rows(own)[0]] if way == "forward" else []), Rows(arrived)[0], shape.sequences)
        launch(function, (shape.tiles, shape.groups), (shape.threads,), (*arguments, *further), shared_bytes)

    return run


def launch(function: Any, grid: tuple[int, ...], block: tuple[int], arguments: tuple[int, ...], shared: int) -> None:
    """Launch a kernel with so many bytes of shared memory."""
    if shared > 48 * 1024:  # more must be asked for
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, arguments, shared_mem=shared)
