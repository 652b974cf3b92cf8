"""A chunk of steps in one launch each way. sequence.cu says what each buffer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...backend import Array
from .choice import Fit, fit, sizes
from .source import Rows, defines, kernel

if TYPE_CHECKING:
    from ..packing import Chunk
    from .passes import Backward, Forward, Pass


def forward(p: Forward) -> Callable[[Chunk, Array, int], None]:
    """As `steps.forward`."""
    function, shape, places = prepare(p, "sequence_forward")
    h, c, kept, mask, weights = Rows(p.h), Rows(p.c), Rows(p.kept), Rows(p.mask), Rows(p.further)
    masked, U = Rows(p.h_in if p.mask is not None else None), Rows(p.plan.xp.ascontiguousarray(p.U))

    def run(chunk: Chunk, z: Array, at: int) -> None:
        # Rows count from the first of all: z's and kept's from that of the chunk.
        gates, first, steps = Rows(z)[-chunk.rows.start], at - chunk.rows.start, chunk.steps
        states = h[0], c[0], masked[0], kept[first]
        whole = (*states, U[0], mask[0], weights[0], *places, steps[0].time, steps[-1].time + 1, int(p.backwards))
        launch(function, p, shape, shape.bytes_forward, (gates, *whole, int(p.keep)))

    return run


def backward(p: Backward) -> Callable[..., None]:
    """As `steps.backward`, with the way through U in p.dstates."""
    function, shape, places = prepare(p, "sequence_backward")
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
        launch(function, p, shape, shape.bytes_backward, (*given, *found, *places, *span))

    return run


def prepare(p: Pass, name: str) -> tuple[Any, Fit, tuple[int, ...]]:
    """The kernel for this pass, its use of a multiprocessor, and the arguments that say where rows are."""
    shape = fit(p.cell, p.U.dtype, p.H, p.plan.B)
    found = kernel("sequence.cu", name, *defines(p.cell, p.U.dtype), *sizes(shape, p.H))
    return found, shape, (Rows(p.plan.slots)[0], Rows(p.plan.counts)[0], p.plan.T, p.plan.B)


def launch(function: Any, p: Pass, shape: Fit, shared_bytes: int, arguments: tuple[int, ...]) -> None:
    """A block for every few sequences, a thread for each column of U."""
    if shared_bytes > 48 * 1024:  # more must be asked for
        function.max_dynamic_shared_size_bytes = shared_bytes
    grid, block = (-(-p.plan.B // shape.rows),), (len(p.cell.gates) * p.H,)
    function(grid, block, arguments, shared_mem=shared_bytes)
