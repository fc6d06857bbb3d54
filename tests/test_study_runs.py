"""Studies from file to report, in processes of their own: searches, seeds, kills, records."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lctui.prepare import prepare
from lctui.resuming import Twins
from lctui.runs import atomic
from lctui.runs.status import words
from lctui.runs.store import Run, Store, new_run
from lctui.runs.study_record import StudyRecord, find_record, studies
from lctui.runs.study_runs import open_study
from lctui.scheme import Scheme
from lctui.scheme.study import Study, load_file
from tests.conftest import Cli, made_once, tiny, without_times

STUDY: dict[str, Any] = {
    "version": 1,
    "study": "small study",
    "base": tiny(name="small"),
    "search": [{"reference.batch_size": [32, 64]}, {"reference.epochs": [3]}],
    "seeds": [3, 4],
    "parts": [
        {
            "name": "quantize",
            "tags": ["codebooks"],
            "set": {"compress": [{"layers": ["fc1", "fc2"], "how": {"type": "quantize", "k": 2}}]},
            "grid": {"compress.*.how.k": [2, 4]},
        }
    ],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "study.json"
    path.write_text(json.dumps(STUDY | changes))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path, dict[str, Any]]:
    """An undisturbed execution of the study, only to be read."""

    def run(folder: Path) -> None:
        done = Cli(folder / "home")("--run", write(folder))
        assert done.returncode == 0, done.stderr
        (folder / "printed.json").write_text(done.stdout)

    folder = made_once(tmp_path_factory, "whole", run)
    return Cli(folder / "home"), folder / "study.json", json.loads((folder / "printed.json").read_text())


def test_the_search_takes_the_lowest_validation_error(whole: tuple[Cli, Path, dict[str, Any]], tmp_path: Path) -> None:
    """Each candidate is trained once more, as a scheme of its own that knows nothing of the study."""
    _, _, study = whole
    cli = Cli(tmp_path / "home")
    errors = {}
    for size in (32, 64):
        path = tmp_path / f"{size}.json"
        raw = tiny(compress=[])
        path.write_text(json.dumps(raw | {"reference": raw["reference"] | {"batch_size": size}}))
        errors[size] = json.loads(cli("--run", path, "--quiet").stdout)["reference"]["validation_error_pct"]
    first, second = study["search"]
    assert [c["reference"]["validation_error_pct"] for c in first["candidates"]] == list(errors.values())
    chosen = first["candidates"][first["winner"]]["set"]["reference.batch_size"]
    assert errors[chosen] == min(errors.values())
    assert (second["stage"], second["winner"]) == ("search/2", 0)


def test_every_row_runs_with_every_seed_on_the_winner(whole: tuple[Cli, Path, dict[str, Any]]) -> None:
    cli, _, study = whole
    names = [f"small/quantize/k={k},seed={seed}" for k in (2, 4) for seed in (3, 4)]
    assert [run["name"] for run in study["runs"]] == names
    size = study["search"][0]["candidates"][study["search"][0]["winner"]]["set"]["reference.batch_size"]
    for run in study["runs"]:
        scheme = json.loads((cli.home / "runs" / run["id"] / "scheme.json").read_text())
        assert (scheme["reference"]["batch_size"], scheme["reference"]["epochs"]) == (size, 3)
        assert scheme["tags"] == ["codebooks"]
    assert len(list((cli.home / "references").iterdir())) == 4  # two candidates, and three epochs with either seed


def test_the_study_is_found_by_name_and_by_file(whole: tuple[Cli, Path, dict[str, Any]]) -> None:
    cli, path, study = whole
    store = Store(cli.home)
    assert studies(cli.home) == ["small study"]
    for name in ("small study", str(path)):
        found = open_study(name, store)
        assert [row.name for row in found.rows] == ["quantize/k=2", "quantize/k=4"]
        ids = [run.id for row in found.rows for run in row.runs if run is not None]
        assert ids == [run["id"] for run in study["runs"]]
        assert [candidate.chosen for candidate in found.candidates].count(True) == 2


def test_the_record_prefers_the_runs_that_the_study_made(
    whole: tuple[Cli, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Of two finished runs of one scheme, the one in the record counts, though the other is newer."""
    cli, path, _ = whole
    copy = Cli(tmp_path / "home")
    shutil.copytree(cli.home, copy.home)
    record = find_record(copy.home, "small study")
    newer = next(iter(record.runs.values()))
    shutil.copytree(copy.home / "runs" / newer, copy.home / "runs" / "zzzz-newer")
    assert Store(copy.home).twins(next(iter(record.runs)))[0].id == "zzzz-newer"
    found = open_study(str(path), Store(copy.home))
    everything = [run for row in found.rows for run in row.runs] + [tried.run for tried in found.candidates]
    assert "zzzz-newer" not in [run.id for run in everything if run is not None]


def test_half_a_search_leaves_the_rows_open(whole: tuple[Cli, Path, dict[str, Any]], tmp_path: Path) -> None:
    path = write(tmp_path, search=[*STUDY["search"], {"reference.lr": [0.05, 0.04]}])
    found = open_study(str(path), Store(whole[0].home))
    assert [candidate.chosen for candidate in found.candidates] == [True, False, True, False, False] or [
        candidate.chosen for candidate in found.candidates
    ] == [False, True, True, False, False]
    assert all(run is None for row in found.rows for run in row.runs)


def test_a_study_killed_again_and_again_ends_with_the_same_numbers(
    whole: tuple[Cli, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """SIGKILL while a reference trains, between members and within steps."""
    _, _, undisturbed = whole
    cli, path = Cli(tmp_path / "home"), write(tmp_path)
    for line in ("reference   2/2", "[3/7]", "step   2/3", "[6/7]"):
        process = cli.start("--run", path)
        assert process.stderr is not None
        for said in process.stderr:
            if line in said:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = cli("--run", path)
    assert done.returncode == 0, done.stderr
    study = json.loads(done.stdout)
    assert [without_times(run) for run in study["runs"]] == [without_times(run) for run in undisturbed["runs"]]
    assert len(cli.runs()) == len(undisturbed["runs"]) + 3  # nothing was begun a second time


def test_overrides_are_part_of_what_is_remembered(tmp_path: Path) -> None:
    cli, path = Cli(tmp_path / "home"), write(tmp_path, search=[], seeds=[3])
    done = cli("--run", path, "--set", "lc.mu.steps=1", "--set", "l_step.epochs=1", "--quiet")
    assert done.returncode == 0, done.stderr
    record = find_record(cli.home, "small study")
    assert {scheme.lc.mu.steps for scheme in record.study.schemes} == {1}
    (row, _) = open_study("small study", Store(cli.home)).rows
    assert row.runs[0] is not None
    (row, _) = open_study(str(path), Store(cli.home)).rows  # the file alone asks for three steps
    assert row.runs[0] is None


def test_a_search_that_cannot_be_trained_says_so(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    path = write(tmp_path, search=[{"reference.lr": [1e9, 1e10]}])
    done = cli("--run", path)
    assert done.returncode == 1
    assert "lctui: search/1: no candidate could be trained; see `lctui ls`" in done.stderr.splitlines()
    assert done.stdout == ""


def test_a_search_with_one_that_diverges_goes_on(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    base = tiny(compress=[], reference={"epochs": 1, "batch_size": 32, "lr": 0.05})
    path = write(tmp_path, base=base, search=[{"reference.lr": [1e9, 0.05]}], seeds=[3], parts=[])
    done = cli("--run", path)
    assert done.returncode == 0, done.stderr
    (stage,) = json.loads(done.stdout)["search"]
    assert stage["winner"] == 1
    assert [candidate["status"] for candidate in stage["candidates"]] == ["diverged", "finished"]


def test_an_open_search_is_not_queued_but_detached(tmp_path: Path) -> None:
    cli, path = Cli(tmp_path / "home"), write(tmp_path, seeds=[3])
    done = cli("--run", path, "--queue")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}: search: is not decided yet")
    assert not cli.home.exists()
    done = cli("--run", path, "--detach", "--set", "lc.mu.steps=1")
    assert (done.returncode, done.stdout) == (0, "small study\n"), done.stderr
    while None in [run for row in open_study("small study", Store(cli.home)).rows for run in row.runs]:
        time.sleep(0.1)  # a process in a session of its own tells nobody that it has ended
    # Once it is decided, its rows can be queued like any; they are there already.
    again = cli("--run", path, "--queue", "--set", "lc.mu.steps=1")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already done") == 2


def test_check_says_what_is_tried_first(tmp_path: Path) -> None:
    cli, path = Cli(tmp_path / "home"), write(tmp_path)
    done = cli("check", path)
    assert "search/1: 2 references are tried first" in done.stdout
    report = json.loads(cli("check", path, "--json").stdout)
    assert report["search"] == [{"stage": "search/1", "candidates": 2}, {"stage": "search/2", "candidates": 1}]
    assert len(report["runs"]) == 4


def test_a_study_that_is_not_there_is_told_with_the_nearest(whole: tuple[Cli, Path, dict[str, Any]]) -> None:
    cli, _, _ = whole
    done = cli("export", "small-study.json", "--to", "out")
    assert done.returncode == 2
    assert "no such file" in done.stderr.lower() or "cannot" in done.stderr
    done = cli("export", "smal study", "--to", "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_equal_rows_are_run_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    twice = [{"name": "a"}, {"name": "b"}]
    path = write(tmp_path, base=tiny(lc={"mu": {"steps": 1}}), search=[], seeds=[3], parts=[], variants=twice)
    done = cli("--run", path)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["runs"]
    assert first["id"] == second["id"]
    assert len(cli.runs()) == 1


def test_a_damaged_record_is_written_anew(tmp_path: Path) -> None:
    loaded = load_file(write(tmp_path))
    assert isinstance(loaded, Study)
    home = tmp_path / "home"
    record = StudyRecord.open(home, loaded)
    record.path.write_text('{"runs": [1, 2')
    assert studies(home) == []
    assert StudyRecord.open(home, loaded).runs == {}
    record.add(loaded.schemes[0], {"id": "abcd-x"})
    again = StudyRecord.open(home, loaded)
    assert again.runs == {loaded.schemes[0].fingerprint(): "abcd-x"}
    assert Run(home / "runs" / "abcd-x").status() != "finished"  # a run that is gone is none
    assert open_study("small study", Store(home)).rows[0].runs == (None, None)


def test_a_run_that_was_made_but_never_begun_is_taken_up(tmp_path: Path) -> None:
    """Whoever made it may be killed before it could say with what data and code it begins."""
    store, scheme = Store(tmp_path), Scheme.model_validate(tiny())
    run = new_run(store, scheme, "cpu")
    atomic.write_json(run.file("status.json"), words("crashed"))
    twins = Twins.of(scheme.fingerprint(), prepare(scheme, tmp_path, "cpu", ""), store)
    assert twins.at_rest == run
