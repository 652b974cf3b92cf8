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
# # 4. The LSTM, forwards and backwards
#
# The long short-term memory keeps a second state, the cell $c_t$, which changes by *addition*. This notebook says why,
# derives the backward pass line by line, checks every line by hand and against the library, measures how far the direct
# path through the cell carries, and watches the gates of a cell that has learned.
#
# - **Time**: about three hours with the exercises; the machine needs about a minute.
# - **You need** notebook 1, and section 3 of notebook 3; letters are those of notebook 1's table (the report's $C$ and
#   $\tilde C$ are $c$ and $g$).
# - **Afterwards you can** say what each gate is for; write the backward pass from one line up to the loss; count the
#   parameters; and say what the forget gate does to the gradient, and what it does not do.
#
# What is said of results is asserted, over five seeds or more, or says "in this run". Lines between `# BLANK` and
# `# END` are those to write yourself.

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
from rnnscratch.teach import flow, symbolic

# %% [markdown]
# ## 1. Why add, why gate
#
# **Why add.** A vanilla state is made anew at each step, $h_t = \tanh(x_t W + h_{t-1} U + b)$, and the gradient goes
# back through a product of matrices that shrinks or grows like a power (notebook 3). The one factor that does neither
# is 1, and what has the derivative 1 is a sum:
#
# $$c_t = c_{t-1} + g_t, \qquad \frac{\partial c_t}{\partial c_{t-1}} = 1$$
#
# Hochreiter and Schmidhuber call it the *constant error carousel*. What is in $c$ stays, and so does its gradient.
#
# **Why a gate for writing.** But everything is added, noise too. After 100 steps of noise the first number is lost in
# the sum. So let the network say when to write, by a number between 0 and 1 that it computes itself: $c_t = c_{t-1} +
# i_t\, g_t$. **Why one for forgetting.** Then what is no longer wanted stays forever, and the sum grows: $c_t = f_t\,
# c_{t-1} + i_t\, g_t$ (Gers, Schmidhuber and Cummins 2000). **Why one for reading.** The cell must not disturb the
# other units at all times: $h_t = o_t \tanh(c_t)$. In numbers, a sign to be kept over 100 steps of noise, by four rules
# made by hand; the share of 2,000 sequences in which the sign is right at the end:

# %%
for seed in range(5):
    rng = np.random.default_rng(seed)
    first, noise = rng.choice([-1.0, 1.0], 2000), 0.5 * rng.standard_normal((100, 2000))
    vanilla, added, gated, leaking = first, first, first, first
    for g_t in noise:
        vanilla = np.tanh(0.9 * vanilla + g_t)
        added = added + g_t
        gated = 1.0 * gated + 0.0 * g_t  # i = 0 and f = 1: closed
        leaking = 0.97 * leaking + 0.02 * g_t  # i = 0.02 and f = 0.97: nearly closed
    share = {"vanilla": vanilla, "add only": added, "closed gate": gated, "nearly closed": leaking}
    right = {name: (np.sign(state) == first).mean() for name, state in share.items()}
    print(f"seed {seed}: " + "   ".join(f"{name} {value:.0%}" for name, value in right.items()))
    assert right["vanilla"] < 0.6 and 0.52 < right["add only"] < 0.65
    assert right["closed gate"] == 1 and 0.75 < right["nearly closed"] < 1

# %% [markdown]
# ## 2. The forward pass
#
# | | the report, Eqs 28 to 33 | its model 2 | here (gate order i, f, o, g) |
# | --- | --- | --- | --- |
# | forget gate | Eq. 28 (missing in the report) | Eq. 66 | $f = \sigma(x W_f + h_{t-1} U_f + b_f)$ |
# | input gate | Eq. 29 | Eq. 67 | $i = \sigma(x W_i + h_{t-1} U_i + b_i)$ |
# | candidate | Eq. 30 | Eq. 68 | $g = \tanh(x W_g + h_{t-1} U_g + b_g)$ |
# | cell | Eq. 31 | Eq. 69 | $c_t = f \odot c_{t-1} + i \odot g$ |
# | output gate | Eq. 32 | Eq. 70 | $o = \sigma(x W_o + h_{t-1} U_o + b_o)$ |
# | state | Eq. 33 | Eq. 71 | $h_t = o \odot \tanh(c_t)$ |
#
# Two errata. Eq. 28, the forget gate, is lost in the report; it is Eq. 66. Eq. 29 gives the input gate the bias $b_c$
# of the candidate (our $b_g$); it has its own, $b_i$ (Eq. 67). If both shared one bias, its gradient would be the sum
# of two, and the layer would have $m$ parameters less. $h_0 = c_0 = 0$ is the usual start (Eq. 65). $W \cdot [h, x]$ in
# the report is one matrix for both; ours are two, $U$ for $h$ and $W$ for $x$.
#
# One unit, one input, two steps, with a start that is not zero:

# %%
Wi, Wf, Wo, Wg = 0.5, -0.3, 0.8, 1.0
Ui, Uf, Uo, Ug = 0.2, 0.4, -0.6, 0.7
bi, bf, bo, bg = 0.0, 1.0, 0.1, -0.2
x = [None, 1.0, -0.5]  # x[1], x[2]
h, c = [0.3, None, None], [-0.4, None, None]  # h[0], c[0] are given


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


i, f, o, g = ([None] * 3 for _ in range(4))
for t in (1, 2):
    zi, zf, zo, zg = (
        x[t] * W + h[t - 1] * U + b for W, U, b in ((Wi, Ui, bi), (Wf, Uf, bf), (Wo, Uo, bo), (Wg, Ug, bg))
    )
    i[t], f[t], o[t], g[t] = sigmoid(zi), sigmoid(zf), sigmoid(zo), np.tanh(zg)
    c[t] = f[t] * c[t - 1] + i[t] * g[t]  # Eq. 31
    h[t] = o[t] * np.tanh(c[t])  # Eq. 33
    print(f"t={t}  z_i = {zi:+.6f}  z_f = {zf:+.6f}  z_o = {zo:+.6f}  z_g = {zg:+.6f}")
    print(f"     i = {i[t]:.6f}    f = {f[t]:.6f}    o = {o[t]:.6f}    g = {g[t]:+.6f}")
    print(f"     c = {f[t]:.6f} * {c[t - 1]:+.6f} + {i[t]:.6f} * {g[t]:+.6f} = {c[t]:+.6f}")
    print(f"     h = {o[t]:.6f} * tanh({c[t]:+.6f}) = {h[t]:+.6f}")

# %%
layer = rs.LSTM(1, 1, dtype="float64", seed=0)
for name, values in {"W_l0": [Wi, Wf, Wo, Wg], "U_l0": [Ui, Uf, Uo, Ug], "b_l0": [bi, bf, bo, bg]}.items():
    layer.params[name][...] = np.reshape(values, layer.params[name].shape)
x_rows = np.array(x[1:]).reshape(2, 1, 1)
state = np.full((1, 1, 1), h[0]), np.full((1, 1, 1), c[0])
hs, (h_last, c_last) = layer.forward(x_rows, state)
np.testing.assert_allclose(hs.ravel(), h[1:], rtol=1e-14)
np.testing.assert_allclose(c_last.item(), c[2], rtol=1e-14)

# %% [markdown]
# The wiring, in the same letters; a dot is where a line branches:

# %%
_, ax = plt.subplots(figsize=(9.4, 5.7))
rs.plots.cell("lstm", ax=ax)
plt.show()

# %% [markdown]
# ## 3. The backward pass
#
# $\bar h$ is the gradient that reaches $h_t$: from the output at $t$ and from step $t+1$, as in notebook 1. $\bar c$
# is the one that reaches $c_t$, and it too has **two consumers**: $h_t = o \tanh(c_t)$, and the next cell $c_{t+1} =
# f_{t+1} c_t + \dots$
#
# $$\bar c_t = \underbrace{\bar h_t\, o_t\, (1 - \tanh^2 c_t)}_{\text{through } h_t} +
# \underbrace{\bar c_{t+1}\, f_{t+1}}_{\text{from the next cell}}$$
#
# Forgetting the second term, or the slope of the *second* tanh in the first, are the two classic bugs. From $\bar c$
# and $\bar h$, by Eqs 31 and 33:
#
# $$\bar o = \bar h \tanh c_t, \quad \bar i = \bar c\, g, \quad \bar f = \bar c\, c_{t-1}, \quad \bar g = \bar c\, i$$
#
# then through each gate's own function (Eqs 25 and 27): $\bar z_i = \bar i\, i(1-i)$, the same for $f$ and $o$, and
# $\bar z_g = \bar g (1 - g^2)$. Last, each $z$ is $xW + hU + b$, so by section 12 of notebook 1 $\bar W = x^\top \bar
# z$, $\bar U = h_{t-1}^\top \bar z$, $\bar b = \bar z$ summed over the batch, all added up over the steps; and
# $h_{t-1}$ goes to four gates, so $\bar h_{t-1} = \sum_{\text{gates}} \bar z\, U^\top$.
#
# The loss is $L = h_1 + 2 h_2$, so the outputs bring 1 and 2:


# %%
dhs = [None, 1.0, 2.0]


def go_back(next_cell=True, show=True):
    """dW, dU, db for i, f, o, g, and the gradients of h_0 and c_0; without next_cell a term of dc is left out."""
    h_future, c_future = 0.0, 0.0
    dW, dU, db = np.zeros(4), np.zeros(4), np.zeros(4)
    for t in (2, 1):
        dh = dhs[t] + h_future
        through_h = dh * o[t] * (1 - np.tanh(c[t]) ** 2)
        dc = through_h + c_future
        do, di, df, dg = dh * np.tanh(c[t]), dc * g[t], dc * c[t - 1], dc * i[t]
        dz = np.array([di * i[t] * (1 - i[t]), df * f[t] * (1 - f[t]), do * o[t] * (1 - o[t]), dg * (1 - g[t] ** 2)])
        if show:
            print(f"t={t}  dh = {dhs[t]} + {h_future:+.6f} = {dh:+.6f}")
            print(f"     dc = {through_h:+.6f} (through h) {c_future:+.6f} (next cell) = {dc:+.6f}")
            print(f"     di = {di:+.6f}   df = {df:+.6f}   do = {do:+.6f}   dg = {dg:+.6f}")
            print(f"     dz = {dz.round(6)} for i, f, o, g")
        dW, dU, db = dW + x[t] * dz, dU + h[t - 1] * dz, db + dz
        h_future, c_future = dz @ [Ui, Uf, Uo, Ug], dc * f[t] if next_cell else 0.0
    return dW, dU, db, h_future, dc * f[1]


dW, dU, db, by_h0, by_c0 = go_back()
print(f"for h_0: {by_h0:+.6f}, for c_0: {by_c0:+.6f}")
print(f"dU = {dU.round(6)} for i, f, o, g")

# %% [markdown]
# The library's kernel, and the backward half of its table of intermediates: a row for each, a column for each step.


# %%
def by_step(trace, phase):
    """Print one phase of a trace of single numbers: a row for each name, a column for each step."""
    rows = {}
    for row in trace:
        if row.phase == phase and row.value.size == 1:
            rows.setdefault((row.name, row.formula.replace("of the final state", "from step t+1")), {})[row.step] = row
    steps = sorted({step for found in rows.values() for step in found})
    print(f"{'':46}" + "    ".join(f"t = {t:<5}" for t in steps))
    for (name, formula), found in rows.items():
        print(f"{name:16}{formula:30}" + "    ".join(f"{found[t].value.item():+.6f}" for t in steps))


_, (dh_0, dc_0) = layer.backward(np.array(dhs[1:]).reshape(2, 1, 1))
for name, found in zip(("W_l0", "U_l0", "b_l0"), (dW, dU, db)):
    np.testing.assert_allclose(layer.grads[name].ravel(), found, rtol=1e-13)
np.testing.assert_allclose([dh_0.item(), dc_0.item()], [by_h0, by_c0], rtol=1e-13)
by_step(rs.teach.trace(layer, x_rows, state, np.array(dhs[1:]).reshape(2, 1, 1)), "backward")

# %% [markdown]
# ## 4. All paths
#
# The state has two parts, so there are many ways back. What leads from one step to the next, for one unit:
#
# $$\frac{\partial c_t}{\partial c_{t-1}} = f_t, \qquad
# \frac{\partial h_t}{\partial c_{t-1}} = k_t f_t, \qquad k_t = o_t (1 - \tanh^2 c_t)$$
# $$\frac{\partial c_t}{\partial h_{t-1}} = \delta_t = c_{t-1} f_t(1 - f_t)\, U_f + g_t\, i_t(1 - i_t)\, U_i +
# i_t (1 - g_t^2)\, U_g$$
# $$\frac{\partial h_t}{\partial h_{t-1}} = \tanh(c_t)\, o_t(1 - o_t)\, U_o + k_t\, \delta_t$$
#
# and a use of $U_i$ at step $t$ moves $c_t$ by
# $\frac{\partial^+ c_t}{\partial U_i} = g_t\, i_t (1 - i_t)\, h_{t-1}$ and $h_t$ by $k_t$ times that. From
# $L_2 = 2 h_2$ back to the uses of $U_i$ there are three paths. The library lists them, and evaluates each:

# %%
derivation = symbolic.derivation("lstm", T=2, parameter="U_i")
numbers = {"x_1": x[1], "x_2": x[2], "h_0": h[0], "c_0": c[0], "v_2": dhs[2], "W_i": Wi, "W_f": Wf, "W_o": Wo}
numbers |= {"W_g": Wg, "U_i": Ui, "U_f": Uf, "U_o": Uo, "U_g": Ug, "b_i": bi, "b_f": bf, "b_o": bo, "b_g": bg}
values = [float(value) for value in derivation.evaluate(numbers)]

k = [None] + [o[t] * (1 - np.tanh(c[t]) ** 2) for t in (1, 2)]
use = [None] + [g[t] * i[t] * (1 - i[t]) * h[t - 1] for t in (1, 2)]
delta_2 = c[1] * f[2] * (1 - f[2]) * Uf + g[2] * i[2] * (1 - i[2]) * Ui + i[2] * (1 - g[2] ** 2) * Ug
h_by_h = np.tanh(c[2]) * o[2] * (1 - o[2]) * Uo + k[2] * delta_2
by_hand = [dhs[2] * k[2] * use[2], dhs[2] * h_by_h * k[1] * use[1], dhs[2] * k[2] * f[2] * use[1]]
for path, value, mine in zip(derivation.paths, values, by_hand):
    print(f"L_2 <- {' <- '.join(path.through):10} <- U_i at step {path.step}: {value:+.6f}, by hand {mine:+.6f}")
print(f"sum {sum(values):+.6f}")
np.testing.assert_allclose(values, by_hand, rtol=1e-12)
layer.forward(x_rows, state)
layer.backward(np.array([0.0, dhs[2]]).reshape(2, 1, 1))
np.testing.assert_allclose(layer.grads["U_l0"][0, 0], sum(values), rtol=1e-12)  # the first of i, f, o, g

# %% [markdown]
# The number of paths more than doubles with each step; one pass back adds them all up. The hand-written kernel can be
# run on symbols too. Is its gradient *the same expression* as the one that SymPy finds by differentiating the
# equations? And to how many digits do they agree at random numbers, over one step more?

# %%
counts = [len(symbolic.derivation("lstm", steps, "U_i").paths) for steps in (1, 2, 3, 4)]
print("paths over 1, 2, 3, 4 steps:", *counts)
assert counts == [1, 3, 7, 15]
same = symbolic.prove_identical("lstm", T=1 if QUICK else 2)
print("the same expression:", same)
assert all(same.values())
error = symbolic.prove_digits("lstm", T=2 if QUICK else 3, H=1)
print(f"largest relative error at random numbers: {float(error):.1e}")
assert error < 1e-30

# %% [markdown]
# ## 5. How many parameters?
#
# $n$ inputs, $m$ units: each of four gates has $n \times m$ weights for the input, $m \times m$ for the state and $m$
# biases, in all $4(n + m + 1)m$. (PyTorch and Keras' GPU form have two biases per gate, which only ever add up.)

# %%
for n, m in ((1, 1), (64, 64), (100, 50)):
    count = 4 * (n + m + 1) * m
    print(f"n = {n:3}, m = {m:2}: 4 ({n} + {m} + 1) {m} = {count:6,}; the layer has {rs.LSTM(n, m).num_params:6,}")
    assert rs.LSTM(n, m).num_params == count
assert symbolic.count_parameters("lstm", 5, 3) == 4 * (5 + 3 + 1) * 3  # counted off the written-out equations

# %% [markdown]
# ## 6. Is the derivative of the cell equal to the forget gate?
#
# By Eq. 31 $\partial c_t / \partial c_{t-1} = f_t$ if $i$, $f$ and $g$ are held fixed: the **direct path**. But
# $c_{t-1}$ also changes $h_{t-1}$, and that changes all gates at $t$. The total derivative has both. "The LSTM
# prevents vanishing and exploding gradients", as the report says, holds for neither: the direct path is a product of
# numbers below 1, which may vanish slowly; the other paths may do anything.

# %%
T, H = 40, 12


def paths(bias, seed, scale=1.0):
    """The direct path and all paths from c_0 .. c_T to c_T, (T+1, H) by lag, of an LSTM with this forget bias."""
    net = rs.LSTM(4, H, dtype="float64", seed=seed)
    net.params["U_l0"] *= scale
    net.gate("b_l0", "f")[...] = bias
    inputs = np.random.default_rng(seed).standard_normal((T, 1, 4)) * 0.5
    return [each[T, ::-1] for each in flow.direct_path(net, inputs)]


fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharey=True)
for ax, bias in zip(axes, (0.0, 1.0, 4.0)):
    direct, total = paths(bias, seed=0)
    lag = np.arange(T + 1)
    ax.semilogy(lag, direct.mean(axis=1), label="direct path, product of f", marker="o", markevery=5, ms=4,
                color=rs.plots.COLOURS[0])  # fmt: skip
    ax.semilogy(lag, np.abs(total).mean(axis=1), label="all paths", marker="s", markevery=5, ms=4,
                color=rs.plots.COLOURS[1])  # fmt: skip
    ax.set(xlabel="lag k (steps)", title=f"forget bias {bias:g}")
    ax.legend(frameon=False)
    print(f"bias {bias:g}: after {T} steps direct {direct[T].mean():.1e}, total {np.abs(total[T]).mean():.1e}")
axes[0].set_ylabel(r"mean size of $\partial c_T / \partial c_{T-k}$")
plt.show()
for seed in range(5):
    means = [[np.abs(each[T]).mean() for each in paths(bias, seed)] for bias in (0.0, 1.0, 4.0)]
    assert means[0][0] < 1e-9 < means[1][0] < 1e-3 < 0.2 < means[2][0] < 1
    assert means[0][1] > 10 * means[0][0] and means[1][1] > 10 * means[1][0]

# %% [markdown]
# With the biases 0 and 1 the two agree for some steps; after 40 steps the other paths carry more than ten times as much
# as the direct one. A forget bias of 0 halves the cell at every step. That is why it starts at 1 here, as in most
# libraries (Gers et al. 2000, Jozefowicz et al. 2015); for long memories more is better, for the *direct* path. It
# cannot explode; all paths together can: **an LSTM still needs clipping**. With large recurrent weights:

# %%
for seed in range(5):
    net = rs.LSTM(4, H, dtype="float64", seed=seed)
    net.params["U_l0"] *= 6
    net.gate("b_l0", "f")[...] = 4.0
    inputs = np.random.default_rng(seed).standard_normal((T, 1, 4)) * 0.5
    direct, total = flow.direct_path(net, inputs)
    largest = flow.singular_values(net, inputs)[T, 0, 0]
    print(f"seed {seed}: direct path at most {direct[T, 0].max():.3f}; largest singular value, all paths {largest:.1e}")
    assert direct[T, 0].max() < 1 < largest

# %% [markdown]
# ## 7. Which gates are open?
#
# A gate near 0 or 1 has slope near 0: it does not learn. `flow.saturation` counts, within a tenth of the ends:

# %%
for seed in range(5):
    inputs = np.random.default_rng(seed).standard_normal((T, 1, 4)) * 0.5
    near_an_end = []
    for scale in (1, 6):
        net = rs.LSTM(4, H, dtype="float64", seed=seed)
        net.params["U_l0"] *= scale
        shares = flow.saturation(net, inputs)
        near_an_end.append(np.mean([low + high for low, high in shares.values()]))
        if seed == 0:
            print(f"U scaled by {scale}")
            for gate, (low, high) in shares.items():
                print(f"    {gate}: {low:.0%} near the lower end, {high:.0%} near the upper")
    assert near_an_end[0] < near_an_end[1]

# %% [markdown]
# ## 8. Gates at work: twelve steps
#
# What do gates learn? One unit, two inputs: a number, and a mark. Numbers are noise, but the one that is marked, +1 or
# -1, must be told at the end; the mark comes somewhere in the first half. Five cells are trained, with five seeds.

# %%
STEPS = 12


def marked(count, rng):
    """x (12, count, 2), noise and a mark, and the marked signs (count,)."""
    x = np.zeros((STEPS, count, 2))
    x[:, :, 0] = rng.standard_normal((STEPS, count))
    at, signs, row = rng.integers(0, STEPS // 2, count), rng.choice([-1.0, 1.0], count), np.arange(count)
    x[at, row] = np.stack([signs, np.ones(count)], axis=1)
    return x, signs


def learned(seed, updates):
    """An LSTM of one unit and its dense layer, trained on the marked sign."""
    rng, optimizer = np.random.default_rng(seed), rs.Adam(0.03)
    lstm, dense = rs.LSTM(2, 1, dtype="float64", seed=seed), rs.Dense(1, 1, dtype="float64", seed=seed)
    params = {**lstm.params, **{f"dense.{name}": array for name, array in dense.params.items()}}
    for _ in range(updates):
        x, signs = marked(64, rng)
        _, (h_T, _) = lstm.forward(x)
        _, dlogit = rs.losses.binary_cross_entropy(dense.forward(h_T[0])[:, 0], signs > 0)
        lstm.backward(None, (dense.backward(dlogit[:, None])[None], None))
        optimizer.step(params, {**lstm.grads, **{f"dense.{name}": array for name, array in dense.grads.items()}})
    return lstm, dense


cells = [learned(seed, updates=20 if QUICK else 800) for seed in range(5)]
test, signs = marked(500, np.random.default_rng(99))
marks = test[:, :, 1] == 1
gates = []  # of each cell: by gate (12, 500)
for seed, (lstm, dense) in enumerate(cells):
    _, (h_T, _) = lstm.forward(test)
    right = ((dense.forward(h_T[0])[:, 0] > 0) == (signs > 0)).mean()
    steps = rs.teach.trace(lstm, test)
    gates.append({name: np.stack([steps[name, t][:, 0] for t in range(1, STEPS + 1)]) for name in "ifoc"})
    means = {name: (values[marks].mean(), values[~marks].mean()) for name, values in gates[-1].items()}
    told = ", ".join(f"{name} {means[name][0]:.2f} at the mark, {means[name][1]:.2f} else" for name in "if")
    print(f"seed {seed}: {right:.0%} right; mean of {told}")
    assert QUICK or right > 0.95 and means["f"][1] > 0.8

# %%
fig, axes = plt.subplots(2, 3, figsize=(11, 4.2), layout="constrained", sharex=True, height_ratios=[1.2, 1])
for column in range(3):
    strip = np.stack([gates[2][name][:, column] for name in "ifo"])
    image = axes[0, column].imshow(strip, cmap="cividis_r", vmin=0, vmax=1, aspect="auto",
                                   extent=(0.5, STEPS + 0.5, 2.5, -0.5))  # fmt: skip
    for t in range(STEPS):
        for row in range(3):
            value = strip[row, t]
            axes[0, column].text(t + 1, row, f"{value:.1f}", ha="center", va="center", fontsize=7,
                                 color="white" if value > 0.5 else "black")  # fmt: skip
    axes[0, column].set(yticks=range(3), yticklabels=["input i", "forget f", "output o"])
    axes[1, column].plot(range(1, STEPS + 1), test[:, column, 0], "o", color="0.6", ms=4, label="input")
    at = int(marks[:, column].argmax())
    axes[1, column].plot(at + 1, test[at, column, 0], "s", color=rs.plots.COLOURS[1], ms=8, label="marked")
    axes[1, column].plot(range(1, STEPS + 1), gates[2]["c"][:, column], color=rs.plots.COLOURS[0], label="cell c")
    axes[1, column].axhline(0, color="black", lw=0.6, ls=":")
    axes[1, column].set(xlabel="step t", xticks=range(1, STEPS + 1), ylim=(-2.8, 3.4))
    axes[1, column].legend(frameon=False, fontsize=8, ncols=3, loc="upper center")
fig.colorbar(image, ax=axes[0], label="gate")
plt.show()

# %% [markdown]
# The picture shows three sequences and the cell of seed 2, in this run. Its input gate opens at the mark, where its
# forget gate lets go of what was there, and is nearly shut on noise, while the forget gate stands open at 1: the cell
# holds what it has. (Its sign is the opposite of the mark's; the dense layer turns it round.) All five cells learn the
# task and keep their forget gate above 0.8 on noise. Not all do it by the input gate: that of seed 0 is no smaller on
# noise than at the mark in this run, and the table says so. A gate's name says what it *can* do.
#
# ## 9. A model: from the last state to the loss
#
# The report's model 2 ends with a dense layer on the last state, $\hat y = f(W_{ho}^\top h_T + b_y)$ (Eq. 72; our
# $h_T V + b_y$), and a loss $\mathcal L(\hat y, y)$ (Eq. 73). For two classes $f$ is the sigmoid, the loss is the
# cross-entropy, and its gradient with respect to the logit is $\hat y - y$: derived in notebook 1, section 13, for
# sigmoid and softmax. It enters BPTT at the last step alone, as `dstate`:

# %%
dense = rs.Dense(H, 1, dtype="float64", seed=1)
net = rs.LSTM(4, H, dtype="float64", seed=0)
_, (h_T, _) = net.forward(inputs)
logit = dense.forward(h_T[0])[:, 0]
label = np.array([1])
loss, dlogit = rs.losses.binary_cross_entropy(logit, label)
print(f"logit {logit[0]:+.6f}, y_hat {sigmoid(logit)[0]:.6f}, loss {float(loss):.6f}, gradient {dlogit[0]:+.6f}")
np.testing.assert_allclose(float(loss), -np.log(sigmoid(logit[0])), rtol=1e-13)
np.testing.assert_allclose(dlogit[0], sigmoid(logit[0]) - 1, rtol=1e-13)
dh_T = dense.backward(dlogit[:, None])
net.backward(None, (dh_T[None], None))

model = rs.SequenceClassifier(10, 4, H, cell="lstm", pooling="last", dtype="float64", seed=0)  # all of it, ready made
report = rs.check_gradients(model, np.random.default_rng(0).integers(0, 10, (6, 3)), lengths=[6, 2, 4])
print(str(report).rpartition("\n\n")[2])
assert report.ok

# %% [markdown]
# ## 10. Write it yourself
#
# Four rungs, as in notebook 1: one line, one step (first its gates), the sequence, the model. `trace.compare` names the
# first number that differs, its step, and what its line should be. The forward pass is given; it keeps, for each step,
# what the way back needs. Blocks of columns stand in the order i, f, o, g.


# %%
def step(x, h_prev, c_prev, W, U, b):
    """h, c (B, H) of one step, and what the way back needs."""
    z = x @ W + h_prev @ U + b  # (B, 4H)
    i, f, o, g = np.split(z, 4, axis=1)
    i, f, o, g = 0.5 * np.tanh(0.5 * i) + 0.5, 0.5 * np.tanh(0.5 * f) + 0.5, 0.5 * np.tanh(0.5 * o) + 0.5, np.tanh(g)
    c = f * c_prev + i * g
    return o * np.tanh(c), c, (x, h_prev, c_prev, i, f, o, g, c)


def forward(xs, h0, c0, W, U, b):
    """hs (T, B, H), the last h and c, and what each step kept."""
    h, c, hs, kept = h0, c0, [], []
    for x in xs:
        h, c, this = step(x, h, c, W, U, b)
        hs.append(h)
        kept.append(this)
    return np.stack(hs), h, c, kept


T, B, D, H = 4, 3, 2, 5
rng = np.random.default_rng(0)
net = rs.LSTM(D, H, dtype="float64", seed=1)
W, U, b = (net.params[name] for name in ("W_l0", "U_l0", "b_l0"))
xs, h0, c0 = rng.standard_normal((T, B, D)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
up, dh_T, dc_T = rng.standard_normal((T, B, H)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
trace = rs.teach.trace(net, xs, (h0[None], c0[None]), up, (dh_T[None], dc_T[None]))
hs, h_T, c_T, kept = forward(xs, h0, c0, W, U, b)


# %% [markdown]
# **Rung 1: one line.** The two consumers of the cell.


# %%
def cell_gradient(dh, dc_future, o, c):
    """dc (B, H): from h = o tanh(c), and from the next cell."""
    # BLANK: both terms of section 3, one line
    dc = dh * o * (1 - np.tanh(c) ** 2) + dc_future
    # END
    return dc


# %%
mine = {}
for t in range(1, T + 1):
    mine["dc", t] = cell_gradient(trace["dh", t], trace["dc (future)", t], trace["o", t], trace["c", t])
found = trace.compare(mine)
assert found.ok, found


def two_outputs(c):
    o = trace["o", 1]
    return (o * np.tanh(c), c), lambda both: cell_gradient(both[0], both[1], o, c)


assert rs.check_gradients(two_outputs, c0).ok
print("rung 1: right")


# %% [markdown]
# **Rung 2: one step.** First from $\bar h_t$ and $\bar c_t$ to the gates, and through each gate's own slope.


# %%
def gate_gradients(dh, dc, kept):
    """di, df, do, dg (B, H), and the gradients of their z, (B, H) each."""
    x, h_prev, c_prev, i, f, o, g, c = kept
    # BLANK: di, df, do, dg by Eqs 31 and 33; then dzi, dzf, dzo, dzg by the slopes of sigmoid and tanh
    di, df, do, dg = dc * g, dc * c_prev, dh * np.tanh(c), dc * i
    dzi, dzf, dzo, dzg = di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)
    # END
    return di, df, do, dg, dzi, dzf, dzo, dzg


# %%
mine = {}
for t in range(1, T + 1):
    names = ("di", "df", "do", "dg", "dz_i", "dz_f", "dz_o", "dz_g")
    of_step = gate_gradients(trace["dh", t], trace["dc", t], kept[t - 1])
    mine |= {(name, t): value for name, value in zip(names, of_step)}
found = trace.compare(mine)
assert found.ok, found
print("rung 2, the gates: right")


# %% [markdown]
# Then to all that the step gives back.


# %%
def step_backward(dh, dc_future, kept, W, U):
    """dx, dh_prev, dc_prev, dW (D, 4H), dU (H, 4H), db (4H,) of one step."""
    x, h_prev, c_prev, i, f, o, g, c = kept
    dc = cell_gradient(dh, dc_future, o, c)
    dz = np.concatenate(gate_gradients(dh, dc, kept)[4:], axis=1)  # (B, 4H)
    # BLANK: dc_prev by the direct path, and the five products of section 3
    dc_prev = dc * f
    dx, dh_prev = dz @ W.T, dz @ U.T
    dW, dU, db = x.T @ dz, h_prev.T @ dz, dz.sum(axis=0)
    # END
    return dx, dh_prev, dc_prev, dW, dU, db


# %%
mine = {}
for t in range(1, T + 1):
    of_step = step_backward(trace["dh", t], trace["dc (future)", t], kept[t - 1], W, U)
    mine |= {(name, t): value for name, value in zip(("dx", "dh_prev", "dc_prev", "dW_t", "dU_t", "db_t"), of_step)}
found = trace.compare(mine)
assert found.ok, found


def one_step(x, h_prev, c_prev, W, U, b):
    h, c, kept = step(x, h_prev, c_prev, W, U, b)
    return (h, c), lambda both: step_backward(both[0], both[1], kept, W, U)


assert rs.check_gradients(one_step, xs[0], h0, c0, W, U, b).ok
print("rung 2: right")


# %% [markdown]
# **Rung 3: the sequence.** Two futures are handed from step to step, $h$'s and $c$'s. What you call `dh`, and the
# `c_future` that a step finds, are noted in `reached`: where a number is wrong, the check begins with them.


# %%
def backward(kept, W, U, dhs, dh_T, dc_T, reached=None):
    """dxs (T, B, D), dh0, dc0 (B, H), dW, dU, db, from the gradients of all outputs and of the final h and c.

    The dict `reached`, where there is one, gets what reaches each state: ("dh", t) and ("dc (future)", t).
    """
    dxs = np.zeros((len(kept), *kept[0][0].shape))
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros(U.shape[1])
    h_future, c_future = dh_T, dc_T
    for t in range(len(kept), 0, -1):
        from_next = c_future.copy()
        # BLANK: dh from both consumers; one step back; add up; hand both futures on
        dh = dhs[t - 1] + h_future
        dxs[t - 1], h_future, c_future, dW_t, dU_t, db_t = step_backward(dh, c_future, kept[t - 1], W, U)
        dW, dU, db = dW + dW_t, dU + dU_t, db + db_t
        # END
        if reached is not None:
            reached["dh", t], reached["dc (future)", t] = dh.copy(), from_next
    return dxs, h_future, c_future, dW, dU, db


# %%
names, reached = ("dx", ("dh_prev", 1), ("dc_prev", 1), "dW", "dU", "db"), {}
mine = dict(zip(names, backward(kept, W, U, up, dh_T, dc_T, reached)))
found = trace.compare({**reached, **mine})
assert found.ok, found


def sequence(xs, h0, c0, W, U, b):
    hs, h_T, c_T, kept = forward(xs, h0, c0, W, U, b)
    return (hs, h_T, c_T), lambda all_three: backward(kept, W, U, *all_three)


assert rs.check_gradients(sequence, xs, h0, c0, W, U, b).ok
print("rung 3: right")


# %% [markdown]
# **Rung 4: the model.** Two classes, sigmoid and cross-entropy on the last state, mean over the batch.


# %%
def classifier(xs, labels, W, U, b, V, b_y):
    """The loss, and the gradients dW, dU, db, dV (H, 1), db_y (1,)."""
    B, H = len(labels), len(U)
    zero = np.zeros((B, H), xs.dtype)
    hs, h_T, _, kept = forward(xs, zero, zero, W, U, b)
    y_hat = 0.5 * np.tanh(0.5 * (h_T @ V + b_y)[:, 0]) + 0.5
    loss = -(labels * np.log(y_hat) + (1 - labels) * np.log(1 - y_hat)).mean()
    # BLANK: da (B, 1), the gradient of the logits; dV, db_y, dh_T; then the sequence
    da = (y_hat - labels)[:, None] / B
    dV, db_y, dh_T = h_T.T @ da, da.sum(axis=0), da @ V.T
    _, _, _, dW, dU, db = backward(kept, W, U, np.zeros_like(hs), dh_T, np.zeros_like(dh_T))
    # END
    return loss, (dW, dU, db, dV, db_y)


# %%
labels, V, b_y = np.array([1, 0, 1]), rng.standard_normal((H, 1)), rng.standard_normal(1)
value, mine = classifier(xs, labels, W, U, b, V, b_y)
dense = rs.Dense(H, 1, dtype="float64", seed=0)
dense.params["W"][...], dense.params["b"][...] = V, b_y
theirs, da = rs.losses.binary_cross_entropy(dense.forward(net.forward(xs)[1][0][0])[:, 0], labels)
np.testing.assert_allclose(value, theirs, rtol=1e-13)
dh_T = dense.backward(da[:, None])
trace = rs.teach.trace(net, xs, None, None, (dh_T[None], np.zeros((1, B, H))))
for name, yours, right in zip(("dV", "db_y"), mine[3:], (dense.grads["W"], dense.grads["b"])):
    np.testing.assert_allclose(yours, right, rtol=1e-12, atol=1e-14, err_msg=name)
found = trace.compare(dict(zip(("dW", "dU", "db"), mine)))
assert found.ok, found


def loss_of(W, U, b, V, b_y):
    value, gradients = classifier(xs.astype(W.dtype), labels, W, U, b, V, b_y)
    return value, lambda up: tuple(up * gradient for gradient in gradients)


assert rs.check_gradients(loss_of, W, U, b, V, b_y).ok
print("rung 4: right")

# %% [markdown]
# ## Exercises
#
# **1.** Remove the second term of $\bar c$ in section 3. Which gradients change, of which gates and at which steps?
# (The answer to be checked: `dU` without that term, for i, f, o, g.)
#
# <details><summary>Solution</summary>
#
# At step 2 nothing: there is no next cell. At step 1 $\bar c_1$ is wrong, and with it $\bar z_i$, $\bar z_f$ and
# $\bar z_g$; but $\bar o = \bar h \tanh c$ does not ask for $\bar c$, and $\bar h_1$ comes from step 2, which is
# right. So all gradients of the **output gate** stay as they are, and those of the others change: that of $U_i$ from
# 0.058815 to 0.025861. Wrong are also the gradients of $h_0$ and $c_0$.
#
# ```python
# all_right, without = go_back(show=False), go_back(next_cell=False, show=False)
# for kind in range(3):  # W, U, b, each for i, f, o, g
#     same = np.isclose(all_right[kind], without[kind], rtol=1e-12)
#     assert same.tolist() == [False, False, True, False]
# np.testing.assert_allclose([all_right[1][0], without[1][0]], [0.058815, 0.025861], atol=1e-6)
# np.testing.assert_allclose(without[1][2], 0.011024, atol=1e-6)
# assert not np.isclose(all_right[3], without[3]) and not np.isclose(all_right[4], without[4])
# # answer 4.1: without[1]
# ```
# </details>
#
# **2.** What is $\partial c_1 / \partial c_0$, and what is $\partial h_1 / \partial c_0$? Compute both from the
# numbers of section 2.
#
# <details><summary>Solution</summary>
#
# $h_0$ is given, so the gates of step 1 do not depend on $c_0$: $f_1$, and $o_1 (1 - \tanh^2 c_1) f_1$.
#
# ```python
# J = flow.jacobians(layer, x_rows, state=state)[1, 0]  # of (h_1, c_1) by (h_0, c_0)
# np.testing.assert_allclose(J[1, 1], f[1], rtol=1e-13)
# np.testing.assert_allclose(J[0, 1], o[1] * (1 - np.tanh(c[1]) ** 2) * f[1], rtol=1e-13)
# # answer 4.2: J[[1, 0], 1]
# ```
# </details>
#
# **3.** Set $U = 0$. Is the total derivative of the cell now the product of the forget gates?
#
# <details><summary>Solution</summary>
#
# Yes: without recurrent weights the gates do not depend on the state.
#
# ```python
# direct, total = paths(bias=1.0, seed=0, scale=0.0)
# np.testing.assert_allclose(total, direct, rtol=1e-12)
# ```
# </details>
#
# **4.** Take the report's Eq. 29 at its word: input gate and candidate share *one* bias, $b_c = -0.2$ (so $b_i$ is -0.2
# too, and no longer 0). What is $\partial L/\partial b_c$?
#
# <details><summary>Solution</summary>
#
# The sum of what its two uses get, as for any number that is used twice: 0.711425. Both parts must be those of the
# network *with* the shared bias; those of section 3 belong to another forward pass, with $b_i = 0$.
#
# ```python
# def run(b_i, b_g):
#     hh, cc, total = h[0], c[0], 0
#     for t in (1, 2):
#         ii, ff = sigmoid(x[t] * Wi + hh * Ui + b_i), sigmoid(x[t] * Wf + hh * Uf + bf)
#         oo, gg = sigmoid(x[t] * Wo + hh * Uo + bo), np.tanh(x[t] * Wg + hh * Ug + b_g)
#         cc = ff * cc + ii * gg
#         hh = oo * np.tanh(cc)
#         total = total + dhs[t] * hh
#     return total
#
# tiny, b_c = 1e-200, -0.2
# shared = run(b_c + 1j * tiny, b_c + 1j * tiny).imag / tiny
# parts = run(b_c + 1j * tiny, b_c).imag / tiny, run(b_c, b_c + 1j * tiny).imag / tiny
# np.testing.assert_allclose(shared, sum(parts), rtol=1e-13)
# np.testing.assert_allclose(shared, 0.711425, atol=1e-6)
# assert abs(shared - (db[0] + db[3])) > 0.04  # not those of section 3
# # answer 4.4: shared
# ```
# </details>
#
# **5.** *Peepholes* let the gates read the cell: $f = \sigma(x W_f + h_{t-1} U_f + p_f\, c_{t-1} + b_f)$. What is the
# derivative of $c_t$ by $c_{t-1}$ now, with $h_{t-1}$ held fixed, if the forget gate alone has a peephole? (The
# answer to be checked: its value at step 1 of section 2, with $p_f = 0.7$.)
#
# <details><summary>Solution</summary>
#
# $f_t + c_{t-1}\, f_t (1 - f_t)\, p_f$: the direct path is no longer the forget gate alone.
#
# ```python
# def cell_of(c_prev, p=0.7):
#     ff = sigmoid(x[1] * Wf + h[0] * Uf + p * c_prev + bf)
#     return ff * c_prev + i[1] * g[1], ff
#
# cc, ff = cell_of(c[0] + 1e-200j)
# right = ff.real + c[0] * ff.real * (1 - ff.real) * 0.7
# np.testing.assert_allclose(cc.imag / 1e-200, right, rtol=1e-13)
# # answer 4.5: right
# ```
# </details>
#
# ## Five questions
#
# **1.** What are the two consumers of $c_t$, and of $h_t$?
#
# <details><summary>Answer</summary>
#
# Of $c_t$: $h_t$ and $c_{t+1}$. Of $h_t$: the output at $t$ and the gates at $t+1$.
#
# ```python
# names = {row.name for row in trace}
# assert {"dc (through h)", "dc (future)", "dh (output)", "dh (future)"} <= names
# ```
# </details>
#
# **2.** All forget gates are 0.5. What share of the direct path's gradient is left after 20 steps?
#
# <details><summary>Answer</summary>
#
# $0.5^{20}$, about a millionth.
#
# ```python
# assert abs(0.5**20 - 1e-6) < 1e-7
# ```
# </details>
#
# **3.** How many parameters has an LSTM with 3 inputs and 5 units?
#
# <details><summary>Answer</summary>
#
# $4 (3 + 5 + 1) \cdot 5 = 180$.
#
# ```python
# assert rs.LSTM(3, 5).num_params == 180
# ```
# </details>
#
# **4.** A program leaves out the slope of the second tanh: $\bar c = \bar h\, o$. With which numbers would it pass a
# gradient check nearly?
#
# <details><summary>Answer</summary>
#
# With $c$ near 0, where $1 - \tanh^2 c$ is near 1: small weights and a zero start hide it.
#
# ```python
# from rnnscratch.teach import mutants
# suspect = mutants.SecondTanhForgotten(2, 3, dtype="float64", seed=0)
# errors = []
# for size in (1.0, 1e-3):
#     for array in suspect.params.values():
#         array *= size
#     zero = np.zeros((1, 1, 3))
#     errors.append(rs.check_gradients(suspect, size * np.ones((2, 1, 2)), state=(zero, zero)).max_error)
# assert errors[0] > 1e-3 and errors[1] < 1e-6
# ```
# </details>
#
# **5.** Which gates' gradients does a wrong $\bar c$ spoil, and which not?
#
# <details><summary>Answer</summary>
#
# Those of $i$, $f$ and $g$ at that step; not that of $o$, which comes from $\bar h$.
#
# ```python
# assert all("dc" in row.formula for row in trace if row.name in ("di", "df", "dg"))
# assert all("dc" not in row.formula for row in trace if row.name == "do")
# ```
# </details>
#
# ## Read on
#
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 1997: the constant error carousel, input
#   and output gates.
# - F. A. Gers, J. Schmidhuber, F. Cummins, *Learning to forget: continual prediction with LSTM*, Neural Computation
#   2000: the forget gate.
# - A. Graves, J. Schmidhuber, *Framewise phoneme classification with bidirectional LSTM and other neural network
#   architectures*, Neural Networks 2005: the full gradient.
# - R. Jozefowicz, W. Zaremba, I. Sutskever, *An empirical exploration of recurrent network architectures*, ICML 2015:
#   the forget bias.
# - K. Greff, R. K. Srivastava, J. Koutnik, B. R. Steunebrink, J. Schmidhuber, *LSTM: a search space odyssey*, IEEE
#   Transactions on Neural Networks and Learning Systems 2017: which parts matter.
