"""Notebooks from their sources: run them, keep what they print and draw, check that they still run.

    python notebooks/build.py                 run all at full size and write the .ipynb files
    python notebooks/build.py 01 05           these alone
    python notebooks/build.py --check         run at small size with solutions, compare the .ipynb files
    python notebooks/build.py --student       write the edition to fill in, not run, to notebooks/student/ (or --out)
    python notebooks/build.py --html          write a page of each .ipynb file as it is, to notebooks/html/ (or --out)
    python notebooks/build.py --slides        likewise slides, to notebooks/slides/; arrow keys turn them

Needs the extra `notebooks`. A source is a `py:percent` script of jupytext; what a cell's header says of it
(`# %% tags=["..."]`) is kept. Exercises end with solutions folded away in `<details>`; their Python blocks run as well
when checking, after everything else. `blanks.py` says how a source marks what the learner is to write, and which
answers `rs.teach.answer` is to know.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

import blanks
import jupytext
import nbclient
import nbformat
from tqdm import tqdm

from rnnscratch.teach import answers

HERE = Path(__file__).resolve().parent
SECONDS = 1800  # for one cell
NOTICED = 3  # a blank left open is looked for in its own cell and those after it, so many in all


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
        for spacing in ("lines_to_next_cell", "lines_to_end_of_cell_marker"):  # jupytext's own, of the source's text
            cell["metadata"].pop(spacing, None)
    notebook["metadata"] = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(notebook: Any, quick: bool) -> None:
    """Run all cells in a fresh kernel, in place. Raises nbclient's CellExecutionError for a cell that fails."""
    os.environ["RNNSCRATCH_QUICK"] = "1" if quick else "0"
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute(cwd=str(HERE))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)


def joined(outputs: list[Any]) -> list[Any]:
    """Outputs in which text that came in several parts, as a kernel happens to send it, is one again."""
    found: list[Any] = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            found.append(output)
    return found


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
    try:
        wrong = unreadable(notebook)
        entries, said = run(notebook, quick=True)
    except (nbclient.exceptions.CellExecutionError, ValueError) as error:
        return [*found, f"{source.name}: {error}"]
    return found + [f"{source.name}: {each}" for each in [*wrong, *said, *outdated(entries, source)]]


def run(notebook: Any, quick: bool, probing: bool = True) -> tuple[dict[str, answers.Entry], list[str]]:
    """Run a notebook in place, then its solutions: the entries of their answers, and what is wrong with all that.

    A blank is tried right before its cell runs: the cell with this blank open, then those that follow. Raises
    nbclient's CellExecutionError for a cell that fails, ValueError for a mark that cannot be read.
    """
    probes: dict[str, Any] = {}
    order: list[Any] = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    guards = blanks.guarded([cell.source for cell in code])
    for at, cell in enumerate(code):
        for number, blank in enumerate(blanks.blanks(cell.source) if probing else [], 1):
            following = [guards[at] + blanks.opened(cell.source, blank)]
            following += [guards[k] + code[k].source for k in range(at + 1, min(at + NOTICED, len(code)))]
            probe = f"__import__('blanks').left_open({following!r}, {blank.message!r}, globals())"
            probes[f"{cell.id}, blank {number} ({blank.what})"] = printing(probe)
            order.append(next(reversed(probes.values())))
        order.append(cell)
    solved = blanks.solutions(notebook)
    solutions = [nbformat.v4.new_code_cell(each) for each in solved]
    for block, cell in zip(solved, solutions):
        order.append(cell)
        for number, expression in blanks.answers(block).items():
            if number in probes:
                raise ValueError(f"answer {number} is given twice")
            probes[number] = printing(f"__import__('rnnscratch').teach.answers.entry({number!r}, {expression})")
            order.append(probes[number])
    whole = nbformat.v4.new_notebook(cells=order, metadata=notebook.metadata)
    execute(whole, quick)
    notebook.metadata = whole.metadata  # the kernel adds its language and the widgets' state
    said = {name: printed(cell) for name, cell in probes.items()}
    wrong = complaints(nbformat.v4.new_notebook(cells=notebook.cells + solutions))
    wrong += [f"{name}: {what}" for name, what in said.items() if isinstance(what, str) and what]
    return {number: entry for number, entry in said.items() if isinstance(entry, dict)}, wrong


def printing(expression: str) -> Any:
    """A cell that prints the value of an expression as JSON."""
    return nbformat.v4.new_code_cell(f"print(__import__('json').dumps({expression}))")


def printed(cell: Any) -> Any:
    """What such a cell printed last; figures that a blank left unfinished may stand around it."""
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return json.loads(text.splitlines()[-1])


def unreadable(notebook: Any) -> list[str]:
    """What keeps the student edition from being read, or from being the notebook when its blanks are filled in."""
    edition = blanks.student(notebook)
    found = []
    for cell in edition.cells:
        if cell.cell_type == "code":
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                found.append(f"student edition, {cell.id}, line {error.lineno}: {error.msg}: {error.text}")
        elif blanks.SOLUTION.search(cell.source):
            found.append(f"student edition, {cell.id}: a solution is left")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    other = [cell.id for cell in code if blanks.filled(blanks.opened(cell.source), cell.source) != cell.source]
    return found + [f"{name}: its blanks filled in again are not the cell" for name in other]


def known(source: Path) -> dict[str, answers.Entry]:
    """The answers of one notebook that `rs.teach.answer` knows."""
    chapter = int(source.name[:2])
    return {number: entry for number, entry in answers.load().items() if answers.place(number)[0] == chapter}


def outdated(entries: dict[str, answers.Entry], source: Path) -> list[str]:
    """Which answers are not those that `rs.teach.answer` knows: they follow from the source at its full size."""
    chapter, old = int(source.name[:2]), known(source)
    found = [
        f"answer {number} is not of notebook {chapter}" for number in entries if answers.place(number)[0] != chapter
    ]
    for number in sorted({*entries, *old}, key=answers.place):
        if number not in old or number not in entries:
            what = "is not known" if number in entries else "is known and has no mark"
            found.append(f"answer {number} {what}: python notebooks/build.py {source.name[:2]}")
        elif not answers.same(entries[number], old[number]):
            found.append(
                f"answer {number} is another at small size, or was: python notebooks/build.py {source.name[:2]}"
            )
    return found


def write(source: Path) -> list[str]:
    """Run one notebook at full size and keep its outputs, and the hashes of its answers; what is wrong with it."""
    notebook = read(source)
    if any(blanks.answers(block) for block in blanks.solutions(notebook)):
        entries, wrong = run(notebook, quick=False, probing=False)
    else:
        execute(notebook, quick=False)
        entries, wrong = {}, complaints(notebook)
    old = known(source)
    for number in entries:
        if number in old and answers.same(entries[number], old[number]):
            entries[number] = old[number]  # as it stands: the last bits of numbers differ from machine to machine
    others = {number: entry for number, entry in answers.load().items() if number not in old}
    if entries != old:
        answers.save({**others, **entries})
    partial = source.with_suffix(".ipynb.partial")
    nbformat.write(notebook, partial)
    partial.replace(source.with_suffix(".ipynb"))
    return [f"{source.name}: {each}" for each in wrong]


def write_edition(source: Path, edition: str, folder: Path) -> list[str]:
    """Write one notebook as "student", "html" or "slides"; what keeps it from being written."""
    folder.mkdir(parents=True, exist_ok=True)
    if edition == "student":
        nbformat.write(blanks.student(read(source)), folder / f"{source.stem}.ipynb")
        return []
    import pages  # nbconvert takes a second to load

    wrong = differences(read(source), source.with_suffix(".ipynb"))
    if not wrong:
        notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
        try:
            html = pages.page(notebook, source.stem, slides=edition == "slides")
        except ValueError as error:
            return [f"{source.name}: {error}"]
        suffix = ".slides.html" if edition == "slides" else ".html"
        (folder / f"{source.stem}{suffix}").write_text(html, encoding="utf-8")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the notebooks and keep their outputs, or check them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginnings of names, such as 01 (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="run at small size and compare, write nothing")
    what.add_argument("--student", action="store_true", help="write the edition to fill in, not run")
    what.add_argument("--html", action="store_true", help="write a page of each .ipynb file, which needs no network")
    what.add_argument("--slides", action="store_true", help="write slides of each .ipynb file, likewise")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where these write (default: a folder here)")
    options = parser.parse_args(arguments)
    editions = [name for name in ("student", "html", "slides") if getattr(options, name)]
    if options.out and not editions:
        parser.error("--out goes with --student, --html or --slides")
    try:
        chosen = sources(options.names)
    except ValueError as error:
        parser.error(str(error))
    wrong: list[str] = []
    for source in tqdm(chosen, unit="notebook"):
        if options.check:
            wrong += check(source)
        elif editions:
            wrong += write_edition(source, editions[0], options.out or HERE / editions[0])
        else:
            wrong += write(source)
    for each in wrong:
        print(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
