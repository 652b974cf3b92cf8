"""scikit-learn's own checks of estimators, and its model selection, on hidden Markov models and their classifier."""

from __future__ import annotations

import warnings
from inspect import signature

import numpy as np
import pytest
from peers import listed

from rnnscratch.backend import generator
from rnnscratch.hmm import GMMHMM, CategoricalHMM, GaussianHMM, HMMClassifier, MarkovChain, PoissonHMM

pytest.importorskip("sklearn", reason="scikit-learn comes with the test extra")

from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted


class Gaussians(GaussianHMM):
    """As scikit-learn calls unsupervised estimators, with y in the second place, where hmmlearn has lengths."""

    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


class Mixtures(GMMHMM):
    """As `Gaussians`."""

    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


SECOND = "y comes in the second place, where hmmlearn and these classes have lengths; see Gaussians in this file"
ROW = "a row is a sequence, and sequences may have any length"
NUMBERS = "scikit-learn's numbers are neither counts nor one column of symbols"
FRAMES = {
    "check_methods_sample_order_invariance": "frames are a sequence: their order is what is modelled",
    "check_methods_subset_invariance": "frames are a sequence: a state depends on those before and after it",
    "check_fit1d": "a row (n,) is one sequence of one feature, as in hmmlearn's list of numbers",
    "check_fit2d_predict1d": "a row (n,) is one sequence of one feature, so that the features are what is wrong",
    "check_dtype_object": "what a dict among numbers is told is worded otherwise",
}
Y_SECOND = [
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
]
OTHERS = {
    PoissonHMM: ["check_fit2d_1sample"],
    CategoricalHMM: [
        "check_complex_data",
        "check_estimators_empty_data_messages",
        "check_fit1d",
        "check_fit2d_1sample",
    ],
}
SEQUENCES = {
    "check_n_features_in": ROW,
    "check_n_features_in_after_fitting": ROW,
    "check_classifiers_train": ROW,
    "check_fit2d_predict1d": "the numbers of a row (n,) are no sequences, and are told so in other words",
    "check_estimators_empty_data_messages": "rows without columns are sequences without frames, and are told so",
    "check_classifiers_regression_target": "classes may be any numbers that differ",
    "check_supervised_y_2d": "a column of labels is taken as what it is, here as everywhere, without a warning",
}


def expected_to_fail(estimator):
    if isinstance(estimator, HMMClassifier):
        return SEQUENCES
    if isinstance(estimator, (Gaussians, Mixtures)):
        return FRAMES
    return dict.fromkeys(Y_SECOND, SECOND) | dict.fromkeys(OTHERS.get(type(estimator), []), NUMBERS)


STRICT = {"xfail_strict": True} if "xfail_strict" in signature(parametrize_with_checks).parameters else {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that they do not inherit from its BaseEstimator
    CHECKS = listed(
        parametrize_with_checks(
            [
                Gaussians(2, random_state=0, n_iter=5),
                Mixtures(2, 2, random_state=0, n_iter=5),
                GaussianHMM(2, random_state=0, n_iter=5),
                GMMHMM(2, 2, random_state=0, n_iter=5),
                PoissonHMM(2, random_state=0, n_iter=5),
                CategoricalHMM(2, random_state=0, n_iter=5),
                HMMClassifier(GaussianHMM(1, random_state=0, n_iter=5)),
            ],
            expected_failed_checks=expected_to_fail,
            **STRICT,
        )
    )


@CHECKS
@pytest.mark.filterwarnings("default")
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def regimes(rng, M=60):
    return np.concatenate([rng.normal(m, 1, (M, 2)) for m in (0, 6, 0)])


ESTIMATORS = [
    GaussianHMM(2),
    GMMHMM(2, 2),
    CategoricalHMM(2),
    PoissonHMM(2),
    MarkovChain(),
    HMMClassifier(GaussianHMM(2)),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_each_estimator_has_tags_is_cloned_and_knows_whether_it_is_fitted(estimator):
    tags = estimator.__sklearn_tags__()
    assert tags.estimator_type == ("classifier" if isinstance(estimator, HMMClassifier) else None)
    assert is_classifier(estimator) == tags.target_tags.required == isinstance(estimator, HMMClassifier)
    again = clone(estimator)
    assert type(again) is type(estimator) and repr(again) == repr(estimator)
    with pytest.raises(NotFittedError):
        check_is_fitted(again)


def test_what_is_not_fitted_raises_scikit_learns_error_too():
    for call in (
        lambda: GaussianHMM(2).score([[0.0]]),
        lambda: MarkovChain().stationary(),
        lambda: HMMClassifier().predict([[0]]),
    ):
        with pytest.raises(NotFittedError, match="fit"):
            call()


def test_a_grid_search_over_one_sequence_or_a_list_of_them_finds_the_number_of_states():
    rng = np.random.default_rng(0)
    grid = {"n_components": [1, 2]}
    for X in (regimes(rng), [regimes(rng) for _ in range(4)]):
        search = GridSearchCV(GaussianHMM(random_state=0), grid, cv=2).fit(X)
        assert search.best_params_ == {"n_components": 2}
        assert search.best_estimator_.predict(X).shape == (len(np.concatenate(X)) if isinstance(X, list) else len(X),)


def test_a_classifier_of_sequences_is_cross_validated_and_searched():
    rng = np.random.default_rng(1)
    X = [rng.normal(k % 2, 1, (rng.integers(5, 20), 2)) for k in range(24)]
    y = ["low", "high"] * 12
    assert cross_val_score(HMMClassifier(GaussianHMM(1)), X, y, cv=3).mean() > 0.9
    search = GridSearchCV(HMMClassifier(GaussianHMM(random_state=0)), {"model__n_components": [1, 2]}, cv=2).fit(X, y)
    assert set(search.best_params_) == {"model__n_components"} and search.score(X, y) > 0.9
    words = [["good", "film"], ["bad", "film", "bad"]] * 6
    assert cross_val_score(HMMClassifier(CategoricalHMM(1, emissionprob_prior=2.0)), words, y[:12], cv=3).mean() == 1.0


def test_a_pipeline_ends_in_a_hidden_markov_model():
    X = regimes(np.random.default_rng(2)) * [1.0, 1000.0]
    pipeline = make_pipeline(StandardScaler(), GaussianHMM(2, random_state=0)).fit(X)
    states = pipeline.predict(X)
    assert (states[:60] == states[0]).all() and (states[60:120] == 1 - states[0]).all()


def test_scikit_learns_y_is_never_taken_for_lengths():
    X = regimes(np.random.default_rng(3), 5)
    model = GaussianHMM(2, random_state=0, n_iter=2)
    np.testing.assert_array_equal(
        model.fit(X=X, y=np.ones(15, int)).means_, GaussianHMM(2, random_state=0, n_iter=2).fit(X).means_
    )
    with pytest.raises(ValueError, match="lengths sum to 30, but X has 15 frames; scikit-learn's y is no argument"):
        model.fit(X, np.full(15, 2))
    with pytest.raises(TypeError, match="lengths has dtype <U1"):
        model.fit(X, list("abcabcabcabcabc"))


@pytest.mark.parametrize("kind", [int, np.int64, np.random.RandomState, np.random.default_rng, np.random.SeedSequence])
def test_a_random_state_may_be_whatever_makes_random_numbers(kind):
    X = regimes(np.random.default_rng(4), 10)
    first, second = (GaussianHMM(2, init="random", random_state=kind(7), n_iter=1).fit(X).means_ for _ in range(2))
    np.testing.assert_array_equal(first, second)
    chain = MarkovChain().fit([[0, 1, 1, 0]])
    np.testing.assert_array_equal(chain.sample(20, random_state=kind(7)), chain.sample(20, random_state=kind(7)))


def test_a_random_state_object_goes_on_and_none_differs():
    state = np.random.RandomState(0)
    draws = [generator(state).random() for _ in range(3)]
    assert len(set(draws)) == 3
    state = np.random.RandomState(0)
    assert [generator(state).random() for _ in range(3)] == draws
    assert generator(None).random() != generator(None).random()
    for wrong in ("seed", -1, 1.5):
        with pytest.raises((TypeError, ValueError), match=f"random_state is {wrong!r}"):
            GaussianHMM(2, random_state=wrong).fit([[0.0], [1.0]])
