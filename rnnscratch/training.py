"""Training of any model: epochs over batches, validation, early stopping, and checkpoints to go on from."""

from __future__ import annotations

import contextlib
import copy
import csv
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator

from .backend import blas_threads, get_array_module, to_cpu
from .checks import as_array, as_list, as_sequences, check_flags, check_number, check_sequences, check_shape
from .files import as_json, atomic_write, load_arrays, owned, reading, save_arrays, to_json, user_path
from .optimizers import Optimizer, clip_gradients
from .progress import progress_bar
from .schedules import Plateau, Schedule, describe
from .text.batches import Batches
from .workers import Team, WorkerFailed

CHECKPOINT = "rnnscratch checkpoint 3"
Callback = Callable[[Any, dict[str, float]], Any]
ROW = ("loss", "gradient_norm", "learning_rate", "seconds")  # what the row of every epoch has besides its number
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
    figures                                the names that `monitor` may have, to refuse others before any work

    Batches may have `rng`, whose state a checkpoint holds, and `summary()`, by which it knows its data again; a batch
    `lengths` (B,), from which come the tokens/s.
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
                  to the same bits, if an iterable of one's own gives the same batches again or draws them from its
                  `rng`. Without `resume`, the checkpoint of the very same run, begun anew from the same weights, is
                  replaced once its first epoch is done, and anything else that is there is refused. While fit runs,
                  the file is its own, and another fit is told whose it is
    workers       how many processes take a part of each batch, with one BLAS thread each; or a `workers.Communicator`,
                  such as `workers.MPI()`. The same number gives the same bits; a script must call fit under
                  `if __name__ == "__main__":`, as with all of Python's multiprocessing. Validation is rank 0's

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
    check_flags(resume=resume, progress=progress)
    if clip_norm is not None:
        check_number("clip_norm", clip_norm, above=0.0)
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
    }
    if team.size > 1:  # the number of workers changes the bits
        fingerprint["workers"] = team.size
    run = Run(model, optimizer, plateau, batches, fingerprint)
    base_rate = optimizer.learning_rate
    try:
        with team, blas_threads(model.params, team.size), contextlib.ExitStack() as mine:
            if team.rank:
                return History(*team.follow())
            if checkpoint is not None:
                mine.enter_context(owned(checkpoint))
                run.begin(checkpoint, resume)
            while not run.finished and len(run.rows) < epochs:
                row = train_epoch(run, team, epochs, schedule or (lambda update: base_rate), clip_norm, progress)
                check_epoch(model, row)
                if held_out is not None:
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
                answers = [callback(model, dict(row)) for callback in callbacks]
                if any(answers) and not run.finished:
                    run.finished = True
                    if checkpoint is not None:
                        run.save(checkpoint)
            if run.best is not None:
                put_params(model, run.best)
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
    return History(run.rows, run.best_epoch)


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


def put_params(model: Any, params: Mapping[str, np.ndarray]) -> None:
    """Copy values into the model's parameters."""
    if hasattr(model, "load_params"):
        model.load_params(params)
        return
    if params.keys() != model.params.keys():
        raise ValueError(f"params has other names than the model: {', '.join(params.keys() ^ model.params.keys())}")
    for name, array in model.params.items():
        array[...] = get_array_module(array).asarray(params[name])


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
        for name, value in {"loss": loss, **figures}.items():
            total[name] = total.get(name, 0.0) + float(value) * weight
    return {name: value / count for name, value in total.items()}


class Run:
    """All that a training run must remember besides the model and the optimizer, and how it goes to a file and back."""

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        plateau: Plateau | None,
        batches: Any,
        fingerprint: dict[str, Any],
    ):
        self.model, self.optimizer, self.plateau, self.batches = model, optimizer, plateau, batches
        self.fingerprint = fingerprint  # what a run that resumes must have in common with the one that was stopped
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, np.ndarray] | None = None
        self.best_score, self.best_epoch = math.inf, 0
        self.updates, self.scale, self.finished = 0, 1.0, False
        self.start = 0  # a checksum of the weights, generators and optimizer that the run began with
        self.saved: int | None = None  # epochs that the checkpoint holds

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

    def _generators(self) -> list[np.random.Generator]:
        return [owner.rng for owner in (self.model, self.batches) if isinstance(getattr(owner, "rng", None), Generator)]

    def begin(self, path: Path, resume: bool) -> None:
        """Go on from the checkpoint, or make it that of this run; see `fit` on what becomes of one that is there."""
        self.fingerprint = as_json(self.fingerprint)
        if resume and path.exists():
            self.load(path)
            return
        if resume and self.optimizer.steps:
            raise ValueError(
                f"resume is True, but {path} does not exist, and the optimizer has made {self.optimizer.steps} steps "
                "already: give the model and the optimizer as they were at the start"
            )
        self.start = self._checksum()
        if not path.exists():
            self.save(path)
            return
        advice = "to begin another run, give another path or delete the file; resume=True goes on with its own run"
        try:
            header, _ = load_arrays(path, CHECKPOINT)
            self._compare(path, header)
        except ValueError as error:
            raise ValueError(f"{error}; {advice}") from None
        if header.get("start") != self.start:
            raise ValueError(
                f"{path} is the checkpoint of another run: it began from other weights or generators than these, which "
                f"may be trained already; {advice}"
            )
        self.saved = len(header["rows"])

    def _checksum(self) -> int:
        """Of all that chance and training change, as it is now."""
        header, arrays = self._state()
        found = zlib.crc32(to_json([header[name] for name in ("optimizer", "plateau", "generators")]).encode())
        for _, array in sorted(arrays.items()):
            found = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, found)
        return found

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The header and the arrays of a checkpoint."""
        arrays = {f"params/{name}": to_cpu(array) for name, array in self.model.params.items()}
        arrays |= {f"best/{name}": array for name, array in (self.best or {}).items()}
        optimizer = self.optimizer.state_dict()
        numbers = {name: value for name, value in optimizer.items() if isinstance(value, int | float)}
        arrays |= {f"optimizer/{name}": to_cpu(a) for name, a in optimizer.items() if name not in numbers}
        header = {
            "format": CHECKPOINT,
            "fingerprint": self.fingerprint,
            "start": self.start,
            "rows": self.rows,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "updates": self.updates,
            "scale": self.scale,
            "finished": self.finished,
            "optimizer": numbers,
            "plateau": None if self.plateau is None else self.plateau.state_dict(),
            "generators": [rng.bit_generator.state for rng in self._generators()],
        }
        return header, arrays

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint; a failure leaves the last one whole."""
        save_arrays(path, *self._state())
        self.saved = len(self.rows)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint. Raises ValueError, before anything is changed, unless all of it fits."""
        header, arrays = load_arrays(path, CHECKPOINT)
        self._compare(path, header)
        with reading(path):
            groups: dict[str, dict[str, np.ndarray]] = {"params": {}, "best": {}, "optimizer": {}}
            for key, array in arrays.items():
                group, _, name = key.partition("/")
                groups[group][name] = array
            optimizer = self._check(header, groups)
        put_params(self.model, groups["params"])
        self.optimizer.load_state_dict(optimizer)
        if self.plateau is not None:
            self.plateau.load_state_dict(header["plateau"])
        for rng, state in zip(self._generators(), header["generators"]):
            rng.bit_generator.state = state
        for name in ("start", "rows", "best_score", "best_epoch", "updates", "scale", "finished"):
            setattr(self, name, header[name])
        self.best = groups["best"] or None
        self.saved = len(self.rows)

    def _compare(self, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
        """Raise ValueError, naming what differs, if the checkpoint is that of another run."""
        saved = header.get("fingerprint")
        if not isinstance(saved, dict) or not isinstance(header.get("rows"), list):
            raise ValueError(f"{path} does not fit together: it does not say of which run it is")
        for name in {**self.fingerprint, **saved}:
            there, here = saved.get(name), self.fingerprint.get(name)
            if there != here:
                raise ValueError(f"{path} is the checkpoint of another run: its {name} is {there}, here it is {here}")

    def _check(self, header: dict[str, Any], groups: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
        """The optimizer's state, if all of a checkpoint is there and fits; else ValueError or whatever goes wrong."""
        params, rows = self.model.params, header["rows"]
        validated, monitor = self.fingerprint["validation data"] is not None, self.fingerprint["monitor"]
        for name, kind in (("start", int), ("best_epoch", int), ("updates", int), ("finished", bool)):
            if type(header[name]) is not kind:
                raise ValueError(f"{name} is {header[name]!r:.100}, expected {kind.__name__}")
        check_rows(rows, [*ROW, *(["validation_loss", f"validation_{monitor}"] if validated else [])])
        for group in ("params", *(["best"] if validated and rows else [])):
            if groups[group].keys() != params.keys():
                names = ", ".join(sorted(groups[group].keys() ^ params.keys()))
                raise ValueError(f"missing or unknown arrays of {group}: {names:.200}")
            for name, array in groups[group].items():
                check_shape(f"{group}/{name}", array, params[name].shape, params[name].dtype, "as in the model")
            if (spoilt := non_finite(groups[group])) is not None:
                raise ValueError(f"{group}/{spoilt} holds NaN or infinity")
        if groups["best"] and not (validated and rows):
            raise ValueError("it holds best weights, but no epoch that was validated")
        best = 0 if validated else len(rows)
        score = math.inf
        if validated and rows:
            best = header["best_epoch"]
            if not 1 <= best <= len(rows):
                raise ValueError(f"best_epoch is {best}, but there are {len(rows)} rows")
            score = rows[best - 1][f"validation_{monitor}"] * (1.0 if monitor == "loss" else -1.0)
        if (header["best_epoch"], header["best_score"]) != (best, score):
            raise ValueError(f"best_epoch is {header['best_epoch']} with {header['best_score']!r:.50}, unlike the rows")
        if header["updates"] < len(rows) or (header["updates"] and not rows):
            raise ValueError(f"updates is {header['updates']}, but there are {len(rows)} rows")
        self._check_scale(header)
        generators = self._generators()
        if len(header["generators"]) != len(generators):
            raise ValueError(f"it holds {len(header['generators'])} generators, expected {len(generators)}")
        for rng, state in zip(generators, header["generators"]):
            check_generator(rng, state)
        return self._check_optimizer(header["optimizer"], groups["optimizer"])

    def _check_scale(self, header: dict[str, Any]) -> None:
        scale, plateau = header["scale"], header["plateau"]
        if not (type(scale) in (int, float) and 0.0 < scale <= 1.0):
            raise ValueError(f"scale is {scale!r:.50}, expected a number above 0, at most 1")
        if self.plateau is None:
            if (scale, plateau) != (1.0, None):
                raise ValueError("it holds the state of a plateau, but there is none")
            return
        if plateau.keys() != self.plateau.state_dict().keys() or plateau["scale"] != scale:
            raise ValueError(f"plateau is {plateau!r:.200}, expected one with scale {scale}")
        if math.isnan(plateau["best"]) or type(plateau["waited"]) is not int or plateau["waited"] < 0:
            raise ValueError(f"plateau is {plateau!r:.200}, expected a loss and how many epochs it has waited")

    def _check_optimizer(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """The whole state, once a copy of the optimizer has taken it and it is that of the model's parameters."""
        params, xp = self.model.params, get_array_module(*self.model.params.values())
        state = {**{name: xp.asarray(array) for name, array in arrays.items()}, **numbers}
        trial = copy.copy(self.optimizer)
        trial.load_state_dict(state)
        slots = {f"{name}/{slot}" for name in params for slot in trial.slots} if trial.steps else set()
        if arrays.keys() != slots:
            names = ", ".join(sorted(arrays.keys() ^ slots))
            raise ValueError(f"missing or unknown arrays of the optimizer: {names:.200}")
        trial._check(params, params)
        return state


def check_rows(rows: list[Any], names: Sequence[str]) -> None:
    """Raise ValueError unless the rows are those of epochs 1, 2, ..., with finite numbers under these names."""
    for number, row in enumerate(rows, 1):
        found: list[Any] = [row.get(name) for name in names] if isinstance(row, dict) else [None]
        if not all(type(value) in (int, float) and math.isfinite(value) for value in found):
            raise ValueError(f"rows[{number - 1}] is {row!r:.200}, expected numbers for {', '.join(names)}")
        if type(row.get("epoch")) is not int or row["epoch"] != number:
            raise ValueError(f"rows[{number - 1}] is of epoch {row.get('epoch')!r:.50}, expected {number}")


def check_generator(rng: np.random.Generator, state: Any) -> None:
    """Raise ValueError unless the generator can be put in this state, as JSON has it, and then is in it."""
    current = as_json(rng.bit_generator.state)
    if not alike(current, state):
        raise ValueError(f"a generator's state is {state!r:.200}, expected one of {current['bit_generator']}")
    for holder in (state, state["state"]):
        for index, array in (("pos", "key"), ("buffer_pos", "buffer")):
            if index in holder and holder[index] > len(holder[array]):
                raise ValueError(f"a generator's {index} is {holder[index]}, expected {len(holder[array])} at most")
    trial = type(rng.bit_generator)()
    trial.state = state
    if as_json(trial.state) != state:
        raise ValueError(f"a generator's state is {state!r:.200}, which none can be in")


def alike(current: Any, state: Any) -> bool:
    """Whether two states of generators have the same names, lengths and types; numbers from 0 up may differ."""
    if type(current) is not type(state):
        return False
    if isinstance(current, dict):
        return current.keys() == state.keys() and all(alike(current[name], state[name]) for name in current)
    if isinstance(current, list):
        return len(current) == len(state) and all(map(alike, current, state))
    return state >= 0 if isinstance(state, int) else current == state


def train_epoch(
    run: Run, team: Team, epochs: int, rate: Schedule, clip_norm: float | None, progress: bool
) -> dict[str, float]:
    """One pass over the batches; returns the epoch's row. Its seconds are those of training alone."""
    epoch, number, tokens, start = len(run.rows) + 1, 0, 0, time.perf_counter()
    total = {"loss": 0.0}
    examples, norms = 0.0, 0.0
    label = f"epoch {epoch}/{epochs}"
    with progress_bar(run.batches, progress, desc=label, unit=" batches", leave=False) as bar:
        for number, batch in enumerate(bar, 1):
            run.optimizer.learning_rate = rate_of(rate, run.updates) * run.scale
            loss, figures, norm = train_on(run.model, team, batch, run.optimizer, clip_norm, epoch, number)
            run.updates += 1
            weight = float(run.model.weight(batch)) if hasattr(run.model, "weight") else 1.0
            examples, norms = examples + weight, norms + norm
            for name, value in {"loss": loss, **figures}.items():
                total[name] = total.get(name, 0.0) + value * weight
            if hasattr(batch, "lengths"):
                tokens += int(batch.lengths.sum())
            if number % 10 == 0:
                text = ", ".join(f"{name} {value / examples:.3f}" for name, value in total.items())
                speed = f", {tokens / (time.perf_counter() - start):,.0f} tokens/s" if tokens else ""
                bar.set_postfix_str(text + speed)
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
    model: Any, team: Team, batch: Any, optimizer: Optimizer, clip_norm: float | None, epoch: int, number: int
) -> tuple[float, dict[str, float], float]:
    """One update; returns the batch's mean loss, its further figures, and the norm of the gradients."""
    loss, figures = team.gradient(batch)
    norm = clip_gradients(model.grads, max_norm=clip_norm)
    if not (math.isfinite(float(loss)) and math.isfinite(norm)):
        raise NonFiniteLoss(
            f"loss {float(loss)}, gradient norm {norm} in epoch {epoch}, batch {number}; {first_non_finite(model)}; "
            f"{ADVICE}"
        )
    optimizer.step(model.params, model.grads)
    return float(loss), {name: float(value) for name, value in figures.items()}, norm


def first_non_finite(model: Any) -> str:
    """Which parameter is not finite, or else which gradient, the first that the backward pass comes to."""
    for kind, arrays in (("parameter", model.params), ("gradient of", model.grads)):
        name = non_finite(arrays)
        if name is not None:
            return f"the first that is not finite is the {kind} {name}"
    return "all parameters and gradients are finite"


def non_finite(arrays: Mapping[str, Any]) -> str | None:
    """The name of the last array that holds NaN or infinity, if any does."""
    for name, array in reversed(list(arrays.items())):
        if not bool(get_array_module(array).isfinite(array).all()):
            return name
    return None


def predict(model: Any, sequences: Any, batch_size: int = 256, max_length: int | None = None) -> np.ndarray:
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
