"""Two of everything, in real processes: one does the work, the others wait or say so, and nothing is done twice."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import atomic
from lctui.runs.locks import is_held
from lctui.runs.queue import Queue
from lctui.runs.store import Run, Store, new_run
from lctui.runs.study_record import StudyRecord, find_record
from lctui.scheme import Scheme
from lctui.scheme.study import Study, parse_study
from tests.conftest import without_times
from tests.folders.make import SCHEME, STUDY
from tests.runs.children import HOLD, child, until
from tests.runs.forked import Forked

FOLDERS = Path(__file__).parent / "folders"
LONGER = SCHEME | {"l_step": {"epochs": 40, "batch_size": 8, "lr": 0.05}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where the small net is."""
    shutil.copy(FOLDERS / "code" / "small.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home(here: Path) -> Path:
    """A home that is not there yet."""
    return here / "home"


def write(folder: Path, name: str, raw: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps(raw))
    return path


def is_in(home: Path, phase: str) -> bool:
    """Is a run that far?"""
    return any(run.read("status.json").get("progress", {}).get("phase") == phase for run in Store(home).folders())


def counted(run: Run) -> Counter[str]:
    """How often each kind of event is in the file."""
    lines = run.file("events.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["event"] for line in lines)


def runs_of(process: Forked) -> list[dict[str, Any]]:
    """The results that a study printed when it had ended well."""
    assert process.ended() == 0, process.errors()
    return json.loads(process.out.read_text())["runs"]


def test_two_that_run_one_study_train_each_run_once(here: Path, home: Path) -> None:
    rows = [{"name": "a"}, {"name": "b", "set": {"seed": 5, "l_step.epochs": 1}}]
    path = write(here, "study.json", STUDY | {"base": LONGER, "variants": rows})
    first = Forked(here, home, "--run", path, stands_at="epoch")
    with first.held():
        second, third = Forked(here, home, "--run", path), Forked(here, home, "--run", path)
        waiting = "waits for another lctui that runs this study\n"
        second.says(waiting)
        third.says(waiting)
        third.signal(signal.SIGINT)  # whoever waits can be told to stop
        assert third.ended() == 130
        assert len(Store(home).folders()) == 1
    results = runs_of(first)
    assert runs_of(second) == results
    assert second.errors().count(waiting) == 1 and second.errors().count("already done") == 2
    runs = Store(home).folders()
    assert {run.id for run in runs} == {result["id"] for result in results} and len(runs) == 2
    for run in runs:
        events = counted(run)
        assert (events["run_started"], events["run_resumed"], events["run_finished"]) == (1, 0, 1)
        assert events["step"] == 4
    assert set(find_record(home, "small study").runs.values()) == {run.id for run in runs}


def test_a_run_that_another_study_is_at_is_waited_for_and_reused(here: Path, home: Path) -> None:
    mine = write(here, "mine.json", STUDY | {"study": "mine", "base": LONGER})
    theirs = write(here, "theirs.json", STUDY | {"study": "theirs", "base": LONGER, "variants": [{"name": "x"}]})
    first = Forked(here, home, "--run", mine, stands_at="epoch")
    with first.held():
        second = Forked(here, home, "--run", theirs)
        (run,) = Store(home).folders()
        second.says(f"waits for run {run.id}, which is the same and under way\n")
    assert runs_of(first) == runs_of(second)
    assert Store(home).folders() == [run]
    assert counted(run)["step"] == 4 and counted(run)["run_resumed"] == 0


def test_two_workers_on_one_run(here: Path, home: Path) -> None:
    shutil.copytree(FOLDERS / "format-1", home)
    run = Run(home / "runs" / "half")
    whole = next(run for run in Store(home).folders() if run.status() == "finished")
    arguments = (run.folder, "--home", home, "--device", "cpu")
    first = Forked(here, home, *arguments, worker=True, stands_at="epoch")
    assert run.status() == "running"
    with first.held():
        second = Forked(here, home, *arguments, worker=True)
        assert (second.ended(), second.errors()) == (2, "half: is running already\n")
    assert first.ended() == 0
    late = Forked(here, home, *arguments, worker=True)
    assert (late.ended(), late.errors()) == (2, "half: is finished: another worker has seen to it\n")
    assert run.status() == "finished"
    assert counted(run) == counted(whole) + Counter(run_interrupted=1, run_resumed=1) - Counter(reference_epoch=3)
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in whole.folder.iterdir()}


def test_a_reference_that_two_share_is_taken_over_from_whom_is_killed(here: Path, home: Path) -> None:
    raw = LONGER | {"reference": {"epochs": 80, "batch_size": 8, "lr": 0.05}, "l_step": SCHEME["l_step"]}
    a, b = ({"name": name, "compress": raw["compress"][place : place + 1]} for place, name in enumerate("ab"))
    first = Forked(here, home, "--run", write(here, "a.json", raw | a), stands_at="reference_epoch")
    with first.held():
        second = Forked(here, home, "--run", write(here, "b.json", raw | b))
        until(lambda: is_in(home, "waiting"))
        first.signal(signal.SIGKILL)
        first.ended()
    undisturbed = Forked(here, here / "elsewhere", "--run", here / "b.json")
    assert (second.ended(), undisturbed.ended()) == (0, 0)
    mine, theirs = (json.loads(process.out.read_text()) for process in (second, undisturbed))
    events = Run(home / "runs" / mine["id"]).events()
    resumed = next(event for event in events if event["event"] == "run_resumed")
    epochs = [event["epoch"] for event in events if event["event"] == "reference_epoch"]
    assert resumed["epoch"] >= 1 and epochs == list(range(resumed["epoch"] + 1, 81))
    assert without_times(mine) == without_times(theirs)
    (taken_over,), (whole,) = (
        list(each.glob("references/*/reference.safetensors")) for each in (home, here / "elsewhere")
    )
    assert taken_over.read_bytes() == whole.read_bytes()


def test_a_study_is_queued_once_and_taken_out_of_the_queue_by_who_runs_it(here: Path, home: Path) -> None:
    """The device is busy with another run, so that the queue cannot get to it first."""
    store = Store(home)
    other = new_run(store, Scheme.model_validate(SCHEME | {"seed": 9}), "cpu")
    path = write(here, "study.json", STUDY)
    with child(HOLD, other.file("lock")):
        atomic.write_json(other.file("status.json"), {"state": "running"})
        queueing = [Forked(here, home, "--run", path, "--queue", "--device", "cpu") for _ in range(2)]
        assert [process.ended() for process in queueing] == [0, 0]
        (queued,) = "".join(process.out.read_text() for process in queueing).split()
        assert [entry.id for entry in Queue(store).entries()] == [queued]
        process = Forked(here, home, "--run", path, "--device", "cpu")
        assert [run["id"] for run in runs_of(process)] == [queued]
        assert f"run {queued} is taken out of the queue: it is the same\n" in process.errors()
        assert Queue(store).entries() == []
        until(lambda: not is_held(Queue(store).lane_file("cpu", "lock")))
    assert counted(Run(store.runs_folder / queued))["step"] == 4 and len(store.folders()) == 2


ADDS = """
import sys
from pathlib import Path
from lctui.runs.study_record import StudyRecord
from lctui.scheme.study import load_file
study = load_file(Path(sys.argv[1]))
record = StudyRecord.open(Path(sys.argv[2]), study)
print("ready", flush=True)
sys.stdin.readline()
for scheme in study.schemes[int(sys.argv[3]) :: 2]:
    record.add(scheme, {"id": f"run-{scheme.seed}"})
"""


def test_a_studys_record_loses_nothing_to_two_writers(here: Path, tmp_path: Path) -> None:
    rows = [{"name": f"r{n}", "set": {"seed": n}} for n in range(30)]
    path = write(here, "study.json", STUDY | {"variants": rows})
    with child(ADDS, path, tmp_path, "0") as even, child(ADDS, path, tmp_path, "1") as odd:
        for writer in (even, odd):
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert (even.wait(60), odd.wait(60)) == (0, 0)
    record = find_record(tmp_path, "small study")
    assert sorted(record.runs.values()) == sorted(f"run-{n}" for n in range(30))


def test_a_record_that_is_opened_again_keeps_what_others_added(here: Path, tmp_path: Path) -> None:
    study = parse_study(STUDY, "study.json", {})
    assert isinstance(study, Study)
    mine, theirs = StudyRecord.open(tmp_path, study), StudyRecord.open(tmp_path, study)
    theirs.add(study.schemes[0], {"id": "abcd"})
    mine.add(study.schemes[0].model_copy(update={"seed": 7}), {"id": "efgh"})
    assert sorted(StudyRecord.open(tmp_path, study).runs.values()) == ["abcd", "efgh"]
