"""The queue: runs that wait for their device, in order, on disk.

Owns `HOME/queue.json`, the order, which is only changed under `HOME/queue.lock`, so that any number of consoles may
edit at once.  Whether a run is queued is for its own status to say: a damaged order loses nothing but the order.  A
device is one lane of the queue; `lctui.runs.dispatch` works on a lane.  Starts no worker itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lctui.errors import BadInput, writing_to
from lctui.runs import atomic
from lctui.runs.control import mark_starting, prepare_to_resume, remember_device
from lctui.runs.formats import require_known
from lctui.runs.locks import Lock, is_held
from lctui.runs.process import launch, require_device_name
from lctui.runs.status import AT_WORK, words
from lctui.runs.store import Run, Store, place_of, run_facts

if TYPE_CHECKING:
    from lctui.scheme import Scheme

VERSION = 1
CHUNK = 50
ENVIRONMENT = ("LCTUI_DATA", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
"""What decides where a run's data and code lie and what its device is: as it was when the run was queued."""

DEVICES = Path("/dev")


@dataclass(frozen=True)
class Entry:
    """A queued run and its lane."""

    id: str
    device: str


@dataclass
class _Order:
    """The file's content: runs that wait, and for each lane the one that its dispatcher took last."""

    waiting: list[Entry] = field(default_factory=list)
    taken: list[Entry] = field(default_factory=list)


class Queue:
    """The queue of a home."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._file = store.home / "queue.json"
        self._scanned: tuple[int, list[Run]] = (-1, [])

    def add(self, works: Sequence[Scheme | Run], device: str, study: str | None = None) -> list[Run]:
        """Puts schemes at the end, each in a new run folder; a run at rest in their place is to go on where it stopped.

        Raises:
            BadInput: no such device, a run that is not at rest, or a home that cannot be written to.  What was queued
                before is queued all the same, and is run.
        """
        require_device_name(device)
        lane, added = lane_of(device), list[Run]()
        with writing_to(self.store.home):
            self.store.home.mkdir(parents=True, exist_ok=True)
        # The lock is held for some runs at a time: nobody waits long for it while thousands are added.
        try:
            for start in range(0, len(works), CHUNK):
                with self._locked():
                    self._add_some(works[start : start + CHUNK], added, device, lane, study)
        except BaseException:
            if added:
                with suppress(BadInput):  # what went wrong first is what is told
                    self.ensure_dispatcher()
            raise
        self.ensure_dispatcher()
        return added

    def _add_some(
        self, works: Sequence[Scheme | Run], added: list[Run], device: str, lane: str, study: str | None
    ) -> None:
        """Queues some runs, and adds to `added` each that is queued, also where a later one cannot be."""
        order = self._read()
        try:
            for work in works:
                added.append(self._queued(work, device, lane, study))
                order.waiting.append(Entry(added[-1].id, lane))
        finally:
            self._write(order)

    def _queued(self, work: Scheme | Run, device: str, lane: str, study: str | None) -> Run:
        """A run folder in state queued, which knows from where its worker is to be started."""
        environment = {name: os.environ.get(name) for name in ENVIRONMENT}
        origin = {"lane": lane, "folder": str(Path.cwd()), "environment": environment}
        if not isinstance(work, Run):
            return self.store.create(work, run_facts(work, device, study) | {"queued": origin}, "queued")
        prepare_to_resume(work)
        remember_device(work, device, queued=origin)
        _say(work, "queued")
        return work

    def entries(self) -> list[Entry]:
        """What waits, in order."""
        return self._read().waiting

    def move(self, run_id: str, by: int) -> None:
        """Moves a queued run by so many places, towards the front if negative; past an end is at the end.

        Raises:
            BadInput: it is not queued.
        """
        with self._locked():
            order = self._read()
            self._place(order, run_id, self._index(order, run_id) + by)

    def move_to(self, run_id: str, place: int) -> None:
        """Moves a queued run to a place, counted from 0; as `move` does."""
        with self._locked():
            order = self._read()
            self._index(order, run_id)
            self._place(order, run_id, place)

    def _index(self, order: _Order, run_id: str) -> int:
        ids = [entry.id for entry in order.waiting]
        if run_id not in ids:
            raise BadInput.one("", run_id, f"is not queued: {self._run(run_id).status()}")
        return ids.index(run_id)

    def _place(self, order: _Order, run_id: str, place: int) -> None:
        entry = order.waiting.pop(self._index(order, run_id))
        order.waiting.insert(max(place, 0), entry)
        self._write(order)

    def cancel(self, run_id: str) -> None:
        """Takes a queued run out: it is then interrupted, and can go on later.

        Raises:
            BadInput: it is not queued (any more).
        """
        with self._locked():
            order = self._read()
            index = self._index(order, run_id)
            # The run's status decides; the order only follows.
            _say(self._run(run_id), "interrupted")
            del order.waiting[index]
            self._write(order)

    def withdraw(self, run: Run) -> bool:
        """Cancels a run if it is queued; says whether it was."""
        if run.status() != "queued":
            return False
        try:
            self.cancel(run.id)
        except BadInput:
            if run.status() == "queued":  # not because its turn has come meanwhile
                raise
            return False
        return True

    def remove(self, run: Run) -> None:
        """Deletes a run that is not running, out of the queue if it is queued.

        Raises:
            BadInput: it is running.
        """
        self.withdraw(run)
        self.store.remove(run)

    def ensure_dispatcher(self) -> None:
        """Sees to it that every lane with something to do has a dispatcher; for consoles at their start.

        Raises:
            BadInput: the home cannot be written to, or a newer lctui keeps its queue.
        """
        self._require_known()
        order, home = self._read(), self.store.home.absolute()
        for lane in dict.fromkeys(entry.device for entry in order.waiting + order.taken):
            # Too many do no harm: one without the lane's lock leaves again.
            if not is_held(self.lane_file(lane, "lock")):
                with writing_to(home):
                    arguments = ["--home", str(home), "--device", lane]
                    launch("lctui.runs.dispatch", arguments, self.lane_file(lane, "log"), where=home)

    def lane_file(self, lane: str, kind: Literal["lock", "log"]) -> Path:
        """A file of a lane's dispatcher: its lock, or what it printed."""
        return self.store.home / f"queue-{lane.replace(':', '-')}.{kind}"

    # What follows is for the lane's dispatcher.

    def take(self, lane: str) -> Run | None:
        """The lane's next run, out of the order and marked as starting in one; None when nothing waits.

        A run that an earlier dispatcher took, but that it did not live to start, comes first.
        """
        with self._locked():
            order = self._read()
            left = [entry for entry in order.taken if entry.device == lane]
            order.taken = [entry for entry in order.taken if entry.device != lane]
            for entry in left:
                run = self._run(entry.id)
                if _said(run) == "starting" and run.status() == "crashed":
                    _say(run, "queued")
                    order.waiting.insert(0, entry)
            taken = next((entry for entry in order.waiting if entry.device == lane), None)
            if taken is not None:
                order.waiting.remove(taken)
                order.taken.append(taken)
            # Written first: a run that is taken and still queued stands at the front of the order.
            self._write(order)
            if taken is None:
                return None
            run = self._run(taken.id)
            mark_starting(run, str(run.read("meta.json").get("requested_device", "auto")))
            return run

    def put_down(self, run: Run) -> None:
        """The dispatcher's run has ended, or its worker is certain to have begun."""
        with self._locked():
            order = self._read()
            order.taken = [entry for entry in order.taken if entry.id != run.id]
            self._write(order)

    def leave(self, lane: str, lock: Lock) -> bool:
        """Gives the lane's lock back if nothing is left to do, and says so.

        Both under the queue's lock: whoever adds a run after this finds that the lane has no dispatcher.
        """
        with self._locked():
            if self.has_work(lane):
                return False
            lock.release()
            return True

    def has_work(self, lane: str) -> bool:
        """Does anything wait in the lane, or has it to be looked after?"""
        order = self._read()
        return any(entry.device == lane for entry in order.waiting + order.taken)

    def at_work(self, lane: str) -> list[Run]:
        """Runs that a worker is at on the lane's device, wherever that was started."""
        return [run for run in self.store.folders() if run.status() in AT_WORK and _lane_at_work(run) == lane]

    def _run(self, run_id: str) -> Run:
        return Run(self.store.runs_folder / run_id)

    def _read(self) -> _Order:
        """The order as the file has it, put right by what the runs say."""
        raw = atomic.read_json(self._file)
        raw = raw if isinstance(raw, dict) and raw.get("version") == VERSION else {}
        listed, taken = _entries(raw.get("order")), _entries(raw.get("taken"))
        order = _Order(taken=[entry for entry in taken if not self._is_queued(entry.id)])
        found = [entry for entry in taken + listed if self._is_queued(entry.id)]
        found += [
            Entry(run.id, _lane_of_queued(run)) for run in self._queued_runs(fresh=not raw and self._file.exists())
        ]
        first: dict[str, Entry] = {}
        for entry in found:
            first.setdefault(entry.id, entry)
        order.waiting = list(first.values())
        return order

    def _is_queued(self, run_id: str) -> bool:
        return _is_queued(self._run(run_id))

    def _queued_runs(self, fresh: bool) -> list[Run]:
        """All queued runs, oldest first; folders are looked through again only after some came or went."""
        try:
            changed = self.store.runs_folder.stat().st_mtime_ns
        except OSError:
            return []
        if fresh or changed != self._scanned[0]:
            runs = [run for run in self.store.folders() if _is_queued(run)]
            runs.sort(key=place_of)
            # A folder that comes within the clock's tick would leave the same time: a young one is not trusted, nor one
            # by a server's clock that is ahead.  One of the far future is from before the clock was set back.
            young = -3600 < time.time() - changed / 1e9 < 2
            self._scanned = (-1 if young else changed, runs)
        return [run for run in self._scanned[1] if _is_queued(run)]

    def _write(self, order: _Order) -> None:
        entries = {"order": list(map(asdict, order.waiting)), "taken": list(map(asdict, order.taken))}
        atomic.write_json(self._file, {"version": VERSION, **entries})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with writing_to(self.store.home):
            lock = Lock(self.store.home / "queue.lock")
            lock.wait()
            with lock:
                atomic.sweep(self.store.home, self._file.name)
                self._require_known()
                yield

    def _require_known(self) -> None:
        """Raises TooNew where a newer lctui keeps the queue: changing it here would lose what that one knows."""
        said = atomic.read_json(self._file)
        require_known(str(self._file), said if isinstance(said, dict) else {}, "version", VERSION)


def lane_of(device: str) -> str:
    """The lane of a device's name, without torch: `auto` is the first GPU if the driver's files show one.

    Where torch cannot use that GPU, runs for `auto` queue in its lane and train on the CPU all the same.
    """
    if device == "auto":
        return "cuda:0" if _has_gpu() else "cpu"
    return "cuda:0" if device == "cuda" else device


def _has_gpu() -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.partition(",")[0].strip() in ("", "-1"):
        return False
    return any(DEVICES.glob("nvidia[0-9]*")) or (DEVICES / "dxg").exists()  # the latter under Windows


def _lane_of_queued(run: Run) -> str:
    meta = run.read("meta.json")
    origin = meta.get("queued")
    named = str(origin.get("lane")) if isinstance(origin, dict) else ""
    lane = named if _is_lane(named) else lane_of(str(meta.get("requested_device", "auto")))
    return lane if _is_lane(lane) else lane_of("auto")


def _lane_at_work(run: Run) -> str:
    """The device that a worker is on, or, before it could say, the one that it was asked to be on."""
    meta = run.read("meta.json")
    device = meta.get("device") if run.status() != "starting" else None
    return lane_of(str(device or meta.get("requested_device", "auto")))


def _said(run: Run) -> Any:
    """What the status file says, whether or not it still holds."""
    return run.read("status.json").get("state")


def _is_queued(run: Run) -> bool:
    """Is it for this queue?  What a newer lctui has queued, that one starts."""
    return _said(run) == "queued" and run.is_known()


def _say(run: Run, state: Literal["queued", "interrupted"]) -> None:
    atomic.write_json(run.file("status.json"), run.read("status.json") | words(state))


def _entries(raw: Any) -> list[Entry]:
    """What can be made out of a list in the file; both strings become parts of paths."""
    items = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    entries = [Entry(str(item.get("id")), str(item.get("device"))) for item in items]
    return [entry for entry in entries if re.fullmatch(r"\w[^/\0]*", entry.id) and _is_lane(entry.device)]


def _is_lane(name: str) -> bool:
    return re.fullmatch(r"cpu|cuda:\d{1,4}", name) is not None
