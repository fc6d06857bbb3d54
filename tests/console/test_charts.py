"""Confusion matrix, histogram, bars and sparkline, by what can be read in them."""

from __future__ import annotations

import math

import pytest
from rich.cells import cell_len

from lctui.console.widgets.charts import bars, confusion, histogram, sparkline

MATRIX = [[980, 0, 3], [1, 1130, 4], [12, 0, 1020]]
CLASSES = ["0", "1", "cat"]


def test_a_confusion_matrix_shows_counts_errors_and_mistakes() -> None:
    text = confusion(CLASSES, MATRIX)
    lines = text.plain.splitlines()
    assert lines[3].split() == ["cat", "12", "·", "1020", "1.16"]
    bold = {text.plain[span.start : span.end].strip() for span in text.spans if getattr(span.style, "bold", False)}
    assert {"3", "1", "4", "12"} <= bold and "1020" not in bold
    assert confusion(CLASSES, MATRIX, ascii=True).plain.isascii()


def test_a_confusion_matrix_that_does_not_fit_lists_the_worst() -> None:
    lines = confusion(CLASSES, MATRIX, width=20).plain.splitlines()
    assert lines[0].startswith("20 of 3150 wrong")
    assert lines[1].startswith("cat → 0") and lines[1].endswith("12")
    assert all(cell_len(line) <= 20 for line in lines)


@pytest.mark.parametrize("dark", [True, False])
def test_confusion_of_nothing_is_not_an_error(dark: bool) -> None:
    assert "0" in confusion(["a", "b"], [[0, 0], [0, 0]], dark=dark).plain
    assert confusion([], []).plain


def test_user_text_is_only_shown() -> None:
    assert "\x1b" not in confusion(["\x1b[31m", "[bold]"], [[1, 2], [3, 4]]).plain
    assert "[bold]x" in bars(["[bold]x"], [1]).plain


@pytest.mark.parametrize("bins", [1, 5, 64, 1000])
def test_a_histogram_has_its_size_and_shows_every_bin(bins: int) -> None:
    counts = [0] * bins
    counts[-1] = 100_000
    counts[0] += 1
    lines = histogram([i / bins for i in range(bins + 1)], counts, 40, 6).plain.splitlines()
    assert len(lines) == 6
    assert all(len(line) <= 40 for line in lines)
    assert lines[4][0] != " " and lines[0].rstrip()[-1] == "█"
    assert lines[-1].split()[0] == "0" and lines[-1].split()[-1] == "1"


def test_bars_are_in_proportion() -> None:
    lines = bars(["a", "bb"], [1, 4], width=40).plain.splitlines()
    assert [line.count("█") for line in lines] == [8, 35]  # 8 3/4 and 35 cells
    assert lines[1].endswith(" 4")
    assert bars(["a", "b"], [0, -1], 20, ascii=True).plain.count("#") == 0
    assert bars([], []).plain == ""
    assert "–" in bars(["a"], [math.nan]).plain


def test_a_sparkline_rises_from_lowest_to_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, math.nan, 2], 3) == "▁ █"
    assert sparkline([5, 5, 5], 9) == "▄▄▄"
    assert len(sparkline(range(1000), 12)) == 12
    assert sparkline(range(1000), 12, ascii=True).isascii()
    assert sparkline([], 5) == "" and sparkline([math.nan], 5) == " "
