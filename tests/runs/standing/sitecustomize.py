"""Python that stands still: with this folder on PYTHONPATH, it stops itself at the audit event that STANDS_AT names.

STANDS_AT is the event, a pattern for its first argument, and how many of those come first: `lctui.write */out/.* 1`.
"""

import os
import signal
import sys
from fnmatch import fnmatchcase

_event, _pattern, _before = os.environ["STANDS_AT"].split()
_left = [int(_before)]


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == _event and fnmatchcase(str(arguments[0]), _pattern):
        _left[0] -= 1
        if _left[0] == -1:
            os.kill(os.getpid(), signal.SIGSTOP)


sys.addaudithook(_listen)
