"""joblib's backends, loky and a Dask cluster of two processes, carry what scikit-learn and this library spread."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch.hmm import CategoricalHMM, GaussianHMM, HMMClassifier
from rnnscratch.search import search
from rnnscratch.text_classifier import TextClassifier

pytest.importorskip("sklearn", reason="scikit-learn comes with the test extra")
pytest.importorskip("optuna", reason="optuna comes with the test extra")
pytest.importorskip("distributed", reason="dask[distributed] comes with the test extra")

import joblib
from optuna.distributions import FloatDistribution
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    cross_val_score,
    learning_curve,
    permutation_test_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

TEXTS = [f"a {'good' if k % 2 else 'bad'} {'film' if k % 3 else 'plot'}" for k in range(60)]
LABELS = ["yes" if k % 2 else "no" for k in range(60)]
MOVIES = np.arange(60) // 4
SMALL = {"epochs": 3, "embedding_dim": 4, "hidden_size": 4, "min_count": 1, "batch_size": 8, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with LocalCluster(**workers, dashboard_address=":0") as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(params=["loky", "dask"])
def elsewhere(request):
    """Where `n_jobs=2` leads to in a test: two processes of this backend."""
    if request.param == "dask":
        request.getfixturevalue("cluster")
    with joblib.parallel_config(backend=request.param):
        yield


def sequences():
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((int(length), 2)) + 2.0 * (k % 2) for k, length in enumerate(rng.integers(5, 30, 40))]
    return found, np.arange(40) % 2


def scores(results):
    """All of a search's table but its times."""
    return {name: np.asarray(values).tolist() for name, values in results.items() if not name.endswith("_time")}


def test_a_grid_comes_to_the_serial_table(elsewhere):
    grid = {"hidden_size": [2, 4], "learning_rate": [1e-9, 0.05]}
    right, found = (GridSearchCV(TextClassifier("gru", **SMALL), grid, cv=3, n_jobs=n) for n in (None, 2))
    assert scores(found.fit(TEXTS, LABELS).cv_results_) == scores(right.fit(TEXTS, LABELS).cv_results_)
    assert found.best_params_["learning_rate"] == 0.05 and found.score(TEXTS, LABELS) > 0.9
    np.testing.assert_array_equal(found.predict_proba(TEXTS), right.predict_proba(TEXTS))
    X, y = sequences()
    grid = {"model__n_components": [1, 2], "model__covariance_type": ["diag", "full"]}
    right, found = (
        GridSearchCV(HMMClassifier(GaussianHMM(random_state=0, n_iter=4)), grid, cv=2, n_jobs=n) for n in (None, 2)
    )
    assert scores(found.fit(X, y).cv_results_) == scores(right.fit(X, y).cv_results_)
    assert found.best_score_ > 0.9


def test_cross_validation_and_what_rests_on_it_come_to_the_serial_figures(elsewhere):
    folds = GroupKFold(3)
    found, right = (every_figure(TextClassifier("gru", **SMALL), folds, n_jobs) for n_jobs in (2, None))
    for name in right:
        np.testing.assert_array_equal(found[name], right[name], err_msg=name)


def every_figure(clf, folds, n_jobs):
    options = {"cv": folds, "groups": MOVIES, "n_jobs": n_jobs}
    pipeline = make_pipeline(FunctionTransformer(np.asarray, kw_args={"dtype": "U9"}), clf)
    chosen = RandomizedSearchCV(
        clf, {"learning_rate": [1e-9, 0.01, 0.05]}, n_iter=2, cv=2, random_state=0, n_jobs=n_jobs
    )
    sizes, training, held_out = learning_curve(clf, TEXTS, LABELS, train_sizes=[0.5, 1.0], **options)
    score, permuted, p = permutation_test_score(clf, TEXTS, LABELS, n_permutations=4, random_state=0, **options)
    return {
        "cross_val_score": cross_val_score(pipeline, np.array(TEXTS), LABELS, **options),
        "random": chosen.fit(TEXTS, LABELS).cv_results_["mean_test_score"],
        "learning_curve": np.stack([training, held_out]),
        "sizes": sizes,
        "permutations": [score, *permuted, p],
    }


def test_baum_welch_over_many_sequences_comes_to_the_serial_model(elsewhere):
    X, _ = sequences()
    right, found = (GaussianHMM(2, "full", random_state=0, n_iter=6, n_jobs=n_jobs).fit(X) for n_jobs in (None, 2))
    np.testing.assert_allclose(found.monitor_.history, right.monitor_.history, rtol=1e-12)
    for name in ("startprob_", "transmat_", "means_", "covars_"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=1e-8, atol=1e-12, err_msg=name)
    words = [list("good film"), list("bad plot")] * 10
    right, found = (CategoricalHMM(2, random_state=0, n_iter=6, n_jobs=n_jobs).fit(words) for n_jobs in (None, 2))
    np.testing.assert_allclose(found.emissionprob_, right.emissionprob_, rtol=1e-8, atol=1e-12)


def learns(settings, report):
    clf = TextClassifier("gru", **{**SMALL, **settings})
    clf.fit(TEXTS[:40], LABELS[:40], validation=(TEXTS[40:], LABELS[40:]), callbacks=[report])
    return -min(clf.history_["validation_loss"])


def test_a_bayesian_search_comes_to_the_serial_table(elsewhere, tmp_path):
    space = {"learning_rate": FloatDistribution(1e-4, 0.1, log=True), "dropout": FloatDistribution(0.0, 0.6)}
    found, right = (
        search({"gru": learns}, space, tmp_path / f"{n_jobs}.log", trials=7, together=3, n_jobs=n_jobs, progress=False)[
            "gru"
        ]
        for n_jobs in (2, 1)
    )
    assert [row | {"seconds": 0} for row in found] == [row | {"seconds": 0} for row in right]
    assert len({row["score"] for row in right}) == 7
