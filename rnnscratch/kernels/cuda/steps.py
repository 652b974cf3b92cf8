"""A chunk of steps in two launches each: the product with U, and step.cu's kernel for all else; four where the cell
takes a second product itself (the GRU with the reset gate before it).

step.cu says what each buffer holds. A kernel's arguments are addresses and whole numbers, which cost the host no views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backend import Array, get_array_module
from .source import Rows, defines, kernel

if TYPE_CHECKING:
    from ..packing import Chunk
    from ..sequence import Cell
    from .passes import Backward, Forward

THREADS = 128  # in a block


def forward(p: Forward) -> Callable[[Chunk, Array, int], None]:
    """A function that takes the steps of a chunk: z (rows, G*H) becomes the activated gates, and the slots after each
    step are filled; what is kept goes to the rows from `at` on.
    """
    cell, xp, H, joint = p.cell, p.plan.xp, p.H, p.joint
    step_kernel, own_kernel = kernels(cell, p.U.dtype, "forward")
    U_joint, U_own = xp.ascontiguousarray(p.U[:, :joint]), xp.ascontiguousarray(p.U[:, joint:])
    hU, own = xp.empty((p.plan.B, joint), p.U.dtype), xp.empty((2 if cell.own else 0, p.plan.B, H), p.U.dtype)
    h, c, h_in, kept = Rows(p.h), Rows(p.c), Rows(p.h_in), Rows(p.kept)
    masked = h_in if p.mask is not None else Rows(None)
    mask, weights, product = Rows(p.mask)[0], Rows(p.further)[0], Rows(hU)[0]
    into_U, own_product = (Rows(part)[0] for part in own) if cell.own else (0, product)

    def run(chunk: Chunk, z: Array, at: int) -> None:
        gates, n = Rows(z), -1
        for step in reversed(chunk.steps) if p.backwards else chunk.steps:
            before, after = (step.late, step.early) if p.backwards else (step.early, step.late)
            if n != step.running.stop:  # views cost time, and often as many sequences run as before
                n = step.running.stop
                hU_n, own_n, grid = hU[:n], own[:, :n], blocks(n, H)
            row, old, new = step.within.start, before.start, after.start
            xp.matmul(p.h_in[before], U_joint, out=hU_n)
            if own_kernel is not None:
                own_kernel(grid, (THREADS,), (gates[row], product, h_in[old], into_U, n, H))
                xp.matmul(own_n[0], U_own, out=own_n[1])
            states = h[old], c[old], h_in[old], h[new], c[new]
            arguments = (gates[row], own_product, *states, kept[at + row], mask, masked[new], weights, n, H)
            step_kernel(grid, (THREADS,), arguments)

    return run


def backward(p: Backward) -> Callable[..., None]:
    """A function that takes the steps of a chunk in reverse: fills dz (rows, G*H), and `aside` (rows, H) where the cell
    is `apart`; dhs is of all rows, or None. p.dstates become the gradients of the states before, but for the way of h
    through U, which comes to lie in p.through_U, not yet times the mask.
    """
    cell, xp, H, joint = p.cell, p.plan.xp, p.H, p.joint
    back_kernel, own_kernel = kernels(cell, p.U.dtype, "backward")
    U_joint, U_own = xp.ascontiguousarray(p.U[:, :joint].T), xp.ascontiguousarray(p.U[:, joint:].T)
    B, dtype, own = p.plan.B, p.U.dtype, bool(cell.own)
    through = p.through_U = xp.zeros((B, H), dtype)
    dhU, dz_own, dz_joint = (xp.empty((B if own else 0, width), dtype) for width in (H, H, joint))
    h, c, kept, gates, h_in = Rows(p.h), Rows(p.c), Rows(p.kept), Rows(p.gates), Rows(p.h_in)
    mask, weights, through_U = Rows(p.mask)[0], Rows(p.further)[0], Rows(through)[0]
    dh, dc = Rows(p.dstates[0])[0], Rows((*p.dstates, None)[1])[0]
    dhU_at, dz_own_at, dz_joint_at = Rows(dhU)[0], Rows(dz_own)[0], Rows(dz_joint)[0]

    def run(chunk: Chunk, dz: Array, aside: Array, dhs: Array | None) -> None:
        dz_rows, aside_rows, dhs_rows, n = Rows(dz), Rows(aside), Rows(dhs), -1
        for step in chunk.steps if p.backwards else reversed(chunk.steps):
            before, after = (step.late, step.early) if p.backwards else (step.early, step.late)
            if n != step.running.stop:
                n = step.running.stop
                through_n, dhU_n, dz_own_n, dz_joint_n = through[:n], dhU[:n], dz_own[:n], dz_joint[:n]
                grid, d = blocks(n, H), [*(each[:n] for each in p.dstates), through_n]
            row, within, old, new = step.rows.start, step.within, before.start, after.start
            h_before = h[old] if p.mask is None else h_in[row]
            past = gates[row], h[old], c[old], h_before, h[new], kept[row]
            found = dh, dc, dz_rows[within.start], dz_own_at if own else aside_rows[within.start]
            back_kernel(grid, (THREADS,), (*past, weights, dhs_rows[row], mask, through_U, *found, n, H))
            if own_kernel is not None:
                xp.matmul(dz_own_n, U_own, out=dhU_n)
                arguments = gates[row], h_before, dhU_at, mask, dh, dz_rows[within.start], dz_joint_at, n, H
                own_kernel(grid, (THREADS,), arguments)
            xp.matmul(dz_joint_n if own else dz[within], U_joint, out=through_n)
            if p.cut is not None:
                p.cut(d, step)

    return run


def one(cell: Cell, z: Array, prev: list[Array], new: list[Array], U: Array, weights: Mapping[str, Array]) -> None:
    """A single step forward: z (B, G*H) becomes the activated gates; fills `new`, and keeps nothing."""
    xp, H = get_array_module(z), len(U)
    B, joint = len(z), (len(cell.gates) - len(cell.own)) * H
    before = [xp.ascontiguousarray(state) for state in prev]
    further = next((xp.ascontiguousarray(array) for array in weights.values()), None)
    step_kernel, own_kernel = kernels(cell, U.dtype, "forward")
    grid, gates, (h, *c), after = blocks(B, H), Rows(z)[0], [Rows(s)[0] for s in before], [Rows(s)[0] for s in new]
    product = xp.matmul(before[0], U[:, :joint])
    if own_kernel is not None:
        into_U = xp.empty((B, H), U.dtype)
        own_kernel(grid, (THREADS,), (gates, Rows(product)[0], h, Rows(into_U)[0], B, H))
        product = xp.matmul(into_U, U[:, joint:])
    states = h, (*c, 0)[0], h, *(*after, 0)[:2]
    step_kernel(grid, (THREADS,), (gates, Rows(product)[0], *states, 0, 0, 0, Rows(further)[0], B, H))


def kernels(cell: Cell, dtype: np.dtype, way: str) -> tuple[Any, Any]:
    """step.cu's kernels of this way, "forward" or "backward"; the second is None where the cell has no own product."""
    given = defines(cell, dtype)
    return kernel("step.cu", f"step_{way}", *given), kernel("step.cu", f"own_{way}", *given) if cell.own else None


def blocks(n: int, H: int) -> tuple[int]:
    """The grid of a kernel with a thread for each unit of n sequences."""
    return ((n * H + THREADS - 1) // THREADS,)
