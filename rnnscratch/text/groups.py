"""Groups of texts of one kind, for asking where a model errs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NEGATIONS = frozenset(
    """no not nor never none nothing nobody nowhere neither without cannot aint arent cant couldnt didnt doesnt dont
    hadnt hasnt havent isnt mustnt neednt shouldnt wasnt werent wont wouldnt""".split()  # noqa: SIM905
)


def groups_by_length(lengths: Any, count: int = 5) -> tuple[list[str], np.ndarray]:
    """Names of groups of texts of like length, equally many in each, and the group (N,) of each text."""
    lengths = np.asarray(lengths)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, count + 1)[1:-1]).astype(int))
    bounds = [int(lengths.min()) - 1, *edges.tolist(), int(lengths.max())]
    names = [f"{low + 1}–{high}" for low, high in zip(bounds, bounds[1:])]
    return names, np.searchsorted(edges, lengths, side="left")


def groups_by_negation(texts: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Whether texts (lists of words) hold a negation: none, one or two, more; names, and the group (N,) of each."""
    counts = [sum(word.replace("'", "") in NEGATIONS for word in text) for text in texts]
    return ["none", "1–2", "3 or more"], np.digitize(counts, [1, 3])
