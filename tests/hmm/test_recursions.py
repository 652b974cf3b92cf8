"""The recursions against enumeration of all paths, in every layout; and in complex step, on long and on wide data."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import strict_xp
from brute import enumerate_paths
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.hmm import chunks, inference, recursions
from rnnscratch.hmm.frames import lay_out, piece_length

CLOSE = {"rtol": 1e-12, "atol": 1e-13}


@st.composite
def problems(draw, most_states=3, most_frames=6, zeros=True):
    """log_b (N, M), start, transmat and ragged lengths; some probabilities are exactly zero, the likelihood is not."""
    N = draw(st.integers(1, most_states))
    lengths = draw(st.lists(st.integers(1, most_frames), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    log_b = np.log(rng.random((N, sum(lengths)))) * draw(st.sampled_from([1.0, 5.0]))
    log_b += rng.normal(0, draw(st.sampled_from([0.0, 300.0])), sum(lengths))  # the scale of a frame does not matter
    start, transmat = rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(N), N)
    if zeros and N > 1 and draw(st.booleans()):
        transmat[0, 1] = 0
        transmat[0] /= transmat[0].sum()
        start[-1] = 0
        start /= start.sum()
    return log_b, start, transmat, np.array(lengths)


def by_sequence(log_b, lengths):
    return np.split(log_b, np.cumsum(lengths)[:-1], axis=1)


@settings(max_examples=150, deadline=None)
@given(problem=problems(), piece=st.sampled_from([None, 1, 2, 3]))
def test_expectation_is_what_enumeration_finds(problem, piece):
    """Sums of p(z, x) (Eq. 57) over all paths z, given the log emissions of every frame."""
    log_b, start, transmat, lengths = problem
    frames = lay_out(lengths, piece)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    total = inference.log_likelihood(log_b[:, frames.rows], start, transmat, frames)
    pairs, starts = np.zeros_like(transmat), np.zeros_like(start)
    for s, part in enumerate(by_sequence(log_b, lengths)):
        shift = part.max(axis=0)
        expected = enumerate_paths(np.exp(part - shift), start, transmat)
        columns = frames.sequence(s)
        np.testing.assert_allclose(found.filtered[:, columns], expected.filtered, **CLOSE)
        np.testing.assert_allclose(found.posterior[:, columns], expected.posterior, **CLOSE)
        np.testing.assert_allclose(
            found.log_likelihood[s], np.log(expected.likelihood) + shift.sum(), rtol=1e-12, atol=1e-12
        )
        pairs += expected.pairs
        starts += expected.posterior[:, 0]
    np.testing.assert_allclose(found.pairs, pairs, **CLOSE)
    np.testing.assert_allclose(found.start, starts, **CLOSE)
    np.testing.assert_allclose(total, found.log_likelihood, rtol=1e-13)
    assert found.impossible == []


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_log_space_is_what_enumeration_finds(problem):
    log_b, start, transmat, lengths = problem
    for part in by_sequence(log_b, lengths):
        shift = part.max(axis=0)
        expected = enumerate_paths(np.exp(part - shift), start, transmat)
        found = inference.log_space(part, start, transmat)
        np.testing.assert_allclose(found.filtered, expected.filtered, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found.posterior, expected.posterior, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found.pairs, expected.pairs, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found.log_likelihood[0], np.log(expected.likelihood) + shift.sum(), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(problem=problems(zeros=False), k=st.integers(1, 12))
def test_viterbi_and_the_k_best_paths_are_those_of_enumeration(problem, k):
    log_b, start, transmat, lengths = problem
    frames = lay_out(lengths)
    states, log_probability = recursions.viterbi(log_b[:, frames.rows], np.log(start), np.log(transmat), frames)
    for s, part in enumerate(by_sequence(log_b, lengths)):
        shift = part.max(axis=0)
        expected = enumerate_paths(np.exp(part - shift), start, transmat).paths
        assert tuple(states[frames.sequence(s)]) == expected[0][1]
        np.testing.assert_allclose(log_probability[s], np.log(expected[0][0]) + shift.sum(), rtol=1e-12, atol=1e-12)
        logs, paths = recursions.best_paths(part, np.log(start), np.log(transmat), k)
        assert [tuple(path) for path in paths] == [path for _, path in expected[:k]]
        np.testing.assert_allclose(logs, np.log([p for p, _ in expected[:k]]) + shift.sum(), rtol=1e-12, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(problem=problems(), piece=st.integers(1, 4))
def test_viterbi_in_pieces_finds_the_same_paths(problem, piece):
    log_b, start, transmat, lengths = problem
    plain, cut = lay_out(lengths), lay_out(lengths, piece)
    with np.errstate(divide="ignore"):
        logs = np.log(start), np.log(transmat)
    states, best = recursions.viterbi(log_b[:, plain.rows], *logs, plain)
    found, score = chunks.viterbi(log_b[:, cut.rows], *logs, cut)
    np.testing.assert_array_equal(found[cut.columns], states[plain.columns])
    np.testing.assert_allclose(score, best, rtol=1e-12, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(problem=problems(most_states=4), pairs=st.sampled_from([1, 20, 65_536]), ties=st.booleans())
def test_viterbi_in_blocks_finds_what_the_plain_one_finds_to_the_bit(problem, pairs, ties):
    log_b, start, transmat, lengths = problem
    log_b = np.round(log_b) if ties else log_b
    frames = lay_out(lengths)
    with np.errstate(divide="ignore"):
        logs = np.log(start), np.log(transmat)
    states, best = recursions.viterbi(log_b[:, frames.rows], *logs, frames)
    with mock.patch.object(chunks, "PAIRS", pairs):
        found, score = chunks.viterbi(log_b[:, frames.rows], *logs, frames)
    np.testing.assert_array_equal(found, states)
    np.testing.assert_array_equal(score, best)


def test_viterbi_in_pieces_of_a_long_sequence_finds_the_same_path():
    log_b, start, transmat, lengths = random_problem(4, [5000, 800], spread=2.0)
    plain, cut = lay_out(lengths), lay_out(lengths, 57)
    states, best = recursions.viterbi(log_b[:, plain.rows], np.log(start), np.log(transmat), plain)
    found, score = chunks.viterbi(log_b[:, cut.rows], np.log(start), np.log(transmat), cut)
    np.testing.assert_array_equal(found[cut.columns], states[plain.columns])
    np.testing.assert_allclose(score, best, rtol=1e-12)


@pytest.mark.parametrize("piece", [None, 5])
def test_a_reached_state_a_thousand_nats_below_the_others_loses_nothing(piece):
    """In a map its column is 0 beside the others; the sequence is then done in log space."""
    N, T = 3, 20
    start, transmat = np.array([0.0, 0.0, 1.0]), np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    log_b = np.random.default_rng(0).normal(0, 1, (N, T))
    log_b[2] -= 500.0
    frames = lay_out([T], piece)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    np.testing.assert_allclose(found.log_likelihood, [log_b[2].sum()], rtol=1e-13)
    np.testing.assert_array_equal(found.posterior, np.repeat([[0.0], [0.0], [1.0]], T, axis=1))
    np.testing.assert_allclose(found.pairs, np.diag([0, 0, T - 1.0]), atol=1e-12)


def test_paths_of_probability_zero_are_not_among_the_k_best():
    with np.errstate(divide="ignore"):
        logs, paths = recursions.best_paths(np.zeros((2, 3)), np.log([1.0, 0.0]), np.log([[0.5, 0.5], [0.0, 1.0]]), 10)
    assert [tuple(path) for path in paths] == [(0, 1, 1), (0, 0, 0), (0, 0, 1)]
    np.testing.assert_allclose(np.exp(logs), [0.5, 0.25, 0.25])


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_back_propagation_finds_the_expected_counts_as_fisher_says(problem):
    log_b, start, transmat, lengths = problem
    frames = lay_out(lengths)
    b, _ = inference.scaled(log_b[:, frames.rows])
    counts = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    dstart, dtransmat, dlog_b = recursions.gradient(b, start, transmat, frames)
    np.testing.assert_allclose(dstart, counts.start, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dtransmat, counts.pairs, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dlog_b, counts.posterior, rtol=1e-11, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(problem=problems(zeros=False), seed=st.integers(0, 1000))
def test_back_propagation_agrees_with_the_complex_step(problem, seed):
    log_b, start, transmat, lengths = problem
    frames, rng, h = lay_out(lengths), np.random.default_rng(seed), 1e-200
    b, _ = inference.scaled(log_b[:, frames.rows])
    directions = [rng.standard_normal(array.shape) for array in (start, transmat, b)]
    gradients = recursions.gradient(b, start, transmat, frames)
    steps = [array * np.exp(1j * h * d) for array, d in zip((start, transmat, b), directions)]
    _, scale = recursions.forward(steps[2], steps[0], steps[1], frames)
    derivative = np.log(scale).sum().imag / h
    np.testing.assert_allclose(
        sum((g * d).sum() for g, d in zip(gradients, directions)), derivative, rtol=1e-11, atol=1e-11
    )


def random_problem(N, lengths, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    log_b = spread * rng.standard_normal((N, sum(lengths)))
    return log_b, rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(N), N), np.array(lengths)


@pytest.mark.parametrize("N", [1, 2, 5, 16])
@pytest.mark.parametrize("lengths", [[3000], [2000, 1, 700], [500] * 3])
def test_pieces_change_nothing(N, lengths):
    log_b, start, transmat, sizes = random_problem(N, lengths, spread=3.0)
    plain, cut = lay_out(sizes), lay_out(sizes, 37)
    one = inference.expectation(log_b[:, plain.rows], start, transmat, plain)
    two = inference.expectation(log_b[:, cut.rows], start, transmat, cut)
    np.testing.assert_allclose(two.log_likelihood, one.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(two.posterior[:, cut.columns], one.posterior[:, plain.columns], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(two.filtered[:, cut.columns], one.filtered[:, plain.columns], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(two.pairs, one.pairs, rtol=1e-11)


def test_pieces_of_a_chain_with_zeros_change_nothing():
    N, T = 4, 1000
    transmat = np.triu(np.random.default_rng(0).random((N, N)))  # left to right: states that are gone for good
    transmat /= transmat.sum(axis=1, keepdims=True)
    transmat[0, 0], transmat[0, 1:] = 0.999, 0.001 / 3
    log_b, start = random_problem(N, [T], 1)[0], np.eye(N)[0]
    plain, cut = lay_out([T]), lay_out([T], 31)
    one = inference.expectation(log_b[:, plain.rows], start, transmat, plain)
    two = inference.expectation(log_b[:, cut.rows], start, transmat, cut)
    np.testing.assert_allclose(two.log_likelihood, one.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(two.posterior[:, cut.columns], one.posterior, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(two.pairs, one.pairs, rtol=1e-10, atol=1e-13)


def test_long_sequences_are_cut_and_short_ones_are_not():
    assert piece_length(np.array([100_000]), 4) is not None
    assert piece_length(np.array([100_000]), 64) is None
    assert piece_length(np.full(500, 100), 4) is None
    assert piece_length(np.array([20]), 2) is None


@pytest.mark.parametrize("piece", [None, 2])
def test_states_that_only_logarithms_can_hold_apart_are_done_in_log_space(piece):
    """The likely state cannot be reached, and the other lies 2000 nats below it: e^-2000 is 0 to a float."""
    start, transmat = np.array([0.0, 1.0]), np.array([[0.5, 0.5], [0.0, 1.0]])
    log_b = np.zeros((2, 7))
    log_b[1, 2] = -2000.0
    frames = lay_out([4, 3], piece)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    np.testing.assert_allclose(found.log_likelihood, [-2000.0, 0.0])
    np.testing.assert_array_equal(found.posterior, np.tile([[0.0], [1.0]], 7))
    np.testing.assert_array_equal(found.pairs, [[0, 0], [0, 5]])


@pytest.mark.parametrize("piece", [None, 4])
def test_states_that_several_frames_together_put_out_of_reach_are_done_in_log_space(piece):
    """No frame alone does: beta grows by 1e140 three times, beyond all doubles, where alpha has become 0."""
    start, transmat = np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.0, 1.0]])
    steps = np.array([0, 0, 0, -330, -330, -330, 0, 0, 330, 330, 330, 330, 0, 0], float)
    log_b = np.stack([np.minimum(steps, 0.0), -np.maximum(steps, 0.0)])
    log_b[1, :3] = -500.0
    frames = lay_out([len(steps)], piece)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    right = inference.log_space(log_b, start, transmat)
    np.testing.assert_allclose(found.posterior[:, frames.columns], right.posterior, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(found.pairs, right.pairs, rtol=1e-10)
    np.testing.assert_allclose(found.log_likelihood, right.log_likelihood, rtol=1e-12)


@pytest.mark.parametrize("piece", [None, 2])
def test_an_impossible_frame_is_named_and_left_out_of_the_posteriors(piece):
    log_b, start, transmat, lengths = random_problem(3, [4, 5, 2])
    log_b[:, 6] = -np.inf  # frame 2 of sequence 1
    frames = lay_out(lengths, piece)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    assert found.impossible == [(1, 2)]
    assert found.log_likelihood[1] == -np.inf and np.isfinite(found.log_likelihood[[0, 2]]).all()
    missing = log_b.copy()
    missing[:, 6] = 0.0
    expected = inference.expectation(missing[:, frames.rows], start, transmat, frames)
    np.testing.assert_allclose(found.posterior, expected.posterior, rtol=1e-12)
    np.testing.assert_allclose(found.pairs, expected.pairs, rtol=1e-12)
    assert inference.log_likelihood(log_b[:, frames.rows], start, transmat, frames)[1] == -np.inf


def test_sampled_paths_follow_the_posterior():
    log_b, start, transmat, lengths = random_problem(3, [4, 2, 5], 3)
    transmat[0] = [0.0, 0.5, 0.5]
    frames = lay_out(lengths)
    found = inference.expectation(log_b[:, frames.rows], start, transmat, frames)
    n = 40_000
    uniforms = np.random.default_rng(0).random((n, 11))
    paths = recursions.sample_paths(found.filtered, transmat, frames, uniforms)
    for k in range(3):
        np.testing.assert_allclose((paths == k).mean(axis=0), found.posterior[k], atol=5 * 0.5 / np.sqrt(n))
    counts = np.zeros((3, 3))
    for s in range(3):
        path = paths[:, frames.sequence(s)]
        np.add.at(counts, (path[:, :-1], path[:, 1:]), 1)
    assert counts[0, 0] == 0
    np.testing.assert_allclose(counts / n, found.pairs, atol=0.03)


def test_rounding_never_picks_what_has_no_weight():
    weights = np.array([[0.0], [0.1], [0.2], [0.0]])
    for uniform, expected in ((0.0, 1), (0.33, 1), (0.34, 2), (np.nextafter(1.0, 0.0), 2)):
        assert recursions.choose(weights, np.array([uniform]))[0] == expected


@pytest.mark.parametrize("piece", [None, 3])
def test_on_the_device_nothing_is_copied_unseen(piece):
    log_b, start, transmat, lengths = random_problem(3, [7, 4, 9])
    frames = lay_out(lengths, piece)
    log_b = log_b[:, frames.rows]
    host = inference.expectation(log_b, start, transmat, frames)
    device = [strict_xp.asarray(array) for array in (log_b, start, transmat)]
    found = inference.expectation(*device, frames)
    np.testing.assert_allclose(found.posterior.get(), host.posterior, rtol=1e-13)
    np.testing.assert_allclose(found.pairs.get(), host.pairs, rtol=1e-13)
    np.testing.assert_allclose(found.log_likelihood, host.log_likelihood, rtol=1e-13)
    if piece is None:
        logs = [strict_xp.asarray(np.log(array)) for array in (start, transmat)]
        states, best = recursions.viterbi(device[0], *logs, frames)
        expected = recursions.viterbi(log_b, np.log(start), np.log(transmat), frames)
        np.testing.assert_array_equal(states, expected[0])
        np.testing.assert_allclose(best, expected[1])
        states, best = chunks.viterbi(device[0], *logs, frames)
        np.testing.assert_array_equal(states, expected[0])
        np.testing.assert_allclose(best, expected[1], rtol=1e-13)
        uniforms = np.random.default_rng(0).random((5, 20))
        paths = recursions.sample_paths(found.filtered, device[2], frames, strict_xp.asarray(uniforms))
        np.testing.assert_array_equal(paths.get(), recursions.sample_paths(host.filtered, transmat, frames, uniforms))
        b = strict_xp.asarray(inference.scaled(log_b)[0])
        for ours, theirs in zip(
            recursions.gradient(b, *device[1:], frames),
            recursions.gradient(inference.scaled(log_b)[0], start, transmat, frames),
        ):
            np.testing.assert_allclose(ours.get(), theirs, rtol=1e-13)
