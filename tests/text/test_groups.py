"""Groups of texts by length and by negations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch import text


def test_groups_by_length_hold_equally_many():
    names, group = text.groups_by_length(np.arange(1, 101), 4)
    assert names == ["1-25", "26-50", "51-75", "76-100"]
    np.testing.assert_array_equal(np.bincount(group), [25, 25, 25, 25])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 6))
def test_every_group_has_members_and_its_name_says_which(lengths: list[int], count: int) -> None:
    names, group = text.groups_by_length(lengths, count)
    assert 1 <= len(names) <= count and len(set(names)) == len(names)
    assert set(group.tolist()) == set(range(len(names)))
    for name, k in zip(names, range(len(names))):
        members = np.array(lengths)[group == k]
        low, _, high = name.partition("-")
        assert (members.min(), members.max()) == (int(low), int(high or low))


def test_where_all_lengths_are_one_there_is_one_group():
    names, group = text.groups_by_length([6, 6, 6, 6], 5)
    assert names == ["6"] and group.tolist() == [0, 0, 0, 0]
    assert text.groups_by_length([5] * 9 + [6], 5)[0] == ["5", "6"]


def test_groups_by_negation():
    texts = [["an", "excellent", "film"], ["not", "good"], ["don't", "go"], ["no", "one", "is", "not", "nothing"]]
    names, group = text.groups_by_negation(texts)
    assert [names[each] for each in group] == ["none", "1-2", "1-2", "3 or more"]
    names, group = text.groups_by_negation(texts[::3])
    assert names == ["none", "3 or more"] and group.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: text.groups_by_length([]), "lengths is empty"),
        (lambda: text.groups_by_length({3: 1}), "lengths is dict"),
        (lambda: text.groups_by_length([1.5, 2.0]), "lengths has dtype float64, expected integers"),
        (lambda: text.groups_by_length([1, 2], 0), "count is 0, expected at least 1"),
        (lambda: text.groups_by_negation(["not good"]), r"texts\[0\] is one string"),
    ],
)
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
