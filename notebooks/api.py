"""One page of every public object of the library: `api.html`, which needs no network, with a box to search in it.

    python notebooks/api.py            write it
    python notebooks/api.py --check    see whether it is as the code is, but for the numbers of lines

Signatures and texts are those of the code. Neither is the page written nor the check passed where a public object has
no docstring, where one names an argument that there is not, or where a function of several arguments says nothing of
its errors, nor its module does for all of its functions.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import rnnscratch as rs
from rnnscratch.kernels.sequence import Cell

PAGE = Path(__file__).resolve().with_name("api.html")
ROOT = PAGE.parents[1]
MODULES = [
    *("layers", "models", "text", "hmm", "training", "optimizers", "schedules", "metrics", "losses", "kernels"),
    *("word2vec", "gradcheck", "interchange", "teach", "plots"),
]
STYLE = """
*{box-sizing:border-box} body{font:15px/1.45 system-ui,sans-serif;color:#111;margin:0}
code,pre,h3,h4{font-family:ui-monospace,monospace;font-size:13px} a{color:#0645ad;text-decoration:none}
a:hover{text-decoration:underline} h1{font-size:24px;margin:0 0 4px} h2{font-size:20px;border-bottom:1px solid #333}
h3,h4{font-weight:600;margin:0;white-space:pre-wrap;overflow-wrap:anywhere} h4{font-weight:500} h3 b,h4 b{color:#a33b00}
p{margin:5px 0} pre{background:#f4f4f4;padding:6px 9px;margin:6px 0;overflow-x:auto}
nav{position:fixed;top:0;bottom:0;left:0;width:250px;overflow-y:auto;padding:14px;border-right:1px solid #ddd}
nav input{width:100%;font:inherit;padding:4px 6px} nav ul{list-style:none;padding:0 0 0 9px;margin:2px 0 8px}
nav li{font:12px/1.5 ui-monospace,monospace;overflow-wrap:anywhere} nav>div>a{font-weight:600}
main{margin-left:250px;padding:14px 24px;max-width:1100px}
article{margin:14px 0;padding:8px 12px;border:1px solid #ddd;border-radius:4px}
article article{border-width:0 0 0 3px;border-radius:0;margin:10px 0 4px;padding:0 0 0 11px}
article:target,article article:target{border-color:#a33b00}
table{border-collapse:collapse;margin:5px 0} td{padding:1px 12px 1px 0;vertical-align:top}
td:first-child{font:13px/1.5 ui-monospace,monospace;min-width:90px}
.errors{border-left:3px solid #c33;padding-left:8px} .source{float:right;color:#777;font-size:12px;margin-left:12px}
.note{color:#555} [hidden]{display:none}
@media(max-width:800px){nav{position:static;width:auto;max-height:40vh;border-right:0;border-bottom:1px solid #ddd}
main{margin-left:0;padding:14px}.source{float:none;display:block;margin:0}}
"""
SCRIPT = """
const box=document.querySelector('input'),said=document.querySelector('#said');
const all=[...document.querySelectorAll('main>section>article')],items=[...document.querySelectorAll('nav li')];
const text=all.map(a=>a.textContent.toLowerCase()),name=all.map(a=>a.id.toLowerCase());
function search(){
 const words=box.value.toLowerCase().split(/\\s+/).filter(w=>w);
 let n=0;
 all.forEach((a,k)=>{a.hidden=!words.every(w=>text[k].includes(w)||name[k].includes(w));n+=!a.hidden});
 items.forEach(i=>{i.hidden=document.getElementById(i.dataset.of).hidden});
 for(const s of document.querySelectorAll('main>section'))
  s.hidden=words.length>0&&!s.querySelector(':scope>article:not([hidden])');
 said.textContent=words.length?n+' of '+all.length:all.length+' objects';
}
box.addEventListener('input',search);
addEventListener('hashchange',()=>{const a=document.getElementById(location.hash.slice(1));
 if(a&&a.closest('[hidden]')){box.value='';search();a.scrollIntoView()}});
addEventListener('keydown',e=>{if(e.key=='/'&&document.activeElement!=box){e.preventDefault();box.focus()}});
search();
"""
ROW = re.compile(r"(\S(?:.*?\S)?)\s{2,}(\S.*)")
ERRORS = re.compile(r"\b(?:Raises?|raises|[A-Z]\w*Error|refuse[sd]?)\b")


class Entry(NamedTuple):
    """A public object: the name that it has for its users, itself, and in which section it stands."""

    name: str
    value: Any
    section: str

    @property
    def id(self) -> str:
        """The anchor."""
        return f"{self.section}.{self.name}" if self.section else self.name


def public_names(module: Any) -> list[str]:
    """What a module's `__all__` lists, or else what it defines itself."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if name != "__version__"]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def entries() -> dict[str, list[Entry]]:
    """The objects of each section, "" being the top level; each object once, where users find it first."""
    found: dict[str, list[Entry]] = {"": [Entry(name, getattr(rs, name), "") for name in rs._HOME]}
    seen = {id(entry.value) for entry in found[""]}

    def add(section: str) -> None:
        module, found[section] = module_of(section), []
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.ismodule(value):
                short = value.__name__.removeprefix("rnnscratch.")
                if short != "kernels.losses":
                    add(short)
            elif id(value) not in seen:
                seen.add(id(value))
                found[section].append(Entry(name, value, section))

    for section in MODULES:
        add(section)
    bases = [base for each in found.values() for entry in each for base in library_bases(entry.value)]
    for base in bases:
        if id(base) not in seen:
            seen.add(id(base))
            section = base.__module__.removeprefix("rnnscratch.")
            found.setdefault(section, []).append(Entry(base.__name__, base, section))
    return found


def module_of(section: str) -> Any:
    """The module that a section is of."""
    name = "kernels.losses" if section == "losses" else section
    return importlib.import_module(f"rnnscratch.{name}" if name else "rnnscratch")


def library_bases(value: Any) -> list[type]:
    """The classes of the library that a class inherits from."""
    if not inspect.isclass(value):
        return []
    return [b for b in value.__mro__[1:] if b.__module__.startswith("rnnscratch") and not b.__name__.startswith("_")]


def members(cls: type) -> list[tuple[str, Any]]:
    """The public methods and properties that a class defines itself; of private bases too."""
    holders = [cls, *(b for b in cls.__mro__[1:] if b.__module__.startswith("rnnscratch") and b.__name__[0] == "_")]
    names = {name: None for holder in holders for name in vars(holder) if not name.startswith("_")}
    found = [(name, inspect.getattr_static(cls, name)) for name in names]
    kinds = (property, classmethod, staticmethod)
    return [(name, value) for name, value in found if inspect.isfunction(value) or isinstance(value, kinds)]


def plain_function(value: Any) -> Any:
    """The function in a method or property, or the object itself."""
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def is_code(value: Any) -> bool:
    """Whether it is a class or a function, and not a constant or an alias of a type."""
    return not isinstance(value, types.GenericAlias) and (inspect.isclass(value) or inspect.isfunction(value))


def text_of(value: Any) -> str:
    """The docstring, or "" where it has none of its own."""
    written = getattr(plain_function(value), "__doc__", None) or ""
    generated = inspect.isclass(value) and written.startswith(f"{value.__name__}(")  # by dataclass or NamedTuple
    return "" if generated else inspect.cleandoc(written)


def part_of_cell(value: Any) -> str | None:
    """As which part of a cell a kernel's function serves, if it does."""
    module = sys.modules.get(getattr(value, "__module__", ""), None)
    for cell in vars(module).values() if module else ():
        if isinstance(cell, Cell):
            for name in cell.__dataclass_fields__:
                if getattr(cell, name) is value:
                    return name
    return None


def parameters(value: Any) -> list[inspect.Parameter] | None:
    """The arguments of a call, without self; None where there is no signature of its own to show."""
    function = plain_function(value)
    if inspect.isclass(function):
        if "__init__" not in vars(function) and not any("__init__" in vars(b) for b in library_bases(function)):
            return None
        function = function.__init__
    if not inspect.isfunction(function):
        return None
    found = list(inspect.signature(function).parameters.values())
    method = inspect.isclass(value) or "self" in [p.name for p in found[:1]] or isinstance(value, classmethod)
    return found[1:] if method else found


def fields_of(cls: type) -> list[str]:
    """The annotated fields of a dataclass or NamedTuple as they are written."""
    found: dict[str, str] = {}
    for holder in reversed([cls, *library_bases(cls)]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(holder))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
                found[node.target.id] = ast.unparse(node)
    return list(found.values())


def written(parameter: inspect.Parameter) -> str:
    """One argument as in the code."""
    name = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name
    typed, empty = parameter.annotation, parameter.empty
    name += "" if typed is empty else f": {typed if isinstance(typed, str) else getattr(typed, '__name__', typed)}"
    if parameter.default is empty:
        return name
    default = parameter.default
    named = "__name__" if inspect.ismodule(default) else "__qualname__" if callable(default) else ""
    shown = getattr(default, named, repr(default))
    return f"{name} = {shown}"


def signature(name: str, value: Any) -> str:
    """How it is called, and what it returns; of a property its type, of a constant its value."""
    function = plain_function(value)
    returned = getattr(function, "__annotations__", {}).get("return")
    result = f" -> {returned}" if isinstance(returned, str) and returned != "None" else ""
    if isinstance(value, property):
        return name + (f": {returned}" if isinstance(returned, str) else "")
    if not is_code(function):
        shown = repr(value)
        return f"{name} = {shown}" if len(shown) < 300 and " at 0x" not in shown else name
    parts: list[str] = []
    known = parameters(value)
    if inspect.isclass(value) and (hasattr(value, "__dataclass_fields__") or hasattr(value, "_fields")):
        parts = fields_of(value)
    elif known is None:
        return name
    else:
        kinds = [p.kind for p in known]
        for k, parameter in enumerate(known):
            first = parameter.kind == parameter.KEYWORD_ONLY and parameter.KEYWORD_ONLY not in kinds[:k]
            if first and parameter.VAR_POSITIONAL not in kinds:
                parts.append("*")
            parts.append(written(parameter))
            if parameter.kind == parameter.POSITIONAL_ONLY and parameter.POSITIONAL_ONLY not in kinds[k + 1 :]:
                parts.append("/")
    line = f"{name}({', '.join(parts)}){result}"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


def blocks(text: str) -> Iterator[tuple[str, Any]]:
    """The parts of a docstring: ("code", lines), ("table", rows), ("text", a paragraph)."""
    for part in re.split(r"\n\s*\n", text):
        block = textwrap.dedent(part.strip("\n"))
        lines = block.split("\n")
        if block.startswith(">>>"):
            yield "code", block
            continue
        rows: list[list[str]] = []
        for line in lines:
            row = ROW.fullmatch(line)
            if row and not line.startswith(" "):
                rows.append([row[1], row[2]])
            elif line.startswith(" ") and rows:
                rows[-1][1] += " " + line.strip()
            else:
                rows = []
                break
        if rows:
            yield "table", rows
        elif part.startswith((" ", "\n ")):
            yield "code", block
        else:
            yield "text", " ".join(lines)


class Links:
    """Where the names in the texts lead."""

    def __init__(self, found: dict[str, list[Entry]]):
        self.places: dict[str, list[str]] = {}
        for section, each in found.items():
            if section:
                self._add(f"module.{section}", section)
            for entry in each:
                self._add(entry.id, entry.name, entry.id)
                if inspect.isclass(entry.value):
                    for name, _ in members(entry.value):
                        self._add(f"{entry.id}.{name}", f"{entry.name}.{name}", f"{entry.id}.{name}")
        for entry in [entry for each in found.values() for entry in each]:  # inherited methods stand with their class
            for base in library_bases(entry.value):
                for name, _ in members(base):
                    there = self.places.get(f"{base.__name__}.{name}")
                    if there and f"{entry.name}.{name}" not in self.places:
                        self._add(there[0], f"{entry.name}.{name}")

    def _add(self, place: str, *names: str) -> None:
        for name in dict.fromkeys(names):
            self.places.setdefault(name, []).append(place)

    def to(self, name: str, entry: Entry | None, owner: str = "") -> str | None:
        """The anchor of a name as it stands in the text of an object: of its class, its section, or anywhere once."""
        name = name.removeprefix("rs.").removeprefix("rnnscratch.").removesuffix("()")
        section = entry.section if entry else ""
        for wanted in (f"{owner}.{name}" if owner else None, f"{section}.{name}" if section else None):
            if wanted in self.places:
                return self.places[wanted][0]
        found = self.places.get(name, [])
        same = [place for place in found if section and place.rpartition(".")[0] == section]
        top = [place for place in found if "." not in place]
        return (same or top or (found if len(found) == 1 else [None]))[0]


class Writer:
    """The page, article by article."""

    def __init__(self, found: dict[str, list[Entry]]):
        self.found, self.links = found, Links(found)

    def inline(self, text: str, entry: Entry | None, owner: str) -> str:
        """A text with its code and links."""
        parts = re.split(r"``?([^`]+)``?", text)
        for k, part in enumerate(parts):
            parts[k] = escape(part, quote=False)
            if k % 2:
                place = self.links.to(part, entry, owner)
                parts[k] = f"<code>{parts[k]}</code>"
                if place is not None and place != owner:
                    parts[k] = f'<a href="#{place}">{parts[k]}</a>'
        return "".join(parts)

    def text(self, text: str, entry: Entry | None = None, owner: str = "") -> str:
        """A docstring as HTML."""
        made = []
        for kind, content in blocks(text):
            if kind == "code":
                made.append(f"<pre>{escape(content, quote=False)}</pre>")
            elif kind == "table":
                rows = "".join(
                    f"<tr><td>{self.inline(name, entry, owner)}<td>{self.inline(said, entry, owner)}"
                    for name, said in content
                )
                made.append(f"<table>{rows}</table>")
            else:
                before, mark, after = re.split(r"(?:(?<=[.:;] )|^)(Raises )", content, maxsplit=1) + ["", ""] * (
                    not re.search(r"(?:(?<=[.:;] )|^)Raises ", content)
                )
                if before:
                    made.append(f"<p>{self.inline(before.strip(), entry, owner)}")
                if mark:
                    made.append(f"<p class=errors>{self.inline(mark + after, entry, owner)}")
        return "\n".join(made)

    def heading(self, level: int, name: str, value: Any, entry: Entry) -> str:
        """The signature, in which classes of the library are links."""
        shown = escape(signature(name, value), quote=False)
        head, rest = shown[: len(name)], shown[len(name) :]

        def link(found: re.Match[str]) -> str:
            place = self.links.to(found[0], entry)
            known = place is not None and place != entry.id
            return f'<a href="#{place}">{found[0]}</a>' if known else found[0]

        rest = re.sub(r"(?<![\w.'])[A-Z]\w+(?![\w'=])", link, rest)
        kind = "class " if inspect.isclass(value) else "property " if isinstance(value, property) else ""
        return f"<h{level}>{kind}<b>{head}</b>{rest}</h{level}>"

    def article(self, entry: Entry) -> str:
        """One object with its members."""
        value = entry.value
        said = text_of(value)
        parts = [f'<article id="{entry.id}">', source_of(value), self.heading(3, entry.name, value, entry)]
        part = part_of_cell(value)
        if not said and part:
            said = f"The `{part}` of its cell: see `Cell`."
        parts.append(self.text(said, entry, entry.id))
        if inspect.isfunction(value) and not ERRORS.search(text_of(value)):
            for module in holders(value):
                if ERRORS.search(module.__doc__ or ""):
                    name = module.__name__.removeprefix("rnnscratch.").replace("kernels.losses", "losses")
                    parts.append(f'<p class=note>Errors: as said of <a href="#module.{name}">{name}</a> as a whole.')
                    break
        bases = [(self.links.to(base.__name__, entry), base.__name__) for base in library_bases(value)]
        named = [f'<a href="#{place}">{name}</a>' for place, name in bases if place]
        if named:
            parts.append(f"<p class=note>Further methods of: {', '.join(named)}")
        for name, member in members(value) if inspect.isclass(value) else ():
            owner = f"{entry.id}.{name}"
            parts += [f'<article id="{owner}">', self.heading(4, name, member, entry)]
            parts += [self.text(text_of(member), entry, entry.id), "</article>"]
        return "\n".join([*filter(None, parts), "</article>"])

    def elsewhere(self, module: Any, section: str, here: list[Entry]) -> str:
        """What else the module has, which stands in another section."""
        further = [name for name in public_names(module) if name not in {entry.name for entry in here}]
        links = []
        for name in further:
            place = self.links.to(name, Entry("", module, section))
            links += [f'<a href="#{place}"><code>{name}</code></a>'] if place else []
        return f"<p class=note>Further: {', '.join(links)}" if links else ""

    def page(self) -> str:
        """The whole page."""
        nav, body = [], []
        for section, each in self.found.items():
            module = module_of(section)
            anchor = f"module.{section}" if section else "module"
            items = "".join(f'<li data-of="{entry.id}"><a href="#{entry.id}">{entry.name}</a>' for entry in each)
            nav.append(f'<div><a href="#{anchor}">{section or "rnnscratch"}</a><ul>{items}</ul></div>')
            said = self.text(inspect.cleandoc(module.__doc__ or ""), Entry("", module, section))
            articles = "\n".join(map(self.article, each))
            if section:
                said += self.elsewhere(module, section, each)
            body.append(f'<section id="{anchor}"><h2>{module.__name__}</h2>\n{said}\n{articles}\n</section>')
        head = (
            "<meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>rnnscratch: every public object</title><style>{STYLE}</style>"
        )
        box = "<input type=search placeholder='search ( / )' aria-label=search autocomplete=off><p id=said class=note>"
        title = f"<h1>rnnscratch {rs.__version__}</h1><p class=note>Every public object, from the docstrings."
        return (
            f"<!doctype html><html lang=en>{head}\n<nav>{box}</p>\n{chr(10).join(nav)}</nav>\n<main>{title}\n"
            f"{chr(10).join(body)}\n</main><script>{SCRIPT}</script></html>\n"
        )


def source_of(value: Any) -> str:
    """Where it is written: the file and the line."""
    try:
        path, line = Path(inspect.getsourcefile(value) or ""), inspect.getsourcelines(value)[1]
    except TypeError:  # a constant
        return ""
    return f"<span class=source>{path.relative_to(ROOT).as_posix()}, line {line}</span>"


def holders(value: Any) -> list[Any]:
    """The module that an object is written in, and the packages around it."""
    parts = value.__module__.split(".")
    return [sys.modules[".".join(parts[:k])] for k in range(len(parts), 1, -1)]


def problems(found: dict[str, list[Entry]]) -> list[str]:
    """What the docstrings lack, or say wrongly."""
    said: list[str] = []
    functions: list[tuple[str, Any, bool]] = []
    for each in found.values():
        for entry in each:
            if not is_code(entry.value):
                continue
            functions.append((entry.id, entry.value, True))
            if inspect.isclass(entry.value):
                functions += [(f"{entry.id}.{name}", member, False) for name, member in members(entry.value)]
    names = {p.name for _, value, _ in functions for p in parameters(value) or ()}
    for name, value, whole in functions:
        text = text_of(value)
        if not text:
            if not part_of_cell(value):
                said.append(f"{name} has no docstring")
            continue
        known = [p.name for p in parameters(value) or () if not p.name.startswith("_")]
        for kind, rows in blocks(text):
            columns = [re.sub(r"\([^)]*\)", "", row[0]) for row in rows] if kind == "table" else []
            listed = [each.strip("*` ") for column in columns for each in column.split(",")]
            has = {*known, *(attributes_of(value) if inspect.isclass(value) else ())}
            least = len(listed) / 2 if inspect.isclass(value) else 1  # else it is of what a class hands on
            if len(set(known).intersection(listed)) >= max(least, 1):
                wrong = [each for each in listed if each.isidentifier() and each not in has]
                said += [f"{name} speaks of an argument {each}, which it has not" for each in wrong]
        for option in re.findall(r"`(\w+)=[^=`]*`", text):
            if option not in names:
                said.append(f"{name} speaks of an argument {option}=, which nothing has")
        if whole and inspect.isfunction(value) and len(known) > 1:
            texts = [text, *(module.__doc__ or "" for module in holders(value))]
            said += [f"{name} says nothing of its errors"] * (not any(map(ERRORS.search, texts)))
    return said


def attributes_of(cls: type) -> list[str]:
    """What the instances of a class have, or are given as they are made."""
    return [*dir(cls), *re.findall(r"self\.(\w+)", inspect.getsource(cls))]


def without_lines(page: str) -> str:
    """The page without numbers of lines, which change with every edit."""
    return re.sub(r", line [0-9]+</span>", "</span>", page)


def main(arguments: list[str] | None = None, found: Callable[[], dict[str, list[Entry]]] = entries) -> int:
    """Write the page, or with --check compare it; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the page of every public object, or check it.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    objects = found()
    wrong = problems(objects)
    if wrong:
        print("\n".join(wrong))
        return 1
    made = Writer(objects).page()
    if options.check:
        there = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if without_lines(there) != without_lines(made):
            print(f"{PAGE.name} is not as the code is: python notebooks/api.py")
            return 1
        return 0
    PAGE.write_text(made, encoding="utf-8")
    print(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
