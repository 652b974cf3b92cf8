"""The page with all derivatives is as the code is, and shows nothing that the library does not compute."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "notebooks" / "cheat_sheet.py"


@pytest.fixture
def cheat_sheet():
    spec = importlib.util.spec_from_file_location("cheat_sheet", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_as_the_code_is(cheat_sheet, capsys):
    assert cheat_sheet.main(["--check"]) == 0, capsys.readouterr().out


def test_an_old_page_is_told(cheat_sheet, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cheat_sheet, "PAGE", tmp_path / "page.html")
    assert cheat_sheet.main(["--check"]) == 1 and "is not as the code is" in capsys.readouterr().out
    assert cheat_sheet.main([]) == 0 == cheat_sheet.main(["--check"])
    cheat_sheet.PAGE.write_text(cheat_sheet.PAGE.read_text(encoding="utf-8").replace("(D, 4H)", "(D, 3H)"))
    assert cheat_sheet.main(["--check"]) == 1


@pytest.mark.parametrize(
    ("place", "row", "expression"),
    [(1, 1, "x.T @ (2 * dy)"), (1, 2, "dy.mean(0)"), (2, 1, "np.zeros_like(E)"), (5, 4, "ds @ v")],
)
def test_a_wrong_expression_is_refused(cheat_sheet, place, row, expression):
    box = cheat_sheet.BOXES[place]
    name, formula, _ = box.rows[row]
    wrong = box._replace(rows=[(name, formula, expression)])
    with pytest.raises(ValueError, match="is not what the library computes"):
        cheat_sheet.box_lines(wrong)


def test_shapes_are_letters(cheat_sheet):
    sizes = {"H": 7, "D": 3, "B": 5}
    assert cheat_sheet.shape_of((3, 28), sizes) == "(D, 4H)" and cheat_sheet.shape_of((7,), sizes) == "(H,)"
    with pytest.raises(ValueError, match="no size among"):
        cheat_sheet.shape_of((11,), sizes)
