"""Progress bars for long work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def progress_bar(iterable: Iterable[Any] | None = None, show: bool = True, **options: Any) -> Any:
    """tqdm's bar, a widget in notebooks that have ipywidgets.

    Not shown, it is tqdm's plain one: the widget would warn of a missing ipywidgets even where nobody sees it.
    """
    if show:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(iterable, disable=not show, **options)
