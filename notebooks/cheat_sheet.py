"""One page with every derivative and shape of the course: `cheat_sheet.html`, to be printed on A4, landscape.

    python notebooks/cheat_sheet.py            write it
    python notebooks/cheat_sheet.py --check    see whether it is as the code is

The cells' lines are those that `rs.teach.trace` reads from the library's own step functions as they run. The other
lines stand here, each with the expression that is run beside the library's backward pass: none is shown that differs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rnnscratch as rs
from rnnscratch.kernels import attention, losses, pooling
from rnnscratch.layers import PeepholeLSTM
from rnnscratch.optimizers import clip_gradients

PAGE = Path(__file__).resolve().with_name("cheat_sheet.html")
SIZES = {"T": 2, "B": 5, "D": 3, "H": 7}  # all different, so that a shape tells whose it is
CELLS: list[tuple[str, Any, dict[str, Any]]] = [
    ("Vanilla RNN", rs.RNN, {}),
    ("LSTM", rs.LSTM, {}),
    ("GRU, r before the product", rs.GRU, {}),
    ("GRU, r after it (reset_after)", rs.GRU, {"reset_after": True}),
    ("LSTM with peepholes", PeepholeLSTM, {}),
]
KNOWN = ("dh (output)", "dh (future)", "dc (future)", "dW", "dU", "db", "dbn", "dP")  # said above the tables
STYLE = """
@page{size:A4 landscape;margin:7mm} *{box-sizing:border-box}
body{font:7.6px/1.32 system-ui,sans-serif;color:#111;margin:0 auto;max-width:283mm}
h1{font-size:13px;margin:0 0 2px} p{margin:0 0 4px} h2{font-size:9px;margin:5px 0 1px;border-bottom:1px solid #333}
section{break-inside:avoid} main{columns:4;column-gap:11px;column-rule:1px solid #ddd}
table{border-collapse:collapse;width:100%} td{padding:0 5px 0 0;vertical-align:top}
td:nth-child(3){color:#555;text-align:right;white-space:nowrap;padding:0}
td:first-child{white-space:nowrap;width:1%;font-weight:600} tr.back td:first-child{color:#a33b00}
sub,sup{line-height:0;font-size:80%}
@media screen{body{font-size:11px;max-width:1500px;padding:12px}h1{font-size:20px}h2{font-size:14px}}
@media screen{main{columns:auto;column-width:330px}}
"""


LEGEND = (
    "Row vectors: x (B, D), h (B, H), W (D, gates &times; H), U (H, gates &times; H), b (gates &times; H,). Products "
    "of letters of equal shape are elementwise. dX is the gradient of the loss with respect to X and has its shape. "
    "&ldquo;future&rdquo; is what step t + 1 hands back, at the last step the gradient of the final state. What is "
    "copied forward is summed backward: over the batch for b, over the steps for W, U and b, over repeated ids for E. "
    "The lines of the cells are read from the code that runs."
)


class Line(NamedTuple):
    """One row: what is computed, how, its shape, and whether it belongs to the way back."""

    name: str
    formula: str
    shape: str
    back: bool


def shape_of(shape: tuple[int, ...], sizes: dict[str, int]) -> str:
    """The shape in letters. Raises ValueError for a number that none of the sizes explains."""
    letters = []
    for number in shape:
        for name, size in sizes.items():
            if number % size == 0 and number // size in (1, 2, 3, 4):
                letters.append(name if number == size else f"{number // size}{name}")
                break
        else:
            raise ValueError(f"no size among {sizes} explains {number} in the shape {shape}")
    return f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def cell_lines(kind: Any, options: dict[str, Any]) -> list[Line]:
    """The rows of step 1, which has a step after it, as the cell's code computes them."""
    T, B, D, H = SIZES.values()
    layer = kind(D, H, dtype="float64", seed=0, **options)
    trace = rs.teach.trace(layer, np.random.default_rng(0).standard_normal((T, B, D)))
    sizes = {"H": H, "D": D, "B": B}
    return [
        Line(row.name, row.formula, shape_of(row.value.shape, sizes), row.phase == "backward")
        for row in trace
        if row.step == 1 and row.name not in KNOWN
    ]


class Box(NamedTuple):
    """Lines that stand here: title, rows (name, formula, expression), and the library's values of the same names."""

    title: str
    rows: list[tuple[str, str, str]]
    values: Callable[[], tuple[dict[str, Any], dict[str, Any]]]  # what expressions may use, and what they must give
    sizes: dict[str, int]


RNG = np.random.default_rng(1)


def dense() -> tuple[dict[str, Any], dict[str, Any]]:
    """y = x W + b."""
    layer = rs.Dense(3, 7, dtype="float64", seed=0)
    x, dy = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 7))
    y = layer.forward(x)
    dx = layer.backward(dy)
    given = {"x": x, "dy": dy, **layer.params}
    return given, {"y": y, "dW": layer.grads["W"], "db": layer.grads["b"], "dx": dx}


def embedding() -> tuple[dict[str, Any], dict[str, Any]]:
    """x = E[ids], with ids that come more than once."""
    layer = rs.Embedding(11, 3, dtype="float64", seed=0)
    ids, dx = np.array([4, 2, 4, 4, 0]), RNG.standard_normal((5, 3))
    x = layer.forward(ids)
    layer.backward(dx)
    return {"E": layer.params["E"], "ids": ids, "dx": dx}, {"x": x, "dE": layer.grads["E"]}


def softmax() -> tuple[dict[str, Any], dict[str, Any]]:
    """The mean loss of B examples, and its gradient."""
    z, y = RNG.standard_normal((5, 11)), np.array([1, 0, 2, 10, 0])
    loss, dz = losses.softmax_cross_entropy(z, y)
    p = losses.softmax(z)
    return {"z": z, "p": p, "Y": np.eye(11)[y]}, {"p": p, "L": loss, "dz": dz}


def sigmoid() -> tuple[dict[str, Any], dict[str, Any]]:
    """The same for one logit."""
    z, y = RNG.standard_normal(5), np.array([1, 0, 1, 1, 0])
    loss, dz = losses.binary_cross_entropy(z, y)
    p = losses.sigmoid(z)
    return {"z": z, "p": p, "y": y}, {"p": p, "L": loss, "dz": dz}


def dot() -> tuple[dict[str, Any], dict[str, Any]]:
    """One sequence: T queries, S steps of the source."""
    q, k, v, dc = (RNG.standard_normal(shape) for shape in ((2, 1, 3), (11, 1, 3), (11, 1, 7), (2, 1, 7)))
    c, a, cache = attention.dot_forward(q, k, v)
    dq, dk, dv = attention.dot_backward(cache, dc)
    given = {"q": q[:, 0], "k": k[:, 0], "v": v[:, 0], "dc": dc[:, 0], "a": a[:, 0]}
    da = given["dc"] @ given["v"].T
    given |= {"da": da, "ds": given["a"] * (da - (given["a"] * da).sum(1, keepdims=True))}
    return given, {"a": a[:, 0], "c": c[:, 0], "dq": dq[:, 0], "dk": dk[:, 0], "dv": dv[:, 0]}


def additive() -> tuple[dict[str, Any], dict[str, Any]]:
    """The same with w tanh(q + k)."""
    q, k, v, dc = (RNG.standard_normal(shape) for shape in ((2, 1, 3), (11, 1, 3), (11, 1, 7), (2, 1, 7)))
    w = RNG.standard_normal(3)
    _, a, cache = attention.additive_forward(q, k, v, w)
    dq, dk, _, dw = attention.additive_backward(cache, dc)
    u = np.tanh(q[:, 0][:, None] + k[:, 0])
    a, da = a[:, 0], dc[:, 0] @ v[:, 0].T
    given = {"q": q[:, 0], "k": k[:, 0], "w": w, "u": u, "ds": a * (da - (a * da).sum(1, keepdims=True))}
    given["dz"] = given["ds"][..., None] * w * (1 - u**2)
    return given, {"a": a, "dw": dw, "dq": dq[:, 0], "dk": dk[:, 0]}


def pooled() -> tuple[dict[str, Any], dict[str, Any]]:
    """The mean and the maximum of two steps."""
    h, dp = RNG.standard_normal((2, 5, 7)), RNG.standard_normal((5, 7))
    mean, of_mean = pooling.mean_forward(h)
    largest, of_max = pooling.max_forward(h)
    backs = {"dh (mean)": pooling.mean_backward(of_mean, dp), "dh (max)": pooling.max_backward(of_max, dp)}
    return {"h": h, "dp": dp, "T": 2}, {"mean": mean, "max": largest, **backs}


def clipped() -> tuple[dict[str, Any], dict[str, Any]]:
    """Gradients whose norm is too large."""
    g = RNG.standard_normal((3, 7))
    grads = {"W": g.copy()}
    norm = clip_gradients(grads, 1.5)
    return {"g": g, "n": norm, "limit": 1.5}, {"n": norm, "g'": grads["W"]}


def bptt() -> tuple[dict[str, Any], dict[str, Any]]:
    """What is copied forward is summed backward: b over the batch, and U over the steps."""
    layer = rs.RNN(3, 7, dtype="float64", seed=0)
    x, dhs = RNG.standard_normal((2, 5, 3)), RNG.standard_normal((2, 5, 7))
    trace = rs.teach.trace(layer, x, dhs=dhs)
    layer.forward(x)
    layer.backward(dhs)
    steps = {f"dU{t}": trace["dU_t", t] for t in (1, 2)} | {f"db{t}": trace["db_t", t] for t in (1, 2)}
    flows = {"dh_out": dhs[0], "dz_next": trace["dz", 2], "U": layer.params["U_l0"]}
    return {**steps, **flows}, {"dU": layer.grads["U_l0"], "db": layer.grads["b_l0"], "dh": trace["dh", 1]}


BOXES = [
    Box(
        "Through time: any cell",
        [
            ("dh", "dh (output) + dh (future): both that read h_t", "dh_out + dz_next @ U.T"),
            ("dU", "sum over t of dU_t", "dU1 + dU2"),
            ("db", "sum over t of db_t", "db1 + db2"),
        ],
        bptt,
        {"B": 5, "H": 7},
    ),
    Box(
        "Dense",
        [
            ("y", "x W + b", "x @ W + b"),
            ("dW", "x^T dy", "x.T @ dy"),
            ("db", "sum of dy over the batch", "dy.sum(0)"),
            ("dx", "dy W^T", "dy @ W.T"),
        ],
        dense,
        {"B": 5, "D": 3, "H": 7},
    ),
    Box(
        "Embedding",
        [
            ("x", "E[ids]", "E[ids]"),
            ("dE", "row k: sum of dx where ids = k", "np.stack([dx[ids == k].sum(0) for k in range(len(E))])"),
        ],
        embedding,
        {"B": 5, "D": 3, "V": 11},
    ),
    Box(
        "Softmax and cross-entropy",
        [
            ("p", "exp(z) / sum over classes of exp(z)", "np.exp(z) / np.exp(z).sum(1, keepdims=True)"),
            ("L", "-mean over the batch of log p[target]", "-(Y * np.log(p)).sum(1).mean()"),
            ("dz", "(p - y) / B, y one-hot", "(p - Y) / len(z)"),
        ],
        softmax,
        {"B": 5, "K": 11},
    ),
    Box(
        "Sigmoid and binary cross-entropy",
        [
            ("p", "1 / (1 + exp(-z))", "1 / (1 + np.exp(-z))"),
            ("L", "-mean of y log p + (1 - y) log(1 - p)", "-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()"),
            ("dz", "(p - y) / B", "(p - y) / len(z)"),
        ],
        sigmoid,
        {"B": 5},
    ),
    Box(
        "Dot attention, one sequence",
        [
            ("a", "softmax(q k^T) over the S steps", "np.exp(q @ k.T) / np.exp(q @ k.T).sum(1, keepdims=True)"),
            ("c", "a v", "a @ v"),
            ("da", "dc v^T", "dc @ v.T"),
            ("ds", "a (da - sum over S of a da)", "a * (da - (a * da).sum(1, keepdims=True))"),
            ("dq", "ds k", "ds @ k"),
            ("dk", "ds^T q", "ds.T @ q"),
            ("dv", "a^T dc", "a.T @ dc"),
        ],
        dot,
        {"T": 2, "A": 3, "M": 7, "S": 11},
    ),
    Box(
        "Additive attention: s = w tanh(q + k)",
        [
            ("a", "softmax(u w), u = tanh(q_t + k_s)", "np.exp(u @ w) / np.exp(u @ w).sum(1, keepdims=True)"),
            ("dz", "ds w (1 - u^2)", "ds[..., None] * w * (1 - u**2)"),
            ("dw", "sum over T and S of ds u", "(ds[..., None] * u).sum((0, 1))"),
            ("dq", "sum over S of dz", "dz.sum(1)"),
            ("dk", "sum over T of dz", "dz.sum(0)"),
        ],
        additive,
        {"T": 2, "A": 3, "S": 11},
    ),
    Box(
        "Pooling over time",
        [
            ("mean", "sum over t of h / T", "h.sum(0) / T"),
            ("dh (mean)", "dp / T, at every step", "np.broadcast_to(dp / T, h.shape)"),
            ("max", "largest over t of h", "h.max(0)"),
            ("dh (max)", "dp where h is the largest, else 0", "np.where(h == h.max(0), dp, 0)"),
        ],
        pooled,
        {"T": 2, "B": 5, "H": 7},
    ),
    Box(
        "Clipping by the global norm",
        [
            ("n", "sqrt of the sum of all g^2", "np.sqrt((g**2).sum())"),
            ("g'", "g limit / (n + 1e-6) where n > limit, else g", "g * limit / (n + 1e-6) if n > limit else g"),
        ],
        clipped,
        {"D": 3, "H": 7},
    ),
]


def box_lines(box: Box) -> list[Line]:
    """The box's rows with their shapes. Raises ValueError where an expression does not give the library's value."""
    given, wanted = box.values()
    lines = []
    for name, formula, expression in box.rows:
        found = np.asarray(eval(expression, {"np": np, **given}))
        right = wanted[name] if name in wanted else given[name]
        if found.shape != np.shape(right) or not np.allclose(found, right, rtol=1e-12, atol=1e-14):
            raise ValueError(f"{box.title}: {name} = {expression} is not what the library computes")
        shape = shape_of(found.shape, box.sizes) if found.ndim else ""
        lines.append(Line(name, formula, shape, name.startswith("d") or name == "g'"))
    return lines


def typeset(text: str) -> str:
    """A formula as HTML."""
    text = escape(text, quote=False)
    text = re.sub(r"\b([a-z]+)_prev\b", r"\1<sub>t&minus;1</sub>", text)
    text = re.sub(r"\b([A-Za-z]+)_([a-z])\b", r"\1<sub>\2</sub>", text)
    text = text.replace("sigmoid", "&sigma;").replace("^T", "<sup>T</sup>").replace("^2", "&sup2;")
    return re.sub(r"(?<!\w)-", "&minus;", text)


def page() -> str:
    """The whole page."""
    parts = []
    for title, lines in [(title, cell_lines(kind, options)) for title, kind, options in CELLS] + [
        (box.title, box_lines(box)) for box in BOXES
    ]:
        rows = "".join(
            f"<tr{' class=back' if line.back else ''}><td>{typeset(line.name)}<td>{typeset(line.formula)}"
            f"<td>{line.shape}"
            for line in lines
        )
        parts.append(f"<section><h2>{escape(title)}</h2><table>{rows}</table></section>")
    head = f"<meta charset=utf-8><title>rnnscratch: all derivatives on one page</title><style>{STYLE}</style>"
    body = "\n".join(parts)
    return (
        f"<!doctype html><html lang=en>{head}\n<h1>All derivatives on one page</h1>\n<p>{LEGEND}</p>\n"
        f"<main>\n{body}\n</main></html>\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check compare it; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the page with every derivative, or check it.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    made = page()
    if options.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
            print(f"{PAGE.name} is not as the code is: python notebooks/cheat_sheet.py")
            return 1
        return 0
    PAGE.write_text(made, encoding="utf-8")
    print(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
