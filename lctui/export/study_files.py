"""What `lctui export STUDY` writes: a whole study as tables, figures and one `report.md`.

Owns which files there are.  What stands in them is declared in the study's "report" block, or, without one, a table
and a figure of all rows; drawing loads matplotlib, and only when figures are asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from lctui.errors import BadInput, not_one_of, writing_to
from lctui.export import study_figures, study_tables
from lctui.export import study_words as words
from lctui.export.files import draw_figures
from lctui.export.formats import WRITERS, Table, write_table, write_text
from lctui.export.insides import Insides
from lctui.export.plots import DRAWN, Figure
from lctui.export.study_insight import Answers, Question, ask, suspects, verdicts
from lctui.export.study_numbers import Measured
from lctui.export.study_report import Report, Shown
from lctui.export.study_tables import PROGRAMS, Both
from lctui.runs import atomic
from lctui.runs.locks import alone_in
from lctui.runs.study_runs import StudyRuns
from lctui.scheme.layout import Layout, LayoutFigure, LayoutTable, chosen, require_rows

STUDY_FORMATS = ("csv", "md", "tex", "png", "svg")
"""The formats that a study is exported in, unless told otherwise."""

FORMATS = (*WRITERS, *DRAWN)
_WORDS = ("scheme.json", "events.jsonl", "status.json", "meta.json", "result.json")

Rows = Sequence[Measured]


def export_study(
    study: StudyRuns,
    insides: Insides,
    folder: Path,
    formats: Sequence[str] = STUDY_FORMATS,
    note: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Writes a study's tables, figures and report into a folder, over older ones; returns the files.

    `insides` answers what only the nets themselves can tell.  Two exports into one folder write one after the other;
    `note` is told of the waiting.

    `report.md`, `runs.csv` and `runs.json` are always among them, and under `runs/` what each run has said: the folder
    is a home that `lctui ls --home` and the console can look at, without nets.

    Raises:
        BadInput: a format is unknown, the layout names rows that there are not, the study's runs measure
            different things, nothing has been run yet, or the folder cannot be written to.
    """
    for name in formats:
        if name not in FORMATS:
            raise BadInput.one("", "--format", not_one_of(name, FORMATS))
    _require_one_metric(study)
    layout = study.layout or _default_layout(study)
    require_rows(layout, [row.name for row in study.rows], study.source)
    if not study_tables.named_runs(study.rows, study.candidates):
        raise BadInput.one(study.source, "", "no run of this study has finished yet: there is nothing to report")
    rows, answers = _measured(study, layout, insides)
    drawn = [name for name in DRAWN if name in formats]
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, note):
            return _Writing(study, layout, rows, answers, folder).all(list(dict.fromkeys(formats)), drawn)


def _require_one_metric(study: StudyRuns) -> None:
    """Means, fronts and differences are of numbers that can be compared, and a search chooses by what rows report."""
    measured = {each.scheme.objective.metric: study_tables.candidate_name(each) for each in study.candidates}
    measured |= {scheme.objective.metric: row.name for row in study.rows for scheme in row.schemes}
    if len(measured) > 1:
        said = " and ".join(f"{metric} (such as {name})" for metric, name in measured.items())
        problem = f"a report is of one metric, this study measures {said}; export its runs by their ids"
        raise BadInput.one(study.source, "", problem)


def _default_layout(study: StudyRuns) -> Layout:
    """All rows as a table, and as error against ratio."""
    if not study.rows:
        return Layout(title=study.name)
    everything = LayoutTable(name="all", title="All rows", rows=("*",))
    title = f"Test {study.measure.name} against compression ratio"
    figure = LayoutFigure(name="pareto", title=title, plot="pareto", rows=("*",))
    return Layout(title=study.name, tables=(everything,), figures=(figure,))


def _measured(study: StudyRuns, layout: Layout, insides: Insides) -> tuple[list[Measured], Answers]:
    """The rows with their results, and what only the nets can tell."""
    rows = [Measured(row, {}) for row in study.rows]
    asked = [Question(run.id) for row in rows for run in suspects(row)]
    wanted = [study_figures.question_of(figure, _of(figure.rows or (), rows)) for figure in layout.figures]
    asked += [question for question in wanted if question is not None]
    answers = ask(insides, asked)
    return [Measured(row.row, verdicts(row, answers)) for row in rows], answers


def _of(globs: Sequence[str], rows: Rows) -> list[Measured]:
    by_name = {row.name: row for row in rows}
    return [by_name[name] for name in chosen(globs, list(by_name))]


class _Writing:
    """One export: what is written, where to, and what of."""

    def __init__(self, study: StudyRuns, layout: Layout, rows: Rows, answers: Answers, folder: Path) -> None:
        self.study, self.layout, self.rows, self.answers, self.folder = study, layout, rows, answers, folder

    def all(self, formats: Sequence[str], drawn: Sequence[str]) -> list[Path]:
        """Every file; the report is the first."""
        listed = [self._rows_table(each) for each in self.layout.tables]
        figures = {each.name: self._figure(each) for each in self.layout.figures}
        written = [name for name in formats if name in WRITERS]
        tables = {layout.name: table for layout, table, _ in listed}
        paths = self._write_tables(tables, written) + self._write_numbers(figures, written)
        there = {name: figure for name, figure in figures.items() if figure is not None}
        paths += draw_figures(there, self.folder, drawn)
        shown = [self._shown(each, figures[each.name], drawn) for each in self.layout.figures]
        report = Report(self.study, self.layout, self.rows, listed, shown)
        return [self._text("report.md", report.text()), *paths, *self._copy_runs()]

    def _rows_table(self, layout: LayoutTable) -> tuple[LayoutTable, Both, str]:
        rows = _of(layout.rows, self.rows)
        caption = words.table_caption(rows, self.layout.published)
        return layout, study_tables.rows_table(f"{layout.title}. {caption}", rows), caption

    def _write_tables(self, tables: Mapping[str, Both], formats: Sequence[str]) -> list[Path]:
        if self.study.candidates:
            tables = {**tables, "search": study_tables.search_table(self.study.candidates)}
        files = {f"{stem}.{name}": table.for_format(name) for name in formats for stem, table in tables.items()}
        return [self._table(name, table) for name, table in files.items()]

    def _write_numbers(self, figures: Mapping[str, Figure | None], formats: Sequence[str]) -> list[Path]:
        """What programs read: all rows, what figures draw, and where each number is from."""
        every = study_tables.rows_table("rows", self.rows).numbers
        tables = {"rows": every} | {name: figure.data() for name, figure in figures.items() if figure is not None}
        forms = [name for name in formats if name in PROGRAMS]
        paths = [self._table(f"{stem}.{name}", table) for name in forms for stem, table in tables.items()]
        if "csv" not in forms:
            paths.append(self._table("rows.csv", every))
        runs = self.folder / "runs.json"
        atomic.write_json(runs, study_tables.runs_record(self.study.rows, self.study.candidates))
        return [*paths, self._table("runs.csv", study_tables.runs_table(self.study.rows, self.study.candidates)), runs]

    def _copy_runs(self) -> list[Path]:
        """The runs' own words: schemes, events, results, where they come from; neither weights nor logs."""
        runs = {run.id: run for _, run in study_tables.named_runs(self.study.rows, self.study.candidates)}
        paths = []
        for run in runs.values():
            for name in _WORDS:
                path = self.folder / "runs" / run.id / name
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic.replace(path, partial(shutil.copyfile, run.file(name)))
                paths.append(path)
        return paths

    def _table(self, name: str, table: Table) -> Path:
        write_table(table, self.folder / name)
        return self.folder / name

    def _figure(self, layout: LayoutFigure) -> Figure | None:
        groups = {label: _of(globs, self.rows) for label, globs in layout.groups.items()}
        rows = [row for found in groups.values() for row in found]
        if study_figures.misfit(layout, rows):
            return None
        match layout.plot:
            case "pareto":
                return study_figures.tradeoff(layout, groups)
            case "accuracy":
                return study_figures.accuracy(layout, groups)
            case "curve":
                return study_figures.by_step(layout, rows)
        return study_figures.of_first(layout, rows, self.answers)

    def _shown(self, layout: LayoutFigure, figure: Figure | None, drawn: Sequence[str]) -> Shown:
        rows = [row for globs in layout.groups.values() for row in _of(globs, self.rows)]
        if figure is None:
            return Shown(layout, None, self._why_not(layout, rows))
        if not drawn:
            return Shown(layout, None, "neither png nor svg was asked for")
        caption = self._caption(layout, rows) if layout.plot in ("pareto", "accuracy") else ""
        return Shown(layout, f"{layout.name}.{drawn[0]}", caption=caption)

    def _caption(self, layout: LayoutFigure, rows: Rows) -> str:
        pareto = layout.plot == "pareto"
        hollow = pareto and any(row.row.published for row in rows)
        return words.figure_caption(rows, self.layout.published, bars=pareto, hollow=hollow)

    def _why_not(self, layout: LayoutFigure, rows: Rows) -> str:
        if not any(row.runs for row in rows):
            return "none of its rows has been run"
        if misfit := study_figures.misfit(layout, rows):
            return misfit
        question = study_figures.question_of(layout, rows)
        failure = self.answers.failures.get(question) if question is not None else None
        return failure or "the runs of its rows do not hold what it shows"

    def _text(self, name: str, text: str) -> Path:
        write_text(self.folder / name, text)
        return self.folder / name
