"""Groups of texts of one kind, for asking where a model errs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import as_column, as_list, as_strings, check_sizes

NEGATIONS = frozenset(
    """no not nor never none nothing nobody nowhere neither without cannot aint arent cant couldnt didnt doesnt dont
    hadnt hasnt havent isnt mustnt neednt shouldnt wasnt werent wont wouldnt""".split()  # noqa: SIM905
)


def groups_by_length(lengths: Any, count: int = 5) -> tuple[list[str], np.ndarray]:
    """Names of groups of texts of like length, about equally many in each, and the group (N,) of each text.

    The edges are quantiles; where many texts have one length there are fewer groups than `count`, each with a text.
    Raises TypeError or ValueError for what are no lengths, none, or no count.
    """
    check_sizes(count=count)
    lengths = as_column("lengths", lengths, "iu")
    if not len(lengths):
        raise ValueError("lengths is empty, expected at least one")
    edges = np.quantile(lengths, np.linspace(0, 1, count + 1)[1:-1]).astype(int)
    found, group = np.unique(np.searchsorted(edges, lengths, side="left"), return_inverse=True)
    spans = [lengths[group == k] for k in range(len(found))]
    names = [f"{span.min()}-{span.max()}" if span.min() < span.max() else f"{span.min()}" for span in spans]
    return names, group


def groups_by_negation(texts: Any) -> tuple[list[str], np.ndarray]:
    """Whether texts (lists of words) hold a negation: none, one or two, more; names, and the group (N,) of each.

    Groups without a text are left out.
    """
    words = [as_strings(f"texts[{k}]", text) for k, text in enumerate(as_list("texts", texts))]
    counts = [sum(word.replace("'", "") in NEGATIONS for word in text) for text in words]
    found, group = np.unique(np.digitize(counts, [1, 3]), return_inverse=True)
    return [("none", "1-2", "3 or more")[k] for k in found], group
