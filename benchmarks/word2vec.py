"""Word vectors against gensim's: words a second, what they are worth, and what a word costs against V and C.

    python -m benchmarks.word2vec [--data PATH] [--texts 5000] [--rounds 3] [--epochs 5] [--seeds 1] [--lstm]
                                [--quick]

Both train on the same cleaned reviews (`text.load_imdb`: without a path, those of the package) with the same settings
and one thread; the vocabulary is made before and not counted, as gensim counts. A ratio is ours over gensim's words a
second in the same round, the median of the rounds. Worth: vectors are trained on four fifths of the training reviews;
a logistic regression of scikit-learn on the mean of a review's vectors, each direction scaled to variance 1, learns
their labels and is scored on the last fifth, other movies' reviews; with `--lstm` also our LSTM of 48 units in two
epochs, on vectors that do not learn. The official test reviews are not read.

Cost: made-up text of V words that are all as frequent, by the mean way in the Huffman tree and by the time of an epoch
a word, against V at window C=5 and against C (Eqs 60, 61) at V=10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import rnnscratch as rs
from benchmarks.report import RESULTS, machine, write
from rnnscratch.models import SequenceClassifier
from rnnscratch.optimizers import Adam, cosine_schedule
from rnnscratch.text import Vocabulary, clean_texts, load_imdb, validation_split
from rnnscratch.training import fit, predict

MODES = [(model, objective) for model in ("skipgram", "cbow") for objective in ("negative", "hierarchical")]
AIMS = {mode: 1.0 if mode == ("skipgram", "negative") else 0.5 for mode in MODES}
NAMES = {
    "skipgram": "skip-gram",
    "cbow": "CBOW",
    "negative": "negative sampling",
    "hierarchical": "hierarchical softmax",
}
LSTM_EPOCHS = 2
VOCABULARIES, WINDOWS = (100, 1000, 10_000, 30_000, 100_000), (1, 2, 3, 5, 8, 10)


def name_of(mode: tuple[str, str]) -> str:
    """As the tables have it."""
    return ", ".join(NAMES[part] for part in mode)


def gensims(words: list[list[str]], mode: tuple[str, str], epochs: int, seed: int) -> tuple[Any, float]:
    """gensim's vectors of these settings, and its words a second."""
    from gensim.models import Word2Vec

    tree = mode[1] == "hierarchical"
    model = Word2Vec(sg=int(mode[0] == "skipgram"), hs=int(tree), negative=0 if tree else 5, workers=1, seed=seed)
    model.build_vocab(words)
    start = time.perf_counter()
    model.train(words, total_examples=len(words), epochs=epochs)
    return model.wv, epochs * sum(map(len, words)) / (time.perf_counter() - start)


def ours(words: list[list[str]], mode: tuple[str, str], epochs: int, seed: int) -> tuple[Any, float]:
    """Our vectors, and our words a second, counted as gensim's: with those that are not in the vocabulary."""
    found = rs.Word2Vec(model=mode[0], objective=mode[1], epochs=epochs, seed=seed).fit(words)
    return found, epochs * sum(map(len, words)) / sum(found.history_["seconds"])


def speed(words: list[list[str]], rounds: int) -> list[dict[str, Any]]:
    """Both contestants in turns; the medians, and the median ratio."""
    rows = []
    for mode in tqdm(MODES, "speed"):
        speeds = [(ours(words, mode, 1, 0)[1], gensims(words, mode, 1, 0)[1]) for _ in range(rounds)]
        found = {"ours": statistics.median(a for a, _ in speeds), "gensim": statistics.median(b for _, b in speeds)}
        rows.append({"mode": mode, **found, "ratio": statistics.median(a / b for a, b in speeds), "aim": AIMS[mode]})
    return rows


def means(vector_of: dict[str, np.ndarray], texts: list[list[str]], size: int) -> np.ndarray:
    """The mean (N, D) of each text's known vectors."""
    rows = np.zeros((len(texts), size))
    for row, words in zip(rows, texts):
        known = [vector_of[word] for word in words if word in vector_of]
        if known:
            row[...] = np.mean(known, axis=0)
    return rows


def accuracy(vector_of: dict[str, np.ndarray], train: Any, held_out: Any) -> float:
    """Of a logistic regression on the means, on texts that it has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size = len(next(iter(vector_of.values())))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(means(vector_of, train[0], size), train[1])
    return float(model.score(means(vector_of, held_out[0], size), held_out[1]))


def lstm_accuracy(vector_of: dict[str, np.ndarray], train: Any, held_out: Any, seed: int) -> float:
    """Of our LSTM on the vectors, which stay as they are, on texts that it has not seen."""
    vocabulary = Vocabulary(["<unk>", *vector_of])
    table = np.stack([np.zeros_like(next(iter(vector_of.values()))), *vector_of.values()])
    table /= table[1:].std()  # gensim's and ours as large as each other
    options: dict[str, Any] = {"cell": "lstm", "pooling": "mean", "embeddings": table, "freeze": True, "seed": seed}
    model = SequenceClassifier(len(vocabulary), table.shape[1], 48, **options)
    parts = [(vocabulary.encode_all(texts), labels) for texts, labels in (train, held_out)]
    updates = LSTM_EPOCHS * -(-len(train[0]) // 64)
    schedule = cosine_schedule(0.003, updates, 3e-5)
    how: dict[str, Any] = {"schedule": schedule, "max_length": 400, "seed": seed, "progress": False}
    fit(model, parts[0], optimizer=Adam(0.003), epochs=LSTM_EPOCHS, batch_size=64, **how)
    return float(((predict(model, parts[1][0], max_length=400) > 0) == parts[1][1]).mean())


def worth(train: Any, held_out: Any, epochs: int, seeds: int, lstm: bool) -> list[dict[str, Any]]:
    """The accuracies by mode and seed."""
    rows = []
    for mode in tqdm(MODES, "worth"):
        row: dict[str, Any] = {"mode": mode, "ours": [], "gensim": []}
        row |= {"ours, LSTM": [], "gensim, LSTM": []} if lstm else {}
        for seed in range(seeds):
            mine, theirs = ours(train[0], mode, epochs, seed)[0], gensims(train[0], mode, epochs, seed)[0]
            by_name = {
                "ours": dict(zip(mine.vocabulary.words[1:], mine.vectors[1:])),
                "gensim": dict(zip(theirs.index_to_key, theirs.vectors)),
            }
            for name, vector_of in by_name.items():
                row[name].append(accuracy(vector_of, train, held_out))
                if lstm:
                    row[f"{name}, LSTM"].append(lstm_accuracy(vector_of, train, held_out, seed))
            row["neighbours of good"] = [word for word, _ in mine.most_similar("good", 5)]
        rows.append(row)
    return rows


def cost(mode: tuple[str, str], V: int, C: int, count: int, rounds: int) -> dict[str, Any]:
    """The mean way to a word, and microseconds a word, the least of the rounds, on words as frequent as each other."""
    from rnnscratch.kernels.word2vec import huffman

    ids = np.random.default_rng(0).permuted(np.arange(max(count, V)) % V)
    text = [[str(word) for word in ids[at : at + 50].tolist()] for at in range(0, len(ids), 50)]
    counts = np.bincount(ids)
    options: dict[str, Any] = {"model": mode[0], "objective": mode[1], "window": C, "sample": 0, "min_count": 1}
    speeds = [rs.Word2Vec(**options, epochs=1).fit(text).history_["words_per_second"][0] for _ in range(rounds)]
    way = float(huffman(counts).steps @ counts / counts.sum())
    return {"mode": mode, "V": V, "C": C, "way": way, "microseconds": 1e6 / max(speeds)}


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each row."""
    for row in rows:
        figures = {key: value for key, value in row.items() if key != "mode"}
        print(f"  {name_of(row['mode']):<32}", ", ".join(f"{key} {_short(value)}" for key, value in figures.items()))


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_short, value))
    return (
        f"{value:,.0f}"
        if isinstance(value, float) and value > 100
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="an aclImdb folder or archive, if not the package's reviews")
    parser.add_argument("--texts", type=int, default=5000, help="reviews that speed is measured on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5, help="of the vectors whose worth is measured; 0: it is kept")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lstm", action="store_true", help="what the vectors are worth to an LSTM too: long")
    parser.add_argument("--out", type=Path, default=RESULTS / "word2vec.json")
    parser.add_argument("--quick", action="store_true", help="little text, no worth, no file")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.rounds, options.epochs = 500, 1, 0
    data = load_imdb(options.data)
    parts = validation_split(data.train, 0.2)
    train, held_out = ((clean_texts(part.texts), part.labels) for part in parts)
    with threadpool_limits(1, user_api="blas"):
        speeds = speed(train[0][: options.texts], options.rounds)
        measure = partial(cost, count=20_000 if options.quick else 200_000, rounds=options.rounds)
        costs = [measure(mode, V, 5) for mode in MODES for V in VOCABULARIES]
        costs += [measure(mode, 10_000, C) for mode in MODES for C in WINDOWS]
        worths = worth(train, held_out, options.epochs, options.seeds, options.lstm) if options.epochs else []
    for title, rows in (("words a second", speeds), ("accuracy", worths), ("cost", costs)):
        print(f"\n{title}:")
        show(rows)
    if not options.quick:
        import gensim

        facts = machine(1) | {"gensim": gensim.__version__, "cores": os.cpu_count()}
        sizes = {"train": len(train[0]), "held out": len(held_out[0]), "epochs": options.epochs}
        content = {"machine": facts, "data": data.describe(), "sizes": sizes, "texts": options.texts}
        content |= {"rounds": options.rounds, "speed": speeds, "worth": worths, "cost": costs}
        if not options.epochs and options.out.exists():  # the worth of the same text stays
            before = json.loads(options.out.read_text(encoding="utf-8"))
            if before["data"] == content["data"]:
                content |= {key: before[key] for key in ("worth", "sizes")}
        write(options.out, content)


if __name__ == "__main__":
    main()
