"""Plots by name: which there are, which of them some runs can show, and why the others cannot.

Owns the names of the plots and of their files.  What is in a figure is `plots`, `insides` and `training`; drawing is
`figures`.  Asks about a compressed net only where the run's files say that there is something to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lctui.errors import BadInput
from lctui.export.insides import Insides, codebook_figure, confusion_figure, singular_values_figure
from lctui.export.names import file_name, run_names, stem
from lctui.export.plots import Figure, run_figures
from lctui.export.tables import measure_of, run_labels
from lctui.export.training import history_of, layers_figure, reference_epochs, reference_figure, reference_key
from lctui.runs.store import Run

Figures = dict[str, Figure]

NO_NET = "no compressed net yet: it is written when the run finishes"


class Missing(Exception):
    """A plot that a run cannot show, and why."""


@dataclass
class Gallery:
    """The figures by file stem; and for plots that some run cannot show, the reasons with the runs' labels."""

    figures: Figures = field(default_factory=dict)
    missing: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    troubled: set[str] = field(default_factory=set)
    """Plots that some net was asked about in vain, though its run has finished."""

    def reasons(self, plot: str) -> str:
        """Of which runs a plot is not there, and why, in one line."""
        found = self.missing.get(plot, {})
        return "; ".join(f"of {_listed(labels)}: {reason}" for reason, labels in found.items())


@dataclass(frozen=True)
class _Given:
    """One of the runs, and whom to ask about its net."""

    run: Run
    label: str
    insides: Insides | None

    def require_task(self, learned: str, otherwise: str) -> None:
        """Raises Missing unless a task of the finished run has learned something of that name."""
        tasks = self.run.read("result.json").get("layers")
        if not isinstance(tasks, list):
            raise Missing(NO_NET)
        if not any(isinstance(task, dict) and learned in task for task in tasks):
            raise Missing(otherwise)

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        """The layers' weights, asked for once."""
        return self._asked().weights(self.run.id)["layers"]

    def confusion(self) -> dict[str, Any]:
        """The net's mistakes."""
        return self._asked().confusion(self.run.id)

    def _asked(self) -> Insides:
        if self.insides is None or not self.run.file("compressed.safetensors").exists():
            raise Missing(NO_NET)
        return self.insides


def _confusion(given: _Given) -> Figures:
    if why_not := measure_of([given.run]).not_of_classes:
        raise Missing(why_not)
    answer = given.confusion()
    return {"": confusion_figure(f"{given.label}: {answer['error_pct']:.2f} % {answer['split']} error", answer)}


def _codebooks(given: _Given) -> Figures:
    given.require_task("codebook", "no layer has a codebook of its own")
    shown = [layer for layer in given.layers if layer.get("codebook")]
    return {layer["name"]: codebook_figure(layer, f"{given.label}: {layer['name']}{_pruned(layer)}") for layer in shown}


def _pruned(layer: dict[str, Any]) -> str:
    """How many weights the codebook is of, where it is not of all."""
    left = sum(layer["codebook"]["counts"])
    return f", {left:,} non-zeros of {layer['weights']:,}" if left < layer["weights"] else ""


def _singular_values(given: _Given) -> Figures:
    given.require_task("rank", "no layer is of low rank alone")
    shown = [layer for layer in given.layers if "singular_values" in layer]
    return {layer["name"]: singular_values_figure(layer, f"{given.label}: {layer['name']}") for layer in shown}


def _layers(given: _Given) -> Figures:
    figure = layers_figure(given.label, history_of(given.run))
    if figure is None:
        raise Missing("no layer has been compressed yet")
    return {"": figure}


_OF_EACH: Mapping[str, Callable[[_Given], Figures]] = {
    "confusion": _confusion,
    "codebook": _codebooks,
    "singular_values": _singular_values,
    "layers": _layers,
}
"""Plots of one run; the names of their figures are the layers', or empty."""

PLOTS = ("curve", "pareto", *_OF_EACH, "reference")


def gallery(runs: Sequence[Run], plots: Sequence[str], insides: Insides | None) -> Gallery:
    """The figures of some plots of some runs; without `insides`, nets cannot be asked about."""
    found, labels, names = Gallery(), run_labels(runs), run_names(runs)
    if "curve" in plots or "pareto" in plots:
        _add_shared(found, runs, labels, plots)
    for run, label in zip(runs, labels, strict=True):
        given = _Given(run, label, insides)
        for plot in [name for name in _OF_EACH if name in plots]:
            try:
                figures = _OF_EACH[plot](given)
            except (Missing, BadInput) as error:
                _miss(found, plot, _reason(error, run), label)
                if isinstance(error, BadInput):
                    found.troubled.add(plot)
                continue
            found.shown.add(plot)
            owner = names[run] if len(runs) > 1 else ""
            found.figures.update({stem(plot, owner, name and file_name(name)): each for name, each in figures.items()})
    if "reference" in plots:
        _add_references(found, runs, labels, names)
    return found


def _add_shared(found: Gallery, runs: Sequence[Run], labels: Sequence[str], plots: Sequence[str]) -> None:
    """Curves of all runs in one figure, and their errors against their ratios."""
    figures = run_figures(runs)
    curves = {name: figure for name, figure in figures.items() if name != "pareto"}
    points = {name: figure for name, figure in figures.items() if name == "pareto" and len(figure.series[0].x)}
    missing = "no LC step yet" if not curves else "needs two runs or more with an error and a ratio"
    for plot, kind in (("curve", curves), ("pareto", points)):
        if plot in plots and kind:
            found.shown.add(plot)
            found.figures.update(kind)
        elif plot in plots:
            found.missing[plot] = {missing: list(labels)}


def _add_references(found: Gallery, runs: Sequence[Run], labels: Sequence[str], names: Mapping[Run, str]) -> None:
    """A figure for each reference, however many of the runs began from it."""
    sharing: dict[str, list[tuple[Run, str]]] = {}
    for run, label in zip(runs, labels, strict=True):
        sharing.setdefault(reference_key(run) or run.id, []).append((run, label))
    for users in sharing.values():
        run, label = users[0]
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        figure = reference_figure(f"reference of {label}{more}", reference_epochs(run), measure_of([run]))
        if figure is None:
            for _, each in users:
                _miss(found, "reference", "the training of its reference is not in the store", each)
        else:
            found.shown.add("reference")
            found.figures[stem("reference", names[run] if len(sharing) > 1 else "")] = figure


def _miss(found: Gallery, plot: str, reason: str, label: str) -> None:
    found.missing.setdefault(plot, {}).setdefault(reason, []).append(label)


def _reason(error: Exception, run: Run) -> str:
    """Why, without the run's id, which the labels stand for."""
    words = "; ".join(error.lines()) if isinstance(error, BadInput) else str(error)
    return words.removeprefix(f"{run.id}: ")


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:6]) + (", …" if len(labels) > 6 else "")
