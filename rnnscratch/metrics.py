"""How good a classifier is: accuracy, precision, recall, F1, confusion matrix, ROC AUC, calibration, perplexity;
whether one is better than another; and how good translations are: BLEU.

All take host data: whatever NumPy can turn into a row. Labels are strings, whole numbers or booleans; strings and
numbers together are refused. `labels`, where it can be given, are the model's classes: with it a figure means the same
whichever of them occur in the data, without it they are those that do. A ratio whose denominator is 0 counts as 0.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from .checks import (
    as_array,
    as_column,
    as_labels,
    as_list,
    as_strings,
    check_choice,
    check_same_kind,
    check_sizes,
    comparable,
    positions,
    refuse_first,
)

AVERAGES = ("binary", "macro", "micro", "weighted")


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of the N examples that are classified right."""
    true, predicted, _ = _codes(y_true, y_pred, None)
    return float((true == predicted).mean())


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """(K, K) counts: row the true class, column the predicted one, in the order of `labels` (default: sorted).

    Raises ValueError when an example's class is not among `labels`.
    """
    return _counts(*_codes(y_true, y_pred, labels))


def precision(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1, labels: Any = None) -> float:
    """Of those predicted to be of a class, the share that are; averaged over classes as `f1` says."""
    return _scores(*_codes(y_true, y_pred, labels), average, positive)[0]


def recall(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1, labels: Any = None) -> float:
    """Of those of a class, the share that are predicted to be; averaged over classes as `f1` says."""
    return _scores(*_codes(y_true, y_pred, labels), average, positive)[1]


def f1(y_true: Any, y_pred: Any, average: str = "binary", positive: Any = 1, labels: Any = None) -> float:
    """2 precision recall / (precision + recall).

    average "binary": of the class `positive`, one of at most two; "macro": the mean over classes; "weighted": the mean
    weighted by how many examples a class has; "micro": from the counts of all classes together. Raises ValueError for
    another average.

    >>> f1([0, 1, 1, 0], [0, 1, 0, 0], average="macro").__round__(4)
    0.7333
    >>> f1([0, 1, 1, 0], [0, 1, 0, 0], average="macro", labels=[0, 1, 2]).__round__(4)
    0.4889
    """
    return _scores(*_codes(y_true, y_pred, labels), average, positive)[2]


class ByClass(NamedTuple):
    """How each of K classes fares, in their order: arrays (K,)."""

    precision: np.ndarray  # of the examples said to be of the class, the share that are
    recall: np.ndarray  # of those of the class, the share said to be
    f1: np.ndarray
    support: np.ndarray  # examples of the class


def by_class(y_true: Any, y_pred: Any, labels: Any = None) -> ByClass:
    """Precision, recall and F1 of each class apart, in the order of `labels` (default: sorted).

    >>> found = by_class([0, 1, 1, 0], [0, 1, 0, 0])
    >>> found.recall.tolist(), found.support.tolist()
    ([1.0, 0.5], [2, 2])
    """
    matrix = _counts(*_codes(y_true, y_pred, labels))
    actual = matrix.sum(axis=1)
    return ByClass(*_ratios(np.diag(matrix), matrix.sum(axis=0), actual), actual)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """The ends of the 95 % interval of a share, where `hits` of `count` independent examples are (Wilson 1927).

    Within 0 and 1, and sound for few examples and for shares near these too, where 1.96 standard errors are not.
    Raises ValueError for a count below 1 or hits that are not from 0 to it.

    >>> [round(end, 4) for end in share_interval(10, 10)]
    [0.7225, 1.0]
    """
    check_sizes(count=count)
    check_sizes(0, hits=hits)
    if hits > count:
        raise ValueError(f"hits is {hits}, expected at most {count}, the count")
    share, z2 = hits / count, 1.959963984540054**2
    middle = share + z2 / (2 * count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2)))
    ends = ((middle - half) / (1 + z2 / count), (middle + half) / (1 + z2 / count))
    return (0.0 if hits == 0 else ends[0]), (1.0 if hits == count else ends[1])


def roc_auc(y_true: Any, scores: Any, labels: Any = (0, 1)) -> float:
    """The probability that a positive example gets a higher score than a negative one, ties counting half.

    `labels` are the negative and the positive class. Raises ValueError for another class, unless both occur, or when a
    score is NaN.
    """
    scores = as_column("scores", scores)
    true, classes = as_labels("y_true", y_true), as_labels("labels", labels)
    _check_pair(true, scores, "scores")
    if len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(f"labels is {classes.tolist()}, expected the negative and the positive class")
    positive = positions("y_true", true, classes) == 1
    refuse_first("scores", scores, ~np.isnan(scores), "a number")
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        raise ValueError(f"y_true has {n_positive} positive and {n_negative} negative examples, expected some of both")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank among equals, from 1
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


class Calibration(NamedTuple):
    """Whether probabilities are what they say, in bins of equal width that hold an example."""

    predicted: np.ndarray  # (bins,) mean probability of the positive class
    observed: np.ndarray  # (bins,) share of positive examples
    counts: np.ndarray  # (bins,) examples
    error: float  # the mean of |predicted - observed| over examples


def calibration(y_true: Any, probabilities: Any, bins: int = 10, labels: Any = (0, 1)) -> Calibration:
    """Of N examples with these probabilities of the positive class, how many of each `bins` bins are positive.

    `error` is the expected calibration error (Naeini et al. 2015), 0 where of examples with a probability of p just the
    share p is positive. `labels` are the negative and the positive class. Raises ValueError for another class, or for
    what is no probability.

    >>> calibration([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75], bins=2).error
    0.25
    """
    check_sizes(bins=bins)
    p = as_column("probabilities", probabilities)
    true, classes = as_labels("y_true", y_true), as_labels("labels", labels)
    _check_pair(true, p, "probabilities")
    if len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(f"labels is {classes.tolist()}, expected the negative and the positive class")
    refuse_first("probabilities", p, (p >= 0) & (p <= 1), "a number from 0 to 1")
    positive = positions("y_true", true, classes) == 1
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)  # a number on an edge belongs to the bin below it
    counts = np.bincount(place, minlength=bins)
    held = counts > 0
    sums = (np.bincount(place, weights, bins)[held] for weights in (p, positive))
    predicted, observed = (total / counts[held] for total in sums)
    error = float((np.abs(predicted - observed) * counts[held]).sum() / len(p))
    return Calibration(predicted, observed, counts[held], error)


class McNemar(NamedTuple):
    """How two classifiers differ on the same examples."""

    first_only: int  # examples that the first alone classifies right
    second_only: int
    p_value: float  # of a difference at least so large, were both equally good


def mcnemar(y_true: Any, first: Any, second: Any) -> McNemar:
    """Is one of two classifiers better, or is it chance? McNemar's exact test on their predictions for N examples.

    Of n examples that just one of them classifies right, either would have half were they equally good: the number is
    binomial (n, 1/2), and the p-value its two-sided tail, summed exactly, since the usual chi-square approximation is
    wrong for small n. Without such an example it is 1.

    >>> mcnemar([1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0])
    McNemar(first_only=3, second_only=1, p_value=0.625)
    """
    right = []
    for name, predicted in (("first", first), ("second", second)):
        true, found, _ = _codes(y_true, predicted, None, name)
        right.append(true == found)
    first_only, second_only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    n, ways, tail = first_only + second_only, 1, 1  # n choose k, and the sum so far
    for k in range(1, min(first_only, second_only) + 1):
        ways = ways * (n - k + 1) // k
        tail += ways
    return McNemar(first_only, second_only, min(1.0, 2 * tail / 2**n))


def perplexity(negative_log_likelihoods: Any) -> float:
    """exp of the mean negative log-likelihood (natural logarithm) per token: the number of equally likely choices.

    Takes that mean, or the value of each token; infinite where one is, or where a float cannot hold the result.

    >>> round(perplexity([math.log(4), math.log(16)]), 12)
    8.0
    """
    values = as_array("negative_log_likelihoods", negative_log_likelihoods).astype(float)
    if values.size == 0:
        raise ValueError("negative_log_likelihoods is empty, expected at least one number")
    refuse_first("negative_log_likelihoods", values, values > -math.inf, "a number")
    try:
        return math.exp(values.mean())
    except OverflowError:
        return math.inf


def classification_scores(y_true: Any, y_pred: Any, labels: Any = None) -> dict[str, float]:
    """Accuracy, precision, recall and F1: of class 1 where all `labels` are 0 or 1, else macro averages.

    Without `labels`, those of the data count.
    """
    true, predicted, classes = _codes(y_true, y_pred, labels)
    average = "binary" if set(classes.tolist()) <= {0, 1} else "macro"
    p, r, f = _scores(true, predicted, classes, average, 1)
    return {"accuracy": float((true == predicted).mean()), "precision": p, "recall": r, "f1": f}


def _counts(true: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> np.ndarray:
    K = len(classes)
    return np.bincount(true * K + predicted, minlength=K * K).reshape(K, K)


def _scores(
    true: np.ndarray, predicted: np.ndarray, classes: np.ndarray, average: str, positive: Any
) -> tuple[float, float, float]:
    check_choice("average", average, AVERAGES)
    matrix = _counts(true, predicted, classes)
    hits, said, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    weights = actual / actual.sum() if average == "weighted" else np.full(len(hits), 1 / len(hits))
    if average == "micro":
        hits, said, actual, weights = hits.sum(), said.sum(), actual.sum(), np.ones(1)
    elif average == "binary":
        place = _place_of(positive, classes)
        hits, said, actual = (np.append(counts, 0)[place] for counts in (hits, said, actual))
        weights = np.ones(1)
    p, r, f = (float(np.atleast_1d(ratio) @ weights) for ratio in _ratios(hits, said, actual))
    return p, r, f


def _ratios(hits: np.ndarray, said: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1."""
    return _ratio(hits, said), _ratio(hits, actual), _ratio(2 * hits, said + actual)


def bleu(references: Any, outputs: Any, longest: int = 4) -> float:
    """How much N outputs have in common with their references, by NLTK (Papineni et al. 2002): from 0 to 1.

    The geometric mean of the shares of their n-grams, up to `longest`, that a reference has too, times a penalty where
    outputs are shorter. `outputs` are lists of tokens, `references` for each of them a list of such lists. 0 where no
    n-gram of a length is right. Raises ValueError or TypeError for other numbers or kinds.

    >>> bleu([[["the", "cat", "sat", "on", "the", "mat"]]], [["the", "cat", "sat", "on", "a", "mat"]]).__round__(4)
    0.5373
    """
    from nltk.translate.bleu_score import corpus_bleu

    check_sizes(longest=longest)
    found, outputs = as_list("references", references), as_list("outputs", outputs)
    if len(found) != len(outputs) or not outputs:
        raise ValueError(f"references number {len(found)} and outputs {len(outputs)}, expected as many, at least one")
    outputs = [as_strings(f"outputs[{k}]", output) for k, output in enumerate(outputs)]
    lists = []
    for k, given in enumerate(found):
        given = as_list(f"references[{k}]", given)
        if not given:
            raise ValueError(f"references[{k}] is empty, expected at least one list of tokens")
        lists.append([as_strings(f"references[{k}][{j}]", tokens) for j, tokens in enumerate(given)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NLTK says that 0 is 0
        score = float(corpus_bleu(lists, outputs, weights=(1 / longest,) * longest))
    return score if score > 1e-12 else 0.0


def _place_of(positive: Any, classes: np.ndarray) -> int:
    """Where the positive class is among at most two classes; at -1, if there is but one, and another."""
    found = as_labels("positive", [positive])
    check_same_kind("positive", found, "y_true", classes)
    if len(classes) > 2:
        raise ValueError(
            f"average is 'binary', expected two classes but got {classes.tolist()!s:.200}; choose 'macro' or another"
        )
    place = np.flatnonzero(classes == found[0])
    if not len(place) and len(classes) == 2:
        raise ValueError(f"positive is {positive!r}, expected one of the classes {classes.tolist()}")
    return int(place[0]) if len(place) else -1


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0)


def _codes(y_true: Any, y_pred: Any, labels: Any, name: str = "y_pred") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the true and the predicted label of each example stand among the classes, and the classes."""
    true, predicted = as_labels("y_true", y_true), as_labels(name, y_pred)
    _check_pair(true, predicted, name)
    check_same_kind(name, predicted, "y_true", true)
    if labels is not None:
        classes = as_labels("labels", labels)
        if not len(classes) or len(np.unique(classes)) < len(classes):
            raise ValueError(f"labels is {classes.tolist()!s:.200}, expected different classes")
    else:
        classes = np.unique(np.concatenate(comparable(true, predicted)))
        for side, these, others in (("y_true", true, predicted), (name, predicted, true)):
            if these.dtype.kind == "f":  # a fraction that only one of them holds is no label, but a probability
                ours = (these == np.floor(these)) | np.isin(these, others)
                refuse_first(side, these, ours, "class labels, not probabilities")
    return positions("y_true", true, classes), positions(name, predicted, classes), classes


def _check_pair(y_true: np.ndarray, other: np.ndarray, name: str) -> None:
    if y_true.shape != other.shape:
        raise ValueError(
            f"{name} has shape {other.shape}, expected {y_true.shape} as y_true, one number for each example"
        )
    if len(y_true) == 0:
        raise ValueError("y_true is empty, expected at least one example")
