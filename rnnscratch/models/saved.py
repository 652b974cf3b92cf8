"""A trained classifier in one `.npz` file: weights, configuration and vocabulary, no pickle."""

from __future__ import annotations

import os
from typing import Any

from ..backend import to_cpu
from ..files import load_arrays, save_arrays
from ..text.vocabulary import Vocabulary
from .classifier import SequenceClassifier

FORMAT = "rnnscratch model 1"


def save_model(
    path: str | os.PathLike[str],
    model: SequenceClassifier,
    vocabulary: Vocabulary | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write the model, its vocabulary, and `extra`, a dict that JSON can hold. A failure leaves an older file whole."""
    header = {
        "format": FORMAT,
        "config": model.config(),
        "vocabulary": None if vocabulary is None else vocabulary.words,
        "extra": extra or {},
    }
    save_arrays(path, header, {name: to_cpu(array) for name, array in model.params.items()})


def load_model(
    path: str | os.PathLike[str], device: str = "cpu"
) -> tuple[SequenceClassifier, Vocabulary | None, dict[str, Any]]:
    """The model, its vocabulary (or None) and `extra`, as `save_model` wrote them.

    Raises FileNotFoundError, or ValueError, naming the file, for one that is truncated, foreign, or does not fit
    together.
    """
    header, arrays = load_arrays(path, FORMAT)
    try:
        config = dict(header["config"], device=device)
        declared = (config["vocabulary_size"], config["embedding_dim"])
        if arrays["embedding.E"].shape != declared or len(arrays["recurrent.U_l0"]) != config["hidden_size"]:
            raise ValueError("its configuration does not fit its arrays")
        if f"recurrent.U_l{config.get('num_layers', 1) - 1}" not in arrays:
            raise ValueError("layers are missing")
        model = SequenceClassifier(**config)
        vocabulary = None if header["vocabulary"] is None else Vocabulary(header["vocabulary"])
        load_params(model, arrays)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} does not fit together: {error}") from None
    return model, vocabulary, header["extra"]


def load_params(model: Any, arrays: dict[str, Any]) -> None:
    """Copy arrays into the model's parameters. Raises ValueError, before anything is changed, where they do not fit."""
    params = model.params
    if params.keys() != arrays.keys():
        raise ValueError(f"parameters differ: only in one are {', '.join(sorted(params.keys() ^ arrays.keys()))}")
    for name, param in params.items():
        if arrays[name].shape != param.shape or arrays[name].dtype != param.dtype:
            raise ValueError(
                f"{name} is {arrays[name].shape} of {arrays[name].dtype}, expected {param.shape} of {param.dtype}"
            )
    for name, param in params.items():
        param[...] = model.xp.asarray(arrays[name])
