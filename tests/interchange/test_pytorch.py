"""PyTorch's modules and the layers made of their weights give the same, gradients too; what has no equal is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import torch

import rnnscratch as rs
from rnnscratch.interchange import from_torch, to_torch

MODULES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
sizes = st.integers(1, 4)
cases = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(list(MODULES)),
        "D": sizes,
        "H": sizes,
        "T": sizes,
        "B": sizes,
        "num_layers": st.integers(1, 3),
        "bidirectional": st.booleans(),
        "bias": st.booleans(),
        "nonlinearity": st.sampled_from(["tanh", "relu"]),
        "as_dict": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


def module_of(case):
    torch.manual_seed(case["seed"])
    more = {"nonlinearity": case["nonlinearity"]} if case["kind"] == "rnn" else {}
    options = {name: case[name] for name in ("num_layers", "bidirectional", "bias")}
    return getattr(torch.nn, MODULES[case["kind"]])(case["D"], case["H"], **options, **more).double()


def states_of(layer, rng, B):
    shape = (layer.num_layers * len(layer.directions), B, layer.hidden_size)
    parts = [rng.standard_normal(shape) for _ in layer.states]
    return parts[0] if len(parts) == 1 else tuple(parts)


def torch_gradients(module, layer, x, state, dhs):
    """Outputs, the gradient of x, and those of the weights by our names, computed by PyTorch."""
    xt = torch.tensor(x, requires_grad=True)
    parts = state if isinstance(state, tuple) else (state,)
    start = tuple(torch.tensor(part) for part in parts)
    hs, _ = module(xt, start if len(start) > 1 else start[0])
    hs.backward(torch.tensor(dhs))
    gradients = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    return hs.detach().numpy(), xt.grad.numpy(), gradients


@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_a_module_and_its_layer_give_the_same_forwards_and_backwards(case):
    module, rng = module_of(case), np.random.default_rng(case["seed"])
    if case["as_dict"]:
        layer = from_torch(dict(module.state_dict()), nonlinearity=case["nonlinearity"])
    else:
        layer = from_torch(module)
    assert layer.dtype == np.float64
    x = rng.standard_normal((case["T"], case["B"], case["D"]))
    state = states_of(layer, rng, case["B"])
    dhs = rng.standard_normal((*x.shape[:2], case["H"] * len(layer.directions)))
    hs, dx, gradients = torch_gradients(module, layer, x, state, dhs)
    found, _ = layer.forward(x, state)
    np.testing.assert_allclose(found, hs, rtol=1e-12, atol=1e-13)
    ours, _ = layer.backward(dhs)
    np.testing.assert_allclose(ours, dx, rtol=1e-11, atol=1e-12)
    by_torch_names = to_torch(_with_gradients(layer))
    for name, gradient in gradients.items():
        if name.startswith("bias_hh"):  # both biases of a sum have one gradient: that of ours is bias_ih's
            continue
        np.testing.assert_allclose(by_torch_names[name], gradient, rtol=1e-11, atol=1e-12, err_msg=name)


def _with_gradients(layer):
    """A copy whose parameters are the layer's gradients, to be renamed as they are."""
    copy = type(layer)(**layer.config(), seed=0)
    for name in copy.params:
        copy.params[name] = layer.grads[name]
    return copy


@settings(max_examples=40, deadline=None)
@given(case=cases)
def test_weights_go_to_pytorch_and_come_back_as_they_were(case):
    kinds = {"rnn": rs.RNN, "lstm": rs.LSTM, "gru": rs.GRU}
    more = {"rnn": {"activation": case["nonlinearity"]}, "gru": {"reset_after": True}}.get(case["kind"], {})
    options = {name: case[name] for name in ("num_layers", "bidirectional", "seed")}
    layer = kinds[case["kind"]](case["D"], case["H"], **options, **more, dtype="float64")
    rng = np.random.default_rng(case["seed"])
    for array in layer.params.values():
        array[...] = rng.standard_normal(array.shape)
    module = module_of({**case, "bias": True})
    weights = to_torch(layer)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    x = rng.standard_normal((case["T"], case["B"], case["D"]))
    theirs = module(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(layer.forward(x)[0], theirs, rtol=1e-12, atol=1e-13)
    again = from_torch(weights, nonlinearity=case["nonlinearity"])
    for name, array in layer.params.items():
        np.testing.assert_array_equal(again.params[name], array)


def test_embedding_and_linear_keep_their_numbers(rng):
    table, linear = torch.nn.Embedding(7, 3, padding_idx=0), torch.nn.Linear(3, 5)
    ids, x = rng.integers(0, 7, (4, 2)), rng.standard_normal((4, 2, 3)).astype("f4")
    for source in (table, table.state_dict()):
        np.testing.assert_array_equal(from_torch(source).forward(ids), table(torch.tensor(ids)).detach().numpy())
    for source in (linear, linear.state_dict()):
        wanted = linear(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(from_torch(source).forward(x), wanted, rtol=1e-5, atol=1e-6)
    bare = torch.nn.Linear(3, 5, bias=False)
    assert not from_torch(bare).params["b"].any() and from_torch(bare.state_dict(), kind="dense").output_size == 5
    for layer in (from_torch(table), from_torch(linear)):
        for name, array in layer.params.items():
            np.testing.assert_array_equal(from_torch(to_torch(layer)).params[name], array)


MODELS = {
    "classifier": lambda: rs.SequenceClassifier(11, 3, 4, cell="gru", reset_after=True, bidirectional=True, seed=0),
    "language model": lambda: rs.LanguageModel(11, 4, 4, tied=True, seed=0, dtype="float64"),
    "encoder-decoder": lambda: rs.Seq2Seq(11, 9, 3, 4, attention="additive", seed=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_go_through_state_dicts(name, rng):
    model = MODELS[name]()
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape)
    weights = to_torch(model)
    again = from_torch(weights, like=MODELS[name]())
    assert again.config() == model.config()
    for key, array in model.params.items():
        np.testing.assert_array_equal(again.params[key], array)
    half = {key: torch.tensor(array).to(torch.bfloat16) for key, array in weights.items()}
    rough = from_torch({f"model.{key}": value for key, value in half.items()}, like=model, prefix="model.")
    for key, array in model.params.items():
        np.testing.assert_allclose(rough.params[key], array, rtol=1e-2, atol=1e-2)


def test_a_part_of_a_larger_module_is_taken_by_its_prefix():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)

    net = Net()
    layer = from_torch(net.state_dict(), prefix="encoder.")
    assert isinstance(layer, rs.LSTM) and layer.hidden_size == 4
    assert isinstance(from_torch(net.state_dict(), prefix="head."), rs.Dense)
    with pytest.raises(ValueError, match="no weights that begin with 'decoder.'; the names are encoder.weight_ih_l0"):
        from_torch(net.state_dict(), prefix="decoder.")
    with pytest.raises(ValueError, match="prefix says with what they begin"):
        from_torch(net.state_dict())


F4 = np.float32
REFUSED = {
    "a projection": (
        lambda: from_torch(torch.nn.LSTM(3, 4, proj_size=2)),
        ValueError,
        "proj_size is 2, expected 0: an LSTM with a projection has no equal here",
    ),
    "a projection in a dict": (
        lambda: from_torch(torch.nn.LSTM(3, 8, proj_size=2).state_dict(), kind="lstm"),
        ValueError,
        "weight_hr_l0.*proj_size",
    ),
    "another module": (lambda: from_torch(torch.nn.Conv1d(1, 1, 1)), TypeError, "source is Conv1d, expected torch.nn"),
    "a file": (lambda: from_torch("it.pt"), TypeError, "source is the path 'it.pt', expected a module.*torch.load"),
    "a file for a model": (
        lambda: from_torch(Path("it.pt"), like=MODELS["classifier"]()),
        TypeError,
        "source is the path 'it.pt', expected a module",
    ),
    "max_norm": (lambda: from_torch(torch.nn.Embedding(3, 2, max_norm=1.0)), ValueError, "max_norm"),
    "a missing weight": (
        lambda: from_torch(
            {"weight_ih_l0": np.ones((8, 3), F4), "weight_hh_l0": np.ones((8, 2), F4), "x": np.ones(3, F4)}
        ),
        ValueError,
        "missing or unknown weights: x",
    ),
    "a wrong shape": (
        lambda: from_torch({"weight_ih_l0": np.ones((7, 3), F4), "weight_hh_l0": np.ones((8, 2), F4)}),
        ValueError,
        r"weight_ih_l0 has shape \(7, 3\), expected \(8, 3\)",
    ),
    "no cell": (
        lambda: from_torch({"weight_ih_l0": np.ones((10, 3), F4), "weight_hh_l0": np.ones((10, 2), F4)}),
        ValueError,
        r"weight_hh_l0 has shape \(10, 2\), expected \(H, H\)",
    ),
    "a name of a far layer": (
        lambda: from_torch(
            {
                "weight_ih_l0": np.ones((8, 3), F4),
                "weight_hh_l0": np.ones((8, 2), F4),
                "bias_ih_l999999": np.ones(8, F4),
            }
        ),
        ValueError,
        "speak of 1000000 layers",
    ),
    "two dtypes": (
        lambda: from_torch({"weight": np.ones((2, 2)), "bias": np.ones(2, F4)}),
        TypeError,
        "dtypes float32, float64",
    ),
    "whole numbers": (lambda: from_torch({"weight": np.ones((2, 2), int)}), TypeError, "weight has dtype int64"),
    "an activation": (
        lambda: to_torch(rs.RNN(2, 2, activation="sigmoid", seed=0)),
        ValueError,
        "activation is 'sigmoid', but PyTorch's RNN has tanh and relu alone",
    ),
    "a reset before": (lambda: to_torch(rs.GRU(2, 2, seed=0)), ValueError, "reset_after is False"),
    "peepholes": (lambda: to_torch(rs.PeepholeLSTM(2, 2, seed=0)), ValueError, "PyTorch's LSTM has no peepholes"),
    "layer norm": (lambda: to_torch(rs.LayerNormLSTM(2, 2, seed=0)), ValueError, "no layer normalisation"),
    "no model": (lambda: to_torch(3), TypeError, "int is neither a layer nor a model"),
    "a model's unknown part": (
        lambda: from_torch(
            {**to_torch(MODELS["classifier"]()), "head.weight": np.ones(2, F4)}, like=MODELS["classifier"]()
        ),
        ValueError,
        "unknown weights: head.weight; the parts are embedding, recurrent, dense",
    ),
    "double into single": (
        lambda: from_torch(
            {k: v.astype(float) for k, v in to_torch(MODELS["classifier"]()).items()}, like=MODELS["classifier"]()
        ),
        TypeError,
        "has dtype float64, expected float32 as the model",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_equal_is_refused_with_the_reason(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
