"""Executed notebooks as pages and as slides: one file each, with formulas in MathML, which browsers draw by themselves.

nbconvert makes the page and latex2mathml the formulas. Slides are the same page cut into sections, one on the screen at
a time: keys turn them and scroll through those that are longer, and each begins a sheet when they are printed. Neither
needs a network.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import latex2mathml.converter
import nbformat
from nbconvert import HTMLExporter

CODE = r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
FORMULA = re.compile(
    CODE + r"|\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?=\S)(?P<inline>[^$]+?)(?<=\S)\$(?!\d)", re.DOTALL | re.MULTILINE
)
UNUSED = re.compile(  # what would fetch MathJax and Mermaid, and scripts without a source
    r'<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->|<script src=""></script>'
    r'|<script type="module">(?:(?!</script>).)*?mermaid.*?</script>',
    re.DOTALL,
)
STYLE = """<style>
math {font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "Libertinus Math", "TeX Gyre Termes Math",
  "DejaVu Math TeX Gyre", math}
math[display=block] {margin: 0.7em 0}
mtd[columnalign] {padding-top: 0.4em; padding-bottom: 0.4em}
mtd[columnalign=left] {text-align: left}
mtd[columnalign=right] {text-align: right}
.whole {white-space: nowrap}
:is(.jp-RenderedMarkdown p, .jp-RenderedMarkdown li):has(> math mfrac, > .whole mfrac) {line-height: 2.4}
.formula {display: block; overflow: auto hidden}
.highlight pre, .jp-OutputArea-output {overflow-x: auto}
.jp-RenderedText pre {word-break: normal; overflow-wrap: anywhere}
.jp-RenderedMarkdown pre, .jp-RenderedMarkdown pre code {white-space: pre; overflow-x: auto}
.jp-RenderedHTML td pre {background: none}
details {margin-bottom: 1em}
@media screen and (max-width: 700px) {
  :root {--jp-cell-prompt-width: 0px}
  .jp-OutputPrompt {display: none}
  .jp-RenderedText pre, .jp-RenderedHTML td pre {white-space: pre; overflow-x: auto}
  .jp-RenderedHTMLCommon table {display: block; overflow-x: auto}
  .jp-RenderedHTML td {white-space: nowrap}
  .jp-RenderedMarkdown p {overflow: auto hidden}
  .jp-RenderedImage img {max-width: max(100%, 800px)}
}
@page {margin: 12mm}
@media print {
  :root {--jp-cell-prompt-width: 0px; --jp-code-font-size: 7.5pt; --jp-content-font-size1: 10pt}
  body.jp-Notebook {padding: 0}
  .jp-InputPrompt, .jp-OutputPrompt {display: none}
  .highlight pre, .jp-RenderedText pre {white-space: pre-wrap}
  .jp-RenderedMarkdown pre, .jp-RenderedMarkdown pre code {font-size: var(--jp-code-font-size)}
  .jp-RenderedHTMLCommon table {font-size: 8pt}
  .jp-RenderedHTMLCommon td code {white-space: normal; overflow-wrap: anywhere}
  .formula, .jp-OutputArea-output {overflow: visible}
  .jp-Cell, .jp-Cell-inputWrapper, .jp-InputArea, .jp-InputArea-editor {display: block}
  h1, h2, h3 {break-after: avoid}
  img, tr {break-inside: avoid}
}
</style>"""  # formulas apart from each other; code, tables and pictures too wide for the screen scroll
BARS = {"Vert": "\u2016", "|": "\u2016", "vert": "|"}
BIG_BAR = re.compile(r"(\\[Bb]igg?[lrm]?)\s*\\(?:[lr]?(Vert|vert)\b|(\|))")  # unknown to latex2mathml, without \big too
ADDED = re.compile(r"<mo><mrow><mo>&#x0002B;</mo></mrow></mo><mo>&#x0003D;</mo>")  # what it makes of \\mathrel{+}=
PRIME = r"<mi>(&#x0203[234];)</mi>"
PRIMED = [  # as high and as large as the font has it, not once more raised and made small
    (re.compile(rf"<msup>(<mi[^>]*>[^<]*</mi>){PRIME}</msup>"), r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>'),
    (
        re.compile(rf"<msubsup>(<mi[^>]*>[^<]*</mi>)((?:(?!<msubsup>).)*?){PRIME}</msubsup>"),
        r'<msub><mrow>\1<mo lspace="0" rspace="0">\3</mo></mrow>\2</msub>',
    ),
    (
        re.compile(rf"<msup>(<mi[^>]*>[^<]*</mi>)<mrow>{PRIME}"),
        r'<msup><mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow><mrow>',
    ),
]
BAR = re.compile(r'<mo(?: fence="false")?(?: stretchy="false")?>(&#x0007C;|&#x02016;)</mo>')
LETTER = re.compile(r"<mo>(&#x0(?:2202|2207|221E|22A4);)</mo>")  # of TeX's letters: partial, nabla, infinity, top
NAMED = re.compile(  # a function's name, with what stands before it and whether a bracket or a prime follows
    r"(</m(?:[in]|frac|sup|sub|subsup|row)>)?((?:<ms(?:ub|up)>)?)<mi>(log|ln|exp|tanh|sin|cos)</mi>(?=(<mo[^>]*>&#x0(?:0028|203[234]);)?)"
)
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
SHOWN = 8  # lines of code above a picture that a slide shows
SETUP = 'find_spec("rnnscratch")'  # the first code cell: nothing to show in a lecture
CELL = re.compile(r'<div class="jp-Cell [^>]*id="cell-id=([^"]+)">')
SLIDES = """<style>
:root {--jp-content-font-size1: 20px; --jp-code-font-size: 14px; --jp-cell-prompt-width: 0px}
body.jp-Notebook {margin: 0; padding: 0; overflow: hidden}
.jp-InputPrompt, .jp-OutputPrompt {display: none}
.jp-RenderedHTMLCommon table {font-size: 16px}
.jp-CodeCell > details > summary {font: 16px sans-serif}
.jp-RenderedMarkdown pre, .jp-RenderedMarkdown pre code {font-size: var(--jp-code-font-size)}
main {display: flex; height: 100vh; overflow: auto hidden; scroll-snap-type: x mandatory; scrollbar-width: none}
main > section {flex: 0 0 100vw; box-sizing: border-box; height: 100vh; padding: 2vh max(1vw, 50vw - 600px) 3em;
  overflow: hidden auto; scroll-snap-align: start; scroll-snap-stop: always; outline: none}
.slide-number {position: fixed; right: 1.5em; bottom: 0.5em; padding: 0 0.3em; background: white; color: #555;
  font-family: sans-serif}
@media screen and (max-width: 700px) {
  :root {--jp-content-font-size1: 17px}
  .jp-RenderedHTMLCommon table {font-size: 14px}
}
@page {size: 340mm 230mm}
@media print {
  body.jp-Notebook {overflow: visible}
  main, main > section {display: block; height: auto; overflow: visible}
  main > section {break-after: page; padding: 0}
  .slide-number {display: none}
}
</style>"""
TURNING = """<div class="slide-number"></div>
<script>
const main = document.querySelector('main'), all = main.children, number = document.querySelector('.slide-number');
let now = 0;
const said = () => {
  number.textContent = `${now + 1} / ${all.length}`;
  history.replaceState(null, '', `#${now + 1}`);
};
const turn = k => {
  now = Math.max(0, Math.min(k, all.length - 1));
  main.scrollLeft = now * main.clientWidth;
  all[now].focus({preventScroll: true});
  said();
};
main.addEventListener('scroll', () => {now = Math.round(main.scrollLeft / main.clientWidth); said()});
window.addEventListener('resize', () => turn(now));
window.addEventListener('keydown', event => {
  const typed = event.target.matches('input, select, textarea');
  if (typed || event.ctrlKey || event.altKey || event.metaKey) return;
  const slide = all[now], key = event.key;
  if (key === ' ' && event.target.matches('button, summary, [tabindex="0"]')) return;
  const to = {ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: all.length}[key];
  const way = {PageDown: 1, PageUp: -1, ' ': event.shiftKey ? -1 : 1}[key];
  if (to === undefined && way === undefined) return;
  event.preventDefault();
  const end = slide.scrollHeight - slide.clientHeight, left = way > 0 ? end - slide.scrollTop : slide.scrollTop;
  if (to !== undefined) turn(to);
  else if (left > 2) slide.scrollBy({top: 0.85 * way * slide.clientHeight});
  else turn(now + way);
});
turn((parseInt(location.hash.slice(1)) || 1) - 1);
</script>"""
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
    found = ADDED.sub('<mo lspace="0.28em" rspace="0.28em">+=</mo>', found)
    for primed, instead in PRIMED:
        found = primed.sub(instead, found)
    found = BAR.sub(r'<mo lspace="0" rspace="0" stretchy="false">\1</mo>', found)
    found = LETTER.sub(r'<mi mathvariant="normal">\1</mi>', found)
    found = NAMED.sub(spaced, found)
    unknown = re.findall(r">\s*(\\(?:[A-Za-z]+|.)|&)\s*<", found)
    if unknown:
        raise ValueError(f"formula {tex!r}: {', '.join(unknown)} cannot be drawn")
    return found


def spaced(match: re.Match[str]) -> str:
    """A function's name with TeX's spaces: after what it multiplies, and before its argument without brackets."""
    before, opened, name, bracket = match.groups()
    space = f'lspace="{"0.17em" if before else "0"}" rspace="{"0" if bracket else "0.17em"}"'
    return f"{before or ''}{opened}<mo {space}>{name}</mo>"


def formula(tex: str, display: bool) -> str:
    """As it stands in a page: one on a line of its own can be scrolled."""
    return f'<span class="formula">{mathml(tex, True)}</span>' if display else mathml(tex, False)


def formulas(text: str) -> list[tuple[str, bool]]:
    """The formulas of a Markdown text in order, each with whether it stands on lines of its own."""
    found = [match for match in FORMULA.finditer(text) if not match["code"]]
    return [(match["display"] or match["inline"], match["display"] is not None) for match in found]


def page(notebook: Any, title: str, slides: bool = False) -> str:
    """The HTML of an executed notebook, which stays as it is; solutions are folded as they are there.

    Slides begin at headings of level 1 and 2 and at texts after code, unless cells say otherwise in `slideshow`; what
    is "skip" or "notes" there is left out. On slides the code above a picture is folded as well. Raises ValueError for
    a formula that cannot be drawn.
    """
    drawn: list[str] = []

    def keep(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        drawn.append(formula(match["display"] or match["inline"], match["display"] is not None))
        return f"FORMULA{len(drawn) - 1}X"

    shown = copy.deepcopy(notebook)
    if slides:
        shown.cells = [cell for cell in slides_of(shown.cells) if kind_of(cell) not in ("skip", "notes")]
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(keep, cell.source)
        for output in cell.get("outputs", []):
            if "text/latex" in output.get("data", {}):
                tex = output.data.pop("text/latex").strip()
                output.data["text/html"] = formula(tex.strip("$"), tex.startswith("$$"))
    exporter = HTMLExporter()
    exporter.require_js_url = exporter.jquery_url = ""
    html, _ = exporter.from_notebook_node(shown, resources={"metadata": {"name": title}})
    html = ICON.sub(lambda match: SIGNS.get(match[1], ""), ICON_FONT.sub("", html))
    html = UNUSED.sub("", html).replace("</head>", f"{STYLE}{SLIDES if slides else ''}</head>", 1)
    if slides:
        for cell in shown.cells:
            if draws(cell) and len(cell.source.splitlines()) > SHOWN:
                html = folded(html, cell.id)
        html = in_sections(html, {cell.id for cell in shown.cells if kind_of(cell) in ("slide", "subslide")})
    html = re.sub(r"FORMULA\d+X[.,;:?!)]+", r'<span class="whole">\g<0></span>', html)
    html = re.sub(r"FORMULA(\d+)X", lambda match: drawn[int(match[1])], html)
    return LINK.sub(r"\1\2.slides.html" if slides else r"\1\2.html", html)


def slides_of(cells: list[Any]) -> list[Any]:
    """The cells with texts cut before each heading of level 2, each with its kind: "slide" at headings, "subslide" at
    a text after code, "skip" for the cell that finds the library, "-" for what goes on, or what it is said to be
    already."""
    found: list[Any] = []
    for cell in cells:
        texts = [cell.source]
        if cell.cell_type == "markdown":
            texts = [text.strip() for text in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE) if text.strip()]
        for text in texts:
            part = nbformat.from_dict({**cell, "source": text, "id": f"cell-{len(found) + 1}"})
            kind = "-"
            if cell.cell_type == "markdown" and text.startswith(("# ", "## ")):
                kind = "slide"
            elif cell.cell_type == "markdown" and found and found[-1].cell_type == "code":
                kind = "subslide"
            elif SETUP in text:
                kind = "skip"
            part.metadata = {"slideshow": {"slide_type": kind}, **cell.metadata}
            found.append(part)
    return found


def draws(cell: Any) -> bool:
    """Whether a picture is among its outputs, as such or in HTML."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return any("image/png" in each or "<img" in "".join(each.get("text/html", "")) for each in data)


def folded(html: str, cell: str) -> str:
    """A page with the code of this cell folded away, so that its picture stands at the top."""
    code = rf'(id="cell-id={cell}">\s*)(<div class="jp-Cell-inputWrapper".*?)(?=<div class="jp-Cell-outputWrapper")'
    return re.sub(code, r"\1<details><summary>Code</summary>\2</details>", html, count=1, flags=re.DOTALL)


def kind_of(cell: Any) -> str:
    return cell.metadata["slideshow"]["slide_type"]


def in_sections(html: str, first: set[str]) -> str:
    """A page with its cells in sections, each from a cell whose id is in `first` to the next, and what turns them."""
    opened = 0

    def begin(match: re.Match[str]) -> str:
        nonlocal opened
        if opened and match[1] not in first:
            return match[0]
        opened += 1
        return f'{"</section>" * (opened > 1)}<section tabindex="-1">{match[0]}'

    return CELL.sub(begin, html).replace("</main>", f"</section></main>{TURNING}", 1)
