"""Rules that need the net: layer names, sizes against shapes, classes against outputs.

Owns `resolve`, which turns a scheme's names and globs into layers, and the checks that come before any training.
Works on `NetInfo`, so it needs no torch; for nets that are not built in, the caller describes the module first.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lctui.errors import Problem, choices_hint, nearest, not_one_of, shortened, shown
from lctui.scheme.augmentations import misfits, parse
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, QuantizeAdaptive, members
from lctui.scheme.models import Data, Model, Scheme, Task
from lctui.scheme.net import BIAS, BUILT_IN, BUILT_IN_DATA, DataInfo, Layer, NetInfo, describe_built_in
from lctui.scheme.storage import CODED_ROWS, CODED_WEIGHTS


@dataclass(frozen=True)
class ResolvedTask:
    """A task with its layers found in the net; `index` is its place in the scheme."""

    index: int
    layers: tuple[Layer, ...]
    how: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names."""
        return tuple(layer.name for layer in self.layers)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of their tensors in a state dict."""
        return tuple(layer.tensor for layer in self.layers)

    @property
    def parameters(self) -> int:
        """N: weights in the task."""
        return sum(layer.parameters for layer in self.layers)


def check_scheme(
    model: Model, data: Data | None, tasks: Mapping[int, Task], net: NetInfo | None = None
) -> list[Problem]:
    """Everything wrong between the parts of a scheme, as far as it can be known.

    Without `net`, layers are checked only if the factory is built in.
    """
    unbuildable = check_factory(model)
    bad_data = check_data(data) if data is not None else []
    net = None if unbuildable else net or describe(model)
    if net is None:
        return unbuildable + bad_data
    misfits = [] if bad_data else _check_fit(model, data, net)
    return bad_data + misfits + resolve(tasks, net)[1]


def describe(model: Model) -> NetInfo | None:
    """The net of a built-in factory; None for any other."""
    return describe_built_in(model.factory, model.args)


def check_factory(model: Model) -> list[Problem]:
    """Is the factory a name that can exist, and are a built-in's arguments right?"""
    if model.factory in BUILT_IN:
        return check_model_args(model)
    if ":" not in model.factory:
        known = not_one_of(model.factory, BUILT_IN)
        return [Problem("model.factory", f"{known}, or torchvision:NAME, or module:function of your own")]
    return []


def check_model_args(model: Model) -> list[Problem]:
    """Problems with the arguments of a built-in net."""
    known = list(inspect.signature(BUILT_IN[model.factory]).parameters)
    problems = [
        Problem(f"model.args.{shortened(name)}", f"unknown argument of {model.factory}{choices_hint(name, known)}")
        for name in model.args
        if name not in known
    ]
    classes = model.args.get("classes", 10)
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 100_000:
        problems.append(Problem("model.args.classes", f"{shown(classes)} must be a whole number from 2 to 100000"))
    return problems


def check_data(data: Data) -> list[Problem]:
    """Is the data set's name one that can exist, and are the classes in it?"""
    info = BUILT_IN_DATA.get(data.name)
    if info is None:
        if ":" in data.name:
            return []
        known = not_one_of(data.name, BUILT_IN_DATA)
        return [Problem("data.name", f"{known}, or module:function of your own")]
    problems = [
        Problem(f"data.args.{shortened(name)}", f"the built-in {data.name} takes no arguments") for name in data.args
    ]
    problems += misfits([parse(text) for text in data.augment], info.input_shape)
    return problems + [
        Problem(f"data.classes.{i}", f"{label} must be a class of {data.name}: 0 to {info.classes - 1}")
        for i, label in enumerate(data.classes or ())
        if label >= info.classes
    ]


def _check_fit(model: Model, data: Data | None, net: NetInfo) -> list[Problem]:
    """Does the net take what the data gives?"""
    info = BUILT_IN_DATA.get(data.name) if data is not None else None
    if data is None or info is None:
        return []
    classes = len(data.classes) if data.classes is not None else info.classes
    problems = []
    if net.classes is not None and net.classes != classes:
        where = "model.args.classes" if "classes" in model.args else "model.args"
        message = f"the net has {net.classes} outputs, the data {classes} classes; set model.args.classes to {classes}"
        problems.append(Problem(where, message))
    return problems + _check_input(data, info, net)


def _check_input(data: Data, info: DataInfo, net: NetInfo) -> list[Problem]:
    if net.input_shape is None or net.input_shape == info.input_shape:
        return []
    wants, has = ("×".join(map(str, shape)) for shape in (net.input_shape, info.input_shape))
    return [Problem("data.name", f"{data.name} has {has} images, the net takes {wants}")]


def resolve(tasks: Mapping[int, Task], net: NetInfo) -> tuple[list[ResolvedTask], list[Problem]]:
    """The tasks with their layers, and what is wrong with them; `tasks` by their place in the scheme."""
    resolved: list[ResolvedTask] = []
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for index, task in tasks.items():
        layers: dict[str, Layer] = {}
        for place, pattern in enumerate(task.layers):
            where = f"compress.{index}.layers.{place}"
            found, problem = _match(pattern, net)
            if problem:
                problems.append(Problem(where, problem))
            for layer in found:
                if layer.name in taken and taken[layer.name] != index:
                    other = taken[layer.name]
                    problems.append(Problem(where, f"layer {layer.name!r} stands in compress.{other} already"))
                layers.setdefault(layer.name, layer)
                taken.setdefault(layer.name, index)
        if layers:
            # Joint tasks run in the net's order, whatever order the scheme names the layers in.
            ordered = tuple(layer for layer in net.compressible if layer.name in layers)
            resolved.append(ResolvedTask(index, ordered, task.how))
            problems += _check_how(resolved[-1])
    return resolved, problems


def named(pattern: str, names: Sequence[str]) -> list[str]:
    """The layers that a name or a glob stands for."""
    if pattern in names:
        return [pattern]
    return [name for name in names if fnmatchcase(name, pattern)] if any(sign in pattern for sign in "*?[") else []


def _match(pattern: str, net: NetInfo) -> tuple[list[Layer], str | None]:
    names = [layer.name for layer in net.layers]
    biases = [layer.name for layer in net.biases]
    # A glob stands for weights, unless it says bias.
    if found := named(pattern, names) + (named(pattern, biases) if pattern.split(".")[-1] == BIAS else []):
        return [net.layer(name) for name in found], None
    if any(sign in pattern for sign in "*?["):
        return [], f"{pattern!r} matches no layer; {_layers(names)}"
    guess = nearest(pattern, biases if ".b" in pattern else names) or nearest(pattern, names)
    hint = f"; did you mean {guess!r}?" if guess else f"; {_layers(names)}"
    return [], f"no layer {pattern!r} with weights to compress{hint}"


def _layers(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"the net's layers: {shown}" + (", …" if len(names) > 12 else "")


def _check_how(task: ResolvedTask) -> list[Problem]:
    several = isinstance(task.how, list | tuple)
    problems = []
    for place, how in enumerate(members(task.how)):
        where = f"compress.{task.index}.how" + (f".{place}" if several else "")
        problems += [Problem(f"{where}.{name}" if name else where, text) for name, text in _misfits(how, task)]
    return problems


def _misfits(how: Any, task: ResolvedTask) -> list[tuple[str, str]]:
    """What does not fit the task's shapes: (field, problem)."""
    n = task.parameters
    of = f"{', '.join(task.names)}"
    if isinstance(how, LowRank | PruneNM | PruneStructured) and (bias := _first_bias(task)):
        return [("", f"{how.type} takes weights, {bias} is a bias: prune or quantize it")]
    if isinstance(how, PruneNM | PruneStructured) and (
        layer := next((x for x in task.layers if x.is_transposed), None)
    ):
        rule = f"{how.type} takes rows of outputs, {layer.name} is a transposed convolution, whose rows are inputs"
        return [("", f"{rule}: prune or quantize it, or give it low rank")]
    if isinstance(how, Prune) and how.code == "arithmetic" and (large := _too_large_to_code(task)):
        return [("code", large)]
    if isinstance(how, Prune) and how.norm == "l0" and how.kappa is not None and how.kappa > n:
        return [("kappa", f"{how.kappa} exceeds the {n:,} weights of {of}")]
    if isinstance(how, PruneStructured) and how.kappa is not None:
        groups = sum(layer.groups for layer in task.layers)
        if how.kappa > groups:
            return [("kappa", f"{how.kappa} exceeds the {groups:,} filters or neurons of {of}")]
    if isinstance(how, QuantizeAdaptive | Prune) and how.k is not None and how.k > n:
        return [("k", f"{how.k} exceeds the {n:,} weights of {of}")]
    if isinstance(how, LowRank):
        return _misfits_low_rank(how, task)
    return []


def _first_bias(task: ResolvedTask) -> str | None:
    return next((layer.name for layer in task.layers if layer.is_bias), None)


def _too_large_to_code(task: ResolvedTask) -> str | None:
    for layer in task.layers:
        if layer.parameters > CODED_WEIGHTS or layer.groups > CODED_ROWS:
            most = f"{CODED_WEIGHTS:,} weights in {CODED_ROWS:,} rows"
            return f"arithmetic codes positions in layers of up to {most}, {layer.name} is larger; use 'plain'"
    return None


def _misfits_low_rank(how: LowRank, task: ResolvedTask) -> list[tuple[str, str]]:
    if len(task.layers) > 1:
        joint = f"low_rank takes one layer at a time, this task joins {len(task.layers)}: {', '.join(task.names)}"
        return [("", joint)]
    if task.layers[0].blocks > 1:
        grouped = f"{task.names[0]} is a convolution in {task.layers[0].blocks} groups"
        return [("", f"low_rank takes layers whose outputs all have the same inputs, {grouped}: prune or quantize it")]
    rows, columns = task.layers[0].matrix(how.conv_scheme)
    if how.rank != "auto" and how.rank > min(rows, columns):
        largest = min(rows, columns)
        return [
            ("rank", f"{how.rank} exceeds {largest}, the full rank of {task.names[0]} as a {rows} × {columns} matrix")
        ]
    return []


def resolved_tasks(scheme: Scheme, net: NetInfo) -> list[ResolvedTask]:
    """The tasks of a scheme that has been checked against this net."""
    return resolve(dict(enumerate(scheme.compress)), net)[0]
