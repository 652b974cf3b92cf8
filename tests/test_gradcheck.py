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
    assert report.diagnosis[1] == "wrong: W_l0, U_l0, b_l0; right: x, state"


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


class NoGradientOfX(rs.Dense):
    def backward(self, dy):
        super().backward(dy)


class NoGradientOfTheState(rs.GRU):
    def backward(self, dhs=None, dstate=None, truncate=None):
        return super().backward(dhs, dstate, truncate)[0], None


class RandomForward(rs.Dropout):
    def forward(self, x, train=False):
        return x * self.rng.random(x.shape)


class WritesIntoItsOutput(rs.Dense):
    def forward(self, x, train=False):
        self.y = super().forward(x)
        return self.y

    def backward(self, dy):
        self.y *= 0
        return super().backward(dy)


class WritesIntoItsInput(rs.Dense):
    def forward(self, x, train=False):
        y = super().forward(x)
        x *= 0.5
        return y


class WritesIntoTheIds(rs.Embedding):
    def forward(self, x, train=False):
        self.ids = x
        return super().forward(x)

    def backward(self, dy):
        super().backward(dy)
        self.ids[...] = 0


class IgnoresLengths(rs.RNN):
    def forward(self, x, state=None, lengths=None, train=False):
        return super().forward(x, state, None, train)


class WrongInRealNumbers(rs.Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        if dy.dtype.kind == "f":
            self.grads["b"][...] = 0
        return dx


class LosesSinglePrecision(rs.Dense):
    def backward(self, dy):
        return super().backward(dy.astype("f2").astype(dy.dtype))


@pytest.mark.parametrize(
    ("gradient", "ok"), [(lambda x, d: 2 * d * np.abs(x), True), (lambda x, d: d * np.abs(x), False)]
)
def test_a_complex_answer_is_not_taken_for_an_analytic_function(gradient, ok):
    report = rs.check_gradients(lambda x: (np.abs(x) * x, lambda d: gradient(x, d)), np.array([-1.0, 2.0]))
    assert report.ok is ok and report.method == "central differences"


def test_a_forward_pass_that_refuses_complex_numbers_is_checked_by_differences():
    def square(x):
        if x.dtype.kind != "f":
            raise ValueError("x must be real")
        return x * x, lambda d: 2 * x * d

    assert rs.check_gradients(square, np.array([-1.0, 2.0])).method == "central differences"


@pytest.mark.parametrize(
    ("layer", "name"), [(NoGradientOfX(3, 2, seed=0), "x"), (NoGradientOfTheState(3, 4, seed=0), "state")]
)
def test_a_gradient_that_is_not_returned_is_an_error(layer, name, rng):
    with pytest.raises(ValueError, match=f"backward gives no gradient of {name}, expected one of shape"):
        rs.check_gradients(layer, rng.standard_normal((5, 3, 3)))


def test_a_pullback_must_return_a_gradient_for_every_input():
    with pytest.raises(ValueError, match="no gradient of input 1"):
        rs.check_gradients(lambda a, b: (a * b, lambda d: d * b), np.ones(3), np.full(3, 2.0))


@pytest.mark.parametrize(
    ("kind", "detail"),
    [(WritesIntoItsOutput, "output 0"), (WritesIntoItsInput, "x"), (WritesIntoTheIds, "input 0")],
)
def test_what_is_written_into_is_named_and_the_callers_arrays_are_restored(kind, detail, rng):
    given = rng.integers(0, 3, (5, 3)) if kind is WritesIntoTheIds else rng.standard_normal((5, 3))
    before = given.copy()
    report = rs.check_gradients(kind(3, 2, seed=0), given)
    assert not report.ok and report.cause == "changed arguments"
    assert report.diagnosis[0].startswith(f"{detail} was changed")
    assert np.array_equal(given, before)


def test_garbage_in_the_padding_must_change_nothing(rng):
    x = rng.standard_normal((5, 3, 3))
    assert rs.check_gradients(IgnoresLengths(3, 4, seed=0), x).ok
    assert rs.check_gradients(IgnoresLengths(3, 4, seed=0), x, lengths=[5, 2, 3]).cause == "lengths"


def test_the_backward_pass_that_is_checked_is_the_real_one(rng):
    report = rs.check_gradients(WrongInRealNumbers(3, 2, seed=0), rng.standard_normal((5, 3)))
    assert not report.ok and report.cause == "zero"


def test_float32_is_checked_against_double_precision(rng):
    x = rng.standard_normal((6, 3, 3))
    for layer in (rs.RNN(3, 4, seed=0), rs.LSTM(3, 4, seed=0), rs.GRU(3, 4, seed=0)):
        report = rs.check_gradients(layer, x, dtype="float32")
        assert report.ok and 1e-9 < report.max_error < 1e-4 and report.tolerance == 1e-4
    assert not rs.check_gradients(LosesSinglePrecision(3, 2, seed=0), x, dtype="float32").ok


def test_rows_are_only_of_what_was_looked_at(rng):
    report = rs.check_gradients(rs.LSTM(3, 4, seed=0), rng.standard_normal((60, 2, 3)), max_entries=5)
    assert sum(row.part.startswith("step") for row in report.rows) <= 5


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (rs.Dense(3, 2, seed=0), {"lengths": [1, 2, 3]}, TypeError, "lengths is given, but the forward pass of Dense"),
        (rs.Dense(3, 2, seed=0), {"state": np.zeros(3)}, TypeError, "state is given"),
        (rs.Dense(3, 2, seed=0), {"dtype": "float16"}, ValueError, "dtype is 'float16'"),
        (object(), {}, TypeError, "target is object, expected an object with forward and backward"),
        (RandomForward(0.5, seed=0), {}, ValueError, "forward gives another result each time"),
    ],
    ids=["lengths", "state", "dtype", "no backward", "random"],
)
def test_targets_that_do_not_fit_are_named(target, options, error, message, rng):
    with pytest.raises(error, match=message):
        rs.check_gradients(target, rng.standard_normal((5, 3, 3)), **options)


def test_parameters_that_are_not_finite_are_named(rng):
    layer = rs.Dense(3, 2, seed=0)
    layer.params["W"][0, 1] = np.nan
    with pytest.raises(ValueError, match=r"params\['W'\] holds NaN"):
        rs.check_gradients(layer, rng.standard_normal((5, 3)))
