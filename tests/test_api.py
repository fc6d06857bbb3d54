"""The Python API as the README has it, and what a caller relies on: copies, files, events, nothing left changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import lctui
from lctui.events import DirectCompression, Epoch, Event, Step
from lctui.scheme import Scheme
from tests.conftest import ROOT

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


def test_nothing_of_the_callers_is_changed() -> None:
    model, train, test = make()
    model.train()
    model.fc1.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        result = lctui.compress(model, train, test, scheme(), device="cpu")
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled() and torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), rng)
    assert model.training and not model.fc1.weight.requires_grad and model.fc2.weight.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert result.model is not model and not result.model.training


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
    pairs: list[Any] = [tuple(each.tensors) for each in (train, test)]
    one, other = (lctui.compress(model, *sets, scheme(), device="cpu") for sets in ((train, test), pairs))
    assert one.final.layers == other.final.layers


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lctui.__file__).parent / "py.typed").is_file()
