"""A net in the bytes that its compression promises, to deploy without lctui: the artifact, and what opens it.

Owns the folder of `--format packed`: the run's `compressed.safetensors` as it is, the net as a program without weights,
if torch can export it, and the package `lctui_loader`: `loader` and every module of ours that it imports, word for word
but for their names.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from lctui.export import loader
from lctui.export.deploy_files import exported, reason
from lctui.runs import atomic

PACKAGE = "lctui_loader"
_MODULES = (
    "lctui.compression.coded_indices",
    "lctui.compression.coded_positions",
    "lctui.compression.deltas",
    "lctui.compression.range_coder",
    "lctui.compression.survival_model",
    "lctui.export.codes",
    "lctui.scheme.storage",
)
"""What `loader` imports, and what that does."""
_OURS = re.compile(r"^from lctui\.\w+(?:\.(\w+))? import", re.MULTILINE)


def write_packed(
    artifact: Path, net: nn.Module, example: Tensor, folder: Path, note: Callable[[str], None]
) -> list[Path]:
    """Writes the folder, over older files; returns its files.

    Args:
        artifact: the run's.
        net: with its compressed weights, dense, in evaluation mode on the CPU.
        example: inputs [n, …] that the net takes.
        note: is told if there is no program, and why.

    Raises:
        OSError: a file cannot be written.
    """
    files = {loader.ARTIFACT: artifact.read_bytes()}
    try:
        files[loader.PROGRAM] = _without_weights(net, example)
    except Exception as error:
        # Its weights are as small without, and go into the net's own code.
        note(f"packed without a program, for load_state alone: {reason(error)}")
        (folder / loader.PROGRAM).unlink(missing_ok=True)
    files |= {f"{PACKAGE}/{name}": text.encode() for name, text in loader_sources().items()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    return [folder / name for name in files]


def loader_sources() -> dict[str, str]:
    """The files of the package `lctui_loader`, by name: ours, importing each other from where they are now."""
    sources = {"__init__.py": _source("lctui.export.loader")}
    sources |= {f"{name.rpartition('.')[2]}.py": _source(name) for name in _MODULES}
    return {name: _OURS.sub(_from_here, text) for name, text in sources.items()}


def _source(module: str) -> str:
    return Path(str(import_module(module).__file__)).read_text(encoding="utf-8")


def _from_here(line: re.Match[str]) -> str:
    return f"from .{line[1] or ''} import"


def _without_weights(net: nn.Module, example: Tensor) -> bytes:
    """The net as a gzipped program whose state dict has holes."""
    program = exported(net, example)
    for name, tensor in program.state_dict.items():
        hole = tensor.new_empty(0)
        program.state_dict[name] = nn.Parameter(hole, False) if isinstance(tensor, nn.Parameter) else hole
    file = io.BytesIO()
    torch.export.save(program, file)
    return gzip.compress(file.getvalue(), mtime=0)


def _write(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    atomic.replace(path, write)
