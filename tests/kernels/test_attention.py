"""Attention: values by hand and by PyTorch, exact gradients, and indifference to padding."""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.kernels import attention

KINDS = ("dot", "additive")
LENGTHS = np.array([4, 1, 3])


def forward(kind, a, lengths=None):
    """The contexts, the weights and the cache of arguments by name."""
    if kind == "dot":
        return attention.dot_forward(a["q"], a["k"], a["v"], lengths)
    return attention.additive_forward(a["q"], a["k"], a["v"], a["w"], lengths)


def backward(kind, cache, dcontext, dweights=None):
    """The gradients by name."""
    found = (attention.dot_backward if kind == "dot" else attention.additive_backward)(cache, dcontext, dweights)
    return dict(zip(("q", "k", "v", "w"), found))


def arguments(kind, rng, T=2, S=4, B=3, A=5, M=6, dtype=np.float64):
    """Random ones of these sizes."""
    shapes = {"q": (T, B, A), "k": (S, B, A), "v": (S, B, M)} | ({"w": (A,)} if kind == "additive" else {})
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_are_the_means_of_the_real_values_weighted_by_the_softmax_of_the_scores(kind, rng):
    a = arguments(kind, rng)
    context, weights, _ = forward(kind, a, LENGTHS)
    for t, b in np.ndindex(2, 3):
        S = LENGTHS[b]
        if kind == "dot":
            scores = [a["q"][t, b] @ a["k"][s, b] for s in range(S)]
        else:
            scores = [a["w"] @ np.tanh(a["q"][t, b] + a["k"][s, b]) for s in range(S)]
        powers = np.exp(scores)
        np.testing.assert_allclose(weights[t, b], [*(powers / powers.sum()), *[0.0] * (4 - S)], rtol=1e-13)
        np.testing.assert_allclose(context[t, b], powers / powers.sum() @ a["v"][:S, b], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), asked=st.booleans())
def test_gradients_equal_the_complex_step(data, kind, asked):
    sizes = {name: data.draw(st.integers(1, 4), label=name) for name in "TSBAM"}
    lengths = data.draw(st.none() | st.lists(st.integers(1, sizes["S"]), min_size=sizes["B"], max_size=sizes["B"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    a = arguments(kind, rng, **sizes, dtype=complex)
    context, weights, cache = forward(kind, a, lengths)
    dcontext, dweights = (rng.standard_normal(each.shape).astype(complex) for each in (context, weights))

    def loss(shifted):
        c, w, _ = forward(kind, shifted, lengths)
        return (c * dcontext).sum() + ((w * dweights).sum() if asked else 0)

    found = backward(kind, cache, dcontext, dweights if asked else None)
    scale = max(np.abs(each).max() for each in found.values())
    for name in a:
        right = complex_step(loss, a, name)
        assert np.abs(found[name].real - right).max() <= 1e-13 * max(scale, 1.0), name


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_pytorchs(kind, rng):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    a = arguments(kind, rng, T=3)
    context, weights, cache = forward(kind, a, LENGTHS)
    dcontext, dweights = rng.standard_normal(context.shape), rng.standard_normal(weights.shape)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in a.items()}
    if kind == "dot":
        scores = torch.einsum("tba,sba->tbs", p["q"], p["k"])
    else:
        scores = torch.tanh(p["q"][:, None] + p["k"][None]).matmul(p["w"]).permute(0, 2, 1)
    past = torch.arange(4)[None] >= torch.tensor(LENGTHS)[:, None]
    there = torch.softmax(scores.masked_fill(past[None], -torch.inf), dim=2)
    mean = torch.einsum("tbs,sbm->tbm", there, p["v"])
    ((mean * torch.tensor(dcontext)).sum() + (there * torch.tensor(dweights)).sum()).backward()
    np.testing.assert_allclose(context, mean.detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weights, there.detach(), rtol=1e-12, atol=1e-14)
    for name, gradient in backward(kind, cache, dcontext, dweights).items():
        assert relative_error(gradient, p[name].grad.numpy()) < 1e-13, name


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_garbage_past_the_end_changes_no_bit(kind, garbage, rng):
    a = arguments(kind, rng)
    context, weights, cache = forward(kind, a, LENGTHS)
    dweights = rng.standard_normal(weights.shape)
    right = backward(kind, cache, context, dweights)
    for name in ("k", "v"):
        a[name][1:, 1], a[name][3:, 2] = garbage, garbage
    dweights[:, 1, 1:], dweights[:, 2, 3:] = garbage, garbage
    again, same, cache = forward(kind, a, LENGTHS)
    np.testing.assert_array_equal(again, context)
    np.testing.assert_array_equal(same, weights)
    assert not weights[:, 1, 1:].any() and not weights[:, 2, 3:].any()
    for name, gradient in backward(kind, cache, context, dweights).items():
        np.testing.assert_array_equal(gradient, right[name], err_msg=name)
        if name in ("k", "v"):
            assert not gradient[1:, 1].any() and not gradient[3:, 2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_any_size_give_weights_that_sum_to_1(kind, rng):
    a = arguments(kind, rng)
    a["w" if kind == "additive" else "q"] *= 1e4
    context, weights, cache = forward(kind, a, LENGTHS)
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, rtol=1e-14)
    assert all(np.isfinite(each).all() for each in (context, *backward(kind, cache, context).values()))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("kind", KINDS)
def test_the_dtype_stays_and_nothing_given_is_changed(kind, dtype, lengths, rng):
    a = arguments(kind, rng, dtype=dtype)
    before = {name: array.copy() for name, array in a.items()}
    context, weights, cache = forward(kind, a, lengths)
    upstream = weights.copy()
    first, second = (backward(kind, cache, context, weights) for _ in range(2))
    np.testing.assert_array_equal(weights, upstream)
    assert context.dtype == weights.dtype == dtype
    for name, array in before.items():
        np.testing.assert_array_equal(a[name], array)
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == dtype and first[name].shape == array.shape


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("kind", KINDS)
def test_device_arrays_give_the_same_numbers_without_hidden_copies(kind, lengths, rng):
    a = arguments(kind, rng)
    context, weights, cache = forward(kind, a, lengths)
    there = forward(kind, {name: strict_xp.asarray(array) for name, array in a.items()}, lengths)
    assert close(there[0], context)
    assert close(there[1], weights)
    for name, gradient in backward(kind, there[2], there[0], there[1]).items():
        assert close(gradient, backward(kind, cache, context, weights)[name]), name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"q": np.ones((2, 3))}, r"q has shape \(2, 3\), expected \(T, B, A\)"),
        ({"k": np.ones((0, 3, 5))}, r"k has shape \(0, 3, 5\), expected \(S, B, A\), none 0"),
        ({"k": np.ones((4, 3, 6))}, r"q has shape \(2, 3, 5\), expected \(2, 3, 6\) \(T, B, A\) with k \(S, B, A\)"),
        ({"v": np.ones((3, 3, 6))}, r"v has shape \(3, 3, 6\), expected \(4, 3, 6\)"),
        ({"w": np.ones(4)}, r"w has shape \(4,\), expected \(5,\)"),
        ({"v": np.ones((4, 3, 6), np.float32)}, "v has dtype float32, expected float64"),
    ],
)
def test_what_does_not_fit_is_named(changed, message, rng):
    a = arguments("additive", rng) | changed
    with pytest.raises((TypeError, ValueError), match=message):
        forward("additive", a, LENGTHS)
    if "w" not in changed:
        with pytest.raises((TypeError, ValueError), match=message):
            forward("dot", a, LENGTHS)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_lengths_and_gradients_are_named(kind, rng):
    a = arguments(kind, rng)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 5"):
        forward(kind, a, [4, 5, 1])
    context, weights, cache = forward(kind, a, LENGTHS)
    with pytest.raises(ValueError, match=r"dcontext has shape \(1, 3, 6\), expected \(2, 3, 6\)"):
        backward(kind, cache, context[:1])
    with pytest.raises(ValueError, match=r"dweights has shape \(2, 3, 3\), expected \(2, 3, 4\)"):
        backward(kind, cache, context, weights[:, :, :3])
