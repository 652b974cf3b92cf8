"""Figures of training and of comparison: against epochs, updates, settings, lengths and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import as_list
from .style import (
    FEW,
    axes_for,
    curves_of,
    legend,
    named,
    numbers_of,
    squares,
    styles_of,
)


def training_curves(histories: Mapping[str, Sequence[Sequence[float]]], label: str = "loss", ax: Any = None) -> Any:
    """One figure per epoch for each model: a line through the mean of its seeds, a band from the lowest to the highest.

    histories: for each model a list of runs, each a list with one number for each epoch.
    """
    found = {}
    for name, given in named("histories", histories).items():
        label_of = f"histories[{name!r}]"
        found[name] = [numbers_of(f"{label_of}[{k}]", run, None) for k, run in enumerate(as_list(label_of, given))]
        if not found[name]:
            raise ValueError(f"{label_of} is empty, expected at least one run")
    ax = axes_for(ax)
    for name, runs in found.items():
        epochs = min(map(len, runs))
        found[name] = [run[:epochs] for run in runs]
    _bands(ax, {name: np.arange(1, len(runs[0]) + 1) for name, runs in found.items()}, found)
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def _bands(ax: Any, x: Mapping[str, np.ndarray], runs: Mapping[str, Sequence[np.ndarray]]) -> None:
    """For each name a line through the mean of its runs, and a band from the lowest to the highest."""
    styles = styles_of(runs)
    for name, each in runs.items():
        values = np.array(each, dtype=float)
        ax.plot(x[name], values.mean(axis=0), label=name, **styles[name])
        if len(values) > 1:
            ax.fill_between(x[name], values.min(axis=0), values.max(axis=0), alpha=0.2, color=styles[name]["color"])
    ax.legend(frameon=False)


def validation_curve(
    values: Sequence[float],
    scores: Mapping[str, Sequence[Sequence[float]]],
    label: str,
    score: str = "validation accuracy",
    ax: Any = None,
) -> Any:
    """A score against a setting, such as the learning rate or the number of examples, on a logarithmic scale.

    scores: for each model a list of runs, each a list with one number for each of the values; lines and bands are those
    of `training_curves`.
    """
    x = numbers_of("values", values, None)
    found = {
        name: list(numbers_of(f"scores[{name!r}]", runs, None, len(x)))
        for name, runs in named("scores", scores).items()
    }
    ax = axes_for(ax)
    _bands(ax, dict.fromkeys(found, x), found)
    ax.set_xscale("log")
    ax.set_xticks(x, [f"{value:,g}" for value in x.tolist()])
    ax.set_xticks([], minor=True)
    ax.set(xlabel=label, ylabel=score)
    return ax


def calibration(curves: Mapping[str, tuple[Any, Any]], ax: Any = None) -> Any:
    """The share of positive examples against their probability, for each model; the dashed line is that of a right one.

    curves: for each model the probabilities (bins,) and the shares (bins,), as `metrics.calibration` gives them.
    """
    found = {}
    for name, pair in named("curves", curves).items():
        predicted, observed = (numbers_of(f"curves[{name!r}][{k}]", values, None) for k, values in enumerate(pair))
        if predicted.shape != observed.shape:
            raise ValueError(f"curves[{name!r}] holds {len(predicted)} probabilities and {len(observed)} shares")
        found[name] = predicted, observed
    ax = axes_for(ax)
    ax.plot([0, 1], [0, 1], color="#777777", linestyle="--", linewidth=1)
    styles = styles_of(found)
    for name, (predicted, observed) in found.items():
        ax.plot(predicted, observed, label=name, alpha=0.8, **styles[name])
    ax.set(xlabel="probability of positive", ylabel="share that is positive")
    ax.legend(frameon=False)
    return ax


def learning_curves(
    runs: Mapping[str, Sequence[Sequence[tuple[float, float]]]],
    label: str = "error",
    chance: float | None = None,
    ax: Any = None,
) -> Any:
    """A figure against updates, a line for each run of each model; runs may end at different times.

    runs: for each model a list of runs, each a list of (updates, figure). `chance` is drawn as a dashed line.
    """
    found = {}
    for name, given in named("runs", runs).items():
        label_of = f"runs[{name!r}]"
        found[name] = [numbers_of(f"{label_of}[{k}]", run, None, 2) for k, run in enumerate(as_list(label_of, given))]
        if not found[name]:
            raise ValueError(f"{label_of} is empty, expected at least one run")
    ax = axes_for(ax, (5.0, 3.4) if len(found) <= FEW else (6.8, 3.4))
    styles = styles_of(found)
    for name, each in found.items():
        for k, run in enumerate(each):
            every = max(len(run) // 8, 1)
            ax.plot(*run.T, label=name if k == 0 else None, alpha=0.8, markevery=every, **styles[name])
    if chance is not None:
        ax.axhline(chance, color="#777777", linestyle="--", linewidth=1)
    ax.set(xlabel="updates", ylabel=label)
    legend(ax, len(found))
    return ax


def share_by_length(lengths: Sequence[int], shares: Mapping[str, Sequence[float]], ax: Any = None) -> Any:
    """The share of runs that solved a problem against its length, for each model; lengths on a logarithmic scale."""
    lengths = as_list("lengths", lengths)
    rows = {name: numbers_of(f"shares[{name!r}]", row, len(lengths)) for name, row in named("shares", shares).items()}
    ax = axes_for(ax, (5.0, 3.4) if len(rows) <= FEW else (6.8, 3.4))
    styles = styles_of(rows)
    for k, (name, row) in enumerate(rows.items()):
        ax.plot(lengths, row + 0.008 * k, label=name, alpha=0.8, **styles[name])  # lines that agree lie side by side
    ax.set_xscale("log")
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="steps", ylabel="share of runs that solve it", ylim=(-0.05, 1.1))
    legend(ax, len(rows))
    return ax


def confusion(matrix: np.ndarray, labels: Sequence[str], title: str = "", ax: Any = None) -> Any:
    """A confusion matrix (K, K) with its counts; row the true class, column the predicted one."""
    labels = as_list("labels", labels)
    matrix = numbers_of("matrix", matrix, len(labels), len(labels))
    size = 1.0 + 0.85 * max(2, len(labels))  # inches: room for a count in each square
    ax = axes_for(ax, (size + 0.3, size + 0.1))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    squares(ax, share, lambda row, column: f"{matrix[row, column]:,}\n{share[row, column]:.1%}", labels)
    if max(len(str(label)) for label in labels) > 9:  # characters, too wide to stand side by side
        ax.tick_params(axis="x", rotation=45)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    return ax


def accuracy_by_group(
    accuracies: Mapping[str, Any], groups: Sequence[str], label: str = "words in the review", ax: Any = None
) -> Any:
    """The accuracy of each model in each group of examples, such as reviews of like length or with negations."""
    groups, accuracies = as_list("groups", groups), curves_of("accuracies", accuracies)
    for name, values in accuracies.items():
        numbers_of(f"accuracies[{name!r}]", values, len(groups))
    ax = axes_for(ax)
    styles = styles_of(accuracies)
    for name, values in accuracies.items():
        ax.plot(range(len(groups)), values * 100, label=name, **styles[name])
    ax.set_xticks(range(len(groups)), groups)
    ax.set(xlabel=label, ylabel="accuracy (%)")
    ax.legend(frameon=False)
    return ax


def accuracy_against_time(rows: Sequence[Mapping[str, Any]], ax: Any = None) -> Any:
    """Accuracy against seconds of training, one point for each run (`model`, `accuracy`, `train_seconds`)."""
    ax = axes_for(ax)
    styles = styles_of(row["model"] for row in rows)
    for name in styles:
        runs = [row for row in rows if row["model"] == name]
        seconds = [row["train_seconds"] for row in runs]
        ax.plot(seconds, [row["accuracy"] * 100 for row in runs], linestyle="none", label=name, **styles[name])
    ax.set(xlabel="training time (s)", ylabel="accuracy (%)", xlim=(0, None))
    ax.legend(frameon=False)
    return ax
