"""The quiz: every slip is a wrong gradient that the checker names; a puzzle shows all that is needed and no more."""

from __future__ import annotations

import itertools

import pytest

import rnnscratch as rs
from rnnscratch.gradcheck import CAUSES
from rnnscratch.teach import listings
from rnnscratch.teach.listings import LISTINGS, SLIPS
from rnnscratch.teach.quiz import TRIES, Puzzle, Quiz

ids = [f"{slip.listing}: {slip.wrong}" for slip in SLIPS]


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("sizes", [{}, {"T": 1, "B": 1}, {"T": 5, "H": 2, "D": 3, "zero": True}])
def test_the_listings_are_right(listing, sizes):
    report = rs.check_gradients(
        listings.functions(listings.source(listing)), *listings.arguments(listing, seed=1, **sizes)
    )
    assert report.ok and report.max_error < 1e-12, str(report)


@pytest.mark.parametrize("slip", SLIPS, ids=ids)
def test_every_slip_is_one_line_and_the_checker_names_it(slip):
    right, wrong = (listings.source(slip.listing, each).splitlines() for each in (None, slip))
    assert len(right) == len(wrong) and sum(a != b for a, b in zip(right, wrong)) == 1
    for seed in range(3):
        functions = listings.functions(listings.source(slip.listing, slip))
        report = rs.check_gradients(functions, *listings.arguments(slip.listing, seed=seed))
        assert not report.ok and report.cause == slip.cause, f"{slip.cause}\n{report}"


@pytest.mark.parametrize("slip", SLIPS, ids=ids)
def test_a_puzzle_is_solved_by_its_line_or_by_mending_it_and_gives_nothing_away(slip):
    puzzle = Puzzle(slip)
    text = str(puzzle)
    assert all(line in text for line in puzzle.source.splitlines()) and "ratio" in text and "WRONG" in text
    for secret in (slip.story, slip.right.strip(), CAUSES[slip.cause][:40]):
        assert secret not in text.replace(slip.wrong, "")
    assert text.split("\n\n")[0] == "One line of backward is wrong." and "Puzzle(solved=False" in repr(puzzle)
    with pytest.raises(RuntimeError, match="not solved yet"):
        puzzle.solution()
    assert not puzzle.mend(puzzle.source) and not puzzle.solved
    assert puzzle.mend(listings.source(slip.listing)) and puzzle.solved and puzzle.tries == 2
    assert slip.story in puzzle.solution() and slip.wrong.strip() in puzzle.solution()
    number = int(puzzle.solution().split(":")[0].removeprefix("line "))
    fresh = Puzzle(slip)
    assert [k for k in range(1, 40) if Puzzle(slip).line(k)] == [number] and fresh.line(number) and fresh.solved


def test_causes_offered_are_those_of_the_network():
    for slip in SLIPS:
        puzzle = Puzzle(slip)
        assert slip.cause in puzzle.choices
        assert "gates exchanged" not in puzzle.choices or slip.listing == "LSTM"
        assert [cause for cause in puzzle.choices if Puzzle(slip).answer(cause)] == [slip.cause]
    with pytest.raises(ValueError, match="cause is 'typo', expected one of 'changed arguments'"):
        puzzle.answer("typo")


def test_hints_go_from_a_nudge_to_the_line():
    puzzle = Puzzle(SLIPS[0])
    hints = [puzzle.hint() for _ in range(5)]
    assert [hint[:11] for hint in hints] == ["hint 1 of 4", "hint 2 of 4", "hint 3 of 4", "hint 4 of 4", "hint 4 of 4"]
    assert "wrong are the gradients of" in hints[0] and "check(T=1, zero=True)" in hints[1]
    assert "symmetric" in hints[2] and hints[3].endswith("computes dh") and puzzle.hints_used == 4
    by_ratio = Puzzle(next(slip for slip in SLIPS if slip.cause == "scale"))
    assert "that of b is 0.3333 times the right one, everywhere" in [by_ratio.hint() for _ in range(2)][1]


def test_other_sizes_may_be_tried():
    puzzle = Puzzle(SLIPS[0])
    assert puzzle.check(T=1).rows and not puzzle.check(T=3, B=1, H=2, D=3).ok
    assert all(row.ok for row in puzzle.check(T=1).rows if row.name == "W")
    assert puzzle.check().cause == "" and puzzle.check().diagnosis == []


def test_what_mends_nothing_is_not_taken():
    puzzle = Puzzle(SLIPS[0])
    other = puzzle.source.replace("np.tanh(x_t @ W + hs[-1] @ U + b)", "x_t @ W + b + 0 * hs[-1] @ U")
    other = other.replace("(1 - hs[t + 1] ** 2)", "1").replace("dh = dz @ U", "dh = 0 * dz @ U")
    other = other.replace("dU += hs[t].T @ dz", "dU += 0 * hs[t].T @ dz")
    assert not puzzle.mend(other)  # another network, whose gradients are right
    with pytest.raises(SyntaxError):
        puzzle.mend("def backward(:")
    with pytest.raises(ValueError, match="there is no function forward in it"):
        puzzle.mend("x = 1")
    assert puzzle.mend(listings.functions(listings.source("RNN")))


def test_tries_are_limited_and_giving_up_counts_nothing():
    puzzle = Puzzle(SLIPS[0])
    for _ in range(TRIES):
        assert not puzzle.answer("slope")
    assert puzzle.answer(SLIPS[0].cause) and not puzzle.solved
    given_up = Puzzle(SLIPS[0])
    assert SLIPS[0].story in given_up.give_up() and given_up.answer(SLIPS[0].cause) and not given_up.solved


def test_every_slip_comes_once_and_the_score_counts():
    quiz = Quiz(seed=1)
    for number, puzzle in enumerate(quiz):
        if number == 0:
            puzzle.answer(puzzle._slip.cause)
        elif number == 1:
            puzzle.hint()
            puzzle.answer(puzzle._slip.cause)
    assert {puzzle._slip for puzzle in quiz.puzzles} == set(SLIPS)
    assert quiz.score() == {"handed out": len(SLIPS), "solved": 2, "at first sight": 1, "tries": 2}
    with pytest.raises(IndexError, match="all 21 puzzles have been handed out"):
        quiz.next()


def test_no_two_puzzles_look_alike():
    texts = [str(Puzzle(slip)) for slip in SLIPS]
    assert all(one != other for one, other in itertools.combinations(texts, 2))
