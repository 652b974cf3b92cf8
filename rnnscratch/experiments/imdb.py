"""The report's comparison: vanilla RNN, LSTM and GRU on IMDB reviews under one protocol (3.2, 4.4).

Beside them stand a bag of words, and a hidden Markov model for each label. All networks get the same words, embedding
and hidden size, optimizer, schedule, batches and seeds; the test reviews are used once, at the end. Everything goes to
a run folder: rows of figures, histories, models, checkpoints and an HTML report.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check_choice, check_number, check_rates, check_sizes
from ..files import as_json, atomic_write, owned, place_to_write, read_json, user_path
from ..models.classifier import CELLS, configuration
from ..progress import say
from ..text import ImdbData, Reviews, Vocabulary, clean_texts, load_imdb, validation_split
from ..text.clean import RECIPES
from ..text.imdb import find_imdb
from .contestants import BASELINES, row_of, train_baseline, train_hmm, train_network
from .pretraining import CHOICES as STARTS
from .recipe import variants
from .report import write_report
from .results import NAMES, Outcome, Prepared

MODELS = (*BASELINES, "hmm", *CELLS)  # that can be compared
DATA_OPTIONS = {"vocabulary_size", "embedding_dim", "hidden_size", "num_classes", "cell", "seed"}  # set for each model
LATER: dict[str, Any] = {  # settings that older runs lack, and what they did
    "model": {},
    "workers": 1,
    "pretrain": "none",
    "passes": 3,
    "embedding_rate": 1.0,
    "recurrent_rate": 1.0,
    "average": 0.0,
    "distill": 0.0,
    "unlabelled": False,
    "rounds": 1,
    "share": 1.0,
    "ablation": False,
}


@dataclass(frozen=True)
class Settings:
    """One comparison.

    `seeds` runs of each network differ in their seed only; `quick` takes a small part of the data; `workers` processes
    train a network; `model` holds further options of `SequenceClassifier`. `pretrain` is where networks start: "none",
    with "words" at word vectors, with "lm" at a language model that makes so many `passes` (see pretraining.py), from
    which the embedding and the recurrent weights learn at `embedding_rate` and `recurrent_rate` times the learning
    rate. `average`, if any, is the decay of the running mean of the weights that is kept (see `training.fit`).
    `distill` is the share, from 0 to below 1, of what a teacher says of a review in what networks learn of it, beside
    the label; with `unlabelled` they learn reviews without a label from it too, where the data have such, in `rounds`
    after the first from it and the network of the round before (teacher.py).
    `share` is that of the training reviews that is learned from, drawn by chance. `ablation` also trains the networks
    with other settings, an ingredient less or more at a time, as recipe.py says.
    """

    data: str | None = None
    download: bool = False
    models: tuple[str, ...] = ("bow", "nb", "hmm", "rnn", "lstm", "gru")
    quick: bool = False
    recipe: str = "default"
    pooling: str = "mean+max"
    bidirectional: bool = True
    epochs: int = 3
    hidden: int = 48
    embedding: int = 128
    seeds: int = 1
    device: str = "cpu"
    vocabulary: int = 20000
    max_length: int = 400
    batch_size: int = 64
    learning_rate: float = 0.002
    dropout: float = 0.5
    embedding_dropout: float = 0.3
    word_dropout: float = 0.3
    clip_norm: float = 1.0
    pretrain: str = "words"
    passes: int = 3
    embedding_rate: float = 1.0
    recurrent_rate: float = 1.0
    average: float = 0.0
    distill: float = 0.7
    unlabelled: bool = False
    rounds: int = 1
    share: float = 1.0
    ablation: bool = False
    workers: int = 1
    model: dict[str, Any] = field(default_factory=dict)

    def model_options(self) -> dict[str, Any]:
        """What every network is made with, but for its cell, sizes and seed."""
        options = configuration({"vocabulary_size": 1, **vars(self), **self.model})
        return {name: value for name, value in options.items() if name not in DATA_OPTIONS}

    def of_quick(self) -> Settings:
        """If `quick`, what suits it: few reviews make few updates, so more of them, with less held back; else these."""
        if not self.quick:
            return self
        word_dropout = min(self.word_dropout, 0.2)
        return replace(self, max_length=min(self.max_length, 150), batch_size=16, word_dropout=word_dropout)

    def check(self) -> None:
        """Raise ValueError, or RuntimeError without a GPU, for a setting that cannot be."""
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe is {self.recipe!r}, expected one of {', '.join(RECIPES)}")
        unknown = [model for model in self.models if model not in MODELS]
        if unknown or not self.models:
            raise ValueError(f"models is {', '.join(self.models) or 'empty'}, expected some of {', '.join(MODELS)}")
        sizes = (
            "epochs",
            "hidden",
            "embedding",
            "seeds",
            "vocabulary",
            "max_length",
            "batch_size",
            "workers",
            "passes",
            "rounds",
        )
        check_sizes(**{name: getattr(self, name) for name in sizes})
        for name in ("learning_rate", "clip_norm", "embedding_rate", "recurrent_rate"):
            check_number(name, getattr(self, name), above=0.0)
        if check_number("share", self.share, above=0.0) > 1:
            raise ValueError(f"share is {self.share}, expected at most 1, all of the training reviews")
        check_rates(average=self.average, distill=self.distill)
        if self.unlabelled and not self.distill:
            raise ValueError("distill is 0, expected a teacher for the reviews without a label")
        if self.rounds > 1 and not self.unlabelled:
            raise ValueError(f"rounds is {self.rounds}, expected 1 where no reviews without a label are learned from")
        check_choice("pretrain", self.pretrain, STARTS)
        layers = self.model_options()["num_layers"]
        if self.pretrain == "lm" and self.bidirectional and layers > 1:
            raise ValueError(
                f"num_layers is {layers}, expected 1 where bidirectional networks start from language models, whose "
                "second layers read in one direction alone"
            )
        wrong = self.model.keys() - (self.model_options().keys() - vars(self).keys())
        if wrong:
            raise ValueError(f"model holds {', '.join(sorted(wrong))}, expected further options of SequenceClassifier")


def run(settings: Settings, out: str | Path, resume: bool = False, progress: bool = True) -> list[dict[str, Any]]:
    """Do the comparison and return the rows of `results.json`, one for each model and seed.

    `resume` continues a run that was stopped: finished models are kept, the one that was cut off goes on from its
    checkpoint. Raises ValueError for wrong settings, or a folder that holds another run or is damaged, naming the file,
    OSError when it cannot be written, another process is at work in it, or there are no reviews; all before anything is
    changed.
    """
    settings.check()
    if settings.data or not settings.download:
        find_imdb(settings.data)
    out = user_path(out)
    out.mkdir(parents=True, exist_ok=True)
    with owned(out, "choose another folder with --out"):
        kept = _claim(out, settings, resume)
        return _run(settings, out, kept, resume, progress)


def _run(
    settings: Settings, out: Path, kept: dict[Path, Outcome], resume: bool, progress: bool
) -> list[dict[str, Any]]:
    """What `run` does in a folder that is this run's, beginning with the outcomes that it holds already."""
    settings = settings.of_quick()
    prepared = replace(prepare(settings, progress), folder=out)
    _say(progress, prepared.data.describe())
    for folder, outcome in kept.items():
        there = {name: outcome.row[name] for name in ("data", "train_size", "validation_size", "test_size")}
        here = {name: value for name, value in row_of(settings, prepared).items() if name in there}
        if there != here:
            raise ValueError(f"{folder / 'outcome.npz'} is of other data: {there} there, {here} here")
    outcomes: list[Outcome] = []
    for folder, name, seed in _places(out, settings):
        if folder in kept:
            outcome = kept[folder]
        else:
            train = train_baseline if name in BASELINES else train_hmm if name == "hmm" else train_network
            outcome = train(settings, prepared, name, seed, folder, resume, progress)
            outcome.save(folder / "outcome.npz")
        outcomes.append(outcome)
        rows = [each.row for each in outcomes]
        with atomic_write(out / "results.json") as file:
            json.dump(rows, file, indent=1)
        accuracy, f1 = outcome.row["accuracy"], outcome.row["f1"]
        _say(progress, f"{NAMES[name]:>13}, seed {seed}: accuracy {accuracy:.2%}, F1 {f1:.4f}")
    changed = ablation(settings, prepared, out, resume, progress) if settings.ablation else {}
    write_report(out / "report.html", settings, prepared, outcomes, changed)
    return [outcome.row for outcome in outcomes]


def ablation(
    settings: Settings, prepared: Prepared, out: Path, resume: bool, progress: bool
) -> dict[str, list[Outcome]]:
    """By what differs (recipe.py), the networks trained with it, tested on the validation reviews.

    Where that is the data, the linear models are trained too. Rows go to `ablation.json`.
    """
    found: dict[str, list[Outcome]] = {}
    unseen = blind(prepared)
    for change, changed in variants(settings).items():
        place = out / change
        place.mkdir(exist_ok=True)
        wanted = [
            (folder, name, seed)
            for folder, name, seed in _places(place, changed)
            if name in CELLS or (name in BASELINES and _data(changed) != _data(settings))
        ]
        kept = {folder for folder, _, _ in wanted if resume and os.path.lexists(folder / "outcome.npz")}
        if len(kept) < len(wanted) and _data(changed) != _data(settings):
            parts = replace(blind(prepare(changed, progress)), folder=place)
        else:
            parts = unseen
        found[change] = []
        for folder, name, seed in wanted:
            if folder in kept:
                outcome = Outcome.load(folder / "outcome.npz", name, seed)
            else:
                train = train_network if name in CELLS else train_baseline
                outcome = train(changed, parts, name, seed, folder, resume, progress)
                outcome.save(folder / "outcome.npz")
            found[change].append(outcome)
            _say(progress, f"{NAMES[name]:>13}, seed {seed}, {change}: {outcome.row['accuracy']:.2%}")
            rows = [{"changed": change, **each.row} for change, runs in found.items() for each in runs]
            with atomic_write(out / "ablation.json") as file:
                json.dump(rows, file, indent=1)
    return found


def _data(settings: Settings) -> tuple[Any, ...]:
    """What of the settings decides which words of which reviews are read."""
    return settings.recipe, settings.share, settings.pretrain != "none" or settings.unlabelled


def blind(prepared: Prepared) -> Prepared:
    """The same with the validation reviews for those to test on."""
    return replace(prepared, data=replace(prepared.data, test=prepared.validation), test_ids=prepared.validation_ids)


def prepare(settings: Settings, progress: bool = True) -> Prepared:
    """Load, split, clean and number the reviews. The vocabulary is that of the training part and unlabelled reviews."""
    unlabelled = settings.pretrain != "none" or settings.unlabelled
    data = load_imdb(settings.data, download=settings.download, unlabelled=unlabelled, progress=progress)
    if settings.quick:
        data = _subset(data, 3200, 2000)
    train, validation = validation_split(data.train)
    if settings.share < 1:
        count = max(round(settings.share * len(train.texts)), 1)
        train = train.take(np.sort(np.random.default_rng(0).permutation(len(train.texts))[:count]))
    words = clean_texts(train.texts, settings.recipe, progress=progress)
    further = clean_texts(data.unlabelled, settings.recipe, progress=progress)
    vocabulary = Vocabulary.build([*words, *further], min_count=2, max_size=settings.vocabulary)
    validation_ids, test_ids = (
        vocabulary.encode_all(clean_texts(part.texts, settings.recipe, progress=progress))
        for part in (validation, data.test)
    )
    train_ids = vocabulary.encode_all(words)
    unlabelled_ids = [*train_ids, *vocabulary.encode_all(further)] if unlabelled else []
    return Prepared(data, validation, vocabulary, train_ids, train.labels, validation_ids, test_ids, unlabelled_ids)


def _subset(data: ImdbData, train: int, test: int) -> ImdbData:
    """A small part with both labels in equal shares, in whole runs of neighbours, so that films stay on one side."""

    def part(reviews: Reviews, size: int) -> Reviews:
        chosen = [np.flatnonzero(reviews.labels == label)[: size // 2] for label in (0, 1)]
        return reviews.take(np.concatenate(chosen))

    split = f"{data.split}; quick: the first {train} reviews to learn from and the first {test} of the held out"
    return ImdbData(data.source, split, part(data.train, train), part(data.test, test), data.duplicates_removed)


def _places(out: Path, settings: Settings) -> list[tuple[Path, str, int]]:
    """The folder of each model and seed."""
    return [
        (out / (name if name in BASELINES else f"{name}-seed{seed}"), name, seed)
        for name in settings.models
        for seed in range(1 if name in BASELINES else settings.seeds)
    ]


def _claim(out: Path, settings: Settings, resume: bool) -> dict[Path, Outcome]:
    """Write the settings into the folder, or see that they are those of the run that is to go on; what is finished.

    Raises ValueError or OSError, before anything is written, for a folder of another run, or one with a part that is
    damaged or could not be written.
    """
    file, places = out / "settings.json", _places(out, settings)
    wanted, found = as_json(asdict(settings)), None
    if os.path.lexists(file):
        if not resume:
            raise ValueError(
                f"{out} holds a run already: continue it with --resume, or choose another folder with --out"
            )
        found = read_json(file)
        if not isinstance(found, dict) or found.keys() - wanted.keys():
            raise ValueError(f"{file} is damaged: it holds {found!r:.200}, expected the settings of a run")
        found = {**LATER, **found}
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        if differing:
            names = ", ".join(
                f"{name} is {wanted[name]!r} here and {found.get(name)!r:.200} there" for name in differing
            )
            raise ValueError(f"{file} is that of a run with other settings: {names}")
    parts = [out / "results.json", out / "report.html", *(folder for folder, _, _ in places)]
    there = [path for path in parts if os.path.lexists(path)]
    if found is None and there:
        names = ", ".join(path.name for path in there)
        raise ValueError(f"{out} holds {names} of a run, but no settings.json: choose another folder with --out")
    for path in there:
        if path in parts[:2]:
            place_to_write(path)
        elif not path.is_dir():
            raise NotADirectoryError(f"{path} is a file, expected the folder of a model")
    kept = {}
    for folder, name, seed in places:
        if os.path.lexists(folder / "outcome.npz"):
            try:
                kept[folder] = Outcome.load(folder / "outcome.npz", name, seed)
            except ValueError as error:
                raise ValueError(f"{error}; without this file --resume trains that model again") from None
    if found != wanted:
        with atomic_write(file) as out_file:
            json.dump(wanted, out_file, indent=1)
    return kept


def _say(progress: bool, message: str) -> None:
    if progress:
        say(message)
