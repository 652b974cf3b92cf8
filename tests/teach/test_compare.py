"""A learner's plain LSTM against the trace: right, and wrong in eleven ways, each found at its very line."""

from __future__ import annotations

import numpy as np
import pytest
from small_layers import LAYERS, draw

import rnnscratch as rs
from rnnscratch.teach import trace


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Plain:
    """As a learner writes it: lists of steps, one weight matrix a letter, gates i, f, o, g in a row."""

    def __init__(self, W, U, b, bug=""):
        self.W, self.U, self.b, self.bug = W, U, b, bug

    def forward(self, x, h0, c0):
        self.x, self.h, self.c, self.gates = x, [h0], [c0], []
        for x_t in x:
            z = x_t @ self.W + self.h[-1] @ self.U + self.b
            i, f, o, g = np.split(z, 4, axis=1)
            i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
            self.gates.append((i, f, o, g))
            self.c.append(f * self.c[-1] + i * g)
            self.h.append(o * (self.c[-1] if self.bug == "no second tanh in h" else np.tanh(self.c[-1])))
        return np.stack(self.h[1:])

    def backward(self, dhs):
        """Every intermediate by the name that the trace prints; entries of h and c: 0 is before the first step."""
        T, bug, mine = len(dhs), self.bug, {}
        dW, dU, db = np.zeros_like(self.W), np.zeros_like(self.U), np.zeros_like(self.b)
        dh_next, dc_next = np.zeros_like(self.h[0]), np.zeros_like(self.c[0])
        for t in range(T, 0, -1):
            i, f, o, g = self.gates[t - 1]
            c, c_prev = self.c[t], self.c[t - 1]
            h_prev = self.h[t - 1]
            if bug == "wrap-around" and t == 1:
                h_prev = self.h[-1]
            dh = dhs[t - 1] + dh_next
            through_h = dh * o if bug == "no second tanh" else dh * o * (1 - np.tanh(c) ** 2)
            dc = through_h if bug == "dC dropped" else through_h + dc_next
            do, di, dg = dh * np.tanh(c), dc * g, dc * i
            df = dc * (c if bug == "C_t for C_{t-1}" else c_prev)
            slope_f = sigmoid(f) * (1 - sigmoid(f)) if bug == "slope of the activation" else f * (1 - f)
            dz = np.concatenate([di * i * (1 - i), df * slope_f, do * o * (1 - o), dg * (1 - g**2)], axis=1)
            if bug == "sign":
                dz[:, -self.h[0].shape[1] :] *= -1
            dc_next = dc if bug == "dC without f" else dc * f
            h_used = self.h[t] if bug == "h_t for h_{t-1}" else h_prev
            dW_t, dU_t, db_t = self.x[t - 1].T @ dz, h_used.T @ dz, dz.sum(axis=0)
            dW = dW_t if bug == "= for +=" else dW + dW_t
            dU, db = dU + dU_t, db + db_t
            of_gates = list(zip(np.split(dz, 4, axis=1), np.split(self.U, 4, axis=1)))
            dh_next = sum(dz_k @ (U_k if bug == "U for its transpose" else U_k.T) for dz_k, U_k in of_gates)
            names = {"dh": dh, "dc": dc, "do": do, "di": di, "dg": dg, "df": df, "dc_prev": dc_next, "dU_t": dU_t}
            names |= dict(zip(("dz_i", "dz_f", "dz_o", "dz_g"), np.split(dz, 4, axis=1)), dh_prev=dh_next, dW_t=dW_t)
            mine |= {(name, t): value for name, value in names.items()}
        return mine | {"dW": dW / T if bug == "1/T" else dW, "dU": dU, "db": db}


def passes(bug="", T=4):
    """The trace of a layer, and the learner's numbers with a bug."""
    layer = rs.LSTM(3, 2, dtype="float64", seed=1)
    x, state, dhs, _ = draw(layer, T=T)
    plain = Plain(*(layer.params[name] for name in ("W_l0", "U_l0", "b_l0")), bug)
    hs = plain.forward(x, state[0][0], state[1][0])
    return trace(layer, x, state, dhs), {"h": hs, "c": np.stack(plain.c[1:]), **plain.backward(dhs)}


def test_a_right_lstm_agrees_in_every_line():
    steps, mine = passes()
    found = steps.compare(mine)
    assert found.ok and found.name == "" and found.mine is None
    assert found.compared == 2 * 4 + 14 * 4 + 3 and 0 < found.largest < 1e-13 and 0 < found.exact < found.compared
    assert str(found).startswith("all 67 intermediates agree: ")
    assert steps.compare({row.name if not row.step else (row.name, row.step): row.value for row in steps}).exact == len(
        steps
    )


BUGS = {  # the bug: name, step and formula of the line, in a pass of 4 steps
    "= for +=": ("dW", 0, "sum over t of dW_t", "8"),
    "h_t for h_{t-1}": ("dU_t", 4, "h_prev^T dz", "5"),
    "wrap-around": ("dU_t", 1, "h_prev^T dz", "5"),
    "dC dropped": ("dc", 3, "dc (through h) + dc (future)", ""),
    "dC without f": ("dc_prev", 4, "dc f", "31"),
    "no second tanh": ("dc", 4, "dc (through h) + dc (future)", ""),
    "C_t for C_{t-1}": ("df", 4, "dc c_prev", ""),
    "slope of the activation": ("dz_f", 4, "df f (1 - f)", "25"),
    "U for its transpose": ("dh_prev", 4, "dz U^T", ""),
    "1/T": ("dW", 0, "sum over t of dW_t", "8"),
    "sign": ("dz_g", 4, "dg (1 - g^2)", "27"),
    "no second tanh in h": ("h", 1, "o tanh(c)", "33, 71"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_each_bug_is_found_at_its_line(bug):
    steps, mine = passes(bug)
    found = steps.compare(mine)
    assert (found.ok, found.name, found.step, found.formula, found.equation) == (False, *BUGS[bug])
    assert found.phase == {"dW": "sum", "h": "forward"}.get(found.name, "backward")
    expected = steps["dW"] if found.name == "dW" else steps[found.name, found.step]
    np.testing.assert_array_equal(found.expected, expected)
    assert not np.allclose(found.mine, expected)
    assert found.formula in str(found) and found.place in str(found).split("\n")[0]


def test_the_note_says_what_the_numbers_show():
    notes = {bug: passes(bug)[0].compare(passes(bug)[1]) for bug in ("= for +=", "1/T", "sign")}
    assert notes["= for +="].hint == "mine is dW_t at t = 1"
    assert notes["1/T"].hint == "mine / expected = 0.25 everywhere (1/T)" and abs(notes["1/T"].ratio - 0.25) < 1e-14
    assert notes["sign"].hint == "mine / expected = -1 everywhere"
    steps, _ = passes()
    assert steps.compare({("df", 2): np.zeros((2, 2))}).hint == "mine is 0"
    assert "not finite" in steps.compare({("df", 2): np.full((2, 2), np.nan)}).hint
    assert steps.compare({("c", 2): steps["c", 1]}).hint == "mine is c at t = 1"
    assert steps.compare({("c", 2): steps["c", 2].T}).hint == "mine is the transpose of it"
    assert steps.compare({("c", 2): steps["c", 2] + [0, 1]}).hint == ""


def test_the_first_difference_is_the_first_in_the_order_of_the_pass():
    steps, mine = passes()
    mine["dW"], mine["dc", 2], mine["dh", 3] = 0 * mine["dW"], -mine["dc", 2], 2 * mine["dh", 3]
    found = steps.compare(mine)
    assert (found.name, found.step, found.hint) == ("dh", 3, "mine / expected = 2 everywhere (B)")
    del mine["dh", 3]  # what is not handed over is not asked
    assert (steps.compare(mine).name, steps.compare(mine).step) == ("dc", 2)


def test_another_shape_is_a_difference():
    steps, mine = passes()
    found = steps.compare({"dW": mine["dW"].T})
    assert not found.ok and found.hint == "mine has shape (8, 3), expected (3, 8): transposed?"
    found = steps.compare({"dU": mine["dU"][:, :2]})
    assert found.hint == "mine has shape (2, 2), expected (2, 8)" and found.ratio is None
    found = steps.compare({"c": np.zeros((5, 2, 2))})
    assert (found.name, found.step) == ("c", 1) and "the one from before the first of the 4 steps" in found.hint
    found = steps.compare({"dh": np.zeros((3, 2, 2))})
    assert (found.name, found.step) == ("dh", 4) and found.hint == "mine has shape (3, 2, 2), expected (4, 2, 2)"
    found = steps.compare({"h": steps["h"].swapaxes(0, 1)})
    assert found.hint == "mine has shape (2, 4, 2), expected (4, 2, 2): time comes first"


def test_rounding_passes_and_anything_larger_does_not():
    steps, _ = passes()
    dW = steps["dW"]
    for factor, ok in ((1 + 1e-10, True), (1 + 1e-8, False)):
        assert steps.compare({"dW": dW * factor}).ok is ok
    assert steps.compare({"dW": dW * (1 + 1e-8)}, rtol=1e-7).ok
    assert steps.compare({"dW": dW.astype(np.float32)}).ok  # as exact as float32 is
    assert not steps.compare({"dW": (dW * 1.001).astype(np.float32)}).ok
    near = steps.compare({"dW": dW * (1 + 1e-10), "dU": steps["dU"]})
    assert (near.compared, near.exact) == (2, 1) and 5e-11 < near.largest < 2e-10
    single = trace(rs.RNN(3, 2, seed=0), np.ones((3, 2, 3), np.float32))
    assert single.compare({"h": single["h"].astype(np.float64) * (1 + 1e-6)}).ok
    assert not single.compare({"h": single["h"] * np.float32(1.01)}).ok


def test_numbers_and_lists_will_do_for_one_unit():
    layer = rs.RNN(1, 1, dtype="float64", seed=0)
    steps = trace(layer, [0.5, -1.0, 2.0], state=0.3, dhs=[0, 0, 1])
    h = 0.3
    w, u, b = (layer.params[name].item() for name in ("W_l0", "U_l0", "b_l0"))
    mine = {"h": []}
    for x in (0.5, -1.0, 2.0):
        h = float(np.tanh(x * w + h * u + b))
        mine["h"].append(h)
    mine["dz", 3] = 1 - h**2
    mine["dU"] = steps["dU"].item()
    assert steps.compare(mine).ok and steps.compare(mine).compared == 5
    assert steps.compare({("dz", 3): h}).ratio == h / (1 - h**2)
    one_row = trace(rs.GRU(3, 2, dtype="float64", seed=0), np.ones((2, 1, 3)))
    assert one_row.compare({"h": one_row["h"][:, 0], ("r", 1): one_row["r", 1][0], "U_l0": one_row["dU"]}).ok


@pytest.mark.parametrize("kind", LAYERS)
def test_every_cell_agrees_with_its_kernel(kind):
    layer = LAYERS[kind]()
    x, state, dhs, _ = draw(layer)
    hs, _ = layer.forward(x, state)
    dx, _ = layer.backward(dhs)
    assert trace(layer, x, state, dhs).compare({"h": hs, "dx": dx, **layer.grads}).ok


def test_weights_may_come_gate_by_gate():
    """As of a learner whose every gate has a matrix of its own."""
    steps, mine = passes()
    H = 2
    for k, gate in enumerate("ifog"):
        mine[f"dW_{gate}"], mine[f"db_{gate}"] = mine["dW"][:, k * H : k * H + H], mine["db"][k * H : k * H + H]
        mine |= {(f"dU_{gate}_t", t): mine["dU_t", t][:, k * H : k * H + H] for t in (1, 2, 3, 4)}
        np.testing.assert_array_equal(steps[f"dW_{gate}"], steps["dW"][:, k * H : k * H + H])
    right = steps.compare(mine)
    assert right.ok and right.compared == 67 + 4 * (2 + 4)
    mine["dU_f_t", 2] = -mine["dU_f_t", 2]
    found = steps.compare(mine)
    assert (found.name, found.step, found.formula, found.equation) == ("dU_f_t", 2, "h_prev^T dz_f", "5")
    mine = {"dW_f": 2 * mine["dW_f"], "db": mine["db"]}
    assert steps.compare(mine).formula == "sum over t of dW_f_t" and steps.compare(mine).compared == 1
    gru, normed = (
        trace(kind(3, 2, dtype="float64", seed=1), np.ones((2, 1, 3))) for kind in (rs.GRU, rs.LayerNormLSTM)
    )
    assert gru.compare({("dU_n_t", 2): 0 * gru["dU_n_t", 2]}).formula == "(r h_prev)^T dz_n"
    assert gru.compare({("dW_z_t", 2): np.ones((3, 2))}).formula == "x^T dz_z"
    assert normed.compare({("dW_f_t", 2): np.ones((3, 2))}).formula == "columns of f of x^T d(x W)"
    report = trace(rs.GRU(3, 2, dtype="float64", seed=1), np.ones((2, 1, 3)), letters="report")
    np.testing.assert_array_equal(report["dU_h"], gru["dU_n"])
    assert report.compare({("dU_h_t", 2): 0 * gru["dU_n_t", 2]}).formula == "(r h_prev)^T dz_h"


@pytest.mark.parametrize(
    ("mine", "error", "match"),
    [
        ({"dz": 1}, ValueError, "there is no 'dz'; the names are z_i, i, z_f"),
        ({("dW", 1): 1}, ValueError, "there is no 'dW' at step 1; its steps are 0, for sums over all steps"),
        ({("c", 0): 1}, ValueError, "there is no 'c' at step 0; its steps are 1 to 4"),
        ({"c": "many"}, TypeError, "c"),
        ([1], TypeError, "mine is list, expected a dict"),
        ({}, ValueError, "mine is empty, expected at least one intermediate"),
    ],
)
def test_wrong_names_are_refused(mine, error, match):
    with pytest.raises(error, match=match):
        passes()[0].compare(mine)


def test_the_page_shows_what_is_printed():
    steps, mine = passes("sign")
    found = steps.compare(mine)
    page = found._repr_html_()
    assert "dz_g at t = 4 differs" in page and "dg (1 - g^2)" in page and repr(found) == str(found)
    assert page.count("<tr>") == 5 and ">should be<" in page and ">before it<" in page
    assert steps.compare({"h": steps["h"]})._repr_html_().startswith("<p><b>all 4 intermediates agree")
