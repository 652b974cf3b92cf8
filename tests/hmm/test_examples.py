"""Worked examples of the literature, to all digits that were printed."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from brute import joint

from rnnscratch.hmm import CategoricalHMM


def make(start, transmat, emissions):
    model = CategoricalHMM(len(start))
    model.startprob_, model.transmat_, model.emissionprob_ = map(np.array, (start, transmat, emissions))
    return model


UMBRELLA = make([0.5, 0.5], [[0.7, 0.3], [0.3, 0.7]], [[0.9, 0.1], [0.2, 0.8]])
FEVER = make([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], [[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])
RAINY = make([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
STAMP = make([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], [[0.1, 0.4, 0.5], [0.7, 0.2, 0.1]])
STOCKS = make(
    [0.5, 0.2, 0.3],
    [[0.6, 0.2, 0.2], [0.5, 0.3, 0.2], [0.4, 0.1, 0.5]],
    [[0.7, 0.1, 0.2], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]],
)
ICE_CREAM = make([0.8, 0.2], [[0.6, 0.4], [0.5, 0.5]], [[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]])
COINS = make([1 / 3] * 3, [[1 / 3] * 3] * 3, [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]])


def digits(found, printed, places):
    """As printed: equal to half a unit of the last place."""
    np.testing.assert_allclose(found, printed, rtol=0, atol=0.5000001 * 10.0**-places)


def alphas(model, x):
    """The textbooks' unscaled forward variables p(x_1 .. x_t, z_t): the filter times the likelihood so far."""
    return np.array([model.filter(x[: t + 1])[-1] * math.exp(model.score(x[: t + 1])) for t in range(len(x))])


def test_umbrella_of_russell_and_norvig():
    x = [0, 0, 1, 0, 0]
    digits(math.exp(UMBRELLA.score(x)), 0.0343037005, 10)
    digits(UMBRELLA.score(x), -3.3725020, 7)
    digits(UMBRELLA.filter(x)[:, 0], [0.8182, 0.8834, 0.1907, 0.7308, 0.8673], 4)
    smoothed = UMBRELLA.predict_proba(x)[:, 0]
    digits(smoothed, [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], 4)
    beta = UMBRELLA.predict_proba(x) / UMBRELLA.filter(x)
    beta /= beta.sum(axis=1, keepdims=True)
    digits(beta[:, 0], [0.5923, 0.3763, 0.6533, 0.6273, 0.5], 4)
    log_probability, states = UMBRELLA.decode(x)
    assert states.tolist() == x
    digits(log_probability, -4.4590283, 7)


def test_healthy_and_fever_of_wikipedia():
    log_probability, states = FEVER.decode([0, 1, 2])
    assert states.tolist() == [0, 0, 1]
    digits(math.exp(log_probability), 0.01512, 5)
    digits(math.exp(FEVER.score([0, 1, 2])), 0.03628, 5)
    digits(FEVER.predict_proba([0, 1, 2])[:, 0], [0.876516, 0.622933, 0.212128], 6)


def test_rainy_and_sunny_of_wikipedia():
    log_probability, states = RAINY.decode([0, 1, 2])
    assert states.tolist() == [1, 0, 0]
    digits(math.exp(log_probability), 0.01344, 5)
    digits(math.exp(RAINY.score([0, 1, 2])), 0.033612, 6)
    posterior = RAINY.predict_proba([0, 1, 2])[:, 0]
    digits(posterior, [0.231703, 0.624063, 0.863977], 6)  # hmmlearn prints 0.23170303, 0.62406281, 0.86397706:
    exact = [Fraction(7788, 33612), Fraction(20976, 33612), Fraction(29040, 33612)]  # not what fractions give
    np.testing.assert_allclose(posterior, [float(p) for p in exact], rtol=1e-14)


def test_stamps_tree_rings_where_the_two_decoders_differ():
    """Two hidden states (Eq. 51), three symbols (Eq. 52), A (Eqs 53, 54) and B (Eqs 55, 56)."""
    x = [0, 1, 0, 2]
    digits(math.exp(STAMP.score(x)), 0.0096296, 7)
    log_probability, states = STAMP.decode(x)
    assert states.tolist() == [1, 1, 1, 0]
    digits(math.exp(log_probability), 0.0028224, 7)
    log_probability, states = STAMP.decode(x, algorithm="map")
    assert states.tolist() == [1, 0, 1, 0]
    assert math.exp(log_probability) == pytest.approx(
        joint((1, 0, 1, 0), STAMP.emissionprob_[:, x], STAMP.startprob_, STAMP.transmat_)
    )
    digits(STAMP.predict_proba(x)[:, 0], [0.188170, 0.519432, 0.228878, 0.803979], 6)
    printed = [0.000412, 0.000035, 0.000706, 0.000212, 0.000050, 0.000004, 0.000302, 0.000091]
    printed += [0.001098, 0.000094, 0.001882, 0.000564, 0.000470, 0.000040, 0.002822, 0.000847]
    table = dict(zip(itertools.product((0, 1), repeat=4), printed))
    logs, paths = STAMP.decode_best(x, 16)[0]
    assert len(paths) == 16
    for log, path in zip(logs, paths):
        digits(math.exp(log), table[tuple(path.tolist())], 6)


def test_the_stock_market_of_huang_acero_and_hon():
    np.testing.assert_allclose(alphas(STOCKS, [0, 0]), [[0.35, 0.02, 0.09], [0.1792, 0.0085, 0.0357]], rtol=1e-12)
    digits(math.exp(STOCKS.score([0, 0])), 0.2234, 4)
    digits(math.exp(STOCKS.score([1] * 5)), 0.001323917, 9)


def test_the_ice_cream_of_jurafsky_and_martin():
    x = [2, 0, 2]
    np.testing.assert_allclose(alphas(ICE_CREAM, x), [[0.32, 0.02], [0.0404, 0.069], [0.023496, 0.005066]], rtol=1e-12)
    digits(math.exp(ICE_CREAM.score(x)), 0.028562, 6)
    log_probability, states = ICE_CREAM.decode(x)
    assert states.tolist() == [0, 1, 0]
    digits(math.exp(log_probability), 0.0128, 4)


def test_the_three_coins_of_rabiner_and_juang():
    x = [0, 0, 0, 0, 1, 0, 1, 1, 1, 1]
    assert COINS.score(x) == pytest.approx(-10 * math.log(2), rel=1e-14)
    log_probability, states = COINS.decode(x)
    assert states.tolist() == [1, 1, 1, 1, 2, 1, 2, 2, 2, 2]
    digits(math.exp(log_probability) / 1e-7, 0.25**10 / 1e-7, 4)
    all_first = joint((0,) * 10, COINS.emissionprob_[:, x], COINS.startprob_, COINS.transmat_)
    digits(math.exp(log_probability) / all_first, 57.665, 3)


def test_one_step_of_baum_welch_on_eisners_ice_cream():
    """STOP is a third, absorbing state with a symbol of its own at the end of the diary."""
    diary = [int(digit) - 1 for digit in "233232322313311121113121112332322"]
    assert len(diary) == 33
    model = CategoricalHMM(3, n_iter=1, tol=-1.0, init_params="")
    model.startprob_ = np.array([0.5, 0.5, 0.0])
    model.transmat_ = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    model.emissionprob_ = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.2, 0.7, 0.0], [0.0, 0.0, 0.0, 1.0]])
    x = [*diary, 3]
    digits(model.score(x), -41.5378178210752, 13)
    with pytest.warns(UserWarning, match="state 2 is never left and keeps its row"):
        model.fit(x)
    digits(model.startprob_, [0.129057865, 1 - 0.129057865, 0.0], 9)
    expected = [[0.8757409712, 0.1089601953, 0.0152988335], [0.0925170273, 0.8651579682, 0.0423250045], [0, 0, 1]]
    digits(model.transmat_, expected, 10)  # [1, 1] is also given as 0.8651579683, with which the row sums to 1 + 1e-10
    expected = [[0.6765023795, 0.2188194361, 0.1046781844], [0.0583723031, 0.4250865364, 0.5165411606]]
    digits(model.emissionprob_[:2, :3], expected, 10)
