"""Shared by all tests: floating-point trouble raises, and arrays of every kind are drawn from one seeded generator."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from cuda_shim import shim, shim_folder  # noqa: F401 - fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--each",
        type=int,
        metavar="N",
        help="run at most N cases of each test, the first and the last among them: enough to see whether a version of "
        "Python or NumPy lacks something",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --each, keep N cases of a test, spread evenly over all of them."""
    most = config.getoption("--each")
    if most is None:
        return
    if most < 1:
        raise pytest.UsageError(f"--each is {most}, expected 1 or more")
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set()
    for each in cases.values():
        kept |= {each[round(k)] for k in np.linspace(0, len(each) - 1, min(most, len(each)))}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


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
