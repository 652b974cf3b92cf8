"""Optimizers follow PyTorch's to the last digits, allocate nothing, resume to the same bits, and refuse misfits."""

from __future__ import annotations

import copy
import io
import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
import strict_xp
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import torch

from rnnscratch import optimizers as opt
from rnnscratch.schedules import CosineSchedule, StepSchedule

READ_ONLY = np.ones(2)
READ_ONLY.flags.writeable = False
SHAPES = {"E": (7, 5), "W": (3, 2, 4), "b": (6,), "scale": ()}
PEERS = {
    "SGD": (lambda: opt.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "Momentum": (lambda: opt.Momentum(0.1, 0.8), lambda p: torch.optim.SGD(p, 0.1, momentum=0.8)),
    "Nesterov": (
        lambda: opt.Momentum(0.1, 0.8, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True),
    ),
    "Adagrad": (lambda: opt.Adagrad(0.1), lambda p: torch.optim.Adagrad(p, 0.1)),
    "RMSProp": (lambda: opt.RMSProp(0.1, 0.9), lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.9)),
    "Adam": (lambda: opt.Adam(0.1), lambda p: torch.optim.Adam(p, 0.1)),
    "Adam, large eps": (
        lambda: opt.Adam(0.1, 0.7, 0.9, 0.3),
        lambda p: torch.optim.Adam(p, 0.1, betas=(0.7, 0.9), eps=0.3),
    ),
    "AdamW": (
        lambda: opt.AdamW(0.1, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.2),
    ),
}
DEFAULTS = [
    (opt.Adagrad, "Adagrad"),
    (opt.RMSProp, "RMSprop"),
    (opt.Adam, "Adam"),
    (opt.AdamW, "AdamW"),
]


def draw(rng, dtype="float64"):
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def assert_follows_pytorch(ours, theirs_of, rng, dtype, rtol, schedule=None):
    params = draw(rng, dtype)
    tensors = {name: torch.tensor(value) for name, value in params.items()}
    theirs = theirs_of(list(tensors.values()))
    for step in range(12):
        grads = draw(rng, dtype)
        if schedule is not None:
            ours.learning_rate = theirs.param_groups[0]["lr"] = schedule(step)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
        ours.step(params, grads)
        theirs.step()
        for name, tensor in tensors.items():
            assert params[name].dtype == dtype
            np.testing.assert_allclose(params[name], tensor.numpy(), rtol=rtol, atol=rtol, err_msg=f"{name}, {step}")


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("name", PEERS)
def test_every_step_equals_pytorchs(name, dtype, rtol, rng):
    """SGD is Eqs 19-23."""
    ours, theirs_of = PEERS[name]
    assert_follows_pytorch(ours(), theirs_of, rng, dtype, rtol)


@pytest.mark.parametrize("name", PEERS)
def test_a_learning_rate_assigned_between_steps_counts_from_the_next(name, rng):
    ours, theirs_of = PEERS[name]
    assert_follows_pytorch(ours(), theirs_of, rng, "float64", 1e-12, opt.cosine_schedule(0.3, 10, 0.01))


@pytest.mark.parametrize(("ours", "theirs"), DEFAULTS)
def test_the_defaults_are_pytorchs(ours, theirs, rng):
    assert_follows_pytorch(ours(), getattr(torch.optim, theirs), rng, "float64", 1e-12)


@pytest.mark.parametrize("piece", [1, 4, 35, 10**6])
@pytest.mark.parametrize("name", PEERS)
def test_the_piece_size_changes_no_bit(name, piece, rng, monkeypatch):
    params, grads = draw(rng), draw(rng)
    whole = {key: value.copy() for key, value in params.items()}
    for optimizer, arrays in ((PEERS[name][0](), whole), (PEERS[name][0](), params)):
        for _ in range(3):
            optimizer.step(arrays, grads)
        monkeypatch.setattr(opt, "PIECE", piece)
    for key, value in params.items():
        assert np.array_equal(value, whole[key]), key


@pytest.mark.parametrize("name", PEERS)
def test_steps_after_the_first_allocate_no_arrays(name, rng):
    params = {"E": rng.standard_normal((500, 200)), "b": rng.standard_normal(1000)}
    grads = {key: np.ones_like(value) for key, value in params.items()}
    optimizer = PEERS[name][0]()
    optimizer.step(params, grads)
    tracemalloc.start()
    try:
        for _ in range(5):
            optimizer.step(params, grads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8000  # views and Python objects; the smallest array has 8000 bytes, the largest 800,000


@pytest.mark.parametrize("name", PEERS)
def test_only_params_change_and_they_change_in_place(name, rng):
    params, grads = draw(rng), draw(rng)
    arrays, before = dict(params), {key: value.copy() for key, value in params.items()}
    grads_before = {key: value.copy() for key, value in grads.items()}
    PEERS[name][0]().step(params, grads)
    for key in params:
        assert params[key] is arrays[key]
        assert not np.array_equal(params[key], before[key])
        assert np.array_equal(grads[key], grads_before[key])


@pytest.mark.parametrize("name", PEERS)
def test_a_saved_state_resumes_to_the_same_bits(name, rng):
    params, sequence = draw(rng, "float32"), [draw(rng, "float32") for _ in range(6)]
    first = PEERS[name][0]()
    for grads in sequence[:3]:
        first.step(params, grads)
    first.learning_rate = 0.037
    file = io.BytesIO()
    np.savez(file, **first.state_dict())
    resumed = {key: value.copy() for key, value in params.items()}
    for grads in sequence[3:]:
        first.step(params, grads)
    second = PEERS[name][0]()
    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        second.load_state_dict(dict(state))
    for grads in sequence[3:]:
        second.step(resumed, grads)
    for key, value in params.items():
        assert np.array_equal(resumed[key], value), key


def test_a_state_dict_is_a_copy_and_so_is_what_was_loaded(rng):
    params, grads = draw(rng), draw(rng)
    optimizer = opt.Adam()
    optimizer.step(params, grads)
    state = optimizer.state_dict()
    other = opt.Adam()
    other.load_state_dict(state)
    saved = {key: np.copy(value) for key, value in state.items()}
    for _ in range(2):
        optimizer.step(params, grads)
        other.step(params, grads)
    for key, value in state.items():
        assert np.array_equal(value, saved[key]), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("steps"), "state has no steps"),
        (
            lambda s: s.update({"b/velocity": np.ones(6)}),
            r"state has 'b/velocity', expected slots \('mean', 'squares'\)",
        ),
        (lambda s: s.pop("b/mean"), r"state of 'b' has slots \['squares'\], expected \['mean', 'squares'\]"),
        (lambda s: s.update(steps=-1), "steps is -1, expected a number of at least 0"),
        (lambda s: s.update(steps=1.5), "steps is 1.5, expected a whole number"),
        (lambda s: s.update(steps=np.inf), "steps is inf"),
        (lambda s: s.update(steps=None), "steps is None"),
        (lambda s: s.update(learning_rate=np.nan), "learning_rate is nan"),
        (lambda s: s["b/mean"].fill(np.nan), "state\\['b/mean'\\] holds NaN or infinity"),
        (lambda s: s["b/squares"].fill(-1), "state\\['b/squares'\\] holds negative numbers, expected squares"),
        (lambda s: s.update({"b/mean": [0.0] * 6}), "state\\['b/mean'\\] is list, expected an array"),
        (
            lambda s: s.update({"b/mean": np.zeros(6, int)}),
            "state\\['b/mean'\\] is ndarray, expected an array of float",
        ),
    ],
)
def test_a_state_of_another_kind_is_refused_and_changes_nothing(change, message, rng):
    optimizer, other = opt.Adam(), opt.Adam()
    optimizer.step(draw(rng), draw(rng))
    other.step(draw(rng), draw(rng))
    before, state = optimizer.state_dict(), other.state_dict()
    change(state)
    with pytest.raises((ValueError, TypeError), match=message):
        optimizer.load_state_dict(state)
    for key, value in optimizer.state_dict().items():
        assert np.array_equal(value, before[key]), key


def misfit_state(params, grads, optimizer):
    optimizer.step({"b": np.ones(4)}, {"b": np.ones(4)})
    optimizer.steps = 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, g, o: g.pop("b"), ValueError, "grads has other names than params; only in one of them: b"),
        (lambda p, g, o: g.update(b=np.ones(5)), ValueError, r"grads\['b'\] has shape \(5,\), expected \(6,\)"),
        (lambda p, g, o: g.update(b=np.ones(6, "f4")), TypeError, r"grads\['b'\] has dtype float32, expected float64"),
        (lambda p, g, o: g.update(b=[0.0] * 6), ValueError, r"grads\['b'\] has shape None, expected \(6,\)"),
        (lambda p, g, o: p.update(b=np.ones(6, int)), TypeError, r"params\['b'\] is int64, expected an array of float"),
        (lambda p, g, o: p.update(b=[1.0] * 6), TypeError, r"params\['b'\] is list, expected an array of float"),
        (lambda p, g, o: p.update(b=np.ones(12)[::2]), ValueError, r"params\['b'\] is not C-contiguous"),
        (lambda p, g, o: g.update(b=strict_xp.asarray(np.ones(6))), TypeError, "arrays on different devices"),
        (misfit_state, ValueError, r"the state's b/mean has shape \(4,\), expected \(6,\)"),
        (lambda p, g, o: setattr(o, "learning_rate", math.nan), ValueError, "learning_rate is nan, expected a number"),
        (lambda p, g, o: setattr(o, "learning_rate", "0.1"), TypeError, "learning_rate is '0.1', expected a number"),
    ],
    ids=["names", "shape", "dtype", "list", "integers", "param list", "strided", "device", "state", "nan", "text"],
)
def test_what_does_not_fit_is_named_before_anything_is_changed(change, error, message, rng):
    params, grads, optimizer = draw(rng), draw(rng), opt.Adam()
    change(params, grads, optimizer)
    before, steps = {key: np.copy(value) for key, value in params.items()}, optimizer.steps
    with pytest.raises(error, match=message):
        optimizer.step(params, grads)
    assert optimizer.steps == steps
    for key, value in params.items():
        assert np.array_equal(value, before[key]), key


def test_a_gradient_of_any_layout_gives_the_same_bits(rng):
    params, grads = {"W": rng.standard_normal((4, 3))}, {"W": rng.standard_normal((4, 3))}
    other = {"W": params["W"].copy()}
    opt.Adam().step(params, grads)
    opt.Adam().step(other, {"W": np.asfortranarray(grads["W"])})
    assert np.array_equal(params["W"], other["W"])


@pytest.mark.parametrize("name", PEERS)
def test_tiny_gradients_raise_no_floating_point_error(name):
    params, grads = {"b": np.ones(3, "float32")}, {"b": np.array([1e-30, 0.0, -1e-38], "float32")}
    optimizer = PEERS[name][0]()
    with np.errstate(all="raise"):
        for _ in range(3):
            optimizer.step(params, grads)
    assert np.isfinite(params["b"]).all()


@pytest.mark.parametrize("name", PEERS)
def test_the_device_gets_no_host_arrays_and_gives_the_same_bits(name, rng):
    params, grads = draw(rng), draw(rng)
    on_device, device_grads = ({k: strict_xp.asarray(v) for k, v in arrays.items()} for arrays in (params, grads))
    ours, theirs = PEERS[name][0](), PEERS[name][0]()
    strict_xp.moves.update(to_host=0, to_device=0)
    for _ in range(3):
        ours.step(params, grads)
        theirs.step(on_device, device_grads)
    assert strict_xp.moves["to_host"] == strict_xp.moves["to_device"] == 0
    for key, value in params.items():
        assert close(on_device[key], value), key


@pytest.mark.parametrize("cls", [opt.SGD, opt.Momentum, opt.Adagrad, opt.RMSProp, opt.Adam, opt.AdamW])
@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_wrong_learning_rate_is_named(cls, rate):
    with pytest.raises(ValueError, match="learning_rate is .*, expected a number above 0.0"):
        cls(rate)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: opt.Momentum(momentum=1.0),
            ValueError,
            "momentum is 1.0, expected a number of at least 0.0 and below 1",
        ),
        (lambda: opt.RMSProp(decay=-0.1), ValueError, "decay is -0.1"),
        (lambda: opt.Adam(beta1=1.0), ValueError, "beta1 is 1.0"),
        (lambda: opt.Adam(beta2="x"), TypeError, "beta2 is 'x', expected a number"),
        (lambda: opt.Adagrad(eps=0.0), ValueError, "eps is 0.0, expected a number above 0.0"),
        (lambda: opt.AdamW(weight_decay=-1.0), ValueError, "weight_decay is -1.0"),
        (lambda: opt.SGD(True), TypeError, "learning_rate is True, expected a number"),
        (lambda: opt.step_schedule(0.1, 0), ValueError, "every is 0, expected at least 1"),
        (lambda: opt.step_schedule(-0.1, 3), ValueError, "learning_rate is -0.1"),
        (lambda: opt.cosine_schedule(0.1, 0), ValueError, "steps is 0"),
        (lambda: opt.cosine_schedule(0.1, 5, -1.0), ValueError, "final is -1.0"),
        (lambda: opt.warm_up(opt.step_schedule(0.1, 3), 0), ValueError, "steps is 0"),
        (lambda: opt.warm_up(0.1, 3), TypeError, "schedule is 0.1, expected a function"),
        (lambda: opt.Plateau(factor=1.0), ValueError, "factor is 1.0"),
        (lambda: opt.Plateau(patience=-1), ValueError, "patience is -1"),
        (lambda: opt.cosine_schedule(0.1, None), TypeError, "steps is None, expected a whole number"),
        (lambda: opt.Momentum(nesterov="no"), TypeError, "nesterov is 'no', expected True or False"),
        (lambda: opt.Plateau(patience=2.7), TypeError, "patience is 2.7, expected a whole number"),
        (
            lambda: opt.Plateau().load_state_dict({"best": 1.0}),
            ValueError,
            "state holds 'best', expected 'best', 'wait",
        ),
        (lambda: opt.step_schedule(0.1, 2.5), TypeError, "every is 2.5, expected a whole number"),
        (lambda: opt.clip_gradients({"b": [1.0]}, 1.0), TypeError, r"grads\['b'\] is list, expected an array"),
        (lambda: opt.clip_gradients({"a": np.ones(2), "b": READ_ONLY}, 1.0), ValueError, r"grads\['b'\] is read-only"),
        (lambda: opt.SGD().step({"b": READ_ONLY}, {"b": np.ones(2)}), ValueError, r"params\['b'\] is read-only"),
        (lambda: opt.clip_gradients({}, 1.0), ValueError, "grads is empty"),
        (
            lambda: opt.clip_gradients({"b": np.ones(2)}, 0.0),
            ValueError,
            "max_norm is 0.0, expected a number above 0.0",
        ),
        (lambda: opt.clip_gradients({"b": np.ones(2)}, max_value=-1), ValueError, "max_value is -1"),
    ],
)
def test_wrong_options_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_repr_shows_the_options():
    assert repr(opt.Momentum(0.5, 0.25)) == "Momentum(learning_rate=0.5, momentum=0.25, nesterov=False)"


def global_norm(grads):
    return math.sqrt(sum(float(value) ** 2 for grad in grads.values() for value in np.ravel(grad)))


@settings(max_examples=40, deadline=None)
@given(
    max_norm=st.none() | st.floats(0.1, 100),
    max_value=st.none() | st.floats(0.1, 3),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32),
)
def test_clipping_equals_pytorchs(max_norm, max_value, dtype, seed):
    grads = draw(np.random.default_rng(seed), dtype)
    tensors = [torch.tensor(grad) for grad in grads.values()]
    for tensor in tensors:
        tensor.grad = tensor.clone()
    norm = global_norm(grads)
    if max_value is not None:
        torch.nn.utils.clip_grad_value_(tensors, max_value)
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    assert opt.clip_gradients(grads, max_norm, max_value) == pytest.approx(norm, rel=1e-6)
    for grad, tensor in zip(grads.values(), tensors):
        assert grad.dtype == dtype
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-12 if dtype == "float64" else 1e-5)


def test_gradients_within_the_norm_keep_their_bits(rng):
    grads = draw(rng)
    before = {key: value.copy() for key, value in grads.items()}
    opt.clip_gradients(grads, max_norm=global_norm(grads) * 1.001)
    for key, value in grads.items():
        assert np.array_equal(value, before[key])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("first", [True, False])
def test_a_norm_that_is_not_finite_is_returned_and_leaves_the_gradients(bad, first):
    grads = {"a": np.array([3.0, 4.0, 9e9]), "b": np.array([5.0])}
    grads["a" if first else "b"][0] = bad
    before = {key: value.copy() for key, value in grads.items()}
    norm = opt.clip_gradients(grads, max_norm=1.0, max_value=1.0)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    for key, value in grads.items():
        assert np.array_equal(value, before[key], equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e30), ("float32", 1e-30), ("float64", 1e200), ("float64", 1e-200)]
)
def test_the_norm_is_right_where_the_squares_overflow_or_vanish(dtype, size):
    grads = {"a": np.array([3 * size, 0], dtype), "b": np.array([-4 * size], dtype), "empty": np.zeros(0, dtype)}
    with np.errstate(all="raise"):
        assert opt.clip_gradients(grads) == pytest.approx(5 * size, rel=1e-6)
    assert opt.clip_gradients({"a": np.zeros(3)}) == 0.0


@pytest.mark.parametrize("max_value", [None, 0.7])
def test_clipping_on_the_device_reads_back_only_the_norm(max_value, rng):
    grads = draw(rng)
    on_device = {key: strict_xp.asarray(value) for key, value in grads.items()}
    strict_xp.moves["to_host"] = 0
    norm = opt.clip_gradients(on_device, 0.5, max_value)
    assert strict_xp.moves["to_host"] == (1 if max_value is None else 2)
    assert norm == pytest.approx(opt.clip_gradients(grads, 0.5, max_value), rel=1e-12)
    for key, value in grads.items():
        assert close(on_device[key], value), key


def torch_rates(make, steps, learning_rate=0.3):
    optimizer = torch.optim.SGD([torch.zeros(1)], learning_rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_step_schedule_equals_step_lr():
    rates = torch_rates(lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5), 20)
    np.testing.assert_allclose([opt.step_schedule(0.3, 3, 0.5)(step) for step in range(20)], rates, rtol=1e-12)


def test_cosine_schedule_equals_cosine_annealing_and_stays_at_its_end():
    rates = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 17, 0.02), 18)
    schedule = opt.cosine_schedule(0.3, 17, 0.02)
    np.testing.assert_allclose([schedule(step) for step in range(18)], rates, rtol=1e-12)
    assert schedule(18) == schedule(1000) == 0.02


def test_warm_up_equals_linear_lr_and_then_the_schedule_itself():
    rates = torch_rates(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / 8, total_iters=7), 12)
    np.testing.assert_allclose([opt.warm_up(lambda _: 0.3, 8)(step) for step in range(12)], rates, rtol=1e-12)
    cosine = opt.cosine_schedule(0.3, 50)
    warmed = opt.warm_up(cosine, 8)
    assert [warmed(step) for step in range(7, 60)] == [cosine(step) for step in range(7, 60)]


@settings(max_examples=60, deadline=None)
@given(
    losses=st.lists(st.floats(0.01, 10) | st.sampled_from([math.nan, math.inf, 1.0]), max_size=25),
    patience=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 1e-4, 0.2]),
)
def test_plateau_equals_reduce_lr_on_plateau(losses, patience, threshold):
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=threshold, eps=0.0
    )
    ours = opt.Plateau(0.5, patience, threshold)
    for k, loss in enumerate(losses):
        theirs.step(loss)
        if k == len(losses) // 2:
            state, ours = ours.state_dict(), opt.Plateau(0.5, patience, threshold)
            ours.load_state_dict(state)
        assert ours.update(loss) == optimizer.param_groups[0]["lr"]


def test_plateau_takes_falling_negative_losses_as_improvement_and_rising_ones_not():
    plateau = opt.Plateau(0.5, patience=0, threshold=0.01)
    assert [plateau.update(loss) for loss in (-1.0, -1.1, -1.2, -1.195, -1.205)] == [1.0, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("name", ["SGD", "Momentum", "Adam"])
def test_an_optimizer_says_so_when_it_is_used_on_another_model(name, rng):
    params, grads, optimizer = draw(rng), draw(rng), getattr(opt, name)()
    optimizer.step(params, grads)
    twin = {key: value.copy() for key, value in params.items()}
    before = {key: value.copy() for key, value in twin.items()}
    with pytest.raises(ValueError, match="is another array than in the steps before, so this is another model"):
        optimizer.step(twin, grads)
    some = dict(list(params.items())[:1])
    with pytest.raises(ValueError, match="params has other names than in the steps before"):
        optimizer.step(some, {key: grads[key] for key in some})
    assert all(np.array_equal(twin[key], before[key]) for key in twin)
    copied, loaded = copy.deepcopy(optimizer), getattr(opt, name)()
    loaded.load_state_dict(optimizer.state_dict())
    optimizer.step(params, grads)
    for other in (copied, loaded):  # a copy, or a state that is loaded, may go on with a copy of the model
        own = {key: value.copy() for key, value in before.items()}
        other.step(own, grads)
        assert all(np.array_equal(own[key], params[key]) for key in own)


OPTIONS = {
    opt.SGD: ["learning_rate"],
    opt.Momentum: ["learning_rate", "momentum"],
    opt.Adagrad: ["learning_rate", "eps"],
    opt.RMSProp: ["learning_rate", "decay", "eps"],
    opt.Adam: ["learning_rate", "beta1", "beta2", "eps"],
    opt.AdamW: ["learning_rate", "beta1", "beta2", "eps", "weight_decay"],
    partial(opt.step_schedule, learning_rate=0.1, every=3): ["learning_rate", "every", "factor"],
    partial(opt.cosine_schedule, learning_rate=0.1, steps=3): ["learning_rate", "steps", "final"],
    partial(opt.warm_up, schedule=opt.step_schedule(0.1, 3), steps=3): ["schedule", "steps"],
    StepSchedule: ["learning_rate", "every", "factor"],
    CosineSchedule: ["learning_rate", "steps", "final"],
    opt.Plateau: ["factor", "patience", "threshold"],
    partial(opt.clip_gradients, {"b": np.ones(2)}): ["max_norm", "max_value"],
}
HUGE = 10**400
NOT_NUMBERS = [
    math.nan,
    None,
    math.inf,
    -math.inf,
    -5,
    -5.0,
    "1",
    True,
    np.complex64(0.5),
    np.float32("nan"),
    HUGE,
    [1],
]


@pytest.mark.parametrize("wrong", NOT_NUMBERS, ids=lambda wrong: f"{wrong!r:.20}")
@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in OPTIONS.items() for name in names])
def test_an_option_that_is_no_number_of_its_range_is_refused_by_name(make, name, wrong):
    if wrong is None and name.startswith("max_"):
        pytest.skip("None means that nothing is clipped")
    rest = {StepSchedule: {"learning_rate": 0.1, "every": 3, "factor": 0.5}}.get(make, {})
    rest = rest or {CosineSchedule: {"learning_rate": 0.1, "steps": 3, "final": 0.0}}.get(make, {})
    if wrong is HUGE and name in ("every", "steps"):
        pytest.skip("a whole number, however large")
    with pytest.raises((TypeError, ValueError), match=f"{name} is "):
        make(**{**rest, name: wrong})


def steps_of(optimizer, params, draws, fixed=()):
    for grads in draws:
        optimizer.step(params, grads, fixed)


@pytest.mark.parametrize("name", PEERS)
def test_a_parameter_that_was_fixed_begins_as_in_an_optimizer_of_its_own(name, rng):
    """Also where the state went through a file in between; before, it keeps its bits."""
    params, draws = draw(rng), [draw(rng) for _ in range(6)]
    own = {key: value.copy() for key, value in params.items()}
    optimizer, alone, whole = (PEERS[name][0]() for _ in range(3))
    steps_of(
        whole, {key: own[key] for key in ("W", "b", "scale")}, [{k: g[k] for k in ("W", "b", "scale")} for g in draws]
    )
    steps_of(alone, {"E": own["E"]}, [{"E": grads["E"]} for grads in draws[2:]])
    before = params["E"].copy()
    steps_of(optimizer, params, draws[:2], {"E"})
    np.testing.assert_array_equal(params["E"], before)
    steps_of(optimizer, params, draws[2:4])
    resumed = PEERS[name][0]()
    resumed.load_state_dict(optimizer.state_dict())
    steps_of(resumed, params, draws[4:])
    for key, value in params.items():
        assert np.array_equal(value, own[key]), key


@pytest.mark.parametrize("name", PEERS)
def test_rates_scale_the_learning_rate_of_what_begins_so(name, rng):
    params, draws = draw(rng), [draw(rng) for _ in range(3)]
    apart = {key: value.copy() for key, value in params.items()}
    optimizer = PEERS[name][0]()
    optimizer.rates = {"": 0.25, "E": 0.5, "W": 2.0}
    steps_of(optimizer, params, draws)
    for key, factor in {"E": 0.5, "W": 2.0, "b": 0.25, "scale": 0.25}.items():
        alone = PEERS[name][0]()
        alone.learning_rate *= factor
        steps_of(alone, {key: apart[key]}, [{key: grads[key]} for grads in draws])
        np.testing.assert_allclose(params[key], apart[key], rtol=1e-14, err_msg=key)


@pytest.mark.parametrize("cls", [opt.SGD, opt.Momentum, opt.Adagrad, opt.RMSProp, opt.Adam, opt.AdamW])
def test_every_optimizer_takes_rates_and_shows_them(cls):
    optimizer = cls(rates={"E": 2})
    assert optimizer.rates == {"E": 2.0} and "rates={'E': 2.0}" in repr(optimizer)
    with pytest.raises(ValueError, match=r"rates\['E'\] is 0, expected a number above 0"):
        cls(rates={"E": 0})
    with pytest.raises(TypeError, match="rates is 2, expected a dict"):
        cls(rates=2)


def test_names_that_are_no_parameters_are_refused_and_change_nothing(rng):
    params, optimizer = draw(rng), opt.Adam(rates={"F": 0.5})
    before = {key: value.copy() for key, value in params.items()}
    with pytest.raises(ValueError, match="rates holds 'F', with which no parameter begins: E, W, b, scale"):
        optimizer.step(params, params)
    with pytest.raises(ValueError, match="fixed holds 'F', expected names of params"):
        opt.Adam().step(params, params, {"F"})
    assert optimizer.steps == 0 and all(np.array_equal(params[key], before[key]) for key in params)


@pytest.mark.parametrize("age", [0, 7, 1.5])
def test_a_number_of_steps_that_cannot_be_is_refused(age, rng):
    params, optimizer = draw(rng), opt.Adam()
    steps_of(optimizer, params, [draw(rng)] * 3)
    with pytest.raises(ValueError, match="E/steps"):
        opt.Adam().load_state_dict({**optimizer.state_dict(), "E/steps": age})
    with pytest.raises(ValueError, match="the steps of F, but no slots"):
        opt.Adam().load_state_dict({**optimizer.state_dict(), "F/steps": 2})


@pytest.mark.parametrize("piece", [2, 10**6])
@pytest.mark.parametrize(("decay", "weights"), [(0.5, [1, 2, 4, 8]), (1.0, [1, 1, 1, 1]), (0.25, [1, 4, 16, 64])])
def test_an_average_weighs_later_steps_by_its_decay_and_the_start_not_at_all(decay, weights, piece, rng, monkeypatch):
    monkeypatch.setattr(opt, "PIECE", piece)
    average, steps = opt.Average(decay), [draw(rng) for _ in weights]
    for step in steps:
        average.update(step)
    for name, value in average.values.items():
        expected = sum(weight * step[name] for weight, step in zip(weights, steps)) / sum(weights)
        np.testing.assert_allclose(value, expected, rtol=1e-12, err_msg=name)
    assert average.values["E"] is not steps[0]["E"]


@pytest.mark.parametrize("decay", [0.0, 1.5, "0.9"])
def test_a_decay_that_cannot_be_is_named(decay):
    with pytest.raises((ValueError, TypeError), match="decay is .*, expected a number"):
        opt.Average(decay)


def test_complex_gradients_have_no_largest_value(rng):
    grads = {"W": np.array([3.0 + 4.0j, 0.0])}
    with pytest.raises(TypeError, match=r"grads\['W'\] is complex128, expected real numbers where max_value is given"):
        opt.clip_gradients(grads, max_value=1.0)
    assert opt.clip_gradients(grads, max_norm=1.0) == 5.0
    assert abs(grads["W"][0]) == pytest.approx(1.0, rel=1e-5)


def test_an_empty_parameter_is_stepped_over_on_a_device():
    params, grads = ({"W": strict_xp.zeros((0, 3)), "b": strict_xp.ones(2)} for _ in range(2))
    opt.SGD(0.5).step(params, grads)
    assert params["b"].get().tolist() == [0.5, 0.5]


def test_the_norm_and_other_numbers_are_read_back_together(rng):
    grads = {"W": strict_xp.asarray(np.array([3.0, 0.0], "f4")), "b": strict_xp.asarray(np.array([[4.0]], "f4"))}
    loss, right = strict_xp.asarray(np.float32(0.1)), strict_xp.asarray(np.array([3]))
    strict_xp.moves["to_host"] = 0
    assert opt.norm_and(grads, loss, right, 2.5) == [5.0, float(np.float32(0.1)), 3.0, 2.5]
    assert strict_xp.moves["to_host"] == 1


@pytest.mark.parametrize("grads", [None, True, [np.ones(2)], np.ones(2), "W"])
def test_gradients_that_are_no_dict_are_named(grads):
    with pytest.raises(TypeError, match="grads is .*, expected a dict of arrays by name"):
        opt.clip_gradients(grads, max_norm=1.0)
