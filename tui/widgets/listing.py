"""The file tree: rows exist only as pages fetched when they come into sight.

Textual's own lists build a line for each entry (seconds and 100 MB at 100,000 rows); here a folder is a count and a few
pages, and a frame paints the rows in sight. Finding a row costs one step for each open folder.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from p2pstore.control.faults import Failure
from tui import words
from tui.words import Glyphs

PAGE_NAMES: Final = 200
"""Names in one request: some screens full, 40 KB."""

PAGES_MAX: Final = 20
"""Pages kept, of all folders together: 4,000 entries, about 1.5 MB."""

SETTLE_S: Final = 0.08
"""A held arrow key must not ask the daemon about each row it passes."""

HEALTH_KEPT: Final = 4000
"""Rows whose verdict is remembered."""

HEALTH_EVERY_S: Final = 1.0
"""Verdicts of rows are asked for again this often at most, while an upload changes them all the time."""

HEALTH_ASKED_MAX: Final = 150
"""Rows asked about at once: more than a screen has."""

SPINNER_AFTER_S: Final = 0.3
"""Loading that is over before this is not worth a word."""


class Entry(NamedTuple):
    """One line of a folder."""

    name: bytes
    kind: str
    size: int
    mtime_ns: int
    conflict: bool

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Entry:
        """From the daemon's word for it."""
        return cls(raw["name"], raw["kind"], raw.get("size", 0), raw.get("mtime_ns", 0), raw.get("conflict", False))


class Folder:
    """An open folder: how many rows it has, and those pages of it that are at hand."""

    __slots__ = ("count", "depth", "error", "extra", "loading", "names", "open", "pages", "path", "stale", "total")

    def __init__(self, path: bytes, depth: int) -> None:
        self.path, self.depth = path, depth
        self.names = 0
        """Names in it, as last heard."""
        self.extra: dict[int, int] = {}
        """By page: entries beyond its names (conflict copies), once known."""
        self.count = 0
        """Rows of its own: names and extras."""
        self.total = 0
        """Rows with those of folders open below it."""
        self.pages: dict[int, list[Entry]] = {}
        self.stale: set[int] = set()
        self.loading: set[int] = set()
        self.open: list[tuple[int, Folder]] = []
        """(row within this folder, the folder that is open there), sorted."""
        self.error: tuple[int, str] | None = None

    def place(self, row: int) -> tuple[int, int]:
        """(page, index in it) of a row of its own."""
        shift = 0
        for page in sorted(self.extra):
            start = page * PAGE_NAMES + shift
            if row < start:
                break
            if row < start + PAGE_NAMES + self.extra[page]:
                return page, row - start
            shift += self.extra[page]
        plain = row - shift
        return plain // PAGE_NAMES, plain % PAGE_NAMES

    def row_of(self, page: int, index: int) -> int:
        """The way back."""
        return page * PAGE_NAMES + sum(more for other, more in self.extra.items() if other < page) + index


@dataclass(frozen=True, slots=True)
class Spot:
    """A row: which folder, which row in it, and what stands there if it is at hand."""

    folder: Folder
    row: int
    entry: Entry | None

    @property
    def path(self) -> bytes | None:
        """Where it is in the store."""
        return None if self.entry is None else words.join(self.folder.path, self.entry.name)


def _find(folder: Folder, name: bytes) -> tuple[int, Entry] | None:
    """(row in it, entry) of a name that is at hand."""
    for page, entries in folder.pages.items():
        for index, entry in enumerate(entries):
            if entry.name == name:
                return folder.row_of(page, index), entry
    return None


Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Listing(ScrollView, can_focus=True):
    """A tree of folders of any size."""

    DEFAULT_CSS = """
    Listing {
        height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-gutter: stable; scrollbar-size-vertical: 1;
        & > .listing--folder { color: $primary; text-style: bold; }
        & > .listing--dim { color: $text-muted; }
        & > .listing--safe { color: $success; }
        & > .listing--thin { color: $warning; }
        & > .listing--bad { color: $error; text-style: bold; }
        & > .listing--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .listing--cursor-blurred { background: $panel; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "listing--folder", "listing--dim", "listing--safe", "listing--thin", "listing--bad", "listing--cursor",
        "listing--cursor-blurred",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "activate", "open", id="open"),
        Binding("space", "mark", "mark", id="mark"),
        Binding("up,k", "move(-1)", "up", show=False, id="up"),
        Binding("down,j", "move(1)", "down", show=False, id="down"),
        Binding("right,l", "open", "open folder", show=False, id="expand"),
        Binding("left,h", "close", "close folder, or go up", show=False, id="collapse"),
        Binding("pageup,ctrl+u", "turn(-1)", "page up", show=False, id="page_up"),
        Binding("pagedown,ctrl+d", "turn(1)", "page down", show=False, id="page_down"),
        Binding("home", "go(0)", "first", show=False, id="first"),
        Binding("end", "go(-1)", "last", show=False, id="last"),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)

    class Highlighted(Message):
        """The cursor has come to rest on something."""

        def __init__(self, path: bytes, entry: Entry) -> None:
            super().__init__()
            self.path, self.entry = path, entry

    class Chosen(Message):
        """Enter on a file."""

        def __init__(self, path: bytes, entry: Entry) -> None:
            super().__init__()
            self.path, self.entry = path, entry

    class Moved(Message):
        """The position, the number of rows or the marks are others."""

    def __init__(self, ask: Ask, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._ask = ask
        self._glyphs = glyphs
        self.root = Folder(b"/", 0)
        self.marked: set[bytes] = set()
        self.is_loaded = False
        self._health: dict[bytes, str] = {}
        self._asked: set[bytes] = set()
        self._forgotten = False
        self._rest: Timer | None = None
        self._health_timer: Timer | None = None
        self._waiting_since: float | None = None

    # --- pages ------------------------------------------------------------------------------------------------------

    def locate(self, row: int) -> tuple[Folder, int]:
        """(folder, row within it) of a row of the whole list."""
        folder = self.root
        while True:
            below = 0
            inner: Folder | None = None
            for own, sub in folder.open:
                start = own + below
                if row <= start:
                    break
                if row <= start + sub.total:
                    inner, row = sub, row - start - 1
                    break
                below += sub.total
            if inner is None:
                return folder, row - below
            folder = inner

    def spot(self, row: int) -> Spot:
        """What stands at a row; asks for it if it is not at hand."""
        folder, own = self.locate(row)
        page, index = folder.place(own)
        entries = folder.pages.get(page)
        if entries is None or page in folder.stale:
            self._want(folder, page)
        return Spot(folder, own, entries[index] if entries is not None and index < len(entries) else None)

    def _want(self, folder: Folder, page: int) -> None:
        if page in folder.loading or (folder.error is not None and folder.error[0] == page):
            return
        folder.loading.add(page)
        self.run_worker(self._fetch(folder, page), group="pages")

    async def load(self) -> None:
        """Fetch the first page of the root."""
        self.root.loading.add(0)
        await self._fetch(self.root, 0)

    async def _fetch(self, folder: Folder, page: int) -> None:
        try:
            answer = await self._ask(
                "page", {"path": folder.path, "offset": page * PAGE_NAMES, "limit": PAGE_NAMES}
            )
        except Failure as failure:
            folder.error = (page, failure.fault.what)
            if failure.fault.code in ("not-found", "not-a-folder") and folder is not self.root:
                self._shut(folder)
            return
        finally:
            folder.loading.discard(page)
            folder.stale.discard(page)
            self._recount()
        folder.error = None
        anchor = self.here
        folder.pages[page] = [Entry.read(raw) for raw in answer["entries"]]
        folder.names = int(answer["count"])
        expected = max(0, min(PAGE_NAMES, folder.names - page * PAGE_NAMES))
        more = len(folder.pages[page]) - expected
        folder.extra.pop(page, None)
        if more > 0:
            folder.extra[page] = more
        folder.count = folder.names + sum(folder.extra.values())
        if folder is self.root:
            self.is_loaded = True
        self._forget_far_pages(folder, page)
        self._follow_open(folder, page)
        self._recount()
        self._hold(anchor, folder, page)
        self._announce()

    def _forget_far_pages(self, folder: Folder, page: int) -> None:
        """Keep the list small: forget the page that is farthest from the one just read."""
        kept = [(each, number) for each in self._folders() for number in each.pages]
        if len(kept) > PAGES_MAX:
            far, number = max(kept, key=lambda one: abs(one[1] - page) if one[0] is folder else PAGES_MAX * 1000)
            del far.pages[number]

    def _folders(self) -> list[Folder]:
        found, stack = [], [self.root]
        while stack:
            folder = stack.pop()
            found.append(folder)
            stack.extend(sub for _, sub in folder.open)
        return found

    def _follow_open(self, folder: Folder, page: int) -> None:
        """Folders that are open may have another row now; those that are gone are shut."""
        for index, (row, sub) in reversed(list(enumerate(folder.open))):
            if folder.place(row)[0] != page:
                continue
            name = words.name_of(sub.path)
            found = next((i for i, entry in enumerate(folder.pages[page]) if entry.name == name), None)
            if found is None or folder.pages[page][found].kind != "folder":
                del folder.open[index]
            else:
                folder.open[index] = (folder.row_of(page, found), sub)
        folder.open.sort(key=lambda one: one[0])

    def _shut(self, folder: Folder) -> None:
        for each in self._folders():
            each.open = [(row, sub) for row, sub in each.open if sub is not folder]

    def _recount(self) -> None:
        def total(folder: Folder) -> int:
            folder.total = folder.count + sum(total(sub) for _, sub in folder.open)
            return folder.total

        total(self.root)
        self.virtual_size = Size(1, max(1, self.root.total))
        if self.cursor >= self.root.total:
            self.cursor = max(0, self.root.total - 1)
        self.refresh()
        self.post_message(self.Moved())

    def _hold(self, anchor: bytes | None, folder: Folder, page: int) -> None:
        """Keep the cursor on what it was on, when rows came or went above it."""
        if anchor is None or words.parent_of(anchor) != folder.path or self.here == anchor:
            return
        name = words.name_of(anchor)
        for index, entry in enumerate(folder.pages[page]):
            if entry.name == name:
                row = self._row_in_list(folder, folder.row_of(page, index))
                if row is not None:
                    self.cursor = row
                return

    def _row_in_list(self, wanted: Folder, own: int) -> int | None:
        """The row of the whole list at which row `own` of an open folder stands."""

        def search(folder: Folder, base: int) -> int | None:
            below = 0
            for row, sub in folder.open:
                if folder is wanted and own <= row:
                    break
                found = search(sub, base + row + below + 1)
                if found is not None:
                    return found
                below += sub.total
            return base + own + below if folder is wanted else None

        return search(self.root, 0)

    def renew(self) -> None:
        """The tree has changed: read again what is in sight when it is painted, the rest when it comes into sight."""
        for folder in self._folders():
            folder.error = None
            folder.stale.update(folder.pages)
            if not folder.pages or not folder.count:
                self._want(folder, 0)  # nothing of it is painted, so nothing would ask
        self._health.clear()
        self._asked.clear()
        self.refresh()

    @property
    def is_waiting(self) -> bool:
        """Whether the cursor has just moved, or rows wait for their verdict."""
        return self._rest is not None or self._health_timer is not None

    # --- what the screen asks ---------------------------------------------------------------------------------------

    @property
    def current(self) -> Spot | None:
        """Where the cursor is."""
        return self.spot(self.cursor) if self.root.total else None

    @property
    def here(self) -> bytes | None:
        """The path under the cursor."""
        if not self.root.total:
            return None
        folder, own = self.locate(self.cursor)
        page, index = folder.place(own)
        entries = folder.pages.get(page)
        if entries is None or index >= len(entries):
            return None
        return words.join(folder.path, entries[index].name)

    @property
    def folder_here(self) -> bytes:
        """The folder that a new thing would go into: the open one under the cursor, or the one around it."""
        if not self.root.total:
            return b"/"
        spot = self.spot(self.cursor)
        if spot.entry is not None and spot.entry.kind == "folder" and self._is_open(spot):
            assert spot.path is not None
            return spot.path
        return spot.folder.path

    def chosen(self) -> list[bytes]:
        """What an action applies to: the marked ones, else the one under the cursor."""
        if self.marked:
            return sorted(self.marked)
        return [path] if (path := self.here) is not None else []

    def entry_of(self, path: bytes) -> Entry | None:
        """What is known of a path that is at hand."""
        parent, name = words.parent_of(path), words.name_of(path)
        for folder in self._folders():
            if folder.path == parent:
                for entries in folder.pages.values():
                    for entry in entries:
                        if entry.name == name:
                            return entry
        return None

    def health_of(self, path: bytes) -> str | None:
        """The verdict of a file, if it is known."""
        return self._health.get(path)

    def at_hand(self) -> list[bytes]:
        """Every path that is loaded, for the command palette."""
        return [
            words.join(folder.path, entry.name)
            for folder in self._folders()
            for page in sorted(folder.pages)
            for entry in folder.pages[page]
        ]

    def show(self, path: bytes) -> None:
        """Put the cursor on a path that is at hand."""
        parent, name = words.parent_of(path), words.name_of(path)
        for folder in self._folders():
            if folder.path != parent:
                continue
            for page, entries in folder.pages.items():
                for index, entry in enumerate(entries):
                    if entry.name == name:
                        row = self._row_in_list(folder, folder.row_of(page, index))
                        self.cursor = self.cursor if row is None else row
                        return

    async def go_to(self, path: bytes) -> bool:
        """Open the folders that lead to `path` and put the cursor on it; whether it was found. Raises Failure."""
        folder = self.root
        parts = [part for part in path.split(b"/") if part]
        for depth, part in enumerate(parts):
            if not folder.pages:
                folder.loading.add(0)
                await self._fetch(folder, 0)
            place = _find(folder, part)
            if place is None:
                answer = await self._ask("page.of", {"path": folder.path, "name": part})
                page = int(answer["index"]) // PAGE_NAMES
                folder.loading.add(page)
                await self._fetch(folder, page)
                place = _find(folder, part)
            if place is None:
                return False
            row, entry = place
            if depth == len(parts) - 1:
                if (own := self._row_in_list(folder, row)) is not None:
                    self.cursor = own
                return True
            if entry.kind != "folder":
                return False
            sub = next((sub for at, sub in folder.open if at == row), None)
            if sub is None:
                sub = Folder(words.join(folder.path, entry.name), folder.depth + 1)
                insort(folder.open, (row, sub), key=lambda one: one[0])
            folder = sub
        return True

    # --- painting ---------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row in sight."""
        width = self.scrollable_content_region.width
        row = y + self.scroll_offset.y
        base = self.rich_style
        if row >= self.root.total:
            return Strip([Segment(self._below(row), base + self._style("dim"))]).adjust_cell_length(width, base)
        spot = self.spot(row)
        if spot.entry is None:
            strip = Strip([Segment(self._missing(spot), base + self._style("dim"))])
        else:
            strip = Strip(self._segments(spot, spot.entry, width, base))
        strip = strip.adjust_cell_length(width, base)
        if row == self.cursor:
            # Strip.apply_style goes under the segments' own styles; the cursor must lie above them.
            strip = Strip(Segment.apply_style(strip, post_style=self._cursor_style()), width)
        return strip

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"listing--{name}")

    def _cursor_style(self) -> Style:
        if self.app.no_color:
            # A grey cursor swallows grey words: black on white is the only sure pair.
            return Style(color="black", bgcolor="white", bold=True)
        if not self.has_focus:
            return Style(bgcolor=self._style("cursor-blurred").bgcolor)
        style = self._style("cursor")
        if self.app.native_ansi_color:
            return Style(color=style.color, bgcolor=style.bgcolor, bold=True)
        return Style(bgcolor=style.bgcolor, bold=True)

    def _below(self, row: int) -> str:
        """What stands where there are no rows."""
        if row == 0 and self.root.error is not None:
            return f" ! could not be loaded: {self.root.error[1]}"
        if row == 1 and self.root.error is not None and not self.root.total:
            return f"   {self._glyphs.enter} tries again"
        if not self.is_loaded or self.root.total:
            return ""
        how = (" p stores files and folders of this machine, or type:", "   p2pstore put -r ~/Photos /")
        lines = (" Nothing here yet.", "", *how)
        return lines[row] if row < len(lines) else ""

    def _missing(self, spot: Spot) -> str:
        folder = spot.folder
        page = folder.place(spot.row)[0]
        indent = "  " * folder.depth + "  "
        if folder.error is not None and folder.error[0] == page:
            first = page * PAGE_NAMES
            return f"{indent}! could not load {first:,} to {first + PAGE_NAMES:,}: {folder.error[1]}"
        return f"{indent}{self._glyphs.ellipsis}"

    def _segments(self, spot: Spot, entry: Entry, width: int, base: Style) -> list[Segment]:
        glyphs, dim = self._glyphs, base + self._style("dim")
        path = words.join(spot.folder.path, entry.name)
        is_folder = entry.kind == "folder"
        state = None if is_folder else self._health.get(path)
        if not is_folder and state is None:
            self._want_health()
        word = f"{words.WORDS.get(state, '') if state else '':>4} {glyphs.of(state)} "
        open_folder = next((sub for row, sub in spot.folder.open if row == spot.row), None) if is_folder else None
        figure = (
            (f"{open_folder.names:,}" if open_folder is not None else "")
            if is_folder
            else "link" if entry.kind == "link" else words.size(entry.size)
        )
        right = f"{figure:>8} "
        mark = "*" if path in self.marked else " "
        lead = mark + "  " * spot.folder.depth
        lead += (glyphs.opened if open_folder is not None else glyphs.closed) + " " if is_folder else "  "
        room = max(4, width - cell_len(lead) - len(right) - len(word))
        name = words.shown(entry.name) + ("  (conflict)" if entry.conflict else "")
        name = set_cell_size(words.clip(name, room, glyphs), room)
        tone = {"safe": "safe", "thin": "thin", "risk": "bad", "lost": "bad"}.get(state or "", "dim")
        return [
            Segment(lead, base),
            Segment(name, base + self._style("folder") if is_folder else base),
            Segment(right, dim),
            Segment(word, base + self._style(tone)),
        ]

    # --- verdicts of the rows in sight ------------------------------------------------------------------------------

    def renew_health(self) -> None:
        """Verdicts may have changed: ask again about the rows in sight, gently; the old ones stay till then."""
        self._asked.clear()
        self._forgotten = True
        if self._health_timer is None:
            self._health_timer = self.set_timer(HEALTH_EVERY_S, self._ask_health)

    def _want_health(self) -> None:
        if self._health_timer is None:
            self._health_timer = self.set_timer(2 * SETTLE_S, self._ask_health)

    def _ask_health(self) -> None:
        self._health_timer = None
        self.run_worker(self._fetch_health(), group="health", exclusive=True)

    def _in_sight(self) -> Sequence[tuple[bytes, Entry]]:
        first = self.scroll_offset.y
        found = []
        for row in range(first, min(self.root.total, first + self.size.height)):
            folder, own = self.locate(row)
            page, index = folder.place(own)
            entries = folder.pages.get(page, ())
            if index < len(entries):
                found.append((words.join(folder.path, entries[index].name), entries[index]))
        return found

    async def _fetch_health(self) -> None:
        again, self._forgotten = self._forgotten, False
        wanted = [
            path
            for path, entry in self._in_sight()
            if entry.kind != "folder" and path not in self._asked and (again or path not in self._health)
        ][:HEALTH_ASKED_MAX]
        if not wanted:
            return
        if again:
            self._asked.clear()
        self._asked.update(wanted)
        try:
            answer = await self._ask("health", {"paths": wanted})
        except Failure:
            return  # asked again with the next news, or when the daemon is back
        except asyncio.CancelledError:
            self._asked.difference_update(wanted)  # a newer question took its place
            self._forgotten = self._forgotten or again
            raise
        if again or len(self._health) > HEALTH_KEPT:
            self._health.clear()  # what is out of sight is asked for when it comes back
        for one in answer["states"]:
            if one["state"] is not None:
                self._health[one["path"]] = one["state"]
        self.refresh()
        self.post_message(self.Moved())

    # --- moving -----------------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._rest = None
        spot = self.current
        if spot is not None and spot.entry is not None and spot.path is not None:
            self.post_message(self.Highlighted(spot.path, spot.entry))

    def validate_cursor(self, row: int) -> int:
        """Within the list."""
        return max(0, min(self.root.total - 1, row))

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint the two rows."""
        for row in (old, new):
            self.refresh(Region(0, row - self.scroll_offset.y, self.size.width, 1))
        self.scroll_to_region(Region(0, new, 1, 1), animate=False, force=True)
        self._announce()
        self.post_message(self.Moved())

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The cursor looks different."""
        super().watch_has_focus(_has_focus)
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Up or down."""
        self.cursor += rows

    def action_turn(self, pages: int) -> None:
        """By a screen."""
        self.cursor += pages * max(1, self.size.height - 1)

    def action_go(self, row: int) -> None:
        """To the first or last row."""
        self.cursor = self.root.total - 1 if row < 0 else row

    def _is_open(self, spot: Spot) -> bool:
        return any(row == spot.row for row, _ in spot.folder.open)

    async def action_open(self) -> None:
        """Open the folder under the cursor, or step into it."""
        spot = self.current
        if spot is None or spot.entry is None or spot.entry.kind != "folder":
            return
        if self._is_open(spot):
            self.cursor += 1
            return
        assert spot.path is not None
        folder = Folder(spot.path, spot.folder.depth + 1)
        insort(spot.folder.open, (spot.row, folder), key=lambda one: one[0])
        folder.loading.add(0)
        await self._fetch(folder, 0)

    async def action_close(self) -> None:
        """Close the folder under the cursor, or go to the folder around it."""
        spot = self.current
        if spot is None:
            return
        if self._is_open(spot):
            spot.folder.open = [(row, sub) for row, sub in spot.folder.open if row != spot.row]
            self._recount()
            return
        for folder in self._folders():
            for row, sub in folder.open:
                if sub is spot.folder and (found := self._row_in_list(folder, row)) is not None:
                    self.cursor = found
                    return

    async def action_activate(self) -> None:
        """Open or close a folder; try a page again; choose a file."""
        spot = self.current
        if spot is None:
            self.root.error = None
            self._want(self.root, 0)
            return
        if spot.entry is None:
            if spot.folder.error is not None:
                spot.folder.error = None
                self.refresh()
            return
        if spot.entry.kind == "folder":
            await (self.action_close() if self._is_open(spot) else self.action_open())
        elif spot.path is not None:
            self.post_message(self.Chosen(spot.path, spot.entry))

    def action_mark(self) -> None:
        """Mark or unmark, and step on."""
        if (path := self.here) is not None:
            self.marked ^= {path}
            self.cursor += 1
            self.refresh()
            self.post_message(self.Moved())

    def unmark(self) -> None:
        """No marks."""
        self.marked.clear()
        self.refresh()
        self.post_message(self.Moved())

    async def on_click(self, event: events.Click) -> None:
        """The cursor goes where the mouse was; twice opens."""
        self.focus()
        row = event.y + self.scroll_offset.y
        if row < self.root.total:
            self.cursor = row
            if event.chain == 2:
                await self.action_activate()
