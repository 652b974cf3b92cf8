"""Where gradients go on their way back through time, and two other ways to compute them.

T steps, B sequences, D inputs, H hidden units; `layer` is one RNN, LSTM or GRU layer in one direction, x (T, B, D).
All take (layer, x, state, dhs) in this order, as `trace` does: `state` is the initial one, h (1, B, H) or for an LSTM
(h, c), zero where it is None, and dhs (T, B, H) are the gradients of the outputs, 1 where it is None. S is the size of
the state: H, or 2H for an LSTM, whose state is h and c in a row. Arrays are of the layer's dtype; lists take it on. All
raise TypeError or ValueError for another layer and for arrays that do not fit.
"""

from __future__ import annotations

import copy
import math
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import check_choice, check_number, check_shape, check_sizes
from ..layers import LSTM, Recurrent
from .trace import input_of, state_of, trace, with_axes


def contributions(layer: Recurrent, x: Any, state: Any = None, dhs: Any = None, name: str = "U_l0") -> np.ndarray:
    """C (T, T, ...): C[t, k] is the part of dL_t/dU that passes through step k, a term of the double sum of Eq. 5.

    Any parameter may be named; dhs[t] is dL_t/dh_t. C[t, k] is 0 for k > t; the sum over t and k is the gradient of
    back-propagation through time.
    """
    x = input_of(layer, x)
    check_choice("name", name, layer.params)
    T, upstream = len(x), _upstream(layer, x, dhs)
    found = np.zeros((T, T, *layer.params[name].shape), x.dtype)
    term = f"d{name.removesuffix('_l0')}_t"
    for t in range(T):
        alone = np.zeros_like(upstream)
        alone[t] = upstream[t]
        found[t, : t + 1] = trace(layer, x, state, alone)[term][: t + 1]
    return found


def step_jacobians(layer: Recurrent, x: Any, state: Any = None) -> np.ndarray:
    """A (T, S, S) of one sequence x (T, 1, D): A[t] is the Jacobian of the state after step t+1 by that before it."""
    x = input_of(layer, x)
    if x.shape[1] != 1:
        raise ValueError(f"x has shape {x.shape}, expected (T, 1, D): one sequence")
    state = state_of(layer, 1, state)
    layer = copy.deepcopy(layer)  # whose gradients and cache stay as they are
    S, found = layer.hidden_size * len(layer.states), []
    directions = np.eye(S, dtype=x.dtype)[None]  # all S rows of the Jacobian as one batch
    upstream = directions if len(layer.states) == 1 else tuple(np.split(directions, 2, axis=2))
    before = state
    for x_t in x:
        many = None if before is None else _each(before, lambda part: np.repeat(part, S, axis=1))
        _, after = layer.forward(np.repeat(x_t[None], S, axis=1), many)
        _, dbefore = layer.backward(None, upstream)
        parts = [dbefore] if len(layer.states) == 1 else list(dbefore)
        found.append(np.concatenate([part[0] for part in parts], axis=1))
        before = _each(after, lambda part: part[:, :1])
    return np.stack(found)


def jacobians(layer: Recurrent, x: Any, state: Any = None) -> np.ndarray:
    """J (T+1, T+1, S, S) of one sequence x (T, 1, D): J[t, k] is d(state after t steps)/d(state after k steps).

    The product of the steps' Jacobians from k+1 to t (Eq. 6); the identity for t = k, and 0 for k > t.
    """
    steps = step_jacobians(layer, x, state)
    T, S = len(steps), steps.shape[1]
    found = np.zeros((T + 1, T + 1, S, S), steps.dtype)
    for k in range(T + 1):
        found[k, k] = np.eye(S)
        for t in range(k + 1, T + 1):
            found[t, k] = steps[t - 1] @ found[t - 1, k]
    return found


def singular_values(layer: Recurrent, x: Any, state: Any = None) -> np.ndarray:
    """(T+1, T+1, S), descending: how much d(state t)/d(state k) stretches and shrinks; 0 for k > t."""
    return np.linalg.svd(jacobians(layer, x, state), compute_uv=False)


def gradient_by_lag(layer: Recurrent, x: Any, state: Any = None, dh: Any = None) -> np.ndarray:
    """(T,): the norm of the gradient of dh . h_T with respect to x_{T-k}, for lag k = 0 .. T-1, mean over the batch.

    dh (B, H) is that of the last output alone, 1 where it is not given.
    """
    x = input_of(layer, x)
    state = state_of(layer, x.shape[1], state)
    layer = copy.deepcopy(layer)
    hs, _ = layer.forward(x, state)
    dhs = np.zeros_like(hs)
    dhs[-1] = 1 if dh is None else check_shape("dh", dh, hs.shape[1:], hs.dtype, "(B, H)")
    dx, _ = layer.backward(dhs)
    return np.sqrt((dx * dx).sum(axis=2)).mean(axis=1)[::-1]


def direct_path(layer: LSTM, x: Any, state: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The LSTM's direct path against all paths, (T+1, T+1, H) each, of one sequence x (T, 1, D).

    The first is the product of the forget gates f_{k+1} .. f_t; the second the diagonal of dc_t/dc_k with all other
    ways from c to c, through h and the gates, included.
    """
    if not isinstance(layer, LSTM):
        raise TypeError(f"layer is {type(layer).__name__}, expected LSTM")
    x = input_of(layer, x)
    H, T = layer.hidden_size, len(x)
    f = trace(layer, x, state)["f"]
    direct = np.zeros((T + 1, T + 1, H), x.dtype)
    for k in range(T + 1):
        direct[k, k] = 1
        for t in range(k + 1, T + 1):
            direct[t, k] = direct[t - 1, k] * f[t - 1, 0]
    total = np.diagonal(jacobians(layer, x, state)[:, :, H:, H:], axis1=2, axis2=3)
    return direct, total.copy()


def truncation_error(
    layer: Recurrent, x: Any, state: Any, dhs: Any, ks: Sequence[int], name: str = "U_l0"
) -> np.ndarray:
    """(len(ks),): the relative error of the gradient when the chain is cut every k steps, |g_k - g| / |g|."""
    x = input_of(layer, x)
    check_choice("name", name, layer.params)
    dhs, state = _upstream(layer, x, dhs), state_of(layer, x.shape[1], state)
    layer = copy.deepcopy(layer)
    layer.forward(x, state)
    layer.backward(dhs)
    exact = layer.grads[name].copy()
    errors = []
    for k in ks:
        layer.backward(dhs, truncate=k)
        errors.append(np.linalg.norm(layer.grads[name] - exact) / np.linalg.norm(exact))
    return np.array(errors)


def saturation(layer: Recurrent, x: Any, state: Any = None, margin: float = 0.1) -> dict[str, tuple[float, float]]:
    """For each gate the share of its values within `margin` of its lower and of its upper limit.

    The limits are 0 and 1 for sigmoids, -1 and 1 for tanh, with `margin` in units of their distance. Raises ValueError
    for ReLU, which has none.
    """
    activation = getattr(layer, "activation", "tanh")
    if activation == "relu":
        raise ValueError("layer has the activation 'relu', expected one with limits: 'tanh' or 'sigmoid'")
    check_number("margin", margin, above=0.0, below=0.5)
    steps, found = trace(layer, x, state), {}
    for gate in layer.gates:
        values = steps[gate]
        low, high = (0.0, 1.0) if gate in layer.cell.sigmoids or activation == "sigmoid" else (-1.0, 1.0)
        edge = margin * (high - low)
        found[gate] = float((values < low + edge).mean()), float((values > high - edge).mean())
    return found


def rtrl(layer: Recurrent, x: Any, state: Any = None, dhs: Any = None) -> dict[str, np.ndarray]:
    """The gradients by real-time recurrent learning (Williams & Zipser 1989): forwards in time, no backward pass.

    P_t = d(state t)/d(parameters) obeys P_t = A_t P_{t-1} + I_t with the step's Jacobian A_t and the immediate
    derivative I_t. Both come from the forward step alone, by complex step (Squire & Trapp 1998), so this is a second
    opinion that shares nothing with the backward code. Costs one forward step for each parameter and step: for small
    layers.
    """
    x = input_of(layer, x)
    dhs, state = _upstream(layer, x, dhs), state_of(layer, x.shape[1], state)
    T, B, _ = x.shape
    names = list(layer.params)
    twin = cast(layer, "complex128")
    h = 1e-200
    letters = len(layer.states)
    H = layer.hidden_size
    now = [np.zeros((1, B, H), np.complex128) for _ in range(letters)]
    if state is not None:
        now = [np.asarray(part, np.complex128) for part in (state if letters > 1 else [state])]
    P = {each: np.zeros((layer.params[each].size, letters, B, H)) for each in names}
    gradients = {each: np.zeros(layer.params[each].size) for each in names}

    def step(x_t: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        _, after = twin.forward(x_t[None].astype(np.complex128), parts[0] if letters == 1 else tuple(parts))
        return np.stack([part[0] for part in (after if letters > 1 else [after])])  # (letters, B, H)

    for t in range(T):
        A = np.zeros((letters, H, letters, B, H))  # by which part and unit before
        for letter in range(letters):
            for unit in range(H):
                moved = [part.copy() for part in now]
                moved[letter][0, :, unit] += 1j * h
                A[letter, unit] = step(x[t], moved).imag / h
        for each in names:
            P[each] = np.einsum("qkbi,kilbj->qlbj", P[each], A)
            flat = twin.params[each].reshape(-1)
            for q in range(flat.size):
                flat[q] += 1j * h
                P[each][q] += step(x[t], now).imag / h
                flat[q] = flat[q].real
            gradients[each] += np.einsum("qbj,bj->q", P[each][:, 0], dhs[t])
        now = list(step(x[t], now).real.astype(np.complex128)[:, None])
    return {each: gradients[each].reshape(layer.params[each].shape) for each in names}


def checkpointed(
    layer: Recurrent, x: Any, state: Any = None, dhs: Any = None, segment: int | None = None
) -> tuple[np.ndarray, Any, dict[str, np.ndarray]]:
    """dx, the gradient of the initial state, and those of the parameters, with memory for `segment` steps at a time.

    Only the states between segments are kept on the way forward; every segment runs again on the way back (Chen et al.
    2016). segment is sqrt(T) where it is not given: memory grows with sqrt(T), at the price of a second forward pass.
    """
    x = input_of(layer, x)
    dhs, state = _upstream(layer, x, dhs), state_of(layer, x.shape[1], state)
    layer, T = copy.deepcopy(layer), len(x)
    length = math.isqrt(T - 1) + 1 if segment is None else segment
    check_sizes(segment=length)
    starts, states = list(range(0, T, length)), [state]
    for first in starts[:-1]:
        states.append(layer.forward(x[first : first + length], states[-1])[1])
    dx, dstate = np.empty_like(x), None
    gradients = {name: np.zeros_like(array) for name, array in layer.params.items()}
    for first, before in zip(reversed(starts), reversed(states)):
        layer.forward(x[first : first + length], before)
        dx[first : first + length], dstate = layer.backward(dhs[first : first + length], dstate)
        for name, gradient in layer.grads.items():
            gradients[name] += gradient
    return dx, dstate, gradients


def checkpoint_curve(layer: Recurrent, x: Any, segments: Sequence[int]) -> list[dict[str, float]]:
    """What checkpointing costs on x: for each segment length the peak memory (bytes) and time (seconds, best of 3)."""
    x = input_of(layer, x)
    rows = []
    for segment in segments:
        seconds = math.inf
        for _ in range(3):
            start = time.perf_counter()
            checkpointed(layer, x, segment=segment)
            seconds = min(seconds, time.perf_counter() - start)
        tracemalloc.start()
        checkpointed(layer, x, segment=segment)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        rows.append({"segment": segment, "peak_bytes": peak, "seconds": seconds})
    return rows


def _upstream(layer: Recurrent, x: np.ndarray, dhs: Any) -> np.ndarray:
    shape = (*x.shape[:2], layer.hidden_size)
    if dhs is None:
        return np.ones(shape, x.dtype)
    return check_shape("dhs", with_axes(layer, "dhs", dhs), shape, x.dtype, "(T, B, H)")


def cast(layer: Recurrent, dtype: Any) -> Recurrent:
    """A copy of the layer that computes in another dtype."""
    twin = copy.deepcopy(layer)
    for name in twin.params:
        twin.params[name] = twin.params[name].astype(dtype)
        twin.grads[name] = twin.grads[name].astype(dtype)
    return twin


def _each(state: Any, function: Any) -> Any:
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)
