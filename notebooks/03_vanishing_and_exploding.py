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
# # 3. Vanishing and exploding gradients
#
# Why do plain recurrent networks forget? Because what flows back through time is a product of Jacobians, and products
# shrink or grow like powers. This notebook measures these products: their singular values, the gradient against the
# lag, what clipping does, and what gates change. You need notebook 1.

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
from rnnscratch.teach import flow

# %% [markdown]
# ## 1. The activation functions and their slopes
#
# $$\sigma(z) = \frac{1}{1 + e^{-z}} \;\text{(Eq. 24)},\quad \sigma'(z) = \sigma(z)(1 - \sigma(z)) \;\text{(Eq. 25)},
# \tanh(z) = \frac{e^z - e^{-z}}{e^z + e^{-z}} \;\text{(Eq. 26)},\quad \tanh'(z) = 1 - \tanh^2(z) \;\text{(Eq. 27)}$$
#
# The report gives $\sigma'$ the range [0, 0.5] and $\tanh$ the range [-1, 1]. In fact $\sigma'$ lies in (0, 0.25]:
# $y(1-y)$ is largest at $y = \tfrac12$. And $\tanh$ lies in (-1, 1), its slope in (0, 1].

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.3), layout="constrained")
for ax, name in zip(axes, ("sigmoid", "tanh")):
    rs.plots.activation(name, ax=ax)
plt.show()
for name in ("sigmoid", "tanh"):
    _, slope = rs.plots.activation_values(name, np.linspace(-8, 8, 100001))
    print(f"largest slope of {name}: {slope.max():.6f}")
y, _ = rs.plots.activation_values("sigmoid", np.array([1.0, -3.0]))
np.testing.assert_allclose(y, 1 / (1 + np.exp([-1.0, 3.0])), rtol=1e-15)

# %% [markdown]
# ## 2. One unit: a power
#
# For one unit the factor of Eq. 6 is $(1 - h_t^2)\, W$. With no input and $h = 0$ the slope is 1, and $k$ steps back
# give $W^k$. A state that is not 0 has a slope below 1. The sigmoid's slope is at most $\tfrac14$, so there $|W|$
# would have to be above 4 to keep the gradient from vanishing.

# %%
for W in (0.9, 1.0, 1.1):
    print(f"W = {W}: " + ", ".join(f"{k} steps {W**k:.2e}" for k in (1, 10, 50, 100)))
print(f"sigmoid, W = 1: 10 steps at most {0.25**10:.1e}, 50 steps at most {0.25**50:.1e}")

# %% [markdown]
# ## 3. Many units: singular values
#
# For H units $\partial h_t / \partial h_{t-1}$ is a matrix. How much it stretches is told by its singular values, and
# those of the product from step $k$ to $T$ by `flow.singular_values`. If the largest singular value $\gamma$ of every
# factor is below 1, the product is at most $\gamma^{T-k}$: it **must** vanish. If it is above 1, the product **may**
# explode, but need not: with tanh the slopes pull it down. (Largest singular value, not the largest eigenvalue: a
# matrix may stretch for a while though all its eigenvalues are below 1. In the long run the *spectral radius*, the
# largest eigenvalue's size, decides.)
#
# `rs.RNN` starts with an orthogonal $U$: all singular values are 1. Scaled to three sizes, on the same random inputs:

# %%
T, H = (30, 8) if QUICK else (60, 16)
rng = np.random.default_rng(0)
x = rng.standard_normal((T, 1, 4)) * 0.3
fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharey=True)
for ax, size in zip(axes, (0.8, 1.0, 1.6)):
    net = rs.RNN(4, H, dtype="float64", seed=0)
    net.params["U_l0"] *= size
    values = flow.singular_values(net, x)
    rs.plots.jacobian_spectrum(values, ax=ax)
    ax.set_title(f"U scaled to {size}")
    line = rs.plots.spectrum_by_lag(values)
    print(f"size {size}: largest after {T} steps {line[-1, 0]:.1e}, smallest {line[-1, -1]:.1e}; bound {size**T:.1e}")
    assert line[-1, 0] <= size**T * (1 + 1e-9)
plt.show()

# %% [markdown]
# The Jacobians come from the backward pass. Are they right? Compare one with a complex step on the forward pass:

# %%
net = rs.RNN(4, H, dtype="float64", seed=0)
J = flow.jacobians(net, x[:5])[5, 2]  # d h_5 / d h_2
twin = flow.cast(net, "complex128")
_, h_2 = twin.forward(x[:2].astype(complex))
numerical = np.empty((H, H))
for unit in range(H):
    moved = h_2.copy()
    moved[0, 0, unit] += 1e-200j
    _, h_5 = twin.forward(x[2:5].astype(complex), moved)
    numerical[:, unit] = h_5[0, 0].imag / 1e-200
print(f"largest difference: {np.abs(J - numerical).max():.1e}")
np.testing.assert_allclose(J, numerical, rtol=1e-12, atol=1e-14)

# %% [markdown]
# ## 4. Where exploding gradients come from
#
# The report says that a large loss makes large updates and so gradients explode. The loss is one factor at the start
# of the walk back, the same for every lag. Growth over time comes from Jacobians with norm above 1, however small the
# loss. A linear example with two losses, of size 1 and 0.001: both gradients grow by the same factor.

# %%
W, steps = 1.2, 40
for size in (1.0, 1e-3):
    print(f"dL/dh_T = {size:5}: dL/dh_0 = {size * W**steps:.3e}, {W**steps:.0f} times as large")

# %% [markdown]
# *Clipping* scales the whole gradient down when its norm exceeds a limit. The direction stays. `rs.clip_gradients`
# does it over all parameters together:

# %%
net = rs.RNN(4, H, dtype="float64", seed=0)
net.params["U_l0"] *= 1.6
hs, _ = net.forward(x * 0.01)
net.backward(np.ones_like(hs))
before = {name: grad.copy() for name, grad in net.grads.items()}
norm = float(rs.clip_gradients(net.grads, max_norm=1.0))
after = np.sqrt(sum((grad**2).sum() for grad in net.grads.values()))
print(f"norm before {norm:.3g}, after {after:.6f}")
for name, grad in net.grads.items():
    np.testing.assert_allclose(grad * norm, before[name], rtol=1e-10)

# %% [markdown]
# Clipping cures explosion only. Nothing brings back a gradient that has vanished: a number that is 0 to 16 digits
# cannot be scaled up, since what is left of it is rounding and the sum is ruled by the near steps.
#
# ## 5. Gradient against lag, for each cell
#
# The gradient of a random combination of the last state's units, with respect to the input $k$ steps earlier, on the
# same inputs. The LSTM's forget bias of 1 means $f \approx \sigma(1) = 0.73$; with 4, $f \approx 0.98$.

# %%
T, H = (60, 8) if QUICK else (150, 24)
x = np.random.default_rng(1).standard_normal((T, 16, 4)) * 0.5
direction = np.random.default_rng(2).standard_normal((16, H))


def cell(kind, **options):
    return kind(4, H, dtype="float64", seed=3, **options)


slow = cell(rs.LSTM)
slow.gate("b_l0", "f")[...] = 4.0
small = cell(rs.RNN)
small.params["U_l0"] *= 0.8
cells = {"vanilla RNN": cell(rs.RNN), "LSTM": cell(rs.LSTM), "GRU": cell(rs.GRU)}
cells |= {"RNN, U scaled to 0.8": small, "LSTM, forget bias 4": slow}
lags = {name: flow.gradient_by_lag(layer, x, direction) for name, layer in cells.items()}
fig, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
rs.plots.gradient_by_lag(lags, ax=ax)
ax.set_ylim(1e-18, 10)
ax.set_xlabel("lag (steps before the last)")
plt.show()
for name, values in lags.items():
    below = np.flatnonzero(values < values[0] / 10)
    print(f"{name:22} less than a tenth is left " + (f"after {below[0]} steps" if len(below) else "nowhere"))
assert lags["LSTM, forget bias 4"][T // 2] > lags["LSTM"][T // 2]

# %% [markdown]
# Gates are not immune. An LSTM with its usual start loses its gradient too, though more slowly; what it has is a
# *switch*: a forget gate near 1 keeps the gradient, and it can be learned, unit by unit and step by step. A vanilla
# network has one matrix for all steps.
#
# ## 6. What it means for learning
#
# A task that needs memory: the first input is +1 or -1, then noise follows; the answer is the first sign. Each cell
# reads 120 steps. The loss of guessing is $\ln 2 = 0.693$.

# %%
from rnnscratch import training


def remember(count, T, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    ids = rng.integers(3, 13, (count, T))
    ids[:, 0] = 1 + labels
    return list(ids), labels


T, epochs = (10, 2) if QUICK else (120, 15)
data, unseen = remember(1000, T, 0), remember(500, T, 1)
curves = {}
for name, options in {
    "vanilla RNN": {"cell": "rnn"},
    "RNN, U scaled to 0.8": {"cell": "rnn"},
    "LSTM": {"cell": "lstm"},
    "GRU": {"cell": "gru"},
    "LSTM, forget bias 4": {"cell": "lstm"},
}.items():
    model = rs.SequenceClassifier(13, 8, 16, seed=0, **options)
    if "scaled" in name:
        model.recurrent.params["U_l0"] *= 0.8
    if "forget" in name:
        model.recurrent.gate("b_l0", "f")[...] = 4.0
    history = training.fit(
        model, data, epochs=epochs, batch_size=50, optimizer=rs.Adam(0.003), clip_norm=1.0, progress=False
    )
    curves[name] = [history["loss"]]
    print(f"{name:20} loss {history['loss'][-1]:.3f}, accuracy on unseen sequences "
          f"{training.evaluate(model, *unseen)['accuracy']:.1%}")  # fmt: skip

# %%
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
rs.plots.training_curves(curves, "loss (nats)", ax=ax)
ax.axhline(np.log(2), color="black", lw=0.8, ls=":")
ax.set_title(f"Remember the first of {T} words")
plt.show()

# %% [markdown]
# The picture of section 5 foretells it. The two whose gradient has vanished after 120 steps, the vanilla network with
# a small $U$ and the GRU as it starts ($z \approx \tfrac12$: half of the state is replaced at each step), learn their
# training sequences by heart at best and know nothing of unseen ones. The orthogonal $U$ and a forget gate near 1 let
# the first word through.
#
# ## Exercises
#
# **1.** A linear network has $\partial h_t/\partial h_{t-1} = A^\top$ with $A$ = [[0.5, 10], [0, 0.5]]. What is the
# largest singular value of one step, of 5 steps, of 100 steps?
#
# <details><summary>Solution</summary>
#
# Above 10 at first though both eigenvalues are 0.5, then falling: in the long run the spectral radius decides.
#
# ```python
# A = np.array([[0.5, 10.0], [0.0, 0.5]])
# norms = [np.linalg.norm(np.linalg.matrix_power(A, k), 2) for k in (1, 5, 100)]
# assert norms[0] > 10 and norms[1] > 1 and norms[2] < 1e-25
# ```
# </details>
#
# **2.** How large must the forget bias be, if a tenth of the direct path's gradient shall be left after 100 steps (no
# inputs, no recurrent weights)?
#
# <details><summary>Solution</summary>
#
# $\sigma(b)^{100} = 0.1$, so $\sigma(b) = 0.1^{1/100} = 0.977$ and $b = \ln(0.977/0.023) = 3.76$.
#
# ```python
# f = 0.1 ** (1 / 100)
# b = np.log(f / (1 - f))
# assert abs(f - 0.977) < 1e-3 and abs(b - 3.76) < 0.01
# ```
# </details>
#
# **3.** Clip every entry of the gradient to [-0.01, 0.01] in place of scaling the norm. What changes?
#
# <details><summary>Solution</summary>
#
# The direction. Large and small entries become alike.
#
# ```python
# g = np.array([100.0, 0.02])
# clipped, scaled = np.clip(g, -0.01, 0.01), g / np.linalg.norm(g) * 0.01
# def cosine(a, b):
#     return a @ b / np.linalg.norm(a) / np.linalg.norm(b)
# assert cosine(g, scaled) > 0.999999 and cosine(g, clipped) < 0.75
# ```
# </details>
#
# **4.** The GRU of section 6 fails. Which bias would you start differently, and why?
#
# <details><summary>Solution</summary>
#
# That of the update gate: $h_t = z h_{t-1} + (1-z) n$ (Eq. 78), so $z$ near 1 keeps state and gradient. It is the
# GRU's forget bias.
#
# ```python
# gru, keeper = cell(rs.GRU), cell(rs.GRU)
# keeper.gate("b_l0", "z")[...] = 4.0
# half = len(x) // 2
# assert flow.gradient_by_lag(keeper, x, direction)[half] > 1000 * flow.gradient_by_lag(gru, x, direction)[half]
# ```
# </details>
