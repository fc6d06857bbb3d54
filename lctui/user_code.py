"""The user's own functions: found by `package.module:function` or `path/to/file.py:function`, and called.

Owns finding, importing and calling them, and turning whatever goes wrong there into one line that names the function
and the exception.  Knows nothing of nets or data sets, and never lets the user's code write to stdout, which carries
results.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from lctui.errors import BadInput, nearest


def resolve(ref: str, *, base: Path | None = None, source: str = "", path: str = "") -> Callable[..., Any]:
    """The function that `ref` names.

    File paths, and modules beside them, are looked for in `base` (default: the current folder).

    Raises:
        BadInput: at `source: path`, for a reference that leads to no function.
    """
    where, _, name = ref.rpartition(":")
    if not where or not name:
        raise BadInput.one(source, path, f"{ref!r} must be package.module:function or path/to/file.py:function")
    with _narrated(ref, "importing it", source, path), _importable(where, base):
        module = _load_file(where, base, source, path) if _is_file(where) else _load_module(where, source, path)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadInput.one(source, path, f"{where} has no {part!r}{_hint(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise BadInput.one(source, path, f"{ref} is {type(found).__name__}, not a function")
    return found


def call(
    ref: str,
    args: Mapping[str, Any],
    *,
    base: Path | None = None,
    source: str = "",
    path: str = "",
    args_path: str = "",
) -> Any:
    """What the function named by `ref` returns for these keyword arguments.

    Raises:
        BadInput: it cannot be found, does not take these arguments (at `args_path`), or raised.
    """
    function = resolve(ref, base=base, source=source, path=path)
    check_arguments(function, args, ref, source=source, path=args_path or path)
    with _narrated(ref, "calling it", source, path), _importable(ref.rpartition(":")[0], base):
        return function(**args)


def check_arguments(
    function: Callable[..., Any], args: Mapping[str, Any], name: str, *, source: str = "", path: str = ""
) -> None:
    """Raises BadInput if `function(**args)` does not fit the function's signature."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some compiled functions tell nothing about their arguments
        return
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    unknown = [arg for arg in args if arg not in signature.parameters]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        hint = _hint(unknown[0], signature.parameters)
        raise BadInput.one(source, f"{path}.{unknown[0]}", f"{name} takes no argument {unknown[0]!r}{hint}")
    try:
        signature.bind(**args)
    except TypeError as error:
        raise BadInput.one(source, path, f"{name} cannot be called with these arguments: {error}") from None


def source_digest(ref: str, *, base: Path | None = None, source: str = "", path: str = "") -> str:
    """SHA-256 of the sources behind `ref`, once it has been called, so that edited code is known as other code.

    These are the file or module that it names, and every module loaded from the same folder or package.
    """
    where = ref.rpartition(":")[0]
    named = _file(where, base) if _is_file(where) else _origin(where)
    if named is None:
        return ""
    folder = named.parent
    sources = {named} | {file for file in _loaded_sources() if file.is_relative_to(folder) and _is_users(file, folder)}
    digest = hashlib.sha256()
    for file in sorted(sources):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + _read(file, source, path) + b"\0")
    return digest.hexdigest()


def _origin(where: str) -> Path | None:
    """The file of the top-level package or module that holds a module."""
    top = sys.modules.get(where.partition(".")[0])
    file = getattr(top, "__file__", None)
    return Path(file).absolute() if file else None


def _loaded_sources() -> Iterator[Path]:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and name.partition(".")[0] != "lctui":
            yield Path(file).absolute()


def _is_users(file: Path, folder: Path) -> bool:
    """A virtual environment inside the user's folder holds other people's code, fixed by its versions."""
    return "site-packages" not in file.relative_to(folder).parts and file.is_file()


def one_line(error: BaseException) -> str:
    """An exception as `Type: message`, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_file(where: str) -> bool:
    return where.endswith(".py") or "/" in where or "\\" in where


def _file(where: str, base: Path | None) -> Path:
    return ((base or Path.cwd()) / Path(where).expanduser()).absolute()


def _read(file: Path, source: str, path: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput.one(source, path, f"cannot read {file}: {error.strerror or error}") from None


def _load_file(where: str, base: Path | None, source: str, path: str) -> ModuleType:
    """The file as a module; executed once for each content, so that model and data may share a file and its state."""
    file = _file(where, base)
    digest = hashlib.sha256(str(file).encode() + b"\0" + _read(file, source, path)).hexdigest()
    name = f"_lctui_user_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BadInput.one(source, path, f"{file} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look their module up by name while it is still being executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_module(where: str, source: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        missing = error.name or where
        if where == missing or where.startswith(missing + "."):
            raise BadInput.one(source, path, f"no module {missing!r}; it must be installed or in this folder") from None
        raise


@contextlib.contextmanager
def _importable(where: str, base: Path | None) -> Iterator[None]:
    """Lets the user's code import its neighbours; last on the path, so that they shadow nothing."""
    folder = str(_file(where, base).parent if _is_file(where) else (base or Path.cwd()))
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextlib.contextmanager
def _narrated(ref: str, doing: str, source: str, path: str) -> Iterator[None]:
    """Sends what the user's code prints to stderr, and words what it raises."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput.one(source, path, f"{ref}: {doing} raised {one_line(error)}") from error


def _hint(name: str, choices: Any) -> str:
    guess = nearest(name, [choice for choice in choices if not choice.startswith("__")])
    return f"; did you mean {guess!r}?" if guess else ""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers fixed by `seed`, for Python, NumPy and torch; the callers' states come back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
