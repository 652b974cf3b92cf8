"""The report on long memory: one HTML file with tables, pictures and words, all computed from the runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import plots
from ..files import owned, user_path
from .memory import CUT, FURTHER, PROBLEMS, STARTS, Case, Outcome, Settings, run_all
from .pages import NO_PICTURES, html_table, machine, section, text_table, write_page

Runs = Mapping[Case, Sequence[Outcome]]
GATED, VANILLA = (tuple(name for name, start in STARTS.items() if (start.cell == "rnn") == v) for v in (False, True))
TEXTS = {
    "adding": "Two of T numbers are marked, one in each half; their sum is asked for at the end.",
    "copying": "Three of eight symbols, T blanks, a signal: the symbols are asked for again.",
    "copying 10": "Ten of eight symbols, T blanks, a signal: the symbols are asked for again.",
    "temporal order": "X or Y stands in the second and in the sixth tenth of T distractors: which, in which order?",
    "latching": "The class is in the first three of T steps; noise follows.",
    "parity": "Is the number of ones among T bits odd?",
}
GUESSING = (
    "Hochreiter & Schmidhuber 1996 (Bridging long time lags by weight guessing) show that this problem and others are "
    "solved faster by guessing weights than by many learning algorithms."
)
PUBLISHED = {
    "adding": "Hochreiter & Schmidhuber 1997 (table 7) take numbers from -1 to 1 and an error below 0.04 as right: "
    "their LSTM of 93 weights needs 74,000 sequences at T = 100, 209,000 at 500 and 853,000 at 1,000, one at a time "
    "and until 2,000 in a row are right, means of ten runs. Le et al. 2015 (arXiv 1504.00941) find ReLU RNNs that "
    "start at the identity comparable to LSTMs.",
    "copying": "Arjovsky et al. 2016 (arXiv 1511.06464) copy ten symbols, as does this report with --full.",
    "copying 10": "Arjovsky et al. 2016 (arXiv 1511.06464) propose unitary matrices for it; Tallec & Ollivier 2018 "
    "(arXiv 1804.11188) gates that start as open as the lag is long.",
    "temporal order": "Hochreiter & Schmidhuber 1997 (experiment 6a, table 9): their LSTM of 156 weights needs 31,390 "
    "sequences of 100 to 110 steps, one at a time and until 2,000 in a row are right, the mean of twenty runs.",
    "latching": f"Bengio et al. 1994 show that latching a bit against noise makes gradients vanish. {GUESSING}",
    "parity": GUESSING,
}


def run(settings: Settings, out: str | Path, resume: bool = False, progress: bool = True) -> Runs:
    """Do all runs in a folder, see `memory.run_all`, and write `report.html` there.

    Raises ValueError or TypeError for wrong settings, and OSError for a folder that cannot be written or in which
    another process is at work, before any work.
    """
    settings.check()
    out = user_path(out)
    out.mkdir(parents=True, exist_ok=True)
    with owned(out, "choose another folder with --out"):
        runs = run_all(settings, out, resume, progress)
        write_report(out / "report.html", settings, runs)
    return runs


def write_report(path: Path, settings: Settings, runs: Runs) -> None:
    """Write the page; without matplotlib (extra `plots`) it has no pictures and says so."""
    parts = [
        "<h1>What RNN, LSTM and GRU remember</h1>",
        f"<p>{settings.seeds} seeds, {settings.hidden} units, batches of {settings.batch_size} sequences drawn anew "
        "for every update, Adam. A problem is solved when the error on sequences never seen stays at most 1 %, or 0.01 "
        "for numbers.</p>",
        "<h2>In words</h2>",
        *(f"<p>{escape(sentence)}</p>" for sentence in in_words(runs)),
    ]
    drawn = importlib.util.find_spec("matplotlib") is not None
    if not drawn:
        parts.append(NO_PICTURES)
    for problem, T in dict.fromkeys((case.problem, case.T) for case in runs):
        title = f"{problem.capitalize()}, T = {T}"
        parts += [f"<h2>{escape(title)}</h2><p>{TEXTS[problem]}</p>", html_table(table(runs, problem, T))]
        if problem in PUBLISHED:
            parts.append(f"<p class=note>{escape(PUBLISHED[problem])}</p>")
        if drawn and (problem, T) in pictured(runs):
            parts += pictures(runs, problem, T)
    if drawn and len(lengths(runs)) > 1:
        shares = {name: [solved(found) / len(found) for found in row] for name, row in by_length(runs).items()}
        parts += section("Latching against T", [lambda: plots.share_by_length(lengths(runs), shares)])
    options = ", ".join(f"{name} {value}" for name, value in vars(settings).items())
    rates = ", ".join(
        dict.fromkeys(f"{c.problem} {c.start.partition(',')[0]} {c.protocol.learning_rate:g}" for c in runs)
    )
    parts.append(
        f"<h2>Protocol</h2><p class=note>{escape(options)}.<br>Learning rates, each the best of a few in single runs "
        f"with another seed: {escape(rates)}.<br>{escape(machine())}.</p>"
    )
    write_page(path, "What RNN, LSTM and GRU remember", parts, "td,th{white-space:nowrap;font-size:.9rem}")


def of(runs: Runs, problem: str, T: int) -> dict[str, Sequence[Outcome]]:
    """The runs of one problem and length, by start."""
    return {case.start: found for case, found in runs.items() if (case.problem, case.T) == (problem, T)}


def lengths(runs: Runs) -> list[int]:
    """Those of the latching problem."""
    return sorted({case.T for case in runs if case.problem == "latching"})


def by_length(runs: Runs) -> dict[str, list[Sequence[Outcome]]]:
    """By start, its runs on the latching problem, by length."""
    rows = [of(runs, "latching", T) for T in lengths(runs)]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def pictured(runs: Runs) -> set[tuple[str, int]]:
    """Of which problems curves are drawn: all, of latching the longest."""
    longest = lengths(runs)[-1:]
    return {(case.problem, case.T) for case in runs if case.problem != "latching" or case.T in longest}


def solved(outcomes: Sequence[Outcome]) -> int:
    """How many of the runs."""
    return sum(outcome.solved_at is not None for outcome in outcomes)


def when(outcomes: Sequence[Outcome]) -> list[int]:
    """After how many updates, in order, of those that did."""
    return sorted(outcome.solved_at for outcome in outcomes if outcome.solved_at is not None)


def left(outcomes: Sequence[Outcome], moment: str) -> float | None:
    """The share of the gradient that is left at the largest lag, the median of the runs that got so far."""
    found = [float(o.reach[moment][-1]) for o in outcomes if moment in o.reach and np.isfinite(o.reach[moment]).all()]
    return median(found) if found else None


def table(runs: Runs, problem: str, T: int) -> list[list[str]]:
    """A line for each start, the head first."""
    batch = next(case.protocol.batch_size for case in runs)
    lines = [["start", "solved", "updates", "sequences", "error at the end", "gradient left", "gate that keeps"]]
    for name, outcomes in of(runs, problem, T).items():
        updates = when(outcomes)
        spread = (
            ""
            if not updates
            else f"{updates[0]:,}"
            if updates[0] == updates[-1]
            else f"{updates[0]:,} to {updates[-1]:,}"
        )
        sequences = "" if not updates else f"{int(median(updates)) * batch:,}"
        errors = [outcome.error for outcome in outcomes]
        error = f"{np.mean(errors):.3f}" + (f" +- {np.std(errors, ddof=1):.3f}" if len(errors) > 1 else "")
        line = [name, f"{solved(outcomes)} of {len(outcomes)}", spread, sequences]
        line.append("burst" if np.isnan(errors).any() else error)
        moments = ("at the start", "at the end")
        gradients = [left(outcomes, moment) for moment in moments]
        line.append(" -> ".join("" if value is None else f"{value:.0e}" for value in gradients))
        opened = [openness(outcomes, moment) for moment in moments]
        line.append(" -> ".join(f"{value:.2f}" for value in opened if value is not None))
        lines.append(line)
    return lines


def openness(outcomes: Sequence[Outcome], moment: str) -> float | None:
    """How open the gate that keeps is, the forget gate or the GRU's update gate, in the mean; None without gates."""
    found = [outcome.gates[moment] for outcome in outcomes if outcome.gates.get(moment)]
    return float(np.mean([each.get("f", each.get("z")) for each in found])) if found else None


def summary(runs: Runs) -> str:
    """All tables, and what they say, for the terminal."""
    parts = []
    for problem, T in dict.fromkeys((case.problem, case.T) for case in runs):
        parts.append(f"{problem}, T = {T}\n\n{text_table(table(runs, problem, T))}")
    return "\n\n".join([*parts, *in_words(runs)])


def pictures(runs: Runs, problem: str, T: int) -> list[str]:
    """Errors against updates, and gradients against lag at three moments."""
    found = of(runs, problem, T)
    vanilla = {name: found[name] for name in VANILLA}
    gated = {name: found[name] for name in GATED}
    chance = PROBLEMS[problem].chance
    draw: list[Any] = [partial(curves, each, chance) for each in (vanilla, gated)]
    for moment in ("at the start", "while it learns", "at the end"):
        norms = {name: mean_reach(found[name], moment) for name in (*VANILLA, *GATED)}
        measured = {name: values for name, values in norms.items() if values is not None}
        if measured:
            draw.append(partial(gradients, measured, moment))
    note = (
        "Error on new sequences against updates, a line for each seed, the dashed one of who knows nothing; and how "
        "much of the gradient of the last state is left so many steps before, the geometric mean over seeds."
    )
    return section(f"{problem.capitalize()}: learning, and how far gradients reach", draw, [note], width=350)


def curves(found: Mapping[str, Sequence[Outcome]], chance: float) -> Any:
    """Errors against updates."""
    ax = plots.learning_curves({name: [run.curve for run in each] for name, each in found.items()}, "error", chance)
    ax.set_ylim(-0.02, min(1.05, 2 * chance))
    return ax


def gradients(norms: Mapping[str, np.ndarray], moment: str) -> Any:
    """Norms by lag."""
    ax = plots.gradient_by_lag(norms)
    ax.set(title=moment, xlabel="lag (steps before the last)")
    return ax


def mean_reach(outcomes: Sequence[Outcome], moment: str) -> np.ndarray | None:
    """The geometric mean over the runs that got so far."""
    found = [outcome.reach[moment] for outcome in outcomes if moment in outcome.reach]
    found = [values for values in found if np.isfinite(values).all()]
    if not found:
        return None
    return np.exp(np.mean([np.log(np.maximum(values, 1e-30)) for values in found], axis=0))


def in_words(runs: Runs) -> list[str]:
    """What the figures say, problem by problem, and of gradients, gates and training as a whole."""
    sentences = []
    for problem, T in sorted(pictured(runs), key=lambda each: list(PROBLEMS).index(each[0])):
        sentences += who_solves(runs, problem, T)
    sentences += forgetting(runs) + opening(runs) + training(runs)
    return sentences


def named(names: Sequence[str]) -> str:
    """Names in a row."""
    return names[0] if len(names) == 1 else f"{'; '.join(names[:-1])} and {names[-1]}" if names else "none"


def who_solves(runs: Runs, problem: str, T: int) -> list[str]:
    """Who solves a problem, and whether gates are needed for it."""
    found = {name: outcomes for name, outcomes in of(runs, problem, T).items() if name in STARTS}
    always = [name for name, outcomes in found.items() if solved(outcomes) == len(outcomes)]
    never = [name for name, outcomes in found.items() if not solved(outcomes)]
    others = [name for name in found if name not in (*always, *never)]
    title = f"{problem.capitalize()}, T = {T}: "
    text = "every seed is solved by "
    text += named([f"{name} (after {median(when(found[name])):,.0f} updates, in the median)" for name in always])
    if others:
        text += "; some seeds by " + named([f"{name} ({solved(found[name])} of {len(found[name])})" for name in others])
    text += f"; none by {named(never)}." if never else "."
    sentences = [title + text]
    plain, gated = ([name for name in always if name in group] for group in (VANILLA, GATED))
    if gated and not any(solved(found[name]) for name in VANILLA):
        sentences.append(
            "Here gates make it learnable: no vanilla RNN solves it within as many updates, whatever its start."
        )
    elif plain:
        best = min(plain, key=lambda name: median(when(found[name])))
        if gated:
            other = min(gated, key=lambda name: median(when(found[name])))
            sentences.append(
                f"Here a vanilla RNN does as well: {best} needs {median(when(found[best])):,.0f} updates, the fastest "
                f"gated one, {other}, {median(when(found[other])):,.0f}."
            )
        else:
            sentences.append(f"Here a vanilla RNN, {best}, does what no gated cell did in all seeds.")
    return sentences


def forgetting(runs: Runs) -> list[str]:
    """Whether the gradient that is left at the start tells who will learn."""
    reaching: list[float] = []
    rest: list[float] = []
    for case, outcomes in runs.items():
        if case.start in STARTS and (case.problem, case.T) in pictured(runs) and case.problem != "parity":
            value = left(outcomes, "at the start")
            (reaching if value is not None and value >= 1e-3 else rest).append(solved(outcomes) / len(outcomes))
    if not reaching or not rest:
        return []
    lag = max(len(o.reach["at the start"]) for found in runs.values() for o in found) - 1
    return [
        f"Where at least a thousandth of the gradient is left at the largest lag measured (at most {lag}) before any "
        f"learning, {np.mean(reaching):.0%} of the runs end solved ({len(reaching)} starts and problems), where less "
        f"is left {np.mean(rest):.0%} ({len(rest)}; parity, which is not a matter of memory alone, left out)."
    ]


def opening(runs: Runs) -> list[str]:
    """What the bias of the gate that keeps is worth."""
    sentences = []
    for gate, names in (
        ("forget gate of the LSTM", ("LSTM, forget bias 0", "LSTM, forget bias 1", "LSTM, chrono")),
        ("update gate of the GRU", ("GRU, bias 0", "GRU, chrono")),
    ):
        words = []
        for name in names:
            found = [runs[case] for case in runs if case.start == name and (case.problem, case.T) in pictured(runs)]
            opened = np.mean([openness(outcomes, "at the start") for outcomes in found])
            words.append(f"{opened:.2f} open ({name}) {sum(map(solved, found))} of {sum(map(len, found))} runs")
        sentences.append(f"The {gate}, all problems together. At the start {'; '.join(words)} end solved.")
    return sentences


def training(runs: Runs) -> list[str]:
    """What truncation and clipping do."""
    sentences = []
    pairs = {
        f"LSTM, chrono, truncated to {CUT} steps": ("LSTM, chrono", f"With gradients cut every {CUT} steps"),
        "LSTM, chrono, not clipped": ("LSTM, chrono", "Without clipping"),
        "tanh RNN, orthogonal, not clipped": ("tanh RNN, orthogonal", "Without clipping"),
    }
    for problem, T in dict.fromkeys((case.problem, case.T) for case in runs if case.start in FURTHER):
        found = of(runs, problem, T)
        for name, (whole, words) in pairs.items():
            sentences.append(
                f"{words} {whole} solves {problem}, T = {T}, with {solved(found[name])} of {len(found[name])} seeds, "
                f"with whole, clipped gradients with {solved(found[whole])}."
            )
    return sentences
