"""Progress bars for long work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def progress_bar(iterable: Iterable[Any] | None = None, show: bool = True, **options: Any) -> Any:
    """tqdm's bar, a widget in notebooks that have ipywidgets; when not shown, one that warns of nothing."""
    if show:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(iterable, disable=not show, **options)
