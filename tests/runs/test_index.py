"""The index of runs: every change on disk shows, nothing broken hides the rest, and the cache is only a cache."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import atomic, index
from lctui.runs.facts import facts_of
from lctui.runs.filters import parse
from lctui.runs.index import RunIndex
from lctui.runs.status import StatusFile
from lctui.runs.store import SUMMARIZED, Run, Store, new_run
from tests.runs.children import HOLD, child, kill
from tests.scheme.cases import EXAMPLE, parsed

RECORDED = Path(__file__).parents[1] / "data" / "home"
SCHEME = parsed(EXAMPLE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A home with the recorded runs."""
    shutil.copytree(RECORDED, tmp_path / "home")
    return Store(tmp_path / "home")


@pytest.fixture
def cached(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of that home, written however few the runs are."""
    monkeypatch.setattr(index, "_MANY_UNSAVED", 0)
    saving = RunIndex(store)
    saving.refresh()
    saving.save()
    return store.home / "cache" / "runs-index.jsonl"


def statuses(runs: RunIndex) -> dict[str, str]:
    return {row.id: row.summary["status"] for row in runs.rows}


def unread(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of runs whose files are read from now on."""
    names: list[str] = []
    read = Run.read

    def noted(run: Run, name: str) -> dict[str, Any]:
        names.append(run.id)
        return read(run, name)

    monkeypatch.setattr(Run, "read", noted)
    return names


def test_rows_are_what_the_store_lists(store: Store) -> None:
    runs = RunIndex(store)
    assert runs.rows == ()
    assert runs.refresh()
    assert [row.id for row in runs.rows] == [run.id for run in store.all()]
    assert [row.summary for row in runs.rows] == [run.summary() for run in store.all()]
    rows = runs.rows
    assert not runs.refresh()
    assert runs.rows is rows
    assert runs.get(rows[0].id) is rows[0]
    assert runs.get("no") is None


def test_a_home_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    runs = RunIndex(Store(tmp_path / "no"))
    assert not runs.refresh()
    assert runs.rows == ()
    assert not (tmp_path / "no").exists()


def test_facts_of_a_recorded_run(store: Store) -> None:
    runs = RunIndex(store)
    runs.refresh()
    row = runs.get("a52y-k-0.k=16")
    assert row is not None
    facts = row.facts
    expected = {
        "id": "a52y-k-0.k=16",
        "name": "k/0.k=16",
        "status": "finished",
        "model": "lenet300",
        "data": "mnist_sample",
        "type": ["quantize"],
        "layer": ["fc1"],
        "study": "sweep",
        "device": "cpu",
        "seed": 0,
        "step": 15,
        "steps": 15,
        "test": 5.6,
        "val": 6.5,
        "train": 0.0,
        "compress.0.how.k": 16,
        "final.test_error_pct": 5.6,
        "best.step": 13,
        "reference.test_error_pct": 5.8,
        "reference.epochs": 30,
        "layers.0.bits": 941312,
    }
    assert {name: facts[name] for name in expected} == expected
    assert None not in facts.values()
    assert "final.test_error_pct" in runs.fields()
    for text in ("k=16", "k:16 type:quantize ratio>4", "age>0 or age<0", "study:sweep test<6", "a52y"):
        assert parse(text, runs.fields()).matches(facts)


def test_additive_tasks_and_odd_files_have_facts() -> None:
    scheme = {
        "tags": ["a", 3],
        "compress": [{"layers": ["x", "y"], "how": [{"type": "prune", "kappa": 5}, {"type": "quantize", "k": 2}]}, 7],
        "data": "mnist",
    }
    files = {"status": {}, "meta": {"created": "2026-99"}, "result": {"layers": [{"parts": [{"rank": 3}]}]}}
    summary = dict.fromkeys(("train_error_pct", "validation_error_pct", "test_error_pct"))
    summary |= {"compression_ratio": None, "tags": ["a"], "model": None, "created": "2026-99"}
    facts = facts_of(summary, files | {"scheme": scheme})
    assert facts["type"] == ["prune", "quantize"]
    assert facts["layer"] == ["x", "y"]
    assert facts["compress.0.how.0.kappa"] == 5
    assert facts["compress.0.how.1.k"] == 2
    assert facts["layers.0.parts.0.rank"] == 3
    assert facts["compress"] == [7]
    assert "created_unix" not in facts
    deep: Any = 1
    for _ in range(150):
        deep = {"a": [deep]}
    assert facts_of(summary, files | {"scheme": deep})["tags"] == ["a"]


def test_new_and_removed_runs_are_noticed(store: Store) -> None:
    runs = RunIndex(store)
    runs.refresh()
    run = new_run(store, SCHEME, "cpu")
    assert runs.refresh()
    assert runs.rows[0].id == run.id
    assert statuses(runs)[run.id] == "starting"
    shutil.rmtree(run.folder)
    assert runs.refresh()
    assert runs.get(run.id) is None
    shutil.rmtree(store.home)
    assert runs.refresh()
    assert runs.rows == ()


def test_a_live_run_is_followed_and_its_death_noticed(store: Store) -> None:
    run = new_run(store, SCHEME, "cpu")
    runs = RunIndex(store)
    with child(HOLD, run.file("lock")) as worker:
        runs.refresh()
        assert statuses(runs)[run.id] == "running"
        said = StatusFile(run.file("status.json"))
        said.update(step=3, steps=9, test_error_pct=1.5)
        said.write()
        assert runs.refresh()
        row = runs.get(run.id)
        assert row is not None
        assert (row.summary["step"], row.facts["step"], row.facts["test"]) == (3, 3, 1.5)
        assert not runs.refresh()
        kill(worker)
        assert runs.refresh()
        assert statuses(runs)[run.id] == "crashed"
    # Resumed: whoever takes the lock writes a status.
    with child(HOLD, run.file("lock")):
        said.write()
        assert runs.refresh()
        assert statuses(runs)[run.id] == "running"
        atomic.write_json(run.file("result.json"), {"final": {"test_error_pct": 0.5}})
        said.close("finished")
        runs.refresh()
    runs.refresh()
    row = runs.get(run.id)
    assert row is not None
    assert (row.summary["status"], row.facts["final.test_error_pct"]) == ("finished", 0.5)


def test_a_finished_run_that_is_resumed_is_noticed(store: Store) -> None:
    runs = RunIndex(store)
    runs.refresh()
    run = store.find("a52y")
    with child(HOLD, run.file("lock")):
        StatusFile(run.file("status.json")).write()
        assert runs.refresh()
        assert statuses(runs)[run.id] == "running"


@pytest.mark.parametrize("state", ["queued", "interrupted", "failed", "diverged"])
def test_a_state_is_passed_on(state: str, store: Store) -> None:
    run = new_run(store, SCHEME, "cpu")
    atomic.write_json(run.file("status.json"), {"state": state})
    runs = RunIndex(store)
    runs.refresh()
    assert statuses(runs)[run.id] == run.status() == state


@pytest.mark.parametrize("name", [f"{name}.json" for name in SUMMARIZED])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"null", b'{"tags": 3, "model": [], "compress": {}}'])
def test_broken_files_hide_no_run(name: str, content: bytes, store: Store) -> None:
    (store.runs_folder / "a52y-k-0.k=16" / name).write_bytes(content)
    runs = RunIndex(store)
    runs.refresh()
    assert len(runs.rows) == len(store.all())
    assert runs.get("a52y-k-0.k=16") is not None


def test_odd_folders(store: Store) -> None:
    """A file in a folder's place is no run; a folder without files, or with folders in their place, is a broken one."""
    count = len(store.all())
    (store.runs_folder / "note").write_text("x")
    (store.runs_folder / ".draft").mkdir()
    (store.runs_folder / "empty").mkdir()
    for name in SUMMARIZED:
        (store.runs_folder / "folders" / f"{name}.json").mkdir(parents=True)
    closed = store.runs_folder / "closed"
    closed.mkdir(mode=0)
    runs = RunIndex(store)
    runs.refresh()
    closed.chmod(0o700)
    assert len(runs.rows) == count + 3
    assert {statuses(runs)[name] for name in ("empty", "folders", "closed")} == {"crashed"}


def test_a_clock_that_was_set_back(store: Store) -> None:
    run = new_run(store, SCHEME, "cpu")
    atomic.write_json(run.file("meta.json"), {"created": "2999-01-01T00:00:00.000Z"})
    atomic.write_json(run.file("status.json"), {"state": "starting", "heartbeat_unix": time.time() + 1e6})
    runs = RunIndex(store)
    runs.refresh()
    assert runs.rows[0].id == run.id
    assert parse("age<0").matches(runs.rows[0].facts)


def test_the_next_process_reads_no_run_again(store: Store, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = RunIndex(store)
    read = unread(store, monkeypatch)
    assert fresh.refresh()
    assert read == []
    assert [row.summary for row in fresh.rows] == [run.summary() for run in store.all()]


@pytest.mark.parametrize("name", [f"{name}.json" for name in SUMMARIZED])
def test_what_changed_since_the_cache_was_written_is_read(
    name: str, store: Store, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.find("a52y")
    atomic.write_json(run.file(name), run.read(name) | {"error": "new"})
    fresh = RunIndex(store)
    read = unread(store, monkeypatch)
    fresh.refresh()
    assert set(read) == {run.id}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"1", b"2"),
        lambda content: content.replace(b"lenet300", b"lenet5"),
        lambda content: content.replace(b"\n", b""),
        lambda content: b"\x00" * len(content),
        lambda content: b"another version\n" + content.partition(b"\n")[2],
    ],
)
def test_a_damaged_cache_is_read_past(damage: Any, store: Store, cached: Path) -> None:
    cached.write_bytes(damage(cached.read_bytes()))
    fresh = RunIndex(store)
    fresh.refresh()
    assert [row.summary for row in fresh.rows] == [run.summary() for run in store.all()]
    fresh.save()
    assert len(cached.read_bytes().splitlines()) == 1 + len(fresh.rows)


def test_a_cache_that_cannot_be_written_is_done_without(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MANY_UNSAVED", 0)
    (store.home / "cache").write_text("in the way")
    runs = RunIndex(store)
    assert runs.refresh()
    runs.save()
    assert not runs.refresh()
    assert len(runs.rows) == len(store.all())


def test_live_runs_are_not_cached(store: Store, cached: Path) -> None:
    run = new_run(store, SCHEME, "cpu")
    with child(HOLD, run.file("lock")):
        runs = RunIndex(store)
        runs.refresh()
        runs.save()
        lines = cached.read_text().splitlines()[1:]
    assert run.id not in [json.loads(line.partition(" ")[2])[0] for line in lines]
