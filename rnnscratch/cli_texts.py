"""The commands that judge a classifier of texts, `evaluate` and `explain`: their options, and what they do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .progress import shown


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
    found = explaining.explain(model, text, label)
    if out is None:
        return str(found)
    explaining.write_explanation(out, found)
    return f"{found}\n\nwritten to {out}"
