"""Safetensors files: weights by PyTorch's names, so that either side loads the other's file; no pickle.

A file that `save_safetensors` wrote also says, in its metadata, what layer or model it is of.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from .. import layers
from ..backend import module_for, to_cpu
from ..checks import check_choice
from ..files import atomic_write, parse_json, read_bytes, reading, user_path
from ..layers import Layer
from ..models.saved import HOMES, check_finite
from .pytorch import from_named, from_torch, parts_of, to_named

MARK = "rnnscratch"  # the key of the metadata
LIMIT = 2**34  # bytes of a file
LAYERS = ("RNN", "LSTM", "PeepholeLSTM", "LayerNormLSTM", "GRU", "Embedding", "Dense")


def save_safetensors(path: str | os.PathLike[str], layer_or_model: Any) -> None:
    """Write the weights of a layer or model. A failure leaves an older file whole.

    Cells that PyTorch does not have keep our names for their weights. Raises TypeError for what is neither a layer nor
    a model, ValueError for weights that are not finite, OSError when the file cannot be written, and ImportError
    without safetensors (extra `interop`).
    """
    save = _library().save
    kind = type(layer_or_model).__name__
    if isinstance(layer_or_model, Layer):
        check_choice("layer", kind, LAYERS)
        arrays = named(layer_or_model)
    else:
        parts = parts_of(layer_or_model)
        check_choice("model", kind, HOMES)
        arrays = {f"{part}.{name}": array for part, layer in parts for name, array in named(layer).items()}
    check_finite(arrays)
    about = json.dumps({"kind": kind, "config": layer_or_model.config()})
    whole = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {MARK: about})
    with atomic_write(user_path(path), "wb") as file:
        file.write(whole)


def load_safetensors(path: str | os.PathLike[str], like: Any = None, device: str = "cpu", **how: Any) -> Any:
    """The layer or model that `save_safetensors` wrote, or, of a file of PyTorch's, what `from_torch` makes of it.

    `like` and `how` (kind, nonlinearity, prefix) are arguments of `from_torch`; where they are given the metadata plays
    no part. Raises FileNotFoundError, or ValueError, naming the file, for one that is damaged or does not fit; and
    ImportError without safetensors (extra `interop`).
    """
    library = _library()
    module_for(device)  # a wrong device is no fault of the file
    path = user_path(path)
    content = read_bytes(path, LIMIT)
    with reading(path):
        about = _metadata(content)
        try:
            arrays = library.load(content)
        except import_module("safetensors").SafetensorError as error:
            raise ValueError(str(error)) from None
        if like is not None or how or MARK not in about:
            return from_torch(arrays, like=like, device=device, **how)
        found = parse_json(str(about[MARK]).encode())
        if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
            raise ValueError(f"its metadata holds {found!r:.100}, expected a kind and a config")
        check_choice("kind", found.get("kind"), (*LAYERS, *HOMES))
        return rebuilt(found["kind"], {**found["config"], "device": device}, arrays)


def named(layer: Layer) -> dict[str, np.ndarray]:
    """A layer's weights by PyTorch's names, or by ours where PyTorch has no such layer."""
    try:
        return to_named(layer)
    except ValueError:
        return {name: to_cpu(array) for name, array in layer.params.items()}


def own_or_named(layer: Layer, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """A layer's parameters from what `named` made of them."""
    return arrays if arrays.keys() == layer.params.keys() else from_named(layer, arrays)


def rebuilt(kind: str, config: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """A layer or model of this configuration with these weights. Raises ValueError or TypeError where they do not fit.

    Nothing is made of the sizes in the configuration before there are known to be that many numbers.
    """
    check_finite(arrays)
    if config.get("num_layers", 1) > len(arrays):
        raise ValueError(f"num_layers is {config['num_layers']}, but there are only {len(arrays)} arrays")
    if kind in HOMES:
        shapes = HOMES[kind].parameter_shapes(HOMES[kind].configuration(config))
        home = HOMES[kind]
    else:
        home = layers
        sizes = {name: value for name, value in config.items() if name not in ("dtype", "device")}
        sizes = {name: value for name, value in sizes.items() if not name.endswith("dropout")}
        shapes = getattr(layers, kind).parameter_shapes(**sizes)
    if sum(map(math.prod, shapes.values())) > sum(array.size for array in arrays.values()):
        raise ValueError("its configuration asks for more numbers than the file holds")
    made = getattr(home, kind)(**config, seed=0)
    parts: Any = [("", made)] if kind not in HOMES else [(f"{name}.", layer) for name, layer in made._layers()]
    values: dict[str, np.ndarray] = {}
    for start, layer in parts:
        own = {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
        values |= {start + name: array for name, array in own_or_named(layer, own).items()}
    unknown = [name for name in arrays if not any(name.startswith(start) for start, _ in parts)]
    params = made.params
    if unknown or values.keys() != params.keys():
        wrong = unknown or sorted(values.keys() ^ params.keys())
        raise ValueError(f"missing or unknown weights: {', '.join(wrong):.200}")
    for name, array in params.items():
        if values[name].shape != array.shape or values[name].dtype != array.dtype:
            raise ValueError(
                f"{name} is {values[name].shape} of {values[name].dtype}, expected {array.shape} of {array.dtype}"
            )
    for name, array in params.items():
        array[...] = made.xp.asarray(values[name])
    return made


def _metadata(content: bytes) -> dict[str, str]:
    """The file's metadata: its first 8 bytes say how long the JSON is that follows."""
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= len(content) - 8:
        raise ValueError("it is no safetensors file, or its end is missing")
    found = parse_json(content[8 : 8 + size])
    about = found.get("__metadata__", {}) if isinstance(found, dict) else {}
    return about if isinstance(about, dict) else {}


def _library() -> Any:
    """safetensors.numpy. Raises ImportError that says what to install."""
    try:
        return import_module("safetensors.numpy")
    except ImportError as error:
        raise ImportError(f"safetensors is needed: pip install 'rnnscratch[interop]' ({error})") from error
