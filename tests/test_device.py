"""Models on a device: the same numbers as on the host, what waits for it or is copied to it, and what is refused.

A pass waits never, a training batch once: for its loss, figures and gradient norm together.
"""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp
from cells import KERNELS, draw
from close import close

import rnnscratch as rs
from rnnscratch import backend
from rnnscratch.experiments.pretraining import Start
from rnnscratch.experiments.probes import gradient_by_lag
from rnnscratch.gradcheck import check_gradients
from rnnscratch.hmm import CategoricalHMM, GaussianHMM
from rnnscratch.layers import Attention, Dense, Embedding
from rnnscratch.models import LanguageModel, Seq2Seq, SequenceClassifier
from rnnscratch.models.classifier import CELLS
from rnnscratch.training import fit

FAKE = strict_xp.__name__ == "strict_xp"
RNG = np.random.default_rng(5)
SEQUENCES = [RNG.integers(0, 20, length) for length in RNG.integers(1, 12, 24)]
LABELS = RNG.integers(0, 2, 24)
TEXTS = [RNG.integers(1, 20, length) for length in (40, 33, 52)]
PAIRS = [RNG.integers(3, 12, length) for length in RNG.integers(1, 9, 12)]
NOISE = {"dropout": 0.3, "recurrent_dropout": 0.3, "embedding_dropout": 0.3, "word_dropout": 0.2}
BOTH = {"num_layers": 2, "bidirectional": True}
EMBED = {"embedding_dim": 3, "hidden_size": 4, "dtype": "float64", "seed": 0}


def classifier(**options):
    return lambda device: SequenceClassifier(20, device=device, **EMBED, **options)


def language(**options):
    return lambda device: LanguageModel(20, end_id=1, device=device, **{**EMBED, **options})


def seq2seq(**options):
    return lambda device: Seq2Seq(12, 12, device=device, **EMBED, **options)


MODELS = {  # how a model is made, its data, and the most copies to the device in a training batch
    **{f"classifier, {cell}": (classifier(cell=cell), (SEQUENCES, LABELS), 3) for cell in CELLS},
    "classifier, gru after": (classifier(cell="gru", reset_after=True), (SEQUENCES, LABELS), 3),
    "classifier, two ways, mean+max": (classifier(pooling="mean+max", **BOTH), (SEQUENCES, LABELS), 5),
    "classifier, dropout": (classifier(**NOISE, **BOTH), (SEQUENCES, LABELS), 10),
    "classifier, noise": (classifier(adversarial=0.1, virtual=0.1, word_dropout=0.2), (SEQUENCES, LABELS), 7),
    "language model": (language(), TEXTS, 2),
    "language model, dropout": (language(tied=True, embedding_dim=4, num_layers=2, **NOISE), TEXTS, 8),
    "language model, sampled": (language(sampled=5), TEXTS, 3),
    "seq2seq": (seq2seq(), (PAIRS, PAIRS), 5),
    "seq2seq, dot": (seq2seq(attention="dot", dropout=0.3, num_layers=2), (PAIRS, PAIRS), 11),
    "seq2seq, additive, sampling": (seq2seq(attention="additive", sampling=0.5), (PAIRS, PAIRS), 9),
}


@pytest.fixture
def device(monkeypatch):
    """The device is the module strict_xp."""
    for module in ("layers", "models.classifier"):
        monkeypatch.setattr(f"rnnscratch.{module}.module_for", lambda name: np if name == "cpu" else strict_xp)
    return "gpu"


def start():
    strict_xp.moves.update(to_device=0, to_host=0, **({"syncs": 0} if FAKE else {}))


def waits():
    """How often it was waited for the device since `start`; the fake also knows calls that wait unseen."""
    return strict_xp.moves["syncs"] if FAKE else strict_xp.moves["to_host"]


def batches_of(model, data):
    return list(model.batches(data, 6, 7, False, None))


@pytest.mark.parametrize("name", MODELS)
def test_a_pass_waits_never_and_copies_little_to_the_device(name, device):
    make, data, uploads = MODELS[name]
    model = make(device)
    for batch in batches_of(model, data):
        start()
        _, back, _ = model.batch_loss(batch, train=True)
        back()
        assert strict_xp.moves["to_host"] == waits() == 0
        assert strict_xp.moves["to_device"] <= uploads


@pytest.mark.parametrize("name", MODELS)
def test_a_training_batch_waits_once(name, device):
    make, data, uploads = MODELS[name]
    model, optimizer = make(device), rs.Adam()
    counts = []

    class Counted(list):
        def __iter__(self):
            for batch in super().__iter__():
                start()
                yield batch
                counts.append((strict_xp.moves["to_host"], waits(), strict_xp.moves["to_device"]))

    counted = Counted(batches_of(model, data))
    model.batches = lambda *_: counted
    fit(model, data, optimizer=optimizer, epochs=1, clip_norm=0.1, progress=False)
    assert len(counts) == len(counted) > 1
    assert [each[:2] for each in counts] == [(1, 1)] * len(counted)
    assert max(uploaded for *_, uploaded in counts) <= uploads


@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_on_a_device_as_on_the_host(name, device):
    make, data, _ = MODELS[name]
    host, there = make("cpu"), make(device)
    options = {"optimizer": rs.SGD(0.1), "epochs": 1, "batch_size": 6, "clip_norm": 1.0, "progress": False}
    right = fit(host, data, **options)
    found = fit(there, data, **{**options, "optimizer": rs.SGD(0.1)})
    assert found["loss"] == pytest.approx(right["loss"], rel=1e-9)
    assert found["gradient_norm"] == pytest.approx(right["gradient_norm"], rel=1e-9)
    for key, array in host.params.items():
        assert close(there.params[key], array, rtol=1e-9, ordered=False), key


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_training_gives_the_same_bits_where_it_is_asked_for(deterministic, device):
    if not FAKE and not deterministic:
        pytest.skip("whether sums come in another order is chance")
    found = []
    for seed in (0, 1):
        if FAKE:
            strict_xp.reorder(seed)
        model = classifier(adversarial=0.1)(device)
        fit(model, (SEQUENCES, LABELS), optimizer=rs.SGD(0.5), epochs=2, deterministic=deterministic, progress=False)
        found.append({name: array.get() for name, array in model.params.items()})
    assert deterministic == all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_a_checkpoint_of_another_order_of_sums_is_refused(tmp_path):
    given = {"optimizer": rs.SGD(0.5), "epochs": 1, "progress": False, "checkpoint": tmp_path / "c.npz"}
    fit(classifier()("cpu"), (SEQUENCES, LABELS), **given)
    with pytest.raises(ValueError, match="deterministic is None, here it is True"):
        fit(classifier()("cpu"), (SEQUENCES, LABELS), **{**given, "resume": True, "deterministic": True})


def test_ids_on_the_host_are_checked_there_and_on_a_device_read_back(device):
    model, layer = classifier()(device), Embedding(20, 3, dtype="float64", device=device, seed=0)
    ids = np.array([[3, 19], [7, 0]])
    for run in (model.forward, layer.forward):
        for given, syncs in ((ids, 0), (strict_xp.asarray(ids), 1)):
            start()
            found = run(given)
            assert strict_xp.moves["to_host"] == syncs
            assert close(found, run(ids).get())
        for wrong in (np.array([[3, 20]]), strict_xp.asarray(np.array([[3, 20]]))):
            with pytest.raises(ValueError, match=r"ids\[0, 1\] is 20, expected 0 to 19"):
                run(wrong)
    host = classifier()("cpu")
    with pytest.raises(TypeError, match="ids and the parameters are on different devices: .* and numpy"):
        host.forward(strict_xp.asarray(ids))
    translator = seq2seq()(device)
    with pytest.raises(ValueError, match=r"target_in\[0, 1\] is 12, expected 0 to 11"):
        translator.forward(ids % 12, None, np.array([[1, 12]]), None)


@pytest.mark.parametrize(
    ("name", "changed"),
    [("classifier, lstm", "labels"), ("classifier, noise", "labels"), ("seq2seq", "target_out")]
    + [(f"language model{kind}", "targets") for kind in ("", ", sampled")],
)
def test_classes_that_there_are_not_are_refused_before_they_are_moved(name, changed, device):
    """On a device their index would wrap around, and the loss would be a number."""
    make, data, _ = MODELS[name]
    for where in ("cpu", device):
        model = make(where)
        batch = batches_of(model, data)[0]
        wrong = getattr(batch, changed).copy()
        wrong.reshape(-1)[0] = 77
        with pytest.raises(ValueError, match=rf"{'targets' if where == 'cpu' else changed}\[0\] is 77, expected "):
            model.batch_loss(batch._replace(**{changed: wrong}), train=True)


def test_probabilities_that_are_none_are_refused_before_they_are_moved(device):
    model = SequenceClassifier(20, num_classes=3, device=device, **EMBED)
    labels = np.full((24, 3), 1 / 3)
    batch = batches_of(model, (SEQUENCES, labels))[0]
    assert float(model.batch_loss(batch)[0].get()) > 0
    wrong = batch.labels.copy()
    wrong[1, 2] = 0.9
    with pytest.raises(ValueError, match=r"labels\[1\] holds .* expected probabilities"):
        model.batch_loss(batch._replace(labels=wrong))


def test_evaluation_reads_back_logits_once_a_batch_and_once_whether_the_weights_are_finite(device):
    model = classifier()(device)
    batches = model.batches((SEQUENCES, LABELS), 6, 7, False, None)
    start()
    found = model.evaluate(batches)
    assert strict_xp.moves["to_host"] == len(batches) + 1
    assert found["loss"] == pytest.approx(classifier()("cpu").evaluate(batches)["loss"], rel=1e-12)
    for name in ("recurrent.U_l0", "dense.W"):
        model.params[name][...] = np.nan
        with pytest.raises(FloatingPointError, match=f"{name} holds NaN"):
            model.evaluate(batches)
        model.params[name][...] = 1.0
    for name in ("dense.W", "recurrent.U_l0"):  # the first is named
        model.params[name][...] = np.nan
        with pytest.raises(FloatingPointError, match=f"{name} holds NaN"):
            model.evaluate(batches)


def test_the_bare_kernel_moves_nothing(device):
    with pytest.raises(TypeError, match="different devices"):
        rs.kernels.embedding.forward(np.array([1]), strict_xp.asarray(np.ones((2, 3))))


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_or_gradient_on_another_device_is_named(cell, device):
    layer = CELLS[cell](3, 4, dtype="float64", device=device, seed=0)
    x, h = strict_xp.asarray(np.ones((5, 2, 3))), np.zeros((1, 2, 4))
    for name, call in (
        ("x", lambda: layer.forward(np.ones((5, 2, 3)))),
        ("state", lambda: layer.forward(x, h if len(layer.states) == 1 else (h, h))),
        ("dhs", lambda: layer.call(x)[1](np.ones((5, 2, 4)))),
        ("dstate", lambda: layer.call(x)[1](None, h if len(layer.states) == 1 else (h, h))),
        ("state", lambda: layer.step(x[0], h if len(layer.states) == 1 else (h, h))),
    ):
        with pytest.raises(TypeError, match=rf"{name}( h)? and the parameters are on different devices: numpy and "):
            call()
    with pytest.raises(TypeError, match="lengths is a device array, expected integers on the host"):
        layer.forward(x, lengths=strict_xp.asarray(np.array([5, 2])))


def test_what_a_dense_layer_and_attention_get_from_another_device_is_refused(device):
    with pytest.raises(TypeError, match="different devices"):
        Dense(3, 2, dtype="float64", device=device).forward(np.ones((4, 3)))
    attention = Attention(3, 3, dtype="float64", device=device, seed=0)
    there = strict_xp.asarray(np.ones((4, 2, 3)))
    for q, memory in ((np.ones((4, 2, 3)), there), (there, np.ones((4, 2, 3)))):
        with pytest.raises(TypeError):
            attention.forward(q, memory)


def test_complex_embeddings_have_gradients_on_a_device(device):
    host, there = (Embedding(5, 3, dtype="complex128", device=each, seed=0) for each in ("cpu", device))
    ids, dx = np.array([[1, 1], [4, 1]]), (RNG.standard_normal((2, 2, 3)) * (1 + 2j))
    for layer in (host, there):
        layer.forward(ids)
        layer.backward(layer.xp.asarray(dx))
    assert close(there.grads["E"], host.grads["E"], ordered=False)


@pytest.mark.parametrize("name", KERNELS)
def test_no_result_depends_on_what_new_memory_held(name, rng):
    if not FAKE:
        pytest.skip("new memory can be filled in the fake alone")
    arguments = {key: strict_xp.asarray(value) for key, value in draw(name, rng, 4, 3, 2, 3, float).items()}
    dhs, found = strict_xp.asarray(rng.standard_normal((4, 3, 3))), []
    try:
        for held in (None, 1e30):
            strict_xp.fill_empty(held)
            hs, final, cache = KERNELS[name].forward(arguments, [4, 2, 1])
            found.append([hs, *final.values(), *KERNELS[name].backward(cache, dhs, {}).values()])
    finally:
        strict_xp.fill_empty()
    for one, other in zip(*found):
        assert np.isfinite(one.get()).all() and np.array_equal(one.get(), other.get())


STEPS = {  # launches and allocations a step, forward and backward, without kernels of our own
    "rnn tanh": (6, 0),
    "rnn relu": (7, 1),
    "rnn sigmoid": (9, 0),
    "lstm": (30, 13),
    "gru": (36, 15),
    "gru reset_after": (32, 14),
    "peephole": (61, 31),
    "layer_norm": (92, 63),
}


@pytest.mark.parametrize("name", STEPS)
def test_launches_and_allocations_a_step(name, rng):
    """Counted as those of four steps more, in one chunk."""
    if not FAKE:
        pytest.skip("on a real device cells have kernels of their own")
    counts = []
    for T in (4, 8):
        arguments = {key: strict_xp.asarray(value) for key, value in draw(name, rng, T, 3, 2, 3, float).items()}
        dhs = strict_xp.asarray(rng.standard_normal((T, 3, 3)))
        strict_xp.reset()
        KERNELS[name].backward(KERNELS[name].forward(arguments)[2], dhs, {})
        counts.append((strict_xp.moves["launches"], strict_xp.moves["allocations"]))
    steps = [(later - earlier) / 4 for earlier, later in zip(*counts)]
    assert steps[0] <= STEPS[name][0] and steps[1] <= STEPS[name][1], steps


def test_a_network_on_a_device_starts_from_values_some_of_which_are_missing(device):
    host, there = (classifier()(each) for each in ("cpu", device))
    values = np.where(RNG.random((20, 3)) < 0.5, np.nan, RNG.standard_normal((20, 3)))
    right = np.where(np.isnan(values), host.params["embedding.E"], values)
    for model in (host, there):
        Start({"embedding.E": values, "recurrent.W_l0_reverse": np.ones(1)}).give(model)
    assert close(host.params["embedding.E"], right) and close(there.params["embedding.E"], right)
    lags = [gradient_by_lag(model, SEQUENCES, 5, pooled) for model in (host, there) for pooled in (False, True)]
    np.testing.assert_allclose(lags[2:], lags[:2], rtol=1e-9)


def test_gradients_are_checked_on_the_host(device):
    layer = rs.LSTM(3, 4, dtype="float64", device=device, seed=0)
    with pytest.raises(TypeError, match=r"params\['W_l0'\] is a device array; check on the host"):
        check_gradients(layer, np.ones((2, 1, 3)))


def test_an_hmm_takes_observations_on_a_device_and_all_else_on_the_host(rng):
    X = rng.standard_normal((30, 2))
    model = GaussianHMM(2, random_state=0, n_iter=2).fit(X)
    device = strict_xp.asarray(X)
    np.testing.assert_allclose(model.update(None, device[0]), model.update(None, X[0]), rtol=1e-12)
    with pytest.raises(TypeError, match="lengths is a device array, expected integers on the host"):
        model.score(device, strict_xp.asarray(np.array([10, 20])))
    with pytest.raises(TypeError, match="belief is a device array, expected one on the host"):
        model.update(strict_xp.asarray(np.ones(2) / 2), device[0])
    symbols = rng.integers(0, 4, 60)
    host, there = (CategoricalHMM(2, random_state=0, n_iter=3) for _ in range(2))
    host.fit(symbols)
    there.fit(strict_xp.asarray(symbols))
    np.testing.assert_allclose(there.emissionprob_, host.emissionprob_, rtol=1e-9)
    weights = strict_xp.asarray(rng.random((2, 60)))
    start()
    counts = there._parameters().emission.statistics(strict_xp.asarray(symbols), weights)
    assert strict_xp.moves["to_host"] == 1
    right = [np.bincount(symbols, row, minlength=4) for row in weights.get()]
    np.testing.assert_allclose(counts, right, rtol=1e-12)


def test_numbers_of_several_kinds_become_floats():
    device = strict_xp.asarray(np.array([0.5], "f4"))
    assert backend.to_floats(1, np.float32(0.5), np.array(2.0)) == [1.0, 0.5, 2.0]
    start()
    assert backend.to_floats(device, 3, strict_xp.asarray(np.array(4))) == [0.5, 3.0, 4.0]
    assert strict_xp.moves["to_host"] == 1
    assert backend.to_floats() == []
