"""A table in every format, read back by somebody else's reader: csv, json, and a Markdown parser."""

from __future__ import annotations

import csv
import io
import json
import re
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lctui.errors import printable
from lctui.export.formats import Column, Table, latex_text, tab_separated, table_text, write_table

NASTY = 'a|b_c & 100% $x$ #1 {y} ~ ^ \\ *z* `q` <i> [l](u) -- "d", e\nf'

TABLE = Table(
    "runs_1 of 2",
    (
        Column("name"),
        Column("secret", detail=True),
        Column("test_error_pct", "test (%)", "percent"),
        Column("ratio", form="ratio"),
        Column("bits", form="count"),
        Column("mu", "μ", "number"),
    ),
    (
        (NASTY, "for programs", 0.1 + 0.2, 37.73248519798384, 13_714_400, 5.7512e-05),
        ("b", None, None, 4.0, 2**70, -0.25),
        ("", None, 12.345, None, 0, 1.0),
    ),
)


def markdown_rows(text: str) -> list[list[str]]:
    """The cells of the tables in a Markdown document, as a reader sees them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            children = token.children or []
            assert {child.type for child in children} <= {"text", "text_special"}, children
            rows[-1].append("".join(child.content for child in children))
    return rows


def as_read(text: str) -> str:
    """A cell as Markdown can hold it: in one line, with nothing that a terminal would obey."""
    return printable(" ".join(text.split())) or "–"


def test_csv_has_every_column_and_every_digit() -> None:
    rows = list(csv.reader(io.StringIO(table_text(TABLE, "csv"), newline="")))
    assert rows[0] == ["name", "secret", "test_error_pct", "ratio", "bits", "mu"]
    assert rows[1][:2] == [NASTY, "for programs"]
    assert [float(cell) for cell in rows[1][2:]] == [0.1 + 0.2, 37.73248519798384, 13_714_400, 5.7512e-05]
    assert rows[2] == ["b", "", "", "4.0", str(2**70), "-0.25"]


def test_json_has_every_column_and_every_digit() -> None:
    first, second, _ = json.loads(table_text(TABLE, "json"))
    assert list(first.values()) == list(TABLE.rows[0])
    assert second["bits"] == 2**70 and second["test_error_pct"] is None


def test_json_has_no_number_that_json_does_not_know() -> None:
    table = Table("", (Column("x"),), ((nan,), (inf,), (1.5,)))
    text = table_text(table, "json")
    assert json.loads(text, parse_constant=pytest.fail) == [{"x": None}, {"x": None}, {"x": 1.5}]


def test_markdown_is_read_as_it_was_meant() -> None:
    text = table_text(TABLE, "md")
    assert text.startswith("runs\\_1 of 2\n\n|")
    assert markdown_rows(text) == [
        ["name", "test (%)", "ratio", "bits", "μ"],
        [as_read(NASTY), "0.30", "37.7", "13,714,400", "5.751e-05"],
        ["b", "–", "4.0", "1,180,591,620,717,411,303,424", "-0.25"],
        ["–", "12.35", "–", "0", "1"],
    ]


def test_markdown_sets_numbers_flush_right_and_lines_up() -> None:
    lines = table_text(TABLE, "md").splitlines()[2:]
    assert re.fullmatch(r"\| -+ \| -+: \| -+: \| -+: \| -+: \|", lines[1])
    assert len({len(line) for line in lines}) == 1


def test_latex_is_a_booktabs_tabular() -> None:
    lines = table_text(TABLE, "tex").splitlines()
    assert lines[:5] == [
        "% runs_1 of 2",
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"name & test (\%) & ratio & bits & $\mu$ \\",
    ]
    assert lines[7:] == [
        r"b & -- & 4.0 & 1,180,591,620,717,411,303,424 & $-$0.25 \\",
        r"-- & 12.35 & -- & 0 & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert lines[6].endswith(r" & 0.30 & 37.7 & 13,714,400 & $5.751 \times 10^{-5}$ \\")
    assert len(re.findall(r"(?<!\\)&", lines[6])) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fc1_out", r"fc1\_out"),
        ("a & b", r"a \& b"),
        ("50%", r"50\%"),
        ("$5", r"\$5"),
        ("#1", r"\#1"),
        ("{x}", r"\{x\}"),
        ("~", r"\textasciitilde{}"),
        ("2^k", r"2\textasciicircum{}k"),
        (r"C:\new", r"C:\textbackslash{}new"),
        ("a|b", r"a\textbar{}b"),
        ("<1>", r"\textless{}1\textgreater{}"),
        ("[1ex]", "{[}1ex{]}"),
        ("*", "{*}"),
        ("a--b", "a-{}-b"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b[31mred", r"\textbackslash{}x1b{[}31mred"),
        ("κ ≤ 3×10", r"$\kappa$ $\leq$ 3$\times$10"),
        ("ünï", "ünï"),
        ("1e-05", "1e-05"),
    ],
)
def test_text_in_latex(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_ratios_below_ten_get_a_second_digit() -> None:
    rows = markdown_rows(table_text(Table("", (Column("r", form="ratio"),), ((4.371,), (3.92,))), "md"))
    assert rows == [["r"], ["4.37"], ["3.92"]]


def test_numbers_beyond_all_numbers() -> None:
    table = Table("", (Column("r", form="ratio"), Column("m", form="number")), ((inf, nan), (1.0, -inf)))
    assert markdown_rows(table_text(table, "md"))[1:] == [["∞", "–"], ["1.00", "-∞"]]
    assert r"$\infty$ & -- \\" in table_text(table, "tex")


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "tex"])
def test_a_table_without_columns_or_rows_is_still_a_file(suffix: str, tmp_path: Path) -> None:
    write_table(Table("", (), ()), tmp_path / f"none.{suffix}")
    write_table(Table("", TABLE.columns, ()), tmp_path / f"empty.{suffix}")
    assert (tmp_path / f"empty.{suffix}").read_text().strip()


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("older, and much longer than what comes" * 100)
    write_table(Table("", (Column("x"),), ((1,),)), path)
    assert path.read_bytes() == b"x\n1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]


def test_text_for_a_spreadsheet() -> None:
    lines = "".join(tab_separated((Column("a"), Column("b")), (("x\ty\nz", 0.1), (None, True)))).split("\n")
    assert lines == ["a\tb", "x y z\t0.1", "\ttrue", ""]


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_any_text_comes_back(pairs: list[tuple[str, str]]) -> None:
    table = Table("", (Column("a"), Column("b")), tuple(pairs))
    written = table_text(table, "csv").encode("utf-8", "replace").decode()
    read = list(csv.reader(io.StringIO(written, newline="")))[1:]
    assert read == [[cell.encode("utf-8", "replace").decode() for cell in pair] for pair in pairs]
    assert markdown_rows(table_text(table, "md"))[1:] == [[as_read(a), as_read(b)] for a, b in pairs]
    for line in table_text(table, "tex").splitlines():
        assert line.isprintable()
