"""Finished runs as nets that deploy: `lctui export --format torch,onnx,safetensors,packed`.

Owns which files there are, the check of each (it is opened again, and must predict of every test image what the run's
net does), and what is measured of it.  Trains nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lctui.errors import BadInput, RunFailed, writing_to
from lctui.export import artifact, loader
from lctui.export.deploy import dense_net, deployable
from lctui.export.deploy_costs import FORMS, INPUTS, Cost, flops, latencies, parameters, write_costs
from lctui.export.deploy_files import SUFFIXES, Scores, open_program, write_program
from lctui.export.names import run_names
from lctui.export.packed import write_packed
from lctui.insight import require_same_inputs
from lctui.learning.evaluate import Data, batch_size
from lctui.prepare import device_name
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
        if not run.file(loader.ARTIFACT).exists():
            raise BadInput.one("", run.id, "has no compressed net yet: it is written when the run finishes")
    paths: list[Path] = []
    costs: list[tuple[str, str, Cost]] = []
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, note):
            for run in runs:
                made, found = _deploy(run, folder / FOLDER / names[run], list(formats), sessions, note)
                paths += made
                costs += [(run.id, names[run], cost) for cost in found]
            cpu = device_name(torch.device("cpu"))
            return paths + (write_costs(folder / FOLDER, costs, cpu) if costs else [])


def _deploy(
    run: Run, folder: Path, formats: Sequence[str], sessions: Sessions, note: Callable[[str], None]
) -> tuple[list[Path], list[Cost]]:
    """A run's files, and what they cost."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = run.file(loader.ARTIFACT)
    state, tasks = artifact.load_with_tasks(packed)
    paths: list[Path] = []
    costs: list[Cost] = []
    if "safetensors" in formats:
        paths.append(folder / "model.safetensors")
        artifact.unpack(packed, paths[0])
    if formats == ["safetensors"]:
        return paths, costs
    session = sessions.get(run.scheme(), str(run.file("scheme.json")))
    require_same_inputs(run, session)
    test = session.splits.test
    example, _ = next(test.in_order(2))
    inputs, _ = next(test.in_order(INPUTS))
    dense = dense_net(session.module, state)
    if paths:
        costs.append(Cost("safetensors", FORMS[0], paths[0].name, paths[0].stat().st_size, parameters(dense)))
    changed = changed_class if session.splits.objective.takes_scores else changed_output
    made = dense
    if any(kind in SUFFIXES for kind in formats):
        deployed = deployable(session.module, state, tasks, example)
        made = deployed.module
        for line in deployed.notes:
            note(f"{run.id}: {line}")
    for kind in (each for each in formats if each != "safetensors"):
        path = folder / (f"model{SUFFIXES[kind]}" if kind in SUFFIXES else kind)
        if kind not in SUFFIXES:
            paths += write_packed(packed, dense, example, path, lambda line: note(f"{run.id}: {line}"))
            if not (path / loader.PROGRAM).exists():
                again = dense_net(session.module, loader.load_state(path / loader.ARTIFACT))
                require_same(dense, again, test, str(path), changed)
                costs.append(Cost(kind, FORMS[1], path.name, packed.stat().st_size, parameters(again)))
                continue
        with tempfile.TemporaryDirectory() as unkept:
            before = Path(unkept) / "dense"
            was, reference = _program(kind if kind in SUFFIXES else "torch", dense, example, before, run.id)
            if kind in SUFFIXES:
                now, scores = _program(kind, made, example, path, run.id)
                paths.append(path)
            else:
                now, scores = _opened(dense, example, partial(loader.load, path), path)
            require_same(dense, scores, test, str(path), changed)
            took, rounds = latencies([reference, scores], inputs)
        costs += [
            replace(cost, format=kind, form=form, latency_ms=each, inputs=len(inputs), rounds=rounds)
            for cost, form, each in zip((replace(was, file=""), now), FORMS, took, strict=True)
        ]
    return paths, costs


def _program(kind: str, net: nn.Module, example: Tensor, path: Path, run: str) -> tuple[Cost, Scores]:
    """Writes a program and opens it again."""
    write_program(kind, net, example, path, run)
    return _opened(net, example, partial(open_program, kind, path), path)


def _opened(net: nn.Module, example: Tensor, opening: Callable[[], Scores], path: Path) -> tuple[Cost, Scores]:
    """What a file computes, and what it costs, but for its latency."""
    opening()  # the first time, libraries are loaded
    begun = time.perf_counter()
    scores = opening()
    seconds = time.perf_counter() - begun
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Cost("", "", path.name, size, parameters(net), flops(net, example), open_ms=1000 * seconds), scores


@torch.inference_mode()
def require_same(dense: Scores, deployed: Scores, images: Data, source: str, changed: Changed) -> None:
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
