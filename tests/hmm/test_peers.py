"""What other libraries get wrong, by their users' reports and by measurement, and must come out right here."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.hmm import GMMHMM, CategoricalHMM, GaussianHMM, PoissonHMM

TYPES = ("spherical", "diag", "full", "tied")
FAMILIES = {
    "categorical": lambda **o: CategoricalHMM(3, **o),
    "poisson": lambda **o: PoissonHMM(3, **o),
    **{f"gaussian {t}": lambda t=t, **o: GaussianHMM(3, t, **o) for t in TYPES},
    **{f"gmm {t}": lambda t=t, **o: GMMHMM(2, 2, t, **o) for t in TYPES},
}
PRIORS = {
    "categorical": {"emissionprob_prior": 1.7},
    "poisson": {"lambdas_prior": 2.0, "lambdas_weight": 1.5},
    "gaussian": {"means_prior": 0.5, "means_weight": 2.0, "covars_prior": 0.3, "covars_weight": 1.5},
    "gmm": {"means_prior": 0.5, "means_weight": 2.0, "covars_prior": 0.3, "covars_weight": 1.5, "weights_prior": 1.4},
}


def regimes(rng, M, D=2, scale=1.0):
    """Data that switch between three levels."""
    states = np.cumsum(rng.random(M) < 0.15) % 3
    return scale * (4.0 * states[:, None] + rng.standard_normal((M, D)))


def data_for(family, rng, M, scale):
    if family == "categorical":
        return (np.cumsum(rng.random(M) < 0.2) % 3 + rng.integers(0, 2, M)).astype(int)
    if family == "poisson":
        return rng.poisson(np.abs(regimes(rng, M)) * max(scale, 0.1)).astype(float)
    return regimes(rng, M, scale=scale)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-3, 0.01, 1.0, 1e3]),
    lengths=st.lists(st.integers(1, 25), min_size=3, max_size=6),
    priors=st.booleans(),
    zeros=st.booleans(),
    missing=st.booleans(),
    init=st.sampled_from(["kmeans", "random"]),
)
def test_em_never_lowers_its_objective(family, seed, scale, lengths, priors, zeros, missing, init):
    rng = np.random.default_rng(seed)
    X = data_for(family, rng, sum(lengths), scale)
    if missing:
        X[1::7] = -1 if family == "categorical" else np.nan
        if X.ndim == 2:
            X[::5, 1], X[2::5, 0] = np.nan, np.nan
    options = {"random_state": seed, "n_iter": 25, "tol": -1.0, "init": init}
    if priors:
        options |= PRIORS[family.partition(" ")[0]] | {"startprob_prior": 1.3, "transmat_prior": 2.0}
    model = FAMILIES[family](**options)
    N = model.n_components
    possible = np.ones((N, N), bool)
    if zeros:  # left to right
        possible = np.triu(possible)
        model.set_params(init_params="".join(model.emission.letters))
        model.startprob_ = np.eye(N)[0]
        model.transmat_ = possible / possible.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a state may lose all its frames
        model.fit(X, lengths)
    history = np.array(model.monitor_.history)
    assert len(history) == 26 and np.isfinite(history).all()
    assert (np.diff(history) >= -1e-9 * np.abs(history[1:])).all(), np.diff(history).min()
    assert not model.transmat_[~possible].any()
    assert history[-1] == pytest.approx(model.score(X, lengths) + model._log_prior(), rel=1e-12)


def test_a_mixture_of_one_spherical_gaussian_has_the_plain_variance():
    """hmmlearn divides by too much: 1.265 instead of 1.012."""
    X = np.random.default_rng(0).normal(0, 1, (200, 1))
    model = GMMHMM(1, 1, "spherical", random_state=0).fit(X)
    np.testing.assert_allclose(model.covars_, [[X.var()]], rtol=1e-12)
    same = GMMHMM(1, 3, "spherical", random_state=0, params="c", init_params="stcw")
    same.means_ = np.zeros((1, 3, 1))
    same.fit(X)
    np.testing.assert_allclose((same.weights_ * same.covars_).sum(), (X**2).mean(), rtol=1e-9)


def test_one_state_is_plain_maximum_likelihood():
    X = regimes(np.random.default_rng(0), 50)
    model = GaussianHMM(1, "full").fit(X, [20, 30])
    np.testing.assert_allclose(model.means_[0], X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.covars_[0], np.cov(X.T, bias=True), rtol=1e-10)
    assert model.transmat_.tolist() == [[1.0]] and model.monitor_.converged
    symbols = np.array([0, 2, 2, 1])
    np.testing.assert_allclose(CategoricalHMM(1).fit(symbols).emissionprob_, [[0.25, 0.25, 0.5]])


def two_states(emissions, transmat=((0.9, 0.1), (0.2, 0.8)), **options):
    model = CategoricalHMM(2, **options)
    model.startprob_, model.transmat_ = np.array([0.6, 0.4]), np.array(transmat)
    model.emissionprob_ = np.array(emissions)
    return model


def test_a_state_that_is_visited_only_at_the_end_keeps_its_row():
    model = two_states([[1.0, 0.0], [0.0, 1.0]], init_params="", n_iter=20)
    with pytest.warns(UserWarning, match="state 1 is never left and keeps its row of transmat_"):
        model.fit([0, 0, 0, 1])
    np.testing.assert_allclose(model.transmat_, [[2 / 3, 1 / 3], [0.2, 0.8]])
    assert model.score([0, 0, 0, 1]) == pytest.approx(math.log(4 / 27))


@pytest.mark.parametrize("family", ["categorical", "gaussian diag", "gaussian full", "gmm diag", "poisson"])
def test_a_state_without_observations_keeps_its_parameters_and_is_named_once(family):
    rng = np.random.default_rng(0)
    X = data_for(family, rng, 60, 1.0)
    model = FAMILIES[family](random_state=0, n_iter=5).fit(X)
    names = model._arrays()
    N = model.n_components
    model.startprob_ = np.eye(N)[0]
    model.transmat_ = np.full((N, N), 1.0 / (N - 1))
    model.transmat_[:, -1] = 0.0  # nothing leads to the last state
    kept = {name: np.array(getattr(model, name)) for name in names}
    model.set_params(init_params="")
    with pytest.warns(UserWarning, match=f"state {N - 1} explains no observation and keeps its emissions") as caught:
        model.fit(X)
    assert len(caught) == 1
    for name in names[2:]:
        np.testing.assert_array_equal(getattr(model, name)[-1], kept[name][-1])
    np.testing.assert_array_equal(model.transmat_[-1], kept["transmat_"][-1])
    assert np.isfinite(model.monitor_.history).all()


@pytest.mark.parametrize("t", TYPES)
@pytest.mark.parametrize("cls", [GaussianHMM, GMMHMM])
def test_perfectly_correlated_and_constant_columns_leave_positive_covariances(cls, t):
    rng = np.random.default_rng(0)
    a = regimes(rng, 100, 1)
    for X in (np.hstack([a, 2 * a]), np.hstack([a, np.full_like(a, 7.0)]), np.full((20, 2), 3.0)):
        model = cls(2, covariance_type=t, random_state=0, n_iter=20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of equal frames a state may get none
            model.fit(X)
        history = np.array(model.monitor_.history)
        assert np.isfinite(history).all() and (np.diff(history) >= -1e-9 * np.abs(history[1:])).all()
        assert np.isfinite(model.predict_proba(X)).all()
        if t in ("full", "tied"):
            assert np.linalg.eigvalsh(model.covars_).min() > 0


def test_the_floor_of_the_variances_follows_the_scale_of_the_data():
    X = regimes(np.random.default_rng(0), 200, 1)
    options = {"random_state": 0, "n_iter": 60, "tol": -1.0}  # when EM ends depends on the scale
    one = GaussianHMM(3, **options).fit(X)
    two = GaussianHMM(3, **options).fit(X * 0.01)
    np.testing.assert_allclose(two.means_, one.means_ * 0.01, rtol=1e-6)
    np.testing.assert_allclose(two.covars_, one.covars_ * 1e-4, rtol=1e-6)
    assert two.score(X * 0.01) == pytest.approx(one.score(X) + 200 * math.log(100), rel=1e-9)


def test_n_iter_and_tol_may_change_after_construction():
    X = data_for("gaussian diag", np.random.default_rng(0), 80, 1.0)
    model = GaussianHMM(3, n_iter=2, tol=-1.0, random_state=0)
    model.n_iter = 7
    assert model.fit(X).monitor_.iter == 7
    model.tol = 1e9
    assert model.fit(X).monitor_.iter == 1 and model.monitor_.converged


def test_the_score_of_posterior_decoding_is_the_log_probability_of_its_path():
    """hmmlearn returns a sum of probabilities: +2.256."""
    model = two_states([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]], [[0.7, 0.3], [0.4, 0.6]])
    log_probability, states = model.decode([0, 1, 2], algorithm="map")
    b = model.emissionprob_[states, [0, 1, 2]]
    expected = model.startprob_[states[0]] * model.transmat_[states[:-1], states[1:]].prod() * b.prod()
    assert log_probability == pytest.approx(math.log(expected))
    impossible = two_states([[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]])
    impossible.startprob_ = np.array([0.9, 0.1])
    log_probability, states = impossible.decode([0, 0], algorithm="map")
    assert log_probability == (-math.inf if states.tolist() == [0, 0] else pytest.approx(math.log(0.9 * 0.25)))


@pytest.mark.parametrize(
    ("model", "D", "expected"),
    [
        (CategoricalHMM(3), None, 2 + 6 + 3 * 3),
        (PoissonHMM(3), 2, 2 + 6 + 6),
        (GaussianHMM(3, "spherical"), 2, 2 + 6 + 6 + 3),
        (GaussianHMM(3, "diag"), 2, 2 + 6 + 6 + 6),
        (GaussianHMM(3, "full"), 2, 2 + 6 + 6 + 9),
        (GaussianHMM(3, "tied"), 2, 2 + 6 + 6 + 3),
        (GMMHMM(3, 4, "diag"), 2, 2 + 6 + 24 + 24 + 9),  # hmmlearn counts 3 weights for 9
        (GMMHMM(3, 4, "spherical"), 2, 2 + 6 + 24 + 12 + 9),
        (GMMHMM(3, 4, "full"), 2, 2 + 6 + 24 + 36 + 9),
        (GMMHMM(3, 4, "tied"), 2, 2 + 6 + 24 + 9 + 9),
        (GaussianHMM(3, "full", params="st"), 2, 2 + 6),
    ],
)
def test_aic_and_bic_count_what_is_free(model, D, expected):
    rng = np.random.default_rng(0)
    X = (
        rng.integers(0, 4, 90)
        if D is None
        else rng.poisson(3 + 20 * (np.arange(90) // 30)[:, None], (90, D)).astype(float)
    )
    model.set_params(random_state=0, n_iter=3).fit(X)
    assert model.num_params == expected
    assert model.aic(X) == pytest.approx(-2 * model.score(X) + 2 * expected)
    assert model.bic(X) == pytest.approx(-2 * model.score(X) + math.log(90) * expected)


def test_structural_zeros_are_not_counted_and_stay():
    model = CategoricalHMM(3, init_params="e", random_state=0, n_iter=5, startprob_prior=2.0, transmat_prior=2.0)
    model.startprob_ = np.array([1.0, 0.0, 0.0])
    model.transmat_ = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    zeros = model.transmat_ == 0
    model.fit(np.random.default_rng(0).integers(0, 4, 60), [20, 20, 20])
    np.testing.assert_array_equal(model.transmat_ == 0, zeros)
    assert model.startprob_.tolist() == [1.0, 0.0, 0.0]
    assert model.num_params == 0 + 2 + 9


def test_an_outlier_of_a_hundred_sigma_is_scored():
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.full((2, 2), 0.5)
    model.means_, model.covars_ = np.array([[0.0], [1.0]]), np.ones((2, 1))
    X = np.array([[0.0], [100.0], [1.0]])
    densities = -0.5 * (X - model.means_.T) ** 2 - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(model.score(X), np.logaddexp(*densities.T).sum() - 3 * math.log(2), rtol=1e-13)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_an_outlier_that_only_the_unlikely_state_can_explain():
    """The state that is reached lies a thousand nats below the one that is not: scaling alone gives 0/0."""
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([0.0, 1.0]), np.array([[0.4, 0.6], [0.0, 1.0]])
    model.means_, model.covars_ = np.array([[0.0], [100.0]]), np.ones((2, 1))
    X = np.array([[0.0], [0.0], [100.0]])
    normal = -0.5 * math.log(2 * math.pi)
    assert model.score(X) == pytest.approx(3 * normal - 10_000)
    np.testing.assert_array_equal(model.predict_proba(X), [[0, 1]] * 3)


def test_a_million_frames():
    T = 1_000_000
    model = two_states([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    X, states = model.sample(T, random_state=0)
    whole = model.score(X)
    belief, parts = model.startprob_, 0.0  # the same likelihood, piece by piece
    for piece in np.split(X, 10):
        each = two_states(model.emissionprob_, model.transmat_)
        each.startprob_ = belief
        parts += each.score(piece)
        belief = each.predict_next(each.filter(piece)[-1])
    assert whole == pytest.approx(parts, rel=1e-12)
    posterior = model.predict_proba(X)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0, rtol=1e-12)
    assert (posterior.argmax(axis=1) == states).mean() > 0.75


@pytest.mark.parametrize("family", FAMILIES)
def test_sequences_of_one_frame_are_learned_from_and_empty_ones_refused(family):
    X = data_for(family, np.random.default_rng(0), 40, 1.0)
    with pytest.warns(UserWarning, match="never left and keeps its row"):
        model = FAMILIES[family](random_state=0, n_iter=5).fit(X, [1] * 40)
    assert np.isfinite(model.score(X, [1] * 40)) and len(model.predict(X[:1])) == 1
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0"):
        model.score(X, [20, 0, 20])
    with pytest.raises(ValueError, match=r"X\[1\] is empty"):
        model.score([X[:20], X[:0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_sequences_does_not_matter_and_data_twice_are_the_same_data(family):
    rng = np.random.default_rng(3)
    X = data_for(family, rng, 90, 1.0)
    parts = [X[:20], X[20:65], X[65:]]
    start = FAMILIES[family](random_state=0, n_iter=1).fit(parts)
    results = []
    for sequences in (parts, parts[::-1], parts * 2):
        model = FAMILIES[family](n_iter=4, tol=-1.0, init_params="")
        for name in start._arrays():
            setattr(model, name, getattr(start, name))
        results.append(model.fit(sequences))
    for other in results[1:]:
        for name in start._arrays():
            np.testing.assert_allclose(getattr(other, name), getattr(results[0], name), rtol=1e-7, atol=1e-10)
    assert results[2].score(parts) * 2 == pytest.approx(results[2].score(parts * 2), rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_caller_gave_is_never_changed(family):
    X = data_for(family, np.random.default_rng(0), 60, 1.0)
    X[5] = -1 if family == "categorical" else np.nan
    if X.ndim == 2:
        X[7, 0] = np.nan
    lengths, copy = np.array([10, 50]), X.copy()
    model = FAMILIES[family](random_state=0, n_iter=3).fit(X, lengths)
    before = {name: np.array(getattr(model, name)) for name in model._arrays()}
    for call in (model.score, model.predict_proba, model.decode, model.filter, model.log_likelihood_gradient):
        call(X, lengths)
    np.testing.assert_array_equal(X, copy)
    np.testing.assert_array_equal(lengths, [10, 50])
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(model, name), values)
    mine = np.array([[1.0, 0.0], [0.5, 0.5]])
    given = two_states([[0.5, 0.5], [0.1, 0.9]], mine, init_params="", n_iter=3)
    given.transmat_ = mine
    given.fit([0, 1, 1, 0])
    np.testing.assert_array_equal(mine, [[1.0, 0.0], [0.5, 0.5]])


def test_the_same_seed_gives_the_same_model_and_another_start_may_not():
    X = data_for("gaussian diag", np.random.default_rng(0), 80, 1.0)
    models = [GaussianHMM(3, random_state=seed, init="random", n_iter=2).fit(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(models[0].means_, models[1].means_)
    assert not np.allclose(models[0].means_, models[2].means_)


def test_more_starts_never_end_worse():
    X = data_for("gaussian diag", np.random.default_rng(1), 120, 1.0)
    finals = [
        GaussianHMM(3, random_state=0, init="random", n_init=n).fit(X).monitor_.history[-1] for n in (1, 2, 5, 10)
    ]
    assert finals == sorted(finals) and finals[-1] > finals[0]


def test_sampling_never_gives_what_has_no_probability():
    model = two_states([[0.3, 0.7, 0.0], [0.0, 1.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]])
    X, states = model.sample(20_000, random_state=0)
    assert set(X[:, 0]) == {0, 1} and not ((states[1:] == 1) & (states[:-1] == 1)).any()
    assert set(X[states == 1, 0]) == {1}


def test_the_stationary_distribution_of_a_reducible_chain_is_refused():
    model = two_states([[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="reducible"):
        model.get_stationary_distribution()
    np.testing.assert_allclose(two_states([[0.5, 0.5]] * 2).get_stationary_distribution(), [2 / 3, 1 / 3])
    swap = two_states([[0.5, 0.5]] * 2, [[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(swap.get_stationary_distribution(), [0.5, 0.5])


def test_a_left_right_model_has_finite_posteriors_after_learning():
    rng = np.random.default_rng(0)
    sequences = [np.concatenate([rng.normal(m, 0.5, (8, 1)) for m in (0, 3, 6)]) for _ in range(10)]
    model = GaussianHMM(3, init_params="mc", random_state=0)
    model.startprob_ = np.array([1.0, 0.0, 0.0])
    model.transmat_ = np.array([[0.8, 0.2, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.0]])
    model.means_ = np.array([[0.0], [3.0], [6.0]])
    model.set_params(init_params="c").fit(sequences)
    np.testing.assert_allclose(model.means_[:, 0], [0, 3, 6], atol=0.2)
    assert (np.diff(model.predict(sequences[0])) >= 0).all()


def test_a_uniform_chain_is_a_mixture():
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([0.3, 0.7]), np.array([[0.3, 0.7]] * 2)
    model.means_, model.covars_ = np.array([[0.0], [2.0]]), np.array([[1.0], [0.5]])
    X = np.random.default_rng(0).normal(1, 1, (20, 1))
    densities = np.exp(-0.5 * (X - [0.0, 2.0]) ** 2 / [1.0, 0.5]) / np.sqrt(2 * math.pi * np.array([1.0, 0.5]))
    joint = densities * [0.3, 0.7]
    np.testing.assert_allclose(model.score(X), np.log(joint.sum(axis=1)).sum(), rtol=1e-13)
    np.testing.assert_allclose(model.predict_proba(X), joint / joint.sum(axis=1, keepdims=True), rtol=1e-12)
