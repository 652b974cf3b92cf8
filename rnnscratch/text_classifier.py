"""From texts to labels: cleaning, vocabulary, model and training behind scikit-learn's estimator methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checks import check_answers, check_choice, check_rates, check_sizes, check_texts
from .estimator import Estimator, NotFittedError
from .files import reading
from .models.classifier import SequenceClassifier, configuration, probabilities
from .models.saved import load_model, save_model
from .optimizers import Adam
from .schedules import cosine_schedule, warm_up
from .text import Vocabulary, clean_texts
from .text.clean import RECIPES
from .training import fit, predict


@dataclass(repr=False, eq=False)
class TextClassifier(Estimator):
    """A recurrent classifier of texts that follows scikit-learn's rules, without needing scikit-learn.

    The options of the network are those of `SequenceClassifier`; recipe, min_count and max_size those of cleaning and
    vocabulary. Texts keep their last `max_length` words; an empty one counts as one unknown word. Adam learns for
    `epochs` passes, the rate rising over a tenth of the updates (100 at most) and falling along a cosine; the share
    `validation_fraction` of each class's texts, if any, is kept aside to choose the best epoch. `random_state` fixes
    all chance. With `workers` above 1, so many processes train (see `training.fit`).

    >>> texts, labels = ["good film", "bad film"] * 8, ["yes", "no"] * 8
    >>> clf = TextClassifier(cell="gru", epochs=20, learning_rate=0.05, validation_fraction=0.0, random_state=0)
    >>> clf.fit(texts, labels).predict(["a good plot", "bad"]).tolist()
    ['yes', 'no']
    """

    cell: str = "lstm"
    embedding_dim: int = 64
    hidden_size: int = 64
    pooling: str = "mean+max"
    dropout: float = 0.5
    embedding_dropout: float = 0.5
    recipe: str = "default"
    min_count: int = 2
    max_size: int | None = 20000
    max_length: int | None = 400
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 0.002
    clip_norm: float | None = 1.0
    validation_fraction: float = 0.1
    device: str = "cpu"
    random_state: int | None = 0
    progress: bool = False
    num_layers: int = 1
    bidirectional: bool = False
    word_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    activation: str = "tanh"
    reset_after: bool = False
    workers: int = 1
    classes_: np.ndarray = field(init=False)
    vocabulary_: Vocabulary = field(init=False)
    model_: SequenceClassifier = field(init=False)
    history_: Any = field(init=False)

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> TextClassifier:
        """Learn from N texts and their N labels, of at least two classes.

        Sets `classes_`, `vocabulary_`, `model_` and `history_`. Raises ValueError or TypeError for wrong data or
        options.
        """
        texts = check_texts(texts)
        y = check_answers(labels, len(texts))
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels has the one class {classes.tolist()}, expected at least two")
        check_rates(validation_fraction=self.validation_fraction)
        check_sizes(epochs=self.epochs, batch_size=self.batch_size, workers=self.workers)
        optimizer = Adam(self.learning_rate)
        self._make_model(1, len(classes))  # names a wrong option before the texts are cleaned
        words = clean_texts(texts, self.recipe, progress=self.progress)
        train_part, validation_part = split(codes, self.validation_fraction, self.random_state)
        vocabulary = Vocabulary.build([words[k] for k in train_part], self.min_count, self.max_size)
        ids = vocabulary.encode_all(words)
        model = self._make_model(len(vocabulary), len(classes))
        updates = self.epochs * -(-len(train_part) // self.batch_size)
        history = fit(
            model,
            ([ids[k] for k in train_part], codes[train_part]),
            ([ids[k] for k in validation_part], codes[validation_part]) if len(validation_part) else None,
            optimizer=optimizer,
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_length=self.max_length,
            schedule=warm_up(cosine_schedule(self.learning_rate, updates), max(1, min(100, updates // 10))),
            clip_norm=self.clip_norm,
            seed=self.random_state,
            progress=self.progress,
            workers=self.workers,
        )
        self.classes_, self.vocabulary_, self.model_, self.history_ = classes, vocabulary, model, history
        return self

    def _make_model(self, vocabulary_size: int, num_classes: int) -> SequenceClassifier:
        sizes = {"vocabulary_size": vocabulary_size, "num_classes": num_classes}
        return SequenceClassifier(**configuration(self.get_params(deep=False) | sizes), seed=self.random_state)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """The probability (N, K) of each class, in the order of `classes_`."""
        self._check_fitted()
        ids = self.vocabulary_.encode_all(clean_texts(check_texts(texts), self.recipe))
        return probabilities(predict(self.model_, ids, max_length=self.max_length))

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable class (N,) of each text."""
        p = self.predict_proba(texts)
        return self.classes_[p.argmax(axis=1)]

    def score(self, texts: Sequence[str], labels: Sequence[Any]) -> float:
        """The share of texts that are classified right."""
        self._check_fitted()
        texts = check_texts(texts)
        y = check_answers(labels, len(texts))
        return float((self.predict(texts) == y).mean())

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's model selection asks; scikit-learn is imported only when it does."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("this TextClassifier is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted classifier to one `.npz` without pickle; a failure leaves an older file whole."""
        self._check_fitted()
        extra = {"text_classifier": self.get_params(), "classes": self.classes_.tolist()}
        save_model(path, self.model_, self.vocabulary_, extra)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> TextClassifier:
        """Read what `save` wrote, all but `history_`. Raises ValueError, naming the file, for anything else."""
        model, vocabulary, extra = load_model(path, device)
        if vocabulary is None or "text_classifier" not in extra:
            raise ValueError(f"{path} holds a model, but no TextClassifier")
        with reading(path):
            classifier = cls(**{**extra["text_classifier"], "device": device})
            classes = check_answers(extra["classes"], model.num_classes)
            sizes = {"vocabulary_size": len(vocabulary), "num_classes": len(classes)}
            if configuration(classifier.get_params(deep=False) | sizes) != model.config():
                raise ValueError("its options are not those of its network")
            check_choice("recipe", classifier.recipe, RECIPES)
            if classifier.max_length is not None:
                check_sizes(max_length=classifier.max_length)
        classifier.model_, classifier.vocabulary_, classifier.classes_ = model, vocabulary, classes
        return classifier


def split(codes: np.ndarray, fraction: float, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Random positions to train and to validate on: of each class the fraction, but never all, goes to validation."""
    order = np.random.default_rng(seed).permutation(len(codes))
    held_out = np.zeros(len(codes), bool)
    for code in range(codes.max() + 1):
        of_class = order[codes[order] == code]
        held_out[of_class[: min(round(fraction * len(of_class)), len(of_class) - 1)]] = True
    return order[~held_out[order]], order[held_out[order]]
