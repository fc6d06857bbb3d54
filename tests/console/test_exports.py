"""Exports from the console: files that never replace others, whole or not at all; figures drawn next door."""

from __future__ import annotations

import asyncio
import csv
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lctui.console.clipboard import LIMIT
from lctui.console.exports import Exportable, ExportError, as_text, export, slug
from lctui.export.formats import Column, Table
from lctui.export.plots import Figure, Series

ROOT = Path(__file__).parents[2]
TABLE = Table("runs", (Column("name"), Column("error", "test (%)", "percent")), (("a_b", 1 / 3), ("c", None)))
FIGURE = Figure("curve", "gap", "LC step", "‖w − Δ(Θ)‖", series=(Series("run", (1, 2), (0.5, 0.25)),))


def exported(exportable: Exportable, folder: Path, *formats: str) -> list[str]:
    return [path.name for path in asyncio.run(export(exportable, folder, formats))]


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_table_leaves_in_three_formats(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "exports"
    assert exported(Exportable("Runs of /work", TABLE), folder) == [
        f"runs-of-work.{name}" for name in ("csv", "md", "tex")
    ]
    assert rows(folder / "runs-of-work.csv") == [["name", "error"], ["a_b", str(1 / 3)], ["c", ""]]
    assert "| a\\_b |     0.33 |" in (folder / "runs-of-work.md").read_text()
    assert "a\\_b & 0.33 \\\\" in (folder / "runs-of-work.tex").read_text()


def test_a_figure_leaves_with_its_numbers(tmp_path: Path) -> None:
    assert exported(Exportable("gap", figure=FIGURE), tmp_path) == ["gap.csv", "gap.png", "gap.svg"]
    assert rows(tmp_path / "gap.csv") == [
        ["series", "x", "y", "label"],
        ["run", "1", "0.5", ""],
        ["run", "2", "0.25", ""],
    ]
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")
    words = ["".join(each.itertext()) for each in ElementTree.parse(tmp_path / "gap.svg").iter() if "text" in each.tag]
    assert "‖w − Δ(Θ)‖" in words


def test_both_leave_together_under_one_name(tmp_path: Path) -> None:
    names = exported(Exportable("both", TABLE, FIGURE), tmp_path)
    assert names == [f"both.{name}" for name in ("csv", "md", "tex", "png", "svg")]


def test_no_file_is_ever_replaced(tmp_path: Path) -> None:
    """The number is the first that is free in every format, so that files of one export keep together."""
    (tmp_path / "t.md").write_text("mine")
    assert exported(Exportable("t", TABLE), tmp_path) == ["t-2.csv", "t-2.md", "t-2.tex"]
    assert exported(Exportable("t", TABLE), tmp_path, "csv") == ["t.csv"]
    assert exported(Exportable("t", TABLE), tmp_path, "csv") == ["t-3.csv"]
    assert (tmp_path / "t.md").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 6


def test_exports_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    async def all_at_once() -> list[list[Path]]:
        return await asyncio.gather(*(export(Exportable("t", TABLE), tmp_path, ["csv", "md"]) for _ in range(8)))

    paths = [path for each in asyncio.run(all_at_once()) for path in each]
    assert len(set(paths)) == 16
    assert all(path.stat().st_size for path in paths)


def test_a_link_that_leads_nowhere_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").symlink_to(tmp_path / "elsewhere")
    assert exported(Exportable("t", TABLE), tmp_path, "csv") == ["t-2.csv"]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_one_line(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ExportError) as caught:
        exported(Exportable("t", TABLE), tmp_path / where)
    assert str(caught.value).startswith(f"{tmp_path / where}: cannot be written to: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_format_is_one_line_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"format 'pdf' is not known"):
        exported(Exportable("t", TABLE), tmp_path / "out", "csv", "pdf")
    with pytest.raises(ExportError, match=r"format 'png' is not known.*csv, json, md, tex"):
        exported(Exportable("t", TABLE), tmp_path / "out", "png")
    assert not (tmp_path / "out").exists()


def test_a_figure_that_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    broken = Figure("curve", series=(Series("a", (1, 2), (1,)),))
    with pytest.raises(ExportError) as caught:
        exported(Exportable("f", figure=broken), tmp_path)
    assert str(caught.value) == "figure.series.0: must have as many x as y, got 2 and 1"
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(export(Exportable("f", figure=FIGURE), tmp_path, ["png"]))
        while not list(tmp_path.iterdir()):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert list(tmp_path.iterdir()) == []


def test_files_here_do_not_stand_in_for_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports go below the current folder, which may hold anything: the drawing process must not import it."""
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    monkeypatch.chdir(tmp_path)
    paths = asyncio.run(export(Exportable("f", figure=FIGURE), Path("exports")))
    assert [str(path) for path in paths] == ["exports/f.csv", "exports/f.png", "exports/f.svg"]
    assert all(path.stat().st_size for path in paths)


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("table6-3: error", "table6-3-error"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("k=2_x", "k-2-x"),
        ("网络", "export"),
        ("a" * 200, "a" * 60),
        ("x\x1b[31m\n", "x-31m"),
    ],
)
def test_stems(text: str, stem: str) -> None:
    assert slug(text) == stem


def test_text_for_the_clipboard() -> None:
    assert as_text(Exportable("t", TABLE, FIGURE)) == f"name\terror\na_b\t{1 / 3}\nc\t\n"
    assert as_text(Exportable("f", figure=FIGURE)).splitlines()[1] == "run\t1\t0.5\t"


def test_no_more_text_is_made_than_a_terminal_takes() -> None:
    """A thousand million points: whoever made all of their lines would not come back."""
    points = range(1_000_000_000)
    text = as_text(Exportable("f", figure=Figure("curve", series=(Series("run", points, points),))))
    assert LIMIT <= len(text) < LIMIT + 100
    assert text.splitlines()[1] == "run\t0\t0\t" and text.endswith("\t\n")
    rows = tuple((f"é{n}", n) for n in range(1000))
    assert as_text(Exportable("t", Table("", TABLE.columns, rows)), 29) == "name\terror\né0\t0\né1\t1\né2\t2\n"


def test_the_consoles_side_loads_nothing_that_computes_or_draws() -> None:
    code = (
        "import sys, lctui.console.exports, lctui.console.clipboard\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
