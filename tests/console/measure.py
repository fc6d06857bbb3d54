"""The console's speed in a real terminal, on this machine: `python -m tests.console.measure`.

Makes homes of its own from the recorded runs, starts a real run that trains on all cores, and prints one line a figure.
Quantiles are over single keys or starts; nothing is averaged away.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lctui.runs.store import Run
from tests.console.terminal import Terminal, lctui

RECORDED = sorted((Path(__file__).parents[1] / "data" / "home" / "runs").iterdir())
QUICKSTART = next(folder for folder in RECORDED if "quickstart" in folder.name)
SMALL_FILES = ("scheme.json", "meta.json", "status.json", "result.json")
TRAINING = {
    "version": 1,
    "name": "training",
    "model": {"factory": "lenet5", "args": {"classes": 10}},
    "data": {"name": "mnist_sample"},
    "reference": {"epochs": 1},
    "compress": [{"layers": ["fc1"], "how": {"type": "prune", "kappa": 9000}}],
    "lc": {"mu": {"steps": 100, "factor": 1.05}},
    "l_step": {"epochs": 20, "batch_size": 256},
}


def main() -> None:
    """All figures, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        many, large = many_runs(root / "many", 5000), large_run(root / "large", 100_000)
        compared = [steps_run(root / "compared", i, 50_000) for i in range(20)]
        os.sync()  # what was just written is not the console's to wait for
        say("first paint of a home of 5 runs, s", *starts(few_runs(root / "few"), "quit", 7))
        say("5,000 runs listed (first start: no cache), s", *starts(many, "runs  5,000", 1, (many / "cache").exists))
        say("5,000 runs listed (later starts), s", *starts(many, "runs  5,000", 5))
        say("a run of 100,000 events opened, s", *opened(large, "best @", 5))
        say(f"{len(compared)} runs × 50,000 steps compared, s", *comparisons(root / "compared", 3))
        with_training(many)


def with_training(home: Path) -> None:
    """Keys and bytes while a run trains on all cores."""
    scheme = home / "training.json"
    scheme.write_text(json.dumps(TRAINING))
    asked = subprocess.run(
        lctui("--home", str(home), "--run", str(scheme), "--detach"), capture_output=True, text=True, check=True
    )
    run = Run(home / "runs" / asked.stdout.strip())
    with terminal(home) as console:
        console.wait(lambda _: any(event["event"] == "epoch" for event in run.events()), timeout=300)
        say("while a run trains: key to paint in the list, ms", *keys(console))
        say("while a run trains: KB/s of the list at 120×40", rate(console))
        console.press("home", "enter")
        console.wait("LC step")
        say("while a run trains: KB/s of the run view at 120×40", rate(console))
        console.press("escape")
    say("while a run trains: first paint, s", *starts(home, "quit", 5))
    subprocess.run(lctui("--home", str(home), "stop", run.id), capture_output=True, check=True)


def say(what: str, *figures: float) -> None:
    """A line: the median, the 95th percentile and the largest of some figures."""
    ordered = sorted(figures)
    middle, high = ordered[len(ordered) // 2], ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
    sys.stdout.write(f"{what}: median {middle:.3g}, p95 {high:.3g}, max {ordered[-1]:.3g} ({len(ordered)})\n")
    sys.stdout.flush()


def terminal(home: Path) -> Terminal:
    """The console on a home, with settings of its own."""
    return Terminal(lctui(), {"LCTUI_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")})


def starts(home: Path, words: str, times: int, settled: Callable[[], bool] = lambda: True) -> list[float]:
    """Seconds from starting the program until words stand on the screen; it is left once things have settled."""
    figures = []
    for _ in range(times):
        begun = time.perf_counter()
        with terminal(home) as console:
            console.wait(words)
            figures.append(time.perf_counter() - begun)
            console.wait(lambda _: settled())
    return figures


def opened(home: Path, words: str, times: int) -> list[float]:
    """Seconds from enter on the only run until words stand on the screen."""
    figures = []
    for _ in range(times):
        with terminal(home) as console:
            console.wait("best @")
            begun = time.perf_counter()
            console.press("enter")
            console.wait(lambda text: "1 error" in text and words in text and "LC step" in text)
            figures.append(time.perf_counter() - begun)
    return figures


def comparisons(home: Path, times: int) -> list[float]:
    """Seconds from `c` with all runs marked until their curves are drawn."""
    figures = []
    for _ in range(times):
        with terminal(home) as console:
            console.wait("compared-19")
            console.press(*["space"] * 20)
            console.wait("20 marked")
            begun = time.perf_counter()
            console.press("c")
            console.wait(lambda text: "[1 curves]" in text and "50k" in text)
            figures.append(time.perf_counter() - begun)
    return figures


def keys(console: Terminal, count: int = 200) -> list[float]:
    """Milliseconds from a key to the first bytes that answer it."""
    figures = []
    while console.read(0.3):
        pass
    for i in range(count):
        begun = time.perf_counter()
        console.press("down" if i % 20 < 10 else "up")
        console.read(5)
        figures.append(1000 * (time.perf_counter() - begun))
        while console.read(0.03):
            pass
    return figures


def rate(console: Terminal, seconds: float = 20) -> float:
    """Kilobytes a second that come by themselves."""
    before, end = console.bytes, time.monotonic() + seconds
    while time.monotonic() < end:
        console.read(0.2)
    return (console.bytes - before) / seconds / 1000


def few_runs(home: Path) -> Path:
    """The recorded runs."""
    shutil.copytree(RECORDED[0].parent, home / "runs")
    return home


def many_runs(home: Path, count: int) -> Path:
    """The recorded runs, many times over."""
    for i in range(count):
        source = RECORDED[i % len(RECORDED)]
        folder = copied(source, home / "runs" / f"r{i:04d}-{source.name}", i)
        os.link(source / "events.jsonl", folder / "events.jsonl") if _same_disk(source, folder) else shutil.copy(
            source / "events.jsonl", folder
        )
    return home


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def copied(source: Path, folder: Path, minutes: int) -> Path:
    """A recorded run's small files under another id, begun some minutes later than the first of them."""
    folder.mkdir(parents=True)
    for name in SMALL_FILES:
        shutil.copy(source / name, folder)
    meta = json.loads((folder / "meta.json").read_text())
    begun = datetime.datetime(2026, 1, 1) + datetime.timedelta(minutes=minutes)
    (folder / "meta.json").write_text(json.dumps(meta | {"created": begun.isoformat() + "Z"}))
    return folder


def large_run(home: Path, events: int) -> Path:
    """A run with so many events: its recorded steps with many epochs each."""
    folder = copied(QUICKSTART, home / "runs" / "100k-events", 0)
    recorded = [json.loads(line) for line in (QUICKSTART / "events.jsonl").read_text().splitlines()]
    steps = [event for event in recorded if event["event"] == "step"]
    epoch = next(event for event in recorded if event["event"] == "epoch")
    each = events // len(steps)
    with (folder / "events.jsonl").open("w") as file:
        for event in recorded:
            if event["event"] == "step":
                lines = (epoch | {"step": event["step"], "epoch": i + 1, "epochs": each} for i in range(each))
                file.writelines(json.dumps(line) + "\n" for line in lines)
            if event["event"] != "epoch":
                file.write(json.dumps(event) + "\n")
    return home


def steps_run(home: Path, number: int, steps: int) -> Path:
    """A run of so many LC steps: the recorded ones over and over."""
    folder = copied(QUICKSTART, home / "runs" / f"n{number:02d}-compared", number)
    scheme = json.loads((folder / "scheme.json").read_text())
    (folder / "scheme.json").write_text(json.dumps(scheme | {"name": f"compared-{number}"}))
    recorded = [json.loads(line) for line in (QUICKSTART / "events.jsonl").read_text().splitlines()]
    pattern = [event for event in recorded if event["event"] == "step"]
    with (folder / "events.jsonl").open("w") as file:
        for i in range(steps):
            file.write(json.dumps(pattern[i % len(pattern)] | {"step": i + 1, "steps": steps}) + "\n")
    return folder


if __name__ == "__main__":
    main()
