"""The softmax loss of large vocabularies: over all words, or over the right one and a sample (Jean et al. 2015).

N positions, H units, V words, a row of W (V, H) and an entry of b (V,) for each: word k scores s_k = h W_k + b_k.

The sample holds word j with probability pi_j, independently of the others, and with it goes the target y. Given the
candidates C, the target is one of them with p(y | C) ~ p(y) / pi_y, since each of the others came in with its pi and
the target in any case. So the loss is the cross-entropy of softmax(s_j - log pi_j) over C; where s = log p its mean
over samples and targets has no slope, whatever the sample's size, and with all pi = 1 it is the full loss.

Positions are worked on in pieces, so that memory is bounded whatever N and V are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, get_array_module, scatter_add
from ..checks import as_array, as_column, as_operand, as_weights, check_ids, check_shape, check_sizes, refuse_first

PIECE = 2**19  # scores worked on at a time: what the processor's cache holds
FULL_PIECE = 2**23  # over all words: each piece adds to the whole gradient of W, so there are few


def log_uniform(V: int) -> np.ndarray:
    """p_k ~ log(1 + 1 / (k + 1)), about 1 / k: how frequent words are if their ids go by frequency (Zipf). (V,)"""
    check_sizes(V=V)
    return np.log1p(1.0 / np.arange(1, V + 1)) / np.log(V + 1.0)


def inclusion(frequencies: Any, size: int) -> np.ndarray:
    """pi (V,): how probably each word is in a sample of `size` words on average, min(1, c p_k) with c to fit.

    >>> inclusion([0.8, 0.1, 0.1], 2).tolist()
    [1.0, 0.5, 0.5]

    Raises ValueError for frequencies that are not positive, or a size below 1.
    """
    check_sizes(size=size)
    p = as_column("frequencies", frequencies).astype(np.float64)
    refuse_first("frequencies", p, np.isfinite(p) & (p > 0), "a number above 0")
    if size >= len(p):
        return np.ones(len(p))
    ranked = np.sort(p)[::-1]
    rest = np.cumsum(ranked[::-1])[::-1]  # the sum of all from rank m on
    scales = (size - np.arange(size)) / rest[:size]  # c, if the first m are always in: the first that keeps pi_m <= 1
    return np.minimum(p * scales[np.argmax(scales * ranked[:size] <= 1.0)], 1.0)


def draw(pi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Words, each with its probability pi (V,), in the order of their ids. Drawn on the host."""
    return np.flatnonzero(rng.random(len(pi)) < pi)


def full_loss(h: Any, W: Any, b: Any, targets: Any) -> tuple[Array, tuple[Array, Array, Array]]:
    """-mean(log softmax(h W^T + b)[target]) and its gradients (dh, dW, db).

    h (N, H), W (V, H), b (V,), targets (N,) in [0, V). Raises TypeError or ValueError for what does not fit.
    """
    h, W, b, targets = _arguments(h, W, b, targets)
    xp, N = get_array_module(h, W, b, targets), len(h)
    total, dh, dW, db = xp.zeros((), W.dtype), xp.empty_like(h), xp.zeros_like(W), xp.zeros_like(b)
    for rows in _pieces(N, len(W)):
        z, losses, norm = _powers(h[rows], W, b, targets[rows])
        total += losses.sum()
        with np.errstate(under="ignore"):
            z *= 1.0 / (norm * N)  # now softmax(z) / N
            z[xp.arange(len(z)), targets[rows]] -= 1.0 / N
            xp.matmul(z, W, out=dh[rows])
            dW += z.T @ h[rows] if dW.flags.c_contiguous else (h[rows].T @ z).T
            db += z.sum(axis=0)
    return total * W.dtype.type(1.0 / N), (dh, dW, db)


def full_score(h: Any, W: Any, b: Any, targets: Any) -> Array:
    """The loss of `full_loss` alone."""
    h, W, b, targets = _arguments(h, W, b, targets)
    total = get_array_module(h, W, b, targets).zeros((), W.dtype)
    for rows in _pieces(len(h), len(W)):
        total += _powers(h[rows], W, b, targets[rows])[1].sum()
    return total * W.dtype.type(1.0 / len(h))


def _pieces(N: int, V: int) -> list[slice]:
    size = max(1, FULL_PIECE // V)
    return [slice(start, min(start + size, N)) for start in range(0, N, size)]


def _powers(h: Array, W: Array, b: Array, targets: Array) -> tuple[Array, Array, Array]:
    """exp(z - the largest) of scores z (n, V), their losses (n,), and the sums of the powers (n, 1)."""
    xp = get_array_module(h)
    z = h @ W.T
    z += b
    z -= z.real.max(axis=1, keepdims=True)
    at_target = z[xp.arange(len(z)), targets]
    with np.errstate(under="ignore"):
        xp.exp(z, out=z)
        norm = z.sum(axis=1, keepdims=True)
        return z, xp.log(norm[:, 0]) - at_target, norm


def sampled_loss(
    h: Any, W: Any, b: Any, targets: Any, samples: Any, log_pi: Any
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """The mean loss of the targets among the samples, and (dh, words, dW[words], db[words]): only rows that it needs.

    h (N, H), W (V, H), b (V,), targets (N,) in [0, V); samples (S,), shared by all positions: a word that is there
    twice counts twice, the target itself never; log_pi (V,) the log of how many of each word are expected. Targets and
    samples may be on the host, wherever the rest is: to sort them on a device it would have to be waited for. Raises
    TypeError or ValueError for what does not fit.
    """
    h, W, b, targets = _arguments(h, W, b, targets)
    samples, log_pi = as_ids("samples", samples, len(W)), check_shape("log_pi", log_pi, b.shape, W.dtype, "as b")
    xp, N, S, mine = get_array_module(h, W, b, log_pi), len(h), len(samples), get_array_module(samples, targets)
    words, places = mine.unique(mine.concatenate([samples, targets]), return_inverse=True)
    if mine is np:
        words, places = xp.asarray(words), xp.asarray(places)
    get_array_module(words, W)
    at_samples, at_targets = places[:S], places[S:]
    rows, bias = xp.ascontiguousarray(W[words]), (b - log_pi)[words]
    W_samples, b_samples = rows[at_samples], bias[at_samples]
    total = xp.zeros((), W.dtype)
    dh, dW_samples, drows, dbias = xp.empty_like(h), xp.zeros_like(W_samples), xp.zeros_like(rows), xp.zeros_like(bias)
    db_samples, dtarget = xp.zeros_like(b_samples), xp.empty((N, 1), W.dtype)
    size = max(1, PIECE // (S + 1))
    for start in range(0, N, size):
        piece = slice(start, min(start + size, N))
        x, at = h[piece], at_targets[piece]
        W_targets = rows[at]
        z = xp.empty((len(x), 1 + S), W.dtype)  # the target, and the samples
        xp.matmul(x, W_samples.T, out=z[:, 1:])
        z[:, 1:] += b_samples
        z[:, 0] = (x * W_targets).sum(axis=1) + bias[at]
        z -= z.real.max(axis=1, keepdims=True)
        first = z[:, 0].copy()
        with np.errstate(under="ignore"):
            p = xp.exp(z, out=z)
            p[:, 1:] *= at_samples != at[:, None]
            norm = p.sum(axis=1, keepdims=True)
            total += (xp.log(norm[:, 0]) - first).sum()
            p *= 1.0 / (norm * N)
            p[:, 0] -= 1.0 / N
            dz, dtarget[piece] = p[:, 1:], p[:, :1]
            xp.matmul(dz, W_samples, out=dh[piece])
            dh[piece] += p[:, :1] * W_targets
            dW_samples += dz.T @ x
            db_samples += dz.sum(axis=0)
    with np.errstate(under="ignore"):
        scatter_add(drows, at_samples, dW_samples)
        scatter_add(drows, at_targets, dtarget * h)
        scatter_add(dbias[:, None], at_samples, db_samples[:, None])
        scatter_add(dbias[:, None], at_targets, dtarget)
    return total * W.dtype.type(1.0 / N), (dh, words, drows, dbias)


def _arguments(h: Any, W: Any, b: Any, targets: Any) -> tuple[Array, Array, Array, Array]:
    W = as_weights("W", W)
    if W.ndim != 2:
        raise ValueError(f"W has shape {W.shape}, expected (V, H)")
    h, b = as_operand("h", h, W.dtype), check_shape("b", b, W.shape[:1], W.dtype, "(V,)")
    h = check_shape("h", h, (*h.shape[:1], W.shape[1]), W.dtype, "(N, H) with W (V, H)")
    targets = as_ids("targets", targets, len(W))
    if targets.shape != h.shape[:1]:
        raise ValueError(f"targets has shape {targets.shape}, expected {h.shape[:1]}: one for each row of h")
    return h, W, b, targets


def as_ids(name: str, ids: Any, V: int) -> Array:
    """The ids as an array of integers, perhaps none, in [0, V), which is checked on the host only."""
    found = as_array(name, ids, "iu")
    return check_ids(found, V, name) if found.size and get_array_module(found) is np else found
