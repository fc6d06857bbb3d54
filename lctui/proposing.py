"""What `lctui new` does: a scheme file for a net and data, with a task for every layer.

Owns the file's name and content, and never writes over another file.  Net and data are built and loaded as a run
would, so that whatever is wrong with them is said before there is a file; trains nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lctui.errors import BadInput

if TYPE_CHECKING:
    from lctui.scheme import Scheme
    from lctui.scheme.net import NetInfo


def new_scheme(
    model: str, data: str, objective: dict[str, Any], to: Path | None, settings: dict[str, Any], home: Path
) -> Path:
    """Writes the proposal for a factory and a data set, with fields set by dotted path; returns the file.

    `objective` has the fields of that block that are not at their defaults.

    Raises:
        BadInput: the file exists or cannot be, or net and data are not right; nothing has been written.
    """
    from lctui.scheme.propose import propose
    from lctui.scheme.study import parse_changed

    name = _name(model)
    file = to if to is not None else Path(f"{name}.json")
    require_new(file)
    raw: dict[str, Any] = {"name": name, "model": {"factory": model}, "data": {"name": data}}
    raw |= ({"objective": objective} if objective else {}) | {"compress": []}
    raw, scheme = parse_changed(raw, settings, str(file))
    tasks = propose(_net_of(scheme, home, str(file)))
    if not tasks:
        raise BadInput.one(str(file), "model.factory", f"{model} has no layers with weights to compress")
    raw = leading_from(raw, scheme, Path.cwd(), file)
    with file.open("x") as out:
        out.write(scheme_text({**raw, "compress": raw["compress"] or tasks}))
    return file


def leading_from(raw: dict[str, Any], scheme: Scheme, folder: Path, file: Path) -> dict[str, Any]:
    """A scheme as it was given in a folder, for a file: its names of files lead to the same ones from there."""
    if file.absolute().parent == folder.absolute():
        return raw
    blocks = {"model": scheme.model, "data": scheme.data, "objective": scheme.objective}
    anchored = {name: block.model_dump(mode="json", exclude_unset=True) for name, block in blocks.items()}
    return {name: anchored.get(name, value) for name, value in raw.items()}


def _name(model: str) -> str:
    return re.sub(r"\W+", "-", model.rpartition(":")[2]).strip("-") or "scheme"


def require_new(file: Path) -> None:
    """Raises BadInput unless the file can be made: it is not there, and its folder is."""
    if file.exists():
        raise BadInput.one(str(file), "", "is there already, and is not written over; --to FILE names another")
    if not file.absolute().parent.is_dir():
        raise BadInput.one(str(file), "", f"there is no folder {file.absolute().parent}")


def _net_of(scheme: Scheme, home: Path, source: str) -> NetInfo:
    """The net, once it is known to take data and objective; what is built in is known without torch."""
    from lctui.input_files import require_inputs
    from lctui.scheme import Objective
    from lctui.scheme.check import describe
    from lctui.scheme.net import BUILT_IN_DATA

    known = describe(scheme.model)
    built_in = scheme.data.name in BUILT_IN_DATA and scheme.objective == Objective() and not scheme.functions()
    if known is not None and built_in:
        return known
    require_inputs(scheme, home, source)
    from lctui.prepare import prepare

    return prepare(scheme, home, "cpu", source).info


def scheme_text(raw: dict[str, Any]) -> str:
    """JSON with a line for every field, and for every task."""
    fields = []
    for name, value in raw.items():
        lines = (
            ",\n".join(f"    {json.dumps(each, ensure_ascii=False)}" for each in value) if name == "compress" else ""
        )
        fields.append(f'  "{name}": ' + (f"[\n{lines}\n  ]" if lines else json.dumps(value, ensure_ascii=False)))
    return "{\n" + ",\n".join(fields) + "\n}\n"
