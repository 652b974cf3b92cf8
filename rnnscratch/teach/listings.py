"""Backward passes in plain NumPy, each with lines that people got wrong: what the quiz hands out.

A listing is a pair of functions in the library's letters. A slip is one line in the place of another, as it was seen
elsewhere; `cause` is what the gradient checker finds of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Slip(NamedTuple):
    """One line that is wrong."""

    listing: str
    right: str
    wrong: str
    cause: str  # a key of gradcheck.CAUSES
    story: str  # why it is wrong, and where it comes from


RNN = """
def forward(x, h0, W, U, b):
    hs = [h0]
    for x_t in x:
        hs.append(np.tanh(x_t @ W + hs[-1] @ U + b))
    return np.stack(hs[1:]), (x, hs, W, U)


def backward(dhs, cache):
    x, hs, W, U = cache
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1])
    dh = np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        dh = dhs[t] + dh
        dz = dh * (1 - hs[t + 1] ** 2)
        dW += x[t].T @ dz
        dU += hs[t].T @ dz
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh = dz @ U.T
    return dx, dh, dW, dU, db
"""

LSTM = """
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, h0, c0, W, U, b):
    h, c, gates = [h0], [c0], []
    for x_t in x:
        i, f, o, g = np.split(x_t @ W + h[-1] @ U + b, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        c.append(f * c[-1] + i * g)
        h.append(o * np.tanh(c[-1]))
        gates.append((i, f, o, g))
    return np.stack(h[1:]), (x, h, c, gates, W, U)


def backward(dhs, cache):
    x, h, c, gates, W, U = cache
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1])
    dh, dc = np.zeros_like(h[0]), np.zeros_like(c[0])
    for t in reversed(range(len(x))):
        i, f, o, g = gates[t]
        dh = dhs[t] + dh
        do = dh * np.tanh(c[t + 1])
        dc = dc + dh * o * (1 - np.tanh(c[t + 1]) ** 2)
        di, df, dg = dc * g, dc * c[t], dc * i
        dz = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g ** 2)])
        dW += x[t].T @ dz
        dU += h[t].T @ dz
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh = dz @ U.T
        dc = dc * f
    return dx, dh, dc, dW, dU, db
"""

GRU = """
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, h0, W, U, b):
    H = len(U)
    hs, gates = [h0], []
    for x_t in x:
        h, xW = hs[-1], x_t @ W + b
        r = sigmoid(xW[:, :H] + h @ U[:, :H])
        z = sigmoid(xW[:, H : 2 * H] + h @ U[:, H : 2 * H])
        n = np.tanh(xW[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
        hs.append(z * h + (1 - z) * n)
        gates.append((r, z, n))
    return np.stack(hs[1:]), (x, hs, gates, W, U)


def backward(dhs, cache):
    x, hs, gates, W, U = cache
    H = len(U)
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1])
    dh = np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        h, (r, z, n) = hs[t], gates[t]
        dh = dhs[t] + dh
        dz_z = dh * (h - n) * z * (1 - z)
        dz_n = dh * (1 - z) * (1 - n ** 2)
        drh = dz_n @ U[:, 2 * H :].T
        dz_r = drh * h * r * (1 - r)
        dz = np.hstack([dz_r, dz_z, dz_n])
        dW += x[t].T @ dz
        dU[:, : 2 * H] += h.T @ dz[:, : 2 * H]
        dU[:, 2 * H :] += (r * h).T @ dz_n
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh = dh * z + drh * r + dz[:, : 2 * H] @ U[:, : 2 * H].T
    return dx, dh, dW, dU, db
"""

EMBEDDING = """
def forward(ids, E):
    return E[ids], (ids, E)


def backward(dx, cache):
    ids, E = cache
    dE = np.zeros_like(E)
    np.add.at(dE, ids, dx)
    return None, dE
"""

ATTENTION = """
def forward(q, k, v):
    scores = q @ k.T
    a = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return a @ v, (q, k, v, a)


def backward(dcontext, cache):
    q, k, v, a = cache
    da = dcontext @ v.T
    dscores = a * (da - (a * da).sum(axis=1, keepdims=True))
    dq = dscores @ k
    dk = dscores.T @ q
    dv = a.T @ dcontext
    return dq, dk, dv
"""

LISTINGS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU, "embedding": EMBEDDING, "attention": ATTENTION}

SLIPS = [
    Slip(
        "RNN",
        "dh = dz @ U.T",
        "dh = dz @ U",
        "transposed recurrence",
        "The way back through h U is dz U^T. The shapes fit either way, since U is square: no error tells.",
    ),
    Slip(
        "RNN",
        "dz = dh * (1 - hs[t + 1] ** 2)",
        "dz = dh * (1 - np.tanh(hs[t + 1]) ** 2)",
        "slope",
        "hs holds tanh(z) already. A function that takes the derivative at z was handed the output.",
    ),
    Slip(
        "RNN",
        "dh = dhs[t] + dh",
        "dh = dhs[t]",
        "recursion",
        "A state is read twice, by its own output and by the next step. Its gradient is the sum of both; here the one "
        "from the future is lost, and with it all of BPTT.",
    ),
    Slip(
        "RNN",
        "dU += hs[t].T @ dz",
        "dU += hs[t + 1].T @ dz",
        "previous state",
        "What U multiplies at step t is the state before it. hs begins with h0, so that is hs[t].",
    ),
    Slip(
        "RNN",
        "dU += hs[t].T @ dz",
        "dU += hs[t - 1].T @ dz",
        "previous state",
        "One place too far back, and at t = 0 the index -1 takes the last state: Python's wrap-around hides the slip.",
    ),
    Slip(
        "RNN",
        "dW += x[t].T @ dz",
        "dW = x[t].T @ dz",
        "not summed",
        "W is copied to every step, so the gradients of all steps add up. An = keeps that of the first step alone.",
    ),
    Slip(
        "RNN",
        "db += dz.sum(axis=0)",
        "db += dz.mean(axis=0)",
        "scale",
        "b is copied to every sequence of the batch: what was copied is summed on the way back.",
    ),
    Slip(
        "LSTM",
        "dc = dc + dh * o * (1 - np.tanh(c[t + 1]) ** 2)",
        "dc = dh * o * (1 - np.tanh(c[t + 1]) ** 2)",
        "recursion",
        "c is read twice, by h through tanh and by the next c through f. The second way is the one that carries "
        "gradients far, and it is dropped here.",
    ),
    Slip(
        "LSTM",
        "dc = dc + dh * o * (1 - np.tanh(c[t + 1]) ** 2)",
        "dc = dc + dh * o",
        "slope",
        "h = o tanh(c): the second tanh has a slope too.",
    ),
    Slip(
        "LSTM",
        "        dc = dc * f",
        "        dc = dc * i",
        "recursion",
        "c_t = f c_{t-1} + i g: what goes back to c_{t-1} is scaled by f.",
    ),
    Slip(
        "LSTM",
        "di, df, dg = dc * g, dc * c[t], dc * i",
        "di, df, dg = dc * g, dc * c[t + 1], dc * i",
        "slope",
        "f multiplies the c of the step before: c begins with c0, so that is c[t].",
    ),
    Slip(
        "LSTM",
        "di, df, dg = dc * g, dc * c[t], dc * i",
        "di, df, dg = dc * i, dc * c[t], dc * g",
        "slope",
        "In i g each factor's gradient has the other one: the two are exchanged.",
    ),
    Slip(
        "LSTM",
        "dg * (1 - g ** 2)])",
        "dg * g * (1 - g)])",
        "slope",
        "The candidate is a tanh, whose slope is 1 - g^2; g (1 - g) is a sigmoid's.",
    ),
    Slip(
        "LSTM",
        "np.hstack([di * i * (1 - i), df * f * (1 - f), do",
        "np.hstack([df * f * (1 - f), di * i * (1 - i), do",
        "gates exchanged",
        "Blocks joined in another order than they were split in: each library has its own, and both run.",
    ),
    Slip(
        "GRU",
        "dz_z = dh * (h - n) * z * (1 - z)",
        "dz_z = dh * (n - h) * z * (1 - z)",
        "slope",
        "h_t = z h_{t-1} + (1 - z) n here. In the other convention z and 1 - z change places, and so does this sign.",
    ),
    Slip(
        "GRU",
        "dh = dh * z + drh * r",
        "dh = drh * r",
        "recursion",
        "The direct way from h_{t-1} to h_t, through z, is forgotten: the one that lets a GRU remember.",
    ),
    Slip(
        "GRU",
        "dU[:, 2 * H :] += (r * h).T @ dz_n",
        "dU[:, 2 * H :] += h.T @ dz_n",
        "previous state",
        "The candidate's product sees r h, not h.",
    ),
    Slip(
        "GRU",
        "dh = dh * z + drh * r",
        "dh = dh * z + drh",
        "recursion",
        "What goes back to r h goes to h times r.",
    ),
    Slip(
        "embedding",
        "np.add.at(dE, ids, dx)",
        "dE[ids] += dx",
        "repeated ids",
        "NumPy reads dE[ids] once and writes it once: of an id that comes twice one gradient is lost.",
    ),
    Slip(
        "attention",
        "dscores = a * (da - (a * da).sum(axis=1, keepdims=True))",
        "dscores = a * (1 - a) * da",
        "wrong",
        "a (1 - a) is the diagonal of the softmax's Jacobian. Every score moves all weights of its row.",
    ),
    Slip(
        "attention",
        "dk = dscores.T @ q",
        "dk = dscores[-1:].T @ q[-1:]",
        "wrong",
        "A key is asked by every query: its gradient is the sum over all of them, not that of the last.",
    ),
]


def source(listing: str, slip: Slip | None = None) -> str:
    """The listing's text, with the slip's line if given."""
    text = LISTINGS[listing].strip("\n") + "\n"
    return text if slip is None else text.replace(slip.right, slip.wrong, 1)


def functions(text: str) -> tuple[Any, Any]:
    """(forward, backward) that a text defines. Raises SyntaxError, or ValueError where one is missing."""
    names: dict[str, Any] = {"np": np}
    exec(compile(text, "<the listing>", "exec"), names)
    for name in ("forward", "backward"):
        if not callable(names.get(name)):
            raise ValueError(f"there is no function {name} in it")
    return names["forward"], names["backward"]


def arguments(listing: str, T: int = 4, B: int = 3, H: int = 3, D: int = 2, zero: bool = False, seed: int = 0) -> Any:
    """Arguments of a listing's forward: T steps, B sequences, H units, D inputs; `zero` starts from states of zero."""
    rng = np.random.default_rng(seed)
    if listing == "embedding":
        return rng.integers(0, 3, (T, B)), rng.standard_normal((T * B + 2, D))
    if listing == "attention":
        return tuple(rng.standard_normal(shape) for shape in ((T, D), (T + 1, D), (T + 1, H)))
    G = {"RNN": 1, "LSTM": 4, "GRU": 3}[listing]
    states = [(0.0 if zero else 1.0) * rng.standard_normal((B, H)) for _ in range(2 if listing == "LSTM" else 1)]
    weights = (rng.standard_normal((D, G * H)), rng.standard_normal((H, G * H)), rng.standard_normal(G * H))
    return (rng.standard_normal((T, B, D)), *states, *weights)
