"""The commands of a classifier of texts, `train`, `predict`, `evaluate`, `explain`: their options, and what they do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .progress import shown

WORKERS = 2  # that train a network together on the CPU: a number of its own, so that bits are the same on all machines
HELP = {
    "cell": "of the recurrent layers",
    "embedding_dim": "numbers in a word's vector",
    "hidden_size": "hidden units of a layer",
    "pooling": "what the dense layer sees of a text's hidden states",
    "dropout": "share of what the dense layer sees, and of what is between layers, that is dropped in training",
    "embedding_dropout": "share of the word vectors' numbers that is dropped",
    "recipe": "how texts are cleaned; report: without stop words, among them not",
    "min_count": "how often a word must come in the training texts to be known",
    "max_size": "most frequent words that are known, at most",
    "max_length": "last words of a text that are read",
    "epochs": "passes over the training texts",
    "batch_size": "texts of an update",
    "learning_rate": "the largest; it rises, then falls",
    "clip_norm": "norm to which longer gradients are cut",
    "num_layers": "recurrent layers, one upon another",
    "bidirectional": "read texts in both directions",
    "device": "where the networks compute",
    "word_dropout": "share of the words that is left out",
    "recurrent_dropout": "share of the hidden state that is dropped between steps",
    "activation": "of the rnn cell",
    "reset_after": "the GRU's reset gate after the product, as in PyTorch",
    "freeze": "leave the word vectors as they are at first",
    "label_smoothing": "share of each label that goes to all labels",
    "adversarial": "size of the noise on word vectors that raises the loss the most; 0: none",
    "virtual": "likewise, that changes the probabilities the most",
    "noise_weight": "weight of the loss under that noise",
}


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


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        nothing = action.default is None or action.default == []
        return action.help if nothing else super()._get_help_string(action)


def add_option(add: Callable[..., Any], name: str, value: Any, choices: Mapping[str, Any], **how: Any) -> None:
    """An option for a setting of this name, of the kind that its default value has."""
    kind: dict[str, Any] = {"type": type(value), "choices": choices.get(name)}
    if isinstance(value, bool):
        kind = {"action": argparse.BooleanOptionalAction}
    add(f"--{name.replace('_', '-')}", **kind, **how)


def add_columns(add: Callable[..., Any]) -> None:
    """The options that say where the texts of a file are."""
    add(
        "--text", default="text", metavar="NAME", help="column or key of the text; a number where columns have no names"
    )
    add("--kind", choices=("csv", "tsv", "jsonl", "lines"), help="of the file, where its ending does not say it")
    add("--encoding", help="of the file, where it is not UTF-8 and has no byte-order mark")
    add("--separator", metavar="C", help="between columns, where it is no comma or tab, such as ';'")
    add(
        "--quotes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="quotes enclose texts with commas or line ends; --no-quotes: they are letters as others",
    )


def add_train(commands: Any) -> None:
    """The options of `rnnscratch train`."""
    from .models.classifier import CHOICES
    from .text.clean import RECIPES
    from .text_classifier import TextClassifier

    train = commands.add_parser(
        "train",
        help="learn from a file of labelled texts",
        description="Learn to label texts from a file of texts and their labels, which may be larger than memory.",
        usage="%(prog)s FILE --out MODEL [--text NAME] [--label NAME] [--test FILE] [options]",
        formatter_class=Formatter,
    )
    add = train.add_argument
    add("data", metavar="FILE", help=".csv, .tsv or .jsonl, with a text and a label in each row")
    add("--out", metavar="MODEL", required=True, help="file to write, for rnnscratch predict and TextClassifier.load")
    add_columns(add)
    add("--label", default="label", metavar="NAME", help="column or key of the label, likewise")
    add(
        "--group",
        metavar="NAME",
        help="column or key by which texts belong together, so that validation gets all or none",
    )
    add(
        "--validation",
        default="0.1",
        metavar="F",
        help="share of the texts (0: none), or a file, that chooses the epoch whose weights are kept",
    )
    add("--test", metavar="FILE", help="a file that is judged once, at the end")
    add("--memory", type=float, default=1000.0, metavar="MB", help="for what grows with the files, beside the rest")
    add("--part", type=int, default=100_000, metavar="N", help="texts between two checkpoints and validations, at most")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add("--seed", type=int, default=0, help="of all chance")
    choices = {"device": ("cpu", "gpu"), "recipe": RECIPES, **CHOICES}
    for option in dataclasses.fields(TextClassifier):
        name, value = option.name, option.default
        if option.init and name not in ("validation_fraction", "random_state", "progress", "embeddings", "workers"):
            add_option(add, name, value, choices, default=value, help=HELP.get(name, "of TextClassifier"))
    add("--embeddings", metavar="VECTORS", help="first vectors of words: of Word2Vec.save, or word2vec's .txt or .bin")
    add("--workers", type=int, metavar="N", help=f"processes that train together (default: {WORKERS}, on a GPU 1)")


def add_predict(commands: Any) -> None:
    """The options of `rnnscratch predict`."""
    predict = commands.add_parser(
        "predict",
        help="label the texts of a file",
        description="Write the label and the probabilities of each text of a file, or of each line of standard input.",
        formatter_class=Formatter,
    )
    add = predict.add_argument
    add("model", metavar="MODEL", help="what TextClassifier.save wrote, or a model.npz of a run of rnnscratch imdb")
    add("source", metavar="FILE", nargs="?", default="-", help=".csv, .tsv, .jsonl or .txt; -: standard input")
    add_columns(add)
    add("--form", choices=("jsonl", "csv"), default="jsonl", help="of the output")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="where the network computes")
    add("--workers", type=int, default=1, metavar="N", help="processes that share the texts, for files of some size")


def train(**options: Any) -> str:
    """What `rnnscratch train` does and says at its end."""
    from .fitting import fit_file
    from .text_classifier import TextClassifier

    if options["data"] == "-":
        raise ValueError("FILE is -, but training reads a file, not standard input, so that it may go on")
    own = {option.name for option in dataclasses.fields(TextClassifier)}
    given = {name: options.pop(name) for name in own & options.keys()}
    if given["workers"] is None:
        given["workers"] = WORKERS if given["device"] == "cpu" else 1
    with contextlib.suppress(ValueError):  # else it is a file
        given["validation_fraction"], options["validation"] = float(options["validation"]), None
    if given["embeddings"] is not None:
        given["embeddings"] = read_vectors(given["embeddings"])
        given["embedding_dim"] = given["embeddings"].vectors.shape[1]
    out = options["out"]
    classifier = TextClassifier(**given, random_state=options.pop("seed"))
    learned = fit_file(options.pop("data"), options.pop("out"), classifier, **options, progress=True)
    said = [str(shorter(classifier.history_))]
    if "validation_loss" in classifier.history_.rows[0]:
        said.append(f"kept: the weights after epoch {classifier.history_.best_epoch}, of the lowest validation loss")
    if learned.scores is not None:
        said.append("test texts: " + ", ".join(f"{name} {value:.4f}" for name, value in learned.scores.items()))
    return "\n\n".join([*said, f"written to {out}"])


def shorter(history: Any) -> Any:
    """The figures of each epoch that a line of a terminal has room for."""
    names = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
    return type(history)({name: row[name] for name in names if name in row} for row in history.rows)


def read_vectors(path: str) -> Any:
    """Vectors of words from a file of any of the kinds there are, by its ending."""
    from .word2vec import Word2Vec

    ending = Path(path).suffix.lower()
    return Word2Vec.load(path) if ending == ".npz" else Word2Vec.load_word2vec_format(path, binary=ending == ".bin")


def predict(model: str, source: str, **how: Any) -> str:
    """What `rnnscratch predict` does; it says nothing beside the labels."""
    from .predicting import predict_file

    stream = sys.stdin.buffer if source == "-" else source
    predict_file(model, stream, sys.stdout, progress=sys.stderr.isatty(), **how)
    return ""


def add_evaluate(commands: Any) -> None:
    """The options of `rnnscratch evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="say how well the labels of a file are found",
        description="Label the texts of a file, and compare with the labels that it has: accuracy, F1, confusions.",
        formatter_class=Formatter,
    )
    add = evaluate.add_argument
    add("model", metavar="MODEL", help="what TextClassifier.save wrote, or a model.npz of a run of rnnscratch imdb")
    add("source", metavar="DATA", help=".csv, .tsv or .jsonl; -: standard input, with --kind")
    add_columns(add)
    add("--label", default="label", metavar="NAME", help="column or key of the label, likewise")
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
        formatter_class=Formatter,
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
