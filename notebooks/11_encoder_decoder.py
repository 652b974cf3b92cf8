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
# # 11. The encoder–decoder
#
# A network that reads one sequence and says another, of another length: a translation, a date in another form, a sum.
# It is made of two networks that you know. The first, the **encoder**, reads; the second, the **decoder**, is a
# language model (notebook 10) that begins where the first one ended. This notebook derives its backward pass, trains
# it, shows what is lost in the one vector between the two, and searches for the most probable output. You need
# notebooks 1 and 10.

# %%
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "rnnscratch[imdb,notebooks]"])

import matplotlib.pyplot as plt
import numpy as np

import rnnscratch as rs

QUICK = os.environ.get("RNNSCRATCH_QUICK") == "1"  # smaller sizes, for a quick check
import itertools

from rnnscratch import training
from rnnscratch.kernels import losses
from rnnscratch.text import PairBatches

# %% [markdown]
# ## 1. Two networks and one vector
#
# The encoder reads $x_1, \dots, x_S$ as any recurrent network does (Eq. 1, or the gates of notebooks 4 and 5). Its last
# state $h_S$ is all that the decoder gets to know of the source:
#
# $$s_0 = h_S, \qquad s_t = f(y_{t-1} W' + s_{t-1} U' + b'), \qquad p(y_t \mid y_1, \dots, y_{t-1}, x) =
# \mathrm{softmax}(s_t V + c)$$
#
# The decoder reads what was said so far. At the beginning that is a **start** sign; and so that it can stop, it learns
# to say an **end** sign. In training it reads the *right* outputs, whatever it would have said itself (**teacher
# forcing**): all its steps are known before they are computed, and it is trained like any language model. (Cho et al.
# 2014, arXiv 1406.1078; Sutskever et al. 2014, arXiv 1409.3215.)
#
# One unit each, a source of two symbols, an output of one symbol and the end:

# %%
model = rs.Seq2Seq(5, 5, embedding_dim=1, hidden_size=1, cell="rnn", bidirectional=False, dtype="float64", seed=0)
given = {
    "source_embedding.E": [[0.0], [0.0], [0.0], [1.0], [-0.5]],
    "target_embedding.E": [[0.0], [0.2], [0.0], [0.7], [-0.4]],
    "encoder.W_l0": [[0.8]],
    "encoder.U_l0": [[0.5]],
    "encoder.b_l0": [0.1],
    "decoder.W_l0": [[0.6]],
    "decoder.U_l0": [[-0.9]],
    "decoder.b_l0": [0.0],
    "dense.W": [[0.0, 0.3, -1.0, 1.2, 0.4]],
    "dense.b": [0.0, 0.0, 0.1, 0.2, -0.1],
}
model.load_params({name: np.array(values) for name, values in given.items()})
source, target_in, target_out = [3, 4], [1, 3], [3, 2]  # 1 is the start, 2 the end

p = {name: np.array(values).squeeze() for name, values in given.items()}
h = [0.0]
for token in source:
    h.append(
        np.tanh(p["source_embedding.E"][token] * p["encoder.W_l0"] + h[-1] * p["encoder.U_l0"] + p["encoder.b_l0"])
    )
    print(f"reads {token}: h = {h[-1]:+.6f}")
s, probabilities = [h[-1]], []
for token, right in zip(target_in, target_out):
    s.append(
        np.tanh(p["target_embedding.E"][token] * p["decoder.W_l0"] + s[-1] * p["decoder.U_l0"] + p["decoder.b_l0"])
    )
    probabilities.append(losses.softmax(s[-1] * p["dense.W"] + p["dense.b"]))
    print(f"after {token}: s = {s[-1]:+.6f}, p of the right {right} = {probabilities[-1][right]:.6f}")
loss = -np.mean([np.log(each[right]) for each, right in zip(probabilities, target_out)])
logits = model.forward(np.array(source)[:, None], None, np.array(target_in)[:, None], None)
np.testing.assert_allclose(losses.softmax(logits[:, 0]), probabilities, rtol=1e-14)
print(f"loss {loss:.6f}")

# %% [markdown]
# ## 2. The way back
#
# Through the decoder it is notebook 1 again: $\bar s_t$ comes from the output at $t$ and from step $t+1$,
# $\bar z_t = \bar s_t (1 - s_t^2)$, $\bar s_{t-1} \mathrel{+}= \bar z_t U'^\top$. What arrives at $s_0$ is the gradient
# of the encoder's last state, **and nothing else arrives there**:
#
# $$\bar h_S = \bar s_0 = \sum_{t=1}^{T} \bar y_t \, \frac{\partial s_t}{\partial s_0}, \qquad \frac{\partial
# L}{\partial x_k} = \bar h_S \, \frac{\partial h_S}{\partial x_k}$$
#
# So between the word $x_k$ and the word $y_t$ that depends on it lie $S - k + t$ products. Forgetting a part of the
# state at this seam (an LSTM's $C$, say) is the classic bug of hand-written encoder–decoders: all shapes fit, and it
# even learns, worse.

# %%
ds, sums = 0.0, dict.fromkeys(("encoder.U_l0", "decoder.U_l0"), 0.0)
for t in (2, 1):
    dlogits = (
        probabilities[t - 1] - np.eye(5)[target_out[t - 1]]
    ) / 2  # softmax minus one-hot; the loss is a mean of 2
    ds += dlogits @ p["dense.W"]
    dz = ds * (1 - s[t] ** 2)
    sums["decoder.U_l0"] += s[t - 1] * dz
    ds = dz * p["decoder.U_l0"]
    print(f"decoder, t={t}: dz = {dz:+.6f}, for the step before {ds:+.6f}")
dh = ds  # the seam
for k in (2, 1):
    dz = dh * (1 - h[k] ** 2)
    sums["encoder.U_l0"] += h[k - 1] * dz
    dh = dz * p["encoder.U_l0"]
    print(f"encoder, k={k}: dz = {dz:+.6f}, for the step before {dh:+.6f}")

_, dlogits = model.loss(logits[:, 0], np.array(target_out))
model.backward(dlogits[:, None])
for name, value in sums.items():
    np.testing.assert_allclose(model.grads[name].item(), value, rtol=1e-12)
    print(f"d{name} = {value:+.8f}")

# %% [markdown]
# With two directions, several layers, other cells on either side, or words of unequal number, nothing new comes in;
# `tests/models/test_seq2seq.py` holds every gradient to the complex step and to PyTorch. With `bidirectional=True`
# the two last states of a layer stand side by side, and a matrix makes the decoder's first one of them.
#
# ## 3. Pairs of unequal length
#
# A batch holds pairs whose sources, and whose targets, are about equally long. Each target comes framed: what the
# decoder reads, and what it is to say.

# %%
pairs = [[5, 6, 7], [8, 5], [6]], [[7, 6, 5], [5, 8], [6]]
for batch in PairBatches(*pairs, batch_size=2):
    for b in range(len(batch.indices)):
        S, T = batch.source_lengths[b], batch.target_lengths[b]
        read, says = batch.target_in[:T, b].tolist(), batch.target_out[:T, b].tolist()
        print(f"source {batch.source[:S, b].tolist()}, the decoder reads {read} and is to say {says}")

# %% [markdown]
# ## 4. Learning to say a word backwards
#
# Random letters, so that nothing can be guessed. To say the word from its end, the decoder must have *all of it* in the
# one vector; and the first letter, which is said last, lies furthest back.

# %%
LETTERS, LONGEST = 12, 12
rng = np.random.default_rng(0)


def words(count):
    found = [rng.integers(3, 3 + LETTERS, rng.integers(1, LONGEST + 1)) for _ in range(count)]
    return found, [word[::-1] for word in found]


train, test = words(400 if QUICK else 20_000), words(60 if QUICK else 2_000)
EPOCHS, HIDDEN = (1, 16) if QUICK else (8, 96)
models, histories = {}, {}
for cell in ("rnn", "lstm", "gru"):
    models[cell] = rs.Seq2Seq(3 + LETTERS, 3 + LETTERS, 24, HIDDEN, cell=cell, bidirectional=False, seed=0)
    histories[cell] = training.fit(
        models[cell],
        train,
        test,
        optimizer=rs.Adam(),
        schedule=rs.optimizers.cosine_schedule(0.004, EPOCHS * -(-len(train[0]) // 64)),
        epochs=EPOCHS,
        clip_norm=1.0,
        progress=False,
    )
right = {}
for cell, each in models.items():
    said = each.translate_batch(test[0], max_length=2 * LONGEST)
    right[cell] = np.array([np.array_equal(one.tokens, target) for one, target in zip(said, test[1])])
    row = histories[cell].rows[-1]
    print(
        f"{cell:<4} {right[cell].mean():6.1%} of new words all right; of the letters, those before being right, "
        f"{row['validation_accuracy']:.1%}; {sum(histories[cell]['seconds']):.0f} s"
    )

# %%
lengths = np.array([len(word) for word in test[0]])
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for cell, style in (("rnn", "o--"), ("lstm", "s-"), ("gru", "^:")):
    shares = [right[cell][lengths == n].mean() if (lengths == n).any() else np.nan for n in range(1, LONGEST + 1)]
    axes[0].plot(range(1, LONGEST + 1), shares, style, label=cell.upper())
    axes[1].plot(range(1, EPOCHS + 1), histories[cell]["validation_loss"], style, label=cell.upper())
axes[0].set(xlabel="letters", ylabel="share of words all right", ylim=(-0.03, 1.03))
axes[1].set(xlabel="epoch", ylabel="loss on new words", yscale="log")
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# The longer the word, the more must go through the same vector: a **bottleneck**, which attention (notebook 12)
# opens. In this run the vanilla network does best. A short list that is said as it came, turned about, is just what a
# $U$ that starts orthogonal can hold; what it cannot do is the subject of notebook 13.
#
# **How far do gradients go?** Take the loss of the last letter that is said, which is the first of the source: how much
# of its gradient reaches each letter of the source? (Each letter of each word gets a row of its own in the embedding's
# table, whose gradient is then that letter's.)

# %%
n, count = 10, 200
probe = rng.integers(3, 3 + LETTERS, (n, count))
target_in = np.concatenate([np.ones((1, count), int), probe[::-1]])
own_rows = np.arange(n * count).reshape(n, count)
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
for colour, (cell, style) in enumerate((("rnn", "o"), ("lstm", "s"), ("gru", "^"))):
    for learned in (False, True):
        each = models[cell] if learned else rs.Seq2Seq(**models[cell].config(), seed=0)
        twin = rs.Seq2Seq(**{**each.config(), "source_size": n * count}, seed=0)
        twin.load_params({**each.params, "source_embedding.E": each.params["source_embedding.E"][probe.reshape(-1)]})
        logits = twin.forward(own_rows, None, target_in, None)
        dlogits = np.zeros_like(logits)
        dlogits[n - 1] = twin.loss(logits[n - 1], probe[0])[1] * count
        twin.backward(dlogits)
        norms = np.linalg.norm(twin.grads["source_embedding.E"], axis=1).reshape(n, count).mean(axis=1)
        look = {"color": f"C{colour}", "marker": style, "ls": "-" if learned else ":", "alpha": 1.0 if learned else 0.6}
        when = "after" if learned else "before"
        ax.plot(range(1, n + 1), norms, label=f"{cell.upper()}, {when} learning", **look)
        print(f"{cell:<4} {when:<6} learning: at the first letter {norms[0]:.1e}, at the last {norms[-1]:.1e}")
ax.set(
    xlabel="letter of the source (the first is the one that is said last)", ylabel="norm of the gradient", yscale="log"
)
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Before learning, the gated cells' gradients fade from the end of the source to its beginning: the letter that is the
# answer gets the least. Learning evens that out; the gates let pass what must be kept. The vanilla network's gradients
# are even from the beginning.
#
# ## 5. Greedy, beam, and all there is
#
# To translate is to find the output with the largest probability, and there are $V^T$ of them. **Greedy** search takes
# the most probable sign at each step, and cannot go back. **Beam search** keeps the $K$ best beginnings. The score is
# the mean of $\log p$ over the signs, the end included: the sum would favour short outputs. With a beam so wide that
# nothing is lost, the search is an enumeration:

# %%
tiny = rs.Seq2Seq(6, 5, 4, 6, bidirectional=False, dtype="float64", seed=3)
weights = np.random.default_rng(162)
for array in tiny.params.values():
    array[...] = weights.standard_normal(array.shape)
tiny.params["dense.b"][2] -= 0.7
source = np.array([3, 5, 4])


def score(tokens):
    """The mean of log p of an output and its end."""
    logits = tiny.forward(source[:, None], None, np.array([1, *tokens])[:, None], None)[:, 0]
    return losses.log_softmax(logits)[np.arange(len(tokens) + 1), [*tokens, 2]].mean()


everything = [tokens for T in range(5) for tokens in itertools.product([0, 1, 3, 4], repeat=T)]
best = max(everything, key=score)
print(f"{len(everything)} outputs of at most 4 signs; the best is {list(best)} with {score(best):.6f}")
for beam in (1, 2, 4, 5**5):
    found = tiny.translate(source, beam=beam, max_length=4)
    print(f"beam {beam:>4}: {found.tokens.tolist()} with {found.score:.6f}")
assert tuple(found.tokens) == best
np.testing.assert_allclose(found.score, score(best), rtol=1e-12)

# %% [markdown]
# ## Exercises
#
# **1.** Why does reading the source from its *end* make translation between languages of about the same word order
# easier to learn (Sutskever et al. 2014), though the mean distance between a word and its translation stays the same?
#
# <details><summary>Solution</summary>
#
# Without reversal every pair is $S$ steps apart. With it the first words are 1, 3, 5, … steps apart: some are near, so
# that learning has where to begin. The mean of $1, 3, \dots, 2S - 1$ is $S$.
#
# ```python
# S = 20
# assert np.mean(np.arange(1, 2 * S, 2)) == S
# ```
# </details>
#
# **2.** A model says 50 signs, each right with probability 0.99 if all before it are right. With which probability is
# all of it right? What does that say about accuracies under teacher forcing?
#
# <details><summary>Solution</summary>
#
# $0.99^{50} \approx 0.605$. An accuracy by signs under teacher forcing is far above the share of outputs that are
# right.
#
# ```python
# assert abs(0.99**50 - 0.605) < 0.001
# ```
# </details>
#
# **3.** Under teacher forcing the decoder never reads its own mistakes. Scheduled sampling (`sampling=`) lets it. Check
# that a model that is sure of one sign then reads that sign.
#
# <details><summary>Solution</summary>
#
# ```python
# sure = rs.Seq2Seq(6, 6, 4, 4, sampling=0.5, seed=0)
# sure.params["dense.b"][4] = 1e4
# sure.call(np.full((2, 500), 3), None, np.full((6, 500), 5), None, train=True)
# share = (sure._read[1:] == 4).mean()
# assert 0.45 < share < 0.55 and (sure._read[0] == 5).all()
# ```
# </details>
#
# **4.** Show that the sum of $\log p$ as score prefers a shorter output to a longer one whose every sign is more
# probable.
#
# <details><summary>Solution</summary>
#
# Two signs of $p = 0.5$ have the sum $-1.39$, five of $p = 0.7$ have $-1.78$, but the means are $-0.69$ and $-0.36$.
#
# ```python
# short, long = np.log([0.5, 0.5]), np.log([0.7] * 5)
# assert short.sum() > long.sum() and short.mean() < long.mean()
# ```
# </details>
