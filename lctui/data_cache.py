"""Built-in data sets as they are trained on, kept on disk: a later start maps them into memory instead of making them.

Owns `HOME/cache/data/`: one file a data set as a scheme has it (classes, split, normalisation), all of them within
`LIMIT_BYTES`.  What is there is trusted only if every page of it is as it was written, and was made from the files that
the data would be made from now.  A home that cannot be written to, or is full, has no cache, and nothing fails by that.
A user's own data are not kept: nobody knows what they depend on.

A file is a seal of 32 bytes, the length of the header in 8, the header (JSON), and the tensors, each from a new page
on, labels as int64 and inputs as float32 with the channels last, where a GPU and oneDNN want them.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lctui.data import DataSet
from lctui.data_items import Split
from lctui.errors import BadInput
from lctui.input_files import data_files
from lctui.memory import is_out_of_memory
from lctui.runs import atomic
from lctui.runs.clock import touch_last
from lctui.runs.locks import Lock
from lctui.scheme import Data
from lctui.scheme.net import BUILT_IN_DATA

VERSION = 1
"""Raised whenever a data set's numbers or a file's layout change, so that older files are not read."""

LIMIT_BYTES = 2 * 10**9
"""All files together; those that were used least recently go first."""

LEFT_FREE_BYTES = 10**9
"""Disk space that runs can count on: with less, nothing is kept."""

PATIENCE_SECONDS = 5.0
"""For whoever else writes: a process that was suspended meanwhile must hold up no run."""

_PAGE = 4096
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Entry:
    """One data set's place in the cache."""

    file: Path
    identity: dict[str, Any]

    def load(self) -> DataSet | None:
        """The data set, mapped; None if it is not there.  What is damaged is removed.

        The mapping is private: whatever is written into the tensors never reaches the file.

        Raises:
            MemoryError, OSError, RuntimeError: there was no memory for it, which says nothing of the file.
        """
        try:
            if not self.file.is_file():
                return None
            found = _read(self.file, self.identity)
        except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise  # the file may be whole
            found = None
        with suppress(OSError):
            if found is None:
                self.file.unlink(missing_ok=True)
            else:
                touch_last(self.file)
        return found

    def save(self, data: DataSet) -> None:
        """Keeps the data set, unless the disk has no room for it."""
        parts = [part for part in (data.train, data.validation, data.test) if isinstance(part, Split)]
        size = sum(split.inputs.nbytes + split.labels.nbytes for split in parts)
        folder = self.file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if size > LIMIT_BYTES or shutil.disk_usage(folder).free < size + LEFT_FREE_BYTES:
                return
            with Lock(folder.with_suffix(".lock")) as lock:
                if not lock.wait_briefly(PATIENCE_SECONDS):
                    return
                atomic.sweep(folder)
                # A file that a power cut leaves half-written is known by its seal.
                atomic.replace(self.file, lambda file: _write(file, self.identity, data), durable=False)
                touch_last(self.file)
                _make_room(folder, keep=self.file)
        except (BadInput, OSError, RuntimeError):  # the last is torch's word for a mapping that the system refuses
            return


def entry(block: Data, *, seed: int, home: Path) -> Entry | None:
    """The place of a scheme's data; None for data that are not kept, or whose files are yet to be downloaded.

    It is to be asked for before the files are read: if they change meanwhile, what was read has another place.
    """
    if block.name not in BUILT_IN_DATA or block.args:
        return None
    try:
        files = [_stamp(file) for file in data_files(block.name, home)]
    except OSError:
        return None
    if not files:
        return None
    identity = {
        "version": VERSION,
        "torch": torch.__version__,  # which permutation a seed stands for is torch's affair
        "data": block.model_dump(mode="json", include={"name", "args", "classes", "validation"}),
        "seed": seed,
        "files": files,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return Entry(home / "cache" / "data" / key, identity)


def _stamp(file: Path) -> list[Any]:
    """Tells a file from a later one of the same name, without reading it."""
    found = file.stat()
    return [str(file.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read(file: Path, identity: dict[str, Any]) -> DataSet | None:
    """Raises OSError, ValueError, KeyError, TypeError or RuntimeError for what is no whole file of the cache."""
    pages = file.stat().st_size // _PAGE
    mapped = torch.from_file(str(file), shared=False, size=pages * _PAGE, dtype=torch.uint8)
    start = mapped[:_PAGE].numpy().tobytes()
    length = int.from_bytes(start[32:40], "little")
    if not 0 < length <= len(mapped) - 40 or start[:32] != _seal(mapped):
        return None
    header = json.loads(mapped[40 : 40 + length].numpy().tobytes())
    if header["identity"] != identity:
        return None
    offset, tensors = _up_to_page(40 + length), []
    for dtype, shape in _layout(header["shapes"]):
        end = offset + math.prod(shape) * dtype.itemsize
        tensors.append(mapped[offset:end].view(dtype).view(shape))
        offset = _up_to_page(end)
    train, validation, test = (
        Split(inputs.permute(0, 3, 1, 2), labels) for labels, inputs in zip(tensors[::2], tensors[1::2], strict=True)
    )
    return DataSet(train, validation, test, header["classes"], header["digest"], header["mean"], header["std"])


def _write(file: Path, identity: dict[str, Any], data: DataSet) -> None:
    facts = {"classes": data.classes, "digest": data.digest, "mean": data.mean, "std": data.std}
    shapes = [list(getattr(data, part).inputs.permute(0, 2, 3, 1).shape) for part in _PARTS]
    header = json.dumps({"identity": identity, "shapes": shapes, **facts}).encode()
    with file.open("w+b") as out:
        out.write(bytes(32) + len(header).to_bytes(8, "little") + header)
        for tensor in _tensors(data):
            _fill_page(out)
            out.write(tensor.numpy().data)
        _fill_page(out)
        size = out.tell()
        out.flush()
        seal = _seal(torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8))
        out.seek(0)
        out.write(seal)


def _tensors(data: DataSet) -> Iterator[Tensor]:
    """Labels [n] and inputs [n, h, w, c] of every split, as they lie in the file."""
    for part in _PARTS:
        split = getattr(data, part)
        yield split.labels.contiguous()
        yield split.inputs.permute(0, 2, 3, 1).contiguous()


def _layout(shapes: list[list[int]]) -> Iterator[tuple[torch.dtype, list[int]]]:
    """Type and shape of the tensors in a file's order."""
    for shape in shapes:
        yield torch.int64, shape[:1]
        yield torch.float32, shape


def _seal(mapped: Tensor) -> bytes:
    """SHA-256 of the sums of all pages, the seal's own place counted as zeros.

    Any change of one word of a page changes its sum; reading 100 MB this way takes 10 ms, a hash of them 60.
    """
    sums = mapped.view(torch.int64).view(-1, _PAGE // 8).sum(1)
    sums[0] -= mapped[:32].view(torch.int64).sum()
    return hashlib.sha256(sums.numpy().data).digest()


def _up_to_page(offset: int) -> int:
    return -(-offset // _PAGE) * _PAGE


def _fill_page(out: BinaryIO) -> None:
    out.write(bytes(_up_to_page(out.tell()) - out.tell()))


def _make_room(folder: Path, keep: Path) -> None:
    """Removes what was used least recently; whoever has it mapped keeps it until it ends."""
    files = [(file.stat(), file) for file in folder.iterdir()]
    total = sum(stat.st_size for stat, _ in files)
    for stat, file in sorted(files, key=lambda item: item[0].st_mtime_ns):
        if total <= LIMIT_BYTES:
            return
        if file != keep:
            file.unlink(missing_ok=True)
            total -= stat.st_size
