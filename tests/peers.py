"""Libraries that tests compare with: a test that uses one which is not installed is skipped, and the others run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


class Peer:
    """A library that is imported when a test first asks it for something."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for marks of its own on whatever a module holds
            raise AttributeError(attribute)
        module = pytest.importorskip(
            self._name, reason=f"{self._name} comes with the test extra, as independent oracle"
        )
        return getattr(module, attribute)


torch = Peer("torch")


def tensor(values: Any) -> Any:
    """A tensor of PyTorch; where that is not installed, an array, so that all else is tested."""
    try:
        import torch as found
    except ImportError:
        return np.asarray(values)
    return found.tensor(values)


def listed(checks: Any) -> Any:
    """scikit-learn's mark of checks with a list in the place of a generator, which pytest takes no more."""
    names, values = checks.args
    return pytest.mark.parametrize(names, list(values), **checks.kwargs)
