"""The wiring that is drawn computes what the cell computes, and holds every term of its equations."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import plots
from rnnscratch.kernels import gru, lstm, peephole
from rnnscratch.plots.cells import CELLS, EQUATIONS

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")

LAYERS = {
    "rnn": lambda: rs.RNN(2, 3, dtype="float64", seed=0),
    "lstm": lambda: rs.LSTM(2, 3, dtype="float64", seed=0),
    "gru": lambda: rs.GRU(2, 3, dtype="float64", seed=0),
    "gru_reset_after": lambda: rs.GRU(2, 3, reset_after=True, dtype="float64", seed=0),
    "peephole": lambda: rs.PeepholeLSTM(2, 3, dtype="float64", seed=0),
}
STEPS = {"lstm": lstm.step, "gru": gru.step, "gru_reset_after": gru.step_after, "peephole": peephole.step}


def computed(kind, layer, given):
    """The value of each part of the picture, from what enters it and the layer's weights."""
    parts = {part.name: part for part in CELLS[kind]}
    W, U, b = (layer.params[f"{name}_l0"] for name in "WUb")
    H = layer.hidden_size
    block = {gate: slice(k * H, (k + 1) * H) for k, gate in enumerate(layer.gates)}
    found = dict(given)

    def value(name):
        if name not in found:
            found[name] = part_value(parts[name]) if name in parts else block_value(name)
        return found[name]

    def block_value(name):
        z = value("z")
        if name == "x W_n + b_n":
            return z[:, block["n"]] - given["h_prev"] @ U[:, block["n"]]
        return z[:, block[name.removeprefix("z_")]]

    def part_value(part):
        values = [value(source) for source, _ in part.inputs]
        if part.what == "out":
            return values[0]
        if part.name == "z":
            assert {source for source, _ in part.inputs} == {"x", "h_prev"}
            return given["x"] @ W + given["h_prev"] @ U + b
        if part.text.startswith("* P_"):
            return values[0] * np.split(layer.params["P_l0"], 3)["ifo".index(part.text[-1])]
        if part.text == "@ U_n":
            return values[0] @ U[:, block["n"]]
        if part.text == "h_prev U_n\n+ bn":
            return values[0] @ U[:, block["n"]] + layer.params["bn_l0"]
        if part.what == "sigmoid":
            return 1 / (1 + np.exp(-values[0]))
        first, *rest = values
        return {
            "tanh": lambda: np.tanh(first), "1-": lambda: 1 - first, "*": lambda: first * rest[0],
            "+": lambda: first + rest[0],
        }[part.what]()  # fmt: skip

    return {part.text: value(part.name) for part in CELLS[kind] if part.what == "out"}


@pytest.mark.parametrize("kind", CELLS)
def test_the_picture_computes_the_cell(kind):
    layer, rng = LAYERS[kind](), np.random.default_rng(1)
    for array in layer.params.values():
        array[...] = rng.normal(size=array.shape)
    x, h, c = rng.normal(size=(1, 2)), rng.normal(size=(1, 3)), rng.normal(size=(1, 3))
    if "c" in layer.states:
        _, (h_new, c_new) = layer.step(x, (h[None], c[None]))
        found = computed(kind, layer, {"x": x, "h_prev": h, "c_prev": c})
        np.testing.assert_allclose(found["c"], c_new[0], rtol=1e-12)
    else:
        _, h_new = layer.step(x, h[None])
        found = computed(kind, layer, {"x": x, "h_prev": h})
    np.testing.assert_allclose(found["h"], h_new[0], rtol=1e-12)
    assert set(found) == set(layer.states)


@pytest.mark.parametrize("kind", CELLS)
def test_every_part_is_drawn_with_its_sign(kind):
    ax = plots.cell(kind)
    signs = {"sigmoid": r"$\sigma$", "tanh": "tanh", "*": r"$\times$", "+": "+", "1-": "$1-$"}
    shown = [text.get_text() for text in ax.texts]
    for what, sign in signs.items():
        assert shown.count(sign) == sum(part.what == what for part in CELLS[kind]), what
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == sum(len(part.inputs) for part in CELLS[kind])
    letters = {"lstm": "ifog", "gru": "rzn", "gru_reset_after": "rzn", "peephole": "ifog", "rnn": "h"}[kind]
    assert {f"${letter}$" for letter in letters} <= set(shown)


@pytest.mark.parametrize("kind", STEPS)
def test_the_equations_are_those_of_the_step(kind):
    """Every term of the source's lines, in the picture's letters, stands in the equations below it."""
    source = inspect.getsource(STEPS[kind])
    lines = re.findall(r"^ +(\w[\w.]*)(?:\[\.\.\.\])? = (.*?)(?:  #.*)?$", source, re.M)
    below = "    ".join(EQUATIONS[kind])
    names = {"prev.hU": "h_prev U_n", "prev.h_in": "h_prev", "prev.h": "h_prev", "prev.c": "c_prev", "w.bn": "bn"}
    names |= {"kept.tanh_c": "tanh(c)", "kept.hn": "hn", "new.c": "c", "w.U": "U_n"}
    checked = 0
    for target, formula in lines:
        for old, new in names.items():
            formula = formula.replace(old, new)
        if target.startswith("new.") or target == "kept.hn":
            assert f"{target.split('.')[1]} = {formula}" in below, formula
            checked += 1
    assert checked == {"lstm": 2, "gru": 1, "gru_reset_after": 2, "peephole": 2}[kind]


@pytest.mark.parametrize("kind", CELLS)
def test_no_text_hides_another(kind):
    ax = plots.cell(kind)
    ax.figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
    for k, (text, box) in enumerate(boxes):
        assert not [other for other, place in boxes[:k] if box.overlaps(place)], text
        assert ax.figure.bbox.x0 <= box.x0 and box.x1 <= ax.figure.bbox.x1, text


def test_an_unknown_cell_is_named_and_given_axes_are_used():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plots.cell("lstm", ax=ax) is ax
    small, own = ax.texts[0].get_fontsize(), plots.cell("lstm").texts[0].get_fontsize()
    assert small < own == 11, "text shrinks with the drawing"
    with pytest.raises(ValueError, match="kind is 'elman', expected one of 'rnn', 'lstm', 'gru'"):
        plots.cell("elman")
