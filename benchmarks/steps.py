"""One step at a time (`layer.step`) against a step inside a whole sequence that keeps nothing; the aim is 1.5.

python -m benchmarks.steps
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import rnnscratch as rs
from benchmarks.cells import verdict
from benchmarks.report import RESULTS, machine, write
from rnnscratch.backend import blas_threads

T, H, GOAL, ROUNDS = 100, 128, 1.5, 30


def measure(name: str, layer: Any, B: int) -> dict[str, Any]:
    """Microseconds of a step in both ways, and the median over the rounds of their ratio."""
    x = np.random.default_rng(0).standard_normal((T, B, H), dtype="f4")
    whole, single = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        layer.call(x, keep=False)
        whole.append((time.perf_counter() - start) / T * 1e6)
        state = None
        start = time.perf_counter()
        for x_t in x:
            _, state = layer.step(x_t, state)
        single.append((time.perf_counter() - start) / T * 1e6)
    ratio = statistics.median(a / b for a, b in zip(single, whole))
    row = {"cell": name, "B": B, "in a sequence": statistics.median(whole), "alone": statistics.median(single)}
    return row | {"ratio": ratio}


def main() -> None:
    """Measure every cell for one sequence and for 32."""
    rows = []
    print(f"{'cell':>16} {'B':>4} {'in a sequence, us':>18} {'alone, us':>10} {'ratio':>6}")
    kinds = {"rnn": rs.RNN, "lstm": rs.LSTM, "gru": rs.GRU, "peephole": rs.PeepholeLSTM, "layer_norm": rs.LayerNormLSTM}
    with blas_threads({"U": np.zeros((1, 1))}):
        for name, kind in kinds.items():
            layer: Any = kind(H, H, seed=0)
            for B in (1, 32):
                row = measure(name, layer, B)
                rows.append(row)
                times = f"{row['in a sequence']:18.1f} {row['alone']:10.1f} {row['ratio']:6.2f}"
                print(f"{name:>16} {B:>4} {times}   {verdict(row['ratio'], GOAL)}")
    write(RESULTS / "steps.json", {"machine": machine(1), "shape": {"T": T, "D": H, "H": H}, "aim": GOAL, "rows": rows})


if __name__ == "__main__":
    main()
