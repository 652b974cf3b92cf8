"""Executed notebooks as pages and as slides: one file each, with formulas in MathML, which browsers draw by themselves.

nbconvert makes the page and latex2mathml the formulas. A page needs no network; slides fetch reveal.js.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import latex2mathml.converter
import nbformat
from nbconvert import HTMLExporter, SlidesExporter

CODE = r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
FORMULA = re.compile(
    CODE + r"|\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?=\S)(?P<inline>[^$]+?)(?<=\S)\$(?!\d)", re.DOTALL | re.MULTILINE
)
UNUSED = re.compile(  # what would fetch MathJax and Mermaid, and scripts without a source
    r'<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->|<script src=""></script>'
    r'|<script type="module">(?:(?!</script>).)*?mermaid.*?</script>',
    re.DOTALL,
)
SPACED = (  # formulas and the rows of one apart, so that fractions do not run into each other
    "<style>math[display=block] {margin: 0.7em 0} mtd[columnalign] {padding-top: 0.4em; padding-bottom: 0.4em}"
    "mtd[columnalign=left] {text-align: left} mtd[columnalign=right] {text-align: right}</style>"
)
BARS = {"Vert": "\u2016", "|": "\u2016", "vert": "|"}
BIG_BAR = re.compile(r"(\\[Bb]igg?[lrm]?)\s*\\(?:[lr]?(Vert|vert)\b|(\|))")  # unknown to latex2mathml, without \big too
ICON_FONT = re.compile(r"""<link [^>]*href=["'][^"']*font-awesome[^>]*>""")  # what matplotlib's animations would fetch
ICON = re.compile(r'<i class="fa fa-([a-z -]+)"></i>')
SIGNS = {
    "minus": "&minus;",
    "fast-backward": "|&lt;&lt;",
    "step-backward": "|&lt;",
    "play fa-flip-horizontal": "&lt;",
    "pause": "||",
    "play": "&gt;",
    "step-forward": "&gt;|",
    "fast-forward": "&gt;&gt;|",
    "plus": "+",
}
LINK = re.compile(r"""(href=["'])(\d\d_\w+)\.ipynb""")


def mathml(tex: str, display: bool) -> str:
    """A formula as MathML. Raises ValueError for one with a command that latex2mathml does not know."""
    text = tex.replace("{aligned}", "{align*}")
    text = re.sub(r"\\\\\s*\[[^]]*\]", r"\\\\", text)  # the height of a line is the browser's to choose
    text = BIG_BAR.sub(lambda match: match[1] + BARS[match[2] or match[3]], text)
    try:
        found = latex2mathml.converter.convert(text, display="block" if display else "inline")
    except Exception as error:  # its errors have no common base
        raise ValueError(f"formula {tex!r}: {type(error).__name__} {error}") from error
    unknown = re.findall(r">\s*(\\(?:[A-Za-z]+|.)|&)\s*<", found)
    if unknown:
        raise ValueError(f"formula {tex!r}: {', '.join(unknown)} cannot be drawn")
    return found


def formulas(text: str) -> list[tuple[str, bool]]:
    """The formulas of a Markdown text in order, each with whether it stands on lines of its own."""
    found = [match for match in FORMULA.finditer(text) if not match["code"]]
    return [(match["display"] or match["inline"], match["display"] is not None) for match in found]


def page(notebook: Any, title: str, slides: bool = False) -> str:
    """The HTML of an executed notebook, which stays as it is; solutions are folded as they are there.

    Slides begin at headings of level 1 and 2, unless cells say otherwise in `slideshow`. Raises ValueError for a
    formula that cannot be drawn.
    """
    drawn: list[str] = []

    def keep(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        drawn.append(mathml(match["display"] or match["inline"], match["display"] is not None))
        return f"FORMULA{len(drawn) - 1}X"

    shown = copy.deepcopy(notebook)
    if slides:
        shown.cells = at_headings(shown.cells)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(keep, cell.source)
        for output in cell.get("outputs", []):
            if "text/latex" in output.get("data", {}):
                tex = output.data.pop("text/latex").strip()
                output.data["text/html"] = mathml(tex.strip("$"), tex.startswith("$$"))
    exporter = SlidesExporter(reveal_scroll=True) if slides else HTMLExporter()
    exporter.require_js_url = exporter.jquery_url = ""
    html, _ = exporter.from_notebook_node(shown, resources={"metadata": {"name": title}})
    html = ICON.sub(lambda match: SIGNS.get(match[1], ""), ICON_FONT.sub("", html))
    html = UNUSED.sub("", html).replace("</head>", f"{SPACED}</head>", 1)
    html = re.sub(r"FORMULA(\d+)X", lambda match: drawn[int(match[1])], html)
    return LINK.sub(r"\1\2.slides.html" if slides else r"\1\2.html", html)


def at_headings(cells: list[Any]) -> list[Any]:
    """The cells with texts cut before each heading of level 2, and slides beginning at these and at level 1."""
    found = []
    for cell in cells:
        texts = [cell.source]
        if cell.cell_type == "markdown":
            texts = [text.strip() for text in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE) if text.strip()]
        for text in texts:
            part = nbformat.from_dict({**cell, "source": text, "id": f"cell-{len(found) + 1}"})
            heading = cell.cell_type == "markdown" and text.startswith(("# ", "## "))
            part.metadata = {"slideshow": {"slide_type": "slide" if heading else "-"}, **cell.metadata}
            found.append(part)
    return found
