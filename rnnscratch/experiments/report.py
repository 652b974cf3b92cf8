"""The comparison's report: one HTML file with tables, pictures and words, all computed from the run's figures."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import plots
from ..kernels.losses import sigmoid
from ..metrics import confusion_matrix, mcnemar
from ..models.classifier import CELLS
from ..models.logits import ensemble
from .errors import distance, sureness, where
from .factors import changes_table, curves, worth
from .pages import NO_PICTURES, html_table, machine, section, shortened, write_page
from .results import NAMES, Outcome, Prepared, interval, lines


def write_report(
    path: Path,
    settings: Any,
    prepared: Prepared,
    outcomes: Sequence[Outcome],
    changed: Mapping[str, Sequence[Outcome]] = MappingProxyType({}),
) -> None:
    """Write the page; without matplotlib (extra `plots`) it has no pictures and says so.

    `changed` holds, by what differs, the networks trained with other settings.
    """
    parts = [
        "<h1>RNN, LSTM and GRU on IMDB reviews</h1>",
        f"<p>{escape(prepared.data.describe())}. {len(prepared.validation_ids):,} reviews of the training set "
        f"chose the epoch; {len(prepared.train_ids):,} were learned from. The test reviews "
        "were used once, at the end.</p>",
        results_table([outcome.row for outcome in outcomes]),
        "<h2>In words</h2>",
        *(f"<p>{escape(sentence)}</p>" for sentence in comparison(prepared, outcomes)),
    ]
    parts += beginnings(outcomes)
    if changed:
        parts += changes_table(outcomes, changed)
        parts += [f"<p>{escape(sentence).replace('+-', '±')}</p>" for sentence in worth(outcomes, changed)]
    if importlib.util.find_spec("matplotlib"):
        parts += pictures(settings, prepared, outcomes, changed)
    else:
        parts.append(NO_PICTURES)
    parts += confidently_wrong(prepared, outcomes)
    options = ", ".join(f"{name} {value}" for name, value in vars(settings).items())
    parts.append(f"<h2>Protocol</h2><p class=note>{escape(options)}.<br>{escape(machine())}.</p>")
    write_page(path, "RNN, LSTM and GRU on IMDB", parts)


def first_runs(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Each model's run with its first seed, in the order of the run."""
    first: dict[str, Outcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.row["model"], outcome)
    return first


def measured_lags(outcomes: Sequence[Outcome], kind: str = "lag") -> dict[str, np.ndarray]:
    """By model, the gradient by lag of its first run, where the test reviews were long enough to measure it."""
    found = {NAMES[name]: outcome.measured.get(kind) for name, outcome in first_runs(outcomes).items()}
    return {name: lag for name, lag in found.items() if lag is not None and np.isfinite(lag).all()}


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """The table that the terminal shows, as HTML."""
    return html_table(lines(rows))


def beginnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Who taught the networks, and what they started from."""
    parts = []
    for title, key in (("Who taught the networks", "teacher"), ("Where the networks started", "start")):
        whose: dict[str, list[str]] = {}
        for outcome in outcomes:
            if outcome.row.get(key):
                whose.setdefault(outcome.row[key], []).append(NAMES[outcome.row["model"]])
        parts += [f"<h2>{title}</h2>"] if whose else []
        parts += [f"<p>{escape(', '.join(dict.fromkeys(names)))}: {escape(said)}.</p>" for said, names in whose.items()]
    taught = [outcome.row for outcome in outcomes if outcome.row.get("rounds")]
    if taught:
        each = "; ".join(
            f"{NAMES[row['model']]}, seed {row['seed']}: "
            + ", ".join(f"{found:.2%}" for found in [*row["rounds"], row["validation_accuracy"]])
            for row in taught
        )
        parts.append(f"<p>Right on the validation reviews, round after round. {escape(each)}.</p>")
    return parts


def comparison(prepared: Prepared, outcomes: Sequence[Outcome]) -> list[str]:
    """Sentences on who is better, by how much, whether chance could explain it, and what it costs."""
    labels = prepared.data.test.labels
    first = first_runs(outcomes)
    ranked = sorted(first.values(), key=lambda outcome: -outcome.row["accuracy"])
    best = ranked[0]
    sentences = [
        f"The {NAMES[best.row['model']]} is right most often, on {best.row['accuracy']:.2%} of {len(labels):,} "
        f"test reviews (95 % of such samples lie within ±{interval(best.row['accuracy'], len(labels)):.2%})."
    ]
    network = next((outcome for outcome in ranked if outcome.row["model"] in CELLS), best)
    for other in (outcome for outcome in ranked if outcome is not network):
        alone, wrong_alone, p = mcnemar(labels, (network.logits > 0).astype(int), (other.logits > 0).astype(int))
        verdict = "chance alone would hardly do that" if p < 0.01 else "chance alone could do that"
        sentences.append(
            f"Against the {NAMES[other.row['model']]} ({other.row['accuracy']:.2%}) the {NAMES[network.row['model']]} "
            f"({network.row['accuracy']:.2%}) is right alone {alone:,} times and wrong alone {wrong_alone:,} times: "
            f"{verdict} (McNemar's test, p = {p:.2g})."
        )
    for name in (name for name in first if name in CELLS):
        runs = [outcome.logits for outcome in outcomes if outcome.row["model"] == name]
        if len(runs) > 1:
            together = ensemble(runs)
            right = float(((together[:, 1] > 0.5) == labels).mean())
            sentences.append(
                f"The mean of the probabilities of {len(runs)} runs of the {NAMES[name]} is right on {right:.2%}."
            )
    networks = [outcome for outcome in first.values() if outcome.history]
    if len(networks) > 1:
        fastest = min(networks, key=lambda outcome: outcome.row["seconds_per_epoch"])
        slowest = max(networks, key=lambda outcome: outcome.row["seconds_per_epoch"])
        ratio = slowest.row["seconds_per_epoch"] / fastest.row["seconds_per_epoch"]
        sentences.append(
            f"An epoch of the {NAMES[fastest.row['model']]} takes {fastest.row['seconds_per_epoch']:.0f} s, one of the "
            f"{NAMES[slowest.row['model']]} {slowest.row['seconds_per_epoch']:.0f} s, {ratio:.1f} times as long."
        )
    lags = measured_lags(outcomes)
    if lags:
        words = []
        for name, values in lags.items():
            lag = reach(values)
            far = f"{lag} words back" if lag is not None else f"more than {len(values)} words back"
            words.append(f"{far} in the {name}")
        sentences.append(
            f"After training, the gradient of the last state, going forwards, has fallen to a tenth of that at the "
            f"last word {', '.join(words)}."
        )
    overfit = [o for o in networks if o.row["best_epoch"] < len(o.history)]
    if overfit:
        names = ", ".join(f"{NAMES[o.row['model']]} after epoch {o.row['best_epoch']}" for o in overfit)
        sentences.append(f"Accuracy on the validation reviews was best before the last epoch: {names}.")
    return sentences


def reach(lag: np.ndarray) -> int | None:
    """The first lag at which less than a tenth of the gradient is left; None if it never is or was not measured."""
    below = np.flatnonzero(lag < lag[0] / 10) if np.isfinite(lag).all() and lag[0] > 0 else np.array([])
    return int(below[0]) if len(below) else None


def pictures(
    settings: Any, prepared: Prepared, outcomes: Sequence[Outcome], changed: Mapping[str, Sequence[Outcome]]
) -> list[str]:
    """All pictures with the words on them, as HTML with the images inside."""
    labels = prepared.data.test.labels
    by_model: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.history:
            by_model.setdefault(NAMES[outcome.row["model"]], []).append(outcome)

    def training(key: str) -> dict[str, list[list[float]]]:
        return {name: [[row[key] for row in o.history] for o in runs] for name, runs in by_model.items()}

    parts = []
    if changed:
        parts += section("Over the amount of data, and over learning rates", *curves(settings, outcomes, changed))
    if by_model:
        keys = [("loss", "training loss"), ("validation_loss", "validation loss")]
        keys += [("accuracy", "training accuracy"), ("validation_accuracy", "validation accuracy")]
        parts += section(
            "Loss and accuracy", [partial(plots.training_curves, training(key), title) for key, title in keys]
        )
        parts += gradients(outcomes)
        parts += section("A verdict, and words that tell nothing", *distance(outcomes))
    parts += section("Where they err", *where(prepared, outcomes))
    parts += section("How sure they are", *sureness(prepared, outcomes))
    rows = [{**outcome.row, "model": NAMES[outcome.row["model"]]} for outcome in outcomes]
    parts += section("What it costs", [lambda: plots.accuracy_against_time(rows)])
    matrices = [
        partial(
            plots.confusion,
            confusion_matrix(labels, (o.logits > 0).astype(int), (0, 1)),
            ("negative", "positive"),
            NAMES[n],
        )
        for n, o in first_runs(outcomes).items()
    ]
    return parts + section("Confusion matrices", matrices, width=290)


def gradients(outcomes: Sequence[Outcome]) -> list[str]:
    """How far back the gradients of two losses reach, before and after training."""
    last, pooled = (measured_lags(outcomes, kind) for kind in ("lag", "lag-pooled"))
    if not last:
        return []
    count = len(next(iter(last.values())))
    words = [
        "The norm of a loss's gradient with respect to the embedded words, averaged over reviews of at least "
        f"{count} words, relative to the last word's; dashed before training, solid after it. The loss is the "
        "last state times a random vector in the first picture, the mean of all states times that vector in the second."
    ]
    draw = [lambda: plots.gradient_by_lag(last, before=measured_lags(outcomes, "lag-untrained") or None)]
    if pooled:
        far = ", ".join(
            f"{name} {last[name][-1] / last[name][0]:.2g} and {values[-1] / values[0]:.2g}"
            for name, values in pooled.items()
        )
        words.append(
            f"So much of it is left {count - 1} words back, after training, of the last state and of the mean of all "
            f"states: {far}. In the mean each word has a state of its own, through which it acts at once, however "
            "fast the cell forgets: pooling hides forgetting."
        )
        earlier = measured_lags(outcomes, "lag-untrained-pooled") or None
        draw.append(lambda: plots.gradient_by_lag(pooled, before=earlier))
    return section("How far back the gradient reaches", draw, words)


def confidently_wrong(prepared: Prepared, outcomes: Sequence[Outcome], count: int = 3) -> list[str]:
    """The reviews that each network got wrong with the highest probability, shortened to their two ends."""
    labels, texts = prepared.data.test.labels, prepared.data.test.texts
    parts = ["<h2>Most confidently wrong</h2>"]
    for name, outcome in first_runs(outcomes).items():
        signed = np.where(labels == 1, outcome.logits, -outcome.logits)
        parts.append(f"<h3>{escape(NAMES[name])}</h3>")
        for index in np.argsort(signed, kind="stable")[:count]:
            probability = float(sigmoid(np.abs(outcome.logits[index : index + 1]))[0])
            truth, said = ("positive", "negative") if labels[index] else ("negative", "positive")
            parts.append(
                f"<div class=review>{truth}, but taken for {said} ({probability:.1%}), "
                f"{len(prepared.test_ids[index])} words: {escape(shortened(texts[index]))}</div>"
            )
    return parts
