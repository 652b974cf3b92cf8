"""The trellis and the graph of transitions hold the model's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch import plots
from rnnscratch.hmm import CategoricalHMM, GaussianHMM, MarkovChain
from rnnscratch.plots.markov import WIDEST

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")

START, TRANSMAT = np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]])


def ice_cream(transmat=TRANSMAT, start=START):
    """Eisner's weather and ice creams."""
    model = CategoricalHMM(2)
    model.startprob_, model.transmat_ = start, transmat
    model.emissionprob_ = np.array([[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]])
    return model


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def lines_of(ax, colour):
    """Width of each line, by its ends."""
    wanted = matplotlib.colors.to_hex(colour).lower()
    return {
        tuple(map(tuple, line.get_xydata().tolist())): line.get_linewidth()
        for line in ax.lines
        if len(line.get_xydata()) and matplotlib.colors.to_hex(line.get_color()).lower() == wanted
    }


def test_the_nodes_hold_the_forward_recursion():
    """alpha by hand: 0.6 * 0.4 and 0.4 * 0.1 at first, then the sum over the states before times the emission."""
    ax = plots.trellis(ice_cream(), [2, 0], ["hot", "cold"])
    first = np.array([0.6 * 0.4, 0.4 * 0.1])
    second = first @ TRANSMAT * [0.2, 0.5]
    wanted = [f"{value:.2f}" for alpha in (first, second) for value in alpha / alpha.sum()]
    assert texts_of(ax) == ["start", *wanted]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["hot", "cold"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "0"]


def test_lines_are_as_wide_as_transitions_are_probable():
    widths = lines_of(plots.trellis(ice_cream(), [2, 0, 1]), "0.75")
    assert widths[(0.0, -0.5), (1.0, 0.0)] == pytest.approx(WIDEST * 0.6)
    for t in (1.0, 2.0):
        for i in range(2):
            for j in range(2):
                assert widths[(t, -float(i)), (t + 1, -float(j))] == pytest.approx(WIDEST * TRANSMAT[i, j])


def test_the_best_path_is_bold():
    model, X = ice_cream(), [2, 0, 2, 1, 0, 0, 2]
    ax = plots.trellis(model, X)
    _, path = model.decode(X)
    assert len(set(path.tolist())) == 2
    places = [(0.0, -0.5), *((float(t), -float(state)) for t, state in enumerate(path, start=1))]
    assert set(lines_of(ax, plots.COLOURS[1])) == set(zip(places, places[1:]))
    bold = {patch.center for patch in ax.patches if patch.get_linewidth() > 2}
    assert bold == set(places[1:])
    texts = {text.get_position(): text.get_fontweight() for text in ax.texts}
    assert {place for place, weight in texts.items() if weight == "bold"} == bold, "told apart without colour too"


def test_impossible_transitions_have_no_line():
    model = ice_cream(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0.0, 1.0]))
    widths = lines_of(plots.trellis(model, [0, 1]), "0.75")
    assert set(widths) == {
        ((0.0, -0.5), (1.0, -1.0)), ((1.0, 0.0), (2.0, 0.0)), ((1.0, -1.0), (2.0, 0.0)), ((1.0, -1.0), (2.0, -1.0))
    }  # fmt: skip


def test_observations_with_several_features_are_numbered():
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = START, TRANSMAT
    model.means_, model.covars_ = np.array([[0.0, 0.0], [1.0, 1.0]]), np.ones((2, 2))
    ax = plots.trellis(model, [[0.1, 0.2], [1.0, 0.9]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]


def test_the_graph_shows_every_probability():
    ax = plots.transition_graph(ice_cream(), ["hot", "cold"])
    assert texts_of(ax) == ["0.70", "0.30", "0.40", "0.60", "hot\nstart 0.60", "cold\nstart 0.40"]
    widths = [patch.get_linewidth() for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    np.testing.assert_allclose(widths, 0.55 * WIDEST * TRANSMAT.ravel())


def test_a_chain_keeps_its_own_names_and_small_transitions_are_left_out():
    chain = MarkovChain().fit(["aab", "abba"])
    assert texts_of(plots.transition_graph(chain)) == [
        "0.33", "0.67", "0.50", "0.50", "a\nstart 1.00", "b\nstart 0.00"
    ]  # fmt: skip
    assert "0.33" not in texts_of(plots.transition_graph(chain, least=0.4))


def test_no_text_hides_another():
    N = 6
    rng = np.random.default_rng(0)
    model = CategoricalHMM(N)
    model.startprob_, model.transmat_ = np.full(N, 1 / N), rng.dirichlet(np.ones(N), N)
    model.emissionprob_ = rng.dirichlet(np.ones(3), N)
    neighbours = np.eye(N) * 0.6 + np.roll(np.eye(N), 1, axis=1) * 0.4
    sparse = CategoricalHMM(N)
    sparse.startprob_, sparse.transmat_, sparse.emissionprob_ = model.startprob_, neighbours, model.emissionprob_
    other = CategoricalHMM(4)
    other.startprob_, other.emissionprob_ = np.full(4, 0.25), rng.dirichlet(np.ones(3), 4)
    other.transmat_ = np.array([[0.8, 0.2, 0, 0], [0, 0.5, 0.5, 0], [0.05, 0, 0.9, 0.05], [0.25, 0.25, 0.25, 0.25]])
    drawn = [
        plots.transition_graph(other),
        plots.trellis(model, [0, 1, 2]),
        plots.trellis(model, [0, 1] * 7),
        plots.transition_graph(sparse),
    ]
    for ax in (*drawn, plots.transition_graph(ice_cream())):
        ax.figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
        for k, (text, box) in enumerate(boxes):
            assert not [other for other, place in boxes[:k] if box.overlaps(place)], text


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda: plots.trellis(MarkovChain().fit(["aba"]), [0]),
            "model is MarkovChain, expected a hidden Markov model",
        ),
        (lambda: plots.trellis(CategoricalHMM(2), [0]), "model has no startprob_, expected one that is fitted or set"),
        (lambda: plots.trellis(ice_cream(), [0] * 16), "2 states and 16 frames, expected at most 6 and 15"),
        (lambda: plots.trellis(ice_cream(), [0], ["hot"]), "names has 1 entries, expected 2"),
        (lambda: plots.transition_graph(TRANSMAT), "model is ndarray, expected a model of rnnscratch.hmm"),
        (lambda: plots.transition_graph(MarkovChain().fit(["abcdefga"])), "model has 7 states, expected at most 6"),
        (lambda: plots.transition_graph(ice_cream(), least=2), "least is 2"),
        (lambda: plots.transition_graph(ice_cream(), "hc"), "names is one string"),
    ],
)
def test_what_does_not_fit_is_named(draw, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw()
