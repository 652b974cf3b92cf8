"""The loop over time, forward and backward, written once for all cells.

T steps, B sequences, D inputs, H hidden units, G gates. Sequences are sorted by decreasing length, so that those
still running at step t are the first n_t rows, and only these are worked on. What belongs to step t is n_t
consecutive rows of a packed array of N = n_0 + ... + n_{T-1} rows; with equal lengths this is the (T, B, .) array
itself.

    gates   (G, N, H)    the activated gates; gate by gate, so that each is one block
    states  (B + N, H)   h (and c): slot 0 is the initial state, slot t+1 that after step t; slot t begins at starts[t]

A cell is a pair of pure functions, one step and its reverse, and says in `Cell` what else the loop must know. Steps
are taken in chunks: the products with W, and on the way back the weight gradients, are one matrix product for a whole
chunk, on rows that are still in the processor's cache, and the scratch arrays of the way back need not be N rows
long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, check_dtype, get_array_module
from ..checks import check_lengths, check_shape

CHUNK_ROWS = 1024  # rows (steps x sequences) in one chunk at most, but at least one step


class Cell(NamedTuple):
    """What the loop must know of a cell.

    The functions work in place; their arguments are described where they are called.
    """

    gates: str  # one letter for each block of H columns of W, U and b
    states: str  # "h" or "hc"
    sigmoids: int  # the first so many gates are sigmoids, whose pre-activation is halved by the weights
    step: Callable[..., None]
    derivatives: Callable[..., tuple[Array, ...]]
    step_back: Callable[..., None]
    recurrent_gradients: Callable[..., None]
    keeps_gates: bool = True
    keeps: int = 0  # further (N, H) arrays that a step fills for the way back


class Plan(NamedTuple):
    """Which rows belong to which step."""

    sizes: list[int]  # sequences running at step t, for each step up to the longest sequence's last
    starts: list[int]  # first row of slot t in the states; slot t+1's rows minus B are step t's packed rows
    order: Array | None  # (B,) the sequence that sits at each sorted position; None: as given
    rows: Array | None  # (N,) row of x.reshape(T*B, D) for each packed row; None: all, in order
    previous: Array | None  # (N,) row in the states of each packed row's previous state; None: all, in order
    last: Array | None  # (B,) row in the states of each sequence's final state, in the order given; None: the last slot

    def chunks(self) -> list[tuple[int, int]]:
        """First and last + 1 step of each chunk: at most CHUNK_ROWS rows, and a quarter of all, to save memory."""
        most = min(CHUNK_ROWS, sum(self.sizes) // 4)
        chunks = []
        first, rows = 0, 0
        for t, size in enumerate(self.sizes):
            if rows and rows + size > most:
                chunks.append((first, t))
                first, rows = t, 0
            rows += size
        return [*chunks, (first, len(self.sizes))]


def plan(T: int, B: int, lengths: Any, xp: Any) -> Plan:
    """Sort by length and lay out the packed rows."""
    if lengths is None or (lengths == T).all():
        starts = [t * B for t in range(T + 2)]
        return Plan([B] * T, starts, None, None, None, None)
    order = np.argsort(-lengths, kind="stable")
    steps = np.arange(lengths.max())
    sizes = (lengths > steps[:, None]).sum(axis=1)
    first_row = np.concatenate([[0, B], B + np.cumsum(sizes)])
    t_of_row = np.repeat(steps, sizes)
    position = np.arange(len(t_of_row)) - (first_row[1:-1] - B)[t_of_row]
    in_order = bool((order == np.arange(B)).all())
    return Plan(
        sizes.tolist(),
        first_row.tolist(),
        None if in_order else xp.asarray(order),
        xp.asarray(t_of_row * B + order[position]),
        xp.asarray(first_row[:-2][t_of_row] + position),
        xp.asarray(first_row[lengths] + np.argsort(order)),
    )


class Cache(NamedTuple):
    """What backward needs of forward. Never changed, so backward may run as often as wanted."""

    cell: Cell
    plan: Plan
    shape: tuple[int, int, int]  # T, B, D
    x: Array  # (N, D)
    W: Array
    U: Array
    gates: Array  # (G, N, H); None for a cell that keeps none
    states: list[Array]  # each (B + N, H)
    kept: list[Array]  # each (N, H)
    mask: Array | None  # (B, H) in sorted order: the recurrent dropout mask
    h_in: Array | None  # (N, H) h_prev times the mask, where there is one
    extra: tuple[Any, ...]


def forward(
    cell: Cell,
    x: Array,
    state: tuple[Array | None, ...],
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    extra: tuple[Array, ...] = (),
) -> tuple[Array, tuple[Array, ...], Cache]:
    """All steps. Returns hs (T, B, H), zero past a sequence's end, the final states (B, H), and the cache.

    `mask` (B, H), if given, multiplies h_prev in the products with U, the same at every step (recurrent dropout).
    """
    xp = get_array_module(x, W, U, b, mask, *state, *extra)
    lengths = check_arguments(cell, x, state, W, U, b, lengths, mask, extra)
    T, B, D = x.shape
    G, H = len(cell.gates), len(U)
    todo = plan(T, B, lengths, xp)
    sizes, starts = todo.sizes, todo.starts
    N = starts[-1] - B
    rows = x.reshape(T * B, D)
    packed = rows if todo.rows is None else rows[todo.rows]
    states = [xp.empty((B + N, H), x.dtype) for _ in cell.states]
    for slots, initial in zip(states, state):
        slots[:B] = 0 if initial is None else initial if todo.order is None else initial[todo.order]
    kept = [xp.empty((N, H), x.dtype) for _ in range(cell.keeps)]
    if mask is not None and todo.order is not None:
        mask = mask[todo.order]
    h_in: Array = None if mask is None else xp.empty((N, H), x.dtype)
    half = xp.where(xp.arange(G * H) < cell.sigmoids * H, 0.5, 1.0).astype(x.dtype)  # sigmoid(z) = tanh(z/2)/2 + 1/2
    W_half, b_half = W * half, b * half
    U_half = xp.multiply(U.reshape(H, G, H).swapaxes(0, 1), half.reshape(G, 1, H), out=xp.empty((G, H, H), x.dtype))
    chunks = todo.chunks()
    longest = max(starts[last + 1] - starts[first + 1] for first, last in chunks)
    z_buffer = xp.empty((longest, G * H), x.dtype)
    gates: Array = xp.empty((G, N, H), x.dtype) if cell.keeps_gates else None
    work = xp.empty(G * B * H, x.dtype)
    for first, last in chunks:
        begin, end = starts[first + 1] - B, starts[last + 1] - B
        z = z_buffer[: end - begin]
        xp.matmul(packed[begin:end], W_half, out=z)
        z += b_half
        for t in range(first, last):
            n, old, new = sizes[t], starts[t], starts[t + 1]
            a = new - B - begin
            previous = [slots[old : old + n] for slots in states]
            cell.step(
                z[a : a + n].reshape(n, G, H).swapaxes(0, 1),
                gates[:, new - B : new - B + n] if cell.keeps_gates else None,
                previous[0] if mask is None else xp.multiply(previous[0], mask[:n], out=h_in[new - B : new - B + n]),
                *previous,
                U_half,
                *[slots[new : new + n] for slots in states],
                *[array[new - B : new - B + n] for array in kept],
                work[: G * n * H].reshape(G, n, H),
                *extra,
            )
    if todo.rows is None:
        hs = states[0][B:].reshape(T, B, H)
        final = tuple(slots[N:].copy() for slots in states)
    else:
        hs = xp.zeros((T * B, H), x.dtype)
        hs[todo.rows] = states[0][B:]
        hs = hs.reshape(T, B, H)
        final = tuple(slots[todo.last] for slots in states)
    return hs, final, Cache(cell, todo, (T, B, D), packed, W, U, gates, states, kept, mask, h_in, extra)


def backward(
    cache: Cache, dhs: Array | None = None, dstate: tuple[Array | None, ...] = (), truncate: int | None = None
) -> tuple[Array, tuple[Array, ...], Array, Array, Array, tuple[Array, ...]]:
    """All steps in reverse: dx (T, B, D), gradients of the initial states, dW, dU, db and those of the cell's extras.

    dhs (T, B, H) and each entry of dstate (B, H) may be None. `truncate=k` lets no gradient pass from step t to t-1
    where k divides t, as if the states there had come from outside.
    """
    cell, todo, (T, B, D), x, W, U, gates, states, kept, mask, h_in, extra = cache
    xp = get_array_module(x, dhs, *dstate)
    check_upstream(cache, dhs, dstate, truncate)
    sizes, starts = todo.sizes, todo.starts
    H, GH = U.shape
    upstream = None if dhs is None else dhs.reshape(T * B, H)
    dstates = [xp.zeros((B, H), x.dtype) for _ in states]
    for d, given in zip(dstates, dstate):
        if given is not None:
            d[...] = given if todo.order is None else given[todo.order]
    dx = xp.zeros((T * B, D), x.dtype) if todo.rows is not None else xp.empty((T * B, D), x.dtype)
    dW, dU, db, *dextra = (xp.zeros_like(weights) for weights in (W, U, W[0], *extra))
    U_back, W_back = xp.ascontiguousarray(U.T), W.T
    work = [xp.empty((B, H), x.dtype) for _ in range(2)]
    chunks = todo.chunks()
    longest = max(starts[last + 1] - starts[first + 1] for first, last in chunks)
    dz_buffer = xp.empty((longest, GH), x.dtype)
    for first, last in reversed(chunks):
        begin, end = starts[first + 1] - B, starts[last + 1] - B
        if todo.previous is None:
            old = [slots[begin:end] for slots in states]
        else:
            old = [slots[todo.previous[begin:end]] for slots in states]
        new = [slots[B + begin : B + end] for slots in states]
        saved = [array[begin:end] for array in kept]
        gates_chunk = gates[:, begin:end] if cell.keeps_gates else None
        h_in_chunk = old[0] if h_in is None else h_in[begin:end]
        slopes, passes = cell.derivatives(gates_chunk, *saved, h_in_chunk, *old, *new)
        dz = dz_buffer[: end - begin]
        if upstream is None:
            dhs_chunk = None
        else:
            dhs_chunk = upstream[begin:end] if todo.rows is None else upstream[todo.rows[begin:end]]
        for t in range(last - 1, first - 1, -1):
            n = sizes[t]
            a = starts[t + 1] - B - begin
            running = [d[:n] for d in dstates]
            if dhs_chunk is not None:
                running[0] += dhs_chunk[a : a + n]
            cell.step_back(
                dz[a : a + n],
                slopes[:, a : a + n],
                *[p[a : a + n] for p in passes],
                U_back,
                *running,
                *[buffer[:n] for buffer in work],
                None if mask is None else mask[:n],
            )
            if truncate and t % truncate == 0 and t > 0:
                for d in running:
                    d[...] = 0
        cell.recurrent_gradients(dz, slopes, passes, h_in_chunk, dU, *dextra)
        dW += x[begin:end].T @ dz
        db += dz.sum(axis=0)
        if todo.rows is None:
            xp.matmul(dz, W_back, out=dx[begin:end])
        else:
            dx[todo.rows[begin:end]] = dz @ W_back
    if todo.order is not None:
        place = xp.argsort(todo.order)
        dstates = [d[place] for d in dstates]
    return dx.reshape(T, B, D), tuple(dstates), dW, dU, db, tuple(dextra)


def recurrent_gradients(dz: Array, slopes: Array, passes: tuple[Array, ...], h_in: Array, dU: Array) -> None:
    """The gradient of U where z = x W + h_in U + b, which holds for all cells but the GRU."""
    dU += h_in.T @ dz


def reverse(x: Array, lengths: np.ndarray | None) -> Array:
    """Each sequence of x (T, B, .) back to front within its own length;

    what lies past its end stays. Its own inverse.
    """
    if lengths is None:
        return x[::-1].copy()
    xp = get_array_module(x)
    T, B = x.shape[:2]
    steps = np.arange(T)[:, None]
    source = np.where(steps < lengths, lengths - 1 - steps, steps) * B + np.arange(B)
    return x.reshape(T * B, -1)[xp.asarray(source.ravel())].reshape(x.shape)


def check_arguments(
    cell: Cell,
    x: Array,
    state: tuple[Array | None, ...],
    W: Array,
    U: Array,
    b: Array,
    lengths: Any,
    mask: Any,
    extra: Any,
) -> np.ndarray | None:
    """Check every argument of forward before any work is done; returns the lengths on the host."""
    check_dtype(W.dtype, "W's dtype")
    G, H = len(cell.gates), len(U)
    if getattr(x, "ndim", 0) != 3 or 0 in x.shape:
        raise ValueError(
            f"x has shape {getattr(x, 'shape', None)}, expected (T, B, D) = (steps, sequences, inputs), none 0"
        )
    T, B, _ = x.shape
    check_shape("x", x, (T, B, len(W)), W.dtype, "(T, B, D) with W (D, G*H)")
    check_shape("W", W, (len(W), G * H), W.dtype, f"(D, {G}*H)")
    check_shape("U", U, (H, G * H), W.dtype, f"(H, {G}*H)")
    check_shape("b", b, (G * H,), W.dtype, f"({G}*H,)")
    for array in extra:
        check_shape("bn", array, (H,), W.dtype, "(H,)")
    if mask is not None:
        check_shape("mask", mask, (B, H), W.dtype, "(B, H)")
    for letter, initial in zip(cell.states, state):
        if initial is not None:
            check_shape(f"initial state {letter}", initial, (B, H), W.dtype, "(B, H)")
    return check_lengths(lengths, T, B)


def check_upstream(cache: Cache, dhs: Array | None, dstate: tuple[Array | None, ...], truncate: int | None) -> None:
    """Check every argument of backward before any work is done."""
    T, B, _ = cache.shape
    H, dtype = len(cache.U), cache.x.dtype
    if dhs is not None:
        check_shape("dhs", dhs, (T, B, H), dtype, "(T, B, H) as the outputs")
    for letter, given in zip(cache.cell.states, dstate):
        if given is not None:
            check_shape(f"gradient of the final state {letter}", given, (B, H), dtype, "(B, H)")
    if truncate is not None and (not isinstance(truncate, int | np.integer) or truncate < 1):
        raise ValueError(f"truncate is {truncate!r}, expected a number of steps, at least 1, or None")
