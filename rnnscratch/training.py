"""Training:

epochs over bucketed batches, validation, early stopping, and checkpoints from which a killed run continues.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Array, to_cpu
from .files import atomic_write, load_arrays, save_arrays
from .metrics import classification_scores
from .models.saved import load_params
from .optimizers import Optimizer, Plateau, Schedule, clip_gradients
from .text.batches import Batches

CHECKPOINT = "rnnscratch checkpoint 1"
Data = tuple[Sequence[np.ndarray], Any]  # sequences of token ids, and their labels
Callback = Callable[[Any, dict[str, float]], Any]


class NonFiniteLoss(FloatingPointError):
    """The loss or a gradient became infinite or NaN; the weights are those before the step."""


class History:
    """One row of figures for each epoch; prints as a table."""

    def __init__(self, rows: Iterable[dict[str, float]] = (), best_epoch: int | None = None):
        self.rows = list(rows)
        self.best_epoch = best_epoch

    def __getitem__(self, name: str) -> list[float]:
        """One figure over all epochs: `history["validation_loss"]`."""
        return [row[name] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return "no epochs"
        lines = ["  ".join(f"{name:>19}" for name in self.rows[0])]
        lines += ["  ".join(f"{value:>19.6g}" for value in row.values()) for row in self.rows]
        return "\n".join(lines)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows with a header line; a failure leaves an older file whole."""
        with atomic_write(path) as file:
            writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else ["epoch"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def fit(
    model: Any,
    train: Data,
    validation: Data | None = None,
    *,
    optimizer: Optimizer,
    epochs: int = 5,
    batch_size: int = 64,
    max_length: int | None = None,
    schedule: Schedule | None = None,
    plateau: Plateau | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    monitor: str = "loss",
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train `model` in place on (sequences, labels); with validation data, it ends with the weights of its best epoch.

    schedule      the learning rate for each update (a function of its number), else the optimizer's own is kept
    plateau       scales the learning rate down when the validation (else training) loss stops falling
    clip_norm     the largest global norm of the gradients
    patience      stop when the validation figure `monitor` ("loss" or "accuracy") was not bettered for so many epochs
    callbacks     called as callback(model, row) after each epoch; a true answer stops the training
    checkpoint    a file written after each epoch; with `resume` a run killed later continues from it, to the same bits

    Raises NonFiniteLoss before weights are spoilt, naming epoch, batch and parameter; ValueError for data or options
    that are wrong, or when `resume` finds the checkpoint of another run; KeyboardInterrupt passes through, the
    checkpoint stays usable.
    """
    if monitor not in ("loss", "accuracy"):
        raise ValueError(f"monitor is {monitor!r}, expected 'loss' or 'accuracy'")
    if patience is not None and validation is None:
        raise ValueError("patience is given, expected validation data to watch")
    if resume and checkpoint is None:
        raise ValueError("resume is True, expected the path of a checkpoint")
    for name, number, least in (("epochs", epochs, 1), ("patience", 0 if patience is None else patience, 0)):
        if not isinstance(number, int | np.integer) or number < least:
            raise ValueError(f"{name} is {number!r}, expected a whole number of at least {least}")
    check_labels("train", train, model.num_classes)
    if validation is not None:
        check_labels("validation", validation, model.num_classes)
    batches = Batches(*train, batch_size=batch_size, shuffle=True, seed=seed, max_length=max_length)
    run = Run(model, optimizer, plateau, batches)
    run.fingerprint = {
        "model": model.config(),
        "optimizer": repr(type(optimizer).__name__),
        "sequences": len(train[0]),
        "tokens": int(batches.lengths.sum()),
        "batch_size": int(batch_size),
        "seed": seed,
    }
    if resume and checkpoint is not None and Path(checkpoint).exists():
        run.load(checkpoint)
    base_rate = optimizer.learning_rate if run.base_rate is None else run.base_rate
    run.base_rate = base_rate

    from tqdm.auto import tqdm

    while not run.finished and len(run.rows) < epochs:
        epoch = len(run.rows) + 1
        figures = np.zeros(4)  # loss and right answers summed over examples, examples, gradient norms
        tokens, start = 0, time.perf_counter()
        with tqdm(batches, f"epoch {epoch}/{epochs}", unit=" batches", disable=not progress, leave=False) as bar:
            for number, batch in enumerate(bar, 1):
                optimizer.learning_rate = (schedule(run.updates) if schedule else base_rate) * run.scale
                loss, right, norm = train_on(model, batch, optimizer, clip_norm, epoch, number)
                run.updates += 1
                size = len(batch.lengths)
                figures += loss * size, right, size, norm
                tokens += int(batch.lengths.sum())
                if number % 10 == 0:
                    bar.set_postfix_str(
                        f"loss {figures[0] / figures[2]:.3f}, accuracy {figures[1] / figures[2]:.3f}, "
                        f"{tokens / (time.perf_counter() - start):,.0f} tokens/s"
                    )
        seconds = time.perf_counter() - start
        row: dict[str, float] = {
            "epoch": epoch,
            "loss": figures[0] / figures[2],
            "accuracy": figures[1] / figures[2],
            "gradient_norm": figures[3] / len(batches),
            "learning_rate": optimizer.learning_rate,
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
        }
        if validation is not None:
            scores = evaluate(model, *validation, max_length=max_length)
            row.update({f"validation_{name}": value for name, value in scores.items()})
        run.note({name: float(value) for name, value in row.items()}, monitor, validation is not None)
        run.finished = patience is not None and epoch - run.best_epoch > patience
        if checkpoint is not None:
            run.save(checkpoint)
        answers = [callback(model, row) for callback in callbacks]
        if any(answers) and not run.finished:
            run.finished = True
            if checkpoint is not None:
                run.save(checkpoint)
    if run.best is not None:
        load_params(model, run.best)
    return History(run.rows, run.best_epoch)


class Run:
    """All that a training run must remember besides the model and the optimizer, and how it goes to a file and back."""

    def __init__(self, model: Any, optimizer: Optimizer, plateau: Plateau | None, batches: Batches):
        self.model, self.optimizer, self.plateau, self.batches = model, optimizer, plateau, batches
        self.fingerprint: dict[str, Any] = {}
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, np.ndarray] | None = None
        self.best_score, self.best_epoch = math.inf, 0
        self.updates, self.scale, self.finished = 0, 1.0, False
        self.base_rate: float | None = None

    def note(self, row: dict[str, float], monitor: str, validated: bool) -> None:
        """Take a finished epoch's figures, and the weights if they are the best so far."""
        self.rows.append(row)
        if validated:
            score = row[f"validation_{monitor}"] * (1.0 if monitor == "loss" else -1.0)
            if score < self.best_score or self.best is None:
                self.best_score, self.best_epoch = score, len(self.rows)
                self.best = {name: to_cpu(array).copy() for name, array in self.model.params.items()}
        else:
            self.best_epoch = len(self.rows)
        if self.plateau is not None:
            self.scale = self.plateau.update(row["validation_loss" if validated else "loss"])

    def save(self, path: str | os.PathLike[str]) -> None:
        arrays = {f"params/{name}": to_cpu(array) for name, array in self.model.params.items()}
        arrays |= {f"best/{name}": array for name, array in (self.best or {}).items()}
        optimizer = self.optimizer.state_dict()
        numbers = {name: value for name, value in optimizer.items() if isinstance(value, int | float)}
        arrays |= {f"optimizer/{name}": to_cpu(a) for name, a in optimizer.items() if name not in numbers}
        header = {
            "format": CHECKPOINT,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "updates": self.updates,
            "scale": self.scale,
            "finished": self.finished,
            "base_rate": self.base_rate,
            "optimizer": numbers,
            "plateau": None if self.plateau is None else self.plateau.state_dict(),
            "generators": [rng.bit_generator.state for rng in (self.model.rng, self.batches.rng)],
        }
        save_arrays(path, header, arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        header, arrays = load_arrays(path, CHECKPOINT)
        for name, here in self.fingerprint.items():
            if header["fingerprint"].get(name) != here:
                there = header["fingerprint"].get(name)
                raise ValueError(f"{path} is the checkpoint of another run: its {name} is {there}, here it is {here}")
        groups: dict[str, dict[str, np.ndarray]] = {"params": {}, "best": {}, "optimizer": {}}
        for key, array in arrays.items():
            group, _, name = key.partition("/")
            groups[group][name] = array
        load_params(self.model, groups["params"])
        state = {name: self.model.xp.asarray(array) for name, array in groups["optimizer"].items()}
        self.optimizer.load_state_dict({**state, **header["optimizer"]})
        if self.plateau is not None and header["plateau"] is not None:
            self.plateau.load_state_dict(header["plateau"])
        for rng, saved in zip((self.model.rng, self.batches.rng), header["generators"]):
            rng.bit_generator.state = saved
        self.best = groups["best"] or None
        for name in ("rows", "best_score", "best_epoch", "updates", "scale", "finished", "base_rate"):
            setattr(self, name, header[name])


def train_on(
    model: Any, batch: Any, optimizer: Optimizer, clip_norm: float | None, epoch: int, number: int
) -> tuple[float, int, float]:
    """One update; returns the batch's mean loss, how many answers were right, and the norm of the gradients."""
    xp = model.xp
    labels = xp.asarray(batch.labels)
    logits = model.forward(xp.asarray(batch.ids), batch.lengths, train=True)
    loss, dlogits = model.loss(logits, labels)
    model.backward(dlogits)
    norm = clip_gradients(model.grads, max_norm=clip_norm)
    if not (math.isfinite(float(loss)) and math.isfinite(norm)):
        raise NonFiniteLoss(
            f"loss {float(loss)}, gradient norm {norm} in epoch {epoch}, batch {number}; {first_non_finite(model)}; "
            "a smaller learning rate or clip_norm may help"
        )
    optimizer.step(model.params, model.grads)
    return float(loss), int((decide(logits) == labels).sum()), norm


def decide(logits: Array) -> Array:
    """The most probable class (B,), from one logit (B,) for two classes or one for each class (B, K)."""
    return (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=-1)


def first_non_finite(model: Any) -> str:
    """Which parameter, or else which gradient, is not finite, the first in the order of the model."""
    for kind, arrays in (("parameter", model.params), ("gradient of", model.grads)):
        for name, array in arrays.items():
            if not bool(model.xp.isfinite(array).all()):
                return f"the first that is not finite is the {kind} {name}"
    return "all parameters and gradients are finite"


def predict(
    model: Any, sequences: Sequence[np.ndarray], batch_size: int = 256, max_length: int | None = None
) -> np.ndarray:
    """The logits (N,) or (N, K) of N sequences, in their order, on the host."""
    logits: np.ndarray | None = None
    for batch in Batches(sequences, batch_size=batch_size, max_length=max_length):
        part = to_cpu(model.forward(model.xp.asarray(batch.ids), batch.lengths))
        if logits is None:
            logits = np.empty((len(sequences), *part.shape[1:]), part.dtype)
        logits[batch.indices] = part
    assert logits is not None
    return logits


def evaluate(
    model: Any, sequences: Sequence[np.ndarray], labels: Any, batch_size: int = 256, max_length: int | None = None
) -> dict[str, float]:
    """Loss, accuracy, precision, recall and F1 on labelled sequences."""
    labels = np.asarray(labels)
    logits = predict(model, sequences, batch_size, max_length)
    loss, _ = model.loss(model.xp.asarray(logits), model.xp.asarray(labels))
    return {"loss": float(loss), **classification_scores(labels, decide(logits))}


def check_labels(name: str, data: Data, num_classes: int) -> None:
    """Raise ValueError or TypeError unless data is (sequences, labels) with whole numbers from 0 to num_classes - 1."""
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"{name} is {type(data).__name__}, expected the pair (sequences, labels)")
    labels = np.asarray(data[1])
    if labels.dtype.kind not in "iub" or labels.ndim != 1 or len(labels) != len(data[0]):
        raise ValueError(
            f"{name} labels have shape {labels.shape} of {labels.dtype}, expected ({len(data[0])},) whole numbers"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"{name} labels go from {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1}")
