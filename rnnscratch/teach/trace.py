"""Every number of a forward and a backward pass, step by step, with its formula and equation.

Written as one would with pencil and paper, apart from the kernels, so that each checks the other: no chunks, no packed
buffers, one gate after the other. Small sizes make the tables readable: T = 2 or 3 steps, H = 1 or 2 units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_shape
from ..kernels.activations import ACTIVATIONS
from ..layers import GRU, LSTM, RNN, Recurrent


class Entry(NamedTuple):
    """One named intermediate."""

    step: int  # t, from 1 as in the report; 0 for sums over all steps
    phase: str  # "forward", "backward" or "sum"
    name: str
    formula: str
    equation: str  # of the report; empty for hand-derived lines that it lacks
    value: np.ndarray


class Trace:
    """What `trace` found: a row for each intermediate, in the order in which they are computed.

    `trace["c", 2]` is the value of c at step 2; `totals` holds the gradients summed over the steps, under the names of
    the layer's parameters, and `dx` (T, B, D) and `dinitial`, those of the inputs and of the initial state.
    """

    def __init__(self) -> None:
        self.rows: list[Entry] = []
        self.totals: dict[str, np.ndarray] = {}
        self.dx: np.ndarray
        self.dinitial: tuple[np.ndarray, ...]

    def __getitem__(self, key: tuple[str, int]) -> np.ndarray:
        name, step = key
        for row in self.rows:
            if (row.name, row.step) == (name, step):
                return row.value
        names = ", ".join(dict.fromkeys(row.name for row in self.rows))
        raise KeyError(f"there is no {name!r} at step {step}; the names are {names}")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        cells = [("t", "name", "formula", "equation", "value"), *map(_cells, self.rows)]
        widths = [max(len(line[k].split("\n")[0]) for line in cells) for k in range(4)]
        lines = []
        phase = ""
        for row, line in zip([None, *self.rows], cells):
            if row is not None and row.phase != phase:
                phase = row.phase
                lines.append(f"-- {phase}")
            first, *more = line[4].split("\n")
            lines.append("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), first]).rstrip())
            lines += [" " * (sum(widths) + 8) + each for each in more]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("t", "name", "formula", "equation", "value"))
        body = ""
        phase = ""
        for row in self.rows:
            if row.phase != phase:
                phase = row.phase
                body += f'<tr><th colspan="5" style="text-align:left">{escape(phase)}</th></tr>'
            *cells, value = _cells(row)
            left = "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in cells)
            body += f'<tr>{left}<td style="text-align:left"><pre style="margin:0">{escape(value)}</pre></td></tr>'
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Entry) -> tuple[str, str, str, str, str]:
    value = np.array2string(row.value, precision=6, suppress_small=True, max_line_width=100)
    return str(row.step) if row.step else "", row.name, row.formula, row.equation, value


def trace(layer: Recurrent, x: Any, state: Any = None, dhs: Any = None, dstate: Any = None) -> Trace:
    """All intermediates of one layer, read forwards, on x (T, B, D).

    state and dstate as for `layer.forward` and `layer.backward`: h (1, B, H), or for an LSTM (h, c); dhs (T, B, H) are
    the gradients of the outputs. Without dhs and dstate the loss is the sum of all outputs, so dhs is 1. Raises
    TypeError or ValueError for anything but a single RNN, LSTM or GRU layer without a reverse direction, and for wrong
    shapes.

    >>> lstm = LSTM(1, 1, dtype="float64", seed=0)
    >>> steps = trace(lstm, np.array([[[0.5]], [[-1.0]]]))
    >>> lstm.forward(np.array([[[0.5]], [[-1.0]]]))[0][1] == steps["h", 2]
    array([[ True]])
    """
    if not isinstance(layer, (RNN, LSTM, GRU)):
        raise TypeError(f"layer is {type(layer).__name__}, expected RNN, LSTM or GRU")
    if layer.num_layers != 1 or layer.bidirectional:
        raise ValueError(f"layer is {layer!r}, expected one layer in one direction")
    layer._check_x(x)
    T, B, _ = x.shape
    H = layer.hidden_size
    starts = [np.zeros((B, H), x.dtype) if part is None else part[0] for part in layer._unpack(state, B, "state")]
    ends = [np.zeros((B, H), x.dtype) if part is None else part[0] for part in layer._unpack(dstate, B, "dstate")]
    if dhs is None:
        dhs = np.zeros((T, B, H), x.dtype) if dstate is not None else np.ones((T, B, H), x.dtype)
    check_shape("dhs", dhs, (T, B, H), x.dtype, "(T, B, H)")
    found = Trace()
    cell = _CELLS[type(layer)](layer, found)
    now, memory = starts, []
    for t in range(T):
        before = now
        now, kept = cell.forward(t + 1, x[t], before)
        memory.append((before, kept))
    dstates = ends
    dx = np.zeros_like(x)
    totals = {name: np.zeros_like(array) for name, array in layer.params.items()}
    for t in reversed(range(T)):
        before, kept = memory[t]
        dx[t], dstates, parts = cell.backward(t + 1, x[t], dhs[t], dstates, before, kept)
        for name, part in parts.items():
            totals[name] += part
    for name, total in totals.items():
        short = name.removesuffix("_l0")
        found.rows.append(Entry(0, "sum", f"d{short}", f"sum over t of d{short}_t", _SUMS[short[0]], total))
    found.totals, found.dx, found.dinitial = totals, dx, tuple(dstates)
    return found


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-z) (Eq. 24), by tanh, which works on complex numbers too."""
    return 0.5 * np.tanh(0.5 * z) + 0.5


class _Cell:
    """Names what it computes: `note` takes a value down and hands it on."""

    def __init__(self, layer: Any, found: Trace):
        self.layer, self.found = layer, found
        H = layer.hidden_size
        self.weights = {}
        for k, gate in enumerate(layer.gates):
            for letter in "WUb":
                self.weights[letter + gate] = layer.params[f"{letter}_l0"][..., k * H : (k + 1) * H]
        self.phase, self.t = "forward", 0

    def note(self, name: str, formula: str, equation: str, value: np.ndarray) -> np.ndarray:
        self.found.rows.append(Entry(self.t, self.phase, name, formula, equation, value))
        return value

    def begin(self, phase: str, t: int) -> Callable[..., np.ndarray]:
        self.phase, self.t = phase, t
        return self.note

    def affine(self, gate: str, equation: str, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        W, U, b = (self.weights[letter + gate] for letter in "WUb")
        sign = "" if self.layer.gates == "h" else f"_{gate}"
        formula = f"x W{sign} + h_prev U{sign} + b{sign}"
        return self.note(f"z{sign}", formula, equation, x @ W + h @ U + b)

    def parts(self, x: np.ndarray, h: np.ndarray, dz: np.ndarray) -> dict[str, np.ndarray]:
        """What this step adds to the gradients of W, U and b: the terms of the sums over time."""
        return {
            "W_l0": self.note("dW_t", "x^T dz", "8", x.T @ dz),
            "U_l0": self.note("dU_t", "h_prev^T dz", "5", h.T @ dz),
            "b_l0": self.note("db_t", "sum of dz over the batch", "14", dz.sum(axis=0)),
        }

    def arriving(self, dh_out: np.ndarray, dh_future: np.ndarray) -> np.ndarray:
        self.note("dh (output)", "dL_t/dh", "", dh_out)
        self.note("dh (future)", "from step t+1", "6", dh_future)
        return self.note("dh", "dh (output) + dh (future)", "6", dh_out + dh_future)


class _RNN(_Cell):
    def forward(self, t: int, x: np.ndarray, before: Any) -> Any:
        note = self.begin("forward", t)
        z = self.affine("h", "1, 62", x, before[0])
        activation = ACTIVATIONS[self.layer.activation]
        h = note("h", f"{self.layer.activation}(z)", "1, 62", activation.function(z.copy()))
        return [h], h

    def backward(self, t: int, x: np.ndarray, dh_out: np.ndarray, dnext: Any, before: Any, h: Any) -> Any:
        note = self.begin("backward", t)
        dh = self.arriving(dh_out, dnext[0])
        slope = ACTIVATIONS[self.layer.activation].slope_from_output(h)
        dz = note("dz", f"dh * {self.layer.activation}'(z)", "6", dh * slope)
        parts = self.parts(x, before[0], dz)
        dx = note("dx", "dz W^T", "", dz @ self.layer.params["W_l0"].T)
        dh_prev = note("dh_prev", "dz U^T", "6", dz @ self.layer.params["U_l0"].T)
        return dx, [dh_prev], parts


class _LSTM(_Cell):
    EQUATIONS = {"i": "29, 67", "f": "28, 66", "o": "32, 70", "g": "30, 68"}

    def forward(self, t: int, x: np.ndarray, before: Any) -> Any:
        note = self.begin("forward", t)
        h_prev, c_prev = before
        gates = {}
        for gate, equation in self.EQUATIONS.items():
            z = self.affine(gate, equation, x, h_prev)
            function = "tanh" if gate == "g" else "sigmoid"
            gates[gate] = note(gate, f"{function}(z_{gate})", equation, np.tanh(z) if gate == "g" else sigmoid(z))
        c = note("c", "f c_prev + i g", "31, 69", gates["f"] * c_prev + gates["i"] * gates["g"])
        tanh_c = note("tanh c", "tanh(c)", "33, 71", np.tanh(c))
        h = note("h", "o tanh(c)", "33, 71", gates["o"] * tanh_c)
        return [h, c], (gates, tanh_c)

    def backward(self, t: int, x: np.ndarray, dh_out: np.ndarray, dnext: Any, before: Any, kept: Any) -> Any:
        note = self.begin("backward", t)
        (h_prev, c_prev), (gates, tanh_c) = before, kept
        i, f, o, g = (gates[gate] for gate in "ifog")
        dh = self.arriving(dh_out, dnext[0])
        do = note("do", "dh tanh(c)", "", dh * tanh_c)
        through_h = note("dc (through h)", "dh o (1 - tanh(c)^2)", "", dh * o * (1 - tanh_c**2))
        note("dc (future)", "from step t+1", "", dnext[1])
        dc = note("dc", "dc (through h) + dc (future)", "", through_h + dnext[1])
        di = note("di", "dc g", "", dc * g)
        df = note("df", "dc c_prev", "", dc * c_prev)
        dg = note("dg", "dc i", "", dc * i)
        dz = {
            "i": note("dz_i", "di i (1 - i)", "25", di * i * (1 - i)),
            "f": note("dz_f", "df f (1 - f)", "25", df * f * (1 - f)),
            "o": note("dz_o", "do o (1 - o)", "25", do * o * (1 - o)),
            "g": note("dz_g", "dg (1 - g^2)", "27", dg * (1 - g**2)),
        }
        packed = note("dz", "[dz_i dz_f dz_o dz_g]", "", np.concatenate([dz[gate] for gate in "ifog"], axis=1))
        parts = self.parts(x, h_prev, packed)
        dx = note("dx", "dz W^T", "", packed @ self.layer.params["W_l0"].T)
        dh_prev = note("dh_prev", "dz U^T", "", packed @ self.layer.params["U_l0"].T)
        dc_prev = note("dc_prev", "dc f", "31", dc * f)
        return dx, [dh_prev, dc_prev], parts


class _GRU(_Cell):
    def forward(self, t: int, x: np.ndarray, before: Any) -> Any:
        note = self.begin("forward", t)
        h_prev = before[0]
        r = note("r", "sigmoid(z_r)", "35, 75", sigmoid(self.affine("r", "35, 75", x, h_prev)))
        z = note("z", "sigmoid(z_z)", "34, 76", sigmoid(self.affine("z", "34, 76", x, h_prev)))
        W, U, b = (self.weights[letter + "n"] for letter in "WUb")
        if self.layer.reset_after:
            hn = note("h_n", "h_prev U_n + bn", "", h_prev @ U + self.layer.params["bn_l0"])
            z_n = note("z_n", "x W_n + b_n + r h_n", "36, 77", x @ W + b + r * hn)
        else:
            hn = note("r h_prev", "r h_prev", "36, 77", r * h_prev)
            z_n = note("z_n", "x W_n + (r h_prev) U_n + b_n", "36, 77", x @ W + hn @ U + b)
        n = note("n", "tanh(z_n)", "36, 77", np.tanh(z_n))
        h = note("h", "z h_prev + (1 - z) n", "78", z * h_prev + (1 - z) * n)
        return [h], (r, z, n, hn)

    def backward(self, t: int, x: np.ndarray, dh_out: np.ndarray, dnext: Any, before: Any, kept: Any) -> Any:
        note = self.begin("backward", t)
        h_prev, (r, z, n, hn) = before[0], kept
        U = {gate: self.weights["U" + gate] for gate in "rzn"}
        dh = self.arriving(dh_out, dnext[0])
        dz = note("dz", "dh (h_prev - n)", "", dh * (h_prev - n))
        dn = note("dn", "dh (1 - z)", "", dh * (1 - z))
        dz_n = note("dz_n", "dn (1 - n^2)", "27", dn * (1 - n**2))
        if self.layer.reset_after:
            dhn = note("dh_n", "dz_n r", "", dz_n * r)
            dr = note("dr", "dz_n h_n", "", dz_n * hn)
            through_n = note("dh_prev (through n)", "dh_n U_n^T", "", dhn @ U["n"].T)
        else:
            dhn = note("d(r h_prev)", "dz_n U_n^T", "", dz_n @ U["n"].T)
            dr = note("dr", "d(r h_prev) h_prev", "", dhn * h_prev)
            through_n = note("dh_prev (through n)", "d(r h_prev) r", "", dhn * r)
        dz_r = note("dz_r", "dr r (1 - r)", "25", dr * r * (1 - r))
        dz_z = note("dz_z", "dz z (1 - z)", "25", dz * z * (1 - z))
        packed = np.concatenate([dz_r, dz_z, dz_n], axis=1)
        gates = [h_prev.T @ dz_r, h_prev.T @ dz_z, h_prev.T @ dhn if self.layer.reset_after else hn.T @ dz_n]
        last = "h_prev^T dh_n" if self.layer.reset_after else "(r h_prev)^T dz_n"
        parts = {
            "W_l0": note("dW_t", "x^T [dz_r dz_z dz_n]", "8", x.T @ packed),
            "U_l0": note("dU_t", f"[h_prev^T dz_r, h_prev^T dz_z, {last}]", "5", np.concatenate(gates, axis=1)),
            "b_l0": note("db_t", "sum of [dz_r dz_z dz_n] over the batch", "14", packed.sum(axis=0)),
        }
        if self.layer.reset_after:
            parts["bn_l0"] = note("dbn_t", "sum of dh_n over the batch", "14", dhn.sum(axis=0))
        dx = note("dx", "[dz_r dz_z dz_n] W^T", "", packed @ self.layer.params["W_l0"].T)
        through_gates = note("dh_prev (through r, z)", "dz_r U_r^T + dz_z U_z^T", "", dz_r @ U["r"].T + dz_z @ U["z"].T)
        direct = note("dh_prev (direct)", "dh z", "78", dh * z)
        dh_prev = note("dh_prev", "direct + through r, z + through n", "", direct + through_gates + through_n)
        return dx, [dh_prev], parts


_SUMS = {"W": "8", "U": "5", "b": "14"}  # what the report calls U and W are W and U here
_CELLS: dict[type, Any] = {RNN: _RNN, LSTM: _LSTM, GRU: _GRU}
