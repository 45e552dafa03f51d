"""A list of ready-made lines with a cursor: machines, transfers, the log. Paints the rows in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui import words
from tui.words import Glyphs

Piece = tuple[str, str]
"""Text and the name of its tone: "", "bold", "dim", "safe", "thin", "bad"."""


class Row(NamedTuple):
    """One line. `key` names what it stands for, so that the cursor stays on it."""

    key: str
    pieces: tuple[Piece, ...]


def columns(cells: Sequence[Sequence[Piece]], *, right: Sequence[int] = (), gap: int = 2) -> list[tuple[Piece, ...]]:
    """Cells as aligned columns; those in `right` are aligned to the right."""
    if not cells:
        return []
    widths = [max(cell_len(row[i][0]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        pieces = []
        for i, (text, tone) in enumerate(row):
            padded = " " * (widths[i] - cell_len(text)) + text if i in right else set_cell_size(text, widths[i])
            pieces.append((padded.rstrip() if i == len(row) - 1 else padded + " " * gap, tone))
        lines.append(tuple(pieces))
    return lines


class Rows(ScrollView, can_focus=True):
    """A list."""

    DEFAULT_CSS = """
    Rows {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        & > .rows--bold { text-style: bold; }
        & > .rows--dim { color: $text-muted; }
        & > .rows--safe { color: $success; }
        & > .rows--thin { color: $warning; }
        & > .rows--bad { color: $error; text-style: bold; }
        & > .rows--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .rows--cursor-blurred { background: $panel; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--bold", "rows--dim", "rows--safe", "rows--thin", "rows--bad", "rows--cursor", "rows--cursor-blurred",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False, id="row_up"),
        Binding("down,j", "move(1)", "down", show=False, id="row_down"),
        Binding("pageup,ctrl+u", "turn(-1)", "page up", show=False, id="row_page_up"),
        Binding("pagedown,ctrl+d", "turn(1)", "page down", show=False, id="row_page_down"),
        Binding("home", "go(0)", "first", show=False, id="row_first"),
        Binding("end", "go(-1)", "last", show=False, id="row_last"),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)

    class Highlighted(Message):
        """The cursor is on another row."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._rows: list[Row] = []
        self._empty = ""
        self.follows = False
        """Whether it stays at its end while the cursor is on the last row."""

    def show(self, rows: Sequence[Row], *, empty: str = "") -> None:
        """Show `rows`; the cursor stays on what it was on."""
        if list(rows) == self._rows and empty == self._empty:
            return
        key = self.key
        at_end = self.cursor >= len(self._rows) - 1
        self._rows, self._empty = list(rows), empty
        self.virtual_size = Size(1, max(1, len(self._rows)))
        if self.follows and at_end:
            self.cursor = max(0, len(self._rows) - 1)
            self.scroll_end(animate=False, immediate=True)
        else:
            found = next((i for i, row in enumerate(self._rows) if row.key == key), self.cursor)
            self.cursor = found
        self.refresh()

    @property
    def key(self) -> str | None:
        """What the cursor is on."""
        return self._rows[self.cursor].key if self.cursor < len(self._rows) else None

    def validate_cursor(self, row: int) -> int:
        """Within the list."""
        return max(0, min(len(self._rows) - 1, row))

    def watch_cursor(self, _old: int, new: int) -> None:
        """Repaint."""
        self.scroll_to_line(new)
        self.refresh()
        self.post_message(self.Highlighted())

    def scroll_to_line(self, row: int) -> None:
        """Bring a row into sight."""
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if row < top:
            self.scroll_to(y=row, animate=False, immediate=True)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False, immediate=True)

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The cursor looks different."""
        super().watch_has_focus(_has_focus)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row in sight."""
        width = self.scrollable_content_region.width
        row = y + self.scroll_offset.y
        base = self.rich_style
        if row >= len(self._rows):
            text = self._empty if row == 0 and not self._rows else ""
            segments = [Segment(words.clip(text, width, self._glyphs), base + self._style("dim"))]
            return Strip(segments).adjust_cell_length(width, base)
        segments = [Segment(text, base + self._style(tone) if tone else base) for text, tone in self._rows[row].pieces]
        strip = Strip(segments)
        if strip.cell_length > width:
            strip = Strip([*strip.crop(0, width - 1), Segment(self._glyphs.ellipsis, base)])
        strip = strip.adjust_cell_length(width, base)
        if row == self.cursor:
            strip = Strip(Segment.apply_style(strip, post_style=self._cursor_style()), width)
        return strip

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"rows--{name}")

    def _cursor_style(self) -> Style:
        if not self.has_focus:
            return Style(bgcolor=self._style("cursor-blurred").bgcolor)
        if self.app.no_color:
            return Style(color="black", bgcolor="white", bold=True)
        style = self._style("cursor")
        if self.app.native_ansi_color:
            return Style(color=style.color, bgcolor=style.bgcolor, bold=True)
        return Style(bgcolor=style.bgcolor, bold=True)

    def action_move(self, rows: int) -> None:
        """Up or down."""
        self.cursor += rows

    def action_turn(self, pages: int) -> None:
        """By a screen."""
        self.cursor += pages * max(1, self.size.height - 1)

    def action_go(self, row: int) -> None:
        """To the first or last row."""
        self.cursor = len(self._rows) - 1 if row < 0 else row

    def on_click(self, event: events.Click) -> None:
        """The cursor goes where the mouse was."""
        self.focus()
        if event.y + self.scroll_offset.y < len(self._rows):
            self.cursor = event.y + self.scroll_offset.y
