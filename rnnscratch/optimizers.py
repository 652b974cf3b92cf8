"""Optimizers that change parameters in place, and gradient clipping.

Every optimizer keeps its state in arrays made at the first step; later steps allocate nothing. On the host the
arithmetic runs through an array in pieces that stay in the processor's cache.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .backend import Array, get_array_module, to_cpu, to_floats
from .checks import check_flags, check_number
from .kernels.cuda import updates
from .schedules import Plateau, Schedule, cosine_schedule, step_schedule, warm_up

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Average",
    "Momentum",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Schedule",
    "clip_gradients",
    "cosine_schedule",
    "global_norm",
    "step_schedule",
    "warm_up",
]

PIECE = 32768  # numbers worked on at a time on the host
Value = TypeVar("Value")
Rates: TypeAlias = Mapping[str, float] | None


class Optimizer:
    """What all share: `step(params, grads)`, the learning rate, and a state that can be saved and restored.

    `learning_rate` may be assigned between steps; a schedule does so. `rates` holds factors of it for the parameters
    whose names begin so, the longest beginning counting: `{"embedding": 0.1, "recurrent": 0.3}` (discriminative rates,
    Howard & Ruder 2018).

    Subclasses name their state arrays in `slots` and say in `_update` what one step does to one piece of one parameter.
    """

    slots: tuple[str, ...] = ()
    scratch_arrays = 1

    def __init__(self, learning_rate: float, rates: Rates = None):
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.rates = None if rates is None else check_factors(rates)
        self.steps = 0
        self._ages: dict[str, int] = {}  # how many steps each parameter has made
        self._state: dict[str, dict[str, Array]] = {}
        self._mine: dict[str, Any] = {}  # weak references to the parameters of the steps so far
        self._scratch: list[Array] = []

    def step(self, params: Mapping[str, Array], grads: Mapping[str, Array], fixed: Collection[str] = ()) -> None:
        """Change every parameter in place by its gradient; both are dicts of arrays with the same keys, shapes and
        dtypes. Parameters whose names are in `fixed` stay as they are, and are not counted as having made a step.

        Raises ValueError or TypeError, before anything is changed, where they differ, or where the parameters are
        others than those of the steps before: a new model needs an optimizer of its own.
        """
        self.learning_rate = check_number("learning_rate", self.learning_rate, least=0.0)
        self._check(params, grads)
        for name in fixed:
            if name not in params:
                raise ValueError(f"fixed holds {name!r}, expected names of params: {', '.join(params):.200}")
        rates = by_beginning("rates", self.rates or {}, params)
        if not self._mine:
            self._mine = {name: weakref.ref(param) for name, param in params.items()}
        self.steps += 1
        with np.errstate(under="ignore"):  # the square of a tiny gradient may vanish
            for name, param in params.items():
                if name in fixed:
                    continue
                if name not in self._state:
                    zeros_like = get_array_module(param).zeros_like
                    self._state[name] = {slot: zeros_like(param) for slot in self.slots}
                age = self._ages[name] = self._ages.get(name, 0) + 1
                self._begin(age, self.learning_rate * rates.get(name, 1.0))
                twin = self._twin_on_gpu(param)
                if twin is not None:
                    updates.update(twin[0], param, grads[name], list(self._state[name].values()), twin[1])
                    continue
                for pieces in self._pieces(param, grads[name], *self._state[name].values()):
                    self._update(*pieces)

    def _begin(self, age: int, rate: float) -> None:
        """Before the pieces of a parameter: which of its steps this is, from 1, and its learning rate."""
        self._rate = rate

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        """One step of one piece: parameter, gradient, the state's slots, then scratch arrays."""
        raise NotImplementedError

    def _twin(self) -> tuple[str, list[float]] | None:
        """The rule in kernels/cuda/update.cu that is `_update` in one launch, and its numbers; else None."""
        return None

    def _twin_on_gpu(self, param: Array) -> tuple[str, list[float]] | None:
        """`_twin`, where it can be used: not where a subclass changed `_update` alone."""
        makers = [next(kind for kind in type(self).__mro__ if name in vars(kind)) for name in ("_update", "_twin")]
        return self._twin() if makers[0] is makers[1] and updates.can_update(param) else None

    def _pieces(self, *arrays: Array) -> Iterator[tuple[Array, ...]]:
        """Flat views of corresponding pieces, and scratch arrays of the same size."""
        xp = get_array_module(*arrays)
        flat = [array.reshape(-1) for array in arrays]
        size = arrays[0].size
        piece = PIECE if xp is np else max(1, size)
        need = min(piece, size)
        if not self._scratch or self._scratch[0].size < need or self._scratch[0].dtype != arrays[0].dtype:
            self._scratch = [xp.empty(need, arrays[0].dtype) for _ in range(self.scratch_arrays)]
        for start in range(0, size, piece):
            stop = min(start + piece, size)
            yield (*(a[start:stop] for a in flat), *(s[: stop - start] for s in self._scratch))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mine": {}}  # a copy goes on with a copy of the model

    def _check(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        if params.keys() != grads.keys():
            odd = sorted(params.keys() ^ grads.keys())
            raise ValueError(f"grads has other names than params; only in one of them: {', '.join(odd)}")
        for name, param in params.items():
            check_changeable(f"params[{name!r}]", param)
            if not param.flags.c_contiguous:
                raise ValueError(f"params[{name!r}] is not C-contiguous, expected an array to be changed in place")
            others = {f"grads[{name!r}]": grads[name]}
            others |= {f"the state's {name}/{slot}": array for slot, array in self._state.get(name, {}).items()}
            for place, array in others.items():
                if getattr(array, "shape", None) != param.shape:
                    shape = getattr(array, "shape", None)
                    raise ValueError(f"{place} has shape {shape}, expected {param.shape} as the parameter")
                if array.dtype != param.dtype:
                    raise TypeError(f"{place} has dtype {array.dtype}, expected {param.dtype} as the parameter")
            get_array_module(param, *others.values())
        if self._mine and params.keys() != self._mine.keys():
            odd = sorted(params.keys() ^ self._mine.keys())
            raise ValueError(f"params has other names than in the steps before: {', '.join(odd)}; use a new optimizer")
        for name, known in self._mine.items():
            if known() is not params[name]:
                raise ValueError(
                    f"params[{name!r}] is another array than in the steps before, so this is another model, "
                    "which needs a new optimizer"
                )

    def state_dict(self) -> dict[str, Any]:
        """The state as a flat dict of copied arrays and numbers: "steps", and "{parameter}/{slot}"; for a parameter
        that was fixed for some of the steps, how many it made itself, as "{parameter}/steps".
        """
        arrays = {
            f"{name}/{slot}": array.copy() for name, state in self._state.items() for slot, array in state.items()
        }
        ages = {f"{name}/steps": age for name, age in self._ages.items() if age != self.steps and self._state[name]}
        return {"steps": self.steps, "learning_rate": self.learning_rate, **ages, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, to the same bits.

        Numbers may come back as arrays, as from `np.load`. Raises ValueError or TypeError, before anything is changed,
        for the state of another kind of optimizer, or numbers that cannot be.
        """
        missing = {"steps", "learning_rate"} - state.keys()
        if missing:
            raise ValueError(f"state has no {' and '.join(sorted(missing))}, expected what state_dict returned")
        steps, learning_rate = (np.asarray(state[name]).item() for name in ("steps", "learning_rate"))
        if check_number("steps", steps, least=0) != int(steps):
            raise ValueError(f"steps is {steps}, expected a whole number")
        check_number("learning_rate", learning_rate, least=0.0)
        loaded: dict[str, dict[str, Array]] = {}
        ages: dict[str, int] = {}
        for key, value in state.items():
            if key in ("steps", "learning_rate"):
                continue
            name, _, slot = key.rpartition("/")
            if slot == "steps" and self.slots:
                age = np.asarray(value).item()
                if check_number(f"state[{key!r}]", age, least=1, below=steps) != int(age):
                    raise ValueError(f"state[{key!r}] is {age}, expected a whole number")
                ages[name] = int(age)
                continue
            if slot not in self.slots:
                raise ValueError(
                    f"state has {key!r}, expected slots {self.slots}: it is not one of {type(self).__name__}"
                )
            check_state(key, slot, value)
            loaded.setdefault(name, {})[slot] = value.copy()
        for name, slots in loaded.items():
            if slots.keys() != set(self.slots):
                raise ValueError(f"state of {name!r} has slots {sorted(slots)}, expected {sorted(self.slots)}")
        if ages.keys() - loaded.keys():
            raise ValueError(f"state has the steps of {', '.join(sorted(ages.keys() - loaded.keys()))}, but no slots")
        self._mine = {}
        self._ages = {name: int(steps) for name in loaded} | ages
        self._state = {name: {slot: slots[slot] for slot in self.slots} for name, slots in loaded.items()}
        self.steps, self.learning_rate = int(steps), float(learning_rate)

    def __repr__(self) -> str:
        public = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "steps"}
        if self.rates is None:
            del public["rates"]
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in public.items())})"


def check_factors(rates: Any) -> dict[str, float]:
    """Factors of the learning rate by the beginnings of names, as a dict. Raises TypeError or ValueError otherwise."""
    if not isinstance(rates, Mapping) or not all(isinstance(beginning, str) for beginning in rates):
        raise TypeError(f"rates is {rates!r:.60}, expected a dict from the beginnings of names to factors, or None")
    return {beginning: check_number(f"rates[{beginning!r}]", factor, above=0.0) for beginning, factor in rates.items()}


def by_beginning(name: str, values: Mapping[str, Value], params: Iterable[str]) -> dict[str, Value]:
    """For each parameter of which some does, the value whose key its name begins with, the longest such key counting.

    Raises ValueError for a key with which no parameter's name begins.

    >>> by_beginning("rates", {"embedding": 0.1, "recurrent": 0.5}, ["embedding.E", "recurrent.W_l0", "dense.W"])
    {'embedding.E': 0.1, 'recurrent.W_l0': 0.5}
    """
    names = list(params)
    for key in values:
        if not any(each.startswith(key) for each in names):
            raise ValueError(f"{name} holds {key!r}, with which no parameter begins: {', '.join(names):.200}")
    ordered = sorted(values, key=len)
    return {each: values[key] for each in names for key in ordered if each.startswith(key)}


def check_state(key: str, slot: str, value: Any) -> None:
    """Raise TypeError or ValueError unless an array can be an optimizer's state: finite, and squares not below 0."""
    if getattr(value, "dtype", np.dtype(object)).kind not in "fc":
        raise TypeError(f"state[{key!r}] is {type(value).__name__}, expected an array of floating-point numbers")
    if not to_cpu(get_array_module(value).isfinite(value).all()):
        raise ValueError(f"state[{key!r}] holds NaN or infinity")
    if slot == "squares" and value.dtype.kind == "f" and to_cpu((value < 0).any()):
        raise ValueError(f"state[{key!r}] holds negative numbers, expected squares")


class SGD(Optimizer):
    """p <- p - a g (Eqs 19-23)."""

    def __init__(self, learning_rate: float = 0.01, *, rates: Rates = None):
        super().__init__(learning_rate, rates)

    def _twin(self) -> tuple[str, list[float]]:
        return "SGD", [self._rate]

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        (work,) = arrays
        param -= get_array_module(param).multiply(grad, self._rate, out=work)


class Momentum(Optimizer):
    """v <- m v + g; p <- p - a v, or with `nesterov` p <- p - a (g + m v) (Sutskever et al. 2013, as in PyTorch)."""

    slots = ("velocity",)

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.9, nesterov: bool = False, *, rates: Rates = None
    ):
        super().__init__(learning_rate, rates)
        self.momentum = check_number("momentum", momentum, least=0.0, below=1.0)
        check_flags(nesterov=nesterov)
        self.nesterov = bool(nesterov)

    def _twin(self) -> tuple[str, list[float]]:
        return "Nesterov" if self.nesterov else "Momentum", [self._rate, self.momentum]

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        velocity, work = arrays
        xp = get_array_module(param)
        velocity *= self.momentum
        velocity += grad
        if self.nesterov:
            xp.multiply(velocity, self.momentum, out=work)
            work += grad
            work *= self._rate
        else:
            xp.multiply(velocity, self._rate, out=work)
        param -= work


class Adagrad(Optimizer):
    """s <- s + g^2; p <- p - a g / (sqrt(s) + eps) (Duchi et al. 2011)."""

    slots = ("squares",)

    def __init__(self, learning_rate: float = 0.01, eps: float = 1e-10, *, rates: Rates = None):
        super().__init__(learning_rate, rates)
        self.eps = check_number("eps", eps, above=0.0)

    def _twin(self) -> tuple[str, list[float]]:
        return "Adagrad", [self._rate, self.eps]

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        squares, work = arrays
        xp = get_array_module(param)
        squares += xp.multiply(grad, grad, out=work)
        scaled_step(param, grad, squares, self._rate, self.eps, work)


class RMSProp(Optimizer):
    """s <- r s + (1 - r) g^2; p <- p - a g / (sqrt(s) + eps) (Tieleman & Hinton 2012)."""

    slots = ("squares",)

    def __init__(self, learning_rate: float = 0.01, decay: float = 0.99, eps: float = 1e-8, *, rates: Rates = None):
        super().__init__(learning_rate, rates)
        self.decay = check_number("decay", decay, least=0.0, below=1.0)
        self.eps = check_number("eps", eps, above=0.0)

    def _twin(self) -> tuple[str, list[float]]:
        return "RMSProp", [self._rate, self.eps, self.decay, 1.0 - self.decay]

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        squares, work = arrays
        xp = get_array_module(param)
        squares *= self.decay
        xp.multiply(grad, grad, out=work)
        work *= 1.0 - self.decay
        squares += work
        scaled_step(param, grad, squares, self._rate, self.eps, work)


class Adam(Optimizer):
    """p <- p - a m^ / (sqrt(v^) + eps) (Kingma & Ba 2015).

    m^ and v^ are running means of g and g^2, with the bias of their start at 0 divided out.
    """

    slots = ("mean", "squares")
    weight_decay = 0.0

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        *,
        rates: Rates = None,
    ):
        super().__init__(learning_rate, rates)
        self.beta1 = check_number("beta1", beta1, least=0.0, below=1.0)
        self.beta2 = check_number("beta2", beta2, least=0.0, below=1.0)
        self.eps = check_number("eps", eps, above=0.0)

    def _begin(self, age: int, rate: float) -> None:
        self._root = math.sqrt(1.0 - self.beta2**age)
        self._rate = rate * self._root / (1.0 - self.beta1**age)
        self._shrink = 1.0 - rate * self.weight_decay

    def _twin(self) -> tuple[str, list[float]]:
        betas = [self.beta1, self.beta2, 1.0 - self.beta1, 1.0 - self.beta2]
        return "Adam", [self._rate, self.eps * self._root, *betas, self._shrink]

    def _update(self, param: Array, grad: Array, *arrays: Array) -> None:
        mean, squares, work = arrays
        xp = get_array_module(param)
        if self.weight_decay:
            param *= self._shrink
        mean *= self.beta1
        mean += xp.multiply(grad, 1.0 - self.beta1, out=work)
        squares *= self.beta2
        xp.multiply(grad, grad, out=work)
        work *= 1.0 - self.beta2
        squares += work
        scaled_step(param, mean, squares, self._rate, self.eps * self._root, work)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p <- p - a w p before each step (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        rates: Rates = None,
    ):
        super().__init__(learning_rate, beta1, beta2, eps, rates=rates)
        self.weight_decay = check_number("weight_decay", weight_decay, least=0.0)


class Average:
    """The running mean a of parameters p over the updates of a training (Polyak & Juditsky 1992).

    With a decay d < 1 it is exponential: the n-th update, from 1, does a <- a + w (p - a) with w = (1 - d) / (1 - d^n).
    So the weights of p_1 ... p_n are as d^(n-1) ... d^0 and sum to 1, as in Adam's mean with its bias divided out: the
    start, p_0, has no part in it. With d = 1, w = 1/n, and it is the plain mean.
    """

    def __init__(self, decay: float):
        self.decay = check_decay("decay", decay)
        self.updates = 0
        self.values: dict[str, Array] = {}
        self._work: Array = None

    def update(self, params: Mapping[str, Array], fixed: Collection[str] = ()) -> None:
        """Take the parameters after an update into the mean; those in `fixed` are as after the last."""
        if not self.values:
            self.values = {name: param.copy() for name, param in params.items()}
            self._work = None
        self.updates += 1
        d = self.decay
        weight = 1.0 / self.updates if d == 1.0 else (1.0 - d) / -math.expm1(self.updates * math.log(d))
        for name, param in params.items():
            if name in fixed:
                continue
            if updates.can_update(self.values[name]):
                updates.update("Average", self.values[name], param, [], [weight])
            else:
                self._approach(self.values[name].reshape(-1), param.reshape(-1), weight)

    def _approach(self, mean: Array, param: Array, weight: float) -> None:
        """mean <- mean + weight (param - mean), in pieces that stay in the cache."""
        xp = get_array_module(mean, param)
        piece = PIECE if xp is np else max(1, mean.size)
        if self._work is None or self._work.size < min(piece, mean.size) or self._work.dtype != mean.dtype:
            self._work = xp.empty(min(piece, mean.size), mean.dtype)
        with np.errstate(under="ignore"):
            for start in range(0, mean.size, piece):
                a, p = mean[start : start + piece], param[start : start + piece]
                work = xp.subtract(p, a, out=self._work[: a.size])
                work *= weight
                a += work


def check_decay(name: str, decay: Any) -> float:
    """The decay, if it is a number above 0, at most 1. Raises TypeError or ValueError otherwise."""
    found = check_number(name, decay, above=0.0)
    if found > 1.0:
        raise ValueError(f"{name} is {decay}, expected a number above 0, at most 1")
    return found


def scaled_step(param: Array, direction: Array, squares: Array, rate: float, eps: float, work: Array) -> None:
    """param <- param - rate direction / (sqrt(squares) + eps), in place."""
    xp = get_array_module(param)
    xp.sqrt(squares, out=work)
    work += eps
    xp.divide(direction, work, out=work)
    work *= rate
    param -= work


def clip_gradients(grads: Mapping[str, Array], max_norm: float | None = None, max_value: float | None = None) -> float:
    """Clip in place, each entry to [-max_value, max_value], then all together to a global norm of max_norm.

    Returns the norm over all gradients as they came (Pascanu et al. 2013). When it is not finite the gradients are left
    as they are, so that the caller can say what went wrong. Raises TypeError or ValueError, before anything is changed,
    for what are no arrays of floating-point numbers that can be written into.

    >>> grads = {"W": np.array([3.0, 4.0])}
    >>> clip_gradients(grads, max_norm=1.0), grads["W"].round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    if max_value is not None:
        check_number("max_value", max_value, above=0.0)
    if max_norm is not None:
        check_number("max_norm", max_norm, above=0.0)
    if not isinstance(grads, Mapping):
        raise TypeError(f"grads is {grads!r:.60}, expected a dict of arrays by name")
    if not grads:
        raise ValueError("grads is empty, expected at least one array")
    for name, grad in grads.items():
        check_changeable(f"grads[{name!r}]", grad)
        if max_value is not None and grad.dtype.kind == "c":
            raise TypeError(f"grads[{name!r}] is {grad.dtype}, expected real numbers where max_value is given")
    norm = global_norm(grads)
    if not math.isfinite(norm):
        return norm
    clipped = norm
    if max_value is not None:
        xp = get_array_module(*grads.values())
        for grad in grads.values():
            xp.clip(grad, -max_value, max_value, out=grad)
        clipped = norm if max_norm is None else global_norm(grads)
    if max_norm is not None:
        scale_down(grads, clipped, max_norm)
    return norm


def scale_down(grads: Mapping[str, Array], norm: float, max_norm: float) -> None:
    """Scale gradients of this global norm to max_norm, in place, if it is larger."""
    if norm > max_norm:
        for grad in grads.values():
            grad *= max_norm / (norm + 1e-6)


def global_norm(arrays: Mapping[str, Array]) -> float:
    """The square root of the sum of the squares of all entries, infinite or NaN only if an entry is (or it overflows
    float64).
    """
    return norm_and(arrays)[0]


def norm_and(arrays: Mapping[str, Array], *numbers: Any) -> list[float]:
    """The `global_norm` of arrays, and further numbers; all that is on a device is read back together."""
    xp = get_array_module(*arrays.values())
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares: Any = sum(xp.vdot(flat, flat).real for flat in (array.reshape(-1) for array in arrays.values()))
        total, *found = to_floats(squares, *numbers)
        if 1e-30 < total < math.inf:
            return [math.sqrt(total), *found]
        # The squares overflowed or vanished, as float32 does at 1e19 and 1e-23: scale the largest entry to 1 first.
        largest = max(to_floats(*(abs(array).max() for array in arrays.values() if array.size)), default=0.0)
        if largest == 0.0 or not math.isfinite(largest):
            return [math.sqrt(total) if math.isnan(total) else largest, *found]
        scaled = to_floats(*((abs(array / largest) ** 2).sum() for array in arrays.values()))
        return [largest * math.sqrt(sum(scaled)), *found]


def check_changeable(name: str, array: Any) -> None:
    """Raise TypeError or ValueError unless this is an array of floating-point numbers that can be changed in place."""
    if getattr(array, "dtype", np.dtype(object)).kind not in "fc":
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} is {kind}, expected an array of floating-point numbers")
    if not getattr(array.flags, "writeable", True):
        raise ValueError(f"{name} is read-only, expected an array to be changed in place")
