"""Files that were changed by chance or by malice, and processes that were killed: `python -m tests.fuzz`.

Of each kind of file that the library reads, `--count` are made from a good one: by changed, lost and added bytes, and,
where a checksum would find these at once, by changes within it: other JSON, headers, arrays, members. Each must give
the right thing, or OSError or ValueError with the file's name, within 5 seconds and 500 MB, and change nothing if it is
refused. Then `--kills` processes are killed while they write or train, and begun again, to the same bits.

A part of it, seconds long, is tests/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rnnscratch as rs
from rnnscratch import checkpoints, training
from rnnscratch.experiments import imdb as comparison
from rnnscratch.experiments.results import FORMAT as OUTCOME
from rnnscratch.experiments.results import NUMBERS
from rnnscratch.files import load_arrays, save_arrays
from rnnscratch.models import load_model, save_model
from rnnscratch.schedules import Plateau
from rnnscratch.text import Vocabulary, load_imdb

SECONDS, MEGABYTES = 5.0, 500
ROOT = Path(__file__).parents[1]
WORDS = ["<unk>", "gut", "schlecht", "naïve", "日本", 'quo"te', "a", "b"]
TEXTS = ["gut naïve", "schlecht a", "gut b", "schlecht 日本"] * 3
NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 10**6, 10**12, 2**31, 2**63, 2**64, 10**400, 0.0, -0.5, 1.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "a" * 5000, "\ud800", "<unk>", [], [[]], {}, {"a": 1}, [1, 2], ["a", "a"]),
    *([None], [[[[[[1]]]]]], "float64", "object", "gru", "../../x", "\0"),
]


class Kind(NamedTuple):
    """A kind of file: how one is made, and read, which returns what must be the same, or used to be."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    whole: bool  # a changed byte shows (checksums), so that what is read is what was written


def bits(arrays: Any) -> Any:
    """What says whether two dicts of arrays are the same to the bit."""
    return {name: (array.shape, array.dtype.str, array.tobytes()) for name, array in arrays.items()}


def make_model(folder: Path) -> Path:
    model = rs.SequenceClassifier(len(WORDS), 2, 3, cell="gru", pooling="mean+max", bidirectional=True, seed=0)
    save_model(folder / "model.npz", model, Vocabulary(WORDS), {"classes": ["no", "yes"]})
    return folder / "model.npz"


def read_model(path: Path) -> Any:
    model, vocabulary, extra = load_model(path)
    words = None if vocabulary is None else vocabulary.words
    assert np.isfinite(model.forward(np.array([[1, 0], [0, 0]]) % model.vocabulary_size)).all()
    return bits(model.params), words, extra, model.config()


def make_text_classifier(folder: Path) -> Path:
    clf = rs.TextClassifier(cell="rnn", embedding_dim=2, hidden_size=2, epochs=1, min_count=1, validation_fraction=0.0)
    clf.fit(TEXTS, ["yes", "no"] * 6).save(folder / "classifier.npz")
    return folder / "classifier.npz"


def read_text_classifier(path: Path) -> Any:
    clf = rs.TextClassifier.load(path)
    assert len(clf.predict(["gut", ""])) == 2
    return bits(clf.model_.params), clf.vocabulary_.words, clf.classes_.tolist(), repr(clf)


def word_vectors() -> rs.Word2Vec:
    return rs.Word2Vec(vector_size=2, min_count=1, epochs=1).fit([text.split() for text in TEXTS])


def make_word_vectors(folder: Path) -> Path:
    word_vectors().save(folder / "vectors.npz")
    return folder / "vectors.npz"


def read_word_vectors(path: Path) -> Any:
    wv = rs.Word2Vec.load(path)
    assert len(wv.most_similar(wv.vectors[-1], topn=1)) == min(1, len(wv.vocabulary) - 1)
    return wv.vocabulary.words, wv.vectors.tobytes(), repr(wv)


def make_word2vec_text(folder: Path) -> Path:
    word_vectors().save_word2vec_format(folder / "vectors.txt")
    return folder / "vectors.txt"


def make_word2vec_binary(folder: Path) -> Path:
    word_vectors().save_word2vec_format(folder / "vectors.bin", binary=True)
    return folder / "vectors.bin"


def read_word2vec(path: Path) -> Any:
    wv = rs.Word2Vec.load_word2vec_format(path, binary=path.suffix == ".bin")
    return wv.vocabulary.words, wv.vectors.tobytes()


def make_hmm(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rs.hmm.CategoricalHMM(2, n_iter=2, random_state=0).fit(["abcab", "bca"]).save(folder / "hmm.npz")
    return folder / "hmm.npz"


def read_hmm(path: Path) -> Any:
    model = rs.hmm.load_hmm(path)
    arrays = {name: np.asarray(getattr(model, name)) for name in model._arrays()}
    assert model.sample(3, random_state=0)[0].shape[0] == 3
    return type(model).__name__, bits(arrays), repr(model), getattr(model, "vocabulary_", None)


def make_gaussian(folder: Path) -> Path:
    X = np.random.default_rng(0).standard_normal((30, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rs.hmm.GaussianHMM(2, n_iter=2, random_state=0).fit(X).save(folder / "gaussian.npz")
    return folder / "gaussian.npz"


def make_chain(folder: Path) -> Path:
    rs.hmm.MarkovChain().fit(["aab", "abba"]).save(folder / "chain.npz")
    return folder / "chain.npz"


def read_chain(path: Path) -> Any:
    chain = rs.hmm.MarkovChain.load(path)
    assert len(chain.sample(3, random_state=0)) == 3
    return chain.startprob_.tobytes(), chain.transmat_.tobytes(), getattr(chain, "vocabulary_", None), repr(chain)


def make_vocabulary(folder: Path) -> Path:
    Vocabulary(WORDS).save(folder / "words.json")
    return folder / "words.json"


def read_vocabulary(path: Path) -> Any:
    found = Vocabulary.load(path)
    assert found.decode(found.encode(found.words)) == found.words
    return found.words


def training_run(seed: int = 0) -> checkpoints.Run:
    """A run as `fit` makes it, without training."""
    data = [np.arange(4)] * 4, np.array([0, 1, 0, 1])
    model = rs.SequenceClassifier(5, 2, 2, cell="rnn", dropout=0.5, seed=seed)
    batches = training.make_batches("train", model, data, 2, None, True, 0)
    fingerprint = {"model": model.config(), "validation data": {"sequences": 4}, "monitor": "loss"}
    return checkpoints.Run(model, rs.Adam(0.01), Plateau(), batches, fingerprint)


def state_of(run: checkpoints.Run) -> Any:
    """All of a run that a checkpoint holds."""
    header, arrays = run._state()
    return json.dumps(header, sort_keys=True, default=str), bits(arrays)


def make_checkpoint(folder: Path) -> Path:
    run = training_run()
    for epoch in (1, 2):
        for batch in run.batches:
            _, back, _ = run.model.batch_loss(batch, train=True)
            back()
            run.optimizer.step(run.model.params, run.model.grads)
            run.updates += 1
        row = {"epoch": epoch, "loss": 1.0, "gradient_norm": 1.0, "learning_rate": 0.01, "seconds": 0.1}
        run.note(row | {"validation_loss": 1.0 / epoch}, "loss", True)
    run.save(folder / "checkpoint.npz")
    return folder / "checkpoint.npz"


def read_checkpoint(path: Path) -> Any:
    run = training_run(seed=1)
    before = state_of(run)
    try:
        run.load(path)
    except (ValueError, OSError):
        assert state_of(run) == before, "a refused checkpoint has changed something"
        raise
    return state_of(run)


SETTINGS = comparison.Settings(models=("bow",), hidden=3)


def make_settings(folder: Path) -> Path:
    comparison._claim(folder, SETTINGS, resume=False)
    return folder / "settings.json"


def read_settings(path: Path) -> Any:
    before = path.read_bytes()
    try:
        comparison._claim(path.parent, SETTINGS, resume=True)
    except (ValueError, OSError):
        assert path.read_bytes() == before
        raise
    return None


def make_outcome(folder: Path) -> Path:
    make_settings(folder)
    numbers = dict.fromkeys(NUMBERS, 0.5)
    row = {"model": "bow", "data": "d", "recipe": "default", "pooling": "mean", "version": "1", "bidirectional": True}
    row |= {**numbers, "train_size": 4, "validation_size": 2, "test_size": 3, "seed": 0}
    arrays = {"logits": np.array([0.5, -1.0, 2.0]), "lag": np.ones(3)}
    save_arrays(folder / "bow" / "outcome.npz", {"format": OUTCOME, "row": row, "history": []}, arrays)
    return folder / "bow" / "outcome.npz"


def read_outcome(path: Path) -> Any:
    (found,) = comparison._claim(path.parents[1], SETTINGS, resume=True).values()
    return found.row, found.logits.tobytes(), found.history


def review_files() -> dict[str, bytes]:
    """A small data set."""
    files = {"README": b"about the data"}
    for part in ("train", "test"):
        for sign in ("neg", "pos"):
            files[f"{part}/urls_{sign}.txt"] = b"http://www.imdb.com/title/tt12/u\n" * 3
            files |= {f"{part}/{sign}/{k}_7.txt": f"{part} {sign} {k}: café".encode() for k in range(3)}
    return files


def make_archive(folder: Path) -> Path:
    with tarfile.open(folder / "reviews.tar.gz", "w:gz") as tar:
        for name, content in review_files().items():
            info = tarfile.TarInfo("aclImdb/" + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder / "reviews.tar.gz"


def make_folder(folder: Path) -> Path:
    for name, content in review_files().items():
        (folder / "aclImdb" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "aclImdb" / name).write_bytes(content)
    return folder / "aclImdb"


def read_reviews(path: Path) -> Any:
    data = load_imdb(path)
    return data.train.texts, data.test.texts, data.train.labels.tolist()


KINDS = {
    "model": Kind(make_model, read_model, True),
    "text classifier": Kind(make_text_classifier, read_text_classifier, True),
    "checkpoint": Kind(make_checkpoint, read_checkpoint, True),
    "word vectors": Kind(make_word_vectors, read_word_vectors, True),
    "word2vec's text": Kind(make_word2vec_text, read_word2vec, False),
    "word2vec's binary": Kind(make_word2vec_binary, read_word2vec, False),
    "categorical HMM": Kind(make_hmm, read_hmm, True),
    "Gaussian HMM": Kind(make_gaussian, read_hmm, True),
    "Markov chain": Kind(make_chain, read_chain, True),
    "vocabulary": Kind(make_vocabulary, read_vocabulary, False),
    "run's settings": Kind(make_settings, read_settings, False),
    "run's outcome": Kind(make_outcome, read_outcome, True),
    "archive of reviews": Kind(make_archive, read_reviews, True),
    "folder of reviews": Kind(make_folder, read_reviews, False),
}


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, lost, doubled, moved or added, in one to three places."""
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at, size = rng.randrange(len(found) + 1), rng.choice([1, 1, 2, 4, 8, 30, 200])
        how = rng.randrange(8)
        if how == 0:
            found[at : at + size] = rng.randbytes(size)
        elif how == 1 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            del found[at : at + size]
        elif how == 3:
            found[at:at] = found[at : at + size]
        elif how == 4:
            del found[at:]
        elif how == 5:
            found += rng.randbytes(size)
        elif how == 6:
            value = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**16, 2**40, 2**63 - 1, 2**64 - 1])
            width = rng.choice([2, 4, 8])
            found[at : at + width] = (value % 256**width).to_bytes(width, "little")
        else:
            found[at : at + size] = b"\0" * size
    return bytes(found)


def change_json(value: Any, rng: random.Random) -> Any:
    """One value, somewhere, replaced, lost or doubled."""
    value = copy.deepcopy(value)
    holder, key = [value], 0
    where: Any = holder
    while isinstance(where[key], (dict, list)) and where[key] and rng.random() < 0.8:
        where = where[key]
        key = rng.choice(list(where)) if isinstance(where, dict) else rng.randrange(len(where))
    how = rng.randrange(4)
    if how == 0 and where is not holder:
        del where[key]
    elif how == 1 and isinstance(where, dict):
        where[rng.choice(["x", "", "seed", "device"])] = rng.choice(NASTY)
    elif how == 1 and where is not holder:
        where.insert(key, copy.deepcopy(where[key]))
    else:
        where[key] = copy.deepcopy(rng.choice(NASTY))
    return holder[0]


def change_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Another shape, type, order or value."""
    how = rng.randrange(9)
    flat = array.reshape(-1).copy()
    if how == 0 and flat.size:
        flat[rng.randrange(flat.size)] = rng.choice([np.nan, np.inf, -1, 0, 1e30])
        return flat.reshape(array.shape)
    if how == 1:
        return flat
    if how == 2:
        return array.T.copy()
    if how == 3:
        return array.astype(rng.choice(["float64", "float32", "int8", "complex128", ">f4", "bool", "float16"]))
    if how == 4:
        return flat[: rng.randrange(flat.size + 1)]
    if how == 5:
        return np.asfortranarray(array)
    if how == 6:
        return np.array(rng.choice([1.5, True, 3]))
    return np.zeros((rng.choice([0, 1, 2, 5]),) * rng.randrange(1, 5), array.dtype)


def change_npz(content: bytes, rng: random.Random) -> bytes:
    """Another header, other arrays, other members, or a changed byte within a member, under right checksums."""
    with np.load(io.BytesIO(content)) as file, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that another type cannot hold
        arrays = dict(file)
        how = rng.randrange(6)
        names = sorted(arrays.keys() - {"header"})
        if how in (0, 1):
            header = json.loads(arrays["header"].tobytes())
            for _ in range(rng.choice([1, 1, 2])):
                header = change_json(header, rng)
            text = json.dumps(header).encode()
            if rng.random() < 0.05:
                text = rng.choice([b"[" * 100_000, b"1" * 5000, b'{"a":' * 3000, text.replace(b"rnn", b"\xff"), b""])
            arrays["header"] = np.frombuffer(text, np.uint8)
        elif how == 2:
            name = rng.choice(names)
            arrays[name] = change_array(arrays[name], rng)
            if rng.random() < 0.05:
                arrays[name] = arrays[name].astype(object)
        elif how == 3:
            name = rng.choice(names)
            moved = arrays.pop(name)
            if rng.random() < 0.7:
                arrays[rng.choice([*names, "x", "../x", name + "2", "params/", "best/x", "optimizer/x"])] = moved
    packed = io.BytesIO()
    np.savez(packed, **arrays) if rng.random() < 0.97 else np.savez_compressed(packed, **arrays)
    if how < 4:
        return packed.getvalue()
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(rebuilt, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of members of one name
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            if name == chosen and how == 4:
                head = 10 + int.from_bytes(member[8:10], "little")
                member = change_bytes(member[:head], rng) + member[head:]
            elif name == chosen:
                new.writestr(rng.choice([name, "x.npy", "y"]), rng.choice([member, b"", member[:12], content]))
            new.writestr(name, member)
    return rebuilt.getvalue()


def change_tar(content: bytes, rng: random.Random) -> bytes:
    """A changed archive within a whole gzip file."""
    tar = bytearray(gzip.decompress(content))
    if rng.random() < 0.5:  # a header, with a right checksum, so that it is looked at
        at = 512 * rng.randrange(len(tar) // 512)
        field, size = rng.choice([(0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155)])
        new = rng.choice([rng.randbytes(size), b"7" * size, b"\xff" * size, b"\0" * size, b"x", b"L", b"g", b"S", b"2"])
        tar[at + field : at + field + min(size, len(new))] = new[:size]
        block = tar[at : at + 512]
        block[148:156] = b" " * 8
        tar[at + 148 : at + 156] = b"%06o\0 " % sum(block)
        return gzip.compress(bytes(tar), 1)
    return gzip.compress(change_bytes(bytes(tar), rng), 1)


def change_folder(folder: Path, rng: random.Random) -> None:
    """Another content, a missing file, or something that is no file."""
    path = folder / rng.choice(sorted(review_files()))
    content = path.read_bytes()
    how = rng.randrange(6)
    path.unlink()
    if how < 3:
        path.write_bytes(change_bytes(content, rng))
    elif how == 3:
        os.mkfifo(path)
    elif how == 4:
        path.mkdir()
    elif rng.random() < 0.5:
        path.symlink_to(rng.choice(["/dev/zero", "nowhere", path.name, "/proc/self/mem"]))


def cases(name: str, seeds: range, folder: Path) -> Iterator[tuple[int, str | None]]:
    """For each seed, what is wrong with how its file is taken, or None."""
    kind = KINDS[name]
    path = kind.make(folder)
    right = kind.read(path)
    good = None if path.is_dir() else path.read_bytes()
    for seed in seeds:
        rng, whole = random.Random(f"{name} {seed}"), kind.whole
        if good is None:
            shutil.rmtree(path)
            kind.make(folder)
            change_folder(path, rng)
        elif rng.random() < 0.4 or path.suffix in (".txt", ".bin"):
            path.write_bytes(change_bytes(good, rng))
        elif path.suffix == ".npz":
            path.write_bytes(change_npz(good, rng))
            whole = False
        elif path.suffix == ".gz":
            path.write_bytes(change_tar(good, rng))
            whole = False
        else:
            path.write_bytes(json.dumps(change_json(json.loads(good), rng)).encode())
        yield seed, judge(kind, path, right, whole)


def judge(kind: Kind, path: Path, right: Any, whole: bool) -> str | None:
    """Read the file: what is wrong with how that ends, or None."""
    start, wrong = time.perf_counter(), None
    try:
        found = kind.read(path)
        if whole and found != right:
            wrong = "it was taken, but is not what was written"
    except (ValueError, OSError) as error:
        if str(path) not in str(error) and str(path.parent) not in str(error):
            wrong = f"the file is not named: {type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno == 12:
            wrong = f"more than {MEGABYTES} MB"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    return f"{seconds:.1f} s" if seconds > SECONDS else wrong


def limit_memory() -> None:
    """Let this process have no more than 500 MB besides what it has."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEGABYTES * 10**6, resource.RLIM_INFINITY))


def fuzz(name: str, count: int, first: int = 0) -> list[str]:
    """Read `count` changed files of a kind in a process of its own, which may crash; what went wrong."""
    wrong, seed = [], first
    while seed < first + count:
        command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--first", str(seed)]
        child = subprocess.Popen(
            [*command, "--count", str(first + count - seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout is not None
            for line in child.stdout:
                number, _, message = line.rstrip("\n").partition(" ")
                seed = int(number) + 1
                if message:
                    wrong.append(f"{name} {number}: {message}")
        if child.returncode and seed < first + count:
            wrong.append(f"{name} {seed}: the process ended with {child.returncode}")
            seed += 1
    return wrong


WRITER = """
import sys, numpy as np
from rnnscratch.files import save_arrays
print("begun", flush=True)
for number in range(10**9):
    save_arrays(sys.argv[1], {"format": "k"}, {"a": np.full(2**(10 + number % 9), number, float)})
"""
FITTER = """
import sys, numpy as np, rnnscratch as rs
from rnnscratch import training
rng = np.random.default_rng(0)
data = [rng.integers(0, 500, 12) for _ in range(400)], rng.integers(0, 2, 400)
model = rs.SequenceClassifier(500, 32, 32, cell="gru", dropout=0.2, word_dropout=0.1, seed=0)
print("begun", flush=True)
training.fit(model, data, data, optimizer=rs.Adam(0.01), epochs=25, batch_size=32, seed=0, progress=False,
             checkpoint=sys.argv[1], resume=len(sys.argv) > 2)
np.savez(sys.argv[1] + ".done.npz", **model.params)
"""


def start(script: str, *arguments: str) -> subprocess.Popen:
    """A process that runs a script and has begun its work."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def kill(process: subprocess.Popen, seconds: float) -> bool:
    """Kill it after so long; whether it was still at work."""
    with process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    return False


def kill_writers(count: int, folder: Path, rng: random.Random) -> list[str]:
    """Kill processes that write one file; it must be whole, and what the killed ones left be gone with the next."""
    wrong, path = [], folder / "file.npz"
    for number in range(count):
        kill(start(WRITER, str(path)), rng.uniform(0, 0.2))
        if path.exists():
            (array,) = load_arrays(path, "k")[1].values()
            if (array != array[0]).any() or len(array) != 2 ** (10 + int(array[0]) % 9):
                wrong.append(f"kill {number}: the file is not whole")
        save_arrays(path, {"format": "k"}, {"a": np.zeros(2**10)})
        if sorted(each.name for each in folder.iterdir()) != ["file.npz"]:
            wrong.append(f"kill {number}: {sorted(each.name for each in folder.iterdir())} are left")
    return wrong


def kill_fits(count: int, folder: Path, rng: random.Random) -> list[str]:
    """Kill training and resume it, again and again; it must end with the bits of a run that was left in peace."""
    kill(start(FITTER, str(folder / "whole.npz")), seconds=600)
    with np.load(folder / "whole.npz.done.npz") as file:
        right = bits(dict(file))
    wrong, killed, path, done = [], 0, folder / "run.npz", folder / "run.npz.done.npz"
    while killed < count:
        if kill(start(FITTER, str(path), "resume"), rng.uniform(0, 0.5)):
            killed += 1
        if killed == count and not done.exists():
            kill(start(FITTER, str(path), "resume"), seconds=600)
        if done.exists():
            with np.load(done) as file:
                if bits(dict(file)) != right:
                    wrong.append(f"kill {killed}: other bits")
            done.unlink()
            path.unlink()
    return wrong


def main() -> int:
    """Run everything and print the counts."""
    parser = argparse.ArgumentParser(description="Fuzz files and kill processes.")
    parser.add_argument("--count", type=int, default=10_000, help="changed files of each kind")
    parser.add_argument("--kills", type=int, default=100, help="half of them of training, half of writing")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if options.child:
            limit_memory()
            for seed, wrong in cases(options.child, range(options.first, options.first + options.count), Path(place)):
                print(seed, wrong or "", flush=True)
            return 0
        counts: Counter[str] = Counter()
        for name in options.kinds:
            begun = time.perf_counter()
            wrong = fuzz(name, options.count, options.first)
            counts[name] = len(wrong)
            print(f"{name}: {options.count} files, {len(wrong)} wrong, {time.perf_counter() - begun:.0f} s", flush=True)
            print("".join(f"  {line}\n" for line in wrong[:20]), end="", flush=True)
        rng = random.Random(options.first)
        for name, kill_some in ("writing", kill_writers), ("training", kill_fits):
            folder = Path(place) / name
            folder.mkdir()
            wrong = kill_some(options.kills // 2, folder, rng)
            counts[name] = len(wrong)
            print(f"{name}: {options.kills // 2} kills, {len(wrong)} wrong", flush=True)
            print("".join(f"  {line}\n" for line in wrong[:20]), end="", flush=True)
    return 1 if counts.total() else 0


if __name__ == "__main__":
    sys.exit(main())
