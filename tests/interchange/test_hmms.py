"""Parameters of hmmlearn's and depmixS4's models give the same likelihoods here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm, poisson

from rnnscratch import hmm
from rnnscratch.interchange import from_depmix, from_hmmlearn

pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning:hmmlearn")  # with NumPy 2.5
theirs = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn comes with the test extra, as independent oracle")


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "tied"])
def test_gaussian_models_of_hmmlearn(kind, rng):
    X = np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(4, 2, (60, 2))])
    model = theirs.GaussianHMM(2, kind, n_iter=5, random_state=0).fit(X)
    ours = from_hmmlearn(model)
    assert isinstance(ours, hmm.GaussianHMM) and ours.covariance_type == kind
    assert ours.score(X) == pytest.approx(model.score(X), rel=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), model.predict_proba(X), atol=1e-10)
    mixture = theirs.GMMHMM(2, 2, covariance_type=kind, n_iter=3, random_state=0).fit(X)
    assert from_hmmlearn(mixture).score(X) == pytest.approx(mixture.score(X), rel=1e-10)


def test_discrete_models_of_hmmlearn(rng):
    symbols, counts = rng.integers(0, 4, (200, 1)), rng.poisson([2.0, 9.0], (200, 2))
    for model, X in (
        (theirs.CategoricalHMM(3, n_iter=5, random_state=0), symbols),
        (theirs.PoissonHMM(2, n_iter=5, random_state=0), counts),
    ):
        model.fit(X)
        assert from_hmmlearn(model).score(X) == pytest.approx(model.score(X), rel=1e-12)
    with pytest.raises(ValueError, match="model has no startprob_"):
        from_hmmlearn(theirs.CategoricalHMM(2))
    with pytest.raises(TypeError, match="model is MultinomialHMM"):
        from_hmmlearn(theirs.MultinomialHMM(2))


PI, A = np.array([0.7, 0.3]), np.array([[0.9, 0.1], [0.4, 0.6]])


def by_all_paths(density, T):
    """log p(X) from the sum over all paths; density (T, N)."""
    total = 0.0
    for path in itertools.product(range(2), repeat=T):
        p = PI[path[0]] * density[0, path[0]]
        for t in range(1, T):
            p *= A[path[t - 1], path[t]] * density[t, path[t]]
        total += p
    return np.log(total)


def test_depmix_parameters():
    x, n, k = np.array([0.2, 3.0, 2.5, -1.0]), np.array([1, 7, 5, 0]), np.array([0, 2, 1, 1])
    mean, sd, rate = np.array([0.0, 3.0]), np.array([1.0, 0.5]), np.array([1.0, 6.0])
    table = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = from_depmix(PI, A, mean=mean, sd=sd).score(x[:, None])
    assert found == pytest.approx(by_all_paths(norm.pdf(x[:, None], mean, sd), 4), rel=1e-12)
    found = from_depmix(PI, A, rate=rate).score(n[:, None])
    assert found == pytest.approx(by_all_paths(poisson.pmf(n[:, None], rate), 4), rel=1e-12)
    found = from_depmix(PI.tolist(), A.tolist(), probabilities=table).score(k[:, None])
    assert found == pytest.approx(by_all_paths(table[:, k].T, 4), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"mean": [0.0, 1.0]}), "the responses are mean, expected mean and sd"),
        (({}), "the responses are missing"),
        (({"rate": [1.0, 2.0], "probabilities": np.ones((2, 2)) / 2}), "the responses are probabilities, rate"),
        (({"rate": [1.0, 2.0, 3.0]}), r"rate has shape \(3,\), expected a row for each of 2 states"),
        (({"mean": np.ones((2, 2)), "sd": np.ones(2)}), r"sd has shape \(2,\)"),
        (({"probabilities": np.ones((2, 2))}), "emissionprob_"),
    ],
)
def test_wrong_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        from_depmix(PI, A, **arguments)
    with pytest.raises(ValueError, match=r"transition \(2, 3\)"):
        from_depmix(PI, np.ones((2, 3)) / 3, rate=[1.0, 2.0])
