"""Killed at any write, at any moment, or with the machine: a run goes on to the very numbers it would have had."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import lctui
from lctui.runs.index import RunIndex
from lctui.runs.log import read_lines
from lctui.runs.store import Run, Store
from tests.conftest import ROOT, without_times
from tests.faults import SMALL, Fault, Kind, Trial

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SEED = 20260101
DEATHS = (1, 2, 3, 4) * 10
"""How often each trial's process dies: a hundred times in all."""
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE)


@dataclass(frozen=True)
class Undisturbed:
    """The run that nothing happens to: how many writes it takes, and how long."""

    trial: Trial
    writes: int
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that finishes at once; its data are cached, as they are for all that follow."""
    first = Trial(tmp_path_factory.mktemp("first") / "home")
    first.work()
    trial = beside(first, tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    said = trial.work()
    assert said["error"] is None
    return Undisturbed(trial, said["writes"], time.monotonic() - started)


@pytest.fixture
def trial(undisturbed: Undisturbed, tmp_path: Path) -> Trial:
    """The same scheme in a home of its own, whose data are cached."""
    return beside(undisturbed.trial, tmp_path)


def beside(other: Trial, folder: Path) -> Trial:
    """A trial in a home of its own that has another's cache."""
    shutil.copytree(other.home / "cache", folder / "home" / "cache")
    return Trial(folder / "home")


def assert_readable(trial: Trial) -> None:
    """Whatever has happened to it, a home can be listed, and a run shown; only what is whole is there."""
    index = RunIndex(Store(trial.home))
    index.refresh()
    if (run := trial.run) is None:
        return
    assert [row.id for row in index.rows] == [run.id]
    assert run.status() in ("starting", "crashed", "failed", "finished")
    assert run.scheme().name == "small"
    assert all(isinstance(event["event"], str) for event in run.events())
    result = run.file("result.json")
    assert not result.exists() or run.read("result.json")


def assert_same(trial: Trial, undisturbed: Trial) -> None:
    """The run has ended as if nothing had happened, and nothing is left of what did."""
    run, whole = trial.run, undisturbed.run
    assert run is not None and whole is not None
    assert run.status() == "finished"
    assert without_times(run.read("result.json")) == without_times(whole.read("result.json"))
    assert steps_of(run) == steps_of(whole)
    mine, theirs = (lctui.load(each.file("compressed.safetensors")) for each in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    names = [event["event"] for event in run.events()]
    assert names[0] == "run_started" and names[-1] == "run_finished"
    for folder in (run.folder, *trial.home.glob("references/*")):
        assert not list(folder.glob(".*"))


def steps_of(run: Run) -> list[dict[str, Any]]:
    timeless = ("time", "l_seconds", "c_seconds")
    return [{k: v for k, v in e.items() if k not in timeless} for e in run.events() if e["event"] == "step"]


def redone(run: Run) -> int:
    """How many epochs were trained more than once."""
    kinds = ("epoch", "reference_epoch")
    told = Counter(
        (event["event"], event.get("step"), event["epoch"])
        for event in read_lines(run.file("events.jsonl"))
        if event["event"] in kinds
    )
    return sum(told.values()) - len(told)


@pytest.mark.parametrize(("number", "deaths"), list(enumerate(DEATHS)))
def test_a_run_killed_at_random_points_ends_the_same(
    undisturbed: Undisturbed, trial: Trial, number: int, deaths: int
) -> None:
    """Dies at a write, in the middle of one, or whenever; sometimes the machine with it; and again where it goes on."""
    chosen = random.Random(SEED + number)
    for _ in range(deaths):
        if chosen.random() < 0.2:
            trial.work(seconds=chosen.uniform(0, undisturbed.seconds))
        else:
            kind: Kind = chosen.choice(("kill", "torn"))
            trial.work(Fault(kind, chosen.randint(1, undisturbed.writes // deaths)))
        if chosen.random() < 0.3:
            trial.lose_power()
        assert_readable(trial)
    assert trial.work()["error"] is None
    assert_same(trial, undisturbed.trial)
    assert trial.run is not None and redone(trial.run) <= deaths


@pytest.mark.parametrize("number", range(2 * len(REFUSALS)))
def test_a_run_that_may_not_write_any_more_says_so_and_goes_on_when_it_may(
    undisturbed: Undisturbed, trial: Trial, number: int
) -> None:
    """From a random write on, the system refuses all of them, for every reason that it may have."""
    chosen, reason = random.Random(SEED + number), REFUSALS[number % len(REFUSALS)]
    said = trial.work(Fault("refuse", chosen.randint(1, undisturbed.writes - 1), reason))
    error = said["error"]
    assert error is not None and "\n" not in error
    assert os.strerror(reason) in error
    assert_readable(trial)
    assert trial.work()["error"] is None
    assert_same(trial, undisturbed.trial)
    assert trial.run is not None and redone(trial.run) <= 1


def in_a_namespace(script: str, folder: Path) -> str:
    """What a shell script prints that may mount file systems, which nobody else sees; `L` is the lctui command."""
    (folder / "scheme.json").write_text(json.dumps(SMALL))
    environment = os.environ | {"LCTUI_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = f"set -e; cd {folder}; mkdir -p home; L='{sys.executable} -m lctui'\n{script}"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def may_mount() -> bool:
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


needs_mount = pytest.mark.skipif(not may_mount(), reason="this user may not mount file systems in a namespace")


@needs_mount
def test_a_full_disk(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A real one, which fills while the run is under way, and then has room again."""
    said = in_a_namespace(
        """
        mount -t tmpfs -o size=10m none home
        dd if=/dev/zero of=home/filler bs=4k count=2550 2> /dev/null
        $L --run scheme.json --quiet && exit 1 || echo "exit code $?"
        id=$($L ls --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
        $L show $id > /dev/null
        rm home/filler
        $L resume $id --quiet > /dev/null
        cp -r home/runs/$id finished
        """,
        tmp_path,
    )
    assert "exit code 1" in said
    (line,) = [line for line in said.splitlines() if line.startswith("lctui: ")]
    assert line.startswith("lctui: cannot write the run: No space left on device (") and "resume" in line
    run, whole = Run(tmp_path / "finished"), undisturbed.trial.run
    assert whole is not None
    assert without_times(run.read("result.json")) == without_times(whole.read("result.json"))


@needs_mount
def test_a_home_that_can_only_be_read(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Runs in it are shown; whatever would write says why it cannot."""
    shutil.copytree(undisturbed.trial.home, tmp_path / "home")
    run = undisturbed.trial.run
    assert run is not None
    said = in_a_namespace(
        f"""
        mount --bind -o ro home home; mount -o remount,bind,ro home
        $L ls; $L show {run.id} > /dev/null
        $L export {run.id} --to tables > /dev/null
        for verb in "--run scheme.json" "--run scheme.json --queue" "--run scheme.json --detach" "rm {run.id}"; do
            $L $verb && exit 1 || echo "exit code $?"
        done
        """,
        tmp_path,
    )
    assert run.id in said
    assert said.count("exit code 2") == 4
    assert said.count("Read-only file system") == 4
    assert sorted(path.name for path in (tmp_path / "tables").iterdir())
