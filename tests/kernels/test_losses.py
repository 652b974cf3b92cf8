"""Losses: exact gradients, PyTorch's values, and logits of any size without a floating-point complaint."""

from __future__ import annotations

import math

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import torch

from rnnscratch.kernels import losses

TOKENS = np.array([[2, 0, -1], [1, -1, 2]])


def pairs(rng, dtype=complex):
    """Each loss with random arguments: name -> (function of the first argument, that argument, second, options)."""
    return {
        "binary": (losses.binary_cross_entropy, rng.standard_normal((4, 3)) * 3, rng.random((4, 3)), {}),
        "softmax": (losses.softmax_cross_entropy, rng.standard_normal((5, 4)) * 3, rng.integers(0, 4, 5), {}),
        "ignoring": (
            losses.softmax_cross_entropy,
            rng.standard_normal((2, 3, 4)) * 3,
            TOKENS,
            {"ignore_index": -1},
        ),
        "binary, smoothed": (
            losses.binary_cross_entropy,
            rng.standard_normal((4, 3)) * 3,
            rng.integers(0, 2, (4, 3)),
            {"smoothing": 0.1},
        ),
        "softmax, smoothed": (
            losses.softmax_cross_entropy,
            rng.standard_normal((2, 3, 4)) * 3,
            TOKENS,
            {"ignore_index": -1, "smoothing": 0.2},
        ),
        "soft": (
            losses.softmax_cross_entropy,
            rng.standard_normal((2, 3, 4)) * 3,
            rng.dirichlet(np.ones(4), (2, 3)),
            {},
        ),
        "soft, smoothed": (
            losses.softmax_cross_entropy,
            rng.standard_normal((5, 4)) * 3,
            rng.dirichlet(np.ones(4), 5),
            {"smoothing": 0.2},
        ),
        "squared": (losses.mean_squared_error, rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), {}),
    }


NAMES = ["binary", "softmax", "ignoring", "binary, smoothed", "softmax, smoothed", "soft", "soft, smoothed", "squared"]


def torch_loss(name, outputs, targets):
    targets = torch.tensor(targets)
    if name == "binary, smoothed":  # of two classes, whose logits are z and 0
        z = outputs.reshape(-1)
        two = torch.stack([torch.zeros_like(z), z], dim=1)
        return torch.nn.functional.cross_entropy(two, targets.reshape(-1), label_smoothing=0.1)
    if name == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets)
    if name == "squared":
        return torch.nn.functional.mse_loss(outputs, targets)
    soft = name.startswith("soft,") or name == "soft"
    return torch.nn.functional.cross_entropy(
        outputs.reshape(-1, outputs.shape[-1]),
        targets.reshape(-1, outputs.shape[-1]) if soft else targets.reshape(-1),
        ignore_index=-1,
        label_smoothing=0.2 * ("smoothed" in name),
    )


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), size=st.sampled_from([1e-3, 1.0, 10.0, 300.0]))
def test_gradients_equal_the_complex_step(name, seed, size):
    function, outputs, targets, options = pairs(np.random.default_rng(seed))[name]
    outputs = (outputs * size).astype(complex)
    _, gradient = function(outputs, targets, **options)
    right = complex_step(lambda a: function(a["outputs"], targets, **options)[0], {"outputs": outputs}, "outputs")
    assert relative_error(gradient.real, right) < 1e-12


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_pytorch(name, size, rng):
    """The loss of Eqs 3, 64, 73, 80."""
    function, outputs, targets, options = pairs(rng)[name]
    outputs = outputs * size
    tensor = torch.tensor(outputs, requires_grad=True)
    right = torch_loss(name, tensor, targets)
    right.backward()
    loss, gradient = function(outputs, targets, **options)
    np.testing.assert_allclose(loss, right.item(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", NAMES)
def test_the_dtype_stays_and_nothing_given_is_changed(name, dtype, rng):
    function, outputs, targets, options = pairs(rng)[name]
    outputs = outputs.astype(dtype)
    before = outputs.copy(), targets.copy()
    loss, gradient = function(outputs, targets, **options)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert gradient.dtype == dtype
    assert np.array_equal(outputs, before[0])
    assert np.array_equal(targets, before[1])
    for probabilities in (losses.softmax(outputs), losses.log_softmax(outputs), losses.sigmoid(outputs)):
        assert probabilities.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1.0, 30.0, 87.0, 88.0, 104.0, 710.0, 1e4])
def test_no_size_of_logits_raises_any_floating_point_error(dtype, size):
    exact = [size, -size, 0.0, size, -size, -0.0, size]
    z = np.array(exact, dtype)
    eye = np.eye(7, dtype=int)
    cases = [(losses.binary_cross_entropy, z, np.array(y)) for y in ([1, 0, 1, 0, 1, 0, 1], [1, 0, 1, 1, 0, 0, 1])]
    cases += [(losses.softmax_cross_entropy, z[None], np.array([target])) for target in range(7)]
    with np.errstate(all="raise"):
        found = [function(logits, targets) for function, logits, targets in cases]
        tiny = losses.mean_squared_error(np.full(3, 1e-30, dtype), np.zeros(3, dtype))[0]
        p, q = losses.softmax(z), losses.sigmoid(z)
    log_sum = math.log(sum(math.exp(v - size) for v in exact))
    for (function, _, y), (loss, gradient) in zip(cases, found):
        if function is losses.binary_cross_entropy:
            terms = [math.log1p(math.exp(-abs(v))) + max(v, 0.0) - v * label for v, label in zip(exact, y.tolist())]
            right, right_gradient = math.fsum(terms) / 7, (q - y) / 7
        else:
            right, right_gradient = log_sum + (size - exact[y[0]]), (p - eye[y])
        np.testing.assert_allclose(loss, right, rtol=1e-6)
        np.testing.assert_allclose(gradient, right_gradient, rtol=1e-5, atol=1e-7)
    assert 0 <= float(tiny) < 1e-59
    np.testing.assert_allclose(p, [math.exp(v - size - log_sum) for v in exact], rtol=1e-5, atol=1e-30)


def test_sure_and_right_costs_nothing_and_sure_and_wrong_costs_the_logit():
    z = np.array([1e4, -1e4], np.float32)
    assert losses.binary_cross_entropy(z, np.array([1, 0]))[0] == 0
    loss, gradient = losses.binary_cross_entropy(z, np.array([0, 1]))
    assert loss == 1e4
    assert gradient.tolist() == [0.5, -0.5]
    loss, gradient = losses.softmax_cross_entropy(z[None], np.array([1]))
    assert loss == 2e4
    assert gradient.tolist() == [[1.0, -1.0]]


def test_softmax_and_log_softmax_are_the_definitions_and_ignore_a_shift(rng):
    z = rng.standard_normal((3, 2, 5)) * 4
    powers = np.exp(z)
    np.testing.assert_allclose(losses.softmax(z), powers / powers.sum(axis=-1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(losses.log_softmax(z), np.log(losses.softmax(z)), rtol=1e-12)
    np.testing.assert_allclose(losses.softmax(z + 1000), losses.softmax(z), rtol=1e-12)
    np.testing.assert_allclose(losses.sigmoid(z), 1 / (1 + np.exp(-z)), rtol=1e-12)


def test_what_stands_at_ignored_positions_changes_no_bit(rng):
    logits = rng.standard_normal((2, 3, 4))
    loss, gradient = losses.softmax_cross_entropy(logits, TOKENS, ignore_index=-1)
    logits[TOKENS == -1] = np.nan
    garbage_loss, garbage_gradient = losses.softmax_cross_entropy(logits, TOKENS, ignore_index=-1)
    assert garbage_loss == loss
    assert np.array_equal(garbage_gradient, gradient)
    assert not gradient[TOKENS == -1].any()
    kept = TOKENS != -1
    alone, gradient_alone = losses.softmax_cross_entropy(logits[kept], TOKENS[kept])
    np.testing.assert_allclose(loss, alone, rtol=1e-14)
    np.testing.assert_allclose(gradient[kept], gradient_alone, rtol=1e-14)


@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_when_all_is_ignored_loss_and_gradient_are_zero(ignore_index, rng):
    logits = rng.standard_normal((2, 3, 4))
    loss, gradient = losses.softmax_cross_entropy(logits, np.full((2, 3), ignore_index), ignore_index)
    assert loss == 0
    assert np.array_equal(gradient, np.zeros((2, 3, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(name, rng):
    function, outputs, targets, options = pairs(rng)[name]
    right_loss, right_gradient = function(outputs, targets, **options)
    strict_xp.moves["to_host"] = 0
    loss, gradient = function(strict_xp.asarray(outputs), strict_xp.asarray(targets), **options)
    assert strict_xp.moves["to_host"] == 0
    assert close(loss, right_loss)
    assert close(gradient, right_gradient)


@pytest.mark.parametrize(
    ("function", "outputs", "targets", "error", "message"),
    [
        (
            "binary_cross_entropy",
            np.ones(3),
            np.ones((3, 1)),
            ValueError,
            r"targets has shape \(3, 1\), expected \(3,\)",
        ),
        ("binary_cross_entropy", np.ones(3), [1, 0], ValueError, r"targets has shape \(2,\), expected \(3,\)"),
        ("binary_cross_entropy", np.ones(0), np.ones(0), ValueError, r"logits has shape \(0,\), expected at least one"),
        ("binary_cross_entropy", np.ones(3), np.array([1, -1, 1]), ValueError, r"targets\[1\] is -1, expected numbers"),
        (
            "binary_cross_entropy",
            np.ones(2),
            np.array([1, np.nan]),
            ValueError,
            r"targets\[1\] is nan, expected numbers",
        ),
        (
            "softmax_cross_entropy",
            np.ones((3, 2)),
            np.ones((3, 2), int),
            ValueError,
            r"shape \(3, 2\), expected \(3,\)",
        ),
        (
            "softmax_cross_entropy",
            np.ones((2, 2)),
            np.array([[0.5, 0.5], [0.5, 0.6]]),
            ValueError,
            r"targets\[1\] holds 0.5 to 0.6 and sums to 1.1, expected probabilities",
        ),
        (
            "softmax_cross_entropy",
            np.ones((2, 2)),
            np.array([0, 2]),
            ValueError,
            r"targets\[1\] is 2, expected a class",
        ),
        (
            "softmax_cross_entropy",
            np.ones((2, 2)),
            np.array([-1, 0]),
            ValueError,
            r"targets\[0\] is -1, expected a class",
        ),
        (
            "softmax_cross_entropy",
            np.ones((2, 2)),
            np.ones(2),
            TypeError,
            "targets has dtype float64, expected integers",
        ),
        (
            "softmax_cross_entropy",
            np.ones((0, 2)),
            np.ones((0, 2)),
            ValueError,
            r"logits has shape \(0, 2\), expected at",
        ),
        (
            "softmax_cross_entropy",
            np.ones((0, 2)),
            np.ones(0, int),
            ValueError,
            r"logits has shape \(0, 2\), expected at",
        ),
        (
            "mean_squared_error",
            np.ones(3),
            np.ones(2),
            ValueError,
            r"targets has shape \(2,\), expected \(3,\) for outputs",
        ),
    ],
)
def test_wrong_arguments_are_named(function, outputs, targets, error, message):
    with pytest.raises(error, match=message):
        getattr(losses, function)(outputs, targets)


def test_no_probabilities_are_ignored():
    with pytest.raises(ValueError, match="ignore_index is -1, expected None where targets are probabilities"):
        losses.softmax_cross_entropy(np.zeros((2, 2)), np.full((2, 2), 0.5), ignore_index=-1)


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_the_divergence_and_its_gradient_equal_pytorchs_and_the_complex_step(size, rng):
    logits, reference = rng.standard_normal((2, 3, 4)) * size, rng.standard_normal((2, 3, 4)) * size
    tensor = torch.tensor(logits, requires_grad=True)
    log_p = torch.log_softmax(torch.tensor(reference), dim=-1)
    right = torch.nn.functional.kl_div(torch.log_softmax(tensor, dim=-1), log_p, reduction="none", log_target=True)
    right = right.sum(dim=-1).mean()
    right.backward()
    loss, gradient = losses.kl_divergence(logits, reference)
    np.testing.assert_allclose(loss, right.item(), rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-16)
    step = complex_step(
        lambda a: losses.kl_divergence(a["z"], reference.astype(complex))[0], {"z": logits.astype(complex)}, "z"
    )
    assert relative_error(gradient, step) < 1e-12
    assert losses.kl_divergence(reference, reference)[0] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_divergence_keeps_dtype_and_device(dtype, rng):
    z, reference = rng.standard_normal((2, 3, 4)).astype(dtype)
    loss, gradient = losses.kl_divergence(z, reference)
    on_device = losses.kl_divergence(strict_xp.asarray(z), strict_xp.asarray(reference))
    assert loss.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(on_device[1].get(), gradient, rtol=1e-6)
    with pytest.raises(ValueError, match=r"reference has shape \(2, 4\), expected \(3, 4\) as logits"):
        losses.kl_divergence(z, reference[:2])
