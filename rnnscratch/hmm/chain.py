"""Markov chains whose states are observed (report 2.2.7, Eqs 43-50), and what hidden ones reuse."""

from __future__ import annotations

import math
import os
import warnings
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import generator, to_cpu
from ..checks import as_array, as_list, as_symbols, check_distribution, check_number, check_sizes
from ..estimator import Estimator, NotFittedError
from ..files import load_arrays, reading, save_arrays

FORMAT = "rnnscratch markov chain 1"


@dataclass(repr=False, eq=False)
class MarkovChain(Estimator):
    """A chain of N states: transmat_[i, j] = P(s_{t+1} = j | s_t = i) (Eq. 45), startprob_[j] = P(s_1 = j).

    States are integers from 0 to n_states - 1 (None: as many as the data hold), or strings, a sequence being a row of
    them or one str of characters, looked up in `vocabulary` (None: learned, sorted); samples are strings then too.
    `smoothing` is added to every count of starts and transitions. startprob_ and transmat_ may also be set by hand.

    >>> chain = MarkovChain().fit(["aab", "abba"])
    >>> chain.transmat_.round(2).tolist()                            # rows: from a, from b
    [[0.33, 0.67], [0.5, 0.5]]
    >>> round(chain.probability("aab"), 4), chain.stationary().round(3).tolist()
    (0.2222, [0.429, 0.571])
    """

    _learned = ("startprob_", "transmat_")
    _input_tags = {"two_d_array": False, "string": True}

    n_states: int | None = None
    smoothing: float = 0.0
    vocabulary: list[str] | None = None
    startprob_: np.ndarray = field(init=False)
    transmat_: np.ndarray = field(init=False)
    vocabulary_: list[str] = field(init=False)

    def fit(self, sequences: Any, y: Any = None) -> MarkovChain:
        """Count starts and transitions of a list of sequences.

        The estimates are those of maximum likelihood, or with smoothing their Bayesian mean. A state that is never left
        gets a uniform row, and a warning names it. `y` is scikit-learn's, and not looked at. Raises ValueError or
        TypeError.
        """
        check_number("smoothing", self.smoothing, least=0)
        if self.n_states is not None:
            check_sizes(n_states=self.n_states)
        given = as_list("sequences", sequences)
        if not given:
            raise ValueError("sequences is empty, expected at least one sequence")
        names = [f"sequences[{s}]" for s in range(len(given))]
        rows = [as_symbols(name, row, missing=False) for name, row in zip(names, given)]
        vocabulary = vocabulary_of(rows, names, self.vocabulary)
        N = self.n_states if vocabulary is None else len(vocabulary)
        if vocabulary is not None and self.n_states not in (None, N):
            raise ValueError(f"the vocabulary holds {N} symbols, but n_states is {self.n_states}")
        states = [_states(row, name, N, vocabulary) for row, name in zip(rows, names)]
        if N is None:
            N = max(int(each.max()) for each in states) + 1
            check_entries("n_states", N, N * N, sum(map(len, states)))
        starts = np.bincount([each[0] for each in states], minlength=N) + self.smoothing
        pairs = np.concatenate([each[:-1] * N + each[1:] for each in states])
        counts = np.bincount(pairs, minlength=N * N).reshape(N, N) + self.smoothing
        left = counts.sum(axis=1, keepdims=True)
        never = np.flatnonzero(left == 0).tolist()
        if never:
            warnings.warn(f"never left, so that their rows are uniform: states {never}", stacklevel=2)
        self.startprob_ = starts / starts.sum()
        self.transmat_ = np.where(left > 0, counts / np.where(left > 0, left, 1), 1.0 / N)  # Eq. 45
        vars(self).pop("vocabulary_", None)  # of an earlier fit
        if vocabulary is not None:
            self.vocabulary_ = vocabulary
        return self

    def log_probability(self, sequence: Any) -> float:
        """log P(s_1, .., s_T) = log P(s_1) + sum of log P(s_{t+1} | s_t) (Eqs 46, 47); -inf if impossible."""
        startprob, transmat = self._check()
        row = as_symbols("sequence", sequence, missing=False)
        states = _states(row, "sequence", len(startprob), getattr(self, "vocabulary_", None))
        with np.errstate(divide="ignore"):
            steps = np.log(transmat[states[:-1], states[1:]])
            return float(np.log(startprob[states[0]]) + steps.sum())  # Eq. 47

    def probability(self, sequence: Any) -> float:
        """P(s_1, .., s_T) (Eq. 47); 0 where it is too small for a float."""
        return math.exp(self.log_probability(sequence))

    def marginal(self, t: int) -> np.ndarray:
        """P(s_t = j) (N,) (Eqs 48, 49), t = 1 being the start."""
        check_sizes(t=t)
        return propagate(*self._check(), t - 1)

    def stationary(self, all_classes: bool = False) -> np.ndarray:
        """The distribution (N,) with pi = pi P (Eq. 50); with `all_classes` one for each closed class (K, N).

        A periodic chain has one too. Raises ValueError if there are several, since the chain is reducible.
        """
        return stationary_distribution(self._check()[1], all_classes)

    def mean_durations(self) -> np.ndarray:
        """How many steps a visit to each state lasts on average (N,): 1 / (1 - P_ii), inf for an absorbing state."""
        _, transmat = self._check()
        leave = np.where(np.eye(len(transmat), dtype=bool), 0.0, transmat).sum(axis=1)  # 1 - P_ii without its rounding
        with np.errstate(divide="ignore"):
            return 1.0 / leave

    def classes(self) -> list[tuple[list[int], bool]]:
        """The communicating classes, each with whether it is closed, that is, never left; by their first state."""
        return communicating_classes(self._check()[1])

    def period(self, state: int | str | None = None) -> int:
        """The greatest common divisor of the times after which the chain may be back in the state; 0 if it never is.

        Without a state that of the chain, since in an irreducible one all are the same; ValueError for a reducible one.
        """
        _, transmat = self._check()
        classes = communicating_classes(transmat)
        if state is None and len(classes) > 1:
            raise ValueError(f"the chain is reducible: its {len(classes)} classes each have a period, give a state")
        state = 0 if state is None else self._state("state", state, len(transmat))
        own = next(members for members, _ in classes if state in members)
        inside = transmat[np.ix_(own, own)] > 0
        distance = {own.index(state): 0}
        found, queue = 0, [own.index(state)]
        for i in queue:  # breadth first; every edge closes a walk whose length is a multiple of the period
            for j in np.flatnonzero(inside[i]).tolist():
                if j in distance:
                    found = math.gcd(found, distance[i] + 1 - distance[j])
                else:
                    distance[j] = distance[i] + 1
                    queue.append(j)
        return found

    def sample(self, n: int = 1, random_state: Any = None, start: int | str | None = None) -> np.ndarray:
        """A sequence of n states (n,), the first drawn from startprob_ unless `start` is given."""
        check_sizes(n=n)
        startprob, transmat = self._check()
        if start is not None:
            start = self._state("start", start, len(startprob))
        found = walk(startprob, transmat, generator(random_state, "random_state").random(n), start)
        return np.array(self.vocabulary_)[found] if hasattr(self, "vocabulary_") else found

    @property
    def num_params(self) -> int:
        """How many numbers are free: N - 1 for the start and N (N - 1) for the transitions."""
        return self._check()[1].size - 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the chain to one `.npz` without pickle; a failure leaves an older file whole."""
        startprob, transmat = self._check()
        params = {name: storable(name, value) for name, value in self.get_params().items()}
        header = {"format": FORMAT, "params": params, "vocabulary": getattr(self, "vocabulary_", None)}
        save_arrays(path, header, {"startprob": startprob, "transmat": transmat})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MarkovChain:
        """Read what `save` wrote. Raises FileNotFoundError, or ValueError, naming the file, for anything else."""
        header, arrays = load_arrays(path, FORMAT)
        with reading(path):
            chain = cls(**header["params"])
            if arrays.keys() != {"startprob", "transmat"}:
                raise ValueError(f"it holds {', '.join(arrays)}, expected startprob and transmat")
            chain.startprob_, chain.transmat_ = arrays["startprob"], arrays["transmat"]
            if chain.startprob_.dtype != float or chain.transmat_.dtype != float:
                raise ValueError(f"it holds {chain.startprob_.dtype} and {chain.transmat_.dtype}, expected float64")
            chain._check()
            if header["vocabulary"] is not None:
                chain.vocabulary_ = check_vocabulary(header["vocabulary"], len(chain.startprob_))
            chain._check()
        return chain

    def _check(self) -> tuple[np.ndarray, np.ndarray]:
        """startprob_ (N,) and transmat_ (N, N) as arrays. Raises NotFittedError without, ValueError for wrong ones."""
        startprob, transmat = check_chain(self)
        symbols = len(getattr(self, "vocabulary_", []))
        if symbols not in (0, len(startprob)):
            raise ValueError(f"vocabulary_ holds {symbols} symbols, but there are {len(startprob)} states")
        return startprob, transmat

    def _state(self, name: str, state: Any, N: int) -> int:
        """A state, or its symbol, as an int. Raises TypeError or ValueError."""
        if isinstance(state, str):
            return int(look_up(np.array([state], dtype=object), getattr(self, "vocabulary_", []), name)[0])
        return check_state(name, state, N)


def require(model: Any, *names: str) -> None:
    """Raise NotFittedError unless the model has attributes of these names."""
    for name in names:
        if not hasattr(model, name):
            raise NotFittedError(f"there is no {name}: call fit first, or set it")


def check_chain(model: Any, N: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """startprob_ (N,) and transmat_ (N, N) of the model as arrays.

    Raises NotFittedError without them, ValueError for ones that cannot be.
    """
    require(model, "startprob_", "transmat_")
    startprob = check_distribution("startprob_", model.startprob_, N)
    N = startprob.shape[-1]
    transmat = check_distribution("transmat_", model.transmat_, N)
    if startprob.shape != (N,) or transmat.shape != (N, N):
        raise ValueError(
            f"startprob_ has shape {startprob.shape} and transmat_ {transmat.shape}, expected ({N},) and ({N}, {N})"
        )
    return startprob, transmat


def vocabulary_of(rows: Iterable[np.ndarray], names: Iterable[str], given: Any = None) -> list[str] | None:
    """The symbols of rows of strings in the order of their integers: those given, else those there are, sorted.

    None for rows of integers. Raises TypeError or ValueError for rows of both, for given symbols that are no strings or
    do not differ, and for any that would not come out of an array as they went in.
    """
    text: bool | None = None
    found: set[str] = set()
    for row, name in zip(rows, names):
        if row.dtype.kind == "O":
            found.update(symbol for symbol in row if symbol is not None)
        elif not bool(to_cpu((row >= 0).any())):  # missing throughout: of either kind
            continue
        if text is not None and text != (row.dtype.kind == "O"):
            raise TypeError(f"{name} holds {'strings' if not text else 'integers'}, those before it do not")
        text = row.dtype.kind == "O"
    if not text:
        return None
    return check_vocabulary(sorted(found) if given is None else given)


def check_vocabulary(given: Any, size: int | None = None) -> list[str]:
    """The symbols as a list of strings that differ, at most `size` of them. Raises TypeError or ValueError."""
    row = as_symbols("vocabulary", as_list("vocabulary", given), missing=False)
    for k, symbol in enumerate(row):
        if not isinstance(symbol, str):
            raise TypeError(f"vocabulary[{k}] is {symbol!r}, expected a string")
    found = row.tolist()
    if not found or len(set(found)) < len(found):
        raise ValueError(f"vocabulary is {found!s:.200}, expected symbols that differ")
    if size is not None and len(found) > size:
        raise ValueError(f"vocabulary holds {len(found)} symbols, expected {size} at most")
    for symbol, back in zip(found, np.array(found).tolist()):
        if symbol != back:
            raise ValueError(
                f"vocabulary holds {symbol!r}, which would come back from an array as {back!r}, expected another symbol"
            )
    return found


def look_up(row: np.ndarray, vocabulary: list[str], name: str) -> np.ndarray:
    """The integers (T,) of a row of symbols, -1 for None. Raises ValueError for what the vocabulary lacks."""
    place: dict[str | None, int] = {symbol: k for k, symbol in enumerate(vocabulary)}
    place[None] = -1
    for symbol in row:
        if symbol not in place:
            raise ValueError(f"{name} holds {symbol!r}, which is not in the vocabulary")
    return np.array([place[symbol] for symbol in row], dtype=np.int64)


def check_entries(name: str, value: int, entries: int, frames: int) -> None:
    """Raise ValueError for a table of so many entries that is learned from a few frames, unless its size was given."""
    if entries > 4_000_000 and entries > 100 * frames:
        raise ValueError(
            f"the largest symbol is {value - 1}: {entries} numbers ({8 * entries / 1e6:.0f} MB) would be learned from "
            f"{frames} frames; give {name}={value} if that is meant, or the symbols as strings"
        )


def storable(name: str, value: Any) -> Any:
    """An option as JSON has it. Raises TypeError for one that no file can hold."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    try:
        found = as_array(name, value) if name != "vocabulary" else np.array(check_vocabulary(value))
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} is {value!r:.60}, which no file can hold: expected a number, a string or a list"
        ) from None
    return found.tolist()


def _states(row: np.ndarray, name: str, N: int | None, vocabulary: list[str] | None) -> np.ndarray:
    """A row of symbols as integers, at least one, from 0 to N - 1 (None: no limit). Raises TypeError or ValueError."""
    if row.dtype.kind == "O":
        row = look_up(row, vocabulary or [], name)
    if not row.size:
        raise ValueError(f"{name} is empty, expected at least one state")
    if row.min() < 0 or (N is not None and row.max() >= N):
        wrong = row.min() if row.min() < 0 else row.max()
        raise ValueError(f"{name} holds {wrong}, expected states from 0" + ("" if N is None else f" to {N - 1}"))
    return row


def check_state(name: str, state: Any, N: int) -> int:
    """The state as an int, if it is one of N. Raises TypeError or ValueError."""
    if isinstance(state, bool) or not isinstance(state, (int, np.integer)):
        raise TypeError(f"{name} is {state!r}, expected a state, a whole number")
    if not 0 <= state < N:
        raise ValueError(f"{name} is {state}, expected 0 to {N - 1}")
    return int(state)


def propagate(distribution: np.ndarray, transmat: np.ndarray, steps: int) -> np.ndarray:
    """The distribution (..., N) that many steps later (Eq. 49 over and over), by squaring the matrix.

    Every square's rows are divided by their sums: rounding doubles with each, and would be all there is after 2^50.
    """
    power = transmat / transmat.sum(axis=1, keepdims=True)
    while steps:
        if steps % 2:
            distribution = distribution @ power  # Eq. 49
        power = power @ power
        power /= power.sum(axis=1, keepdims=True)
        steps //= 2
    return distribution / distribution.sum(axis=-1, keepdims=True)


def walk(startprob: np.ndarray, transmat: np.ndarray, uniforms: np.ndarray, start: int | None = None) -> np.ndarray:
    """The states (n,) that uniform numbers (n,) in [0, 1) lead through; the first is `start`, if given."""
    rows = [thresholds(row) for row in transmat]
    draws = uniforms.tolist()
    state = bisect_right(thresholds(startprob), draws[0]) if start is None else int(start)
    states = [state]
    for draw in draws[1:]:
        state = bisect_right(rows[state], draw)
        states.append(state)
    return np.array(states)


def thresholds(probabilities: np.ndarray) -> list[float]:
    """Cumulative sums for `bisect_right`, beyond any uniform number from the last possible state on."""
    cumulative = probabilities.cumsum()
    cumulative[np.flatnonzero(probabilities)[-1] :] = math.inf
    return cumulative.tolist()


def communicating_classes(transmat: np.ndarray) -> list[tuple[list[int], bool]]:
    """The sets of states that can reach each other, each with whether it is closed; ordered by their first state."""
    reach = (np.asarray(transmat) > 0) | np.eye(len(transmat), dtype=bool)
    for k in range(len(reach)):  # Warshall: paths through states 0 .. k
        reach |= reach[:, k, None] & reach[k]
    mutual = reach & reach.T
    found = []
    for i, row in enumerate(mutual):
        members = np.flatnonzero(row)
        if members[0] == i:
            found.append((members.tolist(), bool((reach[i] == row).all())))
    return found


def stationary_distribution(transmat: np.ndarray, all_classes: bool = False) -> np.ndarray:
    """pi (N,) with pi = pi P and sum 1 (Eq. 50), or with `all_classes` one for each closed class (K, N).

    States outside closed classes are left for good and have probability 0. By elimination of states without
    subtractions (Grassmann, Taksar & Heyman 1985), so small entries keep their relative precision. Raises ValueError
    for several closed classes, and for what is no matrix of transitions.
    """
    transmat = check_distribution("transmat", transmat)
    if transmat.ndim != 2 or transmat.shape[0] != transmat.shape[1]:
        raise ValueError(f"transmat has shape {transmat.shape}, expected (N, N)")
    closed = [members for members, is_closed in communicating_classes(transmat) if is_closed]
    if len(closed) > 1 and not all_classes:
        raise ValueError(f"transmat is reducible: its closed classes {closed} each have a distribution of their own")
    found = np.zeros((len(closed), len(transmat)))
    for row, members in zip(found, closed):
        P = transmat[np.ix_(members, members)]
        n = len(P)
        leave = np.empty(n)  # P(from k to the states before it) once those after it are eliminated
        for k in range(n - 1, 0, -1):
            leave[k] = max(P[k, :k].sum(), np.finfo(float).smallest_subnormal)  # not 0 where it underflows
            P[:k, :k] += np.outer(P[:k, k], P[k, :k] / leave[k])
        pi = np.ones(n)
        for k in range(1, n):  # pi[:k] sums to 1, so nothing overflows; the flows into and out of k are equal (Eq. 50)
            enter = pi[:k] @ P[:k, k]
            pi[:k] *= leave[k] / (leave[k] + enter)
            pi[k] = enter / (leave[k] + enter)
        row[members] = pi / pi.sum()
    return found if all_classes else found[0]
