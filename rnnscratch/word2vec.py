"""Vectors of words, learned from text: skip-gram and CBOW (Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546).

Text is taken in stretches of a few hundred words, whose updates are made together as matrix products (Ji et al. 2016,
arXiv 1604.04661); the mathematics is in `kernels/word2vec.py`.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import numpy as np

from .backend import blas_threads, generator, scatter_add
from .checkpoints import Run
from .checks import (
    as_list,
    check_choice,
    check_flags,
    check_number,
    check_shape,
    check_sizes,
    non_finite,
    refuse_first,
)
from .estimator import Estimator
from .files import atomic_write, load_arrays, open_regular, owned, reading, save_arrays, to_json, user_path
from .kernels import word2vec as kernel
from .optimizers import SGD
from .progress import progress_bar
from .text import Vocabulary
from .text.vocabulary import UNKNOWN
from .training import ADVICE, History, NonFiniteLoss

__all__ = ["Word2Vec"]

BLOCK = 16  # targets whose products are made together
STRETCH = {"skipgram": 256, "cbow": 1024}  # targets after which the vectors move, at most, and
OFTEN = {"skipgram": 5, "cbow": 12}  # times that one of them may be the same word, on average: more would overshoot
SHARED = 16  # drawn words that the targets of a block share
MANY = 2  # times as often as that: a stretch with more of one word, such as spam, gets shorter steps
GROUPS = 6  # of blocks with as many nodes, in CBOW with a tree: 1.3 times as fast as one
WORST = 1000.0  # a loss of a prediction that only a training which has burst can have
HEAVY = 128  # questions of a stretch that move a node of the tree at full rate; of more, each moves it the less
LEAST_RATE = 1e-4  # what the learning rate falls to, as a share of what it was
SAMPLED = 16  # the loss is that of every 16th stretch
ROW = ("loss", "learning_rate", "seconds", "words_per_second")
_FORMAT = "rnnscratch word vectors 1"


@dataclass(repr=False, eq=False)
class Word2Vec(Estimator):
    """Vectors of words by skip-gram or CBOW, with negative sampling or with hierarchical softmax.

    vector_size    numbers of a vector
    window         words on each side that count as near; for each target so many, or fewer, by chance
    model          "skipgram": each word near predicts the target; "cbow": their mean does
    objective      "negative": the target against `negative` drawn words, never itself, drawn by count^(3/4);
                   "hierarchical": the answers on the way to it in a Huffman tree, about log2 V of them
    min_count      words seen less often are left out, as is what goes beyond `max_size` entries of the vocabulary
    sample         a word of frequency f is kept with probability sqrt(sample / f) + sample / f in each epoch; 0: always
    learning_rate  falls linearly over all epochs to nearly 0; of few words, which then stand many times among those
                   whose updates are made together, the steps are shorter, so that they do not overshoot
    seed           fixes all chance: a whole number, None for another result each time, or a generator

    `fit` sets `vocabulary` (with "<unk>" at 0), `vectors` (V, vector_size) float32, whose row 0 is zeros, and
    `history_`, with the mean loss of a target (of a sample of them), the learning rate and words a second by epoch.

    >>> text = [["red", "or", "blue"], ["blue", "or", "red"], ["two", "and", "three"], ["three", "and", "two"]] * 100
    >>> wv = Word2Vec(vector_size=8, min_count=1, sample=0).fit(text)
    >>> wv["red"].shape, [word for word, _ in wv.most_similar("red", topn=2)]
    ((8,), ['blue', 'or'])
    """

    vector_size: int = 100
    window: int = 5
    model: str = "skipgram"
    objective: str = "negative"
    negative: int = 5
    min_count: int = 5
    sample: float = 1e-3
    epochs: int = 5
    learning_rate: float = 0.025
    seed: Any = 0
    progress: bool = False
    max_size: int | None = None
    _learned = ("vocabulary", "vectors")
    _input_tags = {"two_d_array": False, "string": True}

    vocabulary: Vocabulary = field(init=False)
    vectors: np.ndarray = field(init=False)
    history_: History = field(init=False)

    def fit(
        self, sentences: Any, y: Any = None, *, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False
    ) -> Word2Vec:
        """Learn from sentences, each a list of words; y is not used, as scikit-learn has it.

        checkpoint, resume   as in `training.fit`: a file written at the start and after each epoch, from which a run
                             killed later goes on to the same bits

        Raises ValueError or TypeError for wrong options or sentences, where no two known words are in one sentence,
        and for the checkpoint of another run; NonFiniteLoss; OSError, naming the file. Then, as on KeyboardInterrupt,
        this object is as it was before.
        """
        self._check_options()
        check_flags(resume=resume)
        if resume and checkpoint is None:
            raise ValueError("resume is True, expected the path of a checkpoint")
        path = None if checkpoint is None else user_path(checkpoint)
        vocabulary, text, counts = self._read(sentences)
        learner = Learner(self, text, counts, generator(self.seed))
        words = np.frombuffer(to_json(vocabulary.words).encode(), np.uint8)
        fingerprint = {
            "model": {k: v for k, v in self.get_params().items() if k not in ("seed", "progress")},
            "text": [checksum(array) for array in (*text, words)],
            "validation data": None,
            "monitor": "loss",
        }
        run = Run(learner, SGD(self.learning_rate), None, None, fingerprint, row=ROW)
        try:
            with blas_threads(learner.params), contextlib.ExitStack() as mine:
                if path is not None:
                    mine.enter_context(owned(path))
                    run.begin(path, resume)
                while len(run.rows) < self.epochs:
                    run.note(learner.epoch(len(run.rows) + 1, self.epochs, bool(self.progress)), "loss", False)
                    run.updates += 1
                    if path is not None:
                        run.save(path)
        except KeyboardInterrupt as error:
            message = f"interrupted after {len(run.rows)} of {self.epochs} epochs"
            if run.saved is not None:
                message += f"; {path} holds {run.saved}, from which resume=True goes on"
            error.args = (message,)
            raise
        self.vocabulary, self.vectors = vocabulary, learner.params["E"]
        self.history_ = History(run.rows, len(run.rows))
        return self

    def _check_options(self) -> None:
        check_sizes(
            **{name: getattr(self, name) for name in ("vector_size", "window", "negative", "min_count", "epochs")}
        )
        check_sizes(2, max_size=2 if self.max_size is None else self.max_size)
        check_choice("model", self.model, ("skipgram", "cbow"))
        check_choice("objective", self.objective, ("negative", "hierarchical"))
        check_number("sample", self.sample, least=0.0)
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_flags(progress=self.progress)

    def _read(self, sentences: Any) -> tuple[Vocabulary, Text, np.ndarray]:
        """The vocabulary, the text without unknown words, and how often each word is in it."""
        sentences = as_list("sentences", sentences)
        try:
            vocabulary = Vocabulary.build(sentences, self.min_count, self.max_size)
            encoded = vocabulary.encode_all(sentences)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("texts", "sentences", 1)) from None
        ids = np.concatenate([*encoded, np.zeros(0, np.int64)])
        sentence = np.repeat(np.arange(len(encoded)), [len(each) for each in encoded])
        text = Text(ids[ids > 0], sentence[ids > 0])
        if len(vocabulary) < 3 or not text.reach()[0].any():
            raise ValueError(
                f"sentences leave nothing to learn from: {len(sentences)} of them, with {len(ids)} words, of which "
                f"min_count={self.min_count} and max_size={self.max_size} keep {len(vocabulary) - 1} different ones; "
                "expected two at least, and two in one sentence"
            )
        return vocabulary, text, np.bincount(text.ids, minlength=len(vocabulary))

    def __getitem__(self, word: Any) -> np.ndarray:
        """The vector (D,) of a word, or those (n, D) of a list of n. Raises KeyError for a word that is not known."""
        self._check_fitted()
        if isinstance(word, str):
            return self.vectors[self._id(word)]
        return self.vectors[[self._id(each) for each in as_list("word", word)]]

    def __contains__(self, word: object) -> bool:
        self._check_fitted()
        return word in self.vocabulary

    def _id(self, word: Any) -> int:
        if not isinstance(word, str):
            raise TypeError(f"word is {word!r:.60}, expected a string")
        if word not in self.vocabulary:
            raise KeyError(f"{word!r:.60} is not among the {len(self.vocabulary) - 1} known words")
        return self.vocabulary[word]

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the angle between the vectors of two words; 0 where one is all zeros."""
        u, v = (self[word].astype(float) for word in (a, b))
        return float(u @ v / max(np.linalg.norm(u) * np.linalg.norm(v), np.finfo(float).tiny))

    def most_similar(self, word: Any, topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine to that of a word, which is left out, or to a vector (D,)."""
        self._check_fitted()
        check_sizes(topn=topn)
        if isinstance(word, str):
            return self._nearest(self[word], [self._id(word)], topn)
        given = check_shape("word", word, self.vectors.shape[1:], self.vectors.dtype, "as a vector of this model")
        refuse_first("word", given, np.isfinite(given), "a finite number")
        return self._nearest(given, [], topn)

    def analogy(self, a: str, b: str, c: str, topn: int = 10) -> list[tuple[str, float]]:
        """a is to b as c is to what: the words nearest to b - a + c, each of unit length; the three are left out."""
        self._check_fitted()
        check_sizes(topn=topn)
        u, v, w = (self[word] / max(float(np.linalg.norm(self[word])), TINY) for word in (a, b, c))
        return self._nearest(v - u + w, [self._id(word) for word in (a, b, c)], topn)

    def _nearest(self, vector: np.ndarray, left_out: list[int], topn: int) -> list[tuple[str, float]]:
        sizes = np.sqrt(np.einsum("vd,vd->v", self.vectors, self.vectors)) * np.linalg.norm(vector)
        cosine = self.vectors @ vector / np.maximum(sizes, TINY)
        cosine[[0, *left_out]] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: max(0, min(topn, len(cosine) - 1 - len(set(left_out))))]
        return [(self.vocabulary.words[k], float(cosine[k])) for k in best]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, words and options to one `.npz` without pickle; a failure leaves an older file whole.

        A generator as `seed` is written as None.
        """
        self._check_fitted()
        params = {k: value.item() if isinstance(value, np.generic) else value for k, value in self.get_params().items()}
        if not isinstance(params["seed"], int):
            params["seed"] = None
        header = {"format": _FORMAT, "word2vec": params, "words": self.vocabulary.words}
        save_arrays(path, header, {"vectors": self.vectors})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Word2Vec:
        """Read what `save` wrote, all but `history_`. Raises OSError, or ValueError naming the file."""
        header, arrays = load_arrays(path, _FORMAT)
        with reading(path):
            found = cls(**header["word2vec"])
            found._check_options()
            found.vocabulary = Vocabulary(header["words"])
            shape = (len(found.vocabulary), found.vector_size)
            found.vectors = check_shape("vectors", arrays["vectors"], shape, np.float32, "as words and options say")
            refuse_first("vectors", found.vectors, np.isfinite(found.vectors), "a finite number")
        return found

    def save_word2vec_format(self, path: str | os.PathLike[str], binary: bool = False) -> None:
        """Write the file of the C program word2vec, which gensim and others read: words and vectors, no options.

        Raises ValueError for words that it cannot hold: empty ones, and those with a space or an end of line.
        """
        self._check_fitted()
        check_flags(binary=binary)
        words = [word.encode("utf-8", "surrogatepass") for word in self.vocabulary.words[1:]]
        for word, encoded in zip(self.vocabulary.words[1:], words):
            if not word or set(word) & set(" \n") or word != encoded.decode("utf-8", "replace"):
                raise ValueError(
                    f"the word {word!r:.60} cannot stand in a file of word2vec, whose words end at a space"
                )
        with atomic_write(path, "wb") as file:
            file.write(f"{len(words)} {self.vectors.shape[1]}\n".encode())
            for encoded, vector in zip(words, self.vectors[1:].astype("<f4")):
                numbers = vector.tobytes() if binary else b" ".join(repr(x).encode() for x in vector.tolist()) + b"\n"
                file.write(encoded + b" " + numbers)

    @classmethod
    def load_word2vec_format(cls, path: str | os.PathLike[str], binary: bool = False) -> Word2Vec:
        """Read a file of word2vec, gensim or fastText (`.vec`). Raises OSError, or ValueError naming the file.

        The options besides `vector_size` are the defaults. A vector of "<unk>" becomes row 0.
        """
        check_flags(binary=binary)
        with open_regular(path) as file, reading(path, "is no word2vec file, or damaged"):
            head = file.readline(100).split()
            if len(head) != 2 or not all(number.isdigit() for number in head):
                raise ValueError(
                    f"its first line is {b' '.join(head)!r:.60}, expected two numbers: words and vector size"
                )
            count, size = map(int, head)
            rest = os.fstat(file.fileno()).st_size - file.tell()
            if not count or not size or count * (2 + (4 if binary else 2) * size) > rest + 1:
                raise ValueError(f"it says {count} words and {size} numbers a vector, for which {rest} bytes are few")
            words, vectors = [UNKNOWN], np.zeros((count + 1, size), np.float32)
            for word, vector in (_binary if binary else _lines)(file, count, size):
                if word == UNKNOWN:
                    vectors[0] = vector
                else:
                    vectors[len(words)] = vector
                    words.append(word)
            found = cls(vector_size=size)
            found.vocabulary, found.vectors = Vocabulary(words), vectors[: len(words)]
            refuse_first("vectors", found.vectors, np.isfinite(found.vectors), "a finite number")
        return found


TINY = float(np.finfo(np.float32).tiny)


def _lines(file: IO[bytes], count: int, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Words and vectors of the text format."""
    for k in range(count):
        word, *numbers = file.readline().rstrip(b" \r\n").split(b" ")
        if len(numbers) != size:
            raise ValueError(f"line {k + 2} has {len(numbers)} numbers, expected {size}")
        yield word.decode(), np.array(numbers, dtype=np.float32)


def _binary(file: IO[bytes], count: int, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Words and vectors of the binary format, in which some writers end each vector with a line end."""
    content = file.read()
    at = 0
    for k in range(count):
        end = content.find(b" ", at)
        if end < 0 or len(content) < end + 1 + 4 * size:
            raise ValueError(f"it ends within word {k + 1} of {count}")
        yield content[at:end].lstrip(b"\n").decode(), np.frombuffer(content, "<f4", size, end + 1)
        at = end + 1 + 4 * size


class Text(NamedTuple):
    """Known words one after the other, each with the number of its sentence."""

    ids: np.ndarray
    sentence: np.ndarray

    def reach(self) -> tuple[np.ndarray, np.ndarray]:
        """How many words the sentence of each word has before it and after it."""
        size = np.bincount(self.sentence)
        before = np.arange(len(self.ids)) - (size.cumsum() - size)[self.sentence]
        return before, size[self.sentence] - 1 - before


class Stretch(NamedTuple):
    """N blocks of C targets, with the words around them."""

    ids: np.ndarray  # (N C + C,): from W before the first target on
    words: np.ndarray  # (N, Q)
    targets: np.ndarray  # (N, C)
    near: np.ndarray  # (N, C, Q)


class Learner:
    """The vectors and what they are learned from, one epoch after the other."""

    def __init__(self, options: Word2Vec, text: Text, counts: np.ndarray, rng: np.random.Generator):
        self.options, self.text, self.rng = options, text, rng
        V, D = len(counts), options.vector_size
        E = ((rng.random((V, D)) - 0.5) / D).astype(np.float32)
        E[0] = 0
        self.params = {"E": E, "out": np.zeros((V, D), np.float32)}
        share = counts / counts.sum()
        rarity = options.sample / np.maximum(share, TINY) if options.sample else np.ones(V)
        self.kept = np.minimum(1.0, np.sqrt(rarity) + rarity)
        self.noise = counts**0.75 / (counts**0.75).sum()
        self.drawn_by = kernel.evened(self.noise)
        self.cumulative = self.drawn_by.cumsum()
        if options.objective == "hierarchical":
            self.tree = kernel.huffman(counts)
        # A word's share in a mean is 1 / (window + 1) or so, as is its gradient: so much longer are its steps
        self.pace = options.window + 1 if options.model == "cbow" else 1
        self.C = max(BLOCK, 2 * options.window)
        often = (share * self.kept).max() / (share * self.kept).sum()
        slower = min(1.0, 0.025 / options.learning_rate)
        most = OFTEN[options.model] / often * slower
        self.N = max(1, int(min(most, STRETCH[options.model] * slower)) // self.C)
        self.rate = options.learning_rate * min(1.0, most / self.C)  # of few words, even one block has too many
        self.many = max(1, int(MANY * OFTEN[options.model] * slower))

        if options.objective == "hierarchical":
            asked = np.repeat(share * self.kept, self.tree.steps)  # by each word at each node of its way
            weight = np.bincount(self.tree.nodes[self.tree.nodes >= 0], asked, minlength=V) / (share * self.kept).sum()
            pairs = options.window + 1 if options.model == "skipgram" else 1
            self.ease = np.minimum(1.0, HEAVY / np.maximum(weight * self.N * self.C * pairs, TINY)).astype(np.float32)

    def epoch(self, number: int, epochs: int, progress: bool) -> dict[str, float]:
        """One pass over the text; its row of figures."""
        start, total, base = time.perf_counter(), len(self.text.ids), self.rate
        stretches, count = self.stretches()
        loss, predictions, rate = 0.0, 0.0, base
        options = {"desc": f"epoch {number}/{epochs}", "unit": " words", "unit_scale": True, "leave": False}
        with progress_bar(None, progress, total=total, **options) as bar:
            for k, stretch in enumerate(stretches):
                rate = base * max(1 - (number - 1 + k / count) / epochs, LEAST_RATE)
                found = self.update(stretch, rate, k % SAMPLED == 0)
                if found is not None:
                    asked = self.predictions(stretch)
                    if not found <= WORST * max(asked, 1):
                        where = f"epoch {number}, stretch {k + 1} of {count}"
                        raise NonFiniteLoss(f"loss {found / max(asked, 1):.3g} in {where}; {ADVICE}")
                    loss, predictions = loss + found, predictions + asked
                    bar.set_postfix_str(f"loss {loss / max(predictions, 1):.3f}", refresh=False)
                bar.update(total * (k + 1) // count - total * k // count)
        spoilt = non_finite(self.params)
        if spoilt is not None:
            raise NonFiniteLoss(f"the parameter {spoilt} is not finite after epoch {number}; {ADVICE}")
        seconds = time.perf_counter() - start
        row = {"epoch": number, "loss": loss / max(predictions, 1), "learning_rate": rate, "seconds": seconds}
        return {**row, "words_per_second": total / seconds}

    def stretches(self) -> tuple[Iterator[Stretch], int]:
        """The text of one epoch, without what chance leaves out, and how many stretches it has."""
        W, C, size = self.options.window, self.C, self.N * self.C
        kept = self.rng.random(len(self.text.ids)) < self.kept[self.text.ids]
        text = Text(self.text.ids[kept], self.text.sentence[kept])
        count = -(-len(text.ids) // size)
        window = self.rng.integers(1, W + 1, len(text.ids))
        before, after = (padded(np.minimum(window, each), 0, count * size) for each in text.reach())
        ids = padded(text.ids, W, W + count * size + C)
        around = C * np.arange(self.N)[:, None] + np.arange(C + 2 * W)
        distance = np.arange(-W, C + W) - np.arange(C)[:, None]

        def cut() -> Iterator[Stretch]:
            for first in range(0, count * size, size):
                low, high = (each[first : first + size].reshape(self.N, C, 1) for each in (before, after))
                near = (distance >= -low) & (distance <= high) & (distance != 0)
                here = ids[first : first + size + C]
                targets = here[W : W + size].reshape(self.N, C)
                yield Stretch(here, here[around], targets, near.astype(np.float32))

        return cut(), count

    def predictions(self, stretch: Stretch) -> float:
        """Of how many targets, or pairs of words, the loss of a stretch is the sum."""
        return float((stretch.near.any(axis=2) if self.options.model == "cbow" else stretch.near).sum())

    def patience(self, targets: np.ndarray) -> float:
        """The share of a step that a stretch gets: 1, unless a word stands in it so often that it would overshoot."""
        ids = np.sort(targets, axis=None)
        if len(ids) <= self.many or not ((ids[self.many :] == ids[: -self.many]) & (ids[self.many :] > 0)).any():
            return 1.0
        return self.many / np.bincount(ids)[1:].max()  # 0 is past the end of the text

    @np.errstate(over="ignore", invalid="ignore", under="ignore")  # NonFiniteLoss says more
    def update(self, stretch: Stretch, rate: float, loss: bool) -> float | None:
        """Move the vectors down the gradient of a stretch; its loss before that, if asked for."""
        E, out = self.params["E"], self.params["out"]
        rate *= self.patience(stretch.targets)
        mean, order, near = self.options.model == "cbow", None, stretch.near
        if self.options.objective == "negative":
            drawn = kernel.stratified(self.cumulative, (self.N, SHARED), self.rng)
            questions = kernel.ask_noise(
                stretch.targets, drawn, self.options.negative, self.noise, self.drawn_by, E.dtype
            )
        else:
            targets = stretch.targets
            if mean:
                order = kernel.by_way(targets.reshape(-1), self.tree, self.C)
                targets = targets.reshape(-1)[order].reshape(targets.shape)
            else:
                within = np.argsort(self.tree.place[targets], axis=1)
                targets, near = np.take_along_axis(targets, within, 1), np.take_along_axis(near, within[:, :, None], 1)
            questions = kernel.ask_path(targets, self.tree, np.float32, GROUPS if mean else 1)
        found, cache = kernel.unchecked(E, out, stretch.words, near, questions, mean, loss, order)
        dwords, dout = kernel.backward(cache, -rate)
        both = np.zeros((self.N + 1, self.C, E.shape[1]), np.float32)  # words that two blocks have, added up
        both[:-1] = dwords[:, : self.C]
        both[1:, : 2 * self.options.window] += dwords[:, self.C :]
        both *= self.pace
        scatter_add(E, stretch.ids, both.reshape(-1, E.shape[1]))
        ids = np.concatenate([asked.ids.reshape(-1) for asked in questions])
        rows = np.concatenate([each.reshape(-1, E.shape[1]) for each in dout])
        if self.options.objective == "hierarchical":
            rows *= self.ease[ids][:, None]
        add_rows(out, ids, rows)
        return None if found is None else float(found)


def add_rows(table: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """`scatter_add`, to the same bits and faster where most ids come once: what comes first is added all at once."""
    place = np.arange(len(ids))
    first = np.empty(len(table), np.intp)
    first[ids[::-1]] = place[::-1]
    new = first.take(ids) == place
    once, again = np.flatnonzero(new), np.flatnonzero(~new)
    at = ids.take(once)
    table[at] = table.take(at, axis=0) + rows.take(once, axis=0)
    scatter_add(table, ids.take(again), rows.take(again, axis=0))


def checksum(array: np.ndarray) -> int:
    """A number by which an array is known again."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)


def padded(values: np.ndarray, before: int, size: int) -> np.ndarray:
    """The values after so many zeros, and zeros up to the size."""
    found = np.zeros(size, values.dtype)
    found[before : before + len(values)] = values
    return found
