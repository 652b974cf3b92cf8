"""Progress bars: shown where asked for, silent otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rnnscratch.progress import progress_bar


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
