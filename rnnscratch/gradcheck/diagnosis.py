"""From wrong numbers to what is wrong.

Some errors show in the numbers themselves: a constant ratio, a sign, a transpose, zeros, two gates exchanged. For the
others the question is what must be taken away for the gradients to be right - dropout, lengths, repeated ids, the
initial state, all steps but one, the asymmetry of U - and what is left names the cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .compare import Comparison, Setup, derivatives, parts_of
from .suspects import name_suspects

CAUSES = {
    "changed arguments": "{detail} was changed by backward; it must be left as it came",
    "changed by forward": "{detail} was changed by forward, so there is no function whose gradient could be compared; "
    "forward must leave its arguments and parameters as they came",
    "second backward": "a second backward gives other gradients: the first one changed what forward had stored",
    "gradients add up": "a second backward adds its gradients to those of the first: {detail} must start from zero",
    "not repeatable": "forward and backward give other gradients when they run again: backward is random, or changes "
    "what they start from",
    "reused buffer": "the gradient of {detail} that backward returned is overwritten by the next backward: it must "
    "return an array of its own",
    "shared memory": "the gradients of {detail} lie in the same memory, so one of them overwrites the other",
    "not finite": "the gradient is not finite",
    "dtype": "the gradient is right to the digits of {detail} only, which backward returns",
    "not independent": "the output does not depend on {detail}, so the right gradient is zero: forward reads another "
    "array, or returns a stored result",
    "kink": "forward has a kink at these numbers ({detail}), and so no derivative: move them a little",
    "imprecise": "the gradient is right to {detail} only: a small term is missing, or digits are lost on the way",
    "elsewhere": "right at the entries that were looked at one by one, wrong elsewhere: raise max_entries",
    "zero": "the gradient is zero where it should not be: a dead path, nothing is propagated to it",
    "sign": "the sign is wrong: the gradient is -1 times the right one",
    "scale": "the gradient is {detail} times the right one: a forgotten factor, or a mean where a sum belongs",
    "transpose": "the gradient equals the transpose of the right one",
    "gates exchanged": "the gradients of the gates {detail} are exchanged",
    "one gate": "only the gate {detail} is wrong",
    "dropout": "right without dropout: the mask of the forward pass is not applied on the way back",
    "lengths": "right without lengths: padding takes part in the gradient, or the sequences' ends are misplaced",
    "repeated ids": "right when no id is repeated: contributions of repeated ids overwrite each other",
    "initial state": "right when the initial state is zero: the term it brings is missing",
    "final state": "right when no gradient comes from the final state: it is ignored or misplaced",
    "no gradient through time": "right at the last step only; equal to the gradient with the chain cut at every step",
    "upstream overwritten": "equal to the gradient when only the last output counts: what comes from a step's own "
    "output is overwritten, not added to what comes from later steps",
    "transposed recurrence": "right when U is symmetric: U is multiplied where its transpose belongs",
    "previous state": "the gradient of U has a wrong factor beside dz, which is right: {detail}",
    "not summed": "right for one step, and what goes back through the steps is right: the sum over the steps is not, "
    "say an = where += belongs{detail}",
    "cell path": "right for one step if no gradient comes from its cell state c: what the next step hands back through "
    "c is dropped or misplaced",
    "last step only": "equal to the last step's contribution alone: the sum over the steps is missing",
    "recursion": "right for one step, wrong for more: what is handed from step to step is incomplete{detail}",
    "one example": "right for a batch of one: the sequences of a batch are mixed up or averaged",
    "slope": "wrong even for one step: a local derivative is wrong{detail}",
    "wrong": "the gradient is wrong, without a pattern that this checker knows",
}


def diagnose(setup: Setup, found: Comparison, method: str, tolerance: float) -> tuple[str, list[str]]:
    """The main cause, and sentences about it and about each array that fails."""
    loose = max(tolerance * 1e3, 1e-8)
    patterns = {name: _pattern(setup, found, name, loose, tolerance) for name in found.failing}
    for row in found.rows:
        if not row.ok and not row.part:
            row.cause = patterns[row.name][0]
    if found.cause == "reused buffer" and found.shared and found.failing:
        cause, detail = "shared memory", found.shared
    elif found.cause:
        cause, detail = found.cause, found.detail
    else:
        known = {pattern for pattern in patterns.values() if pattern[0] != "wrong"}
        exchanged = [pattern for pattern in known if pattern[0] == "gates exchanged"]
        if exchanged:
            cause, detail = exchanged[0]
        elif len(known) == 1 and all(pattern in known for pattern in patterns.values()):
            ((cause, detail),) = known
        elif {pattern[0] for pattern in patterns.values()} == {"not independent"}:
            cause, detail = "not independent", ", ".join(patterns)
        else:
            cause, detail = name_suspects(setup, found, loose if method == "central" else 1e-9)
            if not cause:
                cause, detail = _counterfactual(setup, found, method, tolerance, loose)
            if cause == "wrong" and known:
                cause, detail = sorted(known)[0]
    sentences = [CAUSES[cause].format(detail=detail)]
    if found.failing:
        wrong = ", ".join(found.failing)
        right = ", ".join(name for name in found.analytic if name not in found.failing)
        sentences.append(f"wrong: {wrong}" + (f"; right: {right}" if right else ""))
    return cause, sentences


def _pattern(setup: Setup, found: Comparison, name: str, loose: float, tolerance: float) -> tuple[str, str]:
    """What the numbers of one array show by themselves."""
    a, n = found.analytic[name], found.numeric[name]
    row = next(row for row in found.rows if row.name == name)
    size = np.abs(n).max(initial=0.0)

    def near(first: np.ndarray, second: np.ndarray, slack: float = loose) -> bool:
        return bool(np.abs(first - second).max(initial=0.0) <= slack * size)

    if not np.isfinite(a).all():
        return "not finite", ""
    if size == 0.0 and name in found.untested:
        return "not independent", name
    if size == 0.0:
        return ("wrong" if row.error > tolerance else "elsewhere"), ""
    if row.ok:
        return "elsewhere", ""
    if found.kinks.get(name):
        return "kink", found.kinks[name]
    if " and " in found.shared and name in found.shared.split(" and "):
        return "shared memory", found.shared
    dtype = found.dtypes[name]
    fewer = 1.0 if dtype.kind in "iub" else 100 * size * float(np.finfo(dtype).eps)
    if dtype != np.dtype(setup.dtype) and np.abs(a - n).max() <= fewer:
        return "dtype", dtype.name
    if not a.any():
        return "zero", ""
    ratio = float(a @ n / (n @ n))
    if near(a, n) and np.abs(a - ratio * n).max() > tolerance * size:
        return "imprecise", f"{row.error:.1e}"
    if np.abs(a).max() < 1e-9 * size:
        return "zero", ""
    if near(a, ratio * n):
        return ("sign", "") if abs(ratio + 1) < loose else ("scale", _name_ratio(setup, ratio))
    whole = a.size == math.prod(row.shape)
    square = len(row.shape) == 2 and row.shape[0] == row.shape[1]
    if whole and square and near(a.reshape(row.shape), n.reshape(row.shape).T):
        return "transpose", ""
    if whole:
        blocks = list(setup.gate_places(name, row.shape, np.arange(a.size)))
        wrong = [letter for letter, chosen in blocks if not near(a[chosen], n[chosen])]
        where = dict(blocks)
        if len(wrong) == 2 and all(near(a[where[p]], n[where[q]]) for p, q in (wrong, wrong[::-1])):
            return "gates exchanged", f"{wrong[0]} and {wrong[1]}"
        if len(wrong) == 1 and len(blocks) > 1:
            return "one gate", wrong[0]
        if not blocks and (detail := _exchanged(name, a.reshape(row.shape), n.reshape(row.shape), loose)):
            return "gates exchanged", detail
    if near(a, n, 1e-6):  # what single precision leaves
        return "imprecise", f"{row.error:.1e}"
    return "wrong", ""


def _exchanged(name: str, a: np.ndarray, n: np.ndarray, loose: float) -> str:
    """Which blocks of a weight's last axis, of three or four gates, are in each other's place, as "1 and 2"; or ""."""
    if name[:1] not in "WUb" or not a.ndim:
        return ""
    for count in (4, 3):
        if a.shape[-1] % count or a.shape[-1] == count:
            continue
        ours, theirs = np.split(a, count, axis=-1), np.split(n, count, axis=-1)
        slack = loose * np.abs(n).max()
        wrong = [k for k in range(count) if np.abs(ours[k] - theirs[k]).max() > slack]
        if len(wrong) == 2:
            one, other = wrong
            crossed = max(np.abs(ours[one] - theirs[other]).max(), np.abs(ours[other] - theirs[one]).max())
            if crossed <= slack:
                return f"{one + 1} and {other + 1}"
    return ""


def _name_ratio(setup: Setup, ratio: float) -> str:
    """A ratio as a number, and as what it may come from: the sizes of the batch and of the sequence."""
    shape = setup.inputs[0].shape
    sizes = dict(zip(("T", "B"), shape)) if setup.recurrent and len(shape) == 3 else {}
    for letter, size in sizes.items():
        for text, value in ((letter, size), (f"1/{letter}", 1 / size)):
            if size > 1 and abs(ratio - value) < 1e-6 * abs(value):
                return f"{ratio:.6g} ({text})"
    return f"{ratio:.6g}" if abs(ratio - 1) > 1e-5 else f"1 {'+' if ratio > 1 else '-'} {abs(ratio - 1):.1e}"


def _counterfactual(setup: Setup, found: Comparison, method: str, tolerance: float, loose: float) -> tuple[str, str]:
    """What must be taken away for the gradients to be right."""

    def right(**changes: Any) -> bool:
        try:
            result = replace(setup, **changes).compare(method, tolerance)
        except Exception:  # whatever the target says to what its user did not give it, that is no explanation
            return False
        return not result.cause and all(row.ok for row in result.rows)

    shape = setup.inputs[0].shape
    integers = setup.inputs[0].dtype.kind in "iub"
    if setup.train and right(train=False):
        return "dropout", ""
    if setup.lengths is not None and right(lengths=None):
        return "lengths", ""
    if integers and (distinct := _distinct(setup)) is not None and right(inputs=distinct):
        return "repeated ids", ""
    if setup.state is not None:
        zero = [np.zeros_like(part) for part in parts_of(setup.state)]
        if right(state=tuple(zero) if isinstance(setup.state, (tuple, list)) else zero[0]):
            return "initial state", ""
    if setup.recurrent and right(upstream_only="outputs"):
        return "final state", ""
    if not setup.sequential:
        return "wrong", ""
    if detail := _previous_state(setup, found, method, tolerance, loose):
        return "previous state", detail
    rest = setup.inputs[1:]
    single = replace(setup, inputs=(setup.inputs[0][:1], *rest), lengths=None).compare(method, tolerance)
    states = ("state", *(name for k, name in setup.named_inputs().items() if k))
    if shape[0] > 1 and all(row.ok for row in single.rows if not row.name.startswith(states)):
        of_params = set(found.failing) <= set(setup.target.params)
        if setup.recurrent:
            if set(found.failing) < set(setup.target.params) and _agree(
                found.analytic, _cut_chain(setup, method, last_only=True), loose, found.failing
            ):
                return "last step only", ""
            whole = replace(setup, lengths=None)
            reference = whole.compare(method, tolerance)
            if _agree(reference.analytic, _cut_chain(whole, method), loose):
                return "no gradient through time", ""
            last = replace(whole, upstream_only="last step").compare(method, tolerance)
            if _agree(reference.analytic, last.numeric, loose):
                return "upstream overwritten", ""
        if of_params:
            return "not summed", _kept_step(right, setup)
        if right(symmetric=True):
            return "transposed recurrence", ""
        return "recursion", ""
    if shape[0] > 1 and setup.recurrent and isinstance(setup.state, (tuple, list)):
        without = replace(setup, inputs=(setup.inputs[0][:1],), lengths=None, upstream_only="no cell")
        if all(row.ok for row in without.compare(method, tolerance).rows):
            return "cell path", ""
    if shape[1] > 1:
        state = [np.asarray(part)[..., :1, :] for part in parts_of(setup.state)]
        smaller = tuple(state) if isinstance(setup.state, (tuple, list)) else state[0] if state else None
        if right(inputs=(setup.inputs[0][:, :1],), state=smaller, lengths=None):
            return "one example", ""
    for name in (name for name in single.failing if name in setup.target.params):
        row = next(row for row in single.rows if row.name == name)
        a, n = single.analytic[name], single.numeric[name]
        if a.size == math.prod(row.shape) and (
            detail := _exchanged(name, a.reshape(row.shape), n.reshape(row.shape), loose)
        ):
            return "gates exchanged", detail
    wrong = [row.part for row in single.rows if row.part.startswith("gate") and not row.ok]
    letters = sorted({part.removeprefix("gate ") for part in wrong})
    return "slope", f", in the gates {', '.join(letters)}" if letters else ""


def _kept_step(right: Any, setup: Setup) -> str:
    """Which step alone has its say in W's gradient, where the inputs tell; "" where they do not."""
    x = setup.inputs[0]
    for name, kept in (("first", slice(0, 1)), ("last", slice(-1, None))):
        lonely = np.zeros_like(x)
        lonely[kept] = x[kept]
        if right(inputs=(lonely, *setup.inputs[1:])):
            return f" (only the {name} step counts)"
    return ""


def _previous_state(setup: Setup, found: Comparison, method: str, tolerance: float, loose: float) -> str:
    """Which state stands where h_{t-1} belongs in U's gradient, if only that is wrong; tried on two steps of one
    sequence, of which W's and b's gradients tell dz.
    """
    names = found.failing
    params = setup.target.params
    if len(names) != 1 or names[0] not in params or not names[0].startswith("U"):
        return ""
    if len(setup.inputs[0]) < 2:
        return "not what U multiplies"
    end = names[0][1:]
    if not {f"W{end}", f"b{end}"} <= params.keys() or sum(name[0] == "U" for name in params) > 1:
        return ""
    state = [np.asarray(part)[..., :1, :] for part in parts_of(setup.state)] if setup.state is not None else []
    start = tuple(state) if isinstance(setup.state, (tuple, list)) else state[0] if state else None
    x, B = setup.inputs[0][:2, :1], setup.inputs[0].shape[1]
    rest = [given[..., :1, :] if given.ndim > 1 and given.shape[-2] == B else given for given in setup.inputs[1:]]
    state = state or rest
    two = replace(setup, inputs=(x, *rest), state=start, lengths=None, max_entries=params[names[0]].size + x.size)
    outcome = two.compare(method, tolerance)
    hs = two.forward(*two.prepare("float64"))[0][0][:, 0]
    h0 = state[0].reshape(-1, hs.shape[1])[0] if state else np.zeros(hs.shape[1])
    H, shape = hs.shape[1], params[f"W{end}"].shape
    U, W, b = (outcome.analytic[f"{letter}{end}"] for letter in "UWb")
    if U.size != H * len(b) or W.size != shape[0] * len(b):
        return ""
    first, second = x[:, 0]
    d = int(np.abs(first - second).argmax())
    dz1 = (W.reshape(shape)[d] - second[d] * b) / (
        first[d] - second[d]
    )  # of dW = x_1 dz_1 + x_2 dz_2, db = dz_1 + dz_2
    dz2 = b - dz1
    for detail, one, other in (
        ("h_t, the step's own, for h_{t-1}", hs[0], hs[1]),
        ("the last state at the first step, as an index of -1 gives it", hs[1], hs[0]),
        ("h_{t-2}, and the last state at the first step, as an index of -1 gives it", hs[1], h0),
        ("h_{t-2} for h_{t-1}", np.zeros(H), h0),
    ):
        candidate = np.outer(one, dz1) + np.outer(other, dz2)
        if np.abs(candidate - U.reshape(candidate.shape)).max() <= loose * np.abs(candidate).max():
            return detail
    return "not what U multiplies"


def _cut_chain(setup: Setup, method: str, last_only: bool = False) -> dict[str, np.ndarray]:
    """The gradients when each step takes the state before it as given: the sum over steps of one-step gradients."""
    dtype = "complex128" if method == "complex" else "float64"
    target, arrays = setup.prepare(dtype)
    outputs, _ = setup.forward(target, arrays)
    upstream = setup.upstream(outputs, dtype)
    x = setup.inputs[0]
    total: dict[str, np.ndarray] = {}
    state = setup.state
    for t in range(len(x)):
        step = replace(setup, inputs=(x[t : t + 1],), state=state, lengths=None)
        target, arrays = step.prepare(dtype)
        weights = [upstream[0][t : t + 1], *(d if t == len(x) - 1 else np.zeros_like(d) for d in upstream[1:])]

        def loss(step: Setup = step, target: Any = target, arrays: Any = arrays, weights: Any = weights) -> Any:
            found, _ = step.forward(target, arrays)
            return sum((output * weight).sum() for output, weight in zip(found, weights))

        for name in target.params:
            array = arrays[name]
            gradient = derivatives(loss, array, np.arange(array.size), method)
            if not last_only or t == len(x) - 1:
                total[name] = total.get(name, 0) + gradient
        _, (_, carried) = step.forward(target, arrays)
        state = tuple(part.real for part in carried) if isinstance(carried, tuple) else carried.real
    return total


def _agree(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], loose: float, names: Sequence[str] | None = None
) -> bool:
    """Whether the parameters' gradients are the same."""
    common = [name for name in (names or second) if name in first and name in second and name[0] in "WUb"]
    return bool(common) and all(
        first[name].shape == second[name].shape
        and np.abs(first[name] - second[name]).max() <= loose * max(np.abs(second[name]).max(), 1e-300)
        for name in common
    )


def _distinct(setup: Setup) -> tuple[Any, ...] | None:
    """The inputs with ids of which none is repeated; None if there are not enough."""
    ids, *others = setup.inputs
    params = setup.target.params.items() if setup.is_layer else []
    tables = [array for name, array in params if name.rpartition(".")[2] == "E"]
    tables += [given for given in others if given.ndim == 2 and given.dtype.kind == "f"]
    if not tables or ids.size > len(tables[0]):
        return None
    drawn = np.random.default_rng(setup.seed).permutation(len(tables[0]))[: ids.size]
    return (drawn.reshape(ids.shape), *others)
