"""Notebooks from their sources: run them, keep what they print and draw, check that they still run.

    python notebooks/build.py                 run all at full size and write the .ipynb files
    python notebooks/build.py 01 05           these alone
    python notebooks/build.py --check         run at small size with solutions, compare the .ipynb files

Needs the extra `notebooks`. A source is a `py:percent` script of jupytext. Exercises end with solutions folded away in
`<details>`; their Python blocks run as well when checking, after everything else.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
SECONDS = 1800  # for one cell


def sources(chosen: list[str]) -> list[Path]:
    """The sources whose names begin with one of those chosen, or all. Raises ValueError for a name without any."""
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    for name in chosen:
        if not any(source.name.startswith(name) for source in found):
            raise ValueError(f"no notebook begins with {name!r}; there are {', '.join(each.stem for each in found)}")
    return [source for source in found if not chosen or source.name.startswith(tuple(chosen))]


def read(source: Path) -> Any:
    """The notebook of a source, not yet run, with cells numbered so that two runs differ in outputs alone."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
    notebook["metadata"] = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def solutions(notebook: Any) -> list[str]:
    """The Python blocks inside `<details>` of the notebook's texts."""
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = re.findall(r"<details>.*?</details>", texts, re.DOTALL)
    return [block for each in folded for block in re.findall(r"```python\n(.*?)```", each, re.DOTALL)]


def execute(notebook: Any, quick: bool) -> None:
    """Run all cells in a fresh kernel, in place. Raises nbclient's CellExecutionError for a cell that fails."""
    os.environ["RNNSCRATCH_QUICK"] = "1" if quick else "0"
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute(cwd=str(HERE))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day


def complaints(notebook: Any) -> list[str]:
    """What must not stand in a notebook's outputs: errors, warnings, cells that did not run."""
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            found.append(f"cell {number} has not run")
        bad = [each for each in cell.outputs if each.output_type == "error" or each.get("name") == "stderr"]
        found += [f"cell {number} wrote: {each.get('text') or each.get('evalue')}" for each in bad]
    return found


def differences(notebook: Any, committed: Path) -> list[str]:
    """Where the committed notebook's cells are not those of the source."""
    if not committed.exists():
        return [f"{committed.name} does not exist"]
    old = nbformat.read(committed, as_version=4)
    if [(c.cell_type, c.source) for c in old.cells] != [(c.cell_type, c.source) for c in notebook.cells]:
        return [f"{committed.name} is not made from its source as it is now: python notebooks/build.py"]
    return [f"{committed.name}: {each}" for each in complaints(old)]


def check(source: Path) -> list[str]:
    """What is wrong with one notebook, run at small size with its solutions, and with its committed form."""
    notebook = read(source)
    found = differences(notebook, source.with_suffix(".ipynb"))
    notebook.cells += [nbformat.v4.new_code_cell(each) for each in solutions(notebook)]
    try:
        execute(notebook, quick=True)
    except nbclient.exceptions.CellExecutionError as error:
        return [*found, f"{source.name}: {error}"]
    return found + [f"{source.name}: {each}" for each in complaints(notebook)]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the notebooks and keep their outputs, or check them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginnings of names, such as 01 (default: all)")
    parser.add_argument("--check", action="store_true", help="run at small size and compare, write nothing")
    options = parser.parse_args(arguments)
    try:
        chosen = sources(options.names)
    except ValueError as error:
        parser.error(str(error))
    wrong: list[str] = []
    for source in tqdm(chosen, unit="notebook"):
        if options.check:
            wrong += check(source)
            continue
        notebook = read(source)
        execute(notebook, quick=False)
        wrong += [f"{source.name}: {each}" for each in complaints(notebook)]
        partial = source.with_suffix(".ipynb.partial")
        nbformat.write(notebook, partial)
        partial.replace(source.with_suffix(".ipynb"))
    for each in wrong:
        print(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
