"""Tests of long memory, in which what is said early decides what is right late, and all between is noise.

    adding          two numbers of a row are marked: their sum (Hochreiter & Schmidhuber 1997; Le et al. 2015)
    copying         symbols, a long silence, a signal: the symbols again (H. & S. 1997; Arjovsky et al. 2016)
    temporal order  two marks far apart among distractors: which two, in which order (H. & S. 1997, experiment 6a)
    latching        the class is in the first three steps, noise follows (Bengio et al. 1994)
    parity          a row of bits: is the number of ones odd?

Vanilla RNN, LSTM and GRU get the same sequences, drawn anew for every update, and the same optimiser. They differ in
their start, which is part of what is tested: U of Glorot & Bengio 2010, orthogonal (Saxe et al. 2014), or the identity
with ReLU (Le et al. 2015); the bias of the gate that keeps at 0, at 1 (Gers et al. 2000), or at log U(1, T) ("chrono",
Tallec & Ollivier 2018).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import training
from ..checks import check_choice, check_number, check_sizes
from ..files import atomic_write, to_json
from ..kernels import losses, sequence
from ..kernels.packing import Plan
from ..layers import GRU, LSTM, RNN, Dense, Recurrent, glorot_uniform
from ..optimizers import Adam
from ..processes import as_done
from ..progress import progress_bar
from ..teach.flow import gradient_by_lag


class Sequences(NamedTuple):
    """B sequences of T steps, and what is right at the last n of them."""

    x: np.ndarray  # (T, B, D)
    targets: np.ndarray  # (n, B) classes, or numbers

    @property
    def lengths(self) -> np.ndarray:
        """(B,)."""
        return np.full(self.x.shape[1], len(self.x))


class Problem(NamedTuple):
    """A test of memory. The error is the mean squared one of numbers, the share of wrong answers of classes."""

    name: str
    inputs: int
    outputs: int  # classes, or 1 for a number
    draw: Callable[
        [np.random.Generator, int, int], Sequences
    ]  # of so many sequences with so many steps to remember over
    chance: float  # the error of who knows nothing of the sequence
    solved: float  # the error at which it counts as solved


def draw_adding(rng: np.random.Generator, B: int, T: int) -> Sequences:
    """T steps of (number in [0, 1], mark): one mark in each half; the sum of the two marked numbers."""
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = rng.random((T, B))
    first, second, each = rng.integers(0, T // 2, B), rng.integers(T // 2, T, B), np.arange(B)
    x[first, each, 1] = x[second, each, 1] = 1
    return Sequences(x, (x[first, each, 0] + x[second, each, 0])[None])


SYMBOLS, COPIED, PUBLISHED = 8, 3, 10


def draw_copying(rng: np.random.Generator, B: int, T: int, copied: int = COPIED) -> Sequences:
    """So many of 8 symbols, T - 1 blanks, a signal, as many blanks: the symbols again, at the last steps."""
    symbols = rng.integers(0, SYMBOLS, (copied, B))
    ids = np.full((T + 2 * copied, B), SYMBOLS)
    ids[:copied], ids[copied + T - 1] = symbols, SYMBOLS + 1
    return Sequences(np.eye(SYMBOLS + 2, dtype=np.float32)[ids], symbols)


def draw_order(rng: np.random.Generator, B: int, T: int) -> Sequences:
    """T of four distractors, and X or Y in the first and in the fifth tenth: XX, XY, YX or YY."""
    ids, each = rng.integers(2, 6, (T, B)), np.arange(B)
    tenth = max(1, T // 10)
    marks = rng.integers(0, 2, (2, B))
    ids[rng.integers(0, tenth, B) + tenth, each] = marks[0]
    ids[rng.integers(0, tenth, B) + 5 * tenth, each] = marks[1]
    return Sequences(np.eye(6, dtype=np.float32)[ids], (2 * marks[0] + marks[1])[None])


def draw_latching(rng: np.random.Generator, B: int, T: int) -> Sequences:
    """Three steps of +1 or -1, which is the class, and noise N(0, 0.2^2) at all T."""
    label = rng.integers(0, 2, B)
    x = rng.normal(0.0, 0.2, (T, B, 1)).astype(np.float32)
    x[:3, :, 0] += 2 * label - 1
    return Sequences(x, label[None])


def draw_parity(rng: np.random.Generator, B: int, T: int) -> Sequences:
    """T bits, as -1 and 1: whether the number of ones is odd."""
    bits = rng.integers(0, 2, (T, B))
    return Sequences((2 * bits - 1).astype(np.float32)[:, :, None], (bits.sum(axis=0) % 2)[None])


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("adding", 2, 1, draw_adding, 1 / 6, 0.01),
        Problem("copying", SYMBOLS + 2, SYMBOLS, draw_copying, 1 - 1 / SYMBOLS, 0.01),
        Problem("copying 10", SYMBOLS + 2, SYMBOLS, partial(draw_copying, copied=PUBLISHED), 1 - 1 / SYMBOLS, 0.01),
        Problem("temporal order", 6, 4, draw_order, 0.75, 0.01),
        Problem("latching", 1, 2, draw_latching, 0.5, 0.01),
        Problem("parity", 1, 2, draw_parity, 0.5, 0.01),
    )
}


class Reader:
    """A recurrent layer and a dense one that answers at the last steps: a model for `training.fit`.

    With `truncate` gradients go back so many steps at a time.
    """

    def __init__(self, problem: Problem, layer: Recurrent, truncate: int | None = None):
        self.problem, self.recurrent, self.truncate = problem, layer, truncate
        self.dense = Dense(layer.hidden_size, problem.outputs, dtype=layer.dtype, seed=layer.rng)
        self.params = self._all("params")
        self.grads = self._all("grads")

    def _all(self, which: str) -> dict[str, np.ndarray]:
        parts = (("recurrent", self.recurrent), ("dense", self.dense))
        return {f"{part}.{name}": array for part, layer in parts for name, array in getattr(layer, which).items()}

    def batch_loss(self, batch: Sequences, train: bool = False) -> tuple[Any, Callable[[], None], dict[str, Any]]:
        """The mean loss of the answers, its way back, and the error: see `training.Trainable`."""
        n, B = batch.targets.shape
        (hs, _), recurrent_back = self.recurrent.call(batch.x.astype(self.recurrent.dtype, copy=False), train=train)
        outputs, dense_back = self.dense.call(hs[-n:], train)
        if self.problem.outputs == 1:
            loss, d = losses.mean_squared_error(outputs, batch.targets[:, :, None])
            error = loss
        else:
            loss, d = losses.softmax_cross_entropy(outputs, batch.targets)
            error = (outputs.argmax(axis=2) != batch.targets).mean()

        def back() -> None:
            for layer in (self.recurrent, self.dense):
                layer._start_from_zero()
            dhs = np.zeros(hs.shape, hs.dtype)
            dhs[-n:] = dense_back(d)
            recurrent_back(dhs, None, self.truncate)

        return loss, back, {"error": error}

    def weight(self, batch: Sequences) -> int:
        """How many answers the batch asks for."""
        return batch.targets.size


class Stream:
    """So many batches of new sequences at every pass."""

    def __init__(self, problem: Problem, T: int, batch_size: int, count: int, seed: Any):
        self.problem, self.T, self.batch_size, self.count = problem, T, batch_size, count
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sequences]:
        for _ in range(self.count):
            yield self.problem.draw(self.rng, self.batch_size, self.T)


@dataclass(frozen=True)
class Start:
    """A cell and where it starts."""

    cell: str
    U: str = "orthogonal"  # or "glorot", "identity"
    bias: str = "1"  # of the gate that keeps, or "0", "chrono"
    clip_norm: float | None = 1.0
    truncate: int | None = None

    def layer(self, inputs: int, hidden: int, T: int, seed: Any) -> Recurrent:
        """The layer at its start."""
        rng = np.random.default_rng(seed)
        if self.cell == "rnn":
            layer: Recurrent = RNN(inputs, hidden, activation="relu" if self.U == "identity" else "tanh", seed=rng)
        else:
            layer = (LSTM if self.cell == "lstm" else GRU)(inputs, hidden, seed=rng)
        U, H = layer.params["U_l0"], hidden
        if self.U == "glorot":
            for gate in layer.gates:
                layer.gate("U_l0", gate)[...] = glorot_uniform(H, H, rng)
        elif self.U == "identity":
            U[...] = np.eye(H)
            layer.params["W_l0"][...] = rng.normal(0.0, 0.001, layer.params["W_l0"].shape)
        keeps, lets_in = {"rnn": ("", ""), "lstm": ("f", "i"), "gru": ("z", "")}[self.cell]
        if keeps:
            at = np.log(rng.uniform(1, max(2, T - 1), H)) if self.bias == "chrono" else float(self.bias)
            layer.gate("b_l0", keeps)[...] = at
            if lets_in and self.bias == "chrono":
                layer.gate("b_l0", lets_in)[...] = -at
        return layer


@dataclass(frozen=True)
class Protocol:
    """What is the same for all cells."""

    hidden: int = 64
    batch_size: int = 32
    learning_rate: float = 0.003
    updates: int = 2000  # at most
    every: int = 100  # updates between two tests
    tests: int = 512  # sequences of one
    lags: int = 100  # at most, over which gradients are followed


@dataclass
class Outcome:
    """What became of one start with one seed: its tests, and how far gradients reach at the start, halfway and last."""

    solved_at: int | None  # updates, None: not solved
    error: float  # of the last test
    curve: list[tuple[int, float]]  # updates, error
    reach: dict[str, np.ndarray] = field(default_factory=dict)  # norms by lag, as shares of that at lag 0
    gates: dict[str, dict[str, float]] = field(default_factory=dict)  # the mean of each gate at the start and last
    seconds: float = 0.0


def run(problem: Problem, start: Start, T: int, protocol: Protocol, seed: int, progress: bool = False) -> Outcome:
    """Train until the problem is solved, twice in a row, or the updates are used up."""
    began = time.perf_counter()
    model = Reader(problem, start.layer(problem.inputs, protocol.hidden, T, seed), start.truncate)
    test = list(Stream(problem, T, 128, max(1, protocol.tests // 128), [1, seed]))
    probe = problem.draw(np.random.default_rng([2, seed]), 32, T).x
    outcome = Outcome(None, training.scores_of(model, test)["error"], [])
    outcome.curve.append((0, outcome.error))
    outcome.reach["at the start"] = reach(model, probe, protocol.lags)
    outcome.gates["at the start"] = openness(model, probe)
    tests = math.ceil(protocol.updates / protocol.every)
    stream = Stream(problem, T, protocol.batch_size, protocol.every, [0, seed])

    def note(_: Any, row: Mapping[str, float]) -> bool:
        updates, error = int(row["epoch"]) * protocol.every, row["validation_error"]
        outcome.curve.append((updates, error))
        if row["epoch"] == max(1, tests // 10):
            outcome.reach["while it learns"] = reach(model, probe, protocol.lags)
        again = error <= problem.solved and outcome.error <= problem.solved
        outcome.error = error
        return again

    try:
        training.fit(
            model,
            stream,
            test,
            optimizer=Adam(protocol.learning_rate),
            epochs=tests,
            clip_norm=start.clip_norm,
            monitor="loss",
            callbacks=[note],
            seed=None,
            progress=progress,
        )
    except training.NonFiniteLoss:
        outcome.error = float("nan")  # it burst, which is one way of not solving it
    solved = [updates for updates, error in outcome.curve if error <= problem.solved]
    if outcome.error <= problem.solved:
        outcome.solved_at = next(k for k in solved if all(e <= problem.solved for u, e in outcome.curve if u >= k))
    if math.isfinite(outcome.error):
        outcome.reach["at the end"] = reach(model, probe, protocol.lags)
        outcome.gates["at the end"] = openness(model, probe)
    outcome.seconds = time.perf_counter() - began
    return outcome


def reach(model: Reader, x: np.ndarray, lags: int) -> np.ndarray:
    """The norm of d(r h_T)/dx_{T-k} for k = 0 .. lags-1, r random, as shares of that at k = 0."""
    lags = min(lags, len(x))
    found = gradient_by_lag(model.recurrent, x)[:lags].astype(float)
    return found / max(found[0], np.finfo(float).tiny)


def openness(model: Reader, x: np.ndarray) -> dict[str, float]:
    """The mean of each sigmoid gate over all steps and units."""
    layer = model.recurrent
    if layer.cell.gates == "h":
        return {}
    plan = Plan(x.shape[0], x.shape[1])
    W, U, b, further = layer.weights("_l0")
    _, _, cache = sequence.run(
        layer.cell, plan, plan.pack(x.astype(W.dtype)), (None,) * len(layer.states), W, U, b, further
    )
    assert cache is not None
    return {
        gate: float(cache.memory.gates[k].mean()) for k, gate in enumerate(layer.gates) if gate in layer.cell.sigmoids
    }


STARTS = {
    "tanh RNN, Glorot": Start("rnn", "glorot"),
    "tanh RNN, orthogonal": Start("rnn"),
    "ReLU RNN, identity": Start("rnn", "identity"),
    "LSTM, forget bias 0": Start("lstm", bias="0"),
    "LSTM, forget bias 1": Start("lstm"),
    "LSTM, chrono": Start("lstm", bias="chrono"),
    "GRU, bias 0": Start("gru", bias="0"),
    "GRU, chrono": Start("gru", bias="chrono"),
}
CUT = 50
FURTHER = {  # what training does to memory
    f"LSTM, chrono, truncated to {CUT} steps": Start("lstm", bias="chrono", truncate=CUT),
    "LSTM, chrono, not clipped": Start("lstm", bias="chrono", clip_norm=None),
    "tanh RNN, orthogonal, not clipped": Start("rnn", clip_norm=None),
}
RATES = {  # learning rates of the vanilla RNN and of the gated cells: the best of two or three in single runs, seed 0
    "adding": (0.001, 0.01),
    "copying": (0.0003, 0.01),
    "copying 10": (0.0003, 0.01),
    "temporal order": (0.003, 0.003),
    "latching": (0.001, 0.01),
    "parity": (0.003, 0.01),
}
UPDATES = {
    "adding": 2000,
    "copying": 4000,
    "copying 10": 20000,
    "temporal order": 1500,
    "latching": 200,
    "parity": 3000,
}


class Case(NamedTuple):
    """A start, what it is tried on, and with what."""

    problem: str
    start: str
    T: int
    protocol: Protocol


@dataclass(frozen=True)
class Settings:
    """One report. `lengths` of the latching problem; `full` has more of everything, and takes hours."""

    problems: tuple[str, ...] = ("adding", "copying", "temporal order", "parity", "latching")
    seeds: int = 3
    hidden: int = 64
    batch_size: int = 32
    adding: int = 200
    copying: int = 100
    order: int = 100
    parity: int = 6
    lengths: tuple[int, ...] = (10, 50, 200, 500)
    updates: float = 1.0  # times the usual number of them
    workers: int = 2
    full: bool = False

    def check(self) -> None:
        """Raise ValueError or TypeError for a setting that cannot be."""
        for name in self.problems:
            check_choice("problems", name, PROBLEMS)
        sizes = {name: getattr(self, name) for name in ("seeds", "hidden", "batch_size", "workers")}
        check_sizes(**sizes)
        check_sizes(2, parity=self.parity)
        check_sizes(4, **{name: getattr(self, name) for name in ("adding", "copying")})
        check_sizes(10, order=self.order)
        for k, length in enumerate(self.lengths):
            check_sizes(4, **{f"lengths[{k}]": length})
        check_number("updates", self.updates, above=0.0)

    def cases(self) -> list[Case]:
        """All that is tried."""
        lengths = {"adding": [self.adding], "copying": [self.copying], "temporal order": [self.order]}
        lengths |= {"copying 10": [self.copying], "parity": [self.parity], "latching": list(self.lengths)}
        problems = list(self.problems)
        if self.full:
            problems += ["copying 10"] * ("copying 10" not in problems)
            lengths |= {"adding": [self.adding, 500], "parity": [self.parity, 10, 20]}
        found = []
        for problem in problems:
            rates, updates = RATES[problem], UPDATES[problem] * self.updates * (5 if self.full else 1)
            starts = STARTS | (FURTHER if problem == "adding" else {})
            for T in lengths[problem]:
                for name, start in starts.items():
                    rate = rates[start.cell != "rnn"]
                    every = max(1, min(100, int(updates) // 20))
                    protocol = Protocol(self.hidden, self.batch_size, rate, max(1, int(updates)), every)
                    found.append(Case(problem, name, T, protocol))
        return found


def run_all(settings: Settings, folder: Path, resume: bool = False, progress: bool = True) -> dict[Case, list[Outcome]]:
    """Every case with every seed, by several processes. What is done is kept in the folder, one file each.

    With `resume`, what another run with the same settings has left there is taken over. The folder is this run's alone:
    see `memory_report.run`. Raises OSError, or ValueError naming the file, for what cannot be read.
    """
    settings.check()
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[Case, int], Outcome] = {}
    todo = []
    for case in settings.cases():
        for seed in range(1, settings.seeds + 1):
            path = folder / file_name(case, seed)
            if resume and path.exists():
                found[case, seed] = load(path, case, seed)
            else:
                todo.append((case, seed, path))
    todo.sort(key=lambda each: -cost(each[0]))  # the longest first, so that none is left alone at the end
    with progress_bar(None, progress, total=len(found) + len(todo), desc="runs", unit=" runs") as bar:
        bar.update(len(found))
        for (case, seed, path), outcome in finished(todo, settings.workers):
            save(path, case, seed, outcome)
            found[case, seed] = outcome
            said = "not solved" if outcome.solved_at is None else f"solved after {outcome.solved_at} updates"
            bar.set_postfix_str(f"{case.problem} T={case.T}, {case.start}: {said}", refresh=False)
            bar.update(1)
    return {case: [found[case, seed] for seed in range(1, settings.seeds + 1)] for case in settings.cases()}


def cost(case: Case) -> float:
    """About how long a run takes, in no unit."""
    gates = {"rnn": 1.0, "lstm": 3.0, "gru": 2.5}[(STARTS | FURTHER)[case.start].cell]
    return gates * case.T * case.protocol.updates


def finished(todo: Sequence[tuple[Case, int, Path]], workers: int) -> Iterator[tuple[tuple[Case, int, Path], Outcome]]:
    """Each case as it is done."""
    if workers == 1:
        for each in todo:
            yield each, run_case(each)
        return
    for number, outcome in as_done(run_case, todo, workers):
        yield todo[number], outcome


def run_case(each: tuple[Case, int, Path]) -> Outcome:
    """`run` of a case with a seed."""
    case, seed, _ = each
    return run(PROBLEMS[case.problem], (STARTS | FURTHER)[case.start], case.T, case.protocol, seed)


def file_name(case: Case, seed: int) -> str:
    """Of an outcome."""
    words = f"{case.problem}-{case.T}-{case.start}-{seed}"
    return "".join(letter if letter.isalnum() else "-" for letter in words) + ".json"


def save(path: Path, case: Case, seed: int, outcome: Outcome) -> None:
    """Write an outcome and what it is of; a failure leaves an older file whole."""
    reach = {name: [float(x) for x in norms] for name, norms in outcome.reach.items()}
    content = {"case": _plain(case), "seed": seed, "outcome": asdict(replace(outcome, reach={})) | {"reach": reach}}
    with atomic_write(path) as file:
        file.write(to_json(content))


def load(path: Path, case: Case, seed: int) -> Outcome:
    """Read what `save` wrote of this case. Raises OSError, or ValueError naming the file, for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["case"] != json.loads(json.dumps(_plain(case))) or content["seed"] != seed:
            raise ValueError("it is of another run: start anew without --resume, or in another folder")
        found = content["outcome"]
        found["reach"] = {name: np.array(norms, float) for name, norms in found["reach"].items()}
        found["curve"] = [(int(updates), float(error)) for updates, error in found["curve"]]
        if found["error"] is None:
            found["error"] = float("nan")
        return Outcome(**found)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no outcome of this run: {error}") from None


def _plain(case: Case) -> dict[str, Any]:
    return {**case._asdict(), "protocol": asdict(case.protocol), "how": asdict((STARTS | FURTHER)[case.start])}
