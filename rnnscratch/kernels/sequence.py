"""The loop over time, forward and backward, written once for all cells.

T steps, B sequences, D inputs, H hidden units, G gates; N real steps of all sequences, packed as packing.py says.

    x, hs   (N, D), (N, H)   inputs and outputs, a row for each real step
    z, dz   (N, G*H)         pre-activations x W + h_prev U + b and their gradients, gate beside gate
    gates   (G, N, H)        gate by gate, so that each is one block of memory
    states  (B + N, H)       h (and c), in slots

A cell is elementwise equations on named views of these, whose rows are those of one step (`step`, `step_back`) or of a
chunk of steps (`slopes`). All else is here: the products with W and U, the mask of recurrent dropout, activating all
gates at once, packing. Steps come in chunks: the products with W, and on the way back the weight gradients, are one
matrix product for a chunk.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, get_array_module
from ..checks import as_operand, as_weights, check_shape
from . import cuda
from .packing import Plan, Step

State = tuple[Array | None, ...]


@dataclass(eq=False)
class Cell:
    """What the loop must know of a cell. Its functions get, by name, those of these that they ask for:

    gates      (G, n, H): activated, but for `late` ones, which come to `step` as z = x W + h_prev U + b
    prev, new  the states before and after, each (n, H); prev.h_in is h_prev, times the mask of recurrent dropout
    kept, s    what `step` keeps for the way back, and what `slopes` finds
    d          gradients of the states: of those after the step when `step_back` begins, of those before it when it
               ends, except for the way through the product with U, which the loop adds
    dz         gradients of z by gate, each (n, H); dz.all (G, n, H)
    w, dw      the further weights and their gradients by name; k*H numbers as (k, H)
    """

    gates: str  # one letter for each block of H columns of W, U and b
    step: Callable[..., None]  # one step: fills `new` and `kept`
    slopes: Callable[..., None]  # of all rows of a chunk: fills `s` with what no later step changes
    step_back: Callable[..., None]  # one step back: fills `dz` and changes `d`
    slopes_as: tuple[str, ...] = ()  # the names in `s`
    sigmoids: str = ""  # which gates are sigmoids; the others are tanh
    late: str = ""  # the gates, neighbours, that `step` activates, since something is added to their z first
    own: str = ""  # the last gates, if `step` takes their product with U: w.U, and on the way back d.h_in
    apart: bool = False  # the last gate's product with U is not added to z, but given as prev.hU; its gradient is d.hU
    states: str = "h"
    direct: str = ""  # states that lead to the next ones without passing z
    keeps: Mapping[str, int] = field(default_factory=dict)  # name -> how many times H numbers a row; 0: one number
    keeps_gates: bool = True
    weights: Mapping[str, int] = field(default_factory=dict)  # further weights: name -> how many times H numbers
    weight_gradients: Callable[..., None] | None = None  # of all rows of a chunk: adds to `dw`
    inputs: Callable[..., None] | None = None  # of all rows of a chunk: changes `xW` (G, n, H) before b is added
    inputs_back: Callable[..., None] | None = None  # its reverse: makes `dz` the gradient of xW
    found: str = ""  # the name in `s` of what `step_back` fills, and `weight_gradients` asks for
    twin: str = ""  # what in cuda/ has its step and the way back, for GPUs: a struct, unless `by_row`
    by_row: bool = False  # a step needs sums over all units of a row: its twin is cuda/layer_norm.cu

    def __post_init__(self) -> None:
        functions = (self.step, self.slopes, self.step_back, self.weight_gradients, self.inputs, self.inputs_back)
        self.asked = {f: tuple(inspect.signature(f).parameters) for f in functions if f is not None}
        own = bool(self.own)
        with_U = [*self.states, *["h_in"] * own, *["hU"] * self.apart]
        fields: dict[str, Any] = {"prev": with_U, "new": self.states, "d": with_U}
        fields |= {
            "kept": self.keeps,
            "s": self.slopes_as,
            "dz": (*self.gates, "all"),
            "w": (*self.weights, *["U"] * own),
        }
        self.views: dict[str, Any] = {
            name: make_dataclass(name, list(names), slots=True) for name, names in fields.items()
        }
        self.asks_new = any("new" in self.asked[f] for f in (self.slopes, self.weight_gradients) if f is not None)
        at = self.gates.index(self.late) if self.late else len(self.gates)
        self.waiting = slice(at, at + len(self.late))
        self.active = slice(len(self.late), None) if at == 0 else slice(0, at)  # the gates that the loop activates
        self.halved = slice(0, sum(gate in self.sigmoids for gate in self.gates[self.active]))

    def call(self, function: Any, have: Mapping[str, Any]) -> None:
        """Call one of the functions with what it asks for."""
        function(*[have[name] for name in self.asked[function]])

    def activate(self, z: Array, gates: Array) -> None:
        """z (G, n, H) -> gates (G, n, H): one tanh for all; sigmoid(z) = tanh(z/2)/2 + 1/2 (Eqs 24, 26)."""
        if self.late:
            gates[self.waiting] = z[self.waiting]
            z, gates = z[self.active], gates[self.active]
        sigmoids = z[self.halved]
        sigmoids *= 0.5
        get_array_module(z).tanh(z, out=gates)
        sigmoids = gates[self.halved]
        sigmoids *= 0.5
        sigmoids += 0.5

    def further(self, weights: Mapping[str, Array], U: Array) -> Any:
        """The further weights by name, and U's blocks of the gates that are the cell's own."""
        H, G = len(U), len(self.gates)
        found = [weights[name].reshape(k, H) if k > 1 else weights[name] for name, k in self.weights.items()]
        if self.own:
            blocks = by_gate(U, G)[G - len(self.own) :]
            found.append(blocks if len(blocks) > 1 else blocks[0])
        return self.views["w"](*found)


def by_gate(array: Array, G: int) -> Array:
    """(n, G*H) -> (G, n, H), a view."""
    return array.reshape(len(array), G, -1).swapaxes(0, 1)


class Memory:
    """What a pass keeps of so many rows for the way back."""

    def __init__(self, cell: Cell, rows: int, H: int, masked: bool, xp: Any, dtype: Any, gate_major: bool = True):
        self.Kept = cell.views["kept"]
        shapes = [(k, rows, H) if k > 1 else (rows, H if k else 1) for k in cell.keeps.values()]
        self.arrays = [xp.empty(shape, dtype) for shape in shapes]
        G = len(cell.gates)
        self.gates: Array = None
        self.z: Array = None  # without `gate_major`, the gates as (rows, G*H)
        if cell.keeps_gates and gate_major:
            self.gates = xp.empty((G, rows, H), dtype)
        elif cell.keeps_gates:
            self.z = xp.empty((rows, G * H), dtype)
            self.gates = by_gate(self.z, G)
        self.h_in: Array = xp.empty((rows, H), dtype) if masked else None  # h_prev times the mask

    def kept(self, rows: slice) -> Any:
        """What else is kept of these rows, by name."""
        return self.Kept(*[array[..., rows, :] if array.ndim > 2 else array[rows] for array in self.arrays])

    def at(self, rows: slice) -> dict[str, Any]:
        """The gates and all else that is kept of these rows."""
        return {"kept": self.kept(rows), "gates": None if self.gates is None else self.gates[:, rows]}


def numbers_kept(cell: Cell, plan: Plan, H: int, masked: bool) -> int:
    """How many numbers `run` keeps for the way back, besides what it was given."""
    a_row = sum(k * H or 1 for k in cell.keeps.values()) + (len(cell.gates) * H if cell.keeps_gates else 0)
    return (plan.B + plan.N) * len(cell.states) * H + plan.N * (a_row + masked * H)


class Cache(NamedTuple):
    """What the way back needs of the way there. Never changed, so it may be gone as often as wanted."""

    cell: Cell
    plan: Plan
    backwards: bool
    x: Array  # (N, D)
    W: Array
    U: Array
    weights: Mapping[str, Array]  # the further ones
    states: list[Array]  # each (B + N, H)
    memory: Memory
    mask: Array | None  # (B, H), sorted
    path: str  # one of cuda.PATHS


def run(
    cell: Cell,
    plan: Plan,
    x: Array,
    state: State,
    W: Array,
    U: Array,
    b: Array,
    weights: Mapping[str, Array],
    mask: Array | None = None,
    backwards: bool = False,
    keep: bool = True,
    out: Array | None = None,
) -> tuple[Array, tuple[Array, ...], Cache | None]:
    """All steps on packed inputs x (N, D), in one direction: hs (N, H), the final states (B, H), and the cache.

    `mask` (B, H), if given, multiplies h_prev in the products with U, the same at every step (recurrent dropout).
    Without `keep` there is no cache: a step's states take the place of those before it, and each chunk the memory of
    the one before. Then hs is written to `out`, if given, and x may be tokens (N,), and W what `products` made
    of the vectors (V, D) that they stand for.
    """
    xp, dtype = plan.xp, U.dtype
    N, B, G, H = plan.N, plan.B, len(cell.gates), len(U)
    joint = G - len(cell.own)  # gates whose product with U is taken here
    added = joint - cell.apart  # and those to whose z it is added
    path = cuda.path_of(cell, xp, dtype, B, H).name
    all_slots = keep or path != "arrays"  # CUDA kernels have a slot for every step
    chunks, longest = (plan.chunks, plan.longest) if path == "arrays" else (plan.whole, N)
    first, last = slice(0, B), slice(N, N + B) if plan.ends is None else plan.ends
    states = [xp.empty((B + N if all_slots else B, H), dtype) for _ in cell.states]
    for slots, initial in zip(states, state):
        # zeros where none is given: Eqs 65, 74
        initial = 0 if initial is None else initial if all_slots and backwards else plan.sort(initial)
        slots[last if all_slots and backwards else first] = initial
    memory = Memory(cell, N if keep else longest, H, mask is not None, xp, dtype, gate_major=path == "arrays")
    mask = None if mask is None else plan.sort(mask)
    twin = None
    if path != "arrays":
        twin = cuda.Forward(path, cell, plan, states, memory, U, weights, mask, backwards, keep, b)
        z = memory.z if cell.keeps_gates else xp.empty((longest, G * H), dtype)  # gate beside gate
    else:
        z, hU = xp.empty((G, longest, H), dtype), xp.empty((joint, B, H), dtype)
    W_by_gate, b_by_gate = (W, None) if x.ndim == 1 else (by_gate(W, G), b.reshape(G, 1, H))
    U_by_gate = None if twin else xp.ascontiguousarray(by_gate(U, G)[:joint])
    hs: Array = None if all_slots else xp.empty((N, H), dtype) if out is None else out
    Prev, New = cell.views["prev"], cell.views["new"]
    have: dict[str, Any] = {"w": cell.further(weights, U)}
    asked = cell.asked[cell.step]
    for chunk in reversed(chunks) if backwards else chunks:
        size = chunk.rows.stop - chunk.rows.start
        if b_by_gate is None:
            for z_gate, products_of_gate in zip(z, W_by_gate):
                xp.take(products_of_gate, x[chunk.rows], axis=0, out=z_gate[:size], mode="clip")
        elif twin:
            z_chunk = z[chunk.rows] if keep and cell.keeps_gates else z[:size]
            twin.run(chunk, xp.matmul(x[chunk.rows], W, out=z_chunk))
            continue
        else:
            xW = xp.matmul(x[chunk.rows], W_by_gate, out=z[:, :size])
            if cell.inputs:
                have |= memory.at(chunk.rows if keep else slice(0, size))
                cell.call(cell.inputs, have | {"xW": xW})
            xW += b_by_gate
        for step in reversed(chunk.steps) if backwards else chunk.steps:
            n, rows = step.running, step.rows if keep else step.within
            before, after = (step.late, step.early) if backwards else (step.early, step.late)
            prev = [slots[before if keep else n] for slots in states]
            h_in = prev[0] if mask is None else xp.multiply(prev[0], mask[n], out=memory.h_in[rows])
            have["gates"] = z_t = z[:, step.within]
            if joint:
                product = xp.matmul(h_in, U_by_gate, out=hU[:, n])
                z_added = z_t if added == G else z_t[:added]
                z_added += product if added == joint else product[:added]
            if cell.keeps_gates:
                have["gates"] = memory.gates[:, rows]
                cell.activate(z_t, have["gates"])
            if "prev" in asked:
                extra = [h_in] if cell.own else [product[-1]] if cell.apart else []
                have["prev"] = Prev(*prev, *extra)
            if "kept" in asked:
                have["kept"] = memory.kept(rows)
            have["new"] = New(*[slots[after if keep else n] for slots in states])
            cell.step(*[have[name] for name in asked])
            if not keep:
                hs[step.rows] = states[0][n]
    if all_slots and not backwards:
        final = tuple(slots[last].copy() for slots in states)
    else:
        final = tuple(plan.unsort(slots[first]).copy() for slots in states)
    if all_slots:
        hs = (plan.early_states if backwards else plan.late_states)(states[0], slice(0, N))
    if twin:
        twin.finish()
    if not keep:
        if out is not None and hs is not out:
            out[...] = hs
        return hs if out is None else out, final, None
    return hs, final, Cache(cell, plan, backwards, x, W, U, weights, states, memory, mask, path)


def products(x: Array, W: Array, b: Array, G: int) -> Array:
    """x W + b by gate (G, V, H) for each of V inputs x (V, D), for `run` to look up where they come again and again.

    Not for a cell that does more with its inputs (`Cell.inputs`).
    """
    found = get_array_module(x).matmul(x, by_gate(W, G))
    found += b.reshape(G, 1, -1)
    return found


def run_back(
    cache: Cache, dhs: Array | None, dstate: State, truncate: int | None = None
) -> tuple[Array, tuple[Array, ...], dict[str, Array]]:
    """All steps in reverse: dx (N, D), the gradients of the initial states (B, H), and of the weights by name.

    dhs (N, H) and each entry of dstate (B, H) may be None. `truncate=k` lets no gradient pass from step t to t-1 where
    k divides t, steps being counted as they are read, as if the states there had come from outside.
    """
    cell, plan, backwards, x, W, U, weights, states, memory, mask, path = cache
    xp, dtype = plan.xp, x.dtype
    B, G, H = plan.B, len(cell.gates), len(U)
    joint = (G - len(cell.own)) * H
    dstates = [xp.zeros((B, H), dtype) for _ in states]
    for d, given in zip(dstates, dstate):
        if given is not None:
            d[...] = plan.sort(given)
    dx = xp.empty(x.shape, dtype)
    grads = {"W": xp.zeros_like(W), "U": xp.zeros_like(U), "b": xp.zeros_like(W[0])}
    grads |= {name: xp.zeros_like(array) for name, array in weights.items()}
    U_T = xp.ascontiguousarray(U.T)  # a product with a view of U takes longer
    dU_joint, U_back = grads["U"][:, :joint], U_T[:joint]
    chunks, longest = (plan.chunks, plan.longest) if path == "arrays" else (plan.whole, plan.N)
    s_chunk = xp.empty((len(cell.slopes_as), longest if path == "arrays" else 0, H), dtype)
    dz_chunk = xp.empty((longest, G * H), dtype)
    dh_in, through_U = xp.empty((B, H), dtype), xp.empty((B, H), dtype)
    # dz of the last gate, where d.hU has its place; or what a twin finds for `weight_gradients`
    aside = xp.empty((longest if cell.apart or cell.found else 0, H), dtype)
    twin = None
    if path != "arrays":
        cut = (lambda d, step: cut_chain(d, plan, step, truncate, backwards)) if truncate else None
        twin = cuda.Backward(path, cell, plan, states, memory, U, weights, mask, backwards, dstates, truncate, cut)
    Prev, New, S, D, Dz = (cell.views[name] for name in ("prev", "new", "s", "d", "dz"))
    have: dict[str, Any] = {"w": cell.further(weights, U_T.T), "dw": cell.further(grads, grads["U"])}
    asked = cell.asked[cell.step_back]
    prev_of, new_of = plan.early_states, plan.late_states
    if backwards:
        prev_of, new_of = new_of, prev_of
    running: slice | None = None
    for chunk in chunks if backwards else reversed(chunks):
        size = chunk.rows.stop - chunk.rows.start
        prev = [prev_of(slots, chunk.rows) for slots in states]
        h_in = prev[0] if mask is None else memory.h_in[chunk.rows]
        whole = {**have, **memory.at(chunk.rows), "s": S(*s_chunk[:, :size])}
        if twin and cell.found:
            whole["s"] = S(*[aside[:size] if name == cell.found else None for name in cell.slopes_as])
        extra = [h_in] if cell.own else [None] if cell.apart else []
        whole["prev"] = Prev(*prev, *extra)
        if cell.asks_new:
            whole["new"] = New(*[new_of(slots, chunk.rows) for slots in states])
        if not twin:
            cell.call(cell.slopes, whole)
        dz, dhs_chunk = dz_chunk[:size], None if dhs is None else dhs[chunk.rows]
        dz_by_gate, gates = by_gate(dz, G), whole["gates"]
        if twin:
            twin.run(chunk, dz, aside, dhs)
        for step in () if twin else chunk.steps if backwards else reversed(chunk.steps):
            n, within = step.running, step.within
            if n != running:  # views cost time, and often as many sequences run as before
                running, d, dh_n = n, [each[n] for each in dstates], dh_in[n]
                have["d"] = D(*d, dh_n) if cell.own else D(*d, None) if cell.apart else D(*d)
            if dhs_chunk is not None:
                d[0] += dhs_chunk[within]
            dz_t = dz_by_gate[:, within]
            if cell.apart:
                have["d"].hU, have["dz"] = dz_t[-1], Dz(*dz_t[:-1], aside[within], dz_t)
            else:
                have["dz"] = Dz(*dz_t, dz_t)
            have["s"] = S(*s_chunk[:, within])
            if gates is not None:
                have["gates"] = gates[:, within]
            if "kept" in asked:
                have["kept"] = memory.kept(step.rows)
            cell.step_back(*[have[name] for name in asked])
            into_U = dh_n if cell.own or "h" in cell.direct else d[0]
            if cell.own and joint:
                into_U += xp.matmul(dz[within, :joint], U_back, out=through_U[n])
            elif joint:
                xp.matmul(dz[within], U_back, out=into_U)
            if mask is not None:
                into_U *= mask[n]
            if "h" in cell.direct:
                d[0] += into_U
            elif cell.own:
                d[0][...] = into_U
            if truncate:
                cut_chain(d, plan, step, truncate, backwards)
        if joint:
            dU_joint += h_in.T @ dz[:, :joint]
        whole["dz"] = Dz(*dz_by_gate, dz_by_gate)
        if cell.apart:
            whole["d"] = D(*[None] * len(states), dz_by_gate[-1])
        if cell.weight_gradients:
            cell.call(cell.weight_gradients, whole)
        if cell.apart:
            dz_by_gate[-1] = aside[:size]
        grads["b"] += dz.sum(axis=0)
        if cell.inputs_back and twin:
            twin.inputs_back(chunk, dz)
        elif cell.inputs_back:
            cell.call(cell.inputs_back, whole)
        grads["W"] += x[chunk.rows].T @ dz
        xp.matmul(dz, W.T, out=dx[chunk.rows])
    if twin:
        twin.finish()
    return dx, tuple(plan.unsort(d) for d in dstates), grads


def cut_chain(d: list[Array], plan: Plan, step: Step, every: int, backwards: bool) -> None:
    """Let nothing pass to the step before where `every` divides the number of this one."""
    if not backwards or plan.lengths is None:
        number = plan.T - 1 - step.time if backwards else step.time
        if number % every == 0 and number > 0:
            for each in d:
                each[...] = 0
        return
    numbers = plan.sorted_lengths[step.running] - 1 - step.time  # each sequence begins at its own end
    cut = plan.xp.asarray((numbers % every == 0) & (numbers > 0))[:, None]
    for each in d:
        each[...] = plan.xp.where(cut, 0, each)


def forward(
    cell: Cell,
    x: Array,
    state: State | None,
    W: Array,
    U: Array,
    b: Array,
    lengths: Any = None,
    mask: Array | None = None,
    **weights: Array,
) -> tuple[Array, tuple[Array, ...], Cache]:
    """Run a cell over whole sequences. `lstm.forward` and its like are this function for one cell.

    x (T, B, D); state a tuple of the cell's states, each (B, H) or None for zeros, or None; W (D, G*H), U (H, G*H),
    b (G*H,), gate beside gate; lengths (B,) integers from 1 to T on the host, or None; mask (B, H) of recurrent dropout
    or None; the cell's further weights by name. All arrays are of one dtype, float32, float64 or complex128; lists and
    other numbers without one take on W's.

    Returns hs (T, B, H), zero past a sequence's end, the final states as a tuple, each (B, H), and the cache for
    `backward`. hs is a view of what the cache holds when all sequences are equally long, so do not write to it. Raises
    ValueError or TypeError for wrong arguments.
    """
    x, state, W, U, b, mask, weights = arguments(cell, x, state, W, U, b, mask, weights)
    plan = Plan(x.shape[0], x.shape[1], lengths, get_array_module(x))
    hs, final, cache = run(cell, plan, plan.pack(x), state, W, U, b, weights, mask)
    assert cache is not None
    return plan.unpack(hs), final, cache


def backward(
    cache: Cache, dhs: Array | None = None, dstate: State | None = None, truncate: int | None = None
) -> tuple[Any, ...]:
    """The gradients of a loss, given those with respect to hs (T, B, H) and to the final states, all optional.

    dstate is a tuple, each (B, H) or None. Returns dx (T, B, D), the gradients of the initial states as a tuple, dW,
    dU, db and those of the cell's further weights. `truncate=k` cuts the chain every k steps. Changes nothing it is
    given. Raises ValueError or TypeError for wrong arguments.
    """
    dhs, state = upstream(cache, dhs, dstate, truncate)
    plan = cache.plan
    dx, initial, grads = run_back(cache, None if dhs is None else plan.pack(dhs), state, truncate)
    return plan.unpack(dx), initial, *grads.values()


def one_step(
    cell: Cell,
    x: Array,
    prev: list[Array],
    new: list[Array],
    W: Array,
    U: Array,
    b: Array,
    weights: Mapping[str, Array],
) -> None:
    """A single step: x (B, D), the states `prev` before it, each (B, H); fills `new`. Keeps nothing."""
    xp, G, H = get_array_module(x), len(cell.gates), len(U)
    joint = (G - len(cell.own)) * H
    z = x @ W
    if cuda.choice.on_gpu(xp) and cuda.path_of(cell, xp, U.dtype, len(x), H).name != "arrays":
        cuda.step(cell, z, prev, new, U, b, weights)
        return
    have: dict[str, Any] = {"new": cell.views["new"](*new), "gates": by_gate(z, G)}
    if cell.keeps or cell.keeps_gates:
        memory = Memory(cell, len(x), H, False, xp, x.dtype)
        have["kept"] = memory.kept(slice(None))
    if cell.weights or cell.own:
        have["w"] = cell.further(weights, U)
    if cell.inputs:
        cell.call(cell.inputs, have | {"xW": have["gates"]})
    z += b
    extra = prev[:1] if cell.own else []
    if cell.apart:
        product, added = prev[0] @ U, joint - H
        z[:, :added] += product[:, :added]
        extra = [product[:, added:]]
    elif joint:
        z_joint = z[:, :joint]
        z_joint += prev[0] @ U[:, :joint]
    if cell.keeps_gates:
        cell.activate(have["gates"], memory.gates)
        have["gates"] = memory.gates
    have["prev"] = cell.views["prev"](*prev, *extra)
    cell.call(cell.step, have)


def arguments(
    cell: Cell, x: Any, state: Any, W: Any, U: Any, b: Any, mask: Any, weights: Mapping[str, Any]
) -> tuple[Array, State, Array, Array, Array, Array | None, dict[str, Array]]:
    """Every argument of forward but the lengths, as arrays that fit together. Raises TypeError or ValueError."""
    W = as_weights("W", W)
    x, U, b = as_operand("x", x, W.dtype), as_operand("U", U, W.dtype), as_operand("b", b, W.dtype)
    for name, array in (("W", W), ("U", U)):
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name} has shape {array.shape}, expected two axes, none of length 0")
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x has shape {x.shape}, expected (T, B, D) = (steps, sequences, inputs), none 0")
    G, H, (T, B, _) = len(cell.gates), len(U), x.shape
    check_shape("x", x, (T, B, len(W)), W.dtype, "(T, B, D) with W (D, G*H)")
    check_shape("W", W, (len(W), G * H), W.dtype, f"(D, {G}*H)")
    check_shape("U", U, (H, G * H), W.dtype, f"(H, {G}*H)")
    check_shape("b", b, (G * H,), W.dtype, f"({G}*H,)")
    if weights.keys() != cell.weights.keys():
        raise TypeError(f"got the further weights {sorted(weights)}, expected {sorted(cell.weights)}")
    further = {
        name: check_shape(name, array, (cell.weights[name] * H,), W.dtype, f"({cell.weights[name]}*H,)")
        for name, array in weights.items()
    }
    if mask is not None:
        mask = check_shape("mask", mask, (B, H), W.dtype, "(B, H)")
    parts = states_of("state", "initial state", cell, state, (B, H), W.dtype)
    get_array_module(x, W, U, b, mask, *parts, *further.values())
    return x, parts, W, U, b, mask, further


def upstream(cache: Cache, dhs: Any, dstate: Any, truncate: int | None) -> tuple[Array | None, State]:
    """The gradients that backward is given, as arrays that fit. Raises TypeError or ValueError."""
    T, B, H, dtype = cache.plan.T, cache.plan.B, len(cache.U), cache.x.dtype
    if dhs is not None:
        dhs = check_shape("dhs", dhs, (T, B, H), dtype, "(T, B, H) as the outputs")
    parts = states_of("dstate", "gradient of the final state", cache.cell, dstate, (B, H), dtype)
    get_array_module(cache.x, dhs, *parts)
    check_truncate(truncate)
    return dhs, parts


def states_of(name: str, meaning: str, cell: Cell, given: Any, shape: tuple[int, int], dtype: Any) -> State:
    """A tuple with an array or None for each of the cell's states. Raises TypeError or ValueError."""
    letters = ", ".join(cell.states)
    if given is None:
        return (None,) * len(cell.states)
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{name} is {type(given).__name__}, expected the tuple ({letters}) or None")
    if len(given) != len(cell.states):
        raise ValueError(f"{name} has {len(given)} entries, expected {len(cell.states)}: {letters}")
    return tuple(
        part if part is None else check_shape(f"{meaning} {letter}", part, shape, dtype, "(B, H)")
        for letter, part in zip(cell.states, given)
    )


def check_truncate(truncate: Any) -> None:
    """Raise ValueError unless it is a number of steps or None."""
    if truncate is not None and (not isinstance(truncate, int | np.integer) or truncate < 1):
        raise ValueError(f"truncate is {truncate!r}, expected a number of steps, at least 1, or None")
