"""Pictures one after another in a page, with a slider: they are drawn beforehand, so that no kernel need run."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from ..checks import as_list, check_sizes
from .style import to_png

SHOW = (  # what the slider does: only its picture is shown, and its label
    "var box=this.closest('.rnn-frames'), at=+this.value;"
    "box.querySelectorAll('figure').forEach(function(each,k){each.style.display=k===at?'block':'none'});"
)
PLAY = (  # what the button does: from the first picture to the last; pressed again, it stops
    "var b=this, s=b.parentNode.querySelector('input'), last=+s.max;"
    "function stop(){clearInterval(b.clock);b.clock=null;b.textContent='play'}"
    "if(b.clock){stop();return}"
    "s.value=0;s.oninput();b.textContent='stop';"
    "b.clock=setInterval(function(){if(!s.isConnected||+s.value>=last){stop();return}s.value=+s.value+1;s.oninput()},900)"
)


class Frames:
    """Pictures (PNG) with a label each. In a notebook a slider moves through them, without a kernel or the net.

    Where a page holds no script, and in print, the one numbered `still` stands alone. `html()` is the part of a page
    and `images` are the files' bytes.
    """

    def __init__(self, images: Sequence[bytes], labels: Sequence[str], label: str, still: int = 0, play: bool = True):
        self.images, self.labels, self.label, self.still, self.play = list(images), list(labels), label, still, play

    def html(self) -> str:
        name = escape(self.label)
        figures = []
        for k, (image, label) in enumerate(zip(self.images, self.labels)):
            shown = "block" if k == self.still else "none"
            source = f"data:image/png;base64,{b64encode(image).decode()}"
            caption = f'<figcaption style="font-family: sans-serif">{escape(label)}</figcaption>'
            picture = f'<img src="{source}" alt="{escape(label)}" style="max-width: none">'
            figures.append(f'<figure style="display: {shown}; margin: 0; overflow-x: auto">{caption}{picture}</figure>')
        button = f'<button type="button" onclick="{PLAY}">play</button> ' if self.play else ""
        slider = (
            f'<input type="range" min="0" max="{len(self.images) - 1}" value="{self.still}" step="1" oninput="{SHOW}" '
            f'aria-label="{name}" style="width: 50%; vertical-align: middle">'
        )
        controls = f'<div style="font-family: sans-serif">{button}<label>{name} {slider}</label></div>'
        return f'<div class="rnn-frames">{controls}{"".join(figures)}</div>'

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_png_(self) -> bytes:
        return self.images[self.still]

    def __repr__(self) -> str:
        return f"Frames({len(self)} pictures, from {self.labels[0]!r} to {self.labels[-1]!r})"

    def __len__(self) -> int:
        return len(self.images)


class Pages:
    """Pictures of one size, as one after another is drawn."""

    def __init__(self, dpi: int):
        self.dpi, self.images = dpi, list[bytes]()

    def add(self, ax: Any) -> None:
        self.images.append(to_png(ax, self.dpi))


def sliders(function: Callable[[Any], Any], values: Sequence[Any], label: str = "value", dpi: int = 80) -> Frames:
    """The pictures of one function at several values, behind a slider that works without a kernel.

    function(value) draws and returns the Axes, as all functions here do; it is called once for each of the values, now.
    `label` names what the slider moves. The first picture is the still one. Raises TypeError where the function returns
    no Axes, and ValueError without values.
    """
    values = as_list("values", values)
    check_sizes(dpi=dpi)
    if not values:
        raise ValueError("values is empty, expected at least one")
    if not callable(function):
        raise TypeError(f"function is {type(function).__name__}, expected one that draws and returns the Axes")
    pages = Pages(dpi)
    for value in values:
        ax = function(value)
        if not hasattr(ax, "figure"):
            raise TypeError(f"function returned {type(ax).__name__} for {value!r:.60}, expected the Axes it drew into")
        pages.add(ax)
    labels = [f"{label}: {value:g}" if isinstance(value, int | float) else f"{label}: {value}" for value in values]
    return Frames(pages.images, labels, label, still=0, play=False)
