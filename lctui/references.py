"""Reference nets on disk: trained once, then shared by every run that describes the same one.

Owns `HOME/references/<key>/`: the trained net, its errors, its history, and the checkpoint of one in training.  Two
runs that need the same reference train it once: one holds the lock, the other waits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lctui.checkpoint import Checkpoint, of_reference, to_reference
from lctui.errors import Interrupted, RunFailed
from lctui.events import ReferenceEpoch
from lctui.learning.evaluate import Errors, Splits, evaluate
from lctui.learning.net import FlatNet
from lctui.learning.reference import ReferenceState, train_reference
from lctui.learning.train import Stop
from lctui.memory import is_out_of_memory
from lctui.runs import atomic
from lctui.runs.formats import FORMAT, require_known
from lctui.runs.locks import Lock
from lctui.scheme import Scheme

TRAINING_VERSIONS = {"float32": 3, "tf32": 3, "bfloat16": 4}
"""By precision; raised whenever training changes its numbers, so that old references are not mistaken for new ones."""

WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Watcher:
    """Who wants to know how it goes: `epoch` per trained epoch, `batch` per batch, `waiting` while another trains."""

    epoch: Callable[[ReferenceEpoch], None]
    batch: Callable[[int, int], None]
    waiting: Callable[[], None]
    resumed: Callable[[int, int], None]


@dataclass(frozen=True)
class Obtained:
    """Which reference was used, whether it was there already, and its errors."""

    key: str
    reused: bool
    errors: Errors


def key_of(scheme: Scheme, data_digest: str, code_digest: str) -> str:
    """The reference's key: everything that determines its weights."""
    parts = (scheme.reference_fingerprint(), data_digest, code_digest, str(TRAINING_VERSIONS[scheme.precision]))
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def may_exist(scheme: Scheme, home: Path) -> bool:
    """Has a reference of such a scheme been trained?  Needs neither the data nor the code that `key_of` asks for."""
    wanted = scheme.reference_fingerprint()
    return any(_fingerprint(path) == wanted for path in (home / "references").glob("*/reference.json"))


def _fingerprint(path: Path) -> str | None:
    record = atomic.read_json(path)
    try:
        return Scheme.model_validate(record["scheme"]).reference_fingerprint() if isinstance(record, dict) else None
    except (KeyError, ValueError):
        return None


def find(net: FlatNet, key: str, home: Path) -> Errors | None:
    """Puts the weights of a stored reference into `net` and returns its errors; None if there is none, or half of one.

    Raises:
        RunFailed: it is a reference of another net.
        TooNew: a newer lctui wrote it.
    """
    return _load(home / "references" / key, net)


def obtain(
    net: FlatNet, splits: Splits, scheme: Scheme, key: str, home: Path, stop: Stop, watcher: Watcher
) -> Obtained:
    """Puts the reference's weights into `net`: from a file of the user's, from the store, or by training.

    Raises:
        Interrupted: `stop` said so; training so far is kept.
        Diverged: training left the finite numbers.
        OutOfMemory: there was not enough.
    """
    if scheme.model.weights is not None:
        return Obtained("weights", True, evaluate(net.module, splits))
    folder = home / "references" / key
    folder.mkdir(parents=True, exist_ok=True)
    if (found := _load(folder, net)) is not None:
        return Obtained(key, True, found)
    lock = Lock(folder / "lock")
    while not lock.acquire():
        watcher.waiting()
        if stop():
            raise Interrupted("stopped while another run trains the reference")
        time.sleep(WAIT_SECONDS)
    with lock:
        atomic.sweep(folder)
        if (found := _load(folder, net)) is not None:
            return Obtained(key, True, found)
        return Obtained(key, False, _train(folder, net, splits, scheme, stop, watcher))


def _train(folder: Path, net: FlatNet, splits: Splits, scheme: Scheme, stop: Stop, watcher: Watcher) -> Errors:
    path = folder / "checkpoint.safetensors"
    saved = _half_trained(path)
    state = ReferenceState() if saved is None else to_reference(saved, net)
    history: list[dict[str, Any]] = [] if saved is None else saved.numbers.get("history", [])
    if saved is not None:
        watcher.resumed(state.position.epoch, state.position.batch)

    def save() -> None:
        checkpoint = of_reference(net, state)
        checkpoint.numbers["history"] = history
        checkpoint.save(path)

    try:
        for event in train_reference(net, splits, scheme, state, stop, watcher.batch):
            history.append(event.record())
            watcher.epoch(event)
            save()
    except Interrupted:
        save()
        raise
    errors = evaluate(net.module, splits)
    _save(folder, net, errors, history, scheme)
    path.unlink(missing_ok=True)
    return errors


def _half_trained(path: Path) -> Checkpoint | None:
    try:
        return Checkpoint.load(path)
    except RunFailed:
        return None  # damaged: nothing but time is lost by starting over


def _save(folder: Path, net: FlatNet, errors: Errors, history: list[dict[str, Any]], scheme: Scheme) -> None:
    path = folder / "reference.safetensors"
    atomic.replace(path, lambda temporary: save_file(_untied(net), temporary))
    # Last: its presence says that the net beside it is whole.
    record = {"format": FORMAT, **asdict(errors), "sha256": _sha256(path), "history": history, "scheme": scheme.dump()}
    record["device"] = str(net.device)
    atomic.write_json(folder / "reference.json", record)


def _untied(net: FlatNet) -> dict[str, torch.Tensor]:
    """Parameters and buffers, tied ones once (safetensors stores no tensor twice)."""
    parameters = {name: net.view(net.w, name).detach().cpu().clone() for name in net.slices}
    return parameters | {f"buffer.{name}": buffer for name, buffer in net.buffers().items()}


@torch.no_grad()
def _load(folder: Path, net: FlatNet) -> Errors | None:
    record = atomic.read_json(folder / "reference.json")
    path = folder / "reference.safetensors"
    require_known(str(folder), record if isinstance(record, dict) else {})
    # A damaged file is as good as none: the reference is trained again.
    if not isinstance(record, dict) or not path.is_file() or record.get("sha256") != _sha256(path):
        return None
    try:
        tensors = load_file(path)
        for name in net.slices:
            net.view(net.w, name).copy_(tensors[name])
        net.load_buffers(
            {name.removeprefix("buffer."): tensor for name, tensor in tensors.items() if name.startswith("buffer.")}
        )
        return Errors(record["train_error_pct"], record["validation_error_pct"], record["test_error_pct"])
    except (SafetensorError, KeyError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise RunFailed(f"{path} is not of this net; without it, the reference is trained again") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
