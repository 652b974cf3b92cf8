"""What models of token ids share: layers, parameters and gradients by name, copies, and checks of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import are_soft, as_array, check_distribution, check_ids, check_module, check_shape, non_finite
from ..kernels.packing import Packed, Plan
from ..layers import Dropout, Embedding, Layer, Recurrent


class Model:
    """Embedding, recurrent layers and a dense one, with dropout of words and between the layers.

    `_config` holds the constructor's arguments without the seed, `rng` all chance.
    """

    _config: dict[str, Any]
    vocabulary_size: int
    word_dropout: float
    embedding: Embedding
    embedding_dropout: Dropout
    recurrent: Recurrent
    dropout: Dropout
    dense: Layer
    rng: np.random.Generator
    xp: Any
    _fixed: frozenset[str] = frozenset()
    _kept_words: np.ndarray | None = None  # of the last training pass

    def _layers(self) -> tuple[tuple[str, Layer], ...]:
        """The layers that have parameters, by the names that these begin with."""
        return ("embedding", self.embedding), ("recurrent", self.recurrent), ("dense", self.dense)

    def _each_layer(self, method: str) -> None:
        for _, layer in self._layers():
            getattr(layer, method)()

    @property
    def frozen(self) -> bool:
        """Whether training passes reuse what chance gave the last one, dropout and more, as a gradient check must."""
        return self._random_layers()[0].frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        for layer in self._random_layers():
            layer.frozen = value

    def _random_layers(self) -> tuple[Layer, ...]:
        """Those in which chance has a part in training."""
        return self.recurrent, self.embedding_dropout, self.dropout

    def _pack(self, ids: Any, lengths: Any, train: bool, columns: str) -> Packed:
        """ids (T, B), packed; in training with the unknown word, 0, in the place of each with rate `word_dropout`.

        Ids on the host are checked there before they are moved; on a device they are read back for it. Raises
        ValueError or TypeError for other ids or lengths.
        """
        ids = as_array("ids", ids, "iu")
        if ids.ndim != 2:
            raise ValueError(f"ids has shape {ids.shape}, expected (T, B) = (steps, {columns})")
        T, B = ids.shape
        plan = Plan(T, B, lengths, self.xp)
        check_ids(ids, self.vocabulary_size)
        if train and self.word_dropout:
            if not self.frozen or self._kept_words is None or self._kept_words.shape != ids.shape:
                self._kept_words = self.rng.random(ids.shape) >= self.word_dropout
            ids = ids * get_array_module(ids).asarray(self._kept_words)
        return Packed(self._moved("ids", plan.pack(ids)), plan)

    def _moved(self, name: str, ids: Array) -> Array:
        """The ids where the model is: moved from the host, or there already. Raises TypeError for another device's."""
        if get_array_module(ids) is np:
            return self.xp.asarray(ids)
        check_module(name, ids, self.xp)
        return ids

    def _targets(self, name: str, targets: Any, classes: int) -> Array:
        """What a loss is to meet, where the model is: classes, or the probabilities of all (B, K).

        A loss on the host says itself what is wrong with them; for one on a device they are checked before they are
        moved. Raises TypeError or ValueError for others.
        """
        if self.xp is not np and are_soft(targets):
            check_distribution(name, targets, classes)
        elif self.xp is not np:
            check_ids(targets, classes, name)
        return self.xp.asarray(targets)

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
        spoilt = non_finite(dict(reversed(self.params.items())))  # of which it finds the last
        if spoilt is not None:
            raise FloatingPointError(f"{spoilt} holds NaN or infinity, expected weights that are numbers")

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._config.items())})"

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
