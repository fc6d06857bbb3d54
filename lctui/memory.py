"""Running out of memory, whoever says so: CUDA, torch's CPU allocator, numpy, Python or the system.

Owns which errors mean that, and the one line that they become: where it happened, how much was asked for, what to do.
No torch: who only handles files asks too.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lctui.errors import OutOfMemory, shortened

_SIGNS = (
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "out of memory",
    "bad_alloc",
    "alloc_failed",  # cuBLAS's and cuDNN's
    "could not create a memory",  # oneDNN's
    "can't start new thread",  # no room for its stack
)
_ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) ?(bytes|[kmgt]i?b)", re.IGNORECASE)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Does this error, or one that it came of, say that there was no memory left?"""
    while error is not None:
        if _says_so(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OutOfMemory | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:  # torch's
        return True
    # Most libraries know no type for it, only words.
    return bool(names & {"RuntimeError", "SafetensorError"}) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def memory_for(what: str, instead: str) -> Iterator[None]:
    """Running out of memory in here is worded: it was for `what`, and one may do this `instead`.

    Raises:
        OutOfMemory: in place of whatever error said so.
    """
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{out_of_memory(error)} {what}: {instead}") from error


def out_of_memory(error: BaseException) -> str:
    """`out of memory`, of which kind, and how much was asked for, as far as the error says."""
    text = str(error)
    kind = "out of GPU memory" if re.search("cuda|cublas|cudnn", text, re.IGNORECASE) else "out of memory"
    asked = _ASKED.search(text)
    if asked is None:
        said = " ".join(text.split())
        return f"{kind} ({type(error).__name__}{f': {shortened(said)}' if said else ''})"
    number, unit = float(asked[1]), asked[2]
    size = f"{number / 2**20:,.0f} MiB" if unit.lower() == "bytes" else f"{number:g} {unit}"
    return f"{kind} ({size} more were asked for)"
