"""What processes of joblib gain over one: scikit-learn's grids on texts, and Baum-Welch over many sequences.

    python -m benchmarks.processes              # as many processes as cores
    python -m benchmarks.processes --rounds 3

Each workload takes turns in this process, in joblib's own processes (loky), and in those of a Dask cluster on this
machine, all warm. It pays where what is computed takes longer than sending it: two sizes of each show where that is.
Beside the time stands the work, the CPU seconds of all processes over those of the one: on a machine that does nothing
else, N processes are at most N / work times as fast as one; on a busy one it is the figure that still means something.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV

from benchmarks.report import RESULTS, interleaved, machine, ratio, write
from rnnscratch.hmm import GaussianHMM
from rnnscratch.text_classifier import TextClassifier

OPTIONS: dict[str, Any] = {"epochs": 2, "embedding_dim": 32, "hidden_size": 32, "validation_fraction": 0.0}
BACKENDS = ("loky", "dask")
GRID = {"learning_rate": [0.001, 0.01], "dropout": [0.2, 0.5]}


def grid(count: int, words: int) -> Callable[[int | None], Any]:
    """Four settings on three folds of so many texts of so many words: 12 fits."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{k}" for k in row) for row in rng.zipf(1.3, (count, words)) % 5000]
    labels = rng.integers(0, 2, count)
    clf = TextClassifier("gru", **OPTIONS)
    return lambda n_jobs: GridSearchCV(clf, GRID, cv=3, refit=False, n_jobs=n_jobs).fit(texts, labels)


def baum_welch(count: int, frames: int) -> Callable[[int | None], Any]:
    """Ten steps of EM with 8 states over so many sequences of so many frames of 4 numbers."""
    X = list(np.random.default_rng(0).standard_normal((count, frames, 4)))
    return lambda n_jobs: GaussianHMM(8, "full", n_iter=10, tol=-1.0, random_state=0, n_jobs=n_jobs).fit(X)


WORKLOADS = {
    "grid, 12 fits on 60 texts of 10 words": partial(grid, 60, 10),
    "grid, 12 fits on 600 texts of 100 words": partial(grid, 600, 100),
    "Baum-Welch, 20 sequences of 50 frames": partial(baum_welch, 20, 50),
    "Baum-Welch, 2,000 sequences of 200 frames": partial(baum_welch, 2000, 200),
}


def cpu_seconds() -> float:
    """Those that this process and all that it started have spent."""
    import psutil

    mine = psutil.Process()
    times = [each.cpu_times() for each in (mine, *mine.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def counted(function: Callable[[], Any], spent: list[float]) -> None:
    """Run, and take down the CPU seconds."""
    before = cpu_seconds()
    function()
    spent.append(cpu_seconds() - before)


def carried(run: Callable[[int | None], Any], backend: str, processes: int) -> Any:
    """Run on joblib's backend."""
    with joblib.parallel_config(backend=backend):
        return run(processes)


def main() -> None:
    """Measure every workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds, count = parser.parse_args().rounds, os.cpu_count() or 1
    from distributed import Client, LocalCluster

    rows = []
    print(
        f"{'workload':<42} {'alone, s':>9} {'loky':>6} {'dask':>6} {'work':>6} {'work':>6}   {count} processes to one"
    )
    workers = {"n_workers": count, "threads_per_worker": 1, "processes": True}
    with LocalCluster(**workers, dashboard_address=":0") as cluster, Client(cluster):
        for name, make in WORKLOADS.items():
            run = make()
            contestants: dict[str, Callable[[], Any]] = {"alone": partial(run, None)}
            contestants |= {backend: partial(carried, run, backend, count) for backend in BACKENDS}
            spent: dict[str, list[float]] = {each: [] for each in contestants}
            turns: dict[str, Callable[[], Any]] = {
                each: partial(counted, function, spent[each]) for each, function in contestants.items()
            }
            seconds = interleaved(turns, rounds)
            work = {each: statistics.median(found[1:]) for each, found in spent.items()}  # the first is a warm-up
            row = {"workload": name, "alone": statistics.median(seconds["alone"])}
            row |= {each: ratio(seconds["alone"], seconds[each]) for each in BACKENDS}
            row |= {f"work, {each}": work[each] / work["alone"] for each in BACKENDS}
            rows.append(row)
            figures = "".join(f" {value:>6.2f}" for value in list(row.values())[2:])
            print(f"{name:<42} {row['alone']:>9.3f}{figures}", flush=True)
    write(RESULTS / "processes.json", {"machine": machine(count), "rounds": rounds, "rows": rows})


if __name__ == "__main__":
    main()
