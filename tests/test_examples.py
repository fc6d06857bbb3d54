"""The examples as their readers use them: from another folder, through the command line, to a file that is smaller."""

from __future__ import annotations

import json

import torch

import lctui
from tests.conftest import ROOT, Cli

WINE = ROOT / "schemes/examples/wine/wine.json"


def test_the_example_without_images_runs_from_anywhere(cli: Cli) -> None:
    checked = cli("check", WINE, "--json")
    assert checked.returncode == 0, checked.stderr
    assert [layer["shape"] for layer in json.loads(checked.stdout)["layers"]] == [[64, 13], [64, 64], [3, 64]]
    done = cli("--run", WINE, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    (run,) = cli.runs()
    state = lctui.load(run / "compressed.safetensors")
    assert [len(state["0.weight"].unique()), int(torch.count_nonzero(state["3.weight"]))] == [2, round(0.05 * 64 * 64)]
    assert result["final"]["compression_ratio"] > 5
    assert result["final"]["test_error_pct"] < 15  # a guess errs in 60 %
