"""`evaluate`: its figures are scikit-learn's on the same predictions, by parts; wrong files end in a line."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc

import numpy as np
import pytest
import sklearn.metrics

import rnnscratch as rs
from rnnscratch import evaluating
from rnnscratch.experiments import pages
from rnnscratch.models.saved import save_model
from rnnscratch.text import Vocabulary, clean

RNG = np.random.default_rng(3)
NOISE = ["a", "film", "of", "the", "plot", "so"]


def examples(words, count, seed):
    """Texts of some words and labels that are the word of theirs, in one of four cases another one."""
    rng = np.random.default_rng(seed)
    labels = [words[k] for k in rng.integers(len(words), size=count)]
    shown = [label if rng.random() < 0.75 else words[rng.integers(len(words))] for label in labels]
    texts = [" ".join([*rng.choice(NOISE, rng.integers(0, 9)), word]) for word in shown]
    return texts, labels


def learned(words):
    clf = rs.TextClassifier(cell="gru", epochs=6, learning_rate=0.03, hidden_size=6, min_count=1, random_state=0)
    return clf.fit(*examples(words, 200, 0))


@pytest.fixture(scope="module")
def two():
    return learned(["bad", "good"])


@pytest.fixture(scope="module")
def three():
    return learned(["bad", "fair", "good"])


def written(path, texts, labels, names=("text", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *zip(texts, labels)])
    return path


@pytest.mark.parametrize("part", [1, 7, 4096])
@pytest.mark.parametrize("fixture", ["two", "three"])
def test_figures_equal_scikit_learn_s_however_the_file_is_cut(fixture, part, request, tmp_path, monkeypatch):
    clf = request.getfixturevalue(fixture)
    monkeypatch.setattr(evaluating, "PART", part)
    classes = clf.classes_.tolist()
    texts, labels = examples(classes, 120, 1)
    found = evaluating.evaluate(clf, written(tmp_path / "it.csv", texts, labels))
    p = clf.predict_proba(texts)
    predicted = clf.predict(texts)
    figures = found.figures()
    assert figures["accuracy"] == pytest.approx(np.mean(predicted == labels))
    assert figures["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))
    assert figures["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, p), rel=1e-5)
    assert figures["confusion"] == sklearn.metrics.confusion_matrix(labels, predicted, labels=classes).tolist()
    assert figures["most_frequent"] == max(map(labels.count, classes)) / 120
    each = sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=classes)
    for k, name in enumerate(classes):
        ours = figures["labels"][name]
        assert [ours[key] for key in ("precision", "recall", "f1", "texts")] == pytest.approx([row[k] for row in each])
    if fixture == "two":
        assert figures["roc_auc"] == pytest.approx(
            sklearn.metrics.roc_auc_score(np.array(labels) == "good", p[:, 1]), 1e-3
        )
        right = rs.metrics.calibration(np.array(labels) == "good", p[:, 1], labels=(False, True)).error
    else:
        assert figures["roc_auc"] is None
        right = rs.metrics.calibration(predicted == labels, p.max(axis=1), labels=(False, True)).error
    assert figures["calibration_error"] == pytest.approx(right, abs=1e-6)
    low, high = figures["accuracy_interval"]
    assert low < figures["accuracy"] < high
    np.testing.assert_array_equal(found.words, [len(clean(text)) for text in texts])


@pytest.mark.parametrize("part", [5, 4096])
def test_the_most_confident_errors_are_kept_with_their_lines(part, three, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluating, "PART", part)
    monkeypatch.setattr(evaluating, "ERRORS", 4)
    texts, labels = examples(three.classes_.tolist(), 120, 1)
    texts[3] = "x " * 2000 + texts[3]
    found = evaluating.evaluate(three, written(tmp_path / "it.csv", texts, labels))
    logs = np.log(three.predict_proba(texts))
    true = np.array([three.classes_.tolist().index(label) for label in labels])
    margins = logs.max(axis=1) - logs[np.arange(len(true)), true]
    worst = np.sort(margins)[::-1][:4]
    assert worst.min() > 0 and len(found.errors) == 4
    for error, size in zip(found.errors, worst):
        k = error.line - 2
        assert margins[k] == pytest.approx(size, abs=1e-4)
        assert (error.true, error.said) == (labels[k], three.predict([texts[k]])[0])
        assert error.probability == pytest.approx(three.predict_proba([texts[k]]).max(), abs=1e-5)
        assert (error.text, error.words) == (pages.shortened(texts[k]), len(clean(texts[k])))


def test_the_report_shows_what_was_found_and_loads_nothing(two, tmp_path):
    texts, labels = examples(["bad", "good"], 80, 1)
    texts = [text if k % 20 else f"{text} <script> & more" for k, text in enumerate(texts)]
    found = evaluating.evaluate(two, written(tmp_path / "it.csv", texts, labels))
    place = evaluating.place_of_report(tmp_path / "new")
    assert place == (tmp_path / "new" / "evaluation.html").resolve()
    evaluating.write_evaluation(place, found)
    page = place.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3 and not re.search(r'(src|href)=(?!"data:)', page)
    assert f"<td>{found.accuracy:.2%}<td>95 % interval" in page and "<script>" not in page
    for error in found.errors:
        assert f"line {error.line}: {error.true}, but taken for {error.said}" in page
    assert evaluating.place_of_report(tmp_path / "it.HTML").name == "it.HTML"


def test_without_matplotlib_the_report_has_tables(two, tmp_path, monkeypatch):
    found = evaluating.evaluate(two, written(tmp_path / "it.csv", *examples(["bad", "good"], 40, 1)))
    monkeypatch.setattr(evaluating.importlib.util, "find_spec", lambda name: None)
    evaluating.write_evaluation(tmp_path / "it.html", found)
    page = (tmp_path / "it.html").read_text(encoding="utf-8")
    assert "matplotlib is not installed" in page and "<img" not in page
    (a, b), (c, d) = found.confusion.tolist()
    assert f"<td>bad<td>{a}<td>{b}" in page and f"<td>good<td>{c}<td>{d}" in page


def test_of_many_labels_the_most_frequent_confusions_are_listed(tmp_path):
    words = [f"word{letter}" for letter in "abcdefghijkl"]
    clf = learned(words)
    found = evaluating.evaluate(clf, written(tmp_path / "it.csv", *examples(words, 200, 1)))
    wrong = found.confusion - np.diag(np.diag(found.confusion))
    rows = evaluating.confusions(found)
    assert rows[0] == ["true", "said", "texts"] and len(rows) == 11
    counts = [int(row[2]) for row in rows[1:]]
    assert counts == sorted(wrong.ravel().tolist(), reverse=True)[:10]
    for true, said, count in rows[1:]:
        assert wrong[words.index(true), words.index(said)] == int(count)
    evaluating.write_evaluation(tmp_path / "it.html", found)
    assert "Most frequent confusions" in (tmp_path / "it.html").read_text(encoding="utf-8")


def test_labels_that_are_not_known_are_named_with_their_line_or_passed_over(two, tmp_path):
    texts, labels = ["good film", "bad", "so so", "bad"], ["good", "bad", "fair", ""]
    path = written(tmp_path / "it.csv", texts, labels)
    with pytest.raises(
        ValueError, match=r"it.csv, line 4: the label 'fair' is none of the classifier's, which are bad, "
    ):
        evaluating.evaluate(two, path)
    found = evaluating.evaluate(two, path, unknown="skip")
    assert len(found.true) == 2 and found.skipped == {"fair": 1, "": 1} and found.figures()["skipped"] == found.skipped
    assert "Passed over: 2 texts with labels that the classifier does not know: 'fair' 1, '' 1." in str(found)
    named = evaluating.evaluate(two, path, names={"fair": "bad", "": "good"})
    assert [named.classes[k] for k in named.true] == ["good", "bad", "bad", "good"]
    with pytest.raises(ValueError, match="names has 'fair' for 'so so', expected one of bad, good"):
        evaluating.evaluate(two, path, names={"fair": "so so"})
    with pytest.raises(ValueError, match="unknown is 'drop'"):
        evaluating.evaluate(two, path, unknown="drop")


@pytest.mark.parametrize(
    ("classes", "written_as"),
    [
        ([False, True], ["false", "true"]),
        ([False, True], ["False", "True"]),
        ([0, 1], ["0", "1.0"]),
        ([1.0, 2.5], ["1", "2.5"]),
    ],
)
def test_numbers_and_booleans_are_known_however_they_are_written(classes, written_as, two, tmp_path):
    clf = rs.TextClassifier(**two.get_params())
    clf.model_, clf.vocabulary_, clf.classes_, clf.history_ = two.model_, two.vocabulary_, np.array(classes), None
    found = evaluating.evaluate(clf, written(tmp_path / "it.csv", ["bad", "good"] * 2, written_as * 2))
    assert found.true.tolist() == [0, 1, 0, 1] and found.accuracy == 1


def test_one_label_alone_and_all_right_end_well(two, tmp_path):
    path = written(tmp_path / "it.csv", ["a good film", "good", "the good plot"], ["good"] * 3)
    found = evaluating.evaluate(two, path)
    figures = found.figures()
    assert (figures["accuracy"], figures["roc_auc"], found.errors) == (1.0, None, [])
    assert figures["macro_f1"] == 0.5 and "No text is labelled bad; in macro F1 that counts as 0." in str(found)
    evaluating.write_evaluation(tmp_path / "it.html", found)
    assert "None: every text is labelled right." in (tmp_path / "it.html").read_text(encoding="utf-8")
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("it.csv", b"", "it.csv is empty, expected a line with the names of columns"),
        ("it.csv", b"text,label\n", "it.csv holds no text to evaluate$"),
        ("it.jsonl", b"", "it.jsonl holds no text to evaluate$"),
        ("it.csv", b"text,sign\ngood,1\n", "line 1: there is no column 'label'; the columns are text, sign"),
        ("it.txt", b"good\n", "it.txt has a text a line and no labels"),
        ("it.tsv", b"text\tlabel\ngood\n", "line 2: it has 1 columns, so column 'label' is missing"),
    ],
)
def test_files_without_texts_or_labels_end_in_a_line(name, content, message, two, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        evaluating.evaluate(two, tmp_path / name)


def test_where_all_is_passed_over_it_is_said_how_much(two, tmp_path):
    path = written(tmp_path / "it.csv", ["good"] * 3, ["fair"] * 3)
    with pytest.raises(ValueError, match="no text to evaluate; 3 have labels that the classifier does not know"):
        evaluating.evaluate(two, path, unknown="skip")


def test_a_stream_and_columns_by_number_are_read_too(two):
    texts, labels = examples(["bad", "good"], 30, 1)
    stream = io.BytesIO("".join(f"{label}\t{text}\r\n" for text, label in zip(texts, labels)).encode("utf-16"))
    found = evaluating.evaluate(two, stream, label="1", text="2", kind="tsv")
    assert found.accuracy == two.score(texts, labels) and found.source == "standard input"
    with pytest.raises(ValueError, match="kind is None, expected csv, tsv or jsonl"):
        evaluating.evaluate(two, io.BytesIO(b"good"))


def test_a_network_of_the_comparison_knows_negative_and_positive(tmp_path):
    model = rs.SequenceClassifier(3, 2, 2, seed=0)
    save_model(tmp_path / "it.npz", model, Vocabulary(["<unk>", "good", "bad"]), {"recipe": "default", "max_length": 5})
    path = written(tmp_path / "it.csv", ["good", "bad"], ["positive", "0"])
    found = evaluating.evaluate(tmp_path / "it.npz", path, names={"0": "negative"})
    assert found.classes == ["negative", "positive"] and found.true.tolist() == [1, 0]


def test_memory_follows_the_number_of_texts_not_their_size(two, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluating, "PART", 16)

    def peak(repeats):
        path = tmp_path / f"{repeats}.csv"
        written(path, ["good film " * 2000] * repeats, ["good"] * repeats)
        tracemalloc.start()
        try:
            assert len(evaluating.evaluate(two, path).true) == repeats
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(16)
    assert peak(320) - peak(32) < 20_000 * 10  # of ten texts, where 288 more were read
