"""The trace runs the cells in a loop of its own, and agrees with the kernels in every number they share."""

from __future__ import annotations

import numpy as np
import pytest
from small_layers import LAYERS, draw

import rnnscratch as rs
from rnnscratch.teach import trace


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("with_states", [True, False])
def test_the_trace_agrees_with_the_kernels(kind, with_states):
    """The vanilla cell: Eqs 1, 62, its sums Eqs 5, 8, 14, its products Eqs 6, 9, 15; the GRU: Eqs 34-36, 75-78."""
    layer = LAYERS[kind]()
    x, state, dhs, dstate = draw(layer)
    if not with_states:
        state = dstate = None
    found = trace(layer, x, state, dhs, dstate)
    hs, final = layer.forward(x, state)
    dx, dinitial = layer.backward(dhs, dstate)
    for t in range(3):
        np.testing.assert_allclose(found["h", t + 1], hs[t], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found["dx", t + 1], dx[t], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.dx, dx, rtol=1e-12, atol=1e-14)
    if kind == "lstm":
        np.testing.assert_allclose(found["c", 3], final[1][0], rtol=1e-12)
        np.testing.assert_allclose(found.dinitial, [part[0] for part in dinitial], rtol=1e-12, atol=1e-14)
    else:
        np.testing.assert_allclose(found.dinitial[0], dinitial[0], rtol=1e-12, atol=1e-14)
    assert found.totals.keys() == layer.grads.keys()
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(found.totals[name], gradient, rtol=1e-12, atol=1e-14)
        short = name.removesuffix("_l0")
        parts = [row.value for row in found if row.name == f"d{short}_t"]
        assert len(parts) == 3
        np.testing.assert_allclose(sum(parts), gradient, rtol=1e-12, atol=1e-14)


NEWER = {
    "peephole": lambda: rs.PeepholeLSTM(3, 2, dtype="float64", seed=1),
    "layer norm": lambda: rs.LayerNormLSTM(3, 2, dtype="float64", seed=1),
}


def assert_close(name, found, right):
    """To 13 digits of the largest entry: small ones are differences of large ones."""
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-13 * np.abs(right).max(), err_msg=name)


@pytest.mark.parametrize("kind", NEWER)
def test_the_trace_takes_up_other_cells_by_itself(kind):
    layer = NEWER[kind]()
    x, state, dhs, dstate = draw(layer)
    found = trace(layer, x, state, dhs, dstate)
    hs, final = layer.forward(x, state)
    dx, dinitial = layer.backward(dhs, dstate)
    np.testing.assert_allclose([found["h", t] for t in (1, 2, 3)], hs, rtol=1e-12)
    np.testing.assert_allclose(found["c", 3], final[1][0], rtol=1e-12)
    assert_close("dx", found.dx, dx)
    assert_close("dinitial", found.dinitial, [part[0] for part in dinitial])
    assert_close("dh_prev", found["dh_prev", 1], dinitial[0][0])
    assert_close("dc_prev", found["dc_prev", 1], dinitial[1][0])
    for name, gradient in layer.grads.items():
        assert_close(name, found.totals[name], gradient)
    gates = {gate: found[gate, 2] for gate in "ifog"}
    for gate, value in gates.items():  # what the formulas say
        z = found[f"z_{gate}", 2]
        np.testing.assert_allclose(value, np.tanh(z) if gate == "g" else 1 / (1 + np.exp(-z)), rtol=1e-12)
        slope = 1 - value**2 if gate == "g" else value * (1 - value)
        np.testing.assert_allclose(found[f"dz_{gate}", 2], found[f"d{gate}", 2] * slope, rtol=1e-12)
    np.testing.assert_allclose(found["c", 2], gates["f"] * found["c", 1] + gates["i"] * gates["g"], rtol=1e-12)
    np.testing.assert_allclose(found["df", 2], found["dc", 2] * found["c", 1], rtol=1e-12)
    squashed = found["tanh c" if kind == "peephole" else "tanh a", 2]
    np.testing.assert_allclose(found["h", 2], gates["o"] * squashed, rtol=1e-12)
    for t, formula in ((3, "of the final state"), (2, "from step t+1")):  # what comes back is what went on
        rows = {row.name: row for row in found if row.step == t}
        assert rows["dc (future)"].formula == rows["dh (future)"].formula == formula
    np.testing.assert_array_equal(found["dc (future)", 1], found["dc_prev", 2])
    np.testing.assert_array_equal(found["dc (future)", 3], dstate[1][0])


def test_the_formulas_are_those_of_the_cells():
    rows = {}
    for kind, layer in {**LAYERS, **NEWER}.items():
        layer = layer()
        rows[kind] = {row.name: (row.formula, row.equation) for row in trace(layer, draw(layer)[0])}
    assert rows["rnn tanh"]["dz"] == ("dh (1 - h^2)", "6") and rows["rnn tanh"]["h"] == ("tanh(z)", "1, 62")
    assert rows["lstm"]["tanh c"] == ("tanh(c)", "33, 71") and rows["lstm"]["do"] == ("dh tanh(c)", "")
    assert rows["lstm"]["dc (through h)"][0] == "dh o (1 - tanh(c)^2)" and rows["lstm"]["dc_prev"] == ("dc f", "31")
    assert rows["lstm"]["dz_f"] == ("df f (1 - f)", "25") and rows["lstm"]["dz_g"] == ("dg (1 - g^2)", "27")
    assert rows["gru"]["z_n"] == ("x W_n + b_n + (r h_prev) U_n", "36, 77")
    assert rows["gru"]["h"] == ("z h_prev + (1 - z) n", "78") and rows["gru"]["dr"][0] == "(dz_n U_n^T) h_prev"
    assert rows["gru"]["dU_t"][0] == "[h_prev^T dz_r, h_prev^T dz_z, (r h_prev)^T dz_n]"
    assert rows["gru after"]["z_n"][0] == "x W_n + b_n + r hn" and rows["gru after"]["hn"][0] == "h_prev U_n + bn"
    assert rows["peephole"]["z_o"] == ("x W_o + h_prev U_o + b_o + P_o c", "32")
    assert rows["peephole"]["dc (through h, o)"][0] == "dh o (1 - tanh(c)^2) + dz_o P_o"
    assert rows["layer norm"]["z_f"] == ("x_hat gx + b + h_hat gh", "28")
    assert rows["layer norm"]["dc (through h)"][0] == "normalize_back(dh o (1 - tanh(a)^2) gc)"
    assert rows["layer norm"]["tanh a"] == ("tanh(c_hat gc + bc)", "33, 71")
    assert rows["layer norm"]["c_scale"][0] == "c_scale of normalize(c)"
    assert rows["layer norm"]["dx"][0] == "d(x W) W^T" and rows["layer norm"]["d(x W)"][0] == "inputs_back(dz)"
    assert rows["rnn relu"]["dz"][0] == "dh [h > 0]"


def test_without_gradients_the_loss_is_the_sum_of_the_outputs():
    layer = LAYERS["gru"]()
    x = draw(layer)[0]
    hs, _ = layer.forward(x)
    layer.backward(np.ones_like(hs))
    np.testing.assert_allclose(trace(layer, x).totals["U_l0"], layer.grads["U_l0"], rtol=1e-12)


def test_an_lstm_of_one_unit_by_hand():
    """Every number of one step, from Eqs 28-33 and 66-71 with the numbers put in."""
    layer = rs.LSTM(1, 1, dtype="float64", seed=0)
    for name, values in {"W_l0": [0.1, 0.2, 0.3, 0.4], "U_l0": [0.5, 0.6, 0.7, 0.8], "b_l0": [0, 1, 0, 0]}.items():
        layer.params[name][...] = np.reshape(values, layer.params[name].shape)
    found = trace(layer, np.array([[[2.0]]]), (np.array([[[0.5]]]), np.array([[[-1.0]]])), dhs=np.array([[[1.0]]]))
    i, f, o, g = 1 / (1 + np.exp(-0.45)), 1 / (1 + np.exp(-1.7)), 1 / (1 + np.exp(-0.95)), np.tanh(1.2)
    c = -f + i * g
    expected = {"z_i": 0.45, "z_f": 1.7, "z_o": 0.95, "z_g": 1.2, "i": i, "f": f, "o": o, "g": g, "c": c}
    expected |= {"h": o * np.tanh(c), "do": np.tanh(c), "dc": o * (1 - np.tanh(c) ** 2)}
    expected |= {"df": -expected["dc"], "dz_f": -expected["dc"] * f * (1 - f), "dc_prev": expected["dc"] * f}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name, 1], [[value]], rtol=1e-14)


def test_the_table_shows_every_row_with_its_equation():
    layer = LAYERS["lstm"]()
    found = trace(layer, draw(layer, T=2, B=1)[0])
    text, page = str(found), found._repr_html_()
    assert len(found) == len(list(found)) == found._repr_html_().count("<tr>") - 4
    assert text.count("-- forward") == text.count("-- backward") == text.count("-- sum") == 1
    for row in found:
        assert row.name in text and row.formula in text
    assert "f c_prev + i g" in page and "31, 69" in page
    assert f"{found['h', 2][0, 0]:.4f}" in text
    with pytest.raises(KeyError, match="there is no 'q' at step 1; the names are z_i, i, z_f"):
        found["q", 1]


def test_a_name_alone_gives_all_steps():
    layer = LAYERS["lstm"]()
    x, state, dhs, dstate = draw(layer)
    found = trace(layer, x, state, dhs, dstate)
    hs, _ = layer.forward(x, state)
    dx, _ = layer.backward(dhs, dstate)
    np.testing.assert_allclose(found["h"], hs, rtol=1e-12)
    np.testing.assert_allclose(found["dx"], dx, rtol=1e-12)
    np.testing.assert_array_equal(found["dW"], found.totals["W_l0"])
    assert found["c"].shape == (3, 2, 2) and found["dU_t"].shape == (3, 2, 8)
    with pytest.raises(KeyError, match="there is no 'q'; the names are z_i"):
        found["q"]
    assert repr(found) == (
        "Trace of LSTM, T = 3, B = 2, D = 3, H = 2: 96 intermediates to print, or by name, as trace['h'] or "
        "trace['h', 1]"
    )


def test_one_unit_takes_numbers_and_lists():
    for kind, start, end in (("RNN", 0.3, -0.5), ("GRU", [0.3], [-0.5]), ("LSTM", (0.3, 0.1), [0.2, -0.5])):
        layer = getattr(rs, kind)(1, 1, dtype="float64", seed=0)
        short = trace(layer, [0.5, -1.0], start, [0, 1], end)
        parts = [np.reshape(each, (1, 1, 1)) for each in np.ravel(start)]
        ends = [np.reshape(each, (1, 1, 1)) for each in np.ravel(end)]
        many = kind == "LSTM"
        x, dhs = np.reshape([0.5, -1.0], (2, 1, 1)), np.reshape([0.0, 1.0], (2, 1, 1))
        whole = trace(layer, x, tuple(parts) if many else parts[0], dhs, tuple(ends) if many else ends[0])
        assert str(short) == str(whole) and short["dU"].any()
    layer = rs.RNN(1, 1, dtype="float64", seed=0)
    batch = trace(layer, [[0.5, 1.0], [-1.0, 2.0], [0.0, 0.0]], [0.1, 0.2])
    assert batch["h"].shape == (3, 2, 1)
    np.testing.assert_array_equal(batch["h", 3][1], trace(layer, [1.0, 2.0, 0.0], 0.2)["h", 3][0])
    with pytest.raises(TypeError, match=r"expected the tuple \(h, c\)"):
        trace(rs.LSTM(1, 1, dtype="float64"), [0.5], (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"x has shape \(2,\), expected \(T, B, 3\)"):
        trace(LAYERS["gru"](), [0.5, 1.0])  # three inputs: nothing to guess


def test_a_float32_layer_takes_lists_and_says_what_to_do_about_float64():
    layer = rs.RNN(1, 1, seed=0)
    assert trace(layer, [0.5])["h"].dtype == np.float32
    with pytest.raises(TypeError, match=r"the layer computes in float32: make the layer with dtype='float64', or hand"):
        trace(layer, np.ones((2, 1, 1)))


def test_one_phase_can_be_shown_alone():
    layer = LAYERS["gru"]()
    x, state, dhs, _ = draw(layer)
    whole, back = trace(layer, x, state, dhs), trace(layer, x, state, dhs, only="backward")
    assert len(back) == len(whole) and back.compare({"h": whole["h"]}).ok  # all is there, not all is shown
    start, end = str(whole).index("-- backward"), str(whole).index("-- sum")
    lines = [" ".join(line.split()) for line in str(back).split("\n")]
    assert lines[1:] == [" ".join(line.split()) for line in str(whole)[start:end].strip().split("\n")]
    assert "sigmoid" not in back._repr_html_() and "dz_r" in back._repr_html_()
    assert back.table().names[0] == "dh (output)" and "sum" not in back.table().columns
    with pytest.raises(ValueError, match="only is 'forwards', expected one of 'forward', 'backward', 'sum'"):
        trace(layer, x, only="forwards")


def test_the_table_has_names_down_and_steps_across():
    layer = LAYERS["lstm"]()
    found = trace(layer, draw(layer, T=4)[0])
    table = found.table()
    assert table.columns == ["t = 1", "t = 2", "t = 3", "t = 4", "sum"]
    assert table.names == [name for name in dict.fromkeys(row.name for row in found) if name not in ("dW", "dU", "db")]
    one = rs.LSTM(1, 1, dtype="float64", seed=0)
    found = trace(one, [0.5, -1.0])
    lines = str(found.table()).split("\n")
    assert lines[0].split() == ["t", "=", "1", "t", "=", "2", "sum"] and len(lines) == 1 + len(found.table().names)
    row = next(line for line in lines if line.startswith("dW_t"))
    assert f"{found['dW'][0, 3]:.6f}" in row and f"{found['dW_t', 1][0, 3]:.6f}" in row
    assert float(next(line for line in lines if line.startswith("c ")).split()[2]) == round(found["c", 2].item(), 6)
    page = found.table()._repr_html_()
    assert page.count("<tr>") == len(lines) and "<th>t = 2</th>" in page and repr(found.table()) == str(found.table())


REPORTS = {  # a name of ours, that of the report, and its formula there
    "rnn tanh": [("z", "z", "x U + h_prev W + b"), ("dW_t", "dU_t", "x^T dz"), ("dU", "dW", "sum over t of dW_t")],
    "lstm": [("c", "C", "f C_prev + i C~"), ("g", "C~", "tanh(z_c)"), ("z_g", "z_c", "x W_c + h_prev U_c + b_c")],
    "gru": [("n", "h~", "tanh(z_h)"), ("dz_n", "dz_h", "dh~ (1 - h~^2)"), ("dW", "dW", "sum over t of dW_t")],
    "gru after": [("z_n", "z_h", "x W_h + b_h + r hn"), ("hn", "hn", "h_prev U_h + bn"), ("dn", "dh~", "dh (1 - z)")],
}


@pytest.mark.parametrize("kind", REPORTS)
def test_letters_can_be_those_of_the_report(kind):
    """Eq. 1: its U is our W; Eqs 68-69: its C, C~, W_c; Eqs 77-78: its h~, W_h, U_h."""
    layer = LAYERS[kind]()
    x, state, dhs, _ = draw(layer)
    ours, theirs = trace(layer, x, state, dhs), trace(layer, x, state, dhs, letters="report")
    formulas = {row.name: row.formula for row in theirs}
    for name, report, formula in REPORTS[kind]:
        np.testing.assert_array_equal(ours[name], theirs[report])
        assert formulas[report] == formula
    assert [row.equation for row in ours] == [row.equation for row in theirs]
    assert all(np.array_equal(a.value, b.value) for a, b in zip(ours, theirs)) and len(ours) == len(theirs)
    assert not any(
        letter in f" {text} " for text in formulas.values() for letter in (" c ", " g ", " n ", "_n ", "_g ")
    )
    layer.forward(x, state)
    layer.backward(dhs)
    assert theirs.compare(layer.grads).ok  # under the names that the layer has for them
    with pytest.raises(ValueError, match="letters is 'goodfellow', expected one of 'library', 'report'"):
        trace(layer, x, letters="goodfellow")


def test_equations_exist_in_the_report():
    for kind, make in LAYERS.items():
        layer = make()
        for row in trace(layer, draw(layer)[0]):
            for number in row.equation.split(", "):
                assert not number or 1 <= int(number) <= 80, (kind, row)


def test_equations_are_those_of_the_gates():
    """The report's U and W are our W and U; its LSTM: forget 66, input 67, candidate 68, output 70."""
    found = {row.name: row.equation for kind in LAYERS for row in trace(LAYERS[kind](), draw(LAYERS[kind]())[0])}
    expected = {"f": "28, 66", "i": "29, 67", "g": "30, 68", "o": "32, 70", "r": "35, 75", "n": "36, 77"}
    expected |= {"dW_t": "8", "dU_t": "5", "db_t": "14", "dW": "8", "dU": "5", "db": "14", "dbn": "14"}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: trace(rs.Dense(3, 2), x), TypeError, "layer is Dense, expected RNN, LSTM or GRU"),
        (lambda x: trace(LAYERS["gru"](num_layers=2), x), ValueError, "expected one layer in one direction"),
        (lambda x: trace(LAYERS["gru"](bidirectional=True), x), ValueError, "expected one layer in one direction"),
        (lambda x: trace(LAYERS["gru"](), x[:, :, :2]), ValueError, r"x has shape \(3, 2, 2\)"),
        (lambda x: trace(LAYERS["gru"](), x, dhs=x), ValueError, r"dhs has shape \(3, 2, 3\)"),
        (lambda x: trace(LAYERS["lstm"](), x, x), TypeError, "state is ndarray"),
    ],
)
def test_wrong_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call(np.ones((3, 2, 3)))
