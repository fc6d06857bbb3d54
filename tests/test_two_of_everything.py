"""Two of everything, in real processes: one does the work, the others wait or say so, and nothing is done twice."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lctui.runs.store import Run, Store
from lctui.runs.study_record import StudyRecord, find_record
from lctui.scheme.study import Study, parse_study
from tests.conftest import Cli, without_times
from tests.folders.make import SCHEME, STUDY
from tests.runs.children import child, until

FOLDERS = Path(__file__).parent / "folders"
LONGER = SCHEME | {"l_step": {"epochs": 40, "batch_size": 8, "lr": 0.05}}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line, where the small net is."""
    shutil.copy(FOLDERS / "code" / "small.py", tmp_path)
    cli = Cli(tmp_path / "home")
    cli.env |= {"OMP_NUM_THREADS": "1"}
    return cli


def write(folder: Path, name: str, raw: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps(raw))
    return path


@contextmanager
def held(process: subprocess.Popen[str]) -> Iterator[None]:
    """The process stands still."""
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


def at_work(cli: Cli, phase: str = "l_step") -> bool:
    """Is a run that far?"""
    runs = Store(cli.home).folders()
    return any(run.read("status.json").get("progress", {}).get("phase") == phase for run in runs)


def counted(run: Run) -> Counter[str]:
    """How often each kind of event is in the file, torn or repeated or not."""
    lines = run.file("events.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["event"] for line in lines)


def said(process: subprocess.Popen[str], words: str) -> str:
    """What a process has said on stderr when it has come to these words."""
    assert process.stderr is not None
    lines = ""
    while words not in lines:
        line = process.stderr.readline()
        assert line, lines
        lines += line
    return lines


def test_two_that_run_one_study_train_each_run_once(cli: Cli, tmp_path: Path) -> None:
    rows = [{"name": "a"}, {"name": "b", "set": {"seed": 5, "l_step.epochs": 1}}]
    path = write(tmp_path, "study.json", STUDY | {"base": LONGER, "variants": rows})
    first = cli.start("--run", path)
    until(lambda: at_work(cli))
    with held(first):
        second, third = cli.start("--run", path), cli.start("--run", path)
        waiting = "waits for another lctui that runs this study\n"
        before = said(second, waiting)
        said(third, waiting)
        third.send_signal(signal.SIGINT)  # whoever waits can be told to stop
        assert third.wait(60) == 130
        assert len(cli.runs()) == 1
    outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert outcomes[0] == outcomes[1] and before.count(waiting) == 1
    runs = Store(cli.home).folders()
    assert {run.id for run in runs} == {result["id"] for result in outcomes[0]["runs"]} and len(runs) == 2
    for run in runs:
        events = counted(run)
        assert (events["run_started"], events["run_resumed"], events["run_finished"]) == (1, 0, 1)
        assert events["step"] == 4
    assert set(find_record(cli.home, "small study").runs.values()) == {run.id for run in runs}


def test_a_run_that_another_study_is_at_is_waited_for_and_reused(cli: Cli, tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.json", STUDY | {"study": "mine", "base": LONGER})
    theirs = write(tmp_path, "theirs.json", STUDY | {"study": "theirs", "base": LONGER, "variants": [{"name": "x"}]})
    first = cli.start("--run", mine)
    until(lambda: at_work(cli))
    with held(first):
        second = cli.start("--run", theirs)
        (run,) = Store(cli.home).folders()
        said(second, f"waits for run {run.id}, which is the same and under way\n")
    outcomes = [json.loads(process.communicate(timeout=60)[0])["runs"] for process in (first, second)]
    assert outcomes[0] == outcomes[1] and len(cli.runs()) == 1
    assert counted(run)["step"] == 4 and counted(run)["run_resumed"] == 0


def test_two_workers_on_one_run(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(FOLDERS / "format-1", cli.home)
    run = Run(cli.home / "runs" / "half")
    whole = next(run for run in Store(cli.home).folders() if run.status() == "finished")
    command = [sys.executable, "-m", "lctui.worker", str(run.folder), "--home", str(cli.home), "--device", "cpu"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": cli.env, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **options)
    until(lambda: run.status() == "running")
    with held(first):
        second = subprocess.run(command, **options, check=False, timeout=60)
        assert (second.returncode, second.stderr) == (2, "half: is running already\n")
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    late = subprocess.run(command, **options, check=False, timeout=60)
    assert (late.returncode, late.stderr) == (2, "half: is finished: another worker has seen to it\n")
    assert run.status() == "finished"
    assert counted(run) == counted(whole) + Counter(run_interrupted=1, run_resumed=1) - Counter(reference_epoch=3)
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in whole.folder.iterdir()}


def test_a_reference_that_two_share_is_taken_over_from_whom_is_killed(cli: Cli, tmp_path: Path) -> None:
    raw = LONGER | {"reference": {"epochs": 80, "batch_size": 8, "lr": 0.05}, "l_step": SCHEME["l_step"]}
    schemes = [raw | {"name": name, "compress": raw["compress"][place : place + 1]} for place, name in enumerate("ab")]
    first = cli.start("--run", write(tmp_path, "a.json", schemes[0]))
    until(lambda: any(cli.home.glob("references/*/checkpoint.safetensors")))
    with held(first):
        second = cli.start("--run", write(tmp_path, "b.json", schemes[1]))
        until(lambda: at_work(cli, "waiting"))
        first.kill()
        first.communicate()
    result = json.loads(second.communicate(timeout=60)[0])
    events = Run(cli.home / "runs" / result["id"]).events()
    resumed = next(event for event in events if event["event"] == "run_resumed")
    epochs = [event["epoch"] for event in events if event["event"] == "reference_epoch"]
    assert resumed["epoch"] >= 1 and epochs == list(range(resumed["epoch"] + 1, 81))
    undisturbed = Cli(tmp_path / "elsewhere")
    undisturbed.env |= {"OMP_NUM_THREADS": "1"}
    done = undisturbed("--run", tmp_path / "b.json", "--quiet")
    assert without_times(json.loads(done.stdout)) == without_times(result)
    (mine,), (theirs,) = (
        list(each.home.glob("references/*/reference.safetensors")) for each in (cli, undisturbed)
    )
    assert mine.read_bytes() == theirs.read_bytes()


def test_a_study_takes_its_run_out_of_the_queue_and_runs_it(cli: Cli, tmp_path: Path) -> None:
    """The device is busy with another run, so that the queue cannot get to it first."""
    from lctui.runs import atomic
    from lctui.runs.queue import Queue
    from lctui.runs.store import new_run
    from lctui.scheme import Scheme

    store = Store(cli.home)
    other = new_run(store, Scheme.model_validate(SCHEME | {"seed": 9}), "cpu")
    path = write(tmp_path, "study.json", STUDY)
    with child(HOLD_RUN, other.folder):
        atomic.write_json(other.file("status.json"), {"state": "running"})
        queueing = [cli.start("--run", path, "--queue", "--device", "cpu") for _ in range(2)]
        ids = [process.communicate(timeout=60)[0] for process in queueing]
        (queued,) = "".join(ids).split()
        assert [entry.id for entry in Queue(store).entries()] == [queued]
        done = cli("--run", path, "--device", "cpu")
        assert f"run {queued} is taken out of the queue: it is the same" in done.stderr
        assert [run["id"] for run in json.loads(done.stdout)["runs"]] == [queued]
        assert Queue(store).entries() == []
    assert counted(Run(store.runs_folder / queued))["step"] == 4 and len(cli.runs()) == 2


HOLD_RUN = """
import sys
from pathlib import Path
from lctui.runs.locks import Lock
lock = Lock(Path(sys.argv[1]) / "lock")
assert lock.acquire()
print("ready", flush=True)
sys.stdin.read()
"""

ADDS = """
import sys
from pathlib import Path
from lctui.runs.study_record import StudyRecord
from lctui.scheme.study import parse_study
from tests.folders.make import STUDY
study = parse_study(STUDY | {"variants": [{"name": f"r{n}", "set": {"seed": n}} for n in range(60)]}, "s.json", {})
record = StudyRecord.open(Path(sys.argv[1]), study)
print("ready", flush=True)
sys.stdin.readline()
for scheme in study.schemes[int(sys.argv[2]) :: 2]:
    record.add(scheme, {"id": f"run-{scheme.seed}"})
"""


def test_a_studys_record_loses_nothing_to_two_writers(tmp_path: Path) -> None:
    with child(ADDS, tmp_path, "0") as even, child(ADDS, tmp_path, "1") as odd:
        for writer in (even, odd):
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert (even.wait(60), odd.wait(60)) == (0, 0)
    record = find_record(tmp_path, "small study")
    assert sorted(record.runs.values()) == sorted(f"run-{n}" for n in range(60))


def test_a_record_that_is_opened_again_keeps_what_others_added(tmp_path: Path) -> None:
    study = parse_study(STUDY, "study.json", {})
    assert isinstance(study, Study)
    mine, theirs = StudyRecord.open(tmp_path, study), StudyRecord.open(tmp_path, study)
    theirs.add(study.schemes[0], {"id": "abcd"})
    mine.add(study.schemes[0].model_copy(update={"seed": 7}), {"id": "efgh"})
    assert sorted(StudyRecord.open(tmp_path, study).runs.values()) == ["abcd", "efgh"]
