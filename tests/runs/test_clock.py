"""Clocks that are set back: the order of runs, whole runs in processes whose clock is set, what was used last."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lctui import data, data_cache, prepare
from lctui.headless.tables import run_report
from lctui.runs import atomic, clock, store
from lctui.runs.clock import Watch, after, touch_last
from lctui.runs.index import RunIndex
from lctui.runs.lines_cache import save_lines
from lctui.runs.queue import Queue
from lctui.runs.store import Store, new_run
from lctui.scheme import Data, Scheme
from tests.conftest import Cli, without_times
from tests.folders.make import SCHEME
from tests.runs.forked import Forked

DAY = 86400.0
HOOK = """
import datetime, glob, os, time
_time, _home = time.time, os.environ["LCTUI_HOME"]

def _shift():
    # From the start, or as soon as there is a checkpoint.
    is_set = "FROM_THE_START" in os.environ or glob.glob(_home + "/runs/*/checkpoint.safetensors")
    return float(os.environ["SHIFT"]) if is_set else 0.0

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: _time() + _shift()
time.time_ns = lambda: int(time.time() * 1e9)
datetime.datetime = Shifted
"""
"""Read by Python at its start; the times of files are the file system's, which are right."""


@pytest.fixture
def shifted(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose processes have such a clock."""
    hook = tmp_path_factory.mktemp("hook")  # apart from the user's code: what lies beside that counts as it
    (hook / "sitecustomize.py").write_text(HOOK)
    shutil.copy(Path(__file__).parents[1] / "folders/code/small.py", tmp_path)
    return {"SHIFT": str(-DAY), "PYTHONPATH": os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH"))))}


def scheme(folder: Path, **changes: Any) -> Path:
    path = folder / "scheme.json"
    path.write_text(json.dumps(SCHEME | changes))
    return path


def test_the_order_counts_on_while_the_clock_is_behind() -> None:
    times = ["2026-03-01T10:00:00.000Z", "2026-02-28T10:00:00.000Z", "2026-02-28T10:00:01.000Z", "2026-03-02T00:00:00Z"]
    keys, newest = [], ""
    for now in times:
        newest = after(newest, now)
        keys.append(newest)
    assert keys == sorted(keys) and len(set(keys)) == 4
    assert (keys[0], keys[3]) == (times[0], times[3])  # where the clock tells, it is the time itself


def test_runs_stand_in_the_order_they_were_made_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, made = Store(tmp_path / "home"), []
    for day in ("05", "06", "04", "04", "07"):
        monkeypatch.setattr(store, "now", lambda day=day: f"2026-03-{day}T12:00:00.000Z")
        made.append(new_run(home, Scheme.model_validate(SCHEME), "cpu").id)
    newest_first = made[::-1]
    assert [run.id for run in home.all()] == newest_first
    index = RunIndex(home)
    index.refresh()
    assert [row.id for row in index.rows] == newest_first
    fingerprint = Scheme.model_validate(SCHEME).fingerprint()
    assert [run.id for run in home.twins(fingerprint)] == newest_first
    assert home.find(made[2]).read("meta.json")["created"] == "2026-03-04T12:00:00.000Z"  # what is shown is not bent


def test_a_file_that_was_used_last_is_the_last(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for place, file in enumerate(files):
        file.touch()
        os.utime(file, (time.time() + place * DAY,) * 2)  # used before the clock was set back
    touch_last(files[0])
    touch_last(files[1])
    assert sorted(files, key=lambda file: file.stat().st_mtime_ns) == [files[2], files[0], files[1]]


def test_a_watch_tells_steps_back_from_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0, 10.0]
    monkeypatch.setattr(clock.time, "time", lambda: now[0])
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[1])
    watch = Watch()
    now[:] = [1005.0, 15.0]
    assert watch.set_back() == 0
    now[:] = [9005.0, 16.0]  # asleep: the monotonic clock stood still
    assert watch.set_back() < 0
    now[:] = [5405.0, 16.0]
    assert watch.set_back() == 3600
    assert watch.set_back() == 0


@pytest.mark.parametrize("days", [-1, 1])
def test_a_run_whose_clock_is_set_in_the_middle_ends_the_same(
    days: int, cli: Cli, tmp_path: Path, shifted: dict[str, str]
) -> None:
    path = scheme(tmp_path)
    plain = Forked(tmp_path, tmp_path / "plain", "--run", path, "--quiet")
    moved = cli("--run", path, "--quiet", env=cli.env | shifted | {"SHIFT": str(days * DAY)})
    assert (plain.ended(), moved.returncode) == (0, 0), moved.stderr
    found = json.loads(moved.stdout)
    assert without_times(json.loads(plain.out.read_text())) == without_times(found)
    assert 0 < found["seconds"] < DAY / 2
    (run,), (other,) = Store(cli.home).all(), Store(tmp_path / "plain").all()
    assert ("the clock was set back by 24h00m" in run.file("worker.log").read_text()) == (days < 0)
    first, *_, last = [datetime.fromisoformat(event["time"]).timestamp() for event in run.events()]
    assert abs(last - first - days * DAY) < DAY / 2  # the hook did what it is for
    assert run.status() == "finished" and "step" in {event["event"] for event in run.events()}
    assert run.file("compressed.safetensors").read_bytes() == other.file("compressed.safetensors").read_bytes()
    run_report(run.summary(), run.read("meta.json"), found, run.events())


def test_a_run_is_resumed_a_day_earlier_to_the_same_end(cli: Cli, tmp_path: Path, shifted: dict[str, str]) -> None:
    path = scheme(tmp_path)
    plain = Forked(tmp_path, tmp_path / "plain", "--run", path, "--quiet")
    process = Forked(tmp_path, cli.home, "--run", path, "--quiet", stands_at="epoch")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    assert (plain.ended(), process.ended()) == (0, 130)
    wanted = without_times(json.loads(plain.out.read_text()))
    (run,) = cli.runs()
    behind = cli.env | shifted | {"FROM_THE_START": "yes"}
    resumed = cli("resume", run.name, "--quiet", env=behind)
    assert resumed.returncode == 0, resumed.stderr
    assert wanted == without_times(json.loads(resumed.stdout))
    assert "the clock was set back by" in (run / "worker.log").read_text()
    later = cli("--run", scheme(tmp_path, seed=7), "--quiet", env=behind)
    assert [each.id for each in Store(cli.home).all()] == [json.loads(later.stdout)["id"], run.name]


def test_runs_of_an_older_lctui_are_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither they, nor a file that is torn or says nonsense, put a new run before an old one."""
    home, made = Store(tmp_path / "home"), []
    for said in (None, "{", "[]", '"zzz"', "3"):
        monkeypatch.setattr(store, "now", lambda: f"2026-03-{9 - len(made):02d}T12:00:00.000Z")
        made.append(new_run(home, Scheme.model_validate(SCHEME), "cpu").id)
        newest = home.home / "newest.json"
        newest.unlink() if said is None else newest.write_text(said)
        assert [run.id for run in home.all()] == made[::-1]
    broken = home.find(made[0])
    atomic.write_json(broken.file("meta.json"), {"created": "zzz"})
    newest.unlink()
    made.append(new_run(home, Scheme.model_validate(SCHEME), "cpu").id)
    assert [run.id for run in home.all()] == [made[0], *made[:0:-1]]
    assert {path.name for path in home.home.iterdir()} == {"runs", "newest.json", "newest.lock"}


def test_a_cache_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used before the clock was set back goes first, and so does a killed writer's temporary file."""
    folder = tmp_path / "cache" / "data"
    sample = data.load(Data(name="mnist_sample"), seed=0, home=tmp_path)
    entries = [data_cache.Entry(folder / name, {"name": name}) for name in "abc"]
    for place, entry in enumerate(entries[:2]):
        entry.save(sample)
        os.utime(entry.file, (time.time() + (3 - place) * DAY,) * 2)
    assert entries[1].load() is not None  # "a" has the later date, but "b" was used last
    (folder / ".b.1.ab.tmp").touch()
    monkeypatch.setattr(data_cache, "LIMIT_BYTES", 2 * entries[0].file.stat().st_size)
    entries[2].save(sample)
    assert {file.name for file in folder.iterdir()} == {"b", "c"}


def test_what_is_old_is_so_by_the_folders_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ago in (("old", 2 * DAY), ("young", 0.0), ("of-the-future", -2 * DAY)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - ago,) * 2)
    monkeypatch.setattr(clock.time, "time", lambda: 0.0)
    assert {path.name for path in clock.long_unchanged(tmp_path, "*", DAY)} == {"old", "of-the-future"}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_home_keeps_no_litter(tmp_path: Path) -> None:
    """What killed writers left beside the files of a home goes as soon as somebody writes those again."""
    home = Store(tmp_path)
    litter = [".newest.json.1.ab.tmp", ".queue.json.1.ab.tmp", "cache/.runs-index.jsonl.1.ab.tmp"]
    for name in litter:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    left, under_way = (tmp_path / "data" / f".download-{name}" for name in "ab")
    for download in (left, under_way):
        download.mkdir(parents=True)
    os.utime(left, (time.time() - 2 * DAY,) * 2)
    new_run(home, Scheme.model_validate(SCHEME), "cpu")
    assert Queue(home).take("cpu") is None
    assert save_lines(tmp_path / "cache/runs-index.jsonl", "test", [])
    prepare._remembered_data(Scheme.model_validate(SCHEME | {"data": {"name": "mnist_sample"}}), tmp_path, "", None)
    assert not [name for name in litter if (tmp_path / name).exists()]
    assert under_way.exists() and not left.exists()


def test_a_sweep_can_be_of_one_file(tmp_path: Path) -> None:
    for name in (".queue.json.1.ab.tmp", ".other.json.1.ab.tmp"):
        (tmp_path / name).touch()
    atomic.sweep(tmp_path, "queue.json")
    assert [file.name for file in tmp_path.iterdir()] == [".other.json.1.ab.tmp"]
