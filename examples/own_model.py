"""A model of one's own in twenty lines, trained by `rnnscratch.training`: batches, validation, best epoch, checkpoints.

python examples/own_model.py

The model says where a point of the plane lies: within a ring or not, from products of its coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rnnscratch as rs
from rnnscratch import training

Batch = tuple[np.ndarray, np.ndarray]  # points (B, 2), and 0 or 1 for each (B,)


class Ring:
    """Logistic regression on (1, x, y, x^2, x y, y^2): what `training.Trainable` asks for, and no more."""

    def __init__(self) -> None:
        self.params = {"w": np.zeros(6)}
        self.grads = {"w": np.zeros(6)}

    def batch_loss(self, batch: Batch, train: bool = False) -> tuple[Any, Callable[[], None], dict[str, Any]]:
        """The mean cross-entropy, its way back, and the accuracy."""
        points, labels = batch
        x, y = points.T
        features = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
        logits = features @ self.params["w"]
        loss, dlogits = rs.losses.binary_cross_entropy(logits, labels)

        def back() -> None:
            self.grads["w"][...] = features.T @ dlogits

        return loss, back, {"accuracy": ((logits > 0) == labels).mean()}


def draw(batches: int, rng: np.random.Generator) -> list[Batch]:
    """Batches of 50 points, of which those between two circles are 1."""
    found = []
    for _ in range(batches):
        points = rng.uniform(-2, 2, (50, 2))
        found.append((points, (np.hypot(*points.T) < 1.2).astype(float)))
    return found


def main() -> training.History:
    """Train, and print the table of epochs."""
    rng = np.random.default_rng(0)
    history = training.fit(
        Ring(), draw(40, rng), draw(10, rng), optimizer=rs.Adam(0.05), epochs=6, monitor="accuracy", progress=False
    )
    print(history)
    return history


if __name__ == "__main__":
    main()
