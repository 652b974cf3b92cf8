"""A trained model in one `.npz` file: weights, configuration and vocabulary, no pickle."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import module_for, to_cpu
from ..checks import check_choice, non_finite
from ..files import load_arrays, reading, save_arrays
from ..text.vocabulary import Vocabulary
from . import classifier, language_model, seq2seq
from .base import Model

FORMAT = "rnnscratch model 1"
LATER = {"freeze", "label_smoothing", "adversarial", "virtual", "noise_weight"}  # options that older files do not have
HOMES: dict[str, Any] = {  # each has the class, `configuration` and `parameter_shapes`
    "SequenceClassifier": classifier,
    "LanguageModel": language_model,
    "Seq2Seq": seq2seq,
}
SIZES = {"Seq2Seq": ("source_size", "target_size")}  # how many words each vocabulary has; others have one
DEFAULT = "SequenceClassifier"  # what a file holds that does not say it


def save_model(
    path: str | os.PathLike[str],
    model: Model,
    vocabulary: Any = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write the model, its vocabulary, and `extra`, a dict that JSON can hold. A failure leaves an older file whole.

    A `Seq2Seq` has a pair of vocabularies, of sources and of targets.

    Raises ValueError for weights that are not finite or a vocabulary of another size than the model's, TypeError for
    what is no model or an `extra` that JSON cannot hold, and OSError when the file cannot be written.
    """
    kind = next((name for name, home in HOMES.items() if isinstance(model, getattr(home, name))), None)
    if kind is None:
        raise TypeError(f"model is {type(model).__name__}, expected one of {', '.join(HOMES)}")
    extra = {} if extra is None else extra
    if not isinstance(extra, dict) or not all(isinstance(name, str) for name in extra):
        raise TypeError(f"extra is {extra!r:.60}, expected a dict with strings as names, as JSON has them")
    config = model.config()
    if vocabulary is not None:
        check_vocabularies(each_of(vocabulary, kind), config, kind)
    params = {name: to_cpu(array) for name, array in model.params.items()}
    check_finite(params)
    header = {
        "format": FORMAT,
        **({} if kind == DEFAULT else {"model": kind}),
        "config": config,
        "vocabulary": words_of(vocabulary),
        "extra": extra,
    }
    save_arrays(path, header, params)


def load_model(path: str | os.PathLike[str], device: str = "cpu") -> tuple[Any, Any, dict[str, Any]]:
    """The model on `device`, its vocabulary (a pair of a `Seq2Seq`, or None) and `extra`, as `save_model` wrote them.

    Raises FileNotFoundError, or ValueError, naming the file, for one that is truncated, foreign, or does not fit
    together; ValueError or RuntimeError for a device there is not.
    """
    module_for(device)  # a wrong device is no fault of the file
    header, arrays = load_arrays(path, FORMAT)
    with reading(path):
        config, words, extra = header["config"], header["vocabulary"], header["extra"]
        kind = header.get("model", DEFAULT)
        check_choice("model", kind, HOMES)
        check_params(arrays, config, kind)
        vocabulary: Any = None
        if words is not None:
            if not isinstance(words, list):
                raise ValueError(f"vocabulary is {type(words).__name__}, expected a list of words")
            found = [Vocabulary(each) for each in (words if kind in SIZES else [words])]
            check_vocabularies(found, config, kind)
            vocabulary = tuple(found) if kind in SIZES else found[0]
        if not isinstance(extra, dict):
            raise ValueError(f"extra is {type(extra).__name__}, expected a dict")
        model = getattr(HOMES[kind], kind)(**{**config, "device": device}, seed=0)
        model.load_params(arrays)
    return model, vocabulary, extra


def each_of(vocabulary: Any, kind: str) -> Any:
    """A model's vocabularies, one or two. Raises TypeError for anything else."""
    found = vocabulary if kind in SIZES else (vocabulary,)
    if not isinstance(found, tuple | list) or not all(isinstance(each, Vocabulary) for each in found):
        raise TypeError(
            f"vocabulary is {type(vocabulary).__name__}, expected {'a pair of' if kind in SIZES else 'a'} Vocabulary"
        )
    return found


def words_of(vocabulary: Any) -> Any:
    """The words of a vocabulary, or of each of a pair, as JSON can hold them."""
    if vocabulary is None:
        return None
    return vocabulary.words if isinstance(vocabulary, Vocabulary) else [each.words for each in vocabulary]


def check_vocabularies(vocabularies: Any, config: Mapping[str, Any], kind: str) -> None:
    """Raise ValueError unless there are as many as the model has, each as long as it says."""
    sizes = [config[name] for name in SIZES.get(kind, ("vocabulary_size",))]
    found = [len(each) for each in vocabularies]
    if found != sizes:
        given = " and ".join(map(str, found))
        raise ValueError(f"vocabulary has {given} words, expected {' and '.join(map(str, sizes))} as the model")


def check_params(arrays: Mapping[str, np.ndarray], config: Any, kind: str = DEFAULT) -> None:
    """Raise ValueError or TypeError unless arrays are just the parameters of a model of this configuration, and finite.

    Nothing is made of the sizes in the configuration before they are known to be those of arrays that are here already.
    """
    configuration, parameter_shapes = HOMES[kind].configuration, HOMES[kind].parameter_shapes
    options = inspect.signature(getattr(HOMES[kind], kind)).parameters.keys() - {"seed", "embeddings"}
    if not isinstance(config, dict) or config.keys() | (LATER & options) != options:
        raise ValueError(f"config is {config!r:.200}, expected the options {', '.join(sorted(options))}")
    config = configuration({**config, "device": "cpu"})
    if config["num_layers"] > len(arrays):
        raise ValueError(f"num_layers is {config['num_layers']}, but there are only {len(arrays)} arrays")
    shapes = parameter_shapes(config)
    if shapes.keys() != arrays.keys():
        raise ValueError(f"missing or unknown arrays: {', '.join(sorted(shapes.keys() ^ arrays.keys())):.200}")
    for name, shape in shapes.items():
        found = arrays[name]
        if found.shape != shape or found.dtype != config["dtype"]:
            raise ValueError(f"{name} is {found.shape} of {found.dtype}, expected {shape} of {config['dtype']}")
    check_finite(arrays)


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError naming an array that holds NaN or infinity."""
    if (spoilt := non_finite(arrays)) is not None:
        raise ValueError(f"{spoilt} holds NaN or infinity")
