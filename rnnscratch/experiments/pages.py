"""Reports as HTML files that load nothing: tables, pictures inside them, and the look of the page."""

from __future__ import annotations

import base64
import os
import platform
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from .. import plots
from ..files import atomic_write

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem} table{border-collapse:collapse;margin:.8rem
0;font-variant-numeric:tabular-nums} th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #333}
.pictures{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
.pictures img{max-width:100%;height:auto} .review{border-left:3px solid
#bbb;padding:.1rem .9rem;margin:.8rem 0;font-size:.93rem}.note{color:#555;font-size:.93rem}
@media(max-width:40rem){table{display:block;overflow-x:auto}th,td{padding:.25rem .4rem}}
"""
NO_PICTURES = "<p class=note>No pictures: matplotlib is not installed (pip install 'rnnscratch[plots]').</p>"
END = 350  # characters of each end of a long text that are shown


def write_page(path: str | os.PathLike[str], title: str, parts: Sequence[str], style: str = "") -> None:
    """Write the page; a failure leaves an older file whole."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    head += f"<style>{STYLE}{style}</style>"
    with atomic_write(path) as file:
        file.write(f"<!doctype html><html lang=en>{head}" + "\n".join(parts) + "</html>\n")


def machine() -> str:
    """What runs here, for the protocol."""
    return f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, {platform.system()}"


def shortened(text: str) -> str:
    """A text in one line without its line breaks, a long one by its two ends."""
    text = " ".join(text.replace("<br />", " ").split())
    return text if len(text) <= 2 * END else f"{text[:END]} \u2026 {text[-END:]}"


def html_table(lines: Sequence[Sequence[str]]) -> str:
    """The lines, of which the first is the head, as HTML."""

    def typeset(cell: str) -> str:
        return escape(cell.replace("+-", "\u00b1").replace("->", "\u2192"))

    head, *body = lines
    top = "".join(f"<th>{typeset(cell)}" for cell in head)
    rest = "".join("<tr>" + "".join(f"<td>{typeset(cell)}" for cell in line) for line in body)
    return f"<table><thead><tr>{top}</thead><tbody>{rest}</tbody></table>"


def text_table(lines: Sequence[Sequence[str]], left: int | None = None) -> str:
    """The lines as text; the first `left` columns, or all, begin on one line, the others end on one."""
    widths = [max(map(len, column)) for column in zip(*lines)]

    def placed(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if left is None or k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths))
        )
        return "  ".join(cells).rstrip()

    return "\n".join(map(placed, lines))


def section(title: str, draw: Sequence[Callable[[], Any]], words: Sequence[str] = (), width: int = 470) -> list[str]:
    """A heading, paragraphs, and pictures side by side; nothing where there is none."""
    if not draw:
        return []
    images = []
    for function in draw:
        ax = function()
        alternative = escape(f"{title}: {ax.get_title() or ax.get_xlabel()}")
        encoded = base64.b64encode(plots.to_png(ax)).decode("ascii")
        pixels = round(width * max(1.0, ax.figure.get_figwidth() / 5.0))  # as large as others where it is wider
        images.append(f'<img alt="{alternative}" width={pixels} src="data:image/png;base64,{encoded}">')
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in words)
    return [f"<h2>{escape(title)}</h2>{text}<div class=pictures>{''.join(images)}</div>"]
