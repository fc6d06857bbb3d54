"""The tasks of a scheme as raw JSON: which layer is in which, and moving layers between them.

Owns operations on the `compress` list that keep every layer in one task at most, put new tasks where the net's order
has them, and leave globs as they are, unless a layer is taken out of one: then it becomes the names of the others.
Works on JSON that may be wrong anywhere, as files and half-typed forms are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lctui.scheme.check import named

Task = dict[str, Any]


def tasks(raw: Any) -> dict[int, Task]:
    """The tasks that are objects, by their place."""
    listed = raw.get("compress") if isinstance(raw, dict) else None
    found = enumerate(listed) if isinstance(listed, list) else ()
    return {place: task for place, task in found if isinstance(task, dict)}


def patterns(task: Task) -> list[str]:
    """The names and globs of a task."""
    listed = task.get("layers")
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def covered(task: Task, names: Sequence[str]) -> list[str]:
    """The layers of a task, in the net's order."""
    found = {name for pattern in patterns(task) for name in named(pattern, names)}
    return [name for name in names if name in found]


def owner(raw: Any, layer: str, names: Sequence[str]) -> int | None:
    """The task that a layer is in: the first, should a file have it in several."""
    return owners(raw, names).get(layer)


def owners(raw: Any, names: Sequence[str]) -> dict[str, int]:
    """The task of every layer that has one."""
    result: dict[str, int] = {}
    for place, task in tasks(raw).items():
        for layer in covered(task, names):
            result.setdefault(layer, place)
    return result


def members(task: Task) -> list[Any]:
    """The compressions that a task adds up."""
    how = task.get("how")
    return how if isinstance(how, list) else [how]


def leave(raw: Any, layer: str, names: Sequence[str]) -> None:
    """Takes a layer out of its tasks; a task that has no other goes with it."""
    for task in [task for task in tasks(raw).values() if layer in covered(task, names)]:
        kept: list[Any] = []
        for pattern in task["layers"]:
            stands_for = named(pattern, names) if isinstance(pattern, str) else []
            kept += [name for name in stands_for if name != layer] if layer in stands_for else [pattern]
        task["layers"] = list(dict.fromkeys(kept))
        if not kept:
            raw["compress"] = [each for each in raw["compress"] if each is not task]


def add(raw: Any, layer: str, how: Any, names: Sequence[str]) -> int:
    """A task of its own for a layer that is in none, where the net's order puts it; returns its place."""
    listed = raw.get("compress")
    if not isinstance(listed, list):
        listed = raw["compress"] = []
    order = list(names).index(layer)
    later = (
        place
        for place, task in tasks(raw).items()
        if any(list(names).index(other) > order for other in covered(task, names)[:1])
    )
    place = next(later, len(listed))
    listed.insert(place, {"layers": [layer], "how": how})
    return place


def join(raw: Any, layers: Sequence[str], names: Sequence[str]) -> bool:
    """Compresses layers jointly, as the first of them that has a task is compressed; False if none has."""
    held = owners(raw, names)
    first = next((layer for layer in layers if layer in held), None)
    if first is None:
        return False
    task = tasks(raw)[held[first]]
    for layer in sorted(layers, key=list(names).index):
        if layer not in covered(task, names):
            leave(raw, layer, names)
            task["layers"].append(layer)
    if all(pattern in names for pattern in task["layers"]):
        task["layers"].sort(key=list(names).index)
    return True


def separate(raw: Any, layer: str, names: Sequence[str]) -> bool:
    """Takes a layer out of its joint task, into one of its own that does the same; False if it is alone."""
    place = owner(raw, layer, names)
    if place is None or len(covered(tasks(raw)[place], names)) < 2:
        return False
    how = copy.deepcopy(tasks(raw)[place].get("how"))
    leave(raw, layer, names)
    add(raw, layer, how, names)
    return True


def duplicate(raw: Any, layer: str, targets: Sequence[str], names: Sequence[str]) -> bool:
    """Compresses each of the targets as this layer is, in a task of its own; False if this layer has none."""
    place = owner(raw, layer, names)
    if place is None:
        return False
    how = tasks(raw)[place].get("how")
    for target in targets:
        if target != layer:
            leave(raw, target, names)
            add(raw, target, copy.deepcopy(how), names)
    return True


def add_member(task: Task, how: Any) -> int:
    """Adds a compression to the sum; returns its place in it."""
    task["how"] = [*members(task), how]
    return len(task["how"]) - 1


def remove_member(task: Task, place: int) -> None:
    """Takes a compression out of the sum; a sum of one is that one."""
    kept = [how for i, how in enumerate(members(task)) if i != place]
    task["how"] = kept[0] if len(kept) == 1 else kept


def words(how: Any) -> str:
    """A compression, or a sum of them, in a few words, right or wrong: `prune kappa=104`."""
    if isinstance(how, list):
        return " + ".join(map(words, how))
    if not isinstance(how, dict):
        return "?"
    said = [str(how.get("type", "?"))]
    for name, value in how.items():
        if name == "type" or value is None:
            continue
        if isinstance(value, list):
            said.append(f"{len(value)} {name}")
        elif isinstance(value, str):
            said.append(value)
        else:
            said.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(said)
