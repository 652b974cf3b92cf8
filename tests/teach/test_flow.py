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
        parts = flow.contributions(layer, x, dhs, name)
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


def test_gradient_by_lag_is_what_the_last_state_sends_back(layer):
    x, _, _, _ = draw(layer, T=6)
    dh = np.random.default_rng(1).standard_normal((2, layer.hidden_size))
    found = flow.gradient_by_lag(layer, x, dh)
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
    x, _, dhs, _ = draw(layer, T=8)
    errors = flow.truncation_error(layer, x, dhs, [1, 2, 4, 8])
    assert errors[3] == 0 and errors[0] > 1e-3
    parts = flow.contributions(layer, x, dhs)
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
        flow.saturation(layer, x, 0.6)


def test_real_time_recurrent_learning_finds_the_same_gradients(layer):
    if getattr(layer, "activation", "") == "relu":
        pytest.skip("relu is not analytic, and this way of differentiating needs that")
    x, state, dhs, _ = draw(layer, T=4)
    found = flow.rtrl(layer, x, dhs, state)
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
        parts = flow.contributions(layer, x, dhs, name, state)
        np.testing.assert_allclose(parts[1, 0] + parts[1, 1], gradient, rtol=1e-12, atol=1e-14)
        assert np.abs(parts[1, 0] - gradient).max() > 1e-2 * np.abs(gradient).max()


@pytest.mark.parametrize("segment", [None, 1, 3, 100])
def test_checkpointing_changes_no_gradient(layer, segment):
    x, state, dhs, _ = draw(layer, T=10)
    dx, dstate, gradients = flow.checkpointed(layer, x, dhs, segment, state)
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
    flow.truncation_error(layer, x, dhs, [1])
    flow.checkpointed(layer, x, dhs, 2)
    flow.gradient_by_lag(layer, x)
    flow.rtrl(layer, x, dhs)
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
        flow.checkpointed(layer, x, np.ones((3, 2, 2)), 0)


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
        yield flow.contributions(layer, x, dhs, "W_l0", state)
        yield flow.singular_values(layer, x, state)
        yield flow.gradient_by_lag(layer, x, dhs[-1])
        yield flow.truncation_error(layer, x, dhs, [1, 2])
        yield flow.rtrl(layer, x, dhs, state)["U_l0"]
        yield flow.checkpointed(layer, x, dhs, 2, state)[0]
        yield np.array(list(flow.saturation(layer, x).values()))
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
        lambda layer: flow.truncation_error(layer, X, X, [1]),
        lambda layer: flow.saturation(layer, X),
        lambda layer: flow.rtrl(layer, X, X),
        lambda layer: flow.checkpointed(layer, X, X),
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
            lambda layer: flow.gradient_by_lag(layer, X, np.ones((2, 1), "f4")),
            r"dh has shape \(2, 1\), expected \(1, 2\)",
        ),
        (lambda layer: flow.rtrl(layer, X, X[:2]), r"dhs has shape \(2, 1, 2\)"),
        (lambda layer: flow.rtrl(layer, X, X, np.ones((1, 2, 2), "f4")), "state has shape"),
        (lambda layer: flow.contributions(layer, {"x": 1}), "x is dict"),
        (lambda layer: flow.truncation_error(layer, X, X, [1], "V"), "name is 'V'"),
        (lambda layer: flow.saturation(layer, X, float("nan")), "margin is nan"),
    ],
)
def test_arrays_that_do_not_fit_are_named(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(rs.GRU(2, 2, seed=0))
