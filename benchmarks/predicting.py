"""Texts a second of `rnnscratch predict`, stage by stage, in seconds of processor time for each stage, and as a whole.

    python -m benchmarks.predicting --data aclImdb_v1.tar.gz

A GRU of 32 units in one direction on vectors of 32 numbers, and that of the main job, 48 units in both directions on
vectors of 128, both with mean and max pooling, 20,000 words, and the last 400 words of real reviews. Weights are drawn
by chance: they take no part in the time. "Plain" stages are what the quick ones are measured against: words of each
text cleaned and looked up one by one, and x W for each word of a text, and their ratios are of the same round. The
whole is the command on a file, from its start to its end; with two processes its time on the clock follows what else
the machine does, and its processor time is of all of them.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import rnnscratch as rs
from benchmarks.report import machine
from rnnscratch.models.saved import save_model
from rnnscratch.predicting import PART
from rnnscratch.text import Vocabulary, clean_texts, load_imdb
from rnnscratch.text.encoder import Encoder
from rnnscratch.text.tables import read_rows
from rnnscratch.training import predict

MODELS: dict[str, dict[str, Any]] = {
    "small GRU": {"embedding_dim": 32, "hidden_size": 32},
    "main job's GRU": {"embedding_dim": 128, "hidden_size": 48, "bidirectional": True},
}
LENGTH, RECIPE = 400, "default"


def measure(stages: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of each stage in each round; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, stage in stages.items():
            start = time.process_time()
            stage()
            seconds[name].append(time.process_time() - start)
    return seconds


def show(name: str, seconds: list[float], count: int, plain: list[float] | None = None) -> None:
    """A line: the best round, and the median ratio to the plain stage."""
    ratio = f"{statistics.median(a / b for a, b in zip(seconds, plain)):10.2f}" if plain else ""
    print(f"{name:<48}{min(seconds):9.2f}{count / min(seconds):12,.0f}{ratio}", flush=True)


def in_parts(texts: list[Any], function: Callable[[list[Any]], Any]) -> None:
    """What the command does: so many texts at a time."""
    for first in range(0, len(texts), PART):
        function(texts[first : first + PART])


def network(model: Any, ids: list[Any]) -> None:
    """The network's part."""
    in_parts(ids, lambda part: predict(model, part, max_length=LENGTH))


def without_products(model: Any, ids: list[Any]) -> None:
    """The same, x W being computed for each word of a text."""
    with mock.patch("rnnscratch.models.classifier.PRODUCTS", 0):
        network(model, ids)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="aclImdb folder or .tar.gz; else where load_imdb finds it")
    parser.add_argument("--texts", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    data = load_imdb(options.data)
    texts = data.test.texts[:: max(1, len(data.test) // options.texts)][: options.texts]
    vocabulary = Vocabulary.build(clean_texts(data.train.texts, RECIPE), min_count=2, max_size=20_000)
    ids = Encoder(vocabulary, RECIPE)(texts)
    count, used = len(texts), sum(min(len(each), LENGTH) for each in ids)
    print(machine(1))
    print(f"{count:,} reviews of {sum(map(len, ids)) / count:.0f} words, {used / count:.0f} of them read\n")
    print(f"{'stage':<48}{'s CPU':>9}{'texts/s':>12}{'to plain':>10}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reviews.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["text"], *([text] for text in texts)])
        found = measure(
            {
                "reading": lambda: [row.text for row in read_rows(file)],
                "plain": lambda: in_parts(texts, lambda part: vocabulary.encode_all(clean_texts(part, RECIPE))),
                "quick": lambda: in_parts(texts, Encoder(vocabulary, RECIPE)),
            },
            options.rounds,
        )
        show("reading", found["reading"], count)
        show("cleaning and encoding, plain", found["plain"], count)
        show("cleaning and encoding", found["quick"], count, found["plain"])
        for name, sizes in MODELS.items():
            model = rs.SequenceClassifier(len(vocabulary), cell="gru", pooling="mean+max", seed=0, **sizes)
            path = Path(folder) / "model.npz"
            save_model(path, model, vocabulary, {"recipe": RECIPE, "max_length": LENGTH})
            seconds = measure(
                {"plain": partial(without_products, model, ids), "network": partial(network, model, ids)},
                options.rounds,
            )
            show(f"{name}: network, plain", seconds["plain"], count)
            show(f"{name}: network", seconds["network"], count, seconds["plain"])
            for workers in (1, 2):
                wall, cpu = command(path, file, workers)
                print(
                    f"{f'{name}: the command, --workers {workers}':<48}{cpu:9.2f}"
                    f"{count / cpu:12,.0f}   {wall:.2f} s on the clock, {count / wall:,.0f} texts/s"
                )


def command(model: Path, file: Path, workers: int) -> tuple[float, float]:
    """Seconds on the clock, and of all processes, of the command as a user gives it."""
    arguments = [sys.executable, "-m", "rnnscratch.cli", "predict", str(model), str(file), "--workers", str(workers)]
    before, start = os.times(), time.perf_counter()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


if __name__ == "__main__":
    main()
