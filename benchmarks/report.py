"""What all benchmarks share: fair rounds, the machine's facts, and the JSON file."""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from rnnscratch.files import atomic_write

RESULTS = Path(__file__).parent / "results"


def draw_lengths(T: int, B: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths (B,) like those of reviews: many short, some as long as T, 0.55 T on average; decreasing."""
    lengths = np.clip(rng.lognormal(np.log(0.5 * T), 0.6, B).astype(int), 1, T)
    lengths[0] = T
    return np.sort(lengths)[::-1]


def interleaved(contestants: dict[str, Callable[[], Any]], rounds: int, budget: float = 0.25) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; all take turns, so that what disturbs the machine disturbs all.

    One that takes less than `budget` seconds runs several times in its turn, of which the mean counts.
    """
    repeats = {}
    for name, function in contestants.items():
        function()  # warm up
        start = time.perf_counter()
        function()
        repeats[name] = max(1, min(20, round(budget / (time.perf_counter() - start) / len(contestants))))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    gc.disable()
    try:
        for _ in range(rounds):
            for name, function in contestants.items():
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    function()
                seconds[name].append((time.perf_counter() - start) / repeats[name])
            gc.collect()
    finally:
        gc.enable()
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over the rounds of one contestant's time to another's in the same round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator))


def machine(threads: int) -> dict[str, Any]:
    """What a figure depends on: processor, cores, threads, versions, the kernel that BLAS runs, date."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    facts: dict[str, Any] = {"cpu": model, "cores": os.cpu_count(), "threads": threads}
    facts |= {"python": platform.python_version(), "numpy": np.__version__, "date": datetime.date.today().isoformat()}
    facts["blas"] = [
        f"{lib['internal_api']} {lib['version']}, {lib.get('architecture', 'kernel unknown')}"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    ]
    held_back = {name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ}
    if held_back:
        named = ", ".join(f"{name}={value}" for name, value in held_back.items())
        print(f"WARNING: {named} holds NumPy's BLAS back, so these figures are not its own: unset it", file=sys.stderr)
        facts["held back by"] = held_back
    try:
        import torch
    except ImportError:
        return facts
    return facts | {"torch": torch.__version__}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the figures as JSON, whole or not at all."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=1)
    print(f"written to {path}")
