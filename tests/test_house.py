"""The house: what may import what, what stays light, and how files are kept."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scheme.cases import EXAMPLE, changed, written

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "lctui").rglob("*.py"))
HEAVY = ("torch", "torchvision", "numpy", "matplotlib", "textual", "safetensors")

LIGHT = [
    "lctui",
    "lctui.cli",
    "lctui.errors",
    "lctui.events",
    "lctui.input_files",
    "lctui.results",
    *sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for room in ("scheme", "runs", "headless")
        for file in (ROOT / "lctui" / room).glob("*.py")
    ),
    "lctui.console.inspection",
    "lctui.export.files",
    "lctui.export.formats",
    "lctui.export.gallery",
    "lctui.export.insides",
    "lctui.export.long",
    "lctui.export.names",
    "lctui.export.plots",
    "lctui.export.study_files",
    "lctui.export.tables",
    "lctui.export.tensorboard",
    "lctui.export.training",
]


def heavy_after(code: str, *arguments: str | Path) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Which heavy packages a fresh process has loaded after `code`; it may print before, and exit as it likes."""
    wrapper = f"""
import sys
try:
    exec({code!r})
finally:
    print("HEAVY", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    command = [sys.executable, "-c", wrapper, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    (marked,) = [line for line in done.stderr.splitlines() if line.startswith("HEAVY")]
    return set(marked.split()[1:]), done


def test_what_must_be_light_loads_nothing_heavy() -> None:
    found, done = heavy_after("\n".join(f"import {module}" for module in LIGHT))
    assert done.returncode == 0, done.stderr
    assert not found


@pytest.mark.parametrize("module", ["lctui", "lctui.cli", "lctui.scheme", "lctui.runs.store", "lctui.headless.tables"])
def test_each_door_is_light_by_itself(module: str) -> None:
    assert heavy_after(f"import {module}")[0] == set()


CHECK = "from lctui.cli import main; main()"


def test_checking_a_good_scheme_loads_nothing_heavy(tmp_path: Path) -> None:
    found, done = heavy_after(CHECK, "check", written(tmp_path / "scheme.json", EXAMPLE), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reference_bits"] == 13_714_400
    assert not found


def test_refusing_a_bad_scheme_loads_nothing_heavy(tmp_path: Path) -> None:
    bad = written(tmp_path / "scheme.json", changed({"seed": -1, "compress.0.layers.0": "conv"}))
    for arguments in (["check", bad], ["--run", bad, "--home", tmp_path / "home"]):
        found, done = heavy_after(CHECK, *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert [line.split(": ")[1] for line in done.stderr.splitlines()[:-1]] == ["seed", "compress.0.layers.0"]
        assert not found
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("how", [[], ["--detach"], ["--queue"]], ids=" ".join)
@pytest.mark.parametrize(
    ("arguments", "data", "said"),
    [
        (["--device", "cudda"], "", "--device: 'cudda' is not a device"),
        (["--set", "data.name=mnist"], "empty", "data.name: mnist: no MNIST/raw/train-images-idx3-ubyte or "),
        (["--set", "compress.0.how.kappa=1000000000"], "", "compress.0.how.kappa: 1000000000 exceeds the "),
        (["--set", "model.args.classes=7"], "", "model.args.classes: the net has 7 outputs, the data "),
        (["--set", "model.weights=none.pt"], "", "model.weights: no file 'none.pt' in "),
        (["--set", "model.weights=scheme.json"], "", "scheme.json must be a .safetensors, .pt or .pth file"),
    ],
)
def test_what_needs_no_torch_is_refused_without_it(
    how: list[str], arguments: list[str], data: str, said: str, tmp_path: Path
) -> None:
    scheme = written(tmp_path / "scheme.json", EXAMPLE)
    (tmp_path / "empty" / "MNIST" / "raw").mkdir(parents=True)
    code = f"import os; os.environ['LCTUI_DATA'] = {str(tmp_path / data) if data else ''!r}; {CHECK}"
    found, done = heavy_after(code, "--run", scheme, "--home", tmp_path / "home", *arguments, *how)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not found
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "verb", [["--help"], ["--version"], ["ls"], ["show", "nothing"], ["schema"], ["check", "missing"]]
)
def test_verbs_that_compute_nothing_load_nothing_heavy(verb: list[str], tmp_path: Path) -> None:
    found, done = heavy_after(f"import os; os.environ['LCTUI_HOME'] = {str(tmp_path)!r}; {CHECK}", *verb)
    assert "Traceback" not in done.stderr
    assert not found


def test_training_loads_no_compiler() -> None:
    """An optimizer object, for one, would load torch's: 2 s at the start of every run."""
    code = """
import sys, torch
from lctui.learning.descent import SgdSettings
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Trainer
from lctui.models import LeNet5
net, cpu = LeNet5(), torch.device("cpu")
data = Resident(torch.rand(8, 1, 28, 28), torch.arange(8), cpu)
Trainer(FlatNet(net, cpu), data, SgdSettings(4, 0.9, True), seed=0, stream=("test",)).epoch(0.1)
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_stays_readable(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert (ast.get_docstring(tree) or "").strip()
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    printing = [call for call in calls if isinstance(call, ast.Name) and call.id in ("print", "input", "breakpoint")]
    assert not printing or file.name == "cli.py"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_public_function_and_class_is_described_and_typed(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_") and file.name != "events.py":
            assert ast.get_docstring(node), node.name
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.returns is not None, node.name
