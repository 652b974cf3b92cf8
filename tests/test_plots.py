"""The pictures hold the numbers they are given, with labels and units, without a display."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch import plots

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")


def test_training_curves_draw_the_mean_and_the_band_of_seeds():
    ax = plots.training_curves({"LSTM": [[3.0, 2.0, 1.0], [5.0, 4.0, 1.0]], "GRU": [[1.0, 1.0]]}, "loss")
    assert [line.get_label() for line in ax.lines] == ["LSTM", "GRU"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [4.0, 3.0, 1.0])
    assert len(ax.collections) == 1 and (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_a_confusion_matrix_shows_its_counts():
    ax = plots.confusion(np.array([[90, 10], [2000, 0]]), ("negative", "positive"), "LSTM")
    assert [text.get_text() for text in ax.texts] == ["90\n90.0%", "10\n10.0%", "2,000\n100.0%", "0\n0.0%"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("predicted", "true", "LSTM")


def test_gradients_are_drawn_relative_to_lag_0_on_a_logarithmic_scale():
    ax = plots.gradient_by_lag({"vanilla RNN": np.array([4.0, 2.0, 0.0])})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.0, 0.5, 1e-30])
    assert ax.get_yscale() == "log" and "relative to lag 0" in ax.get_ylabel()


def test_groups_and_costs():
    ax = plots.accuracy_by_group({"GRU": [0.5, 1.0]}, ["1–9", "10–99"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [50.0, 100.0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1–9", "10–99"]
    rows = [
        {"model": "GRU", "accuracy": 0.8, "train_seconds": 10.0},
        {"model": "LSTM", "accuracy": 0.9, "train_seconds": 20.0},
    ]
    ax = plots.accuracy_against_time(rows)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[10.0, 80.0]], [[20.0, 90.0]]]


def test_a_given_axes_is_used_and_a_model_looks_the_same_in_every_picture():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plots.training_curves({"LSTM": [[1.0, 2.0]]}, ax=ax) is ax
    other = plots.gradient_by_lag({"GRU": np.ones(3), "LSTM": np.ones(3)})
    assert ax.lines[0].get_color() == other.lines[1].get_color() != other.lines[0].get_color()


def test_to_png_gives_a_picture():
    assert plots.to_png(plots.training_curves({"LSTM": [[1.0, 2.0]]})).startswith(b"\x89PNG\r\n")
