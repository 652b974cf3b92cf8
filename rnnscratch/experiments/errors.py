"""Where the models of a comparison err: by length, by negations, by where the telling words stand; how sure they are;
and what distance makes of a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import plots
from ..kernels.losses import sigmoid
from ..metrics import calibration
from ..text import groups_by_length, groups_by_negation
from .probes import VERDICT, evidence
from .results import FILLERS, NAMES, Outcome, Prepared

ENDS = ("both", f"last {VERDICT}", f"first {VERDICT}", "neither")


def shares(
    prepared: Prepared, outcomes: Sequence[Outcome], groups: Sequence[str], group: np.ndarray
) -> dict[str, list[float]]:
    """By model, the accuracy in each group of test reviews, over all its seeds; reviews of group -1 are left out."""
    labels = prepared.data.test.labels
    by_model: dict[str, list[np.ndarray]] = {}
    for outcome in outcomes:
        by_model.setdefault(NAMES[outcome.row["model"]], []).append((outcome.logits > 0) == labels)
    right = {name: np.mean(runs, axis=0) for name, runs in by_model.items()}
    return {name: [float(each[group == g].mean()) for g in range(len(groups))] for name, each in right.items()}


def groups_by_evidence(prepared: Prepared) -> tuple[list[str], np.ndarray]:
    """Which end of a review tells its label, by the words' own weights: both, the last, the first, neither.

    Returns the names of the groups that occur, and the group (N,) of each test review, -1 for a short one.
    """
    told = evidence(prepared)
    first, last = (told > 0).T
    code = np.select([first & last, last, first], [0, 1, 2], 3)
    code[np.isnan(told).any(axis=1)] = -1
    found = [k for k in range(len(ENDS)) if (code == k).any()]
    group = np.full(len(code), -1)
    for position, k in enumerate(found):
        group[code == k] = position
    return [ENDS[k] for k in found], group


def where(prepared: Prepared, outcomes: Sequence[Outcome]) -> tuple[list[Callable[[], Any]], list[str]]:
    """Pictures of the accuracy in groups of reviews, and words on them."""
    lengths = groups_by_length([len(ids) for ids in prepared.test_ids])
    words = [re.findall(r"[\w']+", text.lower().replace("\u2019", "'")) for text in prepared.data.test.texts]
    negations, ends = groups_by_negation(words), groups_by_evidence(prepared)
    draw: list[Callable[[], Any]] = []
    sentences = []
    for (groups, group), label, kind in (
        (lengths, "words in the review", "words"),
        (negations, "negations in the review", "negations"),
        (ends, "end of the review that tells the label", "telling"),
    ):
        if not groups:
            continue
        found = shares(prepared, outcomes, groups, group)
        draw.append(partial(plots.accuracy_by_group, found, groups, label))
        counts = np.bincount(group[group >= 0], minlength=len(groups))
        if kind == "negations" and len(groups) > 1:
            told = ", ".join(f"{name} {row[-1]:.1%} and {row[0]:.1%}" for name, row in found.items())
            sentences.append(
                f"Accuracy on the {counts[-1]:,} reviews with {groups[-1]} negations and on the {counts[0]:,} with "
                f"{groups[0]}: {told}."
            )
        if kind == "telling" and ENDS[1] in groups and ENDS[2] in groups:
            last, first = groups.index(ENDS[1]), groups.index(ENDS[2])
            told = ", ".join(f"{name} {row[first]:.1%} and {row[last]:.1%}" for name, row in found.items())
            sentences.append(
                f"Where the words of the first {VERDICT} speak for the label and those of the last {VERDICT} against "
                f"it ({counts[first]:,} reviews of {3 * VERDICT} words or more; a word's weight is that of naive "
                f"Bayes), and where it is the other way round ({counts[last]:,}): {told}."
            )
    return draw, sentences


def sureness(prepared: Prepared, outcomes: Sequence[Outcome]) -> tuple[list[Callable[[], Any]], list[str]]:
    """How often the models are right where they say so: a picture of each model's first run, and the mean errors."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    errors: dict[str, list[float]] = {}
    for outcome in outcomes:
        name = NAMES[outcome.row["model"]]
        measured = calibration(prepared.data.test.labels, sigmoid(outcome.logits))
        found.setdefault(name, (measured.predicted, measured.observed))
        errors.setdefault(name, []).append(measured.error)
    told = ", ".join(f"{name} {np.mean(each):.1%}" for name, each in errors.items())
    sentence = f"A probability is off by so much on average (expected calibration error, ten bins): {told}."
    return [partial(plots.calibration, found)], [sentence]


def distance(outcomes: Sequence[Outcome]) -> tuple[list[Callable[[], Any]], list[str]]:
    """What neutral words after a verdict, and before it, make of it: pictures and words."""
    by_model: dict[str, list[np.ndarray]] = {}
    for outcome in outcomes:
        if "recall" in outcome.measured and np.isfinite(outcome.measured["recall"]).all():
            by_model.setdefault(NAMES[outcome.row["model"]], []).append(outcome.measured["recall"])
    if not by_model:
        return [], []
    found = {name: np.mean(runs, axis=0) for name, runs in by_model.items()}
    draw: list[Callable[[], Any]] = [
        partial(
            plots.accuracy_by_group,
            {name: values[row] for name, values in found.items()},
            [str(n) for n in FILLERS],
            f"neutral words {side} the verdict",
        )
        for row, side in enumerate(("after", "before"))
    ]
    told = ", ".join(
        f"{name} {values[0, 0]:.1%}, {values[0, -1]:.1%} and {values[1, -1]:.1%}" for name, values in found.items()
    )
    sentence = (
        f"The last {VERDICT} words of a review alone, with {FILLERS[-1]} neutral words after them, and with as many "
        f"before them: {told} right."
    )
    return draw, [sentence]
