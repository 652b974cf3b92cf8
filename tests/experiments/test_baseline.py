"""The linear baselines: ratios counted by hand, what pairs of words tell and single words do not, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.linear_model

from rnnscratch.experiments.baseline import BagOfWords, NbNgrams, totals

V = 6


def texts(count, seed=0):
    """3 before 4 is class 1, 4 before 3 class 0: the words are the same."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    sequences = []
    for label in labels:
        filler = rng.choice([1, 2, 5], rng.integers(2, 8)).tolist()
        at = rng.integers(0, len(filler))
        sequences.append(np.array(filler[:at] + ([3, 4] if label else [4, 3]) + filler[at:]))
    return sequences, labels


def test_pairs_of_words_tell_what_words_alone_do_not():
    train, held_out = texts(300), texts(200, 1)
    found = {kind: kind(V).fit(*train).decision(held_out[0]) > 0 for kind in (NbNgrams, BagOfWords)}
    assert (found[NbNgrams] == held_out[1]).all()
    assert (found[BagOfWords] == held_out[1]).mean() < 0.7


def test_features_and_ratios_are_those_one_counts_by_hand():
    """With so large a penalty that v is next to 0, the weights by their mean size are r, but for a factor."""
    sequences = [[1, 2], [1, 2, 1], [2, 1], [1, 0, 3]]
    model = NbNgrams(V, min_count=2, smoothing=0.5, interpolation=0.0).fit(sequences, [1, 1, 0, 0])
    assert model.features.tolist() == [1, 2, 1 * V + 2, 2 * V + 1]  # in 4, 3, 2 and 2 texts; 3 in but one
    p, q = np.array([2, 2, 2, 1]) + 0.5, np.array([2, 1, 0, 1]) + 0.5
    r = np.log(p / p.sum()) - np.log(q / q.sum())
    np.testing.assert_allclose(model.weights / model.weights[0], r / r[0], rtol=1e-12)
    assert model.num_params == 5
    logits = model.decision([[1, 1], [], [2, 1], [4, 0, 5]])
    w = model.weights
    np.testing.assert_allclose(logits - model.bias, [w[0], 0, w[0] + w[1] + w[3], 0], atol=1e-12)


def test_it_finds_the_least_penalised_loss():
    """As scikit-learn does, of the same features times r."""
    sequences, labels = texts(120)
    labels[:15] = 1 - labels[:15]
    model = NbNgrams(V, l2=0.01, steps=3000, batch_size=120).fit(sequences, labels)
    X = np.array(
        [
            [ids.tolist().count(f) > 0 if f < V else f in ids[:-1] * V + ids[1:] for f in model.features]
            for ids in sequences
        ]
    )
    p, q = (X[labels == k].sum(axis=0) + 1.0 for k in (1, 0))
    r = np.log(p / p.sum()) - np.log(q / q.sum())
    peer = sklearn.linear_model.LogisticRegression(C=1 / (0.01 * 120), tol=1e-10, max_iter=10_000).fit(X * r, labels)
    np.testing.assert_allclose(model.decision(sequences), peer.decision_function(X * r), atol=2e-3)


def test_runs_of_three_words_tell_what_pairs_do_not():
    """3 3 4 4 3 against 3 4 4 3 3: of two 3 in a row before two 4, or after, each text has as many pairs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    fillers = [rng.choice([1, 2, 5], 4).tolist() for _ in labels]
    sequences = [f[:2] + ([3, 3, 4, 4, 3] if label else [3, 4, 4, 3, 3]) + f[2:] for f, label in zip(fillers, labels)]
    right = {n: (NbNgrams(V, n).fit(sequences, labels).decision(sequences) > 0) == labels for n in (2, 3)}
    assert right[3].all() and right[2].mean() < 0.8
    model = NbNgrams(V, 3, min_count=1).fit([[1, 2, 0, 3], [2, 3, 4]], [1, 0])
    assert model.features.tolist() == [1, 2, 3, 4, 1 * V + 2, 2 * V + 3, 3 * V + 4, (2 * V + 3) * V + 4]


@pytest.mark.parametrize("folds", [2, 5])
def test_held_out_logits_are_those_of_a_model_of_the_other_folds(folds):
    sequences, labels = texts(83)
    model = NbNgrams(V)
    logits = model.fit_decision(sequences, labels, folds)
    np.testing.assert_array_equal(model.decision(sequences), NbNgrams(V).fit(sequences, labels).decision(sequences))
    fold = np.zeros(83, int)
    for label in (0, 1):
        for k, part in enumerate(np.split(np.flatnonzero(labels == label), edges(labels, label, folds))):
            fold[part] = k
    for k in range(folds):
        others = np.flatnonzero(fold != k)
        alone = NbNgrams(V).fit([sequences[i] for i in others], labels[others])
        expected = alone.decision([sequences[i] for i in np.flatnonzero(fold == k)])
        np.testing.assert_array_equal(logits[fold == k], expected)


def edges(labels, label, folds):
    """Where a label's folds begin: as even parts as there are, in order."""
    count = int((labels == label).sum())
    return [math.ceil(k * count / folds) for k in range(1, folds)]


def test_a_label_with_one_text_cannot_be_held_out():
    with pytest.raises(ValueError, match="labels hold 1 1 times, expected at least 2"):
        NbNgrams(V).fit_decision([[1, 2], [1, 2], [1, 2]], [0, 0, 1])


def test_the_same_data_give_the_same_bits():
    train = texts(50)
    first, second = (NbNgrams(V, batch_size=7, steps=20).fit(*train).weights for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_totals_are_sums_over_each_text_also_empty_ones(rng):
    values, places = rng.standard_normal(5), np.array([0, 4, 2, 2, 1])
    found = totals(values, places, np.array([2, 0, 3, 0]))
    np.testing.assert_allclose(found, [values[0] + values[4], 0, 2 * values[2] + values[1], 0], atol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "min_count is 0, expected at least 1"),
        ({"smoothing": 0.0}, "smoothing is 0.0, expected a number above 0"),
        ({"l2": -1.0}, "l2 is -1.0, expected a number of at least 0"),
        ({"learning_rate": math.inf}, "learning_rate is inf, expected a number above 0"),
        ({"steps": 0}, "steps is 0, expected at least 1"),
        ({"longest": 0}, "longest is 0, expected at least 1"),
        ({"longest": 25}, "longest is 25, expected at most 24 words"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NbNgrams(V, **options)


@pytest.mark.parametrize(
    ("sequences", "labels", "message"),
    [
        ([[1, 2], [1, V]], [0, 1], rf"sequences\[1\]\[1\] is {V}, expected 0 to {V - 1}"),
        ([[1, 2], [3, 4]], [0, 1], "no word or run of words that min_count=2 texts have"),
        ([[], []], [0, 1], "no word or run of words"),
        ([[1], [1]], [0, 2], r"labels\[1\] is 2, expected one of \[0, 1\]"),
    ],
)
def test_wrong_data_are_named(sequences, labels, message):
    with pytest.raises(ValueError, match=message):
        NbNgrams(V).fit(sequences, labels)
