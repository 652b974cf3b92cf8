"""The ways in which people write a gradient, each brought to one of the two that the checker runs.

an object whose forward and backward read and leave arrays as attributes      self.W and self.dW
one with dicts of parameters and gradients                                     self.params["W"] and self.grads["W"]
a pair of functions                            forward(x, W) -> output, cache   backward(doutput, cache) -> gradients
a function of the loss                         loss(x, W) -> loss, gradients
a function with its pullback                   f(x, W) -> output, pullback      pullback(doutput) -> gradients

Gradients come in the order of the arguments, or as a dict under their names, as they are or after a "d". What does not
say enough is refused with the line to change.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def adapted(target: Any, inputs: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The target and its inputs as the checker takes them. Raises TypeError or ValueError with what must be changed."""
    found = _adapted(target, inputs)
    if not isinstance(found, Function | Pair):
        return found, inputs
    if isinstance(found, Function) and _is_loss(returned := found.forward_of(*_copies(inputs))):
        places = _with_gradients(returned[1], found.forward_of, inputs)
        return LossOf(found.forward_of, inputs, places), tuple(inputs[k] for k in places)
    names = _names(found.forward_of)[: len(inputs)]
    if len(names) < len(inputs) or not {"U", "W"} <= {name.rstrip("0123456789_")[:1] for name in names[1:]}:
        return found, inputs
    data = tuple(given for name, given in zip(names, inputs) if not _is_parameter(name))
    return Named(found, names, inputs), data


def _adapted(target: Any, inputs: tuple[Any, ...]) -> Any:
    if isinstance(target, tuple | list):
        if len(target) != 2 or not all(callable(part) for part in target):
            kinds = ", ".join(type(part).__name__ for part in target)
            raise TypeError(f"target holds {kinds or 'nothing'}, expected a pair of functions (forward, backward)")
        return Pair(*target)
    if hasattr(target, "forward") and hasattr(target, "backward"):
        whole = hasattr(target, "params") and hasattr(target, "grads")
        return target if whole else Own(target, inputs)
    if not callable(target) or hasattr(target, "forward"):
        return target  # which the checker refuses
    owner = getattr(target, "__self__", None)
    if isinstance(getattr(owner, "params", None), Mapping) and _is_loss(target(*_copies(inputs))):
        return Loss(owner, target.__name__)
    return Function(target)


WEIGHT = re.compile(r"[WUV][a-z]{0,2}(_.*|\d.*)?|b[a-z]?(_.*|\d.*)?|bias.*")  # W, W_x, Uf, b, bn, b_h, bias_ih


def _is_parameter(name: str) -> bool:
    """Whether an argument of a recurrent network's function is named as its weights are."""
    return WEIGHT.fullmatch(name) is not None


class Function:
    """A function that returns its output and a pullback, whose gradients may be a dict."""

    def __init__(self, function: Callable[..., Any]):
        self.forward_of = function

    def __call__(self, *inputs: Any) -> Any:
        """The output and a pullback that returns the gradients in the order of the inputs."""
        returned = self.forward_of(*inputs)
        if not (isinstance(returned, tuple | list) and len(returned) == 2 and callable(returned[1])):
            return returned
        output, pullback = returned
        return output, lambda d: _ordered(pullback(d), self.forward_of, inputs)


class LossOf:
    """A function that returns (loss, gradients), of those arguments that have a gradient; the others are data."""

    def __init__(self, function: Callable[..., Any], inputs: tuple[Any, ...], places: list[int]):
        self.function, self.inputs, self.places = function, inputs, places
        names = _names(function)
        self.input_names = [names[k] for k in places] if len(names) >= len(inputs) else None

    def __call__(self, *some: Any) -> Any:
        """The loss, and a pullback that returns the gradients of these arguments."""
        whole = _copies(self.inputs)
        for place, given in zip(self.places, some):
            whole[place] = given
        loss, gradients = self.function(*whole)
        if isinstance(gradients, Mapping):
            names = _names(self.function)
            gradients = tuple(gradients.get(names[k], gradients.get(f"d{names[k]}")) for k in self.places)
        return loss, lambda d: _times(gradients, d)


def _with_gradients(gradients: Any, function: Callable[..., Any], inputs: tuple[Any, ...]) -> list[int]:
    """The positions of the arguments that a loss's gradients are of. Raises TypeError where that is not clear."""
    floats = [k for k, given in enumerate(inputs) if np.asarray(given).dtype.kind == "f"]
    if isinstance(gradients, Mapping):
        names = _names(function)[: len(inputs)]
        found = [k for k, name in enumerate(names) if {name, f"d{name}"} & gradients.keys()]
        if not found:
            raise TypeError(
                f"the gradients are a dict of {', '.join(map(str, gradients)) or 'nothing'}, none of which is an "
                f"argument: {', '.join(names)}"
            )
        return found
    count = len(gradients) if isinstance(gradients, tuple | list) else 1
    if count > len(floats):
        raise TypeError(f"there are {count} gradients, but {len(floats)} arguments that can have one")
    return floats[:count]  # of the first ones, as in loss(W, X, y)


class Pair:
    """Two functions, forward(inputs) -> output or (output, cache), and backward of the output's gradient."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any]):
        self.forward_of, self.backward_of = forward, backward
        names = _names(backward)
        self.gradient_last = len(names) == 2 and names[1].startswith("d") and not names[0].startswith("d")

    def __call__(self, *inputs: Any) -> Any:
        """As `Function`: the output and its pullback."""
        returned = self.forward_of(*inputs)
        cached = len(_names(self.backward_of)) != 1
        if cached and not (isinstance(returned, tuple | list) and len(returned) >= 2):
            raise TypeError(
                f"forward returns {type(returned).__name__}, but backward takes {', '.join(_names(self.backward_of))}: "
                "let forward return (output, cache)"
            )
        *outputs, cache = returned if cached else (returned, None)
        output = outputs[0] if len(outputs) == 1 else tuple(outputs)

        def pullback(d: Any) -> Any:
            given = (d,) if not cached else (cache, d) if self.gradient_last else (d, cache)
            if len(outputs) > 1 and len(_names(self.backward_of)) == len(outputs) + 1:  # backward(dhs, dh, dc, cache)
                given = (*d, cache)
            return _ordered(self.backward_of(*given), self.forward_of, inputs)

        return output, pullback


class Named:
    """A function of a recurrent network whose arguments are named as weights are, as an object that has the weights."""

    def __init__(self, function: Any, names: list[str], inputs: tuple[Any, ...]):
        self.function, self.names = function, names
        self.input_names = [name for name in names if not _is_parameter(name)]
        self.params = {name: given for name, given in zip(names, inputs) if _is_parameter(name)}
        self.grads: dict[str, np.ndarray] = {}
        self.pullback: Any = None

    def forward(self, *data: Any) -> Any:
        """The function's output."""
        rest = iter(data)
        output, self.pullback = self.function(
            *(self.params[name] if name in self.params else next(rest) for name in self.names)
        )
        return output

    def backward(self, *upstream: Any) -> Any:
        """The pullback's gradients: those of the weights go to `grads`."""
        returned = self.pullback(upstream[0] if len(upstream) == 1 else upstream)
        if not isinstance(returned, tuple | list) or len(returned) != len(self.names):
            count = len(returned) if isinstance(returned, tuple | list) else 1
            raise ValueError(f"backward gives {count} gradients, expected {len(self.names)}: {', '.join(self.names)}")
        found = dict(zip(self.names, returned))
        self.grads = {name: found[name] for name in self.params}
        return tuple(part for name, part in found.items() if name not in self.params)


class Own:
    """An object whose parameters are attributes, or that has `params` and leaves gradients elsewhere."""

    def __init__(self, learner: Any, inputs: tuple[Any, ...]):
        self.learner = learner
        self.grads: dict[str, np.ndarray] = {}
        dicts = isinstance(getattr(learner, "params", None), Mapping)
        self.params: dict[str, np.ndarray] = dict(learner.params) if dicts else _parameters(learner, inputs)
        self.name_of_input = next(iter(_names(learner.forward)), "x")

    @property
    def forward(self) -> Callable[..., Any]:
        """The learner's own, with its signature."""

        def run(*inputs: Any, **options: Any) -> Any:
            return self.learner.forward(*inputs, **options)

        run.__signature__ = inspect.signature(self.learner.forward)  # type: ignore[attr-defined]
        return run

    def backward(self, *upstream: Any) -> Any:
        """The learner's own: gradients of parameters go to `grads`, those of the inputs are returned."""
        returned = self.learner.backward(*upstream)
        rest = returned
        given: Mapping[str, Any] = {}
        if isinstance(returned, Mapping):
            given, rest = returned, _first_of(returned, self.name_of_input)
        elif isinstance(returned, tuple | list) and returned and isinstance(returned[-1], Mapping):
            given, rest = returned[-1], returned[0] if len(returned) == 2 else tuple(returned[:-1])
        self.grads = {name: _gradient(self.learner, name, given) for name in self.params}
        missing = [name for name, found in self.grads.items() if found is None]
        if missing:
            name = missing[0]
            raise ValueError(
                f"backward gives no gradient of {name}: let it leave one in self.d{name}, or return it in a dict under "
                f"{name!r}"
            )
        return rest


class Loss:
    """A method that returns (loss, gradients) of an object with `params`, as CS231n's models have it."""

    inputs_are_data = True

    def __init__(self, owner: Any, method: str):
        self.owner, self.method = owner, method
        self.params: dict[str, np.ndarray] = dict(owner.params)
        self.grads: dict[str, np.ndarray] = {}
        self.gradients: Mapping[str, Any] = {}

    def forward(self, *inputs: Any) -> Any:
        """The loss."""
        loss, self.gradients = getattr(self.owner, self.method)(*inputs)
        return loss

    def backward(self, d: Any) -> tuple[()]:
        """The gradients that came with the loss, times d; the inputs are data and get none."""
        self.grads = {name: np.real(d) * np.asarray(_first_of(self.gradients, name)) for name in self.params}
        return ()


def _parameters(learner: Any, inputs: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """The arrays among an object's attributes that backward leaves a gradient of.

    Raises ValueError for one that takes part in forward and has none.
    """
    kind = type(learner).__name__
    trial = copy.deepcopy(learner)
    held = {name: value for name, value in vars(trial).items() if _is_float(value)}
    before = {name: value.copy() for name, value in held.items()}
    outputs = trial.forward(*_copies(inputs))
    output = outputs[0] if isinstance(outputs, tuple | list) else outputs
    steady = [name for name in held if np.array_equal(before[name], getattr(trial, name))]
    upstream = [np.ones_like(part) for part in (outputs if isinstance(outputs, tuple | list) else [outputs])]
    returned = trial.backward(*upstream)
    given = returned if isinstance(returned, Mapping) else {}
    if isinstance(returned, tuple | list) and returned and isinstance(returned[-1], Mapping):
        given = returned[-1]
    buffers = {f"{start}{name}{end}" for name in held for start, end in (("d", ""), ("grad_", ""), ("", "_grad"))}
    found = {}
    for name in steady:
        if name in buffers:
            continue
        if _gradient(trial, name, given) is not None:
            found[name] = getattr(learner, name)
        elif _takes_part(learner, name, inputs, output):
            raise ValueError(
                f"{kind}.{name} takes part in forward, but backward gives no gradient of it: let it leave one in "
                f"self.d{name}, or return it in a dict under {name!r}"
            )
    return found


def _takes_part(learner: Any, name: str, inputs: tuple[Any, ...], output: Any) -> bool:
    """Whether the output changes with an attribute."""
    trial = copy.deepcopy(learner)
    setattr(trial, name, getattr(trial, name) + 0.1)
    outputs = trial.forward(*_copies(inputs))
    other = outputs[0] if isinstance(outputs, tuple | list) else outputs
    return not np.array_equal(np.asarray(other), np.asarray(output))


def _gradient(learner: Any, name: str, given: Mapping[str, Any]) -> Any:
    """What is there of a gradient of this parameter: returned, in a dict of the object's, or an attribute; or None."""
    for place in (given, getattr(learner, "grads", None), getattr(learner, "gradients", None)):
        if isinstance(place, Mapping):
            found = place.get(name, place.get(f"d{name}"))
            if found is not None:
                return found
    for attribute in (f"d{name}", f"grad_{name}", f"{name}_grad"):
        if getattr(learner, attribute, None) is not None:
            return getattr(learner, attribute)
    return None


def _ordered(gradients: Any, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """Gradients in the order of the inputs, whose names are those of the function's arguments."""
    if not isinstance(gradients, Mapping):
        return gradients
    names = _names(function)
    if len(names) < len(inputs):
        raise ValueError(
            f"the gradients are a dict, but the function names only {len(names)} of {len(inputs)} arguments: return a "
            "tuple in their order"
        )
    found = []
    for name, value in zip(names, inputs):
        known = gradients.get(name, gradients.get(f"d{name}"))
        if known is None and np.asarray(value).dtype.kind not in "iub":
            keys = ", ".join(map(str, gradients))
            raise ValueError(f"the gradients hold {keys or 'nothing'}, expected {name!r} or 'd{name}' among them")
        found.append(known)
    return tuple(found) if len(found) > 1 else found[0]


def _times(gradients: Any, factor: Any) -> Any:
    """Gradients of a loss times its own gradient, a number."""
    if isinstance(gradients, tuple | list):
        return tuple(None if part is None else np.real(factor) * np.asarray(part) for part in gradients)
    return np.real(factor) * np.asarray(gradients)


def _is_loss(returned: Any) -> bool:
    """Whether a function returned a number and its gradients."""
    return (
        isinstance(returned, tuple | list)
        and len(returned) == 2
        and not callable(returned[1])
        and np.ndim(returned[0]) == 0
        and np.asarray(returned[0]).dtype.kind in "fc"
        and isinstance(returned[1], Mapping | tuple | list | np.ndarray)
    )


def _first_of(gradients: Mapping[str, Any], name: str) -> Any:
    return gradients.get(name, gradients.get(f"d{name}", gradients.get("dx", gradients.get("x"))))


def _names(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that are given by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a built-in function
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in kinds]


def _copies(inputs: tuple[Any, ...]) -> list[np.ndarray]:
    return [np.array(given) for given in inputs]


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0
