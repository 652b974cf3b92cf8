"""Noise on word vectors: exact gradients, the definition on ragged sequences, and sizes that no square can hold."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error

from rnnscratch.kernels import adversarial

SEQUENCE = np.array([0, 1, 2, 0, 2, 0, 2])  # 3, 1 and 3 words


def weights_of(rng, N):
    weights = rng.random(N)
    return weights / weights.sum()


@pytest.mark.parametrize("weights", ["equal", "some 0", "random"])
def test_spread_is_the_weighted_standard_deviation_and_its_gradient_the_complex_steps(weights, rng):
    x, ds = rng.standard_normal((7, 4)) * 3 + 5, rng.standard_normal(4)
    w = {"equal": np.full(7, 1 / 7), "some 0": np.array([1, 0, 1, 1, 0, 0, 1]) / 4, "random": weights_of(rng, 7)}[
        weights
    ]
    s, cache = adversarial.spread(x, w)
    np.testing.assert_allclose(s, np.sqrt(np.cov(x.T, bias=True, aweights=w).diagonal()), rtol=1e-12)
    right = complex_step(lambda a: (adversarial.spread(a["x"], w)[0] * ds).sum(), {"x": x.astype(complex)}, "x")
    assert relative_error(adversarial.spread_backward(cache, ds), right) < 1e-12


def test_a_column_that_is_constant_has_spread_and_gradient_0(rng):
    x = rng.standard_normal((5, 2))
    x[:, 1] = 0.5
    s, cache = adversarial.spread(x, np.full(5, 0.2))
    dx = adversarial.spread_backward(cache, np.ones(2))
    assert s[1] == 0 and (dx[:, 1] == 0).all() and dx[:, 0].any()


def test_the_noise_of_each_sequence_has_the_size_and_the_direction_of_its_gradient(rng):
    g = rng.standard_normal((7, 4))
    r = adversarial.steepest(g, SEQUENCE, 3, 2.5)
    for b in range(3):
        own = g[b == SEQUENCE]
        np.testing.assert_allclose(r[b == SEQUENCE], 2.5 * own / np.linalg.norm(own), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("size", [1e-38, 1e-20, 1.0, 1e30])
def test_no_gradient_is_too_small_or_too_large_and_none_at_all_gives_no_noise(size, dtype, rng):
    g = rng.standard_normal((7, 4))
    g[SEQUENCE == 2] *= size
    g[SEQUENCE == 1] = 0
    g = g.astype(dtype)
    r = adversarial.steepest(g, SEQUENCE, 3, 0.5)
    assert r.dtype == g.dtype and (r[SEQUENCE == 1] == 0).all()
    for b in (0, 2):
        assert np.linalg.norm(r[b == SEQUENCE]) == pytest.approx(0.5, rel=1e-5)


def test_a_complex_step_leaves_the_noise_as_it_is(rng):
    g = rng.standard_normal((7, 4))
    moved = adversarial.steepest(g + 1e-3j, SEQUENCE, 3, 0.5)
    np.testing.assert_array_equal(moved, adversarial.steepest(g, SEQUENCE, 3, 0.5))


def test_gradients_of_perturbed_vectors_equal_the_complex_step(rng):
    x, s, r, dy = (rng.standard_normal(shape) for shape in ((7, 4), 4, (7, 4), (7, 4)))
    dx, ds = adversarial.perturb_backward(r, dy)
    arguments = {"x": x.astype(complex), "s": s.astype(complex)}
    for name, found in (("x", dx), ("s", ds)):
        right = complex_step(lambda a: (adversarial.perturb(a["x"], a["s"], r) * dy).sum(), arguments, name)
        assert relative_error(found, right) < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(dtype, rng):
    x, w, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((7, 4), 7, (7, 4)))
    w = abs(w) / abs(w).sum()

    def whole(xp):
        vectors, weights, upstream = map(xp.asarray, (x, w, dy))
        s, cache = adversarial.spread(vectors, weights)
        r = adversarial.steepest(upstream * s, xp.asarray(SEQUENCE), 3, 0.5)
        dx, ds = adversarial.perturb_backward(r, upstream)
        return adversarial.perturb(vectors, s, r), dx + adversarial.spread_backward(cache, ds)

    for ours, theirs in zip(whole(np), whole(strict_xp)):
        assert ours.dtype == dtype
        np.testing.assert_allclose(theirs.get(), ours, rtol=1e-6)
