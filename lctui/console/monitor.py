"""What the machine is doing: processor, memory, GPU.

Owns one line of text for the top of the screen.  Reading costs a millisecond without a GPU, and happens in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Load:
    """Shares are percent, memory is bytes; one entry of `gpus` a GPU, as (name, utilisation, memory used, total)."""

    cpu: float
    memory_used: int
    memory_total: int
    gpus: tuple[tuple[str, int, int, int], ...] = ()

    def words(self) -> str:
        """The load in one line."""
        if self.gpus:
            return "  ".join(
                f"cuda:{i} {name} {busy:>3} % {used / 1e9:.1f}/{total / 1e9:.0f} GB"
                for i, (name, busy, used, total) in enumerate(self.gpus)
            )
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

    def _read_gpus(self) -> tuple[tuple[str, int, int, int], ...]:
        found = []
        for name, handle in self._gpus or ():
            import pynvml

            try:
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
            except pynvml.NVMLError:
                continue  # a GPU that is gone, or one that keeps its figures to itself
            found.append((name, int(busy), int(memory.used), int(memory.total)))
        return tuple(found)


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
