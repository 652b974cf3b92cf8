"""Inverted dropout: the right share is dropped, the mean stays, and one mask serves both ways."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close

from rnnscratch.kernels import dropout


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_a_mask_drops_the_share_and_keeps_the_mean(rate, rng):
    mask = dropout.draw_mask((200, 500), rate, rng, "float64")
    assert set(np.unique(mask)) == ({0.0, 1 / (1 - rate)} if rate else {1.0})
    deviation = np.sqrt(rate * (1 - rate) / mask.size)
    assert abs((mask == 0).mean() - rate) <= 5 * deviation
    assert abs(mask.mean() - 1) <= 5 * deviation / (1 - rate)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("rate", [0.25, np.float64(0.25)])
def test_the_dtype_stays(dtype, rate, rng):
    mask = dropout.draw_mask((4, 3), rate, rng, dtype)
    x = rng.standard_normal((4, 3)).astype(dtype)
    for array in (mask, dropout.forward(x, mask), dropout.backward(x, mask)):
        assert array.dtype == dtype


def test_the_same_seed_draws_the_same_mask_for_every_dtype_and_device():
    masks = [dropout.draw_mask((9, 9), 0.5, np.random.default_rng(3), dtype) for dtype in ("float32", "float64")]
    on_device = dropout.draw_mask((9, 9), 0.5, np.random.default_rng(3), "float64", strict_xp)
    other = dropout.draw_mask((9, 9), 0.5, np.random.default_rng(4), "float64")
    assert np.array_equal(*masks)
    assert np.array_equal(on_device.get(), masks[1])
    assert not np.array_equal(masks[1], other)


@pytest.mark.parametrize("shape", [(5, 3, 4), (1, 3, 4)], ids=["each step", "variational"])
def test_the_gradient_equals_the_complex_step(shape, rng):
    mask = dropout.draw_mask(shape, 0.4, rng, complex)
    x, dy = (rng.standard_normal((5, 3, 4)).astype(complex) for _ in range(2))
    right = complex_step(lambda a: (dropout.forward(a["x"], mask) * dy).sum(), {"x": x}, "x")
    assert relative_error(dropout.backward(dy, mask).real, right) < 1e-12


def test_a_variational_mask_drops_the_same_units_at_all_steps(rng):
    mask = dropout.draw_mask((1, 3, 20), 0.5, rng, "float64")
    dropped = dropout.forward(np.ones((5, 3, 20)), mask) == 0
    assert dropped.any()
    assert not dropped.all()
    assert (dropped == dropped[0]).all()


def test_the_device_gets_no_host_arrays(rng):
    mask = dropout.draw_mask((1, 3, 4), 0.5, rng, "float64", strict_xp)
    x = rng.standard_normal((5, 3, 4))
    assert close(dropout.forward(strict_xp.asarray(x), mask), x * mask.get())
    assert close(dropout.backward(strict_xp.asarray(x), mask), x * mask.get())


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, np.nan])
def test_a_wrong_rate_is_named_before_anything_is_drawn(rate, rng):
    before = rng.bit_generator.state
    with pytest.raises(ValueError, match=r"rate is .*expected a probability in \[0, 1\)"):
        dropout.draw_mask((2, 2), rate, rng, "float64")
    assert rng.bit_generator.state == before
