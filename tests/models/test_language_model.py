"""The language model: exact gradients, the state between windows, perplexity, generation, training, and bad input."""

from __future__ import annotations

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
import strict_xp
from cells import STEP, relative_error
from close import close
from peers import torch

import rnnscratch as rs
from rnnscratch import training
from rnnscratch.kernels import losses, sampled_softmax
from rnnscratch.models import LanguageModel
from rnnscratch.models.classifier import CELLS
from rnnscratch.models.language_model import configuration, next_probabilities, parameter_shapes

V = 7
IDS = np.array([[1, 4, 2], [3, 1, 0], [2, 0, 2], [5, 3, 6]])
TEXT = np.array([1, 4, 2, 3, 1, 0, 2, 0, 2, 5, 3, 6, 1, 4, 2, 3, 1, 1, 5, 6, 4, 4, 0])
NOISE = {"dropout": 0.3, "embedding_dropout": 0.3, "word_dropout": 0.2, "recurrent_dropout": 0.3}


def small(**options):
    return LanguageModel(**{"vocabulary_size": V, "embedding_dim": 3, "hidden_size": 3, "seed": 0, **options})


def perturbed(rng, dtype="complex128", **options):
    """A model with no parameter at 0, where zeros would hide a wrong gradient."""
    model = small(dtype=dtype, **options)
    for array in model.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.7
    return model


def random_state(model, B, rng):
    shape = (model.recurrent.num_layers, B, model.recurrent.hidden_size)
    parts = tuple(rng.standard_normal(shape).astype(model.dtype) for _ in model.recurrent.states)
    return parts if len(parts) > 1 else parts[0]


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def assert_gradients_exact(model, loss, found):
    """Every gradient agrees with the complex step to 1e-12."""
    for name, array in model.params.items():
        right = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1j * STEP
            right[index] = loss().imag / STEP
            array[index] = value
        assert relative_error(found[name].real, right) < 1e-12, name
        assert right.any(), f"{name} has no gradient, so that nothing was tested"


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "cell",
    [
        *({"cell": cell} for cell in CELLS),
        {"cell": "gru", "reset_after": True},
        {"cell": "rnn", "activation": "sigmoid"},
    ],
    ids=str,
)
def test_gradients_equal_the_complex_step(cell, layers, tied, rng):
    model = perturbed(rng, **cell, num_layers=layers, tied=tied)
    state, dstate, dlogits = random_state(model, 3, rng), random_state(model, 3, rng), rng.standard_normal((4, 3, V))

    def loss():
        logits, after = model.forward(IDS, state)
        return (logits * dlogits).sum() + sum((a * d).sum() for a, d in zip(parts_of(after), parts_of(dstate)))

    loss()
    before = model.backward(dlogits.astype(complex), dstate)
    found = {name: gradient.copy() for name, gradient in model.grads.items()}
    assert_gradients_exact(model, loss, found)
    for part, gradient in zip(parts_of(state), parts_of(before)):
        value = part[0, 1, 2]
        part[0, 1, 2] += 1j * STEP
        assert relative_error(gradient[0, 1, 2].real, loss().imag / STEP) < 1e-12
        part[0, 1, 2] = value


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("sampled", [None, 3, V], ids=["full", "sampled", "all sampled"])
@pytest.mark.parametrize("noise", [{}, NOISE], ids=["plain", "noise"])
def test_gradients_of_windows_equal_the_complex_step_the_state_held_fixed(noise, sampled, tied, rng):
    model = perturbed(rng, tied=tied, sampled=sampled, **noise)
    windows = list(rs.text.Windows([TEXT], 3, 3))
    assert windows[-1].lengths.tolist() == [2, 1, 1]
    model.batch_loss(windows[0], train=True)
    model.frozen = True
    for window in windows[1:]:
        if noise:
            model.frozen = False  # masks have the window's shape
            model.batch_loss(window, train=True)
            model.frozen = True
        _, back, figures = model.batch_loss(window, train=True)
        assert figures == {}
        back()
        found = {name: gradient.copy() for name, gradient in model.grads.items()}
        for name, array in model.params.items():
            direction = np.random.default_rng(1).standard_normal(array.shape)
            kept = array.copy()
            array += 1j * STEP * direction
            right = model.batch_loss(window, train=True)[0].imag / STEP
            array[...] = kept
            assert abs((found[name].real * direction).sum() - right) < 1e-12 * max(1.0, abs(found[name]).max()), name


def test_loss_and_backward_leave_the_gradients_of_a_window(rng):
    model = perturbed(rng, "float64", num_layers=2)
    (window,) = rs.text.Windows([TEXT], 2, 20)
    right, back, _ = model.batch_loss(window)
    back()
    found = {name: gradient.copy() for name, gradient in model.grads.items()}
    logits, _ = model.forward(window.ids)
    loss, dlogits = model.loss(logits, window.targets)
    model.backward(dlogits)
    np.testing.assert_allclose(loss, right, rtol=1e-13)
    for name, gradient in model.grads.items():
        np.testing.assert_allclose(gradient, found[name], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_state_is_carried_from_window_to_window(cell, rng):
    """With weights that stay, windows of any size have together the loss of whole streams."""
    model = perturbed(rng, "float64", cell=cell, num_layers=2)
    whole = rs.text.Windows([TEXT], 3, 100)
    (right,) = [model.batch_loss(window)[0] for window in whole]
    for size in (1, 2, 3, 5):
        windows = list(rs.text.Windows([TEXT], 3, size))
        total = sum(model.batch_loss(window)[0] * model.weight(window) for window in windows)
        np.testing.assert_allclose(total / (len(TEXT) - 1), right, rtol=1e-13)


def test_the_last_window_may_come_once_more_but_none_out_of_its_turn(rng):
    model = small(dtype="float64")
    first, second, third, *_ = rs.text.Windows([TEXT], 2, 2)
    losses_ = [model.batch_loss(window)[0] for window in (first, second, second, third, third)]
    assert losses_[1] == losses_[2] and losses_[3] == losses_[4]
    with pytest.raises(ValueError, match="batch begins after 2 steps, expected 0 or 4 or 6"):
        model.batch_loss(second)
    assert model.batch_loss(first)[0] == losses_[0]
    with pytest.raises(ValueError, match="batch begins after 4 steps, expected 0 or 2"):
        model.batch_loss(third)
    with pytest.raises(ValueError, match="state h has shape"):
        model.batch_loss(list(rs.text.Windows([TEXT], 3, 2))[1])


def test_evaluation_spoils_no_state_of_training():
    losses_ = []
    for evaluated in (False, True):
        model = small(sampled=3)
        found = []
        for window in rs.text.Windows([TEXT], 2, 3):
            found.append(model.batch_loss(window, train=True)[0])
            if evaluated:
                model.evaluate(rs.text.Windows([TEXT[:9]], 3, 2))
                model.perplexity(TEXT)
                model.generate([1, 2], 3, seed=0)
        losses_.append(found)
    assert losses_[0] == losses_[1]


def right_perplexity(model, text):
    """By the definition, one id after the other."""
    state, total = None, 0.0
    for now, after in zip(text[:-1], text[1:]):
        logits, state = model.forward(np.array([[now]]), state)
        total += losses.log_softmax(logits[0, 0].astype(float))[after]
    return math.exp(-total / (len(text) - 1))


@pytest.mark.parametrize(
    "options", [{}, {"tied": True}, {"num_layers": 2, "cell": "gru"}, {"sampled": 2, **NOISE}], ids=str
)
def test_perplexity_is_that_of_one_stream_whatever_is_read_at_a_time(options, rng):
    model = perturbed(rng, "float64", **options)
    right = right_perplexity(model, TEXT)
    for size in (1, 2, 7, 22, 1000):
        assert model.perplexity(TEXT, size) == pytest.approx(right, rel=1e-12)
    assert model.perplexity([TEXT[:5], TEXT[5:]]) == pytest.approx(right, rel=1e-12)


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_the_vocabulary():
    model = small(dtype="float64")
    for array in model.params.values():
        array[...] = 0
    assert model.perplexity(TEXT) == pytest.approx(V, rel=1e-14)
    model.dense.params["b"][2] = 1e4
    assert model.perplexity([2] * 9) == 1.0


def torch_twin(model):
    """PyTorch's modules with the same weights: embedding, LSTM (whose gates are i, f, g, o), linear."""
    c = model.config()
    E, H = c["embedding_dim"], c["hidden_size"]
    modules = torch.nn.Embedding(V, E), torch.nn.LSTM(E, H, c["num_layers"]), torch.nn.Linear(H, V)
    for module in modules:
        module.double()

    def gates(array):
        i, f, o, g = np.split(array, 4, axis=-1)
        return torch.tensor(np.concatenate([i, f, g, o], axis=-1).T.copy())

    with torch.no_grad():
        embedding, lstm, dense = modules
        embedding.weight[:] = torch.tensor(model.params["embedding.E"])
        for layer in range(c["num_layers"]):
            getattr(lstm, f"weight_ih_l{layer}")[:] = gates(model.params[f"recurrent.W_l{layer}"])
            getattr(lstm, f"weight_hh_l{layer}")[:] = gates(model.params[f"recurrent.U_l{layer}"])
            getattr(lstm, f"bias_ih_l{layer}")[:] = gates(model.params[f"recurrent.b_l{layer}"])
            getattr(lstm, f"bias_hh_l{layer}")[:] = 0
        dense.weight[:] = embedding.weight if c["tied"] else torch.tensor(model.params["dense.W"].T.copy())
        dense.bias[:] = torch.tensor(model.params["dense.b"])
    return modules


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"num_layers": 2}], ids=str)
def test_perplexity_and_gradients_equal_pytorch(options, rng):
    model = perturbed(rng, "float64", **options)
    embedding, lstm, dense = torch_twin(model)
    ids = torch.tensor(TEXT)
    with torch.no_grad():
        logits = dense(lstm(embedding(ids[:-1])[:, None])[0])[:, 0]
        right = torch.exp(torch.nn.functional.cross_entropy(logits, ids[1:])).item()
    assert model.perplexity(TEXT) == pytest.approx(right, rel=1e-10)
    single = small(**{**model.config(), "dtype": "float32"})
    single.load_params({name: array.astype("f4") for name, array in model.params.items()})
    assert single.perplexity(TEXT) == pytest.approx(right, rel=1e-6)

    first, second = list(rs.text.Windows([TEXT], 2, 6))[:2]
    model.batch_loss(first)
    loss, back, _ = model.batch_loss(second)
    back()
    with torch.no_grad():
        _, state = lstm(embedding(torch.tensor(first.ids)))
    out = dense(lstm(embedding(torch.tensor(second.ids)), state)[0])
    twin = torch.nn.functional.cross_entropy(out.reshape(-1, V), torch.tensor(second.targets).reshape(-1))
    twin.backward()
    assert loss == pytest.approx(twin.item(), rel=1e-12)
    E = embedding.weight.grad + (dense.weight.grad if options.get("tied") else 0)
    np.testing.assert_allclose(model.grads["embedding.E"], E.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.grads["dense.b"], dense.bias.grad.numpy(), rtol=1e-9, atol=1e-12)


def fit(model, text=TEXT, **options):
    options = {"optimizer": rs.Adam(0.05), "batch_size": 3, "max_length": 4, "epochs": 4, "progress": False, **options}
    return training.fit(model, text, **options)


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"sampled": 4}, {"cell": "gru", "num_layers": 2}], ids=str)
def test_training_learns_a_text_by_heart(options):
    text = np.tile([1, 2, 3, 1, 4, 5, 1, 6], 30)
    model = small(hidden_size=12, embedding_dim=12, **options)
    history = fit(model, text, validation=text, epochs=20, optimizer=rs.Adam(0.02), batch_size=4, max_length=16)
    assert history["validation_perplexity"][0] > 3 and history["validation_perplexity"][-1] < (
        2.0 if model._pi is not None else 1.3
    )
    assert model.perplexity(text) == pytest.approx(history["validation_perplexity"][-1], rel=1e-5)
    assert history["tokens_per_second"][0] > 0


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    texts = [TEXT[:9], TEXT[9:14], TEXT[14:]]
    options = {"sampled": 3, "end_id": 6, **NOISE}
    whole = small(**options)
    history = fit(whole, texts, validation=TEXT, checkpoint=tmp_path / "whole.npz")

    class Killed(Exception):
        pass

    def kill(model, row):
        if row["epoch"] == 2:
            raise Killed

    path = tmp_path / "part.npz"
    with pytest.raises(Killed):
        fit(small(**options), texts, validation=TEXT, checkpoint=path, callbacks=[kill])
    resumed = small(**options)
    again = fit(resumed, texts, validation=TEXT, checkpoint=path, resume=True)
    assert again["loss"] == history["loss"] and again["validation_loss"] == history["validation_loss"]
    for name, array in whole.params.items():
        np.testing.assert_array_equal(resumed.params[name], array)
    with pytest.raises(ValueError, match="another run: its training data"):
        fit(small(**options), [TEXT[:9], TEXT[9:]], validation=TEXT, checkpoint=path, resume=True)


def test_windows_split_over_workers_have_together_the_same_gradients(rng):
    model, parts = perturbed(rng, "float64"), [perturbed(np.random.default_rng(20250224), "float64") for _ in range(2)]
    for part in parts:
        part.load_params(model.params)
    for window in rs.text.Windows([TEXT], 3, 4):
        loss, back, _ = model.batch_loss(window, train=True)
        back()
        split = model.split(window, 2)
        assert [len(each.lengths) for each in split] == [2, 1]
        total, shares = dict.fromkeys(model.grads, 0.0), 0.0
        for part, each in zip(parts, split):
            share = part.weight(each) / model.weight(window)
            part_loss, part_back, _ = part.batch_loss(each, train=True)
            part_back()
            shares += share * part_loss
            total = {name: total[name] + share * gradient for name, gradient in part.grads.items()}
        np.testing.assert_allclose(shares, loss, rtol=1e-13)
        for name, gradient in model.grads.items():
            np.testing.assert_allclose(total[name], gradient, rtol=1e-9, atol=1e-13)
    assert len(model.split(window, 9)) == 3


def test_two_workers_train_as_one():
    models = [small(dtype="float64") for _ in range(2)]
    rows = [fit(model, validation=TEXT, epochs=2, workers=workers) for model, workers in zip(models, (1, 2))]
    np.testing.assert_allclose(rows[0]["validation_loss"], rows[1]["validation_loss"], rtol=1e-9)
    for name, array in models[0].params.items():
        np.testing.assert_allclose(models[1].params[name], array, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "text, error", [([], "train ids has shape"), ([3], "train ids number 1, expected at least two")]
)
def test_a_text_in_which_nothing_comes_next_is_refused(text, error):
    model = small()
    before = copy.deepcopy(model.params)
    with pytest.raises(ValueError, match=error):
        fit(model, text)
    with pytest.raises(ValueError, match="ids"):
        model.perplexity(text)
    for name, array in model.params.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("options", [{}, {"sampled": 1}, {"tied": True, "sampled": 2}], ids=str)
def test_the_smallest_texts_and_vocabularies_end_well(options):
    one = small(vocabulary_size=1, **options)
    fit(one, [0, 0, 0], epochs=2)
    assert one.perplexity([0, 0, 0]) == 1.0
    two = small(vocabulary_size=2, **options)
    fit(two, [1] * 40, epochs=60)
    assert two.perplexity([1] * 40) < (1.2 if options.get("sampled") != 1 else 2.1)
    assert set(two.generate([0], 20, seed=0)) <= {0, 1}
    pair = small(vocabulary_size=2, **options)
    fit(pair, [0, 1], epochs=2)
    assert pair.perplexity([0, 1]) > 1.0
    marked = small(end_id=3, **options)
    fit(marked, [[2], [], [5]], epochs=2)  # texts of one word: their ends come next


def test_a_weight_that_is_not_finite_is_named():
    model = small()
    model.params["dense.b"][3] = np.nan
    for work in (lambda: model.perplexity(TEXT), lambda: model.generate([1], 2), lambda: model.evaluate([])):
        with pytest.raises(FloatingPointError, match="dense.b holds NaN or infinity"):
            work()
    model.params["dense.b"][3] = 3e38
    model.params["dense.b"][4] = -3e38
    with pytest.raises(FloatingPointError, match="loss is"):
        model.perplexity(TEXT)


def test_a_pass_needs_little_more_memory_than_a_piece_of_the_scores(monkeypatch):
    """Of a large vocabulary the scores of all positions never exist at once."""
    monkeypatch.setattr(sampled_softmax, "FULL_PIECE", 64)
    sizes = []
    powers = sampled_softmax._powers
    monkeypatch.setattr(sampled_softmax, "_powers", lambda *a: sizes.append(powers(*a)[0].size) or powers(*a))
    small().perplexity(TEXT)
    small().batch_loss(next(iter(rs.text.Windows([TEXT], 2, 11))))
    assert max(sizes) <= 64 and len(sizes) == 6


def chosen(p):
    return np.flatnonzero(p).tolist()


def test_probabilities_of_the_next_id_are_those_asked_for():
    logits = np.log([0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(next_probabilities(logits), [0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(next_probabilities(logits, 0.5), np.array([1, 16, 4, 9]) / 30)
    np.testing.assert_allclose(next_probabilities(logits, top_k=2), [0, 4 / 7, 0, 3 / 7])
    np.testing.assert_allclose(next_probabilities(logits, top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9])
    np.testing.assert_allclose(next_probabilities(logits, top_k=2, top_p=0.57), [0, 1, 0, 0])  # 4/7 of the two
    np.testing.assert_allclose(next_probabilities(logits, 0.5, 3, 0.9), np.array([0, 16, 4, 9]) / 29)
    assert chosen(next_probabilities(logits, 0)) == chosen(next_probabilities(logits, 1e-300)) == [1]
    assert chosen(next_probabilities(logits, top_p=1.0)) == chosen(next_probabilities(logits, top_k=9)) == [0, 1, 2, 3]
    assert chosen(next_probabilities(logits, top_p=1e-9)) == chosen(next_probabilities(logits, top_k=1)) == [1]
    np.testing.assert_allclose(next_probabilities(logits, 1e300), 0.25)
    assert chosen(next_probabilities([2.0, 5.0, 5.0, 5.0], top_k=2)) == [1, 2]  # of equals the first
    assert chosen(next_probabilities([2.0, 5.0, 5.0], 0)) == [1]


@pytest.mark.parametrize("options", [{"cell": "gru", "tied": True}, {"num_layers": 2}, {"cell": "peephole"}], ids=str)
def test_generated_ids_follow_the_exact_distribution(options):
    """Every pair of ids comes as often as the model says, within the error of counting."""
    model = perturbed(np.random.default_rng(0), "float64", vocabulary_size=4, **options)
    prompt, draws, shape = [1, 3, 0], 500, {"temperature": 0.8, "top_k": 3, "top_p": 0.95}
    right = np.zeros((4, 4))
    logits, state = model.forward(np.array(prompt)[:, None])
    first = next_probabilities(logits[-1, 0], **shape)
    for a in chosen(first):
        logits, _ = model.forward(np.array([[a]]), state)
        right[a] = first[a] * next_probabilities(logits[0, 0], **shape)
    rng, counts = np.random.default_rng(1), np.zeros((4, 4))
    for _ in range(draws):
        a, b = model.generate(prompt, 2, seed=rng, **shape)
        counts[a, b] += 1
    assert (counts[right == 0] == 0).all() and (right == 0).any()
    assert (abs(counts - draws * right) <= 4 * np.sqrt(draws * right * (1 - right)) + 1e-9).all()


def test_generation_is_seeded_greedy_at_temperature_0_and_begins_texts():
    model = perturbed(np.random.default_rng(0), "float64", end_id=6)
    first, again, other = (model.generate([1], 30, seed=seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
    greedy, state, ids = [], None, np.array([[1], [5]])
    for _ in range(10):
        logits, state = model.forward(ids, state)
        greedy.append(int(logits[-1, 0].argmax()))
        ids = np.array([greedy[-1:]])
    assert model.generate([1, 5], 10, temperature=0).tolist() == greedy
    assert model.generate([], 10, seed=3).tolist() == model.generate([6], 10, seed=3).tolist()
    assert model.generate([1], 0).shape == (0,)
    prompt = np.array([1, 5])
    model.generate(prompt, 10, seed=0)
    assert prompt.tolist() == [1, 5]


@pytest.mark.parametrize(
    "options, error",
    [
        ({"prompt": []}, r"prompt has shape \(0,\), expected at least one token"),
        ({"prompt": [V]}, r"prompt\[0\] is 7, expected 0 to 6"),
        ({"prompt": "abc"}, "prompt is one string, expected a list"),
        ({"prompt": [0.5]}, "prompt has dtype float64, expected integers"),
        ({"length": -1}, "length is -1, expected at least 0"),
        ({"temperature": -0.1}, "temperature is -0.1, expected a number of at least 0"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0, expected at least 1"),
        ({"top_p": 0}, "top_p is 0, expected a number above 0"),
        ({"top_p": 1.5}, "top_p is 1.5, expected a probability above 0, at most 1"),
        ({"seed": -1}, "seed is -1"),
    ],
    ids=str,
)
def test_wrong_arguments_of_generate_are_named(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        small().generate(**{"prompt": [1], "length": 2, **options})


@pytest.mark.parametrize(
    "options", [{}, {"tied": True, "num_layers": 2}, {"cell": "gru", "reset_after": True}], ids=str
)
def test_a_model_is_what_its_configuration_says(options):
    model = small(**options)
    config = model.config()
    assert configuration(config) == config
    assert list(config) == [name for name in inspect.signature(LanguageModel).parameters if name != "seed"]
    assert parameter_shapes(config) == {name: array.shape for name, array in model.params.items()}
    assert model.num_params == sum(array.size for array in model.params.values())
    assert model.grads.keys() == model.params.keys()
    assert ("dense.W" in model.params) == (not options.get("tied"))
    again = LanguageModel(**config, seed=0)
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    assert repr(model).startswith(f"LanguageModel(vocabulary_size={V}, embedding_dim=3, hidden_size=3, cell=")


def test_a_copy_has_weights_and_chance_but_nothing_of_the_last_pass():
    model = small(sampled=3, **NOISE)
    fit(model, epochs=1)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.config() == model.config() and again._states == {}
        for name, array in model.params.items():
            np.testing.assert_array_equal(again.params[name], array)
        assert again.rng.bit_generator.state == model.rng.bit_generator.state
        with pytest.raises(RuntimeError, match="LanguageModel.backward was called before forward"):
            again.backward(np.zeros((1, 1, V), np.float32))


def test_training_passes_of_a_frozen_model_reuse_masks_and_samples():
    model = small(sampled=3, **NOISE)
    window = next(iter(rs.text.Windows([TEXT], 3, 5)))
    model.batch_loss(window, train=True)
    model.frozen = True
    assert model.frozen and len({float(model.batch_loss(window, train=True)[0]) for _ in range(5)}) == 1
    model.frozen = False
    assert len({float(model.batch_loss(window, train=True)[0]) for _ in range(5)}) > 1
    assert len({float(model.batch_loss(window)[0]) for _ in range(5)}) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_stays(dtype):
    model = small(dtype=dtype, sampled=3, **NOISE)
    window = next(iter(rs.text.Windows([TEXT], 3, 5)))
    for train in (False, True):
        loss, back, _ = model.batch_loss(window, train=train)
        back()
        logits, state = model.forward(IDS, train=train)
        assert {loss.dtype, logits.dtype, *(part.dtype for part in state)} == {np.dtype(dtype)}
        assert {gradient.dtype for gradient in model.grads.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("sampled", [None, 3])
def test_a_model_on_a_device_computes_there_and_gives_the_same_numbers(sampled, monkeypatch):
    for module in ("layers", "models.classifier"):
        monkeypatch.setattr(f"rnnscratch.{module}.module_for", lambda device: strict_xp if device == "gpu" else np)
    host, there = (small(dtype="float64", device=device, sampled=sampled, **NOISE) for device in ("cpu", "gpu"))
    for window in rs.text.Windows([TEXT], 3, 5):
        results = []
        for model in (host, there):
            loss, back, _ = model.batch_loss(window, train=True)
            back()
            results.append((loss, model.grads))
        assert close(results[1][0], results[0][0])
        for name, gradient in results[0][1].items():
            assert close(results[1][1][name], gradient, ordered=False), name
    assert there.perplexity(TEXT) == pytest.approx(host.perplexity(TEXT), rel=1e-12)
    assert there.generate([1, 2], 5, seed=0).tolist() == host.generate([1, 2], 5, seed=0).tolist()


@pytest.mark.parametrize(
    "options, error",
    [
        ({"vocabulary_size": 0}, "vocabulary_size is 0, expected at least 1"),
        ({"hidden_size": 2.0}, "hidden_size is 2.0, expected a whole number"),
        ({"cell": "transformer"}, "cell is 'transformer', expected one of 'rnn', 'lstm'"),
        (
            {"tied": True, "hidden_size": 4},
            "embedding_dim is 3 and hidden_size 4, expected one size where tied is True",
        ),
        ({"tied": "no"}, "tied is 'no', expected True or False"),
        ({"sampled": 0}, "sampled is 0, expected at least 1"),
        ({"sampled": 1.5}, "sampled is 1.5, expected a whole number"),
        ({"end_id": V}, "end_id is 7, expected 1 to 6"),
        ({"dropout": 1.0}, r"dropout is 1.0, expected a probability in \[0, 1\)"),
        ({"dtype": "int8"}, "dtype is int8"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        small(**options)


def test_wrong_ids_states_and_gradients_are_named():
    model = small()
    with pytest.raises(ValueError, match=r"ids has shape \(3,\), expected \(T, B\) = \(steps, streams\)"):
        model.forward(np.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"ids\[0, 1\] is 7, expected 0 to 6"):
        model.forward(np.array([[1, 7]]))
    with pytest.raises(ValueError, match=r"state h has shape \(1, 1, 3\), expected \(1, 3, 3\)"):
        model.forward(IDS, (np.zeros((1, 1, 3), np.float32), None))
    model.forward(IDS)
    with pytest.raises(ValueError, match=r"dlogits has shape \(4, 3\), expected \(4, 3, 7\)"):
        model.backward(np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match="monitor is 'perplexity', expected 'loss'"):
        fit(model, validation=TEXT, monitor="perplexity")
    with pytest.raises(ValueError, match="params has other names than the model: dense.W, dense.b"):
        model.load_params({name: array for name, array in model.params.items() if not name.startswith("dense")})


def test_weights_start_where_training_goes_fast():
    """E at N(0, 1) and W at U(-1, 1) / sqrt(H), or where they are one at N(0, 0.2^2)."""
    model = LanguageModel(3000, 16, 25, seed=0)
    assert abs(model.params["embedding.E"].std() - 1) < 0.02
    assert 0.199 < abs(model.params["dense.W"]).max() <= 0.2
    assert abs(LanguageModel(3000, 16, 16, tied=True, seed=0).params["embedding.E"].std() - 0.2) < 0.004
