"""Processes beside this one end with it, whatever they are at work on and whenever it is interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest

from rnnscratch.processes import as_done
from rnnscratch.workers import WorkerFailed


def beginning(folder):
    """Says who is there."""
    (folder / str(os.getpid())).touch()
    np.seterr(divide="raise")


def work(task):
    """What the processes of these tests do."""
    if isinstance(task, BaseException):
        raise task
    if isinstance(task, Path):  # waits for what another task does
        while not task.exists():
            time.sleep(0.01)
        return "seen"
    if task == "who":
        return os.getpid()
    if task == "end":
        os._exit(7)
    if task == "own error":
        raise type("Own", (Exception,), {})("of a class that nobody knows")
    if isinstance(task, str):
        return np.geterr()[task]
    time.sleep(task)
    return -task


def test_what_is_asked_is_answered_as_it_is_done_after_a_beginning(tmp_path):
    (tmp_path / "began").mkdir()
    waits, goes = tmp_path / "there", ["divide"] * 8
    answers = {}
    for number, answer in as_done(work, [waits, *goes, 0.01, "who"], 2, beginning, tmp_path / "began"):
        answers[number] = answer
        if number == 10:
            waits.touch()
    assert list(answers)[-1] == 0 and answers[0] == "seen"  # the first to be asked, the last to be done
    assert sorted(answers) == list(range(11)) and answers[9] == -0.01
    assert {answers[k] for k in range(1, 9)} == {"raise"}
    began = {int(path.name) for path in (tmp_path / "began").iterdir()}
    assert len(began) == 2 and answers[10] in began
    assert list(as_done(work, [], 2)) == []


def test_one_task_is_drawn_before_it_is_wanted():
    drawn = []
    answers = as_done(work, (drawn.append(k) or 0.0 for k in range(100)), 1)
    assert drawn == [] and [next(answers) for _ in range(3)] == [(0, 0), (1, 0), (2, 0)] and len(drawn) == 5
    answers.close()


@pytest.mark.parametrize(
    ("task", "error", "match"),
    [
        (ConnectionError("no net"), ConnectionError, "^no net$"),
        (OverflowError("too large"), OverflowError, "^too large$"),
        ("own error", WorkerFailed, "Own: of a class that nobody knows"),
        ("end", WorkerFailed, "^a process ended with exit code 7$"),
    ],
)
def test_an_error_comes_after_the_answers_there_are_and_ends_all(task, error, match, started):
    answers = []
    with pytest.raises(error, match=match):
        for answer in as_done(work, [0.0, 0.0, task, 300, 300, 300], 2):
            answers.append(answer)
            time.sleep(0.5)  # meanwhile the next ones have come
    assert sorted(answers) == [(0, 0), (1, 0)] and len(started) == 2 and ended(started)


def test_a_beginning_that_fails_is_told():
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(as_done(work, [1], 2, os.listdir, "nowhere"))


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    started, start = [], SpawnProcess.start
    monkeypatch.setattr(SpawnProcess, "start", lambda self: start(self) or started.append(self))
    return started


def ended(processes):
    """Whether they end within 20 seconds."""
    deadline = time.monotonic() + 20
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    return not any(process.is_alive() for process in processes)


def test_who_is_at_work_ends_when_no_more_is_wanted(started):
    found = as_done(work, [0.0, 300, 300, 300], 2)
    assert next(found) == (0, 0)
    found.close()
    assert len(started) == 2 and ended(started)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_while_one_starts_leaves_none(when, started, monkeypatch):
    start = SpawnProcess.start

    def interrupted(self):
        if len(started) == 1 and when == "before":
            raise KeyboardInterrupt
        start(self)
        if len(started) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(as_done(work, [300] * 4, 2))
    assert len(started) == (1 if when == "before" else 2) and ended(started)


@pytest.mark.skipif(sys.platform == "win32", reason="sends an interrupt")
def test_python_ends_though_its_processes_were_at_work(tmp_path):
    (tmp_path / "script.py").write_text("""
import os, signal, threading, time
from rnnscratch.processes import as_done
if __name__ == "__main__":
    threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
    list(as_done(time.sleep, [300] * 6, 2))
""")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and done.stderr.splitlines()[-1] == "KeyboardInterrupt", done.stderr


def test_a_script_without_its_main_guard_is_told_so(tmp_path):
    (tmp_path / "script.py").write_text("""
import time
from rnnscratch.processes import as_done
list(as_done(time.sleep, [0], 2))
""")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert 'start workers under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
