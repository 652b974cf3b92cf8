"""The gradient checker: what it accepts, what it reports, and that it is hard to fool."""

from __future__ import annotations

import copy
import itertools
import re
import threading

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
    assert parts >= {("U_l0", "gate f"), ("b_l0", "gate g"), ("x", "step 3"), ("W_l0", "")}
    text = str(report)
    assert "gradients are right" in text and "complex step, tolerance 1e-12" in text
    assert "gate o" not in text and "and 4 parts" in text and "and 3 parts" in text  # right: folded
    assert "<table>" in report._repr_html_() and report._repr_html_().count("<tr>") == len(set(report.numeric)) + 1


def test_the_report_keeps_the_gradients_and_shows_their_ratio(rng):
    x = rng.standard_normal((4, 3))
    report = rs.check_gradients(lambda x: (x**3, lambda d: 0.75 * d * 3 * x**2), x)
    np.testing.assert_allclose(report.analytic["x"], 0.75 * report.numeric["x"])
    assert report.numeric["x"].shape == x.shape and "0.75 +- " in str(report)
    assert report.rows[0].ratio == pytest.approx(0.75) and report.rows[0].spread < 1e-12
    large = rs.check_gradients(rs.Dense(30, 40, seed=0), rng.standard_normal((2, 30)))
    assert large.analytic["W"].shape == (150,) and large.analytic["b"].shape == (40,)
    wrong = rs.check_gradients(OwnRNN("slope"), STEPS)
    assert "step 3" in str(wrong) and np.abs(wrong.analytic["W"] - wrong.numeric["W"]).max() > 0.01


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
    ("kind", "cause", "detail"),
    [
        (WritesIntoItsOutput, "changed arguments", "output 0"),
        (WritesIntoItsInput, "changed by forward", "x"),
        (WritesIntoTheIds, "changed arguments", "input 0"),
    ],
)
def test_what_is_written_into_is_named_with_who_did_it_and_the_callers_arrays_stay(kind, cause, detail, rng):
    given = rng.integers(0, 3, (5, 3)) if kind is WritesIntoTheIds else rng.standard_normal((5, 3))
    before = given.copy()
    report = rs.check_gradients(kind(3, 2, seed=0), given)
    assert not report.ok and report.cause == cause
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


X = np.random.default_rng(3).standard_normal((4, 3))
GENERATOR = np.random.default_rng(0)


def elementwise(forward, backward):
    """A function for the checker of what it computes and of its gradient's factor, both of x."""
    return lambda x: (forward(x), lambda d: d * backward(x))


@pytest.mark.parametrize(
    ("target", "inputs", "error", "message"),
    [
        (elementwise(np.square, lambda x: 7 * x), [np.array([1, 2])], ValueError, "nothing to compare: the inputs are"),
        (elementwise(np.square, lambda x: 7 * x), [3], ValueError, "nothing to compare: the inputs are integers"),
        (lambda a, b: (a * b, lambda d: (d * b, 9 * d * a)), [X, np.ones((4, 3), int)], ValueError, r"inputs\[1\] has"),
        (elementwise(np.zeros_like, np.zeros_like), [X], ValueError, "nothing to compare: the right gradients of x"),
        (elementwise(np.square, lambda x: 7 * x), [0 * X], ValueError, "the right gradients of x are all zero"),
        (elementwise(lambda x: np.maximum(x, 0), np.zeros_like), [-abs(X)], ValueError, "are all zero"),
        (elementwise(np.round, np.zeros_like), [X], ValueError, "are all zero"),
        (elementwise(np.square, lambda x: 2 * x), [X[:0]], ValueError, r"inputs\[0\] has shape \(0, 3\)"),
        (elementwise(lambda x: x[:0], np.zeros_like), [X], ValueError, r"output 0 .* has shape \(0, 3\)"),
        (elementwise(lambda x: x.astype(int), np.ones_like), [X], TypeError, "output 0 .* has dtype int64"),
        (elementwise(lambda x: x > 0, np.ones_like), [X], TypeError, "output 0 .* has dtype bool"),
        (elementwise(lambda x: {"y": x}, np.ones_like), [X], TypeError, "output 0 .* is dict"),
        (elementwise(lambda x: x + 1j, np.ones_like), [X], TypeError, "output 0 .* has dtype complex128"),
        (elementwise(lambda x: np.sqrt(x - 9 + 0 * x), np.ones_like), [X], ValueError, "output 0 .* is not finite"),
        (elementwise(lambda x: None, np.ones_like), [X], TypeError, "the forward pass returns nothing"),
        (np.square, [X], TypeError, "target returns ndarray .*, expected the pair"),
        (lambda x: (x, x), [X], TypeError, "target returns tuple .*, expected the pair"),
        (lambda x: (x * x, lambda d: "a"), [X], TypeError, "the gradient of x is one string"),
        (lambda x: (x * x, lambda d: 2j * d), [X], ValueError, "the gradient of x has dtype complex128"),
        (
            lambda x: (x * x, lambda d: (d, d, d)),
            [X],
            ValueError,
            "backward gives 3 gradients of the inputs, expected 1",
        ),
        (lambda x: (x * x, lambda d: (2 * d * x).T), [X], ValueError, r"the gradient of x has shape \(3, 4\)"),
        (lambda x: (x + GENERATOR.random(), lambda d: d), [X], ValueError, "forward gives another result each time"),
        (elementwise(np.square, lambda x: 2 * x), [X + 1j], ValueError, r"inputs\[0\] has dtype complex128"),
        (elementwise(np.square, lambda x: 2 * x), [{"x": 1.0}], TypeError, r"inputs\[0\] is dict"),
        (elementwise(np.square, lambda x: 2 * x), [[[1.0], [1.0, 2.0]]], ValueError, r"inputs\[0\] is ragged"),
    ],
)
def test_where_nothing_can_be_compared_there_is_no_verdict(target, inputs, error, message):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=message):
        rs.check_gradients(target, *inputs)


def changing(name, at):
    """A dense layer whose forward or backward writes into its parameters, or puts another array in their place."""

    def change(layer):
        if name == "in place":
            layer.params["W"] *= 0.9
        else:
            layer.params["W"] = layer.params["W"] * 0.9

    class Changing(rs.Dense):
        def forward(self, x, train=False):
            y = super().forward(x)
            if at == "forward":
                change(self)
            return y

        def backward(self, dy):
            dx = super().backward(dy)
            if at == "backward":
                change(self)
            return dx

    return Changing(3, 2, seed=0)


@pytest.mark.parametrize("how", ["in place", "anew"])
def test_who_changes_the_parameters_is_named(how):
    assert rs.check_gradients(changing(how, "forward"), X).cause == "changed by forward"
    report = rs.check_gradients(changing(how, "backward"), X)
    assert report.cause == "changed arguments" and report.diagnosis[0].startswith("W was changed by backward")


def same_buffer(a, b):
    buffer = np.empty_like(a)

    def back(d):
        first = np.multiply(d, b, out=buffer)
        return first, np.multiply(d, a, out=buffer)

    return a * b, back


BUFFER = np.empty_like(X)
SCALE = np.ones(3)


def spoils_a_global(x):
    def back(d):
        gradient = d * SCALE
        np.multiply(SCALE, 0.5, out=SCALE)
        return gradient

    return x * SCALE, back


class AddsUp(rs.Dense):
    def forward(self, x, train=False):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy):
        self.grads["W"] += self.x.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class Stores(rs.Dense):
    """Forward reads its own copy of the weights."""

    def forward(self, x, train=False):
        if not hasattr(self, "copied"):
            self.copied = self.params["W"].copy()
        super().forward(x)
        return x @ self.copied + self.params["b"]


class OwnRNN:
    """As a learner writes it: the state is (B, H), the parameters have one letter."""

    def __init__(self, bug=""):
        rng = np.random.default_rng(5)
        self.params = {name: rng.standard_normal(shape) for name, shape in (("W", (3, 4)), ("U", (4, 4)), ("b", (4,)))}
        self.grads, self.bug = {}, bug

    def forward(self, x, state=None):
        W, U, b = self.params.values()
        self.x, self.hs = x, [np.zeros((x.shape[1], 4), W.dtype) if state is None else state]
        for x_t in x:
            self.hs.append(np.tanh(x_t @ W + self.hs[-1] @ U + b))
        return np.stack(self.hs[1:]), self.hs[-1]

    def backward(self, dhs, dstate):
        W, U, _ = self.params.values()
        dx, dh, dzs = np.empty_like(self.x), dstate, [None] * len(self.x)
        for t in reversed(range(len(self.x))):
            h = self.hs[t + 1]
            dzs[t] = (dh + dhs[t]) * (1 - (h if self.bug == "slope" else h * h))
            dx[t], dh = dzs[t] @ W.T, dzs[t] @ (U if self.bug == "transpose" else U.T)
        self.grads = {
            "W": sum(x_t.T @ dz for x_t, dz in zip(self.x, dzs)),
            "U": sum(h.T @ dz for h, dz in zip(self.hs, dzs)),
            "b": sum(dz.sum(axis=0) for dz in dzs),
        }
        return dx, dh


STEPS = np.random.default_rng(6).standard_normal((5, 3, 3))


@pytest.mark.parametrize(
    ("target", "inputs", "cause", "words"),
    [
        (same_buffer, [X, X + 1], "shared memory", "input 0 and input 1"),
        (lambda x: (x * x, lambda d: np.multiply(d, 2 * x, out=BUFFER)), [X], "reused buffer", "gradient of x"),
        (lambda x: (x * x, lambda d: 2 * d * x * GENERATOR.random()), [X], "not repeatable", "is random"),
        (spoils_a_global, [X], "not repeatable", "changes what they start from"),
        (AddsUp(3, 2, seed=0), [X], "gradients add up", "W, b must start from zero"),
        (Stores(3, 2, seed=0), [X], "not independent", "does not depend on W"),
        (
            lambda x: ((np.exp(x) / np.exp(x).sum(axis=1)[:, None]).sum(), lambda d: 1 + 0 * x),
            [X],
            "not independent",
            "",
        ),
        (lambda x: (x * x, lambda d: (2 * d * x).astype("f4")), [X], "dtype", "digits of float32 only"),
        (elementwise(np.square, lambda x: 2 * x * (1 + 1e-9)), [X], "scale", r"1 \+ 1.0e-09 times"),
        (elementwise(np.square, lambda x: 2 * x + 1e-9), [X], "imprecise", "right to .*e-10 only"),
        (elementwise(lambda x: 1e-20 * x * x, lambda x: 3e-20 * x), [X], "scale", "1.5 times"),
        (elementwise(lambda x: 1e-20 * abs(x), lambda x: 3e-20 * np.sign(x)), [X], "scale", "3 times"),
        (elementwise(lambda x: np.maximum(x, 0), lambda x: x > 0), [np.array([0.0, 1.0])], "kink", r"x\[0\]"),
        (elementwise(np.square, lambda x: x), [[1.0, 2.0]], "scale", "0.5 times"),
        (lambda x: (x * x, lambda d: (2 * d * x).astype("f4").astype("f8")), [X], "imprecise", "right to"),
        (elementwise(lambda x: x.real.astype("f4") ** 2, lambda x: 2 * x), [X], "imprecise", "digits are lost"),
        (lambda a, b: (a - b, lambda d: (d, d)), [X, X + 1], "sign", "-1 times"),
        (OwnRNN("slope"), [STEPS], "slope", "local derivative"),
        (OwnRNN("transpose"), [STEPS], "transposed recurrence", "symmetric"),
    ],
)
def test_each_suspect_is_named(target, inputs, cause, words):
    SCALE[...] = 1
    report = rs.check_gradients(target, *inputs)
    assert not report.ok and report.cause == cause, str(report)
    assert re.search(words, report.diagnosis[0]), report.diagnosis


@pytest.mark.parametrize("seed", range(4))
def test_the_gradients_drawn_for_the_outputs_are_no_numbers_that_the_user_drew(seed):
    x, w = np.random.default_rng(seed).standard_normal((4, 3)), np.eye(3)
    report = rs.check_gradients(lambda x, w: (x @ w, lambda d: (d @ w.T, (x.T @ d).T)), x, w)
    assert not report.ok and report.cause == "transpose"


def test_where_forward_is_defined_near_the_inputs_only_or_drops_the_imaginary_part_the_method_is_right():
    small = np.array([1e-10, 1.0])
    assert rs.check_gradients(elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), small).method == "complex step"
    shifted = elementwise(lambda x: abs(x) + 1e7, np.sign)
    assert rs.check_gradients(shifted, X).method == "central differences"
    with pytest.raises(ValueError, match="method is 'complex', but target is not analytic"):
        rs.check_gradients(elementwise(lambda x: abs(x) * x, lambda x: abs(x)), X, method="complex")


def test_what_has_no_meaning_for_a_check_is_named():
    for options, error, message in (
        ({"seed": -1}, ValueError, "seed is -1, expected at least 0"),
        ({"train": "yes"}, TypeError, "train is 'yes', expected True or False"),
    ):
        with pytest.raises(error, match=message):
            rs.check_gradients(rs.Dense(3, 2, seed=0), X, **options)
    layer = OwnRNN()
    layer.params["x"] = np.ones(2)
    with pytest.raises(ValueError, match="params holds 'x', which is the name of an argument"):
        rs.check_gradients(layer, STEPS)


def test_gradients_of_parameters_alone_are_taken_from_grads():
    class Keeps(rs.Dense):
        def backward(self, dy):
            self.grads["x"] = super().backward(dy)
            return 2 * self.grads["x"]

    report = rs.check_gradients(Keeps(3, 2, seed=0), X)
    assert not report.ok and "wrong: x;" in report.diagnosis[1]


def test_a_forward_pass_that_changes_with_its_calls_gets_no_verdict():
    calls = itertools.count()

    def square(x):
        factor = 2.0 if next(calls) < 20 else 3.0
        return factor * x * x, lambda d: 2 * factor * d * x

    with pytest.raises(ValueError, match="forward gives another result than when the check began"):
        rs.check_gradients(square, X, method="central")


def test_a_gradient_of_zero_is_right_up_to_rounding_and_said_to_be_untested():
    def shifted(x, b):  # a shift of all logits changes no probability
        y = np.exp(x + b)
        y /= y.sum(axis=1)[:, None]

        def back(d):
            dx = y * (d - (d * y).sum(axis=1)[:, None])
            return dx, dx.sum(axis=1)[:, None]

        return y, back

    for method in ("complex", "central"):
        report = rs.check_gradients(shifted, X, np.full((4, 1), 0.3), method=method)
        assert report.ok and report.diagnosis == ["not tested, since zero for these inputs: input 1"], str(report)


def test_upstream_gradients_are_shaped_as_the_outputs():
    right = {
        "bare": lambda x: (x * x, lambda d: 2 * d * x),
        "tuple": lambda x: ((x * x,), lambda d: 2 * d[0] * x),
        "list": lambda x: ([x * x, x + 1], lambda d: [2 * d[0] * x + d[1]]),
    }
    for target in right.values():
        assert rs.check_gradients(target, X).ok


def test_an_array_that_stands_in_params_and_as_an_attribute_is_one():
    class Affine:
        def __init__(self):
            self.W = np.arange(6.0).reshape(3, 2)
            self.dW = np.zeros((3, 2))
            self.params, self.grads = {"W": self.W}, {"W": self.dW}

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, dy):
            self.dW[...] = self.x.T @ dy
            return dy @ self.W.T

    assert rs.check_gradients(Affine(), X).ok


def test_every_gate_is_looked_at_however_few_entries(rng):
    class ForgetGateWrong(rs.LSTM):
        def backward(self, dhs=None, dstate=None, truncate=None):
            found = super().backward(dhs, dstate, truncate)
            self.grads["W_l0"][:, 20:40] *= 1.5
            return found

    report = rs.check_gradients(ForgetGateWrong(30, 20, seed=0), rng.standard_normal((3, 2, 30)), max_entries=4)
    rows = {row.part: row.ok for row in report.rows if row.name == "W_l0"}
    assert not rows["gate f"] and rows["gate i"] and rows["gate o"] and rows["gate g"]


def test_inputs_and_states_are_what_numpy_makes_of_them(rng):
    x, h = rng.standard_normal((3, 2, 3)), rng.standard_normal((1, 2, 4))
    layer = rs.LSTM(3, 4, seed=0)
    expected = str(rs.check_gradients(layer, x, state=(h, h), lengths=np.array([3, 2])))
    read_only = x.copy()
    read_only.flags.writeable = False
    for given in (x.tolist(), read_only, x.astype(">f8"), x[::-1][::-1]):
        assert str(rs.check_gradients(layer, given, state=(h.tolist(), h), lengths=(3, 2))) == expected
    assert rs.check_gradients(layer, x, state=(None, h)).ok


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": np.nan}, ValueError, "tolerance is nan"),
        ({"tolerance": np.inf}, ValueError, "tolerance is inf"),
        ({"tolerance": 1e9}, ValueError, "tolerance is 1e.?0?9|tolerance is 1000000000"),
        ({"tolerance": -1}, ValueError, "tolerance is -1"),
        ({"max_entries": 0}, ValueError, "max_entries is 0"),
        ({"max_entries": 2.5}, TypeError, "max_entries is 2.5"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
    ],
)
def test_options_by_which_everything_would_be_right_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        rs.check_gradients(rs.Dense(3, 2, seed=0), X, **options)


def test_repeated_ids_of_a_function_are_named(rng):
    def lookup(ids, table):
        def back(d):
            gradient = np.zeros_like(table)
            gradient[ids] = d
            return None, gradient

        return table[ids], back

    assert rs.check_gradients(lookup, np.array([[1, 1], [2, 0]]), rng.standard_normal((5, 2))).cause == "repeated ids"


class ReturnsOutputsOnly(rs.GRU):
    def forward(self, x, state=None, lengths=None, train=False):
        return super().forward(x, state, lengths, train)[0]


class ReturnsDxOnly(rs.GRU):
    def backward(self, dhs=None, dstate=None, truncate=None):
        return super().backward(dhs, dstate, truncate)[0]


class HoldsALock(rs.Dense):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.lock = threading.Lock()


class ChangesTheLengths(rs.GRU):
    def forward(self, x, state=None, lengths=None, train=False):
        found = super().forward(x, state, lengths, train)
        lengths[...] = 1
        return found


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (ReturnsOutputsOnly(3, 4, seed=0), "the forward pass takes a state, but returns ndarray"),
        (ReturnsDxOnly(3, 4, seed=0), "backward returns ndarray, expected the pair"),
        (HoldsALock(3, 4, seed=0), "target cannot be copied"),
    ],
)
def test_targets_that_keep_no_contract_are_told_which(layer, message, rng):
    with pytest.raises(TypeError, match=message):
        rs.check_gradients(layer, rng.standard_normal((5, 2, 3)))


def test_lengths_that_forward_writes_into_are_named_and_the_callers_stay(rng):
    lengths = np.array([5, 3])
    report = rs.check_gradients(ChangesTheLengths(3, 4, seed=0), rng.standard_normal((5, 2, 3)), lengths=lengths)
    assert report.diagnosis[0].startswith("lengths was changed by forward") and lengths.tolist() == [5, 3]
    assert "nothing could be compared" in str(report) and "WRONG" in str(report)


def test_a_wrong_row_of_a_large_table_is_found_though_most_rows_have_no_gradient(rng):
    class RowBeside(rs.Embedding):
        def backward(self, dy):
            super().backward(dy)
            self.grads["E"] = np.roll(self.grads["E"], 1, axis=0)

    ids = rng.integers(0, 500, (3, 2))
    assert rs.check_gradients(rs.Embedding(500, 4, seed=0), ids).ok
    report = rs.check_gradients(RowBeside(500, 4, seed=0), ids)
    assert not report.ok and report.cause != "not independent", str(report)


def test_gradients_of_fixed_parameters_are_checked_too_and_stay_fixed():
    model = rs.SequenceClassifier(10, 3, 4, seed=0, freeze=True)
    report = rs.check_gradients(model, np.array([[1, 2], [3, 4]]))
    assert report.ok and "embedding.E" in {row.name for row in report.rows}
    assert model.fixed == {"embedding.E"}
