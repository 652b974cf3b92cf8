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
# turns out to be a recurrent network, and back-propagation through it to be Baum-Welch's expected counts.
#
# - **Time**: about three hours with the exercises; the machine needs about a minute.
# - **You need** sums and products of probabilities, and Bayes' rule; notebook 1 for section 8 alone.
# - **Afterwards you can** compute the marginals of a chain; run forward-backward and Viterbi with a pencil, and say
#   which question each of them answers; derive Baum-Welch from Jensen's inequality and a Lagrange multiplier; say what
#   a start and the number of states are worth; and read a forward recursion as a recurrent network.
#
# In the learner's edition the lines between `# BLANK` and `# END` are yours to write. What is said of results is
# asserted below, over five draws or more, or says "in this run".

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
import itertools

from rnnscratch import hmm, text

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
model = hmm.CategoricalHMM(2)  # the library's, with the same numbers
model.startprob_, model.transmat_, model.emissionprob_ = start, A, B


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
# different problems:
#
# - **decoding**: given the model, find the path that maximises $P(X \mid Y)$ (Viterbi, section 5);
# - **learning**: find the model that maximises $P(Y)$, summed over *all* paths (Baum-Welch, section 6).
#
# ## 3. The forward recursion
#
# $2^4$ paths are few, $8^{200}$ are not. Sum while you go, as in Eq. 49: $\alpha_t(j) = P(y_1 \dots y_t, X_t = j) =
# b_j(y_t) \sum_i \alpha_{t-1}(i)\, p_{ij}$.


# %%
def step(alpha, y):
    """alpha (N,) after observing y, from that of the step before."""
    # BLANK: alpha of this step, one line
    new = (alpha @ A) * B[:, y]
    # END
    return new


alpha = start * B[:, rings[0]]
for t in range(4):
    if t:
        alpha = step(alpha, rings[t])
    print(f"t={t + 1}  alpha = {alpha.round(7)}")
print(f"P(Y) = {alpha.sum():.7f}")
np.testing.assert_allclose(alpha.sum(), total, rtol=1e-13, err_msg="P(Y), the sum of alpha")
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
    alpha, scaled = step(alpha, y), step(scaled, y)
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
    alphas.append(step(alphas[-1], rings[t]))
# BLANK: beta of steps 3, 2, 1 into the front of betas, and gamma (4, 2)
for t in (3, 2, 1):
    betas.insert(0, A @ (B[:, rings[t]] * betas[0]))
gamma = np.array(alphas) * np.array(betas) / total
# END
xi = np.array([np.outer(alphas[t], B[:, rings[t + 1]] * betas[t + 1]) * A for t in range(3)]) / total
print("gamma: hot, cold")
print(gamma.round(6))
np.testing.assert_allclose(gamma, model.predict_proba(rings), rtol=1e-12, err_msg="gamma")
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
    # BLANK: append to pointers where each state came from; the new delta
    scores = delta[:, None] + np.log(A)
    pointers.append(scores.argmax(axis=0))
    delta = scores.max(axis=0) + np.log(B[:, rings[t]])
    # END
path = [int(delta.argmax())]
for pointer in reversed(pointers):
    path.insert(0, int(pointer[path[0]]))
each_best = gamma.argmax(axis=1).tolist()
print("Viterbi, the best path:       ", "".join(letters[k] for k in path), f"P(X, Y) = {np.exp(delta.max()):.6f}")
print("the best state of each year:  ", "".join(letters[k] for k in each_best), f"P(X, Y) = {joint(each_best):.6f}")
assert model.decode(rings)[1].tolist() == list(max(paths, key=paths.get))
assert path == model.decode(rings)[1].tolist(), f"the path is {path}: look at pointers and delta"
np.testing.assert_allclose(delta.max(), np.log(max(paths.values())), rtol=1e-12, err_msg="delta")
assert model.decode(rings, algorithm="map")[1].tolist() == each_best
_, ax = plt.subplots(figsize=(7.5, 3.8))
rs.plots.trellis(model, rings, tuple(letters), ax=ax)
plt.show()

# %% [markdown]
# Which is better? That depends on what you are paid for. Viterbi decodes the *sequence*: no other rule is right about
# the whole history more often. Posterior decoding takes each year by itself: no other rule has more years right on
# average, though its path as a whole may be improbable, or even impossible (exercise 2). There are $3^4 = 81$
# sequences of four rings, so both can be computed exactly, as sums over all of them:

# %%
whole, years = {"Viterbi": 0.0, "gamma": 0.0}, {"Viterbi": 0.0, "gamma": 0.0}
for seen in itertools.product(range(3), repeat=4):
    chances = {
        x: start[x[0]] * np.prod(A[x[:-1], x[1:]]) * np.prod(B[x, seen]) for x in itertools.product((0, 1), repeat=4)
    }
    for name, algorithm in (("Viterbi", "viterbi"), ("gamma", "map")):
        said = tuple(model.decode(list(seen), algorithm=algorithm)[1].tolist())
        whole[name] += chances[said]
        years[name] += sum(p * np.mean(np.equal(x, said)) for x, p in chances.items())
for name in whole:
    print(f"{name:8} the whole history right: {whole[name]:.3%}, a year right: {years[name]:.3%}")
assert whole["Viterbi"] > whole["gamma"] and years["gamma"] > years["Viterbi"]

# %% [markdown]
# Each is the better one at its own question, by little. How much data does it take to see that? Fifty histories of 200
# years, both decoders on the same ones, the difference with its 95 % interval:

# %%
share = np.empty((50, 2))
for seed in range(50):
    observed, hidden = model.sample(200, random_state=seed)
    decoded = {
        "true": hidden,
        "Viterbi": model.decode(observed)[1],
        "gamma": model.decode(observed, algorithm="map")[1],
    }
    share[seed] = [np.mean(decoded[name] == hidden) for name in ("Viterbi", "gamma")]
difference = share[:, 1] - share[:, 0]
half = 1.96 * difference.std(ddof=1) / np.sqrt(50)
print(f"years right: Viterbi {share[:, 0].mean():.2%}, gamma {share[:, 1].mean():.2%}")
print(f"gamma is better by {difference.mean():+.2%} +- {half:.2%};", end=" ")
print(f"in {(difference > 0).sum()} histories of 50, worse in {(difference < 0).sum()}")
assert abs(difference.mean()) < half  # what decides between the two is the question, not this gain

# %% [markdown]
# Over these 10,000 years the interval still holds 0; from one history nothing could be said. The last of the fifty,
# drawn (red is hot):

# %%
fig, axes = plt.subplots(2, 1, figsize=(10, 4), layout="constrained")
strips = {name: 1 - states[:80] for name, states in decoded.items()}  # cold is 0 here: blue, and hot red
rs.plots.state_strips(strips, ["cold", "hot"], ax=axes[0])
rs.plots.state_posteriors(model.predict_proba(observed)[:80, ::-1], ["cold", "hot"], ax=axes[1])
for ax in axes:
    ax.set_xlabel("time (years)")
plt.show()

# %% [markdown]
# ## 6. Baum-Welch is EM
#
# If the path were known, the best parameters would be counted: transitions from $i$ to $j$ over all from $i$. It is
# not known, but under the old parameters $\theta'$ its distribution is, $w_X = P(X \mid Y, \theta')$: the last column
# of the table of 16 paths. EM takes two steps.
#
# **Jensen.** The logarithm is concave, so the logarithm of a mean is at least the mean of the logarithms:
#
# $$\begin{aligned}
# \log \frac{P(Y \mid \theta)}{P(Y \mid \theta')}
# &= \log \sum_X \frac{P(X, Y \mid \theta)}{P(Y \mid \theta')}
# = \log \sum_X w_X \frac{P(X, Y \mid \theta)}{P(X, Y \mid \theta')} \\
# &\ge \sum_X w_X \log \frac{P(X, Y \mid \theta)}{P(X, Y \mid \theta')} = Q(\theta) - Q(\theta'),
# \qquad Q(\theta) = \sum_X w_X \log P(X, Y \mid \theta)
# \end{aligned}$$
#
# (the second step is $P(Y \mid \theta') = P(X, Y \mid \theta') / w_X$). Whoever raises $Q$ raises the likelihood by at
# least as much.
#
# **Lagrange.** $\log P(X, Y)$ is a sum over steps (Eq. 57), so $Q$ holds row $i$ of the transitions as
# $\sum_j N_{ij} \log p_{ij}$, where $N_{ij} = \sum_t \xi_t(i, j)$ is the expected count. Its maximum under
# $\sum_j p_{ij} = 1$:
#
# $$\frac{\partial}{\partial p_{ij}} \Big[\sum_k N_{ik} \log p_{ik} + \lambda \Big(1 - \sum_k p_{ik}\Big)\Big]
# = \frac{N_{ij}}{p_{ij}} - \lambda = 0
# \;\Rightarrow\; p_{ij} = \frac{N_{ij}}{\lambda}, \qquad \sum_j p_{ij} = 1 \;\Rightarrow\; \lambda = \sum_j N_{ij}$$
#
# and $\sum_j \sum_t \xi_t(i, j) = \sum_t \gamma_t(i)$, over all steps but the last. The rows of $b$ likewise:
#
# $$p_{ij} = \frac{\sum_{t<T} \xi_t(i, j)}{\sum_{t<T} \gamma_t(i)}, \qquad
# b_{ik} = \frac{\sum_{t:\, y_t = k} \gamma_t(i)}{\sum_t \gamma_t(i)}$$
#
# One step by hand on the four rings:

# %%
# BLANK: new_A (2, 2) and new_B (2, 3) from gamma and xi
new_A = xi.sum(axis=0) / gamma[:3].sum(axis=0)[:, None]
new_B = np.array([gamma[np.array(rings) == k].sum(axis=0) for k in range(3)]).T / gamma.sum(axis=0)[:, None]
# END
print("P(i -> j):\n", new_A.round(6), "\nb_ik:\n", new_B.round(6), "\nstart:", gamma[0].round(6))
learner = hmm.CategoricalHMM(2, n_iter=1, init_params="")
learner.startprob_, learner.transmat_, learner.emissionprob_ = start.copy(), A.copy(), B.copy()
learner.fit(rings)
np.testing.assert_allclose(new_A, learner.transmat_, rtol=1e-10, err_msg="new_A")
np.testing.assert_allclose(new_B, learner.emissionprob_, rtol=1e-10, err_msg="new_B")
print(f"log P(Y): {np.log(total):.6f} before, {learner.score(rings):.6f} after")
assert learner.score(rings) > np.log(total)

# %% [markdown]
# The same from the 16 paths, with nothing but the table: the counts $N_{ij}$, Jensen's two sides, and the maximum
# against a hundred other rows.

# %%
weight = {path: p / total for path, p in paths.items()}
counts = np.zeros((2, 2))
for path, w in weight.items():
    for i, j in itertools.pairwise(path):
        counts[i, j] += w
np.testing.assert_allclose(counts, xi.sum(axis=0), rtol=1e-12)


def Q(first, A, B):
    """The mean of log P(X, Y) over the 16 paths, weighted under the old parameters."""
    return sum(
        w * (np.log(first[x[0]]) + np.log(A[x[:-1], x[1:]]).sum() + np.log(B[x, rings]).sum())
        for x, w in weight.items()
    )


gain_Q = Q(gamma[0], new_A, new_B) - Q(start, A, B)
gain = learner.score(rings) - np.log(total)
print("expected transitions N:\n", counts.round(6), f"\nlambda of each row: {counts.sum(axis=1).round(6)}")
print(f"Q rises by {gain_Q:.6f}, log P(Y) by {gain:.6f}")
assert 0 < gain_Q < gain
others = np.random.default_rng(0).dirichlet([1, 1], size=(100, 2))
assert max((counts * np.log(each)).sum() for each in others) < (counts * np.log(new_A)).sum()

# %% [markdown]
# The likelihood never falls, but EM climbs to a hilltop near its start, and not every hilltop is the highest. To have
# several, we fit *three* states to 400 years of two: so there is more to fit than there is to find, and the best of
# them is above the true model's own likelihood. Each start runs until a step gains less than $10^{-6}$, which takes up
# to thousands of steps; who stops after a hundred compares unfinished climbs, not hilltops.

# %%
observed, _ = model.sample(400, random_state=0)
trials = []
for seed in range(4 if QUICK else 8):
    each = hmm.CategoricalHMM(3, n_iter=20000, init="random", random_state=seed, tol=1e-4 if QUICK else 1e-6)
    trials.append(each.fit(observed))
    assert each.monitor_.converged and (np.diff(each.monitor_.history) > -1e-8).all()
histories = [list(each.monitor_.history) for each in trials]
ends = np.array([history[-1] for history in histories])
hilltops, starts = np.unique(ends.round(2), return_counts=True)
print(f"the true model: {model.score(observed):.3f}")
for height, count in zip(hilltops[::-1], starts[::-1]):
    print(f"hilltop {height:.2f}, reached by {count} of {len(ends)} starts")
print("steps:", [len(history) for history in histories])
assert len(hilltops) > 1 and ends.max() > model.score(observed)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
rs.plots.em_objective(histories, ax=ax)
plt.show()

# %% [markdown]
# ### How many states?
#
# More states never fit worse, so the likelihood cannot choose their number. The Bayesian information criterion charges
# for each of the $k$ free numbers: $\mathrm{BIC} = k \log n - 2 \log P(Y)$, the least is best. (It is a rule of thumb
# here: its derivation needs a likelihood that is regular at the truth, and one with a state too many is not.) For five
# draws of 400 years each: from Stamp's climate, and from one whose spells last 20 years instead of about three.

# %%
lasting = hmm.CategoricalHMM(2)
lasting.startprob_, lasting.transmat_, lasting.emissionprob_ = start, np.array([[0.95, 0.05], [0.05, 0.95]]), B
for name, truth in (("Stamp's climate", model), ("lasting spells", lasting)):
    print(f"{name}: BIC with 1, 2, 3 states")
    for seed in range(5):
        years_seen, _ = truth.sample(400, random_state=seed)
        fits = [
            hmm.CategoricalHMM(N, n_iter=200, init="random", random_state=0, tol=1e-2, n_init=4 if N > 1 else 1)
            for N in (1, 2, 3)
        ]
        values = [fit.fit(years_seen).bic(years_seen) for fit in fits]
        print(f"   draw {seed}: " + "  ".join(f"{value:7.1f}" for value in values), " best:", 1 + np.argmin(values))
        assert np.argmin(values) == (0 if truth is model else 1)

# %% [markdown]
# It finds both states where spells are long. In Stamp's own climate it finds **one**, in each of the five draws: the
# states change so often and their rings overlap so much that 400 rings do not show that there are two. The true number
# of states is not always the one that the data can pay for.
#
# ### What two states make of English
#
# Stamp's other example (after Cave and Neuwirth): let an HMM with two states read English, letter by letter, 27
# symbols, no word about what letters are. Each of ten random starts climbs until a step gains less than 0.01.

# %%
letters_of = " abcdefghijklmnopqrstuvwxyz"
reviews = text.load_imdb(progress=False).train.texts[:60]
cleaned = "".join(c if c in letters_of else " " for c in " ".join(reviews).replace("<br />", " ").lower())
english = " ".join(cleaned.split())[:20000]
symbols = np.array([letters_of.index(c) for c in english])
print(english[:70], "...")
readers = [
    hmm.CategoricalHMM(2, n_iter=500, init="random", random_state=seed, tol=1e-2).fit(symbols, [200] * 100)
    for seed in range(10)
]
heights = np.array([reader.monitor_.history[-1] for reader in readers])
best = readers[int(heights.argmax())]
vowel = int(best.emissionprob_[:, letters_of.index("e")].argmax())
group = {letters_of[k] for k in range(27) if best.emissionprob_[vowel, k] > best.emissionprob_[1 - vowel, k]}
print("log-likelihood of each start:", heights.round().astype(int).tolist())
print("more probable in the one state:", " ".join(sorted(group)).replace("  ", "(space) ", 1))
print(
    "transitions, from and to the other state first:\n",
    best.transmat_[[1 - vowel, vowel]][:, [1 - vowel, vowel]].round(3),
)
assert set("aeiou") < group and not group & set("bcdfghjklmnpqrstvwxz")

fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
places = np.arange(27)
for shift, state, name in ((-0.2, vowel, "state of e"), (0.2, 1 - vowel, "the other")):
    colour, hatch = (rs.plots.COLOURS[1], "") if state == vowel else (rs.plots.COLOURS[0], "//")
    ax.bar(places + shift, best.emissionprob_[state], 0.4, color=colour, hatch=hatch, edgecolor="white", label=name)
ax.set(xticks=places, ylabel="P(letter | state)", title="what each state writes (_: space)")
ax.set_xticklabels(["_", *letters_of[1:]])
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The best start has found the vowels, and puts the space with them: what the two kinds of signs have in common is only
# that each likes to follow the other. Not every start gets there in this run; the likelihood says which to believe.

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
# **1.** In Rabiner's weather the sun shines today. How likely is it that this is the first of exactly three sunny days
# in a row? (`rs.teach.answer("8.1", p)`)
#
# <details><summary>Solution</summary>
#
# $0.8^2 \cdot 0.2 = 0.128$: sun twice more, then not.
#
# ```python
# three = sum(chain.probability([2, 2, 2, k]) for k in (0, 1))
# np.testing.assert_allclose(three, 0.8**2 * 0.2, rtol=1e-13)
# # answer 8.1: three
# ```
# </details>
#
# **2.** Let some transitions be impossible. Which of the two decoders can return a path that cannot happen? Find
# data for which it does. (`rs.teach.answer("8.2", "...")` takes the decoder's name.)
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
# # answer 8.2: {"gamma", "map", "posterior", "posterior decoding", "posterior decoder"}
# ```
# </details>
#
# **3.** What is $\sum_{i,j} \sum_t \xi_t(i, j)$, and why? (`rs.teach.answer("8.3", n)`: for the four rings.)
#
# <details><summary>Solution</summary>
#
# $T - 1 = 3$: in every path that many transitions are made.
#
# ```python
# np.testing.assert_allclose(xi.sum(), 3, rtol=1e-13)
# # answer 8.3: len(rings) - 1.0
# ```
# </details>
#
# **4.** The second year's ring is lost. How does the forward recursion deal with it? How probable are the three rings
# that are left? (`rs.teach.answer("8.4", p)`)
#
# <details><summary>Solution</summary>
#
# It sums over all that the ring may have been, and the emissions of a state sum to 1: the step is $\alpha A$ alone.
# That makes 0.035643. The library takes -1 for a missing symbol.
#
# ```python
# lost = ((alphas[0] @ A) @ A * B[:, 0]) @ A * B[:, 2]
# np.testing.assert_allclose(np.exp(model.score([0, -1, 0, 2])), lost.sum(), rtol=1e-12)
# # answer 8.4: lost.sum()
# ```
# </details>
#
# ## Five questions
#
# **1.** A chain has $P_{11} = 0.9$. How long does a stay in state 1 last on average?
#
# <details><summary>Answer</summary>
#
# $1 / (1 - 0.9) = 10$ steps.
#
# ```python
# stay = hmm.MarkovChain()
# stay.startprob_, stay.transmat_ = np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.5, 0.5]])
# np.testing.assert_allclose(stay.mean_durations()[0], 10.0)
# ```
# </details>
#
# **2.** What do filter, $\gamma$ and Viterbi each answer, and which of them agree at the last step?
#
# <details><summary>Answer</summary>
#
# The filter is $p(X_t \mid y_1 \dots y_t)$, $\gamma$ is $p(X_t \mid y_1 \dots y_T)$, Viterbi the best path as a
# whole. At $t = T$ filter and $\gamma$ are the same, for no future is left.
#
# ```python
# np.testing.assert_allclose(model.filter(rings)[-1], model.predict_proba(rings)[-1], rtol=1e-12)
# assert not np.allclose(model.filter(rings)[0], model.predict_proba(rings)[0])
# ```
# </details>
#
# **3.** How many numbers are free in an HMM with $N$ states and $M$ symbols?
#
# <details><summary>Answer</summary>
#
# $(N - 1) + N(N - 1) + N(M - 1)$: each row sums to 1. BIC's charge shows it.
#
# ```python
# n = len(observed)
# k = (model.bic(observed) + 2 * model.score(observed)) / np.log(n)
# np.testing.assert_allclose(k, 1 + 2 * 1 + 2 * 2)
# ```
# </details>
#
# **4.** Baum-Welch starts with $p_{12} = 0$. What is $p_{12}$ when it ends?
#
# <details><summary>Answer</summary>
#
# Still 0: a transition that cannot happen is never counted.
#
# ```python
# stuck = hmm.CategoricalHMM(2, n_iter=20, init_params="")
# stuck.startprob_, stuck.emissionprob_ = start.copy(), B.copy()
# stuck.transmat_ = np.array([[1.0, 0.0], [0.5, 0.5]])
# assert stuck.fit(observed).transmat_[0, 1] == 0
# ```
# </details>
#
# **5.** When is Jensen's inequality an equality?
#
# <details><summary>Answer</summary>
#
# Where $P(X, Y \mid \theta) / P(X, Y \mid \theta')$ is the same for all paths, as at $\theta = \theta'$: there both
# sides are 0. So at a fixed point of EM neither side has anything to gain.
#
# ```python
# assert Q(start, A, B) - Q(start, A, B) == 0.0
# ratio = {x: np.prod(new_A[x[:-1], x[1:]]) / np.prod(A[x[:-1], x[1:]]) for x in paths}
# assert max(ratio.values()) > 1.5 * min(ratio.values())  # not constant: the inequality was strict
# ```
# </details>
#
# ## Read on
#
# - L. R. Rabiner, *A tutorial on hidden Markov models and selected applications in speech recognition*, Proceedings of
#   the IEEE 1989: the weather, and all recursions.
# - M. Stamp, *A revealing introduction to hidden Markov models*: the tree rings, and the letters of English.
# - L. E. Baum, T. Petrie, G. Soules, N. Weiss, *A maximization technique occurring in the statistical analysis of
#   probabilistic functions of Markov chains*, Annals of Mathematical Statistics 1970.
# - A. P. Dempster, N. M. Laird, D. B. Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, Journal of
#   the Royal Statistical Society B 1977.
# - A. J. Viterbi, *Error bounds for convolutional codes and an asymptotically optimum decoding algorithm*, IEEE
#   Transactions on Information Theory 1967.
# - G. Schwarz, *Estimating the dimension of a model*, Annals of Statistics 1978: BIC.
