"""What the verbs of the command line share: options and arguments, the home's store, a result as JSON or as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lctui.errors import BadInput, shortened
from lctui.headless.output import print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lctui.runs.store import Store

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where runs, references and data live (or LCTUI_HOME)."),
]
Device = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start a worker of its own and return at once.")]
Later = Annotated[bool, typer.Option("--queue", help="Put it at the end of the queue and return at once.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field for this call, e.g. l_step.epochs=4."),
]

Together = Annotated[
    str | None,
    typer.Option("--ensemble", metavar="off|auto|N", help="How many runs of a study train together."),
]

Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="LIST",
        help="csv, json, md, tex: tables; png, svg: plots; tensorboard; torch, onnx, safetensors, packed: the net.",
    ),
]
Plots = Annotated[
    str,
    typer.Option(
        "--plot",
        metavar="LIST",
        help="Only these plots: curve, pareto, confusion, codebook, singular_values, layers, reference.",
    ),
]


def listed(names: str) -> list[str]:
    """The names in a list that an option gives, each once; none in an empty one."""
    return list(dict.fromkeys(name.strip() for name in names.split(","))) if names else []


def members_together(ensemble: str | None) -> int | None:
    """How many runs of a study train together; None for as many as pays.

    Raises:
        BadInput: neither off, auto nor a number from 1.
    """
    if ensemble in (None, "auto"):
        return None
    if ensemble == "off":
        return 1
    if not re.fullmatch(r"[1-9][0-9]{0,3}", ensemble):
        raise BadInput.one(
            "", "--ensemble", f"{shortened(repr(ensemble))} must be off, auto or a number from 1 to 9999"
        )
    return int(ensemble)


def overrides(settings: list[str] | None) -> dict[str, Any]:
    """What `--set` changes, by path.

    Raises:
        BadInput: a setting is not PATH=VALUE.
    """
    result = {}
    for setting in settings or ():
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise BadInput.one("", f"--set {setting}", "must be PATH=VALUE, e.g. l_step.epochs=4")
        try:
            result[path] = json.loads(text)
        except (ValueError, RecursionError):
            result[path] = text  # a bare word is a string
    return result


def open_store(home: Path | None) -> Store:
    """The store of that home, or of the one that the environment names."""
    from lctui.runs.store import Store, default_home

    return Store(home.expanduser().absolute() if home is not None else default_home().absolute())


def print_result(as_json: bool, value: Any, table: Callable[[], RenderableType]) -> None:
    """A result on stdout: JSON for a script, a table for a person."""
    from lctui.headless.terminal import Terminal

    print_json(value) if as_json else Terminal().print(table())
