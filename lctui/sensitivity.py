"""How much each layer minds being compressed, and the scheme that this suggests.

Owns what is tried on a layer, measuring it (direct compression of that layer alone, on the images that choices are
made by), and filling a size up.  The choice itself is `lctui.scheme.allocate`'s.  Never looks at test images; trains
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch

from lctui.errors import BadInput
from lctui.learning.resident import Resident
from lctui.scheme import Scheme
from lctui.scheme.allocate import Option, allocate
from lctui.scheme.check import ResolvedTask, resolved_tasks
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, QuantizeAdaptive, members
from lctui.scheme.net import Layer
from lctui.scheme.predict import predict, predict_task, untouched
from lctui.scheme.storage import dense_bits
from lctui.what_if import Session

FRACTIONS = (0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03, 0.02, 0.012, 0.008, 0.005)
"""Shares of weights, filters or ranks that are kept."""
CODEBOOKS = (2, 4, 8, 16, 32)
SURVIVORS_K = 8
"""The codebook of survivors where nobody has said another."""
TESTS = 12
"""Ratios that are tried for an error."""
WORK = 4 * 10**12
"""Multiplications that measuring may take, about a minute of a processor's core; more images for smaller nets."""
FEWEST, MOST = 64, 2000
"""Images."""


@dataclass(frozen=True)
class Suggested:
    """A scheme's tasks, JSON-ready, and what is known of them: a row a task, and direct compression of the whole."""

    tasks: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    direct: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """JSON-ready."""
        names = ("compression_ratio", "compressed_bits", "error_pct", "reference_error_pct", "split", "metric")
        return {**{name: self.direct[name] for name in names}, "layers": self.rows}


@dataclass
class _Unit:
    """A layer, or the layers of a joint task, and what may be done to them."""

    task: ResolvedTask
    layers: list[str]
    options: list[Option]


class Suggesting:
    """A session's layers, measured once; asked for a ratio or an error."""

    def __init__(
        self, session: Session, scheme: Scheme, source: str, told: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        """Measures: tasks that the scheme has keep their kind; without any, every layer is tried in several ways.

        Args:
            told: hears how many of how many trials are done.

        Raises:
            BadInput: the tasks do not fit the net, or there is nothing to compress.
            NoReference: the reference has not been trained yet.
        """
        self.session, self.scheme, self.source = session, scheme, source
        info = session.info
        self.mu = scheme.lc.mu.at(0)
        if scheme.compress:
            tasks = resolved_tasks(scheme, info)
            wanted = [(task, list(scheme.compress[task.index].layers), _like(task)) for task in tasks]
        else:
            layers = [layer for layer in info.layers if layer.parameters]
            tasks = [ResolvedTask(i, (layer,), None) for i, layer in enumerate(layers)]
            wanted = [(task, [task.names[0] or "*"], _any(task.layers[0])) for task in tasks]
        if not wanted:
            raise BadInput.one(
                source, "model.factory", f"{scheme.model.factory} has no layers with weights to compress"
            )
        self.fixed = dense_bits(untouched(info, tasks)) + dense_bits(
            sum(layer.parameters for layer in info.layers)
            - sum(layer.parameters for task in tasks for layer in task.layers if not layer.is_bias)
        )
        self.units = list(self._measured(wanted, told))

    def for_ratio(self, ratio: float) -> Suggested:
        """The tasks whose predicted size is the net's divided by `ratio`, or a little less.

        Raises:
            BadInput: no choice is so small; with the ratio that can be reached.
        """
        whole = dense_bits(self.session.info.parameters)
        budget = int(whole / ratio) - self.fixed
        places = allocate([unit.options for unit in self.units], budget)
        if places is None:
            least = self.fixed + sum(min(option.bits for option in unit.options) for unit in self.units)
            rest = f", {100 * self.fixed / least:.0f} % of that in what no task compresses" if self.fixed else ""
            problem = f"{ratio:g} cannot be reached: at most {whole / least:.4g}{rest}"
            raise BadInput.one(self.source, "--ratio", problem)
        chosen = [unit.options[place] for unit, place in zip(self.units, places, strict=True)]
        return self._whole(self._filled(chosen, budget))

    def for_error(self, error: float) -> Suggested:
        """The tasks of the highest ratio whose direct compression errs no more, on the images that choices are made by.

        Raises:
            BadInput: even the reference errs more, or the gentlest compression does.
        """
        measure = self.scheme.objective.measure
        whole = dense_bits(self.session.info.parameters)
        least = self.fixed + sum(min(option.bits for option in unit.options) for unit in self.units)
        low, high, found = 1.0, whole / least, None
        for _ in range(TESTS):
            middle = (low * high) ** 0.5
            tried = self.for_ratio(middle)
            if (said := tried.direct["error_pct"]) is not None and said <= error:
                low, found = middle, tried
            else:
                high = middle
        if found is None:
            reference = measure.said(self.session.reference().error_pct)
            problem = f"{measure.said(error)} cannot be kept by direct compression; the reference has {reference}"
            raise BadInput.one(self.source, "--error", problem)
        return found

    def _measured(
        self, wanted: Sequence[tuple[ResolvedTask, list[str], list[Any]]], told: Callable[[int, int], None]
    ) -> Iterator[_Unit]:
        total = sum(len(hows) for _, _, hows in wanted)
        images = self._images(total)
        base, done = self._loss(images, None, None), 0
        for task, layers, hows in wanted:
            options = [] if self.scheme.compress else [Option(dense_bits(task.parameters), 0.0)]
            for how in hows:
                tried = ResolvedTask(task.index, task.layers, how)
                bits = predict_task(tried, self.scheme.lc.mu).compressed_bits
                rise = self._loss(images, tried, how) - base
                # Where the loss falls by chance, the option that changes the weights least is still the better one.
                options.append(Option(bits, max(rise, 0.0) + 1e-9 * bits**-0.5, how))
                done += 1
                told(done, total)
            yield _Unit(task, layers, options)

    def _images(self, trials: int) -> Resident:
        """As many of the images that choices are made by as there is time for."""
        judged = self.session.judged[1]
        count = max(FEWEST, min(MOST, int(WORK / (max(self.session.info.flops, 1) / 2 * max(trials, 1)))))
        inputs, labels = judged.batch(torch.arange(min(count, len(judged)), device=judged.device))
        return Resident(inputs, labels, self.session.device, channels_last=judged.is_image)

    @torch.no_grad()
    def _loss(self, images: Resident, task: ResolvedTask | None, how: Any) -> float:
        """The mean loss of the reference, one task of it compressed directly."""
        reference = self.session.reference()
        scratch, total = reference.scratch, 0.0
        scratch.w.copy_(reference.net.w)
        if task is not None:
            self.session.compress(task, self.mu)
        scratch.module.eval()
        for inputs, labels in images.in_order(256):
            total += float(self.session.splits.objective.loss(scratch.module(inputs), labels)) * len(labels)
        return total / len(images)

    def _filled(self, chosen: list[Option], budget: int) -> list[Option]:
        """What is left of the budget goes into more survivors and higher ranks, the most harmed first."""
        left = budget - sum(option.bits for option in chosen)
        order = sorted(range(len(chosen)), key=lambda i: -chosen[i].damage)
        for i in order:
            task, option = self.units[i].task, chosen[i]
            low, high = _strength(option.how), _largest(option.how, task)
            if low is None or high is None:
                continue
            while high - low > 0:  # the largest that fits: sizes rise with strengths
                middle = (low + high + 1) // 2
                bits = self._bits(task, _with(option.how, middle))
                low, high = (middle, high) if bits - option.bits <= left else (low, middle - 1)
            how = _with(option.how, low)
            bits = self._bits(task, how)
            if bits - option.bits <= left:
                left -= bits - option.bits
                chosen[i] = Option(bits, option.damage, how)
        return chosen

    def _bits(self, task: ResolvedTask, how: Any) -> int:
        return predict_task(ResolvedTask(task.index, task.layers, how), self.scheme.lc.mu).compressed_bits

    def _whole(self, chosen: Sequence[Option]) -> Suggested:
        tasks, rows = [], []
        for unit, option in zip(self.units, chosen, strict=True):
            said = _said(option.how)
            if said is not None:
                tasks.append({"layers": unit.layers, "how": said})
            rows.append(
                {
                    "layers": list(unit.task.names),
                    "how": said,
                    "reference_bits": dense_bits(unit.task.parameters),
                    "compressed_bits": option.bits,
                    "loss_rise": option.damage,
                }
            )
        scheme = Scheme.model_validate({**self.scheme.dump(), "compress": tasks})
        direct = self.session.direct(scheme, self.source)
        predicted = predict(self.session.info, resolved_tasks(scheme, self.session.info), scheme.lc.mu).total
        direct |= {"compression_ratio": predicted.ratio, "compressed_bits": predicted.compressed_bits}
        return Suggested(tasks, rows, direct)


def _any(layer: Layer) -> list[Any]:
    """What is tried on a layer that nobody has said anything of."""
    n = layer.parameters
    hows: list[Any] = [QuantizeAdaptive(k=k) for k in CODEBOOKS if k <= n]
    hows += [Prune(kappa=kappa, k=min(SURVIVORS_K, kappa)) for kappa in _shares(n)]
    if layer.kind == "Linear" and not layer.is_bias:
        hows += [LowRank(rank=rank) for rank in _shares(min(layer.matrix("scheme_2")))]
    return hows


def _like(task: ResolvedTask) -> list[Any]:
    """What is tried on a task: its own kind in several strengths; of a sum, of the member that has strengths."""
    how, found = task.how, list[Any]()
    if isinstance(how, list | tuple):
        place = next((i for i, each in enumerate(how) if _strength(each) is not None or isinstance(each, Prune)), None)
        if place is None:
            return [how]
        for each in _ladder(how[place], task):
            found.append((*how[:place], each, *how[place + 1 :]))
        return found
    return _ladder(how, task)


def _ladder(how: Any, task: ResolvedTask) -> list[Any]:
    match how:
        case Prune():
            kept = {"alpha": None, "fraction": None, "norm": "l0"}
            k = how.k
            return [
                how.model_copy(update={**kept, "kappa": kappa, "k": None if k is None else min(k, kappa)})
                for kappa in _shares(task.parameters)
            ]
        case PruneStructured():
            groups = sum(layer.groups for layer in task.layers)
            return [how.model_copy(update={"fraction": None, "kappa": kappa}) for kappa in _shares(groups)]
        case PruneNM():
            return [how.model_copy(update={"n": n}) for n in range(1, how.m)]
        case QuantizeAdaptive():
            return [how.model_copy(update={"k": k}) for k in CODEBOOKS if k <= task.parameters]
        case LowRank():
            full = min(task.layers[0].matrix(how.conv_scheme))
            return [how.model_copy(update={"rank": rank, "alpha": None}) for rank in _shares(full)]
    return [how]


def _shares(n: int) -> list[int]:
    """Strengths from strong to weak, each once."""
    return sorted({max(1, round(share * n)) for share in FRACTIONS})


def _strength(how: Any) -> int | None:
    """The number that can be raised by one: survivors, filters or the rank."""
    match how:
        case Prune(kappa=kappa) | PruneStructured(kappa=kappa) if kappa is not None:
            return int(kappa)
        case LowRank(rank=rank) if rank != "auto":
            return int(rank)
    return None


def _largest(how: Any, task: ResolvedTask) -> int | None:
    match how:
        case Prune():
            return task.parameters
        case PruneStructured():
            return sum(layer.groups for layer in task.layers)
        case LowRank():
            return min(task.layers[0].matrix(how.conv_scheme))
    return None


def _with(how: Any, strength: int) -> Any:
    return how.model_copy(update={"rank" if isinstance(how, LowRank) else "kappa": strength})


def _said(how: Any) -> Any:
    """A compression as a file says it: without what is so by default."""
    if how is None:
        return None
    plain = []
    for each in members(how):
        # What tells kinds apart is each kind's default.
        constants = {name: getattr(each, name) for name in ("type", "codebook") if hasattr(each, name)}
        if constants.get("codebook") == "adaptive":
            del constants["codebook"]
        plain.append({**constants, **each.model_dump(mode="json", exclude_defaults=True)})
    return plain if isinstance(how, list | tuple) else plain[0]


def suggest(
    session: Session,
    scheme: Scheme,
    source: str,
    *,
    ratio: float | None = None,
    error: float | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Suggested:
    """`Suggesting` for one question: a ratio above 1, or the most that direct compression may err.

    Raises:
        BadInput: as `Suggesting` does, or the number can be no ratio.
        NoReference: the reference has not been trained yet.
    """
    require_target(source, ratio, error)
    measured = Suggesting(session, scheme, source, told)
    return measured.for_ratio(ratio) if ratio is not None else measured.for_error(float(error or 0.0))


def require_target(source: str, ratio: float | None, error: float | None) -> None:
    """Raises BadInput for what can be no ratio, or no error."""
    if ratio is not None and not 1 < ratio < inf:
        raise BadInput.one(source, "--ratio", f"{ratio:g} must be greater than 1")
    if error is not None and not 0 <= error < inf:
        raise BadInput.one(source, "--error", f"{error:g} must be at least 0")
