"""The course runs from top to bottom with its exercises, and the map of the report's equations holds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickles look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def equations():
    return load("equations")


def test_all_thirteen_are_there_with_source_and_notebook():
    assert [name[:2] for name in NAMES] == [f"{k:02}" for k in range(1, 14)]
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_its_outputs_are_those_of_its_source_without_warnings(name):
    """At small size and with the solutions of its exercises, in a kernel of its own."""
    pytest.importorskip("nbclient", reason="notebooks run with nbclient; it comes with the notebooks extra")
    command = [sys.executable, NOTEBOOKS / "build.py", "--check", name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_a_notebook_may_not_hold_is_told(monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="it comes with the notebooks extra")
    monkeypatch.syspath_prepend(NOTEBOOKS)
    build = load("build")
    cell = nbformat.v4.new_code_cell("1 / 0", execution_count=1)
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="fine"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="division by zero"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("2")])
    assert build.complaints(notebook) == [
        "cell 1 wrote: a warning",
        "cell 1 wrote: division by zero",
        "cell 2 has not run",
    ]


def test_text_that_a_kernel_sends_in_parts_is_one_output(monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="it comes with the notebooks extra")
    monkeypatch.syspath_prepend(NOTEBOOKS)
    build = load("build")
    figure = nbformat.v4.new_output("display_data", {"text/plain": "a figure"})
    parts = [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]
    streams = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in parts]
    last = nbformat.v4.new_output("stream", name="stdout", text="e")
    assert [each.get("text") for each in build.joined([*streams, figure, last])] == ["ab\n", "c", "d", None, "e"]


def test_every_equation_of_the_report_has_its_place(equations, capsys):
    assert equations.main(["--check"]) == 0, capsys.readouterr().out


def test_an_equation_without_a_place_and_one_that_does_not_exist_are_told(equations, tmp_path, monkeypatch):
    found = equations.collect()
    del found["code"][31], found["test"][5]
    assert {"Eq. 31: no code cites it", "Eq. 5: no test cites it"} <= set(equations.missing(found))
    (tmp_path / "rnnscratch").mkdir()
    (tmp_path / "rnnscratch" / "cell.py").write_text('"""Eqs 28-30,\nand 66."""\nh = 1  # Eq. 81\n')
    monkeypatch.setattr(equations, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"cell\.py:3 cites Eq\. 81; the report has 1 to 80"):
        equations.collect()


def test_citations_are_read_with_their_place(equations, tmp_path, monkeypatch):
    monkeypatch.setattr(equations, "ROOT", tmp_path)
    path = tmp_path / "cell.py"
    path.write_text('def step():\n    """Eqs 28-30,\n    66 and 70."""\n    c = f + g  # cell  Eq. 31, 69\n')
    found = list(equations.in_python(path))
    assert [number for number, _ in found] == [28, 29, 30, 66, 70, 31, 69]
    assert found[-1][1] == ("cell.py", 4, "step", "c = f + g", 2, True)
    notebook = tmp_path / "01_a.py"
    notebook.write_text(
        "# %% [markdown]\n# Eq. 9\n# ## 1. Cell\n#\n# The cell (Eqs 31,\n# 69).\n# ## Exercises\n# Eq. 1\n"
    )
    assert [(number, place.inside) for number, place in equations.in_notebook(notebook)] == [
        (31, "1. Cell"),
        (69, "1. Cell"),
    ]
