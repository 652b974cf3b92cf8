"""Learning-rate schedules, from the number of the update to the rate, and a factor that falls when a loss stalls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .checks import check_number

Schedule = Callable[[int], float]


def step_schedule(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """The learning rate times `factor` after every `every` steps."""
    check_number("learning_rate", learning_rate, above=0.0)
    check_number("factor", factor, above=0.0)
    check_number("every", every, least=1)
    return lambda step: learning_rate * factor ** (step // every)


def cosine_schedule(learning_rate: float, steps: int, final: float = 0.0) -> Schedule:
    """From `learning_rate` down to `final` along half a cosine over `steps` steps, and `final` after (SGDR, 2017)."""
    check_number("learning_rate", learning_rate, above=0.0)
    check_number("final", final, least=0.0)
    check_number("steps", steps, least=1)
    return lambda step: final + (learning_rate - final) * 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Linearly up to `schedule` over the first `steps` steps, then `schedule` itself.

    >>> rate = warm_up(cosine_schedule(0.1, steps=100), steps=10)
    >>> [round(rate(step), 4) for step in (0, 50, 100)]
    [0.01, 0.05, 0.0]
    """
    if not callable(schedule):
        raise TypeError(f"schedule is {schedule!r}, expected a function from the step's number to the learning rate")
    check_number("steps", steps, least=1)
    return lambda step: schedule(step) * min((step + 1) / steps, 1.0)


class Plateau:
    """Multiplies the learning rate by `factor` when a loss has not improved for more than `patience` epochs.

    An improvement is a fall by more than the relative `threshold`; NaN is none. `update(loss)` returns the factor
    reached so far. For a score that should rise, pass minus the score.
    """

    def __init__(self, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4):
        self.factor = check_number("factor", factor, above=0.0, below=1.0)
        self.patience = int(check_number("patience", patience, least=0))
        self.threshold = check_number("threshold", threshold, least=0.0)
        self.best, self.waited, self.scale = math.inf, 0, 1.0

    def update(self, loss: float) -> float:
        """Take note of one epoch's loss."""
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        if loss < self.best - margin:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.waited, self.scale = 0, self.scale * self.factor
        return self.scale

    def state_dict(self) -> dict[str, float]:
        """What must be saved for a run to continue."""
        return {"best": self.best, "waited": self.waited, "scale": self.scale}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from what `state_dict` returned."""
        self.best, self.waited, self.scale = float(state["best"]), int(state["waited"]), float(state["scale"])
