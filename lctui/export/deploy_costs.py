"""What a net costs to store and to run, as it was and as it is deployed: `deploy.csv` and `deploy.md`.

Owns counting (parameters, FLOPs by torch's own counter), timing on one thread of the CPU, and the words that say what
was measured.  Judges nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lctui.export.deploy_files import Scores
from lctui.export.formats import Column, Table, markdown_text, table_text, write_table, write_text

INPUTS = 32
"""Test images that a round takes at once."""
ROUNDS = 25
"""Rounds of either net, in turn, now the one first and now the other: what slows the machine slows both."""
SHORTEST = 0.005
"""Seconds that a round lasts at least: nets are called so often."""

FORMS = ("dense", "deployed")
"""A net layer by layer as it was trained, and as it is deployed."""

COLUMNS = (
    Column("run"),
    Column("name"),
    Column("format"),
    Column("form"),
    Column("file", detail=True),
    Column("bytes", form="count"),
    Column("parameters", form="count"),
    Column("flops", "FLOPs", "count"),
    Column("latency_ms", "latency (ms)", "number"),
    Column("open_ms", "to open (ms)", "number"),
    Column("inputs", form="count", detail=True),
    Column("rounds", form="count", detail=True),
    Column("threads", form="count", detail=True),
    Column("cpu", detail=True),
)


@dataclass(frozen=True)
class Cost:
    """One row: a net in a format.  Without FLOPs it is no program; without a latency it was not timed.

    Attributes:
        file: its name; of the dense net, that of a file which was not kept.
        latency_ms: for `inputs` inputs at once.
        open_ms: from the file to a net that is ready, with all libraries loaded.
    """

    format: str
    form: str
    file: str
    bytes: int
    parameters: int
    flops: int | None = None
    latency_ms: float | None = None
    inputs: int | None = None
    open_ms: float | None = None


def parameters(net: nn.Module) -> int:
    """Weights, biases and the like, as they are: of tied ones once."""
    return sum(tensor.numel() for tensor in net.parameters())


def flops(net: nn.Module, example: Tensor) -> int:
    """Floating-point operations for one input: of convolutions and matrix products, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(example[:1])
    return counter.get_total_flops()


@torch.inference_mode()
def latencies(nets: Sequence[Scores], inputs: Tensor) -> list[float]:
    """Milliseconds that each net takes for these inputs [n, …]: medians of alternating rounds on one thread.

    This thread's own time, which is the latency while nobody else wants the processor.
    """
    inputs = inputs.contiguous()
    places = list(range(len(nets)))
    took: list[list[float]] = [[] for _ in places]
    with _one_thread():
        calls = [_calls(net, inputs) for net in nets]
        for _ in range(ROUNDS):
            for place in places:
                took[place].append(_seconds(nets[place], inputs, calls[place]))
            places.reverse()
    return [1000 * median(each) for each in took]


def _calls(net: Scores, inputs: Tensor) -> int:
    """How often a round calls a net."""
    net(inputs)  # the first call prepares more than it computes
    return 1 + int(SHORTEST / max(_seconds(net, inputs, 1), 1e-6))


def _seconds(net: Scores, inputs: Tensor, times: int) -> float:
    # The processor's time: others' work, on a machine that is busy, is not the net's.
    begun = time.thread_time()
    for _ in range(times):
        net(inputs)
    return (time.thread_time() - begun) / times


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_costs(folder: Path, costs: Sequence[tuple[str, str, Cost]], cpu: str) -> list[Path]:
    """Writes both files; returns them.

    Args:
        folder: where they go.
        costs: a run's id, its name, and what a net of its costs.
        cpu: the processor that nets were timed on.

    Raises:
        OSError: they cannot be written.
    """
    rows = [
        {"run": run, "name": name, **vars(cost)}
        | ({} if cost.latency_ms is None else {"rounds": ROUNDS, "threads": 1, "cpu": cpu})
        for run, name, cost in costs
    ]
    table = Table.of("Nets to deploy", COLUMNS, rows)
    paths = [folder / "deploy.csv", folder / "deploy.md"]
    write_table(table, paths[0])
    write_text(paths[1], table_text(table, "md") + "\n" + _words([(name, cost) for _, name, cost in costs], cpu))
    return paths


def _words(costs: Sequence[tuple[str, Cost]], cpu: str) -> str:
    """What was gained, and what was measured where."""
    lines = []
    for name, cost in costs:
        dense = next(
            (other for run, other in costs if run == name and (other.format, other.form) == (cost.format, FORMS[0])),
            None,
        )
        if cost.form == FORMS[1] and dense is not None:
            lines.append(f"- {markdown_text(name)}, {cost.format}: {_gains(dense, cost)}.\n")
    inputs = next((cost.inputs for _, cost in costs if cost.inputs), None)
    told = [
        "`dense` is the run's net with its compressed weights, layer by layer as it was trained; `deployed` is the file"
        " beside this one.",
        "Bytes are the file's; of `packed`, the artifact's and the program's (the loader's sources are the same for"
        " every net), beside those of the dense net as `torch` writes it.",
        "Parameters are counted in the net's modules, FLOPs by torch's FlopCounterMode in the same modules, for one"
        " input; a multiply-add is two.",
    ]
    if inputs is not None:
        told.append(
            f"Latency is what {inputs:,} inputs at once took in the opened file, on one thread of a processor that"
            f" calls itself {markdown_text(cpu)}, in that thread's own time, as if nobody else had wanted the"
            f" processor: the median of {ROUNDS} rounds, dense and deployed in turn.  To open is from the file to a net"
            " that is ready, libraries loaded, measured once."
        )
    return "".join(lines) + "\n" * bool(lines) + "\n".join(told) + "\n"


def _gains(dense: Cost, deployed: Cost) -> str:
    gains = [_gain("bytes", dense.bytes, deployed.bytes)]
    if dense.flops and deployed.flops and dense.flops != deployed.flops:
        gains.append(_gain("FLOPs", dense.flops, deployed.flops))
    if dense.latency_ms and deployed.latency_ms:
        gains.append(_gain("ms", dense.latency_ms, deployed.latency_ms))
    return ", ".join(gains)


def _gain(unit: str, before: float, after: float) -> str:
    """From what to what, as a factor below or above one."""
    form = ",.4g" if unit == "ms" else ","
    return f"{before:{form}} to {after:{form}} {unit} ({before / after:.2f}×)"
