"""One layer of every kind, small enough to check each number, and random data for it."""

from __future__ import annotations

import numpy as np

import rnnscratch as rs

LAYERS = {
    "rnn tanh": lambda **o: rs.RNN(3, 2, dtype="float64", seed=1, **o),
    "rnn relu": lambda **o: rs.RNN(3, 2, activation="relu", dtype="float64", seed=1, **o),
    "rnn sigmoid": lambda **o: rs.RNN(3, 2, activation="sigmoid", dtype="float64", seed=1, **o),
    "lstm": lambda **o: rs.LSTM(3, 2, dtype="float64", seed=1, **o),
    "gru": lambda **o: rs.GRU(3, 2, dtype="float64", seed=1, **o),
    "gru after": lambda **o: rs.GRU(3, 2, reset_after=True, dtype="float64", seed=1, **o),
}


def draw(layer, T=3, B=2, seed=0):
    rng = np.random.default_rng(seed)
    H = layer.hidden_size
    for array in layer.params.values():
        array += 0.3 * rng.standard_normal(array.shape)  # biases that are not 0
    x, dhs = rng.standard_normal((T, B, layer.input_size)), rng.standard_normal((T, B, H))
    states = [rng.standard_normal((1, B, H)) for _ in range(2 * len(layer.states))]
    if len(layer.states) == 1:
        return x, states[0], dhs, states[1]
    return x, (states[0], states[1]), dhs, (states[2], states[3])
