"""`objective` in a scheme: what it changes, what it leaves alone, and one line for whatever is wrong with it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import lctui as package
from lctui.cli import _guarded, app
from lctui.errors import BadInput
from lctui.insight import confusion
from lctui.runs.store import Run
from lctui.scheme import Scheme
from lctui.scheme.measure import Measure
from lctui.what_if import Sessions
from tests.conftest import tiny

CODE = """
import torch
from torch import nn

def net(outputs=2):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))

class Written(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 4), last

    def forward(self, x):
        return self.last(self.layer(x))

def detached():
    return Written(torch.detach)

def frozen():
    return Written(abs).requires_grad_(False)

def waves():
    return Written(lambda x: torch.view_as_complex(x.reshape(-1, 2, 2)))

def data(width=2):
    x = torch.randn(60, 6)
    y = x[:, :width] * 2 + 1
    return (x, y), (x[:20], y[:20])

def ragged():
    x = torch.randn(4, 6)
    return [(x[i], torch.zeros(1 + i)) for i in range(4)], [(x[0], torch.zeros(1))]

def labelled():
    return tuple((torch.randn(20, 6), torch.arange(20) % 2) for _ in range(2))

def infinite():
    x = torch.randn(20, 6)
    return (x, x[:, :2] / 0), (x, x[:, :2])

def l1(outputs, targets):
    return (outputs - targets).abs().mean()

def far(outputs, targets):
    return (outputs - targets).abs().amax(1)

def whole(outputs, targets):
    return (outputs - targets).abs().mean()

def columns(outputs, targets):
    return (outputs - targets).abs().mean(0)

def squeezed(outputs, targets):
    return (outputs - targets).abs().amax(1).squeeze()

def one_argument(outputs):
    return outputs.mean()

def cut(outputs, targets):
    return (outputs.detach() - targets).abs().mean()

class Stairs(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.round()

def stairs(outputs, targets):
    return (Stairs.apply(outputs) - targets).abs().mean()

def elsewhere(outputs, targets):
    return torch.ones((), requires_grad=True) * 2

def log(outputs, targets):
    return (outputs.abs() - 1e6).log().mean()

def number(outputs, targets):
    return 0.5

def nan(outputs, targets):
    return outputs[:, 0] * float("nan")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scheme(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "mine",
        "model": {"factory": "mine.py:net"},
        "data": {"name": "mine.py:data", "validation": 0.2},
        "objective": {"loss": "mine.py:l1", "metric": "mine.py:far"},
        "reference": {"epochs": 2, "batch_size": 8},
        "compress": [{"layers": ["*"], "how": {"type": "quantize", "k": 4}}],
        "lc": {"mu": {"start": 0.1, "factor": 2.0, "steps": 2}},
        "l_step": {"epochs": 1, "batch_size": 8, "lr": 0.02},
    } | changes


def lctui(*arguments: str) -> int:
    return _guarded(lambda: app([*arguments], standalone_mode=False))


def run(folder: Path, **changes: Any) -> int:
    (folder / "scheme.json").write_text(json.dumps(scheme(**changes)))
    return lctui("--run", "scheme.json", "--home", "home", "--quiet")


def test_the_default_changes_no_name_of_any_run() -> None:
    plain = Scheme.model_validate(tiny())
    said = Scheme.model_validate(tiny(objective={"loss": "cross_entropy", "metric": "error"}))
    other = Scheme.model_validate(tiny(objective={"loss": "a:b"}))
    assert plain.fingerprint() == said.fingerprint() == "477eaddb26b10444"
    assert plain.reference_fingerprint() == "71eeedb03ecc476f" != other.reference_fingerprint()
    assert plain.batches_fingerprint() == "1c647c72cab57795" != other.batches_fingerprint()


def test_errors_are_those_of_the_metric(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["metric"] == "far"
    artifact = folder / "home/runs" / result["id"] / "compressed.safetensors"
    state = package.load(artifact)
    with seeded_as_a_run(0):
        x = torch.randn(60, 6)
    outputs = torch.relu(x @ state["0.weight"].T + state["0.bias"]) @ state["2.weight"].T + state["2.bias"]
    worst = (outputs - (x[:, :2] * 2 + 1)).abs().amax(1)[:20].double().mean()
    assert result["final"]["test_error_pct"] == pytest.approx(float(worst), rel=1e-5)
    assert lctui("show", result["id"], "--home", "home") == 0
    shown = capsys.readouterr().out
    assert "far" in shown and "%" not in shown
    assert lctui("export", result["id"], "--to", "out", "--home", "home", "--format", "csv,md,png") == 0
    assert "test far" in (folder / "out/runs.md").read_text()
    assert lctui("export", result["id"], "--to", "out", "--home", "home", "--plot", "confusion", "--format", "png") == 2
    assert "its errors are no wrong classes, but far" in capsys.readouterr().err
    found = Run(artifact.parent)
    assert found.read("meta.json")["metric"] == "far"
    (row,) = csv.DictReader((folder / "out/runs.csv").read_text().splitlines())
    assert row["metric"] == "far"
    sessions = Sessions(folder / "home", "cpu")
    direct = sessions.get(found.scheme(), "scheme.json").direct(found.scheme(), "scheme.json")
    assert (direct["metric"], direct["error_pct"]) == ("far", result["direct"]["validation_error_pct"])
    with pytest.raises(BadInput, match="has no confusion matrix: its net does not choose among classes"):
        confusion(found, found.scheme(), sessions)


def test_streamed_targets_come_to_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for stream in ("never", "always"):
        data = {"name": "mine.py:data", "validation": 0.2, "stream": stream, "workers": 0}
        assert run(folder, data=data, name=stream) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["id"] != results[1]["id"]
    assert results[0]["final"] == results[1]["final"] and results[0]["reference"] == results[1]["reference"]


def seeded_as_a_run(seed: int) -> Any:
    from lctui.user_code import seeded

    return seeded(seed)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": {"loss": "mae"}}, "objective.loss: 'mae' is not known"),
        ({"objective": {"metric": "eror"}}, "objective.metric: 'eror' is not known; did you mean 'error'?"),
        ({"objective": {"loss": "mine.py:l2"}}, "mine.py has no 'l2'; did you mean 'l1'?"),
        ({"objective": {"loss": "gone.py:l1"}}, "objective.loss: no file 'gone.py'"),
        ({"objective": {"loss": "mine.py:l1"}}, "data.name: train labels must be integers, one an input; got float32"),
        ({"objective": {"loss": "mine.py:one_argument", "metric": "mse"}}, "objective.loss: does not take outputs"),
        (
            {"objective": {"loss": "mine.py:far", "metric": "mse"}},
            "must return a scalar tensor, the batch's mean",
        ),
        ({"objective": {"loss": "mine.py:number", "metric": "mse"}}, "mean loss; it returns float"),
        ({"objective": {"loss": "mine.py:cut", "metric": "mse"}}, "does not depend on the outputs"),
        ({"objective": {"loss": "mine.py:elsewhere", "metric": "mse"}}, "does not depend on the outputs"),
        ({"objective": {"loss": "mine.py:stairs", "metric": "mse"}}, "cannot be differentiated: NotImplementedError"),
        ({"objective": {"loss": "mine.py:log", "metric": "mse"}}, "it returns nan, though the outputs are finite"),
        (
            {"objective": {"loss": "mse", "metric": "mine.py:whole"}},
            "must return a tensor with a row for each input, 2 here",
        ),
        # With two inputs of two columns, rows and columns cannot be told from each other.
        ({"objective": {"loss": "mse", "metric": "mine.py:columns"}}, "input, 1 here; it returns a tensor float32 [2]"),
        ({"objective": {"loss": "mse", "metric": "mine.py:squeezed"}}, "input, 1 here; it returns a tensor float32 []"),
        ({"objective": {"loss": "mse", "metric": "mine.py:nan"}}, "it returns numbers that are not finite"),
        (
            {"model": {"factory": "mine.py:net", "args": {"outputs": 3}}},
            "objective.loss: does not take outputs float32",
        ),
        ({"model": {"factory": "mine.py:detached"}}, "model: the net's outputs do not depend on parameters that train"),
        ({"model": {"factory": "mine.py:frozen"}}, "model: the net's outputs do not depend on parameters that train"),
        ({"data": {"name": "mine.py:data", "classes": [0, 1]}}, "data.classes: picks classes, one an input"),
        (
            {"data": {"name": "mine.py:ragged"}},
            "all targets must have one shape: target 0 is of (1,), target 1 of (2,)",
        ),
        ({"data": {"name": "mine.py:infinite"}}, "train targets must be finite real numbers"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    assert run(folder, **changes) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(said in line for line in lines), lines
    assert all(line.startswith(("scheme.json: ", str(folder))) for line in lines)
    assert not list((folder / "home").glob("runs/*"))


def test_outputs_may_be_complex(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, model={"factory": "mine.py:waves"}) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


def test_a_loss_of_ones_own_goes_with_classes_and_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = (
        "import torch.nn.functional as F\n\ndef smooth(o, t):\n    return F.cross_entropy(o, t, label_smoothing=0.1)\n"
    )
    (folder / "loss.py").write_text(own)
    data = {"name": "mine.py:labelled"}
    assert run(folder, data=data, objective={"loss": "loss.py:smooth"}) == 0
    result = json.loads(capsys.readouterr().out)
    assert "metric" not in result and result["final"]["test_error_pct"] in [5.0 * n for n in range(21)]
    (folder / "loss.py").write_text(own.replace("0.1", "0.2"))
    assert run(folder, data=data, objective={"loss": "loss.py:smooth"}) == 0
    assert json.loads(capsys.readouterr().out)["reference"] != {}
    assert len(list((folder / "home/references").iterdir())) == 2  # edited code is other code


def new(*arguments: str) -> int:
    return lctui("new", "--home", "home", "--to", "there.json", *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--loss", "mse", "--metric", "eror"), "objective.metric: 'eror' is not known; did you mean 'error'?"),
        (("--loss", "mine.py:l2"), "mine.py has no 'l2'; did you mean 'l1'?"),
        (("--loss", "mse", "--metric", "mine.py:whole"), "objective.metric: for outputs"),
        (("--loss", "mse"), "data.name: train labels must be integers"),
    ],
)
def test_new_refuses_what_a_run_would(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert new("--model", "mine.py:net", "--data", "mine.py:data", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "there.json").exists()


def test_new_tries_an_objective_on_a_built_in_net_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("--model", "lenet300", "--data", "mnist_sample", "--metric", "mse") == 2
    assert "objective.metric: does not take outputs float32 [2, 10] and targets int64 [2]" in capsys.readouterr().err


@pytest.mark.parametrize("net", ["mine.py:net", "lenet300"])
def test_check_says_which_function_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str], net: str) -> None:
    changes = {"model": {"factory": net}, "objective": {"loss": "mine.py:l2", "metric": "mse"}}
    (folder / "scheme.json").write_text(json.dumps(scheme(**changes)))
    assert lctui("check", "scheme.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scheme.json: objective.loss: ") and "has no 'l2'; did you mean 'l1'?" in line


@pytest.mark.parametrize("queue", [["--queue"], []])
def test_a_study_with_a_function_that_is_not_there_is_not_begun(
    folder: Path, capsys: pytest.CaptureFixture[str], queue: list[str]
) -> None:
    study = {"version": 1, "study": "s", "base": scheme(model={"factory": "lenet300"})}
    wrong = {"name": "b", "set": {"objective": {"loss": "mine.py:l2", "metric": "mse"}}}
    study["variants"] = [{"name": "a", "set": {"seed": 1}}, wrong]
    (folder / "study.json").write_text(json.dumps(study))
    assert lctui("--run", "study.json", *queue, "--home", "home") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"study\.json: .*/b: objective\.loss: .* has no 'l2'", line)
    assert not list((folder / "home").glob("runs/*"))


@pytest.mark.parametrize(
    "settings",
    [
        ("--set", "objective.loss=mse", "--set", "objective.metric=mine.py:far"),
        ("--loss", "mse", "--metric", "mine.py:far"),
    ],
)
def test_new_takes_an_objective(folder: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]) -> None:
    arguments = ["--model", "mine.py:net", "--data", "mine.py:data", "--to", "there/net.json", "--home", "home"]
    (folder / "there").mkdir()
    assert lctui("new", *arguments, *settings) == 0
    assert json.loads((folder / "there/net.json").read_text())["objective"]["metric"] == f"{folder}/mine.py:far"
    assert lctui("check", "there/net.json") == 0


def test_from_python(folder: Path) -> None:
    import sys

    sys.path.insert(0, str(folder))
    try:
        x = torch.randn(40, 6)
        pairs = torch.utils.data.TensorDataset(x, x[:, :2])
        blocks = scheme(objective={"loss": "mse", "metric": "mine:far"})
        net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        result = package.compress(net, pairs, pairs, Scheme.model_validate(blocks), device="cpu")
    finally:
        sys.path.remove(str(folder))
    worst = (result.model(x).detach() - x[:, :2]).abs().amax(1).double().mean()
    assert result.final.test_error_pct == pytest.approx(float(worst), rel=1e-5)


@pytest.mark.parametrize(
    ("measure", "value", "text", "short", "said"),
    [
        (Measure(), 0.5111, "0.51", "0.51", "0.51 %"),
        (Measure("mse"), 0.0123456, "0.01235", "0.0123", "0.01235 mse"),
        (Measure("mse"), 1234567.0, "1.235e+06", "1e+06", "1.235e+06 mse"),
        (Measure(None), 2.5, "2.5", "2.5", "2.5"),
        (Measure("mse"), None, "–", "–", "– mse"),
    ],
)
def test_numbers_in_words(measure: Measure, value: float | None, text: str, short: str, said: str) -> None:
    assert (measure.text(value), measure.short(value), measure.said(value)) == (text, short, said)
