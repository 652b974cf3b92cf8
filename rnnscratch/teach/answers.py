"""Answers to the course's exercises, right or not, before the solution is unfolded.

The file beside holds no answers but hashes of them, written by `notebooks/build.py` from the solutions themselves. They
keep an answer from being read by accident; who tries all numbers finds it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from ..checks import as_array

FILE = Path(__file__).with_name("answers.json")
DIGITS = 4
NOTHING = 1e-12  # smaller numbers are rounding errors

Entry = dict[str, Any]  # "shape": [] of a number, None of words; "accepted": for each number, the hashes that are right


def answer(number: str, value: Any) -> bool:
    """Whether this is the answer of an exercise: "1.3" is the third of notebook 1. Says so, and never gives it away.

    A number or an array of numbers needs four significant digits (the last may be one off), a count must be exact, and
    of words neither case, punctuation nor articles matter.

    Raises ValueError for a number that no exercise has, or for an array of another shape than asked for, TypeError for
    what is neither numbers nor words.
    """
    entries = load()
    if number not in entries:
        known = ", ".join(map(repr, sorted(entries, key=place))) or "none yet"
        raise ValueError(f"number is {number!r}, expected one of those with an answer: {known}")
    right = accepts(number, entries[number], value)
    print(f"{number}: right" if right else f"{number}: not yet")
    return right


def load(path: Path = FILE) -> dict[str, Entry]:
    """The hashes of all answers by their numbers, or of none where the file does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(entries: dict[str, Entry], path: Path = FILE) -> None:
    """Write the hashes, in the order of the course, one answer a line."""
    lines = [f"{json.dumps(number)}: {json.dumps(entries[number])}" for number in sorted(entries, key=place)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n" if lines else "{}\n", encoding="utf-8")


def place(number: str) -> tuple[int, ...]:
    """Where "1.10" stands in the course: after "1.9". Raises ValueError for what is not two counts."""
    if not re.fullmatch(r"[1-9]\d*\.[1-9]\d*", number):
        raise ValueError(f"number is {number!r}, expected notebook and exercise, such as '1.3'")
    return tuple(map(int, number.split(".")))


def entry(number: str, value: Any) -> Entry:
    """What the file keeps of an answer: a number, an array of numbers, words, or a set of words all of which are right.

    Whole numbers (int, not float) are to be met exactly. Raises ValueError for an answer that is not finite, or so
    small that it may be a rounding error.
    """
    place(number)
    if isinstance(value, (str, set, frozenset)):
        words = [value] if isinstance(value, str) else sorted(value)
        if any(_is_number(each) for each in words) or not all(map(_normal, words)):
            raise ValueError(f"the answer of {number} is {value!r}, expected words, or a number that is no string")
        return {"shape": None, "accepted": [[_hash(number, 0, _normal(each)) for each in words]]}
    array = as_array("value", value)
    for each in array.flat:
        if not math.isfinite(each) or 0 < abs(each) < NOTHING:
            raise ValueError(f"the answer of {number} holds {each}: ask for 0 or for a logarithm instead")
    forms = [_neighbours(each) if array.dtype.kind == "f" else [str(int(each))] for each in array.flat]
    accepted = [[_hash(number, at, form) for form in both] for at, both in enumerate(forms)]
    return {"shape": list(array.shape), "accepted": accepted}


def accepts(number: str, kept: Entry, value: Any) -> bool:
    """Whether a value is right by what the file keeps. Raises as `answer` does for values of no use."""
    if isinstance(value, str) and not _is_number(value):
        return kept["shape"] is None and _hash(number, 0, _normal(value)) in kept["accepted"][0]
    array = as_array("value", float(value) if isinstance(value, str) else value)
    if kept["shape"] is None:
        return False
    if array.size == 1 and kept["shape"] == []:
        array = array.reshape(())  # a number in an array, as `layer.grads["U_l0"]` holds it
    if list(array.shape) != kept["shape"]:
        raise ValueError(f"value has shape {array.shape}, expected {tuple(kept['shape'])} for the answer of {number}")
    given = [{_hash(number, at, form) for form in _forms(each)} for at, each in enumerate(array.flat)]
    return all(forms & set(right) for forms, right in zip(given, kept["accepted"]))


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries of one exercise accept a common value: they may differ by rounding errors of their origin."""
    if one["shape"] != other["shape"] or one["shape"] is None:
        return one == other
    return all(set(a) & set(b) for a, b in zip(one["accepted"], other["accepted"], strict=True))


def _forms(each: Any) -> list[str]:
    """How a given number is written: rounded, and as a count if it is whole."""
    if not math.isfinite(each):
        return []
    return [_rounded(each)] + ([str(int(each))] if each == int(each) else [])


def _rounded(each: Any) -> str:
    return f"{0.0 if abs(each) < NOTHING else float(each):.{DIGITS - 1}e}"


def _neighbours(each: Any) -> list[str]:
    """The roundings below and above, so that no rounding error of the last bits decides."""
    if abs(each) < NOTHING:
        return [_rounded(0)]
    unit = 10.0 ** (math.floor(math.log10(abs(each))) - DIGITS + 1)
    return list(dict.fromkeys(_rounded(whole * unit) for whole in (math.floor(each / unit), math.ceil(each / unit))))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _normal(words: str) -> str:
    found = re.findall(r"\w+", words.casefold())
    return " ".join(word for word in found if word not in ("a", "an", "the")) or " ".join(found)


def _hash(number: str, at: int, form: str) -> str:
    return hashlib.sha256(f"{number} {at} {form}".encode()).hexdigest()[:16]
