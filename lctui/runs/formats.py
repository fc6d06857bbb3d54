"""Which format a file of lctui's is in, and the refusal of those that a newer lctui wrote.

Owns the number of a run folder's format, of its checkpoint's and of a reference's.  A file that names none is of the
first.  What a newer lctui wrote may mean something else by any of its names: it is listed, and left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lctui.errors import BadInput

FORMAT = 1
"""Raised when a folder's files change so that older code would misread them."""


class TooNew(BadInput):
    """Something on disk is in a format that only a newer lctui reads; nothing of it has been touched."""


def is_newer(said: Mapping[str, Any], field: str = "format", known: int = FORMAT) -> bool:
    """Does a record say that it is in a newer format than this code knows?"""
    number = said.get(field)
    return type(number) is int and number > known


def require_known(what: str, said: Mapping[str, Any], field: str = "format", known: int = FORMAT) -> None:
    """Raises TooNew if a record says that it is in a newer format; `what` names the file or the run."""
    if is_newer(said, field, known):
        problem = f"was written by a newer lctui (format {said[field]}; this one reads format {known})"
        raise TooNew.one("", what, problem)
