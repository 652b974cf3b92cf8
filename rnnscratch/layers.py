"""Layers: parameters around the kernels.

A call runs a layer and returns its result with its own way back: `y, back = layer.call(x)`, then `dx = back(dy)`. So a
layer may be called several times before it goes back. A way back adds to `grads`; the first one that is used after a
new call starts them from zero. `forward` and `backward` are the short form for the last call, and `backward` always
starts from zero. With `keep=False` a call keeps nothing, and has no way back. Calls of one layer may run in several
threads.

Arrays are time-major: x (T, B, D) is T steps of B sequences of D numbers. Where x is `Packed` (kernels/packing.py), so
are the result and the gradients.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from .backend import Array, check_dtype, generator, get_array_module, module_for
from .checks import (
    as_operand,
    check_choice,
    check_flags,
    check_ids,
    check_module,
    check_rates,
    check_shape,
    check_sizes,
)
from .kernels import attention, cuda, dense, dropout, embedding, gru, layer_norm, lstm, peephole, rnn, sequence
from .kernels.packing import Packed, Plan

_ADDING = threading.Lock()  # gradients of several threads' ways back


class Layer:
    """What all layers share: parameters, gradients, a generator, and the arguments they were made with.

    `fixed` may name parameters that do not learn: ways back leave their gradients as they are.
    """

    fixed: frozenset[str] = frozenset()

    def __init__(self, dtype: Any, device: str, seed: int | np.random.Generator | None, **config: Any):
        self.dtype = check_dtype(dtype)
        self.xp = module_for(device)
        self.rng = generator(seed)
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.frozen = False  # True: training passes reuse the dropout masks of the last one, as a gradient check must
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}
        self._config = {**plain, "dtype": self.dtype.name, "device": device}
        self._forget()

    def _forget(self) -> None:
        self._back: Any = None  # of the last forward
        self._cell: Any = None
        self._masks: dict[str, Array] = {}
        self._used = True  # a way back has been used since the last call
        self._stale: set[str] = set()  # gradients of an earlier pass, which the next way back replaces

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
        passing = ("xp", "_cell", "_back", "_masks", "_used", "_stale")  # cannot be copied, or need not be
        return {name: value for name, value in self.__dict__.items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.xp = module_for(self._config["device"])
        self._forget()

    def call(self, x: Any, train: bool = False, keep: bool = True) -> tuple[Any, Any]:
        """The result, and this call's way back: a function of the result's gradient (None without `keep`)."""
        raise NotImplementedError

    def forward(self, x: Any, train: bool = False) -> Any:
        """`call`, whose way back `backward` takes."""
        result, self._back = self.call(x, train)
        return result

    def backward(self, dy: Array) -> Any:
        """The way back of the last forward: the gradient of x; fills `grads`.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        return self._recall()(dy)

    def _through(self, x: Any, lengths: Any, train: bool, keep: bool) -> tuple[Any, Any]:
        """`call` as one of several layers in a row."""
        return self.call(x, train, keep)

    def _recall(self) -> Any:
        if self._back is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward")
        self._start_from_zero()
        return self._back

    def _start_from_zero(self) -> None:
        self._stale = set(self.grads)

    def _go_on(self) -> None:
        """Calls that follow belong to the pass whose way back was used last."""
        self._used = False

    def _begin(self) -> None:
        """A call: the first after a way back begins a new pass."""
        if self._used:
            self._stale, self._used = set(self.grads), False

    def _add_gradients(self, gradients: Mapping[str, Array], at: Any = ...) -> None:
        """Add to `grads`, or to a part of them: rows or columns, each of which comes once."""
        with _ADDING:
            self._used = True
            for name, gradient in gradients.items():
                if name in self.fixed:
                    continue
                if name not in self._stale:
                    self.grads[name][at] += gradient
                    continue
                self._stale.discard(name)
                if at is not ...:
                    self.grads[name].fill(0)
                self.grads[name][at] = gradient

    def _add(self, name: str, values: np.ndarray) -> None:
        self.params[name] = self.xp.asarray(values.astype(self.dtype))
        self.grads[name] = self.xp.zeros_like(self.params[name])

    def _mask(self, name: str, shape: tuple[int, ...], rate: float) -> Array:
        """A dropout mask; while frozen, the one that was drawn for this place last."""
        if not (self.frozen and name in self._masks and self._masks[name].shape == shape):
            self._masks[name] = dropout.draw_mask(shape, rate, self.rng, self.dtype, self.xp)
        return self._masks[name].astype(self._compute_dtype(), copy=False)

    def _compute_dtype(self) -> np.dtype:
        """The dtype of the parameters as they are now: a gradient check swaps in complex ones."""
        return next(iter(self.params.values())).dtype if self.params else self.dtype


class Recurrent(Layer):
    """Stacked and bidirectional recurrent layers around one cell (Eqs 38-40); base of RNN, LSTM, GRU and their like.

    Parameters per layer l: `W_l{l}` (inputs, G*H), `U_l{l}` (H, G*H), `b_l{l}` (G*H,), those that the cell has besides,
    and the same with `_reverse` for the backward direction. W starts Glorot-uniform, U orthogonal, each gate on its
    own, b at 0 (the LSTM's forget gate at 1). A subclass names its `gates` and `states`, and its cell in `cell_of`.
    """

    gates = ""
    states = "h"
    _cell_options: dict[str, Any] = {}  # of the constructor's arguments, those that choose the cell

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
        check_flags(bidirectional=bidirectional)
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
            **self._cell_options,
        )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.dropout, self.recurrent_dropout = bool(bidirectional), dropout, recurrent_dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for name, shape in self.parameter_shapes(**self._config).items():
            self._add(name, self._initial(name.partition("_")[0], shape))

    @classmethod
    def cell_of(cls, **options: Any) -> sequence.Cell:
        """The cell that a layer with these constructor's arguments runs."""
        raise NotImplementedError

    @property
    def cell(self) -> sequence.Cell:
        """The cell: one step and its reverse, and what the loop must know of it."""
        if self._cell is None:
            self._cell = self.cell_of(**self._config)
        return self._cell

    @classmethod
    def parameter_shapes(
        cls, input_size: int, hidden_size: int, num_layers: int = 1, bidirectional: bool = False, **options: Any
    ) -> dict[str, tuple[int, ...]]:
        """The name and shape of every parameter of a layer of these sizes, of which none is made."""
        cell, H = cls.cell_of(**options), hidden_size
        directions = ("", "_reverse") if bidirectional else ("",)
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(num_layers):
            for direction in directions:
                GH, suffix = len(cell.gates) * H, f"_l{layer}{direction}"
                found["W" + suffix] = (input_size if layer == 0 else H * len(directions), GH)
                found["U" + suffix] = (H, GH)
                found["b" + suffix] = (GH,)
                found |= {name + suffix: (k * H,) for name, k in cell.weights.items()}
        return found

    def _initial(self, letter: str, shape: tuple[int, ...]) -> np.ndarray:
        """Where the parameter that begins with this letter starts."""
        if letter == "W":
            return np.concatenate([glorot_uniform(shape[0], self.hidden_size, self.rng) for _ in self.gates], axis=1)
        if letter == "U":
            return np.concatenate([orthogonal(self.hidden_size, self.rng) for _ in self.gates], axis=1)
        return np.zeros(shape)

    def gate(self, name: str, letter: str) -> Array:
        """The columns of one gate in the parameter `name`, as a view: `lstm.gate("U_l0", "f")` is U_f (H, H)."""
        choices = [key for key in self.params if key.partition("_")[0] in ("W", "U", "b")]
        if name not in choices:
            raise ValueError(f"name is {name!r}, expected one of {', '.join(map(repr, choices))}")
        if len(letter) != 1 or letter not in self.gates:
            raise ValueError(f"letter is {letter!r}, expected one of {', '.join(map(repr, self.gates))}")
        first = self.gates.index(letter) * self.hidden_size
        return self.params[name][..., first : first + self.hidden_size]

    def weights(self, suffix: str) -> tuple[Array, Array, Array, dict[str, Array]]:
        """W, U, b and the further weights of one layer and direction, such as "_l0" or "_l1_reverse"."""
        W, U, b = (self.params[letter + suffix] for letter in "WUb")
        return W, U, b, {name: self.params[name + suffix] for name in self.cell.weights}

    def products(self, E: Array) -> list[Array] | None:
        """x W + b of the first layer, by direction, for each row x of a table E (V, input_size): for `call` on tokens.

        None for a cell that does more with its inputs.
        """
        if self.cell.inputs:
            return None
        layer = [self.weights(f"_l0{direction}") for direction in self.directions]
        return [sequence.products(E, W, b, len(self.gates)) for W, _, b, _ in layer]

    def call(  # type: ignore[override]
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        train: bool = False,
        keep: bool = True,
        products: list[Array] | None = None,
    ) -> tuple[tuple[Any, Any], Any]:
        """Run all steps: (hs, final state), and this call's way back, `back(dhs=None, dstate=None, truncate=None)`.

        Arguments, results and errors are those of `forward` and `backward`. With `products`, and without `keep`, x is
        packed tokens, integers in [0, V).
        """
        check_flags(train=train)
        x = self._as_x(x) if products is None else x
        T, B = x.shape[:2]
        if isinstance(x, Packed):
            if lengths is not None:
                raise ValueError("lengths is given, but x is packed and knows its own")
            rows, plan = x
        else:
            plan = lengths if isinstance(lengths, Plan) else Plan(T, B, lengths, get_array_module(x))
            rows = plan.pack(x)
        initial = self._unpack(state, B, "state")
        self._begin()
        cell, H, rate = self.cell, self.hidden_size, self.recurrent_dropout
        finals: list[tuple[Array, ...]] = []
        caches: list[Any] = []
        between: list[Array] = []
        for layer in range(self.num_layers):
            if layer > 0 and train and self.dropout:
                between.append(plan.pack(self._mask(f"dropout {layer}", (T, B, rows.shape[1]), self.dropout)))
                rows = dropout.forward(rows, between[-1])
            outputs: list[Array] = []
            beside = None if keep else self.xp.empty((plan.N, len(self.directions) * H), self._compute_dtype())
            for direction in self.directions:
                suffix = f"_l{layer}{direction}"
                mask = self._mask("recurrent" + suffix, (B, H), rate) if train and rate else None
                start = tuple(h if h is None else h[len(finals)] for h in initial)
                W, U, b, further = self.weights(suffix)
                if products is not None and layer == 0:
                    W = products[len(outputs)]
                out = None if beside is None else beside[:, len(outputs) * H : (len(outputs) + 1) * H]
                hs, final, cache = sequence.run(
                    cell, plan, rows, start, W, U, b, further, mask, direction == "_reverse", keep, out
                )
                outputs.append(hs)
                finals.append(final)
                caches.append(cache)
            if beside is not None:
                rows, outputs = beside, [beside]
            elif layer + 1 < self.num_layers or isinstance(x, Packed):
                rows = outputs[0] if len(outputs) == 1 else self.xp.concatenate(outputs, axis=1)
        result = Packed(rows, plan) if isinstance(x, Packed) else plan.unpack(*outputs)
        if isinstance(result, np.ndarray):
            result.flags.writeable = False
        state = self._pack(self.xp.stack(parts) for parts in zip(*finals))

        def back(dhs: Any = None, dstate: Any = None, truncate: int | None = None) -> tuple[Any, Any]:
            width = H * len(self.directions)
            upstream = self._unpack(dstate, B, "dstate")
            if dhs is not None:
                dhs = _upstream("dhs", dhs, (T, B, width), self._compute_dtype(), "(T, B, directions*H)")
                check_module("dhs", dhs.data if isinstance(dhs, Packed) else dhs, plan.xp)
            sequence.check_truncate(truncate)
            d = None if dhs is None else dhs.data if isinstance(dhs, Packed) else plan.pack(dhs)
            dinitial: list[Any] = [None] * len(caches)
            gradients: dict[str, Array] = {}
            for layer in reversed(range(self.num_layers)):
                dx = None
                for k, direction in enumerate(self.directions):
                    at, suffix = layer * len(self.directions) + k, f"_l{layer}{direction}"
                    part = None if d is None else d if width == H else d[:, k * H : (k + 1) * H]
                    last = tuple(h if h is None else h[at] for h in upstream)
                    through, dinitial[at], found = sequence.run_back(caches[at], part, last, truncate)
                    gradients |= {name + suffix: gradient for name, gradient in found.items()}
                    if dx is None:
                        dx = through
                    else:
                        dx += through
                if layer > 0 and between:
                    dx = dropout.backward(dx, between[layer - 1])
                d = dx
            self._add_gradients(gradients)
            before = self._pack(self.xp.stack(parts) for parts in zip(*dinitial))
            return Packed(d, plan) if isinstance(x, Packed) else plan.unpack(d), before

        return (result, state), back if keep else None

    def forward(  # type: ignore[override]
        self, x: Array, state: Any = None, lengths: Any = None, train: bool = False
    ) -> tuple[Array, Any]:
        """Run all steps, with dropout if `train`.

        Arguments are arrays of the layer's dtype, or numbers without one, such as lists, which take it on. x (T, B,
        input_size); state h (layers*directions, B, H), for an LSTM the pair (h, c), or None for zeros;
        lengths (B,) integers from 1 to T, on the host, or None. Returns hs (T, B, directions*H), zero past each
        sequence's end, and the final state, shaped as the initial one. Backward needs hs as it is: on the host it is
        read-only, which arrays on a GPU cannot be.

        Raises ValueError or TypeError for a wrong shape, dtype or length.
        """
        result, self._back = self.call(x, state, lengths, train)
        return result

    def backward(self, dhs: Array | None = None, dstate: Any = None, truncate: int | None = None) -> tuple[Array, Any]:
        """Back-propagate through time, given the gradients of hs and of the final state, both optional.

        dhs (T, B, directions*H), dstate shaped as the state. Fills `grads`; returns dx (T, B, input_size) and the
        gradient of the initial state. `truncate=k` lets no gradient pass from step t to t-1 where k divides t, steps
        being counted as each direction reads them.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        return self._recall()(dhs, dstate, truncate)

    def explain(self, x: Any, lengths: Any = None, train: bool = True) -> cuda.Explanation:
        """How `forward` and `backward` run on such an x, and why: the path, launches a step, bytes kept for the way
        back, and in what matrices are multiplied. `with rnnscratch.kernels.cuda.use("steps"):` forces a path; 1 in the
        environment's CUPY_TF32 lets a GPU multiply float32 matrices in TF32, as `rnnscratch.kernels.cuda.precision`
        says.

        Arguments and errors are those of `forward`.

        >>> LSTM(3, 4, seed=0).explain(np.ones((5, 2, 3), np.float32))    # doctest: +NORMALIZE_WHITESPACE
        Explanation(path='arrays', why='on the CPU the array code is the fast path', launches_a_step=0,
                    bytes_kept=1184, products='float32')
        """
        x = self._as_x(x)
        (T, B, _), H, cell = x.shape, self.hidden_size, self.cell
        plan = x.plan if isinstance(x, Packed) else Plan(T, B, lengths, self.xp)
        way = cuda.path_of(cell, self.xp, x.dtype, B, H)
        numbers = sequence.numbers_kept(cell, plan, H, bool(train and self.recurrent_dropout))
        kept = numbers * x.dtype.itemsize * self.num_layers * len(self.directions)
        launches, products = cuda.launches_a_step(cell, way.name, self.xp), cuda.precision(self.xp, x.dtype)
        return cuda.Explanation(*way, launches, kept, products)

    def step(self, x: Array, state: Any = None) -> tuple[Array, Any]:
        """One step: x (B, input_size) and the state before it -> h of the last layer (B, H) and the state after it.

        The state is shaped as in `forward`. Keeps nothing for a way back. Raises ValueError for a bidirectional layer,
        which must have seen the whole sequence, and ValueError or TypeError for a wrong shape or dtype.
        """
        if self.bidirectional:
            raise ValueError("step needs a layer that reads in one direction, but this one is bidirectional")
        if type(x) is not np.ndarray:
            x = as_operand("x", x, self.params["W_l0"].dtype)
        given: tuple[int, ...] = x.shape
        if len(given) != 2 or given[1] != self.input_size or given[0] == 0:
            raise ValueError(f"x has shape {given}, expected (B, {self.input_size})")
        x = check_shape("x", x, given, self.params["W_l0"].dtype, "(B, input_size)")
        cell, B, shape = self.cell, given[0], (self.num_layers, given[0], self.hidden_size)
        get_array_module(x, self.params["W_l0"])
        before = [self.xp.zeros(shape, x.dtype) if h is None else h for h in self._unpack(state, B, "state")]
        after = [self.xp.empty(shape, x.dtype) for _ in before]
        for layer in range(self.num_layers):
            prev, new = [h[layer] for h in before], [h[layer] for h in after]
            sequence.one_step(cell, x, prev, new, *self.weights(f"_l{layer}"))
            x = new[0]
        return x, self._pack(after)

    def _through(self, x: Any, lengths: Any, train: bool, keep: bool) -> tuple[Any, Any]:
        (hs, _), back = self.call(x, None, lengths, train, keep)
        return hs, back and (lambda dhs: back(dhs)[0])

    def _as_x(self, x: Any) -> Any:
        """x as an array of the parameters' dtype and three axes. Raises TypeError or ValueError."""
        dtype = self._compute_dtype()
        x = x if isinstance(x, Packed) else as_operand("x", x, dtype)
        if len(x.shape) != 3 or x.shape[2] != self.input_size or 0 in x.shape:
            raise ValueError(
                f"x has shape {x.shape}, expected (T, B, {self.input_size}) with at least one step and one sequence"
            )
        if x.dtype != dtype:
            raise TypeError(f"x has dtype {x.dtype}, expected {dtype} as the parameters")
        check_module("x", x.data if isinstance(x, Packed) else x, get_array_module(*self.params.values()))
        return x

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
        for k, (letter, part) in enumerate(zip(self.states, parts)):
            if part is not None:
                label = name if len(self.states) == 1 else f"{name} {letter}"
                parts[k] = check_shape(label, part, shape, self._compute_dtype(), "(layers*directions, B, H)")
                check_module(label, parts[k], get_array_module(*self.params.values()))
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
        self.activation = rnn.check_activation(activation)
        self._cell_options = {"activation": activation}
        super().__init__(input_size, hidden_size, *args, **options)

    @classmethod
    def cell_of(cls, activation: str = "tanh", **options: Any) -> sequence.Cell:
        """That of the activation."""
        return rnn.CELLS[activation]


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

    @classmethod
    def cell_of(cls, **options: Any) -> sequence.Cell:
        """The LSTM's."""
        return lstm.CELL

    def _initial(self, letter: str, shape: tuple[int, ...]) -> np.ndarray:
        if letter == "b":
            return np.repeat([float(gate == "f") for gate in self.gates], self.hidden_size)
        return super()._initial(letter, shape)


class PeepholeLSTM(LSTM):
    """LSTM layers whose gates also see c, through `P_l{l}` (3H,) for i, f, o (Gers et al. 2000); P starts at 0."""

    @classmethod
    def cell_of(cls, **options: Any) -> sequence.Cell:
        """The LSTM's with peepholes."""
        return peephole.CELL


class LayerNormLSTM(LSTM):
    """Layer-normalised LSTM layers (Ba et al. 2016): x W and h U have mean 0 and variance 1 over the 4H columns of a
    row, c over its H units.

    The gains `gx_l{l}`, `gh_l{l}` (4H,) and `gc_l{l}` (H,) start at 1, the bias of c `bc_l{l}` (H,) at 0.
    """

    @classmethod
    def cell_of(cls, **options: Any) -> sequence.Cell:
        """The LSTM's with layer normalisation."""
        return layer_norm.CELL

    def _initial(self, letter: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.ones(shape) if letter in ("gx", "gh", "gc") else super()._initial(letter, shape)


class GRU(Recurrent):
    """Gated recurrent units; gate order r, z, n; h = z h_prev + (1 - z) n (Eqs 75-78).

    With `reset_after=False` the reset gate acts before the product with U (Eq. 77); with True after it, as in cuDNN,
    PyTorch and Keras, which need the further bias `bn_l{l}` (H,).

    >>> GRU(3, 4, seed=0).num_params, GRU(3, 4, reset_after=True, seed=0).num_params     # 3(n + m + 1)m, and m more
    (96, 100)
    """

    gates = "rzn"

    def __init__(self, input_size: int, hidden_size: int, *args: Any, reset_after: bool = False, **options: Any):
        check_flags(reset_after=reset_after)
        self.reset_after = bool(reset_after)
        self._cell_options = {"reset_after": self.reset_after}
        super().__init__(input_size, hidden_size, *args, **options)

    @classmethod
    def cell_of(cls, reset_after: bool = False, **options: Any) -> sequence.Cell:
        """The form with the reset gate before or after the product."""
        return gru.AFTER if reset_after else gru.BEFORE


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
        self._add("E", self.rng.normal(0.0, 0.1, self.parameter_shapes(num_embeddings, embedding_dim)["E"]))

    @staticmethod
    def parameter_shapes(num_embeddings: int, embedding_dim: int) -> dict[str, tuple[int, ...]]:
        """The name and shape of every parameter of a layer of these sizes, of which none is made."""
        return {"E": (num_embeddings, embedding_dim)}

    def call(self, x: Any, train: bool = False, keep: bool = True) -> tuple[Any, Any]:
        """ids (T, B) integers in [0, num_embeddings) -> (T, B, embedding_dim), and the way back; ids have no gradient.

        Ids on the host are checked there, and moved to where the table is. Those on a device are read back to be
        checked, for which it is waited, but not if they are packed. Raises TypeError or ValueError for others.
        """
        plan = x.plan if isinstance(x, Packed) else None
        ids = check_ids(x, self.num_embeddings) if plan is None else x.data
        if get_array_module(ids) is np:
            ids = self.xp.asarray(ids)
        shape = (*(ids if plan is None else x).shape, self.embedding_dim)
        self._begin()
        found, cache = embedding.forward(ids, self.params["E"])

        def back(dx: Any) -> None:
            dx = _upstream("dx", dx, shape, self._compute_dtype(), "as the output")
            if "E" not in self.fixed:
                self._add_gradients({"E": embedding.backward(cache, dx if plan is None else dx.data)})

        return found if plan is None else Packed(found, plan), back if keep else None


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
        for name, shape in self.parameter_shapes(input_size, output_size).items():
            self._add(name, glorot_uniform(shape[0], shape[1], self.rng) if name == "W" else np.zeros(shape))

    @staticmethod
    def parameter_shapes(input_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
        """The name and shape of every parameter of a layer of these sizes, of which none is made."""
        return {"W": (input_size, output_size), "b": (output_size,)}

    def call(self, x: Array, train: bool = False, keep: bool = True) -> tuple[Array, Any]:
        """x (..., D) -> (..., K), and the way back. Raises ValueError or TypeError for a wrong shape or dtype."""
        x = as_operand("x", x, self._compute_dtype())
        shape = (*x.shape[:-1], self.input_size)
        check_shape("x", x, shape, self._compute_dtype(), "(..., input_size)")
        self._begin()
        y, cache = dense.forward(x, self.params["W"], self.params["b"])

        def back(dy: Array) -> Array:
            dy = check_shape("dy", dy, (*shape[:-1], self.output_size), self._compute_dtype(), "as the output")
            dx, dW, db = dense.backward(cache, dy)
            self._add_gradients({"W": dW, "b": db})
            return dx

        return y, back if keep else None


class Attention(Layer):
    """What a query needs of a memory: the mean of its steps, weighed by how well each fits (kernels/attention.py).

    kind "dot": the score of query q and step m is q . (m W_k), "general" in Luong et al. 2015; "additive": w . tanh(q
    W_q + b + m W_k), Bahdanau et al. 2015, with vectors of `size` numbers. W_k (M, size), W_q (query_size, size) and w
    (size,) start Glorot-uniform, b at 0.
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        kind: str = "dot",
        size: int | None = None,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_choice("kind", kind, ("dot", "additive"))
        size = query_size if size is None else size
        check_sizes(query_size=query_size, memory_size=memory_size, size=size)
        if kind == "dot" and size != query_size:
            raise ValueError(f"size is {size}, expected {query_size} as query_size where kind is 'dot'")
        options: dict[str, Any] = {"query_size": query_size, "memory_size": memory_size, "kind": kind, "size": size}
        super().__init__(dtype, device, seed, **options)
        self.query_size, self.memory_size, self.kind, self.size = query_size, memory_size, kind, size
        for name, shape in self.parameter_shapes(**options).items():
            start = np.zeros(shape) if name == "b" else glorot_uniform(shape[0], (*shape, 1)[1], self.rng)
            self._add(name, start.reshape(shape))

    @staticmethod
    def parameter_shapes(
        query_size: int, memory_size: int, kind: str = "dot", size: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        """The name and shape of every parameter of a layer of these sizes, of which none is made."""
        A = query_size if size is None else size
        own = {"W_q": (query_size, A), "b": (A,), "w": (A,)} if kind == "additive" else {}
        return {"W_k": (memory_size, A), **own}

    def remember(self, memory: Any, lengths: Any = None) -> attention.Memory:
        """memory (S, B, M), of these lengths (B,), to be asked step by step (`look`)."""
        memory = self._as("memory", memory, self.memory_size)
        return attention.remember(memory @ self.params["W_k"], memory, lengths)

    def look(self, q: Any, remembered: attention.Memory) -> tuple[Array, Array]:
        """q (T, B, query_size) -> the contexts (T, B, M) and the weights (T, B, S). Keeps nothing for a way back."""
        return self._attend(self._as("q", q, self.query_size), remembered)[:2]

    def call(  # type: ignore[override]
        self, q: Any, memory: Any, lengths: Any = None, train: bool = False, keep: bool = True
    ) -> tuple[tuple[Array, Array], Any]:
        """(contexts, weights), as `forward` gives them, and this call's way back, `back(dcontext, dweights=None)`."""
        q, memory = self._as("q", q, self.query_size), self._as("memory", memory, self.memory_size)
        self._begin()
        contexts, weights, cache = self._attend(q, self.remember(memory, lengths))

        def back(dcontext: Any, dweights: Any = None) -> tuple[Array, Array]:
            if self.kind == "dot":
                dq, dk, dmemory = attention.dot_backward(cache, dcontext, dweights)
                gradients = {}
            else:
                dz, dk, dmemory, dw = attention.additive_backward(cache, dcontext, dweights)
                dq = dz @ self.params["W_q"].T  # z = q W_q + b
                gradients = {"W_q": _rows(q).T @ _rows(dz), "b": _rows(dz).sum(axis=0), "w": dw}
            self._add_gradients({"W_k": _rows(memory).T @ _rows(dk), **gradients})  # k = memory W_k
            return dq, dmemory + dk @ self.params["W_k"].T

        return (contexts, weights), back if keep else None

    def forward(  # type: ignore[override]
        self, q: Any, memory: Any, lengths: Any = None, train: bool = False
    ) -> tuple[Array, Array]:
        """q (T, B, query_size), memory (S, B, memory_size) -> the contexts (T, B, memory_size), and the weights (T, B,
        S), which are 0 past the end of each memory, lengths (B,).

        Raises TypeError or ValueError for a wrong shape, dtype or length.
        """
        result, self._back = self.call(q, memory, lengths, train)
        return result

    def backward(self, dcontext: Any, dweights: Any = None) -> tuple[Array, Array]:
        """The gradients of q and memory, given those of the contexts and, optionally, of the weights; fills `grads`.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        return self._recall()(dcontext, dweights)

    def _attend(self, q: Array, remembered: attention.Memory) -> Any:
        if self.kind == "dot":
            return attention.dot_attend(q, remembered)
        return attention.additive_attend(q @ self.params["W_q"] + self.params["b"], remembered, self.params["w"])

    def _as(self, name: str, value: Any, size: int) -> Array:
        value = as_operand(name, value, self._compute_dtype())
        if value.ndim != 3 or 0 in value.shape:
            raise ValueError(f"{name} has shape {value.shape}, expected (steps, B, {size}), none 0")
        return check_shape(name, value, (*value.shape[:2], size), self._compute_dtype(), f"(steps, B, {size})")


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
        check_flags(variational=variational)
        super().__init__(dtype, device, seed, rate=rate, variational=bool(variational))
        self.rate, self.variational = rate, bool(variational)

    def call(self, x: Any, train: bool = False, keep: bool = True) -> tuple[Any, Any]:
        """x (T, B, D), or any shape if not variational, -> the same shape, and the way back."""
        x = x if isinstance(x, Packed) else as_operand("x", x, self.dtype)
        check_dtype(x.dtype, "x's dtype")
        plan, mask = x.plan if isinstance(x, Packed) else None, None
        if train and self.rate:
            mask = self._mask("mask", (1, *x.shape[1:]) if self.variational else x.shape, self.rate)
            mask = mask.astype(x.dtype, copy=False)
            if plan is not None:
                mask = mask[0][plan.sequence] if self.variational else plan.pack(mask)

        def back(dy: Any) -> Any:
            dy = _upstream("dy", dy, x.shape, x.dtype, "as the output")
            if mask is None:
                return dy
            return dropout.backward(dy, mask) if plan is None else Packed(dropout.backward(dy.data, mask), plan)

        if mask is not None:
            x_out = dropout.forward(x, mask) if plan is None else Packed(dropout.forward(x.data, mask), plan)
            return x_out, back if keep else None
        return x, back if keep else None


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
        self._back: Any = None

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

    def call(self, x: Any, lengths: Any = None, train: bool = False, keep: bool = True) -> tuple[Any, Any]:
        """Through all layers in order, and the way back; `lengths` goes to the recurrent ones."""
        backs = []
        for layer in self.layers:
            if hasattr(layer, "_through"):
                x, back = layer._through(x, lengths, train, keep)
            else:
                x, back = layer.forward(x, train=train), layer.backward
            backs.append(back)

        def back_through_all(dy: Any) -> Any:
            for back in reversed(backs):
                dy = back(dy)
            return dy

        return x, back_through_all if keep else None

    _through = call

    def forward(self, x: Array, lengths: Any = None, train: bool = False) -> Array:
        """Through all layers in order; `lengths` goes to the recurrent ones."""
        y, self._back = self.call(x, lengths, train)
        return y

    def backward(self, dy: Array) -> Array:
        """Through all layers in reverse order; returns the gradient of the input (None where that is token ids)."""
        if self._back is None:
            raise RuntimeError("Sequential.backward was called before forward")
        self._start_from_zero()
        return self._back(dy)

    def _start_from_zero(self) -> None:
        for layer in self.layers:
            layer._start_from_zero()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_back": None}


def _rows(array: Array) -> Array:
    """(T, B, K) -> (T B, K)."""
    return array.reshape(-1, array.shape[2])


def _upstream(name: str, given: Any, shape: tuple[int, ...], dtype: Any, meaning: str) -> Any:
    """`check_shape`, also of what is packed."""
    if not isinstance(given, Packed):
        return check_shape(name, given, shape, dtype, meaning)
    if given.shape != shape or given.dtype != dtype:
        raise ValueError(f"{name} has shape {given.shape} and dtype {given.dtype}, expected {shape} and {dtype}")
    return given


def glorot_uniform(inputs: int, outputs: int, rng: np.random.Generator) -> np.ndarray:
    """(inputs, outputs) from U(-l, l) with l = sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010).

    Raises TypeError or ValueError unless both are whole numbers of at least 1.
    """
    check_sizes(inputs=inputs, outputs=outputs)
    limit = math.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-limit, limit, (inputs, outputs))


def orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random (size, size) matrix that keeps lengths: a product of many does not grow or shrink (Saxe et al. 2014).

    Raises TypeError or ValueError unless size is a whole number of at least 1.
    """
    check_sizes(size=size)
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.sign(np.diag(r))
