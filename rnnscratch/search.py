"""Bayesian search for settings: Optuna proposes and prunes, joblib carries the trials, a journal file keeps them.

Grid and random search, cross-validation and learning curves are scikit-learn's, which take the estimators as they are.

A search goes on in rounds of `together` trials. What a round tries depends on the seed and on the rounds before it
alone, and so does which of its trials are pruned; so one process and many, a search that was killed and resumed and one
that was not, come to the same trials. The journal holds finished trials only, each written at once as it ends.
"""

from __future__ import annotations

import glob
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from html import escape
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from . import plots
from .checks import as_list, check_flags, check_sizes, library
from .experiments import pages
from .experiments.pages import NO_PICTURES, html_table, section, text_table
from .files import as_json, open_regular, owned, place_to_write, reading, to_json
from .progress import progress_bar

Row = dict[str, Any]
ROW = {"trial", "state", "score", "epochs", "seconds", "error"}  # what stands in it beside the settings
Objective = Callable[[dict[str, Any], Callable[..., None]], float]
LINE = b'{"op_code":'  # what every line of a journal begins with
STARTUP = 5  # trials by chance before TPE has something to learn from, and those to finish before any is pruned


def search(
    objectives: Mapping[str, Objective],
    space: Mapping[str, Any],
    journal: str | os.PathLike[str],
    *,
    trials: int = 20,
    given: Sequence[Mapping[str, Any]] = (),
    together: int = 4,
    monitor: str = "validation_accuracy",
    prune: bool = True,
    seed: int = 0,
    about: Any = None,
    resume: bool = False,
    n_jobs: int | None = None,
    progress: bool = True,
) -> dict[str, list[Row]]:
    """So many trials of each objective, all from the same seed, by the tree-structured Parzen estimator (Bergstra et
    al. 2011); returns the rows of each, in the order in which they were proposed.

    objectives   by name, such as that of a cell: objective(settings, report) trains with the settings and returns the
                 score, the higher the better. `report` is a callback for `training.fit` or `TextClassifier.fit`, which
                 takes the figure `monitor` of each epoch, and ends a trial whose best so far lies below the median that
                 earlier trials had at that epoch (without `prune`, none). A FloatingPointError, such as NonFiniteLoss,
                 or a score that is not finite, makes a failed trial; all else that is raised ends the search
    space        what may be chosen, by name: Optuna's distributions
    journal      a file, of Optuna's journal storage, which is this search's own while it runs; `optuna-dashboard` reads
                 it. It is written by the processes that train: on many machines, it must lie where all can write
    given        settings to try first, such as the defaults
    together     trials of one round: more of them keep more processes busy, fewer learn more from each other
    about        what the journal is to say of data and settings, as JSON has it
    resume       go on with what the journal holds already, or with more `trials`
    n_jobs       processes, by joblib, whose `parallel_config` says where they are: here, or on a Dask cluster

    A row holds "trial", "state" ("complete", "pruned" or "failed"), "score" (the last reported one, if pruned; NaN, if
    failed), the settings, "epochs", "seconds", and "error" in words.

    Raises ValueError or TypeError for wrong options, for a journal that is damaged, is there already (unless `resume`),
    or is that of a search of other data or settings, naming what differs; BlockingIOError where another process is at
    it; ImportError without the extra `search`.
    """
    optuna = library("optuna", "search")
    joblib = library("joblib", "search")
    _check(optuna, objectives, space, monitor)
    check_sizes(trials=trials, together=together)
    check_flags(prune=prune, resume=resume, progress=progress)
    check_sizes(least=0, seed=seed)
    first = [_check_given(optuna, f"given[{k}]", each, space) for k, each in enumerate(as_list("given", given))]
    ranges = {name: json.loads(optuna.distributions.distribution_to_json(each)) for name, each in space.items()}
    wanted = {"about": about, "space": ranges, "given": first, "together": together, "monitor": monitor}
    wanted = as_json(wanted | {"prune": bool(prune), "seed": seed})
    place = place_to_write(journal)
    with owned(place), _quiet(optuna):
        studies = _claim(optuna, place, list(objectives), wanted, resume)
        done = {name: _by_number(study) for name, study in studies.items()}
        total, count = trials * len(done), sum(k < trials for found in done.values() for k in found)
        with progress_bar(show=progress, total=total, initial=count, desc="search", unit="trial") as bar:
            for begin in range(0, trials, together):
                numbers = range(begin, begin + together)
                tasks = []
                for name, found in done.items():
                    earlier, proposed = [found[k] for k in range(begin)], list[dict[str, Any]]()
                    for k in numbers:
                        params = first[k] if k < len(first) else _propose(optuna, space, earlier, proposed, (seed, k))
                        proposed.append(params)
                        if k not in found and k < trials:
                            options = (monitor, earlier if prune else [], os.getpid())
                            tasks.append((objectives[name], params, space, k, str(place), name, *options))
                run = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
                for name, trial in run(joblib.delayed(_try)(*task) for task in tasks):
                    done[name][trial.user_attrs["number"]] = trial
                    bar.set_postfix_str(_best_so_far(done))
                    bar.update()
        return {name: [_row(found[k]) for k in range(trials)] for name, found in done.items()}


def best(rows: Sequence[Row]) -> Row | None:
    """The complete trial with the highest score, the first of those that are as good; None where none is complete."""
    complete = [row for row in rows if row["state"] == "complete"]
    return max(complete, key=lambda row: row["score"]) if complete else None


def table(rows: Sequence[Row], ranked: bool = True) -> str:
    """The trials as lines of text, the best first, or in their order."""
    return text_table(_cells(rows, ranked), left=0)


def write_page(
    path: str | os.PathLike[str],
    found: Mapping[str, Sequence[Row]],
    space: Mapping[str, Any],
    title: str = "A search for settings",
    words: Sequence[str] = (),
) -> None:
    """An HTML file that needs no other: words, and of each name the trials as table, parallel coordinates and maps.

    Failed trials are in the table alone. Without matplotlib (extra `plots`) it has no pictures, and says so.
    """
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(sentence)}</p>" for sentence in words)]
    drawn = find_spec("matplotlib") is not None
    if not drawn:
        parts.append(NO_PICTURES)
    for name, rows in found.items():
        parts.append(f"<h2>{escape(name)}</h2>{html_table(_cells(rows))}")
        parts += _pictures(name, [row for row in rows if row["state"] != "failed"], space) if drawn else []
    pages.write_page(path, title, parts)


def _pictures(name: str, rows: Sequence[Row], space: Mapping[str, Any]) -> list[str]:
    """Of trials with a score, as HTML with the images inside."""
    if not rows:
        return []
    scores, log = [row["score"] for row in rows], [key for key, each in space.items() if getattr(each, "log", False)]
    values = {key: [row[key] for row in rows] for key in space}
    drawn = [partial(plots.parallel_coordinates, values, scores, log)]
    drawn += [partial(plots.score_map, {a: values[a], b: values[b]}, scores, log) for a, b in combinations(space, 2)]
    return section(f"{name}: settings and scores", drawn)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Within, Optuna does not log each study and trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _check(optuna: Any, objectives: Any, space: Any, monitor: Any) -> None:
    for name, value, kind in (("objectives", objectives, None), ("space", space, "distribution")):
        if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{name} is {value!r:.60}, expected a dict by names with at least one entry")
        for key, each in value.items():
            if kind is None and not callable(each):
                raise TypeError(f"{name}[{key!r}] is {each!r:.60}, expected a function")
            if kind is not None and not isinstance(each, optuna.distributions.BaseDistribution):
                raise TypeError(f"{name}[{key!r}] is {each!r:.60}, expected one of optuna.distributions")
    for name in sorted(space.keys() & ROW):
        raise ValueError(f"space holds {name!r}, which a row has for something else")
    if not isinstance(monitor, str):
        raise TypeError(f"monitor is {monitor!r:.60}, expected the name of a figure")


def _check_given(optuna: Any, name: str, settings: Any, space: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(settings, Mapping) or settings.keys() != space.keys():
        raise ValueError(f"{name} is {settings!r:.100}, expected settings for {', '.join(space)}")
    try:
        optuna.trial.create_trial(params=dict(settings), distributions=dict(space), value=0.0)
    except ValueError as error:
        raise ValueError(f"{name} is not in space: {error}") from None
    return dict(settings)


def _claim(optuna: Any, place: Path, names: list[str], wanted: Any, resume: bool) -> dict[str, Any]:
    """The studies in the journal, of this search. Raises ValueError, before anything is written, for one of another."""
    if place.exists() and place.stat().st_size and not resume:
        raise ValueError(f"{place} holds a search already: go on with resume=True, or choose another file")
    with reading(place, "is no journal of a search, or damaged"):
        if place.exists():
            _mend(place)
        storage = _storage(optuna, place)
        there = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
    for name in names:
        attributes = there[name].user_attrs if name in there else {}
        if "search" not in attributes and (name not in there or there[name].n_trials == 0):
            continue
        found = attributes.get("search")
        if not isinstance(found, dict):
            raise ValueError(f"{place} holds a study {name!r} that is no search of this kind")
        differing = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        if differing:
            said = "; ".join(
                f"{key} is {to_json(wanted.get(key))} here, {to_json(found.get(key))} there" for key in differing
            )
            raise ValueError(f"{place} is that of another search: {said}")
    studies = {}
    for name in names:
        studies[name] = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        if "search" not in studies[name].user_attrs:
            studies[name].set_user_attr("search", wanted)
    return studies


def _mend(place: Path) -> None:
    """Remove what a writer that was killed left: half a line at the end, and its lock. Nobody else is at work here.

    Raises ValueError, before anything is changed, for a file with a line that is none of Optuna's.
    """
    with open_regular(place) as file:
        content = file.read()
    *lines, half = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.startswith(LINE) or not isinstance(json.loads(line), dict):
            raise ValueError(f"line {number} is {line[:60]!r}")
    if not half.startswith(LINE[: len(half)]):
        raise ValueError(f"its end is {half[:60]!r}")
    if half:
        os.truncate(place, len(content) - len(half))
    for left in place.parent.glob(f"{glob.escape(place.name)}.lock*"):
        left.unlink()


def _storage(optuna: Any, place: str | os.PathLike[str]) -> Any:
    journal = optuna.storages.journal
    lock = journal.JournalFileOpenLock(os.fspath(place))  # a link, which is the other kind, not every system has
    return optuna.storages.JournalStorage(journal.JournalFileBackend(os.fspath(place), lock))


def _by_number(study: Any) -> dict[int, Any]:
    """The finished trials of a study; of two with one number, which a process that outlived its search may leave, the
    first.
    """
    found: dict[int, Any] = {}
    for trial in study.get_trials(deepcopy=False):
        found.setdefault(trial.user_attrs["number"], trial)
    return found


def _propose(
    optuna: Any,
    space: Mapping[str, Any],
    earlier: Sequence[Any],
    proposed: Sequence[dict[str, Any]],
    seed: tuple[int, int],
) -> dict[str, Any]:
    """What TPE would try next, after the trials of earlier rounds, and with others of this round under way."""
    mixed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    study = _study(optuna, earlier, optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=mixed))
    running = optuna.trial.TrialState.RUNNING
    for params in proposed:
        study.add_trial(optuna.trial.create_trial(state=running, params=params, distributions=dict(space)))
    return study.ask(dict(space)).params


def _study(optuna: Any, earlier: Sequence[Any], sampler: Any = None) -> Any:
    """One in memory, of these trials."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.add_trials(earlier)
    return study


def _try(
    objective: Objective,
    params: dict[str, Any],
    space: Mapping[str, Any],
    number: int,
    journal: str,
    name: str,
    monitor: str,
    earlier: Sequence[Any],
    searcher: int,
) -> tuple[str, Any]:
    """Run one trial, and write it to the journal as it ends."""
    optuna = library("optuna", "search")
    parent = None if os.getpid() == searcher else os.getppid()
    with _quiet(optuna):
        study = _study(optuna, earlier)
        study.enqueue_trial(params, user_attrs={"number": number})
        trial = study.ask(dict(space))
        begun = time.perf_counter()

        def report(model: Any, row: Mapping[str, float]) -> None:
            """Take an epoch's figure. Raises TrialPruned if it is too bad to go on."""
            if parent not in (None, os.getppid()):
                os._exit(1)  # the search was killed; joblib's worker would take an exception for a result, and stay
            if monitor not in row:
                raise ValueError(f"monitor is {monitor!r}, expected one of {', '.join(map(repr, row))}")
            trial.report(float(row[monitor]), int(row["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned()

        state, score, error = optuna.trial.TrialState.COMPLETE, None, None
        try:
            score = float(objective(dict(trial.params), report))
            if not math.isfinite(score):
                state, error = optuna.trial.TrialState.FAIL, f"the score is {score}"
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except FloatingPointError as caught:
            state, error = optuna.trial.TrialState.FAIL, str(caught)
        trial.set_user_attr("seconds", time.perf_counter() - begun)
        if error is not None:
            trial.set_user_attr("error", error)
        complete = state == optuna.trial.TrialState.COMPLETE
        frozen = study.tell(trial, score if complete else None, state)
        optuna.load_study(storage=_storage(optuna, journal), study_name=name).add_trial(frozen)
    return name, frozen


def _row(trial: Any) -> Row:
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    figures = {"epochs": len(trial.intermediate_values), "seconds": trial.user_attrs["seconds"]}
    score = math.nan if trial.value is None else trial.value
    error = trial.user_attrs.get("error", "")
    return {
        "trial": trial.user_attrs["number"],
        "state": state,
        "score": score,
        **trial.params,
        **figures,
        "error": error,
    }


def _best_so_far(done: Mapping[str, Mapping[int, Any]]) -> str:
    tops = {name: best([_row(trial) for trial in found.values()]) for name, found in done.items()}
    return ", ".join(f"{name} {top['score']:.4g}" for name, top in tops.items() if top)


def _cells(rows: Sequence[Row], ranked: bool = True) -> list[list[str]]:
    """The table's head, and a line for each trial."""
    order = {"complete": 0, "pruned": 1, "failed": 2}
    rows = list(rows)
    if ranked:
        rows.sort(key=lambda row: (order[row["state"]], -row["score"] if row["state"] != "failed" else 0, row["trial"]))
    names = [name for name in rows[0] if name != "error"] if rows else sorted(ROW - {"error"})
    forms = {"score": "{:.4f}", "seconds": "{:.1f}"}
    return [names, *([_text(row[name], forms.get(name, "{:.4g}")) for name in names] for row in rows)]


def _text(value: Any, form: str) -> str:
    return str(value) if not isinstance(value, float) else "" if math.isnan(value) else form.format(value)
