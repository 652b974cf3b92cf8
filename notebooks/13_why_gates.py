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
# # 13. Why gates
#
# On the reviews of notebook 7 a vanilla RNN does nearly as well as an LSTM: their verdict is spread over all their
# words, and a mean over time reaches every one of them in a single step. What gates are for shows where one thing,
# said early, decides what is right late. This notebook puts such problems to the three cells, with the same data,
# sizes and optimiser; looks at gradients and gates as they learn; and says where a vanilla network does as well.
#
# - **Time**: about two hours with the exercises; the machine needs about two minutes.
# - **You need** notebook 3 (why gradients fade), notebook 4 (the LSTM) and notebook 5 (the GRU).
# - **Afterwards you can** write the Jacobian of a step with gates and tell its direct path from the others; say what
#   the bias of a gate does to memory at the start; tell keeping from taking in; say why the gradient at the start
#   does not decide what is learned; and which of truncation and clipping bounds what.
#
# In the learner's edition the lines between `# BLANK` and `# END` are yours to write. The cell after each says at once
# whether they are right. What is said of results holds for each of five seeds, or says "in this run".

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

import itertools

import matplotlib.pyplot as plt
import numpy as np

import rnnscratch as rs

QUICK = os.environ.get("RNNSCRATCH_QUICK") == "1"  # smaller sizes, for a quick check
from rnnscratch.experiments import memory
from rnnscratch.experiments.memory import PROBLEMS, STARTS, Protocol, Start

# %% [markdown]
# ## 1. A sum over a long way
#
# $T$ numbers between 0 and 1, two of them marked, one in each half; the sum of the two is asked for at the end
# (Hochreiter & Schmidhuber 1997). Who knows nothing of the sequence says 1, and has the mean squared error
# $2 \cdot \frac{1}{12} = \frac16$.

# %%
T = 20 if QUICK else 60
x, targets = PROBLEMS["adding"].draw(np.random.default_rng(0), 3, 12)
for b in range(3):
    row = "  ".join(f"[{n:.2f}]" if mark else f" {n:.2f} " for n, mark in x[:, b])
    print(f"{row}  ->  {targets[0, b]:.2f}")

# %% [markdown]
# ## 2. The path through a gate
#
# One step of an LSTM of one unit, and how its two new states depend on the two old ones. The cell $c_t = f c_{t-1} + i
# g$ (Eq. 31) has a direct path, on which it is multiplied by $f$ and by nothing else. All else goes through $h_{t-1}$,
# which stands in all four pre-activations $z = x W + h_{t-1} U + b$:
#
# $$\frac{\partial c_t}{\partial c_{t-1}} = f, \qquad \frac{\partial c_t}{\partial h_{t-1}} = c_{t-1} f(1-f)\, U_f + g\,
# i(1-i)\, U_i + i\,(1-g^2)\, U_g,$$
# $$\frac{\partial h_t}{\partial c_{t-1}} = o\,(1 - \tanh^2 c_t)\, \frac{\partial c_t}{\partial c_{t-1}}, \qquad
# \frac{\partial h_t}{\partial h_{t-1}} = o\,(1 - \tanh^2 c_t)\, \frac{\partial c_t}{\partial h_{t-1}} + \tanh c_t\,
# o(1-o)\, U_o.$$


# %%
def step(layer, x, c, h):
    """One step of an LSTM of one input and one unit: the new c and h, and the gates i, f, o, g."""
    W, U, b = (layer.params[name] for name in ("W_l0", "U_l0", "b_l0"))
    z = x * W[0] + h * U[0] + b
    i, f, o = 1 / (1 + np.exp(-z[:3]))
    g = np.tanh(z[3])
    c = f * c + i * g
    return c, o * np.tanh(c), (i, f, o, g)


def jacobian(U, c_before, c, gates):
    """How (c_t, h_t), the rows, depend on (c_{t-1}, h_{t-1}), the columns."""
    i, f, o, g = gates
    U_i, U_f, U_o, U_g = U
    # BLANK: the direct path: c_t by c_{t-1}
    c_by_c = f
    # END
    # BLANK: c_t by h_{t-1}: through f, i and g
    c_by_h = c_before * f * (1 - f) * U_f + g * i * (1 - i) * U_i + i * (1 - g**2) * U_g
    # END
    # BLANK: h_t by c_{t-1}, and h_t by h_{t-1}
    slope = o * (1 - np.tanh(c) ** 2)
    h_by_c = slope * c_by_c
    h_by_h = slope * c_by_h + np.tanh(c) * o * (1 - o) * U_o
    # END
    return np.array([[c_by_c, c_by_h], [h_by_c, h_by_h]])


# %%
for seed in range(5):
    r = np.random.default_rng(seed)
    layer = rs.LSTM(1, 1, dtype="float64", seed=seed)
    for array in layer.params.values():
        array[...] = r.standard_normal(array.shape)
    x0, c0, h0 = r.standard_normal(3)
    c1, _, gates = step(layer, x0, c0, h0)
    mine = jacobian(layer.params["U_l0"][0], c0, c1, gates)
    for column, (by_c, by_h) in enumerate(((1e-200j, 0), (0, 1e-200j))):  # the complex step of notebook 2
        moved = step(layer, x0, c0 + by_c, h0 + by_h)[:2]
        np.testing.assert_allclose(mine[:, column], [each.imag / 1e-200 for each in moved], rtol=1e-12, atol=1e-16)

# %% [markdown]
# Over many steps it is the product of these matrices (Eq. 6 again, with two states):


# %%
def through_time(layer, xs, c, h):
    """How (c_T, h_T) depend on (c_0, h_0)."""
    total = np.eye(2)
    for x_t in xs:
        # BLANK: the step, its Jacobian times all before it, and on to the next one
        c_new, h_new, gates = step(layer, x_t, c, h)
        total = jacobian(layer.params["U_l0"][0], c, c_new, gates) @ total
        c, h = c_new, h_new
        # END
    return total


# %%
xs = np.random.default_rng(0).standard_normal(6)
start = np.full((1, 1, 1), h0), np.full((1, 1, 1), c0)  # the library's order: h, then c
_, back = layer.call(xs[:, None, None], start)
by_hand = through_time(layer, xs, c0, h0)
for row, ends in enumerate(((0.0, 1.0), (1.0, 0.0))):  # the gradient of c_T alone, of h_T alone
    _, (of_h, of_c) = back(None, tuple(np.full((1, 1, 1), end) for end in ends))
    np.testing.assert_allclose(by_hand[row], [of_c.item(), of_h.item()], rtol=1e-11)

# %% [markdown]
# How much of $c_T$'s gradient reaches $c_{T-k}$, for three biases of the forget gate, and beside it the product of the
# forget gates alone, which is the direct path. (The other weights are as the library draws them.)

# %%
xs = np.random.default_rng(1).standard_normal(40)
fig, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for colour, bias in enumerate((0.0, 1.0, 4.0)):
    unit = rs.LSTM(1, 1, dtype="float64", seed=0)
    unit.gate("b_l0", "f")[...] = bias
    c, h, matrices, kept = 0.0, 0.0, [], []
    for x_t in xs:
        c_new, h, gates = step(unit, x_t, c, h)
        matrices.append(jacobian(unit.params["U_l0"][0], c, c_new, gates))
        kept.append(gates[1])
        c = c_new
    products = itertools.accumulate(matrices[::-1], np.matmul)
    whole = [abs(each[0, 0]) for each in products]
    direct = np.cumprod(kept[::-1])
    lags = range(1, len(xs) + 1)
    ax.plot(lags, whole, color=f"C{colour}", label=f"bias {bias:.0f}: all paths")
    ax.plot(lags, direct, "--", color=f"C{colour}", label=f"bias {bias:.0f}: the direct one")
    print(f"bias {bias:.0f}: f is {np.mean(kept):.3f} on average; after 40 steps all paths {whole[-1]:.1e},", end="")
    print(f" the direct one {direct[-1]:.1e}")
    silent = rs.LSTM(1, 1, dtype="float64", seed=0)  # without U there is no other path
    silent.params["U_l0"][...] = 0
    silent.gate("b_l0", "f")[...] = bias
    c, h, forget = 0.0, 0.0, 1.0
    for x_t in xs:
        c, h, gates = step(silent, x_t, c, h)
        forget *= gates[1]
    np.testing.assert_allclose(through_time(silent, xs, 0.0, 0.0)[0, 0], forget, rtol=1e-12)
ax.set(xlabel="lag k", ylabel="|gradient of c at T - k|", yscale="log")
ax.legend(fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# With $U = 0$ the direct path is all there is, exactly. With it, the others add to it or take from it; what the bias
# does, it does to the direct one.
#
# ## 3. What is left of a gradient, before anything is learned
#
# To learn what a number at step $T - k$ is for, the gradient of the last state must reach it: a product of $k$
# Jacobians (Eq. 6; notebook 3). For the vanilla network these are $\mathrm{diag}(1 - h^2)\, U^\top$. With small
# weights the slopes are near 1, and both an orthogonal $U$ and Glorot's, whose eigenvalues fill a disc of radius 1,
# keep some of it. For the gated cells two ways lead from step to step: the direct one, by Eqs 31 and 78, and the one
# through the candidate, which an orthogonal $U$ keeps in length. So the gradient is multiplied at each step by about
#
# $$\text{LSTM: } f + i\,o, \qquad \text{GRU: } z + (1 - z)\, r$$
#
# which is 0.75 where all gates are half open ($0.75^{59} = 4 \cdot 10^{-8}$), and nearly 1 where the gate that keeps
# is open. All depends on how open it is *at the start*:

# %%
starts = ["tanh RNN, Glorot", "tanh RNN, orthogonal", "ReLU RNN, identity", "LSTM, forget bias 1", "LSTM, chrono"]
starts += ["GRU, bias 0", "GRU, chrono"]
probe = PROBLEMS["adding"].draw(np.random.default_rng(1), 64, T).x
reaches = {}
for name in starts:
    model = memory.Reader(PROBLEMS["adding"], STARTS[name].layer(2, 32, T, seed=0))
    reaches[name] = memory.reach(model, probe, T)
    gates = memory.openness(model, probe)
    factor = (
        gates["f"] + gates["i"] * gates["o"]
        if "f" in gates
        else gates["z"] + (1 - gates["z"]) * gates["r"]
        if gates
        else 1
    )
    said = f"   about {factor:.3f}^{T - 1} = {factor ** (T - 1):.0e}" if gates else ""
    print(f"{name:<22} {reaches[name][-1]:8.1e} of the gradient is left at lag {T - 1}{said}")
ax = rs.plots.gradient_by_lag(reaches)
ax.set(xlabel="lag (steps before the last)", ylim=(1e-12, 1e3))
ax.figure

# %% [markdown]
# The figure on the right is an estimate, and in this run too large, by up to twenty times: it takes the mean of a
# factor over units and steps, where a product follows the geometric mean, which is smaller.
#
# ("Chrono" draws the bias of the gate that keeps as $\log U(1, T)$: a gate $\sigma(\log n) = n / (n + 1)$ forgets over
# about $n$ steps, so that some unit is made for every time there is; Tallec & Ollivier 2018, arXiv 1804.11188.)
#
# ## 4. Who learns it?

# %%
protocol = Protocol(
    hidden=8 if QUICK else 32, updates=40 if QUICK else 1000, every=20 if QUICK else 50, tests=128 if QUICK else 512
)
SEEDS = range(1, 3 if QUICK else 6)
rates = {"rnn": 0.001, "lstm": 0.01, "gru": 0.01}  # the best of some, in single runs with another seed


def runs(problem, start, steps, each, rate):
    """What becomes of a start with all seeds, and a line that says it."""
    found = [
        memory.run(PROBLEMS[problem], start, steps, Protocol(**{**vars(each), "learning_rate": rate}), seed)
        for seed in SEEDS
    ]
    said = ", ".join("no" if one.solved_at is None else str(one.solved_at) for one in found)
    return found, f"solved after so many updates: {said}; error at the end " + ", ".join(
        f"{e.error:.3f}" for e in found
    )


outcomes = {}
for name in starts:
    outcomes[name], said = runs("adding", STARTS[name], T, protocol, rates[STARTS[name].cell])
    print(f"{name:<22} {said}")

# %%
curves = {name: [each.curve for each in found] for name, found in outcomes.items()}
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", sharey=True)
rs.plots.learning_curves({n: c for n, c in curves.items() if "RNN" in n}, "mean squared error", 1 / 6, ax=axes[0])
rs.plots.learning_curves({n: c for n, c in curves.items() if "RNN" not in n}, "mean squared error", 1 / 6, ax=axes[1])
axes[0].set_ylim(0, 0.3)
plt.show()
if not QUICK:
    for name, found in outcomes.items():
        assert all(one.solved_at is None for one in found) if "RNN" in name else all(one.solved_at for one in found)
    typical = {name: np.median([one.solved_at for one in outcomes[name]]) for name in starts if "RNN" not in name}
    assert typical["GRU, bias 0"] <= typical["LSTM, chrono"] < typical["LSTM, forget bias 1"]

# %% [markdown]
# With each of five seeds the gated cells solve it and the vanilla networks do not, within these updates. Two things
# that one might not expect. The ReLU network, whose gradient was whole at every lag, is not done; and the GRU that
# began with $10^{-8}$ of it learns as fast as any. So the gradient at the start is not the whole story.
#
# The GRU has it easier than that figure says: the second mark is sometimes among the last steps, where the gradient
# is strong. From these sequences it learns to take in what is marked; and **the gates are weights too**, so it learns
# to keep them open while nothing is. Then the gradient reaches a little further, to earlier marks, and so on. The
# same curves as above at the end of training, for the first seed, and what is left at the largest lag for all:

# %%
ends = {name: found[0].reach["at the end"] for name, found in outcomes.items() if "at the end" in found[0].reach}
ax = rs.plots.gradient_by_lag(ends)
ax.set(xlabel="lag (steps before the last)", ylim=(1e-12, 1e3))
for name, found in outcomes.items():
    left = [float(one.reach["at the end"][-1]) for one in found if "at the end" in one.reach]
    print(f"{name:<22} left at lag {T - 1}: " + ", ".join(f"{each:.0e}" for each in left))
    if not QUICK and "RNN" not in name:
        assert min(left) > 0.01
ax.figure

# %% [markdown]
# The gated cells' gradients now reach all the way with each seed, whatever they began with. Those of the tanh networks
# differ from seed to seed by many orders. The ReLU network's is still there at every lag, and has not taught it the sum
# in time, though in this run it has begun to with two of five seeds.
#
# ## 5. What the forget gate is worth
#
# Latching (Bengio et al. 1994): the class is in the first three steps, and noise follows. Nothing but keeping is asked
# for. The same LSTM, the bias of its forget gate at 0, 1 and "chrono":

# %%
steps = 10 if QUICK else 60
short = Protocol(hidden=protocol.hidden, learning_rate=0.01, updates=20 if QUICK else 300, every=10 if QUICK else 25)
latched = {}
for name in ("LSTM, forget bias 0", "LSTM, forget bias 1", "LSTM, chrono"):
    latched[name], said = runs("latching", STARTS[name], steps, short, 0.01)
    f = latched[name][0].gates["at the start"]["f"]
    print(f"{name:<20} f = {f:.2f} at the start, f^{steps} = {f**steps:.0e}: {said}")
if not QUICK:
    assert not any(one.solved_at for one in latched["LSTM, forget bias 0"])
    assert all(one.solved_at for name in ("LSTM, forget bias 1", "LSTM, chrono") for one in latched[name])

# %% [markdown]
# With the bias at 0 not one of five seeds gets there in these updates, and with 1, a step of only $0.23$ in $f$, all
# do.
#
# ## 6. Where a vanilla network does as well
#
# Keeping alone needs no gate. On the latching problem, whose noise is weak:

# %%
for name in ("tanh RNN, Glorot", "tanh RNN, orthogonal", "ReLU RNN, identity"):
    found, said = runs("latching", STARTS[name], steps, short, rates["rnn"])
    print(f"{name:<20} {said}")
    if not QUICK:
        assert all(one.solved_at and one.solved_at <= 100 for one in found)

# %% [markdown]
# So "RNNs forget" is too simple. What the vanilla network cannot do is keep *and* take in: in the adding problem a
# number must be kept while a hundred others pass by, each of which moves $h$ by the same weights as the marked ones.
# There a gate is wanted that opens for one step, because of what is read at that step. Does an LSTM that has learned it
# do so? Five of them, on new sequences:

# %%
x = PROBLEMS["adding"].draw(np.random.default_rng(7), 200, T).x
marked = x[:, :, 1] == 1
for seed in SEEDS:
    layer = STARTS["LSTM, chrono"].layer(2, protocol.hidden, T, seed)
    model = memory.Reader(PROBLEMS["adding"], layer)
    rs.training.fit(
        model,
        memory.Stream(PROBLEMS["adding"], T, 32, 20 if QUICK else 600, seed),
        optimizer=rs.Adam(0.01),
        epochs=1,
        clip_norm=1.0,
        seed=None,
        progress=False,
    )
    c_moves, state = np.zeros(x.shape[:2]), None
    for t in range(T):
        before = 0.0 if state is None else state[1][0]
        _, state = layer.step(x[t], state)
        c_moves[t] = np.abs(state[1][0] - before).mean(axis=1)
    moves = c_moves[marked].mean(), c_moves[~marked].mean()
    print(f"seed {seed}: c moves by {moves[0]:.4f} a unit where a number is marked, by {moves[1]:.4f} elsewhere")
    if not QUICK:
        assert moves[0] > 2 * moves[1]
fig, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
colours = np.where(marked[:, 0], "tab:orange", "tab:blue")
ax.bar(range(1, T + 1), c_moves[:, 0], color=colours)
ax.set(xlabel="step (orange: its number is marked)", ylabel="how far c moves")
plt.show()

# %% [markdown]
# ## 7. What training does to memory
#
# **Truncation.** Cut the chain of gradients every 15 steps: no gradient reaches further than that. **Clipping**
# bounds a step where gradients explode; it does nothing for those that vanish.

# %%
cut = 5 if QUICK else 15
further = {}
for title, start in (
    ("LSTM, chrono, not clipped", Start("lstm", bias="chrono", clip_norm=None)),
    ("LSTM, chrono, cut", Start("lstm", bias="chrono", truncate=cut)),
    ("LSTM, forget bias 1, cut", Start("lstm", truncate=cut)),
):
    further[title], said = runs("adding", start, T, protocol, 0.01)
    print(f"{title:<26} {said}")
if not QUICK:
    assert all(one.solved_at for title in ("LSTM, chrono, not clipped", "LSTM, chrono, cut") for one in further[title])

# %% [markdown]
# Truncated gradients teach what to do with marks among the last steps; and weights are the same at all steps, so what
# is learned over short ways, to take in what is marked and to keep it while nothing is, serves over long ones too: the
# LSTM whose gates start open solves it with each of five seeds, cut or not. Where the gate does not start open, it must
# learn that as well; in this run not all seeds were done in time.
#
# The whole set, with more seeds, lengths up to 500 steps, copying, temporal order and parity, is the command
# `rnnscratch memory`: some minutes, and a page that says what its figures say.
#
# ## Exercises
#
# `rs.teach.answer("13.1", value)` says whether the value that exercise 1 asks for in brackets is right; with the other
# numbers likewise.
#
# **1.** A forget gate is 0.9 at all steps. After how many steps is a tenth of a cell left? Which bias gives a time of
# 100? (`"13.1"`: the two numbers, the first not rounded to whole steps.)
#
# <details><summary>Solution</summary>
#
# $0.9^k = 0.1$ at $k = \log 0.1 / \log 0.9 \approx 22$. A tenth is left after 100 steps at $f = 0.1^{1/100} = 0.977$,
# and $\sigma^{-1}(0.977) = \log \frac{f}{1 - f} \approx 3.76$.
#
# ```python
# f = 0.1 ** (1 / 100)
# assert round(np.log(0.1) / np.log(0.9)) == 22 and abs(np.log(f / (1 - f)) - 3.76) < 0.01
# # answer 13.1: [np.log(0.1) / np.log(0.9), np.log(f / (1 - f))]
# ```
# </details>
#
# **2.** The ReLU RNN that starts at the identity keeps every gradient whole at the start. Why is it nevertheless hard
# to train over many steps? (`"13.2"`: how many times larger a gradient may be after 100 steps, where the largest
# singular value of $U$ has become 1.05.)
#
# <details><summary>Solution</summary>
#
# Nothing bounds it: where training makes the largest singular value of $U$ only 1.05, a gradient may be
# $1.05^{100} \approx 132$ times as large after 100 steps, and a state too.
#
# ```python
# relu = rs.RNN(1, 1, activation="relu", dtype="float64", seed=0)
# relu.params["U_l0"][...] = 1.05
# _, back_ = relu.call(np.zeros((100, 1, 1)), np.ones((1, 1, 1)))
# np.testing.assert_allclose(back_(None, np.ones((1, 1, 1)))[1].item(), 1.05**100, rtol=1e-12)
# # answer 13.2: 1.05**100
# ```
# </details>
#
# **3.** Show that the error of saying 1 in the adding problem is $1/6$. How large is it for who keeps the second marked
# number and has forgotten the first? (`"13.3"`: that error.)
#
# <details><summary>Solution</summary>
#
# The sum of two independent uniform numbers has mean 1 and variance $2/12$. Who keeps one says it and a half, the mean
# of the other; what is left is the other's variance, $1/12$.
#
# ```python
# many = PROBLEMS["adding"].draw(np.random.default_rng(0), 50_000, 10)
# assert abs(((many.targets - 1) ** 2).mean() - 1 / 6) < 0.005
# second = (many.x[5:, :, 0] * many.x[5:, :, 1]).sum(axis=0)
# assert abs(((many.targets[0] - second - 0.5) ** 2).mean() - 1 / 12) < 0.005
# # answer 13.3: 1 / 12
# ```
# </details>
#
# ## Five questions
#
# **1.** All recurrent weights of an LSTM are 0 and its forget gate is 0.95 at all steps. Which share of $c_{60}$'s
# gradient reaches $c_0$?
#
# <details><summary>Answer</summary>
#
# $0.95^{60} \approx 0.046$: the direct path is the only one.
#
# ```python
# unit = rs.LSTM(1, 1, dtype="float64", seed=0)
# unit.params["U_l0"][...] = unit.params["W_l0"][...] = 0
# unit.gate("b_l0", "f")[...] = np.log(0.95 / 0.05)
# np.testing.assert_allclose(through_time(unit, np.ones(60), 0.3, 0.0)[0, 0], 0.95**60, rtol=1e-12)
# assert round(0.95**60, 3) == 0.046
# ```
# </details>
#
# **2.** What is the direct path of a GRU, $h_t = z h_{t-1} + (1 - z) n$ (Eq. 78)? Check it where $U = 0$.
#
# <details><summary>Answer</summary>
#
# $z$, and over many steps the product of the $z$.
#
# ```python
# gru = rs.GRU(1, 1, dtype="float64", seed=0)
# gru.params["U_l0"][...] = 0
# gru.gate("W_l0", "z")[...], gru.gate("b_l0", "z")[...] = 0.7, 0.4
# some = np.random.default_rng(0).standard_normal(7)
# _, back = gru.call(some[:, None, None], np.zeros((1, 1, 1)))
# _, of_h0 = back(None, np.ones((1, 1, 1)))
# np.testing.assert_allclose(of_h0.item(), np.prod(1 / (1 + np.exp(-(0.7 * some + 0.4)))), rtol=1e-12)
# ```
# </details>
#
# **3.** "Chrono" sets a bias to $\log n$. What is the gate then, and how much is left after $n$ steps?
#
# <details><summary>Answer</summary>
#
# $\sigma(\log n) = n / (n + 1)$, and $(n / (n + 1))^n$ is left: a half for $n = 1$, and nearly $1 / e$ for large $n$.
#
# ```python
# n = np.arange(1, 1001)
# gate = 1 / (1 + np.exp(-np.log(n)))
# np.testing.assert_allclose(gate, n / (n + 1))
# left = gate**n
# assert left[0] == 0.5 and (np.diff(left) < 0).all() and abs(left[-1] - np.exp(-1)) < 1e-3
# ```
# </details>
#
# **4.** Gradients are clipped to the norm 1. What does that do to one of norm $10^{-8}$, and to one of norm $10^8$?
#
# <details><summary>Answer</summary>
#
# Nothing to the first; the second gets the norm 1 and keeps its direction.
#
# ```python
# small, large = {"U": np.array([6e-9, 8e-9])}, {"U": np.array([6e7, 8e7])}
# for each in (small, large):
#     rs.clip_gradients(each, max_norm=1.0)
# assert small["U"].tolist() == [6e-9, 8e-9]
# np.testing.assert_allclose(large["U"], [0.6, 0.8])
# ```
# </details>
#
# **5.** The chain is cut every 5 steps. Which of 20 inputs get a gradient of the last state? And those of 17?
#
# <details><summary>Answer</summary>
#
# Steps 16 to 20; and of 17 steps the last two, for the cuts lie after steps 5, 10 and 15.
#
# ```python
# for steps_, first in ((20, 16), (17, 16)):
#     cut_off = rs.LSTM(2, 3, dtype="float64", seed=0)
#     _, state_ = cut_off.forward(np.random.default_rng(0).standard_normal((steps_, 1, 2)))
#     dx_, _ = cut_off.backward(None, tuple(np.ones_like(each) for each in state_), truncate=5)
#     reached = 1 + np.flatnonzero(dx_.any(axis=(1, 2)))
#     assert reached.tolist() == list(range(first, steps_ + 1))
# ```
# </details>
#
# ## Read on
#
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 1997: the adding problem, and the cell.
# - F. A. Gers, J. Schmidhuber, F. Cummins, *Learning to forget: continual prediction with LSTM*, Neural Computation
#   2000: the forget gate.
# - Y. Bengio, P. Simard, P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, IEEE
#   Transactions on Neural Networks 1994: latching.
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013 (arXiv
#   1211.5063): clipping.
# - Q. V. Le, N. Jaitly, G. E. Hinton, *A simple way to initialize recurrent networks of rectified linear units*, 2015
#   (arXiv 1504.00941): the identity start.
# - R. Jozefowicz, W. Zaremba, I. Sutskever, *An empirical exploration of recurrent network architectures*, ICML 2015:
#   the forget gate's bias at 1.
# - C. Tallec, Y. Ollivier, *Can recurrent neural networks warp time?*, ICLR 2018 (arXiv 1804.11188): chrono.
