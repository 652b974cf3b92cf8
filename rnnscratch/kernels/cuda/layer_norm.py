"""The layer-normalised LSTM: a chunk of steps in two launches each, the product with U and layer_norm.cu's kernel for
all else; and in one launch what it does with all inputs. layer_norm.cu says what each buffer holds.
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
    from .passes import Backward, Forward, Pass

THREADS = 512  # in a block, at most


def forward(p: Forward) -> Callable[[Chunk, Array, int], None]:
    """As `steps.forward`."""
    launch, xp, U = launcher_of(p, "step_forward"), p.plan.xp, p.plan.xp.ascontiguousarray(p.U)
    hU = xp.empty((p.plan.B, 4 * p.H), p.U.dtype)
    h, c, h_in = Rows(p.h), Rows(p.c), Rows(p.h_in)
    masked = h_in if p.mask is not None else Rows(None)
    kept = [Rows(array) for array in p.memory.arrays[2:]]  # h_hat, h_scale, c_hat, c_scale, tanh_a
    mask, product = Rows(p.mask)[0], Rows(hU)[0]
    gains = [Rows(p.weights[name])[0] for name in ("gh", "gc", "bc")]
    inputs, x_kept = launcher_of(p, "inputs_forward"), [Rows(array) for array in p.memory.arrays[:2]]  # x_hat, x_scale
    b = xp.ascontiguousarray(p.b)

    def run(chunk: Chunk, z: Array, at: int) -> None:
        gates = Rows(z)
        inputs(len(z), gates[0], *(each[at] for each in x_kept), Rows(p.weights["gx"])[0], Rows(b)[0])
        for step in reversed(chunk.steps) if p.backwards else chunk.steps:
            before, after = (step.late, step.early) if p.backwards else (step.early, step.late)
            n, row, new = step.running.stop, step.within.start, after.start
            xp.matmul(p.h_in[before], U, out=hU[:n])
            states = c[before.start], h[new], c[new]
            launch(n, gates[row], product, *states, *(each[at + row] for each in kept), mask, masked[new], *gains)

    return run


def backward(p: Backward) -> Callable[..., None]:
    """As `steps.backward`; `aside` gets the gradients of a."""
    launch, xp, B, dtype = launcher_of(p, "step_backward"), p.plan.xp, p.plan.B, p.U.dtype
    U_T = xp.ascontiguousarray(p.U.T)
    through = p.through_U = xp.zeros((B, p.H), dtype)
    dhU = xp.empty((B, 4 * p.H), dtype)
    c, gates, kept = Rows(p.c), Rows(p.gates), [Rows(array) for array in p.memory.arrays[2:]]
    gains = [Rows(p.weights[name])[0] for name in ("gh", "gc")]
    mask, through_U, dhU_at = Rows(p.mask)[0], Rows(through)[0], Rows(dhU)[0]
    dh, dc = (Rows(d)[0] for d in p.dstates)

    def run(chunk: Chunk, dz: Array, aside: Array, dhs: Array | None) -> None:
        dz_rows, da, dhs_rows = Rows(dz), Rows(aside), Rows(dhs)
        for step in chunk.steps if p.backwards else reversed(chunk.steps):
            before = step.late if p.backwards else step.early
            n, row, within = step.running.stop, step.rows.start, step.within.start
            past = gates[row], c[before.start], *(each[row] for each in kept)
            given = *gains, dhs_rows[row], mask, through_U
            launch(n, *past, *given, dh, dc, dz_rows[within], dhU_at, da[within])
            xp.matmul(dhU[:n], U_T, out=through[:n])
            if p.cut is not None:
                p.cut([*(each[:n] for each in p.dstates), through[:n]], step)

    return run


def inputs_back(p: Backward, chunk: Chunk, dz: Array) -> None:
    """dz (rows, 4H) becomes the gradient of x W."""
    x_kept = [Rows(array)[chunk.rows.start] for array in p.memory.arrays[:2]]
    launcher_of(p, "inputs_backward")(len(dz), Rows(dz)[0], *x_kept, Rows(p.weights["gx"])[0])


def one(
    cell: Cell, z: Array, prev: list[Array], new: list[Array], U: Array, b: Array, weights: Mapping[str, Array]
) -> None:
    """A single step forward: z (B, 4H), x W, becomes the activated gates; fills `new`, and keeps nothing."""
    xp, B, H = get_array_module(z), len(z), len(U)
    h, c = (xp.ascontiguousarray(state) for state in prev)
    gains = {name: xp.ascontiguousarray(array) for name, array in {**weights, "b": b}.items()}
    at, gates = {name: Rows(array)[0] for name, array in gains.items()}, Rows(z)[0]
    launcher(cell, U.dtype, B, H, "inputs_forward")(B, gates, 0, 0, at["gx"], at["b"])
    product = xp.matmul(h, U)
    states = Rows(c)[0], Rows(new[0])[0], Rows(new[1])[0]
    step = launcher(cell, U.dtype, B, H, "step_forward")
    step(B, gates, Rows(product)[0], *states, *[0] * 7, at["gh"], at["gc"], at["bc"])


def launcher_of(p: Pass, name: str) -> Callable[..., None]:
    """`launcher` for a pass."""
    return launcher(p.cell, p.U.dtype, p.memory.arrays[0].shape[1], p.H, name)


def launcher(cell: Cell, dtype: np.dtype, rows: int, H: int, name: str) -> Callable[..., None]:
    """A function that gives each of n rows a block of this kernel; `rows` are those of x_hat and h_hat."""
    function, threads = kernel("layer_norm.cu", name, *defines(cell, dtype)), threads_of(H)

    def launch(n: int, *arguments: Any) -> None:
        function((n,), (threads,), (*arguments, rows, H), shared_mem=threads * dtype.itemsize)

    return launch


def threads_of(H: int) -> int:
    """A power of 2: one for each unit, where they are few enough."""
    return min(THREADS, max(32, 1 << (H - 1).bit_length()))
