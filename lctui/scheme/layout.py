"""The layout: which tables and figures a study's report has, as frozen pydantic models of the file's "report" block.

Owns their fields and rules, and which rows of a study a table or figure names.  Numbers, words and pictures are made
of it in `lctui.export`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lctui.errors import BadInput, Problem, nearest
from lctui.scheme.check import named
from lctui.scheme.compressions import Block
from lctui.scheme.models import Name

RESERVED = ("report", "rows", "runs", "search")
"""Files that every report has: no table or figure can be called so."""


def _paragraphs(text: str) -> str:
    if any(not sign.isprintable() and sign not in "\n\t" for sign in text):
        raise ValueError("text must be printable: it holds a control character")
    return text


Stem = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_paragraphs)]
Globs = Annotated[tuple[Name, ...], Field(min_length=1)]


class Part(Block):
    """What tables and figures have in common."""

    name: Stem = Field(examples=["table1"])
    """The name of its files: letters, digits, - and _."""
    title: Name
    """What stands above it."""
    text: Text = ""
    """What a reader should know of it, in Markdown."""


class LayoutTable(Part):
    """A table: a row of the study a line."""

    rows: Globs
    """Names of rows, or globs over them: "table1-*"."""


class LayoutFigure(Part):
    """A figure of some rows."""

    plot: Literal["pareto", "accuracy", "reference", "confusion", "curve", "layers", "codebook", "singular_values"]
    """pareto: test error by ratio; accuracy by ratio; the reference's training; a confusion matrix; curve: test error
    by LC step; layers: shares of the bits; a layer's codebook; a layer's singular_values."""
    rows: Globs | None = None
    """Names of rows, or globs over them; all but pareto, accuracy and curve show the first that has been run."""
    series: Annotated[dict[Name, Globs], Field(min_length=1)] | None = None
    """Of pareto and accuracy, in place of rows: what each series is called, and its rows."""
    of: Literal["reference", "compressed"] = "reference"
    """Of confusion: the row's reference net, or its compressed one."""
    layer: Name | None = None
    """Of codebook and singular_values: which layer."""

    @model_validator(mode="after")
    def _fields_fit_the_plot(self) -> LayoutFigure:
        if (self.rows is None) == (self.series is None):
            got = "none" if self.rows is None else "'rows' and 'series'"
            raise ValueError(f"exactly one of 'rows', 'series' is needed, got {got}")
        if self.series is not None and self.plot not in ("pareto", "accuracy"):
            raise ValueError(f"series go with plot 'pareto' or 'accuracy'; {self.plot!r} takes rows")
        if self.of == "compressed" and self.plot != "confusion":
            raise ValueError("of 'compressed' goes with plot 'confusion'")
        if (self.layer is not None) != (self.plot in ("codebook", "singular_values")):
            raise ValueError("layer goes with plot 'codebook' or 'singular_values', and they need it")
        return self

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The globs of each series; rows alone are a series without a name."""
        return self.series if self.series is not None else {"": self.rows or ()}


class Layout(Block):
    """A study's report: text, tables and figures."""

    title: Name
    """The report's title."""
    text: Text = ""
    """What the study is, in Markdown paragraphs."""
    published: Text = ""
    """How the published numbers were made, as captions say it: "published: 10 epochs an L step"."""
    tables: tuple[LayoutTable, ...] = ()
    """The tables, in order."""
    figures: tuple[LayoutFigure, ...] = ()
    """The figures, in order."""

    @model_validator(mode="after")
    def _names_differ(self) -> Layout:
        # Files of names that differ in case alone would be one on some disks.
        names = [part.name.lower() for part in (*self.tables, *self.figures)]
        for name, count in Counter(names).items():
            if name in RESERVED:
                raise ValueError(f"{name!r} is a file that every report has: a table or figure needs another name")
            if count > 1:
                raise ValueError(f"names of tables and figures must differ, {name!r} stands there more than once")
        return self


def chosen(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The rows that names and globs stand for, in the patterns' order, each once."""
    return list(dict.fromkeys(name for pattern in patterns for name in named(pattern, names)))


def find_layout_problems(layout: Layout, names: Sequence[str], path: str = "report") -> list[Problem]:
    """What the layout names that the study has no row of; `path` is the layout's place in the file."""
    asked = [
        (f"{path}.tables.{n}.rows.{k}", glob) for n, t in enumerate(layout.tables) for k, glob in enumerate(t.rows)
    ]
    for n, figure in enumerate(layout.figures):
        for label, globs in figure.groups.items():
            where = f"{path}.figures.{n}" + (f".series.{label}" if figure.series is not None else ".rows")
            asked += [(f"{where}.{k}", glob) for k, glob in enumerate(globs)]
    return [Problem(where, _no_row(glob, names)) for where, glob in asked if not named(glob, names)]


def require_rows(layout: Layout, names: Sequence[str], source: str) -> None:
    """Raises BadInput, with all problems, unless every name and glob of the layout stands for a row of the study."""
    if problems := find_layout_problems(layout, names):
        raise BadInput(source, problems)


def _no_row(glob: str, names: Sequence[str]) -> str:
    guess = nearest(glob, names)
    return f"{glob!r} is no row of the study" + (f"; did you mean {guess!r}?" if guess else "")
