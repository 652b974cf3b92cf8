"""Sequences of different lengths without padding: sorted by length, so that those still running come first.

Of S sequences sorted by decreasing length, the first n_t have a step t. What belongs to step t is n_t neighbouring rows
of a packed array of N = n_0 + ... + n_{T-1} rows, and no work is spent on sequences that have ended.
"""

from __future__ import annotations

import numpy as np


def sort_and_shrink(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How S sequences of these lengths (S,), all at least 1, are packed.

    Returns the order (S,), by decreasing length, equal ones as they came; n_t (T,), how many have a step t; and for
    each packed row its step (N,) and its position (N,) among the sorted sequences.

    >>> order, running, steps, positions = sort_and_shrink(np.array([1, 3, 2]))
    >>> order.tolist(), running.tolist(), steps.tolist(), positions.tolist()
    ([1, 2, 0], [3, 2, 1], [0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0])
    """
    order = np.argsort(-lengths, kind="stable")
    running = len(lengths) - np.searchsorted(lengths[order][::-1], np.arange(lengths.max()), side="right")
    steps = np.repeat(np.arange(len(running)), running)
    positions = np.arange(len(steps)) - np.repeat(np.cumsum(running) - running, running)
    return order, running, steps, positions
