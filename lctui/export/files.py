"""What `lctui export` writes: tables, figures and TensorBoard's event files of runs, in the formats that are asked for.

Owns the formats' names and the files' names.  What stands in them is `tables`, `gallery` and `tensorboard`; drawing
loads matplotlib, and only when there is something to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from lctui.errors import BadInput, Problem, not_one_of, writing_to
from lctui.export import tensorboard
from lctui.export.formats import WRITERS, Table, write_table
from lctui.export.gallery import PLOTS, Gallery, gallery
from lctui.export.insides import Insides
from lctui.export.long import long_table
from lctui.export.names import run_names
from lctui.export.plots import DRAWN, Figure
from lctui.export.tables import run_tables
from lctui.runs.locks import alone_in
from lctui.runs.store import Run

TENSORBOARD = "tensorboard"
DEPLOYED = ("torch", "onnx", "safetensors", "packed")
"""What a run's net can be written as; `lctui.deploying` does it."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What it takes to write ONNX and to open it again: an extra of lctui's."""
FORMATS = (*WRITERS, *DRAWN, TENSORBOARD, *DEPLOYED)


def export_runs(
    runs: Sequence[Run],
    folder: Path,
    formats: Sequence[str],
    plots: Sequence[str] = (),
    insides: Insides | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Writes tables, figures and event files of some runs into a folder, over older ones; returns the files.

    Without `plots`, all that can be drawn are.  `insides` answers what only the net itself can tell; `note` is told
    what is left out although it was to be expected.  Two exports into one folder write one after the other.

    Raises:
        BadInput: a format or plot is unknown, there is nothing to draw, or the folder cannot be written to.
    """
    require_formats(formats, plots)
    drawn = [name for name in formats if name in DRAWN]
    shown = _figures(runs, plots, insides, note) if drawn else Gallery()
    if TENSORBOARD in formats:
        tensorboard.require()
    written = [name for name in formats if name in WRITERS]
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, note):
            paths = _write(runs, folder, written) + draw_figures(shown.figures, folder, drawn)
            return paths + (_write_events(runs, folder / TENSORBOARD) if TENSORBOARD in formats else [])


def require_formats(formats: Sequence[str], plots: Sequence[str]) -> None:
    """Raises BadInput if a format or a plot is unknown or lacks a package, or a plot has no format to draw it in."""
    for option, names, known in (("--format", formats, FORMATS), ("--plot", plots, PLOTS)):
        for name in names:
            if name not in known:
                raise BadInput.one("", option, not_one_of(name, known))
    if plots and not any(name in DRAWN for name in formats):
        message = f"needs --format {' or '.join(DRAWN)} (or both), got {','.join(formats)}"
        raise BadInput.one("", "--plot", message)
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None] if "onnx" in formats else []
    if missing:
        raise BadInput.one("", "--format", f"onnx needs {', '.join(missing)}: pip install 'lctui[onnx]'")


def _figures(
    runs: Sequence[Run], plots: Sequence[str], insides: Insides | None, note: Callable[[str], None]
) -> Gallery:
    """The figures of the plots that are named, or of all.

    Raises:
        BadInput: none of the runs can show a plot that is named, or any at all.
    """
    found = gallery(runs, plots or PLOTS, insides)
    for plot in found.missing if plots else found.troubled:
        if plot in found.shown or not plots:
            note(f"{plot} left out {found.reasons(plot)}")
    absent = [plot for plot in plots if plot not in found.shown]
    if absent:
        raise BadInput("", [Problem("--plot", f"{plot} cannot be drawn {found.reasons(plot)}") for plot in absent])
    if not found.figures:
        raise BadInput.one("", "--format", f"nothing can be drawn {found.reasons('curve')}")
    return found


def _write(runs: Sequence[Run], folder: Path, formats: Sequence[str]) -> list[Path]:
    if not formats:
        return []
    tables: dict[str, Table] = run_tables(runs)
    paths = {folder / f"{stem}.{name}": table for name in formats for stem, table in tables.items()}
    if "csv" in formats:
        paths[folder / "long.csv"] = long_table(runs)
    for path, table in paths.items():
        write_table(table, path)
    return list(paths)


def draw_figures(figures: Mapping[str, Figure], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draws figures, by file stem, in each of the formats; returns the files.  Nothing to draw loads nothing."""
    if not figures or not formats:
        return []
    from lctui.export.figures import draw

    paths = {folder / f"{stem}.{name}": figure for name in formats for stem, figure in figures.items()}
    for path, figure in paths.items():
        draw(figure, path)
    return list(paths)


def _write_events(runs: Sequence[Run], folder: Path) -> list[Path]:
    names = run_names(runs)
    return [tensorboard.write_run(run, folder / names[run]) for run in runs]
