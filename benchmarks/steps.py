"""One step at a time (`layer.step`) against a step inside a whole sequence that keeps nothing; the aim is 1.5.

So are the steps of an encoder-decoder's decoder, with its embedding, attention and output, which looks at 20 steps.

python -m benchmarks.steps
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import rnnscratch as rs
from benchmarks.cells import verdict
from benchmarks.report import RESULTS, machine, write
from rnnscratch.backend import blas_threads

T, H, GOAL, ROUNDS = 100, 128, 1.5, 30
S, V = 20, 60  # steps of a source, and words, of the encoder-decoder


def of_layer(kind: Any, B: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """All steps of a layer at once, and one by one."""
    layer = kind(H, H, seed=0)
    x = np.random.default_rng(0).standard_normal((T, B, H), dtype="f4")

    def one_by_one() -> None:
        state = None
        for x_t in x:
            _, state = layer.step(x_t, state)

    return lambda: layer.call(x, keep=False), one_by_one


def of_decoder(attention: str | None, B: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """All steps of a decoder at once, the source being read before, and one by one."""
    model = rs.Seq2Seq(V, V, H, H, attention=attention, seed=0)
    rng = np.random.default_rng(0)
    source, target = rng.integers(3, V, (S, B)), rng.integers(3, V, (T, B))
    packed = model._packed("source", source, None, V)
    encoded = model._encode(packed, False, False)
    remembered = model._remember(encoded[0][0], packed.plan)
    model._encode = lambda *_: encoded  # type: ignore[method-assign]

    def one_by_one() -> None:
        state = encoded[0][1]
        for ids in target:
            _, state, _ = model._step(ids, state, remembered)

    return lambda: model.call(source, None, target, None, keep=False), one_by_one


def measure(name: str, ways: tuple[Callable[[], Any], Callable[[], Any]], B: int) -> dict[str, Any]:
    """Microseconds of a step in both ways, and the median over the rounds of their ratio."""
    whole: list[float] = []
    single: list[float] = []
    for _ in range(ROUNDS):
        for way, times in zip(ways, (whole, single)):
            start = time.perf_counter()
            way()
            times.append((time.perf_counter() - start) / T * 1e6)
    ratio = statistics.median(a / b for a, b in zip(single, whole))
    row = {"cell": name, "B": B, "in a sequence": statistics.median(whole), "alone": statistics.median(single)}
    return row | {"ratio": ratio}


def main() -> None:
    """Measure every cell, and the LSTM as a decoder, for one sequence and for 32."""
    rows = []
    print(f"{'cell':>18} {'B':>4} {'in a sequence, us':>18} {'alone, us':>10} {'ratio':>6}")
    kinds = {"rnn": rs.RNN, "lstm": rs.LSTM, "gru": rs.GRU, "peephole": rs.PeepholeLSTM, "layer_norm": rs.LayerNormLSTM}
    makers: dict[str, Any] = {name: partial(of_layer, kind) for name, kind in kinds.items()}
    makers |= {f"decoder, {kind or 'none'}": partial(of_decoder, kind) for kind in (None, "dot", "additive")}
    with blas_threads({"U": np.zeros((1, 1))}):
        for name, make in makers.items():
            for B in (1, 32):
                row = measure(name, make(B), B)
                rows.append(row)
                times = f"{row['in a sequence']:18.1f} {row['alone']:10.1f} {row['ratio']:6.2f}"
                print(f"{name:>18} {B:>4} {times}   {verdict(row['ratio'], GOAL)}")
    write(RESULTS / "steps.json", {"machine": machine(1), "shape": {"T": T, "D": H, "H": H}, "aim": GOAL, "rows": rows})


if __name__ == "__main__":
    main()
