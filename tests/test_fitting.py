"""`rnnscratch train`: what `TextClassifier.fit` learns from the same texts, whatever the file, killed or not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch import cli, fitting
from rnnscratch.fitting import fit_file, split_groups
from rnnscratch.text import Vocabulary, clean_texts
from rnnscratch.text.corpus import Stored, StoredBatches, Words, checksum, store
from rnnscratch.text.tables import Row

WORDS = ["film", "plot", "actor", "music", "ending", "story", "scene", "light", "sound", "voice"]


def some(count, seed=0):
    """Texts with a label that one word gives away, now and then empty."""
    rng = np.random.default_rng(seed)
    labels = [("good", "bad", "so so")[k] for k in rng.integers(3, size=count)]
    texts = [" ".join([*rng.choice(WORDS, rng.integers(0, 9)), label.split()[0]]) for label in labels]
    return [text if k % 17 else "" for k, text in enumerate(texts)], labels


def small(**options):
    return rs.TextClassifier(
        **{
            "cell": "gru",
            "hidden_size": 6,
            "embedding_dim": 5,
            "epochs": 2,
            "batch_size": 8,
            "max_length": 6,
            **options,
        }
    )


def write(path, texts, labels, groups=None):
    rows = list(zip(texts, labels, groups or range(len(texts))))
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps({"text": t, "label": lab, "id": str(g)}) + "\n" for t, lab, g in rows)
        else:
            csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t").writerows(
                [("text", "label", "id"), *rows]
            )
    return path


def same_weights(found, wanted):
    assert found.vocabulary_ == wanted.vocabulary_ and found.classes_.tolist() == wanted.classes_.tolist()
    for name, array in wanted.model_.params.items():
        np.testing.assert_array_equal(found.model_.params[name], array, err_msg=name)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_file_teaches_what_its_texts_do(ending, tmp_path):
    texts, labels = some(90)
    data = write(tmp_path / f"it.{ending}", texts, labels)
    test = write(tmp_path / f"test.{ending}", *some(30, 1))
    wanted = small().fit(texts, labels)
    learned = fit_file(data, tmp_path / "it.npz", small(), test=test)
    same_weights(learned.classifier, wanted)
    same_weights(rs.TextClassifier.load(tmp_path / "it.npz"), wanted)
    assert learned.classifier.history_["validation_loss"] == wanted.history_["validation_loss"]
    assert learned.scores["accuracy"] == wanted.score(*some(30, 1))
    assert {label: each["training"] + each["validation"] for label, each in learned.counts.items()} == {
        label: labels.count(label) for label in labels
    }
    assert set(os.listdir(tmp_path)) == {f"it.{ending}", "it.npz", f"test.{ending}"}


def test_validation_may_be_a_file_of_its_own(tmp_path):
    texts, labels = some(60)
    held_out = some(40, 1)
    learned = fit_file(
        write(tmp_path / "it.csv", texts, labels),
        tmp_path / "it.npz",
        small(),
        validation=write(tmp_path / "validation.csv", *held_out),
    )
    assert sum(each["training"] for each in learned.counts.values()) == 60
    k = learned.classifier.history_.best_epoch - 1
    accuracy = learned.classifier.history_["validation_accuracy"][k]
    assert accuracy == pytest.approx(learned.classifier.score(*held_out))


def test_parts_are_gone_through_in_turn_and_hold_all_texts(tmp_path):
    texts, labels = some(50)
    rows = (Row(k, *row) for k, row in enumerate(zip(texts, labels)))
    index = store(rows, tmp_path / "words", "default", Words(99), "it")
    seen = []
    with closing(Stored(tmp_path / "words", index.starts(), np.arange(50), max_length=4)) as stored:
        batches = StoredBatches(stored, index.in_order(sorted(set(labels))), 8, shuffle=True, seed=0, parts=3)
        for epoch in range(1, 7):
            batches.set_epoch(epoch)
            found = np.concatenate([batch.indices for batch in batches])
            assert len(found) in (16, 17) and len(batches) == -(-len(found) // 8)
            seen.append(set(found.tolist()))
    assert set.union(*seen[:3]) == set(range(50)) and sum(map(len, seen[:3])) == 50
    assert seen[3:] == seen[:3]
    learned = fit_file(write(tmp_path / "it.csv", texts, labels), tmp_path / "it.npz", small(), part=20)
    assert len(learned.classifier.history_) == 2 * 3  # of 48 texts, since 2 of 20 are kept aside
    assert sum(each["validation"] for each in learned.counts.values()) == 3  # of each of three labels at least one


def test_stored_texts_are_the_encoded_ones(tmp_path):
    texts, labels = some(40)
    words = clean_texts(texts)
    vocabulary = Vocabulary.build(words, min_count=3)
    rows = [Row(k, text, label) for k, (text, label) in enumerate(zip(texts, labels))]
    numbers = Words(10**6)
    index = store(iter(rows), tmp_path / "numbers", "default", numbers, "it")
    ids = np.array([vocabulary[word] for word in numbers])
    store(iter(rows), tmp_path / "ids", "default", vocabulary, "it")
    some_rows = np.array([5, 17, 0, 39])
    for path, table in (("numbers", ids), ("ids", None)):
        for longest in (None, 3):
            with closing(Stored(tmp_path / path, index.starts(), some_rows, table, longest)) as stored:
                for found, row in zip(stored, some_rows, strict=True):
                    wanted = vocabulary.encode(words[row])
                    wanted = wanted if longest is None else wanted[-longest:]
                    np.testing.assert_array_equal(found, wanted if len(wanted) else [0])
    (tmp_path / "ids").write_bytes((tmp_path / "ids").read_bytes()[:-4])
    with closing(Stored(tmp_path / "ids", index.starts(), some_rows)) as stored:
        with pytest.raises(OSError, match="ids ends within the words of row 40"):
            stored[3]


def test_of_too_many_words_the_rarest_go(tmp_path):
    words, rng = Words(100), np.random.default_rng(0)
    often = [f"often{k}" for k in range(20)]
    numbers = []
    for step in range(200):
        text = [*rng.permutation(often), *(f"once{step}x{k}" for k in range(10))]
        numbers.append([words[word] for word in text])
        assert words.count([np.array(numbers[-1])]) == (len(words) < 30)
        assert len(words) <= 100
    assert [int(words.counts[words[word]]) for word in often] == [200] * 20
    assert words.given == 20 + 200 * 10 and len({each for of_text in numbers for each in of_text}) == words.given

    texts = [" ".join([*often, *(f"once{k}x{j}" for j in range(10))]) for k in range(3000)]
    words = Words(2000)
    index = store((Row(k, text, "a") for k, text in enumerate(texts)), tmp_path / "it", "default", words, "it")
    assert len(words) < 2000 + 10 * 1024  # a part's words come on top
    with closing(Stored(tmp_path / "it", index.starts(), np.arange(3000))) as stored:
        known = {number: word for word, number in words.items()}
        for text, found in zip(texts, stored, strict=True):  # the numbers of words that are still there are theirs
            assert all(known.get(number, word) == word for word, number in zip(text.split(), found.tolist()))
        assert {known.get(number) for number in stored[0].tolist()} == {*often, None}
    assert [int(words.counts[words[word]]) for word in often] == [3000] * 20


def test_groups_are_kept_together(tmp_path):
    groups = np.repeat(np.arange(30), np.random.default_rng(0).integers(1, 9, 30)).astype(np.uint64)
    seen = set()
    for seed in range(20):
        train, held_out = split_groups(groups, 0.2, seed)
        assert sorted([*train, *held_out]) == list(range(len(groups)))
        assert not set(groups[train]) & set(groups[held_out])
        assert 0.2 * len(groups) <= len(held_out) < 0.2 * len(groups) + 8
        seen.add(tuple(sorted(set(groups[held_out].tolist()))))
    assert len(seen) > 15
    train, held_out = split_groups(np.array([1, 1, 2], np.uint64), 0.99, 0)
    assert len(train) and len(held_out)
    assert len(split_groups(groups, 0.0, 0)[1]) == 0
    with pytest.raises(ValueError, match="all texts are of one group, expected at least two"):
        split_groups(np.ones(4, np.uint64), 0.5, 0)

    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels, [k // 6 for k in range(60)])
    learned = fit_file(data, tmp_path / "it.npz", small(validation_fraction=0.2), group="id")
    assert sum(each["validation"] for each in learned.counts.values()) == 12


PROGRAM = """
import os, signal, sys
from rnnscratch import training
from rnnscratch.checkpoints import Run
from rnnscratch.cli import main
save, saved = Run.save, []
def killed(self, path):
    save(self, path)
    saved.append(path)
    if len(saved) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
Run.save = killed
sys.exit(main(sys.argv[2:]))
"""
OPTIONS = "--cell gru --hidden-size 6 --embedding-dim 5 --epochs 2 --batch-size 8 --part 40 --workers 1"
SMALL = OPTIONS.split()


def run(*arguments, kill=0, folder):
    command = [sys.executable, "-c", PROGRAM, str(kill), "train", "it.csv", "--out", "it.npz", *SMALL, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path):
    texts, labels = some(100)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "it.csv", texts, labels)
    done = run(folder=tmp_path / "whole")
    assert done.returncode == 0 and "written to it.npz" in done.stdout, done.stderr
    for k, kill in enumerate((1, 3, 2)):
        done = run(*["--resume"][:k], kill=kill, folder=tmp_path / "killed")
        assert done.returncode == -signal.SIGKILL
        assert sorted(os.listdir(tmp_path / "killed" / "it.npz.run"))[-3:] == [
            "checkpoint.npz",
            "prepared.npz",
            "training",
        ]
    refused = run(folder=tmp_path / "killed")
    assert refused.returncode == 2 and "it.npz.run holds a run that was stopped: go on with it by" in refused.stderr
    refused = run("--resume", "--seed", "1", folder=tmp_path / "killed")
    assert refused.returncode == 2 and "with random_state 0, and now it is random_state 1" in refused.stderr
    done = run("--resume", folder=tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed" / "it.npz").read_bytes() == (tmp_path / "whole" / "it.npz").read_bytes()
    assert not (tmp_path / "killed" / "it.npz.run").exists()
    refused = run("--resume", folder=tmp_path / "killed")
    assert refused.returncode == 2 and "out is it.npz, which is there already" in refused.stderr


def test_an_interrupt_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    data = write(tmp_path / "it.csv", *some(60))
    arguments = ["train", str(data), "--out", str(tmp_path / "it.npz"), *SMALL]

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("rnnscratch.training.train_on", stopped)
        assert cli.main(arguments) == 130
    said = capsys.readouterr()
    assert said.out == "" and "--resume goes on" in said.err.splitlines()[-1]
    assert cli.main([*arguments, "--resume"]) == 0
    with monkeypatch.context() as changed:  # while it reads, nothing is left
        changed.setattr(fitting, "store", stopped)
        assert cli.main([*arguments[:3], str(tmp_path / "other.npz")]) == 130
    assert sorted(os.listdir(tmp_path)) == ["it.csv", "it.npz"]


def test_what_was_prepared_is_used_only_for_what_it_is_of(tmp_path, monkeypatch):
    texts, labels = some(60)
    data, out = write(tmp_path / "it.csv", texts, labels), tmp_path / "it.npz"

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("rnnscratch.training.train_on", stopped)
        with pytest.raises(KeyboardInterrupt, match="it.npz.run, and resume=True"):
            fit_file(data, out, small())
    for change, message in (
        ({"classifier": small(recipe="report")}, "another run, with recipe 'default', and now it is recipe 'report': "),
        ({"part": 30}, r"with part 100000, and now it is part 30: give the same, or remove .*it\.npz\.run to begin"),
        ({"memory": 500}, "with memory 1000.0, and now it is memory 500.0: "),
        ({"classifier": small(hidden_size=7, epochs=9)}, "with hidden_size 6, epochs 2, and now .* 7, epochs 9: "),
        ({"text": "id"}, "with text 'text', and now it is text 'id': "),
        (
            {"test": data},
            r"with the file of test texts None, and now it is the file of test texts '[\d,]+ bytes of CRC",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            fit_file(data, out, **{"classifier": small(), "resume": True, **change})
    words = tmp_path / "it.npz.run" / "training"
    before = words.read_bytes()
    words.write_bytes(before[:400] + bytes(400) + before[800:])
    with pytest.raises(ValueError, match="training data"):
        fit_file(data, out, small(), resume=True)
    words.write_bytes(before)
    write(data, ["other", *texts[1:]], labels)
    with pytest.raises(ValueError, match="another run, with the file of training texts '.* bytes of CRC-32 .{8}', and"):
        fit_file(data, out, small(), resume=True)
    write(data, texts, labels)
    prepared = tmp_path / "it.npz.run" / "prepared.npz"
    content = prepared.read_bytes()
    prepared.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"prepared\.npz is not a 'rnnscratch texts 1' file, or damaged"):
        fit_file(data, out, small(), resume=True)
    prepared.write_bytes(content)
    same_weights(fit_file(data, out, small(), resume=True).classifier, small().fit(texts, labels))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\ngood,a\nbad,\n", {}, r"it\.csv, line 3: the label is empty"),
        ("text,label\ngood,a\n", {}, r"it\.csv has the one label 'a', expected at least two"),
        ("text,label\n", {}, r"it\.csv has no rows, expected at least one text"),
        ("", {}, r"it\.csv is empty, expected a line with the names of columns"),
        ("text,class\ngood,a\n", {}, r"it\.csv, line 1: there is no column 'label'; the columns are text, class"),
        ("text,label\ngood,a\nbad\n", {}, r"it\.csv, line 3: it has 1 columns, so column 'label' is missing"),
        ("text,label\n" + "".join(f"x,{k}\n" for k in range(1001)), {}, "more than 1,000 different labels"),
        ("text,label\ngood,a\nbad,b\n" * 1, {"memory": 1e-4}, "line 3 takes 0.000128 MB, and 5e-05 MB are"),
        (
            "text,label\n",
            {"group": "id", "validation": "it.csv"},
            "group is 'id', by which validation texts are chosen",
        ),
        ("text,label\n", {"text": "label"}, "text and label are both 'label', expected two columns"),
        ("text;label\n", {"separator": ";;"}, "separator is ';;', expected one character"),
        ("text,label\ngood,a\nbad,b\n", {"memory": 0}, "memory is 0, expected a number above 0"),
        ("text,label\ngood,a\nbad,b\n", {"part": 0}, "part is 0, expected at least 1"),
        ("text,label\ngood,a\nbad,b\n", {"group": "movie"}, "there is no column 'movie'"),
        ("text,label\ngood,a\nbad,b\n", {"group": "label"}, "the label '.' is in validation texts only"),
        ("text,label\ngood,a\nbad,b\n", {}, "texts leave no word to learn from: of the 2 to train on, 2 have words"),
        ("text,label\ngood,a\nbad,b\n", {"test": "none.csv"}, "none.csv does not exist"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_leaves_nothing(content, options, message, tmp_path):
    (tmp_path / "it.csv").write_text(content)
    with pytest.raises((ValueError, OSError), match=message):
        fit_file(tmp_path / "it.csv", tmp_path / "it.npz", small(validation_fraction=0.5), **options)
    assert os.listdir(tmp_path) == ["it.csv"]


def test_a_test_file_needs_no_groups(tmp_path):
    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels, [k // 6 for k in range(60)])
    (tmp_path / "test.csv").write_text("text;label\n")
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"text": "good", "label": "good"}) + "\n")
    learned = fit_file(data, tmp_path / "it.npz", small(validation_fraction=0.2), group="id", test=test)
    assert learned.counts["good"]["test"] == 1 and learned.scores["loss"] > 0


def test_other_separators_teach_the_same(tmp_path):
    texts, labels = some(60)
    data = tmp_path / "it.csv"
    with data.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows([("text", "label"), *zip(texts, labels)])
    learned = fit_file(data, tmp_path / "it.npz", small(), separator=";")
    same_weights(learned.classifier, small().fit(texts, labels))


def test_chance_may_come_from_a_generator(tmp_path, monkeypatch):
    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels)
    wanted = small(random_state=np.random.default_rng(3)).fit(texts, labels)
    learned = fit_file(data, tmp_path / "it.npz", small(random_state=np.random.default_rng(3)))
    same_weights(learned.classifier, wanted)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("rnnscratch.training.train_on", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit_file(data, tmp_path / "two.npz", small(random_state=np.random.default_rng(3)))
    learned = fit_file(data, tmp_path / "two.npz", small(random_state=None), resume=True)  # whose seed is drawn already
    same_weights(learned.classifier, wanted)


def test_nothing_of_the_user_s_is_removed(tmp_path):
    data = write(tmp_path / "it.csv", *some(60))
    (tmp_path / "it.npz.run").mkdir()
    (tmp_path / "it.npz.run" / "diary.txt").write_text("mine")
    with pytest.raises(
        ValueError, match=r"it\.npz\.run, in which a run keeps its words, holds diary\.txt, which is of"
    ):
        fit_file(data, tmp_path / "it.npz", small(), resume=True)
    assert (tmp_path / "it.npz.run" / "diary.txt").read_text() == "mine"
    (tmp_path / "it.npz").write_text("")
    with pytest.raises(
        ValueError, match=r"there already: give another, or remove it; .*it\.npz\.run is what its train"
    ):
        fit_file(data, tmp_path / "it.npz", small())
    with pytest.raises(IsADirectoryError, match="Is a folder, expected the name of a new file"):
        fit_file(data, tmp_path, small())
    assert sorted(os.listdir(tmp_path)) == ["it.csv", "it.npz", "it.npz.run"]


def test_memory_is_of_all_files_together(tmp_path):
    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels)
    size = 1e-6 * (48 * 60 + 16 * 13)  # of rows and numbers of words
    fit_file(data, tmp_path / "one.npz", small(), memory=2 * size)
    with pytest.raises(
        ValueError, match=r"it\.csv: what is held of the rows up to line 61 takes 0\.00288 MB, and 0 MB"
    ):
        fit_file(data, tmp_path / "two.npz", small(), memory=2 * size, test=data)


def test_what_is_learned_from_is_told(tmp_path, capsys):
    texts, labels = some(60)
    fit_file(
        write(tmp_path / "it.csv", texts, labels), tmp_path / "it.npz", small(validation_fraction=0), progress=True
    )
    said = capsys.readouterr().err
    assert "texts without a word: 4 of training\nno validation texts: the weights of the last epoch are kept\n" in said


def test_a_line_of_names_that_is_taken_for_a_row_is_told(tmp_path, capsys):
    path = write(tmp_path / "it.csv", *some(60))
    fit_file(path, tmp_path / "numbers.npz", small(epochs=1), text="1", label="2", progress=True)
    assert "the label 'label' is that of the first line alone: if that holds the names of columns, give names" in (
        capsys.readouterr().err
    )
    fit_file(path, tmp_path / "names.npz", small(epochs=1), progress=True)
    path.write_text(path.read_text().split("\n", 1)[1])
    fit_file(path, tmp_path / "no_names.npz", small(epochs=1), text="1", label="2", progress=True)
    assert "first line" not in capsys.readouterr().err


@pytest.mark.parametrize("which", ["training", "test"])
def test_a_file_that_changes_while_it_is_read_is_told(which, tmp_path, monkeypatch):
    files = {name: write(tmp_path / f"{name}.csv", *some(60, k)) for k, name in enumerate(("training", "test"))}
    read = fitting.read_rows

    def slow(source, **columns):
        yield from read(source, **columns)
        if source == files[which]:
            with source.open("a") as file:
                file.write("one more,good,7\n")

    monkeypatch.setattr(fitting, "read_rows", slow)
    with pytest.raises(ValueError, match=rf"{which}\.csv changed while it was read"):
        fit_file(files["training"], tmp_path / "it.npz", small(epochs=1), test=files["test"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.csv", "training.csv"]


def test_labels_of_the_test_file_must_be_known_before_anything_is_learned(tmp_path, monkeypatch):
    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels)
    test = write(tmp_path / "test.csv", [*texts[:3], "new\nlines"], [*labels[:3], "awful"])
    monkeypatch.setattr(fitting, "learn", lambda *_: pytest.fail("it began to learn"))
    with pytest.raises(
        ValueError, match=r"test\.csv, line 6: the label is 'awful', expected one of .*: bad, good, so so"
    ):
        fit_file(data, tmp_path / "it.npz", small(), test=test)
    assert sorted(os.listdir(tmp_path)) == ["it.csv", "test.csv"]


def test_two_runs_for_one_file_are_one_too_many(tmp_path):
    (tmp_path / "it.csv").write_text("text,label\n")
    os.mkfifo(tmp_path / "hold")
    program = "import sys; from rnnscratch.files import owned\nwith owned('it.npz'): open('hold').read()"
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    with open(tmp_path / "hold", "w"):  # opens when the other has it
        with pytest.raises(BlockingIOError, match=rf"it\.npz is in use by process {owner.pid} on "):
            fit_file(tmp_path / "it.csv", tmp_path / "it.npz", small())
    assert owner.wait() == 0


def test_first_vectors_of_words_come_from_a_file(tmp_path, capsys):
    texts, labels = some(60)
    data = write(tmp_path / "it.csv", texts, labels)
    lines = [f"{word} {' '.join(map(str, np.arange(4) + k))}" for k, word in enumerate(WORDS)]
    (tmp_path / "it.txt").write_text(f"{len(lines)} 4\n" + "\n".join(lines) + "\n")
    arguments = ["train", str(data), "--out", str(tmp_path / "it.npz"), "--embeddings", str(tmp_path / "it.txt")]
    assert cli.main([*arguments, "--freeze", "--hidden-size", "3", "--epochs", "1", "--workers", "1"]) == 0
    clf = rs.TextClassifier.load(tmp_path / "it.npz")
    for k, word in enumerate(WORDS):
        np.testing.assert_array_equal(clf.model_.embedding.params["E"][clf.vocabulary_[word]], np.arange(4) + k)
    capsys.readouterr()


def test_a_checksum_is_of_the_bytes(tmp_path):
    (tmp_path / "it").write_bytes(b"a" * (2**20 + 5))
    first = checksum(tmp_path / "it")
    (tmp_path / "it").write_bytes(b"a" * (2**20 + 4) + b"b")
    second = checksum(tmp_path / "it")
    assert first[0] == second[0] == 2**20 + 5 and first[1] != second[1]


def test_memory_does_not_grow_with_the_words_of_a_file(tmp_path):
    import tracemalloc

    text = " ".join(WORDS * 20)

    def peak(count):
        tracemalloc.start()
        store((Row(k, text, "a") for k in range(count)), tmp_path / "it", "default", Words(999), "it")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(3 * 1024), peak(12 * 1024)
    assert (tmp_path / "it").stat().st_size == 12 * 1024 * 200 * 4
    assert many < few + 2e5
