"""The kernels themselves, run on exact numbers, give what SymPy finds by differentiating the equations."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import numpy as np
import pytest
import sympy

import rnnscratch as rs
from rnnscratch.kernels import sequence
from rnnscratch.teach import symbolic

CELLS = list(symbolic.GATES)


@pytest.mark.parametrize(("T", "H", "D"), [(3, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_the_kernels_are_right_to_thirty_digits(cell, T, H, D):
    assert symbolic.prove_digits(cell, T, H, D) < mpmath.mpf(10) ** -30


@pytest.mark.parametrize("cell", CELLS)
def test_the_kernels_give_the_same_expression(cell):
    found = symbolic.prove_identical(cell, T=2 if cell == "lstm" else 3)  # half a minute for three steps of an LSTM
    assert found == dict.fromkeys(found, True)
    assert {"W", "U", "b", "x", "h0"} <= found.keys()


def test_peepholes_are_right_to_thirty_digits_and_as_expressions():
    assert symbolic.prove_digits("peephole", 1, 2, 2) < mpmath.mpf(10) ** -30
    found = symbolic.prove_identical("peephole", T=2)
    assert found == dict.fromkeys(found, True)
    assert {"W", "U", "b", "P", "x", "h0", "c0"} <= found.keys()


def test_a_wrong_kernel_is_found_out(monkeypatch):
    right = sequence.backward

    def wrong(cache, dhs):
        dx, d0, dW, dU, db = right(cache, dhs)
        return dx, d0, dW, dU + dU * 1e-22, db

    monkeypatch.setattr(symbolic.sequence, "backward", wrong)
    with pytest.raises(ArithmeticError, match="the gradient of U of the lstm differs by"):
        symbolic.prove_digits("lstm", T=2, H=1, D=1)
    assert symbolic.prove_identical("lstm", T=1) == {
        "x": True,
        "h0": True,
        "c0": True,
        "W": True,
        "U": False,
        "b": True,
    }


@pytest.mark.parametrize("cell", CELLS)
def test_the_unrolled_equations_are_those_of_the_layers(cell):
    layer = {"rnn": rs.RNN, "lstm": rs.LSTM}.get(cell, rs.GRU)(1, 2, dtype="float64", seed=0)
    if cell == "gru reset_after":
        layer = rs.GRU(1, 2, reset_after=True, dtype="float64", seed=0)
        layer.params["bn_l0"][...] = 0.3
    unrolled = symbolic.unroll(cell, 2, 2, 1)
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(array.shape) for name, array in unrolled.symbols.items()}
    values |= {name.removesuffix("_l0"): array for name, array in layer.params.items()}
    state = [values[name][None, None] for name in ("h0", "c0") if name in values]
    hs, _ = layer.forward(values["x"][:, None], tuple(state) if len(state) > 1 else state[0])
    flat = [symbol for array in unrolled.symbols.values() for symbol in array.ravel()]
    numbers = [number for name in unrolled.symbols for number in values[name].ravel()]
    for t in range(2):
        found = sympy.lambdify(flat, unrolled.h[t].tolist(), "math", cse=True)(*numbers)
        np.testing.assert_allclose(found, hs[t, 0], rtol=1e-12)


def test_the_two_conventions_of_the_update_gate_are_one_with_its_weights_negated():
    """Eq. 37 against Eq. 78: sigmoid(-z) = 1 - sigmoid(z)."""
    z = sympy.Symbol("z", real=True)
    assert sympy.simplify(1 / (1 + sympy.exp(z)) - (1 - 1 / (1 + sympy.exp(-z)))) == 0


def test_the_two_forms_of_the_gru_differ_but_not_where_the_reset_gate_is_open():
    before, after = symbolic.unroll("gru", 1), symbolic.unroll("gru reset_after", 1)
    bn = after.symbols["bn"][0]
    assert sympy.simplify(before.h[0][0] - after.h[0][0].subs(bn, 0)) == 0  # one unit: r h U is the same either way
    two = [symbolic.unroll(cell, 1, 2).h[0][0] for cell in ("gru", "gru reset_after")]
    numbers = {s: sympy.Rational((7 * k) % 11 - 5, 7) for k, s in enumerate(sorted(two[0].free_symbols, key=str))}
    zero = dict.fromkeys(two[1].free_symbols - two[0].free_symbols, 0)
    assert abs((two[0] - two[1].subs(zero)).subs(numbers).evalf(30)) > 1e-4


def test_parameters_are_counted_as_the_report_does():
    for D, H in ((3, 4), (5, 2)):
        assert symbolic.count_parameters("lstm", D, H) == 4 * (D + H + 1) * H == rs.LSTM(D, H).num_params
        assert symbolic.count_parameters("gru", D, H) == 3 * (D + H + 1) * H == rs.GRU(D, H).num_params
        assert symbolic.count_parameters("gru reset_after", D, H) == 3 * (D + H + 1) * H + H
        assert symbolic.count_parameters("rnn", D, H) == (D + H + 1) * H == rs.RNN(D, H).num_params


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="cell is 'elman', expected one of 'rnn'"):
        symbolic.kernel_gradients("elman", {})
    with pytest.raises(ValueError, match="values has no U, W, b, h0, v, expected all that rnn computes with"):
        symbolic.kernel_gradients("rnn", {"x": [[1]]})
    with pytest.raises(ValueError, match="cell is 'elman', expected one of 'rnn', 'lstm'"):
        symbolic.unroll("elman")
    with pytest.raises(ValueError, match="T is 0, expected at least 1"):
        symbolic.unroll("rnn", 0)


CASES = [(cell, f"{letter}_{gate}") for cell, gates in symbolic.GATES.items() for gate in gates for letter in "WUb"]


@pytest.mark.parametrize(("cell", "parameter"), [*CASES, ("gru reset_after", "bn")])
def test_the_sum_over_all_paths_is_the_gradient(cell, parameter):
    """That of the kernel run on exact numbers, to 30 digits; every state and gate takes part."""
    T = 3
    rng = np.random.default_rng(0)
    with mpmath.workdps(45):
        numbers = {
            name: np.vectorize(lambda _: mpmath.mpf(int(rng.integers(-999, 1000))) / 1000, otypes=[object])(array)
            for name, array in symbolic.unroll(cell, T).symbols.items()
        }
        numbers["v"][: T - 1] = mpmath.mpf(0)
        gates = symbolic.GATES[cell]
        values = {
            f"{letter}_{gate}": numbers[letter][..., k].item() for k, gate in enumerate(gates) for letter in "WUb"
        }
        values |= {f"{letter}_{t}": numbers[letter][t - 1].item() for letter in "xv" for t in range(1, T + 1)}
        values |= {f"{name[0]}_0": numbers[name].item() for name in ("h0", "c0") if name in numbers}
        values |= {"bn": numbers["bn"].item()} if "bn" in numbers else {}
        letter, _, gate = parameter.partition("_")
        expected = symbolic.kernel_gradients(cell, numbers)[letter].ravel()[gates.index(gate) if gate else 0]
        found = sum(symbolic.derivation(cell, T, parameter).evaluate(values))
        assert abs(mpmath.mpf(str(found)) / expected - 1) < mpmath.mpf(10) ** -30


def test_paths_of_the_vanilla_network_are_the_terms_of_the_reports_sum():
    """Eq. 5: one for each step k, ending in the immediate derivative of h_k by W, which is our U."""
    derived = symbolic.derivation("rnn", 3)
    U, v, h = sympy.Symbol("U_h"), sympy.Symbol("v_3"), sympy.symbols("h_0:4")
    slope = [None, *(1 - each**2 for each in h[1:])]
    expected = [v * slope[3] * h[2], v * slope[3] * U * slope[2] * h[1]]
    expected.append(v * slope[3] * U * slope[2] * U * slope[1] * h[0])
    assert [sympy.expand(path.value - e) for path, e in zip(derived.paths, expected, strict=True)] == [0, 0, 0]
    text = str(derived)
    assert r"\frac{\partial \mathcal{L}_3}{\partial W} &= \underbrace{" in text
    assert r"\frac{\partial h_2}{\partial h_1} \, \frac{\partial^+ h_1}{\partial W}" in text
    assert derived._repr_latex_() == f"$$\n{text}\n$$"


@pytest.mark.parametrize(
    ("cell", "default"), [("rnn", "W"), ("lstm", "U_f"), ("gru", "U_z"), ("gru reset_after", "U_z")]
)
def test_a_derivation_has_a_parameter_by_default_and_a_legend_of_its_letters(cell, default):
    derived = symbolic.derivation(cell, 2)
    assert derived.name == rf"\frac{{\partial \mathcal{{L}}_2}}{{\partial {default}}}"
    letters, text = " ".join(derived.legend), str(derived)
    for path in derived.paths:
        for symbol in path.value.free_symbols:
            assert symbolic._letters(symbol.name).split("_")[0] in letters, symbol
    for name, words in derived.legend.items():
        assert rf"{name} &: \text{{{words}}}" in text
    assert text.index("v_2 &:") < text.index(default + "}")


def test_proofs_are_an_attribute_of_teach():
    assert rs.teach.symbolic is symbolic and "symbolic" in rs.teach.__all__
    code = "import sys, rnnscratch as rs; rs.teach.trace; assert 'sympy' not in sys.modules; rs.teach.symbolic.unroll"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'rnnscratch.teach' has no attribute 'symbols'"):
        _ = rs.teach.symbols


def test_an_lstm_has_a_path_through_every_choice_of_h_and_c():
    """7 for three steps; the direct path c_3 <- c_2 <- c_1 has the forget gates as its only factors between."""
    derived = symbolic.derivation("lstm", 3, "U_i")
    assert len(derived.paths) == 7
    direct = next(path for path in derived.paths if path.through == ("h_3", "c_2", "c_1"))
    o, f3, f2, c3 = sympy.symbols("o_3 f_3 f_2 c_3")
    assert [value for _, value in direct.factors][1:3] == [f3 * o * (1 - sympy.tanh(c3) ** 2), f2]
    assert r"\frac{\partial C_2}{\partial C_1}" in str(derived)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: symbolic.derivation("elman"), "cell is 'elman'"),
        (lambda: symbolic.derivation("gru", parameter="U_f"), "parameter is 'U_f', expected one of W_r, U_r"),
        (lambda: symbolic.derivation("gru", parameter="bn"), "parameter is 'bn'"),
        (lambda: symbolic.derivation(T=0), "T is 0"),
    ],
)
def test_wrong_arguments_of_a_derivation_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
