"""What only the nets themselves can tell: a study's confusion matrices and weights, and which nets always say the same.

Owns which questions a study has, and what is made of the answers; asking is the caller's `Insides`.  Loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lctui.errors import BadInput
from lctui.export.insides import Insides, NetOf
from lctui.export.study_numbers import AT_CHANCE, COLLAPSED, Measured, class_count, near_chance
from lctui.runs.store import Run

Answer = dict[str, Any]
_BAD_PCT = 45.0
"""Of data whose classes nobody has counted yet, a net that errs so often is looked at."""


@dataclass(frozen=True)
class Question:
    """What is asked of a run: the confusion matrix of its compressed net or of its reference, or its weights."""

    run: str
    of: NetOf | Literal["weights"] = "compressed"


@dataclass(frozen=True)
class Answers:
    """What could be told, as `lctui.insight` says it (`confusion`, `weights`), and why the rest could not."""

    told: Mapping[Question, Answer]
    failures: Mapping[Question, str]


def ask(insides: Insides, questions: Iterable[Question]) -> Answers:
    """Asks each question once."""
    told, failures = dict[Question, Answer](), dict[Question, str]()
    for question in dict.fromkeys(questions):
        try:
            told[question] = (
                insides.weights(question.run)
                if question.of == "weights"
                else insides.confusion(question.run, question.of)
            )
        except BadInput as error:
            failures[question] = "; ".join(error.lines())
    return Answers(told, failures)


def suspects(row: Measured) -> list[Run]:
    """The row's runs whose errors are those of a net that guesses, or may be."""
    return [run for run, result in zip(row.runs, row.results, strict=True) if _suspect(row, _error(result))]


def verdicts(row: Measured, answers: Answers) -> dict[str, str]:
    """What is wrong with the row's nets that are at chance level, by run id; nothing is said of any other."""
    said = {}
    for run, result in zip(row.runs, row.results, strict=True):
        if not _suspect(row, _error(result)):
            continue
        matrix = answers.told.get(Question(run.id))
        if matrix is not None and _predicted_classes(matrix) == 1:
            said[run.id] = COLLAPSED
        elif near_chance(row.scheme, _error(result)):
            said[run.id] = AT_CHANCE
    return said


def _error(result: Mapping[str, Any]) -> float | None:
    value = (result.get("final") or {}).get("test_error_pct")
    return value if isinstance(value, int | float) else None


def _suspect(row: Measured, error_pct: float | None) -> bool:
    if class_count(row.scheme) is None and row.measure.is_percent:
        return error_pct is not None and error_pct >= _BAD_PCT
    return near_chance(row.scheme, error_pct)


def _predicted_classes(matrix: Answer) -> int:
    """How many classes the net ever names."""
    return sum(any(row[place] for row in matrix["matrix"]) for place in range(len(matrix["classes"])))
