"""The process beside the console that has torch: `python -P -m lctui.inspector --home H`.

Reads one JSON request a line from stdin and writes one JSON reply a line to stdout, in the same order:

    {"id": 1, "kind": "net", "scheme": {…}, "source": "schemes/a.json"}
    {"id": 2, "kind": "direct", "scheme": {…}, "source": "schemes/a.json"}
    {"id": 6, "kind": "suggest", "scheme": {…}, "source": "schemes/a.json", "ratio": 30}
    {"id": 3, "kind": "confusion", "run": "ab3k-table6-3"}
    {"id": 4, "kind": "confusion", "run": "ab3k-table6-3", "of": "reference"}
    {"id": 5, "kind": "weights", "run": "ab3k-table6-3", "bins": 64}

    {"id": 1, "result": {…}}   or   {"id": 1, "error": "one line"}

What takes long says before that how far it is: {"id": 6, "progress": [12, 80]}.

`source` is where the scheme would be saved: relative files are looked for beside it.  Owns the protocol and the
process; what is answered is in `lctui.what_if` and `lctui.insight`.  Ends with its input or with its parent, and
without a reply when the user's code on disk is no longer what it has imported: a new process then knows the answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lctui.errors import BadInput, LctuiError, printable
from lctui.runs.process import share_the_cores
from lctui.runs.store import Run, Store
from lctui.scheme import Scheme
from lctui.scheme.check import describe
from lctui.scheme.load import find_problems, parse_scheme
from lctui.scheme.net import NetInfo

if TYPE_CHECKING:
    from torch import Tensor, nn

NICENESS = 5
MAX_THREADS = 4
WATCH_SECONDS = 1.0

Tell = Callable[[dict[str, Any]], None]
"""Says an object to the console, as a line of JSON."""


class Outdated(Exception):
    """The user's code has changed, or other code of the user's is loaded: only a new process can answer."""


class Inspector:
    """Answers requests; nothing that a request or a user's code does ends it."""

    def __init__(self, home: Path, device: str, tell: Tell) -> None:
        """`tell` hears, before a long answer is there, how far it is."""
        from lctui.what_if import Sessions

        self.store = Store(home)
        self.sessions = Sessions(home, device)
        self.tell = tell
        self._code: dict[str, str] = {}  # the user's functions loaded so far, and their sources' digests
        self._kinds: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "net": self._net,
            "direct": self._direct,
            "suggest": self._suggest,
            "confusion": self._confusion,
            "weights": self._weights,
        }

    def reply(self, line: bytes) -> dict[str, Any]:
        """The reply to one line.

        Raises:
            Outdated: another process must answer it.
        """
        request: Any = None
        try:
            request = json.loads(line)
            return {"id": _field(request, "id"), "result": self._answer(request)}
        except Outdated:
            raise
        except BadInput as error:
            message = "; ".join(error.lines())
        except LctuiError as error:
            message = str(error)
        except (Exception, SystemExit) as error:  # a user's code may call sys.exit
            traceback.print_exc()
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        number = request.get("id") if isinstance(request, dict) else None
        return {"id": number, "error": printable(message)}

    def _answer(self, request: Any) -> dict[str, Any]:
        kind = _field(request, "kind")
        if kind not in self._kinds:
            raise BadInput.one("", "kind", f"{kind!r} must be one of: {', '.join(self._kinds)}")
        return self._kinds[kind](request)

    def _net(self, request: dict[str, Any]) -> dict[str, Any]:
        raw, source = _field(request, "scheme"), str(request.get("source", "scheme.json"))
        # Whatever is wrong with the other blocks, the net can be looked at.
        blocks = (
            {name: raw[name] for name in ("model", "data", "seed") if name in raw} if isinstance(raw, dict) else raw
        )
        scheme, problems = find_problems(blocks | {"compress": []} if isinstance(blocks, dict) else blocks, source)
        if scheme is None:
            raise BadInput(source, problems)
        with self._loading(scheme.model.factory):
            return _described(*_look_at(scheme, source))

    def _direct(self, request: dict[str, Any]) -> dict[str, Any]:
        source = str(request.get("source", "scheme.json"))
        scheme = parse_scheme(_field(request, "scheme"), source)
        with self._loading(*scheme.functions(), alone=True):
            return self.sessions.direct(scheme, source)

    def _suggest(self, request: dict[str, Any]) -> dict[str, Any]:
        from lctui.sensitivity import suggest

        source, ratio = str(request.get("source", "scheme.json")), request.get("ratio")
        scheme = parse_scheme(_field(request, "scheme"), source)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float):
            raise BadInput.one("", "ratio", f"{ratio!r} must be a number")
        with self._loading(*scheme.functions(), alone=True):
            found = suggest(
                self.sessions.ready(scheme, source),
                scheme,
                source,
                ratio=ratio,
                told=lambda done, total: self.tell({"id": request["id"], "progress": [done, total]}),
            )
        return {"tasks": found.tasks, **found.report()}

    def _confusion(self, request: dict[str, Any]) -> dict[str, Any]:
        from lctui import insight

        run, scheme = self._run(request)
        with self._loading(*scheme.functions(), alone=True):
            return insight.confusion(run, scheme, self.sessions, reference=request.get("of") == "reference")

    def _weights(self, request: dict[str, Any]) -> dict[str, Any]:
        from lctui import insight

        run, scheme = self._run(request)
        bins = request.get("bins", 64)
        if not isinstance(bins, int):
            raise BadInput.one("", "bins", f"{bins!r} must be a whole number")
        with self._loading(scheme.model.factory):
            return insight.weights(run, scheme, self.sessions, bins)

    def _run(self, request: dict[str, Any]) -> tuple[Run, Scheme]:
        run = self.store.find(str(_field(request, "run")))
        return run, run.scheme()

    @contextlib.contextmanager
    def _loading(self, *refs: str, alone: bool = False) -> Iterator[None]:
        """Python imports a module once: code that has changed on disk since is not what this process would run.

        `alone`: other code of the user's must not be there, as it is not in a run's process; the digest that names a
        reference covers all modules of a folder that are loaded.
        """
        from lctui import user_code

        own = [ref for ref in refs if ":" in ref and not ref.startswith("torchvision:")]
        if any(user_code.source_digest(ref) != digest for ref, digest in self._code.items() if ref in own):
            raise Outdated
        if alone and own and self._code.keys() - set(own):
            raise Outdated
        try:
            yield
        finally:
            for ref in {*own, *self._code}:
                with contextlib.suppress(BadInput):  # its file is gone: the next question about it says so
                    self._code[ref] = user_code.source_digest(ref)


def _field(request: Any, name: str) -> Any:
    if not isinstance(request, dict) or name not in request:
        raise BadInput.one("", "request", f"must be a JSON object with {name!r}")
    return request[name]


def _look_at(scheme: Scheme, source: str) -> tuple[NetInfo, tuple[int, ...] | None, int | None]:
    """A net's layers, the shape of its input and the number of its outputs, as far as they can be known without data.

    Nets that are not built in are sent an empty image of a built-in data set, if that is what they are for.
    """
    built_in = describe(scheme.model)
    if built_in is not None:
        return built_in, built_in.input_shape, built_in.classes
    from lctui import models

    module = models.build(scheme.model, seed=scheme.seed, source=source).float().eval()
    info, example = models.describe_for(module, scheme.data.name, source=source)
    return (info, None, None) if example is None else (info, tuple(example.shape[1:]), _outputs(module, example))


def _outputs(module: nn.Module, example: Tensor) -> int | None:
    import torch

    with torch.inference_mode():
        scores = module(example)
    return scores.shape[1] if isinstance(scores, torch.Tensor) and scores.dim() == 2 else None


def _described(info: NetInfo, input_shape: tuple[int, ...] | None, classes: int | None) -> dict[str, Any]:
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "pixels": layer.pixels,
            **({"blocks": layer.blocks} if layer.blocks > 1 else {}),
            **({"strip_pixels": layer.strip_pixels} if layer.strip_pixels is not None else {}),
        }
        for layer in info.layers
    ]
    shape = list(input_shape) if input_shape is not None else None
    biases = [{"name": bias.name, "shape": list(bias.shape)} for bias in info.biases]
    return {
        "layers": layers,
        "others": info.others,
        "biases": biases,
        "input_shape": shape,
        "classes": classes,
        "counted": info.counted,
    }


def serve(inspector: Inspector, requests: BinaryIO) -> int:
    """Answers until the requests end or nobody reads the replies."""
    try:
        for line in requests:
            if line.strip():
                inspector.tell(inspector.reply(line))
    except (Outdated, BrokenPipeError):
        pass
    return 0


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for the protocol alone: what a user's code prints, from C too, goes to stderr."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _teller(replies: BinaryIO) -> Tell:
    def tell(said: dict[str, Any]) -> None:
        replies.write(json.dumps(said).encode() + b"\n")
        replies.flush()

    return tell


def _end_with(parent: int) -> None:
    """Ends this process once its parent has; its input ends too then, but a long answer would not notice."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(0)


def _threads() -> int:
    """Half of the cores: with all of them, each answer would wait for the training's turns, and hold it up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_THREADS, cores // 2))


def main(arguments: list[str] | None = None) -> int:
    """Answers questions about nets, one a line, until stdin ends."""
    parser = argparse.ArgumentParser(prog="lctui.inspector", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    requests, replies = _own_streams()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key for the console is not for this process
    os.nice(NICENESS)
    share_the_cores()
    import torch

    torch.set_num_threads(_threads())
    inspector = Inspector(options.home.expanduser().absolute(), options.device, _teller(replies))
    return serve(inspector, requests)


if __name__ == "__main__":
    sys.exit(main())
