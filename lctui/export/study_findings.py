"""What a study's numbers say: the best rows, the Pareto front, and how close they come to the published ones.

Owns the sentences of the report that are computed.  Every number in them is a mean over a row's finished seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from lctui.export import study_words as words
from lctui.export.formats import markdown_text as plain
from lctui.export.plots import pareto_front
from lctui.export.study_figures import with_ratio
from lctui.export.study_numbers import CLOSE_POINTS, Measured, measure_of


def summary(rows: Sequence[Measured]) -> str:
    """How many rows reach the published error, and the extremes; empty where nothing is published."""
    asked = [row for row in rows if row.published("test_error_pct") is not None]
    known = [row for row in asked if row.difference("test_error_pct") is not None]
    if not asked or not known:
        return f"none of {words.plural(len(asked), 'row')} with a published number has been run." if asked else ""
    close = [row for row in known if row.close]
    error = plain(str(measure_of(rows).name))
    said = (
        f"the test {error}{' (mean over seeds)' if words.several(rows) else ''} is no higher than "
        f"the published one{slack(rows)} in {len(close)} of {words.plural(len(known), 'row')}"
    )
    if len(known) < len(asked):
        said += f"; {words.plural(len(asked) - len(known), 'further row')} not run"
    compared = sorted((row for row in known if not row.at_chance), key=_difference)
    if compared:
        worst, best = compared[-1], compared[0]
        said += f". Worst difference {_points(worst)} ({plain(worst.name)}), best {_points(best)} ({plain(best.name)})"
        if apart := [row.name for row in known if row.at_chance]:
            said += f"; rows at chance level, here or as published, left out: {words.listed(map(plain, apart))}"
    return f"{said}."


def slack(rows: Sequence[Measured]) -> str:
    """What a row's error may exceed the published one by, to be close to it."""
    return f" + {CLOSE_POINTS:.2f} points" if measure_of(rows).is_percent else ""


def findings(rows: Sequence[Measured]) -> list[str]:
    """One Markdown line a finding; rows at chance level are in none but the last."""
    sound = [row for row in rows if row.mean("test_error_pct") is not None and not row.fates]
    sized, error = with_ratio(sound), plain(str(measure_of(rows).name))
    said = []
    if sound:
        best = min(sound, key=lambda row: (row.error, -(row.mean("compression_ratio") or 0)))
        said.append(f"**Lowest test {error}**: {_with_error(best)}{_reference_of(best)}.")
    as_good = [row for row in sized if (level := reference_error(row)) is not None and row.error <= level]
    if as_good:
        best = max(as_good, key=lambda row: (row.ratio, -row.error))
        said.append(
            f"**Highest ratio at no more than its reference's {error}**: {_with_error(best)}{_reference_of(best)}."
        )
    elif sized:
        said.append(f"**No row has a test {error} as low as its reference's.**")
    if closest := summary(rows):
        said.append(f"**Beside the published numbers**: {closest}")
    if collapsed := [f"{row.name} ({row.remark})" for row in rows if row.fates]:
        said.append(f"**At chance level**: {words.listed(map(plain, collapsed))}.")
    return said


def front(rows: Sequence[Measured]) -> list[Measured]:
    """The rows that no other beats in both ratio and error, by rising ratio."""
    sized = with_ratio([row for row in rows if not row.fates])
    best = set(pareto_front((row.ratio, row.error) for row in sized))
    return sorted((row for row in sized if (row.ratio, row.error) in best), key=lambda row: (row.ratio, row.name))


def front_lines(rows: Sequence[Measured]) -> list[str]:
    """The front, one Markdown line a row, each with what was done to its layers."""
    return [f"{_with_error(row)}: {_tasks(row)}" for row in front(rows)]


def close_rows(rows: Sequence[Measured]) -> list[str]:
    """The names of the rows that reach the published error."""
    return [plain(row.name) for row in rows if row.close]


def reference_error(row: Measured) -> float | None:
    """The mean test error of a row's references."""
    found = row.spread("test_error_pct", "reference")
    return None if found is None else found.mean


def _with_error(row: Measured) -> str:
    error = words.spread(row.spread("test_error_pct"), row.measure.text)
    ratio = words.spread(row.spread("compression_ratio"), words.ratio)
    return f"{plain(row.name)}, {error} {plain(row.measure.unit)}" + (f" at {ratio} ×" if ratio is not None else "")


def _reference_of(row: Measured) -> str:
    level = words.spread(row.spread("test_error_pct", "reference"), row.measure.text)
    return f" (its reference: {level} {plain(row.measure.unit)})" if level is not None else ""


def _tasks(row: Measured) -> str:
    named = [(f"{task.layers[0]} " if len(task.layers) == 1 else "") + words.done(task) for task in row.tasks]
    return plain("; ".join(named))


def _difference(row: Measured) -> float:
    return row.difference("test_error_pct") or 0.0


def _points(row: Measured) -> str:
    form = (lambda value: f"{value:.3f}") if row.measure.is_percent else row.measure.text
    return words.signed(row.difference("test_error_pct"), form) or ""
