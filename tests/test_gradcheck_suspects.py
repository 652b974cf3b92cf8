"""Where a learner's forward pass is that of an LSTM, the checker says which line of its backward pass is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs

T, B, D, H = 5, 3, 3, 4
RNG = np.random.default_rng(0)
X, H0, C0 = RNG.standard_normal((T, B, D)), RNG.standard_normal((B, H)), RNG.standard_normal((B, H))
W, U, BIAS = RNG.standard_normal((D, 4 * H)), RNG.standard_normal((H, 4 * H)), RNG.standard_normal(4 * H)

LSTM = """
def sigmoid(z):
    return 0.5 * np.tanh(0.5 * z) + 0.5


def lstm(x, h, c, W, U, b):
    hs, cs, kept = [h], [c], []
    for x_t in x:
        i, f, o, g = np.split(x_t @ W + hs[-1] @ U + b, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        cs.append(f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
        kept.append((i, f, o, g))
    return np.stack(hs[1:]), hs[-1], cs[-1], (x, W, U, hs, cs, kept)


def lstm_back(dhs, dh, dc, cache):
    x, W, U, hs, cs, kept = cache
    T, B, H = dhs.shape
    dW, dU, db, dx = 0 * W, 0 * U, np.zeros(4 * H), np.zeros(x.shape)
    for t in reversed(range(T)):
        i, f, o, g = kept[t]
        c_t, h_prev, c_prev = cs[t + 1], hs[t], cs[t]
        dh = dhs[t] + dh
        do = dh * np.tanh(c_t)
        dc = dc + dh * o * (1 - np.tanh(c_t) ** 2)
        df = dc * c_prev
        slopes = [i * (1 - i), f * (1 - f), o * (1 - o), 1 - g * g]
        dz = np.concatenate([s * d for s, d in zip(slopes, (dc * g, df, do, dc * i))], axis=1)
        dW += x[t].T @ dz
        dU += h_prev.T @ dz
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh = dz @ U.T
        dc = dc * f
    return dx, dh, dc, dW, dU, db
"""
TRANSPOSED = "dh = dz @ np.concatenate(np.split(U, 4, axis=1))"
SLOPES = "slopes = [i * (1 - i), f * (1 - f), o * (1 - o), 1 - g * g]"
ACTIVATED = "slopes = [sigmoid(k) * (1 - sigmoid(k)) for k in (i, f, o)] + [1 - np.tanh(g) ** 2]"
SECOND_TANH = "dc = dc + dh * o * (1 - np.tanh(c_t) ** 2)"
BUGS = {  # the right line, the wrong one, the cause, and what is said of it
    "mean over time": (
        "    return dx, dh, dc, dW, dU",
        "    return dx, dh, dc, dW / T, dU / T",
        "scale",
        "the gradient is 0.2",
    ),
    "U for U^T": ("dh = dz @ U.T", TRANSPOSED, "transposed recurrence", "its transpose"),
    "dc without f": ("dc = dc * f", "dc = dc * 1", "recursion", "lacks the factor f"),
    "slope of the activated": (SLOPES, ACTIVATED, "slope", "of the activated value once more"),
    "slope left out": ("1 - g * g]", "1]", "slope", "an activation's is left out"),
    "second tanh": (SECOND_TANH, "dc = dc + dh * o", "slope", "as if it were o c"),
    "c_t for c_(t-1)": ("df = dc * c_prev", "df = dc * c_t", "slope", "c_t stands for c_{t-1}"),
    "= for +=": ("dU += h_prev.T", "dU = h_prev.T", "not summed", "only the first step counts"),
    "h_t for h_(t-1)": ("dU += h_prev.T", "dU += hs[t + 1].T", "previous state", "the step's own"),
    "wrap-around": ("dU += h_prev.T", "dU += (hs[t] if t else hs[-1]).T", "previous state", "index of -1"),
    "dc not passed": ("dc = dc + dh * o", "dc = dh * o", "recursion", "comes to c_t from step t+1 is left out"),
    "dh not passed": ("dh = dhs[t] + dh", "dh = dhs[t]", "recursion", "comes to h_t from step t+1 is left out"),
}


def functions(bug=""):
    source = LSTM
    if bug:
        right, wrong = BUGS[bug][:2]
        assert source.count(right) == 1
        source = source.replace(right, wrong)
        if bug == "mean over time":
            source = source.replace("dU / T, db", "dU / T, db / T")
    space = {"np": np}
    exec(source, space)
    return space["lstm"], space["lstm_back"]


class Attributes:
    """Arrays as attributes, gradients beside them."""

    def __init__(self, bug=""):
        self.W, self.U, self.b = W.copy(), U.copy(), BIAS.copy()
        self.run, self.back = functions(bug)

    def forward(self, X):
        start = np.zeros((X.shape[1], H))
        hs, *_, self.cache = self.run(X, start, start, self.W, self.U, self.b)
        return hs

    def backward(self, dH):
        zero = np.zeros(dH.shape[1:])
        dx, _, _, self.dW, self.dU, self.db = self.back(dH, zero, zero, self.cache)
        return dx


class Returns(Attributes):
    """Gradients are returned by name."""

    def backward(self, dH):
        zero = np.zeros(dH.shape[1:])
        return dict(zip(("dX", "dh", "dc", "dW", "dU", "db"), self.back(dH, zero, zero, self.cache)))


class States(Attributes):
    """The initial states are arguments, the final ones are returned."""

    def forward(self, X, h0, c0):
        hs, h, c, self.cache = self.run(X, h0, c0, self.W, self.U, self.b)
        return hs, h, c

    def backward(self, dhs, dh, dc):
        dx, dh, dc, self.dW, self.dU, self.db = self.back(dhs, dh, dc, self.cache)
        return dx, dh, dc


class BothDicts(Attributes):
    """Both dicts, grads empty at first, and a forward that reads self.W: the same arrays, or views of one vector."""

    def __init__(self, bug="", views=False):
        super().__init__(bug)
        if views:
            flat = np.concatenate([W.ravel(), U.ravel(), BIAS])
            self.W, self.U, self.b = flat[:48].reshape(3, 16), flat[48:112].reshape(4, 16), flat[112:]
            self.flat = flat
        self.params = {"W": self.W, "U": self.U, "b": self.b}
        self.grads = {}

    def backward(self, dH):
        dx = super().backward(dH)
        self.grads = {"W": self.dW, "U": self.dU, "b": self.db}
        return dx


class OneVector(BothDicts):
    """The parameters are views of one vector, of which forward makes its own views."""

    def __init__(self, bug=""):
        super().__init__(bug, views=True)

    def forward(self, X):
        start = np.zeros((X.shape[1], H))
        weights = self.flat[:48].reshape(3, 16), self.flat[48:112].reshape(4, 16), self.flat[112:]
        hs, *_, self.cache = self.run(X, start, start, *weights)
        return hs


class Contract:
    """The contract of the library's layers."""

    gates = "ifog"

    def __init__(self, bug=""):
        self.params = {"W_l0": W.copy(), "U_l0": U.copy(), "b_l0": BIAS.copy()}
        self.grads, (self.run, self.back) = {}, functions(bug)

    def forward(self, x, state=None):
        start = (np.zeros((1, x.shape[1], H)),) * 2 if state is None else state
        hs, h, c, self.cache = self.run(x, start[0][0], start[1][0], *self.params.values())
        return hs, (h[None], c[None])

    def backward(self, dhs, dstate):
        dx, dh, dc, *found = self.back(dhs, dstate[0][0], dstate[1][0], self.cache)
        self.grads = dict(zip(self.params, found))
        return dx, (dh[None], dc[None])


def with_pullback(bug="", by_name=False):
    forward, backward = functions(bug)

    def function(x, h0, c0, W, U, b):
        *outputs, cache = forward(x, h0, c0, W, U, b)

        def pullback(d):
            found = backward(*d, cache)
            return dict(zip(("x", "h0", "c0", "W", "U", "b"), found)) if by_name else found

        return tuple(outputs), pullback

    return function


ARGUMENTS = (X, H0, C0, W, U, BIAS)
WAYS = {
    "attributes": (Attributes, (X,)),
    "returned by name": (Returns, (X,)),
    "states as arguments": (States, (X, H0, C0)),
    "both dicts": (BothDicts, (X,)),
    "views of one vector": (OneVector, (X,)),
    "full contract": (Contract, (X,)),
    "pair of functions": (functions, ARGUMENTS),
    "pullback": (with_pullback, ARGUMENTS),
    "pullback by name": (lambda bug="": with_pullback(bug, by_name=True), ARGUMENTS),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_right_lstm_is_right_in_every_way_in(way):
    make, inputs = WAYS[way]
    report = rs.check_gradients(make(), *inputs)
    assert report.ok, str(report)
    assert {row.name.removesuffix("_l0") for row in report.rows} >= {"W", "U", "b"}, str(report)


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("way", WAYS)
def test_the_wrong_line_is_named_in_every_way_in(way, bug):
    make, inputs = WAYS[way]
    report = rs.check_gradients(make(bug), *inputs)
    *_, cause, words = BUGS[bug]
    if bug == "= for +=" and len(inputs) == 1 and way != "full contract":
        cause, words = "zero", "the gradient is zero"  # the first step's term is 0 where the initial state is
    assert not report.ok and report.cause == cause and words in report.diagnosis[0], str(report)


class BatchFirst(Attributes):
    """x (B, T, D): what is said of steps would be about examples."""

    def forward(self, X):
        return super().forward(X.swapaxes(0, 1)).swapaxes(0, 1)

    def backward(self, dH):
        return super().backward(dH.swapaxes(0, 1)).swapaxes(0, 1)


@pytest.mark.parametrize("bug", ["", *BUGS])
def test_of_batch_first_code_nothing_is_said_about_steps(bug):
    report = rs.check_gradients(BatchFirst(bug), X.swapaxes(0, 1).copy())
    assert report.ok is not bool(bug) and report.cause in {"mean over time": ["scale"], "= for +=": ["zero"]}.get(
        bug, ["wrong" if bug else ""]
    )


def test_another_net_is_left_to_the_other_questions():
    """The same LSTM with its outputs scaled by a constant is none of the nets that have suspects."""

    def scaled(x, h0, c0, W, U, b):
        hs, h, c, cache = functions("U for U^T")[0](x, h0, c0, W, U, b)
        return (1.5 * hs, h, c), lambda d: functions("U for U^T")[1](1.5 * d[0], d[1], d[2], cache)

    assert rs.check_gradients(scaled, *ARGUMENTS).cause in ("transposed recurrence", "wrong")


def test_an_attribute_gates_of_ones_own_is_not_taken_for_letters():
    class Stores(Contract):
        gates = None

        def forward(self, x, state=None):
            found = super().forward(x, state)
            self.gates = self.cache[5]
            return found

    net = Stores("second tanh")
    net.forward(X)
    assert rs.check_gradients(net, X).cause == "slope"
    assert rs.check_gradients(Stores(), X).ok
