"""The gradient checker: what it accepts, what it reports, and that it is hard to fool."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import strict_xp

import rnnscratch as rs
from rnnscratch.gradcheck import CAUSES

CELLS = {
    "rnn": lambda **o: rs.RNN(3, 4, **o),
    "rnn sigmoid": lambda **o: rs.RNN(3, 4, activation="sigmoid", **o),
    "lstm": lambda **o: rs.LSTM(3, 4, **o),
    "gru": lambda **o: rs.GRU(3, 4, **o),
    "gru reset_after": lambda **o: rs.GRU(3, 4, reset_after=True, **o),
}


def arguments(layer, rng, T=5, B=3):
    count = layer.num_layers * len(layer.directions)
    state = tuple(rng.standard_normal((count, B, 4)) for _ in layer.states)
    return rng.standard_normal((T, B, 3)), (state if len(state) > 1 else state[0])


@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, False), (1, True), (2, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_every_layer_is_right_to_1e_12(cell, layers, both, lengths, rng):
    layer = CELLS[cell](num_layers=layers, bidirectional=both, dropout=0.4, recurrent_dropout=0.3, seed=1)
    x, state = arguments(layer, rng)
    report = rs.check_gradients(layer, x, state=state, lengths=lengths, train=True)
    assert report.ok and report.max_error < 1e-12, str(report)
    assert report.method == "complex step"


def test_a_whole_model_is_right_to_1e_12(rng):
    ids = rng.integers(0, 9, (4, 3))
    for cell, pooling in itertools.product(("rnn", "lstm", "gru"), ("last", "mean", "max", "mean+max")):
        model = rs.SequenceClassifier(9, 3, 4, 3, cell, pooling=pooling, dropout=0.3, embedding_dropout=0.3, seed=2)
        report = rs.check_gradients(model, ids, lengths=[4, 2, 1], train=True)
        assert report.ok and report.max_error < 1e-12, f"{cell} {pooling}\n{report}"


def test_the_report_has_rows_for_arrays_gates_and_steps(rng):
    report = rs.check_gradients(rs.LSTM(3, 4, seed=0), rng.standard_normal((3, 2, 3)))
    parts = {(row.name, row.part) for row in report.rows}
    assert parts >= {("U_l0", "gate f"), ("b_l0", "gate g"), ("x", "step 2"), ("W_l0", "")}
    text = str(report)
    assert "gradients are right" in text and "gate o" in text and "complex step, tolerance 1e-12" in text
    assert "<table>" in report._repr_html_() and report._repr_html_().count("<tr>") == len(report.rows) + 1


def test_the_target_is_left_as_it_was(rng):
    layer = rs.GRU(3, 4, dropout=0.5, num_layers=2, seed=0)
    before = {name: array.copy() for name, array in layer.params.items()}
    state = copy.deepcopy(layer.rng.bit_generator.state)
    rs.check_gradients(layer, rng.standard_normal((3, 2, 3)), train=True)
    assert layer.rng.bit_generator.state == state and not layer.frozen
    for name, array in layer.params.items():
        assert array.dtype == np.float32 and np.array_equal(array, before[name])


def test_large_arrays_are_checked_at_some_places_and_along_a_direction(rng):
    class OneEntryWrong(rs.Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.grads["W"][17, 23] *= 1.5
            return dx

    report = rs.check_gradients(rs.Dense(40, 30, seed=0), rng.standard_normal((5, 40)), max_entries=10)
    assert report.ok and ("W", "random direction") in {(row.name, row.part) for row in report.rows}
    report = rs.check_gradients(OneEntryWrong(40, 30, seed=0), rng.standard_normal((5, 40)), max_entries=10)
    assert not report.ok


def test_functions_are_checked_by_complex_step_or_where_that_fails_by_differences(rng):
    def product(a, b):
        return a @ b, lambda dy: (dy @ b.T, a.T @ dy)

    report = rs.check_gradients(product, rng.standard_normal((2, 3)), rng.standard_normal((3, 4)))
    assert report.ok and report.method == "complex step" and {row.name for row in report.rows} == {"input 0", "input 1"}

    def absolute(x):
        return np.abs(x), lambda dy: dy * np.sign(x)

    report = rs.check_gradients(absolute, rng.standard_normal(6))
    assert report.ok and report.method == "central differences" and report.tolerance == 1e-6
    assert not rs.check_gradients(lambda x: (np.abs(x), lambda dy: dy), np.array([-1.0, 2.0])).ok


def test_central_differences_find_their_own_step(rng):
    layer = rs.LSTM(3, 4, seed=0)
    x, state = arguments(layer, rng)
    report = rs.check_gradients(layer, x, state=state, method="central")
    assert report.ok and 1e-13 < report.max_error < 1e-6


@pytest.mark.parametrize(
    ("factor", "cause", "text"),
    [
        (0.5, "scale", "0.5"),
        (1 / 3, "scale", "1/B"),
        (5.0, "scale", "(T)"),
        (-1.0, "sign", "-1"),
        (0.0, "zero", "dead"),
    ],
)
def test_ratios_are_named(factor, cause, text, rng):
    class Scaled(rs.RNN):
        def backward(self, dhs=None, dstate=None, truncate=None):
            dx, dh = super().backward(dhs, dstate, truncate)
            for gradient in self.grads.values():
                gradient *= factor
            return dx, dh

    report = rs.check_gradients(Scaled(2, 4, seed=0), rng.standard_normal((5, 3, 2)))
    assert report.cause == cause and text in report.diagnosis[0]
    assert report.diagnosis[1] == "wrong: W_l0, U_l0, b_l0; right: x"


def test_gradients_that_are_not_finite_are_named(rng):
    class Broken(rs.Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.grads["b"][...] = np.nan
            return dx

    report = rs.check_gradients(Broken(2, 3, seed=0), rng.standard_normal((4, 2)))
    assert report.cause == "not finite" and not report.ok


def test_truncated_backward_is_found_to_be_the_cut_chain(rng):
    class Truncated(rs.GRU):
        def backward(self, dhs=None, dstate=None, truncate=None):
            return super().backward(dhs, dstate, truncate=1)

    layer = Truncated(3, 4, seed=0)
    x, state = arguments(layer, rng)
    assert rs.check_gradients(layer, x, state=state).cause == "no gradient through time"


def test_the_same_seed_gives_the_same_report(rng):
    layer, x = rs.GRU(3, 4, seed=0), rng.standard_normal((3, 2, 3))
    assert str(rs.check_gradients(layer, x, seed=3)) == str(rs.check_gradients(layer, x, seed=3))


def test_every_cause_has_a_sentence():
    assert all(sentence and sentence[0].islower() or sentence.startswith("{") for sentence in CAUSES.values())


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ((), {}, ValueError, "inputs is empty"),
        ((np.full((2, 1, 3), np.nan),), {}, ValueError, r"inputs\[0\] holds NaN"),
        ((np.full((2, 1, 3), "a"),), {}, TypeError, r"inputs\[0\] has dtype <U1, expected numbers"),
        ((strict_xp.asarray(np.zeros((2, 1, 3))),), {}, TypeError, r"inputs\[0\] is a device array"),
        ((np.zeros((2, 1, 4)),), {}, ValueError, r"x has shape \(2, 1, 4\)"),
        ((np.zeros((2, 1, 3)),), {"lengths": [3]}, ValueError, r"lengths\[0\] is 3"),
        ((np.zeros((2, 1, 3)),), {"state": np.zeros((1, 2, 4))}, ValueError, "state has shape"),
        ((np.zeros((2, 1, 3)),), {"method": "forward"}, ValueError, "method is 'forward'"),
    ],
    ids=["none", "nan", "text", "device", "shape", "length", "state", "method"],
)
def test_wrong_arguments_are_named(inputs, options, error, message):
    with pytest.raises(error, match=message):
        rs.check_gradients(rs.GRU(3, 4, seed=0), *inputs, **options)
