"""What is shown of long work; nothing that happens to it stops the work."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any


class Shown:
    """An output stream that may end before the work: where its reader has gone (`| head`), what is written is lost."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text if anybody can still have it."""
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._try("flush")

    def _try(self, action: str, *arguments: str) -> None:
        stream = self._stream
        try:
            if stream is not None:
                getattr(stream, action)(*arguments)
        except UnicodeEncodeError:  # a console of another alphabet
            encoding = stream.encoding
            self._try(action, *(text.encode(encoding, "replace").decode(encoding) for text in arguments))
        except BrokenPipeError:
            self._stream = None
        except OSError:
            pass  # a terminal that is gone, a log on a full disk: perhaps the next text finds a place
        except ValueError:
            if not stream.closed:
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def shown(stream: Any) -> Any:
    """The process's own stream, or None, as one that never fails; others, such as a notebook's, as they are."""
    return Shown(stream) if stream is None or type(stream) is io.TextIOWrapper else stream


def progress_bar(iterable: Iterable[Any] | None = None, show: bool = True, **options: Any) -> Any:
    """tqdm's bar, a widget in notebooks that have ipywidgets.

    Not shown, it is tqdm's plain one: the widget would warn of a missing ipywidgets even where nobody sees it.
    """
    if show:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(iterable, disable=not show, file=shown(sys.stderr), **options)


def say(message: str) -> None:
    """Print a line, above any bar."""
    from tqdm.auto import tqdm

    tqdm.write(message, file=shown(sys.stdout))
