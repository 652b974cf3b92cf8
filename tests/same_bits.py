"""The parameters of a model, to the bit."""

from __future__ import annotations

import numpy as np


def bits(model):
    return {name: array.copy() for name, array in model.params.items()}


def assert_same_bits(found, right):
    assert found.keys() == right.keys()
    for name, array in right.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
