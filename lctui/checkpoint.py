"""Checkpoints: everything that resuming needs, in one safetensors file, replaced atomically.

Owns the form of a run's and of a reference's checkpoint.  Tensors are stored bit for bit; numbers travel in the
metadata as JSON, whose floats are exact.  Loading executes nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lctui.algorithm import State
from lctui.compression import restore
from lctui.errors import RunFailed
from lctui.learning.net import FlatNet
from lctui.learning.reference import ReferenceState
from lctui.learning.train import Position
from lctui.memory import is_out_of_memory
from lctui.runs import atomic
from lctui.runs.files import open_file
from lctui.runs.formats import FORMAT, require_known
from lctui.scheme import How

_HOW: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(How)

_BROKEN = (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError)
"""What a damaged file may bring about."""


@dataclass
class Checkpoint:
    """A checkpoint in memory."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes the file; a crash at any moment leaves the old one or the new one."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        metadata = {"lctui": json.dumps({"format": FORMAT, **self.numbers})}
        atomic.replace(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Reads the file; None if there is none.

        Raises:
            RunFailed: it is damaged.
            TooNew: a newer lctui wrote it.
        """
        if not path.exists():
            return None
        try:
            with _opened(path) as (file, numbers):
                return cls({name: file.get_tensor(name) for name in file.keys()}, numbers)  # noqa: SIM118 (no mapping)
        except _BROKEN as error:
            if is_out_of_memory(error):
                raise  # the file may be whole
            raise _unusable(path, error) from error


def require_known_checkpoint(path: Path) -> None:
    """Raises TooNew if a newer lctui wrote the file; a damaged one is for `Checkpoint.load` to refuse."""
    with suppress(*_BROKEN), _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A checkpoint's file, and the numbers in it, if it is of a format that this code knows."""
    os.close(open_file(path))  # a named pipe would keep its readers waiting
    with safe_open(path, framework="pt") as file:
        numbers = json.loads(file.metadata()["lctui"])
        require_known(str(path), numbers if isinstance(numbers, dict) else {})
        yield file, numbers


def _unusable(path: Path | str, error: Exception) -> RunFailed:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunFailed(f"{path} cannot be used ({text}); without it, training starts over")


def of_reference(net: FlatNet, state: ReferenceState) -> Checkpoint:
    """The checkpoint of reference training."""
    checkpoint = Checkpoint()
    _put_net(checkpoint, net, state.position, state.momentum)
    return checkpoint


def to_reference(checkpoint: Checkpoint, net: FlatNet) -> ReferenceState:
    """Puts the net where the checkpoint has it; returns the state to go on from.

    Raises:
        RunFailed: the checkpoint is not one of this net.
    """
    with _fitting("the reference's checkpoint.safetensors"):
        return ReferenceState(*_take_net(checkpoint, net))


def of_run(net: FlatNet, state: State, numbers: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of the LC loop; `numbers` is what the worker wants back."""
    checkpoint = Checkpoint(numbers={"worker": dict(numbers)})
    _put_net(checkpoint, net, state.position, state.momentum)
    checkpoint.numbers |= {"step": state.step, "converged": state.converged, "theta": None}
    checkpoint.numbers |= {"l_seconds": state.l_seconds, "loss": repr(state.loss)}  # nan has no JSON
    if state.theta is not None and state.lam is not None:
        checkpoint.tensors["lam"] = state.lam
        checkpoint.numbers["theta"] = [
            {"how": _HOW.dump_python(theta.how, mode="json"), "shapes": theta.shapes, "listed": theta.listed}
            for theta in state.theta
        ]
        for i, theta in enumerate(state.theta):
            checkpoint.tensors |= {f"theta.{i}.{name}": part.tensor for name, part in theta.parts().items()}
    return checkpoint


def to_run(checkpoint: Checkpoint, net: FlatNet) -> tuple[State, dict[str, Any]]:
    """Puts the net where the checkpoint has it; returns the state to go on from and the worker's numbers.

    Raises:
        RunFailed: the checkpoint is not one of this net.
    """
    with _fitting("checkpoint.safetensors"):
        return _to_run(checkpoint, net)


@contextmanager
def _fitting(name: str) -> Iterator[None]:
    """What goes wrong in here says that the checkpoint is not one of this net, unless there was no memory."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise _unusable(name, error) from error


def _to_run(checkpoint: Checkpoint, net: FlatNet) -> tuple[State, dict[str, Any]]:
    position, momentum = _take_net(checkpoint, net)
    numbers = checkpoint.numbers
    state = State(
        step=_count(numbers["step"]),
        position=position,
        momentum=momentum,
        loss=float(numbers["loss"]),
        l_seconds=numbers["l_seconds"],
        converged=numbers["converged"],
    )
    if numbers["theta"] is not None:
        if sum(math.prod(shape) for theta in numbers["theta"] for shape in theta["shapes"]) > net.w.numel():
            raise ValueError("its tasks have more weights than the net")
        state.lam = checkpoint.tensors["lam"].to(net.device)
        state.theta = [
            restore(
                _HOW.validate_python(theta["how"]),
                tuple(tuple(shape) for shape in theta["shapes"]),
                {name: tensor.to(net.device) for name, tensor in _under(checkpoint.tensors, f"theta.{i}.").items()},
                dtype=torch.float32,
                listed=theta["listed"],
            )
            for i, theta in enumerate(numbers["theta"])
        ]
    return state, numbers["worker"]


def _put_net(checkpoint: Checkpoint, net: FlatNet, position: Position, momentum: Tensor | None) -> None:
    checkpoint.tensors["w"] = net.w
    checkpoint.tensors |= {f"buffer.{name}": buffer for name, buffer in net.buffers().items()}
    if momentum is not None:
        checkpoint.tensors["momentum"] = momentum
    if position.rng is not None:
        checkpoint.tensors["rng"] = position.rng
    checkpoint.numbers["position"] = [position.epoch, position.batch, position.loss_sum]


@torch.no_grad()
def _take_net(checkpoint: Checkpoint, net: FlatNet) -> tuple[Position, Tensor | None]:
    net.w.copy_(checkpoint.tensors["w"])
    net.load_buffers(_under(checkpoint.tensors, "buffer."))
    epoch, batch, loss_sum = checkpoint.numbers["position"]
    position = Position(_count(epoch), _count(batch), float(loss_sum), checkpoint.tensors.get("rng"))
    return position, checkpoint.tensors.get("momentum")


def _count(value: Any) -> int:
    """A count of what has been done: a negative one would be made up for without end."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
