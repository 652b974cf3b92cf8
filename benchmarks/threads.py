"""Whole training steps with one BLAS thread, with all, and with workers, on a quiet machine and on a busy one.

    python -m benchmarks.threads

A bidirectional LSTM classifier with mean pooling, B=64, 60 steps of equal length, no dropout. Busy: as many endless
loops as there are cores. Few hidden units gain little from more threads and lose much while others run; `backend.SMALL`
says up to where the library takes one. Workers are as many processes as cores, with one thread each.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import rnnscratch as rs
from benchmarks.report import RESULTS, machine, write
from rnnscratch.text.batches import Batch
from rnnscratch.workers import Team

T, B, SIZES, ROUNDS = 60, 64, (32, 48, 64, 128, 256, 512), 5


def spin() -> None:
    """Keep one core busy."""
    while True:
        pass


def tokens_per_second(H: int, threads: int, workers: int = 1) -> float:
    """The median over the rounds."""
    model = rs.SequenceClassifier(5000, 64, H, bidirectional=True, pooling="mean", seed=0)
    optimizer, rng = rs.Adam(), np.random.default_rng(0)
    batch = Batch(rng.integers(0, 5000, (T, B)), np.full(B, T), rng.integers(0, 2, B), np.arange(B))
    found = []
    with Team(model, workers) as team, threadpool_limits(threads, user_api="blas"):
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            team.gradient(batch)
            optimizer.step(model.params, model.grads)
            found.append(T * B / (time.perf_counter() - start))
    return statistics.median(found[1:])


def main() -> None:
    """Measure every size, quiet and busy."""
    cores, rows = os.cpu_count() or 1, []
    print(f"{'H':>5} {'machine':>8} {'1 thread':>10} {f'{cores} threads':>10} {f'{cores} workers':>10}   tokens/s")
    for state in ("quiet", "busy"):
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(cores if state == "busy" else 0)]
        for other in others:
            other.start()
        try:
            for H in SIZES:
                row: dict[str, Any] = {"H": H, "machine": state}
                row |= {"one": tokens_per_second(H, 1), "all": tokens_per_second(H, cores)}
                row["workers"] = tokens_per_second(H, 1, cores)
                rows.append(row)
                speeds = "".join(f" {row[name]:>10,.0f}" for name in ("one", "all", "workers"))
                print(f"{H:>5} {state:>8}{speeds}", flush=True)
        finally:
            for other in others:
                other.kill()
    write(RESULTS / "threads.json", {"machine": machine(cores), "shape": {"T": T, "B": B}, "rows": rows})


if __name__ == "__main__":
    main()
