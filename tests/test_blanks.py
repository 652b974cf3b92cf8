"""The student edition: what is marked becomes a blank that stops politely, solutions go, answers are known by hash."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import rnnscratch
from rnnscratch.teach import answers

for needed in ("jupytext", "nbclient", "nbformat"):
    pytest.importorskip(needed, reason="it comes with the notebooks extra")

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCE = """# %% [markdown] slideshow={"slide_type": "slide"}
# # 1. Small
# %% tags=["remove_input"]
import numpy as np

rng = np.random.default_rng(0)
scale = np.array([2.0])


# %%
def double(x):
    # BLANK: twice x
    y = scale * x
    scale[:] = 2
    # END
    return y


def twice(x):
    return double(x)


# %%
assert twice(2.0) == 4
# BLANK: the sum of "both"
total = double(1) + rng.integers(1) + 3
# END
assert total == 5
# %% [markdown]
# ## Exercises
#
# **1.** How much?
#
# <details><summary>Solution</summary>
#
# More.
#
# ```python
# more = total.item() * 1.234567
# # answer 1.1: more
# # answer 1.2: {"yes", "more"}
# ```
# </details>
#
# **2.** Why?
#
# <details><summary>Hint</summary>Think.</details>
# <details><summary>Solution</summary>
# So.
# </details>
"""


@pytest.fixture
def build(monkeypatch, tmp_path):
    """build.py with one notebook of its own, and a file of answers of its own."""
    monkeypatch.syspath_prepend(NOTEBOOKS)
    build = importlib.import_module("build")
    (tmp_path / "01_small.py").write_text(SOURCE)
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "blanks.py").write_text((NOTEBOOKS / "blanks.py").read_text())  # beside the kernel
    load, save, path = answers.load, answers.save, tmp_path / "answers.json"
    monkeypatch.setattr(answers, "load", lambda: load(path))
    monkeypatch.setattr(answers, "save", lambda entries: save(entries, path))
    return build


@pytest.fixture
def blanks(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    return importlib.import_module("blanks")


def test_marked_lines_become_blanks_at_their_indentation(blanks):
    source = "def f(x):\n    a = 1\n    # BLANK: b\n    b = a\n    c = b\n    # END\n    return c"
    assert blanks.opened(source) == (
        "def f(x):\n    a = 1\n    ...  # your code: b\n"
        "    raise NotImplementedError('your code: b')  # delete this line when it is done\n    return c"
    )
    both = "# BLANK: a\na = 1\n# END\n# BLANK: b\nb = 2\n# END"
    first, second = blanks.blanks(both)
    assert "a = 1" not in blanks.opened(both, first) and "b = 2" in blanks.opened(both, first)
    assert "a = 1" in blanks.opened(both, second) and "b = 2" not in blanks.opened(both, second)
    for text in (source, both, "a = 1", ""):
        assert blanks.filled(blanks.opened(text), text) == text


def test_a_later_cell_says_which_blank_above_is_open(blanks):
    nbformat = pytest.importorskip("nbformat")
    cells = [
        "start = 1\nk = 5",
        "old = start\n# BLANK: the sum\nsum_ = 3\n# END\ntwice = 2 * sum_\nk = 6",
        "for i in range(2):\n    # BLANK: the part\n    part = i\n    # END\nlast = part",
        "def f(sum_):\n    # BLANK: inside\n    a = sum_\n    # END\n    return a",
        "[twice for twice in range(k)] + [(lambda last: last)(f(2))]",
        "print(start, old, [last * i for i in range(3)])",
        "def g():\n    return twice + last\n\n\nmade = 1\nprint(g())",
        "twice = 8",
        "print(twice)",
        "print(made)",  # by a cell that did not run either
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Small"))
    said, names = [], {}
    for cell in blanks.student(notebook).cells[1:]:
        try:
            exec(cell.source, names)
            said.append("")
        except NotImplementedError as error:
            said.append(str(error).removeprefix("your code: "))
    assert said == ["", "the sum", "the part", "", "inside", "the part", "the sum", "", "", "the part"]  # twice is made
    assert blanks.guarded(cells)[6].count("raise") == 2 and blanks.guarded(cells)[8] == ""


def test_a_sum_or_a_dict_that_a_blank_was_to_fill_is_waited_for(blanks):
    nbformat = pytest.importorskip("nbformat")
    cells = [
        "parts, n = {}, 0",
        "found, total, parts, seen = {}, 0.0, {}, []\nfor k in (1, 2):\n    # BLANK: the part\n    part = k\n"
        "    # END\n    found[k] = part\n    total += part\n    seen.append(k)\nn += 1",
        "print(found[2])",
        "print(1 / total)",
        "# BLANK: a start\nlast = seen[-1]\n# END\nends = {}\n# BLANK: the end\nends[last] = total\n# END",
        "print(ends[2])",
        "total = 4\nprint(total, parts, n)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Small"))
    guards = blanks.guarded(cells)

    def said(opened):
        """What each cell says with these blanks left open, by number of the cell."""
        names, found = {}, {}
        for number, source in enumerate(cells):
            for blank in blanks.blanks(source):
                source = source if blank.what not in opened else source.replace(blank.lines, blank.stub)
            try:
                exec(guards[number] + source, names)
            except NotImplementedError as error:
                found[number] = str(error).removeprefix("your code: ")
        return found

    assert said(["the part", "a start", "the end"]) == dict.fromkeys((1, 2, 3, 4, 5), "the part")
    assert said(["the part"]) == dict.fromkeys((1, 2, 3, 4, 5), "the part")
    assert said(["a start"]) == {4: "a start", 5: "a start"} and said(["the end"]) == {4: "the end", 5: "the end"}
    assert said([]) == {} and guards[6] == ""


def test_a_cell_that_needs_what_an_unfinished_function_was_to_give_says_so(blanks):
    cells = [
        "def half(x):\n    # BLANK: x / 2\n    y = x / 2\n    # END\n    return y",
        "def quarter(x):\n    return half(half(x))\n\n\nlate = (lambda: half(8))\nquarters = [\n    quarter(8)\n]",
        "print(quarters, late)",
        "def quarter(x):\n    return x / 4\n\n\neighth = quarter(0.5)",
        "print(eighth)",
        "def half(x):\n    return x / 2\n\n\nfourth = half(0.5)",
        "print(fourth)",
    ]
    stop = "if 'quarters' not in globals():  # it comes from a blank above\n"
    stop += "    raise NotImplementedError('your code: x / 2')\n"
    assert blanks.guarded(cells) == ["", "", stop, "", "", "", ""]


@pytest.mark.parametrize(
    ("notebook", "right", "wrong", "told"),
    [
        ("01", "dhs[t - 1] + future", "dhs[t - 1]", "dh at t = 4"),
        ("01", "dhs[t - 1] + future", "future", "dh at t = 4"),
        ("01", "dxs[t - 1], future, dW_t", "dxs[t - 1], _, dW_t", "dh at t = 3"),
        ("01", "dW += dW_t", "dW = dW_t", "dW"),
        ("04", "dhs[t - 1] + h_future", "dhs[t - 1]", "dh at t = 4"),
        ("04", "dxs[t - 1], h_future, c_future", "dxs[t - 1], _, c_future", "dh at t = 3"),
        ("04", "h_future, c_future, dW_t", "h_future, _, dW_t", "dc (future) at t = 3"),
        ("04", "dU + dU_t", "dU_t", "dU"),
    ],
)
def test_the_third_rung_names_the_line_that_is_wrong(build, monkeypatch, notebook, right, wrong, told):
    """Not a line after it that only shows the error."""
    monkeypatch.setattr(build, "HERE", NOTEBOOKS)
    source = build.sources([notebook])[0]
    code = [cell.source for cell in build.read(source).cells if cell.cell_type == "code"]
    first = next(k for k, cell in enumerate(code) if "def forward(xs, h0" in cell)
    rung = next(k for k, cell in enumerate(code) if cell.startswith("def backward("))
    assert code[rung].count(right) == 1
    names = {"np": np, "rs": rnnscratch, "rng": np.random.default_rng(0)}
    for cell in [*code[first:rung], code[rung].replace(right, wrong)]:
        exec(cell, names)
    with pytest.raises(AssertionError) as failed:
        exec(code[rung + 1], names)
    assert str(failed.value).startswith(f"{told} differs")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("# BLANK: a\na = 1", "without an '# END' after it"),
        ("a = 1\n# END", "'# END' without a"),
        ("# BLANK: a\n# BLANK: b\n# END", "'# END' before the next one"),
        ("# BLANK:\na = 1\n# END", "expected '# BLANK: what to write'"),
    ],
)
def test_a_mark_without_its_other_one_is_told(blanks, source, told):
    with pytest.raises(ValueError, match=told):
        blanks.opened(source)


def test_solutions_and_their_answers_are_found(blanks):
    nbformat = pytest.importorskip("nbformat")
    text = (
        "<details>\n```python\na = 1\n```\n</details>\n```python\nb = 2\n```\n<details>```python\nc = 3\n```</details>"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    assert blanks.solutions(notebook) == ["a = 1\n", "c = 3\n"]
    assert blanks.answers("a = 1\n# answer 1.3: a + 1\n") == {"1.3": "a + 1"}
    with pytest.raises(ValueError, match="expected '# answer 1.3: expression'"):
        blanks.answers("# answer 1.3 a\n")


def test_the_student_edition_has_blanks_and_room_for_work_but_no_solutions(build):
    assert build.main(["--student", "01"]) == 0
    edition = json.loads((build.HERE / "student" / "01_small.ipynb").read_text())
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in edition["cells"]]
    text = "\n".join(source for _, source in cells)
    assert "scale * x" not in text and "total = " not in text and "More." not in text and "So." not in text
    assert "1.234567" not in text and "<summary>Hint</summary>" in text and "your code: ..." in cells[0][1]
    assert cells[-4:] == [
        ("markdown", "## Exercises\n\n**1.** How much?"),
        ("code", '# your work\n# rs.teach.answer("1.1", value)\n# rs.teach.answer("1.2", value)'),
        ("markdown", "**2.** Why?\n\n<details><summary>Hint</summary>Think.</details>"),
        ("markdown", "*Your answer:*"),
    ]
    assert build.main(["--student", "--out", str(build.HERE / "mine")]) == 0
    assert (build.HERE / "mine" / "01_small.ipynb").exists()


def test_what_a_cells_header_says_is_kept_in_all_editions(build, blanks):
    notebook = build.read(build.HERE / "01_small.py")
    kept = [dict(cell.metadata) for cell in notebook.cells]
    assert kept == [{"slideshow": {"slide_type": "slide"}}, {"tags": ["remove_input"]}, {}, {}, {}]
    assert [dict(cell.metadata) for cell in blanks.student(notebook).cells][:4] == kept[:4]


def test_a_whole_round_from_source_to_check(build, monkeypatch, capsys):
    source = build.HERE / "01_small.py"
    answers.save({"1.7": answers.entry("1.7", 3), "2.1": answers.entry("2.1", 3)})
    assert build.main([]) == 0, capsys.readouterr().out
    written = answers.load()
    assert list(written) == ["1.1", "1.2", "2.1"]
    assert answers.accepts("1.1", written["1.1"], 6.173) and answers.accepts("1.2", written["1.2"], "Yes")
    notebook = json.loads(source.with_suffix(".ipynb").read_text())
    assert len(notebook["cells"]) == 5
    assert [cell.get("execution_count") for cell in notebook["cells"]] == [None, 1, 2, 3, None]
    assert notebook["metadata"]["language_info"]["file_extension"] == ".py"  # as the kernel says it
    assert build.check(source) == []

    source.write_text(SOURCE.replace("1.234567", "1.3").replace('# answer 1.2: {"yes", "more"}', ""))
    told = "\n".join(build.check(source))
    assert "answer 1.1 is another at small size, or was" in told
    assert "answer 1.2 is known and has no mark" in told
    assert "01_small.ipynb is not made from its source" in told


def test_a_blank_that_nobody_notices_and_one_that_fails_otherwise_are_told(build):
    source = build.HERE / "01_small.py"
    unused = "# %%\ndef unused():\n    # BLANK: nothing\n    return 1\n    # END\n# %% [markdown]\n# ## Exercises"
    source.write_text(SOURCE.replace("# %% [markdown]\n# ## Exercises", unused))
    _, wrong = build.run(build.read(source), quick=True)
    assert wrong == ["cell-5, blank 1 (nothing): left open, it stops none of 1 cells"]
    source.write_text("# %%\n# BLANK: a\na = 1\n# END\n# %%\nlen(1)\n")
    with pytest.raises(Exception, match="TypeError"):
        build.run(build.read(source), quick=True)


def test_a_figure_that_a_blank_leaves_unfinished_does_no_harm(build):
    source = build.HERE / "01_small.py"
    plot = "_, ax = plt.subplots()\n# BLANK: a line\nax.plot([1, 2])\n# END\nplt.show()\n"
    source.write_text(f"# %%\nimport matplotlib.pyplot as plt\n\n# %%\n{plot}")
    assert build.run(build.read(source), quick=True) == ({}, [])


def test_a_blank_inside_brackets_is_told(build):
    source = build.HERE / "01_small.py"
    source.write_text("# %%\na = [\n    # BLANK: one\n    1,\n    # END\n]\n")
    assert "student edition, cell-1, line 3: " in "\n".join(build.unreadable(build.read(source)))


def test_trying_a_blank_changes_nothing(blanks):
    names = {"a": np.zeros(2), "rng": np.random.default_rng(0), "odd": [iter(()), (each for each in ())]}
    before = dict(names)
    exec("def spoil():\n    a[0] = rng.random()", names)
    kept = dict(names)
    cells = ["b = 1\nspoil()", "a = 3\nraise NotImplementedError('your code: c')"]
    assert blanks.left_open(cells, "your code: c", names) == ""
    assert names == kept and names["a"] is before["a"] and (names["a"] == 0).all()
    assert names["rng"].random() == np.random.default_rng(0).random()
    assert blanks.left_open(["1 / 0"], "your code: c", names) == (
        "left open, it ends in ZeroDivisionError: division by zero"
    )
    assert blanks.left_open(["1"], "your code: c", names) == "left open, it stops none of 1 cells"
    stops = "raise NotImplementedError('your code: c')"
    assert blanks.left_open([stops, "d = 1", "d / 1", stops], "your code: c", names) == ""
    assert "in KeyError: 1" in blanks.left_open(
        [stops, "d = {}\nd[1]"], "your code: c", names
    )  # though one has stopped
    late = "raise RuntimeError('LSTM.backward was called before forward')"
    assert blanks.left_open([stops, late, "1 / 0"], "your code: c", names) == ""
    assert "RuntimeError: LSTM" in blanks.left_open([late, stops], "your code: c", names)
    assert names == kept
