"""The vanilla recurrent network: one step and its reverse, and Algorithm 1 as the report prints it.

Eqs 1, 5, 6, 8, 9, 14, 15 and 62. W (D, H), U (H, H), b (H,) are the report's U, W and b_h. In a step every name is an
array (n, H) of n sequences and H units; `s.h_by_z` is dh/dz.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module
from ..checks import check_choice, check_shape
from . import sequence
from .activations import ACTIVATIONS, Activation


def cell(activation: Activation) -> sequence.Cell:
    """The network whose hidden units are activated so."""
    f, slope_from_output = activation

    def step(gates: Array, new: Any) -> None:
        (z,) = gates  # x W + h_prev U + b
        f(z, out=new.h)  # Eq. 1, 62; `out` saves a copy, which small layers feel

    def slopes(s: Any, new: Any) -> None:
        s.h_by_z[...] = slope_from_output(new.h)

    def step_back(s: Any, d: Any, dz: Any) -> None:
        get_array_module(d.h).multiply(d.h, s.h_by_z, out=dz.h)  # one factor of the product in Eq. 6; U is the other

    return sequence.Cell(
        gates="h",
        late="h",
        keeps_gates=False,
        step=step,
        slopes=slopes,
        slopes_as=("h_by_z",),
        step_back=step_back,
        twin=f"RNN{f.__name__.capitalize()}",
    )


CELLS = {name: cell(activation) for name, activation in ACTIVATIONS.items()}
backward = sequence.backward


def forward(
    x: Array,
    state: sequence.State | None,
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    activation: str = "tanh",
) -> tuple[Array, tuple[Array, ...], sequence.Cache]:
    """`sequence.forward` for the vanilla network; activation "tanh", "relu" or "sigmoid"."""
    return sequence.forward(CELLS[check_activation(activation)], x, state, W, U, b, lengths, mask)


def check_activation(activation: Any) -> str:
    """The activation's name. Raises ValueError for one that there is not."""
    check_choice("activation", activation, ACTIVATIONS)
    return activation


def algorithm_1(
    x: Any,
    h0: Any,
    W: Any,
    U: Any,
    b: Any,
    dhs: Any,
    steps: int | None = None,
    activation: str = "tanh",
) -> tuple[Array, Array, Array, Array, Array]:
    """The report's Algorithm 1, for teaching: from every step t, walk back through up to `steps` earlier ones (all if
    None).

    x (T, B, D), h0 (B, H) or None for zeros, W (D, H), U (H, H), b (H,), and the gradient dhs (T, B, H) of the loss
    with respect to each output; all sequences are T steps long. Returns dx, dh0, dW, dU, db. It takes O(T N) steps with
    N = `steps`, where the single reverse pass takes O(T), and with N >= T finds the same. Raises TypeError or
    ValueError for arrays that do not fit together, an unknown activation, and steps that are no whole number from 0 on.
    """
    f, slope_from_output = ACTIVATIONS[check_activation(activation)]
    x, (h0,), W, U, b, _, _ = sequence.arguments(CELLS[activation], x, (h0,), W, U, b, None, {})
    dhs = check_shape("dhs", dhs, (*x.shape[:2], len(U)), x.dtype, "(T, B, H)")
    if steps is not None and (not isinstance(steps, int | np.integer) or steps < 0):
        raise ValueError(f"steps is {steps!r}, expected a whole number of at least 0, or None")
    xp = get_array_module(x, dhs)
    h0 = xp.zeros(dhs.shape[1:], x.dtype) if h0 is None else h0
    h = [h0]
    for x_t in x:  # forward pass
        h.append(f(x_t @ W + h[-1] @ U + b))  # Eq. 1
    dx, dh0, dW, dU, db = (xp.zeros_like(array) for array in (x, h0, W, U, b))
    reach = len(x) if steps is None else steps
    for t in reversed(range(len(x))):  # backward pass
        dh = dhs[t]  # dL_t/dh_t
        for k in range(t, max(t - reach, 0) - 1, -1):  # dL_t/dh_k = dL_t/dh_t prod dh_j/dh_{j-1}  Eqs 6, 9, 15
            dz = dh * slope_from_output(h[k + 1])
            dx[k] += dz @ W.T
            dW += x[k].T @ dz  # one term of the sum over the uses of W (the report's U)  Eq. 8
            dU += h[k].T @ dz  # of U (the report's W)  Eq. 5
            db += dz.sum(axis=0)  # Eq. 14
            dh = dz @ U.T
        if t <= reach:
            dh0 += dh
    return dx, dh0, dW, dU, db
