"""`lctui export --format torch,onnx,safetensors,packed`: nets that run without lctui, and predict what a run's does."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import lctui
from lctui.deploying import changed_class, changed_output, require_same
from lctui.errors import RunFailed
from lctui.export.loader import load
from lctui.learning.resident import Resident
from lctui.models import LeNet5
from lctui.runs.store import Store
from lctui.scheme.load import parse_scheme
from lctui.what_if import Sessions
from tests.conftest import ROOT, Cli, made_once, tiny


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
        done = Cli(home)("export", name, "--to", folder / "out", "--format", "torch,onnx,safetensors,packed")
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
    listed = {Path(line) for line in (folder / "listed").read_text().splitlines()}
    assert listed == {path for path in (folder / "out").rglob("*") if path.is_file()}
    where = folder / "out" / "deploy" / "looked-at"
    return Exported(run.file("compressed.safetensors"), where, (folder / "said").read_text(), images, predicted)


def predicted_alone(code: str, exported: Exported, folder: Path) -> dict[str, Tensor]:
    """What a net predicts in a process where lctui cannot be imported; `code` defines `scores(images)`."""
    save_file({"images": exported.images.contiguous()}, folder / "images.safetensors")
    script = f"""
import sys
sys.modules["lctui"] = None
import torch
from safetensors.torch import load_file, save_file
where = sys.argv[1]
{code}
images = load_file("images.safetensors")["images"]
with torch.no_grad():
    save_file({{"all": scores(images).argmax(1), "one": scores(images[:1]).argmax(1)}}, "predicted.safetensors")
"""
    command = [sys.executable, "-W", "error", "-c", script, str(exported.folder)]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return load_file(folder / "predicted.safetensors")


ALONE = {
    "torch": """
scores = torch.export.load(where + "/model.pt2").module()
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(where + "/model.onnx")
def scores(images): return torch.from_numpy(session.run(["scores"], {"inputs": images.numpy()})[0])
""",
    "packed": """
sys.path.insert(0, where + "/packed")
from lctui_loader import load
scores = load()
""",
}


@pytest.mark.parametrize("kind", ALONE)
def test_the_net_runs_in_a_process_without_lctui(kind: str, exported: Exported, tmp_path: Path) -> None:
    found = predicted_alone(ALONE[kind], exported, tmp_path)
    assert torch.equal(found["all"], exported.predicted)
    assert torch.equal(found["one"], exported.predicted[:1])


def test_every_line_that_is_said_is_of_the_run(exported: Exported) -> None:
    assert all(line.startswith(exported.packed.parent.name) for line in exported.said.splitlines())


def test_the_loader_refuses_a_damaged_artifact(exported: Exported, tmp_path: Path) -> None:
    shutil.copytree(exported.folder / "packed", tmp_path / "packed")
    file = tmp_path / "packed" / "compressed.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"compressed\.safetensors: cannot be decompressed: its checksum is wrong"):
        load(tmp_path / "packed")


def test_no_file_says_where_it_was_made(exported: Exported) -> None:
    for file in (path for path in exported.folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        assert (str(ROOT).encode() not in content and b".py" not in content) or file.suffix == ".py", file


def test_what_is_packed_is_small(exported: Exported) -> None:
    packed = exported.folder / "packed"
    assert (packed / "compressed.safetensors").read_bytes() == exported.packed.read_bytes()
    weights = sum(4 * tensor.numel() for tensor in lctui.load(exported.packed).values())
    assert (packed / "net.pt2.gz").stat().st_size < weights / 100  # the program holds none


def multiplications(state: Mapping[str, Tensor]) -> int:
    """Of a LeNet5 for one image: each weight is used once, a filter's once a pixel."""
    pixels = {"conv1": 24**2, "conv2": 8**2}
    weights = {name: tensor for name, tensor in state.items() if name.endswith("weight")}
    return sum(tensor.numel() * pixels.get(name.partition(".")[0], 1) for name, tensor in weights.items())


def measured(exported: Exported) -> list[dict[str, str]]:
    """The rows of `deploy.csv`."""
    return list(csv.DictReader((exported.folder.parent / "deploy.csv").read_text().splitlines()))


def test_the_table_counts_files_and_nets(exported: Exported) -> None:
    rows = {(row["format"], row["form"]): row for row in measured(exported)}
    kinds = {"torch": "model.pt2", "onnx": "model.onnx", "packed": "packed"}
    assert set(rows) == {(kind, form) for kind in kinds for form in ("dense", "deployed")} | {("safetensors", "dense")}
    state = torch.export.load(exported.folder / "model.pt2").state_dict
    for kind, name in kinds.items():
        dense, deployed = rows[kind, "dense"], rows[kind, "deployed"]
        assert (dense["file"], deployed["file"]) == ("", name)
        assert int(dense["parameters"]) == sum(map(Tensor.numel, lctui.load(exported.packed).values()))
        assert int(dense["flops"]) == 2 * multiplications(lctui.load(exported.packed))
        assert min(float(row[each]) for row in (dense, deployed) for each in ("latency_ms", "open_ms")) > 0
        if kind != "packed":
            assert int(deployed["bytes"]) == (exported.folder / name).stat().st_size < int(dense["bytes"])
            assert int(deployed["parameters"]) == sum(map(Tensor.numel, state.values()))
            assert int(deployed["flops"]) == 2 * multiplications(state)
    files = (exported.folder / "packed" / name for name in ("compressed.safetensors", "net.pt2.gz"))
    assert int(rows["packed", "deployed"]["bytes"]) == sum(file.stat().st_size for file in files)


def test_the_table_says_what_was_measured_where(exported: Exported) -> None:
    text = (exported.folder.parent / "deploy.md").read_text()
    cpu = measured(exported)[-1]["cpu"]
    assert "Latency is what 32 inputs at once took in the opened file, on one thread of a processor" in text
    assert cpu in text.replace("\\", "")
    assert "- looked-at, onnx: 1," in text


def test_without_its_packages_onnx_is_one_line(looked_at_run: tuple[Path, str], tmp_path: Path) -> None:
    home, name = looked_at_run
    code = "import sys; sys.modules['onnxscript'] = None; from lctui.cli import main; main()"
    arguments = ["export", name, "--home", home, "--to", tmp_path / "out", "--format", "csv,onnx"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "--format: onnx needs onnxscript: pip install 'lctui[onnx]'\n"
    assert not (tmp_path / "out").exists()


def test_the_programs_low_rank_layer_is_two(exported: Exported) -> None:
    assert "fc1: two layers of rank" in exported.said
    state = torch.export.load(exported.folder / "model.pt2").state_dict
    assert {"fc1.0.weight", "fc1.1.weight"} <= state.keys() and "fc1.weight" not in state
    assert sum(map(Tensor.numel, state.values())) < sum(map(Tensor.numel, lctui.load(exported.packed).values()))


def test_the_dense_weights_are_those_of_the_artifact(exported: Exported) -> None:
    wanted, found = lctui.load(exported.packed), load_file(exported.folder / "model.safetensors")
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


IMAGES = """
import torch
from torch.utils.data import TensorDataset

def images():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(32, 3, 32, 32, generator=draw), torch.arange(32) % 10
    return TensorDataset(x[:16], y[:16]), TensorDataset(x[16:], y[16:])
"""
RESNET = {
    "name": "resnet",
    "model": {"factory": "torchvision:resnet18", "args": {"num_classes": 10}},
    "data": {"name": "images.py:images"},
    "reference": {"epochs": 1, "batch_size": 16, "lr": 0.01},
    "compress": [
        {"layers": ["layer*.conv1"], "how": {"type": "prune_structured", "fraction": 0.5}},
        {"layers": ["layer4.0.downsample.0"], "how": {"type": "low_rank", "rank": 16}},
        {"layers": ["fc"], "how": {"type": "quantize", "k": 4}},
    ],
    "lc": {"mu": {"start": 0.001, "steps": 2}},
    "l_step": {"epochs": 1, "batch_size": 16, "lr": 0.01},
}


def run_and_export(cli: Cli, scheme: Path, format: str) -> tuple[Path, str]:
    """Runs a scheme and exports it beside itself: the run's folder, and what the export said to stderr."""
    done = cli("--run", scheme, "--quiet")
    assert done.returncode == 0, done.stderr
    (folder,) = cli.runs()
    done = cli("export", folder.name, "--to", scheme.parent, "--format", format)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def test_a_residual_net_of_every_kind_of_layer_as_onnx(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "images.py").write_text(IMAGES)
    (tmp_path / "resnet.json").write_text(json.dumps(RESNET))
    folder, said = run_and_export(cli, tmp_path / "resnet.json", "onnx")
    assert f"{folder.name}: layer4.0.downsample.0: two layers of rank 16, " in said
    assert "filters left\n" in said

    net = torchvision.models.resnet18(num_classes=10).eval()
    net.load_state_dict(lctui.load(folder / "compressed.safetensors"))
    file = tmp_path / "deploy" / "resnet" / "model.onnx"
    session = onnxruntime.InferenceSession(str(file))
    inputs = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = net(inputs)
    (found,) = session.run(None, {"inputs": inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-3, atol=1e-4)
    assert torch.equal(torch.from_numpy(found).argmax(1), wanted.argmax(1))

    dense, deployed = csv.DictReader((tmp_path / "deploy" / "deploy.csv").read_text().splitlines())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(inputs[:1])
    assert int(deployed["flops"]) < 0.7 * int(dense["flops"]) == 0.7 * counter.get_total_flops()
    assert file.stat().st_size == int(deployed["bytes"]) < 0.7 * 4 * sum(map(Tensor.numel, net.state_dict().values()))


BRANCHING = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 64), nn.Linear(64, 3)

    def forward(self, x):
        x = self.a(x)
        return self.b(x if x.sum() > 0 else -x)

def data():
    x, y = torch.rand(24, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    return TensorDataset(x[:16], y[:16]), TensorDataset(x[16:], y[16:])
"""


def test_of_a_net_that_torch_cannot_export_the_weights_are_packed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "branching.py").write_text(BRANCHING)
    scheme = {
        "name": "branching",
        "model": {"factory": "branching.py:Branching"},
        "data": {"name": "branching.py:data"},
        "reference": {"epochs": 1, "batch_size": 8},
        "compress": [{"layers": ["a"], "how": {"type": "prune", "kappa": 40, "k": 2, "code": "arithmetic"}}],
        "lc": {"mu": {"start": 0.01, "steps": 1}},
        "l_step": {"epochs": 1, "batch_size": 8},
    }
    (tmp_path / "branching.json").write_text(json.dumps(scheme))
    folder, said = run_and_export(cli, tmp_path / "branching.json", "packed")
    (line,) = said.splitlines()
    assert line.startswith(
        f"{folder.name}: packed without a program, for load_state alone: GuardOnDataDependentSymNode"
    )
    assert {path.name for path in (tmp_path / "deploy/branching/packed").iterdir() if path.is_file()} == {
        "compressed.safetensors"
    }

    script = """
import sys
sys.modules["lctui"] = None
sys.path[:0] = [".", "deploy/branching/packed"]
from branching import Branching
from lctui_loader import load_state
from safetensors.torch import save_file
net = Branching()
net.load_state_dict(load_state("deploy/branching/packed/compressed.safetensors"))
save_file(net.state_dict(), "loaded.safetensors")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, check=True, timeout=120)
    wanted, found = lctui.load(folder / "compressed.safetensors"), load_file(tmp_path / "loaded.safetensors")
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[name], found[name]) for name in wanted)

    done = cli("export", folder.name, "--to", tmp_path, "--format", "torch")
    assert done.returncode == 2
    note, problem = done.stderr.splitlines()
    assert note.startswith(f"{folder.name}: not narrowed: its code cannot be followed: TraceError: ")
    assert problem.startswith(f"{folder.name}: --format: torch cannot express this net: GuardOnDataDependentSymNode: ")
    assert not (tmp_path / "deploy/branching/model.pt2").exists()


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
