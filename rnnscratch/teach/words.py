"""What a trained classifier does with the words of one text: its gates, and which words move the answer.

ids (T,) are the words of one text, `model` a `SequenceClassifier`, whose parameters stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import blas_threads, to_cpu
from ..checks import as_column, check_flags, check_ids, refuse_first
from ..layers import Recurrent
from ..models import SequenceClassifier
from ..progress import progress_bar
from ..text.batches import STEPS
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


def score(model: SequenceClassifier, ids: Any, label: int = 1, contrast: bool = False) -> float:
    """The logit of `label`, with `contrast` less the mean of the other classes' logits; the log-odds of two classes.

    Raises as `saliency`.
    """
    twin, places = _places(model, ids)
    logits, _ = twin.call(places[:, None], keep=False)
    return float(logits.reshape(-1) @ _direction(twin, label, contrast))


def saliency(model: SequenceClassifier, ids: Any, label: int = 1, contrast: bool = False) -> np.ndarray:
    """(T,): gradient times input, (d score / dx_t) . x_t: how much of the `score` of a label each word accounts for.

    A first-order estimate of `occlusion`, at the price of one backward pass. Raises TypeError or ValueError for another
    model, ids that are no row of its words, or no label of its classes.
    """
    twin, places = _places(model, ids)
    logits = twin.forward(places[:, None])
    twin.backward(_direction(twin, label, contrast).reshape(logits.shape))
    E, dE = (to_cpu(arrays["E"])[: len(places)] for arrays in (twin.embedding.params, twin.embedding.grads))
    return (E * dE).sum(axis=1)


def occlusion(
    model: SequenceClassifier,
    ids: Any,
    label: int = 1,
    contrast: bool = False,
    by: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """(T,): how much the `score` of a label falls when a word is taken away, word by word.

    The word `by` takes its place, such as 0, the unknown one; where None, its embedding is zeros. The work grows with
    the square of the length; with `progress` a bar is shown where the text is long. Raises as `saliency`.
    """
    twin, places = _places(model, ids, by)
    T, direction = len(places), _direction(twin, label, contrast)
    check_flags(progress=progress)
    values = np.empty(T + 1)
    rows = max(1, STEPS // T)  # texts that are read together
    with blas_threads(twin.params):
        for first in progress_bar(range(0, T + 1, rows), progress and rows <= T, desc="occlusion", leave=False):
            columns = np.arange(first, min(first + rows, T + 1))
            without = np.repeat(places[:, None], len(columns), axis=1)
            without[places[:, None] == columns] = T  # column t without word t; the last column is whole
            logits, _ = twin.call(without, keep=False)
            values[columns] = logits.reshape(len(columns), -1) @ direction
    falls = values[-1] - values[:-1]
    return falls if by is None else np.where(to_cpu(as_column("ids", ids, "iu")) == by, 0.0, falls)


def _direction(model: SequenceClassifier, label: int, contrast: bool) -> np.ndarray:
    """The gradient of the score of `label` with respect to the logits: (1,) for two classes, else (K,)."""
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise TypeError(f"label is {label!r:.60}, expected a whole number")
    if not 0 <= label < model.num_classes:
        raise ValueError(f"label is {label}, expected 0 to {model.num_classes - 1}")
    check_flags(contrast=contrast)
    if model.num_classes == 2:
        return np.array([1.0 if label else -1.0])
    found = np.full(model.num_classes, -1 / (model.num_classes - 1) if contrast else 0.0)
    found[label] = 1.0
    return found


def _places(model: SequenceClassifier, ids: Any, by: int | None = None) -> tuple[SequenceClassifier, np.ndarray]:
    """A float64 copy whose embedding has a row for each place in the text and one of the word `by`, or of zeros; and
    the places (T,).
    """
    ids = _check_ids(model, ids)
    config = model.config() | {"vocabulary_size": len(ids) + 1, "dtype": "float64", "device": "cpu", "freeze": False}
    twin = SequenceClassifier(**config, seed=0)
    params = {name: to_cpu(array).astype(np.float64) for name, array in model.params.items()}
    E = params["embedding.E"]
    instead = np.zeros(E.shape[1]) if by is None else E[check_ids(np.array([by]), len(E), "by")][0]
    params["embedding.E"] = np.concatenate([E[ids], instead[None]])
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
