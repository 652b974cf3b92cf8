"""Where gradients go: every view of them adds up to the gradient of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
from small_layers import LAYERS, draw

import rnnscratch as rs
from rnnscratch.teach import flow, trace

CLOSE = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


def test_contributions_add_up_to_the_gradient(layer):
    x, _, dhs, _ = draw(layer, T=5)
    layer.forward(x)
    layer.backward(dhs)
    for name, gradient in layer.grads.items():
        parts = flow.contributions(layer, x, dhs=dhs, name=name)
        assert parts.shape == (5, 5, *gradient.shape)
        np.testing.assert_allclose(parts.sum(axis=(0, 1)), gradient, **CLOSE)
        assert not parts[np.triu_indices(5, 1)].any()
        layer.backward(dhs, truncate=1)  # the chain cut at every step: what is left are the immediate terms
        np.testing.assert_allclose(parts[np.arange(5), np.arange(5)].sum(axis=0), layer.grads[name], **CLOSE)
        layer.backward(dhs)


def test_jacobians_carry_gradients_as_the_kernels_do(layer):
    x, state, _, dstate = draw(layer, T=4, B=1)
    J = flow.jacobians(layer, x, state)
    letters = len(layer.states)
    layer.forward(x, state)
    _, dinitial = layer.backward(None, dstate)
    flat = [np.concatenate([part[0] for part in (s if letters > 1 else [s])], axis=1)[0] for s in (dstate, dinitial)]
    np.testing.assert_allclose(flat[0] @ J[4, 0], flat[1], **CLOSE)
    np.testing.assert_allclose(J[4, 2] @ J[2, 1], J[4, 1], **CLOSE)
    np.testing.assert_array_equal(J[1, 3], 0)
    values = flow.singular_values(layer, x, state)
    np.testing.assert_allclose(values[3, 1, 0], np.linalg.norm(J[3, 1], 2), rtol=1e-12)
    np.testing.assert_allclose(values[2, 2], 1.0)


def test_jacobians_agree_with_the_complex_step(layer):
    x, state, _, _ = draw(layer, T=3, B=1)
    if getattr(layer, "activation", "") == "relu":
        pytest.skip("relu is not analytic; its Jacobian is compared with the backward kernel above")
    found = flow.jacobians(layer, x, state)[3, 0]
    letters, H = len(layer.states), layer.hidden_size
    for name in layer.params:
        layer.params[name] = layer.params[name].astype(complex)
    for column in range(letters * H):
        parts = [part.astype(complex) for part in (state if letters > 1 else [state])]
        parts[column // H][0, 0, column % H] += 1e-200j
        _, after = layer.forward(x.astype(complex), tuple(parts) if letters > 1 else parts[0])
        moved = np.concatenate([part[0, 0] for part in (after if letters > 1 else [after])]).imag / 1e-200
        np.testing.assert_allclose(found[:, column], moved, **CLOSE)


def test_the_order_of_arguments_is_that_of_the_trace_and_what_is_left_out_is_0_and_1(layer):
    x, state, dhs, _ = draw(layer, T=4, B=1)
    ones = np.ones_like(dhs)
    zeros = np.zeros_like(state) if len(layer.states) == 1 else tuple(map(np.zeros_like, state))
    calls = [flow.contributions, lambda *a: flow.checkpointed(*a)[0]]
    calls += [] if getattr(layer, "activation", "") == "relu" else [lambda *a: flow.rtrl(*a)["U_l0"]]
    for call in calls:
        np.testing.assert_array_equal(call(layer, x), call(layer, x, zeros, ones))
        assert np.abs(call(layer, x, state, dhs) - call(layer, x)).max() > 1e-3
    trace_of = trace(layer, x, state, dhs)
    np.testing.assert_allclose(flow.checkpointed(layer, x, state, dhs)[0], trace_of.dx, **CLOSE)
    last = np.zeros_like(dhs)
    last[-1] = dhs[-1]
    by_lag = [np.linalg.norm(row) for row in trace(layer, x, state, last)["dx"][::-1]]
    np.testing.assert_allclose(flow.gradient_by_lag(layer, x, state, dhs[-1]), by_lag, **CLOSE)
    gate = layer.gates[0]
    if getattr(layer, "activation", "") != "relu":
        values, low = trace_of[gate], -0.8 if gate == "h" and layer.activation == "tanh" else 0.1
        assert flow.saturation(layer, x, state)[gate][0] == (values < low).mean()


def test_one_unit_takes_numbers_and_lists():
    layer = rs.RNN(1, 1, dtype="float64", seed=0)
    found = flow.contributions(layer, [0.5, -1.0, 2.0], 0.3, [0, 0, 1])
    assert found.shape == (3, 3, 1, 1) and np.count_nonzero(found) == 3
    layer.forward(np.reshape([0.5, -1.0, 2.0], (3, 1, 1)), np.full((1, 1, 1), 0.3))
    layer.backward(np.reshape([0.0, 0.0, 1.0], (3, 1, 1)))
    np.testing.assert_allclose(found.sum(), layer.grads["U_l0"].item(), rtol=1e-13)


def test_gradient_by_lag_is_what_the_last_state_sends_back(layer):
    x, _, _, _ = draw(layer, T=6)
    dh = np.random.default_rng(1).standard_normal((2, layer.hidden_size))
    found = flow.gradient_by_lag(layer, x, dh=dh)
    last = np.zeros((6, 2, layer.hidden_size))
    last[-1] = dh
    steps = trace(layer, x, dhs=last)
    expected = [np.linalg.norm(steps["dx", t], axis=1).mean() for t in range(6, 0, -1)]
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_the_direct_path_is_the_product_of_forget_gates_and_only_a_part():
    layer = LAYERS["lstm"]()
    x, state, _, _ = draw(layer, T=4, B=1)
    direct, total = flow.direct_path(layer, x, state)
    steps = trace(layer, x, state)
    np.testing.assert_allclose(direct[3, 1], steps["f", 2][0] * steps["f", 3][0], rtol=1e-13)
    np.testing.assert_allclose(total[2, 2], 1.0)
    assert np.abs(total[4, 0] - direct[4, 0]).max() > 1e-3
    layer.params["U_l0"][...] = 0  # without U the gates do not see h: the direct path is the only one
    direct, total = flow.direct_path(layer, x, state)
    np.testing.assert_allclose(direct, total, **CLOSE)
    with pytest.raises(TypeError, match="layer is GRU, expected LSTM"):
        flow.direct_path(LAYERS["gru"](), x)


def test_the_error_of_truncation_is_0_for_the_whole_length(layer):
    x, state, dhs, _ = draw(layer, T=8)
    errors = flow.truncation_error(layer, x, state, dhs, [1, 2, 4, 8])
    assert errors[3] == 0 and errors[0] > 1e-3
    parts = flow.contributions(layer, x, state, dhs)
    np.testing.assert_allclose(
        errors[0], np.linalg.norm(parts[np.tril_indices(8, -1)].sum(axis=0)) / np.linalg.norm(parts.sum(axis=(0, 1)))
    )


def test_saturation_counts_gates_at_their_limits():
    layer = LAYERS["lstm"]()
    x = draw(layer)[0]
    layer.gate("b_l0", "f")[...] = 50.0
    layer.gate("b_l0", "g")[...] = -50.0
    found = flow.saturation(layer, x)
    assert found["f"] == (0.0, 1.0) and found["g"] == (1.0, 0.0)
    values = np.stack([trace(layer, x)["i", t] for t in (1, 2, 3)])
    assert found["i"] == ((values < 0.1).mean(), (values > 0.9).mean())
    gru = flow.saturation(LAYERS["gru"](), x, margin=0.4)
    z = np.stack([trace(LAYERS["gru"](), x)["z", t] for t in (1, 2, 3)])
    assert gru["z"] == ((z < 0.4).mean(), (z > 0.6).mean())
    with pytest.raises(ValueError, match="margin is 0.6"):
        flow.saturation(layer, x, margin=0.6)


def test_real_time_recurrent_learning_finds_the_same_gradients(layer):
    if getattr(layer, "activation", "") == "relu":
        pytest.skip("relu is not analytic, and this way of differentiating needs that")
    x, state, dhs, _ = draw(layer, T=4)
    found = flow.rtrl(layer, x, state, dhs)
    layer.forward(x, state)
    layer.backward(dhs)
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-13)


def test_the_single_path_of_eq_4_is_one_term_of_two():
    """Eqs 4, 7, 13 follow W, U and b_h through h_1 alone; the gradient of L_2 has their use at step 2 as well."""
    layer = LAYERS["rnn tanh"]()
    x, state, dhs, _ = draw(layer, T=2)
    dhs[0] = 0.0
    layer.forward(x, state)
    layer.backward(dhs)
    for name, gradient in layer.grads.items():
        parts = flow.contributions(layer, x, state, dhs, name)
        np.testing.assert_allclose(parts[1, 0] + parts[1, 1], gradient, rtol=1e-12, atol=1e-14)
        assert np.abs(parts[1, 0] - gradient).max() > 1e-2 * np.abs(gradient).max()


@pytest.mark.parametrize("segment", [None, 1, 3, 100])
def test_checkpointing_changes_no_gradient(layer, segment):
    x, state, dhs, _ = draw(layer, T=10)
    dx, dstate, gradients = flow.checkpointed(layer, x, state, dhs, segment)
    layer.forward(x, state)
    expected_dx, expected_dstate = layer.backward(dhs)
    np.testing.assert_allclose(dx, expected_dx, **CLOSE)
    np.testing.assert_allclose(np.asarray(dstate), np.asarray(expected_dstate), **CLOSE)
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(gradients[name], gradient, **CLOSE)


def test_checkpointing_saves_memory():
    layer = LAYERS["lstm"]()
    x = np.random.default_rng(0).standard_normal((900, 16, 3))
    rows = flow.checkpoint_curve(layer, x, [30, 900])
    assert rows[0]["peak_bytes"] < 0.6 * rows[1]["peak_bytes"]
    assert all(row["seconds"] > 0 for row in rows)


def test_nothing_is_left_changed(layer):
    x, state, dhs, _ = draw(layer, T=4, B=1)
    layer.forward(x, state)
    layer.backward(dhs)
    params = {name: array.copy() for name, array in layer.params.items()}
    grads = {name: array.copy() for name, array in layer.grads.items()}
    flow.jacobians(layer, x, state)
    flow.truncation_error(layer, x, None, dhs, [1])
    flow.checkpointed(layer, x, state, dhs, 2)
    flow.gradient_by_lag(layer, x)
    flow.rtrl(layer, x, state, dhs)
    for name in params:
        np.testing.assert_array_equal(layer.params[name], params[name])
        np.testing.assert_array_equal(layer.grads[name], grads[name])


def test_wrong_input_is_named(layer):
    x = np.ones((3, 2, 3))
    with pytest.raises(ValueError, match=r"x has shape \(3, 2, 3\), expected \(T, 1, D\)"):
        flow.jacobians(layer, x)
    with pytest.raises(ValueError, match="name is 'V', expected one of 'W_l0'"):
        flow.contributions(layer, x, name="V")
    with pytest.raises(ValueError, match="segment is 0, expected at least 1"):
        flow.checkpointed(layer, x, segment=0)


def test_saturation_of_a_sigmoid_network_counts_from_0_and_1():
    layer = rs.RNN(1, 2, activation="sigmoid", dtype="float64", seed=0)
    layer.params["b_l0"][...] = [-20.0, 20.0]
    assert flow.saturation(layer, np.zeros((3, 1, 1))) == {"h": (0.5, 0.5)}
    with pytest.raises(ValueError, match="activation 'relu', expected one with limits"):
        flow.saturation(rs.RNN(1, 2, activation="relu", seed=0), np.zeros((3, 1, 1), np.float32))


@pytest.mark.parametrize("kind", [rs.RNN, rs.LSTM, rs.GRU])
def test_lists_are_taken_as_arrays_are_and_nothing_is_written_into(kind, rng):
    layer = kind(2, 3, dtype="float64", seed=0)
    x, dhs, many = rng.standard_normal((4, 1, 2)), rng.standard_normal((4, 1, 3)), rng.standard_normal((1, 1, 3))
    state = many if len(layer.states) == 1 else (many, many)
    for array in (x, dhs, many):
        array.flags.writeable = False
    lists = x.tolist(), dhs.tolist(), many.tolist() if len(layer.states) == 1 else (many.tolist(), many.tolist())

    def all_of(x, dhs, state):
        yield flow.contributions(layer, x, state, dhs, "W_l0")
        yield flow.singular_values(layer, x, state)
        yield flow.gradient_by_lag(layer, x, state, dhs[-1])
        yield flow.truncation_error(layer, x, state, dhs, [1, 2])
        yield flow.rtrl(layer, x, state, dhs)["U_l0"]
        yield flow.checkpointed(layer, x, state, dhs, 2)[0]
        yield np.array(list(flow.saturation(layer, x, state).values()))
        if kind is rs.LSTM:
            yield from flow.direct_path(layer, x, state)

    for found, right in zip(all_of(*lists), all_of(x, dhs, state), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    "call",
    [
        lambda layer: flow.contributions(layer, X),
        lambda layer: flow.step_jacobians(layer, X),
        lambda layer: flow.gradient_by_lag(layer, X),
        lambda layer: flow.truncation_error(layer, X, None, X, [1]),
        lambda layer: flow.saturation(layer, X),
        lambda layer: flow.rtrl(layer, X, None, X),
        lambda layer: flow.checkpointed(layer, X, None, X),
        lambda layer: flow.checkpoint_curve(layer, X, [1]),
    ],
)
def test_layers_for_which_the_figures_would_mean_nothing_are_refused(call):
    for layer in (rs.GRU(2, 2, bidirectional=True, seed=0), rs.GRU(2, 2, num_layers=2, seed=0)):
        with pytest.raises(ValueError, match="expected one layer in one direction"):
            call(layer)
    with pytest.raises(TypeError, match="layer is Dense, expected RNN, LSTM or GRU"):
        call(rs.Dense(2, 2, seed=0))


X = np.ones((3, 1, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda layer: flow.gradient_by_lag(layer, X, None, np.ones((2, 1), "f4")),
            r"dh has shape \(2, 1\), expected \(1, 2\)",
        ),
        (lambda layer: flow.rtrl(layer, X, None, X[:2]), r"dhs has shape \(2, 1, 2\)"),
        (lambda layer: flow.rtrl(layer, X, np.ones((1, 2, 2), "f4"), X), "state has shape"),
        (lambda layer: flow.contributions(layer, {"x": 1}), "x is dict"),
        (lambda layer: flow.truncation_error(layer, X, None, X, [1], "V"), "name is 'V'"),
        (lambda layer: flow.saturation(layer, X, None, float("nan")), "margin is nan"),
    ],
)
def test_arrays_that_do_not_fit_are_named(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(rs.GRU(2, 2, seed=0))
