"""Rows of CSV, TSV, JSON lines and plain lines: what the standard library writes comes back; errors say where."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch.text import tables
from rnnscratch.text.tables import read_rows

letters = st.characters(exclude_characters="\0")  # which Python 3.10's csv refuses
texts = st.lists(st.tuples(st.text(letters, max_size=30), st.sampled_from(["good", "bad", "so, so"])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(rows=texts, kind=st.sampled_from(["csv", "tsv"]), ends=st.sampled_from(["\n", "\r\n"]))
def test_tables_come_back_as_csv_wrote_them(rows, kind, ends):
    out = io.StringIO()
    writer = csv.writer(out, delimiter="," if kind == "csv" else "\t", lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "review", "label"), *((k, text, label) for k, (text, label) in enumerate(rows))])
    try:
        content = out.getvalue().encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return
    found = list(read_rows(io.BytesIO(content), "review", "label", kind))
    assert [(row.text, row.label) for row in found] == rows
    found = list(read_rows(io.BytesIO(content), "2", "3", kind))
    assert [(row.text, row.label) for row in found] == [("review", "label"), *rows]


@settings(max_examples=40, deadline=None)
@given(rows=texts, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_json_lines_come_back(rows, encoding, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "it.jsonl"
    lines = [json.dumps({"text": text, "label": label}) + "\r\n" for text, label in rows]
    path.write_bytes("\n".join(lines).encode(encoding))
    assert [(row.text, row.label) for row in read_rows(path, label="label")] == rows


def test_labels_of_json_become_text():
    content = b"\n".join(b'{"text": "a", "label": %s}' % value for value in (b'"1"', b"1", b"true", b"0.5"))
    assert [row.label for row in read_rows(io.BytesIO(content), label="label", kind="jsonl")] == [
        "1",
        "1",
        "true",
        "0.5",
    ]


def test_lines_are_texts_and_empty_ones_too(tmp_path):
    path = tmp_path / "it.txt"
    path.write_bytes(b"first\r\n\nthird without an end")
    assert [(row.line, row.text, row.label) for row in read_rows(path)] == [
        (1, "first", None),
        (2, "", None),
        (3, "third without an end", None),
    ]
    assert [row.text for row in read_rows(io.BytesIO(b"a\nb\n"))] == ["a", "b"]


def test_an_encoding_may_be_given(tmp_path):
    path = tmp_path / "it.csv"
    path.write_bytes("text\ncaf\u00e9\n".encode("latin-1"))
    assert [row.text for row in read_rows(path, encoding="latin-1")] == ["caf\u00e9"]
    with pytest.raises(ValueError, match=r"it\.csv, line 2: the byte 0xe9 is no UTF-8; give the file's encoding"):
        list(read_rows(path))
    (tmp_path / "it.txt").write_bytes(b"a\n" * 3000 + b"\xff\n")
    with pytest.raises(ValueError, match="line 3001: the byte 0xff is no UTF-8"):
        list(read_rows(tmp_path / "it.txt"))
    with pytest.raises(ValueError, match="near line 1: its bytes are no "):
        list(read_rows(io.BytesIO(b"abc"), encoding="utf-16"))
    with pytest.raises(ValueError, match="encoding is 'utf-99'"):
        list(read_rows(path, encoding="utf-99"))


WRONG = {
    "no column": (
        "it.csv",
        b"a,b\n1,2\n",
        {},
        "it.csv, line 1: there is no column 'text'; the columns are a, b; text= or --text",
    ),
    "a column twice": ("it.csv", b"text,text\n1,2\n", {}, "there are several columns 'text'"),
    "few columns": ("it.csv", b"a,text\n1,2\n3\n", {}, "it.csv, line 3: it has 1 columns, so column 'text' is missing"),
    "few columns in a file without names": (
        "it.csv",
        b"1,2\n",
        {"text": "1", "label": "3"},
        "it.csv, line 1: it has 2 columns, so column '3' is missing",
    ),
    "a comma without quotes": (
        "it.csv",
        b"label,text\ngood,a film\nbad,boring, dull\n",
        {"label": "label"},
        "it.csv, line 3: it has 3 columns, and line 1 has 2; a text that holds ',' must be in quotes",
    ),
    "a name beside a number": (
        "it.csv",
        b"text,label\n",
        {"text": "1", "label": "label"},
        "there is no column '1'; the columns are text, label; numbers count where all columns that are asked for are",
    ),
    "another column that is missing": (
        "it.csv",
        b"text,sign\n",
        {"label": "label"},
        "there is no column 'label'; the columns are text, sign; label= or --label names another",
    ),
    "semicolons": (
        "it.csv",
        b"text;label\na;b\n",
        {},
        "there is no column 'text'; the columns are text;label; they are separated by ';': give that by separator= or",
    ),
    "semicolons and quotes": ("it.csv", b'"text";"label"\n', {}, "if its columns are separated otherwise, separator="),
    "two bytes a letter": (
        "it.csv",
        "text,label\n".encode("utf-16-le"),
        {},
        "line 1: there is no column 'text'; the columns are text, label; its bytes look like UTF-16: give the file's",
    ),
    "one column for both": ("it.csv", b"text\na\n", {"label": "text"}, "text and label are both 'text', expected two"),
    "a separator that is a word": ("it.csv", b"text\na\n", {"separator": "tab"}, "separator is 'tab', expected one"),
    "a separator where there is none": (
        "it.jsonl",
        b"{}\n",
        {"separator": ";"},
        "separator is ';', but",
    ),
    "an open quote": ("it.csv", b'text\na\n"a\nb\n', {}, "it.csv, line 3: a quote that opens in this row does not end"),
    "text after a quote": (
        "it.tsv",
        b'text\n"a" b\n',
        {},
        "it.tsv, line 2: a quote ends before its column does, where one within a text must be doubled; if quotes mean "
        "nothing in this file, quotes=False or --no-quotes says so",
    ),
    "text after a quote that swallowed a row": (
        "it.tsv",
        b'text\n"a\nb" c\n',
        {},
        "it.tsv, line 3: in the row from line 2, a quote ends before its column does",
    ),
    "an empty table": ("it.csv", b"", {}, "it.csv is empty, expected a line with the names of columns"),
    "no json": ("it.jsonl", b'{"text": "a"}\n{"text": \n', {}, "it.jsonl, line 2: it is no JSON"),
    "no object": ("it.jsonl", b"[1]\n", {}, "it.jsonl, line 1: it is list, expected an object"),
    "no key": ("it.jsonl", b'{"a": 1}\n', {}, "line 1: there is no key 'text'; the keys are a"),
    "no string": ("it.jsonl", b'{"text": 3}\n', {}, "line 1: 'text' is 3, expected a string"),
    "a label that is none": (
        "it.jsonl",
        b'{"text": "a", "label": null}\n',
        {"label": "label"},
        "line 1: 'label' is null, expected a string, a number or a boolean",
    ),
    "nested too deeply": ("it.jsonl", b'{"text": ' + b"[" * 10**5 + b"\n", {}, "line 1: it is no JSON"),
    "labels of lines": (
        "it.txt",
        b"a\n",
        {"label": "label"},
        "has a text a line and no labels, but label is 'label'; if it is a",
    ),
    "another ending": (
        "it.xlsx",
        b"a\n",
        {},
        "it.xlsx ends in '.xlsx', expected one of .csv, .tsv, .jsonl, .ndjson, .txt",
    ),
    "another kind": ("it.csv", b"a\n", {"kind": "xml"}, "kind is 'xml', expected one of csv, tsv, jsonl, lines"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place(case, tmp_path):
    name, content, options, message = WRONG[case]
    (tmp_path / name).write_bytes(content)
    before = csv.field_size_limit()
    with pytest.raises(ValueError) as caught:
        list(read_rows(tmp_path / name, **options))
    assert message in str(caught.value)
    assert csv.field_size_limit() == before


def test_a_missing_file_is_said_to_be_missing_whatever_its_ending(tmp_path):
    with pytest.raises(FileNotFoundError, match="it.dat does not exist"):
        list(read_rows(tmp_path / "it.dat"))


def test_columns_may_be_separated_otherwise(tmp_path):
    path = tmp_path / "it.csv"
    path.write_bytes('\ufefftext;label\r\n"a; b, c";good\r\nd, e;bad\r\n;\r\n'.encode())
    found = [(row.text, row.label) for row in read_rows(path, label="label", separator=";")]
    assert found == [("a; b, c", "good"), ("d, e", "bad"), ("", "")]


def test_quotes_may_mean_nothing():
    content = b'text\tlabel\n"Great" film\tgood\n"a\tbad\n'
    rows = read_rows(io.BytesIO(content), label="label", kind="tsv", quotes=False)
    assert [(row.line, row.text, row.label) for row in rows] == [(2, '"Great" film', "good"), (3, '"a', "bad")]
    with pytest.raises(TypeError, match="quotes is 'no', expected True or False"):
        list(read_rows(io.BytesIO(content), kind="tsv", quotes="no"))


def test_empty_columns_at_the_end_of_a_row_are_none():
    content = b"text,label\na,good,,\n"
    assert [row.label for row in read_rows(io.BytesIO(content), label="label", kind="csv")] == ["good"]


def test_long_fields_are_read_and_endless_ones_refused(tmp_path, monkeypatch):
    path = tmp_path / "it.csv"
    path.write_text("text\n" + "a" * 200_000 + "\n")
    assert len(next(iter(read_rows(path))).text) == 200_000
    monkeypatch.setattr(tables, "FIELD", 1000)
    with pytest.raises(ValueError, match=r"it\.csv, line 2: field larger than field limit"):
        list(read_rows(path))
    with pytest.raises(ValueError, match="line 1: it has more than 1,000 characters"):
        list(read_rows(io.BytesIO(b"a" * 2000)))


def test_a_file_is_read_as_it_is_asked_for(tmp_path):
    path = tmp_path / "it.jsonl"
    path.write_bytes(b'{"text": "a"}\nno json\n')
    rows = read_rows(path)
    assert next(rows).text == "a"  # what is wrong further on is told there
    with pytest.raises(ValueError, match="line 2"):
        next(rows)
    with pytest.raises(FileNotFoundError):
        next(read_rows(tmp_path / "none.csv"))
