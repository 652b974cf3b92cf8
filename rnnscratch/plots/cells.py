"""The wiring of each cell: one picture, in which every line of the cell's `step` function can be followed.

A picture is a list of parts, each with what it computes from which others; the lines follow from that. `kernels/` holds
the same equations as code.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..checks import check_choice
from .style import COLOURS, axes_for, shrink_text

Point = tuple[float, float]


class Part(NamedTuple):
    """One thing that is drawn and what enters it.

    what: "in" and "out" (x, h_prev, h, ...), "linear" (a product with weights), "sigmoid", "tanh", "*", "+" or "1-".
    inputs: name of the part and the corners of the line from it; a first corner on another line of that part is where
    it branches off. `gives` is the name of what comes out, beside the line.
    """

    name: str
    what: str
    at: Point
    inputs: tuple[tuple[str, tuple[Point, ...]], ...] = ()
    text: str = ""
    gives: str = ""


def _in(name: str, at: Point) -> Part:
    return Part(name, "in", at, text=name)


def _out(name: str, source: str, at: Point, *corners: Point) -> Part:
    return Part(f"out {name}", "out", at, ((source, corners),), text=name)


RNN = (
    _in("x", (1.9, 0.0)),
    _in("h_prev", (0.0, 0.8)),
    Part("z", "linear", (1.9, 0.8), (("x", ()), ("h_prev", ())), "z = x W + h_prev U + b"),
    Part("h", "tanh", (4.0, 0.8), (("z", ()),)),
    _out("h", "h", (5.2, 0.8)),
)


def _lstm(peephole: bool) -> tuple[Part, ...]:
    f, i, g, o, end = (2.1, 4.0, 5.2, 7.2, 8.5) if peephole else (1.6, 3.0, 4.2, 5.8, 7.1)
    middle, joint, act = (i + g) / 2, 1.75, 2.65 if peephole else 1.95  # where i g stands; levels
    product, out, top = act + 0.85, act + 0.85, act + 1.85
    gates = []
    for letter, x in (("f", f), ("i", i), ("g", g), ("o", o)):
        kind, source = "tanh" if letter == "g" else "sigmoid", f"z_{letter}"
        if peephole and letter != "g":
            state, corners = {
                "f": ("c_prev", ((f - 1.3, top), (f - 1.3, joint))),
                "i": ("c_prev", ((f - 1.3, act + 0.75), (i - 0.85, act + 0.75))),
                "o": ("c", ((o - 0.85, top),)),
            }[letter]
            high = (x - 0.85, joint if letter == "f" else act)
            gates.append(Part(f"P_{letter}", "linear", high, ((state, corners),), f"* P_{letter}"))
            corner = () if letter == "f" else ((x - 0.85, joint),)
            entering = ((source, ((x, 0.8),)), (f"P_{letter}", corner))
            gates.append(Part(f"+ {letter}", "+", (x, joint), entering))
            source = f"+ {letter}"
            gates.append(Part(letter, kind, (x, act), ((source, ()),), gives=letter))
        else:
            gates.append(Part(letter, kind, (x, act), ((source, ((x, 0.8),)),), gives=letter))
    bar = ((f + o) / 2, 0.8)
    return (
        _in("x", (bar[0], 0.0)),
        _in("h_prev", (-0.15, 0.8)),
        _in("c_prev", (-0.15, top)),
        Part("z", "linear", bar, (("x", ()), ("h_prev", ())), "z = x W + h_prev U + b"),
        *gates,
        Part("f * c_prev", "*", (f, top), (("c_prev", ()), ("f", ()))),
        Part("i * g", "*", (middle, product), (("i", ((i, product),)), ("g", ((g, product),)))),
        Part("c", "+", (middle, top), (("f * c_prev", ()), ("i * g", ())), gives="c"),
        Part("tanh c", "tanh", (end, out + 0.35), (("c", ((end, top),)),), gives="tanh c"),
        Part("h", "*", (end, act), (("o", ()), ("tanh c", ()))),
        _out("c", "c", (end + 1.2, top)),
        _out("h", "h", (end + 1.2, act)),
    )


def _gru(after: bool) -> tuple[Part, ...]:
    r, add, n, z, one, end = (2.9, 3.8, 4.8, 5.8, 6.6, 7.5) if after else (1.6, 3.7, 4.7, 5.7, 6.5, 7.4)
    act, level, top = 1.95, 3.1, 4.3
    away = (0.65, top)  # where h_prev goes down to the gates
    left = 1.7 if after else r
    gated = (
        Part("hn", "linear", (left, level), (("h_prev", ((left, top),)),), "h_prev U_n\n+ bn", "hn"),
        Part("r * hn", "*", (r, level), (("hn", ()), ("r", ()))),
    )
    if not after:
        gated = (
            Part("r * h_prev", "*", (r, level), (("h_prev", ((r, top),)), ("r", ()))),
            Part("product", "linear", (r + 1.05, level), (("r * h_prev", ()),), "@ U_n"),
        )
    low, high = (1.7, z) if after else (r, z)
    bar = ((low + high) / 2, 0.8)
    return (
        _in("x", (bar[0], 0.0)),
        _in("h_prev", (-0.15, top)),
        Part(
            "z",
            "linear",
            bar,
            (("x", ()), ("h_prev", (away, (away[0], 0.8)))),
            "z = x W + h_prev U + b    (n: without h_prev U)",
        ),
        Part("r", "sigmoid", (r, act), (("z_r", ((r, 0.8),)),), gives="r"),
        Part("update", "sigmoid", (z, act), (("z_z", ((z, 0.8),)),), gives="z"),
        *gated,
        Part("z_n", "+", (add, level), ((gated[-1].name, ()), ("x W_n + b_n", ((add, 0.8),)))),
        Part("n", "tanh", (n, level), (("z_n", ()),), gives="n"),
        Part("z * h_prev", "*", (z, top), (("h_prev", ()), ("update", ()))),
        Part("1 - z", "1-", (one, act + 0.6), (("update", ((z, act + 0.6),)),)),
        Part("(1 - z) * n", "*", (end, level), (("n", ()), ("1 - z", ((end, act + 0.6),)))),
        Part("h", "+", (end, top), (("z * h_prev", ()), ("(1 - z) * n", ()))),
        _out("h", "h", (end + 1.2, top)),
    )


CELLS = {
    "rnn": RNN,
    "lstm": _lstm(False),
    "gru": _gru(False),
    "gru_reset_after": _gru(True),
    "peephole": _lstm(True),
}
TITLES = {
    "rnn": "vanilla RNN",
    "lstm": "LSTM",
    "gru": "GRU, reset gate before the product",
    "gru_reset_after": "GRU, reset gate after the product",
    "peephole": "LSTM with peepholes",
}
EQUATIONS = {  # as in the cells' `step` functions
    "rnn": ("h = tanh(z)",),
    "lstm": ("i, f, o = sigmoid(z_i, z_f, z_o)    g = tanh(z_g)", "c = f * c_prev + i * g    h = o * tanh(c)"),
    "gru": (
        "r, z = sigmoid(z_r, z_z)    n = tanh(x W_n + b_n + (r * h_prev) @ U_n)",
        "h = z * h_prev + (1 - z) * n",
    ),
    "gru_reset_after": (
        "r, z = sigmoid(z_r, z_z)    hn = h_prev U_n + bn    n = tanh(x W_n + b_n + r * hn)",
        "h = z * h_prev + (1 - z) * n",
    ),
    "peephole": (
        "i = sigmoid(z_i + P_i * c_prev)    f = sigmoid(z_f + P_f * c_prev)    g = tanh(z_g)",
        "c = f * c_prev + i * g    o = sigmoid(z_o + P_o * c)    h = o * tanh(c)",
    ),
}


def cell(kind: str, ax: Any = None) -> Any:
    """The wiring of a cell: "rnn", "lstm", "gru", "gru_reset_after" or "peephole".

    Letters are those of `kernels`. Boxes multiply with weights or activate, circles work unit by unit; a dot is where a
    line branches, and lines that cross without one do not touch. The one wide box holds all gates' x W + h_prev U + b
    at once, as the loop over time computes it, and each gate takes its block of columns. Below stand the equations.
    Raises ValueError for another cell.
    """
    check_choice("kind", kind, CELLS)
    parts = {part.name: part for part in CELLS[kind]}
    xs, ys = zip(*(part.at for part in parts.values()))
    below = 0.36 * len(EQUATIONS[kind])
    left, right, low, high = min(xs) - 0.5, max(xs) + 0.45, min(ys) - 0.3 - below, max(ys) + 0.85
    own = ax is None
    ax = axes_for(ax, (right - left, high - low))
    if own:
        ax.figure.set_layout_engine("none")  # so that one unit is one inch
        ax.set_position((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.axis("off")
    ax.text(left + 0.1, high - 0.12, TITLES[kind], fontsize=11, fontweight="bold", va="top")
    for k, line in enumerate(EQUATIONS[kind]):
        place = (left + 0.1, low + below - 0.12 - 0.3 * k)
        ax.text(*place, _nice(line), fontsize=9, va="center")
    for part in parts.values():
        for source, corners in part.inputs:
            _line(ax, parts, source, corners, part)
    for part in parts.values():
        _part(ax, part, parts)
    shrink_text(ax)
    return ax


WIDE, TALL, ROUND = 0.3, 0.21, 0.17  # halves of a box's width and height; a circle's radius
SIGNS = {"sigmoid": r"$\sigma$", "tanh": "tanh", "*": r"$\times$", "+": "+", "1-": r"$1-$"}


def _size(part: Part, parts: dict[str, Part]) -> Point:
    """Half the width and half the height of what is drawn."""
    if part.what in ("*", "+", "1-"):
        return ROUND, ROUND
    if part.what == "linear":
        if part.name == "z":  # which reaches below every gate
            places = [corners[0][0] for each in parts.values() for name, corners in each.inputs if name not in parts]
            return max([max(abs(x - part.at[0]) for x in places) + 0.4 if places else 0.0, 1.05]), 0.24
        return (0.5, 0.27) if "\n" in part.text else (0.33, TALL)
    return (0.26, 0.18) if part.what in ("in", "out") else (WIDE, TALL)


def _line(ax: Any, parts: dict[str, Part], source: str, corners: tuple[Point, ...], to: Part) -> None:
    """From the source's part, or a corner on its line, to the edge of the part it enters."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    own = parts.get(source)
    points = list(corners)
    if own is not None and not _branches(parts, source, to, corners):
        points = [own.at, *points]
        if own.what == "in":  # the line begins beside the letters
            (x, y), upright = own.at, (points[1] if len(points) > 1 else to.at)[0] == own.at[0]
            points[0] = (x, y + 0.16) if upright else (x + 0.3, y)
    (x0, y0), (x1, y1) = points[-1], to.at
    wide, tall = _size(to, parts)
    if x0 == x1:
        y1 -= tall if y1 > y0 else -tall
    else:
        x1 -= wide if x1 > x0 else -wide
    points.append((x1, y1))
    if own is not None and points[0] == (*corners, None)[0]:
        ax.plot(*points[0], "o", color="black", markersize=4.5, zorder=2.5)
    arrow = FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=9, lw=1.2, color="black", zorder=2)
    arrow.set_joinstyle("miter")
    ax.plot(*zip(*points), color="white", lw=5, zorder=2, solid_capstyle="butt")  # a crossing looks like a bridge
    ax.add_patch(arrow)
    if own is None:  # a gate's block of the wide box
        box = parts["z"]
        ax.text(x1 + 0.06, box.at[1] + 0.24 + 0.17, _nice(source), fontsize=8, ha="left", va="center", zorder=4)


def _branches(parts: dict[str, Part], source: str, to: Part, corners: tuple[Point, ...]) -> bool:
    """Whether the line to a part begins on another line of the same source, not at the source."""
    if not corners:
        return False
    x, y = corners[0]
    for part in parts.values():
        for name, others in part.inputs:
            if name == source and (part.name, others) != (to.name, corners):
                ways = [parts[source].at, *others, part.at]
                for (x0, y0), (x1, y1) in zip(ways, ways[1:]):
                    if min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1) and (x0 == x1 or y0 == y1):
                        return True
    return False


def _part(ax: Any, part: Part, parts: dict[str, Part]) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    x, y = part.at
    wide, tall = _size(part, parts)
    place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    if part.what in ("in", "out"):
        ax.text(x, y, _nice(part.text), fontsize=11, **place)
        return
    text = _nice(part.text) if part.what == "linear" else SIGNS[part.what]
    if part.what in ("*", "+", "1-"):
        ax.add_patch(Circle((x, y), ROUND, fc="white", ec=COLOURS[1], lw=1.5, zorder=3))
    else:
        weights = part.what == "linear"
        look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.06", "zorder": 3, "lw": 1.5}
        look |= {"fc": "#EAF3F9" if weights else "white", "ec": COLOURS[0] if weights else COLOURS[2]}
        ax.add_patch(FancyBboxPatch((x - wide, y - tall), 2 * wide, 2 * tall, **look))
    size = 8.5 if part.what in ("1-",) or "\n" in text else 10
    ax.text(x, y, text, fontsize=size, **place)
    if part.gives:
        upright = part.what == "sigmoid" and part.name != "o" or part.name == "g"
        side = (x + 0.07, y + tall + 0.12, "left") if upright else (x + wide + 0.06, y + 0.13, "left")
        if part.name == "tanh c":
            side = (x + 0.07, y - tall - 0.15, "left")
        ax.text(*side[:2], _nice(part.gives), fontsize=9, ha=side[2], va="center", fontstyle="italic", zorder=4)


def _nice(text: str) -> str:
    """The letters of the code as a book would set them: h_prev, z_f and b_n with their lower marks."""
    text = text.replace(" * ", " \u00d7 ").replace("* ", "\u00d7 ").replace("sigmoid", "\u03c3")
    return re.sub(
        r"\b([a-zA-Z])(?:_(\w+))?\b", lambda m: f"${m[1]}_{{\\mathrm{{{m[2]}}}}}$" if m[2] else f"${m[1]}$", text
    )
