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
# # 9. Word vectors
#
# A network reads vectors, not words. Where do they come from? Section 2.2.8 of the report has two answers of Mikolov
# et al. (2013), skip-gram and CBOW: a word's vector is what tells its neighbours apart from other words. Here their
# gradients are derived index by index, two ways are found around the sum over the whole vocabulary, the costs of Eqs
# 60 and 61 are counted and measured, and vectors are learned from reviews.
#
# - **Time**: about three hours with the exercises; the machine needs two minutes.
# - **You need** notebook 1 (the chain rule, sums over all uses of a weight) and notebook 2 (the complex step).
# - **Afterwards you can** add up the gradient of a table whose rows are read several times; derive the gradient of the
#   softmax, and say why it is too dear here; write a step of negative sampling that is right where a word is drawn
#   twice; walk down a Huffman tree; count what a word costs; say what vectors of words know, and how far to trust that.
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

from rnnscratch import text
from rnnscratch.backend import scatter_add
from rnnscratch.kernels import losses
from rnnscratch.kernels import word2vec as kernel
from rnnscratch.kernels.activations import sigmoid
from rnnscratch.word2vec import BLOCK

# %% [markdown]
# ## 1. Words that predict words
#
# "You shall know a word by the company it keeps" (Firth, 1957). Slide a window over the text: each word in it is a
# *target*, the words around it its *context*.
#
# - **Skip-gram**: each word near the target predicts it, one at a time. (The report says that the surrounding words
#   predict the target "in opposite direction" to CBOW; usually one says that a word predicts those around it. The
#   pairs are the same: if $b$ is near $a$, then $a$ is near $b$.)
# - **CBOW**: the *mean* of the words near the target predicts it. The order is lost: a continuous bag of words.
#
# There are two tables. The vector of a word that predicts is a row $x$ of $E\;(V, D)$, which is kept at the end; that
# of a word to be predicted is a row $y$ of the output table, which is thrown away.

# %%
sentence = ["the", "old", "sea", "is", "cold", "the", "old", "sea"]
vocabulary = text.Vocabulary.build([sentence])
ids = vocabulary.encode(sentence)
window = 2
for t in range(3):
    around = [sentence[j] for j in range(max(0, t - window), min(len(sentence), t + window + 1)) if j != t]
    print(f"target {sentence[t]!r}: skip-gram pairs", ", ".join(f"{word}→{sentence[t]}" for word in around))
    print(f"{'':11}CBOW: mean of {' + '.join(around)} → {sentence[t]}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
at, target = [0, 1, 3, 4], 2
for ax, title in zip(axes, ("skip-gram: each asks on its own", "CBOW: their mean asks")):
    for place in at:
        ax.text(place, 0, sentence[place], ha="center", va="center", bbox={"boxstyle": "round", "fc": "w", "ec": "C0"})
        to = (target, 1.85) if "skip" in title else (target, 1.0)
        ax.annotate("", to, (place, 0.15), arrowprops={"arrowstyle": "->", "color": "C0", "shrinkB": 8})
    if "CBOW" in title:
        ax.text(target, 1, "mean", ha="center", va="center", bbox={"boxstyle": "round", "fc": "w", "ec": "0.4"})
        ax.annotate("", (target, 1.85), (target, 1.12), arrowprops={"arrowstyle": "->", "color": "C0"})
    box = {"boxstyle": "round", "fc": "w", "ec": "C1"}
    ax.text(target, 2, sentence[target], ha="center", va="center", bbox=box)
    ax.text(-0.9, 0, "rows $x$ of $E$", ha="right", va="center", color="C0")
    ax.text(-0.9, 2, "row $y$ of the other table", ha="right", va="center", color="C1")
    ax.set(title=title, xlim=(-3.6, 4.6), ylim=(-0.4, 2.4))
    ax.axis("off")
plt.show()

# %% [markdown]
# **The gradient of a table.** Looking up rows is a product with one-hot vectors: the $j$-th vector read is $x_j =
# \sum_v [w_j = v]\, E_v$. Hence
#
# $$\frac{\partial L}{\partial E_v} = \sum_j [w_j = v]\, \frac{\partial L}{\partial x_j}.$$
#
# A row that is read several times gets the *sum* of what arrives at its copies, as a weight does that is used at
# several steps (notebook 1). Three words are read, the first and the last the same:


# %%
def of_table(chosen, dx, V):
    """dE (V, D) from dx (n, D), what arrives at the n rows that were read, those of the numbers in chosen (n,)."""
    dE = np.zeros((V, dx.shape[1]))
    # BLANK: add each row of dx to the row of dE that was read
    np.add.at(dE, chosen, dx)
    # END
    return dE


chosen = np.array([2, 1, 2])
dx = np.array([[0.1, -0.2], [0.5, 0.0], [0.3, 0.4]])  # what arrives at each of the three
print(of_table(chosen, dx, 3))

# %%
onehot = np.eye(3)[chosen]
dE = of_table(chosen, dx, 3)
np.testing.assert_allclose(dE, onehot.T @ dx, rtol=1e-15, err_msg="dE")
np.testing.assert_allclose(dE[2], [0.1 + 0.3, -0.2 + 0.4], rtol=1e-15)  # by hand


def look_up(table):
    """Rows of a table, and their way back."""
    return table[chosen], lambda rows: onehot.T @ rows


assert rs.check_gradients(look_up, np.random.default_rng(0).standard_normal((3, 2))).ok

# %% [markdown]
# ## 2. The softmax, and why it is too dear
#
# How probable is word $w$ after $x$? With the scores $z_v = x \cdot y_v$,
#
# $$p_w = \frac{e^{z_w}}{\sum_{v=1}^V e^{z_v}}, \qquad L = -\log p_w = -z_w + \log \sum_{v=1}^V e^{z_v}.$$
#
# The first term depends on $z_w$ alone; the second one on every score, with the slope $e^{z_v} / \sum_u e^{z_u} = p_v$:
#
# $$\frac{\partial L}{\partial z_v} = p_v - [v = w], \qquad \frac{\partial L}{\partial x} = \sum_v \frac{\partial
# L}{\partial z_v}\, y_v.$$
#
# What is said minus what is right. With four words:


# %%
def of_scores(p, w):
    """dL/dz (V,) from the probabilities p (V,), where word w comes."""
    # BLANK: the gradient of all scores, one line
    dz = p - np.eye(len(p))[w]
    # END
    return dz


x = np.array([0.5, -1.0])
Y = np.array([[2.0, 0.25], [0.0, 0.4], [-1.0, 1.0], [0.6, -0.5]])  # a row for each word
w = 3  # the one that comes
z = Y @ x
p = np.exp(z) / np.exp(z).sum()
dz = of_scores(p, w)
for v in range(4):
    print(f"word {v}: z = {z[v]:+.3f}, p = {p[v]:.6f}, dL/dz = {dz[v]:+.6f}")
print(f"L = {-np.log(p[w]):.6f}, dL/dx = {(dz @ Y).round(6)}, the sum of all dL/dz = {dz.sum():.1e}")

# %%
loss, by_library = losses.softmax_cross_entropy(z[None], np.array([w]))
dz = of_scores(p, w)
np.testing.assert_allclose(dz, by_library[0], rtol=1e-13, err_msg="dz")
np.testing.assert_allclose(loss, -np.log(p[w]), rtol=1e-13)
for v in range(4):  # the complex step of notebook 2
    moved = z.astype(complex)
    moved[v] += 1e-200j
    np.testing.assert_allclose(dz[v], (np.log(np.exp(moved).sum()) - moved[w]).imag / 1e-200, rtol=1e-13)

# %% [markdown]
# That was a gradient for *every* word, and a vocabulary has 30,000 of them or a million; there is one such sum for each
# pair of words of a long text. So the one question "which of $V$?" is replaced by a few questions "yes or no?".
#
# ## 3. One question: yes or no
#
# A question is a row $y$; the answer "yes" has probability $\sigma(z)$ with $z = \sum_d x_d y_d$. With weights $a$
# for yes and $b$ for no,
#
# $$L = -a \log \sigma(z) - b \log \sigma(-z).$$
#
# By $\sigma' = \sigma (1 - \sigma)$ (Eq. 25) and $1 - \sigma(z) = \sigma(-z)$,
#
# $$\frac{\partial L}{\partial z} = -a (1 - \sigma(z)) + b\, \sigma(z) = (a + b)\, \sigma(z) - a,$$
# $$\frac{\partial L}{\partial x_d} = \frac{\partial L}{\partial z}\, y_d, \qquad
# \frac{\partial L}{\partial y_d} = \frac{\partial L}{\partial z}\, x_d.$$
#
# That is all of it; every variant differs only in who is $x$, which questions are put, and with which weights.


# %%
def of_question(a, b, z):
    """dL/dz from the weights a for yes and b for no, and the score z, an array of any shape."""
    # BLANK: dL/dz from a, b and z, by `sigmoid`
    dz = (a + b) * sigmoid(z) - a
    # END
    return dz


x, y = np.array([0.5, -1.0]), np.array([2.0, 0.25])
a, b = 1.0, 0.0
z = sum(x[d] * y[d] for d in range(2))
dz = of_question(a, b, np.array(z))
print(f"z = 0.5 * 2 - 1 * 0.25 = {z}, sigmoid(z) = {sigmoid(np.array(z)):.6f}, dL/dz = {dz:.6f}")
print("dL/dx =", (dz * y).round(6), "  dL/dy =", (dz * x).round(6))


# %%
def loss(x, y, a, b):
    z = (x * y).sum()
    return -a * np.log(1 / (1 + np.exp(-z))) - b * np.log(1 / (1 + np.exp(z)))


for a, b in ((0.0, 1.0), (0.3, 1.7), (1.0, 0.0)):
    for d in range(2):  # by the complex step
        moved = x.astype(complex)
        moved[d] += 1e-200j
        dz = of_question(a, b, np.array(z))
        told = f"dL/dx for a = {a}, b = {b}"
        np.testing.assert_allclose(dz * y[d], loss(moved, y, a, b).imag / 1e-200, rtol=1e-13, err_msg=told)

# %% [markdown]
# ## 4. Negative sampling
#
# Ask whether the target is the target (yes), and whether $k$ words drawn by chance are it (no). They are drawn by
# $p(w) \propto \text{count}(w)^{3/4}$, which lies between all words alike and as they come; one that *is* the target
# is drawn again. Skip-gram on the whole sentence, as loops:

# %%
rng = np.random.default_rng(0)
V, D, k = len(vocabulary), 3, 2
E, out = rng.standard_normal((V, D)), rng.standard_normal((V, D))
counts = np.bincount(ids, minlength=V)
p = counts**0.75 / (counts**0.75).sum()
for word, count, share in zip(vocabulary.words[1:], counts[1:], p[1:]):
    print(f"{word:5} {count} times of {len(ids)} = {count / len(ids):.3f}, drawn with probability {share:.3f}")


def others(target):
    """The probabilities of drawn words, given that they are not the target."""
    found = p.copy()
    found[target] = 0
    return found / found.sum()


dE, dout = np.zeros((V, D)), np.zeros((V, D))
for t in range(len(ids)):
    for j in range(max(0, t - window), min(len(ids), t + window + 1)):
        if j == t:
            continue
        asked = [(ids[t], 1.0, 0.0)]  # the target: yes
        asked += [(w, 0.0, k * others(ids[t])[w]) for w in range(1, V)]  # on average over all draws: no, k times
        for w, a, b in asked:
            dz = (a + b) * sigmoid(E[ids[j]] @ out[w]) - a
            dE[ids[j]] += dz * out[w]  # += : "the" is in several pairs, and has one vector
            dout[w] += dz * E[ids[j]]
print("expected gradient of E:\n", dE.round(4))

# %% [markdown]
# The loops put one question at a time. Matrix products are faster, if many words are asked the same questions: let
# neighbouring targets *share* their drawn words (Ji et al. 2016). Is it still the same? A word $w$ drawn from $p$
# must then stand for what each target $t$ would have drawn, and not count where it is $t$:
#
# $$\text{weight of } w \text{ for } t = \frac{k}{K} \cdot \frac{[w \ne t]}{1 - p(t)}, \qquad
# \sum_w p(w) \cdot K \cdot \text{weight} = \frac{k}{1 - p(t)} \sum_{w \ne t} p(w) = k.$$
#
# The proof by enumeration: all $V^2$ draws of $K = 2$ words, each with its probability.

# %%
C = len(ids)
blocks = np.concatenate([np.zeros(window, int), ids, np.zeros(window, int)])[None]  # one block, with a margin
distance = np.arange(C + 2 * window) - window - np.arange(C)[:, None]
near = ((np.abs(distance) <= window) & (distance != 0) & (blocks > 0)).astype(float)[None]


def gradients(questions, mean, loss=True):
    """The library's gradients of both tables, with the rows of each word added up."""
    found, cache = kernel.forward(E, out, blocks, near, questions, mean)
    rows, of_questions = kernel.backward(cache)
    of_E, of_out = np.zeros((V, D)), np.zeros((V, D))
    scatter_add(of_E, blocks.reshape(-1), rows.reshape(-1, D))
    for each, rows in zip(questions, of_questions):
        scatter_add(of_out, each.ids.reshape(-1), rows.reshape(-1, D))
    return of_E, of_out


expected = np.zeros((2, V, D))
for drawn in itertools.product(range(1, V), repeat=2):
    questions = kernel.ask_noise(ids[None], np.array([drawn]), k, p)
    expected += p[list(drawn)].prod() * np.array(gradients(questions, mean=False))
print("largest difference to the loops:", np.abs(expected - [dE, dout]).max())
np.testing.assert_allclose(expected, [dE, dout], rtol=1e-11, atol=1e-13)

# %% [markdown]
# **A step, as programs take it.** One word near the target is asked about the target and about a handful of drawn
# words, and all rows that took part move at once. The same word may be drawn twice: two questions, two gradients for
# one row.


# %%
def sgns_step(E, out, near_id, target, drawn, rate):
    """Ask `E[near_id]` about the target (yes) and the drawn words (no); move both tables, and return the loss."""
    asked = np.array([target, *drawn])
    yes = np.array([1.0, *np.zeros(len(drawn))])
    # BLANK: z of all questions, their loss `in_all`, dz, the gradients of x and of each asked row; then move E and out
    x, y = E[near_id].copy(), out[asked]
    z = y @ x
    in_all = -np.log(sigmoid(np.where(yes == 1, z, -z))).sum()
    dz = sigmoid(z) - yes
    dx, dy = dz @ y, dz[:, None] * x
    E[near_id] -= rate * dx
    np.add.at(out, asked, -rate * dy)
    # END
    return in_all


# %%
drawn, rate = [3, 1, 3], 0.1  # word 3 comes twice
asked, yes = np.array([[2, *drawn]]), np.array([[[1.0, 0.0, 0.0, 0.0]]])
question = kernel.Questions(asked, yes, 1 - yes)
right, cache = kernel.forward(E, out, np.array([[4]]), np.ones((1, 1, 1)), [question], False)
(row,), (rows,) = kernel.backward(cache)
new_E, new_out, wanted_E, wanted_out = E.copy(), out.copy(), E.copy(), out.copy()
wanted_E[4] -= rate * row[0]
np.add.at(wanted_out, asked[0], -rate * rows[0])
np.testing.assert_allclose(sgns_step(new_E, new_out, 4, 2, drawn, rate), right, rtol=1e-13, err_msg="the loss")
np.testing.assert_allclose(new_E, wanted_E, rtol=1e-13, err_msg="E after the step")
np.testing.assert_allclose(new_out, wanted_out, rtol=1e-13, err_msg="out after the step")

# %% [markdown]
# In two dimensions one can watch: the vector $x$ turns to the row of its target and away from those of drawn words, and
# they turn to or from it. The arrows before and after 40 steps, one word drawn twice each time:

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
flat_E, flat_out = np.array([[0.9, 0.2]]), np.array([[-0.9, 0.5], [0.8, -0.5], [0.3, 0.9]])
told = [sgns_step(flat_E.copy(), flat_out.copy(), 0, 0, [1, 2, 2], 0.0)]
for ax, steps in zip(axes, (0, 40)):
    told += [sgns_step(flat_E, flat_out, 0, 0, [1, 2, 2], 0.1) for _ in range(steps)]
    arrows = {"x": (flat_E[0], "black"), "target": (flat_out[0], "tab:blue")}
    arrows |= {"drawn": (flat_out[1], "tab:orange"), "drawn twice": (flat_out[2], "tab:red")}
    for name, (end, colour) in arrows.items():
        ax.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
        ax.annotate(name, end, (0, 6 if end[1] > 0 else -14), textcoords="offset points", color=colour, ha="center")
    ax.set(title=f"after {steps} steps: loss {told[-1]:.3f}", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    ax.axhline(0, color="0.85", lw=1, zorder=0)
    ax.axvline(0, color="0.85", lw=1, zorder=0)
plt.show()
for seed in range(5):  # from any start, a small step down the gradient makes the answers more probable
    r = np.random.default_rng(seed)
    some_E, some_out = r.standard_normal((1, 3)), r.standard_normal((4, 3))
    before, after = (sgns_step(some_E, some_out, 0, 0, [1, 2, 2], 0.05) for _ in range(2))
    assert after < before

# %% [markdown]
# ## 5. A tree of questions
#
# The other way: make the choice among $V$ words a walk down a binary tree. At each node one question, "to the lighter
# side?"; the probability of a word is the product of the answers on its way, and they sum to 1 over all words without
# being computed for any other. Huffman's tree joins the two lightest again and again, so that frequent words have
# short ways; no tree has shorter ones on average.

# %%
seen = {"the": 9, "sea": 5, "is": 4, "old": 3, "cold": 2, "deep": 1}
names = list(seen)
tree = kernel.huffman(list(seen.values()))
for word, nodes, no, steps in zip(names, tree.nodes, tree.no, tree.steps):
    answers = ["no" if answer else "yes" for answer in no[:steps]]
    print(f"{word:5} seen {seen[word]}:", ", ".join(f"node {n}: {s}" for n, s in zip(nodes[:steps], answers)))
share = np.array(list(seen.values())) / sum(seen.values())
mean_way, entropy = float(share @ tree.steps), float(-(share * np.log2(share)).sum())
print(f"mean way {mean_way:.4f}; the entropy, which is the least, {entropy:.4f}; log2 V {np.log2(len(names)):.4f}")
assert entropy <= mean_way < entropy + 1


# %%
def places(tree):
    """Where to draw: leaves side by side in the order of the tree, each node above the middle of its leaves."""
    order = np.argsort(tree.rank)
    leaf = {int(word): float(k) for k, word in enumerate(order)}
    node = {}
    for n in range(int(tree.nodes.max()) + 1):
        below = [leaf[word] for word in range(len(tree.steps)) if n in tree.nodes[word]]
        depth = next(list(row).index(n) for row in tree.nodes if n in row)
        node[n] = (float(np.mean(below)), -float(depth))
    return leaf, node


def draw(tree, names, word, ax):
    """The tree, with the way to one word."""
    leaf, node = places(tree)
    for w, name in enumerate(names):
        way = [node[n] for n in tree.nodes[w][: tree.steps[w]]] + [(leaf[w], -float(tree.steps[w]))]
        chosen = name == word
        ax.plot(*zip(*way), color="tab:red" if chosen else "0.75", linewidth=2.5 if chosen else 1, zorder=1 + chosen)
        ax.annotate(f"{name}\n{seen[name]}", way[-1], (0, -4), textcoords="offset points", ha="center", va="top")
        if chosen:
            for point, no in zip(way, tree.no[w][: tree.steps[w]]):
                ax.annotate("no" if no else "yes", point, (7, -2), textcoords="offset points", color="tab:red")
    ax.plot(*zip(*node.values()), "o", color="0.3", zorder=3)
    ax.set(title=f"the way to {word!r}: {tree.steps[names.index(word)]} of {len(names) - 1} questions")
    ax.set_ylim(-float(tree.steps.max()) - 0.9, 0.4)
    ax.axis("off")


fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
draw(tree, names, "the", axes[0])
draw(tree, names, "deep", axes[1])
plt.show()

# %% [markdown]
# The probabilities of all words sum to 1, whatever the rows of the nodes are:

# %%
nodes = rng.standard_normal((len(names) - 1, D))
x = rng.standard_normal(D)
probability = {
    name: np.prod([sigmoid((1 - 2 * no) * (x @ nodes[n])) for n, no in zip(row[:steps], answers[:steps])])
    for name, row, answers, steps in zip(names, tree.nodes, tree.no, tree.steps)
}
print({name: round(float(each), 4) for name, each in probability.items()}, "sum", sum(probability.values()))
np.testing.assert_allclose(sum(probability.values()), 1.0, rtol=1e-14)

# %% [markdown]
# The gradient is that of section 3, at each node of the way. For all of skip-gram and CBOW on the sentence, by the
# complex step:

# %%
tree_of_text = kernel.huffman(counts)
variants = {
    "negative sampling": kernel.ask_noise(ids[None], np.array([[1, 4, 2, 1]]), k, p),
    "hierarchical softmax": kernel.ask_path(ids[None], tree_of_text, float),
}
for (name, questions), mean in itertools.product(variants.items(), (False, True)):
    worst = 0.0
    for which, gradient in enumerate(gradients(questions, mean)):
        for index in np.ndindex(gradient.shape):
            tables = [E.astype(complex), out.astype(complex)]
            tables[which][index] += 1e-200j
            right = kernel.forward(*tables, blocks, near, questions, mean)[0].imag / 1e-200
            worst = max(worst, abs(gradient[index] - right) / np.abs(gradient).max())
    print(f"{'CBOW' if mean else 'skip-gram':9} with {name:20}: largest relative error {worst:.1e}")
    assert worst < 1e-12

# %% [markdown]
# ## 6. CBOW: one question for all
#
# In CBOW $x = \frac{1}{n} \sum_{j} E_{w_j}$ over the $n$ words near the target, so $\frac{\partial L}{\partial E_{w_j
# d}} = \frac{1}{n} \frac{\partial L}{\partial x_d}$: each gets a share. The C program word2vec, and gensim after it,
# give each word the *whole* gradient: steps $n$ times as long. The library computes the true gradient and makes
# CBOW's steps for $E$ `window + 1` times as long, the mean of $n$: the vectors would learn that much more slowly
# otherwise.

# %%
of_one = kernel.forward(E, out, blocks, near, variants["negative sampling"], mean=True)[1]
rows, _ = kernel.backward(of_one)
dx = np.zeros((C, D))
for (targets, yes, no, _), z in zip(variants["negative sampling"], (asked.z for asked in of_one.asked)):
    for c, column in np.ndindex(z.shape[1:]):
        a = 0.0 if yes is None else yes[c, column]
        b = 0.0 if no is None else no[0, c, column]
        dx[c] += ((a + b) * sigmoid(z[0, c, column]) - a) * out[targets[0, column]]
at = np.zeros_like(rows[0])
for c in range(C):
    for q in np.flatnonzero(near[0, c]):
        at[q] += dx[c] / near[0, c].sum()
np.testing.assert_allclose(rows[0], at, rtol=1e-12, atol=1e-15)
print("words near each target:", near[0].sum(axis=1).astype(int))

# %% [markdown]
# ## 7. What a word costs
#
# The report counts the multiplications of one training step, with $N$ words of context, window $C$ and vectors of $D$
# numbers:
#
# $$Q_{\text{CBOW}} = N D + D \log_2 V \qquad\text{(Eq. 60)}$$
# $$Q_{\text{skip-gram}} = C\,(D + D \log_2 V) \qquad\text{(Eq. 61)}$$
#
# The first term fetches vectors, the second asks $\log_2 V$ questions of $D$ products each: **the $\log_2 V$ is the
# tree's**. It holds for words that are all as frequent; with real words, Huffman's tree is better, and negative
# sampling has $1 + k$ in its place, whatever $V$. The softmax would have $V$. Counted, from trees:

# %%
sizes = [100, 1000, 10_000] if QUICK else [100, 1000, 10_000, 100_000]
print(f"{'V':>8} {'log2 V':>8} {'all alike':>10} {'Zipf':>8}   mean way, in questions")
for size in sizes:
    alike, zipf = np.full(size, 7), np.maximum(1, 10**7 // np.arange(1, size + 1))
    ways = [float(kernel.huffman(each).steps @ each / each.sum()) for each in (alike, zipf)]
    print(f"{size:8,} {np.log2(size):8.2f} {ways[0]:10.2f} {ways[1]:8.2f}")
    assert np.log2(size) <= ways[0] < np.log2(size) + 1 and ways[1] < ways[0]

# %% [markdown]
# A program that goes from pair to pair computes as many products as Eq. 61 counts. For skip-gram, the library takes
# blocks of 16 neighbouring targets, as matrices: all words of a block and its margins, $16 + 2 C$, are asked about
# all nodes on the ways of its targets. That is more products than are asked for; but a node that several targets
# share is asked once, and the margins weigh little. Products of $D$ numbers for one target, by the two counts, for
# words that are all as frequent:

# %%
sizes, reaches = ([100, 1000], [1, 5]) if QUICK else ([100, 1000, 10_000, 50_000], [1, 2, 5, 10])
print(f"{'V':>8}" + "".join(f"{f'C={reach}: pairs, blocks':>24}" for reach in reaches))
per_block = []
for size in sizes:
    tree_of_all = kernel.huffman(np.append(0, np.full(size, 7)))
    targets = np.random.default_rng(0).integers(1, size + 1, (100, BLOCK))
    questions = kernel.ask_path(targets, tree_of_all, float)
    nodes_of_block = sum(each.ids.size for each in questions) / len(targets)
    pairs = [2 * reach * tree_of_all.steps[targets].mean() for reach in reaches]
    per_block.append([nodes_of_block * (BLOCK + 2 * reach) / BLOCK for reach in reaches])
    print(f"{size:8,}" + "".join(f"{by_pair:15.0f}{by_block:9.0f}" for by_pair, by_block in zip(pairs, per_block[-1])))
for earlier, later in zip(per_block, per_block[1:]):
    assert later[0] > earlier[0]  # more with V
if not QUICK:  # ten times the window: twice the products
    np.testing.assert_allclose([row[-1] / row[0] for row in per_block], (16 + 20) / (16 + 2))

# %% [markdown]
# So with the tree the work grows with $V$ about as $\log_2 V$ does, and far less than with $C$. And measured, on
# made-up text (a time is of this run and this machine, on which other work was going on):


# %%
def microseconds(model, objective, size, reach, words=5_000 if QUICK else 60_000):
    """A word of training, the best of two epochs."""
    stream = np.random.default_rng(0).permuted(np.arange(max(words, size)) % size)
    sentences = [[str(word) for word in stream[at : at + 50]] for at in range(0, len(stream), 50)]
    options = {"window": reach, "sample": 0, "min_count": 1, "epochs": 1 if QUICK else 2}
    wv = rs.Word2Vec(model=model, objective=objective, **options).fit(sentences)
    return 1e6 / max(wv.history_["words_per_second"])


fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for model, objective in itertools.product(("skipgram", "cbow"), ("negative", "hierarchical")):
    style = {"marker": "o", "linestyle": "-" if objective == "negative" else "--", "label": f"{model}, {objective}"}
    style["color"] = "tab:blue" if model == "skipgram" else "tab:orange"
    axes[0].plot(np.log2(sizes), [microseconds(model, objective, size, 5) for size in sizes], **style)
    axes[1].plot(reaches, [microseconds(model, objective, 1000, reach) for reach in reaches], **style)
axes[0].set(xlabel="log2 V (window 5)", ylabel="microseconds a word", ylim=(0, None))
axes[1].set(xlabel="window C (V = 1,000)", ylim=(0, None))
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## 8. Vectors of reviews
#
# Two details more. Words like "the" fill every window and tell little: in each epoch a word of frequency $f$ is kept
# with probability $\sqrt{s/f} + s/f$ only, $s = 0.001$ ("sub-sampling"). And the window is drawn anew for each target
# between 1 and $C$, so that near words count more. (The reviews are those of notebook 7.)

# %%
reviews = text.load_imdb(progress=False).train.texts[: 300 if QUICK else 6000]
words = text.clean_texts(reviews)
print(f"{len(words):,} reviews, {sum(map(len, words)):,} words")
f = 0.05
print(f"a word that is every twentieth is kept with probability {np.sqrt(0.001 / f) + 0.001 / f:.3f}")
states = {
    epochs: rs.Word2Vec(vector_size=50, epochs=epochs, min_count=10, seed=1).fit(words)
    for epochs in ((1, 2) if QUICK else (1, 3, 9))
}
wv = states[max(states)]
print(f"{len(wv.vocabulary) - 1:,} words are frequent enough")
print(wv.history_)

# %%
wanted = [word for word in ("good", "terrible", "actor", "war", "music") if word in wv]
for word in wanted:
    for epochs, each in states.items():
        print(
            f"{word if epochs == 1 else '':9} {epochs} pass{'es' if epochs > 1 else ''}:",
            ", ".join(w for w, _ in each.most_similar(word, 6)),
        )

# %% [markdown]
# "good" is near "bad": they stand in the same places, and the places are all that the vectors know. Whether that
# helps to tell praise from blame, a classifier must find out. (Notebook 7 has vectors that were learned for that task
# and no other.) On the first two principal components, in this run, as training goes on:

# %%
fig, axes = plt.subplots(1, len(states), figsize=(5 * len(states), 4.4), layout="constrained")
for ax, (epochs, each) in zip(axes, states.items()):
    rs.plots.neighbours(each.vectors[1:], each.vocabulary.words[1:], wanted[:4], count=5, ax=ax)
    ax.set_title(f"after {epochs} pass{'es' if epochs > 1 else ''}")
plt.show()

# %% [markdown]
# **Analogies**: the nearest words to $b - a + c$. Some, in this run:

# %%
for a, b, c in (("man", "actor", "woman"), ("good", "best", "bad"), ("film", "films", "movie")):
    if all(word in wv for word in (a, b, c)):
        print(f"{a} : {b} = {c} :", ", ".join(word for word, _ in wv.analogy(a, b, c, topn=4)))

# %% [markdown]
# A few that come out well prove little. So ask for all plurals of ten nouns, each by the nine others ("film : films =
# movie : ?"), and count how often the right one is among the ten nearest. Two things to compare with: chance, and the
# neighbours of $c$ alone, among which its plural may be without any arithmetic. Five seeds:

# %%
nouns = ["film", "movie", "actor", "character", "scene", "year", "book", "friend", "performance", "woman"]
plurals = {noun: "women" if noun == "woman" else noun + "s" for noun in nouns}
plurals = {noun: plural for noun, plural in plurals.items() if noun in wv and plural in wv}
measured = []
for seed in range(1, 6):
    each = rs.Word2Vec(vector_size=50, epochs=1 if QUICK else 3, min_count=10, seed=seed).fit(words)
    asked = list(itertools.permutations(plurals, 2))
    by_sum = np.mean([plurals[c] in dict(each.analogy(a, plurals[a], c, topn=10)) for a, c in asked])
    alone = np.mean([plural in dict(each.most_similar(noun, 10)) for noun, plural in plurals.items()])
    near_good = [word for word, _ in each.most_similar("good", 10)]
    measured.append((by_sum, alone, "bad" in near_good))
    print(
        f"seed {seed}: {by_sum:.0%} by b - a + c, {alone:.0%} by c alone, {10 / len(each.vectors):.2%} by chance;",
        end="",
    )
    print(
        f" near 'good': {', '.join(near_good[:5])}; near 'not': {', '.join(w for w, _ in each.most_similar('not', 4))}"
    )
if not QUICK:
    assert all(by_sum > alone + 0.2 and bad for by_sum, alone, bad in measured)

# %% [markdown]
# With each of five seeds the sum finds the plural far more often than the neighbours do; and "bad" is among the ten
# nearest to "good" with each. What is next to "not" changes from seed to seed: of rare or of empty words believe no
# neighbour that one run shows.

# %% [markdown]
# ## 9. Find the bug
#
# The table of section 1 with a wrong way back, as seen in many first attempts. The checker of notebook 2 sees it:


# %%
def look_up_wrongly(table):
    """Rows of a table, and a way back with a bug."""
    chosen = np.array([1, 2, 1, 0, 1])

    def back(rows):
        d_table = np.zeros_like(table)
        d_table[chosen] += rows
        return d_table

    return table[chosen], back


report = rs.check_gradients(look_up_wrongly, rng.standard_normal((4, 2)))
print(report)
assert not report.ok

# %% [markdown]
# Row 1 is looked up three times and must get the sum of three gradients. `d_table[chosen] += rows` reads all rows
# first, adds to each copy, and writes them back: the last one wins. `scatter_add`, or `np.add.at`, adds each.
#
# ## Exercises
#
# **1.** A word stands beside itself: "very very good". What is the gradient of its row of $E$ in skip-gram? And what
# would it be if both tables were one, for the question "yes" of (0.3, -0.8, 0.1) to itself?
# (`rs.teach.answer("9.1", gradient)`, three numbers, of that one table)
#
# <details><summary>Solution</summary>
#
# It is $x$ in one role and, by another table, $y$ in the other: two rows, each with its own gradient; nothing is
# special. Were the two tables one ($y = x$), $z = x \cdot x$ and the gradient would have both terms, $2 x\, \partial
# L / \partial z$.
#
# ```python
# row = np.array([0.3, -0.8, 0.1])
# tied = 2 * row * (sigmoid(row @ row) - 1)
# for d in range(3):
#     moved = row.astype(complex)
#     moved[d] += 1e-200j
#     slope = (-np.log(1 / (1 + np.exp(-(moved * moved).sum())))).imag / 1e-200
#     np.testing.assert_allclose(tied[d], slope, rtol=1e-12)
# # answer 9.1: tied
# ```
# </details>
#
# **2.** All of $V = 2^n$ words are as frequent. What is the Huffman tree? How many questions are there on the way to
# each of 64 words? (`rs.teach.answer("9.2", n)`)
#
# <details><summary>Solution</summary>
#
# Complete: every way has $n = \log_2 V$ nodes, as in Eqs 60 and 61.
#
# ```python
# assert set(kernel.huffman([5] * 64).steps) == {6}
# # answer 9.2: int(kernel.huffman([5] * 64).steps[0])
# ```
# </details>
#
# **3.** What are the weights of the shared drawn words, if it does not matter that one of them is the target? For
# $k = 5$, $K = 20$ and a target with $p(t) = 0.2$: what is the weight of a word that is not the target, and of the
# target itself, without the correction and with it? (`rs.teach.answer("9.3", ...)` takes the four in this order.)
#
# <details><summary>Solution</summary>
#
# $k / K$, without correction. In expectation a target is then asked "yes" once and "no" $k\, p(t)$ times, which
# pushes frequent words apart from their own neighbours. Without it 0.25 for both; with it 0.3125, and 0 for the target.
#
# ```python
# drawn = np.array([[2, 3]])
# no = kernel.ask_noise(ids[None], drawn, k, p)[1].no[0]
# for c, target in enumerate(ids):
#     right = [0.0 if word == target else k / 2 / (1 - p[target]) for word in drawn[0]]
#     np.testing.assert_allclose(no[c], right)
# # answer 9.3: [5 / 20, 5 / 20, 5 / 20 / (1 - 0.2), 0.0]
# ```
# </details>
#
# **4.** How many questions are asked in one epoch of skip-gram on the sentence of section 1, with windows of full
# width, by negative sampling with $k = 2$, and by the tree? (`rs.teach.answer("9.4", [sampled, tree])`)
#
# <details><summary>Solution</summary>
#
# As many pairs as `near` has ones; each asks $1 + k$ questions, or as many as the way to its target is long.
#
# ```python
# pairs = near[0].sum(axis=1)
# print(int(pairs.sum()) * (1 + k), int(pairs @ tree_of_text.steps[ids]))
# assert pairs.sum() == 26
# # answer 9.4: [int(pairs.sum()) * (1 + k), int(pairs @ tree_of_text.steps[ids])]
# ```
# </details>
#
# ## Five questions
#
# **1.** Word 7 stands at 3 of 10 places of a sentence, and $\partial L / \partial x_j$ is the same $g$ at all ten. What
# is the gradient of its row? What does `dE[ids] += dx` give?
#
# <details><summary>Answer</summary>
#
# $3 g$, and $g$.
#
# ```python
# ids_, g = np.array([7, 1, 2, 7, 3, 4, 7, 5, 6, 8]), np.array([0.5, -2.0])
# right, wrong = np.zeros((9, 2)), np.zeros((9, 2))
# np.add.at(right, ids_, np.tile(g, (10, 1)))
# wrong[ids_] += np.tile(g, (10, 1))
# assert (right[7] == 3 * g).all() and (wrong[7] == g).all()
# ```
# </details>
#
# **2.** What is the sum of $\partial L / \partial z_v$ over all words for the softmax? And over all questions of
# negative sampling?
#
# <details><summary>Answer</summary>
#
# 0 for the softmax: adding one number to all scores changes nothing. The questions are independent, and their sum is
# whatever it is: if all answers are open ($z = 0$), $-\frac12$ for the yes and $\frac12$ for each no.
#
# ```python
# z = np.random.default_rng(0).standard_normal(6)
# np.testing.assert_allclose((np.exp(z) / np.exp(z).sum() - np.eye(6)[2]).sum(), 0, atol=1e-15)
# assert (sigmoid(np.zeros(4)) - np.array([1, 0, 0, 0])).sum() == 1
# ```
# </details>
#
# **3.** Why is the target itself not drawn as one of the words for "no"? What would its two questions do to it at $z =
# 0$?
#
# <details><summary>Answer</summary>
#
# It would be told yes and no at once: $\partial L / \partial z = (\sigma - 1) + \sigma = 0$ at $z = 0$, so nothing is
# learned from the pair, and where $z > 0$ it is pushed away.
#
# ```python
# dz = sigmoid(np.array([0.0, 1.0])) - 1 + sigmoid(np.array([0.0, 1.0]))
# assert dz[0] == 0 and dz[1] > 0
# ```
# </details>
#
# **4.** Which words does $p(w) \propto \text{count}(w)^{3/4}$ draw more often than they come, the frequent or the rare
# ones? Check with counts of 1, 10 and 100, and with two words as frequent as each other.
#
# <details><summary>Answer</summary>
#
# With equal counts nothing changes. Else the rare ones are drawn more often than they come, and the most frequent less.
#
# ```python
# count = np.array([1, 10, 100])
# share = count**0.75 / (count**0.75).sum()
# come = count / count.sum()
# assert share[0] > come[0] and share[1] > come[1] and share[2] < come[2]
# two = np.array([50, 50]) ** 0.75
# assert (two / two.sum() == 0.5).all()
# ```
# </details>
#
# **5.** Centre and context are exchanged: $y$ is kept as the vector and $x$ thrown away. Is anything lost in skip-gram
# with windows of full width?
#
# <details><summary>Answer</summary>
#
# The pairs are the same, for if $b$ is near $a$, then $a$ is near $b$. What differs is who is drawn: noise takes the
# place of the rows of the output table only, so that the two tables are not alike.
#
# ```python
# pairs = {(c, q - window) for c, q in zip(*np.nonzero(near[0]))}
# assert pairs == {(b, a) for a, b in pairs}
# ```
# </details>
#
# ## Read on
#
# - T. Mikolov, K. Chen, G. Corrado, J. Dean, *Efficient estimation of word representations in vector space*, 2013
#   (arXiv 1301.3781): CBOW and skip-gram, with the costs of section 7.
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, *Distributed representations of words and phrases and their
#   compositionality*, 2013 (arXiv 1310.4546): negative sampling, sub-sampling.
# - F. Morin, Y. Bengio, *Hierarchical probabilistic neural network language model*, AISTATS 2005: the tree.
# - Y. Goldberg, O. Levy, *word2vec explained*, 2014 (arXiv 1402.3722): the derivation of negative sampling.
# - S. Ji, N. Satish, S. Li, P. Dubey, *Parallelizing word2vec in shared and distributed memory*, 2016 (arXiv
#   1604.04661): shared noise, matrix products.
# - J. R. Firth, *A synopsis of linguistic theory 1930-1955*, 1957: the company that words keep.
