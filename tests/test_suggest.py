"""`lctui suggest`: a scheme for a size or an error, on a real net and real images, chosen without the test images."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.nn.functional import cross_entropy

from lctui.errors import BadInput
from lctui.learning.objective import Objective, is_wrong
from lctui.scheme import Scheme
from lctui.sensitivity import MOST, Suggesting, suggest
from lctui.what_if import Session
from tests.conftest import Cli, made_once, tiny

SCHEME = tiny(compress=[], data={"name": "mnist_sample", "validation": 0.1}, model={"factory": "lenet300"})


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A home whose reference `lctui suggest` has trained; the scheme and what was suggested lie beside it."""

    def make(folder: Path) -> None:
        (folder / "net.json").write_text(json.dumps(SCHEME))
        done = Cli(folder / "home")("suggest", "net.json", "--ratio", "40")
        said = (
            "net.json: no reference net yet: the first run of this model, data and seed trains it; or --train does now"
        )
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{said}\n")
        assert sorted(path.name for path in folder.iterdir()) == ["net.json"]
        done = Cli(folder / "home")("suggest", "net.json", "--ratio", "40", "--train", "--leave", "fc9")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)  # nothing was trained before that
        assert not (folder / "home" / "references").exists()
        done = Cli(folder / "home")("suggest", "net.json", "--ratio", "40", "--json", "--train")
        assert done.returncode == 0, done.stderr
        assert "there is no reference yet: it is trained now (2 epochs), and kept" in done.stderr
        assert re.fullmatch(r"trying \d+ compressions, layer by layer", done.stderr.splitlines()[-1])
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
    assert [layer["compressed_bits"] for layer in said["layers"]] == [
        layer["compressed_bits"] for layer in checked["layers"]
    ]


def test_each_row_says_what_its_compression_does_alone(session: Session, cli: Cli) -> None:
    said = json.loads((cli.home.parent / "said.json").read_text())
    images = len(session.judged[1])
    for row in said["layers"]:
        alone = direct(session, [{"layers": row["layers"], "how": row["how"]}])
        assert row["error_pct"] == pytest.approx(alone["error_pct"])  # they are few: all of them are asked
        assert images <= MOST and row["loss_rise"] > -0.1
        kinds = {(each["how"]["type"], "k" in each["how"]) for each in row["tried"]}
        assert kinds == {("quantize", True), ("prune", True), ("prune", False), ("low_rank", False)}
        strong = [each for each in row["tried"] if each["how"].get("kappa") == 1]
        assert all(each["loss_rise"] > row["loss_rise"] for each in strong)


@pytest.fixture(scope="module")
def even(session: Session, cli: Cli) -> list[dict[str, Any]]:
    """Every layer pruned to the same share, with the same codebook, as small as what was suggested."""

    def tasks(share: float) -> list[dict[str, Any]]:
        return [{"layers": [f"fc{n}"], "how": {"type": "prune", "fraction": share, "k": 8}} for n in (1, 2, 3)]

    written = json.loads((cli.home.parent / "net-ratio-40.json").read_text())["compress"]
    wanted = direct(session, written)["compression_ratio"]
    low, high = 0.0, 1.0
    for _ in range(12):
        share = (low + high) / 2
        low, high = (share, high) if direct(session, tasks(share))["compression_ratio"] > wanted else (low, share)
    return tasks(high)


def test_a_run_of_it_errs_less_than_one_of_the_same_for_all(cli: Cli, even: list[dict[str, Any]]) -> None:
    said = json.loads((cli.home.parent / "said.json").read_text())
    written = json.loads((cli.home.parent / "net-ratio-40.json").read_text())["compress"]
    results = []
    for name, tasks in (("suggested", written), ("even", even)):
        lc = {"mu": {"start": 0.001, "factor": 1.5, "steps": 2}}
        (cli.home.parent / f"{name}.json").write_text(json.dumps({**SCHEME, "compress": tasks, "lc": lc}))
        done = cli("--run", f"{name}.json", "--quiet")
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    suggested, other = results
    assert suggested["direct"]["validation_error_pct"] == said["error_pct"] < other["direct"]["validation_error_pct"]
    assert suggested["direct"]["compression_ratio"] == pytest.approx(other["direct"]["compression_ratio"], rel=0.01)


def test_a_second_call_trains_nothing_and_writes_over_nothing(cli: Cli) -> None:
    done = cli("suggest", "net.json", "--ratio", "40")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("net-ratio-40.json: is there already, and is not written over")
    done = cli("suggest", "net.json", "--error", "25", "--to", "loose.json", "--leave", "fc3")
    assert done.returncode == 0 and "it is trained now" not in done.stderr
    assert done.stdout.splitlines()[-1] == "loose.json"
    tasks = json.loads((cli.home.parent / "loose.json").read_text())["compress"]
    assert [task["layers"] for task in tasks] == [["fc1"], ["fc2"]]


def test_an_error_is_kept_by_as_high_a_ratio_as_was_found(session: Session, measured: Suggesting) -> None:
    found, tighter = measured.for_error(30.0), measured.for_error(14.0)
    assert direct(session, found.tasks)["error_pct"] <= 30
    assert tighter.direct["compression_ratio"] < found.direct["compression_ratio"]


def test_a_metric_that_is_not_finite_keeps_no_error(cli: Cli) -> None:
    def unbounded(outputs: Tensor, labels: Tensor) -> Tensor:
        wrong = is_wrong(outputs, labels).double()
        return wrong / (wrong.mean() < 0.5)  # no longer a number once most are wrong

    session = Session(Scheme.model_validate(SCHEME), cli.home, "cpu", "net.json")
    session.splits = replace(session.splits, objective=Objective(metric=unbounded))
    measured = Suggesting(session, Scheme.model_validate(SCHEME), "net.json")
    trials = [trial.record() for unit in measured.units for ladder in unit.ladders for trial in ladder]
    assert None in [trial["error_pct"] for trial in trials]
    assert measured.for_error(0.2).direct["error_pct"] <= 0.2
    with pytest.raises(BadInput, match="--ratio: 300 gives no finite error"):
        measured.for_ratio(300)  # most are wrong then


def test_a_loss_that_writes_into_its_outputs_spoils_no_error(session: Session, cli: Cli) -> None:
    def cleared(outputs: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(outputs, labels)
        outputs.zero_()
        return loss

    spoiling = Session(Scheme.model_validate(SCHEME), cli.home, "cpu", "net.json")
    spoiling.splits = replace(spoiling.splits, objective=Objective(loss=cleared))
    found = [
        Suggesting(each, Scheme.model_validate(SCHEME), "net.json", leave=("fc1", "fc2")).units[0]
        for each in (session, spoiling)
    ]
    assert found[0].untouched.error_pct == found[1].untouched.error_pct


def test_harm_never_falls_along_a_ladder(measured: Suggesting) -> None:
    for unit in measured.units:
        harm = {option.how.bits: option.damage for option in unit.options}
        assert harm[unit.untouched.bits] == 0
        for ladder in unit.ladders:
            ordered = [trial.bits for trial in sorted(ladder, key=lambda trial: trial.bits)]
            assert [harm[bits] for bits in ordered] == sorted((harm[bits] for bits in ordered), reverse=True)


def test_tasks_that_do_not_fit_the_net_are_said_before_anything_is_tried(session: Session) -> None:
    tried: list[int] = []
    tasks = [{"layers": ["fc9"], "how": {"type": "quantize", "k": 2}}]
    scheme = Scheme.model_validate({**SCHEME, "compress": tasks})
    with pytest.raises(BadInput, match=r"^net.json: compress.0.layers.0: no layer 'fc9'"):
        Suggesting(session, scheme, "net.json", lambda done, total: tried.append(done))
    assert tried == []


def test_layers_without_a_task_get_one(session: Session) -> None:
    tasks = [{"layers": ["fc2"], "how": {"type": "low_rank", "rank": 7}}]
    found = suggest(session, Scheme.model_validate({**SCHEME, "compress": tasks}), "net.json", ratio=30)
    assert (found.tasks[0]["layers"], found.tasks[0]["how"]["type"]) == (["fc2"], "low_rank")
    assert ["fc1"] in [task["layers"] for task in found.tasks] and found.direct["compression_ratio"] >= 30


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
    found = suggest(session, scheme, "net.json", ratio=3 if "fc1" in tasks[0]["layers"] else 9, leave=["fc*"])
    (task,) = found.tasks
    how = task["how"] if isinstance(task["how"], list) else [task["how"]]
    assert (task["layers"], [each["type"] for each in how]) == (tasks[0]["layers"], kinds)
    assert found.direct["compression_ratio"] >= 3


def test_out_of_reach_is_said_with_what_is_not(measured: Suggesting) -> None:
    with pytest.raises(BadInput, match=r"--ratio: 10000 cannot be reached: at most [\d.]+, \d+ % of that") as caught:
        measured.for_ratio(10000)
    reachable = float(str(caught.value).partition("at most ")[2].partition(",")[0])
    biases = 300 + 100 + 10
    assert 0.9 < reachable / (266_610 / biases) < 1  # little but biases is left
    measured.for_ratio(reachable)
    with pytest.raises(BadInput, match=r"--error: 0\.00 % cannot be kept by direct compression; the reference has"):
        measured.for_error(0.0)


def test_test_images_decide_nothing(cli: Cli) -> None:
    scheme = Scheme.model_validate(
        {**SCHEME, "compress": [{"layers": ["fc*"], "how": {"type": "prune", "fraction": 1.0}}]}
    )

    class Sealed:
        """A split that nobody may look at."""

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} of the test images was asked for")

        __len__ = __bool__ = lambda self: self.__getattr__("size")

    opened, sealed = (Session(scheme, cli.home, "cpu", "net.json") for _ in range(2))
    sealed.splits = replace(sealed.splits, test=Sealed())  # type: ignore[arg-type]
    found = [Suggesting(session, scheme, "net.json").for_error(30) for session in (opened, sealed)]
    assert found[0] == replace(found[1], direct=found[1].direct | {"seconds": found[0].direct["seconds"]})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.json"], "--ratio, --error: one of the two says what is wanted"),
        (["net.json", "--ratio", "3", "--error", "2"], "--ratio, --error: one of the two says what is wanted"),
        (["gone.json", "--ratio", "3"], "gone.json"),
        (["net.json", "--ratio", "0.5"], "net.json: --ratio: 0.5 must be greater than 1"),
        (["net.json", "--ratio", "3", "--to", "a.json", "--leave", "fc9"], "net.json: --leave: 'fc9' is not known"),
        (
            [
                "net.json",
                "--ratio",
                "3",
                "--to",
                "a.json",
                "--set",
                'compress=[{"layers":["fc9"],"how":{"type":"quantize","k":2}}]',
            ],
            "net.json: compress.0",
        ),
        (["net.json", "--ratio", "nan"], "net.json: --ratio: nan must be greater than 1"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("suggest", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_the_editor_takes_the_suggestion_as_one_change(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from textual.widgets import Static

    from lctui.console.app import Console
    from lctui.console.screens.editor import EditorScreen

    async def until(pilot: Any, condition: Callable[[], bool]) -> None:
        for _ in range(1200):
            if condition():
                return
            await asyncio.sleep(0.05)  # another process is at work
        raise AssertionError("it never came to that")

    def what_is_said(screen: EditorScreen) -> str:
        return str(screen.query_one("#what-if", Static).render())

    async def test() -> None:
        app = Console(cli.home)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            app.open_editor(scheme=SCHEME)
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, EditorScreen)
            await pilot.press("a")
            await pilot.press("backspace", "backspace", *"40", "enter")
            await until(pilot, lambda: "trying compressions, layer by layer: " in what_is_said(screen))
            await until(pilot, lambda: bool(screen.session.raw["compress"]))
            await until(pilot, lambda: "trying" not in what_is_said(screen))
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
