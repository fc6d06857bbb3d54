"""`lctui new`: a scheme for a user's net and data, and one line for whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lctui.cli import _guarded, app
from tests.conftest import Cli

CODE = """
import torch
from torch import nn

def net(classes=2):
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, classes)
    return nn.Sequential(*layers)

def one_layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 2))

def bare():
    return nn.Linear(6, 2)

def number():
    return 3

def needs(width):
    return nn.Linear(width, 2)

def only_norm():
    return nn.Sequential(nn.BatchNorm2d(1), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())

def data(side=6):
    x, y = torch.randn(20, 1, side, side), torch.arange(20) % 2
    return (x, y), (x[:8], y[:8])

def lone():
    return torch.randn(20, 1, 6, 6)

def flat():
    x, y = torch.randn(20, 6), torch.arange(20) % 2
    return (x, y), (x[:8], y[:8])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lctui(*arguments: str) -> int:
    return _guarded(lambda: app([*arguments], standalone_mode=False))


def new(model: str, data: str, *more: str) -> int:
    return lctui("new", "--model", model, "--data", data, "--home", "home", *more)


def test_a_users_net_gets_a_task_a_layer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("mine.py:net", "mine.py:data") == 0
    assert capsys.readouterr().out == "net.json\n"
    written = json.loads((folder / "net.json").read_text())
    assert written == {
        "name": "net",
        "model": {"factory": "mine.py:net"},
        "data": {"name": "mine.py:data"},
        "compress": [
            {"layers": ["0"], "how": {"type": "prune", "kappa": 4}},
            {"layers": ["4"], "how": {"type": "quantize", "k": 4}},
            {"layers": ["5"], "how": {"type": "quantize", "k": 4}},
        ],
    }
    assert lctui("check", "net.json") == 0
    before = (folder / "net.json").read_bytes()
    assert new("mine.py:one_layer", "mine.py:data", "--to", "net.json") == 2
    assert capsys.readouterr().err == ("net.json: is there already, and is not written over; --to FILE names another\n")
    assert (folder / "net.json").read_bytes() == before


def test_a_file_elsewhere_leads_back_to_the_net(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path_factory.mktemp("away")
    assert new("mine.py:bare", "mine.py:flat", "--to", str(away / "bare.json")) == 0
    monkeypatch.chdir(away)
    assert lctui("check", "bare.json") == 0


def test_every_file_that_a_file_elsewhere_names_is_found(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path_factory.mktemp("away")
    (folder / "noise.py").write_text("def noise(inputs, generator):\n    return inputs\n")
    torch.save(torch.nn.Linear(6, 2).state_dict(), folder / "weights.pt")
    given = ["--set", 'data.augment=["noise.py:noise"]', "--set", "model.weights=weights.pt"]
    assert new("mine.py:bare", "mine.py:flat", *given, "--to", str(away / "bare.json")) == 0
    written = json.loads((away / "bare.json").read_text())
    assert written["data"] == {"name": f"{folder}/mine.py:flat", "augment": [f"{folder}/noise.py:noise"]}
    assert written["model"] == {"factory": f"{folder}/mine.py:bare", "weights": f"{folder}/weights.pt"}
    monkeypatch.chdir(away)
    assert lctui("check", "bare.json") == 0


def test_settings_are_written_into_the_file(folder: Path) -> None:
    assert new("mine.py:net", "mine.py:data", "--set", "model.args.classes=5", "--set", "seed=7") == 0
    written = json.loads((folder / "net.json").read_text())
    assert (written["model"]["args"], written["seed"]) == ({"classes": 5}, 7)


def test_built_in_nets_need_no_file(cli: Cli) -> None:
    done = cli("new", "--model", "lenet5", "--data", "mnist_sample")
    assert (done.returncode, done.stdout, done.stderr) == (0, "lenet5.json\n", "")
    checked = cli("check", "lenet5.json", "--json")
    assert [layer["task"] for layer in json.loads(checked.stdout)["layers"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ("mine.py:nett", "mine.py:data", "has no 'nett'; did you mean 'net'?"),
        ("gone.py:net", "mine.py:data", "model.factory: no file 'gone.py'"),
        ("mine.py:needs", "mine.py:data", "missing a required argument: 'width'"),
        ("mine.py:number", "mine.py:data", "returned int, not an nn.Module"),
        ("mine.py:only_norm", "mine.py:data", "has no layers with weights to compress"),
        ("mine.py:net", "mine.py:flat", "the net does not take an input of 6"),
        ("mine.py:net", "mine.py:lone", "must return (train, test), got"),
        ("lenet5", "mnst_sample", "data.name: 'mnst_sample' is not known; did you mean 'mnist_sample'?"),
        ("lenet5", "cifar10", "data.name: cifar10 has 3×32×32 images, the net takes 1×28×28"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, data: str, said: str
) -> None:
    assert new(model, data, "--to", "new.json") == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("new.json: ") and said in line
    assert captured.out == ""
    assert not (folder / "new.json").exists()
