"""What only the nets themselves can tell: a study's confusion matrices and weights, and which nets always say the same.

Owns the questions to `lctui.inspector`, the process with torch, and what is made of its answers.  Loads no torch.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lctui.export.study_numbers import AT_CHANCE, COLLAPSED, Measured, class_count, near_chance
from lctui.runs.process import module_command, module_environment
from lctui.runs.store import Run

Answer = dict[str, Any]
_BAD_PCT = 45.0
"""Of data whose classes nobody has counted yet, a net that errs so often is looked at."""


@dataclass(frozen=True)
class Question:
    """What is asked of a run: the confusion matrix of its compressed net or of its reference, or its weights."""

    run: str
    of: Literal["reference", "compressed", "weights"] = "compressed"

    def request(self) -> dict[str, Any]:
        """As the process understands it."""
        return {"kind": "weights" if self.of == "weights" else "confusion", "run": self.run, "of": self.of}


@dataclass(frozen=True)
class Answers:
    """What could be told, as `lctui.insight` says it (`confusion`, `weights`), and why the rest could not."""

    told: Mapping[Question, Answer]
    failures: Mapping[Question, str]


def ask(home: Path, questions: Iterable[Question]) -> Answers:
    """Asks the inspection process of a home; without questions none is started."""
    waiting, told, failures = list(dict.fromkeys(questions)), dict[Question, Answer](), dict[Question, str]()
    while waiting:
        replies = _replies(home, waiting)
        for question, reply in zip(waiting, replies, strict=False):
            if "result" in reply:
                told[question] = reply["result"]
            else:
                failures[question] = str(reply.get("error"))
        if not replies:
            failures[waiting[0]] = "the process that knows the nets ended without an answer"
        # It ends early where other code of the user's is needed: a new one answers the rest.
        waiting = waiting[max(1, len(replies)) :]
    return Answers(told, failures)


def _replies(home: Path, questions: Sequence[Question]) -> list[dict[str, Any]]:
    requests = [{"id": n, **question.request()} for n, question in enumerate(questions)]
    done = subprocess.run(
        module_command("lctui.inspector", "--home", str(home)),
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        encoding="utf-8",
        env=module_environment(),
        check=False,
    )
    return [json.loads(line) for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]


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
    if class_count(row.scheme) is None:
        return error_pct is not None and error_pct >= _BAD_PCT
    return near_chance(row.scheme, error_pct)


def _predicted_classes(matrix: Answer) -> int:
    """How many classes the net ever names."""
    return sum(any(row[place] for row in matrix["matrix"]) for place in range(len(matrix["classes"])))
