"""Pictures of searches show each trial at its values, and the best of each field of a map."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch import plots

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")

RATES, CELLS, SCORES = [0.001, 0.01, 0.1], ["lstm", "gru", "lstm"], [0.5, 0.9, 0.7]


def test_parallel_coordinates_lead_every_trial_through_its_values_to_its_score():
    ax = plots.parallel_coordinates({"rate": RATES, "cell": CELLS}, SCORES, log=["rate"], label="accuracy")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["rate", "cell", "accuracy"]
    lines = {line.get_linewidth(): line for line in ax.lines}
    drawn = [line.get_ydata().tolist() for line in ax.lines if len(line.get_ydata()) == 3]
    for right in ([0.0, 0.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.0, 0.5]):
        assert any(np.allclose(line, right) for line in drawn)
    np.testing.assert_allclose(lines[2.2].get_ydata(), [0.5, 1.0, 1.0])  # the best stands out
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.001", "0.1", "lstm", "gru", "0.5", "0.9"]


def test_parallel_coordinates_on_a_plain_scale_and_of_one_value():
    ax = plots.parallel_coordinates({"rate": RATES, "same": [3, 3, 3]}, SCORES)
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 3]
    middle = next(line for line in drawn if line[2] == 1.0)
    np.testing.assert_allclose(middle, [0.009 / 0.099, 0.0, 1.0])


def test_a_map_shows_the_best_of_each_field_and_how_many_there_were():
    settings = {"rate": [0.001, 0.1, 0.1, 0.001], "cell": ["lstm", "gru", "gru", "lstm"]}
    ax = plots.score_map(settings, [0.25, 0.5, 0.75, 0.125], label="best accuracy")
    np.testing.assert_array_equal(ax.images[0].get_array().filled(-1), [[0.25, -1], [-1, 0.75]])
    assert [text.get_text() for text in ax.texts] == ["0.25\n(2)", "0.75\n(2)"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.001", "0.1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["lstm", "gru"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("rate", "cell", "best accuracy")


def test_many_values_are_cut_into_ranges_of_one_ratio_or_width():
    rates = np.geomspace(1e-4, 1e-1, 13)
    ax = plots.score_map({"rate": rates, "x": np.arange(13.0)}, np.arange(13.0), log=["rate"], bins=3)
    counts = {text.get_position(): text.get_text() for text in ax.texts}
    assert counts == {(0, 0): "3\n(4)", (1, 1): "7\n(4)", (2, 2): "12\n(5)"}
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert names == ["0.0001 to 0.001", "0.001 to 0.01", "0.01 to 0.1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0 to 4", "4 to 8", "8 to 12"]


@pytest.mark.parametrize(
    ("draw", "settings", "error", "message"),
    [
        ("parallel_coordinates", {}, TypeError, "settings is dict, expected a dict with values for at least one name"),
        ("parallel_coordinates", {"rate": [1, 2]}, ValueError, r"settings\['rate'\] has 2 values, expected 3"),
        ("parallel_coordinates", {"rate": [0, 1, 2]}, ValueError, "expected numbers above 0 for a logarithmic scale"),
        ("score_map", {"rate": RATES}, ValueError, "settings has 1 names, expected two"),
    ],
)
def test_what_does_not_fit_is_named(draw, settings, error, message):
    with pytest.raises(error, match=message):
        getattr(plots, draw)(settings, SCORES, log=["rate"])
