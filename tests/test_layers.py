"""Layers against PyTorch, the complex step, and their own contracts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, Sequential

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
    masks = [mask for mask in layer._masks.values()]
    assert len(masks) == 5 and any(0 in mask for mask in masks) and any(mask.any() for mask in masks)
    arguments = {**layer.params, "dx": x, **{f"dinitial {k}": part for k, part in enumerate(parts_of(state))}}

    def loss(shifted):
        layer.params = {key: shifted[key] for key in layer.params}
        start = tuple(shifted[f"dinitial {k}"] for k in range(len(parts_of(state))))
        hs, final = layer.forward(shifted["dx"], start if isinstance(state, tuple) else start[0], lengths, True)
        return (hs * dhs).sum() + sum((h * d).sum() for h, d in zip(parts_of(final), parts_of(dstate)))

    for key in arguments:
        assert relative_error(found[key].real, complex_step(loss, arguments, key)) < 1e-12, key
