"""Folders of an older lctui open in this one; what a newer one wrote is named in one line, and stays as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lctui import resuming
from lctui.checkpoint import Checkpoint
from lctui.errors import BadInput
from lctui.execution import Nobody, execute
from lctui.exporting import export_what
from lctui.prepare import prepare
from lctui.references import key_of
from lctui.runs import atomic
from lctui.runs.formats import TooNew
from lctui.runs.queue import Queue
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store
from lctui.runs.study_record import StudyRecord, studies
from lctui.runs.study_runs import open_study
from lctui.scheme.study import parse_study
from tests.conftest import ROOT, without_times
from tests.folders.make import STUDY
from tests.runs.forked import Forked

FOLDERS = Path(__file__).parent / "folders"
NEWER = "was written by a newer lctui (format 2; this one reads format 1)"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A home as the first format has it, in the current folder, with the net's code."""
    shutil.copy(FOLDERS / "code" / "small.py", tmp_path)
    shutil.copytree(FOLDERS / "format-1", tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "home")


def done(store: Store) -> Run:
    """The finished run."""
    return store.find("done")


def resumed(run: Run, store: Store) -> dict[str, Any]:
    prepared = prepare(run.scheme(), store.home, "cpu", "scheme.json")
    return execute(run, prepared, store.home, StopRequest(), Nobody())


def newer(path: Path, field: str = "format") -> None:
    """A JSON file says that a newer lctui wrote it."""
    atomic.write_json(path, json.loads(path.read_text()) | {field: 2})


def moved(path: Path, run: Run, store: Store) -> Path:
    """A reference's file where this run looks for it: its key has the code's folder in it."""
    prepared = prepare(run.scheme(), store.home, "cpu", "scheme.json")
    key = key_of(prepared.scheme, prepared.data.digest, prepared.code_digest)
    return path.parent.rename(path.parent.with_name(key)) / path.name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_older_home_is_listed_shown_and_exported(store: Store, tmp_path: Path) -> None:
    run = done(store)
    listed = {each["id"]: each["status"] for each in (found.summary() for found in store.all())}
    assert listed == {run.id: "finished", "half": "interrupted", "early": "interrupted"}
    assert run.events()[-1]["event"] == "run_finished" and run.scheme().name == "small"
    paths = export_what([run.id, "half"], tmp_path / "out", ["csv", "json"], [], {}, store)
    assert paths and all(path.stat().st_size for path in paths)
    assert studies(store.home) == ["small study"]
    assert Queue(store).entries() == []


@pytest.mark.parametrize("name", ["half", "early"])
def test_an_older_run_goes_on(name: str, store: Store) -> None:
    """To the very result of its twin, which the code of its day ran in one go, where the machine is that one."""
    whole, run = done(store), store.find(name)
    meta, before = whole.read("meta.json"), torch.get_num_threads()
    torch.set_num_threads(meta["threads"])
    try:
        result = resumed(run, store)
    finally:
        torch.set_num_threads(before)
    assert run.status() == "finished" and run.events()[-1]["event"] == "run_finished"
    now = run.read("meta.json")
    if name == "half" and all(now[key] == meta[key] for key in ("torch", "device_name")):
        assert without_times(result) == without_times(whole.read("result.json"))


def test_the_reports_runs_open() -> None:
    runs = Store(ROOT / "exports" / "report").folders()
    assert runs
    for run in runs[:5]:
        run.require_known()
        assert run.scheme().name == run.summary()["name"] and run.events()


@pytest.mark.parametrize("verb", [("show",), ("resume",), ("rm",), ("stop",), ("export", "--to", "out")])
def test_a_newer_runs_folder_is_listed_and_left_alone(verb: tuple[str, ...], store: Store, tmp_path: Path) -> None:
    for run in (store.find("half"), done(store)):
        newer(run.file("meta.json"))
        before = contents(run.folder)
        process = Forked(tmp_path, store.home, verb[0], run.id, *verb[1:])
        assert (process.ended(), process.errors()) == (2, f"{run.id}: {NEWER}\n")
        assert contents(run.folder) == before
        assert run.id in [each.id for each in store.all()]


def test_a_worker_leaves_a_newer_folder_alone(store: Store, tmp_path: Path) -> None:
    run = store.find("half")
    newer(run.file("meta.json"))
    before = contents(run.folder)
    process = Forked(tmp_path, store.home, run.folder, "--home", store.home, worker=True)
    assert (process.ended(), process.errors()) == (2, f"half: {NEWER}\n")
    assert contents(run.folder) == before


def test_a_newer_checkpoint_is_not_gone_on_from(store: Store) -> None:
    (half_trained,) = store.home.glob("references/*/checkpoint.safetensors")
    early = moved(half_trained, store.find("early"), store)
    for path in (store.find("half").file("checkpoint.safetensors"), early):
        saved = Checkpoint.load(path)
        assert saved is not None
        saved.numbers["format"] = 2
        saved.save(path)
        before = path.read_bytes()
        with pytest.raises(TooNew) as caught:
            resumed(store.find("half" if "runs" in path.parts else "early"), store)
        assert caught.value.lines() == [f"{path}: {NEWER}"]
        assert path.read_bytes() == before


def test_a_newer_reference_is_not_trained_over(store: Store) -> None:
    (path,) = store.home.glob("references/*/reference.json")
    run = store.find("half")
    run.file("checkpoint.safetensors").unlink()
    path = moved(path, run, store)
    newer(path)
    before = contents(path.parent)
    with pytest.raises(TooNew) as caught:
        resumed(run, store)
    assert caught.value.lines() == [f"{path.parent}: {NEWER}"]
    assert contents(path.parent) == before


def test_newer_records_and_queues_are_not_written_over(store: Store) -> None:
    study = parse_study(STUDY, "study.json", {})
    (record,) = store.home.glob("studies/*.json")
    order = store.home / "queue.json"
    for path in (record, order):
        newer(path, "version")
    before = contents(store.home)
    for action in (
        lambda: StudyRecord.open(store.home, study),
        lambda: open_study("small study", store),
        lambda: Queue(store).add([store.find("half")], "cpu"),
        Queue(store).ensure_dispatcher,
    ):
        with pytest.raises(TooNew, match="was written by a newer lctui"):
            action()
    assert Queue(store).entries() == []
    assert {name: before[name] for name in before} == {name: contents(store.home)[name] for name in before}


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("C_STEP_VERSION", 99, "C steps"), ("TRAINING_VERSIONS", {"float32": 99}, "training")],
)
def test_numbers_of_two_versions_are_not_mixed(
    name: str, value: object, what: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.find("half")
    before = run.read("meta.json")
    monkeypatch.setattr(resuming, name, value)
    with pytest.raises(BadInput) as caught:
        resumed(run, store)
    assert caught.value.lines() == [f"half: its {what} changed since it began; start a new run"]
    assert run.read("meta.json") == before


def test_new_folders_say_their_format(store: Store) -> None:
    run = store.find("half")
    resumed(run, store)
    saved = Checkpoint.load(run.file("checkpoint.safetensors"))
    assert saved is not None and saved.numbers["format"] == 1
    assert store.create(run.scheme(), {}).read("meta.json")["format"] == 1
