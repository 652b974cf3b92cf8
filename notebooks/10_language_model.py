# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. The language model
#
# A network that says what comes next can be judged by how surprised it is, can be taught from any text without a single
# label, and can write. This notebook derives the measure (perplexity), the training (windows of streams that carry a
# state on), and the trick that makes large vocabularies affordable (sampled softmax, with the correction that it
# needs); then it asks what the state remembers, and lets the model write.
#
# - **Time**: about three hours with the exercises; the machine needs two to three minutes.
# - **You need** notebook 1 (truncation) and notebook 4 (the LSTM); notebook 8 for the chains that count.
# - **Afterwards you can** compute a perplexity by hand and say over which units; train on windows of a stream, and say
#   what the cut changes and what not; correct a softmax over a sample; measure what a state remembers; draw text at a
#   temperature, and say what it does to the entropy.
#
# In the learner's edition the lines between `# BLANK` and `# END` are yours to write. The cell after each says at once
# whether they are right.

# %%
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if not getattr(find_spec("rnnscratch"), "origin", None):  # a folder that merely has this name has no origin
    here = Path.cwd()
    folders = [each for each in (here, *here.parents, *here.iterdir()) if (each / "rnnscratch/__init__.py").exists()]
    found = [each for each in folders if (each / "setup.cfg").exists()] + sorted(here.glob("rnnscratch-*.whl"))
    if not found:
        raise ModuleNotFoundError("no rnnscratch: put its folder (with setup.cfg) or its wheel beside this notebook")
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", f"{found[0]}[imdb,notebooks]"])

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.animation import FuncAnimation

import rnnscratch as rs

QUICK = os.environ.get("RNNSCRATCH_QUICK") == "1"  # smaller sizes, for a quick check
import itertools
import time

from rnnscratch import text, training
from rnnscratch.kernels import losses, sampled_softmax
from rnnscratch.models.language_model import next_probabilities

# %% [markdown]
# ## 1. Cross-entropy and perplexity
#
# Whatever a text $w_1, \dots, w_N$ is, its probability is a product over what is still to come, by nothing but the
# definition of a conditional probability:
#
# $$p(w_1, \dots, w_N) = \prod_{t=1}^{N} p(w_t \mid w_1, \dots, w_{t-1})$$
#
# A recurrent network computes the factors: its state $h_{t-1}$ stands for all that came before, and a softmax over the
# vocabulary says what comes next. The mean of their negative logarithms is the cross-entropy of Eq. 3, here per word,
# and its exponential is the **perplexity**:
#
# $$L = -\frac{1}{N-1} \sum_{t=2}^{N} \log p(w_t \mid w_1, \dots, w_{t-1}), \qquad \mathrm{PPL} = e^L =
# \Big(\prod_{t=2}^{N} \frac{1}{p(w_t \mid \dots)}\Big)^{1/(N-1)}$$
#
# (The first word is read but not predicted: nothing comes before it.) It is the geometric mean of $1/p$: as many words
# as the model is torn between. Who knows nothing of $V$ words has $V$; who is sure and right has 1; who is sure and
# wrong once has $\infty$. By hand, one step at a time, on a network that has learned nothing yet:

# %%
small = rs.LanguageModel(vocabulary_size=5, embedding_dim=3, hidden_size=4, dtype="float64", seed=0)
words = [1, 4, 2, 2, 3, 1]
state, log_p = None, []
for now, after in itertools.pairwise(words):
    logits, state = small.forward(np.array([[now]]), state)  # one step of one stream
    p = losses.softmax(logits[0, 0])
    log_p.append(np.log(p[after]))
    print(f"after {now} comes {after}: p = {p[after]:.4f}   (all: {p.round(3)})")
# BLANK: the perplexity, from the list log_p
by_hand = np.exp(-np.mean(log_p))
# END
print(f"perplexity {by_hand:.6f}, with 5 words")

# %%
np.testing.assert_allclose(small.perplexity(words), by_hand, rtol=1e-13)

# %% [markdown]
# ## 2. A text, and what counting can do
#
# Reviews, as characters: few different ones, so that the softmax is cheap and the samples can be read. Reviews that are
# held out tell whether anything was learned but those read.

# %%
SIZE, HELD_OUT = (6_000, 1_500) if QUICK else (160_000, 24_000)
reviews = text.load_imdb(progress=False).train.texts
kept = "abcdefghijklmnopqrstuvwxyz .,!?'\n"
joined = "\n".join(reviews[: SIZE // 200]).lower().replace("<br />", " ")
joined = "".join(c for c in joined if c in kept)
vocabulary = text.Vocabulary.build([list(joined)])
ids = vocabulary.encode(list(joined))
train, held_out = ids[:SIZE], ids[SIZE : SIZE + HELD_OUT]
V = len(vocabulary)
print(f"{len(train):,} characters to learn from, {len(held_out):,} held out, {V} different ones (0 is the unknown one)")
print("".join(vocabulary.decode(train[:200])))

# %% [markdown]
# Before networks, count. A model without memory knows how frequent characters are; the Markov chain of notebook 8 knows
# which one came before. Every count begins at one half, so that nothing is impossible.


# %%
def perplexity_of_counts(order):
    """Of the chain in which `order` characters decide about the next."""
    counts = np.full((V,) * (order + 1), 0.5)
    np.add.at(counts, tuple(train[k : len(train) - order + k] for k in range(order + 1)), 1)
    p = counts / counts.sum(axis=-1, keepdims=True)
    return float(np.exp(-np.log(p[tuple(held_out[k : len(held_out) - order + k] for k in range(order + 1))]).mean()))


counted = {f"chain of order {order}": perplexity_of_counts(order) for order in (0, 1, 2, 3)}
for name, value in {"uniform": float(V), **counted}.items():
    print(f"{name:<18} perplexity {value:6.2f} = {np.log2(value):.2f} bits a character")

# %% [markdown]
# A chain of order $n$ has $V^n$ rows to fill, and most will never be seen. A network shares what it learns among
# contexts that its state makes alike.
#
# ## 3. Windows of streams
#
# The text is one sequence of hundreds of thousands of steps. Back-propagation through all of it would keep every state;
# and one stream gives products of a single row. So it is cut into $B$ streams that are read side by side, a window of
# $T$ steps at a time. **The state goes on from window to window; the gradient does not** (truncated BPTT, notebook 1):

# %%
for window in text.Windows([np.arange(1, 18)], batch_size=2, window=3):
    read, comes = (a.T.tolist() for a in (window.ids, window.targets))
    print(f"after {window.start} steps: the streams read {read}, what comes next is {comes}")

# %% [markdown]
# One stream of nine steps in windows of three, unrolled. Black: the state, which goes on; red: the gradient, which ends
# at the border of each window.

# %%
fig, ax = plt.subplots(figsize=(10, 2.6), layout="constrained")
ends = [window.start for window in text.Windows([np.arange(1, 11)], batch_size=1, window=3)]
for t in range(1, 10):
    ax.text(t, 0, f"$h_{t}$", ha="center", va="center", bbox={"boxstyle": "circle", "fc": "w", "ec": "tab:blue"})
    ax.text(t, -0.95, f"reads $w_{t}$", ha="center", color="0.3", fontsize=9)
    ax.text(t, 0.85, f"$\\hat y_{t}$: $w_{{{t + 1}}}$?", ha="center", color="0.3", fontsize=9)
    for low, high in ((-0.75, -0.35), (0.35, 0.75)):
        ax.annotate("", (t, high), (t, low), arrowprops={"arrowstyle": "->", "color": "0.5"})
    if t > 1:
        ax.annotate("", (t - 0.28, 0.12), (t - 0.72, 0.12), arrowprops={"arrowstyle": "->", "color": "black"})
        if t - 1 in ends:
            ax.axvline(t - 0.5, color="tab:red", lw=1)
            ax.text(t - 0.5, -0.14, "x", color="tab:red", ha="center", va="center", fontsize=14)
        else:
            look = {"arrowstyle": "->", "color": "tab:red", "ls": "--"}
            ax.annotate("", (t - 0.72, -0.12), (t - 0.28, -0.12), arrowprops=look)
ax.set(xlim=(0.5, 9.5), ylim=(-1.1, 1.1))
ax.axis("off")
plt.show()

# %% [markdown]
# With weights that stay as they are, the loss of all windows together is that of the whole streams: nothing is lost at
# the seams but gradients.

# %%
check = rs.LanguageModel(V, 8, 8, dtype="float64", seed=0)
(whole,) = text.Windows([train[:400]], batch_size=4, window=1000)
in_windows = [(check.batch_loss(w)[0], check.weight(w)) for w in text.Windows([train[:400]], batch_size=4, window=7)]
total = sum(loss * weight for loss, weight in in_windows) / sum(weight for _, weight in in_windows)
print(f"loss in windows {total:.12f}, of the streams as a whole {check.batch_loss(whole)[0]:.12f}")
np.testing.assert_allclose(total, check.batch_loss(whole)[0], rtol=1e-13)

# %% [markdown]
# **What the cut changes** is the gradient. Write the loop yourself: each window begins with the state in which the one
# before ended, and goes back on its own.


# %%
def in_pieces(model, ids, batch_size, window):
    """The mean loss of a text, and the gradient that its windows give together."""
    total, sums, state, count = 0.0, {name: np.zeros_like(array) for name, array in model.params.items()}, None, 0
    for piece in text.Windows([ids], batch_size, window):
        n = piece.targets.size
        # BLANK: forward from `state`, loss, backward; add up n times the loss and n times each gradient
        logits, state = model.forward(piece.ids, state)
        loss, dlogits = model.loss(logits, piece.targets)
        model.backward(dlogits)
        total += n * loss
        for name, gradient in model.grads.items():
            sums[name] += n * gradient
        # END
        count += n
    return total / count, {name: each / count for name, each in sums.items()}


# %%
stream = train[:401]  # 4 streams of 100 steps each
total, sums = 0.0, dict.fromkeys(check.params, 0.0)
for piece in text.Windows([stream], 4, 20):  # the same by what `training.fit` calls
    loss, back, _ = check.batch_loss(piece)
    back()
    total += loss / 5
    sums = {name: sums[name] + gradient / 5 for name, gradient in check.grads.items()}
mine = in_pieces(check, stream, 4, 20)
np.testing.assert_allclose(mine[0], total, rtol=1e-13)
for name, gradient in sums.items():
    np.testing.assert_allclose(mine[1][name], gradient, rtol=1e-10, atol=1e-15)
exact = rs.LanguageModel(**{**check.config(), "dtype": "complex128"})  # uncut, it is the derivative of the loss
exact.load_params({name: array.astype(complex) for name, array in check.params.items()})
exact.params["recurrent.U_l0"][2, 9] += 1e-200j
slope = in_pieces(exact, stream, 4, 100)[0].imag / 1e-200
np.testing.assert_allclose(in_pieces(check, stream, 4, 100)[1]["recurrent.U_l0"][2, 9], slope, rtol=1e-11)

# %% [markdown]
# The shorter the windows, the more of the gradient is lost, and the loss stays as it is. How much is lost, of the
# gradient of $U$, for untrained LSTMs with five seeds:

# %%
cuts = [1, 2, 5, 10, 20, 50, 100]
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for seed in range(5):
    each = rs.LanguageModel(V, 8, 8, dtype="float64", seed=seed)
    whole_loss, whole_gradient = in_pieces(each, stream, 4, 100)
    right = whole_gradient["recurrent.U_l0"]
    lost = []
    for cut in cuts:
        loss, gradient = in_pieces(each, stream, 4, cut)
        np.testing.assert_allclose(loss, whole_loss, rtol=1e-12)
        lost.append(np.linalg.norm(gradient["recurrent.U_l0"] - right) / np.linalg.norm(right))
    assert lost[-1] == 0 and lost[0] > 2 * lost[-2]
    ax.plot(cuts[:-1], lost[:-1], "o-", color="C0", alpha=0.6)
    print(f"seed {seed}: " + ", ".join(f"cut every {cut}: {value:.1%}" for cut, value in zip(cuts, lost)))
ax.set(xlabel="steps of a window", ylabel="relative error of the gradient of U", xscale="log", yscale="log")
ax.set_xticks(cuts[:-1], [str(cut) for cut in cuts[:-1]])
ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["5 %", "10 %", "20 %", "50 %", "100 %"])
ax.minorticks_off()
plt.show()

# %% [markdown]
# Now learn. The embedding is the output matrix too (tied weights, Press & Wolf 2017): what a character means when it
# is read is what it means when it is expected.

# %%
HIDDEN, PASSES, SEEDS = (16, 2, 2) if QUICK else (128, 4, 5)
models, histories, written = {}, {}, []
opening = vocabulary.encode(list("the film is "))


def note(model, row):
    """What it writes after each pass."""
    written.append((row["validation_perplexity"], "".join(vocabulary.decode(model.generate(opening, 90, seed=1)))))


for cell, seed in itertools.product(("rnn", "lstm"), range(SEEDS)):
    models[cell, seed] = rs.LanguageModel(V, HIDDEN, HIDDEN, cell=cell, tied=True, dropout=0.1, seed=seed)
    if (cell, seed) == ("lstm", 0):
        note(models[cell, seed], {"validation_perplexity": models[cell, seed].perplexity(held_out)})
    histories[cell, seed] = training.fit(
        models[cell, seed],
        train,
        held_out,
        optimizer=rs.Adam(),
        schedule=rs.optimizers.cosine_schedule(0.006, PASSES * (len(train) // (16 * 50))),
        epochs=PASSES,
        batch_size=16,
        max_length=50,
        clip_norm=1.0,
        seed=seed,
        callbacks=[note] if (cell, seed) == ("lstm", 0) else [],
        progress=False,
    )
    row = ", ".join(f"{value:.2f}" for value in histories[cell, seed]["validation_perplexity"])
    print(f"{cell}, seed {seed}: held-out perplexity after each pass: {row}")
lstms = [models["lstm", seed] for seed in range(SEEDS)]
lm = lstms[0]
models = {cell: models[cell, 0] for cell in ("rnn", "lstm")}

# %%
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (cell, seed), history in histories.items():
    look = {"rnn": "o--C0", "lstm": "s-C1"}[cell]
    label = None if seed else cell.upper()
    ax.plot(range(1, PASSES + 1), history["validation_perplexity"], look, alpha=0.6, ms=4, label=label)
for name, value in counted.items():
    ax.axhline(value, color="0.6", lw=1)
    ax.text(PASSES / 2 + 0.7, value, name, fontsize=8, va="bottom", ha="center", color="0.4")
ax.set(xlabel="pass over the text", ylabel="held-out perplexity", yscale="log", xticks=range(1, PASSES + 1))
ax.set_yticks([5, 6, 8, 10, 15, 20], ["5", "6", "8", "10", "15", "20"])
ax.minorticks_off()
ax.legend()
plt.show()
last = {cell: [histories[cell, seed]["validation_perplexity"][-1] for seed in range(SEEDS)] for cell in models}
if not QUICK:
    assert max(last["lstm"]) < min(*last["rnn"], *counted.values())
    assert min(last["rnn"]) > counted["chain of order 3"]

# %% [markdown]
# With each of five seeds the LSTM is less surprised than any chain and than any of the vanilla networks, which do not
# reach the chain of order 3 in four passes. What the first LSTM writes on the way, after "the film is":

# %%
for passes, (value, words) in enumerate(written):
    print(f"passes: {passes}, perplexity {value:5.2f}: {words!r}")

# %% [markdown]
# ## 4. What does the state remember?
#
# **Does it need what lies far back?** Read the held-out text in pieces of $n$ characters, each from
# the state zero, and see how much worse the model is when it lacks what came before.

# %%
lengths = [1, 2, 4, 8, 16, 32, 64, 128, 256]
broken = {cell: [] for cell in models}
for cell, model in models.items():
    for n in lengths:
        count = (len(held_out) - 1) // n
        x, y = (held_out[k : k + n * count].reshape(count, n).T for k in (0, 1))
        logits, _ = model.forward(x)
        broken[cell].append(float(np.exp(model.loss(logits, y)[0])))
    print(f"{cell}: " + ", ".join(f"n={n} {value:.2f}" for n, value in zip(lengths, broken[cell])))

# %% [markdown]
# **How much does one character matter, $k$ steps later?** Replace it by another, and measure how far the distribution
# of what comes next moves: the Kullback-Leibler divergence $\sum_w p(w) \log \frac{p(w)}{p'(w)}$, over many places.

# %%
rng = np.random.default_rng(0)
SPAN, PLACES = 40, (20 if QUICK else 400)
begin = rng.integers(0, len(held_out) - SPAN, PLACES)
contexts = held_out[begin + np.arange(SPAN)[:, None]]  # (SPAN, PLACES)
influence = {}
for cell, model in models.items():
    log_p = losses.log_softmax(model.forward(contexts)[0][-1])
    moved = []
    for k in range(1, SPAN):
        other = contexts.copy()
        other[-k] = train[rng.integers(0, len(train), PLACES)]
        log_q = losses.log_softmax(model.forward(other)[0][-1])
        changed = other[-k] != contexts[-k]
        moved.append(float((np.exp(log_p) * (log_p - log_q)).sum(axis=1)[changed].mean()))
    influence[cell] = moved
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for cell, style in (("rnn", "o--"), ("lstm", "s-")):
    axes[0].plot(lengths, broken[cell], style, label=cell.upper())
    axes[1].plot(range(1, SPAN), influence[cell], style, ms=3, label=cell.upper())
axes[0].set(xlabel="characters read from the state zero", ylabel="perplexity", xscale="log", yscale="log")
axes[1].set(xlabel="k: characters before the one that is guessed", ylabel="divergence, nats", yscale="log")
axes[0].set_xticks(lengths, [str(n) for n in lengths])
axes[0].set_yticks([5, 6, 8, 10, 15], ["5", "6", "8", "10", "15"])
axes[0].minorticks_off()
axes[1].set_ylim(bottom=1e-8)  # single precision sees no less
for ax in axes:
    ax.legend()
plt.show()
for cell, moved in influence.items():
    figures = f"{moved[0]:.3f} nats at k = 1, {moved[4]:.4f} at 5, {moved[9]:.5f} at 10"
    print(f"{cell}: one character matters {figures}")

# %% [markdown]
# On the left, in this run: after some dozens of characters, more memory hardly helps, in this text and with this
# training. (With $n = 1$ a network knows as much as the chain of order 1, and does worse: in training it saw the
# state zero once a pass.) On the right, in this run too: what a character adds fades by about the same factor at
# every step, as notebook 3 has it for gradients. The LSTM's line falls less steeply than the vanilla network's: some
# cells keep what they have seen.
#
# **Which characters does one guess depend on?** The curve is a mean over many places. For one sentence, ask it of every
# guess and every character: put each of the other signs in its place, and see how much of the probability moves,
# $\frac12 \sum_w |p(w) - p'(w)|$ in the mean. (This is linear in a small change where the divergence is quadratic, so
# that small shares can be seen.)


# %%
def depends(model, ids):
    """How much of the probability of the guess after t moves when the character at k is another: (T, T), [t, k]."""
    T = len(ids)
    moved = np.zeros((T, T))
    p = losses.softmax(model.forward(ids[:, None])[0].astype(float))
    for k in range(T):
        others = np.tile(ids[:, None], V - 1)
        others[k] = np.delete(np.arange(V), ids[k])
        q = losses.softmax(model.forward(others)[0].astype(float))
        moved[:, k] = np.abs(q - p).sum(axis=2).mean(axis=1) / 2
    assert np.triu(moved, 1).max() < 1e-4  # none depends on what comes after it; single precision sees no less
    return np.tril(moved)


sentence = "i thought the acting was terrible"
sentence_ids, shown_as = vocabulary.encode(list(sentence)), list(sentence.replace(" ", "␣"))
fig, axes = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
for ax, cell in zip(axes, models):
    rs.plots.connectivity(shown_as, depends(models[cell], sentence_ids), ax=ax)
    ax.tick_params(axis="both", labelsize=8)
    ax.tick_params(axis="x", rotation=0)
    ax.set(title=cell.upper(), xlabel="character read", ylabel="guess after")
plt.show()

# %% [markdown]
# Each row has its own scale: 1 is the character that this guess depends on most. In this run rows fade where their word
# begins, the LSTM's more sharply than the vanilla network's. To see one guess, point at a character, or go from one to
# the next with the tab key:

# %%
pages = {cell: rs.plots.connectivity(shown_as, depends(models[cell], sentence_ids)) for cell in models}
HTML("".join(f"<b>{cell.upper()}</b>{page}" for cell, page in pages.items()))

# %% [markdown]
# Is it the border of the word, or just the distance? Compare at equal distances $k$: characters of the word in which
# the guess falls, and characters of words before it.

# %%
at, word = np.arange(len(sentence)), np.cumsum([sign == " " for sign in sentence])
letter = np.array(shown_as) != "␣"
for seed, each in enumerate(lstms):
    moved = depends(each, sentence_ids)
    pairs = {}
    for k in range(1, 5):
        t = at[k:]
        inside = (word[t] == word[t - k]) & letter[t] & letter[t - k]
        pairs[k] = moved[t, t - k][inside].mean(), moved[t, t - k][word[t] != word[t - k]].mean()
    row = ", ".join(f"k={k} {own:.2f} and {other:.2f}" for k, (own, other) in pairs.items())
    print(f"seed {seed}, inside the word and across a space: {row}")
    assert QUICK or all(own > 1.3 * other for own, other in pairs.values())

# %% [markdown]
# With each of five seeds a character of the same word counts for more than one as far back across a space: by then the
# LSTM has let go of how the last word was spelled. (Nobody told it what a word is.)
#
# **Can a unit count?** Take a language in which the past matters for certain: brackets. Between them are letters; what
# is open must be closed before the line ends, and the model is never told so.


# %%
def brackets(lines, rng):
    """Lines of brackets and letters, never more than 6 open at once, all closed at the end."""
    out, depth = [], 0
    for _ in range(lines):
        for _ in range(int(rng.integers(5, 25))):
            if depth < 6 and rng.random() < 0.35:
                out.append("(")
                depth += 1
            elif depth and rng.random() < 0.4:
                out.append(")")
                depth -= 1
            else:
                out.append(rng.choice(list("ab")))
        out += [")"] * depth + ["\n"]
        depth = 0
    return out


signs = text.Vocabulary(["<unk>", "(", ")", "a", "b", "\n"])
strings = signs.encode(brackets(300 if QUICK else 5000, rng))
sample = strings[len(strings) - 2000 + strings[-2000:].tolist().index(5) + 1 :]  # from the beginning of a line
depth = np.cumsum((sample == 1).astype(int) - (sample == 2))
counted_by = []
for seed in range(1, SEEDS + 1):
    counter = rs.LanguageModel(len(signs), 8, 16, seed=seed)
    training.fit(
        counter,
        strings[:-2000],
        optimizer=rs.Adam(0.01),
        epochs=2 if QUICK else 5,
        batch_size=16,
        max_length=40,
        clip_norm=1.0,
        progress=False,
    )
    cells_, state, p_close = [], None, []
    for sign in sample:
        logits, state = counter.forward(np.array([[sign]]), state)
        cells_.append(state[1][0, 0])  # c of the LSTM
        p_close.append(losses.softmax(logits[0, 0])[2])
    cells_, p_close = np.array(cells_), np.array(p_close)
    correlation = np.array([np.corrcoef(unit, depth)[0, 1] for unit in cells_.T])
    best = int(np.abs(correlation).argmax())
    counted_by.append((abs(correlation[best]), p_close[depth == 0].mean(), p_close[depth > 0].mean()))
    print(
        f"seed {seed}: c of unit {best} and the number of open brackets: correlation {correlation[best]:+.3f}; p of "
        f"closing {p_close[depth == 0].mean():.5f} where none is open, {p_close[depth > 0].mean():.3f} else"
    )
if not QUICK:
    assert all(r > 0.9 and none < 0.2 * some for r, none, some in counted_by)
fig, ax = plt.subplots(figsize=(10, 3), layout="constrained")
ax.step(range(80), depth[:80], where="mid", color="0.5", label="open brackets")
ax.set(xticks=range(80), xticklabels=[s.replace("\n", "⏎") for s in signs.decode(sample[:80])], ylabel="open brackets")
ax.tick_params(axis="x", labelsize=8, length=0)
twin = ax.twinx()
twin.plot(cells_[:80, best], "C1", label=f"c of unit {best}")
twin.set_ylabel(f"c of unit {best}")
fig.legend(loc="outside upper right", ncols=2)
plt.show()

# %% [markdown]
# With each of five seeds there is a unit that counts (the picture is of the last). No gradient ever told it to;
# counting makes the text less surprising.
#
# **And in real text?** Karpathy et al. (2015) found such units by eye. By correlation one can search all of them, if
# one says what for, and with what a chance find would be: the best of 128 units for the same feature, shifted by a
# thousand characters. The features: how many letters the word has so far, and whether the character just read is a
# vowel.

# %%
signs_read = vocabulary.decode(held_out[: 1200 if QUICK else 3000])
in_word, place = 0, []
for sign in signs_read:
    in_word = in_word + 1 if sign not in " \n" else 0
    place.append(in_word)
features = {"letters of the word so far": place, "a vowel": [sign in "aeiou" for sign in signs_read]}
for seed, each in enumerate(lstms):
    units, state = [], None
    for token in held_out[: len(signs_read)]:
        _, state = each.forward(np.array([[token]]), state)
        units.append(state[1][0, 0])
    units = np.array(units).T
    for name, values in features.items():
        best, by_chance = (
            max(abs(np.corrcoef(unit, given)[0, 1]) for unit in units)
            for given in (np.array(values, float), np.roll(np.array(values, float), 1000))
        )
        print(f"seed {seed}, {name}: best correlation {best:.2f}, of the shifted feature {by_chance:.2f}")
        if not QUICK:
            assert max(0.4, 3 * by_chance) < best < min(r for r, _, _ in counted_by)

# %% [markdown]
# Both are there with each of five seeds, and not by chance. None is as clean as the count of brackets.
#
# ## 5. Sampled softmax
#
# With words in the place of characters, $V$ is tens of thousands, and the softmax costs more than the network:
# $6 N H V$ operations for $N$ positions, forward and back. But one position needs the score of *one* right word, and of
# enough wrong ones to be told from. Draw a sample: word $j$ is in it with probability $\pi_j$, independently of the
# others; the target $y$ joins it in any case. **Given the candidates $C$, which of them is the target?** The others
# came in with their $\pi$, the target for certain, so by Bayes' rule
#
# $$p(y \mid C) \propto p(y)\, p(C \mid y) = p(y) \prod_{j \in C,\, j \ne y} \pi_j \prod_{j \notin C} (1 - \pi_j)
# \propto \frac{p(y)}{\pi_y}$$
#
# If the scores are to be $s_k = \log p(k)$, the softmax over the candidates must therefore be that of
# $s_k - \log \pi_k$ (Jean et al. 2015). Frequent words, which are drawn often, are held down by the correction and need
# not be by their score. The gradient of the scores is what it always is, softmax minus one-hot, over $C$ alone:
#
# $$L_C = -\log \frac{e^{s_y - \log \pi_y}}{\sum_{k \in C} e^{s_k - \log \pi_k}}, \qquad
# \frac{\partial L_C}{\partial s_k} = \frac{e^{s_k - \log \pi_k}}{\sum_{l \in C} e^{s_l - \log \pi_l}} - [k = y]$$
#
# Is the mean of that gradient zero where it should be, at $s = \log p$? Over *all* samples and targets:

# %%
p = np.array([0.4, 0.25, 0.15, 0.12, 0.08])
pi = sampled_softmax.inclusion([5, 4, 3, 2, 1], 2)  # 2 words on average
print("pi:", pi.round(4), "together", pi.sum())


def mean_slope(s, log_pi):
    """The expected gradient of the scores s: a sum over 2^5 samples and 5 targets."""
    total = np.zeros(5)
    for chosen in itertools.product((False, True), repeat=5):
        weight = np.where(chosen, pi, 1 - pi).prod()
        for y in range(5):
            _, (_, rows, _, db) = sampled_softmax.sampled_loss(
                np.zeros((1, 1)), np.zeros((5, 1)), s, [y], np.flatnonzero(chosen), log_pi
            )
            total[rows] += weight * p[y] * db
    return total


print("with the correction:   ", mean_slope(np.log(p), np.log(pi)).round(17))
print("without:               ", mean_slope(np.log(p), np.zeros(5)).round(4))
print("without, at log(p/pi): ", mean_slope(np.log(p / pi), np.zeros(5)).round(17))
np.testing.assert_allclose(mean_slope(np.log(p), np.log(pi)), 0, atol=1e-15)
np.testing.assert_allclose(mean_slope(np.log(p / pi), np.zeros(5)), 0, atol=1e-15)

# %% [markdown]
# Without the correction the model would learn $p/\pi$, and write rare words all the time. The derivative itself, by the
# complex step of notebook 2, on a small network's output with repeated targets:

# %%
h, W, b = (rng.standard_normal(shape).astype(complex) for shape in ((4, 3), (5, 3), 5))
targets, drawn = np.array([1, 3, 1, 0]), np.array([0, 1, 4])
log_pi = np.log(pi).astype(complex)
_, (dh, rows, dW, db) = sampled_softmax.sampled_loss(h, W, b, targets, drawn, log_pi)
for array, gradient, at in ((h, dh, (2, 1)), (W, dW[rows.tolist().index(1)], (1, 2)), (b, db, (3,))):
    moved = array.copy()
    moved[at] += 1e-200j
    given = [moved if each is array else each for each in (h, W, b)]
    exact = sampled_softmax.sampled_loss(*given, targets, drawn, log_pi)[0].imag / 1e-200
    mine = gradient[at[1]] if array is W else gradient[at] if array is h else gradient[rows.tolist().index(3)]
    print(f"by the kernel {mine.real:+.15f}, by the complex step {exact:+.15f}")
    np.testing.assert_allclose(mine.real, exact, rtol=1e-12)

# %% [markdown]
# And what it saves. The loss and all gradients of 1,000 positions, for more and more words (times of this run, on this
# machine):

# %%
N, H = (100, 32) if QUICK else (1000, 128)
sizes = [1000, 3000, 10000] if QUICK else [1000, 3000, 10000, 30000]
took = {"all words": [], "1,024 sampled": []}
for size in sizes:
    h, W = (rng.standard_normal((n, H)).astype("float32") * 0.1 for n in (N, size))
    b, targets = np.zeros(size, "float32"), rng.integers(0, size, N)
    pi = sampled_softmax.inclusion(sampled_softmax.log_uniform(size), 1024)
    drawn, log_pi = sampled_softmax.draw(pi, rng), np.log(pi).astype("float32")
    contestants = {
        "all words": (sampled_softmax.full_loss, (h, W, b, targets)),
        "1,024 sampled": (sampled_softmax.sampled_loss, (h, W, b, targets, drawn, log_pi)),
    }
    for name, (work, given) in contestants.items():
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            work(*given)
            seconds.append(time.perf_counter() - start)
        took[name].append(1e3 * min(seconds))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (name, milliseconds), style in zip(took.items(), ("o--", "s-")):
    ax.plot(sizes, milliseconds, style, label=name)
    print(f"{name:<14}" + ", ".join(f"V={size:,}: {each:.1f} ms" for size, each in zip(sizes, milliseconds)))
ax.set(xlabel="words V", ylabel="ms for loss and gradients", xscale="log", yscale="log")
ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
ax.set_yticks([10, 20, 50, 100, 200, 500, 1000], ["10", "20", "50", "100", "200", "500", "1,000"])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# The frequent words are in every sample ($\pi = 1$), so it is the rare ones that are saved. Scores that count,
# perplexity above all, are always over all words; the library takes the positions in pieces, so that memory stays
# bounded.
#
# ## 6. Writing
#
# To write, draw the next character from the model's own distribution, read it, and go on. Dividing the scores by a
# *temperature* $\tau$ sharpens ($\tau < 1$) or flattens ($\tau > 1$) it; *top-k* and *top-p* (the nucleus, Holtzman et
# al. 2020) cut off the tail, in which many small probabilities together make many errors.


# %%
def softened(logits, temperature):
    """The distribution to draw from: a softmax of the scores, divided by the temperature, in double precision."""
    # BLANK: p, without overflow where scores are large
    z = np.asarray(logits, float) / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    # END
    return p


# %%
for seed, temperature in itertools.product(range(5), (0.01, 0.5, 1.0, 3.0)):
    some = 10 * np.random.default_rng(seed).standard_normal(8)
    np.testing.assert_allclose(softened(some, temperature), next_probabilities(some, temperature), rtol=1e-11)


# %% [markdown]
# With it the model can write: one step for each character.


# %%
def write(model, prompt, length, temperature, rng):
    """The ids that the model goes on with after those of the prompt."""
    logits, state = model.forward(prompt[:, None])
    found = []
    for _ in range(length):
        # BLANK: draw an id by `rng.choice`, keep it, and read it from the state reached
        p = softened(logits[-1, 0], temperature)
        found.append(rng.choice(len(p), p=p))
        logits, state = model.forward(np.array([[found[-1]]]), state)
        # END
    return found


# %%
for seed in range(3):
    mine = write(lm, opening, 40, 0.5, np.random.default_rng(seed))
    assert mine == lm.generate(opening, 40, temperature=0.5, seed=seed).tolist()
print("".join(vocabulary.decode(mine)))

# %% [markdown]
# The same scores at several temperatures, and with the tail cut off:

# %%
prompt = vocabulary.encode(list("the film is "))
logits, _ = lm.forward(prompt[:, None])
options = {"τ = 0.5": {"temperature": 0.5}, "τ = 1": {}, "τ = 2": {"temperature": 2.0}, "top-p = 0.9": {"top_p": 0.9}}
order = np.argsort(-logits[-1, 0])[:14]
fig, ax = plt.subplots(figsize=(9, 3.2), layout="constrained")
for k, (name, given) in enumerate(options.items()):
    p = next_probabilities(logits[-1, 0], **given)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)
    entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
    ax.bar(np.arange(14) + 0.2 * k - 0.3, p[order], 0.2, label=f"{name}: {np.exp(entropy):.1f} characters")
ax.set(
    xticks=range(14), xticklabels=[repr(c)[1:-1] for c in vocabulary.decode(order)], ylabel="p of the next character"
)
ax.legend(title="exp of the entropy")
plt.show()
scaled = np.exp(logits[-1, 0].astype(float) / 0.5)
np.testing.assert_allclose(next_probabilities(logits[-1, 0], 0.5), scaled / scaled.sum(), rtol=1e-10)

# %% [markdown]
# Move the slider (it works without a kernel): the temperature goes from cold to hot, and the entropy with it.


# %%
def entropy_of(p):
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


temperatures = np.geomspace(0.2, 5, 7 if QUICK else 15)
fig, ax = plt.subplots(figsize=(7, 2.8), dpi=72, layout="constrained")


def frame(k):
    ax.clear()
    p = softened(logits[-1, 0], temperatures[k])
    ax.bar(range(14), p[order], color="C0")
    ax.set(ylim=(0, 1), xticks=range(14), ylabel="p of the next character")
    ax.set_xticklabels([repr(c)[1:-1] for c in vocabulary.decode(order)])
    h = entropy_of(p)
    ax.set_title(f"temperature {temperatures[k]:.2f}: entropy {h:.2f} nats, as {np.exp(h):.1f} even characters")


slider = HTML(FuncAnimation(fig, frame, len(temperatures)).to_jshtml(default_mode="once"))
plt.close(fig)
slider

# %%
for seed in range(5):  # hotter is never less uncertain
    some = np.random.default_rng(seed).standard_normal(30)
    entropies = [entropy_of(softened(some, temperature)) for temperature in temperatures]
    assert (np.diff(entropies) > 0).all() and entropies[-1] < np.log(30)

# %%
for name, given in {"τ = 0.3": {"temperature": 0.3}, **options}.items():
    new = lm.generate(prompt, 60 if QUICK else 240, seed=1, **given)
    print(f"--- {name}: perplexity {lm.perplexity([*prompt, *new]):.2f} by the model's own judgement")
    print("the film is " + "".join(vocabulary.decode(new)))

# %% [markdown]
# In this run: at a low temperature it says what is most common, again and again; at a high one words fall apart. A
# state is all
# that a step needs of the past, so a character costs one step however long the text is.
#
# ## Exercises
#
# `rs.teach.answer("10.1", value)` says whether the value that exercise 1 asks for in brackets is right; with the other
# numbers likewise.
#
# **1.** A model's perplexity is 4 per character, and a word with its space has 5.5 characters on average. What is its
# perplexity per word? Why must perplexities be compared over the same units only? (`"10.1"`: that perplexity.)
#
# <details><summary>Solution</summary>
#
# The probability of the text is the same, but its logarithm is shared among fewer units: $4^{5.5} = 2048$. Two models
# with different vocabularies (or numbers of unknown words) have different units.
#
# ```python
# bits = np.log2(4) * 5.5
# np.testing.assert_allclose(2**bits, 2048)
# # answer 10.1: 4**5.5
# ```
# </details>
#
# **2.** Show that all $\pi$ may be multiplied by one number and the sampled loss stays as it is. What follows for a
# sample in which all words are equally probable? (`"10.2"`: the loss of a target with score 1 beside two others with
# scores 0 and -1, where all $\pi$ are 0.3.)
#
# <details><summary>Solution</summary>
#
# $\log \pi_k + a$ takes $a$ from every score, and a softmax does not see it. So with equal $\pi$ no correction is
# needed at all: the case of Jean et al. With $\pi = 0.3$ the loss is
# $-\log \frac{e^1}{e^1 + e^0 + e^{-1}} \approx 0.408$.
#
# ```python
# s, none = rng.standard_normal(5), np.zeros((1, 1))
# first, second = (
#     sampled_softmax.sampled_loss(none, np.zeros((5, 1)), s, [2], [0, 4], log_pi)[0]
#     for log_pi in (np.zeros(5), np.full(5, -1.7))
# )
# np.testing.assert_allclose(first, second, rtol=1e-14)
# asked = -np.log(losses.softmax(np.array([1.0, 0.0, -1.0]))[0])
# scores, log_03 = np.array([1.0, 0.0, -1.0]), np.full(3, np.log(0.3))
# by_kernel = sampled_softmax.sampled_loss(none, np.zeros((3, 1)), scores, [0], [1, 2], log_03)[0]
# np.testing.assert_allclose(by_kernel, asked, rtol=1e-14)
# # answer 10.2: asked
# ```
# </details>
#
# **3.** What do temperature 0, top-k = 1 and a tiny top-p have in common? And what does top-p = 0.9 leave of
# $p = (0.5, 0.3, 0.15, 0.05)$? (`"10.3"`: the four probabilities from which is drawn then.)
#
# <details><summary>Solution</summary>
#
# They leave the most probable character alone. Top-p = 0.9 keeps the smallest set that has at least 0.9 together, here
# the first three, and divides by their sum 0.95: $(0.526, 0.316, 0.158, 0)$.
#
# ```python
# shapes = ({"temperature": 0}, {"top_k": 1}, {"top_p": 1e-9})
# assert len({lm.generate(prompt, 30, seed=seed, **shape).tobytes() for seed, shape in enumerate(shapes)}) == 1
# nucleus = np.array([0.5, 0.3, 0.15, 0]) / 0.95
# given = np.log([0.5, 0.3, 0.15, 0.05])
# np.testing.assert_allclose(next_probabilities(given, top_p=0.9), nucleus, rtol=1e-12)
# # answer 10.3: nucleus
# ```
# </details>
#
# **4.** Which perplexity has a text that the model wrote itself at temperature 1, in the mean? Is it lower or higher
# than that of real text? (`"10.4"`: both for a model that gives its three signs 1/2, 1/4 and 1/4 at every step; its own
# text, and one in which the three are equally frequent.)
#
# <details><summary>Solution</summary>
#
# $e$ to the mean entropy of its own distributions, since each character is drawn from the one that judges it. Real text
# is drawn from another distribution $q$, and the cross-entropy is $H(q) + \mathrm{KL}(q \,\|\, p)$. The model's own is
# its entropy alone: usually lower, if the model has learned at all. With three signs it is 1.5 bits against $5/3$:
# $2^{3/2} \approx 2.83$ and $2^{5/3} \approx 3.17$.
#
# ```python
# own = lm.generate(prompt, 400, seed=0)
# logits, _ = lm.forward(np.concatenate([prompt, own])[:-1, None])
# log_p = losses.log_softmax(logits[len(prompt) - 1 :, 0])
# entropy = -(np.exp(log_p) * log_p).sum(axis=1)
# surprise = -log_p[np.arange(400), own]
# assert abs((surprise - entropy).mean()) < 4 * (surprise - entropy).std() / 20
# thirds = np.array([1 / 2, 1 / 4, 1 / 4])
# both = np.exp([-(q * np.log(thirds)).sum() for q in (thirds, np.full(3, 1 / 3))])
# np.testing.assert_allclose(both, [2**1.5, 2 ** (5 / 3)], rtol=1e-14)
# # answer 10.4: both
# ```
# </details>
#
# ## Five questions
#
# **1.** Four words come, to which the model gave 1/2, 1/4, 1/8 and 1/8. What is the perplexity?
#
# <details><summary>Answer</summary>
#
# $(2 \cdot 4 \cdot 8 \cdot 8)^{1/4} = 2^{9/4} \approx 4.76$.
#
# ```python
# np.testing.assert_allclose(np.exp(-np.mean(np.log([1 / 2, 1 / 4, 1 / 8, 1 / 8]))), 2 ** (9 / 4))
# ```
# </details>
#
# **2.** Windows have 5 steps. Can the first character change what is predicted after the twelfth? Does the gradient of
# that loss reach the first?
#
# <details><summary>Answer</summary>
#
# It can, for the state is carried; and no gradient tells it to. What is learned about distances beyond a window is
# learned over shorter ones.
#
# ```python
# first, second = train[:12].copy(), train[:12].copy()
# second[0] = first[0] % (V - 1) + 1
# ends = []
# for each in (first, second):
#     _, state = check.forward(each[:5, None])
#     _, state = check.forward(each[5:10, None], state)
#     logits, _ = check.forward(each[10:, None], state)
#     ends.append(logits[-1, 0])
# assert not np.array_equal(*ends)
# check.backward(np.ones((2, 1, V)))
# read = np.unique(second[10:])
# assert not np.delete(check.grads["embedding.E"], read, axis=0).any()
# ```
# </details>
#
# **3.** Somebody shifts the targets by 0 in place of 1: the model is to say the character that it has just read. Which
# perplexity does it reach, and what has it learned?
#
# <details><summary>Answer</summary>
#
# Nearly 1, and it has learned to copy. A perplexity far below what is possible is a bug, not a triumph.
#
# ```python
# copier, adam = rs.LanguageModel(V, 16, 16, seed=0), rs.Adam(0.02)
# window_ = train[:2000].reshape(20, 100)
# for _ in range(150):
#     logits, _ = copier.forward(window_)
#     loss, dlogits = copier.loss(logits, window_)
#     copier.backward(dlogits)
#     adam.step(copier.params, copier.grads)
# assert np.exp(loss) < 1.2
# ```
# </details>
#
# **4.** Embedding and output share one matrix. What is its gradient, and which bug leaves all shapes as they are?
#
# <details><summary>Answer</summary>
#
# The sum of two: that of an embedding and that of an output matrix. Who keeps one of them (= for +=) gets a model that
# still learns, worse.
#
# ```python
# tied = rs.LanguageModel(V, 6, 6, tied=True, dtype="float64", seed=0)
# apart = rs.LanguageModel(V, 6, 6, dtype="float64", seed=0)
# apart.load_params({name: tied.params.get(name, tied.params["embedding.E"].T) for name in apart.params})
# text_, says = train[:30, None], train[1:31, None]
# for each in (tied, apart):
#     logits, _ = each.forward(text_)
#     each.backward(each.loss(logits, says)[1])
# both = apart.grads["embedding.E"] + apart.grads["dense.W"].T
# np.testing.assert_allclose(tied.grads["embedding.E"], both, rtol=1e-10, atol=1e-14)
# ```
# </details>
#
# **5.** Streams of 4 and 2 steps lie in one array of 4 by 2. The losses of the two places past the end are set to 0,
# and the mean is taken over all eight. What becomes of the perplexity?
#
# <details><summary>Answer</summary>
#
# The loss is 6/8 of what it should be, so the perplexity is $\mathrm{PPL}^{3/4}$: it looks better than it is, the more
# the more padding there is.
#
# ```python
# each = np.random.default_rng(0).exponential(size=6)
# np.testing.assert_allclose(np.exp(np.append(each, [0, 0]).mean()), np.exp(each.mean()) ** 0.75)
# ```
# </details>
#
# ## Read on
#
# - Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, *A neural probabilistic language model*, JMLR 2003.
# - T. Mikolov, M. Karafiát, L. Burget, J. Černocký, S. Khudanpur, *Recurrent neural network based language model*,
#   Interspeech 2010.
# - S. Jean, K. Cho, R. Memisevic, Y. Bengio, *On using very large target vocabulary for neural machine translation*,
#   ACL 2015 (arXiv 1412.2007): the sampled softmax.
# - A. Karpathy, J. Johnson, L. Fei-Fei, *Visualizing and understanding recurrent networks*, 2015 (arXiv 1506.02078):
#   units that follow quotes and brackets.
# - O. Press, L. Wolf, *Using the output embedding to improve language models*, EACL 2017 (arXiv 1608.05859): tied
#   weights.
# - S. Merity, N. S. Keskar, R. Socher, *Regularizing and optimizing LSTM language models*, 2017 (arXiv 1708.02182):
#   what it takes to make them good.
# - A. Holtzman, J. Buys, L. Du, M. Forbes, Y. Choi, *The curious case of neural text degeneration*, ICLR 2020 (arXiv
#   1904.09751): the nucleus.
