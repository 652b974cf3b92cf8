"""The gated recurrent unit: one step and its reverse, with the reset gate before or after the product with U_n (Eqs
34-37, 75-78).

The gates r, z, n (reset, update, candidate) are the three blocks of H columns of W (D, 3H), U (H, 3H) and b (3H,). Both
forms end with h = z h_prev + (1 - z) n (Eq. 78, Cho et al. 2014); the candidate is

    before   n = tanh(x W_n + (r h_prev) U_n + b_n)           Eq. 77
    after    n = tanh(x W_n + b_n + r (h_prev U_n + bn))      cuDNN, PyTorch, Keras

Every name below is an array (n, H) of n sequences and H units: `prev` the state before the step, `new` that after it,
`d` gradients of states, `dz` those of the pre-activations; `s.h_by_zn` is dh by the pre-activation of the candidate.
The loop has activated r and z (Eqs 35, 34, 75, 76) when a step begins, and n is x W_n + b_n. In U's products h_prev is
prev.h_in: with the mask of recurrent dropout, if there is one.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array
from . import sequence
from .activations import dsigmoid_from_output, dtanh_from_output, tanh


def step(gates: Array, prev: Any, new: Any, w: Any) -> None:
    r, z, n = gates  # r = sigmoid(z_r), z = sigmoid(z_z)  Eqs 35, 34; 75, 76
    tanh(n + (r * prev.h_in) @ w.U, out=n)  # Eq. 36, 77
    new.h[...] = z * prev.h + (1 - z) * n  # Eq. 78 (Eq. 37 with z and 1 - z exchanged)


def slopes(s: Any, gates: Array, prev: Any) -> None:
    r, z, n = gates
    s.h_by_zz[...] = (prev.h - n) * dsigmoid_from_output(z)  # h = z h_prev + (1 - z) n  Eq. 78 through Eq. 25
    s.h_by_zn[...] = (1 - z) * dtanh_from_output(n)  # Eq. 78 through Eq. 27
    s.rh_by_zr[...] = prev.h_in * dsigmoid_from_output(r)  # the product r h_prev  Eq. 77 through Eq. 25


def step_back(s: Any, gates: Array, d: Any, dz: Any, w: Any) -> None:
    r, z, n = gates
    dz.z[...] = d.h * s.h_by_zz
    dz.n[...] = d.h * s.h_by_zn
    d.h *= z  # h = z h_prev + (1 - z) n  Eq. 78: the direct path
    drh = dz.n @ w.U.T  # (r h_prev) U_n  Eq. 77
    dz.r[...] = drh * s.rh_by_zr
    d.h_in[...] = drh * r


def weight_gradients(dw: Any, gates: Array, prev: Any, dz: Any) -> None:
    r, z, n = gates
    dw.U += (r * prev.h_in).T @ dz.n  # (r h_prev) U_n  Eq. 77


def step_after(gates: Array, prev: Any, new: Any, kept: Any, w: Any) -> None:
    r, z, n = gates  # r = sigmoid(z_r), z = sigmoid(z_z)  Eqs 35, 34; 75, 76
    kept.hn[...] = prev.hU + w.bn  # hU: h_prev U_n
    tanh(n + r * kept.hn, out=n)  # Eq. 36, 77, with r after the product
    new.h[...] = z * prev.h + (1 - z) * n  # Eq. 78


def slopes_after(s: Any, gates: Array, prev: Any, kept: Any) -> None:
    r, z, n = gates
    s.h_by_zz[...] = (prev.h - n) * dsigmoid_from_output(z)  # h = z h_prev + (1 - z) n  Eq. 78 through Eq. 25
    s.h_by_zn[...] = (1 - z) * dtanh_from_output(n)  # Eq. 78 through Eq. 27
    s.zn_by_zr[...] = kept.hn * dsigmoid_from_output(r)  # the product r hn, through Eq. 25


def step_back_after(s: Any, gates: Array, d: Any, dz: Any) -> None:
    r, z, n = gates
    dz.z[...] = d.h * s.h_by_zz
    dz.n[...] = d.h * s.h_by_zn
    d.h *= z  # Eq. 78: the direct path
    dz.r[...] = dz.n * s.zn_by_zr
    d.hU[...] = dz.n * r  # the product r hn, and hn = h_prev U_n + bn


def weight_gradients_after(dw: Any, d: Any) -> None:
    dw.bn += d.hU.sum(axis=0)


BEFORE = sequence.Cell(
    gates="rzn",
    sigmoids="rz",
    late="n",
    own="n",
    direct="h",
    step=step,
    slopes=slopes,
    slopes_as=("h_by_zz", "h_by_zn", "rh_by_zr"),
    step_back=step_back,
    weight_gradients=weight_gradients,
    twin="GRUBefore",
)
AFTER = sequence.Cell(
    gates="rzn",
    sigmoids="rz",
    late="n",
    apart=True,
    direct="h",
    keeps={"hn": 1},
    weights={"bn": 1},
    step=step_after,
    slopes=slopes_after,
    slopes_as=("h_by_zz", "h_by_zn", "zn_by_zr"),
    step_back=step_back_after,
    weight_gradients=weight_gradients_after,
    twin="GRUAfter",
)
backward = sequence.backward


def forward(
    x: Array,
    state: sequence.State | None,
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    bn: Array | None = None,
) -> tuple[Array, tuple[Array, ...], sequence.Cache]:
    """`sequence.forward` for the GRU; with `bn` (H,) the reset gate comes after the product, without it before."""
    if bn is None:
        return sequence.forward(BEFORE, x, state, W, U, b, lengths, mask)
    return sequence.forward(AFTER, x, state, W, U, b, lengths, mask, bn=bn)
