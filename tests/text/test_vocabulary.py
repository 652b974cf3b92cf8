"""Ids in a fixed order, 0 for what is unknown, and files that come back whole or are refused by name."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.text import Vocabulary

TEXTS = [["b", "a", "c", "b"], ["c", "b", "d"], []]
WORDS = st.lists(st.text(min_size=1, max_size=4).filter(lambda word: word != "<unk>"), max_size=20)


def test_words_are_ranked_by_count_and_ties_by_the_alphabet() -> None:
    assert Vocabulary.build(TEXTS).words == ["<unk>", "b", "c", "a", "d"]
    shuffled = [random.Random(seed).sample(text, len(text)) for seed, text in enumerate(reversed(TEXTS))]
    assert Vocabulary.build(shuffled) == Vocabulary.build(TEXTS)


def test_rare_words_and_those_past_the_size_are_left_out() -> None:
    assert Vocabulary.build(TEXTS, min_count=2).words == ["<unk>", "b", "c"]
    assert Vocabulary.build(TEXTS, max_size=4).words == ["<unk>", "b", "c", "a"]
    assert Vocabulary.build(TEXTS, max_size=1).words == ["<unk>"]
    assert Vocabulary.build([]).words == ["<unk>"]


def test_the_mark_for_the_unknown_is_never_a_word_of_a_text() -> None:
    vocabulary = Vocabulary.build([["<unk>", "a", "<unk>"]])
    assert vocabulary.words == ["<unk>", "a"]
    assert "<unk>" not in vocabulary and "a" in vocabulary and "b" not in vocabulary
    assert vocabulary.encode(["<unk>", "b", "a"]).tolist() == [0, 0, 1]


def test_encoding_gives_integers_also_for_no_words() -> None:
    vocabulary = Vocabulary.build(TEXTS)
    ids = vocabulary.encode_all([["c", "film", "b"], []])
    assert [array.tolist() for array in ids] == [[2, 0, 1], []]
    assert [array.dtype for array in ids] == [np.int64, np.int64]
    assert vocabulary["c"] == 2 and vocabulary["film"] == 0 and len(vocabulary) == 5


@given(st.lists(WORDS, max_size=6))
def test_decoding_gives_back_what_was_encoded(texts: list[list[str]]) -> None:
    vocabulary = Vocabulary.build(texts)
    for text in texts:
        assert vocabulary.decode(vocabulary.encode(text)) == text
        assert Vocabulary(["<unk>"]).decode(Vocabulary(["<unk>"]).encode(text)) == ["<unk>"] * len(text)


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_id_outside_the_vocabulary_is_named(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"ids\[1\] is {bad}, expected 0 to 4"):
        Vocabulary.build(TEXTS).decode(np.array([0, bad]))


def test_wrong_arguments_are_refused() -> None:
    vocabulary = Vocabulary.build(TEXTS)
    with pytest.raises(TypeError, match="ids has dtype float64, expected integers"):
        vocabulary.decode([1.0])
    with pytest.raises(TypeError, match="words is one string"):
        vocabulary.encode("abc")
    with pytest.raises(TypeError, match=r"texts\[0\] is one string"):
        vocabulary.encode_all(["abc"])
    with pytest.raises(TypeError, match=r"texts\[0\] is one string"):
        Vocabulary.build(["abc"])
    with pytest.raises(ValueError, match="min_count is 0, expected at least 1"):
        Vocabulary.build(TEXTS, min_count=0)
    with pytest.raises(ValueError, match="max_size is 0, expected at least 1"):
        Vocabulary.build(TEXTS, max_size=0)
    for words in ([], ["a"], ["a", "<unk>"]):
        with pytest.raises(ValueError, match="expected '<unk>'"):
            Vocabulary(words)
    with pytest.raises(ValueError, match="words holds 'a' twice"):
        Vocabulary(["<unk>", "a", "a"])
    with pytest.raises(ValueError, match=r"words\[1\] is int \(3\), expected a string"):
        Vocabulary(["<unk>", 3])
    for wrong, words in (
        ({"a": 1}, "words is dict"),
        (["a", None], r"words\[1\] is NoneType"),
        ([b"a"], r"words\[0\]"),
    ):
        with pytest.raises(TypeError, match=words):
            vocabulary.encode(wrong)
    for options in ({"min_count": "2"}, {"max_size": 2.5}, {"min_count": True}, {"max_size": float("nan")}):
        with pytest.raises(TypeError, match=f"{next(iter(options))} is .*, expected a whole number"):
            Vocabulary.build(TEXTS, **options)  # type: ignore[arg-type]


def test_words_and_ids_come_from_any_container() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    vocabulary = Vocabulary.build(TEXTS)
    words = ["c", "film", "b"]
    for container in (
        tuple(words),
        iter(words),
        np.array(words),
        np.array(words, object),
        pandas.Series(words, index=[2, 1, 0]),
        pandas.DataFrame({"word": words}),
        pandas.Index(words),
        [np.str_(word) for word in words],
    ):
        assert vocabulary.encode(container).tolist() == [2, 0, 1]
    assert Vocabulary.build(pandas.Series(TEXTS, index=[9, 9, 1])) == vocabulary
    assert Vocabulary.build(map(np.array, TEXTS[:2])) == Vocabulary.build(text for text in TEXTS)
    assert [ids.tolist() for ids in vocabulary.encode_all(pandas.Series(TEXTS, index=[3, 2, 1]))][1] == [2, 1, 4]
    assert {type(word) for word in Vocabulary.build([[np.str_("x")]]).words} == {str}
    for ids in ([2, 1], iter([2, 1]), torch.tensor([2, 1]), pandas.Series([2, 1], index=[1, 0]), np.uint8([2, 1])):
        assert vocabulary.decode(ids) == ["c", "b"]


@given(WORDS)
def test_a_file_holds_every_word_whatever_its_letters(words: list[str]) -> None:
    vocabulary = Vocabulary.build([words])
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(Path(folder) / "new" / "words.json")
        assert Vocabulary.load(Path(folder) / "new" / "words.json") == vocabulary


def test_every_truncated_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    Vocabulary.build([["na\u00efve", "\u65e5\u672c"]]).save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"words\.json is not a vocabulary of this library, or damaged"):
            Vocabulary.load(path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "3",
        '{"words": ["<unk>"]}',
        '{"format": "rnnscratch vocabulary 1"}',
        '{"format": "rnnscratch vocabulary 1", "words": 3}',
        '{"format": "rnnscratch vocabulary 1", "words": ["a"]}',
        '{"format": "rnnscratch vocabulary 1", "words": ["<unk>", []]}',
        '{"format": "rnnscratch vocabulary 9", "words": ["<unk>"]}',
        "[" * 100_000,
        "\x00\x01",
    ],
)
def test_a_foreign_file_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"words\.json is not a vocabulary"):
        Vocabulary.load(path)


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"words\.json"):
        Vocabulary.load(tmp_path / "words.json")


def test_a_failing_save_leaves_the_older_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "words.json"
    Vocabulary.build(TEXTS).save(path)

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        Vocabulary.build([["x"]]).save(path)
    assert Vocabulary.load(path) == Vocabulary.build(TEXTS)
    assert [file.name for file in tmp_path.iterdir()] == ["words.json"]
