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
# The long short-term memory keeps a second state, the cell $C_t$, which changes by *addition*. This notebook derives
# its backward pass line by line, checks every line by hand and against the library, and measures how far the direct
# path through the cell carries. You need notebook 1.

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
from rnnscratch.teach import flow, symbolic

# %% [markdown]
# ## 1. The forward pass
#
# | | the report, Eqs 28 to 33 | its model 2 | here (gate order i, f, o, g) |
# | --- | --- | --- | --- |
# | forget gate | Eq. 28 (missing in the report) | Eq. 66 | $f = \sigma(x W_f + h_{t-1} U_f + b_f)$ |
# | input gate | Eq. 29 | Eq. 67 | $i = \sigma(x W_i + h_{t-1} U_i + b_i)$ |
# | candidate | Eq. 30 | Eq. 68 | $g = \tanh(x W_g + h_{t-1} U_g + b_g)$ |
# | cell | Eq. 31 | Eq. 69 | $C_t = f \odot C_{t-1} + i \odot g$ |
# | output gate | Eq. 32 | Eq. 70 | $o = \sigma(x W_o + h_{t-1} U_o + b_o)$ |
# | state | Eq. 33 | Eq. 71 | $h_t = o \odot \tanh(C_t)$ |
#
# Two errata. Eq. 28, the forget gate, is lost in the report; it is Eq. 66. Eq. 29 gives the input gate the bias $b_c$
# of the candidate; it has its own, $b_i$ (Eq. 67). If both shared one bias, its gradient would be the sum of two, and
# the layer would have $m$ parameters less. $h_0 = C_0 = 0$ is the usual start (Eq. 65). $W \cdot [h, x]$ in the report
# is one matrix for both; ours are two, $U$ for $h$ and $W$ for $x$.
#
# One unit, one input, two steps, with a start that is not zero:

# %%
Wi, Wf, Wo, Wg = 0.5, -0.3, 0.8, 1.0
Ui, Uf, Uo, Ug = 0.2, 0.4, -0.6, 0.7
bi, bf, bo, bg = 0.0, 1.0, 0.1, -0.2
x = [None, 1.0, -0.5]
h, c = [0.3, None, None], [-0.4, None, None]


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
    print(f"     C = {f[t]:.6f} * {c[t - 1]:+.6f} + {i[t]:.6f} * {g[t]:+.6f} = {c[t]:+.6f}")
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
# ## 2. The backward pass
#
# $\bar h$ is the gradient that reaches $h_t$: from the output at $t$ and from step $t+1$, as in notebook 1. $\bar C$
# is the one that reaches $C_t$, and it too has **two consumers**: $h_t = o \tanh(C_t)$, and the next cell $C_{t+1} =
# f_{t+1} C_t + \dots$
#
# $$\bar C_t = \underbrace{\bar h_t\, o_t\, (1 - \tanh^2 C_t)}_{\text{through } h_t} +
# \underbrace{\bar C_{t+1}\, f_{t+1}}_{\text{from the next cell}}$$
#
# Forgetting the second term, or the slope of the *second* tanh in the first, are the two classic bugs. From $\bar C$
# and $\bar h$, by Eqs 31 and 33:
#
# $$\bar o = \bar h \tanh C_t, \qquad \bar i = \bar C g, \qquad \bar f = \bar C\, C_{t-1}, \qquad \bar g = \bar C\, i$$
#
# then through each gate's own function (Eqs 25 and 27): $\bar z_i = \bar i\, i(1-i)$, the same for $f$ and $o$, and
# $\bar z_g = \bar g (1 - g^2)$. Last, each $z$ is $xW + hU + b$, so $\bar W = x^\top \bar z$, $\bar U = h_{t-1}^\top
# \bar z$, $\bar b = \bar z$, summed over the steps, and $\bar h_{t-1} = \sum_{\text{gates}} \bar z\, U^\top$.
#
# The loss is $L = h_1 + 2 h_2$, so the outputs bring 1 and 2:

# %%
dhs = [None, 1.0, 2.0]
h_future, c_future = 0.0, 0.0
sums = {name: np.zeros(4) for name in "WUb"}
for t in (2, 1):
    dh = dhs[t] + h_future
    through_h = dh * o[t] * (1 - np.tanh(c[t]) ** 2)
    dc = through_h + c_future
    do, di, df, dg = dh * np.tanh(c[t]), dc * g[t], dc * c[t - 1], dc * i[t]
    dz = np.array([di * i[t] * (1 - i[t]), df * f[t] * (1 - f[t]), do * o[t] * (1 - o[t]), dg * (1 - g[t] ** 2)])
    print(f"t={t}  dh = {dhs[t]} + {h_future:+.6f} = {dh:+.6f}")
    print(f"     dC = {through_h:+.6f} (through h) {c_future:+.6f} (next cell) = {dc:+.6f}")
    print(f"     di = {di:+.6f}   df = {df:+.6f}   do = {do:+.6f}   dg = {dg:+.6f}")
    print(f"     dz = {dz.round(6)} for i, f, o, g")
    sums["W"] += x[t] * dz
    sums["U"] += h[t - 1] * dz
    sums["b"] += dz
    h_future, c_future = dz @ [Ui, Uf, Uo, Ug], dc * f[t]
print(f"for h_0: {h_future:+.6f}, for C_0: {c_future:+.6f}")
print(f"dU = {sums['U'].round(6)} for i, f, o, g")

# %%
_, (dh_0, dc_0) = layer.backward(np.array(dhs[1:]).reshape(2, 1, 1))
for name in "WUb":
    np.testing.assert_allclose(layer.grads[f"{name}_l0"].ravel(), sums[name], rtol=1e-13)
np.testing.assert_allclose([dh_0.item(), dc_0.item()], [h_future, c_future], rtol=1e-13)
rs.teach.trace(layer, x_rows, state, np.array(dhs[1:]).reshape(2, 1, 1))

# %% [markdown]
# ## 3. All paths
#
# With two parts of the state there are many ways back: from $h_3$ to a use of a weight at step 1 there are four,
# through $h$ or $C$ at steps 2 and 1. For the input gate's recurrent weight, two steps:

# %%
symbolic.derivation("lstm", T=2, parameter="U_i")

# %% [markdown]
# The hand-written kernel can be run on exact numbers too. Its gradients agree with SymPy's to 30 digits:

# %%
error = symbolic.prove_digits("lstm", T=2 if QUICK else 3, H=1)
print(f"largest relative error: {float(error):.1e}")
assert error < 1e-30

# %% [markdown]
# ## 4. How many parameters?
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
# ## 5. Is the derivative of the cell equal to the forget gate?
#
# By Eq. 31 $\partial C_t / \partial C_{t-1} = f_t$ if $i$, $f$ and $g$ are held fixed: the **direct path**. But
# $C_{t-1}$ also changes $h_{t-1}$, and that changes all gates at $t$. The total derivative has both. "The LSTM
# prevents vanishing and exploding gradients", as the report says, holds for neither: the direct path is a product of
# numbers below 1, which may vanish slowly; the other paths may do anything.

# %%
T, H = 40, 12
rng = np.random.default_rng(0)
inputs = rng.standard_normal((T, 1, 4)) * 0.5
fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharey=True)
for ax, bias in zip(axes, (0.0, 1.0, 4.0)):
    net = rs.LSTM(4, H, dtype="float64", seed=0)
    net.gate("b_l0", "f")[...] = bias
    direct, total = flow.direct_path(net, inputs)
    lag = np.arange(T + 1)
    ax.semilogy(lag, direct[T, ::-1].mean(axis=1), label="direct path, product of f", marker="o", markevery=5, ms=4,
                color=rs.plots.COLOURS[0])  # fmt: skip
    ax.semilogy(lag, np.abs(total[T, ::-1]).mean(axis=1), label="all paths", marker="s", markevery=5, ms=4,
                color=rs.plots.COLOURS[1])  # fmt: skip
    ax.set(xlabel="lag k (steps)", title=f"forget bias {bias:g}")
    print(f"bias {bias:g}: after {T} steps direct {direct[T, 0].mean():.1e}, total {np.abs(total[T, 0]).mean():.1e}")
axes[0].set_ylabel(r"mean size of $\partial C_T / \partial C_{T-k}$")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# A forget bias of 0 halves the cell at every step. That is why it starts at 1 here, as in most libraries (Gers et al.
# 2000, Jozefowicz et al. 2015); for long memories more is better. The direct path cannot explode, all paths together
# can: **an LSTM still needs clipping**. With large recurrent weights:

# %%
net = rs.LSTM(4, H, dtype="float64", seed=0)
net.params["U_l0"] *= 6
net.gate("b_l0", "f")[...] = 4.0
direct, total = flow.direct_path(net, inputs)
largest = flow.singular_values(net, inputs)[T, 0, 0]
print(
    f"direct path after {T} steps: at most {direct[T, 0].max():.3f}; largest singular value of all paths: {largest:.1e}"
)
assert direct[T, 0].max() < 1 < largest

# %% [markdown]
# ## 6. Which gates are open?
#
# A gate near 0 or 1 has slope near 0: it does not learn. `flow.saturation` counts:

# %%
for scale in (1, 6):
    net = rs.LSTM(4, H, dtype="float64", seed=0)
    net.params["U_l0"] *= scale
    print(f"U scaled by {scale}")
    for gate, (low, high) in flow.saturation(net, inputs).items():
        print(f"    {gate}: {low:.0%} near the lower end, {high:.0%} near the upper")

# %% [markdown]
# ## 7. A model: from the last state to the loss
#
# The report's model 2 ends with a dense layer on the last state, $\hat y = f(W_{ho}^\top h_T + b_y)$ (Eq. 72), and a
# loss $\mathcal L(\hat y, y)$ (Eq. 73). For two classes $f$ is the sigmoid, the loss is the cross-entropy, and its
# gradient with respect to the logit is $\hat y - y$. It enters BPTT at the last step alone, as `dstate`:

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
report = rs.check_gradients(model, rng.integers(0, 10, (6, 3)), lengths=[6, 2, 4])
print(str(report).rpartition("\n\n")[2])
assert report.ok

# %% [markdown]
# ## Exercises
#
# **1.** Remove the second term of $\bar C$ in section 2. Which gradients change, at which steps?
#
# <details><summary>Solution</summary>
#
# Those of step 1 only: at the last step there is no next cell.
#
# ```python
# steps = rs.teach.trace(layer, x_rows, state, np.array(dhs[1:]).reshape(2, 1, 1))
# assert steps["dc (future)", 2] == 0 and steps["dc (future)", 1] != 0
# ```
# </details>
#
# **2.** What is $\partial C_1 / \partial C_0$, and what is $\partial h_1 / \partial C_0$? Compute both from the
# numbers of section 1.
#
# <details><summary>Solution</summary>
#
# $h_0$ is given, so the gates of step 1 do not depend on $C_0$: $f_1$, and $o_1 (1 - \tanh^2 C_1) f_1$.
#
# ```python
# J = flow.jacobians(layer, x_rows, state)[1, 0]  # of (h_1, C_1) by (h_0, C_0)
# np.testing.assert_allclose(J[1, 1], f[1], rtol=1e-13)
# np.testing.assert_allclose(J[0, 1], o[1] * (1 - np.tanh(c[1]) ** 2) * f[1], rtol=1e-13)
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
# net = rs.LSTM(4, H, dtype="float64", seed=0)
# net.params["U_l0"][...] = 0
# direct, total = flow.direct_path(net, inputs)
# np.testing.assert_allclose(total[T, 0], direct[T, 0], rtol=1e-12)
# ```
# </details>
#
# **4.** The report says an input gate with bias $b_c$ (Eq. 29). What would $\partial L/\partial b_c$ be then, in the
# numbers of section 2?
#
# <details><summary>Solution</summary>
#
# The sum of the gradients of the two places where it is used: those of $b_i$ and $b_g$.
#
# ```python
# eps = 1e-200
# def run(shared):
#     hh, cc, loss = h[0], c[0], 0
#     for t in (1, 2):
#         ii = 1 / (1 + np.exp(-(x[t] * Wi + hh * Ui + bi + shared)))
#         ff, oo = sigmoid(x[t] * Wf + hh * Uf + bf), sigmoid(x[t] * Wo + hh * Uo + bo)
#         gg = np.tanh(x[t] * Wg + hh * Ug + bg + shared)
#         cc = ff * cc + ii * gg
#         hh = oo * np.tanh(cc)
#         loss = loss + dhs[t] * hh
#     return loss
# np.testing.assert_allclose(run(1j * eps).imag / eps, sums["b"][0] + sums["b"][3], rtol=1e-13)
# ```
# </details>
