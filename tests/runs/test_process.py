"""Which process is meant, and workers that outlive whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import process
from lctui.runs.eta import Eta
from tests.runs.children import child, kill

WAIT = 'import sys; print("ready", flush=True); sys.stdin.read()'


def test_a_process_is_told_apart_by_its_start() -> None:
    mine = process.start_time(os.getpid())
    assert mine
    assert process.start_time(os.getpid()) == mine
    assert process.this_process() == process.this_process()
    assert (process.this_process().pid, process.this_process().started) == (os.getpid(), mine)


def test_a_process_that_is_gone_has_no_start() -> None:
    with child(WAIT) as other:
        assert process.start_time(other.pid)
        kill(other)
        assert process.start_time(other.pid) is None


def test_a_name_with_brackets_and_spaces_hides_no_start(tmp_path: Path) -> None:
    odd = tmp_path / "a) b (c"
    odd.symlink_to(sys.executable)
    command = [str(odd), "-c", WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            assert str(process.start_time(other.pid)).isdigit()
        finally:
            kill(other)


def test_a_worker_has_a_session_of_its_own_and_talks_into_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, Any]]] = []

    class Started:
        pid = 42

        def __init__(self, command: list[str], **options: Any) -> None:
            started.append((command, options))

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Started)
    assert process.start_worker(tmp_path, tmp_path / "home", "cpu") == 42
    ((command, options),) = started
    assert command[1:] == [
        "-P",
        "-m",
        "lctui.worker",
        str(tmp_path),
        "--home",
        str(tmp_path / "home"),
        "--device",
        "cpu",
    ]
    assert options["start_new_session"]
    assert options["stdin"] == subprocess.DEVNULL
    assert options["stdout"].name == options["stderr"].name == str(tmp_path / "worker.log")


def test_a_module_is_found_where_this_process_found_it_and_shadowed_by_no_file(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": "/mine"}
    environment = process.module_environment(base)
    assert environment == base | {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}/mine"}
    command = process.module_command("lctui.runs.dispatch", "--help")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0 and "--device" in done.stdout


def test_the_time_left_is_the_epochs_left_at_the_pace_so_far() -> None:
    eta = Eta(reference_left=3)
    assert eta.left(10) is None
    eta.reference_epoch(2.0)
    assert eta.left(10) == pytest.approx(2 * 2.0 + 10 * 2.0)
    eta.reference_epoch(4.0)
    eta.reference_epoch(3.0)
    assert eta.left(10) == pytest.approx(10 * 3.0)
    eta.lc_epoch(1.0)
    eta.lc_epoch(2.0)
    assert eta.left(4) == pytest.approx(4 * 1.5)
    assert eta.left(0) == 0


def test_the_time_left_follows_a_change_of_pace() -> None:
    eta = Eta(reference_left=0)
    for _ in range(200):
        eta.lc_epoch(100.0)
    for _ in range(50):
        eta.lc_epoch(1.0)
    assert eta.left(7) == pytest.approx(7.0)
