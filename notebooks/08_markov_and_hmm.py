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
# # 8. Markov chains and hidden Markov models
#
# Before networks there were Markov models, and they are recurrent too. This notebook goes from a chain whose states
# are seen to one whose states are hidden: forward-backward, Viterbi, Baum-Welch. At the end the forward recursion
# turns out to be a recurrent network, and back-propagation through it to be Baum-Welch's expected counts. You need
# sums of probabilities, and notebook 1 for the last section.

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
import itertools

from rnnscratch import hmm

# %% [markdown]
# ## 1. A chain: joint probability and marginals
#
# The states come from a set $S = \{s_1, \dots, s_N\}$ (Eq. 43). The next one depends on the present one alone, not on
# the way there (Eq. 44), by the transition probabilities $P_{ij} = P(s_{t+1} = j \mid s_t = i)$ (Eq. 45): one row for
# each state, rows sum to 1. So the joint probability of a sequence (Eq. 46) is a product:
#
# $$P(s_1, \dots, s_T) = P(s_1) \prod_{t=1}^{T-1} P(s_{t+1} \mid s_t) \qquad\text{(Eq. 47)}$$
#
# Rabiner's weather: 0 rain, 1 clouds, 2 sun. Today the sun shines. How likely are sun, sun, rain, rain, sun, clouds,
# sun on the next seven days?

# %%
P = np.array([[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
chain = hmm.MarkovChain()
chain.startprob_, chain.transmat_ = np.array([0.0, 0.0, 1.0]), P
days = [2, 2, 2, 0, 0, 2, 1, 2]
factors = [1.0] + [P[a, b] for a, b in itertools.pairwise(days)]
print(" * ".join(f"{factor:g}" for factor in factors), f"= {np.prod(factors):.4e}")
np.testing.assert_allclose(chain.probability(days), np.prod(factors), rtol=1e-13)

# %% [markdown]
# The marginal $\pi_t(s_j) = P(s_t = s_j)$ (Eq. 48) sums over all ways to $j$. One step at a time that costs $N^2$
# products, not $N^T$:
#
# $$\pi_{t+1}(s_j) = \sum_i \pi_t(s_i)\, P_{ij} \qquad\text{(Eq. 49)}$$
#
# If every state can be reached from every other and returns are not periodic, $\pi_t$ converges to the one
# distribution with $\pi = \pi P$ (Eq. 50), whatever the start:

# %%
pi = np.array([0.0, 0.0, 1.0])
for t in range(1, 5):
    print(f"t={t}  {pi.round(6)}")
    np.testing.assert_allclose(chain.marginal(t), pi, rtol=1e-13)
    pi = pi @ P  # Eq. 49
print(f"t=60 {chain.marginal(60).round(6)}")
print(f"stationary {chain.stationary().round(6)}, times P {(chain.stationary() @ P).round(6)}")
print(f"a spell of rain, clouds, sun lasts {chain.mean_durations().round(3)} days on average: 1 / (1 - P_ii)")
np.testing.assert_allclose(chain.stationary() @ P, chain.stationary(), rtol=1e-14)

# %%
flip = hmm.MarkovChain()
flip.startprob_, flip.transmat_ = np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
print("a chain of period", flip.period(), "does not converge:", [flip.marginal(t).tolist() for t in (1, 2, 3, 4)])

# %% [markdown]
# ## 2. Hidden states
#
# Now the states $\mathcal X$ (Eq. 51) are hidden and emit observations from $\mathcal Y$ (Eq. 52). The transitions
# $p_{ij}$ are as before (Eqs 53, 54); the emission matrix $b_{ik} = P(Y_t = o_k \mid X_t = s_i)$ (Eqs 55, 56) has a
# row for each state. (The last row of Eq. 55 is printed $b_{m1} \dots b_{mm}$; it is $b_{n1} \dots b_{nm}$.) The joint
# probability:
#
# $$P(X, Y) = P(X_1) \prod_{t=1}^{T-1} P(X_{t+1} \mid X_t) \prod_{t=1}^{T} P(Y_t \mid X_t) \qquad\text{(Eq. 57)}$$
#
# Stamp's example: were the years hot (H) or cold (C)? We see only tree rings: small 0, medium 1, large 2.

# %%
A = np.array([[0.7, 0.3], [0.4, 0.6]])
B = np.array([[0.1, 0.4, 0.5], [0.7, 0.2, 0.1]])
start = np.array([0.6, 0.4])
rings = [0, 1, 0, 2]
letters = "HC"


def joint(path):
    p = start[path[0]] * B[path[0], rings[0]]
    for t in range(1, len(rings)):
        p *= A[path[t - 1], path[t]] * B[path[t], rings[t]]
    return p


paths = {path: joint(path) for path in itertools.product((0, 1), repeat=4)}
total = sum(paths.values())
for path, p in paths.items():
    print("".join(letters[k] for k in path), f"P(X, Y) = {p:.6f}   P(X | Y) = {p / total:.4f}")
print(f"P(Y), the sum of all: {total:.7f}")

# %% [markdown]
# "The goal is to maximise the joint probability", says the report at Eq. 57. There are two goals, and they are
# different:
#
# - **decoding**: given the model, find the path that maximises $P(X \mid Y)$ (Viterbi, section 5);
# - **learning**: find the model that maximises $P(Y)$, summed over *all* paths (Baum-Welch, section 6).
#
# ## 3. The forward recursion
#
# $2^4$ paths are few, $8^{200}$ are not. Sum while you go, as in Eq. 49: $\alpha_t(j) = P(y_1 \dots y_t, X_t = j) =
# b_j(y_t) \sum_i \alpha_{t-1}(i)\, p_{ij}$.

# %%
alpha = start * B[:, rings[0]]
for t in range(4):
    if t:
        alpha = (alpha @ A) * B[:, rings[t]]
    print(f"t={t + 1}  alpha = {alpha.round(7)}")
print(f"P(Y) = {alpha.sum():.7f}")
np.testing.assert_allclose(alpha.sum(), total, rtol=1e-13)

model = hmm.CategoricalHMM(2)
model.startprob_, model.transmat_, model.emissionprob_ = start, A, B
np.testing.assert_allclose(np.exp(model.score(rings)), total, rtol=1e-13)

# %% [markdown]
# Probabilities of long sequences are too small for a float, so the library divides $\alpha_t$ by its sum at every
# step. The sums are $p(y_t \mid y_1 \dots y_{t-1})$ and their logarithms add up to $\log P(Y)$; the scaled $\alpha_t$
# is the *filter*, $p(X_t \mid y_1 \dots y_t)$.

# %%
long = rings * 500
alpha = start * B[:, long[0]]
scaled, log_likelihood = alpha / alpha.sum(), np.log(alpha.sum())
for y in long[1:]:
    alpha = (alpha @ A) * B[:, y]
    scaled = (scaled @ A) * B[:, y]
    log_likelihood += np.log(scaled.sum())
    scaled /= scaled.sum()
print(f"2,000 years: alpha = {alpha}, log P(Y) by scaling = {log_likelihood:.6f}")
np.testing.assert_allclose(model.score(long), log_likelihood, rtol=1e-12)
np.testing.assert_allclose(model.filter(long)[-1], scaled, rtol=1e-10)

# %% [markdown]
# ## 4. Backwards: what was the state?
#
# The filter knows the past alone. $\beta_t(i) = P(y_{t+1} \dots y_T \mid X_t = i) = \sum_j p_{ij}\, b_j(y_{t+1})\,
# \beta_{t+1}(j)$ brings the future, and
#
# $$\gamma_t(i) = P(X_t = i \mid Y) = \frac{\alpha_t(i)\, \beta_t(i)}{P(Y)}, \qquad
# \xi_t(i, j) = P(X_t = i, X_{t+1} = j \mid Y) = \frac{\alpha_t(i)\, p_{ij}\, b_j(y_{t+1})\, \beta_{t+1}(j)}{P(Y)}$$

# %%
alphas, betas = [start * B[:, rings[0]]], [np.ones(2)]
for t in (1, 2, 3):
    alphas.append((alphas[-1] @ A) * B[:, rings[t]])
for t in (3, 2, 1):
    betas.insert(0, A @ (B[:, rings[t]] * betas[0]))
gamma = np.array(alphas) * np.array(betas) / total
xi = np.array([np.outer(alphas[t], B[:, rings[t + 1]] * betas[t + 1]) * A for t in range(3)]) / total
print("gamma: hot, cold")
print(gamma.round(6))
np.testing.assert_allclose(model.predict_proba(rings), gamma, rtol=1e-12)
np.testing.assert_allclose(xi.sum(axis=2), gamma[:3], rtol=1e-12)
by_enumeration = sum(p for path, p in paths.items() if path[1] == 0) / total
print(f"gamma of H in year 2 from the table of all paths: {by_enumeration:.6f}")
np.testing.assert_allclose(gamma[1, 0], by_enumeration, rtol=1e-12)

# %% [markdown]
# ## 5. Viterbi against posterior decoding
#
# The most probable *path*: put a maximum in the place of the sum, and remember where it came from. The report ends
# section 2.2.7 with "the probability of the system in a specific hidden state is calculated using the Viterbi
# algorithm". It is not: Viterbi gives one path. The probabilities are $\gamma$. And the two may disagree:

# %%
delta = np.log(start * B[:, rings[0]])
pointers = []
for t in (1, 2, 3):
    scores = delta[:, None] + np.log(A)
    pointers.append(scores.argmax(axis=0))
    delta = scores.max(axis=0) + np.log(B[:, rings[t]])
path = [int(delta.argmax())]
for pointer in reversed(pointers):
    path.insert(0, int(pointer[path[0]]))
each_best = gamma.argmax(axis=1).tolist()
print("Viterbi, the best path:       ", "".join(letters[k] for k in path), f"P(X, Y) = {np.exp(delta.max()):.6f}")
print("the best state of each year:  ", "".join(letters[k] for k in each_best), f"P(X, Y) = {joint(each_best):.6f}")
assert model.decode(rings)[1].tolist() == path == list(max(paths, key=paths.get))
assert model.decode(rings, algorithm="map")[1].tolist() == each_best

# %% [markdown]
# Which is better? CCCH is the one history that is most probable as a whole; CHCH has more years right on average. If
# some transition is impossible, the second may even be a path that cannot happen. Over 200 simulated years:

# %%
observed, hidden = model.sample(200, random_state=3)
decoded = {"true": hidden, "Viterbi": model.decode(observed)[1], "gamma": model.decode(observed, algorithm="map")[1]}
for name in ("Viterbi", "gamma"):
    print(f"{name}: {np.mean(decoded[name] == hidden):.1%} of the years right")
fig, axes = plt.subplots(2, 1, figsize=(10, 4), layout="constrained")
rs.plots.state_strips({name: states[:80] for name, states in decoded.items()}, ["hot", "cold"], ax=axes[0])
rs.plots.state_posteriors(model.predict_proba(observed)[:80], ["hot", "cold"], ax=axes[1])
plt.show()

# %% [markdown]
# ## 6. Baum-Welch is EM
#
# If the path were known, the best parameters would be counted: transitions from $i$ to $j$ over all from $i$. It is
# not known, but its distribution is. For any model with old parameters $\theta'$ let $Q(\theta) = \sum_X P(X \mid Y,
# \theta') \log P(X, Y \mid \theta)$. Since the logarithm is concave, $\log P(Y \mid \theta) - \log P(Y \mid \theta')
# \ge Q(\theta) - Q(\theta')$: whoever raises $Q$ raises the likelihood. $\log P(X, Y)$ is a sum over steps (Eq. 57),
# so $Q$ needs only the expected counts, and with a Lagrange multiplier for "rows sum to 1" its maximum is
#
# $$p_{ij} = \frac{\sum_t \xi_t(i, j)}{\sum_t \gamma_t(i)}, \qquad
# b_{ik} = \frac{\sum_{t:\, y_t = k} \gamma_t(i)}{\sum_t \gamma_t(i)}$$
#
# One step by hand on the four rings:

# %%
new_A = xi.sum(axis=0) / gamma[:3].sum(axis=0)[:, None]
new_B = np.array([gamma[np.array(rings) == k].sum(axis=0) for k in range(3)]).T / gamma.sum(axis=0)[:, None]
print("P(i -> j):\n", new_A.round(6), "\nb_ik:\n", new_B.round(6), "\nstart:", gamma[0].round(6))
learner = hmm.CategoricalHMM(2, n_iter=1, init_params="")
learner.startprob_, learner.transmat_, learner.emissionprob_ = start.copy(), A.copy(), B.copy()
learner.fit(rings)
np.testing.assert_allclose(learner.transmat_, new_A, rtol=1e-10)
np.testing.assert_allclose(learner.emissionprob_, new_B, rtol=1e-10)
print(f"log P(Y): {np.log(total):.6f} before, {learner.score(rings):.6f} after")
assert learner.score(rings) > np.log(total)

# %% [markdown]
# The likelihood never falls, but EM climbs to the next hilltop only. Eight random starts on the same data:

# %%
observed, _ = model.sample(400, random_state=0)
histories = []
for seed in range(8):
    trial = hmm.CategoricalHMM(3, n_iter=30 if QUICK else 150, init="random", random_state=seed, tol=1e-9).fit(observed)
    histories.append(list(trial.monitor_.history))
    assert (np.diff(histories[-1]) > -1e-8).all()
print("log-likelihood reached:", ", ".join(f"{history[-1]:.3f}" for history in histories))
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
rs.plots.em_objective(histories, ax=ax)
plt.show()

# %% [markdown]
# ## 7. Numbers in the place of symbols: mixtures
#
# With real-valued observations each state has a density. A mixture of $k$ Gaussians can have any shape:
#
# $$p(x_t \mid z_t = q_j) = \sum_{l=1}^k c_{jl}\, \mathcal N(x_t \mid \mu_{jl}, \Sigma_{jl}) \qquad\text{(Eq. 58)}$$
#
# (Before Eq. 58 the report writes $b_j(x) = p(x \mid z = q_i)$; the state must be $q_j$.) Eq. 59 is printed as $p(X)$,
# but with the states in it, it is $p(X, Z)$; $p(X)$ sums it over all $Z$. On three steps:

# %%
mixture = hmm.GMMHMM(2, n_mix=2, covariance_type="diag")
mixture.startprob_, mixture.transmat_ = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.2, 0.8]])
mixture.weights_ = np.array([[0.3, 0.7], [0.5, 0.5]])
mixture.means_ = np.array([[[-2.0], [0.0]], [[1.0], [4.0]]])
mixture.covars_ = np.array([[[0.5], [1.0]], [[1.0], [0.25]]])
x = np.array([[0.2], [-1.5], [3.5]])


def density(value, state):
    normal = np.exp(-((value - mixture.means_[state, :, 0]) ** 2) / 2 / mixture.covars_[state, :, 0])
    return float((mixture.weights_[state] * normal / np.sqrt(2 * np.pi * mixture.covars_[state, :, 0])).sum())  # Eq. 58


p_of_x = 0.0
for z in itertools.product((0, 1), repeat=3):
    p = mixture.startprob_[z[0]] * mixture.transmat_[z[0], z[1]] * mixture.transmat_[z[1], z[2]]
    p_of_x += p * np.prod([density(x[t, 0], z[t]) for t in range(3)])  # Eq. 59, summed over Z
print(f"p(X) = {p_of_x:.8f}, log p(X) = {np.log(p_of_x):.6f}")
np.testing.assert_allclose(mixture.score(x), np.log(p_of_x), rtol=1e-12)

data, _ = mixture.sample(300 if QUICK else 2000, random_state=0)
found = hmm.GMMHMM(2, n_mix=2, covariance_type="diag", random_state=0, n_init=2 if QUICK else 5).fit(data)
print(f"log-likelihood: true model {mixture.score(data):.1f}, learned {found.score(data):.1f}")
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, each, title in ((axes[0], mixture, "true"), (axes[1], found, "learned (states may change places)")):
    rs.plots.transitions(each.transmat_, ax=ax)
    ax.set_title(title)
plt.show()

# %% [markdown]
# ## 8. The HMM as a recurrent network, and Fisher's identity
#
# Look at the forward recursion again: $\alpha_t = (\alpha_{t-1} A) \odot b(y_t)$. A state, multiplied by a matrix at
# every step and combined with the input: a recurrent network, with a gate in the place of a bias and no squashing. So
# $\log P(Y)$ can be differentiated by back-propagation through time. What comes out?
#
# By Fisher's identity $\frac{\partial \log P(Y)}{\partial \theta} = \mathbb E\left[\frac{\partial \log P(X,
# Y)}{\partial \theta} \,\middle|\, Y\right]$, and $\log P(X, Y)$ is a sum of $\log p_{ij}$ over the transitions made.
# So with respect to $\log p_{ij}$ the gradient is the **expected number of transitions**, $\sum_t \xi_t(i, j)$:
# exactly what Baum-Welch counts. The backward pass of BPTT *is* the $\beta$ recursion.

# %%
# forward, keeping the states; then one pass back, as in notebook 1
states = [start * B[:, rings[0]]]
for y in rings[1:]:
    states.append((states[-1] @ A) * B[:, y])
d_state = np.ones(2) / states[-1].sum()  # d log P(Y) / d alpha_T
dA = np.zeros((2, 2))
for t in (3, 2, 1):
    d_pre = d_state * B[:, rings[t]]  # through the product with b
    dA += np.outer(states[t - 1], d_pre)  # the sum over time
    d_state = A @ d_pre  # back one step
print("A * d log P(Y) / dA, by BPTT:\n", (A * dA).round(6))
print("expected transitions, by forward-backward:\n", xi.sum(axis=0).round(6))
np.testing.assert_allclose(A * dA, xi.sum(axis=0), rtol=1e-12)
np.testing.assert_allclose(d_state * total, betas[0], rtol=1e-12)


def log_likelihood_of(A):
    alpha = start * B[:, rings[0]]
    for y in rings[1:]:
        alpha = (alpha @ A) * B[:, y]
    return np.log(alpha.sum())


for i, j in itertools.product((0, 1), repeat=2):  # the complex step of notebook 2 agrees
    moved = A.astype(complex)
    moved[i, j] += 1e-200j
    np.testing.assert_allclose(log_likelihood_of(moved).imag / 1e-200, dA[i, j], rtol=1e-12)

# %% [markdown]
# What is different from an RNN? The HMM's state is a probability distribution over $N$ alternatives, so it remembers
# at most $\log_2 N$ bits; a network's $m$ units hold $m$ numbers. In return every number of the HMM means something,
# learning needs no learning rate, and missing data can be summed over.
#
# ## Exercises
#
# **1.** In Rabiner's weather, how likely is it that the sun shines on exactly three days in a row, then not?
#
# <details><summary>Solution</summary>
#
# Given sun today: $0.8^2 \cdot 0.2$.
#
# ```python
# three = sum(chain.probability([2, 2, 2, k]) for k in (0, 1))
# np.testing.assert_allclose(three, 0.8**2 * 0.2, rtol=1e-13)
# ```
# </details>
#
# **2.** Let some transitions be impossible. Which of the two decoders can return a path that cannot happen? Find
# data for which it does.
#
# <details><summary>Solution</summary>
#
# The one that takes the best state of each step. Below, state 0 is the best at both steps, but cannot follow itself.
#
# ```python
# strict = hmm.CategoricalHMM(3)
# strict.startprob_ = np.array([0.4, 0.3, 0.3])
# strict.transmat_ = np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
# strict.emissionprob_ = np.ones((3, 1))
# best_each = strict.decode([0, 0], algorithm="map")[1]
# assert strict.transmat_[tuple(best_each)] == 0 < strict.transmat_[tuple(strict.decode([0, 0])[1])]
# ```
# </details>
#
# **3.** What is $\sum_{i,j} \sum_t \xi_t(i, j)$, and why?
#
# <details><summary>Solution</summary>
#
# $T - 1$: in every path that many transitions are made.
#
# ```python
# np.testing.assert_allclose(xi.sum(), 3, rtol=1e-13)
# ```
# </details>
#
# **4.** The second year's ring is lost. How does the forward recursion deal with it?
#
# <details><summary>Solution</summary>
#
# It sums over all that the ring may have been, and the emissions of a state sum to 1: the step is $\alpha A$ alone.
# The library takes -1 for a missing symbol.
#
# ```python
# lost = ((alphas[0] @ A) @ A * B[:, 0]) @ A * B[:, 2]
# np.testing.assert_allclose(np.exp(model.score([0, -1, 0, 2])), lost.sum(), rtol=1e-12)
# ```
# </details>
