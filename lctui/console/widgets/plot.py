"""A plot to look at and to read values from: curves by step, points with a Pareto front.

Owns the cursor, the window, the scales and when to draw: at most twice a second for new numbers, at once for a key, and
only the lines that came out different.  The picture itself is made without Textual; numbers are copied when they are
drawn, so who shows a growing array may go on appending to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color, ColorParseError
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from lctui.console.axes import Axis
from lctui.console.canvas import Run
from lctui.console.legend import Ink
from lctui.console.navigation import along_lines, along_points, end_of, following, nearest_x, points, zoomed
from lctui.console.picture import Curve, Picture, View, draw, extent, horizontal
from lctui.console.series import Series
from lctui.console.widgets.strips import changed_cells

__all__ = ["Curve", "Plot"]

PAUSE = 0.5
"""Seconds between two drawings of new numbers."""
SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
ROLES = {
    Ink.AXIS: "plot--axis",
    Ink.TEXT: "plot--text",
    Ink.TITLE: "plot--title",
    Ink.NOTE: "plot--note",
    Ink.CURSOR: "plot--cursor",
}


class Plot(Widget, can_focus=True):
    """Curves over x, with a cursor that reads them."""

    HELP = (
        "Left and right move the cursor from point to point, home and end to the first and last; + and - zoom around "
        "it, 0 shows everything.  g makes y logarithmic, G x; w smooths lines more, then not at all.  A click sets the "
        "cursor, the wheel zooms.  A letter or shape names each curve; a cell where curves meet has the colour of the "
        "emphasised one, else of the later one."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "point before", show=False),
        Binding("right", "move(1)", "next point", show=False),
        Binding("home", "end(-1)", "first point", show=False),
        Binding("end", "end(1)", "last point", show=False),
        Binding("plus,equals_sign", "zoom(2)", "zoom in", key_display="+", show=False),
        Binding("minus", "zoom(0.5)", "zoom out", key_display="-", show=False),
        Binding("0", "show_all", "show all", show=False),
        Binding("g", "log_y", "log y"),
        Binding("G", "log_x", "log x", show=False),
        Binding("w", "smooth", "smooth"),
        Binding("escape", "drop_cursor", "cursor away", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLES.values())
    DEFAULT_CSS = """
    Plot {
        height: 1fr;
        & > .plot--axis { color: $text-muted; }
        &:focus > .plot--axis { color: $primary; }
        &:focus:ansi > .plot--axis { color: ansi_default; text-style: bold; }
        & > .plot--text { color: $foreground; }
        & > .plot--title { color: $foreground; text-style: bold; }
        & > .plot--note { color: $text-muted; }
        & > .plot--cursor { color: $foreground; text-style: bold; }
    }
    """

    log_y: reactive[bool] = reactive(False, repaint=False)
    """Whether y is drawn on a logarithmic scale; values of zero and less are left out, and counted in the top line."""
    log_x: reactive[bool] = reactive(False, repaint=False)
    """Whether x is drawn on a logarithmic scale."""
    smoothing: reactive[float] = reactive(0.0, repaint=False)
    """Weight (0 to 0.999) of the past in the moving average that lines are drawn and read with; points never are."""
    cursor: reactive[float | None] = reactive(None, repaint=False)
    """The x that is read; None: no cursor."""
    window: reactive[tuple[float, float] | None] = reactive(None, repaint=False)
    """The x in view, from and to; None: all."""

    class CursorMoved(Message):
        """Somebody moved the cursor by key or mouse (never sent for `plot.cursor = ...`)."""

        def __init__(self, plot: Plot, x: float | None, point: tuple[int, int] | None) -> None:
            super().__init__()
            self.plot, self.x = plot, x
            self.point = point
            """Under the cursor, if curves of points are shown: which curve, which of its points."""

        @property
        def control(self) -> Plot:
            """The plot."""
            return self.plot

    class WindowMoved(Message):
        """Somebody zoomed or moved the window by key or mouse (never sent for `plot.window = ...`)."""

        def __init__(self, plot: Plot, window: tuple[float, float] | None) -> None:
            super().__init__()
            self.plot, self.window = plot, window

        @property
        def control(self) -> Plot:
            """The plot."""
            return self.plot

    def __init__(self, *, ascii: bool = False, empty: str = "no steps yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.ascii, self.empty = ascii, empty
        self.curves: tuple[Curve, ...] = ()
        """What is shown, or will be within half a second."""
        self.title = self.x_title = self.y_title = ""
        self._series: tuple[Series, ...] = ()
        self._drawn: tuple[Curve, ...] = ()
        self._picked: tuple[int, int] | None = None
        self._picture: Picture | None = None
        self._picture_size = Size(0, 0)
        self._outdated = True
        self._strips: list[Strip] = []
        self._styles_of: dict[int, Style] = {}
        self._last_drawn = 0.0
        self._held = False
        self._timer: Timer | None = None

    def show(
        self, curves: Sequence[Curve], *, title: str = "", x_title: str = "", y_title: str = "", now: bool = False
    ) -> None:
        """Other curves, or the same ones grown: drawn at once, or within half a second of the drawing before."""
        self.curves = tuple(curves)
        self.title, self.x_title, self.y_title = title, x_title, y_title
        wait = self._last_drawn + PAUSE - monotonic()
        if now or wait <= 0 or not self.is_mounted:
            self._redraw()
        elif self._timer is None:
            self._timer = self.set_timer(wait, self._redraw)

    def _take(self) -> None:
        """Copies the numbers of what is shown now; what has not changed keeps the work done on it."""
        if self.curves is self._drawn:
            return
        before = {(curve.name, curve.kind): series for curve, series in zip(self._drawn, self._series, strict=True)}
        self._series = tuple(Series(each.x, each.y, before.get((each.name, each.kind))) for each in self.curves)
        self._drawn = self.curves
        self._styles_of = {}
        if self._picked is not None and not self._is_there(self._picked):
            self._picked = None

    def _is_there(self, point: tuple[int, int]) -> bool:
        curve, index = point
        there = curve < len(self.curves) and self.curves[curve].kind == "points" and index < len(self._series[curve])
        return there and self._series[curve].x[index] == self.cursor

    def _view(self) -> View:
        width, height = self.size
        return View(
            width, height, self.title, self.x_title, self.y_title, self.empty, self.log_x, self.log_y, self.smoothing,
            self.cursor, self.window, self._picked, self.ascii,
        )  # fmt: skip

    def _redraw(self) -> None:
        """Draws now what is shown now."""
        if self._held:
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._outdated = True
        if self.is_mounted and self.size.area:
            self._repaint(self._draw())

    def _draw(self) -> list[Strip]:
        """The picture as strips; made anew if there is none of this size."""
        if self._picture is None or self._outdated or self._picture_size != self.size:
            self._take()
            self._picture = draw(self.curves, self._series, self._view(), self._picture)
            self._picture_size, self._outdated = self.size, False
            self._last_drawn = monotonic()
        return [self._strip(runs) for runs in self._picture.rows]

    def _repaint(self, strips: list[Strip]) -> None:
        """Has those lines repainted that came out different."""
        before, self._strips = self._strips, strips
        if len(before) != len(strips):
            self.refresh()
            return
        pairs = enumerate(zip(before, strips, strict=True))
        spans = [(y, *changed_cells(old, new)) for y, (old, new) in pairs if old != new]
        if spans:
            # A cursor that moves changes two columns: the lines in full would be ten times the bytes.
            self.refresh(*(Region(start, y, end - start, 1) for y, start, end in spans))

    def render_line(self, y: int) -> Strip:
        """A line of the picture, which is drawn first if there is none of this size."""
        if self._picture is None or self._outdated or self._picture_size != self.size:
            self._strips = self._draw()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _strip(self, runs: Sequence[Run]) -> Strip:
        return Strip([Segment(text, self._style(ink)) for text, ink in runs], self.size.width)

    def _style(self, ink: int) -> Style:
        """The style of an owner of cells, worked out once until colours change."""
        if ink not in self._styles_of:
            self._styles_of[ink] = self._worked_out(ink)
        return self._styles_of[ink]

    def _worked_out(self, ink: int) -> Style:
        if ink < 0:
            role = ROLES.get(Ink(ink)) if ink in ROLES else None
            return self.rich_style + self.get_component_rich_style(role) if role else self.rich_style
        if ink >= Ink.PICKED:
            return self._style(ink - Ink.PICKED) + Style(bold=True, reverse=True)
        if ink >= Ink.FAINT:
            return self._curve_style(ink - Ink.FAINT, faint=True)
        return self._curve_style(ink, faint=False)

    def _curve_style(self, curve: int, faint: bool) -> Style:
        """A curve's colour on the ground there is; faint is half way to the ground, or dim where that is unknown."""
        base, given = self.rich_style, self.curves[curve]
        name = self.app.theme_variables.get(given.color[1:], "") if given.color.startswith("$") else given.color
        try:
            color = Color.parse(name)
        except ColorParseError:
            return base + Style(dim=faint)
        ground = self.background_colors[1]
        if faint and color.ansi is None and ground.ansi is None:
            color, faint = ground.blend(color, 0.4), False
        return base + Style(color=color.rich_color, bold=given.emphasis or None, dim=faint or None)

    def notify_style_update(self) -> None:
        """Other colours, or the focus has come or gone."""
        super().notify_style_update()
        self._styles_of = {}
        if self._picture is not None and not self._outdated and self._picture_size == self.size:
            self._repaint(self._draw())

    def validate_smoothing(self, weight: float) -> float:
        """Between none and nearly all."""
        return min(max(weight, 0.0), 0.999)

    def validate_cursor(self, x: float | None) -> float | None:
        """A number, or no cursor."""
        return x if x is not None and abs(x) < float("inf") else None

    def validate_window(self, window: tuple[float, float] | None) -> tuple[float, float] | None:
        """Two numbers in order, or everything."""
        if window is None or not abs(window[0]) < float("inf") > abs(window[1]) or not window[0] < window[1]:
            return None
        return window

    def watch_cursor(self) -> None:
        """Reads at another x."""
        if self._picked is not None and not self._is_there(self._picked):
            self._picked = None
        self._redraw()

    def watch_log_y(self) -> None:
        """Draws with the other scale."""
        self._redraw()

    watch_log_x = watch_smoothing = watch_window = watch_log_y

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is the screen's, unless there is a cursor to take away."""
        return self.cursor is not None if action == "drop_cursor" else True

    def action_move(self, by: int) -> None:
        """To the next point right or left."""
        axis = self._axis()
        if axis is None:
            return
        stops = points(self.curves, self._series, axis, self.log_y)
        if stops:
            self._go(*along_points(stops, self.cursor, self._picked, by))
        else:
            self._go(along_lines(self._series, axis, self._columns(), self.cursor, by))

    def action_end(self, by: int) -> None:
        """To the first or the last point."""
        axis = self._axis()
        stops = points(self.curves, self._series, axis, self.log_y) if axis is not None else []
        if stops:
            self._go(*stops[0 if by < 0 else -1])
        else:
            self._go(end_of(self._series, self.log_x, by))

    def action_drop_cursor(self) -> None:
        """No cursor."""
        self._go(None)

    def action_zoom(self, factor: float) -> None:
        """Nearer or farther, around the cursor or the middle."""
        axis = self._axis()
        if axis is not None:
            inside = self.cursor is not None and axis.value(axis.low) <= self.cursor <= axis.value(axis.high)
            middle = axis.at(1, 3)
            self._zoom(factor, self.cursor if inside and self.cursor is not None else middle)

    def action_show_all(self) -> None:
        """Everything."""
        self._see(None)

    def action_log_y(self) -> None:
        """Logarithmic or linear y."""
        self.log_y = not self.log_y

    def action_log_x(self) -> None:
        """Logarithmic or linear x."""
        self.log_x = not self.log_x

    def action_smooth(self) -> None:
        """More smoothing, or none after the most."""
        self.smoothing = next((weight for weight in SMOOTHINGS if weight > self.smoothing), 0.0)

    def on_click(self, event: events.Click) -> None:
        """Sets the cursor: to the nearest point if there are any, else to the nearest x."""
        place, axis = self._column(event), self._axis()
        if place is None or axis is None or self._picture is None:
            return
        event.stop()
        if self._picture.spots:
            row = event.get_content_offset_capture(self).y - self._picture.top
            spot = min(self._picture.spots, key=lambda spot: (spot[0] - place) ** 2 + 4 * (spot[1] - row) ** 2)
            self._go(self._series[spot[2]].x[spot[3]], (spot[2], spot[3]))
        else:
            self._go(nearest_x(self._series, axis.at(place, self._columns())))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Nearer to what is under the mouse."""
        self._wheel(event, 2.0)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Farther from what is under the mouse."""
        self._wheel(event, 0.5)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        place, axis = self._column(event), self._axis()
        if place is not None and axis is not None:
            event.stop()
            self._zoom(factor, axis.at(place, self._columns()))

    def _column(self, event: events.MouseEvent) -> int | None:
        """The column of the curves' area that the mouse is on."""
        offset = event.get_content_offset(self)
        if offset is None or self._picture is None:
            return None
        column = offset.x - self._picture.left
        return column if 0 <= column < self._picture.width else None

    def _axis(self) -> Axis | None:
        """The horizontal scale, also before anything was drawn."""
        self._take()
        return horizontal(self.curves, self._series, self._view())

    def _columns(self) -> int:
        return self._picture.width if self._picture is not None else max(self.size.width, 1)

    def _go(self, x: float | None, point: tuple[int, int] | None = None) -> None:
        """Moves the cursor, the window after it, and tells."""
        if x == self.cursor and point == self._picked:
            return
        self._held = True  # cursor and window in one drawing
        self._picked, self.cursor = point, x
        axis = self._axis()
        if self.window is not None and x is not None and axis is not None:
            self._see(following(self.window, x, axis))
        self._held = False
        self._redraw()
        self.post_message(self.CursorMoved(self, x, point))

    def _zoom(self, factor: float, around: float) -> None:
        axis, whole = self._axis(), extent(self._series, self.log_x)
        if axis is not None and whole is not None:
            self._see(zoomed(axis, whole, around, factor))

    def _see(self, window: tuple[float, float] | None) -> None:
        if window != self.window:
            self.window = window
            self.post_message(self.WindowMoved(self, self.window))
