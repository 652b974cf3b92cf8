"""Layers: parameters and the cache of the last forward pass, around the kernels.

Every layer has `forward`, `backward`, and the dicts `params` and `grads` with the same keys. A backward pass overwrites
`grads`; it never adds to them. Arrays are time-major: x (T, B, D) is T steps of B sequences of D numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .backend import Array, check_dtype, generator, get_array_module, module_for
from .checks import check_ids, check_lengths, check_rates, check_shape, check_sizes
from .kernels import dense, dropout, embedding, gru, lstm, rnn, sequence


class Layer:
    """What all layers share: parameters, gradients, a generator, and the arguments they were made with."""

    def __init__(self, dtype: Any, device: str, seed: int | np.random.Generator | None, **config: Any):
        self.dtype = check_dtype(dtype)
        self.xp = module_for(device)
        self.rng = generator(seed)
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.frozen = False  # True: training passes reuse the dropout masks of the last one, as a gradient check must
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}
        self._config = {**plain, "dtype": self.dtype.name, "device": device}
        self._cache: Any = None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, without the seed, as plain values that JSON can hold."""
        return dict(self._config)

    @property
    def num_params(self) -> int:
        """How many numbers the layer learns."""
        return sum(array.size for array in self.params.values())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._config.items())
        return f"{type(self).__name__}({arguments})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "xp"}  # a module cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.xp = module_for(self._config["device"])

    def _add(self, name: str, values: np.ndarray) -> None:
        self.params[name] = self.xp.asarray(values.astype(self.dtype))
        self.grads[name] = self.xp.zeros_like(self.params[name])

    def _recall(self) -> Any:
        if self._cache is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward")
        return self._cache

    def _mask(self, name: str, shape: tuple[int, ...], rate: float) -> Array:
        """A dropout mask; while frozen, the one that was drawn for this place last."""
        masks = self.__dict__.setdefault("_masks", {})
        if not (self.frozen and name in masks and masks[name].shape == shape):
            masks[name] = dropout.draw_mask(shape, rate, self.rng, self.dtype, self.xp)
        return masks[name].astype(self._compute_dtype(), copy=False)

    def _compute_dtype(self) -> np.dtype:
        """The dtype of the parameters as they are now: a gradient check swaps in complex ones."""
        return next(iter(self.params.values())).dtype if self.params else self.dtype


class Recurrent(Layer):
    """Stacked and bidirectional recurrent layers around one cell (Eqs 38-40); base of RNN, LSTM and GRU.

    Parameters per layer l: `W_l{l}` (inputs, G*H), `U_l{l}` (H, G*H), `b_l{l}` (G*H,), and the same with `_reverse`
    for the backward direction. W starts Glorot-uniform, U orthogonal, each gate on its own, b at 0 (the LSTM's forget
    gate at 1).
    """

    gates = ""
    states = "h"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_rates(dropout=dropout, recurrent_dropout=recurrent_dropout)
        super().__init__(
            dtype,
            device,
            seed,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=bool(bidirectional),
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
        )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.dropout, self.recurrent_dropout = bool(bidirectional), dropout, recurrent_dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * len(self.directions)
            for direction in self.directions:
                self._add_cell(f"_l{layer}{direction}", inputs)

    def _add_cell(self, suffix: str, inputs: int) -> None:
        H, G = self.hidden_size, len(self.gates)
        self._add("W" + suffix, np.concatenate([glorot_uniform(inputs, H, self.rng) for _ in self.gates], axis=1))
        self._add("U" + suffix, np.concatenate([orthogonal(H, self.rng) for _ in self.gates], axis=1))
        self._add("b" + suffix, np.zeros(G * H))

    def gate(self, name: str, letter: str) -> Array:
        """The columns of one gate in the parameter `name`, as a view: `lstm.gate("U_l0", "f")` is U_f (H, H)."""
        if name not in self.params or name.startswith("bn"):
            choices = [key for key in self.params if not key.startswith("bn")]
            raise ValueError(f"name is {name!r}, expected one of {', '.join(map(repr, choices))}")
        if len(letter) != 1 or letter not in self.gates:
            raise ValueError(f"letter is {letter!r}, expected one of {', '.join(map(repr, self.gates))}")
        first = self.gates.index(letter) * self.hidden_size
        return self.params[name][..., first : first + self.hidden_size]

    def _cell_forward(self, x: Array, state: list[Array | None], suffix: str, lengths: Any, mask: Array | None) -> Any:
        """hs, the final states as a tuple, and the cell's cache."""
        raise NotImplementedError

    def _cell_backward(
        self, cache: Any, dhs: Array | None, dstate: list[Array | None], suffix: str, truncate: int | None
    ) -> Any:
        """dx, the gradients of the initial states as a tuple, and a dict of the parameters' gradients."""
        raise NotImplementedError

    def forward(self, x: Array, state: Any = None, lengths: Any = None, train: bool = False) -> tuple[Array, Any]:
        """Run all steps, with dropout if `train`.

        x (T, B, input_size); state h (layers*directions, B, H), for an LSTM the pair (h, c), or None for zeros;
        lengths (B,) integers from 1 to T, on the host, or None. Returns hs (T, B, directions*H), zero past each
        sequence's end, and the final state, shaped as the initial one. hs is read-only: backward needs it as it is.

        Raises ValueError or TypeError for a wrong shape, dtype or length.
        """
        self._check_x(x)
        T, B, _ = x.shape
        lengths = check_lengths(lengths, T, B)
        initial = self._unpack(state, B, "state")
        H, rate = self.hidden_size, self.recurrent_dropout
        finals: list[list[Array]] = []
        caches, between = [], []
        for layer in range(self.num_layers):
            if layer > 0 and train and self.dropout:
                between.append(self._mask(f"dropout {layer}", x.shape, self.dropout))
                x = dropout.forward(x, between[-1])
            outputs = []
            for direction in self.directions:
                suffix = f"_l{layer}{direction}"
                mask = self._mask("recurrent" + suffix, (B, H), rate) if train and rate else None
                start = [h if h is None else h[len(finals)] for h in initial]
                run = sequence.reverse(x, lengths) if direction else x
                hs, final, cache = self._cell_forward(run, start, suffix, lengths, mask)
                outputs.append(sequence.reverse(hs, lengths) if direction else hs)
                finals.append(final)
                caches.append(cache)
            x = outputs[0] if len(outputs) == 1 else self.xp.concatenate(outputs, axis=2)
        if isinstance(x, np.ndarray):
            x.flags.writeable = False
        self._cache = (caches, between, lengths, (T, B))
        return x, self._pack(self.xp.stack(parts) for parts in zip(*finals))

    def backward(self, dhs: Array | None = None, dstate: Any = None, truncate: int | None = None) -> tuple[Array, Any]:
        """Back-propagate through time, given the gradients of hs and of the final state, both optional.

        dhs (T, B, directions*H), dstate shaped as the state. Fills `grads`; returns dx (T, B, input_size) and the
        gradient of the initial state. `truncate=k` lets no gradient pass from step t to t-1 where k divides t.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        caches, between, lengths, (T, B) = self._recall()
        upstream = self._unpack(dstate, B, "dstate")
        H, width = self.hidden_size, self.hidden_size * len(self.directions)
        if dhs is not None:
            check_shape("dhs", dhs, (T, B, width), self._compute_dtype(), "(T, B, directions*H)")
        dinitial: list[Any] = [None] * len(caches)
        for layer in reversed(range(self.num_layers)):
            dx = None
            for d, direction in enumerate(self.directions):
                k, suffix = layer * len(self.directions) + d, f"_l{layer}{direction}"
                part = None if dhs is None else dhs if width == H else dhs[:, :, d * H : (d + 1) * H]
                if part is not None and direction:
                    part = sequence.reverse(part, lengths)
                last = [h if h is None else h[k] for h in upstream]
                dx_run, dinitial[k], grads = self._cell_backward(caches[k], part, last, suffix, truncate)
                for name, gradient in grads.items():
                    self.grads[name][...] = gradient
                if direction:
                    dx_run = sequence.reverse(dx_run, lengths)
                dx = dx_run if dx is None else dx + dx_run
            if layer > 0 and between:
                dx = dropout.backward(dx, between[layer - 1])
            dhs = dx
        return dx, self._pack(self.xp.stack(parts) for parts in zip(*dinitial))

    def _check_x(self, x: Array) -> None:
        shape = getattr(x, "shape", None)
        if shape is None:
            raise TypeError(f"x is {type(x).__name__}, expected an array of shape (T, B, {self.input_size})")
        if len(shape) != 3 or shape[2] != self.input_size or 0 in shape:
            raise ValueError(
                f"x has shape {shape}, expected (T, B, {self.input_size}) with at least one step and one sequence"
            )
        if x.dtype != self._compute_dtype():
            raise TypeError(f"x has dtype {x.dtype}, expected {self._compute_dtype()} as the parameters")
        get_array_module(x, *self.params.values())

    def _unpack(self, state: Any, B: int, name: str) -> list[Array | None]:
        """The state as a list of one array per letter of `states`, checked."""
        if len(self.states) == 1:
            parts = [state]
        elif state is None:
            parts = [None] * len(self.states)
        elif isinstance(state, (tuple, list)) and len(state) == len(self.states):
            parts = list(state)
        else:
            raise TypeError(f"{name} is {type(state).__name__}, expected the tuple ({', '.join(self.states)}) or None")
        shape = (self.num_layers * len(self.directions), B, self.hidden_size)
        for letter, part in zip(self.states, parts):
            if part is not None:
                label = name if len(self.states) == 1 else f"{name} {letter}"
                check_shape(label, part, shape, self._compute_dtype(), "(layers*directions, B, H)")
        return parts

    def _pack(self, parts: Any) -> Any:
        parts = tuple(parts)
        return parts[0] if len(self.states) == 1 else parts


class RNN(Recurrent):
    """Vanilla recurrent layers, h = f(x W + h_prev U + b), f being tanh, relu or sigmoid (Eqs 1, 62).

    >>> rnn = RNN(3, 4, seed=0)
    >>> hs, h = rnn.forward(np.ones((5, 2, 3), np.float32))
    >>> hs.shape, h.shape, rnn.num_params                            # (n + m + 1)m parameters
    ((5, 2, 4), (1, 2, 4), 32)
    """

    gates = "h"

    def __init__(self, input_size: int, hidden_size: int, *args: Any, activation: str = "tanh", **options: Any):
        if activation not in rnn.CELLS:
            raise ValueError(f"activation is {activation!r}, expected one of {', '.join(map(repr, rnn.CELLS))}")
        self.activation = activation
        super().__init__(input_size, hidden_size, *args, **options)
        self._config["activation"] = activation

    def _cell_forward(self, x: Array, state: list[Array | None], suffix: str, lengths: Any, mask: Array | None) -> Any:
        W, U, b = (self.params[letter + suffix] for letter in "WUb")
        hs, h, cache = rnn.forward(x, state[0], W, U, b, lengths, mask, self.activation)
        return hs, (h,), cache

    def _cell_backward(
        self, cache: Any, dhs: Array | None, dstate: list[Array | None], suffix: str, truncate: int | None
    ) -> Any:
        dx, dh, dW, dU, db = rnn.backward(cache, dhs, dstate[0], truncate)
        return dx, (dh,), {"W" + suffix: dW, "U" + suffix: dU, "b" + suffix: db}


class LSTM(Recurrent):
    """Long short-term memory layers; gate order i, f, o, g (Eqs 28-33, 66-71). The forget gate's bias starts at 1.

    >>> lstm = LSTM(3, 4, seed=0)
    >>> hs, (h, c) = lstm.forward(np.ones((5, 2, 3), np.float32))
    >>> hs.shape, c.shape, lstm.num_params                           # 4(n + m + 1)m parameters
    ((5, 2, 4), (1, 2, 4), 128)
    >>> lstm.gate("b_l0", "f")
    array([1., 1., 1., 1.], dtype=float32)
    """

    gates = "ifog"
    states = "hc"

    def _add_cell(self, suffix: str, inputs: int) -> None:
        super()._add_cell(suffix, inputs)
        self.gate("b" + suffix, "f")[...] = 1

    def _cell_forward(self, x: Array, state: list[Array | None], suffix: str, lengths: Any, mask: Array | None) -> Any:
        W, U, b = (self.params[letter + suffix] for letter in "WUb")
        return lstm.forward(x, (state[0], state[1]), W, U, b, lengths, mask)

    def _cell_backward(
        self, cache: Any, dhs: Array | None, dstate: list[Array | None], suffix: str, truncate: int | None
    ) -> Any:
        dx, initial, dW, dU, db = lstm.backward(cache, dhs, (dstate[0], dstate[1]), truncate)
        return dx, initial, {"W" + suffix: dW, "U" + suffix: dU, "b" + suffix: db}


class GRU(Recurrent):
    """Gated recurrent units; gate order r, z, n; h = z h_prev + (1 - z) n (Eqs 75-78).

    With `reset_after=False` the reset gate acts before the product with U (Eq. 77); with True after it, as in cuDNN,
    PyTorch and Keras, which need the further bias `bn_l{l}` (H,).

    >>> GRU(3, 4, seed=0).num_params, GRU(3, 4, reset_after=True, seed=0).num_params     # 3(n + m + 1)m, and m more
    (96, 100)
    """

    gates = "rzn"

    def __init__(self, input_size: int, hidden_size: int, *args: Any, reset_after: bool = False, **options: Any):
        self.reset_after = bool(reset_after)
        super().__init__(input_size, hidden_size, *args, **options)
        self._config["reset_after"] = self.reset_after

    def _add_cell(self, suffix: str, inputs: int) -> None:
        super()._add_cell(suffix, inputs)
        if self.reset_after:
            self._add("bn" + suffix, np.zeros(self.hidden_size))

    def _cell_forward(self, x: Array, state: list[Array | None], suffix: str, lengths: Any, mask: Array | None) -> Any:
        W, U, b = (self.params[letter + suffix] for letter in "WUb")
        hs, h, cache = gru.forward(x, state[0], W, U, b, lengths, mask, self.params.get("bn" + suffix))
        return hs, (h,), cache

    def _cell_backward(
        self, cache: Any, dhs: Array | None, dstate: list[Array | None], suffix: str, truncate: int | None
    ) -> Any:
        dx, dh, *gradients = gru.backward(cache, dhs, dstate[0], truncate)
        return dx, (dh,), {name + suffix: gradient for name, gradient in zip(("W", "U", "b", "bn"), gradients)}


class Embedding(Layer):
    """A table of `num_embeddings` rows of `embedding_dim` numbers, `params["E"]`, drawn from N(0, 0.1^2)."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        super().__init__(dtype, device, seed, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self._add("E", self.rng.normal(0.0, 0.1, (num_embeddings, embedding_dim)))

    def forward(self, ids: Array, train: bool = False) -> Array:
        """ids (T, B) integers in [0, num_embeddings) -> (T, B, embedding_dim).

        Raises TypeError or ValueError otherwise.
        """
        check_ids(ids, self.num_embeddings)
        x, self._cache = embedding.forward(ids, self.params["E"])
        return x

    def backward(self, dx: Array) -> None:
        """Fills `grads["E"]` from dx (T, B, embedding_dim); ids have no gradient."""
        cache = self._recall()
        check_shape("dx", dx, (*cache[0].shape, self.embedding_dim), self._compute_dtype(), "as the output")
        self.grads["E"][...] = embedding.backward(cache, dx)


class Dense(Layer):
    """y = x W + b along the last axis; W (D, K) starts Glorot-uniform, b (K,) at 0."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_sizes(input_size=input_size, output_size=output_size)
        super().__init__(dtype, device, seed, input_size=input_size, output_size=output_size)
        self.input_size, self.output_size = input_size, output_size
        self._add("W", glorot_uniform(input_size, output_size, self.rng))
        self._add("b", np.zeros(output_size))

    def forward(self, x: Array, train: bool = False) -> Array:
        """x (..., D) -> (..., K). Raises ValueError or TypeError for a wrong shape or dtype."""
        shape = (*getattr(x, "shape", ())[:-1], self.input_size)
        check_shape("x", x, shape, self._compute_dtype(), "(..., input_size)")
        y, self._cache = dense.forward(x, self.params["W"], self.params["b"])
        return y

    def backward(self, dy: Array) -> Array:
        """dy (..., K) -> dx (..., D); fills `grads`."""
        x, _ = self._recall()
        check_shape("dy", dy, (*x.shape[:-1], self.output_size), self._compute_dtype(), "as the output")
        dx, self.grads["W"][...], self.grads["b"][...] = dense.backward(self._cache, dy)
        return dx


class Dropout(Layer):
    """Inverted dropout in training, nothing otherwise; `variational=True` drops the same units at all steps."""

    def __init__(
        self,
        rate: float,
        variational: bool = False,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_rates(rate=rate)
        super().__init__(dtype, device, seed, rate=rate, variational=bool(variational))
        self.rate, self.variational = rate, bool(variational)

    def forward(self, x: Array, train: bool = False) -> Array:
        """x (T, B, D), or any shape if not variational, -> the same shape."""
        if not hasattr(x, "dtype"):
            raise TypeError(f"x is {type(x).__name__}, expected an array")
        check_dtype(x.dtype, "x's dtype")
        if not train or not self.rate:
            self._cache = (None, x.shape, x.dtype)
            return x
        mask = self._mask("mask", (1, *x.shape[1:]) if self.variational else x.shape, self.rate)
        self._cache = (mask.astype(x.dtype, copy=False), x.shape, x.dtype)
        return dropout.forward(x, self._cache[0])

    def backward(self, dy: Array) -> Array:
        """The gradient of x, through the units that were kept."""
        mask, shape, dtype = self._recall()
        check_shape("dy", dy, shape, dtype, "as the output")
        return dy if mask is None else dropout.backward(dy, mask)


class Sequential:
    """Layers in a row; recurrent ones pass their outputs hs on. Parameter names get the layer's position: "0.W_l0".

    >>> model = Sequential(LSTM(3, 4, seed=0), Dense(4, 2, seed=1))
    >>> model.forward(np.ones((5, 2, 3), np.float32)).shape
    (5, 2, 2)
    """

    def __init__(self, *layers: Any):
        if not layers:
            raise ValueError("layers is empty, expected at least one layer")
        for position, layer in enumerate(layers):
            if not (hasattr(layer, "forward") and hasattr(layer, "backward") and hasattr(layer, "params")):
                raise TypeError(f"layers[{position}] is {type(layer).__name__}, expected a layer")
            if any(layer is other for other in layers[:position]):
                raise ValueError(
                    f"layers[{position}] is in the row twice, and a layer recalls only its last forward pass"
                )
        self.layers = layers

    @property
    def params(self) -> dict[str, Array]:
        """All parameters by name; the arrays are the layers' own."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.params.items()}

    @property
    def grads(self) -> dict[str, Array]:
        """All gradients by name; the arrays are the layers' own."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.grads.items()}

    @property
    def num_params(self) -> int:
        """How many numbers all layers learn."""
        return sum(layer.num_params for layer in self.layers)

    def forward(self, x: Array, lengths: Any = None, train: bool = False) -> Array:
        """Through all layers in order; `lengths` goes to the recurrent ones."""
        for layer in self.layers:
            if isinstance(layer, Recurrent):
                x, _ = layer.forward(x, lengths=lengths, train=train)
            elif isinstance(layer, Sequential):
                x = layer.forward(x, lengths=lengths, train=train)
            else:
                x = layer.forward(x, train=train)
        return x

    def backward(self, dy: Array) -> Array:
        """Through all layers in reverse order; returns the gradient of the input (None where that is token ids)."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)[0] if isinstance(layer, Recurrent) else layer.backward(dy)
        return dy


def glorot_uniform(inputs: int, outputs: int, rng: np.random.Generator) -> np.ndarray:
    """(inputs, outputs) from U(-l, l) with l = sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010)."""
    limit = math.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-limit, limit, (inputs, outputs))


def orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random (size, size) matrix that keeps lengths: a product of many does not grow or shrink (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.sign(np.diag(r))
