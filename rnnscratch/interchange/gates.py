"""What the libraries' recurrent layers have in common: blocks of columns, one for each gate, in an order of their own.

Orders are written in our letters: i, f, o, g of an LSTM (input, forget, output, candidate), r, z, n of a GRU (reset,
update, candidate), h of a vanilla cell. Our arrays are W (D, GH), U (H, GH), b (GH,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_array
from ..layers import GRU, LSTM, RNN, LayerNormLSTM, PeepholeLSTM, Recurrent

KINDS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def reordered(array: np.ndarray, before: str, after: str) -> np.ndarray:
    """The blocks of the last axis, which come in the order `before`, in the order `after`."""
    size = array.shape[-1] // len(before)
    blocks = [array[..., before.index(gate) * size :][..., :size] for gate in after]
    return np.concatenate(blocks, axis=-1)


def kind_of(layer: Recurrent) -> str:
    """ "rnn", "lstm" or "gru"."""
    return next(name for name, kind in KINDS.items() if isinstance(layer, kind))


def check_plain(layer: Recurrent, whose: str, activations: tuple[str, ...]) -> None:
    """Raise ValueError for a cell that the other library does not have."""
    if isinstance(layer, LayerNormLSTM | PeepholeLSTM):
        what = "peepholes" if isinstance(layer, PeepholeLSTM) else "layer normalisation"
        raise ValueError(f"layer is a {type(layer).__name__}, but {whose} LSTM has no {what}")
    if isinstance(layer, RNN) and layer.activation not in activations:
        raise ValueError(f"activation is {layer.activation!r}, but {whose} RNN has {' and '.join(activations)} alone")


def as_numbers(name: str, value: Any) -> np.ndarray:
    """A tensor of any library, or an array-like, as an array of float32 or float64 on the host.

    Half precision becomes float32, which loses nothing. Raises TypeError for anything but floating-point numbers.
    """
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        value = (value.float() if "16" in str(value.dtype) else value).numpy()
    elif hasattr(value, "numpy") and callable(value.numpy):  # Keras
        value = value.numpy()
    found = to_cpu(as_array(name, value))
    if found.dtype.kind != "f":
        raise TypeError(f"{name} has dtype {found.dtype}, expected floating-point numbers")
    return found.astype(np.float32 if found.dtype.itemsize < 4 else found.dtype)


def common_dtype(arrays: Mapping[str, np.ndarray]) -> str:
    """The one dtype of all of them, float32 or float64. Raises TypeError where they differ."""
    found = {array.dtype.name for array in arrays.values()}
    if len(found) != 1 or found - {"float32", "float64"}:
        raise TypeError(f"the weights have dtypes {', '.join(sorted(found))}, expected float32 or float64 for all")
    return found.pop()


def filled(layer: Any, values: Mapping[str, np.ndarray]) -> Any:
    """The layer with these parameters. Raises ValueError where one is missing, unknown, or of another shape."""
    if values.keys() != layer.params.keys():
        raise ValueError(f"missing or unknown: {', '.join(sorted(values.keys() ^ layer.params.keys())):.200}")
    for name, array in layer.params.items():
        if values[name].shape != array.shape:
            raise ValueError(f"{name} has shape {values[name].shape}, expected {array.shape}")
    for name, array in layer.params.items():
        array[...] = layer.xp.asarray(values[name])
    return layer
