"""Speed on this machine: what lctui does beside what people write instead.

Owns `lctui bench`: everything in one process, the contestants taking turns, medians over the rounds.
"""

from lctui.bench.report import bench_table, measure

__all__ = ["bench_table", "measure"]
