"""What `lctui suggest` does: a scheme file whose compressions fit a size, or an error, and harm the net least.

Owns the file's name and content, and that there is a reference to measure: one that nobody has trained yet is trained
only where that is asked for, and kept for all later runs.  What to suggest is `lctui.sensitivity`'s to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr
from typing import TYPE_CHECKING, Any

from lctui.errors import BadInput
from lctui.proposing import leading_from, require_new, scheme_text
from lctui.scheme.allocate import require_target
from lctui.scheme.json_file import read_json
from lctui.scheme.study import parse_changed

if TYPE_CHECKING:
    from lctui.headless.display import Display
    from lctui.prepare import Prepared
    from lctui.runs.store import Store
    from lctui.scheme import Scheme
    from lctui.what_if import Session


def suggest_scheme(
    file: Path,
    target: dict[str, float],
    to: Path | None,
    settings: dict[str, Any],
    store: Store,
    device: str,
    quiet: bool,
    *,
    train: bool = False,
    leave: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes the suggestion for a scheme's file and returns what is known of it, with the new `file`.

    Args:
        target: `ratio` or `error`.
        train: trains the reference if nobody has yet.
        leave: names or globs of layers without a task that are to stay so.

    Raises:
        BadInput: the file is no scheme, there is no reference, the target is out of reach, or there is a file already;
            nothing was written.
        Interrupted, Diverged: while the reference was trained; what is trained so far is kept.
    """
    raw, scheme = parse_changed(read_json(file), settings, str(file))
    (name, value), *_ = target.items()
    require_target(str(file), target.get("ratio"), target.get("error"))
    written = to if to is not None else file.with_name(f"{file.stem}-{name}-{value:g}.json")
    require_new(written)

    from lctui.foreground import display_of
    from lctui.sensitivity import suggest

    display = display_of(quiet)
    with redirect_stdout(stderr), display:  # what a user's net prints is no result
        session = _session(scheme, store, device, str(file), display, train, leave)
        found = suggest(session, scheme, str(file), **target, told=display.trial, leave=leave)
    raw = leading_from(raw, scheme, file.parent, written)
    with written.open("x") as out:
        out.write(scheme_text({**raw, "compress": found.tasks}))
    return {"file": str(written), **found.report()}


def _session(
    scheme: Scheme, store: Store, device: str, source: str, display: Display, train: bool, leave: Sequence[str]
) -> Session:
    """A session whose reference is there, trained now if it must be.

    Raises:
        BadInput: it is not there and `train` is not set, or what the user has named does not fit the net.
    """
    from lctui.prepare import prepare
    from lctui.sensitivity import left_alone
    from lctui.what_if import NoReference, Sessions

    sessions = Sessions(store.home, device)
    try:
        session = sessions.ready(scheme, source)
        session.reference()
    except NoReference as missing:
        if not train:
            raise BadInput.one(source, "", f"{missing}; or --train does now") from missing
        prepared = prepare(scheme, store.home, device, source, display.download)
        left_alone(leave, prepared.info, source)  # said before hours of training, not after
        _train(prepared, store, display)
        session = sessions.get(scheme, source)
    return session


def _train(prepared: Prepared, store: Store, display: Display) -> None:
    """Trains the reference, and keeps it."""
    from lctui import references
    from lctui.learning.net import FlatNet
    from lctui.runs.status import Progress
    from lctui.runs.stopping import StopRequest
    from lctui.runs.store import require_writable

    require_writable(store)
    scheme = prepared.scheme
    net = FlatNet(prepared.module, prepared.device)
    key = references.key_of(scheme, prepared.data.digest, prepared.code_digest)
    epochs = scheme.reference.epochs
    display.of(scheme.objective.measure).say(
        f"there is no reference yet: it is trained now ({epochs} epochs), and kept"
    )
    stop, done = StopRequest(), 0

    def batch(number: int, total: int) -> None:
        display.progress(Progress(phase="reference", epoch=done, epochs=epochs, batch=number % total, batches=total))

    def epoch(event: Any) -> None:
        nonlocal done
        done = event.epoch
        display.event(event)

    watcher = references.Watcher(epoch, batch, lambda: display.progress(Progress(phase="waiting")), lambda *_: None)
    with stop.on_signals():
        references.obtain(net, prepared.splits, scheme, key, store.home, stop, watcher)
