"""Words: what gates, gradients and attention do with each of a text, and where word vectors lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_array, as_list, check_number, refuse_first
from ..text.vectors import nearest, principal_components
from .style import (
    COLOURS,
    HATCHES,
    axes_for,
    curves_of,
    numbers_of,
    style_of,
)


def gates_over_words(values: np.ndarray, words: Sequence[str], label: str = "gate", ax: Any = None) -> Any:
    """One gate of every unit (rows) over the words of a text (columns): values (T, H), of `teach.words.gates`.

    From 0, light, to 1, dark; where there are negative values, from blue at -1 over white to red at 1.
    """
    words, values = as_list("words", words), numbers_of("values", values, None, None)
    if len(values) != len(words):
        raise ValueError(f"values has {len(values)} rows, expected one for each of the {len(words)} words")
    ax = axes_for(ax, (max(0.32 * len(words), 3.0), 3.0))
    signed = bool((values < 0).any())
    limit = max(1.0, float(np.abs(values).max()))
    colours = (
        {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "cividis_r", "vmin": 0.0, "vmax": 1.0}
    )
    image = ax.imshow(values.T, aspect="auto", interpolation="nearest", **colours)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)
    ax.set(xticks=range(len(words)), ylabel="unit")
    ax.set_xticklabels(words, rotation=90)
    ax.yaxis.get_major_locator().set_params(integer=True)
    return ax


def coloured_text(words: Sequence[str], values: Any, limit: float | None = None) -> str:
    """A text as HTML whose words have a value each as background: blue below 0, white at 0, orange above.

    values (T,), such as one cell's state; the colours are full at `limit`, by default the largest size. The value
    stands in each word's tooltip.
    """
    from html import escape

    words, numbers = as_list("words", words), to_cpu(as_array("values", values)).astype(float)
    refuse_first("values", numbers, np.isfinite(numbers), "a finite number")
    if numbers.shape != (len(words),):
        raise ValueError(f"values has shape {numbers.shape}, expected ({len(words)},): one for each word")
    full = float(np.abs(numbers).max(initial=0.0)) if limit is None else check_number("limit", limit, above=0.0)
    parts = []
    for word, value in zip(words, numbers):
        share = min(abs(value) / full, 1.0) if full else 0.0
        red, green, blue = (230, 159, 0) if value > 0 else (86, 180, 233)  # Okabe and Ito's orange and sky blue
        mixed = ", ".join(str(round(255 + share * (part - 255))) for part in (red, green, blue))
        style = f"background: rgb({mixed}); color: black; padding: 1px 2px"
        parts.append(f'<span style="{style}" title="{value:+.3f}">{escape(word)}</span>')
    return f'<p style="line-height: 1.7">{" ".join(parts)}</p>'


HOVER = (  # each word takes on its share of what the state at this one owes it
    "var all=this.parentNode.children, row=this.dataset.row.split(' ');"
    "for(var k=0;k<all.length;k++){var share=k<row.length?+row[k]:0, box=all[k], here=box===this;"
    "box.style.background='rgba(230,159,0,'+share+')';box.style.outline=here?'2px solid black':'none';"
    "box.lastChild.textContent=k<row.length?(+row[k]).toFixed(2):'\u2013'}"
)


def connectivity(words: Sequence[str], matrix: Any, ax: Any = None) -> Any:
    """How much each word read earlier still decides the state at each word of a text: a page's part, or a picture.

    matrix (T, T): row the word at which the state is looked at, column the word read, such as
    `teach.flow.singular_values(layer, x)[1:, 1:, 0]`, the largest stretch from the state after the word read to that
    looked at. What lies above the diagonal is not used, since a word cannot decide a state before it. Values are not
    below 0 and shown as shares of the largest in their row.

    Without `ax` HTML: under the pointer, or reached with the tab key, a word gives all words before it their share, as
    shade and as number; nothing is loaded, and where a page holds no script, the shares of the last word stand there.
    With `ax` the whole triangle is drawn, a row for each word, and the Axes are returned.
    """
    words = as_list("words", words)
    T = len(words)
    values = numbers_of("matrix", matrix, T, T).astype(float)
    lower = values[np.tri(T, dtype=bool)]
    refuse_first("matrix's lower triangle", lower, np.isfinite(lower) & (lower >= 0), "a finite number of at least 0")
    values = np.tril(np.where(np.tri(T, dtype=bool), values, 0.0))
    largest = values.max(axis=1, keepdims=True)
    shares = values / np.where(largest > 0, largest, 1.0)
    return _connectivity_html(words, shares) if ax is None else _connectivity_map(words, shares, ax)


def _connectivity_html(words: Sequence[str], shares: np.ndarray) -> str:
    from html import escape

    box = "display: inline-block; padding: 2px 3px; margin: 1px; text-align: center; cursor: pointer; color: black; "
    small = "display: block; font-size: 70%"
    parts = []
    for k, (word, share) in enumerate(zip(words, shares[-1])):
        row = " ".join(f"{value:.3g}" for value in shares[k, : k + 1])
        outline = "outline: 2px solid black; " if k == len(words) - 1 else ""
        style = f"{box}{outline}background: rgba(230,159,0,{share:.3g})"
        events = f'onmouseover="{HOVER}" onfocus="{HOVER}"'
        number = f'<small style="{small}">{share:.2f}</small>'
        parts.append(f'<span tabindex="0" data-row="{row}" {events} style="{style}">{escape(str(word))}{number}</span>')
    note = "Point at a word: how much each one read so far still counts there (1: the most)."
    return (
        '<div style="background: white; color: black; padding: 4px; font-family: sans-serif">'
        f'<div style="line-height: 1.5">{"".join(parts)}</div><small>{note}</small></div>'
    )


def _connectivity_map(words: Sequence[str], shares: np.ndarray, ax: Any) -> Any:
    T = len(words)
    shown = np.ma.masked_array(shares, ~np.tri(T, dtype=bool))
    image = ax.imshow(shown, cmap="cividis_r", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="share of the row's largest")
    ax.set(xticks=range(T), yticks=range(T), xlabel="word read", ylabel="state at")
    ax.set_xticklabels(words, rotation=90)
    ax.set_yticklabels(words)
    return ax


def word_effects(words: Sequence[str], effects: Mapping[str, Any], ax: Any = None) -> Any:
    """How much each word moves the answer, by one method or several side by side: for each name values (T,).

    For `teach.words.saliency` and its check, `teach.words.occlusion`, in units of the logit.
    """
    words, effects = as_list("words", words), curves_of("effects", effects)
    for name, values in effects.items():
        numbers_of(f"effects[{name!r}]", values, len(words))
    ax = axes_for(ax, (max(0.34 * len(words), 3.0), 3.0))
    width = 0.8 / len(effects)
    for k, (name, values) in enumerate(effects.items()):
        places = np.arange(len(words)) + (k - (len(effects) - 1) / 2) * width
        look = {"color": COLOURS[k % len(COLOURS)], "hatch": HATCHES[k % len(HATCHES)]}
        ax.bar(places, values, width, label=name, **look)
    ax.axhline(0.0, color="black", lw=0.8)
    ax.set(xticks=range(len(words)), ylabel="effect (logit)", xlim=(-0.6, len(words) - 0.4))
    ax.set_xticklabels(words, rotation=90)
    ax.legend(frameon=False)
    return ax


def attention(weights: np.ndarray, source: Sequence[str], target: Sequence[str], ax: Any = None) -> Any:
    """Attention weights (T_out, T_in): a row for each word put out, a column for each word read; rows sum to 1."""
    source, target = as_list("source", source), as_list("target", target)
    weights = numbers_of("weights", weights, None, None)
    if weights.shape != (len(target), len(source)):
        raise ValueError(f"weights has shape {weights.shape}, expected ({len(target)}, {len(source)}): target, source")
    ax = axes_for(ax, (0.4 * len(source) + 1.8, 0.35 * len(target) + 1.2))
    image = ax.imshow(weights, cmap="cividis_r", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="attention weight")
    ax.set(xticks=range(len(source)), yticks=range(len(target)), xlabel="read", ylabel="put out")
    ax.set_xticklabels(source, rotation=90 * any(len(str(word)) > 1 for word in source))  # single letters stand upright
    ax.set_yticklabels(target)
    return ax


def neighbours(vectors: np.ndarray, words: Sequence[str], chosen: Sequence[str], count: int = 5, ax: Any = None) -> Any:
    """Chosen words and their nearest neighbours by cosine, on the first two principal components of those shown.

    vectors (N, D) in the order of `words`. Raises ValueError for a chosen word that is not among them.
    """
    words, chosen = as_list("words", words), as_list("chosen", chosen)
    vectors = numbers_of("vectors", vectors, len(words), None)
    for word in chosen:
        if word not in words:
            raise ValueError(f"chosen holds {word!r}, which is not among the {len(words)} words")
    ax = axes_for(ax, (5.5, 4.2))
    groups = {word: [list(words).index(word), *nearest(vectors, list(words).index(word), count)] for word in chosen}
    shown = list(dict.fromkeys(index for group in groups.values() for index in group))
    points, shares = principal_components(np.asarray(vectors)[shown])
    for position, (word, group) in enumerate(groups.items()):
        xy = points[[shown.index(index) for index in group]]
        ax.plot(xy[:, 0], xy[:, 1], linestyle="none", label=f"near {word!r}", **style_of(position))
    ax.set(xlabel=f"component 1 ({shares[0]:.0%} of the variance)", ylabel=f"component 2 ({shares[1]:.0%})")
    ax.margins(0.15)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    _annotate(ax, points, [words[index] for index in shown], chosen)
    return ax


def _annotate(ax: Any, points: np.ndarray, words: Sequence[str], bold: Sequence[str]) -> None:
    """Each word beside its point, those in bold first, where it hides the fewest other words and points."""
    from matplotlib.transforms import Bbox

    ax.figure.draw_without_rendering()  # which says where the points are
    at = ax.transData.transform(points)
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    for k in sorted(range(len(words)), key=lambda k: words[k] not in bold):
        weight = "bold" if words[k] in bold else "normal"
        best, fewest = None, len(taken) + 1
        for dx, dy in ((4, 3), (4, -3), (-4, 3), (-4, -3), (0, 6), (0, -6), (0, 15), (0, -15), (9, 9), (-9, -9)):
            sides = {"ha": ("right", "center", "left")[int(np.sign(dx)) + 1], "va": "bottom" if dy > 0 else "top"}
            options = {"textcoords": "offset points", "fontsize": 8, "fontweight": weight, **sides}
            label = ax.annotate(words[k], tuple(points[k]), (dx, dy), **options)
            box = label.get_window_extent()
            hidden = sum(box.overlaps(other) for other in taken)
            if hidden < fewest:
                if best is not None:
                    best[0].remove()
                best, fewest = (label, box), hidden
            else:
                label.remove()
            if not hidden:
                break
        assert best is not None
        taken.append(best[1])
