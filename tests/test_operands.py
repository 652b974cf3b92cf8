"""Layers, kernels and losses take what NumPy can turn into the needed array, and write into none of it.

Numbers without a dtype take on that of the parameters; an array of another dtype stays an error (design: dtype in =
dtype out).
"""

from __future__ import annotations

import array

import numpy as np
import pytest
from peers import torch

import rnnscratch as rs
from rnnscratch.kernels import activations, dense, dropout, embedding, gru, lstm, packing, pooling, rnn

LAYERS = {
    "rnn": lambda: rs.RNN(3, 4, activation="relu", seed=0),
    "lstm": lambda: rs.LSTM(3, 4, num_layers=2, seed=0),
    "gru": lambda: rs.GRU(3, 4, seed=0),
    "peephole": lambda: rs.PeepholeLSTM(3, 4, seed=0),
}


def read_only(values):
    found = values.copy()
    found.flags.writeable = False
    return found


FORMS = {
    "list": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "generator": iter,
    "objects": lambda a: a.astype(object),
    "read-only": read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "not contiguous": lambda a: np.asfortranarray(np.repeat(a, 2, axis=-1))[..., ::2],
    "masked, nothing hidden": lambda a: np.ma.masked_array(a, mask=False),
    "tensor": lambda a: torch.tensor(a),
}


def flat(value):
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in flat(part)]
    return [value]


def assert_equal(found, right):
    found, right = flat(found), flat(right)
    assert len(found) == len(right)
    for a, b in zip(found, right):
        if b is None:
            assert a is None
            continue
        assert type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
        size = float(np.abs(b).max(initial=0.0))  # BLAS has other kernels for what is not contiguous
        np.testing.assert_allclose(a, b, rtol=0, atol=4 * np.finfo(a.dtype).eps * size if a.dtype.kind == "f" else 0)


def states(layer, rng):
    drawn = [rng.standard_normal((layer.num_layers, 2, 4)).astype("f4") for _ in layer.states]
    return tuple(drawn) if len(drawn) > 1 else drawn[0]


def each(form, value):
    return tuple(form(part) for part in value) if isinstance(value, tuple) else form(value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers_take_every_form_of_every_argument(name, form, rng):
    layer, form = LAYERS[name](), FORMS[form]
    x, dhs = rng.standard_normal((5, 2, 3)).astype("f4"), rng.standard_normal((5, 2, 4)).astype("f4")
    state, dstate, lengths = states(layer, rng), states(layer, rng), np.array([5, 3])
    right = layer.forward(x, state, lengths)
    back = layer.backward(dhs, dstate)
    step = layer.step(x[0], state)
    assert_equal(layer.forward(form(x), each(form, state), form(lengths)), right)
    assert_equal(layer.backward(form(dhs), each(form, dstate)), back)
    assert_equal(layer.step(form(x[0]), each(form, state)), step)


@pytest.mark.parametrize("form", FORMS)
def test_the_other_layers_take_every_form_of_every_argument(form, rng):
    form = FORMS[form]
    ids, dx = rng.integers(0, 5, (4, 2)), rng.standard_normal((4, 2, 3)).astype("f4")
    x, dy = rng.standard_normal((4, 2, 3)).astype("f4"), rng.standard_normal((4, 2, 2)).astype("f4")
    table, affine, drop = rs.Embedding(5, 3, seed=0), rs.Dense(3, 2, seed=0), rs.Dropout(0.5, seed=0)
    drop.frozen = True
    drop.forward(x, train=True)
    model = rs.Sequential(table, rs.GRU(3, 4, seed=1), rs.Dense(4, 2, seed=2))
    calls = [(table, ids, dx), (affine, x, dy), (drop, x, x), (model, ids, dy)]
    right = [(layer.forward(given, train=True), layer.backward(upstream)) for layer, given, upstream in calls]
    found = [
        (layer.forward(form(given), train=True), layer.backward(form(upstream))) for layer, given, upstream in calls
    ]
    assert_equal(found, right)


def kernel_calls(form, rng):
    """What each kernel gives when all its arguments come in this form."""
    T, B, D, H = 5, 2, 3, 4
    x, h, lengths = rng.standard_normal((T, B, D)), rng.standard_normal((B, H)), np.array([5, 3])
    weights = [rng.standard_normal(shape) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,))]
    hs, final, cache = lstm.forward(form(x), (form(h), None), *map(form, weights), form(lengths), form(h))
    yield hs, final, lstm.backward(cache, form(hs), (None, form(h)))
    three = [array[..., : 3 * H] for array in weights]
    hs, final, cache = gru.forward(form(x), [form(h)], *map(form, three), bn=form(h[0]))
    yield hs, final, gru.backward(cache, form(hs), [form(h)])
    one = [array[..., :H] for array in weights]
    yield rnn.algorithm_1(form(x), form(h), *map(form, one), form(hs), 2)
    W, b = weights[0][:, :2], weights[2][:2]
    y, cache = dense.forward(form(x), form(W), form(b))
    yield y, dense.backward(cache, form(y))
    ids = rng.integers(0, 3, (T, B))
    rows, cache = embedding.forward(form(ids), form(weights[0]))
    yield rows, embedding.backward(cache, form(rows))
    yield dropout.forward(form(x), form(np.full((1, B, D), 2.0))), dropout.backward(form(x), form(np.ones((B, D))))
    for there, back in ((pooling.mean_forward, pooling.mean_backward), (pooling.max_forward, pooling.max_backward)):
        pooled, cache = there(form(hs), form(lengths))
        yield pooled, back(cache, form(pooled))
    yield packing.pack(form(x), form(lengths)).data, packing.reverse(form(x), form(lengths))
    for function, slope in activations.ACTIVATIONS.values():
        yield function(form(x)), slope(form(x))
    z, targets = x[:, 0], np.array([0, 1, 2, 2, 1])
    yield rs.losses.softmax_cross_entropy(form(z), form(targets)), rs.losses.softmax(form(z))
    yield (
        rs.losses.binary_cross_entropy(form(z[:, 0]), form((z[:, 1] > 0).astype(float))),
        rs.losses.log_softmax(form(z)),
    )
    yield rs.losses.mean_squared_error(form(z), form(z + 1))


@pytest.mark.parametrize("form", FORMS)
def test_kernels_take_every_form_of_every_argument(form):
    right = list(kernel_calls(lambda a: a, np.random.default_rng(0)))
    assert_equal(list(kernel_calls(FORMS[form], np.random.default_rng(0))), right)


def test_data_frames_series_and_buffers_are_arrays_too():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    layer, numbers = rs.Dense(2, 3, seed=0), np.array([[1.0, 2.0], [3.0, 4.0]], "f4")
    right = layer.forward(numbers)
    assert_equal(layer.forward(pandas.DataFrame(numbers, columns=["a", "b"])), right)
    assert_equal(layer.forward(array.array("d", [1, 2])), right[0])
    hs = rs.GRU(2, 3, seed=0).forward(numbers[:, None], lengths=pandas.Series([2], index=[7]))[0]
    assert_equal(rs.GRU(2, 3, seed=0).forward(numbers[:, None])[0], hs)


def test_numbers_without_a_dtype_take_on_that_of_the_parameters_and_arrays_keep_theirs():
    for dtype in ("float32", "float64"):
        assert rs.Dense(2, 2, dtype=dtype, seed=0).forward([[1, 2]]).dtype == dtype
        assert rs.GRU(2, 2, dtype=dtype, seed=0).step([[1, 2]])[0].dtype == dtype
    assert rs.losses.softmax([1, 2]).dtype == rs.losses.softmax(np.array([1, 2])).dtype == np.float64
    for wrong in (np.ones((1, 2)), np.ones((1, 2), int), [[1j, 1]]):
        with pytest.raises((TypeError, ValueError), match="x has dtype"):
            rs.Dense(2, 2, seed=0).forward(wrong)
    with pytest.raises(TypeError, match="x has dtype float32, expected float64"):
        dense.forward(np.ones((1, 2), "f4"), np.ones((2, 2)), np.ones(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rs.losses.softmax({"a": 1.0}), "logits is dict"),
        (lambda: rs.losses.softmax(np.ones(3, "f2")), "logits's dtype is float16"),
        (lambda: rs.losses.softmax_cross_entropy([[1.0, 2.0]], ["b"]), "targets has dtype <U1"),
        (lambda: rs.losses.mean_squared_error([1.0, None], [1.0, 2.0]), r"outputs\[1\] is missing"),
        (lambda: embedding.forward([0, -1], np.ones((3, 2))), r"ids\[1\] is -1"),
        (lambda: embedding.forward([0.5], np.ones((3, 2))), "ids has dtype float64"),
        (lambda: dense.forward([[1.0]], np.ones((3, 2)), np.ones(2)), r"x has shape \(1, 1\), expected \(1, 3\)"),
        (lambda: dropout.forward(np.ones(3), np.ones(2)), "mask has shape .* does not broadcast"),
        (lambda: dropout.draw_mask((2,), "half", np.random.default_rng(0), "f4"), "rate is 'half'"),
        (lambda: pooling.mean_forward(np.ones((3, 2, 1)), [3, 4]), r"lengths\[1\] is 4"),
        (lambda: pooling.max_forward(np.ones((3, 2))), r"hs has shape \(3, 2\)"),
        (lambda: packing.pack(np.ones(3)), r"x has shape \(3,\)"),
        (lambda: packing.reverse(np.ones((3, 2)), [0, 1]), r"lengths\[0\] is 0"),
        (lambda: rnn.algorithm_1(np.ones((3, 2, 1)), None, [[1.0]], [[1.0]], [0.0], [[[1.0]]]), "dhs has shape"),
        (lambda: rnn.algorithm_1(np.ones((3, 2, 1)), None, [[1.0]], [[1.0]], [0.0], np.ones((3, 2, 1)), -1), "steps"),
        (lambda: lstm.forward(np.ones((2, 1, 1)), np.ones((1, 1)), *[[[1.0] * 4]] * 2, [0.0] * 4), "state is ndarray"),
    ],
)
def test_what_is_none_is_refused_by_name(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_no_call_writes_into_what_it_is_given():
    """Everything that is given is read-only, and stays as it is."""
    given = []

    def watched(values):
        given.append((read_only(values), values.copy()))
        return given[-1][0]

    list(kernel_calls(watched, np.random.default_rng(0)))
    assert len(given) > 40
    for now, before in given:
        np.testing.assert_array_equal(now, before)
