"""Pooling over time: values, exact gradients, and indifference to padding."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.kernels import pooling
from rnnscratch.kernels.packing import pack

POOLS = {
    "mean": (pooling.mean_forward, pooling.mean_backward),
    "max": (pooling.max_forward, pooling.max_backward),
}
LENGTHS = np.array([5, 1, 3])


@pytest.fixture
def hs(rng):
    return rng.standard_normal((5, 3, 4))


def test_mean_and_max_are_those_of_the_real_steps(hs):
    mean, _ = pooling.mean_forward(hs, LENGTHS)
    largest, _ = pooling.max_forward(hs, LENGTHS)
    for b, length in enumerate(LENGTHS):
        np.testing.assert_allclose(mean[b], hs[:length, b].mean(axis=0), rtol=1e-14)
        np.testing.assert_array_equal(largest[b], hs[:length, b].max(axis=0))


@pytest.mark.parametrize("lengths", [LENGTHS, None])
def test_of_packed_outputs_it_is_the_same_maximum(lengths, hs):
    hs[1, 2, 0] = np.nan
    for values in (hs, -np.abs(hs)):
        largest, _ = pooling.max_forward(values, lengths)
        assert np.isnan(largest[2, 0])
        np.testing.assert_array_equal(pooling.packed_max(pack(values, lengths)), largest)


def test_without_lengths_all_steps_count(hs):
    np.testing.assert_allclose(pooling.mean_forward(hs)[0], hs.mean(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(pooling.max_forward(hs)[0], hs.max(axis=0))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(list(POOLS)))
def test_gradients_equal_the_complex_step(data, name):
    T, B, H = (data.draw(st.integers(1, high)) for high in (6, 4, 3))
    lengths = data.draw(st.none() | st.lists(st.integers(1, T), min_size=B, max_size=B).map(np.array))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    hs, upstream = rng.standard_normal((T, B, H)).astype(complex), rng.standard_normal((B, H)).astype(complex)
    forward, backward = POOLS[name]
    right = complex_step(lambda a: (forward(a["hs"], lengths)[0] * upstream).sum(), {"hs": hs}, "hs")
    assert relative_error(backward(forward(hs, lengths)[1], upstream).real, right) < 1e-14


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("name", POOLS)
def test_garbage_in_padding_changes_no_bit(name, garbage, hs):
    forward, backward = POOLS[name]
    clean, cache = forward(hs, LENGTHS)
    gradient = backward(cache, clean)
    hs[1:, 1], hs[3:, 2] = garbage, garbage
    pooled, cache = forward(hs, LENGTHS)
    np.testing.assert_array_equal(pooled, clean)
    np.testing.assert_array_equal(backward(cache, clean), gradient)
    assert not gradient[1:, 1].any() and not gradient[3:, 2].any()


def test_of_equal_values_the_first_gets_the_gradient():
    hs = np.array([1.0, 3.0, 3.0, 2.0])[:, None, None]
    largest, cache = pooling.max_forward(hs)
    assert largest[0, 0] == 3.0
    np.testing.assert_array_equal(pooling.max_backward(cache, np.array([[7.0]]))[:, 0, 0], [0, 7, 0, 0])


@pytest.mark.parametrize("name", POOLS)
def test_nan_in_a_real_step_is_not_hidden(name, hs):
    hs[1, 2, 0] = np.nan
    pooled, _ = POOLS[name][0](hs, LENGTHS)
    assert np.isnan(pooled[2, 0]) and np.isfinite(np.delete(pooled.ravel(), 8)).all()


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("name", POOLS)
def test_the_dtype_stays_and_nothing_given_is_changed(name, dtype, lengths, hs):
    forward, backward = POOLS[name]
    hs = hs.astype(dtype)
    before = hs.copy()
    pooled, cache = forward(hs, lengths)
    first, second = backward(cache, pooled), backward(cache, pooled)
    assert pooled.dtype == first.dtype == dtype
    np.testing.assert_array_equal(hs, before)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("name", POOLS)
def test_device_arrays_give_the_same_numbers_without_hidden_copies(name, lengths, hs):
    forward, backward = POOLS[name]
    pooled, cache = forward(hs, lengths)
    on_device = strict_xp.asarray(hs)
    found, found_cache = forward(on_device, lengths)
    gradient = backward(found_cache, found)
    assert close(found, pooled)
    assert close(gradient, backward(cache, pooled))
