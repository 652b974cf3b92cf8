"""The report's seven steps one by one and together, and what the default recipe keeps of a review."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from importlib import import_module
from zipfile import BadZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.text import clean, clean_texts
from rnnscratch.text.stopwords import ENGLISH

module = import_module("rnnscratch.text.clean")  # the package's attribute of this name is the function
STOP_WORDS = module.stop_words


@pytest.fixture(autouse=True)
def _known_stop_words() -> Iterator[None]:
    """The package's own list, whatever NLTK data the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stop_words", lambda: ENGLISH)
        yield


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u r gr8, thx", "you r great, thanks"),
        ("pls, pls!", "please, please!"),
        ("lulu under pull", "lulu under pull"),
        ("the u.s. and the u.k.", "the u.s. and the u.k."),
        ("it s-u-c-k-e-d in a u-boat", "it s-u-c-k-e-d in a u-boat"),
        ("see it, u.", "see it, you."),
        ("loved it.u must see", "loved it.you must see"),
        ("on tv--really", "on television--really"),
        ("made w/ care, w/o a plot", "made with care, without a plot"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("n/a", "n/a"),
    ],
)
def test_abbreviations_are_expanded_as_whole_words_only(text: str, expected: str) -> None:
    assert module.expand_abbreviations(text) == expected


def test_no_expansion_holds_an_abbreviation_so_expanding_twice_changes_nothing() -> None:
    for full in module.ABBREVIATIONS.values():
        assert module.expand_abbreviations(full) == full


def test_each_step_of_the_report_does_what_it_says() -> None:
    assert module.lowercase("A Great FILM") == "a great film"
    assert module.remove_tags("a<br />b<i>c</i> 1 < 2") == "abc 1 < 2"
    assert module.remove_tags("<a\nb>") == "<a\nb>"  # the report's "." stops at a line's end
    assert module.remove_punctuation("don't, caf\u00e9_8/10\n!") == "dont caf810\n"
    assert module.squeeze_spaces("  a \t b\n\nc ") == "a b c"
    assert module.remove_stop_words("this is not a good film") == "good film"
    assert module.remove_stop_words("") == ""
    assert module.split_words("good film") == ["good", "film"]


def test_report_recipe_is_the_seven_steps_in_their_order() -> None:
    text = "Thx!  This WASN'T good.<br /><br />The plot, u see, isn't; it is 10/10 caf\u00e9."
    # Tags and punctuation join words; "wasnt" and "isnt" are no entries of the list, "this", "the", "it", "is" and
    # the "you" that came from "u" are.
    assert clean(text, "report") == ["thanks", "wasnt", "goodthe", "plot", "see", "isnt", "1010", "caf"]


@given(st.text(alphabet=st.sampled_from("aAuU nN<>/'.!?&;\u2019\u00e9 0189\n\t"), max_size=60))
def test_report_recipe_agrees_with_the_report_s_own_expressions(text: str) -> None:
    expected = module.expand_abbreviations(text.lower())
    expected = re.sub(r"[^a-zA-Z0-9\s]", "", re.sub(r"<.*?>", "", expected)).strip()
    assert clean(text, "report") == [word for word in expected.split() if word not in ENGLISH]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Great.<br /><br />The plot", ["great", "the", "plot"]),
        ("It isn't good, not at all", ["it", "isn't", "good", "not", "at", "all"]),
        ("don\u2019t don\u00b4t don`t", ["don't", "don't", "don't"]),
        ("`quoted' 'words'", ["quoted", "words"]),
        ("Tom &amp; Jerry&#39;s &eacute;clair", ["tom", "jerry's", "\u00e9clair"]),
        ("10/10! 7.5/10? 7,5/10", ["10/10", "!", "7.5/10", "?", "7,5/10"]),
        ("95/100", ["95", "100"]),
        ("good.10/10", ["good", "10/10"]),
        ("na\u00efve \u65e5\u672c snake_case", ["na\u00efve", "\u65e5\u672c", "snake", "case"]),
        ("u know", ["you", "know"]),
        ("1 < 2 > 0", ["1", "2", "0"]),
        ("good \U0001f600 \u2605\u2605", ["good"]),
        ("", []),
        (" <br /> ...", []),
    ],
)
def test_default_recipe_keeps_what_carries_the_verdict(text: str, expected: list[str]) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I <3 this.<br />So much <3", "i 3 this so much 3"),
        ("made < $600 and > $5 a seat<br />", "made 600 and 5 a seat"),
        ("a<b and c>d", "a b and c d"),
        ("x <y, z> w", "x y z w"),
        ("rated <=8.<br />", "rated 8"),
        ("</3 >.< <-- <<", "3"),
        ("one<br/>two<BR>three<br\n/>four</p>five", "one two three four five"),
        ("<a href='x>y' title=\"p>q\" id=z>link</a> out", "link out"),
        ("<input type=checkbox checked/>box <hr noshade>line", "box line"),
        ('<a href="x"target=_blank>link</a>', "link"),
        ("<iframe src='u' allowfullscreen></iframe>so <video controls autoplay>is it", "so is it"),
        ("<script async defer src=x></script>1\ufe0f\u20e3 of <default settings>", "1 of default settings"),
        ("<!-- no <b>word</b> --> of it<!DOCTYPE html>", "of it"),
        ("before <!-- after", "before ! after"),
        ("it was <b>good, they <i said", "it was good they i said"),
        ("see <http://a.b/c?d=e&f> <grin>", "see"),
        ("one&lt;br /&gt;two &lt;3 3 &gt; 2", "one two 3 3 2"),
        ("Tom &amp; Jerry &amp Co&nbsp;Ltd", "tom jerry co ltd"),
        ("good &not bad &copy that", "good not bad copy that"),
        ("&foo; &notit; AT&T; &#233;t&#xe9;", "foo notit at t \u00e9t\u00e9"),
        ("&#" + "9" * 5000 + ";", "9" * 4991),
    ],
)
def test_default_recipe_knows_a_tag_from_a_sign(text: str, expected: str) -> None:
    assert " ".join(clean(text)) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092b\u093c\u093f\u0932\u094d\u092e"],  # Hindi
        ["\u0e40\u0e17\u0e35\u0e48\u0e22\u0e27"],  # Thai
        ["\u0645\u064f\u0645\u0652\u062a\u064e\u0627\u0632", "\u0641\u064a\u0644\u0645"],  # Arabic
        ["\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e6\u05f3\u05e7", "\u05e6\u05d4\u05f4\u05dc"],  # Hebrew
        ["\u0ba4\u0bae\u0bbf\u0bb4\u0bcd"],  # Tamil
        ["\u0645\u06cc\u200c\u0631\u0648\u0645"],  # Persian, with a joiner
        ["\u0915\u094d\u200d\u0937"],  # Hindi, with the other
        ["\u0436\u0438\u0301\u0437\u043d\u044c", "\u043f'\u044f\u0442\u044c"],  # Russian, Ukrainian
        ["n\u0308ame", "\u0967\u0968", "\u0663"],  # a mark without a letter of its own; digits
    ],
)
def test_default_recipe_keeps_the_words_of_every_script_whole(words: list[str]) -> None:
    assert clean(" ".join(words)) == clean(", ".join(words)) == [unicodedata.normalize("NFC", word) for word in words]


def test_one_word_in_two_spellings_is_one_word() -> None:
    assert clean("cafe\u0301 na\u00efve") == clean("caf\u00e9 nai\u0308ve") == ["caf\u00e9", "na\u00efve"]
    assert set(clean("".join(f"don{sign}t " for sign in "'\u2018\u2019\u201b\u02bc\u00b4`\u2032\uff07"))) == {"don't"}
    assert clean("ex\u00adample \ufeffof 1\ufe0f") == ["example", "of", "1"]
    assert clean("u\u0308ber n\u0308") == ["\u00fcber", "n\u0308"]  # no abbreviations


@pytest.mark.parametrize("recipe", ["default", "report"])
def test_time_follows_the_length_of_the_text_whatever_it_holds(recipe: str) -> None:
    clean("warm up \u0301", recipe)
    for unit in ("<", "&", "'", "<a ", "<a b='", '<a "', "<!--", "&#9", "1.", "u.", "e\u0316\u0301", "a\u200d", "\n<"):
        for start in ("", "<a b='", "&#", "e"):
            text = start + unit * (200_000 // len(unit))
            begin = time.process_time()
            clean(text, recipe)
            assert time.process_time() - begin < 1.0, (start, unit)  # it takes a tenth; quadratic, a minute
    marks = "e" + "\u0316\u0301" * 100_000
    begin = time.process_time()
    clean(marks, recipe)
    assert time.process_time() - begin < 1.0


@given(st.text(max_size=80))
def test_default_recipe_gives_lower_case_words_without_white_space(text: str) -> None:
    for word in clean(text):
        assert word and word == word.lower() and not re.search(r"\s", word)


def test_many_texts_are_cleaned_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Good film", "", "A bad film!"]
    assert clean_texts(texts) == [["good", "film"], [], ["a", "bad", "film", "!"]]
    assert clean_texts(iter(texts), "report") == [["good", "film"], [], ["bad", "film"]]
    assert capsys.readouterr().err == ""
    clean_texts(texts, progress=True)
    assert "cleaning" in capsys.readouterr().err


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="recipe is 'raw', expected one of 'default', 'report'"):
        clean("a", "raw")
    with pytest.raises(ValueError, match="recipe is 'raw'"):
        clean_texts([], "raw")
    with pytest.raises(TypeError, match="text is bytes, expected a string"):
        clean(b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="texts is one string"):
        clean_texts("abc")
    with pytest.raises(TypeError, match="progress is 'no', expected True or False"):
        clean_texts(["a"], progress="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"texts\[1\] is NoneType \(None\), expected a string"):
        clean_texts(["a", None])
    with pytest.raises(TypeError, match="texts is dict"):
        clean_texts({"a": "b"})


class _Corpus:
    def __init__(self, outcome: list[str] | Exception):
        self.outcome = outcome

    def words(self, language: str) -> list[str]:
        assert language == "english"
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def _nltk_with(monkeypatch: pytest.MonkeyPatch, outcome: list[str] | Exception) -> None:
    import nltk.corpus

    def refuse(*args: object, **kwargs: object) -> bool:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(nltk.corpus, "stopwords", _Corpus(outcome))
    monkeypatch.setattr("nltk.download", refuse)


@pytest.fixture
def stop_words() -> Iterator[Callable[[], frozenset[str]]]:
    """The function as it is, with nothing remembered before and after."""
    STOP_WORDS.cache_clear()
    yield STOP_WORDS
    STOP_WORDS.cache_clear()


def test_stop_words_are_nltk_s_where_its_data_is_there(
    monkeypatch: pytest.MonkeyPatch, stop_words: Callable[[], frozenset[str]]
) -> None:
    _nltk_with(monkeypatch, ["foo", "bar"])
    assert stop_words() == {"foo", "bar"}


@pytest.mark.parametrize("trouble", [LookupError("no data"), PermissionError("no access"), BadZipFile("half a file")])
def test_without_nltk_s_data_the_own_list_serves_and_one_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, stop_words: Callable[[], frozenset[str]], trouble: Exception
) -> None:
    _nltk_with(monkeypatch, trouble)
    with pytest.warns(UserWarning, match="own English list is used") as caught:
        assert stop_words() == ENGLISH
        assert stop_words() == ENGLISH
    assert len(caught) == 1


def test_own_list_holds_the_function_words_and_no_word_that_judges() -> None:
    assert {"the", "and", "is", "not", "no", "nor", "don't", "isn't", "i"} <= ENGLISH
    assert not {"good", "bad", "film", "great", "never", "wasnt", ""} & ENGLISH
    assert 170 <= len(ENGLISH) <= 250
    assert all(word == word.lower() and " " not in word for word in ENGLISH)


def test_nltk_and_tqdm_are_loaded_only_when_they_are_used() -> None:
    code = (
        "import sys, rnnscratch.text as text; text.clean('a <b>film</b>'); "
        "print([name for name in ('nltk', 'tqdm', 'sklearn', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
