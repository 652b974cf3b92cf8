"""What the comparison compares: how each model is trained on the prepared reviews and tested, and the row it gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..hmm import CategoricalHMM, HMMClassifier
from ..metrics import classification_scores, roc_auc
from ..models.classifier import SequenceClassifier
from ..models.saved import save_model
from ..optimizers import Adam
from ..progress import say
from ..schedules import cosine_schedule, warm_up
from ..training import Callback, History, fit, predict
from .baseline import BagOfWords, NbNgrams
from .pretraining import Start, starting_point
from .probes import PeakMemory, gradient_by_lag, recall
from .results import NAMES, Lessons, Outcome, Prepared
from .teacher import lessons

BASELINES = {"bow": BagOfWords, "nb": NbNgrams}  # which no chance has a part in, so one run of each will do
HMM_STATES, HMM_STEPS = 8, 15


def train_network(
    settings: Any, prepared: Prepared, name: str, seed: int, folder: Path, resume: bool, progress: bool
) -> Outcome:
    """Train one network, choose its epoch on the validation reviews, and test it.

    In further rounds another learns, beside the teacher, from the one of the round before.
    """
    start = starting_point(settings, prepared, name, progress)
    taught = lessons(settings, prepared, progress)
    seconds: list[float] = []
    rounds: list[float] = []
    further = prepared.unlabelled_ids[len(prepared.train_ids) :]
    memory = PeakMemory(settings.device)
    for round_ in range(1, settings.rounds if further else 1):
        own = settings.seeds * (settings.rounds - round_) + seed  # that no other network of this run has
        model, history, _ = learn(
            settings, prepared, name, own, start, taught, folder / f"round{round_}.npz", True, progress
        )
        seconds += history["seconds"]
        rounds.append(max(history["validation_accuracy"]))
        pupil = predict(model, further, max_length=settings.max_length)
        taught = lessons(settings, prepared, progress, pupil)
    model, history, lags = learn(
        settings, prepared, name, seed, start, taught, folder / "checkpoint.npz", resume, progress
    )
    seconds += history["seconds"]
    peak = memory.megabytes()
    history.to_csv(folder / "history.csv")
    extra = {"recipe": settings.recipe, "max_length": settings.max_length}
    save_model(folder / "model.npz", model, prepared.vocabulary, extra)
    logits = predict(model, prepared.test_ids, max_length=settings.max_length)
    row = row_of(settings, prepared) | scores_of(prepared, name, seed, logits)
    row |= {
        "parameters": model.num_params,
        "epochs": settings.epochs,
        "best_epoch": history.best_epoch,
        "validation_accuracy": max(history["validation_accuracy"]),
        "pretrain_seconds": start.seconds + taught.seconds,
        "start": start.said,
        "teacher": taught.said,
        "rounds": rounds,
        "train_seconds": sum(seconds),
        "seconds_per_epoch": sum(seconds) / len(seconds),
        "tokens_per_second": float(np.mean(history["tokens_per_second"])),
        "peak_memory_mb": peak,
    }
    lags |= gradients(model, prepared, "lag")
    return Outcome(row, logits, history.rows, {**lags, "recall": recall(model, prepared)})


def learn(
    settings: Any,
    prepared: Prepared,
    name: str,
    seed: int,
    start: Start,
    taught: Lessons,
    checkpoint: Path | None,
    resume: bool,
    progress: bool,
    callbacks: Sequence[Callback] = (),
) -> tuple[SequenceClassifier, History, dict[str, np.ndarray]]:
    """A network that has learned these lessons, its history, and its gradients before that."""
    model = SequenceClassifier(
        len(prepared.vocabulary),
        settings.embedding,
        settings.hidden,
        cell=name,
        seed=seed,
        **settings.model_options(),
    )
    start.give(model)
    lags = gradients(model, prepared, "lag-untrained")
    updates = settings.epochs * -(-len(taught.ids) // settings.batch_size)
    if progress:
        say(f"{NAMES[name]:>13}, seed {seed}: {model.num_params:,} parameters, {settings.epochs} epochs")
    history = fit(
        model,
        (taught.ids, taught.labels),
        (prepared.validation_ids, prepared.validation.labels),
        optimizer=Adam(
            settings.learning_rate,
            rates={"embedding": settings.embedding_rate, "recurrent": settings.recurrent_rate},
        ),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        max_length=settings.max_length,
        schedule=warm_up(cosine_schedule(settings.learning_rate, updates, settings.learning_rate / 100), 50),
        clip_norm=settings.clip_norm,
        monitor="accuracy",
        callbacks=callbacks,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        workers=settings.workers,
        average=settings.average or None,
    )
    return model, history, lags


def gradients(model: SequenceClassifier, prepared: Prepared, name: str) -> dict[str, np.ndarray]:
    """By lag, those of the loss of the last state, and of that of the mean of all states."""
    return {f"{name}{kind}": gradient_by_lag(model, prepared.test_ids, pooled=bool(kind)) for kind in ("", "-pooled")}


def train_baseline(
    settings: Any, prepared: Prepared, name: str, seed: int, folder: Path, resume: bool, progress: bool
) -> Outcome:
    """Train a linear model on the same reviews and words, and test it."""
    memory, start = PeakMemory("cpu"), time.perf_counter()
    model = BASELINES[name](len(prepared.vocabulary)).fit(prepared.train_ids, prepared.train_labels)
    seconds = time.perf_counter() - start
    figures = {"parameters": model.num_params, "epochs": model.steps, "peak_memory_mb": memory.megabytes()}
    return _other_outcome(settings, prepared, name, seed, figures, seconds, model.decision)


def train_hmm(
    settings: Any, prepared: Prepared, name: str, seed: int, folder: Path, resume: bool, progress: bool
) -> Outcome:
    """Train one hidden Markov model for each label on the words of the same reviews, and test Bayes' rule."""

    def read(sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [ids[-settings.max_length :] if len(ids) else np.zeros(1, np.int64) for ids in sequences]

    def decision(sequences: Sequence[np.ndarray]) -> np.ndarray:
        logs = model.predict_log_proba(read(sequences))
        return logs[:, 1] - logs[:, 0]

    memory, start = PeakMemory("cpu"), time.perf_counter()
    words = CategoricalHMM(
        HMM_STATES,
        n_features=len(prepared.vocabulary),
        emissionprob_prior=1.1,  # a word that one label never has may yet come
        n_iter=HMM_STEPS,
        random_state=seed,
        progress=progress,
    )
    model = HMMClassifier(words).fit(read(prepared.train_ids), prepared.train_labels.tolist())
    seconds = time.perf_counter() - start
    for label, each in zip(("negative", "positive"), model.models_):
        each.save(folder / f"{label}.npz")
    figures = {
        "parameters": sum(each.num_params for each in model.models_),
        "epochs": max(each.monitor_.iter for each in model.models_),
        "peak_memory_mb": memory.megabytes(),
    }
    return _other_outcome(settings, prepared, name, seed, figures, seconds, decision)


def _other_outcome(
    settings: Any,
    prepared: Prepared,
    name: str,
    seed: int,
    figures: dict[str, Any],
    seconds: float,
    decision: Callable[[Sequence[np.ndarray]], np.ndarray],
) -> Outcome:
    """The outcome of a model that is no network, whose `epochs` are passes over the data."""
    logits = decision(prepared.test_ids)
    right = (decision(prepared.validation_ids) > 0) == prepared.validation.labels
    steps = figures["epochs"]
    row = {
        **row_of(settings, prepared),
        **scores_of(prepared, name, seed, logits),
        **figures,
        "best_epoch": steps,
        "validation_accuracy": float(right.mean()),
        "train_seconds": seconds,
        "seconds_per_epoch": seconds / steps,
        "tokens_per_second": sum(map(len, prepared.train_ids)) * steps / seconds,
    }
    return Outcome(row, logits, [])


def row_of(settings: Any, prepared: Prepared) -> dict[str, Any]:
    """What the rows of all models have in common."""
    return {
        "train_size": len(prepared.train_ids),
        "validation_size": len(prepared.validation_ids),
        "test_size": len(prepared.test_ids),
        "data": prepared.data.describe(),
        "recipe": settings.recipe,
        "pooling": settings.pooling,
        "bidirectional": settings.bidirectional,
        "version": __version__,
    }


def scores_of(prepared: Prepared, name: str, seed: int, logits: np.ndarray) -> dict[str, Any]:
    """What the test reviews say of the logits."""
    labels = prepared.data.test.labels
    scores = classification_scores(labels, (logits > 0).astype(int), (0, 1))
    return {"model": name, "seed": seed, **scores, "roc_auc": roc_auc(labels, logits)}
