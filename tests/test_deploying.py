"""`lctui export --format torch,safetensors`: files that load without lctui and predict what the run's net does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lctui
from lctui.deploying import changed_class, changed_output, require_same
from lctui.errors import RunFailed
from lctui.learning.resident import Resident
from lctui.models import LeNet5
from lctui.runs.store import Store
from lctui.scheme.load import parse_scheme
from lctui.what_if import Sessions
from tests.conftest import Cli, made_once, tiny


@dataclass(frozen=True)
class Exported:
    """The run, the folder its nets were exported into, and what was said about it."""

    packed: Path
    folder: Path
    said: str
    images: Tensor
    predicted: Tensor


@pytest.fixture(scope="module")
def exported(looked_at_run: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    home, name = looked_at_run

    def make(folder: Path) -> None:
        done = Cli(home)("export", name, "--to", folder / "out", "--format", "torch,safetensors")
        assert done.returncode == 0, done.stderr
        (folder / "said").write_text(done.stderr)
        (folder / "listed").write_text(done.stdout)

    folder = made_once(tmp_path_factory, "deployed", make)
    run = Store(home).find(name)
    test = Sessions(home, "cpu").get(run.scheme(), "scheme.json").splits.test
    images, _ = next(test.in_order(len(test)))
    net = LeNet5(2).eval()
    net.load_state_dict(lctui.load(run.file("compressed.safetensors")))
    with torch.no_grad():
        predicted = net(images).argmax(1)
    assert {Path(line).name for line in (folder / "listed").read_text().splitlines()} >= {
        "model.pt2",
        "model.safetensors",
    }
    where = folder / "out" / "deploy" / "looked-at"
    return Exported(run.file("compressed.safetensors"), where, (folder / "said").read_text(), images, predicted)


def test_the_program_runs_in_a_process_without_lctui(exported: Exported, tmp_path: Path) -> None:
    save_file({"images": exported.images.contiguous()}, tmp_path / "images.safetensors")
    script = """
import sys, torch
from safetensors.torch import load_file, save_file
net = torch.export.load(sys.argv[1]).module()
images = load_file("images.safetensors")["images"]
with torch.no_grad():
    save_file({"all": net(images).argmax(1), "one": net(images[:1]).argmax(1)}, "predicted.safetensors")
assert not any(name.partition(".")[0] == "lctui" for name in sys.modules)
"""
    command = [sys.executable, "-c", script, str(exported.folder / "model.pt2")]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    found = load_file(tmp_path / "predicted.safetensors")
    assert torch.equal(found["all"], exported.predicted)
    assert torch.equal(found["one"], exported.predicted[:1])


def test_the_programs_low_rank_layer_is_two(exported: Exported) -> None:
    assert "fc1: two layers of rank" in exported.said
    state = torch.export.load(exported.folder / "model.pt2").state_dict
    assert {"fc1.0.weight", "fc1.1.weight"} <= state.keys() and "fc1.weight" not in state
    assert sum(map(Tensor.numel, state.values())) < sum(map(Tensor.numel, lctui.load(exported.packed).values()))


def test_the_dense_weights_are_those_of_the_artifact(exported: Exported) -> None:
    wanted, found = lctui.load(exported.packed), load_file(exported.folder / "model.safetensors")
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_file_that_predicts_otherwise_is_an_error() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 3.0 + 1e-6], [0.0, -1.0]])
    images = Resident(torch.arange(3.0)[:, None], torch.zeros(3, dtype=torch.int64), torch.device("cpu"))

    def answers(table: Tensor) -> nn.Module:
        found = nn.Embedding.from_pretrained(table)
        return nn.Sequential(Places(), found)

    level, wrong = scores.clone(), scores.clone()
    level[1] = scores[1].flip(0)
    wrong[2] = scores[2].flip(0)
    require_same(answers(scores), answers(level), images, "file", changed_class)
    with pytest.raises(RunFailed, match="file: predicts otherwise than the run's net of 1 of 3 test images"):
        require_same(answers(scores), answers(wrong), images, "file", changed_class)
    require_same(answers(scores), answers(scores + 1e-5), images, "file", changed_output)
    with pytest.raises(RunFailed, match="of 1 of 3 test images"):
        require_same(answers(scores), answers(wrong), images, "file", changed_output)


class Places(nn.Module):
    """Inputs as places in a table."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].long()


def test_a_run_that_has_not_finished_has_no_net(cli: Cli, tmp_path: Path) -> None:
    store = Store(cli.home)
    run = store.create(parse_scheme(tiny(), "scheme.json"), {})
    done = cli("export", run.id, "--to", tmp_path / "out", "--format", "torch")
    assert done.returncode == 2
    assert done.stderr == f"{run.id}: has no compressed net yet: it is written when the run finishes\n"
