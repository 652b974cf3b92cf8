"""Texts to ids at once are the ids of the cleaned words, whatever the texts hold and however often they come."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.text import Vocabulary, clean_texts, encoder
from rnnscratch.text.clean import ABBREVIATIONS, RECIPES
from rnnscratch.text.stopwords import ENGLISH

SIGNS = "aBuvé\u0301\u0130\u03a3 \n\t\u2028\xa0\x1f<>/&;#'\u2019`.,:!?()*\"-_10\xad\ufeff\u200d\u05f3"
PARTS = [
    *ABBREVIATIONS,
    "good",
    "film",
    "<br />",
    "<!--",
    "-->",
    "&amp;",
    "7.5/10",
    "u.s.",
    "rock 'n' roll",
    "the",
    *SIGNS,
]


@pytest.fixture(autouse=True, scope="module")
def known_stop_words():
    """The package's own list, whatever NLTK data the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("rnnscratch.text.clean"), "stop_words", lambda: ENGLISH)
        yield


def same(texts, recipe):
    words = clean_texts(texts, recipe)
    vocabulary = Vocabulary.build(words, min_count=2)
    encode = encoder.Encoder(vocabulary, recipe)
    wanted = vocabulary.encode_all(words)
    for found in (encode(texts), encode(texts)):  # anew, and remembered
        assert [ids.dtype for ids in found] == [np.int64] * len(texts)
        assert [ids.tolist() for ids in found] == [ids.tolist() for ids in wanted]


@pytest.mark.parametrize("recipe", RECIPES)
@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), min_size=1, max_size=6))
def test_ids_are_those_of_the_cleaned_words(recipe, texts):
    same(texts, recipe)


@pytest.mark.parametrize("recipe", RECIPES)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_so_they_are_for_any_text(recipe, texts):
    same(texts, recipe)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(encoder, "MOST", 10)
    texts = [f"word{k} word{k % 7} {'x' * 50}{k}" for k in range(100)]
    vocabulary = Vocabulary.build(clean_texts(texts))
    encode = encoder.Encoder(vocabulary, "default")
    for text, ids in zip(texts, vocabulary.encode_all(clean_texts(texts))):
        np.testing.assert_array_equal(encode([text])[0], ids)
        assert 0 < len(encode._pieces) <= 10
        assert max(map(len, encode._pieces)) <= encoder.LONGEST


def test_another_recipe_is_refused():
    with pytest.raises(ValueError, match="recipe is 'raw', expected one of 'default', 'report'"):
        encoder.Encoder(Vocabulary(["<unk>"]), "raw")
