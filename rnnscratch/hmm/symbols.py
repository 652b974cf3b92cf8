"""Symbols that are strings, and the integers that stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def is_text(sequence: Any) -> bool:
    """Whether this is one sequence of strings: a str of characters, or a row that begins with a string."""
    if isinstance(sequence, str):
        return True
    if not isinstance(sequence, (list, tuple, np.ndarray)) or getattr(sequence, "ndim", 1) != 1:
        return False
    return len(sequence) > 0 and isinstance(sequence[0], str)


def vocabulary_of(texts: Iterable[Any], given: Any = None) -> list[str]:
    """The symbols in the order of their integers: those given, else those of the texts, sorted.

    Raises TypeError or ValueError for given ones that are no strings, or that do not differ.
    """
    if given is None:
        return sorted({str(symbol) for text in texts for symbol in text if isinstance(symbol, str)})
    for k, symbol in enumerate(given):
        if not isinstance(symbol, str):
            raise TypeError(f"vocabulary[{k}] is {symbol!r}, expected a string")
    found = [str(symbol) for symbol in given]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"vocabulary is {found}, expected symbols that differ")
    return found


def look_up(text: Any, vocabulary: list[str], name: str) -> np.ndarray:
    """The integers (T,) of a sequence of symbols. Raises TypeError or ValueError for what the vocabulary lacks."""
    place = {symbol: k for k, symbol in enumerate(vocabulary)}
    for symbol in text:
        if not isinstance(symbol, str):
            raise TypeError(f"{name} holds strings and {symbol!r}, expected one kind")
        if symbol not in place:
            raise ValueError(f"{name} holds {symbol!r}, which is not in the vocabulary")
    return np.array([place[symbol] for symbol in text], dtype=np.int64)
