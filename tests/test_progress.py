"""Progress bars: shown where asked for, silent otherwise."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rnnscratch
from rnnscratch.progress import Shown, progress_bar, shown


@pytest.mark.parametrize("show", [True, False])
def test_all_items_come_and_only_a_shown_bar_writes(show, capsys):
    with progress_bar(range(3), show, desc="work") as bar:
        assert list(bar) == [0, 1, 2]
    written = capsys.readouterr()
    assert written.out == "" and ("work" in written.err) == show


def test_a_bar_that_is_not_shown_looks_for_no_notebook_widgets():
    """Where ipywidgets is missing that search ends in a warning, which would stand in every notebook."""
    code = "import sys; from rnnscratch.progress import progress_bar; progress_bar([], False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "tqdm" in loaded and "tqdm.auto" not in loaded


class Broken(io.StringIO):
    """A stream that fails."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def write(self, text):
        self.calls += 1
        raise self.error

    def flush(self):
        self.write("")


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "the terminal is gone")]
)
def test_an_output_that_fails_stops_no_work(error):
    stream = Broken(error)
    output = Shown(stream)
    for _ in range(3):
        assert output.write("text") == 4
    output.flush()
    assert stream.calls == (1 if isinstance(error, BrokenPipeError) else 4)


def test_no_output_and_a_closed_one_stop_no_work_either_and_other_errors_are_told():
    Shown(None).write("text")
    stream = io.StringIO()
    stream.close()
    Shown(stream).write("text")
    with pytest.raises(ValueError, match="wrong"):
        Shown(Broken(ValueError("wrong"))).write("text")


def test_a_console_of_another_alphabet_gets_what_it_can_show():
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp437")
    Shown(console).write("2 × 3 ± naïve")
    console.flush()
    assert console.buffer.getvalue().decode("cp437") == "2 ? 3 ± naïve"


def test_only_the_process_s_own_streams_are_wrapped(capsys):
    assert shown(sys.stdout) is sys.stdout  # pytest's
    assert isinstance(shown(sys.__stdout__), Shown) and isinstance(shown(None), Shown)


@pytest.mark.parametrize("closed", ["", "stdout", "stderr"])
def test_a_reader_that_has_gone_stops_no_training(closed, tmp_path):
    """`python train.py 2>&1 | head -n 1`, or with the streams closed."""
    code = f"""
import sys, numpy as np, rnnscratch as rs
from rnnscratch import training
from rnnscratch.progress import say
data = [np.arange(4)] * 4, np.array([0, 1, 0, 1])
model = rs.SequenceClassifier(5, 2, 2, seed=0)
if {closed!r}:
    setattr(sys, {closed!r}, None)
for _ in range(300):
    say("a line")
training.fit(model, data, optimizer=rs.SGD(0.1), epochs=30, batch_size=1)
open({str(tmp_path / "done")!r}, "w").close()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(rnnscratch.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    process.wait(60)
    assert (tmp_path / "done").exists()
