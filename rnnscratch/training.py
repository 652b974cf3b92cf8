"""Training of any model: epochs over batches, validation, early stopping, and checkpoints to go on from."""

from __future__ import annotations

import contextlib
import csv
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .backend import blas_threads, deterministic_sums, to_floats
from .checkpoints import ROW, Run, put_params
from .checks import as_array, as_list, as_sequences, check_flags, check_number, check_sequences, check_sizes, non_finite
from .files import atomic_write, owned, user_path
from .optimizers import Average, Optimizer, by_beginning, check_changeable, check_decay, norm_and, scale_down
from .progress import progress_bar
from .schedules import Plateau, Schedule, describe
from .text.batches import Batches
from .workers import Team, WorkerFailed

__all__ = ["History", "NonFiniteLoss", "Trainable", "WorkerFailed", "evaluate", "fit", "predict"]

Callback = Callable[[Any, dict[str, float]], Any]
ADVICE = "a smaller learning rate or clip_norm may help"


class NonFiniteLoss(FloatingPointError):
    """The loss, a gradient or a weight became infinite or NaN.

    Of a loss or gradient one hears before the update, so the weights are those before that batch; of a weight after the
    epoch, before it is validated or saved.
    """


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


class Trainable(Protocol):
    """What `fit` asks of a model. A classifier has all of it; a model of one's own needs no more than this:

    params, grads                          dicts of arrays with the same keys, which are changed in place
    batch_loss(batch, train=False)         (loss, back, figures): the mean loss of the batch; back() fills grads with
                                           its gradient; further means over the same examples by name, or {}

    and may have

    batches(data, batch_size, max_length, shuffle, seed)   an iterable of batches, of data that are not one yet; checks
    weight(batch)                          how many examples the loss is the mean of (1 where it is missing)
    evaluate(batches)                      a dict of figures, "loss" among them (else those of batch_loss, averaged)
    split(batch, parts)                    for `workers`: a list of up to so many batches, which together are this one
    config()                               what a checkpoint must have been made with
    rng                                    a generator, whose state a checkpoint holds
    load_params(params)                    how values are put into the parameters
    fixed                                  the names of the parameters that do not learn, whose gradients count for
                                           nothing; `unfreeze` changes it for the time of the training
    figures                                the names that `monitor` may have, to refuse others before any work

    Batches may have `rng`, whose state a checkpoint holds, `summary()`, by which it knows its data again, and
    `set_epoch(epoch)`, called before each epoch with its number from 1; a batch `lengths` (B,), from which come the
    tokens/s.
    """

    params: Any
    grads: Any

    def batch_loss(self, batch: Any, train: bool = False) -> tuple[Any, Callable[[], Any], dict[str, Any]]:
        """The mean loss of a batch, its way back, and further figures."""


def fit(
    model: Any,
    train: Any,
    validation: Any = None,
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
    workers: Any = 1,
    unfreeze: Mapping[str, int] | None = None,
    average: float | None = None,
    deterministic: bool = False,
) -> History:
    """Train a model (see `Trainable`) in place; with validation data, it ends with the weights of its best epoch.

    train, validation  what the model's `batches` takes, such as (sequences, labels), of which `batch_size`,
                       `max_length` and `seed` make batches; or an iterable of batches, gone through once an epoch
    schedule      the learning rate for each update (a function of its number), else the optimizer's own is kept
    plateau       scales the learning rate down when the validation (else training) loss stops falling
    clip_norm     the largest global norm of the gradients
    patience      stop when the validation figure `monitor` was not bettered for so many epochs: the lower "loss", the
                  higher any other figure
    callbacks     called as callback(model, row) after each epoch; a true answer stops the training
    checkpoint    a file written at the start and after each epoch; with `resume` a run killed later continues from it,
                  to the same bits (on a GPU if `deterministic`), if an iterable of one's own gives the same batches
                  again or draws them from its `rng`. Without `resume`, the checkpoint of the very same run, begun anew
                  from the same weights, is replaced once its first epoch is done, and anything else that is there is
                  refused. While fit runs, the file is its own, and another fit is told whose it is
    workers       how many processes take a part of each batch, with one BLAS thread each; or a `workers.Communicator`,
                  such as `workers.MPI()`. The same number gives the same bits; a script must call fit under
                  `if __name__ == "__main__":`, as with all of Python's multiprocessing. Validation is rank 0's
    unfreeze      from which epoch on parameters learn, by the beginnings of their names, the longest one counting:
                  `{"recurrent": 2, "embedding": 3}` (gradual unfreezing, Howard & Ruder 2018). Others learn from the
                  first; those in the model's own `fixed` never
    average       the decay of a running mean of the weights over the updates, such as 0.999, or 1 for the plain mean
                  (`optimizers.Average`): validation, callbacks, the best epoch and the model at the end have the mean
    deterministic  whether the same run gives the same bits on a GPU too, where the gradients of embeddings are else
                  summed in an order of chance; it takes longer. On the CPU it always does

    With one worker, BLAS gets one thread where the model's matrices are small (see `backend.blas_threads`).

    Raises NonFiniteLoss, naming epoch, batch and parameter, and never saves such weights; ValueError or TypeError for
    data or options that are wrong, or for the checkpoint of another run, naming what differs, or a damaged one, before
    anything is changed; OSError, naming the file, for a checkpoint that cannot be written or is in use. Schedules are
    compared by `schedules.describe`. KeyboardInterrupt, and WorkerFailed where a worker ended, say how to go on; the
    checkpoint stays usable.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optimizer, such as Adam()")
    callbacks = as_list("callbacks", callbacks)
    for name, function in (("schedule", schedule), *((f"callbacks[{k}]", each) for k, each in enumerate(callbacks))):
        if not callable(function) and not (name == "schedule" and function is None):
            raise TypeError(f"{name} is {function!r}, expected a function")
    if plateau is not None and not isinstance(plateau, Plateau):
        raise TypeError(f"plateau is {plateau!r}, expected a schedules.Plateau or None")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
        raise TypeError(f"seed is {seed!r}, expected a whole number or None")
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint is {checkpoint!r}, expected a path or None")
    check_flags(resume=resume, progress=progress, deterministic=deterministic)
    if clip_norm is not None:
        check_number("clip_norm", clip_norm, above=0.0)
    if not isinstance(monitor, str):
        raise TypeError(f"monitor is {monitor!r:.60}, expected the name of a figure")
    known = getattr(model, "figures", None)
    if known and monitor not in known:
        raise ValueError(f"monitor is {monitor!r}, expected {' or '.join(map(repr, known))}")
    if patience is not None and validation is None:
        raise ValueError("patience is given, expected validation data to watch")
    if resume and checkpoint is None:
        raise ValueError("resume is True, expected the path of a checkpoint")
    checkpoint = None if checkpoint is None else user_path(checkpoint)
    for name, number, least in (("epochs", epochs, 1), ("patience", 0 if patience is None else patience, 0)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise ValueError(f"{name} is {number!r}, expected a whole number of at least {least}")
    own = frozenset(getattr(model, "fixed", ()))
    begins = first_epochs(unfreeze, model.params)

    def fixed(epoch: int) -> frozenset[str]:
        return own | {name for name, first in begins.items() if epoch < first}

    if fixed(1) >= set(model.params):
        raise ValueError("no parameter learns in epoch 1, expected at least one that unfreeze and fixed leave")
    mean = None if average is None else Average(check_decay("average", average))
    team = Team(model, workers)
    batches = make_batches("train", model, train, batch_size, max_length, True, seed)
    held_out = None
    if validation is not None:
        held_out = make_batches("validation", model, validation, 256, max_length, False, None)
    fingerprint = {
        "model": model.config() if hasattr(model, "config") else type(model).__qualname__,
        "optimizer": repr(optimizer),
        "schedule": describe(schedule),
        "plateau": None if plateau is None else [plateau.factor, plateau.patience, plateau.threshold],
        "clip_norm": None if clip_norm is None else float(clip_norm),
        "batch_size": int(batch_size),
        "max_length": None if max_length is None else int(max_length),
        "monitor": monitor,
        "seed": None if seed is None else int(seed),
        "training data": summary(batches),
        "validation data": None if held_out is None else summary(held_out),
        "fixed": sorted(own) or None,
        "average": None if mean is None else mean.decay,
        "deterministic": True if deterministic else None,
        "unfreeze": None if unfreeze is None else {name: int(unfreeze[name]) for name in sorted(unfreeze)},
    }
    if team.size > 1:  # the number of workers changes the bits
        fingerprint["workers"] = team.size
    run = Run(model, optimizer, plateau, batches, fingerprint, fixed, mean)
    base_rate = optimizer.learning_rate
    try:
        with team, blas_threads(model.params, team.size), contextlib.ExitStack() as mine:
            mine.enter_context(deterministic_sums(bool(deterministic)))
            if team.rank:
                return History(*team.follow())
            if checkpoint is not None:
                mine.enter_context(owned(checkpoint))
                run.begin(checkpoint, resume)
            while not run.finished and len(run.rows) < epochs:
                row = train_epoch(run, team, epochs, schedule or (lambda update: base_rate), clip_norm, progress)
                check_epoch(model, row)
                if held_out is not None:
                    with run.averaged():
                        scores = scores_of(model, held_out)
                    if monitor not in scores:
                        raise ValueError(f"monitor is {monitor!r}, expected one of {', '.join(map(repr, scores))}")
                    for name in ("loss", monitor):
                        if not math.isfinite(scores[name]):
                            raise NonFiniteLoss(f"validation {name} {scores[name]} after epoch {row['epoch']}")
                    row.update({f"validation_{name}": value for name, value in scores.items()})
                run.note(row, monitor, held_out is not None)
                run.finished = patience is not None and len(run.rows) - run.best_epoch > patience
                if checkpoint is not None:
                    run.save(checkpoint)
                with run.averaged():
                    answers = [callback(model, dict(row)) for callback in callbacks]
                if any(answers) and not run.finished:
                    run.finished = True
                    if checkpoint is not None:
                        run.save(checkpoint)
            if run.best is not None or mean is not None:
                put_params(model, run.best or run.weights())
            team.result = run.rows, run.best_epoch
    except (KeyboardInterrupt, WorkerFailed) as error:
        if team.rank:
            raise
        message = f"interrupted after {len(run.rows)} of {epochs} epochs"
        if run.saved is not None:
            message += f"; {checkpoint} holds {run.saved}, from which resume=True goes on"
        error.args = (f"{error}; {message}" if isinstance(error, WorkerFailed) else message,)
        raise
    finally:
        optimizer.learning_rate = base_rate
        if begins:
            fix(model, own)
    return History(run.rows, run.best_epoch)


def first_epochs(unfreeze: Any, params: Mapping[str, Any]) -> dict[str, int]:
    """The epoch from which on each parameter learns that `unfreeze` names. Raises TypeError or ValueError otherwise."""
    if unfreeze is None:
        return {}
    if not isinstance(unfreeze, Mapping) or not all(isinstance(beginning, str) for beginning in unfreeze):
        raise TypeError(
            f"unfreeze is {unfreeze!r:.60}, expected a dict from the beginnings of names to epochs, or None"
        )
    check_sizes(**{f"unfreeze[{beginning!r}]": epoch for beginning, epoch in unfreeze.items()})
    return by_beginning("unfreeze", unfreeze, params)


def fix(model: Any, names: frozenset[str]) -> None:
    """Let a model know which parameters do not learn, if it asks."""
    if hasattr(model, "fixed") and model.fixed != names:
        model.fixed = names


def check_epoch(model: Any, row: Mapping[str, float]) -> None:
    """Raise NonFiniteLoss unless the weights after an epoch's last update, and its figures, are finite."""
    spoilt = non_finite(model.params)
    if spoilt is not None:
        raise NonFiniteLoss(f"the parameter {spoilt} is not finite after epoch {row['epoch']}; {ADVICE}")
    for name in ROW:
        if not math.isfinite(row[name]):
            raise NonFiniteLoss(f"{name} is {row[name]} over epoch {row['epoch']}; {ADVICE}")


def make_batches(
    name: str, model: Any, data: Any, batch_size: int, max_length: int | None, shuffle: bool, seed: int | None
) -> Any:
    """The model's batches of the data, or the data themselves where these are batches already."""
    if hasattr(model, "batches"):
        try:
            return model.batches(data, batch_size, max_length, shuffle, seed)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name} {error}") from None
    if not hasattr(data, "__iter__"):
        raise TypeError(f"{name} is {type(data).__name__}, expected an iterable of batches")
    if iter(data) is data:
        raise TypeError(f"{name} can be gone through only once, expected batches that every epoch can begin anew")
    return data


@np.errstate(over="ignore", invalid="ignore")
def scores_of(model: Any, batches: Any) -> dict[str, float]:
    """The model's figures on batches."""
    if hasattr(model, "evaluate"):
        try:
            return model.evaluate(batches)
        except FloatingPointError as error:
            raise NonFiniteLoss(f"validation: {error}") from None
    total, count = {"loss": 0.0}, 0.0
    for batch in batches:
        loss, _, figures = model.batch_loss(batch)
        weight = float(model.weight(batch)) if hasattr(model, "weight") else 1.0
        count += weight
        for name, value in zip(["loss", *figures], to_floats(loss, *figures.values())):
            total[name] = total.get(name, 0.0) + value * weight
    return {name: value / count for name, value in total.items()}


def train_epoch(
    run: Run, team: Team, epochs: int, rate: Schedule, clip_norm: float | None, progress: bool
) -> dict[str, float]:
    """One pass over the batches; returns the epoch's row. Its seconds are those of training alone."""
    epoch, number, tokens, start = len(run.rows) + 1, 0, 0, time.perf_counter()
    fixed = run.fixed(epoch)
    fix(run.model, fixed)
    if hasattr(run.batches, "set_epoch"):
        run.batches.set_epoch(epoch)
    total = {"loss": 0.0}
    examples, norms = 0.0, 0.0
    label = f"epoch {epoch}/{epochs}"
    with progress_bar(run.batches, progress, desc=label, unit=" batches", leave=False) as bar:
        for number, batch in enumerate(bar, 1):
            run.optimizer.learning_rate = rate_of(rate, run.updates) * run.scale
            loss, figures, norm = train_on(run.model, team, batch, run.optimizer, clip_norm, fixed, epoch, number)
            run.updates += 1
            if run.average is not None:
                run.average.update(run.model.params, fixed)
            weight = float(run.model.weight(batch)) if hasattr(run.model, "weight") else 1.0
            examples, norms = examples + weight, norms + norm
            for name, value in {"loss": loss, **figures}.items():
                total[name] = total.get(name, 0.0) + value * weight
            if hasattr(batch, "lengths"):
                tokens += int(batch.lengths.sum())
            if number % 10 == 0:
                text = ", ".join(f"{name} {value / examples:.3f}" for name, value in total.items())
                speed = f", {tokens / (time.perf_counter() - start):,.0f} tokens/s" if tokens else ""
                bar.set_postfix_str(text + speed, refresh=False)
    if not number:
        raise ValueError("train gives no batches, expected at least one")
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch,
        **{name: value / examples for name, value in total.items()},
        "gradient_norm": norms / number,
        "learning_rate": run.optimizer.learning_rate,
        "seconds": seconds,
        **({"tokens_per_second": tokens / seconds} if tokens else {}),
    }


def rate_of(schedule: Schedule, update: int) -> float:
    """What the schedule gives for an update. Raises TypeError or ValueError unless it is a number of at least 0."""
    name = f"schedule({update})"
    found = as_array(name, schedule(update))
    return check_number(name, found.item() if found.size == 1 else found, least=0.0)


@np.errstate(over="ignore", invalid="ignore")  # NonFiniteLoss says more than NumPy's warning
def train_on(
    model: Any,
    team: Team,
    batch: Any,
    optimizer: Optimizer,
    clip_norm: float | None,
    fixed: frozenset[str],
    epoch: int,
    number: int,
) -> tuple[float, dict[str, float], float]:
    """One update; returns the batch's mean loss, its further figures, and the norm of the gradients."""
    loss, figures = team.gradient(batch)
    grads = {name: grad for name, grad in model.grads.items() if name not in fixed}
    for name, grad in grads.items():
        check_changeable(f"grads[{name!r}]", grad)
    norm, loss, *values = norm_and(grads, loss, *figures.values())
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise NonFiniteLoss(
            f"loss {loss}, gradient norm {norm} in epoch {epoch}, batch {number}; {first_non_finite(model)}; {ADVICE}"
        )
    if clip_norm is not None:
        scale_down(grads, norm, clip_norm)
    optimizer.step(model.params, model.grads, fixed)
    return loss, dict(zip(figures, values)), norm


def first_non_finite(model: Any) -> str:
    """Which parameter is not finite, or else which gradient, the first that the backward pass comes to."""
    for kind, arrays in (("parameter", model.params), ("gradient of", model.grads)):
        name = non_finite(arrays)
        if name is not None:
            return f"the first that is not finite is the {kind} {name}"
    return "all parameters and gradients are finite"


def predict(model: Any, sequences: Any, batch_size: int = 512, max_length: int | None = None) -> np.ndarray:
    """A classifier's logits (N,) or (N, K) of N sequences, in their order, on the host.

    Raises ValueError or TypeError for what are no sequences of its ids, FloatingPointError for logits not finite.
    """
    sequences = as_sequences("sequences", sequences)
    check_sequences("sequences", sequences, model.vocabulary_size)
    with blas_threads(model.params):
        return model.predict_batches(Batches(sequences, batch_size=batch_size, max_length=max_length))


def evaluate(
    model: Any, sequences: Any, labels: Any, batch_size: int = 256, max_length: int | None = None
) -> dict[str, float]:
    """Loss, accuracy, precision, recall and F1 of a classifier on sequences, labelled by whole numbers from 0 on.

    Raises ValueError or TypeError for wrong data, FloatingPointError for logits that are not finite.
    """
    with blas_threads(model.params):
        return model.evaluate(model.batches((sequences, labels), batch_size, max_length, False, None))


def summary(batches: Any) -> Any:
    """What a checkpoint remembers of the data: what the batches say of themselves, or how many they are."""
    if hasattr(batches, "summary"):
        return batches.summary()
    return {"batches": len(batches) if hasattr(batches, "__len__") else None}
