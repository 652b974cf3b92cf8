"""Learning is a transaction: refused or interrupted, it leaves the model as it was; and no other call changes it."""

from __future__ import annotations

import copy
from unittest import mock

import numpy as np
import pytest
from families import FAMILIES, make, observations

from rnnscratch.hmm import CategoricalHMM, GaussianHMM, inference


def state(model):
    """All that a model holds, apart from it."""
    found = copy.deepcopy(vars(model))
    if "monitor_" in found:
        found["monitor_"] = vars(found["monitor_"])
    return found


def assert_unchanged(model, before):
    after = state(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert type(after[name]) is type(value), name
        np.testing.assert_equal(after[name], value, name)


def fitted(family, X):
    return make(family, 2, np.random.default_rng(0), random_state=0, n_iter=2, tol=-1.0).fit(X, [10, 14])


def by_hand(family, X):
    """Parameters set as lists, as users may."""
    model = make(family, 2, np.random.default_rng(0), random_state=0, n_iter=3, tol=-1.0, init_params="")
    for name in model._arrays():
        setattr(model, name, getattr(model, name).tolist())
    return model


def bare(family, X):
    return type(make(family, 2, np.random.default_rng(0)))(2, n_iter=3, tol=-1.0)


MODELS = pytest.mark.parametrize("prepare", [fitted, by_hand, bare])


def data(family):
    model = make(family, 2, np.random.default_rng(1))
    return observations(model, 24, np.random.default_rng(2))


@pytest.mark.parametrize("family", FAMILIES)
@MODELS
@pytest.mark.parametrize(("name", "call"), [("expectation", 1), ("expectation", 3), ("log_likelihood", 1)])
def test_an_interrupted_fit_leaves_the_model_as_it_was(family, prepare, name, call):
    X = data(family)
    model = prepare(family, X).set_params(n_iter=3)
    before, calls, original = state(model), [], getattr(inference, name)

    def interrupted(*args):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args)

    with mock.patch.object(inference, name, interrupted), pytest.raises(KeyboardInterrupt):
        model.fit(X, [10, 14])
    assert len(calls) == call
    assert_unchanged(model, before)


@pytest.mark.parametrize("family", FAMILIES)
@MODELS
def test_a_refused_fit_leaves_the_model_as_it_was(family, prepare):
    X = data(family)
    model = prepare(family, X)
    refused = [
        ({}, [X, [[["a"], ["b"]]]], TypeError),
        ({}, [X[:0]], ValueError),
        ({}, [X, [3]], ValueError),
        ({}, [X, None, [2] * 24], ValueError),
        ({"params": "?"}, [X], ValueError),
        ({"init": "zero"}, [X], ValueError),
        ({"n_iter": -1}, [X], ValueError),
        ({"n_components": "two"}, [X], TypeError),
    ]
    for options, arguments, error in refused:
        kept = {name: getattr(model, name) for name in options}
        before = state(model.set_params(**options))
        with pytest.raises((error, ValueError)):
            model.fit(*arguments)
        assert_unchanged(model, before)
        model.set_params(**kept)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_refused_for_an_impossible_frame_leaves_the_model_as_it_was(family):
    X = data(family)
    model = by_hand(family, X).set_params(init_params="".join(model_letters(family)))
    model.startprob_, model.transmat_ = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]  # state 1 is never reached
    before = state(model)
    with pytest.raises(ValueError, match="frame 3 of sequence 1 has an observation that no state"):
        model.fit(X, [10, 14], states=[-1] * 13 + [1] + [-1] * 10)
    assert_unchanged(model, before)


def model_letters(family):
    return {"categorical": "e", "poisson": "l", "gaussian": "mc", "gmm": "mcw"}[family.split()[0]]


def test_a_fit_whose_warning_is_an_error_leaves_the_model_as_it_was():
    model = GaussianHMM(2, random_state=0, n_iter=2)
    before = state(model)
    with pytest.raises(UserWarning, match="never left"):  # the suite makes errors of warnings
        model.fit(np.arange(6.0), [1] * 6)
    assert_unchanged(model, before)


def test_a_refused_refit_keeps_the_symbols():
    model = CategoricalHMM(2, random_state=0, n_iter=3).fit(["abba", "ab"])
    before, states = state(model), model.predict("abba")
    for wrong, error in ((["abc", 3], TypeError), (["ab", ["a", 1]], TypeError), ([np.array([0.5])], TypeError)):
        with pytest.raises(error):
            model.fit(wrong)
        assert_unchanged(model, before)
    np.testing.assert_array_equal(model.predict("abba"), states)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prepare", [fitted, by_hand])
def test_no_other_call_changes_the_model(family, prepare, tmp_path):
    X = data(family)
    model = prepare(family, X)
    before = state(model)
    for call in (
        lambda: model.score(X, [10, 14]),
        lambda: model.score_samples(X),
        lambda: model.decode(X),
        lambda: model.decode(X, algorithm="map"),
        lambda: model.filter(X),
        lambda: model.decode_best(X, 2),
        lambda: model.sample_paths(X, 2),
        lambda: model.predict_next(model.update(None, X[0])),
        lambda: model.log_likelihood_gradient(X),
        lambda: model.sample(5),
        lambda: model.get_stationary_distribution(),
        lambda: (model.num_params, model.aic(X), model.bic(X), model.n_features_, repr(model)),
        lambda: model.save(tmp_path / "model.npz"),
    ):
        call()
        assert_unchanged(model, before)
    assert model.n_features_ == (4 if family == "categorical" else 2)


def test_posterior_decoding_evaluates_the_emissions_once():
    model = make("gaussian full", 2, np.random.default_rng(0))
    X, calls, original = data("gaussian full"), [], inference.scaled

    def counted(log_b):
        calls.append(1)
        return original(log_b)

    with (
        mock.patch.object(inference, "scaled", counted),
        mock.patch("numpy.linalg.cholesky", wraps=np.linalg.cholesky) as roots,
    ):
        model.decode(X, algorithm="map")
    assert len(calls) == roots.call_count == 1
