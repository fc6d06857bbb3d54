"""What `lctui export` writes: tables and figures of runs, in the formats that are asked for.

Owns the formats' names and the files' names.  What stands in them is `tables` and `plots`; drawing loads matplotlib,
and only when there is something to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lctui.errors import BadInput, not_one_of
from lctui.export.formats import WRITERS, Table, write_table
from lctui.export.plots import DRAWN, Figure, run_figures
from lctui.export.tables import run_tables
from lctui.runs.store import Run

FORMATS = (*WRITERS, *DRAWN)


def export_runs(runs: Sequence[Run], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes tables and figures of some runs into a folder, over older ones; returns the files.

    Raises:
        BadInput: a format is unknown, there is nothing to draw, or the folder cannot be written to.
    """
    for name in formats:
        if name not in FORMATS:
            raise BadInput.one("", "--format", not_one_of(name, FORMATS))
    drawn = [name for name in formats if name in DRAWN]
    figures = run_figures(runs) if drawn else {}
    if drawn and not figures:
        raise BadInput.one("", "--format", f"nothing to draw: no LC step yet of {', '.join(r.id for r in runs)}")
    written = [name for name in formats if name in WRITERS]
    tables = run_tables(runs) if written else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(tables, folder, written) + _draw(figures, folder, drawn)
    except OSError as error:
        raise BadInput.one(str(folder), "", f"cannot be written to: {error.strerror}") from None


def _write(tables: Mapping[str, Table], folder: Path, formats: Sequence[str]) -> list[Path]:
    paths = {folder / f"{stem}.{name}": table for name in formats for stem, table in tables.items()}
    for path, table in paths.items():
        write_table(table, path)
    return list(paths)


def _draw(figures: Mapping[str, Figure], folder: Path, formats: Sequence[str]) -> list[Path]:
    if not figures:
        return []
    from lctui.export.figures import draw

    paths = {folder / f"{stem}.{name}": figure for name in formats for stem, figure in figures.items()}
    for path, figure in paths.items():
        draw(figure, path)
    return list(paths)
