"""Tasks for encoder-decoders whose answers are known, and what each cell makes of them with and without attention.

    dates     a date as people write it -> the same by ISO 8601: "Sunday, 5th of March 1950" -> "1950-03-05"
    sums      two numbers of up to three digits -> their sum: "345+678" -> "1023"
    reverse   a word of random letters -> the same from its end: "kqxa" -> "axqk"

or pairs of one's own from a file with two columns. Sequences are of characters, or of words.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import training
from ..checks import check_sizes
from ..metrics import bleu
from ..models import Seq2Seq
from ..optimizers import Adam, cosine_schedule
from ..schedules import warm_up
from ..text import Vocabulary

FORMS = (  # the parts of a date: d 5, dd 05, dth 5th; m 3, mm 03, mon Mar, month March, MONTH MARCH; day Sun, weekday
    *("{d} {month} {year}", "{d} {mon} {year}", "{dd} {mon} {year}", "{dd} {month} {year}", "{d} {MONTH} {year}"),
    *("{dth} {month} {year}", "{dth} of {month} {year}", "{dth} of {month}, {year}", "the {dth} of {month}, {year}"),
    *(
        "{month} {d}, {year}",
        "{month} {dd}, {year}",
        "{month} {dth}, {year}",
        "{mon} {d}, {year}",
        "{mon} {dth} {year}",
    ),
    *("{MONTH} {d}, {year}", "{MONTH} {dth} {year}", "{mon}. {dd}, {year}", "{d}-{mon}-{year}", "{dd}-{mon}-{year}"),
    *("{weekday}, {d} {month} {year}", "{weekday}, {month} {d}, {year}", "{weekday} {dth} {month} {year}"),
    *("{day} {d} {mon} {year}", "{day}, {dd} {mon} {year}", "{day} {mon} {d} {year}", "{day}, {month} {dth}, {year}"),
    *("{year} {month} {d}", "{year} {mon} {dd}", "{year}, {month} {dth}", "{year}-{mon}-{dd}", "{year} {MONTH} {dd}"),
    *("{d}.{m}.{year}", "{dd}.{mm}.{year}", "{day} {dd}.{mm}.{year}", "{weekday}, {d}.{m}.{year}"),
    *(
        "{m}/{d}/{year}",
        "{mm}/{dd}/{year}",
        "{day} {m}/{d}/{year}",
        "{year}/{mm}/{dd}",
        "{year}/{m}/{d}",
        "{year}{mm}{dd}",
    ),
)
NEW_FORMS = (  # which are never learned from, though all their parts are
    *(
        "{weekday}, {dth} of {month} {year}",
        "{day} {dth} {mon} {year}",
        "{dd} {MONTH} {year}",
        "{weekday} {mon} {dd}, {year}",
    ),
    *("{dth} of {mon} {year}", "{weekday}, {dd}.{mm}.{year}", "{day} {mm}/{dd}/{year}", "{year} {mon} {dth}"),
)


class Pairs(NamedTuple):
    """Sequences of characters or words, and what becomes of them."""

    sources: list[Sequence[str]]
    targets: list[Sequence[str]]


class Task(NamedTuple):
    """What is learned, what tells how well, and further tests by name."""

    train: Pairs
    test: Pairs
    further: dict[str, Pairs]


def written(day: datetime.date, form: str) -> str:
    """A date in one of the forms.

    >>> written(datetime.date(1950, 3, 5), "{weekday}, {dth} of {month} {year}")
    'Sunday, 5th of March 1950'
    """
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    ending = "th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return form.format(
        d=day.day,
        dd=f"{day.day:02}",
        dth=f"{day.day}{ending}",
        m=day.month,
        mm=f"{day.month:02}",
        mon=month[:3],
        month=month,
        MONTH=month.upper(),
        day=weekday[:3],
        weekday=weekday,
        year=day.year,
    )


MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
MONTHS += ["November", "December"]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def dates(train: int, test: int, rng: np.random.Generator) -> Task:
    """Days from 1900 to 2099; those of the tests are never learned from, and a further test has new forms."""
    first, last = datetime.date(1900, 1, 1).toordinal(), datetime.date(2099, 12, 31).toordinal()
    days = rng.permutation(np.arange(first, last + 1))
    learned, held_out = days[: len(days) * 4 // 5], days[len(days) * 4 // 5 :]

    def draw(count: int, of: np.ndarray, forms: Sequence[str]) -> Pairs:
        chosen = [datetime.date.fromordinal(int(day)) for day in rng.choice(of, count)]
        which = rng.integers(len(forms), size=count)
        sources: list[Sequence[str]] = [written(day, forms[k]) for day, k in zip(chosen, which)]
        return Pairs(sources, [day.isoformat() for day in chosen])

    further = {"in forms never seen": draw(test, held_out, NEW_FORMS)}
    return Task(draw(train, learned, FORMS), draw(test, held_out, FORMS), further)


def sums(train: int, test: int, rng: np.random.Generator) -> Task:
    """a+b with a and b from 0 to 999; a pair of the test is not learned from in the other order either."""
    a, b = np.triu_indices(1000)
    order = rng.permutation(len(a))

    def draw(count: int, of: np.ndarray) -> Pairs:
        chosen = rng.choice(of, count)
        pairs = np.stack([a[chosen], b[chosen]], axis=1)
        pairs = rng.permuted(pairs, axis=1).tolist()
        return Pairs([f"{x}+{y}" for x, y in pairs], [str(x + y) for x, y in pairs])

    cut = len(order) * 4 // 5
    return Task(draw(train, order[:cut]), draw(test, order[cut:]), {})


def reverse(train: int, test: int, rng: np.random.Generator) -> Task:
    """Words of 1 to 20 letters, none of the test's learned from; a further test has longer ones."""

    def draw(count: int, shortest: int, longest: int, known: set[str]) -> Pairs:
        found: dict[str, None] = {}
        while len(found) < count:
            letters = rng.choice(LETTERS, rng.integers(shortest, longest + 1))
            word = "".join(letters)
            if word not in known:
                found[word] = None
        return Pairs(list(found), [word[::-1] for word in found])

    test_pairs = draw(test, 1, 20, set())
    further = {"of 21 to 30 letters": draw(test, 21, 30, set())}
    return Task(draw(train, 1, 20, set(map(str, test_pairs.sources))), test_pairs, further)


LETTERS = list("abcdefghijklmnopqrstuvwxyz")
TASKS: dict[str, Callable[[int, int, np.random.Generator], Task]] = {"dates": dates, "sums": sums, "reverse": reverse}


def read_pairs(path: Path) -> Pairs:
    """The pairs of a UTF-8 file, one a line, its source and its target parted by a tab; empty lines are left out.

    Raises OSError, or ValueError naming the file and the line.
    """
    found = Pairs([], [])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2 or not columns[0].strip():
            raise ValueError(
                f"{path}, line {number} has {len(columns)} columns, expected two: a source, a tab, a target"
            )
        found.sources.append(columns[0].strip())
        found.targets.append(columns[1].strip())
    return found


def own(pairs: Pairs, rng: np.random.Generator, share: float = 0.1) -> Task:
    """A task of given pairs, of which a tenth, with different sources than all others, is the test.

    Raises ValueError for less than two different sources.
    """
    sources = list(dict.fromkeys(map(tuple, pairs.sources)))
    if len(sources) < 2:
        raise ValueError(f"the pairs have {len(sources)} different sources, expected at least 2: to learn and to test")
    count = min(max(1, round(share * len(sources))), len(sources) - 1)
    held_out = {sources[k] for k in rng.permutation(len(sources))[:count]}
    parts = []
    for testing in (False, True):
        chosen = [k for k, source in enumerate(pairs.sources) if (tuple(source) in held_out) == testing]
        parts.append(Pairs([pairs.sources[k] for k in chosen], [pairs.targets[k] for k in chosen]))
    return Task(parts[0], parts[1], {})


@dataclass(frozen=True)
class Options:
    """How the models are made and trained."""

    embedding: int = 32
    hidden: int = 96
    layers: int = 1
    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 0.004
    dropout: float = 0.0
    sampling: float = 0.0
    clip_norm: float = 1.0
    beam: int = 1
    workers: int = 1
    seed: int = 0

    def check(self) -> None:
        """Raise ValueError or TypeError for a number that cannot be."""
        names = ("embedding", "hidden", "layers", "epochs", "batch_size", "beam", "workers")
        check_sizes(**{name: getattr(self, name) for name in names})


class Words(NamedTuple):
    """The ids of sources and of targets."""

    source: Vocabulary
    target: Vocabulary


def vocabularies(pairs: Pairs) -> Words:
    """Of all that stands in the pairs, after the unknown one, the start and the end."""

    def build(sequences: list[Sequence[str]]) -> Vocabulary:
        return Vocabulary(["<unk>", START, END, *sorted({token for sequence in sequences for token in sequence})])

    return Words(build(pairs.sources), build(pairs.targets))


START, END = "<start>", "<end>"


class Result(NamedTuple):
    """What a model makes of a task."""

    model: Any
    row: dict[str, Any]
    said: list[Any]  # of each test, the translation
    history: list[dict[str, float]]


def learn(
    task: Task,
    words: Words,
    cell: str,
    attention: str | None,
    options: Options,
    progress: bool = True,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Result:
    """Train an encoder-decoder of this cell, and test it: `exact` in its row is the share of outputs that are right.

    `checkpoint` and `resume` are those of `training.fit`.
    """
    model = Seq2Seq(
        len(words.source),
        len(words.target),
        options.embedding,
        options.hidden,
        cell,
        num_layers=options.layers,
        attention=attention,
        dropout=options.dropout,
        sampling=options.sampling,
        seed=options.seed,
    )
    train, test = (
        (encoded(words.source, part.sources), encoded(words.target, part.targets)) for part in (task.train, task.test)
    )
    updates = options.epochs * -(-len(train[0]) // options.batch_size)
    schedule = warm_up(cosine_schedule(options.learning_rate, updates, options.learning_rate / 100), 50)
    history = training.fit(
        model,
        train,
        test,
        optimizer=Adam(options.learning_rate),
        epochs=options.epochs,
        batch_size=options.batch_size,
        schedule=schedule,
        clip_norm=options.clip_norm,
        seed=options.seed,
        progress=progress,
        workers=options.workers,
        checkpoint=checkpoint,
        resume=resume,
    )
    seconds = sum(history["seconds"])
    row: dict[str, Any] = {"cell": cell, "attention": attention, "parameters": model.num_params}
    said = translate(model, words, task.test, options.beam)
    row |= {"exact": exact(said, words, task.test), "bleu": bleu_of(said, words, task.test)}
    for name, part in task.further.items():
        row[name] = exact(translate(model, words, part, options.beam), words, part)
    row |= {"seconds": seconds, "tokens_per_second": float(np.mean(history["tokens_per_second"]))}
    return Result(model, row, said, history.rows)


def encoded(vocabulary: Vocabulary, sequences: list[Sequence[str]]) -> list[np.ndarray]:
    """The ids of sequences of words, or of strings of characters."""
    return vocabulary.encode_all([list(sequence) for sequence in sequences])


def translate(model: Seq2Seq, words: Words, pairs: Pairs, beam: int) -> list[Any]:
    """What the model says to each source; at most half as much again as the longest target, and ten more."""
    longest = max(map(len, pairs.targets))
    return model.translate_batch(encoded(words.source, pairs.sources), beam, longest * 3 // 2 + 10)


def spoken(said: Sequence[Any], words: Words) -> list[list[str]]:
    """Outputs as characters or words."""
    return [words.target.decode(each.tokens) for each in said]


def exact(said: Sequence[Any], words: Words, pairs: Pairs) -> float:
    """The share of outputs that are the target, all of it."""
    found = spoken(said, words)
    return float(np.mean([each == list(target) for each, target in zip(found, pairs.targets)]))


def bleu_of(said: Sequence[Any], words: Words, pairs: Pairs) -> float:
    """`metrics.bleu` of the outputs."""
    return bleu([[list(target)] for target in pairs.targets], spoken(said, words))
