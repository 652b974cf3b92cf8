"""Safetensors files: ours come back as they were, PyTorch loads them, we load PyTorch's, and damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from peers import torch

import rnnscratch as rs
from rnnscratch.interchange import from_torch, load_safetensors, save_safetensors, to_torch

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors comes with the test extra")
MADE = {
    "RNN": lambda: rs.RNN(3, 4, activation="sigmoid", seed=0),
    "LSTM": lambda: rs.LSTM(3, 4, 2, bidirectional=True, dropout=0.25, dtype="float64", seed=0),
    "GRU": lambda: rs.GRU(3, 4, seed=0),
    "GRU after": lambda: rs.GRU(3, 4, reset_after=True, seed=0),
    "peephole": lambda: rs.PeepholeLSTM(3, 4, seed=0),
    "layer norm": lambda: rs.LayerNormLSTM(3, 4, seed=0),
    "Embedding": lambda: rs.Embedding(7, 3, seed=0),
    "Dense": lambda: rs.Dense(7, 3, seed=0),
    "classifier": lambda: rs.SequenceClassifier(11, 3, 4, 3, cell="layer_norm", pooling="mean+max", seed=0),
    "language model": lambda: rs.LanguageModel(11, 4, 4, tied=True, end_id=3, seed=0),
    "encoder-decoder": lambda: rs.Seq2Seq(11, 9, 3, 4, cell="gru", attention="dot", num_layers=2, seed=0),
}


@pytest.mark.parametrize("name", MADE)
def test_layers_and_models_come_back_as_they_were(name, tmp_path, rng):
    made = MADE[name]()
    for array in made.params.values():
        array[...] = rng.standard_normal(array.shape)
    save_safetensors(tmp_path / "it.safetensors", made)
    again = load_safetensors(tmp_path / "it.safetensors")
    assert type(again) is type(made) and again.config() == made.config()
    assert again.params.keys() == made.params.keys()
    for key, array in made.params.items():
        np.testing.assert_array_equal(again.params[key], array)
        assert again.params[key].dtype == array.dtype


def test_pytorch_loads_our_file_and_we_load_pytorch_s(tmp_path, rng):
    files = pytest.importorskip("safetensors.torch", reason="PyTorch comes with the test extra")
    layer = rs.LSTM(3, 4, 2, bidirectional=True, seed=0)
    save_safetensors(tmp_path / "ours.safetensors", layer)
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    module.load_state_dict(files.load_file(tmp_path / "ours.safetensors"))
    x = rng.standard_normal((5, 2, 3)).astype("f4")
    theirs = module(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(layer.forward(x)[0], theirs, rtol=1e-5, atol=1e-6)
    gru = torch.nn.GRU(3, 4)
    files.save_file(gru.state_dict(), tmp_path / "theirs.safetensors")
    ours = load_safetensors(tmp_path / "theirs.safetensors")
    theirs = gru(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(ours.forward(x)[0], theirs, rtol=1e-5, atol=1e-6)
    files.save_file({f"rnn.{k}": v for k, v in gru.state_dict().items()}, tmp_path / "theirs.safetensors")
    inner = load_safetensors(tmp_path / "theirs.safetensors", prefix="rnn.")
    np.testing.assert_array_equal(inner.params["U_l0"], ours.params["U_l0"])
    model = rs.SequenceClassifier(11, 3, 4, seed=0)
    weights = {key: torch.tensor(array) for key, array in to_torch(model).items()}
    files.save_file(weights, tmp_path / "model.safetensors")
    like = load_safetensors(tmp_path / "model.safetensors", like=rs.SequenceClassifier(11, 3, 4, seed=9))
    np.testing.assert_array_equal(like.params["recurrent.W_l0"], model.params["recurrent.W_l0"])


def altered(path, change):
    """Change what the file says it is."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    about = json.loads(header["__metadata__"]["rnnscratch"])
    change(about, header)
    header["__metadata__"]["rnnscratch"] = json.dumps(about)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + size :])


DAMAGED = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"\x00" * 400),
    "a long header": lambda path: path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:]),
    "another kind": lambda path: altered(path, lambda about, _: about.update(kind="Transformer")),
    "no configuration": lambda path: altered(path, lambda about, _: about.pop("config")),
    "larger sizes": lambda path: altered(path, lambda about, _: about["config"].update(hidden_size=10**6)),
    "more layers": lambda path: altered(path, lambda about, _: about["config"].update(num_layers=10**9)),
    "another option": lambda path: altered(path, lambda about, _: about["config"].update(gates=3)),
    "another dtype": lambda path: altered(path, lambda about, _: about["config"].update(dtype="float64")),
    "fewer weights": lambda path: altered(path, lambda about, _: about["config"].update(input_size=2)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named(damage, tmp_path):
    path = tmp_path / "it.safetensors"
    save_safetensors(path, rs.LSTM(3, 4, seed=0))
    DAMAGED[damage](path)
    with pytest.raises(ValueError, match=r"it\.safetensors"):
        load_safetensors(path)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "it.safetensors"
    layer = rs.LSTM(3, 4, seed=0)
    save_safetensors(path, layer)
    before = path.read_bytes()
    layer.params["b_l0"][0] = np.nan
    with pytest.raises(ValueError, match="b_l0|bias_ih_l0"):
        save_safetensors(path, layer)
    with pytest.raises(ValueError, match="layer is 'Dropout'"):
        save_safetensors(path, rs.Dropout(0.5))
    with pytest.raises(TypeError, match="neither a layer nor a model"):
        save_safetensors(path, {"W": np.ones(3)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        load_safetensors(tmp_path / "none.safetensors")


def test_the_names_are_pytorch_s(tmp_path):
    save_safetensors(tmp_path / "it.safetensors", rs.GRU(3, 4, reset_after=True, seed=0))
    arrays = safetensors.load_file(tmp_path / "it.safetensors")
    assert set(arrays) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert isinstance(from_torch(arrays), rs.GRU)
