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
# # 2. Gradient checking
#
# A wrong gradient does not stop a program. The network learns, only worse, and nobody knows why. So every hand-written
# gradient is compared with a derivative that needs no derivation. This notebook explains how precise such a comparison
# can be, how to read the library's report, and how to find a bug from its traces. You need notebook 1.

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
import inspect

from rnnscratch.teach import mutants, quiz, steps

# %% [markdown]
# ## 1. Differences, and their two errors
#
# The derivative of $f$ at $x$ can be estimated without a formula:
#
# $$\frac{f(x + \varepsilon) - f(x)}{\varepsilon} = f'(x) + \tfrac12 \varepsilon f''(x) + \dots, \qquad
# \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2\varepsilon} = f'(x) + \tfrac16 \varepsilon^2 f'''(x) + \dots$$
#
# The *truncation error* falls with $\varepsilon$; central differences lose it faster. But $f(x + \varepsilon)$ and
# $f(x)$ are rounded to about 16 digits (float64), relative error $u \approx 10^{-16}$, and almost equal. Their
# difference keeps only what differs: the *rounding error* is about $u |f| / \varepsilon$ and **grows** when
# $\varepsilon$ shrinks. For $\tanh$ (Eq. 26), whose derivative is $1 - \tanh^2$ (Eq. 27), at $x = 1$:

# %%
x = 1.0
right = 1 - np.tanh(x) ** 2
print("   eps      forward     error      central     error")
for k in (1, 3, 5, 8, 11, 14):
    eps = 10.0**-k
    forward = (np.tanh(x + eps) - np.tanh(x)) / eps
    central = (np.tanh(x + eps) - np.tanh(x - eps)) / (2 * eps)
    print(f"1e-{k:02}  {forward:.9f}  {abs(forward / right - 1):.0e}  {central:.9f}  {abs(central / right - 1):.0e}")
print(f"right {right:.9f}")

# %% [markdown]
# The best central difference has about 11 right digits, at $\varepsilon \approx u^{1/3} \approx 10^{-5}$. No step size
# gives more.
#
# ## 2. The complex step
#
# Now take an imaginary step. $\tanh$ is analytic, so its Taylor series holds for complex numbers too:
#
# $$f(x + ih) = f(x) + ih f'(x) - \tfrac12 h^2 f''(x) - \dots \qquad\Rightarrow\qquad
# \frac{\operatorname{Im} f(x + ih)}{h} = f'(x) - \tfrac16 h^2 f'''(x) + \dots$$
#
# Nothing is subtracted, so nothing cancels. $h$ may be as small as $10^{-200}$; then $h^2$ is 0 in floating point
# and the derivative is exact to rounding (Squire and Trapp 1998). That is why the kernels of this library also run
# on complex numbers.

# %%
for k in (2, 4, 8, 100, 200):
    estimate = np.tanh(x + 1j * 10.0**-k).imag / 10.0**-k
    print(f"h = 1e-{k:<3}  {estimate:.15f}  error {abs(estimate / right - 1):.0e}")
assert abs(np.tanh(x + 1e-200j).imag / 1e-200 / right - 1) < 1e-15

# %% [markdown]
# ## 3. The U-curve
#
# The same for a whole LSTM: the relative error of a numerical gradient of $U$, against the step size. In float32
# ($u \approx 6 \cdot 10^{-8}$) even the best step leaves an error of several thousandths of a per cent or more, so a
# gradient check in float32 cannot tell a small bug from rounding. **Check in float64; train in float32.**

# %%
layer = rs.LSTM(2, 3, dtype="float64", seed=0)
inputs = np.random.default_rng(0).standard_normal((5, 2, 2))
sizes = 10.0 ** -np.arange(0, 16.5, 1.0 if QUICK else 0.5)
errors = steps.step_size_errors(layer, inputs, sizes=sizes)
for name, values in errors.items():
    print(f"{name:18} best error {values.min():.0e} at step size {sizes[values.argmin()]:.0e}")
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
rs.plots.step_sizes(sizes, errors, ax=ax)
plt.show()
assert errors["complex step"].min() < 1e-14 < errors["central, float64"].min()

# %% [markdown]
# Left of each valley rounding rules, right of it truncation; the slopes are 1 for forward and 2 for central
# differences. The complex step has no left side.
#
# ## 4. A check in one line, and how to read it

# %%
report = rs.check_gradients(layer, inputs, lengths=[5, 3])
report

# %% [markdown]
# - *Relative error* is the largest difference to the complex step over the largest entry of the gradient. About
#   1e-16 is rounding; the tolerance is 1e-12.
# - A row with a *part* looks at one step, one gate or one direction alone: a bug in one of them would be diluted in
#   the whole.
# - The checker draws random upstream gradients for every output **and** for the final state, a random initial state
#   that is not 0, and puts garbage into the padding. Zeros hide bugs: see exercise 2 of notebook 1.
#
# Any function can be checked that returns its output and a *pullback*, which turns the gradient of the output into
# that of the inputs. Here the derivative of the sigmoid (Eqs 24, 25) is applied twice:


# %%
def sigmoid(z):
    y = 0.5 * np.tanh(0.5 * z) + 0.5
    return y, lambda dy: dy * y * (1 - y)


def wrong_sigmoid(z):
    y = 0.5 * np.tanh(0.5 * z) + 0.5
    s = 0.5 * np.tanh(0.5 * y) + 0.5  # the sigmoid of the sigmoid: takes the output for the input
    return y, lambda dy: dy * s * (1 - s)


z = np.array([-2.0, 0.5, 3.0])
assert rs.check_gradients(sigmoid, z).ok
wrong = rs.check_gradients(wrong_sigmoid, z)
print(wrong)
assert not wrong.ok

# %% [markdown]
# ## 5. What a wrong gradient looks like
#
# Before you search the code, look at the *ratio* of the wrong gradient to the right one:
#
# | what you see | what it often is |
# | --- | --- |
# | the same ratio everywhere, such as 0.5 or 1/T | a factor: a mean that was a sum, a forgotten 2 |
# | ratio -1 | a sign |
# | equal to the transposed | `W` for `W.T`; square matrices hide the shape error |
# | zero | a path that nobody walks: a detached state, a forgotten `dstate` |
# | right at the last step, worse the earlier the step | the term from the future (`dhnext`) is lost or wrong |
# | right for T = 1 only | the sum over time |
# | wrong with lengths only | the padding takes part |
#
# The library's checker looks for these and names the cause. `rs.teach.mutants` keeps wrong backward passes that were
# found in real programs. One of them goes back through $U$ where it should go through its transpose, the factor
# $\partial h_t / \partial h_{t-1}$ of Eq. 6:

# %%
print(inspect.getsource(mutants.RecurrenceTransposed))
suspect = mutants.RecurrenceTransposed(2, 3, dtype="float64", seed=0)
report = rs.check_gradients(suspect, inputs)
print(report)
assert report.cause == "transposed recurrence"

# %% [markdown]
# The figures already say it: the gradients of the last step are right (the error of `step 4` of x is rounding), all
# earlier ones are wrong.
#
# ## 6. Find the bug
#
# `rs.teach.quiz` hands out backward passes that are wrong in ways seen in real programs, under a neutral name. You see
# the figures and name the cause; each hint tells a little more.

# %%
game = quiz.Quiz(seed=1)
puzzle = game.next()
print(puzzle)

# %%
print(puzzle.hint())

# %%
print(puzzle.hint())
print(puzzle.hint())

# %% [markdown]
# `puzzle.answer("...")` takes one of these causes:

# %%
for cause, meaning in puzzle.choices.items():
    print(f"{cause:20} {meaning}")

# %% [markdown]
# Think first. Then:

# %%
print(puzzle.solution())

# %% [markdown]
# ## Exercises
#
# **1.** At which step size is the *forward* difference best, in theory and in the U-curve?
#
# <details><summary>Solution</summary>
#
# Truncation is about $\varepsilon$, rounding about $u / \varepsilon$. Their sum is smallest for
# $\varepsilon = \sqrt u \approx 10^{-8}$, with an error of about $10^{-8}$.
#
# ```python
# best = sizes[errors["forward, float64"].argmin()]
# assert 1e-9 < best < 1e-6
# ```
# </details>
#
# **2.** Why does the complex step fail for `abs`, and what does `np.abs` return for a complex number?
#
# <details><summary>Solution</summary>
#
# The absolute value is not analytic. NumPy's is the modulus, a real number, so the imaginary part is 0, whatever
# the derivative. A complex-safe form takes the sign from the real part.
#
# ```python
# assert np.abs(2 + 1e-200j).imag == 0.0
# assert (np.sign((-2 + 1e-200j).real) * (-2 + 1e-200j)).imag / 1e-200 == -1.0
# ```
# </details>
#
# **3.** Somebody checks the mean of the losses over $T$ steps against gradients of their sum. What ratio betrays it?
#
# <details><summary>Solution</summary>
#
# The wrong gradient is $T$ times the right one, for every entry.
#
# ```python
# def mean_of_squares(v):
#     return (v * v).mean(), lambda dy: dy * 2 * v  # of the sum
#
# report = rs.check_gradients(mean_of_squares, np.array([1.0, 2.0, 3.0, 4.0]))
# assert report.cause == "scale" and "4" in report.diagnosis[0]
# ```
# </details>
#
# **4.** Solve two more puzzles without hints: `game.next()`, then `answer(...)`. `game.score()` tells how it went.
#
# <details><summary>Solution</summary>
#
# Every puzzle is different; this is how one is played to its end.
#
# ```python
# another = game.next()
# for cause in another.choices:
#     if another.answer(cause):
#         break
# assert another.solved and game.score()["handed out"] == 2
# ```
# </details>
