"""Batches on a GPU as CUDA graphs: gathering, gradient and update of a batch become one launch.

Owns the epoch's order and the place in it, both on the device, so that a whole epoch runs without the host waiting
for anything but its own lead.  What cannot be captured (a net that asks the device for a number in its forward pass,
draws random numbers on the host, or replaces its statistics by new tensors) runs the same operations one by one.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lctui.learning.augment import Augmenting
from lctui.learning.descent import Descent
from lctui.learning.resident import Resident
from lctui.memory import is_out_of_memory

logger = logging.getLogger("lctui")

WARM_UPS = 3
AHEAD = 8
"""Batches that the host may be ahead of the device: enough to keep it busy, few enough to stop soon after a batch."""


class CapturedBatches:
    """The batches of a `Descent` on resident data: one graph for each size that a batch has, with and without penalty.

    To be used with the data's device as the current one.
    """

    def __init__(self, descent: Descent, data: Resident, modules: Sequence[nn.Module], augmenting: Augmenting) -> None:
        """`modules` are those whose statistics training changes."""
        self.descent, self.data, self.modules, self.augmenting = descent, data, modules, augmenting
        self.order = torch.zeros(len(data), dtype=torch.int64, device=data.device)
        self.place = torch.zeros((), dtype=torch.int64, device=data.device)
        self.graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self.captures = True
        self.launched: deque[torch.cuda.Event] = deque()

    def begin(self, order: Tensor, place: int, seed: int) -> None:
        """A new epoch, from a place in its order."""
        self.order.copy_(order)
        self.place.fill_(place)
        self.augmenting.begin(seed)

    def batch(self, size: int) -> None:
        """The next `size` inputs; returns before they are done, but not long before."""
        key = (size, self.descent.penalty is not None)
        if self.captures and key not in self.graphs:
            self._capture(key)
        if not self.captures:
            self._batch(size)
            return
        self.graphs[key].replay()
        if len(self.launched) >= AHEAD:
            self.launched.popleft().synchronize()
        self.launched.append(torch.cuda.Event(blocking=True))
        self.launched[-1].record()

    def forget(self) -> None:
        """Gives back the memory that the graphs hold, and what they read from; the next batch captures anew."""
        self.graphs.clear()
        self.descent.forget()

    def _batch(self, size: int) -> None:
        index = self.order[self.place + torch.arange(size, device=self.order.device)]
        inputs, labels = self.data.batch(index)
        self.descent.batch(self.augmenting.batch(inputs, index), labels)
        self.place += size

    def _capture(self, key: tuple[int, bool]) -> None:
        """Records a batch, if it can be recorded.

        What must have run before (kernels are chosen, memory is taken) leaves no trace.
        """
        evolving = [self.descent.w.detach(), self.descent.velocity, self.descent.loss_sum, self.place]
        evolving += [buffer for module in self.modules for buffer in module.buffers()]
        kept = [tensor.clone() for tensor in evolving]
        generator, stream = torch.cuda.get_rng_state(self.order.device), torch.cuda.current_stream()
        try:
            if (problem := self._warm_up(key[0])) is not None:
                logger.warning("training runs without a CUDA graph: %s", problem)
                self.captures = False
                self.graphs.clear()
            else:
                self.graphs[key] = self._recorded(key[0])
        finally:
            torch.cuda.set_stream(stream)
            torch.cuda.synchronize()
            torch.cuda.set_rng_state(generator, self.order.device)
            with torch.no_grad():
                for tensor, value in zip(evolving, kept, strict=True):
                    tensor.copy_(value)

    def _warm_up(self, size: int) -> str | None:
        """Runs the batch beside the current stream; says why it cannot be recorded, if it cannot."""
        before = self._on_the_host()
        side = _side_stream(self.order.device)
        side.wait_stream(torch.cuda.current_stream())
        mode = torch.cuda.get_sync_debug_mode()
        try:
            with torch.cuda.stream(side):
                for done in range(WARM_UPS):
                    if done == WARM_UPS - 1:  # the first ones may wait for the device: kernels are being chosen
                        torch.cuda.set_sync_debug_mode("error")
                    self._batch(size)
                    self.place -= size
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return str(error).partition("\n")[0]
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            torch.cuda.current_stream().wait_stream(side)
        return None if self._on_the_host() == before else "the net keeps numbers where a graph does not see them"

    def _recorded(self, size: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Nothing outlives a batch, so that the graphs can share their memory.
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        side = _side_stream(self.order.device)
        # Other threads go on with what they do on the device.
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            self._batch(size)
        return graph

    def _on_the_host(self) -> tuple[Any, ...]:
        """What a graph would freeze: the host's random numbers, and which tensors hold the nets' statistics."""
        buffers = [buffer.data_ptr() for module in self.modules for buffer in module.buffers()]
        return torch.get_rng_state().tolist(), random.getstate(), buffers


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device that graphs are warmed up and recorded on: libraries keep memory for every stream."""
    return torch.cuda.Stream(device)
