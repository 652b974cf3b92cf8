"""Layers against PyTorch, the complex step, and their own contracts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch import layers
from rnnscratch.gradcheck import check_gradients
from rnnscratch.kernels import sequence
from rnnscratch.layers import (
    GRU,
    LSTM,
    RNN,
    Attention,
    Dense,
    Dropout,
    Embedding,
    LayerNormLSTM,
    PeepholeLSTM,
    Sequential,
)

CELLS = {
    "rnn tanh": (RNN, {}),
    "rnn relu": (RNN, {"activation": "relu"}),
    "rnn sigmoid": (RNN, {"activation": "sigmoid"}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru reset_after": (GRU, {"reset_after": True}),
}
NAMES = list(CELLS)
TORCH_GATES = {"rnn tanh": "h", "rnn relu": "h", "lstm": "ifgo", "gru reset_after": "rzn"}


def make(name, D, H, rng, dtype="float64", **options):
    """A layer whose parameters are all random, biases included."""
    cls, extra = CELLS[name]
    layer = cls(D, H, dtype=dtype, seed=rng, **extra, **options)
    for array in layer.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.6
    return layer


def draw(layer, T, B, rng):
    """x, an initial state, and gradients of hs and of the final state."""
    H, directions = layer.hidden_size, len(layer.directions)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.7).astype(layer.dtype)

    def state():
        parts = tuple(normal(layer.num_layers * directions, B, H) for _ in layer.states)
        return parts if isinstance(layer, LSTM) else parts[0]

    return normal(T, B, layer.input_size), state(), normal(T, B, directions * H), state()


def parts_of(state):
    """The arrays of a state or of its gradient: h, or h and c."""
    return list(state) if isinstance(state, tuple) else [state]


def run(layer, x, state, dhs, dstate, lengths=None, train=False, truncate=None):
    """All that a forward and a backward pass return, by name, as copies."""
    hs, final = layer.forward(x, state, lengths, train)
    dx, dinitial = layer.backward(dhs, dstate, truncate)
    found = {"hs": hs, "dx": dx, **layer.grads}
    found |= {f"final {k}": part for k, part in enumerate(parts_of(final))}
    found |= {f"dinitial {k}": part for k, part in enumerate(parts_of(dinitial))}
    return {key: value.copy() for key, value in found.items()}


def torch_twin(torch, name, layer):
    """The layer of PyTorch with the same weights: rows for columns, gates in its order, and two biases."""
    options = {"num_layers": layer.num_layers, "bidirectional": layer.bidirectional, "dtype": torch.float64}
    if isinstance(layer, RNN):
        twin = torch.nn.RNN(layer.input_size, layer.hidden_size, nonlinearity=layer.activation, **options)
    else:
        twin = getattr(torch.nn, type(layer).__name__)(layer.input_size, layer.hidden_size, **options)
    with torch.no_grad():
        for key, array in layer.params.items():
            letter, _, suffix = key.partition("_")
            if letter == "bn":
                continue
            blocks = np.concatenate([layer.gate(key, gate).T for gate in TORCH_GATES[name]])
            theirs = {"W": "weight_ih_", "U": "weight_hh_", "b": "bias_ih_"}[letter] + suffix
            getattr(twin, theirs).copy_(torch.tensor(blocks))
            if letter == "b":
                bias_hh = getattr(twin, "bias_hh_" + suffix)
                bias_hh.zero_()
                if "bn_" + suffix in layer.params:
                    bias_hh[-layer.hidden_size :] = torch.tensor(layer.params["bn_" + suffix])
            assert array.dtype == np.float64
    return twin


def torch_gradients(name, layer, twin):
    """The gradients of the twin's weights, in our names and layout."""
    H, order = layer.hidden_size, TORCH_GATES[name]
    found = {}
    for key in layer.params:
        letter, _, suffix = key.partition("_")
        if letter == "bn":
            found[key] = getattr(twin, "bias_hh_" + suffix).grad.numpy()[-H:]
            continue
        theirs = {"W": "weight_ih_", "U": "weight_hh_", "b": "bias_ih_"}[letter] + suffix
        gradient = getattr(twin, theirs).grad.numpy()
        places = [order.index(gate) * H for gate in layer.gates]
        found[key] = np.concatenate([gradient[place : place + H].T for place in places], axis=-1)
    return found


@pytest.mark.parametrize("name", TORCH_GATES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_outputs_states_and_gradients_agree_with_pytorch(name, data):
    """One to three layers (Eqs 38-40), in one direction or both."""
    torch = pytest.importorskip("torch", reason="PyTorch is the independent oracle; it comes with the test extra")
    T, B, D, H = (data.draw(st.integers(1, high), label) for label, high in zip("TBDH", (7, 5, 4, 4)))
    layers, both = data.draw(st.integers(1, 3), "num_layers"), data.draw(st.booleans(), "bidirectional")
    lengths = data.draw(st.none() | st.lists(st.integers(1, T), min_size=B, max_size=B), "lengths")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    layer = make(name, D, H, rng, num_layers=layers, bidirectional=both)
    x, state, dhs, dstate = draw(layer, T, B, rng)
    found = run(layer, x, state, dhs, dstate, lengths)

    twin = torch_twin(torch, name, layer)
    inputs = [torch.tensor(array, requires_grad=True) for array in (x, *parts_of(state))]
    initial = tuple(inputs[1:]) if isinstance(state, tuple) else inputs[1]
    if lengths is None:
        hs, final = twin(inputs[0], initial)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(inputs[0], torch.tensor(lengths), enforce_sorted=False)
        packed, final = twin(packed, initial)
        hs, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=T)
    loss = (hs * torch.tensor(dhs)).sum()
    loss = loss + sum((h * torch.tensor(d)).sum() for h, d in zip(parts_of(final), parts_of(dstate)))
    loss.backward()
    right = {"hs": hs.detach().numpy(), "dx": inputs[0].grad.numpy(), **torch_gradients(name, layer, twin)}
    right |= {f"final {k}": part.detach().numpy() for k, part in enumerate(parts_of(final))}
    right |= {f"dinitial {k}": tensor.grad.numpy() for k, tensor in enumerate(inputs[1:])}
    assert found.keys() == right.keys()
    for key, value in right.items():
        assert np.abs(found[key] - value).max() <= 1e-10 * max(1.0, np.abs(value).max()), key


@pytest.mark.parametrize("lengths", [None, [2, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_a_stack_in_both_directions_with_frozen_dropout_equals_the_complex_step(name, lengths, rng):
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3}
    layer = make(name, 2, 2, rng, "complex128", **options)
    layer.frozen = True
    x, state, dhs, dstate = draw(layer, 3, 2, rng)
    found = run(layer, x, state, dhs, dstate, lengths, train=True)
    masks = list(layer._masks.values())
    assert len(masks) == 5
    assert any(0 in mask for mask in masks)
    assert any(mask.any() for mask in masks)
    arguments = {**layer.params, "dx": x, **{f"dinitial {k}": part for k, part in enumerate(parts_of(state))}}

    def loss(shifted):
        layer.params = {key: shifted[key] for key in layer.params}
        start = tuple(shifted[f"dinitial {k}"] for k in range(len(parts_of(state))))
        hs, final = layer.forward(shifted["dx"], start if isinstance(state, tuple) else start[0], lengths, True)
        return (hs * dhs).sum() + sum((h * d).sum() for h, d in zip(parts_of(final), parts_of(dstate)))

    for key in arguments:
        assert relative_error(found[key].real, complex_step(loss, arguments, key)) < 1e-12, key


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64_to_1e_5_and_stays_float32(name, rng):
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3}
    double, single = make(name, 4, 6, rng, **options), make(name, 4, 6, rng, "float32", **options)
    for key, array in double.params.items():
        array *= 0.5
        single.params[key][...] = array
    double.rng, single.rng = np.random.default_rng(1), np.random.default_rng(1)
    x, state, dhs, dstate = draw(double, 12, 3, rng)

    def halved(state):
        return tuple(part.astype("f4") for part in state) if isinstance(state, tuple) else state.astype("f4")

    right = run(double, x, state, dhs, dstate, [12, 5, 9], train=True)
    found = run(
        single, x.astype("f4"), halved(state), dhs.astype("f4"), halved(dstate), np.array([12, 5, 9], "i4"), True
    )
    for key, value in right.items():
        assert found[key].dtype == np.float32, key
        assert relative_error(found[key], value) < 1e-5, key


@pytest.mark.parametrize("name", NAMES)
def test_backward_twice_gives_the_same_bits_in_the_same_arrays_and_changes_nothing_given(name, rng):
    layer = make(name, 3, 4, rng, num_layers=2, bidirectional=True, dropout=0.4, recurrent_dropout=0.4)
    x, state, dhs, dstate = draw(layer, 5, 3, rng)
    lengths = np.array([2, 5, 3])
    given_ = {"x": x, "dhs": dhs, "lengths": lengths, **layer.params}
    given_ |= {f"state {k}": part for k, part in enumerate([*parts_of(state), *parts_of(dstate)])}
    before = {key: value.copy() for key, value in given_.items()}
    arrays = dict(layer.grads)
    layer.forward(x, state, lengths, train=True)
    results = []
    for _ in range(2):
        dx, dinitial = layer.backward(dhs, dstate)
        results.append([dx, *parts_of(dinitial), *(gradient.copy() for gradient in layer.grads.values())])
    for first, second in zip(*results):
        assert np.array_equal(first, second)
    assert all(layer.grads[key] is array for key, array in arrays.items())
    for key, value in given_.items():
        assert np.array_equal(value, before[key]), f"{key} was changed"


@pytest.mark.parametrize("name", NAMES)
def test_no_state_is_a_state_of_zeros_and_absent_upstreams_are_zeros(name, rng):
    """h_0 = 0 and C_0 = 0 (Eqs 65, 74)."""
    layer = make(name, 3, 4, rng, num_layers=2, bidirectional=True)
    x, state, dhs, dstate = draw(layer, 5, 3, rng)
    zeros = tuple(np.zeros_like(part) for part in parts_of(state))
    zeros = zeros if isinstance(state, tuple) else zeros[0]
    for key, value in run(layer, x, zeros, dhs, dstate).items():
        assert np.array_equal(run(layer, x, None, dhs, dstate)[key], value), key
    outputs = run(layer, x, state, dhs, None)
    for key, value in run(layer, x, state, dhs, zeros).items():
        assert np.array_equal(outputs[key], value), key
    for key, value in run(layer, x, state, np.zeros_like(dhs), dstate).items():
        assert np.array_equal(run(layer, x, state, None, dstate)[key], value), key


@pytest.mark.parametrize("name", NAMES)
def test_what_padding_holds_changes_nothing_through_a_stack(name, rng):
    lengths = [2, 5, 1]
    layer = make(name, 3, 4, rng, num_layers=2, bidirectional=True)
    x, state, dhs, dstate = draw(layer, 5, 3, rng)
    clean = run(layer, x, state, dhs, dstate, lengths)
    past = np.arange(5)[:, None] >= np.array(lengths)
    x, dhs = x.copy(), dhs.copy()
    x[past] = dhs[past] = np.nan
    for key, value in run(layer, x, state, dhs, dstate, lengths).items():
        assert np.array_equal(value, clean[key]), key
    assert not clean["hs"][past].any()
    assert not clean["dx"][past].any()


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_truncation_equals_segments_with_the_state_carried_through_all_layers(name, k, rng):
    layer = make(name, 3, 4, rng, num_layers=2)
    x, state, dhs, dstate = draw(layer, 5, 2, rng)
    found = run(layer, x, state, dhs, dstate, truncate=k)
    total = {key: np.zeros_like(array) for key, array in layer.grads.items()}
    for start in range(0, 5, k):
        last = dstate if start + k >= 5 else None
        part = run(layer, x[start : start + k], state, dhs[start : start + k], last)
        assert relative_error(found["dx"][start : start + k], part["dx"]) < 1e-13
        if start == 0:
            for i in range(len(parts_of(state))):
                assert relative_error(found[f"dinitial {i}"], part[f"dinitial {i}"]) < 1e-13
        for key in total:
            total[key] += part[key]
        finals = tuple(part[f"final {i}"] for i in range(len(parts_of(state))))
        state = finals if isinstance(state, tuple) else finals[0]
    for key, value in total.items():
        assert relative_error(found[key], value) < 1e-13, key


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_device_without_a_hidden_copy(name, rng, monkeypatch):
    monkeypatch.setattr("rnnscratch.layers.module_for", lambda device: strict_xp if device == "gpu" else np)
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3, "dtype": "float64"}
    cls, extra = CELLS[name]
    host, device = (cls(3, 4, seed=5, device=kind, **extra, **options) for kind in ("cpu", "gpu"))
    x, state, dhs, dstate = draw(host, 4, 3, rng)
    right = run(host, x, state, dhs, dstate, [4, 1, 3], train=True)

    def move(value):
        return tuple(map(move, value)) if isinstance(value, tuple) else strict_xp.asarray(value)

    x, state, dhs, dstate = map(move, (x, state, dhs, dstate))
    strict_xp.moves["to_host"] = 0
    found = run(device, x, state, dhs, dstate, [4, 1, 3], train=True)
    assert strict_xp.moves["to_host"] == 0
    for key, value in right.items():
        assert close(found[key], value), key
    with pytest.raises(TypeError, match="different devices"):
        device.forward(np.ones((4, 3, 3)))


def test_a_network_runs_on_the_device_and_gives_the_same_numbers(rng, monkeypatch):
    monkeypatch.setattr("rnnscratch.layers.module_for", lambda device: strict_xp if device == "gpu" else np)

    def network(device):
        common = {"device": device, "dtype": "float64"}
        dropouts = Dropout(0.5, variational=True, seed=2, **common)
        return Sequential(
            Embedding(9, 3, seed=1, **common), dropouts, LSTM(3, 4, seed=3, **common), Dense(4, 2, **common)
        )

    host, device = network("cpu"), network("gpu")
    for key, array in host.params.items():
        device.params[key][...] = strict_xp.asarray(array)
    ids, dy = rng.integers(0, 9, (4, 3)), rng.standard_normal((4, 3, 2))
    y = host.forward(ids, [4, 2, 3], train=True)
    host.backward(dy)
    assert close(device.forward(strict_xp.asarray(ids), [4, 2, 3], train=True), y)
    device.backward(strict_xp.asarray(dy))
    for key, gradient in host.grads.items():
        assert close(device.grads[key], gradient, ordered=False), key


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_start_as_documented(name, both):
    cls, extra = CELLS[name]
    layer = cls(30, 20, 2, both, dtype="float64", seed=3, **extra)
    for key, array in layer.params.items():
        letter, suffix = key.split("_", 1)
        inputs = 30 if suffix.startswith("l0") else 20 * (1 + both)
        if letter == "bn":
            assert array.shape == (20,) and not array.any()
            continue
        for gate in layer.gates:
            block = layer.gate(key, gate)
            if letter == "W":
                limit = math.sqrt(6 / (inputs + 20))
                assert block.shape == (inputs, 20)
                assert np.abs(block).max() <= limit
                assert abs(block.std() - limit / math.sqrt(3)) < 0.1 * limit  # of a uniform distribution
            elif letter == "U":
                np.testing.assert_allclose(block @ block.T, np.eye(20), atol=1e-13)
            else:
                assert (block == (cls is LSTM and gate == "f")).all()
    blocks = [layer.gate(key, gate) for key in layer.params if key.startswith("U") for gate in layer.gates]
    assert not any(np.array_equal(a, b) for k, a in enumerate(blocks) for b in blocks[:k])


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_fixes_the_parameters_in_every_dtype(name):
    cls, extra = CELLS[name]
    first, same, other = (cls(3, 4, seed=seed, dtype="float64", **extra) for seed in (7, 7, 8))
    single = cls(3, 4, seed=7, **extra)
    for key, array in first.params.items():
        assert np.array_equal(array, same.params[key])
        assert np.array_equal(array.astype("f4"), single.params[key])
        assert single.params[key].dtype == single.grads[key].dtype == np.float32
        assert np.array_equal(array, other.params[key]) == (key[0] == "b")


def test_an_embedding_starts_normal_with_deviation_0_1_and_a_dense_layer_glorot_uniform():
    E = Embedding(400, 50, "float64", seed=0).params["E"]
    assert abs(E.std() - 0.1) < 0.003
    assert abs(E.mean()) < 0.003
    layer = Dense(60, 40, "float64", seed=0)
    assert 0.95 * math.sqrt(0.06) < np.abs(layer.params["W"]).max() <= math.sqrt(0.06)
    assert not layer.params["b"].any()


@pytest.mark.parametrize(("n", "m"), [(3, 4), (1, 1), (7, 2)])
def test_num_params_follow_the_formulas(n, m):
    blocks = {"rnn tanh": 1, "lstm": 4, "gru": 3}
    for name, gates in blocks.items():
        cls, extra = CELLS[name]
        assert cls(n, m, **extra).num_params == gates * (n + m + 1) * m
        assert cls(n, m, num_layers=2, **extra).num_params == gates * ((n + m + 1) * m + (2 * m + 1) * m)
        assert cls(n, m, 2, True, **extra).num_params == 2 * gates * ((n + m + 1) * m + (3 * m + 1) * m)
    assert GRU(n, m, reset_after=True).num_params == 3 * (n + m + 1) * m + m
    assert Embedding(n, m).num_params == n * m
    assert Dense(n, m).num_params == (n + 1) * m
    assert Sequential(Embedding(5, n), LSTM(n, m), Dense(m, 2)).num_params == 5 * n + 4 * (n + m + 1) * m + 2 * m + 2


def test_a_gate_is_a_view_that_writes_through():
    layer = LSTM(3, 4, seed=0)
    for place, letter in enumerate("ifog"):
        layer.gate("W_l0", letter)[...] = place
        layer.gate("b_l0", letter)[...] = 10 * place
    assert layer.params["W_l0"][0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert layer.params["b_l0"].tolist() == [0] * 4 + [10] * 4 + [20] * 4 + [30] * 4


@pytest.mark.parametrize(
    "layer",
    [
        RNN(3, 4, activation="relu"),
        LSTM(np.int64(3), 4, 2, True, np.float32(0.25), np.float64(0.125), "float64"),
        GRU(3, 4, reset_after=True, num_layers=np.int32(2), dropout=0.5),
        Embedding(np.int64(5), 2),
        Dense(3, 2, dtype=np.float64),
        Dropout(np.float32(0.5), variational=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_config_makes_the_same_layer_again_and_survives_json(layer):
    config = json.loads(json.dumps(layer.config()))
    again = type(layer)(**config, seed=0)
    assert again.config() == config
    assert repr(again) == repr(layer)
    assert {k: (v.shape, v.dtype) for k, v in again.params.items()} == {
        k: (v.shape, v.dtype) for k, v in layer.params.items()
    }
    layer.config().clear()
    assert layer.config() == config


def test_dropout_drops_the_share_keeps_the_mean_and_passes_gradients_through_the_same_units(rng):
    layer = Dropout(0.3, dtype="float64", seed=0)
    x, dy = np.ones((20, 50, 40)), rng.standard_normal((20, 50, 40))
    y = layer.forward(x, train=True)
    deviation = math.sqrt(0.3 * 0.7 / y.size)
    assert abs((y == 0).mean() - 0.3) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / 0.7
    assert np.array_equal(layer.backward(dy), dy * y)
    assert not np.array_equal(layer.forward(x, train=True), y)
    assert np.array_equal(layer.forward(dy), dy)
    assert np.array_equal(layer.backward(x), x)
    variational = Dropout(0.3, variational=True, seed=0).forward(np.ones((5, 30, 40), "f4"), train=True)
    assert variational.dtype == np.float32
    assert (variational == variational[0]).all()
    assert {0} < set(np.unique(variational[0]).tolist())


@pytest.mark.parametrize("name", NAMES)
def test_without_training_dropout_does_nothing(name, rng):
    layer = make(name, 3, 4, rng, num_layers=2, dropout=0.5, recurrent_dropout=0.5)
    plain = CELLS[name][0](3, 4, 2, dtype="float64", **CELLS[name][1])
    plain.params = layer.params
    x, state, dhs, dstate = draw(layer, 5, 3, rng)
    draws = layer.rng.bit_generator.state
    found = run(layer, x, state, dhs, dstate)
    assert layer.rng.bit_generator.state == draws
    for key, value in run(plain, x, state, dhs, dstate).items():
        assert np.array_equal(found[key], value), key
    first, second = (layer.forward(x, state, train=True)[0] for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, found["hs"])


def test_recurrent_dropout_uses_one_mask_for_all_steps(rng):
    layer = RNN(1, 50, dtype="float64", recurrent_dropout=0.5, seed=0)
    layer.params["W_l0"][...], layer.params["U_l0"][...] = 1, np.eye(50) * 0.5
    hs, _ = layer.forward(np.full((6, 1, 1), 0.1), train=True)
    dropped = hs[:, 0] == np.tanh(0.1)  # nothing came from the step before
    assert dropped[0].all()
    assert (dropped[1:] == dropped[1]).all()
    assert 10 < dropped[1].sum() < 40


def test_frozen_masks_are_those_of_the_last_training_pass(rng):
    layer = make("gru", 3, 4, rng, num_layers=2, dropout=0.5, recurrent_dropout=0.5)
    x = rng.standard_normal((5, 6, 3))
    last, _ = layer.forward(x, train=True)
    layer.frozen = True
    assert all(np.array_equal(layer.forward(x, train=True)[0], last) for _ in range(2))
    layer.frozen = False
    assert not np.array_equal(layer.forward(x, train=True)[0], last)


def test_an_embedding_adds_up_repeated_ids(rng):
    layer = Embedding(6, 3, "float64", seed=0)
    ids, dx = np.array([[1, 4], [1, 1], [0, 4]]), rng.standard_normal((3, 2, 3))
    x = layer.forward(ids)
    right = np.zeros((6, 3))
    for place in np.ndindex(3, 2):
        assert np.array_equal(x[place], layer.params["E"][ids[place]])
        right[ids[place]] += dx[place]
    for _ in range(2):
        assert layer.backward(dx) is None
        np.testing.assert_allclose(layer.grads["E"], right, rtol=1e-14)


def test_a_network_equals_the_complex_step_in_every_parameter(rng):
    common = {"dtype": "complex128", "seed": rng}
    inner = Sequential(LSTM(2, 2, bidirectional=True, **common), Dropout(0.4, **common))
    model = Sequential(Embedding(5, 2, **common), inner, Dense(4, 3, **common))
    inner.layers[1].frozen = True
    ids, lengths = rng.integers(0, 5, (4, 3)), [4, 2, 1]
    dy = rng.standard_normal((4, 3, 3)).astype(complex)
    model.forward(ids, lengths, train=True)
    assert model.backward(dy) is None
    inside = [f"1.0.{letter}_l0{direction}" for direction in ("", "_reverse") for letter in "WUb"]
    assert list(model.params) == ["0.E", *inside, "2.W", "2.b"]
    found = {key: gradient.copy() for key, gradient in model.grads.items()}

    def loss(shifted):
        for key, array in model.params.items():
            array[...] = shifted[key]
        return (model.forward(ids, lengths, train=True) * dy).sum()

    start = {key: array.copy() for key, array in model.params.items()}
    for key, gradient in found.items():
        assert relative_error(gradient.real, complex_step(loss, start, key)) < 1e-12, key


def test_a_network_gives_lengths_to_all_recurrent_layers_also_inside_another(rng):
    lstm, gru = LSTM(3, 4, dtype="float64", seed=0), GRU(4, 2, dtype="float64", seed=1)
    x = rng.standard_normal((5, 2, 3))
    right = gru.forward(lstm.forward(x, lengths=[5, 2])[0], lengths=[5, 2])[0]
    assert np.array_equal(Sequential(lstm, gru).forward(x, [5, 2]), right)
    assert np.array_equal(Sequential(Sequential(lstm), gru).forward(x, [5, 2]), right)
    assert not right[2:, 1].any()


def test_the_arrays_of_a_network_are_those_of_its_layers():
    lstm = LSTM(3, 4)
    model = Sequential(lstm, Dense(4, 2))
    assert model.params["0.U_l0"] is lstm.params["U_l0"]
    assert model.grads["0.U_l0"] is lstm.grads["U_l0"]
    assert model.params.keys() == model.grads.keys()


@pytest.mark.parametrize("lengths", [None, [3, 1]])
@pytest.mark.parametrize("both", [False, True])
def test_hs_is_read_only(both, lengths):
    hs, (h, c) = LSTM(2, 3, bidirectional=both).forward(np.ones((3, 2, 2), "f4"), lengths=lengths)
    with pytest.raises(ValueError, match="read-only"):
        hs[0] = 0
    h[...] = c[...] = 0


@pytest.mark.parametrize("layer", [RNN(2, 3), LSTM(2, 3), GRU(2, 3), Dense(2, 3), Embedding(2, 3), Dropout(0.5)])
def test_backward_before_forward_is_refused(layer):
    with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.backward was called before forward"):
        layer.backward(np.ones((2, 2, 3), "f4"))


X = np.ones((4, 2, 3), "f4")
H0 = np.zeros((2, 2, 5), "f4")
FORWARD = {
    "x a dict": ({"x": X}, {}, TypeError, "x is dict, expected a list or an array"),
    "x ragged": ([[[1.0] * 3], [[1.0] * 3] * 2], {}, ValueError, "x is ragged"),
    "x 2-d": (X[0], {}, ValueError, r"x has shape \(2, 3\), expected \(T, B, 3\)"),
    "x too wide": (np.ones((4, 2, 4), "f4"), {}, ValueError, r"x has shape \(4, 2, 4\), expected \(T, B, 3\)"),
    "no steps": (X[:0], {}, ValueError, r"x has shape \(0, 2, 3\).* at least one step and one sequence"),
    "no sequences": (X[:, :0], {}, ValueError, r"x has shape \(4, 0, 3\)"),
    "x float64": (X.astype("f8"), {}, TypeError, "x has dtype float64, expected float32"),
    "x integers": (X.astype(int), {}, TypeError, "x has dtype int64, expected float32"),
    "length 0": (X, {"lengths": [4, 0]}, ValueError, r"lengths\[1\] is 0, expected at least 1"),
    "length over T": (X, {"lengths": [4, 5]}, ValueError, r"lengths\[1\] is 5, but x has only T=4 steps"),
    "one length": (X, {"lengths": [4]}, ValueError, r"lengths has shape \(1,\), expected \(2,\)"),
    "float lengths": (X, {"lengths": [4.0, 2.0]}, TypeError, "lengths has dtype float64, expected integers"),
    "one state": (X, {"state": H0}, TypeError, r"state is ndarray, expected the tuple \(h, c\)"),
    "three states": (X, {"state": (H0,) * 3}, TypeError, r"state is tuple, expected the tuple \(h, c\)"),
    "state too low": (X, {"state": (H0[:1], H0)}, ValueError, r"state h has shape \(1, 2, 5\), expected \(2, 2, 5\)"),
    "state float64": (X, {"state": (H0, H0.astype("f8"))}, TypeError, "state c has dtype float64, expected float32"),
    "state a short list": (X, {"state": (H0, [0.0])}, ValueError, r"state c has shape \(1,\), expected \(2, 2, 5\)"),
    "state a string": (X, {"state": (H0, "zeros")}, TypeError, "state c is one string"),
}  # fmt: skip


@pytest.mark.parametrize(("x", "options", "error", "message"), FORWARD.values(), ids=FORWARD)
def test_wrong_input_is_named_before_any_work(x, options, error, message):
    layer = LSTM(3, 5, 2, dropout=0.5, recurrent_dropout=0.5, seed=0)
    draws = layer.rng.bit_generator.state
    with pytest.raises(error, match=message):
        layer.forward(x, train=True, **options)
    assert layer.rng.bit_generator.state == draws
    with pytest.raises(RuntimeError, match="before forward"):
        layer.backward()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dhs": np.ones((4, 2, 4), "f4")}, ValueError, r"dhs has shape \(4, 2, 4\), expected \(4, 2, 5\)"),
        ({"dhs": np.ones((4, 2, 5))}, TypeError, "dhs has dtype float64, expected float32"),
        ({"dhs": [1.0]}, ValueError, r"dhs has shape \(1,\), expected \(4, 2, 5\)"),
        ({"dstate": H0}, TypeError, r"dstate is ndarray, expected the tuple \(h, c\)"),
        ({"dstate": (H0, H0[:, :1])}, ValueError, r"dstate c has shape \(2, 1, 5\), expected \(2, 2, 5\)"),
        ({"truncate": 0}, ValueError, "truncate is 0, expected a number of steps, at least 1"),
        ({"truncate": 1.5}, ValueError, "truncate is 1.5, expected a number of steps"),
    ],
)
def test_wrong_upstream_gradients_are_named_and_leave_the_gradients(arguments, error, message):
    layer = LSTM(3, 5, 2, seed=0)
    layer.forward(X)
    layer.backward(np.ones((4, 2, 5), "f4"))
    before = {key: gradient.copy() for key, gradient in layer.grads.items()}
    with pytest.raises(error, match=message):
        layer.backward(**arguments)
    for key, gradient in layer.grads.items():
        assert np.array_equal(gradient, before[key])


@pytest.mark.parametrize(
    ("make_layer", "error", "message"),
    [
        (lambda: LSTM(0, 4), ValueError, "input_size is 0, expected at least 1"),
        (lambda: LSTM(3, 4.0), TypeError, "hidden_size is 4.0, expected a whole number"),
        (lambda: GRU(3, 4, num_layers=True), TypeError, "num_layers is True, expected a whole number"),
        (lambda: GRU(3, 4, dropout=1.0), ValueError, r"dropout is 1.0, expected a probability in \[0, 1\)"),
        (lambda: GRU(3, 4, recurrent_dropout=-0.1), ValueError, "recurrent_dropout is -0.1"),
        (lambda: RNN(3, 4, dropout=math.nan), ValueError, "dropout is nan"),
        (lambda: RNN(3, 4, dropout="0.5"), TypeError, "dropout is '0.5', expected a number"),
        (lambda: RNN(3, 4, activation="sin"), ValueError, "activation is 'sin', expected one of 'tanh', 'relu', 'sig"),
        (lambda: RNN(3, 4, reset_after=True), TypeError, "unexpected keyword argument 'reset_after'"),
        (lambda: LSTM(3, 4, activation="relu"), TypeError, "unexpected keyword argument 'activation'"),
        (lambda: LSTM(3, 4, num_layer=2), TypeError, "unexpected keyword argument 'num_layer'"),
        (lambda: LSTM(3, 4, dtype="float16"), ValueError, "dtype is float16, expected one of float32"),
        (lambda: LSTM(3, 4, dtype="real"), TypeError, "dtype is 'real', expected one of float32"),
        (lambda: LSTM(3, 4, dtype=None), TypeError, "dtype is None, expected one of float32"),
        (lambda: LSTM(3, 4, device="tpu"), ValueError, "device is 'tpu', expected 'cpu' or 'gpu'"),
        (lambda: Embedding(0, 4), ValueError, "num_embeddings is 0"),
        (lambda: Dense(3, -1), ValueError, "output_size is -1"),
        (lambda: Dropout(1), ValueError, "rate is 1, expected a probability"),
        (lambda: Dropout(True), TypeError, "rate is True, expected a number"),
        (lambda: Sequential(), ValueError, "layers is empty"),
        (lambda: Sequential(Dense(2, 2), "Dense"), TypeError, r"layers\[1\] is str, expected a layer"),
        (lambda: Sequential(*[Dense(2, 2)] * 2), ValueError, r"layers\[1\] is in the row twice"),
        (lambda: LSTM(3, 4).gate("V_l0", "f"), ValueError, "name is 'V_l0', expected one of 'W_l0', 'U_l0', 'b_l0'"),
        (lambda: LSTM(3, 4).gate("W_l0", "r"), ValueError, "letter is 'r', expected one of 'i', 'f', 'o', 'g'"),
        (lambda: LSTM(3, 4).gate("W_l0", "if"), ValueError, "letter is 'if'"),
        (lambda: GRU(3, 4, reset_after=True).gate("bn_l0", "n"), ValueError, "name is 'bn_l0'"),
        (lambda: LSTM(2, 3, bidirectional="no"), TypeError, "bidirectional is 'no', expected True or False"),
        (lambda: GRU(2, 3, reset_after=None), TypeError, "reset_after is None, expected True or False"),
        (lambda: Dropout(0.5, variational=math.nan), TypeError, "variational is nan, expected True or False"),
        (lambda: RNN(2, 3, activation=["tanh"]), ValueError, r"activation is \['tanh'\], expected one of"),
        (lambda: LSTM(2, 3, seed=True), TypeError, "seed is True, expected a whole number"),
    ],
)
def test_wrong_options_are_named(make_layer, error, message):
    with pytest.raises(error, match=message):
        make_layer()


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (Embedding(5, 3), np.array([[5]]), ValueError, r"ids\[0, 0\] is 5, expected 0 to 4"),
        (Embedding(5, 3), np.array([[0, -1]]), ValueError, r"ids\[0, 1\] is -1, expected 0 to 4"),
        (Embedding(5, 3), np.array([[0.0]]), TypeError, "ids has dtype float64, expected integers"),
        (Embedding(5, 3), [["film"]], TypeError, "ids has dtype <U4, expected integers"),
        (Dense(3, 2), np.ones((2, 4), "f4"), ValueError, r"x has shape \(2, 4\), expected \(2, 3\)"),
        (Dense(3, 2), np.float32(1), ValueError, r"x has shape \(\), expected \(3,\)"),
        (Dense(3, 2), np.ones((2, 3)), TypeError, "x has dtype float64, expected float32"),
        (Dense(3, 2), [1.0, None, 3.0], ValueError, r"x\[1\] is missing"),
        (Dense(3, 2), [1e300, 2.0, 3.0], ValueError, "x holds numbers too large for float32"),
        (Dropout(0.5), {1.0}, TypeError, "x is set"),
        (Dropout(0.5), np.ones(3, int), ValueError, "x's dtype is int64, expected one of float32"),
    ],
)
def test_wrong_inputs_of_the_other_layers_are_named(layer, x, error, message):
    with pytest.raises(error, match=message):
        layer.forward(x, train=True)


@pytest.mark.parametrize(
    ("layer", "x", "name"),
    [(Embedding(5, 3), np.zeros((4, 2), int), "dx"), (Dense(3, 3), X, "dy"), (Dropout(0.5, seed=0), X, "dy")],
)
@pytest.mark.parametrize(
    ("upstream", "error"), [(X[1:], ValueError), (X.astype("f8"), TypeError), ({"d": X}, TypeError)]
)
def test_wrong_upstream_gradients_of_the_other_layers_are_named(layer, x, name, upstream, error):
    layer.forward(x, train=True)
    with pytest.raises(error, match=f"^{name} "):
        layer.backward(upstream)


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32"])
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, PeepholeLSTM, LayerNormLSTM])
def test_an_input_of_another_dtype_is_named_not_the_parameters(kind, dtype):
    layer = kind(3, 4, dtype="float64", seed=0)
    with pytest.raises(TypeError, match=f"^x has dtype {dtype}, expected float64"):
        layer.forward(np.ones((4, 2, 3), dtype))
    with pytest.raises(TypeError, match=f"^x has dtype {dtype}, expected float64"):
        layer.step(np.ones((2, 3), dtype))


@pytest.mark.parametrize("kind", ["dot", "additive"])
@pytest.mark.parametrize("lengths", [None, [4, 1, 2]])
def test_attention_has_exact_gradients_and_asks_step_by_step_as_at_once(kind, lengths, rng):
    layer = Attention(5, 6, kind, dtype="complex128", seed=0)
    for array in layer.params.values():
        array[...] = rng.standard_normal(array.shape)
    a = {"q": rng.standard_normal((3, 3, 5)) + 0j, "memory": rng.standard_normal((4, 3, 6)) + 0j}
    dcontext, dweights = rng.standard_normal((3, 3, 6)), rng.standard_normal((3, 3, 4))

    def loss(given):
        kept = layer.params
        layer.params = {name: given.get(name, array) for name, array in kept.items()}
        contexts, weights = layer.forward(given.get("q", a["q"]), given.get("memory", a["memory"]), lengths)
        layer.params = kept
        return (contexts * dcontext).sum() + (weights * dweights).sum()

    contexts, weights = layer.forward(a["q"], a["memory"], lengths)
    dq, dmemory = layer.backward(dcontext.astype(complex), dweights.astype(complex))
    for found, key, table in (
        (dq, "q", a),
        (dmemory, "memory", a),
        *((gradient.copy(), key, layer.params) for key, gradient in layer.grads.items()),
    ):
        assert relative_error(found.real, complex_step(loss, table, key)) < 1e-12, key
    remembered = layer.remember(a["memory"], lengths)
    for t in range(3):
        context, weight = layer.look(a["q"][t : t + 1], remembered)
        np.testing.assert_allclose(context[0], contexts[t], rtol=1e-13)
        np.testing.assert_allclose(weight[0], weights[t], rtol=1e-13)
    (first, _), back_first = layer.call(a["q"], a["memory"], lengths)
    _, back_second = layer.call(a["q"] * 2, a["memory"], lengths)
    back_first(dcontext.astype(complex))
    alone = {name: gradient.copy() for name, gradient in layer.grads.items()}
    back_second(dcontext.astype(complex))
    back_first(dcontext.astype(complex))  # several ways back of one pass add up
    assert any(not np.allclose(layer.grads[name], alone[name]) for name in alone)
    assert layer.config() == {
        "query_size": 5,
        "memory_size": 6,
        "kind": kind,
        "size": 5,
        "dtype": "complex128",
        "device": "cpu",
    }
    assert Attention.parameter_shapes(5, 6, kind) == {name: array.shape for name, array in layer.params.items()}


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_the_gradient_checker_takes_attention_with_both_inputs(kind, rng):
    layer = Attention(3, 4, kind, seed=0)
    report = check_gradients(layer, rng.standard_normal((2, 3, 3)), rng.standard_normal((4, 3, 4)))
    assert report.ok and {row.name for row in report.rows} >= {"input 0", "input 1", "W_k"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hard"}, "kind is 'hard', expected"),
        ({"query_size": 0}, "query_size is 0"),
        ({"size": 4}, "size is 4, expected 5 as query_size where kind is 'dot'"),
    ],
)
def test_wrong_options_of_attention_are_named(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Attention(**{"query_size": 5, "memory_size": 6, **change})


def test_wrong_arguments_of_attention_are_named():
    layer = Attention(5, 6, "additive", size=3, seed=0)
    q, memory = np.ones((2, 3, 5), "f4"), np.ones((4, 3, 6), "f4")
    with pytest.raises(RuntimeError, match="Attention.backward was called before forward"):
        layer.backward(memory)
    for arguments, message in (
        ((q[..., :4], memory), r"q has shape \(2, 3, 4\), expected \(2, 3, 5\)"),
        ((q, memory[:, :2]), "q has shape"),
        ((q, memory.astype(float)), "memory has dtype float64, expected float32"),
        ((q, memory[0]), r"memory has shape \(3, 6\), expected \(steps, B, 6\)"),
        ((q, memory, [5, 1, 1]), r"lengths\[0\] is 5"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            layer.forward(*arguments)
    layer.forward(q, memory)
    with pytest.raises(ValueError, match="dcontext has shape"):
        layer.backward(memory)


@pytest.mark.parametrize("lengths", [None, [5, 2, 4]])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU, PeepholeLSTM, LayerNormLSTM])
def test_explain_counts_the_bytes_that_a_call_keeps(make, lengths, monkeypatch):
    layer = make(2, 3, num_layers=2, bidirectional=True, recurrent_dropout=0.5, dtype="float64", seed=0)
    x, caches, run = np.ones((5, 3, 2)), [], sequence.run
    monkeypatch.setattr(sequence, "run", lambda *arguments: caches.append(run(*arguments)) or caches[-1])
    layer.forward(x, lengths=lengths, train=True)
    memories = [cache.memory for _, _, cache in caches]
    kept = [array for _, _, cache in caches for array in cache.states]
    kept += [array for memory in memories for array in (memory.gates, memory.h_in, *memory.arrays) if array is not None]
    found = layer.explain(x, lengths)
    assert found.bytes_kept == sum(array.nbytes for array in kept)
    assert found[:3] == ("arrays", "on the CPU the array code is the fast path", 0)


@pytest.mark.parametrize("size", [0, -1, 1.5, None])
def test_sizes_of_starting_weights_are_named(size):
    rng = np.random.default_rng(0)
    with pytest.raises((TypeError, ValueError), match="^size is "):
        layers.orthogonal(size, rng)
    with pytest.raises((TypeError, ValueError), match="^outputs is "):
        layers.glorot_uniform(2, size, rng)
