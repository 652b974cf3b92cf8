"""What a trained classifier says of texts in a file, of any size: they are read, classified and written by parts."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np

from .backend import blas_threads
from .checks import check_sizes
from .files import user_path
from .models.classifier import SequenceClassifier
from .models.logits import probabilities
from .models.saved import load_model
from .processes import as_done
from .progress import progress_bar
from .text import clean_texts
from .text.encoder import Encoder
from .text.tables import read_rows
from .text_classifier import TextClassifier
from .training import predict

PART = 2048  # texts that are read, classified and written together
FORMS = ("jsonl", "csv")


class Labels:
    """A classifier of texts: a fitted `TextClassifier`, or from a file one of these or of a run of `rnnscratch imdb`.

    `classes` are the labels as text. Raises FileNotFoundError, or ValueError, naming the file, for anything else.
    """

    def __init__(self, classifier: str | os.PathLike[str] | TextClassifier, device: str = "cpu"):
        extra: dict[str, Any] = {}
        if not isinstance(classifier, TextClassifier):
            self.path = path = user_path(classifier)
            if path.suffix in (".onnx", ".safetensors"):
                raise ValueError(f"{path} holds no words and labels: give the .npz that it was converted from")
            model, vocabulary, extra = load_model(path, device)
            if "text_classifier" in extra:
                classifier = TextClassifier.load(path, device)
        if isinstance(classifier, TextClassifier):
            classifier._check_fitted()
            model, vocabulary = classifier.model_, classifier.vocabulary_
            self.values = classifier.classes_.tolist()
            self.recipe, self.max_length = classifier.recipe, classifier.max_length
        elif isinstance(model, SequenceClassifier) and vocabulary is not None and "recipe" in extra:
            self.values = ["negative", "positive"]
            self.recipe, self.max_length = extra["recipe"], extra["max_length"]
        else:
            raise ValueError(f"{path} holds a model, but no classifier of texts")
        self.classes = [str(value) for value in self.values]
        self.model, self.vocabulary = model, vocabulary
        self._encode = Encoder(vocabulary, self.recipe)

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text after cleaning: all, though only the last `max_length` are read."""
        return clean_texts(list(texts), self.recipe)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids (length,) of the words of each text."""
        return self._encode(texts)

    def logits(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """The model's logits, (N,) for two classes or (N, K), of N texts."""
        return predict(self.model, ids, max_length=self.max_length)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Of each class (N, K) for N texts."""
        return probabilities(self.logits(self.ids(texts)))


def predict_rows(labels: Labels, texts: Iterator[str], workers: int = 1) -> Iterator[tuple[str, list[float]]]:
    """The most probable label of each text, and the probability of each class.

    `PART` texts are held at a time, with `workers` above 1 a part for each process and one more.
    """
    parts = iter(lambda: list(islice(texts, PART)), [])
    for rows in map(labels.probabilities, parts) if workers == 1 else shared(labels, parts, workers):
        for row in rows:
            yield labels.classes[int(row.argmax())], row.tolist()


def shared(labels: Labels, parts: Iterator[list[str]], workers: int) -> Iterator[np.ndarray]:
    """`labels.probabilities` of each part, in their order, by so many processes, each of which loads the model."""
    errors: list[Exception] = []

    def read() -> Iterator[list[str]]:
        try:
            yield from parts
        except (ValueError, OSError) as error:  # which waits for the answers to what was read before
            errors.append(error)

    found: dict[int, np.ndarray] = {}
    awaited = 0
    for number, rows in as_done(work, read(), workers, begin, str(labels.path), workers):
        found[number] = rows
        while awaited in found:
            yield found.pop(awaited)
            awaited += 1
    for error in errors:
        raise error


def begin(path: str, workers: int) -> None:
    """What a process of `shared` does first."""
    global _mine
    _mine = Labels(path), workers


def work(part: list[str]) -> np.ndarray:
    """What it does with each part; BLAS has one thread in each of several processes."""
    labels, workers = _mine
    with blas_threads(labels.model.params, workers):
        return labels.probabilities(part)


_mine: tuple[Labels, int]


def predict_file(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str] | IO[bytes],
    target: IO[str],
    form: str = "jsonl",
    device: str = "cpu",
    progress: bool = False,
    workers: int = 1,
    **how: Any,
) -> int:
    """Write the predictions for a file, or a stream of lines, to `target`, a line for each text; returns how many.

    form "jsonl": {"label": ..., "probabilities": {class: p, ...}}; "csv": label and a column for each class. So many
    `workers`, processes of their own where they are above 1, clean and classify; they change nothing in what is
    written, but for rounding where layers have 256 units or more. `how` is text, kind, encoding, separator and
    quotes of `text.tables.read_rows`. Raises what that raises, and ValueError or OSError for the model's file; what
    was written before stays.
    """
    check_sizes(workers=workers)
    if workers > 1 and device != "cpu":
        raise ValueError(f"workers is {workers}, expected 1 for a model on the GPU")
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, expected {' or '.join(FORMS)}")
    labels = Labels(model, device)
    table = csv.writer(target, lineterminator="\n")
    if form == "csv":
        table.writerow(["label", *labels.classes])
    texts = (row.text for row in read_rows(source, **how))
    count = 0
    for label, p in progress_bar(predict_rows(labels, texts, workers), progress, unit=" texts"):
        found = [float(f"{value:.6g}") for value in p]
        if form == "csv":
            table.writerow([label, *found])
        else:
            line = {"label": label, "probabilities": dict(zip(labels.classes, found))}
            target.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count
