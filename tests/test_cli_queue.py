"""The queue from a shell: what `--queue`, `--detach` on a study, `queue`, `stop`, `resume` and `rm` do with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import atomic
from lctui.runs.locks import is_held
from lctui.runs.store import Run
from tests.conftest import Cli, tiny
from tests.runs.children import HOLD, child, until

WriteScheme = Callable[..., Path]
QUICK: dict[str, Any] = {
    "reference": {"epochs": 1, "batch_size": 32, "lr": 0.05},
    "compress": [{"layers": ["fc1"], "how": {"type": "quantize", "k": 2}}],
    "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 1}},
    "l_step": {"epochs": 1, "batch_size": 64, "lr": 0.05},
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of two quick runs."""
    path = tmp_path / "study.json"
    raw = {"study": "k", "base": tiny(**QUICK), "grid": {"compress.0.how.k": [2, 3]}}
    path.write_text(json.dumps(raw))
    return path


@contextmanager
def busy(cli: Cli) -> Iterator[None]:
    """A run that nobody queued is on the CPU until the end, where nothing is queued any more."""
    folder = cli.home / "runs" / "aaaa-other"
    folder.mkdir(parents=True)
    atomic.write_json(folder / "meta.json", {"requested_device": "cpu"})
    atomic.write_json(folder / "status.json", {"state": "running", "heartbeat_unix": time.time()})
    with child(HOLD, folder / "lock"):
        yield
    idle(cli)


def idle(cli: Cli) -> None:
    """Waits until the dispatcher has gone."""
    until(lambda: not is_held(cli.home / "queue-cpu.lock"))


def statuses(cli: Cli) -> dict[str, str]:
    return {run["id"]: run["status"] for run in json.loads(cli("ls", "--json").stdout)}


def test_a_detached_study_queues_its_members_and_only_what_is_not_done(cli: Cli, study: Path) -> None:
    with busy(cli):
        done = cli("--run", study, "--detach", "--device", "cpu")
        assert (done.returncode, done.stderr) == (0, "")
        ids = done.stdout.split()
        assert [run_id[5:] for run_id in ids] == ["tiny-0.k=2", "tiny-0.k=3"]
        assert statuses(cli) == {ids[0]: "queued", ids[1]: "queued", "aaaa-other": "running"}
        assert ids[0] in cli("ls").stdout and "queued" in cli("ls").stdout

        again = cli("--run", study, "--queue", "--device", "cpu")
        assert (again.returncode, again.stdout) == (0, "")
        assert again.stderr.splitlines() == [f"{run_id[5:].replace('-', '/')}: queued: run {run_id}" for run_id in ids]
        assert cli("--run", study, "--queue", "--device", "cpu", "--quiet").stderr == ""
        assert cli("stop", ids[1]).stdout.strip() == f"{ids[1]} interrupted"
    assert statuses(cli) == {ids[0]: "finished", ids[1]: "interrupted", "aaaa-other": "crashed"}

    # The finished member counts; the cancelled one takes its turn again, in its own folder.
    last = cli("--run", study, "--detach", "--device", "cpu")
    assert last.stdout.split() == ids[1:]
    assert last.stderr.splitlines() == [f"tiny/0.k=2: already done: run {ids[0]}"]
    idle(cli)
    assert statuses(cli) == {ids[0]: "finished", ids[1]: "finished", "aaaa-other": "crashed"}


def test_the_queue_is_listed_reordered_and_cut_from_a_shell(cli: Cli, scheme_file: WriteScheme) -> None:
    assert "nothing is queued" in cli("queue").stdout
    with busy(cli):
        path = scheme_file(**QUICK)
        queued = [cli("--run", path, "--queue", "--device", "cpu", "--set", f"name={name}") for name in "abc"]
        a, b, c = (done.stdout.strip() for done in queued)
        rows = json.loads(cli("queue", "--json").stdout)
        assert [(row["place"], row["id"], row["device"]) for row in rows] == [
            (1, a, "cpu"),
            (2, b, "cpu"),
            (3, c, "cpu"),
        ]
        assert rows[0].keys() == {"place", "id", "device", "name", "model", "created", "study"}
        moved = cli("queue", "move", c, "1")
        assert (moved.returncode, moved.stdout, moved.stderr) == (0, "", "")
        shown = cli("queue").stdout
        assert shown.index(c) < shown.index(a) < shown.index(b)

        resumed = cli("resume", a)
        assert resumed.returncode == 2
        assert resumed.stderr == f"{a}: is queued; `lctui queue` shows its place\n"
        assert cli("rm", b).stdout.strip() == b
        assert [row["id"] for row in json.loads(cli("queue", "--json").stdout)] == [c, a]
        assert cli("stop", c).stdout.strip() == f"{c} interrupted"
        assert cli("stop", c).returncode == 2
        assert cli("stop", a).stdout.strip() == f"{a} interrupted"
    assert statuses(cli) == {a: "interrupted", c: "interrupted", "aaaa-other": "crashed"}
    done = cli("resume", a, "--quiet")
    assert json.loads(done.stdout)["status"] == "finished"


def test_listing_the_queue_brings_a_dead_dispatchers_runs_back(cli: Cli, scheme_file: WriteScheme) -> None:
    """As after a restart of the machine: runs are queued, and no process is left."""
    with busy(cli):
        run_id = cli("--run", scheme_file(**QUICK), "--queue", "--device", "cpu").stdout.strip()
        queue = (cli.home / "queue.json").read_text()
        cli("stop", run_id)
    run = Run(cli.home / "runs" / run_id)
    atomic.write_json(run.file("status.json"), {"state": "queued"})
    (cli.home / "queue.json").write_text(queue)
    assert run_id in cli("queue").stdout
    until(lambda: run.status() == "finished")
    idle(cli)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["queue", "move", "none", "1"], "none: no such run in"),
        (["queue", "move", "aaaa", "1"], "aaaa-other: is not queued: interrupted"),
        (["queue", "move", "aaaa", "0"], "lctui: Invalid value for 'N': "),
        (["queue", "move", "aaaa"], "lctui: Missing argument 'N'"),
        (["queue", "mvoe"], "lctui: No such command 'mvoe'"),
        (["--queue"], "--detach, --queue, --set, --device, --ensemble and --quiet: go with --run"),
        (["--run", "scheme.json", "--queue", "--device", "tpu"], "--device: 'tpu' is not a device"),
        (["--run", "study.json", "--detach", "--device", "tpu"], "--device: 'tpu' is not a device"),
        (["--run", "none.json", "--queue"], "none.json: no such file"),
        (
            ["--run", "study.json", "--detach", "--set", "data.name=mnist"],
            "study.json: data.name: mnist: no MNIST/raw/train-images-idx3-ubyte or ",
        ),
        (
            ["--run", "study.json", "--detach", "--set", 'compress.0.layers=["fc9"]'],
            "study.json: base.compress.0.layers.0",
        ),
    ],
)
def test_bad_input_is_one_line_and_queues_nothing(
    cli: Cli, scheme_file: WriteScheme, study: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    scheme_file()
    folder = cli.home / "runs" / "aaaa-other"
    folder.mkdir(parents=True)
    atomic.write_json(folder / "status.json", {"state": "interrupted"})
    done = cli(*arguments, env=cli.env | {"LCTUI_DATA": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert cli.runs() == [folder]
    assert not (cli.home / "queue-cpu.log").exists()


def test_a_study_with_a_member_that_does_not_fit_queues_nothing(cli: Cli, tmp_path: Path) -> None:
    code = "import torch\ndef net():\n    print('chatter')\n    return torch.nn.Sequential(torch.nn.Linear(3, 2))\n"
    (tmp_path / "mine.py").write_text(code)
    layers = [{"layers": [name], "how": {"type": "quantize", "k": 2}} for name in ("0", "1")]
    base = tiny(model={"factory": "mine.py:net"}, compress=[])
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"study": "s", "base": base, "grid": {"compress": [[task] for task in layers]}}))
    done = cli("--run", path, "--detach")
    assert (done.returncode, done.stdout) == (2, "")
    assert "compress.0.layers.0: no layer '1' with weights to compress" in done.stderr
    assert cli.runs() == []
