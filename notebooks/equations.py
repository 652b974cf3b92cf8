"""Where each equation of the report is, in code, course and tests: the table of notebooks/README.md.

    python notebooks/equations.py             write the table
    python notebooks/equations.py --check     fail if it is out of date or an equation has no place

An equation is cited as "Eq. 31" or "Eqs 28-33, 66" in comments and docstrings of code and tests, and in the texts of
the notebooks.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BEGIN, END = "<!-- equations: begin -->", "<!-- equations: end -->"
LAST = 80
CITATION = re.compile(r"\bEqs?\.?\s+(\d+(?:(?:\s*(?:,|-|–|;|\band\b|\bto\b|\bor\b|\bagainst\b)[\s#]*)+\d+)*)")
RANGE = re.compile(r"(\d+)(?:\s*(?:-|–|\bto\b)[\s#]*(\d+))?")

NAMES = {
    (1, 1): "vanilla state", (2, 2): "output", (3, 3): "loss", (4, 4): "one path to W", (5, 5): "sum over time, W",
    (6, 6): "product of Jacobians", (7, 7): "one path to U", (8, 8): "sum over time, U", (9, 9): "product, U",
    (10, 10): "one path to V", (11, 11): "sum over time, V", (12, 12): "product, V", (13, 13): "one path to b_h",
    (14, 14): "sum over time, b_h", (15, 15): "product, b_h", (16, 16): "one path to b_y",
    (17, 17): "sum over time, b_y", (18, 18): "product, b_y", (19, 23): "update", (24, 24): "sigmoid",
    (25, 25): "its slope", (26, 26): "tanh", (27, 27): "its slope", (28, 28): "forget gate", (29, 29): "input gate",
    (30, 30): "candidate", (31, 31): "cell", (32, 32): "output gate", (33, 33): "LSTM state", (34, 34): "update gate",
    (35, 35): "reset gate", (36, 36): "candidate", (37, 37): "GRU state, first form", (38, 38): "first layer",
    (39, 39): "second layer", (40, 40): "layer L", (41, 42): "output of a deep network", (43, 43): "states of a chain",
    (44, 44): "Markov property", (45, 45): "transition probability", (46, 47): "joint probability",
    (48, 48): "marginal", (49, 49): "marginal, one step on", (50, 50): "stationary distribution",
    (51, 51): "hidden states", (52, 52): "observations", (53, 54): "transition matrix", (55, 56): "emission matrix",
    (57, 57): "joint probability", (58, 58): "Gaussian mixture", (59, 59): "joint density", (60, 60): "cost of CBOW",
    (61, 61): "cost of skip-gram", (62, 62): "model 1, state", (63, 63): "model 1, output", (64, 64): "model 1, loss",
    (65, 65): "model 2, start", (66, 66): "forget gate", (67, 67): "input gate", (68, 68): "candidate",
    (69, 69): "cell",
    (70, 70): "output gate", (71, 71): "LSTM state", (72, 72): "model 2, output", (73, 73): "model 2, loss",
    (74, 74): "model 3, start", (75, 75): "reset gate", (76, 76): "update gate", (77, 77): "candidate",
    (78, 78): "GRU state", (79, 79): "model 3, output", (80, 80): "model 3, loss",
}  # fmt: skip
NO_CODE = dict.fromkeys((4, 7, 13), "an error of the report: one of two terms; the code computes Eqs 5, 8, 14")


class Place(NamedTuple):
    """One citation of an equation."""

    file: str
    line: int
    inside: str  # the function, class or section
    text: str
    together: int  # how many equations are cited in one breath: the fewer, the more exact
    in_code: bool  # on a line of code, not in a docstring


def cited(text: str) -> list[int]:
    """The equations that a citation lists.

    >>> cited("28-30, 66 and 70")
    [28, 29, 30, 66, 70]
    """
    return [n for first, last in RANGE.findall(text) for n in range(int(first), int(last or first) + 1)]


def in_python(path: Path) -> Iterator[tuple[int, Place]]:
    """The citations of a module, with the function or class that each stands in."""
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    kinds = (ast.FunctionDef, ast.ClassDef)
    blocks = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    for match in CITATION.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        inner = [node for node in blocks if node.lineno <= line <= (node.end_lineno or node.lineno)]
        name = max(inner, key=lambda node: node.lineno).name if inner else ""
        code, _, comment = lines[line - 1].partition("  # ")
        in_code = bool(comment) and CITATION.search(comment) is not None
        numbers = cited(match[1])
        place = Place(str(path.relative_to(ROOT)), line, name, code.strip() if in_code else "", len(numbers), in_code)
        for number in numbers:
            yield number, place


def in_notebook(path: Path) -> Iterator[tuple[int, Place]]:
    """The citations of a notebook's texts, with the section that each stands in."""
    section = ""
    text, starts = "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.startswith("# ## "):
            section = line[5:]
        if line.startswith("# ") and not line.startswith("# %%") and section and section != "Exercises":
            starts.append((len(text), number, section))
            text += line[2:] + "\n"
    for match in CITATION.finditer(text):
        _, line, inside = max(start for start in starts if start[0] <= match.start())
        numbers = cited(match[1])
        for number in numbers:
            yield number, Place(str(path.relative_to(ROOT)), line, inside, "", len(numbers), False)


def collect() -> dict[str, dict[int, list[Place]]]:
    """All citations by kind of place and equation, the most exact first. Raises ValueError for wrong ones."""
    found: dict[str, dict[int, list[Place]]] = {"code": {}, "notebook": {}, "test": {}}
    sources = [("code", path) for path in sorted((ROOT / "rnnscratch").rglob("*.py"))]
    tests = sorted({*(ROOT / "tests").rglob("*.py")} - {ROOT / "tests" / "test_notebooks.py"})  # which tests this file
    sources += [("test", path) for path in tests]
    sources += [("notebook", path) for path in sorted(HERE.glob("[0-9][0-9]_*.py"))]
    for kind, path in sources:
        for number, place in in_notebook(path) if kind == "notebook" else in_python(path):
            if not 1 <= number <= LAST:
                raise ValueError(f"{place.file}:{place.line} cites Eq. {number}; the report has 1 to {LAST}")
            found[kind].setdefault(number, []).append(place)
    for places in found.values():
        for each in places.values():
            each.sort(key=lambda p: ("/teach/" in p.file, not p.in_code, not p.inside, p.together, p.file, p.line))
    return found


def missing(found: dict[str, dict[int, list[Place]]]) -> list[str]:
    """The equations without a place in code, course or tests, and without a reason; reasons without need."""
    wrong = []
    for kind, places in found.items():
        absent = [n for n in range(1, LAST + 1) if n not in places and not (kind == "code" and n in NO_CODE)]
        wrong += [f"Eq. {number}: no {kind} cites it" for number in absent]
    unneeded = [number for number in NO_CODE if number in found["code"]]
    return wrong + [f"Eq. {number}: there is code, and a reason for none" for number in unneeded]


def table(found: dict[str, dict[int, list[Place]]]) -> str:
    """The map as a Markdown table."""
    rows = ["| Eq. | | Code | Notebook | Test |", "| ---: | --- | --- | --- | --- |"]
    names = {n: name for (first, last), name in NAMES.items() for n in range(first, last + 1)}
    for number in range(1, LAST + 1):
        cells = [_cell(found[kind].get(number, []), kind) for kind in ("code", "notebook", "test")]
        if number in NO_CODE:
            cells[0] = f"none: {NO_CODE[number]}"
        rows.append(f"| {number} | {names[number]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(places: list[Place], kind: str) -> str:
    if not places:
        return ""
    place = places[0]
    if kind == "notebook":
        return f"[{place.file[10:12]}]({place.file[10:-3]}.ipynb), {place.inside.split('. ', 1)[-1]}"
    short = place.file.removeprefix("rnnscratch/").removeprefix("tests/")
    inside = f" `{place.inside}`" if place.inside else ""
    code = f": `{place.text}`" if place.text else ""
    return f"[{short}](../{place.file}){inside}{code}".replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write or check the map of the report's equations.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if anything is amiss")
    options = parser.parse_args(arguments)
    found = collect()
    wrong = missing(found)
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    new = f"{head}{BEGIN}\n\n{table(found)}\n\n{END}{rest.partition(END)[2]}"
    if options.check and new != text:
        wrong.append("the table of notebooks/README.md is out of date: python notebooks/equations.py")
    if not options.check:
        page.write_text(new, encoding="utf-8")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
