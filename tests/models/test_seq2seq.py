"""The encoder-decoder: exact gradients, PyTorch's twin, search against enumeration, training, and bad input."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import strict_xp
from cells import STEP, relative_error
from close import close
from peers import torch

import rnnscratch as rs
from rnnscratch import training
from rnnscratch.kernels import losses
from rnnscratch.models import Seq2Seq, load_model, save_model
from rnnscratch.models.classifier import CELLS
from rnnscratch.models.seq2seq import configuration, parameter_shapes
from rnnscratch.text import PairBatches, Vocabulary

SOURCE = np.array([[3, 4, 5, 1], [6, 0, 2, 0], [4, 0, 7, 0], [4, 0, 0, 0]])
SOURCE_LENGTHS = np.array([4, 2, 3, 1])
TARGET_IN = np.array([[1, 1, 1, 1], [3, 5, 0, 0], [4, 5, 0, 0]])
TARGET_OUT = np.array([[3, 5, 2, 4], [4, 5, 0, 2], [2, 2, 0, 0]])
TARGET_LENGTHS = np.array([3, 3, 1, 2])
BATCH = (SOURCE, SOURCE_LENGTHS, TARGET_IN, TARGET_LENGTHS)


def small(**options):
    sizes = {"source_size": 8, "target_size": 6, "embedding_dim": 3, "hidden_size": 3, "seed": 0}
    return Seq2Seq(**{**sizes, **({"source_size": 8, "target_size": 8} if options.get("tied") else {}), **options})


def perturbed(rng, dtype="complex128", **options):
    """A model with no parameter at 0, where zeros would hide a wrong gradient."""
    model = small(dtype=dtype, **options)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    return model


def found_gradients(model):
    return {name: gradient.copy() for name, gradient in model.grads.items()}


def assert_gradients_exact(model, loss, found):
    for name, array in model.params.items():
        right = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1j * STEP
            right[index] = loss().imag / STEP
            array[index] = value
        assert relative_error(found[name].real, right) < 1e-12, name
        assert right.any(), f"{name} has no gradient, so that nothing was tested"


MIXED = [("lstm", "gru"), ("gru", "lstm"), ("rnn", "layer_norm"), ("peephole", "rnn")]


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize(("cell", "decoder_cell"), [*((cell, None) for cell in CELLS), *MIXED])
def test_gradients_equal_the_complex_step(cell, decoder_cell, bidirectional, attention, rng):
    """Ragged on both sides, in another order on each, with targets of a single step."""
    model = perturbed(rng, cell=cell, decoder_cell=decoder_cell, bidirectional=bidirectional, attention=attention)
    dlogits = rng.standard_normal((3, 4, 6))

    def loss():
        return (model.forward(*BATCH) * dlogits).sum()

    loss()
    model.backward(dlogits.astype(complex))
    assert_gradients_exact(model, loss, found_gradients(model))


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2},
        {"num_layers": 2, "bidirectional": False, "decoder_cell": "gru"},
        {"tied": True},
        {"num_layers": 2, "dropout": 0.4, "cell": "gru"},
        {"sampling": 0.7, "dropout": 0.3},
    ],
    ids=str,
)
def test_gradients_of_batches_equal_the_complex_step_with_chance_held_fixed(options, attention, rng):
    model = perturbed(rng, attention=attention, **options)
    batch = rs.text.PairBatch(*BATCH[:2], TARGET_IN, TARGET_OUT, TARGET_LENGTHS, np.arange(4))
    model.batch_loss(batch, train=True)
    model.frozen = True
    _, back, figures = model.batch_loss(batch, train=True)
    back()
    found = found_gradients(model)
    assert list(figures) == ["accuracy"]
    for name, array in model.params.items():
        direction = np.random.default_rng(1).standard_normal(array.shape)
        kept = array.copy()
        array += 1j * STEP * direction
        right = model.batch_loss(batch, train=True)[0].imag / STEP
        array[...] = kept
        assert abs((found[name].real * direction).sum() - right) < 1e-12 * max(1.0, abs(found[name]).max()), name
    assert model.batch_loss(batch, train=True)[0] == model.batch_loss(batch, train=True)[0]
    model.frozen = False
    assert not model.frozen


def test_one_step_on_each_side(rng):
    model = perturbed(rng, attention="additive")
    batch = np.array([[5]]), None, np.array([[1]]), None
    dlogits = rng.standard_normal((1, 1, 6))
    model.forward(*batch)
    model.backward(dlogits.astype(complex))
    found = found_gradients(model)
    for name in ("source_embedding.E", "encoder.W_l0", "bridge_c_l0.W", "decoder.b_l0", "mix.W", "dense.b"):
        array = model.params[name]
        direction = rng.standard_normal(array.shape)
        kept = array.copy()
        array += 1j * STEP * direction
        right = (model.forward(*batch) * dlogits).sum().imag / STEP
        array[...] = kept
        assert abs((found[name].real * direction).sum() - right) < 1e-13, name
    assert not found["attention.W_k"].any()  # of one step the weight is 1, whatever its score


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
def test_what_lies_past_an_end_changes_nothing_and_neighbours_do_not_matter(attention, rng):
    model = perturbed(rng, "float64", attention=attention)
    logits = model.forward(*BATCH)
    dlogits = rng.standard_normal(logits.shape)
    model.backward(dlogits)
    found = found_gradients(model)
    source, target_in, upstream = SOURCE.copy(), TARGET_IN.copy(), dlogits.copy()
    for b in range(4):
        assert not logits[TARGET_LENGTHS[b] :, b].any()
        source[SOURCE_LENGTHS[b] :, b] = 7
        target_in[TARGET_LENGTHS[b] :, b] = 5
        upstream[TARGET_LENGTHS[b] :, b] = 1e9
    given = [each.copy() for each in (source, target_in, upstream)]
    assert np.array_equal(model.forward(source, SOURCE_LENGTHS, target_in, TARGET_LENGTHS), logits)
    model.backward(upstream)
    assert all(np.array_equal(model.grads[name], array) for name, array in found.items())
    model.backward(upstream)  # twice
    assert all(np.array_equal(model.grads[name], array) for name, array in found.items())
    assert all(np.array_equal(a, b) for a, b in zip(given, (source, target_in, upstream)))
    for b in range(4):
        S, T = SOURCE_LENGTHS[b], TARGET_LENGTHS[b]
        alone = model.forward(SOURCE[:S, b : b + 1], None, TARGET_IN[:T, b : b + 1], None)
        np.testing.assert_allclose(alone[:, 0], logits[:T, b], rtol=1e-12, atol=1e-13)


def test_loss_and_backward_leave_the_gradients_of_a_batch(rng):
    model = perturbed(rng, "float64", attention="dot", num_layers=2)
    batch = rs.text.PairBatch(*BATCH[:2], TARGET_IN, TARGET_OUT, TARGET_LENGTHS, np.arange(4))
    right, back, _ = model.batch_loss(batch)
    back()
    found = found_gradients(model)
    real = np.arange(3)[:, None] < TARGET_LENGTHS
    loss, dlogits = losses.softmax_cross_entropy(model.forward(*BATCH), np.where(real, TARGET_OUT, -1), ignore_index=-1)
    model.backward(dlogits)
    np.testing.assert_allclose(loss, right, rtol=1e-13)
    for name, gradient in model.grads.items():
        np.testing.assert_allclose(gradient, found[name], rtol=1e-10, atol=1e-14)


# PyTorch


def torch_gates(array, letters):
    """Our columns as PyTorch's rows: its LSTM has the gates i, f, g, o."""
    parts = np.split(array, len(letters), axis=-1)
    order = {"ifog": [0, 1, 3, 2], "rzn": [0, 1, 2], "h": [0]}[letters]
    return torch.tensor(np.concatenate([parts[k] for k in order], axis=-1).T.copy())


def torch_layer(layer, params, part):
    """PyTorch's layer with the same weights. GRU: with reset_after alone, so those with cell "gru" are left out."""
    kind = {"LSTM": torch.nn.LSTM, "RNN": torch.nn.RNN}[type(layer).__name__]
    twin = kind(layer.input_size, layer.hidden_size, layer.num_layers, bidirectional=layer.bidirectional).double()
    with torch.no_grad():
        for k in range(layer.num_layers):
            for way in layer.directions:
                for ours, theirs in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
                    array = params[f"{part}.{ours}_l{k}{way}"]
                    getattr(twin, f"{theirs}_l{k}{way}")[...] = torch_gates(array, layer.gates)
                getattr(twin, f"bias_hh_l{k}{way}")[...] = 0
    return twin


def torch_twin(model):
    """Tensors of all other parameters, and the recurrent layers."""
    others = {
        name: torch.tensor(array.copy(), requires_grad=True)
        for name, array in model.params.items()
        if not name.startswith(("encoder", "decoder"))
    }
    return (
        others,
        torch_layer(model.encoder, model.params, "encoder"),
        torch_layer(model.decoder, model.params, "decoder"),
    )


def torch_logits(model, twin, source, target_in):
    """Of one pair (S,), (T,), by PyTorch's operations."""
    p, encoder, decoder = twin
    table = ("embedding.E", "embedding.E") if model.config()["tied"] else ("source_embedding.E", "target_embedding.E")
    hs, final = encoder(p[table[0]][torch.tensor(source)][:, None])
    parts, state = (final if isinstance(final, tuple) else (final,)), []
    for letter, part in zip("hc", parts):
        if model.encoder.bidirectional:
            rows = [
                torch.cat([part[2 * k], part[2 * k + 1]], dim=1) @ p[f"bridge_{letter}_l{k}.W"]
                + p[f"bridge_{letter}_l{k}.b"]
                for k in range(model.decoder.num_layers)
            ]
            part = torch.stack(rows)
        state.append(part)
    state = tuple(state) if len(state) > 1 else state[0]
    out = decoder(p[table[1]][torch.tensor(target_in)][:, None], state)[0][:, 0]
    if model.attention is not None:
        keys = hs[:, 0] @ p["attention.W_k"]
        if model.attention.kind == "dot":
            scores = out @ keys.T
        else:
            queries = out @ p["attention.W_q"] + p["attention.b"]
            scores = torch.tanh(queries[:, None] + keys[None]) @ p["attention.w"]
        context = torch.softmax(scores, dim=1) @ hs[:, 0]
        out = torch.tanh(torch.cat([out, context], dim=1) @ p["mix.W"] + p["mix.b"])
    return out @ p["dense.W"] + p["dense.b"]


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": False}, {"num_layers": 2}, {"cell": "rnn", "num_layers": 2}, {"tied": True}],
    ids=str,
)
def test_a_pytorch_model_with_the_same_weights_says_and_learns_the_same(options, attention, rng):
    model = perturbed(rng, "float64", attention=attention, **options)
    twin = torch_twin(model)
    logits = model.forward(*BATCH)
    total, count = 0.0, 0
    for b in range(4):
        S, T = SOURCE_LENGTHS[b], TARGET_LENGTHS[b]
        theirs = torch_logits(model, twin, SOURCE[:S, b], TARGET_IN[:T, b])
        np.testing.assert_allclose(logits[:T, b], theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
        targets = torch.tensor(TARGET_OUT[:T, b])
        total = total + torch.nn.functional.cross_entropy(theirs, targets, reduction="sum")
        count += T
    (total / count).backward()
    batch = rs.text.PairBatch(*BATCH[:2], TARGET_IN, TARGET_OUT, TARGET_LENGTHS, np.arange(4))
    loss, back, _ = model.batch_loss(batch)
    back()
    assert loss == pytest.approx((total / count).item(), rel=1e-12)
    others, encoder, decoder = twin
    for name, tensor in others.items():
        np.testing.assert_allclose(model.grads[name], tensor.grad.numpy(), rtol=1e-10, atol=1e-13, err_msg=name)
    for part, layer in (("encoder", encoder), ("decoder", decoder)):
        ours = getattr(model, part)
        for name, tensor in layer.named_parameters():
            if name.startswith("bias_hh"):
                continue
            letter = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}[name.rpartition("_l")[0]]
            key = f"{part}.{letter}_l{name.rpartition('_l')[2]}"
            right = torch_gates(model.grads[key], ours.gates).numpy()
            np.testing.assert_allclose(right, tensor.grad.numpy(), rtol=1e-10, atol=1e-13, err_msg=key)
    for b in range(4):  # greedy
        source, said = SOURCE[: SOURCE_LENGTHS[b], b], [1]
        while len(said) < 7:
            with torch.no_grad():
                said.append(int(torch_logits(model, twin, source, np.array(said))[-1].argmax()))
            if said[-1] == 2:
                break
        expected = [token for token in said[1:] if token != 2][:6]
        assert model.translate(source, max_length=6).tokens.tolist() == expected


# Search


def log_p(model, source, tokens):
    """Of each id of an output and its end, given those before, by whole sequences."""
    target_in = np.array([1, *tokens])[:, None]
    logits = model.forward(np.asarray(source)[:, None], None, target_in, None)[:, 0]
    return losses.log_softmax(logits.real.astype(float))[np.arange(len(tokens) + 1), [*tokens, 2]]


def test_a_beam_that_loses_nothing_finds_what_enumeration_finds(rng):
    for seed in range(12):
        model = perturbed(np.random.default_rng(seed), "float64", target_size=4, attention="dot" if seed % 2 else None)
        model.params["dense.b"][2] -= 1.0  # so that ends do not come at once
        for source in ([3, 4, 5], [7]):
            best = max(
                (log_p(model, source, tokens).mean(), tokens)
                for length in range(4)
                for tokens in itertools.product([0, 1, 3], repeat=length)
            )
            tokens, score, _ = model.translate(source, beam=4**4, max_length=3)
            assert tuple(tokens) == best[1]
            assert score == pytest.approx(best[0], rel=1e-12)


@pytest.mark.parametrize("beam", [1, 2, 3, 7])
@pytest.mark.parametrize("attention", [None, "dot", "additive"])
def test_scores_and_weights_are_those_of_the_output_and_batches_change_nothing(attention, beam, rng):
    model = perturbed(rng, "float64", attention=attention, num_layers=2)
    model.params["dense.b"][2] += 3.0  # so that some outputs end
    sources = [SOURCE[: SOURCE_LENGTHS[b], b] for b in range(4)] + [np.array([5, 5, 5, 5, 5, 5])]
    together = model.translate_batch(sources, beam, max_length=5)
    ended = 0
    for source, (tokens, score, weights) in zip(sources, together):
        alone = model.translate(source, beam, max_length=5)
        assert alone.tokens.tolist() == tokens.tolist() and alone.score == pytest.approx(score, rel=1e-12)
        each = log_p(model, source, tokens)
        assert score == pytest.approx(each.mean(), rel=1e-10) or (
            len(tokens) == 5 and score == pytest.approx(each[:-1].mean(), rel=1e-10)
        )
        ended += score == pytest.approx(each.mean(), rel=1e-10)
        assert 2 not in tokens and len(tokens) <= 5
        if attention is None:
            assert weights is None
            continue
        target_in = np.array([1, *tokens])[:, None]
        _, right = model.call(np.asarray(source)[:, None], None, target_in, None)[0]
        np.testing.assert_allclose(weights, right[: len(tokens), 0], rtol=1e-10)
        assert weights.shape == (len(tokens), len(source))
    assert ended


def test_greedy_takes_the_most_probable_id_at_every_step(rng):
    for seed in range(8):
        model = perturbed(np.random.default_rng(seed), "float64", attention="additive", cell="gru")
        tokens, _, _ = model.translate([3, 6, 4], max_length=8)
        said = []
        while len(said) < 8:
            target_in = np.array([1, *said])[:, None]
            token = int(model.forward(np.array([[3], [6], [4]]), None, target_in, None)[-1, 0].argmax())
            if token == 2:
                break
            said.append(token)
        assert tokens.tolist() == said


def test_a_wider_beam_finds_no_worse_score_where_it_loses_nothing_and_unfinished_outputs_only_if_none_ends(rng):
    model = perturbed(rng, "float64")
    model.params["dense.b"][2] = -1e3
    tokens, score, _ = model.translate([3], beam=3, max_length=4)
    each = log_p(model, [3], tokens)[:-1]
    assert len(tokens) == 4 and score == pytest.approx(each.mean(), rel=1e-12)
    model.params["dense.b"][2] = 1e3
    tokens, score, _ = model.translate([3], beam=3, max_length=4)
    assert tokens.tolist() == [] and score == pytest.approx(0.0, abs=1e-12)


# Training


def reversed_pairs(count, seed=0):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(3, 8, rng.integers(1, 6)) for _ in range(count)]
    return sources, [source[::-1] for source in sources]


def fit(model, data, **options):
    options = {"optimizer": rs.Adam(0.01), "batch_size": 16, "epochs": 3, "progress": False, **options}
    return training.fit(model, data, **options)


def test_it_learns_to_reverse_and_says_so():
    model = small(target_size=8, embedding_dim=12, hidden_size=24, attention="dot")
    history = fit(model, reversed_pairs(800), validation=reversed_pairs(80, 1), epochs=12, monitor="accuracy")
    assert history["validation_accuracy"][-1] > 0.97 and history["validation_loss"][0] > 0.5
    assert history["validation_perplexity"][-1] == pytest.approx(np.exp(history["validation_loss"][-1]))
    assert history["tokens_per_second"][0] > 0
    sources, targets = reversed_pairs(60, 2)
    said = model.translate_batch(sources, beam=2, max_length=8)
    right = [np.array_equal(each.tokens, target) for each, target in zip(said, targets)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("options", [{"attention": "additive", "dropout": 0.2}, {"sampling": 0.5, "num_layers": 2}])
def test_a_killed_training_goes_on_to_the_same_bits(options, tmp_path):
    data, held_out = reversed_pairs(50), reversed_pairs(9, 1)
    whole = small(target_size=8, **options)
    history = fit(whole, data, validation=held_out, checkpoint=tmp_path / "whole.npz")

    class Killed(Exception):
        pass

    def kill(model, row):
        if row["epoch"] == 2:
            raise Killed

    path = tmp_path / "part.npz"
    with pytest.raises(Killed):
        fit(small(target_size=8, **options), data, validation=held_out, checkpoint=path, callbacks=[kill])
    resumed = small(target_size=8, **options)
    again = fit(resumed, data, validation=held_out, checkpoint=path, resume=True)
    assert again["loss"] == history["loss"] and again["validation_loss"] == history["validation_loss"]
    for name, array in whole.params.items():
        np.testing.assert_array_equal(resumed.params[name], array)
    other = small(target_size=8, **options)
    with pytest.raises(ValueError, match="another run: its training data"):
        fit(other, reversed_pairs(50, 3), validation=held_out, checkpoint=path, resume=True)


def test_batches_split_over_workers_have_together_the_same_gradients(rng):
    model, part = (perturbed(np.random.default_rng(1), "float64", target_size=8, attention="dot") for _ in range(2))
    for batch in PairBatches(*reversed_pairs(7), batch_size=7):
        loss, back, _ = model.batch_loss(batch, train=True)
        back()
        split = model.split(batch, 3)
        assert [len(each.indices) for each in split] == [3, 2, 2]
        total, shares = dict.fromkeys(model.grads, 0.0), 0.0
        for each in split:
            share = part.weight(each) / model.weight(batch)
            part_loss, part_back, _ = part.batch_loss(each, train=True)
            part_back()
            shares += share * part_loss
            total = {name: total[name] + share * gradient for name, gradient in part.grads.items()}
        np.testing.assert_allclose(shares, loss, rtol=1e-13)
        for name, gradient in model.grads.items():
            np.testing.assert_allclose(total[name], gradient, rtol=1e-9, atol=1e-13)
    assert len(model.split(batch, 99)) == 7


def test_two_workers_train_as_one():
    models = [small(dtype="float64", target_size=8, attention="additive") for _ in range(2)]
    data, held_out = reversed_pairs(30), reversed_pairs(5, 1)
    rows = [fit(model, data, validation=held_out, workers=workers) for model, workers in zip(models, (1, 2))]
    np.testing.assert_allclose(rows[0]["validation_loss"], rows[1]["validation_loss"], rtol=1e-9)
    for name, array in models[0].params.items():
        np.testing.assert_allclose(models[1].params[name], array, rtol=1e-7, atol=1e-10)


def test_evaluation_is_the_mean_over_all_ids_whatever_the_batches(rng):
    model = perturbed(rng, "float64", target_size=8, attention="dot", dropout=0.5, sampling=0.5)
    data = reversed_pairs(23)
    total, right, count = 0.0, 0, 0
    for source, target in zip(*data):
        each = log_p(model, source, target)
        logits = model.forward(source[:, None], None, np.array([1, *target])[:, None], None)[:, 0]
        total, count = total - each.sum(), count + len(each)
        right += (logits.argmax(axis=1) == [*target, 2]).sum()
    for size in (1, 4, 99):
        found = model.evaluate(model.batches(data, size, None, False, None))
        assert found["loss"] == pytest.approx(total / count, rel=1e-11)
        assert found["accuracy"] == pytest.approx(right / count, rel=1e-12)
        assert found["perplexity"] == pytest.approx(np.exp(total / count), rel=1e-10)


def test_with_sampling_the_decoder_reads_what_the_model_would_say(rng):
    """Where it is sure of one id, that is what it reads, but for the start and in the share that was asked for."""
    model = perturbed(rng, "float64", sampling=0.6, attention="dot")
    model.params["dense.b"][...] = 0
    model.params["dense.b"][5] = 1e4
    T, B = 40, 30
    source, target_in = np.full((2, B), 3), np.full((T, B), 4)
    target_in[0] = 1
    model.call(source, None, target_in, None, train=True)
    read = model._read
    assert (read[0] == 1).all() and set(np.unique(read[1:])) == {4, 5}
    assert (read[1:] == 5).mean() == pytest.approx(0.6, abs=0.06)
    model.call(source, None, target_in, None)
    assert model._read is read  # none of it outside training


def test_sampled_ids_come_as_often_as_the_model_finds_them_probable(rng):
    model = perturbed(rng, "float64", sampling=0.999999)
    model.params["dense.W"][...] = 0
    model.params["dense.b"][...] = np.log([0.1, 0.2, 0.05, 0.3, 0.25, 0.1])
    model.call(np.full((1, 400), 3), None, np.full((11, 400), 4), None, train=True)
    share = np.bincount(model._read[1:].reshape(-1), minlength=6) / 4000
    np.testing.assert_allclose(share, [0.1, 0.2, 0.05, 0.3, 0.25, 0.1], atol=0.04)


# The rest


@pytest.mark.parametrize("options", [{}, {"attention": "additive", "num_layers": 2, "dtype": "float64"}], ids=str)
def test_copies_and_files_come_back_to_the_bit(options, tmp_path):
    model = small(**options)
    vocabularies = tuple(Vocabulary(["<unk>", *map(str, range(1, size))]) for size in (8, 6))
    save_model(tmp_path / "m.npz", model, vocabularies, {"task": "x"})
    loaded, words, extra = load_model(tmp_path / "m.npz")
    assert words == vocabularies and extra == {"task": "x"}
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert other.config() == model.config() and repr(other) == repr(model)
        for name, array in model.params.items():
            assert np.array_equal(other.params[name], array) and other.params[name].dtype == array.dtype
        assert np.array_equal(other.forward(*BATCH), model.forward(*BATCH))
    assert parameter_shapes(model.config()) == {name: array.shape for name, array in model.params.items()}
    with pytest.raises(ValueError, match="vocabulary has 6 and 8 words, expected 8 and 6 as the model"):
        save_model(tmp_path / "m.npz", model, vocabularies[::-1])
    with pytest.raises(TypeError, match="vocabulary is Vocabulary, expected a pair"):
        save_model(tmp_path / "m.npz", model, vocabularies[0])
    assert load_model(tmp_path / "m.npz")[2] == {"task": "x"}


@pytest.mark.parametrize("options", [{"attention": "additive"}, {"attention": "dot", "sampling": 0.5}, {}], ids=str)
def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(options, monkeypatch):
    for module in ("layers", "models.classifier"):
        monkeypatch.setattr(f"rnnscratch.{module}.module_for", lambda device: strict_xp if device == "gpu" else np)
    host, there = (
        small(dtype="float64", target_size=8, dropout=0.3, num_layers=2, device=device, **options)
        for device in ("cpu", "gpu")
    )
    for batch in PairBatches(*reversed_pairs(6), batch_size=3):
        results = []
        for model in (host, there):
            loss, back, figures = model.batch_loss(batch, train=True)
            back()
            results.append((loss, model.grads, figures["accuracy"]))
        assert close(results[1][0], results[0][0]) and close(results[1][2], results[0][2])
        for name, gradient in results[0][1].items():
            assert close(results[1][1][name], gradient, ordered=False), name
    for beam in (1, 3):
        found = [model.translate([3, 4, 5], beam, 6) for model in (host, there)]
        assert found[0].tokens.tolist() == found[1].tokens.tolist()
        assert found[1].score == pytest.approx(found[0].score, rel=1e-12)
        assert (found[0].attention is None) == (found[1].attention is None)


def test_the_dtype_stays():
    for dtype in ("float32", "float64"):
        model = small(dtype=dtype, attention="additive", dropout=0.3)
        logits = model.forward(*BATCH, train=True)
        model.backward(logits)
        assert logits.dtype == dtype
        assert {array.dtype for array in (*model.grads.values(), *model.params.values())} == {np.dtype(dtype)}
        assert model.translate([3, 4])[2].dtype == dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_size": 0}, "source_size is 0"),
        ({"target_size": 2}, "target_size is 2, expected at least 3"),
        ({"cell": "transformer"}, "cell is 'transformer'"),
        ({"decoder_cell": "x"}, "decoder_cell is 'x'"),
        ({"attention": "hard"}, "attention is 'hard', expected"),
        ({"attention": True}, "attention is True, expected"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"sampling": -0.1}, "sampling is -0.1"),
        ({"tied": True, "source_size": 9}, "source_size is 9 and target_size 8, expected one size where tied"),
        ({"bidirectional": "yes"}, "bidirectional is 'yes'"),
        ({"num_layers": 0}, "num_layers is 0"),
    ],
    ids=str,
)
def test_wrong_options_are_named(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((SOURCE + 0.5, *BATCH[1:]), "source has dtype float64"),
        ((SOURCE[0], *BATCH[1:]), r"source has shape \(4,\), expected \(steps, B\)"),
        ((SOURCE + 2, *BATCH[1:]), r"source\[1, 0\] is 8, expected 0 to 7"),
        ((SOURCE, [4, 2, 5, 1], *BATCH[2:]), r"source: lengths\[2\] is 5"),
        ((*BATCH[:2], TARGET_IN[:, :3], TARGET_LENGTHS[:3]), "target_in has 3 sequences, expected 4 as source"),
        ((*BATCH[:2], TARGET_IN + 3, TARGET_LENGTHS), r"target_in\[1, 0\] is 6, expected 0 to 5"),
        ((*BATCH[:3], [3, 3, 0, 2]), r"target_in: lengths\[2\] is 0"),
    ],
)
def test_wrong_batches_are_named(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small().forward(*change)


def test_wrong_calls_are_named():
    model = small()
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        model.backward(np.zeros((3, 4, 6), "f4"))
    model.forward(*BATCH)
    with pytest.raises(ValueError, match=r"dlogits has shape \(3, 4, 5\)"):
        model.backward(np.zeros((3, 4, 5), "f4"))
    for arguments, message in (
        (([3.5],), r"sources\[0\]"),
        (([9],), r"sources\[0\]\[0\] is 9, expected 0 to 7"),
        (([3], 0), "beam is 0"),
        (([3], 1, 0), "max_length is 0"),
        (([3], 1.5), "beam is 1.5"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            model.translate(*arguments)
    model.params["dense.b"][0] = np.nan
    with pytest.raises(FloatingPointError, match="dense.b holds NaN"):
        model.translate([3])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([[3]], "train data is list, expected a pair"),
        (5, "train data is int, expected a pair"),
        (([[3], [4]], [[3]]), "train targets number 1, expected 2 as sources"),
        (([[3], [4]], [[3], [1]]), r"train targets\[1\] holds the id 1 or 2, expected targets without start and end"),
        (([[3], [9]], [[3], [3]]), r"train sources\[1\]\[0\] is 9, expected 0 to 7"),
        (([[3], [4]], [[3], [6]]), r"train targets\[1\]\[0\] is 6, expected 0 to 5"),
        (([], []), "train sources is empty"),
    ],
)
def test_wrong_data_are_named(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(small(), data)


def test_weights_that_are_not_finite_are_named_and_learn_nothing():
    model = small(target_size=8)
    model.params["decoder.U_l0"][0, 0] = np.inf
    with pytest.raises(training.NonFiniteLoss, match="decoder.U_l0"), np.errstate(invalid="ignore"):
        fit(model, reversed_pairs(5))
    with pytest.raises(FloatingPointError, match="decoder.U_l0 holds NaN or infinity"):
        model.evaluate(model.batches(reversed_pairs(5), 2, None, False, None))


def test_every_option_is_part_of_the_configuration():
    config = small(attention="dot").config()
    assert configuration(config) == config
    assert Seq2Seq(**config, seed=3).config() == config
