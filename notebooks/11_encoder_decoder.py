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
# it, shows what is lost in the one vector between the two, and searches for the most probable output.
#
# - **Time**: about two and a half hours with the exercises; the machine needs one to two minutes.
# - **You need** notebook 1 (the way back through time) and notebook 10 (a language model, and what it says).
# - **Afterwards you can** carry a gradient over the seam between two networks, and know what is forgotten there most
#   often; train with teacher forcing and say what it hides; decode greedily and with a beam, and check the result
#   against all outputs there are.
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
# $$s_0 = h_S, \qquad s_t = f(y_{t-1} W' + s_{t-1} U' + b'), \qquad \hat y_t = \mathrm{softmax}(s_t V + b_y)$$
#
# where $\hat y_t$ holds $p(y_t \mid y_1, \dots, y_{t-1}, x)$ of every sign $y_t$ that may come.
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
# Through the decoder it is notebook 1 again: $\bar s_t$ comes from the loss $L_t$ at $t$ and from step $t+1$,
# $\bar z_t = \bar s_t (1 - s_t^2)$, $\bar s_{t-1} \mathrel{+}= \bar z_t U'^\top$. What arrives at $s_0$ is the gradient
# of the encoder's last state, **and nothing else arrives there**:
#
# $$\bar h_S = \bar s_0 = \sum_{t=1}^{T} \frac{\partial L_t}{\partial s_t} \, \frac{\partial s_t}{\partial s_0}, \qquad
# \frac{\partial L}{\partial x_k} = \bar h_S \, \frac{\partial h_S}{\partial x_k}$$
#
# So between the word $x_k$ and the word $y_t$ that depends on it lie $S - k + t$ products. Forgetting a part of the
# state at this seam (an LSTM's $c$, say) is the classic bug of hand-written encoder–decoders: all shapes fit.
#
# First the scores. The loss is the mean of the two steps' $-\log p$:

# %%
of_scores = {}
for t in (2, 1):
    # BLANK: the gradient of the five scores at t: softmax minus one-hot, and a mean of 2
    of_scores[t] = (probabilities[t - 1] - np.eye(5)[target_out[t - 1]]) / 2
    # END
    print(f"t={t}: {of_scores[t].round(6)}")

# %%
_, dlogits = model.loss(logits[:, 0], np.array(target_out))
np.testing.assert_allclose([of_scores[1], of_scores[2]], dlogits, rtol=1e-12)

# %% [markdown]
# Then the decoder, from its last step to its first:

# %%
ds, dU_decoder, to_s = 0.0, 0.0, {}  # what arrives at each state
for t in (2, 1):
    # BLANK: add to ds what comes from the scores; then dz, what U gets (added up), and ds for the step before
    ds += of_scores[t] @ p["dense.W"]
    dz = ds * (1 - s[t] ** 2)
    dU_decoder += s[t - 1] * dz
    ds = dz * p["decoder.U_l0"]
    # END
    to_s[t - 1] = ds
    print(f"decoder, t={t}: dz = {dz:+.6f}, for the step before {ds:+.6f}")

# %%
model.backward(dlogits[:, None])
np.testing.assert_allclose(dU_decoder, model.grads["decoder.U_l0"].item(), rtol=1e-12)

# %% [markdown]
# And over the seam into the encoder:

# %%
# BLANK: what the encoder's last state gets
dh = ds
# END
dU_encoder, to_h = 0.0, {}
for k in (2, 1):
    # BLANK: dz, what U gets (added up), and dh for the step before
    dz = dh * (1 - h[k] ** 2)
    dU_encoder += h[k - 1] * dz
    dh = dz * p["encoder.U_l0"]
    # END
    to_h[k - 1] = dh
    print(f"encoder, k={k}: dz = {dz:+.6f}, for the step before {dh:+.6f}")

# %%
np.testing.assert_allclose(dU_encoder, model.grads["encoder.U_l0"].item(), rtol=1e-12)


def whole_loss(U):
    """The loss as a function of the encoder's U alone."""
    state, found = 0.0, 0.0
    for token in source:
        state = np.tanh(p["source_embedding.E"][token] * p["encoder.W_l0"] + state * U + p["encoder.b_l0"])
    for token, right in zip(target_in, target_out):
        state = np.tanh(
            p["target_embedding.E"][token] * p["decoder.W_l0"] + state * p["decoder.U_l0"] + p["decoder.b_l0"]
        )
        scores = state * p["dense.W"] + p["dense.b"]
        found = found - (scores[right] - np.log(np.exp(scores).sum())) / 2
    return found


np.testing.assert_allclose(whole_loss(p["encoder.U_l0"]), loss, rtol=1e-14)
np.testing.assert_allclose(dU_encoder, whole_loss(p["encoder.U_l0"] + 1e-200j).imag / 1e-200, rtol=1e-12)

# %% [markdown]
# The two networks, unrolled. Black: what goes forward; red: the gradient that goes back along the same edge, the line
# as wide as it is large.

# %%
fig, ax = plt.subplots(figsize=(9.5, 3.4), layout="constrained")
nodes = [(f"$h_{k}$", h[k]) for k in range(3)] + [(f"$s_{t}$", s[t]) for t in (1, 2)]
edges = [to_h[0], to_h[1], to_s[0], to_s[1]]
for n, (name, value) in enumerate(nodes):
    colour = "tab:blue" if n < 3 else "tab:green"
    ax.text(
        n, 0, f"{name}\n{value:+.3f}", ha="center", va="center", bbox={"boxstyle": "circle", "fc": "w", "ec": colour}
    )
for n, gradient in enumerate(edges):
    ax.annotate("", (n + 0.72, 0.09), (n + 0.28, 0.09), arrowprops={"arrowstyle": "->", "color": "black"})
    width = 1 + 3 * abs(gradient) / max(map(abs, edges))
    look = {"arrowstyle": "->", "color": "tab:red", "lw": width, "ls": "--"}
    ax.annotate("", (n + 0.28, -0.09), (n + 0.72, -0.09), arrowprops=look)
    ax.text(n + 0.5, -0.2, f"{gradient:+.3f}", color="tab:red", ha="center", va="top")
for n, token in zip((1, 2, 3, 4), source + target_in):
    ax.text(n, -0.75, f"reads {token}", ha="center", color="0.3")
    ax.annotate("", (n, -0.36), (n, -0.64), arrowprops={"arrowstyle": "->", "color": "0.5"})
for n, t in ((3, 1), (4, 2)):
    ax.annotate("", (n, 0.64), (n, 0.36), arrowprops={"arrowstyle": "->", "color": "0.5"})
    right = target_out[t - 1]
    ax.text(n, 0.72, f"p of the right {right}: {probabilities[t - 1][right]:.3f}", ha="center", color="0.3")
ax.text(2.5, 0.2, "the seam", ha="center")
ax.set(xlim=(-0.4, 4.7), ylim=(-0.9, 0.95))
ax.axis("off")
plt.show()

# %% [markdown]
# The classic bug, and who finds it. Two LSTMs, the second of which starts from both states of the first; its way back
# once whole and once with $c$'s gradient left behind at the seam:


# %%
def two_networks(whole):
    """An encoder and a decoder as one function of what they read."""

    def run(x, y):
        encoder, decoder = rs.LSTM(2, 3, dtype=x.dtype, seed=0), rs.LSTM(2, 3, dtype=x.dtype, seed=1)
        (_, state), encoder_back = encoder.call(x)
        (hs, _), decoder_back = decoder.call(y, state)

        def back(dhs):
            dy, (dh, dc) = decoder_back(dhs, None)
            dx, _ = encoder_back(None, (dh, dc if whole else np.zeros_like(dc)))
            return dx, dy

        return hs, back

    return run


rng = np.random.default_rng(0)
x, y = rng.standard_normal((3, 2, 2)), rng.standard_normal((2, 2, 2))
print(rs.check_gradients(two_networks(False), x, y))
assert rs.check_gradients(two_networks(True), x, y).ok and not rs.check_gradients(two_networks(False), x, y).ok

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
# In this run, with one seed, the vanilla network does best. A short list that is said as it came, turned
# about, is just what a $U$ that starts orthogonal can hold; what it cannot do is the subject of notebook 13.
#
# **The bottleneck.** The longer the word, the more must go through the same vector. With 32 units in place of 96 there
# is not room enough; five seeds, words of up to 4 letters beside those of 9 to 12:

# %%
narrow = {}
for cell, seed in itertools.product(models, range(2 if QUICK else 5)):
    rng = np.random.default_rng(seed)
    few, new = words(300 if QUICK else 6000), words(60 if QUICK else 400)
    each = rs.Seq2Seq(3 + LETTERS, 3 + LETTERS, 24, 32, cell=cell, bidirectional=False, seed=seed)
    epochs = 1 if QUICK else 4
    training.fit(each, few, optimizer=rs.Adam(0.01), epochs=epochs, clip_norm=1.0, seed=seed, progress=False)
    said = each.translate_batch(new[0], max_length=2 * LONGEST)
    good = np.array([np.array_equal(one.tokens, target) for one, target in zip(said, new[1])])
    size = np.array([len(word) for word in new[0]])
    narrow.setdefault(cell, []).append((good[size <= 4].mean(), good[size >= 9].mean()))
for cell, shares in narrow.items():
    print(f"{cell:<4} " + ", ".join(f"short {short:.0%}, long {long:.0%}" for short, long in shares))
if not QUICK:
    assert all(short > 0.6 and long < 0.2 for shares in narrow.values() for short, long in shares)

# %% [markdown]
# Attention (notebook 12) opens it.
#
# **Where it derails.** In training each step reads the right letter before it; when the model speaks it reads its own.
# A word that the GRU gets wrong, once with its own letters to read and once with the right ones:

# %%
failed = next((k for k in range(len(test[0])) if not right["gru"][k] and len(test[1][k]) > 4), 0)
wanted, free = test[1][failed], models["gru"].translate(test[0][failed], max_length=2 * LONGEST).tokens
logits = models["gru"].forward(test[0][failed][:, None], None, np.array([1, *wanted])[:, None], None)
forced = logits[:, 0].argmax(axis=1)
print("right:                ", " ".join(f"{token:2}" for token in [*wanted, 2]), "  (2 is the end)")
print("reads its own letters:", " ".join(f"{token:2}" for token in [*free, 2]))
print("reads the right ones: ", " ".join(f"{token:2}" for token in forced))
same = min(len(free), len(wanted))
first_wrong = next((t for t in range(same) if free[t] != wanted[t]), same)
np.testing.assert_array_equal(forced[:first_wrong], wanted[:first_wrong])  # up to there both have read the same

# %% [markdown]
# Up to the first mistake the two cannot differ. After it, one goes on from a beginning that training never showed it.
#
# **How far do gradients go?** Take the loss of the last letter that is said, which is the first of the source: how much
# of its gradient reaches each letter of the source? (Each letter of each word gets a row of its own in the embedding's
# table, whose gradient is then that letter's.)

# %%
n, count = 10, 200
probe = rng.integers(3, 3 + LETTERS, (n, count))
target_in = np.concatenate([np.ones((1, count), int), probe[::-1]])
own_rows = np.arange(n * count).reshape(n, count)


def by_letter(each):
    """The mean norm of the gradient of the last letter's loss, for each letter of the source (n,)."""
    twin = rs.Seq2Seq(**{**each.config(), "source_size": n * count}, seed=0)
    twin.load_params({**each.params, "source_embedding.E": each.params["source_embedding.E"][probe.reshape(-1)]})
    logits = twin.forward(own_rows, None, target_in, None)
    dlogits = np.zeros_like(logits)
    dlogits[n - 1] = twin.loss(logits[n - 1], probe[0])[1] * count
    twin.backward(dlogits)
    return np.linalg.norm(twin.grads["source_embedding.E"], axis=1).reshape(n, count).mean(axis=1)


fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
for colour, (cell, style) in enumerate((("rnn", "o"), ("lstm", "s"), ("gru", "^"))):
    for learned in (False, True):
        norms = by_letter(models[cell] if learned else rs.Seq2Seq(**models[cell].config(), seed=0))
        look = {"color": f"C{colour}", "marker": style, "ls": "-" if learned else ":", "alpha": 1.0 if learned else 0.6}
        when = "after" if learned else "before"
        ax.plot(range(1, n + 1), norms, label=f"{cell.upper()}, {when} learning", **look)
        print(f"{cell:<4} {when:<6} learning: at the first letter {norms[0]:.1e}, at the last {norms[-1]:.1e}")
ax.set(
    xlabel="letter of the source (the first is the one that is said last)", ylabel="norm of the gradient", yscale="log"
)
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
for cell in models:  # at the start, five seeds
    starts = [by_letter(rs.Seq2Seq(**{**models[cell].config(), "hidden_size": 96}, seed=seed)) for seed in range(5)]
    shares = [float(norms[0] / norms[-1]) for norms in starts]
    print(f"{cell:<4} at the start, the first letter's share of the last one's: {np.round(shares, 3)}")
    assert all(0.5 < share < 2 for share in shares) if cell == "rnn" else all(share < 0.7 for share in shares)

# %% [markdown]
# Before learning, the gated cells' gradients fade from the end of the source to its beginning, with each of five seeds:
# the letter that is the answer gets the least. The vanilla network's are about even from the beginning. In this run,
# learning evens out the others: the gates let pass what must be kept.
#
# ## 5. Greedy, beam, and all there is
#
# To translate is to find the output with the largest probability, and there are $V^T$ of them. **Greedy** search takes
# the most probable sign at each step, and cannot go back:


# %%
def greedy(model, source, max_length):
    """What the model says, the most probable sign each time, without start (1) and end (2)."""
    said = []
    for _ in range(max_length):
        # BLANK: the scores after the start and all that was said; take the largest; stop at the end, else keep it
        logits = model.forward(np.array(source)[:, None], None, np.array([1, *said])[:, None], None)
        best = int(logits[-1, 0].argmax())
        if best == model.END_ID:
            break
        said.append(best)
        # END
    return said


# %%
for cell, word in itertools.product(models, test[0][:10]):
    assert (
        greedy(models[cell], word, 2 * LONGEST) == models[cell].translate(word, max_length=2 * LONGEST).tokens.tolist()
    )

# %% [markdown]
# (It computes every step anew; the library keeps the state, and takes one step for each sign.)
#
# **Beam search** keeps the $K$ best beginnings. The score is
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
# The beam of two as a tree. Each beginning goes on with five signs (E is the end); the two with the largest sum of
# $\log p$ stay (thick), and what ends leaves the beam with its mean as score (green).

# %%
STEPS = 4
fig, ax = plt.subplots(figsize=(10, 4.6), layout="constrained")
beam, ended = [((), 0.0, 0.5)], []  # a beginning, its sum of log p, and where it is drawn
for t in range(1, STEPS + 1):
    grown = []
    for tokens, sofar, at in beam:
        logits = tiny.forward(source[:, None], None, np.array([1, *tokens])[:, None], None)[-1, 0]
        grown += [(tokens + (sign,), sofar + value, at) for sign, value in enumerate(losses.log_softmax(logits))]
    kept = sorted(grown, key=lambda each: -each[1])[:2]
    places = np.linspace(1, 0, len(grown))
    beam = []
    for (tokens, total, came_from), place in zip(grown, places):
        stays = any(tokens == each[0] for each in kept)
        over = stays and tokens[-1] == 2
        colour = "tab:green" if over else "tab:red" if stays else "0.75"
        ax.plot([t - 0.8, t - 0.12], [came_from, place], color=colour, lw=2.5 if stays else 1)
        sign = "E" if tokens[-1] == 2 else str(tokens[-1])
        said = f"{sign}: {total / t:.3f}" if over else f"{sign}: {total:.2f}"
        ax.text(t - 0.08, place, said, va="center", color="black" if stays else "0.55", fontsize=9)
        if over:
            ended.append((tokens[:-1], total / t))
        elif stays:
            beam.append((tokens, total, place))
ax.set(xlim=(0.1, STEPS + 0.5), xticks=range(1, STEPS + 1), yticks=[], xlabel="step")
plt.show()
print("ended:", ended)
ahead = max(ended, key=lambda each: each[1])
np.testing.assert_allclose(ahead[1], tiny.translate(source, beam=2, max_length=4).score, rtol=1e-12)

# %% [markdown]
# ## Exercises
#
# `rs.teach.answer("11.1", value)` says whether the value that exercise 1 asks for in brackets is right; with the other
# numbers likewise.
#
# **1.** Why does reading the source from its *end* make translation between languages of about the same word order
# easier to learn (Sutskever et al. 2014), though the mean distance between a word and its translation stays the same?
# (`"11.1"`: how many of 20 words come nearer to their translation.)
#
# <details><summary>Solution</summary>
#
# Without reversal every pair is $S$ steps apart. With it the first words are 1, 3, 5, … steps apart: some are near, so
# that learning has where to begin. The mean of $1, 3, \dots, 2S - 1$ is $S$; of 20 words the first ten come nearer.
#
# ```python
# S = 20
# apart = np.arange(1, 2 * S, 2)
# assert apart.mean() == S and apart.size == S
# # answer 11.1: int((apart < S).sum())
# ```
# </details>
#
# **2.** A model says 50 signs, each right with probability 0.99 if all before it are right. With which probability is
# all of it right? What does that say about accuracies under teacher forcing? (`"11.2"`: that probability.)
#
# <details><summary>Solution</summary>
#
# $0.99^{50} \approx 0.605$. An accuracy by signs under teacher forcing is far above the share of outputs that are
# right.
#
# ```python
# assert abs(0.99**50 - 0.605) < 0.001
# # answer 11.2: 0.99**50
# ```
# </details>
#
# **3.** Under teacher forcing the decoder never reads its own mistakes. Scheduled sampling (`sampling=`) lets it. Check
# that a model that is sure of one sign then reads that sign. (`"11.3"`: the probability that it reads nothing but right
# signs in the five steps after the start, with `sampling=0.5`, if the sign that it is sure of is always wrong.)
#
# <details><summary>Solution</summary>
#
# At each of the five steps the right sign is read with probability 0.5: $0.5^5 = 0.03125$.
#
# ```python
# sure = rs.Seq2Seq(6, 6, 4, 4, sampling=0.5, seed=0)
# sure.params["dense.b"][4] = 1e4
# sure.call(np.full((2, 500), 3), None, np.full((6, 500), 5), None, train=True)
# share = (sure._read[1:] == 4).mean()
# assert 0.45 < share < 0.55 and (sure._read[0] == 5).all()
# untouched = (sure._read[1:] == 5).all(axis=0).mean()
# assert abs(untouched - 0.5**5) < 4 * np.sqrt(0.5**5 / 500)
# # answer 11.3: 0.5**5
# ```
# </details>
#
# **4.** Show that the sum of $\log p$ as score prefers a shorter output to a longer one whose every sign is more
# probable. (`"11.4"`: for two signs of $p = 0.5$ and for five of $p = 0.7$ first the two sums, then the two means, an
# array of two rows.)
#
# <details><summary>Solution</summary>
#
# Two signs of $p = 0.5$ have the sum $-1.39$, five of $p = 0.7$ have $-1.78$, but the means are $-0.69$ and $-0.36$.
#
# ```python
# short, long = np.log([0.5, 0.5]), np.log([0.7] * 5)
# assert short.sum() > long.sum() and short.mean() < long.mean()
# # answer 11.4: [[short.sum(), long.sum()], [short.mean(), long.mean()]]
# ```
# </details>
#
# ## Five questions
#
# **1.** How many products of Jacobians lie between the $k$-th letter and the step that says it, if a word of $S$
# letters is said backwards? And if it is said as it is?
#
# <details><summary>Answer</summary>
#
# $S - k + t$. Backwards letter $k$ is said at $t = S + 1 - k$: $2 (S - k) + 1$ products, from 1 for the last letter
# to $2S
# - 1$ for the first. As it is, $t = k$: always $S$. The mean is the same.
#
# ```python
# S = 12
# backwards = [S - k + (S + 1 - k) for k in range(1, S + 1)]
# assert backwards[0] == 2 * S - 1 and backwards[-1] == 1 and np.mean(backwards) == S
# ```
# </details>
#
# **2.** The end is a sign like any other. What do the probabilities of all outputs sum to?
#
# <details><summary>Answer</summary>
#
# To 1, with those that have not ended yet: here all of at most 4 signs and their end, and all beginnings of 5.
#
# ```python
# total = sum(np.exp((len(tokens) + 1) * score(tokens)) for tokens in everything)
# open_ = np.array(list(itertools.product([0, 1, 3, 4], repeat=5))).T
# read = np.concatenate([np.ones((1, 4**5), int), open_[:-1]])
# log_p = losses.log_softmax(tiny.forward(np.tile(source[:, None], 4**5), None, read, None))
# total += np.exp(np.take_along_axis(log_p, open_[:, :, None], axis=2).sum(axis=0)).sum()
# np.testing.assert_allclose(total, 1, rtol=1e-12)
# ```
# </details>
#
# **3.** Under teacher forcing one letter that the decoder reads is changed, at step 3. Which of its answers change?
#
# <details><summary>Answer</summary>
#
# Those at step 3 and after it: a step has read what came before and nothing else.
#
# ```python
# first, second = np.array([1, 3, 4, 3, 4]), np.array([1, 3, 0, 3, 4])
# one, two = (tiny.forward(source[:, None], None, each[:, None], None)[:, 0] for each in (first, second))
# assert (one[:2] == two[:2]).all() and (one[2:] != two[2:]).any(axis=1).all()
# ```
# </details>
#
# **4.** How many outputs of at most 4 signs are there with 4 signs besides the end? How many beginnings does a beam of
# 2 look at in 5 steps, at most?
#
# <details><summary>Answer</summary>
#
# $1 + 4 + 16 + 64 + 256 = 341$; and 5 in the first step, then $2 \cdot 5$ in each: 45.
#
# ```python
# assert len(everything) == sum(4**T for T in range(5)) == 341 and 5 + 4 * 2 * 5 == 45
# ```
# </details>
#
# **5.** All that the decoder knows of a source is one state. Two sources lead to the same state; what does that mean
# for the outputs? Build two, with weights of your own.
#
# <details><summary>Answer</summary>
#
# They have the same probabilities, whatever the decoder has learned. With $U = 0$ the encoder knows its last letter
# only:
#
# ```python
# blind = rs.Seq2Seq(6, 6, 4, 4, cell="rnn", bidirectional=False, dtype="float64", seed=0)
# blind.params["encoder.U_l0"][...] = 0
# says = [blind.forward(np.array([[a], [5]]), None, np.array([[1], [3]]), None) for a in (3, 4)]
# np.testing.assert_array_equal(*says)
# ```
# </details>
#
# ## Read on
#
# - K. Cho et al., *Learning phrase representations using RNN encoder-decoder for statistical machine translation*,
#   EMNLP 2014 (arXiv 1406.1078): the encoder–decoder, and the GRU.
# - I. Sutskever, O. Vinyals, Q. V. Le, *Sequence to sequence learning with neural networks*, NIPS 2014 (arXiv
#   1409.3215): deep LSTMs, the source read from its end.
# - R. J. Williams, D. Zipser, *A learning algorithm for continually running fully recurrent neural networks*, Neural
#   Computation 1989: teacher forcing.
# - S. Bengio, O. Vinyals, N. Jaitly, N. Shazeer, *Scheduled sampling for sequence prediction with recurrent neural
#   networks*, NIPS 2015 (arXiv 1506.03099).
# - Y. Wu et al., *Google's neural machine translation system*, 2016 (arXiv 1609.08144): beams, and scores by length.
