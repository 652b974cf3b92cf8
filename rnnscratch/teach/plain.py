"""The loop over time once more, as plainly as it can be: one step after the other and one gate after the other.

It drives the same cells as `kernels/sequence.py`, so each loop checks the other: no chunks, no packing, masks in place
of shrinking batches, gradients of weights added up step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module
from ..kernels.activations import sigmoid, tanh
from ..kernels.sequence import Cell, Memory, by_gate


class Plain:
    """One layer in one direction. Mixed into a layer, whose `cell` and weights it uses.

    The small methods at the end are the right ones; a mutant (mutants.py) overrides one of them.
    """

    cell: Cell
    states: str
    hidden_size: int
    params: dict[str, Array]
    grads: dict[str, Array]
    weights: Any  # W, U, b and the further weights, as layers.Recurrent gives them

    def forward(self, x: Array, state: Any = None, lengths: Any = None, train: bool = False) -> Any:
        """hs (T, B, H) and the final state, as `layers.Recurrent.forward`."""
        T, B, _ = x.shape
        now = [np.zeros((B, self.hidden_size), x.dtype) if part is None else part[0] for part in self.parts(state)]
        ends = np.full(B, T) if lengths is None else np.asarray(lengths)
        self.x, self.steps, self.initial, outputs = x, [], now, []
        for t in range(T):
            real = (t < ends)[:, None]
            new, have = self.one_step(x[t], now)
            now = [np.where(real, a, b) for a, b in zip(new, now)]
            outputs.append(np.where(real, now[0], 0))
            self.steps.append((have, real))
        return np.stack(outputs), self.pack(now)

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        """dx (T, B, D) and the gradient of the initial state; fills `grads`."""
        d = [np.zeros_like(h) if part is None else part[0] for part, h in zip(self.parts(dstate), self.initial)]
        total = {name: np.zeros_like(array) for name, array in self.params.items()}
        dx = np.zeros_like(self.x)
        for t in reversed(range(len(self.x))):
            have, real = self.steps[t]
            real = self.mask(real)
            if dhs is not None:
                d[0] = self.add_upstream(d[0], np.where(real, dhs[t], 0))
            passed, dx[t], gradients = self.one_step_back(self.x[t], have, [np.where(real, part, 0) for part in d])
            d = [np.where(real, a, b) for a, b in zip(self.hand_on(passed, t), d)]
            for name, gradient in gradients.items():
                total[name + "_l0"] = self.accumulate(total[name + "_l0"], gradient, name, t)
        for name, gradient in total.items():
            self.grads[name][...] = self.finish(gradient, name.removesuffix("_l0"))
        return dx, self.pack(self.initial_gradient(d))

    def one_step(self, x: Array, prev: list[Array]) -> tuple[list[Array], dict[str, Any]]:
        """The states after a step from x (B, D) and the states before, and all that the cell's functions ask for."""
        cell, (W, U, b, weights) = self.cell, self.weights("_l0")
        xp, G, h = get_array_module(x), len(cell.gates), prev[0]
        z, blocks = by_gate(x @ W, G), by_gate(U, G)
        have: dict[str, Any] = Memory(cell, len(x), len(U), False, xp, z.dtype).at(slice(None))
        have |= {"w": cell.further(weights, U), "xW": z, "gates": xp.empty(z.shape, z.dtype)}
        if cell.inputs:
            self.call(cell.inputs, have)
        have["z"] = z = z + b.reshape(G, 1, -1)
        for k, gate in enumerate(cell.gates):
            if gate in self.joint:
                z[k] += h @ blocks[k]
            f = sigmoid if gate in cell.sigmoids else tanh
            have["gates"][k] = z[k] if gate in cell.late else f(z[k])
        have["prev"] = cell.views["prev"](*prev, *([h] if cell.own else [h @ blocks[-1]] if cell.apart else []))
        have["new"] = new = cell.views["new"](*[xp.empty(part.shape, z.dtype) for part in prev])
        self.call(cell.step, have)
        return [getattr(new, letter) for letter in cell.states], have

    def one_step_back(self, x: Array, have: dict[str, Any], after: list[Array]) -> Any:
        """The gradients of the states before the step, of x and of the weights, from those of the states after it."""
        cell, (W, U, b, weights) = self.cell, self.weights("_l0")
        xp, G, h, blocks = get_array_module(x), len(cell.gates), have["prev"].h, by_gate(U, len(cell.gates))
        dz, grads = xp.zeros(have["z"].shape, have["z"].dtype), {"W": xp.zeros_like(W), "U": xp.zeros_like(U)}
        grads |= {name: xp.zeros_like(array) for name, array in [("b", b), *weights.items()]}
        have = {**have, "dw": cell.further(grads, grads["U"]), "dz": cell.views["dz"](*dz, dz)}
        have["s"] = cell.views["s"](*[xp.zeros_like(h) for _ in cell.slopes_as])
        extra = [xp.zeros_like(h)] if cell.own or cell.apart else []
        have["d"] = d = cell.views["d"](*[part.copy() for part in after], *extra)
        self.call(cell.slopes, have)
        self.call(cell.step_back, have)
        ways = {"direct": d.h} if "h" in cell.direct else {}  # from h_prev to the step's states
        into_U = [*dz[: len(self.joint)], *([d.hU] if cell.apart else [])]  # gradients of the products h_prev U_k
        for gate, dhU, block, dU in zip(cell.gates, into_U, blocks, by_gate(grads["U"], G)):
            ways[gate] = self.back_through_U(dhU, block)
            dU += h.T @ dhU
        if cell.own:
            ways[cell.own] = d.h_in
        if cell.weight_gradients:
            self.call(cell.weight_gradients, have)
        grads["b"] += dz.sum(axis=1).reshape(-1)
        if cell.inputs_back:
            self.call(cell.inputs_back, have)
        flat = dz.swapaxes(0, 1).reshape(len(x), -1)
        self.dxW, self.ways = flat, ways
        grads["W"] += x.T @ flat
        return [sum(ways.values()), *[getattr(d, letter) for letter in cell.states[1:]]], flat @ W.T, grads

    @property
    def joint(self) -> str:
        """The gates to whose z the product of h_prev with U is added before the cell's step."""
        return self.cell.gates[: len(self.cell.gates) - len(self.cell.own) - self.cell.apart]

    def parts(self, state: Any) -> list[Any]:
        return [state] if len(self.states) == 1 else list(state or [None] * len(self.states))

    def pack(self, parts: list[Array]) -> Any:
        return parts[0][None] if len(parts) == 1 else tuple(part[None] for part in parts)

    def call(self, function: Any, have: dict[str, Any]) -> None:
        self.cell.call(function, have)

    def mask(self, real: np.ndarray) -> np.ndarray:
        return real

    def add_upstream(self, dh: np.ndarray, dh_t: np.ndarray) -> np.ndarray:
        return dh + dh_t

    def back_through_U(self, dz: np.ndarray, U: np.ndarray) -> np.ndarray:
        return dz @ U.T

    def hand_on(self, passed: list[np.ndarray], t: int) -> list[np.ndarray]:
        return passed

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        return total + gradient

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        return gradient

    def initial_gradient(self, d: list[np.ndarray]) -> list[np.ndarray]:
        return d
