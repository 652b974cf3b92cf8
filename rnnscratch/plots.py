"""Pictures of what the library computes: each function draws into `ax`, or a new figure's, and returns the Axes.

Numbers come as arrays or as what NumPy can turn into them, names and words as lists of strings; what does not fit is a
TypeError or ValueError that names the argument. Needs matplotlib (extra `plots`), imported where it is used. Colours
are Okabe and Ito's, told apart by colour-blind readers, and every line has a marker of its own, so that a print in grey
can be read too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .backend import to_cpu
from .checks import as_array, as_list, check_choice, check_number, refuse_first
from .experiments.results import NAMES
from .kernels.activations import ACTIVATIONS
from .text.vectors import nearest, principal_components

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PLACES = {name: place for place, name in enumerate(NAMES.values())}  # the same look in every picture


def _axes(ax: Any, figsize: tuple[float, float] = (5.0, 3.4)) -> Any:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained").add_subplot()


def _numbers(name: str, value: Any, *shape: int | None, at_least: bool = False) -> np.ndarray:
    """The value as an array on the host, with so many axes (or at least so many) of these lengths, None for any."""
    found = to_cpu(as_array(name, value, missing=True))
    fits = len(found.shape) >= len(shape) if at_least else len(found.shape) == len(shape)
    if not fits or any(size not in (None, own) for own, size in zip(found.shape, shape)) or not found.size:
        wanted = ", ".join("..." if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {found.shape}, expected ({wanted}{', ...' if at_least else ''})")
    return found


def _named(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError(f"{name} is {type(value).__name__}, expected a dict with values for at least one name")
    return value


def _curves(name: str, curves: Any) -> dict[str, np.ndarray]:
    """A row of numbers for each name."""
    return {
        key: _numbers(f"{name}[{key!r}]", values, None).astype(float) for key, values in _named(name, curves).items()
    }


def _states(name: str, value: Any) -> np.ndarray:
    """A row of states, which are whole numbers from 0 on."""
    found = _numbers(name, value, None)
    refuse_first(name, found, (found >= 0) & (found == np.floor(found)), "a state: a whole number from 0 on")
    return found.astype(int)


def _style(position: int) -> dict[str, Any]:
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)], "markersize": 4}


def _styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A style for each name: that of PLACES, or else the first that none of the others has."""
    names = list(dict.fromkeys(names))
    free = iter(k for k in range(len(names) + len(PLACES)) if k not in {PLACES.get(name) for name in names})
    return {name: _style(PLACES[name] if name in PLACES else next(free)) for name in names}


FEW = 4  # names that a legend may hold within the picture


def _legend(ax: Any, count: int) -> None:
    """A legend of so many names; of many, beside the picture, which would be covered."""
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": "small"}
    ax.legend(frameon=False, **(beside if count > FEW else {}))


def _squares(ax: Any, shares: np.ndarray, text: Callable[[int, int], str], labels: Sequence[str]) -> None:
    """Shares (K, K) of each row as squares, the larger the darker, with the text of (row, column) on each."""
    ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        ax.text(column, row, text(row, column), ha="center", va="center", color=colour)
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(labels)), labels)


def training_curves(histories: Mapping[str, Sequence[Sequence[float]]], label: str = "loss", ax: Any = None) -> Any:
    """One figure per epoch for each model: a line through the mean of its seeds, a band from the lowest to the highest.

    histories: for each model a list of runs, each a list with one number for each epoch.
    """
    found = {}
    for name, given in _named("histories", histories).items():
        label_of = f"histories[{name!r}]"
        found[name] = [_numbers(f"{label_of}[{k}]", run, None) for k, run in enumerate(as_list(label_of, given))]
        if not found[name]:
            raise ValueError(f"{label_of} is empty, expected at least one run")
    ax = _axes(ax)
    for name, runs in found.items():
        epochs = min(map(len, runs))
        found[name] = [run[:epochs] for run in runs]
    _bands(ax, {name: np.arange(1, len(runs[0]) + 1) for name, runs in found.items()}, found)
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def _bands(ax: Any, x: Mapping[str, np.ndarray], runs: Mapping[str, Sequence[np.ndarray]]) -> None:
    """For each name a line through the mean of its runs, and a band from the lowest to the highest."""
    styles = _styles(runs)
    for name, each in runs.items():
        values = np.array(each, dtype=float)
        ax.plot(x[name], values.mean(axis=0), label=name, **styles[name])
        if len(values) > 1:
            ax.fill_between(x[name], values.min(axis=0), values.max(axis=0), alpha=0.2, color=styles[name]["color"])
    ax.legend(frameon=False)


def validation_curve(
    values: Sequence[float],
    scores: Mapping[str, Sequence[Sequence[float]]],
    label: str,
    score: str = "validation accuracy",
    ax: Any = None,
) -> Any:
    """A score against a setting, such as the learning rate or the number of examples, on a logarithmic scale.

    scores: for each model a list of runs, each a list with one number for each of the values; lines and bands are those
    of `training_curves`.
    """
    x = _numbers("values", values, None)
    found = {
        name: list(_numbers(f"scores[{name!r}]", runs, None, len(x))) for name, runs in _named("scores", scores).items()
    }
    ax = _axes(ax)
    _bands(ax, dict.fromkeys(found, x), found)
    ax.set_xscale("log")
    ax.set_xticks(x, [f"{value:,g}" for value in x.tolist()])
    ax.set_xticks([], minor=True)
    ax.set(xlabel=label, ylabel=score)
    return ax


def calibration(curves: Mapping[str, tuple[Any, Any]], ax: Any = None) -> Any:
    """The share of positive examples against their probability, for each model; the dashed line is that of a right one.

    curves: for each model the probabilities (bins,) and the shares (bins,), as `metrics.calibration` gives them.
    """
    found = {}
    for name, pair in _named("curves", curves).items():
        predicted, observed = (_numbers(f"curves[{name!r}][{k}]", values, None) for k, values in enumerate(pair))
        if predicted.shape != observed.shape:
            raise ValueError(f"curves[{name!r}] holds {len(predicted)} probabilities and {len(observed)} shares")
        found[name] = predicted, observed
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], color="#777777", linestyle="--", linewidth=1)
    styles = _styles(found)
    for name, (predicted, observed) in found.items():
        ax.plot(predicted, observed, label=name, alpha=0.8, **styles[name])
    ax.set(xlabel="probability of positive", ylabel="share that is positive")
    ax.legend(frameon=False)
    return ax


def learning_curves(
    runs: Mapping[str, Sequence[Sequence[tuple[float, float]]]],
    label: str = "error",
    chance: float | None = None,
    ax: Any = None,
) -> Any:
    """A figure against updates, a line for each run of each model; runs may end at different times.

    runs: for each model a list of runs, each a list of (updates, figure). `chance` is drawn as a dashed line.
    """
    found = {}
    for name, given in _named("runs", runs).items():
        label_of = f"runs[{name!r}]"
        found[name] = [_numbers(f"{label_of}[{k}]", run, None, 2) for k, run in enumerate(as_list(label_of, given))]
        if not found[name]:
            raise ValueError(f"{label_of} is empty, expected at least one run")
    ax = _axes(ax, (5.0, 3.4) if len(found) <= FEW else (6.8, 3.4))
    styles = _styles(found)
    for name, each in found.items():
        for k, run in enumerate(each):
            every = max(len(run) // 8, 1)
            ax.plot(*run.T, label=name if k == 0 else None, alpha=0.8, markevery=every, **styles[name])
    if chance is not None:
        ax.axhline(chance, color="#777777", linestyle="--", linewidth=1)
    ax.set(xlabel="updates", ylabel=label)
    _legend(ax, len(found))
    return ax


def share_by_length(lengths: Sequence[int], shares: Mapping[str, Sequence[float]], ax: Any = None) -> Any:
    """The share of runs that solved a problem against its length, for each model; lengths on a logarithmic scale."""
    lengths = as_list("lengths", lengths)
    rows = {name: _numbers(f"shares[{name!r}]", row, len(lengths)) for name, row in _named("shares", shares).items()}
    ax = _axes(ax, (5.0, 3.4) if len(rows) <= FEW else (6.8, 3.4))
    styles = _styles(rows)
    for k, (name, row) in enumerate(rows.items()):
        ax.plot(lengths, row + 0.008 * k, label=name, alpha=0.8, **styles[name])  # lines that agree lie side by side
    ax.set_xscale("log")
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="steps", ylabel="share of runs that solve it", ylim=(-0.05, 1.1))
    _legend(ax, len(rows))
    return ax


def confusion(matrix: np.ndarray, labels: Sequence[str], title: str = "", ax: Any = None) -> Any:
    """A confusion matrix (K, K) with its counts; row the true class, column the predicted one."""
    labels = as_list("labels", labels)
    matrix = _numbers("matrix", matrix, len(labels), len(labels))
    ax = _axes(ax, (3.0, 2.8))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    _squares(ax, share, lambda row, column: f"{matrix[row, column]:,}\n{share[row, column]:.1%}", labels)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    return ax


def gradient_by_lag(
    norms: Mapping[str, np.ndarray], ax: Any = None, before: Mapping[str, np.ndarray] | None = None
) -> Any:
    """How much of the gradient at the last word reaches a word so many steps earlier, for each model.

    The scale is logarithmic. `before` are norms of the same models before they were trained, drawn dashed.
    """
    norms, earlier = _curves("norms", norms), {} if before is None else _curves("before", before)
    ax = _axes(ax, (5.0, 3.4) if len(norms) <= FEW else (6.8, 3.4))
    styles = _styles([*norms, *earlier])
    for curves, line in ((norms, "-"), (earlier, "--")):
        for name, values in curves.items():
            relative = np.maximum(values / values[0], 1e-30)
            label = None if line == "--" and name in norms else name
            every = max(len(values) // 10, 1)
            ax.plot(np.arange(len(values)), relative, line, label=label, markevery=every, **styles[name])
    ax.set_yscale("log")
    ax.set(xlabel="lag (words before the last)", ylabel="gradient norm, relative to lag 0")
    _legend(ax, len(norms))
    return ax


def accuracy_by_group(
    accuracies: Mapping[str, Any], groups: Sequence[str], label: str = "words in the review", ax: Any = None
) -> Any:
    """The accuracy of each model in each group of examples, such as reviews of like length or with negations."""
    groups, accuracies = as_list("groups", groups), _curves("accuracies", accuracies)
    for name, values in accuracies.items():
        _numbers(f"accuracies[{name!r}]", values, len(groups))
    ax = _axes(ax)
    styles = _styles(accuracies)
    for name, values in accuracies.items():
        ax.plot(range(len(groups)), values * 100, label=name, **styles[name])
    ax.set_xticks(range(len(groups)), groups)
    ax.set(xlabel=label, ylabel="accuracy (%)")
    ax.legend(frameon=False)
    return ax


def accuracy_against_time(rows: Sequence[Mapping[str, Any]], ax: Any = None) -> Any:
    """Accuracy against seconds of training, one point for each run (`model`, `accuracy`, `train_seconds`)."""
    ax = _axes(ax)
    styles = _styles(row["model"] for row in rows)
    for name in styles:
        runs = [row for row in rows if row["model"] == name]
        seconds = [row["train_seconds"] for row in runs]
        ax.plot(seconds, [row["accuracy"] * 100 for row in runs], linestyle="none", label=name, **styles[name])
    ax.set(xlabel="training time (s)", ylabel="accuracy (%)", xlim=(0, None))
    ax.legend(frameon=False)
    return ax


def state_runs(states: Any) -> list[tuple[int, int, int]]:
    """The stretches of equal states: (first frame, frames, state) for each, in order."""
    values = _states("states", states)
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lengths = np.diff(np.append(begins, len(values)))
    return [(int(a), int(n), int(values[a])) for a, n in zip(begins, lengths)]


def state_strips(strips: Mapping[str, Any], names: Sequence[str] = (), ax: Any = None) -> Any:
    """Sequences of states over time, each as a coloured strip under the other: the true ones, Viterbi's, ...

    strips: for each label the states (T,); names of the states for the legend.
    """
    strips = {name: _states(f"strips[{name!r}]", states) for name, states in _named("strips", strips).items()}
    names = as_list("names", names)
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
    posterior, names = _numbers("posterior", posterior, None, None), as_list("names", names)
    ax = _axes(ax, (7.0, 2.4))
    for state, values in enumerate(posterior.T):
        label = names[state] if state < len(names) else f"state {state}"
        style = _style(state) | {"markevery": max(len(values) // 15, 1)}
        ax.plot(np.arange(len(values)) + 0.5, values, label=label, **style)
    ax.set(xlabel="time (frames)", ylabel="probability", ylim=(-0.02, 1.02), xlim=(0, len(posterior)))
    ax.legend(frameon=False, ncols=posterior.shape[1], loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return ax


def em_gaps(histories: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """How far the objective of each start lies, after each step of EM, below the highest that any start reached."""
    found = [_numbers(f"histories[{k}]", row, None) for k, row in enumerate(as_list("histories", histories))]
    best = max(float(history.max()) for history in found)
    return [best - history.astype(float) for history in found]


def em_objective(histories: Sequence[Sequence[float]], ax: Any = None) -> Any:
    """What is still missing after each step of EM, a line for each start; the best start boldest.

    The scale is logarithmic down to the smallest gap that is more than rounding, and then linear to 0, where the
    best start ends.
    """
    histories = as_list("histories", histories)
    gaps = em_gaps(histories)
    ax = _axes(ax)
    best = int(np.argmin([gap[-1] for gap in gaps]))
    for position, gap in enumerate(gaps):
        style = _style(position) | {"markevery": max(len(gap) // 10, 1)}
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
    transmat = _numbers("transmat", transmat, None, None)
    labels = as_list("names", names) or [str(k) for k in range(len(transmat))]
    _numbers("transmat", transmat, len(labels), len(labels))
    ax = _axes(ax, (3.0, 2.8))
    _squares(ax, transmat, lambda row, column: f"{transmat[row, column]:.3f}", labels)
    ax.set(xlabel="to state", ylabel="from state")
    return ax


def contribution_norms(contributions: np.ndarray) -> np.ndarray:
    """(T, T): the norm of each term of Eq. 5's double sum, contributions (T, T, ...) of `teach.flow.contributions`."""
    values = _numbers("contributions", contributions, None, None, at_least=True)
    return np.sqrt((np.abs(values.reshape(*values.shape[:2], -1)) ** 2).sum(axis=2))


def contributions(values: np.ndarray, ax: Any = None) -> Any:
    """The T x T parts of a gradient: row the loss L_t, column the step k it passes through, colour log10 of the norm.

    values (T, T, ...) as `teach.flow.contributions` gives them; the terms with k > t do not exist and stay white.
    """
    norms = contribution_norms(values)
    ax = _axes(ax, (4.4, 3.6))
    T = len(norms)
    with np.errstate(divide="ignore"):
        shown = np.ma.masked_invalid(np.where(np.tri(T, dtype=bool), np.log10(norms), np.nan))
    image = ax.imshow(shown, cmap="viridis", extent=(0.5, T + 0.5, T + 0.5, 0.5))
    ax.figure.colorbar(image, ax=ax, label="log10 of the norm")
    ax.set(xlabel="through step k", ylabel="from loss $L_t$, t")
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return ax


def spectrum_by_lag(values: np.ndarray) -> np.ndarray:
    """(T+1, S): the singular values of d(state T)/d(state T-k) for lag k = 0 .. T; values from `teach.flow`."""
    return _numbers("values", values, None, None, None)[-1, ::-1]


def jacobian_spectrum(values: np.ndarray, ax: Any = None) -> Any:
    """All singular values of d(state T)/d(state T-k) against the lag k, logarithmic; largest and smallest are marked.

    values (T+1, T+1, S) as `teach.flow.singular_values` gives them. Those below 1e-16 are drawn at 1e-16.
    """
    lines = np.maximum(spectrum_by_lag(values), 1e-16).T
    ax = _axes(ax)
    lag = np.arange(lines.shape[1])
    for line in lines[1:-1]:
        ax.plot(lag, line, color="0.7", lw=0.8)
    every = max(len(lag) // 10, 1)
    ax.plot(lag, lines[0], label="largest", markevery=every, **_style(0))
    if len(lines) > 1:
        ax.plot(lag, lines[-1], label="smallest", markevery=every, **_style(1))
    ax.axhline(1.0, color="black", lw=0.8, ls=":")
    ax.set_yscale("log")
    ax.set(xlabel="lag k (steps)", ylabel=r"singular values of $\partial s_T / \partial s_{T-k}$")
    ax.legend(frameon=False)
    return ax


def gates_over_words(values: np.ndarray, words: Sequence[str], label: str = "gate", ax: Any = None) -> Any:
    """One gate of every unit (rows) over the words of a text (columns): values (T, H), of `teach.words.gates`.

    From 0, light, to 1, dark; where there are negative values, from blue at -1 over white to red at 1.
    """
    words, values = as_list("words", words), _numbers("values", values, None, None)
    if len(values) != len(words):
        raise ValueError(f"values has {len(values)} rows, expected one for each of the {len(words)} words")
    ax = _axes(ax, (max(0.32 * len(words), 3.0), 3.0))
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


def word_effects(words: Sequence[str], effects: Mapping[str, Any], ax: Any = None) -> Any:
    """How much each word moves the answer, by one method or several side by side: for each name values (T,).

    For `teach.words.saliency` and its check, `teach.words.occlusion`, in units of the logit.
    """
    words, effects = as_list("words", words), _curves("effects", effects)
    for name, values in effects.items():
        _numbers(f"effects[{name!r}]", values, len(words))
    ax = _axes(ax, (max(0.34 * len(words), 3.0), 3.0))
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


def step_sizes(sizes: Any, errors: Mapping[str, Any], ax: Any = None) -> Any:
    """The U-curve: relative error of a numerical derivative against its step size, for each method; both logarithmic.

    errors: for each method (len(sizes),), as `teach.steps.step_size_errors` gives them. Errors of 0 are drawn at 1e-17.
    """
    sizes, errors = _numbers("sizes", sizes, None), _curves("errors", errors)
    for name, values in errors.items():
        _numbers(f"errors[{name!r}]", values, len(sizes))
    ax = _axes(ax)
    for position, (name, values) in enumerate(errors.items()):
        ax.plot(sizes, np.maximum(values, 1e-17), label=name, **_style(position))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlabel="step size ε", ylabel="relative error")
    ax.legend(frameon=False)
    return ax


def activation_values(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation function ("sigmoid", "tanh", "relu") and its derivative at z (Eqs 24-27)."""
    check_choice("name", name, ACTIVATIONS)
    y = ACTIVATIONS[name].function(to_cpu(as_array("z", z)).astype(float))
    return y, ACTIVATIONS[name].slope_from_output(y.copy())


def activation(name: str, ax: Any = None) -> Any:
    """An activation function and its derivative, with the derivative's largest value (report 2.2.2)."""
    ax = _axes(ax)
    z = np.linspace(-6.0, 6.0, 241)
    y, slope = activation_values(name, z)
    ax.plot(z, y, label=name, markevery=24, **_style(0))
    ax.plot(z, slope, label=f"its derivative, at most {slope.max():.2f}", markevery=24, ls="--", **_style(1))
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="z", ylabel="value", title=name)
    if name == "relu":
        ax.set_ylim(-0.2, 3.0)
    ax.legend(frameon=False)
    return ax


def attention(weights: np.ndarray, source: Sequence[str], target: Sequence[str], ax: Any = None) -> Any:
    """Attention weights (T_out, T_in): a row for each word put out, a column for each word read; rows sum to 1."""
    source, target = as_list("source", source), as_list("target", target)
    weights = _numbers("weights", weights, None, None)
    if weights.shape != (len(target), len(source)):
        raise ValueError(f"weights has shape {weights.shape}, expected ({len(target)}, {len(source)}): target, source")
    ax = _axes(ax, (0.4 * len(source) + 1.8, 0.35 * len(target) + 1.2))
    image = ax.imshow(weights, cmap="cividis_r", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="attention weight")
    ax.set(xticks=range(len(source)), yticks=range(len(target)), xlabel="read", ylabel="put out")
    ax.set_xticklabels(source, rotation=90)
    ax.set_yticklabels(target)
    return ax


def neighbours(vectors: np.ndarray, words: Sequence[str], chosen: Sequence[str], count: int = 5, ax: Any = None) -> Any:
    """Chosen words and their nearest neighbours by cosine, on the first two principal components of those shown.

    vectors (N, D) in the order of `words`. Raises ValueError for a chosen word that is not among them.
    """
    words, chosen = as_list("words", words), as_list("chosen", chosen)
    vectors = _numbers("vectors", vectors, len(words), None)
    for word in chosen:
        if word not in words:
            raise ValueError(f"chosen holds {word!r}, which is not among the {len(words)} words")
    ax = _axes(ax, (5.5, 4.2))
    groups = {word: [list(words).index(word), *nearest(vectors, list(words).index(word), count)] for word in chosen}
    shown = list(dict.fromkeys(index for group in groups.values() for index in group))
    points, shares = principal_components(np.asarray(vectors)[shown])
    for position, (word, group) in enumerate(groups.items()):
        xy = points[[shown.index(index) for index in group]]
        ax.plot(xy[:, 0], xy[:, 1], linestyle="none", label=f"near {word!r}", **_style(position))
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


def to_png(ax: Any, dpi: int = 130) -> bytes:
    """The figure of these Axes as a PNG file's bytes; needs no display."""
    from io import BytesIO

    buffer = BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
