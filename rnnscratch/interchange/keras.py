"""Keras 3's layers and lists of weights, from and to layers.

keras.layers             here
SimpleRNN                RNN            kernel = W, recurrent_kernel = U, bias = b
LSTM                     LSTM           gates i, f, c, o there (c the candidate), i, f, o, g here
GRU                      GRU            gates z, r, h there, r, z, n here; with reset_after a bias (2, 3H)
Bidirectional            bidirectional  the weights of the layer that reads forwards, then those of the other
Embedding, Dense         Embedding, Dense          as they are

Keras' layers take (B, T, D), ours (T, B, D).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_list, check_choice, check_flags
from ..layers import GRU, Dense, Embedding, Layer, Recurrent
from .gates import KINDS, as_numbers, check_plain, common_dtype, filled, kind_of, reordered

ORDERS = {"rnn": "h", "lstm": "ifgo", "gru": "zrn"}
CLASSES = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru", "Embedding": "embedding", "Dense": "dense"}
RIGHT = {  # what a layer's configuration must say, where it says it
    "recurrent_activation": ("sigmoid",),
    "go_backwards": (False,),
    "mask_zero": (False,),
    "merge_mode": ("concat",),
}


def from_keras(
    weights: Any,
    kind: str | None = None,
    bidirectional: bool = False,
    activation: str = "tanh",
    device: str = "cpu",
) -> Layer:
    """A layer with the weights of a Keras layer, or of the list that its `get_weights()` returns.

    Of a list `kind` says whose it is: "rnn", "lstm", "gru", "embedding" or "dense"; of a GRU the bias tells whether it
    is one with `reset_after`: (2, 3H), or (3H,) without; a list without a bias gives zeros, and a GRU with
    `reset_after`, Keras' default. `activation` is the vanilla cell's.

    Raises ValueError or TypeError for layers and weights that have no equal here, naming what it is.
    """
    check_flags(bidirectional=bidirectional)
    reset_after = True
    if hasattr(weights, "get_weights"):
        kind, bidirectional, activation, reset_after = _of_layer(weights)
        weights = weights.get_weights()
    check_choice("kind", kind, CLASSES.values())
    assert kind is not None
    arrays = [as_numbers(f"weights[{k}]", array) for k, array in enumerate(as_list("weights", weights))]
    if not arrays:
        raise ValueError("weights is empty, expected the arrays of a layer")
    dtype = common_dtype({str(k): array for k, array in enumerate(arrays)})
    shared: dict[str, Any] = {"dtype": dtype, "device": device, "seed": 0}
    if kind not in KINDS:
        return _flat(kind, arrays, shared)
    halves = 2 if bidirectional else 1
    count = len(arrays) // halves
    if len(arrays) % halves or count not in (2, 3):
        raise ValueError(f"weights holds {len(arrays)} arrays, expected {2 * halves} or {3 * halves} of a {kind}")
    G, (D, H) = len(ORDERS[kind]), _sizes(arrays, kind)
    shapes = [(D, G * H), (H, G * H)]
    for k, array in enumerate(arrays):
        if k % count < 2 and array.shape != shapes[k % count]:
            raise ValueError(f"weights[{k}] has shape {array.shape}, expected {shapes[k % count]}")
    biases = [part[2] if count == 3 else None for part in _parts(arrays, count)]
    how: dict[str, Any] = {"bidirectional": bidirectional}
    if kind == "rnn":
        how["activation"] = activation
    if kind == "gru":
        how["reset_after"] = reset_after if biases[0] is None else biases[0].ndim == 2
    layer = KINDS[kind](D, H, **how, **shared)
    values = {}
    for suffix, (W, U, *_), bias in zip(_suffixes(layer), _parts(arrays, count), biases):
        shape = (2, G * H) if how.get("reset_after") else (G * H,)
        bias = np.zeros(shape, W.dtype) if bias is None else bias
        if bias.shape != shape:
            raise ValueError(f"the bias has shape {bias.shape}, expected {shape}")
        if how.get("reset_after"):
            given, after = bias
            values["bn" + suffix] = after[2 * H :]
            bias = given + np.concatenate([after[: 2 * H], np.zeros(H, W.dtype)])
        for name, array in (("W", W), ("U", U), ("b", bias)):
            values[name + suffix] = reordered(array, ORDERS[kind], layer.gates)
    return filled(layer, values)


def to_keras(layer: Layer) -> list[np.ndarray]:
    """The arrays that `set_weights` of a Keras layer of the same kind and sizes takes, of Bidirectional where it is.

    Raises ValueError for what Keras has no layer for: several layers in one, peepholes, layer normalisation.
    """
    params = {name: to_cpu(array) for name, array in layer.params.items()}
    if isinstance(layer, Embedding):
        return [params["E"]]
    if isinstance(layer, Dense):
        return [params["W"], params["b"]]
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer is {type(layer).__name__}, expected a recurrent layer, Embedding or Dense")
    check_plain(layer, "Keras'", ("tanh", "relu", "sigmoid"))
    if layer.num_layers > 1:
        raise ValueError(f"num_layers is {layer.num_layers}, but a Keras layer is one: convert each on its own")
    order, H = ORDERS[kind_of(layer)], layer.hidden_size
    found = []
    for suffix in _suffixes(layer):
        W, U, b = (reordered(params[name + suffix], layer.gates, order) for name in "WUb")
        if isinstance(layer, GRU) and layer.reset_after:
            after = np.zeros_like(b)
            after[2 * H :] = params["bn" + suffix]
            b = np.stack([b, after])
        found += [W, U, b]
    return found


def _of_layer(layer: Any) -> tuple[str, bool, str, bool]:
    """The kind, direction, activation and reset of a Keras layer. Raises ValueError or TypeError without an equal."""
    bidirectional = type(layer).__name__ == "Bidirectional"
    inner = layer.forward_layer if bidirectional else layer
    name = type(inner).__name__
    if name not in CLASSES:
        raise TypeError(f"weights is a Keras {name}, expected one of {', '.join(CLASSES)}, or Bidirectional of one")
    kind, config = CLASSES[name], {**layer.get_config(), **inner.get_config()}
    if bidirectional:
        config["go_backwards"] = False
    for option, right in RIGHT.items():
        if option in config and config[option] not in right:
            raise ValueError(f"{option} is {config[option]!r}, expected {right[0]!r}: others have no equal here")
    activation = config.get("activation", "tanh")
    allowed = {"rnn": ("tanh", "relu", "sigmoid"), "dense": ("linear",), "embedding": (activation,)}.get(
        kind, ("tanh",)
    )
    if activation not in allowed:
        raise ValueError(f"activation is {activation!r}, expected {' or '.join(allowed)} of a {name}")
    return kind, bidirectional, activation, bool(config.get("reset_after", True))


def _flat(kind: str, arrays: Sequence[np.ndarray], shared: dict[str, Any]) -> Layer:
    """An embedding or a dense layer."""
    if arrays[0].ndim != 2 or len(arrays) > (1 if kind == "embedding" else 2):
        shapes = ", ".join(str(array.shape) for array in arrays)
        expected = "[(V, E)]" if kind == "embedding" else "[(D, K), (K,)]"
        raise ValueError(f"weights has the shapes {shapes}, expected {expected}")
    if kind == "embedding":
        return filled(Embedding(*arrays[0].shape, **shared), {"E": arrays[0]})
    bias = arrays[1] if len(arrays) > 1 else np.zeros(arrays[0].shape[1], arrays[0].dtype)
    return filled(Dense(*arrays[0].shape, **shared), {"W": arrays[0], "b": bias})


def _sizes(arrays: Sequence[np.ndarray], kind: str) -> tuple[int, int]:
    W, U = arrays[:2]
    G = len(ORDERS[kind])
    if W.ndim != 2 or U.ndim != 2 or U.shape[1] != G * U.shape[0] or W.shape[1] != U.shape[1]:
        shape = "(D, H) and (H, H)" if G == 1 else f"(D, {G}H) and (H, {G}H)"
        raise ValueError(f"weights begin with shapes {W.shape} and {U.shape}, expected {shape} of a {kind}")
    return W.shape[0], U.shape[0]


def _parts(arrays: Sequence[np.ndarray], count: int) -> list[Sequence[np.ndarray]]:
    return [arrays[first : first + count] for first in range(0, len(arrays), count)]


def _suffixes(layer: Recurrent) -> list[str]:
    return [f"_l0{direction}" for direction in layer.directions]
