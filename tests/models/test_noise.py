"""Adversarial training: exact gradients with the noise frozen, PyTorch's autograd for the whole step, resumed runs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cells import STEP, relative_error
from peers import torch
from same_bits import assert_same_bits, bits

from rnnscratch.models.classifier import SequenceClassifier
from rnnscratch.models.noise import PROBE
from rnnscratch.optimizers import Adam
from rnnscratch.text.batches import Batch
from rnnscratch.training import Batches, fit

IDS = np.array([[1, 4, 2], [3, 1, 5], [2, 6, 0], [5, 3, 0], [2, 0, 0]])
LENGTHS = np.array([5, 4, 2])


def model_of(**options):
    sizes = {"vocabulary_size": 7, "embedding_dim": 3, "hidden_size": 4, "bidirectional": True, "pooling": "mean+max"}
    model = SequenceClassifier(**{**sizes, "dtype": "float64", "seed": 0, **options})
    rng = np.random.default_rng(5)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    return model


def batch_of(labels):
    return Batch(IDS, LENGTHS, None if labels is None else np.array(labels), np.arange(3))


DROPOUTS = {"dropout": 0.25, "embedding_dropout": 0.25, "recurrent_dropout": 0.25, "word_dropout": 0.3}
STEPS = {
    "adversarial": ({"adversarial": 0.8}, [1, 0, 1]),
    "virtual": ({"virtual": 0.8}, [1, 0, 1]),
    "both, three classes": ({"adversarial": 0.5, "virtual": 0.8, "num_classes": 3, "noise_weight": 0.3}, [2, 0, 1]),
    "unlabelled": ({"virtual": 0.8}, None),
    "some unlabelled": ({"adversarial": 0.5, "virtual": 0.8}, [1, -1, 0]),
    "dropouts": ({"virtual": 0.8, "num_layers": 2, "bidirectional": False, **DROPOUTS}, [1, 0, 1]),
    "soft": ({"adversarial": 0.5, "virtual": 0.8}, [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]),
    "soft, three classes": ({"adversarial": 0.5, "num_classes": 3}, [[0.9, 0.1, 0], [0.2, 0.3, 0.5], [0.2, 0, 0.8]]),
    "smoothed, last": ({"adversarial": 0.5, "label_smoothing": 0.2, "pooling": "last", "cell": "gru"}, [1, 0, 1]),
}


@pytest.mark.parametrize("name", STEPS)
def test_gradients_with_the_noise_frozen_equal_the_complex_step(name):
    options, labels = STEPS[name]
    small = {"dtype": "complex128", "embedding_dim": 2, "hidden_size": 2}
    model, batch = model_of(**{**small, **options}), batch_of(labels)
    loss, back, _ = model.batch_loss(batch, train=True)
    back()
    found = {key: gradient.copy() for key, gradient in model.grads.items()}
    model.frozen = True
    assert model.batch_loss(batch, train=True)[0] == loss
    for key, array in model.params.items():
        right = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1j * STEP
            right[index] = model.batch_loss(batch, train=True)[0].imag / STEP
            array[index] = value
        assert relative_error(found[key].real, right) < 1e-12, key
        assert right.any() or (key == "dense.b" and labels is None), key


def lstm_of_torch(x, W, U, b, H):
    """The outputs (T, H) of one sequence (T, D); gates i, f, o, g."""
    h = c = torch.zeros(H, dtype=torch.float64)
    outputs = []
    for x_t in x:
        i, f, o, g = (x_t @ W + h @ U + b).split(H)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs)


def logits_of_torch(p, words, H):
    """The logits of sequences of word vectors [(T_b, D)]: bidirectional LSTM, mean and maximum."""
    logits = []
    for x in words:
        ahead = lstm_of_torch(x, p["recurrent.W_l0"], p["recurrent.U_l0"], p["recurrent.b_l0"], H)
        names = (f"recurrent.{letter}_l0_reverse" for letter in "WUb")
        hs = torch.cat([ahead, lstm_of_torch(x.flip(0), *map(p.get, names), H).flip(0)], dim=1)
        pooled = torch.cat([hs.mean(dim=0), hs.max(dim=0).values])
        logits.append((pooled @ p["dense.W"] + p["dense.b"])[0])
    return torch.stack(logits)


def steepest_of_torch(gradients, s, size):
    scaled = [gradient * s for gradient in gradients]
    return [size * each / each.norm() for each in scaled]


@pytest.mark.parametrize("kind", ["adversarial", "virtual"])
def test_the_whole_step_equals_pytorchs_autograd(kind):
    """The noise too, found anew on each side; sequences of different lengths, one word more than once."""
    weight, size = 0.6, 0.9
    model, batch = model_of(noise_weight=weight, **{kind: size}), batch_of([1, 0, 1])
    random = copy.deepcopy(model.rng).standard_normal((int(LENGTHS.sum()), 3), np.float32).astype(float)
    loss, back, _ = model.batch_loss(batch, train=True)
    back()
    p = {key: torch.tensor(array.copy(), requires_grad=True) for key, array in model.params.items()}
    y = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    words = [p["embedding.E"][torch.tensor(IDS[:length, b])] for b, length in enumerate(LENGTHS)]
    s = torch.cat(words).std(dim=0, unbiased=False)
    logits = logits_of_torch(p, words, 4)
    clean = cross_entropy(logits, y)
    if kind == "adversarial":
        r = steepest_of_torch(torch.autograd.grad(clean, words, retain_graph=True), s.detach(), size)
        noisy = cross_entropy(logits_of_torch(p, [x + s * n for x, n in zip(words, r)], 4), y)
    else:
        sequence = np.concatenate([np.flatnonzero(t < LENGTHS) for t in range(5)])  # packed step by step
        draws = [torch.tensor(random[sequence == b]) for b in range(3)]
        d = [PROBE * each / each.norm() for each in draws]
        q = torch.sigmoid(logits.detach())

        def divergence(z):
            return (cross_entropy(z, q, reduction="none") - cross_entropy(logits.detach(), q, reduction="none")).mean()

        probed = [(x + s * n).detach().requires_grad_() for x, n in zip(words, d)]
        r = steepest_of_torch(torch.autograd.grad(divergence(logits_of_torch(p, probed, 4)), probed), s.detach(), size)
        noisy = divergence(logits_of_torch(p, [x + s * n for x, n in zip(words, r)], 4))
    total = clean + weight * noisy
    total.backward()
    assert float(loss) == pytest.approx(total.item(), rel=1e-11)
    for key, tensor in p.items():
        np.testing.assert_allclose(model.grads[key], tensor.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=key)


def test_the_noise_raises_the_loss_more_than_any_other_of_its_size():
    model, plain = model_of(adversarial=0.05), model_of()
    batch = batch_of([1, 0, 1])
    base = float(plain.batch_loss(batch, train=True)[0])
    risen = float(model.batch_loss(batch, train=True)[0]) - 2 * base
    r = model._noises["r"]
    rng = np.random.default_rng(0)
    model.frozen = True
    for _ in range(20):
        other = rng.standard_normal(r.shape)
        sequence = np.concatenate([np.flatnonzero(t < LENGTHS) for t in range(5)])
        for b in range(3):
            other[sequence == b] *= 0.05 / np.linalg.norm(other[sequence == b])
        model._noises["r"] = other
        assert float(model.batch_loss(batch, train=True)[0]) - 2 * base < risen


@pytest.mark.parametrize("fixed", [{"embedding.E"}, {"embedding.E", "recurrent.W_l0"}, {"dense.W"}])
def test_what_is_fixed_gets_no_gradient_and_the_rest_the_same(fixed):
    model, whole = model_of(adversarial=0.5, virtual=0.5), model_of(adversarial=0.5, virtual=0.5)
    model.fixed = fixed
    for each in (model, whole):
        each.batch_loss(batch_of([1, 0, 1]), train=True)[1]()
    for key, gradient in model.grads.items():
        np.testing.assert_array_equal(gradient, 0 if key in fixed else whole.grads[key], err_msg=key)
    assert model.fixed == fixed and model.recurrent.fixed == {key[10:] for key in fixed if "recurrent" in key}


def test_a_batch_of_which_all_words_are_dropped_has_finite_gradients():
    model = model_of(adversarial=0.5, virtual=0.5, word_dropout=0.99)
    model.batch_loss(batch_of([1, 0, 1]), train=True)[1]()
    assert (model._kept_words == 0).all() and all(np.isfinite(gradient).all() for gradient in model.grads.values())


def test_without_training_and_without_noise_nothing_changes():
    model, plain = model_of(adversarial=0.5, virtual=0.5), model_of()
    assert model.batch_loss(batch_of([1, 0, 1]))[0] == plain.batch_loss(batch_of([1, 0, 1]))[0]
    second = model_of(adversarial=0.5, noise_weight=0.0)
    for each in (second, plain):
        each.batch_loss(batch_of([1, 0, 1]), train=True)[1]()
    for key in plain.grads:
        np.testing.assert_allclose(second.grads[key], plain.grads[key], rtol=1e-12, atol=1e-15)


def data(count, seed, unlabelled=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    sequences = [np.append(rng.integers(3, 9, rng.integers(1, 9)), label + 1) for label in labels]
    labels[:unlabelled] = -1
    return sequences, labels


NOISY = {"adversarial": 0.5, "virtual": 0.5, "dropout": 0.2, "embedding_dropout": 0.2, "word_dropout": 0.1}


def run(model, train, epochs, **options):
    options = {"batch_size": 16, "optimizer": Adam(0.02), "progress": False, **options}
    return fit(model, train, data(60, 1), epochs=epochs, **options)


def learner(**options):
    return SequenceClassifier(9, 5, 6, bidirectional=True, pooling="mean+max", seed=0, **{**NOISY, **options})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_with_noise_goes_on_to_the_same_bits_and_learns(workers, tmp_path):
    whole, part, rest = learner(), learner(), learner()
    history = run(whole, data(150, 0), 5, workers=workers)
    assert history["validation_accuracy"][-1] > 0.9
    run(part, data(150, 0), 2, checkpoint=tmp_path / "c.npz", workers=workers)
    run(rest, data(150, 0), 5, checkpoint=tmp_path / "c.npz", resume=True, workers=workers)
    assert_same_bits(bits(rest), bits(whole))


def test_sequences_without_a_label_take_part_in_training():
    model = learner(adversarial=0.0)
    history = run(model, data(200, 0, unlabelled=120), 8)
    assert history["validation_accuracy"][-1] > 0.9
    with pytest.raises(ValueError, match=r"train labels\[0\] is -1, expected one of \[0, 1\]"):
        run(learner(virtual=0.0), data(200, 0, unlabelled=1), 1)
    with pytest.raises(ValueError, match="train labels are all -1"):
        run(learner(), data(20, 0, unlabelled=20), 1)
    with pytest.raises(ValueError, match=r"validation labels\[0\] is -1"):
        fit(learner(), data(20, 0), data(20, 0, unlabelled=1), optimizer=Adam(), progress=False)


def test_the_accuracy_is_that_of_the_labelled():
    model = model_of(virtual=0.5)
    batch = batch_of([1, -1, 0])
    right = (model.forward(IDS, LENGTHS) > 0)[[0, 2]] == [True, False]
    assert model.batch_loss(batch, train=True)[2]["accuracy"] == right.mean()
    assert model.batch_loss(batch_of(None), train=True)[2]["accuracy"] == 0
    assert next(iter(Batches([[1, 2]], [-1]))).labels.tolist() == [-1]


@pytest.mark.parametrize("option", ["adversarial", "virtual", "noise_weight"])
@pytest.mark.parametrize("value", [-0.1, np.inf, "1", True])
def test_noise_that_cannot_be_is_named(option, value):
    with pytest.raises((ValueError, TypeError), match=f"{option} is .*, expected a number"):
        SequenceClassifier(9, **{option: value})
