"""One layer and direction on a batch, there and back; the loop of ../sequence.py hands it over chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...backend import Array
from . import layer_norm, sequences, steps

if TYPE_CHECKING:
    from ..packing import Chunk, Plan
    from ..sequence import Cell, Memory


class Pass:
    """One layer and direction on a batch: N packed rows, and states in B + N slots, as ../packing.py says."""

    def __init__(
        self,
        path: str,
        cell: Cell,
        plan: Plan,
        states: list[Array],
        memory: Memory,
        U: Array,
        weights: Mapping[str, Array],
        mask: Array | None,
        backwards: bool,
    ):
        xp = plan.xp
        self.path, self.cell, self.plan, self.memory = path, cell, plan, memory
        self.U, self.backwards = U, backwards
        self.H, self.joint = len(U), (len(cell.gates) - len(cell.own)) * len(U)
        self.h, self.c = (*states, None)[:2]
        self.kept = (*memory.arrays, None)[0]
        self.weights = {name: xp.ascontiguousarray(array) for name, array in weights.items()}
        self.further = next(iter(self.weights.values()), None)  # of a cell that has one
        self.mask = None if mask is None else xp.ascontiguousarray(mask)  # (B, H), sorted
        self.how: Any = layer_norm if cell.by_row else steps if path == "steps" else sequences


class Forward(Pass):
    """The steps there."""

    def __init__(self, path: str, cell: Cell, plan: Plan, *rest: Any):
        *further, self.keep, self.b = rest
        super().__init__(path, cell, plan, *further)
        self.h_in = self.h  # in slots, times the mask
        if self.mask is not None:
            begin = slice(0, plan.B)
            if self.backwards:
                begin = slice(plan.N, plan.N + plan.B) if plan.ends is None else plan.ends
            self.h_in = plan.xp.empty_like(self.h)
            self.h_in[begin] = self.h[begin] * (plan.unsort(self.mask) if self.backwards else self.mask)
        self._run = self.how.forward(self)

    def run(self, chunk: Chunk, z: Array) -> None:
        """A chunk of steps: z (rows, G*H), x W, becomes the activated gates; the slots after each step are filled."""
        if not self.cell.inputs:
            z += self.b
        self._run(chunk, z, chunk.rows.start if self.keep else 0)

    def finish(self) -> None:
        """After all chunks: keeps what stood in slots by rows."""
        if self.mask is not None and self.keep:
            of_rows = self.plan.late_states if self.backwards else self.plan.early_states
            self.memory.h_in = of_rows(self.h_in, slice(0, self.plan.N))


class Backward(Pass):
    """The steps back; `dstates` become the gradients of the initial states. `cut` cuts the chain after a step."""

    def __init__(self, path: str, cell: Cell, plan: Plan, *rest: Any):
        *further, self.dstates, self.truncate, self.cut = rest
        super().__init__(path, cell, plan, *further)
        self.gates, self.h_in = self.memory.z, self.h if self.mask is None else self.memory.h_in
        self.through_U: Array = None  # (B, H), where that is not in `dstates` yet; times the mask to come
        self._run = self.how.backward(self)

    def run(self, chunk: Chunk, dz: Array, aside: Array, dhs: Array | None) -> None:
        """The steps of a chunk in reverse: fills dz (rows, G*H) and, where the cell is `apart`, `aside` (rows, H).

        dhs (N, H) is of all rows, or None.
        """
        self._run(chunk, dz, aside, None if dhs is None else self.plan.xp.ascontiguousarray(dhs))

    def inputs_back(self, chunk: Chunk, dz: Array) -> None:
        """Makes dz (rows, G*H) the gradient of x W, where the cell does more with its inputs."""
        self.how.inputs_back(self, chunk, dz)

    def finish(self) -> None:
        """After all chunks: the first step's way through U."""
        if self.through_U is not None:
            dh = self.dstates[0]
            dh += self.through_U if self.mask is None else self.through_U * self.mask


def step(
    cell: Cell, z: Array, prev: list[Array], new: list[Array], U: Array, b: Array, weights: Mapping[str, Array]
) -> None:
    """A single step forward: z (B, G*H), x W, becomes the activated gates; fills `new`, each (B, H). Keeps nothing."""
    if cell.by_row:
        layer_norm.one(cell, z, prev, new, U, b, weights)
        return
    z += b
    steps.one(cell, z, prev, new, U, weights)
