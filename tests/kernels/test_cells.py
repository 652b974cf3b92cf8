"""The check matrix: every cell's backward pass against the complex step, PyTorch, and itself."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import strict_xp
from cells import KERNELS, complex_step, draw, loss, relative_error, upstream
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.kernels import packing, rnn

NAMES = list(KERNELS)
RAGGED = {1: [1, 1, 1], 2: [1, 2, 1], 5: [3, 5, 1]}


def gradients(name, arguments, dhs, dstate, lengths=None, truncate=None):
    _, _, cache = KERNELS[name].forward(arguments, lengths)
    return KERNELS[name].backward(cache, dhs, dstate, truncate)


def assert_exact(name, arguments, dhs, dstate, lengths=None, least=0.0):
    """Every gradient agrees with the complex step to 1e-12 of its largest entry, or of `least` if that is more."""

    def f(shifted):
        hs, final, _ = KERNELS[name].forward(shifted, lengths)
        return loss(hs, final, dhs, dstate)

    found = gradients(name, arguments, dhs, dstate, lengths)
    for key in found:
        right = complex_step(f, arguments, key)
        if np.abs(right).max() < least:
            assert np.abs(found[key].real - right).max() < 1e-12 * least, f"{name}: gradient of {key}"
        else:
            assert relative_error(found[key].real, right) < 1e-12, f"{name}: gradient of {key}"


@pytest.mark.parametrize("upstreams", ["hs", "state", "both"])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("T", "B"), [(1, 3), (2, 1), (2, 3), (5, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_equals_the_complex_step(name, T, B, ragged, upstreams, rng):
    lengths = RAGGED[T][:B] if ragged else None
    arguments = draw(name, rng, T, B, D=2, H=3)
    dhs, dstate = upstream(name, rng, T, B, H=3)
    assert_exact(name, arguments, None if upstreams == "state" else dhs, {} if upstreams == "hs" else dstate, lengths)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_gradients_are_exact_for_any_shape_lengths_and_mask(data):
    name = data.draw(st.sampled_from(NAMES))
    T, B, D, H = (data.draw(st.integers(1, high)) for high in (5, 4, 3, 3))
    lengths = data.draw(st.none() | st.lists(st.integers(1, T), min_size=B, max_size=B))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arguments = draw(name, rng, T, B, D, H)
    if data.draw(st.booleans()):
        arguments["mask"] = (rng.random((B, H)) < 0.6).astype(complex) / 0.6
    # Normalising takes away the size of what is one number times a vector (D=1, H=1, one unit left by the mask): its
    # gradient is then a difference of numbers of size 1, as small as 1e-6, and right to their last digits.
    assert_exact(name, arguments, *upstream(name, rng, T, B, H), lengths, least=1.0 if name == "layer_norm" else 0.0)


@pytest.mark.parametrize("rows", [1, 4, 7, 10**6])
@pytest.mark.parametrize("lengths", [None, [6, 2, 5, 4]])
@pytest.mark.parametrize("name", NAMES)
def test_the_chunk_size_changes_nothing(name, lengths, rows, rng, monkeypatch):
    arguments = draw(name, rng, 6, 4, 3, 2, float)
    dhs, dstate = upstream(name, rng, 6, 4, 2, float)
    hs, _, _ = KERNELS[name].forward(arguments, lengths)
    whole = gradients(name, arguments, dhs, dstate, lengths)
    monkeypatch.setattr(packing, "CHUNK_ROWS", rows)
    assert relative_error(KERNELS[name].forward(arguments, lengths)[0], hs) < 1e-14
    for key, gradient in gradients(name, arguments, dhs, dstate, lengths).items():
        assert relative_error(gradient, whole[key]) < 1e-13, key


@pytest.mark.parametrize("lengths", [None, [4, 1, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_backward_twice_gives_the_same_bits_and_changes_nothing_it_was_given(name, lengths, rng):
    arguments = draw(name, rng, 4, 3, 2, 3, float)
    arguments["mask"] = (rng.random((3, 3)) < 0.6) / 0.6
    dhs, dstate = upstream(name, rng, 4, 3, 3, float)
    before = {key: value.copy() for key, value in {**arguments, "dhs": dhs, **dstate}.items()}
    hs, final, cache = KERNELS[name].forward(arguments, lengths)
    outputs = {"hs": hs.copy(), **{state: value.copy() for state, value in final.items()}}
    first = KERNELS[name].backward(cache, dhs, dstate)
    second = KERNELS[name].backward(cache, dhs, dstate)
    for key, gradient in first.items():
        assert np.array_equal(gradient, second[key]), key
    for key, value in {**arguments, "dhs": dhs, **dstate}.items():
        assert np.array_equal(value, before[key]), f"{key} was changed"
    for key, value in {"hs": hs, **final}.items():
        assert np.array_equal(value, outputs[key]), f"{key} was changed"


@pytest.mark.parametrize("name", NAMES)
def test_what_padding_holds_changes_nothing(name, rng):
    lengths = [2, 5, 1, 3]
    past = np.arange(5)[:, None] >= np.array(lengths)
    arguments = draw(name, rng, 5, 4, 2, 3, float)
    dhs, dstate = upstream(name, rng, 5, 4, 3, float)
    hs, final, _ = KERNELS[name].forward(arguments, lengths)
    clean = gradients(name, arguments, dhs, dstate, lengths)
    assert not hs[past].any()
    assert not clean["x"][past].any()
    garbage = {**arguments, "x": arguments["x"].copy()}
    garbage["x"][past] = np.nan
    dhs = dhs.copy()
    dhs[past] = np.nan
    hs_garbage, final_garbage, _ = KERNELS[name].forward(garbage, lengths)
    assert np.array_equal(hs, hs_garbage)
    for state in final:
        assert np.array_equal(final[state], final_garbage[state])
    for key, gradient in gradients(name, garbage, dhs, dstate, lengths).items():
        assert np.array_equal(gradient, clean[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_a_ragged_batch_equals_its_sequences_one_by_one(name, rng):
    lengths = [2, 5, 1, 5]
    arguments = draw(name, rng, 5, 4, 2, 3, float)
    dhs, dstate = upstream(name, rng, 5, 4, 3, float)
    hs, final, _ = KERNELS[name].forward(arguments, lengths)
    together = gradients(name, arguments, dhs, dstate, lengths)
    total = {key: np.zeros_like(value) for key, value in together.items()}
    for k, length in enumerate(lengths):
        alone = {key: value[k : k + 1] if key in ("h0", "c0") else value for key, value in arguments.items()}
        alone["x"] = arguments["x"][:length, k : k + 1]
        hs_alone, final_alone, cache = KERNELS[name].forward(alone)
        assert relative_error(hs[:length, k : k + 1], hs_alone) < 1e-14
        for state in final:
            assert relative_error(final[state][k : k + 1], final_alone[state]) < 1e-14
        some = {state: d[k : k + 1] for state, d in dstate.items()}
        for key, gradient in KERNELS[name].backward(cache, dhs[:length, k : k + 1], some).items():
            if key == "x":
                total["x"][:length, k : k + 1] = gradient
            elif key in ("h0", "c0"):
                total[key][k : k + 1] = gradient
            else:
                total[key] += gradient
    for key, gradient in together.items():
        assert relative_error(gradient, total[key]) < 1e-13, key


@pytest.mark.parametrize("lengths", [None, [7, 3, 4]])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("name", NAMES)
def test_truncation_equals_separate_segments_with_the_state_carried(name, k, lengths, rng):
    T, B = 7, 3
    arguments = draw(name, rng, T, B, 2, 3, float)
    dhs, dstate = upstream(name, rng, T, B, 3, float)
    found = gradients(name, arguments, dhs, dstate, lengths, truncate=k)
    ends = np.full(B, T) if lengths is None else np.array(lengths)
    expected = {key: np.zeros_like(value) for key, value in found.items()}
    for b in range(B):
        state = {key: arguments[key][b : b + 1] for key in ("h0", "c0") if key in arguments}
        for start in range(0, ends[b], k):
            stop = min(start + k, ends[b])
            part = {**arguments, **state, "x": arguments["x"][start:stop, b : b + 1]}
            _, final, cache = KERNELS[name].forward(part)
            last = {letter: d[b : b + 1] for letter, d in dstate.items()} if stop == ends[b] else {}
            for key, gradient in KERNELS[name].backward(cache, dhs[start:stop, b : b + 1], last).items():
                if key == "x":
                    expected["x"][start:stop, b : b + 1] = gradient
                elif key not in ("h0", "c0"):
                    expected[key] += gradient
                elif start == 0:
                    expected[key][b : b + 1] = gradient
            state = {f"{letter}0": value for letter, value in final.items()}
    for key, gradient in found.items():
        assert relative_error(gradient, expected[key]) < 1e-13, key


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_algorithm_1_over_all_steps_equals_the_single_reverse_pass(activation, rng):
    a = draw("rnn tanh", rng, 6, 3, 2, 4, float)
    dhs, _ = upstream("rnn tanh", rng, 6, 3, 4, float)
    _, _, cache = rnn.forward(a["x"], (a["h0"],), a["W"], a["U"], a["b"], activation=activation)
    dx, (dh0,), *weights = rnn.backward(cache, dhs)
    one_pass = dx, dh0, *weights
    for steps in (None, 6, 99):
        walked = rnn.algorithm_1(a["x"], a["h0"], a["W"], a["U"], a["b"], dhs, steps, activation)
        for found, right in zip(walked, one_pass):
            assert relative_error(found, right) < 1e-13


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_algorithm_1_cut_after_n_steps_keeps_exactly_the_paths_that_short(steps, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent oracle; it comes with the test extra")
    T, a = 6, draw("rnn tanh", rng, 6, 3, 2, 4, float)
    dhs, _ = upstream("rnn tanh", rng, 6, 3, 4, float)
    found = rnn.algorithm_1(a["x"], a["h0"], a["W"], a["U"], a["b"], dhs, steps)
    x, h0, W, U, b = (torch.tensor(a[key], requires_grad=True) for key in ("x", "h0", "W", "U", "b"))
    states = [h0]
    for t in range(T):
        states.append(torch.tanh(x[t] @ W + states[-1] @ U + b))
    total = 0
    for t in range(T):
        first = max(t - steps, 0)
        h = states[first].detach() if first > 0 or t > steps else h0
        for k in range(first, t + 1):
            h = torch.tanh(x[k] @ W + h @ U + b)
        total = total + (h * torch.tensor(dhs[t])).sum()
    total.backward()
    for gradient, tensor in zip(found, (x, h0, W, U, b)):
        assert relative_error(gradient, tensor.grad.numpy()) < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("lengths", [None, [2, 4, 1]])
@pytest.mark.parametrize("name", NAMES)
def test_dtype_in_is_dtype_out(name, lengths, dtype, rng):
    arguments = draw(name, rng, 4, 3, 2, 3, float)
    arguments = {key: value.astype(dtype) for key, value in arguments.items()}
    dhs, dstate = upstream(name, rng, 4, 3, 3, dtype)
    hs, final, cache = KERNELS[name].forward(arguments, lengths)
    found = KERNELS[name].backward(cache, dhs, dstate)
    assert {a.dtype.name for a in (hs, *final.values(), *found.values())} == {dtype}


@pytest.mark.parametrize("lengths", [None, [20, 3, 11, 20]])
@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64_to_1e_5(name, lengths, rng):
    H = 32  # of few units the spread that layer normalisation divides by may be tiny, whatever the kernel
    arguments = draw(name, rng, 20, 4, 6, H, float)
    arguments["U"] *= 0.3
    dhs, dstate = upstream(name, rng, 20, 4, H, float)
    hs, _, cache = KERNELS[name].forward(arguments, lengths)
    right = {"hs": hs, **KERNELS[name].backward(cache, dhs, dstate)}
    single = {key: value.astype("f4") for key, value in arguments.items()}
    hs, _, cache = KERNELS[name].forward(single, lengths)
    singles = {state: d.astype("f4") for state, d in dstate.items()}
    found = {"hs": hs, **KERNELS[name].backward(cache, dhs.astype("f4"), singles)}
    for key, value in right.items():
        assert relative_error(found[key], value) < 1e-5, key


@pytest.mark.parametrize("lengths", [None, [4, 2, 1], [1, 4, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_device_without_a_hidden_copy(name, lengths, rng):
    assert sys.modules["strict_xp"] is strict_xp
    arguments = draw(name, rng, 4, 3, 2, 3, float)
    arguments["mask"] = (rng.random((3, 3)) < 0.6) / 0.6
    dhs, dstate = upstream(name, rng, 4, 3, 3, float)
    hs, final, cache = KERNELS[name].forward(arguments, lengths)
    right = {"hs": hs, **final, **KERNELS[name].backward(cache, dhs, dstate, 2)}
    on_device = {key: strict_xp.asarray(value) for key, value in arguments.items()}
    strict_xp.moves["to_host"] = 0
    hs, final, cache = KERNELS[name].forward(on_device, lengths)
    upstreams = {state: strict_xp.asarray(d) for state, d in dstate.items()}
    found = {"hs": hs, **final, **KERNELS[name].backward(cache, strict_xp.asarray(dhs), upstreams, 2)}
    assert strict_xp.moves["to_host"] == 0
    for key, value in right.items():
        assert close(found[key], value), key


def test_host_and_device_arrays_do_not_mix(rng):
    arguments = draw("lstm", rng, 4, 3, 2, 3, float)
    arguments["x"] = strict_xp.asarray(arguments["x"])
    with pytest.raises(TypeError, match=f"different devices: {strict_xp.__name__} and numpy"):
        KERNELS["lstm"].forward(arguments)


def test_reverse_turns_each_sequence_within_its_own_length():
    x = np.arange(1, 9).reshape(4, 2, 1)
    assert packing.reverse(x, np.array([3, 4]))[:, :, 0].tolist() == [[5, 8], [3, 6], [1, 4], [7, 2]]
    assert np.array_equal(packing.reverse(packing.reverse(x, np.array([3, 4])), np.array([3, 4])), x)


WRONG = [
    ("x", lambda a: a["x"][0], ValueError, r"x has shape \(3, 2\), expected \(T, B, D\)"),
    ("x", lambda a: a["x"][:0], ValueError, r"x has shape \(0, 3, 2\)"),
    ("x", lambda a: a["x"][..., :1], ValueError, r"x has shape \(4, 3, 1\), expected \(4, 3, 2\)"),
    ("x", lambda a: a["x"].astype("f4"), TypeError, "x has dtype float32, expected float64"),
    ("x", lambda a: {"x": a["x"]}, TypeError, "x is dict"),
    ("W", lambda a: a["W"].astype(int), ValueError, "W's dtype is int64, expected one of float32"),
    ("W", lambda a: a["W"][:, 1:], ValueError, r"W has shape \(2, 11\), expected \(2, 12\)"),
    ("U", lambda a: a["U"][:, 1:], ValueError, r"U has shape \(3, 11\), expected \(3, 12\)"),
    ("b", lambda a: a["b"][1:], ValueError, r"b has shape \(11,\), expected \(12,\)"),
    ("h0", lambda a: a["h0"][1:], ValueError, r"initial state h has shape \(2, 3\), expected \(3, 3\)"),
    ("c0", lambda a: a["c0"].astype("f4"), TypeError, "initial state c has dtype float32"),
    ("mask", lambda a: a["h0"][:, 1:], ValueError, r"mask has shape \(3, 2\)"),
    ("W", lambda a: [["a"]], TypeError, "W has dtype <U1, expected numbers"),
    ("U", lambda a: None, TypeError, "U is None, expected a list or an array"),
    ("b", lambda a: a["b"].tolist()[1:], ValueError, r"b has shape \(11,\), expected \(12,\)"),
]


@pytest.mark.parametrize(("key", "wrong", "error", "message"), WRONG, ids=[f"{w[0]}{k}" for k, w in enumerate(WRONG)])
def test_a_wrong_argument_is_named(key, wrong, error, message, rng):
    arguments = draw("lstm", rng, 4, 3, 2, 3, float)
    arguments[key] = wrong(arguments)
    with pytest.raises(error, match=message):
        KERNELS["lstm"].forward(arguments)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([4, 0, 2], ValueError, r"lengths\[1\] is 0, expected at least 1"),
        ([4, 3, 12], ValueError, r"lengths\[2\] is 12, but x has only T=4 steps"),
        ([4, -1, 2], ValueError, r"lengths\[1\] is -1"),
        ([4, 3], ValueError, r"lengths has shape \(2,\), expected \(3,\)"),
        ([4.0, 3.0, 2.0], TypeError, "lengths has dtype float64, expected integers"),
        (strict_xp.asarray(np.array([4, 3, 2])), TypeError, "lengths is a device array"),
    ],
    ids=["zero", "too long", "negative", "too few", "floats", "device"],
)
def test_wrong_lengths_are_named(lengths, error, message, rng):
    with pytest.raises(error, match=message):
        KERNELS["lstm"].forward(draw("lstm", rng, 4, 3, 2, 3, float), lengths)


def test_wrong_upstream_gradients_are_named(rng):
    _, _, cache = KERNELS["lstm"].forward(draw("lstm", rng, 4, 3, 2, 3, float))
    dhs, dstate = upstream("lstm", rng, 4, 3, 3, float)
    with pytest.raises(ValueError, match=r"dhs has shape \(3, 3, 3\), expected \(4, 3, 3\)"):
        KERNELS["lstm"].backward(cache, dhs[1:], dstate)
    with pytest.raises(TypeError, match="gradient of the final state c has dtype float32"):
        KERNELS["lstm"].backward(cache, dhs, {"c": dstate["c"].astype("f4")})
    with pytest.raises(ValueError, match="truncate is 0, expected a number of steps"):
        KERNELS["lstm"].backward(cache, dhs, dstate, truncate=0)


def test_an_unknown_activation_is_named(rng):
    a = draw("rnn tanh", rng, 4, 3, 2, 3, float)
    with pytest.raises(ValueError, match="activation is 'softplus', expected one of 'tanh', 'relu', 'sigmoid'"):
        rnn.forward(a["x"], None, a["W"], a["U"], a["b"], activation="softplus")


def test_every_pair_of_absent_upstreams_is_allowed(rng):
    arguments = draw("lstm", rng, 4, 3, 2, 3, float)
    dhs, dstate = upstream("lstm", rng, 4, 3, 3, float)
    full = gradients("lstm", arguments, dhs, dstate)
    parts = [gradients("lstm", arguments, dhs, {})]
    parts += [gradients("lstm", arguments, None, {state: d}) for state, d in dstate.items()]
    for key, gradient in full.items():
        assert relative_error(sum(part[key] for part in parts), gradient) < 1e-14
    for key, gradient in gradients("lstm", arguments, None, {}).items():
        assert not gradient.any(), key


def test_all_pairs_of_names_are_distinct_functions(rng):
    arguments = draw("gru reset_after", rng, 3, 2, 2, 3, float)
    outputs = [KERNELS[name].forward(arguments)[0] for name in ("gru", "gru reset_after")]
    assert all(relative_error(a, b) > 1e-3 for a, b in itertools.combinations(outputs, 2))


def test_algorithm_1_starts_from_zeros_and_names_an_unknown_activation(rng):
    a = draw("rnn tanh", rng, 4, 3, 2, 3, float)
    dhs, _ = upstream("rnn tanh", rng, 4, 3, 3, float)
    zeros = rnn.algorithm_1(a["x"], np.zeros((3, 3)), a["W"], a["U"], a["b"], dhs)
    for found, right in zip(rnn.algorithm_1(a["x"], None, a["W"], a["U"], a["b"], dhs), zeros):
        assert np.array_equal(found, right)
    with pytest.raises(ValueError, match="activation is 'softplus', expected one of 'tanh', 'relu', 'sigmoid'"):
        rnn.algorithm_1(a["x"], None, a["W"], a["U"], a["b"], dhs, activation="softplus")


def test_peepholes_of_zero_are_the_plain_lstm_and_others_are_those_of_onnx(rng):
    T, B, D, H = 5, 3, 2, 4
    a = draw("peephole", rng, T, B, D, H, float)
    dhs, dstate = upstream("peephole", rng, T, B, H, float)
    plain = {key: value for key, value in a.items() if key != "P"}
    right = {**gradients("lstm", plain, dhs, dstate, [5, 2, 4])}
    found = gradients("peephole", {**a, "P": np.zeros(3 * H)}, dhs, dstate, [5, 2, 4])
    for key, gradient in right.items():
        assert relative_error(found[key], gradient) < 1e-14, key
    onnx = pytest.importorskip("onnx", reason="it writes the model that ONNX Runtime runs")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is the independent oracle")

    def gates_of_onnx(array):  # i, f, o, g along the last axis -> i, o, f, c along the first but one
        i, f, o, g = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    P = np.split(a["P"], 3)
    inputs = {
        "X": a["x"],
        "W": gates_of_onnx(a["W"]).T[None],
        "R": gates_of_onnx(a["U"]).T[None],
        "B": np.concatenate([gates_of_onnx(a["b"]), np.zeros(4 * H)])[None],
        "sequence_lens": np.full(B, T, np.int32),
        "initial_h": a["h0"][None],
        "initial_c": a["c0"][None],
        "P": np.concatenate([P[0], P[2], P[1]])[None],
    }
    node = onnx.helper.make_node("LSTM", list(inputs), ["Y", "Y_h", "Y_c"], hidden_size=H)
    numbers = onnx.TensorProto
    kinds = {name: numbers.INT32 if value.dtype == np.int32 else numbers.FLOAT for name, value in inputs.items()}
    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [onnx.helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("Y", "Y_h", "Y_c")],
    )
    singles = {name: value if value.dtype == np.int32 else value.astype("f4") for name, value in inputs.items()}
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    Y, h, c = runtime.InferenceSession(model.SerializeToString()).run(None, singles)
    hs, final, _ = KERNELS["peephole"].forward(a)
    assert relative_error(Y[:, 0], hs) < 1e-5
    assert relative_error(h[0], final["h"]) < 1e-5
    assert relative_error(c[0], final["c"]) < 1e-5


@pytest.mark.parametrize("lengths", [None, [5, 2, 4]])
def test_the_layer_normalised_lstm_is_the_one_that_pytorch_differentiates(lengths, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent oracle; it comes with the test extra")
    T, B, D, H = 5, 3, 2, 4
    a = draw("layer_norm", rng, T, B, D, H, float)
    dhs, dstate = upstream("layer_norm", rng, T, B, H, float)
    hs, final, _ = KERNELS["layer_norm"].forward(a, lengths)
    found = gradients("layer_norm", a, dhs, dstate, lengths)
    t = {key: torch.tensor(value, requires_grad=True) for key, value in a.items()}
    norm = torch.nn.functional.layer_norm
    total, ends = 0, lengths or [T] * B
    for b in range(B):
        h, c = t["h0"][b], t["c0"][b]
        for k in range(ends[b]):
            z = norm(t["x"][k, b] @ t["W"], (4 * H,), t["gx"]) + norm(h @ t["U"], (4 * H,), t["gh"]) + t["b"]
            i, f, o = torch.sigmoid(z[: 3 * H]).split(H)
            c = f * c + i * torch.tanh(z[3 * H :])
            h = o * torch.tanh(norm(c, (H,), t["gc"], t["bc"]))
            assert np.abs(h.detach().numpy() - hs[k, b]).max() < 1e-12
            total = total + (h * torch.tensor(dhs[k, b])).sum()
        total = total + (h * torch.tensor(dstate["h"][b])).sum() + (c * torch.tensor(dstate["c"][b])).sum()
        assert np.abs(c.detach().numpy() - final["c"][b]).max() < 1e-12
    total.backward()
    for key, tensor in t.items():
        assert relative_error(found[key], tensor.grad.numpy()) < 1e-11, key


@pytest.mark.parametrize("dtype", ["int64", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_another_dtype_are_named_as_such(name, dtype, rng):
    arguments = draw(name, rng, 2, 3, 2, 3, "float64")
    arguments["W"] = arguments["W"].astype(dtype)
    message = f"^W's dtype is {dtype}, expected one of float32, float64, complex128$"
    with pytest.raises(ValueError, match=message):
        KERNELS[name].forward(arguments)
