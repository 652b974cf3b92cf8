"""What a checkpoint can hold; that a run goes on to the same bits is in test_training.py."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rnnscratch import checkpoints, files
from rnnscratch.optimizers import SGD
from rnnscratch.training import fit


class Line:
    """A user's own model, of two numbers."""

    def __init__(self, rng=None, config=None):
        self.params, self.grads = {"w": np.zeros(2)}, {"w": np.zeros(2)}
        self.rng, self.config = rng, lambda: config

    def batch_loss(self, batch, train=False):
        def back():
            self.grads["w"][...] = self.params["w"] - batch

        return ((self.params["w"] - batch) ** 2).sum() / 2, back, {}


@pytest.mark.parametrize(("kind", "index"), [(np.random.MT19937, "pos"), (np.random.Philox, "buffer_pos")])
def test_a_generator_is_not_put_where_it_would_read_past_its_numbers(kind, index):
    rng = np.random.Generator(kind(0))
    state = files.as_json(rng.bit_generator.state)
    checkpoints.check_generator(rng, state)
    holder = state["state"] if index in state["state"] else state
    for wrong in (10**6, -1):
        holder[index] = wrong
        with pytest.raises(ValueError, match="generator's"):
            checkpoints.check_generator(rng, state)


@pytest.mark.parametrize("rng", [np.random.RandomState(0), random.Random(0), 0])
def test_a_generator_whose_state_would_be_lost_is_refused_before_the_work(rng, tmp_path):
    model = Line(rng)
    with pytest.raises(TypeError, match=r"rng is a .*, expected a numpy\.random\.Generator"):
        fit(model, [np.ones(2)], optimizer=SGD(0.1), epochs=1, checkpoint=tmp_path / "run.npz", progress=False)
    assert not model.params["w"].any() and not list(tmp_path.iterdir())


def test_a_configuration_that_no_file_can_hold_is_named_before_the_work(tmp_path):
    model = Line(config={"activation": np.tanh})
    with pytest.raises(TypeError, match="model: .*cannot be written as JSON, as a checkpoint needs"):
        fit(model, [np.ones(2)], optimizer=SGD(0.1), epochs=1, checkpoint=tmp_path / "run.npz", progress=False)
    assert not model.params["w"].any() and not list(tmp_path.iterdir())
