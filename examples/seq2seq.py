"""An encoder-decoder learns to rewrite dates, to add, or to reverse words: each cell, with attention and without.

python examples/seq2seq.py                               # dates as people write them -> ISO 8601
python examples/seq2seq.py --task sums                   # "345+678" -> "1023"
python examples/seq2seq.py --resume                      # goes on where it was stopped
python examples/seq2seq.py --pairs my.tsv --words        # a corpus of your own: a source, a tab, a target on each line
python examples/seq2seq.py --translate "5th of March 1950"      # with the best model of the last run
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import rnnscratch as rs
from rnnscratch.experiments import translation
from rnnscratch.files import atomic_write, owned
from rnnscratch.models import load_model, save_model
from rnnscratch.progress import say

SIZES: dict[
    str, tuple[int, dict[str, Any]]
] = {  # pairs to learn from, and what suits the task; the number of pairs to test with is that of TESTS
    "dates": (20_000, {}),
    "sums": (60_000, {"hidden": 128, "epochs": 12}),
    "reverse": (20_000, {}),
}
TESTS = 1000
SHOWN = 8  # errors


def split(text: str, words: bool) -> list[str]:
    """The text as words, or as characters."""
    return text.split() if words else list(text)


def task_of(options: argparse.Namespace) -> translation.Task:
    """What is to be learned, as sequences of tokens."""
    rng = np.random.default_rng(options.seed)
    if options.pairs is None:
        count = SIZES[options.task][0] if options.train is None else options.train
        return translation.TASKS[options.task](count, TESTS, rng)
    found = translation.read_pairs(options.pairs)
    sources, targets = ([split(str(text), options.words) for text in side] for side in found)
    return translation.own(translation.Pairs(list(sources), list(targets)), rng)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as lines of text."""
    hidden = {"cell", "attention", "parameters", "bleu", "seconds", "tokens_per_second"}
    names = ["exact", *(name for name in rows[0] if name not in hidden | {"exact"})]
    lines = [["cell", "attention", "parameters", *names, "BLEU", "seconds", "tokens/s"]]
    for row in rows:
        shares = [f"{row[name]:.2%}" for name in names]
        last = [f"{row['bleu']:.3f}", f"{row['seconds']:.0f}", f"{row['tokens_per_second']:,.0f}"]
        lines.append([row["cell"], row["attention"] or "none", f"{row['parameters']:,}", *shares, *last])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines)


def errors(result: translation.Result, words: translation.Words, pairs: translation.Pairs, gap: str) -> list[str]:
    """Some of the tests that the model got wrong."""
    found: list[str] = []
    for source, target, said in zip(*pairs, translation.spoken(result.said, words)):
        if said != list(target) and len(found) < SHOWN:
            found.append(f"{gap.join(source)!r} -> {gap.join(said)!r}, expected {gap.join(target)!r}")
    return found


def picture(result: translation.Result, words: translation.Words, pairs: translation.Pairs, path: Path) -> None:
    """Where the model looked as it said a test's target, the longest source of the first few."""
    k = max(range(min(20, len(pairs.sources))), key=lambda k: len(pairs.sources[k]))
    source, said = list(pairs.sources[k]), translation.spoken(result.said[k : k + 1], words)[0]
    ax = rs.plots.attention(result.said[k].attention, source, said)
    ax.set_title(f"{result.row['cell']}, {result.row['attention']} attention")
    with atomic_write(path, "wb") as file:
        file.write(rs.plots.to_png(ax))


def learn(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Train every model, and say what each is worth."""
    task, gap = task_of(options), " " if options.words else ""
    words = translation.vocabularies(task.train)
    defaults = {} if options.pairs else SIZES[options.task][1]
    names = {field.name for field in fields(translation.Options)}
    chosen = {name: value for name, value in vars(options).items() if name in names and value is not None}
    settings = translation.Options(**{**defaults, **chosen})
    settings.check()
    say(f"{len(task.train.sources):,} pairs to learn from, {len(task.test.sources):,} to test, such as")
    for source, target in list(zip(*task.test))[:4]:
        say(f"    {gap.join(source)} -> {gap.join(target)}")
    rows: list[dict[str, Any]] = []
    best: translation.Result | None = None
    try:
        for cell in options.cells:
            for attention in options.attention:
                say(f"--- {cell}, attention: {attention}")
                kind = None if attention == "none" else attention
                checkpoint = folder / f"{'pairs' if options.pairs else options.task}-{cell}-{attention}.npz"
                go_on = options.resume and checkpoint.exists()
                result = translation.learn(task, words, cell, kind, settings, not options.quiet, checkpoint, go_on)
                rows.append(result.row)
                say(table(rows[-1:]))
                for line in errors(result, words, task.test, gap):
                    say(f"    {line}")
                if kind is not None and importlib.util.find_spec("matplotlib"):
                    picture(result, words, task.test, folder / f"attention-{cell}-{attention}.png")
                if best is None or result.row["exact"] > best.row["exact"]:
                    best = result
                    save_model(folder / "model.npz", best.model, words, {"words": options.words})
    finally:
        if rows:
            say("\n" + table(rows))
            rs.training.History(rows).to_csv(folder / "results.csv")
            say(f"pictures, results and the best model are in {folder}")
    return rows


def translate(options: argparse.Namespace, folder: Path) -> None:
    """What the saved model makes of a text."""
    model, words, extra = load_model(folder / "model.npz")
    if not isinstance(model, rs.Seq2Seq) or words is None or not isinstance(extra.get("words"), bool):
        raise ValueError(f"{folder / 'model.npz'} holds no model of this example")
    tokens = split(options.translate, extra["words"])
    if not tokens:
        raise ValueError("--translate is empty, expected a text")
    unknown = sorted({token for token in tokens if token not in words[0]})
    found = model.translate(words[0].encode(tokens), beam=options.beam or 5, max_length=4 * len(tokens) + 10)
    say((" " if extra["words"] else "").join(words[1].decode(found.tokens)))
    if unknown:
        say(f"(unknown to the model: {' '.join(unknown)})")


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]] | None:
    """Learn or translate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--task", choices=SIZES, default="dates")
    add("--pairs", type=Path, help="a file of your own: a source, a tab and a target on each line")
    add("--words", action="store_true", help="pairs are of words, in the place of characters")
    add("--cells", nargs="+", choices=("rnn", "lstm", "gru", "peephole", "layer_norm"), default=["rnn", "lstm", "gru"])
    add("--attention", nargs="+", choices=("none", "dot", "additive"), default=["none", "dot", "additive"])
    add("--train", type=int, help="pairs to learn from")
    default = translation.Options()
    for field in fields(translation.Options):
        name, value = field.name, getattr(default, field.name)
        add(f"--{name.replace('_', '-')}", type=type(value), help=f"default: {value}, or what suits the task")
    add("--resume", action="store_true", help="go on from the checkpoints in the folder")
    add("--out", type=Path, default=Path("runs/seq2seq"), help="folder for the results")
    add("--translate", metavar="TEXT", help="say what the best model of the last run makes of it, and learn nothing")
    add("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    options.seed = default.seed if options.seed is None else options.seed
    try:
        if options.translate is not None:
            translate(options, options.out)
            return None
        options.out.mkdir(parents=True, exist_ok=True)
        with owned(options.out, "choose another folder with --out"):
            return learn(options, options.out)
    except (OSError, ValueError) as error:
        raise SystemExit(f"seq2seq: {error}") from None
    except KeyboardInterrupt as error:
        raise SystemExit(f"seq2seq: {str(error) or 'interrupted'}") from None


if __name__ == "__main__":
    main()
