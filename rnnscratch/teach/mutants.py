"""Wrong backward passes as they were seen in other libraries and in homework, each one change away from a right one.

The right ones are the cells themselves in the plain loop of plain.py. A mutant overrides one of the loop's methods, or
one of the cell's functions: then it calls the right one and spoils what that found. `cause` is what the gradient
checker must find. `CORRECT` pass, `MUTANTS` must not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels import gru, lstm
from ..kernels.sequence import Cell
from ..layers import GRU, LSTM, RNN, Dropout, Embedding
from ..models.classifier import CELLS
from . import plain


class Plain(plain.Plain):
    """The plain loop around a layer's cell, with the mutant's own functions in place of the cell's."""

    cause = ""

    @classmethod
    def cell_of(cls, **options: Any) -> Cell:
        """The layer's cell, changed."""
        right: Cell = super().cell_of(**options)  # type: ignore[misc]
        return replace(right, **{name: getattr(cls, name) for name in ("slopes", "step_back") if hasattr(cls, name)})


class PlainRNN(Plain, RNN):  # type: ignore[misc]
    """h = tanh(x W + h_prev U + b)."""


class PlainLSTM(Plain, LSTM):  # type: ignore[misc]
    """c = f c_prev + i g, h = o tanh(c)."""


class PlainGRU(Plain, GRU):  # type: ignore[misc]
    """n = tanh(x W_n + (r h_prev) U_n + b_n), h = z h_prev + (1 - z) n."""


CORRECT: list[Any] = [PlainRNN, PlainLSTM, PlainGRU]
CORRECT += [type(f"Plain{kind.__name__}", (Plain, kind), {}) for kind in CELLS.values() if kind not in (RNN, LSTM, GRU)]


class NoGradientThroughTime(PlainLSTM):
    """The gradients of the next step are computed, but the variable that carries them is never assigned."""

    cause = "no gradient through time"

    def hand_on(self, passed: list[np.ndarray], t: int) -> list[np.ndarray]:
        return [part * 0 for part in passed] if t else passed


class NoGradientThroughTimeRNN(PlainRNN):
    """The same in a vanilla network."""

    cause = "no gradient through time"
    hand_on = NoGradientThroughTime.hand_on


class SlopeOfTheActivatedTwice(PlainRNN):
    """A derivative that takes the pre-activation is given the output: 1 - tanh(tanh(z))^2."""

    cause = "slope"

    @staticmethod
    def slopes(s: Any, new: Any) -> None:
        s.h_by_z[...] = 1 - np.tanh(new.h) ** 2


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
        return total if name == "U" and t == 0 else total + gradient


class StateOfTheSameStep(PlainLSTM):
    """h_t stands for h_(t-1) in the gradient of U: without a slot for the initial state the lists are off by one."""

    cause = "previous state"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        return total + (self.steps[t][0]["new"].h.T @ self.dxW if name == "U" else gradient)


class WrapAround(PlainRNN):
    """`hidden_states[t - 1]` is the last state at the first step, where the initial one belongs."""

    cause = "previous state"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        if name == "U" and t == 0:
            gradient = self.steps[-1][0]["new"].h.T @ self.dxW
        return total + gradient


class AssignedNotAdded(PlainLSTM):
    """`dU = ...` stands where `dU += ...` belongs, so what the first step adds is all that is left."""

    cause = "not summed"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        return gradient if name == "U" else total + gradient


class CellGradientNotPassed(PlainLSTM):
    """`dc = dh o (1 - tanh(c)^2)` leaves out what the next step hands back to the cell."""

    cause = "recursion"

    def hand_on(self, passed: list[np.ndarray], t: int) -> list[np.ndarray]:
        return [passed[0], passed[1] * 0] if t else passed


class FinalCellNotPassed(PlainLSTM):
    """Between encoder and decoder only the gradient of h comes back; that of c is thrown away."""

    cause = "final state"

    def backward(self, dhs: Any = None, dstate: Any = None, truncate: Any = None) -> Any:
        return super().backward(dhs, (dstate[0], dstate[1] * 0), truncate)


class GatesExchanged(PlainLSTM):
    """The blocks are joined in the order of another library, input and forget gate in each other's place."""

    cause = "gates exchanged"

    def finish(self, gradient: np.ndarray, name: str) -> np.ndarray:
        i, f, o, g = np.split(gradient, 4, axis=-1)
        return np.concatenate([f, i, o, g], axis=-1)


class MissingTanhPath(PlainLSTM):
    """The cell's gradient comes from the next cell only; the way through o tanh(c) is forgotten."""

    cause = "slope"

    @staticmethod
    def slopes(s: Any, gates: np.ndarray, prev: Any, kept: Any) -> None:
        lstm.slopes(s, gates, prev, kept)
        s.h_by_c[...] = 0


class SecondTanhForgotten(PlainLSTM):
    """h = o tanh(c) is derived as if it were o c."""

    cause = "slope"

    @staticmethod
    def slopes(s: Any, gates: np.ndarray, prev: Any, kept: Any) -> None:
        lstm.slopes(s, gates, prev, kept)
        i, f, o, g = gates
        s.h_by_c[...] = o


class ForgetGateNotPassed(PlainLSTM):
    """The gradient of the cell goes to the step before without the factor f."""

    cause = "recursion"

    @staticmethod
    def step_back(s: Any, gates: np.ndarray, d: Any, dz: Any) -> None:
        lstm.step_back(s, np.ones_like(gates), d, dz)  # the gates' only use in it is `d.c *= f`


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
        for have, _ in self.steps:
            have["new"].h *= 0.5
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
        return gradient.T if name == "W" else gradient


class BiasOfTheLastStepOnly(PlainRNN):
    """The bias's gradient is assigned at each step where it should be added up."""

    cause = "last step only"

    def accumulate(self, total: np.ndarray, gradient: np.ndarray, name: str, t: int) -> np.ndarray:
        last = t == len(self.x) - 1
        return total + gradient if name != "b" or last else total


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

    @staticmethod
    def step_back(s: Any, gates: np.ndarray, d: Any, dz: Any, w: Any) -> None:
        gru.step_back(s, gates, d, dz, w)
        d.h[...] = 0


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
    for name in sorted(layer.params.keys() - {"W_l0", "U_l0"}):
        layer.params[name][...] += rng.standard_normal(layer.params[name].shape) * 0.3
    state = tuple(rng.standard_normal((1, 3, 4)) for _ in layer.states)
    options = {"state": state if len(state) > 1 else state[0], "lengths": [5, 3, 4] if kind is MaskForgotten else None}
    return layer, (rng.standard_normal((5, 3, inputs)),), options
