"""The peak memory of one training step, against what the backward pass must keep.

    python -m benchmarks.memory

For each of the N real steps of all sequences the backward pass must have x (D numbers), the gates (G*H; none in a
vanilla RNN), the states (H, an LSTM 2H), and what the cell keeps besides (an LSTM's tanh(c) H, a GRU's h U_n where the
reset gate comes after: H); it must return dx (T*B*D) and the weights' gradients. All else is working memory,
which ought not to grow with T: the aim is a peak of at most 1.5 times that sum, linear in T.
"""

from __future__ import annotations

import tracemalloc

import numpy as np

from benchmarks.cells import CELLS, GATES, draw_lengths, ours
from benchmarks.report import RESULTS, machine, write

KEPT = {"rnn": 1, "lstm": 7, "gru": 4, "gru reset_after": 5}  # numbers per unit and step: gates, states and the rest
B, D, H = 64, 128, 128


def peak_bytes(cell: str, T: int, ragged: bool) -> tuple[int, int]:
    """What one forward and backward pass allocate at most, and what they must keep."""
    rng = np.random.default_rng(0)
    x, dhs = rng.standard_normal((T, B, D), dtype="f4"), rng.standard_normal((T, B, H), dtype="f4")
    lengths = draw_lengths(T, B, rng) if ragged else None
    _, both = ours(cell, x, H, dhs, lengths)
    both()
    tracemalloc.start()
    both()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    weights = GATES[cell] * H * (D + H + 1)
    if lengths is None:  # what is kept of x is x itself, which was there before
        return peak + x.nbytes, 4 * (T * B * (D + KEPT[cell] * H + D) + weights)
    N = int(lengths.sum())
    return peak, 4 * (N * (D + KEPT[cell] * H) + T * B * D + weights)


def main() -> None:
    """Measure every cell at four lengths, dense and ragged."""
    steps = (50, 100, 200, 400)
    rows = []
    print(
        f"B={B}, D={D}, H={H}, float32; peak of forward and backward, x included, over x + gates + states + kept + dx"
    )
    print(f"{'cell':>16} {'batch':>7} " + " ".join(f"{f'T={T}':>8}" for T in steps) + "   peak(400)/peak(200)")
    for cell in CELLS:
        for ragged in (False, True):
            found = [peak_bytes(cell, T, ragged) for T in steps]
            ratios = [peak / kept for peak, kept in found]
            growth = found[-1][0] / found[-2][0]
            print(
                f"{cell:>16} {'ragged' if ragged else 'dense':>7} "
                + " ".join(f"{r:8.2f}" for r in ratios)
                + f"   {growth:.2f}"
            )
            for T, (peak, kept) in zip(steps, found):
                rows.append({"cell": cell, "ragged": ragged, "T": T, "peak": peak, "kept": kept, "gates": GATES[cell]})
    write(RESULTS / "memory.json", {"machine": machine(1), "shape": {"B": B, "D": D, "H": H}, "rows": rows})


if __name__ == "__main__":
    main()
