"""Data that are read batch by batch, by processes beside the one that trains.

Owns those processes and the order that they read in, which is the very order of data in memory: the numbers are the
same.  What an item is, `lctui.data_streams` knows.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lctui.data_items import Split
from lctui.data_streams import Unread
from lctui.errors import BadInput, RunFailed
from lctui.learning.augment import Augmenting
from lctui.learning.descent import Descent
from lctui.learning.resident import laid_out
from lctui.learning.seeds import derive

Asked = tuple[int, list[int]]
"""A batch that is to be read: the seed of what its items do by chance, and their places."""


class Streamed:
    """A split of the data that is read as it is needed; otherwise as `lctui.learning.resident.Resident`."""

    def __init__(self, part: Unread, device: torch.device, *, channels_last: bool = True) -> None:
        self.part, self.device, self.shape = part, device, part.shape
        self.is_image = len(part.shape) == 3 and channels_last
        self._order, self._beside = _Order(), _Beside()
        # At the end of this process too: to multiprocessing, which ends them by a signal, they would have failed.
        weakref.finalize(self, self._beside.end)

    def __len__(self) -> int:
        return len(self.part)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [b, …] and labels [b] at the given places, read here and now."""
        return self._placed(_read(self.part, (self.part.seed, index.tolist())))

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches in the order of the data; raises as `batches` does."""
        places, beside = range(len(self)), _Beside()
        order = _Order([(self.part.seed, list(places[i : i + batch_size])) for i in places[::batch_size]])
        beside.begin(self._loaded(order, keep=False))
        try:
            for _ in order.asked:
                yield self._placed(beside.next())
        finally:
            beside.end()

    def batches(self, seed: int, places: Sequence[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of these places, one after the other; the processes that read stay for the next call.

        Raises:
            RunFailed: an item cannot be read, or a process that reads was killed.
        """
        self._order.asked = [(derive(seed, "items"), each) for each in places]
        self._beside.begin(self._beside.loader or self._loaded(self._order, keep=True))
        for _ in places:
            yield self._placed(self._beside.next())

    def close(self) -> None:
        """Ends the processes that read."""
        self._beside.end()

    def _loaded(self, order: _Order, *, keep: bool) -> DataLoader[Any]:
        workers = min(self.part.workers, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        workers = min(workers, len(order.asked)) if not keep else workers
        beside: dict[str, Any] = {"persistent_workers": keep, "prefetch_factor": 2} if workers else {}
        return DataLoader(
            _Reader(self.part),
            batch_size=None,  # an item of the reader is a batch already
            sampler=order,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_alone,
            generator=torch.Generator(),  # the global one is the net's: dropout draws from it
            multiprocessing_context="fork" if workers else None,  # a user's file is no module that others could import
            **beside,
        )

    def _placed(self, batch: tuple[Tensor, Tensor] | str) -> tuple[Tensor, Tensor]:
        if isinstance(batch, str):
            raise RunFailed(batch)
        inputs, labels = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        return laid_out(inputs) if self.is_image else inputs, labels


class _Beside:
    """The processes that read, and their batches."""

    def __init__(self) -> None:
        self.loader: DataLoader[Any] | None = None
        self._running: Iterator[Any] | None = None

    def begin(self, loader: DataLoader[Any]) -> None:
        """Lets them read the loader's batches from the first one on."""
        self.loader = loader
        if threading.current_thread() is not threading.main_thread():
            self._running = iter(loader)
            return
        # torch would raise, wherever this thread happens to be, when one of them dies; `next` finds out by itself.
        handler = signal.getsignal(signal.SIGCHLD)
        self._running = iter(loader)
        signal.signal(signal.SIGCHLD, handler)

    def next(self) -> Any:
        """The next batch.

        Raises:
            RunFailed: a process was killed.
        """
        assert self._running is not None
        try:
            return next(self._running)
        except (ConnectionError, EOFError) as error:  # what it sent lies with it
            raise RunFailed(_KILLED) from error
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise RunFailed(_KILLED) from error
            raise

    def end(self) -> None:
        """Ends them: they do so with their loader."""
        self._running = self.loader = None


_KILLED = "a process that reads the data was killed: out of memory? Lower data.workers"


class _Order(Sampler[Asked]):
    """The batches that are read next."""

    def __init__(self, asked: Sequence[Asked] = ()) -> None:
        self.asked = asked

    def __iter__(self) -> Iterator[Asked]:
        return iter(self.asked)

    def __len__(self) -> int:
        return len(self.asked)


class _Reader(Dataset[Any]):
    """Reads batches, in whatever process."""

    def __init__(self, part: Unread) -> None:
        self.part = part

    def __getitem__(self, asked: Asked) -> tuple[Tensor, Tensor] | str:
        return _read(self.part, asked)


def _read(part: Unread, asked: Asked) -> tuple[Tensor, Tensor] | str:
    seed, places = asked
    try:
        with torch.random.fork_rng(devices=[]):
            split: Split = part.read(places, seed)
        return split.inputs, split.labels
    except BadInput as error:  # raised in the process that trains: from another one it would come as a traceback
        return "; ".join(error.lines())


def _as_it_is(batch: Any) -> Any:
    return batch


def _alone(worker: int) -> None:
    """Signals are for the process that trains; it ends these."""
    del worker
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process at once when the one that trains is killed: it would go on to hold that one's lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


class StreamedBatches:
    """The batches of a `Descent` on streamed data."""

    def __init__(self, descent: Descent, data: Streamed, augmenting: Augmenting, sizes: Sequence[int]) -> None:
        """`sizes`: of an epoch's batches."""
        self.descent, self.data, self.augmenting, self.sizes = descent, data, augmenting, sizes

    def begin(self, order: Tensor, place: int, seed: int) -> None:
        """A new epoch, from a place in its order; what lies before it is not read."""
        ends = torch.tensor([0, *self.sizes]).cumsum(0).tolist()
        listed = order.tolist()
        places = [listed[a:b] for a, b in pairwise(ends) if a >= place]
        self.order, self.place = order, place
        self.coming = self.data.batches(seed, places)
        self.augmenting.begin(seed)

    def batch(self, size: int) -> None:
        """The next `size` inputs; raises as `Streamed.batches` does."""
        inputs, labels = next(self.coming)
        index = self.order[self.place : self.place + size]
        self.descent.batch(self.augmenting.batch(inputs, index, self.place), labels)
        self.place += size

    def forget(self) -> None:
        """Ends the processes that read, until the next epoch."""
        self.data.close()
        self.descent.forget()
