"""The occasionally dishonest casino (Durbin et al. 1998): which rolls came from the loaded die?

python examples/casino.py            # prints the figures, writes the pictures to runs/casino
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rnnscratch as rs
from rnnscratch.files import atomic_write

NAMES = ("fair", "loaded")


def casino() -> rs.hmm.CategoricalHMM:
    """The fair die shows all faces alike, the loaded one a six half of the time; they are swapped now and then."""
    model = rs.hmm.CategoricalHMM(n_components=2)
    model.startprob_ = np.array([2 / 3, 1 / 3])
    model.transmat_ = np.array([[0.95, 0.05], [0.10, 0.90]])
    model.emissionprob_ = np.array([[1 / 6] * 6, [0.1] * 5 + [0.5]])
    return model


def learn(sequences: Sequence[np.ndarray], starts: int, seed: int) -> tuple[rs.hmm.CategoricalHMM, list[list[float]]]:
    """Baum-Welch from several random starts: the best model, its states in the casino's order, and all histories."""
    models = [
        rs.hmm.CategoricalHMM(2, n_features=6, random_state=seed + k, init="random", n_iter=500).fit(sequences)
        for k in range(starts)
    ]
    best = max(models, key=lambda model: model.monitor_.history[-1])
    order = best.emissionprob_[:, 5].argsort()  # the loaded die is the one with more sixes
    best.startprob_, best.emissionprob_ = best.startprob_[order], best.emissionprob_[order]
    best.transmat_ = best.transmat_[order][:, order]
    return best, [model.monitor_.history for model in models]


def main(arguments: Sequence[str] | None = None) -> rs.hmm.CategoricalHMM:
    """Roll, decode, learn, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/casino"), help="folder for the pictures")
    parser.add_argument("--sequences", type=int, default=100, help="sequences of 300 rolls to learn from")
    parser.add_argument("--starts", type=int, default=5, help="random starts of Baum-Welch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    truth = casino()
    rng = np.random.default_rng(options.seed)
    rolls, dice = truth.sample(300, random_state=rng)
    log_probability, path = truth.decode(rolls)
    posterior = truth.predict_proba(rolls)
    best_guess = posterior.argmax(axis=1)
    print("300 rolls, decoded with the true model:")
    print(f"  Viterbi, the one most probable path:       {(path == dice).mean():.1%} of the dice right", end="")
    print(f", log p(path, rolls) {log_probability:.1f}")
    print(f"  posterior, each roll's most probable die:  {(best_guess == dice).mean():.1%} of the dice right", end="")
    print(f", log p(path, rolls) {truth.decode(rolls, algorithm='map')[0]:.1f}")

    sequences = [truth.sample(300, random_state=rng)[0] for _ in range(options.sequences)]
    learned, histories = learn(sequences, options.starts, options.seed)
    print(f"\nlearned by Baum-Welch from {len(sequences)} sequences, without knowing the dice:")
    print(f"{'':>24} {'true':>8} {'learned':>8}")
    for i, name in enumerate(NAMES):
        print(f"{name + ' die is swapped':>24} {truth.transmat_[i, 1 - i]:8.3f} {learned.transmat_[i, 1 - i]:8.3f}")
        print(f"{name + ' die shows a six':>24} {truth.emissionprob_[i, 5]:8.3f} {learned.emissionprob_[i, 5]:8.3f}")
    found, given = learned.score(sequences), truth.score(sequences)
    print(f"{'log-likelihood':>24} {given:8.0f} {found:8.0f}   after {learned.monitor_.iter} steps")

    strips = {"true dice": dice, "Viterbi": path, "posterior": best_guess}
    pictures = {
        "strips": rs.plots.state_strips(strips, NAMES),
        "posterior": rs.plots.state_posteriors(posterior, NAMES),
        "learning": rs.plots.em_objective(histories),
        "transitions": rs.plots.transitions(learned.transmat_, NAMES),
    }
    for name, ax in pictures.items():
        with atomic_write(options.out / f"{name}.png", "wb") as file:
            file.write(rs.plots.to_png(ax))
    print(f"\npictures: {', '.join(str(options.out / f'{name}.png') for name in pictures)}")
    return learned


if __name__ == "__main__":
    main()
