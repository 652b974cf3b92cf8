"""The language model beside PyTorch's: the perplexity that as many updates reach, and tokens/s.

    python -m benchmarks.language_model [--data PATH] [--sizes 256 512] [--threads 1 2] [--rounds 3] [--quick]

Perplexity: embedding (8,000 words, 128 numbers) -> LSTM (128) -> softmax over all words, one pass over 300,000 words of
training reviews in 32 streams and windows of 35, clipping to norm 1, Adam (0.002), float32, no dropout; of 30,000 words
of further training reviews, by three seeds. PyTorch gets the same windows in the same order, and begins once from our
weights and once from its own.

Tokens/s: embedding (30,000 words, 256 numbers) -> LSTM (H) -> softmax over all words or 1,024 sampled ones, windows of
70 steps of 64 streams, clipping, Adam. PyTorch has no sampled softmax; its twin here is written as ours is, with the
same samples. All take turns; a ratio is taken within a round, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import rnnscratch as rs
from benchmarks.cells import REST, verdict
from benchmarks.report import RESULTS, machine, ratio, write
from rnnscratch import training
from rnnscratch.kernels import sampled_softmax
from rnnscratch.optimizers import clip_gradients
from rnnscratch.text import Vocabulary, Window, load_imdb

WORDS, HELD_OUT, V, E, B, T = 300_000, 30_000, 8_000, 128, 32, 35
RATE, SEEDS, WITHIN = 0.002, 3, 0.02
LARGE_V, LARGE_E, LARGE_B, LARGE_T, SAMPLED = 30_000, 256, 64, 70, 1024


class Net(torch.nn.Module):
    """The same network in PyTorch; `like` gives it a model's weights, gate by gate (PyTorch's order is i, f, g, o)."""

    def __init__(self, V: int, E: int, H: int, like: rs.LanguageModel | None = None):
        super().__init__()
        self.embedding, self.lstm, self.dense = torch.nn.Embedding(V, E), torch.nn.LSTM(E, H), torch.nn.Linear(H, V)
        if like is None:
            return
        i, f, o, g = np.split(np.arange(4 * H), 4)
        order, params = np.concatenate([i, f, g, o]), like.params
        given = {
            "embedding.weight": params["embedding.E"],
            "lstm.weight_ih_l0": params["recurrent.W_l0"].T[order],
            "lstm.weight_hh_l0": params["recurrent.U_l0"].T[order],
            "lstm.bias_ih_l0": params["recurrent.b_l0"][order],
            "lstm.bias_hh_l0": 0 * params["recurrent.b_l0"],
            "dense.weight": params["dense.W"].T,
            "dense.bias": params["dense.b"],
        }
        self.load_state_dict({name: torch.tensor(np.ascontiguousarray(array)) for name, array in given.items()})

    def loss(self, window: Window, state: Any, samples: Any = None, log_pi: Any = None) -> tuple[torch.Tensor, Any]:
        """The mean loss, over all words or these samples, and the state to carry on."""
        real = torch.from_numpy(np.arange(len(window.ids))[:, None] < window.lengths).reshape(-1)
        hs, after = self.lstm(self.embedding(torch.from_numpy(window.ids)), state)
        h, targets = hs.reshape(-1, hs.shape[2])[real], torch.from_numpy(window.targets).reshape(-1)[real]
        if samples is None:
            return torch.nn.functional.cross_entropy(self.dense(h), targets), after
        W, bias = self.dense.weight, self.dense.bias - log_pi
        right = (h * W[targets]).sum(1) + bias[targets]
        others = (h @ W[samples].T + bias[samples]).masked_fill(samples == targets[:, None], -math.inf)
        scores = torch.cat([right[:, None], others], dim=1)
        return torch.nn.functional.cross_entropy(scores, torch.zeros_like(targets)), after


def texts(data: str | None) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Training reviews as ids, one long text of further ones, and the size of the vocabulary."""
    reviews = load_imdb(data).train.texts
    order = np.random.default_rng(0).permutation(len(reviews))
    found, count = [], 0
    for k in order:
        found.append(re.findall(r"\w+|[^\w\s]", reviews[k].lower().replace("<br />", " ")))
        count += len(found[-1])
        if count > WORDS + HELD_OUT + 2000:
            break
    split = int(np.searchsorted(np.cumsum([len(words) for words in found]), WORDS))
    vocabulary = Vocabulary.build(found[:split], max_size=V)
    ids = vocabulary.encode_all(found)
    return ids[:split], np.concatenate(ids[split:])[:HELD_OUT], len(vocabulary)


def theirs(net: Net, train: list[np.ndarray], seed: int, B: int, T: int) -> None:
    """One pass of PyTorch over the windows that `training.fit` makes of the texts."""
    optimizer, state = torch.optim.Adam(net.parameters(), RATE), None
    for window in rs.text.Windows(train, B, T, shuffle=True, seed=seed):
        state = tuple(part.detach() for part in state) if state is not None and window.start else None
        optimizer.zero_grad()
        loss, state = net.loss(window, state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def perplexity(net: Net, text: np.ndarray) -> float:
    """Of one stream, by PyTorch."""
    total, state = 0.0, None
    for window in rs.text.Windows([text], 1, 1024):
        loss, state = net.loss(window, state)
        total += loss.item() * int(window.lengths.sum())
    return math.exp(total / (len(text) - 1))


def quality(data: str | None, seeds: int) -> list[dict[str, Any]]:
    """The perplexities that each contestant reaches, by seed."""
    train, held_out, size = texts(data)
    rows = []
    for seed in tqdm(range(seeds), "perplexity"):
        model = rs.LanguageModel(size, E, E, seed=seed)
        torch.manual_seed(seed)
        nets = {"PyTorch, our start": Net(size, E, E, model), "PyTorch, its own start": Net(size, E, E)}
        begun = model.perplexity(held_out)
        apart = abs(perplexity(nets["PyTorch, our start"], held_out) / begun - 1)
        options: dict[str, Any] = {"batch_size": B, "max_length": T, "clip_norm": 1.0, "seed": seed, "progress": False}
        training.fit(model, train, optimizer=rs.Adam(RATE), epochs=1, **options)
        found = {"ours": model.perplexity(held_out)}
        for name, net in nets.items():
            theirs(net, train, seed, B, T)
            found[name] = perplexity(net, held_out)
        rows.append({"seed": seed, "perplexity": found, "relative difference with the same weights": apart})
    return rows


def our_steps(model: rs.LanguageModel, window: Window) -> Callable[[], None]:
    """One update of this library's."""
    optimizer = rs.Adam()

    def step() -> None:
        _, back, _ = model.batch_loss(window, train=True)
        back()
        clip_gradients(model.grads, max_norm=1.0)
        optimizer.step(model.params, model.grads)

    return step


def their_steps(net: Net, window: Window, sampled: bool) -> Callable[[], None]:
    """One update of PyTorch's."""
    optimizer, rng = torch.optim.Adam(net.parameters()), np.random.default_rng(0)
    pi = sampled_softmax.inclusion(sampled_softmax.log_uniform(LARGE_V), SAMPLED)
    log_pi = torch.tensor(np.log(pi).astype("f4"))

    def step() -> None:
        optimizer.zero_grad()
        samples = torch.from_numpy(sampled_softmax.draw(pi, rng)) if sampled else None
        net.loss(window, None, samples, log_pi)[0].backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def speed(H: int, threads: int, rounds: int) -> dict[str, Any]:
    """All contestants on one size: tokens/s, and ratios of times to PyTorch's."""
    rng = np.random.default_rng(0)
    frequencies = sampled_softmax.log_uniform(LARGE_V)
    text = rng.choice(LARGE_V, LARGE_B * LARGE_T + 1, p=frequencies / frequencies.sum())
    (window,) = rs.text.Windows([text], LARGE_B, LARGE_T)
    models = {n: rs.LanguageModel(LARGE_V, LARGE_E, H, sampled=n, seed=0) for n in (SAMPLED, None)}
    contestants = {
        "sampled": our_steps(models[SAMPLED], window),
        "PyTorch, sampled": their_steps(Net(LARGE_V, LARGE_E, H), window, True),
        "full": our_steps(models[None], window),
        "PyTorch, full": their_steps(Net(LARGE_V, LARGE_E, H), window, False),
    }
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with threadpool_limits(threads, user_api="blas"):
        for turn in range(rounds + 1):  # the first is a warm-up
            for name, step in contestants.items():
                time.sleep(REST)
                start = time.perf_counter()
                step()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    tokens = int(window.lengths.sum())
    return {
        "H": H,
        "threads": threads,
        "tokens_per_second": {name: tokens / statistics.median(each) for name, each in seconds.items()},
        "best_tokens_per_second": {name: tokens / min(each) for name, each in seconds.items()},
        "ratios": {name: ratio(seconds[name], seconds[f"PyTorch, {name}"]) for name in ("sampled", "full")},
    }


def main() -> None:
    """Read the options, measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="PATH", help="aclImdb folder or .tar.gz; else as for the main job")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512], metavar="H")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "language_model.json")
    parser.add_argument("--quick", action="store_true", help="speed alone, one round of H=256 and one thread, no file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, expected at least 1")
    jobs = [(256, 1)] if options.quick else [(H, threads) for H in options.sizes for threads in options.threads]
    rows = [speed(H, threads, 1 if options.quick else options.rounds) for H, threads in tqdm(jobs, "speed")]
    names = list(rows[0]["tokens_per_second"])
    print(f"\n{'H':>4} {'threads':>8}" + "".join(f"{name:>18}" for name in names) + "   tokens/s")
    for row in rows:
        found = "".join(f"{row['tokens_per_second'][name]:>18,.0f}" for name in names)
        print(f"{row['H']:>4} {row['threads']:>8}{found}")
    print("\ntime over PyTorch's:")
    for row in rows:
        for name, value in row["ratios"].items():
            print(f"  H={row['H']:<4} {row['threads']} threads {name:<8} {value:5.2f}")
    if options.quick:
        return
    reached = quality(options.data, SEEDS)
    print("\nperplexity after the same updates:")
    contestants = list(reached[0]["perplexity"])
    means = {name: statistics.fmean(math.log(row["perplexity"][name]) for row in reached) for name in contestants}
    for name in contestants:
        values = "  ".join(f"{row['perplexity'][name]:.2f}" for row in reached)
        over = math.exp(means["ours"] - means[name])
        print(f"  {name:<24} {values}" + (f"   ours over it {over:.4f}" if name != "ours" else ""))
    apart = max(row["relative difference with the same weights"] for row in reached)
    print(f"  with the same weights, before training: {apart:.1e} apart   {verdict(apart, 1e-6)}")
    worst = max(math.exp(means["ours"] - means[name]) - 1 for name in contestants[1:])
    print(f"  ours over PyTorch's, the worse of both starts: {worst:+.2%}   {verdict(worst, WITHIN)}")
    threads = max(options.threads)
    write(options.out, {"machine": machine(threads), "rounds": options.rounds, "speed": rows, "perplexity": reached})


if __name__ == "__main__":
    main()
