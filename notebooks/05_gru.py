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
# # 5. The gated recurrent unit
#
# After this notebook you can compute a GRU forwards and backwards with pencil and paper, and you know the three
# questions to ask of any GRU: which way round is its update gate, where does its reset gate act, and in which order
# does it keep its weights. You load PyTorch's weights by hand and get PyTorch's numbers, and you do the same for
# Keras.
#
# - **Time**: about four hours with the exercises, in two sittings: the cell (sections 1 to 4), then the conventions
#   (sections 5 to 9); the machine needs ten seconds.
# - **You need** notebook 1 (back-propagation through time) and notebook 2 (the complex step). Notebook 4, the LSTM,
#   helps, but is not needed.
# - **Afterwards you can** derive the three paths back through a GRU; say what the bias of its update gate does; convert
#   between Eq. 37 and Eq. 78, reset before and after, and the orders of gates; and prove that a conversion is right.
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

# %% [markdown]
# ## 1. The cell
#
# The report gives the GRU twice. Here are both, in our notation: one row is one example, $h_{t-1}$ is the state before
# the step, $\odot$ multiplies entry by entry, and $n_t$ is what the report calls $\tilde h_t$.
#
# | | Section 2.2.5 | Section 4.3.3 | here |
# | --- | --- | --- | --- |
# | start | | Eq. 74 | $h_0 = 0$ |
# | reset gate | Eq. 35 | Eq. 75 | $r_t = \sigma(x_t W_r + h_{t-1} U_r + b_r)$ |
# | update gate | Eq. 34 | Eq. 76 | $z_t = \sigma(x_t W_z + h_{t-1} U_z + b_z)$ |
# | candidate | Eq. 36 | Eq. 77 | $n_t = \tanh(x_t W_n + (r_t \odot h_{t-1})\, U_n + b_n)$ |
# | new state | **Eq. 37** | **Eq. 78** | $h_t = z_t \odot h_{t-1} + (1 - z_t) \odot n_t$ (Eq. 78) |
# | answer | | Eq. 79 | $\hat y = f(h_T V + b_y)$ |
# | loss | | Eq. 80 | $\mathcal L(\hat y, y)$ |
#
# In words: the candidate $n_t$ is a vanilla RNN that sees only a part of the old state, and $r_t$ says how much. The
# new state is a mixture of the old state and the candidate, and $z_t$ says how much of the old one stays.
#
# Eqs 34-36 write one matrix for both inputs, $W_g \cdot [h_{t-1}, x_t]$; Eqs 75-77 write two. That is the same product:
# a row $[h_{t-1}, x_t]$ times $U_g$ stacked on $W_g$.

# %%
rng = np.random.default_rng(0)
x_t, h_prev = rng.standard_normal((1, 3)), rng.standard_normal((1, 2))
W_g, U_g = rng.standard_normal((3, 2)), rng.standard_normal((2, 2))
one_matrix = np.concatenate([h_prev, x_t], axis=1) @ np.concatenate([U_g, W_g], axis=0)  # Eqs 34-36
two_matrices = x_t @ W_g + h_prev @ U_g  # Eqs 75-77
print(one_matrix, two_matrices)
np.testing.assert_allclose(one_matrix, two_matrices, atol=1e-12)

# %% [markdown]
# Three slips of the report to know before reading it:
#
# - The new state is written in two ways, Eq. 37 and Eq. 78. Section 5 below settles it.
# - The text says that the reset gate decides "how much of the previous hidden state to forget". It is how much to
#   *keep*: $r_t = 1$ lets all of $h_{t-1}$ into the candidate, $r_t = 0$ none.
# - In the table under Eq. 37 some names are left over from the LSTM. $W_r$ belongs to the reset gate, $W_h$ (our
#   $U_n$ and $W_n$) to the candidate state, and $b_z$ to the update gate.

# The wiring, in the same letters; a dot is where a line branches:

# %%
_, ax = plt.subplots(figsize=(9.4, 5.7))
rs.plots.cell("gru", ax=ax)
plt.show()

# %% [markdown]
# ## 2. Two steps forward by hand
#
# One input, one unit, two steps. All weights are numbers that fit on a slip of paper. The report starts from
# $h_0 = 0$ (Eq. 74). We start from 0.5, as if the sequence went on from an earlier piece, because a zero would hide
# mistakes: $r_1 \odot h_0$ would be zero whatever $r_1$ is.


# %%
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


W_r, W_z, W_n = 0.5, -0.4, 1.0
U_r, U_z, U_n = 0.8, 0.6, 1.2
b_r, b_z, b_n = 0.1, 0.2, -0.3
V, b_y = 1.5, -0.2
h0, x1, x2, y = 0.5, 1.0, -0.5, 1

r1 = sigmoid(x1 * W_r + h0 * U_r + b_r)  # Eq. 75
z1 = sigmoid(x1 * W_z + h0 * U_z + b_z)  # Eq. 76
n1 = np.tanh(x1 * W_n + (r1 * h0) * U_n + b_n)  # Eq. 77
h1 = z1 * h0 + (1 - z1) * n1  # Eq. 78

r2 = sigmoid(x2 * W_r + h1 * U_r + b_r)
z2 = sigmoid(x2 * W_z + h1 * U_z + b_z)
n2 = np.tanh(x2 * W_n + (r2 * h1) * U_n + b_n)
h2 = z2 * h1 + (1 - z2) * n2

print(f"step 1:  r = {r1:.6f}  z = {z1:.6f}  n = {n1:+.6f}  h = {h1:+.6f}")
print(f"step 2:  r = {r2:.6f}  z = {z2:.6f}  n = {n2:+.6f}  h = {h2:+.6f}")

# %% [markdown]
# Read step 1 off: the new state lies between the old state 0.5 and the candidate, at the place that $z_1$ says. That is
# always so: $0 < z < 1$ makes Eq. 78 an average of two numbers. As $|n| < 1$, a GRU that starts within $(-1, 1)$ stays
# there. The LSTM's cell state has no such bound.
#
# After the last step comes the answer, Eq. 79, with a sigmoid for two classes, and the loss, Eq. 80, the cross-entropy
# $-\ln \hat y$ of the right class $y = 1$.

# %%
y_hat = sigmoid(h2 * V + b_y)  # Eq. 79
loss = -np.log(y_hat)  # Eq. 80, y = 1
print(f"answer {y_hat:.6f}, loss {loss:.6f}")
assert min(h0, n1) < h1 < max(h0, n1)
assert min(h1, n2) < h2 < max(h1, n2)

# %% [markdown]
# The library's layer with the same weights. `gate` gives a view of one gate's columns in the packed arrays, so
# assigning to it fills them; the columns are in the order r, z, n.

# %%
gru = rs.GRU(1, 1, dtype="float64", seed=0)
for letter, (w, u, b) in {"r": (W_r, U_r, b_r), "z": (W_z, U_z, b_z), "n": (W_n, U_n, b_n)}.items():
    gru.gate("W_l0", letter)[...] = w
    gru.gate("U_l0", letter)[...] = u
    gru.gate("b_l0", letter)[...] = b
print("W", gru.params["W_l0"], "  U", gru.params["U_l0"], "  b", gru.params["b_l0"])

x = np.array([[[x1]], [[x2]]])  # (T, B, D) = (2, 1, 1)
start = np.array([[[h0]]])  # (layers, B, H)
hs, h_last = gru.forward(x, start)
np.testing.assert_allclose(hs.ravel(), [h1, h2], atol=1e-12)
np.testing.assert_allclose(h_last.ravel(), h2, atol=1e-12)

head = rs.Dense(1, 1, dtype="float64", seed=0)
head.params["W"][...], head.params["b"][...] = V, b_y
logit = head.forward(h_last[0])[:, 0]
library_loss, dlogit = rs.losses.binary_cross_entropy(logit, np.array([y]))
np.testing.assert_allclose(library_loss, loss, atol=1e-12)

# %% [markdown]
# Without a state the layer starts at $h_0 = 0$, which is Eq. 74. Then the reset gate of step 1 has nothing to act on.

# %%
from_zero, _ = gru.forward(x)
explicit, _ = gru.forward(x, np.zeros((1, 1, 1)))
assert (from_zero == explicit).all()
other = rs.GRU(1, 1, dtype="float64", seed=0)
for name, array in gru.params.items():
    other.params[name][...] = array
other.gate("b_l0", "r")[...] = -5.0  # a reset gate that is nearly shut
print("h_1 from h_0 = 0:  ", from_zero[0].item(), "and with another reset gate", other.forward(x)[0][0].item())
print("h_1 from h_0 = 0.5:", hs[0].item(), "and with another reset gate", other.forward(x, start)[0][0].item())
assert other.forward(x)[0][0] == from_zero[0]

# %% [markdown]
# ## 3. Two steps back by hand
#
# Write $\bar h$ for $\partial \mathcal L / \partial h$, as in notebooks 1 and 4, and so for the gates; programs call it
# `dh`. The loss sees only $h_2$ (Eq. 79), and for the sigmoid with
# cross-entropy the derivative of the loss by the logit is $\hat y - y$, so $\bar h_2 = (\hat y - y) V$.
#
# Now one step in reverse. Eq. 78 is a sum of two products, so with $\bar h$ given,
#
# $$\bar z = \bar h \odot (h_{t-1} - n), \qquad \bar n = \bar h \odot (1 - z).$$
#
# Through the two activations, with $\sigma' = \sigma(1-\sigma)$ and $\tanh' = 1 - \tanh^2$. What stands inside the
# activation of gate $g$ is $z_g$ ($z$ without an index is the update gate itself), and $dz_g$ its gradient:
#
# $$dz_n = \bar n \odot (1 - n^2), \qquad dz_z = \bar z \odot z \odot (1 - z).$$
#
# Eq. 77 holds the product $s = r \odot h_{t-1}$, which meets $U_n$:
#
# $$\bar s = dz_n U_n^\top, \qquad \bar r = \bar s \odot h_{t-1}, \qquad dz_r = \bar r \odot r \odot (1 - r).$$
#
# What a step adds to the gradients of the weights is input times $dz_g$ (for matrices, input transposed times $dz_g$:
# the sum over the batch). The input of $U_n$ is $s$, **not** $h_{t-1}$:
#
# $$dW_g \mathrel{+}= x_t^\top dz_g, \quad db_g \mathrel{+}= dz_g, \quad
# dU_r \mathrel{+}= h_{t-1}^\top dz_r, \quad dU_z \mathrel{+}= h_{t-1}^\top dz_z, \quad dU_n \mathrel{+}= s^\top dz_n.$$
#
# Last, $h_{t-1}$. It stands at four places of Eqs 75-78, which make **three paths** back:
#
# $$\bar h_{t-1} = \underbrace{\bar h \odot z}_{\text{direct}} +
# \underbrace{dz_r U_r^\top + dz_z U_z^\top}_{\text{through the gates}} +
# \underbrace{\bar s \odot r}_{\text{through the candidate}}.$$


# %%
def step_back(dh, h_prev, r, z, n):
    """From dh of a state: the gradients of z and n, those inside the activations, and the three paths back."""
    # BLANK: dz, dn, dz_n, dz_z, ds, dz_r, and the three paths direct, gates, candidate
    dz, dn = dh * (h_prev - n), dh * (1 - z)  # Eq. 78
    dz_n, dz_z = dn * (1 - n**2), dz * z * (1 - z)
    ds = dz_n * U_n  # Eq. 77
    dz_r = ds * h_prev * r * (1 - r)
    direct, gates, candidate = dh * z, dz_r * U_r + dz_z * U_z, ds * r
    # END
    return dz, dn, dz_r, dz_z, dz_n, direct, gates, candidate


dh2 = (y_hat - y) * V
dz2, dn2, dz_r2, dz_z2, dz_n2, direct2, gates2, candidate2 = step_back(dh2, h1, r2, z2, n2)
dh1 = direct2 + gates2 + candidate2
dz1, dn1, dz_r1, dz_z1, dz_n1, direct1, gates1, candidate1 = step_back(dh1, h0, r1, z1, n1)
dh0 = direct1 + gates1 + candidate1

print("        direct   + gates     + candidate = dh of the state before")
print(f"step 2  {direct2:+.6f}  {gates2:+.6f}  {candidate2:+.6f}  = {dh1:+.6f}")
print(f"step 1  {direct1:+.6f}  {gates1:+.6f}  {candidate1:+.6f}  = {dh0:+.6f}")

dW = [x1 * dz_r1 + x2 * dz_r2, x1 * dz_z1 + x2 * dz_z2, x1 * dz_n1 + x2 * dz_n2]
dU = [h0 * dz_r1 + h1 * dz_r2, h0 * dz_z1 + h1 * dz_z2, (r1 * h0) * dz_n1 + (r2 * h1) * dz_n2]
db = [dz_r1 + dz_r2, dz_z1 + dz_z2, dz_n1 + dz_n2]
print("dW", np.round(dW, 6), "  dU", np.round(dU, 6), "  db", np.round(db, 6))

# %% [markdown]
# The same with the library, all the way from the loss. Every line must agree.

# %%
gru.forward(x, start)
dh_last = head.backward(dlogit[:, None])[None]  # (layers, B, H)
np.testing.assert_allclose(dh_last.ravel(), dh2, atol=1e-12)
dx, dstart = gru.backward(None, dh_last)
for name, mine in {"W_l0": dW, "U_l0": dU, "b_l0": db}.items():  # the columns are those of r, z, n
    np.testing.assert_allclose(mine, gru.grads[name].ravel(), atol=1e-12, err_msg=f"gradient of {name[0]} for r, z, n")
np.testing.assert_allclose(dstart.ravel(), dh0, atol=1e-12)
np.testing.assert_allclose(
    dx.ravel(),
    [dz_r1 * W_r + dz_z1 * W_z + dz_n1 * W_n, dz_r2 * W_r + dz_z2 * W_z + dz_n2 * W_n],
    atol=1e-12,
)
print("dx", dx.ravel(), "  dh_0", dstart.item())

# %% [markdown]
# `rs.teach.trace` writes down every number of both passes, with its formula and the equation it comes from, in the same
# letters. Compare it line by line with the two cells above.

# %%
steps = rs.teach.trace(gru, x, state=start, dstate=dh_last)
mine = {"r": (r1, r2), "z": (z1, z2), "n": (n1, n2), "h": (h1, h2)}
mine |= {"dz": (dz1, dz2), "dn": (dn1, dn2), "dz_n": (dz_n1, dz_n2), "dz_z": (dz_z1, dz_z2), "dz_r": (dz_r1, dz_r2)}
mine |= {"dh_prev (direct)": (direct1, direct2), "dh_prev (through r, z)": (gates1, gates2)}
mine |= {"dh_prev (through n)": (candidate1, candidate2), "dh_prev": (dh0, dh1)}
for name, values in mine.items():
    for t in (1, 2):
        np.testing.assert_allclose(steps[name, t].item(), values[t - 1], atol=1e-12)
steps

# %% [markdown]
# Is any path dispensable? Nudge $h_0$ and run both steps again. The change of the loss per nudge is $\bar h_0$ with all
# three paths, and nothing else.


# %%
def loss_from(h):
    for x_now in (x1, x2):
        r, z = sigmoid(x_now * W_r + h * U_r + b_r), sigmoid(x_now * W_z + h * U_z + b_z)
        h = z * h + (1 - z) * np.tanh(x_now * W_n + r * h * U_n + b_n)
    return -np.log(sigmoid(h * V + b_y))


measured = loss_from(h0 + 1e-200j).imag / 1e-200  # the complex step: exact to rounding
print(f"measured {measured:+.12f}")
print(f"by hand  {dh0:+.12f}")
for name, missing in {"direct": direct1, "gates": gates1, "candidate": candidate1}.items():
    print(f"without the path '{name}' of step 1 it would be {dh0 - missing:+.6f}")
    assert abs(dh0 - missing - measured) > 1e-3
np.testing.assert_allclose(dh0, measured, atol=1e-12)

# %% [markdown]
# `rs.check_gradients` does this for every parameter, every input and the initial state, in complex128, with a random
# initial state and random gradients of all outputs. It also checks the whole model of Eqs 74-80.

# %%
sample = np.random.default_rng(1).standard_normal((4, 3, 2))
report = rs.check_gradients(rs.GRU(2, 3, seed=0), sample)
print(report)
assert report.ok and report.max_error < 1e-12

model = rs.SequenceClassifier(vocabulary_size=9, embedding_dim=3, hidden_size=4, cell="gru", pooling="last", seed=0)
whole = rs.check_gradients(model, np.array([[1, 2], [3, 4], [5, 6]]))
print(f"\nEqs 74-80 as one model: largest relative error {whole.max_error:.1e}")
assert whole.ok

# %% [markdown]
# ## 4. What the direct path does
#
# In a vanilla RNN a gradient must pass through $U$ and $\tanh'$ at every step. In a GRU there is the direct path: from
# $h_T$ back to $h_k$ it multiplies by $z_{k+1} z_{k+2} \cdots z_T$ only. Where $z$ is near 1 that product stays near 1.
# The bias $b_z$ sets where $z$ starts, at $\sigma(b_z)$.
#
# Left: how much of the gradient at the last step arrives at the input so many steps earlier, for random weights. Right:
# the size of the whole Jacobian $\partial h_T / \partial h_k$ (root mean square of its singular values), and of the
# direct path alone. They are not equal, since the other two paths are there too. The nearer $z$ is to 1, the more
# of the whole is the direct path.

# %%
T, D, H = (30 if QUICK else 60), 8, 16
signal = np.random.default_rng(2).standard_normal((T, 1, D))
vanilla = rs.RNN(D, H, dtype="float64", seed=0)
vanilla.params["U_l0"] *= 0.9
norms = {"vanilla RNN, U of norm 0.9": rs.teach.flow.gradient_by_lag(vanilla, signal)}
every_path, direct = {}, {}
for bias in (0, 2, 4):
    unit = rs.GRU(D, H, dtype="float64", seed=0)
    unit.gate("b_l0", "z")[...] = bias
    norms[f"GRU, b_z = {bias}"] = rs.teach.flow.gradient_by_lag(unit, signal)
    gates = rs.teach.trace(unit, signal)
    z = np.stack([gates["z", t + 1][0] for t in range(T)])  # (T, H); z[k] is that of step k+1
    products = np.stack([np.prod(z[k:], axis=0) for k in range(T + 1)])  # z_{k+1} ... z_T
    direct[bias] = np.sqrt((products**2).mean(axis=1))
    every_path[bias] = np.linalg.norm(rs.teach.flow.jacobians(unit, signal)[T], axis=(1, 2)) / np.sqrt(H)

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
rs.plots.gradient_by_lag(norms, ax=axes[0])
axes[0].set(xlabel="lag (steps before the last)", title="gradient at the inputs")
lags = T - np.arange(T + 1)
mark = max(T // 10, 1)
for position, bias in enumerate(direct, 1):
    style = {"color": rs.plots.COLOURS[position], "markersize": 4, "markevery": mark}
    marker = rs.plots.MARKERS[position]
    axes[1].plot(lags, every_path[bias], marker=marker, **style)
    axes[1].plot(lags, direct[bias], marker=marker, mfc="white", ls="--", **style)
axes[1].set(xlabel="lag T - k (steps)", ylabel="size of dh_T/dh_k", yscale="log", ylim=(1e-19, 10))
axes[1].plot([], [], color="black", marker="o", markersize=4, label="all paths")
axes[1].plot([], [], color="black", marker="o", markersize=4, mfc="white", ls="--", label="direct path alone")
axes[1].set_title("GRU: Jacobian of the state (colours as on the left)")
axes[1].legend(frameon=False, loc="lower left")
plt.show()

for name, values in norms.items():
    print(f"{name:28} after {T - 1} steps {values[-1] / values[0]:.1e} of the gradient at the inputs is left")
for bias in direct:
    alone, every = direct[bias][0], every_path[bias][0]
    print(f"b_z = {bias}, sigmoid {sigmoid(bias):.2f}: direct path {alone:.1e}, all paths {every:.1e} after {T} steps")

# %% [markdown]
# The cost of this memory: with $z$ near 1 little of each input gets in. Training finds the balance, per unit and per
# step. As for the LSTM, this eases vanishing gradients. It does not prevent exploding ones, because the other two paths
# still hold the matrices $U_r$, $U_z$, $U_n$; clipping stays necessary.

# %% [markdown]
# ## 5. Which way round is z? Eq. 37 against Eq. 78
#
# (A good place to begin the second sitting. From here on it is about programs that differ.)
#
# The report states the new state twice, and the two are not the same:
#
# $$\text{Eq. 37: } h_t = (1 - z_t) \odot h_{t-1} + z_t \odot n_t
# \qquad\qquad \text{Eq. 78: } h_t = z_t \odot h_{t-1} + (1 - z_t) \odot n_t$$
#
# Both are in use. Eq. 37 is the form of Chung et al. (2014); Eq. 78 that of Cho et al. (2014), PyTorch, Keras and
# this library. In Eq. 37 $z$ is the share of the *new*, in Eq. 78 the share of the *old*. The sentence under Eq. 34,
# that the update gate "determines how much of the past information should be retained", describes Eq. 78 only.


# %%
def run(x, h, W, U, b, new_state):
    """All steps of a GRU with the reset gate before the product; new_state(z, h, n) is Eq. 37 or Eq. 78."""
    (W_r, W_z, W_n), (U_r, U_z, U_n), (b_r, b_z, b_n) = (np.split(packed, 3, axis=-1) for packed in (W, U, b))
    outputs = []
    for x_t in x:
        r = sigmoid(x_t @ W_r + h @ U_r + b_r)
        z = sigmoid(x_t @ W_z + h @ U_z + b_z)
        n = np.tanh(x_t @ W_n + (r * h) @ U_n + b_n)
        h = new_state(z, h, n)
        outputs.append(h)
    return np.stack(outputs)


def eq_37(z, h, n):
    return (1 - z) * h + z * n


def eq_78(z, h, n):
    return z * h + (1 - z) * n


T, B, D, H = 4, 3, 2, 2
rng = np.random.default_rng(3)
x = rng.standard_normal((T, B, D))
h0 = rng.uniform(-1, 1, (B, H))
layer = rs.GRU(D, H, dtype="float64", seed=3)
W, U = layer.params["W_l0"], layer.params["U_l0"]
b = layer.params["b_l0"]
b[...] = rng.standard_normal(3 * H)

np.testing.assert_allclose(run(x, h0, W, U, b, eq_78), layer.forward(x, h0[None])[0], atol=1e-12)
gap = np.abs(run(x, h0, W, U, b, eq_37) - layer.forward(x, h0[None])[0]).max()
print(f"Eq. 78 is what the library computes; Eq. 37 with the same weights differs by up to {gap:.3f}")
assert gap > 0.1

# A gate that is open as far as it goes:
b_open = b.copy()
b_open[H : 2 * H] = 50.0
print("z = 1, Eq. 78 keeps the old state:", np.abs(run(x, h0, W, U, b_open, eq_78)[-1] - h0).max())
print("z = 1, Eq. 37 moves away from it: ", np.abs(run(x, h0, W, U, b_open, eq_37)[-1] - h0).max())

# %% [markdown]
# One is the other with the gate's weights negated, because $1 - \sigma(a) = \sigma(-a)$ for any $a$. If
# $z = \sigma(z_z)$ is the gate of Eq. 37, then $z' = \sigma(-z_z) = 1 - z$ is that of Eq. 78, and
# $-z_z = x_t(-W_z) + h_{t-1}(-U_z) - b_z$. So the two forms can express exactly the same functions; only the sign of
# what they store differs.

# %%
sign = np.repeat([1.0, -1.0, 1.0], H)  # columns r, z, n: the update gate's are negated
np.testing.assert_allclose(1 - sigmoid(0.7), sigmoid(-0.7), atol=1e-15)
h_37 = run(x, h0, W, U, b, eq_37)
h_78 = run(x, h0, W * sign, U * sign, b * sign, eq_78)
np.testing.assert_allclose(h_37, h_78, atol=1e-12)
print("largest difference of Eq. 37 and Eq. 78 with the update gate negated:", np.abs(h_37 - h_78).max())

# %% [markdown]
# The gradients follow by the chain rule: those of the update gate change sign, all others are the same. Here the
# library's gradient with negated weights, against the complex step through Eq. 37.

# %%
negated = rs.GRU(D, H, dtype="float64", seed=0)
for name, array in (("W_l0", W), ("U_l0", U), ("b_l0", b)):
    negated.params[name][...] = array * sign
dhs = rng.standard_normal((T, B, H))
negated.forward(x, h0[None])
negated.backward(dhs)
for name in ("W_l0", "U_l0", "b_l0"):
    arrays = {"W_l0": W, "U_l0": U, "b_l0": b}
    measured = np.zeros(arrays[name].shape)
    for place in np.ndindex(*measured.shape):
        nudged = {key: array.astype(complex) for key, array in arrays.items()}
        nudged[name][place] += 1e-200j
        measured[place] = (dhs * run(x, h0, *nudged.values(), eq_37)).sum().imag / 1e-200
    np.testing.assert_allclose(measured, negated.grads[name] * sign, atol=1e-12)
print("dL/db_z of Eq. 37:", measured[H : 2 * H], "  of Eq. 78 with negated weights:", negated.grads["b_l0"][H : 2 * H])

# %% [markdown]
# So when you move weights between two programs, the sign of $z$ is the first thing to find out. A wrong sign gives no
# error message. It gives a network that forgets where it should remember.

# %% [markdown]
# ## 6. Where does the reset gate act? Before or after the product
#
# Eqs 36 and 77 reset the state *before* the product with $U_n$, as in version 3 of Cho et al. (2014). Version 1 of the
# same paper, cuDNN, PyTorch and Keras (by default) reset *after* it, and put a further bias $b_n'$ inside (here `bn`):
#
# $$\text{before: } n_t = \tanh(x_t W_n + (r_t \odot h_{t-1})\, U_n + b_n)
# \qquad \text{after: } n_t = \tanh(x_t W_n + b_n + r_t \odot (h_{t-1} U_n + b_n'))$$
#
# Why would anyone reset after? Speed. With "after", the products with $U_r$, $U_z$ and $U_n$ all take $h_{t-1}$, so
# they are one product per step. With "before", the product with $U_n$ has to wait for $r_t$.
#
# With one unit, and $b_n' = 0$, both are the same, since $r \cdot h \cdot U = r \cdot (h \cdot U)$. With two units
# they are not: $(r \odot h) U$ weights the *rows* of $U$ by $r$, and $r \odot (h U)$ its *columns*. They agree where
# $U_n$ is diagonal.


# %%
def candidates(r, h, U_n):
    return (r * h) @ U_n, r * (h @ U_n)


r, h = np.array([[0.9, 0.1]]), np.array([[1.0, 1.0]])
for name, U_n in {"diagonal": np.diag([2.0, 3.0]), "full": np.array([[2.0, 1.0], [1.0, 3.0]])}.items():
    before, after = candidates(r, h, U_n)
    print(f"U_n {name:8}  before {before[0]}  after {after[0]}")
one_unit = candidates(np.array([[0.3]]), np.array([[0.7]]), np.array([[-1.5]]))
np.testing.assert_allclose(*one_unit, atol=1e-15)
np.testing.assert_allclose(*candidates(r, h, np.diag([2.0, 3.0])), atol=1e-15)

# %% [markdown]
# What changes on the way back. The rest of the step is as in section 3.
#
# | | before: $s = r \odot h_{t-1}$ | after: $q = h_{t-1} U_n + b_n'$ |
# | --- | --- | --- |
# | forward | $z_n = x_t W_n + s\, U_n + b_n$ | $z_n = x_t W_n + b_n + r \odot q$ |
# | towards the state | $\bar s = dz_n U_n^\top$ | $\bar q = dz_n \odot r$ |
# | $\bar r$ | $\bar s \odot h_{t-1}$ | $dz_n \odot q$ |
# | $dU_n$ | $s^\top dz_n$ | $h_{t-1}^\top \bar q$ |
# | $db_n'$ | none | the sum of $\bar q$ over the batch |
# | $\bar h_{t-1}$, through the candidate | $\bar s \odot r$ | $\bar q\, U_n^\top$ |
#
# Both, as plain NumPy. It is the whole GRU, on one page:


# %%
def gru_forward(x, h, W, U, b, bn=None):
    """hs (T, B, H) and what the way back needs; the reset gate acts after the product if bn is given."""
    (W_r, W_z, W_n), (U_r, U_z, U_n), (b_r, b_z, b_n) = (np.split(packed, 3, axis=-1) for packed in (W, U, b))
    hs, kept = [], []
    for x_t in x:
        r = sigmoid(x_t @ W_r + h @ U_r + b_r)
        z = sigmoid(x_t @ W_z + h @ U_z + b_z)
        if bn is None:
            inner = r * h  # s
            n = np.tanh(x_t @ W_n + inner @ U_n + b_n)
        else:
            inner = h @ U_n + bn  # q
            n = np.tanh(x_t @ W_n + b_n + r * inner)
        kept.append((h, r, z, n, inner))
        h = z * h + (1 - z) * n
        hs.append(h)
    return np.stack(hs), kept


def gru_backward(dhs, x, kept, W, U, bn=None, line_for_dr=None):
    """dx, dh0, dW, dU, db and, if bn is given, dbn. `line_for_dr` puts another line in the place of that for dr."""
    U_r, U_z, U_n = np.split(U, 3, axis=1)
    dh = np.zeros_like(dhs[0])
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(W[0])
    dbn = None if bn is None else np.zeros_like(bn)
    for t in reversed(range(len(x))):
        h, r, z, n, inner = kept[t]
        dh = dh + dhs[t]
        dz_n = dh * (1 - z) * (1 - n**2)
        dz_z = dh * (h - n) * z * (1 - z)
        if bn is None:
            # BLANK: dr, dU_n and through_candidate, reset before the product (inner is s)
            ds = dz_n @ U_n.T
            dr, dU_n, through_candidate = ds * h, inner.T @ dz_n, ds * r
            # END
        else:
            # BLANK: dq, dr, dU_n and through_candidate, reset after the product (inner is q)
            dq = dz_n * r
            dr, dU_n, through_candidate = dz_n * inner, h.T @ dq, dq @ U_n.T
            # END
            dbn += dq.sum(axis=0)
        if line_for_dr is not None:
            dr = line_for_dr(dz_n, h, U_n)
        dz_r = dr * r * (1 - r)
        dz = np.concatenate([dz_r, dz_z, dz_n], axis=1)
        dx[t], dW, db = dz @ W.T, dW + x[t].T @ dz, db + dz.sum(axis=0)
        dU = dU + np.concatenate([h.T @ dz_r, h.T @ dz_z, dU_n], axis=1)
        dh = dh * z + dz_r @ U_r.T + dz_z @ U_z.T + through_candidate
    return (dx, dh, dW, dU, db) if bn is None else (dx, dh, dW, dU, db, dbn)


bn = np.random.default_rng(4).standard_normal(H)
tilted = U + np.tile([[0.0, 0.5], [0.0, 0.0]], 3)  # U_n as it is happens to be its own transpose
for extra in (None, bn):
    for U_own in (tilted, U):
        peer = rs.GRU(D, H, reset_after=extra is not None, dtype="float64", seed=0)
        for name, array in (("W_l0", W), ("U_l0", U_own), ("b_l0", b), ("bn_l0", extra)):
            if array is not None:
                peer.params[name][...] = array
        hs, kept = gru_forward(x, h0, W, U_own, b, extra)
        np.testing.assert_allclose(hs, peer.forward(x, h0[None])[0], atol=1e-12)
        found = gru_backward(dhs, x, kept, W, U_own, extra)
        dx, dh0 = peer.backward(dhs)
        names = ["W_l0", "U_l0", "b_l0", "bn_l0"][: len(found) - 2]
        right = {"dx": dx, "dh0": dh0[0]} | {f"d{name[:-3]}": peer.grads[name] for name in names}
        for ours, (name, theirs) in zip(found, right.items()):
            form = "before" if extra is None else "after"
            np.testing.assert_allclose(ours, theirs, atol=1e-12, err_msg=f"{name}, reset {form} the product")
    print("reset before" if extra is None else "reset after ", " last state of the first sequence:", hs[-1, 0])

# %% [markdown]
# The same weights give other outputs, so a network trained with one form cannot be run with the other. (With $b_n' = 0$
# this is still so; exercise 3.) And each form's line for $\bar r$ is wrong in the other form. The gradient checker, on
# the reset-after pass with the reset-before line:


# %%
def mixed_up(x, h0, W, U, b, bn):
    hs, kept = gru_forward(x, h0, W, U, b, bn)

    def before_line(dz_n, h, U_n):
        return (dz_n @ U_n.T) * h

    return hs, lambda dhs: gru_backward(dhs, x, kept, W, U, bn, before_line)


def right(x, h0, W, U, b, bn):
    hs, kept = gru_forward(x, h0, W, U, b, bn)
    return hs, lambda dhs: gru_backward(dhs, x, kept, W, U, bn)


arguments = (x, np.random.default_rng(5).uniform(-1, 1, (B, H)), W, U, b, bn)
wrong, fine = rs.check_gradients(mixed_up, *arguments), rs.check_gradients(right, *arguments)
print(f"with the line of the other form:\n{wrong}\n\nwith its own line:\n{fine}")
assert not wrong.ok and fine.ok

# %% [markdown]
# Everything is wrong, though only one line is: $\bar r$ spoils $\bar h_{t-1}$, and with it all earlier steps. A short
# sequence helps to find such a bug. With one step the gradient of `bn` is right, because it is made from $dz_n$ and
# $r$, not from $\bar r$.

# %%
one_step = rs.check_gradients(mixed_up, x[:1], *arguments[1:])
print({row.name: "right" if row.ok else "wrong" for row in one_step.rows if not row.part})
assert [row.ok for row in one_step.rows if not row.part] == [False] * 5 + [True]

# %% [markdown]
# ## 7. How many numbers it learns
#
# $n$ inputs, $m$ units, three blocks (r, z and the candidate), each with an $n \times m$ matrix, an $m \times m$ matrix
# and $m$ biases: $3(n + m + 1)m$, as the report says after Eq. 37. That is three quarters of the LSTM's
# $4(n + m + 1)m$ and three times the vanilla RNN's. `reset_after` adds the $m$ numbers of `bn`. PyTorch and Keras
# (with `reset_after`) count $3(n + m + 2)m$, since they keep two biases for each block, of which only the candidate's
# second one does anything new.

# %%
for n, m in ((1, 1), (64, 64), (100, 128)):
    sizes = {
        "RNN": rs.RNN(n, m, seed=0).num_params,
        "LSTM": rs.LSTM(n, m, seed=0).num_params,
        "GRU": rs.GRU(n, m, seed=0).num_params,
        "GRU reset_after": rs.GRU(n, m, reset_after=True, seed=0).num_params,
    }
    assert sizes["GRU"] == 3 * (n + m + 1) * m == 3 * sizes["RNN"]
    assert sizes["LSTM"] == 4 * (n + m + 1) * m
    assert sizes["GRU reset_after"] == sizes["GRU"] + m
    print(f"n = {n:3}, m = {m:3}: ", "  ".join(f"{name} {size:,}" for name, size in sizes.items()))

# %% [markdown]
# ## 8. PyTorch's weights, by hand
#
# The weights are sines, in PyTorch's shapes; what its GRU makes of them was printed by PyTorch 2.13.0 (CPU), in double
# precision, by
#
# ```
# gru = torch.nn.GRU(2, 2).double()
# gru.load_state_dict({name: torch.from_numpy(array) for name, array in PYTORCH.items()})
# hs, _ = gru(torch.from_numpy(X))
# hs.sum().backward()
# ```
#
# You need no PyTorch to run this. What its documentation says of the layout:
#
# - `weight_ih_l0` (3H, D) and `weight_hh_l0` (3H, H), multiplied from the left, so ours are their transposes;
# - the rows are in the order r, z, n, the same as our columns;
# - the update is $h = (1 - z) \odot n + z \odot h_{t-1}$, Eq. 78, so no sign changes;
# - the reset gate acts after the product: $n = \tanh(W_{in} x + b_{in} + r \odot (W_{hn} h + b_{hn}))$;
# - there are two biases, `bias_ih_l0` and `bias_hh_l0` (3H,) each.

# %%
weights = np.sin(np.arange(1, 37)).round(2)
PYTORCH = {
    "weight_ih_l0": weights[:12].reshape(6, 2),
    "weight_hh_l0": weights[12:24].reshape(6, 2),
    "bias_ih_l0": weights[24:30],
    "bias_hh_l0": weights[30:],
}
X = np.array([[[0.5, -1.0]], [[1.5, 0.25]], [[-0.75, 2.0]]])  # (T, B, D) = (3, 1, 2)
printed = """
-0.004250121608641 -0.441984998443454 -0.134755611017968 -0.532386634985111 -0.190676637989961 -0.585935703478642
0.000251376652807 0.021668372104636 0.000344409452102 0.001453824698990 -0.007754062670847 -0.102293722220165
-0.006769215828812 -0.086188391389391 -0.001462927772708 -0.134842377403773 -0.001572322627478 -0.007054748952786
-0.078235201670571 -0.013234564342382 0.229401891039196 0.775401362277239 0.836354407305080 0.141172438663054
-0.078235201670571 -0.013234564342382 0.229401891039196 0.775401362277239 0.397461743437935 0.114018883686420
"""  # by row: hs, the gradient of weight_hh_l0 (two rows), of bias_ih_l0, of bias_hh_l0
printed = np.array(printed.split(), float).reshape(5, 6)
PYTORCH_HS = printed[0].reshape(3, 1, 2)
PYTORCH_GRADS = {"weight_hh_l0": printed[1:3].reshape(6, 2), "bias_ih_l0": printed[3], "bias_hh_l0": printed[4]}

# %% [markdown]
# The biases. For r and z both stand in the same sum, so only their total counts and we store $b_r = b_{ir} + b_{hr}$,
# $b_z = b_{iz} + b_{hz}$. For the candidate they must stay apart, because $b_{hn}$ is multiplied by $r$:
# $b_n = b_{in}$ and `bn` $= b_{hn}$. That is the "extra bias" of section 6.


# %%
def from_pytorch(weights):
    """The parameters of rs.GRU(..., reset_after=True) from those of torch.nn.GRU, for layer 0."""
    H = weights["weight_hh_l0"].shape[1]
    b = weights["bias_ih_l0"].copy()
    b[: 2 * H] += weights["bias_hh_l0"][: 2 * H]  # r and z: one sum
    return {
        "W_l0": weights["weight_ih_l0"].T,
        "U_l0": weights["weight_hh_l0"].T,
        "b_l0": b,
        "bn_l0": weights["bias_hh_l0"][2 * H :],  # n: stays inside the reset
    }


ours = rs.GRU(2, 2, reset_after=True, dtype="float64", seed=0)
for name, array in from_pytorch(PYTORCH).items():
    ours.params[name][...] = array
hs, _ = ours.forward(X)
print("PyTorch", PYTORCH_HS[-1, 0])
print("ours   ", hs[-1, 0])
print("largest difference over all steps:", np.abs(hs - PYTORCH_HS).max())
np.testing.assert_allclose(hs, PYTORCH_HS, atol=1e-12)
assert sum(array.size for array in PYTORCH.values()) == 3 * (2 + 2 + 2) * 2

# %% [markdown]
# The gradients agree as well. Those of PyTorch's two biases are equal for r and z, since both are the gradient of the
# same sum; for n they differ by the factor $r$ at each step. (With two equal gradients, plain gradient descent on the
# two biases moves their sum twice as far as on one bias. This is one of the small ways in which two frameworks with
# the same start and the same data train differently.)

# %%
ours.backward(np.ones_like(hs))
np.testing.assert_allclose(ours.grads["U_l0"], PYTORCH_GRADS["weight_hh_l0"].T, atol=1e-12)
np.testing.assert_allclose(ours.grads["b_l0"], PYTORCH_GRADS["bias_ih_l0"], atol=1e-12)
np.testing.assert_allclose(ours.grads["bn_l0"], PYTORCH_GRADS["bias_hh_l0"][4:], atol=1e-12)
np.testing.assert_allclose(PYTORCH_GRADS["bias_ih_l0"][:4], PYTORCH_GRADS["bias_hh_l0"][:4], atol=1e-12)
print("gradient of b_in", ours.grads["b_l0"][4:], "  of b_hn", ours.grads["bn_l0"])

# %% [markdown]
# The ways to get it wrong, and how far off each is. None of them raises an error.

# %%
H = 2
z_first = np.r_[H : 2 * H, :H, 2 * H : 3 * H]  # as if the order were z, r, n


def outputs_with(reset_after=True, **changes):
    layer = rs.GRU(2, 2, reset_after=reset_after, dtype="float64", seed=0)
    loaded = from_pytorch(PYTORCH) | changes
    for name in layer.params:
        layer.params[name][...] = loaded[name]
    return layer.forward(X)[0]


loaded = from_pytorch(PYTORCH)
sum_of_biases = PYTORCH["bias_ih_l0"] + PYTORCH["bias_hh_l0"]
update_sign = np.repeat([1.0, -1.0, 1.0], H)
mistakes = {
    "U not transposed": outputs_with(U_l0=np.concatenate(np.split(PYTORCH["weight_hh_l0"], 3), axis=1)),
    "gates in the order z, r, n": outputs_with(
        W_l0=loaded["W_l0"][:, z_first], U_l0=loaded["U_l0"][:, z_first], b_l0=loaded["b_l0"][z_first]
    ),
    "update gate of Eq. 37": outputs_with(**{k: loaded[k] * update_sign for k in ("W_l0", "U_l0", "b_l0")}),
    "b_hn added to b_in": outputs_with(b_l0=sum_of_biases, bn_l0=np.zeros(H)),
    "b_hn forgotten": outputs_with(bn_l0=np.zeros(H)),
    "reset before the product": outputs_with(reset_after=False, b_l0=sum_of_biases),
}
for name, wrong in mistakes.items():
    print(f"{name:27} off by {np.abs(wrong - PYTORCH_HS).max():.3f}")
    assert np.abs(wrong - PYTORCH_HS).max() > 1e-3

# %% [markdown]
# If PyTorch is installed, the next cell asks it again, with the weights above. It prints the same either way.

# %%
try:
    import torch
except ImportError:
    torch = None
if torch is not None:
    module = torch.nn.GRU(2, 2).double()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in PYTORCH.items()})
    live, _ = module(torch.from_numpy(X))
    np.testing.assert_allclose(live.detach().numpy(), PYTORCH_HS, atol=1e-12)
    live.sum().backward()
    for name, gradient in PYTORCH_GRADS.items():
        np.testing.assert_allclose(getattr(module, name).grad.numpy(), gradient, atol=1e-12)
print("the library gives PyTorch's numbers")

# %% [markdown]
# ## 9. Keras' order and its two rows of biases
#
# Keras multiplies as we do, row times matrix, so nothing is transposed: `kernel` (D, 3H), `recurrent_kernel` (H, 3H).
# But its columns are in the order **z, r, h**, update gate first. With `reset_after=True`, its default, `bias` is (2,
# 3H): row 0 is added to $x_t W$, row 1 to $h_{t-1} U$. These are PyTorch's `bias_ih` and `bias_hh` in another order.
# With `reset_after=False` the bias is one row (3H,), and the reset gate acts before the product, Eq. 77. The new
# state is Eq. 78 in both.
#
# Below is a step as Keras writes it, fed with the PyTorch weights in Keras' layout. If the layout is right, it gives
# PyTorch's numbers; and reading it back gives our layer.


# %%
def keras_gru(x, kernel, recurrent_kernel, bias):
    """All steps with reset_after=True, in Keras' order: z, r, h."""
    H = len(recurrent_kernel)
    h, outputs = np.zeros((x.shape[1], H)), []
    for x_t in x:
        x_z, x_r, x_h = np.split(x_t @ kernel + bias[0], 3, axis=1)
        h_z, h_r, h_h = np.split(h @ recurrent_kernel + bias[1], 3, axis=1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
        outputs.append(h)
    return np.stack(outputs)


to_keras = np.r_[H : 2 * H, :H, 2 * H : 3 * H]  # columns r, z, n -> z, r, h; its own inverse
kernel = PYTORCH["weight_ih_l0"].T[:, to_keras]
recurrent_kernel = PYTORCH["weight_hh_l0"].T[:, to_keras]
bias = np.stack([PYTORCH["bias_ih_l0"][to_keras], PYTORCH["bias_hh_l0"][to_keras]])
print("kernel", kernel.shape, " recurrent_kernel", recurrent_kernel.shape, " bias", bias.shape)
np.testing.assert_allclose(keras_gru(X, kernel, recurrent_kernel, bias), PYTORCH_HS, atol=1e-12)


def from_keras(kernel, recurrent_kernel, bias):
    """Parameters of rs.GRU from Keras' weights: reset_after where bias has two rows."""
    H = len(recurrent_kernel)
    order = np.r_[H : 2 * H, :H, 2 * H : 3 * H]
    params = {"W_l0": kernel[:, order], "U_l0": recurrent_kernel[:, order]}
    if bias.ndim == 1:
        return params | {"b_l0": bias[order]}
    b = bias[0] + np.where(np.arange(3 * H) < 2 * H, bias[1], 0.0)
    return params | {"b_l0": b[order], "bn_l0": bias[1][2 * H :]}


for name, array in from_keras(kernel, recurrent_kernel, bias).items():
    np.testing.assert_allclose(array, from_pytorch(PYTORCH)[name], atol=1e-15)
print("both roads lead to the same parameters:", ", ".join(from_keras(kernel, recurrent_kernel, bias)))

# %% [markdown]
# The three questions, answered for each:
#
# | | new state | reset gate | order | shape of $U$ | biases |
# | --- | --- | --- | --- | --- | --- |
# | the report, 2.2.5 | Eq. 37 | before | | | one |
# | the report, 4.3.3 | Eq. 78 | before | | | one |
# | `rs.GRU` | Eq. 78 | before | r, z, n | (H, 3H) | one |
# | `rs.GRU(reset_after=True)` | Eq. 78 | after | r, z, n | (H, 3H) | one, and `bn` |
# | `torch.nn.GRU`, cuDNN | Eq. 78 | after | r, z, n | (3H, H) | two |
# | Keras, `reset_after=True` | Eq. 78 | after | z, r, h | (H, 3H) | two rows |
# | Keras, `reset_after=False` | Eq. 78 | before | z, r, h | (H, 3H) | one |

# %% [markdown]
# ## Exercises
#
# **1.** Start the network of section 2 at $h_0 = 0$ (Eq. 74) and put a gradient of 1 on $h_1$ alone. Which of the nine
# weight gradients are zero, and why? (`rs.teach.answer("5.1", ...)` takes nine numbers, 1 for each that is zero and 0
# for the others, in the order $W_r, W_z, W_n, U_r, U_z, U_n, b_r, b_z, b_n$.)
#
# <details><summary>Solution</summary>
#
# With $h_0 = 0$: $\bar r_1 = \bar s_1 \odot h_0 = 0$, so $dz_r = 0$ and with it $dW_r$, $dU_r$, $db_r$. The inputs of
# $U_z$ and $U_n$ are $h_0 = 0$ and $r_1 \odot h_0 = 0$, so $dU_z = dU_n = 0$. Five zeros. A bug in any of these lines
# would pass a gradient check that uses one step from zero, which is why the checker starts from a random state.
#
# ```python
# gru.forward(np.array([[[x1]]]))
# gru.backward(np.ones((1, 1, 1)))
# all_nine = np.concatenate([gru.grads[name].ravel() for name in ("W_l0", "U_l0", "b_l0")])
# zero = np.array([1, 0, 0, 1, 1, 1, 1, 0, 0], bool)  # W_r W_z W_n, U_r U_z U_n, b_r b_z b_n
# assert ((all_nine == 0) == zero).all()
# # answer 5.1: zero.astype(int)
# ```
#
# </details>
#
# **2.** A unit shall remember for $T$ steps before the input has been seen at all. Which $b_z$ do you start from? With
# $W_z = U_z = 0$ the direct path over $T$ steps shall be $1/e$. What is $b_z$ for $T = 100$, and how far off is
# $\ln T$? (`rs.teach.answer("5.2", b_z)`)
#
# <details><summary>Solution</summary>
#
# $z^T = 1/e$ means $z = e^{-1/T}$, and $b = \ln\frac{z}{1 - z} = -\ln(e^{1/T} - 1)$: 4.6002 for $T = 100$, where
# $\ln T$ is 4.6052. (With $z \approx 1 - 1/T$ it would be $\ln(T - 1)$.)
#
# ```python
# for steps_to_keep in (10, 1000, 100):
#     b_start = -np.log(np.expm1(1 / steps_to_keep))
#     np.testing.assert_allclose(sigmoid(b_start) ** steps_to_keep, np.exp(-1), rtol=1e-12)
#     assert abs(b_start - np.log(steps_to_keep)) < 1 / steps_to_keep
# assert abs(b_start - 4.6002) < 1e-4
# # answer 5.2: b_start
# ```
#
# </details>
#
# **3.** Show with `rs.GRU` that the two positions of the reset gate differ even when `bn` is zero, and that they agree
# when all $U_n$ are diagonal. Take two layers of 2 inputs and 2 units in double precision, the first with
# seed 5, the second with the first's weights, and the sequence `X` of section 8: by how much do their outputs differ
# at most? (`rs.teach.answer("5.3", largest)`)
#
# <details><summary>Solution</summary>
#
# The first multiplies $r$ before $U_n$ mixes the units, the second after. Where nothing is mixed, both are the same.
#
# ```python
# first = rs.GRU(2, 2, dtype="float64", seed=5)
# second = rs.GRU(2, 2, reset_after=True, dtype="float64", seed=5)
# assert not second.params["bn_l0"].any()
# for name in first.params:
#     second.params[name][...] = first.params[name]
# largest = np.abs(first.forward(X)[0] - second.forward(X)[0]).max()
# assert largest > 1e-3
# for layer in (first, second):
#     layer.gate("U_l0", "n")[...] = np.diag([0.8, -1.2])
# np.testing.assert_allclose(first.forward(X)[0], second.forward(X)[0], atol=1e-12)
# # answer 5.3: largest
# ```
#
# </details>
#
# **4.** Make a GRU behave as a vanilla RNN by setting the gates' biases, on zero gate weights. How close does it get?
# What must $r$ and $z$ be? (`rs.teach.answer("5.4", [r, z])`)
#
# <details><summary>Solution</summary>
#
# $r = 1$ and $z = 0$ turn Eqs 77 and 78 into $h_t = \tanh(x_t W_n + h_{t-1} U_n + b_n)$. Biases of $\pm 50$ on zero
# weights make the gates that to rounding.
#
# ```python
# cell = rs.GRU(2, 3, dtype="float64", seed=1)
# for gate, value in (("r", 50.0), ("z", -50.0)):
#     for name in ("W_l0", "U_l0"):
#         cell.gate(name, gate)[...] = 0.0
#     cell.gate("b_l0", gate)[...] = value
# plain = rs.RNN(2, 3, dtype="float64", seed=0)
# for name in ("W_l0", "U_l0", "b_l0"):
#     plain.params[name][...] = cell.gate(name, "n")
# np.testing.assert_allclose(cell.forward(X)[0], plain.forward(X)[0], atol=1e-12)
# # answer 5.4: [1.0, 0.0]
# ```
#
# </details>
#
# **5.** The simplest gated unit has no reset gate ($r = 1$). How many parameters does it have, and what is its backward
# pass? Check yours with `rs.check_gradients`. (`rs.teach.answer("5.5", count)` takes the number of parameters for 4
# inputs and 3 units.)
#
# <details><summary>Solution</summary>
#
# $2(n + m + 1)m$, 48 for 4 inputs and 3 units. Take the pass of section 3 with $r = 1$: $dz_r$ goes, and
# $\bar s = dz_n U_n^\top$ goes straight to $h_{t-1}$.
#
# ```python
# def one_gate(x, h, W, U, b):
#     W_z, W_n = np.split(W, 2, axis=1)
#     U_z, U_n = np.split(U, 2, axis=1)
#     b_z, b_n = np.split(b, 2)
#     hs, kept = [], []
#     for x_t in x:
#         z, n = sigmoid(x_t @ W_z + h @ U_z + b_z), np.tanh(x_t @ W_n + h @ U_n + b_n)
#         kept.append((h, z, n))
#         h = z * h + (1 - z) * n
#         hs.append(h)
#
#     def pullback(dhs):
#         dx, dW, dU, db, dh = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(b), 0
#         for t in reversed(range(len(x))):
#             h, z, n = kept[t]
#             dh = dh + dhs[t]
#             dz = np.concatenate([dh * (h - n) * z * (1 - z), dh * (1 - z) * (1 - n**2)], axis=1)
#             dx[t], dW, dU, db = dz @ W.T, dW + x[t].T @ dz, dU + h.T @ dz, db + dz.sum(axis=0)
#             dh = dh * z + dz @ U.T
#         return dx, dh, dW, dU, db
#
#     return np.stack(hs), pullback
#
#
# draw = np.random.default_rng(6).standard_normal
# own = [draw(size) for size in ((4, 6), (3, 6), 6)]
# assert rs.check_gradients(one_gate, draw((3, 2, 4)), draw((2, 3)), *own).ok
# # answer 5.5: sum(array.size for array in own)
# ```
#
# </details>
#
# **6.** A colleague's GRU uses Eq. 37, resets before the product and packs its columns as z, r, n with one bias.
# Write the function that turns its weights into those of `rs.GRU`. What does it make of the bias
# `[1, 2, 3, 4, 5, 6]`, for two units? (`rs.teach.answer("5.6", bias)`)
#
# <details><summary>Solution</summary>
#
# Exchange the first two blocks, and negate the update gate's.
#
# ```python
# def from_colleague(W, U, b):
#     H = len(U)
#     order, sign = np.r_[H : 2 * H, :H, 2 * H : 3 * H], np.repeat([1.0, -1.0, 1.0], H)
#     return {name: a[..., order] * sign for name, a in (("W_l0", W), ("U_l0", U), ("b_l0", b))}
#
#
# draw = np.random.default_rng(7).standard_normal
# theirs = [draw((2, 6)), draw((2, 6)), draw(6)]
# zrn_to_rzn = np.r_[2:4, 0:2, 4:6]
# expected = run(X, np.zeros((1, 2)), *[a[..., zrn_to_rzn] for a in theirs], eq_37)
# layer = rs.GRU(2, 2, dtype="float64", seed=0)
# for name, array in from_colleague(*theirs).items():
#     layer.params[name][...] = array
# np.testing.assert_allclose(layer.forward(X)[0], expected, atol=1e-12)
# # answer 5.6: from_colleague(*theirs[:2], np.arange(1, 7))["b_l0"]
# ```
#
# </details>
#
# ## Five questions
#
# **1.** What does the state do where $z_t = 1$, and where $z_t = 0$ and $r_t = 0$ (Eqs 77, 78)?
#
# <details><summary>Answer</summary>
#
# At $z_t = 1$ it stays. At $z_t = r_t = 0$ it is $\tanh(x_t W_n + b_n)$: the past is gone.
#
# ```python
# kept = rs.GRU(2, 2, dtype="float64", seed=8)
# first_state, one_x = np.array([[[0.3, -0.6]]]), X[:1]
# kept.gate("b_l0", "z")[...] = 60.0
# np.testing.assert_allclose(kept.forward(one_x, first_state)[0], first_state, atol=1e-12)
# kept.gate("b_l0", "z")[...] = kept.gate("b_l0", "r")[...] = -60.0
# plain_tanh = np.tanh(one_x[0] @ kept.gate("W_l0", "n") + kept.gate("b_l0", "n"))
# np.testing.assert_allclose(kept.forward(one_x, first_state)[0][0], plain_tanh, atol=1e-12)
# ```
#
# </details>
#
# **2.** Which array is the input of $U_n$ in the gradient $dU_n$, with the reset gate before the product, and after?
#
# <details><summary>Answer</summary>
#
# Before: $s = r \odot h_{t-1}$, with $dz_n$. After: $h_{t-1}$ itself, with $\bar q = dz_n \odot r$.
#
# ```python
# state, reset, slope = np.array([[0.5, -0.2]]), np.array([[0.9, 0.4]]), np.array([[0.1, 0.3]])
# before, after = (reset * state).T @ slope, state.T @ (slope * reset)
# np.testing.assert_allclose(before.T, [[0.045, -0.008], [0.135, -0.024]])
# np.testing.assert_allclose(after.T, [[0.045, -0.018], [0.06, -0.024]])
# ```
#
# </details>
#
# **3.** How many numbers does a GRU of 10 inputs and 20 units learn here, and how many does PyTorch count?
#
# <details><summary>Answer</summary>
#
# $3 \cdot 31 \cdot 20 = 1860$, and $3 \cdot 32 \cdot 20 = 1920$.
#
# ```python
# assert rs.GRU(10, 20, seed=0).num_params == 1860 == 1920 - 3 * 20
# ```
#
# </details>
#
# **4.** The update gate's bias starts at 3. Which share of a state does the direct path keep over ten steps, if nothing
# else moves the gate?
#
# <details><summary>Answer</summary>
#
# $\sigma(3)^{10} = 0.615$.
#
# ```python
# assert round(sigmoid(3.0) ** 10, 3) == 0.615
# ```
#
# </details>
#
# **5.** Someone loads Keras' weights into PyTorch's order by transposing only. Does it raise an error?
#
# <details><summary>Answer</summary>
#
# No: the blocks have one shape, so reset and update gate change places in silence.
#
# ```python
# silent = {name: array.copy() for name, array in from_pytorch(PYTORCH).items()}
# for name in ("W_l0", "U_l0", "b_l0"):
#     silent[name] = silent[name][..., to_keras]
# assert np.abs(outputs_with(**silent) - PYTORCH_HS).max() > 0.1
# ```
#
# </details>
#
# ## Read on
#
# - K. Cho et al., *Learning phrase representations using RNN encoder-decoder for statistical machine translation*,
#   EMNLP 2014 (arXiv 1406.1078): the unit, Eq. 78; its versions differ in where the reset gate acts.
# - J. Chung, C. Gulcehre, K. Cho, Y. Bengio, *Empirical evaluation of gated recurrent neural networks on sequence
#   modeling*, 2014 (arXiv 1412.3555): Eq. 37, and a comparison with the LSTM.
# - R. Jozefowicz, W. Zaremba, I. Sutskever, *An empirical exploration of recurrent network architectures*, ICML 2015.
# - PyTorch's documentation of `torch.nn.GRU`, and Keras' of `keras.layers.GRU` (`reset_after`).
