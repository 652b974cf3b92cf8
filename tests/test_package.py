"""The package as a whole: light to import, complete, of one version, and its examples run."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnscratch as rs

ROOT = Path(rs.__file__).parents[1]
MODULES = ["rnnscratch", *(module.name for module in pkgutil.walk_packages(rs.__path__, "rnnscratch."))]
ABOUT_SYMPY = ["rnnscratch.teach.exact", "rnnscratch.teach.symbolic"]  # nothing in them makes sense without it
HEAVY = ["cupy", "matplotlib", "nltk", "optuna", "pandas", "safetensors", "scipy", "sklearn", "sympy", "torch", "tqdm"]


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running the code."""
    report = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import rnnscratch",
        "import rnnscratch as rs; rs.LSTM(2, 3); rs.Adam(); rs.clip_gradients; rs.kernels; rs.losses; rs.metrics",
        "import rnnscratch as rs; rs.SequenceClassifier; rs.TextClassifier; rs.training; rs.text; rs.check_gradients",
        "import rnnscratch.teach, rnnscratch.hmm; rnnscratch.teach.trace; rnnscratch.plots",
    ],
    ids=["import", "kernels", "models", "teach"],
)
def test_nothing_heavier_than_numpy_is_loaded(code):
    loaded = modules_after(code)
    assert "rnnscratch" in loaded
    assert not loaded & set(HEAVY)


def test_all_modules_import_without_what_is_optional():
    absent = ["cupy", "matplotlib", "optuna", "pandas", "safetensors", "scipy", "sklearn", "sympy", "torch"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import importlib; "
    names = [name for name in MODULES if name not in ABOUT_SYMPY]
    assert "rnnscratch" in modules_after(code + f"[importlib.import_module(name) for name in {names}]")


@pytest.mark.parametrize("name", rs.__all__)
def test_every_public_name_resolves_and_is_listed(name):
    value = getattr(rs, name)
    assert value is getattr(rs, name)
    assert name in dir(rs)
    if isinstance(value, type):
        assert value.__name__ == name
        assert value.__doc__


def test_type_checkers_are_told_of_just_the_names_that_there_are():
    block = next(each for each in ast.parse(Path(rs.__file__).read_text(encoding="utf-8")).body if type(each) is ast.If)
    told = {alias.asname: (node.module, alias.name) for node in block.body for alias in node.names}
    modules = {name: (None, name) for name in rs._MODULES} | {"losses": ("kernels", "losses")}
    assert told == {**modules, **{name: (module, name) for name, module in rs._HOME.items()}}
    assert set(rs.__all__) == {"__version__", *told}


def test_a_type_checker_knows_what_the_names_are(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api", reason="the type checker; it comes with the test extra")
    monkeypatch.chdir(ROOT)  # whose package it reads
    file = tmp_path / "user.py"
    file.write_text(
        "import rnnscratch as rs\n"
        "reveal_type(rs.LSTM(2, 3).forward)\n"
        "rs.LSTM('a', 3)\n"
        "rs.Transformer\n"
        "rs.SequenceClassifier(9, pooling=3)\n"
        "rs.TextClassifier(max_length='long')\n"
        "reveal_type(rs.TextClassifier().fit([], []).predict)\n"
    )
    said = api.run(["--strict", "--follow-imports=silent", "--config-file", str(ROOT / "setup.cfg"), str(file)])[0]
    lines = [re.sub(r"^.*user\.py:(\d+): ", r"\1 ", line) for line in said.splitlines()]
    for expected in (
        "2 note: Revealed type is .*tuple\\[.*",
        '3 error: Argument 1 to "LSTM" has incompatible type "str"; expected "int".*',
        '4 error: Module has no attribute "Transformer".*',
        '5 error: Argument "pooling" to "SequenceClassifier" has incompatible type "int"; expected "str".*',
        '6 error: Argument "max_length" to "TextClassifier" has incompatible type "str"; expected .*',
        "7 note: Revealed type is .*ndarray\\[.*",
    ):
        assert any(re.fullmatch(expected, line) for line in lines), said


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="module 'rnnscratch' has no attribute 'Transformer'"):
        _ = rs.Transformer


def test_the_version_stands_in_one_place():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: rnnscratch.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", rs.__version__)
    literal = re.compile(rf"""["']{re.escape(rs.__version__)}["']""")
    places = [path for path in (ROOT / "rnnscratch").rglob("*.py") if literal.search(path.read_text(encoding="utf-8"))]
    assert places == [ROOT / "rnnscratch" / "__init__.py"]


def test_the_changelog_has_an_entry_for_this_version_and_says_what_breaks():
    text = (Path(rs.__file__).parent / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## ([0-9.]+), (not released|20[0-9]{2}-[0-9]{2}-[0-9]{2})$", text, re.MULTILINE)
    assert versions[0][0] == rs.__version__ and len(versions) == len(re.findall("^## [0-9]", text, re.MULTILINE))
    assert [date for _, date in versions[1:] if date == "not released"] == []
    numbers = [tuple(map(int, number.split("."))) for number, _ in versions]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(f"**{promise}**" in text for promise in ("Public names", "Files", "Bits"))


def test_every_data_file_of_the_package_is_declared_and_comes_with_a_wheel():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    package = ROOT / "rnnscratch"
    declared = [set(package.glob(pattern)) for pattern in setup["options.package_data"]["rnnscratch"].split()]
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert all(declared) and set().union(*declared) == there


def test_every_dependency_declares_the_lowest_version_that_ci_installs():
    told = [sys.executable, ROOT / ".ci" / "declared.py"]
    said = {what: subprocess.check_output([*told, what], text=True).split() for what in ("python", "lowest", "tests")}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    declared = setup["options"]["install_requires"].split()
    assert all(re.fullmatch(r"[a-z]+>=[\d.]+", line) for line in declared)
    assert said["lowest"] == [line.replace(">=", "==") for line in declared]
    assert setup["options"]["python_requires"] == f">={said['python'][0]}"
    assert {"pytest", "hypothesis"} <= set(said["tests"]) and "torch" not in said["tests"]


def test_the_modules_were_found():
    assert {"rnnscratch.layers", "rnnscratch.kernels.lstm", "rnnscratch.text.clean"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    assert module.__doc__, "no docstring"
    result = doctest.testmod(module)
    assert result.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    attempted = sum(len(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name)))
    assert attempted > 20


def test_what_is_printed_has_only_signs_that_every_console_takes():
    """Text in the code, but for pictures and the HTML report, is ASCII."""
    found = []
    for path in (ROOT / "rnnscratch").rglob("*.py"):
        if path.name == "report.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isascii():
                written = ast.get_source_segment(path.read_text(encoding="utf-8"), node) or ""
                if not written.isascii():
                    found.append(f"{path.name}:{node.lineno}: {node.value!r:.60}")
    assert not found


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252"])
def test_reports_print_on_old_consoles(encoding, tmp_path):
    code = (
        "import numpy as np, rnnscratch as rs; from rnnscratch.experiments import results;"
        "print(rs.check_gradients(rs.GRU(3, 2, seed=0), np.ones((2, 1, 3))));"
        "row = {'model': 'gru', 'parameters': 1, 'accuracy': .5, 'f1': .5, 'seconds_per_epoch': 1, 'train_seconds': 1,"
        "'tokens_per_second': 1., 'peak_memory_mb': 1.};"
        "print(results.table([row, {**row, 'accuracy': .6}])); print(rs.text.groups_by_length([1, 2, 3, 4], 2));"
        "from rnnscratch import cli\n"
        "try: cli.main(['imdb', '--help'])\n"
        "except SystemExit: pass\n"
        "cli.main(['imdb', '--data', '\u0939\u093f', '--out', 'x/\u0939'])"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=tmp_path)
    assert b"UnicodeEncodeError" not in done.stderr and b"u0939" in done.stderr
    assert b"3x6" in done.stdout and b"55.00% +- 7.07%" in done.stdout
