"""The kernels themselves, run on exact numbers, give what SymPy finds by differentiating the equations."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy

import rnnscratch as rs
from rnnscratch.kernels import lstm
from rnnscratch.teach import symbolic

CELLS = list(symbolic.GATES)


@pytest.mark.parametrize(("T", "H", "D"), [(3, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_the_kernels_are_right_to_thirty_digits(cell, T, H, D):
    assert symbolic.prove_digits(cell, T, H, D) < mpmath.mpf(10) ** -30


@pytest.mark.parametrize(("cell", "T"), [("rnn", 3), ("lstm", 2), ("gru", 2), ("gru reset_after", 2)])
def test_the_kernels_give_the_same_expression(cell, T):
    found = symbolic.prove_identical(cell, T)
    assert found == dict.fromkeys(found, True)
    assert {"W", "U", "b", "x", "h0"} <= found.keys()


def test_a_wrong_kernel_is_found_out(monkeypatch):
    right = lstm.backward

    def wrong(cache, dhs):
        dx, d0, dW, dU, db = right(cache, dhs)
        return dx, d0, dW, dU + dU * 1e-22, db

    monkeypatch.setattr(symbolic.lstm, "backward", wrong)
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
    with pytest.raises(ValueError, match="cell is 'elman', expected one of 'rnn', 'lstm'"):
        symbolic.unroll("elman")
    with pytest.raises(ValueError, match="T is 0, expected at least 1"):
        symbolic.unroll("rnn", 0)
