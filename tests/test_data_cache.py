"""The data cache: the very data that would be made anew, and no failure, whatever becomes of the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lctui import data, data_cache, data_sources, prepare
from lctui.data import DataSet
from lctui.data_sources import Images
from lctui.errors import BadInput
from lctui.runs import atomic
from lctui.scheme import Data, Scheme
from tests.conftest import TINY, Cli, tiny, without_times
from tests.runs.children import HOLD, child
from tests.test_data import folder, no_network, tiny_idx_files

__all__ = ["folder", "no_network"]

SPLITS = ("train", "validation", "test")


def place(home: Path, seed: int = 0, **block: Any) -> data_cache.Entry:
    found = data_cache.entry(Data(**({"name": "mnist"} | block)), seed=seed, home=home)
    assert found is not None
    return found


def made(seed: int = 0, home: Path = Path("no-home"), **block: Any) -> DataSet:
    return data.load(Data(**({"name": "mnist"} | block)), seed=seed, home=home)


def same(a: DataSet, b: DataSet) -> bool:
    tensors = [(getattr(a, part), getattr(b, part)) for part in SPLITS]
    facts = [(each.digest, each.classes, each.mean, each.std) for each in (a, b)]
    return facts[0] == facts[1] and all(
        torch.equal(x.inputs, y.inputs) and torch.equal(x.labels, y.labels) and x.labels.dtype == y.labels.dtype
        for x, y in tensors
    )


@pytest.fixture
def kept(folder: Path, tmp_path: Path) -> data_cache.Entry:
    """The tiny MNIST in the cache of a home."""
    entry = place(tmp_path / "home")
    entry.save(made())
    assert entry.file.is_file()
    return entry


@pytest.mark.parametrize(
    "block", [{}, {"validation": 0.0}, {"classes": [7, 2]}, {"validation": 0.5, "seed": 9}, {"name": "mnist_sample"}]
)
def test_what_is_kept_is_what_was_made(folder: Path, tmp_path: Path, block: dict[str, Any]) -> None:
    entry, new = place(tmp_path, **block), made(**block)
    assert entry.load() is None
    entry.save(new)
    found = entry.load()
    assert found is not None
    assert same(found, new)
    for part in SPLITS:
        inputs = getattr(found, part).inputs
        assert inputs.data_ptr() % 64 == 0  # as torch allocates: some sums depend on it
        assert inputs.permute(0, 2, 3, 1).is_contiguous()  # rows of batches without a copy


def test_colour_images_come_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sets = [Images(rng.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n, dtype=np.uint8) % 10) for n in (40, 20)]
    monkeypatch.setattr(data, "read", lambda *args, **options: sets)
    entry = data_cache.Entry(tmp_path / "cache" / "key", {"data": "cifar10"})
    new = made(name="cifar10")
    entry.save(new)
    found = entry.load()
    assert found is not None
    assert same(found, new)


def test_writing_into_the_tensors_leaves_the_file_as_it_is(kept: data_cache.Entry) -> None:
    found = kept.load()
    assert found is not None
    found.train.inputs.fill_(3)
    found.train.labels.fill_(3)
    again = kept.load()
    assert again is not None
    assert same(again, made())


def damage_byte(at: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        place = int(at * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(damage_byte(at) for at in (0.0, 0.0004, 0.001, 0.3, 0.9)),
        lambda content: content[: len(content) // 2],
        lambda content: content[:4096],
        lambda content: content[:-4096],
        lambda content: content[:100],
        lambda content: b"",
        lambda content: content[:8192] + bytes(len(content) - 8192),
        lambda content: bytes(len(content)),
        lambda content: os.urandom(len(content)),
        lambda content: b"\xff" * len(content),
    ],
)
def test_a_damaged_file_is_removed(kept: data_cache.Entry, change: Callable[[bytes], bytes]) -> None:
    kept.file.write_bytes(change(kept.file.read_bytes()))
    assert kept.load() is None
    assert not kept.file.exists()


def test_a_file_of_other_data_or_of_another_version_is_not_taken(kept: data_cache.Entry) -> None:
    older = data_cache.Entry(kept.file, kept.identity | {"version": 0})
    older.save(made(seed=5))
    assert kept.load() is None


def test_every_part_of_what_determines_the_data_has_a_place_of_its_own(folder: Path, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"classes": [0, 1]}, {"classes": [1, 0]}, {"validation": 0.2}]
    places = [place(tmp_path, **change).file for change in [*changes, {"name": "mnist_sample"}]]
    (folder / "t10k-labels-idx1-ubyte").write_bytes(tiny_idx_files()["t10k-labels-idx1-ubyte"])
    places.append(place(tmp_path).file)
    os.utime(folder / "t10k-labels-idx1-ubyte", ns=(1, 1))
    places.append(place(tmp_path).file)
    assert len(set(places)) == len(places)


def test_what_nobody_can_vouch_for_has_no_place(folder: Path, tmp_path: Path) -> None:
    blocks = [Data(name="sets.py:both"), Data(name="fashion_mnist"), Data(name="mnist", args={"n": 1})]
    assert [data_cache.entry(block, seed=0, home=tmp_path) for block in blocks] == [None] * 3


def test_the_cache_is_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [place(tmp_path, seed=seed) for seed in range(4)]
    entries[0].save(made())
    size = entries[0].file.stat().st_size
    monkeypatch.setattr(data_cache, "LIMIT_BYTES", 2 * size)
    for seed, entry in enumerate(entries[:3]):
        entry.save(made(seed=seed))
        os.utime(entry.file, (seed, seed))
    assert [entry.file.exists() for entry in entries] == [False, True, True, False]
    assert entries[1].load() is not None  # and so it was used last
    entries[3].save(made(seed=3))
    assert [entry.file.exists() for entry in entries] == [False, True, False, True]
    monkeypatch.setattr(data_cache, "LIMIT_BYTES", size // 2)
    entries[0].save(made())
    assert not entries[0].file.exists()


def test_a_disk_that_is_nearly_full_is_left_to_the_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_cache, "LEFT_FREE_BYTES", 1 << 62)
    place(tmp_path).save(made())
    assert not place(tmp_path).file.exists()


@pytest.mark.parametrize("obstacle", ["home", "home/cache", "home/cache/data"])
def test_a_home_without_room_for_a_cache_has_none(folder: Path, tmp_path: Path, obstacle: str) -> None:
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).write_text("in the way")
    entry = place(tmp_path / "home")
    entry.save(made())
    assert entry.load() is None
    assert (tmp_path / obstacle).read_text() == "in the way"


def test_a_write_that_fails_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_cache, "_seal", full)
    entry = place(tmp_path)
    entry.save(made())
    assert list(entry.file.parent.iterdir()) == []


def prepared(home: Path, **changes: Any) -> prepare.Prepared:
    prepare._last_data.clear()
    return prepare.prepare(Scheme.model_validate(tiny(**changes)), home, "cpu", "")


def test_a_second_start_reads_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(tmp_path / "home")
    monkeypatch.setattr(data, "read", lambda *args, **options: pytest.fail("the source was read"))
    second = prepared(tmp_path / "home")
    assert same(first.data, second.data)
    assert torch.equal(first.splits.train.rows, second.splits.train.rows)
    assert second.splits.train.rows.data_ptr() == second.data.train.inputs.data_ptr()  # mapped, not copied


def test_changed_files_are_noticed(folder: Path, tmp_path: Path) -> None:
    first = prepared(tmp_path / "home", data={"name": "mnist", "classes": [3, 8]})
    file = folder / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[16 + 3 * 784] ^= 1
    file.write_bytes(content)
    second = prepared(tmp_path / "home", data={"name": "mnist", "classes": [3, 8]})
    assert first.data.digest != second.data.digest


def test_a_refused_scheme_leaves_no_cache(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        prepared(tmp_path / "home", compress=[{"layers": ["fc9"], "how": {"type": "prune", "kappa": 1}}])
    assert not (tmp_path / "home").exists()


def test_a_net_that_writes_into_its_input_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rude.py").write_text(
        "import torch\n"
        "class Rude(torch.nn.Linear):\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1).mul_(2))\n"
        "def net():\n    return Rude(784, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path / "home", model={"factory": "rude.py:net"}, compress=[])
    found = place(tmp_path / "home", seed=TINY["seed"], **TINY["data"]).load()
    assert found is not None
    assert same(found, made(seed=TINY["seed"], **TINY["data"]))


def test_two_processes_at_once_do_no_harm(folder: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from lctui import data, data_cache\nfrom lctui.scheme import Data\n"
        f"home = Path({str(tmp_path)!r})\n"
        "made = data.load(Data(name='mnist'), seed=0, home=home)\n"
        "entry = data_cache.entry(Data(name='mnist'), seed=0, home=home)\n"
        "for _ in range(100):\n"
        "    entry.save(made)\n"
        "    found = entry.load()\n"
        "    assert found is not None and found.train.inputs.equal(made.train.inputs)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()


def test_a_run_gives_the_same_result_with_and_without(cli: Cli, scheme_file: Callable[..., Path]) -> None:
    path = scheme_file()
    first = cli("--run", path, "--quiet")
    second = cli("--run", path, "--quiet", env=cli.env | {"PYTHONWARNINGS": "error::UserWarning"})
    (kept,) = (cli.home / "cache" / "data").iterdir()
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("in the way")
    third = cli("--run", path, "--quiet")
    results = [json.loads(done.stdout) for done in (first, second, third)]
    assert without_times(results[0]) == without_times(results[1]) == without_times(results[2])
    files = [(run / "compressed.safetensors").read_bytes() for run in cli.runs()]
    assert files[0] == files[1] == files[2]
    assert all(atomic.read_json(run / "meta.json")["data_sha256"] for run in cli.runs())
    assert second.stderr == third.stderr == ""


def test_reading_names_no_file_that_the_cache_does_not_watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    opening = Path.open
    monkeypatch.setattr(Path, "open", lambda file, *mode: (opened.append(file), opening(file, *mode))[1])
    data_sources.read("mnist", home=Path("no-home"))
    assert sorted(opened) == sorted(data_sources.input_files.data_files("mnist", Path("no-home")))


def test_who_stands_still_while_it_writes_into_the_cache_holds_up_no_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_cache, "PATIENCE_SECONDS", 0.01)
    entry, new = place(tmp_path / "home"), made()
    entry.file.parent.mkdir(parents=True)
    with child(HOLD, entry.file.parent.with_suffix(".lock")):
        entry.save(new)
        assert entry.load() is None
    entry.save(new)
    assert entry.load() is not None
