"""From a valid scheme to something that can run: the net, its description, the data and the device.

Owns every check that needs torch, and makes all of them before anything is written.  Trains nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lctui import data, data_cache, data_sources, models, user_code
from lctui.data_items import Split
from lctui.data_streams import Unread
from lctui.errors import BadInput, Problem
from lctui.learning.augment import Augment
from lctui.learning.evaluate import Data, Splits
from lctui.learning.objective import Objective
from lctui.learning.resident import Resident
from lctui.learning.streamed import Streamed
from lctui.memory import is_out_of_memory, memory_for
from lctui.objectives import augment_of, check_augment, check_objective, objective_of
from lctui.runs.clock import long_unchanged
from lctui.runs.process import require_device_name
from lctui.runs.store import DRAFT_SECONDS
from lctui.scheme import Scheme
from lctui.scheme.check import ResolvedTask, check_scheme, resolve, resolved_tasks
from lctui.scheme.net import BUILT_IN_DATA, NetInfo


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, on its device."""

    scheme: Scheme
    module: nn.Module
    info: NetInfo
    tasks: Sequence[ResolvedTask]
    splits: Splits
    device: torch.device
    data: data.DataSet
    code_digest: str


def prepare(
    scheme: Scheme, home: Path, device: str, source: str, on_download: data_sources.Progress | None = None
) -> Prepared:
    """Builds the net, loads the data, and checks the scheme against both.

    `on_download` is told of a download's file name, bytes so far and bytes in all (0 if the server does not say).

    Raises:
        BadInput: with all problems found; `source` names the file.
        OutOfMemory: the net or the data do not fit.
    """
    where = pick_device(device)
    with memory_for("for the net", "take a smaller model (model.args)"):
        module = models.build(scheme.model, seed=scheme.seed, source=source).float()
    objective, augment = objective_of(scheme.objective, source), augment_of(scheme.data, source)
    with memory_for("for the data", "take fewer of them (data.classes, or data of your own), or end other programs"):
        loaded, place = _remembered_data(scheme, home, source, on_download)
    info = _fitting(scheme, module, loaded, objective, augment, source)
    with memory_for(f"for the data on {where}", "take fewer of them (data.classes, or data of your own)"):
        if place is not None:
            place.save(loaded)
        splits = replace(_remembered_splits(module, loaded, where), objective=objective, augment=augment)
    code = "".join(user_code.source_digest(ref) for ref in scheme.functions())
    if scheme.model.weights is not None:
        code += hashlib.sha256(Path(scheme.model.weights).expanduser().read_bytes()).hexdigest()
    return Prepared(scheme, module, info, resolved_tasks(scheme, info), splits, where, loaded, code)


def prepare_own(scheme: Scheme, module: nn.Module, loaded: data.DataSet, device: str) -> Prepared:
    """The same for a module on the CPU and data at hand: what the scheme calls net and data plays no part.

    Raises:
        BadInput: with all problems found.
        OutOfMemory: the net or the data do not fit.
    """
    where = pick_device(device)
    objective, augment = objective_of(scheme.objective), augment_of(scheme.data)
    info = _fitting(scheme, module, loaded, objective, augment, "scheme", own=True)
    with memory_for(f"for the data on {where}", "take fewer of them"):
        resident = _resident(loaded, where, _takes_channels_last(module, loaded.train.first(2).inputs))
        splits = replace(resident, objective=objective, augment=augment)
    return Prepared(scheme, module, info, resolved_tasks(scheme, info), splits, where, loaded, code_digest="")


def _fitting(
    scheme: Scheme,
    module: nn.Module,
    loaded: data.DataSet,
    objective: Objective,
    augment: Augment,
    source: str,
    own: bool = False,
) -> NetInfo:
    """The net as layers and sizes, once scheme, net and data are known to suit each other; `own`: neither is named.

    Raises:
        BadInput: they do not.
    """
    tasks = dict(enumerate(scheme.compress))
    with memory_for("for sending one input through the net", "take a smaller model (model.args)"):
        info = models.describe(module, _first(loaded, 1), source=source)
        problems = resolve(tasks, info)[1] if own else check_scheme(scheme.model, scheme.data, tasks, info)
        problems += check_outputs(module, loaded, objective)
        if own or scheme.data.name not in BUILT_IN_DATA or augment.functions:
            problems += check_augment(augment, _first(loaded, 2))
    if problems:
        raise BadInput(source, problems)
    return info


def describe_net(scheme: Scheme, source: str) -> NetInfo:
    """The net of a scheme without its data: layers and sizes; pixels, if the data are built in.

    Raises:
        BadInput: the net cannot be built.
    """
    module = models.build(scheme.model, seed=scheme.seed, source=source).float()
    return models.describe_for(module, scheme.data.name, source=source)[0]


_last_data: dict[tuple[str | None, ...], data.DataSet] = {}


def _remembered_data(
    scheme: Scheme, home: Path, source: str, on_download: data_sources.Progress | None
) -> tuple[data.DataSet, data_cache.Entry | None]:
    """The data, and the place in the cache where they are not yet, but belong if the scheme is good for anything.

    The runs of a study share their data: they are loaded once while they stay the same.
    """
    block, seed, labelled = scheme.data, scheme.seed, scheme.objective.takes_classes
    entry = data_cache.entry(block, seed=seed, home=home)
    where = os.environ.get("LCTUI_DATA") if entry is None else str(entry.file)
    key = (block.model_dump_json(), str(seed), str(labelled), str(home), where)
    if key in _last_data:
        return _last_data[key], None
    loaded = None if entry is None else entry.load()
    place = entry if loaded is None else None
    if loaded is None:
        for left in long_unchanged(home / "data", ".download-*", DRAFT_SECONDS):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        loaded = data.load(block, seed=seed, home=home, progress=on_download, source=source, labelled=labelled)
    _last_data.clear()
    _last_data[key] = loaded
    return loaded, place


def _first(loaded: data.DataSet, n: int) -> torch.Tensor:
    """The first training inputs; a copy, since some nets write into what they are given."""
    return loaded.train.first(n).inputs


def pick_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one.

    Raises:
        BadInput: there is no such device.
    """
    require_device_name(name)
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    index = name.partition(":")[2]
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        have = f"{count} CUDA device(s)" if count else "no CUDA device"
        raise BadInput.one("", "--device", f"{name!r}: this machine has {have}; use auto or cpu")
    return torch.device("cuda", int(index or 0))


def _resident(loaded: data.DataSet, device: torch.device, fast: bool) -> Splits:
    """The splits on the device; `fast`: images channels-last."""
    parts = (loaded.train, loaded.validation, loaded.test)
    train, validation, test = (_on_device(part, device, fast) for part in parts)
    return Splits(train, validation, test)


def _on_device(part: Split | Unread, device: torch.device, fast: bool) -> Data:
    if isinstance(part, Unread):
        return Streamed(part, device, channels_last=fast)
    return Resident(part.inputs, part.labels, device, channels_last=fast)


_last_splits: list[tuple[data.DataSet, torch.device, bool, Splits]] = []


def _remembered_splits(module: nn.Module, loaded: data.DataSet, device: torch.device) -> Splits:
    """The runs of a study share their splits, as they share their data: they lie on the device once."""
    fast = _takes_channels_last(module, loaded.train.first(2).inputs)
    for known, where, format, splits in _last_splits:
        if known is loaded and (where, format) == (device, fast):
            return splits
    _last_splits[:] = [(loaded, device, fast, _resident(loaded, device, fast))]
    return _last_splits[0][-1]


@torch.inference_mode()
def _takes_channels_last(module: nn.Module, inputs: torch.Tensor) -> bool:
    """Some nets call `view` where they mean `flatten`, which fails on channels-last activations."""
    if inputs.dim() != 4:
        return False
    batch, _ = next(Resident(inputs, torch.zeros(len(inputs), dtype=torch.int64), inputs.device).in_order(2))
    try:
        module.eval()(batch)
    except Exception as error:
        if is_out_of_memory(error):
            raise  # that says nothing of the net, and another layout would give other numbers
        return False
    return True


def check_outputs(module: nn.Module, loaded: data.DataSet, objective: Objective) -> list[Problem]:
    """Does the net turn a batch of this data into what the loss and the metric take: of a classifier, class scores?"""
    if not any(True for _ in module.parameters()):
        return [Problem("model", "the net has no parameters: there is nothing to train or to compress")]
    few = loaded.train.first(2)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            outputs = module.eval()(few.inputs)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        shape = "×".join(map(str, loaded.train.shape))
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [Problem("model", f"the net does not take the data's {shape} inputs: {text}")]
    wanted = "scores [inputs, classes]" if objective.takes_scores else "a tensor"
    if not isinstance(outputs, torch.Tensor):
        return [Problem("model", f"the net must return {wanted}, it returns {type(outputs).__name__}")]
    if objective.takes_scores and outputs.dim() != 2:
        return [Problem("model", f"the net must return {wanted}, it returns {tuple(outputs.shape)}")]
    if objective.takes_scores and outputs.shape[1] < loaded.classes:
        return [Problem("model", f"the net has {outputs.shape[1]} outputs, the data {loaded.classes} classes")]
    if not outputs.requires_grad:
        unmoved = "the net's outputs do not depend on parameters that train by anything that torch can differentiate"
        return [Problem("model", unmoved)]
    with torch.random.fork_rng(devices=[]):
        return check_objective(objective, outputs, few.labels)


def provenance(prepared: Prepared) -> dict[str, Any]:
    """What a reader needs to believe a run's numbers: versions, device, threads, what errors are, data."""
    device = prepared.device
    return {
        "lctui": _version("lctui"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "device": str(device),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "metric": prepared.scheme.objective.measure.name,
        "data_mean": prepared.data.mean,
        "data_std": prepared.data.std,
    }


def device_name(device: torch.device) -> str:
    """What the maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of lctui's own source, when it runs from a checkout of its own."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
