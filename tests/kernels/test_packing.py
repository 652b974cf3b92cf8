"""Packing: what belongs to which step, in both directions, and the bidirectional layer without any reversal."""

from __future__ import annotations

import numpy as np
import pytest
from cells import KERNELS, draw, relative_error, upstream
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.kernels import packing, sequence
from rnnscratch.kernels.packing import Plan, pack

NAMES = list(KERNELS)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 2))
def test_packing_keeps_the_real_steps_and_nothing_else(lengths, extra):
    T, B = max(lengths) + extra, len(lengths)
    x = np.arange(T * B * 2.0).reshape(T, B, 2) + 1
    data, plan = pack(x, lengths)
    real = np.arange(T)[:, None] < np.array(lengths)
    assert plan.N == len(data) == sum(lengths)
    assert np.array_equal(plan.unpack(data), np.where(real[:, :, None], x, 0))
    assert np.array_equal(plan.unpack(data, -data)[:, :, 2:], np.where(real[:, :, None], -x, 0))
    assert np.array_equal(data[:, 0], x[:, :, 0].ravel()[plan.sequence + B * _times(plan)])
    values = np.arange(B)
    assert np.array_equal(plan.unsort(plan.sort(values)), values)
    assert plan.sorted_lengths.tolist() == sorted(lengths, reverse=True)


def _times(plan):
    return np.concatenate([np.full(s.rows.stop - s.rows.start, s.time) for c in plan.chunks for s in c.steps])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_a_step_leads_from_its_early_slot_to_its_late_one(lengths):
    plan = Plan(max(lengths), len(lengths), lengths)
    slots = np.arange(plan.B + plan.N)
    rows = slice(0, plan.N)
    early, late = plan.early_states(slots, rows), plan.late_states(slots, rows)
    for chunk in plan.chunks:
        for step in chunk.steps:
            assert np.array_equal(early[step.rows], slots[step.early])
            assert np.array_equal(late[step.rows], slots[step.late])
    times, ends = _times(plan), np.arange(plan.N, plan.N + plan.B) if plan.ends is None else plan.ends
    for b, length in enumerate(lengths):
        mine = np.flatnonzero(plan.sequence == b)
        assert times[mine].tolist() == list(range(length))
        assert early[mine][1:].tolist() == late[mine][:-1].tolist()  # each step goes on where the last one ended
        assert late[mine][-1] == ends[b]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 2, 4, 2], [1, 5, 3, 4]])
@pytest.mark.parametrize("name", NAMES)
def test_reading_backwards_equals_reading_the_reversed_sequences(name, lengths, masked, rng):
    """Outputs, final states, and all gradients, with random upstreams and initial states."""
    T, B, D, H = 5, 4, 2, 3
    cell = KERNELS[name].cell
    a = draw(name, rng, T, B, D, H, float)
    dhs, dstate = upstream(name, rng, T, B, H, float)
    mask = (rng.random((B, H)) < 0.6) / 0.6 if masked else None
    given_lengths = None if lengths is None else np.array(lengths)
    state, ends = tuple(a[f"{s}0"] for s in cell.states), tuple(dstate.values())
    further = {key: a[key] for key in cell.weights}
    plan = Plan(T, B, lengths)
    for truncate in (None, 2):
        hs, final, cache = sequence.run(
            cell, plan, plan.pack(a["x"]), state, a["W"], a["U"], a["b"], further, mask, backwards=True
        )
        dx, initial, grads = sequence.run_back(cache, plan.pack(dhs), ends, truncate)
        turned = packing.reverse(a["x"], given_lengths)
        hs_turned, final_turned, cache = sequence.forward(
            cell, turned, state, a["W"], a["U"], a["b"], lengths, mask, **further
        )
        dx_turned, initial_turned, *grads_turned = sequence.backward(
            cache, packing.reverse(dhs, given_lengths), ends, truncate
        )
        real = np.ones((T, B, 1)) if lengths is None else (np.arange(T)[:, None] < given_lengths)[:, :, None]
        assert relative_error(plan.unpack(hs), packing.reverse(hs_turned, given_lengths) * real) < 1e-13
        assert relative_error(plan.unpack(dx), packing.reverse(dx_turned, given_lengths) * real) < 1e-12
        pairs = zip((*final, *initial, *grads.values()), (*final_turned, *initial_turned, *grads_turned))
        for found, right in pairs:
            assert relative_error(found, right) < 1e-12


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lengths", [None, [6, 2, 5, 5]])
@pytest.mark.parametrize("name", NAMES)
def test_keeping_nothing_changes_no_bit(name, lengths, backwards, rng, monkeypatch):
    a = draw(name, rng, 6, 4, 2, 3, float)
    cell = KERNELS[name].cell
    state, further = tuple(a[f"{s}0"] for s in cell.states), {key: a[key] for key in cell.weights}
    mask = (rng.random((4, 3)) < 0.6) / 0.6
    for rows in (7, 1000):
        monkeypatch.setattr(packing, "CHUNK_ROWS", rows)
        plan = Plan(6, 4, lengths)
        found = [
            sequence.run(cell, plan, plan.pack(a["x"]), state, a["W"], a["U"], a["b"], further, mask, backwards, keep)
            for keep in (True, False)
        ]
        (hs, final, _), (hs_light, final_light, cache) = found
        assert cache is None
        assert np.array_equal(hs, hs_light)
        assert all(np.array_equal(one, other) for one, other in zip(final, final_light))
