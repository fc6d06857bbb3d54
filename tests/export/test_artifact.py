"""The compressed artifact: the same net bit for bit, as small as promised, and no harm from damaged files."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lctui.compression import c_step
from lctui.errors import BadInput
from lctui.export import artifact, loader
from lctui.export.artifact import ArtifactTask, load, save, unpack
from lctui.export.loader import load_state
from lctui.scheme import How
from lctui.scheme.compressions import members

HOWS: dict[str, Any] = {
    "l0": {"type": "prune", "kappa": 777},
    "l0 all": {"type": "prune", "fraction": 1.0},
    "l0 none": {"type": "prune", "kappa": 0},
    "l0 penalty": {"type": "prune", "alpha": 1e-6},
    "l1": {"type": "prune", "kappa": 20.0, "norm": "l1"},
    "l1 penalty": {"type": "prune", "alpha": 1e-5, "norm": "l1"},
    "l0 with a codebook": {"type": "prune", "fraction": 0.05, "k": 5},
    "coded l0": {"type": "prune", "kappa": 777, "code": "arithmetic"},
    "coded l0 all": {"type": "prune", "fraction": 1.0, "code": "arithmetic"},
    "coded l0 none": {"type": "prune", "kappa": 0, "k": 2, "code": "arithmetic"},
    "coded l0 with a codebook": {"type": "prune", "fraction": 0.05, "k": 5, "code": "arithmetic"},
    "coded l1": {"type": "prune", "kappa": 20.0, "norm": "l1", "code": "arithmetic"},
    "coded k=1": {"type": "quantize", "k": 1, "code": "arithmetic"},
    "coded k=16": {"type": "quantize", "k": 16, "code": "arithmetic"},
    "coded fixed": {"type": "quantize", "codebook": "fixed", "values": [0.5, -0.1, 0.0, 0.02], "code": "arithmetic"},
    "coded powers": {"type": "quantize", "codebook": "powers_of_two", "c": 3, "scaled": True, "code": "arithmetic"},
    "coded ternary": {"type": "quantize", "codebook": "ternary", "code": "arithmetic"},
    "coded sum": [
        {"type": "quantize", "k": 2, "code": "arithmetic"},
        {"type": "prune", "kappa": 50, "code": "arithmetic"},
    ],
    "structured": {"type": "prune_structured", "fraction": 0.3},
    "2:4": {"type": "prune_n_m"},
    "3:7": {"type": "prune_n_m", "n": 3, "m": 7},
    "32:64": {"type": "prune_n_m", "n": 32, "m": 64},
    "k=1": {"type": "quantize", "k": 1},
    "k=2": {"type": "quantize", "k": 2},
    "k=3": {"type": "quantize", "k": 3},
    "k=16": {"type": "quantize", "k": 16},
    "k=300": {"type": "quantize", "k": 300},
    "fixed": {"type": "quantize", "codebook": "fixed", "values": [0.5, -0.1, 0.0, 0.1, 0.02]},
    "fixed 256": {"type": "quantize", "codebook": "fixed", "values": [i / 1000 for i in range(-128, 128)]},
    "powers": {"type": "quantize", "codebook": "powers_of_two", "c": 6},
    "powers scaled": {"type": "quantize", "codebook": "powers_of_two", "c": 3, "scaled": True},
    "binary": {"type": "quantize", "codebook": "binary", "scaled": False},
    "binary scaled": {"type": "quantize", "codebook": "binary"},
    "ternary": {"type": "quantize", "codebook": "ternary", "scaled": False},
    "ternary scaled": {"type": "quantize", "codebook": "ternary"},
    "rank 0": {"type": "low_rank", "rank": 0},
    "rank 7": {"type": "low_rank", "rank": 7},
    "rank 7 in scheme 1": {"type": "low_rank", "rank": 7, "conv_scheme": "scheme_1"},
    "rank 7 in 16 bits": {"type": "low_rank", "rank": 7, "bits": 16},
    "rank auto": {"type": "low_rank", "rank": "auto", "alpha": 1e-8},
    "k=2 and corrections": [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 50}],
    "three members": [
        {"type": "low_rank", "rank": 2},
        {"type": "prune", "kappa": 30},
        {"type": "quantize", "codebook": "ternary"},
    ],
}
JOINT = [name for name in HOWS if "rank" not in name and name != "three members"]
MU = 1e-3


def how_of(name: str) -> Any:
    return TypeAdapter(How).validate_python(HOWS[name])


def weights(*shape: int, seed: int = 0) -> Tensor:
    """Weights with the heavy tails of a trained layer."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * torch.rand(shape, generator=generator) * 0.2


def loaded(file: Path) -> dict[str, Tensor]:
    """What an artifact decompresses to, for lctui as for whoever has but the loader."""
    found, alone = load(file), load_state(file)
    assert list(found) == list(alone)
    for name, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (alone[name].dtype, alone[name].shape)
        assert torch.equal(*(each[name].reshape(-1).view(torch.uint8) for each in (found, alone)))
    return found


def lenet_state() -> dict[str, Tensor]:
    return {
        "conv.weight": weights(50, 10, 5, 5, seed=1),
        "conv.bias": weights(50, seed=2),
        "norm.weight": weights(50, seed=3),
        "norm.running_var": weights(50, seed=4),
        "norm.num_batches_tracked": torch.tensor(1234),
        "fc.weight": weights(120, 100, seed=5),
        "fc.bias": weights(120, seed=6),
    }


def task(state: Mapping[str, Tensor], how: Any, *layers: str) -> ArtifactTask:
    v = [state[layer] for layer in layers]
    return ArtifactTask(layers, c_step(how, v if len(v) > 1 else v[0], MU))


def dense(task: ArtifactTask) -> dict[str, Tensor]:
    found = task.theta.dense()
    return dict(zip(task.layers, found if isinstance(found, list) else [found], strict=True))


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Names in order, dtypes, shapes and every bit: −0 is not 0."""
    return list(found) == list(expected) and all(
        found[name].dtype == value.dtype
        and found[name].shape == value.shape
        and found[name].contiguous().numpy().tobytes() == value.contiguous().numpy().tobytes()
        for name, value in expected.items()
    )


def promised(tasks: list[ArtifactTask], state: Mapping[str, Tensor]) -> float:
    """The most bytes that the file may take: the counted bits, and a header."""
    taken = {layer for task in tasks for layer in task.layers}
    others = sum(value.numel() * value.itemsize for name, value in state.items() if name not in taken)
    return sum(task.theta.bits for task in tasks) / 8 + others + 4096 + 256 * len(state)


@pytest.mark.parametrize("name", HOWS)
def test_a_net_comes_back_bit_for_bit_from_a_file_of_the_promised_size(tmp_path: Path, name: str) -> None:
    state = lenet_state()
    tasks = [task(state, how_of(name), "conv.weight"), task(state, how_of(name), "fc.weight")]
    file = tmp_path / "compressed.safetensors"
    size = save(file, tasks, state)
    assert size == file.stat().st_size
    assert size <= promised(tasks, state)
    assert same(loaded(file), {**state, **dense(tasks[0]), **dense(tasks[1])})


@pytest.mark.parametrize("name", JOINT)
def test_joint_tasks(tmp_path: Path, name: str) -> None:
    state = lenet_state()
    joint = task(state, how_of(name), "fc.weight", "conv.weight")
    size = save(tmp_path / "joint.safetensors", [joint], state)
    assert size <= promised([joint], state)
    assert same(loaded(tmp_path / "joint.safetensors"), {**state, **dense(joint)})


@pytest.mark.parametrize("name", ["binary scaled", "l0", "three members", "rank 7"])
def test_headers_stay_short_in_deep_nets(tmp_path: Path, name: str) -> None:
    state: dict[str, Tensor] = {}
    for i in range(60):
        prefix = f"layer{i // 20 + 1}.{i % 20}."
        state[f"{prefix}conv2.weight"] = weights(12, 12, 3, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{prefix}bn2.{part}"] = weights(12, seed=i)
        state[f"{prefix}bn2.num_batches_tracked"] = torch.tensor(i)
    theta = c_step(how_of(name), weights(12, 12, 3, 3), MU)
    tasks = [ArtifactTask((layer,), theta) for layer in state if layer.endswith("conv2.weight")]
    assert save(tmp_path / "deep.safetensors", tasks, state) <= promised(tasks, state)
    assert same(loaded(tmp_path / "deep.safetensors"), {**state, **{task.layers[0]: theta.dense() for task in tasks}})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("name", ["k=3", "rank 7", "l0", "three members"])
def test_other_float_types(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in lenet_state().items()}
    tasks = [task(state, how_of(name), "fc.weight")]
    save(tmp_path / "other.safetensors", tasks, state)
    assert same(loaded(tmp_path / "other.safetensors"), {**state, **dense(tasks[0])})


def test_what_no_task_compresses_is_kept_whatever_it_is(tmp_path: Path) -> None:
    state = {
        "@0.values": torch.tensor([1, 2]),  # named as a part would be
        "half": torch.ones(3, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "strided": torch.arange(6.0).reshape(2, 3).t(),
        "fc.weight": weights(9, 8),
        "überlayer.bias": torch.zeros(2),
    }
    tasks = [task(state, how_of("2:4"), "fc.weight")]
    save(tmp_path / "odd.safetensors", tasks, state)
    found = loaded(tmp_path / "odd.safetensors")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], value) for name, value in {**state, **dense(tasks[0])}.items())
    assert all(found[name].dtype == value.dtype for name, value in state.items())


def test_a_net_without_tasks(tmp_path: Path) -> None:
    save(tmp_path / "plain.safetensors", [], lenet_state())
    assert same(loaded(tmp_path / "plain.safetensors"), lenet_state())


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    shared, bias = weights(40, 30), weights(500)
    state = {"head.weight": shared, "head.bias": bias, "embed.weight": shared, "again.bias": bias}
    tied = task(state, how_of("binary"), "embed.weight")
    size = save(tmp_path / "tied.safetensors", [tied], state)
    assert size < 40 * 30 / 8 + 4 * 500 + 1024
    found = loaded(tmp_path / "tied.safetensors")
    assert list(found) == list(state)
    assert torch.equal(found["head.weight"], tied.theta.dense())
    assert torch.equal(found["again.bias"], bias)
    unpack(tmp_path / "tied.safetensors", tmp_path / "dense.safetensors")
    assert set(load_file(tmp_path / "dense.safetensors")) == set(state)


@pytest.mark.parametrize("name", [name for name in HOWS if name.startswith("coded")])
def test_coded_parts_take_the_bits_that_are_counted(tmp_path: Path, name: str) -> None:
    state = lenet_state()
    joint = task(state, how_of(name), "fc.weight", "conv.weight")
    save(tmp_path / "coded.safetensors", [joint], state)
    parts = [tensor for key, tensor in load_file(tmp_path / "coded.safetensors").items() if key.startswith("@")]
    assert 8 * sum(tensor.numel() * tensor.itemsize for tensor in parts) == joint.theta.bits
    plain = [how.model_copy(update={"code": "plain"}) for how in members(how_of(name))]
    assert joint.theta.bits <= task(state, plain, "fc.weight", "conv.weight").theta.bits


def test_files_without_arithmetic_codes_stay_in_the_first_format(tmp_path: Path) -> None:
    state = lenet_state()
    for name, version in (("l0 with a codebook", 1), ("coded l0 with a codebook", 2), ("coded sum", 2)):
        save(tmp_path / name, [task(state, how_of(name), "fc.weight")], state)
        header, _ = opened((tmp_path / name).read_bytes(), tmp_path)
        assert header["version"] == version
        # An older reader knows no such field.
        assert ("code" in json.dumps(header["hows"]).replace("codebook", "")) == (version == 2)


def test_the_same_net_gives_the_same_bytes(tmp_path: Path) -> None:
    state = lenet_state()
    for name in ("a", "b"):
        save(tmp_path / name, [task(state, how_of("k=3"), "fc.weight")], state)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_unpacked_is_a_plain_state_dict(tmp_path: Path) -> None:
    state = lenet_state()
    tasks = [task(state, how_of("l0"), "conv.weight")]
    save(tmp_path / "c.safetensors", tasks, state)
    size = unpack(tmp_path / "c.safetensors", tmp_path / "dense.safetensors")
    assert size == (tmp_path / "dense.safetensors").stat().st_size
    found = load_file(tmp_path / "dense.safetensors")
    assert same({name: found[name] for name in state}, {**state, **dense(tasks[0])})
    with pytest.raises(BadInput, match="cannot write it"):
        unpack(tmp_path / "c.safetensors", tmp_path / "no such folder" / "dense.safetensors")
    with pytest.raises(BadInput, match="lacks 'lctui'"):
        unpack(tmp_path / "dense.safetensors", tmp_path / "again.safetensors")


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.safetensors"
    save(file, [], {"a": torch.zeros(3)})
    before = file.read_bytes()

    def torn(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(artifact, "save_file", torn)
    with pytest.raises(OSError, match="no space"):
        save(file, [], {"a": torch.ones(3)})
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_tasks_that_do_not_fit_the_net_are_refused(tmp_path: Path) -> None:
    state = lenet_state()
    fc = task(state, how_of("k=2"), "fc.weight")
    for wrong in (
        [fc, fc],
        [ArtifactTask(("fc.weight", "conv.weight"), fc.theta)],
        [ArtifactTask(("conv.weight",), fc.theta)],
        [ArtifactTask(("gone.weight",), fc.theta)],
    ):
        with pytest.raises(ValueError, match="layer|tensors for|no 'conv.weight'|no 'gone.weight'"):  # noqa: RUF043
            save(tmp_path / "c.safetensors", wrong, state)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An artifact with every kind of part, as bytes."""
    names = [
        "l0",
        "l0 with a codebook",
        "structured",
        "3:7",
        "k=3",
        "k=1",
        "fixed",
        "powers scaled",
        "rank 7",
        "three members",
        "coded l0 with a codebook",
        "coded k=16",
    ]
    state: dict[str, Tensor] = {}
    for i, _ in enumerate(names):
        state[f"l{i}.weight"] = weights(10, 9, seed=i)
    state["l0.bias"] = torch.zeros(4)
    state["tied"] = state["l0.weight"]
    tasks = [task(state, small_how(name), f"l{i}.weight") for i, name in enumerate(names)]
    file = tmp_path_factory.mktemp("small") / "small.safetensors"
    save(file, tasks, state)
    load(file)
    return file.read_bytes()


def small_how(name: str) -> Any:
    how = HOWS[name]
    return TypeAdapter(How).validate_python({**how, "kappa": 20} if name == "l0" else how)


def refused_or_loaded(file: Path, content: bytes) -> bool:
    """Whether the file was refused; any other exception than a one-line BadInput fails the test."""
    file.write_bytes(content)
    try:
        load(file)
    except BadInput as error:
        (line,) = error.lines()
        assert line.startswith(f"{file}: ")
        assert "\n" not in line
        return True
    return False


def test_damaged_files_are_refused(tmp_path: Path, small: bytes) -> None:
    chance = random.Random(0)
    header = int.from_bytes(small[:8], "little") + 8
    file = tmp_path / "damaged"
    file.write_bytes(small)
    whole = load(file)
    for i in range(200):
        content = bytearray(small)
        # Half of the damage goes into the header, which is where it could do most.
        for _ in range(chance.choice((1, 1, 2, 8))):
            content[chance.randrange(header if i % 2 else len(small))] = chance.randrange(256)
        assert refused_or_loaded(file, bytes(content)) or same(load(file), whole)
    for _ in range(40):
        assert refused_or_loaded(file, small[: chance.randrange(len(small))])
    assert refused_or_loaded(file, small + b"\0")


def opened(small: bytes, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    file = tmp_path / "opened.safetensors"
    file.write_bytes(small)
    with safe_open(file, "pt") as reader:
        header = json.loads(reader.metadata()["lctui"])
    return header, {name: tensor.clone() for name, tensor in load_file(file).items()}


def forged(file: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """A file whose checksum is right, whatever it holds."""
    header.pop("digest", None)
    header["digest"] = loader.digest(header, tensors)
    save_file(tensors, file, {"lctui": json.dumps(header)})
    return file.read_bytes()


def fields_within(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, inner in items for found in fields_within(inner, (*path, key))]
    return [path]


def test_forged_headers_crash_nothing(tmp_path: Path, small: bytes) -> None:
    original, tensors = opened(small, tmp_path)
    chance = random.Random(1)
    wrong = [-1, 0, 1, 10**12, 2**70, 1.5, "x", None, True, [], {}, "float64", "../../x"]
    paths = fields_within(original)
    refused = 0
    for path in paths:
        header = json.loads(json.dumps(original))
        inner: Any = header
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = chance.choice(wrong)
        refused += refused_or_loaded(tmp_path / "forged", forged(tmp_path / "forged", header, tensors))
    assert refused > len(paths) / 2


def test_forged_tensors_crash_nothing(tmp_path: Path, small: bytes) -> None:
    header, tensors = opened(small, tmp_path)
    chance = random.Random(2)
    outcomes = []
    for name, tensor in [item for item in tensors.items() if item[1].numel() for _ in range(8)]:
        flat = tensor.clone().reshape(-1).view(torch.uint8)
        for _ in range(3):
            flat[chance.randrange(len(flat))] = chance.randrange(256)
        changed = flat.view(tensor.dtype).reshape(tensor.shape)
        if chance.random() < 0.3:
            changed = changed.reshape(-1)[: chance.randrange(changed.numel())]
        outcomes.append(
            refused_or_loaded(tmp_path / "forged", forged(tmp_path / "forged", header, {**tensors, name: changed}))
        )
    assert set(outcomes) == {True, False}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h, t: h.update(version=3), "was written by a newer lctui, in format 3; this one reads format 2"),
        (lambda h, t: h.update(version="x"), "has format 'x'; this lctui reads format 2"),
        (lambda h, t: h.update(more=1), "is damaged: more: Extra inputs are not permitted"),
        (lambda h, t: t.update(stray=torch.zeros(2)), "is damaged: ValueError: the names announced"),
        (lambda h, t: t.update({"@0.stray": torch.zeros(2)}), "is damaged: ValueError: tensors that no task announces"),
        (lambda h, t: t.pop("l0.bias"), "is damaged: ValueError: the names announced"),
        (lambda h, t: t.pop("@0.values"), "is damaged: KeyError: '@0.values'"),
        (
            lambda h, t: t.update({"l1.weight": torch.zeros(2)}),
            "is damaged: ValueError: tensors that no task announces",
        ),
        (lambda h, t: h["names"].append("l0.bias"), "is damaged: ValueError: the names announced"),
        (lambda h, t: h["aliases"].update(tied="gone"), "is damaged: ValueError: names that share a tensor"),
        (lambda h, t: h["tasks"][0].update(shapes=[[10**6, 10**6]]), "is damaged: ValueError: 1,000,000,000,"),
        (lambda h, t: h["tasks"][0].update(shapes=[[10**12, 0]]), "exceed"),
        (lambda h, t: h["tasks"][0].update(dtype="int64"), "is damaged: ValueError: 'int64' is no floating-point type"),
        (lambda h, t: h["tasks"][5]["parts"].update(indices=["index", 10**9, 1]), "1000000000 coded values for 90"),
        (lambda h, t: h["tasks"][4].update(how=99), "is damaged: IndexError"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, small: bytes, change: Any, said: str) -> None:
    file = tmp_path / "wrong.safetensors"
    header, tensors = opened(small, tmp_path)
    change(header, tensors)
    forged(file, header, tensors)
    with pytest.raises(BadInput) as error:
        load(file)
    (line,) = error.value.lines()
    assert line.startswith(f"{file}: ")
    assert said in line


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read it: No such file"):
        load(tmp_path / "gone")
    for content in (b"", b"short", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]", (2).to_bytes(8, "little") + b"{}"):
        assert refused_or_loaded(tmp_path / "else", content)
    deep = b'{"__metadata__":' + b"[" * 100_000
    assert refused_or_loaded(tmp_path / "deep", len(deep).to_bytes(8, "little") + deep)


def test_sizes_are_the_formulas(tmp_path: Path) -> None:
    # 1000 × 1000 ternary weights: two bits each, whatever the header takes.
    state = {"fc.weight": weights(1000, 1000)}
    tasks = [task(state, how_of("ternary"), "fc.weight")]
    size = save(tmp_path / "c", tasks, state)
    assert 0 <= size - math.ceil(2 * 10**6 / 8) < 1024
