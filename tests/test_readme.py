"""The README's Python examples run, in order, as a reader would type them."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 9
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert "gradients are right" in capsys.readouterr().out
    assert names["history"]["accuracy"][-1] > 0.95
    assert names["lm"].perplexity(names["text"]) < 1.5
    assert sorted(names["hmm"].means_.round().ravel()) == [0, 5] and len(set(names["states"])) == 2
    assert names["clf"].predict(["good", "bad"]).tolist() == ["yes", "no"]


def test_the_two_commands_stand_on_lines_of_their_own():
    commands = re.findall(r"^    (python -m pip install .*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("python examples/imdb.py") and commands[1].endswith("python -m pytest")


@pytest.fixture
def figures():
    spec = importlib.util.spec_from_file_location("figures", README.parent / "benchmarks" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_are_those_of_the_results(figures):
    text = README.read_text(encoding="utf-8")
    assert sorted(name for _, name, _ in figures.BLOCK.findall(text)) == sorted(figures.BLOCKS)
    assert figures.renewed(text) == text, "run python -m benchmarks.figures"


def test_a_changed_result_changes_the_readme(figures, tmp_path, monkeypatch):
    for path in figures.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    memory = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))
    memory["summaries"][0]["ratios"][0] = 7.125
    (tmp_path / "memory.json").write_text(json.dumps(memory), encoding="utf-8")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    text = README.read_text(encoding="utf-8")
    assert figures.renewed(text) != text and "7.12 times" in figures.renewed(text)


@pytest.mark.parametrize("path", ["README.md", "benchmarks/README.md", "notebooks/README.md"])
def test_nothing_measured_stands_outside_of_the_figures(path, figures):
    text = figures.BLOCK.sub("", (README.parent / path).read_text(encoding="utf-8"))
    number = r"(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|half an?)"
    unit = r"(?:%|minutes?|seconds|hours?|tokens/s|times as|times faster|tests\b|GB)"
    assert re.findall(rf"\b{number} ?{unit}", text) == []
