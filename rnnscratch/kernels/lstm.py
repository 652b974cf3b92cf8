"""Long short-term memory: one step and its reverse (Eqs 28-33, 66-71).

The gates i, f, o, g (input, forget, output, candidate) are the four blocks of H columns of W (D, 4H), U (H, 4H) and
b (4H,). Every name below is an array (n, H) of n sequences and H units: `prev` the states before the step, `new` those
after it, `d` the gradients of states, `dz` those of the pre-activations z; `s.c_by_zi` is dc/dz_i.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Array
from . import sequence
from .activations import dsigmoid_from_output, dtanh_from_output, tanh


def step(gates: Array, prev: Any, new: Any, kept: Any) -> None:
    i, f, o, g = gates  # sigmoid(z_i), sigmoid(z_f), sigmoid(z_o), tanh(z_g)  Eqs 29, 28, 32, 30; 67, 66, 70, 68
    new.c[...] = f * prev.c + i * g  # Eq. 31, 69
    kept.tanh_c[...] = tanh(new.c)  # in Eq. 33, 71
    new.h[...] = o * kept.tanh_c  # Eq. 33, 71


def slopes(s: Any, gates: Array, prev: Any, kept: Any) -> None:
    i, f, o, g = gates
    s.h_by_c[...] = o * dtanh_from_output(kept.tanh_c)  # h = o tanh(c)  Eq. 33 through Eq. 27
    s.h_by_zo[...] = kept.tanh_c * dsigmoid_from_output(o)  # Eq. 33 through Eq. 25
    s.c_by_zi[...] = g * dsigmoid_from_output(i)  # c = f c_prev + i g  Eq. 31 through Eq. 25
    s.c_by_zf[...] = prev.c * dsigmoid_from_output(f)
    s.c_by_zg[...] = i * dtanh_from_output(g)  # Eq. 31 through Eq. 27


def step_back(s: Any, gates: Array, d: Any, dz: Any) -> None:
    i, f, o, g = gates
    d.c += d.h * s.h_by_c  # c is used twice: by h of this step, and by c of the next
    dz.i[...] = d.c * s.c_by_zi
    dz.f[...] = d.c * s.c_by_zf
    dz.o[...] = d.h * s.h_by_zo
    dz.g[...] = d.c * s.c_by_zg
    d.c *= f  # c = f c_prev + i g  Eq. 31: the direct path


CELL = sequence.Cell(
    gates="ifog",
    sigmoids="ifo",
    states="hc",
    direct="c",
    keeps={"tanh_c": 1},
    step=step,
    slopes=slopes,
    slopes_as=("h_by_c", "h_by_zo", "c_by_zi", "c_by_zf", "c_by_zg"),
    step_back=step_back,
    twin="LSTM",
)
forward, backward = partial(sequence.forward, CELL), sequence.backward
