"""Long short-term memory: one step and its reverse (Eqs 28-33, 66-71).

n sequences run at this step, H hidden units; the gates i, f, o, g (input, forget, output, candidate) are the four
blocks of H columns of W (D, 4H), U (H, 4H) and b (4H,).
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from . import sequence
from .activations import dsigmoid_from_output, dtanh_from_output


def step(
    z: Array,
    gates: Array,
    h_in: Array,
    _: Array,
    c_prev: Array,
    U: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    work: Array,
) -> None:
    """Fills the gates (4, n, H), h, c and tanh_c (n, H); z (4, n, H) holds x_t W + b, U is (4, H, H).

    h_in is h_prev, times the recurrent dropout mask if there is one. The sigmoids' W, U and b come halved, since
    sigmoid(z) = tanh(z/2)/2 + 1/2.
    """
    xp = get_array_module(z)
    xp.add(z, xp.matmul(h_in, U, out=work), out=gates)
    xp.tanh(gates, out=gates)  # g = tanh(z_g)  Eq. 30, 68
    sigmoids = gates[:3]
    sigmoids *= 0.5
    sigmoids += 0.5  # i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)  Eqs 28, 29, 32, 66, 67, 70
    i, f, o, g = gates
    xp.multiply(f, c_prev, out=c)
    c += xp.multiply(i, g, out=tanh_c)  # c = f c_prev + i g  Eq. 31, 69
    xp.tanh(c, out=tanh_c)
    xp.multiply(o, tanh_c, out=h)  # h = o tanh(c)  Eq. 33, 71


def derivatives(
    gates: Array, tanh_c: Array, h_in: Array, h_prev: Array, c_prev: Array, h: Array, c: Array
) -> tuple[Array, tuple[Array, ...]]:
    """What one step's reverse needs and no later step changes, for all rows of a chunk at once.

    The slopes (4, rows, H): of c with respect to z_i, z_f, z_g, and of h with respect to z_o. Then dh/dc and the
    forget gate.
    """
    i, f, o, g = gates
    slopes = get_array_module(gates).empty(gates.shape, gates.dtype)
    for gate, slope in zip(gates[:3], slopes):
        dsigmoid_from_output(gate, out=slope)
    dtanh_from_output(g, out=slopes[3])
    for slope, factor in zip(slopes, (g, c_prev, tanh_c, i)):
        slope *= factor
    dh_dc = dtanh_from_output(tanh_c)
    dh_dc *= o
    return slopes, (dh_dc, f)


def step_back(
    dz: Array,
    slopes: Array,
    dh_dc: Array,
    f: Array,
    U_back: Array,
    dh: Array,
    dc: Array,
    work: Array,
    _: Array,
    mask: Array | None,
) -> None:
    """Fills dz (n, 4H); dh and dc, gradients of (h, c), leave as those of (h_prev, c_prev)."""
    xp = get_array_module(dz)
    dc += xp.multiply(dh, dh_dc, out=work)  # c reaches the loss through h and through the next c
    dz_i, dz_f, dz_o, dz_g = dz.reshape(len(dz), 4, -1).swapaxes(0, 1)
    xp.multiply(slopes[0], dc, out=dz_i)
    xp.multiply(slopes[1], dc, out=dz_f)
    xp.multiply(slopes[2], dh, out=dz_o)
    xp.multiply(slopes[3], dc, out=dz_g)
    dc *= f
    xp.matmul(dz, U_back, out=dh)
    if mask is not None:
        dh *= mask


CELL = sequence.Cell("ifog", "hc", 3, step, derivatives, step_back, sequence.recurrent_gradients, keeps=1)

State = tuple[Array | None, Array | None]


def forward(
    x: Array, state: State | None, W: Array, U: Array, b: Array, lengths: Any = None, mask: Array | None = None
) -> tuple[Array, tuple[Array, Array], sequence.Cache]:
    """Run an LSTM over whole sequences.

    x (T, B, D), state (h0, c0), each (B, H) or None for zeros (Eq. 65), W (D, 4H), U (H, 4H), b (4H,) with gate order
    i, f, o, g, lengths (B,) integers from 1 to T or None, mask (B, H) of recurrent dropout or None. All arrays of one
    dtype: float32, float64 or complex128.

    Returns hs (T, B, H), the final state (h, c), each (B, H), and the cache for `backward`. hs is a view of what the
    cache holds when all sequences are equally long, so do not write to it. Raises ValueError or TypeError for wrong
    arguments.
    """
    hs, (h, c), cache = sequence.forward(CELL, x, state or (None, None), W, U, b, lengths, mask)
    return hs, (h, c), cache


def backward(
    cache: sequence.Cache, dhs: Array | None = None, dstate: State | None = None, truncate: int | None = None
) -> tuple[Array, tuple[Array, Array], Array, Array, Array]:
    """The gradients of a loss, given those with respect to hs (T, B, H) and the final state (dh, dc), all optional.

    Returns dx (T, B, D), (dh0, dc0), dW, dU, db. `truncate=k` cuts the chain every k steps. Changes nothing it is
    given.
    """
    dx, (dh, dc), dW, dU, db, _ = sequence.backward(cache, dhs, dstate or (None, None), truncate)
    return dx, (dh, dc), dW, dU, db
