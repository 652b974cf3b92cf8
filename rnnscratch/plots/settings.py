"""Scores of many settings, as a search or a grid tries them: parallel coordinates, and a map over two of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import as_list, check_sizes
from .style import axes_for, named, numbers_of


def parallel_coordinates(
    settings: Mapping[str, Sequence[Any]],
    scores: Sequence[float],
    log: Collection[str] = (),
    label: str = "score",
    ax: Any = None,
) -> Any:
    """A line for each trial through its value of each setting and its score, the darker the better; the best is red.

    settings: for each name one value for each trial, numbers or words; those in `log` are on a logarithmic scale.
    """
    found = numbers_of("scores", scores, None).astype(float)
    columns = [_places(name, values, len(found), name in log) for name, values in named("settings", settings).items()]
    columns.append(_places("scores", found, len(found), False))
    ax = axes_for(ax, (1.5 * len(columns) + 1.0, 3.6))
    heights = np.array([places for places, _ in columns]).T  # (trials, settings)
    best, x = int(found.argmax()), np.arange(len(columns))
    from matplotlib import colormaps

    for k in [*np.argsort(found), best]:
        colour = "#D55E00" if k == best else colormaps["Blues"](0.15 + 0.85 * heights[k, -1])
        ax.plot(x, heights[k], color=colour, linewidth=2.2 if k == best else 1.0, marker=".")
    for k, (_, ticks) in enumerate(columns):
        ax.axvline(k, color="#777777", linewidth=0.8, zorder=0)
        for place, text in ticks:
            white = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            ax.annotate(text, (k, place), (4, 0), textcoords="offset points", va="center", fontsize="small", bbox=white)
    ax.set_xticks(x, [*settings, label])
    ax.set_yticks([])
    ax.set(xlim=(-0.2, len(columns) - 0.4), ylim=(-0.06, 1.06))
    ax.spines[:].set_visible(False)
    return ax


def score_map(
    settings: Mapping[str, Sequence[Any]],
    scores: Sequence[float],
    log: Collection[str] = (),
    bins: int = 5,
    label: str = "best score",
    ax: Any = None,
) -> Any:
    """The best score by two settings, and below it how many trials it is the best of.

    settings: for each of the two names one value for each trial. A setting with more than `bins` different values is
    cut into so many ranges of one width, of one ratio for those in `log`.
    """
    check_sizes(bins=bins)
    found = numbers_of("scores", scores, None).astype(float)
    if len(named("settings", settings)) != 2:
        raise ValueError(f"settings has {len(settings)} names, expected two")
    (x, x_names), (y, y_names) = (
        _cells(name, values, len(found), name in log, bins) for name, values in settings.items()
    )
    tops, counts = np.full((len(y_names), len(x_names)), np.nan), np.zeros((len(y_names), len(x_names)), int)
    np.fmax.at(tops, (y, x), found)
    np.add.at(counts, (y, x), 1)
    ax = axes_for(ax, (1.0 * len(x_names) + 2.2, 0.7 * len(y_names) + 1.4))
    image = ax.imshow(tops, cmap="Blues", origin="lower", aspect="auto")
    low, high = image.get_clim()
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = tops[row, column] > low + 0.6 * (high - low)
            text = f"{tops[row, column]:.4g}\n({count})"
            ax.text(column, row, text, ha="center", va="center", fontsize="small", color="white" if dark else "black")
    ax.set_xticks(range(len(x_names)), x_names)
    ax.set_yticks(range(len(y_names)), y_names)
    first, second = settings
    ax.set(xlabel=first, ylabel=second, title=label)
    return ax


def _values(name: str, values: Any, count: int, log: bool) -> tuple[np.ndarray, list[str] | None]:
    """The values as numbers, their logarithms if `log`; of words, the places in their order, and the words."""
    entries = as_list(f"settings[{name!r}]", values)
    if len(entries) != count:
        raise ValueError(f"settings[{name!r}] has {len(entries)} values, expected {count}: one for each score")
    if all(isinstance(entry, bool | int | float | np.number) for entry in entries):
        found = np.array(entries, dtype=float)
        if log and not (found > 0).all():
            raise ValueError(
                f"settings[{name!r}] holds {found.min()}, expected numbers above 0 for a logarithmic scale"
            )
        return np.log(found) if log else found, None
    words = list(dict.fromkeys(map(str, entries)))
    return np.array([words.index(str(entry)) for entry in entries], dtype=float), words


def _places(name: str, values: Any, count: int, log: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights between 0 and 1, and what is written at which of them."""
    found, words = _values(name, values, count, log)
    low, span = found.min(), np.ptp(found) or 1.0
    heights = (found - low) / span
    if words is not None:
        return heights, [((k - low) / span, word) for k, word in enumerate(words)]
    ends = dict.fromkeys((found.min(), found.max()))
    return heights, [((end - low) / span, f"{np.exp(end) if log else end:.3g}") for end in ends]


def _cells(name: str, values: Any, count: int, log: bool, bins: int) -> tuple[np.ndarray, list[str]]:
    """In which row or column each value is, and the names of these."""
    found, words = _values(name, values, count, log)
    if words is not None:
        return found.astype(int), words
    different, which = np.unique(found, return_inverse=True)
    if len(different) <= bins:
        return which, [f"{np.exp(value) if log else value:.3g}" for value in different]
    edges = np.linspace(different[0], different[-1], bins + 1)
    ends = np.exp(edges) if log else edges
    names = [f"{low:.3g} to {high:.3g}" for low, high in zip(ends, ends[1:])]
    return np.clip(np.searchsorted(edges, found, side="right") - 1, 0, bins - 1), names
