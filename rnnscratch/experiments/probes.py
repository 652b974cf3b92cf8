"""What is asked of a trained network beside its accuracy: how far its gradient reaches, whether it still knows what
it read long ago, and the memory that training took.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backend import module_for, to_cpu
from ..models.classifier import SequenceClassifier
from ..text import pad
from ..training import predict
from .results import FILLERS, Prepared

VERDICT = 50  # words of a review that are read before or after filler words
FREQUENT, NEUTRAL = 500, 0.2  # filler words: of so many frequent ones, this share, which tells least
ASKED = 500  # reviews


def gradient_by_lag(
    model: SequenceClassifier, sequences: Sequence[np.ndarray], lags: int = 100, pooled: bool = False
) -> np.ndarray:
    """How far a loss's gradient reaches: the norm of dL/dx_{T-k} for k = 0 .. lags-1, where L is r h_T, r random.

    With `pooled`, L is r times the mean of h_1 .. h_T. Averaged over up to 64 reviews of at least `lags` words, whose
    last `lags` words are read; NaN where none is that long. h is the state of the last layer that reads forwards: one
    that reads backwards ends at the first word.
    """
    long = [ids[-lags:] for ids in sequences if len(ids) >= lags][:64]
    if not long:
        return np.full(lags, np.nan)
    xp, layer = model.xp, model.recurrent
    ids, _ = pad(long)
    outputs, state = layer.forward(model.embedding.forward(ids))
    h = state[0] if isinstance(state, tuple) else state
    r = np.random.default_rng(0).standard_normal(h.shape[1:]).astype(h.dtype)
    if pooled:
        dh = xp.zeros_like(outputs)
        dh[..., : h.shape[2]] = xp.asarray(r / h.dtype.type(lags))
        dx, _ = layer.backward(dh)
    else:
        dh = xp.zeros_like(h)
        dh[-len(layer.directions)] = xp.asarray(r)
        dx, _ = layer.backward(None, (dh, None) if isinstance(state, tuple) else dh)
    return to_cpu(xp.sqrt((dx * dx).sum(axis=2)).mean(axis=1))[::-1].astype(float)


def word_weights(sequences: Sequence[np.ndarray], labels: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """What each word tells of the label: the log-ratio r of naive Bayes, positive where it speaks for 1 (see NbNgrams).

    The unknown word tells nothing.
    """
    counts = [
        np.bincount(
            np.concatenate([np.zeros(0, np.int64), *(np.unique(s) for s, y in zip(sequences, labels) if y == label)]),
            minlength=vocabulary_size,
        )
        + 1.0
        for label in (0, 1)
    ]
    negative, positive = (count / count.sum() for count in counts)
    r = np.log(positive / negative)
    r[0] = 0.0
    return r


def evidence(prepared: Prepared) -> np.ndarray:
    """For each test review, what its first and its last `VERDICT` words tell of the true label (N, 2): sums of `r`.

    NaN for reviews of less than three times as many words, whose two ends are not apart.
    """
    r = word_weights(prepared.train_ids, prepared.train_labels, len(prepared.vocabulary))
    found = np.full((len(prepared.test_ids), 2), np.nan)
    for k, (ids, label) in enumerate(zip(prepared.test_ids, prepared.data.test.labels)):
        if len(ids) >= 3 * VERDICT:
            sign = 1 if label == 1 else -1
            found[k] = sign * r[ids[:VERDICT]].sum(), sign * r[ids[-VERDICT:]].sum()
    return found


def filler(prepared: Prepared, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Words that tell next to nothing, drawn as often as they occur in the training reviews; ids (size)."""
    V = len(prepared.vocabulary)
    counts = np.bincount(np.concatenate(prepared.train_ids), minlength=V)
    frequent = 1 + np.argsort(-counts[1:], kind="stable")[:FREQUENT]  # not 0, the unknown word
    r = np.abs(word_weights(prepared.train_ids, prepared.train_labels, V)[frequent])
    words = frequent[np.argsort(r, kind="stable")[: max(int(NEUTRAL * len(frequent)), 1)]]
    return rng.choice(words, size, p=counts[words] / counts[words].sum())


def recall(model: SequenceClassifier, prepared: Prepared) -> np.ndarray:
    """What is left of a verdict after, and before, so many words that tell nothing: accuracies (2, len(FILLERS)).

    The last `VERDICT` words of up to `ASKED` test reviews, equally many of each label, are read with FILLERS[j] neutral
    words after them (row 0), or before them (row 1). So who knows nothing is right on half. NaN where no review of a
    label is long enough, or no word known.
    """
    rng, labels = np.random.default_rng(0), prepared.data.test.labels
    long = rng.permutation([k for k, ids in enumerate(prepared.test_ids) if len(ids) >= VERDICT])
    count = min(ASKED // 2, *((labels[long] == label).sum() for label in (0, 1))) if len(long) else 0
    if not count or not any(ids.any() for ids in prepared.train_ids):
        return np.full((2, len(FILLERS)), np.nan)
    chosen = np.concatenate([long[labels[long] == label][:count] for label in (0, 1)])
    ends = np.stack([prepared.test_ids[k][-VERDICT:] for k in chosen])
    words = filler(prepared, rng, (len(ends), max(FILLERS)))
    found = [
        [((predict(model, list(np.hstack(pair))) > 0) == labels[chosen]).mean() for pair in pairs]
        for pairs in zip(*(((ends, words[:, :n]), (words[:, :n], ends)) for n in FILLERS))
    ]
    return np.array(found)


class PeakMemory:
    """The largest memory in use since this object was made: the process's on the CPU, CuPy's pool on the GPU."""

    def __init__(self, device: str):
        self.device = device
        self._status = Path("/proc/self/status")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
        except OSError:
            self._status = Path("/nonexistent")

    def megabytes(self) -> float:
        """In units of 2**20 bytes. Where Linux's counter is missing, the largest since the process began."""
        if self.device != "cpu":
            return module_for(self.device).get_default_memory_pool().total_bytes() / 2**20
        if self._status.exists():
            for line in self._status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        try:
            import resource
        except ImportError:  # Windows has no such counter
            return math.nan
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / (2**20 if platform.system() == "Darwin" else 1024)
