"""Markov chains and hidden Markov models: sequences of states, EM, transitions and the trellis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import as_list
from .style import (
    COLOURS,
    HATCHES,
    axes_for,
    named,
    numbers_of,
    squares,
    states_of,
    style_of,
)


def state_runs(states: Any) -> list[tuple[int, int, int]]:
    """The stretches of equal states: (first frame, frames, state) for each, in order."""
    values = states_of("states", states)
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lengths = np.diff(np.append(begins, len(values)))
    return [(int(a), int(n), int(values[a])) for a, n in zip(begins, lengths)]


def state_strips(strips: Mapping[str, Any], names: Sequence[str] = (), ax: Any = None) -> Any:
    """Sequences of states over time, each as a coloured strip under the other: the true ones, Viterbi's, ...

    strips: for each label the states (T,); names of the states for the legend.
    """
    strips = {name: states_of(f"strips[{name!r}]", states) for name, states in named("strips", strips).items()}
    names = as_list("names", names)
    ax = axes_for(ax, (7.0, 0.6 + 0.45 * len(strips)))
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
    posterior, names = numbers_of("posterior", posterior, None, None), as_list("names", names)
    ax = axes_for(ax, (7.0, 2.4))
    for state, values in enumerate(posterior.T):
        label = names[state] if state < len(names) else f"state {state}"
        style = style_of(state) | {"markevery": max(len(values) // 15, 1)}
        ax.plot(np.arange(len(values)) + 0.5, values, label=label, **style)
    ax.set(xlabel="time (frames)", ylabel="probability", ylim=(-0.02, 1.02), xlim=(0, len(posterior)))
    ax.legend(frameon=False, ncols=posterior.shape[1], loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return ax


def em_gaps(histories: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """How far the objective of each start lies, after each step of EM, below the highest that any start reached."""
    found = [numbers_of(f"histories[{k}]", row, None) for k, row in enumerate(as_list("histories", histories))]
    best = max(float(history.max()) for history in found)
    return [best - history.astype(float) for history in found]


def em_objective(histories: Sequence[Sequence[float]], ax: Any = None) -> Any:
    """What is still missing after each step of EM, a line for each start; the best start boldest.

    The scale is logarithmic down to the smallest gap that is more than rounding, and then linear to 0, where the
    best start ends.
    """
    histories = as_list("histories", histories)
    gaps = em_gaps(histories)
    ax = axes_for(ax)
    best = int(np.argmin([gap[-1] for gap in gaps]))
    for position, gap in enumerate(gaps):
        style = style_of(position) | {"markevery": max(len(gap) // 10, 1)}
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
    transmat = numbers_of("transmat", transmat, None, None)
    labels = as_list("names", names) or [str(k) for k in range(len(transmat))]
    numbers_of("transmat", transmat, len(labels), len(labels))
    ax = axes_for(ax, (3.0, 2.8))
    squares(ax, transmat, lambda row, column: f"{transmat[row, column]:.3f}", labels)
    ax.set(xlabel="to state", ylabel="from state")
    return ax
