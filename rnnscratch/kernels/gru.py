"""The gated recurrent unit: one step and its reverse, with the reset gate before or after the product (Eqs 34-37,
75-78).

n sequences run at this step, H hidden units; the gates r, z, n (reset, update, candidate) are the three blocks of H
columns of W (D, 3H), U (H, 3H) and b (3H,). Both forms end with h = z h_prev + (1 - z) n (Eq. 78, Cho et al. 2014):

    before   n = tanh(x W_n + (r h_prev) U_n + b_n)           Eq. 77
    after    n = tanh(x W_n + b_n + r (h_prev U_n + bn))      cuDNN, PyTorch, Keras; one product a step
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from . import sequence
from .activations import dsigmoid_from_output, dtanh_from_output


def step(z: Array, gates: Array, h_in: Array, h_prev: Array, U: Array, h: Array, work: Array) -> None:
    """Fills the gates (3, n, H) and h (n, H); z (3, n, H) holds x_t W + b, U is (3, H, H).

    h_in is h_prev, times the recurrent dropout mask if there is one. The sigmoids' W, U and b come halved, since
    sigmoid(z) = tanh(z/2)/2 + 1/2.
    """
    xp = get_array_module(gates)
    r, _, n = gates
    xp.add(z[:2], xp.matmul(h_in, U[:2], out=work[:2]), out=gates[:2])
    activate_sigmoids(gates[:2])
    rh = xp.multiply(r, h_in, out=work[0])
    xp.add(z[2], xp.matmul(rh, U[2], out=work[1]), out=n)
    candidate_to_state(gates, h_prev, h)


def step_after(
    z: Array, gates: Array, h_in: Array, h_prev: Array, U: Array, h: Array, hn: Array, work: Array, bn: Array
) -> None:
    """As `step`, with the reset gate after the product; keeps hn = h_in U_n + bn (n, H)."""
    xp = get_array_module(gates)
    r, _, n = gates
    xp.matmul(h_in, U, out=work)
    xp.add(z[:2], work[:2], out=gates[:2])
    activate_sigmoids(gates[:2])
    xp.add(work[2], bn, out=hn)
    xp.multiply(r, hn, out=n)
    n += z[2]
    candidate_to_state(gates, h_prev, h)


def activate_sigmoids(sigmoids: Array) -> None:
    get_array_module(sigmoids).tanh(sigmoids, out=sigmoids)
    sigmoids *= 0.5
    sigmoids += 0.5  # r, z = sigmoid(z_r), sigmoid(z_z)  Eqs 34, 35, 75, 76


def candidate_to_state(gates: Array, h_prev: Array, h: Array) -> None:
    xp = get_array_module(gates)
    _, z, n = gates
    xp.tanh(n, out=n)  # Eq. 36, 77
    xp.subtract(h_prev, n, out=h)
    h *= z
    h += n  # h = z h_prev + (1 - z) n  Eq. 78 (Eq. 37 with z and 1 - z exchanged)


def derivatives(gates: Array, h_in: Array, h_prev: Array, h: Array) -> tuple[Array, tuple[Array, ...]]:
    """What one step's reverse needs and no later step changes, for all rows of a chunk at once.

    The slopes (3, rows, H): of r h_in with respect to z_r, and of h with respect to z_z and z_n. Then the gates r and
    z.
    """
    return slopes_of(gates, h_in, h_prev)


def derivatives_after(gates: Array, hn: Array, h_in: Array, h_prev: Array, h: Array) -> tuple[Array, tuple[Array, ...]]:
    """As `derivatives`; the first slope is that of r hn with respect to z_r."""
    return slopes_of(gates, hn, h_prev)


def slopes_of(gates: Array, times_r: Array, h_prev: Array) -> tuple[Array, tuple[Array, ...]]:
    xp = get_array_module(gates)
    r, z, n = gates
    slopes = xp.empty(gates.shape, gates.dtype)
    slope_r, slope_z, slope_n = slopes
    xp.subtract(h_prev, n, out=slope_n)
    dsigmoid_from_output(z, out=slope_z)
    slope_z *= slope_n  # dh/dz_z = (h_prev - n) z (1 - z)
    dsigmoid_from_output(r, out=slope_r)
    slope_r *= times_r
    dtanh_from_output(n, out=slope_n)
    slope_n *= 1 - z  # dh/dz_n = (1 - z)(1 - n^2)
    return slopes, (r, z)


def step_back(
    dz: Array,
    slopes: Array,
    r: Array,
    z: Array,
    U_back: Array,
    dh: Array,
    drh: Array,
    through_gates: Array,
    mask: Array | None,
) -> None:
    """Fills dz (n, 3H); dh, the gradient of h, leaves as that of h_prev."""
    xp = get_array_module(dz)
    H = dh.shape[1]
    dz_r, dz_z, dz_n = dz.reshape(len(dz), 3, H).swapaxes(0, 1)
    xp.multiply(slopes[2], dh, out=dz_n)
    xp.matmul(dz_n, U_back[2 * H :], out=drh)  # through r h_in
    xp.multiply(slopes[0], drh, out=dz_r)
    xp.multiply(slopes[1], dh, out=dz_z)
    dh *= z
    drh *= r
    drh += xp.matmul(dz[:, : 2 * H], U_back[: 2 * H], out=through_gates)
    if mask is not None:
        drh *= mask
    dh += drh


def step_back_after(
    dz: Array,
    slopes: Array,
    r: Array,
    z: Array,
    U_back: Array,
    dh: Array,
    through_gates: Array,
    _: Array,
    mask: Array | None,
) -> None:
    """As `step_back`. The last block of dz is the gradient of h_in U_n + bn; that of z_n replaces its slope."""
    xp = get_array_module(dz)
    dz_r, dz_z, dhn = dz.reshape(len(dz), 3, -1).swapaxes(0, 1)
    dz_n = slopes[2]
    dz_n *= dh
    xp.multiply(dz_n, r, out=dhn)
    xp.multiply(slopes[0], dz_n, out=dz_r)
    xp.multiply(slopes[1], dh, out=dz_z)
    dh *= z
    xp.matmul(dz, U_back, out=through_gates)
    if mask is not None:
        through_gates *= mask
    dh += through_gates


def recurrent_gradients(dz: Array, slopes: Array, passes: tuple[Array, ...], h_in: Array, dU: Array) -> None:
    """U_n multiplies r h_in, the other two blocks h_in."""
    H = h_in.shape[1]
    r, _ = passes
    dU[:, : 2 * H] += h_in.T @ dz[:, : 2 * H]
    dU[:, 2 * H :] += (r * h_in).T @ dz[:, 2 * H :]


def recurrent_gradients_after(
    dz: Array, slopes: Array, passes: tuple[Array, ...], h_in: Array, dU: Array, dbn: Array
) -> None:
    """Gradients of U and bn; then dz_n takes its place in dz, for the products with W."""
    dz_n = dz[:, 2 * h_in.shape[1] :]
    dU += h_in.T @ dz
    dbn += dz_n.sum(axis=0)
    dz_n[...] = slopes[2]


BEFORE = sequence.Cell("rzn", "h", 2, step, derivatives, step_back, recurrent_gradients)
AFTER = sequence.Cell("rzn", "h", 2, step_after, derivatives_after, step_back_after, recurrent_gradients_after, keeps=1)


def forward(
    x: Array,
    h0: Array | None,
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    bn: Array | None = None,
) -> tuple[Array, Array, sequence.Cache]:
    """Run a GRU over whole sequences; with `bn` (H,) the reset gate comes after the product, without it before.

    x (T, B, D), h0 (B, H) or None for zeros (Eq. 74), W (D, 3H), U (H, 3H), b (3H,) with gate order r, z, n, lengths
    (B,) integers from 1 to T or None, mask (B, H) of recurrent dropout or None. All arrays of one dtype: float32,
    float64 or complex128.

    Returns hs (T, B, H), the final state (B, H) and the cache for `backward`. hs is a view of what the cache holds
    when all sequences are equally long, so do not write to it. Raises ValueError or TypeError for wrong arguments.
    """
    cell, extra = (BEFORE, ()) if bn is None else (AFTER, (bn,))
    hs, (h,), cache = sequence.forward(cell, x, (h0,), W, U, b, lengths, mask, extra)
    return hs, h, cache


def backward(
    cache: sequence.Cache, dhs: Array | None = None, dstate: Array | None = None, truncate: int | None = None
) -> tuple[Array, ...]:
    """The gradients of a loss, given those with respect to hs (T, B, H) and the final state (B, H), both optional.

    Returns dx (T, B, D), dh0 (B, H), dW, dU, db, and dbn last where forward was given bn. `truncate=k` cuts the chain
    every k steps. Changes nothing it is given.
    """
    dx, (dh,), dW, dU, db, extra = sequence.backward(cache, dhs, (dstate,), truncate)
    return dx, dh, dW, dU, db, *extra
