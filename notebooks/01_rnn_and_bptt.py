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
# # 1. Recurrent networks and back-propagation through time
#
# A recurrent network uses the same weights at every step. Its gradient is therefore a **sum over steps**, and that sum
# is all that back-propagation through time (BPTT) is about. Here it is computed with pencil and paper for three steps
# and one hidden unit, then for any size, and every line is compared with the library. You need the chain rule and
# NumPy. Take a pocket calculator along: every number below follows from the lines above it (shown with six digits,
# computed with all; by hand the last one may differ).
#
# Equation numbers are those of N. H. Wang, *Recurrent Deep Learning Models and its applications* (2025), "the report".
# Where the report errs, this notebook says so and shows it with numbers.

# %%
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "rnnscratch[imdb,notebooks]"])

import matplotlib.pyplot as plt
import numpy as np

import rnnscratch as rs
from rnnscratch.teach import flow, symbolic

QUICK = os.environ.get("RNNSCRATCH_QUICK") == "1"  # smaller sizes, for a quick check


# %% [markdown]
# ## 1. The network, and its forward pass
#
# At step $t$ the network reads $x_t$ and mixes it with what it remembers, $h_{t-1}$:
#
# $$h_t = \tanh(U x_t + W h_{t-1} + b_h) \qquad\text{(Eq. 1)}$$
# $$\hat y_t = V h_t + b_y \qquad\text{(Eq. 2, with the identity as output function)}$$
# $$L_t = \tfrac12 (\hat y_t - y_t)^2 \qquad\text{(Eq. 3)}$$
#
# $U$ weighs the input, $W$ the state before, $V$ makes the output. All are plain numbers for now. (In Table 1 the
# report gives the output $\hat y_t$ the size of the hidden state; it has the size of the classes.) The report begins
# with $h_0 = 0$. We take $h_0 = 0.5$: a zero would make some gradients zero, and a mistake in them would not show.

# %%
U, W, V, b_h, b_y = 0.5, 0.8, 2.0, 0.1, -0.5
x = [None, 1.0, -1.0, 0.5]  # x[1], x[2], x[3]: counted from 1, as in the report
y = [None, 1.0, 0.0, 1.0]
h = [0.5, None, None, None]  # h[0] is given
y_hat, L = [None] * 4, [None] * 4

for t in (1, 2, 3):
    z = U * x[t] + W * h[t - 1] + b_h
    h[t] = np.tanh(z)
    y_hat[t] = V * h[t] + b_y
    L[t] = 0.5 * (y_hat[t] - y[t]) ** 2
    print(f"t={t}  z = {U} * {x[t]:+.1f} + {W} * {h[t - 1]:+.6f} + {b_h} = {z:+.6f}")
    print(f"     h = tanh({z:+.6f}) = {h[t]:+.6f}")
    print(f"     y_hat = {V} * {h[t]:+.6f} - 0.5 = {y_hat[t]:+.6f}")
    print(f"     L = 0.5 * ({y_hat[t]:+.6f} - {y[t]})^2 = {L[t]:.6f}")

# %% [markdown]
# The library's names: one row is one example, time comes first, `x` is (T, B, D). Its input weights are called `W_l0`
# and its recurrent weights `U_l0`, as in the report's LSTM (Eq. 66). **So the letters change places**: the report's
# $U$ of Eq. 1 is `W_l0`, its $W$ is `U_l0`.

# %%
layer = rs.RNN(1, 1, dtype="float64", seed=0)
layer.params["W_l0"][...] = U
layer.params["U_l0"][...] = W
layer.params["b_l0"][...] = b_h
x_rows = np.array(x[1:]).reshape(3, 1, 1)
hs, _ = layer.forward(x_rows, np.full((1, 1, 1), h[0]))
print(hs.ravel())
np.testing.assert_allclose(hs.ravel(), h[1:], rtol=1e-15)

# %% [markdown]
# ## 2. Two building blocks
#
# Everything that follows is a product of four kinds of numbers. With $\tanh'(z) = 1 - \tanh^2(z)$ (Eq. 27), and
# therefore $1 - h_t^2$ without looking at $z$ again:
#
# - $\frac{\partial L_t}{\partial h_t} = (\hat y_t - y_t)\, V$: through the output;
# - $\frac{\partial h_t}{\partial h_{t-1}} = (1 - h_t^2)\, W$: one step back in time;
# - $\frac{\partial^+ h_t}{\partial W} = (1 - h_t^2)\, h_{t-1}$:
#   the **immediate** derivative. $W$ moves, $h_{t-1}$ is held fixed;
# - $\frac{\partial^+ h_t}{\partial U} = (1 - h_t^2)\, x_t$ and
#   $\frac{\partial^+ h_t}{\partial b_h} = 1 - h_t^2$, likewise.

# %%
slope, dL_dh, back, now_W, now_U, now_b = ([None] * 4 for _ in range(6))
for t in (1, 2, 3):
    slope[t] = 1 - h[t] ** 2
    dL_dh[t] = (y_hat[t] - y[t]) * V
    back[t] = slope[t] * W
    now_W[t], now_U[t], now_b[t] = slope[t] * h[t - 1], slope[t] * x[t], slope[t]
    print(f"t={t}  1 - h^2     = 1 - ({h[t]:.6f})^2        = {slope[t]:+.6f} = d+h/db_h")
    print(f"     dL/dh       = ({y_hat[t]:+.6f} - {y[t]}) * {V} = {dL_dh[t]:+.6f}")
    print(f"     dh_t/dh_t-1 = {slope[t]:.6f} * {W}            = {back[t]:+.6f}")
    print(f"     d+h/dW      = {slope[t]:.6f} * {h[t - 1]:+.6f}      = {now_W[t]:+.6f}")
    print(f"     d+h/dU      = {slope[t]:.6f} * {x[t]:+.1f}           = {now_U[t]:+.6f}")

# %% [markdown]
# ## 3. What Eq. 4 gets wrong
#
# The report derives the gradient of the loss at time 2 as one product:
#
# $$\frac{\partial L_2}{\partial W} = \frac{\partial L_2}{\partial y_2} \frac{\partial y_2}{\partial h_2}
# \frac{\partial h_2}{\partial h_1} \frac{\partial h_1}{\partial W} \qquad\text{(Eq. 4)}$$
#
# But $W$ is used twice on the way to $L_2$: in $h_2 = \tanh(\dots + W h_1)$ and in $h_1 = \tanh(\dots + W h_0)$. If
# both uses were different numbers, each would have its own derivative. They are one number, so both derivatives add
# up:
#
# $$\frac{\partial L_2}{\partial W} = \frac{\partial L_2}{\partial h_2} \left(
# \frac{\partial^+ h_2}{\partial W} + \frac{\partial h_2}{\partial h_1} \frac{\partial^+ h_1}{\partial W} \right)$$
#
# Eq. 4 has the second term only. (The report's Eqs 7 and 13 leave out the same term for $U$ and $b_h$.) Who is right?
# Ask the function itself: change $W$ by a tiny *imaginary* step $i\varepsilon$; the imaginary part of the loss,
# divided by $\varepsilon$, is the derivative, without rounding error. Notebook 2 explains why.


# %%
def loss(t, U=U, W=W, V=V, b_h=b_h, b_y=b_y):
    """L_t, from the equations alone."""
    state = h[0]
    for k in range(1, t + 1):
        state = np.tanh(U * x[k] + W * state + b_h)
    return 0.5 * (V * state + b_y - y[t]) ** 2


tiny = 1e-200
truth = loss(2, W=W + 1j * tiny).imag / tiny
eq_4 = dL_dh[2] * back[2] * now_W[1]
both = dL_dh[2] * (now_W[2] + back[2] * now_W[1])
print(f"Eq. 4 as printed: {dL_dh[2]:+.6f} * {back[2]:+.6f} * {now_W[1]:+.6f}               = {eq_4:+.6f}")
print(f"both uses of W:   {dL_dh[2]:+.6f} * ({now_W[2]:+.6f} + {back[2]:+.6f} * {now_W[1]:+.6f}) = {both:+.6f}")
print(f"the loss itself says:                                              {truth:+.6f}")
np.testing.assert_allclose(both, truth, rtol=1e-14)
assert abs(eq_4 - truth) > 0.1 * abs(truth)

# %% [markdown]
# ## 4. The sum over time
#
# For any $t$ the report's next equation is right, if $\partial h_i / \partial W$ in it is read as the immediate
# derivative:
#
# $$\frac{\partial L_t}{\partial W} = \frac{\partial L_t}{\partial y_t}\frac{\partial y_t}{\partial h_t}
# \left(\sum_{i=1}^t \frac{\partial h_t}{\partial h_i} \frac{\partial^+ h_i}{\partial W}\right) \;\text{(Eq. 5)},\qquad
# \frac{\partial h_t}{\partial h_i} = \prod_{j=i+1}^t \frac{\partial h_j}{\partial h_{j-1}} \quad\text{(Eq. 6)}$$
#
# Read with the *total* derivative instead, every path would be counted several times. The library prints the
# derivation, path by path:

# %%
symbolic.derivation("rnn", T=3, parameter="U_h")  # "U_h", the recurrent weight, is the report's W

# %% [markdown]
# The same with numbers. The product of Eq. 6 is empty for $i = t$, that is, 1.

# %%
terms = {}
for i in (3, 2, 1):
    factors = [back[j] for j in range(3, i, -1)]
    terms[i] = dL_dh[3] * np.prod(factors) * now_W[i]
    written = " * ".join(f"{factor:+.6f}" for factor in [dL_dh[3], *factors, now_W[i]])
    print(f"i={i}: {written:42} = {terms[i]:+.6f}")
print(f"sum {'':43} = {sum(terms.values()):+.6f}")
np.testing.assert_allclose(sum(terms.values()), loss(3, W=W + 1j * tiny).imag / tiny, rtol=1e-14)

# %% [markdown]
# Eqs 8 and 9 are the same for $U$, and Eqs 14 and 15 for $b_h$: only the last factor changes. Here for all three
# losses together, since the network is trained on $L = L_1 + L_2 + L_3$:

# %%
total = dict.fromkeys("WUb", 0.0)
print(" t  i   dL_t/dh_i            for W       for U       for b_h")
for t in (1, 2, 3):
    for i in range(t, 0, -1):
        reaching = dL_dh[t] * np.prod([back[j] for j in range(i + 1, t + 1)])  # dL_t/dh_t times the product of Eq. 6
        parts = {"W": reaching * now_W[i], "U": reaching * now_U[i], "b": reaching * now_b[i]}
        print(f" {t}  {i}   {reaching:+.6f} times d+h   " + "   ".join(f"{part:+.6f}" for part in parts.values()))
        for name, part in parts.items():
            total[name] += part
print(f"sum: dL/dW, dL/dU, dL/db_h   {total['W']:+.6f}   {total['U']:+.6f}   {total['b']:+.6f}")

for name, change in (("W", {"W": W + 1j * tiny}), ("U", {"U": U + 1j * tiny}), ("b", {"b_h": b_h + 1j * tiny})):
    exact = sum(loss(t, **change).imag / tiny for t in (1, 2, 3))
    np.testing.assert_allclose(total[name], exact, rtol=1e-13)

# %% [markdown]
# ## 5. V and b_y have no sum over time
#
# Eqs 10 to 12 and 16 to 18 repeat the pattern for $V$ and $b_y$: a sum of $\frac{\partial h_t}{\partial
# h_i}\frac{\partial h_i}{\partial V}$. But no hidden state depends on $V$. Every term of that sum is 0, and so is all
# of Eq. 11 as printed, while the gradient is not 0. $V$ acts once, at time $t$, on the way from $h_t$ to $\hat y_t$.
# No time passes there:
#
# $$\frac{\partial L_t}{\partial V} = (\hat y_t - y_t)\, h_t, \quad \frac{\partial L_t}{\partial b_y} = \hat y_t - y_t$$

# %%
for t in (1, 2, 3):
    dV, db_y = (y_hat[t] - y[t]) * h[t], y_hat[t] - y[t]
    print(f"t={t}: dL_t/dV = {y_hat[t] - y[t]:+.6f} * {h[t]:+.6f} = {dV:+.6f}     dL_t/db_y = {db_y:+.6f}")
    np.testing.assert_allclose(dV, loss(t, V=V + 1j * tiny).imag / tiny, rtol=1e-14)
    np.testing.assert_allclose(db_y, loss(t, b_y=b_y + 1j * tiny).imag / tiny, rtol=1e-14)

# %% [markdown]
# With vectors: $\partial L_t/\partial V = h_t\,(\partial L_t/\partial o_t)^\top$ with $o_t$ the dense layer's output.
# In a batch of rows this is `hs.T @ dy`: that is all of `rnnscratch/kernels/dense.py`.
#
# ## 6. All terms at once: the T × T matrix
#
# Write the term of $L_t$ that passes through step $k$ into row $t$ and column $k$ of a matrix. Its sum is the
# gradient. Columns add up to what copy $k$ of $W$ would get if every step had a weight of its own (*untied* weights).
# Rows add up to $\partial L_t/\partial W$.

# %%
dhs = np.array(dL_dh[1:]).reshape(3, 1, 1)
state = np.full((1, 1, 1), h[0])
C = flow.contributions(layer, x_rows, dhs, state=state)[:, :, 0, 0]  # of U_l0, the report's W
print("part of dL_t/dW through step k (row t, column k):")
print(C.round(6))
print("rows:   ", C.sum(axis=1).round(6), "  dL_1/dW, dL_2/dW, dL_3/dW")
print("columns:", C.sum(axis=0).round(6), "  for W as used at steps 1, 2, 3")
print(f"sum:     {C.sum():+.6f}")
np.testing.assert_allclose(C[2], [terms[1], terms[2], terms[3]], rtol=1e-13)
np.testing.assert_allclose(C.sum(), total["W"], rtol=1e-13)

# %% [markdown]
# ## 7. One pass back
#
# The matrix has $T(T+1)/2$ terms, but nobody computes them one by one. Go backwards from the last step and keep one
# number, $\bar h_t$: how much all losses *from $t$ on* change with $h_t$. The state $h_t$ has **two consumers**, the
# output at $t$ and the state at $t+1$, so two numbers meet there:
#
# $$\bar h_t = \underbrace{\frac{\partial L_t}{\partial h_t}}_{\text{from the output}} +
# \underbrace{\bar h_{t+1}\, \frac{\partial h_{t+1}}{\partial h_t}}_{\text{from the future}}, \qquad \bar h_{T+1} = 0$$
#
# and each step adds $\bar h_t\, \partial^+ h_t/\partial W$. Many programs call the second number `dhnext`.

# %%
future, dW, dU, db = 0.0, 0.0, 0.0, 0.0
for t in (3, 2, 1):
    h_bar = dL_dh[t] + future
    print(f"t={t}: h_bar = {dL_dh[t]:+.6f} (output) {future:+.6f} (future) = {h_bar:+.6f}")
    for name, now in (("dW", now_W), ("dU", now_U), ("db_h", now_b)):
        print(f"     adds {h_bar:+.6f} * {now[t]:+.6f} = {h_bar * now[t]:+.6f} to {name}")
    print(f"     passes on {h_bar:+.6f} * {back[t]:+.6f} = {h_bar * back[t]:+.6f}")
    dW, dU, db = dW + h_bar * now_W[t], dU + h_bar * now_U[t], db + h_bar * now_b[t]
    future = h_bar * back[t]
print(f"dW = {dW:+.6f}, dU = {dU:+.6f}, db_h = {db:+.6f}, and for h_0: {future:+.6f}")
np.testing.assert_allclose([dW, dU, db], [total["W"], total["U"], total["b"]], rtol=1e-13)

# %% [markdown]
# The library's kernel does the same; here are both, and a table of all its intermediates. In the table `z` is what
# tanh is applied to and `dz = dh (1 - h²)`.

# %%
layer.forward(x_rows, state)
_, dh_0 = layer.backward(dhs)
np.testing.assert_allclose(layer.grads["U_l0"].item(), dW, rtol=1e-13)
np.testing.assert_allclose(layer.grads["W_l0"].item(), dU, rtol=1e-13)
np.testing.assert_allclose(layer.grads["b_l0"].item(), db, rtol=1e-13)
np.testing.assert_allclose(dh_0.item(), future, rtol=1e-13)
rs.teach.trace(layer, x_rows, state, dhs)

# %% [markdown]
# ## 8. Algorithm 1 against one pass
#
# The report's Algorithm 1 has two loops: for every $t$ it walks back through $N$ steps. With $N = T$ it visits each of
# the $T(T+1)/2$ terms. One reverse pass visits $T$ steps and finds the same gradient, since the walks share their way.
# The library has both.

# %%
from rnnscratch.kernels import rnn

parameters = [layer.params[name] for name in ("W_l0", "U_l0", "b_l0")]
_, _, _, by_algorithm_1, _ = rnn.algorithm_1(x_rows, state[0], *parameters, dhs)
print(f"Algorithm 1: dW = {by_algorithm_1.item():+.6f}, one pass: dW = {dW:+.6f}")
np.testing.assert_allclose(by_algorithm_1.item(), dW, rtol=1e-13)

for T in (3, 10, 100, 400):
    print(f"T = {T:3}: {T * (T + 1) // 2:6,} steps back in Algorithm 1, {T} in one pass")

# %% [markdown]
# ## 9. Truncated back-propagation
#
# With $N < T$ Algorithm 1 leaves out the terms far from the diagonal of the T × T matrix. What is lost depends on how
# fast the terms fall. A network of 8 units, 60 steps, at three sizes of its recurrent matrix (its largest singular
# value):

# %%
T, H = 60, 8
rng = np.random.default_rng(0)
inputs = rng.standard_normal((T, 4, 3)) * 0.5
upstream = rng.standard_normal((T, 4, H))
start = rng.standard_normal((1, 4, H)) * 0.5
reaches = [0, 1, 2, 4, 8, 16, 32, 60]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for k, size in enumerate((0.5, 0.9, 1.2)):
    net = rs.RNN(3, H, dtype="float64", seed=1)
    net.params["U_l0"] *= size  # U starts orthogonal: all its singular values are 1
    net.forward(inputs, start)
    net.backward(upstream)
    exact = net.grads["U_l0"].copy()
    values = [net.params[name] for name in ("W_l0", "U_l0", "b_l0")]
    errors = []
    for N in reaches:
        found = rnn.algorithm_1(inputs, start[0], *values, upstream, steps=N)[3]
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    axes[0].plot(
        reaches, np.maximum(errors, 1e-16), label=f"norm of W {size}", color=rs.plots.COLOURS[k], marker="os^"[k]
    )
    print(f"norm {size}: error with N = 1: {errors[1]:.0%}, N = 8: {errors[4]:.1%}, N = 32: {errors[6]:.1e}")
    assert errors[-1] < 1e-12
    if size == 0.9:
        rs.plots.contributions(flow.contributions(net, inputs[:20], upstream[:20], state=start), ax=axes[1])
axes[0].set(
    yscale="log", xlabel="N (steps walked back)", ylabel="relative error of the gradient", title="Truncated BPTT"
)
axes[0].legend(frameon=False)
axes[1].set_title("Contributions, norm of W 0.9, first 20 steps")
plt.show()

# %% [markdown]
# The gradient is cut, the state is not: the forward pass still carries everything. Long texts are trained this way in
# pieces: the state goes on to the next piece, the gradient stops at the border (`layer.backward(..., truncate=k)` cuts
# at every k-th border).
#
# ## 10. Two other ways to the same gradient
#
# **Forwards.** Real-time recurrent learning (Williams and Zipser 1989) keeps $p_t = \partial h_t / \partial W$, the
# *total* derivative, from step to step: what $W$ does now, plus what it did before, carried one step on. No pass back
# is needed, and nothing is stored:
#
# $$p_t = \frac{\partial^+ h_t}{\partial W} + \frac{\partial h_t}{\partial h_{t-1}}\, p_{t-1}, \qquad
# \frac{\partial L}{\partial W} = \sum_t \frac{\partial L_t}{\partial h_t}\, p_t$$

# %%
p, gradient = 0.0, 0.0
for t in (1, 2, 3):
    print(f"t={t}: p = {now_W[t]:+.6f} + {back[t]:+.6f} * {p:+.6f}", end="")
    p = now_W[t] + back[t] * p
    gradient += dL_dh[t] * p
    print(f" = {p:+.6f}   adds {dL_dh[t]:+.6f} * {p:+.6f} = {dL_dh[t] * p:+.6f}")
print(f"dW = {gradient:+.6f}")
np.testing.assert_allclose(gradient, dW, rtol=1e-13)
by_rtrl = flow.rtrl(layer, x_rows, dhs, state)  # the same for any layer, with the complex step of section 3
for name, found in by_rtrl.items():
    np.testing.assert_allclose(found, layer.grads[name], rtol=1e-12)

# %% [markdown]
# The price: for H units $p_t$ has $H \times H^2$ numbers, and each step costs $H^4$. That is why nobody trains large
# networks so.
#
# **With less memory.** The pass back needs the states of all T steps. *Checkpointing* keeps only every $\sqrt T$-th
# one on the way forward and computes the others again, piece by piece, on the way back: memory for $2\sqrt T$ steps in
# the place of $T$, at the price of one more forward pass and of some fixed work for each piece, which counts for a
# small layer.

# %%
T_long = 100 if QUICK else 900
long_input = np.random.default_rng(0).standard_normal((T_long, 8, 16)).astype("float32")
long_layer = rs.RNN(16, 64, seed=0)
segments = [T_long, T_long // 4, int(T_long**0.5)]
rows = flow.checkpoint_curve(long_layer, long_input, segments)
for row in rows:
    memory, seconds = (row[key] / rows[0][key] for key in ("peak_bytes", "seconds"))
    print(f"pieces of {row['segment']:3} steps: peak memory {memory:.2f} of the whole, time {seconds:.2f}")
ones = np.ones((T_long, 8, 64), "float32")
whole, pieces = (flow.checkpointed(long_layer, long_input, ones, segment)[2] for segment in segments[::2])
for name in whole:
    np.testing.assert_allclose(pieces[name], whole[name], rtol=2e-4, atol=1e-3)

# %% [markdown]
# ## 11. Learning: Eqs 19 to 23
#
# Every parameter takes a step against its gradient, $\theta \leftarrow \theta - \alpha\, \partial L/\partial\theta$:
# Eq. 19 for $W$, Eq. 20 for $U$, Eq. 21 for $V$, Eq. 22 for $b_h$, Eq. 23 for $b_y$. One step by hand, then 200 with
# the library's optimizer, which must agree in the first.

# %%
alpha = 0.05
new_W = W - alpha * dW
print(f"W: {W} - {alpha} * {dW:+.6f} = {new_W:.6f}")

dense = rs.Dense(1, 1, dtype="float64", seed=0)
dense.params["W"][...], dense.params["b"][...] = V, b_y
targets = np.array(y[1:]).reshape(3, 1, 1)
optimizer = rs.SGD(alpha)
losses = []
for step in range(200):
    hs, _ = layer.forward(x_rows, state)
    out = dense.forward(hs)
    losses.append(float(0.5 * ((out - targets) ** 2).sum()))
    layer.backward(dense.backward(out - targets))
    params = {**layer.params, **{f"dense.{name}": array for name, array in dense.params.items()}}
    grads = {**layer.grads, **{f"dense.{name}": array for name, array in dense.grads.items()}}
    optimizer.step(params, grads)
    if step == 0:
        np.testing.assert_allclose(layer.params["U_l0"].item(), new_W, rtol=1e-13)
print(f"loss before: {losses[0]:.6f} = {L[1]:.6f} + {L[2]:.6f} + {L[3]:.6f}, after 200 steps: {losses[-1]:.6f}")
assert losses[-1] < 0.05 * losses[0]

# %%
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.semilogy(losses, color=rs.plots.COLOURS[0])
ax.set(xlabel="update", ylabel="loss $L_1 + L_2 + L_3$")
plt.show()

# %% [markdown]
# ## 12. Any size
#
# For H units every product above becomes a matrix product, and nothing else changes. The whole pass, for a batch:


# %%
def forward(x, h0, W_in, W_rec, b):
    h = [h0]
    for x_t in x:
        h.append(np.tanh(x_t @ W_in + h[-1] @ W_rec + b))  # Eq. 1
    return h


def backward(x, h, W_in, W_rec, dhs):
    dW_in, dW_rec, db = np.zeros_like(W_in), np.zeros_like(W_rec), np.zeros(W_rec.shape[1])
    future = np.zeros_like(h[0])
    for t in reversed(range(len(x))):
        dh = dhs[t] + future  # two consumers
        dz = dh * (1 - h[t + 1] ** 2)
        dW_in += x[t].T @ dz  # the sums over time: Eqs 5, 8, 14
        dW_rec += h[t].T @ dz
        db += dz.sum(axis=0)
        future = dz @ W_rec.T  # one factor of Eq. 6
    return dW_in, dW_rec, db, future


T, B, D, H = 7, 3, 4, 5
net = rs.RNN(D, H, dtype="float64", seed=2)
inputs, first, upstream = rng.standard_normal((T, B, D)), rng.standard_normal((B, H)), rng.standard_normal((T, B, H))
values = [net.params[name] for name in ("W_l0", "U_l0", "b_l0")]
states = forward(inputs, first, *values)
found = backward(inputs, states, values[0], values[1], upstream)
net.forward(inputs, first[None])
_, dfirst = net.backward(upstream)
for mine, theirs in zip(found, [net.grads["W_l0"], net.grads["U_l0"], net.grads["b_l0"], dfirst[0]]):
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)

rs.check_gradients(net, inputs)

# %% [markdown]
# ## Exercises
#
# **1.** Only the last loss counts, $L = L_3$, as in a classifier that answers at the end. Is the gradient of $W$ still
# a sum over time? Compute it from the matrix $C$ of section 6.
#
# <details><summary>Solution</summary>
#
# Yes: the loss is one, but $W$ is still used three times. It is the last row of $C$.
#
# ```python
# last = np.zeros((3, 1, 1))
# last[2] = dL_dh[3]
# layer = rs.RNN(1, 1, dtype="float64", seed=0)
# layer.params["W_l0"][...], layer.params["U_l0"][...], layer.params["b_l0"][...] = U, W, b_h
# layer.forward(x_rows, state)
# layer.backward(last)
# np.testing.assert_allclose(layer.grads["U_l0"].item(), C[2].sum(), rtol=1e-13)
# ```
# </details>
#
# **2.** Set $h_0 = 0$ in section 1. Which term of Eq. 5 for $W$ vanishes, and which for $U$? Why is this a bad choice
# for testing a program?
#
# <details><summary>Solution</summary>
#
# The term of $i = 1$ for $W$, since $\partial^+ h_1/\partial W = (1 - h_1^2) h_0 = 0$. None for $U$. A program that
# forgets the first step's share of $\partial L/\partial W$ would pass the test.
#
# ```python
# zero_start = flow.contributions(layer, x_rows, dhs, state=np.zeros((1, 1, 1)))[:, :, 0, 0]
# assert (zero_start[:, 0] == 0).all() and (zero_start[1:, 1] != 0).all()
# assert (flow.contributions(layer, x_rows, dhs, "W_l0", np.zeros((1, 1, 1)))[np.tri(3, dtype=bool)] != 0).all()
# ```
# </details>
#
# **3.** Drop the term "from the future" in section 7. What do you get? Find it in the matrix $C$.
#
# <details><summary>Solution</summary>
#
# The diagonal of $C$: each loss reaches only the weights of its own step, as if the network were not recurrent.
#
# ```python
# without = sum(dL_dh[t] * now_W[t] for t in (1, 2, 3))
# np.testing.assert_allclose(without, np.trace(C), rtol=1e-13)
# ```
# </details>
#
# **4.** Derive $\partial L/\partial x_t$. The library returns it as `dx`. When is it needed?
#
# <details><summary>Solution</summary>
#
# $x_t$ enters $h_t$ alone, so $\partial L/\partial x_t = \bar h_t (1 - h_t^2)\, U$: no sum over time. A layer below,
# or an embedding, needs it.
#
# ```python
# dx, _ = layer.backward(dhs)
# h_bar_3 = dL_dh[3]
# np.testing.assert_allclose(dx[2].item(), h_bar_3 * slope[3] * U, rtol=1e-13)
# h_bar_2 = dL_dh[2] + h_bar_3 * back[3]
# np.testing.assert_allclose(dx[1].item(), h_bar_2 * slope[2] * U, rtol=1e-13)
# ```
# </details>
#
# **5.** For the LSTM `symbolic.derivation("lstm", T=3, parameter="U_i")` has 7 paths where the vanilla network has 3.
# Why 7?
#
# <details><summary>Solution</summary>
#
# The state has two parts, $h$ and $C$. From step 3 back to step $k$ each state in between may be either: 1 path for
# $k=3$, 2 for $k=2$, 4 for $k=1$.
#
# ```python
# assert [path.step for path in symbolic.derivation("lstm", 3, "U_i").paths] == [3, 2, 2, 1, 1, 1, 1]
# ```
# </details>
