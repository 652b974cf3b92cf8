"""What is measured on trained networks, and what the report makes of it: values, on data made for it."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch.experiments import errors, factors, probes, recipe, report, results
from rnnscratch.experiments.imdb import Settings
from rnnscratch.models.classifier import SequenceClassifier
from rnnscratch.text import ImdbData, Reviews, Vocabulary

WORDS = ["<unk>", "good", "bad", *(f"w{k}" for k in range(30))]


def prepared_of(train, labels, test, test_labels):
    texts = [" ".join(WORDS[k] for k in ids) for ids in test]
    reviews = Reviews(texts, np.array(test_labels))
    train_reviews = Reviews(["" for _ in train], np.array(labels))
    data = ImdbData("made up", "official split", train_reviews, reviews, 0)
    ids = [np.array(each, np.int64) for each in train]
    held = [np.array(each, np.int64) for each in test]
    return results.Prepared(data, reviews, Vocabulary(WORDS), ids, np.array(labels), held, held)


@pytest.fixture
def prepared(rng):
    """Reviews of neutral words in which one word tells the label; the test reviews have 200 words."""

    def review(label, size=40):
        ids = rng.integers(3, 33, size)
        ids[rng.integers(size)] = 1 if label else 2
        return ids

    labels = np.arange(60) % 2
    test_labels = np.arange(20) % 2
    return prepared_of(
        [review(label) for label in labels], labels, [rng.integers(3, 33, 200) for _ in test_labels], test_labels
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradient_by_lag_is_that_of_the_network_that_reads_forwards(bidirectional, rng):
    model = SequenceClassifier(20, 4, 5, cell="rnn", bidirectional=bidirectional, dtype="float64", seed=0)
    sequences = [rng.integers(0, 20, 30) for _ in range(3)]
    lag = probes.gradient_by_lag(model, sequences, lags=10)
    layer = model.recurrent
    r = np.random.default_rng(0).standard_normal((1, 3, 5))
    E, W, U, b = model.params["embedding.E"], *(layer.params[f"{k}_l0"] for k in "WUb")
    h, jacobians = np.zeros((3, 5)), []
    for t in range(20, 30):
        h = np.tanh(E[[ids[t] for ids in sequences]] @ W + h @ U + b)
        jacobians.append(1 - h**2)
    dh, expected = r[0], []
    for slope in reversed(jacobians):
        dz = dh * slope
        expected.append(np.linalg.norm(dz @ W.T, axis=1).mean())
        dh = dz @ U.T
    np.testing.assert_allclose(lag, expected, rtol=1e-12)
    assert np.isnan(probes.gradient_by_lag(model, sequences, lags=31)).all()


def test_the_gradient_of_the_mean_of_all_states_is_that_of_finite_differences(rng):
    model = SequenceClassifier(20, 4, 5, cell="lstm", bidirectional=True, dtype="float64", seed=0)
    ids = rng.integers(0, 20, 12)
    lag = probes.gradient_by_lag(model, [ids], lags=6, pooled=True)
    r = np.random.default_rng(0).standard_normal((1, 5))
    x = model.embedding.forward(ids[-6:, None])

    def loss(x):
        outputs, _ = model.recurrent.forward(x)
        return (outputs[..., :5].mean(axis=0) * r).sum()

    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        gradient[place] = (loss(x + step) - loss(x - step)) / 2e-6
    np.testing.assert_allclose(lag, np.linalg.norm(gradient[:, 0], axis=1)[::-1], rtol=1e-7)


def test_word_weights_are_the_log_ratios_of_naive_bayes():
    r = probes.word_weights([np.array([1, 1, 2]), np.array([2]), np.array([0, 3])], np.array([1, 0, 0]), 5)
    positive, negative = np.array([1, 2, 2, 1, 1]), np.array([2, 1, 2, 2, 1])
    expected = np.log((positive / positive.sum()) / (negative / negative.sum()))
    np.testing.assert_allclose(r[1:], expected[1:], rtol=1e-12)
    assert r[0] == 0


def test_the_ends_of_reviews_are_judged_by_their_own_words(prepared):
    for k, (first, last) in enumerate([(1, 1), (2, 1), (1, 2), (2, 2)]):
        prepared.test_ids[k][:] = 0
        prepared.test_ids[k][[0, 60, -1]] = first, 2, last
        prepared.data.test.labels[k] = 1
    prepared.test_ids[4] = prepared.test_ids[4][:149]
    told = probes.evidence(prepared)
    r = probes.word_weights(prepared.train_ids, prepared.train_labels, len(WORDS))
    np.testing.assert_allclose(told[1], [r[2], r[1]])
    assert np.isnan(told[4]).all() and np.isfinite(told[[0, 5]]).all()
    groups, group = errors.groups_by_evidence(prepared)
    assert [groups[k] for k in group[:4]] == ["both", "last 50", "first 50", "neither"] and group[4] == -1


class Reader:
    """Says what the last word that tells says, if it lies at most `span` words back."""

    vocabulary_size, params = len(WORDS), {}

    def __init__(self, span):
        self.span = span

    def predict_batches(self, batches):
        found = {}
        for batch in batches:
            for column, (position, length) in enumerate(zip(batch.indices, batch.lengths)):
                ids = batch.ids[:length, column][-self.span :]
                told = [1 if k == 1 else -1 for k in ids if k in (1, 2)]
                found[position] = told[-1] if told else -0.5
        return np.array([found[k] for k in range(len(found))])


def test_recall_is_the_share_that_is_right_with_neutral_words_around_the_verdict(prepared):
    for ids, label in zip(prepared.test_ids, prepared.data.test.labels):
        ids[-10] = 1 if label else 2
    found = probes.recall(Reader(60), prepared)
    np.testing.assert_allclose(found, [[1, 1, 1, 0.5, 0.5, 0.5], [1] * 6])
    prepared.data.test.labels[:] = np.arange(20) < 15  # of which so many of each label are asked
    for ids, label in zip(prepared.test_ids, prepared.data.test.labels):
        ids[-10] = 1 if label else 2
    np.testing.assert_allclose(probes.recall(Reader(60), prepared)[0, -1], 0.5)
    words = probes.filler(prepared, np.random.default_rng(0), (50, 40))
    assert not np.isin(words, [0, 1, 2]).any() and len(np.unique(words)) == 6
    short = prepared_of([[1], [2]], [1, 0], [[1], [2]], [1, 0])
    assert np.isnan(probes.recall(Reader(60), short)).all()
    unknown = prepared_of([[0], [0]], [1, 0], [[0] * 50, [0] * 50], [1, 0])
    assert np.isnan(probes.recall(Reader(60), unknown)).all()


def outcome(name, seed, validation_accuracy, **more):
    row = {"model": name, "seed": seed, "validation_accuracy": validation_accuracy, "validation_size": 2500}
    row |= {"train_size": 800, **more.pop("row", {})}
    return results.Outcome(row, more.pop("logits", np.zeros(1)), more.pop("history", []), more)


def test_words_on_two_protocols_say_what_is_the_cell_s():
    own = [outcome("bow", 0, 0.88)]
    own += [outcome(n, s, a + 0.01 * s) for n, a in (("rnn", 0.80), ("gru", 0.84)) for s in (0, 1)]
    table = {"the mean and the maximum over time": (0.86, 0.87), "both directions": (0.81, 0.85)}
    table |= {"the library's cleaning": (0.80, 0.84), "word vectors, a teacher and noise": (0.83, 0.86)}
    table |= {recipe.EVERYTHING: (0.88, 0.90)}
    changed = {f"with {name}": [outcome("rnn", 0, a), outcome("gru", 0, b)] for name, (a, b) in table.items()}
    said = factors.worth(own, changed)
    assert "vanilla RNN 80.50%, GRU 84.50% (mean of 2 seeds" in said[0]
    assert said[0].endswith("So the GRU in the place of the vanilla RNN is worth 4.0 points.")
    assert said[1] == (
        "With the mean and the maximum over time alone the difference is vanilla RNN +5.50%, GRU +2.50%; the cells are "
        "then 1.0 points apart."
    )
    assert "library's protocol, all of these together, the difference is vanilla RNN +7.50%, GRU +5.50%" in said[5]
    assert said[6] == (
        "On average the library's protocol is 6.5 points ahead. The single change that brings most is the mean and the "
        "maximum over time, +4.0 points; the single ones sum to +6.0, so they help each other."
    )
    assert "from 4.0 to 1.0 points" in said[7]
    (first, *_), page = factors.changes_table(own, changed)[:2], factors.changes_table(own, changed)[2]
    assert first and "<td>as above<td>80.50% &plusmn; 0.71%<td>84.50% &plusmn; 0.71%" in page and "bag" not in page
    assert "<td>with both directions<td>81.00% (+0.50%)<td>85.00% (+0.50%)" in page
    changed[f"with {next(iter(table))}"] = [outcome("rnn", 0, 0.80), outcome("gru", 0, 0.86)]
    assert not any("Pooling hides" in sentence for sentence in factors.worth(own, changed))
    assert factors.worth(own[:3], changed) == [] == factors.worth(own, {"without dropout": own})


def test_curves_lie_over_the_reviews_and_the_learning_rates():
    settings = Settings(**{**recipe.REPORT, "models": ("bow", "gru")})
    own = [outcome("bow", 0, 0.88), outcome("gru", 0, 0.84), outcome("gru", 1, 0.85)]
    changed = {name: [outcome("gru", s, 0.8 + 0.01 * s) for s in (0, 1)] for name in recipe.variants(settings)}
    for k in (8, 4, 2):
        few = changed[f"with 1 of {k} training reviews"]
        few.append(outcome("bow", 0, 0.7))
        for each in few:
            each.row["train_size"] = 800 // k
    draw, said = factors.curves(settings, own, changed)
    amount, rates = (function() for function in draw)
    assert amount.lines[0].get_xdata().tolist() == [100, 200, 400, 800] == amount.lines[1].get_xdata().tolist()
    np.testing.assert_allclose(amount.lines[0].get_ydata(), [0.7, 0.7, 0.7, 0.88])
    np.testing.assert_allclose(rates.lines[0].get_xydata(), [[0.0005, 0.805], [0.002, 0.845], [0.008, 0.805]])
    assert (
        "With 100 reviews to learn from and with 800: bag of words 70.00% and 88.00%, GRU 80.50% and 84.50%" in said[0]
    )
    assert said[1] == (
        "Between learning rates of 0.0005 and 0.008 the mean of the seeds moves by: GRU 4.0 points (between seeds at "
        "most 1.0)."
    )
    assert factors.curves(settings, own, {}) == ([], [])


def test_the_report_s_words_on_errors_are_the_figures(prepared, monkeypatch):
    labels = prepared.data.test.labels
    right = np.where(labels == 1, 2.0, -2.0)
    wrong = right.copy()
    wrong[:5] *= -1
    runs = [outcome("gru", 0, 0.9, logits=right), outcome("gru", 1, 0.9, logits=wrong)]
    groups, group = ["a", "b"], np.array([0] * 5 + [1] * 14 + [-1])
    assert errors.shares(prepared, runs, groups, group) == {"GRU": [0.5, 1.0]}
    _, (said,) = errors.sureness(prepared, runs)
    p = 1 / (1 + np.exp(-2.0))
    sizes = [(np.abs(np.where(logits > 0, p, 1 - p) - labels), logits) for logits in (right, wrong)]
    expected = []
    for _, logits in sizes:
        bins = [labels[logits > 0], labels[logits < 0]]
        expected.append(sum(len(each) * abs(q - each.mean()) for each, q in zip(bins, (p, 1 - p))) / len(labels))
    assert f"GRU {np.mean(expected):.1%}." in said
    recall = np.linspace(0.5, 1, 12).reshape(2, 6)
    draw, (said,) = errors.distance([outcome("gru", 0, 0.9, recall=recall), outcome("gru", 1, 0.9, recall=recall)])
    assert "GRU 50.0%, 72.7% and 100.0% right" in said and len(draw) == 2
    np.testing.assert_allclose(draw[1]().lines[0].get_ydata(), 100 * recall[1])
    assert errors.distance(runs) == ([], [])


def test_words_on_groups_name_the_reviews(prepared):
    for k in range(6):
        prepared.test_ids[k][:] = 20
        prepared.test_ids[k][[0, -1]] = (1, 2) if k < 4 else (2, 1)
        prepared.data.test.labels[k] = 1
        prepared.data.test.texts[k] = "It isn't good, not at all: no."
    logits = np.where(prepared.data.test.labels == 1, 1.0, -1.0)
    logits[:3] *= -1
    draw, said = errors.where(prepared, [outcome("gru", 0, 0.9, logits=logits)])
    assert len(draw) == 3 and said[0] == (
        "Accuracy on the 6 reviews with 3 or more negations and on the 14 with none: GRU 50.0% and 100.0%."
    )
    _, group = errors.groups_by_evidence(prepared)
    groups = errors.groups_by_evidence(prepared)[0]
    first, last = (int((group == groups.index(name)).sum()) for name in ("first 50", "last 50"))
    right = logits * np.where(prepared.data.test.labels == 1, 1, -1) > 0
    shares = [right[group == groups.index(name)].mean() for name in ("first 50", "last 50")]
    assert f"against it ({first:,} reviews" in said[1] and f"round ({last:,}): " in said[1]
    assert said[1].endswith(f"GRU {shares[0]:.1%} and {shares[1]:.1%}.")


def test_gradients_of_both_losses_are_told(prepared):
    lag = np.array([4.0, 2.0, 1.0])
    both = {"lag": lag, "lag-pooled": lag[::-1].copy(), "lag-untrained": lag, "lag-untrained-pooled": lag}
    page = "".join(report.gradients([outcome("gru", 0, 0.9, **both)]))
    assert page.count("<img") == 2
    assert "left 2 words back, after training, of the last state and of the mean of all states: GRU 0.25 and 4." in page
    older = "".join(report.gradients([outcome("gru", 0, 0.9, lag=lag)]))
    assert older.count("<img") == 1 and report.gradients([outcome("gru", 0, 0.9)]) == []
