"""FLOPs formulas: what one input costs, from counts and shapes alone.

Owns every formula of the counting, in plain integers and without torch, so that the console predicts with the very
code that a run reports with.  Counts the compressible layers, two FLOPs for a multiply-add; biases, activations,
normalisation and products of activations count for nothing.  What is counted is what Θ multiplies by:

- weights that are zero are skipped: pruned ones, all but n of every m, and the rows that structured pruning removes (a
  layer's own filters or neurons; not the columns of whoever reads them, since layers do not tell who that is);
- low rank is two layers, with the shapes that these really have;
- every entry of a codebook multiplies, and the members of a sum each by themselves.

Dense kernels save what rows and ranks save; of single zeros only kernels for sparse weights make anything.
"""

from __future__ import annotations

from lctui.scheme.net import Layer


def of_weights(layer: Layer, weights: int) -> int:
    """So many of a layer's weights, each used at all of its pixels; of a bias, nothing."""
    return 0 if layer.is_bias else 2 * weights * layer.pixels


def of_low_rank(layer: Layer, rank: int, conv_scheme: str) -> int:
    """Two factors in place of a layer, rows × rank and rank × columns (`Layer.matrix`).

    A linear layer is two linear ones.  A convolution under scheme_1 is one to `rank` channels and a 1×1; under scheme_2
    a horizontal strip and a vertical one, and what comes between them is as wide as the output and as high as the
    input, so that the horizontal one's weights are used more often (Idelbayev & Carreira-Perpiñán, CVPR 2020, §4,
    count both at the output's pixels: it is the same where stride and padding keep the height).  A transposed
    convolution is the same two in turn, with input and output changed over.
    """
    rows, columns = layer.matrix(conv_scheme)
    in_strips = conv_scheme == "scheme_2" and layer.strip_pixels is not None
    across = layer.strip_pixels if in_strips and layer.strip_pixels is not None else layer.pixels
    return 2 * rank * (rows * layer.pixels + columns * across)
