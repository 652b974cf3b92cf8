"""What all models share: parameters and gradients by name, copies, and checks of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import check_shape


class Model:
    """Layers by name. A model has besides `_config`, the constructor's arguments without the seed, `rng` and `xp`."""

    _config: dict[str, Any]
    vocabulary_size: int
    rng: np.random.Generator
    xp: Any
    _fixed: frozenset[str] = frozenset()

    def _layers(self) -> tuple[tuple[str, Any], ...]:
        """The layers that have parameters, by the names that these begin with."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, without the seed, as plain values that JSON can hold."""
        return dict(self._config)

    @property
    def params(self) -> dict[str, Array]:
        """All parameters by name: "embedding.E", "recurrent.W_l0", ..., "dense.b"; the arrays are the layers' own."""
        return {f"{part}.{name}": array for part, layer in self._layers() for name, array in layer.params.items()}

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients that the last `backward` left, under the names of `params`; the arrays are the layers' own."""
        return {f"{part}.{name}": array for part, layer in self._layers() for name, array in layer.grads.items()}

    @property
    def fixed(self) -> frozenset[str]:
        """The names of the parameters that do not learn: their gradients are 0 and take no work."""
        return self._fixed

    @fixed.setter
    def fixed(self, names: Iterable[str]) -> None:
        names, mine = frozenset(names), self.params
        for name in sorted(names - mine.keys()):
            raise ValueError(f"fixed holds {name!r}, expected names of parameters: {', '.join(mine):.200}")
        self._fixed = names
        self._fix_layers(names)
        for _, layer in self._layers():
            for name in layer.fixed:
                layer.grads[name][...] = 0

    def _fix_layers(self, names: frozenset[str]) -> None:
        for part, layer in self._layers():
            layer.fixed = frozenset(name for name in layer.params if f"{part}.{name}" in names)

    @property
    def num_params(self) -> int:
        """How many numbers the model has in its parameters, fixed ones included."""
        return sum(array.size for array in self.params.values())

    def check_weights(self) -> None:
        """Raise FloatingPointError, naming the first parameter that holds NaN or infinity."""
        for name, array in self.params.items():
            if not to_cpu(self.xp.isfinite(array).all()):
                raise FloatingPointError(f"{name} holds NaN or infinity, expected weights that are numbers")

    def _check_logits(self, logits: Array) -> None:
        if not to_cpu(get_array_module(logits).isfinite(logits).all()):
            raise FloatingPointError("the logits hold NaN or infinity: the weights are too large")

    def load_params(self, params: Mapping[str, Array]) -> None:
        """Copy values into the parameters. Raises ValueError or TypeError, before any is changed, unless all fit."""
        mine = self.params
        if params.keys() != mine.keys():
            raise ValueError(f"params has other names than the model: {', '.join(sorted(params.keys() ^ mine.keys()))}")
        for name, array in params.items():
            check_shape(f"params[{name!r}]", array, mine[name].shape, mine[name].dtype, "as in the model")
        for name, array in params.items():
            mine[name][...] = self.xp.asarray(array)

    def __getstate__(self) -> dict[str, Any]:
        params = {name: to_cpu(array) for name, array in self.params.items()}
        return {"config": self._config, "params": params, "rng": self.rng, "fixed": self.fixed}

    def _restore(self, model: type, state: dict[str, Any]) -> None:
        """Become, through this model's constructor, what `__getstate__` saw."""
        rng = state["rng"]
        random_state = rng.bit_generator.state
        model.__init__(self, **state["config"], seed=rng)  # type: ignore[misc]
        rng.bit_generator.state = random_state
        self.load_params(state["params"])
        self.fixed = state["fixed"]
