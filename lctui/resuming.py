"""What a run began with against what it would go on with now: code, data, versions, formats.

Owns whether a run may be resumed, and which runs stand for a new one of their scheme.  Numbers of two kinds are never
mixed in one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lctui.checkpoint import require_known_checkpoint
from lctui.errors import BadInput
from lctui.prepare import Prepared, pick_device
from lctui.references import TRAINING_VERSIONS
from lctui.runs.store import Run, Store

C_STEP_VERSION = 2
"""Raised whenever a C step or the loop changes its numbers: finished runs of another version are not reused."""


def origin(prepared: Prepared) -> dict[str, Any]:
    """What decides a run's numbers besides its scheme, by the names that `meta.json` has for it."""
    return {
        "data_sha256": prepared.data.digest,
        "code_sha256": prepared.code_digest,
        "c_step_version": C_STEP_VERSION,
        "training_version": TRAINING_VERSIONS[prepared.scheme.precision],
    }


_WORDS = {
    "data_sha256": "data",
    "code_sha256": "code or weights",
    "c_step_version": "C steps",
    "training_version": "training",
}


def require_same_origin(run: Run, prepared: Prepared) -> None:
    """A run goes on with the code and the data that it began with, lctui's own code included, or not at all.

    Raises:
        BadInput: they have changed, or a newer lctui wrote the folder.
    """
    run.require_known()
    checkpoint = run.file("checkpoint.safetensors")
    if not checkpoint.exists():
        return
    require_known_checkpoint(checkpoint)
    meta = run.read("meta.json")
    for name, now in origin(prepared).items():
        if meta.get(name) != now:
            raise BadInput.one("", run.id, f"its {_WORDS[name]} changed since it began; start a new run")


def would_equal(run: Run, prepared: Prepared) -> bool:
    """Would this run's numbers be those of a new one?"""
    meta = run.read("meta.json")
    now = origin(prepared) | {"device": str(prepared.device)}
    return run.is_known() and all(meta.get(name) == value for name, value in now.items())


@dataclass
class Twins:
    """The runs of one scheme whose numbers would be those of a new one; the newest of each kind."""

    finished: Run | None = None
    at_work: Run | None = None
    queued: Run | None = None
    stalled: Run | None = None
    at_rest: Run | None = None
    """One that can go on."""

    @classmethod
    def of(cls, fingerprint: str, prepared: Prepared, store: Store) -> Twins:
        """Those in a home."""
        found = cls()
        for run in store.twins(fingerprint):
            kind = _KINDS.get(run.status())
            if kind is not None and getattr(found, kind) is None and _counts(run, kind, prepared):
                setattr(found, kind, run)
        return found


_KINDS: dict[str, str] = {
    "finished": "finished",
    "starting": "at_work",
    "running": "at_work",
    "queued": "queued",
    "stalled": "stalled",
    "interrupted": "at_rest",
    "crashed": "at_rest",
}


def _counts(run: Run, kind: str, prepared: Prepared) -> bool:
    meta = run.read("meta.json")
    if kind == "finished" or "device" in meta:
        return would_equal(run, prepared)
    # It has not said yet what it begins with, and may be killed before it could: what it was asked for has to do.
    origin = meta.get("queued")
    here = isinstance(origin, dict) and origin.get("folder") == str(Path.cwd())
    same_code = here or not prepared.code_digest or kind != "queued"
    return run.is_known() and same_code and _asked_for(meta) == prepared.device


def _asked_for(meta: dict[str, Any]) -> Any:
    try:
        return pick_device(str(meta.get("requested_device", "auto")))
    except BadInput:  # a device that is not here (any more)
        return None
