"""The README's Python examples run, in order, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 6
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert "gradients are right" in capsys.readouterr().out
    assert names["history"]["accuracy"][-1] > 0.95
    assert sorted(names["hmm"].means_.round().ravel()) == [0, 5] and len(set(names["states"])) == 2
    assert names["clf"].predict(["good", "bad"]).tolist() == ["yes", "no"]


def test_the_two_commands_stand_on_lines_of_their_own():
    commands = re.findall(r"^    (python -m pip install .*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("python examples/imdb.py") and commands[1].endswith("python -m pytest")
