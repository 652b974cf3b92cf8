"""The families of hidden Markov models: inference against enumeration, learning, sampling, files, wrong input."""

from __future__ import annotations

import errno
import inspect
import math
import os
from dataclasses import dataclass

import numpy as np
import pytest
import strict_xp
from brute import enumerate_paths
from families import FAMILIES, TYPES, assert_is_a_maximum, chain, make, observations
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnscratch as rs
from rnnscratch.estimator import NotFittedError
from rnnscratch.hmm import (
    GMMHMM,
    BaseHMM,
    CategoricalHMM,
    Emission,
    GaussianHMM,
    HMMClassifier,
    PoissonHMM,
    inference,
    load_hmm,
)
from rnnscratch.hmm.frames import prepare, read, tell_apart
from rnnscratch.hmm.learning import Parameters


def density(model, x):
    """p(x | state) (N,) of one observation, from the textbook's formula; of the features that are not NaN."""
    if isinstance(model, CategoricalHMM):
        return model.emissionprob_[:, int(x)]
    if isinstance(model, PoissonHMM):
        return np.array(
            [
                math.prod(rate**k * math.exp(-rate) / math.factorial(int(k)) for rate, k in zip(row, x) if k == k)
                for row in model.lambdas_
            ]
        )
    if isinstance(model, GaussianHMM):
        return np.array([normal(x, mean, whole(model, k)) for k, mean in enumerate(model.means_)])
    found = np.zeros(model.n_components)
    for k, part in np.ndindex(model.weights_.shape):
        found[k] += model.weights_[k, part] * normal(x, model.means_[k, part], whole(model, k, part))
    return found


def whole(model, k, part=None):
    c, D = model.covars_, model.n_features_
    if model.covariance_type == "tied":
        return c if part is None else c[k]
    own = c[k] if part is None else c[k, part]
    return own if model.covariance_type == "full" else np.eye(D) * own


def normal(x, mean, covariance):
    seen = ~np.isnan(x)
    d, covariance = (x - mean)[seen], covariance[np.ix_(seen, seen)]
    return math.exp(-0.5 * d @ np.linalg.solve(covariance, d)) / math.sqrt(np.linalg.det(2 * math.pi * covariance))


def is_missing(x):
    return x < 0 if np.ndim(x) == 0 else np.isnan(x).all()


def emissions(model, X):
    return np.stack([np.ones(model.n_components) if is_missing(x) else density(model, x) for x in X], axis=1)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(N=st.integers(1, 3), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), seed=st.integers(0, 10**6))
def test_every_answer_is_what_enumeration_finds(family, N, lengths, seed):
    """Every family, mixtures (Eq. 58) among them; p(x) sums Eq. 59 over all paths."""
    rng = np.random.default_rng(seed)
    model = make(family, N, rng)
    X = observations(model, sum(lengths), rng)
    parts = [
        enumerate_paths(emissions(model, x), model.startprob_, model.transmat_)
        for x in np.split(X, np.cumsum(lengths)[:-1])
    ]
    close = {"rtol": 1e-12, "atol": 1e-12}
    logs = [math.log(part.likelihood) for part in parts]
    np.testing.assert_allclose(model.score_sequences(X, lengths), logs, **close)
    np.testing.assert_allclose(model.score(X, lengths), sum(logs), **close)
    np.testing.assert_allclose(model.predict_proba(X, lengths), np.concatenate([p.posterior.T for p in parts]), **close)
    np.testing.assert_allclose(model.filter(X, lengths), np.concatenate([p.filtered.T for p in parts]), **close)
    best = [part.paths[0] for part in parts]
    log_probability, states = model.decode(X, lengths)
    np.testing.assert_allclose(log_probability, sum(math.log(p) for p, _ in best), **close)
    of_path = [{path: math.log(p) for p, path in part.paths} for part in parts]  # missing frames make ties

    def log_of(states):
        cuts = np.split(states, np.cumsum(lengths)[:-1])
        return sum(table[tuple(cut.tolist())] for table, cut in zip(of_path, cuts))

    np.testing.assert_allclose(log_of(states), log_probability, **close)
    log_probability, states = model.decode(X, lengths, algorithm="map")
    np.testing.assert_allclose(log_probability, log_of(states), **close)
    np.testing.assert_array_equal(states, model.predict_proba(X, lengths).argmax(axis=1))
    for part, table, (found, paths) in zip(parts, of_path, model.decode_best(X, 4, lengths)):
        np.testing.assert_allclose(found, [math.log(p) for p, _ in part.paths[:4]], **close)
        np.testing.assert_allclose([table[tuple(path)] for path in paths.tolist()], found, **close)
        assert len({tuple(path) for path in paths.tolist()}) == len(paths)
    belief = None
    for x, expected in zip(X[: lengths[0]], parts[0].filtered.T):
        belief = model.update(belief, x)
        np.testing.assert_allclose(belief, expected, **close)
    np.testing.assert_allclose(
        model.predict_next(belief, 3), belief @ np.linalg.matrix_power(model.transmat_, 3), **close
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_agrees_with_small_steps(family):
    rng = np.random.default_rng(1)
    model = make(family, 3, rng)
    X, lengths = observations(model, 12, rng), [5, 7]
    gradients = model.log_likelihood_gradient(X, lengths)
    posterior = model.predict_proba(X, lengths)
    np.testing.assert_allclose(gradients["frames"], posterior, rtol=1e-10, atol=1e-13)
    relative = {"startprob": "startprob_", "emissionprob": "emissionprob_", "lambdas": "lambdas_"}  # by the logarithm
    for name, attribute in {**relative, "means": "means_"}.items():
        if name not in gradients:
            continue
        values = getattr(model, attribute)
        for place in np.ndindex(*values.shape):
            found = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[place] = moved[place] * math.exp(step) if name in relative else moved[place] + step
                b = model
                setattr(b, attribute, moved)
                found.append(unchecked_score(b, X, lengths))
                setattr(b, attribute, values)
            np.testing.assert_allclose(gradients[name][place], (found[0] - found[1]) / 2e-5, rtol=1e-6, atol=1e-6)


def unchecked_score(model, X, lengths):
    """The log-likelihood of parameters that need not sum to 1."""
    emission = model.emission(**vars(model))
    _, frames, sizes = read(emission, tell_apart("X", X, lengths, emission.symbols), lengths)
    data = prepare(emission, frames, sizes)
    p = Parameters(model.startprob_, model.transmat_, emission)
    return inference.log_likelihood(p.log_emissions(data), p.startprob, p.transmat, data.frames).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_em_climbs_and_finds_the_model_that_made_the_data(family):
    rng = np.random.default_rng(5)
    truth = make(family, 2, rng)
    truth.startprob_, truth.transmat_ = np.array([0.7, 0.3]), np.array([[0.9, 0.1], [0.2, 0.8]])
    if isinstance(truth, GMMHMM):
        truth.means_ = truth.means_ * 3 + [
            [[0.0, 0.0]],
            [[30.0, 0.0]],
        ]  # apart: one of few starts finds the best maximum
    sequences = [truth.sample(60, random_state=rng)[0] for _ in range(30)]
    model = type(truth)(**{**truth.get_params(), "random_state": 0, "n_iter": 60, "n_init": 3}).fit(sequences)
    history = model.monitor_.history
    assert np.diff(history).min() > -1e-9 * abs(history[-1])
    assert len(history) == model.monitor_.iter + 1
    np.testing.assert_allclose(history[-1], model.score(sequences), rtol=1e-12)
    assert model.score(sequences) > truth.score(sequences)  # the likeliest model beats the true one on its own data
    assert model.score(sequences) - truth.score(sequences) < 3 * truth.num_params  # and not by much


def test_two_steps_of_em_in_full_by_enumeration():
    """Baum-Welch of a categorical model, written out: expected counts over all paths, normalised, twice."""
    rng = np.random.default_rng(0)
    model = make("categorical", 2, rng)
    X, lengths = rng.integers(0, 4, 9), [4, 5]
    start, transmat, emit = model.startprob_, model.transmat_, model.emissionprob_
    for _ in range(2):
        starts, pairs, counts = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 4))
        for x in (X[:4], X[4:]):
            found = enumerate_paths(emit[:, x], start, transmat)
            starts += found.posterior[:, 0]
            pairs += found.pairs
            np.add.at(counts.T, x, found.posterior.T)
        start, transmat, emit = (c / c.sum(axis=-1, keepdims=True) for c in (starts, pairs, counts))
    learned = CategoricalHMM(2, n_iter=2, tol=-1.0, init_params="")
    learned.startprob_, learned.transmat_, learned.emissionprob_ = (
        model.startprob_,
        model.transmat_,
        model.emissionprob_,
    )
    learned.fit(X, lengths)
    np.testing.assert_allclose(learned.startprob_, start, rtol=1e-12)
    np.testing.assert_allclose(learned.transmat_, transmat, rtol=1e-12)
    np.testing.assert_allclose(learned.emissionprob_, emit, rtol=1e-12)


@pytest.mark.parametrize("t", TYPES)
def test_with_known_states_one_step_is_the_textbook_estimate(t):
    rng = np.random.default_rng(2)
    X, states = rng.normal(0, 1, (40, 2)), rng.integers(0, 2, 40)
    X[states == 1] += [3.0, -1.0]
    model = GaussianHMM(2, t, random_state=0).fit(X, [15, 25], states=states)
    scatter = []
    for k in (0, 1):
        own = X[states == k]
        np.testing.assert_allclose(model.means_[k], own.mean(axis=0), rtol=1e-10)
        scatter.append((own - own.mean(axis=0)).T @ (own - own.mean(axis=0)))
    sizes = np.bincount(states)
    expected = {
        "spherical": [np.trace(S) / (2 * n) for S, n in zip(scatter, sizes)],
        "diag": [np.diag(S) / n for S, n in zip(scatter, sizes)],
        "full": [S / n for S, n in zip(scatter, sizes)],
        "tied": (scatter[0] + scatter[1]) / 40,
    }[t]
    np.testing.assert_allclose(model.covars_, expected, rtol=1e-9)
    counts = np.zeros((2, 2))
    for part in (states[:15], states[15:]):
        np.add.at(counts, (part[:-1], part[1:]), 1)
    np.testing.assert_allclose(model.transmat_, counts / counts.sum(axis=1, keepdims=True), rtol=1e-10)
    np.testing.assert_allclose(model.startprob_, np.bincount(states[[0, 15]], minlength=2) / 2)


def test_a_few_known_states_name_the_states():
    rng = np.random.default_rng(0)
    z = np.repeat([0, 1, 0, 1, 0], 50)
    X = rng.normal(3.0 * z, 1)[:, None]
    states = np.full(250, -1)
    states[[3, 60]] = 1, 0  # contrary to the order that any other start would find
    known = np.where(np.arange(250) < 5, 1 - z, -1)
    known[60] = 0
    model = GaussianHMM(2, random_state=0).fit(X, states=known)
    assert model.means_[1, 0] < 1 < model.means_[0, 0]
    assert (model.predict(X) == 1 - z).mean() > 0.95


def test_missing_observations_are_summed_over_in_learning():
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(m, 1, (60, 2)) for m in (0, 5, 0)])
    gone = rng.random(180) < 0.3
    holes = X.copy()
    holes[gone, 1] = np.nan
    model = GaussianHMM(2, random_state=0).fit(holes)
    order = model.means_[:, 0].argsort()
    np.testing.assert_allclose(model.means_[order], [[0, 0], [5, 5]], atol=0.5)
    assert np.isfinite(model.predict_proba(holes)).all()
    assert np.isnan(holes[gone, 1]).all()


@pytest.mark.parametrize("family", ["categorical", "poisson", "gaussian diag", "gmm full"])
def test_what_is_frozen_stays_and_where_learning_begins_can_be_given(family):
    rng = np.random.default_rng(4)
    truth = make(family, 2, rng)
    X = [truth.sample(30, random_state=rng)[0] for _ in range(5)]
    model = make(family, 2, np.random.default_rng(9), params="t", init_params="", n_iter=5)
    before = {name: np.array(getattr(model, name)) for name in model._arrays()}
    model.fit(X)
    for name, values in before.items():
        assert np.array_equal(getattr(model, name), values) == (name != "transmat_")
    assert model.num_params == 2


class Exponential(Emission):
    """A family of one's own, in the few lines that Emission asks for: waiting times with mean means_ (N,)."""

    letters = {"m": "means_"}

    def initialize(self, X, rng):
        return {"means_": X.mean() * rng.uniform(0.5, 2, self.n_components)}

    def log_density(self, X):
        return -X[:, 0] / self.means_[:, None] - np.log(self.means_)[:, None]

    def statistics(self, X, weights):
        return weights @ X[:, 0], weights.sum(axis=1)

    def estimate(self, statistics):
        return {"means_": statistics[0] / statistics[1]}

    def sample(self, states, rng):
        return rng.exponential(self.means_[states])[:, None]


class ExponentialHMM(BaseHMM):
    emission = Exponential


def test_a_family_of_ones_own_needs_a_few_lines():
    truth = chain(ExponentialHMM(2), np.random.default_rng(0))
    truth.transmat_, truth.means_ = np.array([[0.95, 0.05], [0.1, 0.9]]), np.array([1.0, 20.0])
    X, states = truth.sample(2000, random_state=0)
    model = ExponentialHMM(2, random_state=1).fit(X)
    assert np.diff(model.monitor_.history).min() > -1e-9 * abs(model.monitor_.history[-1])
    order = model.means_.argsort()
    np.testing.assert_allclose(model.means_[order], [1, 20], rtol=0.15)
    assert (order[states] == model.predict(X)).mean() > 0.9
    b = np.stack([np.exp(-X[:4, 0] / m) / m for m in model.means_])
    expected = enumerate_paths(b, model.startprob_, model.transmat_)
    np.testing.assert_allclose(model.predict_proba(X[:4]), expected.posterior.T, rtol=1e-10)
    assert model.num_params == 1 + 2 + 2


def test_a_family_of_ones_own_is_decoded_saved_loaded_and_interrupted_like_any_other(tmp_path):
    model = ExponentialHMM(2, random_state=1, n_iter=5, tol=-1.0)
    model.startprob_, model.transmat_, model.means_ = [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], [1.0, 20.0]
    X, _ = model.sample(80, random_state=0)
    assert model.n_features_ == 1 and "means_=" not in repr(model)
    model.fit(X, [50, 30])
    model.save(tmp_path / "m.npz")
    again = load_hmm(tmp_path / "m.npz")
    assert type(again) is ExponentialHMM and again.get_params() == model.get_params()
    for name in ("startprob_", "transmat_", "means_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    for algorithm in ("viterbi", "map"):
        ours, theirs = model.decode(X, algorithm=algorithm), again.decode(X, algorithm=algorithm)
        assert ours[0] == theirs[0] and (ours[1] == theirs[1]).all()
    frozen = ExponentialHMM(2, params="t", init_params="")
    frozen.startprob_, frozen.transmat_, frozen.means_ = model.startprob_, [[0.5, 0.5]] * 2, [1.0, 20.0]
    frozen.fit(X)
    assert frozen.means_.tolist() == [1.0, 20.0] and frozen.num_params == 2
    with pytest.raises(ValueError, match="X has 2 features, but Exponential is expecting 1"):
        model.score(np.ones((3, 2)))
    before = dict(vars(model))
    with pytest.raises(ValueError, match="X has 2 features, but Exponential is expecting 1"):
        model.fit(np.ones((3, 2)))
    assert vars(model) == before


@dataclass(repr=False, eq=False)
class ShiftedHMM(ExponentialHMM):
    """With an option of its own."""

    shift: float = 0.0


def test_a_family_of_ones_own_may_have_options():
    assert repr(ShiftedHMM(3, 0.5, n_iter=7)) == "ShiftedHMM(n_components=3, shift=0.5, n_iter=7)"
    assert ShiftedHMM(2, random_state=0).fit([1.0, 2.0, 9.0]).emission is Exponential


@pytest.mark.parametrize("cls", [CategoricalHMM, GaussianHMM, GMMHMM, PoissonHMM])
def test_the_public_names_are_hmmlearns_the_documented_ones_and_the_options(cls):
    methods = """aic bic decode fit get_params get_stationary_distribution predict predict_proba sample score
        score_samples set_params score_sequences filter decode_best sample_paths update predict_next
        log_likelihood_gradient num_params save emission n_features_ n_features_in_"""
    assert {name for name in dir(cls) if not name.startswith("_")} == {*methods.split(), *cls().get_params()}


@pytest.mark.parametrize("cls", [CategoricalHMM, GaussianHMM, GMMHMM, PoissonHMM])
def test_the_first_arguments_go_by_position_and_the_common_ones_by_name(cls):
    first = {
        CategoricalHMM: ["n_features"],
        GaussianHMM: ["covariance_type", "min_covar"],
        GMMHMM: ["n_mix", "covariance_type", "min_covar"],
        PoissonHMM: [],
    }[cls]
    parameters = inspect.signature(cls).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == ["n_components", *first]


def test_priors_pull_and_the_monitor_watches_what_is_climbed():
    X = np.array([0, 0, 1, 0, 0, 1, 0])
    model = CategoricalHMM(1, emissionprob_prior=3.0).fit(X)
    np.testing.assert_allclose(model.emissionprob_, [[7 / 11, 4 / 11]])
    assert model.monitor_.history[-1] == pytest.approx(model.score(X) + 2 * math.log(7 / 11) + 2 * math.log(4 / 11))
    rng = np.random.default_rng(0)
    Y = rng.normal(10, 2, (50, 1))
    model = GaussianHMM(1, means_prior=4.0, means_weight=50.0, covars_prior=20.0, covars_weight=30.0).fit(Y)
    mean = (50 * 4.0 + Y.sum()) / 100
    np.testing.assert_allclose(model.means_[0, 0], mean)
    np.testing.assert_allclose(
        model.covars_[0, 0], (20 + 50 * (mean - 4) ** 2 + ((Y - mean) ** 2).sum()) / (30 - 1 + 50), rtol=1e-12
    )
    np.testing.assert_allclose(
        PoissonHMM(1, lambdas_prior=6.0, lambdas_weight=3.0).fit(np.array([[4], [5]])).lambdas_, [[3.0]]
    )


@pytest.mark.parametrize("t", TYPES)
@pytest.mark.parametrize("cls", [GaussianHMM, GMMHMM])
def test_estimates_with_priors_maximise_the_objective(cls, t):
    """No small change of the learned parameters raises the objective: they are a maximum."""
    rng = np.random.default_rng(7)
    X = np.concatenate([rng.normal(m, 1, (40, 2)) for m in (0, 4)])
    priors = {"means_prior": 1.0, "means_weight": 3.0, "covars_prior": 0.5, "covars_weight": 4.0}
    model = cls(2, covariance_type=t, n_iter=3000, tol=1e-15, random_state=0, **priors)
    if cls is GMMHMM:
        model.set_params(n_mix=2)
    model.fit(X)
    best = model.score(X) + model._log_prior()
    assert best == pytest.approx(model.monitor_.history[-1], rel=1e-12)
    assert_is_a_maximum(model, lambda: model.score(X) + model._log_prior(), 1e-7, rng)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_moments_of_the_model(family):
    model = make(family, 2, np.random.default_rng(11))
    X, states = model.sample(20_000, random_state=0)
    again, _ = model.sample(20_000, random_state=0)
    np.testing.assert_array_equal(X, again)
    counts = np.zeros((2, 2))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), model.transmat_, atol=0.03)
    for k in (0, 1):
        own = X[states == k]
        if family == "categorical":
            np.testing.assert_allclose(
                np.bincount(own[:, 0], minlength=4) / len(own), model.emissionprob_[k], atol=0.03
            )
        elif family == "poisson":
            np.testing.assert_allclose(own.mean(axis=0), model.lambdas_[k], rtol=0.05)
            np.testing.assert_allclose(own.var(axis=0), model.lambdas_[k], rtol=0.1)
        elif family.startswith("gaussian"):
            np.testing.assert_allclose(own.mean(axis=0), model.means_[k], atol=0.1)
            np.testing.assert_allclose(np.cov(own.T), whole(model, k), atol=0.2)
        else:
            w, m = model.weights_[k], model.means_[k]
            np.testing.assert_allclose(own.mean(axis=0), w @ m, atol=0.2)
            second = sum(w[i] * (whole(model, k, i) + np.outer(m[i], m[i])) for i in range(3))
            np.testing.assert_allclose(own.T @ own / len(own), second, atol=0.06 * np.abs(second).max() + 0.1)
    assert (model.sample(5, currstate=1)[1][0], model.sample(5, currstate=0)[1][0]) == (1, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_data_come_in_many_forms(family):
    rng = np.random.default_rng(0)
    model = make(family, 2, rng)
    X = observations(model, 12, rng)
    expected = model.score_sequences(X, [6, 6])
    forms = [([X[:6], X[6:]], None), (X.reshape(2, 6, -1), None)]
    if family == "categorical":
        forms = [([X[:6], X[6:]], None), (X[:, None], [6, 6]), ([X[:6].tolist(), X[6:].tolist()], None)]
    for data, lengths in forms:
        np.testing.assert_allclose(model.score_sequences(data, lengths), expected, rtol=1e-13)


def test_symbols_may_be_strings():
    words = [["rain", "sun", "sun"], ["sun", "rain"]] * 4
    model = CategoricalHMM(2, random_state=0).fit(words)
    assert model.vocabulary_ == ["rain", "sun"]
    numbers = CategoricalHMM(2, random_state=0).fit([np.array([0, 1, 1]), np.array([1, 0])] * 4)
    np.testing.assert_allclose(model.emissionprob_, numbers.emissionprob_)
    assert model.score(words) == pytest.approx(numbers.score([np.array([0, 1, 1]), np.array([1, 0])] * 4))
    with pytest.raises(ValueError, match=r"X\[1\] holds 'snow', which is not in the vocabulary"):
        model.score([["sun"], ["snow", "sun"]])
    with pytest.raises(TypeError, match="was fitted to integers"):
        numbers.score(["ab"])
    again = CategoricalHMM(2, random_state=0).fit(words).fit([np.array([0, 1, 2])])
    assert again.emissionprob_.shape == (2, 3) and not hasattr(again, "vocabulary_")
    given_order = CategoricalHMM(1, vocabulary=["b", "a", "c"]).fit(["abba"])
    np.testing.assert_allclose(given_order.emissionprob_, [[0.5, 0.5, 0.0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_comes_back_from_its_file_to_the_bit(family, tmp_path):
    model = make(family, 2, np.random.default_rng(0), random_state=3, n_iter=7)
    X, _ = model.sample(20, random_state=1)
    model.save(tmp_path / "m.npz")
    again = load_hmm(tmp_path / "m.npz")
    assert type(again) is type(model) and again.get_params() == model.get_params()
    assert again.score(X) == model.score(X)
    np.testing.assert_array_equal(again.sample(9, random_state=0)[0], model.sample(9, random_state=0)[0])


def test_a_vocabulary_is_saved_too(tmp_path):
    model = CategoricalHMM(2, random_state=0).fit(["abab", "bbaa"])
    model.save(tmp_path / "m.npz")
    assert load_hmm(tmp_path / "m.npz").score(["abba"]) == model.score(["abba"])


def test_a_file_of_before_the_emissions_were_objects_is_read(tmp_path):
    params = {"n_components": 2, "n_features": None, "startprob_prior": 1.0, "transmat_prior": 1.0}
    params |= {"emissionprob_prior": 1.5, "vocabulary": None, "algorithm": "map", "random_state": 3, "n_iter": 7}
    params |= {"tol": 1e-6, "n_init": 1, "init": "kmeans", "verbose": False, "params": None, "init_params": "ste"}
    header = {"format": "rnnscratch hmm 1", "class": "CategoricalHMM", "params": params, "n_features": 3}
    arrays = {"startprob_": np.array([0.6, 0.4]), "transmat_": np.array([[0.7, 0.3], [0.4, 0.6]])}
    arrays["emissionprob_"] = np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])
    rs.files.save_arrays(tmp_path / "old.npz", header | {"vocabulary": ["cold", "dizzy", "normal"]}, arrays)
    model = load_hmm(tmp_path / "old.npz")
    assert model.get_params() == params | {
        "implementation": "log",
        "progress": False,
        "n_jobs": None,
    } and model.vocabulary_ == [
        "cold",
        "dizzy",
        "normal",
    ]
    assert model.predict([["normal", "cold", "dizzy"]]).shape == (3,)


def test_damaged_and_foreign_files_are_refused_and_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    model = make("gaussian full", 2, np.random.default_rng(0))
    model.save(path)
    whole_file = path.read_bytes()
    rs.files.save_arrays(tmp_path / "x.npz", {"format": "rnnscratch hmm 1", "class": "os.system", "params": {}}, {})
    rs.files.save_arrays(tmp_path / "y.npz", {"format": "something else"}, {})
    (tmp_path / "z.npz").write_bytes(whole_file[: len(whole_file) // 2])
    for name in "xyz":
        with pytest.raises(ValueError, match=f"{name}.npz"):
            load_hmm(tmp_path / f"{name}.npz")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == whole_file and len(list(tmp_path.iterdir())) == 4


def test_scikit_learn_clones_and_sets_parameters():
    from sklearn.base import clone

    for model in (GaussianHMM(3, "full", n_init=2), CategoricalHMM(2, n_features=5), GMMHMM(2, 3), PoissonHMM(4)):
        again = clone(model)
        assert again is not model and again.get_params() == model.get_params()
    clf = clone(HMMClassifier(GaussianHMM(2)))
    assert clf.set_params(model__n_components=5).model.n_components == 5
    assert repr(GaussianHMM(3, "full")) == "GaussianHMM(n_components=3, covariance_type='full')"
    with pytest.raises(ValueError, match="'n_states' is no parameter of GaussianHMM"):
        GaussianHMM().set_params(n_states=3)


def ready(family="categorical", **options):
    return make(family, 2, np.random.default_rng(0), **options)


def spoiled(**attributes):
    model = ready(attributes.pop("family", "categorical"))
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


NUMBERS, ONES = np.zeros((5, 2)), np.ones((2, 2, 2))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: CategoricalHMM(2).score([0, 1]), NotFittedError, "no startprob_: call fit first"),
        (lambda: ready().score([0, 4]), ValueError, "X holds symbol 4, but the model has n_features=4"),
        (lambda: ready().score([0, -2]), ValueError, "X holds -2"),
        (lambda: ready().score([0.5, 1.0]), TypeError, "X has dtype float64, expected integers"),
        (lambda: ready().score(np.zeros((2, 3), int)), ValueError, r"X has shape \(2, 3\)"),
        (lambda: ready().score([0, 1, 2], [2, 2]), ValueError, "lengths sum to 4, but X has 3 frames"),
        (lambda: ready().score([0, 1, 2], [3, 0]), ValueError, r"lengths\[1\] is 0, expected at least 1"),
        (lambda: ready().score([0, 1, 2], [1.5, 1.5]), TypeError, "lengths has dtype float64, expected integers"),
        (lambda: ready().score(np.zeros(0, int)), ValueError, "X is empty, expected at least one frame"),
        (lambda: ready("gaussian diag").score(np.zeros((3, 4))), ValueError, "4 features, but Gaussian is expecting 2"),
        (lambda: ready("gaussian diag").score([[np.inf, 1]]), ValueError, "X holds infinity"),
        (lambda: ready("gaussian diag").score([["a", "b"]]), TypeError, "X has dtype"),
        (lambda: ready("poisson").score([[0.5, 1]]), ValueError, "no counts"),
        (lambda: ready("poisson").score([[-1, 1]]), ValueError, "no counts"),
        (lambda: ready().decode([0, 1], algorithm="best"), ValueError, "algorithm is 'best'"),
        (lambda: ready().decode_best([0, 1], 0), ValueError, "k is 0, expected at least 1"),
        (lambda: ready().sample(0), ValueError, "n_samples is 0"),
        (lambda: ready().sample(3, currstate=2), ValueError, "currstate is 2"),
        (lambda: ready().predict_next([0.5, 0.6]), ValueError, "belief"),
        (lambda: CategoricalHMM(0).fit([0, 1]), ValueError, "n_components is 0"),
        (lambda: CategoricalHMM(2, n_features=2).fit([0, 2]), ValueError, "symbol 2, but n_features is 2"),
        (lambda: CategoricalHMM(2, params="sx").fit([0, 1]), ValueError, "params holds 'x'"),
        (lambda: CategoricalHMM(2, init="zero").fit([0, 1]), ValueError, "init is 'zero'"),
        (lambda: CategoricalHMM(2).fit([-1, -1]), ValueError, "no observation that is not missing"),
        (lambda: CategoricalHMM(2).fit([0, 1], states=[0, 2]), ValueError, "states holds 0 to 2, expected -1 to 1"),
        (lambda: CategoricalHMM(2).fit([0, 1], states=[0]), ValueError, r"states has shape \(1,\)"),
        (lambda: GaussianHMM(2, "round").fit(NUMBERS), ValueError, "covariance_type is 'round'"),
        (lambda: GaussianHMM(2, min_covar=-1).fit(NUMBERS), ValueError, "min_covar is -1"),
        (lambda: GMMHMM(2, 0).fit(NUMBERS), ValueError, "n_mix is 0"),
        (lambda: GaussianHMM(2).fit([np.zeros((2, 2)), np.zeros((2, 3))]), ValueError, r"X\[1\] has 3 features"),
        (lambda: spoiled(startprob_=np.array([0.5, 0.6])).score([0]), ValueError, "startprob_"),
        (lambda: spoiled(transmat_=np.array([[1.0, 0.0], [0.5, 0.4]])).score([0]), ValueError, "transmat_"),
        (lambda: spoiled(emissionprob_=np.ones((3, 1))).score([0]), ValueError, r"emissionprob_ has shape \(3, 1\)"),
        (lambda: spoiled(family="gaussian diag", covars_=NUMBERS[:2]).score(NUMBERS), ValueError, "covars_ holds 0"),
        (lambda: spoiled(family="gaussian full", covars_=-ONES).score(NUMBERS), ValueError, "not symmetric"),
        (lambda: spoiled(family="poisson", lambdas_=-ONES[0]).score(NUMBERS), ValueError, "lambdas_ holds negative"),
        (lambda: spoiled(family="gmm diag", weights_=np.ones((2, 3))).score(NUMBERS), ValueError, "weights_"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_an_impossible_observation_has_no_likelihood_but_posteriors():
    model = CategoricalHMM(2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.3, 0.7]])
    model.emissionprob_ = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    total, posterior = model.score_samples([0, 2, 1])
    assert total == -np.inf
    np.testing.assert_allclose(posterior, model.predict_proba([0, -1, 1]))
    assert model.decode([0, 2, 1])[0] == -np.inf
    with pytest.raises(ValueError, match="no state that can be reached emits"):
        model.update(None, 2)
    with pytest.raises(ValueError, match="no reachable state can emit"):
        model.log_likelihood_gradient([0, 2, 1])
    learner = CategoricalHMM(2, init_params="")
    learner.startprob_, learner.transmat_, learner.emissionprob_ = (
        model.startprob_,
        model.transmat_,
        model.emissionprob_,
    )
    with pytest.raises(ValueError, match="frame 1 of sequence 1 has an observation that no state"):
        learner.fit([0, 1, 0, 2], [2, 2])


@pytest.mark.parametrize("family", FAMILIES)
def test_on_the_device_nothing_is_copied_unseen(family):
    model = make(family, 3, np.random.default_rng(0), random_state=0, n_iter=3, init_params="")
    X = observations(model, 30, np.random.default_rng(1))
    device, lengths = strict_xp.asarray(X), [12, 11, 7]
    np.testing.assert_allclose(model.score(device, lengths), model.score(X, lengths), rtol=1e-12)
    np.testing.assert_allclose(
        model.predict_proba(device, lengths), model.predict_proba(X, lengths), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(device, lengths), model.predict(X, lengths))
    np.testing.assert_allclose(model.filter(device), model.filter(X), rtol=1e-9, atol=1e-12)
    twin = make(family, 3, np.random.default_rng(0), random_state=0, n_iter=3, init_params="")
    model.fit(X, lengths)
    twin.fit(device, lengths)
    for name in model._arrays():
        assert isinstance(getattr(twin, name), np.ndarray)
        np.testing.assert_allclose(getattr(twin, name), getattr(model, name), rtol=1e-8, atol=1e-10)
