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
# # 6. Deep and bidirectional networks, and sequences of different lengths
#
# After this notebook you can stack recurrent layers and derive the gradient of each, read a sequence in both directions
# and say what "the last state" of each direction is, and train on sequences of different lengths without the padding
# leaking into the answer. You see what happens if it does leak: a classifier that works falls to guessing.
#
# - **Time**: about three hours with the exercises; the machine needs about two minutes.
# - **You need** notebook 1 (back-propagation through time of the vanilla RNN). Nothing here depends on the cell.
# - **Afterwards you can** derive the gradient of a stack; pick the right last states of a bidirectional layer; say what
#   a mask must do to the gradient; and tell from a learning curve that a network reads its padding.
#
# In the learner's edition the lines between `# BLANK` and `# END` are yours to write. The cell after each says at once
# whether they are right. What is said of results holds for every seed that is trained, eight of them, or says "in this
# run".

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

import copy
import time

import matplotlib.pyplot as plt
import numpy as np

import rnnscratch as rs

QUICK = os.environ.get("RNNSCRATCH_QUICK") == "1"  # smaller sizes, for a quick check

# %% [markdown]
# ## 1. Two layers forward by hand
#
# A deep recurrent network is a stack. Layer 1 reads the input (Eq. 38). Layer 2 reads the states of layer 1 as if they
# were its input (Eq. 39). In general layer $L$ reads those of layer $L-1$ (Eq. 40). The output sees the top layer only
# (Eq. 41), through an output activation $g$ (Eq. 42). In our notation, one row for one example:
#
# $$h^{(1)}_t = f(x_t W^{(1)} + h^{(1)}_{t-1} U^{(1)} + b^{(1)}) \qquad \text{(Eq. 38)}$$
# $$h^{(2)}_t = f(h^{(1)}_t W^{(2)} + h^{(2)}_{t-1} U^{(2)} + b^{(2)}) \qquad \text{(Eq. 39)}$$
# $$h^{(l)}_t = f(h^{(l-1)}_t W^{(l)} + h^{(l)}_{t-1} U^{(l)} + b^{(l)}) \qquad \text{(Eq. 40)}$$
# $$o_t = h^{(L)}_t V + b_y \quad \text{(Eq. 41)} \qquad y_t = g(o_t) \quad \text{(Eq. 42)}$$
#
# Note the times: layer 2 takes the state of layer 1 from the *same* step $t$, and its own from the step before. So the
# stack can be computed in two orders, all layers of step 1 before step 2, or all steps of layer 1 before layer 2. Both
# give the same numbers. Libraries take the second, since then the input product of a whole layer is one matrix
# product.
#
# Two steps, one unit in each layer, $f = \tanh$, $g = \sigma$, start at zero:


# %%
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


W1, U1, b1 = 1.0, 0.5, 0.1
W2, U2, b2 = -0.8, 0.7, 0.2
V, b_y = 1.2, 0.1
x = [0.5, -1.0]
y = [1, 0]  # the right answers

low, high, answer = [0.0], [0.0], []  # low[t] and high[t]: layers 1 and 2 after step t = 1, 2
for x_t in x:
    low.append(np.tanh(x_t * W1 + low[-1] * U1 + b1))  # Eq. 38
    high.append(np.tanh(low[-1] * W2 + high[-1] * U2 + b2))  # Eq. 39
    answer.append(sigmoid(high[-1] * V + b_y))  # Eqs 41, 42
    print(f"step {len(answer)}: layer 1 {low[-1]:+.6f}   layer 2 {high[-1]:+.6f}   answer {answer[-1]:.6f}")

layer_first = np.zeros(3)
for t in (1, 2):  # the other order: layer 2 runs over the finished states of layer 1
    layer_first[t] = np.tanh(low[t] * W2 + layer_first[t - 1] * U2 + b2)
np.testing.assert_allclose(layer_first, high, atol=1e-15)

# %% [markdown]
# In the library, `num_layers=2`. Parameters are named by layer, `W_l0` for the first, `W_l1` for the second. `hs` holds
# the states of the top layer for all steps; the final state holds the last state of every layer.

# %%
stack = rs.RNN(1, 1, num_layers=2, dtype="float64", seed=0)
for name, value in {"W_l0": W1, "U_l0": U1, "b_l0": b1, "W_l1": W2, "U_l1": U2, "b_l1": b2}.items():
    stack.params[name][...] = value
inputs = np.array(x).reshape(2, 1, 1)  # (T, B, D)
hs, final = stack.forward(inputs)
print("hs, top layer:", hs.ravel(), "  final state of each layer:", final.ravel())
np.testing.assert_allclose(hs.ravel(), high[1:], atol=1e-12)
np.testing.assert_allclose(final.ravel(), [low[2], high[2]], atol=1e-12)

head = rs.Dense(1, 1, dtype="float64", seed=0)
head.params["W"][...], head.params["b"][...] = V, b_y
o = head.forward(hs)  # Eq. 41, at every step
np.testing.assert_allclose(sigmoid(o).ravel(), answer, atol=1e-12)

# %% [markdown]
# ## 2. Two layers back: layer 1 gets two streams
#
# Let the loss be the sum over the steps of the cross-entropy, so $do_t = \hat y_t - y_t$. As in notebook 1, $\bar h$ is
# the gradient that reaches a state from all its uses (`dh` in code), and $dz^{(l)}_t$ that of what stands inside $f$ in
# layer
# $l$ at step $t$.
#
# Layer 2 is an ordinary recurrent layer. Its state goes to the output and to its own next step:
#
# $$\bar h^{(2)}_t = do_t V^\top + dz^{(2)}_{t+1} U^{(2)\top}, \qquad dz^{(2)}_t = \bar h^{(2)}_t \odot (1 -
# h^{(2)}_t{}^2).$$
#
# Layer 1 does not touch the output. Its state goes **up**, to layer 2 at the same step, and **on**, to itself at the
# next:
#
# $$\bar h^{(1)}_t = \underbrace{dz^{(2)}_t W^{(2)\top}}_{\text{from above}} +
# \underbrace{dz^{(1)}_{t+1} U^{(1)\top}}_{\text{from the future}},
# \qquad dz^{(1)}_t = \bar h^{(1)}_t \odot (1 - h^{(1)}_t{}^2).$$
#
# The first stream is nothing but the $dx$ of layer 2. That is the whole rule for stacks: the gradient of a layer's
# input is the upstream gradient of the layer below. From the top down, $l = L, \dots, 1$, each layer runs its whole
# reverse pass.

# %%
do = [answer[0] - y[0], answer[1] - y[1]]

# BLANK: dz_high2, dz_high1, and above, the two gradients that layer 1 gets from layer 2
dz_high2 = do[1] * V * (1 - high[2] ** 2)  # layer 2, step 2: no future
dz_high1 = (do[0] * V + dz_high2 * U2) * (1 - high[1] ** 2)  # layer 2, step 1
above = [dz_high1 * W2, dz_high2 * W2]  # to layer 1, at steps 1 and 2
# END

dz_low2 = above[1] * (1 - low[2] ** 2)  # layer 1, step 2: no future
future = dz_low2 * U1
dz_low1 = (above[0] + future) * (1 - low[1] ** 2)  # layer 1, step 1: both streams

print(f"layer 1, step 2: from above {above[1]:+.6f}")
print(f"layer 1, step 1: from above {above[0]:+.6f}, from the future {future:+.6f}")

dhs = head.backward(sigmoid(o) - np.array(y, float).reshape(2, 1, 1))
dx, _ = stack.backward(dhs)
by_hand = {"b_l1": dz_high1 + dz_high2, "W_l1": low[1] * dz_high1 + low[2] * dz_high2, "U_l1": high[1] * dz_high2}
by_hand |= {"b_l0": dz_low1 + dz_low2, "W_l0": x[0] * dz_low1 + x[1] * dz_low2, "U_l0": low[1] * dz_low2}
for name, mine in by_hand.items():  # no term of step 1 in U, for the states before it are 0
    np.testing.assert_allclose(mine, stack.grads[name].item(), atol=1e-12, err_msg=f"gradient of {name}")
np.testing.assert_allclose(dx.ravel(), [dz_low1 * W1, dz_low2 * W1], atol=1e-12)
print("gradients:", {name: round(array.item(), 6) for name, array in stack.grads.items()})

# %% [markdown]
# What if one of the streams is forgotten? Compare $\partial\mathcal L/\partial b^{(1)}$ with the complex step.


# %%
def loss_with(b1):
    top = below = total = 0.0
    for x_t, y_t in zip(x, y):
        below = np.tanh(x_t * W1 + below * U1 + b1)
        top = np.tanh(below * W2 + top * U2 + b2)
        p = sigmoid(top * V + b_y)
        total = total - (y_t * np.log(p) + (1 - y_t) * np.log(1 - p))
    return total


measured = loss_with(b1 + 1e-200j).imag / 1e-200
slope = 1 - low[1] ** 2
print(f"measured                    {measured:+.6f}")
print(f"both streams                {dz_low1 + dz_low2:+.6f}")
print(f"without that from above     {future * slope + dz_low2:+.6f}   (step 1 only)")
print(f"without that of the future  {above[0] * slope + dz_low2:+.6f}")
np.testing.assert_allclose(dz_low1 + dz_low2, measured, atol=1e-12)
assert abs(future * slope + dz_low2 - measured) > 1e-2
assert abs(above[0] * slope + dz_low2 - measured) > 1e-2

# %% [markdown]
# Any number of layers, any cell, in plain NumPy around single layers: forward from the bottom to the top, backward from
# the top to the bottom, `dx` becoming `dhs`. The library's stack must agree to the last digits.

# %%
T, B, D, H, L = 5, 3, 4, 2, 3
rng = np.random.default_rng(0)
x_deep = rng.standard_normal((T, B, D))
deep = rs.GRU(D, H, num_layers=L, dtype="float64", seed=0)
singles = [rs.GRU(D if k == 0 else H, H, dtype="float64", seed=0) for k in range(L)]
for k, single in enumerate(singles):
    for letter in "WUb":
        single.params[f"{letter}_l0"][...] = deep.params[f"{letter}_l{k}"]

states, tops = x_deep, []
for single in singles:  # Eqs 38-40
    states, last = single.forward(states)
    tops.append(last)
hs, final = deep.forward(x_deep)
np.testing.assert_allclose(states, hs, atol=1e-12)
np.testing.assert_allclose(np.concatenate(tops), final, atol=1e-12)

dhs = rng.standard_normal((T, B, H))
gradient = dhs
for single in reversed(singles):
    gradient, _ = single.backward(gradient)  # its dx is the dhs of the layer below
dx, _ = deep.backward(dhs)
np.testing.assert_allclose(gradient, dx, atol=1e-12)
for k, single in enumerate(singles):
    for letter in "WUb":
        np.testing.assert_allclose(single.grads[f"{letter}_l0"], deep.grads[f"{letter}_l{k}"], atol=1e-12)
report = rs.check_gradients(deep, x_deep)
print(f"{L} layers of {H} units: largest relative error of any gradient {report.max_error:.1e}")
print("parameters of each layer:", [single.num_params for single in singles], "together", deep.num_params)
assert report.ok
assert deep.num_params == 3 * (D + H + 1) * H + (L - 1) * 3 * (H + H + 1) * H

# %% [markdown]
# Depth has a price in the gradient, too. From the top at step $T$ to the input at step 1 a gradient passes $T - 1$
# steps in time *and* $L - 1$ steps down, and at each of them it is multiplied by a matrix and a slope of at most 1
# (exercise 1 counts the paths).

# %% [markdown]
# ## 3. Dropout between the layers
#
# With `dropout=p` the states that go **up** are multiplied by a random mask: 0 with probability $p$, else $1/(1-p)$,
# so that the mean stays the same. The states that go **on** to the next step are left alone. The gradient goes back
# through the same mask: $\bar h^{(1)}_t$ gets $m_t \odot (dz^{(2)}_t W^{(2)\top})$ from above.
#
# Why not on the way to the next step? A fresh mask at each step would let a unit's memory survive with probability
# $(1-p)^T$ only. (`recurrent_dropout` does act there, but with one mask for all steps; Gal & Ghahramani 2016.)

# %%
print("p = 0.5: the chance that a unit's memory survives 20 fresh masks is", 0.5**20)

two = rs.RNN(D, H, num_layers=2, dropout=0.5, dtype="float64", seed=2)
mask = rs.kernels.dropout.draw_mask((T, B, H), 0.5, copy.deepcopy(two.rng), two.dtype)  # what two will draw next
print("masks of the first sequence, one row for each step:", *mask[:, 0], sep="\n")

below, above = rs.RNN(D, H, dtype="float64", seed=0), rs.RNN(H, H, dtype="float64", seed=0)
for letter in "WUb":
    below.params[f"{letter}_l0"][...] = two.params[f"{letter}_l0"]
    above.params[f"{letter}_l0"][...] = two.params[f"{letter}_l1"]
by_hand, _ = above.forward(below.forward(x_deep)[0] * mask)
hs, _ = two.forward(x_deep, train=True)
np.testing.assert_allclose(hs, by_hand, atol=1e-12)

dx, _ = two.backward(dhs)
from_above, _ = above.backward(dhs)
np.testing.assert_allclose(below.backward(from_above * mask)[0], dx, atol=1e-12)
report = rs.check_gradients(two, x_deep, train=True)  # masks held fixed
print(f"largest relative error with dropout {report.max_error:.1e}")
assert report.ok

# %% [markdown]
# ## 4. Both directions
#
# The state $h_t$ knows the words up to $t$. For labelling a whole sentence one also wants what comes after. A
# bidirectional layer (the report has no equations for it) runs a second, independent layer over the sequence back to
# front, and puts the two outputs side by side:
#
# $$\overrightarrow{h}_t = f(x_t W + \overrightarrow{h}_{t-1} U + b), \qquad
# \overleftarrow{h}_t = f(x_t W' + \overleftarrow{h}_{t+1} U' + b'), \qquad
# h_t = [\overrightarrow{h}_t, \overleftarrow{h}_t].$$
#
# Both are about step $t$: the second is turned round again before it is put beside the first.

# %%
T, B, D, H = 6, 2, 3, 2
x_both = np.random.default_rng(1).standard_normal((T, B, D))
both = rs.RNN(D, H, bidirectional=True, dtype="float64", seed=2)
print({name: array.shape for name, array in both.params.items()})

forwards, backwards = rs.RNN(D, H, dtype="float64", seed=0), rs.RNN(D, H, dtype="float64", seed=0)
for letter in "WUb":
    forwards.params[f"{letter}_l0"][...] = both.params[f"{letter}_l0"]
    backwards.params[f"{letter}_l0"][...] = both.params[f"{letter}_l0_reverse"]
one, one_last = forwards.forward(x_both)
other, other_last = backwards.forward(x_both[::-1].copy())
hs, final = both.forward(x_both)
np.testing.assert_allclose(hs, np.concatenate([one, other[::-1]], axis=2), atol=1e-12)
np.testing.assert_allclose(final, np.concatenate([one_last, other_last]), atol=1e-12)
print("hs", hs.shape, " final state", final.shape)

dhs = np.random.default_rng(2).standard_normal(hs.shape)
dx, _ = both.backward(dhs)
dx_one, _ = forwards.backward(dhs[:, :, :H].copy())
dx_other, _ = backwards.backward(dhs[::-1, :, H:].copy())
np.testing.assert_allclose(dx, dx_one + dx_other[::-1], atol=1e-12)

# %% [markdown]
# ### What is "the last state"?
#
# The direction that reads backwards ends at the *first* word. Its last state, the one that has seen everything, is at
# $t = 0$:
#
# - `final[0]` is $\overrightarrow{h}$ after the last word, equal to `hs[-1][:, :H]`;
# - `final[1]` is $\overleftarrow{h}$ after the first word, equal to `hs[0][:, H:]`.
#
# A common mistake, often seen in PyTorch code, is to classify from `hs[-1]`, "the last output". The right half of it is
# $\overleftarrow{h}_T$, which has read **one** word. The network trains, and half of its features are nearly worthless.

# %%
np.testing.assert_array_equal(final[0], hs[-1][:, :H])
np.testing.assert_array_equal(final[1], hs[0][:, H:])
only_last_word, _ = both.forward(np.concatenate([np.zeros((T - 1, B, D)), x_both[-1:]]))
print("hs[-1], backward half:                         ", hs[-1][0, H:])
print("the same with all words but the last set to 0: ", only_last_word[-1][0, H:])
print("final[1] against that with the words set to 0: ", final[1][0], only_last_word[0][0, H:])
np.testing.assert_array_equal(hs[-1][:, H:], only_last_word[-1][:, H:])

# %% [markdown]
# The picture shows it by gradients: how strongly each candidate for "the last state" depends on each word.

# %%
T_long = 15
x_long = np.random.default_rng(3).standard_normal((T_long, 1, 4))
wide = rs.GRU(4, 16, bidirectional=True, dtype="float64", seed=0)
wide.forward(x_long)


def dependence(t, columns):
    """(T,): the norm of the gradient, at each word, of the sum of hs[t][:, columns]."""
    upstream = np.zeros((T_long, 1, 32))
    upstream[t, :, columns] = 1.0
    dx, _ = wide.backward(upstream)
    return np.linalg.norm(dx[:, 0], axis=1)


features = {
    "forward half of hs[-1], which is final[0]": dependence(-1, slice(0, 16)),
    "backward half of hs[-1]: the mistake": dependence(-1, slice(16, 32)),
    "backward half of hs[0], which is final[1]": dependence(0, slice(16, 32)),
}
fig, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for position, (name, values) in enumerate(features.items()):
    ax.plot(values, color=rs.plots.COLOURS[position], marker=rs.plots.MARKERS[position], markersize=5, label=name)
ax.set(xlabel="word t (steps)", ylabel="norm of the gradient at word t", title="which words does a feature depend on?")
ax.set_ylim(0, 1.45 * max(values.max() for values in features.values()))
ax.legend(frameon=False)
plt.show()
for name, values in features.items():
    print(f"{name:43} depends on {np.count_nonzero(values)} of {T_long} words")
assert np.count_nonzero(features["backward half of hs[-1]: the mistake"]) == 1

# %% [markdown]
# In a stack of bidirectional layers the next layer reads both halves, so its `W` has $2H$ rows. `rs.SequenceClassifier`
# with `pooling="last"` takes the right states, of the top layer. Exercise 2 counts the parameters.

# %%
tall = rs.LSTM(4, 3, num_layers=2, bidirectional=True, dtype="float64", seed=0)
print({name: array.shape for name, array in tall.params.items() if name.startswith("W")})
report = rs.check_gradients(tall, np.random.default_rng(0).standard_normal((4, 2, 4)))
print(f"largest relative error {report.max_error:.1e}")
assert report.ok

# %% [markdown]
# ## 5. Sequences of different lengths
#
# Sentences have different lengths, arrays do not. So a batch is **padded** to its longest sequence, and the true
# lengths travel along. What must hold?
#
# 1. The final state of a sequence is that at its own last word, not at the end of the array.
# 2. What stands in the padding changes nothing, in values or gradients.
# 3. The backward direction starts at a sequence's own last word.
#
# The third is easily missed. If one just flips the array, the padding comes first:

# %%
tokens = np.array([[11, 21], [12, 22], [13, 23], [14, 0], [15, 0]])  # (T, B); 0 is padding
lengths = np.array([5, 3])
print("second sequence:           ", tokens[:, 1])
print("flipped with the array:    ", tokens[::-1, 1])
within = rs.kernels.packing.reverse(tokens, lengths)
print("flipped within its length: ", within[:, 1])
np.testing.assert_array_equal(within[:, 1], [23, 22, 21, 0, 0])
np.testing.assert_array_equal(rs.kernels.packing.reverse(within, lengths), tokens)  # its own inverse

# %% [markdown]
# The test of all three at once: every sequence in the padded batch must get what it gets alone, without padding.

# %%
T, B, D, H = 6, 3, 3, 2
lengths = np.array([4, 6, 1])
x_ragged = np.random.default_rng(4).standard_normal((T, B, D))
net = rs.LSTM(D, H, num_layers=2, bidirectional=True, dtype="float64", seed=0)
hs, (h, c) = net.forward(x_ragged, lengths=lengths)
for k, length in enumerate(lengths):
    alone, (h_alone, c_alone) = net.forward(x_ragged[:length, k : k + 1])
    np.testing.assert_allclose(hs[:length, k : k + 1], alone, atol=1e-12)
    np.testing.assert_allclose(h[:, k : k + 1], h_alone, atol=1e-12)
    np.testing.assert_allclose(c[:, k : k + 1], c_alone, atol=1e-12)
    assert not hs[length:, k].any()  # zero past the end
print("each sequence gets in the batch what it gets alone; norm of hs at each step (rows) of each sequence:")
print(np.linalg.norm(hs, axis=2).round(3))

# %% [markdown]
# ## 6. Masks, and what a mask must also do to the gradient
#
# One way to meet the demands is a mask, $m_t = 1$ for a word and 0 for padding, that carries the state over:
#
# $$h_t = m_t\, \tilde h_t + (1 - m_t)\, h_{t-1}, \qquad \tilde h_t = f(x_t W + h_{t-1} U + b).$$
#
# At the end of the array, $h_T$ is then the state at each sequence's own last word. The reverse follows from the two
# terms:
#
# $$d\tilde h_t = m_t\, \bar h_t, \qquad \bar h_{t-1} = dz_t U^\top + (1 - m_t)\, \bar h_t.$$
#
# The second term carries the gradient of the final state unchanged over the padding, back to the last word. At a padded
# step $dz_t = 0$, so nothing reaches $x_t$, $W$, $U$ or $b$.


# %%
def masked_rnn(x, lengths, W, U, b):
    """States (T+1, B, H), carried over the padding, and the mask (T, B, 1)."""
    m = (np.arange(len(x))[:, None] < lengths)[:, :, None].astype(float)
    h = [np.zeros((x.shape[1], len(U)))]
    for t in range(len(x)):
        h.append(m[t] * np.tanh(x[t] @ W + h[-1] @ U + b) + (1 - m[t]) * h[-1])
    return np.stack(h), m


def masked_rnn_backward(x, h, m, dlast, W, U):
    dx, dW, dU, db, dh = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1]), dlast
    for t in reversed(range(len(x))):
        # BLANK: dz; dx[t], dW, dU, db; and dh of the state before
        dz = m[t] * dh * (1 - h[t + 1] ** 2)
        dx[t], dW, dU, db = dz @ W.T, dW + x[t].T @ dz, dU + h[t].T @ dz, db + dz.sum(axis=0)
        dh = dz @ U.T + (1 - m[t]) * dh
        # END
    return dx, dW, dU, db


plain = rs.RNN(D, H, dtype="float64", seed=0)
W, U, b = (plain.params[name] for name in ("W_l0", "U_l0", "b_l0"))
U_start = U.copy()
dlast = np.random.default_rng(5).standard_normal((B, H))
for tilt in (0.5, 0.0):
    U[0, 1] = U_start[0, 1] + tilt  # as it is, U happens to be its own transpose
    h, m = masked_rnn(x_ragged, lengths, W, U, b)
    _, final = plain.forward(x_ragged, lengths=lengths)
    np.testing.assert_allclose(h[-1], final[0], atol=1e-12)
    dx, _ = plain.backward(None, dlast[None])
    found = masked_rnn_backward(x_ragged, h, m, dlast, W, U)
    for ours, (name, theirs) in zip(found, {"x": dx, **plain.grads}.items()):
        np.testing.assert_allclose(ours, theirs, atol=1e-12, err_msg=f"d{name[0]}")
print("norm of dx at each step (rows) of each sequence; lengths", lengths)
print(np.linalg.norm(dx, axis=2).round(4))

# %% [markdown]
# The zeros at the padding are exact, not small. So is the independence from what the padding holds. The library does
# not multiply by a mask. It sorts the sequences by length and leaves those that have ended out of the work (section
# 8), so it never looks at the padding at all. There may even be "not a number" in it. A mask that *multiplies* does
# not survive that, since $0 \cdot \text{NaN} = \text{NaN}$.

# %%
padding = np.arange(T)[:, None] >= lengths  # (T, B)
hs, final = plain.forward(x_ragged, lengths=lengths)
dx, _ = plain.backward(None, dlast[None])
before = [hs.copy(), final.copy(), dx, *[gradient.copy() for gradient in plain.grads.values()]]
assert not hs[padding].any() and not dx[padding].any()
for garbage in (1e30, np.inf, np.nan):
    dirty = x_ragged.copy()
    dirty[padding] = garbage
    hs, final = plain.forward(dirty, lengths=lengths)
    dx, _ = plain.backward(None, dlast[None])
    after = [hs, final, dx, *plain.grads.values()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after))
    with np.errstate(all="ignore"):
        carried, _ = masked_rnn(dirty, lengths, W, U, b)
    print(f"padding {garbage}: library the same to the last bit, multiplied mask gives {carried[-1][0]}")

upstream = np.random.default_rng(6).standard_normal((T, B, H))
plain.backward(upstream)
clean = {name: gradient.copy() for name, gradient in plain.grads.items()}
upstream[padding] = 1e30  # gradients of outputs that do not exist
plain.backward(upstream)
assert all(np.array_equal(clean[name], plain.grads[name]) for name in clean)
report = rs.check_gradients(net, x_ragged, lengths=lengths)
print(f"two layers, both directions, ragged: largest relative error {report.max_error:.1e}")
assert report.ok

# %% [markdown]
# ## 7. What padding does to a classifier that reads it
#
# Now the experiment. The task: 4 to 10 words, one of which is either word 1 or word 2, at a random place; the others
# are noise. Which of the two was it? Word 0 is padding, added after the text. The networks are small vanilla RNNs,
# once told the lengths and once not, so that they read the padding as if it were words. Once they answer from the last
# state, and once from the mean of all states. Each is trained for 150 updates on 64 new examples (Adam, clipped
# gradients), and tested on 1,000 new examples. Chance is 50 %.
#
# Most trainings end at either of two values, solved or guessing, so a mean over seeds would be the accuracy of hardly
# any network. What can be told of a protocol is the *share of its seeds that solve the task*, here at more than 95 %.
# Eight seeds give wide intervals: if all eight succeed, the share may still be two in three.


# %%
def examples(count, rng):
    """Sequences of ids and their labels: word 1 or word 2 hides in the noise."""
    labels = rng.integers(0, 2, count)
    sequences = [rng.integers(3, 12, length) for length in rng.integers(4, 11, count)]
    for sequence, label in zip(sequences, labels):
        sequence[rng.integers(len(sequence))] = 1 + label
    return sequences, labels


def padded(sequences, extra):
    """ids (T, B) with `extra` more steps than the longest sequence, 0 past each end, and the lengths."""
    ids, lengths = rs.text.batches.pad(sequences)
    return np.concatenate([ids, np.zeros((extra, len(lengths)), ids.dtype)]), lengths


def train(pooling, told, extra, seed, cell="rnn", updates=150, pad_first=False):
    """Accuracy on new examples after training with `extra` steps of padding; the gradient norms on the way."""
    rng = np.random.default_rng(seed)
    model = rs.SequenceClassifier(12, 8, 16, cell=cell, pooling=pooling, seed=seed)
    optimizer = rs.Adam(0.01)

    def read(count):
        sequences, labels = examples(count, rng)
        ids, lengths = padded(sequences, extra)
        if pad_first:  # the same rows, turned so that the padding comes before the text
            ids = np.stack([np.roll(row, len(row) - n) for row, n in zip(ids.T, lengths)], axis=1)
        return model.forward(ids, lengths if told else None, train=True), labels

    norms = []
    for _ in range(updates):
        logits, labels = read(64)
        _, dlogits = model.loss(logits, labels)
        model.backward(dlogits)
        norms.append(np.linalg.norm(model.grads["embedding.E"][1:3]))
        rs.clip_gradients(model.grads, max_norm=1.0)
        optimizer.step(model.params, model.grads)
    logits, labels = read(1000)
    return float(((logits > 0) == labels).mean()), np.array(norms)


PADDINGS = (0, 100) if QUICK else (0, 10, 20, 40, 100)
SEEDS = range(2 if QUICK else 8)
SOLVED = 0.95
results, arriving = {}, {}
for pooling in ("last", "mean"):
    for told in (True, False):
        tried = PADDINGS if not told else (PADDINGS[0], PADDINGS[-1])  # told the lengths, all are the same: asserted
        runs = [[train(pooling, told, extra, seed) for extra in tried] for seed in SEEDS]
        results[pooling, told] = tried, np.array([[accuracy for accuracy, _ in row] for row in runs])
        arriving[pooling, told] = runs[0][-1][1]  # seed 0, longest padding
for pooling in ("last", "mean"):
    first, last = results[pooling, True][1].T
    assert (first == last).all()  # each seed, to the last bit


def wilson(k, n):
    """The 95 % interval of a share of which k of n were seen (Wilson 1927); unlike k/n +- 2 s it holds at 0 and n."""
    middle, half = (k + 1.92) / (n + 3.84), 1.96 * np.sqrt(k * (n - k) / n + 0.96) / (n + 3.84)
    return middle - half, middle + half


print(f"of {len(SEEDS)} seeds, those that solve the task, the interval of that share, and all accuracies (%)")
for (pooling, told), (tried, found) in results.items():
    for extra, accuracies in zip(tried, found.T):
        count = int((accuracies > SOLVED).sum())
        low, high = wilson(count, len(SEEDS))
        name = f"{pooling:4} {'with lengths' if told else 'padding read'}, {extra:3} steps of padding"
        print(f"{name}: {count}, {low:.2f} to {high:.2f}  ", *np.sort(100 * accuracies).round().astype(int))

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for position, ((pooling, told), (tried, found)) in enumerate(results.items()):
    name = ("last state, " if pooling == "last" else "mean of states, ") + ("with lengths" if told else "padding read")
    style = {"color": rs.plots.COLOURS[position], "marker": rs.plots.MARKERS[position]}
    for row, accuracies in enumerate(found):  # a dot for each seed, beside each other
        aside = (position - 1.5) * 0.2 + (row - len(found) / 2) * 0.015
        axes[0].plot(
            np.array([PADDINGS.index(extra) for extra in tried]) + aside,
            100 * accuracies,
            ls="none",
            ms=4,
            label=name if row == 0 else None,
            **style,
        )
    if told and pooling == "mean":
        continue
    axes[1].plot(arriving[pooling, told][:60], ls="-" if told else "--", markersize=4, markevery=6, label=name, **style)
axes[0].axhline(50, color="black", lw=1, ls=":")
axes[0].set(xlabel="padding after the text (steps)", ylabel="accuracy on new examples (%)", ylim=(43, 104))
axes[0].set_xticks(range(len(PADDINGS)), PADDINGS)
axes[0].set_title(f"after training, a dot for each of {len(SEEDS)} seeds (dotted: chance)")
axes[0].legend(frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.4), fontsize=8)
axes[1].set(xlabel="update", ylabel="gradient norm at words 1 and 2", yscale="log", ylim=(1e-8, 2))
axes[1].set_title(f"in training, {PADDINGS[-1]} steps of padding, seed 0")
axes[1].legend(frameon=False, fontsize=8, loc="lower left")
plt.show()

for (pooling, told), norms in arriving.items():
    early = norms[:60]
    name = f"{pooling:4} {'with lengths' if told else 'padding read'}"
    print(f"{name}, 60 updates: gradient at the words between {early.min():.0e} and {early.max():.0e}")
solved = {key: (found > SOLVED) for key, (_, found) in results.items()}
assert solved["last", True].all() and solved["mean", True].all() and (results["mean", False][1] > 0.9).all()
assert solved["last", False][:, 0].all() and solved["last", False][:, -1].mean() <= 0.5

# %% [markdown]
# What to read off:
#
# - With lengths, padding costs nothing. Each seed gets the same accuracy, to the last bit, with none and with the
#   longest.
# - Of the networks that answer from the last state and read the padding, at most half solve the task with the
#   longest. The text is still in the input, but the way from it to the answer leads through one more step for every
#   step of padding. On the right is the gradient that arrives at the two words that matter, in one run. With lengths it
#   is large until the task is solved. Through the padding it falls by orders of magnitude within a few updates, comes
#   back, and falls again: a small change of $U$ is a large change of its hundredth power. So the updates follow no
#   steady direction.
# - From the mean of the states each word has a way of its own to the answer, without a detour through the padding. Its
#   gradient is weaker, since each state counts $1/T$ only, but it arrives. Here every seed ends above 90 %. On a harder
#   task the weaker signal may cost more.
#
# Reading the padding is a well-known cause of "my network stays at 50 % on IMDB": reviews differ greatly in length, and
# were padded at the end to a common one. A gated cell can learn to hold its state over the padding. Does that save it?

# %%
few = SEEDS[:5]
for told, extra in ((True, 0), (False, 20), (False, 100)):
    found = np.array([train("last", told, extra, seed, cell="gru")[0] for seed in few])
    count = int((found > SOLVED).sum())
    name = "with lengths" if told else f"padding read, {extra} steps of it"
    print(f"GRU, last state, {name}: {count} of {len(few)} seeds solve it;", *(100 * found).round().astype(int))
    assert count == (0 if extra == 100 else len(few))

# %% [markdown]
# For a short padding it does. For a long one it does not, in none of the seeds. Give the lengths.

# %% [markdown]
# ## 8. Sorting by length, and what it saves
#
# The library's loop sorts the sequences so that the longest comes first. At step $t$ those still running are then the
# first $n_t$ rows, `h[:n_t]` is a view without a copy, and the step works on these rows only. The number of row-steps
# falls from $T B$ to $\sum_t n_t = \sum_b \text{length}_b$, so
#
# $$\frac{\text{work}}{\text{work with padding}} = \frac{\text{mean length}}{\text{longest length}}.$$

# %%
rng = np.random.default_rng(7)
B = 64
lengths = np.clip(rng.lognormal(np.log(50), 0.6, B).astype(int), 5, 200)  # skewed, as lengths of texts are
T = lengths.max()
running = np.array([(lengths > t).sum() for t in range(T)])  # n_t
assert running.sum() == lengths.sum()
print(f"{B} sequences, mean length {lengths.mean():.1f}, longest {T}")
print(f"rows x steps: {T * B} with padding, {running.sum()} without: {running.sum() / (T * B):.2f} of the work")
np.testing.assert_allclose(running.sum() / (T * B), lengths.mean() / T)

fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, order, title in (
    (axes[0], np.arange(B), "a batch as it comes"),
    (axes[1], np.argsort(-lengths, kind="stable"), "sorted: at each step the first n_t rows run"),
):
    ax.barh(np.arange(B), lengths[order], height=1.0, color=rs.plots.COLOURS[0], label="words")
    ax.barh(np.arange(B), T - lengths[order], left=lengths[order], height=1.0, color="#DDDDDD", label="padding")
    ax.set(xlabel="step t", title=title, xlim=(0, T), ylim=(B - 0.5, -0.5))
axes[0].set_ylabel("row of the batch")
axes[1].step(np.arange(T), running - 0.5, where="post", color=rs.plots.COLOURS[1], lw=2, label="n_t")
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown]
# Does the clock agree? Forward and backward of an LSTM, the best of several runs. The ratio of the times is not
# exactly that of the work, because each step has a fixed cost and small products run less efficiently than large ones.

# %%
timed = rs.LSTM(64, 64, seed=0)
x_time = rng.standard_normal((T, B, 64)).astype("float32")
ones = np.ones((T, B, 64), "float32")


def seconds(lengths):
    start = time.perf_counter()
    timed.forward(x_time, lengths=lengths)
    timed.backward(ones)
    return time.perf_counter() - start


full, ragged = np.min([(seconds(None), seconds(lengths)) for _ in range(3 if QUICK else 10)], axis=0)
print(
    f"with padding {1000 * full:.0f} ms, without {1000 * ragged:.0f} ms: ratio of times {ragged / full:.2f}, ", end=""
)
print(f"of work {lengths.mean() / T:.2f}")

# %% [markdown]
# The other half of the saving is made before the network: put sequences of about the same length into one batch.
# `rs.text.batches.Batches` does so within pools, and still mixes the batches. Share of real words among all places of
# the padded batches:

# %%
many = [np.ones(n, int) for n in np.clip(rng.lognormal(np.log(50), 0.6, 2000).astype(int), 5, 400)]
mixed = rng.permutation(len(many))
as_they_come = [[len(many[k]) for k in mixed[start : start + 64]] for start in range(0, len(many), 64)]
bucketed = [batch.lengths for batch in rs.text.batches.Batches(many, batch_size=64, shuffle=True, seed=0)]
for name, batches in (("batches as they come", as_they_come), ("batches of like length", bucketed)):
    share = sum(map(sum, batches)) / sum(max(batch) * len(batch) for batch in batches)
    print(f"{name:22} {100 * share:.0f} % words")

# %% [markdown]
# ## Exercises
#
# **1.** In a stack of $L$ layers over $T$ steps, how many paths lead from $x_1$ to the top state $h^{(L)}_T$? Count
# them by a program, and find the formula. (`rs.teach.answer("6.1", count)`: for $T = 10$ and $L = 4$.)
#
# <details><summary>Solution</summary>
#
# A path makes $T - 1$ moves in time and $L - 1$ moves up, in any order: $\binom{T - 1 + L - 1}{L - 1}$. For a linear
# network with all weights 1 the derivative of the top state by $x_1$ is exactly this number, so a stack of layers
# checks it.
#
# ```python
# from math import comb
#
#
# def paths(T, L):
#     linear = rs.RNN(1, 1, num_layers=L, activation="relu", dtype="float64", seed=0)
#     for name, array in linear.params.items():
#         array[...] = 0.0 if name.startswith("b") else 1.0
#     linear.forward(np.ones((T, 1, 1)))
#     upstream = np.zeros((T, 1, 1))
#     upstream[-1] = 1.0
#     return linear.backward(upstream)[0][0].item()
#
#
# for T_paths, L_paths in ((2, 2), (5, 3), (10, 4)):
#     assert paths(T_paths, L_paths) == comb(T_paths - 1 + L_paths - 1, L_paths - 1)
# # answer 6.1: round(paths(10, 4))
# ```
#
# </details>
#
# **2.** How many parameters has a bidirectional LSTM with $L$ layers, $n$ inputs and $m$ units in each direction?
# (`rs.teach.answer("6.2", count)`: for $n = 5$, $m = 3$ and $L = 4$.)
#
# <details><summary>Solution</summary>
#
# Two directions; the first layer reads $n$ numbers, all others $2m$: $2 \cdot 4(n + m + 1)m + (L - 1) \cdot 2 \cdot
# 4(2m + m + 1)m$.
#
# ```python
# n, m, layers = 5, 3, 4
# count = 2 * 4 * (n + m + 1) * m + (layers - 1) * 2 * 4 * (2 * m + m + 1) * m
# assert rs.LSTM(n, m, num_layers=layers, bidirectional=True, seed=0).num_params == count
# # answer 6.2: count
# ```
#
# </details>
#
# **3.** A colleague pools with the maximum over all steps of the padded `hs`, where the library puts zeros past the
# end. When is that wrong? Build an example, and mend it. What are the maximum and the mean, done rightly, of one unit
# whose states are -0.5 and -0.2, with one step of padding after them? (`rs.teach.answer("6.3", [largest, mean])`)
#
# <details><summary>Solution</summary>
#
# Where all real states of a unit are negative, the zero of the padding wins. Put $-\infty$ at the padding first. (For
# the mean: divide by the length, not by $T$.)
#
# ```python
# states = np.array([[[-0.5]], [[-0.2]], [[0.0]]])  # (T, B, H); the last step is padding
# assert states.max(axis=0).item() == 0.0
# real = np.arange(3)[:, None, None] < np.array([2])[:, None]
# assert np.where(real, states, -np.inf).max(axis=0).item() == -0.2
# assert rs.kernels.pooling.max_forward(states, np.array([2]))[0].item() == -0.2
# mean = rs.kernels.pooling.mean_forward(states, np.array([2]))[0].item()
# assert np.isclose(mean, -0.35)
# # answer 6.3: [-0.2, mean]
# ```
#
# </details>
#
# **4.** Some put the padding *before* the text. Does the last-state classifier without lengths work then? Why, and
# what is left to be said against it?
#
# <details><summary>Solution</summary>
#
# It works: the last state has just read the text, and the gradient needs no detour. The state at the first word is not
# zero but what the padding left behind, the same work is wasted on padding, and a bidirectional layer has the old
# problem in its other direction.
#
# ```python
# after, _ = train("last", False, 100, seed=0)
# before, _ = train("last", False, 100, seed=0, pad_first=True)
# assert before > 0.95 and before > after + 0.15
# ```
#
# </details>
#
# **5.** Initialise `b_y` and all weights of layer 2 at zero. Which gradients of layer 1 are zero at the first update?
# What does that say about starting a layer at zero? (`rs.teach.answer("6.5", ...)` takes six numbers, 1 for each
# gradient that is all zeros and 0 for the others: $W^{(1)}, U^{(1)}, b^{(1)}, W^{(2)}, U^{(2)}, b^{(2)}$.)
#
# <details><summary>Solution</summary>
#
# $\bar h^{(1)}_t$ from above is $dz^{(2)}_t W^{(2)\top} = 0$, and the stream from the future is made of the same zeros.
# All gradients of layer 1 vanish: nothing below a layer of zeros learns at the first update. In layer 2 itself that of
# $U^{(2)}$ is zero as well, for its input, the states of layer 2, is.
#
# ```python
# stack.params["W_l1"][...] = stack.params["U_l1"][...] = stack.params["b_l1"][...] = 0.0
# stack.forward(inputs)
# stack.backward(np.ones((2, 1, 1)))
# zero = [int(not stack.grads[f"{name}_l{layer}"].any()) for layer in (0, 1) for name in ("W", "U", "b")]
# assert zero == [1, 1, 1, 0, 1, 0]
# # answer 6.5: zero
# ```
#
# </details>
#
# ## Five questions
#
# **1.** Why does layer 1 of a stack get two streams of gradient, and the top layer too?
#
# <details><summary>Answer</summary>
#
# A state of layer 1 is used by layer 2 at the same step and by layer 1 at the next; one of the top layer by the output
# and by its own next step. Every use sends a gradient, and they add up.
#
# ```python
# pair = rs.RNN(2, 3, num_layers=2, dtype="float64", seed=3)
# up_only, _ = pair.forward(np.ones((4, 1, 2)))
# both_streams, _ = pair.backward(np.ones_like(up_only))
# pair.params["U_l0"][...] = pair.params["U_l1"][...] = 0.0  # no future, no stream from it
# pair.forward(np.ones((4, 1, 2)))
# no_future, _ = pair.backward(np.ones_like(up_only))
# assert not np.allclose(both_streams[0], no_future[0])
# ```
#
# </details>
#
# **2.** At which place of `hs` does the backward half know the whole sequence, if its length is 4 of 6 steps?
#
# <details><summary>Answer</summary>
#
# At step 1, `hs[0]`; and it began at the sequence's own last word, step 4, not in the padding.
#
# ```python
# reader = rs.RNN(2, 3, bidirectional=True, dtype="float64", seed=4)
# seen = np.random.default_rng(8).standard_normal((6, 1, 2))
# full, last_states = reader.forward(seen, lengths=np.array([4]))
# np.testing.assert_array_equal(full[0][:, 3:], last_states[1])
# np.testing.assert_array_equal(full[0][:, 3:], reader.forward(seen[:4])[0][0][:, 3:])
# ```
#
# </details>
#
# **3.** Where does dropout between layers act, and where must a fresh mask for each step not act?
#
# <details><summary>Answer</summary>
#
# On the way up, not on the way to the next step: there a memory would survive $T$ steps with probability $(1-p)^T$.
#
# ```python
# assert round((1 - 0.2) ** 30, 4) == 0.0012
# ```
#
# </details>
#
# **4.** A mask multiplies the states; the padding holds NaN. What comes out, and what does the library give?
#
# <details><summary>Answer</summary>
#
# $0 \cdot \mathrm{NaN} = \mathrm{NaN}$. The library never reads the padding.
#
# ```python
# dirty = x_ragged.copy()
# dirty[padding] = np.nan
# assert np.isnan(masked_rnn(dirty, lengths=np.array([4, 6, 1]), W=W, U=U, b=b)[0]).any()
# assert np.isfinite(plain.forward(dirty, lengths=np.array([4, 6, 1]))[0]).all()
# ```
#
# </details>
#
# **5.** Four of four seeds solve a task. What is the 95 % interval of the share of seeds that do?
#
# <details><summary>Answer</summary>
#
# From about a half to 1.
#
# ```python
# low, high = wilson(4, 4)
# assert 0.50 < low < 0.52 and abs(high - 1) < 1e-3
# ```
#
# </details>
#
# ## Read on
#
# - M. Schuster, K. K. Paliwal, *Bidirectional recurrent neural networks*, IEEE Transactions on Signal Processing 1997.
# - A. Graves, J. Schmidhuber, *Framewise phoneme classification with bidirectional LSTM and other neural network
#   architectures*, Neural Networks 2005.
# - A. Graves, A. Mohamed, G. Hinton, *Speech recognition with deep recurrent neural networks*, ICASSP 2013 (arXiv
#   1303.5778): stacks, measured.
# - W. Zaremba, I. Sutskever, O. Vinyals, *Recurrent neural network regularization*, 2014 (arXiv 1409.2329): dropout on
#   the way up.
# - Y. Gal, Z. Ghahramani, *A theoretically grounded application of dropout in recurrent neural networks*, NIPS 2016
#   (arXiv 1512.05287): one mask for all steps.
