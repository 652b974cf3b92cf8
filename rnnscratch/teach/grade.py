"""Points for a learner's function: its outputs, and the first line that is wrong, at sizes and numbers it has not seen.

For teachers: `print(tasks())` lists what can be set; `grade(answer, "rnn_step")` runs a function. In a test cell of
nbgrader, `assert grade(answer, "rnn_step").passed` gives all points or none, and a last line
`grade(answer, "rnn_step").points` a share of them, if the cell is worth `out_of` points. (A cell that shows no number
gets all of them in nbgrader 0.9, so print the whole result elsewhere.) In a test of otter-grader,
`grade(answer, "rnn_step").passed` stands behind `>>>`, with True below it.
"""

from __future__ import annotations

import copy
import traceback
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..checks import check_choice, check_sizes
from ..kernels import attention, embedding, losses
from ..layers import GRU, LSTM, RNN, Recurrent
from .compare import Comparison, compare, with_parts
from .trace import Entry, trace

Arrays = dict[str, Any]
NAMES_OF_SHAPES = {
    "(B, D)": "x",
    "(B, H)": "h c h_prev c_prev h0 c0 dh dc_next dh_T dc_T",
    "(T, B, H)": "dhs",
    "(D, G H)": "W",
    "(H, G H)": "U",
    "(G H,)": "b",
    "(B, K)": "logits",
    "(B,)": "targets",
    "()": "loss",
    "(T, B)": "ids",
    "number": "V",
    "(V, D)": "E",
    "(T, B, A)": "q",
    "(S, B, A)": "k",
    "(S, B, M)": "v",
    "(T, B, M)": "context",
}
SHAPES = {name: shape for shape, names in NAMES_OF_SHAPES.items() for name in names.split()}


@dataclass(frozen=True)
class Task:
    """A function to write: what comes in, what it returns, and how cases of it are drawn."""

    name: str
    says: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[dict[str, int], ...]  # of each case
    draw: Callable[[np.random.Generator, dict[str, int]], tuple[Arrays, list[Entry]]]
    shapes: Mapping[str, str] = field(default_factory=dict)  # where they are not those of SHAPES
    at_start: Mapping[str, str] = field(default_factory=dict)  # outputs that the trace has at step 1 under another name

    def shape(self, name: str) -> str:
        """The shape of an argument or output, in letters."""
        return self.shapes.get(name) or SHAPES.get(name) or self.shape(name.removeprefix("d"))

    def __str__(self) -> str:
        named = [*self.arguments, *(name for name in self.outputs if not name.startswith("d"))]
        shapes = ", ".join(f"{name} {self.shape(name)}" for name in named)
        return f"{self.name}({', '.join(self.arguments)}) -> {', '.join(self.outputs)}\n    {self.says}\n    {shapes}"


class Tasks(dict[str, Task]):
    """The tasks by name, printed with their signatures."""

    def __repr__(self) -> str:
        head = (
            "Arrays are float64, one row an example; dX is the gradient of X and has its shape; the G gates lie side\n"
            "by side in W, U and b (LSTM: i, f, o, g; GRU: r, z, n). A function returns its outputs in this order, or\n"
            "a dict of them by name, in which it may hand over intermediates too, named as trace prints them: 'dz_f',\n"
            "in a sequence ('dz_f', 3) or 'dz_f' for all steps at once.\n"
        )
        return head + "".join(f"\n{task}" for task in self.values())


@dataclass
class Case:
    """One call of the learner's function."""

    sizes: str
    points: int
    out_of: int
    message: str = ""
    difference: Comparison | None = None


@dataclass(repr=False)
class Grade:
    """What `grade` found. `points`, `out_of`, `passed`, and all cases; `difference` is the first line that is wrong."""

    task: str
    cases: list[Case]

    @property
    def points(self) -> int:
        """One for each right output of each case."""
        return sum(case.points for case in self.cases)

    @property
    def out_of(self) -> int:
        """As many as there are."""
        return sum(case.out_of for case in self.cases)

    @property
    def passed(self) -> bool:
        """Whether every output of every case is right."""
        return self.points == self.out_of

    @property
    def difference(self) -> Comparison | None:
        """The first wrong line, of the first case that has one."""
        return next((case.difference for case in self.cases if case.difference is not None), None)

    def __str__(self) -> str:
        wide = max(len(case.sizes) for case in self.cases)
        lines = [f"{self.task}: {self.points} of {self.out_of} points"]
        lines += [
            f"  {case.sizes:<{wide}}  {case.points} of {case.out_of}  {case.message}".rstrip() for case in self.cases
        ]
        for case in self.cases:
            if case.difference is not None:
                lines += [f"the first line that is wrong, with {case.sizes}:", str(case.difference)]
                break
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def tasks() -> Tasks:
    """The functions that `grade` knows, by name; printed with their arguments, outputs and shapes.

    >>> print(tasks()["rnn_step"])
    rnn_step(x, h_prev, W, U, b) -> h
        one step of a vanilla network: h = tanh(x W + h_prev U + b)
        x (B, D), h_prev (B, H), W (D, H), U (H, H), b (H,), h (B, H)
    """
    return Tasks(TASKS)


def grade(function: Callable[..., Any], task: str, seed: int = 0) -> Grade:
    """Points for a learner's function on a task of `tasks()`: one for each right output of each case.

    The cases differ in sizes and in numbers, which follow from `seed` and the task; states before the first step are
    not zero. The function gets plain NumPy arrays and returns a tuple or a dict; a function that raises an error, or
    returns something else, loses that case's points. Raises TypeError for what cannot be called and ValueError for
    another task.

    >>> result = grade(lambda x, h_prev, W, U, b: np.tanh(x @ W + h_prev @ U + b), "rnn_step")
    >>> result.passed, result.points, result.out_of
    (True, 5, 5)
    """
    if not callable(function):
        raise TypeError(f"function is {type(function).__name__}, expected a function")
    check_choice("task", task, TASKS)
    check_sizes(least=0, seed=seed)
    chosen, cases = TASKS[task], []
    for number, sizes in enumerate(chosen.sizes):
        rng = np.random.default_rng([seed, zlib.crc32(task.encode()), number])
        cases.append(_case(function, chosen, sizes, rng))
    return Grade(task, cases)


def _case(function: Callable[..., Any], task: Task, sizes: dict[str, int], rng: np.random.Generator) -> Case:
    arguments, rows = task.draw(rng, sizes)
    case = Case(", ".join(f"{letter} = {size}" for letter, size in sizes.items()), 0, len(task.outputs))
    given = [copy.deepcopy(arguments[name]) for name in task.arguments]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            returned = function(*given)
        except (Exception, SystemExit) as error:  # exit() too
            case.message = f"{type(error).__name__}: {error}{_line_of(error, function)}"
            return case
    changed = [name for name, array in zip(task.arguments, given) if not np.array_equal(array, arguments[name])]
    notes = [f"changes its argument {name}" for name in changed]
    notes += [f"warns: {each}" for each in dict.fromkeys(str(each.message) for each in warned)]
    try:
        mine = _named(task, rows, returned)
    except (TypeError, ValueError) as error:
        case.message = str(error)
        return case
    wrong = []
    for name in task.outputs:
        key = _key(task, rows, name)
        if key not in mine:
            notes.append(f"{name} is not in the dict")
            continue
        try:
            right = compare(rows, {key: mine[key]}).ok
        except (TypeError, ValueError) as error:
            notes.append(str(error))
            del mine[key]
            continue
        case.points += right
        wrong += [name] * (not right)
    try:
        found = compare(rows, mine) if mine else None
        case.difference = None if found is None or found.ok else found
    except (TypeError, ValueError) as error:
        notes.append(str(error))
    case.message = "; ".join([f"wrong: {', '.join(wrong)}"] * bool(wrong) + notes)
    return case


def _named(task: Task, rows: Sequence[Entry], returned: Any) -> dict[Any, Any]:
    """What the function returned, by the names of the rows. Raises TypeError or ValueError for something else."""
    if isinstance(returned, Mapping):
        return {_key(task, rows, name): value for name, value in returned.items()}
    if returned is None:
        raise TypeError("returned None: is there a return?")
    if len(task.outputs) == 1 and not isinstance(returned, tuple):
        returned = (returned,)
    if not isinstance(returned, tuple | list):
        raise TypeError(f"returned {type(returned).__name__}, expected {', '.join(task.outputs)}")
    if len(returned) != len(task.outputs):
        raise ValueError(f"returned {len(returned)} things, expected {len(task.outputs)}: {', '.join(task.outputs)}")
    return {_key(task, rows, name): value for name, value in zip(task.outputs, returned)}


def _key(task: Task, rows: Sequence[Entry], name: Any) -> Any:
    """What `compare` knows an output or intermediate by."""
    if name in task.at_start:
        return task.at_start[name], 1
    if "step" in task.name and any((row.name, row.step) == (name, 1) for row in rows):
        return name, 1
    return name


def _line_of(error: BaseException, function: Any) -> str:
    """The last line of the learner's own file that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    code = getattr(function, "__code__", None)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    if not own:
        return ""
    return f" (line {own[-1].lineno}: {own[-1].line})" if own[-1].line else f" (line {own[-1].lineno})"


def _recurrent(kind: type[Recurrent], rng: np.random.Generator, sizes: dict[str, int]) -> tuple[Arrays, list[Entry]]:
    """All arguments of a cell's tasks, and the rows of the pass; a step is a sequence of one."""
    T, B, D, H = (sizes.get(letter, 1) for letter in "TBDH")
    layer = kind(D, H, dtype="float64", seed=0)
    for array in layer.params.values():
        array[...] = rng.standard_normal(array.shape) * (1.0 if array.ndim == 1 else len(array) ** -0.5)
    x, dhs, *states = (rng.standard_normal((*lead, B, size)) for lead, size in [((T,), D), ((T,), H), *[((1,), H)] * 4])
    names: Arrays = {"W": layer.params["W_l0"], "U": layer.params["U_l0"], "b": layer.params["b_l0"]}
    if "T" in sizes:
        names |= {"x": x, "dhs": dhs, "dh_T": states[2][0], "dc_T": states[3][0]}
        names |= {"h0": states[0][0], "c0": states[1][0]}
    else:
        states[2] = np.zeros_like(states[2])  # dh is all that arrives at h
        names |= {"x": x[0], "dh": dhs[0], "dc_next": states[3][0], "h_prev": states[0][0], "c_prev": states[1][0]}
    many = len(layer.states) > 1
    start, end = ((states[k], states[k + 1]) if many else states[k] for k in (0, 2))
    steps = trace(layer, x, start, dhs, end)
    return names, with_parts(steps.rows, steps.by_gate)


def _softmax(rng: np.random.Generator, sizes: dict[str, int]) -> tuple[Arrays, list[Entry]]:
    B, K, size = sizes["B"], sizes["K"], sizes["size"]
    logits, targets = size * rng.standard_normal((B, K)), rng.integers(K, size=B)
    loss, dlogits = losses.softmax_cross_entropy(logits, targets)
    return {"logits": logits, "targets": targets}, [
        Entry(0, "forward", "p", "softmax(logits)", "", losses.softmax(logits)),
        Entry(0, "forward", "loss", "mean over the batch of -log p[target]", "", np.asarray(loss)),
        Entry(0, "backward", "dlogits", "(p - one-hot targets) / B", "", dlogits),
    ]


def _embedding(rng: np.random.Generator, sizes: dict[str, int]) -> tuple[Arrays, list[Entry]]:
    T, B, V, D = (sizes[letter] for letter in "TBVD")
    ids = rng.integers(V, size=(T, B))
    ids[-1] = ids[0]  # so that some repeat, whatever was drawn
    E, dx = rng.standard_normal((V, D)), rng.standard_normal((T, B, D))
    dE = embedding.backward(embedding.forward(ids, E)[1], dx)
    formula = "row k: sum of dx[t, b] over all places with ids[t, b] = k"
    return {"dx": dx, "ids": ids, "V": V}, [Entry(0, "backward", "dE", formula, "", dE)]


def _attention(rng: np.random.Generator, sizes: dict[str, int]) -> tuple[Arrays, list[Entry]]:
    T, S, B, A, M = (sizes[letter] for letter in "TSBAM")
    shapes = {"dcontext": (T, B, M), "q": (T, B, A), "k": (S, B, A), "v": (S, B, M)}
    names: Arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    q, k, v, dcontext = (names[name] for name in ("q", "k", "v", "dcontext"))
    context, weights, cache = attention.dot_forward(q, k, v)
    dq, dk, dv = attention.dot_backward(cache, dcontext)
    dweights = np.einsum("tbm,sbm->tbs", dcontext, v)
    dscores = weights * (dweights - (weights * dweights).sum(axis=2, keepdims=True))
    values = [
        ("forward", "scores", "scores[t, b, s] = q[t, b] . k[s, b]", np.einsum("tba,sba->tbs", q, k)),
        ("forward", "weights", "softmax(scores) over s", weights),
        ("forward", "context", "context[t, b] = sum over s of weights[t, b, s] v[s, b]", context),
        ("backward", "dweights", "dweights[t, b, s] = dcontext[t, b] . v[s, b]", dweights),
        ("backward", "dv", "dv[s, b] = sum over t of weights[t, b, s] dcontext[t, b]", dv),
        ("backward", "dscores", "weights (dweights - sum over s of weights dweights)", dscores),
        ("backward", "dq", "dq[t, b] = sum over s of dscores[t, b, s] k[s, b]", dq),
        ("backward", "dk", "dk[s, b] = sum over t of dscores[t, b, s] q[t, b]", dk),
    ]
    return names, [Entry(0, phase, name, formula, "", value) for phase, name, formula, value in values]


def _sizes(letters: str, *cases: tuple[int, ...]) -> tuple[dict[str, int], ...]:
    return tuple(dict(zip(letters, case)) for case in cases)


STEPS = _sizes("BDH", (1, 1, 1), (1, 3, 2), (3, 1, 2), (2, 4, 3), (4, 2, 5))
SEQUENCES = _sizes("TBDH", (1, 2, 3, 4), (2, 1, 1, 1), (3, 1, 4, 2), (5, 2, 3, 4), (4, 3, 2, 5))
CELLS = {"rnn": (RNN, "a vanilla network", "h"), "lstm": (LSTM, "an LSTM", "hc"), "gru": (GRU, "a GRU", "h")}
EQUATIONS = {
    "rnn": "h = tanh(x W + h_prev U + b)",
    "lstm": "c = f c_prev + i g, h = o tanh(c)",
    "gru": "h = z h_prev + (1 - z) n, n = tanh(x W_n + (r h_prev) U_n + b_n)",
}


def _tasks_of(cell: str) -> list[Task]:
    """A cell's step, the way back through it, and that through a sequence."""
    kind, article, states = CELLS[cell]

    def draw(rng: np.random.Generator, sizes: dict[str, int]) -> tuple[Arrays, list[Entry]]:
        return _recurrent(kind, rng, sizes)

    before = tuple(f"{letter}_prev" for letter in states)
    start = tuple(f"{letter}0" for letter in states)
    shapes = {"W": "(D, H)", "U": "(H, H)", "b": "(H,)"} if cell == "rnn" else {}
    weights = ("W", "U", "b")
    d_weights = ("dW", "dU", "db")
    back = ("dh", "dc_next")[: len(states)], ("dx", *(f"d{name}" for name in before), *d_weights)
    ends = tuple(f"d{letter}_T" for letter in states)
    through = ("dhs", *ends), ("dx", *(f"d{name}" for name in start), *d_weights)
    arrive = " and ".join(ends) + (" arrive" if len(ends) > 1 else " arrives")
    arrives = "dh is all that arrives at h" + (
        ", dc_next what arrives at c from the next step" if states == "hc" else ""
    )
    one_step = Task(
        f"{cell}_step",
        f"one step of {article}: {EQUATIONS[cell]}",
        ("x", *before, *weights),
        tuple(states),
        STEPS,
        draw,
        shapes,
    )
    step_backward = Task(
        f"{cell}_step_backward",
        f"back through one step of {article}; {arrives}",
        (*back[0], "x", *before, *weights),
        back[1],
        STEPS,
        draw,
        shapes,
    )
    backward = Task(
        f"{cell}_backward",
        f"{article}, forwards and back through time; {arrive} at the last state",
        (*through[0], "x", *start, *weights),
        through[1],
        SEQUENCES,
        draw,
        {**shapes, "x": "(T, B, D)"},
        {f"d{letter}0": f"d{letter}_prev" for letter in states},
    )
    return [one_step, step_backward, backward]


TASKS = {task.name: task for cell in CELLS for task in _tasks_of(cell)} | {
    task.name: task
    for task in (
        Task(
            "softmax_cross_entropy",
            "the mean of -log softmax(logits)[target], for logits of any size, and its gradient",
            ("logits", "targets"),
            ("loss", "dlogits"),
            tuple({"B": B, "K": K, "size": size} for B, K, size in ((1, 2, 1), (3, 4, 1), (5, 3, 10), (4, 5, 1000))),
            _softmax,
        ),
        Task(
            "embedding_backward",
            "x = E[ids] backwards: each row of dE, that of an id which occurs several times too",
            ("dx", "ids", "V"),
            ("dE",),
            _sizes("TBVD", (2, 1, 3, 2), (4, 3, 5, 2), (6, 2, 3, 4), (3, 2, 1, 3)),
            _embedding,
            {"dx": "(T, B, D)"},
        ),
        Task(
            "attention_backward",
            "context = softmax(q . k over s) v, forwards and back (dot products)",
            ("dcontext", "q", "k", "v"),
            ("dq", "dk", "dv"),
            _sizes("TSBAM", (1, 2, 1, 1, 1), (1, 4, 2, 3, 2), (3, 4, 2, 5, 6), (4, 3, 5, 2, 1)),
            _attention,
        ),
    )
}
