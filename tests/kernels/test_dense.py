"""The dense layer: exact gradients for any number of leading axes, and PyTorch as an independent witness."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import torch

from rnnscratch.kernels import dense

LEADING = [(), (4,), (5, 3), (1, 1), (2, 3, 2)]


def draw(rng, leading, D=3, K=2, dtype=complex):
    shapes = {"x": (*leading, D), "W": (D, K), "b": (K,)}
    arguments = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return arguments, rng.standard_normal((*leading, K)).astype(dtype)


def gradients(arguments, dy):
    return dict(zip(("x", "W", "b"), dense.backward(dense.forward(**arguments)[1], dy)))


def test_forward_is_the_equation_at_each_place(rng):
    """y = x W + b: Eqs 2, 41, 63, 72, 79."""
    arguments, _ = draw(rng, (5, 3), dtype=float)
    y, _ = dense.forward(**arguments)
    for t, b in np.ndindex(5, 3):
        right = [arguments["b"][k] + sum(arguments["x"][t, b] * arguments["W"][:, k]) for k in range(2)]
        np.testing.assert_allclose(y[t, b], right, rtol=1e-13, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(leading=st.sampled_from(LEADING), sizes=st.tuples(*[st.integers(1, 4)] * 2), seed=st.integers(0, 2**32))
def test_gradients_equal_the_complex_step(leading, sizes, seed):
    """V and b_y act at each time once: no sums over paths, against Eqs 10-12, 16-18."""
    arguments, dy = draw(np.random.default_rng(seed), leading, *sizes)
    found = gradients(arguments, dy)
    for name in found:
        right = complex_step(lambda a: (dense.forward(**a)[0] * dy).sum(), arguments, name)
        assert relative_error(found[name].real, right) < 1e-12, name


@pytest.mark.parametrize("leading", LEADING)
def test_values_and_gradients_equal_pytorch(leading, rng):
    arguments, dy = draw(rng, leading, 6, 5, float)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in arguments.items()}
    y = torch.nn.functional.linear(tensors["x"], tensors["W"].T, tensors["b"])
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(dense.forward(**arguments)[0], y.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, gradient in gradients(arguments, dy).items():
        np.testing.assert_allclose(gradient, tensors[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_the_dtype_stays_and_nothing_given_is_changed(dtype, rng):
    arguments, dy = draw(rng, (5, 3), dtype=dtype)
    before = {name: value.copy() for name, value in {**arguments, "dy": dy}.items()}
    y, cache = dense.forward(**arguments)
    for _ in range(2):
        outputs = (y, *dense.backward(cache, dy))
        assert [array.dtype.name for array in outputs] == [dtype] * 4
    for name, value in {**arguments, "dy": dy}.items():
        assert np.array_equal(value, before[name]), name


def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(rng):
    arguments, dy = draw(rng, (5, 3), dtype=float)
    on_device = {name: strict_xp.asarray(value) for name, value in arguments.items()}
    strict_xp.moves["to_host"] = 0
    y, cache = dense.forward(**on_device)
    found = dense.backward(cache, strict_xp.asarray(dy))
    assert strict_xp.moves["to_host"] == 0
    assert close(y, dense.forward(**arguments)[0])
    for gradient, right in zip(found, gradients(arguments, dy).values()):
        assert close(gradient, right)
