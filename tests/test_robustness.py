"""A part of `python tests/robustness.py`, seconds long."""

from __future__ import annotations

import random

import pytest
import robustness

FEW = {
    "files written on a full disk": 36,
    "trainings that a full disk ended, same bits": 6,
    "downloads cut off": 15,
    "rounds of processes for one folder, owner killed": 2,
    "wrong arguments refused": 1500,
    "runs that a full disk ended, same outcome": 2,
    "commands killed, same outcome": 2,
}


@pytest.mark.parametrize("name", FEW)
def test_nothing_does_harm(name, tmp_path):
    done, wrong = robustness.PARTS[name][0](FEW[name], tmp_path, random.Random(1))
    assert wrong == [] and done >= FEW[name] // 2


def test_a_full_disk_is_full_also_where_none_can_be_mounted(tmp_path, monkeypatch):
    content = bytes(10_000)
    for mounting in (True, False):
        if not mounting:
            monkeypatch.setattr(
                robustness.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError("no mount"))
            )
        with robustness.small_disk(tmp_path / str(mounting)) as leaving:
            file = tmp_path / str(mounting) / "file"
            with leaving(4096), pytest.raises(OSError, match="No space left|File too large"):
                file.write_bytes(content)
            file.write_bytes(content)


def test_what_goes_wrong_is_counted_and_told(monkeypatch, capsys):
    parts = {"one": (lambda *_: robustness.Count(2000, ["this"]), 10), "two": (lambda *_: robustness.Count(1, []), 10)}
    monkeypatch.setattr(robustness, "PARTS", parts)
    assert robustness.main(["--size", "0.5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["one", "2,000", "1"], ["this"], ["two", "1", "0"]]
    monkeypatch.setattr(robustness, "PARTS", {"two": parts["two"]})
    assert robustness.main([]) == 0


def wrong_error(x):
    if x is None:
        raise KeyError("x")
    if x == 0:
        raise ValueError("it is bad")
    if x == -1:
        raise ValueError("x is bad")


def test_an_argument_that_is_not_named_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "calls", lambda: {"call": (wrong_error, {"x": 1})})
    monkeypatch.setattr(robustness, "wrong_values", lambda: [None, 0, -1, 5])
    done, wrong = robustness.refuse(100, tmp_path, random.Random(0))
    assert done == 2 and len(wrong) == 2 and "KeyError" in wrong[0] and "not named" in wrong[1]
