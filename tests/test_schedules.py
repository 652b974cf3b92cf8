"""Schedules: what tells two of them apart without calling either."""

from __future__ import annotations

import json
from functools import partial

import pytest

from rnnscratch.schedules import cosine_schedule, describe, step_schedule, warm_up


def rate(factor):
    return lambda step: 0.1 * factor**step


def refusing(step):
    raise AssertionError("a schedule was called behind its user's back")


DIFFERENT = [
    None,
    step_schedule(0.1, every=2000),
    step_schedule(0.1, every=5000),
    step_schedule(0.1, every=5000, factor=0.5),
    cosine_schedule(0.1, 100),
    cosine_schedule(0.1, 100, 0.01),
    warm_up(cosine_schedule(0.1, 100), 5),
    warm_up(cosine_schedule(0.1, 100), 6),
    rate(0.9),
    rate(0.8),
    lambda step: 0.1,
    lambda step: 0.2,
    partial(pow, 0.9),
    partial(pow, 0.8),
    warm_up(rate(0.9), 5),
    warm_up(rate(0.7), 5),
    refusing,
]


def test_equal_schedules_are_described_alike_and_others_apart():
    texts = [json.dumps(describe(each)) for each in DIFFERENT]
    assert len(set(texts)) == len(texts)
    assert describe(step_schedule(0.1, 2000)) == describe(DIFFERENT[1])
    assert describe(warm_up(rate(0.9), 5)) == describe(DIFFERENT[14])
    assert describe(rate(0.9)) == describe(DIFFERENT[8])


@pytest.mark.parametrize("step", [0, 7, 5000])
def test_the_schedules_are_the_formulas_of_their_docstrings(step):
    assert step_schedule(0.1, 2000, 0.5)(step) == 0.1 * 0.5 ** (step // 2000)
    assert warm_up(step_schedule(0.1, 2000), 10)(step) == pytest.approx(
        0.1 * 0.1 ** (step // 2000) * min((step + 1) / 10, 1)
    )
