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
