"""What the scheme editor says: the rows of its list, the title of a form, the line about the whole net.

Owns the words and the columns; draws nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from lctui.console import forms, tasks
from lctui.console.editing import Session
from lctui.console.exports import Exportable
from lctui.console.form_model import LEFT_OUT, written
from lctui.console.glyphs import Glyphs
from lctui.console.widgets.table import Column, Row
from lctui.errors import Problem, printable
from lctui.export.formats import Column as Cells
from lctui.export.formats import Table
from lctui.headless.words import SIGNS, predicted, short, size_of, times
from lctui.scheme.measure import CLASSES, Measure
from lctui.scheme.net import Layer

BLOCKS = {"": "run", "lc": "LC", "l_step": "L step"}
"""Blocks whose key is no word."""


def columns(session: Session) -> list[Column]:
    """The layers' columns, as wide as their names."""
    name = min(max([6, *(len(layer) for layer in session.names)]), 28)
    shape = min(max([5, *(len(shape_of(layer)) for layer in _layers(session))]), 14)
    weights = max([7, *(len(f"{layer.parameters:,}") for layer in _layers(session))])
    return [
        Column("", 2),
        Column("layer", name, flex=1),
        Column("kind", 6, drop=6),
        Column("shape", shape, drop=5),
        Column("weights", weights, "right", drop=3),
        Column("share", 6, "right", drop=4),
        Column("task", 17, flex=4),
        Column("size", 8, "right", drop=2),
        Column("ratio", 6, "right", drop=1),
        Column("FLOPs", 8, "right", drop=7),
    ]


def _layers(session: Session) -> Sequence[Layer]:
    return session.net.layers if session.net is not None else ()


def shape_of(layer: Layer) -> str:
    """A weight's shape: 50×20×5×5."""
    return "×".join(map(str, layer.shape))


def letters(session: Session) -> dict[int, str]:
    """A letter for every joint task, by the task's place."""
    joint = [place for place, task in tasks.tasks(session.raw).items() if len(tasks.covered(task, session.names)) > 1]
    return {place: chr(ord("A") + i % 26) for i, place in enumerate(joint)}


def rows(session: Session, marked: set[str], glyphs: Glyphs, last: Mapping[str, Any] | None) -> list[Row]:
    """The list: layers, stray tasks and blocks; `last` is the last prediction, shown while there is no valid one."""
    wrong = {row.key for row in session.wrong_rows().values()}
    held, joint = tasks.owners(session.raw, session.names), letters(session)
    report = session.report or last
    layers = {layer["name"]: layer for layer in report["layers"]} if report is not None else {}
    result = []
    for row in session.rows():
        sign = (glyphs.marked if row.name in marked and row.kind == "layer" else " ") + (
            glyphs.error if row.key in wrong else " "
        )
        if row.kind == "layer" and session.net is not None:
            layer = session.net.layer(row.name)
            task = _task_words(session, held.get(row.name), joint)
            cells = (*_about(layer, session.net.parameters), task, *_sizes(layers.get(row.name)))
            plain = tuple(glyphs.plain(printable(cell)) for cell in cells)
            result.append(Row(row.key, (Text(sign, "bold"), *plain), faint=not session.net_is_current()))
        else:
            name, words = _summary(session, row)
            result.append(Row(row.key, (Text(sign, "bold"), glyphs.plain(name), glyphs.plain(printable(words)))))
    return result


def _about(layer: Layer, whole: int) -> tuple[str, ...]:
    share = 100 * layer.parameters / whole if whole else 0.0
    return layer.name, layer.kind, shape_of(layer), f"{layer.parameters:,}", f"{share:.1f}%"


def _task_words(session: Session, place: int | None, joint: Mapping[int, str]) -> str:
    if place is None:
        return "–"
    words = tasks.words(tasks.tasks(session.raw)[place].get("how"))
    return f"{joint[place]}: {words}" if place in joint else words


def _sizes(layer: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if layer is None:
        return "", "", ""
    flops = layer["compressed_flops"]
    return *predicted(layer), "" if flops is None else SIGNS[layer["flops_basis"]][0] + short(flops)


def _summary(session: Session, row: forms.Row) -> tuple[str, str]:
    if row.kind == "task":
        task = tasks.tasks(session.raw)[int(row.name)]
        return ", ".join(tasks.patterns(task)) or "(no layers)", tasks.words(task.get("how"))
    said = []
    for field in session.sections(row)[0].fields:
        if field.value is LEFT_OUT or field.value is None or field.value in ([], {}):
            continue
        bare = field.field.required or field.label == "name" or field.field.kind == "choice"
        said.append(written(field.value) if bare else f"{field.label}={written(field.value)}")
    return BLOCKS.get(row.name, row.name), "  ".join(said) or "as usual"


def title(session: Session, row: forms.Row) -> str:
    """The form's title."""
    if row.kind == "layer" and session.net is not None:
        layer = session.net.layer(row.name)
        return f"{layer.name} · {layer.kind} {shape_of(layer)} · {layer.parameters:,} weights"
    if row.kind == "task":
        return f"compress.{row.name} · fits no layer of the net"
    return BLOCKS.get(row.name, row.name)


def whole_net(session: Session, last: Mapping[str, Any] | None) -> Text:
    """The predicted size; faint when it is that of the last valid scheme."""
    report = session.report or last
    line = Text("predicted  ")
    if report is None:
        return line.append("–", "dim")
    ratio = times(report["compression_ratio"])
    size = f"{size_of(report['compressed_bits'])} of {size_of(report['reference_bits'])}"
    how = {"exact": ("exactly", ""), "estimate": ("about", ""), "bound": ("at least", "at most ")}[report["basis"]]
    line.append(f"{how[0]} ")
    line.append(ratio, "bold").append(f"   {how[1]}{size}")
    if session.report is None:
        line.stylize("dim")
        line.append("   (before it became invalid)", "dim")
    elif report["reference_flops"] is not None:
        line.append("   FLOPs ").append(SIGNS[report["flops_basis"]][1] + times(report["flops_ratio"]), "bold")
    return line


def what_if(answer: Mapping[str, Any] | None, problem: str, *, stale: bool, awaited: bool) -> Text:
    """What direct compression would do; faint while it is that of an earlier scheme."""
    line = Text("what if    ")
    measure = Measure((answer or {}).get("metric", CLASSES))
    if answer is None and not problem:
        return line.append("loading the reference …", "dim")
    if answer is None:
        line.append(printable(problem))
    else:
        line.append("direct ").append(measure.said(answer["error_pct"]), "bold")
        line.append(f" {answer['split']} at ").append(times(answer["compression_ratio"]), "bold")
        line.append(f"   reference {measure.said(answer['reference_error_pct'])}")
    if stale:
        line.append(" …" if awaited else "   (as it was)")
        line.stylize("dim", 11)
    return line


def trying(done: int, total: int) -> Text:
    """How far a suggestion is."""
    return Text("suggest    ").append(f"trying compressions, layer by layer: {done} of {total}" if total else "…")


def elsewhere(problems: Sequence[Problem], glyphs: Glyphs, room: int) -> list[str]:
    """Problems that no visible field shows, with their place; as many as there is room for."""
    shown = [f"{glyphs.error} {printable(str(problem))}" for problem in problems[:room]]
    if len(problems) > room:
        shown[-1] = f"{glyphs.error} (and {len(problems) - room} more) {shown[-1].removeprefix(glyphs.error).lstrip()}"
    return shown


EXPORTED = (
    Cells("name"),
    Cells("kind"),
    Cells("shape"),
    Cells("parameters", form="count"),
    Cells("how"),
    Cells("compressed_bits", form="count"),
    Cells("compression_ratio", form="ratio"),
    Cells("basis"),
    Cells("compressed_flops", form="count"),
    Cells("flops_ratio", form="ratio"),
    Cells("flops_basis"),
)


def exported(report: Mapping[str, Any], name: str) -> Exportable:
    """The layers with their tasks and predicted sizes, as a table."""
    rows = [{**layer, "shape": "×".join(map(str, layer["shape"]))} for layer in report["layers"]]
    whole = {**report, "name": "whole net", "parameters": report["reference_bits"] // 32}
    return Exportable(f"{name}-scheme", Table.of(f"{name}: predicted", EXPORTED, [*rows, whole]))


def type_keys(types: Sequence[str], taken: set[str]) -> dict[str, str]:
    """A key for every compression: the first free letter of its name, the first letters of its words before others."""
    keys: dict[str, str] = {}
    for name in types:
        letters_ = [word[0] for word in name.split("_") if word] + [sign for sign in name if sign.isalnum()]
        free = next((sign for sign in letters_ if sign not in taken and sign not in keys), None)
        if free is not None:
            keys[free] = name
    return keys
