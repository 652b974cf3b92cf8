"""The quiz hands out every mutant once, gives nothing away before it is asked, and knows the right answer."""

from __future__ import annotations

import pytest

from rnnscratch.gradcheck import CAUSES
from rnnscratch.teach.mutants import MUTANTS
from rnnscratch.teach.quiz import Puzzle, Quiz


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_only_the_right_cause_solves_a_puzzle(mutant):
    puzzle = Puzzle(mutant, seed=0)
    for cause in CAUSES:
        assert puzzle.answer(cause) == (cause == mutant.cause)
    assert puzzle.solved and puzzle.tries == len(CAUSES)
    assert mutant.__doc__.strip().split("\n")[0] in puzzle.solution()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_neither_name_nor_cause_nor_diagnosis_is_given_away(mutant):
    puzzle = Puzzle(mutant, seed=0)
    text = str(puzzle)
    assert text.split(",")[0].removeprefix("mystery layer: ") in {"RNN", "LSTM", "GRU", "Embedding", "Dropout"}
    assert "relative error" in text
    assert mutant.__name__ not in text and mutant.__name__ not in repr(puzzle)
    for line in puzzle.solution().split("\n"):
        assert line not in text


def test_hints_go_from_a_nudge_to_the_diagnosis():
    puzzle = Puzzle(MUTANTS[0], seed=0)
    hints = [puzzle.hint() for _ in range(5)]
    assert [hint[:11] for hint in hints] == ["hint 1 of 4", "hint 2 of 4", "hint 3 of 4", "hint 4 of 4", "hint 4 of 4"]
    assert repr(MUTANTS[0].cause) in hints[2] and repr(MUTANTS[0].cause) not in hints[0] + hints[1]
    assert hints[3] == hints[4] and hints[3].split(": ", 1)[1] in puzzle.solution()
    assert puzzle.hints_used == 4


def test_every_mutant_comes_once_and_the_score_counts():
    quiz = Quiz(seed=1)
    for number, puzzle in enumerate(quiz):
        if number == 0:
            puzzle.answer(puzzle._kind.cause)
        elif number == 1:
            puzzle.hint()
            puzzle.answer(puzzle._kind.cause)
    assert {puzzle._kind for puzzle in quiz.puzzles} == set(MUTANTS)
    assert quiz.score() == {"handed out": len(MUTANTS), "solved": 2, "at first sight": 1}
    with pytest.raises(IndexError, match="all 2. puzzles have been handed out"):
        quiz.next()


def test_a_word_that_is_no_cause_is_named():
    with pytest.raises(ValueError, match="cause is 'typo', expected one of 'changed arguments'"):
        Puzzle(MUTANTS[0], 0).answer("typo")
