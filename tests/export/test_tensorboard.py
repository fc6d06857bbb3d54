"""TensorBoard's event files, read back by TensorBoard."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lctui.errors import BadInput
from lctui.export.files import export_runs
from lctui.runs.store import Run

ROOT = Path(__file__).parents[2]
HOME = ROOT / "tests/data/home/runs"
RUN = Run(HOME / "eexm-quickstart")


def read(folder: Path) -> EventAccumulator:
    """All that TensorBoard finds in a run's folder."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    folder = tmp_path_factory.mktemp("events")
    (path,) = export_runs([RUN], folder, ["tensorboard"])
    assert path.parent == folder / "tensorboard" / "quickstart" and path.name.startswith("events.out.tfevents")
    return read(path.parent)


def seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def events(name: str) -> list[dict[str, Any]]:
    return [event for event in RUN.events() if event["event"] == name]


def numbers(event: dict[str, Any]) -> set[str]:
    places = ("step", "steps", "epoch", "epochs")
    return {name for name, value in event.items() if isinstance(value, int | float) and name not in places}


def test_every_number_of_the_steps_is_there_at_its_time(found: EventAccumulator) -> None:
    steps, (direct,) = events("step"), events("direct_compression")
    assert {"mu", "lr", "loss", "penalty", "gap", "compression_ratio", "compressed_bits"} <= numbers(steps[0])
    for name in numbers(steps[0]):
        before = [(0, seconds(direct), np.float32(direct[name]))] if name in direct else []
        expected = before + [(step["step"], seconds(step), np.float32(step[name])) for step in steps]
        assert [(each.step, each.wall_time, each.value) for each in found.Scalars(f"step/{name}")] == expected


def test_every_number_of_the_references_epochs_is_there_at_its_time(found: EventAccumulator) -> None:
    epochs = events("reference_epoch")
    for name in numbers(epochs[0]):
        expected = [(epoch["epoch"], seconds(epoch), np.float32(epoch[name])) for epoch in epochs]
        assert [(each.step, each.wall_time, each.value) for each in found.Scalars(f"reference/{name}")] == expected


def test_what_each_task_learned_is_there(found: EventAccumulator) -> None:
    bits = [step["layers"][1]["bits"] for step in [*events("direct_compression"), *events("step")]]
    assert [each.value for each in found.Scalars("layers/conv2/bits")] == [float(np.float32(value)) for value in bits]
    assert {each.value for each in found.Scalars("layers/fc1/rank")} == {10}


def test_the_scheme_is_there_as_text(found: EventAccumulator) -> None:
    (text,) = found.Tensors("scheme")
    assert found.SummaryMetadata("scheme").plugin_data.plugin_name == "text"
    words = text.tensor_proto.string_val[0].decode()
    assert words.startswith("```json\n") and words.endswith("\n```")
    assert json.loads(words.removeprefix("```json\n").removesuffix("\n```")) == RUN.read("scheme.json")


def test_exporting_twice_doubles_nothing(tmp_path: Path) -> None:
    (path,) = export_runs([RUN], tmp_path, ["tensorboard"])
    once = path.read_bytes()
    assert export_runs([RUN], tmp_path, ["tensorboard"]) == [path]
    assert path.read_bytes() == once and list(path.parent.iterdir()) == [path]
    assert len(read(path.parent).Scalars("step/mu")) == len(events("step"))


def test_each_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    runs = [Run(path) for path in sorted(HOME.iterdir())]
    paths = export_runs(runs, tmp_path, ["csv", "tensorboard"])[4:]
    assert [path.parent.name for path in paths] == ["k-0.k=16", "quickstart", "k-0.k=8", "k-ternary", "k-0.k=4"]
    assert {path.parent.parent for path in paths} == {tmp_path / "tensorboard"}


def test_a_run_that_has_not_begun_has_its_scheme(tmp_path: Path) -> None:
    run = Run(tmp_path / "abcd-x")
    run.folder.mkdir()
    (path,) = export_runs([run], tmp_path / "out", ["tensorboard"])
    assert read(path.parent).Tags()["scalars"] == []


def test_without_the_package_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(BadInput) as caught:
        export_runs([RUN], tmp_path / "out", ["csv", "tensorboard"])
    assert caught.value.lines() == ["--format: tensorboard needs a package: pip install 'lctui[tensorboard]'"]
    assert not (tmp_path / "out").exists()
