"""Calls: a result with its own way back, several in one pass, one step at a time, from threads, and without a trace."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch.kernels.packing import pack

LAYERS = {
    "rnn": rs.RNN,
    "lstm": rs.LSTM,
    "gru": rs.GRU,
    "gru after": lambda *a, **o: rs.GRU(*a, reset_after=True, **o),
    "peephole": rs.PeepholeLSTM,
    "layer_norm": rs.LayerNormLSTM,
}


def make(name, *sizes, **options):
    layer = LAYERS[name](*(sizes or (3, 4)), dtype="float64", seed=0, **options)
    rng = np.random.default_rng(5)
    for array in layer.params.values():
        array += 0.3 * rng.standard_normal(array.shape)
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_two_calls_in_one_pass_add_up_and_the_next_pass_starts_from_zero(name, rng):
    layer = make(name)
    inputs = [rng.standard_normal((T, 2, 3)) for T in (4, 6)]
    upstreams = [rng.standard_normal((T, 2, 4)) for T in (4, 6)]
    alone = []
    for x, dhs in zip(inputs, upstreams):
        layer.forward(x)
        dx, _ = layer.backward(dhs)
        alone.append((dx, {key: grad.copy() for key, grad in layer.grads.items()}))
    for _ in range(2):  # the second pass starts from zero
        backs = [layer.call(x)[1] for x in inputs]
        for back, dhs, (dx, _) in reversed(list(zip(backs, upstreams, alone))):  # in any order
            assert np.array_equal(back(dhs)[0], dx)
        for key, grad in layer.grads.items():
            np.testing.assert_allclose(grad, alone[0][1][key] + alone[1][1][key], rtol=1e-12, atol=1e-14)


def test_embedding_and_dense_that_are_used_twice_get_the_sum_of_both_gradients(rng):
    embedding, dense = rs.Embedding(5, 3, dtype="float64", seed=0), rs.Dense(3, 2, dtype="float64", seed=1)
    ids = [np.array([[1, 4], [1, 1]]), np.array([[0, 1]])]
    expected = {}
    backs = []
    for each in ids:
        x, to_ids = embedding.call(each)
        y, to_x = dense.call(x)
        backs.append((to_ids, to_x, rng.standard_normal(y.shape)))
    for (to_ids, to_x, dy), each in zip(backs, ids):
        to_ids(to_x(dy))
        rows, dx = embedding.params["E"][each].reshape(-1, 3), (dy @ dense.params["W"].T).reshape(-1, 3)
        dE = np.zeros((5, 3))
        np.add.at(dE, each.ravel(), dx)
        parts = {"W": rows.T @ dy.reshape(-1, 2), "b": dy.reshape(-1, 2).sum(axis=0), "E": dE}
        expected = {key: expected.get(key, 0) + part for key, part in parts.items()}
    for key, right in expected.items():
        found = embedding.grads["E"] if key == "E" else dense.grads[key]
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_one_step_at_a_time_equals_the_whole_sequence(name, layers, rng):
    layer = make(name, 3, 4, layers)
    x = rng.standard_normal((6, 2, 3))
    start = tuple(rng.standard_normal((layers, 2, 4)) for _ in layer.states)
    start = start if len(start) > 1 else start[0]
    hs, final = layer.forward(x, start)
    state = start
    for t in range(6):
        h, state = layer.step(x[t], state)
        np.testing.assert_allclose(h, hs[t], rtol=1e-12, atol=1e-14)
    for found, right in zip(np.stack(state), np.stack(final)):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layer.step(x[0])[0], layer.forward(x[:1])[0][0], rtol=1e-12, atol=1e-14)


def test_what_cannot_be_stepped_is_named(rng):
    with pytest.raises(ValueError, match="bidirectional"):
        make("gru", bidirectional=True).step(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"x has shape \(5, 2, 3\), expected \(B, 3\)"):
        make("gru").step(np.zeros((5, 2, 3)))
    with pytest.raises(TypeError, match="x has dtype float32"):
        make("gru").step(np.zeros((2, 3), "f4"))
    with pytest.raises(ValueError, match=r"state c has shape \(1, 3, 4\)"):
        make("lstm").step(np.zeros((2, 3)), (np.zeros((1, 2, 4)), np.zeros((1, 3, 4))))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_packed_inputs_give_packed_results_and_the_same_numbers(name, bidirectional, rng):
    layer = make(name, 3, 4, 2, bidirectional)
    x, lengths = rng.standard_normal((5, 3, 3)), [2, 5, 4]
    dhs = rng.standard_normal((5, 3, 4 * (1 + bidirectional)))
    hs, _ = layer.forward(x, lengths=lengths)
    dx, _ = layer.backward(dhs)
    right = {key: grad.copy() for key, grad in layer.grads.items()}
    packed = pack(x, lengths)
    (hs_packed, _), back = layer.call(packed)
    assert np.array_equal(packed.plan.unpack(hs_packed.data), hs)
    dx_packed, _ = back(pack(dhs, packed.plan))
    assert np.array_equal(packed.plan.unpack(dx_packed.data), dx)
    assert all(np.array_equal(layer.grads[key], right[key]) for key in right)
    with pytest.raises(ValueError, match="lengths is given, but x is packed"):
        layer.call(packed, lengths=lengths)


def test_calls_from_several_threads_do_not_disturb_each_other(rng):
    layer = make("lstm", 8, 16, bidirectional=True)
    inputs = [rng.standard_normal((30, 4, 8)) for _ in range(16)]
    upstreams = [rng.standard_normal((30, 4, 32)) for _ in range(16)]
    right = [layer.forward(x)[0].copy() for x in inputs]
    backs = [layer.call(x)[1] for x in inputs]
    dx = [back(dhs)[0] for back, dhs in zip(backs, upstreams)]
    total = {key: grad.copy() for key, grad in layer.grads.items()}
    with ThreadPoolExecutor(4) as pool:
        calls = list(pool.map(layer.call, inputs))
        found = list(pool.map(lambda pair: pair[0][1](pair[1])[0], zip(calls, upstreams)))
    assert all(np.array_equal(hs, expected) for ((hs, _), _), expected in zip(calls, right))
    assert all(np.array_equal(one, other) for one, other in zip(found, dx))
    for key, grad in layer.grads.items():
        np.testing.assert_allclose(grad, total[key], rtol=1e-11, atol=1e-12)


def test_a_pickled_or_copied_layer_carries_no_cache(rng):
    layer = rs.LSTM(8, 8, seed=0)
    fresh = len(pickle.dumps(layer))
    layer.forward(rng.standard_normal((200, 64, 8)).astype("f4"))
    assert len(pickle.dumps(layer)) < fresh + 100
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        with pytest.raises(RuntimeError, match="before forward"):
            twin.backward()
        x = np.ones((3, 2, 8), np.float32)
        assert np.array_equal(twin.forward(x)[0], layer.forward(x)[0])


def test_a_call_that_keeps_nothing_has_no_way_back_and_leaves_the_last_forward_alone(rng):
    layer = make("gru")
    x, dhs = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 4))
    hs, _ = layer.forward(x)
    dx, _ = layer.backward(dhs)
    (light, _), back = layer.call(rng.standard_normal((9, 5, 3)), keep=False)
    assert back is None and light.shape == (9, 5, 4)
    (again, _), _ = layer.call(x, keep=False)
    assert np.array_equal(again, hs)
    assert np.array_equal(layer.backward(dhs)[0], dx)


def test_prediction_at_256_needs_less_memory_than_training_at_64():
    model = rs.SequenceClassifier(1000, 64, 48, bidirectional=True, pooling="mean", seed=0)

    def peak(function):
        function()
        tracemalloc.start()
        function()
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    def train():
        logits = model.forward(np.ones((100, 64), int), train=True)
        model.backward(model.loss(logits, np.zeros(64, int))[1])

    predicting = peak(lambda: model.call(np.ones((100, 256), int), keep=False))
    assert predicting < peak(train)
