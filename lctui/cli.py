"""The command line: verbs, options, exit codes, and which stream gets what.

Owns the contract between lctui and a shell: stdout carries results, stderr narration and errors, exit codes are in
`lctui.errors.Exit`.  Everything heavy is imported inside the verb that needs it, so that `--help` and a refused
scheme never wait for torch.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lctui import launching
from lctui.errors import BadInput, Exit, Interrupted, LctuiError, Problem, not_one_of
from lctui.headless.options import (
    Detach,
    Device,
    Formats,
    Home,
    Json,
    Later,
    Plots,
    QuietFlag,
    RunName,
    Set,
    Together,
    listed,
    open_store,
    overrides,
    print_result,
)
from lctui.headless.output import print_json, say
from lctui.headless.queue_verbs import queue_verbs
from lctui.runs.process import require_device_name, share_the_cores

app = typer.Typer(
    name="lctui",
    help="Compress neural nets with the Learning-Compression (LC) algorithm.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    run: Annotated[Path | None, typer.Option("--run", metavar="FILE", help="Run a scheme or a study headless.")] = None,
    detach: Detach = False,
    queue: Later = False,
    settings: Set = None,
    home: Home = None,
    device: Device = None,
    quiet: QuietFlag = False,
    ensemble: Together = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="The console draws with plain ASCII.")] = False,
    theme: Annotated[str | None, typer.Option("--theme", metavar="NAME", help="The console's colours.")] = None,
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
        launching.run_file(run, device or "auto", detach, queue, quiet, overrides(settings), ensemble)
    elif context.invoked_subcommand is None and not (detach or queue or settings or quiet or ensemble is not None):
        if sys.stdin.isatty() and sys.stdout.isatty():
            _open_console(device or "auto", ascii_only, theme)
        else:
            typer.echo(context.get_help())  # in a pipe there is nobody to press a key
    elif detach or queue or settings or device is not None or quiet or ensemble is not None:
        options = "--detach, --queue, --set, --device, --ensemble and --quiet"
        raise BadInput.one("", options, "go with --run, or after the verb")


def _open_console(device: str, ascii_only: bool, theme: str | None) -> None:
    require_device_name(device)
    from lctui.console.app import Console

    console = Console(open_store(None).home, ascii_only=ascii_only, theme=theme, device=device)
    if theme is not None and theme not in console.available_themes:
        raise BadInput.one("", "--theme", not_one_of(theme, sorted(console.available_themes)))
    console.run()
    if words := console.last_words():
        say(words)
    if console.return_code:
        raise typer.Exit(Exit.FAILED)  # it has said what went wrong


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scheme or a study.")],
    as_json: Json = False,
    settings: Set = None,
    home: Home = None,
) -> None:
    """Validate a scheme or study; print its layers, tasks and predicted size; train nothing."""
    from lctui.headless.tables import check_table, study_check_table
    from lctui.scheme.report import check_report
    from lctui.scheme.study import Study, load_file

    loaded = load_file(file, overrides(settings))
    if isinstance(loaded, Study):
        launching.require_net(loaded, str(file))
        reports = [{"name": s.name, **check_report(s, launching.net_of(s, str(file)))} for s in loaded.schemes]
        search = [{"stage": stage.title, "candidates": len(stage.candidates)} for stage in loaded.stages]
        whole = {"study": loaded.name, **({"search": search} if search else {}), "runs": reports}
        print_result(as_json, whole, lambda: study_check_table(loaded.name, reports, search))
        return
    report = check_report(loaded, launching.net_of(loaded, str(file)))
    title = f"{loaded.name}: {loaded.model.factory} on {loaded.data.name}"
    print_result(as_json, report, lambda: check_table(title, report))


@app.command()
def new(
    model: Annotated[str, typer.Option("--model", metavar="NET", help="A factory: built in, or file.py:function.")],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="A data set: built in, or file.py:function.")],
    loss: Annotated[
        str | None,
        typer.Option("--loss", metavar="LOSS", help="cross_entropy (if left out), mse, or file.py:function."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="METRIC", help="error (if left out), mse, or file.py:function."),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="The file (default: the net's name).")] = None,
    settings: Set = None,
    home: Home = None,
) -> None:
    """Write a scheme for a net and data, with a first proposal for every layer; print the file's name."""
    from lctui.proposing import new_scheme

    objective = {name: value for name, value in (("loss", loss), ("metric", metric)) if value is not None}
    typer.echo(str(new_scheme(model, data, objective, to, overrides(settings), open_store(home).home)))


@app.command()
def suggest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scheme.")],
    ratio: Annotated[float | None, typer.Option("--ratio", metavar="N", help="How many times smaller.")] = None,
    error: Annotated[
        float | None, typer.Option("--error", metavar="X", help="The most that direct compression may err.")
    ] = None,
    leave: Annotated[
        list[str] | None,
        typer.Option(
            "--leave", metavar="LAYERS", help="Layers that stay as they are: a name or a glob; may be repeated."
        ),
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train the reference, if nobody has yet.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="The file that is written.")] = None,
    as_json: Json = False,
    device: Device = None,
    settings: Set = None,
    quiet: QuietFlag = False,
    home: Home = None,
) -> None:
    """Write a scheme whose compressions, layer by layer, fit a ratio or an error and harm the net least."""
    from lctui.headless.tables import suggestion_table

    target = {name: value for name, value in (("ratio", ratio), ("error", error)) if value is not None}
    if len(target) != 1:
        raise BadInput.one("", "--ratio, --error", "one of the two says what is wanted")
    store, name = open_store(home), device or "auto"
    require_device_name(name)
    from lctui.suggesting import suggest_scheme

    report = suggest_scheme(file, target, to, overrides(settings), store, name, quiet, train=train, leave=leave or ())
    print_result(as_json, report, lambda: suggestion_table(report))


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

    summaries = [run.summary() for run in open_store(home).all()]
    print_result(as_json, summaries, lambda: runs_table(summaries))


@app.command()
def show(run: RunName, as_json: Json = False, home: Home = None) -> None:
    """Show one run: its status, settings, steps and result."""
    from lctui.headless.tables import run_report

    found = open_store(home).find(run)
    found.require_known()
    summary, events = found.summary(), found.events()
    if as_json:
        names = {"scheme": "scheme.json", "meta": "meta.json", "status_file": "status.json", "result": "result.json"}
        whole = {key: found.read(name) or None for key, name in names.items()}
        print_json(summary | whole | {"events": events})
        return
    print_result(False, None, lambda: run_report(summary, found.read("meta.json"), found.read("result.json"), events))


@app.command()
def rm(runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs to delete.")], home: Home = None) -> None:
    """Delete runs; one that is not there, or is under way, does not keep the others."""
    from lctui.runs.queue import Queue
    from lctui.runs.store import Run

    store = open_store(home)
    doomed: list[Run] = []
    problems: list[Problem] = []
    # All names are looked up first: once a run is gone, a beginning of its id may mean another.
    for name in runs:
        try:
            doomed.append(store.find(name))
        except BadInput as error:
            problems += error.problems
    for run in dict.fromkeys(doomed):
        try:
            Queue(store).remove(run)
            typer.echo(run.id)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput("", problems)


@app.command()
def stop(run: RunName, home: Home = None) -> None:
    """Stop a run after the current batch, keeping all work, and wait until it has; or take it off the queue."""
    from lctui.runs.control import request_stop
    from lctui.runs.queue import Queue

    store = open_store(home)
    found = store.find(run)
    typer.echo(f"{found.id} {'interrupted' if Queue(store).withdraw(found) else request_stop(found)}")


@app.command()
def resume(
    run: RunName, detach: Detach = False, device: Device = None, quiet: QuietFlag = False, home: Home = None
) -> None:
    """Go on from a run's last checkpoint."""
    from lctui.runs.control import mark_starting, prepare_to_resume

    store = open_store(home)
    found = store.find(run)
    prepare_to_resume(found)
    device = device or str(found.read("meta.json").get("requested_device", "auto"))
    require_device_name(device)
    if detach:
        from lctui.runs.process import start_worker

        mark_starting(found, device)
        start_worker(found.folder, store.home, device)
        typer.echo(found.id)
        return
    from lctui import foreground

    foreground.resume(found, store, device, quiet)


app.add_typer(queue_verbs, name="queue")


@app.command()
def export(
    what: Annotated[list[str], typer.Argument(metavar="RUN…|STUDY", help="Runs; or one study, by name or file.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to write into.")],
    formats: Formats = "",
    plots: Plots = "",
    settings: Set = None,
    home: Home = None,
) -> None:
    """Write tables of runs (a row a run, a task, a step, a number), plots, TensorBoard's event files, and their nets.

    Of a study: its report, with the tables and figures that its file asks for.
    """
    from lctui.exporting import export_what

    for path in export_what(what, to, listed(formats), listed(plots), overrides(settings), open_store(home)):
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
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="l_step|c_step|large_net",
            help="Only the L step, only the C steps of one layer, or of a ResNet-50.",
        ),
    ] = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Measure L step and C steps on this machine, side by side with what people write instead; takes minutes."""
    parts = ("l_step", "c_step", "large_net")
    if part is not None and part not in parts:
        raise BadInput.one("", "--part", not_one_of(part, parts))
    require_device_name(device or "auto")
    from lctui.bench import bench_table, measure

    report = measure(open_store(home).home, device or "auto", rounds, parts if part is None else (part,), say)
    print_result(as_json, report, lambda: bench_table(report))


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
        say(f"lctui: {error}")
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
