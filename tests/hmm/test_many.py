"""Sequences in parts, which several processes take, teach a model what they teach it together."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch.hmm import GMMHMM, CategoricalHMM, GaussianHMM, HMMClassifier, PoissonHMM
from rnnscratch.hmm.gaussian import moments

pytest.importorskip("joblib", reason="joblib comes with scikit-learn, of the test extra")


def numbers(D=2, seed=0):
    rng = np.random.default_rng(seed)
    truth = GaussianHMM(2)
    truth.startprob_, truth.transmat_ = [0.6, 0.4], [[0.9, 0.1], [0.2, 0.8]]
    truth.means_, truth.covars_ = 1e3 + 3.0 * rng.standard_normal((2, D)), np.ones((2, D))
    return [truth.sample(int(length), random_state=rng)[0] for length in rng.integers(1, 40, 30)]


def with_holes(sequences):
    rng = np.random.default_rng(1)
    found = [np.where(rng.random(x.shape) < 0.2, np.nan, x) for x in sequences]
    found[3][:] = np.nan
    return found


def symbols():
    return [(x[:, 0] > 1e3).astype(int) + (x[:, 1] > 1e3) for x in numbers()]


CASES = {
    "diag": (GaussianHMM(2), numbers),
    "spherical": (GaussianHMM(3, "spherical"), numbers),
    "full": (GaussianHMM(2, "full", n_init=2), numbers),
    "tied": (GaussianHMM(2, "tied", means_prior=990.0, means_weight=2.0), numbers),
    "diag, holes": (GaussianHMM(2), lambda: with_holes(numbers())),
    "full, holes": (GaussianHMM(2, "full"), lambda: with_holes(numbers())),
    "mixture": (GMMHMM(2, 2, covariance_type="full"), lambda: with_holes(numbers())),
    "poisson": (PoissonHMM(2), symbols),
    "symbols": (CategoricalHMM(2, emissionprob_prior=1.5), symbols),
    "transitions alone": (CategoricalHMM(2, params="st"), symbols),
}


@pytest.mark.parametrize("name", CASES)
def test_parts_teach_what_all_teach_together(name, monkeypatch):
    import joblib

    model, make = CASES[name]
    model.set_params(random_state=0, n_iter=12, tol=-1.0)
    X = make()
    right = model.set_params(n_jobs=None).fit(X)
    expected = {key: np.copy(value) for key, value in vars(right).items() if isinstance(value, np.ndarray)}
    history = right.monitor_.history
    found = model.set_params(n_jobs=3)
    for key in expected:
        delattr(found, key)
    with joblib.parallel_config(backend="threading"):
        found.fit(X)
    assert len(found.monitor_.history) == 13
    np.testing.assert_allclose(found.monitor_.history, history, rtol=1e-9)
    for key, value in expected.items():
        np.testing.assert_allclose(getattr(found, key), value, rtol=1e-6, atol=1e-9, err_msg=key)


def test_moments_of_parts_add_up_to_those_of_all_frames():
    rng = np.random.default_rng(0)
    X, weights = 1e6 + rng.standard_normal((50, 3)), rng.random((2, 50))
    weights[1, :20] = 0
    for full, covariance_type in ((False, "diag"), (True, "full")):
        emission = GaussianHMM.emission(covariance_type=covariance_type, n_components=2)
        parts = [moments(X[rows], weights[:, rows], full) for rows in (slice(20), slice(20, 21), slice(21, 50))]
        found, right = emission.add(parts), moments(X, weights, full)
        for name in right._fields:
            np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=1e-9, err_msg=name)


def test_processes_take_the_sequences_of_every_class():
    X = numbers() + [x + 1.5 for x in numbers(seed=1)]
    y = ["here"] * 30 + ["there"] * 30
    model = GaussianHMM(2, random_state=0, n_iter=5)
    right = HMMClassifier(model).fit(X, y).predict_log_proba(X)
    found = HMMClassifier(model.set_params(n_jobs=2)).fit(X, y).predict_log_proba(X)
    np.testing.assert_allclose(found, right, rtol=1e-8)


def test_an_impossible_observation_is_named_by_its_place_among_all():
    import joblib

    X = [[0, 1]] * 5 + [[0, 1, 2, 0]] + [[1, 0]] * 2
    model = CategoricalHMM(1, n_features=3, init_params="", n_jobs=2)
    model.startprob_, model.transmat_, model.emissionprob_ = [1.0], [[1.0]], [[0.5, 0.5, 0.0]]
    with joblib.parallel_config(backend="threading"):
        with pytest.raises(ValueError, match="frame 2 of sequence 5 has an observation that no state reachable"):
            model.fit([np.array(x) for x in X])


@pytest.mark.parametrize(
    ("n_jobs", "error", "message"),
    [(0, ValueError, "n_jobs is 0"), ("2", TypeError, "n_jobs is '2'"), (1.5, TypeError, "n_jobs is 1.5")],
)
def test_a_wrong_number_of_processes_is_named(n_jobs, error, message):
    with pytest.raises(error, match=message):
        CategoricalHMM(n_jobs=n_jobs).fit([[0, 1]])


def test_one_sequence_is_not_cut():
    x = np.concatenate(numbers())
    right = GaussianHMM(2, random_state=0).fit(x)
    found = GaussianHMM(2, random_state=0, n_jobs=2).fit(x)
    np.testing.assert_array_equal(found.means_, right.means_)
