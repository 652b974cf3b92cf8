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
# can be, lets you write a checker of your own, and shows how to find a bug from its traces.
#
# - **Time**: about two hours with the exercises; the machine needs about ten seconds.
# - **You need** notebook 1, sections 1 to 7 and 12; letters are those of its table.
# - **Afterwards you can** say which step size is best and why; check a gradient by complex step in eight lines; read
#   the library's report; and tell a factor, a sign, a transpose, a lost path and a lost sum apart by their ratios.
#
# What is said of results is asserted, over five seeds or more, or says "in this run".

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
import inspect

from rnnscratch.teach import flow, mutants, quiz, steps

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
# gives many more; five other places say the same:

# %%
step_sizes = 10.0 ** -np.arange(1, 14.5, 0.5)
for place in (0.2, 0.5, 1.0, 1.5, 2.0):
    central = (np.tanh(place + step_sizes) - np.tanh(place - step_sizes)) / (2 * step_sizes)
    relative = np.abs(central / (1 - np.tanh(place) ** 2) - 1)
    print(f"x = {place}: best error {relative.min():.0e} at step size {step_sizes[relative.argmin()]:.0e}")
    assert 1e-13 < relative.min() < 1e-9 and 1e-7 < step_sizes[relative.argmin()] < 1e-3

# %% [markdown]
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
# That is a whole gradient checker. Write it: for a loss of one array, the derivative by each of its entries.


# %%
def by_complex_step(loss, array, h=1e-200):
    """d loss() / d array, entry by entry; `loss` reads the complex `array`, which is left as it was."""
    found = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        # BLANK: move this entry by ih, note the imaginary part of the loss over h, and put the entry back
        kept = array[place]
        array[place] = kept + 1j * h
        found[place] = loss().imag / h
        array[place] = kept
        # END
    return found


# %%
cube = np.array([[1.0, -2.0], [3.0, 0.5]], complex)
np.testing.assert_allclose(by_complex_step(lambda: (cube**3).sum(), cube), 3 * cube.real**2, rtol=1e-14)
np.testing.assert_array_equal(cube, [[1.0, -2.0], [3.0, 0.5]])  # as it was
net = rs.RNN(2, 3, dtype="float64", seed=0)
xs = np.random.default_rng(0).standard_normal((4, 2, 2))
twin = flow.cast(net, "complex128")
numeric = by_complex_step(lambda: twin.forward(xs.astype(complex))[0].sum(), twin.params["U_l0"])
np.testing.assert_allclose(numeric, rs.teach.trace(net, xs).totals["U_l0"], rtol=1e-12)  # whose loss is the sum
assert rs.check_gradients(net, xs).ok
print("right")

# %% [markdown]
# ## 3. The U-curve
#
# The same for a whole LSTM: the relative error of a numerical gradient of $U$, against the step size. In float32
# ($u \approx 6 \cdot 10^{-8}$) even the best step leaves an error of some thousandths of a per cent, so a gradient
# check in float32 cannot tell a small bug from rounding. **Check in float64; train in float32.**

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
for seed in range(5):
    other = rs.LSTM(2, 3, dtype="float64", seed=seed)
    found = steps.step_size_errors(other, np.random.default_rng(seed).standard_normal((5, 2, 2)), sizes=sizes)
    assert found["complex step"].min() < 1e-14 < found["central, float64"].min() < 1e-8
    assert 1e-5 < found["central, float32"].min() < 1e-2

# %% [markdown]
# Left of each valley rounding rules, right of it truncation; the slopes on the right are 1 for forward and 2 for
# central differences. The complex step has no left side.
#
# ## 4. A check in one line, and how to read it

# %%
report = rs.check_gradients(layer, inputs, lengths=[5, 3])
for row in report.rows:
    if not row.part:
        print(f"gradient of {row.name:8} largest {row.size:.2f}, relative error {row.error:.0e}")
print(f"and {sum(bool(row.part) for row in report.rows)} parts; all right: {report.ok}, {report.method}")
assert report.ok

# %% [markdown]
# - *Relative error* is the largest difference to the complex step over the largest entry of the gradient. About
#   1e-16 is rounding; the tolerance is 1e-12.
# - Its *parts* look at one step, one gate or one direction alone: a bug in one of them would be diluted in the whole.
#   `print(report)` shows them.
# - The checker draws random upstream gradients for every output **and** for the final state, a random initial state
#   that is not 0, and puts garbage into the padding. Zeros hide bugs: see exercise 2 of notebook 1.
#
# Any function can be checked that returns its output and a *pullback*, which turns the gradient of the output into
# that of the inputs. A forgotten factor shows as a constant ratio, and the checker names it:


# %%
def wrong_square(v):
    return v * v, lambda dy: dy * v  # the factor 2 is lost


v = np.array([-2.0, 0.5, 3.0])
assert rs.check_gradients(lambda v: (v * v, lambda dy: dy * 2 * v), v).ok
wrong = rs.check_gradients(wrong_square, v)
print(wrong)
assert wrong.cause == "scale" and "0.5" in wrong.diagnosis[0]

# %% [markdown]
# Not every bug has a pattern of its own. Here the slope of the sigmoid (Eqs 24, 25) is taken at the wrong place: its
# formula takes the *output* $y$, and somebody hands it $\sigma(y)$. The ratio differs from entry to entry, so it is no
# factor; it is a *local* derivative. What remains is to guess the wrong line, compute what it would give, and compare:


# %%
def sigmoid(z):
    return 0.5 * np.tanh(0.5 * z) + 0.5


def wrong_sigmoid(z):
    y = sigmoid(z)
    return y, lambda dy: dy * sigmoid(y) * (1 - sigmoid(y))


z = np.array([-2.0, 0.5, 3.0])
y, pullback = wrong_sigmoid(z)
analytic = pullback(np.ones(3))
moved = z.astype(complex)
numeric = by_complex_step(lambda: sigmoid(moved).sum(), moved)
print("analytic ", analytic.round(6), "\nnumeric  ", numeric.round(6), "\nratio    ", (analytic / numeric).round(3))
print("candidate", (sigmoid(y) * (1 - sigmoid(y)) / (y * (1 - y))).round(3), " sigma(y)(1 - sigma(y)) over y(1 - y)")
np.testing.assert_allclose(analytic / numeric, sigmoid(y) * (1 - sigmoid(y)) / (y * (1 - y)), rtol=1e-13)
assert not rs.check_gradients(wrong_sigmoid, z).ok

# %% [markdown]
# ## 5. What a wrong gradient looks like
#
# Before you search the code, look at the *values*: at the **ratio** of the wrong gradient to the right one, entry by
# entry, its median and its range; and again for one step alone, $T = 1$.
#
# | what you see | what it often is | below |
# | --- | --- | --- |
# | the same ratio everywhere, such as 0.5 or 1/B | a factor: a mean that was a sum, a forgotten 2 | a |
# | ratio -1 everywhere | a sign | b |
# | right for T = 1, wrong for more; early steps worst | what is handed from step to step | c, d |
# | one parameter wrong, for T > 1 only | its sum over time | e |
# | one parameter wrong, equal to the transposed of the right one | `x.T @ dz` the wrong way round | f |
# | one parameter 0 | a path that nobody walks: a detached state, a forgotten `dstate` | g |
# | wrong for T = 1 too, no constant ratio | a local derivative | h |
# | wrong with lengths only | the padding takes part | |
#
# `rs.teach.mutants` keeps wrong backward passes that were found in real programs. The table, measured on some:


# %%
def evidence(kind, T, seed=0, B=3, D=3, H=3):
    """By parameter: the wrong gradient of a mutant, and the right one by complex step."""
    suspect, rng = kind(D, H, dtype="float64", seed=seed), np.random.default_rng(seed)
    xs, dhs = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, H))
    parts = [rng.standard_normal((1, B, H)) for _ in suspect.states]
    twin = flow.cast(suspect, "complex128")
    start = tuple(parts) if len(parts) > 1 else parts[0]
    complex_start = tuple(part.astype(complex) for part in parts) if len(parts) > 1 else parts[0].astype(complex)
    suspect.forward(xs, start)
    suspect.backward(dhs)

    def loss():
        return (twin.forward(xs.astype(complex), complex_start)[0] * dhs).sum()

    return {name: (suspect.grads[name], by_complex_step(loss, array)) for name, array in twin.params.items()}


def ratios(wrong, right):
    """Median, smallest and largest ratio."""
    return np.quantile(wrong / right, [0.5, 0.0, 1.0])


cases = {
    "a": mutants.MeanOverTheBatch,
    "b": mutants.Descending,
    "c": mutants.RecurrenceTransposed,
    "d": mutants.NoGradientThroughTimeRNN,
    "e": mutants.BiasOfTheLastStepOnly,
    "f": mutants.InputWeightsTransposed,
    "g": mutants.InitialStateTermDropped,
    "h": mutants.SecondTanhForgotten,
}
print("ratio: median [smallest, largest], for W, U and b")
for letter, kind in cases.items():
    for T in (1, 5):
        found = [ratios(*pair) for pair in evidence(kind, T).values()]
        print(
            f"{letter if T == 1 else ' '}  T={T}  "
            + "   ".join(f"{m:6.2f} [{lo:6.2f}, {hi:6.2f}]" for m, lo, hi in found)
        )

# %%
for seed in range(5):
    for T in (1, 5):
        seen = {letter: evidence(kind, T, seed) for letter, kind in cases.items()}
        right = {letter: [np.allclose(*pair, rtol=1e-9) for pair in pairs.values()] for letter, pairs in seen.items()}
        for pair in seen["a"].values():
            np.testing.assert_allclose(ratios(*pair), 1 / 3, rtol=1e-9)  # B = 3
        for pair in seen["b"].values():
            np.testing.assert_allclose(ratios(*pair), -1, rtol=1e-9)
        assert right["c"] == right["d"] == [T == 1] * 3  # W, U, b: all of them, for T > 1
        assert right["e"] == [True, True, T == 1]
        wrong_W, right_W = seen["f"]["W_l0"]
        assert right["f"] == [False, True, True] and (T > 1 or np.allclose(wrong_W, right_W.T, rtol=1e-9))
        wrong_U, right_U = seen["g"]["U_l0"]
        assert right["g"] == [True, False, True] and (T > 1 or not wrong_U.any() and right_U.any())
        assert right["h"] == [False] * 3
print("so it is with five seeds")

# %% [markdown]
# Note f and g: with one step the transposed and the zero stand there in plain sight; with five other terms are mixed in
# and hide them. **Look at the smallest case first.** The library's checker looks for such patterns, tries T = 1, B = 1,
# a zero start and no lengths by itself, and names the cause. Case c goes back through $U$ where it should go through
# its transpose, the factor $\partial h_t / \partial h_{t-1}$ of Eq. 6:

# %%
print(inspect.getsource(mutants.RecurrenceTransposed))
suspect = mutants.RecurrenceTransposed(2, 3, dtype="float64", seed=0)
report = rs.check_gradients(suspect, inputs)
print(*report.diagnosis, sep="\n")
assert report.cause == "transposed recurrence"
by_step = [row for row in report.rows if row.name == "x" and row.part]
print("error of dx, step by step:", ", ".join(f"{row.error:.0e}" for row in by_step))
assert by_step[-1].error < 1e-12 < min(row.error for row in by_step[:-1])

# %% [markdown]
# The figures already say it: the gradient of the last step's input is right, those of all earlier ones are wrong. What
# is handed from step to step is at fault.
#
# ## 6. Find the bug
#
# `rs.teach.quiz` hands out backward passes in plain NumPy, of which one line is wrong, with what the checker measures
# of them. All that you need stands there: read the code, look which gradients are wrong and by what ratio, and try
# other sizes, as `puzzle.check(T=1, zero=True)`.

# %%
game = quiz.Quiz(seed=1)
puzzle = game.next()
print(puzzle)

# %%
print(puzzle.check(T=1, zero=True))
print(puzzle.hint())

# %% [markdown]
# `puzzle.line(7)` says whether line 7 is it, `puzzle.mend(text)` whether your own text, or pair of functions, is
# right, and `puzzle.answer("...")` takes one of the causes in `puzzle.choices`. `puzzle.solution()` tells once it is
# solved, and `puzzle.give_up()` at once, for no points.
#
# <details><summary>Solution of this puzzle</summary>
#
# ```python
# print(puzzle.give_up())
# ```
# </details>
#
# ## Exercises
#
# **1.** At which step size is the *forward* difference best, in theory and in the U-curve?
#
# <details><summary>Solution</summary>
#
# Truncation is about $\varepsilon$, rounding about $u / \varepsilon$. Their sum is smallest for
# $\varepsilon = \sqrt u \approx 10^{-8}$, with an error of about $10^{-8}$. In the curve it lies somewhat higher, since
# $|f|$ and $f''$ are not 1.
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
# **3.** Somebody checks the mean of the losses over $T = 4$ steps against gradients of their sum. What ratio betrays
# it?
#
# <details><summary>Solution</summary>
#
# The wrong gradient is $T = 4$ times the right one, for every entry.
#
# ```python
# def mean_of_squares(v):
#     return (v * v).mean(), lambda dy: dy * 2 * v  # of the sum
#
# report = rs.check_gradients(mean_of_squares, np.array([1.0, 2.0, 3.0, 4.0]))
# assert report.cause == "scale" and "4" in report.diagnosis[0]
# # answer 2.3: 4.0
# ```
# </details>
#
# **4.** In case e the bias's gradient is wrong for $T = 5$. By what should you compare it to be sure of the cause? Do
# it.
#
# <details><summary>Solution</summary>
#
# If the sum over time is missing, one of its terms is left: that of step 1 where `db = ...` stands for `db += ...`,
# since step 1 is computed last; that of step 5 where the line stands outside the loop. So compare with the terms of a
# right pass, one at a time. It is step 5's.
#
# ```python
# rng = np.random.default_rng(0)
# suspect = mutants.BiasOfTheLastStepOnly(3, 3, dtype="float64", seed=0)
# right_one = rs.RNN(3, 3, dtype="float64", seed=0)
# xs, dhs = rng.standard_normal((5, 3, 3)), rng.standard_normal((5, 3, 3))
# suspect.forward(xs)
# suspect.backward(dhs)
# terms = rs.teach.trace(right_one, xs, dhs=dhs)
# fits = [t for t in range(1, 6) if np.allclose(terms["db_t", t], suspect.grads["b_l0"], rtol=1e-12)]
# assert fits == [5]
# ```
# </details>
#
# **5.** Your LSTM's report says: x, h0, c0 and b right, U wrong; with a zero start and $T = 1$ all right. Which line
# would you read?
#
# <details><summary>Solution</summary>
#
# The one that makes dU. `dz` is right, or b would be wrong; what is handed on is right, or x would be. So the other
# factor, $h_{t-1}$, is at fault. It is the wrong array at step 1 at least, where it should be $h_0$: case g.
#
# ```python
# found = evidence(mutants.InitialStateTermDropped, 1)
# assert np.allclose(*found["b_l0"]) and np.allclose(*found["W_l0"]) and not np.allclose(*found["U_l0"])
# ```
# </details>
#
# ## Five questions
#
# **1.** Halving $\varepsilon$ in a central difference at $\varepsilon = 10^{-2}$: by what factor does the error fall?
#
# <details><summary>Answer</summary>
#
# By 4: truncation is of order $\varepsilon^2$.
#
# ```python
# errors_of = [(np.tanh(1 + e) - np.tanh(1 - e)) / (2 * e) - (1 - np.tanh(1) ** 2) for e in (0.01, 0.005)]
# assert abs(errors_of[0] / errors_of[1] - 4) < 0.01
# ```
# </details>
#
# **2.** And at $\varepsilon = 10^{-9}$?
#
# <details><summary>Answer</summary>
#
# It tends to grow, about twofold on average: rounding is of order $u/\varepsilon$.
#
# ```python
# places = np.linspace(0.1, 2, 400)
# def size(e):
#     return np.abs((np.tanh(places + e) - np.tanh(places - e)) / (2 * e) - (1 - np.tanh(places) ** 2)).mean()
# assert 1.5 < size(5e-10) / size(1e-9) < 2.7
# ```
# </details>
#
# **3.** Why may $h$ of the complex step be $10^{-200}$ and $\varepsilon$ of a difference not?
#
# <details><summary>Answer</summary>
#
# The complex step subtracts nothing. $1 + 10^{-200}$ is 1, so a difference would be 0.
#
# ```python
# assert np.tanh(1 + 1e-200) - np.tanh(1) == 0 and np.tanh(1 + 1e-200j).imag > 0
# ```
# </details>
#
# **4.** All ratios are 0.25, $B = 4$, $T = 8$. What happened?
#
# <details><summary>Answer</summary>
#
# A mean over the batch in the backward pass, and a sum in the loss.
#
# ```python
# for wrong, right in evidence(mutants.MeanOverTheBatch, 8, B=4).values():
#     np.testing.assert_allclose(wrong / right, 0.25, rtol=1e-9)
# ```
# </details>
#
# **5.** Why does the checker start from a random state and not from zeros?
#
# <details><summary>Answer</summary>
#
# With $h_0 = 0$ the first step's share of $\partial L/\partial U$ is 0: a program that forgets it would pass.
#
# ```python
# suspect = mutants.InitialStateTermDropped(3, 3, dtype="float64", seed=0)
# zero = np.zeros((1, 2, 3))
# xs = np.random.default_rng(0).standard_normal((4, 2, 3))
# assert rs.check_gradients(suspect, xs, state=(zero, zero)).ok
# assert not rs.check_gradients(suspect, xs).ok
# ```
# </details>
#
# ## Read on
#
# - W. Squire, G. Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM Review 1998.
# - J. R. R. A. Martins, P. Sturdza, J. J. Alonso, *The complex-step derivative approximation*, ACM Transactions on
#   Mathematical Software 2003.
# - J. Nocedal, S. J. Wright, *Numerical Optimization*, chapter 8: step sizes of differences.
# - A. Griewank, A. Walther, *Evaluating Derivatives*, 2008: how programs differentiate programs.
