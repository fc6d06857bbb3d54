"""The whole of `lctui bench`: measured, as JSON, and as tables for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.table import Table

from lctui.bench.c_steps import measure_c_steps
from lctui.bench.l_step import BATCH_SIZE, Images, measure_l_step
from lctui.bench.large_net import measure_large_net
from lctui.bench.rounds import Say
from lctui.prepare import device_name, pick_device

NETS = ("lenet5", "lenet300")


def measure(home: Path, device: str, rounds: int, parts: tuple[str, ...], say: Say) -> dict[str, Any]:
    """Measures the parts asked for, of "l_step", "c_step" and "large_net"; JSON-ready, from medians of the rounds."""
    where = pick_device(device)
    report: dict[str, Any] = {
        "device": str(where),
        "device_name": device_name(where),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
    }
    if "l_step" in parts:
        images = Images.load(home)
        report |= {"data": images.name, "images": len(images.labels), "batch_size": BATCH_SIZE}
        report["l_step"] = [row for net in NETS for row in measure_l_step(net, images, where, rounds, say)]
    if "c_step" in parts:
        report["c_step"] = measure_c_steps(where, rounds, say)
    if "large_net" in parts:
        report["large_net"] = measure_large_net(where, rounds, say)
    return report


def bench_table(report: dict[str, Any]) -> Group:
    """The measurements for a person."""
    machine = f"{report['device_name']}, {report['threads']} threads, torch {report['torch']}"
    tables = []
    if "l_step" in report:
        title = f"L step: {report['images']:,} images of {report['data']}, batch {report['batch_size']}; {machine}"
        tables.append(_table(title, ("net", "way", "images/s", "× plain", "GFLOP/s", "of matmul")))
        for row in report["l_step"]:
            tables[-1].add_row(
                row["net"],
                row["way"],
                f"{row['images_per_second']:,.0f}",
                f"{row['ratio']:.2f}",
                f"{row['flops_per_second'] / 1e9:,.0f}",
                f"{100 * row['share_of_matmul_rate']:.0f} %",
            )
    for part, what in (("c_step", "C steps"), ("large_net", "C steps of a whole ResNet-50")):
        if part not in report:
            continue
        title = f"{what}: {report[part][0]['n']:,} weights; {machine}"
        tables.append(_table(title, ("compression", "library", "ms", "library's ms", "× library")))
        for row in report[part]:
            theirs = (f"{1e3 * row['library_seconds']:,.1f}", f"{row['ratio']:.1f}") if "library" in row else ("", "")
            tables[-1].add_row(row["what"], row.get("library", ""), f"{1e3 * row['seconds']:,.1f}", *theirs)
    return Group(*tables)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    """A table whose first two columns are words, and the others numbers."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < 2 else "right")
    return table
