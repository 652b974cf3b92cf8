"""Wrong backward passes as they were seen in other libraries and in homework, each one change away from a right one.

The right ones are written a second time here, one step at a time, without the tricks of the kernels: masks in place of
shrinking batches, parameter gradients summed step by step. A mutant overrides one method and says in `cause` what the
gradient checker must find. `CORRECT` pass, `MUTANTS` must not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import GRU, LSTM, RNN, Dropout, Embedding


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * z) + 0.5


class Plain:
    """One layer, one direction, step by step. Subclasses say what one step and its reverse are."""

    cause = ""
    states: str  # these four are the layer's
    hidden_size: int
    params: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]

    def one_step(self, x: np.ndarray, before: list[np.ndarray]) -> Any:
        """The states after one step, and what its reverse needs."""
        raise NotImplementedError

    def one_step_back(self, x: np.ndarray, before: Any, after: Any, kept: Any, d: list[np.ndarray]) -> Any:
        """The gradients of the states before, of x, and of the parameters."""
        raise NotImplementedError

    def forward(self, x: np.ndarray, state: Any = None, lengths: Any = None, train: bool = False) -> Any:
        T, B, _ = x.shape
        dtype = self.params["U_l0"].dtype
        parts = [state] if len(self.states) == 1 else list(state or (None, None))
        now = [np.zeros((B, self.hidden_size), dtype) if part is None else part[0] for part in parts]
        ends = np.full(B, T) if lengths is None else np.asarray(lengths)
        self.x, self.steps, self.trail, outputs = x, [], [now], []
        for t in range(T):
            real = (t < ends)[:, None]
            new, kept = self.one_step(x[t], now)
            now = [np.where(real, a, b) for a, b in zip(new, now)]
            outputs.append(np.where(real, now[0], 0))
            self.steps.append((kept, real))
            self.trail.append(now)
        final = tuple(part[None] for part in now)
        return np.stack(outputs), final if len(final) > 1 else final[0]

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        given = [dstate] if len(self.states) == 1 else list(dstate or (None, None))
        d = [np.zeros_like(now) if part is None else part[0].copy() for part, now in zip(given, self.trail[0])]
        total = {name: np.zeros_like(array) for name, array in self.params.items()}
        dx = np.zeros_like(self.x)
        for t in reversed(range(len(self.x))):
            kept, real = self.steps[t]
            if dhs is not None:
                d[0] = self.add_upstream(d[0], np.where(self.mask(real), dhs[t], 0))
            into = [np.where(self.mask(real), part, 0) for part in d]
            passed, dx[t], gradients = self.one_step_back(self.x[t], self.trail[t], self.trail[t + 1], kept, into)
            d = [np.where(self.mask(real), a, b) for a, b in zip(self.hand_on(passed, t), d)]
            for name, gradient in gradients.items():
                total[name] = self.accumulate(total[name], gradient, name, t)
        for name, gradient in total.items():
            self.grads[name][...] = self.finish(gradient, name)
        initial = self.initial_gradient([part[None] for part in d])
        return dx, tuple(initial) if len(initial) > 1 else initial[0]

    def mask(self, real: np.ndarray) -> np.ndarray:
        return real

    def add_upstream(self, dh: np.ndarray, dh_t: np.ndarray) -> np.ndarray:
        return dh + dh_t

    def hand_on(self, passed: list[np.ndarray], t: int) -> list[np.ndarray]:
        return passed

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        return total + gradient

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        return gradient

    def initial_gradient(self, d: list[np.ndarray]) -> list[np.ndarray]:
        return d

    def through_affine(self, x: np.ndarray, h: np.ndarray, dz: np.ndarray) -> Any:
        """dh_prev, dx and parameter gradients of z = x W + h U + b."""
        W, U = self.params["W_l0"], self.params["U_l0"]
        return self.back_through_U(dz, U), dz @ W.T, {"W_l0": x.T @ dz, "U_l0": h.T @ dz, "b_l0": dz.sum(axis=0)}

    def back_through_U(self, dz: np.ndarray, U: np.ndarray) -> np.ndarray:
        return dz @ U.T


class PlainRNN(Plain, RNN):  # type: ignore[misc]
    """h = tanh(x W + h_prev U + b)."""

    def one_step(self, x: np.ndarray, now: Any) -> Any:
        W, U, b = (self.params[f"{letter}_l0"] for letter in "WUb")
        return [np.tanh(x @ W + now[0] @ U + b)], None

    def one_step_back(self, x: np.ndarray, before: Any, after: Any, kept: Any, d: Any) -> Any:
        dh, dx, gradients = self.through_affine(x, before[0], d[0] * self.slope(after[0]))
        return [dh], dx, gradients

    def slope(self, h: np.ndarray) -> np.ndarray:
        return 1 - h**2


class PlainLSTM(Plain, LSTM):  # type: ignore[misc]
    """c = f c_prev + i g, h = o tanh(c)."""

    def one_step(self, x: np.ndarray, now: Any) -> Any:
        W, U, b = (self.params[f"{letter}_l0"] for letter in "WUb")
        zi, zf, zo, zg = np.split(x @ W + now[0] @ U + b, 4, axis=1)
        i, f, o, g = sigmoid(zi), sigmoid(zf), sigmoid(zo), np.tanh(zg)
        c = f * now[1] + i * g
        return [o * np.tanh(c), c], (i, f, o, g, c)

    def one_step_back(self, x: np.ndarray, before: Any, after: Any, kept: Any, d: Any) -> Any:
        i, f, o, g, c = kept
        dh, dc = d
        dc = self.into_c(dc, dh, o, c)
        blocks = self.blocks(dc, dh, before[1], kept)
        dh_prev, dx, gradients = self.through_affine(x, before[0], np.concatenate(blocks, axis=1))
        return [dh_prev, self.c_to_previous(dc, f)], dx, gradients

    def into_c(self, dc: np.ndarray, dh: np.ndarray, o: np.ndarray, c: np.ndarray) -> np.ndarray:
        return dc + dh * o * (1 - np.tanh(c) ** 2)

    def blocks(self, dc: np.ndarray, dh: np.ndarray, c_prev: np.ndarray, kept: Any) -> list[np.ndarray]:
        i, f, o, g, c = kept
        return [
            dc * g * i * (1 - i),
            dc * c_prev * f * (1 - f),
            dh * np.tanh(c) * o * (1 - o),
            dc * i * (1 - g**2),
        ]

    def c_to_previous(self, dc: np.ndarray, f: np.ndarray) -> np.ndarray:
        return dc * f


class PlainGRU(Plain, GRU):  # type: ignore[misc]
    """n = tanh(x W_n + (r h_prev) U_n + b_n), h = z h_prev + (1 - z) n."""

    def one_step(self, x: np.ndarray, now: Any) -> Any:
        W, U, b = (self.params[f"{letter}_l0"] for letter in "WUb")
        H, h = self.hidden_size, now[0]
        zx = x @ W + b
        r, z = (sigmoid(part) for part in np.split(zx[:, : 2 * H] + h @ U[:, : 2 * H], 2, axis=1))
        n = np.tanh(zx[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
        return [z * h + (1 - z) * n], (r, z, n)

    def one_step_back(self, x: np.ndarray, before: Any, after: Any, kept: Any, d: Any) -> Any:
        (r, z, n), h, dh = kept, before[0], d[0]
        W, U, H = self.params["W_l0"], self.params["U_l0"], self.hidden_size
        dz_n = dh * (1 - z) * (1 - n**2)
        drh = dz_n @ U[:, 2 * H :].T
        dz_r = self.reset_gradient(drh, h, r)
        dz_z = dh * (h - n) * z * (1 - z)
        gates = np.concatenate([dz_r, dz_z], axis=1)
        dz = np.concatenate([gates, dz_n], axis=1)
        dU = np.concatenate([h.T @ gates, (r * h).T @ dz_n], axis=1)
        dh_prev = self.direct(dh, z) + drh * r + gates @ U[:, : 2 * H].T
        return [dh_prev], dz @ W.T, {"W_l0": x.T @ dz, "U_l0": dU, "b_l0": dz.sum(axis=0)}

    def reset_gradient(self, drh: np.ndarray, h: np.ndarray, r: np.ndarray) -> np.ndarray:
        return drh * h * r * (1 - r)

    def direct(self, dh: np.ndarray, z: np.ndarray) -> np.ndarray:
        return dh * z


CORRECT = [PlainRNN, PlainLSTM, PlainGRU]


class NoGradientThroughTime(PlainLSTM):
    """The gradients of the next step are computed, but the variable that carries them is never assigned."""

    cause = "no gradient through time"

    def hand_on(self, passed: list[np.ndarray], t: int) -> list[np.ndarray]:
        return [np.zeros_like(part) for part in passed] if t else passed


class NoGradientThroughTimeRNN(PlainRNN):
    """The same in a vanilla network."""

    cause = "no gradient through time"
    hand_on = NoGradientThroughTime.hand_on


class SlopeOfTheActivatedTwice(PlainRNN):
    """A derivative that takes the pre-activation is given the output: 1 - tanh(tanh(z))^2."""

    cause = "slope"

    def slope(self, h: np.ndarray) -> np.ndarray:
        return 1 - np.tanh(h) ** 2


class UpstreamOverwritten(PlainRNN):
    """dh_next replaces the gradient of the step's own output where both should be added."""

    cause = "upstream overwritten"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        self.first = True
        return super().backward(dhs, dstate, truncate)

    def add_upstream(self, dh: np.ndarray, dh_t: np.ndarray) -> np.ndarray:
        if self.first:
            self.first = False
            return dh + dh_t
        return dh


class InitialStateTermDropped(PlainLSTM):
    """The product with U starts at the second step, as if the initial state were always zero."""

    cause = "initial state"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        return total if name == "U_l0" and t == 0 else total + gradient


class GatesExchanged(PlainLSTM):
    """The blocks are joined in the order of another library, input and forget gate in each other's place."""

    cause = "gates exchanged"

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        i, f, o, g = np.split(gradient, 4, axis=-1)
        return np.concatenate([f, i, o, g], axis=-1)


class MissingTanhPath(PlainLSTM):
    """The cell's gradient comes from the next cell only; the way through o tanh(c) is forgotten."""

    cause = "slope"

    def into_c(self, dc: np.ndarray, dh: np.ndarray, o: np.ndarray, c: np.ndarray) -> np.ndarray:
        return dc


class SecondTanhForgotten(PlainLSTM):
    """h = o tanh(c) is derived as if it were o c."""

    cause = "slope"

    def into_c(self, dc: np.ndarray, dh: np.ndarray, o: np.ndarray, c: np.ndarray) -> np.ndarray:
        return dc + dh * o


class ForgetGateNotPassed(PlainLSTM):
    """The gradient of the cell goes to the step before without the factor f."""

    cause = "recursion"

    def c_to_previous(self, dc: np.ndarray, f: np.ndarray) -> np.ndarray:
        return dc


class MaskForgotten(PlainGRU):
    """Padding is masked on the way forward and not on the way back."""

    cause = "lengths"

    def mask(self, real: np.ndarray) -> np.ndarray:
        return np.ones_like(real)


class MeanOverTheBatch(PlainLSTM):
    """Parameter gradients are divided by the batch size, though the loss was a sum."""

    cause = "scale"

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        return gradient * (1.0 / self.x.shape[1])


class UpstreamChanged(PlainRNN):
    """`dhs[t] += dh_next` works in the caller's array."""

    cause = "changed arguments"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        result = super().backward(dhs, dstate, truncate)
        dhs *= 0.5
        return result


class CacheChanged(PlainRNN):
    """The stored activations are overwritten by their slopes: the second backward is wrong."""

    cause = "second backward"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        result = super().backward(dhs, dstate, truncate)
        self.trail = [[part * 0.5 for part in parts] for parts in self.trail]
        return result


class RecurrenceTransposed(PlainRNN):
    """dz U in place of dz U^T: no shape complains, since U is square."""

    cause = "transposed recurrence"

    def back_through_U(self, dz: np.ndarray, U: np.ndarray) -> np.ndarray:
        return dz @ U


class SignOfTheResetGate(PlainGRU):
    """One minus sign too many in one gate."""

    cause = "one gate"

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        r, z, n = np.split(gradient, 3, axis=-1)
        return np.concatenate([-r, z, n], axis=-1)


class Descending(PlainGRU):
    """The negative gradient: the update's minus sign is taken twice."""

    cause = "sign"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        dx, dh = super().backward(dhs, dstate, truncate)
        for gradient in self.grads.values():
            gradient *= -1
        return -dx, -dh


class InputWeightsTransposed(PlainRNN):
    """The outer product is taken the wrong way round, which only shows in the numbers when inputs = units."""

    cause = "transpose"

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        return gradient.T if name == "W_l0" else gradient


class BiasOfTheLastStepOnly(PlainRNN):
    """The bias's gradient is assigned at each step where it should be added up."""

    cause = "last step only"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        last = t == len(self.x) - 1
        return total + gradient if name != "b_l0" or last else total


class StateGradientMissing(PlainGRU):
    """The gradient of the initial state is returned as zeros, so an encoder before this layer would not learn."""

    cause = "zero"

    def initial_gradient(self, d: list[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros_like(part) for part in d]


class FinalStateIgnored(PlainLSTM):
    """What comes from the final state is thrown away; only the outputs' gradients are used."""

    cause = "final state"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        return super().backward(dhs, None, truncate)


class DirectPathMissing(PlainGRU):
    """h = z h_prev + ... passes its gradient through the gates only."""

    cause = "recursion"

    def direct(self, dh: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.zeros_like(dh)


class DuplicateIdsLost(Embedding):
    """`dE[ids] += dx` adds once where an id stands twice."""

    cause = "repeated ids"

    def call(self, x: Any, train: bool = False, keep: bool = True) -> Any:
        def back(dx: np.ndarray) -> None:
            self.grads["E"][...] = 0
            self.grads["E"][x] += dx

        return super().call(x, train, keep)[0], back


class DropoutMaskForgotten(Dropout):
    """The mask is applied on the way forward and not on the way back."""

    cause = "dropout"

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


RECURRENT_MUTANTS = [
    mutant
    for mutant in list(globals().values())
    if isinstance(mutant, type) and issubclass(mutant, Plain) and mutant.__dict__.get("cause")
]
MUTANTS = [*RECURRENT_MUTANTS, DuplicateIdsLost, DropoutMaskForgotten]


def example(kind: type, seed: int = 0) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A target of this kind, inputs, and options for the checker that give every bug a chance to show."""
    rng = np.random.default_rng(seed)
    if kind is DuplicateIdsLost or kind is Embedding:
        return kind(9, 3, seed=seed), (np.array([[1, 4], [1, 1], [7, 4]]),), {}
    if kind is DropoutMaskForgotten or kind is Dropout:
        return kind(0.5, seed=seed), (rng.standard_normal((4, 3, 5)),), {"train": True}
    inputs = 4 if kind is InputWeightsTransposed else 3
    layer = kind(inputs, 4, seed=seed)
    layer.params["b_l0"][...] += rng.standard_normal(layer.params["b_l0"].shape) * 0.3
    state = tuple(rng.standard_normal((1, 3, 4)) for _ in layer.states)
    options = {"state": state if len(state) > 1 else state[0], "lengths": [5, 3, 4] if kind is MaskForgotten else None}
    return layer, (rng.standard_normal((5, 3, inputs)),), options
