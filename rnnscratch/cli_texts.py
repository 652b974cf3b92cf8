"""The commands that judge a classifier of texts, `evaluate` and `explain`: their options, and what they do."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .progress import shown


@contextlib.contextmanager
def letters_missing(command: str, instead: str) -> Iterator[None]:
    """Within, what matplotlib warns of each letter that its font does not have becomes one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        yield
    letters = [each for each in caught if str(each.message).startswith("Glyph ")]
    for each in caught:
        if each not in letters:
            warnings.showwarning(each.message, each.category, each.filename, each.lineno)
    if letters:
        message = f"rnnscratch {command}: the pictures' font lacks letters that are in them, shown as boxes; {instead}"
        print(message, file=shown(sys.stderr))


def add_evaluate(commands: Any) -> None:
    """The options of `rnnscratch evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="say how well the labels of a file are found",
        description="Label the texts of a file, and compare with the labels that it has: accuracy, F1, confusions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = evaluate.add_argument
    add("model", metavar="MODEL", help="what TextClassifier.save wrote, or a model.npz of a run of rnnscratch imdb")
    add("source", metavar="DATA", help=".csv, .tsv or .jsonl; -: standard input, with --kind")
    for name in ("text", "label"):
        said = f"column or key of the {name}; a number where columns have no names"
        add(f"--{name}", default=name, metavar="NAME", help=said)
    add("--kind", choices=("csv", "tsv", "jsonl"), help="of the file, where its ending does not say it")
    add("--encoding", help="of the file, where it is not UTF-8 and has no byte-order mark")
    add("--names", nargs="+", metavar="A=B", default=[], help="the label A of the file is the classifier's B")
    add("--unknown", choices=("refuse", "skip"), default="refuse", help="labels that the classifier does not know")
    add("--form", choices=("table", "json"), default="table", help="of what is printed")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="where the network computes")
    add("--out", metavar="PATH", help="report: a .html file, or a folder that gets evaluation.html")


def evaluate(model: str, source: str, names: list[str], form: str, out: str | None, **how: Any) -> str:
    """What `rnnscratch evaluate` does and says."""
    from . import evaluating

    pairs = [pair.partition("=")[::2] for pair in names]
    for pair, (_, name) in zip(names, pairs):
        if not name:
            raise ValueError(f"--names has {pair!r}, expected A=B: the label in the file, and the classifier's")
    place = None if out is None else evaluating.place_of_report(out)
    stream = sys.stdin.buffer if source == "-" else source
    found = evaluating.evaluate(model, stream, names=dict(pairs), progress=sys.stderr.isatty(), **how)
    said = json.dumps(found.figures(), indent=2, ensure_ascii=False) if form == "json" else str(found)
    if place is None:
        return said
    with letters_missing("evaluate", "the tables have them"):
        evaluating.write_evaluation(place, found)
    if form == "json":
        return said
    return f"{said}\n\nreport: {place}"


def add_explain(commands: Any) -> None:
    """The options of `rnnscratch explain`."""
    explain = commands.add_parser(
        "explain",
        help="show which words of a text speak for its label",
        description="Show how much each word of a text speaks for a label: gradient times input, and as its check "
        "occlusion, the change where the unknown word stands in the word's place.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = explain.add_argument
    add("model", metavar="MODEL", help="what TextClassifier.save wrote, or a model.npz of a run of rnnscratch imdb")
    add("text", metavar="TEXT", help="in quotes; -: standard input, all its lines as one text")
    add("--label", metavar="LABEL", help="to explain, where it is not to be the most probable one")
    add("--encoding", help="of standard input, where it is not UTF-8 and has no byte-order mark")
    add("--out", metavar="FILE", help="page (.html) with the words coloured, or picture (.png, .svg)")


def explain(model: str, text: str, label: str | None, encoding: str | None, out: str | None) -> str:
    """What `rnnscratch explain` does and says."""
    from . import explaining
    from .text.tables import read_rows

    if out is not None:
        explaining.check_place(out)
    if text == "-":
        text = "\n".join(row.text for row in read_rows(sys.stdin.buffer, kind="lines", encoding=encoding))
    elif "\n" not in text and len(text) < 256 and Path(text).is_file():
        hint = f"rnnscratch explain: {text} is a file, and its name is explained; for what it holds: - < {text}"
        print(hint, file=shown(sys.stderr))
    found = explaining.explain(model, text, label, progress=sys.stderr.isatty())
    if out is None:
        return str(found)
    with letters_missing("explain", "a page (.html) shows them"):
        explaining.write_explanation(out, found)
    return f"{found}\n\nwritten to {out}"
