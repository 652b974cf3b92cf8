"""What a vanilla network does when it is left alone, and why its loss has cliffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import to_cpu
from ..checks import check_number, check_sizes
from ..kernels.activations import ACTIVATIONS, sigmoid
from ..layers import RNN
from .style import COLOURS, MARKERS, axes_for, numbers_of

LIMITS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}  # of a unit's states
KINDS = {  # marker and face of each kind of fixed point
    "stable": ("o", "black"),
    "saddle": ("X", "white"),
    "unstable": ("o", "white"),
    "neutral": ("D", "0.6"),
}
NEAR_ONE = 1e-3  # an eigenvalue's size this near to 1 decides nothing


class FixedPoint(NamedTuple):
    """A state that the network keeps, and how it treats those nearby."""

    at: np.ndarray  # (H,)
    eigenvalues: np.ndarray  # (H,) of the Jacobian dh_new/dh there, largest first
    kind: str  # "stable", "saddle" or "unstable": all, some, none are below 1 in size; "neutral": one of them is 1


def fixed_points(layer: RNN) -> list[FixedPoint]:
    """All states h = f(h U + b) of a vanilla network of one or two units without input, found by Newton's method.

    The method starts from a grid over all states, in float64; stable points first. Raises TypeError for another layer
    and ValueError for more units, several layers, two directions, and ReLU, whose states have no limits.
    """
    U, b, activation = _alone(layer, (1, 2))
    H, (low, high) = len(U), LIMITS[activation]
    f, slope_from_output = ACTIVATIONS[activation]
    axis = np.linspace(low, high, 25)
    h = np.stack(np.meshgrid(*[axis] * H, indexing="ij"), axis=-1).reshape(-1, H)
    identity = np.eye(H)
    for _ in range(100):
        new = f(h @ U + b)
        jacobian = slope_from_output(new.copy())[:, :, None] * U.T  # (n, H, H): d new_j / d h_i at [j, i]
        step = np.linalg.pinv(jacobian - identity) @ (h - new)[:, :, None]
        h = np.clip(h + np.clip(step[:, :, 0], -0.25, 0.25), low, high)
    off = np.linalg.norm(f(h @ U + b) - h, axis=1)
    found: list[np.ndarray] = []
    for k in np.argsort(off):
        if off[k] < 1e-9 and all(np.linalg.norm(h[k] - other) > 2e-3 for other in found):
            found.append(h[k])
    points = []
    for at in found:
        eigenvalues = np.linalg.eigvals(slope_from_output(f(at @ U + b))[:, None] * U.T)
        eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues))]
        points.append(FixedPoint(at, eigenvalues, _kind(np.abs(eigenvalues))))
    return sorted(points, key=lambda point: (list(KINDS).index(point.kind), *point.at.round(6)))


def _kind(sizes: np.ndarray) -> str:
    if (np.abs(sizes - 1) < NEAR_ONE).any():
        return "neutral"
    return "stable" if (sizes < 1).all() else "unstable" if (sizes > 1).all() else "saddle"


def _alone(layer: Any, units: Sequence[int]) -> tuple[np.ndarray, np.ndarray, str]:
    """U (H, H), b (H,) in float64, and the activation."""
    if not isinstance(layer, RNN):
        raise TypeError(f"layer is {type(layer).__name__}, expected RNN")
    if layer.num_layers != 1 or layer.bidirectional:
        raise ValueError(f"layer is {layer!r}, expected one layer in one direction")
    if layer.hidden_size not in units:
        raise ValueError(f"layer has H={layer.hidden_size} units, expected {' or '.join(map(str, units))}")
    if layer.activation not in LIMITS:
        raise ValueError(f"layer has the activation {layer.activation!r}, expected 'tanh' or 'sigmoid'")
    U, b = (to_cpu(layer.params[name]).astype(np.float64) for name in ("U_l0", "b_l0"))
    return U, b, layer.activation


def phase_portrait(layer: RNN, starts: Any = None, steps: int = 40, ax: Any = None) -> Any:
    """Where the two units of a vanilla network go without input: h_1 to the right, h_2 upwards.

    Grey arrows point from a state to the next (a third of the way, so that they stay apart). Coloured lines join the
    states of a run over `steps` steps, from its marker on, for each of the starts (n, 2) (None: eight around the edge,
    four near the middle). The network's steps are jumps, so lines may cross. Fixed points have the kind that the
    eigenvalues of their Jacobian give them, with whose sizes they stand in the legend: filled where everything nearby
    is drawn in, a cross where one direction is drawn in and another driven out, hollow where all is driven out.
    Raises as `fixed_points` does.
    """
    U, b, activation = _alone(layer, (2,))
    check_sizes(steps=steps)
    (low, high), f = LIMITS[activation], ACTIVATIONS[activation].function
    middle, reach = (low + high) / 2, (high - low) / 2
    if starts is None:
        angles = np.arange(8) * np.pi / 4 + 0.3
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        edge = 0.95 * circle / np.abs(circle).max(axis=1, keepdims=True)
        begin = middle + reach * np.concatenate([edge, 0.15 * circle[::2]])
    else:
        begin = numbers_of("starts", starts, None, 2).astype(np.float64)
    points = fixed_points(layer)
    ax = axes_for(ax, (5.2, 4.6))
    axis = np.linspace(middle - 0.95 * reach, middle + 0.95 * reach, 15)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    move = f(grid @ U + b) - grid
    look: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 3.0, "color": "0.7", "width": 0.003}
    ax.quiver(*grid.T, *move.T, zorder=1, **look)
    for k, h in enumerate(begin):
        run = [h]
        for _ in range(steps):
            run.append(f(run[-1] @ U + b))
        colour = {"color": COLOURS[k % len(COLOURS)], "zorder": 2}
        ax.plot(*np.array(run).T, lw=1.0, marker=".", markersize=3, alpha=0.9, label="_run", **colour)
        ax.plot(*h, marker=MARKERS[k % len(MARKERS)], markersize=5, label="_start", **colour)
    for kind, (marker, face) in KINDS.items():
        chosen = [point for point in points if point.kind == kind]
        if chosen:
            each = [dict.fromkeys(f"{size:.2f}" for size in np.abs(point.eigenvalues)) for point in chosen]
            sizes = list(dict.fromkeys(" and ".join(pair) for pair in each))
            turns = " (turning)" if any(np.iscomplex(point.eigenvalues).any() for point in chosen) else ""
            marks: dict[str, Any] = {"marker": marker, "mfc": face, "mec": "black", "mew": 1.4, "markersize": 10}
            label = rf"{kind}{turns}: $|\lambda|$ = {'; '.join(sizes)}"
            ax.plot(*np.array([point.at for point in chosen]).T, ls="none", zorder=4, label=label, **marks)
    space = 0.05 * (high - low)
    ax.set(xlim=(low - space, high + space), ylim=(low - space, high + space), xlabel="$h_1$", ylabel="$h_2$")
    ax.set_aspect("equal")
    ax.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize="small", markerscale=0.8, borderpad=0.8
    )
    return ax


def loss_and_slopes(
    w: Any, b: Any, steps: int = 50, start: float = 0.5, target: float = 0.7
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss of a network of one unit after so many steps without input, dL/dw and dL/db, for arrays w and b.

    h = sigmoid(w h_prev + b) from sigmoid(start) on, L = (h_T - target)^2: the example of Pascanu, Mikolov and Bengio
    (2013, figure 6), whose state before the sigmoid starts at `start`. By back-propagation through time; the arrays are
    broadcast.
    """
    check_sizes(steps=steps)
    w, b = (np.asarray(value, dtype=np.float64) for value in (w, b))
    h = [np.broadcast_to(sigmoid(np.array(start, dtype=np.float64)), np.broadcast_shapes(w.shape, b.shape))]
    for _ in range(steps):
        h.append(sigmoid(w * h[-1] + b))
    loss, dh = (h[-1] - target) ** 2, 2 * (h[-1] - target)
    dw, db = np.zeros_like(dh), np.zeros_like(dh)
    for t in range(steps, 0, -1):
        dz = dh * h[t] * (1 - h[t])
        dw, db, dh = dw + dz * h[t - 1], db + dz, dz * w
    return loss, dw, db


def descent(begin: Any, updates: int, learning_rate: float, clip: float | None = None, **options: Any) -> np.ndarray:
    """(updates + 1, 2): w and b of plain gradient descent on `loss_and_slopes`, whose options may follow.

    With `clip` a gradient whose norm is above it is shortened to it. Raises ValueError for numbers out of range.
    """
    point = numbers_of("begin", begin, 2).astype(np.float64)
    check_sizes(updates=updates)
    check_number("learning_rate", learning_rate, above=0.0)
    if clip is not None:
        check_number("clip", clip, above=0.0)
    path = [point]
    for _ in range(updates):
        gradient = np.array(loss_and_slopes(path[-1][0], path[-1][1], **options)[1:])
        norm = float(np.linalg.norm(gradient))
        if clip is not None and norm > clip:
            gradient *= clip / norm
        path.append(path[-1] - learning_rate * gradient)
    return np.array(path)


def loss_cliff(
    begin: Any = (5.0, -1.8),
    updates: int = 200,
    learning_rate: float = 0.5,
    clip: float = 0.1,
    w: tuple[float, float] = (3.0, 7.0),
    b: tuple[float, float] = (-3.5, 1.5),
    steps: int = 50,
    ax: Any = None,
) -> Any:
    """The loss of a network of one unit over its w and b, and gradient descent on it with clipping and without.

    Shades and contours are the loss of `loss_and_slopes` (Pascanu et al. 2013): where they crowd, a small change of w
    or b decides where `steps` steps end, and the gradient is enormous. Without clipping (dashed) the one update that
    meets the cliff throws the parameters far away; with it (solid) they go down. The legend gives the last loss and the
    longest update of each. `begin` is (w, b) at first; `w` and `b` are the ranges shown.
    """
    numbers_of("w", w, 2), numbers_of("b", b, 2)
    paths = {
        "without clipping": descent(begin, updates, learning_rate, steps=steps),
        f"clipped at {clip:g}": descent(begin, updates, learning_rate, clip, steps=steps),
    }
    ax = axes_for(ax, (6.4, 4.4))
    ws, bs = np.linspace(*w, 251), np.linspace(*b, 251)
    loss, _, _ = loss_and_slopes(ws, bs[:, None], steps)
    levels = np.array([0.0, 0.001, 0.01, 0.03, 0.06, 0.09, 0.15, 0.25, 0.35, 0.5])
    image = ax.contourf(ws, bs, loss, levels, cmap="Greys", norm=_even(levels), extend="max", alpha=0.8)
    ax.contour(ws, bs, loss, levels[1:], colors="0.35", linewidths=0.5)
    ax.figure.colorbar(image, ax=ax, label="loss", ticks=levels)
    for k, (name, path) in enumerate(paths.items()):
        last = float(loss_and_slopes(path[-1, 0], path[-1, 1], steps)[0])
        longest = np.linalg.norm(np.diff(path, axis=0), axis=1).max()
        label = f"{name}: loss {last:.2g} at the end, longest update {longest:.2g}"
        look: dict[str, Any] = {"ls": ("--", "-")[k], "color": COLOURS[(1, 0)[k]], "marker": MARKERS[(1, 0)[k]]}
        ax.plot(*path.T, label=label, lw=1.6, markersize=3, markevery=max(updates // 40, 1), zorder=3, **look)
    ax.plot(*paths["without clipping"][0], "*", color="black", markersize=12, zorder=4, label="start", ls="none")
    ax.set(xlim=w, ylim=b, xlabel="w", ylabel="b")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small")
    return ax


def _even(levels: np.ndarray) -> Any:
    """Each band of levels its own shade, all as far apart."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(levels, 256, extend="max")
