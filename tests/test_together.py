"""Runs that train together: each is what it would be alone, in a folder of its own, and free to leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lctui import execution
from lctui.errors import Diverged, Interrupted, LctuiError, RunFailed
from lctui.events import Event
from lctui.execution import Execution, Nobody
from lctui.prepare import prepare
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from lctui.studies import alike
from lctui.together import execute_together
from tests.conftest import Cli, tiny

CHANGES: list[dict[str, Any]] = [
    {"compress": [{"layers": ["fc1"], "how": {"type": "prune", "kappa": 4000}}]},
    {"compress": [{"layers": ["fc*"], "how": {"type": "quantize", "k": 4}}]},
    {"lc": {"mu": {"start": 0.02, "factor": 1.3, "steps": 3}}},
    {"lc": {"method": "quadratic_penalty", "mu": {"start": 0.01, "factor": 1.5, "steps": 2}}},
]
"""Four runs of one net on one data set: other tasks, another μ, another method and fewer steps."""


def start(home: Path, changes: list[dict[str, Any]]) -> list[Run]:
    schemes = [Scheme.model_validate(tiny(name=f"m{i}") | change) for i, change in enumerate(changes)]
    return [new_run(Store(home), scheme, "cpu") for scheme in schemes]


def execute(
    home: Path,
    runs: list[Run],
    size: int = 99,
    watch: Callable[[int], execution.Observer] = lambda i: Nobody(),
    workers: int = 1,
) -> dict[str, LctuiError | None]:
    """Executes runs together; what each of them ended with."""
    executions = [
        Execution(run, prepare(run.scheme(), home, "cpu", ""), home, StopRequest(), watch(i))
        for i, run in enumerate(runs)
    ]
    return {one.run.id: error for one, error in execute_together(executions, size, workers)}


def steps(run: Run) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] == "step"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Run]]:
    """The four runs, one after the other."""
    home = tmp_path_factory.mktemp("alone")
    runs = start(home, CHANGES)
    for run in runs:
        execution.execute(run, prepare(run.scheme(), home, "cpu", ""), home, StopRequest(), Nobody())
    return home, runs


def assert_alike(runs: list[Run], wanted: list[Run]) -> None:
    for run, other in zip(runs, wanted, strict=True):
        assert run.status() == other.status() == "finished"
        for step, twin in zip(steps(run), steps(other), strict=True):
            assert all(step[name] == twin[name] for name in ("step", "mu", "lr"))
            assert step["loss"] == pytest.approx(twin["loss"], rel=1e-2)
            assert step["gap"] == pytest.approx(twin["gap"], rel=1e-2)
            assert step["test_error_pct"] == pytest.approx(twin["test_error_pct"], abs=1.0)


@pytest.mark.parametrize(("size", "workers"), [(99, 1), (3, 4)])
def test_each_run_is_what_it_is_alone(alone: tuple[Path, list[Run]], tmp_path: Path, size: int, workers: int) -> None:
    runs = start(tmp_path, CHANGES)
    assert set(execute(tmp_path, runs, size, workers=workers).values()) == {None}
    assert_alike(runs, alone[1])
    together = [event["together"] for event in runs[0].events() if event["event"] == "epoch"]
    assert max(together) == min(size, 4)
    # The one with fewer steps has left by the last.
    assert len(steps(runs[3])) == 2 and len(steps(runs[0])) == 3
    lines = [run.file("worker.log").read_text() for run in runs]
    assert all(lines[i].count("RunFinished") == 1 for i in range(4)), "a log holds its own run's lines"


class StopsItself:
    """An observer that asks for its own run's stop once an event has come."""

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name

    def event(self, event: Event) -> None:
        if event.event == self.name:
            self.run.file("stop").touch()

    def progress(self, progress: object) -> None:
        pass


def test_one_run_is_stopped_and_the_others_go_on(alone: tuple[Path, list[Run]], tmp_path: Path) -> None:
    changes = [*CHANGES[:3]]
    # Long enough that the request, looked for once a second, comes in time.
    changes[1] = changes[1] | {"lc": {"mu": {"start": 0.01, "factor": 1.0001, "steps": 5000}}}
    runs = start(tmp_path, changes)
    ends = execute(tmp_path, runs, watch=lambda i: StopsItself(runs[i], "step") if i == 1 else Nobody())
    assert [type(ends[run.id]) for run in runs] == [type(None), Interrupted, type(None)]
    assert [run.status() for run in runs] == ["finished", "interrupted", "finished"]
    assert_alike([runs[0], runs[2]], [alone[1][0], alone[1][2]])
    assert 1 <= len(steps(runs[1])) < 5000
    assert runs[1].file("checkpoint.safetensors").exists()


def test_one_run_diverges_and_the_others_go_on(alone: tuple[Path, list[Run]], tmp_path: Path) -> None:
    broken = {"lc": {"mu": {"start": 1e8, "factor": 1.5, "steps": 3}}, "l_step": tiny()["l_step"] | {"clip_lr": False}}
    other = [change | {"l_step": broken["l_step"]} for change in CHANGES[:2]]
    runs = start(tmp_path, [other[0], broken, other[1]])
    ends = execute(tmp_path, runs)
    assert [type(ends[run.id]) for run in runs] == [type(None), Diverged, type(None)]
    assert "clip_lr" in runs[1].read("result.json")["error"]
    assert [run.status() for run in runs] == ["finished", "diverged", "finished"]


def test_whoever_stops_listening_interrupts_the_runs_and_they_can_be_resumed(
    alone: tuple[Path, list[Run]], tmp_path: Path
) -> None:
    runs = start(tmp_path, CHANGES)
    executions = [
        Execution(run, prepare(run.scheme(), tmp_path, "cpu", ""), tmp_path, StopRequest(), Nobody()) for run in runs
    ]
    ending = execute_together(executions, 99)
    first, error = next(ending)  # the one with fewer steps
    assert error is None and first.run.id == runs[3].id
    ending.close()
    assert [run.status() for run in runs] == ["interrupted"] * 3 + ["finished"]
    assert set(execute(tmp_path, runs[:3]).values()) == {None}
    assert_alike(runs, alone[1])


def test_runs_that_are_closed_in_the_middle_of_an_epoch_go_on_exactly(
    alone: tuple[Path, list[Run]], tmp_path: Path
) -> None:
    """A neighbour's stop leaves the others in mid-epoch; whoever closes them then must find what they stand for."""
    runs = start(tmp_path, CHANGES[:2])
    asked = 0

    class After(StopRequest):
        def __call__(self) -> bool:
            nonlocal asked
            asked += 1
            return asked > 17  # two epochs of twelve batches a step: in the second epoch

    executions = [
        Execution(run, prepare(run.scheme(), tmp_path, "cpu", ""), tmp_path, stop, Nobody())
        for run, stop in zip(runs, (After(), StopRequest()), strict=True)
    ]
    prepared_alone = executions[0].prepared
    execution.execute(
        new_run(Store(tmp_path), prepared_alone.scheme, "cpu"), prepared_alone, tmp_path, StopRequest(), Nobody()
    )  # trains the reference, so that the stop is asked for in the L step alone
    ending = execute_together(executions, 99)
    first, error = next(ending)
    assert first.run.id == runs[0].id and isinstance(error, Interrupted)
    ending.close()
    stopped = [run.events()[-1] for run in runs]
    assert [event["event"] for event in stopped] == ["run_interrupted"] * 2
    assert stopped[0]["batch"] == stopped[1]["batch"] > 0
    assert set(execute(tmp_path, runs).values()) == {None}
    assert_alike(runs, alone[1][:2])


def test_an_unexpected_error_of_one_run_ends_that_run_alone(alone: tuple[Path, list[Run]], tmp_path: Path) -> None:
    runs = start(tmp_path, CHANGES[:3])

    class Breaks(Nobody):
        def event(self, event: Event) -> None:
            if event.event == "step":
                raise RuntimeError("a bug in here")

    ends = execute(tmp_path, runs, watch=lambda i: Breaks() if i == 1 else Nobody())
    assert [type(ends[run.id]) for run in runs] == [type(None), RunFailed, type(None)]
    assert [run.status() for run in runs] == ["finished", "failed", "finished"]


def test_schemes_are_alike_if_they_share_net_data_reference_and_l_step() -> None:
    schemes = [Scheme.model_validate(tiny(name=f"m{i}") | change) for i, change in enumerate(CHANGES)]
    odd = Scheme.model_validate(tiny(seed=4))
    slow = Scheme.model_validate(tiny(l_step=tiny()["l_step"] | {"lr": 0.01}))
    mixed = [schemes[0], odd, schemes[1], slow, schemes[2], schemes[3]]
    assert list(alike(mixed, 99)) == [schemes, [odd], [slow]]
    assert list(alike(mixed, 3)) == [schemes[:3], schemes[3:], [odd], [slow]]
    assert list(alike(mixed, 1)) == [[scheme] for scheme in mixed]


def write_study(folder: Path) -> Path:
    path = folder / "study.json"
    study = {"version": 1, "study": "s", "base": tiny(), "grid": {"compress.0.how.kappa": [1000, 3000, 5000]}}
    path.write_text(json.dumps(study))
    return path


def test_a_study_trains_its_runs_together_and_reuses_them(cli: Cli, tmp_path: Path) -> None:
    path = write_study(tmp_path)
    done = cli("--run", path, "--ensemble", "2")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["runs"]
    assert [result["layers"][0]["nonzeros"] for result in results] == [1000, 3000, 5000]
    assert "2 runs train together" in done.stderr and "step   3/3" in done.stderr
    again = cli("--run", path, "--ensemble", "off")
    assert json.loads(again.stdout)["runs"] == results
    assert "together" not in again.stderr


def test_a_study_that_is_interrupted_keeps_all_its_runs(cli: Cli, tmp_path: Path) -> None:
    path = write_study(tmp_path)
    long = ["--set", "lc.mu.steps=2000", "--set", "lc.mu.factor=1.001"]
    process = cli.start("--run", path, "--ensemble", "3", *long)
    assert process.stderr is not None
    for line in process.stderr:
        if "step" in line:
            break
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert [Run(path).status() for path in cli.runs()] == ["interrupted"] * 3


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_an_ensemble_of_nonsense_is_one_line(cli: Cli, tmp_path: Path, value: str) -> None:
    done = cli("--run", write_study(tmp_path), f"--ensemble={value}")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"--ensemble: {value!r} must be off, auto or a number from 1 to 9999\n"
    assert cli.runs() == []


def test_an_ensemble_is_for_studies_that_run_here(cli: Cli, tmp_path: Path, scheme_file: Any) -> None:
    for arguments in ([scheme_file()], [write_study(tmp_path), "--queue"], [write_study(tmp_path), "--detach"]):
        done = cli("--run", *arguments, "--ensemble", "2")
        assert done.returncode == 2 and "--ensemble: goes with a study" in done.stderr
    assert cli.runs() == []
