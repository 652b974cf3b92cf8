"""The comparison from end to end on a small made-up aclImdb: rows, folder, report, interruption and resumption."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnscratch import cli, files
from rnnscratch.experiments import baseline, contestants, imdb, pretraining, recipe, report, results, teacher
from rnnscratch.kernels.losses import sigmoid
from rnnscratch.models.classifier import CELLS, SequenceClassifier
from rnnscratch.models.saved import load_model
from rnnscratch.text import clean_texts
from rnnscratch.text.stopwords import ENGLISH

GOOD, BAD = ["superb", "moving", "great"], ["dull", "awful", "boring"]
PLAIN = ["the", "film", "a", "plot", "of", "and", "it", "was"]
SMALL: dict = {
    "hidden": 6,
    "embedding": 8,
    "epochs": 10,
    "pooling": "max",
    "batch_size": 8,
    "learning_rate": 0.02,
    "dropout": 0.1,
    "embedding_dropout": 0.0,
    "word_dropout": 0.1,
    "pretrain": "none",
    "distill": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """160 reviews in which one word tells the label, ten of each film."""
    root, rng = tmp_path_factory.mktemp("data") / "aclImdb", np.random.default_rng(0)
    for part, first_film in (("train", 0), ("test", 50)):
        for sign, telling in (("pos", GOOD), ("neg", BAD)):
            place = root / part / sign
            place.mkdir(parents=True)
            for k in range(60 if part == "train" else 20):
                words = [*rng.choice(PLAIN, rng.integers(5, 30)), rng.choice(telling)]
                rng.shuffle(words)
                (place / f"{k}_{9 if sign == 'pos' else 2}.txt").write_text(" ".join(words))
            films = [f"http://www.imdb.com/title/tt{first_film + k // 10:07d}/usercomments" for k in range(60)]
            (root / part / f"urls_{sign}.txt").write_text("\n".join(films))
    return root


@pytest.fixture
def settings(folder):
    return imdb.Settings(data=str(folder), **SMALL)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = imdb.Settings(data=str(folder), seeds=2, **SMALL, models=("bow", "nb", "hmm", "rnn", "lstm", "gru"))
    return out, settings, imdb.run(settings, out, progress=False)


def test_every_model_and_seed_has_its_row_and_learns(finished):
    out, _, rows = finished
    assert rows == json.loads((out / "results.json").read_text())
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("bow", 0),
        ("nb", 0),
        *((model, seed) for model in ("hmm", "rnn", "lstm", "gru") for seed in (0, 1)),
    ]
    needed = {"model", "accuracy", "precision", "recall", "f1", "train_seconds", "epochs", "parameters", "seed"}
    needed |= {"train_size", "test_size", "data"}
    for row in rows:
        assert needed <= row.keys()
        assert row["accuracy"] > 0.9, row
        assert row["test_size"] == 40 and "official test set" in row["data"]
        assert row["train_size"] + row["validation_size"] == 120
        assert row["peak_memory_mb"] > 10 and row["tokens_per_second"] > 0


def test_the_run_folder_holds_history_and_a_model_that_gives_the_same_answers(finished):
    out, _, rows = finished
    with open(out / "lstm-seed1" / "history.csv") as file:
        history = list(csv.DictReader(file))
    assert len(history) == 10 and float(history[-1]["loss"]) < float(history[0]["loss"])
    model, vocabulary, extra = load_model(out / "lstm-seed1" / "model.npz")
    assert extra["recipe"] == "default" and model.num_params == rows[6]["parameters"]
    ids = vocabulary.encode(["the", "film", "was", "superb"])[:, None]
    assert model.forward(ids)[0] > 0 > model.forward(vocabulary.encode(["the", "film", "was", "awful"])[:, None])[0]


def test_the_report_is_one_file_with_pictures_table_and_words(finished):
    out, _, rows = finished
    page = (out / "report.html").read_text(encoding="utf-8")
    # curves; lengths; calibration; time; confusion: the reviews are too short for lags, verdicts and their ends, and
    # hold no negation
    assert page.count("data:image/png;base64,") == 4 + 2 + 1 + 1 + 6
    assert "How sure they are" in page and "expected calibration error" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for text in ("vanilla RNN", "LSTM", "GRU", "bag of words", "McNemar", "Most confidently wrong", "±"):
        assert text in page
    assert "<script" not in page


def test_the_best_network_is_compared_with_all_others_also_with_those_ahead_of_it(finished):
    out, settings, rows = finished
    prepared = imdb.prepare(settings, progress=False)
    labels = prepared.data.test.labels
    logits = {"bow": [0, 1, 2, 3, 4], "nb": [0], "gru": [0, 5], "rnn": [0, 5, 6]}  # where each is wrong

    def outcome(name, wrong):
        right = np.where(labels == 1, 1.0, -1.0)
        right[wrong] *= -1
        accuracy = float(((right > 0) == labels).mean())
        return results.Outcome({**rows[0], "model": name, "accuracy": accuracy}, right, [])

    said = report.comparison(prepared, [outcome(name, wrong) for name, wrong in logits.items()])
    assert said[0].startswith("The NB bigrams is right most often, on 97.50% of 40")
    assert said[1].startswith(
        "Against the NB bigrams (97.50%) the GRU (95.00%) is right alone 0 times and wrong alone 1"
    )
    assert said[2].startswith(
        "Against the vanilla RNN (92.50%) the GRU (95.00%) is right alone 1 times and wrong alone 0"
    )
    assert said[3].startswith(
        "Against the bag of words (87.50%) the GRU (95.00%) is right alone 4 times and wrong alone 1"
    )
    assert "p = 0.38" in said[3]


def test_without_matplotlib_the_report_says_so(finished, monkeypatch, tmp_path):
    _, settings, _ = finished
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    imdb.run(imdb.Settings(**{**vars(settings), "models": ("bow",)}), tmp_path / "run", progress=False)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "matplotlib is not installed" in page and "data:image" not in page


def test_a_run_that_was_stopped_goes_on_to_the_same_result(settings, tmp_path, monkeypatch):
    settings = imdb.Settings(**{**vars(settings), "models": ("bow", "gru")})
    whole = imdb.run(settings, tmp_path / "whole", progress=False)
    fit = contestants.fit

    def stopped(*args, **options):
        def stop(model, row):
            if row["epoch"] == 3:
                raise KeyboardInterrupt

        return fit(*args, **{**options, "callbacks": [stop]})

    monkeypatch.setattr(contestants, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        imdb.run(settings, tmp_path / "part", progress=False)
    assert (tmp_path / "part" / "gru-seed0" / "checkpoint.npz").exists()
    monkeypatch.setattr(contestants, "fit", fit)
    resumed = imdb.run(settings, tmp_path / "part", resume=True, progress=False)
    for key in ("accuracy", "f1", "roc_auc", "best_epoch", "validation_accuracy"):
        assert resumed[1][key] == whole[1][key]
    first, _, _ = load_model(tmp_path / "whole" / "gru-seed0" / "model.npz")
    second, _, _ = load_model(tmp_path / "part" / "gru-seed0" / "model.npz")
    for name, array in first.params.items():
        assert np.array_equal(array, second.params[name]), name


def test_a_folder_with_another_run_is_not_overwritten(finished, tmp_path):
    out, settings, _ = finished
    with pytest.raises(ValueError, match="holds a run already: continue it with --resume"):
        imdb.run(settings, out, progress=False)
    with pytest.raises(ValueError, match="other settings: hidden is 7 here and 6 there"):
        imdb.run(imdb.Settings(**{**vars(settings), "hidden": 7}), out, resume=True, progress=False)


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
    """A run of which one model is finished and one is not."""
    out = tmp_path_factory.mktemp("runs") / "stopped"
    settings = imdb.Settings(data=str(folder), **{**SMALL, "models": ("bow", "gru"), "epochs": 2})

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contestants, "save_model", stop)
        with pytest.raises(KeyboardInterrupt):
            imdb.run(settings, out, progress=False)
    return out, settings


def in_header(change):
    """Change the header of an outcome."""

    def damage(path):
        header, arrays = files.load_arrays(path, results.FORMAT)
        change(header, arrays)
        files.save_arrays(path, header, arrays)

    return damage


def replaced(make):
    """Something else in the place of a file."""

    def damage(path):
        path.unlink()
        make(path)

    return damage


DAMAGES = [
    ("settings.json", lambda path: path.write_text("")),
    ("settings.json", lambda path: path.write_text("[]")),
    ("settings.json", lambda path: path.write_text("3")),
    ("settings.json", lambda path: path.write_text("{")),
    ("settings.json", lambda path: path.write_text("[" * 100_000)),
    ("settings.json", lambda path: path.write_bytes(b"\xff\xfe")),
    ("settings.json", lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "hidden": "6"}))),
    ("settings.json", lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "layers": 2}))),
    ("settings.json", replaced(Path.mkdir)),
    ("settings.json", replaced(os.mkfifo)),
    ("settings.json", Path.unlink),
    ("results.json", replaced(Path.mkdir)),
    ("results.json", replaced(os.mkfifo)),
    ("report.html", Path.mkdir),
    ("bow/outcome.npz", lambda path: path.write_bytes(b"")),
    ("bow/outcome.npz", lambda path: path.write_bytes(path.read_bytes()[:-30])),
    ("bow/outcome.npz", replaced(Path.mkdir)),
    ("bow/outcome.npz", replaced(os.mkfifo)),
    ("bow/outcome.npz", in_header(lambda header, arrays: header.pop("row"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header.update(row=[]))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].pop("accuracy"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(accuracy="high"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(model="gru"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(seed=3))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(teacher=3))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(rounds=["high"]))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header["row"].update(data="others"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header.update(history=3))),
    ("bow/outcome.npz", in_header(lambda header, arrays: header.update(history=[{"epoch": 1}]))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays.pop("logits"))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays.update(logits=np.zeros(3)))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays["logits"].fill(np.nan))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays.update(recall=np.zeros((2, 3))))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays.update(lag=np.zeros(0)))),
    ("bow/outcome.npz", in_header(lambda header, arrays: arrays.update(others=np.zeros(3)))),
    ("gru-seed0/checkpoint.npz", lambda path: path.write_bytes(path.read_bytes()[:-30])),
    ("gru-seed0/checkpoint.npz", lambda path: path.write_bytes(b"")),
    ("gru-seed0/checkpoint.npz", replaced(Path.mkdir)),
    ("gru-seed0", lambda path: (shutil.rmtree(path), path.write_text(""))),
]


def contents(folder):
    """What each file of a run holds."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_a_damaged_run_folder_is_one_error_that_names_the_file_and_loses_nothing(number, stopped, tmp_path):
    name, damage = DAMAGES[number]
    out, settings = tmp_path / "run", stopped[1]
    shutil.copytree(stopped[0], out)
    damage(out / name)
    before = contents(out)
    with pytest.raises((ValueError, OSError), match=re.escape(name)):
        imdb.run(settings, out, resume=True, progress=False)
    after = contents(out)
    assert after.keys() >= before.keys()  # results.json may be written again from what is finished
    for path in before.keys() - {Path("results.json")}:
        assert after[path] == before[path]


def test_what_is_left_of_a_run_goes_on_when_the_damaged_part_is_taken_away(stopped, tmp_path):
    out, settings = tmp_path / "run", stopped[1]
    shutil.copytree(stopped[0], out)
    (out / "bow" / "outcome.npz").unlink()
    (out / "results.json").write_text("damaged, but made again")
    rows = imdb.run(settings, out, resume=True, progress=False)
    assert [row["model"] for row in rows] == ["bow", "gru"] and rows == json.loads((out / "results.json").read_text())


def test_a_run_folder_in_use_is_not_taken(stopped):
    out, settings = stopped
    before = contents(out)
    with files.owned(out), pytest.raises(BlockingIOError, match="stopped is in use by process"):
        imdb.run(settings, out, resume=True, progress=False)
    assert contents(out) == before


def test_a_folder_with_results_of_ones_own_is_not_taken(settings, tmp_path):
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(ValueError, match="holds results.json of a run, but no settings.json: choose another folder"):
        imdb.run(settings, tmp_path, progress=False)
    assert contents(tmp_path) == {Path("results.json"): b"mine"}


def test_the_settings_file_of_an_older_run_is_understood(settings, tmp_path):
    settings = imdb.Settings(**{**vars(settings), "models": ("bow",)})
    rows = imdb.run(settings, tmp_path / "run", progress=False)
    file = tmp_path / "run" / "settings.json"
    older = {name: value for name, value in json.loads(file.read_text()).items() if name not in ("model", "workers")}
    file.write_text(json.dumps(older))
    assert imdb.run(settings, tmp_path / "run", resume=True, progress=False) == rows


def test_two_workers_train_a_network(settings, tmp_path):
    settings = imdb.Settings(**{**vars(settings), "models": ("gru",)})
    alone, both, again = (
        imdb.run(imdb.Settings(**{**vars(settings), "workers": workers}), tmp_path / name, progress=False)[0]
        for name, workers in (("alone", 1), ("both", 2), ("again", 2))
    )
    models = [load_model(tmp_path / name / "gru-seed0" / "model.npz")[0] for name in ("alone", "both", "again")]
    for name, array in models[1].params.items():
        assert np.array_equal(array, models[2].params[name]), name
        assert not np.array_equal(array, models[0].params[name]) or name.endswith("b"), name  # other dropout masks
    assert abs(alone["accuracy"] - both["accuracy"]) < 0.2 and both["accuracy"] == again["accuracy"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"recipe": "none"}, "recipe is 'none', expected one of default, report"),
        ({"pooling": "sum"}, "pooling is 'sum'"),
        ({"models": ("rnn", "cnn")}, "models is rnn, cnn, expected some of bow, nb, hmm, rnn, lstm, gru"),
        ({"models": ()}, "models is empty"),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
        ({"hidden": -1}, "hidden is -1"),
        ({"model": {"layers": 2}}, "model holds layers, expected further options"),
        ({"workers": 0}, "workers is 0, expected at least 1"),
        ({"device": "tpu"}, "device is 'tpu', expected 'cpu' or 'gpu'"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_written(option, message, settings, tmp_path):
    with pytest.raises(ValueError, match=message):
        imdb.run(imdb.Settings(**{**vars(settings), **option}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_command_runs_and_says_what_is_wrong(folder, tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = ["imdb", "--data", str(folder), "--models", "bow", "rnn", "--hidden", "4", "--epochs", "1"]
    assert cli.main([*arguments, "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "vanilla RNN" in printed and "accuracy" in printed and "report.html" in printed
    assert cli.main([*arguments, "--out", out]) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*arguments, "--out", out, "--resume"]) == 0
    assert cli.main(["imdb", "--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "other")]) == 2
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["imdb", "--pooling", "sum"])


def test_the_command_offers_every_cell_and_option_of_the_model(folder, tmp_path):
    out = tmp_path / "run"
    arguments = ["imdb", "--data", str(folder), "--models", *CELLS, "--hidden", "4", "--epochs", "1"]
    assert (
        cli.main([*arguments, "--num-layers", "2", "--dtype", "float64", "--word-dropout", "0", "--out", str(out)]) == 0
    )
    for cell in CELLS:
        model, _, _ = load_model(out / f"{cell}-seed0" / "model.npz")
        config = model.config()
        assert (config["cell"], config["num_layers"], config["dtype"], config["word_dropout"]) == (
            cell,
            2,
            "float64",
            0,
        )
        assert (config["pooling"], config["bidirectional"]) == ("mean+max", True)


def test_the_default_folder_is_the_next_free_or_the_last(tmp_path):
    runs = tmp_path / "runs"
    assert (
        cli.default_folder(runs, "imdb", resume=True) == runs / "imdb" == cli.default_folder(runs, "imdb", resume=True)
    )
    assert (
        cli.default_folder(runs, "imdb", resume=False)
        == runs / "imdb-2"
        == cli.default_folder(runs, "imdb", resume=True)
    )
    assert cli.default_folder(runs, "imdb", resume=False) == runs / "imdb-3" and (runs / "imdb-3").is_dir()


def test_the_bag_of_words_agrees_with_scikit_learn(rng):
    linear = pytest.importorskip(
        "sklearn.linear_model", reason="the oracle of the baseline; it comes with the test extra"
    )
    texts = [rng.integers(0, 30, rng.integers(1, 12)) for _ in range(300)]
    weights = rng.standard_normal(30)
    labels = np.array([int(weights[ids].sum() + rng.standard_normal() > 0) for ids in texts])
    ours = baseline.BagOfWords(30, l2=1e-3, steps=3000, learning_rate=0.1).fit(texts, labels)
    words, starts = ours._words(texts)
    table = np.zeros((300, 30))
    table[np.repeat(np.arange(300), np.diff(np.append(starts, len(words)))), words] = ours._values(words, starts)
    theirs = linear.LogisticRegression(C=1 / (1e-3 * 300), tol=1e-10, max_iter=10000).fit(table, labels)
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=2e-3)
    np.testing.assert_allclose(ours.decision(texts), theirs.decision_function(table), atol=5e-3)


def test_the_bag_of_words_takes_any_container_and_names_what_is_wrong():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    texts, labels = [[1, 2], [3, 2], [1], []], [1, 0, 1, 0]
    right = baseline.BagOfWords(4).fit([np.array(ids, int) for ids in texts], np.array(labels)).decision(texts)
    frame = pandas.DataFrame({"ids": texts, "label": labels}, index=[3, 2, 1, 0])
    for given, answers in ((frame["ids"], frame["label"]), (iter(texts), map(bool, labels)), (frame[["ids"]], labels)):
        np.testing.assert_array_equal(baseline.BagOfWords(4).fit(given, answers).decision(texts), right)
    for call, message in (
        (lambda: baseline.BagOfWords(4).fit([[-1], [1]], [0, 1]), r"sequences\[0\]\[0\] is -1, expected 0 to 3"),
        (lambda: baseline.BagOfWords(4).decision([[1], [9]]), r"sequences\[1\]\[0\] is 9"),
        (lambda: baseline.BagOfWords(4).fit([[1], [2]], ["0", "1"]), "labels holds '0'"),
        (lambda: baseline.BagOfWords(4).fit([[], [0]], [0, 1]), "sequences hold no token but 0"),
        (lambda: baseline.BagOfWords(4, l2=np.nan), "l2 is nan"),
        (lambda: baseline.BagOfWords(4, steps=None), "steps is None"),
        (lambda: baseline.BagOfWords(4, learning_rate=-5), "learning_rate is -5"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


@pytest.fixture(scope="module")
def with_unlabelled(folder, tmp_path_factory):
    """The same reviews, and others without a label."""
    root, rng = tmp_path_factory.mktemp("unlabelled") / "aclImdb", np.random.default_rng(1)
    shutil.copytree(folder, root)
    (root / "train" / "unsup").mkdir()
    for k in range(60):
        words = [*rng.choice(PLAIN, 12), *rng.choice([GOOD, BAD][k % 2], 3), "unheard"]
        rng.shuffle(words)
        (root / "train" / "unsup" / f"{k}_0.txt").write_text(" ".join(words))
    return root


PRETRAINED = {**SMALL, "epochs": 2, "pretrain": "lm", "passes": 2, "models": ("bow", "gru"), "average": 0.9}


def test_networks_start_from_language_models_that_never_saw_the_test_reviews(with_unlabelled, tmp_path, monkeypatch):
    settings = imdb.Settings(data=str(with_unlabelled), **PRETRAINED)
    seen, fit = [], pretraining.fit
    monkeypatch.setattr(
        pretraining, "fit", lambda model, train, *rest, **more: seen.append(train) or fit(model, train, *rest, **more)
    )
    started, train = {}, contestants.fit

    def first_weights(model, *rest, **more):
        started.update({name: array.copy() for name, array in model.params.items()})
        return train(model, *rest, **more)

    monkeypatch.setattr(contestants, "fit", first_weights)
    row = imdb.run(settings, tmp_path / "run", progress=False)[1]
    prepared = imdb.prepare(settings, progress=False)
    assert row["pretrain_seconds"] > 0 and prepared.vocabulary["unheard"]
    learned = sorted(
        ids.tolist()
        for ids in [*prepared.train_ids, *prepared.vocabulary.encode_all(clean_texts(prepared.data.unlabelled))]
    )
    assert sorted(ids.tolist() for ids in seen[0]) == learned == sorted(ids[::-1].tolist() for ids in seen[1])
    forwards, backwards = (np.load(tmp_path / "run" / f"gru-{way}.npz") for way in ("forwards", "backwards"))
    V = len(prepared.vocabulary)
    assert np.array_equal(started["embedding.E"], forwards["params/embedding.E"][:V])
    assert np.array_equal(started["embedding.E"], backwards["params/embedding.E"][:V])
    for name in ("W_l0", "U_l0", "b_l0"):
        assert np.array_equal(started[f"recurrent.{name}"], forwards[f"params/recurrent.{name}"])
        assert np.array_equal(started[f"recurrent.{name}_reverse"], backwards[f"params/recurrent.{name}"])
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Where the networks started" in page and "of perplexity" in page


def test_a_language_model_begins_with_word_vectors_as_large_as_its_own_start(with_unlabelled, tmp_path, monkeypatch):
    settings = imdb.Settings(data=str(with_unlabelled), **PRETRAINED)
    prepared = dataclasses.replace(imdb.prepare(settings, progress=False), folder=tmp_path)
    words = pretraining.starting_point(dataclasses.replace(settings, pretrain="words"), prepared, "gru", False)
    seen = []

    def stop(model, *rest, **more):
        seen.append(model.params["embedding.E"].copy())
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        pretraining.starting_point(settings, prepared, "gru", progress=False)
    table = words.params["embedding.E"]
    known = ~np.isnan(table).any(axis=1)
    assert seen[0][:-1][known].std() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(seen[0][:-1][known] / table[known], 1 / table[known].std(), rtol=1e-4)


def test_word_vectors_start_the_embedding_and_unknown_words_are_as_usual(with_unlabelled, tmp_path):
    settings = imdb.Settings(data=str(with_unlabelled), **{**PRETRAINED, "pretrain": "words"})
    prepared = dataclasses.replace(imdb.prepare(settings, progress=False), folder=tmp_path)
    start = pretraining.starting_point(settings, prepared, "gru", progress=False)
    table = start.params["embedding.E"]
    known = ~np.isnan(table).any(axis=1)
    assert known[prepared.vocabulary["superb"]] and known[prepared.vocabulary["unheard"]] and not known[0]
    model = SequenceClassifier(len(prepared.vocabulary), 8, 6, cell="gru", seed=0)
    before = model.params["embedding.E"].copy()
    start.give(model)
    assert np.array_equal(model.params["embedding.E"], np.where(known[:, None], table, before))


def test_networks_learn_from_a_teacher_of_other_films(with_unlabelled, tmp_path, monkeypatch):
    settings = imdb.Settings(
        data=str(with_unlabelled),
        **{**SMALL, "epochs": 2, "models": ("nb", "gru"), "distill": 0.7, "unlabelled": True},
    )
    seen, train = [], contestants.fit
    monkeypatch.setattr(
        contestants, "fit", lambda model, data, *rest, **more: seen.append(data) or train(model, data, *rest, **more)
    )
    row = imdb.run(settings, tmp_path / "run", progress=False)[1]
    prepared = imdb.prepare(settings, progress=False)
    ids, labels = seen[0]
    count, further = len(prepared.train_ids), prepared.vocabulary.encode_all(clean_texts(prepared.data.unlabelled))
    assert [each.tolist() for each in ids] == [each.tolist() for each in [*prepared.train_ids, *further]]
    model = baseline.NbNgrams(len(prepared.vocabulary), teacher.LONGEST)
    held_out = model.fit_decision(prepared.train_ids, prepared.train_labels)
    p = np.concatenate([0.7 * sigmoid(held_out) + 0.3 * prepared.train_labels, sigmoid(model.decision(further))])
    np.testing.assert_allclose(labels, np.stack([1 - p, p], axis=1), rtol=1e-12)
    assert (labels[count:, 1] > 0.5).tolist() == [k % 2 == 0 for k in range(60)] and row["pretrain_seconds"] > 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The teacher, logistic regression on runs of up to 3 words" in page
    alone = dataclasses.replace(settings, unlabelled=False)
    taught = teacher.lessons(alone, prepared, progress=False)
    np.testing.assert_array_equal(taught.labels, labels[:count])
    assert len(taught.ids) == count
    untaught = teacher.lessons(dataclasses.replace(alone, distill=0.0), prepared, progress=False)
    assert untaught.labels is prepared.train_labels and untaught.ids is prepared.train_ids


def test_in_further_rounds_networks_learn_from_the_one_before_too(with_unlabelled, tmp_path, monkeypatch):
    options = {**SMALL, "epochs": 2, "models": ("gru",), "distill": 0.7, "unlabelled": True, "seeds": 2, "rounds": 3}
    settings = imdb.Settings(data=str(with_unlabelled), **options)
    models, seen, train = [], [], contestants.fit

    def fit(model, data, *rest, **more):
        history = train(model, data, *rest, **more)
        models.append(model)
        seen.append((data, more["seed"]))
        return history

    monkeypatch.setattr(contestants, "fit", fit)
    rows = imdb.run(settings, tmp_path / "run", progress=False)
    assert [seed for _, seed in seen] == [4, 2, 0, 5, 3, 1]
    prepared = imdb.prepare(settings, progress=False)
    count = len(prepared.train_ids)
    nb = baseline.NbNgrams(len(prepared.vocabulary), teacher.LONGEST)
    held_out = nb.fit_decision(prepared.train_ids, prepared.train_labels)
    further = prepared.unlabelled_ids[count:]
    for k, ((ids, labels), _) in enumerate(seen):
        logits = nb.decision(further)
        if k % 3:
            logits = logits + contestants.predict(models[k - 1], further, max_length=settings.max_length)
        p = np.concatenate([0.7 * sigmoid(held_out) + 0.3 * prepared.train_labels, sigmoid(logits)])
        np.testing.assert_allclose(labels[:, 1], p, rtol=1e-6)
        assert len(ids) == count + len(further)
    assert [len(row["rounds"]) for row in rows] == [2, 2]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Right on the validation reviews, round after round. GRU, seed 0: " in page

    calls = []

    def stopped(*arguments, **more):  # in the second round of the second seed
        calls.append(0)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(contestants, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        imdb.run(settings, tmp_path / "stopped", progress=False)
    imdb.run(settings, tmp_path / "stopped", resume=True, progress=False)
    for seed in (0, 1):
        files = (tmp_path / run / f"gru-seed{seed}" / "model.npz" for run in ("run", "stopped"))
        one, other = (load_model(file)[0].params for file in files)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_reviews_without_a_label_need_a_teacher(folder):
    with pytest.raises(ValueError, match="rounds is 2, expected 1 where no reviews without a label are learned from"):
        imdb.Settings(data=str(folder), rounds=2).check()
    with pytest.raises(ValueError, match="distill is 0, expected a teacher for the reviews without a label"):
        imdb.Settings(data=str(folder), unlabelled=True, distill=0.0).check()
    with pytest.raises(ValueError, match="distill is 1.0, expected"):
        imdb.Settings(data=str(folder), distill=1.0).check()


def test_an_ablation_leaves_out_one_ingredient_at_a_time_and_looks_at_no_test_review(with_unlabelled, tmp_path):
    further = {"distill": 0.5, "unlabelled": True, "rounds": 2, "model": {"adversarial": 0.5}}
    settings = imdb.Settings(data=str(with_unlabelled), **{**PRETRAINED, **further}, ablation=True)
    imdb.run(settings, tmp_path / "run", progress=False)
    rows = json.loads((tmp_path / "run" / "ablation.json").read_text())
    assert [row["changed"] for row in rows] == [f"without {name}" for name in recipe.INGREDIENTS]
    prepared = imdb.prepare(settings, progress=False)
    for row in rows:
        assert row["model"] == "gru" and row["test_size"] == len(prepared.validation_ids)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert all(f"without {name}" in page for name in recipe.INGREDIENTS)
    again = imdb.run(settings, tmp_path / "run", resume=True, progress=False)
    assert again == json.loads((tmp_path / "run" / "results.json").read_text())
    assert json.loads((tmp_path / "run" / "ablation.json").read_text()) == rows


def test_the_report_protocol_is_compared_with_each_part_of_the_library_s(with_unlabelled, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules["rnnscratch.text.clean"], "stop_words", lambda: ENGLISH
    )  # whether NLTK's are installed or not
    own = {**recipe.REPORT, "models": ("bow", "rnn", "gru"), "seeds": 1, "epochs": 1}
    settings = imdb.Settings(data=str(with_unlabelled), hidden=6, embedding=8, batch_size=8, **own, ablation=True)
    imdb.run(settings, tmp_path / "run", progress=False)
    rows = json.loads((tmp_path / "run" / "ablation.json").read_text())
    names = [f"with {name}" for name in (*recipe.ADDITIONS, recipe.EVERYTHING)]
    names += [f"with 1 of {k} training reviews" for k in (8, 4, 2)]
    names += [f"with {factor} times the learning rate" for factor in (0.25, 4)]
    assert list(dict.fromkeys(row["changed"] for row in rows)) == names
    found = {(row["changed"], row["model"]): row for row in rows}
    other_data = {name for name, model in found if model == "bow"}
    assert other_data == {names[2], names[3], *names[4:8]}  # cleaning, learning, all, shares
    assert all((name, model) in found for name in names for model in ("rnn", "gru"))
    validation = len(imdb.prepare(settings, progress=False).validation_ids)
    assert {row["test_size"] for row in rows} == {validation} == {row["validation_size"] for row in rows}
    assert found[names[0], "gru"]["pooling"] == "mean+max" and found[names[1], "gru"]["bidirectional"]
    assert found[names[2], "gru"]["recipe"] == "default" and "teacher" in found[names[3], "gru"]["teacher"]
    whole = found[names[0], "gru"]["train_size"]
    for k, name in zip((8, 4, 2), names[5:8]):
        assert found[name, "gru"]["train_size"] == round(whole / k) and found[name, "gru"]["epochs"] == k
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The cell: with everything else equal, as the report wants it" in page
    assert "the library&#x27;s cleaning alone the difference is" in page and "Over the amount of data" in page
    again = dataclasses.replace(settings)
    imdb.run(again, tmp_path / "run", resume=True, progress=False)
    assert json.loads((tmp_path / "run" / "ablation.json").read_text()) == rows
    assert page.count("<img") == (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("<img")


def test_a_share_of_the_training_reviews_is_drawn_and_the_rest_is_not_looked_at(folder):
    settings = imdb.Settings(data=str(folder), **SMALL)
    whole = imdb.prepare(settings, progress=False)
    half = imdb.prepare(dataclasses.replace(settings, share=0.5), progress=False)
    assert len(half.train_ids) == round(len(whole.train_ids) / 2)
    texts = [[whole.vocabulary.words[k] for k in ids] for ids in whole.train_ids]
    drawn = [[half.vocabulary.words[k] for k in ids] for ids in half.train_ids]
    places = [texts.index(words) for words in drawn]
    assert places == sorted(places) and whole.train_labels[places].tolist() == half.train_labels.tolist()
    assert len(half.validation_ids) == len(whole.validation_ids) and len(half.test_ids) == len(whole.test_ids)
    for share, message in ((0.0, "share is 0"), (1.5, "share is 1.5, expected at most 1")):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(settings, share=share).check()


def test_a_run_stopped_in_its_language_model_goes_on_to_the_same_weights(with_unlabelled, tmp_path, monkeypatch):
    settings = imdb.Settings(data=str(with_unlabelled), **PRETRAINED)
    imdb.run(settings, tmp_path / "whole", progress=False)
    fit = pretraining.fit

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "fit", lambda *given, **more: fit(*given, **more, callbacks=[stop]))
    with pytest.raises(KeyboardInterrupt):
        imdb.run(settings, tmp_path / "part", progress=False)
    monkeypatch.setattr(pretraining, "fit", fit)
    imdb.run(settings, tmp_path / "part", resume=True, progress=False)
    first, second = (load_model(tmp_path / each / "gru-seed0" / "model.npz")[0] for each in ("whole", "part"))
    for name, array in first.params.items():
        assert np.array_equal(array, second.params[name]), name


def test_stacked_networks_in_both_directions_have_no_language_model_to_start_from(folder):
    with pytest.raises(ValueError, match="num_layers is 2, expected 1 where bidirectional networks start"):
        imdb.Settings(data=str(folder), pretrain="lm", model={"num_layers": 2}).check()
