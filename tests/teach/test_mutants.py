"""Wrong backward passes are rejected, and the checker says what is wrong with each."""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch.models.classifier import CELLS
from rnnscratch.teach.mutants import CORRECT, MUTANTS, RECURRENT_MUTANTS, example


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_rejected_and_its_cause_found(mutant, seed):
    target, inputs, options = example(mutant, seed)
    report = rs.check_gradients(target, *inputs, **options, seed=seed)
    assert not report.ok
    assert report.cause == mutant.cause, str(report)
    assert report.diagnosis


@pytest.mark.parametrize("lengths", [None, [5, 3, 4]])
@pytest.mark.parametrize("correct", CORRECT, ids=lambda correct: correct.__name__)
def test_without_the_mutation_the_gradients_are_right(correct, lengths):
    target, inputs, options = example(correct)
    report = rs.check_gradients(target, *inputs, **{**options, "lengths": lengths})
    assert report.ok, str(report)
    assert report.max_error < 1e-12


@pytest.mark.parametrize("lengths", [None, [5, 3, 4]])
@pytest.mark.parametrize(("plain", "layer"), [(plain, plain.__bases__[1]) for plain in CORRECT], ids=CELLS)
def test_the_plain_layers_agree_with_the_fast_ones(plain, layer, lengths):
    ours, inputs, options = example(plain)
    fast = layer(3, 4, dtype="float64")
    for name, array in ours.params.items():
        fast.params[name][...] = array
    options["lengths"] = lengths
    rng = np.random.default_rng(1)
    results = []
    for target in (ours, fast):
        hs, state = target.forward(*inputs, **options)
        upstream = rng.standard_normal(hs.shape) if not results else results[0][0]
        dx, dstate = target.backward(upstream, state)
        flat = [part for value in (state, dstate) for part in (value if isinstance(value, tuple) else (value,))]
        results.append((upstream, hs, dx, *flat, *target.grads.values()))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-6 if ours.dtype == np.float32 else 1e-12, atol=2e-6)


def test_there_are_mutants_of_every_cell_and_each_says_where_it_was_seen():
    assert len(MUTANTS) >= 20
    assert {base.__name__ for mutant in RECURRENT_MUTANTS for base in mutant.__bases__} >= {
        "PlainRNN",
        "PlainLSTM",
        "PlainGRU",
    }
    assert all(mutant.__doc__ for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", RECURRENT_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_found_without_a_state_being_given(mutant):
    target, inputs, options = example(mutant)
    report = rs.check_gradients(target, *inputs, lengths=options["lengths"])
    assert report.cause == mutant.cause, str(report)
