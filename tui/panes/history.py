"""History: the versions of the file under the cursor in Files, and the trash."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from p2pstore.control.faults import Failure
from tui import words
from tui.panes.pane import Pane
from tui.widgets.rows import Piece, Row, Rows, columns
from tui.widgets.said import Said, assemble

VERSIONS_MAX: Final = 500
TRASH_MAX: Final = 1000
"""Lines that are fetched: more than a person reads; `p2pstore history` and `trash` list all."""

VERSIONS_SHOWN: Final = 10


class HistoryPane(Pane):
    """Versions above, the trash below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "restore", "bring back", id="restore"),
        Binding("c", "copy", "copy command", id="copy_restore"),
        Binding("tab", "app.focus_next", "other list", id="history_other"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._path: bytes | None = None
        self._versions: list[Mapping[str, Any]] = []
        self._trash: list[Mapping[str, Any]] = []
        self._asked: tuple[bytes | None, int] | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        """Two lists with a line above each."""
        yield Said(id="versions-header", classes="header")
        yield Rows(self.home.glyphs, id="versions")
        yield Said(id="trash-header", classes="header")
        yield Rows(self.home.glyphs, id="trash")

    def take_focus(self) -> None:
        """The versions."""
        self.query_one("#versions", Rows).focus()

    def paint(self) -> None:
        """Ask again when another file is under the cursor, or anything has changed."""
        model = self.home.model
        path = self.home.files.listing.here if self.home.main.query("FilesPane") else None
        asked = (path, model.revision)
        if model.standing.kind == "live" and asked != self._asked:
            self._asked = asked
            if path != self._path:
                self._path, self._versions = path, []
            self.run_worker(self._ask(path), group="history", exclusive=True)
        self._say()

    async def _ask(self, path: bytes | None) -> None:
        self._problem = ""
        try:
            if path is not None:
                self._versions = await self._all("history", {"path": path, "limit": VERSIONS_MAX}, "versions")
            self._trash = await self._all("trash", {"action": "ls", "limit": TRASH_MAX}, "entries")
        except Failure as failure:
            self._problem = failure.fault.what
        self._say()

    async def _all(self, op: str, args: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        async with aclosing(self.home.link.stream(op, args)) as items:
            async for item in items:
                found += item[key]
        return found

    def _say(self) -> None:
        name = words.shown(self._path) if self._path is not None else "nothing under the cursor in Files"
        self.query_one("#versions-header", Said).say(
            assemble((f" Versions of {name}", "bold"), ("   press 1 to choose another", "$foreground-muted"))
        )
        now_s = self.home.now()
        versions = columns([self._version(one, now_s) for one in self._versions], right=(0, 3))
        rows = self.query_one("#versions", Rows)
        rows.show(
            [Row(str(one["number"]), line) for one, line in zip(self._versions, versions, strict=True)],
            empty=f" {self._problem or 'no versions'}",
        )
        rows.styles.height = max(1, min(VERSIONS_SHOWN, len(versions), self.app.size.height // 2 - 4))
        self.query_one("#trash-header", Said).say(
            assemble((f" Trash: {words.count(len(self._trash), 'thing')}", "bold"))
        )
        trash = columns([self._buried(one, now_s) for one in self._trash], right=(1,))
        self.query_one("#trash", Rows).show(
            [Row(str(i), line) for i, line in enumerate(trash)], empty=" the trash is empty"
        )

    def _version(self, one: Mapping[str, Any], now_s: float) -> list[Piece]:
        when = words.moment(one["when_ms"] / 1000, now_s)
        state = "now" if one.get("current") else "" if one.get("restorable", True) else "its bytes are not at hand"
        return [
            (f" v{one['number']}", "dim"),
            (when, "bold" if one.get("current") else ""),
            (str(one["machine"]), ""),
            ("" if one.get("deleted") else words.size(one.get("size")), ""),
            (str(one.get("change", "")), "dim"),
            (state, "safe" if one.get("current") else "thin"),
        ]

    def _buried(self, one: Mapping[str, Any], now_s: float) -> list[Piece]:
        figure = words.size(one.get("size"))
        if one["kind"] == "folder":
            figure = "with all in it" if one.get("with_contents") else "folder"
        when = words.moment(one["when_ms"] / 1000, now_s)
        return [(f" {words.shown(one['path'])}", ""), (figure, "dim"), (f"by {one['machine']}", "dim"), (when, "dim")]

    def _chosen(self) -> tuple[bytes, int | None] | None:
        """(path, version), or (path, None) for something in the trash."""
        trash = self.query_one("#trash", Rows)
        if trash.has_focus:
            return (self._trash[int(trash.key)]["path"], None) if trash.key is not None else None
        key = self.query_one("#versions", Rows).key
        return (self._path, int(key)) if key is not None and self._path is not None else None

    def action_restore(self) -> None:
        """Bring back what the cursor is on."""
        chosen = self._chosen()
        if chosen is None:
            return
        path, number = chosen
        if number is None:
            self.home.put_back(path)
        else:
            self.home.ask_restore(path, number)

    def action_copy(self) -> None:
        """The command that brings it back."""
        if (chosen := self._chosen()) is not None:
            path, number = chosen
            name = words.shown(path)
            self.home.copy(f"p2pstore restore '{name}'" if number is None else f"p2pstore restore '{name}@{number}'")
