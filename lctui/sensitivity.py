"""How much each layer minds being compressed, and the scheme that this suggests.

Owns measuring it (direct compression of one layer alone, on the images that choices are made by), trying more around
what was chosen, and filling a size up.  What is tried is `lctui.scheme.strengths`'s, the choice itself
`lctui.scheme.allocate`'s.  Never looks at test images; trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Any

import torch

from lctui.errors import BadInput, Diverged, not_one_of
from lctui.learning.objective import summed
from lctui.learning.precision import tensor_cores
from lctui.learning.resident import Resident
from lctui.scheme import Scheme
from lctui.scheme.allocate import Option, allocate, require_target
from lctui.scheme.check import ResolvedTask, named, resolve, resolved_tasks
from lctui.scheme.net import NetInfo
from lctui.scheme.predict import predict, predict_task, untouched
from lctui.scheme.storage import dense_bits
from lctui.scheme.strengths import PRUNED, SURVIVORS_K, ladders, most, strength, with_strength, written
from lctui.what_if import Session

Told = Callable[[int, int], None]

TESTS = 12
"""Ratios that are tried for an error."""
WORK = 2 * 10**12
"""Multiplications that measuring may take, half a minute of a processor's core: more images for smaller nets."""
FEWEST, MOST = 32, 1000
"""Images."""
SPARSEST = 4
"""Where even the fewest images take too long, only every so many-th strength is tried."""
BATCH = 250
SLACK = 0.01
"""Of a size, what may be left over before other kinds are tried to fill it."""
UNTOLD = 1e-4
"""The harm of changing weights by as much as their own norm: what decides where the loss does not tell."""
BEYOND = 1e6
"""The harm of what is no longer finite."""


@dataclass(frozen=True)
class Suggested:
    """A scheme's tasks, JSON-ready, and what is known of them: a row a task, and direct compression of the whole."""

    tasks: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    direct: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """JSON-ready."""
        names = ("compression_ratio", "compressed_bits", "basis", "error_pct", "reference_error_pct", "split", "metric")
        return {**{name: self.direct[name] for name in names}, "layers": self.rows}


@dataclass(frozen=True)
class _Trial:
    """One compression of a task alone: its size, and what the net then does on the images.

    The loss rises over the reference's, or by BEYOND where it is no longer finite; the error is in percent (or another
    metric's mean; None where that is not finite); `change` is ‖w − Δ(Θ)‖² / ‖w‖².
    """

    how: Any
    bits: int
    loss_rise: float
    error_pct: float | None
    change: float = 0.0

    @property
    def harm(self) -> float:
        """By how much the loss rises; where it does not, the weights' change decides."""
        return max(self.loss_rise, 0.0) + UNTOLD * self.change

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "how": written(self.how),
            "compressed_bits": self.bits,
            "loss_rise": self.loss_rise,
            "error_pct": self.error_pct,
        }


@dataclass
class _Unit:
    """A layer, or the layers of a joint task, and what has been tried on them: a ladder a kind."""

    task: ResolvedTask
    layers: list[str]
    ladders: list[list[_Trial]]
    untouched: _Trial
    """The layers as they are."""

    @property
    def is_free(self) -> bool:
        """Has nobody said how these layers are compressed, so that they may stay as they are, too?"""
        return self.task.how is None

    @property
    def options(self) -> list[Option]:
        """What may be chosen; where more compression harms less, that is chance: harm never falls along a ladder."""
        found = [Option(self.untouched.bits, 0.0, self.untouched)] if self.is_free else []
        for ladder in self.ladders:
            worst = 0.0
            for trial in sorted(ladder, key=lambda trial: -trial.bits):
                worst = max(worst, trial.harm)
                found.append(Option(trial.bits, worst, trial))
        return found


class Suggesting:
    """A session's layers, measured once; asked for a ratio or an error."""

    def __init__(
        self,
        session: Session,
        scheme: Scheme,
        source: str,
        told: Told = lambda done, total: None,
        leave: Sequence[str] = (),
    ) -> None:
        """Measures: tasks that the scheme has keep their kind and layers; other layers are tried in several ways.

        Args:
            told: hears how many of how many trials are done.
            leave: names or globs of layers that stay as they are, unless they have a task.

        Raises:
            BadInput: the tasks do not fit the net, there is nothing to compress, or no layer to leave.
            NoReference: the reference has not been trained yet.
        """
        self.session, self.scheme, self.source, self.told = session, scheme, source, told
        self.mu = scheme.lc.mu.at(0)
        tasks, problems = resolve(dict(enumerate(scheme.compress)), session.info)
        if problems:
            raise BadInput(source, problems)
        wanted = [(task, list(scheme.compress[task.index].layers)) for task in tasks]
        taken = {name for task in tasks for name in task.names} | left_alone(leave, session.info, source)
        free = [layer for layer in session.info.layers if layer.parameters and layer.name not in taken]
        wanted += [(ResolvedTask(len(tasks) + i, (layer,), None), [layer.name or "*"]) for i, layer in enumerate(free)]
        if not wanted:
            raise BadInput.one(source, "compress", f"{scheme.model.factory} has no layers left to compress")
        covered = sum(layer.parameters for task, _ in wanted for layer in task.layers if not layer.is_bias)
        weights = sum(layer.parameters for layer in session.info.layers)
        self.fixed = dense_bits(untouched(session.info, tasks) + weights - covered)
        every, total = self._extent([task for task, _ in wanted])
        self.images = self._images(total)
        self.done, self.total = 0, total
        self.loss, error, _ = self._judged(None)
        self.units = [
            _Unit(
                task,
                layers,
                [[self._trial(task, how) for how in ladder] for ladder in ladders(task, every)],
                _Trial(None, dense_bits(task.parameters), 0.0, error),
            )
            for task, layers in wanted
        ]

    def for_ratio(self, ratio: float) -> Suggested:
        """The tasks whose predicted size is the net's divided by `ratio`, or a little less.

        Raises:
            BadInput: no choice is so small, with the ratio that can be reached; or its metric is no longer finite.
        """
        self._refine(self._chosen(ratio))
        try:
            return self._whole(self._measured_anew(self._fitted(ratio)))
        except Diverged as diverged:
            problem = f"{ratio:g} gives no finite {self.scheme.objective.metric}"
            raise BadInput.one(self.source, "--ratio", problem) from diverged

    def for_error(self, error: float) -> Suggested:
        """The tasks of the highest ratio whose direct compression errs no more, on the images that choices are made by.

        Raises:
            BadInput: even the reference errs more, or the gentlest compression does.
        """
        low, high, best = 1.0, self._greatest(), None
        for _ in range(TESTS):
            middle = sqrt(low * high)
            chosen = self._fitted(middle)
            if self._keeps(chosen, error):
                low, best = middle, chosen
            else:
                high = middle
        if best is None:
            measure = self.scheme.objective.measure
            reference = measure.said(self.session.reference().error_pct)
            problem = f"{measure.said(error)} cannot be kept by direct compression; the reference has {reference}"
            raise BadInput.one(self.source, "--error", problem)
        self._refine(self._chosen(low))
        finer = self._fitted(low)
        return self._whole(self._measured_anew(finer if self._keeps(finer, error) else best))

    def _keeps(self, chosen: Sequence[_Trial], error: float) -> bool:
        try:
            said = self._whole(chosen).direct["error_pct"]
        except Diverged:
            return False  # a metric that is no longer finite
        return said is not None and said <= error

    # Sizes

    def _budget(self, ratio: float) -> int:
        """Bits for all that may be chosen."""
        return int(dense_bits(self.session.info.parameters) / ratio) - self.fixed

    def _greatest(self) -> float:
        """The ratio of the smallest choice."""
        return dense_bits(self.session.info.parameters) / (self.fixed + self._least())

    def _least(self) -> int:
        return sum(min(option.bits for option in unit.options) for unit in self.units)

    def _fitted(self, ratio: float) -> list[_Trial]:
        """What is chosen for a ratio, filled up."""
        return self._filled(self._chosen(ratio), self._budget(ratio))

    def _chosen(self, ratio: float) -> list[_Trial]:
        options = [unit.options for unit in self.units]
        places = allocate(options, self._budget(ratio))
        if places is None:
            share = 100 * self.fixed / (self.fixed + self._least())
            rest = f", {share:.0f} % of that in what no task compresses" if self.fixed else ""
            problem = f"{ratio:g} cannot be reached: at most {_down(self._greatest())}{rest}"
            raise BadInput.one(self.source, "--ratio", problem)
        return [each[place].how for each, place in zip(options, places, strict=True)]

    # Measuring

    def _extent(self, tasks: Sequence[ResolvedTask]) -> tuple[int, int]:
        """Every how many-th strength is tried, so that it does not take too long; and how many trials that are."""
        multiplications = max(self.session.info.flops, 2) / 2
        for every in range(1, SPARSEST + 1):
            trials = sum(len(ladder) for task in tasks for ladder in ladders(task, every))
            if trials * FEWEST * multiplications <= WORK:
                break
        return every, trials

    def _images(self, trials: int) -> Resident:
        """As many of the images that choices are made by as there is time for."""
        judged = self.session.judged[1]
        count = max(FEWEST, min(MOST, int(WORK / (max(self.session.info.flops, 2) / 2 * max(trials, 1)))))
        inputs, labels = judged.batch(torch.arange(min(count, len(judged)), device=judged.device))
        return Resident(inputs, labels, self.session.device, channels_last=judged.is_image)

    def _trial(self, task: ResolvedTask, how: Any) -> _Trial:
        tried = ResolvedTask(task.index, task.layers, how)
        loss, error, change = self._judged(tried)
        self.done += 1
        self.total = max(self.total, self.done)
        self.told(self.done, self.total)
        rise = loss - self.loss
        return _Trial(how, self._bits(task, how), rise if isfinite(rise) else BEYOND, error, change)

    def _bits(self, task: ResolvedTask, how: Any) -> int:
        return predict_task(ResolvedTask(task.index, task.layers, how), self.scheme.lc.mu).compressed_bits

    @torch.no_grad()
    def _judged(self, task: ResolvedTask | None) -> tuple[float, float | None, float]:
        """The mean loss and the error of the reference, a task of it compressed directly, and ‖w − Δ(Θ)‖² / ‖w‖²."""
        reference, objective = self.session.reference(), self.session.splits.objective
        scratch, loss, error = reference.scratch, 0.0, 0.0
        scratch.w.copy_(reference.net.w)
        if task is not None:
            self.session.compress(task, self.mu)
        scratch.module.eval()
        with tensor_cores("float32"):
            for inputs, labels in self.images.in_order(BATCH):
                outputs = scratch.module(inputs)
                loss += float(objective.loss(outputs.clone(), labels)) * len(labels)  # it may write into them
                error += float(summed(objective.metric, outputs, labels))
        mean = (100 if objective.is_classification else 1) * error / len(self.images)
        tensors = task.tensors if task is not None else ()
        change = float((scratch.w - reference.net.w).square().sum())
        whole = sum(float(reference.net.view(reference.net.w, name).square().sum()) for name in tensors)
        return loss / len(self.images), mean if isfinite(mean) else None, change / whole if whole else 0.0

    # Going on from a choice

    def _refine(self, chosen: Sequence[_Trial]) -> None:
        """Tries, of each kind that was chosen, strengths between that and its neighbours."""
        for unit, trial in zip(self.units, chosen, strict=True):
            ladder = next((ladder for ladder in unit.ladders if trial in ladder), None)
            here = strength(trial.how)
            if ladder is None or here is None:
                continue
            known = sorted({strength(each.how) or 0 for each in ladder})
            place = known.index(here)
            between = {round(sqrt(here * other)) for other in known[max(place - 1, 0) : place + 2]} - set(known)
            ladder += [self._trial(unit.task, with_strength(trial.how, number)) for number in sorted(between)]

    def _filled(self, chosen: list[_Trial], budget: int) -> list[_Trial]:
        """What is left of the budget goes into more survivors and higher ranks, the most harmed first.

        Sizes of codebooks come in steps: where much is left, pruning takes the place of one if that harms less.
        """
        left = budget - sum(trial.bits for trial in chosen)
        for i in sorted(range(len(chosen)), key=lambda i: -chosen[i].harm):
            unit, trial = self.units[i], chosen[i]
            room = trial.bits + left
            is_coarse = unit.is_free and trial.how is not None and unit.task.parameters > SURVIVORS_K
            if strength(trial.how) is not None:
                how = self._grown(unit.task, trial.how, room)
                chosen[i] = replace(trial, how=how, bits=self._bits(unit.task, how))
            elif is_coarse and left > SLACK * budget:
                pruned = self._trial(unit.task, self._grown(unit.task, PRUNED, room))
                chosen[i] = pruned if pruned.bits <= room and pruned.harm < trial.harm else trial
            left = room - chosen[i].bits
        return chosen

    def _grown(self, task: ResolvedTask, how: Any, room: int) -> Any:
        """A compression that has a strength, with the greatest that takes no more than `room` bits."""
        low, high = strength(how) or 0, most(how, task)
        while high > low:  # sizes rise with strengths
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._bits(task, with_strength(how, middle)) <= room else (low, middle - 1)
        return with_strength(how, low)

    def _measured_anew(self, chosen: Sequence[_Trial]) -> list[_Trial]:
        """Trials whose strength has been raised since."""
        return [
            trial
            if trial.how is None or any(trial in ladder for ladder in unit.ladders)
            else self._trial(unit.task, trial.how)
            for unit, trial in zip(self.units, chosen, strict=True)
        ]

    def _whole(self, chosen: Sequence[_Trial]) -> Suggested:
        tasks, rows = [], []
        for unit, trial in zip(self.units, chosen, strict=True):
            if trial.how is not None:
                tasks.append({"layers": unit.layers, "how": written(trial.how)})
            rows.append(
                {
                    "layers": list(unit.task.names),
                    "reference_bits": dense_bits(unit.task.parameters),
                    **trial.record(),
                    "tried": [each.record() for ladder in unit.ladders for each in ladder],
                }
            )
        scheme = Scheme.model_validate({**self.scheme.dump(), "compress": tasks})
        direct = self.session.direct(scheme, self.source)
        predicted = predict(self.session.info, resolved_tasks(scheme, self.session.info), scheme.lc.mu).total
        direct |= {
            "compression_ratio": predicted.ratio,
            "compressed_bits": predicted.compressed_bits,
            "basis": predicted.basis,
        }
        return Suggested(tasks, rows, direct)


def _down(ratio: float) -> str:
    """Rounded so that it can be reached."""
    return f"{int(ratio * 100) / 100:.2f}"


def left_alone(patterns: Sequence[str], net: NetInfo, source: str) -> set[str]:
    """The layers that names and globs stand for.

    Raises:
        BadInput: one stands for none.
    """
    names, left = [layer.name for layer in net.layers], set[str]()
    for pattern in patterns:
        found = named(pattern, names)
        if not found:
            raise BadInput.one(source, "--leave", not_one_of(pattern, names))
        left.update(found)
    return left


def suggest(
    session: Session,
    scheme: Scheme,
    source: str,
    *,
    ratio: float | None = None,
    error: float | None = None,
    told: Told = lambda done, total: None,
    leave: Sequence[str] = (),
) -> Suggested:
    """`Suggesting` for one question: a ratio above 1, or the most that direct compression may err.

    Raises:
        BadInput: as `Suggesting` does, or the number can be no ratio.
        NoReference: the reference has not been trained yet.
    """
    require_target(source, ratio, error)
    measured = Suggesting(session, scheme, source, told, leave)
    return measured.for_ratio(ratio) if ratio is not None else measured.for_error(float(error or 0.0))
