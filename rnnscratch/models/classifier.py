"""Sequence classification (4.3 of the report): embedding -> recurrent layers -> pooling over time -> dense -> loss.

T steps, B sequences, V words, E embedding_dim, H hidden_size, K classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..backend import Array, check_dtype, generator, get_array_module, module_for, to_cpu
from ..checks import (
    are_soft,
    as_array,
    check_choice,
    check_flags,
    check_labels,
    check_number,
    check_rates,
    check_sequences,
    check_shape,
    check_sizes,
    non_finite,
)
from ..kernels import losses, pooling
from ..kernels.activations import ACTIVATIONS
from ..kernels.packing import Packed
from ..layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, LayerNormLSTM, PeepholeLSTM, Recurrent
from ..metrics import classification_scores
from ..text.batches import Batch, Batches
from .logits import decide, hard, probabilities
from .noise import NoisyModel, learns

CELLS: dict[str, type[Recurrent]] = {  # a new cell is entered here alone
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "peephole": PeepholeLSTM,
    "layer_norm": LayerNormLSTM,
}
POOLINGS = ("last", "mean", "max", "mean+max")
CHOICES = {"cell": CELLS, "pooling": POOLINGS, "activation": ACTIVATIONS}
PRODUCTS = 2**25  # numbers that prediction may look up instead of multiplying for each token
NOISE = ("adversarial", "virtual", "noise_weight")  # options that are numbers of at least 0


class SequenceClassifier(NoisyModel):
    """Classifies sequences of token ids, with hand-written forward and backward passes.

    `pooling` says what the dense layer sees of the top recurrent layer: the "last" state (of both directions where
    bidirectional), the "mean" or "max" of all real steps, or "mean+max" side by side. Two classes need one logit and
    binary cross-entropy; more have one logit each and softmax. `dropout` acts between stacked layers and before the
    dense layer, `word_dropout` puts the unknown word in a word's place, `embedding_dropout` acts on the embeddings
    and `recurrent_dropout` on the state, each with one mask for all steps of a sequence. `activation` is the "rnn"
    cell's, `reset_after` the "gru" cell's.

    `embeddings`, an array (V, E) or a `Word2Vec` with that many `vectors`, are where the embedding's table starts; with
    `freeze` it stays so. `fixed` names the parameters that do not learn. Labels are whole numbers, or the probabilities
    of all classes (N, K), say those that another model gives (Hinton et al. 2015). `label_smoothing` takes so much of
    the labels that training is to meet and shares it among all classes.

    Training also meets noise on the word vectors (Miyato et al. 2017), of norm `adversarial` over a sequence, in units
    of the vectors' standard deviations: the noise that raises the loss the most; and, of norm `virtual`, that which
    changes the probabilities the most, for which sequences may be without a label, -1. What `noise_weight` times the
    loss under the former and the Kullback-Leibler divergence under the latter are is added to the loss; of unlabelled
    sequences it is the divergence alone. Passes with and without noise have the same dropout masks. Each of several
    workers measures the deviations on its own part of the batch.

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
        embeddings: Any = None,
        freeze: bool = False,
        label_smoothing: float = 0.0,
        adversarial: float = 0.0,
        virtual: float = 0.0,
        noise_weight: float = 1.0,
    ):
        self._config = config = configuration(locals())
        table = None if embeddings is None else as_table(embeddings, config)
        self.rng = generator(seed)  # one generator for all layers, so that its state is the whole random state
        shared: dict[str, Any] = {"dtype": config["dtype"], "device": device, "seed": self.rng}
        sizes = layer_arguments(config)
        self.embedding = Embedding(**sizes["embedding"], **shared)
        self.embedding_dropout = Dropout(embedding_dropout, variational=True, **shared)
        self.recurrent = CELLS[cell](**sizes["recurrent"], **shared)
        self.dropout = Dropout(dropout, **shared)
        self.dense = Dense(**sizes["dense"], **shared)
        self.vocabulary_size, self.num_classes = config["vocabulary_size"], config["num_classes"]
        self.pooling, self.word_dropout, self.label_smoothing = pooling, word_dropout, label_smoothing
        self.adversarial, self.virtual, self.noise_weight = adversarial, virtual, noise_weight
        self.dtype, self.xp = self.dense.dtype, self.dense.xp
        self._parts = pooling.split("+")
        self._width = hidden_size * len(self.recurrent.directions)  # of each part
        self._back: Any = None
        if table is not None:
            self.embedding.params["E"][...] = self.xp.asarray(table)
        self.fixed = frozenset(["embedding.E"]) if freeze else frozenset()

    def call(
        self, ids: Array, lengths: Any = None, train: bool = False, keep: bool = True, products: Any = None
    ) -> tuple[Array, Any]:
        """The logits, as `forward` gives them, and this call's way back, a function of their gradient.

        See layers.py on several calls in one pass, and on `keep`. `products` are those of `_products`.
        """
        if products is not None:
            return self._read(self._pack(ids, lengths, False, "sequences"), False, False, products)
        _, x, embed_back = self._embed(ids, lengths, train, keep)
        logits, read_back = self._read(x, train, keep)
        if not keep:
            return logits, None
        del x

        def way_back(dlogits: Array) -> None:
            dx = read_back(dlogits, learns(self.embedding))
            if dx is not None:
                embed_back(dx)

        return logits, way_back

    def _embed(self, ids: Array, lengths: Any, train: bool, keep: bool) -> tuple[Packed, Packed, Any]:
        """The vectors of the words as they are in the table and as they are read, both packed, and the way back.

        The way back takes the gradient of those that are read, and maybe one more of those in the table.
        """
        packed = self._pack(ids, lengths, train, "sequences")
        plan = packed.plan
        words, table_back = self.embedding.call(packed, train, keep)
        x, dropout_back = self.embedding_dropout.call(words, train, keep)

        def back(dx: Packed, dwords: Array | None = None) -> None:
            through = dropout_back(dx)
            table_back(through if dwords is None else Packed(through.data + dwords, plan))

        return words, x, back

    def _products(self, tokens: int) -> list[Array] | None:
        """What the recurrent layer makes of each word's vector, to look up for so many tokens; None if that is dear."""
        V, layer = self.vocabulary_size, self.recurrent
        numbers = V * len(layer.directions) * len(layer.gates) * layer.hidden_size
        if self.xp is not np or tokens <= V or numbers > PRODUCTS:
            return None
        return layer.products(self.embedding.params["E"])

    def _read(self, x: Packed, train: bool, keep: bool, products: Any = None) -> tuple[Array, Any]:
        """The logits of packed word vectors, or of packed ids and `products`, and the way back.

        The way back gives the gradient of the vectors if it is asked to go on to them, else None.
        """
        plan, B = x.plan, x.plan.B
        (hs, state), recurrent_back = self.recurrent.call(x, train=train, keep=keep, products=products)
        h = state[0] if isinstance(state, tuple) else state
        parts = [pool(part, hs, h, len(self.recurrent.directions), keep) for part in self._parts]
        pooled = parts[0][0] if len(parts) == 1 else self.xp.concatenate([features for features, _ in parts], axis=1)
        features, dropout_back = self.dropout.call(pooled, train, keep)
        logits, dense_back = self.dense.call(features, train, keep)
        K = logits.shape[1]
        if not keep:
            return logits[:, 0] if K == 1 else logits, None
        del x, hs, pooled, features

        def way_back(dlogits: Array, to_x: bool) -> Packed | None:
            dlogits = check_shape(
                "dlogits", dlogits, (B,) if K == 1 else (B, K), self.dense.params["W"].dtype, "as the logits"
            )
            dpooled = dropout_back(dense_back(dlogits.reshape(B, K)))
            if not (to_x or learns(self.recurrent)):
                return None
            dhs, dh = None, None
            for k, (part, (_, cache)) in enumerate(zip(self._parts, parts)):
                dpart = dpooled[:, k * self._width : (k + 1) * self._width]
                if part == "last":
                    dh = last_backward(dpart, h.shape)
                    continue
                share = (
                    pooling.packed_mean_backward(cache, dpart) if part == "mean" else pooling.max_backward(cache, dpart)
                )
                if part == "max":
                    share = plan.pack(share)
                dhs = share if dhs is None else dhs + share
            upstream = None if dhs is None else Packed(dhs, plan)
            dx, _ = recurrent_back(upstream, (dh, None) if isinstance(state, tuple) else dh)
            return dx if to_x else None

        return logits[:, 0] if K == 1 else logits, way_back

    def forward(self, ids: Array, lengths: Any = None, train: bool = False) -> Array:
        """ids (T, B) integers in [0, V), lengths (B,) from 1 to T on the host or None -> logits (B,), or (B, K) for K
        > 2.

        Ids on the host are moved to where the model is; those on a device are read back to be checked. Ids past a
        sequence's end change nothing, but must be in range. Raises ValueError or TypeError for a wrong shape, dtype, id
        or length.
        """
        logits, self._back = self.call(ids, lengths, train)
        return logits

    def backward(self, dlogits: Array) -> None:
        """Fill `grads` from the gradient of the logits of the last forward, shaped as these.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        if self._back is None:
            raise RuntimeError("SequenceClassifier.backward was called before forward")
        self._each_layer("_start_from_zero")
        self._back(dlogits)

    def loss(self, logits: Array, labels: Array, smoothing: float = 0.0) -> tuple[Array, Array]:
        """The mean cross-entropy of the logits against labels (B,) in [0, K), or probabilities (B, K), and its gradient
        with respect to the logits.
        """
        if self.num_classes == 2:
            labels = labels[:, 1] if are_soft(labels) else labels
            return losses.binary_cross_entropy(logits, labels, smoothing)
        return losses.softmax_cross_entropy(logits, labels, smoothing=smoothing)

    figures = ("loss", "accuracy")  # by which training may choose the best epoch

    def batch_loss(self, batch: Batch, train: bool = False) -> tuple[Array, Callable[[], None], dict[str, Array]]:
        """The mean loss of a batch, its way back, and the accuracy (of the labelled): see `training.Trainable`.

        With noise, `grads` changes before the way back is used, and holds the batch's gradient only after.
        """
        if train and (self.adversarial or self.virtual):
            return self._noisy_loss(batch)
        labels = self._targets("labels", batch.labels, self.num_classes)
        logits = self.forward(batch.ids, batch.lengths, train)
        loss, dlogits = self.loss(logits, labels, self.label_smoothing if train else 0.0)
        return loss, lambda: self.backward(dlogits), {"accuracy": (decide(logits) == hard(labels)).mean()}

    def weight(self, batch: Batch) -> int:
        """How many sequences the batch holds."""
        return len(batch.lengths)

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """The batch as up to so many, of about as many tokens each."""
        found = []
        for chosen in (slice(k, None, parts) for k in range(min(parts, len(batch.lengths)))):
            lengths = batch.lengths[chosen]  # those of one length come one after the other, so each part has some
            ids = np.ascontiguousarray(batch.ids[: lengths.max(), chosen])
            labels = None if batch.labels is None else batch.labels[chosen]
            found.append(Batch(ids, lengths, labels, batch.indices[chosen]))
        return found

    def batches(self, data: Any, batch_size: int, max_length: int | None, shuffle: bool, seed: Any) -> Any:
        """Batches of (sequences, labels), or the data as they are if they are labelled batches already.

        Raises ValueError or TypeError, naming what is wrong, for other data.
        """
        if isinstance(data, Batches) or (isinstance(data, list) and data and isinstance(data[0], Batch)):
            return data
        sequences, labels = check_labels(data, self.num_classes, unlabelled=bool(shuffle and self.virtual), soft=True)
        check_sequences("sequences", sequences, self.vocabulary_size)
        if shuffle and not any(ids.any() for ids in sequences):
            raise ValueError("sequences hold no token but 0, the unknown word: there is nothing to learn from")
        return Batches(sequences, labels, batch_size=batch_size, shuffle=shuffle, seed=seed, max_length=max_length)

    @np.errstate(over="ignore", invalid="ignore")
    def predict_batches(self, batches: Batches) -> np.ndarray:
        """The logits (N,) or (N, K) of N sequences, in their order in the data, on the host.

        Raises FloatingPointError where one, or a weight, is not finite.
        """
        self.check_weights()
        products = self._products(int(batches.lengths.sum()))
        logits: np.ndarray | None = None
        for batch in batches:
            part = to_cpu(self.call(batch.ids, batch.lengths, keep=False, products=products)[0])
            if logits is None:
                logits = np.empty((len(batches.sequences), *part.shape[1:]), part.dtype)
            logits[batch.indices] = part
        assert logits is not None
        self._check_logits(logits)
        return logits

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self, batches: Batches) -> dict[str, float]:
        """Loss, accuracy, precision, recall and F1 on labelled batches."""
        logits, labels = self.predict_batches(batches), np.asarray(batches.labels)
        loss, _ = self.loss(logits, labels)
        scores = classification_scores(hard(labels), decide(logits), np.arange(self.num_classes))
        return {"loss": float(loss), **scores}

    @np.errstate(over="ignore", invalid="ignore")
    def predict_proba(self, ids: Array, lengths: Any = None) -> Array:
        """The probability of each class (B, K), K = 2 included; arguments as for `forward`.

        Raises FloatingPointError where a logit or a weight is not finite.
        """
        self.check_weights()
        logits = self.call(ids, lengths, keep=False)[0]
        self._check_logits(logits)
        return probabilities(logits)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(SequenceClassifier, state)


def as_table(embeddings: Any, config: Mapping[str, Any]) -> Array:
    """The vectors (V, E) of words as a table of a model of this `configuration`. Raises ValueError or TypeError."""
    name = "embeddings.vectors" if hasattr(embeddings, "vectors") else "embeddings"
    found = as_array(name, getattr(embeddings, "vectors", embeddings))
    shape = (config["vocabulary_size"], config["embedding_dim"])
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, expected {shape} = (vocabulary_size, embedding_dim)")
    if non_finite({name: found}):
        raise ValueError(f"{name} holds NaN or infinity, expected numbers")
    return to_cpu(found).astype(config["dtype"])


def pool(part: str, hs: Packed, h: Array, directions: int, keep: bool) -> tuple[Array, Any]:
    """One part of the pooling (B, directions*H) of packed outputs hs or of the final states h, and its cache if `keep`.

    h (layers*directions, B, H).
    """
    if part == "mean":
        return pooling.packed_mean_forward(hs)
    if part == "max" and not keep:
        return pooling.packed_max(hs), None
    if part == "max":
        return pooling.max_forward(hs.plan.unpack(hs.data), hs.plan.lengths)
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


def configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a `SequenceClassifier`, but for its seed and embeddings, as plain values that JSON can hold.

    Those that are not given get their defaults; what is given besides is left alone. Raises ValueError or TypeError
    for a wrong one, and RuntimeError for a device there is not.
    """
    found = options_of(SequenceClassifier, given)
    if found["num_classes"] < 2:
        raise ValueError(f"num_classes is {found['num_classes']}, expected at least 2")
    return found


def options_of(model: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's options of a model, as `configuration` gives them, by their annotations."""
    found: dict[str, Any] = {}
    for name, option in inspect.signature(model).parameters.items():
        value = found[name] = given.get(name, option.default)
        if value is option.empty:
            raise ValueError(f"{name} is missing, expected a whole number")
        if option.annotation == "int" or (option.annotation == "int | None" and value is not None):
            check_sizes(**{name: value})
            found[name] = int(value)
        elif option.annotation == "float":
            if name in NOISE:
                check_number(name, value, least=0.0)
            else:
                check_rates(**{name: value})
            found[name] = float(value)
        elif option.annotation == "bool":
            check_flags(**{name: value})
            found[name] = bool(value)
        elif name in CHOICES:
            check_choice(name, value, CHOICES[name])
            found[name] = str.__str__(value)
    module_for(found["device"])
    del found["seed"]
    found.pop("embeddings", None)
    return {**found, "dtype": check_dtype(found["dtype"]).name}


def layer_arguments(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each layer with parameters of a model of this `configuration` is made with, but for dtype, device, seed."""
    width = config["hidden_size"] * (2 if config["bidirectional"] else 1) * len(config["pooling"].split("+"))
    kinds = CELLS[config["cell"]].__mro__
    constructors = [inspect.signature(kind.__init__) for kind in kinds]  # type: ignore[misc]
    names = {name for each in constructors for name in each.parameters} - {"dtype", "device"}
    return {
        "embedding": {"num_embeddings": config["vocabulary_size"], "embedding_dim": config["embedding_dim"]},
        "recurrent": {"input_size": config["embedding_dim"], **{name: config[name] for name in names & config.keys()}},
        "dense": {"input_size": width, "output_size": 1 if config["num_classes"] == 2 else config["num_classes"]},
    }


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter of a model with this `config()`, without making one.

    >>> model = SequenceClassifier(10, 3, 4, cell="gru", bidirectional=True, pooling="mean+max", seed=0)
    >>> parameter_shapes(model.config()) == {name: array.shape for name, array in model.params.items()}
    True
    """
    kinds: dict[str, Any] = {"embedding": Embedding, "recurrent": CELLS[config["cell"]], "dense": Dense}
    return {
        f"{part}.{name}": shape
        for part, arguments in layer_arguments(config).items()
        for name, shape in kinds[part].parameter_shapes(**arguments).items()
    }
