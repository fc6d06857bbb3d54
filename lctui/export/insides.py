"""What became of a net, as figures: its confusion matrix, and each layer's codebook, singular values and weights.

Owns how the answers of the process that has torch (`lctui.inspector`) are drawn, in the console's exports and in those
of `lctui export`.  Asks nothing, and computes nothing but shares.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from lctui.export.plots import Figure, Series

Layer = dict[str, Any]
"""A layer in the answer about a run's weights: `lctui.insight.weights` says what it holds."""

NetOf = Literal["compressed", "reference"]
"""Which of a run's nets."""

SHARES_UP_TO = 16
"""Values of a codebook that each get their share written beside them."""


class Insides(Protocol):
    """Whoever can be asked about a finished run's nets, by the run's id.  Both raise `BadInput` if it cannot
    be told, and why."""

    def confusion(self, run_id: str, of: NetOf = "compressed") -> dict[str, Any]:
        """`classes`, `matrix`[true][predicted] over the test images, `error_pct`."""

    def weights(self, run_id: str) -> dict[str, Any]:
        """`layers`, each a `Layer`."""


def confusion_figure(title: str, answer: dict[str, Any]) -> Figure:
    """The confusion matrix as a figure."""
    classes = tuple(map(str, answer["classes"]))
    matrix = tuple(map(tuple, answer["matrix"]))
    return Figure("confusion", title, "predicted class", "true class", classes=classes, matrix=matrix)


def codebook_title(layer: Layer) -> str:
    """The layer and the size of its codebook."""
    return f"{layer['name']}: weights by codebook value, {len(layer['codebook']['values'])} values"


def codebook_figure(layer: Layer, title: str | None = None) -> Figure:
    """How many weights take each value of the codebook, over the histogram of the reference's weights.

    The heights are counts on a logarithmic axis: a value stands for many bins' weights.
    """
    values, counts = layer["codebook"]["values"], layer["codebook"]["counts"]
    total = sum(counts)
    few = total > 0 and len(values) <= SHARES_UP_TO
    shares = tuple(f"{100 * count / total:.1f} %" for count in counts) if few else ()
    series = [Series("compressed, by value", tuple(values), tuple(counts), "stems", shares)]
    if before := layer.get("reference_counts"):
        series.insert(0, Series("reference, in bins", tuple(layer["edges"]), tuple(before), "step"))
    titled = title or codebook_title(layer)
    return Figure("histogram", titled, "weight", "weights", log_y=bool(before), series=tuple(series))


def singular_values_title(layer: Layer) -> str:
    """The layer and its rank."""
    kept, before = layer["singular_values"], layer.get("reference_singular_values") or ()
    return f"{layer['name']}: singular values, rank {len(kept)}" + (f" of {len(before)}" if before else "")


def singular_values_figure(layer: Layer, title: str | None = None) -> Figure:
    """Singular values of the compressed layer and of the reference's, largest first; the chosen rank is marked.

    The index has a logarithmic axis where the rank would be hard to see on a linear one.
    """
    kept, before = layer["singular_values"], layer.get("reference_singular_values") or ()
    named = (("compressed", kept), ("reference", before))
    series = tuple(Series(name, tuple(range(1, len(each) + 1)), tuple(each)) for name, each in named if each)
    series += (Series(f"rank {len(kept)}", (len(kept) + 0.5,), (), "place"),)
    titled, far = title or singular_values_title(layer), len(before) > 10 * len(kept)
    return Figure("curve", titled, "index", "singular value", log_x=far, log_y=True, series=series)


def weights_title(layer: Layer) -> str:
    """The layer and how many of its weights are left."""
    return f"{layer['name']}: {layer['weights'] - layer['zeros']:,} non-zeros of {layer['weights']:,}"


def weights_figure(layer: Layer) -> Figure:
    """Histograms of the compressed layer's non-zeros and of the reference's weights, over common bins."""
    named = (("compressed, non-zeros", layer["counts"]), ("reference", layer["reference_counts"] or ()))
    series = tuple(Series(name, tuple(layer["edges"]), tuple(each), "step") for name, each in named if each)
    return Figure("histogram", weights_title(layer), "weight", "weights", series=series)
