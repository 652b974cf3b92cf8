"""Gaussian states and mixtures: missing features, priors, starts below the floor, data far away, wrong options."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from families import TYPES, assert_is_a_maximum, chain, make, observations, spd
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.hmm import GMMHMM, BaseHMM, Emission, GaussianHMM, PoissonHMM
from rnnscratch.hmm.gaussian import log_density, moments

BOTH = pytest.mark.parametrize("cls", [GaussianHMM, GMMHMM])
ALL = pytest.mark.parametrize("t", TYPES)


def holes(rng, X, share):
    X = X.copy()
    X[rng.random(X.shape) < share] = np.nan
    return X


def by_hand(cls, t, rng, N=2, K=2, D=3, **options):
    """A model of three features with random parameters."""
    mixture = (K,) if cls is GMMHMM else ()
    model = chain(cls(N, covariance_type=t, **options), rng)
    model.means_ = rng.normal(0, 2, (N, *mixture, D))
    if mixture:
        model.n_mix, model.weights_ = K, rng.dirichlet(np.ones(K), N)
    model.covars_ = {
        "spherical": rng.uniform(0.3, 2, (N, *mixture)),
        "diag": rng.uniform(0.3, 2, (N, *mixture, D)),
        "full": spd(rng, N, *mixture, D),
        "tied": spd(rng, *((N,) if mixture else ()), D),
    }[t]
    return model


def whole(model):
    """The means (G, D) and covariances (G, D, D) of all Gaussians of a model, written out."""
    D = model.means_.shape[-1]
    means = model.means_.reshape(-1, D)
    G, t = len(means), model.covariance_type
    if t == "tied":
        covars = model.covars_.reshape(-1, D, D)
        return means, np.repeat(covars, G // len(covars), axis=0)
    if t == "full":
        return means, model.covars_.reshape(G, D, D)
    return means, np.stack([np.eye(D) * v for v in model.covars_.reshape(G, -1)])


def log_normal(x, mean, covariance):
    return -0.5 * ((x - mean) @ np.linalg.solve(covariance, x - mean) + np.linalg.slogdet(2 * np.pi * covariance)[1])


@ALL
@BOTH
def test_a_long_sequence_with_missing_features_is_summed_over_them_in_pieces(cls, t):
    """More than 2000 frames run in pieces; the forward recursion over densities of what is seen, frame by frame."""
    rng = np.random.default_rng(1)
    model = by_hand(cls, t, rng)
    X = holes(rng, model.sample(2100, random_state=rng)[0], 0.3)
    means, covars = whole(model)
    weights = np.log(model.weights_.reshape(-1)) if cls is GMMHMM else np.zeros(2)
    alpha, total = None, 0.0
    for x in X:
        o = ~np.isnan(x)
        parts = [w + log_normal(x[o], m[o], S[np.ix_(o, o)]) for w, m, S in zip(weights, means, covars)]
        b = np.exp(parts).reshape(2, -1).sum(axis=1) if o.any() else np.ones(2)
        alpha = b * (model.startprob_ if alpha is None else alpha @ model.transmat_)
        total += math.log(alpha.sum())
        alpha /= alpha.sum()
    assert model.score(X) == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(model.filter(X)[-1], alpha, rtol=1e-9)


@ALL
@BOTH
def test_a_feature_that_is_always_missing_is_as_if_the_model_had_none(cls, t):
    rng = np.random.default_rng(2)
    model = by_hand(cls, t, rng)
    X = model.sample(60, random_state=0)[0]
    X[:, 1] = np.nan
    less = cls(2, covariance_type=t)
    less.startprob_, less.transmat_, less.means_ = model.startprob_, model.transmat_, model.means_[..., [0, 2]]
    if cls is GMMHMM:
        less.n_mix, less.weights_ = model.n_mix, model.weights_
    less.covars_ = model.covars_
    if t != "spherical":
        less.covars_ = less.covars_[..., [0, 2]]
    if t in ("full", "tied"):
        less.covars_ = less.covars_[..., [0, 2], :]
    seen = X[:, [0, 2]]
    np.testing.assert_allclose(model.predict_proba(X), less.predict_proba(seen), rtol=1e-9, atol=1e-12)
    assert model.score(X) == pytest.approx(less.score(seen), rel=1e-12)
    np.testing.assert_array_equal(model.predict(X), less.predict(seen))


@ALL
def test_frames_with_all_features_are_not_touched_by_others_that_lack_some(t):
    rng = np.random.default_rng(3)
    model = by_hand(GaussianHMM, t, rng)
    emission = model.emission(**vars(model))
    X = rng.normal(0, 2, (50, 3))
    mixed = np.vstack([X, holes(rng, X, 0.4)])
    np.testing.assert_allclose(emission.log_density(mixed)[:, :50], emission.log_density(X), rtol=1e-13)


@pytest.mark.parametrize("t", ["full", "tied"])
@BOTH
def test_one_step_of_em_is_the_one_with_expected_moments_frame_by_frame(cls, t):
    """Ghahramani and Jordan's step, written out for every frame and Gaussian."""
    rng = np.random.default_rng(4)
    model = by_hand(cls, t, rng, init_params="", n_iter=1, tol=-1.0)
    X = holes(rng, model.sample(50, random_state=1)[0], 0.35)
    lengths = [20, 30]
    posterior, (means, covars) = model.predict_proba(X, lengths), whole(model)
    G, D = means.shape
    weights = model.weights_.reshape(-1) if cls is GMMHMM else np.ones(G)
    mass, sums, products = np.zeros(G), np.zeros((G, D)), np.zeros((G, D, D))
    for x, gamma in zip(X, posterior):
        o, m = ~np.isnan(x), np.isnan(x)
        if not o.any():
            continue
        p = [w * math.exp(log_normal(x[o], mu[o], S[np.ix_(o, o)])) for w, mu, S in zip(weights, means, covars)]
        share = np.reshape(p, (2, -1)) / np.reshape(p, (2, -1)).sum(axis=1, keepdims=True)
        r = (gamma[:, None] * share).reshape(-1)
        for g in range(G):
            S, filled, extra = covars[g], x.copy(), np.zeros((D, D))
            gain = S[np.ix_(m, o)] @ np.linalg.inv(S[np.ix_(o, o)])
            filled[m] = means[g, m] + gain @ (x[o] - means[g, o])
            extra[np.ix_(m, m)] = S[np.ix_(m, m)] - gain @ S[np.ix_(o, m)]
            mass[g] += r[g]
            sums[g] += r[g] * filled
            products[g] += r[g] * (np.outer(filled, filled) + extra)
    expected = sums / mass[:, None]
    scatter = products - np.einsum("g,gi,gj->gij", mass, expected, expected)
    if t == "full":
        best = scatter / mass[:, None, None]
    elif cls is GaussianHMM:
        best = scatter.sum(axis=0) / mass.sum()
    else:
        best = scatter.reshape(2, -1, D, D).sum(axis=1) / mass.reshape(2, -1).sum(axis=1)[:, None, None]
    model.fit(X, lengths)
    np.testing.assert_allclose(model.means_, expected.reshape(model.means_.shape), rtol=1e-9)
    np.testing.assert_allclose(model.covars_, best.reshape(model.covars_.shape), rtol=1e-8, atol=1e-10)
    if cls is GMMHMM:
        shares = mass.reshape(2, -1) / mass.reshape(2, -1).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.weights_, shares, rtol=1e-9)


@pytest.mark.parametrize("t", ["spherical", "diag"])
def test_independent_features_are_learned_from_the_frames_that_have_them(t):
    rng = np.random.default_rng(5)
    X = holes(rng, rng.normal([1.0, -2.0, 5.0], [1.0, 2.0, 0.5], (80, 3)), 0.4)
    model = GaussianHMM(1, t).fit(X)
    np.testing.assert_allclose(model.means_[0], np.nanmean(X, axis=0), rtol=1e-12)
    variances = np.nanvar(X, axis=0)
    seen = (~np.isnan(X)).sum(axis=0)
    expected = variances if t == "diag" else (variances * seen).sum() / seen.sum()
    np.testing.assert_allclose(model.covars_[0], expected, rtol=1e-12)
    assert model.monitor_.iter <= 2


@ALL
@BOTH
def test_what_is_learned_with_missing_features_is_a_maximum(cls, t):
    """No small change of means or covariances makes the data that were seen likelier."""
    rng = np.random.default_rng(6)
    X = np.concatenate([rng.normal(m, 1, (60, 3)) for m in (0, 5)])
    X[:, 1] += 0.8 * X[:, 0]
    X = holes(rng, X, 0.25)
    model = cls(2, covariance_type=t, n_iter=3000, tol=1e-14, random_state=0).fit(X, [50, 70])
    assert_is_a_maximum(model, lambda: model.score(X, [50, 70]), 1e-6, rng)


def test_what_is_missing_by_what_is_seen_does_not_bias_what_is_learned():
    """The second feature is seen only where the first is low: the mean of what was seen, -0.72, is not its mean, 0."""
    rng = np.random.default_rng(7)
    truth = np.array([[1.0, 0.9], [0.9, 1.0]])
    X = rng.multivariate_normal([0.0, 0.0], truth, 20_000)
    X[X[:, 0] > 0, 1] = np.nan
    model = GaussianHMM(1, "full", n_iter=400, tol=1e-12).fit(X)
    assert np.nanmean(X[:, 1]) < -0.7
    np.testing.assert_allclose(model.means_[0], [0, 0], atol=0.03)
    np.testing.assert_allclose(model.covars_[0], truth, atol=0.04)


@ALL
@BOTH
def test_streaming_takes_frames_that_lack_features(cls, t):
    rng = np.random.default_rng(8)
    model = by_hand(cls, t, rng)
    X = holes(rng, model.sample(12, random_state=0)[0], 0.5)
    belief = None
    for x, expected in zip(X, model.filter(X)):
        belief = model.update(belief, x)
        np.testing.assert_allclose(belief, expected, rtol=1e-10)


@ALL
@BOTH
def test_samples_have_all_features_whatever_the_data_lacked(cls, t):
    rng = np.random.default_rng(9)
    X = holes(rng, rng.normal(0, 1, (60, 2)), 0.3)
    model = cls(2, covariance_type=t, random_state=0, n_iter=3).fit(X)
    assert np.isfinite(model.sample(100)[0]).all()


def test_counts_alone_may_be_missing():
    rng = np.random.default_rng(10)
    X = holes(rng, rng.poisson([3.0, 30.0], (200, 2)).astype(float), 0.3)
    model = PoissonHMM(1, n_iter=5).fit(X)
    np.testing.assert_allclose(model.lambdas_[0], np.nanmean(X, axis=0), rtol=1e-12)
    total = sum(k * math.log(r) - r - math.lgamma(k + 1) for x in X for k, r in zip(x, model.lambdas_[0]) if k == k)
    assert model.score(X) == pytest.approx(total, rel=1e-12)


class Sums(Emission):
    """A family of one's own that looks at the sum of all features, so cannot do without one."""

    letters = {"m": "means_"}

    def initialize(self, X, rng):
        return {"means_": np.linspace(X.sum(axis=1).min(), X.sum(axis=1).max(), self.n_components)}

    def log_density(self, X):
        return -0.5 * (X.sum(axis=1) - self.means_[:, None]) ** 2

    def statistics(self, X, weights):
        return weights @ X.sum(axis=1), weights.sum(axis=1)

    def estimate(self, statistics):
        return {"means_": statistics[0] / statistics[1]}

    def check_data(self, X):
        pass


class SumsHMM(BaseHMM):
    emission = Sums


def test_a_family_that_cannot_do_without_a_feature_refuses_the_frame_by_name():
    rng = np.random.default_rng(11)
    X = rng.normal(0, 1, (30, 2))
    X[4] = np.nan
    model = SumsHMM(2, random_state=0).fit(X, [10, 20])
    before = dict(vars(model))
    X[13, 1] = np.nan
    match = "frame 3 of sequence 1 lacks some of its features, which Sums cannot do without"
    for call in (model.fit, model.score, model.predict, model.filter, model.log_likelihood_gradient):
        with pytest.raises(ValueError, match=match):
            call(X, [10, 20])
    with pytest.raises(ValueError, match="frame 0 of sequence 0 lacks some"):
        model.update(None, X[13])
    assert dict(vars(model)) == before


@BOTH
def test_a_feature_that_no_frame_has_is_refused_by_name(cls):
    X = np.random.default_rng(0).normal(0, 1, (20, 3))
    X[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[:, 2\] is NaN throughout"):
        cls(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"X\[:, 2\] is NaN throughout"):
        PoissonHMM(2, random_state=0).fit(np.where(np.isnan(X), X, 3.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.1, 0.5, 0.8]), full=st.booleans())
def test_moments_of_frames_that_lack_features_are_those_of_a_slow_reference(seed, share, full):
    rng = np.random.default_rng(seed)
    means, covars, weights = rng.normal(0, 1, (2, 4)), spd(rng, 2, 4), rng.random((2, 15))
    X = holes(rng, rng.normal(0, 1, (15, 4)), share)
    X[np.isnan(X).all(axis=1), 0] = 1.0
    found = moments(X, weights, full, means, covars if full else None)
    for k in range(2):
        if full:
            filled, extra = X.copy(), np.zeros((4, 4))
            for x, w in zip(filled, weights[k]):
                o, m = ~np.isnan(x), np.isnan(x)
                gain = covars[k][np.ix_(m, o)] @ np.linalg.inv(covars[k][np.ix_(o, o)])
                x[m] = means[k, m] + gain @ (x[o] - means[k, o])
                extra[np.ix_(m, m)] += w * (covars[k][np.ix_(m, m)] - gain @ covars[k][np.ix_(o, m)])
            mean = weights[k] @ filled / weights[k].sum()
            expected = ((filled - mean).T * weights[k]) @ (filled - mean) + extra
        else:
            w = np.where(np.isnan(X), 0.0, weights[k][:, None])
            mean = np.nansum(w * X, axis=0) / np.maximum(w.sum(axis=0), 1e-300)
            mean = np.where(w.sum(axis=0) > 0, mean, found.means[k])  # what no frame has may be anywhere
            expected = np.nansum(w * (X - mean) ** 2, axis=0)
        np.testing.assert_allclose(found.means[k], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.scatter[k], expected, rtol=1e-8, atol=1e-10)


X_PRIOR = np.random.default_rng(20).normal(3, 2, (30, 2))


@ALL
def test_the_priors_of_a_gaussian_are_hmmlearns(t):
    """Its formulas (Huang, Acero & Hon, pages 443 to 445), by hand for one state."""
    n, D, m0, lam, b, w = 30, 2, 1.0, 4.0, 0.7, 5.0
    model = GaussianHMM(1, t, means_prior=m0, means_weight=lam, covars_prior=b, covars_weight=w, n_iter=3).fit(X_PRIOR)
    mean = (X_PRIOR.sum(axis=0) + lam * m0) / (n + lam)
    np.testing.assert_allclose(model.means_[0], mean, rtol=1e-12)
    d = X_PRIOR - mean
    products = d.T @ d + lam * np.outer(mean - m0, mean - m0)
    matrix = (products + b * np.eye(D)) / (n + w - D)
    variances = (np.diag(products) + b) / (n + w - 1)
    expected = {"spherical": variances.mean(), "diag": variances, "full": matrix, "tied": matrix}[t]
    np.testing.assert_allclose(np.squeeze(model.covars_), expected, rtol=1e-12)


@ALL
def test_the_priors_of_a_mixture_are_hmmlearns(t):
    """Inverse gamma (shape, scale) and inverse Wishart (scale matrix, degrees), modes in terms of covariances."""
    n, D, m0, lam, first, second = 30, 2, 1.0, 4.0, 2.0, 5.0
    options = {"means_prior": m0, "means_weight": lam, "covars_prior": first, "covars_weight": second}
    model = GMMHMM(1, 1, t, n_iter=3, **options).fit(X_PRIOR)
    mean = (X_PRIOR.sum(axis=0) + lam * m0) / (n + lam)
    d = X_PRIOR - mean
    products = d.T @ d + lam * np.outer(mean - m0, mean - m0)
    squares = np.diag(products)
    matrix = (products + first * np.eye(D)) / (n + 1 + second + D + 1)
    expected = {
        "spherical": (squares.sum() + 2 * second) / (D * (n + 1) + 2 * (first + 1)),
        "diag": (squares + 2 * second) / (n + 1 + 2 * (first + 1)),
        "full": matrix,
        "tied": matrix,
    }[t]
    np.testing.assert_allclose(np.squeeze(model.covars_), expected, rtol=1e-12)


@BOTH
@ALL
def test_a_prior_may_have_a_number_for_each_gaussian_and_feature(cls, t):
    """The same as the number, spread out; and the shapes mean the same whatever N and D are."""
    rng = np.random.default_rng(21)
    X = np.concatenate([rng.normal(m, 1, (30, 2)) for m in (0, 6)])
    each = (2, 2) if cls is GMMHMM else (2,)
    shared = each[:-1] if t == "tied" else each
    tail = {"spherical": (), "diag": (2,)}.get(t, (2, 2))
    scale = np.full((*shared, *tail), 0.5) if t in ("spherical", "diag") else np.tile(0.5 * np.eye(2), (*shared, 1, 1))
    one = {"means_prior": 1.5, "means_weight": 2.0, "covars_prior": 0.5, "covars_weight": 3.0}
    many = {
        "means_prior": np.full((*each, 2), 1.5),
        "means_weight": np.full(each, 2.0),
        "covars_prior": scale,
        "covars_weight": np.full(shared, 3.0),
    }
    models = [cls(2, covariance_type=t, random_state=0, n_iter=5, tol=-1.0, **o) for o in (one, many)]
    for model in models:
        model.set_params(**({"n_mix": 2} if cls is GMMHMM else {})).fit(X)
    np.testing.assert_allclose(models[0].means_, models[1].means_, rtol=1e-12)
    np.testing.assert_allclose(models[0].covars_, models[1].covars_, rtol=1e-12)
    by_state = cls(2, covariance_type="diag", random_state=0, means_prior=[0.0, 6.0], means_weight=1e9, n_iter=3)
    by_state.set_params(**({"n_mix": 2} if cls is GMMHMM else {})).fit(X)
    for k, mean in enumerate([0.0, 6.0]):  # of GaussianHMM's states, or the Gaussians of each state
        np.testing.assert_allclose(by_state.means_[..., k, :], mean, atol=1e-5)


def random_prior(rng, cls, t, N, K, D):
    each = (N, K) if cls is GMMHMM else (N,)
    shared = each[:-1] if t == "tied" else each
    kind = rng.integers(3)
    means_prior = [2.0, rng.normal(0, 3, each), rng.normal(0, 3, (*each, D))][kind]
    means_weight = [rng.choice([0.0, 0.3, 50.0]), rng.uniform(0, 5, each), rng.uniform(0, 5, each)][kind]
    if t in ("spherical", "diag"):
        feature = (*each, D) if t == "diag" and kind == 2 else each
        covars_prior, covars_weight = rng.uniform(0, 4, feature), rng.uniform(0, 9, feature)
    else:
        scales = rng.uniform(0, 4, shared[-1:])
        covars_prior = [rng.uniform(0, 4), scales, spd(rng, *shared, D)][kind]
        covars_weight = rng.uniform(0, 12, shared)
    found = {"means_prior": means_prior, "means_weight": means_weight}
    found |= {"covars_prior": covars_prior, "covars_weight": covars_weight}
    if cls is GMMHMM:
        found["weights_prior"] = 1.0 + rng.exponential(1.0, [(), (K,), (N, K)][kind])
    return {name: value if rng.random() < 0.8 else default(cls, name) for name, value in found.items()}


def default(cls, name):
    return cls().get_params()[name]


@ALL
@BOTH
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 1e3]), missing=st.booleans())
def test_no_prior_that_is_taken_lets_the_objective_fall(cls, t, seed, scale, missing):
    rng = np.random.default_rng(seed)
    N, K, D = rng.integers(1, 4), rng.integers(1, 3), rng.integers(1, 4)
    X = scale * (rng.normal(0, 1, (40, D)) + 4.0 * rng.integers(0, 3, (40, 1)))
    if missing:
        X = holes(rng, X, 0.2)
        X[0] = 0.0
    letters = "".join(letter for letter in "stmc" if rng.random() < 0.8)
    options = random_prior(rng, cls, t, N, K, D) | ({"n_mix": int(K)} if cls is GMMHMM else {})
    model = cls(int(N), covariance_type=t, random_state=seed, n_iter=15, tol=-1.0, params=letters, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a state may lose all its frames
        model.fit(X, [15, 25])
    history = np.array(model.monitor_.history)
    assert np.isfinite(history).all()
    # a prior a thousand deviations away makes covariances of condition 1e11, of which doubles hold five digits
    assert (np.diff(history) >= -1e-7 * np.maximum(np.abs(history[1:]), 1.0)).all(), np.diff(history).min()
    assert history[-1] == pytest.approx(model.score(X, [15, 25]) + model._log_prior(), rel=1e-11)


@ALL
@BOTH
def test_a_start_below_the_floor_is_not_made_worse(cls, t):
    rng = np.random.default_rng(22)
    X = np.repeat([[0.0, 1.0], [5.0, 3.0]], 10, axis=0) + 1e-5 * rng.standard_normal((20, 2))
    model = by_hand(cls, t, rng, D=2, init_params="", n_iter=8, tol=-1.0)
    model.startprob_, model.transmat_ = [0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]]
    model.means_ = np.broadcast_to(
        [[0.0, 1.0], [5.0, 3.0]] if cls is GaussianHMM else [[[0.0, 1.0]], [[5.0, 3.0]]], model.means_.shape
    )
    model.covars_ = model.covars_ * 1e-10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X)
    history = np.array(model.monitor_.history)
    assert (np.diff(history) >= -1e-9 * np.abs(history[1:])).all()


@ALL
@BOTH
@pytest.mark.parametrize("value", [0.1, 1.0 / 3.0, 1e12 / 7.0, 1e30 / 7.0, 1e-30 / 7.0])
def test_constant_features_and_far_origins_do_not_lower_the_objective(cls, t, value):
    """A mean of equal numbers is that number, to the bit; else its rounding would be measured by a variance of none."""
    rng = np.random.default_rng(27)
    data = [
        np.full((23, 2), value),
        np.column_stack([np.full(23, value), value * rng.normal(0, 1, 23)]),
        value + np.finfo(float).eps * value * rng.integers(0, 4, (23, 2)),
    ]
    for X in data:
        X[rng.random(X.shape) < 0.1] = np.nan
        model = cls(3, covariance_type=t, random_state=0, n_iter=12, tol=-1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of equal frames a state may get none
            model.fit(X, [11, 12])
        history = np.array(model.monitor_.history)
        assert np.isfinite(history).all()
        assert (np.diff(history) >= -1e-7 * np.abs(history[1:])).all(), np.diff(history).min()


def test_the_floor_is_the_same_share_in_all_units():
    X = np.column_stack([np.full(20, 3.0), np.random.default_rng(0).normal(0, 1, 20)])
    for scale in (1e-30, 1.0, 1e30):
        found = GaussianHMM(1, "spherical", n_iter=3).fit(X * scale).covars_[0]
        assert found / scale**2 == pytest.approx(X[:, 1].var() / 2, rel=1e-9)


@ALL
@BOTH
def test_without_a_floor_a_covariance_still_has_a_root(cls, t):
    X = np.repeat(np.arange(3.0), 10)[:, None] * [1.0, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = cls(3, covariance_type=t, min_covar=0.0, random_state=0, n_iter=10).fit(X)
    assert np.isfinite(model.score(X)) and np.isfinite(model.predict_proba(X)).all()


@ALL
@BOTH
@pytest.mark.parametrize("far", [1e3, 1e100, 1e150, 1e160, 1e300])
def test_data_far_away_have_the_right_finite_score_or_none(cls, t, far):
    """The density is -|x - mean|^2 / 2 for far x; beyond 1e154 no double holds it."""
    model = by_hand(cls, t, np.random.default_rng(23), D=2)
    model.covars_ = (
        np.ones_like(model.covars_) if t in ("spherical", "diag") else np.zeros_like(model.covars_) + np.eye(2)
    )
    model.means_ = np.zeros_like(model.means_)
    X = np.array([[0.0, 0.0], [far, -far], [1.0, 1.0]])
    expected = -math.log(2 * math.pi) * 3 - 1.0 - far**2 if far < 1e154 else -math.inf
    assert model.score(X) == pytest.approx(expected, rel=1e-13)
    assert np.isfinite(model.predict_proba(X)).all()
    assert not np.isnan(model.score_sequences(X)).any() and not np.isnan(model.decode(X)[0])


@BOTH
def test_wide_and_narrow_gaussians_keep_every_density_that_a_double_holds(cls):
    model = by_hand(cls, "diag", np.random.default_rng(24), D=2)
    for variance, x in ((1e300, 1e155), (1e-308, 1e-154), (1e-320, 3e-160)):
        model.covars_, model.means_ = np.full_like(model.covars_, variance), np.zeros_like(model.means_)
        variance = float(np.float64(variance))  # 1e-320 has few digits
        expected = -((x / math.sqrt(variance)) ** 2) - math.log(2 * math.pi) - math.log(variance)
        assert model.score([[x, x]]) == pytest.approx(expected, rel=1e-9)


def test_one_state_of_a_mixture_out_of_range_leaves_the_other():
    model = by_hand(GMMHMM, "diag", np.random.default_rng(25), D=1)
    model.means_, model.covars_ = np.array([[[0.0], [1.0]], [[1e160], [1e160]]]), np.ones((2, 2, 1))
    X = np.array([[0.0], [1e160], [1.0]])
    posterior = model.predict_proba(X)
    np.testing.assert_allclose(posterior, [[1, 0], [0, 1], [1, 0]])
    assert np.isfinite(model.score(X))


BAD = [math.nan, math.inf, -5.0, None, "2", 1j, [1.0, [2.0]], True, {"a": 1}]


@pytest.mark.parametrize("value", BAD, ids=repr)
@pytest.mark.parametrize("name", ["means_prior", "means_weight", "covars_prior", "covars_weight", "min_covar"])
@ALL
@BOTH
def test_options_that_cannot_be_are_refused_by_name(cls, t, name, value):
    if (name, value) == ("means_prior", -5.0) or (cls is GMMHMM and value is None and name.startswith("covars")):
        return  # a mean may be anywhere, and None is hmmlearn's default
    model = cls(2, covariance_type=t, **{name: value})
    before = dict(vars(model))
    with pytest.raises((TypeError, ValueError), match=name):
        model.fit(X_PRIOR)
    assert vars(model) == before


@pytest.mark.parametrize(
    ("cls", "options", "match"),
    [
        (GaussianHMM, {"means_prior": np.zeros((3, 2))}, r"means_prior has shape \(3, 2\)"),
        (GaussianHMM, {"means_prior": np.zeros(3)}, r"means_prior has shape \(3,\), .* \(2,\)"),
        (GaussianHMM, {"means_weight": np.zeros((2, 2, 2))}, "means_weight has shape"),
        (
            GaussianHMM,
            {"covariance_type": "full", "covars_prior": np.array([[1.0, 2.0], [2.0, 1.0]])},
            "covars_prior is",
        ),
        (
            GaussianHMM,
            {"covariance_type": "full", "covars_prior": np.array([[1.0, 0.3], [0.0, 1.0]])},
            "covars_prior is",
        ),
        (GaussianHMM, {"covariance_type": "full", "covars_prior": np.eye(3)}, "covars_prior has shape"),
        (GMMHMM, {"weights_prior": 0.5}, "weights_prior holds 0.5, expected at least 1"),
        (GMMHMM, {"weights_prior": [1.0, math.nan]}, "weights_prior holds nan"),
        (GMMHMM, {"weights_prior": None}, "weights_prior.* is missing"),
        (GMMHMM, {"weights_prior": [1.0, 2.0, 3.0]}, r"weights_prior has shape \(3,\)"),
        (GMMHMM, {"n_mix": 2.0}, "n_mix is 2.0"),
        (GaussianHMM, {"covariance_type": None}, "covariance_type is None"),
        (GaussianHMM, {"covariance_type": ["full"]}, r"covariance_type is \['full'\]"),
    ],
)
def test_priors_that_do_not_fit_are_refused_by_name(cls, options, match):
    options = ({"n_mix": 2} if cls is GMMHMM else {}) | options
    with pytest.raises((ValueError, TypeError), match=match):
        cls(2, **options).fit(X_PRIOR)


@BOTH
def test_a_covariance_type_that_is_none_is_refused_at_scoring_too(cls):
    model = by_hand(cls, "diag", np.random.default_rng(0))
    model.covariance_type = "round"
    for call in (model.score, model.predict, model.filter):
        with pytest.raises(ValueError, match="covariance_type is 'round', expected one of 'spherical'"):
            call(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="covariance_type is 'round'"):
        model.sample(3)
    model.covariance_type = "full"
    with pytest.raises(ValueError, match="covars_ has shape"):
        model.score(np.zeros((3, 3)))


@pytest.mark.parametrize("value", [None, "a", ["a", "b"], [[1.0], [2.0, 3.0]], 1j, {"a": 1.0}, math.nan], ids=repr)
@pytest.mark.parametrize("name", ["means_", "covars_", "weights_"])
@BOTH
def test_parameters_that_are_no_numbers_are_refused_by_name(cls, name, value):
    if cls is GaussianHMM and name == "weights_":
        return
    model = by_hand(cls, "diag", np.random.default_rng(0))
    setattr(model, name, value)
    with pytest.raises((ValueError, TypeError), match=name):
        model.score(np.zeros((3, 3)))


def test_data_too_large_for_their_variance_are_refused_by_name():
    for cls in (GaussianHMM, GMMHMM):
        with pytest.raises(ValueError, match=r"X\[:, 0\] holds numbers up to 1e\+200, too large"):
            cls(2, random_state=0).fit([[0.0], [1e200], [1.0], [3.0]])


def test_densities_and_moments_keep_to_what_is_asked_of_many_patterns():
    """As many patterns as frames."""
    rng = np.random.default_rng(26)
    X = holes(rng, rng.normal(0, 1, (300, 12)), 0.5)
    mean, S = rng.normal(0, 1, (1, 12)), spd(rng, 1, 12)
    found = log_density(X, mean, S)
    for x, value in zip(X, found[0]):
        o = ~np.isnan(x)
        assert value == pytest.approx(log_normal(x[o], mean[0, o], S[0][np.ix_(o, o)]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("family", [f"{kind} {t}" for kind in ("gaussian", "gmm") for t in TYPES])
def test_sequences_with_missing_features_are_learned_alike_in_any_order(family):
    model = make(family, 2, np.random.default_rng(0), init_params="", n_iter=4, tol=-1.0)
    X = observations(model, 90, np.random.default_rng(1))
    parts = [X[:20], X[20:65], X[65:]]
    model.fit(parts)
    other = make(family, 2, np.random.default_rng(0), init_params="", n_iter=4, tol=-1.0).fit(parts[::-1])
    for name in model._arrays():
        np.testing.assert_allclose(getattr(other, name), getattr(model, name), rtol=1e-8, atol=1e-11)
