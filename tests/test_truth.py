"""Whether a result is true: the file holds the net that is reported, and test data have chosen nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lctui import execution
from lctui.errors import RunFailed
from lctui.prepare import prepare
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import Cli, tiny

DATA = """
import torch
from lctui.data_sources import read
def data(home, turn):
    train, test = read("mnist_sample", home=__import__("pathlib").Path(home), progress=None, source="")
    def part(images, turn):
        labels = torch.from_numpy(images.labels.astype("int64"))
        kept = labels < 2
        pixels = torch.from_numpy(images.pixels.copy())[kept][::3].float() / 255
        labels = labels[kept][::3]
        return (1 - pixels if turn else pixels), (1 - labels if turn else labels)
    return part(train, False), part(test, turn)
"""

TYPES: dict[str, Any] = {
    "prune": {"type": "prune", "fraction": 0.1},
    "prune l1": {"type": "prune", "kappa": 20.0, "norm": "l1"},
    "prune alpha": {"type": "prune", "alpha": 1e-6},
    "prune k": {"type": "prune", "fraction": 0.1, "k": 3},
    "structured": {"type": "prune_structured", "fraction": 0.5},
    "n:m": {"type": "prune_n_m"},
    "adaptive": {"type": "quantize", "k": 3},
    "fixed": {"type": "quantize", "codebook": "fixed", "values": [-0.1, 0.0, 0.1]},
    "powers": {"type": "quantize", "codebook": "powers_of_two", "c": 3},
    "binary": {"type": "quantize", "codebook": "binary"},
    "ternary": {"type": "quantize", "codebook": "ternary"},
    "low rank": {"type": "low_rank", "rank": 2},
    "auto": {"type": "low_rank", "rank": "auto", "alpha": 1e-7},
    "16 bits": {"type": "low_rank", "rank": 2, "bits": 16},
    "sum": [{"type": "quantize", "k": 2}, {"type": "prune", "fraction": 0.02}],
}

FRESH = """
import json, sys, torch
import lctui
from pathlib import Path
from lctui import models
from lctui.scheme import Scheme
from lctui.data import load
answers = {}
for folder in map(Path, sys.argv[2:]):
    scheme = Scheme.load(folder / "scheme.json")
    net = models.build(scheme.model, seed=99)
    net.load_state_dict(lctui.load(folder / "compressed.safetensors"))
    found = load(scheme.data, seed=scheme.seed, home=Path(sys.argv[1]))
    with torch.inference_mode():
        answers[folder.name] = [
            100 * int((net.eval()(part.inputs).argmax(1) != part.labels).sum()) / len(part)
            for part in (found.train, found.validation, found.test)
        ]
print(json.dumps(answers))
"""


def work(home: Path, raw: dict[str, Any]) -> Run:
    run = new_run(Store(home), Scheme.model_validate(raw), "cpu")
    execution.execute(run, prepare(run.scheme(), home, "cpu", ""), home, StopRequest(), execution.Nobody())
    return run


def test_a_fresh_process_measures_the_file_as_the_result_says(tmp_path: Path) -> None:
    """Every kind of compression, of both built-in nets."""
    runs = []
    for factory, layers in (("lenet300", ("fc1", "fc2", "fc3")), ("lenet5", ("conv1", "conv2", "fc1", "fc2"))):
        hows = list(TYPES.values())
        for first in range(0, len(hows), len(layers)):
            some = zip(layers, hows[first:], strict=False)  # several kinds in a net: fewer runs
            raw = tiny(
                model={"factory": factory, "args": {"classes": 2}},
                reference={"epochs": 1, "batch_size": 64, "lr": 0.02},
                compress=[{"layers": [layer], "how": how} for layer, how in some],
                lc={"mu": {"start": 0.01, "steps": 1}},
                l_step={"epochs": 1, "batch_size": 128, "lr": 0.02},
            )
            runs.append(work(tmp_path, raw))
    command = [sys.executable, "-c", FRESH, str(tmp_path), *(str(run.folder) for run in runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = ("train_error_pct", "validation_error_pct", "test_error_pct")
    for run in runs:
        assert [run.read("result.json")["final"][name] for name in names] == found[run.id], run.scheme().compress


def blind(value: Any) -> Any:
    """Without test errors, and without what differs between any two runs."""
    if isinstance(value, dict):
        hidden = ("test_error_pct", "seconds", "l_seconds", "c_seconds", "time", "id", "fingerprint", "key", "run")
        kept = {name: each for name, each in value.items() if name not in hidden}
        if isinstance(kept.get("reference"), str):  # the reference's key, which depends on all the data
            del kept["reference"]
        return {name: blind(each) for name, each in kept.items()}
    return [blind(each) for each in value] if isinstance(value, list) else value


def written(folder: Path) -> Path:
    path = folder / "blind.py"
    path.write_text(DATA)
    return path


def test_other_test_data_change_nothing_but_test_errors(tmp_path: Path) -> None:
    source = written(tmp_path)
    compress = [
        {"layers": ["fc1"], "how": {"type": "low_rank", "rank": "auto", "alpha": 1e-7}},
        {"layers": ["fc2"], "how": {"type": "prune", "fraction": 0.1, "k": 3}},
    ]
    runs = []
    for turn in (False, True):
        data = {"name": f"{source}:data", "args": {"home": str(tmp_path), "turn": turn}, "validation": 0.2}
        runs.append(work(tmp_path, tiny(data=data, compress=compress)))
    one, other = runs
    assert one.read("result.json")["final"]["test_error_pct"] != other.read("result.json")["final"]["test_error_pct"]
    assert blind(one.read("result.json")) == blind(other.read("result.json"))
    assert blind(one.events()) == blind(other.events())
    assert one.file("compressed.safetensors").read_bytes() == other.file("compressed.safetensors").read_bytes()


def test_a_search_chooses_without_the_test_data(cli: Cli, tmp_path: Path) -> None:
    source = written(tmp_path)
    printed = []
    for turn in (False, True):
        data = {"name": f"{source}:data", "args": {"home": str(tmp_path), "turn": turn}, "validation": 0.2}
        base = tiny(data=data, reference={"epochs": 1, "batch_size": 32, "lr": 0.05})
        study = {
            "version": 1,
            "study": f"s{turn}".lower(),
            "base": base,
            "variants": [{"name": "a", "set": {"seed": 3}}],
        }
        study["search"] = [{"reference.lr": [0.0001, 0.003, 0.05]}]
        path = tmp_path / f"study{turn}.json"
        path.write_text(json.dumps(study))
        done = cli("--run", path, "--quiet")
        assert done.returncode == 0, done.stderr
        printed.append(json.loads(done.stdout))
    one, other = ({name: blind(each[name]) for name in ("search", "runs")} for each in printed)
    assert one["search"][0]["winner"] == other["search"][0]["winner"]
    assert [run["final"]["test_error_pct"] for run in printed[0]["runs"]] != [
        run["final"]["test_error_pct"] for run in printed[1]["runs"]
    ]
    for each in (one, other):
        for run in each["runs"]:
            del run["name"]
    assert one == other


def test_the_best_step_of_a_run_is_the_latest_of_lowest_validation_error(tmp_path: Path) -> None:
    run = work(tmp_path, tiny(lc={"mu": {"start": 0.01, "factor": 1.2, "steps": 6}}))
    steps = [event for event in run.events() if event["event"] == "step"]
    lowest = min(step["validation_error_pct"] for step in steps)
    latest = max(step["step"] for step in steps if step["validation_error_pct"] == lowest)
    best = run.read("result.json")["best"]
    assert len(steps) == 6
    assert best["step"] == latest
    assert best["test_error_pct"] == steps[latest - 1]["test_error_pct"]


@pytest.mark.parametrize("name", ["test_error_pct", "compressed_bits", "compression_ratio", "flops"])
def test_a_last_step_that_lies_fails_the_run(tmp_path: Path, name: str) -> None:
    run = new_run(Store(tmp_path), Scheme.model_validate(tiny(lc={"mu": {"start": 0.01, "steps": 1}})), "cpu")
    one = execution.Execution(
        run, prepare(run.scheme(), tmp_path, "cpu", ""), tmp_path, StopRequest(), execution.Nobody()
    )

    class Lies(execution.Nobody):
        def event(self, event: Any) -> None:
            if event.event == "step":
                one.kept.steps[-1][name] -= 0.5

    one.observer = Lies()
    with pytest.raises(RunFailed, match=f"measures {name} = .*, the last step said"):
        for _ in one.turns():
            pass
    assert run.status() == "failed"
