"""A study in words: what was done to a layer, mean and deviation, schedules, seeds and devices.

Owns the wording and the rounding; computes nothing that is not in the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lctui.export.study_numbers import Learned, Measured, Spread, measure_of
from lctui.runs.store import Run
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, members
from lctui.scheme.models import Scheme

FEW = 6


def brief(value: float) -> str:
    """A setting as people write it: 2.5e-9, 104, 0.05."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e+")


def ratio(value: float) -> str:
    """With one digit, below ten with two."""
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def count(value: float) -> str:
    """Whole, in groups of three digits."""
    return f"{value:,.0f}"


def spread(found: Spread | None, form: Callable[[float], str]) -> str | None:
    """A mean and its standard deviation; counts that agree in all seeds stay counts."""
    if found is None:
        return None
    if found.sd is None or (form is count and found.sd == 0):
        return form(found.mean)
    deviation = form(found.sd) if form is not ratio else f"{found.sd:.{1 if found.mean >= 9.995 else 2}f}"
    return f"{form(found.mean)} ± {deviation}"


def signed(value: float | None, form: Callable[[float], str]) -> str | None:
    """A difference: with its sign, a minus as long as the plus."""
    if value is None:
        return None
    text = form(abs(value))
    return text if not any(sign in "123456789" for sign in text) else f"{'−' if value < 0 else '+'}{text}"


def done(task: Learned, column: Sequence[str] = ()) -> str:
    """What was done to a layer, with its setting and what was learned; whom it shares that with is said but for those
    that a table's column stands for."""
    words = " + ".join(map(_word, _terms(task)))
    return (
        words if len(task.layers) <= 1 or task.layers == tuple(column) else f"{words} (joint: {together(task.layers)})"
    )


def together(layers: Sequence[str]) -> str:
    """Some layers and biases in one breath."""
    weights = [layer for layer in layers if not layer.endswith(".bias")]
    if weights and sorted(layers) == sorted([*weights, *(f"{layer}.bias" for layer in weights)]):
        return f"{', '.join(weights)} and biases"
    return ", ".join(layers)


def _terms(task: Learned) -> list[Learned]:
    """The task itself, or the terms of a sum, each with what it learned."""
    if not isinstance(task.how, list | tuple):
        return [task]
    parts = [each.get("parts") or () for each in task.found]
    return [
        replace(task, how=how, found=tuple(each[n] for each in parts if n < len(each)))
        for n, how in enumerate(members(task.how))
    ]


def _word(task: Learned) -> str:
    match task.how:
        case Prune():
            return _prune(task.how, task)
        case PruneStructured(kappa=None, fraction=fraction):
            return f"prune to {100 * (fraction or 0):.3g} % of groups"
        case PruneStructured(kappa=kappa):
            return f"prune to {plural(kappa or 0, 'group')}"
        case PruneNM():
            return f"prune {task.how.n}:{task.how.m}"
        case LowRank():
            return _low_rank(task.how, task)
    return _quantize(task.how)


def _prune(how: Prune, task: Learned) -> str:
    kept = _learned(task, "nonzeros", lambda value: f"{value:,}")
    if how.kappa is not None:
        said = f"prune κ={brief(how.kappa) if how.norm == 'l1' else how.kappa}"
    elif how.fraction is not None:
        said = f"prune to {how.fraction * 100:.3g} %" + (f" (κ={kept})" if kept else "")
    else:
        said = f"prune α={brief(how.alpha or 0)}" + (f" ({kept} kept)" if kept else "")
    return said + (", l1" if how.norm == "l1" else "") + (f", k={how.k}" if how.k is not None else "")


def _low_rank(how: LowRank, task: Learned) -> str:
    if how.rank != "auto":
        said = f"rank {how.rank}"
    else:
        said = f"rank {_learned(task, 'rank', str) or 'learned'} (α={brief(how.alpha or 0)})"
    defaults = {name: field.default for name, field in LowRank.model_fields.items()}
    odd = {"criterion": how.criterion, "conv_scheme": how.conv_scheme, "bits": f"{how.bits} bits"}
    said += "".join(f", {text}" for name, text in odd.items() if getattr(how, name) != defaults[name])
    return said if how.normalize else f"{said}, not normalised"


def _quantize(how: Any) -> str:
    match how.codebook:
        case "adaptive":
            return f"k={how.k}"
        case "fixed":
            return plural(len(how.values), "fixed value")
        case "powers_of_two":
            return f"powers of two to 1/{2**how.c}" + (", scaled" if how.scaled else "")
    return f"{how.codebook}" + ("" if how.scaled else ", ±1")


def _learned(task: Learned, name: str, form: Callable[[int], str]) -> str:
    """A learned count, seed by seed where they differ; empty where nothing was learned."""
    found = task.spread(name)
    if found is None:
        return ""
    values = [form(int(value)) for value in found.values]
    return values[0] if len(set(values)) == 1 else "/".join(values)


def schedule(scheme: Scheme) -> str:
    """How a scheme compresses: LC steps, and what an L step is."""
    if not scheme.compress:
        return "no compression"
    step, mu = scheme.l_step, scheme.lc.mu
    # What was learned at another schedule of μ is another result, too.
    return (
        f"{plural(mu.steps, 'LC step')} (μ from {brief(mu.start)}, × {brief(mu.factor)} a step), "
        f"{plural(step.epochs, 'epoch')} an L step, lr {brief(step.lr)} × {brief(step.lr_decay)} a step, "
        f"batch {step.batch_size}{_besides(scheme)}"
    )


def trained(scheme: Scheme) -> str:
    """How a scheme's reference was trained."""
    block = scheme.reference
    momentum = f"momentum {brief(block.momentum)}" + (" with Nesterov" if block.nesterov else "")
    decay = f"weight decay {brief(block.weight_decay)}"
    rate = f"lr {brief(block.lr)} × {brief(block.lr_decay)} an epoch"
    return f"{plural(block.epochs, 'epoch')}, batch {block.batch_size}, {rate}, {momentum}, {decay}{_besides(scheme)}"


def _besides(scheme: Scheme) -> str:
    """What training does that is not so by default: to the inputs, and to numbers."""
    inputs = f", inputs augmented by {listed(scheme.data.augment)}" if scheme.data.augment else ""
    return inputs + (f", in {scheme.precision}" if scheme.precision != "float32" else "")


def by_value(rows: Sequence[Measured], value: Callable[[Measured], str]) -> str:
    """What all rows have in common, or each value with the rows that have it: the most frequent last, as "others"."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(value(row), []).append(row.name)
    if len(groups) < 2:
        return next(iter(groups), "")
    ordered = sorted(groups.items(), key=lambda item: len(item[1]))
    said = [f"{listed(names)}: {text}" for text, names in ordered[:-1]]
    return "; ".join([*said, f"the others: {ordered[-1][0]}"])


def seeds(rows: Sequence[Measured]) -> str:
    """How many seeds there are of each row, and which."""
    values = list(dict.fromkeys(scheme.seed for row in rows for scheme in row.row.schemes))
    most = max((len(row.row.schemes) for row in rows), default=1)
    if most == 1:
        return f"one run a row, {'seed' if len(values) == 1 else 'seeds'} {listed(map(str, values), FEW)}"
    finished = [len(row.runs) for row in rows if row.runs] or [most]
    low, high = min(finished), max(finished)
    some = "" if low == most else f"{low} of " if low == high else f"{low} to {high} of "
    return f"n = {some}{most} seeds ({listed(map(str, values), FEW)})"


def several(rows: Sequence[Measured]) -> bool:
    """Are the numbers means over seeds?"""
    return any(len(row.row.schemes) > 1 for row in rows)


def devices(runs: Iterable[Run]) -> str:
    """What the runs ran on."""
    found: dict[str, int] = {}
    for run in runs:
        name = device(run.read("meta.json"))
        found[name] = found.get(name, 0) + 1
    if len(found) < 2:
        return next(iter(found), "")
    return "; ".join(f"{name} ({plural(n, 'run')})" for name, n in sorted(found.items()))


def device(meta: Mapping[str, Any]) -> str:
    """A run's device, with the threads of a CPU."""
    name = str(meta.get("device_name") or meta.get("device") or "unknown device")
    threads = meta.get("threads")
    return f"{name}, {plural(threads, 'thread')}" if meta.get("device") == "cpu" and isinstance(threads, int) else name


def table_caption(rows: Sequence[Measured], published: str) -> str:
    """What the numbers of a table are: seeds, schedule, device, and how the published ones were made."""
    said = _capital(seeds(rows))
    if several(rows):
        said = f"Mean ± sample standard deviation, {seeds(rows)}; a count on which all seeds agree stands alone"
    compared = any(row.row.published for row in rows)
    points = ", of errors in points of percent" if measure_of(rows).is_percent else ""
    differences = [f"Δ is ours minus the published number{points}."] if compared else []
    return " ".join([f"{said}.", *differences, *_made(rows, published if compared else "")])


def figure_caption(rows: Sequence[Measured], published: str, *, bars: bool, hollow: bool) -> str:
    """What the points of a figure are; `published` is said where hollow ones show published numbers."""
    said = [f"{'Means over ' + seeds(rows) if several(rows) else _capital(seeds(rows))}."]
    if bars and several(rows):
        said.append("Bars are one standard deviation up and down.")
    if hollow:
        said.append("Hollow markers are the published numbers.")
    return " ".join([*said, *_made(rows, published if hollow else "")])


def _made(rows: Sequence[Measured], published: str) -> list[str]:
    """How ours were made, on what, and how the published ones."""
    said = [f"{_capital(by_value(rows, lambda row: schedule(row.scheme)))}."]
    if ran := devices(run for row in rows for run in row.runs):
        said.append(f"Run on {ran}.")
    return [*said, f"{_capital(published.strip().rstrip('.'))}."] if published.strip() else said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def plural(n: int, what: str) -> str:
    """A count of things: 1 epoch, 4 epochs."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def listed(names: Iterable[str], most: int = 10**9) -> str:
    """Names, as many as there is room for."""
    names = list(names)
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
