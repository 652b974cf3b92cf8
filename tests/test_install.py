"""What a notebook installs where the library is not there: the checkout or a wheel at hand, never a name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LINES = (NOTEBOOKS / "install.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Run the lines in notebooks/ of an empty place where rnnscratch is not; what pip was asked to install."""
    asked = []
    monkeypatch.setattr(subprocess, "check_call", lambda command: asked.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")

    def run():
        asked.clear()
        exec(LINES, {})
        assert all(command[:5] == [sys.executable, "-m", "pip", "install", "-q"] for command in asked)
        return [command[5:] for command in asked]

    return run


def checkout(folder):
    (folder / "rnnscratch").mkdir(parents=True)
    (folder / "rnnscratch" / "__init__.py").write_text("")
    (folder / "setup.cfg").write_text("")


def test_nothing_is_installed_where_it_can_be_imported(installed, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(subprocess, "check_call", None)
    exec(LINES, {})


def test_what_is_at_hand_is_installed_the_checkout_around_first(installed, tmp_path):
    wheel = tmp_path / "notebooks" / "rnnscratch-0.1.0-py3-none-any.whl"
    wheel.write_text("")
    assert installed() == [[f"{wheel}[imdb,notebooks]"]]
    checkout(tmp_path / "notebooks" / "rnnscratch-main")
    assert installed() == [[f"{tmp_path / 'notebooks' / 'rnnscratch-main'}[imdb,notebooks]"]]
    checkout(tmp_path)
    assert installed() == [[f"{tmp_path}[imdb,notebooks]"]]


def test_without_any_the_error_says_where_to_put_it(installed, tmp_path):
    (tmp_path / "setup.cfg").write_text("")  # another project's
    with pytest.raises(
        ModuleNotFoundError, match=r"put its folder \(with setup\.cfg\) or its wheel beside this notebook"
    ):
        installed()


def test_a_folder_of_that_name_is_not_taken_for_the_library(tmp_path):
    """A clone beside the notebook is a folder `rnnscratch`, which Python finds as a package without a file."""
    checkout(tmp_path / "rnnscratch")
    code = f"import subprocess\nsubprocess.check_call = print\nexec({LINES!r})"
    run = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert run.stderr == "" and f"{tmp_path / 'rnnscratch'}[imdb,notebooks]" in run.stdout


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py")), ids=lambda path: path.name[:2])
def test_no_notebook_installs_in_another_way(source):
    text = source.read_text(encoding="utf-8")
    if "google.colab" in text:
        pytest.skip("it has yet to take over these lines")
    begin = LINES.index("if not getattr")
    assert LINES[begin:] in text or '"install"' not in text
