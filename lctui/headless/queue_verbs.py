"""`lctui queue` and its verbs: the order in which runs wait for their device.

Owns what they take and print; the queue itself is `lctui.runs.queue`.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lctui.headless.options import Home, Json, RunName, open_store, print_result

queue_verbs = typer.Typer()


@queue_verbs.callback(invoke_without_command=True)
def queue(context: typer.Context, as_json: Json = False, home: Home = None) -> None:
    """List the queue, and see to it that it is worked on; `lctui stop RUN` takes a run off it."""
    from lctui.headless.queued import queue_rows
    from lctui.headless.tables import queue_table
    from lctui.runs.queue import Queue

    if home is not None:
        os.environ["LCTUI_HOME"] = str(home)
    if context.invoked_subcommand is None:
        found = Queue(open_store(None))
        found.ensure_dispatcher()
        rows = queue_rows(found)
        print_result(as_json, rows, lambda: queue_table(rows))


@queue_verbs.command()
def move(
    run: RunName,
    place: Annotated[int, typer.Argument(metavar="N", min=1, help="Its new place; 1 is next.")],
    home: Home = None,
) -> None:
    """Move a queued run to another place."""
    from lctui.runs.queue import Queue

    store = open_store(home)
    Queue(store).move_to(store.find(run).id, place - 1)
