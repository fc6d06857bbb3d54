"""The scheme editor: what its keys do.

Owns the keys of the list.  What a change means is in `lctui.console.editing`, what is shown in the panes.
"""

from __future__ import annotations

from textual import work
from textual.binding import Binding

from lctui.console.inspection import InspectionError, Superseded
from lctui.console.screens.dialogs import Ask
from lctui.console.screens.editor_panes import EditorPanes
from lctui.errors import printable
from lctui.scheme.measure import Measure

QUESTION = "how many times smaller? (tasks keep their kind, layers without one get one)"
OF_LAYERS = ("join", "duplicate", "mark")
OF_TASKS = ("compress", "add", "remove", "leave_task")


class EditorScreen(EditorPanes):
    """Edits one scheme."""

    HEADING = "lctui  edit"
    ABOUT = (
        "A scheme: what is done to each layer. A letter sets a layer's compression; type its number at once.\n\n"
        "Space marks layers; j compresses them jointly with the one under the cursor (without marks, that one leaves "
        "its joint task); d does to the marked what is done to this one; + adds a compression to the sum, - takes one "
        "away. a asks for a ratio and compresses the layers for it. Predicted size and direct compression follow every "
        "key. In the form, an empty field is left out."
    )

    BINDINGS = [
        Binding("ctrl+z", "undo", "undo", show=False),
        Binding("ctrl+y", "redo", "redo", show=False),
        Binding("ctrl+s", "save", "save", show=False),
    ]

    _starting = False
    """Is a run on its way into the queue?"""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing here are not offered."""
        if action in (*OF_LAYERS, *OF_TASKS) and self.is_mounted:
            if self.broken or self.row.kind == "block":
                return False
            if action in OF_LAYERS:
                return self.row.kind == "layer"
            return action == "compress" or self.session.task_of(self.row) is not None
        return not (self.broken and action in ("save", "run", "redo", "next_problem", "suggest"))

    async def action_compress(self, kind: str) -> None:
        """Compresses the row's layers so, and asks for the number."""
        members = len(self.session.members(self.row))
        self.member = min(self.member, max(members - 1, 0))
        self.session.set_type(self.row, kind, self.member)
        await self.refresh_all()
        self.enter(number=True, member=self.member)

    async def action_add(self) -> None:
        """Adds a compression to the sum, and asks which."""
        member = self.session.add_member(self.row)
        if member is not None:
            self.member = member
            await self.refresh_all()
            self.enter(member=member)

    async def action_remove(self) -> None:
        """Takes a compression out of the sum; the last one leaves the layer uncompressed."""
        members = len(self.session.members(self.row))
        if self.session.remove(self.row, min(self.member, members - 1)):
            self.member = max(0, members - 2)
            await self.refresh_all()

    async def action_leave_task(self) -> None:
        """Leaves the layer uncompressed."""
        if self.session.leave(self.row):
            await self.refresh_all()

    async def action_mark(self) -> None:
        """Marks the layer, or unmarks it, and goes on to the next."""
        self.marked ^= {self.row.name}
        self.table.cursor += 1
        await self.refresh_all()

    async def action_join(self) -> None:
        """Compresses the marked layers jointly with this one; without marks, this one leaves its joint task."""
        layer = self.row.name
        if not self.marked - {layer}:
            if not self.session.separate(layer):
                self.app.say("space marks the layers to compress jointly with this one", "warning")
        elif not self.session.join([layer, *sorted(self.marked - {layer}, key=self.session.names.index)]):
            self.app.say("choose a compression for one of them first", "warning")
        else:
            self.marked.clear()
        await self.refresh_all()

    async def action_duplicate(self) -> None:
        """Compresses every marked layer as this one is."""
        targets = self.marked - {self.row.name}
        if not targets:
            self.app.say("space marks the layers that are to be compressed like this one", "warning")
        elif not self.session.duplicate(self.row.name, sorted(targets, key=self.session.names.index)):
            self.app.say("this layer is not compressed", "warning")
        else:
            self.marked.clear()
        await self.refresh_all()

    async def action_undo(self) -> None:
        """Back by one change, to where it was made; or from text that does not parse to the scheme."""
        if self.broken and self.has_scheme:
            self.broken = ""
            await self.refresh_all()
            return
        await self._travel(self.session.undo(), "nothing to undo")

    async def action_redo(self) -> None:
        """Forth again."""
        await self._travel(self.session.redo(), "nothing to redo")

    async def _travel(self, moved: bool, otherwise: str) -> None:
        if not moved:
            self.app.say(otherwise)
            return
        there = self.session.at
        await self.refresh_all()
        if self.table.go_to(there):
            await self.refresh_all()

    async def action_next_problem(self) -> None:
        """To the next row with something wrong."""
        wrong = {row.key for row in self.session.wrong_rows().values()}
        keys = [row.key for row in self.table.rows]
        order = [keys[(self.table.cursor + i) % len(keys)] for i in range(1, len(keys) + 1)]
        if (found := next((key for key in order if key in wrong), None)) is not None:
            self.table.go_to(found)

    @work(group="suggest", exclusive=True)
    async def action_suggest(self) -> None:
        """Asks for a ratio, and compresses every layer (or the tasks there are) so that it is met with least harm."""
        scheme = self.session.scheme
        if not self.session.valid or scheme is None:
            self.app.say("the scheme has problems; g goes to the next", "warning")
            return
        typed = (await self.app.push_screen_wait(Ask(QUESTION, "20")) or "").strip("×x ")
        if not typed:
            return
        try:
            ratio = float(typed)
        except ValueError:
            self.app.say(f"{printable(typed)!r} is no number", "warning")
            return
        try:
            self._tried(0, 0)
            found = await self.app.inspection.suggest(scheme.dump(), ratio, self.session.source, self._tried)
        except Superseded:
            return
        except InspectionError as error:
            self.app.say(printable(str(error)), "warning")
            return
        finally:
            self.trying = None
            if self.is_attached:
                self.show_panes()
        if self.session.scheme is not scheme:
            self.app.say("the scheme has been changed meanwhile: nothing is suggested", "warning")
            return
        self.session.replace({**self.session.raw, "compress": found["tasks"]})
        direct = Measure(found["metric"]).said(found["error_pct"])
        self.app.say(f"{found['compression_ratio']:.1f}× suggested, direct compression {direct}; u undoes")
        await self.refresh_all()

    def _tried(self, done: int, total: int) -> None:
        if self.is_attached:
            self.trying = done, total
            self.show_panes()

    @work(group="run")
    async def action_run(self) -> None:
        """Starts a run of the scheme as it stands, and shows it."""
        scheme = self.session.scheme
        if not self.session.valid or scheme is None:
            self.app.say("the scheme has problems; g goes to the next", "warning")
            return
        if self._starting:  # a second `r` before the first has been dealt with
            return
        self._starting = True
        try:
            runs = await self.app.attempt(self.app.start, [scheme])
        finally:
            self._starting = False
        if runs:
            self.app.open_run(runs[0].id)
