"""Keras' layers and lists of weights, against Keras 3 where it is installed, and against its equations written out."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnscratch as rs
from rnnscratch.interchange import from_keras, to_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
sizes = st.integers(1, 4)
cases = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["rnn", "lstm", "gru"]),
        "D": sizes,
        "H": sizes,
        "T": sizes,
        "B": sizes,
        "bias": st.booleans(),
        "reset_after": st.booleans(),
        "bidirectional": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def keras_steps(kind, weights, x, reset_after):
    """What one Keras layer returns for x (T, B, D), by the equations of its documentation and sources."""
    W, U = weights[:2]
    H = U.shape[0]
    bias = weights[2] if len(weights) > 2 else np.zeros((2, 3 * H) if kind == "gru" and reset_after else W.shape[1])
    h = c = np.zeros((x.shape[1], H))
    found = []
    for x_t in x:
        if kind == "rnn":
            h = np.tanh(x_t @ W + h @ U + bias)
        elif kind == "lstm":
            i, f, g, o = np.split(x_t @ W + h @ U + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif reset_after:
            z, r, n = np.split(x_t @ W + bias[0], 3, axis=1)
            z_h, r_h, n_h = np.split(h @ U + bias[1], 3, axis=1)
            z = sigmoid(z + z_h)
            h = z * h + (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h)
        else:
            z, r, n = np.split(x_t @ W + bias, 3, axis=1)
            z, r = sigmoid(z + h @ U[:, :H]), sigmoid(r + h @ U[:, H : 2 * H])
            h = z * h + (1 - z) * np.tanh(n + (r * h) @ U[:, 2 * H :])
        found.append(h)
    return np.stack(found)


def weights_of(case, rng):
    G = {"rnn": 1, "lstm": 4, "gru": 3}[case["kind"]]
    shapes = [(case["D"], G * case["H"]), (case["H"], G * case["H"])]
    if case["bias"] or not case["reset_after"]:
        shapes.append((2, G * case["H"]) if case["kind"] == "gru" and case["reset_after"] else (G * case["H"],))
    return [rng.standard_normal(shape) for shape in shapes * (1 + case["bidirectional"])]


@settings(max_examples=80, deadline=None)
@given(case=cases)
def test_a_list_of_weights_gives_what_keras_equations_give_and_comes_back(case):
    rng = np.random.default_rng(case["seed"])
    weights, x = weights_of(case, rng), rng.standard_normal((case["T"], case["B"], case["D"]))
    layer = from_keras(weights, case["kind"], case["bidirectional"])
    half = len(weights) // 2 if case["bidirectional"] else len(weights)
    right = keras_steps(case["kind"], weights[:half], x, case["reset_after"])
    if case["bidirectional"]:
        back = keras_steps(case["kind"], weights[half:], x[::-1], case["reset_after"])[::-1]
        right = np.concatenate([right, back], axis=2)
    np.testing.assert_allclose(layer.forward(x)[0], right, rtol=1e-12, atol=1e-13)
    again = from_keras(to_keras(layer), case["kind"], case["bidirectional"])
    assert again.config() == layer.config()
    for name, array in layer.params.items():
        np.testing.assert_allclose(again.params[name], array, rtol=1e-15)
    if len(weights) % 3 == 0 and case["kind"] != "gru":
        for ours, theirs in zip(to_keras(layer), weights):
            np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports
        keras = pytest.importorskip("keras", reason="Keras 3 comes with the test extra, as independent oracle")
    keras.config.set_floatx("float64")
    yield keras
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "GRU before"])
def test_layers_of_keras_give_the_same(keras, kind, bidirectional, rng):
    options = {"reset_after": False} if kind == "GRU before" else {}
    loop = kind in ("SimpleRNN", "GRU before")  # whose loop on PyTorch's backend is right to single precision alone
    rtol, atol = (1e-4, 1e-6) if loop else (1e-12, 1e-13)
    layer = getattr(keras.layers, kind.split()[0])(4, return_sequences=True, dtype="float64", **options)
    layer = keras.layers.Bidirectional(layer, dtype="float64") if bidirectional else layer
    x = rng.standard_normal((5, 2, 3))
    layer(x.swapaxes(0, 1))
    layer.set_weights([rng.standard_normal(array.shape) for array in layer.get_weights()])
    theirs = keras.ops.convert_to_numpy(layer(x.swapaxes(0, 1))).swapaxes(0, 1)
    ours = from_keras(layer)
    np.testing.assert_allclose(ours.forward(x)[0], theirs, rtol=rtol, atol=atol)
    for array in ours.params.values():
        array[...] = rng.standard_normal(array.shape)
    layer.set_weights(to_keras(ours))
    theirs = keras.ops.convert_to_numpy(layer(x.swapaxes(0, 1))).swapaxes(0, 1)
    np.testing.assert_allclose(ours.forward(x)[0], theirs, rtol=rtol, atol=atol)


def test_embedding_and_dense_of_keras(keras, rng):
    table, dense = keras.layers.Embedding(7, 3, dtype="float32"), keras.layers.Dense(5, dtype="float32")
    ids, x = rng.integers(0, 7, (2, 4)), rng.standard_normal((2, 3)).astype("f4")
    wanted = keras.ops.convert_to_numpy(table(ids))
    np.testing.assert_array_equal(from_keras(table).forward(ids), wanted)
    wanted = keras.ops.convert_to_numpy(dense(x))
    np.testing.assert_allclose(from_keras(dense).forward(x), wanted, rtol=1e-5, atol=1e-6)
    for layer in (from_keras(table), from_keras(dense)):
        kind = type(layer).__name__.lower()
        for name, array in layer.params.items():
            np.testing.assert_array_equal(from_keras(to_keras(layer), kind).params[name], array)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda layers: layers.LSTM(2, go_backwards=True), "go_backwards is True"),
        (lambda layers: layers.LSTM(2, recurrent_activation="hard_sigmoid"), "recurrent_activation is 'hard_sigmoid'"),
        (lambda layers: layers.GRU(2, activation="relu"), "activation is 'relu', expected tanh of a GRU"),
        (lambda layers: layers.Dense(2, activation="relu"), "activation is 'relu', expected linear of a Dense"),
        (lambda layers: layers.Bidirectional(layers.LSTM(2), merge_mode="sum"), "merge_mode is 'sum'"),
        (lambda layers: layers.Flatten(), "weights is a Keras Flatten"),
    ],
)
def test_layers_of_keras_without_an_equal_are_refused(keras, made, message):
    layer = made(keras.layers)
    with pytest.raises((ValueError, TypeError), match=message):
        from_keras(layer)


F8 = np.ones
REFUSED = [
    (lambda: from_keras([]), "kind is None, expected"),
    (lambda: from_keras([], "lstm"), "weights is empty"),
    (lambda: from_keras([F8((3, 8)), F8((2, 8))] * 2, "lstm"), "holds 4 arrays, expected 2 or 3 of a lstm"),
    (lambda: from_keras([F8((3, 8)), F8((2, 9))], "lstm"), r"expected \(D, 4H\) and \(H, 4H\)"),
    (lambda: from_keras([F8((3, 8)), F8((2, 8)), F8(7)], "lstm"), r"the bias has shape \(7,\), expected \(8,\)"),
    (lambda: from_keras([F8((3, 2)), F8((2, 2)), F8(2)], "rnn", True), "holds 3 arrays, expected 4 or 6"),
    (
        lambda: from_keras([F8((3, 2)), F8((2, 2)), F8(2), F8((4, 2)), F8((2, 2)), F8(2)], "rnn", True),
        r"weights\[3\] has shape \(4, 2\), expected \(3, 2\)",
    ),
    (lambda: from_keras([F8((3, 2, 1))], "embedding"), r"expected \[\(V, E\)\]"),
    (lambda: from_keras([F8((3, 2)), F8(3)], "dense"), r"b has shape \(3,\), expected \(2,\)"),
    (lambda: from_keras([np.ones((3, 2), "f4"), F8(2)], "dense"), "dtypes float32, float64"),
    (lambda: to_keras(rs.LSTM(2, 2, 2, seed=0)), "num_layers is 2, but a Keras layer is one"),
    (lambda: to_keras(rs.PeepholeLSTM(2, 2, seed=0)), "Keras' LSTM has no peepholes"),
    (lambda: to_keras(rs.Dropout(0.5)), "layer is Dropout"),
]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_wrong_weights_are_named(k):
    call, message = REFUSED[k]
    with pytest.raises((ValueError, TypeError), match=message):
        call()
