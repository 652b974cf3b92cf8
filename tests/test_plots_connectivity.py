"""What earlier words still decide, as a page with its own script and as a picture."""

from __future__ import annotations

import re

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import plots
from rnnscratch.teach import flow

pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")

WORDS = ["not", "a", "<good>"]
MATRIX = [[2.0, 9.0, 9.0], [1.0, 4.0, 9.0], [0.0, 5.0, 2.5]]


def test_each_word_carries_the_shares_of_its_row():
    html = plots.connectivity(WORDS, MATRIX)
    assert re.findall(r'data-row="([^"]*)"', html) == ["1", "0.25 1", "0 1 0.5"]
    assert "&lt;good&gt;" in html and "<good>" not in html


def test_without_a_script_the_last_words_row_stands_there():
    html = plots.connectivity(WORDS, MATRIX)
    assert re.findall(r"<small style=[^>]*>([\d.]+)</small>", html) == ["0.00", "1.00", "0.50"]
    assert re.findall(r"background: rgba\(230,159,0,([\d.]+)\)\"", html) == ["0", "1", "0.5"]


def test_nothing_is_loaded_and_the_keyboard_reaches_every_word():
    html = plots.connectivity(WORDS, MATRIX)
    assert not re.search(r"http|<script|<link|src=", html)
    assert html.count('tabindex="0"') == html.count("onfocus=") == html.count("onmouseover=") == 3


def test_the_picture_is_the_triangle_with_each_rows_largest_at_one():
    from matplotlib.figure import Figure

    given = Figure().add_subplot()
    ax = plots.connectivity(WORDS, MATRIX, ax=given)
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.filled(np.nan), [[1, np.nan, np.nan], [0.25, 1, np.nan], [0, 1, 0.5]])
    assert ax is given and [label.get_text() for label in ax.get_yticklabels()] == WORDS


def test_it_takes_what_flow_gives():
    x = np.random.default_rng(0).normal(size=(4, 1, 2))
    values = flow.singular_values(rs.GRU(2, 3, dtype="float64", seed=0), x)[1:, 1:, 0]
    rows = re.findall(r'data-row="([^"]*)"', plots.connectivity(list("abcd"), values))
    share = values[3, :4] / values[3, :4].max()
    assert rows[3] == " ".join(f"{value:.3g}" for value in share)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ones((2, 3)), r"matrix has shape \(2, 3\), expected \(3, 3\)"),
        (-np.ones((3, 3)), "is -1.0, expected a finite number of at least 0"),
        (np.full((3, 3), np.inf), "is inf, expected a finite number"),
    ],
)
def test_what_does_not_fit_is_named(matrix, words):
    with pytest.raises(ValueError, match=words):
        plots.connectivity(WORDS, matrix)
    with pytest.raises(TypeError, match="words is one string"):
        plots.connectivity("not a good", MATRIX)
