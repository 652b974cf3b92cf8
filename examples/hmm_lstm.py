"""Does an LSTM profit from a hidden Markov model's view of its input? (the hybrid of Sengupta et al. 2023)

python examples/hmm_lstm.py            # a minute and a half, on one core

The series is made up: a hidden regime decides how strongly, and in which direction, the next value follows the last
two, and how noisy it is. The task is to predict the next value. The HMM is fitted to the training series alone, and
the LSTM gets what it knows at time t: p(regime | x_1 .. x_t), without a look ahead. Mind that the HMM alone is told
much: that there are three regimes, and that two values matter. The LSTM has to find that out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

import rnnscratch as rs
from rnnscratch import training
from rnnscratch.schedules import cosine_schedule

Batch = tuple[np.ndarray, np.ndarray]  # inputs (T, B, D) and targets (T, B, 1)
STAY = 0.97
FOLLOW = np.array([[0.9, 0.0], [-0.9, 0.0], [0.0, 0.8]])  # of each regime, on the last value and the one before
NOISE = np.array([0.3, 0.5, 1.0])


def make_series(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """x (length, count): switching autoregressions, time first."""
    K = len(NOISE)
    x, regime = np.zeros((length + 2, count)), rng.integers(0, K, count)
    for t in range(2, length + 2):
        moved = rng.random(count) > STAY
        regime = np.where(moved, (regime + rng.integers(1, K, count)) % K, regime)
        x[t] = FOLLOW[regime, 0] * x[t - 1] + FOLLOW[regime, 1] * x[t - 2] + NOISE[regime] * rng.standard_normal(count)
    return x[2:]


def frames(x: np.ndarray) -> np.ndarray:
    """What the HMM sees at time t, (count, length, 3): the value and the two before it, newest first."""
    padded = np.concatenate([np.zeros((2, x.shape[1])), x])
    return np.stack([padded[2:], padded[1:-1], padded[:-2]], axis=-1).swapaxes(0, 1)


def beliefs(hmm: rs.hmm.GaussianHMM, x: np.ndarray) -> np.ndarray:
    """p(state | x_1 .. x_t), (length, count, N)."""
    seen = frames(x)
    return hmm.filter(seen).reshape(*seen.shape[:2], -1).swapaxes(0, 1)


def hmm_forecast(hmm: rs.hmm.GaussianHMM, x: np.ndarray) -> np.ndarray:
    """The HMM's own forecast of x_{t+1}: each state's regression on x_t and x_{t-1}, weighted by its probability.

    The weights are p(state at t+1 | x_1 .. x_t); a state's regression is its Gaussian's conditional mean.
    """
    slopes = np.linalg.solve(hmm.covars_[:, 1:, 1:], hmm.covars_[:, 1:, :1])[:, :, 0]  # (N, 2)
    last_two = frames(x)[:, :, :2].swapaxes(0, 1)
    each = hmm.means_[:, 0] + ((last_two[:, :, None] - hmm.means_[:, 1:]) * slopes).sum(axis=3)
    return (each * (beliefs(hmm, x) @ hmm.transmat_)).sum(axis=2)


class Forecaster:
    """An LSTM and a dense layer, trained on the mean squared error of every step: see `training.Trainable`."""

    def __init__(self, inputs: int, hidden: int, seed: int):
        self.network = rs.Sequential(rs.LSTM(inputs, hidden, seed=seed), rs.Dense(hidden, 1, seed=seed + 1))
        self.params, self.grads = self.network.params, self.network.grads

    def batch_loss(self, batch: Batch, train: bool = False) -> tuple[Any, Callable[[], Any], dict[str, Any]]:
        """The error on inputs (T, B, D) and targets (T, B, 1), and its way back."""
        x, target = batch
        y = self.network.forward(x, train=train)
        loss, dy = rs.losses.mean_squared_error(y, target)
        return loss, lambda: self.network.backward(dy), {}


class Shuffled:
    """Some 16 series at a time, in a new order each epoch."""

    def __init__(self, data: Batch, seed: int):
        self.data, self.rng = data, np.random.default_rng(seed)

    def __len__(self) -> int:
        return max(1, self.data[0].shape[1] // 16)

    def __iter__(self) -> Iterator[Batch]:
        x, target = self.data
        for columns in np.array_split(self.rng.permutation(x.shape[1]), len(self)):
            yield x[:, columns], target[:, columns]


def train_lstm(data: dict[str, Batch], epochs: int, hidden: int, seed: int) -> rs.Sequential:
    """The network after its best epoch. data: what to "train" on, and what to "choose" the epoch by."""
    model, batches = Forecaster(data["train"][0].shape[2], hidden, seed), Shuffled(data["train"], seed)
    training.fit(
        model,
        batches,
        [data["choose"]],
        optimizer=rs.Adam(0.01),
        epochs=epochs,
        schedule=cosine_schedule(0.01, epochs * len(batches)),
        clip_norm=1.0,
        progress=False,
    )
    return model.network


def mean_squared(error: np.ndarray) -> float:
    return float(np.square(error).mean())


def compare(count: int, length: int, epochs: int, seed: int) -> dict[str, float]:
    """The mean squared error on the next value of held-out series, for each model."""
    rng = np.random.default_rng(seed)
    sizes = {"train": count, "choose": max(1, count // 4), "test": 200}
    series = {part: make_series(length, size, rng) for part, size in sizes.items()}
    # about one start in ten finds the regimes, and its likelihood tells
    hmm = rs.hmm.GaussianHMM(3, "full", n_init=30, init="random", n_iter=200, tol=0.1, random_state=seed)
    hmm.fit(frames(series["train"]))

    past, future = series["test"][:-1], series["test"][1:]
    found = {"always 0": mean_squared(future), "HMM": mean_squared(hmm_forecast(hmm, past) - future)}
    for name, hidden in (("LSTM", 17), ("HMM + LSTM", 16)):  # about as many parameters: 1,310 and 1,361
        data = {}
        for part, x in series.items():
            columns = [x[:-1, :, None]] + ([beliefs(hmm, x[:-1])] if name == "HMM + LSTM" else [])
            data[part] = np.concatenate(columns, axis=2).astype("float32"), x[1:, :, None].astype("float32")
        model = train_lstm(data, epochs, hidden, seed)
        found[name] = mean_squared(model.forward(data["test"][0]) - data["test"][1])
    return found


def in_words(hybrid: np.ndarray, alone: np.ndarray) -> str:
    """Is the error of the hybrid lower than that of one of its parts? Sure from three standard errors on."""
    change = hybrid - alone
    percent = f"{change.mean() / alone.mean():+.1%}"
    if len(change) < 3:
        return f"{percent} (too few seeds to tell)"
    deviation = change.std(ddof=1) / np.sqrt(len(change))
    sure = abs(change.mean()) > 3 * deviation
    word = ("lower" if change.mean() < 0 else "higher") if sure else "no sure difference"
    return f"{percent}, {word} ({change.mean():+.4f} ± {deviation:.4f} standard error of {len(change)} seeds)"


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, np.ndarray]]:
    """Compare on a small and on a larger training set; the errors of all seeds, for each size and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="each with series, weights and order of its own")
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 200], help="training series")
    parser.add_argument("--length", type=int, default=100, help="values in a series")
    parser.add_argument("--updates", type=int, default=400, help="of the LSTM's weights, for each training set")
    parser.add_argument("--quick", action="store_true", help="a few seconds: 2 seeds, 40 short series, 100 updates")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.counts, options.length, options.updates = 2, [40], 60, 100
    results = {}
    for count in options.counts:
        epochs = max(1, options.updates // max(1, count // 16))
        seeds = tqdm(range(options.seeds), f"{count} series", unit="seed")
        runs = [compare(count, options.length, epochs, seed) for seed in seeds]
        results[count] = {name: np.array([run[name] for run in runs]) for name in runs[0]}
        print(f"\ntrained on {count} series of {options.length}: mean squared error of the next value, held-out series")
        for name, errors in results[count].items():
            spread = f" ± {errors.std(ddof=1):.4f}" if len(errors) > 1 else ""
            print(f"  {name:>12}  {errors.mean():.4f}{spread}")
        for part in ("LSTM", "HMM"):
            answer = in_words(results[count]["HMM + LSTM"], results[count][part])
            print(f"  The hybrid's error against the {part}'s: {answer}")
    return results


if __name__ == "__main__":
    main()
