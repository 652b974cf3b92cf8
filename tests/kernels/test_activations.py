"""Activations against their definitions, and every derivative against the complex step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import strict_xp
from cells import STEP, relative_error
from close import close
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.kernels.activations import ACTIVATIONS

DEFINITIONS = {
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0.0),
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z)),
}
NAMES = list(ACTIVATIONS)


def test_every_activation_has_a_definition_here():
    assert ACTIVATIONS.keys() == DEFINITIONS.keys()


@pytest.mark.parametrize("name", NAMES)
@given(z=st.floats(-700, 700))
def test_values_are_those_of_the_definition(name, z):
    """Sigmoid (Eq. 24) and tanh (Eq. 26), written with exponentials."""
    assert ACTIVATIONS[name].function(np.array([z]))[0] == pytest.approx(DEFINITIONS[name](z), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_the_slope_from_the_output_equals_the_complex_step(name, rng):
    """Eqs 25, 27."""
    function, slope_from_output = ACTIVATIONS[name]
    z = rng.standard_normal((4, 5)) * 2
    right = function(z + 1j * STEP).imag / STEP
    assert relative_error(slope_from_output(function(z)), right) < 1e-14
    assert relative_error(slope_from_output(function(z.astype(complex))).real, right) < 1e-14


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", NAMES)
def test_the_dtype_stays_and_out_is_filled_also_in_place(name, dtype, rng):
    z = rng.standard_normal((3, 4)).astype(dtype)
    before = z.copy()
    y = ACTIVATIONS[name].function(z)
    slope = ACTIVATIONS[name].slope_from_output(y)
    assert y.dtype == slope.dtype == dtype
    assert np.array_equal(z, before)
    for function, argument, right in zip(ACTIVATIONS[name], (z, y), (y, slope)):
        kept, out = argument.copy(), np.full_like(z, np.nan)
        assert function(argument, out=out) is out
        assert np.array_equal(out, right)
        assert np.array_equal(argument, kept)
    assert ACTIVATIONS[name].function(z, out=z) is z  # the cells activate in place
    assert np.array_equal(z, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_huge_arguments_saturate_without_a_floating_point_error(name, dtype):
    top = np.finfo(dtype).max
    z = np.array([-top, -1e4, 1e4, top], dtype)
    with np.errstate(all="raise"):
        y = ACTIVATIONS[name].function(z)
        slope = ACTIVATIONS[name].slope_from_output(y)
    low = -1 if name == "tanh" else 0
    assert y.tolist() == [low, low, 1, 1]
    assert slope.tolist() == [0, 0, 0, 0]


def test_relu_has_slope_0_at_the_kink():
    relu, slope_from_output = ACTIVATIONS["relu"]
    assert slope_from_output(relu(np.array([-1.0, 0.0, 1e-300]))).tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(name, rng):
    z = rng.standard_normal((3, 4))
    function, slope_from_output = ACTIVATIONS[name]
    strict_xp.moves["to_host"] = 0
    y = function(strict_xp.asarray(z))
    slope = slope_from_output(y)
    assert strict_xp.moves["to_host"] == 0
    assert close(y, function(z))
    assert close(slope, slope_from_output(function(z)))
