"""Markov chains: the textbook's figures, stationary distributions of every kind of chain, classes and periods."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnscratch.estimator import NotFittedError
from rnnscratch.hmm import MarkovChain
from rnnscratch.hmm.chain import check_distribution, communicating_classes, stationary_distribution

WEATHER = [[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]  # Rabiner 1989: rain, clouds, sun


def make(transmat, start=None):
    chain = MarkovChain()
    chain.transmat_ = np.array(transmat, dtype=float)
    N = len(chain.transmat_)
    chain.startprob_ = np.full(N, 1 / N) if start is None else np.array(start, dtype=float)
    return chain


def test_rabiners_weather():
    """States (Eq. 43), transitions (Eq. 45), the probability of a sequence (Eqs 46, 47)."""
    chain = make(WEATHER, [0, 0, 1])
    assert chain.probability([2, 2, 2, 0, 0, 2, 1, 2]) == pytest.approx(1.536e-4, rel=1e-12)
    np.testing.assert_allclose(chain.mean_durations(), [1 / 0.6, 2.5, 5.0])
    np.testing.assert_allclose(chain.stationary(), [2 / 11, 3 / 11, 6 / 11], rtol=1e-14)
    assert chain.period() == 1 and chain.classes() == [([0, 1, 2], True)]


@st.composite
def chains(draw, most=4):
    """Rows of probabilities, many of them zero, so that chains are reducible, periodic or absorbing."""
    N = draw(st.integers(1, most))
    weights = draw(hnp.arrays(int, (N, N), elements=st.integers(0, 3)))
    dead = weights.sum(axis=1) == 0
    weights[dead, dead] = 1
    weights[dead, np.flatnonzero(dead) if dead.any() else 0] = 1
    transmat = weights / weights.sum(axis=1, keepdims=True)
    start = draw(hnp.arrays(int, N, elements=st.integers(0, 3))) + (np.arange(N) == 0)
    return make(transmat, start / start.sum())


@settings(max_examples=60, deadline=None)
@given(chain=chains(3), t=st.integers(1, 4))
def test_marginals_and_probabilities_are_sums_over_paths(chain, t):
    """Eqs 44, 47-49: each step depends on the state before it alone."""
    N, expected = len(chain.startprob_), np.zeros(len(chain.startprob_))
    total = 0.0
    for path in itertools.product(range(N), repeat=t):
        p = chain.startprob_[path[0]] * math.prod(chain.transmat_[a, b] for a, b in itertools.pairwise(path))
        assert chain.probability(list(path)) == pytest.approx(p, rel=1e-12)
        expected[path[-1]] += p
        total += p
    np.testing.assert_allclose(chain.marginal(t), expected, rtol=1e-12, atol=1e-15)
    assert total == pytest.approx(1.0)


@settings(max_examples=150, deadline=None)
@given(chain=chains())
def test_stationary_distributions_classes_and_periods_are_those_of_long_walks(chain):
    """pi = pi P (Eq. 50)."""
    P = chain.transmat_
    N = len(P)
    steps = [np.linalg.matrix_power(P, k) for k in range(60)]
    reach = sum(steps) > 0
    mutual = reach & reach.T
    classes = chain.classes()
    assert sorted(sum((members for members, _ in classes), [])) == list(range(N))
    for members, closed in classes:
        assert mutual[members[0]].nonzero()[0].tolist() == members
        assert closed == (reach[members[0]].nonzero()[0].tolist() == members)
    found = chain.stationary(all_classes=True)
    assert len(found) == sum(closed for _, closed in classes)
    np.testing.assert_allclose(found @ P, found, atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    for pi, (members, _) in zip(found, [each for each in classes if each[1]]):
        assert set(np.flatnonzero(pi)) == set(members)
    if len(found) > 1:
        with pytest.raises(ValueError, match="reducible: its closed classes"):
            chain.stationary()
    else:
        np.testing.assert_allclose(chain.stationary(), found[0])
    for state in range(N):
        times = [k for k in range(1, 60) if steps[k][state, state] > 0]
        assert chain.period(state) == (math.gcd(*times) if times else 0)


def test_a_periodic_chain_has_a_stationary_distribution():
    chain = make([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(chain.stationary(), [1 / 3] * 3)
    assert chain.period() == 3


def test_small_entries_keep_their_digits():
    """A nearly decomposable chain, where subtraction would lose all digits: pi is (b, a) / (a + b)."""
    a, b = 1e-13, 3e-13
    np.testing.assert_allclose(stationary_distribution(np.array([[1 - a, a], [b, 1 - b]])), [0.75, 0.25], rtol=1e-12)


def test_one_state_absorbing_and_transient_ones():
    assert make([[1.0]]).stationary().tolist() == [1.0]
    chain = make([[0.5, 0.5], [0.0, 1.0]])
    assert chain.stationary().tolist() == [0.0, 1.0]
    assert chain.mean_durations().tolist() == [2.0, math.inf]
    assert chain.classes() == [([0], False), ([1], True)]
    both = make(np.eye(2)).stationary(all_classes=True)
    np.testing.assert_array_equal(both, np.eye(2))


def test_fit_counts_starts_and_transitions():
    chain = MarkovChain().fit([np.array([0, 0, 1]), np.array([0, 1, 1, 0])])
    np.testing.assert_allclose(chain.transmat_, [[1 / 3, 2 / 3], [1 / 2, 1 / 2]])
    np.testing.assert_array_equal(chain.startprob_, [1.0, 0.0])
    smooth = MarkovChain(n_states=3, smoothing=0.5).fit([[0, 0, 1], [0, 1, 1, 0]])
    np.testing.assert_allclose(
        smooth.transmat_, np.array([[1.5, 2.5, 0.5], [1.5, 1.5, 0.5], [0.5] * 3]) / [[4.5], [3.5], [1.5]]
    )
    np.testing.assert_allclose(smooth.startprob_, [2.5 / 3.5, 0.5 / 3.5, 0.5 / 3.5])
    assert smooth.num_params == 8


def test_symbols_may_be_strings():
    chain = MarkovChain().fit([["sun", "rain"], ["rain", "rain", "sun"]])
    assert chain.vocabulary_ == ["rain", "sun"]
    assert chain.probability(["sun", "rain"]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="sequence holds 'snow', which is not in the vocabulary"):
        chain.probability(["snow"])


def test_a_state_that_is_never_left_is_named_and_gets_a_uniform_row():
    with pytest.warns(UserWarning, match=r"never left.*states \[1, 2\]"):
        chain = MarkovChain(n_states=3).fit([[0, 0, 1]])
    np.testing.assert_allclose(chain.transmat_, [[0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3])
    assert chain.log_probability([1, 1]) == -math.inf


def test_samples_follow_the_chain_and_the_seed():
    chain = make(WEATHER, [0.2, 0.0, 0.8])
    states = chain.sample(60_000, random_state=0)
    np.testing.assert_array_equal(states, chain.sample(60_000, random_state=0))
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), WEATHER, atol=0.015)
    assert {int(chain.sample(1, random_state=k)[0]) for k in range(60)} == {0, 2}
    assert chain.sample(3, random_state=0, start=1)[0] == 1


def test_a_chain_comes_back_from_its_file(tmp_path):
    chain = MarkovChain(smoothing=1.0).fit(["abca", "cab"])
    chain.save(tmp_path / "chain.npz")
    again = MarkovChain.load(tmp_path / "chain.npz")
    np.testing.assert_array_equal(again.transmat_, chain.transmat_)
    assert again.probability("abc") == chain.probability("abc") and again.smoothing == 1.0
    (tmp_path / "bad.npz").write_bytes((tmp_path / "chain.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"bad\.npz"):
        MarkovChain.load(tmp_path / "bad.npz")


def test_scikit_learn_clones_it():
    from sklearn.base import clone

    assert repr(clone(MarkovChain(3, smoothing=0.5))) == "MarkovChain(n_states=3, smoothing=0.5)"


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: MarkovChain().marginal(1), NotFittedError, "no startprob_: call fit first"),
        (lambda: MarkovChain().fit([]), ValueError, "sequences is empty"),
        (lambda: MarkovChain().fit("ab"), TypeError, "one string, expected a list"),
        (lambda: MarkovChain().fit([[0, -1]]), ValueError, r"sequences\[0\] holds -1"),
        (lambda: MarkovChain().fit([[0], [0.5]]), TypeError, r"\[1\] has dtype float64, expected integers"),
        (lambda: MarkovChain().fit([[0], []]), ValueError, r"sequences\[1\] is empty"),
        (lambda: MarkovChain(2).fit([[0, 2]]), ValueError, r"sequences\[0\] holds 2, expected states from 0 to 1"),
        (lambda: MarkovChain(1).fit(["ab"]), ValueError, "vocabulary holds 2 symbols, but n_states is 1"),
        (lambda: MarkovChain().fit(3), TypeError, "sequences is 3, expected a list"),
        (lambda: MarkovChain().fit([[[0], [1, 2]]]), ValueError, r"sequences\[0\] is ragged"),
        (lambda: MarkovChain(smoothing=np.inf).fit([[0, 1]]), ValueError, "smoothing is inf"),
        (lambda: MarkovChain(smoothing=np.nan).fit([[0, 1]]), ValueError, "smoothing is nan"),
        (lambda: MarkovChain(smoothing="1").fit([[0, 1]]), TypeError, "smoothing is '1'"),
        (lambda: MarkovChain(vocabulary=["a", "a"]).fit(["a"]), ValueError, "expected symbols that differ"),
        (lambda: MarkovChain(vocabulary=[1]).fit(["a"]), TypeError, r"vocabulary\[0\] is .*1.*, expected a string"),
        (lambda: make([[0.5, 0.5], [0.0, 1.0]]).period(), ValueError, "reducible: its 2 classes"),
        (lambda: make(WEATHER).period(0.5), TypeError, "state is 0.5"),
        (lambda: stationary_distribution(np.ones((2, 3)) / 3), ValueError, "transmat has shape"),
        (lambda: MarkovChain(smoothing=-1).fit([[0]]), ValueError, "smoothing is -1"),
        (lambda: make(WEATHER).probability([0, 3]), ValueError, "sequence holds 3, expected states from 0 to 2"),
        (lambda: make(WEATHER).marginal(0), ValueError, "t is 0, expected at least 1"),
        (lambda: make(WEATHER).sample(0), ValueError, "n is 0"),
        (lambda: make(WEATHER).sample(2, start=3), ValueError, "start is 3"),
        (lambda: make(WEATHER).period(3), ValueError, "state is 3"),
        (lambda: make([[0.5, 0.4], [0.5, 0.5]]).stationary(), ValueError, r"\[0\] holds 0.4 to 0.5 and sums to 0.9"),
        (lambda: make([[0.5, 0.5], [1.5, -0.5]]).stationary(), ValueError, r"transmat_\[1\] holds -0.5"),
        (lambda: make([[0.5, 0.5]], [1.0]).stationary(), ValueError, "transmat_ has shape"),
        (lambda: check_distribution("p", [np.nan, 1.0]), ValueError, "p holds nan"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_stationary_distribution_may_span_more_than_the_floats_do():
    """A birth-death chain in detailed balance: pi_{k+1} / pi_k = p_up / p_down, here 1e-3 and 1e3, 200 states."""
    for up, down in ((0.0009, 0.9), (0.9, 0.0009)):
        transmat = np.diag(np.full(199, up), 1) + np.diag(np.full(199, down), -1)
        transmat += np.diag(1.0 - transmat.sum(axis=1))
        found = stationary_distribution(transmat)
        large = slice(0, 90) if up < down else slice(110, 200)
        expected = ((up / down) ** np.arange(200.0) if up < down else (down / up) ** np.arange(199.0, -1, -1))[large]
        np.testing.assert_allclose(found[large], expected / expected.sum(), rtol=1e-12)
        assert found.sum() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("t", [10**6, 10**15, 10**18])
def test_marginals_of_far_times_are_distributions(t):
    chain = make(WEATHER, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(chain.marginal(t), chain.stationary(), rtol=1e-12)
    flip = make([[0.0, 1.0], [1.0, 0.0]], [1.0, 0.0])
    np.testing.assert_array_equal(flip.marginal(t), [0.0, 1.0])  # t even: an odd number of steps after the first


def test_durations_are_never_negative():
    """A row may sum to 1 within rounding only, its diagonal a little more than 1."""
    chain = make([[1.0 + 1e-12, 0.0], [1e-14, 1.0 - 1e-14]])
    assert chain.mean_durations()[0] == np.inf
    assert chain.mean_durations()[1] == pytest.approx(1e14, rel=1e-12)


def test_a_refit_forgets_the_symbols_of_the_fit_before():
    chain = MarkovChain().fit(["abc", "ca"]).fit([[0, 1], [1, 0]])
    assert not hasattr(chain, "vocabulary_")
    with pytest.raises(ValueError, match="'a', which is not in the vocabulary"):
        chain.probability("ab")


def test_arrays_as_arguments_are_saved(tmp_path):
    chain = MarkovChain(np.int64(2), smoothing=np.float64(0.5), vocabulary=np.array(["a", "b"])).fit(["ab"])
    chain.save(tmp_path / "chain.npz")
    assert MarkovChain.load(tmp_path / "chain.npz").get_params() == {
        "n_states": 2, "smoothing": 0.5, "vocabulary": ["a", "b"]
    }  # fmt: skip


def test_the_callers_matrix_is_not_changed():
    transmat = np.array(WEATHER)
    stationary_distribution(transmat)
    communicating_classes(transmat)
    np.testing.assert_array_equal(transmat, WEATHER)
