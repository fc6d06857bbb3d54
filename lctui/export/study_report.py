"""A study's report as one Markdown file that reads as a report: text, findings, tables, figures, and their sources.

Owns the order of its sections and what is said of that which is missing.  Numbers and sentences come from elsewhere;
nothing in it depends on when it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lctui.export import study_findings, study_tables
from lctui.export import study_words as words
from lctui.export.formats import markdown_text as plain
from lctui.export.formats import table_text
from lctui.export.study_numbers import Measured, Spread
from lctui.export.study_tables import Both
from lctui.headless.words import duration
from lctui.runs.study_runs import StudyRuns
from lctui.scheme.layout import Layout, LayoutFigure, LayoutTable
from lctui.scheme.measure import Measure

OF_THE_REFERENCE = ("reference", "confusion")
"""Plots that show the reference, and stand with it."""


@dataclass(frozen=True)
class Shown:
    """A figure of the layout: its file's name, or why there is none, and what its numbers are."""

    layout: LayoutFigure
    file: str | None
    why_not: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Report:
    """All that a report is made of."""

    study: StudyRuns
    layout: Layout
    rows: Sequence[Measured]
    tables: Sequence[tuple[LayoutTable, Both, str]]
    """Each table with its caption."""
    figures: Sequence[Shown]

    @property
    def _error(self) -> str:
        return plain(str(self.study.measure.name))

    def text(self) -> str:
        """The report, in Markdown."""
        of_reference = [f for f in self.figures if f.layout.plot in OF_THE_REFERENCE and f.layout.of == "reference"]
        others = [f for f in self.figures if f not in of_reference]
        sections = [
            [f"# {plain(self.layout.title)}", self.layout.text.strip()],
            ["## Findings", *self._findings()],
            ["## The reference", *self._references(), *self._search(), *_each(of_reference, _figure)],
            ["## Tables", *_each(self.tables, _table)] if self.tables else [],
            ["## Figures", *_each(others, _figure)] if others else [],
            ["## Where the numbers come from", *self._sources()],
            ["## What is missing", *self._missing()],
        ]
        return "\n\n".join(block for section in sections for block in section if block) + "\n"

    def _findings(self) -> Iterable[str]:
        said = study_findings.findings(self.rows)
        yield _bullets(said) if said else "No row has been run yet."
        if lines := study_findings.front_lines(self.rows):
            yield f"The Pareto front, by rising ratio (no row has both a higher ratio and a lower test {self._error}):"
            yield "\n".join(f"{n}. {line}" for n, line in enumerate(lines, 1))
        if close := study_findings.close_rows(self.rows):
            slack = study_findings.slack(self.rows)
            yield f"No higher than the published {self._error}{slack}: {words.listed(close)}."

    def _references(self) -> Iterable[str]:
        """Each reference that rows start from, and its errors over the seeds."""
        groups: dict[str, dict[int, Mapping[str, Any]]] = {}
        for row in self.rows:
            for scheme, run in zip(row.row.schemes, row.row.runs, strict=True):
                if run is not None:
                    net = f"{scheme.model.factory} on {scheme.data.name}: {words.trained(scheme)}"
                    errors = run.read("result.json").get("reference") or {}
                    groups.setdefault(net, {}).setdefault(scheme.seed, errors)
        if groups:
            measure = self.study.measure
            yield _bullets(f"{plain(net)}. {_errors(list(seeds.values()), measure)}" for net, seeds in groups.items())

    def _search(self) -> Iterable[str]:
        if not self.study.candidates:
            return
        yield (
            f"The search trains the reference alone, stage by stage; the lowest *validation* {self._error} wins, ties "
            "go to the first listed, and the winner's values hold for the later stages. "
            "Test errors are for information."
        )
        yield _markdown(study_tables.search_table(self.study.candidates))
        yield _bullets(
            f"Chosen{f' for {plain(part)}' if part else ''}: {plain(settings)}"
            for part, settings in study_tables.chosen_settings(self.study.candidates).items()
        )

    def _sources(self) -> Iterable[str]:
        named = study_tables.named_runs(self.study.rows, self.study.candidates)
        runs = list({run.id: run for _, run in named}.values())  # a candidate may be a row's run, too
        metas = [run.read("meta.json") for run in runs]
        facts = {name: _distinct(metas, name) for name in ("lctui", "torch", "python", "git_commit", "arithmetic")}
        dates = _distinct(metas, "created") + [date for run in runs if (date := study_tables.finished(run))]
        seconds = Spread.of([run.read("result.json").get("seconds") for run in runs])
        lines = [
            f"Study: {plain(self.study.name)}, {words.plural(len(runs), 'run')}",
            *(f"{name.replace('_', ' ')}: {plain(words.listed(found))}" for name, found in facts.items() if found),
            f"Devices: {plain(words.devices(runs))}",
            f"Data (SHA-256): {words.listed(digest[:16] for digest in _distinct(metas, 'data_sha256'))}",
            f"Dates (UTC): {min(dates)[:10]} to {max(dates)[:10]}" if dates else "",
            f"Time in runs: {duration(sum(seconds.values))}" if seconds else "",
        ]
        yield _bullets(line for line in lines if line)
        of_split = "percent of the images of a split, to the count"
        errors = of_split if self.study.measure.is_percent else f"the mean {self._error} of a split"
        yield (
            f"Errors are {errors}; errors and sizes are those of the compressed "
            "net after the last LC step. [rows.csv](rows.csv) has every number of every row, [runs.csv](runs.csv) the "
            "run, versions, device and data that each is from, [runs.json](runs.json) schemes and results in full."
        )

    def _missing(self) -> Iterable[str]:
        lines = []
        if never := [plain(row.name) for row in self.rows if not row.runs]:
            lines.append(f"Not run: {words.listed(never)}")
        lines += [
            f"{plain(row.name)}: {len(row.runs)} of {len(row.row.schemes)} seeds finished"
            for row in self.rows
            if 0 < len(row.runs) < len(row.row.schemes)
        ]
        unseen = [plain(study_tables.candidate_name(each)) for each in self.study.candidates if each.run is None]
        if unseen:
            lines.append(f"Not tried in the search: {words.listed(unseen)}")
        lines += [f"Not drawn: {plain(f.layout.title)} ({plain(f.why_not)})" for f in self.figures if f.file is None]
        yield _bullets(lines) if lines else "Nothing: every row has been run with every seed, every figure is drawn."


def _errors(found: Sequence[Mapping[str, Any]], measure: Measure) -> str:
    said = []
    for split in ("train", "validation", "test"):
        errors = Spread.of([each.get(f"{split}_error_pct") for each in found])
        if errors is not None:
            said.append(f"{split} {words.spread(errors, measure.text)} {plain(measure.unit)}")
    return f"Errors: {', '.join(said)} ({words.plural(len(found), 'seed')})"


def _table(entry: tuple[LayoutTable, Both, str]) -> Iterable[str]:
    layout, table, caption = entry
    return f"### {plain(layout.title)}", layout.text.strip(), _markdown(table), plain(caption)


def _figure(shown: Shown) -> Iterable[str]:
    layout = shown.layout
    drawn = f"![{plain(layout.title)}]({shown.file})"
    picture = drawn if shown.file is not None else f"Not drawn: {plain(shown.why_not)}."
    return f"### {plain(layout.title)}", layout.text.strip(), picture, plain(shown.caption)


def _each(items: Iterable[Any], blocks: Any) -> list[str]:
    return [block for item in items for block in blocks(item)]


def _markdown(table: Both) -> str:
    return table_text(replace(table.words, title=""), "md").strip()


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _distinct(metas: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(str(meta[name]) for meta in metas if meta.get(name) is not None))
