"""Find: files by words of their names, as they are typed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from p2pstore.control.faults import Failure
from tui import words
from tui.dialogs.box import Box
from tui.widgets.rows import Row, Rows, columns
from tui.widgets.said import Said, assemble
from tui.words import Glyphs

if TYPE_CHECKING:
    from tui.link import Link

FOUND_MAX: Final = 100
REST_S: Final = 0.15
"""A search begins when the typing pauses."""


class Find(Box[bytes]):
    """Leaves with the path that was chosen."""

    DEFAULT_CSS = "Find Rows { height: 10; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "step(1)", "next", show=False, priority=True, id="find_next"),
        Binding("up", "step(-1)", "previous", show=False, priority=True, id="find_previous"),
    ]

    def __init__(self, link: Link, glyphs: Glyphs) -> None:
        super().__init__()
        self._link = link
        self._glyphs = glyphs
        self._found: list[Mapping[str, Any]] = []

    def compose(self) -> ComposeResult:
        """A line, what was found, and how many."""
        with Vertical(classes="box") as box:
            box.border_title = "Find"
            field = Input(placeholder="words of the name", id="words")
            field.cursor_blink = False
            yield field
            yield Rows(self._glyphs, id="found")
            yield Said(id="find-count")

    def on_mount(self) -> None:
        """Begin to type."""
        super().on_mount()
        self.query_one(Rows).can_focus = False
        self.query_one(Input).focus()
        self._say("")

    def _say(self, text: str) -> None:
        keys: list[str | tuple[str, str]] = [(self._glyphs.enter, "bold $accent"), " go there   "]
        keys += [("esc", "bold $accent"), " leave   "]
        self.query_one("#find-count", Said).say(assemble(*keys, (text, "$foreground-muted")))

    def on_input_changed(self, message: Input.Changed) -> None:
        """Search again."""
        self.run_worker(self._search(message.value.split()), group="find", exclusive=True)

    async def _search(self, wanted: list[str]) -> None:
        await asyncio.sleep(REST_S)
        found: list[Mapping[str, Any]] = []
        if wanted:
            try:
                args = {"words": wanted, "limit": FOUND_MAX}
                async with aclosing(self._link.stream("search", args)) as items:
                    async for item in items:
                        found += item["entries"]
            except Failure as failure:
                self._say(failure.fault.what)
                return
        self._found = found
        cells = [[(f" {words.shown(one['path'])}", ""), (_figure(one), "dim")] for one in found]
        rows = self.query_one(Rows)
        rows.show([Row(str(i), line) for i, line in enumerate(columns(cells, right=(1,)))])
        rows.cursor = 0
        more = " or more" if len(found) >= FOUND_MAX else ""
        self._say(f"{words.count(len(found), 'result')}{more}" if wanted else "")

    def action_step(self, rows: int) -> None:
        """Another result."""
        self.query_one(Rows).cursor += rows

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        """Go there."""
        key = self.query_one(Rows).key
        if key is not None:
            self.dismiss(self._found[int(key)]["path"])


def _figure(one: Mapping[str, Any]) -> str:
    return words.size(one["size"]) if one["kind"] == "file" else str(one["kind"])
