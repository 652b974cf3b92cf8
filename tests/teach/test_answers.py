"""Answers are judged by hashes: four digits are enough, other answers are not right, and nothing gives them away."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch.teach import answers


@pytest.fixture
def exercise(tmp_path, monkeypatch):
    """A file of answers in place of the course's, to which a test adds."""
    monkeypatch.setattr(answers, "load", lambda: answers.__dict__["_held"])
    monkeypatch.setattr(answers, "_held", {}, raising=False)

    def add(number, value):
        answers._held[number] = answers.entry(number, value)

    return add


@pytest.mark.parametrize("value", [0.123461, -2.5, 1e-9, 123456.7, 9.9996, 0.99995, 1234.5])
def test_four_digits_are_enough_and_other_numbers_are_not(exercise, value, capsys):
    exercise("1.3", value)
    for right in (value, float(f"{value:.3e}"), float(f"{value:.5e}"), f"{value:.4g}", np.array([[value]])):
        assert rs.teach.answer("1.3", right)
    assert rs.teach.answer("1.3", value * (1 + 1e-12)) and rs.teach.answer("1.3", value * (1 - 1e-12))
    assert capsys.readouterr().out == "1.3: right\n" * 7
    for wrong in (-value, value * 1.003, value * 0.997, value * 10, 0, float("nan"), float("inf"), "nothing"):
        assert not rs.teach.answer("1.3", wrong)
    assert capsys.readouterr().out == "1.3: not yet\n" * 8


@pytest.mark.parametrize("error", np.linspace(-1, 1, 9))
def test_rounding_errors_do_not_decide(exercise, error):
    """0.12345 lies between 0.1234 and 0.1235, and 0.5 may come as a little less."""
    for value in (0.12345, 0.5, 1.0, -1000.0):
        exercise("2.1", value * (1 + error * 1e-15))
        assert rs.teach.answer("2.1", value)
        assert rs.teach.answer("2.1", value * (1 - error * 1e-15))
        assert rs.teach.answer("2.1", float(f"{value:.4g}"))


def test_a_count_is_exact(exercise):
    exercise("4.1", 198657)
    assert rs.teach.answer("4.1", 198657) and rs.teach.answer("4.1", np.float32(198657))
    assert not rs.teach.answer("4.1", 198656) and not rs.teach.answer("4.1", 198700)
    assert not rs.teach.answer("4.1", 198657.5)


def test_zero_is_met_by_rounding_errors_and_by_nothing_larger(exercise):
    exercise("1.2", 0.0)
    assert rs.teach.answer("1.2", 0) and rs.teach.answer("1.2", -3e-17)
    assert not rs.teach.answer("1.2", 1e-6)


def test_arrays_are_right_in_all_places_or_not(exercise):
    exercise("1.4", np.array([0.25, -1.5, 3.14159]))
    assert rs.teach.answer("1.4", [0.25, -1.5, 3.142])
    assert not rs.teach.answer("1.4", [0.25, 3.142, -1.5])
    with pytest.raises(ValueError, match=r"value has shape \(2,\), expected \(3,\) for the answer of 1\.4"):
        rs.teach.answer("1.4", [0.25, -1.5])


def test_words_are_right_whatever_their_case_and_punctuation(exercise):
    exercise("5.2", "the forget gate")
    assert rs.teach.answer("5.2", "Forget gate!") and rs.teach.answer("5.2", " The  FORGET-gate ")
    assert not rs.teach.answer("5.2", "input gate") and not rs.teach.answer("5.2", 2)
    exercise("5.3", {"a", "candidate"})
    assert rs.teach.answer("5.3", "A") and rs.teach.answer("5.3", "the candidate")


def test_an_unknown_number_names_those_that_exist(exercise):
    for number in ("1.10", "1.9", "12.1"):
        exercise(number, 1.5)
    with pytest.raises(ValueError, match=r"number is '1\.3', expected one of .*: '1\.9', '1\.10', '12\.1'"):
        rs.teach.answer("1.3", 1.5)
    with pytest.raises(TypeError, match="value"):
        rs.teach.answer("1.9", {"a": 1})


def test_what_cannot_be_asked_for_is_refused():
    with pytest.raises(ValueError, match="ask for 0 or for a logarithm"):
        answers.entry("3.1", 1e-17)
    with pytest.raises(ValueError, match="holds nan"):
        answers.entry("3.1", [1.0, np.nan])
    with pytest.raises(ValueError, match="expected words, or a number that is no string"):
        answers.entry("3.1", "0.5")
    with pytest.raises(ValueError, match="expected notebook and exercise"):
        answers.entry("3", 0.5)


def test_the_file_is_read_as_it_was_written_and_hashes_depend_on_the_exercise(tmp_path):
    entries = {number: answers.entry(number, 0.5) for number in ("1.10", "1.2")}
    answers.save(entries, tmp_path / "a.json")
    assert list(answers.load(tmp_path / "a.json")) == ["1.2", "1.10"]
    assert answers.load(tmp_path / "a.json") == entries
    assert entries["1.2"]["accepted"] == [[hashlib.sha256(b"1.2 0 5.000e-01").hexdigest()[:16]]]
    assert entries["1.2"]["accepted"] != entries["1.10"]["accepted"]
    answers.save({}, tmp_path / "a.json")
    assert answers.load(tmp_path / "a.json") == {} == answers.load(tmp_path / "none.json")


def test_the_courses_own_file_is_well_formed():
    for number, kept in answers.load().items():
        answers.place(number)
        assert len(kept["accepted"]) == np.prod(kept["shape"] or [], dtype=int) and all(kept["accepted"])


def test_entries_that_differ_by_rounding_errors_are_the_same():
    a, b, c = (answers.entry("1.2", value) for value in (0.5, 0.5 - 1e-15, 0.5006))
    assert a != b and answers.same(a, b) and not answers.same(a, c)
    words = [answers.entry("1.2", each) for each in ({"r", "reset"}, {"reset", "r"}, {"reset"})]
    assert answers.same(words[0], words[1]) and not answers.same(words[0], words[2])
    assert not answers.same(a, answers.entry("1.2", [0.5])) and not answers.same(a, words[2])
