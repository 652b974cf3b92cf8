"""The one door: what NumPy can turn into the needed array is taken as it, and what cannot is refused by name."""

import array
from collections import deque
from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import pytest

from rnnscratch.checks import as_array, as_column, as_labels, as_list, check_texts, positions

pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
try:
    import torch
except ImportError:
    torch = None  # tensors are then not among what is tried
NUMBERS = [3.0, -1.5, 2.0]
READ_ONLY = np.array(NUMBERS)
READ_ONLY.flags.writeable = False


class Only:
    """An object that offers its values by DLPack alone."""

    def __dlpack__(self, **options):
        return np.array(NUMBERS).__dlpack__(**options)

    def __dlpack_device__(self):
        return np.array(NUMBERS).__dlpack_device__()


@pytest.mark.parametrize(
    "given",
    [
        NUMBERS,
        tuple(NUMBERS),
        deque(NUMBERS),
        array.array("d", NUMBERS),
        (value for value in NUMBERS),
        map(float, NUMBERS),
        dict(enumerate(NUMBERS)).values(),
        READ_ONLY,
        np.array(NUMBERS, ">f8"),
        np.array(NUMBERS)[::-1][::-1],
        np.array(NUMBERS, object),
        np.ma.masked_array(NUMBERS, mask=False),
        [Decimal("3"), Fraction(-3, 2), 2],
        pandas.Series(NUMBERS, index=[7, 7, 2]),
        pandas.Series(NUMBERS, index=list("abc"), dtype="Float64"),
        pandas.Index(NUMBERS),
        pandas.DataFrame({"x": NUMBERS}),
        *([torch.tensor(NUMBERS, dtype=torch.float64), [torch.tensor(value) for value in NUMBERS]] if torch else []),
        Only(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_numpy_can_turn_into_a_row_is_taken_as_it(given):
    found = as_column("x", given)
    assert found.dtype.isnative and found.astype(float).tolist() == NUMBERS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": 1.0}, "x is dict"),
        ({1.0, 2.0}, "x is set"),
        ("12", "x is one string"),
        (b"12", "x is one bytes"),
        (None, "x is None"),
        (["1", "2"], "x has dtype <U1"),
        ([1, "a"], "x has dtype <U"),
        ([1j], "x has dtype complex128"),
        ([1.0, None], r"x\[1\] is missing"),
        ([[1.0], [1.0, 2.0]], "x is ragged"),
        ([object()], r"x\[0\] is <object"),
        (np.ma.masked_array([1.0, 2.0], mask=[False, True]), r"x\[1\] is masked"),
        (list(np.ma.masked_array([1.0, 2.0], mask=[False, True])), r"x\[1\] is masked"),
        ([[1.0], np.ma.masked_array([2.0], mask=[True])], r"x\[1, 0\] is masked"),
        ([[[1.0, np.ma.masked]]], r"x\[0, 0, 1\] is masked"),
        (pandas.Series([1, pandas.NA], dtype=object), r"x\[1\] is missing"),
        (pandas.DataFrame({"a": [1.0], "b": [2.0]}), r"x has shape \(1, 2\)"),
        (pandas.Series(["2020-01-01"], dtype="datetime64[ns]"), "x has dtype datetime64"),
        (np.zeros(2, [("a", float), ("b", float)]), "x has fields a, b"),
        *([(torch.ones(2, requires_grad=True), "x is torch.Tensor")] if torch else []),
        (np.zeros((2, 2)), r"x has shape \(2, 2\)"),
        (3.0, r"x has shape \(\)"),
    ],
)
def test_what_it_cannot_is_refused_by_name(given, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_column("x", given)


def test_a_sparse_matrix_is_refused_with_what_to_do():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy comes with scikit-learn").csr_matrix([[1.0]])
    with pytest.raises(TypeError, match="x is sparse .*toarray"):
        as_array("x", sparse)


@pytest.mark.parametrize(
    "given",
    [
        [1.0, None, 3.0],
        [1.0, np.nan, 3.0],
        np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
        np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
        list(np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0])),
        [1, np.ma.masked, 3],
        pandas.Series([1, None, 3], dtype="Int64"),
        pandas.Series([1.0, None, 3.0]),
    ],
)
def test_where_missing_has_a_meaning_all_its_ways_are_nan(given):
    np.testing.assert_array_equal(as_array("x", given, missing=True).astype(float), [1.0, np.nan, 3.0])


def test_integers_stay_integers_and_an_empty_list_has_the_kind_that_is_asked_for():
    assert as_array("x", pandas.Series([1, 2], dtype="Int64"), "iu").tolist() == [1, 2]
    assert as_array("x", [], "iu").dtype == np.int64 and as_array("x", [], "U").dtype.kind == "U"
    with pytest.raises(TypeError, match="x has dtype float64, expected integers"):
        as_array("x", [1.0, 2.0], "iu")


def test_an_array_on_the_device_stays_there_and_the_callers_own_is_not_copied():
    own = np.arange(3.0)
    assert as_array("x", own) is own


@pytest.mark.parametrize(
    "given",
    [
        ["good", "bad"],
        pandas.Series(["good", "bad"], index=[5, 1]),
        pandas.DataFrame({"review": ["good", "bad"]}),
        pandas.Index(["good", "bad"]),
        pandas.Series(["good", "bad"], dtype="string"),
        pandas.Series(["good", "bad"], dtype="category"),
        np.array(["good", "bad"]),
        np.array([["good"], ["bad"]], object),
        (text for text in ("good", "bad")),
        {"a": "good", "b": "bad"}.values(),
    ],
)
def test_texts_come_from_any_row_or_column_of_strings(given):
    assert check_texts(given) == ["good", "bad"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("good", "texts is one string"),
        ({"good": 1}, "texts is dict"),
        ({"good"}, "texts is set"),
        ([], "texts is empty"),
        (["good", None], r"texts\[1\] is NoneType"),
        (["good", b"bad"], r"texts\[1\] is bytes"),
        (pandas.Series(["good", None]), r"texts\[1\] is (float|NoneType)"),
        (pandas.DataFrame({"a": ["x"], "b": ["y"]}), r"texts has shape \(1, 2\)"),
        (np.ma.masked_array(["good", "bad"], mask=[0, 1]), r"texts\[1\] is masked"),
        (5, "texts is 5"),
    ],
)
def test_what_are_no_texts_is_refused_by_name(given, words):
    with pytest.raises((TypeError, ValueError), match=words):
        check_texts(given)


def test_lists_of_sequences_come_from_whatever_has_an_order():
    rows = [[1, 2], [3, 4]]
    tensors = [torch.tensor(rows)] if torch else []
    for given in (rows, np.array(rows), iter(rows), pandas.DataFrame(rows), pandas.Series(rows), *tensors):
        assert [list(map(int, row)) for row in as_list("x", given)] == rows
    for given in ({"a": 1}, {1}, "ab", 3, np.float64(3), None):
        with pytest.raises(TypeError, match="x is"):
            as_list("x", given)


class Mood(str, Enum):
    GOOD = "good"


@pytest.mark.parametrize(
    "given",
    [
        ["b", "a"],
        [1, 0],
        [1.5, 2],
        [True, False],
        np.array([1, 0], np.uint8),
        np.array(["b", "a"]),
        np.array(["b", "a"], object),
        np.array([[1], [0]], np.int16),
        pandas.Series([1, 0], dtype="Int64", index=[9, 9]),
        pandas.Series(["b", "a"], dtype="category"),
        [np.str_("b"), "a"],
        [np.int64(1), 0],
        *([torch.tensor([1, 0])] if torch else []),
        (label for label in "ba"),
    ],
)
def test_labels_come_back_as_they_were_given(given):
    expected = list("ba") if type(given).__name__ == "generator" else np.asarray(given).ravel().tolist()
    found = as_labels("y", given, 2)
    assert (
        found.tolist() == expected
        and [type(a) for a in found.tolist()] == [type(a) for a in expected]
        or (expected == [1.5, 2.0])
    )
    if isinstance(given, np.ndarray) and given.dtype != object:
        assert found.dtype == given.dtype


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["yes", 1], r"y\[0\] is 'yes' and y\[1\] is 1"),
        ([True, 2], r"y\[0\] is True and y\[1\] is 2"),
        ([Mood.GOOD, Mood.GOOD], "a member of an Enum"),
        (["a", None], r"y\[1\] is not finite"),
        (list(np.ma.masked_array([1, 0], mask=[False, True])), r"y\[1\] is not finite or missing"),
        ([1.0, float("nan")], r"y\[1\] is not finite"),
        (np.array([1.0, np.inf]), r"y\[1\] is not finite"),
        (pandas.Series([1, None], dtype="Int64"), r"y\[1\] is not finite"),
        ([b"a", b"b"], r"y\[0\] is b'a'"),
        ([1j, 2], r"y\[0\] is 1j"),
        (["a\0", "b"], r"y\[0\] is .* which NumPy holds as 'a'"),
        ([2**53 + 1, 0.5], r"which NumPy holds as"),
        ([2**63, 1], r"y\[0\] is 9223372036854775808, which NumPy holds as"),
        ([1, 2**70], r"y\[1\] is 1180591620717411303424, expected integers of at most 64 bits"),
        (["a"], r"y has shape \(1,\), expected \(2,\)"),
        ([["a", "b"], ["c", "d"]], r"y\[0\] is \['a', 'b'\]"),
        (np.zeros((2, 2)), r"y has shape \(2, 2\)"),
    ],
)
def test_labels_that_would_change_are_refused(given, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_labels("y", given, 2)


def test_labels_compare_with_the_classes_or_are_refused():
    assert positions("y", np.array([1, 0, 1]), np.array([0, 1])).tolist() == [1, 0, 1]
    assert positions("y", np.array([True, False]), np.array([0, 1])).tolist() == [1, 0]
    assert positions("y", np.array(["b"]), np.array(["a", "bb", "b"])[[0, 2, 1]]).tolist() == [1]
    large = np.array([2**53 + 1, 2**53, 2**53 + 2])  # as floats the first is the second
    assert positions("y", large, large.astype(np.uint64)).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"y\[0\] is 9007199254740993, expected one of"):
        positions("y", large, large[1:].astype(float))
    with pytest.raises(TypeError, match="y holds '1' and the model's classes 0"):
        positions("y", np.array(["1", "0"]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"y\[1\] is 'c', expected one of \['a', 'b'\]"):
        positions("y", np.array(["a", "c"]), np.array(["a", "b"]))


def test_lists_of_masked_rows_keep_their_masks():
    rows = [np.ma.masked_array([1.0, 2.0], mask=[0, 1]), [3.0, 4.0]]
    np.testing.assert_array_equal(as_array("x", rows, missing=True), [[1.0, np.nan], [3.0, 4.0]])
    np.testing.assert_array_equal(as_array("x", [rows], missing=True), [[[1.0, np.nan], [3.0, 4.0]]])
