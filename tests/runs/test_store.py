"""The store: runs are made whole, found by what one can type, shown even when broken, and deleted only at rest."""

from __future__ import annotations

import json
import re
import time
from math import nan
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.runs import atomic
from lctui.runs.store import Run, Store, default_home, new_id, new_run, require_writable
from lctui.scheme import Scheme
from tests.runs.children import HOLD, child, kill
from tests.scheme.cases import EXAMPLE, changed, parsed

SCHEME = parsed(EXAMPLE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def made(store: Store, *ids: str) -> list[Run]:
    """Runs of these ids, whose workers were interrupted."""
    runs = []
    for name in ids:
        folder = store.runs_folder / name
        folder.mkdir(parents=True)
        atomic.write_json(folder / "status.json", {"state": "interrupted"})
        runs.append(Run(folder))
    return runs


def refusal(error: pytest.ExceptionInfo[BadInput]) -> str:
    (line,) = error.value.lines()
    return line


def test_a_new_run_is_whole_and_starting(store: Store) -> None:
    run = new_run(store, SCHEME, "cpu", study="s")
    assert run.status() == "starting"
    assert run.scheme() == SCHEME
    assert run.read("scheme.json") == SCHEME.dump()
    meta = run.read("meta.json")
    assert (meta["requested_device"], meta["study"], meta["fingerprint"]) == ("cpu", "s", SCHEME.fingerprint())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["created"])
    assert run.events() == []
    assert [path.name for path in store.runs_folder.iterdir()] == [run.id]


def test_runs_are_listed_newest_first_and_nothing_else_is(store: Store) -> None:
    assert store.all() == []
    runs = [store.create(SCHEME, {"created": f"2026-01-0{day}"}) for day in (2, 3, 1)]
    (store.runs_folder / ".new-1-aa").mkdir()
    (store.runs_folder / ".removed-x").mkdir()
    (store.runs_folder / "notes.txt").write_text("x")
    assert [run.id for run in store.all()] == [runs[1].id, runs[0].id, runs[2].id]


def test_ids_differ_and_are_easy_to_type() -> None:
    ids = [new_id("table6-3") for _ in range(500)]
    assert len(set(ids)) > 490
    for run_id in ids:
        assert re.fullmatch(r"[a-z][a-z0-9]{3}-table6-3", run_id)
        assert not set(run_id[:4]) & set("il1o0")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/abs",
        "a/b",
        "..",
        ".",
        "-rf",
        "ünïcödé 网络",
        "网络",
        " ",
        "a\\b:c*?",
        "x" * 200,
        "a.b=c,d=1e-3",
        "~",
    ],
)
def test_any_name_makes_a_safe_folder(name: str, store: Store) -> None:
    run = store.create(parsed(changed({"name": name})), {})
    assert run.folder.parent == store.runs_folder
    assert run.folder.is_dir()
    assert re.fullmatch(r"[a-z][a-z0-9._=-]*", run.id)
    assert len(run.id) <= 80
    assert ".." not in run.id
    assert store.find(run.id).folder == run.folder
    assert run.summary()["name"] == name


def test_a_run_is_found_by_its_id_or_its_beginning(store: Store) -> None:
    made(store, "abcd-net", "abce-net", "abcd")
    assert store.find("abce").id == "abce-net"
    assert store.find("abcd-").id == "abcd-net"
    assert store.find("abcd").id == "abcd"  # an id in full is meant, whatever else begins with it


def test_a_beginning_of_several_ids_is_refused_with_them(store: Store) -> None:
    made(store, "abcd-net", "abce-net", "xyz")
    with pytest.raises(BadInput) as caught:
        store.find("ab")
    assert refusal(caught) == "ab: begins 2 run ids: abcd-net, abce-net"


def test_a_beginning_of_many_ids_names_some_of_them(store: Store) -> None:
    made(store, *(f"a{n}" for n in range(9)))
    with pytest.raises(BadInput) as caught:
        store.find("a")
    assert refusal(caught) == "a: begins 9 run ids: a0, a1, a2, a3, a4, a5, …"


def test_a_run_that_is_not_there_is_refused_with_the_nearest(store: Store) -> None:
    with pytest.raises(BadInput) as caught:
        store.find("abcd")
    assert refusal(caught) == f"abcd: no such run in {store.home}; there are none yet"
    made(store, "abcd-net")
    with pytest.raises(BadInput) as caught:
        store.find("abdc-net")
    assert "did you mean 'abcd-net'?" in refusal(caught)
    with pytest.raises(BadInput) as caught:
        store.find("zzz")
    assert "`lctui ls` lists them" in refusal(caught)


@pytest.mark.parametrize("prefix", ["", "..", "../runs", ".", ".new", "/", "a/b", "\x1b[2J", "*"])
def test_what_is_no_id_finds_nothing(prefix: str, store: Store) -> None:
    made(store, "abcd-net")
    with pytest.raises(BadInput) as caught:
        store.find(prefix)
    assert refusal(caught).isprintable()


def test_a_run_at_rest_is_deleted(store: Store) -> None:
    first, second = made(store, "a", "b")
    (first.folder / "deep").mkdir()
    store.remove(first)
    assert [run.id for run in store.all()] == ["b"]
    assert [path.name for path in store.runs_folder.iterdir()] == [second.id]


def test_a_run_whose_deletion_was_cut_short_does_not_block_another(store: Store) -> None:
    (store.runs_folder / ".removed-a" / "left").mkdir(parents=True)
    (run,) = made(store, "a")
    store.remove(run)
    assert store.all() == []


def test_a_run_under_way_is_not_deleted(store: Store) -> None:
    (run,) = made(store, "a")
    with child(HOLD, run.file("lock")) as process:
        with pytest.raises(BadInput) as caught:
            store.remove(run)
        assert refusal(caught) == "a: is running; `lctui stop a` first"
        assert run.folder.is_dir()
        kill(process)
    store.remove(run)
    assert store.all() == []


def test_a_run_that_is_about_to_start_is_not_deleted(store: Store) -> None:
    run = new_run(store, SCHEME, "cpu")
    with pytest.raises(BadInput) as caught:
        store.remove(run)
    assert "is starting" in refusal(caught)


def test_a_queued_run_is_not_deleted_by_accident(store: Store) -> None:
    run = store.create(SCHEME, {}, "queued")
    with pytest.raises(BadInput) as caught:
        store.remove(run)
    assert "is queued" in refusal(caught)


@pytest.mark.parametrize("where", ["home", "home/runs"])
def test_a_home_that_cannot_be_written_is_refused(where: str, store: Store, tmp_path: Path) -> None:
    blocked = tmp_path / where
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file where a folder must be")
    for action in (lambda: store.create(SCHEME, {}), lambda: require_writable(store)):
        with pytest.raises(BadInput) as caught:
            action()
        assert refusal(caught).startswith(f"{store.home}: cannot be written to: ")
    assert store.all() == []


def test_a_disk_that_fills_up_is_refused_and_leaves_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_json", full)
    with pytest.raises(BadInput) as caught:
        store.create(SCHEME, {})
    assert refusal(caught) == f"{store.home}: cannot be written to: No space left on device"
    assert store.all() == []


def test_a_writable_home_is_left_clean(store: Store) -> None:
    require_writable(store)
    assert list(store.runs_folder.iterdir()) == []


def test_twins_are_runs_of_the_same_scheme(store: Store) -> None:
    first = new_run(store, SCHEME, "cpu")
    renamed = new_run(store, parsed(changed({"name": "another"})), "cpu")
    new_run(store, parsed(changed({"seed": 1})), "cpu")
    assert {run.id for run in store.twins(SCHEME.fingerprint())} == {first.id, renamed.id}


def test_a_summary_shows_progress_while_it_runs_and_the_result_after(store: Store) -> None:
    run = store.create(SCHEME, {})
    progress = {"step": 3, "steps": 30, "mu": 0.5, "test_error_pct": 2.0, "compression_ratio": 5.0, "phase": "l_step"}
    atomic.write_json(run.file("status.json"), {"state": "running", "progress": progress, "error": None})
    summary = run.summary()
    assert summary.items() >= progress.items()
    assert (summary["id"], summary["name"], summary["model"]) == (run.id, "table6-3", "lenet5")
    final = {"test_error_pct": 1.0, "compression_ratio": 9.0, "train_error_pct": 0.1, "validation_error_pct": None}
    atomic.write_json(run.file("result.json"), {"final": final})
    assert run.summary().items() >= final.items()


BROKEN = [
    "",
    "{",
    "[]",
    "3",
    "null",
    "{}",
    '{"progress": "x", "final": [1], "model": 3, "name": {}, "tags": 4, "created": {}, "error": []}',
    '{"progress": {"step": "x", "mu": [], "test_error_pct": "high"}, "model": {"factory": 3}}',
    '{"final": {"test_error_pct": {}, "compression_ratio": true}}',
    '{"progress": {"step": NaN, "eta_seconds": Infinity}, "heartbeat_unix": NaN}',
    "[" * 100_000,
    "\x00",
]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: content[:40] or "empty")
def test_a_broken_run_is_shown_and_breaks_no_list(content: str, store: Store) -> None:
    from rich.console import Console

    from lctui.headless.tables import runs_table

    whole = store.create(SCHEME, {})
    (broken,) = made(store, "broken")
    for name in ("status.json", "meta.json", "result.json", "scheme.json", "events.jsonl"):
        broken.file(name).write_text(content)
    summaries = {run.id: run.summary() for run in store.all()}
    assert set(summaries) == {whole.id, "broken"}
    assert summaries["broken"]["status"] == "crashed"
    assert summaries["broken"]["name"] == "broken"
    json.dumps(summaries, allow_nan=False)
    console = Console(width=80, record=True, quiet=True)
    console.print(runs_table(list(summaries.values())))
    assert store.find("broken").events() == []


def test_an_empty_folder_is_a_crashed_run(store: Store) -> None:
    (store.runs_folder / "empty").mkdir(parents=True)
    summary = store.find("empty").summary()
    assert (summary["status"], summary["name"], summary["step"]) == ("crashed", "empty", 0)
    with pytest.raises(BadInput):
        store.find("empty").scheme()


def test_the_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LCTUI_HOME", "~/x")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / "x"
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("LCTUI_HOME")
        else:
            monkeypatch.setenv("LCTUI_HOME", unset)
        assert default_home().is_absolute()
        assert "lctui" in default_home().name


def test_a_scheme_on_disk_is_read_back_as_it_was(store: Store) -> None:
    run = store.create(SCHEME, {"created": str(time.time())})
    assert Scheme.load(run.file("scheme.json")).fingerprint() == SCHEME.fingerprint()


def test_a_run_that_could_not_be_written_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.create(SCHEME, {"no JSON": nan})
    write = atomic.write_json

    def disk_is_full(path: Path, value: Any, **options: bool) -> None:
        if path.name == "status.json":
            raise OSError(28, "No space left on device")
        write(path, value, **options)

    monkeypatch.setattr(atomic, "write_json", disk_is_full)
    with pytest.raises(BadInput, match="No space left"):
        store.create(SCHEME, {})
    assert list(store.runs_folder.iterdir()) == []


def test_what_an_earlier_removal_left_goes_with_a_later_one(store: Store) -> None:
    def leave_some() -> None:
        folder = store.runs_folder / ".removed-abcd-1234" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")

    first, second = made(store, "abcd-x", "efgh-y")
    leave_some()
    store.remove(first)
    assert [path.name for path in store.runs_folder.iterdir()] == [second.id]
    leave_some()
    run = Store(store.home).create(SCHEME, {})
    assert {path.name for path in store.runs_folder.iterdir()} == {second.id, run.id}
    with pytest.raises(BadInput) as caught:
        store.remove(first)
    assert refusal(caught) == "abcd-x: is gone already"


def test_a_number_beyond_all_bounds_is_none(store: Store) -> None:
    (run,) = made(store, "abcd-x")
    run.file("status.json").write_text(f'{{"state": "interrupted", "progress": {{"step": {10**400}, "mu": 2}}}}')
    assert (run.summary()["step"], run.summary()["mu"]) == (0, 2)
