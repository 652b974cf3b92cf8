"""Does an LSTM profit from a hidden Markov model's view of its input? (the hybrid of Sengupta et al. 2023)

python examples/hmm_lstm.py            # about a minute on 2 cores

The series is made up: a hidden regime decides how strongly, and in which direction, the next value follows the last
two, and how noisy it is. The task is to predict the next value. The HMM is fitted to the training series alone, and
the LSTM gets what it knows at time t: p(regime | x_1 .. x_t), without a look ahead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

import rnnscratch as rs

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
    """What the HMM sees at time t, (count, length, 2): the value and the one before it."""
    before = np.concatenate([np.zeros((1, x.shape[1])), x[:-1]])
    return np.stack([x, before], axis=-1).swapaxes(0, 1)


def beliefs(hmm: rs.hmm.GaussianHMM, x: np.ndarray) -> np.ndarray:
    """p(state | x_1 .. x_t), (length, count, N)."""
    seen = frames(x)
    return hmm.filter(seen).reshape(*seen.shape[:2], -1).swapaxes(0, 1)


def hmm_forecast(hmm: rs.hmm.GaussianHMM, x: np.ndarray) -> np.ndarray:
    """The HMM's own forecast of x_{t+1}: each state's regression on x_t, weighted by p(state at t+1 | x_1 .. x_t)."""
    slope = hmm.covars_[:, 0, 1] / hmm.covars_[:, 1, 1]
    each = hmm.means_[:, 0] + slope * (x[:, :, None] - hmm.means_[:, 1])
    return (each * (beliefs(hmm, x) @ hmm.transmat_)).sum(axis=2)


def train_lstm(inputs: np.ndarray, target: np.ndarray, epochs: int, hidden: int, seed: int) -> rs.Sequential:
    """An LSTM and a dense layer on inputs (T, B, D), trained on the mean squared error of every step."""
    model = rs.Sequential(rs.LSTM(inputs.shape[2], hidden, seed=seed), rs.Dense(hidden, 1, seed=seed + 1))
    optimizer, rng = rs.Adam(0.01), np.random.default_rng(seed)
    for epoch in range(epochs):
        optimizer.learning_rate = 0.01 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = rng.permutation(inputs.shape[1])
        for batch in np.array_split(order, max(1, len(order) // 16)):
            y = model.forward(inputs[:, batch], train=True)
            _, dy = rs.losses.mean_squared_error(y, target[:, batch, None])
            model.backward(dy)
            rs.clip_gradients(model.grads, max_norm=1.0)
            optimizer.step(model.params, model.grads)
    return model


def compare(train_count: int, length: int, epochs: int, seed: int) -> dict[str, float]:
    """The mean squared error on the next value of held-out series, for each model."""
    rng = np.random.default_rng(seed)
    train, test = make_series(length, train_count, rng), make_series(length, 200, rng)
    hmm = rs.hmm.GaussianHMM(3, "full", n_init=3, n_iter=200, random_state=seed).fit(frames(train))

    def error(forecast: np.ndarray) -> float:
        return float(((forecast - test[1:]) ** 2).mean())

    found = {"always 0": error(np.zeros_like(test[1:])), "HMM": error(hmm_forecast(hmm, test[:-1]))}
    for name, hidden in (("LSTM", 17), ("HMM + LSTM", 16)):  # about as many parameters: 1,310 and 1,361
        parts = [[x[:-1, :, None]] for x in (train, test)]
        if name != "LSTM":
            for x, part in zip((train, test), parts):
                part.append(beliefs(hmm, x[:-1]))
        inputs = [np.concatenate(part, axis=2).astype(np.float32) for part in parts]
        model = train_lstm(inputs[0], train[1:].astype(np.float32), epochs, hidden, seed)
        found[name] = error(model.forward(inputs[1])[:, :, 0])
    return found


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, np.ndarray]]:
    """Compare on a small and on a larger training set; returns the errors of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 200], help="training series")
    parser.add_argument("--length", type=int, default=100, help="values in a series")
    parser.add_argument("--updates", type=int, default=400, help="of the LSTM's weights, for each training set")
    options = parser.parse_args(arguments)
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
        gain = results[count]["LSTM"] - results[count]["HMM + LSTM"]
        better = int((gain > 0).sum())
        verdict = "helps" if better == len(gain) else "hurts" if better == 0 else "makes no sure difference to"
        share = gain.mean() / results[count]["LSTM"].mean()
        print(f"  The HMM's view {verdict} the LSTM: error {-share:+.1%}, lower with {better} of {len(gain)} seeds.")
    return results


if __name__ == "__main__":
    main()
