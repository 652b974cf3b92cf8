"""The page of every public object is as the code is, and its check sees what docstrings lack."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import rnnscratch as rs

pytest.importorskip("sympy", reason="rnnscratch.teach.symbolic needs it; it comes with the test extra")

SOURCE = Path(__file__).resolve().parents[1] / "notebooks" / "api.py"


@pytest.fixture(scope="module")
def api():
    spec = importlib.util.spec_from_file_location("api", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(api):
    return api.entries()


def test_the_page_is_as_the_code_is_and_no_docstring_lacks_anything(api, capsys):
    assert api.main(["--check"]) == 0, capsys.readouterr().out


def test_an_old_page_is_told_but_not_for_its_lines(api, found, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "PAGE", tmp_path / "api.html")
    page = api.Writer(found).page()
    monkeypatch.setattr(api.Writer, "page", lambda _: page)  # which takes a second each time

    def main(arguments):
        return api.main(arguments, lambda: found)

    assert main(["--check"]) == 1 and "api.html is not as the code is" in capsys.readouterr().out
    assert main([]) == 0 == main(["--check"])
    made = api.PAGE.read_text(encoding="utf-8")
    api.PAGE.write_text(re.sub(", line [0-9]+<", ", line 3<", made))
    assert main(["--check"]) == 0
    api.PAGE.write_text(made.replace("num_layers: int = 1", "num_layers: int = 2"))
    assert main(["--check"]) == 1


def test_everything_public_has_a_place_and_every_link_leads_to_one(api, found):
    class Reader(HTMLParser):
        ids, links = [], []

        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                if name == "id":
                    self.ids.append(value)
                elif name in ("href", "data-of"):
                    self.links.append(value.removeprefix("#"))

    page = api.Writer(found).page()
    reader = Reader()
    reader.feed(page)
    assert len(set(reader.ids)) == len(reader.ids)
    assert set(reader.links) <= set(reader.ids) and len(reader.links) > 500
    assert set(rs._HOME) <= set(reader.ids)
    for section in ("text", "hmm", "metrics", "losses", "plots", "interchange", "gradcheck", "optimizers", "training"):
        names = api.public_names(getattr(rs, section) if section in rs.__all__ else rs.kernels.losses)
        assert all(re.search(rf'id="(\w+\.)*{name}"', page) for name in names), section
    for wanted in ("http:", "https:", "src="):
        assert wanted not in re.sub(r"<(p|td|pre)\b.*?(?=<)", "", page)
    assert len(page.encode()) < 1_500_000


def test_signatures_are_those_of_the_code(api):
    assert api.signature("LSTM", rs.LSTM).replace("\n    ", " ").startswith("LSTM( input_size: int, hidden_size: int,")
    assert api.signature("clip_gradients", rs.clip_gradients) == (
        "clip_gradients(\n    grads: Mapping[str, Array],\n    max_norm: float | None = None,\n"
        "    max_value: float | None = None,\n) -> float"
    )
    assert api.signature("Plateau", rs.optimizers.Plateau).startswith("Plateau(factor: float = ")
    assert "*," in api.signature("fit", rs.training.fit) and api.signature("fit", rs.training.fit).endswith(
        "-> History"
    )
    fields = "texts: list[str],\n    labels: np.ndarray,\n    ratings: np.ndarray | None = None,\n"
    fields += "    movies: np.ndarray | None"
    assert api.signature("Reviews", rs.text.Reviews) == f"Reviews(\n    {fields} = None,\n)"
    assert api.signature("Calibration", rs.metrics.Calibration).startswith("Calibration(")
    assert "<" not in api.signature("COLOURS", rs.plots.COLOURS)


def test_a_docstring_has_paragraphs_tables_code_and_errors(api, found):
    writer = api.Writer(found)
    text = "It computes `LSTM.gate` of <x>.\n\nx, y   two\n       arrays\n*more  others\n\n>>> 1 < 2\nTrue\n\nGood. "
    made = writer.text(text + "Raises ValueError.")
    assert '<p>It computes <a href="#layers.Recurrent.gate"><code>LSTM.gate</code></a> of &lt;x&gt;.' in made
    assert "<tr><td>x, y<td>two arrays<tr><td>*more<td>others" in made
    assert "<pre>&gt;&gt;&gt; 1 &lt; 2\nTrue</pre>" in made
    assert made.endswith("<p>Good.\n<p class=errors>Raises ValueError.")
    assert '<a href="#LSTM"><code>LSTM</code></a>' in writer.text("See `LSTM`.")
    assert '<a href="#training.fit"><code>training.fit</code></a>' in writer.text("See `training.fit`.")


def bare(x, y):
    pass


def wrong(x, y):
    """Raises ValueError.

    x      the first
    z      the second
    """


def silent(x, y):
    """Adds `x` and y, and takes `twice=True`."""


class Half:
    """A class."""

    def method(self):
        pass


def test_what_a_docstring_lacks_is_told(api):
    section = [api.Entry(each.__name__, each, "s") for each in (bare, wrong, silent, Half)]
    assert api.problems({"s": section}) == [
        "s.bare has no docstring",
        "s.wrong speaks of an argument z, which it has not",
        "s.silent speaks of an argument twice=, which nothing has",
        "s.silent says nothing of its errors",
        "s.Half.method has no docstring",
    ]


def test_a_page_with_faults_is_neither_written_nor_right(api, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "PAGE", tmp_path / "api.html")
    assert api.main([], lambda: {"s": [api.Entry("bare", bare, "s")]}) == 1
    assert capsys.readouterr().out == "s.bare has no docstring\n" and not api.PAGE.exists()


def test_no_place_of_this_machine_is_in_the_page(api):
    page = (Path(api.__file__).parent / "api.html").read_text(encoding="utf-8")
    assert "site-packages" not in page and "xp: Any = numpy" in page
