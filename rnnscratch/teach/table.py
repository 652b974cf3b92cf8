"""A trace turned round: a row for each name, a column for each step."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .trace import Entry


class Table:
    """`Trace.table`: `names`, `columns` ("t = 1", .., "sum") and `cells`, the texts by (name, column)."""

    def __init__(self, rows: Iterable[Entry]):
        self.cells: dict[tuple[str, str], str] = {}
        steps, names = set(), []
        for row in rows:
            column = f"t = {row.step}" if row.step else "sum"
            name = row.name if row.step or f"{row.name}_t" not in names else f"{row.name}_t"  # dW beside its terms
            names.append(name)
            steps.add((row.step or np.inf, column))
            value = row.value.squeeze()
            self.cells[name, column] = np.array2string(value, precision=6, suppress_small=True, max_line_width=100)
        self.names = list(dict.fromkeys(names))
        self.columns = [column for _, column in sorted(steps)]

    def __str__(self) -> str:
        lines = [["", *self.columns]]
        for name in self.names:
            texts = [self.cells.get((name, column), "").split("\n") for column in self.columns]
            lines += [[name * (k == 0), *parts] for k, parts in enumerate(zip_longest(*texts, fillvalue=""))]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = ' style="text-align:left"'
        head = "".join(f"<th>{column}</th>" for column in ["", *self.columns])
        body = ""
        for name in self.names:
            texts = (escape(self.cells.get((name, column), "")) for column in self.columns)
            values = "".join(f'<td{left}><pre style="margin:0">{text}</pre></td>' for text in texts)
            body += f"<tr><th{left}>{escape(name)}</th>{values}</tr>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
