"""Texts in, labels out, in three lines:

cleaning, vocabulary, model and training behind scikit-learn's estimator methods.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.losses import sigmoid, softmax
from ..optimizers import Adam, cosine_schedule, warm_up
from ..text import Vocabulary, clean_texts
from ..training import fit, predict
from .classifier import SequenceClassifier
from .saved import load_model, save_model


class NotFittedError(ValueError, AttributeError):
    """A method that needs a trained classifier was called before `fit`."""


class TextClassifier:
    """A recurrent classifier of texts that follows scikit-learn's rules, without needing scikit-learn.

    cell, embedding_dim, hidden_size, pooling, dropout, embedding_dropout are those of `SequenceClassifier`; recipe,
    min_count and max_size those of cleaning and vocabulary. Texts keep their last `max_length` words; an empty one
    counts as one unknown word. Adam learns for `epochs` passes, the rate rising over 100 updates and falling along a
    cosine; the share `validation_fraction` of the texts, if any, is kept aside to choose the best epoch.
    `random_state` fixes all chance.

    >>> texts, labels = ["good film", "bad film"] * 8, ["yes", "no"] * 8
    >>> clf = TextClassifier(cell="gru", epochs=20, learning_rate=0.05, validation_fraction=0.0, random_state=0)
    >>> clf.fit(texts, labels).predict(["a good plot", "bad"]).tolist()
    ['yes', 'no']
    """

    classes_: np.ndarray
    vocabulary_: Vocabulary
    model_: SequenceClassifier
    history_: Any

    def __init__(
        self,
        cell: str = "lstm",
        embedding_dim: int = 64,
        hidden_size: int = 64,
        pooling: str = "mean+max",
        dropout: float = 0.5,
        embedding_dropout: float = 0.5,
        recipe: str = "default",
        min_count: int = 2,
        max_size: int | None = 20000,
        max_length: int | None = 400,
        epochs: int = 4,
        batch_size: int = 64,
        learning_rate: float = 0.002,
        clip_norm: float | None = 1.0,
        validation_fraction: float = 0.1,
        device: str = "cpu",
        random_state: int = 0,
        progress: bool = False,
    ):
        self.cell = cell
        self.embedding_dim = embedding_dim
        self.hidden_size = hidden_size
        self.pooling = pooling
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.recipe = recipe
        self.min_count = min_count
        self.max_size = max_size
        self.max_length = max_length
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def fit(self, texts: Sequence[str], labels: Sequence[Any]) -> TextClassifier:
        """Learn from N texts and their N labels, of at least two classes.

        Sets `classes_`, `vocabulary_`, `model_` and `history_`. Raises ValueError or TypeError for wrong data or
        options.
        """
        texts, y = check_texts(texts), np.asarray(labels)
        if y.shape != (len(texts),):
            raise ValueError(f"labels has shape {y.shape}, expected ({len(texts)},): one for each text")
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels has the one class {classes.tolist()}, expected at least two")
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError(f"validation_fraction is {self.validation_fraction}, expected a number in [0, 1)")
        words = clean_texts(texts, self.recipe, progress=self.progress)
        order = np.random.default_rng(self.random_state).permutation(len(texts))
        held_out = int(round(self.validation_fraction * len(texts)))
        validation_part, train_part = order[:held_out], order[held_out:]
        vocabulary = Vocabulary.build([words[k] for k in train_part], self.min_count, self.max_size)
        ids = vocabulary.encode_all(words)
        model = SequenceClassifier(
            len(vocabulary),
            self.embedding_dim,
            self.hidden_size,
            num_classes=len(classes),
            cell=self.cell,
            pooling=self.pooling,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
            device=self.device,
            seed=self.random_state,
        )
        updates = self.epochs * -(-len(train_part) // self.batch_size)
        history = fit(
            model,
            ([ids[k] for k in train_part], codes[train_part]),
            ([ids[k] for k in validation_part], codes[validation_part]) if held_out else None,
            optimizer=Adam(self.learning_rate),
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_length=self.max_length,
            schedule=warm_up(cosine_schedule(self.learning_rate, updates), min(100, updates)),
            clip_norm=self.clip_norm,
            seed=self.random_state,
            progress=self.progress,
        )
        self.classes_, self.vocabulary_, self.model_, self.history_ = classes, vocabulary, model, history
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """The probability (N, K) of each class, in the order of `classes_`."""
        if not hasattr(self, "model_"):
            raise NotFittedError("this TextClassifier is not fitted yet: call fit first")
        ids = self.vocabulary_.encode_all(clean_texts(check_texts(texts), self.recipe))
        logits = predict(self.model_, ids, max_length=self.max_length)
        if len(self.classes_) > 2:
            return softmax(logits)
        positive = sigmoid(logits)
        return np.stack([1 - positive, positive], axis=1)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable class (N,) of each text."""
        probabilities = self.predict_proba(texts)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, texts: Sequence[str], labels: Sequence[Any]) -> float:
        """The share of texts that are classified right."""
        return float((self.predict(texts) == np.asarray(labels)).mean())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> TextClassifier:
        """Change constructor's arguments. Raises ValueError for one there is not."""
        for name in params:
            if name not in self._names():
                raise ValueError(
                    f"{name!r} is no parameter of TextClassifier, expected one of {', '.join(self._names())}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's model selection asks; scikit-learn is imported only when it does."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = {name: value for name, value in self.get_params().items() if value != defaults[name].default}
        return f"TextClassifier({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted classifier to one `.npz` without pickle; labels must be numbers or strings."""
        if not hasattr(self, "model_"):
            raise NotFittedError("this TextClassifier is not fitted yet: call fit first")
        extra = {"text_classifier": self.get_params(), "classes": self.classes_.tolist()}
        save_model(path, self.model_, self.vocabulary_, extra)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TextClassifier:
        """Read what `save` wrote. Raises ValueError, naming the file, for anything else."""
        model, vocabulary, extra = load_model(path)
        if vocabulary is None or "text_classifier" not in extra:
            raise ValueError(f"{path} holds a model, but no TextClassifier")
        classifier = cls().set_params(**extra["text_classifier"])
        classifier.model_, classifier.vocabulary_ = model, vocabulary
        classifier.classes_ = np.array(extra["classes"])
        return classifier


def check_texts(texts: Any) -> list[str]:
    """The texts as a list. Raises TypeError for one string, ValueError when there is none."""
    if isinstance(texts, str):
        raise TypeError("texts is one string, expected a list of strings")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty, expected at least one")
    return texts
