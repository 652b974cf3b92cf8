"""A search proposes the same trials however it is carried, loses none to a kill, and knows whose journal it has."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import rnnscratch
from rnnscratch.search import best, search, table, write_page
from rnnscratch.text_classifier import TextClassifier
from rnnscratch.training import NonFiniteLoss

pytest.importorskip("optuna", reason="optuna comes with the test extra")
pytest.importorskip("joblib", reason="joblib comes with scikit-learn, of the test extra")

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

ROOT = Path(rnnscratch.__file__).parents[1]
SPACE = {"x": FloatDistribution(0.01, 1.0, log=True), "n": IntDistribution(1, 9)}
QUIET = {"progress": False}


def hill(settings, report):
    """Highest, 1, at x = 0.1 and n = 7; what is reported rises to the score."""
    score = 1.0 - math.log10(settings["x"] / 0.1) ** 2 - abs(settings["n"] - 7) / 10
    for epoch in (1, 2, 3):
        report(None, {"epoch": epoch, "validation_accuracy": score - 0.1 / epoch})
    return score


def timeless(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(found, right):
    assert found.keys() == right.keys()
    for name in right:
        np.testing.assert_equal(timeless(found[name]), timeless(right[name]))


def test_it_learns_from_its_trials_where_the_hill_is(tmp_path):
    rows = search({"hill": hill}, SPACE, tmp_path / "j.log", trials=40, prune=False, **QUIET)["hill"]
    assert [row["trial"] for row in rows] == list(range(40)) and {row["state"] for row in rows} == {"complete"}
    for row in rows:
        assert row["score"] == hill(row, lambda *_: None) and row["epochs"] == 3 and row["error"] == ""
        assert 0.01 <= row["x"] <= 1 and row["n"] in range(1, 10) and row["seconds"] > 0
    scores = [row["score"] for row in rows]
    assert best(rows)["score"] == max(scores) > 0.9
    assert np.median(scores[20:]) > np.median(scores[:5]) + 0.1  # what follows chance is better than chance


def test_every_objective_has_the_same_seed_and_budget_and_its_own_trials(tmp_path):
    found = search({"a": hill, "b": hill}, SPACE, tmp_path / "j.log", trials=6, seed=3, **QUIET)
    np.testing.assert_equal(timeless(found["a"]), timeless(found["b"]))
    upside_down = {"a": hill, "b": lambda settings, report: -settings["x"]}
    other = search(upside_down, SPACE, tmp_path / "k.log", trials=12, seed=3, **QUIET)
    np.testing.assert_equal(timeless(other["a"])[:6], timeless(found["a"]))
    names = list(SPACE)
    first, second = ([[row[name] for name in names] for row in other[each]] for each in "ab")
    assert first[:4] == second[:4] and first[8:] != second[8:]
    elsewhere = search({"a": hill}, SPACE, tmp_path / "l.log", trials=6, seed=4, **QUIET)
    assert elsewhere["a"][0]["x"] != found["a"][0]["x"]


def test_what_is_given_is_tried_first(tmp_path):
    given = [{"x": 0.1, "n": 7}, {"x": 1.0, "n": 1}]
    rows = search({"hill": hill}, SPACE, tmp_path / "j.log", trials=3, given=given, **QUIET)["hill"]
    assert [(row["x"], row["n"], row["score"]) for row in rows[:2]] == [(0.1, 7, 1.0), (1.0, 1, pytest.approx(-0.6))]
    assert best(rows) == rows[0]


def test_a_trial_below_the_median_is_pruned_at_its_epoch(tmp_path):
    given = [{"x": 0.1, "n": n} for n in (9, 8, 7, 6, 5, 1, 7, 1)]
    rows = search({"hill": hill}, SPACE, tmp_path / "j.log", trials=8, given=given, together=5, **QUIET)["hill"]
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["pruned", "complete", "pruned"]
    assert rows[5]["epochs"] == 1 and rows[5]["score"] == pytest.approx(hill(given[5], lambda *_: None) - 0.1)
    without = search({"hill": hill}, SPACE, tmp_path / "k.log", trials=8, given=given, prune=False, **QUIET)["hill"]
    assert [row["state"] for row in without] == ["complete"] * 8


def fails(settings, report):
    if settings["n"] == 1:
        raise NonFiniteLoss("loss nan, gradient norm inf in epoch 1, batch 2")
    return math.inf if settings["n"] == 2 else math.nan if settings["n"] == 3 else 0.5


def test_a_loss_that_is_not_finite_is_a_failed_trial(tmp_path):
    given = [{"x": 0.5, "n": n} for n in (1, 2, 3, 4)]
    rows = search({"f": fails}, SPACE, tmp_path / "j.log", trials=7, given=given, **QUIET)["f"]
    assert [row["state"] for row in rows[:4]] == ["failed"] * 3 + ["complete"]
    errors = ["loss nan, gradient norm inf in epoch 1, batch 2", "the score is inf", "the score is nan", ""]
    assert [row["error"] for row in rows[:4]] == errors
    assert all(math.isnan(row["score"]) for row in rows[:3]) and best(rows)["score"] == 0.5
    assert best(rows[:3]) is None
    again = search({"f": fails}, SPACE, tmp_path / "j.log", trials=7, given=given, resume=True, **QUIET)
    same(again, {"f": rows})


def broken(settings, report):
    if settings["n"] == 5:
        raise ZeroDivisionError("a mistake in the objective")
    return 0.0


def test_a_mistake_in_the_objective_ends_the_search_and_what_is_done_is_kept(tmp_path):
    given = [{"x": 0.5, "n": n} for n in (1, 5, 2)]
    with pytest.raises(ZeroDivisionError, match="a mistake in the objective"):
        search({"f": broken}, SPACE, tmp_path / "j.log", trials=3, given=given, **QUIET)
    calls = []

    def mended(settings, report):
        calls.append(settings["n"])
        return 1.0

    rows = search({"f": mended}, SPACE, tmp_path / "j.log", trials=3, given=given, resume=True, **QUIET)["f"]
    assert [row["score"] for row in rows] == [0.0, 1.0, 1.0] and calls == [5, 2]


def test_two_processes_on_one_journal_come_to_the_table_of_one(tmp_path):
    right = search({"a": hill, "b": fails}, SPACE, tmp_path / "j.log", trials=14, **QUIET)
    found = search({"a": hill, "b": fails}, SPACE, tmp_path / "k.log", trials=14, n_jobs=2, **QUIET)
    same(found, right)
    assert {"pruned", "complete"} == {row["state"] for row in right["a"]}
    writers = {json.loads(line)["worker_id"][:36] for line in (tmp_path / "k.log").read_text().splitlines()}
    assert len(writers) > 1


def test_more_trials_may_follow_and_are_those_of_a_longer_search(tmp_path):
    right = search({"hill": hill}, SPACE, tmp_path / "j.log", trials=14, **QUIET)
    part = search({"hill": hill}, SPACE, tmp_path / "k.log", trials=6, **QUIET)
    same(part, {"hill": right["hill"][:6]})
    same(search({"hill": hill}, SPACE, tmp_path / "k.log", trials=14, resume=True, **QUIET), right)
    same(search({"hill": hill}, SPACE, tmp_path / "k.log", trials=6, resume=True, **QUIET), part)


SCRIPT = """
import os, sys, time
from pathlib import Path
from rnnscratch.search import search
from test_search import SPACE, finished, hill

def waits(settings, report):
    parent = os.getppid()
    def wait(model, row):
        while finished(Path(sys.argv[1])) >= 6 and os.getppid() == parent:
            time.sleep(0.02)
        report(model, row)
    return hill(settings, wait)

if __name__ == "__main__":
    search({"a": waits}, SPACE, sys.argv[1], trials=14, n_jobs=int(sys.argv[2]), progress=False)
"""


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_killed_search_goes_on_with_all_that_was_finished(n_jobs, tmp_path):
    """From the seventh trial on, each waits until the search is killed, and has no part in it any more."""
    right = search({"a": hill}, SPACE, tmp_path / "right.log", trials=14, **QUIET)
    (tmp_path / "waits.py").write_text(SCRIPT.replace("sys.argv", str(["", str(tmp_path / "j.log"), n_jobs])))
    journal = tmp_path / "j.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    process = subprocess.Popen([sys.executable, tmp_path / "waits.py"], env=environment, start_new_session=True)
    try:
        before, deadline = b"", time.monotonic() + 60
        while (finished(journal) < 6 or journal.read_bytes() != before) and time.monotonic() < deadline:
            before = journal.read_bytes() if journal.exists() else b""
            time.sleep(0.5)
        with pytest.raises(BlockingIOError, match=rf"j\.log is in use by process {process.pid} "):
            search({"a": hill}, SPACE, journal, trials=14, resume=True, **QUIET)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        time.sleep(1.0)  # for workers to see it, who would write their trials if they did not
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert journal.read_bytes() == before and 6 <= finished(journal) < 9
    same(search({"a": hill}, SPACE, journal, trials=14, resume=True, **QUIET), right)
    assert journal.read_bytes().startswith(before) and finished(journal) == 14


def finished(journal):
    """How many trials the journal holds."""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    return sum(json.loads(line)["op_code"] == 4 for line in lines if line.endswith(b"\n"))


@pytest.mark.parametrize("cut", [1, 40, 2000])
def test_half_a_line_and_a_lock_that_a_killed_writer_left_are_mended(cut, tmp_path):
    right = search({"hill": hill}, SPACE, tmp_path / "right.log", trials=8, **QUIET)
    journal = tmp_path / "j.log"
    search({"hill": hill}, SPACE, journal, trials=5, **QUIET)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    (tmp_path / "j.log.lock").touch()
    same(search({"hill": hill}, SPACE, journal, trials=8, resume=True, **QUIET), right)
    assert not (tmp_path / "j.log.lock").exists()
    for line in journal.read_bytes().splitlines():
        json.loads(line)


def test_the_journal_of_another_search_is_refused_and_left_as_it_is(tmp_path):
    journal = tmp_path / "j.log"
    about = {"data": "aclImdb", "epochs": 3}
    search({"hill": hill}, SPACE, journal, trials=2, about=about, **QUIET)
    before = journal.read_bytes()
    with pytest.raises(ValueError, match=r"j\.log holds a search already: go on with resume=True"):
        search({"hill": hill}, SPACE, journal, trials=2, about=about, **QUIET)
    wider = {**SPACE, "n": IntDistribution(1, 99)}
    for changed, message in [
        ({"about": {**about, "data": "mine"}}, 'about is {"data": "mine", "epochs": 3} here, {"data": "aclImdb"'),
        ({"seed": 1}, "seed is 1 here, 0 there"),
        ({"together": 2}, "together is 2 here, 4 there"),
        ({"prune": False}, "prune is false here, true there"),
        ({"monitor": "validation_f1"}, 'monitor is "validation_f1" here'),
        ({"given": [{"x": 0.1, "n": 7}]}, "given is "),
        ({"space": wider}, "space is "),
    ]:
        options = {"space": SPACE, "about": about, **changed}
        with pytest.raises(ValueError) as caught:
            search({"hill": hill}, journal=journal, trials=2, resume=True, **options, **QUIET)
        assert f"{journal} is that of another search: " in str(caught.value) and message in str(caught.value)
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["dear diary,\nnothing happened\n", "dear diary", '{"a": 1}\nx', '{"op_code":9}\n', "\n"]
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(text, tmp_path):
    (tmp_path / "text.log").write_text(text)
    with pytest.raises(ValueError, match=r"text\.log is no journal of a search, or damaged"):
        search({"hill": hill}, SPACE, tmp_path / "text.log", resume=True, **QUIET)
    assert (tmp_path / "text.log").read_text() == text


def test_a_study_of_another_kind_is_refused(tmp_path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "own.log")))
    study = optuna.create_study(storage=storage, study_name="hill")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ValueError, match=r"own\.log holds a study 'hill' that is no search of this kind"):
        search({"hill": hill}, SPACE, tmp_path / "own.log", resume=True, **QUIET)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objectives": {}}, TypeError, "objectives is {}, expected a dict by names"),
        ({"objectives": {"a": 1}}, TypeError, r"objectives\['a'\] is 1, expected a function"),
        ({"space": {"x": (0, 1)}}, TypeError, r"space\['x'\] is \(0, 1\), expected one of optuna.distributions"),
        ({"space": {"score": SPACE["x"]}}, ValueError, "space holds 'score', which a row has for something else"),
        ({"trials": 0}, ValueError, "trials is 0"),
        ({"together": 0}, ValueError, "together is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"monitor": 3}, TypeError, "monitor is 3"),
        ({"prune": "yes"}, TypeError, "prune is 'yes'"),
        ({"given": [{"x": 0.1}]}, ValueError, r"given\[0\] is {'x': 0.1}, expected settings for x, n"),
        ({"given": [{"x": 5.0, "n": 1}]}, ValueError, r"given\[0\] is not in space"),
        ({"about": {1, 2}}, TypeError, "cannot be written as JSON"),
    ],
)
def test_wrong_options_are_named_before_anything_is_written(options, error, message, tmp_path):
    given = {"objectives": {"hill": hill}, "space": SPACE, **QUIET, **options}
    with pytest.raises(error, match=message):
        search(journal=tmp_path / "j.log", **given)
    assert not (tmp_path / "j.log").exists()


def test_a_figure_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="monitor is 'accuracy', expected one of 'epoch', 'validation_accuracy'"):
        search({"hill": hill}, SPACE, tmp_path / "j.log", monitor="accuracy", **QUIET)


TEXTS = [f"a {'good' if k % 2 else 'bad'} {'film' if k % 3 else 'plot'}" for k in range(60)]
LABELS = ["yes" if k % 2 else "no" for k in range(60)]
SMALL = {"embedding_dim": 4, "hidden_size": 4, "min_count": 1, "dropout": 0.0, "embedding_dropout": 0.0}


def learns(settings, report):
    clf = TextClassifier("gru", epochs=3, batch_size=8, **{**SMALL, **settings})
    clf.fit(TEXTS[:40], LABELS[:40], validation=(TEXTS[40:], LABELS[40:]), callbacks=[report])
    return max(clf.history_["validation_accuracy"])


def test_a_classifier_of_texts_reports_its_epochs_and_is_pruned(tmp_path):
    space = {"learning_rate": FloatDistribution(1e-6, 0.1, log=True), "hidden_size": CategoricalDistribution([2, 4])}
    given = [{"learning_rate": rate, "hidden_size": 4} for rate in (0.1, 0.08, 0.06, 0.1, 0.1, 1e-6)]
    rows = search({"gru": learns}, space, tmp_path / "j.log", trials=6, given=given, together=5, **QUIET)["gru"]
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["pruned"]
    assert [row["epochs"] for row in rows[:5]] == [3] * 5 and rows[5]["epochs"] < 3
    assert best(rows)["score"] == 1.0 and rows[5]["score"] < 0.8


def test_the_table_has_the_best_first(tmp_path):
    given = [{"x": 0.1, "n": n} for n in (9, 7, 1, 2)]
    rows = search({"f": fails}, SPACE, tmp_path / "j.log", trials=4, given=given, **QUIET)["f"]
    lines = [line.split() for line in table(rows).splitlines()]
    assert lines[0] == ["trial", "state", "score", "x", "n", "epochs", "seconds"]
    assert [line[:3] for line in lines[1:3]] == [["0", "complete", "0.5000"], ["1", "complete", "0.5000"]]
    assert [line[:4] for line in lines[3:]] == [["2", "failed", "0.1", "1"], ["3", "failed", "0.1", "2"]]
    assert [line.split()[0] for line in table(rows, ranked=False).splitlines()[1:]] == ["0", "1", "2", "3"]


def test_the_page_has_tables_and_pictures_and_loads_nothing(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")
    found = search({"a <b>": hill, "f": fails}, SPACE, tmp_path / "j.log", trials=6, **QUIET)
    write_page(tmp_path / "page.html", found, SPACE, "Hills & holes", ["x < 1"])
    page = (tmp_path / "page.html").read_text()
    assert "<h1>Hills &amp; holes</h1><p>x &lt; 1</p>" in page.replace("\n", "")
    assert page.count("<table>") == 2 and page.count("data:image/png;base64,") == 4  # two names, two pictures each
    assert "a &lt;b&gt;" in page and "<b>" not in page and "http" not in page
    for row in found["a <b>"]:
        assert f"<td>{row['score']:.4f}<" in page


def test_the_page_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnscratch.search.find_spec", lambda name: None)
    found = search({"f": lambda settings, report: math.nan}, SPACE, tmp_path / "j.log", trials=2, **QUIET)
    write_page(tmp_path / "page.html", found, SPACE)
    page = (tmp_path / "page.html").read_text()
    assert "No pictures: matplotlib is not installed" in page and "<img" not in page and page.count("failed") == 2


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"optuna is needed: pip install 'rnnscratch\[search\]'"):
        search({"hill": hill}, SPACE, tmp_path / "j.log")
