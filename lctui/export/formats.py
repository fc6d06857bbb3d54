"""A table as a file: CSV and JSON for programs, Markdown and LaTeX for papers.

Owns what a `Table` is and how its cells are written.  CSV and JSON hold every column and every digit; Markdown and
LaTeX leave out the columns marked as detail and round as a reader expects.  Knows nothing of runs, and computes
nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

from lctui.errors import printable
from lctui.runs import atomic
from lctui.scheme.measure import Measure

Cell = str | int | float | bool | None
Form = Literal["text", "count", "percent", "ratio", "number"]


@dataclass(frozen=True)
class Column:
    """A column: its name in CSV and JSON, its heading elsewhere (the name, unless given), and how cells are shown."""

    name: str
    heading: str = ""
    form: Form = "text"
    detail: bool = False
    """For programs only: Markdown and LaTeX leave the column out."""
    align: Literal["left", "right", ""] = ""
    """Text stands left and numbers right, unless told otherwise."""

    @property
    def right(self) -> bool:
        """Is the column set flush right?"""
        return self.align == "right" or (not self.align and self.form != "text")


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; None is a cell without a value."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Table:
        """A table from rows that name their cells; what a row does not name stays empty."""
        return cls(title, tuple(columns), tuple(tuple(row.get(each.name) for each in columns) for row in rows))


def error_column(name: str, split: str, measure: Measure, *, detail: bool = False) -> Column:
    """A column of errors, by whatever metric."""
    return Column(name, measure.heading(split), "percent" if measure.is_percent else "number", detail)


def table_text(table: Table, suffix: str) -> str:
    """A table in the format of a suffix ("csv", "json", "md", "tex")."""
    return WRITERS[suffix](table)


def write_table(table: Table, path: Path) -> None:
    """Writes a table in the format that the path's suffix names; an older file is replaced whole."""
    write_text(path, table_text(table, path.suffix.removeprefix(".")))


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8; an older file is replaced whole."""
    atomic.replace(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    # No translation of line ends: a cell may hold one, and it comes back as it was.
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


def _csv(table: Table) -> str:
    return "".join(map(_csv_line, [[column.name for column in table.columns], *table.rows]))


def _csv_line(cells: Sequence[Cell]) -> str:
    buffer = io.StringIO()
    # The writer quotes the signs that end its lines: with \r\n, a lone \r in a cell is quoted too.
    csv.writer(buffer, lineterminator="\r\n").writerow(json.dumps(c) if isinstance(c, bool) else c for c in cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def tab_separated(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """A table to paste into a spreadsheet, line by line: every digit, tabs between cells, none within."""
    for cells in chain([[column.name for column in columns]], rows):
        yield "\t".join(_one_line(_plain(cell) or "") for cell in cells) + "\n"


def _json(table: Table) -> str:
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, map(_finite, row), strict=True)) for row in table.rows]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Cell) -> Cell:
    return None if isinstance(value, float) and not isfinite(value) else value


def _markdown(table: Table) -> str:
    """A pipe table, padded so that it reads as one in the raw file too."""
    columns, body = _for_readers(table, "–", markdown_text, str)
    if not columns:
        return ""
    head = [markdown_text(column.heading or column.name) for column in columns]
    widths = [max(3, *(len(row[n]) for row in [head, *body])) for n in range(len(columns))]
    rule = ["-" * (width - 1) + (":" if each.right else "-") for each, width in zip(columns, widths, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ]
        return f"| {' | '.join(padded)} |\n"

    title = f"{markdown_text(table.title)}\n\n" if table.title else ""
    return title + "".join(map(line, [head, rule, *body]))


def _latex(table: Table) -> str:
    """A tabular with the rules of booktabs; caption and float are the document's to give."""
    columns, body = _for_readers(table, "--", latex_text, _latex_number)
    if not columns:
        return ""
    lines = [f"% {printable(table.title)}"] if table.title else []
    head = [latex_text(column.heading or column.name) for column in columns]
    places = "".join("r" if column.right else "l" for column in columns)
    lines += ["% \\usepackage{booktabs}", f"\\begin{{tabular}}{{{places}}}", "\\toprule"]
    lines += [" & ".join(head) + r" \\", "\\midrule"]
    lines += [" & ".join(row) + r" \\" for row in body]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _for_readers(
    table: Table, none: str, text: Callable[[str], str], number: Callable[[str], str]
) -> tuple[list[Column], list[list[str]]]:
    """The columns that a reader gets, and their cells in words, each made safe for the format."""
    shown = [n for n, column in enumerate(table.columns) if not column.detail]
    columns = [table.columns[n] for n in shown]
    words = [_in_words(table.columns[n], [row[n] for row in table.rows]) for n in shown]

    def safe(cell: str | None, value: Cell) -> str:
        return none if cell is None else (number if _is_number(value) else text)(cell)

    body = [
        [safe(column[n], row[place]) for column, place in zip(words, shown, strict=True)]
        for n, row in enumerate(table.rows)
    ]
    return columns, body


def _in_words(column: Column, values: Sequence[Cell]) -> list[str | None]:
    """A column's cells as a reader gets them, all with the same digits."""
    numbers = [value for value in values if _is_number(value)]
    match column.form:
        case "percent":
            form = ".2f"
        case "ratio":
            # 4.37 and 3.92 differ; of 184.5 and 37.7 nobody reads a second digit.
            form = ".1f" if any(10 <= number < inf for number in numbers) else ".2f"  # type: ignore[operator]
        case "count":
            form = ",.0f"
        case "number":
            form = ".4g"
        case _:
            return [_plain(value) for value in values]
    return [_rounded(value, form) if _is_number(value) else _plain(value) for value in values]


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rounded(value: Any, form: str) -> str | None:
    if isinstance(value, float) and not isfinite(value):
        return None if value != value else "∞" if value > 0 else "-∞"
    # An int of any size stays exact: ",.0f" would go through a float.
    return format(value, "," if form == ",.0f" and isinstance(value, int) else form)


def _plain(value: Cell) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    return None if value is None else json.dumps(value)


_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]<>|~$&#{}^])")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", _one_line(text))


_LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After the \\ of the row before, these would be read as its argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{sign: "\\" + sign for sign in "_&%#${}"},
    # What plain LaTeX cannot set outside mathematics.
    "μ": r"$\mu$",
    "λ": r"$\lambda$",
    "κ": r"$\kappa$",
    "α": r"$\alpha$",
    "Δ": r"$\Delta$",
    "Θ": r"$\Theta$",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "‖": r"$\Vert$",
}
_EXPONENT = re.compile(r"(-?\d(?:\.\d+)?)e([+-]\d+)")


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is, in one line."""
    escaped = "".join(_LATEX_SIGNS.get(sign, sign) for sign in _one_line(text))
    return escaped.replace("--", "-{}-")  # two hyphens would be set as one dash


def _latex_number(text: str) -> str:
    """A number as mathematics, where it needs a minus or a power of ten."""
    if found := _EXPONENT.fullmatch(text):
        return rf"${found[1]} \times 10^{{{int(found[2])}}}$"
    return text.replace("-", "$-$").replace("∞", r"$\infty$")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


WRITERS: dict[str, Callable[[Table], str]] = {"csv": _csv, "json": _json, "md": _markdown, "tex": _latex}
"""The formats, by suffix."""
