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

from ..files import open_regular, user_path

FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}
FIELD = 2**24  # characters of a field at most
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
) -> Iterator[Row]:
    """The rows of a file, or of a binary stream such as `sys.stdin.buffer`, one after the other.

    `kind` is "csv", "tsv", "jsonl" or "lines" (a text a line); where None the file's ending says it, and a stream has
    lines. `text` and `label` are the names of columns or JSON keys, or the numbers of columns, from 1, in a file
    without a line of names; lines have neither. Labels that JSON has as numbers or booleans become strings, as 1 or
    true. `encoding` where None is UTF-8, or what a byte-order mark says. Empty lines are passed over, empty texts stay.

    Raises FileNotFoundError or OSError for a file that cannot be read; ValueError, when it comes to them, for a missing
    column or key, too few columns, quotes that do not end, bytes that are no text, and texts of more than 2**24
    characters.
    """
    name = "standard input" if hasattr(source, "read") else str(source)
    if kind is None:
        ending = "" if hasattr(source, "read") else Path(str(source)).suffix.lower()
        kind = FORMATS.get(ending, "lines" if hasattr(source, "read") else "")
    if kind not in FORMATS.values():
        raise ValueError(f"{name}: its kind is {kind or 'unknown'}, expected one of {', '.join(FORMATS)}")
    reader = {"csv": _table, "tsv": _table, "jsonl": _objects, "lines": _lines}[kind]
    with _opened(source, encoding, name) as stream:
        yield from reader(stream, (text, label, group), name, kind)


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


Wanted = tuple[str, str | None, str | None]  # text, label, group


def _table(stream: IO[str], columns: Wanted, name: str, kind: str) -> Iterator[Row]:
    """Rows of CSV or TSV."""
    rows = csv.reader(stream, delimiter="," if kind == "csv" else "\t", strict=True)
    wanted = [column for column in columns if column is not None]
    places: list[int] | None = None
    if all(column.isdecimal() and int(column) > 0 for column in wanted):
        places = [int(column) - 1 for column in wanted]
    while (row := _next(rows, name)) is not None:
        if not row:
            continue
        if places is None:
            places = [_place(row, column, name) for column in wanted]
            continue
        if len(row) <= max(places):
            raise ValueError(
                f"{name}, line {rows.line_num}: it has {len(row)} columns, expected at least {max(places) + 1}"
            )
        found = iter([_sound(row[place], name, rows.line_num) for place in places])
        yield Row(rows.line_num, *(None if column is None else next(found) for column in columns))  # type: ignore[arg-type]
    if places is None:
        raise ValueError(f"{name} is empty, expected a line with the names of columns")


def _next(rows: Any, name: str) -> list[str] | None:
    """The next row, None at the end. csv's limit, which is the whole process's, is another while it is read."""
    before = csv.field_size_limit(FIELD)
    try:
        return next(rows, None)
    except csv.Error as error:
        what = "a quote does not end" if "unexpected end of data" in str(error) else str(error)
        raise ValueError(f"{name}, line {rows.line_num}: {what}") from None
    except UnicodeError as error:
        raise _no_text(name, rows.line_num + 1, error) from None
    finally:
        csv.field_size_limit(before)


def _place(names: list[str], column: str, name: str) -> int:
    """Where a column stands."""
    found = [each.strip() for each in names]
    if found.count(column) != 1:
        what = "there is no column" if column not in found else "there are several columns"
        raise ValueError(f"{name}, line 1: {what} {column!r}; the columns are {', '.join(found):.300}")
    return found.index(column)


def _objects(stream: IO[str], columns: Wanted, name: str, kind: str) -> Iterator[Row]:
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
        for key in columns:
            if key is not None and key not in found:
                raise ValueError(
                    f"{name}, line {number}: there is no key {key!r}; the keys are {', '.join(found):.300}"
                )
        if not isinstance(found[text], str):
            raise ValueError(f"{name}, line {number}: {text!r} is {found[text]!r:.60}, expected a string")
        yield Row(
            number, found[text], *(None if key is None else _as_label(found[key], key, name, number) for key in further)
        )


def _as_label(value: Any, key: str, name: str, number: int) -> str:
    """A label as text, the same for what is written the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise ValueError(f"{name}, line {number}: {key!r} is {value!r:.60}, expected a string, a number or a boolean")


def _lines(stream: IO[str], columns: Wanted, name: str, kind: str) -> Iterator[Row]:
    """A text a line; an empty line is an empty text."""
    for argument, column in zip(("label", "group"), columns[1:]):
        if column is not None:
            raise ValueError(f"{name} has a text a line and no {argument}s, but {argument} is {column!r}")
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
