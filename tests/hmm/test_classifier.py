"""One hidden Markov model for each class, and Bayes' rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnscratch.estimator import NotFittedError
from rnnscratch.hmm import CategoricalHMM, GaussianHMM, HMMClassifier


def walks(rng, stay, count):
    """Sequences of 0 and 1, of 5 to 30 symbols, that keep their symbol with probability `stay`."""
    return [np.cumsum(rng.random(rng.integers(5, 30)) > stay) % 2 for _ in range(count)]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = walks(rng, 0.9, 60) + walks(rng, 0.3, 30)
    return X, ["lasting"] * 60 + ["changing"] * 30


def test_it_is_bayes_rule(data):
    X, y = data
    clf = HMMClassifier(CategoricalHMM(2, random_state=0)).fit(X, y)
    assert clf.classes_.tolist() == ["changing", "lasting"]
    np.testing.assert_allclose(clf.priors_, [1 / 3, 2 / 3])
    log_joint = np.array([[m.score(x) + math.log(p) for m, p in zip(clf.models_, clf.priors_)] for x in X])
    expected = np.exp(log_joint - np.logaddexp(*log_joint.T)[:, None])
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-9)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X)), expected, rtol=1e-9)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[expected.argmax(axis=1)])
    assert clf.score(X, y) == (clf.predict(X) == y).mean() > 0.9


def test_the_priors_of_the_caller_count(data):
    X, y = data
    sure = HMMClassifier(CategoricalHMM(2, random_state=0), priors=[0.0, 1.0]).fit(X, y)
    assert set(sure.predict(X)) == {"lasting"}


def test_vectors_and_strings_are_classified_too():
    rng = np.random.default_rng(1)
    X = [rng.normal(k % 2, 1, (20, 2)) for k in range(20)]
    y = [k % 2 for k in range(20)]
    assert HMMClassifier(GaussianHMM(1)).fit(X, y).score(X, y) == 1.0
    words = [["good", "good", "film"], ["bad", "film"]] * 5
    clf = HMMClassifier(CategoricalHMM(1, emissionprob_prior=1.5)).fit(words, ["+", "-"] * 5)
    assert clf.predict([["good"], ["bad", "film"]]).tolist() == ["+", "-"]
    assert clf.models_[0].vocabulary_ == ["bad", "film", "good"]  # each class knows the words of all


def test_a_sequence_that_no_class_can_produce_gets_the_priors():
    X = [np.array([0, 0]), np.array([1, 1, 1]), np.array([0])]
    clf = HMMClassifier(CategoricalHMM(1)).fit(X, ["a", "b", "a"])
    np.testing.assert_allclose(clf.predict_proba([np.array([0, 1])]), [[2 / 3, 1 / 3]])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda X, y: HMMClassifier().predict(X), NotFittedError, "not fitted yet"),
        (lambda X, y: HMMClassifier().fit(X, y[1:]), ValueError, r"y has shape \(89,\), expected \(90,\)"),
        (lambda X, y: HMMClassifier().fit(X, ["a"] * 90), ValueError, "one class"),
        (
            lambda X, y: HMMClassifier(priors=[0.5, 0.6]).fit(X, y),
            ValueError,
            "priors holds 0.5 to 0.6 and sums to 1.1",
        ),
        (lambda X, y: HMMClassifier(priors=[1.0]).fit(X, y), ValueError, "expected rows of 2 probabilities"),
    ],
)
def test_wrong_input_is_named(call, error, match, data):
    with pytest.raises(error, match=match):
        call(*data)


def test_what_was_set_by_hand_in_the_prototype_is_where_each_class_begins():
    rng = np.random.default_rng(0)
    X = [rng.normal([[0]] * 4 + [[c]] * 4, 1) for c in (5, -5) * 10]
    prototype = GaussianHMM(2, init_params="mc", params="mct", random_state=0)
    prototype.startprob_, prototype.transmat_ = [1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]]  # from left to right
    clf = HMMClassifier(prototype).fit(X, ["up", "down"] * 10)
    for model in clf.models_:
        assert list(model.startprob_) == [1.0, 0.0] and model.transmat_[1].tolist() == [0.0, 1.0]
        assert not np.array_equal(model.transmat_, prototype.transmat_)
    assert prototype.transmat_ == [[0.5, 0.5], [0.0, 1.0]] and not hasattr(prototype, "means_")
