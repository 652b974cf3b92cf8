"""Where the comparison's networks may start: word vectors or language models, learned from reviews without their
labels.

The texts are those of the training part, the validation reviews and, in aclImdb, the 50,000 without a label; never the
test reviews. What is learned lies in the run folder as checkpoints, so that a run that was stopped goes on with it; all
seeds of a network start alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..models.language_model import LanguageModel
from ..optimizers import Adam
from ..progress import say
from ..schedules import cosine_schedule, warm_up
from ..text_classifier import word_vectors
from ..training import fit
from ..word2vec import Word2Vec
from .results import NAMES, Prepared

CHOICES = ("none", "words", "lm")
STREAMS, WINDOW, SAMPLED = 64, 100, 1024  # of a language model: texts side by side, steps back, words to compare with
RATE, CLIP = 0.002, 1.0


@dataclass
class Start:
    """Values of parameters by name, NaN where one is to stay as it is; what they cost; and a few words on it."""

    params: dict[str, np.ndarray]
    seconds: float = 0.0
    said: str = ""

    def give(self, model: Any) -> None:
        """Put the values in their places."""
        for name, values in self.params.items():
            if name not in model.params:  # of the direction in which it does not read
                continue
            param = model.params[name]
            param[...] = model.xp.asarray(np.where(np.isnan(values), to_cpu(param), values))


def starting_point(settings: Any, prepared: Prepared, cell: str, progress: bool) -> Start:
    """What `settings.pretrain` says for networks of this cell, learned when it is first asked for in a run."""
    if settings.pretrain == "none":
        return Start({})
    starts: dict[str, Start] = prepared.learned
    if "words" not in starts:
        starts["words"] = from_words(settings, prepared, progress)
    if settings.pretrain == "words":
        return starts["words"]
    if cell not in starts:
        starts[cell] = from_language_models(settings, prepared, cell, starts["words"], progress)
    return starts[cell]


def from_words(settings: Any, prepared: Prepared, progress: bool) -> Start:
    """Skip-gram vectors of words as the embedding."""
    words = prepared.vocabulary.words
    sentences = [[words[k] for k in ids] for ids in prepared.unlabelled_ids]
    model = Word2Vec(settings.embedding, progress=progress)
    model.fit(sentences, checkpoint=prepared.folder / "words.npz", resume=True)
    rows, vectors = word_vectors(model, words, settings.embedding)
    table = np.full((len(words), settings.embedding), np.nan, np.float32)
    table[rows] = vectors
    count, seconds = sum(map(len, sentences)), sum(model.history_["seconds"])
    said = f"Word vectors (skip-gram) from {count:,} words of {len(sentences):,} reviews in {seconds:,.0f} s"
    if progress:
        say(said)
    return Start({"embedding.E": table}, seconds, said)


def from_language_models(settings: Any, prepared: Prepared, cell: str, words: Start, progress: bool) -> Start:
    """The embedding and recurrent weights of a language model that began with the word vectors (Dai & Le 2015).

    The weights that read backwards come from a second one, which reads the texts from their ends with the embedding
    that the first one learned.
    """
    V, options = len(prepared.vocabulary), settings.model_options()
    vectors = words.params["embedding.E"]
    found = Start({"embedding.E": vectors / np.nanstd(vectors)}, words.seconds, words.said)  # as large as its own start
    for suffix, direction, step in (("", "forwards", 1), ("_reverse", "backwards", -1))[: 1 + settings.bidirectional]:
        model = LanguageModel(
            V + 1,
            settings.embedding,
            settings.hidden,
            cell,
            sampled=SAMPLED,
            end_id=V,
            seed=0,
            **{name: options[name] for name in ("num_layers", "activation", "reset_after", "device")},
        )
        table = found.params["embedding.E"]
        Start({"embedding.E": np.vstack([table, np.full_like(table[:1], np.nan)])}).give(model)
        if step < 0:
            model.fixed = ["embedding.E"]
        train, validation = (
            [ids[::step] for ids in part] for part in (prepared.unlabelled_ids, prepared.validation_ids)
        )
        updates = settings.passes * len(model.batches(train, STREAMS, WINDOW, True, 0))
        if progress:
            say(f"language model of the {NAMES[cell]}, {direction}: {model.num_params:,} parameters")
        history = fit(
            model,
            train,
            validation,
            optimizer=Adam(RATE, beta2=0.99),
            epochs=settings.passes,
            batch_size=STREAMS,
            max_length=WINDOW,
            schedule=warm_up(cosine_schedule(RATE, updates, RATE / 20), min(200, updates)),
            clip_norm=CLIP,
            checkpoint=prepared.folder / f"{cell}-{direction}.npz",
            resume=True,
            progress=progress,
            workers=settings.workers,
        )
        seconds, perplexity = sum(history["seconds"]), history["validation_perplexity"][-1]
        found.seconds += seconds
        found.said += (
            f"; a language model of the {NAMES[cell]}, {direction}, of perplexity {perplexity:.1f} on the validation "
            f"reviews after {settings.passes} passes, in {seconds:,.0f} s"
        )
        arrays = {name: to_cpu(array).copy() for name, array in model.params.items()}
        found.params["embedding.E"] = arrays["embedding.E"][:V]
        found.params |= {name + suffix: array for name, array in arrays.items() if name.startswith("recurrent.")}
    if progress:
        say(found.said)
    return found
