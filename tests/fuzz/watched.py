"""The command line under an audit hook: code from a folder of data, a new process or a pickle's find_class end it.

Owns the hook, which cannot be taken out again: it is for child processes.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from lctui import cli

PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "pickle.find_class")
REFUSED = 99


def watch(folder: str, arguments: list[str]) -> None:
    """Runs the command line; ends the process with REFUSED where something is executed that a file brought along."""

    def hook(event: str, details: tuple[Any, ...]) -> None:
        brought = event == "exec" and str(getattr(details[0], "co_filename", "")).startswith(folder)
        typed = event == "compile" and str(details[1]).startswith(folder)
        if brought or typed or event in PROCESSES:
            os.write(2, f"executes: {event} {details}\n".encode())
            os._exit(REFUSED)

    if arguments[0] == "unpack":
        # Imported before anybody watches: libraries start processes to look at the machine.
        importlib.import_module("lctui.export.artifact")

    sys.argv[1:] = arguments
    sys.addaudithook(hook)
    cli.main()
