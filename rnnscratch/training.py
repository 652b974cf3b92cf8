"""Training: epochs over bucketed batches, validation, early stopping, and checkpoints to go on from."""

from __future__ import annotations

import csv
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Array, to_cpu
from .checks import check_labels, check_number
from .files import atomic_write, load_arrays, save_arrays
from .metrics import classification_scores
from .optimizers import Optimizer, clip_gradients
from .progress import progress_bar
from .schedules import Plateau, Schedule
from .text.batches import Batches

CHECKPOINT = "rnnscratch checkpoint 1"
Data = tuple[Sequence[np.ndarray], Any]  # sequences of token ids, and their labels
Callback = Callable[[Any, dict[str, float]], Any]


class NonFiniteLoss(FloatingPointError):
    """The loss or a gradient became infinite or NaN. In training, the weights stay as they were before that batch."""


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
    seed: int | None = 0,
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

    Raises NonFiniteLoss before weights are spoilt, naming epoch, batch and parameter; ValueError or TypeError for data
    or options that are wrong, or when `resume` finds the checkpoint of another run, naming what differs.
    KeyboardInterrupt passes through and says how to go on; the checkpoint stays usable.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optimizer, such as Adam()")
    for name, function in (("schedule", schedule), *((f"callbacks[{k}]", each) for k, each in enumerate(callbacks))):
        if not callable(function) and not (name == "schedule" and function is None):
            raise TypeError(f"{name} is {function!r}, expected a function")
    if seed is not None and not isinstance(seed, int | np.integer):
        raise TypeError(f"seed is {seed!r}, expected a whole number or None")
    if clip_norm is not None:
        check_number("clip_norm", clip_norm, above=0.0)
    if monitor not in ("loss", "accuracy"):
        raise ValueError(f"monitor is {monitor!r}, expected 'loss' or 'accuracy'")
    if patience is not None and validation is None:
        raise ValueError("patience is given, expected validation data to watch")
    if resume and checkpoint is None:
        raise ValueError("resume is True, expected the path of a checkpoint")
    for name, number, least in (("epochs", epochs, 1), ("patience", 0 if patience is None else patience, 0)):
        if not isinstance(number, int | np.integer) or number < least:
            raise ValueError(f"{name} is {number!r}, expected a whole number of at least {least}")
    check_data("train", train, model, max_length)
    if validation is not None:
        check_data("validation", validation, model, max_length)
    batches = Batches(*train, batch_size=batch_size, shuffle=True, seed=seed, max_length=max_length)
    fingerprint = {
        "model": model.config(),
        "optimizer": repr(optimizer),
        "schedule": None if schedule is None else [float(schedule(update)) for update in (0, 10, 100, 1000)],
        "plateau": None if plateau is None else [plateau.factor, plateau.patience, plateau.threshold],
        "clip_norm": None if clip_norm is None else float(clip_norm),
        "batch_size": int(batch_size),
        "max_length": None if max_length is None else int(max_length),
        "monitor": monitor,
        "seed": None if seed is None else int(seed),
        "training data": summary(train),
        "validation data": None if validation is None else summary(validation),
    }
    run = Run(model, optimizer, plateau, batches, fingerprint)
    base_rate = optimizer.learning_rate
    try:
        if resume and checkpoint is not None and Path(checkpoint).exists():
            run.load(checkpoint)
        while not run.finished and len(run.rows) < epochs:
            row = train_epoch(run, epochs, schedule or (lambda update: base_rate), clip_norm, progress)
            if validation is not None:
                scores = evaluate(model, *validation, max_length=max_length)
                if not math.isfinite(scores["loss"]):
                    raise NonFiniteLoss(f"validation loss {scores['loss']} after epoch {row['epoch']}")
                row.update({f"validation_{name}": value for name, value in scores.items()})
            run.note(row, monitor, validation is not None)
            run.finished = patience is not None and len(run.rows) - run.best_epoch > patience
            if checkpoint is not None:
                run.save(checkpoint)
            answers = [callback(model, dict(row)) for callback in callbacks]
            if any(answers) and not run.finished:
                run.finished = True
                if checkpoint is not None:
                    run.save(checkpoint)
    except KeyboardInterrupt as interrupt:
        message = f"interrupted after {len(run.rows)} of {epochs} epochs"
        if run.saved:
            message += f"; {checkpoint} holds {run.saved}, from which resume=True goes on"
        interrupt.args = (message,)
        raise
    finally:
        optimizer.learning_rate = base_rate
    if run.best is not None:
        model.load_params(run.best)
    return History(run.rows, run.best_epoch)


class Run:
    """All that a training run must remember besides the model and the optimizer, and how it goes to a file and back."""

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        plateau: Plateau | None,
        batches: Batches,
        fingerprint: dict[str, Any],
    ):
        self.model, self.optimizer, self.plateau, self.batches = model, optimizer, plateau, batches
        self.fingerprint = fingerprint  # what a run that resumes must have in common with the one that was stopped
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, np.ndarray] | None = None
        self.best_score, self.best_epoch = math.inf, 0
        self.updates, self.scale, self.finished = 0, 1.0, False
        self.saved = 0  # epochs that the checkpoint holds

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
            "optimizer": numbers,
            "plateau": None if self.plateau is None else self.plateau.state_dict(),
            "generators": [rng.bit_generator.state for rng in (self.model.rng, self.batches.rng)],
        }
        save_arrays(path, header, arrays)
        self.saved = len(self.rows)

    def load(self, path: str | os.PathLike[str]) -> None:
        header, arrays = load_arrays(path, CHECKPOINT)
        for name, here in self.fingerprint.items():
            there = header.get("fingerprint", {}).get(name)
            if there != here:
                raise ValueError(f"{path} is the checkpoint of another run: its {name} is {there}, here it is {here}")
        groups: dict[str, dict[str, np.ndarray]] = {"params": {}, "best": {}, "optimizer": {}}
        try:
            for key, array in arrays.items():
                group, _, name = key.partition("/")
                groups[group][name] = array
            self.model.load_params(groups["params"])
            state = {name: self.model.xp.asarray(array) for name, array in groups["optimizer"].items()}
            self.optimizer.load_state_dict({**state, **header["optimizer"]})
            if self.plateau is not None:
                self.plateau.load_state_dict(header["plateau"])
            for rng, saved in zip((self.model.rng, self.batches.rng), header["generators"]):
                rng.bit_generator.state = saved
            for name in ("rows", "best_score", "best_epoch", "updates", "scale", "finished"):
                setattr(self, name, header[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not fit together: {error}") from None
        self.best = groups["best"] or None
        self.saved = len(self.rows)


def train_epoch(run: Run, epochs: int, rate: Schedule, clip_norm: float | None, progress: bool) -> dict[str, float]:
    """One pass over the batches; returns the epoch's row. Its seconds are those of training alone."""
    epoch = len(run.rows) + 1
    figures = np.zeros(4)  # loss and right answers summed over examples, examples, gradient norms
    tokens, start = 0, time.perf_counter()
    label = f"epoch {epoch}/{epochs}"
    with progress_bar(run.batches, progress, desc=label, unit=" batches", leave=False) as bar:
        for number, batch in enumerate(bar, 1):
            run.optimizer.learning_rate = float(rate(run.updates)) * run.scale
            loss, right, norm = train_on(run.model, batch, run.optimizer, clip_norm, epoch, number)
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
    total_loss, total_right, examples, norms = figures.tolist()
    return {
        "epoch": epoch,
        "loss": total_loss / examples,
        "accuracy": total_right / examples,
        "gradient_norm": norms / len(run.batches),
        "learning_rate": run.optimizer.learning_rate,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
    }


@np.errstate(over="ignore", invalid="ignore")  # NonFiniteLoss says more than NumPy's warning
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
    """Which parameter is not finite, or else which gradient, the first that the backward pass comes to."""
    for kind, arrays in (("parameter", model.params), ("gradient of", model.grads)):
        for name, array in reversed(arrays.items()):
            if not bool(model.xp.isfinite(array).all()):
                return f"the first that is not finite is the {kind} {name}"
    return "all parameters and gradients are finite"


def predict(
    model: Any, sequences: Sequence[np.ndarray], batch_size: int = 256, max_length: int | None = None
) -> np.ndarray:
    """The logits (N,) or (N, K) of N sequences, in their order, on the host."""
    logits: np.ndarray | None = None
    for batch in Batches(sequences, batch_size=batch_size, max_length=max_length):
        part = to_cpu(model.call(model.xp.asarray(batch.ids), batch.lengths, keep=False)[0])
        if logits is None:
            logits = np.empty((len(sequences), *part.shape[1:]), part.dtype)
        logits[batch.indices] = part
    assert logits is not None
    return logits


@np.errstate(over="ignore", invalid="ignore")
def evaluate(
    model: Any, sequences: Sequence[np.ndarray], labels: Any, batch_size: int = 256, max_length: int | None = None
) -> dict[str, float]:
    """Loss, accuracy, precision, recall and F1 on labelled sequences."""
    labels = np.asarray(labels)
    logits = predict(model, sequences, batch_size, max_length)
    loss, _ = model.loss(model.xp.asarray(logits), model.xp.asarray(labels))
    return {"loss": float(loss), **classification_scores(labels, decide(logits))}


def summary(data: Data) -> dict[str, int]:
    """How many sequences and tokens, and a checksum of ids, lengths and labels."""
    sequences, labels = data
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    checksum = zlib.crc32(np.asarray(labels, np.int64).tobytes(), zlib.crc32(lengths.tobytes()))
    for sequence in sequences:
        checksum = zlib.crc32(np.asarray(sequence, np.int64).tobytes(), checksum)
    return {"sequences": len(lengths), "tokens": int(lengths.sum()), "checksum": checksum}


def check_data(name: str, data: Data, model: Any, max_length: int | None) -> None:
    """Raise ValueError or TypeError, naming what is wrong, unless the model can be trained or validated on the data."""
    check_labels(name, data, model.num_classes)
    try:
        sequences = Batches(data[0], max_length=max_length).sequences
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name} data: {error}") from None
    ids = np.concatenate(sequences)
    if ids.min() < 0 or ids.max() >= model.vocabulary_size:
        position, wrong = next(
            (position, index)
            for position, sequence in enumerate(sequences)
            for index in sequence
            if not 0 <= index < model.vocabulary_size
        )
        raise ValueError(
            f"{name} sequences[{position}] holds the id {wrong}, expected 0 to {model.vocabulary_size - 1}"
        )
