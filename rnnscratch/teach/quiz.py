"""Find the bug: a backward pass in plain NumPy with one wrong line, its failing gradients, and hints on request.

All that is needed stands in what a puzzle prints: the code, and how its gradients compare. The line is found by
reading, by the ratios, and by trying other sizes; then it is mended, and the checker says whether that is right.

>>> puzzle = Quiz(seed=3).next()
>>> print(puzzle)                                                # doctest: +ELLIPSIS
One line of backward is wrong.
...
>>> puzzle.mend(puzzle.source)                                   # as it is, it stays wrong
False
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..gradcheck import CAUSES, GradientReport, check_gradients
from . import listings
from .listings import SLIPS, Slip

TRIES = 5  # answers and mends of a puzzle that count as solving it


class Puzzle:
    """One wrong backward pass.

    `source` is its text, `check(T=1)` compares its gradients for other sizes, `hint()` gives one more hint each time,
    `line(7)` and `answer(cause)` say whether that line, or that key of `CAUSES`, is it, `mend(...)` whether a text or a
    pair of functions is right. `solution()` tells all, once the puzzle is solved or given up.
    """

    def __init__(self, slip: Slip, seed: int = 0):
        self._slip, self._seed = slip, seed
        self.source = listings.source(slip.listing, slip)
        self._report = self.check()
        self._hints = self._make_hints()
        self.hints_used = 0
        self.tries = 0
        self.solved = False
        self.given_up = False

    @property
    def choices(self) -> dict[str, str]:
        """The causes that such a network can have, with what each means."""
        kinds = {slip.cause for slip in SLIPS if slip.listing == self._slip.listing}
        return {cause: text.replace("{detail}", "...") for cause, text in CAUSES.items() if cause in kinds}

    def check(self, **sizes: Any) -> GradientReport:
        """The report for other sizes, T steps, B sequences, H units, D inputs, `zero` for a start from zero; without
        the cause.
        """
        functions = listings.functions(self.source)
        report = check_gradients(functions, *listings.arguments(self._slip.listing, seed=self._seed, **sizes))
        report.cause, report.diagnosis = "", []
        for row in report.rows:
            row.cause = ""
        return report

    def mend(self, mended: Any) -> bool:
        """Whether this text, or pair (forward, backward), has right gradients, for several sizes.

        Raises SyntaxError for a text that is no Python, and whatever the functions raise.
        """
        functions = listings.functions(mended) if isinstance(mended, str) else mended
        listing = self._slip.listing
        sizes: tuple[dict[str, Any], ...] = ({}, {"T": 1}, {"T": 3, "B": 1, "H": 2, "D": 3})
        right = all(
            check_gradients(functions, *listings.arguments(listing, seed=self._seed + k, **each)).ok
            for k, each in enumerate(sizes)
        )
        return self._tried(right and self._same_forward(functions))

    def line(self, number: int) -> bool:
        """Whether the line of this number in the printed text is the wrong one."""
        return self._tried(number == self._place())

    def answer(self, cause: str) -> bool:
        """Whether this is the cause. Raises ValueError for a word that is none of `CAUSES`."""
        if cause not in CAUSES:
            raise ValueError(f"cause is {cause!r}, expected one of {', '.join(map(repr, CAUSES))}")
        return self._tried(cause == self._slip.cause)

    def hint(self) -> str:
        """The next hint, from a nudge to the line; the last one again when there is no further."""
        number = min(self.hints_used, len(self._hints) - 1)
        self.hints_used = number + 1
        return f"hint {number + 1} of {len(self._hints)}: {self._hints[number]}"

    def give_up(self) -> str:
        """The solution, and no more points."""
        self.given_up = True
        return self.solution()

    def solution(self) -> str:
        """The wrong line, the right one, and where it comes from. Raises RuntimeError before it is earned."""
        if not (self.solved or self.given_up):
            raise RuntimeError("the puzzle is not solved yet: mend it, or give_up()")
        slip = self._slip
        line = self.source.splitlines()[self._place() - 1].strip()
        right = listings.source(slip.listing).splitlines()[self._place() - 1].strip()
        return f"line {self._place()}: {line}\nright:   {right}\n{slip.story}"

    def __str__(self) -> str:
        numbered = "\n".join(f"{k:3}  {line}".rstrip() for k, line in enumerate(self.source.splitlines(), 1))
        return f"One line of backward is wrong.\n\n{numbered}\n\n{self._report}"

    def __repr__(self) -> str:
        return f"Puzzle(solved={self.solved}, tries={self.tries}, hints_used={self.hints_used})"

    def _tried(self, right: bool) -> bool:
        self.tries += 1
        self.solved = self.solved or (right and self.tries <= TRIES and not self.given_up)
        return right

    def _place(self) -> int:
        """The number of the wrong line."""
        pairs = zip(self.source.splitlines(), listings.source(self._slip.listing).splitlines())
        return next(k for k, (wrong, right) in enumerate(pairs, 1) if wrong != right)

    def _same_forward(self, functions: Any) -> bool:
        """Whether forward still computes what it did: a gradient that is right of something else mends nothing."""
        arguments = listings.arguments(self._slip.listing, seed=self._seed)
        theirs, ours = functions[0](*arguments)[0], listings.functions(self.source)[0](*arguments)[0]
        return np.shape(theirs) == np.shape(ours) and bool(np.allclose(theirs, ours, rtol=1e-9, atol=1e-12))

    def _make_hints(self) -> list[str]:
        whole = {row.name: row for row in self._report.rows if not row.part}
        wrong = [name for name, row in whole.items() if not row.ok]
        right = [name for name, row in whole.items() if row.ok]
        first = f"wrong are the gradients of {', '.join(wrong)}; right those of {', '.join(right) or 'none'}"
        constant = [row for row in whole.values() if not row.ok and row.spread < 1e-6 and math.isfinite(row.ratio)]
        if constant:
            second = f"that of {constant[0].name} is {constant[0].ratio:.4g} times the right one, everywhere"
        elif self._slip.listing in ("RNN", "LSTM", "GRU"):
            alone = self.check(T=1, zero=True)
            verdict = "right" if alone.ok else "wrong"
            second = f"for one step from a state of zero the gradients are {verdict}: check(T=1, zero=True)"
        else:
            second = "no ratio is the same everywhere: one term of a sum is missing or wrong"
        third = f"{CAUSES[self._slip.cause].replace('{detail}', '...')}".replace("{{", "{").replace("}}", "}")
        name = self.source.splitlines()[self._place() - 1].strip().partition("=")[0].strip(" +")
        return [first, second, third, f"look at the line that computes {name.partition('(')[0]}"]


class Quiz:
    """All slips in a random order, one puzzle after the other; `score()` says how it went."""

    def __init__(self, seed: int = 0):
        self._seed = seed
        self._order = np.random.default_rng(seed).permutation(len(SLIPS)).tolist()
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
        self.puzzles.append(Puzzle(SLIPS[self._order[len(self.puzzles)]], self._seed))
        return self.puzzles[-1]

    def score(self) -> dict[str, Any]:
        """How many were handed out, solved (within five tries), and solved at the first try without a hint."""
        solved = [puzzle for puzzle in self.puzzles if puzzle.solved]
        clean = [puzzle for puzzle in solved if puzzle.tries == 1 and not puzzle.hints_used]
        tries = sum(puzzle.tries for puzzle in self.puzzles)
        return {"handed out": len(self.puzzles), "solved": len(solved), "at first sight": len(clean), "tries": tries}
