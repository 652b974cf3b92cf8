"""What a run of training remembers, and how it goes to a checkpoint and back: all of it or nothing."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Array, get_array_module, to_cpu
from .checks import check_shape, non_finite
from .files import as_json, load_arrays, reading, save_arrays, to_json
from .optimizers import Average, Optimizer
from .schedules import Plateau

CHECKPOINT = "rnnscratch checkpoint 3"
ROW = ("loss", "gradient_norm", "learning_rate", "seconds")  # what the row of every epoch has besides its number


class Run:
    """All that a training run must remember besides the model and the optimizer, and how it goes to a file and back."""

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        plateau: Plateau | None,
        batches: Any,
        fingerprint: dict[str, Any],
        fixed: Callable[[int], frozenset[str]] = lambda epoch: frozenset(),
        average: Average | None = None,
        row: Sequence[str] = ROW,
    ):
        self.model, self.optimizer, self.plateau, self.batches = model, optimizer, plateau, batches
        self.fingerprint = fingerprint  # what a run that resumes must have in common with the one that was stopped
        self.average = average  # whose values are validated, and what the model ends with
        self.fixed = fixed  # which parameters do not learn in an epoch; once one learns, it goes on to
        self.row = row  # what the row of every epoch has besides its number
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
                self.best = {name: to_cpu(array).copy() for name, array in self.weights().items()}
        else:
            self.best_epoch = len(self.rows)
        if self.plateau is not None:
            self.scale = self.plateau.update(row["validation_loss" if validated else "loss"])

    def weights(self) -> dict[str, Array]:
        """The weights that count: the averaged ones where there are some, else the model's own."""
        return self.model.params if self.average is None or not self.average.values else self.average.values

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the model has the weights that count."""
        found = self.weights()
        if self.average is None:
            yield
            return
        own = {name: array.copy() for name, array in self.model.params.items()}
        put_params(self.model, found)
        try:
            yield
        finally:
            put_params(self.model, own)

    def _generators(self) -> list[np.random.Generator]:
        found = [rng for owner in (self.model, self.batches) if (rng := getattr(owner, "rng", None)) is not None]
        for rng in found:
            if not isinstance(rng, np.random.Generator):
                kind = f"{type(rng).__module__}.{type(rng).__qualname__}"
                raise TypeError(f"rng is a {kind}, expected a numpy.random.Generator, whose state a checkpoint holds")
        return found

    def begin(self, path: Path, resume: bool) -> None:
        """Go on from the checkpoint, or make it that of this run; see `fit` on what becomes of one that is there."""
        for name, value in self.fingerprint.items():
            try:
                self.fingerprint[name] = as_json(value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}: {error}, as a checkpoint needs") from None
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
        averages = {} if self.average is None else self.average.values
        arrays |= {f"average/{name}": to_cpu(array) for name, array in averages.items()}
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
            groups: dict[str, dict[str, np.ndarray]] = {"params": {}, "average": {}, "best": {}, "optimizer": {}}
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
        if self.average is not None:
            xp = get_array_module(*self.model.params.values())
            self.average.values = {name: xp.asarray(groups["average"][name]) for name in groups["average"]}
            self.average.updates = self.updates
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
        check_rows(rows, [*self.row, *(["validation_loss", f"validation_{monitor}"] if validated else [])])
        averaged = self.average is not None and rows
        for group in ("params", *(["best"] if validated and rows else []), *(["average"] if averaged else [])):
            if groups[group].keys() != params.keys():
                names = ", ".join(sorted(groups[group].keys() ^ params.keys()))
                raise ValueError(f"missing or unknown arrays of {group}: {names:.200}")
            for name, array in groups[group].items():
                check_shape(f"{group}/{name}", array, params[name].shape, params[name].dtype, "as in the model")
            if (spoilt := non_finite(groups[group])) is not None:
                raise ValueError(f"{group}/{spoilt} holds NaN or infinity")
        if groups["best"] and not (validated and rows):
            raise ValueError("it holds best weights, but no epoch that was validated")
        if groups["average"] and not averaged:
            raise ValueError("it holds averaged weights, but no epoch that made them")
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
        return self._check_optimizer(header["optimizer"], groups["optimizer"], self.fixed(len(rows)))

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

    def _check_optimizer(
        self, numbers: dict[str, Any], arrays: dict[str, np.ndarray], fixed: frozenset[str]
    ) -> dict[str, Any]:
        """The whole state, once a copy of the optimizer has taken it and it is that of the model's parameters.

        Those that were fixed in the last epoch may have none yet.
        """
        params, xp = self.model.params, get_array_module(*self.model.params.values())
        state = {**{name: xp.asarray(array) for name, array in arrays.items()}, **numbers}
        trial = copy.copy(self.optimizer)
        trial.load_state_dict(state)
        slots = {f"{name}/{slot}" for name in params for slot in trial.slots} if trial.steps else set()
        needed = {key for key in slots if key.rpartition("/")[0] not in fixed}
        if not needed <= arrays.keys() <= slots:
            names = ", ".join(sorted(arrays.keys() - slots | needed - arrays.keys()))
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


def put_params(model: Any, params: Mapping[str, np.ndarray]) -> None:
    """Copy values into the model's parameters."""
    if hasattr(model, "load_params"):
        model.load_params(params)
        return
    if params.keys() != model.params.keys():
        raise ValueError(f"params has other names than the model: {', '.join(params.keys() ^ model.params.keys())}")
    for name, array in model.params.items():
        array[...] = get_array_module(array).asarray(params[name])
