"""Windows of a long text: every next id once, in order, in as many streams as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.text.windows import Windows, as_texts


def streams(windows):
    """The ids that each stream reads, and those it predicts, over one pass."""
    read, predicted = [[] for _ in range(windows.batch_size)], [[] for _ in range(windows.batch_size)]
    for window in windows:
        for k, length in enumerate(window.lengths.tolist()):
            assert window.start == len(read[k])
            read[k] += window.ids[:length, k].tolist()
            predicted[k] += window.targets[:length, k].tolist()
    return read, predicted


@settings(max_examples=100, deadline=None)
@given(N=st.integers(2, 60), batch_size=st.integers(1, 12), window=st.integers(1, 70), shuffle=st.booleans())
def test_every_id_is_predicted_once_from_the_one_before_it(N, batch_size, window, shuffle):
    text = np.arange(N)
    windows = Windows([text], batch_size, window, shuffle=shuffle, seed=0)
    read, predicted = streams(windows)
    assert sum(read, []) == list(range(N - 1))
    assert sum(predicted, []) == list(range(1, N))
    sizes = [len(stream) for stream in read]
    assert sizes == sorted(sizes, reverse=True) and max(sizes) - min(sizes) <= 1
    found = list(windows)
    assert len(found) == len(windows)
    for each in found:
        assert each.ids.shape == each.targets.shape == (each.lengths.max(), windows.batch_size)
        assert each.lengths.min() >= 1 and each.lengths.max() <= window + 1
    assert all(each.lengths.min() == window for each in found[1:-1])


def test_a_long_text_in_two_streams():
    first, second = Windows([[1, 2, 3, 4, 5, 6, 7, 8]], batch_size=2, window=2)
    assert first.ids.T.tolist() == [[1, 2], [5, 6]] and first.targets.T.tolist() == [[2, 3], [6, 7]]
    assert second.lengths.tolist() == [2, 1] and second.start == 2
    assert second.ids[:, 0].tolist() == [3, 4] and second.ids[0, 1] == 7 and second.targets[0, 1] == 8


def test_texts_follow_one_another_each_with_the_mark_of_its_end():
    texts = [[1, 2], [], [3], [4, 5, 6]]
    assert streams(Windows(texts, 1))[0] == [[1, 2, 3, 4, 5]]
    read, predicted = streams(Windows(texts, 1, end_id=9))
    assert [*read[0], predicted[0][-1]] == [1, 2, 9, 3, 9, 4, 5, 6, 9]


def test_a_shuffled_pass_has_another_order_of_texts_and_other_ends_of_windows():
    windows = Windows([[k] * 5 for k in range(40)], 2, 7, shuffle=True, seed=0)
    passes = [[window.ids for window in windows] for _ in range(12)]
    assert len({tuple(ids.ravel().tolist()) for ids, *_ in passes}) == 12
    assert len({len(ids) for ids, *_ in passes}) > 1
    again = Windows([[k] * 5 for k in range(40)], 2, 7, shuffle=True, seed=0)
    for one, other in zip(passes[0], again):
        np.testing.assert_array_equal(one, other.ids)
    counts = np.bincount(sum(streams(windows)[0], []), minlength=40)
    assert counts.sum() == 199 and (counts >= 4).all()  # all but the last id of all


def test_a_summary_knows_ids_and_their_division_into_texts():
    found = [Windows(texts, 2).summary() for texts in ([[1, 2, 3]], [[1, 2], [3]], [[1, 2, 4]])]
    assert found[0]["tokens"] == 3 and found[1]["texts"] == 2
    assert len({each["checksum"] for each in found}) == 3


@pytest.mark.parametrize("texts", [[[]], [[1]], [[], [3]], np.zeros((1, 1), int)])
def test_less_than_two_ids_are_refused(texts):
    with pytest.raises(ValueError, match="ids number [01], expected at least two: one to read and one to predict"):
        Windows(texts)


@pytest.mark.parametrize(
    "options, error",
    [
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"window": 2.5}, "window is 2.5, expected a whole number"),
        ({"end_id": -1}, "end_id is -1, expected at least 0"),
        ({"shuffle": "yes"}, "shuffle is 'yes', expected True or False"),
    ],
)
def test_wrong_options_are_named(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        Windows([[1, 2, 3]], **options)


@pytest.mark.parametrize("form", [list, tuple, np.array, iter, lambda ids: np.array(ids, np.uint8)])
def test_one_text_and_several_are_told_apart(form):
    assert [text.tolist() for text in as_texts(form([1, 2, 3]), 4)] == [[1, 2, 3]]
    assert [text.tolist() for text in as_texts([form([1, 2]), form([3])], 4)] == [[1, 2], [3]]
    assert [text.tolist() for text in as_texts(np.array([[1, 2], [3, 0]]), 4)] == [[1, 2], [3, 0]]


@pytest.mark.parametrize(
    "data, error",
    [
        ([1, 4], r"ids\[1\] is 4, expected 0 to 3"),
        ([], r"ids has shape \(0,\), expected at least one token"),
        ([[1, 2], [3, -1]], r"ids\[1\]\[1\] is -1, expected 0 to 3"),
        ([1.5, 2.0], r"ids has dtype float64, expected integers"),
        ("text", "ids is one string, expected a list"),
        (["a", "b"], "ids"),
        (None, "ids is None"),
        (5, "ids is 5, expected a list"),
    ],
)
def test_what_are_no_ids_is_named(data, error):
    with pytest.raises((ValueError, TypeError), match=error):
        as_texts(data, 4)
