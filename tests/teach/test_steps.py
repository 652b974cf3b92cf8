"""Errors against step size: each method's slope and floor are those that analysis gives."""

from __future__ import annotations

import numpy as np
import pytest
from small_layers import LAYERS, draw

from rnnscratch.teach import steps


@pytest.mark.parametrize("kind", sorted(set(LAYERS) - {"rnn relu"}))  # whose second derivative is a pulse
def test_errors_fall_with_the_order_of_the_method_and_rise_with_rounding(kind):
    layer = LAYERS[kind]()
    x = draw(layer)[0]
    kept = {name: array.copy() for name, array in layer.params.items()}
    sizes = [1e-2, 1e-3, 1e-5, 1e-6, 1e-12, 1e-100]
    found = steps.step_size_errors(layer, x, sizes=sizes)
    for name, array in layer.params.items():
        np.testing.assert_array_equal(array, kept[name])
    forward, central = found["forward, float64"], found["central, float64"]
    assert forward[0] / forward[1] == pytest.approx(10, rel=0.2)  # first order
    assert central[0] / central[1] == pytest.approx(100, rel=0.2)  # second order
    assert central[:5].argmin() == 2 and central[4] > 1e-6  # a valley, and rounding beyond it
    single = found["central, float32"]
    assert single[:4].min() > 1e-7 and single[3] > 1e-3
    assert found["complex step"][4:].max() < 1e-14  # no difference, so nothing is lost


def test_wrong_input_is_named():
    layer = LAYERS["gru"]()
    x = draw(layer)[0]
    with pytest.raises(ValueError, match="name is 'V', expected one of 'W_l0'"):
        steps.step_size_errors(layer, x, "V")
    with pytest.raises(ValueError, match="expected step sizes above 0"):
        steps.step_size_errors(layer, x, sizes=[0.0])
