"""What the scheme editor asks the process that has torch: the net, and direct compression.

Owns when: once one pauses, again when the screen is back in front, and every few seconds while a run has yet to train
the reference.  Only the screen in front asks; an answer to what is no longer the question is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.timer import Timer

from lctui.console.editing import Session
from lctui.console.inspection import InspectionError, Superseded
from lctui.console.screens.editor_files import SchemeFiles
from lctui.errors import printable
from lctui.scheme import Scheme
from lctui.scheme.net import BIAS, Layer, NetInfo

PAUSE = 0.15
"""Seconds without a key before direct compression is asked for."""
AGAIN = 3.0
"""Seconds before it is asked again whether there is a reference now."""
NOT_YET = "no reference net yet"
"""How that answer begins."""


@dataclass(eq=False)
class Question:
    """Something that has been asked, and whether there was no answer."""

    about: object
    failed: bool = False


class EditorQuestions(SchemeFiles):
    """Keeps the answers about the scheme on the screen."""

    def __init__(self, scheme: dict[str, Any] | None, path: Path | None) -> None:
        super().__init__(scheme, path)
        self._timer: Timer | None = None
        self._forget()

    def _forget(self) -> None:
        self.answer: Mapping[str, Any] | None = None
        """What direct compression would do."""
        self.no_answer = ""
        """Why that is not known."""
        self.stale = False
        """Is it that of an earlier scheme?"""
        self.trying: tuple[int, int] | None = None
        """How far a suggestion is that has been asked for: so many trials, of so many."""
        self._direct: Question | None = None
        self._net: Question | None = None

    def take(self, session: Session) -> None:
        """Another scheme: nothing is known of it yet."""
        super().take(session)
        self._forget()

    def show_panes(self) -> None:
        """Shows the answers."""
        raise NotImplementedError

    async def show_form(self) -> None:
        """Shows the form anew."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """Back from a run: the reference may be there now, and the net's file may have been mended."""
        self._in(PAUSE, self._ask_again)

    def ask_later(self) -> None:
        """Asks for direct compression, and for the net, once one has paused."""
        session = self.session
        if not session.valid or session.scheme is None or self.broken:
            self._direct = None
            self.stale = self.answer is not None
            if self.answer is None:
                self.no_answer = "once the scheme is valid"
            self.show_panes()
        elif self._direct is None or self._direct.about != session.scheme.fingerprint():
            self._direct, self.stale = None, True
            self.show_panes()
        elif session.net_is_current() or (self._net is not None and self._net.about == session.net_key()):
            return
        self._in(PAUSE, self._ask)

    def _in(self, seconds: float, ask: Any) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, ask)

    def _ask_again(self) -> None:
        """What there was no answer to is asked again."""
        if self._direct is not None and self._direct.failed:
            self._direct = None
        if self._net is not None and self._net.failed:
            self._net = None
        self._ask()

    def _ask(self) -> None:
        if not self.is_active or self.broken:
            return  # there is time for it when the screen is back in front
        session = self.session
        key, wanted = session.net_key(), session.net_wanted()
        if wanted is not None and (self._net is None or self._net.about != key):
            self._net = Question(key)
            self.run_worker(self._ask_net(wanted, key, self._net), group="net")
        if not session.valid or session.scheme is None:
            return
        asked = session.scheme.fingerprint()
        if self._direct is None or self._direct.about != asked:
            self._direct = Question(asked)
            self.run_worker(self._ask_direct(session.scheme, self._direct), group="direct")

    async def _ask_direct(self, scheme: Scheme, question: Question) -> None:
        answer, problem = None, ""
        try:
            answer = await self.app.inspection.direct(scheme.dump())
        except Superseded:
            if question is self._direct:  # by another screen's question
                self._direct = None
                self._in(PAUSE, self._ask)
            return
        except InspectionError as error:
            problem, question.failed = str(error), True
        if question is not self._direct or not self.is_attached:
            return
        self.answer, self.no_answer, self.stale = answer, problem, False
        self.show_panes()
        if problem.startswith(NOT_YET):
            self._in(AGAIN, self._ask_again)

    async def _ask_net(self, scheme: Scheme, key: tuple[Any, Any], question: Question) -> None:
        try:
            found = await self.app.inspection.net(scheme.dump())
        except Superseded:
            if question is self._net:
                self._net = None
                self._in(PAUSE, self._ask)
            return
        except InspectionError as error:
            question.failed = True
            if question is self._net and self.is_attached:
                self.session.fail_net(key, printable(str(error)))
                await self.show_form()
            return
        if question is not self._net or not self.is_attached:
            return
        self.session.describe_net(key, _net_of(found))
        await self.refresh_all()


def _net_of(found: Mapping[str, Any]) -> NetInfo:
    """A net as `lctui.inspector` describes it."""
    layers = tuple(
        Layer(
            each["name"],
            each["kind"],
            tuple(each["shape"]),
            each["pixels"],
            each.get("blocks", 1),
            strip_pixels=each.get("strip_pixels"),
        )
        for each in found["layers"]
    )
    biases = tuple(Layer(each["name"], BIAS, tuple(each["shape"])) for each in found.get("biases", ()))
    shape = tuple(found["input_shape"]) if found.get("input_shape") else None
    return NetInfo(layers, found["others"], shape, found.get("classes"), biases, counted=found.get("counted", False))
