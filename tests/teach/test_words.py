"""What a classifier does with words: the values are those of the model itself."""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch.models.classifier import CELLS
from rnnscratch.teach import words

IDS = np.array([3, 1, 7, 3, 2])


def make(cell="lstm", **options):
    options = {"num_classes": 2, "pooling": "mean+max", "dtype": "float64", "seed": 0} | options
    model = rs.SequenceClassifier(9, 4, 3, cell=cell, **options)
    rng = np.random.default_rng(5)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    return model


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_the_model_and_gates_make_them(cell, bidirectional):
    model = make(cell, bidirectional=bidirectional, num_layers=1)
    found = words.gates(model, IDS)
    hs, _ = model.recurrent.forward(model.embedding.forward(IDS[:, None]))
    np.testing.assert_allclose(found["h"], hs[:, 0, :3], rtol=1e-12)
    if cell in ("lstm", "peephole", "layer_norm"):
        assert set(found) == set("ifoghc")
        before = np.vstack([np.zeros(3), found["c"][:-1]])
        np.testing.assert_allclose(found["f"] * before + found["i"] * found["g"], found["c"], rtol=1e-12)
        if cell != "layer_norm":
            np.testing.assert_allclose(found["o"] * np.tanh(found["c"]), found["h"], rtol=1e-12)
    elif cell == "gru":
        assert set(found) == set("rznh")
        before = np.vstack([np.zeros(3), found["h"][:-1]])
        np.testing.assert_allclose(found["z"] * before + (1 - found["z"]) * found["n"], found["h"], rtol=1e-12)
    else:
        assert set(found) == {"h"}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("classes", "label"), [(2, 1), (2, 0), (3, 2)])
def test_occlusion_is_the_change_of_the_logit(cell, classes, label):
    model = make(cell, num_classes=classes, bidirectional=True, dropout=0.5)
    before = {name: array.copy() for name, array in model.params.items()}
    found = words.occlusion(model, IDS, label)

    def logit(x):
        hs, state = model.recurrent.forward(x)
        features = np.concatenate([hs.mean(axis=0), hs.max(axis=0)], axis=1)
        logits = model.dense.forward(features)[0]
        return logits[label] if classes > 2 else logits[0] * (1 if label else -1)

    x = model.embedding.forward(IDS[:, None])
    for t in range(5):
        without = x.copy()
        without[t] = 0
        assert found[t] == pytest.approx(logit(x) - logit(without), rel=1e-11)
    for name, array in model.params.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "peephole"])
def test_saliency_is_occlusion_to_first_order(cell):
    """For embeddings so small that the second order vanishes both agree, and repeated words count each for itself."""
    model = make(cell, pooling="mean")
    model.embedding.params["E"] *= 1e-7
    np.testing.assert_allclose(words.saliency(model, IDS), words.occlusion(model, IDS), rtol=1e-5)
    np.testing.assert_allclose(words.saliency(model, IDS, 0), -words.saliency(model, IDS))
    assert not np.isclose(words.saliency(model, IDS)[0], words.saliency(model, IDS)[3], rtol=1e-3, atol=0)


def test_single_precision_models_are_read_in_double():
    model = make(dtype="float32")
    assert words.saliency(model, IDS).dtype == words.gates(model, IDS)["c"].dtype == np.float64


def spoilt():
    model = make()
    model.params["dense.b"][...] = np.nan
    return model


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: words.gates(rs.LSTM(2, 2), IDS), TypeError, "model is LSTM, expected SequenceClassifier"),
        (lambda: words.gates(make(), [9]), ValueError, r"ids\[0\] is 9, expected 0 to 8"),
        (lambda: words.gates(make(), [0.5]), TypeError, "ids has dtype float64, expected integers"),
        (lambda: words.saliency(make(), []), ValueError, "ids is empty, expected at least one word"),
        (lambda: words.gates(make(), {1: 2}), TypeError, "ids is dict"),
        (lambda: words.gates(spoilt(), IDS), FloatingPointError, "dense.b holds NaN"),
        (lambda: words.saliency(make(), IDS, "1"), TypeError, "label is '1', expected a whole number"),
        (lambda: words.saliency(make(), IDS, 2), ValueError, "label is 2, expected 0 to 1"),
    ],
)
def test_wrong_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()
