"""What the comparison's networks are to learn: the labels of the reviews or, with a teacher, what it says of them too.

The teacher is logistic regression on runs of up to three words (`NbNgrams`), whose probabilities say which reviews are
doubtful (Hinton et al. 2015, "Distilling the knowledge in a neural network"). A training review has those of a teacher
that learned from others, of other films for the most part; one without a label has nothing else for a label (Lee 2013,
"Pseudo-label"). The teacher learns from neither validation nor test reviews.
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


def lessons(settings: Any, prepared: Prepared, progress: bool) -> Lessons:
    """What networks learn from, as `settings.distill` and `settings.unlabelled` say."""
    share = settings.distill
    if not share:
        return Lessons(prepared.train_ids, prepared.train_labels)
    if "teacher" not in prepared.learned:
        prepared.learned["teacher"] = teach(prepared, progress)
    taught = prepared.learned["teacher"]
    count = len(prepared.train_ids)
    p = np.concatenate([share * taught.labels[:count] + (1 - share) * prepared.train_labels, taught.labels[count:]])
    kept = len(p) if settings.unlabelled else count
    return Lessons(taught.ids[:kept], np.stack([1 - p, p], axis=1)[:kept], taught.seconds, taught.said)


def teach(prepared: Prepared, progress: bool) -> Lessons:
    """The teacher's probabilities of the label 1, of training reviews and those without a label."""
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
    return Lessons(ids, sigmoid(logits), seconds, said)
