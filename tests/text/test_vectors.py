"""Neighbours and principal components of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch import text


def test_principal_components_keep_distances_and_order_variance():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 3)) * [1.0, 5.0, 0.2] + 7
    points, shares = text.principal_components(vectors, 3)
    distances = [np.linalg.norm(v[:, None] - v, axis=2) for v in (points, vectors)]
    np.testing.assert_allclose(*distances, atol=1e-12)
    assert shares.sum() == pytest.approx(1) and (np.diff(shares) < 0).all()
    np.testing.assert_allclose(points.var(axis=0) / vectors.var(axis=0).sum(), shares)


def test_the_nearest_are_those_of_the_largest_cosine():
    vectors = np.array([[1.0, 0.0], [5.0, 0.5], [0.0, 2.0], [0.1, 1.0], [-1.0, 0.0]])
    assert text.nearest(vectors, 0, 2).tolist() == [1, 3]
    assert text.nearest(vectors, 2, 9).tolist() == [3, 1, 0, 4]


def test_vectors_that_do_not_differ_have_no_shares_and_no_nan():
    points, shares = text.principal_components(np.ones((3, 2)))
    assert not points.any() and shares.tolist() == [0.0, 0.0]
    assert text.nearest(np.zeros((3, 2)), 1).tolist() == [0, 2]


def test_vectors_come_from_any_table_and_wrong_ones_are_named():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    frame = pandas.DataFrame([[1.0, 0.0], [5.0, 0.5], [0.0, 2.0]], index=[2, 1, 0])
    assert text.nearest(frame, 0).tolist() == text.nearest(frame.to_numpy().tolist(), 0).tolist() == [1, 2]
    for call, message in (
        (lambda: text.nearest(frame, 3), "index is 3, expected 0 to 2"),
        (lambda: text.nearest(frame, "a"), "index is 'a', expected a whole number"),
        (lambda: text.nearest(frame, 0, 0), "count is 0, expected at least 1"),
        (lambda: text.nearest([1.0, 2.0], 0), r"vectors has shape \(2,\)"),
        (lambda: text.principal_components([[np.nan, 1.0]]), r"vectors\[0, 0\] is nan"),
        (lambda: text.principal_components({"a": [1.0]}), "vectors is dict"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
