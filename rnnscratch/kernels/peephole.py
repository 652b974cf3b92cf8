"""The LSTM with peepholes: its gates also see the cell's state (Gers et al. 2000).

P (3H,) are the peepholes of i, f, o, a weight for each unit. i and f see the c before the step, o that after it:

    i = sigmoid(z_i + P_i c_prev)    f = sigmoid(z_f + P_f c_prev)    o = sigmoid(z_o + P_o c)

All else is as in lstm.py, whose names and slopes are used; i, f and o come to a step as z.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Array
from . import sequence
from .activations import sigmoid, tanh
from .lstm import slopes


def step(gates: Array, prev: Any, new: Any, kept: Any, w: Any) -> None:
    i, f, o, g = gates
    P_i, P_f, P_o = w.P
    i[...] = sigmoid(i + P_i * prev.c)  # Eq. 29 with a peephole
    f[...] = sigmoid(f + P_f * prev.c)  # Eq. 28 with a peephole
    new.c[...] = f * prev.c + i * g  # Eq. 31, 69
    o[...] = sigmoid(o + P_o * new.c)  # Eq. 32 with a peephole
    kept.tanh_c[...] = tanh(new.c)  # in Eq. 33, 71
    new.h[...] = o * kept.tanh_c  # Eq. 33, 71


def step_back(s: Any, gates: Array, d: Any, dz: Any, w: Any) -> None:
    i, f, o, g = gates
    P_i, P_f, P_o = w.P
    dz.o[...] = d.h * s.h_by_zo
    d.c += d.h * s.h_by_c + dz.o * P_o  # c is used three times: by h, by o, and by the next step
    dz.i[...] = d.c * s.c_by_zi
    dz.f[...] = d.c * s.c_by_zf
    dz.g[...] = d.c * s.c_by_zg
    d.c[...] = d.c * f + dz.i * P_i + dz.f * P_f  # c_prev is used by c (Eq. 31), by i and by f


def weight_gradients(dw: Any, dz: Any, prev: Any, new: Any) -> None:
    dP_i, dP_f, dP_o = dw.P
    dP_i += (dz.i * prev.c).sum(axis=0)
    dP_f += (dz.f * prev.c).sum(axis=0)
    dP_o += (dz.o * new.c).sum(axis=0)


CELL = sequence.Cell(
    gates="ifog",
    sigmoids="ifo",
    late="ifo",
    states="hc",
    direct="c",
    keeps={"tanh_c": 1},
    weights={"P": 3},
    step=step,
    slopes=slopes,
    slopes_as=("h_by_c", "h_by_zo", "c_by_zi", "c_by_zf", "c_by_zg"),
    step_back=step_back,
    weight_gradients=weight_gradients,
    twin="Peephole",
)
forward, backward = partial(sequence.forward, CELL), sequence.backward
