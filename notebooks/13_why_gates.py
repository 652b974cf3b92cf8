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
# sizes and optimiser; looks at gradients and gates as they learn; and says where a vanilla network does as well. You
# need notebooks 3 to 5.

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
from rnnscratch.experiments import memory
from rnnscratch.experiments.memory import PROBLEMS, STARTS, Protocol, Start

# %% [markdown]
# ## 1. A sum over a long way
#
# $T$ numbers between 0 and 1, two of them marked, one in each half; the sum of the two is asked for at the end
# (Hochreiter & Schmidhuber 1997). Who knows nothing of the sequence says 1, and has the mean squared error
# $2 \cdot \frac{1}{12} = \frac16$.

# %%
T = 20 if QUICK else 100
x, targets = PROBLEMS["adding"].draw(np.random.default_rng(0), 3, 12)
for b in range(3):
    row = "  ".join(f"[{n:.2f}]" if mark else f" {n:.2f} " for n, mark in x[:, b])
    print(f"{row}  ->  {targets[0, b]:.2f}")

# %% [markdown]
# ## 2. What is left of a gradient, before anything is learned
#
# To learn what a number at step $T - k$ is for, the gradient of the last state must reach it: a product of $k$
# Jacobians (Eq. 6; notebook 3). For the vanilla network these are $\mathrm{diag}(1 - h^2)\, U^\top$. With small
# weights the slopes are near 1, and both an orthogonal $U$ and Glorot's, whose eigenvalues fill a disc of radius 1,
# keep some of it. For the gated cells two ways lead from step to step: the direct one, by Eqs 31 and 78, and the one
# through the candidate, which an orthogonal $U$ keeps in length. So the gradient is multiplied at each step by about
#
# $$\text{LSTM: } f + i\,o, \qquad \text{GRU: } z + (1 - z)\, r$$
#
# which is 0.75 where all gates are half open ($0.75^{99} = 4 \cdot 10^{-13}$), and nearly 1 where the gate that keeps
# is open. All depends on how open it is *at the start*:

# %%
starts = ["tanh RNN, Glorot", "tanh RNN, orthogonal", "ReLU RNN, identity", "LSTM, forget bias 1", "LSTM, chrono"]
starts += ["GRU, bias 0", "GRU, chrono"]
probe = PROBLEMS["adding"].draw(np.random.default_rng(1), 64, T).x
reaches = {}
for name in starts:
    model = memory.Reader(PROBLEMS["adding"], STARTS[name].layer(2, 48, T, seed=0))
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
# ("Chrono" draws the bias of the gate that keeps as $\log U(1, T)$: a gate $\sigma(\log n) = n / (n + 1)$ forgets over
# about $n$ steps, so that some unit is made for every time there is; Tallec & Ollivier 2018, arXiv 1804.11188.)
#
# ## 3. Who learns it?

# %%
protocol = Protocol(
    hidden=8 if QUICK else 48, updates=40 if QUICK else 1500, every=20 if QUICK else 50, tests=128 if QUICK else 512
)
rates = {"rnn": 0.001, "lstm": 0.01, "gru": 0.01}  # the best of some, in single runs with another seed
outcomes = {}
for name in starts:
    rate = rates[STARTS[name].cell]
    with_rate = Protocol(**{**vars(protocol), "learning_rate": rate})
    outcomes[name] = [memory.run(PROBLEMS["adding"], STARTS[name], T, with_rate, seed) for seed in (1, 2)]
    said = ", ".join("not" if each.solved_at is None else f"after {each.solved_at} updates" for each in outcomes[name])
    errors = ", ".join(f"{each.error:.4f}" for each in outcomes[name])
    print(f"{name:<22} solved: {said} (two seeds); error at the end {errors}")

# %%
curves = {name: [each.curve for each in runs] for name, runs in outcomes.items()}
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", sharey=True)
rs.plots.learning_curves({n: c for n, c in curves.items() if "RNN" in n}, "mean squared error", 1 / 6, ax=axes[0])
rs.plots.learning_curves({n: c for n, c in curves.items() if "RNN" not in n}, "mean squared error", 1 / 6, ax=axes[1])
axes[0].set_ylim(0, 0.3)
plt.show()
if not QUICK:
    assert all(each.solved_at for name in ("LSTM, chrono", "GRU, chrono") for each in outcomes[name])
    assert not any(each.solved_at for each in outcomes["tanh RNN, Glorot"])

# %% [markdown]
# Two things that one might not expect. The ReLU network, whose gradient was whole at every lag, learns nothing; and the
# GRU that began with $10^{-13}$ of it learns as fast as any. So the gradient at the start is not the whole story.
#
# The GRU has it easier than that figure says: the second mark is sometimes among the last steps, where the gradient
# is strong. From these sequences it learns to take in what is marked; and **the gates are weights too**, so it learns
# to keep them open while nothing is. Then the gradient reaches a little further, to earlier marks, and so on. The
# same curves as above at the end of training:

# %%
ends = {name: runs[0].reach["at the end"] for name, runs in outcomes.items() if "at the end" in runs[0].reach}
ax = rs.plots.gradient_by_lag(ends)
ax.set(xlabel="lag (steps before the last)", ylim=(1e-12, 1e3))
ax.figure

# %% [markdown]
# The gated cells' gradients now reach all the way, whatever they began with. Those of the tanh networks have got
# worse, and the ReLU network's, most of which is still there, have taught it nothing.
#
# ## 4. What the forget gate is worth
#
# Latching (Bengio et al. 1994): the class is in the first three steps, and noise follows. Nothing but keeping is asked
# for. The same LSTM, the bias of its forget gate at 0, 1 and "chrono":

# %%
steps = 10 if QUICK else 100
short = Protocol(hidden=protocol.hidden, learning_rate=0.01, updates=20 if QUICK else 300, every=10 if QUICK else 25)
for name in ("LSTM, forget bias 0", "LSTM, forget bias 1", "LSTM, chrono"):
    found = memory.run(PROBLEMS["latching"], STARTS[name], steps, short, seed=1)
    f = found.gates["at the start"]["f"]
    said = "not solved" if found.solved_at is None else f"solved after {found.solved_at} updates"
    print(f"{name:<20} f = {f:.2f} at the start, f^{steps} = {f**steps:.1e}: {said}")

# %% [markdown]
# ## 5. Where a vanilla network does as well
#
# Keeping alone needs no gate. On the latching problem, whose noise is weak:

# %%
for name in ("tanh RNN, Glorot", "tanh RNN, orthogonal", "ReLU RNN, identity", "LSTM, chrono"):
    with_rate = Protocol(**{**vars(short), "learning_rate": rates[STARTS[name].cell]})
    found = memory.run(PROBLEMS["latching"], STARTS[name], steps, with_rate, seed=1)
    said = "not solved" if found.solved_at is None else f"solved after {found.solved_at} updates"
    print(f"{name:<20} {said}, in {found.seconds:.1f} s")

# %% [markdown]
# So "RNNs forget" is too simple. What the vanilla network cannot do is keep *and* take in: in the adding problem a
# number must be kept while a hundred others pass by, each of which moves $h$ by the same weights as the marked ones.
# There a gate is wanted that opens for one step, because of what is read at that step. Does the LSTM that has learned
# it do so?

# %%
name = "LSTM, chrono"
layer = STARTS[name].layer(2, protocol.hidden, T, 1)
model = memory.Reader(PROBLEMS["adding"], layer)
rs.training.fit(
    model,
    memory.Stream(PROBLEMS["adding"], T, 32, 20 if QUICK else 600, 5),
    optimizer=rs.Adam(0.01),
    epochs=1,
    clip_norm=1.0,
    seed=None,
    progress=False,
)
x = PROBLEMS["adding"].draw(np.random.default_rng(7), 200, T).x
marked = x[:, :, 1] == 1
h, states = None, []
c_moves = np.zeros(x.shape[:2])
state = None
for t in range(T):
    before = np.zeros((200, protocol.hidden), np.float32) if state is None else state[1][0]
    _, state = layer.step(x[t], state)
    c_moves[t] = np.abs(state[1][0] - before).mean(axis=1)
moves = c_moves[marked].mean(), c_moves[~marked].mean()
print(f"c moves by {moves[0]:.4f} a unit where a number is marked, by {moves[1]:.4f} elsewhere")
if not QUICK:
    assert moves[0] > 2 * moves[1]

# %% [markdown]
# ## 6. What training does to memory
#
# **Truncation.** Cut the chain of gradients every 20 steps: no gradient reaches further than that. **Clipping**
# bounds a step where gradients explode; it does nothing for those that vanish.

# %%
cut = 5 if QUICK else 20
for title, start in (
    ("LSTM, chrono", Start("lstm", bias="chrono")),
    ("LSTM, chrono, not clipped", Start("lstm", bias="chrono", clip_norm=None)),
    (f"LSTM, chrono, cut every {cut} steps", Start("lstm", bias="chrono", truncate=cut)),
    (f"LSTM, forget bias 1, cut every {cut} steps", Start("lstm", truncate=cut)),
):
    with_rate = Protocol(**{**vars(protocol), "learning_rate": 0.01})
    found = memory.run(PROBLEMS["adding"], start, T, with_rate, seed=1)
    said = "not solved" if found.solved_at is None else f"solved after {found.solved_at} updates"
    print(f"{title:<40} {said} (error {found.error:.4f})")

# %% [markdown]
# Truncated gradients teach what to do with marks among the last steps; and weights are the same at all steps, so what
# is learned over short ways, to take in what is marked and to keep it while nothing is, serves over long ones too.
# Where the gate does not start open it must learn that as well, and takes longer.
#
# The whole set, with more seeds, lengths up to 500 steps, copying, temporal order and parity, is the command
# `rnnscratch memory`: some minutes, and a page that says what its figures say.
#
# ## Exercises
#
# **1.** A forget gate is 0.9 at all steps. After how many steps is a tenth of a cell left? Which bias gives a time of
# 100?
#
# <details><summary>Solution</summary>
#
# $0.9^k = 0.1$ at $k = \log 0.1 / \log 0.9 \approx 22$. A tenth is left after 100 steps at $f = 0.1^{1/100} = 0.977$,
# and $\sigma^{-1}(0.977) = \log \frac{f}{1 - f} \approx 3.76$.
#
# ```python
# f = 0.1 ** (1 / 100)
# assert round(np.log(0.1) / np.log(0.9)) == 22 and abs(np.log(f / (1 - f)) - 3.76) < 0.01
# ```
# </details>
#
# **2.** The ReLU RNN that starts at the identity keeps every gradient whole at the start. Why is it nevertheless hard
# to train over many steps?
#
# <details><summary>Solution</summary>
#
# Nothing bounds it: where training makes the largest singular value of $U$ only 1.05, a gradient is 132 times as large
# after 100 steps, and a state too.
#
# ```python
# assert 130 < 1.05**100 < 133
# ```
# </details>
#
# **3.** Show that the error of saying 1 in the adding problem is $1/6$.
#
# <details><summary>Solution</summary>
#
# The sum of two independent uniform numbers has mean 1 and variance $2/12$.
#
# ```python
# targets = PROBLEMS["adding"].draw(np.random.default_rng(0), 50_000, 10).targets
# assert abs(((targets - 1) ** 2).mean() - 1 / 6) < 0.005
# ```
# </details>
