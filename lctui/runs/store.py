"""The store: where runs live, and how one is found.

Owns the layout of a home (`runs/`, `references/`, `data/`, `cache/`) and of a run folder, run ids, and what a list of
runs shows.  Trains nothing and needs no torch; a worker fills the folders that are made here.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from lctui.errors import BadInput, nearest, writing_to
from lctui.runs import atomic
from lctui.runs.clock import after, is_key, long_unchanged
from lctui.runs.formats import FORMAT, is_newer, require_known
from lctui.runs.locks import Lock
from lctui.runs.log import finite, now, read_events
from lctui.runs.status import AT_WORK, Status, derive, silence, words
from lctui.scheme.measure import Measure

if TYPE_CHECKING:
    from lctui.scheme import Scheme

_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_ALPHABET = _LETTERS + "23456789"  # no look-alikes: ids are typed

DRAFT_SECONDS = 24 * 3600.0
"""No run takes so long to be created, whatever the clocks of the machines that share a home say."""


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @property
    def id(self) -> str:
        """The run's id: the folder's name."""
        return self.folder.name

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.folder / name

    def status(self) -> Status:
        """What state the run is in."""
        return derive(self.folder)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object of the run; empty when it is not there or torn."""
        value = atomic.read_json(self.folder / name)
        return value if isinstance(value, dict) else {}

    def events(self) -> list[dict[str, Any]]:
        """The run's events, each once."""
        return read_events(self.folder / "events.jsonl")

    def scheme(self) -> Scheme:
        """The scheme that the run was started with.

        Raises:
            BadInput: the file is not a valid scheme, or a newer lctui wrote the folder.
        """
        from lctui.scheme import Scheme  # a list of runs is there before the models are built

        self.require_known()
        return Scheme.load(self.folder / "scheme.json")

    def is_known(self) -> bool:
        """Is the folder in a format that this code knows?"""
        return not is_newer(self.read("meta.json"))

    def require_known(self) -> None:
        """Raises TooNew if a newer lctui wrote the folder."""
        require_known(self.id, self.read("meta.json"))

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows, JSON-ready."""
        return summary_of(self.id, self.status(), {name: self.read(f"{name}.json") for name in SUMMARIZED})


SUMMARIZED = ("status", "meta", "result", "scheme")
"""The files of a run that its summary is made from."""


def summary_of(run_id: str, status: Status, files: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What a list of runs shows, from what the run's files hold."""
    said, meta, result, scheme = (files[name] for name in SUMMARIZED)
    progress, final = _object(said, "progress"), _object(result, "final")
    fields = ("train_error_pct", "validation_error_pct", "test_error_pct", "compression_ratio")
    tags = scheme.get("tags")
    return {
        "id": run_id,
        "name": _text(scheme, "name") or run_id,
        "tags": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        "status": status,
        "created": _text(meta, "created"),
        "order": order_of(meta),
        "model": _text(_object(scheme, "model"), "factory"),
        "metric": Measure.of(scheme).name,
        "phase": _text(progress, "phase"),
        "step": _number(progress, "step") or 0,
        "steps": _number(progress, "steps") or 0,
        "mu": _number(progress, "mu"),
        **{name: _number(final if name in final else progress, name) for name in fields},
        "eta_seconds": _number(progress, "eta_seconds"),
        "error": _what_is_wrong(run_id, status, said),
    }


def place_of(run: Run) -> tuple[str, str]:
    """What runs are sorted by, the oldest first; two that were made at once by their ids."""
    return order_of(run.read("meta.json")), run.id


def order_of(meta: Mapping[str, Any]) -> str:
    """What sorts runs, oldest first: when they were made, or, while the clock was behind, a place after the last."""
    return str(meta.get("order") or meta.get("created") or "")


def _what_is_wrong(run_id: str, status: Status, said: dict[str, Any]) -> str | None:
    """What the worker said, or what is said for one that cannot."""
    if status == "stalled":
        return silence(said)
    return _text(said, "error") or (_last_words(run_id, said) if status == "crashed" else None)


def _last_words(run_id: str, said: dict[str, Any]) -> str:
    """What may be said for a worker that could not: whoever runs out of the system's memory is killed by it."""
    step = _number(_object(said, "progress"), "step")
    where = f"LC step {step:g}" if step else "its last checkpoint"
    return f"its process ended without a word: killed, or out of memory; `lctui resume {run_id}` goes on from {where}"


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    """A field as what it must be; files of a run may be broken, and a list of runs shows the others all the same."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any], name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) else None


def _number(value: dict[str, Any], name: str) -> float | None:
    found = value.get(name)
    return found if isfinite(finite(found)) else None


class Store:
    """All runs of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runs_folder = home / "runs"
        self._swept = False
        self._fingerprints: dict[str, tuple[str, str]] = {}

    def create(self, scheme: Scheme, meta: dict[str, Any], state: Literal["starting", "queued"] = "starting") -> Run:
        """A new run folder with its scheme, `meta` and first status; it appears whole or not at all.

        Raises:
            BadInput: the home cannot be written to.
        """
        if not self._swept:
            self._sweep()
        draft = self.runs_folder / f".new-{os.getpid()}-{secrets.token_hex(4)}"
        with writing_to(self.home):
            try:
                draft.mkdir(parents=True)
                atomic.write_json(draft / "scheme.json", scheme.dump())
                atomic.write_json(draft / "meta.json", {"format": FORMAT, **self._place(now()), **meta})
                atomic.write_json(draft / "status.json", words(state))
                while (folder := self.runs_folder / new_id(scheme.name)).exists():
                    continue
                draft.rename(folder)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return Run(folder)

    def _place(self, created: str) -> dict[str, str]:
        """When a run is made, and, where the clock was ahead when an earlier one was, its place in their order."""
        file, order = self.home / "newest.json", created
        with suppress(OSError, BadInput), Lock(self.home / "newest.lock") as lock:  # a list's order is worth no failure
            lock.wait()
            atomic.sweep(self.home, file.name)
            newest = atomic.read_json(file)
            if not is_key(newest):  # runs of an older lctui, or a torn file: the runs themselves say
                newest = max(filter(is_key, (order_of(run.read("meta.json")) for run in self.folders())), default="")
            order = after(newest, created)
            atomic.write_json(file, order, durable=False)
        return {"created": created} | ({"order": order} if order != created else {})

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Whoever looks whether a scheme has a run already, and else makes one, does both in here: no two at once.

        Raises:
            BadInput: the home cannot be written to.
        """
        with writing_to(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
        with Lock(self.home / "runs.lock") as lock:
            lock.wait()
            yield

    def folders(self) -> list[Run]:
        """Every run, in no order."""
        try:
            folders = [path for path in self.runs_folder.iterdir() if not path.name.startswith(".") and path.is_dir()]
        except OSError:
            return []
        return [Run(folder) for folder in folders]

    def all(self) -> list[Run]:
        """Every run, newest first."""
        return sorted(self.folders(), key=place_of, reverse=True)

    def find(self, prefix: str) -> Run:
        """The run with that id, or whose id alone begins so.

        Raises:
            BadInput: there is none, or there are several.
        """
        ids = [run.id for run in self.all()]
        found = [run_id for run_id in ids if prefix and run_id.startswith(prefix)]
        if prefix in ids:
            found = [prefix]
        if len(found) == 1:
            return Run(self.runs_folder / found[0])
        if found:
            shown = ", ".join(sorted(found)[:6]) + (", …" if len(found) > 6 else "")
            raise BadInput.one("", prefix, f"begins {len(found)} run ids: {shown}")
        guess = nearest(prefix, ids)
        hint = f"; did you mean {guess!r}?" if guess else "; `lctui ls` lists them" if ids else "; there are none yet"
        raise BadInput.one("", prefix, f"no such run in {self.home}{hint}")

    def remove(self, run: Run) -> None:
        """Deletes a run that is not running; a queued one is for `Queue.remove`, which sees that it is not started.

        Raises:
            BadInput: it is running, or queued, or cannot be taken away, or a newer lctui wrote it.
        """
        run.require_known()
        status = run.status()
        if status in (*AT_WORK, "queued"):
            why = silence(run.read("status.json")) if status == "stalled" else f"`lctui stop {run.id}` first"
            raise BadInput.one("", run.id, f"is {status}; {why}")
        # Out of sight first, so that nobody opens a half-deleted run.
        try:
            run.folder.rename(run.folder.with_name(f".removed-{run.id}-{secrets.token_hex(4)}"))
        except FileNotFoundError:
            raise BadInput.one("", run.id, "is gone already") from None
        except OSError as error:
            raise BadInput.one("", run.id, f"cannot be removed: {error.strerror}") from None
        self._sweep()

    def _sweep(self) -> None:
        """Deletes runs that are out of sight, of earlier removals too; what still resists is left for the next time.

        What the creation of a run left that was killed goes once it is certainly nobody's any more.
        """
        self._swept = True
        for folder in self.runs_folder.glob(".removed-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for draft in long_unchanged(self.runs_folder, ".new-*", DRAFT_SECONDS):
            shutil.rmtree(draft, ignore_errors=True)

    def twins(self, fingerprint: str) -> list[Run]:
        """Runs of the same scheme, newest first."""
        found = [(self._known(run), run) for run in self.folders()]
        twins = [(order, run.id, run) for (known, order), run in found if known == fingerprint]
        return [run for *_, run in sorted(twins, key=lambda twin: twin[:2], reverse=True)]

    def _known(self, run: Run) -> tuple[str, str]:
        """A run's fingerprint and its place in the order of runs, which never change: each run's file is read once."""
        if run.id not in self._fingerprints:
            meta = run.read("meta.json")
            if not meta:
                return "", ""
            self._fingerprints[run.id] = str(meta.get("fingerprint")), order_of(meta)
        return self._fingerprints[run.id]


def new_run(store: Store, scheme: Scheme, device: str, study: str | None = None) -> Run:
    """A run folder for a scheme, with what resuming it needs to know."""
    return store.create(scheme, run_facts(scheme, device, study))


def run_facts(scheme: Scheme, device: str, study: str | None) -> dict[str, Any]:
    """What `meta.json` says of a run before it begins."""
    return {"fingerprint": scheme.fingerprint(), "requested_device": device, "study": study}


def require_writable(store: Store) -> None:
    """Makes the home and a file in it.

    Raises:
        BadInput: the home cannot be written to, and why.
    """
    probe = store.runs_folder / f".probe-{os.getpid()}"
    with writing_to(store.home):
        store.runs_folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()


def new_id(name: str) -> str:
    """A fresh run id: four random characters, easy to type, and the scheme's name."""
    slug = slug_of(name)
    code = secrets.choice(_LETTERS) + "".join(secrets.choice(_ALPHABET) for _ in range(3))
    return f"{code}-{slug}" if slug else code


def slug_of(name: str) -> str:
    """A name as part of a file's: small letters, digits, `.=_`; empty if it has none of them."""
    return re.sub(r"[^a-z0-9.=_]+", "-", name.lower()).strip("-.")[:60]


def default_home() -> Path:
    """LCTUI_HOME, or the platform's folder for user data."""
    return Path(os.environ.get("LCTUI_HOME") or platformdirs.user_data_dir("lctui", appauthor=False)).expanduser()
