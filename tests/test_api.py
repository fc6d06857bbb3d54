"""The Python API as the README has it, and what a caller relies on: copies, files, events, nothing left changed."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import lctui
from lctui.errors import BadInput
from lctui.events import DirectCompression, Epoch, Event, Step
from lctui.scheme import Scheme
from tests.conftest import ROOT, Cli

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M)


def make() -> tuple[nn.Module, TensorDataset, TensorDataset]:
    """A net with layers fc1 and fc2 that has learned something of two classes of points."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("fc1", nn.Linear(6, 12))
    net.add_module("norm", nn.BatchNorm1d(12))
    net.add_module("relu", nn.ReLU())
    net.add_module("fc2", nn.Linear(12, 2))
    x = torch.randn(300, 6)
    y = (x[:, 0] + x[:, 1] > 0).long()
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net, TensorDataset(x[:200], y[:200]), TensorDataset(x[200:], y[200:])


def scheme(**changes: Any) -> Scheme:
    raw = {
        "model": {"factory": "mine:net"},
        "data": {"name": "mine:data", "validation": 0.2},
        "compress": [{"layers": ["fc*"], "how": {"type": "prune", "kappa": 20, "k": 4}}],
        "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 4}},
        "l_step": {"epochs": 2, "batch_size": 32, "lr": 0.05},
    }
    return Scheme.model_validate(raw | changes)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def test_the_readmes_lines_do_what_they_say(elsewhere: Path) -> None:
    api, c_step, *_ = (block for block in BLOCKS if "lctui.compress(" in block or "c_step(" in block)
    model, train, test = make()
    names: dict[str, Any] = {"model": model, "train": train, "test": test}
    exec(api, names)
    assert names["size"] == (elsewhere / "compressed.safetensors").stat().st_size
    state = names["result"].model.state_dict()
    assert state.keys() == names["state"].keys()
    assert all(torch.equal(state[name], names["state"][name]) for name in state)
    exec(c_step, {"v": torch.randn(20, 30)})


class Noisy(Dataset[tuple[Tensor, int]]):
    """A map-style data set whose items draw random numbers of every kind, as augmentations do."""

    def __init__(self, part: TensorDataset) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        x, y = self.part[place]
        noise = random.gauss(0, 0.01) + np.random.normal(0, 0.01)
        return x + noise + 0.01 * torch.randn(x.shape), int(y)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_nothing_of_the_callers_is_changed(off: Any) -> None:
    model, *parts = make()
    train, test = map(Noisy, parts)
    model.train()
    model.norm.eval()
    model.fc1.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: value.data_ptr() for name, value in model.named_parameters()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state()), torch.get_num_threads()
    with off():
        result = lctui.compress(model, train, test, scheme(), device="cpu")
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (off is torch.inference_mode)
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state()), torch.get_num_threads()) == states[1:]
    assert (model.training, model.norm.training, model.fc2.training) == (True, False, True)
    assert not model.fc1.weight.requires_grad and model.fc2.weight.requires_grad
    assert {name: value.data_ptr() for name, value in model.named_parameters()} == kept
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert result.model is not model and not any(layer.training for layer in result.model.modules())


def test_equal_calls_give_equal_numbers_whatever_was_drawn_before() -> None:
    model, *parts = make()
    train, test = map(Noisy, parts)
    one = lctui.compress(model, train, test, scheme(), device="cpu")
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    other = lctui.compress(model, train, test, scheme(), device="cpu")
    assert one.final.layers == one.layers == other.layers
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_a_model_of_double_precision_is_compressed_as_its_float32_copy() -> None:
    model, train, test = make()
    one, other = (
        lctui.compress(each, train, test, scheme(), device="cpu") for each in (model, copy.deepcopy(model).double())
    )
    assert one.layers == other.layers
    assert {each.dtype for each in other.model.parameters()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_model_on_a_gpu_comes_back_on_it(device: str) -> None:
    model, train, test = make()
    result = lctui.compress(model.cuda(), train, test, scheme(), device=device)
    assert all(each.is_cuda for each in (*model.parameters(), *result.model.state_dict().values()))
    inputs, labels = test.tensors
    wrong = int((result.model(inputs.cuda()).argmax(1).cpu() != labels).sum())
    assert result.final.test_error_pct == 100 * wrong / len(labels)


def test_a_run_of_the_command_line_and_a_call_come_to_the_same(elsewhere: Path, cli: Cli) -> None:
    model, train, test = make()
    (elsewhere / "mine.py").write_text(MINE)
    torch.save({"train": train.tensors, "test": test.tensors}, elsewhere / "data.pt")
    torch.save(model.state_dict(), elsewhere / "net.pt")
    named = scheme(
        model={"factory": "mine.py:net", "weights": "net.pt"}, data={"name": "mine.py:data", "validation": 0.2}
    )
    (elsewhere / "scheme.json").write_text(json.dumps(named.dump()))
    done = cli("--run", "scheme.json", "--quiet", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    result = lctui.compress(model, train, test, Scheme.load(elsewhere / "scheme.json"), device="cpu")
    assert result.layers == said["layers"]
    assert result.best is not None and result.best.step == said["best"]["step"]
    for name in ("train_error_pct", "validation_error_pct", "test_error_pct"):
        assert getattr(result.reference, name) == said["reference"][name]
        assert getattr(result.final, name) == said["final"][name]
    assert result.save("saved.safetensors") == said["final"]["artifact_bytes"]
    (run,) = cli.runs()
    assert (elsewhere / "saved.safetensors").read_bytes() == (run / "compressed.safetensors").read_bytes()


MINE = """
import torch
from torch import nn

def net():
    layers = nn.Sequential()
    layers.add_module("fc1", nn.Linear(6, 12))
    layers.add_module("norm", nn.BatchNorm1d(12))
    layers.add_module("relu", nn.ReLU())
    layers.add_module("fc2", nn.Linear(12, 2))
    return layers

def data():
    stored = torch.load("data.pt", weights_only=True)
    return stored["train"], stored["test"]
"""


def test_every_problem_is_said_at_once_and_nothing_is_written(elsewhere: Path) -> None:
    model, train, test = make()
    tasks = [
        {"layers": ["fc9"], "how": {"type": "prune", "kappa": 1}},
        {"layers": ["fc1"], "how": {"type": "prune", "kappa": 10**6}},
    ]
    with pytest.raises(BadInput) as error:
        lctui.compress(model, train, test, scheme(compress=tasks), device="cpu")
    assert [line.split(": ")[1] for line in error.value.lines()] == ["compress.0.layers.0", "compress.1.how.kappa"]
    with pytest.raises(BadInput, match=r"data: train labels must be integers"):
        lctui.compress(model, TensorDataset(train.tensors[0], torch.rand(200)), test, scheme(), device="cpu")
    result = lctui.compress(model, train, test, scheme(), device="cpu")
    with pytest.raises(OSError):
        result.save(elsewhere / "nowhere/compressed.safetensors")
    assert list(elsewhere.iterdir()) == []


def test_events_come_as_they_happen() -> None:
    told: list[Event] = []
    model, train, test = make()
    result = lctui.compress(model, train, test, scheme(), device="cpu", on_event=told.append)
    kinds = [type(event) for event in told]
    assert kinds == [DirectCompression, *(Epoch, Epoch, Step) * 4]
    assert tuple(event for event in told if isinstance(event, Step)) == result.steps
    assert result.final == result.steps[-1]
    errors = [step.validation_error_pct for step in result.steps]
    assert result.best is not None and result.best.validation_error_pct == min(errors)
    assert result.best.step == max(i + 1 for i, error in enumerate(errors) if error == min(errors))
    assert (
        lctui.compress(model, train, test, scheme(data={"name": "m:d", "validation": 0.0}), device="cpu").best is None
    )


def test_a_pair_of_tensors_is_a_data_set() -> None:
    model, train, test = make()
    pairs = [(each.tensors[0], each.tensors[1]) for each in (train, test)]
    one = lctui.compress(model, train, test, scheme(), device="cpu")
    other = lctui.compress(model, *pairs, scheme(), device="cpu")
    assert one.final.layers == other.final.layers


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lctui.__file__).parent / "py.typed").is_file()
