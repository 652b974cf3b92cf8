"""Backward passes of the vanilla network and of the LSTM with one wrong line each: is the one under test among them?

T, B, D, H steps, examples, inputs and units; G gates. If a forward pass is that of an RNN (tanh) or of an LSTM, with
its gates in whatever order, its backward pass is compared with that of every suspect. What agrees to rounding is named;
what does not is left to the questions of diagnosis.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

# A cause, what to say of it, and the variants of the one line by which it is met.
BUGS = (
    ("no gradient through time", "", ("nothing from the next step",)),
    ("upstream overwritten", "", ("the step's own output is left out",)),
    ("transposed recurrence", "", ("U for U^T",)),
    ("recursion", ": what comes to h_t from step t+1 is left out", ("dh = dhs[t]", "dh = dhs[t], but at the end")),
    (
        "recursion",
        ": what comes to c_t from step t+1 is left out; c is used twice, by h_t and by c_{t+1}",
        ("dc without the next", "dc without the next, but at the end"),
    ),
    ("recursion", ": what is handed to c_{t-1} lacks the factor f", ("dc_prev = dc",)),
    ("slope", ": h = o tanh(c) is derived as if it were o c", ("dh o",)),
    ("slope", ": the way from h back to c through o tanh(c) is missing", ("dc of the next alone",)),
    ("slope", ": c_t stands for c_{t-1} in the gradient of the forget gate", ("df = dc c_t",)),
    (
        "slope",
        ": it is taken of the activated value once more",
        ("all slopes of the activated", "sigmoids' slopes of the activated", "tanh's slope twice"),
    ),
    ("slope", ": an activation's is left out", ("no slope", "no slope of the sigmoids", "no slope of the tanh")),
    ("previous state", "h_t, the step's own, for h_{t-1}", ("h_t for h_prev",)),
    ("previous state", "the last state at the first step, as an index of -1 gives it", ("h_T at the first step",)),
    ("last step only", "", ("the last step of {}",)),
    ("not summed", " (only the first step counts)", ("the first step of {}",)),
)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * z) + 0.5


class Lstm:
    """One forward pass, and its way back with at most one wrong line."""

    def __init__(self, order: str, x: Any, h: Any, c: Any, W: Any, U: Any, b: Any):
        self.order, self.x, self.W, self.U, self.h, self.c, self.gates = order, x, W, U, [h], [c], []
        for x_t in x:
            z = dict(zip(order, np.split(x_t @ W + self.h[-1] @ U + b, 4, axis=-1)))
            i, f, o, g = sigmoid(z["i"]), sigmoid(z["f"]), sigmoid(z["o"]), np.tanh(z["g"])
            self.gates.append((i, f, o, g))
            self.c.append(f * self.c[-1] + i * g)
            self.h.append(o * np.tanh(self.c[-1]))

    def back(self, dhs: Any, dh: Any, dc: Any, bug: str = "") -> Any:
        """The gradients of x, the initial states and the pre-activations, step by step."""
        dzs, dxs, T = list[Any](), list[Any](), len(self.x)
        for t in reversed(range(T)):
            (i, f, o, g), c, c_prev = self.gates[t], self.c[t + 1], self.c[t]
            tanh_c, last = np.tanh(c), t == T - 1
            dh = passed_on(dhs[t], dh, last, bug)
            if bug == "nothing from the next step" and not last:
                dc = 0 * dc
            if bug == "dc without the next" or (bug == "dc without the next, but at the end" and not last):
                dc = 0 * dc
            if bug == "dh o":
                dc = dc + dh * o
            elif bug != "dc of the next alone":
                dc = dc + dh * o * (1 - tanh_c**2)
            d = {"i": dc * g, "f": dc * (c if bug == "df = dc c_t" else c_prev), "o": dh * tanh_c, "g": dc * i}
            slopes = {"i": i * (1 - i), "f": f * (1 - f), "o": o * (1 - o), "g": 1 - g**2}
            for name, gate in zip("ifog", (i, f, o, g)):
                slopes[name] = slope(name == "g", gate, slopes[name], bug)
            dz = np.concatenate([d[name] * slopes[name] for name in self.order], axis=-1)
            dzs.insert(0, dz)
            dxs.insert(0, dz @ self.W.T)
            dh = dz @ (transposed_blocks(self.U) if bug == "U for U^T" else self.U.T)
            dc = dc if bug == "dc_prev = dc" else dc * f
        return dxs, [dh, dc], dzs


class Rnn:
    """h = tanh(x W + h_prev U + b)."""

    def __init__(self, order: str, x: Any, h: Any, c: Any, W: Any, U: Any, b: Any):
        self.x, self.W, self.U, self.h = x, W, U, [h]
        for x_t in x:
            self.h.append(np.tanh(x_t @ W + self.h[-1] @ U + b))

    def back(self, dhs: Any, dh: Any, dc: Any, bug: str = "") -> Any:
        dzs, dxs, T = list[Any](), list[Any](), len(self.x)
        for t in reversed(range(T)):
            h = self.h[t + 1]
            dh = passed_on(dhs[t], dh, t == T - 1, bug)
            dz = dh * slope(True, h, 1 - h**2, bug)
            dzs.insert(0, dz)
            dxs.insert(0, dz @ self.W.T)
            dh = dz @ (transposed_blocks(self.U) if bug == "U for U^T" else self.U.T)
        return dxs, [dh], dzs


def passed_on(own: Any, after: Any, last: bool, bug: str) -> Any:
    """The gradient of h_t: what comes from its output, and from the step after it."""
    if bug == "dh = dhs[t]" or (bug in ("dh = dhs[t], but at the end", "nothing from the next step") and not last):
        return own
    return after if bug == "the step's own output is left out" and not last else own + after


def slope(is_tanh: bool, y: Any, right: Any, bug: str) -> Any:
    """The slope of a gate from its value y."""
    if bug == "all slopes of the activated" or bug == (
        "tanh's slope twice" if is_tanh else "sigmoids' slopes of the activated"
    ):
        return 1 - np.tanh(y) ** 2 if is_tanh else sigmoid(y) * (1 - sigmoid(y))
    if bug == "no slope" or bug == ("no slope of the tanh" if is_tanh else "no slope of the sigmoids"):
        return np.ones_like(y)
    return right


def transposed_blocks(U: np.ndarray) -> np.ndarray:
    """What U.T is replaced by if each gate's block of it is not transposed."""
    return np.concatenate(np.split(U, U.shape[1] // len(U), axis=1))


def weight_gradients(net: Any, dzs: list[Any], bug: str, kind: str) -> Any:
    """The gradient of "W", "U" or "b" of the gradients of the pre-activations."""
    before = list(net.h[:-1])
    if bug == "h_t for h_prev":
        before = net.h[1:]
    if bug == "h_T at the first step":
        before[0] = net.h[-1]
    factors = {"W": list(net.x), "U": before, "b": [np.ones((len(dz), 1)) for dz in dzs]}[kind]
    terms = [factor.T @ dz for factor, dz in zip(factors, dzs)]
    if bug == f"the last step of {kind}":
        return terms[-1]
    return terms[0] if bug == f"the first step of {kind}" else sum(terms)


def name_suspects(setup: Any, found: Any, loose: float) -> tuple[str, str]:
    """The cause and what to say of it, if the gradients of `found` are those of one suspect; ("", "") if not."""
    net, roles, outputs = recognise(setup)
    if net is None or any(found.analytic[name].size != size_of(setup, name) for name in found.analytic):
        return "", ""
    upstream = setup.upstream(outputs, "float64")
    zeros = [np.zeros_like(net.h[0])] * 2
    dh, dc = [*(part.reshape(part.shape[-2:]) for part in upstream[1:]), *zeros][:2]
    dhs = upstream[0]
    named: list[tuple[str, str]] = []
    parts = ["b", "W", "U", "W U", "W b", "U b", "W U b"]
    for cause, detail, variants in BUGS:
        for text, part in ((own, part) for own in variants for part in (parts if "{}" in own else [""])):
            dxs, dinitial, dzs = net.back(dhs, dh, dc, text)
            gradients = {"x": np.stack(dxs)}
            gradients |= dict(zip(roles["states"], dinitial))
            for kind in "WUb":
                bug = text.format(kind) if kind in part.split() or "{}" not in text else ""
                gradients[kind] = weight_gradients(net, dzs, bug, kind)
            if agree(found, by_array(gradients, roles), loose) and (cause, detail) not in named:
                named.append((cause, detail))
    return named[0] if len(named) == 1 else ("", "")


def by_array(gradients: dict[str, Any], roles: dict[str, Any]) -> dict[str, Any]:
    """Gradients under the names of the arrays under test."""
    joined = roles["joined"]
    found = {roles["x"]: gradients["x"], **{name: gradients[name] for name in roles["states"]}}
    if joined:
        found[joined[0]] = np.concatenate([gradients[kind] for kind in joined[1]])
    else:
        found |= {roles["W"]: gradients["W"], roles["U"]: gradients["U"]}
    return found | ({roles["b"]: gradients["b"]} if roles["b"] else {})


def agree(found: Any, expected: dict[str, Any], loose: float) -> bool:
    return set(found.analytic) <= set(expected) and all(
        np.abs(found.analytic[name] - expected[name].reshape(-1)).max()
        <= loose * np.abs(expected[name]).max(initial=1e-300)
        for name in found.analytic
    )


def size_of(setup: Any, name: str) -> int:
    return int(setup.prepare("float64")[1][name].size)


def recognise(setup: Any) -> tuple[Any, dict[str, Any], Any]:
    """The target as one of the nets above, what each of its arrays is, and its outputs; (None, {}, None) if another."""
    nothing: tuple[Any, dict[str, Any], Any] = (None, {}, None)
    names = list(setup.named_inputs().values())
    if not (setup.is_layer and names and setup.lengths is None and not setup.train and setup.inputs[0].ndim == 3):
        return nothing
    target, arrays = setup.prepare("float64")
    outputs, _ = setup.forward(target, arrays)
    hs, x = outputs[0], arrays[names[0]]
    if hs.ndim != 3 or hs.shape[:2] != x.shape[:2]:
        return nothing
    (_, B, D), H = x.shape, hs.shape[2]
    states = [name for name in arrays if name in names[1:] or name == "state" or name.startswith("state ")]
    if len(states) > 2 or any(arrays[name].shape not in ((B, H), (1, B, H)) for name in states):
        return nothing
    values = [arrays[name].reshape(B, H) for name in states]
    h, c = [*values, *[np.zeros((B, H))] * 2][:2]
    params = {name: array for name, array in arrays.items() if name in target.params}
    for W, U, b, roles in arrangements(params, D, H):
        G = U.shape[1] // H
        orders = [""] if G == 1 else map("".join, itertools.permutations("ifog")) if G == 4 else []
        for order in orders:
            net: Any = (Rnn if G == 1 else Lstm)(order, x, h, c, W, U, b)
            if np.allclose(np.stack(net.h[1:]), hs, rtol=1e-9, atol=1e-12):
                return net, {**roles, "states": states, "x": names[0]}, outputs
    return nothing


def arrangements(params: dict[str, Any], D: int, H: int) -> Iterator[tuple[Any, Any, Any, dict[str, Any]]]:
    """The ways to read the parameters as W (D, G*H), U (H, G*H) and b (G*H,), W and U perhaps in one array."""
    matrices = {name: array for name, array in params.items() if array.ndim == 2 and 1 not in array.shape}
    vectors = {name: array for name, array in params.items() if name not in matrices}
    if len(vectors) > 1:
        return
    b_name, b = next(iter(vectors.items()), ("", np.zeros(1)))
    roles: dict[str, Any] = {"b": b_name, "joined": None}
    for (W_name, W), (U_name, U) in itertools.permutations(matrices.items(), 2):
        if len(matrices) == 2 and W.shape[0] == D and U.shape[0] == H and W.shape[1] == U.shape[1]:
            yield (
                W,
                U,
                b.reshape(-1),
                {**roles, "W": W_name, "U": U_name},
            )
    if len(matrices) == 1:
        ((name, both),) = matrices.items()
        if both.shape[0] == D + H:
            yield both[:D], both[D:], b.reshape(-1), {**roles, "joined": (name, "WU")}
            yield both[H:], both[:H], b.reshape(-1), {**roles, "joined": (name, "UW")}
