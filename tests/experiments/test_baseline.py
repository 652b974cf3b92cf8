"""The linear baselines: ratios counted by hand, what pairs of words tell and single words do not, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.linear_model

from rnnscratch.experiments.baseline import BagOfWords, NbBigrams, totals

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
    found = {kind: kind(V).fit(*train).decision(held_out[0]) > 0 for kind in (NbBigrams, BagOfWords)}
    assert (found[NbBigrams] == held_out[1]).all()
    assert (found[BagOfWords] == held_out[1]).mean() < 0.7


def test_features_and_ratios_are_those_one_counts_by_hand():
    """With so large a penalty that v is next to 0, the weights by their mean size are r, but for a factor."""
    sequences = [[1, 2], [1, 2, 1], [2, 1], [1, 0, 3]]
    model = NbBigrams(V, min_count=2, smoothing=0.5, interpolation=0.0).fit(sequences, [1, 1, 0, 0])
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
    model = NbBigrams(V, l2=0.01, steps=3000, batch_size=120).fit(sequences, labels)
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


def test_the_same_data_give_the_same_bits():
    train = texts(50)
    first, second = (NbBigrams(V, batch_size=7, steps=20).fit(*train).weights for _ in range(2))
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
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NbBigrams(V, **options)


@pytest.mark.parametrize(
    ("sequences", "labels", "message"),
    [
        ([[1, 2], [1, V]], [0, 1], rf"sequences\[1\]\[1\] is {V}, expected 0 to {V - 1}"),
        ([[1, 2], [3, 4]], [0, 1], "no word or pair of words that min_count=2 texts have"),
        ([[], []], [0, 1], "no word or pair of words"),
        ([[1], [1]], [0, 2], r"labels\[1\] is 2, expected one of \[0, 1\]"),
    ],
)
def test_wrong_data_are_named(sequences, labels, message):
    with pytest.raises(ValueError, match=message):
        NbBigrams(V).fit(sequences, labels)
