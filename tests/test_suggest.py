"""`lctui suggest`: a scheme for a size or an error, on a real net and real images, chosen without the test images."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lctui.errors import BadInput
from lctui.scheme import Scheme
from lctui.sensitivity import Suggested, Suggesting, suggest
from lctui.what_if import Session
from tests.conftest import Cli, made_once, tiny

SUM = ("prune", "quantize")
SCHEME = tiny(compress=[], data={"name": "mnist_sample", "validation": 0.1}, model={"factory": "lenet300"})


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A home whose reference `lctui suggest` has trained; the scheme and what was suggested lie beside it."""

    def make(folder: Path) -> None:
        (folder / "net.json").write_text(json.dumps(SCHEME))
        done = Cli(folder / "home")("suggest", "net.json", "--ratio", "40", "--json")
        assert done.returncode == 0, done.stderr
        assert "there is no reference yet: it is trained now (2 epochs), and kept" in done.stderr
        (folder / "said.json").write_text(done.stdout)

    return Cli(made_once(tmp_path_factory, "suggest", make) / "home")


@pytest.fixture(scope="module")
def session(cli: Cli) -> Session:
    return Session(Scheme.model_validate(SCHEME), cli.home, "cpu", "net.json")


@pytest.fixture(scope="module")
def measured(session: Session) -> Suggesting:
    """Every layer, tried in every way."""
    return Suggesting(session, Scheme.model_validate(SCHEME), "net.json")


def direct(session: Session, tasks: Any) -> dict[str, Any]:
    return session.direct(Scheme.model_validate({**SCHEME, "compress": tasks}), "net.json")


def test_the_file_keeps_the_ratio_tightly(cli: Cli) -> None:
    folder = cli.home.parent
    said = json.loads((folder / "said.json").read_text())
    assert said["file"] == "net-ratio-40.json"
    checked = json.loads(cli("check", said["file"], "--json").stdout)
    assert 40 <= checked["compression_ratio"] <= 40.5
    assert checked["compression_ratio"] == said["compression_ratio"]
    assert [layer["task"] for layer in checked["layers"]] == [0, 1, 2]
    assert said["layers"][0]["layers"] == ["fc1"] and not list(cli.home.glob("runs/*"))


def test_it_harms_less_than_the_same_for_all(session: Session, cli: Cli) -> None:
    said = json.loads((cli.home.parent / "said.json").read_text())
    written = json.loads((cli.home.parent / "net-ratio-40.json").read_text())["compress"]
    found = direct(session, written)
    assert found["error_pct"] == said["error_pct"]
    # Every layer pruned to the same share, with the same codebook, as small as what was suggested.
    low, high = 0.0, 1.0
    for _ in range(30):
        share = (low + high) / 2
        even = [{"layers": [n], "how": {"type": "prune", "fraction": share, "k": 8}} for n in ("fc1", "fc2", "fc3")]
        low, high = (share, high) if direct(session, even)["compression_ratio"] > 40 else (low, share)
    assert found["error_pct"] < direct(session, even)["error_pct"]


def test_a_second_call_trains_nothing_and_writes_over_nothing(cli: Cli) -> None:
    done = cli("suggest", "net.json", "--ratio", "40")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("net-ratio-40.json: is there already, and is not written over")
    done = cli("suggest", "net.json", "--error", "25", "--to", "loose.json")
    assert done.returncode == 0 and "it is trained now" not in done.stderr
    assert done.stdout.splitlines()[-1] == "loose.json"


def test_an_error_is_kept_by_as_high_a_ratio_as_was_found(session: Session, measured: Suggesting) -> None:
    found, tighter = measured.for_error(30.0), measured.for_error(14.0)
    assert direct(session, found.tasks)["error_pct"] <= 30
    assert tighter.direct["compression_ratio"] < found.direct["compression_ratio"]


@pytest.mark.parametrize(
    ("tasks", "kinds"),
    [
        ([{"layers": ["fc1"], "how": {"type": "low_rank", "rank": "auto", "alpha": 1e-9}}], ["low_rank"]),
        ([{"layers": ["fc1", "fc2"], "how": {"type": "prune", "fraction": 0.5}}], ["prune"]),
        ([{"layers": ["fc1"], "how": {"type": "prune_structured", "kappa": 3}}], ["prune_structured"]),
        (
            [{"layers": ["fc1"], "how": [{"type": "prune", "kappa": 9}, {"type": "quantize", "k": 2}]}],
            ["prune", "quantize"],
        ),
        ([{"layers": ["*"], "how": {"type": "quantize", "codebook": "ternary"}}], ["quantize"]),
    ],
)
def test_tasks_keep_their_kind_and_layers(session: Session, tasks: list[dict[str, Any]], kinds: list[str]) -> None:
    scheme = Scheme.model_validate({**SCHEME, "compress": tasks})
    found = suggest(session, scheme, "net.json", ratio=3)
    (task,) = found.tasks
    how = task["how"] if isinstance(task["how"], list) else [task["how"]]
    assert (task["layers"], [each["type"] for each in how]) == (tasks[0]["layers"], kinds)
    assert found.direct["compression_ratio"] >= 3


def test_out_of_reach_is_said_with_what_is_not(measured: Suggesting) -> None:
    with pytest.raises(BadInput, match=r"--ratio: 10000 cannot be reached: at most [\d.]+, \d+ % of that") as caught:
        measured.for_ratio(10000)
    reachable = float(str(caught.value).partition("at most ")[2].partition(",")[0])
    measured.for_ratio(0.99 * reachable)
    with pytest.raises(BadInput, match=r"--error: 0\.00 % cannot be kept by direct compression; the reference has"):
        measured.for_error(0.0)


def test_test_images_decide_nothing(cli: Cli) -> None:
    scheme = Scheme.model_validate(
        {**SCHEME, "compress": [{"layers": ["fc*"], "how": {"type": "prune", "fraction": 1.0}}]}
    )

    def asked(break_test: bool) -> Suggested:
        fresh = Session(scheme, cli.home, "cpu", "net.json")
        if break_test:
            fresh.splits.test.labels.zero_()
            fresh.splits.test.rows.zero_()
        return Suggesting(fresh, scheme, "net.json").for_error(30)

    kept = Session(Scheme.model_validate(SCHEME), cli.home, "cpu", "net.json").splits.test
    rows, labels = kept.rows.clone(), kept.labels.clone()
    try:
        assert asked(break_test=False).tasks == asked(break_test=True).tasks
    finally:  # sessions share their data
        kept.rows.copy_(rows)
        kept.labels.copy_(labels)
    assert not torch.equal(kept.labels, torch.zeros_like(labels))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.json"], "--ratio, --error: one of the two says what is wanted"),
        (["net.json", "--ratio", "3", "--error", "2"], "--ratio, --error: one of the two says what is wanted"),
        (["gone.json", "--ratio", "3"], "gone.json"),
        (["net.json", "--ratio", "0.5"], "net.json: --ratio: 0.5 must be greater than 1"),
        (["net.json", "--ratio", "nan"], "net.json: --ratio: nan must be greater than 1"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("suggest", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_the_editor_takes_the_suggestion_as_one_change(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from lctui.console.app import Console
    from lctui.console.screens.editor import EditorScreen

    async def until(pilot: Any, condition: Callable[[], bool]) -> None:
        for _ in range(1200):
            if condition():
                return
            await asyncio.sleep(0.05)  # another process is at work
        raise AssertionError("it never came to that")

    async def test() -> None:
        app = Console(cli.home)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            app.open_editor(scheme=SCHEME)
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, EditorScreen)
            await pilot.press("a")
            await pilot.press("backspace", "backspace", *"40", "enter")
            await until(pilot, lambda: bool(screen.session.raw["compress"]))
            report = screen.session.report
            assert report is not None and 40 <= report["compression_ratio"] <= 40.5
            await pilot.press("u")
            assert screen.session.raw["compress"] == []
            await pilot.press("a", *"nine", "enter")
            await pilot.pause()
            assert screen.session.raw["compress"] == []
            app.inspection.close()

    monkeypatch.setenv("XDG_CONFIG_HOME", str(cli.home.parent / "config"))
    monkeypatch.chdir(cli.home.parent)
    asyncio.run(test())
