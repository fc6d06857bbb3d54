"""The compressed artifact, `compressed.safetensors`: a net in as many bytes as its compression promises.

Owns the file's layout, versions 1 and 2 (which knows arithmetic codes).  Every part of a task's Θ is a tensor named
`@TASK.PART`, stored by its code: floats as they are, everything else as packed bytes.  Values that no task compresses
keep their names.  The metadata's one entry, `lctui`, is JSON that says how to decompress.  Reading executes nothing and
believes nothing: a file is either decompressed to exactly what was saved, or refused: a checksum covers all of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from lctui.compression import restore
from lctui.compression.base import Code, Compressed, Part
from lctui.compression.gaps import gap_width
from lctui.errors import BadInput
from lctui.export import codes, loader
from lctui.runs import atomic, files
from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import Block, Count, How, members, without_later
from lctui.scheme.storage import index_bits
from lctui.user_code import one_line

VERSION = loader.VERSION
"""The newest format; a file that needs nothing of it is written in the first, which older readers know."""
MAX_VALUES = 2**33
"""More values than this in a decompressed net are taken for an attack, not for a net."""
FREE_VALUES = 2**22
VALUES_PER_BYTE = 2**12
"""So many values a byte of the file may stand for, and so many in any case: codes of zero bits could be any number."""
MAX_HEADER_BYTES = 8 << 20
MAX_FILE_BYTES = 1 << 36

_FIELDS: dict[Code, int] = {"float": 2, "mask": 2, "positions": 2, "index": 3, "indices": 3, "gaps": 5}
"""How many fields of an entry its code has use for."""
_MARK = "@"


@dataclass(frozen=True)
class ArtifactTask:
    """A task's Θ, and the state dict's names of the weights it decompresses to (`conv1.weight`), in its order."""

    layers: tuple[str, ...]
    theta: Compressed


def tasks_of(tasks: Sequence[ResolvedTask], thetas: Sequence[Compressed]) -> tuple[ArtifactTask, ...]:
    """A scheme's tasks, each with the Θ that it has come to."""
    return tuple(ArtifactTask(task.tensors, theta) for task, theta in zip(tasks, thetas, strict=True))


class _Entry(NamedTuple):
    """How one part is coded: how many values, what they lie below, and the gap code's symbol width and count."""

    code: Code
    length: Count
    size: Count = 0
    width: Count = 0
    symbols: Count = 0


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Task(_Model):
    """`how` is a place in the header's list of compressions."""

    how: Count
    layers: tuple[str, ...]
    shapes: tuple[tuple[Count, ...], ...]
    parts: dict[str, _Entry]
    dtype: str = "float32"

    @property
    def n(self) -> int:
        return sum(map(math.prod, self.shapes))


class _Header(_Model):
    """The metadata: the state dict's names in order, the tasks, and names that share another's tensor."""

    version: int
    names: tuple[str, ...]
    hows: tuple[How, ...]
    tasks: tuple[_Task, ...]
    aliases: dict[str, str] = {}
    mark: str = _MARK


def save(path: Path, tasks: Sequence[ArtifactTask], state: Mapping[str, Tensor]) -> int:
    """Writes the artifact of a net, atomically, and returns its size in bytes.

    Args:
        path: the file to write or replace.
        tasks: what is compressed.
        state: the net's whole state dict; of the tasks' weights only names, shapes and ties to other names are used.

    Raises:
        ValueError: the tasks do not fit the state dict.
        OSError: the file cannot be written.
    """
    layers = [name for task in tasks for name in task.layers]
    _check_layers(tasks, layers, state)
    aliases = _ties(state, layers)
    others = [name for name in state if name not in aliases and name not in set(layers)]
    mark = _MARK
    while any(name.startswith(mark) for name in others):
        mark += _MARK
    hows, entries, tensors = _lay_out(tasks, mark)
    tensors |= {name: state[name].detach().to("cpu", copy=True).contiguous() for name in others}
    version = VERSION if any(_is_arithmetic(part) for task in tasks for part in task.theta.parts().values()) else 1
    header: dict[str, Any] = {"version": version, "names": list(state), "hows": hows, "tasks": entries}
    optional = {"aliases": aliases, "mark": mark if mark != _MARK else ""}
    header |= {name: value for name, value in optional.items() if value}
    header["digest"] = loader.digest(header, tensors)
    return _write(path, tensors, {loader.KEY: loader.as_json(header)})


def load(path: str | Path) -> dict[str, Tensor]:
    """The dense state dict of an artifact: every task's weights decompressed, all other values as they were.

    Names, their order, dtypes and every bit are those of the net that was saved; tied names share one tensor.

    Raises:
        BadInput: no artifact, one of a newer lctui, or a damaged one.
    """
    return load_with_tasks(path)[0]


def load_with_tasks(path: str | Path) -> tuple[dict[str, Tensor], list[ArtifactTask]]:
    """The dense state dict of an artifact, and each task's Θ, which its weights there are decompressed from.

    Raises:
        BadInput: as `load` does.
    """
    path = Path(path)
    try:
        content = files.read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise BadInput.one(str(path), "", f"cannot read it: {error.strerror or error}") from None
    try:
        raw = _read_header(content)
        tensors = load_tensors(content)
        if raw.pop("digest", None) != loader.digest(raw, tensors):
            raise ValueError("its checksum is wrong")
        header = _Header.model_validate(raw)
        _check_size(header, len(content))
        return _decompress(header, tensors)
    except Exception as error:
        # Whatever the bytes may bring about, from a bad offset to a rank that fits no shape, the file is to blame.
        reason = " ".join(str(error).split()) if isinstance(error, _Refused) else f"is damaged: {_brief(error)}"
        raise BadInput.one(str(path), "", reason) from error


def unpack(path: str | Path, out: str | Path) -> int:
    """Writes an artifact's dense state dict as a plain safetensors file, atomically, and returns its size in bytes.

    Raises:
        BadInput: the artifact cannot be read, or the file not written.
    """
    state = load(path)
    try:
        return _write(Path(out), {name: tensor.clone().contiguous() for name, tensor in state.items()}, None)
    except OSError as error:
        raise BadInput.one(str(out), "", f"cannot write it: {one_line(error)}") from None


class _Refused(ValueError):
    """The file is whole, but not one that this reader takes."""


def _check_layers(tasks: Sequence[ArtifactTask], layers: list[str], state: Mapping[str, Tensor]) -> None:
    if len(set(layers)) != len(layers):
        raise ValueError(f"a layer stands in two tasks: {layers}")
    for task in tasks:
        if len(task.layers) != len(task.theta.shapes):
            raise ValueError(f"{len(task.theta.shapes)} tensors for the layers {task.layers}")
        for name, shape in zip(task.layers, task.theta.shapes, strict=True):
            if name not in state or tuple(state[name].shape) != shape:
                raise ValueError(f"the state dict has no {name!r} of shape {shape}")


def _ties(state: Mapping[str, Tensor], layers: list[str]) -> dict[str, str]:
    """Names whose tensor is another name's: by the name that it is stored under."""
    owners: dict[Any, str] = {}
    aliases = {}
    for name in [*layers, *(name for name in state if name not in set(layers))]:
        tensor = state[name]
        memory = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        owner = owners.setdefault(memory, name) if tensor.numel() else name
        if owner != name:
            if name in layers:
                raise ValueError(f"{name!r} and {owner!r} are one tensor: only one of them can be compressed")
            aliases[name] = owner
    return aliases


def _lay_out(tasks: Sequence[ArtifactTask], mark: str) -> tuple[list[Any], list[dict[str, Any]], dict[str, Tensor]]:
    """The compressions, each once; what the header says of every task; and the tensors to store."""
    hows: list[Any] = []
    entries: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for place, task in enumerate(tasks):
        parts = {name: _encode(part) for name, part in task.theta.parts().items()}
        tensors |= {f"{mark}{place}.{name}": tensor for name, (_, tensor) in parts.items()}
        how = _dump(task.theta.how)
        if how not in hows:
            hows.append(how)
        entries.append(_task_entry(task, hows.index(how), {name: entry for name, (entry, _) in parts.items()}))
    return hows, entries, tensors


def _encode(part: Part) -> tuple[_Entry, Tensor]:
    """A part as it is stored, and what is needed to read it."""
    tensor = part.tensor.detach().cpu().contiguous()
    count = tensor.numel()
    if part.code == "float":
        if not tensor.is_floating_point():
            raise ValueError(f"{tensor.dtype} is no floating-point type")
        return _Entry("float", count), tensor.clone()
    array = tensor.reshape(-1).numpy()
    if part.code == "mask":
        return _Entry("mask", count), torch.from_numpy(codes.pack_mask(array))
    if part.code == "index":
        size = max(part.size, 1)
        return _Entry("index", count, size), torch.from_numpy(codes.pack_indices(array, index_bits(size)))
    if part.code == "positions":
        return _Entry("positions", count), torch.from_numpy(part.coded().copy())
    if part.code == "indices":
        return _Entry("indices", count, max(part.size, 1)), torch.from_numpy(part.coded().copy())
    width = gap_width(tensor)
    symbols, packed = codes.encode_gaps(array, width)
    return _Entry("gaps", count, part.size, width, symbols), torch.from_numpy(packed)


def _is_arithmetic(part: Part) -> bool:
    return part.code in ("positions", "indices")


def _decode(entry: _Entry, tensor: Tensor, task: _Task) -> Tensor:
    """The inverse of `_encode`, for a part of `task`."""
    if entry.code == "float":
        if not tensor.is_floating_point() or tensor.numel() != entry.length:
            raise ValueError(f"{entry.length} floating-point numbers announced, {tensor.numel()} {tensor.dtype} found")
        return tensor
    # Codes of zero bits cost no bytes: without a bound, their count could be anything.
    if entry.length > task.n or entry.size > MAX_VALUES**2:
        raise ValueError(f"{entry.length} coded values for {task.n} weights")
    return loader.decoded(entry, tensor, task.shapes)


def _dump(how: Any) -> Any:
    """A compression in full: the file must not change its meaning when a default does."""
    blocks: list[Block] = list(members(how))
    dumped = [without_later(block, block.model_dump(mode="json", exclude_none=True)) for block in blocks]
    return dumped if isinstance(how, list | tuple) else dumped[0]


def _task_entry(task: ArtifactTask, how: int, parts: dict[str, _Entry]) -> dict[str, Any]:
    entry: dict[str, Any] = {"how": how, "layers": task.layers, "shapes": task.theta.shapes}
    entry["parts"] = {name: _trimmed(part) for name, part in parts.items()}
    dtype = str(task.theta.dtype).removeprefix("torch.")
    return entry if dtype == "float32" else {**entry, "dtype": dtype}


def _trimmed(entry: _Entry) -> list[Any]:
    """Without the fields that the code has no use for."""
    return list(entry[: _FIELDS[entry.code]])


def _read_header(content: bytes) -> dict[str, Any]:
    """The metadata's JSON, once its version is one that this reader knows."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise _Refused("is no safetensors file, or was cut short")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
    top = json.loads(content[8 : 8 + length])
    text = top.get("__metadata__", {}).get(loader.KEY) if isinstance(top, dict) else None
    if text is None:
        raise _Refused("is no compressed artifact: its metadata lacks 'lctui'")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        raise _Refused(f"was written by a newer lctui, in format {version}; this one reads format {VERSION}")
    if version not in (1, VERSION):
        raise _Refused(f"has format {version!r}; this lctui reads format {VERSION}")
    return header


def _check_size(header: _Header, size: int) -> None:
    """Memory is for what a file of so many bytes can honestly say."""
    values, most = sum(task.n for task in header.tasks), min(MAX_VALUES, FREE_VALUES + VALUES_PER_BYTE * size)
    if values > most or any(length > most for task in header.tasks for shape in task.shapes for length in shape):
        raise ValueError(f"{values:,} values exceed {most:,}, of a file of {size:,} bytes")


def _decompress(header: _Header, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[ArtifactTask]]:
    state: dict[str, Tensor] = {}
    tasks = []
    for place, task in enumerate(header.tasks):
        stored = {name: tensors.pop(f"{header.mark}{place}.{name}") for name in task.parts}
        tasks.append(_restore_task(task, header.hows[task.how], stored))
        state.update(zip(task.layers, tasks[-1].theta.dense(), strict=True))
    if set(state) & set(tensors) or any(name.startswith(header.mark) for name in tensors):
        raise ValueError("tensors that no task announces")
    state.update(tensors)
    if set(state) & set(header.aliases) or not set(header.aliases.values()) <= set(state):
        raise ValueError("names that share a tensor which is not there")
    state.update({name: state[owner] for name, owner in header.aliases.items()})
    if sorted(header.names) != sorted(state):
        raise ValueError("the names announced are not those found")
    return {name: state[name] for name in header.names}, tasks


def _restore_task(task: _Task, how: Any, stored: dict[str, Tensor]) -> ArtifactTask:
    dtype = getattr(torch, task.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"{task.dtype!r} is no floating-point type")
    decoded = {name: _decode(entry, stored[name], task) for name, entry in task.parts.items()}
    return ArtifactTask(task.layers, restore(how, task.shapes, decoded, dtype, True))


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> int:
    """Writes a safetensors file; returns its size in bytes.

    Raises:
        OSError: it cannot be written; what stood there before still does.
    """
    try:
        atomic.replace(path, lambda temporary: save_file(tensors, temporary, metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    return path.stat().st_size


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return one_line(error)
