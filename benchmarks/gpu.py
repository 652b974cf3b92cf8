"""The cells on a GPU against PyTorch's (cuDNN), and against what the device can do at most.

    python -m benchmarks.gpu [--cells lstm gru] [--shapes 256,64,128,128] [--rounds 21] [--quick]

Float32, forward, and forward and backward with a gradient on all outputs; dx is computed on both sides. Times are
between device events, the median of the rounds; all contestants take turns. Ours: every path that the cell can take,
dense and ragged, in IEEE float32, or with TF32 where `CUPY_TF32=1` is in the environment. PyTorch:
`torch.nn.RNN/LSTM/GRU`, unpacked on dense batches and packed on ragged ones, in IEEE float32 and with TF32, which is
its default. The floor is the larger of all multiplications at the rate of a large product on this device, in the same
precision as ours, and of what must be kept at the rate of a large copy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rnnscratch as rs
from benchmarks.report import RESULTS, draw_lengths, machine, write
from rnnscratch.backend import module_for
from rnnscratch.kernels import cuda
from rnnscratch.kernels.cuda.choice import obstacles_of

SHAPES = [(256, 64, 128, 128), (256, 128, 256, 512), (512, 64, 1024, 1024)]  # T, B, D, H: S1, S2, S3
CELLS: dict[str, Callable[..., Any]] = {
    "rnn": rs.RNN,
    "lstm": rs.LSTM,
    "gru": rs.GRU,
    "gru reset_after": lambda *sizes, **options: rs.GRU(*sizes, reset_after=True, **options),
    "peephole": rs.PeepholeLSTM,
    "layer_norm": rs.LayerNormLSTM,
}
THEIRS = {"rnn": "RNN", "lstm": "LSTM", "gru reset_after": "GRU"}
GOALS = {"dense": 1.2, "ragged": 0.8}  # of PyTorch's time, forward and backward, at equal precision

Call = Callable[[], Any]


class Clock:
    """Milliseconds between two events on the stream that both libraries use."""

    def __init__(self, cupy: Any):
        self.cupy = cupy
        self.start, self.stop = cupy.cuda.Event(), cupy.cuda.Event()

    def __call__(self, call: Call) -> float:
        self.start.record()
        call()
        self.stop.record()
        self.stop.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(self.start, self.stop))


def medians(cupy: Any, contestants: dict[str, Call], rounds: int) -> dict[str, float]:
    """Milliseconds of each, which take turns; two runs of each before do not count."""
    clock = Clock(cupy)
    for call in contestants.values():
        clock(call)
        clock(call)
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            found[name].append(clock(call))
    return {name: statistics.median(times) for name, times in found.items()}


def ceilings(cupy: Any, size: int, rounds: int) -> dict[str, float]:
    """FLOP/s of a product (size, size), and bytes/s of a copy of as large an array, read and written."""
    a, b = cupy.ones((size, size), np.float32), cupy.empty((size, size), np.float32)
    product = cupy.empty_like(b)
    times = medians(
        cupy, {"product": lambda: cupy.matmul(a, a, out=product), "copy": lambda: cupy.copyto(b, a)}, rounds
    )
    return {"flops": 2e3 * size**3 / times["product"], "bytes": 2e3 * a.nbytes / times["copy"]}


def ours(cupy: Any, cell: str, x: Any, H: int, dhs: Any, lengths: Any) -> dict[str, tuple[Call, Call]]:
    """Forward, and forward and backward, by the paths that the cell can take."""
    layer = CELLS[cell](x.shape[2], H, device="gpu", seed=0)
    found: dict[str, tuple[Call, Call]] = {}
    obstacles = obstacles_of(layer.cell, layer.dtype, H)
    for path in (path for path in cuda.PATHS if not obstacles.get(path)):

        def forward(path: str = path) -> Any:
            with cuda.use(path):
                return layer.call(x, lengths=lengths, keep=False)

        def both(path: str = path) -> Any:
            with cuda.use(path):
                result, back = layer.call(x, lengths=lengths)
                return result, back(dhs)

        found[f"ours, {path}"] = forward, both
    return found


def theirs(torch: Any, cell: str, x: np.ndarray, H: int, dhs: np.ndarray, lengths: Any) -> dict[str, tuple[Call, Call]]:
    """The same of PyTorch, in both precisions; nothing where PyTorch has no such cell or no GPU."""
    if torch is None or cell not in THEIRS:
        return {}
    net = getattr(torch.nn, THEIRS[cell])(x.shape[2], H).cuda()
    inputs, upstream = torch.from_numpy(x).cuda().requires_grad_(), torch.from_numpy(dhs).cuda()
    counts = None if lengths is None else torch.from_numpy(np.array(lengths))
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence

    def run() -> Any:
        return net(inputs)[0] if counts is None else unpack(net(pack(inputs, counts))[0], total_length=len(x))[0]

    found: dict[str, tuple[Call, Call]] = {}
    for name, tf32 in (("torch, float32", False), ("torch, TF32", True)):

        def forward(tf32: bool = tf32) -> Any:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            with torch.no_grad():
                return run()

        def both(tf32: bool = tf32) -> Any:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            net.zero_grad()
            inputs.grad = None
            run().backward(upstream)

        found[name] = forward, both
    return found


def measure(cupy: Any, torch: Any, cell: str, shape: Any, ragged: bool, most: Any, rounds: int) -> list[dict[str, Any]]:
    """A row for each contestant."""
    (T, B, D, H), rng = shape, np.random.default_rng(0)
    lengths = draw_lengths(T, B, rng) if ragged else None
    x, dhs = rng.standard_normal((T, B, D)).astype("f4"), rng.standard_normal((T, B, H)).astype("f4")
    there = cupy.asarray(x), cupy.asarray(dhs)
    contestants = ours(cupy, cell, there[0], H, there[1], lengths) | theirs(torch, cell, x, H, dhs, lengths)
    forward = medians(cupy, {name: calls[0] for name, calls in contestants.items()}, rounds)
    both = medians(cupy, {name: calls[1] for name, calls in contestants.items()}, rounds)
    layer = CELLS[cell](D, H, device="gpu", seed=0)
    explained = layer.explain(there[0], lengths)
    N = int(T * B if lengths is None else lengths.sum())
    floor = 1e3 * max(6 * len(layer.gates) * N * H * (D + H) / most["flops"], 2 * explained.bytes_kept / most["bytes"])
    case = {"cell": cell, "T, B, D, H": list(shape), "batch": "ragged" if ragged else "dense", "path": explained.path}
    return [
        {
            **case,
            "who": name,
            "forward ms": forward[name],
            "both ms": both[name],
            "floor ms": floor,
            "both / torch float32": both[name] / both["torch, float32"] if "torch, float32" in both else None,
            "both / torch TF32": both[name] / both["torch, TF32"] if "torch, TF32" in both else None,
        }
        for name in contestants
    ]


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    ratios = (row["both / torch float32"], row["both / torch TF32"])
    shown = "".join("       -" if ratio is None else f"{ratio:8.2f}" for ratio in ratios)
    chosen = "*" if row["who"] == f"ours, {row['path']}" else " "
    shape = ",".join(map(str, row["T, B, D, H"]))
    times = f"{row['forward ms']:9.3f}{row['both ms']:9.3f}{row['floor ms']:9.3f}"
    return f"{row['cell']:16}{shape:20}{row['batch']:8}{chosen} {row['who']:16}{times}{shown}"


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write it to results/."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--shapes", nargs="+", help="T,B,D,H", default=[",".join(map(str, shape)) for shape in SHAPES])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="3 rounds, of the first shape alone")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args(arguments)
    try:
        cupy = module_for("gpu")
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    shapes = [tuple(map(int, shape.split(","))) for shape in options.shapes][: 1 if options.quick else None]
    rounds, torch = 3 if options.quick else options.rounds, torch_on_gpu()
    most = ceilings(cupy, min(8192, 8 * max(max(shape) for shape in shapes)), rounds)
    products = cuda.precision(cupy, np.dtype(np.float32))
    rates = f"{most['flops'] / 1e12:.1f} TFLOP/s ({products}) and {most['bytes'] / 1e12:.2f} TB/s"
    print(f"At most {rates}. *: the chosen path")
    columns = "".join(f"{name:>9}" for name in ("forward", "both", "floor")) + "    /f32   /TF32   ms"
    print(f"{'cell':16}{'T,B,D,H':20}{'batch':10}{'who':16}{columns}")
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        for cell in options.cells:
            for ragged in (False, True):
                rows += (found := measure(cupy, torch, cell, shape, ragged, most, rounds))
                print("\n".join(map(line, found)), flush=True)
    for row in rows:
        ratio = row["both / torch TF32" if products == "TF32" else "both / torch float32"]
        if ratio is not None and row["who"] == f"ours, {row['path']}" and ratio > GOALS[row["batch"]]:
            print(
                f"missed: {row['cell']} {row['T, B, D, H']} {row['batch']}: {ratio:.2f}, aimed at {GOALS[row['batch']]}"
            )
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    facts = {"device": properties["name"].decode(), "cupy": cupy.__version__, "ceilings": most, "at": time.ctime()}
    facts |= {"torch": None if torch is None else torch.__version__, "products": products}
    write(options.out, {"machine": machine(1), "gpu": facts, "rows": rows})


def torch_on_gpu() -> Any:
    """PyTorch, or None, with a line that says why."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: no comparison with cuDNN")
        return None
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU: no comparison with cuDNN")
        return None
    return torch


if __name__ == "__main__":
    main()
