"""lctui: compress neural nets with the Learning-Compression (LC) algorithm.

The Python API: `Scheme` (what to do), `compress` (do it to a module), `load` (a compressed artifact back to weights).
Importing lctui is cheap: torch is loaded by the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lctui.api import Result, compress
    from lctui.export.artifact import load
    from lctui.scheme import Scheme

__all__ = ["Result", "Scheme", "compress", "load"]

_HOMES = {
    "Result": "lctui.api",
    "Scheme": "lctui.scheme",
    "compress": "lctui.api",
    "load": "lctui.export.artifact",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lctui' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
