"""Files that run without lctui: a net as torch's exported program, or as ONNX.

Owns what each format needs, how it is written, and how whoever deploys it opens it again.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import torch
from torch import Tensor, nn

from lctui.errors import BadInput
from lctui.runs import atomic

Scores = Callable[[Tensor], Tensor]
"""Inputs [n, …] to scores [n, classes]."""

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
"""The formats of programs, and how their files' names end."""


def write_program(kind: str, module: nn.Module, example: Tensor, path: Path, run: str = "") -> None:
    """A module as a program of any number of inputs, written whole or not at all.

    Args:
        kind: which format.
        example: inputs [n, …] that the module takes.
        run: whose module it is, for the wording of what is wrong with it.

    Raises:
        BadInput: the format cannot say what the module does.
        OSError: the file cannot be written.
    """
    try:
        made = _WRITERS[kind](module, example)
    except Exception as error:
        raise BadInput.one(run, "--format", f"{kind} cannot express this net: {reason(error)}") from error
    atomic.replace(path, made)


def open_program(kind: str, path: Path) -> Scores:
    """A program as whoever deploys it opens it: from the file alone, on one thread of the CPU."""
    return _READERS[kind](path)


def _two(example: Tensor) -> Tensor:
    """Two inputs, contiguous: of one input, a program would be made that takes no more."""
    return example[:1].repeat(2, *[1] * (example.dim() - 1)).contiguous()


def exported(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """A module as torch's program, of any number of inputs."""
    with redirect_stderr(io.StringIO()):  # where torch prints all the code of a net that it cannot export
        program = torch.export.export(module, (_two(example),), dynamic_shapes=({0: torch.export.Dim("inputs")},))
    for node in program.graph.nodes:
        # Lines of code, of files that are this machine's: half of a small net's file, and nobody else's concern.
        node.meta.pop("stack_trace", None)
    return program


def reason(error: BaseException) -> str:
    """Why a net was not exported, on one line: what was raised first, without the advice that exporters add."""
    while error.__cause__ is not None:
        error = error.__cause__
    first, _, _ = str(error).strip().partition("\n\n")
    return f"{type(error).__name__}: {' '.join(first.split())}"


def _torch_program(module: nn.Module, example: Tensor) -> Callable[[Path], None]:
    program = exported(module, example)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            torch.export.save(program, file)

    return write


def _open_torch(path: Path) -> Scores:
    with path.open("rb") as file:
        return torch.export.load(file).module()


def _onnx_program(module: nn.Module, example: Tensor) -> Callable[[Path], None]:
    with warnings.catch_warnings():
        # How the exporter looks for its own mistakes concerns nobody here.
        warnings.filterwarnings("ignore", "Anomaly Detection has been enabled", UserWarning)
        program = torch.onnx.export(
            exported(module, example),
            dynamo=True,
            input_names=["inputs"],
            output_names=["scores"],
            external_data=False,
            verbose=False,
        )
    return lambda path: program.save(path, external_data=False)  # type: ignore[union-attr]


def _open_onnx(path: Path) -> Scores:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def scores(inputs: Tensor) -> Tensor:
        (found,) = session.run(None, {"inputs": inputs.numpy()})
        return torch.from_numpy(found)

    return scores


_WRITERS: dict[str, Callable[[nn.Module, Tensor], Callable[[Path], None]]] = {
    "torch": _torch_program,
    "onnx": _onnx_program,
}
_READERS: dict[str, Callable[[Path], Scores]] = {"torch": _open_torch, "onnx": _open_onnx}
