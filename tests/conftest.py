"""What the tests share: a small real scheme, the command line in a process of its own, and where full MNIST is."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch is loaded: tests share the cores with their children
if "PYTEST_XDIST_WORKER" in os.environ:
    # Side by side, second threads have no core of their own: a process that trains takes half as much CPU time again.
    # Tests whose point is that threads change nothing ask for two.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

TINY: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "model": {"factory": "lenet300", "args": {"classes": 2}},
    "data": {"name": "mnist_sample", "classes": [3, 8], "validation": 0.1},
    "reference": {"epochs": 2, "batch_size": 32, "lr": 0.05},
    "compress": [
        {"layers": ["fc1"], "how": {"type": "prune", "kappa": 5000}},
        {"layers": ["fc2"], "how": [{"type": "low_rank", "rank": 2}, {"type": "prune", "kappa": 50}]},
        {"layers": ["fc3"], "how": {"type": "quantize", "k": 4}},
    ],
    "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 3}},
    "l_step": {"epochs": 2, "batch_size": 64, "lr": 0.05},
    "seed": 3,
}
"""A scheme on real images of two digits that runs in a second or two."""


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny scheme with top-level fields replaced."""
    return copy.deepcopy(TINY) | changes


@pytest.fixture
def scheme_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny scheme, with top-level fields replaced, to a file."""

    def write(name: str = "scheme.json", **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(tiny(**changes)))
        return path

    return write


class Cli:
    """`lctui` in a process of its own, on a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = os.environ | {"LCTUI_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120"}

    def __call__(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        command = [sys.executable, "-m", "lctui", *map(str, arguments)]
        options = {"env": self.env, "cwd": self.home.parent, "timeout": 120} | options
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Starts it."""
        command = [sys.executable, "-m", "lctui", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.env, cwd=self.home.parent, **(pipes | options))

    def runs(self) -> list[Path]:
        """The run folders."""
        return [path for path in (self.home / "runs").glob("*") if not path.name.startswith(".")]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line on an empty home."""
    return Cli(tmp_path / "home")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder filled once for all workers of pytest-xdist, by whichever needs it first; it is only to be read."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt has left
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what two equal runs differ in: identity and seconds."""
    return {name: value for name, value in result.items() if name not in ("id", "seconds")}


LOOKED_AT: dict[str, Any] = {
    "version": 1,
    "name": "looked-at",
    "model": {"factory": "lenet5", "args": {"classes": 2}},
    "data": {"name": "mnist_sample", "classes": [3, 8], "validation": 0.1},
    "reference": {"epochs": 1, "batch_size": 64, "lr": 0.02},
    "compress": [
        {"layers": ["conv1"], "how": {"type": "quantize", "codebook": "ternary"}},
        {"layers": ["conv2"], "how": {"type": "prune", "kappa": 2000, "k": 4}},
        {"layers": ["fc1"], "how": {"type": "low_rank", "rank": "auto", "alpha": 2e-9}},
        {"layers": ["fc2"], "how": [{"type": "low_rank", "rank": 1}, {"type": "prune", "kappa": 50}]},
    ],
    "lc": {"mu": {"start": 0.001, "steps": 1}},
    "l_step": {"epochs": 1, "batch_size": 64, "lr": 0.05},
    "seed": 3,
}
"""LeNet5 on two digits with tasks of many kinds, one of whose C steps depends on μ."""


def looked_at(**changes: Any) -> dict[str, Any]:
    """That scheme with top-level fields replaced."""
    return copy.deepcopy(LOOKED_AT) | changes


@pytest.fixture(scope="session")
def looked_at_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with one finished run of that scheme, and the run's id; both are only to be read."""

    def run(folder: Path) -> None:
        (folder / "scheme.json").write_text(json.dumps(LOOKED_AT))
        cli = Cli(folder / "home")
        cli.env |= {"OMP_NUM_THREADS": "2"}  # the inspector has as many as it likes: what it answers is the same
        done = cli("--run", folder / "scheme.json", "--quiet")
        assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "looked-at", run)
    (found,) = Cli(folder / "home").runs()
    return folder / "home", found.name


# How fast examples are made and run is the machine's affair, and no reason to fail.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
