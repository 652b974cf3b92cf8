"""The text classifier: it learns, follows scikit-learn's rules, saves and loads, and names bad input."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from rnnscratch import files, text_classifier
from rnnscratch.estimator import NotFittedError
from rnnscratch.models import LanguageModel, SequenceClassifier, save_model
from rnnscratch.models.saved import FORMAT
from rnnscratch.text import Vocabulary
from rnnscratch.text_classifier import TextClassifier, split
from rnnscratch.training import predict

GOOD, BAD, SO_SO = ["good", "great", "lovely"], ["bad", "awful", "boring"], ["average", "fair", "passable"]
FILLER = ["the", "film", "plot", "actor", "scene", "music", "was", "with", "and"]


def reviews(count, words_of_class, seed=0):
    """Texts in which one word tells the class; labels are the names of the classes."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for k in range(count):
        name, words = list(words_of_class.items())[k % len(words_of_class)]
        text = [str(word) for word in rng.choice(FILLER, rng.integers(2, 7))]
        text.insert(int(rng.integers(0, len(text))), str(rng.choice(words)))
        texts.append(" ".join(text).capitalize() + ".")
        labels.append(name)
    return texts, labels


TWO = {"yes": GOOD, "no": BAD}
THREE = {"good": GOOD, "bad": BAD, "fair": SO_SO}
TEXTS, LABELS = reviews(80, TWO)


def classifier(**options):
    small = {"embedding_dim": 8, "hidden_size": 8, "epochs": 6, "batch_size": 8, "learning_rate": 0.03}
    return TextClassifier(**{**small, "dropout": 0.1, "embedding_dropout": 0.1, "min_count": 1, **options})


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(TEXTS, LABELS)


def test_two_workers_learn_it_too_and_always_the_same():
    first, second = (classifier(workers=2).fit(TEXTS, LABELS) for _ in range(2))
    assert first.score(TEXTS, LABELS) > 0.95
    np.testing.assert_array_equal(first.predict_proba(TEXTS), second.predict_proba(TEXTS))


@pytest.mark.parametrize("words_of_class", [TWO, THREE], ids=len)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_it_learns_which_word_tells(cell, words_of_class):
    clf = classifier(cell=cell).fit(*reviews(150, words_of_class))
    texts, labels = reviews(60, words_of_class, seed=1)
    assert clf.score(texts, labels) > 0.95
    assert clf.classes_.tolist() == sorted(words_of_class)
    assert [row["epoch"] for row in clf.history_.rows] == [1, 2, 3, 4, 5, 6]


def test_probabilities_are_in_the_order_of_classes_and_agree_with_predictions(fitted):
    p = fitted.predict_proba(TEXTS)
    assert p.shape == (80, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert (fitted.predict(TEXTS) == np.where(p[:, 1] > 0.5, "yes", "no")).all()
    assert fitted.predict_proba(["good great lovely"])[0, 1] > 0.9 > 0.1 > fitted.predict_proba(["awful"])[0, 1]
    clf = classifier().fit(*reviews(90, THREE))
    p = clf.predict_proba(["great", "boring", "passable"])
    assert clf.classes_[p.argmax(axis=1)].tolist() == ["good", "bad", "fair"]
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "classes",
    [
        *(np.array([3, 7], kind) for kind in "bhiqBHIQefd"),
        *(np.array([-1, 1]), np.array([False, True]), np.array(["a", "b"]), np.array([1.5, 2.5], np.float32)),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_labels_come_back_as_they_were_given_also_from_a_file(classes, tmp_path):
    labels = classes[[int(label == "yes") for label in LABELS]]
    clf = classifier(epochs=3).fit(TEXTS, labels)
    clf.save(tmp_path / "clf.npz")
    for each in (clf, TextClassifier.load(tmp_path / "clf.npz")):
        np.testing.assert_array_equal(each.classes_, classes)
        assert each.classes_.dtype == each.predict(TEXTS).dtype == classes.dtype
        assert each.score(TEXTS, labels) == each.score(TEXTS, labels.tolist()) > 0.9


@pytest.mark.parametrize(
    ("classes", "other", "error", "message"),
    [
        ([0, 1], ["0", "1"], TypeError, "labels holds '1' and the model's classes 0, expected one kind"),
        (["0", "1"], [0, 1], TypeError, "labels holds 1 and the model's classes '0', expected one kind"),
        ([0, 1], [0, 2], ValueError, r"labels\[\d+\] is 2, expected one of \[0, 1\]"),
        (["no", "yes"], ["No", "yes"], ValueError, r"labels\[\d+\] is 'No', expected one of \['no', 'yes'\]"),
    ],
)
def test_labels_that_are_no_classes_are_refused_by_score_and_equal_ones_compare(classes, other, error, message):
    codes = [int(label == "yes") for label in LABELS]
    clf = classifier(epochs=3).fit(TEXTS, [classes[k] for k in codes])
    assert clf.score(TEXTS, np.array(classes)[codes].astype(object)) > 0.9
    if classes == [0, 1]:
        assert clf.score(TEXTS, np.array(codes, float)) == clf.score(TEXTS, np.array(codes) == 1) > 0.9
    with pytest.raises(error, match=message):
        clf.score(TEXTS, [other[k] for k in codes])


def test_arguments_have_scikit_learns_names_and_their_own(fitted):
    assert fitted.score(X=TEXTS, y=LABELS) == fitted.score(texts=TEXTS, labels=LABELS) == fitted.score(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict(X=TEXTS), fitted.predict(texts=TEXTS))
    np.testing.assert_array_equal(fitted.predict_proba(X=TEXTS), fitted.predict_proba(texts=TEXTS))
    again = classifier(epochs=1).fit(texts=TEXTS, labels=LABELS)
    np.testing.assert_array_equal(
        again.predict_proba(TEXTS), classifier(epochs=1).fit(X=TEXTS, y=LABELS).predict_proba(TEXTS)
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'words'"):
        fitted.predict(words=TEXTS)
    with pytest.raises(TypeError, match="multiple values for argument 'X'|X and texts"):
        fitted.predict(TEXTS, texts=TEXTS)
    with pytest.raises(TypeError, match="X and texts"):
        fitted.predict(X=TEXTS, texts=TEXTS)


@pytest.mark.filterwarnings("ignore:NLTK's stop words are not installed")
@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            ["\U0001f600", "\U0001f621"] * 9,
            {},
            r"16 to train on, 0 have words .* 'default', 0 different ones, .*min_count=1",
        ),
        (["the", "of it"] * 9, {"recipe": "report"}, r"0 have words after cleaning by the recipe 'report'"),
        (["", " <br />"] * 9, {}, r"0 have words"),
        (
            [f"word{k}" for k in range(18)],
            {"min_count": 2},
            "16 have words .* 16 different ones, the most frequent 1 times, of which min_count=2",
        ),
        (["good", "bad"] * 9, {"max_size": 1}, "2 different ones, the most frequent 8 times, .*max_size=1 keep none"),
    ],
)
def test_where_nothing_is_left_to_learn_from_an_error_says_what_was(texts, options, message):
    clf = classifier(**options)
    with pytest.raises(ValueError, match="texts leave no word to learn from: of the .*" + message):
        clf.fit(texts, [0, 1] * 9)
    assert not hasattr(clf, "model_")


def test_a_text_of_nothing_known_is_one_unknown_word(fitted):
    np.testing.assert_array_equal(fitted.predict_proba(["\U0001f600", "zyzzyva", ""]), fitted.predict_proba(["x"] * 3))


def test_texts_may_be_arrays_of_strings_or_of_objects(fitted):
    for kind in (np.array(TEXTS), np.array(TEXTS, dtype=object), tuple(TEXTS)):
        np.testing.assert_array_equal(fitted.predict(kind), fitted.predict(TEXTS))
    again = classifier().fit(np.array(TEXTS, dtype=object), np.array(LABELS, dtype=object))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_the_same_random_state_gives_the_same_bits_and_another_does_not(fitted):
    again, other = classifier().fit(TEXTS, LABELS), classifier(random_state=1).fit(TEXTS, LABELS)
    for name, array in fitted.model_.params.items():
        np.testing.assert_array_equal(again.model_.params[name], array)
    assert (other.model_.params["dense.W"] != fitted.model_.params["dense.W"]).any()


def test_an_empty_text_is_one_unknown_word(fitted):
    unknown = fitted.predict_proba(["zyzzyva"])
    for text in ("", "   ", "<br />", "..."):
        np.testing.assert_array_equal(fitted.predict_proba([text]), unknown)
    classifier(epochs=1).fit(["", *TEXTS], ["no", *LABELS])


def test_only_the_last_words_of_a_long_text_count():
    clf = classifier(max_length=3, epochs=2).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(
        clf.predict_proba(["good good good the film was"]), clf.predict_proba(["bad awful the film was"])
    )


def test_the_vocabulary_is_that_of_the_texts_trained_on():
    clf = classifier(min_count=2, max_size=5, validation_fraction=0.0, epochs=1).fit(TEXTS, LABELS)
    assert len(clf.vocabulary_) == clf.model_.vocabulary_size == 5
    assert "validation_loss" not in clf.history_.rows[0]
    marked = [f"{text} mark{k}" for k, text in enumerate(TEXTS)]
    clf = classifier(validation_fraction=0.25, epochs=1).fit(marked, LABELS)
    assert sum(f"mark{k}" in clf.vocabulary_ for k in range(80)) == 60


def test_the_split_keeps_each_classs_share_and_never_takes_a_whole_class():
    codes = np.array([0] * 40 + [1] * 20 + [2])
    train, validation = split(codes, 0.1, 0)
    assert sorted([*train, *validation]) == list(range(61))
    assert np.bincount(codes[validation], minlength=3).tolist() == [4, 2, 0]
    assert np.bincount(codes[split(codes, 0.99, 0)[0]]).tolist() == [1, 1, 1]
    assert len(split(codes, 0.0, 0)[1]) == 0
    assert not np.array_equal(split(codes, 0.1, 1)[1], validation)


def test_the_constructor_only_stores_and_params_can_be_read_and_set():
    clf = TextClassifier(cell="nonsense", epochs=-3)
    assert clf.get_params()["cell"] == "nonsense" and clf.get_params(deep=False)["epochs"] == -3
    assert clf.set_params(cell="gru", hidden_size=5) is clf
    assert (clf.cell, clf.hidden_size) == ("gru", 5)
    assert set(vars(clf)) == set(clf.get_params())
    assert repr(clf) == "TextClassifier(cell='gru', hidden_size=5, epochs=-3)"
    with pytest.raises(ValueError, match="'depth' is no parameter of TextClassifier, expected one of cell"):
        clf.set_params(hidden_size=9, depth=3)
    assert clf.hidden_size == 5


def test_its_signature_can_be_read_and_old_positions_hold():
    names = list(inspect.signature(TextClassifier).parameters)
    assert names[:8] == [
        "cell",
        "embedding_dim",
        "hidden_size",
        "pooling",
        "dropout",
        "embedding_dropout",
        "recipe",
        "min_count",
    ]
    assert names[8:18] == [
        *("max_size", "max_length", "epochs", "batch_size", "learning_rate", "clip_norm", "validation_fraction"),
        *("device", "random_state", "progress"),
    ]
    assert TextClassifier("gru", 8, 9, "last", 0.1, 0.2).get_params()["embedding_dropout"] == 0.2


def test_it_has_every_option_of_the_model_that_its_texts_do_not_decide():
    ours, models = inspect.signature(TextClassifier).parameters, inspect.signature(SequenceClassifier).parameters
    assert models.keys() - ours.keys() == {"vocabulary_size", "num_classes", "dtype", "seed"}
    shared = [name for name in models if name in ours]
    differing = {name for name in shared if ours[name].default != models[name].default}
    assert differing == {"pooling", "dropout", "embedding_dropout"}


def test_its_options_are_those_of_its_model(tmp_path):
    options = {"num_layers": 2, "bidirectional": True, "word_dropout": 0.1, "recurrent_dropout": 0.2}
    clf = classifier(cell="gru", reset_after=True, epochs=1, **options).fit(TEXTS, LABELS)
    assert options.items() <= clf.model_.config().items() and clf.model_.recurrent.reset_after is True
    clf.save(tmp_path / "clf.npz")
    again = TextClassifier.load(tmp_path / "clf.npz")
    assert again.get_params() == clf.get_params() and again.bidirectional is True
    np.testing.assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        clf.set_params(activation="gelu").fit(TEXTS, LABELS)


class Vectors:
    """What is taken of a `Word2Vec`."""

    def __init__(self, words, vectors):
        self.vocabulary, self.vectors = Vocabulary(["<unk>", *words]), np.array([np.zeros(8), *vectors])


WORDS = ["good", "bad", "unheard"]
VECTORS = [np.full(8, 2.0), np.arange(8.0), np.ones(8)]


@pytest.mark.parametrize("embeddings", [dict(zip(WORDS, VECTORS)), Vectors(WORDS, VECTORS)], ids=["dict", "Word2Vec"])
def test_words_start_with_the_vectors_given_and_others_as_usual(embeddings):
    clf, plain = classifier(embeddings=embeddings, freeze=True, epochs=1), classifier(freeze=True, epochs=1)
    found, usual = (each.fit(TEXTS, LABELS).model_.params["embedding.E"] for each in (clf, plain))
    words = clf.vocabulary_.words
    for k, word in enumerate(words):
        np.testing.assert_array_equal(found[k], VECTORS[WORDS.index(word)] if word in WORDS else usual[k])
    assert {"good", "bad"} <= set(words) and "unheard" not in words
    assert clf.get_params()["embeddings"] is embeddings


class Estimated(Vectors):
    """A Word2Vec is an estimator too, of which scikit-learn's clone would keep the parameters alone."""

    def get_params(self, deep=True):
        return {}


def test_scikit_learn_clones_keep_the_embeddings_and_search_with_them():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    embeddings = Estimated(WORDS, VECTORS)
    clf = classifier(embeddings=embeddings, epochs=1, random_state=np.random.default_rng(0))
    copied = clone(clf)
    assert copied.embeddings is embeddings and copied.get_params().keys() == clf.get_params().keys()
    assert copied.random_state is not clf.random_state and not hasattr(copied, "model_")
    search = GridSearchCV(classifier(embeddings=embeddings, epochs=1), {"freeze": [True, False]}, cv=2)
    search.fit(TEXTS[:20], LABELS[:20])
    found = search.best_estimator_.model_.config()["freeze"]
    assert found is search.best_params_["freeze"]


def test_a_file_holds_what_was_learned_of_embeddings(tmp_path):
    clf = classifier(embeddings={"good": np.ones(8)}, freeze=True, epochs=1).fit(TEXTS, LABELS)
    clf.save(tmp_path / "clf.npz")
    again = TextClassifier.load(tmp_path / "clf.npz")
    assert again.embeddings is None and again.freeze is True
    np.testing.assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("embeddings", "error", "message"),
    [
        (np.ones((3, 8)), TypeError, "embeddings is ndarray, expected a Word2Vec or a dict of vectors by words"),
        (3, TypeError, "embeddings is int, expected a Word2Vec or a dict"),
        ({"good": np.ones(7)}, ValueError, r"embeddings\['good'\] has shape \(7,\), expected \(8,\) as embedding_dim"),
        ({"good": np.full(8, np.nan)}, ValueError, r"embeddings\[0, 0\] is nan, expected a finite number"),
        ({"unheard": np.ones(8)}, ValueError, "embeddings have a vector for none of the"),
        (Vectors(["good"], [np.ones(8), np.ones(8)]), ValueError, r"vectors has shape \(3, 8\), expected \(2, 8\)"),
    ],
)
def test_embeddings_that_do_not_fit_are_named(embeddings, error, message):
    with pytest.raises(error, match=message):
        classifier(embeddings=embeddings).fit(TEXTS, LABELS)


def test_a_file_without_the_options_that_came_later_still_loads(fitted, tmp_path):
    fitted.save(tmp_path / "clf.npz")
    header, arrays = files.load_arrays(tmp_path / "clf.npz", FORMAT)
    for name in ["num_layers", "bidirectional", "word_dropout", "recurrent_dropout", "activation", "reset_after"]:
        del header["extra"]["text_classifier"][name]
    del header["extra"]["classes_dtype"]
    files.save_arrays(tmp_path / "old.npz", header, arrays)
    again = TextClassifier.load(tmp_path / "old.npz")
    assert again.get_params() == fitted.get_params()
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_fit_changes_no_parameter_and_returns_the_classifier():
    clf = classifier(epochs=1)
    before = clf.get_params()
    assert clf.fit(TEXTS, LABELS) is clf and clf.get_params() == before


def test_a_failed_fit_leaves_the_fitted_state(fitted):
    clf = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match="one class"):
        clf.fit(TEXTS, ["yes"] * len(TEXTS))
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_scikit_learn_clones_cross_validates_and_searches_it():
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score

    clf = classifier(epochs=4, cell="gru")
    twin = clone(clf)
    assert twin is not clf and twin.get_params() == clf.get_params() and is_classifier(clf)
    scores = cross_val_score(clf, TEXTS, LABELS, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.8
    search = GridSearchCV(clf, {"learning_rate": [1e-9, 0.03]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_ == {"learning_rate": 0.03} and search.best_score_ > 0.8
    assert search.predict(["a great film", "awful"]).tolist() == ["yes", "no"]


def test_scikit_learn_sees_whether_it_is_fitted(fitted):
    from sklearn.exceptions import NotFittedError as SklearnNotFittedError
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(fitted)
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(classifier())


def test_it_works_without_importing_scikit_learn():
    code = (
        "import sys, rnnscratch as rs; c = rs.TextClassifier(epochs=1, min_count=1);"
        "c.fit(['a b', 'c d'], [0, 1]).predict(['a']);"
        "print([m for m in ('sklearn', 'matplotlib', 'torch', 'nltk') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda clf: pickle.loads(pickle.dumps(clf))])
def test_a_pickled_copy_predicts_the_same_bits(copied, fitted):
    again = copied(fitted)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert again.get_params() == fitted.get_params() and str(again.history_) == str(fitted.history_)


@pytest.mark.parametrize("classes", [np.array(["nö", "日本"]), np.array([3, 7]), np.array([False, True])])
def test_a_saved_classifier_comes_back_to_the_bit(classes, tmp_path):
    labels = classes[[int(label == "yes") for label in LABELS]]
    clf = classifier(epochs=1, cell="gru", max_length=4, max_size=9).fit(TEXTS, labels)
    clf.save(tmp_path / "clf.npz")
    again = TextClassifier.load(tmp_path / "clf.npz")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))
    np.testing.assert_array_equal(again.classes_, classes)
    assert again.predict(TEXTS).dtype == classes.dtype and again.vocabulary_ == clf.vocabulary_
    assert again.get_params() == clf.get_params()


def test_loading_something_else_is_refused_by_name(fitted, tmp_path):
    path = tmp_path / "clf.npz"
    language_model = LanguageModel(len(fitted.vocabulary_), 2, 2, seed=0)
    for model, extra in ((fitted.model_, {}), (language_model, {"text_classifier": {}, "classes": ["no", "yes"]})):
        save_model(path, model, fitted.vocabulary_, extra)
        with pytest.raises(ValueError, match=r"clf\.npz holds a model, but no TextClassifier"):
            TextClassifier.load(path)
    fitted.save(path)
    whole = path.read_bytes()
    header, arrays = files.load_arrays(path, FORMAT)
    for change in (
        {"classes": ["no"]},
        {"classes": [["no"], ["yes"]]},
        {"classes": [None, None]},
        {"text_classifier": {"depth": 3}},
        {"text_classifier": [1]},
        {"classes_dtype": "object"},
        {"classes_dtype": "<U999999999"},
        {"classes_dtype": "int8"},
        {"classes_dtype": 5},
        {"classes": [1, 300], "classes_dtype": "uint8"},
    ):
        changed = json.loads(json.dumps(header))
        changed["extra"].update(change)
        files.save_arrays(path, changed, arrays)
        with pytest.raises(ValueError, match=r"clf\.npz does not fit together"):
            TextClassifier.load(path)
    path.write_bytes(whole[:-50])
    with pytest.raises(ValueError, match=r"clf\.npz"):
        TextClassifier.load(path)


def test_the_logits_are_those_of_the_model_on_the_cleaned_texts(fitted):
    ids = [fitted.vocabulary_.encode(words) for words in (["good", "film"], ["bad"])]
    logits = predict(fitted.model_, ids).astype(float)
    p = fitted.predict_proba(["A GOOD film", "Bad"])
    if "a" in fitted.vocabulary_:
        pytest.fail("the test's first text must hold a word that is unknown and one that is not")
    with_unknown = predict(fitted.model_, [np.array([0, *ids[0]]), ids[1]]).astype(float)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-with_unknown)), rtol=1e-5)
    assert logits[1] == pytest.approx(with_unknown[1], rel=1e-4)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "save"])
def test_before_fit_a_clear_error_says_so(method, tmp_path):
    arguments = {"score": (TEXTS, LABELS), "save": (tmp_path / "x.npz",)}.get(method, (TEXTS,))
    for kind in (NotFittedError, ValueError, AttributeError):
        with pytest.raises(kind, match="not fitted yet: call fit first"):
            getattr(classifier(), method)(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("texts", "labels", "error", "message"),
    [
        ([], [], ValueError, "texts is empty"),
        ("one text", ["yes"], TypeError, "texts is one string, expected a list"),
        (["a", 3], [0, 1], TypeError, r"texts\[1\] is int"),
        (["a", None], [0, 1], TypeError, r"texts\[1\] is NoneType"),
        ([b"a", "b"], [0, 1], TypeError, r"texts\[0\] is bytes"),
        (["a", "b"], [0], ValueError, r"labels has shape \(1,\), expected \(2,\)"),
        (["a", "b"], [[0, 1], [1, 0]], TypeError, r"labels\[0\] is \[0, 1\], expected a string, a number or a boolean"),
        (["a", "b"], 1, TypeError, "labels is 1, expected a list"),
        (["a", "b"], [1, 1], ValueError, r"labels has the one class \[1\], expected at least two"),
        (["a", "b"], [0.0, np.nan], ValueError, r"labels\[1\] is not finite"),
        (["a", "b"], ["yes", None], ValueError, r"labels\[1\] is not finite or missing: None"),
        (["a", "b"], [1j, 2j], TypeError, r"labels\[0\] is 1j, expected a string, a number or a boolean"),
    ],
)
def test_wrong_data_are_named(texts, labels, error, message):
    clf = classifier()
    with pytest.raises(error, match=message):
        clf.fit(texts, labels)
    assert not hasattr(clf, "model_")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "cnn"}, ValueError, "cell is 'cnn'"),
        ({"pooling": "sum"}, ValueError, "pooling is 'sum'"),
        ({"hidden_size": 0}, ValueError, "hidden_size is 0"),
        ({"num_layers": 0}, ValueError, "num_layers is 0"),
        ({"word_dropout": 1.0}, ValueError, "word_dropout is 1.0"),
        ({"workers": 0}, ValueError, "workers is 0, expected at least 1"),
        ({"embedding_dim": 2.0}, TypeError, "embedding_dim is 2.0"),
        ({"dropout": 1.5}, ValueError, "dropout is 1.5"),
        ({"recipe": "soup"}, ValueError, "recipe is 'soup'"),
        ({"min_count": 0}, ValueError, "min_count is 0"),
        ({"max_size": 0}, ValueError, "max_size is 0"),
        ({"max_length": 0}, ValueError, "max_length is 0"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"epochs": "5"}, TypeError, "epochs is '5'"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate is 0.0"),
        ({"clip_norm": -1.0}, ValueError, "clip_norm is -1.0"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction is 1.0"),
        ({"validation_fraction": "a tenth"}, TypeError, "validation_fraction is 'a tenth'"),
        ({"device": "tpu"}, ValueError, "device is 'tpu'"),
        ({"recipe": None}, ValueError, "recipe is None"),
        ({"min_count": None}, TypeError, "min_count is None"),
        ({"max_size": 2.5}, TypeError, "max_size is 2.5"),
        ({"max_length": np.nan}, TypeError, "max_length is nan"),
        ({"max_length": np.inf}, TypeError, "max_length is inf"),
        ({"epochs": None}, TypeError, "epochs is None"),
        ({"epochs": True}, TypeError, "epochs is True"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate is nan"),
        ({"learning_rate": None}, TypeError, "learning_rate is None"),
        ({"learning_rate": -5}, ValueError, "learning_rate is -5"),
        ({"clip_norm": np.inf}, ValueError, "clip_norm is inf"),
        ({"clip_norm": np.nan}, ValueError, "clip_norm is nan"),
        ({"validation_fraction": np.nan}, ValueError, "validation_fraction is nan"),
        ({"validation_fraction": None}, TypeError, "validation_fraction is None"),
        ({"dropout": np.nan}, ValueError, "dropout is nan"),
        ({"bidirectional": "no"}, TypeError, "bidirectional is 'no'"),
        ({"progress": None}, TypeError, "progress is None"),
        ({"random_state": np.nan}, TypeError, "random_state is nan"),
        ({"random_state": -5}, ValueError, "random_state is -5"),
        ({"workers": None}, TypeError, "workers is None"),
    ],
)
def test_wrong_options_are_named_by_fit_before_any_work(options, error, message, monkeypatch):
    monkeypatch.setattr(text_classifier, "clean_texts", None)
    clf = classifier(**options)
    with pytest.raises(error, match=message):
        clf.fit(TEXTS, LABELS)
    assert not hasattr(clf, "model_")


def test_wrong_data_of_predict_and_score_are_named(fitted):
    with pytest.raises(TypeError, match="texts is one string"):
        fitted.predict("good")
    with pytest.raises(ValueError, match="texts is empty"):
        fitted.predict([])
    with pytest.raises(ValueError, match=r"labels has shape \(2,\), expected \(1,\)"):
        fitted.score(["good"], ["yes", "no"])


def test_weights_that_are_no_numbers_give_no_answer(fitted):
    clf = copy.deepcopy(fitted)
    clf.model_.params["recurrent.U_l0"][0, 0] = np.nan
    for call in (clf.predict, clf.predict_proba, lambda texts: clf.score(texts, LABELS)):
        with pytest.raises(FloatingPointError, match="recurrent.U_l0 holds NaN or infinity"):
            call(TEXTS)
