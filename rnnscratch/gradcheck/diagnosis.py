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
    "last step only": "equal to the last step's contribution alone: the sum over the steps is missing",
    "recursion": "right for one step, wrong for more: what is handed from step to step is incomplete",
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
        if len(known) == 1 and all(pattern in known for pattern in patterns.values()):
            ((cause, detail),) = known
        else:
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
    if near(a, n, 1e-6):  # what single precision leaves
        return "imprecise", f"{row.error:.1e}"
    return "wrong", ""


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
    if not (setup.recurrent and len(shape) == 3):
        return "wrong", ""
    single = replace(setup, inputs=(setup.inputs[0][:1],), lengths=None).compare(method, tolerance)
    if shape[0] > 1 and all(row.ok for row in single.rows if not row.name.startswith("state")):
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
        if right(symmetric=True):
            return "transposed recurrence", ""
        return "recursion", ""
    if shape[1] > 1:
        state = [np.asarray(part)[..., :1, :] for part in parts_of(setup.state)]
        smaller = tuple(state) if isinstance(setup.state, (tuple, list)) else state[0] if state else None
        if right(inputs=(setup.inputs[0][:, :1],), state=smaller, lengths=None):
            return "one example", ""
    wrong = [row.part for row in single.rows if row.part.startswith("gate") and not row.ok]
    letters = sorted({part.removeprefix("gate ") for part in wrong})
    return "slope", f", in the gates {', '.join(letters)}" if letters else ""


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
