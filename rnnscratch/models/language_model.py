"""The language model: embedding -> recurrent layers -> scores of every word to come next.

T steps, B streams, V words, E embedding_dim, H hidden_size, N = T*B positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..backend import Array, blas_threads, generator, to_cpu
from ..checks import as_column, check_ids, check_number, check_shape, check_sizes
from ..kernels import losses, sampled_softmax
from ..kernels.packing import Packed
from ..layers import Dense, Dropout, Embedding, Layer
from ..text.windows import WINDOW, Window, Windows, as_texts
from .base import Model
from .classifier import CELLS, layer_arguments, options_of

STREAM = 1000  # ids in each of several streams at least, where a model is evaluated


class LanguageModel(Model):
    """Says how probable every word, or character, is to come next, given all those before it.

    `tied` makes the embedding the output matrix too (Press & Wolf 2017), which needs embedding_dim == hidden_size; the
    output has then only a bias besides. `sampled` is how many words, on average, the loss in training compares with the
    right one (kernels/sampled_softmax.py; it takes words for the more frequent the lower their id, as in a
    `Vocabulary`); all scores elsewhere are over all words. In a list of texts each is followed by `end_id`.

    Layers start as they do alone, but the embedding at N(0, 1) and the output at U(-1, 1) / sqrt(hidden_size), or where
    they are tied both at N(0, 0.2^2).

    `dropout` acts between stacked layers and before the output, `word_dropout` puts the unknown word in a word's place,
    `embedding_dropout` acts on the embeddings and `recurrent_dropout` on the state, which is kept from step to step;
    all but the one between layers and that of words with one mask for all steps of a window (Gal & Ghahramani 2016;
    Merity et al. 2017). `activation` is the "rnn" cell's, `reset_after` the "gru" cell's.

    Raises ValueError or TypeError for an argument that is none of these.

    >>> model = LanguageModel(vocabulary_size=100, embedding_dim=4, hidden_size=4, tied=True, seed=0)
    >>> model.num_params == 100 * 4 + 4 * (4 + 4 + 1) * 4 + 100
    True
    >>> logits, (h, c) = model.forward(np.array([[5, 8], [6, 7], [7, 6]]))
    >>> logits.shape
    (3, 2, 100)
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 128,
        hidden_size: int = 256,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        tied: bool = False,
        sampled: int | None = None,
        end_id: int | None = None,
        activation: str = "tanh",
        reset_after: bool = False,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        self._config = config = configuration(locals())
        self.rng = generator(seed)  # one generator for all layers, so that its state is the whole random state
        shared: dict[str, Any] = {"dtype": config["dtype"], "device": device, "seed": self.rng}
        sizes = sizes_of(config)
        self.embedding = Embedding(**sizes["embedding"], **shared)
        self.embedding_dropout = Dropout(embedding_dropout, variational=True, **shared)
        self.recurrent = CELLS[cell](**sizes["recurrent"], **shared)
        self.dropout = Dropout(dropout, variational=True, **shared)
        self.dense: Layer = Bias(config["vocabulary_size"], **shared) if tied else Dense(**sizes["dense"], **shared)
        # Larger than the layers' own starts: as many updates of Adam reach a lower perplexity.
        self.embedding.params["E"] *= 2.0 if tied else 10.0
        if not tied:
            V, H = config["vocabulary_size"], config["hidden_size"]
            self.dense.params["W"] *= math.sqrt((H + V) / (6.0 * H))  # from Glorot's limits to 1 / sqrt(H)
        self.vocabulary_size, self.end_id, self.word_dropout = config["vocabulary_size"], config["end_id"], word_dropout
        self.tied, self.dtype, self.xp = config["tied"], self.dense.dtype, self.dense.xp
        self._pi: Any = None  # how probably each word is in a sample
        if config["sampled"] is not None:
            frequencies = sampled_softmax.log_uniform(self.vocabulary_size)
            self._pi = sampled_softmax.inclusion(frequencies, config["sampled"])
            self._log_pi = self.xp.asarray(np.log(self._pi))
        self._samples: Any = None
        self._states: dict[int, Any] = {}  # before and after the last window, by the steps before them
        self._back: Any = None

    def call(
        self, ids: Array, state: Any = None, lengths: Any = None, train: bool = False, keep: bool = True
    ) -> tuple[tuple[Array, Any], Any]:
        """(logits, state), as `forward` gives them, and this call's way back, `back(dlogits, dstate=None)`.

        It returns the gradient of the state before. See layers.py on several calls in one pass, and on `keep`.
        """
        (hs, after), features_back = self._features(ids, state, lengths, train, keep)
        W, b = self._output()
        logits = hs.data @ W.T
        logits += b
        plan = hs.plan
        if not keep:
            return (plan.unpack(logits), after), None

        def way_back(dlogits: Array, dstate: Any = None) -> Any:
            shape = (plan.T, plan.B, self.vocabulary_size)
            dz = plan.pack(check_shape("dlogits", dlogits, shape, W.dtype, "(T, B, V)"))
            self._add_output_gradients(dz.T @ hs.data, dz.sum(axis=0))
            return features_back(dz @ W, dstate)

        return (plan.unpack(logits), after), way_back

    def forward(self, ids: Array, state: Any = None, train: bool = False) -> tuple[Array, Any]:
        """ids (T, B) integers in [0, V) -> logits (T, B, V) of the ids to come next, and the state after the last.

        The state is that of the recurrent layers, h (layers, B, H), for an LSTM (h, c); None is zeros. Raises
        ValueError or TypeError for a wrong shape, dtype or id.
        """
        result, self._back = self.call(ids, state, None, train)
        return result

    def backward(self, dlogits: Array, dstate: Any = None) -> Any:
        """Fill `grads` from the gradients of the logits of the last forward and, optionally, of its state.

        Returns the gradient of the state before. Raises RuntimeError before the first forward, and ValueError or
        TypeError for a wrong shape or dtype.
        """
        if self._back is None:
            raise RuntimeError("LanguageModel.backward was called before forward")
        self._each_layer("_start_from_zero")
        return self._back(dlogits, dstate)

    def loss(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        """The mean cross-entropy of logits (..., V) against targets (...) in [0, V), and its gradient by the logits."""
        return losses.softmax_cross_entropy(logits, targets)

    figures = ("loss",)  # by which training may choose the best epoch; perplexity is lowest where the loss is

    def batch_loss(self, batch: Window, train: bool = False) -> tuple[Array, Callable[[], None], dict[str, Array]]:
        """The mean loss of a window, and its way back: see `training.Trainable`.

        The state is carried from one window to the next, and no gradient goes back through it. Raises ValueError for a
        window that is not the first, the next, or the last one once more.
        """
        if batch.start and batch.start not in self._states:
            known = " or ".join(map(str, sorted({0, *self._states})))
            raise ValueError(f"batch begins after {batch.start} steps, expected {known}")
        before = self._states[batch.start] if batch.start else None
        (hs, after), features_back = self._features(batch.ids, before, batch.lengths, train, True)
        self._states = {batch.start: before, batch.start + len(batch.ids): after}
        targets = hs.plan.pack(batch.targets)
        W, b = self._output()
        if train and self._pi is not None:
            samples = self._draw()  # on the host, as the targets
            log_pi = self._log_pi.astype(W.dtype, copy=False)
            loss, (dh, words, dW, db) = sampled_softmax.sampled_loss(hs.data, W, b, targets, samples, log_pi)
        else:
            words = None
            loss, (dh, dW, db) = sampled_softmax.full_loss(
                hs.data, W, b, self._targets("targets", targets, self.vocabulary_size)
            )

        def back() -> None:
            self._each_layer("_start_from_zero")
            self._add_output_gradients(dW, db, words)
            features_back(dh)

        return loss, back, {}

    def weight(self, batch: Window) -> int:
        """How many ids are predicted in the window."""
        return int(batch.lengths.sum())

    def split(self, batch: Window, parts: int) -> list[Window]:
        """The window as up to so many, each of some of the streams, the same ones every time."""
        found = []
        for chosen in (slice(k, None, parts) for k in range(min(parts, len(batch.lengths)))):
            lengths = batch.lengths[chosen]
            ids, targets = (np.ascontiguousarray(a[: lengths.max(), chosen]) for a in (batch.ids, batch.targets))
            found.append(Window(ids, targets, lengths, batch.start))
        return found

    def batches(self, data: Any, batch_size: int, max_length: int | None, shuffle: bool, seed: Any) -> Any:
        """Windows of at most `max_length` steps (70 where it is None) of one long text of ids, or a list of texts, read
        as `batch_size` streams; or the data as they are if they are windows already. Without `shuffle` there are fewer
        streams where they would be short, since each begins with the state zero.

        Raises ValueError or TypeError, naming what is wrong, for other data.
        """
        if isinstance(data, Windows):
            return data
        texts = as_texts(data, self.vocabulary_size)
        if not shuffle:
            batch_size = min(batch_size, max(1, sum(map(len, texts)) // STREAM))
        return Windows(texts, batch_size, WINDOW if max_length is None else max_length, self.end_id, shuffle, seed)

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self, batches: Windows) -> dict[str, float]:
        """The mean loss over all words, and the perplexity, with the state carried through each stream.

        Raises FloatingPointError where a weight or the loss is not finite.
        """
        self.check_weights()
        total, count, state = 0.0, 0, None
        W, b = self._output()
        for batch in batches:
            (hs, state), _ = self._features(batch.ids, state if batch.start else None, batch.lengths, False, False)
            loss = sampled_softmax.full_score(
                hs.data, W, b, self._targets("targets", hs.plan.pack(batch.targets), self.vocabulary_size)
            )
            total, count = total + float(to_cpu(loss)) * hs.plan.N, count + hs.plan.N
        loss = total / count
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}: the weights are too large")
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def perplexity(self, ids: Any, batch_size: int = 1024) -> float:
        """exp(-1/(N-1) sum_{t=2}^{N} log p(w_t | w_1, ..., w_{t-1})) of a text of N ids w_1, ..., w_N.

        That is how many words the model is torn between, in the geometric mean: V if it knows nothing, 1 if it is sure
        and right. The text is read as one stream, the state carried from the first id to the last; `batch_size` is how
        many ids are read at a time, and makes no difference to the result. Of a list of texts, each is read after the
        one before. `evaluate` is faster, as it reads many streams side by side, which lack what comes before them.

        Raises ValueError or TypeError for less than two ids, or what are none, FloatingPointError for weights that are
        not finite.
        """
        with blas_threads(self.params):
            return self.evaluate(self.batches(ids, 1, batch_size, False, None))["perplexity"]

    @np.errstate(over="ignore", invalid="ignore")
    def generate(
        self,
        prompt: Any,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> np.ndarray:
        """`length` ids (length,) that go on from the ids of the prompt, each drawn as `next_probabilities` says.

        An empty prompt stands for the beginning of a text, where the model has an `end_id`. Raises ValueError or
        TypeError for other arguments, FloatingPointError where a logit or a weight is not finite.
        """
        prompt = to_cpu(as_column("prompt", prompt, "iu"))
        if not len(prompt) and self.end_id is not None:
            prompt = np.array([self.end_id])
        check_ids(prompt, self.vocabulary_size, "prompt")
        check_sizes(0, length=length)
        check_shaping(temperature, top_k, top_p)
        rng = generator(seed)
        self.check_weights()
        W, b = self._output()
        E, state, last = self.embedding.params["E"], None, prompt[-1:].copy()
        found = np.empty(length, np.int64)
        with blas_threads(self.params):
            if len(prompt) > 1:
                (_, state), _ = self._features(prompt[:-1, None], None, None, False, False)
            for k in range(length):
                h, state = self.recurrent.step(E[self.xp.asarray(last)], state)
                logits = (h @ W.T + b)[0]
                self._check_logits(logits)
                p = next_probabilities(to_cpu(logits), temperature, top_k, top_p)
                found[k] = last[0] = rng.choice(len(p), p=p)
        return found

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(LanguageModel, state)

    def _features(
        self, ids: Array, state: Any, lengths: Any, train: bool, keep: bool
    ) -> tuple[tuple[Packed, Any], Any]:
        """What the output sees (T, B, H), packed, and the state after; the way back takes their gradients, packed and
        not, and returns that of the state before."""
        packed = self._pack(ids, lengths, train, "streams")
        plan = packed.plan
        x, embedding_back = self.embedding.call(packed, train, keep)
        x, embedding_dropout_back = self.embedding_dropout.call(x, train, keep)
        (hs, after), recurrent_back = self.recurrent.call(x, state, train=train, keep=keep)
        hs, dropout_back = self.dropout.call(hs, train, keep)

        def back(dhs: Array, dstate: Any = None) -> Any:
            dx, before = recurrent_back(dropout_back(Packed(dhs, plan)), dstate)
            embedding_back(embedding_dropout_back(dx))
            return before

        return (hs, after), back if keep else None

    def _output(self) -> tuple[Array, Array]:
        """W (V, H), a row for each word, and b (V,)."""
        W = self.embedding.params["E"] if self.tied else self.dense.params["W"].T
        return W, self.dense.params["b"]

    def _add_output_gradients(self, dW: Array, db: Array, words: Any = None) -> None:
        """Add the gradients of W (V, H) and b (V,), or of the rows of these words, each of which comes once."""
        at = ... if words is None else words
        if self.tied:
            self.embedding._add_gradients({"E": dW}, at)
        else:
            self.dense._add_gradients({"W": dW.T}, at if words is None else (slice(None), words))
        self.dense._add_gradients({"b": db}, at)

    def _draw(self) -> np.ndarray:
        """Words for the loss to compare with; while frozen, the last ones."""
        if not self.frozen or self._samples is None:
            self._samples = sampled_softmax.draw(self._pi, self.rng)
        return self._samples


def next_probabilities(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """The distribution (V,) that the next id is drawn from, in float64: softmax(logits / temperature), then cut.

    Temperature 0 leaves the most probable id alone (the first of equals). `top_k` leaves the k most probable ones (Fan
    et al. 2018), and of these `top_p` as many, the most probable first, as have at least that probability together
    (Holtzman et al. 2020). What is left is scaled to 1. Raises ValueError or TypeError for other arguments.

    >>> logits = np.log([0.5, 0.3, 0.2])
    >>> next_probabilities(logits, top_p=0.6).round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    check_shaping(temperature, top_k, top_p)
    z = as_column("logits", logits, "fiu").astype(np.float64)
    if temperature == 0:
        return np.eye(1, len(z), int(z.argmax()))[0]
    with np.errstate(over="ignore"):  # of the difference: a tiny temperature leaves the most probable alone
        p = losses.softmax((z - z.max()) / float(temperature))
    if top_k is None and top_p is None:
        return p
    order = np.argsort(-p, kind="stable")
    kept = order[: len(p) if top_k is None else top_k]
    if top_p is not None:
        before = np.cumsum(p[kept]) / p[kept].sum() - p[kept] / p[kept].sum()
        kept = kept[before < top_p]
    cut = np.zeros_like(p)
    cut[kept] = p[kept] / p[kept].sum()
    return cut


def check_shaping(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError or TypeError unless `next_probabilities` takes these."""
    check_number("temperature", temperature, least=0.0)
    if top_k is not None:
        check_sizes(top_k=top_k)
    if top_p is not None and check_number("top_p", top_p, above=0.0) > 1.0:
        raise ValueError(f"top_p is {top_p}, expected a probability above 0, at most 1")


class Bias(Layer):
    """What the output has of its own where its matrix is the embedding: b (V,), which starts at 0."""

    def __init__(self, output_size: int, dtype: Any, device: str, seed: Any):
        super().__init__(dtype, device, seed, output_size=output_size)
        self._add("b", np.zeros(output_size))


def configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a `LanguageModel`, its seed left out, as plain values that JSON can hold.

    As `classifier.configuration` has those of its model.
    """
    found = options_of(LanguageModel, given)
    if found["tied"] and found["embedding_dim"] != found["hidden_size"]:
        E, H = found["embedding_dim"], found["hidden_size"]
        raise ValueError(f"embedding_dim is {E} and hidden_size {H}, expected one size where tied is True")
    if found["end_id"] is not None and found["end_id"] >= found["vocabulary_size"]:
        raise ValueError(f"end_id is {found['end_id']}, expected 1 to {found['vocabulary_size'] - 1}")
    return found


def sizes_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each layer with parameters is made with, but for dtype, device and seed."""
    like = {**config, "bidirectional": False, "pooling": "last", "num_classes": config["vocabulary_size"]}
    return {
        **layer_arguments(like),
        "dense": {"input_size": config["hidden_size"], "output_size": config["vocabulary_size"]},
    }


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter of a model with this `config()`, without making one."""
    sizes = sizes_of(config)
    dense = Dense.parameter_shapes(**sizes["dense"])
    if config["tied"]:
        del dense["W"]
    found = {
        "embedding": Embedding.parameter_shapes(**sizes["embedding"]),
        "recurrent": CELLS[config["cell"]].parameter_shapes(**sizes["recurrent"]),
        "dense": dense,
    }
    return {f"{part}.{name}": shape for part, shapes in found.items() for name, shape in shapes.items()}
