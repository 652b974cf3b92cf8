"""Schedules: what tells two of them apart without calling either."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest

from rnnscratch.models import SequenceClassifier
from rnnscratch.optimizers import Adam
from rnnscratch.schedules import cosine_schedule, describe, step_schedule, warm_up
from rnnscratch.training import fit


def rate(factor):
    return lambda step: 0.1 * factor**step


def table(rates):
    return lambda step: rates[step]


def calling_itself(rate):
    def schedule(step):
        return rate if step == 0 else schedule(step - 1)

    return schedule


class Rates:
    def low(self, step):
        raise AssertionError("a schedule was called behind its user's back")

    def high(self, step):
        raise AssertionError("a schedule was called too")

    def __call__(self, step):
        raise AssertionError("a schedule was called behind its user's back")


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
    lambda step, rate=0.1: rate,
    lambda step, rate=0.2: rate,
    lambda step, *, rate=0.1: rate,
    lambda step, *, rate=0.2: rate,
    lambda step: (lambda: 0.1)(),
    lambda step: (lambda: 0.2)(),
    table(np.array([0.1, 0.2])),
    table(np.array([0.1, 0.3])),
    table({"rate": 0.1}),
    table({"rate": 0.2}),
    Rates().low,
    Rates().high,
    Rates(),
    calling_itself(0.1),
    calling_itself(0.2),
    lambda step: 0.1 if step in {1, 2} else 0.2,
    lambda step: 0.1 if step in {1, 3} else 0.2,
    table({1, 2}),
    table({1, 3}),
    table(b"12"),
    table(b"13"),
    [0.1, 0.2].__getitem__,
    [0.1, 0.3].__getitem__,
    np.array([0.1, 0.2]).__getitem__,
    np.array([0.1, 0.3]).__getitem__,
    {0: 0.1}.get,
    {0: 0.2}.get,
    abs,
    math.log,
    math.exp,
    np.exp,
    np.exp2,
]


def test_equal_schedules_are_described_alike_and_others_apart():
    texts = [json.dumps(describe(each)) for each in DIFFERENT]
    assert len(set(texts)) == len(texts)
    assert describe(step_schedule(0.1, 2000)) == describe(DIFFERENT[1])
    assert describe(warm_up(rate(0.9), 5)) == describe(DIFFERENT[14])
    assert describe(rate(0.9)) == describe(DIFFERENT[8])
    assert describe([0.1, 0.2].__getitem__) == describe([0.1, 0.2].__getitem__)
    assert describe(table({"a", "b"})) == describe(table({"b", "a"}))


@pytest.mark.parametrize("step", [0, 7, 5000])
def test_the_schedules_are_the_formulas_of_their_docstrings(step):
    assert step_schedule(0.1, 2000, 0.5)(step) == 0.1 * 0.5 ** (step // 2000)
    assert warm_up(step_schedule(0.1, 2000), 10)(step) == pytest.approx(
        0.1 * 0.1 ** (step // 2000) * min((step + 1) / 10, 1)
    )


def test_a_function_whose_variable_has_no_value_yet_is_described():
    if rate is None:
        later = 0.1
    assert json.dumps(describe(lambda step: later))


@pytest.mark.parametrize("resume", [False, True])
def test_fit_calls_a_schedule_once_an_update_and_never_else(tmp_path, resume):
    calls = []

    def schedule(step):
        calls.append(step)
        return 0.01

    model = SequenceClassifier(5, 2, 2, seed=0)
    data = [np.array([1, 2]), np.array([3]), np.array([4, 1])], [0, 1, 0]
    options = {"epochs": 2, "batch_size": 2, "schedule": schedule, "progress": False, "checkpoint": tmp_path / "c.npz"}
    fit(model, data, optimizer=Adam(), resume=resume, **options)
    assert calls == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="unexpected keyword"):
        fit(model, data, optimizer=Adam(), schedules=refusing)
    with pytest.raises(ValueError, match="epochs is 0"):
        fit(model, data, optimizer=Adam(), **{**options, "epochs": 0})
    assert calls == [0, 1, 2, 3]
