"""Proofs: the kernels' gradients are those that SymPy finds by differentiating the unrolled equations.

A cell is "rnn", "lstm", "gru", "gru reset_after" or "peephole" (which has no `derivation`). The layer-normalised LSTM
is left out: its roots are no polynomials, and with one unit its normalised c is 0. Another cell, or a size that is no
whole number of at least 1, is a TypeError or ValueError naming the argument.

The loss is sum_t v_t . h_t with symbols v for its derivatives. Needs SymPy (extra `notebooks`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy

from ..checks import check_choice, check_sizes
from ..kernels import sequence
from ..layers import GRU
from ..models.classifier import CELLS as LAYERS
from . import exact, plain

CELLS = {name: layer.cell_of() for name, layer in LAYERS.items() if name != "layer_norm"}
CELLS["gru reset_after"] = GRU.cell_of(reset_after=True)
GATES = {name: cell.gates for name, cell in CELLS.items() if name != "peephole"}  # those of `derivation`


@dataclass
class Unrolled:
    """A cell written out over T steps for one sequence: symbols by name, as object arrays, and the loss."""

    cell: str
    symbols: dict[str, np.ndarray]  # x (T, D), v (T, H), h0 (H,), W (D, G*H), U (H, G*H), b (G*H,), c0, bn, P
    h: list[np.ndarray]  # of each step, as expressions of the symbols
    loss: sympy.Expr

    def gradient(self, name: str) -> np.ndarray:
        """dL/d(symbols[name]) by SymPy's differentiation, entry by entry."""
        return np.vectorize(lambda symbol: sympy.diff(self.loss, symbol), otypes=[object])(self.symbols[name])


def unroll(cell: str, T: int = 2, H: int = 1, D: int = 1) -> Unrolled:
    """The equations of a cell (62; 66-71; 75-78) written out over T steps.

    >>> unroll("rnn", T=1).h[0][0]
    tanh(U_h*h0 + W_h*x_1 + b_h)
    """
    check_choice("cell", cell, CELLS)
    check_sizes(T=T, H=H, D=D)
    gates = CELLS[cell].gates

    def symbols(name: str, *shape: int, steps: bool = False) -> np.ndarray:
        found = np.empty(shape, dtype=object)
        for place in np.ndindex(*shape):
            indices = [place[0] + 1] if steps else []
            inner = place[1:] if steps else place
            indices += [k + 1 for k, size in zip(inner, shape[1:] if steps else shape) if size > 1]
            found[place] = sympy.Symbol("_".join([name, *map(str, indices)]), real=True)
        return found

    def packed(letter: str, *shape: int) -> np.ndarray:
        return np.concatenate([symbols(f"{letter}_{gate}", *shape) for gate in gates], axis=-1)

    known = {"x": symbols("x", T, D, steps=True), "v": symbols("v", T, H, steps=True), "h0": symbols("h0", H)}
    known |= {"W": packed("W", D, H), "U": packed("U", H, H), "b": packed("b", H)}
    known |= {f"{letter}0": symbols(f"{letter}0", H) for letter in CELLS[cell].states}
    known |= {name: symbols(name, k * H) for name, k in CELLS[cell].weights.items()}
    steps, outputs = _Steps(cell, known), []
    state = [exact.ndarray(known[f"{letter}0"][None]) for letter in CELLS[cell].states]
    for x_t in known["x"]:
        state, _ = steps.one_step(exact.ndarray(x_t[None]), state)
        outputs.append(state[0].data[0])
    loss = sum((known["v"][t] @ outputs[t] for t in range(T)), sympy.Integer(0))
    return Unrolled(cell, known, outputs, loss)


class _Steps(plain.Plain):
    """A cell's plain loop on exact numbers."""

    def __init__(self, cell: str, known: dict[str, Any]):
        self.cell = CELLS[cell]
        arrays = {name: exact.ndarray(array) for name, array in known.items()}
        further = {name: arrays[name] for name in self.cell.weights}
        self.weights = lambda suffix: (arrays["W"], arrays["U"], arrays["b"], further)


def kernel_gradients(cell: str, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """The hand-written forward and backward pass on exact numbers: gradients under the names of `Unrolled.symbols`.

    Raises ValueError for another cell, or unless values has an array under each of these names.
    """
    check_choice("cell", cell, CELLS)
    missing = unroll(cell, 1).symbols.keys() - values.keys()
    if missing:
        raise ValueError(f"values has no {', '.join(sorted(missing))}, expected all that {cell} computes with")
    arrays = {name: exact.ndarray(np.array(value, dtype=object)) for name, value in values.items()}
    x, dhs = (exact.ndarray(arrays[name].data[:, None]) for name in ("x", "v"))
    kind = CELLS[cell]
    names = [f"{letter}0" for letter in kind.states]
    state = tuple(exact.ndarray(arrays[name].data[None]) for name in names)
    further = {name: arrays[name] for name in kind.weights}
    _, _, cache = sequence.forward(kind, x, state, *(arrays[name] for name in "WUb"), **further)
    dx, dstate, *gradients = sequence.backward(cache, dhs)
    found = {"x": dx, **dict(zip(names, dstate)), **dict(zip(("W", "U", "b", *further), gradients))}
    return {name: array.data[:, 0] if name == "x" else array.data[0] if name in ("h0", "c0") else array.data
            for name, array in found.items()}  # fmt: skip


def prove_digits(cell: str, T: int = 2, H: int = 2, D: int = 1, digits: int = 30, seed: int = 0) -> mpmath.mpf:
    """The largest relative error of the kernels' gradients against SymPy's, at random numbers with `digits` digits.

    Some seconds for two steps of two units; the expressions grow fast. Raises ArithmeticError if a gradient differs by
    more than a hundred units of the last digit, relative to its largest entry.
    """
    unrolled = unroll(cell, T, H, D)
    rng = np.random.default_rng(seed)
    flat = [symbol for array in unrolled.symbols.values() for symbol in array.ravel()]
    errors: dict[str, mpmath.mpf] = {}
    with mpmath.workdps(digits + 15):
        numbers = {
            name: np.vectorize(lambda _: mpmath.mpf(int(rng.integers(-999, 1000))) / 1000, otypes=[object])(array)
            for name, array in unrolled.symbols.items()
        }
        values = [number for array in numbers.values() for number in array.ravel()]
        for name, found in kernel_gradients(cell, numbers).items():
            function = sympy.lambdify(flat, unrolled.gradient(name).ravel().tolist(), "mpmath", cse=True)
            expected = function(*values)
            size = max(abs(value) for value in expected)
            errors[name] = max(abs(a - e) / size for a, e in zip(found.ravel(), expected))
        worst = max(errors, key=lambda name: errors[name])
        if errors[worst] > mpmath.mpf(10) ** (2 - digits):
            error = mpmath.nstr(errors[worst], 3)
            raise ArithmeticError(f"the gradient of {worst} of the {cell} differs by {error} of its size")
        return errors[worst]


def prove_identical(cell: str, T: int = 2) -> dict[str, bool]:
    """For one unit and one input: whether the kernel's gradient is the very expression that SymPy finds, by parameter.

    Both are polynomials in the symbols and in nested tanh, and equal ones have equal coefficients.
    """
    unrolled = unroll(cell, T, 1, 1)
    pairs = {
        name: list(zip(found.ravel(), unrolled.gradient(name).ravel()))
        for name, found in kernel_gradients(cell, unrolled.symbols).items()
    }
    same = _Polynomials([s for array in unrolled.symbols.values() for s in array.ravel()], 5 * T)
    return {name: all(same(found) == same(expected) for found, expected in each) for name, each in pairs.items()}


class _Polynomials:
    """Turns expressions into polynomials: a variable for each symbol, and one for each tanh of another polynomial."""

    def __init__(self, symbols: list[sympy.Symbol], tanhs: int):
        self.ring, *variables = sympy.ring([s.name for s in symbols] + [f"t{k}" for k in range(tanhs)], sympy.QQ)
        self.known: dict[Any, Any] = dict(zip(symbols, variables))
        self.free = variables[len(symbols) :]
        self.tanh_of: dict[Any, Any] = {}

    def __call__(self, expression: Any) -> Any:
        expression = sympy.sympify(expression)
        if expression not in self.known:
            self.known[expression] = self._convert(expression)
        return self.known[expression]

    def _convert(self, expression: sympy.Expr) -> Any:
        if expression.is_Rational:
            return self.ring(sympy.QQ(expression.p, expression.q))
        parts = [self(each) for each in expression.args]
        if isinstance(expression, sympy.tanh):
            argument = parts[0]
            if argument not in self.tanh_of:
                self.tanh_of[argument] = self.free[len(self.tanh_of)]
            return self.tanh_of[argument]
        if expression.is_Pow:
            return parts[0] ** int(expression.exp)
        total = self.ring(0) if expression.is_Add else self.ring(1)
        for part in parts:
            total = total + part if expression.is_Add else total * part
        return total


@dataclass
class Path:
    """One way from the loss back to one use of a parameter: a product of partial derivatives."""

    step: int  # whose use of the parameter it ends in
    through: tuple[str, ...]  # the states it passes, from the last step back
    factors: list[tuple[str, sympy.Expr]]  # each partial derivative: its name as LaTeX, and what it is

    @property
    def value(self) -> sympy.Expr:
        """The product."""
        return sympy.Mul(*(value for _, value in self.factors))


@dataclass(repr=False)
class Derivation:
    """dL_T/d(parameter) for one unit, path by path; a notebook shows it as formulas, `print` as their LaTeX."""

    name: str  # of the gradient, as LaTeX
    legend: dict[str, str]  # what the letters mean: LaTeX, and words
    local: list[tuple[str, sympy.Expr]]  # the partial derivatives of a step j
    paths: list[Path]
    meanings: dict[sympy.Symbol, sympy.Expr]  # of gates and states, step by step

    def evaluate(self, values: dict[str, Any], digits: int = 30) -> list[sympy.Expr]:
        """The value of each path for numbers by name: x_1 .. x_T, h_0 (and c_0), v_T and the parameters."""
        numbers = {sympy.Symbol(name): sympy.Float(value, digits + 10) for name, value in values.items()}
        for symbol, meaning in self.meanings.items():
            numbers[symbol] = meaning.subs(numbers).rewrite(sympy.tanh).evalf(digits + 10)
        return [path.value.subs(numbers).evalf(digits + 10) for path in self.paths]

    def __str__(self) -> str:
        rows = [rf"{letters} &: \text{{{words}}}" for letters, words in self.legend.items()]
        rows += [f"{name} &= {_latex(value)}" for name, value in self.local]
        for number, path in enumerate(self.paths):
            start = f"{self.name} &= " if number == 0 else "&+ "
            names = r" \, ".join(name for name, _ in path.factors)
            values = r" \cdot ".join(_in_brackets(value) for _, value in path.factors)
            rows.append(rf"{start}\underbrace{{{names}}}_{{\textstyle {values}}}")
        return "\\begin{aligned}\n" + " \\\\[1ex]\n".join(rows) + "\n\\end{aligned}"

    def __repr__(self) -> str:
        return f"Derivation of {self.name} with {len(self.paths)} paths"

    def _repr_latex_(self) -> str:
        return f"$$\n{self}\n$$"


def derivation(cell: str = "rnn", T: int = 3, parameter: str | None = None) -> Derivation:
    """The gradient of L_T = v_T h_T for one unit and one input, as the sum over all paths back in time (Eqs 5, 6).

    parameter is W, U or b with a gate: "U_h" of the "rnn" (W in the report's Eq. 5), "U_f" of the "lstm", "U_z" of a
    "gru" (these are the defaults), and so on. A path's last factor is the immediate derivative, with the state before
    held fixed (d+ in the LaTeX). Letters are the report's, and `legend` says what they mean. Raises ValueError for a
    parameter that the cell has not.

    >>> [path.through for path in derivation("rnn", T=2).paths]
    [('h_2',), ('h_2', 'h_1')]
    """
    check_choice("cell", cell, GATES)
    check_sizes(T=T)
    parameter = {"rnn": "U_h", "lstm": "U_f"}.get(cell, "U_z") if parameter is None else parameter
    names = [f"{letter}_{gate}" for gate in GATES[cell] for letter in "WUb"] + ["bn"] * (cell == "gru reset_after")
    if parameter not in names:
        raise ValueError(f"parameter is {parameter!r}, expected one of {', '.join(names)}")
    states = "hc" if cell == "lstm" else "h"
    end = sympy.Symbol(f"v_{T}")
    meanings: dict[sympy.Symbol, sympy.Expr] = {}
    slopes: dict[tuple[str, str], sympy.Expr] = {}
    for j in range(1, T + 1):
        step = _one_step(cell, str(j), str(j - 1))
        meanings |= step
        for state in states:
            for source in [*(f"{letter}_{j - 1}" for letter in states), parameter]:
                slopes[f"{state}_{j}", source] = _slope(step, f"{state}_{j}", source)
    paths = []
    for k in range(T, 0, -1):
        for route in itertools.product(states, repeat=T - k):
            through = (f"h_{T}", *(f"{letter}_{j}" for letter, j in zip(route, range(T - 1, k - 1, -1))))
            pairs = [*zip(through, through[1:]), (through[-1], parameter)]
            factors = [(_partial(sympy.Symbol(f"L_{T}"), f"h_{T}"), end)]
            factors += [(_partial(a, b, "^+" if b == parameter else ""), slopes[a, b]) for a, b in pairs]
            path = Path(k, through, factors)
            if path.value != 0:
                paths.append(path)
    step = _one_step(cell, "j", "{j-1}")
    local = [(_partial(f"{state}_j", source, "^+" if source == parameter else ""),
              _slope(step, f"{state}_j", source))
             for state in states for source in [*(f"{letter}_{{j-1}}" for letter in states), parameter]]  # fmt: skip
    local = [row for row in local if row[1] != 0]
    return Derivation(_partial(f"L_{T}", parameter), _legend(cell, T), local, paths, meanings)


def _legend(cell: str, T: int) -> dict[str, str]:
    """The letters of a derivation, as LaTeX, and what they mean."""
    gates = {
        "rnn": {"U,\\ W,\\ b_h": "weights of the input and of the state before, and bias (Eq. 1)"},
        "lstm": {
            r"i_j,\ f_j,\ o_j": "input, forget and output gate of step j (Eqs 67, 66, 70)",
            r"\tilde{C}_j,\ C_j,\ h_j": "candidate, cell state and state (Eqs 68, 69, 71)",
        },
    }
    gru = {r"r_j,\ z_j": "reset and update gate of step j (Eqs 75, 76)"}
    gru |= {r"\tilde{h}_j,\ h_j": "candidate and state (Eqs 77, 78)"}
    if cell == "gru reset_after":
        gru |= {"b_{hn}": "the bias that the reset gate multiplies too"}
    weights = (
        {} if cell == "rnn" else {"W,\\ U,\\ b": "weights of the input and of the state before, and bias, by gate"}
    )
    return {
        f"v_{T}": f"the gradient of the loss by the state at step {T}, its last",
        r"\partial^+": "the immediate derivative: the state before is held fixed",
        **gates.get(cell, gru),
        **weights,
    }


class _Sigma(sympy.Function):
    """The sigmoid, whose slope is itself times one minus itself (Eq. 25)."""

    def fdiff(self, argindex: int = 1) -> Any:
        return self * (1 - self)

    def _eval_rewrite_as_tanh(self, z: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.tanh(z / 2) / 2 + sympy.Rational(1, 2)


def _one_step(cell: str, now: str, before: str) -> dict[sympy.Symbol, sympy.Expr]:
    """The gates and states of one step for one unit, in order, each in terms of those before it."""
    x, h, c = (sympy.Symbol(f"{letter}_{index}") for letter, index in (("x", now), ("h", before), ("c", before)))

    def z(gate: str, state: sympy.Expr = h) -> sympy.Expr:
        W, U, b = (sympy.Symbol(f"{letter}_{gate}") for letter in "WUb")
        return x * W + state * U + b

    def symbol(letter: str) -> sympy.Symbol:
        return sympy.Symbol(f"{letter}_{now}")

    if cell == "rnn":
        return {symbol("h"): sympy.tanh(z("h"))}
    if cell == "lstm":
        i, f, o, g, new = map(symbol, "ifogc")
        gates = {i: _Sigma(z("i")), f: _Sigma(z("f")), o: _Sigma(z("o")), g: sympy.tanh(z("g"))}
        return gates | {new: f * c + i * g, symbol("h"): o * sympy.tanh(new)}
    r, u, n = map(symbol, "rzn")
    W, U, b, bn = map(sympy.Symbol, ("W_n", "U_n", "b_n", "bn"))
    inside = z("n", r * h) if cell == "gru" else x * W + r * (h * U + bn) + b
    return {r: _Sigma(z("r")), u: _Sigma(z("z")), n: sympy.tanh(inside), symbol("h"): u * h + (1 - u) * n}


def _slope(step: dict[sympy.Symbol, sympy.Expr], target: str, source: str) -> sympy.Expr:
    """The derivative of a quantity of a step by a state before it or a parameter, through all that lies between."""
    by = sympy.Symbol(source)
    known: dict[sympy.Symbol, sympy.Expr] = {}
    for symbol, expression in step.items():
        through = sum((sympy.diff(expression, each) * slope for each, slope in known.items()), sympy.Integer(0))
        known[symbol] = (sympy.diff(expression, by) + through).subs(expression, symbol)
    return known[sympy.Symbol(target)]


def _latex(value: Any) -> str:
    """In the report's letters: its W_c, C~ are our gate g, its W_h, h~ our n, its U, W of Eq. 1 our W, U."""
    text = sympy.Symbol(value) if isinstance(value, str) else value
    return sympy.latex(text, symbol_names={each: _letters(each.name) for each in text.free_symbols})


def _letters(name: str) -> str:
    special = {"W_h": "U", "U_h": "W", "bn": "b_{hn}", "W_g": "W_c", "U_g": "U_c", "b_g": "b_c"}
    special |= {"W_n": "W_h", "U_n": "U_h", "b_n": "b_h"}
    if name in special:
        return special[name]
    letter, index = name.split("_", 1)
    return {"c": "C", "g": r"\tilde{C}", "n": r"\tilde{h}", "L": r"\mathcal{L}"}.get(letter, letter) + f"_{index}"


def _partial(above: Any, below: str, mark: str = "") -> str:
    return rf"\frac{{\partial{mark} {_latex(above)}}}{{\partial {_latex(below)}}}"


def _in_brackets(value: sympy.Expr) -> str:
    text = _latex(value)
    return rf"\left({text}\right)" if value.is_Add else text


def count_parameters(cell: str, D: int, H: int) -> int:
    """How many numbers a cell learns, counted off the unrolled symbols: (n + m + 1)m for each gate, and m for each
    further row of weights (`bn`, peepholes).

    >>> count_parameters("lstm", 3, 4), count_parameters("gru reset_after", 3, 4), count_parameters("peephole", 3, 4)
    (128, 100, 140)
    """
    symbols = unroll(cell, 1, H, D).symbols
    return sum(symbols[name].size for name in ("W", "U", "b", *CELLS[cell].weights))
