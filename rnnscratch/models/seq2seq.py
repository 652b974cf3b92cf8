"""The encoder-decoder (4.4 of the report), with or without attention.

    encoder    source ids -> embedding -> recurrent layers, of one or two directions -> hs (S, B, M), final state
    bridge     the final state, of two directions side by side, times a matrix -> where the decoder begins
    decoder    start and target ids -> embedding -> recurrent layers -> h (T, B, H)
    attention  context_t = the mean of hs as weighed for h_t;  h_t becomes tanh([h_t context_t] W + b)
    output     h W + b -> the scores of every id to come next

S steps of sources, T of targets, B pairs, E embedding_dim, H hidden_size, M = H or, of two directions, 2H. Without
attention it is Cho et al. 2014 (arXiv 1406.1078) and Sutskever et al. 2014 (1409.3215), with it Luong et al. 2015
(1508.04025), whose decoder looks at the source after its step; scores as in layers.Attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, blas_threads, generator, get_array_module, to_cpu
from ..checks import as_array, as_sequences, check_choice, check_ids, check_sequences, check_shape, check_sizes
from ..kernels import losses
from ..kernels.activations import dtanh_from_output
from ..kernels.packing import Packed, Plan
from ..layers import Attention, Dense, Dropout, Embedding, Layer
from ..text import pairs
from ..text.batches import Batches
from ..text.pairs import PairBatch, PairBatches
from .base import Model
from .classifier import CELLS, options_of

ATTENTIONS = ("dot", "additive")


class Translation(NamedTuple):
    """What `translate` returns."""

    tokens: np.ndarray  # (T,) ids, without start and end
    score: float  # the mean of log p, that of the end included
    attention: np.ndarray | None  # (T, S): with which weights each token was said


class Seq2Seq(Model):
    """Reads a sequence and says another: an encoder and a decoder, of any cells.

    `decoder_cell` is `cell` where None, `attention` "dot", "additive" or None. Both sides have `num_layers`; with
    `bidirectional` the encoder reads both ways, with hidden_size units each, and a matrix for each layer makes of its
    final states the decoder's first ones. An LSTM's c starts at zero where the encoder has none.

    `tied` gives both sides one table of embeddings, for which their ids must be the same. `dropout` acts on the
    embeddings, between stacked layers and before the output. `sampling` is how often, in training, the decoder reads
    what the model itself would have said at the step before, drawn from its distribution, in the place of the right id
    (scheduled sampling, Bengio et al. 2015, arXiv 1506.03099); no gradient goes through the choice.

    Ids: 0 is unknown, 1 the start, 2 the end; sources and targets are given without start and end.

    Raises ValueError or TypeError for an argument that is none of these.

    >>> model = Seq2Seq(source_size=9, target_size=7, embedding_dim=3, hidden_size=4, attention="dot", seed=0)
    >>> source, target_in = np.array([[5, 8], [6, 3], [7, 0]]), np.array([[1, 1], [4, 3]])
    >>> model.forward(source, [3, 2], target_in, [2, 2]).shape
    (2, 2, 7)
    >>> tokens, score, attention = model.translate([5, 6, 7], max_length=4)
    >>> attention.shape[1]
    3
    """

    START_ID, END_ID = pairs.START_ID, pairs.END_ID

    def __init__(
        self,
        source_size: int,
        target_size: int,
        embedding_dim: int = 64,
        hidden_size: int = 128,
        cell: str = "lstm",
        decoder_cell: str | None = None,
        num_layers: int = 1,
        bidirectional: bool = True,
        attention: str | None = None,
        dropout: float = 0.0,
        sampling: float = 0.0,
        tied: bool = False,
        dtype: Any = "float32",
        device: str = "cpu",
        seed: int | np.random.Generator | None = None,
    ):
        self._config = config = configuration(locals())
        self.rng = generator(seed)  # one generator for all layers, so that its state is the whole random state
        shared: dict[str, Any] = {"dtype": config["dtype"], "device": device, "seed": self.rng}
        self._parts: dict[str, Layer] = {
            name: kind(**arguments, **shared) for name, (kind, arguments) in layers_of(config).items()
        }
        self.source_embedding: Any = self._parts["embedding" if tied else "source_embedding"]
        self.target_embedding: Any = self._parts["embedding" if tied else "target_embedding"]
        self.encoder: Any = self._parts["encoder"]
        self.decoder: Any = self._parts["decoder"]
        self.attention: Any = self._parts.get("attention")
        self.mix: Any = self._parts.get("mix")
        self.dense: Any = self._parts["dense"]
        self.source_dropout, self.target_dropout, self.dropout = (Dropout(dropout, **shared) for _ in range(3))
        self.source_size, self.target_size = config["source_size"], config["target_size"]
        self.sampling, self.dtype, self.xp = config["sampling"], self.dense.dtype, self.dense.xp
        self._read: Any = None  # what the decoder read in the last training pass, if some of it was its own
        self._back: Any = None

    def _layers(self) -> tuple[tuple[str, Layer], ...]:
        return tuple(self._parts.items())

    def _random_layers(self) -> tuple[Layer, ...]:
        return self.encoder, self.decoder, self.source_dropout, self.target_dropout, self.dropout

    def call(
        self,
        source: Any,
        source_lengths: Any,
        target_in: Any,
        target_lengths: Any,
        train: bool = False,
        keep: bool = True,
    ) -> tuple[tuple[Array, Array | None], Any]:
        """(logits, attention weights (T, B, S) or None), and this call's way back, `back(dlogits)`."""
        (hs, weights), features_back = self._features(source, source_lengths, target_in, target_lengths, train, keep)
        logits, dense_back = self.dense.call(hs.data, train, keep)
        plan = hs.plan

        def back(dlogits: Any) -> None:
            shape = (plan.T, plan.B, self.target_size)
            dlogits = check_shape("dlogits", dlogits, shape, logits.dtype, "(T, B, target_size)")
            features_back(dense_back(plan.pack(dlogits)))

        return (plan.unpack(logits), weights), back if keep else None

    def forward(
        self, source: Any, source_lengths: Any, target_in: Any, target_lengths: Any, train: bool = False
    ) -> Array:
        """source (S, B), target_in (T, B) ids -> logits (T, B, target_size) of the id to come after each of target_in.

        Lengths (B,), on the host, say how much of each is real, None: all; logits past a target's end are 0. Raises
        ValueError or TypeError for a wrong shape, dtype, length or id.
        """
        (logits, _), self._back = self.call(source, source_lengths, target_in, target_lengths, train)
        return logits

    def backward(self, dlogits: Any) -> None:
        """Fill `grads` from the gradient of the logits of the last forward.

        Raises RuntimeError before the first forward, and ValueError or TypeError for a wrong shape or dtype.
        """
        if self._back is None:
            raise RuntimeError("Seq2Seq.backward was called before forward")
        self._each_layer("_start_from_zero")
        self._back(dlogits)

    def loss(self, logits: Any, targets: Any) -> tuple[Array, Array]:
        """The mean cross-entropy of logits (..., V) against targets (...) in [0, V), and its gradient by the logits."""
        return losses.softmax_cross_entropy(logits, targets)

    figures = ("loss", "perplexity", "accuracy")

    def batch_loss(
        self, batch: PairBatch, train: bool = False, keep: bool = True
    ) -> tuple[Array, Callable[[], None], dict[str, Array]]:
        """The mean loss of the batch's target ids, its way back, and how many are right: see `training.Trainable`."""
        given = (batch.source, batch.source_lengths, batch.target_in, batch.target_lengths)
        (hs, _), features_back = self._features(*given, train, keep)
        targets = self._targets("target_out", hs.plan.pack(batch.target_out), self.target_size)
        logits, dense_back = self.dense.call(hs.data, train, keep)
        loss, dlogits = losses.softmax_cross_entropy(logits, targets)

        def back() -> None:
            self._each_layer("_start_from_zero")
            features_back(dense_back(dlogits))

        return loss, back, {"accuracy": (logits.argmax(axis=1) == targets).mean()}

    def weight(self, batch: PairBatch) -> int:
        """How many ids are predicted in the batch."""
        return int(batch.target_lengths.sum())

    def split(self, batch: PairBatch, parts: int) -> list[PairBatch]:
        """The batch as up to so many, each of some of its pairs, the same ones every time."""
        found = []
        for chosen in (slice(k, None, parts) for k in range(min(parts, len(batch.indices)))):
            S, T = batch.source_lengths[chosen], batch.target_lengths[chosen]
            source = np.ascontiguousarray(batch.source[: S.max(), chosen])
            target_in, target_out = (
                np.ascontiguousarray(ids[: T.max(), chosen]) for ids in (batch.target_in, batch.target_out)
            )
            found.append(PairBatch(source, S, target_in, target_out, T, batch.indices[chosen]))
        return found

    def batches(self, data: Any, batch_size: int, max_length: int | None, shuffle: bool, seed: Any) -> Any:
        """`PairBatches` of (sources, targets), or the data as they are if they are batches already.

        Raises ValueError or TypeError, naming what is wrong, for other data.
        """
        if isinstance(data, PairBatches):
            return data
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise TypeError(f"data is {type(data).__name__}, expected a pair: sources and targets")
        found = PairBatches(data[0], data[1], batch_size, shuffle, seed, max_length)
        check_sequences("sources", found.sources, self.source_size)
        check_sequences("targets", found.targets, self.target_size)
        return found

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self, batches: Any) -> dict[str, float]:
        """Of all target ids, given the right ones before each: the mean loss, the perplexity, and the share that is
        right. Raises FloatingPointError where a weight or the loss is not finite."""
        self.check_weights()
        total, right, count = 0.0, 0.0, 0
        for batch in batches:
            loss, _, figures = self.batch_loss(batch, keep=False)
            number = self.weight(batch)
            total, right = total + float(to_cpu(loss)) * number, right + float(to_cpu(figures["accuracy"])) * number
            count += number
        loss = total / count
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}: the weights are too large")
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "accuracy": right / count}

    def translate(self, source_ids: Any, beam: int = 1, max_length: int = 50) -> Translation:
        """The target of one source, as (tokens, score, attention), by beam search; 1 is greedy.

        At each step the `beam` most probable of all that the outputs so far can go on with stay in the search; those
        that end leave it. The best is the one with the largest mean of log p, the end's included (Wu et al. 2016 with
        alpha 1), of those that ended after at most `max_length` tokens, or, if none did, of those that are that long.

        Raises ValueError or TypeError for what are no ids or sizes, FloatingPointError for weights that are not finite.
        """
        return self.translate_batch([source_ids], beam, max_length)[0]

    def translate_batch(
        self, sources: Any, beam: int = 1, max_length: int = 50, batch_size: int = 64
    ) -> list[Translation]:
        """`translate` of several sources, side by side, in their order."""
        check_sizes(beam=beam, max_length=max_length, batch_size=batch_size)
        sources = as_sequences("sources", sources)
        check_sequences("sources", sources, self.source_size)
        self.check_weights()
        found: list[Any] = [None] * len(sources)
        with blas_threads(self.params):
            for batch in Batches(sources, batch_size=batch_size):
                results = self._search(batch.ids, batch.lengths, beam, max_length)
                for index, result in zip(batch.indices, results):
                    found[index] = result
        return found

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(Seq2Seq, state)

    def _packed(self, name: str, ids: Any, lengths: Any, size: int) -> Packed:
        ids = as_array(name, ids, "iu")
        if ids.ndim != 2:
            raise ValueError(f"{name} has shape {ids.shape}, expected (steps, B)")
        try:
            plan = Plan(ids.shape[0], ids.shape[1], lengths, self.xp)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from None
        check_ids(ids, size, name)
        return Packed(self._moved(name, plan.pack(ids)), plan)

    def _features(
        self, source: Any, source_lengths: Any, target_in: Any, target_lengths: Any, train: bool, keep: bool
    ) -> tuple[tuple[Packed, Array | None], Any]:
        """What the output sees (T, B, H), packed, the attention's weights, and the way back from its gradient."""
        packed = self._packed("source", source, source_lengths, self.source_size)
        read = self._packed("target_in", target_in, target_lengths, self.target_size)
        if read.plan.B != packed.plan.B:
            raise ValueError(f"target_in has {read.plan.B} sequences, expected {packed.plan.B} as source")
        (values, state), encoder_back = self._encode(packed, train, keep)
        if train and self.sampling:
            read = Packed(read.plan.pack(self._own_inputs(read, values, packed.plan, state)), read.plan)
        plan, source_plan = read.plan, packed.plan
        x, embedding_back = self.target_embedding.call(read, train, keep)
        x, target_dropout_back = self.target_dropout.call(x, train, keep)
        (hs, _), decoder_back = self.decoder.call(x, state, train=train, keep=keep)
        weights = None
        if self.attention is not None:
            both, weights, look_back = self._look(hs, values, source_plan, train, keep)
            z, mix_back = self.mix.call(both, train, keep)
            mixed = get_array_module(z).tanh(z)
            hs = Packed(mixed, plan)
        hs, dropout_back = self.dropout.call(hs, train, keep)

        def back(dhs: Array) -> None:
            d, dvalues = dropout_back(Packed(dhs, plan)), None
            if self.attention is not None:
                d, dvalues = look_back(mix_back(d.data * dtanh_from_output(mixed)))
            dx, dstate = decoder_back(d)
            embedding_back(target_dropout_back(dx))
            encoder_back(dvalues, dstate)

        return (hs, weights), back if keep else None

    def _encode(self, packed: Packed, train: bool, keep: bool) -> tuple[tuple[Any, Any], Any]:
        """The encoder's outputs (S, B, M) where there is attention, else None, and the decoder's first state."""
        x, embedding_back = self.source_embedding.call(packed, train, keep)
        x, dropout_back = self.source_dropout.call(x, train, keep)
        (hs, final), encoder_back = self.encoder.call(x, None, train=train, keep=keep)
        state, bridge_back = self._cross(final, train, keep)
        values = None if self.attention is None else hs.plan.unpack(hs.data)

        def back(dvalues: Any, dstate: Any) -> None:
            dhs = None if dvalues is None else Packed(hs.plan.pack(dvalues), hs.plan)
            dx, _ = encoder_back(dhs, bridge_back(dstate))
            embedding_back(dropout_back(dx))

        return (values, state), back if keep else None

    def _cross(self, final: Any, train: bool, keep: bool) -> tuple[Any, Any]:
        """The bridge: the encoder's final state -> the decoder's first, and back."""
        ours, theirs = self.encoder.states, self.decoder.states
        parts = dict(zip(ours, final if len(ours) > 1 else (final,)))
        shared = [letter for letter in theirs if letter in ours]
        crossed, xp = dict(parts), get_array_module(parts["h"])
        backs: dict[tuple[str, int], Any] = {}
        if self.encoder.bidirectional:
            for letter in shared:
                ways = parts[letter]  # (2 layers, B, H): forwards and backwards of each layer
                found = []
                for layer in range(self.decoder.num_layers):
                    both = xp.concatenate([ways[2 * layer], ways[2 * layer + 1]], axis=1)
                    out, backs[letter, layer] = self._parts[f"bridge_{letter}_l{layer}"].call(both, train, keep)
                    found.append(out)
                crossed[letter] = xp.stack(found)

        def back(dstate: Any) -> Any:
            given = dict(zip(theirs, dstate if len(theirs) > 1 else (dstate,)))
            found = dict.fromkeys(ours)
            for letter in shared:
                if not backs:
                    found[letter] = given[letter]
                    continue
                H, d = self.decoder.hidden_size, []
                for layer in range(self.decoder.num_layers):
                    both = backs[letter, layer](given[letter][layer])
                    d += [both[:, :H], both[:, H:]]
                found[letter] = get_array_module(*d).stack(d)
            return tuple(found.values()) if len(ours) > 1 else found["h"]

        first = tuple(crossed[letter] if letter in shared else None for letter in theirs)
        return first if len(theirs) > 1 else first[0], back

    def _look(self, hs: Packed, values: Array, source_plan: Plan, train: bool, keep: bool) -> tuple[Array, Array, Any]:
        """[h context] of each real step (N, H + M), the attention's weights, and back to hs and the values."""
        plan, xp = hs.plan, get_array_module(values)
        q = plan.unpack(hs.data)
        (context, weights), attention_back = self.attention.call(q, values, source_plan.lengths, train, keep)
        both = xp.concatenate([hs.data, plan.pack(context)], axis=1)

        def back(dboth: Array) -> tuple[Packed, Array]:
            H = hs.data.shape[1]
            dq, dvalues = attention_back(plan.unpack(xp.ascontiguousarray(dboth[:, H:])))
            return Packed(dboth[:, :H] + plan.pack(dq), plan), dvalues

        return both, weights, back

    def _step(self, last: Array, state: Any, remembered: Any, queries: int = 1) -> tuple[Array, Any, Array | None]:
        """ids (queries B,) and the state before -> logits, the state after, the attention's weights (queries, B, S).

        Rows go query by query, each with its B sources.
        """
        h, state = self.decoder.step(self.target_embedding.params["E"][last], state)
        weights = None
        if self.attention is not None:
            context, weights = self.attention.look(h.reshape(queries, -1, h.shape[1]), remembered)
            xp = get_array_module(h)
            both = xp.concatenate([h, context.reshape(len(h), -1)], axis=1)
            h = xp.tanh(both @ self.mix.params["W"] + self.mix.params["b"])
        return h @ self.dense.params["W"] + self.dense.params["b"], state, weights

    def _remember(self, values: Any, source_plan: Plan) -> Any:
        return None if self.attention is None else self.attention.remember(values, source_plan.lengths)

    def _own_inputs(self, read: Packed, values: Any, source_plan: Plan, state: Any) -> Array:
        """What the decoder reads in training (T, B) where some of it is what it would have said itself."""
        plan = read.plan
        if self.frozen and self._read is not None and self._read.shape == (plan.T, plan.B):
            return self._read
        ids = plan.unpack(read.data[:, None])[:, :, 0].copy()
        own, u = (self.xp.asarray(self.rng.random((plan.T, plan.B))) for _ in range(2))
        remembered = self._remember(values, source_plan)
        for t in range(1, plan.T):
            logits, state, _ = self._step(ids[t - 1], state, remembered)
            cumulative = losses.softmax(logits.real.astype(np.float64)).cumsum(axis=1)
            said = (cumulative < u[t, :, None] * cumulative[:, -1:]).sum(axis=1)
            ids[t] = self.xp.where(own[t] < self.sampling, said, ids[t])
        self._read = ids
        return self._read

    @np.errstate(over="ignore", invalid="ignore")
    def _search(self, ids: np.ndarray, lengths: np.ndarray, beam: int, max_length: int) -> list[Translation]:
        """Beam search for B sources (S, B), with K outputs so far for each."""
        packed = self._packed("source", ids, lengths, self.source_size)
        (values, state), _ = self._encode(packed, False, False)
        remembered = self._remember(values, packed.plan)
        B, V = ids.shape[1], self.target_size
        last, sums = np.full((1, B), self.START_ID), np.zeros((1, B))  # sums of log p, -inf: no output
        said: list[np.ndarray] = []  # of each step, the tokens (K, B)
        came: list[np.ndarray] = []  # and from which output of the step before
        looks: list[Any] = []  # and the weights with which they were said (K before, B, S)
        best: list[tuple[float, int, int]] = [(-np.inf, 0, 0)] * B  # score, step and place of the end
        for step in range(max_length + 1):
            K = len(last)
            logits, state, weights = self._step(self.xp.asarray(last.reshape(-1)), state, remembered, K)
            self._check_logits(logits)
            looks.append(None if weights is None else to_cpu(weights))
            log_p = losses.log_softmax(to_cpu(logits).astype(np.float64)).reshape(K, B, V)
            total = (sums[:, :, None] + log_p).swapaxes(0, 1).reshape(B, K * V)
            top = largest(total, beam)
            further = np.take_along_axis(total, top, axis=1).T  # (K', B)
            parent, token = top.T // V, top.T % V
            ended = (token == self.END_ID) & (further > -np.inf)
            for k, b in zip(*np.nonzero(ended)):
                best[b] = max(best[b], (further[k, b] / (step + 1), step, int(parent[k, b])), key=lambda each: each[0])
            if step == max_length:
                break
            further = np.where(ended, -np.inf, further)
            scores = np.array([score for score, *_ in best])
            further[:, further.max(axis=0) / (max_length + 1) <= scores] = -np.inf  # no longer one can be better
            said.append(token)
            came.append(parent)
            if (further == -np.inf).all():
                break
            sums, last = further, token
            rows = self.xp.asarray((parent * B + np.arange(B)).reshape(-1))
            state = tuple(h[:, rows] for h in state) if isinstance(state, tuple) else state[:, rows]
        return [self._trace(b, int(lengths[b]), best[b], sums, said, came, looks) for b in range(B)]

    @staticmethod
    def _trace(
        b: int,
        length: int,
        best: tuple[float, int, int],
        sums: np.ndarray,
        said: list[np.ndarray],
        came: list[np.ndarray],
        looks: list[Any],
    ) -> Translation:
        """The output of source b from its end back to its start."""
        score, step, place = best
        if score == -np.inf:
            step, place = len(said), int(sums[:, b].argmax())
            score = float(sums[place, b] / step)
        tokens = np.empty(step, np.int64)
        attention = None if looks[0] is None else np.empty((step, length), looks[0].dtype)
        for t in reversed(range(step)):
            tokens[t], place = said[t][place, b], came[t][place, b]
            if attention is not None:
                attention[t] = looks[t][place, b, :length]
        return Translation(tokens, float(score), attention)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` largest of each row (B, N) are, the largest first, the first of equals first."""
    if count == 1:
        return values.argmax(axis=1)[:, None]
    return np.argsort(-values, axis=1, kind="stable")[:, :count]


def configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a `Seq2Seq`, its seed left out, as plain values that JSON can hold.

    As `classifier.configuration` has those of its model.
    """
    found = options_of(Seq2Seq, given)
    if found["decoder_cell"] is not None:
        check_choice("decoder_cell", found["decoder_cell"], CELLS)
    if found["attention"] is not None:
        check_choice("attention", found["attention"], ATTENTIONS)
    if found["target_size"] <= pairs.END_ID:
        raise ValueError(f"target_size is {found['target_size']}, expected at least {pairs.END_ID + 1}")
    if found["tied"] and found["source_size"] != found["target_size"]:
        sizes = f"source_size is {found['source_size']} and target_size {found['target_size']}"
        raise ValueError(f"{sizes}, expected one size where tied is True")
    return found


def layers_of(config: Mapping[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The class of each layer with parameters, and what it is made with, but for dtype, device and seed."""
    E, H, V, L = (config[name] for name in ("embedding_dim", "hidden_size", "target_size", "num_layers"))
    ways, cell = 2 if config["bidirectional"] else 1, CELLS[config["cell"]]
    decoder = CELLS[config["decoder_cell"] or config["cell"]]
    common = {"input_size": E, "hidden_size": H, "num_layers": L, "dropout": config["dropout"]}
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    sides = {"embedding": V} if config["tied"] else {"source_embedding": config["source_size"], "target_embedding": V}
    for name, size in sides.items():
        found[name] = Embedding, {"num_embeddings": size, "embedding_dim": E}
    found["encoder"] = cell, {**common, "bidirectional": config["bidirectional"]}
    if config["bidirectional"]:
        for letter in decoder.states:
            for layer in range(L if letter in cell.states else 0):
                found[f"bridge_{letter}_l{layer}"] = Dense, {"input_size": 2 * H, "output_size": H}
    found["decoder"] = decoder, common
    if config["attention"] is not None:
        found["attention"] = Attention, {"query_size": H, "memory_size": ways * H, "kind": config["attention"]}
        found["mix"] = Dense, {"input_size": H + ways * H, "output_size": H}
    found["dense"] = Dense, {"input_size": H, "output_size": V}
    return found


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter of a model with this `config()`, without making one."""
    return {
        f"{part}.{name}": shape
        for part, (kind, arguments) in layers_of(config).items()
        for name, shape in kind.parameter_shapes(**arguments).items()
    }
