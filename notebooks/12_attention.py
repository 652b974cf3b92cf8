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
# # 12. Attention
#
# In notebook 11 all of a source had to pass through one vector. Attention lets the decoder look at every step of the
# encoder, each time it says something, and learn where. This notebook derives its backward pass path by path, checks
# each number, trains it, shows where it looks, and asks whether that explains anything.
#
# - **Time**: about two and a half hours with the exercises; the machine needs two minutes.
# - **You need** notebook 11 (the encoder–decoder) and notebook 9, section 2 (the softmax's gradient).
# - **Afterwards you can** write attention forward and back, with the Jacobian of the softmax; cut off padding where it
#   must be cut off; say by which way, and how large, a gradient reaches the first word; read a picture of weights, and
#   test what it seems to say.
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

from rnnscratch import training
from rnnscratch.experiments import translation
from rnnscratch.kernels import attention, losses
from rnnscratch.text import PairBatches

# %% [markdown]
# ## 1. A mean that is learned
#
# The decoder's state $q$ (the **query**) is compared with what each step of the encoder offers, $k_s$ (its **key**),
# and gets the mean of what they hold, $v_s$ (the **values**; here keys are a matrix times values), weighed by the
# softmax of the scores:
#
# $$e_s = q \cdot k_s, \qquad a_s = \frac{e^{e_s}}{\sum_r e^{e_r}}, \qquad c = \sum_s a_s v_s$$
#
# ($c$ is the context here, not the cell of an LSTM.) A mean, so it does not matter how long the source is; and
# differentiable, so that where to look is learned like all else (Bahdanau et al. 2015, arXiv 1409.0473; Luong et al.
# 2015, arXiv 1508.04025). The decoder says what it says from $q$ and $c$ together, $\tanh([q\; c] W + b)$. With one
# number each:

# %%
q, k, v = 0.8, np.array([1.0, -0.5, 0.3]), np.array([0.2, 1.0, -0.6])
# BLANK: the scores e, the weights a and the context c
e = q * k
a = np.exp(e) / np.exp(e).sum()
c = a @ v
# END
print("scores ", e.round(6))
print("weights", a.round(6), "sum", a.sum())
print(f"context {c:.6f}")

# %%
context, weights, cache = attention.dot_forward(
    np.array(q).reshape(1, 1, 1), k.reshape(3, 1, 1), v.reshape(3, 1, 1)
)  # (T, B, A), (S, B, A), (S, B, M)
np.testing.assert_allclose(weights.ravel(), a, rtol=1e-15)
np.testing.assert_allclose(context.item(), c, rtol=1e-15)

# %% [markdown]
# ## 2. All paths
#
# Let $\bar c$ be the gradient that reaches the context. To the values there is one path each: $\bar v_s = a_s \bar c$.
# To a *score* there are as many as there are weights, for the softmax divides by the sum of all:
#
# $$\frac{\partial a_r}{\partial e_s} = a_r (\delta_{rs} - a_s) \qquad\Rightarrow\qquad \bar e_s = \sum_r \bar a_r\, a_r
# (\delta_{rs} - a_s) = a_s \Big(\bar a_s - \sum_r a_r \bar a_r\Big), \qquad \bar a_r = \bar c\, v_r$$
#
# A score rises where what it points to is better than the mean of what is being looked at. The paths one by one, from
# each score through each weight:

# %%
dc = 1.5
paths = np.zeros((3, 3))
for s, r in itertools.product(range(3), repeat=2):
    # BLANK: what comes from dc to score s through weight r: the gradient of the weight, times da_r / de_s
    paths[s, r] = dc * v[r] * a[r] * ((r == s) - a[s])
    # END
for s in range(3):
    terms = "  ".join(f"through a_{r + 1}: {paths[s, r]:+.6f}" for r in range(3))
    print(f"e_{s + 1}: {terms}   sum {paths[s].sum():+.6f}")
de = paths.sum(axis=1)
print(f"the sum over all scores is {de.sum():+.1e}: moving all of them together changes nothing")

# %%
np.testing.assert_allclose(de, a * (dc * v - (a * dc * v).sum()), rtol=1e-13, atol=1e-16)
for s in range(3):  # the complex step of notebook 2
    moved = e.astype(complex)
    moved[s] += 1e-200j
    context_of = (np.exp(moved) / np.exp(moved).sum()) @ v
    np.testing.assert_allclose(de[s], dc * context_of.imag / 1e-200, rtol=1e-12)

# %% [markdown]
# From the scores it is a product like any other: $\bar q = \sum_s \bar e_s k_s$ (the query has a path through every
# score), $\bar k_s = \bar e_s q$.

# %%
dq, dk, dv = de @ k, de * q, a * dc
found = attention.dot_backward(cache, np.array(dc).reshape(1, 1, 1))
for name, mine, theirs in zip(("q", "k", "v"), (dq, dk, dv), found):
    np.testing.assert_allclose(theirs.ravel(), np.ravel(mine), rtol=1e-13)
    print(f"d{name} = {np.round(mine, 6)}")

# %% [markdown]
# In one picture: forward in black, the lines as wide as the weights; in red what comes back, to the scores (with the
# paths through all weights) and to the values.

# %%
fig, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
boxes = {"ha": "center", "va": "center", "bbox": {"boxstyle": "round", "fc": "w", "ec": "tab:blue"}}
for s in range(3):
    at = 3.0 * s
    line, beside = at + 0.2 * (3 - at), 0.12 if s == 1 else 0.4
    ax.plot([at, 3], [0.95, 0.12], color="black", lw=1 + 8 * a[s], alpha=0.35, zorder=0)
    ax.text(at, 1.05, f"$k_{s + 1}$ = {k[s]:+.2f}   $v_{s + 1}$ = {v[s]:+.2f}", **boxes)
    ax.text(line - beside, 0.78, f"$e_{s + 1}$ = {e[s]:+.3f}\n$a_{s + 1}$ = {a[s]:.3f}", ha="right", va="center")
    back = f"$\\bar e_{s + 1}$ = {de[s]:+.3f}\n$\\bar v_{s + 1}$ = {dv[s]:+.3f}"
    ax.text(line + beside, 0.78, back, ha="left", va="center", color="tab:red")
ax.text(3, 0, f"$c$ = {c:+.3f}", **boxes)
ax.text(3.6, 0, f"$\\bar c$ = {dc:+.1f}", ha="left", va="center", color="tab:red")
ax.text(-0.6, 0, f"query $q$ = {q}", ha="left", va="center")
ax.text(-0.6, -0.16, f"$\\bar q$ = {dq:+.3f}", ha="left", va="center", color="tab:red")
ax.set(xlim=(-1, 7), ylim=(-0.25, 1.2))
ax.axis("off")
plt.show()

# %% [markdown]
# **The whole**, for $T$ queries (rows of `q`), $S$ keys and values, as matrices. Each weight belongs to one query and
# one step: $e = q k^\top$ has the shape $(T, S)$, the softmax goes along its rows, $c = a v$. Backward, line by line
# in reverse:


# %%
def attend(q, k, v):
    """q (T, A), k (S, A), v (S, M) -> the contexts (T, M), and the way back."""
    e = q @ k.T
    e = np.exp(e - e.real.max(axis=1, keepdims=True))
    a = e / e.sum(axis=1, keepdims=True)

    def back(dc):
        # BLANK: dv and da from c = a v; de by the softmax's Jacobian; dq and dk from e = q k^T
        dv, da = a.T @ dc, dc @ v.T
        de = a * (da - (a * da).sum(axis=1, keepdims=True))
        dq, dk = de @ k, de.T @ q
        # END
        return dq, dk, dv

    return a @ v, back


# %%
rng = np.random.default_rng(0)
three = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
upstream = rng.standard_normal((2, 5))
context, _, cache = attention.dot_forward(*(each[:, None] for each in three))  # a batch of one
np.testing.assert_allclose(attend(*three)[0], context[:, 0], rtol=1e-13)
for mine, theirs in zip(attend(*three)[1](upstream), attention.dot_backward(cache, upstream[:, None])):
    np.testing.assert_allclose(mine, theirs[:, 0], rtol=1e-11, atol=1e-15)
report = rs.check_gradients(attend, *three)
print(report)
assert report.ok

# %% [markdown]
# **Additive** attention (Bahdanau's) scores by a small network, $e_s = w \cdot \tanh(q + k_s)$; only the last lines
# change, by the slope of the tanh (Eq. 27): $\bar z_s = \bar e_s\, w \odot (1 - \tanh^2 z_s)$ with $z_s = q + k_s$,
# so $\bar q = \sum_s \bar z_s$, $\bar k_s = \bar z_s$, $\bar w = \sum_s \bar e_s \tanh z_s$:

# %%
w = 1.7
u = np.tanh(q + k)
a2 = np.exp(w * u) / np.exp(w * u).sum()
de2 = a2 * (dc * v - (a2 * dc * v).sum())
dz = de2 * w * (1 - u**2)
context, _, cache = attention.additive_forward(
    np.array(q).reshape(1, 1, 1), k.reshape(3, 1, 1), v.reshape(3, 1, 1), np.array([w])
)
for name, mine, theirs in zip(
    ("q", "k", "v", "w"),
    (dz.sum(), dz, a2 * dc, de2 @ u),
    attention.additive_backward(cache, np.array(dc).reshape(1, 1, 1)),
):
    np.testing.assert_allclose(theirs.ravel(), np.ravel(mine), rtol=1e-13)
    print(f"d{name} = {np.round(mine, 6)}")

# %% [markdown]
# **Padding.** In a batch, sources are of different lengths, and what lies past an end must have weight zero. It must be
# cut off *before* the softmax, by a score of $-\infty$. Cut off after it, the weights of the real steps no longer sum
# to 1, and what the padding holds matters:

# %%
query, keys = rng.standard_normal((1, 1, 4)), rng.standard_normal((5, 1, 4))
for padding in (0.0, 3.0):
    keys[3:] = padding  # past the end: the source has 3 steps
    _, right, _ = attention.dot_forward(query, keys, keys, lengths=[3])
    wrong = losses.softmax(keys[:, 0] @ query[0, 0]) * (np.arange(5) < 3)
    print(f"padding {padding}: weights {right.ravel().round(3)}, cut off after the softmax {wrong.round(3)}")
    np.testing.assert_allclose(right.sum(), 1, rtol=1e-14)
    assert wrong.sum() < 0.9 and not right[..., 3:].any()

# %% [markdown]
# ## 3. The bottleneck opens
#
# **By which way the gradient comes.** In notebook 11 it went through every step between the last letter said and the
# first letter read. Attention adds a way of one step, $\bar h_s \mathrel{+}= a_s \bar c$, from every step of the
# decoder to every step of the encoder. Before anything is learned, with an encoder that reads in one direction: the
# loss of the last letter of words of 20, and what of its gradient reaches each letter of the source (the first is the
# answer).

# %%
letters, n, count = 12, 20, 100
probe = rng.integers(3, 3 + letters, (n, count))
own_rows = np.arange(n * count).reshape(n, count)  # each letter of each word has a row of the embedding to itself


def by_letter(kind, seed):
    """The mean norm of that gradient at each letter (n,)."""
    start = rs.Seq2Seq(3 + letters, 3 + letters, 24, 64, cell="gru", attention=kind, bidirectional=False, seed=seed)
    twin = rs.Seq2Seq(**{**start.config(), "source_size": n * count}, seed=0)
    twin.load_params({**start.params, "source_embedding.E": start.params["source_embedding.E"][probe.reshape(-1)]})
    target_in = np.concatenate([np.ones((1, count), int), probe[::-1]])
    logits = twin.forward(own_rows, None, target_in, None)
    dlogits = np.zeros_like(logits)
    dlogits[n - 1] = twin.loss(logits[n - 1], probe[0])[1] * count
    twin.backward(dlogits)
    return np.linalg.norm(twin.grads["source_embedding.E"], axis=1).reshape(n, count).mean(axis=1)


fig, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for colour, (kind, marker) in enumerate(((None, "o"), ("dot", "s"), ("additive", "^"))):
    norms = np.array([by_letter(kind, seed) for seed in range(5)])
    for k, each in enumerate(norms):
        label = None if k else f"attention: {kind}"
        ax.plot(range(1, n + 1), each, marker=marker, ms=3, color=f"C{colour}", alpha=0.6, label=label)
    shares = norms[:, 0] / norms[:, -1]
    print(f"attention {kind!s:<9} first letter against last: " + ", ".join(f"{share:.3f}" for share in shares))
    assert (shares < 0.01).all() if kind is None else (shares > 1).all()
ax.set(xlabel="letter of the source", ylabel="norm of the gradient", yscale="log", xticks=[1, 5, 10, 15, 20])
ax.legend()
plt.show()

# %% [markdown]
# With each of five seeds: without attention the first letter gets less than a hundredth of what the last one gets; with
# it, more than the last one. Does that help? Words of up to 12 letters, said backwards, in a small
# network and after a short training:


# %%
def words(count, rng, shortest=1, longest=12):
    """Random words, and what is to be said: the same backwards."""
    found = [rng.integers(3, 3 + letters, rng.integers(shortest, longest + 1)) for _ in range(count)]
    return found, [word[::-1] for word in found]


def share_right(model, pairs):
    """The share of words that the model says without a mistake."""
    said = model.translate_batch(pairs[0], max_length=2 * max(map(len, pairs[0])))
    return float(np.mean([np.array_equal(one.tokens, target) for one, target in zip(said, pairs[1])]))


shares = {None: [], "dot": []}
for seed in range(2 if QUICK else 5):
    own = np.random.default_rng(seed)
    train, test = words(300 if QUICK else 6000, own), words(40 if QUICK else 400, own)
    for kind, found in shares.items():
        model = rs.Seq2Seq(3 + letters, 3 + letters, 24, 32, cell="gru", attention=kind, seed=seed)
        epochs = 1 if QUICK else 4
        training.fit(model, train, optimizer=rs.Adam(0.01), epochs=epochs, clip_norm=1.0, seed=seed, progress=False)
        found.append(share_right(model, test))
for kind, found in shares.items():
    print(f"attention {kind!s:<4} words all right: " + ", ".join(f"{share:.1%}" for share in found))
if not QUICK:
    assert min(shares["dot"]) > max(shares[None])

# %% [markdown]
# The worst of five with attention is better than the best of five without. Now longer words, larger networks, both
# kinds of attention, and one seed each:

# %%
LONGEST = 16
train, test = words(300 if QUICK else 15_000, rng, 1, LONGEST), words(60 if QUICK else 1_500, rng, 1, LONGEST)
EPOCHS, HIDDEN = (1, 8) if QUICK else (6, 64)
models = {}
for kind in (None, "dot", "additive"):
    models[kind] = rs.Seq2Seq(3 + letters, 3 + letters, 24, HIDDEN, cell="gru", attention=kind, seed=0)
    history = training.fit(
        models[kind],
        train,
        test,
        optimizer=rs.Adam(),
        schedule=rs.optimizers.cosine_schedule(0.005, EPOCHS * -(-len(train[0]) // 64)),
        epochs=EPOCHS,
        clip_norm=1.0,
        progress=False,
    )
    print(
        f"attention {kind!s:<9} {share_right(models[kind], test):6.1%} of new words all right, "
        f"{sum(history['seconds']):.0f} s"
    )

# %%
longer = range(1, LONGEST + 9)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for kind, style in ((None, "o--"), ("dot", "s-"), ("additive", "^:")):
    shares = [share_right(models[kind], words(10 if QUICK else 100, rng, n, n)) for n in longer]
    ax.plot(longer, shares, style, label=f"attention: {kind}")
ax.axvline(LONGEST + 0.5, color="0.6", lw=1)
ax.set(xlabel="letters (none of the training words is longer than the line says)", ylabel="share of words all right")
ax.legend()
plt.show()

# %% [markdown]
# In this run: inside the lengths that were learned, attention needs no room to store the word. Beyond them both fail,
# sooner or later: what to look at next was learned for these lengths too.
#
# **How it learns to look.** The weights while the longest word of the test is said, at the start and after each sixth
# of a pass over the training words:


# %%
class Portions(PairBatches):
    """A sixth of all batches, drawn anew, at each pass."""

    def __len__(self):
        return (super().__len__() + 5) // 6

    def __iter__(self):
        return itertools.islice(super().__iter__(), len(self))


watched = test[0][int(np.argmax([len(word) for word in test[0]]))]
looks = []


def watch(model, row):
    """Where the model looks as it says the right letters."""
    target_in = np.array([1, *watched[::-1]])[:, None]
    looks.append(model.call(watched[:, None], None, target_in, None)[0][1][:, 0])


learner = rs.Seq2Seq(3 + letters, 3 + letters, 24, HIDDEN, cell="gru", attention="dot", seed=0)
watch(learner, None)
training.fit(
    learner,
    Portions(*train, shuffle=True, seed=0),
    optimizer=rs.Adam(0.005),
    epochs=4 if QUICK else 15,
    clip_norm=1.0,
    callbacks=[watch],
    progress=False,
)
entropy = [float(-(each * np.log(each + 1e-12)).sum(axis=1).mean()) for each in looks]
print(f"entropy of the weights, nats (even: {np.log(len(watched)):.2f}): " + ", ".join(f"{h:.2f}" for h in entropy))
shown = sorted({0, len(looks) // 4, len(looks) // 2, len(looks) - 1})
corners = (0.5, len(watched) + 0.5, len(watched) + 1.5, 0.5)  # steps are counted from 1
fig, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), layout="constrained", squeeze=False)
for ax, frame in zip(axes[0], shown):
    ax.imshow(looks[frame], cmap="cividis_r", vmin=0, vmax=1, extent=corners)
    ax.set(title=f"after {frame} sixths of a pass", xlabel="read", ylabel="said" if ax is axes[0][0] else "")
    ax.set(xticks=[1, 4, 8, 12, 16], yticks=[1, 4, 8, 12, 16])
plt.show()

# %% [markdown]
# The same as a film (move the slider; it works without a kernel):

# %%
fig, ax = plt.subplots(figsize=(4, 4), dpi=72, layout="constrained")
image = ax.imshow(looks[0], cmap="cividis_r", vmin=0, vmax=1, extent=corners)
ax.set(xlabel="read", ylabel="said")


def film(frame):
    image.set_data(looks[frame])
    ax.set_title(f"after {frame} sixths: entropy {entropy[frame]:.2f} nats")


slider = HTML(FuncAnimation(fig, film, len(looks)).to_jshtml(default_mode="once"))
plt.close(fig)
slider

# %% [markdown]
# ## 4. Something useful: dates
#
# Dates as people write them, in three dozen forms, to the one of ISO 8601. The test has other days, and a second test
# forms that were never seen as a whole.

# %%
task = translation.dates(500 if QUICK else 12_000, 50 if QUICK else 500, np.random.default_rng(1))
vocabularies = translation.vocabularies(task.train)
options = translation.Options(embedding=24, hidden=HIDDEN, epochs=1 if QUICK else 5)
result = translation.learn(task, vocabularies, "gru", "dot", options, progress=False)
print({name: f"{result.row[name]:.1%}" for name in ("exact", "in forms never seen")}, f"{result.row['seconds']:.0f} s")
for text in ("Sunday, 5th of March 1950", "12.11.2031", "the 3rd of August, 1999"):
    found = result.model.translate(vocabularies.source.encode(list(text)), beam=3, max_length=15)
    print(f"{text} -> {''.join(vocabularies.target.decode(found.tokens))}")

# %%
chosen = "Saturday, 28th of February 2015"
found = result.model.translate(vocabularies.source.encode(list(chosen)), max_length=15)
said = vocabularies.target.decode(found.tokens)
ax = rs.plots.attention(found.attention, list(chosen), said)
ax.figure

# %% [markdown]
# ## 5. Is where it looks the reason?
#
# A weight says from where something was *fetched*. But what stands there, a state of a network that reads both ways,
# knows of its neighbours too. So ask directly: put the unknown sign in the place of one character of the source, and
# see how much less probable the right output becomes. Beside it, the weights:

# %%
ids = vocabularies.source.encode(list(chosen))
target_in, target_out = np.array([1, *found.tokens]), np.array([*found.tokens, 2])


def log_p(source):
    """Of each sign of the output."""
    logits = result.model.forward(source[:, None], None, target_in[:, None], None)[:, 0]
    return losses.log_softmax(logits)[np.arange(len(target_out)), target_out]


whole, harm = log_p(ids), np.zeros((len(said), len(ids)))
for place in range(len(ids)):
    occluded = ids.copy()
    occluded[place] = 0
    harm[:, place] = (whole - log_p(occluded))[:-1]
fig, axes = plt.subplots(2, 1, figsize=(10, 5.4), layout="constrained")
for ax, values, title in (
    (axes[0], found.attention, "attention weights"),
    (axes[1], np.maximum(harm, 0), "harm done by covering a character (nats)"),
):
    image = ax.imshow(values, cmap="cividis_r", aspect="auto")
    ax.set(title=title, yticks=range(len(said)), xticks=range(len(chosen)))
    ax.set_yticklabels(said)
    ax.set_xticklabels(list(chosen))
    fig.colorbar(image, ax=ax)
plt.show()
same = np.corrcoef(found.attention.ravel(), harm.ravel())[0, 1]
most = np.mean(found.attention.argmax(axis=1) == harm.argmax(axis=1))
print(f"correlation of the two {same:.2f}; they agree on the most important character for {most:.0%} of the signs")

# %% [markdown]
# In this run, for this date, they are related and not the same. Attention is a good picture of the machine's work; as
# an explanation of an answer it is a hypothesis, which covering, as here, can test.
#
# ## Exercises
#
# `rs.teach.answer("12.1", value)` says whether the value that exercise 1 asks for in brackets is right; with the other
# numbers likewise.
#
# **1.** Show that adding a number to all scores of a query changes neither weights nor gradients. Why does that mean
# that a bias in the keys of dot attention would never learn anything? (`"12.1"`: the gradient of a bias that is added
# to all three keys of section 1.)
#
# <details><summary>Solution</summary>
#
# The softmax is that of differences. A bias $\beta$ of the keys adds $q \cdot \beta$ to all scores of a query; its
# gradient, $\sum_s \bar k_s = q \sum_s \bar e_s$, is 0.
#
# ```python
# keys, query = rng.standard_normal((4, 1, 3)), rng.standard_normal((2, 1, 3))
# values, beta = rng.standard_normal((4, 1, 5)), rng.standard_normal(3)
# first, _, cache = attention.dot_forward(query, keys, values)
# second, _, _ = attention.dot_forward(query, keys + beta, values)
# np.testing.assert_allclose(first, second, rtol=1e-12)
# _, dkeys, _ = attention.dot_backward(cache, rng.standard_normal(first.shape))
# np.testing.assert_allclose((dkeys.sum(axis=0) @ beta), 0, atol=1e-12)
# np.testing.assert_allclose(dk.sum(), 0, atol=1e-14)
# # answer 12.1: 0.0
# ```
# </details>
#
# **2.** What are the weights of a source of one step, and what is the gradient of its score? (`"12.2"`: the two.)
#
# <details><summary>Solution</summary>
#
# 1, whatever the score; so its gradient is 0.
#
# ```python
# one = rng.standard_normal((1, 1, 3))
# _, weights, cache = attention.dot_forward(one, one, one)
# dq, dk, _ = attention.dot_backward(cache, np.ones((1, 1, 3)))
# assert weights.item() == 1 and not dq.any() and not dk.any()
# # answer 12.2: [1, 0]
# ```
# </details>
#
# **3.** Scores grow with the number $A$ of entries: if those of $q$ and $k$ are independent with variance 1, that of $q
# \cdot k$ is $A$. What does that do to the softmax and its gradient, and what is the remedy? (`"12.3"`: with two steps,
# $\partial a_1 / \partial e_1$ where the scores are one standard deviation apart, for $A = 4$ and for $A = 400$.)
#
# <details><summary>Solution</summary>
#
# One weight comes near 1, the others near 0, and $a_s (\bar a_s - \dots)$ vanishes: the softmax is saturated. Vaswani
# et al. (2017) divide the scores by $\sqrt A$; with a learned matrix in the keys, as here, training finds the scale.
# With two steps whose scores are $d = \sqrt A$ apart it is $a_1 (1 - a_1) = \sigma(d) \sigma(-d)$: 0.105, and
# $2 \cdot 10^{-9}$.
#
# ```python
# sizes = []
# for A in (4, 400):
#     query, keys = rng.standard_normal((1, 200, A)), rng.standard_normal((6, 200, A))
#     values = rng.standard_normal((6, 200, 3))
#     _, _, cache = attention.dot_forward(query, keys, values)
#     a = cache.weights
#     da = rng.standard_normal(a.shape)
#     sizes.append(np.abs(a * (da - (a * da).sum(axis=2, keepdims=True))).mean())
# assert sizes[1] < 0.5 * sizes[0]
# a_1, a_2 = losses.softmax(np.array([[2.0, 0.0], [20.0, 0.0]])).T
# np.testing.assert_allclose(a_1 * a_2, [0.105, 2.06e-9], rtol=1e-3)
# # answer 12.3: a_1 * a_2
# ```
# </details>
#
# **4.** The third step of section 1 is padding. What are the gradients of the three scores now, with the same upstream
# gradient $\bar c = 1.5$? Which of them would be wrong if the weight of the padding were set to 0 after the softmax?
# (`"12.4"`: the three gradients.)
#
# <details><summary>Solution</summary>
#
# The softmax goes over two steps, $a = (0.769, 0.231, 0)$: $\bar e_1 = -\bar e_2 = 1.5\, a_1 a_2 (v_1 - v_2) = -0.213$,
# and 0 for the third. Cut off afterwards, all three would be wrong: each weight still depends on the score of the
# padding, and so that score would have a gradient too.
#
# ```python
# inputs = [np.reshape(each, (-1, 1, 1)) for each in (0.8, [1.0, -0.5, 0.3], [0.2, 1.0, -0.6])]
# _, weights, cache = attention.dot_forward(*inputs, lengths=[2])
# _, dkeys, _ = attention.dot_backward(cache, np.full((1, 1, 1), 1.5))
# a_ = losses.softmax(np.array([0.8, -0.4]))
# dscores = np.array([1.5 * a_[0] * a_[1] * (0.2 - 1.0), -1.5 * a_[0] * a_[1] * (0.2 - 1.0), 0])
# np.testing.assert_allclose(dkeys.ravel(), dscores * 0.8, rtol=1e-12, atol=1e-15)
# late = losses.softmax(np.array([0.8, -0.4, 0.24]))
# dlate = late * (1.5 * np.array([0.2, 1.0, 0]) - 1.5 * (late[:2] @ [0.2, 1.0]))
# assert (np.abs(dlate - dscores) > 0.01).all()
# # answer 12.4: dscores
# ```
# </details>
#
# ## Five questions
#
# **1.** Weights of 0.5, 0.3 and 0.2 and values of 1, 0 and 5. Which score's gradient is positive (for $\bar c = 1$)?
#
# <details><summary>Answer</summary>
#
# The context is 1.5. Only the third value is above it: $\bar e = a (v - c) = (-0.25, -0.45, 0.7)$.
#
# ```python
# a_, v_ = np.array([0.5, 0.3, 0.2]), np.array([1.0, 0.0, 5.0])
# np.testing.assert_allclose(a_ * (v_ - a_ @ v_), [-0.25, -0.45, 0.7])
# ```
# </details>
#
# **2.** A hand-written backward computes the keys' gradient with the last query only. Which check does not see it?
#
# <details><summary>Answer</summary>
#
# One with a single query: $T = 1$. A key is used by every query, so its gradient is a sum over them.
#
# ```python
# def forgetful(q, k, v):
#     context, back = attend(q, k, v)
#
#     def wrong(dc):
#         last = attend(q[-1:], k, v)[1](dc[-1:])[1]
#         dq, _, dv = back(dc)
#         return dq, last, dv
#
#     return context, wrong
#
# q_, k_, v_ = (np.random.default_rng(0).standard_normal(shape) for shape in ((2, 3), (4, 3), (4, 5)))
# assert rs.check_gradients(forgetful, q_[:1], k_, v_).ok and not rs.check_gradients(forgetful, q_, k_, v_).ok
# ```
# </details>
#
# **3.** The source's steps are put in another order, keys and values together. What happens to the context?
#
# <details><summary>Answer</summary>
#
# Nothing: attention is a sum over a set. What knows of order is the encoder.
#
# ```python
# order = np.random.default_rng(0).permutation(4)
# np.testing.assert_allclose(attend(q_, k_[order], v_[order])[0], attend(q_, k_, v_)[0], rtol=1e-12)
# ```
# </details>
#
# **4.** Where can the context lie, if the values are given? Say it for one number each.
#
# <details><summary>Answer</summary>
#
# Between the smallest and the largest value: a mean with weights above 0 that sum to 1.
#
# ```python
# for seed in range(5):
#     r = np.random.default_rng(seed)
#     some = attend(3 * r.standard_normal((6, 3)), k_, v_)[0]
#     assert (some > v_.min(axis=0)).all() and (some < v_.max(axis=0)).all()
# ```
# </details>
#
# **5.** How many scores are computed for a source of $S$ steps and an output of $T$? What grows with them?
#
# <details><summary>Answer</summary>
#
# $T S$, of $A$ products each, and as many weights are kept for the way back. A recurrent step costs the same however
# long the source is; a step of attention costs $S$.
#
# ```python
# assert attention.dot_forward(np.ones((7, 1, 3)), np.ones((5, 1, 3)), np.ones((5, 1, 2)))[1].size == 7 * 5
# ```
# </details>
#
# ## Read on
#
# - D. Bahdanau, K. Cho, Y. Bengio, *Neural machine translation by jointly learning to align and translate*, ICLR 2015
#   (arXiv 1409.0473): additive attention.
# - M.-T. Luong, H. Pham, C. D. Manning, *Effective approaches to attention-based neural machine translation*, EMNLP
#   2015 (arXiv 1508.04025): dot attention and its relatives.
# - A. Vaswani et al., *Attention is all you need*, NIPS 2017 (arXiv 1706.03762): without recurrence.
# - S. Jain, B. C. Wallace, *Attention is not explanation*, NAACL 2019 (arXiv 1902.10186), and S. Wiegreffe, Y. Pinter,
#   *Attention is not not explanation*, EMNLP 2019 (arXiv 1908.04626): section 5, at length.
