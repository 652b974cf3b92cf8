"""From texts to labels: cleaning, vocabulary, model and training behind scikit-learn's estimator methods."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from .backend import generator
from .checks import (
    as_array,
    as_column,
    as_labels,
    check_choice,
    check_flags,
    check_number,
    check_rates,
    check_sizes,
    check_texts,
    is_array,
    positions,
    refuse_first,
)
from .estimator import Estimator
from .files import reading
from .models.classifier import SequenceClassifier, configuration
from .models.logits import probabilities
from .models.saved import load_model, save_model
from .optimizers import Adam
from .schedules import cosine_schedule, warm_up
from .text import Vocabulary, clean_texts, keep_last, pad
from .text.clean import RECIPES
from .text.encoder import Encoder
from .training import Callback, fit, predict

Method = TypeVar("Method", bound=Callable[..., Any])
NAMES = {"texts": "X", "labels": "y"}  # what the arguments may be called besides scikit-learn's names


def also_by_name(method: Method) -> Method:
    """A method of X and y that takes them as texts= and labels= too."""

    @wraps(method)
    def called(self: Any, *args: Any, **named: Any) -> Any:
        for own, name in NAMES.items():
            if own in named:
                if name in named:
                    raise TypeError(f"{method.__name__} got both {name} and {own}, which are one argument")
                named[name] = named.pop(own)
        return method(self, *args, **named)

    return called  # type: ignore[return-value]


@dataclass(repr=False, eq=False)
class TextClassifier(Estimator):
    """A recurrent classifier of texts that follows scikit-learn's rules, without needing scikit-learn.

    The options of the network are those of `SequenceClassifier`; recipe, min_count and max_size those of cleaning and
    vocabulary. Texts keep their last `max_length` words; an empty one counts as one unknown word. Adam learns for
    `epochs` passes, the rate rising over a tenth of the updates (100 at most) and falling along a cosine; the share
    `validation_fraction` of each class's texts, if any, is kept aside to choose the best epoch. `random_state` fixes
    all chance: a whole number, None for another result each time, or a NumPy Generator or RandomState to draw from.
    With `workers` above 1, so many processes train (see `training.fit`).

    `embeddings` gives words their first vectors: a `Word2Vec`, or whatever has a vector under a word, such as a dict;
    other words of the vocabulary start as they would without. A file holds what was learned, and not these.

    Texts and labels come as lists, arrays, columns of data frames, or whatever can be gone through in order, and always
    go by position. `fit` and `score` take them as X and y, or as texts= and labels=.

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
    random_state: int | np.random.Generator | np.random.RandomState | None = 0
    progress: bool = False
    num_layers: int = 1
    bidirectional: bool = False
    word_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    activation: str = "tanh"
    reset_after: bool = False
    workers: int = 1
    embeddings: Any = None
    freeze: bool = False
    label_smoothing: float = 0.0
    adversarial: float = 0.0
    virtual: float = 0.0
    noise_weight: float = 1.0
    _learned = ("model_",)
    _estimator_type = "classifier"
    _input_tags = {"two_d_array": False, "string": True}

    classes_: np.ndarray = field(init=False)
    vocabulary_: Vocabulary = field(init=False)
    model_: SequenceClassifier = field(init=False)
    history_: Any = field(init=False)

    @also_by_name
    def fit(
        self, X: Any, y: Any, *, validation: tuple[Any, Any] | None = None, callbacks: Sequence[Callback] = ()
    ) -> TextClassifier:
        """Learn from N texts X and their N labels y: strings, whole or other numbers, or booleans, of two classes or
        more.

        `validation`, a pair of texts and labels, chooses the best epoch in the place of a share of the texts;
        `callbacks` are called after each epoch (see `training.fit`). Sets `classes_`, `vocabulary_`, `model_` and
        `history_`. Raises ValueError or TypeError for wrong data or options, and ValueError where cleaning and
        `min_count` leave no word to learn from.
        """
        if y is None:
            raise ValueError("labels is None: TextClassifier requires y to be passed, but the target y is None")
        self._check_options()
        texts = check_texts(X)
        classes, codes = np.unique(as_labels("labels", y, len(texts)), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels has the one class {classes.tolist()}, expected at least two")
        apart = None if validation is None else held_out_texts(validation, classes)
        seed = draw_seed(self.random_state)
        words = clean_texts(texts, self.recipe, progress=bool(self.progress))
        train_part, validation_part = split(codes, self.validation_fraction if apart is None else 0.0, seed)
        known = [words[k] for k in train_part]
        counts = Counter(word for text in known for word in text)
        vocabulary = self._make_vocabulary(counts, len(known), sum(map(bool, known)))
        ids = vocabulary.encode_all(words)
        held_out = ([ids[k] for k in validation_part], codes[validation_part]) if len(validation_part) else None
        if apart is not None:
            held_out = vocabulary.encode_all(clean_texts(apart[0], self.recipe)), apart[1]
        model = self._make_model(vocabulary, len(classes), seed)
        history = self._train(
            model,
            ([ids[k] for k in train_part], codes[train_part]),
            held_out,
            seed,
            updates=self.epochs * -(-len(train_part) // self.batch_size),
            callbacks=callbacks,
        )
        self.classes_, self.vocabulary_, self.model_, self.history_ = classes, vocabulary, model, history
        return self

    def _train(
        self, model: SequenceClassifier, train: Any, validation: Any, seed: int, updates: int, **how: Any
    ) -> Any:
        """The history of learning by the options; `how` is for `training.fit`, in the place of these."""
        own = {
            "optimizer": Adam(self.learning_rate),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "max_length": self.max_length,
            "schedule": warm_up(cosine_schedule(self.learning_rate, updates), max(1, min(100, updates // 10))),
            "clip_norm": self.clip_norm,
            "seed": seed,
            "progress": bool(self.progress),
            "workers": self.workers,
        }
        return fit(model, train, validation, **{**own, **how})

    def __sklearn_clone__(self) -> TextClassifier:
        """For scikit-learn's `clone`: unfitted, with the same embeddings, since a Word2Vec's clone has no vectors."""
        given = self.get_params(deep=False)
        return type(self)(**{k: value if k == "embeddings" else copy.deepcopy(value) for k, value in given.items()})

    def _check_options(self) -> None:
        check_choice("recipe", self.recipe, RECIPES)
        sizes = {name: getattr(self, name) for name in ("min_count", "max_size", "max_length", "epochs", "batch_size")}
        if self.max_size is None:
            del sizes["max_size"]
        if self.max_length is None:
            del sizes["max_length"]
        check_sizes(**sizes, workers=self.workers)
        check_number("learning_rate", self.learning_rate, above=0.0)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, above=0.0)
        check_rates(validation_fraction=self.validation_fraction)
        check_flags(progress=self.progress)
        if self.embeddings is not None:
            word_vectors(self.embeddings, [], self.embedding_dim)
        configuration(self.get_params(deep=False) | {"vocabulary_size": 1})

    def _make_vocabulary(self, counts: Mapping[str, int], texts: int, filled: int) -> Vocabulary:
        """Of words, by how often each comes in so many texts, of which some are filled."""
        found = Vocabulary.from_counts(counts, self.min_count, self.max_size)
        if len(found) == 1:
            often = f", the most frequent {max(counts.values())} times" if counts else ""
            raise ValueError(
                f"texts leave no word to learn from: of the {texts} to train on, {filled} have words after cleaning by "
                f"the recipe {self.recipe!r}, {len(counts)} different ones{often}, of which "
                f"min_count={self.min_count} and max_size={self.max_size} keep none"
            )
        return found

    def _make_model(self, vocabulary: Vocabulary, num_classes: int, seed: int) -> SequenceClassifier:
        sizes = {"vocabulary_size": len(vocabulary), "num_classes": num_classes}
        model = SequenceClassifier(**configuration(self.get_params(deep=False) | sizes), seed=seed)
        if self.embeddings is not None:
            rows, vectors = word_vectors(self.embeddings, vocabulary.words, self.embedding_dim)
            table = model.embedding.params["E"]
            table[model.xp.asarray(rows)] = model.xp.asarray(vectors.astype(table.dtype))
        return model

    @also_by_name
    def encode(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """What the network reads of N texts X: token ids (T, N), 0 past each end, and lengths (N,), int32 as ONNX has
        them. They are the inputs of its ONNX graph, whose logits are (N,) for two classes, of the second one, else (N,
        K), in the order of `classes_`.
        """
        self._check_fitted()
        ids = self.vocabulary_.encode_all(clean_texts(check_texts(X), self.recipe))
        padded, lengths = pad([keep_last(text, self.max_length) for text in ids])
        return padded, lengths.astype(np.int32)

    @also_by_name
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability (N, K) of each class, in the order of `classes_`, for N texts X.

        A text without a known word counts as one unknown word.
        """
        self._check_fitted()
        ids = Encoder(self.vocabulary_, self.recipe)(check_texts(X))
        return probabilities(predict(self.model_, ids, max_length=self.max_length))

    @also_by_name
    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (N,) of each text."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(axis=1)]

    @also_by_name
    def score(self, X: Any, y: Any) -> float:
        """The share of texts X that are classified as y says. Raises ValueError or TypeError for other labels."""
        self._check_fitted()
        texts = check_texts(X)
        codes = positions("labels", as_labels("labels", y, len(texts)), self.classes_)
        return float((self.predict_proba(texts).argmax(axis=1) == codes).mean())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted classifier to one `.npz` without pickle; a failure leaves an older file whole.

        A generator as `random_state` is written as None, and so are `embeddings`.
        """
        self._check_fitted()
        given = self.get_params(deep=False)
        params = {k: value.item() if isinstance(value, np.generic) else value for k, value in given.items()}
        if not isinstance(params["random_state"], int):
            params["random_state"] = None
        params["embeddings"] = None
        kind = None if self.classes_.dtype.kind == "U" else self.classes_.dtype.name
        extra = {"text_classifier": params, "classes": self.classes_.tolist(), "classes_dtype": kind}
        save_model(path, self.model_, self.vocabulary_, extra)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> TextClassifier:
        """Read what `save` wrote, all but `history_`. Raises ValueError, naming the file, for anything else."""
        model, vocabulary, extra = load_model(path, device)
        if not isinstance(model, SequenceClassifier) or vocabulary is None or "text_classifier" not in extra:
            raise ValueError(f"{path} holds a model, but no TextClassifier")
        with reading(path):
            classifier = cls(**{**extra["text_classifier"], "device": device})
            classes = as_labels("classes", extra["classes"], model.num_classes)
            if extra.get("classes_dtype") is not None:  # older files have none
                classes = cast(classes, extra["classes_dtype"])
            sizes = {"vocabulary_size": len(vocabulary), "num_classes": len(classes)}
            if configuration(classifier.get_params(deep=False) | sizes) != model.config():
                raise ValueError("its options are not those of its network")
            check_choice("recipe", classifier.recipe, RECIPES)
            if classifier.max_length is not None:
                check_sizes(max_length=classifier.max_length)
        classifier.model_, classifier.vocabulary_, classifier.classes_ = model, vocabulary, classes
        return classifier


def word_vectors(embeddings: Any, words: list[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions (N,) of those words but the first, the unknown one, that have a vector, and the vectors (N, size).

    Raises TypeError or ValueError for embeddings that are none, or of another size.
    """
    vocabulary = getattr(embeddings, "vocabulary", None)
    if vocabulary is not None and hasattr(embeddings, "vectors"):
        vectors = as_array("embeddings.vectors", embeddings.vectors)
        if vectors.shape != (len(vocabulary), size):
            raise ValueError(
                f"embeddings.vectors has shape {vectors.shape}, expected {(len(vocabulary), size)}: its words, and "
                f"embedding_dim={size}"
            )
        rows = np.array([k for k, word in enumerate(words) if k and word in vocabulary], np.int64)
        found = vectors[np.array([vocabulary[words[k]] for k in rows], np.int64)]
    elif hasattr(embeddings, "__getitem__") and not (is_array(embeddings) or isinstance(embeddings, Sequence)):
        rows = np.array([k for k, word in enumerate(words) if k and word in embeddings], np.int64)
        found = np.empty((len(rows), size))
        for place, k in enumerate(rows):
            vector = as_column(f"embeddings[{words[k]!r}]", embeddings[words[k]])
            if vector.shape != (size,):
                raise ValueError(
                    f"embeddings[{words[k]!r}] has shape {vector.shape}, expected {(size,)} as embedding_dim"
                )
            found[place] = vector
    else:
        raise TypeError(f"embeddings is {type(embeddings).__name__}, expected a Word2Vec or a dict of vectors by words")
    if len(words) > 1 and not len(rows):
        raise ValueError(f"embeddings have a vector for none of the {len(words) - 1} words, such as {words[1]!r:.60}")
    refuse_first("embeddings", found, np.isfinite(found), "a finite number")
    return rows, found


def held_out_texts(validation: Any, classes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The texts, and the places (N,) of their labels among the classes. Raises TypeError or ValueError."""
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise TypeError(f"validation is {type(validation).__name__}, expected the pair (texts, labels)")
    try:
        texts = check_texts(validation[0])
        return texts, positions("labels", as_labels("labels", validation[1], len(texts)), classes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation {error}") from None


def draw_seed(state: Any) -> int:
    """A whole number that fixes all chance: the one given, or one drawn. Raises TypeError or ValueError for others."""
    if isinstance(state, int | np.integer) and not isinstance(state, bool) and state >= 0:
        return int(state)
    return int(generator(state, "random_state").integers(2**63 - 1))


def cast(classes: np.ndarray, dtype: Any) -> np.ndarray:
    """The classes with the dtype that a file names. Raises ValueError unless it is one that holds them."""
    names = {np.dtype(code).name for code in "?bhilqBHILQefd"}
    if dtype not in names:
        raise ValueError(f"classes_dtype is {dtype!r:.60}, expected one of {', '.join(sorted(names))}")
    found = classes.astype(dtype)
    if found.tolist() != classes.tolist():
        raise ValueError(f"classes_dtype is {dtype}, which does not hold {classes.tolist()!s:.100}")
    return found


def split(codes: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random positions to train and to validate on: of each class the fraction, but never all, goes to validation."""
    order = np.random.default_rng(seed).permutation(len(codes))
    held_out = np.zeros(len(codes), bool)
    for code in range(codes.max() + 1):
        of_class = order[codes[order] == code]
        held_out[of_class[: min(round(fraction * len(of_class)), len(of_class) - 1)]] = True
    return order[~held_out[order]], order[held_out[order]]
