"""What the machine is doing: processor, memory, GPU.

Owns one line of text for the top of the screen.  Reading costs a millisecond without a GPU, and happens in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver numbers it; `busy` is None where it keeps that to itself."""

    index: int
    name: str
    busy: int | None
    used: int
    total: int

    def words(self) -> str:
        """The GPU in a few words."""
        busy = "" if self.busy is None else f" {self.busy:>3} %"
        return f"cuda:{self.index} {self.name}{busy} {self.used / 1e9:.1f}/{self.total / 1e9:.0f} GB"


@dataclass(frozen=True)
class Load:
    """Shares are percent, memory is bytes."""

    cpu: float
    memory_used: int
    memory_total: int
    gpus: tuple[Gpu, ...] = ()

    def words(self) -> str:
        """The load in one line."""
        if self.gpus:
            return "  ".join(gpu.words() for gpu in self.gpus)
        return f"cpu {self.cpu:3.0f} %  {self.memory_used / 1e9:.1f}/{self.memory_total / 1e9:.0f} GB"


class Monitor:
    """Reads the machine's load; the first reading of the processor counts from the start of this object."""

    def __init__(self) -> None:
        psutil.cpu_percent()
        self._gpus: list[tuple[str, Any]] | None = None

    def read(self) -> Load:
        """The load since the last reading."""
        if self._gpus is None:
            self._gpus = _gpu_handles()  # not before the first picture: the driver may take its time
        memory = psutil.virtual_memory()
        return Load(psutil.cpu_percent(), memory.total - memory.available, memory.total, self._read_gpus())

    def _read_gpus(self) -> tuple[Gpu, ...]:
        return tuple(
            gpu for index, (name, handle) in enumerate(self._gpus or ()) if (gpu := _read(index, name, handle))
        )


def _read(index: int, name: str, handle: Any) -> Gpu | None:
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError:
        return None  # it has gone
    try:
        busy = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:
        busy = None  # one that is shared out says nothing
    return Gpu(index, name, busy, int(memory.used), int(memory.total))


def _gpu_handles() -> list[tuple[str, Any]]:
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [(_short(pynvml.nvmlDeviceGetName(handle)), handle) for handle in handles]
    except pynvml.NVMLError:
        return []  # no NVIDIA driver here


def _short(name: str | bytes) -> str:
    text = name.decode() if isinstance(name, bytes) else name
    return text.removeprefix("NVIDIA ").split(" ")[0]
