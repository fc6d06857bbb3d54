"""Numbers as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.headless.tables import age
from lctui.headless.words import duration, learned, size_of, times
from lctui.scheme.measure import ERROR


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (250, "4m10s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (47.99 * 3600, "47h59m"),
        (76 * 3600, "3d04h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("value", "said"), [(None, "–"), (0, "0.00"), (0.514, "0.51"), (100.0, "100.00")])
def test_percentages(value: float | None, said: str) -> None:
    assert ERROR.text(value) == said


@pytest.mark.parametrize(
    ("ratio", "said"), [(None, "∞"), (0.5, "0.5×"), (37.73, "37.7×"), (999.94, "999.9×"), (12345.6, "12346×")]
)
def test_ratios(ratio: float | None, said: str) -> None:
    assert times(ratio) == said


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (0, "0 B"),
        (8, "1 B"),
        (8 * 999, "999 B"),
        (8 * 999 + 7, "1.0 KB"),
        (8_000, "1.0 KB"),
        (13_714_400, "1.7 MB"),
        (8 * 999_960, "1.0 MB"),
        (8 * 10**9, "1.0 GB"),
        (8 * 5 * 10**12, "5000.0 GB"),
    ],
)
def test_sizes(bits: int, said: str) -> None:
    assert size_of(bits) == said


@given(st.integers(0, 8 * 10**12))
def test_a_size_is_within_its_last_digit(bits: int) -> None:
    number, unit = size_of(bits).split()
    scale = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert abs(float(number) * scale - bits / 8) <= (0.5 if unit == "B" else 0.0501 * scale)
    assert unit == "GB" or float(number) < 1000


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({}, ""),
        ({"rank": 0}, "rank 0"),
        ({"nonzeros": 12525}, "12,525 non-zeros"),
        ({"codebook": [-0.123456, 0.5]}, "codebook -0.123, 0.5"),
        ({"codebook": [1.0, 2.0, 3.0, 4.0, 5.0]}, "codebook 1, 2, 3, 4, … (5)"),
        ({"nonzeros": 3, "codebook": [1.0]}, "3 non-zeros, codebook 1"),
        ({"nonzeros": 9, "groups_kept": 2}, "9 non-zeros, 2 groups"),
        ({"parts": [{"rank": 2}, {"nonzeros": 5}]}, "rank 2 + 5 non-zeros"),
    ],
)
def test_what_a_task_learned(task: dict[str, Any], said: str) -> None:
    assert learned(task) == said


def test_ages() -> None:
    then = datetime.now(UTC) - timedelta(hours=3, seconds=1)
    assert age(then.isoformat()) == "3h"
    assert age(then.isoformat().replace("+00:00", "Z")) == "3h"
    assert age(then.replace(tzinfo=None).isoformat()) == "3h"
    assert age((then + timedelta(days=1)).isoformat()) == "–"
    for nothing in (None, "", "yesterday", "\x1b"):
        assert age(nothing) == "–"
