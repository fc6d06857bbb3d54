"""The command line: verbs, options, exit codes, and which stream gets what.

Owns the contract between lctui and a shell: stdout carries results, stderr narration and errors, exit codes are in
`lctui.errors.Exit`.  Everything heavy is imported inside the verb that needs it, so that `--help` and a refused
scheme never wait for torch.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lctui.errors import BadInput, Exit, Interrupted, LctuiError, printable
from lctui.headless.output import print_json, say
from lctui.runs.process import require_device_name, share_the_cores

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lctui.runs.store import Store
    from lctui.scheme import Scheme

app = typer.Typer(
    name="lctui",
    help="Compress neural nets with the Learning-Compression (LC) algorithm.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where runs, references and data live (or LCTUI_HOME)."),
]
Device = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start a worker of its own and return at once.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field for this call, e.g. l_step.epochs=4."),
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    run: Annotated[Path | None, typer.Option("--run", metavar="FILE", help="Run a scheme or a study headless.")] = None,
    detach: Detach = False,
    settings: Set = None,
    home: Home = None,
    device: Device = None,
    quiet: QuietFlag = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Compress neural nets with the Learning-Compression (LC) algorithm."""
    if home is not None:
        os.environ["LCTUI_HOME"] = str(home)
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("lctui"))
    elif run is not None:
        if context.invoked_subcommand is not None:
            raise BadInput.one("", "--run", f"goes without a verb, got {context.invoked_subcommand!r} too")
        _run_file(run, device or "auto", detach, quiet, _overrides(settings))
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
    elif detach or settings or device is not None or quiet:
        raise BadInput.one("", "--detach, --set, --device and --quiet", "go with --run, or after the verb")


def _overrides(settings: list[str] | None) -> dict[str, Any]:
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


def _run_file(path: Path, device: str, detach: bool, quiet: bool, overrides: dict[str, Any]) -> None:
    from lctui.scheme.study import Study, load_file

    loaded = load_file(path, overrides)
    store = _store(None)
    if detach:
        if isinstance(loaded, Study):
            raise BadInput.one(str(path), "--detach", "takes a scheme; a study runs in the foreground")
        from lctui.runs.process import start_worker
        from lctui.runs.store import new_run
        from lctui.scheme.check import require_present

        require_device_name(device)
        _net_of(loaded, str(path))
        require_present(loaded.data, str(path))
        run = new_run(store, loaded, device)
        start_worker(run.folder, store.home, device)
        typer.echo(run.id)
        return
    from lctui import foreground

    if isinstance(loaded, Study):
        foreground.run_study(loaded, store, device, str(path), quiet)
    else:
        foreground.run_scheme(loaded, store, device, str(path), quiet)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scheme or a study.")],
    as_json: Json = False,
    settings: Set = None,
    home: Home = None,
) -> None:
    """Validate a scheme or study; print its layers, tasks and predicted size; train nothing."""
    from lctui.headless.tables import check_table, study_check_table
    from lctui.scheme.check import describe
    from lctui.scheme.report import check_report
    from lctui.scheme.study import Study, load_file

    loaded = load_file(file, _overrides(settings))
    if isinstance(loaded, Study):
        if any(describe(scheme.model) is None for scheme in loaded.schemes):
            from lctui.studies import require_runnable

            require_runnable(loaded, str(file))
        reports = [{"name": s.name, **check_report(s, _net_of(s, str(file)))} for s in loaded.schemes]
        _show(as_json, {"study": loaded.name, "runs": reports}, lambda: study_check_table(loaded.name, reports))
        return
    report = check_report(loaded, _net_of(loaded, str(file)))
    title = f"{loaded.name}: {loaded.model.factory} on {loaded.data.name}"
    _show(as_json, report, lambda: check_table(title, report))


def _net_of(scheme: Scheme, source: str) -> Any:
    """The net's layers; torch is loaded only for nets that are not built in."""
    from lctui.scheme.check import check_scheme, describe

    if (net := describe(scheme.model)) is not None:
        return net
    from lctui.prepare import describe_net

    net = describe_net(scheme, source)
    problems = check_scheme(scheme.model, scheme.data, dict(enumerate(scheme.compress)), net)
    if problems:
        raise BadInput(source, problems)
    return net


@app.command()
def schema(study: Annotated[bool, typer.Option("--study", help="The study file's instead.")] = False) -> None:
    """Print the JSON Schema of a scheme file."""
    from lctui.scheme import Scheme
    from lctui.scheme.study import StudyFile

    print_json((StudyFile if study else Scheme).model_json_schema())


@app.command()
def ls(as_json: Json = False, home: Home = None) -> None:
    """List the runs, newest first."""
    from lctui.headless.tables import runs_table

    summaries = [run.summary() for run in _store(home).all()]
    _show(as_json, summaries, lambda: runs_table(summaries))


@app.command()
def show(run: RunName, as_json: Json = False, home: Home = None) -> None:
    """Show one run: its status, settings, steps and result."""
    from lctui.headless.tables import run_report

    found = _store(home).find(run)
    summary, events = found.summary(), found.events()
    if as_json:
        names = {"scheme": "scheme.json", "meta": "meta.json", "status_file": "status.json", "result": "result.json"}
        whole = {key: found.read(name) or None for key, name in names.items()}
        print_json(summary | whole | {"events": events})
        return
    report = run_report(summary, found.read("meta.json"), found.read("result.json"), events)
    _show(False, None, lambda: report)


@app.command()
def rm(runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs to delete.")], home: Home = None) -> None:
    """Delete runs."""
    store = _store(home)
    # All names are looked up first: a typing mistake in the last must not leave the first deleted.
    for found in dict.fromkeys(store.find(run) for run in runs):
        store.remove(found)
        typer.echo(found.id)


@app.command()
def stop(run: RunName, home: Home = None) -> None:
    """Stop a run after the current batch, keeping all work; returns once it has stopped."""
    from lctui.runs.control import request_stop

    found = _store(home).find(run)
    typer.echo(f"{found.id} {request_stop(found)}")


@app.command()
def resume(
    run: RunName, detach: Detach = False, device: Device = None, quiet: QuietFlag = False, home: Home = None
) -> None:
    """Go on from a run's last checkpoint."""
    from lctui.runs.control import mark_starting, prepare_to_resume

    store = _store(home)
    found = store.find(run)
    prepare_to_resume(found)
    device = device or str(found.read("meta.json").get("requested_device", "auto"))
    if detach:
        from lctui.runs.process import start_worker

        require_device_name(device)
        mark_starting(found)
        start_worker(found.folder, store.home, device)
        typer.echo(found.id)
        return
    from lctui import foreground

    foreground.resume(found, store, device, quiet)


@app.command()
def export(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs to export.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to write into.")],
    formats: Annotated[str, typer.Option("--format", metavar="LIST", help="csv, json, or both with a comma.")] = "csv",
    home: Home = None,
) -> None:
    """Write tables of runs: one row a run, one row a task, one row a step."""
    from lctui.export.tables import export_runs

    store = _store(home)
    for path in export_runs([store.find(run) for run in runs], to, [name.strip() for name in formats.split(",")]):
        typer.echo(str(path))


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A compressed artifact.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The dense state dict to write.")],
) -> None:
    """Turn a compressed artifact back into a dense state dict."""
    from lctui.export.artifact import unpack as unpack_file

    unpack_file(file, out)
    typer.echo(str(out))


@app.command()
def bench(
    as_json: Json = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Alternating rounds; medians are reported.")] = 5,
    device: Device = None,
    home: Home = None,
) -> None:
    """Measure the L step on this machine, side by side with the plain PyTorch loop."""
    from lctui.bench import bench_table, measure

    report = measure(_store(home).home, device or "auto", rounds, say)
    _show(as_json, report, lambda: bench_table(report))


def _store(home: Path | None) -> Store:
    from lctui.runs.store import Store, default_home

    return Store(home.expanduser().absolute() if home is not None else default_home().absolute())


def _show(as_json: bool, value: Any, table: Callable[[], RenderableType]) -> None:
    """A result on stdout: JSON for a script, a table for a person."""
    from rich.console import Console

    print_json(value) if as_json else Console(highlight=False).print(table())


def main() -> None:
    """The `lctui` command."""
    share_the_cores()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show μ or × shows a question mark; it is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(_guarded(lambda: app(standalone_mode=False)))


def _guarded(command: Callable[[], Any]) -> int:
    """Runs a command; every failure becomes one line a problem on stderr and an exit code."""
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.DONE
    except BadInput as error:
        for line in error.lines():
            say(line)
        return error.exit_code
    except Interrupted as error:
        return error.exit_code  # the run has said where it stopped and how to go on
    except LctuiError as error:
        say(f"lctui: {printable(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except OSError as error:
        say(f"lctui: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (what could not be written must not be tried again)
        return Exit.FAILED
    except Exception as error:
        # typer's own errors (unknown option, missing argument) know how to word themselves.
        if (wording := getattr(error, "format_message", None)) is None:
            raise
        say(f"lctui: {wording()}")
        return Exit.BAD_INPUT


if __name__ == "__main__":
    main()
