"""The process that answers the console: its numbers are the runs' own, and nothing that it is asked ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lctui
from lctui import execution, what_if
from lctui.compression.low_rank import to_matrix
from lctui.export.artifact import unpack
from lctui.prepare import prepare
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from lctui.scheme.load import parse_scheme
from tests.conftest import ROOT, looked_at

Home = tuple[Path, str]


class Asked:
    """`python -P -m lctui.inspector` on a home."""

    def __init__(self, home: Path, folder: Path) -> None:
        command = [sys.executable, "-P", "-m", "lctui.inspector", "--home", str(home)]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def say(self, line: bytes) -> bytes:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def __call__(self, kind: str, **fields: Any) -> Any:
        reply = json.loads(self.say(json.dumps({"id": 7, "kind": kind, **fields}).encode()))
        assert reply.pop("id") == 7
        return reply["result"]

    def error(self, kind: str, **fields: Any) -> str:
        reply = json.loads(self.say(json.dumps({"id": 7, "kind": kind, **fields}).encode()))
        assert reply.keys() == {"id", "error"}
        assert reply["error"].isprintable() and "Traceback" not in reply["error"]
        return reply["error"]

    def end(self) -> str:
        """Ends its input; returns what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return errors.decode()


@pytest.fixture
def inspect(tmp_path: Path) -> Iterator[Callable[[Path], Asked]]:
    """Starts inspectors that end with the test."""
    started: list[Asked] = []

    def start(home: Path) -> Asked:
        started.append(Asked(home, tmp_path))
        return started[-1]

    yield start
    for asked in started:
        asked.process.kill()
        asked.process.communicate()


@pytest.fixture(scope="module")
def asked(looked_at_run: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One inspector for all questions about the finished run."""
    asked = Asked(looked_at_run[0], tmp_path_factory.mktemp("asked"))
    yield asked
    asked.end()


def event(run: Run, name: str) -> dict[str, Any]:
    return next(event for event in run.events() if event["event"] == name)


def run_in(home: Path, raw: dict[str, Any]) -> Run:
    """A finished run; files that the scheme names lie beside the home."""
    source = str(home.parent / "scheme.json")
    scheme = parse_scheme(raw, source)
    run = new_run(Store(home), scheme, "cpu")
    execution.execute(run, prepare(scheme, home, "cpu", source), home, StopRequest(), execution.Nobody())
    return run


SIZES = ("compressed_parameters", "compressed_bits", "compression_ratio", "flops", "flops_ratio")


def test_what_if_is_what_a_run_says_of_direct_compression(looked_at_run: Home, asked: Asked) -> None:
    home, run_id = looked_at_run
    run = Run(home / "runs" / run_id)
    measured, reference = event(run, "direct_compression"), event(run, "reference_finished")
    answer = asked("direct", scheme=looked_at(name="other"))
    assert answer["split"] == "validation" and answer["images"] == 80
    assert answer["error_pct"] == measured["validation_error_pct"]
    assert answer["reference_error_pct"] == reference["validation_error_pct"]
    assert {name: answer[name] for name in SIZES} == {name: measured[name] for name in SIZES}
    assert answer["tasks"] == measured["layers"]
    assert answer["error_pct"] != answer["reference_error_pct"]  # or the test would show little


def test_without_validation_the_training_images_judge(tmp_path: Path, inspect: Callable[[Path], Asked]) -> None:
    scheme = looked_at(data={"name": "mnist_sample", "classes": [3, 8], "validation": 0.0})
    measured = event(run_in(tmp_path / "home", scheme), "direct_compression")
    answer = inspect(tmp_path / "home")("direct", scheme=scheme)
    assert answer["split"] == "train" and answer["images"] == 800
    assert answer["error_pct"] == measured["train_error_pct"]


def test_weights_from_a_file_are_the_reference(
    looked_at_run: Home, tmp_path: Path, inspect: Callable[[Path], Asked]
) -> None:
    home, run_id = looked_at_run
    weights = tmp_path / "weights.safetensors"
    unpack(home / "runs" / run_id / "compressed.safetensors", weights)
    scheme = looked_at(model={"factory": "lenet5", "args": {"classes": 2}, "weights": "weights.safetensors"})
    scheme["compress"] = scheme["compress"][:1]
    measured = event(run_in(tmp_path / "home", scheme), "direct_compression")
    answer = inspect(tmp_path / "home")("direct", scheme=scheme, source=str(tmp_path / "scheme.json"))
    assert answer["error_pct"] == measured["validation_error_pct"] and answer["tasks"] == measured["layers"]


EDITS: list[dict[str, Any]] = [
    {},
    {"compress": [{"layers": ["conv2"], "how": {"type": "prune", "kappa": 300}}]},
    {"compress": [{"layers": ["conv2"], "how": {"type": "prune", "kappa": 301}}]},
    {"compress": [{"layers": ["conv*"], "how": {"type": "quantize", "k": 3}}]},
    {"compress": [{"layers": ["fc1", "fc2"], "how": {"type": "prune", "fraction": 0.01}}]},
    {"compress": []},
    {"lc": {"mu": {"start": 1.0, "steps": 1}}},
    {"compress": [{"layers": ["fc1"], "how": {"type": "low_rank", "rank": 7}}]},
    {},
]


def test_an_answer_does_not_depend_on_the_questions_before_it(looked_at_run: Home) -> None:
    home, _ = looked_at_run
    warm = what_if.Sessions(home, "cpu")
    for changes in EDITS:
        scheme = Scheme.model_validate(looked_at(**changes))
        answers = [sessions.direct(scheme, "") for sessions in (warm, what_if.Sessions(home, "cpu"))]
        assert {**answers[0], "seconds": 0} == {**answers[1], "seconds": 0}


def test_only_the_task_that_was_edited_is_solved_anew(looked_at_run: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home, _ = looked_at_run
    solved: list[str] = []
    c_step = what_if.task_c_step

    def counted(net: Any, task: Any, *rest: Any) -> Any:
        solved.extend(task.names)
        return c_step(net, task, *rest)

    monkeypatch.setattr(what_if, "task_c_step", counted)
    sessions = what_if.Sessions(home, "cpu")
    sessions.direct(Scheme.model_validate(looked_at()), "")
    assert solved == ["conv1", "conv2", "fc1", "fc2"]
    edited = looked_at()
    edited["compress"][1]["how"]["kappa"] = 1999
    sessions.direct(Scheme.model_validate(edited), "")
    sessions.direct(Scheme.model_validate(looked_at()), "")
    assert solved[4:] == ["conv2"]
    # What is kept is bounded: fc1 alone is most of the net.
    for rank in range(2, 12):
        edited["compress"][2]["how"] = {"type": "low_rank", "rank": rank}
        sessions.direct(Scheme.model_validate(edited), "")
    (session,) = sessions._kept.values()
    kept = sum(solution.theta.n for solution in session._solutions.values())
    assert kept <= what_if.NETS_KEPT * session.info.parameters


def test_without_a_reference_nothing_is_trained_loaded_or_written(
    tmp_path: Path, inspect: Callable[[Path], Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LCTUI_DATA", raising=False)
    home = tmp_path / "home"
    asked = inspect(home)
    for data in ("mnist_sample", "mnist"):  # full MNIST would have to be downloaded
        scheme = looked_at(data={"name": data, "classes": [3, 8]})
        assert asked.error("direct", scheme=scheme) == what_if.NO_REFERENCE
    assert not home.exists()
    run_in(home, looked_at(compress=[]))
    assert asked("direct", scheme=looked_at())["images"] == 80


def test_bad_questions_get_one_line_and_the_next_one_an_answer(looked_at_run: Home, asked: Asked) -> None:
    _, run_id = looked_at_run

    def with_how(how: Any, layer: str = "conv2") -> dict[str, Any]:
        return looked_at(compress=[{"layers": [layer], "how": how}])

    message = asked.error("direct", scheme=with_how({"type": "prune", "kapa": 3}), source="a.json")
    assert "a.json: compress.0.how.kapa: unknown field; did you mean 'kappa'?" in message
    message = asked.error("direct", scheme=with_how({"type": "prune", "kappa": 99999}), source="a.json")
    assert message == "a.json: compress.0.how.kappa: 99999 exceeds the 25,000 weights of conv2"
    assert "did you mean 'conv2'" in asked.error("direct", scheme=with_how({"type": "quantize", "k": 2}, "conv3"))
    message = asked.error("direct", scheme=with_how({"type": "quantize", "codebook": "fixed", "values": [1e39]}))
    assert message.startswith("ValueError: values [1e+39] do not all fit")
    assert "must be an object" in asked.error("direct", scheme=[1])
    assert "'scheme'" in asked.error("direct")
    assert asked.error("net", scheme=3) == "scheme.json: 3 must be an object"
    assert "no such run" in asked.error("confusion", run="zzzz")
    assert "must be from 1 to" in asked.error("weights", run=run_id, bins=0)
    assert "'bogus' must be one of: net, direct, suggest, confusion, weights" in asked.error("bogus")
    for junk in (b"{", b"[]", b"\xff", b"[" * 100_000, b'"\\u001b[31m"'):
        reply = json.loads(asked.say(junk))
        assert reply["id"] is None and reply["error"].isprintable()
    assert asked("direct", scheme=looked_at())["split"] == "validation"


NETS = """
import os, sys
import torch
print("imported, and talking")
os.write(1, b"from C\\n")

def net(classes=2, mode=""):
    print("building")
    if mode == "raise":
        raise ValueError("no\\nsuch net")
    if mode == "exit":
        sys.exit(4)
    if mode == "die":
        os._exit(4)
    layers = [torch.nn.Flatten(), torch.nn.Linear(784, 8), torch.nn.Linear(8, classes)]
    return torch.nn.Sequential(*layers)
"""


def test_user_code_may_print_raise_and_exit(tmp_path: Path, inspect: Callable[[Path], Asked]) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    asked = inspect(tmp_path / "home")

    def scheme(**args: Any) -> dict[str, Any]:
        return looked_at(model={"factory": "nets.py:net", "args": args}, compress=[])

    net = asked("net", scheme=scheme(), source="scheme.json")
    assert [(layer["name"], layer["shape"], layer["pixels"]) for layer in net["layers"]] == [
        ("1", [8, 784], 1),
        ("2", [2, 8], 1),
    ]
    assert net["others"] == 10 and net["input_shape"] == [1, 28, 28] and net["classes"] == 2
    assert "raised ValueError: no such net" in asked.error("net", scheme=scheme(mode="raise"))
    assert "raised SystemExit: 4" in asked.error("net", scheme=scheme(mode="exit"))
    assert "model.args.clases" in asked.error("net", scheme=scheme(clases=3))
    run_in(tmp_path / "home", scheme())
    assert asked("direct", scheme=scheme())["error_pct"] < 50
    said = asked.end()
    assert "imported, and talking" in said and "from C" in said and "building" in said


def test_it_ends_without_a_reply_when_the_users_code_changes(tmp_path: Path, inspect: Callable[[Path], Asked]) -> None:
    file = tmp_path / "nets.py"
    file.write_text(NETS)
    scheme = looked_at(model={"factory": "nets.py:net", "args": {}}, compress=[])
    asked = inspect(tmp_path / "home")
    request = json.dumps({"id": 1, "kind": "net", "scheme": scheme}).encode()
    assert asked.say(request) and asked.say(request)
    file.write_text(NETS.replace("8)", "9)").replace("(8,", "(9,"))
    assert asked.say(request) == b""
    asked.end()
    assert inspect(tmp_path / "home")("net", scheme=scheme)["layers"][0]["shape"] == [9, 784]


def test_nets_are_described_even_where_the_data_do_not_fit_them(
    tmp_path: Path, inspect: Callable[[Path], Asked]
) -> None:
    asked = inspect(tmp_path / "home")
    resnet = asked("net", scheme={"model": {"factory": "torchvision:resnet18"}, "data": {"name": "cifar10"}})
    assert resnet["layers"][0] == {
        "name": "conv1",
        "kind": "Conv2d",
        "shape": [64, 3, 7, 7],
        "pixels": 256,
        "strip_pixels": 512,  # 32 rows go in, 16 come out
    }
    assert resnet["counted"]
    assert resnet["classes"] == 1000 and resnet["input_shape"] == [3, 32, 32]
    grey = asked("net", scheme={"model": {"factory": "torchvision:resnet18"}, "data": {"name": "mnist"}})
    assert len(grey["layers"]) == len(resnet["layers"]) and grey["input_shape"] is None
    built_in = asked("net", scheme=looked_at(compress="half a scheme", lc=3))
    assert {name: built_in["layers"][1][name] for name in ("name", "shape", "pixels", "strip_pixels")} == {
        "name": "conv2",
        "shape": [50, 20, 5, 5],
        "pixels": 64,
        "strip_pixels": 12 * 8,
    }


def test_the_confusion_matrix_is_the_runs_test_error(looked_at_run: Home, asked: Asked) -> None:
    home, run_id = looked_at_run
    answer = asked("confusion", run=run_id)
    final = Run(home / "runs" / run_id).read("result.json")["final"]
    matrix = torch.tensor(answer["matrix"])
    assert answer["classes"] == [3, 8] and answer["split"] == "test" and matrix.shape == (2, 2)
    assert matrix.sum(1).tolist() == [100, 100]
    wrong = int(matrix.sum() - matrix.trace())
    assert 100 * wrong / int(matrix.sum()) == final["test_error_pct"] == answer["error_pct"]


def test_a_net_with_more_outputs_than_classes_has_a_square_matrix(
    tmp_path: Path, inspect: Callable[[Path], Asked]
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    scheme = looked_at(model={"factory": "nets.py:net", "args": {"classes": 5}}, seed=1)
    # One value for all weights of the last layer: every image gets the class of the largest bias.
    scheme["compress"] = [{"layers": ["2"], "how": {"type": "quantize", "codebook": "fixed", "values": [0]}}]
    scheme["reference"]["lr"] = 1e-6  # so that this may be a class that no image has
    scheme["l_step"]["lr"] = 1e-6
    run = run_in(tmp_path / "home", scheme)
    answer = inspect(tmp_path / "home")("confusion", run=run.id)
    matrix = torch.tensor(answer["matrix"])
    assert matrix.shape == (len(answer["classes"]),) * 2 and int(matrix.sum()) == 200
    assert answer["classes"][2:] == [f"output {place}" for place in range(2, len(answer["classes"]))]
    wrong = int(matrix.sum() - matrix.trace())
    assert 100 * wrong / 200 == run.read("result.json")["final"]["test_error_pct"]


def test_weights_are_those_of_the_artifact(looked_at_run: Home, asked: Asked) -> None:
    home, run_id = looked_at_run
    run = Run(home / "runs" / run_id)
    answer = asked("weights", run=run_id, bins=16)
    state, learned = lctui.load(run.file("compressed.safetensors")), run.read("result.json")["layers"]
    layers = {layer["name"]: layer for layer in answer["layers"]}
    assert answer["reference"] and list(layers) == ["conv1", "conv2", "fc1", "fc2"]
    for name, layer in layers.items():
        weight = state[f"{name}.weight"]
        assert layer["weights"] == weight.numel() == sum(layer["reference_counts"])
        assert layer["zeros"] == int((weight == 0).sum())
        assert len(layer["edges"]) == 17 and layer["edges"] == sorted(layer["edges"])
        assert sum(layer["counts"]) == weight.numel() - layer["zeros"]
        low, high = layer["edges"][3], layer["edges"][4]
        assert layer["counts"][3] == int(((weight >= low) & (weight < high) & (weight != 0)).sum())
    for place, name in enumerate(("conv1", "conv2")):
        codebook, weight = layers[name]["codebook"], state[f"{name}.weight"]
        assert codebook["values"] == learned[place]["codebook"]
        assert codebook["counts"] == [int((weight == value).sum()) for value in codebook["values"]]
    assert sum(layers["conv2"]["codebook"]["counts"]) == learned[1]["nonzeros"]
    fc1, matrix = layers["fc1"], to_matrix(state["fc1.weight"], "scheme_2")
    assert fc1["rank"] == len(fc1["singular_values"]) == learned[2]["rank"] > 0
    assert fc1["singular_values"] == pytest.approx(torch.linalg.svdvals(matrix)[: fc1["rank"]].tolist(), rel=1e-4)
    assert len(fc1["reference_singular_values"]) == 500
    assert layers["fc2"]["type"] == "low_rank+prune" and "codebook" not in layers["fc2"]


def test_runs_that_cannot_be_looked_into_say_why(
    looked_at_run: Home, tmp_path: Path, inspect: Callable[[Path], Asked]
) -> None:
    run = run_in(tmp_path / "home", looked_at())
    asked = inspect(tmp_path / "home")
    assert asked("weights", run=run.id)["reference"]
    for file in (tmp_path / "home" / "references").rglob("reference.*"):
        file.unlink()
    alone = asked("weights", run=run.id)
    assert not alone["reference"] and alone["layers"][0]["reference_counts"] is None
    assert sum(alone["layers"][1]["counts"]) == 2000
    meta = run.read("meta.json")
    run.file("meta.json").write_text(json.dumps(meta | {"data_sha256": "other"}))
    assert asked.error("confusion", run=run.id) == f"{run.id}: its data changed since it ran"
    run.file("compressed.safetensors").unlink()
    for kind in ("confusion", "weights"):
        assert "has no compressed net yet" in asked.error(kind, run=run.id)


PARENT = """
import subprocess, sys
subprocess.Popen(sys.argv[1:]).wait()
"""


def test_it_ends_with_its_parent_even_if_its_input_stays_open(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "lctui.inspector", "--home", str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT, *command], env=env, **pipes) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(b'{"id": 1, "kind": "none"}\n')
        parent.stdin.flush()
        assert b"must be one of" in parent.stdout.readline()
        parent.kill()
        assert parent.stdout.read() == b""  # nobody has the other end any more
