"""The command line as a shell sees it: real processes, exit codes, streams, signals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lctui
from tests.conftest import ROOT, Cli, without_times

WriteScheme = Callable[..., Path]


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> str:
    """Reads a process's stderr up to a line that begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"no line begins {beginning!r}")


def test_help_names_every_verb(cli: Cli) -> None:
    done = cli("--help")
    assert done.returncode == 0
    for verb in ("new", "check", "ls", "show", "rm", "stop", "resume", "export", "unpack", "schema", "bench", "--run"):
        assert verb in done.stdout


def test_a_run_prints_its_result_and_nothing_else_on_stdout(cli: Cli, scheme_file: WriteScheme) -> None:
    done = cli("--run", scheme_file())
    assert done.returncode == 0, done.stderr
    (run,) = cli.runs()
    assert json.loads(done.stdout) == json.loads((run / "result.json").read_text())
    lines = done.stderr.splitlines()
    assert lines[0].startswith("tiny: run ")
    assert sum(line.startswith("step ") for line in lines) == 3
    assert "compressed by LC" in done.stderr
    assert "\x1b" not in done.stderr


def test_quiet_says_nothing(cli: Cli, scheme_file: WriteScheme) -> None:
    done = cli("--run", scheme_file(), "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "finished"


def test_set_changes_a_field_for_one_call(cli: Cli, scheme_file: WriteScheme) -> None:
    done = cli("--run", scheme_file(), "--quiet", "--set", "lc.mu.steps=1", "--set", "name=once")
    assert json.loads(done.stdout)["name"] == "once"
    assert json.loads(done.stdout)["steps"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "none.json"], "none.json: no such file"),
        (["check", "none.json"], "none.json: no such file"),
        (
            ["check", "scheme.json", "--set", "lc.mu.stps=1"],
            "scheme.json: lc.mu.stps: unknown field; did you mean 'steps'",
        ),
        (["--run", "scheme.json", "--set", "nonsense"], "--set nonsense: must be PATH=VALUE"),
        (["--run", "scheme.json", "--device", "tpu"], "--device: 'tpu' is not a device: auto, cpu, cuda or cuda:N"),
        (["show", "abc"], "abc: no such run in"),
        (["--rum", "x"], "lctui: No such option: --rum"),
        (["chek", "x"], "lctui: No such command 'chek'"),
        (["check"], "lctui: Missing argument 'FILE'"),
        (["export", "abc"], "lctui: Missing option '--to'"),
        (["unpack", "scheme.json", "out.safetensors"], "scheme.json: "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    cli: Cli, scheme_file: WriteScheme, arguments: list[str], message: str
) -> None:
    scheme_file()
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert cli.runs() == []


def test_three_mistakes_are_three_lines(cli: Cli, scheme_file: WriteScheme) -> None:
    compress = [
        {"layers": ["fc1"], "how": {"type": "prune", "kapa": 100}},
        {"layers": ["fc22"], "how": {"type": "quantize", "k": 2}},
        {"layers": ["fc3"], "how": {"type": "prune", "kappa": 1000}},
    ]
    path = scheme_file(compress=compress)
    done = cli("--run", path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{path}: compress.0.how.kapa: unknown field; did you mean 'kappa'?"
        " (one of: type, kappa, fraction, alpha, norm, k, code)",
        f"{path}: compress.1.layers.0: no layer 'fc22' with weights to compress; did you mean 'fc2'?",
        f"{path}: compress.2.how.kappa: 1000 exceeds the 200 weights of fc3",
    ]
    assert cli.runs() == []


def test_missing_data_is_bad_input_and_leaves_no_run(cli: Cli, scheme_file: WriteScheme, tmp_path: Path) -> None:
    path = scheme_file(data={"name": "mnist", "classes": [3, 8]})
    done = cli("--run", path, env=cli.env | {"LCTUI_DATA": str(tmp_path)})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tmp_path) in line and "LCTUI_DATA" in line
    assert cli.runs() == []


def test_a_home_that_cannot_be_written_is_bad_input(cli: Cli, scheme_file: WriteScheme, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("--run", scheme_file(), "--home", tmp_path / "file" / "home")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path / 'file' / 'home'}: cannot be written to: ")


def test_check_predicts_and_writes_nothing(cli: Cli, scheme_file: WriteScheme) -> None:
    path = scheme_file(compress=[{"layers": ["fc1"], "how": {"type": "quantize", "k": 3}}])
    report = json.loads(cli("check", path, "--json").stdout)
    n, others = 784 * 300, 300 * 100 + 100 * 2 + 402
    assert report["reference_bits"] == 32 * (n + others)
    assert report["compressed_bits"] == 2 * n + 96 + 32 * others
    assert report["compression_ratio"] == report["reference_bits"] / report["compressed_bits"]
    assert report["exact"] is True
    assert [layer["name"] for layer in report["layers"]] == ["fc1", "fc2", "fc3"]
    assert report["layers"][0]["compressed_bits"] == 2 * n + 96
    assert "fc1" in cli("check", path).stdout
    assert not cli.home.exists()


def test_the_schema_is_json_schema(cli: Cli) -> None:
    import jsonschema

    schema = json.loads(cli("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((ROOT / "schemes/quickstart.json").read_text()), schema)


def test_the_life_of_a_run(cli: Cli, scheme_file: WriteScheme, tmp_path: Path) -> None:
    """ls, show, export, unpack and rm on one finished run."""
    result = json.loads(cli("--run", scheme_file(), "--quiet").stdout)
    (listed,) = json.loads(cli("ls", "--json").stdout)
    assert listed["id"] == result["id"] and listed["status"] == "finished"
    assert listed["test_error_pct"] == result["final"]["test_error_pct"]
    assert result["id"] in cli("ls").stdout

    prefix = result["id"][:3]
    shown = json.loads(cli("show", prefix, "--json").stdout)
    assert shown["result"] == result and shown["scheme"]["seed"] == 3
    assert "LC steps" in cli("show", prefix).stdout

    written = cli("export", prefix, "--to", tmp_path / "out", "--format", "csv,json").stdout.split()
    assert len(written) == 7 and all(Path(path).exists() for path in written)
    (row,) = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert row["final_test_error_pct"] == result["final"]["test_error_pct"]

    drawn = cli("export", prefix, prefix, "--to", tmp_path / "out", "--format", "svg", "--plot", "curve,layers")
    assert [Path(line).name for line in drawn.stdout.split()] == ["error.svg", "gap.svg", "layers.svg"]
    alone = cli("export", prefix, "--to", tmp_path / "no", "--format", "svg", "--plot", "pareto")
    assert (alone.returncode, alone.stdout) == (2, "") and not (tmp_path / "no").exists()
    assert alone.stderr == "--plot: pareto cannot be drawn of tiny: needs two runs or more with an error and a ratio\n"

    artifact = cli.home / "runs" / result["id"] / "compressed.safetensors"
    assert cli("unpack", artifact, tmp_path / "dense.safetensors").returncode == 0
    dense, loaded = load_file(tmp_path / "dense.safetensors"), lctui.load(artifact)
    assert all(torch.equal(dense[name], loaded[name]) for name in loaded)
    assert int(dense["fc1.weight"].count_nonzero()) == 5000

    assert cli("rm", prefix).stdout.strip() == result["id"]
    assert cli.runs() == []
    assert cli("show", prefix).returncode == 2


def long(scheme_file: WriteScheme) -> Path:
    """A scheme that trains until it is stopped."""
    return scheme_file("long.json", l_step={"epochs": 100_000, "batch_size": 64, "lr": 0.05})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_with_everything_kept(cli: Cli, scheme_file: WriteScheme, number: signal.Signals) -> None:
    process = cli.start("--run", long(scheme_file))
    wait_for_line(process, "direct compression")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(stdout)["status"] == "interrupted"
    assert "lctui resume" in stderr
    (run,) = cli.runs()
    assert (run / "checkpoint.safetensors").exists()
    assert json.loads(cli("show", run.name, "--json").stdout)["status"] == "interrupted"


def test_a_killed_run_shows_as_crashed_and_resumes_to_the_same_numbers(
    cli: Cli, scheme_file: WriteScheme, tmp_path: Path
) -> None:
    other = Cli(tmp_path / "other")
    for each in (cli, other):
        each.env |= {"OMP_NUM_THREADS": "2"}  # however many threads the other tests have
    undisturbed = json.loads(other("--run", scheme_file(), "--quiet").stdout)
    process = cli.start("--run", scheme_file())
    wait_for_line(process, "step   1/3")
    process.kill()
    process.communicate()
    (run,) = cli.runs()
    assert json.loads((run / "meta.json").read_text())["threads"] == 2
    assert json.loads(cli("ls", "--json").stdout)[0]["status"] in ("crashed", "finished")
    assert without_times(json.loads(cli("resume", run.name, "--quiet").stdout)) == without_times(undisturbed)
    again = cli("resume", run.name)
    assert again.returncode == 2 and "is finished" in again.stderr


def test_stop_and_resume_a_detached_run(cli: Cli, scheme_file: WriteScheme) -> None:
    started = cli("--run", long(scheme_file), "--detach")
    run_id = started.stdout.strip()
    assert started.returncode == 0 and [run.name for run in cli.runs()] == [run_id]
    stopped = cli("stop", run_id)
    assert stopped.stdout.strip() == f"{run_id} interrupted", stopped.stderr
    assert cli("stop", run_id).returncode == 2

    resumed = cli("resume", run_id, "--detach")
    assert resumed.stdout.strip() == run_id
    assert cli("rm", run_id).returncode in (0, 2)  # 2 once the worker has its lock
    if cli.runs():
        assert cli("stop", run_id).stdout.strip() == f"{run_id} interrupted"


def test_a_detached_run_outlives_its_terminal(cli: Cli, scheme_file: WriteScheme) -> None:
    """Started from a real terminal whose other end then goes away: the hangup does not reach the worker."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "lctui", "--run", str(scheme_file()), "--detach"]
    shell = subprocess.Popen(
        command, stdin=child, stdout=subprocess.PIPE, stderr=child, env=cli.env, start_new_session=True, text=True
    )
    run_id = shell.communicate(timeout=60)[0].strip()
    os.close(child)
    os.close(parent)
    while (status := json.loads(cli("show", run_id, "--json").stdout)["status"]) in ("starting", "running"):
        continue
    assert status == "finished"


def test_a_study_runs_its_members_and_reuses_them(cli: Cli, scheme_file: WriteScheme, tmp_path: Path) -> None:
    base = json.loads(scheme_file(compress=[{"layers": ["fc1"], "how": {"type": "quantize", "k": 2}}]).read_text())
    study = {
        "version": 1,
        "study": "k",
        "base": base,
        "grid": {"compress.0.how.k": [2, 3]},
        "variants": [{"name": "explodes", "set": {"l_step.lr": 1e9, "l_step.clip_lr": False}}],
    }
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study))
    done = cli("--run", path)
    assert done.returncode == 1
    runs = json.loads(done.stdout)["runs"]
    assert [run["name"] for run in runs] == ["tiny/0.k=2", "tiny/0.k=3", "tiny/explodes"]
    assert [run["status"] for run in runs] == ["finished", "finished", "diverged"]
    assert [len(run["layers"][0]["codebook"]) for run in runs[:2]] == [2, 3]
    assert len(list((cli.home / "references").iterdir())) == 1

    again = cli("--run", path)
    assert [run["id"] for run in json.loads(again.stdout)["runs"][:2]] == [run["id"] for run in runs[:2]]
    assert again.stderr.count("already done") == 2


def test_a_study_that_was_stopped_goes_on(cli: Cli, scheme_file: WriteScheme, tmp_path: Path) -> None:
    study: dict[str, Any] = {"version": 1, "study": "s", "base": json.loads(scheme_file().read_text())}
    study["grid"] = {"lc.mu.steps": [1, 2]}
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study))
    process = cli.start("--run", path)
    wait_for_line(process, "step   1/2")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    done = cli("--run", path)
    assert done.returncode == 0, done.stderr
    assert [run["steps"] for run in json.loads(done.stdout)["runs"]] == [1, 2]
    assert len(cli.runs()) == 2


def test_a_net_and_data_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def net(width=4):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(5, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))\n"
        "def data():\n"
        "    x = torch.randn(120, 5, generator=torch.Generator().manual_seed(0))\n"
        "    y = (x.sum(1) > 0).long()\n"
        "    return (x[:90], y[:90]), (x[90:], y[90:])\n"
    )
    scheme = {
        "name": "mine",
        "model": {"factory": "mine.py:net", "args": {"width": 6}},
        "data": {"name": "mine.py:data"},
        "reference": {"epochs": 3, "batch_size": 8},
        "compress": [{"layers": ["0", "2"], "how": {"type": "quantize", "codebook": "ternary"}}],
        "lc": {"mu": {"start": 0.01, "factor": 2, "steps": 2}},
        "l_step": {"epochs": 1, "batch_size": 8},
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(scheme))
    assert "0, 2" in cli("check", path).stdout
    done = cli("--run", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["final"]["compressed_bits"] == 2 * 42 + 32 + 32 * 8


def test_the_quickstart_is_a_valid_scheme(cli: Cli) -> None:
    assert cli("check", ROOT / "schemes/quickstart.json").returncode == 0


def test_a_study_runs_again_what_was_done_with_other_code(cli: Cli, tmp_path: Path) -> None:
    source = (
        "import torch\n"
        "def net():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, {width}), torch.nn.ReLU(),"
        " torch.nn.Linear({width}, 2))\n"
    )
    study = {
        "study": "mine",
        "base": {
            "model": {"factory": "mine.py:net"},
            "data": {"name": "mnist_sample", "classes": [0, 1]},
            "reference": {"epochs": 1},
            "compress": [{"layers": ["1"], "how": {"type": "quantize", "k": 2}}],
            "lc": {"mu": {"steps": 1}},
            "l_step": {"epochs": 1},
        },
    }
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study))
    sizes = []
    for width in (4, 4, 6):
        (tmp_path / "mine.py").write_text(source.format(width=width))
        done = cli("--run", path)
        assert done.returncode == 0, done.stderr
        sizes.append((json.loads(done.stdout)["runs"][0]["reference"]["parameters"], "already done" in done.stderr))
    small, large = 785 * 4 + 10, 785 * 6 + 14
    assert sizes == [(small, False), (small, True), (large, False)]


def test_a_closed_terminal_stops_a_foreground_run_with_everything_kept(cli: Cli, scheme_file: WriteScheme) -> None:
    parent, child = pty.openpty()
    # A program of its own between the test and lctui makes the terminal its controlling one, as a login shell does.
    takes_terminal = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        " os.execv(sys.executable, [sys.executable, '-m', 'lctui', '--run', sys.argv[1]])"
    )
    command = [sys.executable, "-c", takes_terminal, str(long(scheme_file))]
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=cli.env)
    os.close(child)
    shown = b""
    while b"direct compression" not in shown:
        shown += os.read(parent, 1000)
    os.close(parent)
    assert process.wait(timeout=60) == 130
    (run,) = json.loads(cli("ls", "--json").stdout)
    assert run["status"] == "interrupted"


def test_what_a_net_prints_does_not_reach_stdout(cli: Cli, tmp_path: Path, scheme_file: WriteScheme) -> None:
    (tmp_path / "chatty.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(784, 2)\n"
        "    def forward(self, x):\n"
        "        print('chatter')\n"
        "        return super().forward(x.flatten(1))\n"
    )
    done = cli("--run", scheme_file(model={"factory": "chatty.py:Net"}, compress=[]), "--quiet")
    assert json.loads(done.stdout)["status"] == "finished"


def test_a_study_with_a_member_that_does_not_fit_trains_nothing(
    cli: Cli, tmp_path: Path, scheme_file: WriteScheme
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Linear(3, 2))\n"
    )
    base = json.loads(scheme_file(model={"factory": "mine.py:net"}, compress=[]).read_text())
    layers = [{"layers": [name], "how": {"type": "quantize", "k": 2}} for name in ("0", "1")]
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"study": "s", "base": base, "grid": {"compress": [[task] for task in layers]}}))
    for verb in ("check", "--run"):
        done = cli(verb, path)
        assert done.returncode == 2
        assert "compress.0.layers.0: no layer '1' with weights to compress" in done.stderr
    assert cli.runs() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "bogus"], "--device: 'bogus' is not a device"),
        (["--set", "data.name=mnist"], "scheme.json: data.name: mnist: no MNIST/raw/train-images-idx3-ubyte or "),
    ],
)
def test_a_detached_run_is_checked_before_it_exists(
    cli: Cli, scheme_file: WriteScheme, tmp_path: Path, arguments: list[str], message: str
) -> None:
    scheme_file()
    done = cli("--run", "scheme.json", "--detach", *arguments, env=cli.env | {"LCTUI_DATA": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert cli.runs() == []
