"""Saved models: what is written is read back to the bit, and no damaged, foreign or hostile file does harm."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from same_bits import assert_same_bits, bits

from rnnscratch import files, npz
from rnnscratch.layers import LSTM
from rnnscratch.models import LanguageModel, SequenceClassifier, load_model, save_model
from rnnscratch.models.saved import LATER
from rnnscratch.text import Vocabulary

IDS = np.array([[1, 4, 2], [3, 1, 0], [2, 0, 0]])
VOCABULARY = Vocabulary(["<unk>", "gut", "schlecht", "naïve", "日本", 'quo"te'])


@pytest.fixture
def model():
    return SequenceClassifier(6, 2, 3, cell="gru", pooling="mean+max", bidirectional=True, num_layers=2, seed=0)


@pytest.fixture
def path(tmp_path, model):
    path = tmp_path / "model.npz"
    save_model(path, model, VOCABULARY, {"classes": ["no", "yes"]})
    return path


def contents(path):
    with np.load(path) as file:
        arrays = dict(file)
    return json.loads(arrays.pop("header").tobytes()), arrays


def rewrite(path, header, arrays, save=np.savez):
    save(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def assert_refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_model_comes_back_to_the_bit(cell, dtype, tmp_path):
    model = SequenceClassifier(6, 2, 3, 4, cell, reset_after=True, activation="sigmoid", dtype=dtype, seed=1)
    save_model(tmp_path / "m.npz", model)
    again, vocabulary, extra = load_model(tmp_path / "m.npz")
    assert vocabulary is None and extra == {} and again.config() == model.config()
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)
        assert again.params[name].dtype == dtype
    np.testing.assert_array_equal(again.forward(IDS), model.forward(IDS))


@pytest.mark.parametrize("options", [{}, {"tied": True, "num_layers": 2, "dtype": "float64"}], ids=str)
def test_a_language_model_comes_back_to_the_bit(options, tmp_path):
    model = LanguageModel(6, 3, 3, "gru", sampled=2, end_id=5, dropout=0.5, seed=1, **options)
    save_model(tmp_path / "m.npz", model, VOCABULARY, {"words": True})
    again, vocabulary, extra = load_model(tmp_path / "m.npz")
    assert type(again) is LanguageModel and again.config() == model.config()
    assert vocabulary == VOCABULARY and extra == {"words": True}
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    assert again.generate([1], 9, seed=0).tolist() == model.generate([1], 9, seed=0).tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda header, arrays: header.update(model="Transformer"), "model is 'Transformer', expected one of"),
        (lambda header, arrays: header.update(model=None), "model is None"),
        (lambda header, arrays: header.update(model=["LanguageModel"]), "model is "),
        (lambda header, arrays: header.pop("model"), "config is"),
        (lambda header, arrays: header["config"].update(tied=False), "unknown arrays: dense.W"),
        (lambda header, arrays: header["config"].update(end_id=6), "end_id is 6, expected 1 to 5"),
        (lambda header, arrays: header["config"].update(sampled="2"), "sampled is '2', expected a whole number"),
        (lambda header, arrays: header["config"].pop("sampled"), "config is"),
        (lambda header, arrays: arrays.update({"dense.W": np.zeros((3, 6), "f4")}), "unknown arrays: dense.W"),
    ],
)
def test_a_language_model_that_does_not_fit_together_is_refused(change, message, tmp_path):
    path = tmp_path / "m.npz"
    save_model(path, LanguageModel(6, 3, 3, tied=True, seed=1))
    header, arrays = contents(path)
    change(header, arrays)
    rewrite(path, header, arrays)
    assert_refused(path, message)


def test_what_is_no_model_is_not_saved(path):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="model is LSTM, expected one of SequenceClassifier, LanguageModel"):
        save_model(path, LSTM(2, 3))
    assert path.read_bytes() == before


def test_vocabulary_and_extra_come_back(path):
    _, vocabulary, extra = load_model(path)
    assert vocabulary == VOCABULARY and extra == {"classes": ["no", "yes"]}


def test_a_loaded_model_can_be_trained(path):
    model, _, _ = load_model(path)
    _, dlogits = model.loss(model.forward(IDS, train=True), np.array([0, 1, 1]))
    model.backward(dlogits)
    model.params["dense.W"][...] -= model.grads["dense.W"]
    assert model.grads["dense.W"].any()


def test_the_file_holds_no_pickle(path):
    with zipfile.ZipFile(path) as archive:
        assert {name.removesuffix(".npy") for name in archive.namelist()} == {"header", *load_model(path)[0].params}
        for name in archive.namelist():
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


def test_a_truncated_file_is_refused(path):
    whole = path.read_bytes()
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert_refused(path, "damaged")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_refused_or_change_nothing(data, path, tmp_path):
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    changed = tmp_path / "changed.npz"
    changed.write_bytes(whole)
    try:
        found, _, _ = load_model(changed)
    except ValueError as error:
        assert str(changed) in str(error)
    else:
        for name, array in load_model(path)[0].params.items():
            np.testing.assert_array_equal(found.params[name], array)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"not a model", pickle.dumps([1]), b"{}"])
def test_a_foreign_file_is_refused(content, path):
    path.write_bytes(content)
    assert_refused(path, "damaged")


def test_an_archive_of_something_else_is_refused(path):
    np.savez(path, weights=np.zeros(3))
    assert_refused(path, "no header")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("name", ["header", "dense.b", "surprise"])
def test_pickled_objects_are_never_loaded(name, path, tmp_path):
    header, arrays = contents(path)
    packed = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays}
    packed[name] = np.array([Bomb(tmp_path / "executed")], dtype=object)
    np.savez(path, **packed)
    assert_refused(path, "pickled objects")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "..\\escaped", "C:escaped"])
def test_names_that_look_like_paths_write_nothing(name, path, tmp_path):
    header, arrays = contents(path)
    rewrite(path, header, {**arrays, name: np.zeros(1, np.float32)})
    before = set(tmp_path.rglob("*")) | set(tmp_path.parent.glob("*"))
    assert_refused(path, "unknown arrays")
    assert set(tmp_path.rglob("*")) | set(tmp_path.parent.glob("*")) == before


def test_a_compressed_archive_is_refused_since_it_could_unpack_to_any_size(path):
    rewrite(path, *contents(path), save=np.savez_compressed)
    assert_refused(path, "compressed")


def write_member(path, name, content, declared=None):
    """Replace one array's bytes; `declared` is the size that the archive's directory claims."""
    header, arrays = contents(path)
    rewrite(path, header, {key: array for key, array in arrays.items() if key != name})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", content)
        if declared is not None:
            archive.getinfo(f"{name}.npy").file_size = declared
            archive.getinfo(f"{name}.npy").compress_size = declared


def npy_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(2**40,), (2**20, 2**20), (-1,), (2**70,)])
def test_a_declared_size_that_is_not_there_allocates_nothing(shape, path):
    write_member(path, "dense.b", npy_header(shape) + b"\0\0\0\0")
    assert_refused(path, "dense.b")


def test_a_size_that_directory_and_array_agree_on_but_is_not_there_allocates_nothing(path):
    head = npy_header((2**40,))
    write_member(path, "dense.b", head + b"\0\0\0\0", declared=len(head) + 2**42)
    assert_refused(path, "damaged")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("vocabulary_size", 10**12),
        ("embedding_dim", 10**9),
        ("hidden_size", 10**6),
        ("num_layers", 10**12),
        ("num_classes", 10**12),
        ("num_layers", 1),
        ("cell", "lstm"),
        ("cell", "transformer"),
        ("cell", ["gru"]),
        ("pooling", "max"),
        ("pooling", None),
        ("pooling", "mean+min"),
        ("bidirectional", False),
        ("hidden_size", True),
        ("hidden_size", 3.0),
        ("hidden_size", "3"),
        ("reset_after", True),
        ("dtype", "float64"),
        ("dtype", "object"),
        ("dropout", 2.0),
        ("dropout", "x"),
        ("activation", "gelu"),
    ],
)
def test_a_configuration_that_does_not_fit_the_arrays_is_refused_before_anything_is_made(option, value, path):
    header, arrays = contents(path)
    header["config"][option] = value
    rewrite(path, header, arrays)
    assert_refused(path, "does not fit together")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["config"].pop("cell"), "config is"),
        (lambda h: h["config"].update(seed=3), "config is"),
        (lambda h: h.update(config=[1]), "config is"),
        (lambda h: h.pop("config"), "config"),
        (lambda h: h.pop("extra"), "extra"),
        (lambda h: h.update(extra=[]), "extra is list"),
        (lambda h: h.update(vocabulary=["<unk>", "gut"]), "vocabulary has 2 words, expected 6 as the model"),
        (lambda h: h.update(vocabulary=7), "does not fit together"),
        (lambda h: h.update(vocabulary=["a", "b", "c", "d", "e", "f"]), "<unk>"),
        (lambda h: h.update(vocabulary=["<unk>", "a", "b", "c", "d", "d"]), "twice"),
        (lambda h: h.update(format="rnnscratch model 2"), "rnnscratch model 2"),
        (lambda h: h.update(format="rnnscratch checkpoint 1"), "rnnscratch checkpoint 1"),
        (lambda h: h.pop("format"), "None"),
    ],
)
def test_a_header_that_is_wrong_is_refused(change, message, path):
    header, arrays = contents(path)
    change(header)
    rewrite(path, header, arrays)
    assert_refused(path, message)


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_a_header_that_is_no_json_object_is_refused(content, path):
    _, arrays = contents(path)
    np.savez(path, header=np.frombuffer(content, np.uint8), **arrays)
    assert_refused(path, "damaged")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("dense.b"), "missing or unknown arrays: dense.b"),
        (lambda a: a.update(more=np.zeros(1)), "missing or unknown arrays: more"),
        (lambda a: a.update({"dense.b": np.zeros(2, np.float32)}), r"dense.b is \(2,\) of float32, expected \(1,\)"),
        (lambda a: a.update({"dense.b": np.zeros(1)}), "dense.b is .* of float64, expected .* of float32"),
        (lambda a: a.update({"dense.b": np.array(["x"])}), "dense.b"),
        (lambda a: a.update({"dense.b": np.array([np.nan], np.float32)}), "dense.b holds NaN"),
        (lambda a: a.update({"embedding.E": a["embedding.E"].T.copy()}), "embedding.E"),
    ],
)
def test_arrays_that_are_wrong_are_refused(change, message, path):
    header, arrays = contents(path)
    change(arrays)
    rewrite(path, header, arrays)
    assert_refused(path, message)


def test_a_missing_file_and_a_wrong_device_are_named(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        load_model(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="device is 'tpu'") as caught:
        load_model(path, device="tpu")
    assert "model.npz" not in str(caught.value)


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole(fails, path, model, monkeypatch):
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npz if fails == "write" else files.os, fails, full)
    model.params["dense.b"][...] = 5
    with pytest.raises(OSError, match="No space left"):
        save_model(path, model)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(path.parent) == ["model.npz"]


def test_an_unwritable_folder_is_an_oserror_and_leaves_the_old_file_whole(path, model, monkeypatch):
    before = path.read_bytes()

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path.parent))

    monkeypatch.setattr(files.os, "open", denied)
    with pytest.raises(PermissionError, match="Permission denied"):
        save_model(path, model)
    assert path.read_bytes() == before


def test_saving_refuses_what_could_not_be_loaded_and_leaves_the_old_file_whole(path, model):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="vocabulary has 2 words, expected 6"):
        save_model(path, model, Vocabulary(["<unk>", "a"]))
    with pytest.raises(TypeError, match="JSON"):
        save_model(path, model, extra={"a": {1, 2}})
    model.params["dense.W"][0, 0] = np.inf
    with pytest.raises(ValueError, match="dense.W holds NaN or infinity"):
        save_model(path, model)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["model.npz"]


@pytest.mark.parametrize("extra", [[1], "text", 0, {1: 2}, {True: 1, "true": 2}])
def test_an_extra_that_would_come_back_as_another_or_not_at_all_is_refused(extra, path, model):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="extra is .*, expected a dict with strings as names"):
        save_model(path, model, extra=extra)
    assert path.read_bytes() == before


def test_a_file_without_the_options_that_came_later_still_loads(path, model):
    header, arrays = contents(path)
    for name in LATER:
        del header["config"][name]
    rewrite(path, header, arrays)
    again = load_model(path)[0]
    assert again.config() == model.config()
    assert_same_bits(bits(again), bits(model))


def test_a_frozen_model_comes_back_with_its_table_and_frozen(tmp_path):
    table = np.arange(12.0).reshape(6, 2)
    save_model(tmp_path / "model.npz", SequenceClassifier(6, 2, 3, seed=0, embeddings=table, freeze=True))
    again = load_model(tmp_path / "model.npz")[0]
    np.testing.assert_array_equal(again.params["embedding.E"], table)
    assert again.fixed == {"embedding.E"}
