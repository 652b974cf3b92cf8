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
# and one hidden unit, then for any size, and every line is compared with the library.
#
# - **Time**: about four hours with the exercises; the machine needs about ten seconds.
# - **You need** the chain rule, matrix products and NumPy, and a pocket calculator: every number below follows from
#   the lines above it (shown with six digits, computed with all; by hand the last one may differ).
# - **Afterwards you can** compute the gradient of a recurrent network by hand; say which of the report's equations
#   err, and show it; truncate the gradient in two ways and say what is lost; derive the matrix form from that of one
#   unit; and write the backward pass of a network, from one line up to the loss.
#
# Equation numbers are those of N. H. Wang, *Recurrent Deep Learning Models and its applications* (2025), "the report".
# Where the report errs, this notebook says so and shows it with numbers. What is said of results is asserted, over
# five seeds or more, or says "in this run". Lines between `# BLANK` and `# END` are those to write yourself.

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
import re

from IPython.display import Latex

from rnnscratch.teach import flow, symbolic

# %% [markdown]
# ## Letters
#
# Every book has letters of its own, and some exchange them: what the report calls $U$ in its first equations is its
# own $W$ in those of the LSTM. This course writes everywhere what the library's code says, and this is the one table
# that translates it; the other notebooks refer to it.
#
# | | here | in code | report | Goodfellow et al. | Graves | D2L | PyTorch |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | input weights | $W$ | `W_l0` | $U$; LSTM, GRU $W$ | $U$ | $w_{ih}$ | $W_{xh}$ | `weight_ih_l0`, transposed |
# | recurrent weights | $U$ | `U_l0` | $W$; LSTM, GRU $U$ | $W$ | $w_{h'h}$ | $W_{hh}$ | `weight_hh_l0`, transposed |
# | bias | $b$ | `b_l0` | $b_h$ | $b$ | | $b_h$ | `bias_ih_l0` + `bias_hh_l0` |
# | output weights | $V$ | `W` of `Dense` | $V$ | $V$ | $w_{hk}$ | $W_{hq}$ | `Linear.weight`, transposed |
# | output bias | $b_y$ | `b` of `Dense` | $b_y$ | $c$ | | $b_q$ | `Linear.bias` |
# | what tanh is applied to | $z_t$ | `z` | | $a^{(t)}$ | $a_h^t$ | | |
# | hidden state | $h_t$ | `h`; all: `hs` | $h_t$ | $h^{(t)}$ | $b_h^t$ | $H_t$ | `output`, `h_n` |
# | logit | $a_t$ | `logits` | | $o^{(t)}$ | $a_k^t$ | $O_t$ | |
# | output | $\hat y_t$ | `y_hat` | $\hat y_t$ | $\hat y^{(t)}$ | $y_k^t$ | | |
# | target | $y_t$ | `y`, `targets` | $y_t$ | $y^{(t)}$ | $z_k^t$ | $y_t$ | |
# | gradient at $h_t$ | $\bar h_t$ | `dh` | $\partial L/\partial h_t$ | $\nabla_{h^{(t)}} L$ | $\epsilon$ | | `h.grad` |
# | gradient at $z_t$ | $\bar z_t$ | `dz` | | | $\delta$ | | |
# | LSTM: cell | $c_t$ | `c` | $C_t$ | $s^{(t)}$ | $s_c^t$ | $C_t$ | `c_n` |
# | candidate | $g_t$ | `g` | $\tilde C_t$ | | | $\tilde C_t$ | g |
# | its gates | $i, f, o$ | `i, f, o` | $i, f, o$ | $g, f, q$ | $b_\iota, b_\phi, b_\omega$ | $I, F, O$ | i, f, o |
# | GRU: reset, update gate | $r, z$ | `r`, `z` | $r, z$ | $r, u$ | | $R, Z$ | r, z |
# | candidate | $n_t$ | `n` | $\tilde h_t$ | | | $\tilde H_t$ | n |
#
# A bar, $\bar h_t$, is the gradient of the whole loss with respect to $h_t$; code writes it `dh`. One example is one
# **row**: $z_t = x_t W + h_{t-1} U + b$, so that a batch is a matrix, while the report, Goodfellow and Graves write
# columns, $W^\top x_t$. **Steps count from 1** in formulas, tables and prints; $h_0$ is given. Where Python counts from
# 0, step $t$ is `x[t - 1]`; the hand-made lists below have a `None` at 0 instead. The LSTM's blocks of columns stand in
# the order i, f, o, g (PyTorch: i, f, g, o), the GRU's in the order r, z, n.
#
# ## 1. The network, and its forward pass
#
# At step $t$ the network reads $x_t$ and mixes it with what it remembers, $h_{t-1}$:
#
# $$h_t = \tanh(x_t W + h_{t-1} U + b) \qquad\text{(Eq. 1)}$$
# $$\hat y_t = h_t V + b_y \qquad\text{(Eq. 2, with the identity as output function)}$$
# $$L_t = \tfrac12 (\hat y_t - y_t)^2 \qquad\text{(Eq. 3)}$$
#
# All are plain numbers for now. *Unrolled* over three steps, with the one weight of each kind drawn three times:
#
# ```
#             L_1             L_2             L_3
#              ^               ^               ^
#            y^_1            y^_2            y^_3          y^ is y_hat
#              ^ V             ^ V             ^ V
#   h_0 --U--> h_1 ----U-----> h_2 ----U-----> h_3
#              ^ W             ^ W             ^ W
#             x_1             x_2             x_3
# ```
#
# (In Table 1 the report gives the output $\hat y_t$ the size of the hidden state; it has the size of the classes.) The
# report begins with $h_0 = 0$. We take $h_0 = 0.5$: a zero would make some gradients zero, and a mistake in them would
# not show.


# %%
def show(t, formula, **numbers):
    """Print a formula and the same with its numbers; what it comes to must be what was computed."""
    name, expression = formula.split(" = ")
    assert np.isclose(eval(expression, {"tanh": np.tanh}, numbers), numbers[name], rtol=1e-12, atol=1e-15)

    def number(match):
        value = numbers.get(match[0])
        return match[0] if value is None else f"{round(float(value), 6)}" if value >= 0 else f"({value:.6f})"

    written = re.sub(r"[a-zA-Z]\w*", number, expression)
    print(f"t={t}  {formula:28} = {written} = {numbers[name]:+.6f}")


W, U, V, b, b_y = 0.5, 0.8, 2.0, 0.1, -0.5
x = [None, 1.0, -1.0, 0.5]  # x[1], x[2], x[3]
y = [None, 1.0, 0.0, 1.0]
h = [0.5, None, None, None]  # h[0] is given
y_hat, L = [None] * 4, [None] * 4

for t in (1, 2, 3):
    z = x[t] * W + h[t - 1] * U + b
    h[t] = np.tanh(z)
    y_hat[t] = h[t] * V + b_y
    L[t] = 0.5 * (y_hat[t] - y[t]) ** 2
    show(t, "z = x * W + h_prev * U + b", z=z, x=x[t], W=W, h_prev=h[t - 1], U=U, b=b)
    show(t, "h = tanh(z)", h=h[t], z=z)
    show(t, "y_hat = h * V + b_y", y_hat=y_hat[t], h=h[t], V=V, b_y=b_y)
    show(t, "L = 0.5 * (y_hat - y)**2", L=L[t], y_hat=y_hat[t], y=y[t])

# %% [markdown]
# The library's layer with these weights. One row is one example and time comes first, `x` is (T, B, D): here (3, 1, 1).

# %%
layer = rs.RNN(1, 1, dtype="float64", seed=0)
layer.params["W_l0"][...], layer.params["U_l0"][...], layer.params["b_l0"][...] = W, U, b
x_rows = np.array(x[1:]).reshape(3, 1, 1)
state = np.full((1, 1, 1), h[0])
hs, _ = layer.forward(x_rows, state)
print(hs.ravel())
np.testing.assert_allclose(hs.ravel(), h[1:], rtol=1e-15)

# %% [markdown]
# ## 2. Two building blocks
#
# Everything that follows is a product of four kinds of numbers. With $\tanh'(z) = 1 - \tanh^2(z)$ (Eq. 27), and
# therefore $1 - h_t^2$ without looking at $z$ again:
#
# - $\frac{\partial L_t}{\partial h_t} = (\hat y_t - y_t)\, V$: through the output;
# - $\frac{\partial h_t}{\partial h_{t-1}} = (1 - h_t^2)\, U$: one step back in time;
# - $\frac{\partial^+ h_t}{\partial U} = (1 - h_t^2)\, h_{t-1}$:
#   the **immediate** derivative. $U$ moves, $h_{t-1}$ is held fixed;
# - $\frac{\partial^+ h_t}{\partial W} = (1 - h_t^2)\, x_t$ and
#   $\frac{\partial^+ h_t}{\partial b} = 1 - h_t^2$, likewise.

# %%
slope, dL_dh, back, now_U, now_W, now_b = ([None] * 4 for _ in range(6))
for t in (1, 2, 3):
    slope[t] = now_b[t] = 1 - h[t] ** 2
    dL_dh[t] = (y_hat[t] - y[t]) * V
    back[t], now_U[t], now_W[t] = slope[t] * U, slope[t] * h[t - 1], slope[t] * x[t]
    show(t, "slope = 1 - h**2", slope=slope[t], h=h[t])
    show(t, "dL_dh = (y_hat - y) * V", dL_dh=dL_dh[t], y_hat=y_hat[t], y=y[t], V=V)
    show(t, "back = slope * U", back=back[t], slope=slope[t], U=U)
    show(t, "now_U = slope * h_prev", now_U=now_U[t], slope=slope[t], h_prev=h[t - 1])
    show(t, "now_W = slope * x", now_W=now_W[t], slope=slope[t], x=x[t])

# %% [markdown]
# ## 3. What Eq. 4 gets wrong
#
# The report derives the gradient of the loss at time 2, for the recurrent weight, as one product. In our letters:
#
# $$\frac{\partial L_2}{\partial U} = \frac{\partial L_2}{\partial \hat y_2} \frac{\partial \hat y_2}{\partial h_2}
# \frac{\partial h_2}{\partial h_1} \frac{\partial h_1}{\partial U} \qquad\text{(Eq. 4)}$$
#
# (It prints $y_2$ for $\hat y_2$, here and in what follows. By its own Eq. 3 that is the target, by which nothing is
# differentiated: a slip.) But $U$ is used twice on the way to $L_2$: in $h_2 = \tanh(\dots + h_1 U)$ and in
# $h_1 = \tanh(\dots + h_0 U)$. If both uses were different numbers, each would have its own derivative. They are one
# number, so both derivatives add up:
#
# $$\frac{\partial L_2}{\partial U} = \frac{\partial L_2}{\partial h_2} \left(
# \frac{\partial^+ h_2}{\partial U} + \frac{\partial h_2}{\partial h_1} \frac{\partial^+ h_1}{\partial U} \right)$$
#
# Eq. 4 has the second term only. (The report's Eqs 7 and 13 leave out the same term for $W$ and $b$.) Who is right?
# Ask the function itself: change $U$ by a tiny *imaginary* step $i\varepsilon$; the imaginary part of the loss,
# divided by $\varepsilon$, is the derivative, without rounding error. Notebook 2 explains why.


# %%
def loss(t, W=W, U=U, V=V, b=b, b_y=b_y):
    """L_t, from the equations alone. U may be a list: a weight for each step."""
    state = h[0]
    for k in range(1, t + 1):
        state = np.tanh(x[k] * W + state * (U[k] if isinstance(U, list) else U) + b)
    return 0.5 * (state * V + b_y - y[t]) ** 2


tiny = 1e-200
truth = loss(2, U=U + 1j * tiny).imag / tiny
eq_4 = dL_dh[2] * back[2] * now_U[1]
both = dL_dh[2] * (now_U[2] + back[2] * now_U[1])
print("Eq. 4 as printed")
show(2, "eq_4 = dL_dh * back * before", eq_4=eq_4, dL_dh=dL_dh[2], back=back[2], before=now_U[1])
print("both uses of U")
show(2, "both = dL_dh * (now + back * before)", both=both, dL_dh=dL_dh[2], now=now_U[2], back=back[2], before=now_U[1])
print(f"the loss itself says {truth:+.6f}")
np.testing.assert_allclose(both, truth, rtol=1e-14)
assert abs(eq_4 - truth) > 0.1 * abs(truth)

# %% [markdown]
# ## 4. The sum over time
#
# For any $t$ the report's next equation is right, if $\partial h_i / \partial U$ in it is read as the immediate
# derivative:
#
# $$\frac{\partial L_t}{\partial U} = \frac{\partial L_t}{\partial \hat y_t}\frac{\partial \hat y_t}{\partial h_t}
# \left(\sum_{i=1}^t \frac{\partial h_t}{\partial h_i} \frac{\partial^+ h_i}{\partial U}\right) \;\text{(Eq. 5)},\qquad
# \frac{\partial h_t}{\partial h_i} = \prod_{j=i+1}^t \frac{\partial h_j}{\partial h_{j-1}} \quad\text{(Eq. 6)}$$
#
# The library writes it out, path by path. Its $v_3$ is $\partial L_3 / \partial h_3$. It prints the report's letters;
# two exchanges turn them into ours.


# %%
def in_our_letters(derivation):
    """A derivation of the vanilla network with the letters of the table above."""
    return re.sub(r"\b[UW]\b", lambda match: {"U": "W", "W": "U"}[match[0]], str(derivation)).replace(
        r"\mathcal{L}", "L"
    )


Latex(f"$$\n{in_our_letters(symbolic.derivation('rnn', T=3, parameter='U_h'))}\n$$")

# %% [markdown]
# The same with numbers. The product of Eq. 6 is empty for $i = t$, that is, 1.

# %%
terms = {}
for i in (3, 2, 1):
    factors = [dL_dh[3], *(back[j] for j in range(3, i, -1)), now_U[i]]
    terms[i] = np.prod(factors)
    print(f"i={i}: {' * '.join(f'{factor:+.6f}' for factor in factors):51} = {terms[i]:+.6f}")
print(f"sum {'':52} = {sum(terms.values()):+.6f}")
exact = loss(3, U=U + 1j * tiny).imag / tiny
np.testing.assert_allclose(sum(terms.values()), exact, rtol=1e-14)

# %% [markdown]
# What if $\partial h_i/\partial U$ were the *total* derivative, which already holds all earlier uses? Then the uses at
# step 1 are counted three times and those at step 2 twice:

# %%
total_derivative = [0.0]
for i in (1, 2, 3):
    total_derivative.append(now_U[i] + back[i] * total_derivative[i - 1])
counted_twice = sum(dL_dh[3] * np.prod([back[j] for j in range(i + 1, 4)]) * total_derivative[i] for i in (1, 2, 3))
print(f"with total derivatives {counted_twice:+.6f}, right is {exact:+.6f}")
np.testing.assert_allclose(counted_twice, terms[3] + 2 * terms[2] + 3 * terms[1], rtol=1e-13)
assert abs(counted_twice / exact - 1) > 0.5

# %% [markdown]
# Eqs 8 and 9 are the same for the input weight, and Eqs 14 and 15 for the bias: only the last factor changes. Here for
# all three losses together, since the network is trained on $L = L_1 + L_2 + L_3$:

# %%
total = dict.fromkeys("UWb", 0.0)
print(" t  i   dL_t/dh_i            for U       for W       for b")
for t in (1, 2, 3):
    for i in range(t, 0, -1):
        reaching = dL_dh[t] * np.prod([back[j] for j in range(i + 1, t + 1)])  # dL_t/dh_t times the product of Eq. 6
        parts = {"U": reaching * now_U[i], "W": reaching * now_W[i], "b": reaching * now_b[i]}
        print(f" {t}  {i}   {reaching:+.6f} times d+h   " + "   ".join(f"{part:+.6f}" for part in parts.values()))
        for name, part in parts.items():
            total[name] += part
print(f"sum: dL/dU, dL/dW, dL/db     {total['U']:+.6f}   {total['W']:+.6f}   {total['b']:+.6f}")

for name, value in (("U", U), ("W", W), ("b", b)):
    exact = sum(loss(t, **{name: value + 1j * tiny}).imag / tiny for t in (1, 2, 3))
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
    show(t, "dV = (y_hat - y) * h", dV=dV, y_hat=y_hat[t], y=y[t], h=h[t])
    show(t, "db_y = y_hat - y", db_y=db_y, y_hat=y_hat[t], y=y[t])
    np.testing.assert_allclose(dV, loss(t, V=V + 1j * tiny).imag / tiny, rtol=1e-14)
    np.testing.assert_allclose(db_y, loss(t, b_y=b_y + 1j * tiny).imag / tiny, rtol=1e-14)

# %% [markdown]
# ## 6. All terms at once: the T × T matrix
#
# Write the term of $L_t$ that passes through step $k$ into row $t$ and column $k$ of a matrix. Its sum is the
# gradient. Rows add up to $\partial L_t/\partial U$. Columns add up to what $U$ gets for being used at step $k$: what
# the copy $U_k$ would get if every step had a weight of its own (*untied* weights). That can be tried: give the loss
# three weights, and move one of them.

# %%
dhs = np.array(dL_dh[1:]).reshape(3, 1, 1)
C = flow.contributions(layer, x_rows, dhs=dhs, state=state)[:, :, 0, 0]  # of U_l0
print("part of dL_t/dU through step k (row t, column k):")
print(C.round(6))
print("rows:   ", C.sum(axis=1).round(6), "  dL_1/dU, dL_2/dU, dL_3/dU")
print("columns:", C.sum(axis=0).round(6), "  for U as used at steps 1, 2, 3")
print(f"sum:     {C.sum():+.6f}")
np.testing.assert_allclose(C[2], [terms[1], terms[2], terms[3]], rtol=1e-13)
np.testing.assert_allclose(C.sum(), total["U"], rtol=1e-13)

untied = []
for k in (1, 2, 3):
    copies = [None, U, U, U]
    copies[k] = U + 1j * tiny
    untied.append(sum(np.imag(loss(t, U=copies)) for t in (1, 2, 3)) / tiny)
print("untied: ", np.round(untied, 6), "  by complex step, one copy at a time")
np.testing.assert_allclose(C.sum(axis=0), untied, rtol=1e-13)

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
# and each step adds $\bar h_t\, \partial^+ h_t/\partial U$. Many programs call the second number `dhnext`. The same
# graph, walked against its arrows:
#
# ```
#             dL_1/dh         dL_2/dh         dL_3/dh
#                |               |               |
#                v               v               v
#   dh_0 <---- dh_1 <---------- dh_2 <--------- dh_3
#         back_1 |        back_2 |        back_3 |
#                v               v               v
#            adds to dU      adds to dU      adds to dU
# ```

# %%
future, dU, dW, db = 0.0, 0.0, 0.0, 0.0
for t in (3, 2, 1):
    dh = dL_dh[t] + future
    show(t, "dh = output + future", dh=dh, output=dL_dh[t], future=future)
    show(t, "dU_t = dh * now_U", dU_t=dh * now_U[t], dh=dh, now_U=now_U[t])
    show(t, "dW_t = dh * now_W", dW_t=dh * now_W[t], dh=dh, now_W=now_W[t])
    show(t, "db_t = dh * slope", db_t=dh * now_b[t], dh=dh, slope=slope[t])
    show(t, "passed_on = dh * back", passed_on=dh * back[t], dh=dh, back=back[t])
    dU, dW, db = dU + dh * now_U[t], dW + dh * now_W[t], db + dh * now_b[t]
    future = dh * back[t]
print(f"dU = {dU:+.6f}, dW = {dW:+.6f}, db = {db:+.6f}, and for h_0: {future:+.6f}")
np.testing.assert_allclose([dU, dW, db], [total["U"], total["W"], total["b"]], rtol=1e-13)

# %% [markdown]
# The library's kernel does the same; here are both, and a table of all its intermediates, under the same names. In the
# table `dz = dh (1 - h²)`.

# %%
layer.forward(x_rows, state)
_, dh_0 = layer.backward(dhs)
np.testing.assert_allclose(layer.grads["U_l0"].item(), dU, rtol=1e-13)
np.testing.assert_allclose(layer.grads["W_l0"].item(), dW, rtol=1e-13)
np.testing.assert_allclose(layer.grads["b_l0"].item(), db, rtol=1e-13)
np.testing.assert_allclose(dh_0.item(), future, rtol=1e-13)
rs.teach.trace(layer, x_rows, state, dhs)

# %% [markdown]
# The same numbers where they belong: values go along the solid arrows, gradients come back along the dashed ones, and
# what is wider is larger. Each state is read twice, by its output and by the next step; the two gradients meet in it.

# %%
_, ax = plt.subplots(figsize=(8.4, 6))
rs.plots.unrolled(rs.teach.trace(layer, x_rows, state, dhs), ax=ax)
plt.show()

# %% [markdown]
# In which order? Move the slider, or press the button: first the values run forward through all steps, then the
# gradients run back. Stop at "backward, step 2" and say which two numbers have just met in $h_2$.

# %%
rs.plots.animate_unrolled(rs.teach.trace(layer, x_rows, state, dhs))

# %% [markdown]
# ## 8. Algorithm 1 against one pass
#
# The report's Algorithm 1 has two loops: for every $t$ it walks back through up to $N$ earlier steps. With
# $N \geq T - 1$ it visits each of the $T(T+1)/2$ terms. One reverse pass visits $T$ steps and finds the same gradient,
# since the walks share their way. The library has both.

# %%
from rnnscratch.kernels import rnn

parameters = [layer.params[name] for name in ("W_l0", "U_l0", "b_l0")]
_, _, _, by_algorithm_1, _ = rnn.algorithm_1(x_rows, state[0], *parameters, dhs)
print(f"Algorithm 1: dU = {by_algorithm_1.item():+.6f}, one pass: dU = {dU:+.6f}")
np.testing.assert_allclose(by_algorithm_1.item(), dU, rtol=1e-13)

for T in (3, 10, 100, 400):
    print(f"T = {T:3}: {T * (T + 1) // 2:6,} steps back in Algorithm 1, {T} in one pass")

# %% [markdown]
# ## 9. Truncated back-propagation
#
# There are two ways to cut the walk back short, and they are often taken for one.
#
# - **A window of $N$**, as in Algorithm 1: every loss $L_t$ reaches its own step and $N$ steps *beyond* it,
#   $k = t, \dots, t - N$. In the matrix of section 6 a band along the diagonal is left.
# - **A cut at every $k$-th border**, as all libraries train: the sequence is cut into pieces of $k$ steps and the
#   gradient stops at the border. In the matrix blocks on the diagonal are left. The first loss after a border reaches
#   its own step only, however large $k$; the last of a piece reaches $k - 1$ steps further.
#
# ```
#   window N = 2, loss L_5:     h_1     h_2     h_3 <-- h_4 <-- h_5      each loss has a window of its own
#   cut every k = 3:            h_1 <-- h_2 <-- h_3  /  h_4 <-- h_5 <-- h_6  /  h_7 ...     / is a cut
# ```
#
# Neither cuts the forward pass: the state goes on over every border.

# %%
T, H = 60, 8


def example(size, seed=0):
    """A network whose U has this norm, with inputs, a start and gradients of its outputs."""
    net = rs.RNN(3, H, dtype="float64", seed=seed + 1)
    net.params["U_l0"] *= size  # U starts orthogonal: all its singular values are 1
    rng = np.random.default_rng(seed)
    inputs, upstream = rng.standard_normal((T, 4, 3)) * 0.5, rng.standard_normal((T, 4, H))
    return net, inputs, upstream, rng.standard_normal((1, 4, H)) * 0.5


def window_errors(windows, size, seed=0):
    """The relative error of the gradient of U for each window N."""
    net, inputs, upstream, start = example(size, seed)
    net.forward(inputs, start)
    net.backward(upstream)
    exact = net.grads["U_l0"]
    values = [net.params[name] for name in ("W_l0", "U_l0", "b_l0")]
    found = [rnn.algorithm_1(inputs, start[0], *values, upstream, steps=N)[3] for N in windows]
    return np.array([np.linalg.norm(each - exact) / np.linalg.norm(exact) for each in found])


def cut_errors(lengths, size, seed=0):
    """The same for each length k of a piece, with cuts at the borders."""
    net, inputs, upstream, start = example(size, seed)
    net.forward(inputs, start)
    gradients = []
    for k in [T, *lengths]:
        net.backward(upstream, truncate=k)
        gradients.append(net.grads["U_l0"].copy())
    exact, *found = gradients
    return np.array([np.linalg.norm(each - exact) / np.linalg.norm(exact) for each in found])


# a window by hand, from the matrix of three steps: N = 1 leaves the diagonal and the one below it
band = np.tril(C) - np.tril(C, -2)
_, _, _, by_window, _ = rnn.algorithm_1(x_rows, state[0], *parameters, dhs, steps=1)
# a cut every 2 steps: steps 1 and 2 are a piece, step 3 is one
blocks = np.where(np.equal.outer([0, 0, 1], [0, 0, 1]), C, 0)
layer.forward(x_rows, state)
layer.backward(dhs, truncate=2)
print(f"all {C.sum():+.6f}; window N = 1: {band.sum():+.6f}; cut every 2 steps: {blocks.sum():+.6f}")
np.testing.assert_allclose(by_window.item(), band.sum(), rtol=1e-13)
np.testing.assert_allclose(layer.grads["U_l0"].item(), blocks.sum(), rtol=1e-13)

# %% [markdown]
# What is lost depends on how fast the terms fall with their distance from the diagonal. A network of 8 units, 60
# steps, at three sizes of $U$ (its largest singular value). $N = 59 = T - 1$ is everything: $N$ counts steps beyond
# the present one.

# %%
windows = [0, 1, 2, 4, 8, 16, 32, 40, 48, 56, 58, 59]
lengths = [1, 2, 3, 5, 9, 17, 33, 41, 49, 57, 59, 60]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for k, size in enumerate((0.5, 0.9, 1.2)):
    errors = window_errors(windows, size)
    cut = cut_errors(lengths, size)
    style = {"color": rs.plots.COLOURS[k], "marker": "os^"[k], "ms": 4}
    axes[0].plot(windows[:-1], errors[:-1], label=f"norm {size}: window", **style)
    axes[0].plot(np.array(lengths[:-1]) - 1, cut[:-1], "--", label="cut every N + 1", mfc="white", **style)
    print(f"norm {size}: window N = 1: {errors[1]:.0%}, 8: {errors[4]:.1e}, 32: {errors[6]:.1e}, 48: {errors[8]:.1e}, "
          f"58: {errors[10]:.1e}; cut every 9: {cut[4]:.1e}, every 49: {cut[8]:.1e}")  # fmt: skip
    assert errors[-1] < 1e-12 and cut[-1] < 1e-12  # nothing is cut; off the scale of the picture
    if size == 0.9:
        net, inputs, upstream, start = example(size)
        rs.plots.contributions(flow.contributions(net, inputs[:20], dhs=upstream[:20], state=start), ax=axes[1])
axes[0].set(yscale="log", xlabel="N (steps beyond the present one)", ylabel="relative error of the gradient of U",
            title="Truncated BPTT")  # fmt: skip
axes[0].legend(frameon=False, fontsize=8)
axes[1].set_title("Contributions, norm of U 0.9, first 20 steps")
plt.show()

# %% [markdown]
# Where gradients fall like powers (norm 0.5) a window of 8 is exact to a thousandth. With norm 1.2 the error stays
# above a thousandth up to $N = 48$ and is *not* exponential in $N$: it falls when the window reaches the start, since
# nothing is left there to cut. A cut at borders loses more than a window of the same reach: after a border nothing is
# left of the past.

# %%
for seed in range(5):
    small, large = (window_errors([8, 48], size, seed) for size in (0.5, 1.2))
    assert small[0] < 1e-3 < large[1]
    for size in (0.5, 0.9, 1.2):
        assert (cut_errors([9, 33, 49], size, seed) > window_errors([8, 32, 48], size, seed)).all()
print("so it is with five seeds")

# %% [markdown]
# Long texts are trained by cuts: the state goes on to the next piece, the gradient stops at the border
# (`layer.backward(..., truncate=k)`; `flow.truncation_error` measures what is lost for any layer). It costs one pass,
# where a window of $N$ costs $N + 1$ steps back for each loss.
#
# ## 10. Two other ways to the same gradient
#
# **Forwards.** Real-time recurrent learning (Williams and Zipser 1989) keeps $p_t = \partial h_t / \partial U$, the
# *total* derivative, from step to step: what $U$ does now, plus what it did before, carried one step on. No pass back
# is needed, and nothing is stored:
#
# $$p_t = \frac{\partial^+ h_t}{\partial U} + \frac{\partial h_t}{\partial h_{t-1}}\, p_{t-1}, \qquad
# \frac{\partial L}{\partial U} = \sum_t \frac{\partial L_t}{\partial h_t}\, p_t$$

# %%
layer.forward(x_rows, state)
layer.backward(dhs)
p, gradient = 0.0, 0.0
for t in (1, 2, 3):
    before, p = p, now_U[t] + back[t] * p
    show(t, "p = now_U + back * p_prev", p=p, now_U=now_U[t], back=back[t], p_prev=before)
    show(t, "adds = dL_dh * p", adds=dL_dh[t] * p, dL_dh=dL_dh[t], p=p)
    gradient += dL_dh[t] * p
print(f"dU = {gradient:+.6f}")
np.testing.assert_allclose(gradient, dU, rtol=1e-13)
by_rtrl = flow.rtrl(layer, x_rows, dhs=dhs, state=state)  # the same for any layer, with the complex step of section 3
for name, found in by_rtrl.items():
    np.testing.assert_allclose(found, layer.grads[name], rtol=1e-12)

# %% [markdown]
# The price: for H units $p_t$ has $H \times H^2$ numbers, and each step costs $H^4$. That is why nobody trains large
# networks so.
#
# **With less memory.** The pass back needs the states of all T steps. *Checkpointing* keeps only every $\sqrt T$-th
# one on the way forward and computes the others again, piece by piece, on the way back: memory for about $2\sqrt T$
# steps in the place of $T$, at the price of almost one more forward pass (the last piece need not run twice). Steps are
# counted here, not seconds, which change from run to run:

# %%
steps_read = []


class CountedRNN(rs.RNN):
    """An RNN that notes how many steps it reads."""

    def forward(self, x, *arguments, **options):
        steps_read.append(len(x))
        return super().forward(x, *arguments, **options)


T_long = 100 if QUICK else 400
long_input = np.random.default_rng(0).standard_normal((T_long, 8, 16)).astype("float32")
long_layer = CountedRNN(16, 64, seed=0)
ones = np.ones((T_long, 8, 64), "float32")
segments = [T_long, T_long // 4, int(T_long**0.5)]
peaks = [row["peak_bytes"] for row in flow.checkpoint_curve(long_layer, long_input, segments)]
results = []
for segment, peak in zip(segments, peaks):
    steps_read.clear()
    results.append(flow.checkpointed(long_layer, long_input, dhs=ones, segment=segment)[2])
    print(f"pieces of {segment:3}: peak memory {peak / peaks[0]:.2f} of the whole, {sum(steps_read)} steps forward")
    assert sum(steps_read) == (2 * T_long - segment)
    for name, whole in results[0].items():
        np.testing.assert_allclose(results[-1][name], whole, rtol=2e-4, atol=1e-3)
assert peaks[0] > peaks[1] > peaks[2]

# %% [markdown]
# ## 11. Learning: Eqs 19 to 23
#
# Every parameter takes a step against its gradient, $\theta \leftarrow \theta - \alpha\, \partial L/\partial\theta$:
# Eq. 19 for the recurrent weight, Eq. 20 for the input weight, Eq. 21 for $V$, Eq. 22 for $b$, Eq. 23 for $b_y$. One
# step by hand, then 200 with the library's optimizer, which must agree in the first.

# %%
alpha = 0.05
new_U = U - alpha * dU
print(f"U: {U} - {alpha} * {dU:+.6f} = {new_U:.6f}")

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
        np.testing.assert_allclose(layer.params["U_l0"].item(), new_U, rtol=1e-13)
print(f"loss before: {losses[0]:.6f} = {L[1]:.6f} + {L[2]:.6f} + {L[3]:.6f}, after 200 steps: {losses[-1]:.6f}")
assert losses[-1] < 0.05 * losses[0]
layer.params["W_l0"][...], layer.params["U_l0"][...], layer.params["b_l0"][...] = W, U, b  # as they were

# %%
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.semilogy(losses, color=rs.plots.COLOURS[0])
ax.set(xlabel="update", ylabel="loss $L_1 + L_2 + L_3$")
plt.show()

# %% [markdown]
# ## 12. From one unit to matrices
#
# Now H units, D inputs and a batch of B sequences. Write one step out in indices, for sequence $b$ and unit $j$
# (here $b$ counts sequences; the bias is $\beta$ for a moment):
#
# $$z_{bj} = \sum_i x_{bi} W_{ij} + \sum_i h^{\text{prev}}_{bi} U_{ij} + \beta_j, \qquad h_{bj} = \tanh z_{bj}$$
#
# Everything below is the chain rule with one question: **in which $z$ does this number occur?** Over all of those the
# gradient is a sum.
#
# - $z_{bj}$ occurs in $h_{bj}$ alone: $\bar z_{bj} = \bar h_{bj}\,(1 - h_{bj}^2)$. No sum: the product of two arrays,
#   entry by entry.
# - $U_{ij}$ occurs in $z_{bj}$ for **every sequence $b$**, and there with the factor $h^{\text{prev}}_{bi}$:
#
# $$\frac{\partial L}{\partial U_{ij}} = \sum_b h^{\text{prev}}_{bi}\, \bar z_{bj} =
# \sum_b (h^{\text{prev}})^\top_{ib}\, \bar z_{bj} = \big( (h^{\text{prev}})^\top \bar z \big)_{ij}$$
#
# - $W_{ij}$ likewise with $x_{bi}$: $x^\top \bar z$. And $\beta_j$ has the factor 1: $\sum_b \bar z_{bj}$.
# - $h^{\text{prev}}_{bi}$ occurs in $z_{bj}$ for **every unit $j$**, with the factor $U_{ij}$:
#
# $$\frac{\partial L}{\partial h^{\text{prev}}_{bi}} = \sum_j \bar z_{bj}\, U_{ij} =
# \sum_j \bar z_{bj}\, (U^\top)_{ji} = \big( \bar z\, U^\top \big)_{bi}$$
#
# and $x_{bi}$ likewise: $\bar z\, W^\top$. A sum over an index that stands beside itself is a matrix product; where it
# does not, one factor is transposed so that it does. That is all about order and transposes. The ledger of shapes:
#
# | line | shapes |
# | --- | --- |
# | `dh = dhs[t] + future` | (B, H) = (B, H) + (B, H) |
# | `dz = dh * (1 - h**2)` | (B, H) = (B, H) * (B, H), entry by entry |
# | `dW += x.T @ dz` | (D, H) = (D, B) @ (B, H): summed over the batch |
# | `dU += h_prev.T @ dz` | (H, H) = (H, B) @ (B, H): summed over the batch |
# | `db += dz.sum(axis=0)` | (H,) = the sum of B rows of (B, H) |
# | `dx = dz @ W.T` | (B, D) = (B, H) @ (H, D): summed over the units |
# | `future = dz @ U.T` | (B, H) = (B, H) @ (H, H): summed over the units |
#
# Shapes find every mistake but one: $U$ is square, so `dz @ U` fits as well, and is wrong. Loops against matrices:

# %%
B, D, H = 3, 2, 4
rng = np.random.default_rng(0)
x_t, h_prev, dh = rng.standard_normal((B, D)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
W_m, U_m, b_m = rng.standard_normal((D, H)), rng.standard_normal((H, H)), rng.standard_normal(H)
h_t = np.tanh(x_t @ W_m + h_prev @ U_m + b_m)
dz = dh * (1 - h_t**2)

dU_m, dh_prev = np.zeros((H, H)), np.zeros((B, H))
for row in range(B):
    for i in range(H):
        for j in range(H):
            dU_m[i, j] += h_prev[row, i] * dz[row, j]  # U_ij is used for every sequence
            dh_prev[row, i] += dz[row, j] * U_m[i, j]  # h_i is used by every unit
np.testing.assert_allclose(h_prev.T @ dz, dU_m, rtol=1e-12, atol=1e-14)
np.testing.assert_allclose(dz @ U_m.T, dh_prev, rtol=1e-12, atol=1e-14)
print(f"dz @ U.T is right; dz @ U has the same shape and differs by up to {np.abs(dz @ U_m - dh_prev).max():.2f}")
assert np.abs(dz @ U_m - dh_prev).max() > 0.1

# %% [markdown]
# ### What is copied forward is summed backward
#
# The weight of three steps in section 6, the two consumers of section 7 and the sum over the batch are one rule. A
# number that goes to several places on the way forward gets the sum of what comes back from them:
#
# | copied forward | to | summed backward |
# | --- | --- | --- |
# | a bias | B rows of the batch | `dz.sum(axis=0)` |
# | a weight | B sequences | inside `x.T @ dz` |
# | a weight | T steps | `dW += ...` in the loop |
# | a state | the output and the next step | `dhs[t] + future` |
# | one unit of a state | the H units of the next step | inside `dz @ U.T` |
# | a row of an embedding | every place where its word stands | `np.add.at(dE, ids, dx)` |
#
# (The reverse holds too: what is *summed* forward, such as $xW + hU + b$, is *copied* backward: each gets $\bar z$.)
# The last row has a trap. NumPy's `dE[ids] += dx` writes, for a word that stands twice, the second gradient over the
# first:

# %%
ids = np.array([2, 0, 2])  # word 2 stands twice
E = np.arange(12.0).reshape(4, 3) / 10
dx = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # of the three rows E[ids]
lost, right = np.zeros_like(E), np.zeros_like(E)
lost[ids] += dx
np.add.at(right, ids, dx)
print(f"row of word 2 by +=:        {lost[2]}\nrow of word 2 by np.add.at: {right[2]}")

truth = np.zeros_like(E)
for place in np.ndindex(E.shape):
    moved = E.astype(complex)
    moved[place] += 1j * tiny
    truth[place] = (moved[ids] * dx).sum().imag / tiny
np.testing.assert_array_equal(right, truth)
assert (lost[2] != truth[2]).any()
embedding = rs.Embedding(4, 3, dtype="float64", seed=0)
embedding.forward(ids[:, None])
embedding.backward(dx[:, None])
np.testing.assert_array_equal(next(iter(embedding.grads.values())), truth)

# %% [markdown]
# ## 13. The last layer: three losses, one gradient
#
# Section 1 took the identity and half the squared error, whose derivative by $a = \hat y$ is $\hat y - y$. Classifiers
# take other outputs and other losses, and the gradient of the output *before* its function, the **logit** $a$, is
# $\hat y - y$ again. That is no accident: each loss is made for its function.
#
# **Sigmoid and cross-entropy**, two classes, $y \in \{0, 1\}$, $\hat y = \sigma(a)$,
# $L = -y \ln \hat y - (1 - y) \ln (1 - \hat y)$:
#
# $$\frac{\partial L}{\partial \hat y} = -\frac{y}{\hat y} + \frac{1 - y}{1 - \hat y}
# = \frac{\hat y - y}{\hat y (1 - \hat y)}, \qquad
# \frac{\partial \hat y}{\partial a} = \hat y (1 - \hat y), \qquad
# \frac{\partial L}{\partial a} = \hat y - y$$
#
# The slope of the sigmoid, which would kill the gradient of a confident wrong answer, cancels.
#
# **Softmax and cross-entropy**, $K$ classes, $y$ is 1 for the right class and 0 for all others:
#
# $$\hat y_k = \frac{e^{a_k}}{\sum_m e^{a_m}}, \qquad L = -\sum_k y_k \ln \hat y_k$$
#
# Each $\hat y_k$ depends on every $a_j$. With $S = \sum_m e^{a_m}$ and $\partial S / \partial a_j = e^{a_j}$ the
# quotient rule gives, with $\delta_{kj} = 1$ for $k = j$ and 0 otherwise,
#
# $$\frac{\partial \hat y_k}{\partial a_j} = \frac{\delta_{kj} e^{a_k} S - e^{a_k} e^{a_j}}{S^2}
# = \hat y_k (\delta_{kj} - \hat y_j)$$
#
# $a_j$ goes to all outputs, so its gradient is a sum over them:
#
# $$\frac{\partial L}{\partial a_j} = -\sum_k \frac{y_k}{\hat y_k}\, \hat y_k (\delta_{kj} - \hat y_j)
# = -y_j + \hat y_j \sum_k y_k = \hat y_j - y_j$$
#
# since $\sum_k y_k = 1$. (For two classes with logits $(0, a)$ softmax is the sigmoid of $a$.) In numbers, three
# classes, the second is right:


# %%
def softmax(a):
    e = np.exp(a - a.real.max())  # a constant added to all logits changes nothing; so nothing overflows
    return e / e.sum()


a, one_hot = np.array([1.0, 2.0, -1.0]), np.array([0.0, 1.0, 0.0])
p = softmax(a)
J = p[:, None] * (np.eye(3) - p)  # J[k, j]: output k by logit j
print("y_hat =", p.round(6), "\nJacobian:\n", J.round(6))
print("by the chain rule", (-(one_hot / p) @ J).round(6), "  y_hat - y =", (p - one_hot).round(6))
by_step = np.array([-np.log(softmax(a + 1j * tiny * unit)[1]).imag / tiny for unit in np.eye(3)])
np.testing.assert_allclose(by_step, p - one_hot, rtol=1e-13)
np.testing.assert_allclose(-(one_hot / p) @ J, p - one_hot, rtol=1e-13)
np.testing.assert_allclose(rs.losses.softmax_cross_entropy(a[None], np.array([1]))[1][0], p - one_hot, rtol=1e-13)
logit = 0.7
p_1 = softmax(np.array([0.0, logit]))[1]  # two classes
np.testing.assert_allclose(p_1, 1 / (1 + np.exp(-logit)), rtol=1e-14)
np.testing.assert_allclose(rs.losses.binary_cross_entropy([logit], [1])[1], p_1 - 1, rtol=1e-13)

# %% [markdown]
# A loss that is the *mean* over B examples divides this by B; forget that, and all gradients are B times too large.
#
# ## 14. Any size: write it yourself
#
# Four rungs, each checked at once: against the library's intermediates of that very step, and against the complex step.
# `steps.compare` names the first number that differs, its step, and what its line should be. The forward pass is given.
# `hs[t]` is $h_t$, since `hs[0]` is the start; step $t$ of the input is `xs[t - 1]`.


# %%
def forward(xs, h0, W, U, b):
    """hs (T+1, B, H) from xs (T, B, D) and h0 (B, H)."""
    hs = [h0]
    for x_t in xs:
        hs.append(np.tanh(x_t @ W + hs[-1] @ U + b))  # Eq. 1
    return np.stack(hs)


T, B, D, H = 4, 3, 2, 5
net = rs.RNN(D, H, dtype="float64", seed=2)
W_m, U_m, b_m = (net.params[name] for name in ("W_l0", "U_l0", "b_l0"))
xs, h0 = rng.standard_normal((T, B, D)), rng.standard_normal((B, H))
dhs, dh_T = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))  # of the outputs, and of the final state
steps = rs.teach.trace(net, xs, h0[None], dhs, dh_T[None])
hs = forward(xs, h0, W_m, U_m, b_m)


# %% [markdown]
# **Rung 1: one line.** Through tanh, from $\bar h_t$ to $\bar z_t$.


# %%
def through_tanh(dh, h):
    """dz (B, H) from dh (B, H) and the output h (B, H) of tanh."""
    # BLANK: dz from dh and h, one line (Eq. 27)
    dz = dh * (1 - h**2)
    # END
    return dz


# %%
found = steps.compare({("dz", t): through_tanh(steps["dh", t], hs[t]) for t in range(1, T + 1)})
assert found.ok, found
assert rs.check_gradients(lambda z: (np.tanh(z), lambda dh: through_tanh(dh, np.tanh(z))), h0).ok
print("rung 1: right")


# %% [markdown]
# **Rung 2: one step.** All that one step gives back.


# %%
def step_backward(dh, x, h_prev, h, W, U):
    """dx (B, D), dh_prev (B, H), dW (D, H), dU (H, H), db (H,) of one step, from dh (B, H)."""
    # BLANK: dz, then the five gradients, a line each; see the ledger of section 12
    dz = through_tanh(dh, h)
    dW, dU, db = x.T @ dz, h_prev.T @ dz, dz.sum(axis=0)
    dx, dh_prev = dz @ W.T, dz @ U.T
    # END
    return dx, dh_prev, dW, dU, db


# %%
mine = {}
for t in range(1, T + 1):
    of_step = step_backward(steps["dh", t], xs[t - 1], hs[t - 1], hs[t], W_m, U_m)
    mine |= {(name, t): value for name, value in zip(("dx", "dh_prev", "dW_t", "dU_t", "db_t"), of_step)}
found = steps.compare(mine)
assert found.ok, found


def one_step(x, h_prev, W, U, b):
    h = forward(x[None], h_prev, W, U, b)[1]
    return h, lambda dh: step_backward(dh, x, h_prev, h, W, U)


assert rs.check_gradients(one_step, xs[0], h0, W_m, U_m, b_m).ok
print("rung 2: right")


# %% [markdown]
# **Rung 3: the sequence.** The loop backwards, with the two consumers of each state and the sums over time. What you
# call `dh`, $\bar h_t$, is noted in `reached` at each step: where a number is wrong, the check begins with it.


# %%
def backward(xs, hs, W, U, dhs, dh_T, reached=None):
    """dxs (T, B, D), dh0 (B, H), dW, dU, db from the gradients of the outputs, dhs, and of the final state, dh_T.

    The dict `reached`, where there is one, gets what reaches each state, under ("dh", t).
    """
    dxs, dW, dU, db = np.zeros_like(xs), np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
    future = dh_T
    for t in range(len(xs), 0, -1):
        # BLANK: dh from both consumers; one step back; add up the weights' gradients; hand on what the past gets
        dh = dhs[t - 1] + future
        dxs[t - 1], future, dW_t, dU_t, db_t = step_backward(dh, xs[t - 1], hs[t - 1], hs[t], W, U)
        dW += dW_t  # Eq. 8
        dU += dU_t  # Eq. 5
        db += db_t  # Eq. 14
        # END
        if reached is not None:
            reached["dh", t] = dh.copy()
    return dxs, future, dW, dU, db


# %%
names, reached = ("dx", ("dh_prev", 1), "dW", "dU", "db"), {}
mine = dict(zip(names, backward(xs, hs, W_m, U_m, dhs, dh_T, reached)))
found = steps.compare({**reached, **mine})
assert found.ok, found


def sequence(xs, h0, W, U, b):
    hs = forward(xs, h0, W, U, b)
    return (hs[1:], hs[-1]), lambda up: backward(xs, hs, W, U, up[0], up[1])


report = rs.check_gradients(sequence, xs, h0, W_m, U_m, b_m)
print(report)
assert report.ok


# %% [markdown]
# **Rung 4: the model.** Read a sequence, answer from the last state with softmax and cross-entropy, mean over the
# batch (section 13).


# %%
def model(xs, labels, W, U, b, V, b_y):
    """The loss, and the gradients dW, dU, db, dV, db_y; xs (T, B, D), labels (B,), V (H, K)."""
    B = len(labels)
    hs = forward(xs, np.zeros((B, len(U)), xs.dtype), W, U, b)
    a = hs[-1] @ V + b_y
    e = np.exp(a - a.real.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(B), labels]).mean()
    # BLANK: da (B, K) from p and labels; dV, db_y; dh_T; then the sequence, whose outputs get nothing
    da = p.copy()
    da[np.arange(B), labels] -= 1
    da /= B
    dV, db_y, dh_T = hs[-1].T @ da, da.sum(axis=0), da @ V.T
    _, _, dW, dU, db = backward(xs, hs, W, U, np.zeros_like(hs[1:]), dh_T)
    # END
    return loss, (dW, dU, db, dV, db_y)


# %%
labels, V_m, b_out = np.array([0, 2, 1]), rng.standard_normal((H, 3)), rng.standard_normal(3)
value, mine = model(xs, labels, W_m, U_m, b_m, V_m, b_out)
hs_theirs, _ = net.forward(xs)
dense = rs.Dense(H, 3, dtype="float64", seed=0)
dense.params["W"][...], dense.params["b"][...] = V_m, b_out
theirs, da = rs.losses.softmax_cross_entropy(dense.forward(hs_theirs[-1]), labels)
np.testing.assert_allclose(value, theirs, rtol=1e-13)
steps = rs.teach.trace(net, xs, None, None, dense.backward(da)[None])
for name, yours, right in zip(("dV", "db_y"), mine[3:], (dense.grads["W"], dense.grads["b"])):
    np.testing.assert_allclose(yours, right, rtol=1e-12, atol=1e-14, err_msg=name)
found = steps.compare(dict(zip(("dW", "dU", "db"), mine)))
assert found.ok, found


def loss_of(W, U, b, V, b_y):
    value, gradients = model(xs.astype(W.dtype), labels, W, U, b, V, b_y)
    return value, lambda up: tuple(up * gradient for gradient in gradients)


assert rs.check_gradients(loss_of, W_m, U_m, b_m, V_m, b_out).ok
assert rs.check_gradients(net, xs).ok  # and the library's own
print("rung 4: right")

# %% [markdown]
# ## Exercises
#
# **1.** Only the last loss counts, $L = L_3$, as in a classifier that answers at the end. Is the gradient of $U$ still
# a sum over time? Compute it from the matrix $C$ of section 6.
#
# <details><summary>Solution</summary>
#
# Yes: the loss is one, but $U$ is still used three times. It is the sum of the last row of $C$, -0.786611.
#
# ```python
# last = np.zeros((3, 1, 1))
# last[2] = dL_dh[3]
# layer.forward(x_rows, state)
# layer.backward(last)
# np.testing.assert_allclose(layer.grads["U_l0"].item(), C[2].sum(), rtol=1e-13)
# np.testing.assert_allclose(C[2].sum(), -0.786611, atol=1e-6)
# # answer 1.1: C[2].sum()
# ```
# </details>
#
# **2.** Set $h_0 = 0$ in section 1. Which term $i$ of Eq. 5 for $U$ vanishes (the answer to be checked), and which for
# $W$? Why is this a bad choice for testing a program?
#
# <details><summary>Solution</summary>
#
# The term of $i = 1$ for $U$, since $\partial^+ h_1/\partial U = (1 - h_1^2) h_0 = 0$. None for $W$. A program that
# forgets the first step's share of $\partial L/\partial U$ would pass the test.
#
# ```python
# up = np.array(dL_dh[1:]).reshape(3, 1, 1)
# zero_start = flow.contributions(layer, x_rows, dhs=up, state=np.zeros((1, 1, 1)))[:, :, 0, 0]
# assert (zero_start[:, 0] == 0).all() and (zero_start[1:, 1] != 0).all()
# of_W = flow.contributions(layer, x_rows, dhs=up, name="W_l0", state=np.zeros((1, 1, 1)))
# assert (of_W[np.tri(3, dtype=bool)] != 0).all()
# # answer 1.2: 1
# ```
# </details>
#
# **3.** Drop the term "from the future" in section 7. What do you get? Find it in the matrix $C$.
#
# <details><summary>Solution</summary>
#
# The sum of the diagonal of $C$: each loss reaches only the weights of its own step, as if the network were not
# recurrent.
#
# ```python
# without = sum(dL_dh[t] * now_U[t] for t in (1, 2, 3))
# np.testing.assert_allclose(without, np.trace(C), rtol=1e-13)
# # answer 1.3: without
# ```
# </details>
#
# **4.** Derive $\partial L/\partial x_t$ (the answer to be checked: its three numbers in section 1). The library
# returns it as `dx`. When is it needed?
#
# <details><summary>Solution</summary>
#
# $x_t$ enters $h_t$ alone, so $\partial L/\partial x_t = \bar h_t (1 - h_t^2)\, W$: no sum over time. A layer below,
# or an embedding, needs it.
#
# ```python
# layer.forward(x_rows, state)
# dx, _ = layer.backward(np.array(dL_dh[1:]).reshape(3, 1, 1))
# dh_3 = dL_dh[3]
# np.testing.assert_allclose(dx[2].item(), dh_3 * slope[3] * W, rtol=1e-13)
# dh_2 = dL_dh[2] + dh_3 * back[3]
# np.testing.assert_allclose(dx[1].item(), dh_2 * slope[2] * W, rtol=1e-13)
# # answer 1.4: dx.ravel()
# ```
# </details>
#
# **5.** For the LSTM `symbolic.derivation("lstm", T=3, parameter="U_i")` has 7 paths where the vanilla network has 3.
# Why 7? (The answer to be checked: how many of them end at step 1, 2 and 3.)
#
# <details><summary>Solution</summary>
#
# The state has two parts, $h$ and $c$. From step 3 back to step $k$ each state in between may be either: 1 path for
# $k=3$, 2 for $k=2$, 4 for $k=1$.
#
# ```python
# assert [path.step for path in symbolic.derivation("lstm", 3, "U_i").paths] == [3, 2, 2, 1, 1, 1, 1]
# # answer 1.5: [4, 2, 1]
# ```
# </details>
#
# **6.** *Randomised truncation* (Tallec and Ollivier 2017) gives, at each border, the gradient of the future with
# probability $q$, divided by $q$, and nothing otherwise. Show with the network of section 1 that the result is right
# on average.
#
# <details><summary>Solution</summary>
#
# Each border is crossed by a factor $\xi / q$ whose mean is 1, and different borders are independent: the mean of a
# product of such factors is 1, so every term of $C$ keeps its mean. There are two borders, so four cases:
#
# ```python
# q, mean = 0.3, 0.0
# for first in (0, 1):
#     for second in (0, 1):
#         factor = np.array([first, second]) / q
#         crossed = np.array([[1, 0, 0], [factor[0], 1, 0], [factor.prod(), factor[1], 1]])
#         mean += (C * crossed).sum() * np.prod([q if each else 1 - q for each in (first, second)])
# np.testing.assert_allclose(mean, C.sum(), rtol=1e-13)
# ```
# </details>
#
# ## Five questions
#
# **1.** Why is the gradient of a recurrent weight a sum over time, and that of $V$ over the losses only?
#
# <details><summary>Answer</summary>
#
# The recurrent weight is used at every step, and each use reaches all later losses. $V$ acts between $h_t$ and
# $\hat y_t$: on $L_t$ alone.
#
# ```python
# assert np.count_nonzero(C) == 6  # T (T + 1) / 2 terms of U; V has T = 3
# ```
# </details>
#
# **2.** $\bar h_2 = \partial L_2/\partial h_2 + \dots$ What is the second term, in the numbers of section 7?
#
# <details><summary>Answer</summary>
#
# $\bar h_3\, (1 - h_3^2)\, U$, with $\bar h_3 = \partial L_3/\partial h_3$, since nothing follows step 3.
#
# ```python
# alone = rs.teach.trace(layer, x_rows, state, np.array(dL_dh[1:]).reshape(3, 1, 1))
# np.testing.assert_allclose(alone["dh (future)", 2].item(), dL_dh[3] * slope[3] * U, rtol=1e-13)
# ```
# </details>
#
# **3.** Shapes: `dz` is (B, H), `h_prev` is (B, H). Which product is the gradient of $U$, and over what is it summed?
#
# <details><summary>Answer</summary>
#
# `h_prev.T @ dz`, (H, B) @ (B, H): over the batch. `dz.T @ h_prev` has the same shape and is the transposed.
#
# ```python
# left, right = rng.standard_normal((2, 3, 5))
# np.testing.assert_allclose(left.T @ right, np.einsum("bi,bj->ij", left, right), rtol=1e-12)
# ```
# </details>
#
# **4.** Window $N = 9$ or a cut every 10 steps: which reaches further back from the first loss after a border?
#
# <details><summary>Answer</summary>
#
# The window, by 9 steps; behind the cut there is nothing. From the last loss of a piece both reach 9 steps.
#
# ```python
# piece = np.arange(20) // 10
# reach = np.arange(20) - np.array([np.flatnonzero(piece == p)[0] for p in piece])
# assert reach[10] == 0 and reach[19] == 9
# ```
# </details>
#
# **5.** The gradient of the logits under softmax and cross-entropy sums to 0 over the classes. Why?
#
# <details><summary>Answer</summary>
#
# Both $\hat y$ and $y$ sum to 1. Adding a constant to all logits changes no probability, so it may not change the loss.
#
# ```python
# assert abs((p - one_hot).sum()) < 1e-15
# ```
# </details>
#
# ## Read on
#
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams, *Learning representations by back-propagating errors*, Nature 1986.
# - P. J. Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 1990.
# - R. J. Williams, D. Zipser, *A learning algorithm for continually running fully recurrent neural networks*, Neural
#   Computation 1989: the way forwards.
# - R. J. Williams, J. Peng, *An efficient gradient-based algorithm for on-line training of recurrent network
#   trajectories*, Neural Computation 1990: truncation.
# - C. Tallec, Y. Ollivier, *Unbiasing truncated backpropagation through time*, 2017 (arXiv 1705.08209).
# - T. Chen, B. Xu, C. Zhang, C. Guestrin, *Training deep nets with sublinear memory cost*, 2016 (arXiv 1604.06174).
# - The books of the table of letters: I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, 2016, chapter 10;
#   A. Graves, *Supervised Sequence Labelling with Recurrent Neural Networks*, 2012; A. Zhang, Z. Lipton, M. Li,
#   A. Smola, *Dive into Deep Learning* (D2L), the chapters on recurrent networks.
