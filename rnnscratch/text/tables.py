"""Texts, with or without labels, read row by row from CSV, TSV, JSON lines, or plain lines; no file is held whole.

Everything that is wrong with a file is a ValueError with the file, the line and the column.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..checks import check_flags
from ..files import open_regular, user_path

FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}
SEPARATORS = {"csv": ",", "tsv": "\t"}
FIELD = 2**24  # characters of a field at most
SEPARATED = ";\t|,"  # what columns are separated by, in files of other programs
QUOTES = (
    "; if quotes mean nothing in this file, quotes=False or --no-quotes says so; if its columns are separated "
    "otherwise, separator= or --separator"
)
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Row(NamedTuple):
    """A text of a file."""

    line: int  # where it ends, from 1
    text: str
    label: str | None  # None where no label was asked for
    group: str | None = None  # likewise


def read_rows(
    source: str | os.PathLike[str] | IO[bytes],
    text: str = "text",
    label: str | None = None,
    kind: str | None = None,
    encoding: str | None = None,
    group: str | None = None,
    separator: str | None = None,
    quotes: bool = True,
) -> Iterator[Row]:
    """The rows of a file, or of a binary stream such as `sys.stdin.buffer`, one after the other.

    `kind` is "csv", "tsv", "jsonl" or "lines" (a text a line); where None the file's ending says it, and a stream has
    lines. `text` and `label` are the names of columns or JSON keys, or the numbers of columns, from 1, in a file
    without a line of names; lines have neither. Labels that JSON has as numbers or booleans become strings, as 1 or
    true. `encoding` where None is UTF-8, or what a byte-order mark says. Empty lines are passed over, empty texts stay.
    `separator` stands between the columns of a CSV or TSV file, where it is no comma or tab. With quotes=False quotes
    mean nothing there, and a row is a line.

    Raises FileNotFoundError or OSError for a file that cannot be read; ValueError, when it comes to them, for a missing
    column or key, rows with fewer columns than asked for or more than the first row, quotes that do not end, bytes that
    are no text, and texts of more than 2**24 characters.
    """
    name = "standard input" if hasattr(source, "read") else str(source)
    if text == label:
        raise ValueError(f"text and label are both {text!r}, expected two columns")
    check_flags(quotes=quotes)
    kind = _kind(source, kind, name)
    if separator is not None:
        if kind not in SEPARATORS:
            raise ValueError(f"separator is {separator!r}, but {name} is read as {kind}, which has none")
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"separator is {separator!r}, expected one character, such as ;")
    with _opened(source, encoding, name) as stream:
        if kind in SEPARATORS:
            mark = separator or SEPARATORS[kind]
            if quotes:
                rows = csv.reader(stream, delimiter=mark, strict=True)
            else:
                rows = csv.reader(stream, delimiter=mark, quoting=csv.QUOTE_NONE)
            yield from _table(rows, Wanted(text, label, group), name)
        else:
            yield from {"jsonl": _objects, "lines": _lines}[kind](stream, Wanted(text, label, group), name)


def _kind(source: Any, kind: str | None, name: str) -> str:
    """The kind that is given, or else that the ending says."""
    kinds = ", ".join(dict.fromkeys(FORMATS.values()))
    if kind is not None:
        if kind not in FORMATS.values():
            raise ValueError(f"kind is {kind!r}, expected one of {kinds}")
        return kind
    if hasattr(source, "read"):
        return "lines"
    ending = Path(str(source)).suffix.lower()
    if ending not in FORMATS:
        open_regular(user_path(source)).close()  # a name that is mistyped is said to be missing
        raise ValueError(
            f"{name} ends in {ending!r}, expected one of {', '.join(FORMATS)}, or its kind, by kind= or --kind: {kinds}"
        )
    return FORMATS[ending]


@contextmanager
def _opened(source: Any, encoding: str | None, name: str) -> Iterator[IO[str]]:
    """The source as text; its lines end as they do in the file."""
    raw: Any = source if hasattr(source, "read") else open_regular(user_path(source))
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)
    try:
        if encoding is None:
            start = buffered.peek(4)[:4]
            encoding = next((found for mark, found in MARKS if start.startswith(mark)), "utf-8")
        try:
            plain = codecs.lookup(encoding).name.startswith("utf-8")  # so that a wrong byte is found where it stands
            errors = "surrogateescape" if plain else "strict"
            stream = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
        except LookupError:
            raise ValueError(f"encoding is {encoding!r}, expected one that Python knows, such as utf-8") from None
        yield stream
        stream.detach()
    finally:
        if raw is not source:
            raw.close()


class Wanted(NamedTuple):
    """Columns or keys that are asked for."""

    text: str
    label: str | None
    group: str | None


def _table(rows: Any, columns: Wanted, name: str) -> Iterator[Row]:
    """Rows of CSV or TSV."""
    wanted = {role: column for role, column in zip(Wanted._fields, columns) if column is not None}
    numbered = all(column.isdecimal() and int(column) > 0 for column in wanted.values())
    places = [int(column) - 1 for column in wanted.values()] if numbered else []
    width = first = 0
    while (row := _next(rows, name)) is not None:
        if not row:
            continue
        if not width:
            width, first = len(row), rows.line_num
            if not numbered:
                places = [_place(row, column, role, name, rows) for role, column in wanted.items()]
                continue
        if any(row[width:]):
            raise ValueError(
                f"{name}, line {rows.line_num}: it has {len(row)} columns, and line {first} has {width}; "
                f"a text that holds {rows.dialect.delimiter!r} must be in quotes"
            )
        for place, column in zip(places, wanted.values()):
            if place >= len(row):
                raise ValueError(
                    f"{name}, line {rows.line_num}: it has {len(row)} columns, so column {column!r} is missing"
                )
        found = iter([_sound(row[place], name, rows.line_num) for place in places])
        yield Row(rows.line_num, *(None if column is None else next(found) for column in columns))  # type: ignore[arg-type]
    if not width and not numbered:
        raise ValueError(f"{name} is empty, expected a line with the names of columns")


def _next(rows: Any, name: str) -> list[str] | None:
    """The next row, None at the end. csv's limit, which is the whole process's, is another while it is read."""
    before, start = csv.field_size_limit(FIELD), rows.line_num + 1
    try:
        return next(rows, None)
    except csv.Error as error:
        what = str(error)
        if "unexpected end of data" in what:
            raise ValueError(f"{name}, line {start}: a quote that opens in this row does not end{QUOTES}") from None
        if "expected after" in what:
            what = f"a quote ends before its column does, where one within a text must be doubled{QUOTES}"
        row = f"in the row from line {start}, " if rows.line_num > start else ""
        raise ValueError(f"{name}, line {rows.line_num}: {row}{what}") from None
    except UnicodeError as error:
        raise _no_text(name, rows.line_num + 1, error) from None
    finally:
        csv.field_size_limit(before)


def _place(names: list[str], column: str, role: str, name: str, rows: Any) -> int:
    """Where a column stands."""
    found = [each.strip() for each in names]
    if found.count(column) == 1:
        return found.index(column)
    what = "there is no column" if column not in found else "there are several columns"
    hint = f"{role}= or --{role} names another"
    line = rows.dialect.delimiter.join(found)
    others = [mark for mark in SEPARATED if column in [each.strip(' "') for each in line.split(mark)]]
    if column not in found and others:
        hint = f"they are separated by {others[0]!r}: give that by separator= or --separator"
    elif "\0" in line:
        hint = "its bytes look like UTF-16: give the file's encoding"
    elif column.isdecimal():
        hint = "numbers count where all columns that are asked for are numbers from 1 on"
    names_shown = ", ".join(found).replace("\0", "")
    raise ValueError(f"{name}, line {rows.line_num}: {what} {column!r}; the columns are {names_shown:.300}; {hint}")


def _objects(stream: IO[str], columns: Wanted, name: str) -> Iterator[Row]:
    """Rows of JSON lines."""
    text, *further = columns
    for number, line in _numbered(stream, name):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}, line {number}: it is no JSON: {error!s:.100}") from None
        if not isinstance(found, dict):
            raise ValueError(f"{name}, line {number}: it is {type(found).__name__}, expected an object")
        for role, key in zip(Wanted._fields, columns):
            if key is not None and key not in found:
                raise ValueError(
                    f"{name}, line {number}: there is no key {key!r}; the keys are {', '.join(found):.300}; "
                    f"{role}= or --{role} names another"
                )
        if not isinstance(found[text], str):
            raise ValueError(f"{name}, line {number}: {text!r} is {json.dumps(found[text]):.60}, expected a string")
        yield Row(
            number, found[text], *(None if key is None else _as_label(found[key], key, name, number) for key in further)
        )


def _as_label(value: Any, key: str, name: str, number: int) -> str:
    """A label as text, the same for what is written the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    what = json.dumps(value)
    raise ValueError(f"{name}, line {number}: {key!r} is {what:.60}, expected a string, a number or a boolean")


def _lines(stream: IO[str], columns: Wanted, name: str) -> Iterator[Row]:
    """A text a line; an empty line is an empty text."""
    for role, column in zip(Wanted._fields[1:], columns[1:]):
        if column is not None:
            raise ValueError(
                f"{name} has a text a line and no {role}s, but {role} is {column!r}; if it is a table, say so by kind= "
                "or --kind"
            )
    for number, line in _numbered(stream, name):
        yield Row(number, line.rstrip("\r\n"), None)


def _numbered(stream: IO[str], name: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers."""
    number = 0
    while True:
        try:
            line = stream.readline(FIELD + 1)
        except UnicodeError as error:
            raise _no_text(name, number + 1, error) from None
        if not line:
            return
        number += 1
        if len(line) > FIELD:
            raise ValueError(f"{name}, line {number}: it has more than {FIELD:,} characters")
        yield number, _sound(line, name, number)


def _sound(text: str, name: str, line: int) -> str:
    """The text, if all its bytes were UTF-8."""
    if not text.isascii():
        wrong = [ord(letter) - 0xDC00 for letter in text if "\udc80" <= letter <= "\udcff"]
        if wrong:
            raise ValueError(f"{name}, line {line}: the byte 0x{wrong[0]:02x} is no UTF-8; give the file's encoding")
    return text


def _no_text(name: str, line: int, error: UnicodeError) -> ValueError:
    how = getattr(error, "encoding", "")
    return ValueError(
        f"{name}, near line {line}: its bytes are no {how or 'text'}: {error!s:.100}; give the file's encoding"
    )
