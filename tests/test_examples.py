"""The examples as their readers use them: from another folder, through the command line, to a file that is smaller."""

from __future__ import annotations

import json

import torch

import lctui
from tests.conftest import ROOT, Cli

EXAMPLES = ROOT / "schemes/examples"
WINE = EXAMPLES / "wine/wine.json"


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


def test_a_regression_runs_from_anywhere(cli: Cli) -> None:
    done = cli("--run", EXAMPLES / "cars/cars.json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert (result["metric"], result["layers"][1]["layers"]) == ("miles", ["2"])
    assert result["final"]["compression_ratio"] > 10
    assert result["final"]["test_error_pct"] < 3  # miles; whoever always says 23.4 misses by 6.6


def test_a_language_model_runs_from_anywhere(cli: Cli) -> None:
    few = ["data.args.pieces=400", "reference.epochs=4", "lc.mu.steps=3", "lc.mu.factor=8.0"]
    settings = [part for each in few for part in ("--set", each)]
    done = cli("--run", EXAMPLES / "text/text.json", "--quiet", *settings)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["metric"] == "bits_per_character"
    assert result["final"]["compression_ratio"] > 10
    # Whoever knows how often each character comes needs 4.5 bits for the next; who knows nothing, 6.6.
    assert result["final"]["test_error_pct"] < 4.5
    assert cli("export", result["id"], "--to", "out", "--format", "safetensors,torch").returncode == 0
