"""Hidden Markov models against hmmlearn's, in its default and in its scaling implementation.

    python -m benchmarks.hmm [--rounds 3] [--out FILE] [--quick]

Many sequences of equal and of ragged length, and one long sequence; symbols and Gaussian vectors (D=3, or 8 with full
covariances). Both libraries start from the same parameters. An EM iteration is a fit of 3 steps from given parameters
over 3 (ours evaluates the objective once more after the last step, which counts). A ratio is ours over theirs in the
same round, the median of the rounds. What would take hmmlearn more than LIMIT seconds is left out and said so.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hmmlearn
import hmmlearn.hmm as theirs
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import rnnscratch.hmm as ours
from benchmarks.report import RESULTS, interleaved, machine, ratio, write

STEPS, LIMIT, REST = 3, 5.0, 0.05
AIMS = {"em": 0.5, "em/scaling": 1.0, "viterbi": 1.0, "sample": 0.2}


class Workload(NamedTuple):
    """S sequences of T frames (ragged: of 1 to T), N states, and what is emitted."""

    kind: str
    S: int
    T: int
    N: int
    ragged: bool = False

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.kind}, {self.S} x {'up to ' if self.ragged else ''}{self.T}, N={self.N}"

    def lengths(self) -> np.ndarray:
        """(S,), not sorted."""
        if not self.ragged:
            return np.full(self.S, self.T)
        return np.random.default_rng(1).integers(1, self.T + 1, self.S)


WORKLOADS = [
    *(Workload("categorical", S, T, N) for S, T, N in ((2000, 20, 2), (2000, 20, 4), (500, 100, 4))),
    *(Workload("categorical", S, T, N) for S, T, N in ((500, 100, 8), (500, 50, 16), (100, 50, 64))),
    *(Workload("categorical", S, T, N, ragged=True) for S, T, N in ((500, 200, 4), (200, 100, 16))),
    *(Workload("gaussian diag", S, T, N) for S, T, N in ((2000, 20, 4), (500, 50, 16))),
    *(Workload("gaussian full", S, T, N) for S, T, N in ((500, 100, 4), (500, 100, 8))),
    Workload("gaussian diag", 500, 200, 4, ragged=True),
    *(Workload("categorical", 1, 100_000, N) for N in (2, 4, 8, 16, 64)),
    *(Workload("gaussian diag", 1, 100_000, N) for N in (2, 4, 8, 16)),
    Workload("gaussian full", 1, 100_000, 4),
    Workload("categorical", 1, 1_000_000, 2),
    Workload("gaussian diag", 1, 1_000_000, 4),
]
QUICK = [Workload("categorical", 200, 20, 4), Workload("gaussian diag", 50, 40, 3, ragged=True)]


def parameters(work: Workload) -> dict[str, np.ndarray]:
    """Random parameters, the same for all contestants."""
    rng, N = np.random.default_rng(0), work.N
    found = {"startprob_": rng.dirichlet(np.ones(N)), "transmat_": rng.dirichlet(np.ones(N), N) / 2 + np.eye(N) / 2}
    if work.kind == "categorical":
        return found | {"emissionprob_": rng.dirichlet(np.ones(10), N)}
    D = 8 if work.kind == "gaussian full" else 3
    found["means_"] = rng.normal(0, 2, (N, D))
    root = rng.normal(0, 0.5, (N, D, D))
    full = root @ root.swapaxes(1, 2) + np.eye(D)
    return found | {"covars_": full if work.kind == "gaussian full" else rng.uniform(0.5, 2, (N, D))}


def make(library: Any, work: Workload, **options: Any) -> Any:
    """A model of ours or theirs with these parameters, learning all of them from there."""
    options |= {"n_iter": STEPS, "tol": -np.inf, "init_params": ""}
    if work.kind == "categorical":
        model = library.CategoricalHMM(work.N, **options)
        model.n_features = 10
    else:
        kind = work.kind.split()[1]
        if library is theirs:  # plain maximum likelihood, as ours
            options |= {"covars_prior": 0.0, "covars_weight": 1.0, "min_covar": 0.0}
        model = library.GaussianHMM(work.N, covariance_type=kind, **options)
        model.n_features = parameters(work)["means_"].shape[1]
    for name, values in parameters(work).items():
        setattr(model, name, values.copy())
    return model


def fit(library: Any, work: Workload, X: np.ndarray, lengths: np.ndarray, **options: Any) -> None:
    """Three steps of EM from the given parameters."""
    make(library, work, **options).fit(X, lengths)


def measure(work: Workload, rounds: int) -> list[dict[str, Any]]:
    """One row for each task: times in seconds, and ratios."""
    lengths = work.lengths()
    X, _ = make(ours, work).sample(int(lengths.sum()), random_state=0)
    model, default = make(ours, work), make(theirs, work)
    scaling = make(theirs, work, implementation="scaling")
    tasks: dict[str, dict[str, Callable[[], Any]]] = {
        "em": {
            "ours": partial(fit, ours, work, X, lengths),
            "default": partial(fit, theirs, work, X, lengths),
            "scaling": partial(fit, theirs, work, X, lengths, implementation="scaling"),
        }
    }
    for task, call in (("score", "score"), ("posteriors", "predict_proba"), ("viterbi", "decode")):
        tasks[task] = {
            name: partial(getattr(each, call), X, lengths)
            for name, each in (("ours", model), ("default", default), ("scaling", scaling))
        }
    frames = min(len(X), 20_000)
    tasks["sample"] = {name: partial(each.sample, frames) for name, each in (("ours", model), ("default", default))}
    rows = []
    for task, contestants in tasks.items():
        row: dict[str, Any] = {"workload": work.name, "task": task, "many": work.S > 1, "N": work.N}
        left_out = {name for name in contestants if name != "ours" and too_long(name, work, task)}
        turns: dict[str, Callable[[], Any]] = {}
        for name, function in contestants.items():
            if name not in left_out:
                turns |= {f"rest before {name}": partial(time.sleep, REST), name: function}
        seconds = interleaved(turns, rounds)
        row["seconds"] = {name: statistics.median(seconds[name]) for name in contestants if name in seconds}
        row["frames"] = frames if task == "sample" else len(X)
        for name in contestants.keys() - {"ours"} - left_out:
            row[f"ours/{name}"] = ratio(seconds["ours"], seconds[name])
        row["left_out"] = sorted(left_out)
        rows.append(row)
    return rows


def too_long(implementation: str, work: Workload, task: str) -> bool:
    """Whether hmmlearn would take too long, by its measured nanoseconds per frame and square of states."""
    frames = work.S * work.T * (STEPS if task == "em" else 1)
    cost = 25e-9 if implementation == "default" else 3e-9
    return task != "sample" and frames * cost * work.N**2 > LIMIT


def show(rows: list[dict[str, Any]]) -> None:
    """The table, and what was aimed at."""
    print(f"\n{'workload':>38} {'task':>11} {'ours, s':>9} {'ns/frame':>9} {'/default':>9} {'/scaling':>9}")
    for row in rows:
        cells = [f"{row[f'ours/{k}']:9.3f}" if f"ours/{k}" in row else " left out" if k in row["left_out"] else " " * 9
                 for k in ("default", "scaling")]  # fmt: skip
        took = row["seconds"]["ours"]
        print(
            f"{row['workload']:>38} {row['task']:>11} {took:9.4f} {1e9 * took / row['frames']:9.0f} {' '.join(cells)}"
        )


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The medians, and the cases that miss their aim."""
    found = []
    for name, task, key, aim, chosen in (
        ("EM, every workload", "em", "ours/default", 0.5, lambda row: True),
        ("EM, many sequences", "em", "ours/scaling", 1.0, lambda row: row["many"]),
        (
            "Viterbi, many sequences, N <= 16",
            "viterbi",
            "ours/default",
            1.0,
            lambda row: row["many"] and row["N"] <= 16,
        ),
        ("sampling", "sample", "ours/default", 0.2, lambda row: True),
        ("score", "score", "ours/default", None, lambda row: True),
        ("posteriors", "posteriors", "ours/default", None, lambda row: True),
    ):
        cases = [row for row in rows if row["task"] == task and key in row and chosen(row)]
        if cases:
            lost = {row["workload"]: row[key] for row in cases if aim is not None and row[key] > aim}
            median = statistics.median(row[key] for row in cases)
            found.append({"name": f"{name}, {key}", "median": median, "aim": aim, "lost": lost})
    return found


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "hmm.json")
    parser.add_argument("--quick", action="store_true", help="two small workloads, no file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, expected at least 1")
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", UserWarning)
    rows: list[dict[str, Any]] = []
    with threadpool_limits(options.threads, user_api="blas"):
        for work in tqdm(QUICK if options.quick else WORKLOADS, "benchmarks"):
            rows += measure(work, options.rounds)
    show(rows)
    summary = summarize(rows)
    print("\nmedians over the workloads:")
    for line in summary:
        lost = ", ".join(f"{name}: {value:.2f}" for name, value in line["lost"].items())
        aim = (
            ""
            if line["aim"] is None
            else f"   aim {line['aim']:.2f}: {f'missed by {lost}' if lost else 'reached by all'}"
        )
        print(f"  {line['name']:<48} {line['median']:6.3f}{aim}")
    if not options.quick:
        facts = machine(options.threads) | {"hmmlearn": hmmlearn.__version__}
        write(options.out, {"machine": facts, "rounds": options.rounds, "medians": summary, "rows": rows})


if __name__ == "__main__":
    main()
