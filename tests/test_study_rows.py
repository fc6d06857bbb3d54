"""Two rows of the published study on full five-digit MNIST, with a shorter L step: half an hour on two cores.

Left out of the ordinary suite; `python -m pytest -m slow` runs them, on the data in LCTUI_DATA.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "LCTUI_DATA" not in os.environ,
        reason="full MNIST is needed: set LCTUI_DATA to a folder with MNIST/raw",
    ),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for both rows: they share the reference."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("row", ["table6-3", "table1-3"])
def test_the_row_is_reproduced(home: Path, row: str) -> None:
    shorter = ["--set", "l_step.epochs=4", "--set", "l_step.lr=0.1"]
    command = [sys.executable, "-m", "lctui", "--run", str(ROOT / f"schemes/report/{row}.json"), *shorter]
    done = subprocess.run([*command, "--home", str(home), "--quiet"], stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["final"]["test_error_pct"] <= 0.65
    folder = home / "runs" / result["id"]
    assert folder.joinpath("compressed.safetensors").stat().st_size == result["final"]["artifact_bytes"]


def test_the_reference_is_good_within_25_epochs(home: Path) -> None:
    (record,) = home.glob("references/*/reference.json")
    history: list[dict[str, Any]] = json.loads(record.read_text())["history"]
    assert min(epoch["test_error_pct"] for epoch in history[:25]) <= 0.55
