"""What a comparison finds: the models' names, a run's data and outcome, and the rows as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import load_arrays, reading, save_arrays
from ..models.classifier import CELLS
from ..text import ImdbData, Reviews, Vocabulary

NAMES = {"rnn": "vanilla RNN", "lstm": "LSTM", "gru": "GRU", "bow": "bag of words", "nb": "NB bigrams", "hmm": "HMM"}
NAMES |= {cell: cell.replace("_", " ") for cell in CELLS if cell not in NAMES}
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "accuracy": "accuracy",
    "f1": "F1",
    "seconds_per_epoch": "s/epoch",
    "pretrain_seconds": "beforehand s",  # pre-training and the teacher, where there were any
    "train_seconds": "total s",
    "tokens_per_second": "tokens/s",
    "peak_memory_mb": "peak MB",
}


FORMAT = "rnnscratch outcome 1"
WORDS = ("model", "data", "recipe", "pooling", "version")  # of a row
SAID = ("start", "teacher")  # of the row of a network, if it had one
NUMBERS = (
    *("accuracy", "precision", "recall", "f1", "roc_auc", "validation_accuracy", "parameters", "epochs", "best_epoch"),
    *("train_seconds", "seconds_per_epoch", "tokens_per_second", "peak_memory_mb"),
)
COUNTS = ("train_size", "validation_size", "test_size", "seed")
HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")
LAGS = ("lag", "lag-untrained", "lag-pooled", "lag-untrained-pooled")  # gradients by lag: see probes.py
FILLERS = (0, 25, 50, 100, 200, 350)  # neutral words beside a verdict: see `probes.recall`


@dataclass(frozen=True)
class Prepared:
    """The reviews as token ids, split three ways."""

    data: ImdbData
    validation: Reviews
    vocabulary: Vocabulary
    train_ids: list[np.ndarray]
    train_labels: np.ndarray
    validation_ids: list[np.ndarray]
    test_ids: list[np.ndarray]
    unlabelled_ids: list[np.ndarray] = field(default_factory=list)  # to learn from without labels
    learned: dict[str, Any] = field(default_factory=dict)  # before the networks (pretraining.py, teacher.py)
    folder: Path = Path()  # of the run


@dataclass(frozen=True)
class Lessons:
    """What networks learn from: reviews as token ids, their labels (N,) or the probabilities of both (N, 2); what a
    teacher cost; and a few words on it.
    """

    ids: list[np.ndarray]
    labels: np.ndarray
    seconds: float = 0.0
    said: str = ""


@dataclass
class Outcome:
    """What the report shows of one trained model.

    Of a network, `measured` holds the gradients by lag and `recall` (see probes.py); runs of before have fewer of them.
    """

    row: dict[str, Any]
    logits: np.ndarray
    history: list[dict[str, float]]
    measured: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it; a failure leaves an older file whole."""
        arrays = {"logits": self.logits, **self.measured}
        save_arrays(path, {"format": FORMAT, "row": self.row, "history": self.history}, arrays)

    @classmethod
    def load(cls, path: Path, model: str, seed: int) -> Outcome:
        """Read that of a model and seed. Raises OSError, or ValueError naming the file, for anything else."""
        header, arrays = load_arrays(path, FORMAT)
        with reading(path):
            row, history = header["row"], header["history"]
            for kinds, names in (
                ((str,), WORDS),
                ((int, float), NUMBERS),
                ((int,), COUNTS),
                ((bool,), ("bidirectional",)),
            ):
                for name in names:
                    if type(row[name]) not in kinds:
                        raise ValueError(f"{name} is {row[name]!r:.100}, expected {kinds[-1].__name__}")
            for name in SAID:
                if type(row.get(name, "")) is not str:
                    raise ValueError(f"{name} is {row[name]!r:.100}, expected a string")
            rounds = row.get("rounds", [])
            if type(rounds) is not list or not all(type(each) is float and math.isfinite(each) for each in rounds):
                raise ValueError(f"rounds is {rounds!r:.100}, expected accuracies")
            if (row["model"], row["seed"]) != (model, seed):
                raise ValueError(f"it is that of {row['model']!r:.50} with seed {row['seed']}")
            for each in history:
                if not all(type(each[name]) in (int, float) and math.isfinite(each[name]) for name in HISTORY):
                    raise ValueError(f"its history holds {each!r:.200}")
            logits = arrays.pop("logits")
            if logits.shape != (row["test_size"],) or logits.dtype.kind != "f" or not np.isfinite(logits).all():
                raise ValueError(
                    f"logits are {logits.shape} of {logits.dtype}, expected {row['test_size']}, all finite"
                )
            for name, array in arrays.items():
                right = array.ndim == 1 and array.size if name in LAGS else array.shape == (2, len(FILLERS))
                if name not in (*LAGS, "recall") or not right or array.dtype.kind != "f":
                    raise ValueError(f"{name} is {array.shape} of {array.dtype}, expected lags or recall of a network")
            return cls(row, logits, history, arrays)


def lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table's head, and a line for each model; several seeds as mean +- standard deviation."""
    columns = {key: title for key, title in COLUMNS.items() if key != "pretrain_seconds" or any(map(pretrained, rows))}
    found = [list(columns.values())]
    for name in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == name]
        found.append([NAMES[name], *(figure([run.get(key, 0.0) for run in runs], key) for key in list(columns)[1:])])
    return found


def pretrained(row: dict[str, Any]) -> bool:
    """Whether this network started from something learned."""
    return row.get("pretrain_seconds", 0.0) > 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as lines of text."""
    cells = lines(rows)
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in cells)


def figure(values: Sequence[float], key: str) -> str:
    """Numbers of several seeds as text, in the form that suits the column."""
    forms = {"accuracy": "{:.2%}", "f1": "{:.4f}", "seconds_per_epoch": "{:.1f}", "train_seconds": "{:.1f}"}
    form = forms.get(key, "{:,.0f}")
    text = form.format(float(np.mean(values)))
    return text if len(set(values)) == 1 else f"{text} +- {form.format(float(np.std(values, ddof=1)))}"


def interval(share: float, count: int) -> float:
    """Half the width of the 95 % interval of a share among `count` independent examples (normal approximation)."""
    return 1.96 * math.sqrt(share * (1 - share) / count)
