"""What the settings are worth: networks trained with one of them changed, as a table, pictures, and words on which of
the differences between two protocols are the cell's.

All accuracies are those on the validation reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np

from .. import plots
from ..models.classifier import CELLS
from .recipe import ADDITIONS, EVERYTHING, variants
from .results import NAMES, Outcome, interval

Changed = Mapping[str, Sequence[Outcome]]


def accuracies(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """Of a model's runs."""
    return [outcome.row["validation_accuracy"] for outcome in outcomes if outcome.row["model"] == name]


def changes_table(outcomes: Sequence[Outcome], changed: Changed) -> list[str]:
    """The accuracies with each change, mean and deviation over seeds, and what it makes of each model, as HTML."""
    names = list(dict.fromkeys(o.row["model"] for runs in changed.values() for o in runs))
    names = [name for name in dict.fromkeys(o.row["model"] for o in outcomes) if name in names]
    body = []
    for change, runs in {"": outcomes, **changed}.items():
        cells = []
        for name in names:
            found, whole = accuracies(runs, name), accuracies(outcomes, name)
            spread = f" &plusmn; {np.std(found, ddof=1):.2%}" if len(found) > 1 else ""
            difference = f" ({np.mean(found) - np.mean(whole):+.2%})" if change and found else ""
            cells.append(f"<td>{np.mean(found):.2%}{spread}{difference}" if found else "<td>&ndash;")
        body.append(f"<tr><td>{escape(change) or 'as above'}{''.join(cells)}")
    head = "".join(f"<th>{escape(NAMES[name])}" for name in names)
    size = outcomes[0].row["validation_size"]
    return [
        "<h2>With other settings</h2>",
        f"<p class=note>Accuracy on the {size:,} validation reviews, with the difference that the change makes.</p>",
        f"<table><thead><tr><th>{head}</thead><tbody>{''.join(body)}</tbody></table>",
    ]


def worth(outcomes: Sequence[Outcome], changed: Changed) -> list[str]:
    """Which differences between the report's protocol and the library's are the cell's, and which are not."""
    networks = [name for name in dict.fromkeys(o.row["model"] for o in outcomes) if name in CELLS]
    if f"with {EVERYTHING}" not in changed or len(networks) < 2:
        return []

    def means(runs: Sequence[Outcome]) -> dict[str, float]:
        return {name: float(np.mean(accuracies(runs, name))) for name in networks}

    def listed(values: Mapping[str, float], form: str) -> str:
        return ", ".join(f"{NAMES[name]} {value:{form}}" for name, value in values.items())

    def apart(values: Mapping[str, float]) -> float:
        return max(values.values()) - min(values.values())

    own, size = means(outcomes), outcomes[0].row["validation_size"]
    best, worst = max(own, key=lambda name: own[name]), min(own, key=lambda name: own[name])
    seeds = len(accuracies(outcomes, best))
    sentences = [
        f"The cell: with everything else equal, as the report wants it, the validation reviews give "
        f"{listed(own, '.2%')} (mean of {seeds} {'seed' if seeds == 1 else 'seeds'}; the choice of {size:,} reviews "
        f"alone makes +-{interval(own[best], size):.2%}). So the {NAMES[best]} in the place of the {NAMES[worst]} is "
        f"worth {100 * apart(own):.1f} points."
    ]
    gains = {}
    for factor in (*ADDITIONS, EVERYTHING):
        found = means(changed[f"with {factor}"])
        gain = {name: found[name] - own[name] for name in networks}
        gains[factor] = float(np.mean(list(gain.values())))
        sentences.append(
            f"With {factor}{' alone' if factor != EVERYTHING else ', all of these together,'} the difference is "
            f"{listed(gain, '+.2%')}; the cells are then {100 * apart(found):.1f} points apart."
        )
    whole, largest = gains.pop(EVERYTHING), max(gains, key=lambda name: gains[name])
    total = sum(gains.values())
    together = f", so they {'overlap' if total > whole else 'help each other'}" if whole > 0 else ""
    sentences.append(
        f"On average the library's protocol is {100 * abs(whole):.1f} points {'ahead' if whole > 0 else 'behind'}. The "
        f"single change that brings most is {largest}, {100 * gains[largest]:+.1f} points; the single ones sum to "
        f"{100 * total:+.1f}{together}."
    )
    pooled = apart(means(changed[f"with {next(iter(ADDITIONS))}"]))
    if pooled < apart(own):
        sentences.append(
            f"Pooling hides what a cell is worth: reading all states in the place of the last brings the cells from "
            f"{100 * apart(own):.1f} to {100 * pooled:.1f} points, since what a word says then need not last to the "
            "end (see the gradients below)."
        )
    return sentences


def curves(settings: Any, outcomes: Sequence[Outcome], changed: Changed) -> tuple[list[Callable[[], Any]], list[str]]:
    """Pictures of the accuracy over the amount of data and over learning rates, and words on them."""
    draw: list[Callable[[], Any]] = []
    sentences = []
    settings_of = {"": settings, **variants(settings)}
    runs_of = {"": outcomes, **changed}
    for key, measure, label in (
        ("share", lambda runs: runs[0].row["train_size"], "reviews learned from"),
        ("learning_rate", None, "learning rate"),
    ):
        values = {change: getattr(settings_of[change], key) for change in runs_of}
        chosen = [change for change in runs_of if not change or values[change] != values[""]]
        if len(chosen) < 2:
            continue
        chosen.sort(key=lambda change: values[change])
        names = [
            name
            for name in dict.fromkeys(o.row["model"] for o in outcomes)
            if all(accuracies(runs_of[change], name) for change in chosen)
        ]
        x = [measure(runs_of[change]) if measure else values[change] for change in chosen]
        found = {name: np.array([accuracies(runs_of[change], name) for change in chosen]).T for name in names}
        lines = {NAMES[name]: list(runs) for name, runs in found.items()}
        draw.append(partial(plots.validation_curve, x, lines, label))
        if measure:
            few = ", ".join(
                f"{NAMES[name]} {runs[:, 0].mean():.2%} and {runs[:, -1].mean():.2%}" for name, runs in found.items()
            )
            sentences.append(
                f"With {x[0]:,} reviews to learn from and with {x[-1]:,}: {few}. Networks make as many updates with "
                "each number."
            )
        else:
            spans = ", ".join(
                f"{NAMES[name]} {100 * np.ptp(runs.mean(axis=0)):.1f} points (between seeds at most "
                f"{100 * np.ptp(runs, axis=0).max():.1f})"
                for name, runs in found.items()
            )
            sentences.append(
                f"Between learning rates of {x[0]:g} and {x[-1]:g} the mean of the seeds moves by: {spans}."
            )
    return draw, sentences
