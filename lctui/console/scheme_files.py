"""Scheme files for the editor: which there are, reading and writing them, and a hand-over to `$EDITOR`.

Owns the file's layout (one line a block and a task, as people write them) and where schemes are looked for.  Reading
never loses anything: a file that does not parse keeps its text.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lctui
from lctui.errors import BadInput, printable
from lctui.runs import atomic
from lctui.scheme.json_file import read_json

FOLDER = Path("schemes")
MOST = 500
WIDE = 110


def text_of(raw: Any) -> str:
    """A scheme as the text of its file."""
    if not isinstance(raw, dict):
        return _line(raw) + "\n"
    parts = [f"  {_line(str(key))}: {_block(value, 4)}" for key, value in raw.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n" if parts else "{}\n"


def _block(value: Any, indent: int) -> str:
    line = _line(value)
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        pad = " " * indent
        return "[\n" + ",\n".join(f"{pad}{_line(item)}" for item in value) + "\n" + " " * (indent - 2) + "]"
    if len(line) <= WIDE or not isinstance(value, dict):
        return line
    pad = " " * indent
    parts = [f"{pad}{_line(str(key))}: {_block(item, indent + 2)}" for key, item in value.items()]
    return "{\n" + ",\n".join(parts) + "\n" + " " * (indent - 2) + "}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def text_in(path: Path) -> str:
    """The text of a file, whatever it is; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return ""


def parse_text(text: str, name: str) -> Any:
    """JSON that was edited as text, read as strictly as a file is.

    Raises:
        BadInput: it does not parse; says where.
    """
    with tempfile.TemporaryDirectory(prefix="lctui-") as folder:
        path = Path(folder) / "scheme.json"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            return read_json(path)
        except BadInput as error:
            raise BadInput(name, error.problems) from None


def save(path: Path, raw: Any) -> None:
    """Writes a scheme, in place of what was there."""
    text = text_of(raw)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def default_path(name: Any) -> Path:
    """Where a scheme of this name is saved unless one says otherwise."""
    plain = "".join(sign if sign.isalnum() or sign in "-_.+" else "-" for sign in str(name)).strip("-.")
    return FOLDER / f"{plain[:100] or 'scheme'}.json"


def templates() -> Path | None:
    """The schemes beside the package, in a checkout."""
    folder = Path(lctui.__file__).parent.parent / "schemes"
    return folder if folder.is_dir() else None


def found(folders: Iterable[Path | None], beside: Path | None = None) -> list[Path]:
    """The JSON files in and under these folders, and in the folder of the file `beside`, each once, in this order.

    What is below that folder is left out: it may be somebody's whole home.
    """
    files: dict[Path, Path] = {}
    listings = [folder.rglob("*.json") for folder in folders if folder is not None]
    listings += [beside.parent.glob("*.json")] if beside is not None else []
    for listing in listings:
        try:
            for file in sorted(islice(listing, MOST)):
                files.setdefault(file.absolute(), file)
        except OSError:
            continue
    return list(files.values())


def path_from(text: str, inside: str = "") -> Path:
    """The file that somebody has named; for a folder, the file `inside` it.

    Raises:
        OSError, ValueError: there can be no such file, or no way leads to it.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # no such user
        raise ValueError(str(error)) from None
    return path / inside if inside and path.is_dir() else path


def why(error: Exception) -> str:
    """What went wrong with a file, in a few words."""
    return printable(str(getattr(error, "strerror", None) or error))


@contextmanager
def _interrupts_are_the_editors() -> Iterator[None]:
    """Ctrl-C in the editor's terminal reaches this process too, and must not end it.

    A handler that does nothing, and not SIG_IGN: that one the editor would inherit.
    """
    asked = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGQUIT)}
    before = {each: handler for each, handler in asked.items() if handler is not None}  # None cannot be put back
    try:
        for each in before:
            signal.signal(each, lambda *_: None)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def edit_outside(text: str) -> str:
    """The text as the user's editor leaves it; blocks until that is done.

    Raises:
        OSError: there is no such editor, or the text cannot be read back.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="lctui-") as folder:
        path = Path(folder) / "scheme.json"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with _interrupts_are_the_editors():
            subprocess.run([*command, str(path)], check=False)
        return path.read_text(encoding="utf-8-sig", errors="replace")
