"""Sequence classification (4.3 of the report): embedding -> recurrent layers -> pooling over time -> dense -> loss.

T steps, B sequences, V words, E embedding_dim, H hidden_size, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import Array, generator, get_array_module, to_cpu
from ..checks import check_lengths, check_rates, check_shape, check_sizes
from ..kernels import losses, pooling
from ..kernels.activations import ACTIVATIONS
from ..layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, Recurrent

CELLS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
POOLINGS = ("last", "mean", "max", "mean+max")
OPTIONS_OF_CELL = {"rnn": ("activation",), "lstm": (), "gru": ("reset_after",)}


class SequenceClassifier:
    """Classifies sequences of token ids, with hand-written forward and backward passes.

    `pooling` says what the dense layer sees of the top recurrent layer: the "last" state (of both directions where
    bidirectional), the "mean" or "max" of all real steps, or "mean+max" side by side. Two classes need one logit and
    binary cross-entropy; more have one logit each and softmax. `dropout` acts between stacked layers and before the
    dense layer, `word_dropout` puts the unknown word in a word's place, `embedding_dropout` acts on the embeddings
    and `recurrent_dropout` on the state, each with one mask for all steps of a sequence. `activation` is the "rnn"
    cell's, `reset_after` the "gru" cell's.

    Raises ValueError or TypeError for an argument that is none of these.

    >>> model = SequenceClassifier(vocabulary_size=100, embedding_dim=3, hidden_size=4, seed=0)
    >>> model.num_params == 100 * 3 + 4 * (3 + 4 + 1) * 4 + (4 + 1)
    True
    >>> model.forward(np.array([[5, 8], [6, 0], [7, 0]]), lengths=[3, 1]).shape
    (2,)
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 64,
        hidden_size: int = 64,
        num_classes: int = 2,
        cell: str = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        activation: str = "tanh",
        reset_after: bool = False,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        check_sizes(
            vocabulary_size=vocabulary_size,
            embedding_dim=embedding_dim,
            hidden_size=hidden_size,
            num_classes=num_classes,
            num_layers=num_layers,
        )
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}, expected at least 2")
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}, expected one of {', '.join(map(repr, CELLS))}")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}, expected one of {', '.join(map(repr, POOLINGS))}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, expected one of {', '.join(map(repr, ACTIVATIONS))}")
        check_rates(dropout=dropout, embedding_dropout=embedding_dropout, recurrent_dropout=recurrent_dropout)
        check_rates(word_dropout=word_dropout)
        self.vocabulary_size, self.num_classes, self.pooling = int(vocabulary_size), int(num_classes), pooling
        self.rng = generator(seed)  # one generator for all layers, so that its state is the whole random state
        shared: dict[str, Any] = {"dtype": dtype, "device": device, "seed": self.rng}
        options: dict[str, Any] = {"activation": activation, "reset_after": bool(reset_after)}
        self.embedding = Embedding(vocabulary_size, embedding_dim, **shared)
        self.embedding_dropout = Dropout(embedding_dropout, variational=True, **shared)
        self.recurrent = CELLS[cell](
            embedding_dim,
            hidden_size,
            num_layers,
            bool(bidirectional),
            dropout,
            recurrent_dropout,
            **shared,
            **{name: options[name] for name in OPTIONS_OF_CELL[cell]},
        )
        self.dropout = Dropout(dropout, **shared)
        self.word_dropout = word_dropout
        self._kept_words: Any = None
        self._parts = pooling.split("+")
        self._width = hidden_size * len(self.recurrent.directions)  # of each part
        self.dense = Dense(self._width * len(self._parts), logit_count(num_classes), **shared)
        self.dtype, self.xp = self.dense.dtype, self.dense.xp
        self._cache: Any = None
        self._config = {
            "vocabulary_size": int(vocabulary_size),
            "embedding_dim": int(embedding_dim),
            "hidden_size": int(hidden_size),
            "num_classes": int(num_classes),
            "cell": cell,
            "num_layers": int(num_layers),
            "bidirectional": bool(bidirectional),
            "pooling": pooling,
            "dropout": float(dropout),
            "embedding_dropout": float(embedding_dropout),
            "word_dropout": float(word_dropout),
            "recurrent_dropout": float(recurrent_dropout),
            **options,
            "dtype": self.dtype.name,
            "device": device,
        }

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
    def num_params(self) -> int:
        """How many numbers the model learns."""
        return sum(array.size for array in self.params.values())

    @property
    def frozen(self) -> bool:
        """Whether training passes reuse the dropout masks of the last one, as a gradient check must."""
        return self.recurrent.frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        for layer in (self.embedding_dropout, self.recurrent, self.dropout):
            layer.frozen = value

    def forward(self, ids: Array, lengths: Any = None, train: bool = False) -> Array:
        """ids (T, B) integers in [0, V), lengths (B,) from 1 to T on the host or None -> logits (B,), or (B, K) for K
        > 2.

        Raises ValueError or TypeError for a wrong shape, dtype, id or length. Ids past a sequence's end change
        nothing, but must be in range.
        """
        if getattr(ids, "ndim", None) != 2:
            raise ValueError(f"ids has shape {getattr(ids, 'shape', None)}, expected (T, B) = (steps, sequences)")
        lengths = check_lengths(lengths, *ids.shape)
        if train and self.word_dropout:
            ids = self._drop_words(ids)
        x = self.embedding_dropout.forward(self.embedding.forward(ids), train)
        hs, state = self.recurrent.forward(x, lengths=lengths, train=train)
        h = state[0] if isinstance(state, tuple) else state
        pooled, caches = [], []
        for part in self._parts:
            features, cache = pool(part, hs, h, lengths, len(self.recurrent.directions))
            pooled.append(features)
            caches.append(cache)
        features = pooled[0] if len(pooled) == 1 else self.xp.concatenate(pooled, axis=1)
        logits = self.dense.forward(self.dropout.forward(features, train))
        self._cache = caches, h.shape, logits.shape
        return logits[:, 0] if self.num_classes == 2 else logits

    def backward(self, dlogits: Array) -> None:
        """Fill `grads` from the gradient of the logits, shaped as these.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        if self._cache is None:
            raise RuntimeError("SequenceClassifier.backward was called before forward")
        caches, state_shape, (B, K) = self._cache
        check_shape("dlogits", dlogits, (B,) if K == 1 else (B, K), self.dense.params["W"].dtype, "as the logits")
        dfeatures = self.dropout.backward(self.dense.backward(dlogits.reshape(B, K)))
        dhs, dh = None, None
        for k, (part, cache) in enumerate(zip(self._parts, caches)):
            dpooled = dfeatures[:, k * self._width : (k + 1) * self._width]
            if part == "last":
                dh = last_backward(dpooled, state_shape)
            else:
                share = (
                    pooling.mean_backward(cache, dpooled) if part == "mean" else pooling.max_backward(cache, dpooled)
                )
                dhs = share if dhs is None else dhs + share
        dstate = (dh, None) if len(self.recurrent.states) == 2 else dh
        dx, _ = self.recurrent.backward(dhs, dstate)
        self.embedding.backward(self.embedding_dropout.backward(dx))

    def loss(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """The mean cross-entropy of the logits against labels (B,) in [0, K), and its gradient with respect to them."""
        if self.num_classes == 2:
            return losses.binary_cross_entropy(logits, labels)
        return losses.softmax_cross_entropy(logits, labels)

    def predict_proba(self, ids: Array, lengths: Any = None) -> Array:
        """The probability of each class (B, K), K = 2 included; arguments as for `forward`."""
        return probabilities(self.forward(ids, lengths))

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
        return f"SequenceClassifier({', '.join(f'{name}={value!r}' for name, value in self._config.items())})"

    def __getstate__(self) -> dict[str, Any]:
        params = {name: to_cpu(array) for name, array in self.params.items()}
        return {"config": self._config, "params": params, "rng": self.rng}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rng = state["rng"]
        random_state = rng.bit_generator.state
        SequenceClassifier.__init__(self, **state["config"], seed=rng)
        rng.bit_generator.state = random_state
        self.load_params(state["params"])

    def _drop_words(self, ids: Array) -> Array:
        """The ids with the unknown word, 0, in the place of each with probability `word_dropout`."""
        if not self.frozen or self._kept_words is None or self._kept_words.shape != ids.shape:
            self._kept_words = self.xp.asarray(self.rng.random(ids.shape) >= self.word_dropout)
        return ids * self._kept_words

    def _layers(self) -> tuple[tuple[str, Any], ...]:
        return ("embedding", self.embedding), ("recurrent", self.recurrent), ("dense", self.dense)


def pool(part: str, hs: Array, h: Array, lengths: np.ndarray | None, directions: int) -> tuple[Array, Any]:
    """One part of the pooling:

    hs (T, B, directions*H), final states h (layers*directions, B, H) -> (B, directions*H).
    """
    if part == "mean":
        return pooling.mean_forward(hs, lengths)
    if part == "max":
        return pooling.max_forward(hs, lengths)
    top = h[-directions:]
    return (top[0] if directions == 1 else get_array_module(h).concatenate([top[0], top[1]], axis=1)), None


def last_backward(dlast: Array, shape: tuple[int, int, int]) -> Array:
    """dlast (B, directions*H) -> the gradient of the final states (layers*directions, B, H): 0 but in the top layer."""
    H = shape[2]
    directions = dlast.shape[1] // H
    dh = get_array_module(dlast).zeros(shape, dlast.dtype)
    for d in range(directions):
        dh[d - directions] = dlast[:, d * H : (d + 1) * H]
    return dh


def probabilities(logits: Array) -> Array:
    """logits (B,) of class 1 against class 0, or (B, K) -> the probabilities (B, 2) or (B, K) (g of Eq. 42)."""
    if logits.ndim == 2:
        return losses.softmax(logits)
    p = losses.sigmoid(logits)
    return get_array_module(logits).stack([1 - p, p], axis=1)


def logit_count(num_classes: int) -> int:
    """One logit tells two classes apart; more classes have one each."""
    return 1 if num_classes == 2 else num_classes


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter of a model with this `config()`, without making one.

    >>> model = SequenceClassifier(10, 3, 4, cell="gru", bidirectional=True, pooling="mean+max", seed=0)
    >>> parameter_shapes(model.config()) == {name: array.shape for name, array in model.params.items()}
    True
    """
    E, H, gates = config["embedding_dim"], config["hidden_size"], len(CELLS[config["cell"]].gates)
    directions = ("", "_reverse") if config["bidirectional"] else ("",)
    shapes: dict[str, tuple[int, ...]] = {"embedding.E": (config["vocabulary_size"], E)}
    for layer in range(config["num_layers"]):
        for direction in directions:
            suffix = f"_l{layer}{direction}"
            shapes[f"recurrent.W{suffix}"] = (E if layer == 0 else H * len(directions), gates * H)
            shapes[f"recurrent.U{suffix}"] = (H, gates * H)
            shapes[f"recurrent.b{suffix}"] = (gates * H,)
            if config["cell"] == "gru" and config["reset_after"]:
                shapes[f"recurrent.bn{suffix}"] = (H,)
    parts, logits = len(config["pooling"].split("+")), logit_count(config["num_classes"])
    shapes["dense.W"], shapes["dense.b"] = (H * len(directions) * parts, logits), (logits,)
    return shapes
