"""Shared by all tests: floating-point trouble raises, and arrays of every kind are drawn from one seeded generator."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from cuda_shim import shim, shim_folder  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def _floating_point_errors_raise() -> Iterator[None]:
    with np.errstate(all="raise", under="ignore"):  # a complex step of 1e-200 underflows in products, as it must
        yield


@pytest.fixture(autouse=True, scope="module")
def _no_processes_are_left_over() -> Iterator[None]:
    """joblib keeps its processes for the next call: they are none of the next module's."""
    yield
    if "joblib.externals.loky" in sys.modules:
        sys.modules["joblib.externals.loky"].get_reusable_executor().shutdown(wait=True)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250224)
