"""Questions to the process that has torch: what a net looks like, what a scheme would do, what a run has made of it.

Owns that process (`lctui.inspector`): it is started at the first question, and again after it has died.  One question
is under way at a time, and of each kind only the newest matters: whoever waits for an older one gets `Superseded`.
There are no timeouts; `close` ends everything.  Computes nothing and never imports torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lctui.errors import BadInput, printable
from lctui.export.insides import NetOf
from lctui.runs.process import module_command, module_environment

MAX_REPLY = 1 << 27
"""Bytes; the longest replies hold codebooks of 65,536 values."""

TRIES = 2
"""A process that ends without a reply is replaced and asked again, once: it does so when a user's code has changed."""

KILL_SECONDS = 5


class InspectionError(Exception):
    """A question without an answer; the message is one line for a person."""


class Superseded(InspectionError):
    """A newer question of the same kind has been asked: this one is not answered any more."""

    def __init__(self) -> None:
        super().__init__("a newer question has been asked")


Told = Callable[[int, int], None]
"""Hears how much of how much is done."""


def _unheard(done: int, total: int) -> None:
    """Nobody asked."""


@dataclass(frozen=True, eq=False)
class _Question:
    kind: str
    fields: dict[str, Any]
    answer: asyncio.Future[dict[str, Any]]
    told: Told = _unheard

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Inspection:
    """Asks the inspection process of one home; to be used from one event loop."""

    def __init__(self, home: Path, device: str = "cpu") -> None:
        self._home, self._device = home, device
        self._process: _Process | None = None
        self._waiting: dict[str, _Question] = {}  # by kind, in the order that they are asked in
        self._asked: _Question | None = None
        self._work: asyncio.Task[None] | None = None
        self._numbers = 0
        self._closed = False

    async def net(self, scheme: dict[str, Any], source: str | Path = "scheme.json") -> dict[str, Any]:
        """The layers of a scheme's net, built in or not: `layers` (name, kind, shape, pixels), `others`, `input_shape`
        and `classes` (both None where only the data would tell).

        Relative files of the scheme are looked for beside `source`, where it is or would be saved.

        Raises:
            InspectionError: the net cannot be built, and why.
            Superseded: by a newer call of this method.
        """
        return await self._ask("net", scheme=scheme, source=str(source))

    async def direct(self, scheme: dict[str, Any], source: str | Path = "scheme.json") -> dict[str, Any]:
        """What a run's `direct_compression` event would say of a scheme: `error_pct` of `images` images of `split`
        ("validation", or "train" without one), `reference_error_pct`, `compression_ratio`, `compressed_bits`,
        `compressed_parameters`, `flops`, `flops_ratio`, `tasks` as in the event's `layers`, and `seconds`.

        Raises:
            InspectionError: the scheme is wrong, or its reference has not been trained yet.
            Superseded: by a newer call of this method.
        """
        return await self._ask("direct", scheme=scheme, source=str(source))

    async def suggest(
        self, scheme: dict[str, Any], ratio: float, source: str | Path = "scheme.json", told: Told = _unheard
    ) -> dict[str, Any]:
        """Compressions for a scheme's layers that make its net `ratio` times smaller and harm it least: `tasks` as a
        scheme has them, `compression_ratio`, `error_pct` of their direct compression.  Takes seconds to minutes;
        `told` hears how many trials are done.

        Raises:
            InspectionError: the ratio is out of reach, the scheme is wrong, or its reference has not been trained yet.
            Superseded: by a newer call of this method.
        """
        return await self._ask("suggest", told, scheme=scheme, source=str(source), ratio=ratio)

    async def confusion(self, run_id: str, of: NetOf = "compressed") -> dict[str, Any]:
        """A finished run's `matrix`[true][predicted] over its test images, with `classes`, `split` and `error_pct`; of
        its compressed net, or of its reference.

        Raises:
            InspectionError: there is no compressed net, or its data or code have changed.
            Superseded: by a newer call of this method.
        """
        return await self._ask("confusion", run=run_id, of=of)

    async def weights(self, run_id: str, bins: int = 64) -> dict[str, Any]:
        """A finished run's weights: `layers`, each with `name`, `kind`, `shape`, `weights`, `zeros`, the non-zeros'
        histogram (`edges`, `counts`, and `reference_counts` of the reference's weights or None), and for its task
        `type`, `codebook` (`values`, `counts`), or `rank`, `singular_values`, `reference_singular_values`.  `reference`
        says whether the reference is there.

        Raises:
            InspectionError: there is no compressed net, or its code has changed.
            Superseded: by a newer call of this method.
        """
        return await self._ask("weights", run=run_id, bins=bins)

    def close(self) -> None:
        """Ends the process and fails what was asked; there are no more questions after it."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
        for question in (self._asked, *self._waiting.values()):
            if question is not None:
                question.fail(InspectionError("the inspection has been closed"))
        self._waiting.clear()
        self._end()

    async def _ask(self, kind: str, told: Told = _unheard, **fields: Any) -> dict[str, Any]:
        if self._closed:
            raise InspectionError("the inspection has been closed")
        older = [self._waiting.pop(kind, None), self._asked if self._asked and self._asked.kind == kind else None]
        for question in older:
            if question is not None:
                question.fail(Superseded())
        question = _Question(kind, fields, asyncio.get_running_loop().create_future(), told)
        self._waiting[kind] = question
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer_all())
        return await question.answer

    async def _answer_all(self) -> None:
        while self._waiting:
            self._asked = question = self._waiting.pop(next(iter(self._waiting)))
            try:
                await self._answer(question)
            except Exception as error:
                self._end()  # whatever it still says is not an answer to the next question
                question.fail(InspectionError(printable(f"the inspection process cannot be asked: {error}")))
            finally:
                self._asked = None

    async def _answer(self, question: _Question) -> None:
        for _ in range(TRIES):
            if question.answer.done():  # nobody waits any more
                return
            process = self._process = self._process or await _Process.start(self._home, self._device)
            self._numbers += 1
            reply = await process.ask({"id": self._numbers, "kind": question.kind, **question.fields})
            while reply is not None and "progress" in reply:
                if not question.answer.done():
                    question.told(*reply["progress"])
                reply = await process.reply()
            if reply is None:
                self._end()
                continue
            if "error" in reply:
                question.fail(InspectionError(str(reply["error"])))
            elif not question.answer.done():
                question.answer.set_result(reply["result"])
            return
        question.fail(InspectionError(f"the inspection process ended without an answer{process.last_words()}"))

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """A running `lctui.inspector`, and its pipes."""

    def __init__(self, popen: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._popen, self._errors = popen, errors
        self._reader = asyncio.StreamReader(limit=MAX_REPLY)
        self._pipes: list[asyncio.BaseTransport] = []
        self._said = ""

    @classmethod
    async def start(cls, home: Path, device: str) -> _Process:
        """Starts it, with stderr in a file without a name: a user's code may print there."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        try:
            popen = subprocess.Popen(
                module_command("lctui.inspector", "--home", str(home), "--device", device),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # the terminal's signals are for the console
                env=module_environment(),
            )
        except BaseException:
            errors.close()
            raise
        process = cls(popen, errors)
        try:
            await process._connect()
        except BaseException:
            process.end()
            raise
        return process

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._popen.stdin is not None and self._popen.stdout is not None
        reading = asyncio.StreamReaderProtocol(self._reader)
        self._pipes.append((await loop.connect_read_pipe(lambda: reading, self._popen.stdout))[0])
        self._writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._popen.stdin)
        self._pipes.append(self._writer)

    async def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The first that is said to a request; None if the process has ended instead."""
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await self.reply()

    async def reply(self) -> dict[str, Any] | None:
        """What the process says next; None if it has ended instead."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            return None
        reply: dict[str, Any] = json.loads(line)
        return reply

    def end(self) -> None:
        """Kills the process if need be, and lets go of all that belongs to it."""
        self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # held up in a driver: it goes when that lets it
            self._popen.wait(KILL_SECONDS)
        for pipe in self._pipes:
            pipe.close()
        if not self._pipes:  # they were never connected
            for end in (self._popen.stdin, self._popen.stdout):
                assert end is not None
                end.close()
        with contextlib.suppress(OSError):
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4096))
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            self._said = lines[-1] if lines else ""
        self._errors.close()

    def last_words(self) -> str:
        """How it ended, for an error's end: its exit code, and the last line that it wrote to stderr."""
        code = self._popen.returncode
        return printable(f" (exit code {code}{': ' + self._said if self._said else ''})")


class Answers:
    """The inspection for whoever has no event loop, and no terminal to keep alive: each question waits for its answer.

    A context: leaving it ends the process.
    """

    def __init__(self, home: Path, device: str = "cpu") -> None:
        self._loop = asyncio.Runner()
        self._inspection = Inspection(home, device)

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self._inspection.close()
        self._loop.close()

    def confusion(self, run_id: str, of: NetOf = "compressed") -> dict[str, Any]:
        """`Inspection.confusion`.

        Raises:
            BadInput: there is no answer, and why.
        """
        return self._wait(self._inspection.confusion(run_id, of))

    def weights(self, run_id: str) -> dict[str, Any]:
        """`Inspection.weights`.

        Raises:
            BadInput: there is no answer, and why.
        """
        return self._wait(self._inspection.weights(run_id))

    def _wait(self, question: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._loop.run(question)
        except InspectionError as error:
            raise BadInput.one("", "", str(error)) from None
