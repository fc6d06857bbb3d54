"""Running out of memory, really: one line of advice, nothing lost, and the very numbers once there is more of it."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

import lctui
from lctui import execution
from lctui.errors import BadInput, OutOfMemory
from lctui.memory import is_out_of_memory, memory_for
from lctui.prepare import prepare
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import tiny, without_times
from tests.limited import limited

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited by Linux's means")

ROOM = 180
"""MiB: enough for the images, for evaluating LeNet5, and for training it on small batches."""

MINE = """
import torch
def net():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10), torch.nn.Linear(10, 2))
def large_net():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 200_000), torch.nn.Linear(200_000, 2))
def large_data():
    images = torch.zeros(1_000_000, 784)
    return (images, torch.zeros(1_000_000, dtype=torch.int64)), (images, torch.zeros(1_000_000, dtype=torch.int64))
"""


def lenet5(**changes: Any) -> dict[str, Any]:
    """LeNet5 on four digits; the L step's batch holds all of them, thousands of times what the reference's does."""
    whole: dict[str, Any] = {
        "model": {"factory": "lenet5", "args": {"classes": 4}},
        "data": {"name": "mnist_sample", "classes": [0, 1, 3, 8]},
        "reference": {"epochs": 1, "batch_size": 64, "lr": 0.02},
        "compress": [{"layers": ["*"], "how": {"type": "quantize", "k": 2}}],
        "lc": {"mu": {"start": 0.001, "steps": 2}},
        "l_step": {"epochs": 1, "batch_size": 5000, "lr": 0.05},
    }
    return tiny(**(whole | changes))


def resume(run: Run, home: Path) -> dict[str, Any]:
    return execution.execute(run, prepare(run.scheme(), home, "cpu", ""), home, StopRequest(), execution.Nobody())


def assert_alike(run: Run, result: dict[str, Any], other: Run, wanted: dict[str, Any]) -> None:
    assert without_times(result) == without_times(wanted)
    mine, theirs = (lctui.load(each.file("compressed.safetensors")) for each in (run, other))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@linux
def test_a_run_that_runs_out_of_memory_says_what_to_lower_and_goes_on_where_there_is_more(tmp_path: Path) -> None:
    home, mine = tmp_path / "home", tmp_path / "mine.py"
    mine.write_text(MINE)
    both = {"compress": [{"layers": ["2"], "how": {"type": "quantize", "k": 2}}]}
    files = {
        "large_net": tiny(model={"factory": f"{mine}:large_net"}, **both),
        "large_data": tiny(model={"factory": f"{mine}:net"}, data={"name": f"{mine}:large_data"}, **both),
        "l_step": lenet5(),
        "reference": lenet5(reference={"epochs": 1, "batch_size": 5000, "lr": 0.02}),
    }
    for name, scheme in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(scheme))
    worker_run = new_run(Store(tmp_path / "other"), Scheme.model_validate(files["large_net"]), "cpu")
    jobs: list[dict[str, Any]] = [
        {"command": ["--run", str(tmp_path / f"{name}.json"), "--quiet", "--home", str(home)], "room": ROOM}
        for name in files
    ]
    jobs.append(
        {"worker": [str(worker_run.folder), "--home", str(tmp_path / "other"), "--device", "cpu"], "room": ROOM}
    )
    net, data, l_step, reference, worker = limited(jobs, home)

    assert [end["code"] for end in (net, data, l_step, reference, worker)] == [1] * 5
    # Before there was a run, nothing was written.
    assert net["out"] == data["out"] == ""
    assert "598 MiB more were asked for) for the net: take a smaller model" in net["err"]
    assert "2.92 GiB" in data["err"] or "2,991 MiB more were asked for) for the data: take fewer" in data["err"]
    assert len(net["err"].splitlines()) == len(data["err"].splitlines()) == 1
    # A worker's run was there before it.
    assert worker_run.status() == "failed" and "for the net" in str(worker_run.summary()["error"])

    for end, setting in ((l_step, "l_step.batch_size"), (reference, "reference.batch_size")):
        assert end["err"].startswith("lctui: out of memory (") and setting in end["err"]
        assert len(end["err"].splitlines()) == 1
        run = Store(home).find(json.loads(end["out"])["id"])
        assert run.status() == "failed"
        assert run.read("result.json")["error"] == run.summary()["error"] == end["err"].strip()[len("lctui: ") :]
        assert run.events()[-1]["event"] == "run_failed"
        assert f"`lctui resume {run.id}` goes on" in end["err"]

    run = Store(home).find(json.loads(l_step["out"])["id"])
    assert run.read("result.json")["direct"] is not None
    checkpoint = run.file("checkpoint.safetensors").read_bytes()
    undisturbed = new_run(Store(tmp_path / "undisturbed"), run.scheme(), "cpu")
    wanted = resume(undisturbed, tmp_path / "undisturbed")
    assert run.file("checkpoint.safetensors").read_bytes() == checkpoint
    assert_alike(run, resume(run, home), undisturbed, wanted)


@linux
def test_memory_that_runs_out_between_epochs_costs_no_more_than_what_was_under_way(tmp_path: Path) -> None:
    """In the C step, in evaluating the net and in writing the file: a failure like any other."""
    wanted_run = new_run(Store(tmp_path), Scheme.model_validate(tiny()), "cpu")
    wanted = resume(wanted_run, tmp_path)
    moments = [("epoch", 2), ("step", 3)]
    runs = [new_run(Store(tmp_path), wanted_run.scheme(), "cpu") for _ in moments]
    jobs = [
        {"execute": str(run.folder), "room": 0.1, "at": at, "number": number}
        for run, (at, number) in zip(runs, moments, strict=True)
    ]
    ends = limited(jobs, tmp_path)
    errors = [run.summary()["error"] for run in runs]
    assert [end["code"] for end in ends] == [1, 1]
    assert [run.status() for run in runs] == ["failed", "failed"]
    assert "in the C step of LC step 1" in errors[0] and "for the compressed file" in errors[1]
    for run in runs:
        assert_alike(run, resume(run, tmp_path), wanted_run, wanted)


NOT_ENOUGH = [
    MemoryError(),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of"),
    SafetensorError("Error while deserializing header: I/O error: Cannot allocate memory (os error 12)"),
]
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("out of memory"),
    BadInput.one("", "data.name", "out of memory"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", NOT_ENOUGH, ids=repr)
def test_errors_that_say_that_memory_ran_out_are_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    with (
        pytest.raises(OutOfMemory, match=r"^out of (GPU )?memory \(.*\) in here: do this$"),
        memory_for("in here", "do this"),
    ):
        raise error
    # Whoever words an error of the user's code keeps what it came of.
    with pytest.raises(OutOfMemory, match="in here"), memory_for("in here", "do this"):
        try:
            raise error
        except Exception as cause:
            raise BadInput.one("", "data.name", "raised something") from cause


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors_are_left_as_they_are(error: BaseException) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, memory_for("in here", "do this"):
        raise error
    assert raised.value is error


def test_how_much_was_asked_for_is_said() -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^out of GPU memory \(20 MiB more were asked for\) in here"),
        memory_for("in here", "do this"),
    ):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has")
