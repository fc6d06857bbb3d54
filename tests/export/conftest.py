"""A small real study: four rows, one of which collapses and one of which nobody ran, two seeds, and a search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lctui.console import inspection
from lctui.export.study_files import export_study
from lctui.runs.store import Run, Store
from lctui.runs.study_runs import Candidate, StudyRow, StudyRuns
from lctui.scheme import Scheme
from lctui.scheme.layout import Layout
from tests.conftest import Cli, made_once, tiny

SEEDS = (0, 1)
ALL_ZERO = {"type": "quantize", "codebook": "fixed", "values": [0]}
TASKS: dict[str, list[dict[str, Any]]] = {
    "prune_a": [
        {"layers": ["fc1"], "how": {"type": "prune", "kappa": 20000}},
        {"layers": ["fc2"], "how": {"type": "low_rank", "rank": "auto", "alpha": 1e-7}},
        {"layers": ["fc3"], "how": {"type": "quantize", "k": 2}},
    ],
    "sweep/k=4": [{"layers": ["fc*"], "how": {"type": "quantize", "k": 4}}],
    "sweep/zero": [{"layers": ["fc*"], "how": ALL_ZERO}],
    "never|run": [{"layers": ["fc1"], "how": {"type": "prune", "fraction": 0.25}}],
}
PUBLISHED = {"prune_a": {"test_error_pct": 2.0, "compression_ratio": 9.5, "compressed_parameters": 25000}}
LAYOUT: dict[str, Any] = {
    "title": "A study of *two* digits",
    "text": "First paragraph.\n\nSecond paragraph.",
    "published": "published: ten epochs an L step",
    "tables": [
        {"name": "mixes", "title": "Mixes & more", "rows": ["prune_a", "never*"], "text": "Said of the mixes."},
        {"name": "sweep", "title": "Sweep", "rows": ["sweep/*"]},
    ],
    "figures": [
        {"name": "training", "title": "Training", "plot": "reference", "rows": ["*"]},
        {"name": "mistakes", "title": "Mistakes", "plot": "confusion", "rows": ["prune_a"]},
        {"name": "collapsed", "title": "One class", "plot": "confusion", "of": "compressed", "rows": ["sweep/zero"]},
        {"name": "all", "title": "All", "plot": "pareto", "series": {"mixes": ["prune_a", "never*"], "k": ["sweep/*"]}},
        {"name": "accuracy", "title": "Accuracy", "plot": "accuracy", "rows": ["*"]},
        {"name": "steps", "title": "Steps", "plot": "curve", "rows": ["*"]},
        {"name": "bits", "title": "Bits", "plot": "layers", "rows": ["prune_a"]},
        {"name": "values", "title": "Values", "plot": "codebook", "layer": "fc3", "rows": ["prune_a"]},
        {"name": "ranks", "title": "Ranks", "plot": "singular_values", "layer": "fc2", "rows": ["prune_a"]},
        {"name": "untold", "title": "Untold", "plot": "codebook", "layer": "fc1", "rows": ["prune_a"]},
        {"name": "unseen", "title": "Unseen", "plot": "pareto", "rows": ["never*"]},
    ],
}
"""The layout of that study: a table and a figure of every kind."""


@dataclass(frozen=True)
class Made:
    """The study, and the home that its runs are in; both are only to be read."""

    study: StudyRuns
    home: Path

    @property
    def sound(self) -> StudyRuns:
        """The study without the row that collapses: no net needs to be asked anything."""
        return replace(self.study, rows=tuple(row for row in self.study.rows if row.name != "sweep/zero"))

    def results(self, row: str) -> list[dict[str, Any]]:
        """The results of a row's runs, as the files have them."""
        (found,) = [each for each in self.study.rows if each.name == row]
        return [json.loads(run.file("result.json").read_text()) for run in found.runs if run is not None]


def export(study: StudyRuns, home: Path, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Exports a study whose runs are in this home."""
    with inspection.Answers(home) as answers:
        return export_study(study, answers, folder, formats)


def scheme_of(row: str, seed: int) -> dict[str, Any]:
    steps = {"mu": {"start": 0.01, "factor": 2.0, "steps": 2}}
    l_step = {"epochs": 1, "batch_size": 64, "lr": 0.05}
    name = f"small/{row.replace('|', '-')},seed={seed}"
    return tiny(name=name, compress=TASKS[row], lc=steps, l_step=l_step, seed=seed)


def searched(batch_size: int) -> dict[str, Any]:
    reference = {"epochs": 2, "batch_size": batch_size, "lr": 0.05}
    return tiny(name=f"small/search/1/batch_size={batch_size}", compress=[], reference=reference, seed=0)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Eight runs of two LC steps on real images of two digits."""
    schemes = {(row, seed): scheme_of(row, seed) for row in TASKS if row != "never|run" for seed in SEEDS}
    raw = [*schemes.values(), searched(32), searched(64)]
    # Each run of ours is a variant that sets everything, whatever a study's language can say.
    settings = [{key: value for key, value in each.items() if key not in ("version", "name")} for each in raw]
    variants = [{"name": str(n), "set": each} for n, each in enumerate(settings)]
    study = {"version": 1, "study": "small", "base": tiny(), "variants": variants}

    def run(folder: Path) -> None:
        (folder / "study.json").write_text(json.dumps(study))
        done = Cli(folder / "home")("--run", folder / "study.json", "--quiet")
        assert done.returncode == 0, done.stderr

    home = made_once(tmp_path_factory, "small-study", run) / "home"
    by_name = {run.read("scheme.json")["name"]: run for run in Store(home).all()}
    runs = {key: by_name[f"tiny/{n}"] for n, key in enumerate([*schemes, 32, 64])}
    rows = tuple(_row(row, [runs.get((row, seed)) for seed in SEEDS]) for row in TASKS)
    tried = {n: Scheme.model_validate(searched(n)) for n in (32, 64)}
    candidates = tuple(Candidate("", 1, {"reference.batch_size": n}, tried[n], runs[n], n == 32) for n in tried)
    candidates += (Candidate("part", 1, {"reference.nesterov": False, "reference.lr": 0.1}, tried[32], None, False),)
    return Made(StudyRuns("small", rows, candidates, Layout.model_validate(LAYOUT), "small.json"), home)


def _row(name: str, runs: list[Run | None]) -> StudyRow:
    schemes = tuple(Scheme.model_validate(scheme_of(name, seed)) for seed in SEEDS)
    return StudyRow(name, ("tagged", name[:5]), schemes, tuple(runs), PUBLISHED.get(name, {}))
