"""scikit-learn's own checks of estimators, and its model selection, on the classifier of texts."""

from __future__ import annotations

import warnings
from inspect import signature

import numpy as np
import pytest
from peers import listed

from rnnscratch.checks import as_array
from rnnscratch.text_classifier import TextClassifier

pytest.importorskip("sklearn", reason="scikit-learn comes with the test extra")

from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks


class OfRows(TextClassifier):
    """Of rows of numbers, which is what scikit-learn's checks bring: each becomes a text with a word for each number.

    For texts alone scikit-learn has no checks but that of cloning.
    """

    _input_tags = {}

    def fit(self, X, y):
        return super().fit(texts_of(X), y)

    def predict_proba(self, X):
        return super().predict_proba(texts_of(X))

    def score(self, X, y):
        return super().score(texts_of(X), y)


def texts_of(X):
    if isinstance(X, list) and X and isinstance(X[0], str):
        return X
    rows = as_array("X", X)
    if rows.ndim != 2:
        raise ValueError(f"X has shape {rows.shape}, expected rows: Reshape your data")
    return [" ".join(f"w{k}v{value:.0f}".replace("-", "m") for k, value in enumerate(row)) for row in rows]


WORDS = "texts may have any number of words, so that there is no number of features to know again"
CANNOT = {
    "check_n_features_in": WORDS,
    "check_n_features_in_after_fitting": WORDS,
    "check_classifiers_train": WORDS,
    "check_estimators_empty_data_messages": "rows without numbers are texts without words, and are told so",
    "check_estimators_nan_inf": "a text is a string: nothing in it is NaN or infinite",
    "check_dtype_object": "what a dict among numbers is told is worded otherwise, by this file's texts_of",
    "check_classifiers_regression_target": "classes may be any numbers that differ",
    "check_supervised_y_2d": "a column of labels is taken as what it is, here as everywhere, without a warning",
}
SMALL = {"epochs": 2, "embedding_dim": 4, "hidden_size": 4, "min_count": 1, "dropout": 0.0, "embedding_dropout": 0.0}


def expected_to_fail(estimator):
    return CANNOT if isinstance(estimator, OfRows) else {}


STRICT = {"xfail_strict": True} if "xfail_strict" in signature(parametrize_with_checks).parameters else {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it does not inherit from BaseEstimator, and that texts have few checks
    CHECKS = listed(
        parametrize_with_checks(
            [OfRows(learning_rate=0.05, **SMALL), TextClassifier(**SMALL)],
            expected_failed_checks=expected_to_fail,
            **STRICT,
        )
    )


@CHECKS
@pytest.mark.filterwarnings("default")
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


TEXTS = [f"a {'good' if k % 2 else 'bad'} {'film' if k % 3 else 'plot'}" for k in range(60)]
LABELS = ["yes" if k % 2 else "no" for k in range(60)]


def classifier(**options):
    return TextClassifier(**{**SMALL, "epochs": 8, "batch_size": 8, "learning_rate": 0.05, **options})


def test_it_is_a_classifier_of_strings_that_is_cloned_with_what_numpy_chose():
    tags = classifier().__sklearn_tags__()
    assert tags.input_tags.string and not tags.input_tags.two_d_array and tags.target_tags.required
    assert is_classifier(classifier())
    clf = classifier(hidden_size=np.int64(3), random_state=np.random.RandomState(0))
    assert clone(clf).hidden_size == 3 and type(clone(clf).random_state) is np.random.RandomState
    with pytest.raises(NotFittedError, match="call fit first"):
        classifier().predict(TEXTS)


def test_it_is_searched_cross_validated_and_ends_a_pipeline():
    search = GridSearchCV(
        classifier(), {"hidden_size": np.array([2, 3]), "learning_rate": np.float32([1e-9, 0.05])}, cv=2, n_jobs=1
    ).fit(X=TEXTS, y=LABELS)
    assert search.best_params_["learning_rate"] == np.float32(0.05) and search.score(X=TEXTS, y=LABELS) == 1.0
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(classifier(), np.array(TEXTS), np.array(LABELS), cv=folds).tolist() == [1.0, 1.0, 1.0]
    assert (cross_val_predict(classifier(), TEXTS, LABELS, cv=folds) == LABELS).all()
    assert cross_val_score(classifier(), TEXTS, LABELS, cv=folds, scoring="roc_auc").min() == 1.0
    pipeline = make_pipeline(FunctionTransformer(lambda texts: [text.upper() for text in texts]), classifier())
    assert pipeline.fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1.0
    sizes, _, scores = learning_curve(classifier(), TEXTS, LABELS, cv=folds, train_sizes=[0.5, 1.0], shuffle=True)
    assert len(sizes) == 2 and scores[-1].mean() == 1.0


def test_folds_of_whole_movies_show_what_other_folds_hide():
    """Reviews that say nothing but a movie's name: only who has read others of that movie knows the label."""
    movies = np.repeat(np.arange(12), 6)
    texts = np.array([f"review of movie{movie}" for movie in movies])
    labels = np.array(["yes", "no"])[movies % 2]
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(classifier(), texts, labels, cv=folds).min() == 1.0
    grouped = cross_validate(
        classifier(), texts, labels, groups=movies, cv=GroupKFold(3), return_indices=True, return_train_score=True
    )
    assert grouped["test_score"].mean() <= 0.6 and grouped["train_score"].min() == 1.0
    for train, test in zip(grouped["indices"]["train"], grouped["indices"]["test"]):
        assert not set(movies[train]) & set(movies[test])


def test_it_is_searched_at_random_and_tested_against_chance():
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    rates = {"learning_rate": [1e-9, 2e-9, 0.05], "dropout": [0.0]}
    search = RandomizedSearchCV(classifier(), rates, n_iter=3, cv=folds, random_state=0).fit(TEXTS, LABELS)
    assert search.best_params_["learning_rate"] == 0.05 and search.best_score_ == 1.0
    assert sorted(search.cv_results_["mean_test_score"])[1] < 0.8
    score, permuted, p = permutation_test_score(classifier(), TEXTS, LABELS, cv=folds, n_permutations=9, random_state=0)
    assert score == 1.0 and permuted.max() < 0.8 and p == pytest.approx(0.1)  # (0 as good + 1) / (9 + 1)


def test_validation_texts_of_ones_own_choose_the_epoch_and_callbacks_may_stop():
    rows = []
    clf = classifier(epochs=4).fit(
        TEXTS[:40], LABELS[:40], validation=(TEXTS[40:], LABELS[40:]), callbacks=[lambda model, row: rows.append(row)]
    )
    assert rows == clf.history_.rows and len(rows) == 4
    right = classifier(epochs=4, validation_fraction=0.0).fit(TEXTS[:40], LABELS[:40])
    assert [row["loss"] for row in rows] == right.history_["loss"]  # all 40 were learned from
    assert rows[clf.history_.best_epoch - 1]["validation_accuracy"] == clf.score(TEXTS[40:], LABELS[40:])
    wrong = classifier(epochs=4).fit(
        TEXTS[:40], LABELS[:40], validation=(TEXTS[40:], LABELS[41:] + ["yes"]), callbacks=[lambda *_: True]
    )
    assert len(wrong.history_) == 1  # stopped by the callback
    for validation, error, message in (
        ([TEXTS, LABELS], TypeError, "validation is list, expected the pair"),
        ((TEXTS, LABELS[1:]), ValueError, r"validation labels has shape \(59,\), expected \(60,\)"),
        ((TEXTS, ["maybe"] * 60), ValueError, "validation labels"),
        (([1], ["yes"]), TypeError, r"validation texts\[0\] is int"),
    ):
        with pytest.raises(error, match=message):
            classifier().fit(TEXTS, LABELS, validation=validation)


def test_data_frames_keep_their_order_whatever_their_index():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    frame = pandas.DataFrame({"review": TEXTS, "label": LABELS}, index=np.arange(60)[::-1])
    clf = classifier().fit(frame[["review"]], frame["label"])
    right = classifier().fit(TEXTS, LABELS)
    for texts in (frame["review"], frame[["review"]], pandas.Index(TEXTS), frame["review"].astype("string")):
        np.testing.assert_array_equal(clf.predict_proba(texts), right.predict_proba(TEXTS))
    for labels in (frame["label"], frame[["label"]], frame["label"].astype("category"), iter(LABELS)):
        assert clf.score(frame["review"], labels) == 1.0
    assert cross_val_score(classifier(), frame["review"], frame["label"], cv=3).mean() == 1.0
    with pytest.raises(ValueError, match=r"texts has shape \(60, 2\), expected one row or column"):
        clf.predict(frame)
    with pytest.raises(TypeError, match="texts is dict"):
        clf.predict({"review": TEXTS})


@pytest.mark.parametrize("kind", [int, np.int64, np.random.RandomState, np.random.default_rng])
def test_a_random_state_may_be_whatever_makes_random_numbers(kind):
    first, second = (classifier(random_state=kind(7), epochs=1).fit(TEXTS, LABELS) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(TEXTS), second.predict_proba(TEXTS))


def test_without_a_random_state_every_fit_differs():
    first, second = (classifier(random_state=None, epochs=1).fit(TEXTS, LABELS) for _ in range(2))
    assert (first.predict_proba(TEXTS) != second.predict_proba(TEXTS)).any()
    for wrong in ("seed", -1, 1.5):
        with pytest.raises((TypeError, ValueError), match=f"random_state is {wrong!r}"):
            classifier(random_state=wrong).fit(TEXTS, LABELS)


def test_what_a_search_chose_can_be_saved(tmp_path):
    options = {"hidden_size": np.int64(2), "dropout": np.float32(0.25), "bidirectional": np.bool_(True)}
    options |= {"clip_norm": np.longdouble(1), "learning_rate": np.float16(0.01)}
    options |= {"cell": np.str_("gru"), "max_length": np.int16(9), "random_state": np.random.default_rng(0)}
    clf = classifier(epochs=np.int32(1), progress=np.bool_(False), **options).fit(TEXTS, LABELS)
    clf.save(tmp_path / "clf.npz")
    again = TextClassifier.load(tmp_path / "clf.npz")
    assert again.get_params() == {**clf.get_params(), "random_state": None}
    np.testing.assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))
