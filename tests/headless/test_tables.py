"""Tables at 80 columns: every number whole, every name as it was written, no colours where none are wanted."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from lctui.headless.display import Display, Quiet
from lctui.headless.tables import (
    check_table,
    result_table,
    run_report,
    runs_table,
    study_check_table,
    study_table,
)
from lctui.runs.status import Progress
from lctui.scheme import Scheme
from lctui.scheme.net import lenet5
from lctui.scheme.report import check_report

ROOT = Path(__file__).parents[2]
MARKUP = "[red]x[/red]"
ERRORS = {"train_error_pct": 99.99, "validation_error_pct": 88.88, "test_error_pct": 77.77}
BLOCK = ERRORS | {
    "compressed_bits": 8_888_888_888,
    "compression_ratio": 999.94,
    "flops": 88_888_888_888,
    "flops_ratio": 999.94,
}
RESULT: dict[str, Any] = {
    "name": f"net {MARKUP}",
    "id": "abcd-net",
    "status": "finished",
    "reference": ERRORS | {"bits": 987_654_321},
    "direct": BLOCK,
    "final": BLOCK,
    "best": BLOCK | {"step": 12},
    "steps": 30,
    "layers": [
        {
            "layers": ["features.denseblock3.denselayer12.conv2", MARKUP],
            "type": "low_rank + prune",
            "parts": [{"rank": 5}, {"nonzeros": 123_456}],
            "parameters": 25_557_032,
            "bits": 39_683_333,
            "reference_bits": 16_000,
        },
        {
            "layers": ["fc2"],
            "type": "quantize",
            "codebook": [-0.123, 0.111, 0.5, -1e-7, 5.0],
            "parameters": 2500,
            "bits": 3968,
            "reference_bits": 80_000,
        },
    ],
}
SUMMARY: dict[str, Any] = {
    "id": "abcd-table6-3-1.kappa-5010-seed-0-" + "x" * 30,
    "name": MARKUP,
    "status": "interrupted",
    "model": f"/home/someone/code/{MARKUP}/net.py:make_the_net",
    "metric": "error",
    "step": 12,
    "steps": 30,
    "test_error_pct": 88.88,
    "compression_ratio": 999.94,
    "created": "2000-01-01T00:00:00.000Z",
    "error": f"out of memory {MARKUP}",
}
STEPS = [{"event": "step", "step": n, "mu": 1.25e-5, "gap": 3.5e-3, "loss": 12.3456} | BLOCK for n in (1, 30, 100)]


def shown(table: RenderableType, width: int = 80) -> str:
    """A table as text; no line is wider than the terminal."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    text = console.export_text(styles=False)
    assert all(len(line) <= width for line in text.splitlines())
    return text


def unfolded(text: str) -> str:
    """All that a table says, without the spaces and line ends that folding puts in."""
    return re.sub(r"\s", "", text)


def has(text: str, *numbers: str) -> bool:
    return all(re.search(rf"(?<![\d.,]){re.escape(number)}(?!,?\d)", text) for number in numbers)


def test_a_result_fits_80_columns_with_its_numbers_whole() -> None:
    text = shown(result_table(RESULT))
    assert has(
        text, "99.99", "88.88", "77.77", "123.5 MB", "1.1 GB", "999.9×", "25,557,032", "5.0 MB", "496 B", "123,456"
    )
    assert "best validation, step 12" in text
    assert "39,683,333 bits compressed, 16,000" in " ".join(text.split())
    assert "fc2 grew" not in text


def test_the_best_step_is_not_repeated_when_it_is_the_last() -> None:
    for best in (BLOCK | {"step": 30}, None):
        assert "best" not in shown(result_table(RESULT | {"best": best}))


def test_a_result_without_tasks_or_validation_is_shown() -> None:
    final = BLOCK | {"validation_error_pct": None, "compression_ratio": None}
    text = shown(result_table(RESULT | {"layers": [], "final": final, "best": None}))
    assert "–" in text
    assert "∞" in text


@pytest.mark.parametrize("file", ["report/table6-3", "report/table7-5", "report/table3-6", "quickstart"])
def test_a_check_fits_80_columns_with_its_numbers_whole(file: str) -> None:
    scheme = Scheme.load(ROOT / "schemes" / f"{file}.json")
    report = check_report(scheme, lenet5(scheme.model.args["classes"]))
    text = shown(check_table(f"{scheme.name} {MARKUP}", report))
    assert has(text, *(f"{layer['parameters']:,}" for layer in report["layers"]))
    assert has(text, f"{report['compressed_bits'] / 8:,.0f} bytes", f"{report['compression_ratio']:.2f}×")
    assert MARKUP in text
    sure = {"exact": "exactly", "estimate": "about", "bound": "at most"}[report["basis"]]
    assert f"predicted: {sure} " in text


def test_a_task_that_is_certain_to_grow_is_said() -> None:
    raw = Scheme.load(ROOT / "schemes/quickstart.json").dump()
    raw["compress"] = [{"layers": ["fc2"], "how": {"type": "low_rank", "rank": 10}}]
    report = check_report(Scheme.model_validate(raw), lenet5(10))
    assert "! fc2 grows: 163,200 bits compressed, 160,000 as it is" in shown(check_table("x", report))


def test_a_study_fits_80_columns_with_its_numbers_whole() -> None:
    result = {
        "name": f"{MARKUP}/1.kappa=5010,seed=0",
        "id": "abcd-x-1.kappa-5010",
        "status": "interrupted",
        "final": BLOCK,
    }
    failed = {"name": "broken", "id": "efgh-x", "status": "failed", "final": None}
    assert has(shown(study_table("s", [result, failed])), "99.99", "88.88", "77.77", "999.9×")
    assert MARKUP in shown(study_table("s", [result, failed]), width=120)
    report = {"name": MARKUP * 9, "compressed_bits": 8_888_888_888, "compression_ratio": 999.94, "basis": "bound"}
    text = shown(study_check_table("s", [report], [{"stage": MARKUP, "candidates": 12}]))
    assert f"{MARKUP}: 12 references are tried first" in text
    assert has(text, "1.1 GB", "999.9×")
    assert MARKUP * 9 in shown(study_check_table("s", [report], []), width=160)


def test_a_list_of_runs_fits_80_columns_with_its_numbers_and_ids_whole() -> None:
    waiting = SUMMARY | {"steps": 0, "test_error_pct": None, "model": None, "created": None}
    text = shown(runs_table([SUMMARY, waiting]))
    assert has(text, "12/30", "88.88", "999.9×")
    assert unfolded(text).count("x" * 10) >= 2
    assert "`lctui --run FILE`" in shown(runs_table([]))


def test_a_model_with_markup_in_its_name_is_shown_as_it_is() -> None:
    text = shown(runs_table([SUMMARY | {"id": MARKUP, "model": MARKUP}]), width=120)
    assert text.count(MARKUP) == 2


def test_a_run_fits_80_columns_with_its_numbers_whole() -> None:
    meta = {"lctui": "0.1.0", "torch": "2.6", "device_name": MARKUP, "device": "cpu"}
    text = shown(run_report(SUMMARY, meta, RESULT, STEPS))
    assert has(text, "1.25e-05", "3.50e-03", "12.3456", "99.99", "88.88", "77.77", "999.9×", "100")
    assert "error: out of memory [red]x[/red]" in text
    assert text.count(MARKUP) >= 4


def test_a_run_that_wrote_nothing_is_shown() -> None:
    empty = SUMMARY | {"error": None, "created": None, "step": 0, "steps": 0, "test_error_pct": None}
    assert "interrupted" in shown(run_report(empty, {}, {}, []))


def everything() -> list[RenderableType]:
    return [
        result_table(RESULT),
        runs_table([SUMMARY]),
        run_report(SUMMARY, {}, RESULT, STEPS),
        study_table("s", [RESULT]),
    ]


def test_a_pipe_gets_no_escapes() -> None:
    file = io.StringIO()
    for table in everything():
        Console(width=80, file=file).print(table)
    assert "\x1b" not in file.getvalue()


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    for table in everything():
        Console(width=80, file=file, force_terminal=True).print(table)
    codes = {
        code for sequence in re.findall(r"\x1b\[([\d;]*)m", file.getvalue()) for code in sequence.split(";") if code
    }
    assert codes <= {"0", "1", "2", "3", "4"}  # bold and the like, no colours


PROGRESS = [
    Progress(phase="waiting"),
    Progress(phase="reference", epoch=1, epochs=30, batch=3, batches=10, eta_seconds=4000.0),
    Progress(phase="l_step", step=2, steps=30, epoch=1, epochs=10, mu=5e-5, test_error_pct=1.0, compression_ratio=None),
    Progress(phase="finishing", step=30, steps=30, epoch=10, epochs=10),
]


def test_progress_on_a_pipe_is_plain_lines() -> None:
    file = io.StringIO()
    with Display(Console(file=file, width=80)) as display:
        for progress in PROGRESS:
            display.progress(progress)
        display.say(MARKUP + "x" * 100)
    assert file.getvalue() == MARKUP + "x" * 100 + "\n"


def test_progress_on_a_terminal_shows_every_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    with Display(Console(file=file, width=80, force_terminal=True)) as display:
        for progress in PROGRESS:
            display.progress(progress)
            assert display.live is not None
            display.live.refresh()
    said = file.getvalue()
    assert "waiting" in said
    assert "2/30" in said
    assert "3/30" in said


def test_quiet_says_nothing() -> None:
    file = io.StringIO()
    with Quiet(Console(file=file, force_terminal=True)) as display:
        display.say("x")
        display.table(runs_table([]))
        for progress in PROGRESS:
            display.progress(progress)
    assert file.getvalue() == ""
