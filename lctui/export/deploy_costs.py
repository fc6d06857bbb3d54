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
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lctui.export.deploy_files import Scores
from lctui.export.formats import Column, Table, markdown_text, table_text, write_table, write_text

INPUTS = 32
"""Test images that a round takes at once."""
ROUNDS = (5, 25)
"""So few and so many rounds of either net, in turn, now the one first and now the other."""
SHORTEST = 0.005
"""Seconds that a round lasts at least: nets are called so often."""
LONGEST = 10.0
"""Seconds that all rounds last at most, once there are the fewest of them."""

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
        file: its name; the dense net's was not kept.
        latency_ms: for `inputs` inputs at once, the median of `rounds`.
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
    rounds: int | None = None
    open_ms: float | None = None


def parameters(net: nn.Module) -> int:
    """Weights, biases and the like, as they are: of tied ones once."""
    return sum(tensor.numel() for tensor in net.parameters())


def flops(net: nn.Module, example: Tensor) -> int:
    """Floating-point operations for one input: of convolutions and matrix products, two for a multiply-add."""
    # The counter does not look into fused attention.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            net(example[:1])
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


@torch.inference_mode()
def latencies(nets: Sequence[Scores], inputs: Tensor) -> tuple[list[float], int]:
    """Milliseconds that each net takes for these inputs [n, …] on one thread, and in how many rounds that was found.

    Medians of alternating rounds, of this thread's own time: the latency while nobody else wants the processor.
    """
    inputs = inputs.contiguous()
    places = list(range(len(nets)))
    took: list[list[float]] = [[] for _ in places]
    with _one_thread():
        for net in nets:
            net(inputs)  # the first call prepares more than it computes
        once = [max(_seconds(net, inputs, 1), 1e-6) for net in nets]
        calls = [1 + int(SHORTEST / seconds) for seconds in once]
        rounds = int(LONGEST / sum(seconds * times for seconds, times in zip(once, calls, strict=True)))
        rounds = min(max(rounds, ROUNDS[0]), ROUNDS[1])
        for _ in range(rounds):
            for place in places:
                took[place].append(_seconds(nets[place], inputs, calls[place]))
            places.reverse()
    return [1000 * median(each) for each in took], rounds


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
        {"run": run, "name": name, **vars(cost)} | ({} if cost.latency_ms is None else {"threads": 1, "cpu": cpu})
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
    timed = [cost for _, cost in costs if cost.latency_ms is not None]
    told = [
        "`dense` is the run's net with its compressed weights, layer by layer as it was trained; `deployed` is the file"
        " beside this one.",
        "Bytes are the file's; of `packed`, the artifact's and the program's (the loader's sources are the same for"
        " every net), beside those of the dense net as `torch` writes it.",
        "Parameters are counted in the net's modules, FLOPs by torch's FlopCounterMode in the same modules, for one"
        " input; a multiply-add is two.",
    ]
    if timed:
        inputs, rounds = _range([cost.inputs for cost in timed]), _range([cost.rounds for cost in timed])
        told.append(
            f"Latency is what {inputs} inputs at once took in the opened file, on one thread of a processor that"
            f" calls itself {markdown_text(cpu)}, in that thread's own time, as if nobody else had wanted the"
            f" processor: the median of {rounds} rounds, dense and deployed in turn.  To open is from the file to a net"
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


def _range(counts: Sequence[int | None]) -> str:
    """`32`, or `8 to 32`."""
    found = sorted({count for count in counts if count is not None})
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"
