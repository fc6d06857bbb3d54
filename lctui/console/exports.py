"""Leaving with what is in view: a table or a figure as files under `exports/`, and as text for the clipboard.

Owns the files' names, which never take another file's place.  Tables are written by `lctui.export.formats`; figures are
drawn in a process of their own, since matplotlib would hold the interface for half a second.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from lctui.console.clipboard import LIMIT
from lctui.errors import LctuiError, not_one_of
from lctui.export.formats import WRITERS, Table, tab_separated, write_table
from lctui.export.plots import DRAWN, Figure
from lctui.runs.process import module_command, module_environment

FOLDER = Path("exports")
"""Where exports go, under the folder that the console was started in."""


class ExportError(LctuiError):
    """Something could not be exported, in one line."""


@dataclass(frozen=True)
class Exportable:
    """What a view can give away: a table, a figure, or both of the same thing; `stem` begins the files' names."""

    stem: str
    table: Table | None = None
    figure: Figure | None = None

    @property
    def numbers(self) -> Table:
        """The table, or the numbers that the figure draws."""
        if self.table is not None:
            return self.table
        return self.figure.data() if self.figure is not None else Table("", (), ())

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that are written unless others are asked for."""
        tables = ("csv", "md", "tex") if self.table is not None else ("csv",)
        return tables + (DRAWN if self.figure is not None else ())


def as_text(exportable: Exportable, limit: int = LIMIT) -> str:
    """What goes to the clipboard: the table, or a figure's numbers, separated by tabs for a spreadsheet.

    It ends with the line that reaches `limit` bytes, which are more than a terminal takes: no more than that is made of
    the million numbers that a figure may have.
    """
    if exportable.table is None and exportable.figure is not None:
        lines = tab_separated(exportable.figure.columns(), exportable.figure.rows())
    else:
        lines = tab_separated(exportable.numbers.columns, exportable.numbers.rows)
    taken: list[str] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line.encode("utf-8", "replace"))
        if size >= limit:
            break
    return "".join(taken)


async def export(exportable: Exportable, folder: Path = FOLDER, formats: Sequence[str] = ()) -> list[Path]:
    """Writes the files, each under a name that no file has yet; returns their paths, all of them or none.

    Raises:
        ExportError: a format is unknown, or does not suit, or the folder cannot be written to.
    """
    wanted = list(dict.fromkeys(formats)) or list(exportable.formats)
    known = (*WRITERS, *(DRAWN if exportable.figure is not None else ()))
    for name in wanted:
        if name not in known:
            raise ExportError(f"format {not_one_of(name, known)}")
    paths: dict[str, Path] = {}
    try:
        await _in_thread(_reserve, folder, slug(exportable.stem), wanted, paths)
        await _write(exportable, paths)
    except BaseException as error:
        for path in paths.values():
            with suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            raise ExportError(f"{folder}: cannot be written to: {error.strerror or error}") from None
        raise
    return list(paths.values())


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Calls a function off the event loop; a thread cannot be stopped, so a cancelled task waits for its end."""
    thread = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


async def _write(exportable: Exportable, paths: Mapping[str, Path]) -> None:
    for name in paths.keys() & WRITERS.keys():
        await _in_thread(_write_numbers, exportable, paths[name])
    drawn = [path for name, path in paths.items() if name in DRAWN]
    if drawn and exportable.figure is not None:
        await _draw(exportable.figure, drawn)


def _write_numbers(exportable: Exportable, path: Path) -> None:
    write_table(exportable.numbers, path)


async def _draw(figure: Figure, paths: Sequence[Path]) -> None:
    """Draws in a process of its own, which ends with this task."""
    with TemporaryFile() as request:
        await _in_thread(_write_request, request, figure, paths)
        process = await asyncio.create_subprocess_exec(
            *module_command("lctui.export.figures"),
            stdin=request,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=module_environment() | {"MPLBACKEND": "agg"},
        )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise ExportError(lines[-1] if lines else f"the drawing process ended with {process.returncode}")


def _write_request(file: IO[bytes], figure: Figure, paths: Sequence[Path]) -> None:
    """In pieces: the whole as one text would hold the interface up for a second, though in a thread."""
    file.write(b'{"figure": ')
    for piece in figure.json_pieces():
        file.write(piece.encode())
    file.write(f', "paths": {json.dumps([str(path.absolute()) for path in paths])}}}'.encode())
    file.seek(0)


def slug(text: str) -> str:
    """A stem that any file system and any shell takes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:60].strip("-.") or "export"


def _reserve(folder: Path, stem: str, formats: Sequence[str], reserved: dict[str, Path]) -> None:
    """Makes empty files under the first number (name, name-2, name-3 …) that is free in every format."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        paths = {suffix: folder / f"{name}.{suffix}" for suffix in formats}
        taken: list[Path] = []
        try:
            for path in paths.values():
                path.open("x").close()
                taken.append(path)
            reserved |= paths
            return
        except OSError as error:
            for path in taken:
                path.unlink()
            if not isinstance(error, FileExistsError):
                raise
