"""`rnnscratch convert` and `rnnscratch info`: what they write and say, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import about, cli
from rnnscratch.models.saved import load_model, save_model
from rnnscratch.text import Vocabulary

pytest.importorskip("onnx", reason="onnx comes with the test extra")
pytest.importorskip("safetensors", reason="safetensors comes with the test extra")


def test_a_model_goes_round_through_all_formats(tmp_path, capsys):
    model = rs.SequenceClassifier(4, 3, 4, cell="gru", pooling="max", seed=0)
    words = Vocabulary(["<unk>", "a", "b", "c"])
    names = ["one.npz", "two.safetensors", "three.onnx", "four.npz", "five.onnx", "six.safetensors", "seven.npz"]
    save_model(tmp_path / names[0], model, words, {"recipe": "default"})
    for source, target in zip(names, names[1:]):
        assert cli.main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
        assert "SequenceClassifier(vocabulary_size=4" in capsys.readouterr().out
    again, vocabulary, extra = load_model(tmp_path / names[-1])
    assert again.config() == model.config() and vocabulary is None and extra == {}
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    assert cli.main(["convert", str(tmp_path / names[0]), str(tmp_path / "copy.npz")]) == 0
    _, vocabulary, extra = load_model(tmp_path / "copy.npz")
    assert vocabulary.words == words.words and extra == {"recipe": "default"}


@pytest.mark.parametrize("labels", [["no", "yes"], ["no", "so so", "yes"]])
def test_a_text_classifier_s_graph_says_of_texts_what_it_says(labels, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the test extra")
    clf = rs.TextClassifier(epochs=1, hidden_size=4, max_length=3, validation_fraction=0.0)
    clf.fit(["good film", "a bad film", "fair"] * 6, [labels[k % len(labels)] for k in range(18)])
    clf.save(tmp_path / "clf.npz")
    assert cli.main(["convert", str(tmp_path / "clf.npz"), str(tmp_path / "clf.onnx")]) == 0
    assert f"words and labels, where it has them, stay in {tmp_path / 'clf.npz'}: " in capsys.readouterr().out
    texts = ["such a good film, a film", "", "bad <br /> film", "unheard"]
    ids, lengths = clf.encode(texts)
    assert (ids.dtype, lengths.dtype) == (np.int64, np.int32) and lengths.tolist() == [3, 1, 2, 1]
    assert ids.T.tolist()[0] == clf.vocabulary_.encode(["film", "a", "film"]).tolist() and ids[:, 1].tolist() == [0] * 3
    (logits,) = runtime.InferenceSession(str(tmp_path / "clf.onnx")).run(None, {"ids": ids, "lengths": lengths})
    p = clf.predict_proba(texts)
    if len(labels) == 2:
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), p[:, 1], atol=1e-6)
    else:
        found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, p, atol=1e-6)


def test_what_cannot_be_converted_is_named_and_leaves_the_old_file(tmp_path, capsys):
    rs.interchange.save_safetensors(tmp_path / "layer.safetensors", rs.LayerNormLSTM(3, 4, seed=0))
    (tmp_path / "old.onnx").write_bytes(b"old")
    (tmp_path / "bad.npz").write_bytes(b"no model")
    for source, target, message in (
        ("none.npz", "it.onnx", "none.npz"),
        ("bad.npz", "old.onnx", "bad.npz"),
        ("layer.safetensors", "old.onnx", "ONNX's LSTM has no layer normalisation"),
        ("layer.safetensors", "it.npz", ".npz holds models, and this is a single LayerNormLSTM"),
        ("layer.safetensors", "it.pt", "expected a file that ends with .npz, .safetensors, .onnx"),
    ):
        assert cli.main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("rnnscratch convert: ") and message in said and "Traceback" not in said
    assert (tmp_path / "old.onnx").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.npz", "layer.safetensors", "old.onnx"]


def test_info_says_what_runs_here(capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.delenv("OPENBLAS_L2_SIZE", raising=False)
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert f"rnnscratch  {rs.__version__}" in said and f"NumPy  {np.__version__}" in said
    assert "OPENBLAS_CORETYPE=Haswell: unset it" in said and "extra interop  onnx" in said
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    monkeypatch.setattr(about, "EXTRAS", {"none": ("no-such-package",)})
    found = about.info()
    assert "held back by" not in found and found["extra none"] == "no-such-package not installed"
    assert ("thread" in found["matrix products"]) and (found["GPU"].startswith("none: ") or "CuPy" in found["GPU"])
