"""Whole training steps of a review classifier, ours with one process and with several, beside PyTorch's.

    python -m benchmarks.training [--cells lstm gru] [--sizes 48] [--workers 2] [--rounds 5] [--quick]

Embedding (20,000 words, 64 numbers) -> one bidirectional layer -> mean over the real steps -> logit -> cross-entropy ->
clipping to norm 1 -> Adam, float32, no dropout, on batches of 64 made-up reviews of 10 to 400 words, which `Batches`
sorts into batches of about one length, so that padding is short. PyTorch runs on the padded batch, whose outputs past
each end are left out of the mean, and on packed sequences, with as many threads as there are workers. A round is the
same batches for all; a ratio is ours over theirs in the same round, the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tqdm import tqdm

import rnnscratch as rs
from benchmarks.cells import REST, verdict
from benchmarks.report import RESULTS, machine, ratio, write
from rnnscratch.backend import blas_threads
from rnnscratch.optimizers import clip_gradients
from rnnscratch.text.batches import Batch, Batches
from rnnscratch.workers import Team

V, E, B, BATCHES = 20000, 64, 64, 8
CELLS, SIZES = ("lstm", "gru", "rnn"), (48, 128)
GOALS = {("lstm", 48, "padded"): 0.62, ("lstm", 48, "packed"): 0.18, ("gru", 48, "padded"): 0.36}
GOALS |= {("lstm", 128, "padded"): 0.68}


def draw_batches() -> list[Batch]:
    """Some of the batches of as many made-up reviews as a pool of `Batches` holds."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(120), 0.65, 50 * B), 10, 400).astype(int)
    sequences = [rng.integers(1, V, length) for length in lengths]
    return list(Batches(sequences, rng.integers(0, 2, len(lengths)), B, shuffle=True, seed=0))[:BATCHES]


def ours(cell: str, H: int, batches: list[Batch], team: Team, model: Any) -> Callable[[], None]:
    """A round of this library's steps, by the processes of the team."""
    optimizer = rs.Adam()

    def steps() -> None:
        with blas_threads(model.params, team.size):
            for batch in batches:
                team.gradient(batch)
                clip_gradients(model.grads, max_norm=1.0)
                optimizer.step(model.params, model.grads)

    return steps


class Net(torch.nn.Module):
    """The same network in PyTorch."""

    def __init__(self, cell: str, H: int, packed: bool):
        super().__init__()
        self.embedding, self.packed = torch.nn.Embedding(V, E), packed
        self.recurrent = getattr(torch.nn, cell.upper())(E, H, bidirectional=True)
        self.dense = torch.nn.Linear(2 * H, 1)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        if self.packed:
            hs = pad_packed_sequence(self.recurrent(pack_padded_sequence(x, lengths))[0])[0]
        else:
            real = torch.arange(len(ids))[:, None] < lengths
            hs = self.recurrent(x)[0] * real[:, :, None]
        return self.dense(hs.sum(0) / lengths[:, None])[:, 0]


def theirs(cell: str, H: int, batches: list[Batch], packed: bool) -> Callable[[], None]:
    """A round of PyTorch's steps."""
    torch.manual_seed(0)
    net = Net(cell, H, packed)
    optimizer, loss_of = torch.optim.Adam(net.parameters()), torch.nn.BCEWithLogitsLoss()
    tensors = [[torch.from_numpy(np.asarray(a)) for a in (b.ids, b.lengths, b.labels)] for b in batches]

    def steps() -> None:
        for ids, lengths, labels in tensors:
            optimizer.zero_grad()
            loss_of(net(ids, lengths), labels.float()).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()

    return steps


def measure(cell: str, H: int, workers: int, rounds: int) -> dict[str, Any]:
    """All contestants on one network: tokens/s, and ratios of times to PyTorch's."""
    batches = draw_batches()
    models = [rs.SequenceClassifier(V, E, H, cell=cell, bidirectional=True, pooling="mean", seed=0) for _ in range(2)]
    with Team(models[0], 1) as alone, Team(models[1], workers) as team:
        contestants = {
            "one process": ours(cell, H, batches, alone, models[0]),
            f"{workers} workers": ours(cell, H, batches, team, models[1]),
            "padded": theirs(cell, H, batches, packed=False),
            "packed": theirs(cell, H, batches, packed=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(rounds + 1):  # the first is a warm-up
            for name, steps in contestants.items():
                time.sleep(REST)  # threads spin after their work and slow down whoever comes next
                start = time.perf_counter()
                steps()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    tokens = int(sum(batch.lengths.sum() for batch in batches))
    row: dict[str, Any] = {"cell": cell, "H": H, "workers": workers}
    row["tokens_per_second"] = {name: tokens / statistics.median(each) for name, each in seconds.items()}
    row["ratios"] = {
        f"{name}/{peer}": ratio(seconds[name], seconds[peer])
        for name in list(seconds)[:2]
        for peer in ("padded", "packed")
    }
    return row


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), metavar="H")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "training.json")
    parser.add_argument("--quick", action="store_true", help="one round of H=48, no file")
    options = parser.parse_args()
    for name in ("workers", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}, expected at least 1")
    sizes, rounds = ([48], 1) if options.quick else (options.sizes, options.rounds)
    torch.set_num_threads(options.workers)
    with threadpool_limits(options.workers, user_api="blas"):
        jobs = [(cell, H) for H in sizes for cell in options.cells]
        rows = [measure(cell, H, options.workers, rounds) for cell, H in tqdm(jobs, "benchmarks")]
    names = list(rows[0]["tokens_per_second"])
    print(f"\n{'cell':>5} {'H':>4}" + "".join(f"{name:>13}" for name in names) + "   tokens/s")
    for row in rows:
        print(
            f"{row['cell']:>5} {row['H']:>4}" + "".join(f"{row['tokens_per_second'][name]:>13,.0f}" for name in names)
        )
    print("\ntime over PyTorch's:")
    for row in rows:
        for name, value in row["ratios"].items():
            who, peer = name.split("/")
            aim = None if who == names[0] else GOALS.get((row["cell"], row["H"], peer))
            print(f"  {row['cell']:>5}, H={row['H']:<4} {name:<22} {value:5.2f}   {verdict(value, aim)}".rstrip())
    if not options.quick:
        write(options.out, {"machine": machine(options.workers), "rounds": rounds, "rows": rows})


if __name__ == "__main__":
    main()
