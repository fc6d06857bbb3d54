"""C steps: every compression's solver, and Θ as data that can be decompressed, counted and stored."""

from lctui.compression.base import Compressed, Part
from lctui.compression.dispatch import c_step, restore
from lctui.compression.gaps import gap_bits, gap_code, gap_width

__all__ = ["Compressed", "Part", "c_step", "gap_bits", "gap_code", "gap_width", "restore"]
