"""Libraries that tests compare with: a test that uses one which is not installed is skipped, and the others run."""

from __future__ import annotations

from typing import Any

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
