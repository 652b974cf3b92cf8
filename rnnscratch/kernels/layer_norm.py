"""The layer-normalised LSTM (Ba et al. 2016, Eqs 20-22 there).

With N(a) = (a - mean(a)) / sqrt(var(a) + 1e-5) over all 4H columns of a row, or over the H units of c,

    z = N(x W) gx + N(h_prev U) gh + b        c = f c_prev + i g        h = o tanh(N(c) gc + bc)

so c itself is carried as it is. The gains gx, gh are (4H,), gc and the bias bc (H,). Names are those of lstm.py; the
arrays of all gates, such as kept.x_hat, are (4, n, H), and the scales 1 / sqrt(var + 1e-5) are (n, 1).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Array
from . import sequence
from .activations import dsigmoid_from_output, dtanh_from_output, sigmoid, tanh

EPS = 1e-5
ALL_GATES = (0, 2)  # the axes of a row's 4H numbers in (4, n, H)


def normalize(a: Array, axes: Any, hat: Array, scale: Array) -> None:
    """Fills hat = (a - mean) scale and scale = 1 / sqrt(var + eps), a row at a time."""
    count = a.size // scale.size
    centred = a - (a.sum(axis=axes) * (1.0 / count)).reshape(scale.shape)
    variance = ((centred * centred).sum(axis=axes) * (1.0 / count)).reshape(scale.shape)
    scale[...] = (variance + EPS) ** -0.5
    hat[...] = centred * scale


def normalize_back(dhat: Array, axes: Any, hat: Array, scale: Array) -> Array:
    """The gradient of a, from that of hat: a moves its own entry, the mean and the variance of its row."""
    count = dhat.size // scale.size
    mean = (dhat.sum(axis=axes) * (1.0 / count)).reshape(scale.shape)
    along = ((dhat * hat).sum(axis=axes) * (1.0 / count)).reshape(scale.shape)
    return (dhat - mean - hat * along) * scale


def inputs(xW: Array, kept: Any, w: Any) -> None:
    normalize(xW, ALL_GATES, kept.x_hat, kept.x_scale)
    xW[...] = kept.x_hat * w.gx[:, None]


def inputs_back(dz: Any, kept: Any, w: Any) -> None:
    dx_hat = dz.all * w.gx[:, None]
    dz.all[...] = normalize_back(dx_hat, ALL_GATES, kept.x_hat, kept.x_scale)


def step(gates: Array, prev: Any, new: Any, kept: Any, w: Any) -> None:
    normalize(prev.h_in @ w.U, ALL_GATES, kept.h_hat, kept.h_scale)
    gates += kept.h_hat * w.gh[:, None]
    gates[:3] = sigmoid(gates[:3])  # Eqs 29, 28, 32
    gates[3] = tanh(gates[3])  # Eq. 30
    i, f, o, g = gates
    new.c[...] = f * prev.c + i * g  # Eq. 31, 69
    normalize(new.c, 1, kept.c_hat, kept.c_scale)
    kept.tanh_a[...] = tanh(kept.c_hat * w.gc + w.bc)  # in Eq. 33, 71, of the normalised c
    new.h[...] = o * kept.tanh_a  # Eq. 33, 71


def slopes(s: Any, gates: Array, prev: Any, kept: Any) -> None:
    i, f, o, g = gates
    s.h_by_a[...] = o * dtanh_from_output(kept.tanh_a)  # h = o tanh(a), a = N(c) gc + bc
    s.h_by_zo[...] = kept.tanh_a * dsigmoid_from_output(o)  # Eq. 33 through Eq. 25
    s.c_by_zi[...] = g * dsigmoid_from_output(i)  # c = f c_prev + i g  Eq. 31 through Eq. 25
    s.c_by_zf[...] = prev.c * dsigmoid_from_output(f)
    s.c_by_zg[...] = i * dtanh_from_output(g)  # Eq. 31 through Eq. 27
    s.da[...] = 0  # for the gradient of a, which `weight_gradients` needs


def step_back(s: Any, gates: Array, d: Any, dz: Any, kept: Any, w: Any) -> None:
    i, f, o, g = gates
    s.da[...] = d.h * s.h_by_a
    d.c += normalize_back(s.da * w.gc, 1, kept.c_hat, kept.c_scale)  # c is used twice: by h and by the next c
    dz.i[...] = d.c * s.c_by_zi
    dz.f[...] = d.c * s.c_by_zf
    dz.o[...] = d.h * s.h_by_zo
    dz.g[...] = d.c * s.c_by_zg
    d.c *= f  # Eq. 31: the direct path
    dhU = normalize_back(dz.all * w.gh[:, None], ALL_GATES, kept.h_hat, kept.h_scale)
    d.h_in[...] = (dhU @ w.U.swapaxes(1, 2)).sum(axis=0)


def weight_gradients(dw: Any, dz: Any, s: Any, kept: Any, prev: Any, w: Any) -> None:
    dw.gx += (dz.all * kept.x_hat).sum(axis=1)
    dw.gh += (dz.all * kept.h_hat).sum(axis=1)
    dhU = normalize_back(dz.all * w.gh[:, None], ALL_GATES, kept.h_hat, kept.h_scale)
    dw.U += prev.h_in.T @ dhU
    dw.gc += (s.da * kept.c_hat).sum(axis=0)
    dw.bc += s.da.sum(axis=0)


CELL = sequence.Cell(
    gates="ifog",
    sigmoids="ifo",
    late="ifog",
    own="ifog",
    states="hc",
    direct="c",
    keeps={"x_hat": 4, "x_scale": 0, "h_hat": 4, "h_scale": 0, "c_hat": 1, "c_scale": 0, "tanh_a": 1},
    weights={"gx": 4, "gh": 4, "gc": 1, "bc": 1},
    step=step,
    slopes=slopes,
    slopes_as=("h_by_a", "h_by_zo", "c_by_zi", "c_by_zf", "c_by_zg", "da"),
    found="da",
    step_back=step_back,
    weight_gradients=weight_gradients,
    inputs=inputs,
    inputs_back=inputs_back,
    twin="LayerNorm",
    by_row=True,
)
forward, backward = partial(sequence.forward, CELL), sequence.backward
