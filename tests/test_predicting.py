"""`rnnscratch predict`: what the classifier itself says, in order, for files and standard input, by parts."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import cli, predicting
from rnnscratch.models.saved import save_model
from rnnscratch.text import Vocabulary

TEXTS = ["a good film", "bad, bad acting", "", "good fun", 'the "plot" is bad', "unheard of"] * 3


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    texts, labels = ["good film", "bad film", "so so"] * 8, ["yes", "no", "perhaps"] * 8
    clf = rs.TextClassifier(cell="gru", epochs=8, learning_rate=0.05, validation_fraction=0.0, hidden_size=8)
    path = tmp_path_factory.mktemp("model") / "it.npz"
    clf.fit(texts, labels).save(path)
    return clf, path


def right(clf):
    return [
        (str(label), dict(zip(clf.classes_.tolist(), p)))
        for label, p in zip(clf.predict(TEXTS), clf.predict_proba(TEXTS).tolist())
    ]


def same(found, wanted):
    assert [label for label, _ in found] == [label for label, _ in wanted]
    for (_, ours), (_, theirs) in zip(found, wanted):
        assert list(ours) == list(theirs)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", [1, 4, 2048])
def test_a_file_s_texts_get_the_classifier_s_labels(part, fitted, tmp_path, monkeypatch, capsys):
    clf, model = fitted
    monkeypatch.setattr(predicting, "PART", part)
    path = tmp_path / "it.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "review"], *([k, text] for k, text in enumerate(TEXTS))])
    assert cli.main(["predict", str(model), str(path), "--text", "review"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    same([(line["label"], line["probabilities"]) for line in lines], right(clf))
    assert cli.main(["predict", str(model), str(path), "--text", "review", "--form", "csv"]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["label", "no", "perhaps", "yes"]
    same([(label, dict(zip(head[1:], map(float, p)))) for label, *p in rows], right(clf))


def test_standard_input_has_a_text_a_line(fitted):
    clf, model = fitted
    command = [sys.executable, "-m", "rnnscratch.cli", "predict", str(model)]
    done = subprocess.run(command, input="\n".join(TEXTS).encode(), capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    same([(line["label"], line["probabilities"]) for line in lines], right(clf))
    assert done.stderr == b""


def test_a_network_of_the_comparison_says_negative_or_positive(tmp_path):
    model = rs.SequenceClassifier(3, 2, 2, seed=0)
    save_model(tmp_path / "it.npz", model, Vocabulary(["<unk>", "good", "bad"]), {"recipe": "default", "max_length": 5})
    labels = predicting.Labels(tmp_path / "it.npz")
    found = labels.probabilities(["good bad good", "bad " * 9])
    logits = [model.forward(np.array(ids)[:, None])[0] for ids in ([1, 2, 1], [2] * 5)]
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-np.array(logits))), rtol=1e-6)
    assert labels.classes == ["negative", "positive"]


def test_what_is_wrong_is_one_line_and_what_was_said_before_stays(fitted, tmp_path, capsys, monkeypatch):
    _, model = fitted
    monkeypatch.setattr(predicting, "PART", 2)
    (tmp_path / "it.jsonl").write_text('{"text": "good"}\n{"text": "bad"}\n{"text": 3}\n')
    assert cli.main(["predict", str(model), str(tmp_path / "it.jsonl")]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and "line 3: 'text' is 3, expected a string" in said.err
    save_model(tmp_path / "lm.npz", rs.LanguageModel(5, 2, 2, seed=0))
    for path, message in (
        ("none.npz", "none.npz does not exist"),
        ("lm.npz", "holds a model, but no classifier of texts"),
    ):
        assert cli.main(["predict", str(tmp_path / path), str(tmp_path / "it.jsonl")]) == 2
        said = capsys.readouterr()
        assert said.out == "" and message in said.err and said.err.startswith("rnnscratch predict: ")
    with pytest.raises(ValueError, match="form is 'xml', expected jsonl or csv"):
        predicting.predict_file(model, tmp_path / "it.jsonl", io.StringIO(), form="xml")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_several_processes_write_what_one_writes(form, fitted, tmp_path, monkeypatch, capsys):
    _, model = fitted
    monkeypatch.setattr(predicting, "PART", 4)
    path = tmp_path / "it.txt"
    path.write_text("\n".join(f"{text} {'bad ' * (k % 5)}" for k, text in enumerate(TEXTS * 2)))
    said = []
    for workers in ("1", "2"):
        assert cli.main(["predict", str(model), str(path), "--form", form, "--workers", workers]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and len(said[0].splitlines()) == 2 * len(TEXTS) + (form == "csv")


def test_what_goes_wrong_beside_or_in_several_processes_is_one_line(fitted, tmp_path, monkeypatch, capsys):
    _, model = fitted
    monkeypatch.setattr(predicting, "PART", 2)
    path = tmp_path / "it.jsonl"
    path.write_text('{"text": "good"}\n' * 12 + '{"text": 3}\n')
    assert cli.main(["predict", str(model), str(path), "--workers", "2"]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 12
    assert "line 13: 'text' is 3, expected a string" in said.err
    copy = tmp_path / "it.npz"
    copy.write_bytes(model.read_bytes())
    labels = predicting.Labels(copy)
    copy.unlink()
    with pytest.raises(FileNotFoundError, match="it.npz does not exist"):
        next(predicting.predict_rows(labels, iter(TEXTS), workers=2))
    for workers, device, message in ((0, "cpu", "workers is 0"), (2, "gpu", "workers is 2, expected 1")):
        with pytest.raises(ValueError, match=message):
            predicting.predict_file(model, path, io.StringIO(), device=device, workers=workers)


def test_weights_that_are_too_large_are_one_line(tmp_path, capsys):
    model = rs.SequenceClassifier(3, 2, 2, cell="rnn", activation="relu", seed=0)
    for array in model.params.values():
        array[...] = 1e30
    save_model(tmp_path / "it.npz", model, Vocabulary(["<unk>", "good", "bad"]), {"recipe": "default", "max_length": 5})
    (tmp_path / "it.txt").write_text("good\n")
    assert cli.main(["predict", str(tmp_path / "it.npz"), str(tmp_path / "it.txt")]) == 2
    assert capsys.readouterr().err == (
        "rnnscratch predict: the logits hold NaN or infinity: the weights are too large\n"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_texts_are_read_no_further_than_they_are_asked_for(workers, fitted, monkeypatch):
    clf, model = fitted
    monkeypatch.setattr(predicting, "PART", 64)
    read = []

    def endless():
        while True:
            read.append(0)
            yield "good"

    found = predicting.predict_rows(predicting.Labels(model), endless(), workers)
    assert next(found)[0] == "yes" and len(read) // 64 in (
        [1] if workers == 1 else [workers + 1, workers + 2, workers + 3]
    )
    found.close()
