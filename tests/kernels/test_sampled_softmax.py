"""The softmax loss of large vocabularies: exact gradients, the full loss where all words are in, no bias where not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.kernels import losses, sampled_softmax
from rnnscratch.kernels.sampled_softmax import draw, full_loss, full_score, inclusion, log_uniform, sampled_loss

TARGETS = np.array([2, 0, 2, 5, 2, 0])  # repeated, in the sample (2), and not (0, 5)
SAMPLES = np.array([2, 4, 1, 4])  # one twice, one of the targets


def arguments(rng, dtype=complex, N=6, H=3, V=7):
    a = {"h": rng.standard_normal((N, H)), "W": rng.standard_normal((V, H)), "b": rng.standard_normal(V)}
    return {name: array.astype(dtype) for name, array in a.items()}


def of_all_words(found, V):
    """(loss, gradients by name) of the sampled loss, with 0 for the words that it does not need."""
    loss, (dh, words, dW, db) = found
    assert len(set(words.tolist())) == len(words)
    full_dW, full_db = np.zeros((V, dW.shape[1]), dW.dtype), np.zeros(V, db.dtype)
    full_dW[words], full_db[words] = dW, db
    return loss, {"h": dh, "W": full_dW, "b": full_db}


@pytest.fixture(params=["one piece", "many pieces"])
def pieces(request, monkeypatch):
    """Positions all at once, or a few at a time with a rest."""
    if request.param == "many pieces":
        monkeypatch.setattr(sampled_softmax, "PIECE", 4 * (len(SAMPLES) + 1))
        monkeypatch.setattr(sampled_softmax, "FULL_PIECE", 4 * 7)


@pytest.mark.parametrize("columns", [False, True], ids=["W in rows", "W in columns"])
@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES[:1], np.arange(7)], ids=["repeated", "one", "all"])
def test_gradients_of_the_sampled_loss_equal_the_complex_step(samples, columns, pieces, rng):
    a, log_pi = arguments(rng), np.log(rng.random(7)).astype(complex)

    def loss(a):
        W = np.asfortranarray(a["W"]) if columns else a["W"]
        return sampled_loss(a["h"], W, a["b"], TARGETS, samples, log_pi)

    _, found = of_all_words(loss(a), 7)
    for name, gradient in found.items():
        assert relative_error(gradient.real, complex_step(lambda a: loss(a)[0], a, name)) < 1e-12, name


@pytest.mark.parametrize("columns", [False, True], ids=["W in rows", "W in columns"])
def test_gradients_of_the_full_loss_equal_the_complex_step(columns, pieces, rng):
    a = arguments(rng)

    def loss(a):
        return full_loss(a["h"], np.asfortranarray(a["W"]) if columns else a["W"], a["b"], TARGETS)

    for name, gradient in zip(a, loss(a)[1]):
        assert relative_error(gradient.real, complex_step(lambda a: loss(a)[0], a, name)) < 1e-12, name


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32), N=st.integers(1, 9), V=st.integers(1, 9), size=st.sampled_from([1e-3, 1.0, 30.0, 1e4])
)
def test_the_full_loss_is_the_cross_entropy_of_the_logits(seed, N, V, size):
    rng = np.random.default_rng(seed)
    a = arguments(rng, float, N, 3, V)
    h, W, b, targets = a["h"] * size, a["W"], a["b"], rng.integers(0, V, N)
    right, dlogits = losses.softmax_cross_entropy(h @ W.T + b, targets)
    loss, (dh, dW, db) = full_loss(h, W, b, targets)
    np.testing.assert_allclose(loss, right, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(full_score(h, W, b, targets), right, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dh, dlogits @ W, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dW, dlogits.T @ h, rtol=1e-10, atol=1e-12 * size)
    np.testing.assert_allclose(db, dlogits.sum(axis=0), rtol=1e-10, atol=1e-12)


def test_with_all_words_in_the_sample_the_loss_and_gradients_are_the_full_ones(pieces, rng):
    a = arguments(rng, float)
    pi = inclusion(log_uniform(7), 7)
    samples = draw(pi, rng)
    np.testing.assert_array_equal(samples, np.arange(7))
    loss, found = of_all_words(sampled_loss(**a, targets=TARGETS, samples=samples, log_pi=np.log(pi)), 7)
    right, gradients = full_loss(**a, targets=TARGETS)
    np.testing.assert_allclose(loss, right, rtol=1e-13)
    for name, gradient in zip(a, gradients):
        np.testing.assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-15)


def expected_gradients(a, pi, p):
    """The mean over all samples and targets, enumerated, of the sampled loss's gradients."""
    V, mean = len(pi), {}
    for chosen in itertools.product([False, True], repeat=V):
        chosen = np.array(chosen)
        weight = np.where(chosen, pi, 1 - pi).prod()
        if weight == 0:
            continue
        for y in range(V):
            targets = np.full(len(a["h"]), y)
            found = of_all_words(
                sampled_loss(**a, targets=targets, samples=np.flatnonzero(chosen), log_pi=np.log(pi)), V
            )
            for name, gradient in found[1].items():
                mean[name] = mean.get(name, 0) + weight * p[y] * gradient
    return mean


@pytest.mark.parametrize("size", [1, 2, 4])
def test_where_the_scores_are_the_log_probabilities_the_sampled_loss_has_no_slope_on_average(size, rng):
    """The minimum of its expectation is that of the full loss, however few are sampled."""
    a = arguments(rng, float, N=1, V=5)
    p = losses.softmax(a["h"] @ a["W"].T + a["b"])[0]
    for gradient in expected_gradients(a, inclusion(log_uniform(5), size), p).values():
        np.testing.assert_allclose(gradient, 0, atol=1e-14)


def test_the_more_words_are_sampled_the_nearer_is_the_expected_gradient_to_the_full_one(rng):
    a = arguments(rng, float, N=2, V=6)
    p = rng.dirichlet(np.ones(6))
    full = dict.fromkeys(a, 0.0)
    for y in range(6):
        for name, gradient in zip(a, full_loss(**a, targets=np.full(2, y))[1]):
            full[name] = full[name] + p[y] * gradient
    errors = []
    for pi in (0.3, 0.6, 0.9, 0.99, 1.0):
        found = expected_gradients(a, np.full(6, pi), p)
        errors.append(max(abs(found[name] - full[name]).max() for name in a))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.01 and errors[-2] < 0.1 * errors[0] and errors[-1] < 1e-14


def test_the_right_word_is_never_among_the_wrong_ones(rng):
    """A sample that is the target changes nothing for it, however probable."""
    a = arguments(rng, float, N=1)
    with_it, without = (
        of_all_words(sampled_loss(**a, targets=[2], samples=samples, log_pi=np.full(7, -0.5)), 7)
        for samples in ([1, 2, 2, 5], [1, 5])
    )
    np.testing.assert_allclose(with_it[0], without[0], rtol=1e-14)
    for name in a:
        np.testing.assert_allclose(with_it[1][name], without[1][name], rtol=1e-14, atol=1e-16)


def test_without_any_sample_there_is_nothing_to_learn(rng):
    a = arguments(rng, float)
    loss, found = of_all_words(sampled_loss(**a, targets=TARGETS, samples=[], log_pi=np.zeros(7)), 7)
    assert loss == 0
    assert not any(gradient.any() for gradient in found.values())


def test_arrays_on_a_device_are_computed_on_it(rng):
    a = {**arguments(rng, float), "targets": TARGETS, "samples": SAMPLES, "log_pi": np.log(np.linspace(0.2, 0.8, 7))}
    there = {name: strict_xp.asarray(array) for name, array in a.items()}
    ids = {"targets": TARGETS, "samples": SAMPLES}  # on the host, they are sorted without waiting for the device
    for function, names, further, reads in (
        (sampled_loss, a, {}, 1),
        (sampled_loss, a, ids, 0),
        (full_loss, ["h", "W", "b", "targets"], {}, 0),
    ):
        strict_xp.moves["to_host"] = 0
        loss, gradients = function(**{name: there[name] for name in names} | further)
        right, right_gradients = function(**{name: a[name] for name in names})
        pairs = [(loss, right), *zip(gradients, right_gradients)]
        assert strict_xp.moves["to_host"] <= reads
        for found, expected in pairs:
            assert close(found, expected, ordered=False)


def test_a_word_that_is_sampled_twice_counts_twice(rng):
    a = arguments(rng, float, N=1)
    log_pi = np.log(np.linspace(0.2, 0.8, 7))
    s = a["h"][0] @ a["W"].T + a["b"] - log_pi
    loss, _ = sampled_loss(**a, targets=[3], samples=[1, 4, 1], log_pi=log_pi)
    np.testing.assert_allclose(loss, np.log(np.exp(s[3]) + 2 * np.exp(s[1]) + np.exp(s[4])) - s[3], rtol=1e-13)


@pytest.mark.parametrize("V, size", [(1, 1), (2, 1), (5, 3), (1000, 1), (1000, 100), (1000, 999), (1000, 5000)])
def test_a_sample_has_its_size_on_average_and_prefers_what_is_frequent(V, size):
    p = log_uniform(V)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    pi = inclusion(p, size)
    assert pi.sum() == pytest.approx(min(size, V), rel=1e-12)
    assert ((pi > 0) & (pi <= 1)).all() and (np.diff(pi) <= 0).all()
    below = pi < 1
    np.testing.assert_allclose(pi[below] / p[below], (pi[below] / p[below])[:1].sum() if below.any() else 1, rtol=1e-12)


def test_inclusion_does_not_care_for_the_order_of_words(rng):
    p = rng.dirichlet(np.full(50, 0.3))
    order = rng.permutation(50)
    np.testing.assert_allclose(inclusion(p, 20)[order], inclusion(p[order], 20), rtol=1e-12)


def test_words_are_drawn_each_with_its_probability():
    pi, rng = np.array([1.0, 0.5, 0.1, 0.02]), np.random.default_rng(0)
    counts = sum(np.bincount(draw(pi, rng), minlength=4) for _ in range(4000))
    error = np.sqrt(4000 * pi * (1 - pi))
    assert (abs(counts - 4000 * pi) <= 4 * error).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_the_dtype_stays_and_nothing_given_is_changed(dtype, rng):
    a = arguments(rng, dtype)
    a |= {"targets": TARGETS, "samples": SAMPLES, "log_pi": np.log(np.full(7, 0.5)).astype(dtype)}
    before = {name: array.copy() for name, array in a.items()}
    loss, (dh, _, dW, db) = sampled_loss(**a)
    assert {loss.dtype, dh.dtype, dW.dtype, db.dtype} == {np.dtype(dtype)}
    full = {name: a[name] for name in ("h", "W", "b", "targets")}
    loss, gradients = full_loss(**full)
    assert {loss.dtype, full_score(**full).dtype, *(each.dtype for each in gradients)} == {np.dtype(dtype)}
    for name, array in a.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "change, error",
    [
        ({"h": np.zeros((6, 2))}, r"h has shape \(6, 2\), expected \(6, 3\) \(N, H\) with W \(V, H\)"),
        ({"W": np.zeros(3)}, r"W has shape \(3,\), expected \(V, H\)"),
        ({"b": np.zeros(6)}, r"b has shape \(6,\), expected \(7,\) \(V,\)"),
        ({"targets": TARGETS[:5]}, r"targets has shape \(5,\), expected \(6,\): one for each row of h"),
        ({"targets": np.full(6, 7)}, r"targets\[0\] is 7, expected 0 to 6"),
        ({"samples": np.array([1, -1])}, r"samples\[1\] is -1, expected 0 to 6"),
        ({"samples": np.array([1.5])}, r"samples has dtype float64, expected integers"),
        ({"log_pi": np.zeros(6)}, r"log_pi has shape \(6,\), expected \(7,\) as b"),
        ({"h": np.zeros((6, 3), np.float32)}, r"h has dtype float32, expected float64"),
    ],
)
def test_what_does_not_fit_is_named(change, error, rng):
    a = {**arguments(rng, float), "targets": TARGETS, "samples": SAMPLES, "log_pi": np.zeros(7), **change}
    with pytest.raises((ValueError, TypeError), match=error):
        sampled_loss(**a)


@pytest.mark.parametrize(
    "frequencies, error",
    [
        ([0.5, 0.0], r"frequencies\[1\] is 0.0, expected a number above 0"),
        ([0.5, np.nan], r"frequencies\[1\] is nan, expected a number above 0"),
        ([[1.0, 2.0]], r"frequencies has shape \(1, 2\), expected one row or column"),
        ("abc", "frequencies is one string, expected a list"),
    ],
)
def test_frequencies_must_be_positive(frequencies, error):
    with pytest.raises((ValueError, TypeError), match=error):
        inclusion(frequencies, 2)


def test_scores_of_any_size_give_finite_losses(rng):
    a = arguments(rng, float)
    a["h"] *= 1e5
    loss, found = of_all_words(sampled_loss(**a, targets=TARGETS, samples=SAMPLES, log_pi=np.full(7, -9.0)), 7)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in found.values())
