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
# shrink or grow like powers. This notebook measures these products: their singular values, what clipping does, the
# gradient against the lag for five networks, and then trains those very networks.
#
# - **Time**: about two hours with the exercises; the machine needs one to three minutes.
# - **You need** notebook 1, and singular values from linear algebra; letters are those of notebook 1's table. LSTM and
#   GRU are introduced here in four lines, as far as they are needed, and derived in notebooks 4 and 5.
# - **Afterwards you can** write down the Jacobian of a step and bound a product of them; tell vanishing from exploding
#   and say which of them clipping cures; and predict from a network's gradients, before any training, whether it can
#   learn what a word long ago was for.
#
# What is said of results is asserted, over five seeds or more, or says "in this run". In the learner's edition the
# lines between `# BLANK` and `# END` are yours to write; the cell after each says whether they are right.

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
from rnnscratch import training
from rnnscratch.teach import flow

# %% [markdown]
# ## 1. The activation functions and their slopes
#
# $$\sigma(z) = \frac{1}{1 + e^{-z}} \;\text{(Eq. 24)},\quad \sigma'(z) = \sigma(z)(1 - \sigma(z)) \;\text{(Eq. 25)}$$
# $$\tanh(z) = \frac{e^z - e^{-z}}{e^z + e^{-z}} \;\text{(Eq. 26)},\quad \tanh'(z) = 1 - \tanh^2(z) \;\text{(Eq. 27)}$$
#
# The report gives $\sigma'$ the range [0, 0.5] and $\tanh$ the range [-1, 1]. In fact $\sigma'$ lies in (0, 0.25]:
# $y(1-y)$ is largest at $y = \tfrac12$. And $\tanh$ lies in (-1, 1), its slope in (0, 1].

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.3), layout="constrained")
for ax, name in zip(axes, ("sigmoid", "tanh")):
    rs.plots.activation(name, ax=ax)
plt.show()
for name, most in (("sigmoid", 0.25), ("tanh", 1.0)):
    _, slope = rs.plots.activation_values(name, np.linspace(-8, 8, 100001))
    print(f"largest slope of {name}: {slope.max():.6f}")
    np.testing.assert_allclose(slope.max(), most, rtol=1e-12)
y, _ = rs.plots.activation_values("sigmoid", np.array([1.0, -3.0]))
np.testing.assert_allclose(y, 1 / (1 + np.exp([-1.0, 3.0])), rtol=1e-15)

# %% [markdown]
# ## 2. One unit: a power
#
# For one unit the factor of Eq. 6 is $(1 - h_t^2)\, U$. With no input and $h = 0$ the slope is 1, and $k$ steps back
# give $U^k$. A state that is not 0 has a slope below 1. The sigmoid's slope is at most $\tfrac14$, so there $|U|$
# would have to be above 4 to keep the gradient from vanishing.

# %%
for u in (0.9, 1.0, 1.1):
    print(f"U = {u}: " + ", ".join(f"{k} steps {u**k:.2e}" for k in (1, 10, 50, 100)))
print(f"sigmoid, U = 1: 10 steps at most {0.25**10:.1e}, 50 steps at most {0.25**50:.1e}")

# %% [markdown]
# ## 3. Many units: singular values
#
# For H units $\partial h_t / \partial h_{t-1}$ is a matrix. From $z_j = \dots + \sum_i h^{\text{prev}}_i U_{ij}$ and
# $h_j = \tanh z_j$, row $j$ and column $i$ of it are $(1 - h_j^2)\, U_{ij}$, or
#
# $$J_t = \frac{\partial h_t}{\partial h_{t-1}} = \operatorname{diag}(1 - h_t^2)\, U^\top, \qquad
# \frac{\partial h_T}{\partial h_k} = J_T\, J_{T-1} \cdots J_{k+1}$$
#
# (As rows, a gradient goes back by $\bar h_{t-1} = \bar h_t J_t$, which is `dz @ U.T` again.) How much a matrix
# stretches at most is its largest singular value, its *norm* $\lVert J \rVert$. Norms of products obey
# $\lVert A B \rVert \le \lVert A \rVert\, \lVert B \rVert$, and the slopes are at most 1, so with
# $\gamma = \lVert U \rVert$
#
# $$\lVert J_t \rVert \le \max_j (1 - h_{t,j}^2)\, \lVert U \rVert \le \gamma, \qquad
# \left\lVert \frac{\partial h_T}{\partial h_k} \right\rVert \le \gamma^{T-k}$$
#
# If $\gamma < 1$ the gradient **must** vanish. If $\gamma > 1$ it **may** explode, but need not: with tanh the slopes
# pull it down. (Largest singular value, not the largest eigenvalue: a matrix may stretch for a while though all its
# eigenvalues are below 1. In the long run the *spectral radius*, the largest eigenvalue's size, decides.)
#
# `rs.RNN` starts with an orthogonal $U$: all singular values are 1. Scaled to three sizes, on the same random inputs;
# $s_t$ in the picture is the state, for a vanilla network $h_t$, and what is below $10^{-16}$ is drawn at $10^{-16}$:

# %%
T, H = (30, 8) if QUICK else (60, 16)
SIZES = (0.8, 1.0, 1.6)


def stretch(size, seed):
    """The singular values of dh_t/dh_k for all t and k, of a network whose U has this norm."""
    net = rs.RNN(4, H, dtype="float64", seed=seed)
    net.params["U_l0"] *= size
    return flow.singular_values(net, np.random.default_rng(seed).standard_normal((T, 1, 4)) * 0.3)


fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharey=True)
for ax, size in zip(axes, SIZES):
    values = stretch(size, seed=0)
    rs.plots.jacobian_spectrum(values, ax=ax)
    ax.set_title(f"U scaled to {size}")
    if ax is not axes[0]:
        ax.set_ylabel("")
    line = rs.plots.spectrum_by_lag(values)
    print(f"size {size}: largest after {T} steps {line[-1, 0]:.1e}, smallest {line[-1, -1]:.1e}; bound {size**T:.1e}")
plt.show()

# %% [markdown]
# At 0.8 the product is below its bound, for the slopes help; at 1.0, where the bound says nothing, it vanishes as
# well, more slowly; at 1.6 some directions explode while others vanish, **at the same time**. With five seeds:

# %%
for seed in range(5):
    largest, smallest = np.array([stretch(size, seed)[T, 0, [0, -1]] for size in SIZES]).T
    assert (largest <= np.array(SIZES) ** T * (1 + 1e-9)).all()  # the bound
    assert largest[0] < 0.3 * 0.8**T and largest[0] < largest[1] < 0.1 and smallest[2] < 1e-12 < 1 < largest[2]
print("so it is with five seeds")

# %% [markdown]
# The Jacobians in the picture come from the backward pass. Are they right? Here they are by the formulas, one step and
# a product of steps:


# %%
def jacobian(h, U):
    """dh_t/dh_{t-1} (H, H): row j, column i is h_j by the i-th unit of the step before. h (H,) is the state h_t."""
    # BLANK: J_t from h and U, one line
    J_t = np.diag(1 - h**2) @ U.T
    # END
    return J_t


def product(hs, U):
    """dh_T/dh_k (H, H) from the states h_{k+1}, ..., h_T, the rows of hs."""
    J_all = np.eye(len(U))
    for h in hs:  # from the oldest on
        # BLANK: J_all with the Jacobian of this step too: on which side?
        J_all = jacobian(h, U) @ J_all
        # END
    return J_all


# %% [markdown]
# Both against the backward pass, and the product against a complex step on the forward pass:

# %%
net = rs.RNN(4, H, dtype="float64", seed=0)
net.params["U_l0"] *= 1.3  # not orthogonal: the inverse would pass for the transpose
x = np.random.default_rng(0).standard_normal((5, 1, 4))
hs, _ = net.forward(x)
U = net.params["U_l0"]
J = flow.jacobians(net, x)  # J[t, k] is dh_t / dh_k
np.testing.assert_allclose(jacobian(hs[4, 0], U), J[5, 4], rtol=1e-11, err_msg="the Jacobian of one step")  # hs[4]: h_5
np.testing.assert_allclose(product(hs[2:, 0], U), J[5, 2], rtol=1e-9, err_msg="the product of three steps")
twin = flow.cast(net, "complex128")
_, h_2 = twin.forward(x[:2].astype(complex))
numerical = np.empty((H, H))
for unit in range(H):
    moved = h_2.copy()
    moved[0, 0, unit] += 1e-200j
    _, h_5 = twin.forward(x[2:5].astype(complex), moved)
    numerical[:, unit] = h_5[0, 0].imag / 1e-200
print(f"largest difference of dh_5/dh_2: {np.abs(product(hs[2:, 0], U) - numerical).max():.1e}")
np.testing.assert_allclose(product(hs[2:, 0], U), numerical, rtol=1e-12, atol=1e-14)

# %% [markdown]
# Where nothing comes in, the same Jacobian decides where a state goes. Two units, whose U is a rotation times a norm:
# below norm 1 every state falls to the fixed point at 0, above it the point drives all away, and tanh holds them on a
# ring. Move the norm:


# %%
def portrait(norm):
    small = rs.RNN(1, 2, dtype="float64", seed=0)
    small.params["U_l0"][...] = norm * np.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]])
    small.params["b_l0"][...] = 0
    return rs.plots.phase_portrait(small)


rs.plots.sliders(portrait, [0.8, 1.0, 1.2, 1.6], "norm of U")

# %% [markdown]
# ## 4. Where exploding gradients come from
#
# The report says that a large loss makes large updates and so gradients explode. The loss is one factor at the start
# of the walk back, the same for every lag. Growth over time comes from Jacobians with norm above 1, however small the
# loss. One network with $\lVert U \rVert = 1.2$ and small inputs, 40 steps, and a gradient at the last state that is
# made a thousand times smaller:

# %%
for seed in range(5):
    net, rng = rs.RNN(4, H, dtype="float64", seed=seed), np.random.default_rng(seed)
    net.params["U_l0"] *= 1.2
    quiet, dh_T = rng.standard_normal((40, 1, 4)) * 1e-3, rng.standard_normal((1, 1, H))
    growth = []
    for size in (1.0, 1e-3):
        net.forward(quiet)
        _, dh_0 = net.backward(None, size * dh_T)
        growth.append(np.linalg.norm(dh_0) / np.linalg.norm(size * dh_T))
    print(f"seed {seed}: dL/dh_0 is {growth[0]:.1f} times dL/dh_T, and {growth[1]:.1f} times for a loss of 0.001")
    np.testing.assert_allclose(growth[0], growth[1], rtol=1e-9)
    assert growth[0] > 10

# %% [markdown]
# *Clipping* scales the whole gradient down when its norm exceeds a limit. The norm is that of all parameters together,
# $\sqrt{\sum_p \sum_i g_{p,i}^2}$, and one factor scales them all, so the direction stays:


# %%
def clip(grads, max_norm):
    """Scale the gradients, a dict of arrays, in place to a norm of at most max_norm; return the norm they had."""
    # BLANK: the norm of all arrays together; if it is above max_norm, scale each array in place
    norm = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
    if norm > max_norm:
        for grad in grads.values():
            grad *= max_norm / norm
    # END
    return norm


# %%
for size, max_norm in ((1e3, 2.0), (1e-3, 2.0)):  # above the limit, and below: then nothing changes
    draw = np.random.default_rng(0).standard_normal
    mine = {"U": size * draw((3, 3)), "b": size * draw(3)}
    arrays, theirs = list(mine.values()), {name: grad.copy() for name, grad in mine.items()}
    np.testing.assert_allclose(
        clip(mine, max_norm), rs.clip_gradients(theirs, max_norm=max_norm), rtol=1e-12, err_msg="the norm before"
    )
    for array, (name, grad) in zip(arrays, theirs.items()):
        np.testing.assert_allclose(array, grad, rtol=1e-7, err_msg=f"{name}, limit {max_norm}, size {size}")

# %%
net = rs.RNN(4, H, dtype="float64", seed=0)
net.params["U_l0"] *= 1.6
hs, _ = net.forward(np.random.default_rng(0).standard_normal((T, 1, 4)) * 0.003)
net.backward(np.ones_like(hs))
before = {name: grad.copy() for name, grad in net.grads.items()}
norm = clip(net.grads, max_norm=1.0)
after = np.sqrt(sum((grad**2).sum() for grad in net.grads.values()))
print(f"norm before {norm:.3g}, after {after:.6f}")
np.testing.assert_allclose(after, 1.0, rtol=1e-9)
for name, grad in net.grads.items():
    np.testing.assert_allclose(grad * norm, before[name], rtol=1e-10)

# %% [markdown]
# What an exploding gradient does to learning can be drawn for one unit (Pascanu et al. 2013): the loss after 50 steps
# has a cliff. Both paths begin at the same point and make 200 updates. One step at the cliff throws the first far away;
# the other, whose gradients are clipped to 0.1, comes down the slope.

# %%
from rnnscratch.plots import dynamics

for clip in (None, 0.1):
    path = dynamics.descent((5.0, -1.8), 200, 0.5, clip)
    longest = np.linalg.norm(np.diff(path, axis=0), axis=1).max()
    end = float(dynamics.loss_and_slopes(*path[-1])[0])
    print(f"clipped to {clip}: longest update {longest:.2f}, loss at the end {end:.5f}")
    assert (end < 0.001 and longest < 0.051) if clip else (end > 0.05 and longest > 3)
rs.plots.loss_cliff().figure

# %% [markdown]
# Clipping cures explosion only. A gradient is a sum over lags; scaling it up scales the near steps as much as the far
# ones, so what has vanished stays as small *beside them* as it was. In double precision a part below $10^{-16}$ of the
# sum is not even there:

# %%
near, far = 1.0, 1e-17
assert (near + far) * 1e20 == near * 1e20

# %% [markdown]
# ## 5. Gradient against lag, for each cell
#
# Two cells made against this, in four lines. Gates $i, f, o, r, z$ are numbers between 0 and 1, one for each unit,
# computed at each step from $x_t$ and $h_{t-1}$; $g$ and $n$ are candidates, made by tanh like a vanilla state:
#
# - **LSTM**: $c_t = f \odot c_{t-1} + i \odot g$ and $h_t = o \odot \tanh(c_t)$. The cell $c$ is kept, times $f$, and
#   added to. Its *forget bias* is the bias of $f$: 1 at the start here, $f \approx \sigma(1) = 0.73$; with 4,
#   $f \approx 0.98$.
# - **GRU**: $h_t = z \odot h_{t-1} + (1 - z) \odot n$: the state is kept, times $z$. At the start $z \approx \tfrac12$.
#
# Along $c$, or $h$ of the GRU, a gradient goes back by the factor $f$, or $z$, in place of a matrix; but all other
# paths, through the gates and candidates, are there too.
#
# A task that needs memory: the first of $T$ words is one of two, then noise follows; which of the two was it? The model
# is an embedding, the cell, and a dense layer on the last state. Here are five networks *before training*: the
# gradient of the last state's units' sum by each embedded word, $k$ steps earlier.


# %%
def remember(count, T, seed):
    """Sequences of T words, of which only the first says anything, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    ids = rng.integers(3, 13, (count, T))
    ids[:, 0] = 1 + labels
    return list(ids), labels


def make(name, seed):
    """The network of that name."""
    model = rs.SequenceClassifier(13, 8, 16, seed=seed, cell=CELLS[name])
    if "scaled" in name:
        model.recurrent.params["U_l0"] *= 0.8
    if "forget" in name:
        model.recurrent.gate("b_l0", "f")[...] = 4.0
    return model


def by_lag(model, sequences):
    """(T,): the size of the gradient at lag k, from the last state to the word k steps before the last."""
    words = model.embedding.forward(np.array(sequences).T)
    return flow.gradient_by_lag(flow.cast(model.recurrent, "float64"), words.astype("float64"))


CELLS = {"vanilla RNN": "rnn", "RNN, U scaled to 0.8": "rnn", "LSTM": "lstm", "GRU": "gru"}
CELLS |= {"LSTM, forget bias 4": "lstm"}
SEEDS = range(5)
T = 10 if QUICK else 120
lags = {name: [by_lag(make(name, seed), remember(50, T, seed)[0]) for seed in SEEDS] for name in CELLS}
fig, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
rs.plots.gradient_by_lag({name: values[0] for name, values in lags.items()}, ax=ax)
ax.set_ylim(1e-17, 1e4)
ax.set(xlabel="lag (steps before the last)", title="Before training, seed 0")
plt.show()
print(f"gradient at the first word over that at the last, T = {T}, five seeds")
reach = {name: np.array([values[-1] / values[0] for values in each]) for name, each in lags.items()}
for name, values in reach.items():
    print(f"{name:22} " + "  ".join(f"{value:.1e}" for value in values))

# %% [markdown]
# Gates are not immune. The GRU as it starts replaces half of its state at each step and loses its gradient fastest of
# all. The LSTM with its usual start loses it too, but slowly. With forget bias 4 it does not vanish: it **explodes**,
# since the direct path keeps nearly all and the other paths add to it (notebook 4, section 6, takes them apart). And
# the vanilla network with its orthogonal $U$, quiet inputs and small states does well; 0.8 times that $U$ does not.
# What a gate has over a matrix is a *switch*, which can be learned unit by unit and moved step by step.

# %%
assert (reach["GRU"] < 0.2).all() and (reach["GRU"] < reach["LSTM"]).all() and (reach["LSTM"] < 1).all()
assert (reach["RNN, U scaled to 0.8"] < 0.5 * reach["vanilla RNN"]).all()
assert (reach["LSTM, forget bias 4"] > 1).all()
if not QUICK:
    assert (reach["GRU"] < 1e-12).all() and (reach["RNN, U scaled to 0.8"] < 1e-9).all()
    assert (reach["GRU"] < reach["RNN, U scaled to 0.8"]).all()
    assert (reach["vanilla RNN"] > 1e-4).all() and (reach["LSTM"] > 1e-4).all()
    assert (reach["LSTM, forget bias 4"] > 10).all()

# %% [markdown]
# ## 6. What it means for learning
#
# Now the very same five networks are trained, with five seeds each. The loss of guessing is $\ln 2 = 0.693$.

# %%
epochs = 2 if QUICK else 15
curves, seen, unseen = ({name: [] for name in CELLS} for _ in range(3))
for seed in SEEDS:
    data, test = remember(1000, T, 100 + seed), remember(500, T, 200 + seed)
    for name in CELLS:
        model = make(name, seed)
        history = training.fit(
            model, data, epochs=epochs, batch_size=50, optimizer=rs.Adam(0.003), clip_norm=1.0, progress=False
        )
        curves[name].append(history["loss"])
        seen[name].append(training.evaluate(model, *data)["accuracy"])
        unseen[name].append(training.evaluate(model, *test)["accuracy"])
print(f"{'':22} accuracy on unseen sequences, five seeds      on those trained on")
for name in CELLS:
    print(f"{name:22} " + "  ".join(f"{share:6.1%}" for share in unseen[name]) + f"         {np.mean(seen[name]):.0%}")

# %%
fig, axes = plt.subplots(1, len(CELLS), figsize=(12, 2.8), layout="constrained", sharey=True)
for ax, (name, runs) in zip(axes, curves.items()):
    for run in runs:
        ax.plot(np.arange(1, epochs + 1), run, color=rs.plots.COLOURS[0], lw=1)
    ax.axhline(np.log(2), color="black", lw=0.8, ls=":")
    ax.set(xlabel="epoch", title=name)
    ax.title.set_fontsize(10)
axes[0].set_ylabel("loss (nats), a line for each seed")
fig.suptitle(f"Remember the first of {T} words (dotted: guessing)")
plt.show()

# %% [markdown]
# The gradients of section 5 foretell it. The two networks whose gradient has vanished on the way to the first word,
# the GRU as it starts and the vanilla network with the small $U$, know nothing of unseen sequences with any seed, and
# have not even learned those that they were trained on. The vanilla network with an orthogonal $U$ and the LSTMs, to
# which some thousandths of the gradient come through, or more, solve it with most seeds: little is enough, for Adam
# divides by the gradient's own size. With most, not all: there is more to training than whether the gradient arrives,
# and with which seed it fails may differ on your machine. Nor is a vanished gradient a proof: with 100 words and 600
# sequences the small $U$ did learn in one run of five when this was written.

# %%
solved = {name: sum(share > 0.9 for share in unseen[name]) for name in CELLS}
print("solved, of five:", solved)
if not QUICK:
    for name in ("GRU", "RNN, U scaled to 0.8"):
        assert max(unseen[name]) < 0.6 and max(seen[name]) < 0.8
    assert min(solved["vanilla RNN"], solved["LSTM"], solved["LSTM, forget bias 4"]) >= 3

# %% [markdown]
# ## Exercises
#
# **1.** A linear network has $\partial h_t/\partial h_{t-1} = A^\top$ with $A$ = [[0.5, 10], [0, 0.5]]. What is the
# largest singular value of one step, of 5 steps, of 100 steps? (`rs.teach.answer("3.1", ...)` takes the three as
# logarithms to the base 10, for the last is very small.)
#
# <details><summary>Solution</summary>
#
# About 10.02, 3.13 and $1.6 \cdot 10^{-27}$: above 10 at first though both eigenvalues are 0.5, then falling. In the
# long run the spectral radius decides.
#
# ```python
# A = np.array([[0.5, 10.0], [0.0, 0.5]])
# norms = [np.linalg.norm(np.linalg.matrix_power(A, k), 2) for k in (1, 5, 100)]
# np.testing.assert_allclose(norms, [10.025, 3.1253, 1.5777e-27], rtol=1e-3)
# # answer 3.1: np.log10(norms)
# ```
# </details>
#
# **2.** How large must the forget bias be, if a tenth of the direct path's gradient shall be left after 100 steps (no
# inputs, no recurrent weights)? (`rs.teach.answer("3.2", b)`)
#
# <details><summary>Solution</summary>
#
# $\sigma(b)^{100} = 0.1$, so $\sigma(b) = 0.1^{1/100} = 0.977$ and $b = \ln(0.977/0.023) = 3.76$.
#
# ```python
# f = 0.1 ** (1 / 100)
# b = np.log(f / (1 - f))
# assert abs(f - 0.977) < 1e-3 and abs(b - 3.76) < 0.01
# # answer 3.2: b
# ```
# </details>
#
# **3.** Clip every entry of the gradient to [-0.01, 0.01] in place of scaling the norm. What changes? By how many
# degrees does it turn the gradient (1, 0.004)? (`rs.teach.answer("3.3", degrees)`)
#
# <details><summary>Solution</summary>
#
# The direction. Large and small entries become alike: (1, 0.004) becomes (0.01, 0.004) and turns by 21.57 degrees
# towards the diagonal; (100, 0.02) becomes (0.01, 0.01), at 45 degrees.
#
# ```python
# def degrees(g):
#     return np.degrees(np.arctan2(g[1], g[0]))
#
# g = np.array([1.0, 0.004])
# turned = degrees(np.clip(g, -0.01, 0.01)) - degrees(g)
# assert abs(turned - 21.57) < 0.01 and abs(degrees(g / np.linalg.norm(g) * 0.01) - degrees(g)) < 1e-12
# assert abs(degrees(np.clip([100.0, 0.02], -0.01, 0.01)) - 45) < 1e-12
# # answer 3.3: turned
# ```
# </details>
#
# **4.** The GRU of section 6 fails. Which gate's bias would you start differently, and why? Measure it before you
# train. (`rs.teach.answer("3.4", "...")` takes the gate's name or its letter.)
#
# <details><summary>Solution</summary>
#
# That of the update gate: $z$ near 1 keeps state and gradient. It is the GRU's forget bias.
#
# ```python
# for seed in SEEDS:
#     keeper = make("GRU", seed)
#     keeper.recurrent.gate("b_l0", "z")[...] = 4.0
#     values = by_lag(keeper, remember(50, T, seed)[0])
#     assert values[-1] / values[0] > 5 * reach["GRU"][seed] and values[-1] / values[0] > 0.1
# # answer 3.4: {"z", "update", "update gate"}
# ```
# </details>
#
# **5.** A ReLU has slope 1 wherever it is not 0. Does a ReLU network with an orthogonal $U$ keep its gradient? Take
# `rs.RNN(4, 16, activation="relu", dtype="float64", seed=0)`, which reads
# `np.random.default_rng(0).standard_normal((20, 1, 4))`: along how many of the 16 directions does
# $\partial h_{20}/\partial h_0$ still let something through, with singular values above $10^{-12}$?
# (`rs.teach.answer("3.5", count)`)
#
# <details><summary>Solution</summary>
#
# Not as a whole: each step sets the directions of the sleeping units to 0, about half of them, so the norm is at most
# 1 but the product loses directions: after 20 steps 5 are left, and the largest singular value is 0.004. Le, Jaitly
# and Hinton (2015) start with $U$ the identity, for that reason: then a unit that is awake stays so, without input.
#
# ```python
# net = rs.RNN(4, 16, activation="relu", dtype="float64", seed=0)
# noise = np.random.default_rng(0).standard_normal((20, 1, 4))
# values = flow.singular_values(net, noise)[20, 0]
# assert 0.003 < values[0] < 0.005 and (values > 1e-8).sum() == (values > 1e-12).sum() == 5
# # answer 3.5: int((values > 1e-12).sum())
# net.params["U_l0"][...] = np.eye(16)
# awake = np.full((1, 1, 16), 0.5)
# np.testing.assert_allclose(flow.singular_values(net, 0 * noise, state=awake)[20, 0], 1, rtol=1e-12)
# ```
# </details>
#
# ## Five questions
#
# **1.** $\lVert U \rVert = 0.9$, $T = 100$. How much of a gradient can be left at most?
#
# <details><summary>Answer</summary>
#
# $0.9^{100} = 2.7 \cdot 10^{-5}$ of it, whatever the inputs: slopes only make it less.
#
# ```python
# assert abs(0.9**100 - 2.7e-5) < 1e-6
# ```
# </details>
#
# **2.** $\lVert U \rVert = 1.5$. Does the gradient explode?
#
# <details><summary>Answer</summary>
#
# It may. With large inputs the units are saturated, their slopes small, and it vanishes.
#
# ```python
# for seed in range(5):
#     net = rs.RNN(4, 8, dtype="float64", seed=seed)
#     net.params["U_l0"] *= 1.5
#     loud = 20 * np.random.default_rng(seed).standard_normal((30, 1, 4))
#     assert flow.singular_values(net, loud)[30, 0, 0] < 1e-3
# ```
# </details>
#
# **3.** Why does a larger loss not cause explosion?
#
# <details><summary>Answer</summary>
#
# It multiplies the gradient at *every* lag by the same number; growth from lag to lag is the Jacobians'.
#
# ```python
# np.testing.assert_allclose(growth[0], growth[1], rtol=1e-9)
# ```
# </details>
#
# **4.** What does clipping at norm 1 do to a gradient of norm 0.001?
#
# <details><summary>Answer</summary>
#
# Nothing.
#
# ```python
# small = {"U": np.array([0.0006, 0.0008])}
# rs.clip_gradients(small, max_norm=1.0)
# np.testing.assert_array_equal(small["U"], [0.0006, 0.0008])
# ```
# </details>
#
# **5.** Forget gates of 0.73: how much of the direct path is left after 10 and after 100 steps?
#
# <details><summary>Answer</summary>
#
# 4 % and $2 \cdot 10^{-14}$.
#
# ```python
# assert abs(0.73**10 - 0.043) < 1e-3 and 1e-14 < 0.73**100 < 3e-14
# ```
# </details>
#
# ## Read on
#
# - S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, TU Munich 1991: the discovery.
# - Y. Bengio, P. Simard, P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, IEEE
#   Transactions on Neural Networks 1994.
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013: the bounds
#   of section 3, and clipping.
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 1997: next, notebook 4.
# - Q. V. Le, N. Jaitly, G. E. Hinton, *A simple way to initialize recurrent networks of rectified linear units*, 2015
#   (arXiv 1504.00941).
# - A. M. Saxe, J. L. McClelland, S. Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear
#   neural networks*, ICLR 2014: why to start orthogonal.
