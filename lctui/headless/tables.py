"""Tables for a person: what a scheme will weigh, how runs stand, what a run achieved.

Owns their rows and columns; the numbers come from reports, summaries and results.  User text is never read as markup.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lctui.headless.words import SIGNS, learned, predicted, roughly, short, size_of, times
from lctui.runs.log import finite
from lctui.scheme.measure import CLASSES, Measure

_SPLITS = ("train", "validation", "test")


def result_table(result: dict[str, Any]) -> Group:
    """What a finished run achieved, as a person reads it: errors and size, then what became of each task."""
    measure = Measure(result.get("metric", CLASSES))
    columns = {
        "error" if measure.is_percent else str(measure.name): 0,
        **{measure.column(split): 1 for split in _SPLITS},
        "size": 1,
        "ratio": 1,
    }
    head = _table(f"{result['name']}  ({result['id']})", columns)
    reference, direct, final = result["reference"], result["direct"], result["final"]
    head.add_row("reference", *_three(reference, measure), size_of(reference["bits"]), "1×")
    head.add_row("direct compression", *_three(direct, measure), size_of(direct["compressed_bits"]), _ratio(direct))
    head.add_row(
        "compressed by LC", *_three(final, measure), size_of(final["compressed_bits"]), _ratio(final), style="bold"
    )
    if (best := result["best"]) is not None and best["step"] != result["steps"]:
        label = f"best validation, step {best['step']}"
        head.add_row(label, *_three(best, measure), size_of(best["compressed_bits"]), _ratio(best))
    columns = {"layers": 0, "type": 0, "learned": 0, "parameters": 1, "size": 1}
    tasks = _table("what became of each task", columns)
    for task in result["layers"]:
        tasks.add_row(
            Text(", ".join(task["layers"])),
            str(task["type"]),
            learned(task),
            f"{task['parameters']:,}",
            size_of(task["bits"]),
        )
    notes = [Text(_WORSE)] if _worse(direct, final) else []
    grown = [Text(_grown(task)) for task in result["layers"] if task["bits"] > task["reference_bits"]]
    return Group(head, _cost(final), tasks, *grown, *notes) if result["layers"] else Group(head)


_WORSE = (
    "! compressed by LC is worse than direct compression: μ may not have grown enough for w and Δ(Θ) to meet;"
    " raise lc.mu.factor, lc.mu.start or lc.mu.steps"
)


def _worse(direct: dict[str, Any], final: dict[str, Any]) -> bool:
    before, after = direct["train_error_pct"], final["train_error_pct"]
    return before is not None and after is not None and after > before


def _grown(task: dict[str, Any]) -> str:
    sizes = f"{task['bits']:,} bits compressed, {task['reference_bits']:,} as it was"
    return f"! {', '.join(task['layers'])} grew: {sizes}"


def _of(measure: Measure) -> str:
    return f", {measure.name}" if measure.name and not measure.is_percent else ""


def _three(block: dict[str, Any], measure: Measure) -> list[str]:
    return [measure.text(block[f"{split}_error_pct"]) for split in _SPLITS]


def _ratio(block: dict[str, Any]) -> str:
    return times(block["compression_ratio"])


def _cost(final: dict[str, Any]) -> Text:
    """What one input costs the compressed net."""
    return Text(f"FLOPs: {short(final['flops'])}, {times(final['flops_ratio'])} fewer; zeros are skipped")


def check_table(name: str, report: dict[str, Any]) -> Group:
    """A scheme's layers, their tasks and the predicted size."""
    columns = {"layer": 0, "shape": 0, "weights": 1, "share": 1, "task": 0, "size": 1, "ratio": 1}
    counted = report["reference_flops"] is not None
    table = _table(name, columns | ({"FLOPs": 1} if counted else {}))
    whole = report["reference_bits"]
    for layer in report["layers"]:
        table.add_row(
            Text(layer["name"]),
            "×".join(map(str, layer["shape"])),
            f"{layer['parameters']:,}",
            f"{100 * layer['reference_bits'] / whole:.1f} %",
            Text(layer["how"] or "–"),
            *predicted(layer),
            *([_flops(layer)] if counted else []),
        )
    others = report["others"]
    share = f"{100 * others['bits'] / whole:.1f} %"
    table.add_row("biases …", "", f"{others['parameters']:,}", share, "–", size_of(others["bits"]), "1.0×")
    lines = [_size_line(report), _flops_line(report)]
    bases = {layer["basis"] for layer in report["layers"]}
    if "estimate" in bases:
        lines.append(Text("~ where the non-zeros will stand is only known after training: an estimate"))
    if "bound" in bases:
        lines.append(Text("≤ what training leaves (a learned rank, a penalty's non-zeros) is not known yet: a bound"))
    lines += [Text(f"! {text}") for text in _inflated(report["layers"])]
    return Group(table, *lines)


_SURE = {"exact": "exactly", "estimate": "about", "bound": "at most"}


def _size_line(report: dict[str, Any]) -> Text:
    """What the whole net will take, to the byte where that can be known."""
    ratio, more = report["compression_ratio"], " or more" if report["basis"] == "bound" else ""
    size = f"{report['compressed_bits'] / 8:,.0f} bytes" + (f", {ratio:.2f}×" if ratio else "")
    return Text(f"predicted: {_SURE[report['basis']]} {size}{more}", style="bold")


def _flops(layer: dict[str, Any]) -> str:
    if layer["compressed_flops"] is None:  # a bias
        return "–"
    return SIGNS[layer["flops_basis"]][0] + short(layer["compressed_flops"])


def _flops_line(report: dict[str, Any]) -> Text:
    """What one input costs, all layers together."""
    if report["reference_flops"] is None:
        return Text("FLOPs: not known without the data, a run reports them")
    before, after, ratio = (report[name] for name in ("reference_flops", "compressed_flops", "flops_ratio"))
    sure, more = _SURE[report["flops_basis"]], " or more" if report["flops_basis"] == "bound" else ""
    return Text(f"FLOPs: {sure} {short(after)} of {short(before)}, {times(ratio)}{more}; zeros are skipped")


def _inflated(layers: list[dict[str, Any]]) -> list[str]:
    """Warnings for layers that are certain to grow: the factors of too high a rank, say."""
    return [
        f"{layer['name']} grows: {layer['compressed_bits']:,} bits compressed, {layer['reference_bits']:,} as it is"
        for layer in layers
        if layer["basis"] != "bound" and layer["compressed_bits"] > layer["reference_bits"]
    ]


def suggestion_table(report: dict[str, Any]) -> Group:
    """What is suggested for each layer, what that alone does to loss and error, and what all of it comes to."""
    measure = Measure(report["metric"])
    alone = f"{measure.error_column()} alone"
    columns = {"layers": 0, "suggested": 0, "before": 1, "after": 1, "ratio": 1, "loss alone": 1, alone: 1}
    table = _table("", columns)
    for row in report["layers"]:
        how = row["how"] if isinstance(row["how"], list) else [row["how"]] if row["how"] else []
        words = " + ".join(" ".join(str(v) if k == "type" else f"{k}={v}" for k, v in each.items()) for each in how)
        before, after = row["reference_bits"], row["compressed_bits"]
        table.add_row(
            Text(", ".join(row["layers"])),
            Text(words or "–"),
            size_of(before),
            size_of(after),
            times(before / after if after else None),
            f"{row['loss_rise']:+.2g}" if how else "",
            measure.text(row["error_pct"]) if how else "",
        )
    direct = f"direct compression: {measure.said(report['error_pct'])} {report['split']}"
    reference = f"(reference {measure.said(report['reference_error_pct'])})"
    return Group(table, _size_line(report), Text(f"{direct} {reference}", style="bold"), Text(report["file"]))


def study_check_table(name: str, reports: list[dict[str, Any]], search: list[dict[str, Any]]) -> Group:
    """A study's runs and their predicted sizes; what is tried before them."""
    table = _table(f"{name}: {len(reports)} runs", {"run": 0, "size": 1, "ratio": 1})
    for report in reports:
        table.add_row(Text(report["name"]), *predicted(report))
    lines = [Text(f"{stage['stage']}: {stage['candidates']} references are tried first") for stage in search]
    return Group(table, *lines)


def study_table(name: str, results: list[dict[str, Any]]) -> Table:
    """A study's runs and what they achieved."""
    measures = [Measure(result.get("metric", CLASSES)) for result in results]
    common = Measure.common(measures)
    columns = {"run": 0, "id": 0, "status": 0, **{common.column(split): 1 for split in _SPLITS}, "ratio": 1}
    table = _table(f"{name}: {len(results)} runs{_of(common)}", columns)
    for result, measure in zip(results, measures, strict=True):
        final = result.get("final") or {}
        errors = [measure.text(final.get(f"{split}_error_pct")) for split in _SPLITS]
        ratio = times(final["compression_ratio"]) if final else "–"
        table.add_row(Text(result["name"]), Text(result["id"]), result["status"], *errors, ratio)
    return table


def runs_table(summaries: list[dict[str, Any]]) -> Table | Text:
    """The runs of a store."""
    if not summaries:
        return Text("no runs yet; `lctui --run FILE` starts one")
    test = Measure.common(Measure(run["metric"]) for run in summaries).column("test")
    columns = {"run": 0, "status": 0, "model": 0, "step": 1, test: 1, "ratio": 1, "age": 1}
    table = _table("", columns)
    for run in summaries:
        step = f"{run['step']}/{run['steps']}" if run["steps"] else "–"
        ratio = times(run["compression_ratio"]) if run["test_error_pct"] is not None else "–"
        error = Measure(run["metric"]).text(run["test_error_pct"])
        row = (run["status"], Text(str(run["model"])), step, error, ratio, age(run["created"]))
        table.add_row(Text(run["id"]), *row)
    return table


def queue_table(rows: list[dict[str, Any]]) -> Table | Text:
    """The queue, in order."""
    if not rows:
        return Text("nothing is queued; `lctui --run FILE --queue` puts a scheme or a study at the end")
    table = _table("", {"place": 1, "run": 0, "device": 0, "model": 0, "study": 0, "age": 1})
    for row in rows:
        texts = [Text(str(row[name] or "–")) for name in ("id", "device", "model", "study")]
        table.add_row(str(row["place"]), *texts, age(row["created"]))
    return table


def age(created: str | None) -> str:
    """How long ago, from an ISO 8601 time; a dash when there is none or it lies ahead."""
    try:
        then = datetime.fromisoformat(str(created))
    except ValueError:
        return "–"
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    return roughly(seconds) if seconds >= 0 else "–"


def run_report(
    summary: dict[str, Any], meta: dict[str, Any], result: dict[str, Any], events: list[dict[str, Any]]
) -> Group:
    """One run: where it stands, on what, its steps, and its result if there is one."""
    lines = [
        f"{summary['name']}  ({summary['id']})",
        f"{summary['status']}, {age(summary['created'])} old, step {summary['step']}/{summary['steps']}",
        f"lctui {meta.get('lctui')}, torch {meta.get('torch')}, {meta.get('device_name')} ({meta.get('device')})",
    ]
    if summary["error"]:
        lines.append(f"error: {summary['error']}")
    parts: list[Any] = [Text(line) for line in lines]
    if steps := [event for event in events if event["event"] == "step"]:
        parts.append(_steps_table(steps, Measure(summary["metric"])))
    if result.get("status") == "finished":
        parts.append(_result_or_words(result))
    return Group(*parts)


def _result_or_words(result: dict[str, Any]) -> Group | Text:
    """A result of the store, which need not be as it was written."""
    try:
        return result_table(result)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return Text("result.json is damaged: it is no result")


def _steps_table(steps: list[dict[str, Any]], measure: Measure) -> Table:
    columns = ("step", "μ", "gap", "loss", *map(measure.column, _SPLITS), "ratio")
    table = _table(f"LC steps{_of(measure)}", dict.fromkeys(columns, 1))
    for event in steps:
        errors = [measure.text(finite(event.get(f"{split}_error_pct"))) for split in _SPLITS]
        numbers = [_number(event, "mu", ".2e"), _number(event, "gap", ".2e"), _number(event, "loss", ".4f")]
        ratio = finite(event.get("compression_ratio"))
        table.add_row(_number(event, "step", ".0f"), *numbers, *errors, times(ratio if isfinite(ratio) else None))
    return table


def _number(event: dict[str, Any], name: str, form: str) -> str:
    number = finite(event.get(name))
    return format(number, form) if isfinite(number) else "–"


def _table(title: str, columns: dict[str, int]) -> Table:
    """An empty table; `columns` are names and whether they hold numbers."""
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, numeric in columns.items():
        # Text may be folded to fit the terminal, a number in two halves would be another number.
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=bool(numeric))
    return table
