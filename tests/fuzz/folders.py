"""Broken run folders: one file of a finished run is changed, and every reader of the store looks at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from lctui.runs.filters import parse
from lctui.runs.follow import histories, whole_history
from lctui.runs.index import RunIndex
from lctui.runs.store import Store
from tests.fuzz.mutations import mutated_bytes, mutated_json, text_of
from tests.fuzz.trial import lctui, require

FILES = ("status.json", "meta.json", "result.json", "scheme.json", "events.jsonl", "events.jsonl")
FORMATS = "csv,json,md,tex"


def cases(rng: Random, count: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Changed files of the one run in `folder`/home, each put back before the next."""
    run = Store(folder / "home").all()[0]
    whole = {name: run.file(name).read_bytes() for name in FILES}
    for number in range(count):
        name = rng.choice(FILES)
        path = run.file(name)
        _break(rng, path, whole[name])
        yield f"folder {number} ({name})", lambda: _try(rng, folder, run.id)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.write_bytes(whole[name])


def _break(rng: Random, path: Path, content: bytes) -> None:
    """Puts something else in a file's place."""
    path.unlink()
    match rng.choice(("bytes", "json", "json", "json", "json", "odd")):
        case "bytes":
            path.write_bytes(mutated_bytes(rng, content))
        case "json" if path.suffix == ".json":
            path.write_bytes(text_of(mutated_json(rng, json.loads(content))))
        case "json":
            lines = content.splitlines()
            for _ in range(rng.randint(1, 4)):
                place = rng.randrange(len(lines))
                lines[place] = text_of(mutated_json(rng, json.loads(rng.choice(content.splitlines()))))
            path.write_bytes(b"\n".join(lines) + b"\n")
        case _:
            _odd(rng, path)


def _odd(rng: Random, path: Path) -> None:
    """What is no file, or no file of this size."""
    match rng.choice(("folder", "pipe", "endless", "nowhere", "itself", "long line", "deep", "missing", "empty")):
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "nowhere":
            path.symlink_to("/nowhere/at/all")
        case "itself":
            path.symlink_to(path.name)
        case "long line":
            path.write_bytes(b'{"event": "step", "layers": [' + b"{}," * rng.choice((1000, 300_000)) + b"{}]}\n")
        case "deep":
            path.write_bytes(b'{"event": "step", "a": ' + b"[" * 100_000)
        case "empty":
            path.touch()


def _try(rng: Random, folder: Path, run_id: str) -> str:
    store = Store(folder / "home")
    shown = json.loads(lctui("ls", "--json", allowed=(0,))[1])
    require([each["id"] for each in shown] == [run_id], "the run is not listed")
    lctui("ls", allowed=(0,))
    lctui("show", run_id, allowed=(0,))
    json.loads(lctui("show", run_id, "--json", allowed=(0,))[1])
    index = RunIndex(store)
    index.refresh()
    parse("test<5 tag:x age<2h", index.fields()).matches(index.rows[0].facts)
    events = store.find(run_id).file("events.jsonl")
    whole_history(events)
    list(histories(events, sample_above=0))
    code = lctui("export", run_id, "--to", folder / "out", "--format", FORMATS)[0]
    return "refused" if code else "exported"
