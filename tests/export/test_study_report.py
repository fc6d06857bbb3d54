"""A study as a report: every number is one of its runs', and what there is no run of is said and not invented."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.export.formats import WRITERS
from lctui.runs.store import Store
from lctui.runs.study_runs import StudyRow, StudyRuns
from lctui.scheme.layout import Layout
from tests.export.conftest import LAYOUT, PUBLISHED, SEEDS, Made, export

FORMATS = ("csv", "json", "md", "tex", "svg")
QUICK = Layout.model_validate({"title": "Quick", "tables": LAYOUT["tables"][:1]})
"""A layout that asks the nets nothing."""


@dataclass(frozen=True)
class Exported:
    """The small study, exported in every format."""

    made: Made
    folder: Path
    paths: list[Path]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of a CSV file, numbers as numbers."""
        return [
            {key: number(cell) for key, cell in row.items()} for row in csv.DictReader(self.text(name).splitlines())
        ]


def number(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell or None


@pytest.fixture(scope="module")
def exported(small_study: Made, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("report") / "below" / "out"
    return Exported(small_study, folder, export(small_study.study, small_study.home, folder, FORMATS))


def quick(study: StudyRuns, home: Path, folder: Path, *formats: str, layout: Layout | None = QUICK) -> list[Path]:
    """An export without figures."""
    return export(replace(study, layout=layout), home, folder, formats or ("csv",))


def split_row(line: str) -> list[str]:
    """The cells of a line of a pipe table: a pipe that is escaped is in a cell."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables_in(text: str) -> list[list[list[str]]]:
    """Every pipe table of a Markdown text, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[split_row(line) for line in block.splitlines()] for block in blocks]


def test_every_file_is_there_and_said_to_be(exported: Exported) -> None:
    assert sorted(exported.paths) == sorted(path for path in exported.folder.rglob("*") if path.is_file())
    tables, drawn = ("mixes", "sweep", "search"), {each["name"] for each in LAYOUT["figures"]} - {"unseen", "untold"}
    expected = {f"{stem}.{form}" for stem in tables for form in WRITERS}
    expected |= {f"{stem}.{form}" for stem in drawn for form in ("svg", "csv", "json")}
    expected |= {"report.md", "rows.csv", "rows.json", "runs.csv", "runs.json"}
    assert {path.name for path in exported.paths if path.parent == exported.folder} == expected


def test_the_folder_is_a_home_with_the_same_runs(exported: Exported) -> None:
    original, copied = Store(exported.made.home), Store(exported.folder)
    assert {run.id for run in copied.all()} == {row["run"] for row in exported.rows("runs.csv")}
    for run in copied.all():
        assert run.summary() == original.find(run.id).summary()
        assert run.events() == original.find(run.id).events()
        assert {path.suffix for path in run.folder.iterdir()} == {".json", ".jsonl"}


@pytest.mark.parametrize("row", ["prune_a", "sweep/k=4", "sweep/zero"])
def test_means_and_deviations_are_of_the_runs(row: str, exported: Exported) -> None:
    (found,) = [each for each in exported.rows("rows.csv") if each["row"] == row]
    results = exported.made.results(row)
    assert len(results) == len(SEEDS) == found["finished"] == found["seeds"]
    for name in ("train_error_pct", "validation_error_pct", "test_error_pct", "compression_ratio", "compressed_bits"):
        a, b = (result["final"][name] for result in results)
        assert found[f"{name}_mean"] == pytest.approx((a + b) / 2, rel=1e-12)
        assert found[f"{name}_sd"] == pytest.approx(abs(a - b) / math.sqrt(2), rel=1e-9)
        assert found[f"{name}_n"] == 2
    a, b = (result["reference"]["test_error_pct"] for result in results)
    assert found["reference_test_error_pct_mean"] == (a + b) / 2


def test_deviations_are_the_samples_even_of_counts(small_study: Made, tmp_path: Path) -> None:
    """Two rows' runs taken for four seeds of one: a sample with a spread, in its own formula."""
    rows = {row.name: row for row in small_study.study.rows}
    a, b = rows["prune_a"], rows["sweep/k=4"]
    mixed = StudyRow("mixed", (), a.schemes + b.schemes, a.runs + b.runs, {})
    study = replace(small_study.study, rows=(mixed,), candidates=())
    quick(study, small_study.home, tmp_path, "csv", "md", layout=None)
    (found,) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    values = [
        r["final"]["compressed_parameters"] for name in ("prune_a", "sweep/k=4") for r in small_study.results(name)
    ]
    mean = sum(values) / 4
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    assert float(found["compressed_parameters_mean"]) == pytest.approx(mean, rel=1e-12)
    assert float(found["compressed_parameters_sd"]) == pytest.approx(sd, rel=1e-12)
    assert f"{mean:,.0f} ± {sd:,.0f}" in (tmp_path / "all.md").read_text()


def test_differences_are_ours_minus_the_published(exported: Exported) -> None:
    (row,) = [each for each in exported.rows("mixes.csv") if each["row"] == "prune_a"]
    errors = [result["final"]["test_error_pct"] for result in exported.made.results("prune_a")]
    ours, theirs = sum(errors) / 2, PUBLISHED["prune_a"]["test_error_pct"]
    assert row["published_test_error_pct"] == theirs
    assert row["difference_test_error_pct"] == pytest.approx(ours - theirs, abs=1e-12)
    head, _, cells, _ = tables_in(exported.text("mixes.md"))[0]
    place = head.index("test (%)")
    assert head[place + 1 : place + 3] == ["published", "Δ"]
    difference = f"{'+' if ours > theirs else '−'}{abs(ours - theirs):.2f}"
    assert cells[place + 1 : place + 3] == [f"{theirs:.2f}", difference]
    place = head.index("parameters")
    counts = {result["final"]["compressed_parameters"] for result in exported.made.results("prune_a")}
    if len(counts) == 1:
        count = counts.pop()
        assert cells[place : place + 3] == [f"{count:,}", "25,000", f"+{count - 25000:,}"]


def test_what_was_done_and_learned_stands_by_layer(exported: Exported) -> None:
    head, _, cells, never = tables_in(exported.text("mixes.md"))[0]
    ranks = [str(result["layers"][1]["rank"]) for result in exported.made.results("prune_a")]
    rank = ranks[0] if len(set(ranks)) == 1 else "/".join(ranks)
    assert head[:4] == ["row", "fc1", "fc2", "fc3"]
    assert cells[:4] == ["prune\\_a", "prune κ=20000", f"rank {rank} (α=1e-7)", "k=2"]
    assert never[:4] == ["never\\|run", "prune to 25 %", "–", "–"]
    (row,) = [each for each in exported.rows("mixes.csv") if each["row"] == "prune_a"]
    assert row["fc1_kappa"] == row["fc1_nonzeros_learned_mean"] == 20000
    assert row["fc2_rank_learned_mean"] == sum(map(int, ranks)) / 2
    assert (row["fc2_alpha"], row["fc3_k"]) == (1e-7, 2)


def test_a_row_without_runs_has_no_numbers(exported: Exported) -> None:
    (row,) = [each for each in exported.rows("rows.csv") if each["row"] == "never|run"]
    assert row["remark"] == "not run" and row["finished"] == 0
    assert not [name for name, cell in row.items() if name.endswith(("_mean", "_sd", "_n")) and cell is not None]
    cells = tables_in(exported.text("mixes.md"))[0][3]
    assert set(cells[4:-1]) == {"–"} and cells[-1] == "not run"
    missing = exported.text("report.md").partition("## What is missing")[2]
    assert "Not run: never\\|run" in missing
    assert "part/search/1/nesterov=false,lr=0.1" in missing
    assert "Not drawn: Unseen (none of its rows has been run)" in missing
    assert "Not drawn: Untold (the runs of its rows do not hold what it shows)" in missing


def test_seeds_that_are_not_done_are_said(small_study: Made, tmp_path: Path) -> None:
    first, *others = small_study.sound.rows
    half = replace(first, runs=(first.runs[0], None))
    quick(replace(small_study.study, rows=(half, *others)), small_study.home, tmp_path, "csv", "md")
    rows = {row["row"]: row for row in csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())}
    assert rows["prune_a"]["remark"] == "1 of 2 seeds finished"
    assert (rows["prune_a"]["test_error_pct_n"], rows["prune_a"]["test_error_pct_sd"]) == ("1", "")
    assert "- prune\\_a: 1 of 2 seeds finished" in (tmp_path / "report.md").read_text()


def test_a_collapsed_row_is_marked_and_leads_nothing(exported: Exported) -> None:
    errors = [result["final"]["test_error_pct"] for result in exported.made.results("sweep/zero")]
    assert errors == [50.0, 50.0]  # two digits, 100 test images each: one of them is always named
    remarks = {row["row"]: row["remark"] for row in exported.rows("rows.csv")}
    assert remarks["sweep/zero"] == "collapsed to one class"
    assert not remarks["prune_a"] and not remarks["sweep/k=4"]
    matrix = json.loads(exported.text("collapsed.json"))
    assert sorted(sum(row[name] for row in matrix) for name in ("3", "8")) == [0, 200]
    findings = exported.text("report.md").partition("## Findings")[2].partition("## The reference")[0]
    assert "**At chance level**: sweep/zero (collapsed to one class)" in findings
    assert findings.count("sweep/zero") == 1  # its ratio is the highest of all, and it is on no front


def test_findings_are_those_of_the_numbers(exported: Exported) -> None:
    means = {}
    for row in ("prune_a", "sweep/k=4"):
        finals = [result["final"] for result in exported.made.results(row)]
        means[row] = tuple(sum(f[name] for f in finals) / 2 for name in ("test_error_pct", "compression_ratio"))
    findings = exported.text("report.md").partition("## Findings")[2].partition("## The reference")[0]
    best = min(means, key=lambda row: (means[row][0], -means[row][1]))
    named = best.replace("_", "\\_")
    assert f"**Lowest test error**: {named}, {means[best][0]:.2f} ± " in findings
    beaten = {a for a in means for b in means if a != b and means[b][0] <= means[a][0] and means[b][1] >= means[a][1]}
    listed = re.findall(r"^\d+\. ([^,]+),", findings, re.MULTILINE)
    assert {name.replace("\\", "") for name in listed} == means.keys() - beaten


@pytest.mark.parametrize(("above", "close"), [(0.05, 1), (0.0999, 1), (0.1001, 0), (-1.0, 1)])
def test_close_is_a_tenth_of_a_point(above: float, close: int, small_study: Made, tmp_path: Path) -> None:
    errors = [result["final"]["test_error_pct"] for result in small_study.results("prune_a")]
    rows = [
        replace(row, published={"test_error_pct": sum(errors) / 2 - above} if row.name == "prune_a" else {})
        for row in small_study.sound.rows
    ]
    quick(replace(small_study.study, rows=tuple(rows)), small_study.home, tmp_path, "csv", layout=None)
    report = (tmp_path / "report.md").read_text()
    assert f"is no higher than the published one + 0.10 points in {close} of 1 row." in report
    assert ("No higher than the published error + 0.10 points: prune\\_a." in report) == bool(close)
    sign = "−" if above < 0 else "+"
    assert f"Worst difference {sign}{abs(above):.3f} (prune\\_a)" in report


def test_captions_say_how_the_runs_were_made(exported: Exported) -> None:
    caption = exported.text("mixes.md").splitlines()[0]
    for said in (
        "Mean ± sample standard deviation, n = 2 seeds (0, 1)",
        "2 LC steps (μ from 0.01, × 2 a step), 1 epoch an L step, lr 0.05 × 0.98 a step, batch 64",
        "Published: ten epochs an L step",
    ):
        assert said in caption
    assert "Published" not in exported.text("sweep.md").splitlines()[0]  # nothing in it is
    assert json.loads(exported.text("runs.json"))[-1]["meta"]["device_name"] in caption


def test_schedules_that_differ_within_a_table_are_said(small_study: Made, tmp_path: Path) -> None:
    def slower(row: StudyRow) -> StudyRow:
        schemes = [s.model_copy(update={"l_step": s.l_step.model_copy(update={"epochs": 7})}) for s in row.schemes]
        return replace(row, schemes=tuple(schemes))

    rows = [slower(row) if row.name == "sweep/k=4" else row for row in small_study.sound.rows]
    quick(replace(small_study.study, rows=tuple(rows)), small_study.home, tmp_path, "md", layout=None)
    caption = (tmp_path / "all.md").read_text().splitlines()[0]
    assert re.search(r"Sweep/k=4: 2 LC steps .* 7 epochs an L step.*; the others: 2 LC steps .* 1 epoch an L", caption)


def test_the_search_shows_who_won(exported: Exported) -> None:
    rows = exported.rows("search.csv")
    results = {each["run"]: each["result"] for each in json.loads(exported.text("runs.json"))}
    for row, size in zip(rows[:2], (32, 64), strict=True):
        assert (row["stage"], row["batch_size"], row["chosen"]) == (1, size, size == 32)
        errors = results[row["run"]]["reference"]
        assert row["validation_error_pct"] == errors["validation_error_pct"]
        assert row["test_error_pct"] == errors["test_error_pct"]
    assert rows[2]["part"] == "part" and rows[2]["run"] is None and rows[2]["validation_error_pct"] is None
    shown = tables_in(exported.text("report.md"))[0]
    assert [cells[-1] for cells in shown[2:]] == ["chosen", "–", "not run"]
    assert shown[4][2] == "nesterov false, lr 0.1"
    assert "\n- Chosen: batch\\_size 32\n" in exported.text("report.md")


def test_every_number_can_be_traced_to_its_run(exported: Exported) -> None:
    traced, records = exported.rows("runs.csv"), json.loads(exported.text("runs.json"))
    assert [row["run"] for row in traced] == [record["run"] for record in records]
    assert len(traced) == 8
    by_id = {path.name: path for path in (exported.made.home / "runs").iterdir()}
    for row, record in zip(traced, records, strict=True):
        for part in ("scheme", "meta", "result"):
            assert record[part] == json.loads((by_id[row["run"]] / f"{part}.json").read_text())
        for name in ("fingerprint", "lctui", "torch", "git_commit", "device", "threads", "arithmetic", "data_sha256"):
            assert str(row[name]) == str(record["meta"][name]), name
        assert row["seed"] == record["scheme"]["seed"] and row["seconds"] == record["result"]["seconds"]
        assert row["finished"].startswith("20") and row["finished"] >= record["meta"]["created"]
        assert row["final_test_error_pct"] == record["result"]["final"]["test_error_pct"]
    compressing = [row for row in traced if not row["row"].startswith("search/")]
    assert {(row["epochs_an_l_step"], row["lc_steps"], row["batch_size"], row["lr"]) for row in compressing} == {
        (1, 2, 64, 0.05)
    }
    assert [row["row"] for row in traced[:2]] == ["search/1/batch_size=32", "search/1/batch_size=64"]
    assert [row["row"] for row in compressing] == [n for n in ("prune_a", "sweep/k=4", "sweep/zero") for _ in SEEDS]


@pytest.mark.parametrize("name", ["report.md", "mixes.md", "sweep.md", "search.md"])
def test_markdown_tables_are_well_formed(name: str, exported: Exported) -> None:
    tables = tables_in(exported.text(name))
    assert tables
    for head, rule, *body in tables:
        assert all(len(row) == len(head) for row in body) and body
        assert len(rule) == len(head) and all(re.fullmatch(r"-{2,}[-:]", cell) for cell in rule)
        assert all(all(row) for row in body)


def test_the_report_reads_as_one(exported: Exported) -> None:
    text = exported.text("report.md")
    assert text.startswith("# A study of \\*two\\* digits\n\nFirst paragraph.\n\nSecond paragraph.\n\n## Findings\n")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == [
        *("Findings", "The reference", "Tables", "Figures", "Where the numbers come from", "What is missing"),
    ]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"training.svg", "all.svg", "runs.csv"} <= set(links)
    assert all((exported.folder / link).is_file() for link in links)
    assert "Said of the mixes." in text and "### Mixes \\& more" in text
    assert "\n\n\n" not in text and "None" not in text and "nan" not in text


@pytest.mark.parametrize("name", ["mixes", "sweep", "search"])
def test_latex_closes_what_it_opens_and_escapes_what_it_must(name: str, exported: Exported) -> None:
    lines = exported.text(f"{name}.tex").splitlines()
    code = [line for line in lines if not line.startswith("%")]
    width = len(code[0].removeprefix(r"\begin{tabular}{").removesuffix("}"))
    body = [line for line in code if line.endswith(r"\\")]
    assert len(body) >= 3
    for line in body:
        assert len(re.split(r"(?<!\\)&", line)) == width
        bare = re.sub(r"\\[a-zA-Z]+|\\[&%#$_{}\\]|\$[^$]*\$|\{\}", "", line)
        assert not re.search(r"[#%$_^~καμΔ±−]", bare.replace("±", "")), line
    text = re.sub(r"\\[{}\\]", "", "\n".join(code))
    assert text.count("{") == text.count("}") and text.count("$") % 2 == 0
    assert [line for line in code if line.startswith((r"\toprule", r"\midrule", r"\bottomrule"))] == [
        *(r"\toprule", r"\midrule", r"\bottomrule"),
    ]


def test_exporting_twice_gives_equal_files(exported: Exported, tmp_path: Path) -> None:
    made = exported.made
    for path in export(made.study, made.home, tmp_path, FORMATS):
        name = str(path.relative_to(tmp_path))
        assert path.read_text(encoding="utf-8") == exported.text(name), name


def test_without_a_layout_everything_is_shown(small_study: Made, tmp_path: Path) -> None:
    study = replace(small_study.sound, layout=None)
    paths = export(study, small_study.home, tmp_path, ("csv", "svg"))
    assert {path.name for path in paths if path.parent == tmp_path} == {
        *("report.md", "all.csv", "search.csv", "pareto.csv", "pareto.svg", "rows.csv", "runs.csv", "runs.json"),
    }
    listed = [row["row"] for row in csv.DictReader((tmp_path / "all.csv").read_text().splitlines())]
    assert listed == [row.name for row in study.rows]
    assert (tmp_path / "report.md").read_text().startswith("# small\n\n## Findings\n")


def test_a_layout_that_names_no_row_is_refused(small_study: Made, tmp_path: Path) -> None:
    table = {"name": "t", "title": "T", "rows": ["prune_a", "sweep/k=5"]}
    figure = {"name": "f", "title": "F", "plot": "pareto", "series": {"a": ["x*"]}}
    layout = Layout.model_validate({"title": "T", "tables": [table], "figures": [figure]})
    with pytest.raises(BadInput) as caught:
        quick(small_study.sound, small_study.home, tmp_path / "out", layout=layout)
    assert caught.value.lines() == [
        "small.json: report.tables.0.rows.1: 'sweep/k=5' is no row of the study; did you mean 'sweep/k=4'?",
        "small.json: report.figures.0.series.a.0: 'x*' is no row of the study",
    ]
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_and_a_file_in_the_way_are_refused(small_study: Made, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--format: 'pgn' is not known; did you mean 'png'"):
        quick(small_study.sound, small_study.home, tmp_path / "out", "pgn")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(BadInput, match="file: cannot be written to: "):
        quick(small_study.sound, small_study.home, tmp_path / "file")


def test_a_study_that_nobody_ran_has_no_report(small_study: Made, tmp_path: Path) -> None:
    rows = tuple(replace(row, runs=(None,) * len(row.runs)) for row in small_study.study.rows)
    with pytest.raises(BadInput, match=r"small\.json: no run of this study has finished yet"):
        quick(replace(small_study.study, rows=rows, candidates=()), small_study.home, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_references_training_is_that_of_the_first_run(exported: Exported) -> None:
    """Its history is in the store, whichever run trained it; the first row's first seed is the one shown."""
    records = [json.loads(path.read_text()) for path in (exported.made.home / "references").glob("*/reference.json")]
    (history,) = [
        record["history"]
        for record in records
        if record["scheme"]["seed"] == SEEDS[0] and record["scheme"]["reference"]["batch_size"] == 32
    ]
    expected = [
        (split, e["epoch"], 100 - e[f"{split}_error_pct"]) for split in ("train", "validation") for e in history
    ]
    assert [(row["series"], row["x"], row["y"]) for row in exported.rows("training.csv")] == expected
    bits = [row["label"] for row in exported.rows("bits.csv") if row["label"]]
    rank = exported.made.results("prune_a")[0]["layers"][1]["rank"]
    assert bits[0].startswith("20,000 non-zeros") and bits[1].startswith(f"rank {rank}")
