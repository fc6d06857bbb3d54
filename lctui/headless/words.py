"""Numbers as a person reads them.

Owns the wording of durations, ratios, sizes, of predictions and of what a task learned, for tables and progress lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SIGNS = {"exact": ("", ""), "estimate": ("~", "~"), "bound": ("≤", "≥")}
"""What stands before a predicted size or cost, and before the ratio it makes, by how sure they are."""


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42s, 4m10s, 2h05m, 3d04h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def roughly(seconds: float) -> str:
    """Seconds in one unit, for ages in a list: <1m, 36m, 5h, 3d."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "<1m"
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h" if minutes < 2880 else f"{minutes // 1440}d"


def times(ratio: float | None) -> str:
    """A compression ratio, or ∞ when nothing is left to store."""
    return "∞" if ratio is None else f"{ratio:.1f}×" if ratio < 1000 else f"{ratio:.0f}×"


def size_of(bits: int | float) -> str:
    """Bits as bytes, in the unit that reads best: 640 B, 4.6 MB."""
    return _scaled(bits / 8, (" B", " KB", " MB", " GB"))


def predicted(report: Mapping[str, Any]) -> tuple[str, str]:
    """The predicted size and ratio of a layer or a net, as a table's narrow columns say them: ~4.6 MB, ~3.0×."""
    bits, ratio = SIGNS[report["basis"]]
    return bits + size_of(report["compressed_bits"]), ratio + times(report["compression_ratio"])


def short(count: int | float) -> str:
    """A count in the unit that reads best: 640, 4.6 M."""
    return _scaled(count, ("", " k", " M", " G", " T"))


def _scaled(value: float, units: Sequence[str]) -> str:
    """In the smallest unit that leaves fewer than four digits before the point; whole in the first."""
    if round(value) < 1000:
        return f"{value:.0f}{units[0]}"
    for unit in units[1:-1]:
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f}{unit}"
    return f"{value / 1000:.1f}{units[-1]}"


def learned(task: Mapping[str, Any], values: bool = True) -> str:
    """What a task learned, in a few words; of a codebook its first values, or only how many there are."""
    if "parts" in task:
        return " + ".join(learned(part, values) for part in task["parts"])
    words = []
    if "rank" in task:
        words.append(f"rank {task['rank']}")
    if "nonzeros" in task:
        words.append(f"{task['nonzeros']:,} non-zeros")
    if "groups_kept" in task:
        words.append(f"{task['groups_kept']:,} groups")
    if "codebook" in task:
        words.append(_codebook(task["codebook"]) if values else f"{len(task['codebook'])} values")
    return ", ".join(words)


def _codebook(values: Sequence[float]) -> str:
    first = ", ".join(f"{value:.3g}" for value in values[:4])
    return f"codebook {first}" + (f", … ({len(values)})" if len(values) > 4 else "")
