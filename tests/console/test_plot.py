"""The plot: its picture at every size, and the widget driven by keys and mouse."""

from __future__ import annotations

import math
import random
from array import array
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from lctui.console.picture import View, draw
from lctui.console.series import Series
from lctui.console.widgets.plot import Curve, Plot
from tests.console.editor_app import piloted

STEPS = list(range(1, 31))
ERRORS = [
    Curve("train", STEPS, [30 * math.exp(-i / 3) for i in STEPS], "#4a9fd8"),
    Curve("validation", STEPS, [0.4 + 33 * math.exp(-i / 3.5) for i in STEPS], "orange"),
    Curve("test", STEPS, [0.5 + 35 * math.exp(-i / 4) for i in STEPS], "ansi_green", emphasis=True),
]
RATIOS, TESTS = [10.0, 20.0, 20.0, 80.0], [1.0, 0.5, 2.0, 4.0]
SCATTER = [
    Curve("front", [20, 80], [0.5, 4], "#999999"),
    Curve("runs", RATIOS, TESTS, "#4a9fd8", "points", labels=["one", "two", "three", "four"]),
]
SIZES = [(120, 40), (80, 24), (60, 20), (30, 8), (12, 4), (5, 2), (1, 1), (0, 0)]


def pictured(curves: list[Curve], width: int = 80, height: int = 24, **view: Any) -> list[str]:
    """The rows of a picture as text."""
    series = [Series(curve.x, curve.y) for curve in curves]
    picture = draw(curves, series, View(width, height, **view))
    return ["".join(text for text, _ in row) for row in picture.rows]


BAD = {
    "nothing": [],
    "no points": [Curve("a", [], [], "red")],
    "one point": [Curve("a", [3], [2.0], "red")],
    "constant": [Curve("a", STEPS, [0.25] * 30, "red")],
    "zeros": [Curve("a", STEPS, [0.0] * 30, "red")],
    "no numbers": [Curve("a", STEPS, [math.nan] * 30, "red")],
    "infinite": [Curve("a", STEPS, [math.inf, -math.inf] * 15, "red")],
    "huge": [Curve("a", STEPS, [1e299, -1e299] * 15, "red")],
    "same x": [Curve("a", [5] * 4, [1, 2, 3, 4], "red")],
    "x is no number": [Curve("a", [1, math.nan, 3], [1, 2, 3], "red")],
    "points": SCATTER,
    "errors": ERRORS,
    "wide names": [Curve("網絡" * 30, STEPS, STEPS, "red"), Curve("\x1b[31m", STEPS, STEPS, "no colour")],
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii", [False, True])
def test_every_picture_has_its_size(name: str, size: tuple[int, int], ascii: bool) -> None:
    width, height = size
    for options in ({}, {"log_y": True, "log_x": True}, {"smoothing": 0.9, "cursor": 3.0}, {"window": (2.5, 2.75)}):
        rows = pictured(BAD[name], width, height, title="error %", x_title="LC step", ascii=ascii, **options)
        assert len(rows) == height
        assert all(cell_len(row) == width for row in rows)
        assert all(row.isprintable() for row in rows)
        assert not ascii or all(row.isascii() for row in rows)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("nothing", {}, "no steps yet"),
        ("no points", {}, "no steps yet"),
        ("no numbers", {}, "no values"),
        ("zeros", {"log_y": True}, "no values above zero"),
        ("errors", {"window": (90.0, 99.0)}, "no values here"),
    ],
)
def test_an_empty_plot_says_why(name: str, options: dict[str, Any], words: str) -> None:
    assert words in "\n".join(pictured(BAD[name], **options))


def test_what_a_log_axis_leaves_out_is_counted() -> None:
    rows = pictured([Curve("a", STEPS, [0.0, -1.0, *range(1, 29)], "red")], log_y=True)
    assert "2 ≤ 0 left out" in rows[0] and "log" in rows[0]


def test_parts_are_dropped_as_it_gets_small() -> None:
    large = pictured(ERRORS, 80, 24, title="error %", x_title="LC step")
    assert large[0].startswith("error %  a train  b validation  c test")
    assert (
        "┤" in "".join(large)
        and large[-2].endswith("LC step")
        and large[-1].split() == ["5", "10", "15", "20", "25", "30"]
    )
    assert "─" not in "".join(pictured(ERRORS, 30, 8)) and "┤" in "".join(pictured(ERRORS, 30, 8))
    tiny = "".join(pictured(ERRORS, 12, 4, title="error %"))
    assert "│" not in tiny and "error" not in tiny and "c" in tiny
    beside = pictured([Curve(f"a rather long name {i}", STEPS, STEPS, "red") for i in range(60)], 120, 40)
    assert "a a rather long name 0" in beside[1] and "+24 more" in "".join(beside)


def test_the_cursor_reads_every_curve() -> None:
    curves = [*ERRORS, Curve("late", [20, 30], [1, 1], "red")]
    row = pictured(curves, 120, 24, x_title="LC step", cursor=8.0)[0]
    assert row.split("  ")[:5] == ["LC step 8", "a train 2.085", "b validation 3.756", "c test 5.237", "d late –"]
    assert "20.97" not in row
    assert "a train 2.085" in pictured(ERRORS, 120, 24, cursor=8.2)[0]  # the nearest step, never one in between


def test_meaning_does_not_depend_on_colour() -> None:
    rows = pictured(ERRORS, 60, 20, log_y=True)
    body = "".join(row[8:] for row in rows[1:-2])
    assert {"a", "b", "c"} <= set(body)
    ascii_body = "".join(row[8:] for row in pictured(ERRORS, 60, 20, log_y=True, ascii=True)[1:-2])
    assert set(ascii_body) <= set("abc ")
    many = [Curve(f"p{i}", [i], [i], "red", "points") for i in range(20)]
    signs = [name[0] for name in pictured(many, 300, 20)[0].split("  ") if " p" in name]
    assert len(set(signs)) == 20


def test_labels_stand_where_nothing_else_does() -> None:
    rows = pictured(SCATTER, 80, 24)
    assert all(any(label in row for row in rows) for label in ("one", "two", "three", "four"))
    crowd = [Curve("runs", [1] * 9, [1] * 9, "red", "points", labels=["name"] * 9)]
    assert sum(row.count("name") for row in pictured(crowd, 80, 24)) <= 4


def test_a_picture_with_another_cursor_is_the_same_as_a_new_one() -> None:
    series = [Series(curve.x, curve.y) for curve in ERRORS]
    before = draw(ERRORS, series, View(80, 24))
    for cursor in (None, 3.0, 30.0):
        again = draw(ERRORS, series, View(80, 24, cursor=cursor), before)
        assert again.painter is before.painter
        assert again.rows == draw(ERRORS, series, View(80, 24, cursor=cursor)).rows
    assert draw(ERRORS, series, View(80, 24, log_y=True), before).painter is not before.painter


class PlotApp(App[None]):
    """Two plots, and what they say."""

    CSS = "Plot { border: round $primary; }"

    def __init__(self, ascii: bool = False) -> None:
        super().__init__()
        self.ascii = ascii
        self.moves: list[Plot.CursorMoved] = []
        self.windows: list[Plot.WindowMoved] = []

    def compose(self) -> ComposeResult:
        yield Plot(ascii=self.ascii, id="one")
        yield Plot(ascii=self.ascii, id="two")

    @property
    def one(self) -> Plot:
        return self.query_one("#one", Plot)

    @property
    def two(self) -> Plot:
        return self.query_one("#two", Plot)

    def on_plot_cursor_moved(self, event: Plot.CursorMoved) -> None:
        self.moves.append(event)
        for plot in self.query(Plot):
            plot.cursor = event.x

    def on_plot_window_moved(self, event: Plot.WindowMoved) -> None:
        self.windows.append(event)
        for plot in self.query(Plot):
            plot.window = event.window


async def begin(pilot: Pilot[None], curves: list[Curve] = ERRORS) -> PlotApp:
    """Both plots show the same."""
    app = pilot.app
    assert isinstance(app, PlotApp)
    for plot in app.query(Plot):
        plot.show(curves, title="error %", x_title="LC step", now=True)
    app.one.focus()
    await pilot.pause()
    return app


def lines(plot: Plot) -> list[str]:
    """What is on the screen where the plot is."""
    region = plot.content_region
    rows = plot.screen._compositor.render_strips()
    return [rows[y].crop(region.x, region.right).text for y in range(region.y, region.bottom)]


@pytest.mark.parametrize("size", [(120, 40), (60, 20), (30, 16), (14, 12), (3, 6)])
@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark", "ansi-light"])
@piloted
async def test_it_shows_in_every_theme_and_size(size: tuple[int, int], theme: str) -> None:
    async with PlotApp().run_test(size=size) as pilot:
        app = await begin(pilot)
        app.theme = theme
        await pilot.press("right", "plus", "g", "w", "minus", "G")
        await pilot.pause()
        for plot in (app.one, app.two):
            assert [len(row) for row in lines(plot)] == [plot.size.width] * plot.size.height


@piloted
async def test_no_color_leaves_letters() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        app = PlotApp()
    async with app.run_test(size=(80, 40)) as pilot:
        await begin(pilot)
        styles = [segment.style for y in range(app.one.size.height) for segment in app.one.render_line(y)]
        assert any(style and style.color and style.color.triplet for style in styles)
        shown = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        triplets = {style.color.triplet for style in shown if style and style.color and style.color.triplet}
        assert all(len({*triplet}) == 1 for triplet in triplets)  # greys
        assert "c test" in lines(app.one)[0]


@piloted
async def test_the_cursor_walks_and_plots_follow_without_echo() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        await pilot.press("right", "right", "right")
        assert [move.x for move in app.moves] == [1, 2, 3]
        await pilot.press("left", "end", "end", "right", "home")
        assert [move.x for move in app.moves[3:]] == [2, 30, 1]
        assert app.one.cursor == app.two.cursor == 1
        assert all(move.plot is app.one for move in app.moves)
        assert "LC step 1 " in lines(app.two)[0]
        await pilot.press("escape")
        assert app.two.cursor is None and app.moves[-1].x is None
        app.one.cursor = 7.0
        await pilot.pause()
        assert "LC step 7 " in lines(app.one)[0] and len(app.moves) == 7
        app.one.cursor = math.nan
        assert app.one.cursor is None


@piloted
async def test_zoom_keeps_the_cursor_in_view_and_ends_at_everything() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        await pilot.press("home", *["right"] * 9, "plus", "plus")
        assert app.one.window is not None and app.one.window == app.two.window
        low, high = app.one.window
        assert low < 10 < high and high - low == pytest.approx(29 / 4)
        for _ in range(12):
            await pilot.press("right")
        assert app.one.cursor is not None
        low, high = app.one.window
        assert low <= app.one.cursor <= high and high - low == pytest.approx(29 / 4)
        assert "zoom" in lines(app.one)[0]
        await pilot.press(*["minus"] * 4)
        assert app.one.window is None and app.two.window is None
        await pilot.press(*["plus"] * 40)
        assert "no values" not in "".join(lines(app.one))
        await pilot.press("0")
        assert app.one.window is None
        count = len(app.windows)
        app.one.window = (5, 3)
        assert app.one.window is None
        app.one.window = (3, 5)
        await pilot.pause()
        assert len(app.windows) == count


@piloted
async def test_scales_and_smoothing() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        await pilot.press("g")
        assert app.one.log_y and "log" in lines(app.one)[0]
        found = []
        for _ in range(4):
            await pilot.press("w")
            found.append(app.one.smoothing)
        assert found == [0.6, 0.9, 0.97, 0]
        await pilot.press("w")
        await pilot.pause()
        assert "smooth 0.6" in lines(app.one)[0]
        app.one.smoothing = 7
        assert app.one.smoothing < 1


@piloted
async def test_points_are_walked_one_by_one() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot, SCATTER)
        await pilot.press("right", "right", "right", "right", "right")
        assert [(move.x, move.point) for move in app.moves] == [
            (10, (1, 0)), (20, (1, 1)), (20, (1, 2)), (80, (1, 3)),
        ]  # fmt: skip
        await pilot.press("left")
        await pilot.pause()
        assert "LC step 20 three" in lines(app.one)[0] and "runs 2" in lines(app.one)[0]
        app.one.cursor = 10.0
        await pilot.press("right")
        assert app.moves[-1].point == (1, 1)


@piloted
async def test_the_mouse_sets_the_cursor_and_zooms() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        await pilot.click("#one", offset=(98, 8))
        assert app.one.cursor == 30
        await pilot.click("#one", offset=(9, 8))
        assert app.one.cursor == 1
        await pilot.click("#one", offset=(3, 8))  # on the axis
        assert app.one.cursor == 1
        await pilot._post_mouse_events([events.MouseScrollUp], "#one", (50, 8), button=0)
        await pilot.pause()
        assert app.one.window is not None and app.one.window[0] > 1
        app = await begin(pilot, SCATTER)
        app.one.window = None
        await pilot.pause()
        picture = app.one._picture
        assert picture is not None
        column, row, _, _ = next(spot for spot in picture.spots if spot[3] == 2)
        await pilot.click("#one", offset=(1 + picture.left + column, 1 + picture.top + row))
        assert app.moves[-1].point == (1, 2)


@piloted
async def test_new_numbers_are_drawn_at_most_twice_a_second_and_the_last_ones_always() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        for i in range(2, 40):
            app.one.show([Curve("a", range(i), [1.0] * i, "red")])
        drawn = app.one._drawn
        assert drawn[0].name == "train"
        await pilot.press("right")  # a key draws at once, and what is newest
        assert app.one._drawn[0].name == "a" and len(app.one._series[0]) == 39
        app.one.show([Curve("b", [1], [1.0], "red")])
        while app.one._drawn[0].name != "b":  # by itself
            await pilot.pause(0.02)


@piloted
async def test_only_lines_that_changed_are_repainted() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        app = await begin(pilot)
        repainted: list[int] = []
        whole = app.one.refresh

        def refresh(*regions: Any, **options: Any) -> Any:
            repainted.extend(region.y for region in regions)
            assert regions
            return whole(*regions, **options)

        app.one.refresh = refresh  # type: ignore[method-assign]
        app.one.show(ERRORS, title="error %", x_title="LC step", now=True)
        assert repainted == []
        app.one.show(ERRORS, title="another", x_title="LC step", now=True)
        assert repainted == [0]
        del app.one.refresh  # leaving repaints all


@piloted
async def test_arrays_may_grow_under_a_plot() -> None:
    async with PlotApp().run_test(size=(100, 40)) as pilot:
        x, y = array("d", [1, 2]), array("d", [5, 6])
        app = await begin(pilot, [Curve("a", x, y, "red")])
        x.extend(range(3, 5000))
        y.extend(random.Random(0).random() for _ in range(4997))
        await pilot.press("end")
        assert app.one.cursor == 2
        app.one.show([Curve("a", x, y, "red")], now=True)
        del x[3:], y[3:]
        await pilot.press("end")
        assert app.one.cursor == 4999


def test_bindings_say_what_they_do() -> None:
    assert all(binding.description for binding in Plot.BINDINGS)  # type: ignore[union-attr]
    assert Plot.can_focus
