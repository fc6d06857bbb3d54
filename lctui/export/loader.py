"""A compressed net without lctui: `load` opens a folder that `lctui export --format packed` wrote.

Owns reading `compressed.safetensors` for whoever deploys it, and putting its weights into the net's program.  This
module is copied beside the artifact as the package `lctui_loader`, with the decoders it imports, and then needs torch,
numpy and safetensors alone.  Reading an artifact executes nothing, and a checksum covers all of it: it becomes
exactly what was saved, or is refused with a ValueError.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from lctui.compression import coded_indices, coded_positions, deltas
from lctui.compression.deltas import Shape
from lctui.export import codes
from lctui.scheme.storage import index_bits

ARTIFACT = "compressed.safetensors"
PROGRAM = "net.pt2.gz"
"""The net as torch's exported program, without weights."""
VERSION = 2
"""The newest format of artifacts that is read."""
KEY = "lctui"


def load(folder: str | Path | None = None) -> Callable[[Tensor], Tensor]:
    """The net, decompressed: takes inputs [n, …] and returns scores [n, classes].

    Args:
        folder: where the artifact and the program are; if not given, where this package is.

    Raises:
        ValueError: the artifact is none, or damaged.
        OSError: a file is not there.
    """
    place = Path(__file__).parent.parent if folder is None else Path(folder)
    program = torch.export.load(io.BytesIO(gzip.decompress((place / PROGRAM).read_bytes())))
    state = load_state(place / ARTIFACT)
    for name, hole in program.state_dict.items():
        is_parameter = isinstance(hole, torch.nn.Parameter)
        program.state_dict[name] = torch.nn.Parameter(state[name], False) if is_parameter else state[name]
    return program.module()


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The dense state dict of an artifact, for a net's own `load_state_dict`.

    Raises:
        ValueError: it is no artifact, one of a newer format, or damaged.
        OSError: the file is not there.
    """
    content = Path(path).read_bytes()
    try:
        header = read_header(content)
        tensors = load_tensors(content)
        if header.pop("digest", None) != digest(header, tensors):
            raise ValueError("its checksum is wrong")
        return _decompressed(header, tensors)
    except Exception as error:
        raise ValueError(f"{path}: cannot be decompressed: {error}") from error


def read_header(content: bytes) -> dict[str, Any]:
    """The metadata's JSON, which says how to decompress."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    if header["version"] not in range(1, VERSION + 1):
        raise ValueError(f"it has format {header['version']}, this loader reads format {VERSION}")
    return header


def as_json(header: Mapping[str, Any]) -> str:
    """The header as it stands in the file."""
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False)


def digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that the file says, cut to 128 bits: damage to a weight breaks no rule that could tell."""
    found = hashlib.sha256(as_json(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:32]


def decoded(entry: Sequence[Any], tensor: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """A part of a task's Θ from its bytes.

    Args:
        entry: its code, how many values it has, what they lie below, the gap code's symbol width, and their number;
            as far as the code has use for them.
        tensor: what the file holds.
        shapes: of the task's weights.

    Raises:
        ValueError: anything that the encoders do not write.
    """
    code, length, size, width, symbols = [*entry, 0, 0, 0][:5]
    if code == "float":
        return tensor
    packed = tensor.numpy()
    if code == "mask":
        return torch.from_numpy(codes.unpack_mask(packed, length))
    if code == "index":
        size = max(size, 1)
        return torch.from_numpy(codes.unpack_indices(packed, index_bits(size), length, size))
    if code == "positions":
        return torch.from_numpy(coded_positions.decode(packed, length, shapes))
    if code == "indices":
        return torch.from_numpy(coded_indices.decode(packed, length, max(size, 1)))
    return torch.from_numpy(codes.decode_gaps(packed, width, symbols, length, size))


def _decompressed(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for place, task in enumerate(header["tasks"]):
        shapes, dtype = [tuple(shape) for shape in task["shapes"]], getattr(torch, task.get("dtype", "float32"))
        parts = {
            name: decoded(entry, tensors.pop(f"{header.get('mark', '@')}{place}.{name}"), shapes)
            for name, entry in task["parts"].items()
        }
        flat = _delta(header["hows"][task["how"]], parts, shapes, dtype).to(dtype)
        pieces = flat.split([math.prod(shape) for shape in shapes])
        state |= {name: piece.reshape(shape) for name, piece, shape in zip(task["layers"], pieces, shapes, strict=True)}
    state |= tensors
    state |= {name: state[owner] for name, owner in header.get("aliases", {}).items()}
    return {name: state[name] for name in header["names"]}


def _delta(how: Any, parts: Mapping[str, Tensor], shapes: Sequence[Shape], dtype: torch.dtype) -> Tensor:
    """Δ(Θ): [N], by the compression as the header has it; a list is a sum."""
    numbers = deltas.theta_dtype(dtype)
    if isinstance(how, list) and len(how) > 1:
        members: list[dict[str, Tensor]] = [{} for _ in how]
        for name, tensor in parts.items():
            place, _, rest = name.partition(".")
            members[int(place)][rest] = tensor
        added = [_delta(one, own, shapes, dtype) for one, own in zip(how, members, strict=True)]
        return deltas.add_up(added).to(numbers)
    how = how[0] if isinstance(how, list) else how
    if how["type"] == "low_rank":
        return deltas.product(parts["u"], parts["z"], shapes[0], how["conv_scheme"], dtype)
    if how["type"] == "prune":
        values = parts["values"] if "values" in parts else deltas.look_up(parts["codebook"], parts["indices"])
        return deltas.sparse(parts["positions"], values.to(numbers), sum(map(math.prod, shapes)))
    if how["type"] == "prune_structured":
        return deltas.kept_groups(parts["kept"], parts["values"].to(numbers), shapes)
    if how["type"] == "prune_n_m":
        return deltas.n_of_m(parts["patterns"], parts["values"].to(numbers), shapes, how["n"], how["m"])
    if "codebook" in parts:
        return deltas.look_up(parts["codebook"].to(numbers), parts["indices"])
    entries = deltas.given_entries(how["codebook"], how.get("values", ()), how.get("c", 0))
    return deltas.look_up(
        deltas.scaled_entries(entries, parts.get("scale"), dtype, torch.device("cpu")), parts["indices"]
    )
