"""What all pictures share: colours, markers, the Axes to draw into, and how arguments are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_array, refuse_first
from ..experiments.results import NAMES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PLACES = {name: place for place, name in enumerate(NAMES.values())}  # the same look in every picture


def axes_for(ax: Any, figsize: tuple[float, float] = (5.0, 3.4)) -> Any:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained").add_subplot()


def shrink_text(ax: Any) -> None:
    """Make text smaller where the Axes show a unit of a drawing made for one inch on less than that."""
    ax.figure.draw_without_rendering()  # which says how large they are
    ax.apply_aspect()
    inches = ax.get_window_extent().width / ax.figure.dpi / float(np.ptp(ax.get_xlim()))
    for text in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label):
        text.set_fontsize(text.get_fontsize() * min(inches, 1.0))


def numbers_of(name: str, value: Any, *shape: int | None, at_least: bool = False) -> np.ndarray:
    """The value as an array on the host, with so many axes (or at least so many) of these lengths, None for any."""
    found = to_cpu(as_array(name, value, missing=True))
    fits = len(found.shape) >= len(shape) if at_least else len(found.shape) == len(shape)
    if not fits or any(size not in (None, own) for own, size in zip(found.shape, shape)) or not found.size:
        wanted = ", ".join("..." if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {found.shape}, expected ({wanted}{', ...' if at_least else ''})")
    return found


def named(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError(f"{name} is {type(value).__name__}, expected a dict with values for at least one name")
    return value


def curves_of(name: str, curves: Any) -> dict[str, np.ndarray]:
    """A row of numbers for each name."""
    return {
        key: numbers_of(f"{name}[{key!r}]", values, None).astype(float) for key, values in named(name, curves).items()
    }


def states_of(name: str, value: Any) -> np.ndarray:
    """A row of states, which are whole numbers from 0 on."""
    found = numbers_of(name, value, None)
    refuse_first(name, found, (found >= 0) & (found == np.floor(found)), "a state: a whole number from 0 on")
    return found.astype(int)


def style_of(position: int) -> dict[str, Any]:
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)], "markersize": 4}


def styles_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A style for each name: that of PLACES, or else the first that none of the others has."""
    names = list(dict.fromkeys(names))
    free = iter(k for k in range(len(names) + len(PLACES)) if k not in {PLACES.get(name) for name in names})
    return {name: style_of(PLACES[name] if name in PLACES else next(free)) for name in names}


FEW = 4  # names that a legend may hold within the picture


def legend(ax: Any, count: int) -> None:
    """A legend of so many names; of many, beside the picture, which would be covered."""
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": "small"}
    ax.legend(frameon=False, **(beside if count > FEW else {}))


def squares(ax: Any, shares: np.ndarray, text: Callable[[int, int], str], labels: Sequence[str]) -> None:
    """Shares (K, K) of each row as squares, the larger the darker, with the text of (row, column) on each."""
    ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        ax.text(column, row, text(row, column), ha="center", va="center", color=colour)
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(labels)), labels)


def to_png(ax: Any, dpi: int = 130) -> bytes:
    """The figure of these Axes as a PNG file's bytes; needs no display."""
    from io import BytesIO

    buffer = BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
