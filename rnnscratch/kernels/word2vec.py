"""Word vectors: skip-gram and CBOW, with negative sampling or with hierarchical softmax (2.2.8 of the report).

    z = x y                       x: the vector of a word, or the mean of several; y: a row of the output table
    L = -(yes log sigmoid(z) + no log sigmoid(-z))         summed over all x and y: binary questions, each with weights

That is all of it (Mikolov et al. 2013, arXiv 1310.4546). Skip-gram asks about a target with the vector of each word
around it, CBOW with their mean. Negative sampling asks "is it this word?": yes for the target, no for drawn ones;
hierarchical softmax asks at each node on the way from the root of a Huffman tree to the target "to the lighter side?",
which are the log2 V questions of Eqs 60 and 61.

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

    ids: Array  # (N, K)
    yes: Array | None  # (N, C, K), or (C, K) for all blocks
    no: Array | None
    blocks: slice = slice(None)  # which of the blocks are asked, if not all


class Asked(NamedTuple):
    """What `backward` needs of the answers to some questions."""

    y: Array  # (N, K, D)
    yes: Array | None  # (N, R, K): summed over the targets that ask with a row of x
    no: Array | None
    z: Array  # (N, R, K)
    blocks: slice


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
    if words.ndim != 2:
        raise ValueError(f"words has shape {words.shape}, expected (N, Q)")
    near = as_array("near", near)
    near = check_shape("near", near, (len(words), *near.shape[1:2], words.shape[1]), near.dtype, "as words")
    for ids, *_ in questions if xp is np else ():
        check_ids(ids, len(out), "ids of questions")
    return unchecked(E, out, words, near.astype(E.dtype, copy=False), questions, mean, loss, order)


def unchecked(
    E: Array, out: Array, words: Array, near: Array, questions: Sequence[Questions], mean: bool, loss: bool, order: Any
) -> tuple[Any, Cache]:
    """`forward` of arrays that fit, which training calls: the checks would take 4 % of its time."""
    xp = get_array_module(E)
    x, share = xp.take(E, words, axis=0), None  # which is faster than E[words]
    if mean:
        count = (near @ xp.ones((near.shape[2], 1), near.dtype)).real  # (N, C, 1), faster than `sum`
        share = near / xp.maximum(count, 1)
        x = _sorted(share @ x, order)
    asked, total, asks = [], None, None
    if loss:
        total = xp.zeros((), E.dtype)
        asks = _sorted(count > 0, order) if mean else None  # else x is 0 and leads nowhere, but would have a loss
    for ids, yes, no, blocks in questions:
        y, rows = xp.take(out, ids, axis=0), x[blocks]
        z = rows @ y.swapaxes(1, 2)
        if not mean:
            yes, no = (None if each is None else near[blocks].swapaxes(1, 2) @ each for each in (yes, no))
        if loss:
            total = total + _loss(z, yes, no, 1 if asks is None else asks[blocks])
        asked.append(Asked(y, yes, no, z, blocks))
    return total, Cache(x, share, order, asked)


def backward(cache: Cache, dloss: Any = 1.0) -> tuple[Array, list[Array]]:
    """The gradient of E as rows (N, Q, D) for `words`, and that of the output table as rows for each question's ids.

    A word or output that stands in several places has its gradient in several rows, to be added up.
    """
    x = cache.x
    xp = get_array_module(x)
    D = x.shape[2]
    dx, dout = xp.zeros_like(x), []
    for y, yes, no, z, blocks in reversed(cache.asked):
        dz = _dloss(z, yes, no, dloss)
        dx[blocks] += dz @ y  # z = x y
        dout.append(dz.swapaxes(1, 2) @ x[blocks])
    if cache.share is None:
        return dx, dout[::-1]
    if cache.order is not None:
        sorted_dx, dx = dx, xp.empty_like(dx)
        dx.reshape(-1, D)[cache.order] = sorted_dx.reshape(-1, D)
    return cache.share.swapaxes(1, 2) @ dx, dout[::-1]


def _sorted(rows: Array, order: Array | None) -> Array:
    """The rows (N, C, ...) of targets in that order of all N C of them, or as they are."""
    return rows if order is None else rows.reshape(-1, rows.shape[2]).take(order, axis=0).reshape(rows.shape)


def _loss(z: Array, yes: Array | None, no: Array | None, asks: Any) -> Array:
    """-(yes log sigmoid(z) + no log sigmoid(-z)), summed, with log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    xp = get_array_module(z)
    positive = z.real > 0
    with np.errstate(under="ignore"):
        rest = xp.log1p(xp.exp(xp.where(positive, -z, z)))
    found = xp.zeros((), z.dtype)
    if yes is not None:
        found = found + (asks * yes * (rest - xp.where(positive, 0, z))).sum()
    if no is not None:
        found = found + (asks * no * (rest + xp.where(positive, z, 0))).sum()
    return found


def _dloss(z: Array, yes: Array | None, no: Array | None, dloss: Any) -> Array:
    """dL/dz = (yes + no) sigmoid(z) - yes."""
    dz = sigmoid(z)
    if yes is None:
        dz *= no
    else:
        dz *= yes if no is None else yes + no
        dz -= yes
    dz *= dloss
    return dz


def ask_noise(
    targets: Array, drawn: Array, count: float, p: Array, q: Any = None, dtype: Any = None
) -> list[Questions]:
    """Negative sampling: yes at the target, no at drawn words, which a block's targets share (arXiv 1604.04661).

    targets (N, C) ids, drawn (N, K) ids that were drawn with probabilities q (V,), p where None. The weights are such
    that the expected gradient is that of `count` words drawn by p (V,) for each target alone, again while they are the
    target: a word w then comes with probability p(w) / (1 - p(target)), so that it weighs count / K p(w) / q(w) /
    (1 - p(target)), and 0 where it is the target.
    """
    xp = get_array_module(targets, drawn, p)
    weights = (count / drawn.shape[1]) / (1 - p[targets])[:, :, None]
    if q is not None:
        weights = weights * (p[drawn] / q[drawn])[:, None, :]
    no = xp.where(targets[:, :, None] == drawn[:, None, :], 0, weights).astype(dtype or p.dtype)
    return [Questions(targets, xp.eye(targets.shape[1], dtype=no.dtype), None), Questions(drawn, None, no)]


def evened(p: np.ndarray) -> np.ndarray:
    """The probabilities with the largest cut to 1/2: to draw by, since of one word alone there is nothing to learn.

    With p / q of `ask_noise` as weight, none is then larger than twice count / K.
    """
    top = int(p.argmax())
    if p[top] <= 0.5:
        return p
    found = p / (2 * (p.sum() - p[top]))
    found[top] = 0.5
    return found


def stratified(cumulative: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Words drawn by their cumulative weights (V,), one of each n-th of the distribution, in random order.

    Each by itself comes as if drawn alone, so expected gradients are the same; together they vary less, since a word
    comes as often as it should but for less than two.
    """
    n = int(np.prod(shape))
    at = (rng.permutation(n) + rng.random(n)) * (cumulative[-1] / n)
    last = np.searchsorted(cumulative, cumulative[-1])  # rounding may reach the end, where no word is
    return np.minimum(np.searchsorted(cumulative, at, "right"), last).reshape(shape)


EXACT = 52  # digits after the point, in binary, of a number below 1 in double precision


class Tree(NamedTuple):
    """A Huffman tree of V words, the longest way from its root to a word being L nodes long."""

    nodes: np.ndarray  # (V, L): the way to each word, the root (number 0) first, and -1 past its end
    no: np.ndarray  # (V, L): 0 where it goes to the lighter side, which is the answer yes, else 1
    steps: np.ndarray  # (V,): how long it is
    rank: np.ndarray  # (V,): from 0 to 1 in order of the leaves, neighbours having much of their ways in common
    place: np.ndarray  # (V,): the same as a whole number, of 16 bits where these do, which are sorted in no time


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
    root = 2 * n - 2
    heap = [(count, k) for k, count in enumerate(counts[seen].tolist())]
    heapq.heapify(heap)
    parent, heavier = np.zeros((2, root + 1), np.int64)
    for inner in range(n, root + 1):
        light, heavy = heapq.heappop(heap), heapq.heappop(heap)
        parent[light[1]] = parent[heavy[1]] = inner
        heavier[heavy[1]] = 1
        heapq.heappush(heap, (light[0] + heavy[0], inner))
    depth = [0] * (root + 1)
    for k, above in zip(range(root - 1, -1, -1), parent[root - 1 :: -1].tolist()):
        depth[k] = depth[above] + 1
    steps = np.zeros(len(counts), np.int64)
    steps[seen] = depth[:n]
    nodes, no = np.full((len(counts), steps.max()), -1, np.int32), np.zeros((len(counts), steps.max()), np.int8)
    word, at = seen, np.arange(n)  # each word climbs to the root, and fills its way from the end
    for up in range(1, int(steps.max()) + 1):
        nodes[word, steps[word] - up], no[word, steps[word] - up] = root - parent[at], heavier[at]
        word, at = (each[parent[at] != root] for each in (word, parent[at]))
    rank = no @ 0.5 ** np.arange(1, steps.max() + 1)
    place = np.empty(len(rank), np.uint16 if len(rank) <= 2**16 else np.int64)
    place[np.argsort(rank, kind="stable")] = np.arange(len(rank))
    return Tree(nodes, no, steps, rank, place)


def by_way(targets: np.ndarray, tree: Tree, C: int) -> np.ndarray:
    """An order (N C,) of targets in which the C of a block have much of their ways in common, the longest blocks first.

    In CBOW, whose targets may be asked in any order, it halves the nodes that blocks ask about. On the host.
    """
    order = np.argsort(tree.place[targets], kind="stable")
    # The nodes that two ways have in common are the leading digits, in binary, in which their ranks are the same
    digits = (tree.rank[targets[order]] * 2.0**EXACT).astype(np.int64)
    common = EXACT - np.frexp((digits[1:] ^ digits[:-1]).astype(float))[1]
    fresh = tree.steps[targets[order]]
    fresh[1:] -= np.minimum(common + 1, fresh[1:])
    fresh[::C] = tree.steps[targets[order[::C]]]  # a block shares nothing with the one before
    blocks = np.argsort(-fresh.reshape(-1, C).sum(axis=1), kind="stable")
    return order.reshape(-1, C)[blocks].reshape(-1)


def ask_path(targets: np.ndarray, tree: Tree, dtype: Any, groups: int = 1) -> list[Questions]:
    """Hierarchical softmax: the answers on the way to each target (N, C), whose product is the target's probability.

    Targets that follow each other ask together about the nodes that their ways have in common, so the products are the
    smaller the nearer they are in the tree. As all blocks of a group have as many columns as the longest, several
    groups, the first of few blocks, are faster where blocks come in order of that (`by_way`). On the host.
    """
    N, C = targets.shape
    steps = tree.steps[targets]
    L = int(steps.max(initial=0))
    ways, to_no = tree.nodes[targets, :L], tree.no[targets, :L]
    asked = ways >= 0
    new = asked.copy()
    new[:, 1:] &= ways[:, 1:] != ways[:, :-1]
    column = new.reshape(N, -1).cumsum(axis=1, dtype=np.int32).reshape(new.shape)
    width = column[:, -1, -1].copy() if L else np.zeros(N, np.int32)
    column *= new
    for c in range(1, C):  # of a node that the target before asks too: its column; twice as fast as `accumulate`
        np.maximum(column[:, c], column[:, c - 1], out=column[:, c])
    ends = [N * k * k // groups**2 for k in range(groups + 1)]
    parts = [slice(*pair) for pair in zip(ends, ends[1:])]
    widest = [int(width[part].max(initial=0)) for part in parts]
    K = np.repeat(widest, np.diff(ends))
    first, size = K.cumsum() - K, int(K.sum())  # of each block, all blocks of all groups being in one array
    ids, answers = np.zeros(size, np.int64), np.zeros((2, C * size), dtype)  # yes, and no
    ids[np.repeat(first - 1, width) + column[new]] = ways[new]
    row = C * first[:, None] + np.arange(C) * K[:, None] - 1
    at = np.repeat(row, steps.reshape(-1)) + column[asked]
    answers.reshape(-1)[at + to_no[asked] * np.int64(C * size)] = 1
    found, place = [], 0
    for part, k in zip(parts, widest):
        n = part.stop - part.start
        end = place + n * k
        if n and k:
            yes, no = (each[C * place : C * end].reshape(n, C, k) for each in answers)
            found.append(Questions(ids[place:end].reshape(n, k), yes, no, part))
        place = end
    return found
