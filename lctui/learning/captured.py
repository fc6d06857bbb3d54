"""Batches on a GPU as CUDA graphs: gathering, gradient and update of a batch become one launch.

Owns the epoch's order and the place in it, both on the device, so that a whole epoch runs without the host waiting
for anything.  Nets that cannot be captured (they ask the device for a number in their forward pass, say) run the same
operations one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lctui.learning.descent import Descent
from lctui.learning.resident import Resident

logger = logging.getLogger("lctui")

WARM_UPS = 3


class CapturedBatches:
    """The batches of a `Descent` on resident data: one graph for each size that a batch has, with and
    without penalty."""

    def __init__(self, descent: Descent, data: Resident, modules: Iterable[nn.Module]) -> None:
        """`modules` are those whose statistics training changes."""
        self.descent, self.data = descent, data
        self.buffers = [buffer for module in modules for buffer in module.buffers()]
        self.order = torch.zeros(len(data), dtype=torch.int64, device=data.labels.device)
        self.place = torch.zeros((), dtype=torch.int64, device=data.labels.device)
        self.graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self.captures = True

    def begin(self, order: Tensor, place: int) -> None:
        """A new epoch, from a place in its order."""
        self.order.copy_(order)
        self.place.fill_(place)

    def batch(self, size: int) -> None:
        """The next `size` inputs; returns before they are done."""
        key = (size, self.descent.penalty is not None)
        if self.captures and key not in self.graphs:
            self._capture(key)
        if self.captures:
            self.graphs[key].replay()
        else:
            self._batch(size)

    def _batch(self, size: int) -> None:
        index = self.order[self.place + torch.arange(size, device=self.order.device)]
        self.descent.batch(*self.data.batch(index))
        self.place += size

    def _capture(self, key: tuple[int, bool]) -> None:
        """Records a batch.  What must have run before (kernels are chosen, memory is taken) leaves no trace."""
        size, _ = key
        evolving = [self.descent.w.detach(), self.descent.velocity, self.descent.loss_sum, self.place, *self.buffers]
        kept = [tensor.clone() for tensor in evolving]
        graph = torch.cuda.CUDAGraph()
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    self._batch(size)
                    self.place -= size
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                self._batch(size)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.warning("training runs without a CUDA graph: %s", str(error).partition("\n")[0])
            self.captures = False
            self.graphs.clear()
        else:
            self.graphs[key] = graph
        torch.cuda.synchronize()
        with torch.no_grad():
            for tensor, value in zip(evolving, kept, strict=True):
                tensor.copy_(value)
