"""Pages of the notebooks: every formula of the course is drawn without a network, slides begin where they should."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

for needed in ("latex2mathml", "nbconvert"):
    pytest.importorskip(needed, reason="it comes with the notebooks extra")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TEXT = """# Title
Price \\$5, and $a_1 < b$ in `$code$`.

```python
x = "$c$ and $$d$$"
```

$$\\sum_{t=1}^T x_t$$

See [the second](02_other.ipynb).

<details><summary>Solution</summary>

It is $e$.
</details>

## Second
"""


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    return importlib.import_module("pages")


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell) for cell in cells])


def test_every_formula_of_the_course_can_be_drawn(pages):
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        found = [formula for text in texts for formula in pages.formulas(text)]
        assert len(found) > 5, path.name
        for tex, display in found:
            assert pages.mathml(tex, display).startswith("<math"), f"{path.name}: {tex}"
        left = [line for text in texts for line in pages.FORMULA.sub("", text).splitlines() if "$" in line]
        assert not left, f"{path.name}: {left}"


def test_formulas_are_found_outside_code_alone(pages):
    assert pages.formulas(TEXT) == [("a_1 < b", False), ("\\sum_{t=1}^T x_t", True), ("e", False)]


def test_a_formula_and_the_stop_after_it_stay_on_one_line(pages):
    html = pages.page(notebook("It is $a$. So $b$ is (for $c$)?"), "01_small")
    assert re.findall(r'<span class="whole"><math.*?</math>([^<]*)</span>', html) == [".", ")?"]
    assert ".whole {white-space: nowrap}" in html


def test_rules_for_narrow_screens_are_not_those_of_paper(pages):
    """A sheet is narrower than such a screen, and nothing on it can be scrolled."""
    for html in (pages.page(notebook("# A"), "a"), pages.page(notebook("# A"), "a", slides=True)):
        style = html[html.index(".whole {") :]
        assert re.findall(r"@media [^{]*max-width[^{]*", style) == ["@media screen and (max-width: 700px) "] * (
            1 + ("slide-number" in html)
        )


def test_a_sign_of_two_characters_is_one(pages):
    assert pages.mathml("a \\mathrel{+}= b", False).count("<mo") == 1
    assert ">+=</mo>" in pages.mathml("a \\mathrel{+}= b", False)


def test_lines_that_are_aligned_become_a_table(pages):
    found = pages.mathml("\\begin{aligned} a &= b \\\\[1ex] c &= d \\end{aligned}", True)
    assert found.count("<mtr>") == 2 and found.count("<mtd") == 4 and "1ex" not in found


def test_functions_are_set_apart_as_tex_does(pages):
    def spaces(tex):
        return re.findall(r'<mo lspace="([^"]*)" rspace="([^"]*)">([a-z]+)</mo>', pages.mathml(tex, False))

    assert spaces(r"-\log p + D \log_2 V") == [("0", "0.17em", "log"), ("0.17em", "0.17em", "log")]
    assert spaces(r"\tanh(z) = a \exp(b)") == [("0", "0", "tanh"), ("0.17em", "0", "exp")]
    assert spaces(r"\tanh'(z)") == [("0", "0", "tanh")] and spaces(r"\tanh^2 z") == [("0", "0.17em", "tanh")]


def test_a_prime_is_not_made_small_and_stands_before_an_index(pages):
    prime = '<mo lspace="0" rspace="0">&#x02032;</mo>'
    assert f"<mrow><mi>f</mi>{prime}</mrow><mo" in pages.mathml("f'(x)", False)
    assert f"<msub><mrow><mi>b</mi>{prime}</mrow><mi>n</mi></msub>" in pages.mathml("b'_n", False)
    assert f"<msup><mrow><mi>U</mi>{prime}</mrow><mrow><mi " in pages.mathml(r"U'^\top", False)
    assert "<mi>&#x0203" not in pages.mathml("a'' + b_{n+1}' c_m + z'''", False)


def test_signs_that_are_letters_to_tex_bring_no_space_with_them(pages):
    found = pages.mathml(r"\partial h = -\infty U^\top + \nabla_x", False)
    assert re.findall(r'<mi mathvariant="normal">&#x0(\w+);', found) == ["2202", "221E", "22A4", "2207"]


@pytest.mark.parametrize(("tex", "bar"), [("|x|", "&#x0007C;"), (r"\|x\|", "&#x02016;")])
def test_a_norm_stands_close_to_what_it_holds(pages, tex, bar):
    assert pages.mathml(tex, False).count(f'<mo lspace="0" rspace="0" stretchy="false">{bar}</mo>') == 2
    assert "<mo>&#x02223;</mo>" in pages.mathml(r"p(a \mid b)", False)


@pytest.mark.parametrize("tex", ["\\nonsense{a}", "a & b", "x_a_b"])
def test_a_formula_that_cannot_be_drawn_is_told(pages, tex):
    with pytest.raises(ValueError, match=r"formula .*" + re.escape(repr(tex)[1:-1])):
        pages.mathml(tex, False)


@pytest.mark.parametrize("bar", [r"\lVert", r"\Vert", r"\|"])
def test_a_bar_may_be_big(pages, bar):
    assert re.search(">\u2016</mo><mi>x</mi><mo[^>]*>\u2016<", pages.mathml(rf"\Big{bar} x \Big{bar}", False))
    assert re.search(r">\|</mo><mi>x</mi><mo[^>]*>\|<", pages.mathml(r"\bigl\lvert x \bigr\rvert", False))


def test_an_animation_fetches_no_icons(pages):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    from matplotlib.animation import FuncAnimation
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    line = figure.add_subplot().plot([0.0, 1.0])[0]
    moving = FuncAnimation(figure, lambda k: [line.set_alpha(k / 2)], frames=2, init_func=lambda: [line])
    cell = nbformat.v4.new_code_cell("moving", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": moving.to_jshtml()})]
    given = notebook(TEXT)
    given.cells.append(cell)
    html = pages.page(given, "01_moving")
    assert not re.search(r"""<link[^>]*https?:|class="fa""", html)
    buttons = re.findall(r"<button[^>]*>\s*(.*?)\s*</button>", html, re.DOTALL)
    signs = ["&minus;", "|&lt;&lt;", "|&lt;", "&lt;", "||", "&gt;", "&gt;|", "&gt;&gt;|", "+"]
    assert buttons == signs


def test_a_page_needs_no_network_and_no_script_for_its_formulas(pages):
    given = notebook(TEXT)
    cell = nbformat.v4.new_code_cell("show()", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/latex": "$$\\frac{p}{q}$$", "text/plain": "p/q"})]
    given.cells.append(cell)
    html = pages.page(given, "01_small")
    assert html.count("<math ") == 4 and html.count("<mfrac>") == 1
    assert 'display="block"' in html and "<title>01_small</title>" in html and 'href="02_other.html"' in html
    assert "$code$" in html and "$c$ and $$d$$" in re.sub(r"<[^>]+>", "", html)
    assert re.search(r'<details>\s*<summary>Solution</summary>\s*<p>It is <span class="whole"><math', html)
    assert not re.search(r"""(src|href)\s*=\s*["']https?:|import\(|mathjax|cdnjs""", html, re.IGNORECASE)
    assert re.search(r'^math \{font-family: ".* Math", .*math\}', html, re.MULTILINE | re.DOTALL)  # signs that stretch
    assert given.cells[0].source == TEXT and "text/latex" in given.cells[1].outputs[0].data


def test_slides_begin_at_headings_and_at_texts_after_code_unless_a_cell_says_otherwise(pages):
    given = notebook("# Title\ntext\n\n## One\n\n### Part\n\n## Two", "more", "## Three", "aside", "after code")
    given.cells.insert(4, nbformat.v4.new_code_cell("print(1)"))
    given.cells[2].metadata = {"slideshow": {"slide_type": "subslide"}, "tags": ["kept"]}
    given.cells[3].metadata = {"slideshow": {"slide_type": "notes"}}
    cells = pages.slides_of(given.cells)
    assert [(cell.source.splitlines()[0], pages.kind_of(cell)) for cell in cells] == [
        ("# Title", "slide"),
        ("## One", "slide"),
        ("## Two", "slide"),
        ("more", "-"),
        ("## Three", "subslide"),
        ("aside", "notes"),
        ("print(1)", "-"),
        ("after code", "subslide"),
    ]
    assert cells[4].metadata["tags"] == ["kept"] and given.cells[0].source.startswith("# Title\ntext")
    html = pages.page(given, "01_small", slides=True)
    sections = re.findall(r'<section tabindex="-1">(.*?)</section>', html, re.DOTALL)
    words = [" ".join(re.findall(r"Title|One|Two|more|Three|aside|print|after code", each)) for each in sections]
    assert [re.sub(r"\b(\w+)( \1)+\b", r"\1", each) for each in words] == [
        "Title",
        "One",
        "Two more",
        "Three print",
        "after code",
    ]
    assert html.count("<section") == html.count("</section>") == 5


def test_slides_fold_the_code_above_a_picture(pages):
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    cells = [nbformat.v4.new_code_cell("line()\n" * lines, execution_count=1) for lines in (20, 20, 3)]
    for cell, outputs in zip(cells, ([picture], [nbformat.v4.new_output("stream", text="text")], [picture])):
        cell.outputs = outputs
    given = notebook("# Title", "## Two")
    given.cells[1:1] = cells
    html = pages.page(given, "01_small", slides=True)
    folded = re.findall(r"<details><summary>Code</summary>(.*?)</details>", html, re.DOTALL)
    assert [text.count('<span class="n">line</span>') for text in folded] == [20]
    assert 'class="jp-Cell-outputWrapper"' not in folded[0] and folded[0].count("<div") == folded[0].count("</div>")
    assert html.count("data:image/png;base64,iVBORw0KGgo=") == 2 and "<summary>Code" not in pages.page(
        given, "01_small"
    )


def test_slides_leave_out_the_cell_that_finds_the_library(pages):
    given = notebook("# Title", "## One")
    given.cells[1:1] = [nbformat.v4.new_code_cell((NOTEBOOKS / "install.py").read_text())]
    assert [pages.kind_of(cell) for cell in pages.slides_of(given.cells)] == ["slide", "skip", "slide"]
    assert "check_call" not in pages.page(given, "01_small", slides=True)
    assert "check_call" in pages.page(given, "01_small")
    for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"):
        code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert [pages.SETUP in cell.source for cell in code].index(True) == 0, path.name


def test_slides_need_no_network_and_print_each_on_a_sheet_of_its_own(pages):
    html = pages.page(notebook(TEXT, "## Third"), "01_small", slides=True)
    assert not re.search(
        r"""(src|href)\s*=\s*["']https?:|import\(|require\(|mathjax|reveal.js|cdnjs""", html, re.IGNORECASE
    )
    assert 'href="02_other.slides.html"' in html and html.count("<math ") == 3
    printed = re.search(r"@media print \{(.*?)\n\}", html[html.index(".slide-number {position") :], re.DOTALL)[1]
    assert "break-after: page" in printed and "overflow: visible" in printed


def test_keys_turn_slides_and_scroll_through_long_ones(pages, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("turning slides is tried in chromium, which is not here")
    html = pages.page(notebook("# One", "## Two\n" + "line\n\n" * 60, "## Three"), "01_small", slides=True)
    keys = ["ArrowRight", "PageDown", "PageUp", "ArrowLeft", "End", "ArrowRight", "PageUp", "Home", "ArrowLeft"]
    trial = f"""<script>window.addEventListener('load', async () => {{
      for (const key of {keys}) {{
        all[now].dispatchEvent(new KeyboardEvent('keydown', {{key, bubbles: true}}));
        await new Promise(done => setTimeout(done, 100));
        document.title += `; ${{number.textContent}} ${{all[now].scrollTop > 0 ? 'down' : 'top'}} ${{location.hash}}`;
      }}
    }});</script></body>"""
    (tmp_path / "slides.html").write_text(html.replace("</body>", trial), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,600", "--virtual-time-budget=5000"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "slides.html").as_uri()]
    run = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", run.stdout)[1]
    assert title.split("; ")[1:] == [
        "2 / 3 top #2",
        "2 / 3 down #2",
        "2 / 3 top #2",
        "1 / 3 top #1",
        "3 / 3 top #3",
        "3 / 3 top #3",
        "2 / 3 top #2",
        "1 / 3 top #1",
        "1 / 3 top #1",
    ]


def test_printed_slides_lie_across_their_sheets_one_on_each(pages, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("printing is tried in chromium, which is not here")
    cells = ("# One", "## Two\n" + "line\n\n" * 5, "## Three")
    for name, slides in (("slides", True), ("page", False)):
        (tmp_path / f"{name}.html").write_text(pages.page(notebook(*cells), name, slides=slides), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        options += [f"--print-to-pdf={tmp_path / name}.pdf", (tmp_path / f"{name}.html").as_uri()]
        subprocess.run([browser, *options], capture_output=True, timeout=120, check=True)
    sheets = {
        name: [
            [round(float(size)) for size in box]
            for box in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", (tmp_path / f"{name}.pdf").read_bytes())
        ]
        for name in ("slides", "page")
    }
    assert len(sheets["slides"]) == 3 and len(sheets["page"]) == 1
    assert all(width > height for width, height in sheets["slides"])
    assert all(width < height for width, height in sheets["page"])


def test_build_writes_pages_of_notebooks_that_are_up_to_date(pages, monkeypatch, tmp_path, capsys):
    pytest.importorskip("jupytext")
    pytest.importorskip("nbclient")
    build = importlib.import_module("build")
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "01_small.py").write_text("# %% [markdown]\n# # Small\n# $x_1$\n")
    assert build.main(["--html"]) == 1
    assert "01_small.ipynb does not exist" in capsys.readouterr().out
    nbformat.write(build.read(tmp_path / "01_small.py"), tmp_path / "01_small.ipynb")
    assert build.main(["--html"]) == 0 == build.main(["--slides", "--out", str(tmp_path / "talk")])
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in (tmp_path / "html" / "01_small.html").read_text()
    assert (tmp_path / "talk" / "01_small.slides.html").read_text().count("<section") == 1
