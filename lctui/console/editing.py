"""A scheme being edited: the raw JSON, what is wrong with it, what it will weigh, and how its compressions change.

Owns the judging of every change by the scheme's own loader and checks, and the operations of the editor's keys.  Knows
no widget and waits for nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lctui.console import tasks
from lctui.console.form_model import LEFT_OUT
from lctui.console.forms import Bound, Forms, Place, Row, Section, field_of, told, value_at
from lctui.console.history import History
from lctui.errors import Problem
from lctui.scheme import Scheme
from lctui.scheme.check import check_factory, describe
from lctui.scheme.json_file import unfit
from lctui.scheme.load import find_problems
from lctui.scheme.models import Model
from lctui.scheme.net import NetInfo
from lctui.scheme.report import check_report
from lctui.scheme.suggest import suggest

BLANK: dict[str, Any] = {
    "version": 1,
    "name": "scheme",
    "model": {"factory": "lenet5"},
    "data": {"name": "mnist_sample"},
    "compress": [],
}
"""A new scheme: a built-in net and a data set that needs no download."""


class Session(History):
    """One scheme under the editor's hands."""

    def __init__(self, raw: Any, path: Path | None = None) -> None:
        super().__init__(raw)
        self.forms = Forms()
        self.path = path
        self.net: NetInfo | None = None
        self.problems: list[Problem] = []
        self.scheme: Scheme | None = None
        self.report: dict[str, Any] | None = None
        """The prediction of a valid scheme."""
        self._described: tuple[Any, NetInfo] | None = None
        self._not_built: tuple[Any, str] | None = None
        self._owners: dict[str, int] = {}
        self.judge()

    # What it is

    @property
    def source(self) -> str:
        """What the scheme is called in errors, and where its files are looked for."""
        return str(self.path) if self.path is not None else "scheme"

    @property
    def valid(self) -> bool:
        """Can it be run?"""
        return self.scheme is not None and not self.problems

    @property
    def names(self) -> list[str]:
        """The net's layers, as far as they are known."""
        return [layer.name for layer in self.net.layers] if self.net is not None else []

    def rows(self) -> list[Row]:
        """What there is to edit."""
        return self.forms.rows(self.raw, self.names)

    def task_of(self, row: Row) -> int | None:
        """The task that a row shows."""
        if row.kind == "task":
            return int(row.name) if int(row.name) in tasks.tasks(self.raw) else None
        return self._owners.get(row.name) if row.kind == "layer" else None

    def members(self, row: Row) -> list[Any]:
        """The compressions that a row's task adds up."""
        place = self.task_of(row)
        return [] if place is None else tasks.members(tasks.tasks(self.raw)[place])

    def value(self, path: Place) -> Any:
        """What stands at a path; `LEFT_OUT` if nothing does."""
        return value_at(self.raw, path)

    def sections(self, row: Row) -> list[Section]:
        """The form of a row; empty for a layer without a task."""
        return self.forms.sections(self.raw, row, self.task_of(row))

    # What is wrong with it

    def judge(self) -> None:
        """Validates, resolves and predicts anew."""
        self._find_net()
        self._owners = tasks.owners(self.raw, self.names)
        own = self.net if self._described is not None and self.net is self._described[1] else None
        self.scheme, self.problems = find_problems(self.raw, self.source, own)
        if (problem := unfit(self.raw)) is not None:
            self.problems.append(Problem("", problem))
        self.problems = list(dict.fromkeys(self.problems))
        self.report = None
        if self.valid and self.scheme is not None and self.net is not None and self.net_is_current():
            self.report = check_report(self.scheme, self.net)

    def _find_net(self) -> None:
        """The net of a built-in factory or one that was described; the last one known while it cannot be told."""
        model = self._model()
        built_in = describe(model) if model is not None and not check_factory(model) else None
        if built_in is not None:
            if built_in != self.net:
                self.net = built_in
        elif self._described is not None and self._described[0] == self.net_key():
            self.net = self._described[1]

    def _model(self) -> Model | None:
        try:
            return Model.model_validate(self.value(("model",)))
        except ValueError:
            return None

    def net_key(self) -> tuple[Any, Any]:
        """What the net depends on."""
        return copy.deepcopy((self.value(("model",)), self.value(("data",))))

    def net_is_current(self) -> bool:
        """Is the net that is shown the one that the scheme describes?"""
        model = self._model()
        if model is None or check_factory(model):
            return False
        return describe(model) is not None or (self._described is not None and self._described[0] == self.net_key())

    def net_wanted(self) -> Scheme | None:
        """A scheme whose net has to be described by building it; None if the net is known or cannot be built."""
        model = self._model()
        if self.net_is_current() or model is None or check_factory(model) or not isinstance(self.raw, dict):
            return None
        only = {name: self.raw[name] for name in ("model", "data") if name in self.raw}
        scheme, problems = find_problems({**only, "compress": []}, self.source)
        return scheme if not problems else None

    def describe_net(self, key: tuple[Any, Any], net: NetInfo) -> None:
        """The net of `net_key()` has been built and looked at."""
        self._described = (key, net)
        self.judge()

    def fail_net(self, key: tuple[Any, Any], why: str) -> None:
        """The net of `net_key()` cannot be built."""
        self._not_built = (key, why)

    @property
    def net_error(self) -> str:
        """Why the net cannot be shown; nothing if it can be, or has not been tried."""
        if self._not_built is None or self._not_built[0] != self.net_key() or self.net_is_current():
            return ""
        return self._not_built[1]

    def problems_of(self, fields: Sequence[Bound]) -> tuple[dict[str, list[str]], list[Problem]]:
        """Problems by the place of the field that they belong to, and those that belong to none of these fields."""
        found: dict[str, list[str]] = {}
        rest: list[Problem] = []
        places = [field.place for field in fields]
        for problem in self.problems:
            place = field_of(problem.path, places)
            if place is None:
                rest.append(problem)
            else:
                found.setdefault(place, []).append(told(problem, place))
        return found, rest

    def wrong_rows(self) -> dict[str, Row]:
        """The row that each problem's place belongs to; problems of no row are left out."""
        if not self.problems:
            return {}
        result: dict[str, Row] = {}
        for row in self.rows():
            places = [field.place for section in self.sections(row) for field in section.fields]
            for problem in self.problems:
                if problem.path not in result and field_of(problem.path, places) is not None:
                    result[problem.path] = row
        return result

    # Changing it

    def set(self, path: Place, value: Any, *, typing: bool = False) -> bool:
        """Sets a field, or leaves it out."""
        return self.change(lambda raw: _put(raw, path, value), path if typing else None)

    def saved(self, path: Path) -> None:
        """It is in this file now."""
        self.path = path
        self.mark_saved()
        self.judge()

    # Compressions

    def set_type(self, row: Row, kind: str, member: int = 0) -> bool:
        """Compresses a row's layers in another way; fields of the same name stay if they fit."""
        place = self.task_of(row)
        if place is not None:
            return self._change_member(row, place, member, {"type": kind})
        if row.kind != "layer":
            return False
        trial = copy.deepcopy(self.raw)
        place = tasks.add(trial, row.name, {"type": kind}, self.names)
        how = self._fitting(trial, row, place, {"type": kind}, 0)
        return self.change(lambda raw: tasks.add(raw, row.name, how, self.names))

    def set_constant(self, path: Place, value: Any) -> bool:
        """Another choice of what tells compressions apart; the other fields start anew where they must."""
        place, member, name = int(path[1]), int(path[3]) if len(path) == 5 else 0, str(path[-1])
        task = tasks.tasks(self.raw)[place]
        old = tasks.members(task)[member]
        constants = {"type": value} if name == "type" else {"type": old.get("type"), name: value}
        layers = tasks.covered(task, self.names)
        row = Row("layer", layers[0]) if layers else Row("task", str(place))
        return self._change_member(row, place, member, constants)

    def _change_member(self, row: Row, place: int, member: int, constants: dict[str, Any]) -> bool:
        how = self._fitting(self.raw, row, place, constants, member)
        return self.change(lambda raw: _set_member(tasks.tasks(raw)[place], member, how))

    def _fitting(self, raw: Any, row: Row, place: int, constants: dict[str, Any], member: int) -> dict[str, Any]:
        """A compression of these constants: what it keeps of the one there, and suggestions, as far as they fit."""
        task = tasks.tasks(raw)[place]
        variant = self.forms.kinds.variant(constants)
        fields = variant.fields if variant is not None else ()
        layers = [self.net.layer(name) for name in tasks.covered(task, self.names)] if self.net is not None else []
        suggested = {field.title: suggest(field.schema, layers) for field in fields}
        suggested = {name: value for name, value in suggested.items() if value is not None}
        old = tasks.members(task)[member]
        kept = (
            {field.title: old[field.title] for field in fields if field.title in old} if isinstance(old, dict) else {}
        )
        tries = [{**constants, **kept}, {**constants, **suggested, **kept}, {**constants, **suggested}]
        return next((how for how in tries if self._fits(raw, place, how, member)), tries[1])

    def _fits(self, raw: Any, place: int, how: dict[str, Any], member: int) -> bool:
        trial = copy.deepcopy(raw)
        task = tasks.tasks(trial)[place]
        _set_member(task, member, how)
        problems = find_problems(trial, self.source, self.net if self.net_is_current() else None)[1]
        where = f"compress.{place}.how" + (f".{member}" if isinstance(task.get("how"), list) else "")
        return not any(problem.path == where or problem.path.startswith(f"{where}.") for problem in problems)

    def add_member(self, row: Row) -> int | None:
        """Adds to the sum the first compression that is not in it yet; returns its place in the sum."""
        place = self.task_of(row)
        if place is None:
            return None
        have = [how.get("type") for how in self.members(row) if isinstance(how, dict)]
        kind = next((kind for kind in self.forms.kinds.types if kind not in have), self.forms.kinds.types[0])
        trial = copy.deepcopy(self.raw)
        member = tasks.add_member(tasks.tasks(trial)[place], {"type": kind})
        how = self._fitting(trial, row, place, {"type": kind}, member)
        self.change(lambda raw: tasks.add_member(tasks.tasks(raw)[place], how))
        return member

    def remove(self, row: Row, member: int) -> bool:
        """Takes a summand out of the sum; the last one leaves the layer uncompressed."""
        place = self.task_of(row)
        if place is None:
            return False
        if len(tasks.members(tasks.tasks(self.raw)[place])) > 1:
            return self.change(lambda raw: tasks.remove_member(tasks.tasks(raw)[place], member))
        return self.leave(row)

    def leave(self, row: Row) -> bool:
        """Leaves a layer uncompressed, or drops a task that fits no layer."""
        if row.kind == "layer":
            return self.change(lambda raw: tasks.leave(raw, row.name, self.names))
        place = self.task_of(row)
        return place is not None and self.change(lambda raw: raw["compress"].pop(place))

    def join(self, layers: Sequence[str]) -> bool:
        """Compresses layers jointly."""
        return self.change(lambda raw: tasks.join(raw, layers, self.names))

    def separate(self, layer: str) -> bool:
        """Gives a layer of a joint task one of its own."""
        return self.change(lambda raw: tasks.separate(raw, layer, self.names))

    def duplicate(self, layer: str, targets: Sequence[str]) -> bool:
        """Compresses other layers as this one is."""
        return self.change(lambda raw: tasks.duplicate(raw, layer, targets, self.names))


def _set_member(task: dict[str, Any], member: int, how: Any) -> None:
    if isinstance(task.get("how"), list):
        task["how"][member] = how
    else:
        task["how"] = how


def _put(raw: Any, path: Place, value: Any) -> None:
    """Sets or leaves out a value; objects on the way are made where there are none."""
    here: Any = raw
    key: Any
    for key in path[:-1]:
        below = here[key] if isinstance(here, list) else here.get(key)
        if not isinstance(below, dict | list):
            if value is LEFT_OUT:
                return
            below = here[key] = {}
        here = below
    last: Any = path[-1]
    if value is not LEFT_OUT:
        here[last] = copy.deepcopy(value)
    elif isinstance(here, dict):
        here.pop(last, None)
