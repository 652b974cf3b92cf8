"""Hidden size, dropout and learning rate for RNN, LSTM and GRU on IMDB reviews: the same search for each cell.

python examples/imdb_search.py                          # 20 trials of each cell, hours on 2 cores
python examples/imdb_search.py --workers 2              # two trials at a time, which come to the same table
python examples/imdb_search.py --resume                 # goes on where it was stopped
python examples/imdb_search.py --quick --trials 8       # a small part of the reviews
python examples/imdb_search.py --dask tcp://host:8786   # trials run on the workers of a Dask cluster

Everything else is as in the comparison `rnnscratch imdb`, whose own settings are each cell's first trial. Trials are
judged on validation reviews; the best settings of each cell are then trained once more, and tested once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
from optuna.distributions import FloatDistribution, IntDistribution

from rnnscratch.experiments import imdb
from rnnscratch.experiments.contestants import learn, train_network
from rnnscratch.experiments.pretraining import Start, starting_point
from rnnscratch.experiments.results import NAMES, Lessons, Outcome, Prepared, interval
from rnnscratch.experiments.teacher import lessons
from rnnscratch.files import atomic_write, owned
from rnnscratch.progress import say
from rnnscratch.search import best, search, table, write_page
from rnnscratch.text.batches import Batches
from rnnscratch.text.imdb import find_imdb

CELLS = ("rnn", "lstm", "gru")
SPACE = {
    "hidden": IntDistribution(16, 128, log=True),
    "dropout": FloatDistribution(0.0, 0.7),
    "learning_rate": FloatDistribution(3e-4, 2e-2, log=True),
}


def accuracy(
    settings: imdb.Settings,
    prepared: Prepared,
    cell: str,
    start: Start,
    taught: Lessons,
    tried: Mapping[str, Any],
    report: Callable[..., None],
) -> float:
    """That on the validation reviews, after its best epoch, of a network with the settings that are tried."""
    settings = replace(settings, **tried)
    _, history, _ = learn(settings, prepared, cell, 0, start, taught, None, False, False, [report])
    return max(history["validation_accuracy"])


def objectives(settings: imdb.Settings, prepared: Prepared, cells: Sequence[str], progress: bool) -> dict[str, Any]:
    """What each cell is judged by. Test reviews and those without a label are not sent along."""
    taught = lessons(settings, prepared, progress)
    starts = {cell: starting_point(settings, prepared, cell, progress) for cell in cells}
    sent = replace(imdb.blind(prepared), unlabelled_ids=[], learned={})
    sent = replace(sent, data=replace(sent.data, unlabelled=[], train=sent.validation))
    return {cell: partial(accuracy, settings, sent, cell, starts[cell], taught) for cell in cells}


def describe(settings: imdb.Settings, prepared: Prepared) -> dict[str, Any]:
    """What the journal says of data and settings."""
    parts = {
        "training": Batches(prepared.train_ids, prepared.train_labels),
        "validation": Batches(prepared.validation_ids, prepared.validation.labels),
    }
    return {
        "data": prepared.data.describe(),
        **{name: batches.summary() for name, batches in parts.items()},
        "settings": asdict(replace(settings, data=None)),  # wherever the same reviews lie
    }


def final(
    settings: imdb.Settings, prepared: Prepared, cell: str, chosen: Mapping[str, Any], out: Path, progress: bool
) -> Outcome:
    """Train with the chosen settings, and test; what a run before this has tested already is not tested again."""
    named = "-".join(f"{name}={chosen[name]:.6g}" for name in SPACE)
    folder = out / f"{cell}-{named}"
    if (folder / "outcome.npz").exists():
        return Outcome.load(folder / "outcome.npz", cell, 0)
    folder.mkdir(exist_ok=True)
    settings = replace(settings, **{name: chosen[name] for name in SPACE})
    outcome = train_network(settings, prepared, cell, 0, folder, True, progress)
    outcome.save(folder / "outcome.npz")
    return outcome


def sentence(cell: str, rows: Sequence[dict[str, Any]], outcome: Outcome | None, prepared: Prepared) -> str:
    """What the search of a cell found, in words."""
    chosen, default = best(rows), rows[0]
    if chosen is None:
        return f"{NAMES[cell]}: all {len(rows)} trials failed."
    count = len(prepared.validation_ids)
    there = ", ".join(f"{name.replace('_', ' ')} {chosen[name]:.4g}" for name in SPACE)
    own = f"{default['score']:.2%}" if default["state"] == "complete" else default["state"]
    found = (
        f"{NAMES[cell]}: best of {len(rows)} trials is {there}, with {chosen['score']:.2%} of {count:,} validation "
        f"reviews right; the comparison's own settings: {own}. The best of many trials is partly luck: of one alone, "
        f"95 % of such samples would lie within +-{interval(chosen['score'], count):.2%}."
    )
    if outcome is not None:
        found += f" Tested once: {outcome.row['accuracy']:.2%} of {outcome.row['test_size']:,} test reviews."
    return found


def row_of(cell: str, rows: Sequence[dict[str, Any]], outcome: Outcome, prepared: Prepared) -> dict[str, Any]:
    """What results.json says of a cell: the trials, the comparison's own settings, the best, and its test."""
    chosen = best(rows)
    assert chosen is not None
    own = {name: rows[0][name] for name in (*SPACE, "score")}
    return {
        "cell": cell,
        "data": prepared.data.describe(),
        "trials": len(rows),
        "own": own,
        "best": {name: chosen[name] for name in own},
        "validation_size": len(prepared.validation_ids),
        "accuracy": outcome.row["accuracy"],
        "test_size": outcome.row["test_size"],
    }


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Search, then train and test what was found."""
    settings = imdb.Settings(data=options.data, quick=options.quick, epochs=options.epochs, models=tuple(options.cells))
    settings.check()
    find_imdb(options.data)
    settings, progress = settings.of_quick(), not options.quiet
    options.out.mkdir(parents=True, exist_ok=True)
    with owned(options.out), ExitStack() as stack:
        prepared = replace(imdb.prepare(settings, progress), folder=options.out)
        say(prepared.data.describe())
        if options.dask is not None:
            from dask.distributed import Client

            local = {"n_workers": options.workers, "threads_per_worker": 1}
            client = Client(**local) if options.dask == "local" else Client(options.dask)
            stack.enter_context(client)
            stack.enter_context(joblib.parallel_config(backend="dask"))
        found = search(
            objectives(settings, prepared, options.cells, progress),
            SPACE,
            options.out / "search.log",
            trials=options.trials,
            given=[{name: getattr(settings, name) for name in SPACE}],
            about=describe(settings, prepared),
            resume=options.resume,
            n_jobs=options.workers if options.dask in (None, "local") else -1,
            progress=progress,
        )
        page = options.out / "search.html"
        words = [prepared.data.describe() + ".", *(sentence(cell, found[cell], None, prepared) for cell in found)]
        write_page(page, found, SPACE, "RNN, LSTM and GRU on IMDB reviews: a search", words)
        results = []
        for place, (cell, rows) in enumerate(found.items(), 1):
            chosen = best(rows)
            if chosen is not None:
                outcome = final(settings, prepared, cell, chosen, options.out, progress)
                words[place] = sentence(cell, rows, outcome, prepared)
                results.append(row_of(cell, rows, outcome, prepared))
        write_page(page, found, SPACE, "RNN, LSTM and GRU on IMDB reviews: a search", words)
        with atomic_write(options.out / "results.json") as file:
            json.dump(results, file, indent=1)
    for said, (cell, rows) in zip(words[1:], found.items()):
        say(f"\n{NAMES[cell]}\n{table(rows)}\n{said}")
    say(f"\n{page} has tables and pictures")
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Read the options, and search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", help="aclImdb folder or archive; default: where `text.load_imdb` finds reviews")
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--trials", type=int, default=20, help="of each cell, its first with the comparison's own settings")
    add("--epochs", type=int, default=imdb.Settings.epochs)
    add("--workers", type=int, default=1, help="trials at a time; they do not change what is found")
    add("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers see --out too; or 'local'")
    add("--quick", action="store_true", help="a small part of the reviews")
    add("--resume", action="store_true", help="go on with what the folder holds, or with more --trials")
    add("--out", type=Path, default=Path("runs/imdb_search"), help="folder for journal, models and page")
    add("--quiet", action="store_true", help="no progress bars")
    try:
        return run(parser.parse_args(arguments))
    except (OSError, ValueError) as error:
        raise SystemExit(f"imdb_search: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("imdb_search: interrupted; --resume goes on") from None


if __name__ == "__main__":
    main()
