"""Queueing from the command line: which members of a study still have to run, and the queue as a table shows it.

Owns that choice; whether old runs of user code still count needs torch, so the caller passes that question in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lctui.errors import printable
from lctui.runs.queue import Queue
from lctui.runs.status import AT_WORK, Status
from lctui.runs.store import Run, Store
from lctui.scheme import Scheme
from lctui.scheme.study import Study

UNDER_WAY: tuple[Status, ...] = ("queued", *AT_WORK)
RESUMABLE: tuple[Status, ...] = ("interrupted", "crashed")
"""A member that stands so goes on where it stopped; one that failed or diverged would only do so again."""

Comparable = Callable[[Scheme, list[Run]], list[Run]]
"""Which of a scheme's earlier runs were made with the code and the data of today."""


def queue_study(
    study: Study, store: Store, device: str, comparable: Comparable, say: Callable[[str], None]
) -> list[Run]:
    """Queues the members that are neither finished nor under way; a half-done one is to go on.  Returns them in order.

    Raises:
        BadInput: the net or the data is not to be had, or the home cannot be written to.
    """
    with store.beginning():
        works = _to_do(study, store, comparable, say)
        return Queue(store).add(works, device, study.name)


def _to_do(study: Study, store: Store, comparable: Comparable, say: Callable[[str], None]) -> list[Scheme | Run]:
    known: dict[str, list[Run]] = {}
    for run in store.all():
        if run.is_known():
            known.setdefault(str(run.read("meta.json").get("fingerprint")), []).append(run)
    works: dict[str, Scheme | Run] = {}
    for scheme in study.schemes:
        fingerprint, name = scheme.fingerprint(), printable(scheme.name)
        if fingerprint in works:
            say(f"{name}: the same as a member before it")
            continue
        twin = _twin(scheme, known.get(fingerprint, []), comparable)
        status = twin.status() if twin is not None else None
        if twin is None or status in RESUMABLE:
            works[fingerprint] = twin or scheme
        else:
            say(f"{name}: {'already done' if status == 'finished' else status}: run {twin.id}")
    return list(works.values())


def _twin(scheme: Scheme, twins: list[Run], comparable: Comparable) -> Run | None:
    """The run, if any, that stands for this scheme: under way, finished, or at rest, in this order."""
    by_status: dict[str, list[Run]] = {}
    for run in twins:
        by_status.setdefault(run.status(), []).append(run)
    if under_way := [run for status in UNDER_WAY for run in by_status.get(status, [])]:
        return under_way[0]
    at_rest = [run for status in RESUMABLE for run in by_status.get(status, [])]
    begun = [run for run in at_rest if run.file("events.jsonl").exists()]
    compared = by_status.get("finished", []) + begun
    # One that never began, its place in the queue having been cancelled, is as good as new.
    found = comparable(scheme, compared) if compared else []
    return next(iter(found + [run for run in at_rest if run not in begun]), None)


def queue_rows(queue: Queue) -> list[dict[str, Any]]:
    """The queue in order, JSON-ready."""
    rows = []
    for place, entry in enumerate(queue.entries(), 1):
        run = Run(queue.store.runs_folder / entry.id)
        summary, study = run.summary(), run.read("meta.json").get("study")
        facts = {name: summary[name] for name in ("name", "model", "created")}
        rows.append({"place": place, "id": entry.id, "device": entry.device, **facts, "study": study})
    return rows
