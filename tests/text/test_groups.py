"""Groups of texts by length and by negations."""

from __future__ import annotations

import numpy as np

from rnnscratch import text


def test_groups_by_length_hold_equally_many():
    names, group = text.groups_by_length(np.arange(1, 101), 4)
    assert names == ["1–25", "26–50", "51–75", "76–100"]
    np.testing.assert_array_equal(np.bincount(group), [25, 25, 25, 25])


def test_groups_by_negation():
    texts = [["an", "excellent", "film"], ["not", "good"], ["don't", "go"], ["no", "one", "is", "not", "nothing"]]
    names, group = text.groups_by_negation(texts)
    assert [names[each] for each in group] == ["none", "1–2", "1–2", "3 or more"]
