"""Clocks that are set back: the order of runs, whole runs in processes whose clock is set, what was used last."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import atomic, clock, store
from lctui.runs.clock import Watch, after, touch_last
from lctui.runs.index import RunIndex
from lctui.runs.store import Store, new_run
from lctui.scheme import Scheme
from tests.conftest import Cli, without_times
from tests.folders.make import SCHEME
from tests.runs.children import until

DAY = 86400.0
HOOK = """
import datetime, glob, os, time
_time, _home = time.time, os.environ["LCTUI_HOME"]

def _shift():
    # A day back: from the start, or as soon as there is a checkpoint.
    return -86400.0 if "BEHIND" in os.environ or glob.glob(_home + "/runs/*/checkpoint.safetensors") else 0.0

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
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH"))))}


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


def test_a_run_whose_clock_is_set_back_in_the_middle_ends_the_same(
    cli: Cli, tmp_path: Path, shifted: dict[str, str]
) -> None:
    path = scheme(tmp_path)
    plain = cli("--run", path, "--quiet", "--home", tmp_path / "plain")
    moved = cli("--run", path, "--quiet", env=cli.env | shifted)
    assert (plain.returncode, moved.returncode) == (0, 0), moved.stderr
    wanted, found = (without_times(json.loads(done.stdout)) for done in (plain, moved))
    assert wanted == found
    (run,) = cli.runs()
    assert "the clock was set back by 24h00m" in (run / "worker.log").read_text()
    times = [event["time"] for event in map(json.loads, (run / "events.jsonl").read_text().splitlines())]
    assert times != sorted(times)  # the hook did what it is for
    assert "finished" in cli("ls").stdout and cli("show", run.name).returncode == 0
    (other,) = (tmp_path / "plain/runs").glob("*-*")
    assert (run / "compressed.safetensors").read_bytes() == (other / "compressed.safetensors").read_bytes()


def test_a_run_is_resumed_a_day_earlier_to_the_same_end(cli: Cli, tmp_path: Path, shifted: dict[str, str]) -> None:
    path = scheme(tmp_path, l_step={"epochs": 60, "batch_size": 8, "lr": 0.05})
    wanted = without_times(json.loads(cli("--run", path, "--quiet", "--home", tmp_path / "plain").stdout))
    with cli.start("--run", path, "--quiet") as process:
        until(lambda: any(cli.home.glob("runs/*/checkpoint.safetensors")))
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 130
    (run,) = cli.runs()
    behind = cli.env | shifted | {"BEHIND": "yes"}
    resumed = cli("resume", run.name, "--quiet", env=behind)
    assert resumed.returncode == 0, resumed.stderr
    assert wanted == without_times(json.loads(resumed.stdout))
    assert "the clock was set back by" in (run / "worker.log").read_text()
    later = cli("--run", scheme(tmp_path, seed=7), "--quiet", env=behind)
    listed = json.loads(cli("ls", "--json").stdout)
    assert [each["id"] for each in listed] == [json.loads(later.stdout)["id"], run.name]


def test_drafts_of_claims_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".lock.claim.0123.tmp").touch()
    atomic.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sweep_can_be_of_one_file(tmp_path: Path) -> None:
    for name in (".queue.json.1.ab.tmp", ".other.json.1.ab.tmp"):
        (tmp_path / name).touch()
    atomic.sweep(tmp_path, "queue.json")
    assert [file.name for file in tmp_path.iterdir()] == [".other.json.1.ab.tmp"]
