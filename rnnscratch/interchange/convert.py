"""A model's file in another format: .npz of this library, .safetensors, .onnx."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..files import user_path
from ..layers import Layer
from ..models.saved import load_model, save_model
from .onnx_export import to_onnx
from .onnx_import import from_onnx
from .tensors import load_safetensors, save_safetensors

ENDINGS = (".npz", ".safetensors", ".onnx")


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Any:
    """Read a model or layer and write it in the format that the target's ending says; returns it.

    Only .npz holds a vocabulary and further notes: from .npz to .npz they stay, elsewhere they are left out. Raises
    ValueError for another ending, for what the other format cannot hold, or naming a file that is damaged; OSError
    for one that cannot be read or written; ImportError without the extra `interop` where it is needed.
    """
    places = user_path(source), user_path(target)
    for name, path in zip(("source", "target"), places):
        if path.suffix not in ENDINGS:
            raise ValueError(f"{name} is {path}, expected a file that ends with {', '.join(ENDINGS)}")
    vocabulary, extra = None, None
    if places[0].suffix == ".npz":
        model, vocabulary, extra = load_model(places[0])
    else:
        model = load_safetensors(places[0]) if places[0].suffix == ".safetensors" else from_onnx(places[0])
    if isinstance(model, list):
        raise ValueError(f"{places[0]} holds {len(model)} separate layers, expected one layer or model")
    write(places[1], model, vocabulary, extra)
    return model


def write(path: Path, model: Any, vocabulary: Any, extra: Any) -> None:
    """Write it in the format of the ending."""
    if path.suffix == ".safetensors":
        save_safetensors(path, model)
    elif path.suffix == ".onnx":
        to_onnx(model, path)
    elif isinstance(model, Layer):
        raise ValueError(f"target is {path}, but .npz holds models, and this is a single {type(model).__name__}")
    else:
        save_model(path, model, vocabulary, extra)
