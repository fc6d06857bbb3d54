"""Numbers to start from: what a form fills in before anybody has typed.

Owns turning a field's JSON Schema (`examples`, or `suggested`: a share of some measure of the layers) into a value that
is sensible for these layers.  Chooses nothing by itself: a scheme file has no suggestions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lctui.scheme.compressions import Measure
from lctui.scheme.net import Layer


def measure(layers: Sequence[Layer], of: Measure) -> int:
    """How much of it these layers have."""
    if of == "weights":
        return sum(layer.parameters for layer in layers)
    if of == "groups":
        return sum(layer.groups for layer in layers)
    return min(min(layer.matrix("scheme_2")) for layer in layers)


def suggest(field: Mapping[str, Any], layers: Sequence[Layer]) -> Any | None:
    """A value for a field, from its JSON Schema; None if it has none to suggest."""
    share = field.get("suggested")
    if share is not None and layers:
        return max(1, round(share["share"] * measure(layers, share["of"])))
    examples = field.get("examples")
    return examples[0] if examples else None
