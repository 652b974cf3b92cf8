"""The embedding: repeated tokens add up, exactly; ids out of range are named."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import torch

from rnnscratch.checks import check_ids
from rnnscratch.kernels import embedding

IDS = np.array([[2, 0, 2], [2, 4, 1], [0, 2, 4]])  # 3 never, 2 four times


def test_forward_picks_the_rows_of_the_tokens(rng):
    E = rng.standard_normal((5, 3))
    x, _ = embedding.forward(IDS, E)
    for t, b in np.ndindex(IDS.shape):
        assert np.array_equal(x[t, b], E[IDS[t, b]])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_gradient_equals_the_complex_step_for_any_ids(data):
    V, D = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    ids = np.array(data.draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=12)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    E, dx = (rng.standard_normal((rows, D)).astype(complex) for rows in (V, len(ids)))
    dE = embedding.backward(embedding.forward(ids, E)[1], dx)
    right = complex_step(lambda a: (embedding.forward(ids, a["E"])[0] * dx).sum(), {"E": E}, "E")
    assert relative_error(dE.real, right) < 1e-12


@pytest.mark.parametrize("ids_dtype", ["int64", "int32", "uint8", "int16"])
def test_the_gradient_equals_pytorch(ids_dtype, rng):
    E, dx = rng.standard_normal((300, 70)), rng.standard_normal((40, 5, 70))
    ids = rng.integers(0, 12, (40, 5)).astype(ids_dtype)
    ids[0, 0] = 250  # 250 * 70 does not fit the small integers
    table = torch.tensor(E, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor(ids.astype("int64")), table).backward(torch.tensor(dx))
    dE = embedding.backward(embedding.forward(ids, E)[1], dx)
    np.testing.assert_allclose(dE, table.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_the_dtype_stays_and_nothing_given_is_changed(dtype, rng):
    E, dx = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 3), (3, 3, 3)))
    before = [array.copy() for array in (E, dx, IDS)]
    x, cache = embedding.forward(IDS, E)
    first, second = embedding.backward(cache, dx), embedding.backward(cache, dx)
    assert x.dtype == dtype
    assert first.dtype == dtype
    assert np.array_equal(first, second)
    for array, old in zip((E, dx, IDS), before):
        assert np.array_equal(array, old)


def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(rng):
    E, dx = rng.standard_normal((5, 3)), rng.standard_normal((3, 3, 3))
    strict_xp.moves["to_host"] = 0
    x, cache = embedding.forward(strict_xp.asarray(IDS), strict_xp.asarray(E))
    dE = embedding.backward(cache, strict_xp.asarray(dx))
    assert strict_xp.moves["to_host"] == 0
    right, cache = embedding.forward(IDS, E)
    assert close(x, right)
    assert close(dE, embedding.backward(cache, dx), ordered=False)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (np.array([[0, 1], [5, 9]]), ValueError, r"ids\[1, 0\] is 5, expected 0 to 4"),
        (np.array([3, -1]), ValueError, r"ids\[1\] is -1, expected 0 to 4"),
        (strict_xp.asarray(np.array([0, 7])), ValueError, r"ids\[1\] is 7, expected 0 to 4"),
        (np.array([[0.0, 1.0]]), TypeError, "ids has dtype float64, expected integers"),
        (np.array([True]), TypeError, "ids has dtype bool, expected integers"),
        ([0, "1"], TypeError, "ids has dtype <U"),
        (np.zeros((0, 3), int), ValueError, r"ids has shape \(0, 3\), expected at least one token"),
    ],
    ids=["too large", "negative", "device", "floats", "booleans", "list", "empty"],
)
def test_wrong_ids_are_named(ids, error, message):
    with pytest.raises(error, match=message):
        check_ids(ids, 5)


@pytest.mark.parametrize("ids", [np.array([[0, 4]]), np.array([4], dtype=np.uint8)])
def test_ids_in_range_pass(ids):
    check_ids(ids, 5)
