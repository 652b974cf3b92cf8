"""What the comparison's networks are to learn: the labels of the reviews or, with a teacher, what it says of them too.

The teacher is logistic regression on runs of up to three words (`NbNgrams`), whose probabilities say which reviews are
doubtful (Hinton et al. 2015, "Distilling the knowledge in a neural network"). A training review has those of a teacher
that learned from others, of other films for the most part; one without a label has nothing else for a label (Lee 2013,
"Pseudo-label"). The teacher learns from neither validation nor test reviews.

A network that has learned so sees what runs of words do not, and is a teacher itself: in further rounds others learn
the reviews without a label from both (Xie et al. 2020, "Self-training with noisy student").
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..kernels.losses import sigmoid
from ..progress import say
from .baseline import NbNgrams
from .results import Lessons, Prepared

LONGEST = 3  # words in a row


def lessons(settings: Any, prepared: Prepared, progress: bool, pupil: np.ndarray | None = None) -> Lessons:
    """What networks learn from, as `settings.distill` and `settings.unlabelled` say.

    `pupil` are the logits that a network gives the reviews without a label after it learned from the teacher; they are
    added to the teacher's own.
    """
    share = settings.distill
    if not share:
        return Lessons(prepared.train_ids, prepared.train_labels)
    if "teacher" not in prepared.learned:
        prepared.learned["teacher"] = teach(prepared, progress)
    taught = prepared.learned["teacher"]
    count = len(prepared.train_ids)
    own, others = taught.labels[:count], taught.labels[count:]
    p = np.concatenate(
        [
            share * sigmoid(own) + (1 - share) * prepared.train_labels,
            sigmoid(others if pupil is None else others + pupil),
        ]
    )
    kept = len(p) if settings.unlabelled else count
    return Lessons(taught.ids[:kept], np.stack([1 - p, p], axis=1)[:kept], taught.seconds, taught.said)


def teach(prepared: Prepared, progress: bool) -> Lessons:
    """The teacher's logits of the label 1, of training reviews and those without a label."""
    start = time.perf_counter()
    teacher, count = NbNgrams(len(prepared.vocabulary), LONGEST), len(prepared.train_ids)
    logits = teacher.fit_decision(prepared.train_ids, prepared.train_labels, progress=progress)
    ids = prepared.train_ids + prepared.unlabelled_ids[count:]
    if len(ids) > count:
        logits = np.concatenate([logits, teacher.decision(ids[count:])])
    seconds = time.perf_counter() - start
    right = ((teacher.decision(prepared.validation_ids) > 0) == prepared.validation.labels).mean()
    said = (
        f"The teacher, logistic regression on runs of up to {LONGEST} words weighted by naive Bayes, is right on "
        f"{right:.2%} of the validation reviews"
    )
    if progress:
        say(f"{said}; {seconds:,.0f} s")
    return Lessons(ids, logits, seconds, said)
