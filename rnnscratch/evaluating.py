"""How well a classifier labels the texts of a file of any size: they are read and labelled by parts, and what is kept
of a text is 16 bytes.
"""

from __future__ import annotations

import heapq
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import numpy as np

from . import plots
from .checks import check_choice
from .experiments.pages import NO_PICTURES, html_table, machine, section, shortened, text_table, write_page
from .experiments.results import NAMES
from .files import place_to_write
from .kernels.losses import binary_cross_entropy, sigmoid, softmax_cross_entropy
from .metrics import Calibration, by_class, calibration, confusion_matrix, f1, roc_auc, share_interval
from .models.logits import decide, probabilities
from .predicting import PART, Labels
from .progress import progress_bar
from .text import groups_by_length
from .text.tables import Row, read_rows
from .text_classifier import TextClassifier

UNKNOWN = ("refuse", "skip")  # what may be done with a label that the classifier does not know
OTHERS = (".pdf", ".png", ".svg", ".json", ".csv", ".txt", ".md")  # endings of what is no report
SHOWN = 10  # labels of a confusion matrix that is drawn, and confusions that are listed of a larger one
ERRORS = 10  # texts that are shown


class Error(NamedTuple):
    """A text that got a wrong label."""

    line: int
    true: str
    said: str
    probability: float  # of the label said
    words: int
    text: str  # its two ends, if it is long


@dataclass(frozen=True)
class Evaluation:
    """What was found on N texts; labels are numbers of `classes`."""

    source: str
    classes: list[str]
    network: str  # a few words on it
    true: np.ndarray  # (N,)
    predicted: np.ndarray  # (N,)
    scores: np.ndarray  # (N,) of two classes the logit of the second, else the probability of the predicted one
    words: np.ndarray  # (N,) how many a text has
    loss: float  # the mean cross-entropy
    errors: list[Error]  # the most confident ones first
    skipped: Counter[str] = field(default_factory=Counter)  # texts by a label that the classifier does not know

    @property
    def accuracy(self) -> float:
        """The share that is labelled right."""
        return float((self.true == self.predicted).mean())

    @property
    def confusion(self) -> np.ndarray:
        """(K, K) counts: row the true class, column the predicted one."""
        return confusion_matrix(self.true, self.predicted, range(len(self.classes)))

    @property
    def roc_auc(self) -> float | None:
        """Of the second of two classes against the first; None of more, and where only one occurs."""
        if len(self.classes) > 2 or len(np.unique(self.true)) < 2:
            return None
        return roc_auc(self.true, self.scores)

    @property
    def calibration(self) -> Calibration:
        """Of the probability of the second of two classes, else of that of the predicted one."""
        if len(self.classes) == 2:
            return calibration(self.true, sigmoid(self.scores.astype(np.float64)))
        return calibration((self.true == self.predicted).astype(int), self.scores)

    def figures(self) -> dict[str, Any]:
        """All figures as plain values that JSON can hold."""
        K = len(self.classes)
        each = by_class(self.true, self.predicted, range(K))
        return {
            "file": self.source,
            "texts": len(self.true),
            "accuracy": self.accuracy,
            "accuracy_interval": list(share_interval(int((self.true == self.predicted).sum()), len(self.true))),
            "most_frequent": float(each.support.max() / len(self.true)),
            "macro_f1": f1(self.true, self.predicted, average="macro", labels=range(K)),
            "loss": self.loss,
            "roc_auc": self.roc_auc,
            "calibration_error": self.calibration.error,
            "labels": {
                name: {"precision": float(p), "recall": float(r), "f1": float(f), "texts": int(n)}
                for name, p, r, f, n in zip(self.classes, *each)
            },
            "confusion": self.confusion.tolist(),
            "skipped": dict(self.skipped),
        }

    def __str__(self) -> str:
        tables = [text_table(overall(self)[1:]), *(text_table(each(self), left=1) for each in (each_label, confusions))]
        return "\n\n".join(["\n".join(sentences(self)), *tables])


def evaluate(
    classifier: str | os.PathLike[str] | TextClassifier | Labels,
    source: str | os.PathLike[str] | IO[bytes],
    label: str = "label",
    unknown: str = "refuse",
    names: Mapping[str, str] = MappingProxyType({}),
    device: str = "cpu",
    progress: bool = False,
    **how: Any,
) -> Evaluation:
    """Label the texts of a file, or of a stream, and compare with the labels that it has.

    `classifier` is a fitted `TextClassifier`, or the path of its file or of one of a run of `rnnscratch imdb`; `how` is
    text, kind, encoding, separator and quotes of `text.tables.read_rows`, and `label` as there. `names` gives, by what
    stands in the file, the classifier's names. With `unknown` "skip" texts with another label are passed over and
    counted.

    Raises what `read_rows` and reading the classifier raise; ValueError, naming line and labels, for one that the
    classifier does not know, and where there is no text.
    """
    check_choice("unknown", unknown, UNKNOWN)
    labels = classifier if isinstance(classifier, Labels) else Labels(classifier, device)
    codes = codes_of(labels, names)
    name = "standard input" if hasattr(source, "read") else str(source)
    if hasattr(source, "read") and how.get("kind") is None:
        raise ValueError("kind is None, expected csv, tsv or jsonl, since standard input has no ending that says it")
    skipped: Counter[str] = Counter()

    def told(row: Row) -> str:
        return (
            f"{name}, line {row.line}: the label {row.label!r:.60} is none of the classifier's, which are "
            f"{', '.join(labels.classes):.300}; --names A=B gives it another name, --unknown skip passes over it"
        )

    read = progress_bar(read_rows(source, label=label, **how), progress, unit=" texts")
    rows = known(read, codes, skipped if unknown == "skip" else None, told)
    found: list[tuple[np.ndarray, ...]] = []
    loss = 0.0
    errors: list[tuple[float, int, Error]] = []  # a heap
    while part := list(islice(rows, PART)):
        ids = labels.ids([row.text for row, _ in part])
        logits = labels.logits(ids)
        true, said, p = np.array([code for _, code in part], np.int32), decide(logits), probabilities(logits)
        of = binary_cross_entropy if logits.ndim == 1 else softmax_cross_entropy
        loss += float(of(logits.astype(np.float64), true)[0]) * len(part)
        scores = logits if logits.ndim == 1 else p.max(axis=1)
        counts = np.array([len(each) for each in ids], np.int32)
        found.append((true, said.astype(np.int32), scores.astype(np.float32), counts))
        margins = margin(logits, true, said)
        for k in np.argsort(-margins, kind="stable")[:ERRORS]:
            row, key = part[k][0], (float(margins[k]), -part[k][0].line)
            if said[k] != true[k] and (len(errors) < ERRORS or key > errors[0][:2]):
                which = (labels.classes[true[k]], labels.classes[said[k]], float(p[k, said[k]]), len(ids[k]))
                heapq.heappush(errors, (*key, Error(row.line, *which, shortened(row.text))))
                if len(errors) > ERRORS:
                    heapq.heappop(errors)
    if not found:
        passed = f"; {skipped.total():,} have labels that the classifier does not know" if skipped else ""
        raise ValueError(f"{name} holds no text to evaluate{passed}")
    true, said, scores, counts = (np.concatenate(columns) for columns in zip(*found))
    worst = [error for *_, error in sorted(errors, reverse=True)]
    network = described(labels)
    return Evaluation(name, labels.classes, network, true, said, scores, counts, loss / len(true), worst, skipped)


def margin(logits: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """(N,) by how much the logit of the label said exceeds that of the true one: 0 where it is right."""
    if logits.ndim == 1:
        return np.where(said == true, 0.0, np.abs(logits))
    each = np.arange(len(true))
    return logits[each, said] - logits[each, true]


def codes_of(labels: Labels, names: Mapping[str, str]) -> dict[str, int]:
    """The number of each label by what may stand for it in a file: numbers and booleans may be written in other ways.

    Raises ValueError for names of what the classifier does not know.
    """
    found: dict[str, int] = {}
    for code, value in enumerate(labels.values):
        found[str(value)] = code
        if isinstance(value, bool):
            found[json.dumps(value)] = code
        elif isinstance(value, int | float) and value == int(value):
            found[str(int(value))] = found[str(float(value))] = code
    for written, name in names.items():
        if name not in labels.classes:
            raise ValueError(f"names has {written!r} for {name!r}, expected one of {', '.join(labels.classes):.300}")
    return found | {written: labels.classes.index(name) for written, name in names.items()}


def known(
    rows: Iterator[Row], codes: Mapping[str, int], skipped: Counter[str] | None, told: Callable[[Row], str]
) -> Iterator[tuple[Row, int]]:
    """The rows with the numbers of their labels; those with another are counted, or refused if `skipped` is None."""
    for row in rows:
        code = codes.get(str(row.label))
        if code is not None:
            yield row, code
        elif skipped is None:
            raise ValueError(told(row))
        else:
            skipped[str(row.label)] += 1


def described(labels: Labels) -> str:
    """The classifier in a few words."""
    config = labels.model.config()
    return f"{NAMES[config['cell']]}, {labels.model.num_params:,} parameters, {len(labels.classes)} labels"


def sentences(found: Evaluation) -> list[str]:
    """What was labelled."""
    said = [f"{len(found.true):,} texts of {found.source}; {found.network}."]
    if found.skipped:
        most = ", ".join(f"{label!r:.60} {count:,}" for label, count in found.skipped.most_common(5))
        said.append(
            f"Passed over: {found.skipped.total():,} texts with labels that the classifier does not know: {most}."
        )
    absent = [name for k, name in enumerate(found.classes) if not (found.true == k).any()]
    if absent:
        said.append(f"No text is labelled {', '.join(absent):.200}; in macro F1 that counts as 0.")
    return said


def overall(found: Evaluation) -> list[list[str]]:
    """The figures of all texts together as a table."""
    figures = found.figures()
    low, high = figures["accuracy_interval"]
    auc = figures["roc_auc"]
    what = "probability and share" if len(found.classes) == 2 else "highest probability and accuracy"
    rows = [
        ["figure", "value", ""],
        ["accuracy", f"{figures['accuracy']:.2%}", f"95 % interval {low:.2%} to {high:.2%}"],
        ["most frequent label", f"{figures['most_frequent']:.2%}", "accuracy of always saying it"],
        ["macro F1", f"{figures['macro_f1']:.4f}", "mean over labels"],
        ["loss", f"{figures['loss']:.4f}", "mean cross-entropy"],
        ["calibration error", f"{figures['calibration_error']:.4f}", f"of {what}, ten bins"],
    ]
    if len(found.classes) == 2:
        why = "one label alone occurs" if auc is None else f"of {found.classes[1]} against {found.classes[0]}"
        rows.append(["ROC AUC", "-" if auc is None else f"{auc:.4f}", why])
    return rows


def each_label(found: Evaluation) -> list[list[str]]:
    """The figures of each label as a table."""
    rows = [["label", "precision", "recall", "F1", "texts"]]
    for name, each in found.figures()["labels"].items():
        rows.append([name, *(f"{each[key]:.4f}" for key in ("precision", "recall", "f1")), f"{each['texts']:,}"])
    return rows


def confusions(found: Evaluation) -> list[list[str]]:
    """The confusion matrix as a table; of many labels the most frequent confusions."""
    matrix, names = found.confusion, found.classes
    if len(names) <= SHOWN:
        head = ["true, said:", *names]
        return [head, *([name, *(f"{count:,}" for count in row)] for name, row in zip(names, matrix.tolist()))]
    wrong = matrix * (1 - np.eye(len(names), dtype=int))
    places = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]]
    return [
        ["true", "said", "texts"],
        *([names[t], names[said], f"{wrong[t, said]:,}"] for t, said in places if wrong[t, said]),
    ]


def place_of_report(out: str | os.PathLike[str]) -> Path:
    """Where the report goes: `out` where that ends in .html or .htm, else evaluation.html in that folder.

    Raises ValueError for the ending of another kind of file, and OSError where it cannot be.
    """
    if Path(out).suffix.lower() in OTHERS and not Path(out).is_dir():
        raise ValueError(f"out is {out}, expected a file that ends in .html, or a folder")
    return place_to_write(out if Path(out).suffix.lower() in (".html", ".htm") else Path(out) / "evaluation.html")


def write_evaluation(path: str | os.PathLike[str], found: Evaluation) -> None:
    """Write the report, a page that loads nothing; without matplotlib (extra `plots`) there are no pictures in it."""
    parts = [
        f"<h1>How well {escape(Path(found.source).name)} is labelled</h1>",
        *(f"<p>{escape(sentence)}</p>" for sentence in sentences(found)),
        html_table(overall(found)),
        html_table(each_label(found)),
    ]
    if importlib.util.find_spec("matplotlib"):
        parts += pictures(found)
    else:
        parts += [NO_PICTURES, html_table(confusions(found))]
    parts += confidently_wrong(found)
    parts.append(f"<p class=note>{escape(machine())}.</p>")
    style = "table:first-of-type td:last-child{text-align:left}"
    write_page(path, f"Evaluation on {Path(found.source).name}", parts, style)


def pictures(found: Evaluation) -> list[str]:
    """Confusion matrix, calibration and accuracy by length, as HTML."""
    names = [name.replace("$", r"\$") for name in found.classes]
    if len(names) <= SHOWN:
        parts = section("Confusion matrix", [partial(plots.confusion, found.confusion, names)], width=290)
    else:
        parts = ["<h2>Most frequent confusions</h2>", html_table(confusions(found))]
    measured = found.calibration
    groups, group = groups_by_length(found.words)
    right = found.true == found.predicted
    shares = [float(right[group == k].mean()) for k in range(len(groups))]
    network = found.network.partition(",")[0]

    def sureness() -> Any:
        ax = plots.calibration({network: (measured.predicted, measured.observed)})
        if len(names) == 2:
            ax.set(xlabel=f"probability of {names[1]}", ylabel=f"share that is {names[1]}")
        else:
            ax.set(xlabel="probability of the label said", ylabel="share that is right")
        return ax

    counts = np.bincount(group)
    ends = [share_interval(int(right[group == k].sum()), int(count)) for k, count in enumerate(counts)]
    words = [
        "The dashed line is where probabilities are what they say. Texts by length: "
        f"{', '.join(f'{count:,}' for count in counts)}; the 95 % intervals of their accuracies are up to "
        f"{max(high - low for low, high in ends):.1%} wide."
    ]
    by_length = partial(plots.accuracy_by_group, {network: shares}, groups, "words in the text")
    return parts + section("How sure it is, and where it errs", [sureness, by_length], words)


def confidently_wrong(found: Evaluation) -> list[str]:
    """The most confident errors with their texts, as HTML."""
    told = (
        f"<div class=review>line {error.line:,}: {escape(error.true)}, but taken for {escape(error.said)} "
        f"({error.probability:.1%}), {error.words:,} words: {escape(error.text)}</div>"
        for error in found.errors
    )
    none = [] if found.errors else ["<p>None: every text is labelled right.</p>"]
    return ["<h2>Most confidently wrong</h2>", *told, *none]
