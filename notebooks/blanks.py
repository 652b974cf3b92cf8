"""The student edition of a notebook: blanks in place of marked lines, and no solutions.

In a code cell the lines between `# BLANK: what to write` and `# END` are the learner's to write; both marks are
indented as the lines are. A later cell that needs a name which a blank outside of functions leads to begins with lines
that say so while this blank is open. In an exercise the solution is what stands in `<details>` under the summary
"Solution"; a line `# answer 1.3: expression` in its Python block says what `rs.teach.answer("1.3", ...)` is to accept.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nbformat
import numpy as np

SOLUTION = re.compile(r"\n*<details>\s*<summary>Solution.*?</details>\n*", re.DOTALL)
NOTE = """*In this edition you write the lines that matter. A cell that stops with `your code: ...` says what is
missing; delete its `raise` when it is written. The cell after it says what still differs.*"""


@dataclass(frozen=True)
class Blank:
    """Lines for the learner to write, as they stand in the source with their marks."""

    what: str
    indent: str
    lines: str

    @property
    def message(self) -> str:
        return f"your code: {self.what}"

    @property
    def stub(self) -> str:
        """What stands in their place: it says what is missing, and stops whoever runs on without it."""
        first = f"{self.indent}...  # {self.message}\n"
        return first + f"{self.indent}raise NotImplementedError({self.message!r})  # delete this line when it is done\n"


def pieces(source: str) -> list[str | Blank]:
    """A code cell cut into text and blanks. Raises ValueError for a mark without its other one."""
    found: list[str | Blank] = [""]
    what, inside = "", ""
    for line in source.splitlines(keepends=True):
        mark = line.strip()
        if mark.startswith("# BLANK"):
            if what or not re.fullmatch(r"# BLANK: \S.*", mark):
                raise ValueError(f"{mark!r}: expected '# BLANK: what to write', and '# END' before the next one")
            what, inside = mark.removeprefix("# BLANK: "), line
        elif what:
            inside += line
            if mark == "# END":
                found += [Blank(what, inside[: inside.index("#")], inside), ""]
                what = ""
        elif mark == "# END":
            raise ValueError("'# END' without a '# BLANK: ...' before it")
        else:
            found[-1] += line
    if what:
        raise ValueError(f"'# BLANK: {what}' without an '# END' after it")
    return found


def blanks(source: str) -> list[Blank]:
    return [piece for piece in pieces(source) if isinstance(piece, Blank)]


def opened(source: str, only: Blank | None = None) -> str:
    """A code cell with its blanks open, or only one of them."""
    text = ""
    for piece in pieces(source):
        if isinstance(piece, str):
            text += piece
        else:
            text += piece.stub if only in (None, piece) else piece.lines
    return text.rstrip("\n") if not source.endswith("\n") else text


def filled(text: str, source: str) -> str:
    """A student's cell with the blanks of its source written back."""
    text += "\n"
    for blank in blanks(source):
        text = text.replace(blank.stub, blank.lines.rstrip("\n") + "\n", 1)
    return text.removesuffix("\n")


def solutions(notebook: Any) -> list[str]:
    """The Python blocks inside `<details>` of the notebook's texts."""
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = re.findall(r"<details>.*?</details>", texts, re.DOTALL)
    return [block for each in folded for block in re.findall(r"```python\n(.*?)```", each, re.DOTALL)]


def answers(block: str) -> dict[str, str]:
    """The expressions of a solution's answers, by number. Raises ValueError for one that cannot be read."""
    found = {}
    for line in re.findall(r"^# answer .*$", block, re.MULTILINE):
        mark = re.fullmatch(r"# answer (\d+\.\d+): (\S.*)", line)
        if not mark or mark[1] in found:
            raise ValueError(f"{line!r}: expected '# answer 1.3: expression', each number once")
        found[mark[1]] = mark[2]
    return found


def student(notebook: Any) -> Any:
    """The edition to fill in, not yet run; the notebook itself stays as it is."""
    edition = copy.deepcopy(notebook)
    edition.cells = []
    guards = iter(guarded([cell.source for cell in notebook.cells if cell.cell_type == "code"]))
    for cell in copy.deepcopy(notebook.cells):
        if cell.cell_type == "code":
            cell.source, cell.outputs, cell.execution_count = next(guards) + opened(cell.source), [], None
            edition.cells.append(cell)
        elif cell.cell_type == "markdown":
            edition.cells += _without_solutions(cell)
        else:
            edition.cells.append(cell)
    if any(blanks(cell.source) for cell in notebook.cells if cell.cell_type == "code"):
        edition.cells[0].source += f"\n\n{NOTE}"
    for number, cell in enumerate(edition.cells, 1):
        cell["id"] = f"cell-{number}"
    return edition


def guarded(sources: list[str]) -> list[str]:
    """For each code cell the lines to begin with: they name the open blanks above without which it lacks a name, or
    finds it as empty as it began."""
    found, bound, order = list[str](), set[str](), list[str]()  # in `order` the messages of the blanks so far
    # a name, and for each blank that keeps it from being made: how that shows, and the blank's message
    awaited: dict[str, list[tuple[str, str]]] = {}
    unfinished: dict[str, str] = {}  # a function that stops whoever calls it, and the message of its blank
    for source in sources:
        found.append("")
        tree = ast.parse(source)
        first: dict[str, int] = {}  # a name that the cell binds, and its line
        needed: dict[str, str] = {}  # the message of a blank, and how it shows that the cell lacks a name without it
        for each in sorted(_names(tree), key=lambda name: (name.lineno, isinstance(name.ctx, ast.Store))):
            if isinstance(each.ctx, ast.Store):
                first.setdefault(each.id, each.lineno)
            elif each.id not in first:
                for sign, message in awaited.get(each.id, []):
                    needed.setdefault(message, sign)
        earlier = [(needed[message], message) for message in dict.fromkeys(order) if message in needed]
        for sign, message in earlier:
            found[-1] += f"if {sign}:  # it comes from a blank above\n    raise NotImplementedError({message!r})\n"
        own = _stops(source, tree, unfinished)  # where the cell itself stops
        order += [blank.message for blank in blanks(source)]
        for name, line in first.items():
            before = [message for at, message in own if at < line]
            if (before or earlier) and name not in bound:
                missing = f"{name!r} not in globals()"
                awaited[name] = [*earlier, (missing, before[-1] if before else earlier[-1][1])]
            elif not before and not earlier:
                awaited.pop(name, None)
                bound.add(name)
        for name, (begun, filled_at) in _filled(tree).items():
            between = [message for at, message in own if begun < at < filled_at]
            if between:
                awaited.setdefault(name, []).append((f"not {name}", between[-1]))
    return found


def _filled(tree: ast.Module) -> dict[str, tuple[int, int]]:
    """The names that begin as 0 or as an empty list or dict, and are added to: the lines of both."""
    begun: dict[str, int] = {}
    added: dict[str, int] = {}
    for node in _outer(tree):
        if isinstance(node, ast.Assign):
            for target, value in ((each, node.value) for each in node.targets):
                both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                for name, start in zip(target.elts, value.elts) if both else [(target, value)]:
                    if isinstance(name, ast.Name) and ast.unparse(start) in ("0", "0.0", "[]", "{}"):
                        begun[name.id] = node.lineno
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            added[node.target.id] = node.lineno
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name):
            by_method = isinstance(node, ast.Attribute) and node.attr in ("append", "extend", "insert", "update")
            if by_method or isinstance(node.ctx, ast.Store):
                added[node.value.id] = node.lineno
    return {name: (begun[name], line) for name, line in added.items() if name in begun}


def _outer(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes outside of functions, in the order of the source."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _outer(child)


def _stops(source: str, tree: ast.Module, unfinished: dict[str, str]) -> list[tuple[float, str]]:
    """The lines at which the cell stops while a blank is open, its own or that of a function that it calls there, each
    with the message; the functions that the cell defines join those `unfinished` or leave them.
    """
    marks = [at for at, line in enumerate(source.splitlines(), 1) if line.strip().startswith("# BLANK: ")]
    left = dict(zip(marks, blanks(source)))
    found: list[tuple[float, str]] = []

    def look(node: ast.AST, line: int) -> None:
        line = node.lineno if isinstance(node, ast.stmt) else line
        if isinstance(node, ast.FunctionDef):
            inside = [left.pop(at).message for at in marks if node.lineno < at <= (node.end_lineno or 0)]
            inside += [
                unfinished[each.id] for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in unfinished
            ]
            unfinished.pop(node.name, None)
            unfinished.update((node.name, message) for message in inside[:1])
        elif isinstance(node, ast.Name) and node.id in unfinished and isinstance(node.ctx, ast.Load):
            found.append((line - 0.5, unfinished[node.id]))  # before what the statement binds
        elif not isinstance(node, ast.Lambda):
            for child in ast.iter_child_nodes(node):
                look(child, line)

    look(tree, 0)
    return sorted([*found, *((at, blank.message) for at, blank in left.items())])


def _names(node: ast.AST) -> Iterator[ast.Name]:
    """The names that code reads or binds, but those that its functions and comprehensions have for themselves."""
    if isinstance(node, ast.Name):
        yield node
    for child in ast.iter_child_nodes(node):
        names = list(_names(child))
        if isinstance(
            child, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        ):
            own = {each.id for each in names if isinstance(each.ctx, ast.Store)}
            own |= {each.arg for each in ast.walk(child) if isinstance(each, ast.arg)}
            names = [each for each in names if each.id not in own]
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield ast.Name(child.name, ast.Store(), lineno=child.lineno)
        yield from names


def _without_solutions(cell: Any) -> list[Any]:
    """A text with room for the learner's work where solutions stood: each becomes a cell of its own."""
    texts, folded = SOLUTION.split(cell.source), SOLUTION.findall(cell.source)
    found = []
    for text, solution in zip(texts, [*folded, ""]):
        if text.strip():
            found.append(nbformat.v4.new_markdown_cell(text, metadata={} if found else cell.metadata))
        if "```python" in solution:
            work = ["# your work"] + [f'# rs.teach.answer("{number}", value)' for number in answers(solution)]
            found.append(nbformat.v4.new_code_cell("\n".join(work)))
        elif solution:
            found.append(nbformat.v4.new_markdown_cell("*Your answer:*"))
    return found


def left_open(cells: list[str], message: str, names: dict[str, Any]) -> str:
    """What is wrong with how these cells run, the first of them with a blank left open; "" if one stops as it should
    and none otherwise.

    `names` are the globals that they run in, changed meanwhile and then as before.
    """
    before = dict(names)
    names.update(_copies(before))
    polite = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for cell in cells:
                try:
                    exec(compile(cell, "<cell>", "exec"), names)
                except Exception as error:  # whatever a learner would see
                    if polite and str(error).endswith("was called before forward"):
                        break  # copies of layers know no way back
                    if not isinstance(error, NotImplementedError) or str(error) != message:
                        return f"left open, it ends in {type(error).__name__}: {error}"
                    polite += 1
    finally:
        for name in set(names) - set(before):
            del names[name]
        names.update(before)
    return "" if polite else f"left open, it stops none of {len(cells)} cells"


def _copies(names: dict[str, Any]) -> dict[str, Any]:
    """Copies of the arrays, random generators, layers and models, and of lists and dicts of them."""
    kinds = (list, dict, np.ndarray, np.random.Generator)
    seen: dict[int, Any] = {}
    found = {}
    for name, value in names.items():
        if name in ("In", "Out") or name.startswith("_"):
            continue  # IPython's own
        if isinstance(value, kinds) or type(value).__module__.startswith("rnnscratch"):
            with contextlib.suppress(TypeError):  # a list of what cannot be copied, such as open files, stays as it is
                found[name] = copy.deepcopy(value, seen)
    return found
