"""How good a classifier is: accuracy, precision, recall, F1, confusion matrix, ROC AUC, perplexity.

All take host data: lists or NumPy arrays. A ratio whose denominator is 0 counts as 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

AVERAGES = ("binary", "macro", "micro", "weighted")


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of the N examples that are classified right."""
    y_true, y_pred = _labels(y_true, y_pred)
    return float((y_true == y_pred).mean())


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """(K, K) counts: row the true class, column the predicted one, in the order of `labels` (default: sorted).

    Raises ValueError when an example's class is not among `labels`.
    """
    y_true, y_pred = _labels(y_true, y_pred)
    classes = np.unique(np.concatenate([y_true, y_pred])) if labels is None else np.asarray(labels)
    place = {label: k for k, label in enumerate(classes.tolist())}
    unknown = set(np.concatenate([y_true, y_pred]).tolist()) - place.keys()
    if unknown:
        raise ValueError(f"labels is {classes.tolist()}, but the data hold {sorted(unknown)} too")
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    rows, columns = ([place[label] for label in y.tolist()] for y in (y_true, y_pred))
    np.add.at(matrix, (rows, columns), 1)
    return matrix


def precision(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1) -> float:
    """Of those predicted to be of a class, the share that are; averaged over classes as `f1` says."""
    return _scores(y_true, y_pred, average, positive)[0]


def recall(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1) -> float:
    """Of those of a class, the share that are predicted to be; averaged over classes as `f1` says."""
    return _scores(y_true, y_pred, average, positive)[1]


def f1(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1) -> float:
    """2 precision recall / (precision + recall).

    average "binary": of the class `positive`, one of at most two; "macro": the mean over classes; "weighted": the mean
    weighted by how many examples a class has; "micro": from the counts of all classes together. Raises ValueError for
    another average.

    >>> f1([0, 1, 1, 0], [0, 1, 0, 0], average="macro").__round__(4)
    0.7333
    """
    return _scores(y_true, y_pred, average, positive)[2]


def roc_auc(y_true: Any, scores: Any) -> float:
    """The probability that a positive example (label 1) gets a higher score than a negative one, ties counting half.

    Raises ValueError unless the labels are 0 and 1 and both occur, or when a score is NaN.
    """
    y_true, scores = _pair(y_true, scores, "scores")
    other = y_true[(y_true != 0) & (y_true != 1)]
    if len(other):
        raise ValueError(f"y_true holds {other[0]}, expected only 0 and 1")
    if np.isnan(scores.astype(float)).any():
        raise ValueError("scores holds NaN, expected numbers")
    positive = y_true == 1
    n_positive = int(positive.sum())
    n_negative = len(y_true) - n_positive
    if not n_positive or not n_negative:
        raise ValueError(f"y_true has {n_positive} positive and {n_negative} negative examples, expected some of both")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank among equals, from 1
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def perplexity(negative_log_likelihoods: Any) -> float:
    """exp of the mean negative log-likelihood (natural logarithm) per token: the number of equally likely choices.

    Takes that mean, or the value of each token.

    >>> round(perplexity([math.log(4), math.log(16)]), 12)
    8.0
    """
    values = np.asarray(negative_log_likelihoods, dtype=float)
    if values.size == 0:
        raise ValueError("negative_log_likelihoods is empty, expected at least one number")
    try:
        return math.exp(values.mean())
    except OverflowError:
        return math.inf


def classification_scores(y_true: Any, y_pred: Any) -> dict[str, float]:
    """Accuracy, precision, recall and F1: of class 1 where all labels are 0 or 1, else macro averages."""
    y_true, y_pred = _labels(y_true, y_pred)
    average = "binary" if set(np.unique(np.concatenate([y_true, y_pred])).tolist()) <= {0, 1} else "macro"
    p, r, f = _scores(y_true, y_pred, average, 1)
    return {"accuracy": accuracy(y_true, y_pred), "precision": p, "recall": r, "f1": f}


def _scores(y_true: Any, y_pred: Any, average: str, positive: Any) -> tuple[float, float, float]:
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}, expected one of {', '.join(map(repr, AVERAGES))}")
    y_true, y_pred = _labels(y_true, y_pred)
    if average == "binary":
        classes = np.unique(np.concatenate([y_true, y_pred])).tolist()
        if len(classes) > 2:
            raise ValueError(f"average is 'binary', expected two classes but got {classes}; choose 'macro' or another")
        if len(classes) == 2 and positive not in classes:
            raise ValueError(f"positive is {positive!r}, expected one of the classes {classes}")
        hits = np.array([((y_true == positive) & (y_pred == positive)).sum()])
        predicted, actual = np.array([(y_pred == positive).sum()]), np.array([(y_true == positive).sum()])
        weights = np.ones(1)
    else:
        matrix = confusion_matrix(y_true, y_pred)
        hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
        if average == "micro":
            hits, predicted, actual = (count.sum(keepdims=True) for count in (hits, predicted, actual))
        weights = actual / actual.sum() if average == "weighted" else np.full(len(hits), 1 / len(hits))
    p, r = _ratio(hits, predicted), _ratio(hits, actual)
    f = _ratio(2 * hits, predicted + actual)
    return float(p @ weights), float(r @ weights), float(f @ weights)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0)


def _labels(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = _pair(y_true, y_pred, "y_pred")
    for name, labels in (("y_true", y_true), ("y_pred", y_pred)):
        if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
            found = labels[labels != np.floor(labels)][0]
            raise ValueError(f"{name} holds {found}, expected class labels, not probabilities")
    if (y_true.dtype.kind == "U") != (y_pred.dtype.kind == "U"):
        raise TypeError(f"y_pred has dtype {y_pred.dtype}, expected the kind of y_true, which has {y_true.dtype}")
    return y_true, y_pred


def _pair(y_true: Any, other: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    y_true, other = np.asarray(y_true), np.asarray(other)
    if y_true.ndim != 1 or y_true.shape != other.shape:
        raise ValueError(
            f"{name} has shape {other.shape}, expected {y_true.shape} as y_true, one number for each example"
        )
    if len(y_true) == 0:
        raise ValueError("y_true is empty, expected at least one example")
    return y_true, other
