"""Broken input by the thousand: exit code and words as the contract says, no traceback, no hang, no flood of memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

COUNTS = {"schemes": 10_000, "artifacts": 10_000, "folders": 2_000}
"""How many are tried with `-m slow`; otherwise, a share."""
SHARE = 50


def tried(kind: str, count: int, folder: Path, seed: int) -> dict[str, Any]:
    """What came of so many cases, in a process of their own."""
    command = [sys.executable, "-m", "tests.fuzz.trial", kind, str(count), str(seed), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["cases"] == count
    assert report["failures"] == [], "\n".join(report["failures"][:20])
    assert report["peak"] < 1 << 30
    # Nothing is learned from files that are all refused, or all accepted.
    assert len(report["endings"]) > 1, report["endings"]
    return report


def prepared(kind: str, tmp_path: Path, run: tuple[Path, str]) -> Path:
    if kind == "folders":
        shutil.copytree(run[0], tmp_path / "home")
    return tmp_path


@pytest.mark.parametrize("kind", COUNTS)
def test_a_share_of_broken_files(kind: str, tmp_path: Path, looked_at_run: tuple[Path, str]) -> None:
    tried(kind, COUNTS[kind] // SHARE, prepared(kind, tmp_path, looked_at_run), seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_all_broken_files(kind: str, tmp_path: Path, looked_at_run: tuple[Path, str]) -> None:
    report = tried(kind, COUNTS[kind], prepared(kind, tmp_path, looked_at_run), seed=2)
    print(kind, report["endings"], f"slowest {report['slowest']:.2f} s, {report['peak'] >> 20} MiB")  # noqa: T201
