"""The editor's dealings with files: open, new, save, `$EDITOR`, and leaving with something unsaved.

Owns the questions around them.  A file that does not parse is shown with its problem; its text is kept for `$EDITOR`,
and what was edited before is one undo away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textual import work
from textual.app import SuspendNotSupported

from lctui.console import scheme_files
from lctui.console.editing import BLANK, Session
from lctui.console.screens.base import ConsoleScreen
from lctui.console.screens.dialogs import Ask, Choose, Confirm
from lctui.errors import BadInput, printable
from lctui.scheme.json_file import read_json


class SchemeFiles(ConsoleScreen):
    """A screen with a scheme from a file."""

    def __init__(self, scheme: dict[str, Any] | None, path: Path | None) -> None:
        super().__init__()
        self.broken = ""
        """What is wrong with a file that does not parse; its text is `broken_text`."""
        self.broken_text = ""
        self.has_scheme = True
        """Is there a scheme behind text that does not parse?"""
        self._on_disk = ""
        if scheme is None and path is not None:
            scheme = self._read(path)
        self.session = Session(BLANK if scheme is None else scheme, path)

    @property
    def unsaved(self) -> bool:
        """Would something be lost?"""
        return self.session.dirty or bool(self.broken and self.broken_text != self._on_disk)

    def take(self, session: Session) -> None:
        """Another scheme in place of this one."""
        self.session = session

    async def refresh_all(self) -> None:
        """Shows the scheme as it is now."""
        raise NotImplementedError

    def _read(self, path: Path) -> Any | None:
        """The scheme in a file; None, and `broken` says why, if there is none."""
        self._on_disk = scheme_files.text_in(path)
        try:
            raw = read_json(path)
        except BadInput as error:
            self.broken, self.broken_text, self.has_scheme = error.lines()[0], self._on_disk, False
            return None
        self.broken, self.has_scheme = "", True
        return raw

    def title_words(self) -> str:
        """The scheme's name, its file, and how it stands."""
        session = self.session
        name = session.raw.get("name", "scheme") if isinstance(session.raw, dict) else "scheme"
        state = "*" if session.dirty or session.path is None else ""
        wrong = len(session.problems)
        words = f"lctui  edit  {name}{state}"
        words += f"   {wrong} problem{'s' if wrong > 1 else ''}" if wrong and not self.broken else ""
        return printable(words + (f"   {_short(session.path)}" if session.path is not None else ""))

    # Opening

    @work(exclusive=True, group="files")
    async def action_open(self) -> None:
        """Opens a file of the schemes at hand."""
        if (path := await self._choose("open")) is not None and await self.may_leave():
            raw = self._read(path)
            self.take(Session(BLANK if raw is None else raw, path))
            await self.refresh_all()

    @work(exclusive=True, group="files")
    async def action_new(self) -> None:
        """A new scheme: blank, or from a template."""
        blank = ("", f"blank: {BLANK['model']['factory']} on {BLANK['data']['name']}")
        path = await self._choose("new, from a template", blank)
        if path is None or not await self.may_leave():
            return
        self.broken, self.has_scheme = "", True
        raw = self._read(path) if path.name else BLANK
        self.take(Session(BLANK if raw is None else raw, None))
        await self.refresh_all()

    async def _choose(self, question: str, *more: tuple[str, str]) -> Path | None:
        folders = [scheme_files.FOLDER, scheme_files.templates()]
        files = await asyncio.to_thread(scheme_files.found, folders, self.session.path)
        choices = [*more, *((str(file), printable(_short(file))) for file in files), ("?", "another file …")]
        chosen = await self.app.push_screen_wait(Choose(question, choices, free=True))
        if chosen == "?":
            chosen = (await self.app.push_screen_wait(Ask("the file", "")) or "").strip() or None
        try:
            return None if chosen is None else scheme_files.path_from(chosen)
        except (OSError, ValueError) as error:
            self.app.say(f"{printable(str(chosen))}: {scheme_files.why(error)}", "error")
            return None

    async def may_leave(self) -> bool:
        """Is nothing unsaved, or may it be lost?"""
        if not self.unsaved:
            return True
        name = f" in {_short(self.session.path)}" if self.session.path is not None else ""
        return await self._confirm(printable(f"Changes{name} are not saved. Go on without them?"))

    async def _confirm(self, question: str) -> bool:
        return await self.app.push_screen_wait(Confirm(question))

    # Saving

    @work(exclusive=True, group="files")
    async def action_save(self) -> None:
        """Saves under a name that is asked for."""
        await self._save()

    async def _save(self) -> bool:
        session = self.session
        name = session.raw.get("name", "scheme") if isinstance(session.raw, dict) else "scheme"
        proposed = session.path if session.path is not None else scheme_files.default_path(name)
        answer = await self.app.push_screen_wait(Ask("save as", str(proposed)))
        if not answer or not answer.strip():
            return False
        try:
            path = scheme_files.path_from(answer.strip(), scheme_files.default_path(name).name)
            question = self._in_the_way(path)
            if question and not await self._confirm(question):
                return False
            scheme_files.save(path, session.raw)
        except (OSError, ValueError) as error:
            self.app.say(f"{printable(answer.strip())} cannot be written: {scheme_files.why(error)}", "error")
            return False
        self._on_disk, self.broken = scheme_files.text_in(path), ""
        session.saved(path)
        await self.refresh_all()
        self.app.say(f"saved: {printable(str(path))}")
        return True

    def _in_the_way(self, path: Path) -> str:
        """What to ask before this file is written; nothing if it is new, or as it was opened."""
        mine = path == self.session.path
        if not path.exists() or (mine and scheme_files.text_in(path) == self._on_disk):
            return ""
        changed = "has changed on disk since it was opened" if mine else "is there already"
        return f"{printable(str(path))} {changed}. Overwrite it?"

    # The user's editor

    async def action_outside(self) -> None:
        """Hands the raw JSON to $EDITOR, and takes back what it leaves."""
        before = self.broken_text if self.broken else scheme_files.text_of(self.session.raw)
        try:
            with self.app.suspend():
                try:
                    after, problem = scheme_files.edit_outside(before), ""
                except (OSError, ValueError) as error:  # not past `suspend`: the screen would not come back
                    after, problem = before, printable(str(error))
        except SuspendNotSupported:
            self.app.say("this terminal cannot be handed to an editor", "error")
            return
        if problem:
            self.app.say(f"the editor cannot be started: {problem}; $EDITOR names it", "error")
            return
        if after != before or self.broken:
            await self.take_text(after)

    async def take_text(self, text: str) -> None:
        """JSON edited as text; if it does not parse, it is kept beside the scheme until it does."""
        name = str(self.session.path) if self.session.path is not None else "scheme"
        try:
            raw = scheme_files.parse_text(text, name)
        except BadInput as error:
            self.broken, self.broken_text = error.lines()[0], text
        else:
            self.broken = ""
            if self.has_scheme:
                self.session.replace(raw)
            else:  # the first that parses: there is nothing to go back to
                self.has_scheme = True
                self.take(Session(raw, self.session.path))
                self.session.mark_unsaved()
        await self.refresh_all()

    # Leaving

    @work(exclusive=True, group="files")
    async def action_back(self) -> None:
        """Leaves the editor; asks if something is unsaved."""
        if self.unsaved:
            save = [] if self.broken else [("save", "save")]
            choices = [*save, ("discard", "leave without saving"), ("stay", "stay")]
            answer = await self.app.push_screen_wait(Choose("Changes are not saved.", choices))
            if answer not in ("save", "discard") or (answer == "save" and not await self._save()):
                return
        self.dismiss(None)


def _short(path: Path) -> str:
    """A path as seen from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (OSError, ValueError):
        return str(path)
