"""The queue: every run in its turn, one at a time on a device, and nothing lost however many edit it or die over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.runs import atomic, process
from lctui.runs import queue as queue_module
from lctui.runs.control import request_stop
from lctui.runs.dispatch import dispatch
from lctui.runs.locks import Lock, is_held
from lctui.runs.process import Identity, start_time
from lctui.runs.queue import Entry, Queue, lane_of
from lctui.runs.status import START_GRACE_SECONDS
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import tiny
from tests.runs.children import HOLD, child, kill, until


def short(name: str, **changes: Any) -> Scheme:
    """Trains for a moment."""
    raw = {
        "name": name,
        "reference": {"epochs": 1, "batch_size": 32, "lr": 0.05},
        "compress": [{"layers": ["fc1"], "how": {"type": "quantize", "k": 2}}],
        "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 1}},
        "l_step": {"epochs": 1, "batch_size": 64, "lr": 0.05},
    }
    return Scheme.model_validate(tiny(**(raw | changes)))


def long(name: str) -> Scheme:
    """Trains until it is stopped."""
    return short(name, l_step={"epochs": 100_000, "batch_size": 64, "lr": 0.05})


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue; at the end, whatever is left of it is stopped, and its dispatcher has gone."""
    queue = Queue(Store(tmp_path / "home"))
    yield queue
    for entry in queue.entries():
        queue.withdraw(Run(queue.store.runs_folder / entry.id))
    for run in queue.at_work("cpu"):
        run.file("stop").touch()
    until(lambda: not queue.at_work("cpu") and not is_held(queue.lane_file("cpu", "lock")))


def idle(queue: Queue) -> None:
    """Waits until the lane has nothing to do and its dispatcher is gone."""
    until(lambda: not queue.has_work("cpu") and not is_held(queue.lane_file("cpu", "lock")))


@contextmanager
def busy(queue: Queue) -> Iterator[Run]:
    """The CPU has a run on it that nobody queued; killed at the end."""
    run = new_run(queue.store, short("other"), "cpu")
    with child(HOLD, run.file("lock")):
        atomic.write_json(run.file("status.json"), {"state": "running", "heartbeat_unix": time.time()})
        yield run


def said(queue: Queue) -> str:
    """What dispatchers printed."""
    log = queue.lane_file("cpu", "log")
    return log.read_text() if log.exists() else ""


def names(queue: Queue) -> list[str]:
    """The queue in order, by the schemes' names."""
    return [entry.id.partition("-")[2] for entry in queue.entries()]


def times(run: Run) -> tuple[str, str]:
    """When a finished run began and ended."""
    events = run.events()
    assert [events[0]["event"], events[-1]["event"]] == ["run_started", "run_finished"]
    return events[0]["time"], events[-1]["time"]


def test_queued_runs_run_in_order_and_never_two_at_once(queue: Queue) -> None:
    runs = queue.add([short("a"), short("b", seed=1)], "cpu", study="s")
    runs += queue.add([short("c", seed=2)], "cpu")
    assert [run.read("meta.json")["study"] for run in runs] == ["s", "s", None]
    idle(queue)
    assert [run.status() for run in runs] == ["finished"] * 3
    (_, a_ended), (b_began, b_ended), (c_began, _) = map(times, runs)
    assert a_ended <= b_began and b_ended <= c_began
    assert len({run.read("status.json")["pid"] for run in runs}) == 3
    assert atomic.read_json(queue.store.home / "queue.json") == {"version": 1, "order": [], "taken": []}


def test_the_order_is_edited_while_the_device_is_busy(queue: Queue) -> None:
    with busy(queue) as other:
        runs = queue.add([short(name) for name in "abcd"], "cpu")
        a, b, c, _ = (run.id for run in runs)
        until(lambda: f"waits for {other.id}" in said(queue))
        assert {run.status() for run in runs} == {"queued"}
        assert queue.entries()[0] == Entry(a, "cpu")
        queue.move(c, -2)
        assert names(queue) == ["c", "a", "b", "d"]
        queue.move(c, 1)
        assert names(queue) == ["a", "c", "b", "d"]
        queue.move(a, 99)
        assert names(queue) == ["c", "b", "d", "a"]
        queue.move(a, -99)
        assert names(queue) == ["a", "c", "b", "d"]
        queue.move_to(b, 0)
        assert names(queue) == ["b", "a", "c", "d"]
        queue.cancel(a)
        queue.cancel(c)
        queue.remove(runs[3])
        assert names(queue) == ["b"]
        assert not runs[3].folder.exists()
        for action in (queue.cancel, lambda run_id: queue.move(run_id, 1), lambda run_id: queue.move_to(run_id, 1)):
            with pytest.raises(BadInput) as caught:
                action(a)
            assert caught.value.lines() == [f"{a}: is not queued: interrupted"]
        with pytest.raises(BadInput, match="is running"):
            queue.remove(other)
    idle(queue)
    assert [run.status() for run in runs[:3]] == ["interrupted", "finished", "interrupted"]
    # What was cancelled can go on: here at the end of the queue.
    assert queue.add([runs[0]], "cpu") == [runs[0]]
    idle(queue)
    assert runs[0].status() == "finished" and runs[2].events() == []


def test_a_second_dispatcher_leaves_at_once(queue: Queue) -> None:
    with busy(queue) as other:
        queue.add([short("a")], "cpu")
        until(lambda: f"waits for {other.id}" in said(queue))
        command = [sys.executable, "-m", "lctui.runs.dispatch", "--home", str(queue.store.home), "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 and "another process works on cpu" in done.stderr
        begun = len(process._children)
        queue.ensure_dispatcher()
        assert len(process._children) == begun
        queue.cancel(queue.entries()[0].id)
        # Nothing waits for the device any more: the dispatcher does not either.
        until(lambda: not is_held(queue.lane_file("cpu", "lock")))


def test_a_dispatcher_that_is_killed_is_replaced_and_the_run_under_way_goes_on(queue: Queue) -> None:
    first, second = queue.add([long("first"), short("second")], "cpu")
    dispatcher = process._children[-1]
    until(lambda: "pid" in first.read("status.json"))
    dispatcher.kill()
    dispatcher.wait()
    worker = Identity(**{name: first.read("status.json")[name] for name in ("host", "pid", "started")})
    queue.ensure_dispatcher()
    until(lambda: f"waits for {first.id}" in said(queue))
    assert start_time(worker.pid) == worker.started
    assert [entry.id for entry in queue.entries()] == [second.id]
    assert request_stop(first) == "interrupted"
    idle(queue)
    assert second.status() == "finished"
    assert times(second)[0] >= first.events()[-1]["time"]


def test_runs_that_fail_do_not_stop_the_queue(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "ill.py").write_text(
        "import os\ndef dies():\n    os._exit(7)\ndef raises():\n    raise OSError('no')\n"
    )
    diverges = short("diverges", l_step={"epochs": 1, "batch_size": 64, "lr": 1e9, "clip_lr": False})
    dies, raises = (short(name, data={"name": f"{tmp_path / 'ill.py'}:{name}"}) for name in ("dies", "raises"))
    runs = queue.add([dies, raises, diverges, short("well")], "cpu")
    idle(queue)
    assert [run.status() for run in runs] == ["crashed", "failed", "diverged", "finished"]
    error = runs[0].summary()["error"]
    assert error == "the worker ended before the run began (exit code 7); see worker.log"
    assert "raised OSError: no" in runs[1].summary()["error"]


def test_a_run_whose_folder_is_gone_does_not_stop_the_queue(queue: Queue) -> None:
    with busy(queue):
        gone, well = queue.add([short("gone"), short("well")], "cpu")
        gone.folder.rename(queue.store.home / "elsewhere")
        assert names(queue) == ["well"]
    idle(queue)
    assert well.status() == "finished"


def test_a_run_that_was_taken_but_never_started_is_started(queue: Queue) -> None:
    """As a dispatcher leaves it that is killed between the two."""
    run = queue.store.create(short("taken"), {"requested_device": "cpu"}, "queued")
    assert queue.take("cpu") == run
    assert run.status() == "starting" and queue.entries() == []
    old = {"state": "starting", "heartbeat_unix": time.time() - START_GRACE_SECONDS - 5}
    atomic.write_json(run.file("status.json"), old)
    assert run.status() == "crashed"
    queue.ensure_dispatcher()
    until(lambda: run.status() != "crashed")
    idle(queue)
    assert run.status() == "finished"


def test_a_run_that_was_taken_and_is_still_queued_comes_first(queue: Queue) -> None:
    runs = [queue.store.create(short(name), {"requested_device": "cpu"}, "queued") for name in "abc"]
    order = [{"id": run.id, "device": "cpu"} for run in runs]
    atomic.write_json(queue.store.home / "queue.json", {"version": 1, "order": order[:2], "taken": order[2:]})
    assert names(queue) == ["c", "a", "b"]
    assert queue.take("cpu") == runs[2]
    atomic.write_json(runs[2].file("status.json"), {"state": "interrupted"})


def test_a_workers_surroundings_are_those_of_whoever_queued(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.py").write_text(
        "import os, pathlib, torch\n"
        "def net():\n"
        "    pathlib.Path('seen').write_text(os.environ['LCTUI_DATA'])\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 2))\n"
    )
    with busy(queue):
        queue.add([short("other")], "cpu")  # so that the dispatcher is somebody else's
        until(lambda: is_held(queue.lane_file("cpu", "lock")))
        monkeypatch.chdir(here)
        monkeypatch.setenv("LCTUI_DATA", "mine")
        (run,) = queue.add([short("a", model={"factory": "mine:net"}, compress=[])], "cpu")
        monkeypatch.undo()
    idle(queue)
    assert run.status() == "finished"
    assert (here / "seen").read_text() == "mine"


ADDS = """
import sys
from pathlib import Path
from lctui.runs.queue import Queue
from lctui.runs.store import Run, Store
from lctui.scheme import Scheme
queue, scheme = Queue(Store(Path(sys.argv[1]))), Scheme.load(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(4):
    name = f"{sys.argv[3]}{number}"
    print(*(run.id for run in queue.add([scheme.model_copy(update={"name": name})], "cpu")), flush=True)
"""


def test_several_processes_that_add_at_once_lose_nothing(queue: Queue, tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "scheme.json", short("x").dump())
    with busy(queue):
        arguments = (queue.store.home, tmp_path / "scheme.json")
        with child(ADDS, *arguments, "p") as p, child(ADDS, *arguments, "q") as q, child(ADDS, *arguments, "r") as r:
            printed = [adder.communicate("go\n", timeout=60)[0].split() for adder in (p, q, r)]
        ids = [entry.id for entry in queue.entries()]
        assert sorted(ids) == sorted(run_id for mine in printed for run_id in mine) and len(set(ids)) == 12
        for mine in printed:
            assert [run_id for run_id in ids if run_id in mine] == mine
        assert {Run(queue.store.runs_folder / run_id).status() for run_id in ids} == {"queued"}
        assert len([line for line in said(queue).splitlines() if "begins with cpu" in line]) == 1
        for run_id in ids:
            queue.cancel(run_id)


TAKES = """
import sys
from pathlib import Path
from lctui.runs.queue import Queue
from lctui.runs.store import Store
queue = Queue(Store(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
while (run := queue.take("cpu")) is not None:
    print(run.id, flush=True)
"""


def test_no_run_is_taken_twice(queue: Queue) -> None:
    runs = [queue.store.create(short(f"x{n}"), {"requested_device": "cpu"}, "queued") for n in range(12)]
    home = queue.store.home
    with child(TAKES, home) as p, child(TAKES, home) as q, child(TAKES, home) as r:
        for taker in (p, q, r):
            assert taker.stdin is not None
            taker.stdin.write("go\n")
            taker.stdin.flush()
        taken = [run_id for taker in (p, q, r) for run_id in taker.communicate(timeout=60)[0].split()]
    assert sorted(taken) == sorted(run.id for run in runs)
    for run in runs:
        atomic.write_json(run.file("status.json"), {"state": "interrupted"})


DAMAGE: list[tuple[str, Callable[[list[dict[str, str]]], str]]] = [
    ("missing entries", lambda order: json.dumps({"version": 1, "order": order[2:]})),
    ("a torn file", lambda order: json.dumps({"version": 1, "order": order})[:-30]),
    ("empty", lambda order: ""),
    ("a list", lambda order: json.dumps(order)),
    ("of another version", lambda order: json.dumps({"version": 0, "order": order[::-1]})),
    ("other types", lambda order: json.dumps({"version": 1, "order": {"id": 3}, "taken": 4})),
    (
        "other items",
        lambda order: json.dumps({"version": 1, "order": [1, None, {"id": []}, {"id": "../x"}], "taken": [2]}),
    ),
    (
        "strange names",
        lambda order: json.dumps({"version": 1, "order": [*order[2:], {"id": "../../x", "device": "../x"}, order[2]]}),
    ),
]


@pytest.mark.parametrize(("what", "damaged"), DAMAGE, ids=[what for what, _ in DAMAGE])
def test_a_damaged_file_loses_no_run(queue: Queue, what: str, damaged: Callable[[list[dict[str, str]]], str]) -> None:
    facts = {"requested_device": "cpu"}
    runs = [
        queue.store.create(short(name), facts | {"created": f"2026-01-0{n}"}, "queued")
        for n, name in enumerate("abc", 1)
    ]
    path = queue.store.home / "queue.json"
    path.write_text(damaged([{"id": run.id, "device": "cpu"} for run in runs]))
    expected = ["c", "a", "b"] if what in ("missing entries", "strange names") else ["a", "b", "c"]
    assert names(queue) == expected
    assert names(Queue(queue.store)) == expected
    queue.move(runs[2].id, 99)
    assert [entry["id"] for entry in json.loads(path.read_text())["order"]] == [run.id for run in runs]


def test_runs_that_come_later_are_seen_though_folders_are_remembered(queue: Queue) -> None:
    assert names(queue) == []
    queue.store.create(short("a"), {"requested_device": "cpu"}, "queued")
    assert names(queue) == ["a"]
    folder = queue.store.runs_folder
    os.utime(folder, (1, 1))  # long ago: now what was found is remembered
    assert names(queue) == ["a"]
    run = queue.store.create(short("b"), {"requested_device": "cpu"}, "queued")
    assert names(queue) == ["a", "b"]
    queue.remove(run)
    assert names(queue) == ["a"]


def test_a_clock_that_was_set_back_makes_nobody_look_through_all_folders_again_and_again(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = queue.store.create(short("a"), {}, "queued")
    looks: list[Path] = []
    folders = Store.folders
    monkeypatch.setattr(Store, "folders", lambda self: looks.append(self.home) or folders(self))
    later = time.time() + 86400
    os.utime(queue.store.runs_folder, (later, later))
    assert [queue.entries(), queue.entries()] == [[Entry(first.id, lane_of("auto"))]] * 2
    assert len(looks) == 1
    second = queue.store.create(short("b"), {}, "queued")
    assert {entry.id for entry in queue.entries()} == {first.id, second.id}


def test_a_dispatcher_leaves_only_when_nothing_was_added_meanwhile(queue: Queue) -> None:
    run = queue.store.create(short("a"), {"requested_device": "cpu"}, "queued")
    with Lock(queue.lane_file("cpu", "lock")) as lock:
        assert lock.acquire()
        assert not queue.leave("cpu", lock)
        assert is_held(lock.path)
        assert queue.leave("cuda:0", Lock(queue.lane_file("cuda:0", "lock")))
        queue.cancel(run.id)
        assert queue.leave("cpu", lock)
        assert not is_held(lock.path)


def test_a_lane_is_busy_with_whatever_is_on_its_device(queue: Queue) -> None:
    def working(requested: str, **facts: Any) -> tuple[Run, Lock]:
        run = queue.store.create(short("x"), {"requested_device": requested, **facts})
        lock = Lock(run.file("lock"))
        assert lock.acquire()
        return run, lock

    on_cpu, first = working("cpu")
    moved, second = working("cpu", device="cuda:1")
    starting = queue.store.create(short("y"), {"requested_device": "cuda"})
    queue.store.create(short("z"), {"requested_device": "cpu"}, "queued")
    with first, second:
        assert queue.at_work("cpu") == [on_cpu]
        assert queue.at_work("cuda:1") == [moved]
        assert queue.at_work("cuda:0") == [starting]
    atomic.write_json(starting.file("status.json"), {"state": "interrupted"})
    for run in queue.store.folders():
        atomic.write_json(run.file("status.json"), {"state": "interrupted"})


def test_auto_is_the_first_gpu_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (lane_of("cpu"), lane_of("cuda"), lane_of("cuda:0"), lane_of("cuda:3")) == (
        "cpu",
        "cuda:0",
        "cuda:0",
        "cuda:3",
    )
    monkeypatch.setattr(queue_module, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    assert lane_of("auto") == "cpu"
    (tmp_path / "nvidia1").touch()
    assert lane_of("auto") == "cuda:0"
    for visible, lane in (("0", "cuda:0"), ("1,2", "cuda:0"), ("GPU-8", "cuda:0"), ("", "cpu"), ("-1", "cpu")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert lane_of("auto") == lane


def test_what_cannot_be_queued_is_refused_in_one_line(queue: Queue, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        queue.add([short("a")], "tpu")
    assert caught.value.lines() == ["--device: 'tpu' is not a device: auto, cpu, cuda or cuda:N"]
    with busy(queue) as other, pytest.raises(BadInput, match="is running"):
        queue.add([other], "cpu")
    (tmp_path / "file").write_text("")
    nowhere = Queue(Store(tmp_path / "file" / "home"))
    with pytest.raises(BadInput, match="cannot be written to"):
        nowhere.add([short("a")], "cpu")
    assert nowhere.entries() == [] and queue.entries() == []
    nowhere.ensure_dispatcher()
    with pytest.raises(BadInput, match="x: is not queued: crashed"):
        queue.move("x", 1)


def test_a_killed_holder_of_the_queues_lock_blocks_nobody(queue: Queue) -> None:
    queue.store.home.mkdir()
    run = queue.store.create(short("a"), {"requested_device": "cpu"}, "queued")
    with child(HOLD, queue.store.home / "queue.lock") as holder:
        assert names(queue) == ["a"]
        kill(holder)
        queue.cancel(run.id)
    assert run.status() == "interrupted"


@pytest.mark.parametrize("chunk", [2, 50])
def test_what_was_queued_before_something_went_wrong_has_a_dispatcher(
    chunk: int, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "CHUNK", chunk)
    with busy(queue) as other:
        with pytest.raises(BadInput, match="is running"):
            queue.add([short("a"), short("b"), short("c"), other, short("d")], "cpu")
        assert names(queue) == ["a", "b", "c"]
        order = json.loads((queue.store.home / "queue.json").read_text())["order"]
        assert [Entry(**entry) for entry in order] == queue.entries()
        until(lambda: f"waits for {other.id}" in said(queue))
        for entry in queue.entries():
            queue.cancel(entry.id)


@pytest.mark.parametrize(
    "damage",
    [
        {"environment": {"LCTUI_DATA": "a\0b"}},
        {"environment": {"LCTUI\0DATA": "a"}},
        {"environment": {"A=B": "a"}},
        {"environment": {"LCTUI_DATA": 3, "PYTHONPATH": []}, "folder": 3, "device": "a\0b"},
    ],
)
def test_a_run_with_damaged_surroundings_is_buried(queue: Queue, damage: dict[str, Any]) -> None:
    facts = {"requested_device": damage.pop("device", "cpu"), "queued": {"lane": "cpu", **damage}}
    run = queue.store.create(short("damaged"), facts, "queued")
    assert dispatch(queue, "cpu")
    assert run.status() == "crashed"
    error = run.summary()["error"]
    assert error.startswith("no worker could be started: ") and "\n" not in error
