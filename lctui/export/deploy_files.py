"""Files that run without lctui: a net as torch's exported program.

Owns what each format needs, how it is written, and how whoever deploys it opens it again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lctui.errors import BadInput
from lctui.runs import atomic
from lctui.user_code import one_line

Scores = Callable[[Tensor], Tensor]
"""Inputs [n, …] to scores [n, classes]."""

SUFFIXES = {"torch": ".pt2"}
"""The formats of programs, and how their files' names end."""


def write_program(kind: str, module: nn.Module, example: Tensor, path: Path, run: str = "") -> None:
    """A module as a program of any number of inputs, written whole or not at all.

    Args:
        kind: which format.
        example: inputs [n, …] that the module takes.
        run: whose module it is, for the wording of what is wrong with it.

    Raises:
        BadInput: torch cannot export what the module does.
        OSError: the file cannot be written.
    """
    try:
        made = _WRITERS[kind](module, _two(example))
    except Exception as error:
        raise BadInput.one(run, "--format", f"{kind} cannot express this net: {one_line(error)}") from error
    atomic.replace(path, made)


def open_program(kind: str, path: Path) -> Scores:
    """A program as whoever deploys it opens it: from the file alone, on one thread of the CPU."""
    return _READERS[kind](path)


def _two(example: Tensor) -> Tensor:
    """Two inputs, contiguous: of one input, a program would be made that takes no more."""
    return example[:1].repeat(2, *[1] * (example.dim() - 1)).contiguous()


def _torch_program(module: nn.Module, example: Tensor) -> Callable[[Path], None]:
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("inputs")},))

    def write(path: Path) -> None:
        with path.open("wb") as file:
            torch.export.save(program, file)

    return write


def _open_torch(path: Path) -> Scores:
    with path.open("rb") as file:
        return torch.export.load(file).module()


_WRITERS: dict[str, Callable[[nn.Module, Tensor], Callable[[Path], None]]] = {"torch": _torch_program}
_READERS: dict[str, Callable[[Path], Scores]] = {"torch": _open_torch}
