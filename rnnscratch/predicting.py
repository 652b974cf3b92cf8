"""What a trained classifier says of texts in a file, of any size: they are read, classified and written by parts."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np

from .files import user_path
from .models.classifier import SequenceClassifier
from .models.logits import probabilities
from .models.saved import load_model
from .progress import progress_bar
from .text import clean_texts
from .text.tables import read_rows
from .text_classifier import TextClassifier
from .training import predict

PART = 4096  # texts that are held at a time
FORMS = ("jsonl", "csv")


class Labels:
    """A classifier of texts: a fitted `TextClassifier`, or from a file one of these or of a run of `rnnscratch imdb`.

    `classes` are the labels as text. Raises FileNotFoundError, or ValueError, naming the file, for anything else.
    """

    def __init__(self, classifier: str | os.PathLike[str] | TextClassifier, device: str = "cpu"):
        extra: dict[str, Any] = {}
        if not isinstance(classifier, TextClassifier):
            path = user_path(classifier)
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

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text after cleaning: all, though only the last `max_length` are read."""
        return clean_texts(list(texts), self.recipe)

    def logits(self, words: Sequence[list[str]]) -> np.ndarray:
        """The model's logits, (N,) for two classes or (N, K), of the words of N texts."""
        return predict(self.model, self.vocabulary.encode_all(words), max_length=self.max_length)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Of each class (N, K) for N texts."""
        return probabilities(self.logits(self.words(texts)))


def predict_rows(labels: Labels, texts: Iterator[str]) -> Iterator[tuple[str, list[float]]]:
    """The most probable label of each text, and the probability of each class; `PART` texts are held at a time."""
    while part := list(islice(texts, PART)):
        for row in labels.probabilities(part):
            yield labels.classes[int(row.argmax())], row.tolist()


def predict_file(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str] | IO[bytes],
    target: IO[str],
    form: str = "jsonl",
    device: str = "cpu",
    progress: bool = False,
    **how: Any,
) -> int:
    """Write the predictions for a file, or a stream of lines, to `target`, a line for each text; returns how many.

    form "jsonl": {"label": ..., "probabilities": {class: p, ...}}; "csv": label and a column for each class. `how` is
    text, kind, encoding, separator and quotes of `text.tables.read_rows`. Raises what that raises, and ValueError or
    OSError for the model's file; what was written before stays.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, expected {' or '.join(FORMS)}")
    labels = Labels(model, device)
    table = csv.writer(target, lineterminator="\n")
    if form == "csv":
        table.writerow(["label", *labels.classes])
    texts = (row.text for row in read_rows(source, **how))
    count = 0
    for label, p in progress_bar(predict_rows(labels, texts), progress, unit=" texts"):
        found = [float(f"{value:.6g}") for value in p]
        if form == "csv":
            table.writerow([label, *found])
        else:
            line = {"label": label, "probabilities": dict(zip(labels.classes, found))}
            target.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count
