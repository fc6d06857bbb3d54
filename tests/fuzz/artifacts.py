"""Broken artifacts: changed bytes, and changed headers or tensors under a checksum that is right again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from lctui.export import artifact, loader
from tests.export.test_artifact import HOWS, JOINT, how_of, task, weights
from tests.fuzz.mutations import mutated_bytes, mutated_json, text_of
from tests.fuzz.trial import lctui, require

Parsed = tuple[dict[str, Any], dict[str, Tensor]]


def cases(rng: Random, count: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Broken files of every kind of compression."""
    whole = [_made(folder / "whole.safetensors", name) for name in HOWS]
    file, out = folder / "artifact.safetensors", folder / "out.safetensors"
    for number in range(count):
        content, (header, tensors) = rng.choice(whole)
        match rng.choice(("bytes", "outer", "header", "header", "tensors", "tensors")):
            case "bytes":
                broken = mutated_bytes(rng, content)
            case "outer":
                broken = _with_outer(rng, content)
            case "header":
                broken = _sealed(mutated_json(rng, header), tensors)
            case _:
                broken = _sealed(header, _with_other_tensors(rng, tensors))
        file.write_bytes(broken)
        yield f"artifact {number}", lambda: _try(file, out)


def _try(file: Path, out: Path) -> str:
    out.unlink(missing_ok=True)
    code, _, errors = lctui("unpack", file, out)
    lines = errors.splitlines()
    require(code == 0 or (len(lines) == 1 and lines[0].startswith(f"{file}: ")), f"not one line: {lines[:3]}")
    require(out.exists() == (code == 0), "a refused artifact was unpacked, or a whole one was not")
    return "refused" if code else "unpacked"


def _made(path: Path, name: str) -> tuple[bytes, Parsed]:
    """A small artifact of a compression, whole; and its header and tensors."""
    conv = weights(6, 4, 3, 3, seed=1)
    state = {"conv.weight": conv, "conv.bias": weights(6, seed=2), "fc.weight": weights(20, 30, seed=3)}
    layers = ("conv.weight", "fc.weight") if name in JOINT else ("fc.weight",)
    artifact.save(path, [task(state, how_of(name), *layers)], state)
    with safe_open(path, "pt") as opened:
        header = json.loads(opened.metadata()["lctui"])
    return path.read_bytes(), (header, load(path.read_bytes()))


def _sealed(header: Any, tensors: dict[str, Tensor]) -> bytes:
    """A file that passes the checksum: what stands behind it is reached."""
    if isinstance(header, dict):
        header = {name: value for name, value in header.items() if name != "digest"}
        header["digest"] = loader.digest(json.loads(json.dumps(header)), tensors)
    return save(tensors, {"lctui": text_of(header).decode()})


def _with_outer(rng: Random, content: bytes) -> bytes:
    """Another safetensors header: its offsets, types and shapes."""
    length = int.from_bytes(content[:8], "little")
    text = text_of(mutated_json(rng, json.loads(content[8 : 8 + length])))
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _with_other_tensors(rng: Random, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One tensor changed, missing, renamed or too many."""
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    name = rng.choice([name for name in found if name.startswith("@")] or list(found))
    flat = found[name].reshape(-1)
    match rng.choice(
        ("bytes", "bytes", "bytes", "shorter", "longer", "type", "shape", "missing", "renamed", "new", "nan")
    ):
        case "bytes" if flat.numel():
            raw = flat.view(torch.uint8)
            for _ in range(rng.randint(1, 6)):
                raw[rng.randrange(raw.numel())] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        case "shorter":
            found[name] = flat[: rng.randint(0, flat.numel())].clone()
        case "longer":
            found[name] = torch.cat((flat, flat[:1], torch.zeros(rng.choice((1, 8, 1000)), dtype=flat.dtype)))
        case "type":
            found[name] = flat.to(rng.choice((torch.float16, torch.float64, torch.int64, torch.bool, torch.uint8)))
        case "shape":
            found[name] = flat.reshape(rng.choice(((1, -1), (-1, 1))) if flat.numel() else (0, 7))
        case "missing":
            del found[name]
        case "renamed":
            found[rng.choice(("@0.x", "@1.indices", "@", "w", "@9.values"))] = found.pop(name)
        case "nan" if flat.is_floating_point() and flat.numel():
            flat[rng.randrange(flat.numel())] = rng.choice((float("nan"), float("inf"), 3e38))
        case _:
            found[rng.choice(("@0.x", "new", "fc.weight"))] = torch.zeros(rng.choice((0, 3, 1000)))
    return found
