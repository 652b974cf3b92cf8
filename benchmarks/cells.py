"""The cells against PyTorch's on the CPU, and against the time of the same matrix products alone.

    python -m benchmarks.cells [--cells lstm gru] [--rounds 9] [--threads 2]

Float32, forward and backward with a gradient on all outputs, and dx computed on both sides. Dense batches are compared
with `torch.nn.RNN/LSTM/GRU`, ragged ones with PyTorch's packed sequences and with its run on the padded batch. The
floor is the time of the matrix products that any implementation on this BLAS needs: one for all inputs, one a step in
each direction, one each for dW, dU and dx. A ratio is ours over theirs, the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.report import RESULTS, interleaved, machine, ratio, write
from rnnscratch.kernels import gru, lstm, rnn

SHAPES = (
    (100, 32, 64, 64),
    (128, 32, 128, 128),
    (200, 64, 100, 128),
    (100, 64, 256, 256),
    (50, 128, 256, 256),
    (64, 64, 512, 512),
)
CELLS = ("rnn", "lstm", "gru", "gru reset_after")
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "gru reset_after": 3}
TORCH = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "gru reset_after": torch.nn.GRU}
GOALS = {"rnn": 0.9, "lstm": 1.0, "gru": 0.85, "gru reset_after": 0.85}
RAGGED_GOAL, FLOOR_GOAL = 0.35, 1.4


def draw_lengths(T: int, B: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths like those of reviews: many short, some as long as T; decreasing."""
    lengths = np.clip(rng.lognormal(np.log(0.45 * T), 0.6, B).astype(int), 1, T)
    lengths[0] = T
    return np.sort(lengths)[::-1]


def ours(
    cell: str, x: np.ndarray, H: int, dhs: np.ndarray, lengths: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward alone, and forward and backward, of this library's cell."""
    rng, G = np.random.default_rng(1), GATES[cell]
    D = x.shape[2]
    W, U = (rng.uniform(-1, 1, (n, G * H)).astype("f4") / np.float32(H**0.5) for n in (D, H))
    b = np.zeros(G * H, np.float32)
    if cell == "lstm":
        return (
            lambda: lstm.forward(x, None, W, U, b, lengths),
            lambda: lstm.backward(lstm.forward(x, None, W, U, b, lengths)[2], dhs),
        )
    if cell == "rnn":
        return (
            lambda: rnn.forward(x, None, W, U, b, lengths),
            lambda: rnn.backward(rnn.forward(x, None, W, U, b, lengths)[2], dhs),
        )
    bn = np.zeros(H, np.float32) if cell == "gru reset_after" else None
    return (
        lambda: gru.forward(x, None, W, U, b, lengths, bn=bn),
        lambda: gru.backward(gru.forward(x, None, W, U, b, lengths, bn=bn)[2], dhs),
    )


def theirs(
    cell: str, x: np.ndarray, H: int, dhs: np.ndarray, lengths: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward alone, and forward and backward, of PyTorch's cell; packed where lengths are given."""
    torch.manual_seed(1)
    net = TORCH[cell](x.shape[2], H)
    inputs = torch.from_numpy(x).clone().requires_grad_()
    upstream = torch.from_numpy(dhs)
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    counts = None if lengths is None else torch.from_numpy(lengths.copy())

    def forward() -> Any:
        if counts is None:
            return net(inputs)[0]
        return unpack(net(pack(inputs, counts))[0])[0]

    def both() -> None:
        net.zero_grad()
        inputs.grad = None
        forward().backward(upstream)

    return forward, both


def floor(cell: str, x: np.ndarray, H: int, lengths: Any) -> Callable[[], Any]:
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
    """All contestants on one shape; times in seconds, and ratios."""
    T, B, D, H = shape
    rng = np.random.default_rng(0)
    x, dhs = rng.standard_normal((T, B, D), dtype="f4"), rng.standard_normal((T, B, H), dtype="f4")
    lengths = draw_lengths(T, B, rng) if ragged else None
    contestants: dict[str, Callable[[], Any]] = {}
    contestants["forward"], contestants["both"] = ours(cell, x, H, dhs, lengths)
    contestants["torch forward"], contestants["torch both"] = theirs(cell, x, H, dhs, lengths)
    if ragged:
        contestants["torch padded"] = theirs(cell, x, H, dhs, None)[1]
    contestants["floor"] = floor(cell, x, H, lengths)
    seconds = interleaved(contestants, rounds)
    row: dict[str, Any] = {
        "cell": cell,
        "shape": shape,
        "ragged": ragged,
        "milliseconds": {name: 1000 * statistics.median(values) for name, values in seconds.items()},
        "forward/torch": ratio(seconds["forward"], seconds["torch forward"]),
        "both/torch": ratio(seconds["both"], seconds["torch both"]),
        "both/floor": ratio(seconds["both"], seconds["floor"]),
    }
    if ragged:
        row["both/padded"] = ratio(seconds["both"], seconds["torch padded"])
    return row


def show(rows: list[dict[str, Any]]) -> None:
    """The table, the medians over the shapes, and what was aimed at."""
    heads = ("cell", "T, B, D, H", "batch", "ours ms", "fwd/torch", "/torch", "/padded", "/floor")
    widths = (16, 20, 7, 8, 10, 7, 8, 7)
    print("\n" + " ".join(head.rjust(width) for head, width in zip(heads, widths)))
    for row in rows:
        shape, kind = ", ".join(map(str, row["shape"])), "ragged" if row["ragged"] else "dense"
        padded = f"{row['both/padded']:8.2f}" if row["ragged"] else " " * 8
        print(
            f"{row['cell']:>16} {shape:>20} {kind:>7} {row['milliseconds']['both']:8.1f} {row['forward/torch']:10.2f} "
            f"{row['both/torch']:7.2f} {padded} {row['both/floor']:7.2f}"
        )
    print("\nmedians over the shapes, forward and backward (dense against torch.nn, ragged against packed):")
    for cell in dict.fromkeys(row["cell"] for row in rows):
        for ragged, goal in ((False, GOALS[cell]), (True, RAGGED_GOAL)):
            values = [row["both/torch"] for row in rows if row["cell"] == cell and row["ragged"] == ragged]
            if values:
                verdict(f"{cell}, {'ragged' if ragged else 'dense'}", statistics.median(values), goal)
        large = [
            row["both/floor"] for row in rows if row["cell"] == cell and not row["ragged"] and row["shape"][3] >= 256
        ]
        if large:
            verdict(f"{cell}, against the floor, H >= 256", statistics.median(large), FLOOR_GOAL)


def verdict(name: str, value: float, goal: float) -> None:
    """One line: what was reached, and what was aimed at."""
    outcome = "reached" if value <= goal else f"missed by {value - goal:.2f}"
    print(f"  {name:<42} {value:5.2f}   aim {goal:.2f}: {outcome}")


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--batches", nargs="+", choices=("dense", "ragged"), default=["dense", "ragged"])
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many shapes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "cells.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    jobs = [
        (cell, shape, kind == "ragged")
        for cell in options.cells
        for kind in options.batches
        for shape in SHAPES[: options.shapes]
    ]
    with threadpool_limits(options.threads, user_api="blas"):
        rows = [measure(cell, shape, ragged, options.rounds) for cell, shape, ragged in tqdm(jobs, "benchmarks")]
    show(rows)
    write(options.out, {"machine": machine(options.threads), "rounds": options.rounds, "rows": rows})


if __name__ == "__main__":
    main()
