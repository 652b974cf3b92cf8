"""Pictures of what the library computes: each function draws into `ax`, or a new figure's, and returns the Axes.

Needs matplotlib (extra `plots`), imported where it is used. Colours are Okabe and Ito's, told apart by colour-blind
readers, and every line has a marker of its own, so that a print in grey can be read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PLACES = {"vanilla RNN": 0, "LSTM": 1, "GRU": 2, "bag of words": 3, "HMM": 4}  # the same look in every picture


def _axes(ax: Any, figsize: tuple[float, float] = (5.0, 3.4)) -> Any:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained").add_subplot()


def _style(name: str, position: int) -> dict[str, Any]:
    position = PLACES.get(name, position)
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)], "markersize": 4}


def training_curves(histories: Mapping[str, Sequence[Sequence[float]]], label: str = "loss", ax: Any = None) -> Any:
    """One figure per epoch for each model: a line through the mean of its seeds, a band from the lowest to the highest.

    histories: for each model a list of runs, each a list with one number for each epoch.
    """
    ax = _axes(ax)
    for position, (name, runs) in enumerate(histories.items()):
        epochs = min(len(run) for run in runs)
        values = np.array([run[:epochs] for run in runs], dtype=float)
        x = np.arange(1, epochs + 1)
        ax.plot(x, values.mean(axis=0), label=name, **_style(name, position))
        if len(values) > 1:
            ax.fill_between(x, values.min(axis=0), values.max(axis=0), alpha=0.2, color=_style(name, position)["color"])
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return ax


def confusion(matrix: np.ndarray, labels: Sequence[str], title: str = "", ax: Any = None) -> Any:
    """A confusion matrix (K, K) with its counts; row the true class, column the predicted one."""
    ax = _axes(ax, (3.0, 2.8))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > 0.55 else "black"
        ax.text(column, row, f"{count:,}\n{share[row, column]:.1%}", ha="center", va="center", color=colour)
    ax.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="predicted", ylabel="true", title=title)
    ax.set_xticklabels(labels)
    ax.set_yticklabels(labels)
    return ax


def gradient_by_lag(norms: Mapping[str, np.ndarray], ax: Any = None) -> Any:
    """How much of the gradient at the last word reaches a word so many steps earlier, for each model;

    logarithmic scale.
    """
    ax = _axes(ax)
    for position, (name, values) in enumerate(norms.items()):
        relative = np.maximum(np.asarray(values, dtype=float) / values[0], 1e-30)
        ax.plot(
            np.arange(len(values)), relative, label=name, markevery=max(len(values) // 10, 1), **_style(name, position)
        )
    ax.set_yscale("log")
    ax.set(xlabel="lag (words before the last)", ylabel="gradient norm, relative to lag 0")
    ax.legend(frameon=False)
    return ax


def accuracy_by_group(accuracies: Mapping[str, Sequence[float]], groups: Sequence[str], ax: Any = None) -> Any:
    """The accuracy of each model in each group of examples, such as reviews of like length."""
    ax = _axes(ax)
    for position, (name, values) in enumerate(accuracies.items()):
        ax.plot(range(len(groups)), np.asarray(values) * 100, label=name, **_style(name, position))
    ax.set(xticks=range(len(groups)), xlabel="words in the review", ylabel="accuracy (%)")
    ax.set_xticklabels(groups)
    ax.legend(frameon=False)
    return ax


def accuracy_against_time(rows: Sequence[Mapping[str, Any]], ax: Any = None) -> Any:
    """Accuracy against seconds of training, one point for each run (`model`, `accuracy`, `train_seconds`)."""
    ax = _axes(ax)
    for position, name in enumerate(dict.fromkeys(row["model"] for row in rows)):
        runs = [row for row in rows if row["model"] == name]
        seconds = [row["train_seconds"] for row in runs]
        ax.plot(
            seconds, [row["accuracy"] * 100 for row in runs], linestyle="none", label=name, **_style(name, position)
        )
    ax.set(xlabel="training time (s)", ylabel="accuracy (%)", xlim=(0, None))
    ax.legend(frameon=False)
    return ax


def state_runs(states: Any) -> list[tuple[int, int, int]]:
    """The stretches of equal states: (first frame, frames, state) for each, in order."""
    values = np.asarray(states)
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lengths = np.diff(np.append(begins, len(values)))
    return [(int(a), int(n), int(values[a])) for a, n in zip(begins, lengths)]


def state_strips(strips: Mapping[str, Any], names: Sequence[str] = (), ax: Any = None) -> Any:
    """Sequences of states over time, each as a coloured strip under the other: the true ones, Viterbi's, ...

    strips: for each label the states (T,); names of the states for the legend.
    """
    ax = _axes(ax, (7.0, 0.6 + 0.45 * len(strips)))
    found = sorted({int(k) for states in strips.values() for k in np.unique(states)})
    for row, states in enumerate(strips.values()):
        for first, length, state in state_runs(states):
            colour, hatch = COLOURS[state % len(COLOURS)], HATCHES[state % len(HATCHES)]
            ax.broken_barh([(first, length)], (row - 0.4, 0.8), facecolors=colour, hatch=hatch, edgecolor="white", lw=0)
    for state in found:
        colour, hatch = COLOURS[state % len(COLOURS)], HATCHES[state % len(HATCHES)]
        label = names[state] if state < len(names) else f"state {state}"
        ax.bar(0, 0, color=colour, hatch=hatch, edgecolor="white", lw=0, label=label)
    ax.set(yticks=range(len(strips)), xlabel="time (frames)", xlim=(0, max(map(len, strips.values()))))
    ax.set_yticklabels(strips)
    ax.invert_yaxis()
    ax.legend(frameon=False, ncols=len(found), loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return ax


def state_posteriors(posterior: np.ndarray, names: Sequence[str] = (), ax: Any = None) -> Any:
    """p(state | data) of every frame: posterior (T, N), a line for each state."""
    ax = _axes(ax, (7.0, 2.4))
    for state, values in enumerate(np.asarray(posterior).T):
        label = names[state] if state < len(names) else f"state {state}"
        style = _style("", state) | {"markevery": max(len(values) // 15, 1)}
        ax.plot(np.arange(len(values)) + 0.5, values, label=label, **style)
    ax.set(xlabel="time (frames)", ylabel="probability", ylim=(-0.02, 1.02), xlim=(0, len(posterior)))
    ax.legend(frameon=False, ncols=posterior.shape[1], loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return ax


def em_gaps(histories: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """How far the objective of each start lies, after each step of EM, below the highest that any start reached."""
    best = max(max(history) for history in histories)
    return [best - np.asarray(history, dtype=float) for history in histories]


def em_objective(histories: Sequence[Sequence[float]], ax: Any = None) -> Any:
    """What is still missing after each step of EM, a line for each start; the best start boldest.

    The scale is logarithmic down to the smallest gap that is more than rounding, and then linear to 0, where the
    best start ends.
    """
    ax = _axes(ax)
    gaps = em_gaps(histories)
    best = int(np.argmin([gap[-1] for gap in gaps]))
    for position, gap in enumerate(gaps):
        style = _style("", position) | {"markevery": max(len(gap) // 10, 1)}
        bold = {"lw": 2.5, "label": "best start", "zorder": 3} if position == best else {"lw": 1.0, "alpha": 0.6}
        ax.plot(gap, **style | bold)
    rounding = 1e-9 * max(abs(value) for history in histories for value in history)
    smallest = min((value for value in np.concatenate(gaps) if value > rounding), default=1.0)
    ax.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(smallest)))
    ax.set(xlabel="EM step", ylabel="log-likelihood below the best (nats)", ylim=(0, None))
    ax.legend(frameon=False)
    return ax


def transitions(transmat: np.ndarray, names: Sequence[str] = (), ax: Any = None) -> Any:
    """A transition matrix (N, N): row the state before, column the one after."""
    ax = _axes(ax, (3.0, 2.8))
    ax.imshow(transmat, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), p in np.ndenumerate(transmat):
        ax.text(column, row, f"{p:.3f}", ha="center", va="center", color="white" if p > 0.55 else "black")
    N = len(transmat)
    labels = list(names) or [str(k) for k in range(N)]
    ax.set(xticks=range(N), yticks=range(N), xlabel="to state", ylabel="from state")
    ax.set_xticklabels(labels)
    ax.set_yticklabels(labels)
    return ax


def to_png(ax: Any, dpi: int = 130) -> bytes:
    """The figure of these Axes as a PNG file's bytes; needs no display."""
    from io import BytesIO

    buffer = BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
