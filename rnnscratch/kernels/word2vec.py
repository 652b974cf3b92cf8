"""Word vectors: skip-gram and CBOW, with negative sampling or with hierarchical softmax (2.2.8 of the report).

    z = x y                       x: the vector of a word, or the mean of several; y: a row of the output table
    L = -(yes log sigmoid(z) + no log sigmoid(-z))         summed over all x and y: binary questions, each with weights

That is all of it (Mikolov et al. 2013, arXiv 1310.4546). Skip-gram asks about a target with the vector of each word
around it, CBOW with their mean. Negative sampling asks "is it this word?": yes for the target, no for drawn ones;
hierarchical softmax asks at each node on the way from the root of a Huffman tree to the target "left?", which are the
log2 V questions of Eqs 60 and 61.

A stretch of text is cut in blocks, so that all is done by matrix products: N blocks of C targets, each block with its
Q = C + 2W words, W of them on each side; K rows of the output table (V, D) that are asked about.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_array, as_operand, as_weights, check_ids, check_shape
from .activations import sigmoid


class Questions(NamedTuple):
    """Rows of the output table, and with which weight each target wants yes and no there (None: nowhere)."""

    ids: Array  # (K,) the same for all blocks, or (N, K)
    yes: Array | None  # (N, C, K), or (C, K) for all blocks
    no: Array | None


class Asked(NamedTuple):
    """What `backward` needs of the answers to some questions."""

    ids: Array
    y: Array  # (K, D) or (N, K, D)
    yes: Array | None  # (N, R, K): summed over the targets that ask with a row of x
    no: Array | None
    z: Array  # (N, R, K)


class Cache(NamedTuple):
    """What `forward` keeps: R = Q rows of a block ask in skip-gram, R = C in CBOW."""

    x: Array  # (N, R, D)
    share: Array | None  # (N, C, Q): of each word in the mean, in CBOW
    order: Array | None
    asked: list[Asked]


def forward(
    E: Any,
    out: Any,
    words: Any,
    near: Any,
    questions: Sequence[Questions],
    mean: bool,
    loss: bool = True,
    order: Any = None,
) -> tuple[Any, Cache]:
    """The loss of a stretch of text, summed over its questions, and the cache for `backward`.

    E (V, D), out (rows, D)   the vectors of words, and the output table
    words (N, Q)              the ids of each block's words
    near (N, C, Q)            1 where a word is in the window around a target, else 0
    questions                 what is asked about the targets: see `ask_noise`, `ask_path`
    mean                      False: skip-gram, True: CBOW. A target with no word around it asks nothing
    order (N C,)              in CBOW, the order of targets that the questions have, if not that of near

    Without `loss` it is not computed, and None. Raises TypeError or ValueError, naming the argument; the range of ids
    is checked on the host only.
    """
    E, out = as_weights("E", E), as_operand("out", out)
    xp = get_array_module(E, out, words, near)
    if E.ndim != 2 or out.ndim != 2 or out.shape[1] != E.shape[1] or out.dtype != E.dtype:
        raise ValueError(f"E is {E.dtype} {E.shape} and out {out.dtype} {out.shape}, expected (V, D) and (rows, D)")
    words = as_array("words", words, "iu") if xp is not np else check_ids(words, len(E), "words")
    N, Q = words.shape
    near = check_shape("near", near, (N, near.shape[1], Q), near.dtype, "as words").astype(E.dtype, copy=False)
    x = E[words]
    share = None
    if mean:
        count = near.sum(axis=2, keepdims=True)
        share = near / xp.maximum(count.real, 1)
        x = share @ x
        weigh = (count.real > 0).astype(E.dtype)  # (N, C, 1)
        if order is not None:
            x, weigh = (each.reshape(-1, each.shape[2])[order].reshape(each.shape) for each in (x, weigh))
    asked, total = [], xp.zeros((), E.dtype) if loss else None
    for ids, yes, no in questions:
        if xp is np:
            check_ids(ids, len(out), "ids of questions")
        y = out[ids]
        z = (x.reshape(-1, x.shape[2]) @ y.T).reshape(N, -1, len(y)) if y.ndim == 2 else x @ y.swapaxes(1, 2)
        yes, no = (
            None if wanted is None else weigh * wanted if mean else near.swapaxes(1, 2) @ wanted for wanted in (yes, no)
        )
        if loss:
            total = total + _loss(z, yes, no)
        asked.append(Asked(ids, y, yes, no, z))
    return total, Cache(x, share, order, asked)


def backward(cache: Cache, dloss: Any = 1.0) -> tuple[Array, list[Array]]:
    """The gradient of E as rows (N, Q, D) for `words`, and that of the output table as rows for each question's ids.

    A word or output that stands in several places has its gradient in several rows, to be added up.
    """
    x = cache.x
    xp = get_array_module(x)
    D = x.shape[2]
    dx, dout = xp.zeros_like(x), []
    for asked in reversed(cache.asked):
        dz = _dloss(asked, dloss)
        if asked.y.ndim == 2:
            flat = dz.reshape(-1, len(asked.y))
            part, dy = (flat @ asked.y).reshape(x.shape), flat.T @ x.reshape(-1, D)  # z = x y
        else:
            part, dy = dz @ asked.y, dz.swapaxes(1, 2) @ x
        dx += part
        dout.append(dy)
    if cache.share is None:
        return dx, dout[::-1]
    if cache.order is not None:
        sorted_dx, dx = dx, xp.empty_like(dx)
        dx.reshape(-1, D)[cache.order] = sorted_dx.reshape(-1, D)
    return cache.share.swapaxes(1, 2) @ dx, dout[::-1]


def _loss(z: Array, yes: Array | None, no: Array | None) -> Array:
    """-(yes log sigmoid(z) + no log sigmoid(-z)), summed, with log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    xp = get_array_module(z)
    positive = z.real > 0
    with np.errstate(under="ignore"):
        rest = xp.log1p(xp.exp(xp.where(positive, -z, z)))
    found = xp.zeros((), z.dtype)
    if yes is not None:
        found = found + (yes * (rest - xp.where(positive, 0, z))).sum()
    if no is not None:
        found = found + (no * (rest + xp.where(positive, z, 0))).sum()
    return found


def _dloss(asked: Asked, dloss: Any) -> Array:
    """dL/dz = (yes + no) sigmoid(z) - yes."""
    yes, no = asked.yes, asked.no
    dz = sigmoid(asked.z)
    if yes is None:
        dz *= no
    else:
        dz *= yes if no is None else yes + no
        dz -= yes
    dz *= dloss
    return dz


def ask_noise(targets: Array, drawn: Array, count: float, p: Array) -> list[Questions]:
    """Negative sampling: yes at the target, and no at drawn words, which all targets share (arXiv 1604.04661).

    targets (N, C) and drawn (K,) ids, p (V,) the probabilities by which they were drawn. The weights are such that the
    expected gradient is that of `count` words drawn for each target alone, until they are not the target: a word w has
    then the probability p(w) / (1 - p(target)), so w weighs count / K / (1 - p(target)), and 0 where it is the target.
    """
    xp = get_array_module(targets, drawn, p)
    C, K = targets.shape[1], len(drawn)
    weights = (count / K) / (1 - p[targets])
    no = xp.where(targets[:, :, None] == drawn, 0, weights[:, :, None]).astype(p.dtype)
    return [Questions(targets, xp.eye(C, dtype=p.dtype), None), Questions(drawn, None, no)]


class Tree(NamedTuple):
    """A Huffman tree: on the way to word w come `nodes[start[w]:start[w + 1]]`, the root first, each with its answer.

    The nodes are numbered by weight, the root 0, so that those with the lowest numbers are on most ways.
    """

    start: np.ndarray  # (V + 1,)
    nodes: np.ndarray
    yes: np.ndarray  # True where the way goes to the lighter side
    rank: np.ndarray  # (V,) numbers in [0, 1) in the order of the leaves: neighbours share most of their way


def huffman(counts: Any) -> Tree:
    """The tree in which a word's way is the shorter the more often it is seen; ties go by number, words first.

    counts (V,) of at least two words; a word with count 0 has no way. On average a way has less than one node more than
    the entropy of the words in bits, which is at most log2 V.
    """
    counts = as_array("counts", counts, "iu")
    seen = np.flatnonzero(counts)
    if counts.ndim != 1 or len(seen) < 2:
        raise ValueError(f"counts has shape {counts.shape} and {len(seen)} words with a count, expected at least 2")
    n = len(seen)
    heap = [(count, k) for k, count in enumerate(counts[seen].tolist())]
    heapq.heapify(heap)
    parent, lighter = np.zeros(2 * n - 1, np.int64), np.zeros(2 * n - 1, bool)
    for inner in range(n, 2 * n - 1):
        light, heavy = heapq.heappop(heap), heapq.heappop(heap)
        parent[light[1]] = parent[heavy[1]] = inner
        lighter[light[1]] = True
        heapq.heappush(heap, (light[0] + heavy[0], inner))
    root = 2 * n - 2
    depth = [0] * (2 * n - 1)
    for k, above in zip(range(root - 1, -1, -1), parent[root - 1 :: -1].tolist()):
        depth[k] = depth[above] + 1
    lengths = np.zeros(len(counts) + 1, np.int64)
    lengths[1 + seen] = depth[:n]
    start = lengths.cumsum()
    nodes, yes = np.empty(start[-1], np.int64), np.empty(start[-1], bool)
    at, place = np.arange(n), start[1 + seen] - 1  # each word climbs, and fills its way from the end
    while len(at):
        nodes[place], yes[place] = root - parent[at], lighter[at]
        at, place = parent[at], place - 1
        at, place = at[at != root], place[at != root]
    word = np.repeat(np.arange(len(counts)), lengths[1:])
    step = np.arange(len(word)) - start[word]
    rank = np.bincount(word, yes * 0.5 ** (step + 1), minlength=len(counts))
    return Tree(start, nodes, yes, rank)


def tops(tree: Tree, count: int, dtype: Any) -> np.ndarray:
    """For each word, whether its way goes through each of the `count` heaviest nodes: (2, V, count), yes and no."""
    word = np.repeat(np.arange(len(tree.start) - 1), np.diff(tree.start))
    found = np.zeros((2, len(tree.start) - 1, count), dtype)
    kept = tree.nodes < count
    found[1 - tree.yes[kept].astype(np.int64), word[kept], tree.nodes[kept]] = 1
    return found


def ask_path(targets: np.ndarray, tree: Tree, top: np.ndarray) -> list[Questions]:
    """Hierarchical softmax: the answers on the way to each target (N, C), whose product is the target's probability.

    What most ways share, the heaviest nodes (`tops`), are asked about as one group for all blocks, the others each
    block by itself: the dense products are the smaller. On the host.
    """
    N, C = targets.shape
    count = top.shape[2]
    found = [Questions(np.arange(count), top[0][targets], top[1][targets])]
    flat = targets.reshape(-1)
    steps = tree.start[flat + 1] - tree.start[flat]
    target = np.repeat(np.arange(N * C), steps)
    entry = np.arange(len(target)) + np.repeat(tree.start[flat] - steps.cumsum() + steps, steps)
    entry, target = (each[tree.nodes[entry] >= count] for each in (entry, target))
    if not len(entry):
        return found
    key, at = np.unique(target // C * len(tree.nodes) + tree.nodes[entry], return_inverse=True)
    block = key // len(tree.nodes)
    column = np.arange(len(key)) - np.searchsorted(block, block)
    ids = np.zeros((N, int(column.max()) + 1), np.int64)
    ids[block, column] = key % len(tree.nodes)
    yes, no = np.zeros((2, N, C, ids.shape[1]), top.dtype)
    block, column = block[at], column[at]
    yes[block, target % C, column] = tree.yes[entry]
    no[block, target % C, column] = ~tree.yes[entry]
    return [*found, Questions(ids, yes, no)]
