"""Every number of a forward and a backward pass, step by step, with its formula and equation.

The cell's own functions run, in the plain loop of plain.py, on arrays that know how they came about: assigning to one
writes a row, whose formula is what the line of source computes and whose equation is named in the line's comment. Small
sizes make the tables readable: T = 2 or 3 steps, H = 1 or 2 units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from html import escape
from inspect import getsource
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..checks import as_operand, check_choice, check_shape
from ..layers import Recurrent
from .compare import Comparison, compare
from .plain import Plain
from .table import Table
from .written import Gates, Written, bound


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

    `trace["c", 2]` is the value of c at step 2, `trace["c"]` those of all steps (T, B, H), `trace["dW"]` a sum over the
    steps, `trace["dW_f"]` one gate's part of it; `totals` holds the gradients summed over the steps, under the names of
    the layer's parameters, and `dx` (T, B, D) and `dinitial`, those of the inputs and of the initial state.
    """

    def __init__(self, of: str = "", only: str | None = None) -> None:
        self.of, self.only = of, only  # the layer, in words; the phase that is shown, None for all
        self.rows: list[Entry] = []
        self.totals: dict[str, np.ndarray] = {}
        self.gradients: dict[str, str] = {}  # the rows of totals
        self.by_gate: list[Entry] = []  # the gradients of W, U and b once more, gate by gate: dW_f_t, dW_f
        self.dx: np.ndarray
        self.dinitial: tuple[np.ndarray, ...]

    def __getitem__(self, key: str | tuple[str, int]) -> np.ndarray:
        name, step = key if isinstance(key, tuple) else (key, None)
        found = self._by_name.get(name, {})
        if step in found:
            return found[step]
        if step is None and found:
            return found[0] if list(found) == [0] else np.stack([found[t] for t in sorted(found)])
        names = ", ".join(dict.fromkeys(row.name for row in self.rows))
        where = "" if step is None else f" at step {step}"
        raise KeyError(f"there is no {name!r}{where}; the names are {names}")

    @cached_property
    def _by_name(self) -> dict[str, dict[int, np.ndarray]]:
        found: dict[str, dict[int, np.ndarray]] = {}
        for row in (*self.rows, *self.by_gate):
            found.setdefault(row.name, {})[row.step] = row.value
        return found

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def compare(self, mine: Mapping[Any, Any], rtol: float | None = None) -> Comparison:
        """The first of the learner's intermediates that differs, in the order in which the pass computes them.

        `mine` maps names as the trace prints them to numbers: {("dc", 2): dc at step 2}, {"c": all steps (T, B, H)} and
        {"dW": sum over all steps}, whole or gate by gate ("dW_f"); any of them may be left out. Axes of length 1 may be
        missing, so that numbers and lists will do where B = H = 1. Two arrays are the same if they differ by at most
        `rtol` of the largest entry (1e-9; 1e-4 where one is float32), or by the rounding of the whole pass. Another
        shape counts as a difference. The result prints what the line should compute and has `ok`, `name`, `step`,
        `phase`, `formula`, `equation`, `mine`, `expected`, `ratio` and `hint`.

        Raises ValueError for a name or step that the trace has not and for an empty dict, so that an assertion never
        passes on nothing, TypeError for what is no dict or no number.

        >>> from rnnscratch import RNN
        >>> steps = trace(RNN(1, 1, dtype="float64", seed=0), [0.5, -1.0], dhs=[0.0, 2.0])
        >>> steps.compare({"h": steps["h"], ("dh", 2): -2.0})
        dh at t = 2 differs (backward)
          should be  dh (output) + dh (future)   (Eq. 6)
          mine       [[-2.]]
          expected   [[2.]]
          note       mine / expected = -1
          before it  2 agree: 2 exactly, 0 to rounding
        """
        if isinstance(mine, Mapping) and any(key in self.totals for key in mine):  # as layer.grads calls them
            mine = {self.gradients.get(key, key): value for key, value in mine.items()}
        return compare(self.rows, mine, rtol, self.by_gate)

    @property
    def shown(self) -> list[Entry]:
        """The rows of the phase that `only` names, or all."""
        return [row for row in self.rows if self.only in (None, row.phase)]

    def table(self) -> Table:
        """The same numbers with a row for each name and a column for each step, to print or to show in a notebook.

        >>> from rnnscratch import RNN
        >>> trace(RNN(1, 1, dtype="float64", seed=0), [0.0, 0.0], state=0.5, only="forward").table()
           t = 1      t = 2
        z  -0.5       0.462117
        h  -0.462117  0.431808
        """
        return Table(self.shown)

    def __repr__(self) -> str:
        return (
            f"Trace of {self.of}: {len(self.rows)} intermediates to print, or by name, as trace['h'] or trace['h', 1]"
        )

    def __str__(self) -> str:
        cells = [("t", "name", "formula", "equation", "value"), *map(_cells, self.shown)]
        widths = [max(len(line[k].split("\n")[0]) for line in cells) for k in range(4)]
        lines = []
        phase = ""
        for row, line in zip([None, *self.shown], cells):
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
        for row in self.shown:
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


def trace(
    layer: Recurrent,
    x: Any,
    state: Any = None,
    dhs: Any = None,
    dstate: Any = None,
    only: str | None = None,
    letters: str = "library",
) -> Trace:
    """All intermediates of one layer, read forwards, on x (T, B, D).

    state and dstate as for `layer.forward` and `layer.backward`: h (1, B, H), or for an LSTM (h, c); dhs (T, B, H) are
    the gradients of the outputs. Without dhs and dstate the loss is the sum of all outputs, so dhs is 1. Where D = H =
    1, numbers and lists will do: x and dhs (T,), a number for h. `only`, "forward", "backward" or "sum", shows one
    phase. With `letters="report"` names and formulas are the report's: the U and W of its Eq. 1 are our W and U; its C,
    C~ and W_c our c, g and W_g; its h~ and W_h our n and W_n.

    Raises TypeError or ValueError for anything but a single recurrent layer without a reverse direction, for arrays
    that do not fit it, and for another phase or other letters.

    >>> from rnnscratch import LSTM
    >>> lstm = LSTM(1, 1, dtype="float64", seed=0)
    >>> steps = trace(lstm, np.array([[[0.5]], [[-1.0]]]))
    >>> lstm.forward(np.array([[[0.5]], [[-1.0]]]))[0][1] == steps["h", 2]
    array([[ True]])
    """
    if only is not None:
        check_choice("only", only, ("forward", "backward", "sum"))
    check_choice("letters", letters, ("library", "report"))
    x = input_of(layer, x)
    T, B, _ = x.shape
    H = layer.hidden_size
    state, dstate = state_of(layer, B, state), state_of(layer, B, dstate, "dstate")
    if dhs is None:
        dhs = np.zeros((T, B, H), x.dtype) if dstate is not None else np.ones((T, B, H), x.dtype)
    dhs = check_shape("dhs", with_axes(layer, "dhs", dhs), (T, B, H), x.dtype, "(T, B, H)")
    found = Trace(f"{type(layer).__name__}, T = {T}, B = {B}, D = {layer.input_size}, H = {H}", only)
    loop = Loop(layer, found)
    loop.forward(x, state)
    found.dx, dinitial = loop.backward(dhs, dstate)
    found.dinitial = tuple(part[0] for part in loop.parts(dinitial))
    found.totals = loop.grads
    for name, total in found.totals.items():
        short = name.removesuffix("_l0")
        found.rows.append(Entry(0, "sum", f"d{short}", f"sum over t of d{short}_t", SUMS.get(short[0], ""), total))
    gates, packed = [*layer.cell.gates], loop.packed
    if len(gates) > 1:
        found.by_gate = [part for row in found.rows for part in _by_gate(row, gates, packed)]
    if letters == "report":
        found.rows, found.by_gate = (
            [_as_in_the_report(row, layer.cell.gates) for row in rows] for rows in (found.rows, found.by_gate)
        )
    found.gradients = dict(zip(found.totals, (row.name for row in found.rows[-len(found.totals) :])))
    return found


def _by_gate(row: Entry, gates: list[str], packed: str) -> list[Entry]:
    """A row of gradients of W, U or b taken apart into a row for each gate; no rows for any other."""
    named = re.fullmatch("d([WUb])(_t)?", row.name)
    if not named:
        return []
    parts, rows = row.formula.strip("[]").split(", "), []
    for k, (gate, value) in enumerate(zip(gates, np.split(row.value, len(gates), axis=-1))):
        if not row.step:
            formula = f"sum over t of {row.name}_{gate}_t"
        elif len(parts) == len(gates):
            formula = parts[k]
        elif row.formula in (f"x^T {packed}", f"h_prev^T {packed}", f"sum of {packed} over the batch"):
            formula = row.formula.replace(packed, f"dz_{gate}")
        else:
            formula = f"columns of {gate} of {row.formula}"
        rows.append(row._replace(name=f"d{named[1]}_{gate}{named[2] or ''}", formula=formula, value=value))
    return rows


def _as_in_the_report(row: Entry, gates: str) -> Entry:
    """The row in the report's letters: Eq. 1 for a vanilla network, Eqs 66-71 for LSTMs, 75-78 for GRUs."""

    def spell(found: re.Match[str]) -> str:
        d, of, letter, end = found.groups()
        return d + (of + {"g": "c", "n": "h"}.get(letter, letter) if of else REPORT.get(letter, letter)) + end

    def respelt(text: str) -> str:
        if gates == "h":
            return text.translate({ord("U"): "W", ord("W"): "U"})
        letters = "cg" if "g" in gates else "n"
        return re.sub(rf"\b(d?)((?:[zWUbP]_)?)([{letters}])((?:_prev|_t)?)\b", spell, text)

    return row._replace(name=respelt(row.name), formula=respelt(row.formula))


REPORT = {"c": "C", "g": "C~", "n": "h~"}


def input_of(layer: Recurrent, x: Any) -> np.ndarray:
    """x (T, B, D) as an array, for one recurrent layer in one direction. Raises TypeError or ValueError otherwise.

    Where D = H = 1, (T,) and (T, B) will do.
    """
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer is {type(layer).__name__}, expected RNN, LSTM or GRU, or another recurrent layer")
    if layer.num_layers != 1 or layer.bidirectional:
        raise ValueError(f"layer is {layer!r}, expected one layer in one direction")
    dtype = layer._compute_dtype()
    x = with_axes(layer, "x", as_operand("x", x, dtype))
    if x.dtype.kind == "f" and x.dtype != dtype:
        raise TypeError(
            f"x has dtype {x.dtype}, but the layer computes in {dtype}: make the layer with dtype='{x.dtype}', or hand "
            f"over x.astype('{dtype}')"
        )
    return layer._as_x(x)


def state_of(layer: Recurrent, B: int, state: Any, name: str = "state") -> Any:
    """The state with arrays in its places; None stays None. Raises TypeError or ValueError."""
    if state is None:
        return None
    if len(layer.states) == 1:
        state = with_axes(layer, name, state, "state")
    elif isinstance(state, tuple | list) and len(state) == len(layer.states):
        state = [with_axes(layer, f"{name} {letter}", part, "state") for letter, part in zip(layer.states, state)]
    return layer._pack(layer._unpack(state, B, name))


def with_axes(layer: Recurrent, name: str, value: Any, kind: str = "sequence") -> Any:
    """The value with the axes that a bare number or list leaves out, where D = H = 1: (T,) of a sequence is (T, 1, 1)
    and (T, B) is (T, B, 1); a number as a state is (1, 1, 1) and (B,) is (1, B, 1).
    """
    if value is None or layer.input_size != 1 or layer.hidden_size != 1:
        return value
    value = as_operand(name, value, layer._compute_dtype())
    if kind == "state":
        return value.reshape(1, -1, 1) if value.ndim < 2 else value
    return value.reshape(len(value), -1, 1) if value.ndim in (1, 2) else value


SUMS = {"W": "8", "U": "5", "b": "14"}  # what the report calls U and W are W and U here


class Loop(Plain):
    """The plain loop around a layer's cell, which writes rows."""

    def __init__(self, layer: Recurrent, found: Trace):
        self.cell, self.states, self.hidden_size = layer.cell, layer.states, layer.hidden_size
        self.params, self.weights = layer.params, layer.weights
        self.grads = {name: np.zeros_like(array) for name, array in layer.params.items()}
        self.found, self.t, self.phase = found, 0, "forward"
        self.slopes: dict[str, Written] = {}  # what `slopes` of this step has put into `s`
        self.added: dict[str, list[str]] = {}  # the formulas of what the cell adds to gradients of weights
        gates = self.cell.gates
        self.suffix = {gate: "" if gates == "h" else f"_{gate}" for gate in gates}
        self.packed = "dz" if "z" not in gates else f"[{' '.join(f'dz{end}' for end in self.suffix.values())}]"
        try:
            source = getsource(self.cell.step)
        except OSError:  # made without a file
            source = ""
        unpacked = re.search(r"= gates .*Eqs ([\d, ]+)(?:; ([\d, ]+))?", source)
        lists = [each.split(", ") for each in unpacked.groups() if each] if unpacked else []
        self.equations = {gate: ", ".join(numbers) for gate, *numbers in zip(gates, *lists)} if lists else {}

    def note(self, name: str, formula: str, equation: str, value: np.ndarray) -> None:
        self.found.rows.append(Entry(self.t, self.phase, name, formula, equation, value.copy()))

    def one_step(self, x: np.ndarray, prev: list[np.ndarray]) -> Any:
        self.t += 1
        self.input = "x W"
        return super().one_step(x, prev)

    def add_upstream(self, dh: np.ndarray, dh_t: np.ndarray) -> np.ndarray:
        self.t -= self.phase == "backward"
        self.phase = "backward"
        self.note("dh (output)", "dL_t/dh", "", dh_t)
        self.note("dh (future)", self.future(), "6" if self.states == "h" else "", dh)
        self.note("dh", "dh (output) + dh (future)", "6" if self.states == "h" else "", dh + dh_t)
        return dh + dh_t

    def future(self) -> str:
        return "from step t+1" if self.t < len(self.x) else "of the final state"

    def one_step_back(self, x: np.ndarray, have: dict[str, Any], after: list[np.ndarray]) -> Any:
        self.slopes.clear()
        self.added.clear()
        passed, dx, gradients = super().one_step_back(x, have, after)
        cell, packed, ends = self.cell, self.packed, self.suffix
        own = self.added.get("U", []) + ["h_prev^T dhU"] * cell.apart  # of the gates whose product is the cell's
        products = [f"h_prev^T dz{ends[gate]}" for gate in self.joint]
        dxW = "d(x W)" if cell.inputs_back else packed
        formulas = {"W": f"x^T {dxW}", "b": f"sum of {packed} over the batch"}
        formulas["U"] = f"[{', '.join(products + own)}]" if own else f"h_prev^T {packed}"
        if cell.inputs_back:
            self.note(dxW, f"{cell.inputs_back.__name__}({packed})", "", self.dxW)
        for name, gradient in gradients.items():
            formula = formulas.get(name) or ", ".join(self.added[name])
            self.note(f"d{name}_t", formula, SUMS.get(name[0], ""), gradient)
        self.note("dx", f"{dxW} W^T", "", dx)
        ways = {gate: way for gate, way in self.ways.items() if gate in self.joint}
        through = " + ".join(f"dz{ends[gate]} U{ends[gate]}^T" for gate in ways)
        if cell.apart:
            self.note(f"dh_prev (through {cell.gates[-1]})", f"dhU U_{cell.gates[-1]}^T", "", self.ways[cell.gates[-1]])
        if ways and len(ways) < len(self.ways):
            self.note(f"dh_prev (through {', '.join(ways)})", through, "", sum(ways.values()))
        names = [*(["direct"] if "direct" in self.ways else []), *([f"through {', '.join(ways)}"] if ways else [])]
        names += [f"through {', '.join(gates)}" for gates in self.ways if gates not in ways and gates != "direct"]
        whole = " + ".join(names) if len(self.ways) > len(ways) else f"{packed} U^T"
        self.note("dh_prev", whole, "6" if self.states == "h" else "", passed[0])
        return passed, dx, gradients

    def call(self, function: Any, have: dict[str, Any]) -> None:
        cell = self.cell
        if function is cell.step:
            for gate, z, value in zip(cell.gates, have["z"], have["gates"]):
                if gate not in cell.late:
                    end, kind = self.suffix[gate], "sigmoid" if gate in cell.sigmoids else "tanh"
                    equation = self.equations.get(gate, "")
                    self.note(f"z{end}", f"x W{end} + h_prev U{end} + b{end}", equation, z)
                    self.note(gate, f"{kind}(z{end})", equation, value)
        written = {name: self.write(name, have[name], function) for name in cell.asked[function]}
        bound(function)(*written.values())

    def write(self, name: str, raw: Any, function: Any) -> Any:
        """What the cell's function gets under this name, as arrays that know how they came about."""
        cell = self.cell
        if name in ("gates", "xW"):
            late = cell.late if function is cell.step else ""
            return Gates(raw, self.input, loop=self, parts=[self.gate(k, raw[k], late) for k in range(len(raw))])
        if name == "s":
            for key in cell.slopes_as:
                self.slopes.setdefault(key, Written(getattr(raw, key), key, loop=self, name="s"))
            return SimpleNamespace(**self.slopes)
        if name == "w":
            own = {"U": f"U_{cell.own}" if len(cell.own) == 1 else "U"}
            return SimpleNamespace(
                **{key: Written(getattr(raw, key), own.get(key, key), letters=cell.gates) for key in vars_of(raw)}
            )
        texts = {
            "prev": lambda key: {"h_in": "h_prev", "hU": f"h_prev U_{cell.gates[-1]}"}.get(key, f"{key}_prev"),
            "new": lambda key: key,
            "kept": lambda key: re.sub(r"^(tanh|sigmoid)_(\w+)$", r"\1(\2)", key),
            "d": lambda key: f"d{key}",
            "dz": lambda key: self.packed if key == "all" else f"dz{self.suffix[key]}",
            "dw": lambda key: key,
        }
        found = {}
        for key in vars_of(raw):
            source = {key.removesuffix("_in")} if name in ("d", "dz") else set()
            found[key] = Written(getattr(raw, key), texts[name](key), loop=self, name=f"{name}.{key}", sources=source)
        return SimpleNamespace(**found)

    def gate(self, k: int, value: np.ndarray, late: str) -> Written:
        letter = self.cell.gates[k]
        if letter not in late:
            return Written(value, letter, loop=self, name=f"gates.{letter}")
        end = "" if self.cell.inputs else self.suffix[letter]
        joint = f" + h_prev U{end}" if letter in self.joint else ""
        return Written(value, f"{self.input}{end}{joint} + b{end}", 0, loop=self, name=f"gates.{letter}")

    def assigned(self, target: Written, value: Written, equation: str, before: Any = None) -> None:
        """A line of the cell has put `value` into `target`, or added it to what was there before."""
        kind, _, key = target.name.partition(".")
        if kind == "s":
            target.text, target.level, target.split, target.sources = (
                value.text,
                value.level,
                value.split,
                value.sources,
            )
        elif kind == "dw":
            self.added.setdefault(key, []).append(value.text)
        elif kind == "dz" and key != "all":
            end = self.suffix[key]
            formula = value.text
            if value.split is not None and end:
                of_gate, slope = value.split
                self.note(f"d{key}", of_gate.text, "", of_gate.value)
                formula, equation = f"d{key} {slope.factor()}", equation or slope.equation
            self.note(f"dz{end}", formula, equation, target.value)
        elif kind == "d" and before is not None:
            through = ", ".join(sorted(value.sources))
            self.note(f"{target.text} (through {through})", value.text, "", value.value)
            self.note(f"{target.text} (future)", self.future(), "", before)
            self.note(target.text, f"{target.text} (through {through}) + {target.text} (future)", "", target.value)
        elif kind == "d":
            ways = {"h": "dh_prev (direct)", "h_in": f"dh_prev (through {', '.join(self.cell.own)})", "hU": "dhU"}
            self.note(ways.get(key, f"d{key}_prev"), value.text, equation, target.value)
        elif kind in ("gates", "new", "kept"):
            if value.inner is not None and key in self.cell.gates:
                end = self.suffix[key]
                self.note(f"z{end}", value.inner.text, equation, value.inner.value)
                value = Written(value.value, f"{value.text.partition('(')[0]}(z{end})")
            if kind == "gates":
                target.text, target.level = key, 2
            self.note(re.sub("^(tanh|sigmoid)_", r"\1 ", key), value.text, equation, target.value)


def vars_of(raw: Any) -> list[str]:
    """The names of the fields."""
    return list(raw.__slots__)
