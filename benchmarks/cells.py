"""The cells against PyTorch's on the CPU, and against the time of the same matrix products alone.

    python -m benchmarks.cells [--cells lstm gru] [--shapes 50,128,256,256] [--rounds 9] [--threads 2] [--quick]

Float32, forward and backward with a gradient on all outputs, and dx computed on both sides. Dense batches are compared
with `torch.nn.RNN/LSTM/GRU`, ragged ones with PyTorch's packed sequences and with its run on the padded batch. The
floor is the time of the matrix products that any implementation on this BLAS needs: one for all inputs, one a step in
each direction, one each for dW, dU and dx. A ratio is ours over theirs in the same round, the median of the rounds.
PyTorch has the GRU with the reset gate after the product only; the other form is timed against it too, without an aim.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tqdm import tqdm

from benchmarks.report import RESULTS, draw_lengths, interleaved, machine, ratio, write
from rnnscratch.backend import blas_threads
from rnnscratch.kernels import gru, lstm, rnn

SHAPES = [(100, 32, 64, 64), (128, 32, 128, 128), (200, 64, 100, 128)]  # T, B, D, H
SHAPES += [(100, 64, 256, 256), (50, 128, 256, 256), (64, 64, 512, 512)]
CELLS = ("rnn", "lstm", "gru", "gru reset_after")
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "gru reset_after": 3}
GOALS = {"rnn": 0.4, "lstm": 0.9, "gru reset_after": 0.48}
RAGGED_GOAL, FLOOR_GOAL = 0.27, 1.25
REST = 0.05  # seconds; threads of OpenBLAS and OpenMP spin after their work and slow down whoever comes next

Call: TypeAlias = Callable[[], Any]


def ours(cell: str, x: np.ndarray, H: int, dhs: np.ndarray, lengths: Any) -> tuple[Call, Call]:
    """Forward alone, and forward and backward, of this library's cell."""
    rng, GH = np.random.default_rng(1), GATES[cell] * H
    W, U, b = (rng.uniform(-1, 1, s).astype("f4") / np.float32(H**0.5) for s in ((x.shape[2], GH), (H, GH), GH))
    kernel: Any = {"rnn": rnn, "lstm": lstm}.get(cell, gru)
    options = {"bn": np.zeros(H, np.float32)} if cell == "gru reset_after" else {}

    def forward() -> Any:
        with blas_threads({"U": U}):  # as in training
            return kernel.forward(x, None, W, U, b, lengths, **options)

    def both() -> Any:
        with blas_threads({"U": U}):
            hs, _, cache = kernel.forward(x, None, W, U, b, lengths, **options)
            return hs, kernel.backward(cache, dhs)  # hs lives until the backward pass is done, as in training

    return forward, both


def theirs(cell: str, x: np.ndarray, H: int, dhs: np.ndarray, lengths: Any) -> tuple[Call, Call]:
    """Forward alone, and forward and backward, of PyTorch's cell; packed where lengths are given."""
    torch.manual_seed(1)
    net = getattr(torch.nn, cell.split()[0].upper())(x.shape[2], H)
    inputs, upstream = torch.from_numpy(x).clone().requires_grad_(), torch.from_numpy(dhs)
    counts = None if lengths is None else torch.from_numpy(lengths.copy())

    def forward() -> Any:
        return (
            net(inputs)[0] if counts is None else pad_packed_sequence(net(pack_padded_sequence(inputs, counts))[0])[0]
        )

    def both() -> None:
        net.zero_grad()
        inputs.grad = None
        forward().backward(upstream)

    return forward, both


def floor(cell: str, x: np.ndarray, H: int, lengths: Any) -> Call:
    """The matrix products of forward and backward alone; of ragged batches those of the sequences still running."""
    (T, B, D), GH = x.shape, GATES[cell] * H
    sizes = [B] * T if lengths is None else [int((lengths > t).sum()) for t in range(T)]
    N = sum(sizes)
    rng = np.random.default_rng(2)
    X, h, dz, W, U = (rng.standard_normal(s, dtype="f4") for s in ((N, D), (N, H), (N, GH), (D, GH), (H, GH)))
    z, dx, dh, out = (np.empty(s, np.float32) for s in ((N, GH), (N, D), (B, H), (B, GH)))
    U_back = np.ascontiguousarray(U.T)

    def products() -> None:
        np.matmul(X, W, out=z)
        for n in sizes:
            np.matmul(h[:n], U, out=out[:n])
        for n in sizes:
            np.matmul(dz[:n], U_back, out=dh[:n])
        X.T @ dz
        h.T @ dz
        np.matmul(dz, W.T, out=dx)

    return products


def measure(cell: str, shape: tuple[int, ...], ragged: bool, rounds: int) -> dict[str, Any]:
    """All contestants on one shape; times in milliseconds, and ratios."""
    T, B, D, H = shape
    rng = np.random.default_rng(0)
    x, dhs = rng.standard_normal((T, B, D), dtype="f4"), rng.standard_normal((T, B, H), dtype="f4")
    lengths = draw_lengths(T, B, rng) if ragged else None
    contestants = dict(zip(("forward", "both"), ours(cell, x, H, dhs, lengths)))
    contestants |= zip(("torch forward", "torch both"), theirs(cell, x, H, dhs, lengths))
    if ragged:
        contestants["torch padded"] = theirs(cell, x, H, dhs, None)[1]
    contestants["floor"] = floor(cell, x, H, lengths)
    turns: dict[str, Call] = {}
    for name, function in contestants.items():
        turns[f"rest before {name}"] = partial(time.sleep, REST)
        if H < 256:  # brief: waking the threads would weigh, so there is a run which does not count
            turns[f"warm up {name}"] = function
        turns[name] = function
    seconds = interleaved(turns, rounds)
    row: dict[str, Any] = {"cell": cell, "shape": shape, "ragged": ragged}
    row["milliseconds"] = {name: 1000 * statistics.median(seconds[name]) for name in contestants}
    row["forward/torch"] = ratio(seconds["forward"], seconds["torch forward"])
    for key, name in (("torch", "torch both"), ("padded", "torch padded"), ("floor", "floor")):
        if name in contestants:
            row[f"both/{key}"] = ratio(seconds["both"], seconds[name])
    return row


def show(rows: list[dict[str, Any]]) -> None:
    """The table, a line for each cell, shape and kind of batch."""
    keys = ("forward/torch", "both/torch", "both/padded", "both/floor")
    print(f"\n{'cell':>16} {'T, B, D, H':>20} {'batch':>7} {'both, ms':>9}" + "".join(f"{key:>15}" for key in keys))
    for row in rows:
        shape, kind = ", ".join(map(str, row["shape"])), "ragged" if row["ragged"] else "dense"
        ratios = "".join(f"{row[key]:15.2f}" if key in row else " " * 15 for key in keys)
        print(f"{row['cell']:>16} {shape:>20} {kind:>7} {row['milliseconds']['both']:9.1f}{ratios}")


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The medians over the shapes of every cell, each with what was aimed at (None: nothing)."""
    found = []
    for cell, ragged in dict.fromkeys((row["cell"], row["ragged"]) for row in rows):
        chosen = [row for row in rows if row["cell"] == cell and row["ragged"] == ragged]
        goal = RAGGED_GOAL if ragged and cell in GOALS else GOALS.get(cell)
        aims = {"forward/torch": None, "both/torch": goal, "both/padded": None, "both/floor": FLOOR_GOAL}
        for key, aim in aims.items():
            if values := [row[key] for row in chosen if key in row and (key != "both/floor" or row["shape"][3] >= 256)]:
                name = f"{cell}, {'ragged' if ragged else 'dense'}, {key}"
                found.append({"name": name, "median": statistics.median(values), "aim": aim})
    return found


def verdict(value: float, aim: float | None) -> str:
    """What was aimed at, and by how much it was missed; nothing without an aim."""
    outcome = "" if aim is None else "reached" if value <= aim else f"missed by {value - aim:.3f}"
    return outcome and f"aim {aim:.2f}: {outcome}"


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape that "T,B,D,H" stands for."""
    T, B, D, H = (int(size) for size in text.split(","))
    return T, B, D, H


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--shapes", nargs="+", type=parse_shape, default=SHAPES, metavar="T,B,D,H")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "cells.json")
    parser.add_argument("--quick", action="store_true", help="the first two shapes, three rounds, no file")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error(f"--rounds is {options.rounds} and --threads {options.threads}, expected at least 1")
    shapes, rounds = (options.shapes[:2], 3) if options.quick else (options.shapes, options.rounds)
    torch.set_num_threads(options.threads)
    jobs = [(cell, shape, ragged) for cell in options.cells for ragged in (False, True) for shape in shapes]
    with threadpool_limits(options.threads, user_api="blas"):
        rows = [measure(cell, shape, ragged, rounds) for cell, shape, ragged in tqdm(jobs, "benchmarks")]
    medians = summarize(rows)
    show(rows)
    print("\nmedians over the shapes (against the floor: over those with H >= 256; ragged: torch is packed):")
    for line in medians:
        print(f"  {line['name']:<48} {line['median']:5.2f}   {verdict(line['median'], line['aim'])}".rstrip())
    if not options.quick:
        write(options.out, {"machine": machine(options.threads), "rounds": rounds, "medians": medians, "rows": rows})


if __name__ == "__main__":
    main()
