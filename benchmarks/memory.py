"""The peak memory of one training step, against what the backward pass must keep.

    python -m benchmarks.memory

For each of the N real steps of all sequences the backward pass must have x (D numbers), the gates (G*H; none in a
vanilla RNN), the states (H, an LSTM 2H), and what the cell keeps besides (an LSTM's tanh(c) H, a GRU's h U_n where the
reset gate comes after: H); it must return dx (T*B*D) and the weights' gradients. All else is working memory, which
ought not to grow with T: the aim is a peak of at most 1.5 times that sum, linear in T.

Forward's outputs hs stay alive until the backward pass is done, as in training. Of equal lengths they are a view of the
states; of ragged ones they are padded with zeros, T*B*H numbers which the sum leaves out: the rows "+ hs" count them.
Seen are NumPy's allocations (tracemalloc), not the buffers inside the BLAS.
"""

from __future__ import annotations

import argparse
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import CELLS, GATES, ours, verdict
from benchmarks.report import RESULTS, draw_lengths, machine, write

KEPT = {"rnn": 1, "lstm": 7, "gru": 4, "gru reset_after": 5}  # numbers per unit and step: gates, states and the rest
B, D, H = 64, 128, 128
STEPS = (50, 100, 200, 400)
GOAL = 1.5


def measure(cell: str, T: int, ragged: bool) -> dict[str, Any]:
    """What one forward and backward pass allocate at most, what they must keep, and the padded hs; in bytes."""
    rng = np.random.default_rng(0)
    x, dhs = rng.standard_normal((T, B, D), dtype="f4"), rng.standard_normal((T, B, H), dtype="f4")
    lengths = draw_lengths(T, B, np.random.default_rng(1)) if ragged else None
    N = T * B if lengths is None else int(lengths.sum())
    _, both = ours(cell, x, H, dhs, lengths)
    both()
    tracemalloc.start()
    both()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if lengths is None:  # what is kept of x is x itself, which was there before
        peak += x.nbytes
    kept = x.itemsize * (N * (D + KEPT[cell] * H) + T * B * D + GATES[cell] * H * (D + H + 1))
    return {"cell": cell, "ragged": ragged, "T": T, "peak": peak, "kept": kept, "hs": dhs.nbytes if ragged else 0}


def summarize(rows: list[dict[str, Any]], count_hs: bool) -> dict[str, Any]:
    """Of one cell at all T: the ratios, the growth from each T to the next, and R^2 of a straight line."""
    peaks = [row["peak"] for row in rows]
    return {
        "batch": "dense" if not rows[0]["ragged"] else "ragged + hs" if count_hs else "ragged",
        "ratios": [row["peak"] / (row["kept"] + count_hs * row["hs"]) for row in rows],
        "growth": [after / before for before, after in zip(peaks, peaks[1:])],
        "r_squared": float(np.corrcoef(STEPS, peaks)[0, 1] ** 2),
    }


def main() -> None:
    """Measure every cell at four lengths, dense and ragged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    options = parser.parse_args()
    print(f"B={B}, D={D}, H={H}, float32; peak of forward and backward, x included, over")
    print("N (D x + G*H gates + H or 2H states + what the cell keeps) + T*B*D dx + the weights' gradients")
    heads = [*(f"T={T}" for T in STEPS), *(f"{a}->{b}" for a, b in zip(STEPS, STEPS[1:])), "R^2"]
    print(f"{'cell':>16} {'batch':>12}" + "".join(f"{head:>9}" for head in heads))
    rows, summaries = [], []
    for cell in CELLS:
        for ragged, count_hs in ((False, False), (True, False), (True, True)):
            if not count_hs:
                found = [measure(cell, T, ragged) for T in STEPS]
                rows += found
            line = {"cell": cell} | summarize(found, count_hs)
            summaries.append(line)
            figures = [f"{value:.2f}" for value in line["ratios"] + line["growth"]] + [f"{line['r_squared']:.5f}"]
            outcome = verdict(max(line["ratios"]), GOAL)
            print(f"{cell:>16} {line['batch']:>12}" + "".join(f"{text:>9}" for text in figures) + f"   {outcome}")
    content = {"machine": machine(1), "shape": {"B": B, "D": D, "H": H}, "aim": GOAL}
    write(options.out, content | {"summaries": summaries, "rows": rows})


if __name__ == "__main__":
    main()
