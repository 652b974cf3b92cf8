"""The unrolled graph holds the numbers of the trace and no others, and its frames show them in their order."""

from __future__ import annotations

import re

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import plots
from rnnscratch.plots.networks import number, shifted
from rnnscratch.teach import trace

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")

LAYERS = {
    "rnn": lambda H: rs.RNN(2, H, dtype="float64", seed=1),
    "lstm": lambda H: rs.LSTM(2, H, dtype="float64", seed=1),
    "gru": lambda H: rs.GRU(2, H, dtype="float64", seed=1),
    "gru_reset_after": lambda H: rs.GRU(2, H, reset_after=True, dtype="float64", seed=1),
    "peephole": lambda H: rs.PeepholeLSTM(2, H, dtype="float64", seed=1),
    "layer_norm": lambda H: rs.LayerNormLSTM(2, H, dtype="float64", seed=1),
}


def traced(kind, T=3, H=1, **options):
    x = np.random.default_rng(0).normal(size=(T, 1, 2))
    return trace(LAYERS[kind](H), x, **options)


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def figures_of(texts):
    return [found for text in texts for found in re.findall(r"(?<![\w_{])-?\d[\d.]*(?:e[+-]\d+)?(?![\w}])", text)]


@pytest.mark.parametrize("H", [1, 2])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_number_is_one_of_the_trace(kind, H):
    steps = traced(kind, H=H)
    known = {f"{value:.3g}" for row in steps for value in row.value.reshape(-1)}
    if kind == "gru_reset_after":  # the way through n is what of dh_prev is left by the other ways
        for t in (1, 2, 3):
            ways = steps["dh_prev", t] - steps["dh_prev (direct)", t] - steps["dh_prev (through r, z)", t]
            known |= {f"{value:.3g}" for value in ways.reshape(-1)}
    shown = figures_of(texts_of(plots.unrolled(steps)))
    assert len(shown) > 3 * 5 * H and set(shown) <= known


@pytest.mark.parametrize("kind", LAYERS)
def test_values_and_gradients_of_each_step_are_there(kind):
    steps = traced(kind, H=2)
    shown = texts_of(plots.unrolled(steps))
    wanted = ["h", "dh", "dx", "dh (output)", "dh_prev (direct)" if kind.startswith("gru") else "dh_prev"]
    if "c" in LAYERS[kind](1).states:
        wanted += ["c", "dc", "dc_prev", "tanh a" if kind == "layer_norm" else "tanh c"]
    for t in (1, 2, 3):
        for name in wanted:
            assert number(steps[name, t]) in shown, (name, t)
    assert shown.count(number(steps["h", 1])) == 3, "in its node, and to both consumers: the loss and the next step"


def test_the_gradients_of_both_consumers_add_up_to_that_of_the_node():
    steps = traced("rnn")
    shown = texts_of(plots.unrolled(steps))
    parts = [steps["dh (output)", 2][0, 0], steps["dh_prev", 3][0, 0]]
    assert {f"{parts[0]:.3g}", f"{parts[1]:.3g}", f"{sum(parts):.3g}"} <= set(shown)


def test_arrows_are_wider_where_more_flows_and_gradients_are_dashed():
    from matplotlib.patches import FancyArrowPatch

    weights = {"U_l0": 0.3, "W_l0": 1.0}
    layer = rs.RNN(1, 1, dtype="float64", seed=0)
    for name, value in weights.items():
        layer.params[name][...] = value
    dhs = np.zeros((3, 1, 1))
    dhs[-1] = 1.0
    ax = plots.unrolled(trace(layer, np.full((3, 1, 1), 0.1), dhs=dhs))
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    level = [(patch, patch.get_path().get_extents()) for patch in arrows]
    level = [(patch, box) for patch, box in level if box.width > 2 * box.height]
    dashed = [(box.x0, patch) for patch, box in level if patch.get_linestyle() not in ("-", "solid")]
    assert len(level) == 6 and len(dashed) == 3
    widths = [patch.get_linewidth() for _, patch in sorted(dashed, key=lambda each: -each[0])]
    assert widths[0] > widths[1] > widths[2], "each step multiplies the gradient by about 0.3"


def test_a_cut_says_what_it_keeps_back_and_hides_what_the_trace_does_not_know():
    steps = traced("rnn", T=5)
    ax = plots.unrolled(steps, truncate=2)
    shown = texts_of(ax)
    cuts = [text for text in shown if text.startswith("cut:")]
    assert cuts == [f"cut:\n{number(steps['dh_prev', 5])}"]
    assert len([line for line in ax.lines if line.get_color() == "black"]) == 4, "two bars at each cut"
    gradients = {text.get_text() for text in ax.texts if text.get_color() == plots.COLOURS[1]} - set(cuts)
    last = {number(steps[name, 5]) for name in ("dh", "dx")}
    assert gradients == last | {number(steps["dh (output)", t]) for t in range(1, 6)}
    assert any("not in the trace" in text for text in shown)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "gru_reset_after"])
def test_pieces_show_the_gradients_of_a_truncated_pass(kind):
    """Checked against `layer.backward(truncate=2)`, which cuts at the same places."""
    layer, x = LAYERS[kind](1), np.random.default_rng(0).normal(size=(4, 1, 2))
    _, state = layer.forward(x[:2])
    pieces = [trace(layer, x[:2]), trace(layer, x[2:], state)]
    shown = texts_of(plots.unrolled(pieces))
    layer.forward(x)
    dx, _ = layer.backward(np.ones((4, 1, 1)), truncate=2)
    for t in range(4):
        assert "\n".join(f"{value:.3g}" for value in dx[t, 0]) in shown
    assert any(text.startswith("cut:") for text in shown)
    assert not any("not in the trace" in text for text in shown)


def test_a_gradient_of_the_final_state_comes_from_beyond_the_last_step():
    steps = traced("lstm", dstate=(np.full((1, 1, 1), 0.25), np.full((1, 1, 1), -0.75)))
    shown = texts_of(plots.unrolled(steps))
    assert {"final\nh", "final\nc", "0.25", "-0.75"} <= set(shown)
    assert "final\nh" not in texts_of(plots.unrolled(traced("lstm")))


@pytest.mark.parametrize("T", [1, 2, 5])
@pytest.mark.parametrize("H", [1, 2])
@pytest.mark.parametrize("kind", LAYERS)
def test_no_text_hides_another(kind, H, T):
    ax = plots.unrolled(traced(kind, T, H))
    ax.figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in ax.texts]
    boxes += [(text.get_text(), text.get_window_extent()) for text in ax.get_legend().get_texts()]
    for k, (text, box) in enumerate(boxes):
        hidden = [other for other, place in boxes[:k] if box.overlaps(place)]
        assert not hidden, (text, hidden)
        assert ax.figure.bbox.containsx(box.x0) and ax.figure.bbox.containsx(box.x1), text


def test_the_frames_go_forward_and_back_and_the_still_one_is_the_whole_picture():
    steps = traced("lstm", T=2)
    frames = plots.animate_unrolled(steps)
    assert frames.labels == [
        "before the first step", "forward, step 1", "forward, step 2", "backward, step 2", "backward, step 1"
    ]  # fmt: skip
    assert len(set(frames.images)) == len(frames) == 5
    assert frames._repr_png_() == frames.images[-1] == plots.to_png(plots.unrolled(steps), 85)


def test_frames_of_the_largest_network_stay_below_a_megabyte_and_a_half():
    html = plots.animate_unrolled(traced("lstm", T=5, H=2)).html()
    assert len(html) < 1.5e6 and "://" not in html and "<script" not in html
    assert html.count("<figure") == 11 and html.count("display: block") == 1


def test_sliders_draw_once_for_each_value():
    called = []

    def draw(value):
        called.append(value)
        return plots.training_curves({"LSTM": [[value, 2 * value]]})

    frames = plots.sliders(draw, [0.5, 1.0, 2.0], "forget bias <b>")
    assert called == [0.5, 1.0, 2.0] and frames.labels[2] == "forget bias <b>: 2"
    assert all(image.startswith(b"\x89PNG") for image in frames.images) and frames._repr_png_() == frames.images[0]
    html = frames._repr_html_()
    assert "forget bias &lt;b&gt;" in html and "<b>" not in html and 'max="2" value="0"' in html
    assert "<button" not in html and "://" not in html
    assert repr(frames) == "Frames(3 pictures, from 'forget bias <b>: 0.5' to 'forget bias <b>: 2')"


def test_a_way_is_moved_to_its_left():
    assert shifted([(0.0, 0.0), (1.0, 0.0), (1.0, -1.0), (2.0, -1.0)], 0.1) == [
        (0.0, 0.1), (1.1, 0.1), (1.1, -0.9), (2.0, -0.9)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.unrolled({"h": 1.0}), "trace is dict, expected what teach.trace returns"),
        (lambda: plots.unrolled([traced("rnn"), 3]), r"trace\[1\] is int"),
        (lambda: plots.unrolled([]), "trace is empty"),
        (lambda: plots.unrolled(traced("rnn", T=6)), "trace has T=6 steps, expected at most 5"),
        (lambda: plots.unrolled(traced("rnn", H=3)), "trace has H=3 units, expected at most 2"),
        (lambda: plots.unrolled(trace(LAYERS["rnn"](1), np.ones((2, 2, 2)))), "trace has B=2 sequences, expected 1"),
        (lambda: plots.unrolled(traced("rnn"), truncate=0), "truncate is 0"),
        (lambda: plots.unrolled([traced("rnn", 1), traced("rnn", 1)], truncate=1), "expected None for pieces"),
        (lambda: plots.animate_unrolled(traced("rnn"), dpi=0), "dpi is 0"),
        (lambda: plots.sliders(print, []), "values is empty"),
        (lambda: plots.sliders(7, [1]), "function is int"),
        (lambda: plots.sliders(lambda value: None, [1]), "function returned NoneType for 1, expected the Axes"),
    ],
)
def test_what_does_not_fit_is_named(draw, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw()
