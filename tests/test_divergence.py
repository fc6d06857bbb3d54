"""Numbers that stop being finite: which setting is named, what is kept, and that nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lctui import execution
from lctui.errors import BadInput, Diverged
from lctui.learning.ensemble import Ensemble
from lctui.learning.evaluate import error_of
from lctui.learning.resident import Resident
from lctui.prepare import prepare
from lctui.runs.control import prepare_to_resume
from lctui.runs.status import Progress
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import Cli, tiny
from tests.learning.test_ensemble import make_data, make_trainers, turns_of

L_STEP: dict[str, Any] = {"epochs": 1, "batch_size": 64, "lr": 0.05, "clip_lr": False}


def start(home: Path, **changes: Any) -> Run:
    return new_run(Store(home), Scheme.model_validate(tiny(**changes)), "cpu")


def work(home: Path, run: Run, observer: Any = None, stop: StopRequest | None = None) -> Any:
    prepared = prepare(run.scheme(), home, "cpu", "")
    return execution.execute(run, prepared, home, stop or StopRequest(), observer or execution.Nobody())


class StopsAfter(execution.Nobody):
    """Asks for a stop after so many batches of a phase."""

    def __init__(self, stop: StopRequest, phase: str, batches: int) -> None:
        self.stop, self.phase, self.left = stop, phase, batches

    def progress(self, progress: Progress) -> None:
        self.left -= progress.phase == self.phase
        if self.left == 0:
            self.stop.flag.set()


def assert_finite(path: Path) -> None:
    tensors = load_file(path)
    assert tensors
    assert all(bool(each.isfinite().all()) for each in tensors.values() if each.is_floating_point())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"l_step": L_STEP | {"lr": 1e9}}, ["LC step 1, epoch 1", "l_step.lr (here 1e+09)", "1/μ = 100", "clip_lr"]),
        ({"l_step": L_STEP | {"lr": 1e9}, "lc": {"mu": {"start": 1e-10, "steps": 2}}}, ["lower l_step.lr (here 1e+09"]),
        ({"lc": {"mu": {"start": 1e8, "steps": 2}}, "l_step": L_STEP}, ["above 1/μ = 1e-08", "lc.mu.start"]),
        ({"reference": {"epochs": 1, "batch_size": 32, "lr": 1e9}}, ["reference epoch 1", "reference.lr (here 1e+09)"]),
    ],
)
def test_a_run_that_diverges_names_the_setting_to_look_at(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    run = start(tmp_path, **changes)
    with pytest.raises(Diverged):
        work(tmp_path, run)
    error = run.read("result.json")["error"]
    assert run.status() == "diverged" and all(word in error for word in words), error
    assert list(tmp_path.glob("references/*/checkpoint.safetensors")) == []
    if "reference" not in changes:
        assert_finite(run.file("checkpoint.safetensors"))


@pytest.mark.parametrize("phase", ["reference", "l_step"])
def test_a_stop_in_the_middle_of_an_epoch_that_has_diverged_keeps_nothing_of_it(tmp_path: Path, phase: str) -> None:
    settings: dict[str, Any] = {"reference": {"epochs": 1, "batch_size": 32, "lr": 1e9}}
    run = start(tmp_path, **(settings if phase == "reference" else {"l_step": L_STEP | {"lr": 1e9}}))
    stop = StopRequest()
    with pytest.raises(Diverged):
        work(tmp_path, run, StopsAfter(stop, phase, 10), stop)
    assert stop() and run.status() == "diverged"
    assert list(tmp_path.glob("references/*/checkpoint.safetensors")) == []
    if phase == "l_step":
        assert_finite(run.file("checkpoint.safetensors"))


def test_a_run_that_is_closed_with_numbers_that_are_not_finite_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """As happens to one that trains beside others: closed before it could look at its own epoch."""
    run = start(tmp_path)
    one = execution.Execution(
        run, prepare(run.scheme(), tmp_path, "cpu", ""), tmp_path, StopRequest(), execution.Nobody()
    )
    course = one.turns()
    next(course)
    next(course)
    before = run.file("checkpoint.safetensors").read_bytes()
    one.net.w[0] = torch.inf
    course.close()
    assert run.status() == "interrupted"
    assert run.file("checkpoint.safetensors").read_bytes() == before
    assert work(tmp_path, run)["status"] == "finished"


def test_a_diverged_run_is_not_resumed_and_says_why(cli: Cli, scheme_file: Any) -> None:
    done = cli("--run", scheme_file(l_step=L_STEP | {"lr": 1e9}), "--quiet")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and "l_step.lr" in done.stderr
    run = Run(cli.runs()[0])
    again = cli("resume", run.id)
    assert again.returncode == 2 and again.stdout == ""
    assert again.stderr.startswith(
        f"{run.id}: has diverged (the loss or the weights in LC step 1, epoch 1 are no longer"
    )
    assert "start a new run" in again.stderr and len(again.stderr.splitlines()) == 1
    assert run.status() == "diverged"
    with pytest.raises(BadInput, match="the same numbers would do so again"):
        prepare_to_resume(run)


def test_one_of_several_nets_that_diverges_leaves_the_others_numbers_as_they_are() -> None:
    data = make_data()
    sound, beside = make_trainers(data), make_trainers(data)
    for trainers, rate in ((sound, 0.04), (beside, 1e30)):
        turns = turns_of(trainers)
        turns[1].lr = rate
        Ensemble(99).train(turns)
        assert [turn.together for turn in turns] == [3, 3, 3]
    assert not beside[1].net.w.isfinite().all()
    for place in (0, 2):
        assert torch.equal(sound[place].net.w, beside[place].net.w)
        assert torch.equal(sound[place].momentum, beside[place].momentum)


def test_a_net_that_answers_with_no_number_is_wrong() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 3), torch.nan)

    data = Resident(torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64), torch.device("cpu"))
    assert error_of(Broken(), data) == 100


def test_a_mu_that_float32_cannot_hold_is_refused() -> None:
    Scheme.model_validate(tiny(lc={"mu": {"start": 1e-30}}))
    with pytest.raises(ValueError, match="at least 1e-30"):
        Scheme.model_validate(tiny(lc={"mu": {"start": 1e-31}}))


def test_a_run_whose_process_was_killed_says_what_that_may_mean(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.file("status.json").write_text('{"state": "running", "progress": {"step": 2, "steps": 3}}')
    said = run.summary()
    assert said["status"] == "crashed"
    assert said["error"] == (
        f"its process ended without a word: killed, or out of memory; `lctui resume {run.id}` goes on from LC step 2"
    )
