"""A run from folder to result: what is on disk, that it is exact, and that nothing is lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lctui
from lctui import execution
from lctui.errors import BadInput, Diverged, Interrupted, RunFailed
from lctui.events import Event
from lctui.prepare import prepare
from lctui.runs.locks import Lock
from lctui.runs.status import Progress
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import tiny, without_times


class StopAfter(execution.Nobody):
    """Asks for a stop once a number of batches is done, or an event has been seen."""

    def __init__(self, stop: StopRequest, batches: int) -> None:
        self.stop, self.left = stop, batches
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def progress(self, progress: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.flag.set()


def start(home: Path, raw: dict[str, Any]) -> Run:
    return new_run(Store(home), Scheme.model_validate(raw), "cpu")


def work(home: Path, run: Run, batches: int = 0) -> dict[str, Any]:
    """Executes a run, stopping it after some batches if asked to."""
    stop = StopRequest()
    prepared = prepare(run.scheme(), home, "cpu", "scheme.json")
    return execution.execute(run, prepared, home, stop, StopAfter(stop, batches))


def steps_of(run: Run) -> list[dict[str, Any]]:
    timeless = ("time", "l_seconds", "c_seconds")
    return [{k: v for k, v in e.items() if k not in timeless} for e in run.events() if e["event"] == "step"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, dict[str, Any]]:
    """An undisturbed run of the tiny scheme."""
    home = tmp_path_factory.mktemp("home")
    run = start(home, tiny())
    return home, run, work(home, run)


def test_a_finished_run_has_every_file_of_the_contract(finished: tuple[Path, Run, dict[str, Any]]) -> None:
    _, run, result = finished
    for name in ("scheme.json", "events.jsonl", "checkpoint.safetensors", "result.json", "compressed.safetensors"):
        assert run.file(name).stat().st_size > 0
    assert run.read("result.json") == result
    assert run.status() == "finished"
    meta = run.read("meta.json")
    assert meta["torch"] == torch.__version__
    assert len(meta["data_sha256"]) == 64
    assert meta["threads"] == torch.get_num_threads()
    names = [event["event"] for event in run.events()]
    assert names[0] == "run_started" and names[-1] == "run_finished"
    assert names.count("reference_epoch") == 2 and names.count("epoch") == 6 and names.count("step") == 3
    assert all(event["time"].endswith("Z") for event in run.events())
    assert "Step(" in run.file("worker.log").read_text()


def test_the_result_has_the_contracts_fields(finished: tuple[Path, Run, dict[str, Any]]) -> None:
    _, run, result = finished
    errors = {"train_error_pct", "validation_error_pct", "test_error_pct"}
    assert result["id"] == run.id and result["name"] == "tiny" and result["status"] == "finished"
    assert result["seed"] == 3 and result["device"] == "cpu" and result["seconds"] > 0
    assert errors | {"parameters", "bits"} <= result["reference"].keys()
    assert errors <= result["direct"].keys()
    sizes = {"compressed_parameters", "compressed_bits", "compression_ratio", "flops", "flops_ratio", "artifact_bytes"}
    assert errors | sizes <= result["final"].keys()
    assert errors | {"step", "compression_ratio"} <= result["best"].keys()
    assert [task["layers"] for task in result["layers"]] == [["fc1"], ["fc2"], ["fc3"]]
    assert result["layers"][0]["nonzeros"] == 5000
    assert result["layers"][1]["type"] == "low_rank+prune"
    assert len(result["layers"][2]["codebook"]) == 4
    step = next(event for event in run.events() if event["event"] == "step")
    named = {"step", "steps", "mu", "lr", "loss", "penalty", "gap", "l_seconds", "c_seconds", "layers"}
    assert named | errors | {"compressed_parameters", "compressed_bits", "compression_ratio"} <= step.keys()


def test_the_artifact_is_as_small_as_promised_and_is_the_net_that_was_measured(
    finished: tuple[Path, Run, dict[str, Any]],
) -> None:
    home, run, result = finished
    path = run.file("compressed.safetensors")
    size = path.stat().st_size
    assert size == result["final"]["artifact_bytes"]
    assert size <= result["final"]["compressed_bits"] / 8 + 4096 + 256 * 6
    prepared = prepare(run.scheme(), home, "cpu", "")
    prepared.module.load_state_dict(lctui.load(path))
    test = prepared.splits.test
    inputs, labels = test.batch(torch.arange(len(test)))
    wrong = int((prepared.module.eval()(inputs).argmax(1) != labels).sum())
    assert result["final"]["test_error_pct"] == 100 * wrong / len(test)


def test_the_same_scheme_gives_the_same_numbers_twice(
    finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path
) -> None:
    _, _, result = finished
    assert without_times(work(tmp_path, start(tmp_path, tiny()))) == without_times(result)


def test_another_seed_gives_other_numbers(finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path) -> None:
    _, _, result = finished
    other = work(tmp_path, start(tmp_path, tiny(seed=4)))
    assert other["layers"][2]["codebook"] != result["layers"][2]["codebook"]


def test_the_reference_is_trained_once_for_every_scheme_that_shares_it(
    finished: tuple[Path, Run, dict[str, Any]],
) -> None:
    home, _, result = finished
    run = start(home, tiny(name="other", compress=[{"layers": ["fc1"], "how": {"type": "quantize", "k": 2}}]))
    other = work(home, run)
    assert other["reference"] == result["reference"]
    names = [event["event"] for event in run.events()]
    assert "reference_epoch" not in names
    assert next(event for event in run.events() if event["event"] == "reference_finished")["reused"]


# The tiny scheme: 2 reference epochs of 23 batches, then 3 LC steps of 2 epochs of 12.
@pytest.mark.parametrize("batches", [1, 23, 30, 46, 47, 58, 59, 70, 71, 100, 117])
def test_a_run_stopped_after_any_batch_resumes_to_the_very_numbers(
    finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path, batches: int
) -> None:
    _, whole, result = finished
    run = start(tmp_path, tiny())
    with pytest.raises(Interrupted):
        work(tmp_path, run, batches)
    assert run.status() == "interrupted"
    assert run.read("result.json") == {}
    assert run.events()[-1]["event"] == "run_interrupted"
    assert without_times(work(tmp_path, run)) == without_times(result)
    assert steps_of(run) == steps_of(whole)
    mine, theirs = (lctui.load(each.file("compressed.safetensors")) for each in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_run_stopped_again_and_again_still_ends_the_same(
    finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path
) -> None:
    _, whole, result = finished
    run = start(tmp_path, tiny())
    for batches in (10, 25, 1, 20, 7, 30, 2):
        with pytest.raises(Interrupted):
            work(tmp_path, run, batches)
    assert without_times(work(tmp_path, run)) == without_times(result)
    assert steps_of(run) == steps_of(whole)


def test_a_dead_workers_run_goes_on_from_its_last_checkpoint(
    finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies between reporting an event and saving it, at every such moment in turn: nothing shows in the end."""
    _, whole, result = finished
    run = start(tmp_path, tiny())

    class Killed(BaseException):
        pass

    monkeypatch.setattr(execution, "SAVE_SHARE", float("inf"))
    saves = allowed = 0
    save = execution.Execution._save

    def dying(self: Any) -> None:
        nonlocal saves
        saves += 1
        if saves > allowed:
            raise Killed
        save(self)

    monkeypatch.setattr(execution.Execution, "_save", dying)
    for survived in (0, 1, 1, 2, 3, 1):
        saves, allowed = 0, survived
        with pytest.raises(Killed):
            work(tmp_path, run)
    monkeypatch.setattr(execution.Execution, "_save", save)
    assert without_times(work(tmp_path, run)) == without_times(result)
    assert steps_of(run) == steps_of(whole)


def test_the_stop_file_stops_a_run(tmp_path: Path) -> None:
    run = start(tmp_path, tiny(l_step={"epochs": 100_000, "batch_size": 64, "lr": 0.05}))

    class Asks(execution.Nobody):
        def event(self, event: Event) -> None:
            if event.event == "direct_compression":
                run.file("stop").touch()

    with pytest.raises(Interrupted):
        prepared = prepare(run.scheme(), tmp_path, "cpu", "")
        execution.execute(run, prepared, tmp_path, StopRequest(), Asks())
    assert run.status() == "interrupted"


def test_divergence_is_a_status_with_the_checkpoint_kept(tmp_path: Path) -> None:
    raw = tiny(l_step={"epochs": 1, "batch_size": 64, "lr": 1e9, "clip_lr": False})
    run = start(tmp_path, raw)
    with pytest.raises(Diverged):
        work(tmp_path, run)
    assert run.status() == "diverged"
    result = run.read("result.json")
    assert result["status"] == "diverged" and "l_step.lr" in result["error"]
    assert result["direct"]["test_error_pct"] is not None
    assert run.file("checkpoint.safetensors").exists()


def test_two_workers_do_not_run_one_run(tmp_path: Path) -> None:
    run = start(tmp_path, tiny())
    with Lock(run.file("lock")) as lock:
        assert lock.acquire()
        assert run.status() == "running"
        with pytest.raises(BadInput, match="is running already"):
            work(tmp_path, run)


def test_an_artifact_that_lies_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = execution.artifact.load

    def corrupted(path: Path) -> dict[str, torch.Tensor]:
        state = load(path)
        state["fc1.weight"][0, 0] += 1
        return state

    monkeypatch.setattr(execution.artifact, "load", corrupted)
    run = start(tmp_path, tiny())
    with pytest.raises(RunFailed, match="does not decompress to the net that was measured"):
        work(tmp_path, run)
    assert run.status() == "failed"


def test_a_damaged_checkpoint_is_said_so(tmp_path: Path) -> None:
    run = start(tmp_path, tiny())
    with pytest.raises(Interrupted):
        work(tmp_path, run, 60)
    path = run.file("checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunFailed, match=r"checkpoint\.safetensors cannot be used .* training starts over"):
        work(tmp_path, run)
    path.unlink()
    assert work(tmp_path, run)["status"] == "finished"


def test_a_damaged_reference_is_trained_again(finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path) -> None:
    _, _, result = finished
    work(tmp_path, start(tmp_path, tiny()))
    (path,) = tmp_path.glob("references/*/reference.safetensors")
    path.write_bytes(path.read_bytes()[:5000])
    assert without_times(work(tmp_path, start(tmp_path, tiny()))) == without_times(result)


def test_a_reference_alone(tmp_path: Path) -> None:
    result = work(tmp_path, start(tmp_path, tiny(compress=[])))
    assert result["final"]["compression_ratio"] == 1
    assert result["final"]["test_error_pct"] == result["reference"]["test_error_pct"]
    assert result["best"] is None and result["layers"] == []


def test_weights_from_a_file_replace_the_reference(finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path) -> None:
    _, whole, result = finished
    weights = tmp_path / "weights.safetensors"
    execution.artifact.unpack(whole.file("compressed.safetensors"), weights)
    raw = tiny(compress=[])
    raw["model"]["weights"] = str(weights)
    again = work(tmp_path, start(tmp_path, raw))
    assert again["reference"]["test_error_pct"] == result["final"]["test_error_pct"]
    assert not (tmp_path / "references").exists()


def test_bfloat16_runs_and_keeps_float32_weights(tmp_path: Path) -> None:
    run = start(tmp_path, tiny(precision="bfloat16"))
    result = work(tmp_path, run)
    assert result["final"]["test_error_pct"] < 50
    assert all(tensor.dtype == torch.float32 for tensor in lctui.load(run.file("compressed.safetensors")).values())


def test_every_event_is_one_line_of_json(finished: tuple[Path, Run, dict[str, Any]]) -> None:
    _, run, _ = finished
    for line in run.file("events.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line)["event"], str)


def test_a_run_goes_on_only_with_the_code_that_it_began_with(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    code = "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 2{}))\n"
    source.write_text(code.format(""))
    raw = tiny(model={"factory": f"{source}:net"}, compress=[{"layers": ["1"], "how": {"type": "quantize", "k": 2}}])
    run = start(tmp_path, raw)
    with pytest.raises(Interrupted):
        work(tmp_path, run, 60)
    source.write_text(code.format(", bias=True"))
    with pytest.raises(BadInput, match="its code or weights changed since it began"):
        work(tmp_path, run)
    source.write_text(code.format(""))
    assert work(tmp_path, run)["status"] == "finished"


def test_a_reference_whose_bits_rotted_is_trained_again(
    finished: tuple[Path, Run, dict[str, Any]], tmp_path: Path
) -> None:
    _, _, result = finished
    work(tmp_path, start(tmp_path, tiny()))
    (path,) = tmp_path.glob("references/*/reference.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-5000] + bytes(5000))
    assert without_times(work(tmp_path, start(tmp_path, tiny()))) == without_times(result)


def test_a_run_goes_on_when_nobody_can_watch_any_more(tmp_path: Path) -> None:
    class Gone(execution.Nobody):
        def event(self, event: Event) -> None:
            raise OSError("the terminal has gone")

    run = start(tmp_path, tiny())
    result = execution.execute(run, prepare(run.scheme(), tmp_path, "cpu", ""), tmp_path, StopRequest(), Gone())
    assert result["status"] == "finished"


def test_a_net_that_views_its_activations_trains(tmp_path: Path) -> None:
    (tmp_path / "viewing.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(1, 3, 5, stride=3)\n"
        "        self.fc = torch.nn.Linear(3 * 64, 2)\n"
        "        self.alias = self.fc.weight\n"
        "    def forward(self, x):\n"
        "        print('forward')\n"
        "        x = self.conv(x)\n"
        "        return self.fc(x.view(x.size(0), -1))\n"
    )
    model = {"factory": f"{tmp_path / 'viewing.py'}:Net"}
    how = {"type": "quantize", "k": 2}
    run = start(
        tmp_path, tiny(model=model, compress=[{"layers": ["conv"], "how": how}, {"layers": ["fc"], "how": how}])
    )
    result = work(tmp_path, run)
    assert result["status"] == "finished"
    assert len(lctui.load(run.file("compressed.safetensors"))["alias"].unique()) == 2
