"""The tasks of the encoder-decoder: right answers, tests apart from what is learned, and files of one's own."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from rnnscratch.experiments import translation
from rnnscratch.experiments.translation import FORMS, NEW_FORMS, TASKS, Options, Pairs, Task


def make(name, train=3000, test=200, seed=0):
    return TASKS[name](train, test, np.random.default_rng(seed))


@pytest.mark.parametrize("name", TASKS)
def test_what_is_tested_is_never_learned_from_and_the_seed_fixes_all(name):
    task = make(name)
    assert len(task.train.sources) == len(task.train.targets) == 3000
    tests = [task.test, *task.further.values()]
    for part in tests:
        assert len(part.sources) == len(part.targets) == 200
        assert not set(part.sources) & set(task.train.sources)
    assert task == make(name) != make(name, seed=1)


def test_dates_are_right_and_those_of_the_tests_are_other_days():
    task = make("dates")
    parts = {
        "%d %B %Y": "5 March 1950",
        "%B %d, %Y": "March 5, 1950",
        "%Y/%m/%d": "1950/03/05",
        "%d.%m.%Y": "05.03.1950",
        "%m/%d/%Y": "03/05/1950",
    }
    for pattern, text in parts.items():
        assert datetime.datetime.strptime(text, pattern).date() == datetime.date(1950, 3, 5)
    seen = set()
    for part in (task.train, task.test, *task.further.values()):
        for source, target in zip(*part):
            day = datetime.date.fromisoformat(target)
            forms = {form for form in (*FORMS, *NEW_FORMS) if translation.written(day, form) == source}
            assert forms, (source, target)
            seen |= forms
    assert seen >= {*FORMS, *NEW_FORMS}
    assert not {*task.test.targets, *task.further["in forms never seen"].targets} & set(task.train.targets)
    assert not set(FORMS) & set(NEW_FORMS)


def test_no_two_days_are_written_alike():
    meaning = {}
    for ordinal in range(datetime.date(1999, 1, 1).toordinal(), datetime.date(2001, 1, 1).toordinal()):
        day = datetime.date.fromordinal(ordinal)
        for form in (*FORMS, *NEW_FORMS):
            assert meaning.setdefault(translation.written(day, form), day) == day


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (23, "23rd"),
        (31, "31st"),
    ],
)
def test_ordinals(day, expected):
    assert translation.written(datetime.date(2020, 1, day), "{dth}") == expected


def test_sums_are_sums_and_no_pair_is_tested_that_was_learned_in_the_other_order():
    task = make("sums")
    learned = {frozenset(source.split("+")) for source in task.train.sources}
    for part in (task.train, task.test):
        for source, target in zip(*part):
            a, b = map(int, source.split("+"))
            assert a + b == int(target) and 0 <= a <= 999 and 0 <= b <= 999
    assert not {frozenset(source.split("+")) for source in task.test.sources} & learned


def test_reversed_words_are_reversed_and_further_tests_are_longer():
    task = make("reverse")
    for part, longest in ((task.train, 20), (task.test, 20), (task.further["of 21 to 30 letters"], 30)):
        assert all(source[::-1] == target and len(source) <= longest for source, target in zip(*part))
    assert min(map(len, task.further["of 21 to 30 letters"].sources)) > 20


def test_pairs_are_read_from_a_file(tmp_path):
    path = tmp_path / "my.tsv"
    path.write_bytes("\ufeffgo\tva\n\nI see \t je vois\r\nempty\t\n".encode())
    assert translation.read_pairs(path) == Pairs(["go", "I see", "empty"], ["va", "je vois", ""])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nc\n", r"my.tsv, line 2 has 1 columns, expected two"),
        (b"a\tb\tc\n", "line 1 has 3 columns"),
        (b"\tb\n", "line 1 has 2 columns, expected two: a source"),
        (b"a\t\xff\n", "is not UTF-8 text"),
    ],
)
def test_a_line_that_is_no_pair_is_named(content, message, tmp_path):
    path = tmp_path / "my.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        translation.read_pairs(path)


def test_of_pairs_of_ones_own_a_tenth_of_the_sources_is_the_test():
    pairs = Pairs([f"s{k % 40}" for k in range(100)], [f"t{k}" for k in range(100)])
    task = translation.own(pairs, np.random.default_rng(0))
    assert len(set(task.test.sources)) == 4 and len(set(task.train.sources)) == 36
    assert not set(task.test.sources) & set(task.train.sources)
    assert sorted([*zip(*task.train), *zip(*task.test)]) == sorted(zip(*pairs))
    for few in (Pairs([], []), Pairs(["a", "a"], ["b", "c"])):
        with pytest.raises(ValueError, match="different sources, expected at least 2"):
            translation.own(few, np.random.default_rng(0))


def test_a_model_learns_a_task_and_its_row_says_how_well():
    rng = np.random.default_rng(0)
    sources = [tuple(rng.choice(["a", "b", "c"], rng.integers(1, 4))) for _ in range(400)]
    pairs = Pairs(sources, [source[::-1] for source in sources])
    task = Task(pairs, Pairs(sources[:50], pairs.targets[:50]), {"again": Pairs(sources[:9], pairs.targets[:9])})
    words = translation.vocabularies(task.train)
    assert words.target.words == ["<unk>", "<start>", "<end>", "a", "b", "c"]
    options = Options(embedding=8, hidden=16, epochs=12, batch_size=16, learning_rate=0.01, beam=2)
    result = translation.learn(task, words, "gru", "dot", options, progress=False)
    assert result.row["exact"] == result.row["again"] == 1.0
    assert result.row["bleu"] == translation.bleu_of(result.said, words, task.test)
    said = [tuple(tokens) for tokens in translation.spoken(result.said, words)]
    assert said == task.test.targets and len(result.history) == 12
    wrong = Pairs(task.test.sources, [("c",), *task.test.targets[1:]])
    assert translation.exact(result.said, words, wrong) == pytest.approx(0.98)


@pytest.mark.parametrize("change", [{"hidden": 0}, {"epochs": 1.5}, {"beam": 0}])
def test_wrong_options_are_named(change):
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(change))} is"):
        Options(**change).check()
