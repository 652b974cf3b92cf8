"""What must not do harm, done: `python tests/robustness.py` prints how often, and what went wrong. It takes minutes.

Kills while files are written, models trained, and the commands run, each begun again, to the same bits. Disks that are
full before or in the midst of the work: a small one is mounted where that is allowed, else files may grow no longer.
Files changed by chance or by malice (fuzz.py has more of it), downloads cut off, processes that want one folder at
once, and wrong arguments of every kind. `--size 0.1` does a tenth of it, tests/test_robustness.py a little.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import http.server
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fuzz
import numpy as np
from tqdm import tqdm

import rnnscratch as rs
from rnnscratch import files, metrics, training
from rnnscratch.experiments import imdb as comparison
from rnnscratch.experiments import memory, memory_report
from rnnscratch.text import Vocabulary, groups_by_length, imdb, pad

WRITERS = [name for name in fuzz.KINDS if not name.startswith("run's") and not name.endswith("of reviews")]
TIMES = ("seconds", "second", "time", "memory", "version")  # in the names of figures that differ from run to run


class Count(NamedTuple):
    """How often something was done, and what was wrong with it."""

    done: int
    wrong: list[str]


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int = 512) -> Iterator[Callable[[int], contextlib.AbstractContextManager[None]]]:
    """A disk at `place`, as a context manager that leaves so many bytes free on it for a while.

    It is one in memory where this process may mount one. Else no file may grow beyond so many bytes.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield (lambda free: _filled(place, free)) if mounted else _not_longer
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def _filled(place: Path, free: int) -> Iterator[None]:
    filler = place / ".filler"
    state = os.statvfs(place)
    with filler.open("wb") as file:
        file.write(bytes(max(0, state.f_bavail * state.f_frsize - free)))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _not_longer(free: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(place: Path) -> list[str]:
    """All that lies below, but for what fills the disk."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.name != ".filler")


def full_disks(count: int, folder: Path, rng: random.Random) -> Count:
    """Write files to a disk that has too little room: an OSError with the name, the old file whole, nothing left."""
    wrong = []
    with small_disk(folder / "disk") as leaving:
        for number in range(count):
            name = WRITERS[number % len(WRITERS)]
            kind, place = fuzz.KINDS[name], folder / "disk" / f"{number}"
            place.mkdir()
            path = kind.make(place)
            before, there = path.read_bytes(), names(place)
            try:
                with leaving(rng.choice([0, 0, 0, 4096, rng.randrange(len(before) + 1)])):
                    kind.make(place)
                kind.read(path)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EFBIG) or str(path) not in str(error):
                    wrong.append(f"{name}: {error}")
                if names(place) != there or path.read_bytes() != before:
                    wrong.append(f"{name}: {there} became {names(place)}, or the old file changed")
            kind.make(place)
            kind.read(path)
            for each in sorted(place.rglob("*"), reverse=True):
                each.rmdir() if each.is_dir() else each.unlink()
    return Count(count, wrong)


class Adder:
    """A small model with enough weights that a checkpoint fills a disk."""

    def __init__(self) -> None:
        self.params = {"W": np.zeros((40, 40)), "b": np.zeros(40)}
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}

    def batch_loss(self, batch: Any, train: bool = False) -> tuple[float, Callable[[], None], dict[str, Any]]:
        """The mean squared error of x W + b."""
        x, y = batch
        loss, d = rs.losses.mean_squared_error(x @ self.params["W"] + self.params["b"], y)

        def back() -> None:
            self.grads["W"][...], self.grads["b"][...] = x.T @ d, d.sum(axis=0)

        return loss, back, {}


def full_trainings(count: int, folder: Path, rng: random.Random) -> Count:
    """Fill the disk in the midst of a training: the checkpoint stays that of the epoch before, and it goes on."""
    draw = np.random.default_rng(0)
    data = [(draw.standard_normal((8, 40)), draw.standard_normal((8, 40))) for _ in range(3)]

    def fit(model: Any, path: Path | None, resume: bool = False, callbacks: Any = ()) -> None:
        options = {"checkpoint": path, "resume": resume, "callbacks": callbacks, "progress": False}
        training.fit(model, data, optimizer=rs.Adam(0.01), epochs=6, **options)

    whole, wrong = Adder(), []
    fit(whole, None)
    with small_disk(folder / "disk") as leaving:
        for _ in range(count):
            path, model, epoch = folder / "disk" / "run.npz", Adder(), rng.randrange(1, 6)
            with contextlib.ExitStack() as stack:

                def fill(_: Any, row: Any, epoch: int = epoch, stack: Any = stack) -> None:
                    if row["epoch"] == epoch:
                        stack.enter_context(leaving(rng.choice([0, 4096, 20000])))

                try:
                    fit(model, path, callbacks=[fill])
                    wrong.append("the training went on")
                except OSError as error:
                    if "run.npz" not in str(error) or names(folder / "disk") != ["run.npz"]:
                        wrong.append(f"{error}: {names(folder / 'disk')}")
            again = Adder()
            fit(again, path, resume=True)
            if fuzz.bits(again.params) != fuzz.bits(whole.params):
                wrong.append(f"other bits after a disk that was full in epoch {epoch}")
            path.unlink()
    return Count(count, wrong)


def reviews(folder: Path) -> Path:
    """A data set of 160 reviews."""
    root = folder / "aclImdb"
    for part in ("train", "test"):
        for sign, word in (("pos", "good"), ("neg", "bad")):
            (root / part / sign).mkdir(parents=True)
            for k in range(40):
                (root / part / sign / f"{k}_7.txt").write_text(f"a {word} film of kind {k % 7} in part {part} {k}")
            (root / part / f"urls_{sign}.txt").write_text("\n".join(f"tt{sign}{part}{k // 4}" for k in range(40)))
    return root


def commands(folder: Path) -> dict[str, list[str]]:
    """Arguments of small runs of the commands, some seconds each."""
    small = ["--epochs", "3", "--hidden", "4", "--embedding", "4", "--workers", "1", "--distill", "0", "--passes", "1"]
    latching = ["--problems", "latching", "--seeds", "1", "--hidden", "4", "--lengths", "4", "5", "--updates", "0.05"]
    return {
        "imdb": ["imdb", "--data", str(reviews(folder)), "--models", "bow", "rnn", "gru", "--pretrain", "none", *small],
        "memory": ["memory", *latching, "--workers", "1"],
    }


def outcome(out: Path) -> Any:
    """What a run found, but for times."""
    found = {}
    for path in sorted(out.glob("*.json")):
        if path.name == "results.json":
            found[path.name] = [_timeless(row) for row in json.loads(path.read_text())]
        elif path.name != "settings.json":
            found[path.name] = _timeless(json.loads(path.read_text())["outcome"])
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not any(word in name for word in TIMES)}


def full_runs(count: int, folder: Path, rng: random.Random) -> Count:
    """Run the commands on a disk with too little room, and a little more each time: they go on to the same outcome."""
    data = reviews(folder)
    settings = comparison.Settings(data=str(data), models=("bow", "rnn"), epochs=2, hidden=3, embedding=4, distill=0.0)
    latching = memory.Settings(problems=("latching",), seeds=1, hidden=3, lengths=(4,), updates=0.02, workers=1)
    runs: list[tuple[Callable[..., Any], Any]] = [(comparison.run, settings), (memory_report.run, latching)]
    wrong, done = [], 0
    for run, how in runs:
        run(how, folder / f"whole-{run.__module__}", progress=False)
        right = outcome(folder / f"whole-{run.__module__}")
        for number in range(max(1, count // 2)):
            with small_disk(folder / "disk", 8192) as leaving:
                out = folder / "disk" / f"{number}"
                free, failed = rng.choice([0, 4096]), 0
                while True:
                    try:
                        with leaving(free):
                            run(how, out, resume=True, progress=False)
                        break
                    except OSError as error:
                        failed += 1
                        if str(out) not in str(error) or any("tmp" in name for name in names(out)):
                            wrong.append(f"{error}: {names(out)}")
                    free += rng.choice([4096, 16384, 65536])
                    if free > 8_000_000:
                        wrong.append("it never had enough")
                        break
                done += failed
                if failed == 0 or outcome(out) != right or not (out / "report.html").exists():
                    wrong.append(f"{run.__module__}: another outcome after {failed} disks that were full")
    return Count(done, wrong)


def kill_commands(count: int, folder: Path, rng: random.Random) -> Count:
    """Kill the commands at any time, and resume them: they end with the outcome of one that was left in peace."""
    code = "import os, sys; print('begun', flush=True); sys.stderr = open(os.devnull, 'w')\n"
    code += "from rnnscratch.cli import main; sys.exit(main())"
    wrong, done = [], 0
    for name, arguments in commands(folder).items():
        begun = time.perf_counter()
        fuzz.kill(fuzz.start(code, *arguments, "--out", str(folder / f"{name}-whole")), seconds=600)
        longest, right = time.perf_counter() - begun, outcome(folder / f"{name}-whole")
        out, killed = folder / name, 0
        while killed < max(1, count // 2):
            process = fuzz.start(code, *arguments, "--out", str(out), *(["--resume"] if out.exists() else []))
            if fuzz.kill(process, rng.uniform(0.2, longest)):
                killed += 1
            elif outcome(out) == right:  # it came to its end: begin anew
                out = folder / f"{name}-{killed}"
            else:
                wrong.append(f"{name}: another outcome before kill {killed}")
        process = fuzz.start(code, *arguments, "--out", str(out), *(["--resume"] if out.exists() else []))
        fuzz.kill(process, seconds=600)
        if process.returncode or outcome(out) != right:
            wrong.append(f"{name}: it ended with {process.returncode}, or another outcome")
        done += killed
    return Count(done, wrong)


def cut_downloads(count: int, folder: Path, rng: random.Random) -> Count:
    """Fetch an archive from a server that cuts it off, and then wholly: the cache is as it was, and then right."""
    content = fuzz.make_archive(folder).read_bytes()
    digest, sent = hashlib.sha256(content).hexdigest(), [len(content)]

    class Server(http.server.BaseHTTPRequestHandler):
        """Sends so much, and closes."""

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: sent[0]])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    wrong = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/data.tar.gz"
        for number in range(count):
            cache = folder / f"cache-{number}"
            target, old = cache / "data.tar.gz", rng.choice([None, content[:-50], b"something else"])
            cache.mkdir()
            if old is not None:
                target.write_bytes(old)
            sent[0] = rng.randrange(len(content))
            try:
                imdb.download_imdb(target, url, digest, progress=False)
                wrong.append(f"{sent[0]} bytes were taken for all")
            except (OSError, ValueError) as error:
                if url not in str(error):
                    wrong.append(f"the URL is not named: {error}")
            if names(cache) != ["data.tar.gz"] * (old is not None) or (old is not None and target.read_bytes() != old):
                wrong.append(f"after {sent[0]} bytes there are {names(cache)}")
            sent[0] = len(content)
            imdb.download_imdb(target, url, digest, progress=False)
            if names(cache) != ["data.tar.gz"] or target.read_bytes() != content:
                wrong.append(f"then there are {names(cache)}")
        server.shutdown()
    return Count(count, wrong)


ASK = """
import sys, time
from rnnscratch.files import owned
print("begun", flush=True)
sys.stdin.readline()
try:
    with owned(sys.argv[1]):
        print("mine", flush=True)
        time.sleep(60)
except BlockingIOError as error:
    print(str(error).count("is in use by"), flush=True)
"""


def contend(count: int, folder: Path, rng: random.Random) -> Count:
    """Several processes ask for one folder at once; the one that gets it is killed, and the next ones get it."""
    wrong = []
    environment = {**os.environ, "PYTHONPATH": str(fuzz.ROOT)}
    for number in range(count):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", ASK, str(folder)]
        asking: list[Any] = [subprocess.Popen(command, env=environment, **pipes) for _ in range(rng.choice([2, 3, 4]))]
        for process in asking:
            process.stdout.readline()
        for process in asking:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.stdout.readline().strip() for process in asking]
        if sorted(answers) != ["1"] * (len(asking) - 1) + ["mine"]:
            wrong.append(f"round {number}: {answers}")
        for process in asking:
            process.kill()
            process.communicate()
    with files.owned(folder):
        pass
    return Count(count, wrong)


def calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Functions, each with right arguments."""
    rng = np.random.default_rng(0)
    x, ids, labels = rng.standard_normal((3, 2, 4)), np.array([[1, 2], [0, 3]]), np.array([0, 1, 1, 0])
    sizes = {"vocabulary_size": 9, "embedding_dim": 3, "hidden_size": 4, "cell": "gru", "num_layers": 1}
    layer = {"input_size": 3, "hidden_size": 4, "num_layers": 1, "bidirectional": False, "dropout": 0.0}
    layer |= {"recurrent_dropout": 0.0, "dtype": "float64", "device": "cpu", "seed": 0}
    small = {"dtype": "float32", "device": "cpu", "seed": 0}
    model = {"bidirectional": False, "dropout": 0.1, "pooling": "last", "num_classes": 2}
    data = [np.array([1, 2, 3]), np.array([4, 5])] * 3, np.array([0, 1] * 3)

    def fit(**options: Any) -> Any:
        given = {"model": rs.SequenceClassifier(9, 2, 2, cell="rnn", seed=0), "optimizer": rs.Adam(), **options}
        return training.fit(**given)

    fitting = {"train": data, "validation": data, "epochs": 1, "batch_size": 2}
    fitting |= {"max_length": 3, "schedule": None, "plateau": None, "clip_norm": 1.0, "patience": 1, "monitor": "loss"}
    fitting |= {"callbacks": [], "seed": 0, "checkpoint": None, "resume": False, "progress": False, "average": 0.9}
    lstm = rs.LSTM(4, 3, dtype="float64", seed=0)
    y, p = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.4])
    hmm = {"n_components": 2, "n_iter": 2, "tol": 0.01, "random_state": 0}
    return {
        "RNN": (rs.RNN, {**layer, "activation": "tanh"}),
        "LSTM": (rs.LSTM, layer),
        "GRU": (rs.GRU, {**layer, "reset_after": False}),
        "LSTM.forward": (lstm.forward, {"x": x, "state": None, "lengths": [3, 2], "train": False}),
        "LSTM.step": (lstm.step, {"x": x[0], "state": None}),
        "Embedding": (rs.Embedding, {"num_embeddings": 5, "embedding_dim": 3, **small}),
        "Dense": (rs.Dense, {"input_size": 5, "output_size": 3, **small}),
        "Dropout": (rs.Dropout, {"rate": 0.5, "seed": 0}),
        "SequenceClassifier": (rs.SequenceClassifier, {**sizes, **model, **small}),
        "LanguageModel": (rs.LanguageModel, {**sizes, "dropout": 0.1, "tied": False, **small}),
        "Seq2Seq": (rs.Seq2Seq, {"source_size": 5, "target_size": 6, "hidden_size": 4, "attention": "dot", **small}),
        "TextClassifier.fit": (rs.TextClassifier(epochs=1, min_count=1).fit, {"X": fuzz.TEXTS, "y": ["a", "b"] * 6}),
        "Word2Vec.fit": (rs.Word2Vec(vector_size=2, min_count=1, epochs=1).fit, {"sentences": [["a", "b"]] * 3}),
        "training.fit": (fit, fitting),
        "SGD": (rs.SGD, {"learning_rate": 0.1}),
        "Momentum": (rs.Momentum, {"learning_rate": 0.1, "momentum": 0.9}),
        "Adam": (rs.Adam, {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}),
        "AdamW": (rs.AdamW, {"learning_rate": 0.1, "weight_decay": 0.01}),
        "clip_gradients": (rs.clip_gradients, {"grads": {"W": np.ones(3)}, "max_norm": 1.0, "max_value": 2.0}),
        "cosine_schedule": (rs.optimizers.cosine_schedule, {"learning_rate": 0.1, "steps": 5, "final": 0.0}),
        "step_schedule": (rs.optimizers.step_schedule, {"learning_rate": 0.1, "every": 5, "factor": 0.5}),
        "Plateau": (rs.optimizers.Plateau, {"factor": 0.5, "patience": 1, "threshold": 0.1}),
        "softmax_cross_entropy": (rs.losses.softmax_cross_entropy, {"logits": x, "targets": ids[:1].repeat(3, 0)}),
        "binary_cross_entropy": (rs.losses.binary_cross_entropy, {"logits": p, "targets": y, "smoothing": 0.1}),
        "mean_squared_error": (rs.losses.mean_squared_error, {"outputs": p, "targets": p}),
        "kl_divergence": (rs.losses.kl_divergence, {"logits": x, "reference": x}),
        "accuracy": (metrics.accuracy, {"y_true": y, "y_pred": y}),
        "f1": (metrics.f1, {"y_true": y, "y_pred": y}),
        "roc_auc": (metrics.roc_auc, {"y_true": y, "scores": p}),
        "confusion_matrix": (metrics.confusion_matrix, {"y_true": y, "y_pred": y}),
        "Vocabulary.build": (Vocabulary.build, {"texts": [["a", "b"], ["b"]], "min_count": 1, "max_size": 5}),
        "pad": (pad, {"sequences": [[1, 2], [3]]}),
        "groups_by_length": (groups_by_length, {"lengths": [1, 2, 3], "count": 2}),
        "CategoricalHMM.fit": (_fitted(rs.hmm.CategoricalHMM, X=[["a", "b", "a"], ["b", "b"]]), hmm),
        "GaussianHMM.fit": (_fitted(rs.hmm.GaussianHMM, X=rng.standard_normal((20, 2))), hmm),
        "CategoricalHMM X": (
            rs.hmm.CategoricalHMM(2, n_iter=2, random_state=0).fit,
            {"X": [0, 1, 1, 0], "lengths": [2, 2]},
        ),
        "check_gradients": (
            lambda x, **options: rs.check_gradients(rs.RNN(4, 2, seed=0), x, **options),
            {
                "x": x,
                "lengths": [3, 1],
                "train": False,
                "method": None,
                "dtype": "float64",
                "max_entries": 9,
                "seed": 0,
            },
        ),
        "classification_scores": (metrics.classification_scores, {"y_true": labels, "y_pred": labels}),
    }


def _fitted(kind: Any, X: Any) -> Callable[..., Any]:
    return lambda **options: kind(**options).fit(X)


ALSO = {
    "X": ["X", "texts", "labels", "vocabulary"],
    "y": ["labels"],
    "x": ["x", "inputs"],
    "checkpoint": ["checkpoint", "path"],
}  # as named there


def wrong_values() -> list[Any]:
    """What hardly any argument may be."""
    numbers = [
        None,
        True,
        -1,
        0,
        1.5,
        -0.5,
        float("nan"),
        float("inf"),
        1 + 2j,
        -(10**400),
        np.float32(0.5),
        np.int8(-3),
    ]
    texts = ["", "x", "a\0b", b"x", "\ud800"]
    arrays = [np.array([np.nan, 1.0]), np.zeros((2, 2, 2, 2)), np.zeros(0), np.array(["a"]), np.array([{}], object)]
    return [
        *numbers,
        *texts,
        *arrays,
        [],
        [[]],
        [[1], [1, 2]],
        {},
        {"a": 1},
        object(),
        (None,),
        [None, None],
        iter([1]),
    ]


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    """Work in a folder, and show nothing of it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.chdir(before)


def refuse(count: int, folder: Path, rng: random.Random) -> Count:
    """Give wrong arguments, one at a time: each is taken, or refused by its name with a ValueError or TypeError."""
    wrong, done = [], 0
    tries = [(name, argument) for name, (_, right) in calls().items() for argument in right]
    places = [(each, k) for each in tries for k in range(len(wrong_values()))]
    chosen = sorted(rng.sample(range(len(places)), min(count, len(places))))
    made: dict[str, Any] = {}
    for name, (call, right) in calls().items():
        try:
            with warnings.catch_warnings(), within(folder):
                warnings.simplefilter("ignore")
                call(**right)
        except Exception as error:
            wrong.append(f"{name} with right arguments: {type(error).__name__}: {error}")
    for (name, argument), k in [places[place] for place in chosen]:
        made = made if k else calls()  # what one argument has done to objects does not meet another
        made = made or calls()
        call, right = made[name]
        value = wrong_values()[k]
        shown = f"{name}({argument}={value!r:.40})"
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"), within(folder):
                warnings.simplefilter("ignore")
                call(**{**right, argument: value})
        except (ValueError, TypeError, OSError) as error:
            done += 1
            if not any(word in str(error) for word in ALSO.get(argument, [argument])) and not isinstance(
                error, OSError
            ):
                wrong.append(f"{shown}: the argument is not named: {type(error).__name__}: {error}")
        except Exception as error:
            wrong.append(f"{shown}: {type(error).__name__}: {error}")
    return Count(done, wrong)


def as_count(old: Callable[..., list[str]]) -> Callable[[int, Path, random.Random], Count]:
    """One of fuzz.py's, which returns what was wrong."""
    return lambda count, folder, rng: Count(count, old(count, folder, rng))


def fuzz_files(count: int, folder: Path, rng: random.Random) -> Count:
    """Read changed files of every kind, in processes that may have no more than some memory."""
    each = max(1, count // len(fuzz.KINDS))
    wrong = [line for name in fuzz.KINDS for line in fuzz.fuzz(name, each, rng.randrange(10**6))]
    return Count(each * len(fuzz.KINDS), wrong)


PARTS: dict[str, tuple[Callable[[int, Path, random.Random], Count], int]] = {  # and how often in some minutes
    "writers of a file killed": (as_count(fuzz.kill_writers), 40),
    "trainings killed, same bits": (as_count(fuzz.kill_fits), 40),
    "commands killed, same outcome": (kill_commands, 20),
    "files written on a full disk": (full_disks, 240),
    "trainings that a full disk ended, same bits": (full_trainings, 40),
    "runs that a full disk ended, same outcome": (full_runs, 4),
    "changed files read": (fuzz_files, 2800),
    "downloads cut off": (cut_downloads, 100),
    "rounds of processes for one folder, owner killed": (contend, 20),
    "wrong arguments refused": (refuse, 10_000),
}


def main(arguments: list[str] | None = None) -> int:
    """Do everything and print the counts; the exit status says whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0, metavar="F", help="times the usual numbers")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rows: dict[str, Count] = {}
    seconds: dict[str, float] = {}
    with tqdm(PARTS.items(), unit="part", disable=None) as bar:
        for name, (part, usual) in bar:
            bar.set_description(name)
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as place:
                rows[name] = part(max(1, round(usual * options.size)), Path(place), random.Random(options.seed))
            seconds[name] = time.perf_counter() - begun
    width = max(map(len, rows))
    print(f"{'':{width}}  {'done':>6}  {'wrong':>5}  {'seconds':>7}")
    for name, count in rows.items():
        print(f"{name:{width}}  {count.done:6,}  {len(count.wrong):5,}  {seconds[name]:7.0f}")
        print("".join(f"    {line:.300}\n" for line in count.wrong[:20]), end="")
    return int(any(count.wrong for count in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
