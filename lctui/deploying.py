"""Finished runs as nets that deploy: `lctui export --format torch,safetensors`.

Owns which files there are, and the check of each: it is opened again, and must predict of every test image what the
run's net does.  Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lctui.errors import BadInput, RunFailed, writing_to
from lctui.export import artifact
from lctui.export.deploy import dense_net, deployable
from lctui.export.deploy_files import SUFFIXES, Scores, open_program, write_program
from lctui.export.names import run_names
from lctui.insight import require_same_inputs
from lctui.learning.evaluate import batch_size
from lctui.learning.resident import Resident
from lctui.runs.locks import alone_in
from lctui.runs.store import Run
from lctui.what_if import Sessions

Changed = Callable[[Tensor, Tensor], Tensor]
"""Outputs of two nets [n, …] to which of them differ [n]."""

FOLDER = "deploy"
ROUNDING = 1e-4
"""Scores differ by so much of the largest one: products that are summed in another order are rounded otherwise."""


def deploy_runs(
    runs: Sequence[Run], folder: Path, formats: Sequence[str], home: Path, note: Callable[[str], None]
) -> list[Path]:
    """Writes the nets of runs into folders of their own under `folder`/deploy, over older files; returns the files.

    `note` is told what became of each layer that could be another.

    Raises:
        BadInput: a run has no net, its data or code changed, or a format cannot express it; nothing can be written.
        RunFailed: a file does not predict what the run's net does.
    """
    sessions, names = Sessions(home, "cpu"), run_names(runs)
    for run in runs:
        if not run.file("compressed.safetensors").exists():
            raise BadInput.one("", run.id, "has no compressed net yet: it is written when the run finishes")
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, note):
            folders = {run: folder / FOLDER / names[run] for run in runs}
            return [path for run in runs for path in _deploy(run, folders[run], formats, sessions, note)]


def _deploy(
    run: Run, folder: Path, formats: Sequence[str], sessions: Sessions, note: Callable[[str], None]
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    if "safetensors" in formats:
        paths.append(folder / "model.safetensors")
        artifact.unpack(run.file("compressed.safetensors"), paths[0])
    programs = [name for name in formats if name in SUFFIXES]
    if not programs:
        return paths
    session = sessions.get(run.scheme(), str(run.file("scheme.json")))
    require_same_inputs(run, session)
    state, tasks = artifact.load_with_tasks(run.file("compressed.safetensors"))
    test = session.splits.test
    example, _ = next(test.in_order(2))
    dense = dense_net(session.module, state)
    made = deployable(session.module, state, tasks, example)
    for line in made.notes:
        note(f"{run.id}: {line}")
    for name in programs:
        path = folder / f"model{SUFFIXES[name]}"
        write_program(name, made.module, example, path, run.id)
        changed = changed_class if session.splits.objective.takes_scores else changed_output
        require_same(dense, open_program(name, path), test, str(path), changed)
        paths.append(path)
    return paths


@torch.inference_mode()
def require_same(dense: Scores, deployed: Scores, images: Resident, source: str, changed: Changed) -> None:
    """Both predict the same of every test image, as far as rounding lets one tell.

    Raises:
        RunFailed: they do not.
    """
    others = sum(
        int(changed(dense(inputs), deployed(inputs.contiguous())).sum())
        for inputs, _ in images.in_order(batch_size(images))
    )
    if others:
        raise RunFailed(f"{source}: predicts otherwise than the run's net of {others:,} of {len(images):,} test images")


def changed_class(wanted: Tensor, got: Tensor) -> Tensor:
    """Of which inputs another class is predicted: [n]; where two are level up to rounding, either will do."""
    chosen = wanted.gather(1, got.argmax(1, keepdim=True)).squeeze(1)  # what the net itself says of the other's choice
    level = wanted.amax(1) - chosen <= ROUNDING * wanted.abs().amax(1)
    return (got.argmax(1) != wanted.argmax(1)) & ~level


def changed_output(wanted: Tensor, got: Tensor) -> Tensor:
    """Of which inputs the outputs differ by more than rounding: [n]."""
    difference, size = (tensor.abs().flatten(1).amax(1) for tensor in (wanted - got, wanted))
    return ~(difference <= ROUNDING * size.clamp(min=float(size.mean())))
