"""Gradients: how far they reach back in time, how exact numerical ones are, and the slopes they go through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import as_array, check_choice
from ..kernels.activations import ACTIVATIONS
from .style import (
    FEW,
    axes_for,
    curves_of,
    legend,
    numbers_of,
    style_of,
    styles_of,
)


def gradient_by_lag(
    norms: Mapping[str, np.ndarray], ax: Any = None, before: Mapping[str, np.ndarray] | None = None
) -> Any:
    """How much of the gradient at the last word reaches a word so many steps earlier, for each model.

    The scale is logarithmic. `before` are norms of the same models before they were trained, drawn dashed.
    """
    norms, earlier = curves_of("norms", norms), {} if before is None else curves_of("before", before)
    ax = axes_for(ax, (5.0, 3.4) if len(norms) <= FEW else (6.8, 3.4))
    styles = styles_of([*norms, *earlier])
    for curves, line in ((norms, "-"), (earlier, "--")):
        for name, values in curves.items():
            relative = np.maximum(values / values[0], 1e-30)
            label = None if line == "--" and name in norms else name
            every = max(len(values) // 10, 1)
            ax.plot(np.arange(len(values)), relative, line, label=label, markevery=every, **styles[name])
    ax.set_yscale("log")
    ax.set(xlabel="lag (words before the last)", ylabel="gradient norm, relative to lag 0")
    legend(ax, len(norms))
    return ax


def contribution_norms(contributions: np.ndarray) -> np.ndarray:
    """(T, T): the norm of each term of Eq. 5's double sum, contributions (T, T, ...) of `teach.flow.contributions`."""
    values = numbers_of("contributions", contributions, None, None, at_least=True)
    return np.sqrt((np.abs(values.reshape(*values.shape[:2], -1)) ** 2).sum(axis=2))


def contributions(values: np.ndarray, ax: Any = None) -> Any:
    """The T x T parts of a gradient: row the loss L_t, column the step k it passes through, colour log10 of the norm.

    values (T, T, ...) as `teach.flow.contributions` gives them; the terms with k > t do not exist and stay white.
    """
    norms = contribution_norms(values)
    ax = axes_for(ax, (4.4, 3.6))
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
    return numbers_of("values", values, None, None, None)[-1, ::-1]


def jacobian_spectrum(values: np.ndarray, ax: Any = None) -> Any:
    """All singular values of d(state T)/d(state T-k) against the lag k, logarithmic; largest and smallest are marked.

    values (T+1, T+1, S) as `teach.flow.singular_values` gives them. Those below 1e-16 are drawn at 1e-16.
    """
    lines = np.maximum(spectrum_by_lag(values), 1e-16).T
    ax = axes_for(ax)
    lag = np.arange(lines.shape[1])
    for line in lines[1:-1]:
        ax.plot(lag, line, color="0.7", lw=0.8)
    every = max(len(lag) // 10, 1)
    ax.plot(lag, lines[0], label="largest", markevery=every, **style_of(0))
    if len(lines) > 1:
        ax.plot(lag, lines[-1], label="smallest", markevery=every, **style_of(1))
    ax.axhline(1.0, color="black", lw=0.8, ls=":")
    ax.set_yscale("log")
    ax.set(xlabel="lag k (steps)", ylabel=r"singular values of $\partial s_T / \partial s_{T-k}$")
    ax.legend(frameon=False)
    return ax


def step_sizes(sizes: Any, errors: Mapping[str, Any], ax: Any = None) -> Any:
    """The U-curve: relative error of a numerical derivative against its step size, for each method; both logarithmic.

    errors: for each method (len(sizes),), as `teach.steps.step_size_errors` gives them. Errors of 0 are drawn at 1e-17.
    """
    sizes, errors = numbers_of("sizes", sizes, None), curves_of("errors", errors)
    for name, values in errors.items():
        numbers_of(f"errors[{name!r}]", values, len(sizes))
    ax = axes_for(ax)
    for position, (name, values) in enumerate(errors.items()):
        ax.plot(sizes, np.maximum(values, 1e-17), label=name, **style_of(position))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlabel="step size \u03b5", ylabel="relative error")
    ax.legend(frameon=False)
    return ax


def activation_values(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation function ("sigmoid", "tanh", "relu") and its derivative at z (Eqs 24-27)."""
    check_choice("name", name, ACTIVATIONS)
    y = ACTIVATIONS[name].function(to_cpu(as_array("z", z)).astype(float))
    return y, ACTIVATIONS[name].slope_from_output(y.copy())


def activation(name: str, ax: Any = None) -> Any:
    """An activation function and its derivative, with the derivative's largest value (report 2.2.2)."""
    ax = axes_for(ax)
    z = np.linspace(-6.0, 6.0, 241)
    y, slope = activation_values(name, z)
    ax.plot(z, y, label=name, markevery=24, **style_of(0))
    ax.plot(z, slope, label=f"its derivative, at most {slope.max():.2f}", markevery=24, ls="--", **style_of(1))
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="z", ylabel="value", title=name)
    if name == "relu":
        ax.set_ylim(-0.2, 3.0)
    ax.legend(frameon=False)
    return ax
