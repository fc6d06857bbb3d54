"""Reading scheme files: JSON in, a `Scheme` or every problem at once out.

Owns the wording of validation errors: path, value, rule and the nearest valid name.  Executes nothing that a file
says, and needs no torch: rules about layers are checked here for the built-in nets, by `lctui.scheme.check`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lctui.errors import BadInput, Problem, choices_hint, not_one_of, shortened, shown
from lctui.scheme.check import check_scheme
from lctui.scheme.compressions import KINDS, Block
from lctui.scheme.json_file import read_json
from lctui.scheme.models import Data, Model, Scheme, Task
from lctui.scheme.net import NetInfo

Place = tuple[str | int, ...]


def load_scheme(path: Path) -> Scheme:
    """The scheme in a file, valid in itself and, for a built-in net, against the net.

    Raises:
        BadInput: with all problems of the file.
    """
    return parse_scheme(read_json(path), str(path))


def parse_scheme(raw: Any, source: str) -> Scheme:
    """The scheme in parsed JSON; `source` names it in errors.

    Raises:
        BadInput: with all problems.
    """
    scheme, problems = find_problems(raw, source)
    if scheme is None or problems:
        raise BadInput(source, problems)
    return scheme


def anchor(scheme: Scheme, source: str) -> tuple[Scheme, list[Problem]]:
    """The scheme with absolute paths, and the files it names that are not there.

    A run must find its files again from any folder.  Relative paths are looked for in the current folder first, then
    beside the scheme file.
    """
    folders = tuple(dict.fromkeys((Path.cwd(), Path(source).absolute().parent)))
    model, data, objective = scheme.model, scheme.data, scheme.objective
    functions = {"model.factory": model.factory, "data.name": data.name}
    functions |= {"objective.loss": objective.loss, "objective.metric": objective.metric}
    functions |= {f"data.augment.{number}": text for number, text in enumerate(data.augment)}
    places = {where: _of_function(name) for where, name in functions.items()}
    if model.weights is not None:
        places["model.weights"] = (model.weights, "")
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for where, (file, function) in places.items():
        if not file:
            continue
        found = _find(file, folders)
        if found is None:
            looked = "" if file.startswith(("/", "~")) else f" in {' or '.join(map(str, folders))}"
            problems.append(Problem(where, f"no file {file!r}{looked}"))
        else:
            names[where] = f"{found}{function}"
    augment = tuple(names.pop(f"data.augment.{number}", text) for number, text in enumerate(data.augment))
    blocks = {"model": model, "data": data.model_copy(update={"augment": augment}), "objective": objective}
    found_in = {name: block.model_copy(update=_under(name, names)) for name, block in blocks.items()}
    return scheme.model_copy(update=found_in), problems


def _of_function(name: str) -> tuple[str, str]:
    """The file of a function's name and the rest of the name; no file for a module's function and for built-ins."""
    file, colon, function = name.rpartition(":")
    return (file, colon + function) if file.endswith(".py") or "/" in file else ("", name)


def _find(file: str, folders: tuple[Path, ...]) -> Path | None:
    try:
        path = Path(file).expanduser()
        return next((folder / path for folder in folders if (folder / path).is_file()), None)
    except (OSError, RuntimeError):  # too long for a file's name; no such user's home
        return None


def _under(block: str, names: dict[str, str]) -> dict[str, str]:
    return {where.removeprefix(f"{block}."): name for where, name in names.items() if where.startswith(f"{block}.")}


def find_problems(raw: Any, source: str, net: NetInfo | None = None) -> tuple[Scheme | None, list[Problem]]:
    """The scheme with absolute paths if its fields are valid, and everything that is wrong with it.

    `net` describes a net that is not built in, for the rules about layers.
    """
    try:
        scheme = Scheme.model_validate(raw)
    except ValidationError as error:
        return None, [*word_errors(error, raw), *_problems_of_valid_parts(raw, net)]
    scheme, missing = anchor(scheme, source)
    return scheme, missing + check_scheme(scheme.model, scheme.data, dict(enumerate(scheme.compress)), net)


def _problems_of_valid_parts(raw: Any, net: NetInfo | None) -> list[Problem]:
    """Problems with the net in the blocks that are valid, so that one bad field does not hide the others."""
    if not isinstance(raw, dict):
        return []
    model, data = _valid(Model, raw.get("model")), _valid(Data, raw.get("data"))
    listed = raw.get("compress")
    tasks = {i: _valid(Task, task) for i, task in enumerate(listed)} if isinstance(listed, list) else {}
    if not isinstance(model, Model):
        return []
    return check_scheme(
        model,
        data if isinstance(data, Data) else None,
        {i: task for i, task in tasks.items() if isinstance(task, Task)},
        net,
    )


def _valid(block: type[BaseModel], raw: Any) -> BaseModel | None:
    try:
        return block.model_validate(raw)
    except ValidationError:
        return None


def word_errors(error: ValidationError, raw: Any, root: type[BaseModel] = Scheme) -> list[Problem]:
    """A pydantic error of `root` as problems with the contract's paths and words, one a place."""
    places: dict[Place, list[tuple[ErrorDetails, Place]]] = {}
    for detail in error.errors(include_url=False):
        path = _path_in(detail)
        places.setdefault(path, []).append((detail, path))
    problems = []
    for path, found in places.items():
        details = [detail for detail, _ in found if not _is_echo(detail)]
        if details:
            problems.append(_word(details, path, raw, root))
    return problems


def _is_echo(detail: ErrorDetails) -> bool:
    """Pydantic also calls a tuple too short when its items failed; that says nothing new."""
    given = detail["input"]
    return detail["type"] == "too_short" and len(given) >= detail.get("ctx", {}).get("min_length", 0)


def _path_in(detail: ErrorDetails) -> Place:
    """The error's place in the file: pydantic's location without the names of union members."""
    path: list[str | int] = []
    keys = iter(detail["loc"])
    for key in keys:
        path.append(key)
        if key == "how":
            # Next are the union's member and, for a sum, an item; then the kind of compression.
            if next(keys, None) == "sum":
                path += [item for item in (next(keys, None),) if item is not None]
            next(keys, None)
        elif key == "rank":
            break
    return tuple(path)


def _dotted(path: Place) -> str:
    return ".".join(shortened(str(key)) for key in path)


def _word(details: list[ErrorDetails], path: Place, raw: Any, root: type[BaseModel]) -> Problem:
    detail = details[0]
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    dotted = _dotted(path)
    if len(details) > 1 and path and path[-1] == "rank":
        return Problem(dotted, f'{shown(given)} must be a whole number of at least 0, or "auto"')
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _word_union(given, dotted)
    if kind == "extra_forbidden":
        return Problem(dotted, f"unknown field{choices_hint(path[-1], _fields_at(raw, path[:-1], root))}")
    if kind == "literal_error":
        return _word_literal(detail, path, raw, root)
    rules = {
        "missing": "is missing",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "int_parsing_size": "is too large",
        "float_type": "must be a number",
        "finite_number": "must be a finite number",
        "bool_type": "must be true or false",
        "string_type": "must be a string",
        "string_too_short": "must not be empty",
        "string_too_long": "is longer than {max_length} characters",
        "string_pattern_mismatch": "must not contain control characters",
        "greater_than": "must be greater than {gt:g}",
        "greater_than_equal": "must be at least {ge:g}",
        "less_than": "must be less than {lt:g}",
        "less_than_equal": "must be at most {le:g}",
        "tuple_type": "must be a list",
        "too_short": "needs at least {min_length} items, got {actual_length}",
        "too_long": "takes at most {max_length} items",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "model_attributes_type": "must be an object",
    }
    if kind == "value_error":
        return Problem(dotted, str(context["error"]))
    rule = rules[kind].format(**context) if kind in rules else detail["msg"]
    return Problem(dotted, rule if kind == "missing" else f"{shown(given)} {rule}")


def _word_union(given: Any, dotted: str) -> Problem:
    types = sorted({tag.split(":")[0] for tag in KINDS})
    if not isinstance(given, dict):
        return Problem(dotted, f'{shown(given)} must be an object such as {{"type": "prune", "kappa": 100}}, or a list')
    if "type" not in given:
        return Problem(f"{dotted}.type", f"is missing (one of: {', '.join(types)})")
    if given["type"] == "quantize":
        codebooks = [tag.split(":")[1] for tag in KINDS if ":" in tag]
        return Problem(f"{dotted}.codebook", not_one_of(given.get("codebook"), codebooks))
    return Problem(f"{dotted}.type", not_one_of(given["type"], types))


def _word_literal(detail: ErrorDetails, path: Place, raw: Any, root: type[BaseModel]) -> Problem:
    dotted = _dotted(path)
    if path == ("version",):
        return Problem(dotted, f"{shown(detail['input'])} is not a version this lctui reads; it reads version 1")
    block, name = _block_at(raw, path[:-1], root), path[-1]
    choices: tuple[Any, ...] = ()
    if block is not None and isinstance(name, str):
        choices = get_args(block.model_fields[name].annotation)
    return Problem(dotted, not_one_of(detail["input"], map(str, choices)))


def _fields_at(raw: Any, path: Place, root: type[BaseModel]) -> list[str]:
    block = _block_at(raw, path, root)
    return list(block.model_fields) if block is not None else []


def _block_at(raw: Any, path: Place, root: type[BaseModel]) -> type[BaseModel] | None:
    """The model that describes the object at `path`."""
    block: Any = root
    here = raw
    for key in path:
        here = here[key]
        if isinstance(key, int):
            if isinstance(here, dict) and not _is_block(block):
                block = _compression_of(here)
        elif key == "how":
            block = _compression_of(here)
        else:
            annotation = block.model_fields[key].annotation
            block = next((part for part in (annotation, *get_args(annotation)) if _is_block(part)), None)
        if block is None and not isinstance(here, list):
            return None
    return block


def _compression_of(raw: Any) -> type[Block] | None:
    if not isinstance(raw, dict):
        return None
    kind = raw.get("type")
    return KINDS.get(f"quantize:{raw.get('codebook', 'adaptive')}" if kind == "quantize" else str(kind))


def _is_block(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Block)
