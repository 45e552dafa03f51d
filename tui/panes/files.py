"""Files: the tree on the left, and what is known of the one under the cursor on the right."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from p2pstore.control.faults import Failure
from tui import words
from tui.panes.pane import Pane
from tui.widgets.listing import HEALTH_EVERY_S, Entry, Listing
from tui.widgets.preview import IMAGE_BYTES_MAX, TEXT_BYTES, Preview, decode_image, is_image, text_lines
from tui.widgets.said import Said, assemble

CHUNKS_ASKED: Final = 64
"""Chunks whose holders are shown: the beginning of a long file stands for the rest."""

MACHINES_SHOWN: Final = 12

LOOK_AGAIN_AFTER_S: Final = 0.25
"""A preview is fetched once the cursor has rested a little longer than for the facts."""

Parts = list[str | tuple[str, str]]


class FilesPane(Pane):
    """The tree and the detail of one file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "get", "get", id="get"),
        Binding("p", "put", "put", id="put"),
        Binding("n", "mkdir", "new folder", id="mkdir"),
        Binding("m", "rename", "move", id="rename"),
        Binding("x", "trash", "trash", id="trash"),
        Binding("i", "info", "info", id="info"),
        Binding("c", "copy", "copy command", show=False, id="copy_get"),
        Binding("z", "undo", "put the last trash back", show=False, id="undo_trash"),
        Binding("escape", "unmark", "unmark all", show=False, id="unmark"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._revision = -1
        self._news = -1
        self._shown: bytes | None = None
        self._info = False
        self._titles = ("", "")

    def compose(self) -> ComposeResult:
        """List and detail."""
        with Horizontal():
            with Vertical(id="list-frame", classes="frame"):
                yield Listing(self.home.link_call, self.home.glyphs, id="listing")
            with Vertical(id="detail-frame", classes="frame"):
                yield Said(id="facts")
                yield Preview(self.home.glyphs, id="preview")

    def take_focus(self) -> None:
        """The list."""
        self.listing.focus()

    @property
    def listing(self) -> Listing:
        """The tree."""
        return self.query_one(Listing)

    def on_resize(self) -> None:
        """One pane or two."""
        self._arrange()

    def _arrange(self) -> None:
        wide = self.app.size.width >= 100
        self.query_one("#list-frame").display = wide or not self._info
        self.query_one("#detail-frame").display = wide or self._info

    def action_info(self) -> None:
        """On a narrow screen: list or detail."""
        self._info = not self._info
        self._arrange()
        if self._shown is not None and self._info:
            self._look(self._shown)
        (self.query_one(Preview) if self._info and self.app.size.width < 100 else self.listing).focus()

    def paint(self) -> None:
        """Fetch what has changed; say where the cursor is."""
        model = self.home.model
        if model.standing.kind == "live" and model.revision != self._revision:
            self._revision = model.revision
            if not self.listing.is_loaded:
                self.run_worker(self._load(), group="load", exclusive=True)
            else:
                self.listing.renew()
        if model.standing.kind == "live" and model.news != self._news:
            self._news = model.news
            self.listing.renew_health()
            if self._shown is not None and self._place is not None:
                self.run_worker(self._renew_place(self._shown), group="place", exclusive=True)
        self.set_class(model.standing.kind == "gone", "gone")
        self._paint_frame()

    def forget(self) -> None:
        """Another daemon counts its changes anew."""
        self._revision = self._news = -1

    async def _load(self) -> None:
        await self.listing.load()
        if not self.listing.root.total:
            self._show_empty()

    def _paint_frame(self) -> None:
        listing = self.listing
        total = listing.root.total
        marked = f"{len(listing.marked)} marked  " if listing.marked else ""
        place = f"{marked}{min(listing.cursor + 1, total):,}/{total:,}" if total else marked
        titles = (words.shown(listing.folder_here), place)
        if titles != self._titles:  # each of them repaints the whole frame, even when it stays the same
            before, self._titles = self._titles, titles
            frame = self.query_one("#list-frame")
            if titles[0] != before[0]:
                frame.border_title = Text(titles[0])  # a name is no markup
            if titles[1] != before[1]:
                frame.border_subtitle = titles[1]
        if listing.is_loaded and not total:
            self._show_empty()

    def _show_empty(self) -> None:
        self._shown = None
        self.query_one("#facts", Said).say(assemble(""))
        self.query_one(Preview).show_text([])

    def on_listing_moved(self, _message: Listing.Moved) -> None:
        """Another position, or other marks."""
        self._paint_frame()
        if self._shown is not None:
            self._paint_head(self._shown)

    def on_listing_highlighted(self, message: Listing.Highlighted) -> None:
        """The cursor rests: look at what is there."""
        if self._shown != message.path:
            self._shown = message.path
            self._place: Mapping[str, Any] | None = None
            self._paint_head(message.path)
            if self.query_one("#detail-frame").display:
                self._look(message.path)

    def on_listing_chosen(self, _message: Listing.Chosen) -> None:
        """Enter on a file shows it."""
        if self.app.size.width < 100:
            self.action_info()

    # --- detail -----------------------------------------------------------------------------------------------------

    _place: Mapping[str, Any] | None = None

    def _look(self, path: bytes) -> None:
        entry = self.listing.entry_of(path)
        preview = self.query_one(Preview)
        preview.show_text([])
        if entry is None or entry.kind == "folder":
            return
        self.run_worker(self._fetch_detail(path, entry), group="detail", exclusive=True)

    async def _fetch_detail(self, path: bytes, entry: Entry) -> None:
        try:
            self._place = await self.home.link.call("where", {"path": path, "limit": CHUNKS_ASKED})
        except Failure as failure:
            self.query_one(Preview).show_text([failure.fault.what])
            return
        if path != self._shown:
            return
        self._paint_head(path)
        await asyncio.sleep(LOOK_AGAIN_AFTER_S)
        await self._fetch_preview(path, entry)

    async def _renew_place(self, path: bytes) -> None:
        """Who holds what may have changed; the preview stays."""
        await asyncio.sleep(HEALTH_EVERY_S)
        try:
            place = await self.home.link.call("where", {"path": path, "limit": CHUNKS_ASKED})
        except Failure:
            return  # what is shown stays; the next news ask again
        if path == self._shown:
            self._place = place
            self._paint_head(path)

    async def _fetch_preview(self, path: bytes, entry: Entry) -> None:
        preview = self.query_one(Preview)
        image = is_image(entry.name)
        if image and entry.size > IMAGE_BYTES_MAX:
            preview.show_text([f"an image of {words.size(entry.size)}: too large to fetch for a look"])
            return
        try:
            data = await self._read(path, entry.size if image else min(entry.size, TEXT_BYTES))
        except Failure as failure:
            preview.show_text([f"cannot be read: {failure.fault.what}"])
            return
        if image:
            try:
                pixels = await asyncio.to_thread(decode_image, data)
            except ValueError as error:
                pixels, complaint = None, str(error)
            if path == self._shown:
                if pixels is not None:
                    preview.show_image(pixels)
                else:
                    preview.show_text([complaint])
            return
        lines = text_lines(data)
        if path == self._shown:
            preview.show_text(lines if lines is not None else ["no text and no image: nothing to look at"])

    async def _read(self, path: bytes, length: int) -> bytes:
        found = bytearray()
        args = {"path": path, "offset": 0, "length": length}
        async with aclosing(self.home.link.stream("cat", args)) as pieces:
            async for piece in pieces:
                found += piece["data"]
        return bytes(found)

    def _paint_head(self, path: bytes) -> None:
        entry = self.listing.entry_of(path)
        if entry is None:
            return
        glyphs, now_s = self.home.glyphs, self.home.now()
        columns = self.app.size.width
        width = (columns // 2 if columns >= 100 else columns) - 4
        parts: Parts = [(words.clip(words.shown(path), width, glyphs) + "\n", "bold")]
        if entry.kind == "folder":
            parts += [("folder", "$foreground-muted"), "   ", (glyphs.enter, "bold $accent"), " opens it\n"]
        else:
            state = self.listing.health_of(path)
            changed = words.moment(entry.mtime_ns / 1e9, now_s)
            parts.append((f"{words.size(entry.size)} {glyphs.dot} {changed}", "$foreground-muted"))
            if state is not None:
                word = f"{words.WORDS[state]} {glyphs.of(state)}"
                parts += [f" {glyphs.dot} ", (word, f"bold {words.VARIABLES.get(state, '')}")]
            parts.append("\n")
            if entry.conflict:
                parts.append(("another version of the same name was written at the same time\n", "$warning"))
            if self._place is not None:
                parts += shard_map(self._place, entry, glyphs, self.home.now())
        self.query_one("#facts", Said).say(assemble(*parts))

    # --- actions ----------------------------------------------------------------------------------------------------

    def action_unmark(self) -> None:
        """No marks."""
        self.listing.unmark()

    def action_copy(self) -> None:
        """The command that fetches what is chosen."""
        chosen = self.listing.chosen()
        if chosen:
            paths = " ".join(shlex.quote(os.fsdecode(path)) for path in chosen)
            self.home.copy(f"p2pstore get -r {paths} .")

    def action_get(self) -> None:
        """Fetch to this machine."""
        if chosen := self.listing.chosen():
            self.home.ask_get(chosen)

    def action_put(self) -> None:
        """Store from this machine."""
        self.home.ask_put(self.listing.folder_here)

    def action_mkdir(self) -> None:
        """A new folder."""
        self.home.ask_mkdir(self.listing.folder_here)

    def action_rename(self) -> None:
        """Another name, or another place."""
        if chosen := self.listing.chosen():
            self.home.ask_move(chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's
        """Undo where the daemon can."""
        return self.home.model.knows("trash") if action == "undo" else True

    def action_undo(self) -> None:
        """Out of the trash again."""
        self.home.actions.undo()

    def action_trash(self) -> None:
        """To the trash, when confirmed."""
        if chosen := self.listing.chosen():
            self.home.ask_trash(chosen)


def shard_map(place: Mapping[str, Any], entry: Entry, glyphs: words.Glyphs, now_s: float) -> Parts:
    """Which machine holds what of a file, and how many of its shards are needed."""
    chunks = place.get("chunks") or []
    if place.get("inline") or not chunks:
        names = list(place.get("commit_on") or ())
        what = "a small file: its bytes travel with its name" if entry.kind == "file" else "a link"
        parts: Parts = [(f"\nON {words.count(len(names), 'machine')}   ", "bold"), (what + "\n", "$foreground-muted")]
        return parts + [piece for name in names for piece in (" ", (glyphs.shard, "$success"), f" {name}\n")]
    parts = [("\nSHARDS ", "bold"), _code_of(chunks) + "\n"]
    machines: dict[str, list[Mapping[str, Any]]] = {}
    for chunk in chunks:
        for shard in chunk["shards"]:
            machines.setdefault(str(shard["peer"]), []).append(shard)
    for name in sorted(machines)[:MACHINES_SHOWN]:
        shards = machines[name]
        if shards[0]["state"] != "away":
            mark, said = (glyphs.shard, "$success"), _checked(shards, now_s)
        else:
            mark, said = (glyphs.no_shard, "$warning"), f"away, {_checked(shards, now_s)}"
        indices = sorted({shard["index"] for shard in shards})[:6]
        which = " ".join(map(str, indices)) if len(chunks) == 1 else f"{len(shards):,}"
        parts += [" ", mark, f" {which:<4} {name:<14} ", (said, "$foreground-muted"), "\n"]
    if len(machines) > MACHINES_SHOWN:
        parts.append((f" and {len(machines) - MACHINES_SHOWN} machines more\n", "$foreground-muted"))
    return parts


def _code_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    needed = max(chunk["needed"] for chunk in chunks)
    if len(chunks) == 1:
        indices = {shard["index"] for shard in chunks[0]["shards"]}
        return f"any {needed} of {len(indices)} rebuild it"
    more = "" if len(chunks) < CHUNKS_ASKED else " and more"
    return f"{len(chunks):,} pieces{more}; any {needed} shards of a piece rebuild it"


def _checked(shards: Sequence[Mapping[str, Any]], now_s: float) -> str:
    proven = [shard["verified_at"] for shard in shards if shard.get("verified_at") is not None]
    if not proven:
        return "not checked yet"
    ago_s = now_s - min(proven)
    return f"checked {words.age(ago_s)}" + ("" if ago_s < 10 else " ago")
