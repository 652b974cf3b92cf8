"""What a trained classifier does with the words of one text: its gates, and which words move the answer.

ids (T,) are the words of one text, `model` a `SequenceClassifier`, whose parameters stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_column, refuse_first
from ..layers import Recurrent
from ..models import SequenceClassifier
from .trace import trace


def forward_cell(model: SequenceClassifier) -> Recurrent:
    """The first recurrent layer of a model, read forwards, as a float64 layer of its own."""
    old = model.recurrent
    one = {"num_layers": 1, "bidirectional": False, "dtype": "float64", "device": "cpu"}
    layer = type(old)(**old.config() | one)
    for name in layer.params:
        layer.params[name][...] = to_cpu(old.params[name])
    return layer


def gates(model: SequenceClassifier, ids: Any) -> dict[str, np.ndarray]:
    """The values (T, H) of each gate of the first layer, read forwards, and of its states h and c, word by word.

    Raises ValueError for ids that are no row of the model's words.
    """
    ids = _check_ids(model, ids)
    layer = forward_cell(model)
    x = to_cpu(model.embedding.params["E"])[ids][:, None].astype(np.float64)
    steps = trace(layer, x)
    names = [*(layer.gates if layer.gates != "h" else ""), *layer.states]
    return {name: steps[name][:, 0] for name in names}


def saliency(model: SequenceClassifier, ids: Any, label: int = 1) -> np.ndarray:
    """(T,): gradient times input, (d logit / dx_t) . x_t: how much of the logit of `label` each word accounts for.

    A first-order estimate of `occlusion`, at the price of one backward pass. Two classes have one logit, that of 1;
    for label 0 the sign changes. Raises TypeError or ValueError for another model, ids that are no row of its words, or
    no label of its classes.
    """
    twin, places = _places(model, ids)
    logits = twin.forward(places[:, None])
    twin.backward(_direction(twin, logits, label))
    E, dE = (to_cpu(arrays["E"])[: len(places)] for arrays in (twin.embedding.params, twin.embedding.grads))
    return (E * dE).sum(axis=1)


def occlusion(model: SequenceClassifier, ids: Any, label: int = 1) -> np.ndarray:
    """(T,): how much the logit of class `label` falls when a word's embedding is replaced by zeros, word by word.

    Raises as `saliency`.
    """
    twin, places = _places(model, ids)
    T = len(places)
    without = np.repeat(places[:, None], T + 1, axis=1)
    without[places, places] = T  # column t without word t; the last column is whole
    logits = twin.forward(without)
    values = (logits * _direction(twin, logits, label)).reshape(T + 1, -1).sum(axis=1)
    return values[-1] - values[:-1]


def _direction(model: SequenceClassifier, logits: np.ndarray, label: int) -> np.ndarray:
    """The gradient of the logit of `label` with respect to the logits, in every row."""
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise TypeError(f"label is {label!r:.60}, expected a whole number")
    if not 0 <= label < model.num_classes:
        raise ValueError(f"label is {label}, expected 0 to {model.num_classes - 1}")
    if model.num_classes == 2:
        return np.full_like(logits, 1.0 if label else -1.0)
    found = np.zeros_like(logits)
    found[:, label] = 1.0
    return found


def _places(model: SequenceClassifier, ids: Any) -> tuple[SequenceClassifier, np.ndarray]:
    """A float64 copy whose embedding has a row for each place in the text and one of zeros, and the places (T,)."""
    ids = _check_ids(model, ids)
    config = model.config() | {"vocabulary_size": len(ids) + 1, "dtype": "float64", "device": "cpu"}
    twin = SequenceClassifier(**config, seed=0)
    params = {name: to_cpu(array).astype(np.float64) for name, array in model.params.items()}
    E = params["embedding.E"]
    params["embedding.E"] = np.concatenate([E[ids], np.zeros((1, E.shape[1]))])
    twin.load_params(params)
    return twin, np.arange(len(ids))


def _check_ids(model: Any, ids: Any) -> np.ndarray:
    if not isinstance(model, SequenceClassifier):
        raise TypeError(f"model is {type(model).__name__}, expected SequenceClassifier")
    model.check_weights()
    found = to_cpu(as_column("ids", ids, "iu"))
    if not len(found):
        raise ValueError("ids is empty, expected at least one word")
    refuse_first("ids", found, (found >= 0) & (found < model.vocabulary_size), f"0 to {model.vocabulary_size - 1}")
    return found
