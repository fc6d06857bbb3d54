"""Broken run folders: one file of a finished run is changed, and every reader of the store looks at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from lctui.console.settings import Settings, load_settings, save_settings, settings_file
from lctui.runs import atomic
from lctui.runs.filters import parse
from lctui.runs.follow import histories, whole_history
from lctui.runs.index import _VERSION, RunIndex
from lctui.runs.lines_cache import save_lines
from lctui.runs.queue import Queue
from lctui.runs.store import Store
from lctui.runs.study_record import StudyRecord
from lctui.scheme.study import parse_study
from tests.fuzz.mutations import mutated_bytes, mutated_json, text_of
from tests.fuzz.schemes import STUDY
from tests.fuzz.trial import lctui, require

FORMATS = "csv,json,md,tex"
OF_RUN = ("status.json", "meta.json", "result.json", "scheme.json", "events.jsonl", "events.jsonl")


def cases(rng: Random, count: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Changed files of `folder`/home and of the one run in it, each put back before the next."""
    home = folder / "home"
    run = Store(home).all()[0]
    others = _written(home, run.id)
    whole = {path: path.read_bytes() for path in [*map(run.file, OF_RUN), *others]}
    paths = [*map(run.file, OF_RUN), *map(run.file, OF_RUN), *others]
    for number in range(count):
        path = rng.choice(paths)
        _break(rng, path, whole[path])
        yield f"folder {number} ({path.name})", lambda: _try(folder, run.id)
        _away(path)
        path.write_bytes(whole[path])


def _written(home: Path, run_id: str) -> list[Path]:
    """Files of a home besides its runs, as lctui writes them."""
    study = StudyRecord.open(home, parse_study(STUDY, "study.json", {}))
    entry = {"id": run_id, "device": "cpu"}
    atomic.write_json(home / "queue.json", {"version": 1, "order": [entry], "taken": [entry]})
    save_settings(Settings(filter="test<5"))
    _index(home, lambda row: row)
    references = list((home / "references").glob("*/reference.json"))
    return [study.path, home / "queue.json", settings_file(), home / "cache" / "runs-index.jsonl", *references]


def _away(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _break(rng: Random, path: Path, content: bytes) -> None:
    """Puts something else in a file's place."""
    path.unlink()
    match rng.choice(("bytes", "json", "json", "json", "json", "odd")):
        case "bytes":
            path.write_bytes(mutated_bytes(rng, content))
        case "json" if path.name == "runs-index.jsonl":
            _index(path.parents[1], lambda row: mutated_json(rng, row))
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


def _index(home: Path, changed: Callable[[Any], Any]) -> None:
    """The index's cache, up to date as far as its stamps say, with changed rows under checksums that are right."""
    index = RunIndex(Store(home))
    index.refresh()
    rows = [[row.id, index._known[row.id].stamps, row.summary, row.facts] for row in index.rows]
    save_lines(home / "cache" / "runs-index.jsonl", _VERSION, map(changed, json.loads(json.dumps(rows))))


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
            path.write_bytes(b'{"event": "step", "layers": [' + b"{}," * rng.choice((1000, 100_000)) + b"{}]}\n")
        case "deep":
            path.write_bytes(b'{"event": "step", "a": ' + b"[" * 100_000)
        case "empty":
            path.touch()


def _try(folder: Path, run_id: str) -> str:
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
    Queue(store).entries()
    load_settings()
    lctui("export", "s", "--to", folder / "out", "--format", "csv")
    lctui("export", run_id, "--to", folder / "out", "--format", FORMATS, allowed=(0,))
    return str(shown[0]["status"])
