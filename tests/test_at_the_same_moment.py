"""Two processes at the same run or folder, one of them held in the very middle of what it does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lctui.runs.store import Store, run_facts
from lctui.scheme import Scheme
from tests.conftest import Cli, tiny
from tests.runs.children import kill, until

STANDING = Path(__file__).parent / "runs" / "standing"
RECORDED = Path(__file__).parent / "data" / "home"


@contextmanager
def standing(cli: Cli, where: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`lctui` that stands still at an audit event (see tests/runs/standing)."""
    held = Cli(cli.home)
    paths = filter(None, [str(STANDING), os.environ.get("PYTHONPATH")])
    held.env |= {"STANDS_AT": where, "PYTHONPATH": os.pathsep.join(paths)}
    with held.start(*arguments) as process:
        try:
            until(lambda: process.poll() is not None or psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            assert process.returncode is None, process.communicate()
            yield process
        finally:
            kill(process)


def goes_on(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Lets it go on to its end: exit code, stdout, stderr."""
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def recorded(cli: Cli) -> Cli:
    """The command line on a home with finished runs."""
    shutil.copytree(RECORDED, cli.home)
    return cli


def test_of_two_that_delete_a_run_one_is_told_that_it_is_gone_and_goes_on(recorded: Cli) -> None:
    a, b, *others = sorted(run.name for run in recorded.runs())
    with standing(recorded, f"os.rename */runs/{a} 0", "rm", a, b) as slow:
        quick = recorded("rm", a)
        assert (quick.returncode, quick.stdout, quick.stderr) == (0, f"{a}\n", "")
        assert goes_on(slow) == (2, f"{b}\n", f"{a}: is gone already\n")
    assert sorted(run.name for run in recorded.runs()) == others


def test_of_two_that_delete_a_queued_run_one_is_told_that_it_is_gone(cli: Cli) -> None:
    scheme, store = Scheme.model_validate(tiny()), Store(cli.home)
    a, b = (store.create(scheme, run_facts(scheme, "cpu", None), "queued") for _ in range(2))
    # It has taken the run out of the queue, and is about to force that to the disk.
    with standing(cli, f"open */runs/{a.id} 0", "rm", a.id, b.id) as slow:
        quick = cli("rm", a.id)
        assert (quick.returncode, quick.stdout, quick.stderr) == (0, f"{a.id}\n", "")
        assert goes_on(slow) == (2, f"{b.id}\n", f"{a.id}: is gone already\n")
    assert cli.runs() == []


def test_of_two_exports_into_one_folder_the_second_waits_for_the_first(recorded: Cli, tmp_path: Path) -> None:
    """Of other runs: their files have the same names, and a mixture of the two would say nothing true."""
    one, other = sorted(run.name for run in recorded.runs())[:2]
    into = ("--to", tmp_path / "out", "--format", "csv,md")
    with standing(recorded, "lctui.write */out/.* 1", "export", one, *into) as first:
        second = recorded.start("export", other, *into)
        assert second.stderr is not None
        assert second.stderr.readline() == f"waits for another lctui that writes into {tmp_path / 'out'}\n"
        code, out, err = goes_on(first)
        assert (code, err) == (0, "")
        said, more = second.communicate()
        assert (second.returncode, more) == (0, "")
    assert out == said
    assert recorded("export", other, "--to", tmp_path / "alone", "--format", "csv,md").returncode == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
