"""What a run that failed says of itself: one line on what went wrong, and what to do where that is known."""

from __future__ import annotations

import errno

from lctui.errors import LctuiError
from lctui.memory import is_out_of_memory, out_of_memory


def advice(error: BaseException) -> str:
    """One line on what went wrong, and what to do where that is known."""
    if isinstance(error, LctuiError):
        return str(error)
    if is_out_of_memory(error):
        return f"{out_of_memory(error)}: lower l_step.batch_size or reference.batch_size, or use precision bfloat16"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return f"cannot write the run: {error.strerror} ({error.filename or 'no file named'}); free space, then resume"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def advice_on_memory(error: BaseException, run_id: str, beside: int) -> str:
    """The same for a run that ran out of memory, `beside` so many others in its process."""
    fewer = ", or fewer runs at once (--ensemble N)" if beside else ""
    return f"{advice(error)}{fewer}; `lctui resume {run_id}` goes on where there is more memory"
