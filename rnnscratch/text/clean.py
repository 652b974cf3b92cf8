"""From a review to its words: the report's seven cleaning steps exactly (4.2.2), and a default that keeps what they
lose.

The report's recipe deletes tags and punctuation, which joins words ("great.<br />The" becomes "greatthe"), its stop
words hold "not" and "no", its `<.*?>` takes all from a sign such as "<3" to the next tag, and it knows the English
alphabet alone. The default recipe puts a space instead, keeps negations, "don't" in one piece, tells tags from signs,
and reads every script. Both take time in proportion to the text's length, whatever it holds.
"""

from __future__ import annotations

import html
import re
import unicodedata
import warnings
from functools import cache
from html.entities import html5
from typing import Any
from zipfile import BadZipFile

from ..checks import as_strings, check_choice, check_flags
from ..progress import progress_bar
from .stopwords import ENGLISH

RECIPES = ("default", "report")

ABBREVIATIONS = {
    "abt": "about",
    "aint": "am not",
    "asap": "as soon as possible",
    "b4": "before",
    "bcoz": "because",
    "btw": "by the way",
    "cant": "can not",
    "cuz": "because",
    "dept": "department",
    "dont": "do not",
    "etc": "et cetera",
    "fave": "favorite",
    "fav": "favorite",
    "fyi": "for your information",
    "gonna": "going to",
    "gotta": "got to",
    "gr8": "great",
    "idk": "i do not know",
    "imho": "in my humble opinion",
    "imo": "in my opinion",
    "info": "information",
    "kinda": "kind of",
    "l8r": "later",
    "lol": "laughing out loud",
    "luv": "love",
    "msg": "message",
    "n": "and",
    "omg": "oh my god",
    "ppl": "people",
    "pls": "please",
    "plz": "please",
    "prob": "probably",
    "rly": "really",
    "sfx": "special effects",
    "sorta": "sort of",
    "thru": "through",
    "thx": "thanks",
    "tho": "though",
    "til": "until",
    "tmrw": "tomorrow",
    "tv": "television",
    "u": "you",
    "ur": "your",
    "vs": "versus",
    "w/": "with",
    "w/o": "without",
    "wanna": "want to",
    "wtf": "what the fuck",
    "yr": "year",
    "yrs": "years",
}


def _abbreviation(marks: str = "") -> re.Pattern[str]:
    """A whole word, which neither these marks go on, and no part of "u.s.", "s-u-c-k" or "u-boat"."""
    listed = "|".join(map(re.escape, sorted(ABBREVIATIONS, key=len, reverse=True)))
    return re.compile(rf"(?<![\w{marks}'])(?<!\w-)(?<!\b\w\.)(?:{listed})(?![\w{marks}'/]|-\w|\.\w\b)")


_ABBREVIATION = _abbreviation()
_TAG = re.compile(r"<[^>\n]*>")
_NOT_A_WORD = re.compile(r"[^a-zA-Z0-9\s]")

# What the default recipe takes for markup. No part of it goes past the next "<", so that no text is read twice.
_ENTITY = re.compile(r"&(?:#[0-9]{1,9};?|#[xX][0-9a-fA-F]{1,8};?|[a-zA-Z][a-zA-Z0-9]{1,31};|(?:amp|lt|gt|quot|nbsp)\b)")
_SWITCHES = """allowfullscreen async autofocus autoplay checked compact controls default defer disabled formnovalidate
    hidden inert ismap itemscope loop multiple muted nohref nomodule noresize noshade novalidate nowrap open playsinline
    readonly required reversed selected""".split()  # noqa: SIM905 HTML's attributes without a value
_MARKUP = re.compile(
    rf"""</?[a-zA-Z][\w:-]*                                     # <br, </i
        (?:(?:\s+|(?<=["']))(?:[a-zA-Z_:@][\w:.@-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>]+)       # href='x>y'
                |(?:{"|".join(_SWITCHES)})\b))*
        \s*/?>
      |<[!?][a-zA-Z][^<>]*>                                   # <!DOCTYPE html>
      |<[a-zA-Z][a-zA-Z+.-]*:[^\s<>]+>                        # <http://...>
    """,
    re.VERBOSE,
)
_SIGNS: dict[int, str] = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u00b4`\u2032\uff07"), "'")
_SIGNS |= dict.fromkeys(
    (0xAD, 0x2060, 0x20E3, 0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)), ""
)  # not seen
_RATING = r"[0-9]+(?:[.,][0-9]+)?/10(?![0-9])"
_TOKEN = re.compile(rf"{_RATING}|[^\W_]+(?:'[^\W_]+)*|[!?]")


def lowercase(text: str) -> str:
    """Step 1."""
    return text.lower()


def expand_abbreviations(text: str) -> str:
    """Step 2: whole words only, by the dictionary `ABBREVIATIONS` ("u" becomes "you", "pls" "please")."""
    return _ABBREVIATION.sub(lambda match: ABBREVIATIONS[match.group()], text)


def remove_tags(text: str, replacement: str = "") -> str:
    """Step 3: what `<.*?>` matches.

    A match lies within one line, and after a line's last ">" there is none; else each "<" would look for it in vain.
    """
    lines = []
    for line in text.split("\n"):
        end = line.rfind(">") + 1
        lines.append(_TAG.sub(replacement, line[:end]) + line[end:])
    return "\n".join(lines)


def remove_punctuation(text: str) -> str:
    """Step 4: all but letters of the English alphabet, digits and white space, deleted.

    >>> remove_punctuation(remove_tags("great.<br />the plot"))
    'greatthe plot'
    """
    return _NOT_A_WORD.sub("", text)


def squeeze_spaces(text: str) -> str:
    """Step 5: runs of white space become one space, none at the ends."""
    return " ".join(text.split())


def remove_stop_words(text: str) -> str:
    """Step 6: words of NLTK's English list, or of this package's own where NLTK's data is not installed."""
    listed = stop_words()
    return " ".join(word for word in text.split(" ") if word not in listed)


def split_words(text: str) -> list[str]:
    """Step 7: at white space."""
    return text.split()


def clean(text: str, recipe: str = "default") -> list[str]:
    """The words of a text by one of two recipes. Raises ValueError for another recipe, TypeError for what is no string.

    "report" is the seven steps in their order. "default" reads HTML entities, puts a space for tags and comments,
    lower-cases and expands too, and keeps the words and numbers of all scripts with their marks (in NFC), apostrophes
    inside words, ratings such as "7.5/10", "!" and "?". Other signs are left out, emoji among them.

    >>> clean("Not good.<br />The plot, u know, doesn't work!")
    ['not', 'good', 'the', 'plot', 'you', 'know', "doesn't", 'work', '!']
    >>> clean("I <3 it: a<b, 7 &gt; 5<br/>")
    ['i', '3', 'it', 'a', 'b', '7', '5']
    """
    _check_recipe(recipe)
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}, expected a string")
    return words_of(without_markup(text, recipe), recipe)


def without_markup(text: str, recipe: str) -> str:
    """What of a recipe looks further than from one white space to the next: markup; of the report's, steps 1 to 3."""
    if recipe == "report":
        return remove_tags(expand_abbreviations(lowercase(text)))
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    return _MARKUP.sub(" ", _without_comments(text)) if "<" in text else text


def words_of(text: str, recipe: str) -> list[str]:
    """The rest of a recipe, whose words of a text are those of its pieces between white space, one after the other."""
    bare = text.strip('.,:;"()*')
    if bare.isascii() and bare.isalnum():  # one word, as most pieces are, without the work that others take
        bare = lowercase(bare)
        if recipe == "report":
            return [] if bare in stop_words() else [bare]
        return ABBREVIATIONS.get(bare, bare).split()
    if recipe == "report":
        return split_words(remove_stop_words(squeeze_spaces(remove_punctuation(text))))
    text = lowercase(text).translate(_SIGNS)
    if text.isascii():
        return _TOKEN.findall(expand_abbreviations(text))
    abbreviation, token, long_run = _with_marks()
    text = unicodedata.normalize("NFC", long_run.sub(r"\1", text))
    return token.findall(abbreviation.sub(lambda match: ABBREVIATIONS[match.group()], text))


def _character(match: re.Match[str]) -> str:
    """What an entity stands for; a name that is none stays."""
    found = match.group()
    return html.unescape(found) if found[1] == "#" else html5.get(found[1:].rstrip(";") + ";", found)


def _without_comments(text: str) -> str:
    """The text with a space for each HTML comment; one that does not end is none."""
    parts, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts.append(text[at:start])
        at = end + 3
    return " ".join([*parts, text[at:]])


@cache
def _with_marks() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """What finds abbreviations and words where letters carry marks, which to `re` are no letters; and runs of marks too
    long to be real, which to put in order takes time quadratic in their length.

    A word holds the joiners (ZWNJ, ZWJ) between its letters, and Hebrew's geresh and gershayim like an apostrophe.
    """
    codes = {code for code in range(0x20000) if unicodedata.category(chr(code)).startswith("M")}
    first = sorted(code for code in codes if code - 1 not in codes)
    last = sorted(code for code in codes if code + 1 not in codes)
    marks = "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in zip(first, last))
    word = rf"[^\W_]+(?:(?:[{marks}]+|[\u200c\u200d](?=[\w{marks}]))[^\W_]*)*"
    token = rf"{_RATING}|{word}(?:['\u05f3\u05f4]{word})*|[!?]"
    return _abbreviation(marks), re.compile(token), re.compile(rf"([{marks}]{{30}})[{marks}]+")


def clean_texts(texts: Any, recipe: str = "default", progress: bool = False) -> list[list[str]]:
    """`clean` for many texts, with a progress bar if asked for.

    Raises ValueError for another recipe, TypeError for what is no row of strings, naming the position.
    """
    _check_recipe(recipe)
    check_flags(progress=progress)
    bar = progress_bar(as_strings("texts", texts), progress, desc="cleaning", unit=" texts", leave=False)
    once: dict[str, str] = {}  # each word is held once, however often it comes
    return [[once.setdefault(word, word) for word in clean(text, recipe)] for text in bar]


def _check_recipe(recipe: str) -> None:
    check_choice("recipe", recipe, RECIPES)


@cache
def stop_words() -> frozenset[str]:
    """NLTK's English stop words; where its data is missing, this package's own list, with a warning the first time.

    Nothing is downloaded.
    """
    try:
        from nltk.corpus import stopwords

        return frozenset(stopwords.words("english"))
    except (LookupError, OSError, BadZipFile):
        warnings.warn(
            "NLTK's stop words are not installed, so the package's own English list is used; "
            "to get them: python -c \"import nltk; nltk.download('stopwords')\"",
            stacklevel=2,
        )
        return ENGLISH
