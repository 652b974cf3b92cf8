"""From a review to its words: the report's seven cleaning steps exactly (4.2.2), and a default that keeps what they
lose.

The report's recipe deletes tags and punctuation, which joins words ("great.<br />The" becomes "greatthe"), and its stop
words hold "not" and "no". The default recipe puts a space instead and keeps negations, "don't" in one piece.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterable
from functools import cache
from zipfile import BadZipFile

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

_ABBREVIATION = re.compile(  # a whole word, and no part of "u.s.", "s-u-c-k" or "u-boat"
    r"(?<![\w'])(?<!\w-)(?<!\b\w\.)(?:"
    + "|".join(map(re.escape, sorted(ABBREVIATIONS, key=len, reverse=True)))
    + r")(?![\w'/]|-\w|\.\w\b)"
)
_TAG = re.compile(r"<.*?>")
_NOT_A_WORD = re.compile(r"[^a-zA-Z0-9\s]")
_APOSTROPHES = str.maketrans("\u2019\u00b4`", "'''")
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)?/10(?![0-9])|[^\W_]+(?:'[^\W_]+)*|[!?]")


def lowercase(text: str) -> str:
    """Step 1."""
    return text.lower()


def expand_abbreviations(text: str) -> str:
    """Step 2: whole words only, by the dictionary `ABBREVIATIONS` ("u" becomes "you", "pls" "please")."""
    return _ABBREVIATION.sub(lambda match: ABBREVIATIONS[match.group()], text)


def remove_tags(text: str, replacement: str = "") -> str:
    """Step 3: what `<.*?>` matches."""
    return _TAG.sub(replacement, text)


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

    "report" is the seven steps in their order. "default" puts a space for tags, reads HTML entities, lower-cases and
    expands too, and keeps letters of all languages, apostrophes inside words, ratings such as "7.5/10", "!" and "?".

    >>> clean("Not good.<br />The plot, u know, doesn't work!")
    ['not', 'good', 'the', 'plot', 'you', 'know', "doesn't", 'work', '!']
    """
    _check_recipe(recipe)
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}, expected a string")
    if recipe == "report":
        text = remove_tags(expand_abbreviations(lowercase(text)))
        return split_words(remove_stop_words(squeeze_spaces(remove_punctuation(text))))
    if "<" in text or "&" in text:
        text = html.unescape(remove_tags(text, " "))
    return _TOKEN.findall(expand_abbreviations(lowercase(text).translate(_APOSTROPHES)))


def clean_texts(texts: Iterable[str], recipe: str = "default", progress: bool = False) -> list[list[str]]:
    """`clean` for many texts, with a progress bar if asked for.

    Raises ValueError for another recipe, TypeError for a single string, or for an entry that is none, naming its
    position.
    """
    _check_recipe(recipe)
    if isinstance(texts, str):
        raise TypeError("texts is one string, expected a list of strings")
    texts = list(texts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{position}] is {type(text).__name__}, expected a string")
    return [clean(text, recipe) for text in progress_bar(texts, progress, desc="cleaning", unit=" texts", leave=False)]


def _check_recipe(recipe: str) -> None:
    if recipe not in RECIPES:
        raise ValueError(f"recipe is {recipe!r}, expected 'default' or 'report'")


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
