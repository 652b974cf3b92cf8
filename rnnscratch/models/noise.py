"""Training against noise on the word vectors: adversarial and virtual adversarial (Miyato et al. 2017).

The arithmetic of the noise is kernels/adversarial.py; here are the passes through the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Array, to_cpu
from ..kernels import adversarial
from ..kernels.packing import Packed, Plan
from ..text.batches import Batch
from .base import Model
from .logits import decide, divergence, hard

PROBE = 0.1  # the norm of the noise from which the most harmful virtual one is found


class NoisyModel(Model):
    """A classifier whose training may meet noise of norm `adversarial` and of norm `virtual` on the word vectors."""

    adversarial: float
    virtual: float
    noise_weight: float
    label_smoothing: float
    num_classes: int
    dtype: Any
    _noises: dict[str, Any] = {}  # of the last training pass

    def loss(self, logits: Array, labels: Array, smoothing: float = 0.0) -> tuple[Array, Array]:
        """The mean loss of labelled sequences, and the gradient of their logits."""
        raise NotImplementedError

    def _embed(self, ids: Array, lengths: Any, train: bool, keep: bool) -> tuple[Packed, Packed, Any]:
        """The vectors of the words as they are in the table and as they are read, both packed, and the way back."""
        raise NotImplementedError

    def _read(self, x: Packed, train: bool, keep: bool) -> tuple[Array, Any]:
        """The logits of packed word vectors, and the way back."""
        raise NotImplementedError

    def _noisy_loss(self, batch: Batch) -> tuple[Array, Callable[[], None], dict[str, Array]]:
        """`batch_loss` of a training batch as it is and with noise on its word vectors (kernels/adversarial.py)."""
        labels = np.full(len(batch.lengths), -1) if batch.labels is None else to_cpu(batch.labels)
        known = np.flatnonzero(hard(labels) >= 0)
        words, x, embed_back = self._embed(batch.ids, batch.lengths, True, True)
        s, spread_cache = adversarial.spread(words.data, self._word_weights(x.plan))
        logits, read_back = self._read(x, True, True)
        loss, dlogits = self._known_loss(logits, labels, known)
        self._each_layer("_start_from_zero")
        dx = read_back(dlogits, True).data
        passes = []  # with noise: the noise, the way back, and the gradient of the logits
        old = self._noises if self.frozen and self._noises.get("shape") == x.shape else {}
        new = self._noises = {"shape": x.shape}
        with self._same_masks():
            if self.adversarial:
                r = new["r"] = old["r"] if old else self._steepest(dx, x.plan, s, self.adversarial)
                noisy, back = self._reread(x, s, r)
                further, dnoisy = self._known_loss(noisy, labels, known)
                loss = loss + further * loss.dtype.type(self.noise_weight)
                passes.append((r, back, dnoisy))
            if self.virtual:
                r = new["virtual r"] = old["virtual r"] if old else self._least_stable(x, s, logits)
                reference = new["reference"] = old["reference"] if old else logits
                noisy, back = self._reread(x, s, r)
                further, dnoisy = divergence(noisy, reference)
                loss = loss + further * loss.dtype.type(self.noise_weight)
                passes.append((r, back, dnoisy))
        accuracy = (decide(logits) == self.xp.asarray(hard(labels))).sum() / max(1, len(known))

        def way_back() -> None:
            total, ds = dx, self.xp.zeros_like(s)
            for r, back, dnoisy in passes:
                through = back(dnoisy * self.noise_weight, learns(self.embedding))
                if through is not None:
                    of_x, of_s = adversarial.perturb_backward(r, through.data)
                    total, ds = total + of_x, ds + of_s
            if learns(self.embedding):
                embed_back(Packed(total, x.plan), adversarial.spread_backward(spread_cache, ds))

        return loss, way_back, {"accuracy": accuracy}

    def _steepest(self, g: Array, plan: Plan, s: Array, size: float) -> Array:
        """The noise of this size along the gradient g of the vectors, in units of their standard deviations s."""
        return adversarial.steepest(g * s, plan.sequence, plan.B, size)

    def _least_stable(self, x: Packed, s: Array, logits: Array) -> Array:
        """The noise that changes the probabilities the most, by one step of the power iteration from a random one."""
        random = self.rng.standard_normal(x.data.shape, np.float32).astype(self.dtype)
        probe = adversarial.steepest(self.xp.asarray(random), x.plan.sequence, x.plan.B, PROBE)
        probed, back = self._reread(x, s, probe)
        _, dprobed = divergence(probed, logits)
        with self._inputs_alone():
            return self._steepest(back(dprobed, True).data, x.plan, s, self.virtual)

    def _reread(self, x: Packed, s: Array, r: Array) -> tuple[Array, Any]:
        """`_read` in the same pass, with noise on the vectors."""
        self._each_layer("_go_on")
        return self._read(Packed(adversarial.perturb(x.data, s, r), x.plan), True, True)

    @contextlib.contextmanager
    def _same_masks(self) -> Iterator[None]:
        """Within, passes have the dropout masks of the last one."""
        frozen, self.frozen = self.frozen, True
        try:
            yield
        finally:
            self.frozen = frozen

    def _known_loss(self, logits: Array, labels: np.ndarray, known: np.ndarray) -> tuple[Array, Array]:
        """The loss of the labelled sequences, divided by the number of all, and its gradient."""
        if len(known) == len(labels):
            return self.loss(logits, self._targets("labels", labels, self.num_classes), self.label_smoothing)
        share, places, dlogits = len(known) / len(labels), self.xp.asarray(known), self.xp.zeros_like(logits)
        if not len(known):
            return dlogits.sum(), dlogits
        seen = self._targets("labels", labels[known], self.num_classes)
        loss, dknown = self.loss(logits[places], seen, self.label_smoothing)
        dlogits[places] = dknown * share
        return loss * share, dlogits

    def _word_weights(self, plan: Plan) -> Array:
        """(N,) what each packed word counts for: equally much, but those that are dropped nothing."""
        dtype = self.dense.params["W"].dtype
        weights = np.ones(plan.N, dtype)
        if self.word_dropout:
            kept = plan.pack(self._kept_words).astype(dtype)
            weights = weights if kept.sum() == 0 else kept
        return self.xp.asarray(weights / weights.sum())

    @contextlib.contextmanager
    def _inputs_alone(self) -> Iterator[None]:
        """Within, ways back leave the gradients of parameters as they are."""
        fixed = self._fixed
        for _, layer in self._layers():
            layer.fixed = frozenset(layer.params)
        try:
            yield
        finally:
            self._fix_layers(fixed)


def learns(layer: Any) -> bool:
    """Whether any of a layer's parameters does."""
    return len(layer.fixed) < len(layer.params)
