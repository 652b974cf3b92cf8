"""Find the bug: a wrong backward pass under a neutral name, its failing gradient report, and hints on request.

>>> puzzle = Quiz(seed=3).next()
>>> print(puzzle)                                                # doctest: +ELLIPSIS
mystery layer: ...
gradient of ...
>>> puzzle.answer("sign") in (True, False)
True
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..gradcheck import CAUSES, GradientReport, check_gradients
from ..layers import GRU, LSTM, RNN
from .mutants import MUTANTS, example


class Puzzle:
    """One wrong backward pass. `layer`, `inputs` and `options` are there to experiment with.

    `check_gradients(puzzle.layer, *puzzle.inputs, **puzzle.options)` would tell the cause; `print(puzzle)` shows its
    figures alone. `hint()` gives one more hint each time, `answer(cause)` says whether a key of `CAUSES` is right.
    """

    def __init__(self, kind: type, seed: int):
        self._kind = kind
        self.layer, self.inputs, self.options = example(kind, seed)
        self._report: GradientReport = check_gradients(self.layer, *self.inputs, **self.options)
        self._hints = self._make_hints()
        self.hints_used = 0
        self.tries = 0
        self.solved = False

    @property
    def choices(self) -> dict[str, str]:
        """All causes that there are, with what each means."""
        return {cause: text.replace("{detail}", "...") for cause, text in CAUSES.items()}

    def hint(self) -> str:
        """The next hint, from a nudge to the diagnosis; the last one again when there is no further."""
        number = min(self.hints_used, len(self._hints) - 1)
        self.hints_used = number + 1
        return f"hint {number + 1} of {len(self._hints)}: {self._hints[number]}"

    def answer(self, cause: str) -> bool:
        """Whether this is the cause. Raises ValueError for a word that is none of `CAUSES`."""
        if cause not in CAUSES:
            raise ValueError(f"cause is {cause!r}, expected one of {', '.join(map(repr, CAUSES))}")
        self.tries += 1
        self.solved = self.solved or cause == self._report.cause
        return cause == self._report.cause

    def solution(self) -> str:
        """What is wrong, and where such a bug was seen."""
        return "\n".join([*self._report.diagnosis, textwrap.dedent(self._kind.__doc__ or "").strip()])

    def __str__(self) -> str:
        table = str(self._report).partition("\n\n")[0].split("\n")
        cut = table[0].index("cause") if "cause" in table[0] else None
        rows = "\n".join(line[:cut].rstrip() for line in table)
        cell = next((each.__name__ for each in (RNN, LSTM, GRU) if isinstance(self.layer, each)), None)
        return (
            f"mystery layer: {cell or self._kind.__bases__[0].__name__}, with something wrong on the way back\n{rows}"
        )

    def __repr__(self) -> str:
        return f"Puzzle(solved={self.solved}, tries={self.tries}, hints_used={self.hints_used})"

    def _make_hints(self) -> list[str]:
        report = self._report
        right = [row.name for row in report.rows if row.ok and not row.part]
        wrong = [row.name for row in report.rows if not row.ok and not row.part]
        first = f"wrong are the gradients of {', '.join(wrong) or 'none'}; right those of {', '.join(right) or 'none'}"
        steps = [row.part for row in report.rows if not row.ok and row.part]
        second = (
            f"among the parts, wrong are {', '.join(dict.fromkeys(steps))}" if steps else "every part is wrong alike"
        )
        rng = np.random.default_rng(len(report.cause))
        others = [cause for cause in CAUSES if cause != report.cause]
        three = sorted([report.cause, *rng.choice(others, 2, replace=False).tolist()])
        third = "it is one of these: " + "; ".join(f"{cause!r} ({self.choices[cause]})" for cause in three)
        return [first, second, third, *report.diagnosis[:1]]


class Quiz:
    """All mutants in a random order, one puzzle after the other; `score()` says how it went."""

    def __init__(self, seed: int = 0):
        self._seed = seed
        self._order = np.random.default_rng(seed).permutation(len(MUTANTS)).tolist()
        self.puzzles: list[Puzzle] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Puzzle]:
        while len(self.puzzles) < len(self):
            yield self.next()

    def next(self) -> Puzzle:
        """A new puzzle. Raises IndexError when all have been handed out."""
        if len(self.puzzles) == len(self):
            raise IndexError(f"all {len(self)} puzzles have been handed out; Quiz(seed) begins anew")
        self.puzzles.append(Puzzle(MUTANTS[self._order[len(self.puzzles)]], self._seed))
        return self.puzzles[-1]

    def score(self) -> dict[str, Any]:
        """How many were handed out, solved, and solved at the first try without a hint."""
        solved = [puzzle for puzzle in self.puzzles if puzzle.solved]
        clean = [puzzle for puzzle in solved if puzzle.tries == 1 and not puzzle.hints_used]
        return {"handed out": len(self.puzzles), "solved": len(solved), "at first sight": len(clean)}
