"""The sequence classifier: exact gradients through every option, values, padding, determinism, and bad input."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from cells import STEP, relative_error

from rnnscratch import training
from rnnscratch.kernels import gru
from rnnscratch.layers import GRU
from rnnscratch.models.classifier import (
    CELLS,
    POOLINGS,
    SequenceClassifier,
    configuration,
    parameter_shapes,
)
from rnnscratch.models.logits import ensemble, probabilities
from rnnscratch.optimizers import Adam
from rnnscratch.text.batches import Batch, Batches

IDS = np.array([[1, 4, 2], [3, 1, 0], [2, 0, 0], [5, 3, 0]])
LENGTHS = [4, 2, 1]


def small(**options):
    options = {"vocabulary_size": 6, "embedding_dim": 2, "hidden_size": 3, "seed": 0, **options}
    return SequenceClassifier(**options)


def perturbed(rng, **options):
    """A complex128 model with no parameter at 0, where zeros would hide a wrong gradient."""
    model = small(dtype="complex128", **options)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    return model


def assert_gradients_exact(model, labels, lengths, train=False):
    """Every gradient agrees with the complex step to 1e-12."""

    def loss():
        return model.loss(model.forward(IDS, lengths, train), labels)

    _, dlogits = loss()
    model.backward(dlogits)
    found = {name: gradient.real.copy() for name, gradient in model.grads.items()}
    for name, array in model.params.items():
        right = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1j * STEP
            right[index] = loss()[0].imag / STEP
            array[index] = value
        assert relative_error(found[name], right) < 1e-12, name
        assert right.any(), f"{name} has no gradient, so that nothing was tested"


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "cell",
    [
        {"cell": "lstm"},
        {"cell": "gru"},
        {"cell": "gru", "reset_after": True},
        {"cell": "rnn"},
        {"cell": "rnn", "activation": "sigmoid"},
    ],
    ids=str,
)
def test_gradients_equal_the_complex_step(cell, pooling, lengths, rng):
    assert_gradients_exact(perturbed(rng, **cell, pooling=pooling), np.array([1, 0, 1]), lengths)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_stacked_bidirectional_models_of_three_classes_are_exact(cell, pooling):
    rng = np.random.default_rng(4 if cell == "peephole" else 3)  # draws in which no maximum hides a parameter
    model = perturbed(rng, cell=cell, pooling=pooling, num_classes=3, hidden_size=2, num_layers=2, bidirectional=True)
    assert_gradients_exact(model, np.array([1, 0, 2]), LENGTHS)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_with_all_dropouts_on_frozen_masks_are_exact(cell, rng):
    model = small(
        cell=cell,
        dtype="complex128",
        num_layers=2,
        pooling="mean+max",
        dropout=0.25,
        embedding_dropout=0.25,
        recurrent_dropout=0.25,
        word_dropout=0.25,
        seed=3,
    )
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    model.forward(IDS, LENGTHS, train=True)
    model.frozen = True
    assert_gradients_exact(model, np.array([1, 0, 1]), LENGTHS, train=True)
    frozen = model.forward(IDS, LENGTHS, train=True)
    assert (frozen != model.forward(IDS, LENGTHS)).any()
    model.frozen = False
    assert (frozen != model.forward(IDS, LENGTHS, train=True)).any()


def test_logits_are_those_of_the_layers_put_together_by_hand(rng):
    model = small(bidirectional=True, num_layers=2, num_classes=3, pooling="mean+max", dtype="float64")
    logits = model.forward(IDS, LENGTHS)
    hs, _ = model.recurrent.forward(model.embedding.params["E"][IDS], lengths=LENGTHS)
    for b, length in enumerate(LENGTHS):
        features = np.concatenate([hs[:length, b].mean(axis=0), hs[:length, b].max(axis=0)])
        right = features @ model.params["dense.W"] + model.params["dense.b"]
        np.testing.assert_allclose(logits[b], right, rtol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_pooling_last_is_each_directions_state_after_its_whole_sequence(cell):
    model = small(cell=cell, bidirectional=True, num_layers=2, dtype="float64")
    logits = model.forward(IDS, LENGTHS)
    hs, _ = model.recurrent.forward(model.embedding.params["E"][IDS], lengths=LENGTHS)
    for b, length in enumerate(LENGTHS):
        features = np.concatenate([hs[length - 1, b, :3], hs[0, b, 3:]])  # the backward direction ends at step 0
        np.testing.assert_allclose(logits[b], features @ model.params["dense.W"][:, 0] + model.params["dense.b"][0])


@pytest.mark.parametrize(("num_layers", "bidirectional", "pooling"), [(1, False, "last"), (2, True, "mean+max")])
@pytest.mark.parametrize("cell", CELLS)
def test_prediction_that_looks_products_up_gives_what_forward_gives(
    cell, num_layers, bidirectional, pooling, rng, monkeypatch
):
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "pooling": pooling, "num_classes": 3}
    model = small(cell=cell, dtype="float64", dropout=0.5, embedding_dropout=0.5, word_dropout=0.5, **options)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape)
    sequences = [rng.integers(0, 6, length) for length in rng.integers(1, 9, 20)]
    right = [model.forward(ids[:, None])[0] for ids in sequences]
    asked = []
    products = type(model.recurrent).products
    monkeypatch.setattr(
        type(model.recurrent), "products", lambda layer, E: asked.append(products(layer, E)) or asked[-1]
    )
    for batch_size in (1, 7, 20):
        np.testing.assert_allclose(training.predict(model, sequences, batch_size), right, rtol=1e-12, atol=1e-12)
    if cell == "layer_norm":  # it does more with its inputs
        assert asked == [None] * 3
    else:
        assert [each.shape for each in asked[0]] == [(len(model.recurrent.gates), 6, 3)] * (1 + bidirectional)
    training.predict(model, [[1, 2]])
    monkeypatch.setattr("rnnscratch.models.classifier.PRODUCTS", 6 * 3 - 1)
    training.predict(model, sequences)
    assert len(asked) == 3  # neither fewer tokens than words nor a table that is too large have one made


def test_the_reports_parameter_count():
    model = SequenceClassifier(vocabulary_size=50, embedding_dim=7, hidden_size=5, seed=0)
    assert model.num_params == 50 * 7 + 4 * (7 + 5 + 1) * 5 + (5 + 1)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS)
def test_what_the_padding_holds_changes_no_bit(cell, pooling):
    model = small(cell=cell, pooling=pooling, bidirectional=True)
    other = IDS.copy()
    other[2:, 1], other[1:, 2] = 5, 4
    results = []
    for ids in (IDS, other):
        logits = model.forward(ids, LENGTHS)
        model.backward(model.loss(logits, np.array([0, 1, 1]))[1])
        results.append([logits, *(gradient.copy() for gradient in model.grads.values())])
    for clean, dirty in zip(*results):
        np.testing.assert_array_equal(clean, dirty)
    assert not model.grads["embedding.E"][5, :].any() or 5 in IDS[: LENGTHS[0], 0]


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_dtype_stays(pooling, dtype, num_classes):
    model = small(pooling=pooling, dtype=dtype, num_classes=num_classes, dropout=0.5, embedding_dropout=0.5)
    logits = model.forward(IDS, LENGTHS, train=True)
    loss, dlogits = model.loss(logits, np.array([0, 1, 1]))
    model.backward(dlogits)
    assert {logits.dtype, loss.dtype, dlogits.dtype, model.predict_proba(IDS).dtype} == {np.dtype(dtype)}
    assert {array.dtype for array in (*model.params.values(), *model.grads.values())} == {np.dtype(dtype)}


def test_probabilities_are_the_sigmoid_or_softmax_of_the_logits():
    """y = g(o) (Eq. 42)."""
    model = small(dtype="float64")
    z = model.forward(IDS, LENGTHS)
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(model.predict_proba(IDS, LENGTHS), np.stack([1 - p, p], axis=1), rtol=1e-13)
    model = small(dtype="float64", num_classes=4)
    z = model.forward(IDS, LENGTHS)
    right = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(IDS, LENGTHS), right, rtol=1e-13)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_no_probability_is_0_or_1_that_need_not_be(num_classes):
    model = small(num_classes=num_classes)
    for size in (20.0, 60.0, 90.0):
        model.params["dense.W"][...] = 0
        model.params["dense.b"][...] = size if num_classes == 2 else [0, size, size]
        p = model.predict_proba(IDS, LENGTHS).astype(float)
        right = np.exp(-size) / (1 + np.exp(-size)) if num_classes == 2 else np.exp(-size) / (2 + np.exp(-size))
        np.testing.assert_allclose(p[:, 0], right, rtol=1e-5)
        model.params["dense.b"][...] *= -1
        if num_classes == 2:
            np.testing.assert_allclose(model.predict_proba(IDS, LENGTHS)[:, 1].astype(float), right, rtol=1e-5)


def test_ids_and_lengths_come_from_any_container():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    model = small()
    logits = model.forward(IDS, LENGTHS)
    for ids, lengths in (
        (IDS.tolist(), iter(LENGTHS)),
        (torch.tensor(IDS), torch.tensor(LENGTHS)),
        (pandas.DataFrame(IDS, index=[9, 9, 1, 0]), pandas.Series(LENGTHS, index=[2, 1, 0])),
        (IDS.astype(np.uint8), np.array(LENGTHS, np.int8)),
    ):
        np.testing.assert_array_equal(model.forward(ids, lengths), logits)


def test_embedding_dropout_drops_the_same_units_at_all_steps():
    model = small(embedding_dim=40, embedding_dropout=0.5)
    model.params["embedding.E"][...] = 1
    seen = []
    call = model.recurrent.call
    model.recurrent.call = lambda x, **options: (seen.append(x.plan.unpack(x.data)), call(x, **options))[1]
    model.forward(IDS, train=True)
    (x,) = seen
    assert (x == x[0]).all() and set(np.unique(x)) == {0.0, 2.0} and (x[0, 0] != x[0, 1]).any()


def test_word_dropout_puts_the_unknown_word_in_the_place_of_a_word_in_training_only():
    model = small(word_dropout=0.5)
    model.params["embedding.E"][1:] = 1
    model.params["embedding.E"][0] = 0
    seen = []
    call = model.recurrent.call
    model.recurrent.call = lambda x, **options: (seen.append(x.plan.unpack(x.data)), call(x, **options))[1]
    ids = np.full((50, 20), 3)
    model.forward(ids, train=True)
    model.forward(ids)
    trained, predicted = seen
    assert (trained == trained[:, :, :1]).all() and set(np.unique(trained)) == {0.0, 1.0}
    assert 0.45 < trained.mean() < 0.55 and (predicted == 1).all()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first, same, other = (small(seed=seed, dropout=0.5) for seed in (1, 1, 2))
    for name in first.params:
        np.testing.assert_array_equal(first.params[name], same.params[name])
    np.testing.assert_array_equal(first.forward(IDS, train=True), same.forward(IDS, train=True))
    assert (first.params["dense.W"] != other.params["dense.W"]).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_same_weights_and_draws_the_same_masks_but_shares_neither(copied):
    model = small(dropout=0.5, embedding_dropout=0.5, cell="gru")
    model.forward(IDS, train=True)
    twin = copied(model)
    assert twin.config() == model.config()
    for _ in range(2):
        np.testing.assert_array_equal(twin.forward(IDS, train=True), model.forward(IDS, train=True))
    twin.params["dense.b"][...] += 1
    assert (twin.forward(IDS) != model.forward(IDS)).all()


def test_config_makes_the_same_model_again():
    model = small(cell="gru", reset_after=True, bidirectional=True, pooling="max", dropout=0.1, num_classes=5)
    again = SequenceClassifier(**model.config(), seed=0)
    assert again.config() == model.config() and repr(again) == repr(model)
    np.testing.assert_array_equal(again.forward(IDS), model.forward(IDS))


def test_parameter_shapes_are_those_of_the_model():
    options = itertools.product(CELLS, POOLINGS, (1, 2), (False, True), (2, 5), (False, True))
    for cell, pooling, num_layers, bidirectional, num_classes, reset_after in options:
        model = small(
            cell=cell,
            pooling=pooling,
            num_layers=num_layers,
            bidirectional=bidirectional,
            num_classes=num_classes,
            reset_after=reset_after,
        )
        assert parameter_shapes(model.config()) == {name: array.shape for name, array in model.params.items()}


def test_parameter_shapes_makes_no_array():
    config = {**small(num_layers=2).config(), "vocabulary_size": 10**12, "hidden_size": 10**9}
    assert parameter_shapes(config)["embedding.E"] == (10**12, 2)
    assert parameter_shapes(config)["recurrent.U_l1"] == (10**9, 4 * 10**9)


def test_a_cell_entered_in_the_table_is_all_that_a_model_needs(monkeypatch):
    """The new cell has an option and a parameter of its own."""

    class Scaled(GRU):
        gates = "rzn"

        def __init__(self, *args, activation="tanh", **options):
            self.activation = activation
            super().__init__(*args, **options)

        @classmethod
        def cell_of(cls, **options):
            return replace(gru.AFTER, weights={"bn": 1, "s": 1})

    monkeypatch.setitem(CELLS, "scaled", Scaled)
    model = small(cell="scaled", activation="relu", reset_after=True, num_layers=2)
    assert model.recurrent.activation == "relu" and model.params["recurrent.s_l1"].shape == (3,)
    assert parameter_shapes(model.config()) == {name: array.shape for name, array in model.params.items()}


def test_the_signature_is_the_one_definition_of_the_options():
    options = inspect.signature(SequenceClassifier).parameters
    assert list(options)[:5] == ["vocabulary_size", "embedding_dim", "hidden_size", "num_classes", "cell"]
    model = SequenceClassifier(9)
    assert [name for name in options if name not in ("seed", "embeddings")] == list(model.config())
    assert {**model.config(), "seed": None, "embeddings": None} == {"vocabulary_size": 9} | {
        name: option.default for name, option in options.items() if name != "vocabulary_size"
    }


def test_configuration_takes_its_own_options_alone_and_makes_plain_values_of_them():
    given = {"vocabulary_size": np.int64(5), "bidirectional": 1, "dropout": np.float32(0.5), "epochs": "no option"}
    found = configuration({**given, "dtype": np.float64})
    assert found == SequenceClassifier(5, bidirectional=True, dropout=0.5, dtype="float64").config()
    assert [type(found[name]) for name in given if name in found] == [int, bool, float]
    with pytest.raises(ValueError, match="vocabulary_size is missing, expected a whole number"):
        configuration({"cell": "gru"})


def test_load_params_refuses_what_does_not_fit_and_changes_nothing():
    model = small()
    before = {name: array.copy() for name, array in model.params.items()}
    changed = {name: array + 1 for name, array in before.items()}
    with pytest.raises(ValueError, match="dense.b"):
        model.load_params({name: array for name, array in changed.items() if name != "dense.b"})
    with pytest.raises(ValueError, match=r"params\['dense.b'\] has shape \(2,\)"):
        model.load_params({**changed, "dense.b": np.zeros(2, np.float32)})
    with pytest.raises(TypeError, match=r"params\['dense.b'\] has dtype float64"):
        model.load_params({**changed, "dense.b": np.zeros(1)})
    for name, array in before.items():
        np.testing.assert_array_equal(model.params[name], array)
    model.load_params(changed)
    np.testing.assert_array_equal(model.params["dense.W"], before["dense.W"] + 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"vocabulary_size": 0}, ValueError, "vocabulary_size is 0"),
        ({"vocabulary_size": 2.5}, TypeError, "vocabulary_size is 2.5, expected a whole number"),
        ({"hidden_size": -1}, ValueError, "hidden_size is -1"),
        ({"embedding_dim": "64"}, TypeError, "embedding_dim is '64'"),
        ({"num_layers": 0}, ValueError, "num_layers is 0"),
        ({"num_classes": 1}, ValueError, "num_classes is 1, expected at least 2"),
        ({"num_classes": True}, TypeError, "num_classes is True"),
        ({"cell": ["gru"]}, ValueError, r"cell is \['gru'\], expected one of 'rnn', 'lstm', 'gru'"),
        ({"cell": "LSTM"}, ValueError, "cell is 'LSTM', expected one of 'rnn', 'lstm', 'gru'"),
        ({"pooling": "min"}, ValueError, "pooling is 'min'"),
        ({"dropout": 1.0}, ValueError, "dropout is 1.0"),
        ({"embedding_dropout": -0.1}, ValueError, "embedding_dropout is -0.1"),
        ({"word_dropout": 1}, ValueError, "word_dropout is 1"),
        ({"recurrent_dropout": "half"}, TypeError, "recurrent_dropout is 'half'"),
        ({"activation": "gelu"}, ValueError, "activation is 'gelu'"),
        ({"bidirectional": "no"}, TypeError, "bidirectional is 'no', expected True or False"),
        ({"bidirectional": None}, TypeError, "bidirectional is None, expected True or False"),
        ({"reset_after": np.nan}, TypeError, "reset_after is nan, expected True or False"),
        ({"dropout": np.nan}, ValueError, "dropout is nan"),
        ({"dropout": np.complex64(0.5)}, TypeError, "dropout is .*, expected a number"),
        ({"dropout": None}, TypeError, "dropout is None"),
        ({"hidden_size": np.inf}, TypeError, "hidden_size is inf"),
        ({"hidden_size": None}, TypeError, "hidden_size is None"),
        ({"cell": None}, ValueError, "cell is None"),
        ({"cell": np.array(["gru"])}, ValueError, "cell is array"),
        ({"dtype": "float16"}, ValueError, "dtype is float16"),
        ({"dtype": "nonsense"}, TypeError, "dtype is 'nonsense'"),
        ({"device": "tpu"}, ValueError, "device is 'tpu'"),
    ],
)
def test_a_wrong_option_is_named(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("ids", "lengths", "error", "message"),
    [
        (IDS[:, 0], None, ValueError, r"ids has shape \(4,\), expected \(T, B\)"),
        (IDS[:, 0].tolist(), None, ValueError, r"ids has shape \(4,\)"),
        (None, None, TypeError, "ids is None"),
        ({0: [1]}, None, TypeError, "ids is dict"),
        ([[1, None]], None, ValueError, r"ids\[0, 1\] is missing"),
        (IDS * 1.0, None, TypeError, "ids has dtype float64"),
        (IDS + 1, None, ValueError, r"ids\[3, 0\] is 6, expected 0 to 5"),
        (-IDS, None, ValueError, r"ids\[0, 0\] is -1"),
        (IDS[:0], None, ValueError, r"shape \(0, 3\)"),
        (IDS, [4, 2], ValueError, r"lengths has shape \(2,\)"),
        (IDS, [5, 2, 1], ValueError, r"lengths\[0\] is 5, but x has only T=4"),
        (IDS, [4, 0, 1], ValueError, r"lengths\[1\] is 0"),
        (IDS, [4.0, 2.0, 1.0], TypeError, "lengths has dtype float64"),
    ],
)
def test_wrong_input_of_forward_is_named(ids, lengths, error, message):
    with pytest.raises(error, match=message):
        small().forward(ids, lengths)


def test_wrong_input_of_backward_and_loss_is_named():
    model = small()
    with pytest.raises(RuntimeError, match="SequenceClassifier.backward was called before forward"):
        model.backward(np.zeros(3, np.float32))
    logits = model.forward(IDS)
    with pytest.raises(ValueError, match=r"dlogits has shape \(2,\), expected \(3,\)"):
        model.backward(np.zeros(2, np.float32))
    with pytest.raises(TypeError, match="dlogits has dtype float64"):
        model.backward(np.zeros(3))
    with pytest.raises(ValueError, match=r"targets has shape \(2,\)"):
        model.loss(logits, np.array([0, 1]))


class Vectors:
    """What a classifier takes of a `Word2Vec`."""

    def __init__(self, vectors):
        self.vectors = vectors


@pytest.mark.parametrize("wrapped", [Vectors, np.ndarray.tolist, np.copy])
def test_the_table_starts_with_the_given_vectors_and_all_else_as_without(wrapped, rng):
    table = rng.standard_normal((6, 2))
    given = wrapped(table)
    model, plain = small(embeddings=given), small()
    np.testing.assert_array_equal(model.params["embedding.E"], table.astype(np.float32))
    for name in plain.params.keys() - {"embedding.E"}:
        np.testing.assert_array_equal(model.params[name], plain.params[name])
    model.params["embedding.E"][...] = 0
    np.testing.assert_array_equal(getattr(given, "vectors", given), table)
    assert model.config() == plain.config()


@pytest.mark.parametrize(
    ("embeddings", "error", "message"),
    [
        (np.zeros((5, 2)), ValueError, r"embeddings has shape \(5, 2\), expected \(6, 2\) = \(vocabulary_size, embed"),
        (Vectors(np.zeros((6, 3))), ValueError, r"embeddings.vectors has shape \(6, 3\), expected \(6, 2\)"),
        (np.full((6, 2), np.inf), ValueError, "embeddings holds NaN or infinity"),
        ("glove", TypeError, "embeddings is one string"),
    ],
)
def test_embeddings_that_do_not_fit_are_named(embeddings, error, message):
    with pytest.raises(error, match=message):
        small(embeddings=embeddings)


@pytest.mark.parametrize(
    "fixed",
    [
        {"embedding.E"},
        {"recurrent.U_l0", "dense.b"},
        {"embedding.E", "recurrent.W_l0", "recurrent.U_l0", "recurrent.b_l0"},
        {"recurrent.W_l0", "recurrent.U_l0", "recurrent.b_l0"},
    ],
)
def test_what_is_fixed_has_gradient_0_and_the_others_have_theirs(fixed, rng):
    model, whole = perturbed(rng, pooling="mean+max"), None
    whole = copy.deepcopy(model)
    for each in (model, whole):
        each.backward(each.loss(each.forward(IDS, LENGTHS), [1, 0, 1])[1])
    model.fixed = fixed
    model.backward(model.loss(model.forward(IDS, LENGTHS), [1, 0, 1])[1])
    for name, gradient in model.grads.items():
        np.testing.assert_array_equal(gradient, 0 if name in fixed else whole.grads[name], err_msg=name)
        assert whole.grads[name].any()


def test_gradients_of_a_fixed_table_are_not_computed(monkeypatch):
    monkeypatch.setattr("rnnscratch.kernels.embedding.backward", None)
    model = small(freeze=True)
    model.backward(model.loss(model.forward(IDS, LENGTHS), [1, 0, 1])[1])
    assert model.grads["dense.W"].any() and model.fixed == {"embedding.E"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_fixes_the_same(copied):
    model = small(freeze=True)
    assert copied(model).fixed == {"embedding.E"}
    model.fixed = {"dense.W"}
    assert copied(model).fixed == {"dense.W"} and copied(model).dense.fixed == {"W"}
    with pytest.raises(ValueError, match="fixed holds 'dense.V', expected names of parameters"):
        model.fixed = {"dense.V"}
    assert model.fixed == {"dense.W"}


@pytest.mark.parametrize("num_classes", [2, 3])
def test_label_smoothing_acts_in_training_alone(num_classes):
    model = small(num_classes=num_classes, label_smoothing=0.2, dtype="float64")
    order = np.argsort([-length for length in LENGTHS])
    batch = Batch(IDS[:, order], np.array(LENGTHS)[order], np.array([1, 0, 1]), order)
    logits = model.forward(batch.ids, batch.lengths)
    target = np.eye(num_classes)[batch.labels] * 0.8 + 0.2 / num_classes
    log_p = np.log(probabilities(logits))
    assert model.batch_loss(batch, train=True)[0] == pytest.approx(-(target * log_p).sum(axis=1).mean(), rel=1e-12)
    assert model.batch_loss(batch)[0] == pytest.approx(-log_p[np.arange(3), batch.labels].mean(), rel=1e-12)
    model.batch_loss(batch, train=True)[1]()
    expected = np.exp(log_p) - target
    db = expected.sum(axis=0) / 3
    np.testing.assert_allclose(model.grads["dense.b"], db[1:] if num_classes == 2 else db, rtol=1e-12)


SOFT = {2: [[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]], 3: [[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.2, 0.0, 0.8]]}


@pytest.mark.parametrize("num_classes", SOFT)
def test_labels_may_be_probabilities(num_classes, rng):
    labels = np.array(SOFT[num_classes])
    assert_gradients_exact(perturbed(rng, num_classes=num_classes, cell="gru"), labels, LENGTHS)
    model = small(num_classes=num_classes, label_smoothing=0.2, dtype="float64")
    order = np.argsort([-length for length in LENGTHS])
    batch = Batch(IDS[:, order], np.array(LENGTHS)[order], labels, order)
    p = probabilities(model.forward(batch.ids, batch.lengths))
    loss, _, figures = model.batch_loss(batch)
    assert loss == pytest.approx(-(labels * np.log(p)).sum(axis=1).mean(), rel=1e-12)
    assert figures["accuracy"] == pytest.approx((p.argmax(axis=1) == labels.argmax(axis=1)).mean())
    smoothed = labels * 0.8 + 0.2 / num_classes
    assert model.batch_loss(batch, True)[0] == pytest.approx(-(smoothed * np.log(p)).sum(axis=1).mean(), rel=1e-12)
    first, second = model.split(batch, 2)
    assert np.array_equal(np.concatenate([first.labels, second.labels]), labels[[0, 2, 1]])
    hard = batch._replace(labels=np.array([1, 0, 1]))
    certain = batch._replace(labels=np.eye(num_classes)[hard.labels])
    assert model.batch_loss(certain)[0] == pytest.approx(model.batch_loss(hard)[0], rel=1e-14)


@pytest.mark.parametrize("noise", [{}, {"adversarial": 0.3}])
def test_training_meets_probabilities_as_they_are(noise):
    """One word of which a quarter of the texts are of class 1, another of three quarters."""
    sequences = [[1], [2]] * 32
    soft = np.array([[0.75, 0.25], [0.25, 0.75]] * 32)
    model = SequenceClassifier(3, 4, 6, seed=0, **noise)
    history = training.fit(
        model, (sequences, soft), (sequences, soft), optimizer=Adam(0.03), epochs=40, batch_size=16, progress=False
    )
    p = probabilities(model.forward(np.array([[1, 2]])))
    np.testing.assert_allclose(p, soft[:2], atol=0.03)
    assert history["validation_accuracy"][-1] == history["accuracy"][-1] == 1.0
    assert history["validation_loss"][-1] == pytest.approx(0.5623, abs=0.005)  # the entropy of a quarter


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((2, 3), 1 / 3), r"labels has shape \(2, 3\), expected rows of 2 probabilities"),
        (np.full((3, 2), 0.5), r"labels has shape \(3, 2\), expected \(2, 2\)"),
        (np.array([[0.5, 0.5], [0.7, 0.7]]), r"labels\[1\] holds 0.7 to 0.7 and sums to 1.4, expected probabilities"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), r"labels\[0\] holds -0.5 to 1.5"),
    ],
)
def test_labels_that_are_no_probabilities_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        training.fit(small(), ([[1], [2]], labels), optimizer=Adam(0.1), progress=False)


def test_batches_keep_each_sequences_probabilities():
    soft = np.array([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    batches = Batches([[1], [1, 2, 3], [1, 2]], soft, batch_size=2, shuffle=True, seed=0)
    for batch in batches:
        np.testing.assert_array_equal(batch.labels, soft[batch.indices])
    changed = Batches([[1], [1, 2, 3], [1, 2]], soft[::-1])
    assert changed.summary()["checksum"] != batches.summary()["checksum"]
    with pytest.raises(ValueError, match=r"labels has shape \(3, 2\), expected \(2, 2\)"):
        Batches([[1], [2]], soft)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_ensemble_has_the_mean_of_its_members_probabilities(shape, dtype, rng):
    logits = [(rng.standard_normal(shape) * 3).astype(dtype) for _ in range(3)]
    found = ensemble(logits)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.mean([probabilities(each) for each in logits], axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_members_that_do_not_fit_together_are_named():
    with pytest.raises(ValueError, match="logits is empty"):
        ensemble([])
    with pytest.raises(ValueError, match=r"logits\[1\] has shape \(3,\), expected \(2,\) as logits\[0\]"):
        ensemble([np.zeros(2), np.zeros(3)])
