"""Word vectors: what is learned, files of word2vec, a killed training, and texts that are hardly any."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from functools import partial

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import word2vec
from rnnscratch.estimator import NotFittedError
from rnnscratch.training import NonFiniteLoss

MODES = [(model, objective) for model in ("skipgram", "cbow") for objective in ("negative", "hierarchical")]
TOPICS = [["sea", "ship", "wave", "sail"], ["snow", "ski", "ice", "cold"], ["bread", "salt", "oven", "cook"]]


def text(count=150, seed=0):
    """Sentences of one topic each, with words that all topics have."""
    rng = np.random.default_rng(seed)
    return [
        [str(rng.choice(TOPICS[topic] if rng.random() < 0.7 else ["the", "and", "of"])) for _ in range(8)]
        for topic in rng.integers(0, 3, count)
    ]


def make(model="skipgram", objective="negative", **options):
    defaults = {"vector_size": 12, "window": 3, "min_count": 1, "sample": 0, "epochs": 3}
    return rs.Word2Vec(model=model, objective=objective, **{**defaults, **options})


@pytest.fixture(scope="module")
def fitted():
    return make().fit(text())


@pytest.mark.parametrize(("model", "objective"), MODES)
def test_words_of_one_topic_become_neighbours_and_the_loss_falls(model, objective):
    wv = make(model, objective, epochs=30).fit(text())
    for topic in TOPICS:
        for word in topic:
            assert {near for near, _ in wv.most_similar(word, topn=3)} == set(topic) - {word}
    losses = wv.history_["loss"]
    assert losses[-1] < 0.85 * losses[0]
    assert wv.vectors.shape == (16, 12) and wv.vectors.dtype == np.float32 and not wv.vectors[0].any()
    assert len(wv.history_) == 30 and min(wv.history_["words_per_second"]) > 0


@pytest.mark.parametrize(("model", "objective"), MODES)
def test_the_same_seed_gives_the_same_bits_and_another_other_vectors(model, objective):
    first, again, other = (make(model, objective, seed=seed, epochs=2).fit(text(100)).vectors for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("model", "objective"), MODES)
def test_an_update_is_a_step_down_the_gradient_of_every_row_that_it_touches(model, objective, monkeypatch):
    """Against a dense gradient by central differences of the loss, in double precision."""
    wv = make(model, objective, vector_size=4, window=2)
    vocabulary, corpus, counts = wv._read(text(6))
    learner = word2vec.Learner(wv, corpus, counts, np.random.default_rng(0))
    learner.params = {
        name: np.random.default_rng(1).standard_normal(array.shape) for name, array in learner.params.items()
    }
    stretch = next(learner.stretches()[0])
    stretch = stretch._replace(near=stretch.near.astype(float))
    before, state = {name: array.copy() for name, array in learner.params.items()}, learner.rng.bit_generator.state

    def loss(params):
        learner.params = {name: array.copy() for name, array in params.items()}
        learner.rng.bit_generator.state = state
        return learner.update(stretch, 0.0, True)

    gradients = {}
    for name, array in before.items():
        gradients[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = array.copy()
                moved[index] += step
                sides.append(loss({**before, name: moved}))
            gradients[name][index] = (sides[0] - sides[1]) / 2e-5
    loss(before)
    learner.rng.bit_generator.state = state
    learner.update(stretch, 0.1, False)
    gradients["E"] *= learner.pace
    if objective == "hierarchical":
        assert (np.diff(learner.ease[: len(vocabulary) - 2]) >= 0).all()  # the root is the heaviest
        gradients["out"] *= learner.ease[:, None]
    for name, gradient in gradients.items():
        np.testing.assert_allclose(learner.params[name], before[name] - 0.1 * gradient, atol=1e-7)


@pytest.mark.parametrize("most", [1, 3, 20, 5000])
def test_rows_are_added_to_the_bits_of_the_one_by_one_sum(most):
    rng = np.random.default_rng(most)
    table, ids = rng.standard_normal((5000, 6)).astype(np.float32), rng.integers(0, most, 900)
    rows = rng.standard_normal((900, 6)).astype(np.float32)
    expected = table.copy()
    np.add.at(expected, ids, rows)
    word2vec.add_rows(table, ids, rows)
    assert np.array_equal(table, expected)
    word2vec.add_rows(table, ids[:0], rows[:0])
    assert np.array_equal(table, expected)


def test_windows_stay_within_sentences_and_their_width_is_drawn():
    wv = make(window=3)
    vocabulary, corpus, counts = wv._read(text(50))
    learner = word2vec.Learner(wv, corpus, counts, np.random.default_rng(0))
    stretches, count = learner.stretches()
    size, found, widths = learner.N * learner.C, Counter(), Counter()
    for k, stretch in zip(range(count), stretches):
        for n, c, q in np.argwhere(stretch.near):
            at, other = k * size + n * learner.C + c, k * size + n * learner.C + q - 3
            assert stretch.targets[n, c] == corpus.ids[at] and stretch.words[n, q] == corpus.ids[other]
            assert corpus.sentence[at] == corpus.sentence[other] and 0 < abs(at - other) <= 3
            found[at, other] += 1
        for n, c in np.ndindex(stretch.targets.shape):
            at = k * size + n * learner.C + c
            if at < 400 and at % 8 in (3, 4):  # the sentence goes on for three words on both sides
                widths[int(stretch.near[n, c].sum()) // 2] += 1
    assert set(found.values()) == {1}
    assert set(widths) == {1, 2, 3} and min(widths.values()) > 10
    assert {(at, at + 1) for at in range(399) if at % 8 != 7} <= set(found)  # each word has its neighbours


def test_frequent_words_are_left_out_as_often_as_the_formula_says():
    wv = make(sample=0.01)
    vocabulary, corpus, counts = wv._read(text(1000))
    learner = word2vec.Learner(wv, corpus, counts, np.random.default_rng(0))
    kept = sum(np.bincount(s.targets[s.near.any(2)], minlength=16) for s in learner.stretches()[0])
    share = counts / counts.sum()
    right = np.minimum(1, np.sqrt(0.01 / share[1:]) + 0.01 / share[1:])
    assert (right < 0.7).all()
    np.testing.assert_allclose(kept[1:] / counts[1:], right, rtol=0.15)


def test_rare_words_and_words_beyond_the_largest_vocabulary_are_left_out():
    wv = make(min_count=2).fit([["a", "b", "a", "b", "c"], ["a", "b", "d", "d"]])
    assert wv.vocabulary.words == ["<unk>", "a", "b", "d"]
    assert make(max_size=3).fit([["a", "b", "a", "b", "c"], ["<unk>", "a"]]).vocabulary.words == ["<unk>", "a", "b"]


@pytest.mark.parametrize(
    "sentences",
    [
        lambda rows: (row for row in rows),
        lambda rows: tuple(map(tuple, rows)),
        lambda rows: [np.array(row) for row in rows],
        lambda rows: np.array([" ".join(row) for row in rows], dtype=object),
    ],
    ids=["generator", "tuples", "arrays", "texts"],
)
def test_sentences_come_as_whatever_can_be_gone_through_in_order(sentences):
    given = sentences(text(30))
    if isinstance(given, np.ndarray):
        with pytest.raises(TypeError, match=r"sentences\[0\] is one string, expected a list"):
            make().fit(given)
    else:
        assert np.array_equal(make(epochs=1).fit(given).vectors, make(epochs=1).fit(text(30)).vectors)


@pytest.mark.parametrize(
    ("sentences", "kept"),
    [
        ([], 0),
        ([[]], 0),
        ([["a"]], 1),
        ([["a"] * 50], 1),
        ([["a"], ["b"]], 2),
        ([["a", "x"], ["b"]], 3),
    ],
    ids=["empty", "empty sentence", "one word", "one word repeated", "two words apart", "rare word"],
)
def test_a_text_with_nothing_to_learn_from_is_named(sentences, kept):
    wv = make(min_count=1)
    if kept == 3:
        sentences, kept, wv = sentences * 1 + [["a"], ["b"]], 2, make(min_count=2)
    with pytest.raises(ValueError, match=f"sentences leave nothing to learn from: .* keep {kept} different ones"):
        wv.fit(sentences)
    assert not hasattr(wv, "vectors")


@pytest.mark.parametrize(("model", "objective"), MODES)
@pytest.mark.parametrize("sample", [0, 1e-3])
def test_two_words_are_enough(model, objective, sample):
    wv = make(model, objective, sample=sample).fit([["a", "b"]] * 20)
    assert np.isfinite(wv.vectors).all() and wv.most_similar("a")[0][0] == "b"
    assert wv.analogy("a", "b", "a") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_size": 0}, "vector_size is 0, expected at least 1"),
        ({"window": 2.5}, "window is 2.5, expected a whole number"),
        ({"model": "glove"}, "model is 'glove', expected one of 'skipgram', 'cbow'"),
        ({"objective": "softmax"}, "objective is 'softmax', expected one of 'negative', 'hierarchical'"),
        ({"sample": -1}, "sample is -1, expected a number of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ({"max_size": 1}, "max_size is 1, expected at least 2"),
        ({"seed": -1}, "seed is -1, expected a whole number"),
        ({"progress": "yes"}, "progress is 'yes', expected True or False"),
    ],
)
def test_wrong_options_are_named_before_any_work(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**options).fit(text(3))


def test_words_that_are_no_strings_are_named():
    with pytest.raises(TypeError, match=r"sentences\[1\]\[2\] is int"):
        make().fit([["a", "b"], ["a", "b", 3]])
    with pytest.raises(TypeError, match="sentences is one string, expected a list"):
        make().fit("a b c")


def test_a_training_that_bursts_is_an_error_and_leaves_the_object_as_it_was(fitted, monkeypatch):
    before = fitted.vectors.copy()
    monkeypatch.setattr(word2vec, "OFTEN", {"skipgram": 1e9, "cbow": 1e9})
    fitted.set_params(learning_rate=1e6)
    try:
        with pytest.raises(NonFiniteLoss, match="epoch 1, stretch .*a smaller learning rate"):
            fitted.fit(text())
    finally:
        fitted.set_params(learning_rate=0.025)
    assert np.array_equal(fitted.vectors, before)


@pytest.mark.parametrize(("model", "objective"), MODES)
@pytest.mark.parametrize("rate", [0.025, 0.1, 10.0])
def test_few_words_in_every_stretch_do_not_make_it_burst(model, objective, rate):
    rng = np.random.default_rng(0)
    many = [[f"w{word}" for word in np.minimum(rng.zipf(1.3, 20), 50)] for _ in range(60)]
    one = [["a"] * 50] * 60 + [["b", "a", "c"]] * 3
    for sentences in (many, one):
        wv = make(model, objective, learning_rate=rate).fit(sentences)
        assert max(wv.history_["loss"]) < 5 and np.abs(wv.vectors).max() < 10


@pytest.mark.parametrize(("model", "objective"), MODES)
def test_a_text_of_one_word_over_and_over_amid_others_does_no_harm(model, objective, monkeypatch):
    """As in one review of aclImdb. Without shorter steps vectors of that stretch become tens of times as long."""
    losses, update = [], word2vec.Learner.update

    def watched(learner, stretch, rate, loss):
        losses.append(update(learner, stretch, rate, True) / max(learner.predictions(stretch), 1))
        return losses[-1] * learner.predictions(stretch) if loss else None

    monkeypatch.setattr(word2vec.Learner, "update", watched)
    rng = np.random.default_rng(0)
    p = 1 / np.arange(10, 3010)
    words = [f"w{k}" for k in rng.choice(3000, 60_000, p=p / p.sum())]
    texts = [words[k : k + 200] for k in range(0, 60_000, 200)]
    options = {"sample": 0, "min_count": 1, "epochs": 2, "vector_size": 64, "window": 5}
    longest = []
    for spam in ([], [["spam"] * 400]):
        wv = make(model, objective, **options).fit([*texts[:250], *spam, *texts[250:]])
        longest.append(max(np.linalg.norm(wv[word]) for word in wv.vocabulary.words[1:] if word != "spam"))
    assert longest[1] < 1.5 * longest[0] and max(losses) < 8


def test_vectors_similarities_and_analogies_are_what_they_say(fitted):
    a, b, c = (fitted[word].astype(float) for word in ("sea", "ship", "snow"))
    assert np.array_equal(fitted[["sea", "ship"]], fitted.vectors[fitted.vocabulary.encode(["sea", "ship"])])
    assert fitted.similarity("sea", "ship") == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))
    unit = [v / np.linalg.norm(v) for v in (a, b, c)]
    rows = fitted.vectors[1:] / np.linalg.norm(fitted.vectors[1:], axis=1, keepdims=True)
    wanted = unit[1] - unit[0] + unit[2]
    cosine = dict(zip(fitted.vocabulary.words[1:], rows @ wanted / np.linalg.norm(wanted)))
    found = fitted.analogy("sea", "ship", "snow", topn=50)
    assert [word for word, _ in found] == sorted(
        cosine.keys() - {"sea", "ship", "snow"}, key=lambda word: -cosine[word]
    )
    np.testing.assert_allclose([value for _, value in found], [cosine[word] for word, _ in found], rtol=1e-5)
    assert [word for word, _ in fitted.most_similar(fitted["sea"], topn=1)] == ["sea"]
    assert len(fitted.most_similar("sea", topn=99)) == 14
    assert "sea" in fitted and "<unk>" not in fitted and "moon" not in fitted


def test_what_is_asked_wrongly_is_named(fitted):
    with pytest.raises(KeyError, match="'moon' is not among the 15 known words"):
        fitted["moon"]
    with pytest.raises(KeyError, match="moon"):
        fitted.similarity("sea", "moon")
    with pytest.raises(ValueError, match=r"word has shape \(3,\), expected \(12,\)"):
        fitted.most_similar([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="word is 3, expected a string"):
        fitted[[3]]
    with pytest.raises(ValueError, match="topn is 0"):
        fitted.most_similar("sea", topn=0)
    for ask in (lambda wv: wv["sea"], lambda wv: wv.most_similar("sea"), lambda wv: wv.save("x"), lambda wv: "a" in wv):
        with pytest.raises(NotFittedError, match="Word2Vec is not fitted yet"):
            ask(rs.Word2Vec())


def test_the_options_are_stored_as_they_are_and_shown():
    wv = rs.Word2Vec(window=2, model="cbow")
    assert repr(wv) == "Word2Vec(window=2, model='cbow')"
    assert wv.get_params()["sample"] == 1e-3 and wv.set_params(epochs=9).epochs == 9


def test_a_saved_model_comes_back_to_the_same_bits(fitted, tmp_path):
    fitted.save(tmp_path / "words.npz")
    again = rs.Word2Vec.load(tmp_path / "words.npz")
    assert np.array_equal(again.vectors, fitted.vectors)
    assert again.vocabulary == fitted.vocabulary and again.get_params() == fitted.get_params()
    (tmp_path / "words.npz").write_bytes((tmp_path / "words.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"words\.npz"):
        rs.Word2Vec.load(tmp_path / "words.npz")


TEXT = b"3 2\nder 0.5 -1.25\n\xc3\xbcber 1e-05 2.0\nn\xc2\xa0a 0.0 3.0\n"
NUMBERS = [[0.5, -1.25], [1e-5, 2.0], [0.0, 3.0]]
WORDS = ["der", "über", "n\u00a0a"]


def binary(end):
    packed = [struct.pack("<2f", *row) for row in NUMBERS]
    return b"3 2\n" + b"".join(word.encode() + b" " + row + end for word, row in zip(WORDS, packed))


@pytest.mark.parametrize("content", [TEXT, binary(b""), binary(b"\n")], ids=["text", "gensim's binary", "word2vec's"])
def test_files_of_word2vec_and_gensim_are_read_and_written_again(content, tmp_path):
    path, is_text = tmp_path / "vectors", content is TEXT
    path.write_bytes(content)
    wv = rs.Word2Vec.load_word2vec_format(path, binary=not is_text)
    assert wv.vocabulary.words == ["<unk>", *WORDS] and wv.vector_size == 2
    assert np.array_equal(wv.vectors, np.array([[0, 0], *NUMBERS], np.float32))
    wv.save_word2vec_format(tmp_path / "again", binary=not is_text)
    again = rs.Word2Vec.load_word2vec_format(tmp_path / "again", binary=not is_text)
    assert np.array_equal(again.vectors, wv.vectors) and again.vocabulary == wv.vocabulary
    if not is_text:
        assert (tmp_path / "again").read_bytes() == binary(b"")


def test_a_vector_of_the_unknown_word_becomes_row_0(tmp_path):
    (tmp_path / "vectors").write_bytes(b"2 1\na 1\n<unk> 7\n")
    assert rs.Word2Vec.load_word2vec_format(tmp_path / "vectors").vectors.tolist() == [[7.0], [1.0]]


@pytest.mark.parametrize(
    ("content", "is_binary", "message"),
    [
        (b"", False, "its first line is"),
        (b"a b c\n", False, "its first line is"),
        (b"2 3\na 1 2 3\nb 1 2\n", False, "it says 2 words|line 3 has 2 numbers, expected 3"),
        (b"1 2\na 1 x\n", False, "could not convert"),
        (b"1 2\na 1 nan\n", False, "nan, expected a finite number"),
        (b"2 1\na 1\na 2\n", False, "holds 'a' twice"),
        (b"1 2\n\xff 1 2\n", False, "decode"),
        (b"99999999 300\na 1\n", False, "it says 99999999 words"),
        (b"99999999 300\na 1\n", True, "it says 99999999 words"),
        (b"0 3\n", False, "it says 0 words"),
        (b"2 1\na 1234b 123", True, "it ends within word 2 of 2|it says 2 words"),
    ],
)
def test_files_that_are_none_or_damaged_are_named(content, is_binary, message, tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"vectors\.bin.*({message})"):
        rs.Word2Vec.load_word2vec_format(path, binary=is_binary)


@pytest.mark.parametrize("word", ["two words", "a\nb", "", "\ud800"])
def test_a_word_that_the_file_cannot_hold_is_named_and_an_older_file_stays(word, tmp_path):
    wv = make(epochs=1).fit([["a", word]] * 5)
    path = tmp_path / "vectors"
    path.write_text("old")
    with pytest.raises(ValueError, match="cannot stand in a file of word2vec"):
        wv.save_word2vec_format(path)
    assert path.read_text() == "old"
    wv.save(tmp_path / "own.npz")  # which can
    assert rs.Word2Vec.load(tmp_path / "own.npz").vocabulary == wv.vocabulary


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_ours_and_we_read_gensims(binary, fitted, tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim comes with the bench extra, as independent reader")
    fitted.save_word2vec_format(tmp_path / "ours", binary)
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert theirs.index_to_key == fitted.vocabulary.words[1:]
    assert np.array_equal(theirs.vectors, fitted.vectors[1:])
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    again = rs.Word2Vec.load_word2vec_format(tmp_path / "theirs", binary)
    assert np.array_equal(again.vectors, fitted.vectors) and again.vocabulary == fitted.vocabulary


class Stop(Exception):
    """A training that is killed."""


def stop_after(monkeypatch, updates, error):
    old, count = word2vec.Learner.update, [0]

    def update(*args):
        count[0] += 1
        if count[0] > updates:
            raise error
        return old(*args)

    monkeypatch.setattr(word2vec.Learner, "update", update)


@pytest.mark.parametrize(("model", "objective"), MODES)
@pytest.mark.parametrize("updates", [1, 15])
def test_a_killed_training_goes_on_to_the_same_bits(model, objective, updates, tmp_path, monkeypatch):
    straight = make(model, objective, epochs=3, sample=0.05).fit(text())
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patched:
        stop_after(patched, updates, Stop())
        with pytest.raises(Stop):
            make(model, objective, epochs=3, sample=0.05).fit(text(), checkpoint=path)
    resumed = make(model, objective, epochs=3, sample=0.05).fit(text(), checkpoint=path, resume=True)
    assert np.array_equal(resumed.vectors, straight.vectors)
    assert resumed.history_["loss"] == straight.history_["loss"]
    assert np.array_equal(
        make(model, objective, epochs=3, sample=0.05).fit(text(), checkpoint=path, resume=True).vectors,
        straight.vectors,
    )


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    stop_after(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(
        KeyboardInterrupt, match="interrupted after 0 of 3 epochs; .*run.npz holds 0, from which resume"
    ):
        make().fit(text(), checkpoint=tmp_path / "run.npz")
    with pytest.raises(KeyboardInterrupt) as caught:
        make().fit(text())
    assert str(caught.value) == "interrupted after 0 of 3 epochs"


@pytest.mark.parametrize(
    ("options", "sentences"),
    [({"window": 2}, text()), ({"seed": 1}, text()), ({"epochs": 7}, text()), ({}, text(seed=3)), ({}, text(149))],
    ids=["window", "seed", "epochs", "text", "shorter text"],
)
def test_the_checkpoint_of_another_training_is_refused(options, sentences, tmp_path):
    path = tmp_path / "run.npz"
    make().fit(text(), checkpoint=path)
    written = path.read_bytes()
    with pytest.raises(ValueError, match=r"run\.npz is the checkpoint of another run"):
        make(**options).fit(sentences, checkpoint=path)
    assert path.read_bytes() == written


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    straight = make().fit(text())
    with monkeypatch.context() as patched:
        real, count = word2vec.Run.save, [0]

        def save(self, place):
            count[0] += 1
            if count[0] > 2:
                patched.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            real(self, place)

        patched.setattr(word2vec.Run, "save", save)
        with pytest.raises(OSError, match=r"full: .*run\.npz"):
            make().fit(text(), checkpoint=path)
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]
    assert np.array_equal(make().fit(text(), checkpoint=path, resume=True).vectors, straight.vectors)


def test_resume_needs_a_checkpoint():
    with pytest.raises(ValueError, match="resume is True, expected the path of a checkpoint"):
        make().fit(text(2), resume=True)


def test_progress_shows_words_and_loss(capsys, monkeypatch):
    monkeypatch.setattr(word2vec, "progress_bar", partial(word2vec.progress_bar, mininterval=0))
    make(progress=True, epochs=1).fit(text(50))
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown and "words/s" in shown and "loss" in shown


def test_a_bar_is_drawn_as_often_as_tqdm_wants_not_for_each_stretch(capsys, monkeypatch):
    slow = partial(word2vec.progress_bar, mininterval=1000)
    monkeypatch.setattr(word2vec, "progress_bar", slow)
    make(progress=True, epochs=1).fit(text(3000))
    assert 1 <= capsys.readouterr().err.count("epoch 1/1") <= 2
