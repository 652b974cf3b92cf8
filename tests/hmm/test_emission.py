"""Where learning begins: clusters, their own spread, starts that differ; and the validator of Dirichlet's priors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from families import TYPES

from rnnscratch.hmm import GMMHMM, GaussianHMM, PoissonHMM
from rnnscratch.hmm.emission import check_dirichlet, k_means, nearest
from rnnscratch.hmm.mixture import informative


def groups(seed, D, sizes, missing=0.0):
    """Frames of groups 100 sigma apart, in random order: centres (G, D), frames and whose they are."""
    rng = np.random.default_rng(seed)
    G, M = 12, 1200
    shares = np.full(G, 1 / G) if sizes == "equal" else np.maximum(rng.dirichlet(np.full(G, 0.7)), 8 / M)
    label = np.concatenate([np.arange(G), rng.choice(G, M - G, p=shares / shares.sum())])
    found = np.stack([100.0 * rng.permutation(G) for _ in range(D)], axis=1)
    X = found[label] + rng.standard_normal((M, D))
    X[rng.random(X.shape) < missing] = np.nan
    return found, X, label


def all_found(means, truth):
    away = abs(means.reshape(-1, 1, truth.shape[1]) - truth).max(axis=2)
    return sorted(away.argmin(axis=1).tolist()) == list(range(len(truth))) and (away.min(axis=1) < 3).all()


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("sizes", ["equal", "unequal"])
@pytest.mark.parametrize("D", [1, 3])
@pytest.mark.parametrize("t", TYPES)
def test_twelve_groups_a_hundred_sigma_apart_are_found_whatever_the_seed(t, D, sizes, missing):
    for seed in range(10):
        truth, X, label = groups(seed, D, sizes, missing if D > 1 else 0.0)
        model = GaussianHMM(12, t, random_state=seed).fit(X)
        assert all_found(model.means_, truth)
        states = model.predict(X)
        seen = ~np.isnan(X).all(axis=1)
        assert len(set(zip(states[seen], label[seen]))) == 12


@pytest.mark.parametrize(("N", "K"), [(2, 2), (3, 4), (2, 6)])
@pytest.mark.parametrize("t", TYPES)
def test_the_groups_of_a_mixture_are_found_and_whose_they_are(t, N, K):
    """Which groups are one state's is not to be seen in the distances, only in what follows what."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = GMMHMM(N, K, t)
        truth.startprob_, rows = np.full(N, 1 / N), rng.dirichlet(np.ones(N) * 0.5, N) + 0.02
        truth.transmat_ = rows / rows.sum(axis=1, keepdims=True)
        truth.weights_, D = np.full((N, K), 1 / K), 2
        truth.means_ = np.stack([100.0 * rng.permutation(N * K) for _ in range(D)], axis=1).reshape(N, K, D)
        truth.covars_ = {
            "spherical": np.ones((N, K)),
            "diag": np.ones((N, K, D)),
            "full": np.tile(np.eye(D), (N, K, 1, 1)),
            "tied": np.tile(np.eye(D), (N, 1, 1)),
        }[t]
        X, _ = truth.sample(1500, random_state=seed)
        model = GMMHMM(N, K, t, random_state=seed, n_init=2).fit(X)
        assert all_found(model.means_, truth.means_.reshape(-1, D))
        assert model.score(X) >= truth.score(X)


@pytest.mark.parametrize("t", TYPES)
def test_each_state_begins_with_the_spread_of_its_own_group(t):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(m, s, (400, 2)) for m, s in ((0, 1.0), (1000, 1.0), (2000, 1.0))])
    model = GaussianHMM(3, t, random_state=0)
    begun = model.emission(**vars(model), restart=0).initialize(X, rng)
    variances = begun["covars_"] if t in ("spherical", "diag") else np.diagonal(begun["covars_"], axis1=-2, axis2=-1)
    np.testing.assert_allclose(variances, 1.0, rtol=0.25)  # all together they have 670,000
    np.testing.assert_allclose(sorted(begun["means_"][:, 0]), [0, 1000, 2000], atol=0.3)


def test_groups_of_one_frame_do_not_begin_at_the_floor():
    X = np.concatenate([np.random.default_rng(0).normal(0, 1, (60, 1)), [[50.0]]])
    model = GaussianHMM(2, random_state=0)
    begun = model.emission(**vars(model)).initialize(X, np.random.default_rng(0))
    assert begun["covars_"].min() > 0.3


@pytest.mark.parametrize("cls", [GaussianHMM, GMMHMM, PoissonHMM])
@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_every_start_differs(cls, init):
    rng = np.random.default_rng(1)
    X = rng.poisson(10, (300, 2)).astype(float)
    model = cls(4, init=init, **({"n_mix": 2} if cls is GMMHMM else {}))
    name = "lambdas_" if cls is PoissonHMM else "means_"
    begun = [
        np.sort(model.emission(**{**vars(model), "restart": r}).initialize(X, rng)[name].reshape(-1)) for r in range(4)
    ]
    for a in range(4):
        for b in range(a):
            assert not np.allclose(begun[a], begun[b])


def test_more_starts_find_a_better_optimum_where_the_first_fails():
    """Two wide groups over each other, told apart by their spread alone: clusters cannot show them."""
    rng = np.random.default_rng(2)
    scale = np.repeat(np.tile([1.0, 12.0], 6), 60)
    X = (rng.standard_normal(720) * scale)[:, None]
    finals = [GaussianHMM(2, random_state=0, n_init=n, n_iter=300).fit(X).monitor_.history[-1] for n in (1, 4)]
    assert finals[1] >= finals[0]


def test_k_means_finds_clusters_among_points_that_lack_features():
    rng = np.random.default_rng(3)
    truth = np.array([[0.0, 0.0, 9.0], [20.0, 5.0, 0.0], [5.0, 30.0, 30.0]])
    label = rng.integers(0, 3, 400)
    X = truth[label] + rng.standard_normal((400, 3))
    X[rng.random(X.shape) < 0.4] = np.nan
    X = X[~np.isnan(X).all(axis=1)]
    found = k_means(X, 3, np.random.default_rng(0))
    assert all_found(found, truth)
    near = nearest(X, found)
    slow = [int(np.nansum(((x - found) / np.nanstd(X, axis=0)) ** 2, axis=1).argmin()) for x in X]
    np.testing.assert_array_equal(near, slow)


def test_k_means_takes_fewer_points_than_clusters():
    for X in (np.ones((2, 1)), np.ones((5, 2)), np.array([[1.0, np.nan], [np.nan, 2.0]])):
        assert np.isfinite(k_means(X, 4, np.random.default_rng(0))).all()


def test_exchanges_find_the_states_of_clusters_that_follow_each_other():
    rng = np.random.default_rng(4)
    state = np.cumsum(rng.random(2000) < 0.1) % 2
    label = 2 * rng.integers(0, 3, 2000) + state  # the even clusters are one state's, the odd ones the other's
    order = informative(label, np.repeat([0, 1], 3), rng)
    assert {frozenset(order[:3].tolist()), frozenset(order[3:].tolist())} == {
        frozenset({0, 2, 4}),
        frozenset({1, 3, 5}),
    }


@pytest.mark.parametrize("prior", [1.0, 3, [1.0, 2.0], np.ones((3, 2)), np.full((1, 2), 1.5, np.float32)])
def test_dirichlet_priors_from_one_on_are_taken(prior):
    check_dirichlet("weights_prior", prior, (3, 2))


@pytest.mark.parametrize(
    ("prior", "match"),
    [
        (0.5, "p holds 0.5, expected at least 1"),
        ([1.0, 0.999], "p holds 0.999"),
        (math.nan, "p holds nan"),
        (math.inf, "p holds inf"),
        (-1, "p holds -1"),
        (None, r"p\[0\] is missing"),
        ("1", "p has dtype <U1"),
        ([1.0, 2.0, 3.0], r"p has shape \(3,\), expected a number or an array that broadcasts to \(3, 2\)"),
        (np.ones((1, 3, 2)), r"p has shape \(1, 3, 2\)"),
        (2 + 0j, "p has dtype complex128"),
        (True, "p has dtype bool"),
        ([[1.0], [1.0, 2.0]], "p is ragged"),
    ],
)
def test_other_dirichlet_priors_are_refused_by_name(prior, match):
    with pytest.raises((TypeError, ValueError), match=match):
        check_dirichlet("p", prior, (3, 2))
