"""A part of `python -m tests.fuzz`, seconds long."""

from __future__ import annotations

import random

import fuzz
import pytest


@pytest.mark.parametrize("name", fuzz.KINDS)
def test_changed_files_give_the_right_thing_or_an_error_that_names_them(name, tmp_path):
    wrong = [f"{seed}: {found}" for seed, found in fuzz.cases(name, range(150), tmp_path) if found]
    assert wrong == []


@pytest.mark.parametrize("kill_some", [fuzz.kill_writers, fuzz.kill_fits])
def test_killed_processes_lose_nothing(kill_some, tmp_path):
    assert kill_some(3, tmp_path, random.Random(0)) == []


def test_the_whole_of_it_runs_each_kind_in_a_process_that_may_crash():
    assert fuzz.fuzz("vocabulary", 20, first=7) == []


def test_the_judge_sees_what_is_wrong(tmp_path):
    """A kind whose reader errs in each of the ways that count."""
    path = tmp_path / "file"

    def judged(read, whole=True):
        return fuzz.judge(fuzz.Kind(lambda folder: path, read, whole), path, "right", whole)

    def raising(error):
        def read(path):
            raise error

        return read

    assert judged(lambda path: "right") is None and judged(raising(ValueError(f"{path} is damaged"))) is None
    assert judged(lambda path: "other") == "it was taken, but is not what was written"
    assert judged(lambda path: "other", whole=False) is None
    assert judged(raising(KeyError("a"))).startswith("KeyError")
    assert judged(raising(ValueError("damaged"))).startswith("the file is not named")
    assert judged(raising(OSError(12, "no memory", str(path)))) == "more than 500 MB"
