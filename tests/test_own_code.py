"""The checker on code that nobody wrote for it: a plain LSTM in each of the forms that learners use, right and with
each of eleven bugs, one line changed.
"""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs

T, B, D, H = 4, 3, 2, 3
BUGS = {  # what the learner did, and the causes that say so
    "dW = for +=": {"not summed"},
    "h_t for h_{t-1} in dU": {"previous state"},
    "h[-1] wraps around at t = 0": {"previous state"},
    "dc of the next step dropped": {"recursion", "cell path"},
    "dc passed on without f": {"recursion"},
    "second tanh missing": {"slope"},
    "c_t for c_{t-1} in df": {"slope", "one gate"},
    "slope of the activation": {"slope", "one gate"},
    "U for its transpose": {"transposed recurrence"},
    "1/T": {"scale"},
    "sign": {"sign"},
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, W, U, b, h0=None, c0=None):
    """Gates i, f, o, g."""
    h = [np.zeros((x.shape[1], len(U)), W.dtype) if h0 is None else h0]
    c = [np.zeros((x.shape[1], len(U)), W.dtype) if c0 is None else c0]
    gates = []
    for x_t in x:
        z = x_t @ W + h[-1] @ U + b
        i, f, o = (sigmoid(part) for part in np.split(z, 4, axis=1)[:3])
        g = np.tanh(np.split(z, 4, axis=1)[3])
        c.append(f * c[-1] + i * g)
        h.append(o * np.tanh(c[-1]))
        gates.append((i, f, o, g))
    return np.stack(h[1:]), (x, W, U, h, c, gates)


def backward(dhs, cache, bug="", dh=0.0, dc=0.0):
    x, W, U, h, c, gates = cache
    dW, dU, db, dx = np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1], W.dtype), np.zeros_like(x)
    for t in reversed(range(len(x))):
        i, f, o, g = gates[t]
        dh = dh + dhs[t]
        through = 1.0 if bug == "second tanh missing" else 1 - np.tanh(c[t + 1]) ** 2
        dc = dh * o * through + (0.0 if bug == "dc of the next step dropped" else dc)
        df = dc * (c[t + 1] if bug == "c_t for c_{t-1} in df" else c[t])
        slope = g * (1 - g) if bug == "slope of the activation" else 1 - g * g
        dz = np.hstack([dc * g * i * (1 - i), df * f * (1 - f), dh * np.tanh(c[t + 1]) * o * (1 - o), dc * i * slope])
        before = h[t + 1] if bug.startswith("h_t for") else h[t] if t or not bug.startswith("h[-1]") else h[-1]
        dW = x[t].T @ dz + (0.0 if bug == "dW = for +=" else dW)
        dU = dU + before.T @ dz
        db = db + dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh = dz @ U.T
        if bug == "U for its transpose":
            dh = sum(part @ block for part, block in zip(np.split(dz, 4, axis=1), np.split(U, 4, axis=1)))
        dc = dc * (1.0 if bug == "dc passed on without f" else f)
    factor = 1 / len(x) if bug == "1/T" else -1.0 if bug == "sign" else 1.0
    return dx, factor * dW, factor * dU, factor * db, dh, dc


def weights():
    rng = np.random.default_rng(3)
    return rng.standard_normal((D, 4 * H)), rng.standard_normal((H, 4 * H)), rng.standard_normal(4 * H)


class Attributes:
    """Arrays as attributes."""

    def __init__(self, bug=""):
        self.W, self.U, self.b = weights()
        self.bug = bug

    def forward(self, X):
        hs, self.cache = forward(X, self.W, self.U, self.b)
        return hs

    def backward(self, dH):
        dX, self.dW, self.dU, self.db, *_ = backward(dH, self.cache, self.bug)
        return dX


class Returned(Attributes):
    """Gradients returned as a dict."""

    def backward(self, dH):
        dX, dW, dU, db, *_ = backward(dH, self.cache, self.bug)
        return {"dX": dX, "dW": dW, "dU": dU, "db": db}


class Dicts:
    """Parameters and gradients in dicts, these empty at first; forward reads attributes that are the same arrays."""

    def __init__(self, bug=""):
        self.W, self.U, self.b = weights()
        self.params = {"W": self.W, "U": self.U, "b": self.b}
        self.grads, self.bug = {}, bug

    def forward(self, X):
        hs, self.cache = forward(X, self.W, self.U, self.b)
        return hs

    def backward(self, dH):
        dX, dW, dU, db, *_ = backward(dH, self.cache, self.bug)
        self.grads = {"W": dW, "U": dU, "b": db}
        return dX


class Contract:
    """The library's own contract, with a state."""

    gates = "ifog"

    def __init__(self, bug=""):
        self.params = dict(zip(("W_l0", "U_l0", "b_l0"), weights()))
        self.grads, self.bug = {}, bug

    def forward(self, x, state=None):
        hs, self.cache = forward(x, *self.params.values(), *(state or ()))
        return hs, (hs[-1], self.cache[4][-1])

    def backward(self, dhs, dstate):
        dx, dW, dU, db, *before = backward(dhs, self.cache, self.bug, *dstate)
        self.grads = {"W_l0": dW, "U_l0": dU, "b_l0": db}
        return dx, tuple(before)


def pair(bug=""):
    """Two functions."""
    return forward, lambda dout, cache: backward(dout, cache, bug)[:4]


def with_pullback(bug=""):
    """A function whose pullback returns a dict."""

    def function(x, W, U, b):
        hs, cache = forward(x, W, U, b)
        return hs, lambda d: dict(zip(("dx", "dW", "dU", "db"), backward(d, cache, bug)))

    return function


def loss(bug=""):
    """A loss with its gradients."""

    def function(x, W, U, b):
        hs, cache = forward(x, W, U, b)
        weigh = np.random.default_rng(9).standard_normal(hs.shape)
        return (hs * weigh).sum(), dict(zip(("x", "W", "U", "b"), backward(weigh, cache, bug)))

    return function


def with_states(bug=""):
    """A function that takes the first states too."""

    def function(x, h0, c0, W, U, b):
        hs, cache = forward(x, W, U, b, h0, c0)

        def pullback(d):
            dx, dW, dU, db, dh, dc = backward(d, cache, bug)
            return dx, dh, dc, dW, dU, db

        return hs, pullback

    return function


X = np.random.default_rng(1).standard_normal((T, B, D))
H0, C0 = np.random.default_rng(2).standard_normal((2, B, H))
FORMS = {
    "attributes": (Attributes, (X,)),
    "returned": (Returned, (X,)),
    "dicts": (Dicts, (X,)),
    "contract": (Contract, (X,)),
    "pair": (pair, (X, *weights())),
    "pullback": (with_pullback, (X, *weights())),
    "states": (with_states, (X, H0, C0, *weights())),
    "loss": (loss, (X, *weights())),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_right_lstm_is_right_in_every_form(form):
    make, inputs = FORMS[form]
    report = rs.check_gradients(make(), *inputs)
    assert report.ok and report.max_error < 1e-12, str(report)


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("form", FORMS)
def test_each_bug_is_found_and_never_called_another(form, bug):
    make, inputs = FORMS[form]
    report = rs.check_gradients(make(bug), *inputs)
    assert not report.ok, bug
    silent = {"wrong"} if form == "loss" else set()  # a number alone tells nothing of steps
    assert report.cause in BUGS[bug] | silent, str(report)


class TakesPart(Attributes):
    """A weight of which backward leaves no gradient."""

    def __init__(self):
        super().__init__()
        self.V, self.idle = np.eye(H), np.ones(3)

    def forward(self, X):
        return super().forward(X) @ self.V


class Apart(Dicts):
    """Forward reads arrays of its own."""

    def __init__(self):
        super().__init__()
        self.params = {name: array.copy() for name, array in self.params.items()}


class Classifier:
    """As CS231n has it: a method that returns the loss and the gradients of `params`."""

    def __init__(self, factor=1.0):
        self.params = {"W": weights()[0]}
        self.factor = factor

    def loss(self, X, y):
        z = X @ self.params["W"]
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        dz = np.exp(log_p)
        dz[np.arange(len(y)), y] -= 1
        return -log_p[np.arange(len(y)), y].mean(), {"W": self.factor * X.T @ dz / len(y)}


def test_a_method_that_returns_loss_and_gradients():
    x, y = X[0], np.array([0, 3, 11])
    assert rs.check_gradients(Classifier().loss, x, y).ok
    report = rs.check_gradients(Classifier(len(y)).loss, x, y)
    assert report.cause == "scale" and "3 times" in report.diagnosis[0]


def softmax_loss(W, X, y, factor=1.0):
    """As in CS231n's first assignment: the loss and the gradient of W alone."""
    loss, gradients = Classifier.loss(Holder(W, factor), X, y)
    return loss, gradients["W"]


class Holder:
    """What `Classifier.loss` reads."""

    def __init__(self, W, factor):
        self.params, self.factor = {"W": W}, factor


def test_a_loss_may_have_gradients_of_some_arguments_alone():
    y = np.array([0, 3, 11])
    report = rs.check_gradients(softmax_loss, weights()[0], X[0], y)
    assert report.ok and [row.name for row in report.rows if not row.part] == ["W"]
    assert rs.check_gradients(lambda W, X, y: softmax_loss(W, X, y, 3.0), weights()[0], X[0], y).cause == "scale"
    named = rs.check_gradients(
        lambda W, X, y: (softmax_loss(W, X, y)[0], {"dW": softmax_loss(W, X, y)[1]}), weights()[0], X[0], y
    )
    assert named.ok
    with pytest.raises(TypeError, match="a dict of V, none of which is an argument: W, X, y"):
        rs.check_gradients(lambda W, X, y: (softmax_loss(W, X, y)[0], {"V": W}), weights()[0], X[0], y)
    with pytest.raises(TypeError, match="there are 3 gradients, but 2 arguments that can have one"):
        rs.check_gradients(lambda W, X, y: (softmax_loss(W, X, y)[0], (W, X, W)), weights()[0], X[0], y)


class Adds(Dicts):
    """Backward adds to gradients that are not there."""

    def backward(self, dH):
        self.grads["W"] += backward(dH, self.cache)[1]


def test_a_forward_that_does_not_read_params_is_told_so():
    report = rs.check_gradients(Apart(), X)
    assert report.cause == "not independent" and "forward reads another" in report.diagnosis[0]
    assert "W" in report.diagnosis[0]


REFUSED = {
    "a weight without a gradient": (TakesPart(), (X,), "TakesPart.V takes part in forward, .* leave one in self.dV"),
    "a dict without a gradient": (
        (forward, lambda d, cache: dict(zip(("dx", "dW"), backward(d, cache)))),
        (X, *weights()),
        "the gradients hold dx, dW, expected 'U' or 'dU' among them",
    ),
    "no cache": (
        (lambda x: x * x, lambda dout, cache: 2 * dout),
        (X,),
        r"forward returns ndarray, but backward takes dout, cache: let forward return \(output, cache\)",
    ),
    "gradients that do not begin": (Adds(), (X,), r"backward finds no grads\['W'\]: let grads begin with zeros"),
    "three functions": ((forward, backward, forward), (X,), r"expected a pair of functions \(forward, backward\)"),
    "few gradients": (
        (forward, lambda d, cache: backward(d, cache)[:3]),
        (X, *weights()),
        "backward gives 3 gradients, expected 4: x, W, U, b",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_say_enough_is_refused_with_the_line_to_change(case):
    target, inputs, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        rs.check_gradients(target, *inputs)


def test_the_learner_s_object_is_left_as_it_was():
    learner = Attributes()
    before = {name: array.copy() for name, array in vars(learner).items() if isinstance(array, np.ndarray)}
    rs.check_gradients(learner, X)
    assert {name for name, value in vars(learner).items() if isinstance(value, np.ndarray)} == set(before)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(learner, name), array)
