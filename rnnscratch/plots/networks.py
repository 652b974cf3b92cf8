"""A small network unrolled over time, with every value and every gradient on its edge; still, and step by step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import check_sizes
from ..teach.trace import Trace
from .frames import Frames, Pages
from .style import COLOURS, axes_for, shrink_text

FORWARD, BACKWARD = COLOURS[0], COLOURS[1]
MOST_STEPS, MOST_UNITS = 5, 2  # beyond which numbers no longer fit
DECADES = 3.0  # of sizes that the widths of arrows tell apart
SMALL = 0.28  # half a side of a node without numbers
APART = 0.055  # half the distance between the arrows of values and of gradients

Point = tuple[float, float]


def unrolled(trace: Trace | Sequence[Trace], truncate: int | None = None, ax: Any = None) -> Any:
    """The graph of a network over time, with the numbers of `teach.trace`: values forward, gradients backward.

    trace: of one sequence (B = 1), at most 5 steps and 2 units, of any recurrent layer. Solid blue arrows carry values
    forward, with the number above (or left); dashed orange ones carry gradients back, below (or right). An arrow is the
    thicker, the larger what it carries, on a logarithmic scale of three decades below the largest. Every state has two
    consumers, its loss and the next step, and the gradients that come back from both add up to the one in its node. A
    gated cell is a frame with its gates' values; the arrow of h_prev that ends at them is the way through the gates,
    one that ends at a state is the direct path.

    `truncate=k` cuts what `layer.backward(truncate=k)` cuts, after steps k, 2k, ..., and says how much the whole pass
    would have sent through. What it would have been left of a cut is not in the trace of a whole pass and is left out;
    a list of traces instead, one for each piece between cuts, draws those pieces with all their numbers:

        first = trace(layer, x[:2])
        second = trace(layer, x[2:], state=...)          # that after step 2
        plots.unrolled([first, second])

    Raises TypeError for what is no trace and ValueError for more than fits.
    """
    ax = axes_for(ax, (7.0, 4.0))
    _draw(trace, truncate, ax)
    return ax


def animate_unrolled(trace: Trace | Sequence[Trace], truncate: int | None = None, dpi: int = 85) -> Frames:
    """`unrolled`, step by step: values run forward over time, then gradients run back.

    A notebook shows it with a slider and a button; all is in the page, so it works without a kernel and without the
    net. The still picture is the last one, which holds all numbers. Raises as `unrolled` does.
    """
    check_sizes(dpi=dpi)
    ax = axes_for(None, (7.0, 4.0))
    stages = _draw(trace, truncate, ax)
    T = max(stage for stage, _ in stages) // 2
    labels = ["before the first step"]
    labels += [f"forward, step {t}" for t in range(1, T + 1)]
    labels += [f"backward, step {t}" for t in range(T, 0, -1)]
    pages = Pages(dpi)
    for now in range(2 * T + 1):
        for stage, artist in stages:
            artist.set_visible(stage <= now)
        pages.add(ax)
    return Frames(pages.images, labels, label="step", still=2 * T)


def _draw(trace: Any, truncate: int | None, ax: Any) -> list[tuple[int, Any]]:
    """Draw all; each artist that carries a number, with its stage: t forward, 2T + 1 - t on the way back."""
    steps, cuts = _steps(trace, truncate)
    T, H = len(steps), steps[0]["h"].size
    exact = T if not cuts or truncate is None else T - max(cuts)  # steps whose gradients no cut would have changed
    graph = _Graph(ax, steps, cuts, T - exact)
    graph.columns()
    left, right = -graph.half - 0.15, graph.width * (T + graph.has_final) + graph.side + 0.15
    low, high = -0.5 - 0.2 * (exact < T), graph.top + SMALL + (0.45 if T > 1 else 0.6)
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.axis("off")
    if len(ax.figure.axes) == 1:
        ax.figure.set_layout_engine("none")
        ax.figure.set_size_inches(right - left, high - low)  # so that one unit is one inch
        ax.set_position((0.0, 0.0, 1.0, 1.0))
    units = "" if H == 1 else "; two lines, two units"
    ax.plot([], [], color=FORWARD, label=f"values, forward{units}")
    ax.plot([], [], color=BACKWARD, ls="--", label="gradients, backward (wider: larger)")
    ax.legend(frameon=False, loc="upper left", ncols=2 if T > 1 else 1, fontsize=9, borderaxespad=0.3)
    if exact < T:
        ax.text(
            -graph.half, -0.6, "What a cut would change is not in the trace of a whole pass: no numbers.", fontsize=8
        )
    shrink_text(ax)
    return graph.stages


def _steps(trace: Any, truncate: int | None) -> tuple[list[dict[str, np.ndarray]], set[int]]:
    """The named values of each step, each as a row of H numbers, and the steps after which the chain is cut."""
    pieces = list(trace) if isinstance(trace, list | tuple) else [trace]
    for k, piece in enumerate(pieces):
        if not isinstance(piece, Trace):
            where = f"trace[{k}]" if piece is not trace else "trace"
            raise TypeError(f"{where} is {type(piece).__name__}, expected what teach.trace returns")
    if not pieces:
        raise ValueError("trace is empty, expected at least one")
    if truncate is not None:
        check_sizes(truncate=truncate)
        if len(pieces) > 1:
            raise ValueError(f"truncate is {truncate}, expected None for pieces, which are cut already")
    found: list[dict[str, np.ndarray]] = []
    cuts = set()
    for piece in pieces:
        rows = [row for row in piece if row.step > 0]
        shape = next(row.value.shape for row in rows if row.name == "h")
        if shape[0] != 1:
            raise ValueError(f"trace has B={shape[0]} sequences, expected 1")
        if shape[1] > MOST_UNITS:
            raise ValueError(f"trace has H={shape[1]} units, expected at most {MOST_UNITS}")
        T = max(row.step for row in rows)
        found += [{row.name: row.value.reshape(-1) for row in rows if row.step == t} for t in range(1, T + 1)]
        cuts.add(len(found))
    if len(found) > MOST_STEPS:
        raise ValueError(f"trace has T={len(found)} steps, expected at most {MOST_STEPS}")
    cuts = set(range(truncate, len(found), truncate)) if truncate is not None else cuts - {len(found)}
    return found, cuts


class _Graph:
    """Where things stand, and the drawing of nodes and edges."""

    def __init__(self, ax: Any, steps: list[dict[str, np.ndarray]], cuts: set[int], unknown: int):
        self.ax, self.steps, self.cuts, self.unknown = ax, steps, cuts, unknown
        self.stages: list[tuple[int, Any]] = []
        names, H = steps[0], steps[0]["h"].size
        self.gates = [name.removeprefix("z_") for name in names if re.fullmatch(r"z_\w", name)]
        self.has_c, self.direct = "c" in names, "dh_prev (direct)" in names
        self.half, self.tall = 0.46, 0.34 if H == 1 else 0.52  # halves of a node's width and height
        self.width = 2.3  # from step to step
        self.side = self.half + 0.24  # half the width of a cell's frame
        self.gate_half = 0.075 * len(self.gates) + 0.07
        self.y_gates = 1.05 + self.gate_half
        self.y_c = self.y_gates + self.gate_half + 1.05
        self.y_h = self.y_c + (1.1 + self.tall if self.has_c else 0.45) if self.gates else SMALL + 1.05 + self.tall
        self.top = self.y_h + self.tall + 1.1 + SMALL  # where the losses stand
        self.c_by_h = next((name for name in names if name.startswith("dc (through")), "")
        self.h_by_c = next(
            (name for name in names if name.startswith("tanh ")), ""
        )  # of c itself, or of a normalised c
        self.largest = {}
        for phase, wanted in (("forward", r"h|c"), ("backward", r"dh.*|dc.*|dx")):
            sizes = [float(np.linalg.norm(v)) for s in steps for k, v in s.items() if re.fullmatch(wanted, k)]
            self.largest[phase] = max([*sizes, 1e-300])
        last = steps[-1]
        self.has_final = any(np.any(last[name]) for name in ("dh (future)", "dc (future)") if name in last)

    def columns(self) -> None:
        T = len(self.steps)
        self.node(0, self.y_h, "h", None)
        if self.has_c:
            self.node(0, self.y_c, "c", None)
        for t in range(1, T + 1):
            self.column(t, self.steps[t - 1])
        if self.has_final:
            for name, y in (("h", self.y_h), ("c", self.y_c))[: 1 + self.has_c]:
                self.node(T + 1, y, f"final {name}", None)
                last = self.steps[-1]
                self.between(T + 1, y, last[name], last[f"d{name} (future)"], T)

    def column(self, t: int, step: dict[str, np.ndarray]) -> None:
        x = t * self.width
        known = t > self.unknown
        if self.gates:
            self.cell(x, t, step)
        self.node(t, 0.0, "x", None)
        foot = self.y_gates - self.gate_half if self.gates else self.y_h - self.tall
        self.edge([(x, SMALL), (x, foot)], None, step["dx"] if known else None, t)
        self.node(t, self.top, "L", None)
        self.edge([(x, self.y_h + self.tall), (x, self.top - SMALL)], step["h"], step["dh (output)"], t)
        self.node(t, self.y_h, "h", step["h"], step["dh"] if known else None)
        if self.has_c:
            self.node(t, self.y_c, "c", step["c"], step["dc"] if known else None)
            inner = step[self.c_by_h] if known else None
            self.edge([(x, self.y_c + self.tall), (x, self.y_h - self.tall)], step[self.h_by_c], inner, t)
            self.between(t, self.y_c, self.steps[t - 2]["c"] if t > 1 else None, step["dc_prev"])
        before = self.steps[t - 2]["h"] if t > 1 else None
        if not self.gates:
            self.between(t, self.y_h, before, step["dh_prev"])
        elif self.direct:
            self.between(t, self.y_h + self.tall - 0.15, before, step["dh_prev (direct)"])
            ways = {re.sub(r".*through (.*)\)", r"\1", k): v for k, v in step.items() if k.startswith("dh_prev (thr")}
            if "dhU" in step and "n" not in ways:
                ways["n"] = step["dh_prev"] - step["dh_prev (direct)"] - sum(ways.values())
            self.through_gates(t, self.y_h - self.tall + 0.1, before, ways)
        else:
            self.through_gates(t, self.y_h, before, {"": step["dh_prev"]})

    def cell(self, x: float, t: int, step: dict[str, np.ndarray]) -> None:
        """The frame of a gated cell, and the values of its gates."""
        from matplotlib.patches import FancyBboxPatch

        low, high = self.y_gates - self.gate_half - 0.12, self.y_h + self.tall + 0.1
        look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.12", "zorder": 0}
        self.ax.add_patch(FancyBboxPatch((x - self.side, low), 2 * self.side, high - low, fc="0.965", ec="0.7", **look))
        wide = self.half + 0.12
        inner = (x - wide, self.y_gates - self.gate_half)
        self.ax.add_patch(FancyBboxPatch(inner, 2 * wide, 2 * self.gate_half, fc="white", ec="black", lw=0.8, **look))
        lines = [f"{gate}  {number(step[gate], ', ')}" for gate in self.gates]
        look = {"ha": "center", "va": "center", "fontsize": 8 if len(step["h"]) == 1 else 7, "color": FORWARD}
        self.keep(t, self.ax.text(x, self.y_gates, "\n".join(lines), **look))
        top = self.y_gates + self.gate_half
        if self.has_c:
            self.gated([(x, top), (x, self.y_c - self.tall)], ", ".join(g for g in self.gates if g != "o"))
            aside = x - self.half - 0.11
            self.gated([(aside, top), (aside, self.y_h - 0.22), (x - self.half, self.y_h - 0.22)], "o")
        else:
            self.gated([(x, top), (x, self.y_h - self.tall)], ", ".join(self.gates))

    def gated(self, points: list[Point], gates: str) -> None:
        """The way of gates within a cell's frame; the numbers stand at its foot."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        arrow = FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=7, lw=0.8, color="0.45", zorder=1)
        self.ax.add_patch(arrow)
        (x, y), (_, end) = points[:2]
        place = (x + 0.05, (y + end) / 2) if len(points) == 2 else (x + 0.03, y + 0.17)
        self.ax.text(*place, gates, ha="left", va="center", fontsize=8, fontstyle="italic", color="0.3", zorder=3)

    def node(self, t: int, y: float, name: str, value: Any, gradient: Any = None) -> None:
        """A rounded box with its name and, where they are known, its value and its gradient below."""
        from matplotlib.patches import FancyBboxPatch

        x, T = t * self.width, len(self.steps)
        half, tall = (SMALL, SMALL) if name in "xL" else (self.half, self.tall)
        plain: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": "white", "ec": "black", "lw": 0.8}
        self.ax.add_patch(FancyBboxPatch((x - half, y - tall), 2 * half, 2 * tall, zorder=2, **plain))
        label = f"${name}_{{{t}}}$" if len(name) == 1 else name.replace(" ", "\n")
        place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3}
        self.ax.text(x, y + (self.tall - 0.15 if value is not None else 0.0), label, fontsize=9.5, **place)
        top = y + self.tall - 0.16
        line = 0.19 if value is None or len(value) == 1 else 0.33
        if value is not None:
            above = top - line + 0.04 * (len(value) - 1)
            self.keep(t, self.ax.text(x, above, number(value), color=FORWARD, fontsize=8, **place))
        if gradient is not None:
            below = top - 2 * line + 0.03 * (len(gradient) - 1)
            self.keep(2 * T + 1 - t, self.ax.text(x, below, number(gradient), color=BACKWARD, fontsize=8, **place))

    def between(self, t: int, y: float, value: Any, gradient: Any, at: int | None = None) -> None:
        """The edge of a state from step t - 1 to step t, which may be cut."""
        left, right = (t - 1) * self.width + self.half, t * self.width - self.half
        if at is not None or not self.gates or self.has_c or self.direct:
            self.edge([(left, y), (right, y)], value, gradient, at or t, crosses=t - 1)

    def through_gates(self, t: int, y: float, value: Any, ways: dict[str, np.ndarray]) -> None:
        """The edge from h of step t - 1 to the gates of step t."""
        left, right = (t - 1) * self.width + self.half, t * self.width - self.half - 0.12
        turn = right - 0.32
        points = [(left, y), (turn, y), (turn, self.y_gates), (right, self.y_gates)]
        self.edge(points, value, sum(ways.values()), t, crosses=t - 1, ways=ways if len(ways) > 1 else None)

    def edge(self, points: list[Point], value: Any, gradient: Any, t: int, crosses: int = -1, ways: Any = None) -> None:
        """Both arrows along the points: the value's to the left of its way, the gradient's to the right."""
        T = len(self.steps)
        back = 2 * T + 1 - t
        cut, known = crosses in self.cuts, crosses < 0 or crosses >= self.unknown
        self.arrow(shifted(points, APART), value, "forward", t)
        if cut:
            self.cut(points, back)
        else:
            self.arrow(shifted(points, -APART)[::-1], gradient if known else None, "backward", back)
        (x0, y0), (x1, y1) = points[:2]
        upright = x0 == x1
        turn = 0.19 * (not upright and self.has_c)  # beside the upright way to the gates, which crosses that of c
        x, y = ((x0 + x1) / 2 - turn * (len(points) == 2), (y0 + y1) / 2)
        gap = APART + 0.07
        spots = ((x - gap, y, "right", "center"), (x + gap, y, "left", "center"))
        if not upright:
            spots = ((x, y + gap, "center", "bottom"), (x, y - gap, "center", "top"))
        if value is not None and ways is None:  # that of several ways stands at the direct one
            self.write(*spots[0], number(value), FORWARD, t)
        if ways is not None and known:
            text = "\n".join(f"{way}:\n{number(each)}" for way, each in ways.items())
            middle = (points[1][1] + points[2][1]) / 2
            text = f"cut:\n{text}" if cut else text
            self.write(points[1][0] - gap, middle, "right", "center", text, BACKWARD, back)
        elif gradient is not None and known:
            self.write(*spots[1], f"cut:\n{number(gradient)}" if cut else number(gradient), BACKWARD, back)

    def arrow(self, points: list[Point], value: Any, phase: str, stage: int) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        size = 0.0 if value is None else float(np.linalg.norm(value)) / self.largest[phase]
        width = 0.8 + 2.6 * max(0.0, 1.0 + np.log10(max(size, 1e-30)) / DECADES)
        look: dict[str, Any] = {"color": FORWARD} if phase == "forward" else {"color": BACKWARD, "ls": (0, (2.5, 1.2))}
        patch = FancyArrowPatch(
            path=Path(points), arrowstyle="-|>", mutation_scale=7 + 1.5 * width, lw=width, zorder=1, **look
        )
        patch.set_capstyle("butt")
        patch.set_joinstyle("miter")
        self.ax.add_patch(patch)
        self.keep(stage, patch)

    def cut(self, points: list[Point], stage: int) -> None:
        """The gradient's arrow as far as the cut, and two bars across, where it ends."""
        x, y = points[0]
        end = shifted(points, -APART)
        stop = x + 0.1
        rest = [(stop + 0.1, end[0][1]), *end[1:]]
        (line,) = self.ax.plot(*zip(*rest), color="0.45", lw=1.0, ls=(0, (2.5, 1.2)), zorder=1)
        self.keep(stage, line)
        for shift in (0.0, 0.1):
            bar = ([stop + shift - 0.05, stop + shift + 0.05], [y - 0.24, y + 0.02])
            (line,) = self.ax.plot(*bar, color="black", lw=1.8, zorder=4)
            self.keep(stage, line)

    def write(self, x: float, y: float, ha: str, va: str, text: str, colour: str, stage: int) -> None:
        under: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        label = self.ax.text(x, y, text, ha=ha, va=va, fontsize=8, color=colour, zorder=3, bbox=under)
        self.keep(stage, label)

    def keep(self, stage: int, artist: Any) -> None:
        self.stages.append((stage, artist))


def number(value: Any, between: str = "\n") -> str:
    """Three significant digits, of each unit."""
    return between.join(f"{each:.3g}" for each in np.asarray(value, dtype=float).reshape(-1))


def shifted(points: list[Point], distance: float) -> list[Point]:
    """A way of upright and level parts, moved so far to its left."""
    found = []
    for k, (x, y) in enumerate(points):
        normals = set()
        for (x0, y0), (x1, y1) in zip(points[max(k - 1, 0) : k + 1], points[max(k - 1, 0) + 1 : k + 2]):
            normals.add((float(np.sign(y0 - y1)), float(np.sign(x1 - x0))))
        found.append((x + distance * sum(n[0] for n in normals), y + distance * sum(n[1] for n in normals)))
    return found
