"""What a comparison finds: the models' names, a run's data and outcome, and the rows as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.classifier import CELLS
from ..text import ImdbData, Reviews, Vocabulary

NAMES = {"rnn": "vanilla RNN", "lstm": "LSTM", "gru": "GRU", "bow": "bag of words", "hmm": "HMM"}
NAMES |= {cell: cell.replace("_", " ") for cell in CELLS if cell not in NAMES}
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "accuracy": "accuracy",
    "f1": "F1",
    "seconds_per_epoch": "s/epoch",
    "train_seconds": "total s",
    "tokens_per_second": "tokens/s",
    "peak_memory_mb": "peak MB",
}


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


@dataclass
class Outcome:
    """What the report shows of one trained model."""

    row: dict[str, Any]
    logits: np.ndarray
    history: list[dict[str, float]]
    lag: np.ndarray | None = None


def lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table's head, and a line for each model; several seeds as mean +- standard deviation."""
    found = [list(COLUMNS.values())]
    for name in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == name]
        found.append([NAMES[name], *(figure([run[key] for run in runs], key) for key in list(COLUMNS)[1:])])
    return found


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
