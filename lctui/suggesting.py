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
    from lctui.runs.store import Store
    from lctui.scheme import Scheme


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
    from lctui.what_if import Session

    display = display_of(quiet)
    with redirect_stdout(stderr), display:  # what a user's net prints is no result
        _require_reference(scheme, store, device, str(file), display, train)
        session = Session(scheme, store.home, device, str(file))
        found = suggest(session, scheme, str(file), **target, told=display.trial, leave=leave)
    raw = leading_from(raw, scheme, file.parent, written)
    with written.open("x") as out:
        out.write(scheme_text({**raw, "compress": found.tasks}))
    return {"file": str(written), **found.report()}


def _require_reference(scheme: Scheme, store: Store, device: str, source: str, display: Display, train: bool) -> None:
    """Trains the reference unless there is one."""
    from lctui import references
    from lctui.learning.net import FlatNet
    from lctui.prepare import prepare
    from lctui.runs.status import Progress
    from lctui.runs.stopping import StopRequest
    from lctui.runs.store import require_writable
    from lctui.what_if import NO_REFERENCE

    if scheme.model.weights is not None:
        return
    missing = BadInput.one(source, "", f"{NO_REFERENCE}; or --train does now")
    if not train and not references.may_exist(scheme, store.home):
        raise missing  # without loading any data
    alone = scheme.model_copy(update={"compress": ()})
    prepared = prepare(alone, store.home, device, source, display.download)
    net = FlatNet(prepared.module, prepared.device)
    key = references.key_of(scheme, prepared.data.digest, prepared.code_digest)
    if references.find(net, key, store.home) is not None:
        return
    if not train:
        raise missing
    require_writable(store)
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
        references.obtain(net, prepared.splits, alone, key, store.home, stop, watcher)
