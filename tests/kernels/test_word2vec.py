"""Word vectors: all gradients by the complex step, shared negatives against ones of their own, the tree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import strict_xp
from cells import complex_step, relative_error
from close import close
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.backend import scatter_add
from rnnscratch.kernels import word2vec as kernel

V, D, N, C, W = 7, 3, 2, 4, 2
COUNTS = np.array([0, 5, 5, 5, 3, 3, 1])  # ties, and a word that is never seen
P = COUNTS**0.75 / (COUNTS**0.75).sum()
WORDS = np.array([1, 2, 2, 3, 2, 1, 4, 1, 5, 6, 6, 2])  # repeated, and targets that are their own context
CENTRES = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9, 10, 11]])  # places of each block's words
BLOCKS = WORDS[CENTRES]
TARGETS = BLOCKS[:, W : W + C]


def near(rng):
    """A window of random width for each target, one of them without any word."""
    distance = np.arange(C + 2 * W) - W - np.arange(C)[:, None]
    found = (np.abs(distance) <= rng.integers(1, W + 1, (N, C, 1))) & (distance != 0)
    found[1, 2] = False
    return found.astype(float)


def questions(objective, targets, rng):
    if objective == "negative":
        return kernel.ask_noise(targets, np.array([[2, 1, 2, 6], [4, 4, 3, 2]]), 5, P)
    return kernel.ask_path(targets, kernel.huffman(COUNTS), float, {"path": 1, "groups": 2}[objective])


def tables(found, cache_gradients, words, asked):
    """The gradients of E and the output table, with repeats added up."""
    dE, dout = np.zeros((V, D), found), np.zeros((V, D), found)
    dwords, douts = cache_gradients
    scatter_add(dE, words.reshape(-1), dwords.reshape(-1, D))
    for each, rows in zip(asked, douts):
        scatter_add(dout, each.ids.reshape(-1), rows.reshape(-1, D))
    return {"E": dE, "out": dout}


@pytest.mark.parametrize("mean", [False, True], ids=["skipgram", "cbow"])
@pytest.mark.parametrize("objective", ["negative", "path", "groups"])
def test_the_gradient_equals_the_complex_step(objective, mean, rng):
    a = {name: rng.standard_normal((V, D)).astype(complex) for name in ("E", "out")}
    order = rng.permutation(N * C) if mean else None
    targets = TARGETS.reshape(-1)[order].reshape(N, C) if mean else TARGETS
    asked, window, dloss = questions(objective, targets, rng), near(rng), rng.standard_normal()

    def loss(a):
        return kernel.forward(a["E"], a["out"], BLOCKS, window, asked, mean, order=order)[0] * dloss

    _, cache = kernel.forward(a["E"], a["out"], BLOCKS, window, asked, mean, loss=False, order=order)
    found = tables(complex, kernel.backward(cache, dloss), BLOCKS, asked)
    for key in a:
        assert relative_error(found[key].real, complex_step(loss, a, key)) < 1e-12


@pytest.mark.parametrize("evened", [False, True], ids=["drawn by p", "drawn by q"])
@pytest.mark.parametrize("mean", [False, True], ids=["skipgram", "cbow"])
def test_shared_negatives_have_the_expected_gradient_of_ones_that_each_target_draws_alone(mean, evened, rng):
    """Over all draws of two words for each block, against each target's own words, which never are the target."""
    E, out, window = rng.standard_normal((V, D)), rng.standard_normal((V, D)), near(rng)
    P = np.array([0, 0.05, 0.7, 0.1, 0.1, 0.03, 0.02])
    q = kernel.evened(P) if evened else P
    shared = {"E": 0.0, "out": 0.0}
    for drawn in itertools.product(range(1, V), repeat=4):
        asked = kernel.ask_noise(TARGETS, np.reshape(drawn, (2, 2)), 5, P, q if evened else None)
        gradients = kernel.backward(kernel.forward(E, out, BLOCKS, window, asked, mean)[1])
        for key, gradient in tables(float, gradients, BLOCKS, asked).items():
            shared[key] = shared[key] + gradient * q[list(drawn)].prod()
    alone = {"E": np.zeros((V, D)), "out": np.zeros((V, D))}
    for n, c in np.ndindex(N, C):
        inside = BLOCKS[n][window[n, c] > 0]
        t = TARGETS[n, c]
        for context in [inside] if mean and len(inside) else inside[:, None]:
            x = E[context].mean(axis=0)
            slopes = {t: 1 / (1 + np.exp(-x @ out[t])) - 1}
            slopes |= {w: 5 * P[w] / (1 - P[t]) / (1 + np.exp(-x @ out[w])) for w in range(1, V) if w != t}
            for w, slope in slopes.items():
                alone["out"][w] += slope * x
                np.add.at(alone["E"], context, slope * out[w] / len(context))
    for key in alone:
        np.testing.assert_allclose(shared[key], alone[key], rtol=1e-12, atol=1e-13)


def test_what_is_drawn_by_gives_no_word_more_than_half_and_the_others_what_they_had_among_themselves():
    assert np.array_equal(kernel.evened(P), P)
    np.testing.assert_allclose(kernel.evened(np.array([0.0, 0.9, 0.06, 0.04])), [0, 0.5, 0.3, 0.2], rtol=1e-15)


def test_stratified_draws_come_each_as_if_alone_and_together_as_often_as_they_should():
    weights = np.array([0.0, 3.0, 0.5, 0.0, 4.5, 2.0, 0.0])
    rng, cumulative = np.random.default_rng(0), weights.cumsum()
    rounds = np.stack([kernel.stratified(cumulative, (5, 4), rng) for _ in range(4000)])
    assert rounds.shape == (4000, 5, 4)
    expected = weights / 10
    for place in np.ndindex(5, 4):  # 4,000 draws: five times the deviation of a share of .45 is .04
        share = np.bincount(rounds[(slice(None), *place)], minlength=7) / 4000
        np.testing.assert_allclose(share, expected, atol=0.04)
    counts = np.stack([np.bincount(each.reshape(-1), minlength=7) for each in rounds])
    assert (np.abs(counts - 20 * expected) < 2).all()
    assert not (np.diff(rounds.reshape(4000, 20), axis=1) >= 0).all(axis=1).any()  # not in order of the words
    pairs = (rounds.reshape(4000, 20)[:, :-1] == 4) & (rounds.reshape(4000, 20)[:, 1:] == 4)
    assert 0.15 < pairs.mean() < 0.25  # .45 * 8 / 19 = .19: neighbours are as good as independent


class Last:
    """A generator that draws the largest numbers there are."""

    permutation = staticmethod(np.arange)

    @staticmethod
    def random(n):
        return np.full(n, np.nextafter(1.0, 0.0))


def test_no_stratified_draw_goes_past_the_last_word_that_has_weight():
    weights = np.array([0.1] * 10 + [0.0, 0.0])
    for n in (1, 3, 256, 1000):
        assert kernel.stratified(weights.cumsum(), (n,), Last).max() == 9


def paths(tree):
    """For each word, the answers on its way by node."""
    return [
        dict(zip(nodes[:steps].tolist(), (no[:steps] == 0).tolist()))
        for nodes, no, steps in zip(tree.nodes, tree.no, tree.steps)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda counts: sum(map(bool, counts)) > 1))
def test_the_ways_of_the_tree_are_probabilities_that_sum_to_one_and_as_short_as_can_be(counts):
    tree = kernel.huffman(counts)
    found, rng = paths(tree), np.random.default_rng(0)
    yes = rng.uniform(0.1, 0.9, len(counts))  # of each node
    chance = [np.prod([yes[node] if answer else 1 - yes[node] for node, answer in way.items()]) for way in found]
    assert sum(p for p, count in zip(chance, counts) if count) == pytest.approx(1.0)
    assert [len(way) == 0 for way in found] == [count == 0 for count in counts]
    share = np.array([count for count in counts if count]) / sum(counts)
    entropy = -(share * np.log2(share)).sum()
    mean = sum(len(way) * count for way, count in zip(found, counts)) / sum(counts)
    assert entropy - 1e-9 <= mean < entropy + 1
    weight = {}  # of each node: of all words whose way goes through it
    for way, count in zip(found, counts):
        for node in way:
            weight[node] = weight.get(node, 0) + count
    assert sorted(weight) == list(range(share.size - 1))
    assert [weight[node] for node in sorted(weight)] == sorted(weight.values(), reverse=True)


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_the_questions_of_a_block_are_those_of_the_ways_to_its_targets(groups):
    tree = kernel.huffman(COUNTS)
    found = {place: {} for place in np.ndindex(N, C)}
    for ids, yes, no, blocks in kernel.ask_path(TARGETS, tree, float, groups):
        for b, n in enumerate(range(N)[blocks]):
            for c, k in np.argwhere(yes[b] + no[b]):
                assert {yes[b, c, k], no[b, c, k]} == {0.0, 1.0}
                found[n, c][int(ids[b, k])] = bool(yes[b, c, k])
    ways = paths(tree)
    assert all(found[n, c] == ways[TARGETS[n, c]] for n, c in np.ndindex(N, C))


def test_a_target_is_asked_as_many_questions_as_the_report_counts():
    """Of V words that are all as frequent: log2 V for a mean of words (Eq. 60), and for each of C words (Eq. 61)."""
    V, window = 64, np.ones((1, 4, 9))
    ids = np.arange(1, 10)[None]
    asked = kernel.ask_path(ids[:, 3:7], kernel.huffman([5] * V), float)
    E = np.zeros((V, 2))
    for mean, words in ((True, 1), (False, window.sum(axis=2)[0, 0])):
        _, cache = kernel.forward(E, E, ids, window, asked, mean)
        assert sum((each.yes + each.no).sum() for each in cache.asked) == 4 * words * np.log2(V)


def test_targets_in_order_of_their_ways_are_all_there_and_ask_about_fewer_nodes(rng):
    counts = np.append(0, rng.zipf(1.5, 500))
    tree, targets = kernel.huffman(counts), rng.integers(0, 501, 160)
    order = kernel.by_way(targets, tree, 16)
    assert sorted(order) == list(range(160))
    widths = [
        [q.ids.shape[1] for q in kernel.ask_path(each.reshape(10, 16), tree, float, 10)]
        for each in (targets, targets[order])
    ]
    assert sum(widths[1]) < 0.5 * sum(widths[0])
    assert sum(widths[1][:5]) > sum(widths[1][5:])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("mean", [False, True], ids=["skipgram", "cbow"])
def test_the_dtype_stays_and_nothing_given_is_changed(dtype, mean, rng):
    E, out = (rng.standard_normal((V, D)).astype(dtype) for _ in range(2))
    window = near(rng).astype("f4")
    for asked in (
        kernel.ask_noise(TARGETS, np.array([[1, 2], [2, 6]]), 5, P.astype("f4")),
        kernel.ask_path(TARGETS, kernel.huffman(COUNTS), np.float32),
    ):
        before = [each.copy() for each in (E, out, window)]
        loss, cache = kernel.forward(E, out, BLOCKS, window, asked, mean)
        first, second = kernel.backward(cache), kernel.backward(cache)
        assert loss.dtype == dtype and first[0].dtype == dtype and all(dy.dtype == dtype for dy in first[1])
        assert np.array_equal(first[0], second[0])
        assert all(np.array_equal(one, other) for one, other in zip(first[1], second[1]))
        assert all(np.array_equal(one, other) for one, other in zip((E, out, window), before))


@pytest.mark.parametrize("mean", [False, True], ids=["skipgram", "cbow"])
def test_the_device_gets_no_host_arrays_and_gives_the_same_numbers(mean, rng):
    E, out, window, drawn = rng.standard_normal((V, D)), rng.standard_normal((V, D)), near(rng), np.array([[1], [6]])
    moved = [strict_xp.asarray(array) for array in (E, out, BLOCKS, window)]
    order = rng.permutation(N * C) if mean else None
    questions = [*kernel.ask_noise(TARGETS, drawn, 5, P), *kernel.ask_path(TARGETS, kernel.huffman(COUNTS), float)]
    asked = kernel.ask_noise(*map(strict_xp.asarray, (TARGETS, drawn)), 5, *map(strict_xp.asarray, (P, P)))
    asked += [kernel.Questions(*map(strict_xp.asarray, each[:3]), each.blocks) for each in questions[2:]]
    strict_xp.moves["to_host"] = 0
    device_order = None if order is None else strict_xp.asarray(order)
    loss, cache = kernel.forward(*moved, asked, mean, order=device_order)
    dwords, douts = kernel.backward(cache)
    assert strict_xp.moves["to_host"] == 0
    right_loss, cache = kernel.forward(E, out, BLOCKS, window, questions, mean, order=order)
    right, of_questions = kernel.backward(cache)
    assert close(loss, right_loss) and close(dwords, right)
    assert all(close(one, other) for one, other in zip(douts, of_questions))


def test_wrong_arguments_are_named(rng):
    E, window = rng.standard_normal((V, D)), near(rng)
    asked = kernel.ask_noise(TARGETS, np.array([[1, 2], [2, 6]]), 5, P)
    with pytest.raises(ValueError, match=r"out float64 \(7, 4\), expected \(V, D\) and \(rows, D\)"):
        kernel.forward(E, np.zeros((V, 4)), BLOCKS, window, asked, False)
    with pytest.raises(ValueError, match=r"words\[1, 7\] is 9, expected 0 to 6"):
        wrong = BLOCKS.copy()
        wrong[1, 7] = 9
        kernel.forward(E, E, wrong, window, asked, False)
    with pytest.raises(ValueError, match=r"near has shape \(2, 4, 7\), expected \(2, 4, 8\)"):
        kernel.forward(E, E, BLOCKS, window[:, :, 1:], asked, False)
    with pytest.raises(ValueError, match=r"ids of questions\[0, 0\] is 8, expected 0 to 6"):
        kernel.forward(E, E, BLOCKS, window, [kernel.Questions(np.array([[8], [1]]), None, np.ones((N, C, 1)))], False)
    with pytest.raises(ValueError, match="1 words with a count, expected at least 2"):
        kernel.huffman([0, 3, 0])
