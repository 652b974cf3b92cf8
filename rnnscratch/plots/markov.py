"""Hidden Markov models as graphs: the trellis of one sequence, and the states with their transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_list, check_number
from ..hmm.base import BaseHMM
from ..hmm.chain import MarkovChain
from .style import COLOURS, axes_for, shrink_text

MOST_STATES, MOST_FRAMES = 6, 15
NODE = 0.27  # a node's radius
WIDEST = 7.0  # a line's width for the probability 1

Point = tuple[float, float]


def trellis(model: BaseHMM, X: Any, names: Sequence[str] = (), ax: Any = None) -> Any:
    """The trellis of a hidden Markov model on one sequence X, with a column for each frame.

    On each node stands what the forward recursion knows at that time, alpha divided by its sum: p(z_t | x_1 .. x_t)
    (`model.filter`). Lines are the wider, the more probable the start or transition; impossible ones are left out. The
    most probable path of all (`model.decode`, Viterbi) has bold frames and an orange line of its own. names are those
    of the states. Raises TypeError or ValueError for another model, and for more than 6 states or 15 frames.
    """
    start, transmat = _chain(model, (BaseHMM,))
    N = len(transmat)
    alpha = to_cpu(model.filter(X))
    T = len(alpha)
    if N > MOST_STATES or T > MOST_FRAMES:
        raise ValueError(
            f"model and X have {N} states and {T} frames, expected at most {MOST_STATES} and {MOST_FRAMES}"
        )
    _, path = model.decode(X, algorithm="viterbi")
    labels = _names(names, N)
    ax = axes_for(ax, (1.05 * T + 2.0, 1.0 * N + 1.3))
    ax.set(xlim=(-0.75, T + 0.5), ylim=(-0.75 - N + 1, 0.6), aspect="equal")
    for t in range(1, T + 1):
        before = [(-1, 1.0)] if t == 1 else list(enumerate(alpha[t - 2]))
        for i, _ in before:
            chances = start if t == 1 else transmat[i]
            for j in range(N):
                ends = (0.0, -(N - 1) / 2) if t == 1 else (float(t - 1), -float(i)), (float(t), -float(j))
                _edge(ax, *ends, float(chances[j]), best=path[t - 1] == j and (t == 1 or path[t - 2] == i))
    ax.text(0.0, -(N - 1) / 2, "start", ha="right", va="center", fontsize=9)
    for t, row in enumerate(alpha, start=1):
        for j, share in enumerate(row):
            _node(ax, (t, -j), f"{share:.2f}", float(share), bold=path[t - 1] == j)
    ax.set_yticks([-float(j) for j in range(N)], labels)
    ax.set_xticks(range(1, T + 1), _observed(X, T))
    ax.tick_params(length=0)
    ax.set_xlabel("observation, from frame 1 on")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.plot([], [], color=COLOURS[1], lw=2.5, label="most probable path (Viterbi)")
    ax.plot([], [], color="0.6", lw=4, label="start and transitions: wider, more probable")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2 if T > 5 else 1, fontsize="small")
    shrink_text(ax)
    return ax


def transition_graph(
    model: BaseHMM | MarkovChain, names: Sequence[str] = (), least: float = 0.005, ax: Any = None
) -> Any:
    """The states of a hidden Markov model or a Markov chain as nodes, with the probabilities of start and transition.

    An arrow is the wider, the more probable its transition, which stands beside it; one below `least` is left out. In
    each node stands the probability that it is the first. Raises TypeError or ValueError for another model, one that
    has learned nothing, and more than 6 states.
    """
    start, transmat = _chain(model, (BaseHMM, MarkovChain))
    N = len(transmat)
    if N > MOST_STATES:
        raise ValueError(f"model has {N} states, expected at most {MOST_STATES}")
    check_number("least", least, least=0.0, below=1.0)
    own = getattr(model, "vocabulary_", ()) if isinstance(model, MarkovChain) else ()
    labels = _names(as_list("names", names) or list(own or ()), N)
    radius = 0.0 if N == 1 else 1.3 / np.sin(np.pi / N)
    angles = np.pi - 2 * np.pi * np.arange(N) / N if N < 3 else np.pi / 2 - 2 * np.pi * np.arange(N) / N
    places = [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles]
    reach = [radius * np.abs(np.cos(angles)).max() + 1.55, radius * np.abs(np.sin(angles)).max() + 1.45]
    if N < 3:
        reach[1] = 1.1
    ax = axes_for(ax, (1.1 * 2 * reach[0], 1.1 * 2 * reach[1]))
    ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
    ax.axis("off")
    taken: list[Point] = []
    for i in range(N):
        for j in range(N):
            if transmat[i, j] >= least:
                beside = (i - j) % N in (1, N - 1)
                way = _loop(places[i], angles[i]) if i == j else _bow(places[i], places[j], beside)
                taken.append(_label_place(way, places, taken))
                _transition(ax, way, taken[-1], float(transmat[i, j]))
    for place, label, first in zip(places, labels, start):
        _node(ax, place, f"{label}\nstart {first:.2f}", 0.0, bold=False, size=BIG)
    shrink_text(ax)
    return ax


BIG = 0.5  # radius of a node that holds a name


def _chain(model: Any, kinds: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(model, kinds):
        wanted = "a model of rnnscratch.hmm" if len(kinds) > 1 else "a hidden Markov model of rnnscratch.hmm"
        raise TypeError(f"model is {type(model).__name__}, expected {wanted}")
    for name in ("startprob_", "transmat_"):
        if not hasattr(model, name):
            raise ValueError(f"model has no {name}, expected one that is fitted or set")
    return np.asarray(to_cpu(model.startprob_), dtype=float), np.asarray(to_cpu(model.transmat_), dtype=float)


def _names(names: Any, N: int) -> list[str]:
    found = [str(name) for name in as_list("names", names)] or [f"state {k}" for k in range(N)]
    if len(found) != N:
        raise ValueError(f"names has {len(found)} entries, expected {N}: one for each state")
    return found


def _observed(X: Any, T: int) -> list[str]:
    """What is seen in each frame, if it is one symbol or number; else the frame's number."""
    values = np.asarray(X, dtype=object)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (T,):
        return [str(t) for t in range(1, T + 1)]
    return [f"{value:.3g}" if isinstance(value, float | np.floating) else str(value) for value in values.tolist()]


def _edge(ax: Any, begin: Point, end: Point, chance: float, best: bool) -> None:
    """A line between two nodes; on the best path with an orange one within."""
    if chance <= 0.0 and not best:
        return
    ax.plot(*zip(begin, end), color="0.75", lw=max(WIDEST * chance, 0.4), zorder=1, solid_capstyle="butt")
    if best:
        ax.plot(*zip(begin, end), color=COLOURS[1], lw=2.5, zorder=2, solid_capstyle="butt")


def _node(ax: Any, at: Point, text: str, share: float, bold: bool, size: float = NODE) -> None:
    """A circle with its text, the darker the larger the share."""
    from matplotlib.patches import Circle

    face = tuple(1.0 - share * (1.0 - part) for part in (0.03, 0.19, 0.42))  # to a dark blue
    frame: dict[str, Any] = {"ec": COLOURS[1] if bold else "black", "lw": 3.0 if bold else 0.9}
    ax.add_patch(Circle(at, size, fc=face, zorder=3, **frame))
    look = {"ha": "center", "va": "center", "zorder": 4, "color": "white" if share > 0.5 else "black"}
    ax.text(*at, text, fontsize=9, fontweight="bold" if bold else "normal", **look)


def _bow(begin: Point, end: Point, beside: bool) -> list[Point]:
    """Three points of a bow from node to node, left of the straight line; a flat one unless they are neighbours."""
    a, b = np.array(begin), np.array(end)
    across = np.array([a[1] - b[1], b[0] - a[0]])
    control = (a + b) / 2 + (0.22 if beside else 0.1) * across
    first, last = (at + BIG * (control - at) / np.linalg.norm(control - at) for at in (a, b))
    return [tuple(first), tuple(control), tuple(last)]


def _loop(at: Point, angle: float) -> list[Point]:
    """Four points of a loop at a node, away from the middle."""
    out = [(np.cos(angle + turn), np.sin(angle + turn)) for turn in (0.42, 0.5, -0.5, -0.42)]
    far = (BIG, 2.35 * BIG, 2.35 * BIG, BIG)
    return [(at[0] + size * x, at[1] + size * y) for size, (x, y) in zip(far, out)]


def _transition(ax: Any, way: list[Point], place: Point, chance: float) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    codes = [Path.MOVETO, *([Path.CURVE3] * 2 if len(way) == 3 else [Path.CURVE4] * 3)]
    width = max(0.55 * WIDEST * chance, 0.5)
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8 + 2 * width, "color": COLOURS[0], "lw": width}
    ax.add_patch(FancyArrowPatch(path=Path(way, codes), zorder=2, **look))
    under: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
    ax.text(*place, f"{chance:.2f}", ha="center", va="center", fontsize=9, zorder=4, bbox=under)


def _label_place(way: list[Point], nodes: list[Point], taken: list[Point]) -> Point:
    """Beside the way, at the first place that is clear of nodes and of other labels; else the first."""
    points = np.array(way)
    if len(way) == 4:  # a loop: beyond its top
        top, foot = points[[1, 2]].mean(axis=0), points[[0, 3]].mean(axis=0)
        place = (foot + 3 * top) / 4 + 0.24 * (top - foot) / np.linalg.norm(top - foot)
        return float(place[0]), float(place[1])
    across = points[1] - points[[0, 2]].mean(axis=0)
    aside = 0.19 * across / np.linalg.norm(across)
    places = []
    for share in (0.35, 0.25, 0.5, 0.65, 0.75):  # not the middle first, where lines cross
        on = (1 - share) ** 2 * points[0] + 2 * share * (1 - share) * points[1] + share**2 * points[2]
        places += [(float(on[0] + side * aside[0]), float(on[1] + side * aside[1])) for side in (1, -1)]
    for x, y in places:
        clear = all(np.hypot(x - a, y - b) > BIG + 0.2 for a, b in nodes)
        if clear and all(abs(x - a) > 0.42 or abs(y - b) > 0.2 for a, b in taken):
            return x, y
    return places[0]
