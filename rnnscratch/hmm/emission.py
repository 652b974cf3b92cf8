"""What the states emit: the hook for a family of one's own, and what several families share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from ..backend import Array, get_array_module, to_cpu
from ..checks import as_array, is_single
from .chain import thresholds

Self = TypeVar("Self", bound="Emission")


class Emission:
    """The emissions of N states, a value apart from the model: the hook for a family of one's own.

    It holds the model's options and parameters under the names that they have there (`self.n_components`,
    `self.means_`). Its methods return new values and set none. X are M observed frames (M, D), on the host or the
    device; weights (N, M) say how much each counts for each state, and where a frame is missing they are 0. Where a
    frame lacks some of its features but not all, X holds NaN, if the family says `marginalises = True`: then its
    densities are those of the features that there are, and `initialize` and `statistics` too must do without the
    others. To other families such frames are never shown; they are refused. A family is a subclass with

        letters                      the parameters, by their letters in `params` and `init_params`: {"m": "means_"}
        initialize(X, rng)           where learning begins, a dict of all parameters by name; X is on the host. Under
                                     other names: what `estimate` must know of the data
        log_density(X)               log p(x | state) (N, M)
        statistics(X, weights)       the sums over frames that `estimate` needs, on the host; if they are no array or
                                     tuple of arrays, `add` must say how those of several sets of frames add up
        estimate(statistics)         the likeliest parameters, a dict; a state without weight keeps what it has
        sample(states, rng)          one observation for each of the states (M,): (M, D)

    and whatever of the methods below it wants otherwise. Its model is then two lines, used, saved and loaded like any
    other; with options of its own it is a dataclass, as `PoissonHMM` is:

        class MineHMM(BaseHMM):
            emission = Mine
    """

    letters: ClassVar[dict[str, str]] = {}
    remembers: ClassVar[tuple[str, ...]] = ()  # what a model keeps of a fit besides parameters
    marginalises: ClassVar[bool] = False  # whether a frame may lack some of its features
    restart: int = 0  # which of the `n_init` starts is to begin: those after the first should differ from it
    symbols: ClassVar[bool] = False  # whether an observation is one symbol, not a row of features
    learning: bool = False  # whether `encode` is to learn the symbols

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, **values: Any):
        vars(self).update(values)

    def replace(self: Self, **values: Any) -> Self:
        """The same with other values of these names."""
        return type(self)(**{**vars(self), **values})

    @property
    def n_features_(self) -> int:
        """D: the last axis of the first parameter, or 1 if that has a number for each state."""
        shape = np.shape(getattr(self, next(iter(self.letters.values()))))
        return shape[-1] if len(shape) > 1 else 1

    def log_prior(self) -> float:
        """The log prior density of the parameters, up to a constant."""
        return 0.0

    def gradient(self, X: Array, dlog_b: Array) -> dict[str, Any]:
        """The gradients by parameters, from that by `log_density` (N, M)."""
        return {}

    def count_params(self) -> int:
        """How many numbers are free among the parameters that are learned."""
        return sum(np.size(getattr(self, name)) for name in self.chosen("params"))

    def check_options(self) -> None:
        """Raise ValueError or TypeError for options that cannot be."""

    def check(self) -> dict[str, np.ndarray]:
        """The parameters as arrays, by name. Raises TypeError or ValueError for ones that cannot be."""
        return {name: finite(name, getattr(self, name)) for name in self.letters.values()}

    def encode(self: Self, parts: list[Array], names: list[str]) -> tuple[Self, list[Array]]:
        """What `as_frames` made of the sequences, in numbers and of one width, and the emission that knows them."""
        for part, name in zip(parts, names):
            if part.shape[1:] != parts[0].shape[1:]:
                raise ValueError(f"{name} has {part.shape[1]} features, {names[0]} has {parts[0].shape[1]}")
        return self, parts

    def as_frames(self, x: Any, name: str) -> Array:
        """One sequence of observations as float64 (M, D). Raises ValueError or TypeError."""
        found = as_array(name, x, missing=True)
        if found.ndim == 1:
            found = found[:, None]
        if found.ndim != 2:
            raise ValueError(f"{name} has shape {found.shape}, expected (frames, features)")
        if not found.shape[1]:
            raise ValueError(f"{name} has 0 feature(s) (shape={found.shape}) while a minimum of 1 is required.")
        found = found.astype(np.float64, copy=False)
        if bool(to_cpu(get_array_module(found).isinf(found).any())):
            raise ValueError(f"{name} holds infinity; a missing observation is NaN")
        return found

    def as_frame(self, x: Any, name: str) -> Array:
        """One observation (1, D): a row of D features, or one number. Raises ValueError or TypeError."""
        found = self.as_frames(as_row(x), name)
        if 1 not in found.shape:
            raise ValueError(f"{name} has shape {found.shape}, expected one observation")
        return found.reshape(1, -1)

    def check_data(self, X: Array) -> None:
        """Raise ValueError unless the frames fit the parameters."""
        D, name = self.n_features_, type(self).__name__
        if X.shape[1] != D:
            raise ValueError(f"X has {X.shape[1]} features, but {name} is expecting {D} features as input")

    def missing(self, X: Array) -> Array:
        """Which frames (M,) were not observed at all."""
        return get_array_module(X).isnan(X).all(axis=1)

    def chosen(self, option: str) -> list[str]:
        """The parameters whose letters are in `params` or `init_params`; all where it is None.

        What there is not yet is always set before learning.
        """
        letters = getattr(self, option)
        if letters is None:
            return list(self.letters.values())
        lacking = () if option == "params" else set(self.letters.values()) - set(vars(self))
        return [name for letter, name in self.letters.items() if letter in letters or name in lacking]

    def learn(self: Self, X: Array, weights: Array) -> Self:
        """The same with the estimates of those parameters that are learned."""
        return self.learned(self.statistics(X, weights)) if self.chosen("params") else self

    def learned(self: Self, statistics: Any) -> Self:
        """The same with what the statistics say of those parameters that are learned."""
        names = self.chosen("params")
        if not names:
            return self
        found = self.estimate(statistics)
        return self.replace(**{name: found[name] for name in names})

    def add(self, parts: list[Any]) -> Any:
        """The statistics of all frames, from those of parts of them: their sums, entry by entry of a tuple."""
        return tuple(sum(each) for each in zip(*parts)) if isinstance(parts[0], tuple) else sum(parts)


def shares(counts: np.ndarray, prior: Any, old: np.ndarray, possible: Any = True) -> tuple[np.ndarray, np.ndarray]:
    """Rows of counts plus Dirichlet prior as shares, 0 where not possible; and which had none: these stay as old."""
    counts = np.where(possible, counts + (np.asarray(prior, dtype=float) - 1.0), 0.0)
    total = counts.sum(axis=-1, keepdims=True)
    none = total < 1e-200
    return np.where(none, old, counts / np.where(none, 1.0, total)), none[..., 0]


def dirichlet_log_density(values: np.ndarray, prior: Any) -> float:
    """sum of (prior - 1) log(values) over the values that are not 0: the Dirichlet's log density up to a constant."""
    exponents = np.broadcast_to(np.asarray(prior, dtype=float) - 1.0, values.shape)
    positive = (values > 0) & (exponents != 0)
    return float((exponents[positive] * np.log(values[positive])).sum())


def draw(probabilities: np.ndarray, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each state (M,) a column, drawn from its row of probabilities (N, K); never one of probability 0."""
    uniforms, found = rng.random(len(states)), np.empty(len(states), np.int64)
    for k, row in enumerate(probabilities):
        here = states == k
        found[here] = np.searchsorted(thresholds(row), uniforms[here], side="right")
    return found


def as_row(value: Any) -> Any:
    """One number, or what stands for a missing one, as a row of one; anything else as it is."""
    if is_single(value):
        return value.reshape(1) if hasattr(value, "reshape") else [value]
    return value


def finite(name: str, values: Any, kinds: str = "fiub") -> np.ndarray:
    """The values, an array-like or one number, as floats, if all are finite. Raises TypeError or ValueError."""
    if get_array_module(values) is not np:
        raise TypeError(f"{name} is a device array, expected one on the host")
    found = as_array(name, as_row(values), kinds).astype(float)
    found = found.reshape(()) if is_single(values) else found
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds {found[~np.isfinite(found)][0]}, expected finite numbers")
    return found


def as_parameter(name: str, values: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """The values as floats, if finite and of this shape, None being any length. Raises TypeError or ValueError."""
    found = finite(name, values)
    if found.ndim != len(shape) or not all(n in (None, m) for n, m in zip(shape, found.shape)) or not found.size:
        expected = ", ".join("D" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {found.shape}, expected ({expected})")
    return found


def as_prior(name: str, value: Any, shape: tuple[int, ...], least: float | None = None) -> np.ndarray:
    """A number, or an array that broadcasts to the shape, as floats of that shape, all finite and at least `least`.

    Raises TypeError or ValueError otherwise.
    """
    found = finite(name, value, "fiu")
    if found.ndim > len(shape) or any(n not in (1, m) for n, m in zip(found.shape[::-1], shape[::-1])):
        raise ValueError(f"{name} has shape {found.shape}, expected a number or an array that broadcasts to {shape}")
    if least is not None and (found < least).any():
        raise ValueError(f"{name} holds {found.min()}, expected at least {least:g}")
    return np.broadcast_to(found, shape)


def by_feature(name: str, value: Any, shape: tuple[int, ...], least: float | None = None) -> np.ndarray:
    """A prior with a number for each feature (..., D); one that lacks that axis has the same for all features.

    What an array means so does not depend on how many states and features there are. Raises TypeError or ValueError.
    """
    found = finite(name, value, "fiu")
    if found.ndim < len(shape):
        found = as_prior(name, found, shape[:-1], least)[..., None]
    return as_prior(name, found, shape, least)


def check_dirichlet(name: str, prior: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The prior, a number or an array that broadcasts to the shape, as floats of that shape, if from 1 on.

    Below 1 the density of Dirichlet's distribution is infinite where a probability is 0, so it has no largest value
    for learning to climb to. Raises TypeError or ValueError.
    """
    found = as_prior(name, prior, shape)
    if (found < 1.0).any():
        raise ValueError(
            f"{name} holds {found.min()}, expected at least 1: below, there is no largest density to climb to"
        )
    return found


def mean_and_variance(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each feature (D,), over the frames of X (M, D) that have it; 0 where none has.

    Sums are of differences from one of the frames: a feature that is constant has exactly that mean and variance 0.
    Raises ValueError for numbers whose squares leave the range of doubles.
    """
    seen = ~np.isnan(X)
    first = np.where(seen.any(axis=0), X[seen.argmax(axis=0), np.arange(X.shape[1])], 0.0)
    count = np.maximum(seen.sum(axis=0), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(seen, X - first, 0.0)
        mean = away.sum(axis=0) / count
        variance = (np.where(seen, away - mean, 0.0) ** 2).sum(axis=0) / count
    for d in np.flatnonzero(~np.isfinite(variance))[:1]:
        raise ValueError(f"X[:, {d}] holds numbers up to {np.nanmax(abs(X[:, d]))}, too large for their variance")
    return first + mean, variance


def check_seen(X: np.ndarray) -> None:
    """Raise ValueError for a feature of X (M, D) that no frame has: nothing can be learned about it."""
    for d in np.flatnonzero(np.isnan(X).all(axis=0))[:1]:
        raise ValueError(f"X[:, {d}] is NaN throughout, expected each feature to be observed at least once")


def centres(X: np.ndarray, k: int, rng: np.random.Generator, init: str, restart: int = 0) -> np.ndarray:
    """k points (k, D) to begin with: centres of clusters of X (M, D) for "kmeans", frames for "random".

    Clusters after the first start are those of frames drawn apart from each other: each start has others.
    """
    if init == "random":
        drawn = X[rng.choice(len(X), k, len(X) < k)]
        return np.where(np.isnan(drawn), mean_and_variance(X)[0], drawn)
    return k_means(X, k, rng) if restart == 0 else k_means(X, k, rng, rounds=1, tries=1, candidates=1)


def nearest(X: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which of the points (k, D) is nearest to each frame of X (M, D), by the features that the frame has (M,)."""
    points, seen, back = standardise(X)
    return distances(points, seen, (found - back[0]) / back[1]).argmin(axis=1)


def k_means(
    X: np.ndarray,
    k: int,
    rng: np.random.Generator,
    rounds: int = 30,
    tries: int = 3,
    candidates: int | None = None,
) -> np.ndarray:
    """Centres (k, D) of clusters of X (M, D): k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's rounds.

    The best of several tries begins; each next centre is the best of some candidates, 2 + log k if not given. Features
    are scaled to unit variance for the distances, which are over the features that a frame has (Chi, Chi & Baraniuk
    2016). At most 20,000 frames are looked at.
    """
    if len(X) > 20_000:
        X = X[rng.choice(len(X), 20_000, replace=False)]
    points, seen, (mean, spread) = standardise(X)
    candidates = candidates or 2 + int(np.log(k))
    found, _ = min((seeds(points, seen, k, rng, candidates) for _ in range(tries)), key=lambda pair: pair[1])
    for _ in range(rounds):
        label = distances(points, seen, found).argmin(axis=1)
        counts = np.bincount(label, minlength=k)[:, None] if seen is None else sums_by_label(label, seen, k)
        moved = np.where(counts > 0, sums_by_label(label, points, k) / np.maximum(counts, 1), found)
        if np.allclose(moved, found):
            break
        found = moved
    return found * spread + mean


def seeds(
    points: np.ndarray, seen: np.ndarray | None, k: int, rng: np.random.Generator, candidates: int
) -> tuple[np.ndarray, float]:
    """Which k points begin, and the sum of all squared distances from the nearest of them.

    A point is drawn in proportion to its squared distance; of the candidates the one stays that leaves the least sum.
    """
    chosen = completed(points, seen, rng.integers(len(points), size=1))
    near = distances(points, seen, chosen)[:, 0]
    for _ in range(1, k):
        total = near.sum()
        weights = near / total if total > 0 else None  # all points are chosen already: any will do
        drawn = completed(points, seen, rng.choice(len(points), candidates, p=weights))
        left = np.minimum(near[:, None], distances(points, seen, drawn))
        best = int(left.sum(axis=0).argmin())
        chosen = np.vstack([chosen, drawn[best]])
        near = left[:, best]
    return chosen, float(near.sum())


def completed(points: np.ndarray, seen: np.ndarray | None, drawn: np.ndarray) -> np.ndarray:
    """The points drawn, what each lacks being that of the nearest point that has it, by the features of both."""
    found = points[drawn]
    if seen is None:
        return found
    for point, own in zip(found, seen[drawn]):
        common = seen * own
        count = common.sum(axis=1)
        away = (common * (points - point) ** 2).sum(axis=1) / np.maximum(count, 1.0)
        for d in np.flatnonzero(own == 0):
            point[d] = points[np.where((seen[:, d] > 0) & (count > 0), away, np.inf).argmin(), d]
    return found


def standardise(X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, tuple[np.ndarray, np.ndarray]]:
    """X (M, D) with mean 0 and variance 1, and 0 where missing; 1 where there is a number, or None if all are there;
    and the mean and the spread (D,)."""
    mean, variance = mean_and_variance(X)
    spread = np.where(variance > 0, np.sqrt(variance), 1.0)
    seen = ~np.isnan(X)
    if seen.all():
        return (X - mean) / spread, None, (mean, spread)
    return np.where(seen, (X - mean) / spread, 0.0), seen.astype(float), (mean, spread)


def distances(points: np.ndarray, seen: np.ndarray | None, found: np.ndarray) -> np.ndarray:
    """The squares of the distances (M, k) of points (M, D) from others (k, D), over what is seen (M, D)."""
    away = points @ (-2.0 * found.T)
    away += (found**2).sum(axis=1) if seen is None else seen @ (found**2).T
    away += np.einsum("md,md->m", points, points)[:, None]
    return np.maximum(away, 0.0, out=away)


def sums_by_label(label: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """The sums (k, D) of the values (M, D) that have each label (M,)."""
    return np.stack([np.bincount(label, column, minlength=k) for column in values.T], axis=1)
