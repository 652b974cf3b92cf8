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
# each number, trains it, shows where it looks, and asks whether that explains anything. You need notebook 11.

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
from rnnscratch import training
from rnnscratch.experiments import translation
from rnnscratch.kernels import attention, losses

# %% [markdown]
# ## 1. A mean that is learned
#
# The decoder's state $q$ (the **query**) is compared with what each step of the encoder offers, $k_s$ (its **key**),
# and gets the mean of what they hold, $v_s$ (the **values**; here keys are a matrix times values), weighed by the
# softmax of the scores:
#
# $$e_s = q \cdot k_s, \qquad a_s = \frac{e^{e_s}}{\sum_r e^{e_r}}, \qquad c = \sum_s a_s v_s$$
#
# A mean, so it does not matter how long the source is; and differentiable, so that where to look is learned like all
# else (Bahdanau et al. 2015, arXiv 1409.0473; Luong et al. 2015, arXiv 1508.04025). The decoder says what it says
# from $q$ and $c$ together, $\tanh([q\; c] W + b)$. With one number each:

# %%
q, k, v = 0.8, np.array([1.0, -0.5, 0.3]), np.array([0.2, 1.0, -0.6])
e = q * k
a = np.exp(e) / np.exp(e).sum()
c = a @ v
print("scores ", e.round(6))
print("weights", a.round(6), "sum", a.sum())
print(f"context {c:.6f}")

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
paths = np.array([[dc * v[r] * a[r] * ((r == s) - a[s]) for r in range(3)] for s in range(3)])
for s in range(3):
    terms = "  ".join(f"through a_{r + 1}: {paths[s, r]:+.6f}" for r in range(3))
    print(f"e_{s + 1}: {terms}   sum {paths[s].sum():+.6f}")
de = paths.sum(axis=1)
np.testing.assert_allclose(de, a * (dc * v - (a * dc * v).sum()), rtol=1e-13, atol=1e-16)
print(f"the sum over all scores is {de.sum():+.1e}: moving all of them together changes nothing")

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
rng = np.random.default_rng(0)
query, keys = rng.standard_normal((1, 1, 4)), rng.standard_normal((5, 1, 4))
for padding in (0.0, 3.0):
    keys[3:] = padding  # past the end: the source has 3 steps
    _, right, _ = attention.dot_forward(query, keys, keys, lengths=[3])
    wrong = losses.softmax(keys[:, 0] @ query[0, 0]) * (np.arange(5) < 3)
    print(f"padding {padding}: weights {right.ravel().round(3)}, cut off after the softmax {wrong.round(3)}")

# %% [markdown]
# ## 3. The bottleneck opens
#
# The words of notebook 11, said backwards, without attention and with each of the two kinds:

# %%
LONGEST = 16
letters = 12


def words(count, shortest=1, longest=LONGEST):
    found = [rng.integers(3, 3 + letters, rng.integers(shortest, longest + 1)) for _ in range(count)]
    return found, [word[::-1] for word in found]


train, test = words(300 if QUICK else 15_000), words(60 if QUICK else 1_500)
EPOCHS, HIDDEN = (1, 8) if QUICK else (6, 64)
models, looks = {}, []
watched = test[0][int(np.argmax([len(word) for word in test[0]]))]


def watch(model, row):
    """Where the model looks as it says the right letters."""
    target_in = np.array([1, *watched[::-1]])[:, None]
    looks.append(model.call(watched[:, None], None, target_in, None)[0][1][:, 0])


for kind in (None, "dot", "additive"):
    models[kind] = rs.Seq2Seq(3 + letters, 3 + letters, 24, HIDDEN, cell="gru", attention=kind, seed=0)
    if kind == "dot":
        watch(models[kind], None)
    history = training.fit(
        models[kind],
        train,
        test,
        optimizer=rs.Adam(),
        schedule=rs.optimizers.cosine_schedule(0.005, EPOCHS * -(-len(train[0]) // 64)),
        epochs=EPOCHS,
        clip_norm=1.0,
        callbacks=[watch] if kind == "dot" else [],
        progress=False,
    )
    said = models[kind].translate_batch(test[0], max_length=2 * LONGEST)
    right = np.array([np.array_equal(one.tokens, target) for one, target in zip(said, test[1])])
    print(f"attention {kind!s:<9} {right.mean():6.1%} of new words all right, {sum(history['seconds']):.0f} s")

# %%
longer = range(1, LONGEST + 9)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for kind, style in ((None, "o--"), ("dot", "s-"), ("additive", "^:")):
    shares = []
    for n in longer:
        sources, targets = words(10 if QUICK else 100, n, n)
        said = models[kind].translate_batch(sources, max_length=2 * n)
        shares.append(np.mean([np.array_equal(one.tokens, target) for one, target in zip(said, targets)]))
    ax.plot(longer, shares, style, label=f"attention: {kind}")
ax.axvline(LONGEST + 0.5, color="0.6", lw=1)
ax.set(xlabel="letters (none of the training words is longer than the line says)", ylabel="share of words all right")
ax.legend()
plt.show()

# %% [markdown]
# Inside the lengths that were learned, attention needs no room to store the word. Beyond them both fail, sooner or
# later: what to look at next was learned for these lengths too.
#
# **How it learns to look.** The weights as the longest word of the test is said, before learning and after the epochs:

# %%
shown = sorted({0, min(1, len(looks) - 1), min(2, len(looks) - 1), len(looks) - 1})
fig, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), layout="constrained", squeeze=False)
for ax, epoch in zip(axes[0], shown):
    ax.imshow(looks[epoch], cmap="cividis_r", vmin=0, vmax=1)
    ax.set(title=f"after {epoch} epochs", xlabel="read", ylabel="said" if ax is axes[0][0] else "")
plt.show()
entropy = [float(-(each * np.log(each + 1e-12)).sum(axis=1).mean()) for each in looks]
print(
    "entropy of the weights, nats: " + ", ".join(f"{value:.2f}" for value in entropy),
    f"(even: {np.log(len(watched)):.2f})",
)

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
# They are related, and not the same. Attention is a good picture of the machine's work; as an explanation of an
# answer it is a hypothesis, which covering, as here, can test.
#
# ## Exercises
#
# **1.** Show that adding a number to all scores of a query changes neither weights nor gradients. Why does that mean
# that a bias in the keys of dot attention would never learn anything?
#
# <details><summary>Solution</summary>
#
# The softmax is that of differences. A bias $\beta$ of the keys adds $q \cdot \beta$ to all scores of a query.
#
# ```python
# keys, query = rng.standard_normal((4, 1, 3)), rng.standard_normal((2, 1, 3))
# values, beta = rng.standard_normal((4, 1, 5)), rng.standard_normal(3)
# first, _, cache = attention.dot_forward(query, keys, values)
# second, _, _ = attention.dot_forward(query, keys + beta, values)
# np.testing.assert_allclose(first, second, rtol=1e-12)
# _, dkeys, _ = attention.dot_backward(cache, rng.standard_normal(first.shape))
# np.testing.assert_allclose((dkeys.sum(axis=0) @ beta), 0, atol=1e-12)
# ```
# </details>
#
# **2.** What are the weights of a source of one step, and what is the gradient of its score?
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
# ```
# </details>
#
# **3.** Scores grow with the number $A$ of entries: if those of $q$ and $k$ are independent with variance 1, that of $q
# \cdot k$ is $A$. What does that do to the softmax and its gradient, and what is the remedy?
#
# <details><summary>Solution</summary>
#
# One weight comes near 1, the others near 0, and $a_s (\bar a_s - \dots)$ vanishes: the softmax is saturated. Vaswani
# et al. (2017) divide the scores by $\sqrt A$; with a learned matrix in the keys, as here, training finds the scale.
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
# ```
# </details>
