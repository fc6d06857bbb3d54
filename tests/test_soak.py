"""A study of two hundred runs, killed every few seconds, ends with every result that it would have had."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lctui.runs.store import Store
from tests.conftest import ROOT, without_times
from tests.faults import SMALL

pytestmark = pytest.mark.slow

RUNS = 200
KILLED_AFTER = (4.0, 25.0)
"""Seconds: from before the first run of a process has begun to when it has come far."""


@pytest.mark.parametrize("ensemble", ["off", "8"])
def test_a_study_killed_every_few_seconds_ends_with_the_same_results(ensemble: str, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps(study("net" if ensemble == "off" else "plain_net")))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert work(file, whole, ensemble).wait() == 0
    chosen, deaths = random.Random(1), 0
    while True:
        process = work(file, killed, ensemble)
        try:
            code = process.wait(chosen.uniform(*KILLED_AFTER))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            deaths += 1
    assert code == 0
    assert deaths > 3
    assert results(killed) == results(whole)


def study(net: str) -> dict[str, Any]:
    """As many runs as there are numbers of weights kept."""
    base = SMALL | {
        "model": {"factory": f"tests.faults:{net}"},
        "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 2}},
    }
    base |= {"compress": [{"layers": ["2"], "how": {"type": "prune", "kappa": 1}}]}
    return {"version": 1, "study": "soak", "base": base, "grid": {"compress.0.how.kappa": list(range(1, RUNS + 1))}}


def work(file: Path, home: Path, ensemble: str) -> subprocess.Popen[bytes]:
    """The study, begun or gone on with, in a process."""
    command = [sys.executable, "-m", "lctui", "--run", str(file), "--ensemble", ensemble, "--home", str(home)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, "--quiet"], env=environment, cwd=file.parent, **nowhere)


def results(home: Path) -> dict[str, Any]:
    """Every run's result, by its name; each run is there once, and finished."""
    found = {run.read("scheme.json")["name"]: run for run in Store(home).folders()}
    assert len(found) == len(Store(home).folders()) == RUNS
    assert all(run.status() == "finished" for run in found.values())
    return {name: without_times(run.read("result.json")) for name, run in found.items()}
