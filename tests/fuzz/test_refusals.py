"""What hostile files ask for and do not get: code, memory, other files, endless waiting, and the terminal."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from lctui import models
from lctui.data_sources import MAX_BYTES, read_idx
from lctui.errors import BadInput
from lctui.export import artifact
from lctui.runs.atomic import read_json
from lctui.runs.log import read_lines
from lctui.runs.tail import EventTail
from tests.conftest import ROOT, Cli, tiny
from tests.console.terminal import Terminal, lctui
from tests.export.test_artifact import how_of, weights
from tests.fuzz.artifacts import _sealed

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]r[/red][link=file:///x]l[/link]"
BAD_SIGNS = ("\x1b", "\x9b", "\u202e", "\x07")


class Evil:
    """What a pickle runs when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def bomb(shapes: list[list[int]], length: int) -> bytes:
    """A small artifact, sealed, that announces a tensor of other shapes, all of one value: a code of no bits."""
    v = weights(4, 5)
    how = how_of("k=1")
    header = {
        "version": 1,
        "names": ["w"],
        "hows": [how.model_dump(mode="json", exclude_none=True)],
        "tasks": [
            {
                "how": 0,
                "layers": ["w"],
                "shapes": shapes,
                "parts": {"indices": ["index", length, 1], "codebook": ["float", 1]},
            }
        ],
    }
    empty, one = torch.zeros(0, dtype=torch.uint8), v.reshape(-1)[:1].clone()
    return _sealed(header, {"@0.indices": empty, "@0.codebook": one})


def test_a_few_bytes_are_not_decompressed_to_gigabytes(tmp_path: Path) -> None:
    file = tmp_path / "bomb.safetensors"
    file.write_bytes(bomb([[4, 5]], 20))
    assert artifact.load(file)["w"].shape == (4, 5)
    file.write_bytes(bomb([[1 << 16, 1 << 16]], 1 << 32))
    with pytest.raises(BadInput, match="4,294,967,296 values exceed"):
        artifact.load(file)


def test_an_archive_of_weights_that_would_inflate_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    assert models._read_weights(tmp_path / "whole.pt", "s")["w"].tolist() == [0] * 4
    with pytest.raises(BadInput, match="could inflate to any size"):
        models._read_weights(tmp_path / "w.pt", "s")


def test_images_that_inflate_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(1 << 24)) * ((MAX_BYTES >> 24) + 1))
    with pytest.raises(BadInput, match="holds more than 256 MiB"):
        read_idx(tmp_path / "x", dimensions=1)


def test_a_pickle_in_place_of_weights_runs_nothing(tmp_path: Path) -> None:
    file, mark = tmp_path / "w.pt", tmp_path / "ran"
    file.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(BadInput, match="cannot read"):
        models._read_weights(file, "s")
    torch.save(Evil(mark), file)
    with pytest.raises(BadInput, match="cannot read"):
        models._read_weights(file, "s")
    assert not mark.exists()
    torch.load(file, weights_only=False)  # the same file does harm to whoever trusts it
    assert mark.exists()


@pytest.mark.parametrize(
    "make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "device"]
)
def test_nobody_waits_for_what_is_no_file(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "events.jsonl"
    make(path)
    assert read_json(path) is None
    assert list(read_lines(path)) == []
    assert EventTail(path).read() == []


def test_a_line_longer_than_any_event_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    event = b'{"event": "step", "step": 1}\n'
    path.write_bytes(event + b"[" * (40 << 20) + b"\n" + event)
    tail, found = EventTail(path), []
    while events := tail.read():
        found += events
    assert found == list(read_lines(path)) == [{"event": "step", "step": 1}] * 2


def hostile_home(tmp_path: Path, looked_at: tuple[Path, str]) -> Path:
    """A home whose one run says hostile things wherever it can."""
    home, run_id = looked_at
    shutil.copytree(home, tmp_path / "home")
    run = tmp_path / "home" / "runs" / run_id
    for name, fields in (
        ("scheme.json", {"name": HOSTILE, "tags": [HOSTILE]}),
        ("meta.json", {"device_name": HOSTILE, "lctui": HOSTILE}),
        ("status.json", {"error": HOSTILE, "state": "failed"}),
        ("result.json", {"name": HOSTILE}),
    ):
        file = run / name
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    result = json.loads((run / "result.json").read_text())
    for each in result["layers"]:
        each |= {"type": HOSTILE, "layers": [HOSTILE]}
    (run / "result.json").write_text(json.dumps(result))
    return tmp_path / "home"


def inert(text: str) -> bool:
    return not any(sign in text for sign in BAD_SIGNS)


def test_names_and_errors_reach_no_terminal_alive(tmp_path: Path, looked_at_run: tuple[Path, str]) -> None:
    cli = Cli(hostile_home(tmp_path, looked_at_run))
    for arguments in (["ls"], ["show", looked_at_run[1]]):
        plain, parsed = cli(*arguments), cli(*arguments, "--json")
        assert plain.returncode == parsed.returncode == 0, plain.stderr + parsed.stderr
        assert inert(plain.stdout + plain.stderr + parsed.stdout + parsed.stderr)
        answer = json.loads(parsed.stdout)
        assert (answer[0] if isinstance(answer, list) else answer)["name"] == HOSTILE
    shown = cli("show", looked_at_run[1]).stdout
    assert "\\x1b]0;owned" in shown
    assert "[red]r[/red]" in shown


def test_the_console_shows_hostile_names_and_obeys_none(tmp_path: Path, looked_at_run: tuple[Path, str]) -> None:
    home = hostile_home(tmp_path, looked_at_run)
    with (home / "runs" / looked_at_run[1] / "events.jsonl").open("a") as log:
        log.write(json.dumps({"event": HOSTILE, "time": HOSTILE}) + "\n")
        log.write(json.dumps({"event": "run_failed", "time": "x", "error": HOSTILE}) + "\n")
    environment = {"LCTUI_HOME": str(home), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with Terminal(lctui(), environment, folder=tmp_path, columns=160) as terminal:
        terminal.wait("[red]r[/red]")
        terminal.press("enter")
        terminal.wait("best @1")
        terminal.wait("run finished")
        raw = bytes(terminal.raw)
    for obeyed in (b"\x1b]0;owned", b"\x1b]8;;file:///x", "\x9b".encode(), "\u202e".encode()):
        assert obeyed not in raw


def test_what_is_refused_is_quoted_inert(tmp_path: Path) -> None:
    cli, file = Cli(tmp_path / "home"), tmp_path / f"{HOSTILE.replace('/', '')}.json"
    file.write_text(json.dumps(tiny(name=HOSTILE, **{HOSTILE: 1})))
    for arguments in (["check", file], ["--run", file], ["show", HOSTILE], ["check", f"--{HOSTILE}"], [HOSTILE]):
        done = cli(*arguments)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("Traceback") == 0
        assert inert(done.stdout + done.stderr)
    assert not cli.home.exists()


WATCHED = """
import sys
from tests.fuzz.watched import watch
watch(sys.argv[1], sys.argv[2:])
"""


def watched(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line under a guard that ends it where a file of the folder is executed, or a process started."""
    command = [sys.executable, "-c", WATCHED, str(folder), *map(str, arguments)]
    env = os.environ | {"LCTUI_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)


def test_only_a_scheme_that_was_named_runs_its_code(tmp_path: Path, looked_at_run: tuple[Path, str]) -> None:
    home = hostile_home(tmp_path, looked_at_run)
    run = home / "runs" / looked_at_run[1]
    (tmp_path / "evil.py").write_text("import os\nos.mkdir('ran')\ndef net():\n    raise SystemExit(0)\n")
    scheme = json.loads((run / "scheme.json").read_text())
    scheme |= {"name": "x", "model": {"factory": f"{tmp_path}/evil.py:net"}, "data": {"name": "evil:data"}}
    (run / "scheme.json").write_text(json.dumps(scheme))
    for arguments in (["ls"], ["show", run.name], ["queue"], ["export", run.name, "--to", "out", "--format", "csv,md"]):
        done = watched(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    (tmp_path / "named.json").write_text(json.dumps(scheme | {"tags": []}))
    assert "executes" in watched(tmp_path, "check", "named.json").stderr  # the guard sees what it is there for
    assert Cli(home)("check", tmp_path / "named.json").returncode == 2
    assert (tmp_path / "ran").exists()


def test_reading_hostile_files_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "pickle.json").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    for verb in (["check", "deep.json"], ["check", "pickle.json"], ["unpack", "pickle.safetensors", "o.safetensors"]):
        done = watched(tmp_path, *verb)
        assert done.returncode == 2, done.stderr
    assert not (tmp_path / "ran").exists()
