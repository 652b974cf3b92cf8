"""What words do to a score: equal to derivatives, to predicting without them, and to the score itself where it is
linear; pages and pictures show it.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import explaining
from rnnscratch.models.classifier import CELLS, POOLINGS, configuration
from rnnscratch.text import Vocabulary

TEXT = "good film but a bad end good fun"
WORDS = ["<unk>", "good", "bad", "film", "end", "fun", "a"]  # "but" is unknown


def classifier(K=2, dtype="float64", **options):
    """A `TextClassifier` with random weights, none of them 0."""
    options = {"cell": "lstm", "embedding_dim": 3, "hidden_size": 4, "pooling": "mean+max"} | options
    clf = rs.TextClassifier(**options)
    sizes = {"vocabulary_size": len(WORDS), "num_classes": K, "dtype": dtype}
    model = rs.SequenceClassifier(**configuration(clf.get_params() | sizes), seed=0)
    classes = np.array(["no", "yes"] if K == 2 else [f"class {k}" for k in range(K)])
    rng = np.random.default_rng(1)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    clf.model_, clf.vocabulary_, clf.classes_, clf.history_ = model, Vocabulary(WORDS), classes, None
    return clf


def score_of(logits, label):
    """The logit of a class less the mean of the others, of two classes the log-odds."""
    logits = np.stack([0 * logits, logits], axis=1) if logits.ndim == 1 else logits
    return logits[:, label] - np.delete(logits, label, axis=1).mean(axis=1)


def complex_step(model, ids, label):
    """d score / d size of each word's embedding, at size 1: exact to rounding."""
    T, h = len(ids), 1e-200
    config = model.config() | {"vocabulary_size": 2 * T, "dtype": "complex128"}
    twin = rs.SequenceClassifier(**config, seed=0)
    params = {name: array.astype(complex) for name, array in model.params.items()}
    E = params["embedding.E"][ids]
    twin.load_params(params | {"embedding.E": np.concatenate([E, E * (1 + 1j * h)])})
    columns = np.arange(T)[:, None] + T * np.eye(T, dtype=int)
    return score_of(twin.forward(columns), label).imag / h


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("K", "label"), [(2, 0), (2, 1), (4, 2)])
def test_saliency_is_the_derivative_along_each_words_embedding(K, label, cell, bidirectional, pooling):
    clf = classifier(K, cell=cell, bidirectional=bidirectional, pooling=pooling)
    found = explaining.explain(clf, TEXT, clf.classes_[label])
    ids = clf.vocabulary_.encode(TEXT.split())
    exact = complex_step(clf.model_, ids, label)
    np.testing.assert_allclose(found.saliency, exact, rtol=1e-11, atol=1e-15)  # layer_norm's are about 0
    assert found.words == TEXT.split() and found.label == clf.classes_[label]


@pytest.mark.parametrize("options", [{"reset_after": True, "cell": "gru"}, {"num_layers": 2}, {"freeze": True}])
def test_saliency_of_further_models_is_a_derivative_too(options):
    clf = classifier(**options)
    found = explaining.explain(clf, TEXT, "yes")
    exact = complex_step(clf.model_, clf.vocabulary_.encode(TEXT.split()), 1)
    np.testing.assert_allclose(found.saliency, exact, rtol=1e-11)
    assert np.abs(exact).min() > 1e-6


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("K", [2, 3])
def test_saliency_sums_to_the_score_where_that_is_linear_in_the_embeddings(K, bidirectional, pooling):
    """Rectified units without biases, whose score doubles where all embeddings do (Euler)."""
    clf = classifier(K, cell="rnn", activation="relu", pooling=pooling, bidirectional=bidirectional, num_layers=2)
    for name, array in clf.model_.params.items():
        if ".b" in name:
            array[...] = 0
    found = explaining.explain(clf, TEXT)
    assert found.saliency.sum() == pytest.approx(found.score, rel=1e-12)
    assert abs(found.score) > 1e-3


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("K", "label"), [(2, 0), (2, 1), (3, 1)])
def test_occlusion_is_what_predicting_without_the_word_says(cell, K, label):
    clf = classifier(K, cell=cell, bidirectional=True)
    found = explaining.explain(clf, TEXT, clf.classes_[label])
    words = TEXT.split()
    without = [" ".join([*words[:t], "zzz", *words[t + 1 :]]) for t in range(len(words))]
    logits = np.log(clf.predict_proba([TEXT, *without]))
    scores = score_of(logits, label)
    assert found.score == pytest.approx(scores[0], rel=1e-12)
    np.testing.assert_allclose(found.occlusion, scores[0] - scores[1:], rtol=1e-9, atol=1e-14)
    assert found.occlusion[words.index("but")] == 0 and not found.known[words.index("but")]
    np.testing.assert_allclose(list(found.probabilities.values()), clf.predict_proba([TEXT])[0], rtol=1e-12)
    known = [word != "but" for word in words]
    assert found.correlation == pytest.approx(np.corrcoef(found.saliency[known], found.occlusion[known])[0, 1])


def test_the_most_probable_label_is_explained_unless_another_is_asked_for():
    clf = classifier(3)
    own, other = explaining.explain(clf, TEXT), explaining.explain(clf, TEXT, "class 0")
    assert own.label == own.predicted == clf.predict([TEXT])[0] != other.label == "class 0"
    assert other.predicted == own.predicted and "Explained is class 0" in str(other)
    two = explaining.explain(classifier(), TEXT, "yes"), explaining.explain(classifier(), TEXT, "no")
    np.testing.assert_allclose(two[0].saliency, -two[1].saliency, rtol=1e-12)
    np.testing.assert_allclose(two[0].occlusion, -two[1].occlusion, rtol=1e-9, atol=1e-15)


def test_only_the_words_that_are_read_are_explained():
    clf = classifier()
    clf.max_length = 5
    found = explaining.explain(clf, TEXT)
    assert found.words == TEXT.split()[-5:] and found.left_out == 3
    np.testing.assert_array_equal(found.saliency, explaining.explain(clf, " ".join(found.words)).saliency)
    assert "8 words, of which the classifier reads the last 5" in str(found)


def test_of_a_cell_that_normalises_its_input_it_is_said_that_occlusion_counts():
    found, other = (explaining.explain(classifier(cell=cell, hidden_size=8), TEXT) for cell in ("layer_norm", "lstm"))
    assert np.abs(found.saliency).max() < 1e-2 * np.abs(found.occlusion).max()
    assert "go by occlusion" in str(found) and "go by occlusion" not in str(other)


def test_long_texts_are_occluded_by_parts_with_the_same_result(monkeypatch):
    clf = classifier()
    whole = explaining.explain(clf, TEXT).occlusion
    monkeypatch.setattr("rnnscratch.teach.words.STEPS", 3 * len(whole))
    np.testing.assert_allclose(explaining.explain(clf, TEXT).occlusion, whole, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("text", ["", "   ", "<br />", "zzz", "good"])
def test_texts_of_no_or_one_word_end_well(text, tmp_path):
    found = explaining.explain(classifier(), text)
    assert len(found.words) == len(found.saliency) == len(found.occlusion) == 1
    assert found.correlation is None and "not defined" in str(found)
    assert ("no word" in str(found)) == (text not in ("zzz", "good"))
    for ending in ("html", "png"):
        explaining.write_explanation(tmp_path / f"it.{ending}", found)


def test_the_table_has_each_word_with_both_values_and_is_ascii():
    found = explaining.explain(classifier(), TEXT)
    rows = [line.split() for line in str(found).splitlines()[-9:]]
    assert [row[0] for row in rows] == [*TEXT.replace("but", "[but]").split(), "(sum)"]
    np.testing.assert_allclose([float(row[1]) for row in rows[:-1]], found.saliency, atol=5.1e-5)
    np.testing.assert_allclose([float(row[2]) for row in rows[:-1]], found.occlusion, atol=5.1e-5)
    assert float(rows[-1][1]) == pytest.approx(found.saliency.sum(), abs=5.1e-5) and str(found).isascii()


def test_the_page_shows_each_word_with_its_values_and_loads_nothing(tmp_path):
    clf = classifier()
    clf.classes_ = np.array(["no", "<yes>"])
    found = explaining.explain(clf, TEXT, "<yes>")
    explaining.write_explanation(tmp_path / "it.html", found)
    page = (tmp_path / "it.html").read_text(encoding="utf-8")
    spans = re.findall(r'<span style="background: rgb\((\d+), (\d+), (\d+)\)[^>]*title="([^"]*)">([^<]*)</span>', page)
    legend, first, second = spans[:5], spans[5 : 5 + len(found.words)], spans[5 + len(found.words) :]
    for shown, values in ((first, found.saliency), (second, found.occlusion)):
        assert [span[4] for span in shown] == TEXT.replace("but", "[but]").split()
        np.testing.assert_allclose([float(span[3]) for span in shown], values, atol=5.1e-4)
        assert all(
            (int(span[0]) > int(span[2])) == (value > 0) for span, value in zip(shown, values) if abs(value) > 0.01
        )
    limit = max(np.abs(found.saliency).max(), np.abs(found.occlusion).max())
    assert [float(span[4]) for span in legend] == pytest.approx([-limit, -limit / 2, 0, limit / 2, limit], rel=1e-2)
    assert "<yes>" not in page and "&lt;yes&gt;" in page and f"{found.correlation:.3f}" in page
    assert not re.search(r"(src|href)=", page)


def test_pictures_show_the_words_with_the_largest_values_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "PICTURED", 3)
    clf = classifier()
    clf.classes_ = np.array(["no", "$1 $2"])
    found = explaining.explain(clf, TEXT)
    ax = explaining.picture(found)
    size = np.maximum(np.abs(found.saliency), np.abs(found.occlusion))
    chosen = sorted(np.argsort(-size)[:3])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [found.shown()[k] for k in chosen]
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, [*found.saliency[chosen], *found.occlusion[chosen]])
    assert "3 of 8 words" in ax.get_title() and ax.get_ylabel() == "log-odds"
    explaining.write_explanation(tmp_path / "it.png", found)
    explaining.write_explanation(tmp_path / "it.SVG", found)
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "it.SVG").read_bytes()


def test_wrong_input_is_named(tmp_path, monkeypatch):
    clf = classifier()
    with pytest.raises(ValueError, match="label is 'maybe', expected one of no, yes"):
        explaining.explain(clf, TEXT, "maybe")
    with pytest.raises(TypeError, match=r"text\[0\] is int \(3\), expected a string"):
        explaining.explain(clf, 3)
    with pytest.raises(ValueError, match="it.pdf ends in '.pdf', expected one of .html, .htm, .png, .svg"):
        explaining.check_place(tmp_path / "it.pdf")
    with pytest.raises(ValueError, match="is not fitted yet"):
        explaining.explain(rs.TextClassifier(), TEXT)
    monkeypatch.setattr(explaining.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"rnnscratch\[plots\]"):
        explaining.check_place(tmp_path / "it.png")


def test_classes_that_are_numbers_and_other_bits_are_explained_too(tmp_path):
    clf = classifier(dtype="float32")
    clf.classes_ = np.array([0, 1])
    clf.save(tmp_path / "it.npz")
    found = explaining.explain(tmp_path / "it.npz", TEXT, 1)
    assert found.label == "1" and found.saliency.dtype == np.float64
    np.testing.assert_array_equal(found.saliency, explaining.explain(clf, TEXT, "1").saliency)
