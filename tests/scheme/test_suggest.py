"""Numbers that a form starts from."""

from __future__ import annotations

from typing import Any

import pytest

from lctui.scheme.compressions import LowRank, Prune, PruneStructured, QuantizeAdaptive, QuantizeFixed
from lctui.scheme.net import lenet5
from lctui.scheme.suggest import suggest

CONV1, CONV2, FC1, FC2 = lenet5().layers


@pytest.mark.parametrize(
    ("model", "field", "layers", "value"),
    [
        (Prune, "kappa", [CONV2], 2500),
        (Prune, "kappa", [CONV1, CONV2], 2550),
        (Prune, "kappa", [], None),
        (Prune, "fraction", [CONV2], None),
        (PruneStructured, "kappa", [CONV2], 25),
        (LowRank, "rank", [FC1], 50),
        (LowRank, "rank", [CONV1], 1),
        (LowRank, "rank", [FC1, FC2], 1),
        (QuantizeAdaptive, "k", [FC1], 4),
        (QuantizeFixed, "values", [FC1], [-0.1, 0, 0.1]),
    ],
)
def test_suggestions(model: Any, field: str, layers: list[Any], value: Any) -> None:
    assert suggest(model.model_json_schema()["properties"][field], layers) == value
