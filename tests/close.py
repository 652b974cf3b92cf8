"""How near a result on the device must be to the one on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnscratch.backend import get_array_module, to_cpu


def close(device: Any, host: Any, rtol: float | None = None, ordered: bool = True) -> bool:
    """Whether two arrays, the first on the device, are the same but for rounding, measured by the largest entry.

    With the fake of tests/strict_xp.py, which computes with NumPy, it asks for the same bits; on a real device for
    `rtol`, 1e-12 in double precision and 1e-5 in single where None. Not `ordered`: sums came in an order of chance,
    which the fake has too.
    """
    found, right = to_cpu(device), to_cpu(host)
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    exact = ordered and get_array_module(device).__name__ == "strict_xp"
    if exact or found.dtype.kind not in "fc":
        return np.array_equal(found, right, equal_nan=found.dtype.kind in "fc")
    if rtol is None:
        rtol = 1e-12 if found.real.dtype.itemsize == 8 else 1e-5
    largest = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    return np.allclose(found, right, rtol=rtol, atol=rtol * largest, equal_nan=True)


def assert_close(device: Any, host: Any, rtol: float | None = None, ordered: bool = True, message: str = "") -> None:
    """`close`, or AssertionError that shows where not."""
    if not close(device, host, rtol, ordered):
        np.testing.assert_array_equal(to_cpu(device), to_cpu(host), err_msg=message)
        raise AssertionError(f"{message} dtype or shape differ")
