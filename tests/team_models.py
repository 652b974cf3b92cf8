"""Models for tests of workers, in a file that another process can import."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import threadpoolctl

from rnnscratch.models import SequenceClassifier


class Line:
    """y = w . x by least squares, on batches (x (B, 3), y (B,)); every part's gradient is multiplied by 1 + `noise`
    times a number from `rng`.
    """

    def __init__(self, noise=0.0, seed=0):
        self.params, self.grads = {"w": np.zeros(3)}, {"w": np.zeros(3)}
        self.noise, self.rng = noise, np.random.default_rng(seed)

    def split(self, batch, parts):
        return [tuple(array[k::parts] for array in batch) for k in range(min(parts, len(batch[1])))]

    def weight(self, batch):
        return len(batch[1])

    def batch_loss(self, batch, train=False):
        x, y = batch
        error = x @ self.params["w"] - y
        threads = max(
            library["num_threads"]
            for library in threadpoolctl.threadpool_info()
            if "numpy" in library["filepath"]  # other tests may have loaded others, which no product here uses
        )

        def back():
            self.grads["w"][...] = 2 * x.T @ error / len(y) * (1 + self.noise * self.rng.random())

        return (error**2).mean(), back, {"threads": threads, "process": os.getpid()}


class Shapes:
    """A parameter of no, of one and of no axis with an entry; the gradient is the mean of the batch's numbers."""

    def __init__(self, dtype):
        self.params = {name: np.ones(shape, dtype) for name, shape in (("a", ()), ("b", (2, 3)), ("c", (0, 4)))}
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}

    def split(self, batch, parts):
        return [batch[k::parts] for k in range(parts)]

    def weight(self, batch):
        return len(batch)

    def batch_loss(self, batch, train=False):
        def back():
            for name, array in self.grads.items():
                array[...] = batch.mean() * self.params[name]

        return 0.0, back, {}


class Fails(Line):
    """Its worker fails at its third batch: by an error, or by the end of its process."""

    def __init__(self, how):
        super().__init__()
        self.how, self.count = how, 0

    def batch_loss(self, batch, train=False):
        self.count += train
        if multiprocessing.parent_process() is not None and self.count == 3:
            if self.how == "error":
                raise ZeroDivisionError("three is too many")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch_loss(batch, train)


class Killed(SequenceClassifier):
    """A classifier whose worker's process ends when the environment says so, at the batch with that many updates."""

    count = 0

    def batch_loss(self, batch, train=False):
        self.count += train
        if multiprocessing.parent_process() is not None and str(self.count) == os.environ.get("KILLED_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch_loss(batch, train)
