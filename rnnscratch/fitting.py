"""A classifier learned from a file of labelled texts, which may be larger than memory, and went on with if killed."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backend import blas_threads
from .checks import check_flags, check_number, check_sizes
from .experiments.pages import text_table
from .files import is_hidden, load_arrays, owned, reading, save_arrays, user_path
from .progress import progress_bar, shown
from .text import Vocabulary
from .text.corpus import WORD_BYTES, Index, Stored, StoredBatches, Words, checksum, store
from .text.tables import read_rows
from .text_classifier import TextClassifier, draw_seed, split

FORMAT = "rnnscratch texts 1"


class Learned(NamedTuple):
    """What a file taught."""

    classifier: TextClassifier
    counts: dict[str, dict[str, int]]  # texts by label, of training, validation and test
    scores: dict[str, float] | None  # of the test texts, as `training.evaluate` gives them, if there is such a file


class Texts(NamedTuple):
    """What is known of the texts of a part."""

    file: str  # in which their words are
    starts: np.ndarray  # (N + 1,) of the file's rows, in words
    rows: np.ndarray  # which of the file's rows
    codes: np.ndarray  # the labels of these


class Prepared(NamedTuple):
    """Texts on the disk, ready to be learned from."""

    classes: list[str]
    vocabulary: Vocabulary
    ids: np.ndarray  # of the numbers of words in the training file
    parts: dict[str, Texts]
    seed: int


def fit_file(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    classifier: TextClassifier | None = None,
    *,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    kind: str | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    quotes: bool = True,
    validation: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    memory: float = 1000.0,
    part: int = 100_000,
    resume: bool = False,
    progress: bool = False,
) -> Learned:
    """Learn the labels of the texts in a file, and write the classifier to `out`, as `TextClassifier.save` does.

    text, label    columns or keys, kind, encoding, separator and quotes those of `text.tables.read_rows`
    validation     a file that chooses the best weights, else the share `validation_fraction` of the classifier is kept
                   aside for it, but of no more than `part` texts: of each label, or, with `group`, of whole groups,
                   the texts with one value there
    test           a file whose texts are judged once, at the end
    memory         MB for what grows with the files, besides some 100: half for the words of the training texts, half
                   for all texts, 48 bytes each. Where there are more words, the rarest go (`text.corpus.Words`); where
                   there are more texts, they are refused. Words as numbers, four bytes each, lie in the folder
                   `out`.run while it is learned, with a checkpoint
    part           texts that are learned between two checkpoints at most, after each of which the validation texts are
                   judged
    resume         go on, to the same bits, with what another call with the same arguments left when it was stopped
    progress       show bars, and the texts by label, on standard error

    With one part the classifier is what `TextClassifier.fit` learns from the same texts.

    Raises ValueError, with file, line and column, for what is wrong in a file; ValueError or TypeError for options, and
    where `out` is there, or a run that was stopped and is of other arguments, or is not to go on; OSError for files
    that cannot be read or written; NonFiniteLoss. What is wrong in the files is known before anything is learned.
    """
    classifier = TextClassifier() if classifier is None else classifier
    classifier._check_options()
    check_flags(resume=resume)
    check_sizes(part=part)
    check_number("memory", memory, above=0.0)
    if group is not None and validation is not None:
        raise ValueError(f"group is {group!r}, by which validation texts are chosen, but validation is {validation}")
    out = user_path(out)
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a folder, expected the name of a new file", str(out))
    folder = out.with_name(out.name + ".run")
    sources = {"training": data, "validation": validation, "test": test}
    columns: dict[str, Any] = {"text": text, "label": label, "group": group, "kind": kind, "encoding": encoding}
    columns |= {"separator": separator, "quotes": bool(quotes)}
    with owned(out):
        if os.path.lexists(out):
            rest = f"; {folder} is what its training left, and may be removed" if folder.exists() else ""
            raise ValueError(f"out is {out}, which is there already: give another, or remove it{rest}")
        settings = {**columns, **settings_of(classifier), "memory": float(memory), "part": int(part)}
        before = states(sources)
        settings |= {f"the file of {name} texts": described(path) for name, path in sources.items()}
        prepared = taken_over(folder, settings, resume)
        if prepared is None:
            prepared = prepare(folder, sources, columns, classifier, settings, before, progress)
        counts = counted(prepared)
        if progress:
            print(
                table(counts), notes(prepared, text.isdecimal() and label.isdecimal()), sep="\n", file=shown(sys.stderr)
            )
        try:
            scores = learn(classifier, prepared, folder, part, progress)
        except KeyboardInterrupt as stop:
            stop.args = (f"stopped; what is finished lies in {folder}, and resume=True or --resume goes on",)
            raise
        classifier.save(out)
        shutil.rmtree(folder)
    return Learned(classifier, counts, scores)


def settings_of(classifier: TextClassifier) -> dict[str, Any]:
    """The options of a classifier that its run must go on with, as JSON has them."""
    options = classifier.get_params(deep=False)
    del options["progress"]
    found = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    seed = found["random_state"]
    return found | {
        "embeddings": classifier.embeddings is not None,
        "random_state": seed if isinstance(seed, int) else None,
    }


def described(path: str | os.PathLike[str] | None) -> str | None:
    """What a file is known by when a run goes on."""
    return None if path is None else "{:,} bytes of CRC-32 {:08x}".format(*checksum(user_path(path)))


def states(sources: Mapping[str, Any]) -> dict[str, Any]:
    """What shows of each file whether it is written to."""
    there = {name: user_path(path) for name, path in sources.items() if path is not None and user_path(path).exists()}
    found = {name: path.stat() for name, path in there.items()}
    return {name: (state.st_size, state.st_mtime_ns, state.st_ino) for name, state in found.items()}


def taken_over(folder: Path, settings: dict[str, Any], resume: bool) -> Prepared | None:
    """What a run that was stopped had prepared, None where there is none. Raises ValueError for that of another."""
    path = folder / "prepared.npz"
    if not path.exists():
        return None
    if not resume:
        raise ValueError(
            f"{folder} holds a run that was stopped: go on with it by resume=True or --resume, or remove the folder"
        )
    header, arrays = load_arrays(path, FORMAT)
    with reading(path):
        before = dict(header["settings"])
        others = [name for name, value in settings.items() if before.get(name) != value]
        if others:
            now, then = (", ".join(f"{name} {each.get(name)!r:.100}" for name in others) for each in (settings, before))
            raise ValueError(
                f"{path} is of another run, with {then:.300}, and now it is {now:.300}: give the same, or remove "
                f"{folder} to begin again"
            )
        parts = {
            name: Texts(file, *(arrays[f"{name}/{key}"] for key in Texts._fields[1:]))
            for name, file in header["parts"].items()
        }
        return Prepared(header["classes"], Vocabulary(header["words"]), arrays["ids"], parts, header["seed"])


def prepare(
    folder: Path,
    sources: Mapping[str, Any],
    columns: dict[str, Any],
    classifier: TextClassifier,
    settings: dict[str, Any],
    before: dict[str, Any],
    progress: bool,
) -> Prepared:
    """Read the files into a new folder, which is removed if that fails.

    Raises ValueError where the folder is there and holds what no run leaves there, and where a file is not in its state
    of `before` any more.
    """
    if folder.is_dir():  # of a run that was killed before it had read its files
        own = {*sources, "checkpoint.npz"}
        strange = [path.name for path in folder.iterdir() if path.name not in own and not is_hidden(path.name)]
        if strange:
            raise ValueError(f"{folder}, in which a run keeps its words, holds {strange[0]}, which is of none: move it")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        prepared = _prepare(folder, sources, columns, classifier, settings, progress)
        for name, now in states(sources).items():
            if now != before[name]:
                raise ValueError(f"{sources[name]} changed while it was read, expected a file that nobody writes to")
        arrays = {
            f"{name}/{key}": getattr(texts, key) for name, texts in prepared.parts.items() for key in Texts._fields[1:]
        }
        header = {
            "format": FORMAT,
            "settings": settings,
            "seed": prepared.seed,
            "classes": prepared.classes,
            "words": prepared.vocabulary.words,
            "parts": {name: texts.file for name, texts in prepared.parts.items()},
        }
        save_arrays(folder / "prepared.npz", header, {"ids": prepared.ids, **arrays})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return prepared


def _prepare(
    folder: Path,
    sources: Mapping[str, Any],
    columns: dict[str, Any],
    classifier: TextClassifier,
    settings: dict[str, Any],
    progress: bool,
) -> Prepared:
    seed = draw_seed(classifier.random_state)
    share = 1e6 * settings["memory"] / 2  # for words, and for rows

    def stored(
        name: str, columns: dict[str, Any], words: Words | Vocabulary, left: float, classes: Any = None
    ) -> Index:
        rows = read_rows(sources[name], **columns)
        shown_rows = progress_bar(rows, progress, desc=f"reading {name} texts", unit=" texts", leave=False)
        return store(shown_rows, folder / name, classifier.recipe, words, str(sources[name]), classes, left)

    words = Words(max(1, int(share / WORD_BYTES)))
    index = stored("training", columns, words, share)
    share -= index.size(words)
    classes = sorted(index.labels)
    if len(classes) < 2:
        raise ValueError(f"{sources['training']} has the one label {classes[0]!r}, expected at least two")
    codes, starts = index.in_order(classes), index.starts()
    fraction = classifier.validation_fraction * min(1.0, settings["part"] / len(codes))
    if sources["validation"] is not None:
        train, held_out = np.arange(len(codes)), np.arange(0)
    elif columns["group"] is None:
        train, held_out = split(codes, fraction, seed)
    else:
        train, held_out = split_groups(index.groups(), fraction, seed)
    if len(lost := np.setdiff1d(np.arange(len(classes)), codes[train])):
        raise ValueError(
            f"the label {classes[lost[0]]!r} is in validation texts only, since all of it is in their groups: give "
            "another seed or share of validation texts"
        )
    counts = words.counts[: words.given] - words_of(folder / "training", starts, held_out, words.given)
    vocabulary = classifier._make_vocabulary(
        {word: int(counts[number]) for word, number in words.items() if counts[number]},
        len(train),
        int((np.diff(starts)[train] > 0).sum()),
    )
    ids = np.zeros(words.given, np.int64)
    for word, k in vocabulary.ids.items():
        if k:
            ids[words[word]] = k
    parts = {"training": Texts("training", starts, train, codes[train])}
    if len(held_out):
        parts["validation"] = Texts("training", starts, held_out, codes[held_out])
    for name in ("validation", "test"):
        if sources[name] is not None:
            index = stored(name, columns | {"group": None}, vocabulary, share, classes)
            share -= index.size(vocabulary)
            codes = index.in_order(classes)
            parts[name] = Texts(name, index.starts(), np.arange(len(codes)), codes)
    return Prepared(classes, vocabulary, ids, parts, seed)


def split_groups(groups: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random positions to train and to validate on, where a group (N,) is wholly in one of them.

    As many groups as are needed for the fraction go to validation, but never all. Raises ValueError for one group.
    """
    rng = np.random.default_rng(seed)
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError("all texts are of one group, expected at least two")
    drawn = rng.permutation(len(sizes))
    before = np.cumsum(sizes[drawn]) - sizes[drawn]
    held_out = np.zeros(len(sizes), bool)
    held_out[drawn[:-1][before[:-1] < fraction * len(groups)]] = True
    order = rng.permutation(len(groups))
    return order[~held_out[codes[order]]], order[held_out[codes[order]]]


def words_of(path: Path, starts: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """How often each number (size,) of a word comes in some rows."""
    counts = np.zeros(size, np.int64)
    with closing(Stored(path, starts, rows)) as texts:
        for text, length in zip(texts, texts.lengths):
            if length:
                np.add.at(counts, text, 1)
    return counts


def learn(
    classifier: TextClassifier, prepared: Prepared, folder: Path, part: int, progress: bool
) -> dict[str, float] | None:
    """Fit the classifier, with a checkpoint in the folder; its scores on the test texts."""
    seed, size = prepared.seed, classifier.batch_size
    batches = {}
    with ExitStack() as files:
        for name, texts in prepared.parts.items():
            ids = prepared.ids if texts.file == "training" else None
            stored = Stored(folder / texts.file, texts.starts, texts.rows, ids, classifier.max_length)
            files.enter_context(closing(stored))
            train = name == "training"
            parts = -(-len(stored) // part) if train else 1
            batches[name] = StoredBatches(stored, texts.codes, size if train else 256, train, seed, parts)
        updates = [-(-len(positions) // size) for positions in batches["training"].parts]
        model = classifier._make_model(prepared.vocabulary, len(prepared.classes), seed)
        history = classifier._train(
            model,
            batches["training"],
            batches.get("validation"),
            seed,
            classifier.epochs * sum(updates),
            epochs=classifier.epochs * len(updates),
            checkpoint=folder / "checkpoint.npz",
            resume=True,
            progress=progress,
        )
        classifier.classes_, classifier.vocabulary_ = np.array(prepared.classes), prepared.vocabulary
        classifier.model_, classifier.history_ = model, history
        if "test" not in batches:
            return None
        with blas_threads(model.params):
            return model.evaluate(batches["test"])


def counted(prepared: Prepared) -> dict[str, dict[str, int]]:
    """How many texts of each label there are in each part."""
    size = len(prepared.classes)
    found = {name: np.bincount(texts.codes, minlength=size) for name, texts in prepared.parts.items()}
    return {label: {name: int(counts[k]) for name, counts in found.items()} for k, label in enumerate(prepared.classes)}


def notes(prepared: Prepared, numbered: bool) -> str:
    """A few lines on what is learned from; of a file whose columns are `numbered` the first row is looked at."""
    found = [f"vocabulary: {len(prepared.vocabulary):,} words"]
    parts = [texts for texts in prepared.parts.values() if texts.file == "training"]
    first = next(texts.codes[texts.rows == 0] for texts in parts if (texts.rows == 0).any())
    if numbered and sum((texts.codes == first).sum() for texts in parts) == 1:
        found.append(
            f"the label {prepared.classes[first.item()]!r} is that of the first line alone: if that holds the names of "
            "columns, give names and not numbers"
        )
    empty = {name: int((np.diff(texts.starts)[texts.rows] == 0).sum()) for name, texts in prepared.parts.items()}
    if any(empty.values()):
        shares = ", ".join(f"{count:,} of {name}" for name, count in empty.items() if count)
        found.append(f"texts without a word: {shares}")
    if "validation" not in prepared.parts:
        found.append("no validation texts: the weights of the last epoch are kept")
    return "\n".join(found)


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The texts of each label as lines of text."""
    names = list(next(iter(counts.values())))
    rows = [["label", *names], *([label, *(f"{each[name]:,}" for name in names)] for label, each in counts.items())]
    rows.append(["all", *(f"{sum(each[name] for each in counts.values()):,}" for name in names)])
    return text_table(rows, left=0)
