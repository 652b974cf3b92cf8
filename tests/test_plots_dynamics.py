"""Fixed points, runs and the cliff are those of the library's own network."""

from __future__ import annotations

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import plots

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")


def network(U, b=(0.0, 0.0), activation="tanh"):
    layer = rs.RNN(1, len(U), activation=activation, dtype="float64", seed=0)
    layer.params["U_l0"][...], layer.params["b_l0"][...] = U, b
    return layer


def turning(norm, angle=0.6):
    return norm * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def test_fixed_points_are_states_that_the_layer_keeps():
    layer = network([[1.6, 0.3], [0.2, 1.5]], (0.05, 0.0))
    points = plots.fixed_points(layer)
    assert [point.kind for point in points] == ["stable", "stable", "saddle", "saddle", "unstable"]
    for point in points:
        hs, _ = layer.forward(np.zeros((1, 1, 1)), point.at[None, None])
        np.testing.assert_allclose(hs[0, 0], point.at, atol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_eigenvalues_are_those_of_the_layers_own_jacobian(activation):
    from rnnscratch.teach.flow import step_jacobians

    layer = network([[1.9, -1.2], [0.7, 1.1]], (0.1, -0.2), activation)
    points = plots.fixed_points(layer)
    assert points
    for point in points:
        jacobian = step_jacobians(layer, np.zeros((1, 1, 1)), point.at[None, None])[0]
        wanted = np.linalg.eigvals(jacobian)
        np.testing.assert_allclose(np.sort_complex(point.eigenvalues), np.sort_complex(wanted), atol=1e-8)


def test_kinds_at_norms_below_at_and_above_one():
    kinds = [[point.kind for point in plots.fixed_points(network(turning(norm)))] for norm in (0.8, 1.0, 1.6)]
    assert kinds == [["stable"], ["neutral"], ["unstable"]]


def test_one_unit_has_three_fixed_points_once_its_weight_is_above_one():
    """h = tanh(2 h) at 0 and at +-0.9575."""
    points = plots.fixed_points(network([[2.0]], (0.0,)))
    np.testing.assert_allclose([point.at[0] for point in points], [-0.957504024, 0.957504024, 0.0], atol=1e-8)
    assert [point.kind for point in points] == ["stable", "stable", "unstable"]
    np.testing.assert_allclose(points[2].eigenvalues, [2.0])


def test_the_portrait_runs_the_layer():
    layer, start = network(turning(0.9), (0.1, -0.1)), np.array([[0.5, -0.4], [-0.2, 0.9]])
    ax = plots.phase_portrait(layer, start, steps=5)
    runs = [line.get_xydata() for line in ax.lines if line.get_label() == "_run"]
    hs, _ = layer.forward(np.zeros((5, 2, 1)), start[None])
    np.testing.assert_allclose(np.stack(runs, axis=1), np.concatenate([start[None], hs]), rtol=1e-12)
    arrows = ax.collections[0]
    grid = np.array(arrows.get_offsets())
    new, _ = layer.forward(np.zeros((1, 225, 1)), grid[None])
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], axis=1), new[0] - grid, atol=1e-12)


def test_the_portrait_names_the_kinds_with_their_eigenvalues():
    ax = plots.phase_portrait(network(turning(0.8)))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [r"stable (turning): $|\lambda|$ = 0.80"]
    assert len([line for line in ax.lines if line.get_label() == "_run"]) == 12
    ax = plots.phase_portrait(network([[1.6, 0.3], [0.2, 1.5]]))
    labels = [text.get_text().partition(":")[0] for text in ax.get_legend().get_texts()]
    assert labels == ["stable", "saddle", "unstable"]


def test_loss_and_slopes_are_those_of_the_layer():
    w, b = np.array([4.0, 4.65]), np.array([-2.0, -2.4])
    loss, dw, db = plots.loss_and_slopes(w, b, steps=50)
    for k in range(2):
        layer = network([[w[k]]], (b[k],), "sigmoid")
        start = np.full((1, 1, 1), 1 / (1 + np.exp(-0.5)))
        hs, _ = layer.forward(np.zeros((50, 1, 1)), start)
        dhs = np.zeros_like(hs)
        dhs[-1] = 2 * (hs[-1] - 0.7)
        layer.backward(dhs)
        np.testing.assert_allclose(loss[k], (hs[-1, 0, 0] - 0.7) ** 2, rtol=1e-9)
        np.testing.assert_allclose(dw[k], layer.grads["U_l0"][0, 0], rtol=1e-9)
        np.testing.assert_allclose(db[k], layer.grads["b_l0"][0], rtol=1e-9)


def test_descent_takes_its_steps_and_clips_them():
    free, clipped = (plots.descent((5.0, -1.8), 60, 0.5, clip) for clip in (None, 0.1))
    assert free.shape == clipped.shape == (61, 2)
    _, dw, db = plots.loss_and_slopes(*free[0])
    np.testing.assert_allclose(free[1], free[0] - 0.5 * np.array([dw, db]))
    lengths = np.linalg.norm(np.diff(clipped, axis=0), axis=1)
    assert lengths.max() == pytest.approx(0.05) and np.linalg.norm(np.diff(free, axis=0), axis=1).max() > 3


def test_the_cliff_shows_both_paths_and_what_became_of_them():
    ax = plots.loss_cliff(updates=120)
    free, clipped = (plots.descent((5.0, -1.8), 120, 0.5, clip) for clip in (None, 0.1))
    lines = {line.get_label().partition(":")[0]: line for line in ax.lines}
    np.testing.assert_array_equal(lines["without clipping"].get_xydata(), free)
    np.testing.assert_array_equal(lines["clipped at 0.1"].get_xydata(), clipped)
    assert lines["without clipping"].get_linestyle() == "--" != lines["clipped at 0.1"].get_linestyle()
    losses = [float(plots.loss_and_slopes(*path[-1])[0]) for path in (free, clipped)]
    assert losses[1] < losses[0] / 10
    for label, loss in zip(lines, losses):
        assert f"loss {loss:.2g} at the end" in lines[label].get_label()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.fixed_points(rs.LSTM(1, 2)), "layer is LSTM, expected RNN"),
        (lambda: plots.fixed_points(rs.RNN(1, 2, num_layers=2)), "expected one layer in one direction"),
        (
            lambda: plots.fixed_points(rs.RNN(1, 2, activation="relu")),
            "activation 'relu', expected 'tanh' or 'sigmoid'",
        ),
        (lambda: plots.fixed_points(rs.RNN(1, 3)), "layer has H=3 units, expected 1 or 2"),
        (lambda: plots.phase_portrait(rs.RNN(1, 1)), "layer has H=1 units, expected 2"),
        (
            lambda: plots.phase_portrait(rs.RNN(1, 2), starts=[0.0, 1.0]),
            r"starts has shape \(2,\), expected \(..., 2\)",
        ),
        (lambda: plots.phase_portrait(rs.RNN(1, 2), steps=0), "steps is 0"),
        (lambda: plots.descent((1.0, 2.0), 5, 0.0), "learning_rate is 0.0"),
        (lambda: plots.descent((1.0, 2.0), 5, 0.1, clip=-1.0), "clip is -1.0"),
        (lambda: plots.loss_cliff(w=(1.0, 2.0, 3.0)), r"w has shape \(3,\), expected \(2\)"),
        (lambda: plots.loss_cliff(begin=3.0), "begin"),
        (lambda: plots.loss_and_slopes(1.0, 1.0, steps=0), "steps is 0"),
    ],
)
def test_what_does_not_fit_is_named(draw, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw()
