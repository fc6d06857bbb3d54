"""A study's tables: its rows beside the published ones, the search for its reference, and where each number is from.

Owns their columns.  Readers of Markdown and LaTeX get words, programs get every number in a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lctui.export import study_words as words
from lctui.export.formats import Column, Table, error_column
from lctui.export.study_numbers import Measured, Spread, measure_of
from lctui.runs.store import Run
from lctui.runs.study_runs import Candidate, StudyRow
from lctui.scheme.compressions import members
from lctui.scheme.measure import Measure
from lctui.scheme.models import Scheme

Cells = dict[str, Any]
PROGRAMS = ("csv", "json")
"""The formats whose readers are programs."""


@dataclass(frozen=True)
class Both:
    """A table for programs, and the same for readers."""

    numbers: Table
    words: Table

    def for_format(self, suffix: str) -> Table:
        """The one that a format's readers want."""
        return self.numbers if suffix in PROGRAMS else self.words


def rows_table(title: str, rows: Sequence[Measured]) -> Both:
    """Rows of the study: what was done to each layer, errors and sizes, ours, published, and the difference."""
    return Both(_wide(title, rows), _for_readers(title, rows))


def _for_readers(title: str, rows: Sequence[Measured]) -> Table:
    columns, cells = [Column("row")], [Cells(row=row.name) for row in rows]
    for layers in _columns(rows):
        name = f"layer {layers[0]}"
        columns.append(Column(name, words.together(layers)))
        for row, into in zip(rows, cells, strict=True):
            into[name] = next((words.done(task, layers) for task in row.tasks if layers[0] in task.layers), None)
    for name, heading, form in _shown(measure_of(rows)):
        columns.append(Column(name, heading, align="right"))
        published = any(row.published(name) is not None for row in rows)
        if published:
            columns += [Column(f"published {name}", "published", align="right")]
            columns += [Column(f"difference {name}", "Δ", align="right")]
        for row, into in zip(rows, cells, strict=True):
            into[name] = words.spread(row.spread(name), form)
            if (theirs := row.published(name)) is not None:
                into[f"published {name}"] = form(theirs)
                into[f"difference {name}"] = words.signed(row.difference(name), form)
    if any(row.remark for row in rows):
        columns.append(Column("remark"))
        for row, into in zip(rows, cells, strict=True):
            into["remark"] = row.remark
    return Table.of(title, columns, cells)


def _shown(measure: Measure) -> tuple[tuple[str, str, Callable[[float], str]], ...]:
    """The numbers that readers get, with their headings and how they are written."""
    return (
        ("train_error_pct", measure.heading("train"), measure.text),
        ("test_error_pct", measure.heading("test"), measure.text),
        ("compressed_parameters", "parameters", words.count),
        ("compression_ratio", "ratio", words.ratio),
    )


def _columns(rows: Sequence[Measured]) -> list[tuple[str, ...]]:
    """All layers that something was done to, a net's in its order; those that share a task in every row together."""
    tasks = [row.tasks for row in rows]
    columns: dict[tuple[int | None, ...], list[str]] = {}
    for layer in dict.fromkeys(layer for found in tasks for task in found for layer in task.layers):
        shared = tuple(next((n for n, task in enumerate(found) if layer in task.layers), None) for found in tasks)
        columns.setdefault(shared, []).append(layer)
    return [tuple(layers) for layers in columns.values()]


def _wide(title: str, rows: Sequence[Measured]) -> Table:
    return numbers_table(title, [_numbers(row) for row in rows])


def numbers_table(title: str, cells: Sequence[Cells]) -> Table:
    """Every name in some row is a column."""
    names = dict.fromkeys(name for row in cells for name in row)
    return Table.of(title, [Column(name) for name in names], cells)


def _numbers(row: Measured) -> Cells:
    """All numbers of a row, by name; a mean over seeds is three of them."""
    cells: Cells = {"row": row.name, "tags": " ".join(row.row.tags), "model": row.scheme.model.factory}
    cells |= {"metric": row.measure.name}
    cells |= {"seeds": len(row.row.schemes), "finished": len(row.runs), "remark": row.remark}
    cells |= {"close_to_published": row.close if row.difference("test_error_pct") is not None else None}
    for task in row.tasks:
        said, settings = words.done(task), _settings(task.how)
        for layer in task.layers:
            cells |= {f"{layer}_done": said} | {f"{layer}_{name}": value for name, value in settings.items()}
            for name in ("rank", "nonzeros", "parameters", "bits"):
                cells |= _three(f"{layer}_{name}_learned", task.spread(name))
    cells |= _schedule(row.scheme)
    for block in ("final", "reference", "direct", "best"):
        prefix = "" if block == "final" else f"{block}_"
        for name in dict.fromkeys(name for result in row.results for name in result.get(block) or ()):
            cells |= _three(prefix + name, row.spread(name, block))
    for name, value in row.row.published.items():
        cells |= {f"published_{name}": value, f"difference_{name}": row.difference(name)}
    return cells


def _settings(how: Any) -> Cells:
    """What was asked for, a number a column: all that is not a default; of a sum, numbered."""
    hows, found = members(how), Cells()
    for place, each in enumerate(hows):
        prefix = "" if len(hows) == 1 else f"{place}_"
        for name, value in each.model_dump(mode="json").items():
            if value is not None and (name == "type" or value != type(each).model_fields[name].default):
                found[prefix + name] = " ".join(map(repr, value)) if isinstance(value, list) else value
    return found


def _three(name: str, found: Spread | None) -> Cells:
    if found is None:
        return {}
    return {f"{name}_mean": found.mean, f"{name}_sd": found.sd, f"{name}_n": found.n}


def _schedule(scheme: Scheme) -> Cells:
    step, mu = scheme.l_step, scheme.lc.mu
    return {
        "lc_steps": mu.steps,
        "mu_start": mu.start,
        "mu_factor": mu.factor,
        "epochs_an_l_step": step.epochs,
        "lr": step.lr,
        "lr_decay": step.lr_decay,
        "batch_size": step.batch_size,
        "augment": " ".join(scheme.data.augment),
        "precision": scheme.precision,
    }


def search_table(candidates: Sequence[Candidate]) -> Both:
    """The candidates, stage by stage: what was tried, its errors, and which was chosen."""
    title, parts = "The search for the reference", any(each.part for each in candidates)
    measure = Measure.common(each.scheme.objective.measure for each in candidates)
    test = error_column("test_error_pct", "test", measure)
    cells: list[Cells] = []
    for each in candidates:
        errors = (each.run.read("result.json").get("reference") or {}) if each.run is not None else {}
        settings = _short(each)
        said = _said(settings)
        cells.append(
            {"part": each.part, "stage": each.stage, "setting": said, "chosen": each.chosen}
            | settings
            | {name: errors.get(name) for name in ("train_error_pct", "validation_error_pct", "test_error_pct")}
            | {"run": each.run.id if each.run is not None else None}
        )
    shown = [row | {"chosen": _choice(row), "part": row["part"] or "–"} for row in cells]
    columns = [
        *([Column("part")] if parts else []),
        Column("stage", form="count"),
        Column("setting"),
        error_column("validation_error_pct", "validation", measure),
        replace(test, heading=f"{test.heading}, for information"),
        Column("chosen"),
    ]
    return Both(numbers_table(title, cells), Table.of(title, columns, shown))


def chosen_settings(candidates: Sequence[Candidate]) -> dict[str, str]:
    """What the search of each part has chosen so far, stages after one another."""
    found: dict[str, Cells] = {}
    for each in candidates:
        if each.chosen:
            found.setdefault(each.part, {}).update(_short(each))
    return {part: _said(settings) for part, settings in found.items()}


def _short(candidate: Candidate) -> Cells:
    return {name.removeprefix("reference."): value for name, value in candidate.settings.items()}


def _said(settings: Cells) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _choice(row: Cells) -> str:
    return "chosen" if row["chosen"] else "" if row["run"] is not None else "not run"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return words.brief(value) if isinstance(value, float) else str(value)


def runs_table(rows: Sequence[StudyRow], candidates: Sequence[Candidate]) -> Table:
    """Where every number is from: a line a run of every row, and of the search."""
    found = [_provenance(name, run) for name, run in named_runs(rows, candidates)]
    return numbers_table("runs", found)


def named_runs(rows: Sequence[StudyRow], candidates: Sequence[Candidate]) -> list[tuple[str, Run]]:
    """All finished runs of the study, each with the row that it counts for, candidates first."""
    searched = [(candidate_name(each), each.run) for each in candidates if each.run is not None]
    return searched + [(row.name, run) for row in rows for run in row.runs if run is not None]


def candidate_name(candidate: Candidate) -> str:
    """As a row: "search/1/batch_size=16", of a part "fc/search/1/batch_size=16"."""
    label = ",".join(f"{name.rpartition('.')[2]}={_value(value)}" for name, value in candidate.settings.items())
    return f"{candidate.part}/search/{candidate.stage}/{label}".removeprefix("/")


def _provenance(name: str, run: Run) -> Cells:
    meta, scheme, result = run.read("meta.json"), run.read("scheme.json"), run.read("result.json")
    cells: Cells = {"row": name, "run": run.id, "seed": scheme.get("seed")}
    facts = ("fingerprint", "lctui", "torch", "python", "git_commit", "device", "device_name", "threads")
    cells |= {fact: meta.get(fact) for fact in facts}
    cells |= {"precision": scheme.get("precision"), "arithmetic": meta.get("arithmetic")}
    cells |= _schedule(Scheme.model_validate(scheme)) if scheme.get("compress") else {}
    cells |= {"data_sha256": meta.get("data_sha256"), "code_sha256": meta.get("code_sha256")}
    cells |= {"metric": Measure.of(scheme).name}
    for block in ("reference", "final"):
        errors: Mapping[str, Any] = result.get(block) or {}
        cells |= {f"{block}_{split}_error_pct": errors.get(f"{split}_error_pct") for split in ("validation", "test")}
    ratio = (result.get("final") or {}).get("compression_ratio")
    cells |= {"compression_ratio": ratio, "seconds": result.get("seconds"), "created": meta.get("created")}
    return cells | {"finished": finished(run)}


def finished(run: Run) -> str | None:
    """When a run was done, as its log says it (UTC)."""
    times = [event.get("time") for event in run.events() if event["event"] == "run_finished"]
    return str(times[-1]) if times else None


def runs_record(rows: Sequence[StudyRow], candidates: Sequence[Candidate]) -> list[Cells]:
    """All finished runs, with scheme, circumstances and result in full."""
    return [
        {"row": name, "run": run.id}
        | {part: run.read(f"{part}.json") for part in ("scheme", "meta", "result")}
        | {"finished": finished(run)}
        for name, run in named_runs(rows, candidates)
    ]
