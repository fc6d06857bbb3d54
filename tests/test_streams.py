"""Data that are read as they are needed: the numbers of data in memory, little memory, words for what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Cli, without_times
from tests.runs.children import until

CODE = """
import os, signal, torch
from torch import nn

class Images:
    def __init__(self, n, side=8, bad=None, kind=""):
        self.n, self.side, self.bad, self.kind = n, side, bad, kind

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if self.kind == "plain":
            return torch.full((3, self.side, self.side), float(i % 97)), i % 2
        image = torch.sin(torch.arange(3 * self.side**2) * (i % 97 + 1)).view(3, self.side, self.side)
        if i == self.bad:
            if self.kind == "raises":
                raise OSError("the disk is gone")
            if self.kind == "shape":
                image = image[:, :4]
            if self.kind == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
        return image, i % 2

def data(n=100, side=8, bad=None, kind=""):
    return Images(n, side, bad, kind), Images(30, side)

def by_chance():
    class Noisy(Images):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return image + torch.randn(image.shape), label
    return Noisy(60), Images(30)

def net():
    seen = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*seen, nn.Dropout(0.2), nn.Linear(16, 2))
"""


def scheme(stream: str = "always", name: str = "data", **changes: Any) -> dict[str, Any]:
    data = {"name": f"mine.py:{name}", "validation": 0.2, "stream": stream, **changes.pop("data", {})}
    return {
        "version": 1,
        "name": "streamed",
        "model": {"factory": "mine.py:net"},
        "data": data,
        "reference": {"epochs": 2, "batch_size": 16},
        "compress": [{"layers": ["*"], "how": {"type": "quantize", "k": 4}}],
        "lc": {"mu": {"start": 0.1, "factor": 2.0, "steps": 2}},
        "l_step": {"epochs": 2, "batch_size": 16, "lr": 0.02},
    } | changes


@pytest.fixture
def run(cli: Cli) -> Callable[..., Any]:
    """Runs a scheme; returns the process that has ended."""
    (cli.home.parent / "mine.py").write_text(CODE)

    def run(*settings: str, **changes: Any) -> Any:
        (cli.home.parent / "scheme.json").write_text(json.dumps(scheme(**changes)))
        return cli("--run", "scheme.json", "--quiet", *(part for each in settings for part in ("--set", each)))

    return run


def test_numbers_are_those_of_data_in_memory(run: Callable[..., Any]) -> None:
    results = []
    for stream, workers in (("never", 0), ("always", 0), ("always", 2)):
        done = run(stream=stream, data={"workers": workers, "augment": ["crop=2", "flip"]})
        assert (done.returncode, done.stderr) == (0, "")
        results.append(without_times(json.loads(done.stdout)))
    assert results[0] == results[1] == results[2]


def test_a_stopped_run_resumes_in_the_middle_of_an_epoch_to_the_same_end(cli: Cli, run: Callable[..., Any]) -> None:
    longer = {"l_step": {"epochs": 40, "batch_size": 4, "lr": 0.02}}
    wanted = without_times(json.loads(run(**longer).stdout))
    with cli.start("--run", "scheme.json", "--quiet", "--home", "other") as process:
        until(lambda: any((cli.home.parent / "other").glob("runs/*/checkpoint.safetensors")))
        readers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 130
    until(lambda: not any(reader.is_running() for reader in readers))
    (folder,) = (cli.home.parent / "other/runs").glob("*-*")
    resumed = cli("resume", folder.name, "--quiet", "--home", "other")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert without_times(json.loads(resumed.stdout)) == wanted


def test_chance_within_items_is_the_same_with_any_number_of_readers(run: Callable[..., Any]) -> None:
    results = [run(name="by_chance", data={"workers": workers}) for workers in (0, 2)]
    one, other = (without_times(json.loads(done.stdout)) for done in results)
    assert one == other


@pytest.mark.parametrize(
    ("kind", "bad", "code", "said"),
    [
        ("raises", 0, 2, "scheme.json: data.name: train item 0 raised OSError: the disk is gone"),
        ("raises", 7, 2, "train item 7 raised OSError: the disk is gone"),
        ("raises", 777, 1, "train item 777 raised OSError: the disk is gone"),
        ("shape", 777, 1, "train all inputs must have one shape"),
        ("dies", 777, 1, "a process that reads the data was killed"),
    ],
)
def test_what_cannot_be_read_is_one_line(run: Callable[..., Any], kind: str, bad: int, code: int, said: str) -> None:
    args = {"n": 1000 if bad > 7 else 100, "bad": bad, "kind": kind}
    done = run(data={"args": args, "workers": 1, "validation": 0.0}, reference={"epochs": 1, "batch_size": 16})
    assert done.returncode == code and said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory by /proc")
def test_memory_stays_small_where_the_data_would_not(cli: Cli, run: Callable[..., Any]) -> None:
    # 2,000 images of 3×256×256 take 1.6 GB, beside half a gigabyte for torch; most are only evaluated.
    big = {"args": {"n": 2000, "side": 256, "kind": "plain"}, "workers": 0, "validation": 0.98}
    (cli.home.parent / "scheme.json").write_text(
        json.dumps(scheme(data=big, compress=[], reference={"epochs": 1, "batch_size": 16}))
    )
    watch = (
        "import sys\nfrom pathlib import Path\nfrom lctui.cli import main\n"
        "sys.argv = ['lctui', '--run', 'scheme.json', '--quiet']\n"
        "try:\n    main()\nfinally:\n    print(Path('/proc/self/status').read_text(), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", watch]
    done = subprocess.run(
        command,
        cwd=cli.home.parent,
        env=cli.env | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (peak,) = (line.split()[1] for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    assert int(peak) < 1_400_000  # kilobytes


def test_what_is_too_large_is_streamed_of_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from lctui import data
    from lctui.data_streams import Unread
    from lctui.scheme import Data

    images = [(torch.zeros(3, 100, 100), i % 2) for i in range(10)]
    block = Data(name="mine:data")
    loaded = data.from_datasets(images, images, block, seed=0)
    assert not isinstance(loaded.train, Unread)

    class Small:
        total = 4 * 20 * 30_000 * 3  # the data take a third of it

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Small)
    loaded = data.from_datasets(images, images, block, seed=0)
    assert isinstance(loaded.train, Unread) and (len(loaded.train), len(loaded.test)) == (9, 10)


def test_looking_at_the_first_item_changes_nothing_by_chance() -> None:
    import torch

    from lctui import data, user_code
    from lctui.scheme import Data

    class Noisy:
        def __len__(self) -> int:
            return 10

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            return torch.randn(3), i % 2

    with user_code.seeded(4):
        wanted = torch.stack([torch.randn(3) for _ in range(10)])
    with user_code.seeded(4):
        loaded = data.from_datasets(Noisy(), Noisy(), Data(name="mine:data", validation=0.0), seed=4)
    assert torch.equal(loaded.train.first(10).inputs, wanted)


def test_other_data_are_other_data(tmp_path: Path) -> None:
    import torch

    from lctui import data
    from lctui.scheme import Data

    block = Data(name="mine:data", stream="always")

    def digest(n: int = 300, changed: int | None = None) -> str:
        images = [(torch.full((1, 2, 2), float(i + (i == changed))), i % 2) for i in range(n)]
        return data.from_datasets(images, images[:9], block, seed=0).digest

    assert digest() == digest() != digest(301)
    assert digest() != digest(changed=0) and digest() != digest(changed=299)


def test_how_data_are_read_names_no_run() -> None:
    from lctui.scheme import Scheme

    plain, told = (Scheme.model_validate(scheme(stream)) for stream in ("auto", "always"))
    assert plain.fingerprint() == told.fingerprint() and os.cpu_count()
