"""What if: direct compression of the trained reference, evaluated again and again while a scheme is edited.

Owns what stays in memory between two questions: the net, its reference, the images that choices are made by, and
every task's last C steps.  Answers with the very numbers of a run's `direct_compression` event, since it calls what
the run calls.  Trains nothing: the first run does.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lctui import references
from lctui.algorithm import LCProblem, size, task_c_step
from lctui.compression.base import Compressed
from lctui.data_items import Split
from lctui.data_streams import Unread
from lctui.errors import BadInput, LctuiError
from lctui.learning.evaluate import Data, error_of
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.prepare import Prepared, prepare
from lctui.scheme import Scheme
from lctui.scheme.check import ResolvedTask, check_scheme, resolved_tasks

TRAIN_IMAGES = 5000
"""Without a validation split, errors are of so many training images: the test split decides nothing."""

NETS_KEPT = 4
"""Solutions are kept for as many weights as so many nets have."""

NO_REFERENCE = "no reference net yet: the first run of this model, data and seed trains it"


class NoReference(LctuiError):
    """There is nothing to compress: no run has trained this reference."""

    def __init__(self) -> None:
        super().__init__(NO_REFERENCE)


@dataclass(frozen=True)
class _Reference:
    """The trained net, a second one that is overwritten for every answer, and the error of the first."""

    net: FlatNet
    scratch: FlatNet
    error_pct: float | None


@dataclass(frozen=True)
class _Solution:
    """A task's Θ and its weights Δ(Θ), one tensor a layer."""

    theta: Compressed
    weights: list[Tensor]


class Session:
    """All that the schemes of one reference share: the same model, data, reference, seed and precision blocks."""

    def __init__(self, scheme: Scheme, home: Path, device: str, source: str) -> None:
        """Builds the net and loads the data; the tasks of `scheme` do not matter here.

        Raises:
            BadInput: with all problems of the net and the data.
        """
        prepared = prepare(scheme.model_copy(update={"compress": ()}), home, device, source)
        loaded = prepared.data
        self.module, self.info, self.device = prepared.module, prepared.info, prepared.device
        self.classes, self.data_digest, self.code_digest = loaded.classes, loaded.digest, prepared.code_digest
        self.home, self.scheme = home, scheme
        self.splits = replace(prepared.splits, train=_few(loaded.train, prepared))
        self._reference: _Reference | None = None
        self._solutions: OrderedDict[Any, _Solution] = OrderedDict()

    @property
    def judged(self) -> tuple[str, Data]:
        """The split that choices are made by: its name and images."""
        validation = self.splits.validation
        return ("validation", validation) if len(validation) else ("train", self.splits.train)

    def direct(self, scheme: Scheme, source: str) -> dict[str, Any]:
        """The reference compressed directly by a scheme of this session: its error on the judged split, and its size.

        Raises:
            BadInput: the tasks do not fit the net; `source` names the file.
            NoReference: the reference has not been trained yet.
        """
        started = time.perf_counter()
        tasks_by_place = dict(enumerate(scheme.compress))
        if problems := check_scheme(scheme.model, scheme.data, tasks_by_place, self.info):
            raise BadInput(source, problems)
        reference, tasks = self.reference(), resolved_tasks(scheme, self.info)
        scratch = reference.scratch
        scratch.w.copy_(reference.net.w)
        thetas = [self.compress(task, scheme.lc.mu.at(0)) for task in tasks]
        split, images = self.judged
        error = error_of(scratch.module, images, self.splits.objective)
        problem = LCProblem(reference.net, self.info, tasks, self.splits, scheme)
        sizes = size(problem, thetas)
        return {
            "error_pct": error,
            "metric": scheme.objective.measure.name,
            "split": split,
            "images": len(images),
            "reference_error_pct": reference.error_pct,
            "tasks": sizes.pop("layers"),
            **sizes,
            "seconds": time.perf_counter() - started,
        }

    def compress(self, task: ResolvedTask, mu: float) -> Compressed:
        """Puts a task's first C step into the reference's scratch net; returns its Θ."""
        reference = self.reference()
        solution = self._solved(reference.net, task, mu)
        for name, weights in zip(task.tensors, solution.weights, strict=True):
            reference.scratch.view(reference.scratch.w, name).copy_(weights)
        return solution.theta

    def reference(self) -> _Reference:
        """The trained reference, from the store or from the file of weights that the scheme names.

        Raises:
            NoReference: there is none.
        """
        if self._reference is None:
            net = FlatNet(self.module, self.device)
            if self.scheme.model.weights is None:
                key = references.key_of(self.scheme, self.data_digest, self.code_digest)
                if references.find(net, key, self.home) is None:
                    raise NoReference
            error = error_of(net.module, self.judged[1], self.splits.objective)
            self._reference = _Reference(net, FlatNet(net.module, self.device), error)
        return self._reference

    def _solved(self, net: FlatNet, task: ResolvedTask, mu: float) -> _Solution:
        """The task's first C step; only what has been edited since is computed anew."""
        key = (task.names, task.how, mu)
        if key not in self._solutions:
            theta = task_c_step(net, task, net.w, mu)
            dense = theta.dense()
            self._solutions[key] = _Solution(theta, dense if theta.listed else [dense])
        self._solutions.move_to_end(key)
        while sum(solution.theta.n for solution in self._solutions.values()) > NETS_KEPT * self.info.parameters:
            self._solutions.popitem(last=False)
        return self._solutions[key]


class Sessions:
    """The sessions used last."""

    def __init__(self, home: Path, device: str, capacity: int = 2) -> None:
        self.home, self.device, self.capacity = home, device, capacity
        self._kept: OrderedDict[Any, Session] = OrderedDict()

    def get(self, scheme: Scheme, source: str) -> Session:
        """The session of a scheme; what it takes to build one is done once.

        Raises:
            BadInput: the net or the data cannot be had.
        """
        key = (scheme.reference_fingerprint(), _stamp(scheme.model.weights))
        if key not in self._kept:
            while len(self._kept) >= self.capacity:
                self._kept.popitem(last=False)
            self._kept[key] = Session(scheme, self.home, self.device, source)
        self._kept.move_to_end(key)
        return self._kept[key]

    def direct(self, scheme: Scheme, source: str) -> dict[str, Any]:
        """`Session.direct`; raises as `ready` does."""
        return self.ready(scheme, source).direct(scheme, source)

    def ready(self, scheme: Scheme, source: str) -> Session:
        """The session of a scheme; no data are loaded for one whose reference nobody has trained.

        Raises:
            BadInput: the net or the data cannot be had.
            NoReference: there is none, and so nothing to compress.
        """
        if scheme.model.weights is None and not references.may_exist(scheme, self.home):
            raise NoReference
        return self.get(scheme, source)


def _few(train: Split | Unread, prepared: Prepared) -> Resident:
    """The first training images, copied, so that the others, most of all data, need not stay in memory."""
    few = train.first(TRAIN_IMAGES)
    return Resident(few.inputs, few.labels, prepared.device, channels_last=prepared.splits.train.is_image)


def _stamp(file: str | None) -> tuple[int, int] | None:
    """Tells a file of weights from a later one of the same name."""
    if file is None:
        return None
    try:
        found = Path(file).expanduser().stat()
    except OSError:
        return None  # building the net will say what is wrong with it
    return found.st_mtime_ns, found.st_size
