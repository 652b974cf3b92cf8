"""The vanilla recurrent network: one step and its reverse, and Algorithm 1 as the report prints it.

Eqs 1, 5, 6, 8, 9, 14, 15 and 62.

n sequences run at this step, H hidden units; W (D, H), U (H, H), b (H,) are the report's U, W and b_h.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Array, get_array_module
from . import sequence
from .activations import ACTIVATIONS, Activation


def step(z: Array, gates: None, h_in: Array, _: Array, U: Array, h: Array, work: Array, activation: Activation) -> None:
    """Fills h (n, H); z (1, n, H) holds x_t W + b.

    h_in is h_prev, times the recurrent dropout mask if there is one.
    """
    get_array_module(z).matmul(h_in, U[0], out=h)
    h += z[0]
    activation.function(h, out=h)  # h = f(x W + h_prev U + b)  Eq. 1, 62


def derivatives(
    gates: None, h_in: Array, h_prev: Array, h: Array, activation: Activation
) -> tuple[Array, tuple[Array, ...]]:
    """The slopes (1, rows, H) of h with respect to z, for all rows of a chunk at once."""
    return activation.slope_from_output(h)[None], ()


def step_back(dz: Array, slopes: Array, U_back: Array, dh: Array, work: Array, _: Array, mask: Array | None) -> None:
    """Fills dz (n, H); dh, the gradient of h, leaves as that of h_prev: one factor of the product in Eq. 6."""
    xp = get_array_module(dz)
    xp.multiply(slopes[0], dh, out=dz)
    xp.matmul(dz, U_back, out=dh)
    if mask is not None:
        dh *= mask


CELLS = {
    name: sequence.Cell(
        gates="h",
        states="h",
        sigmoids=0,
        step=partial(step, activation=activation),
        derivatives=partial(derivatives, activation=activation),
        step_back=step_back,
        recurrent_gradients=sequence.recurrent_gradients,
        keeps_gates=False,
    )
    for name, activation in ACTIVATIONS.items()
}


def forward(
    x: Array,
    h0: Array | None,
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    activation: str = "tanh",
) -> tuple[Array, Array, sequence.Cache]:
    """Run a vanilla RNN over whole sequences.

    x (T, B, D), h0 (B, H) or None for zeros, W (D, H), U (H, H), b (H,), lengths (B,) integers from 1 to T or None,
    mask (B, H) of recurrent dropout or None; activation "tanh", "relu" or "sigmoid". All arrays of one dtype:
    float32, float64 or complex128.

    Returns hs (T, B, H), the final state (B, H) and the cache for `backward`. hs is a view of what the cache holds
    when all sequences are equally long, so do not write to it. Raises ValueError or TypeError for wrong arguments.
    """
    if activation not in CELLS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(map(repr, CELLS))}")
    hs, (h,), cache = sequence.forward(CELLS[activation], x, (h0,), W, U, b, lengths, mask)
    return hs, h, cache


def backward(
    cache: sequence.Cache, dhs: Array | None = None, dstate: Array | None = None, truncate: int | None = None
) -> tuple[Array, Array, Array, Array, Array]:
    """The gradients of a loss, given those with respect to hs (T, B, H) and the final state (B, H), both optional.

    Returns dx (T, B, D), dh0 (B, H), dW, dU, db. `truncate=k` cuts the chain every k steps. Changes nothing it is
    given.
    """
    dx, (dh,), dW, dU, db, _ = sequence.backward(cache, dhs, (dstate,), truncate)
    return dx, dh, dW, dU, db


def algorithm_1(
    x: Array,
    h0: Array,
    W: Array,
    U: Array,
    b: Array,
    dhs: Array,
    steps: int | None = None,
    activation: str = "tanh",
) -> tuple[Array, Array, Array, Array, Array]:
    """The report's Algorithm 1, for teaching: from every step t, walk back through up to `steps` earlier ones (all if
    None).

    Takes the arguments of `forward` and the gradient dhs (T, B, H) of the loss with respect to each output; returns
    what `backward` returns. It takes O(T N) steps where the single reverse pass takes O(T), and with N >= T finds the
    same.
    """
    xp = get_array_module(x, h0, W, U, b, dhs)
    f, slope_from_output = ACTIVATIONS[activation]
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
