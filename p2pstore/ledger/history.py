"""Reads history from the ledger's rows: the versions of a path, what lies in the trash, where entries are."""

# ruff: noqa: S608 - only this file's own SQL and question marks are put together

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.ids import ROOT_ENTRY, EntryId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.tree_view import COLUMNS, TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.change import ChangeKind, change_kind
from p2pstore.metadata.clock import COUNTER_BITS
from p2pstore.metadata.tree import Item
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Kind
from p2pstore.seams.disk import Database

SAME_REMOVAL_HLC: Final = (60 * 60 * 1000) << COUNTER_BITS
"""What lay in a folder counts as removed with it if the same machine removed it at most an hour before the folder: the
folder goes last, and an hour is enough for millions of entries."""

_SCANNED_MAX: Final = 5000
"""Rows of the trash looked at in one question."""

Position = tuple[int, bytes, EntryId]
"""(whether shown, name, entry): the order in which a folder's entries are read."""

_DEPTH_MAX: Final = 4096
"""Folders above one another: a path of that depth is longer than any system takes."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A version in a path's history.

    Attributes:
        number: 1 for the oldest that is known.
        held: the version.
        live: whether nothing superseded it.
        change: what it did to its entry.
    """

    number: int
    held: Held
    live: bool
    change: ChangeKind


@dataclass(frozen=True, slots=True)
class Buried:
    """Something in the trash.

    Attributes:
        path: where it lay.
        held: its tombstone, which keeps name and content.
        below: whether more was removed with it.
    """

    path: Path
    held: Held
    below: bool


@dataclass(frozen=True, slots=True)
class TrashPage:
    """A part of the trash.

    Attributes:
        items: latest first.
        before: what to ask the next page with; None after the last.
    """

    items: tuple[Buried, ...]
    before: tuple[int, EntryId] | None


class HistoryView:
    """Answers about what was."""

    def __init__(self, database: Database, writers: Writers, view: TreeView) -> None:
        self._database = database
        self._writers = writers
        self._view = view

    # --- moments ------------------------------------------------------------------------------------------------------

    def cut_at(self, hlc: int) -> Vector:
        """Everything whose commit carries a time up to `hlc`."""
        entries = {}
        for writer, _ in self._writers.vector().sorted_entries():
            state = self._writers.get(writer)
            assert state is not None
            rows = self._database.execute(
                "SELECT last FROM commits WHERE slot = ? AND hlc <= ? ORDER BY hlc DESC, first DESC LIMIT 1",
                (state.slot, hlc),
            )
            if rows:
                entries[writer] = rows[0][0]
        return Vector(entries)

    # --- the versions of a path -----------------------------------------------------------------------------------

    def _folders(self, path: Path) -> tuple[EntryId, ...]:
        """Every folder that is or was shown at `path`."""
        entries: tuple[EntryId, ...] = (ROOT_ENTRY,)
        for name in path:
            item = self._view.child(entries, name)
            found = set(item.entries) if item is not None and item.kind is Kind.FOLDER else set()
            found.update(self._buried_at(entries, name, folders=True))
            entries = tuple(sorted(found))
            if not entries:
                break
        return entries

    def _buried_at(self, folder: Sequence[EntryId], name: bytes, *, folders: bool = False) -> list[EntryId]:
        """Entries that are not shown and have that name, the latest first."""
        places = ", ".join("?" * len(folder))
        rows = self._database.execute(
            f"SELECT entry FROM entries WHERE parent IN ({places}) AND shown = 0 AND name = ? AND kind >= ?"
            " AND kind <= ? ORDER BY hlc DESC, entry LIMIT 100",
            (*folder, name, int(Kind.FOLDER) if folders else 0, int(Kind.FOLDER) if folders else int(Kind.LINK)),
        )
        return [EntryId(entry) for (entry,) in rows if entry != RECOVERED_ENTRY]

    def buried_at(self, path: Path) -> EntryId | None:
        """What was removed last from `path`; None if nothing was."""
        folder = self._folders(path[:-1]) if path else ()
        found = self._buried_at(folder, path[-1]) if folder else []
        return found[0] if found else None

    def versions_of(self, path: Path, *, skip: int, limit: int) -> tuple[list[Numbered], int]:
        """Versions that `path` had, newest first, and how many there are.

        These are all versions, wherever they lay, of what is shown there now and of what was removed from there; and of
        everything else the versions that had this name in this folder.
        """
        if not path:
            return [], 0
        item = self._view.resolve(path)
        folder = self._folders(path[:-1])
        if not folder:
            return [], 0
        mine = sorted({*(item.entries if item is not None else ()), *self._buried_at(folder, path[-1])})
        where = (
            f"FROM versions v JOIN writers w ON w.slot = v.slot WHERE v.entry IN ({', '.join('?' * len(mine))})"
            f" OR (v.parent IN ({', '.join('?' * len(folder))}) AND v.name = ?)"
        )
        parameters = (*mine, *folder, path[-1])
        [(total,)] = self._database.execute(f"SELECT count(*) {where}", parameters)
        rows = self._database.execute(
            f"SELECT {COLUMNS}, v.live {where} ORDER BY v.hlc DESC, w.author DESC, v.sequence DESC, w.incarnation"
            " LIMIT ? OFFSET ?",
            (*parameters, limit, skip),
        )
        found = []
        for offset, row in enumerate(rows, start=skip):
            held = self._view.held(row)
            found.append(Numbered(total - offset, held, bool(row[13]), self.change_of(held)))
        return found, total

    def change_of(self, held: Held) -> ChangeKind:
        """What a version did to its entry."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM versions v WHERE v.entry = ? AND (v.hlc, v.sequence) < (?, ?)"
            " ORDER BY v.hlc DESC, v.sequence DESC LIMIT 1",
            (held.version.entry, held.hlc, held.dot.sequence),
        )
        return change_kind(self._view.held(rows[0]).version if rows else None, held.version)

    # --- where entries are --------------------------------------------------------------------------------------------

    def place_of(self, entry: EntryId) -> Path:
        """Where `entry` is shown, or was before it was removed, as names of its own: as a conflict copy it may be shown
        under another one."""
        names: list[bytes] = []
        at = entry
        while at != ROOT_ENTRY and len(names) < _DEPTH_MAX:
            rows = self._database.execute("SELECT parent, name FROM entries WHERE entry = ?", (at,))
            if not rows:
                break
            at = EntryId(rows[0][0])
            names.append(rows[0][1])
        return tuple(reversed(names))

    def shown_path(self, entry: EntryId) -> tuple[Path, Item] | None:
        """The path under which `entry` can be asked for now, and what is there; None if it is not shown."""
        rows = self._database.execute("SELECT parent, name FROM entries WHERE entry = ? AND shown = 1", (entry,))
        if not rows:
            return None
        above = self.place_of(EntryId(rows[0][0]))
        folder = self._view.resolve(above)
        if folder is None:
            return None
        for item in self._view.items_named(folder.entries, rows[0][1]):
            if entry in item.entries:
                return (*above, item.name), item
        return None

    # --- the trash ----------------------------------------------------------------------------------------------------

    def trash(self, before: tuple[int, EntryId] | None, limit: int, *, everything: bool) -> TrashPage:
        """What was removed, latest first; what was removed with its folder only if `everything`. A page may be empty
        and yet not the last."""
        hlc, entry = before or (2**63 - 1, EntryId(b"\xff" * 16))
        rows = self._database.execute(
            f"SELECT {COLUMNS}, p.hlc, pw.author, w.author FROM entries e JOIN versions v ON v.id = e.version"
            " JOIN writers w ON w.slot = v.slot"
            " LEFT JOIN entries p ON p.entry = e.parent AND p.alive = 0 AND p.shown = 0"
            " LEFT JOIN writers pw ON pw.slot = p.slot"
            " WHERE e.alive = 0 AND e.shown = 0 AND v.deleted = 1 AND (e.hlc, e.entry) < (?, ?)"
            " ORDER BY e.hlc DESC, e.entry DESC LIMIT ?",
            (hlc, entry, _SCANNED_MAX),
        )
        items: list[Buried] = []
        last: tuple[int, EntryId] | None = None
        for row in rows:
            if len(items) == limit:
                return TrashPage(tuple(items), last)
            held = self._view.held(row)
            last = held.hlc, held.version.entry
            above_hlc, above_author, author = row[13:16]
            with_folder = above_hlc is not None and above_author == author and _same_removal(held.hlc, above_hlc)
            if held.version.entry != RECOVERED_ENTRY and (everything or not with_folder):
                below = held.version.kind is Kind.FOLDER and bool(self.removed_with(held, None, 1)[0])
                items.append(Buried(self.place_of(held.version.entry), held, below))
        return TrashPage(tuple(items), last if len(rows) == _SCANNED_MAX else None)

    def tombstone(self, entry: EntryId) -> Held | None:
        """The winner of an entry that was removed; None for what is alive or unknown."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM entries e JOIN versions v ON v.id = e.version WHERE e.entry = ? AND e.alive = 0"
            " AND v.deleted = 1",
            (entry,),
        )
        return self._view.held(rows[0]) if rows else None

    def removed_with(self, folder: Held, after: Position | None, limit: int) -> tuple[list[Held], Position | None]:
        """What lay in a removed folder and was removed with it: a page of tombstones, and where the next begins.

        While they are put back, one may come twice: a folder that something in it has brought into sight.
        """
        rows: list[tuple[Any, ...]] = self._database.execute(
            f"SELECT {COLUMNS}, e.shown, e.name, e.entry FROM entries e INDEXED BY entries_by_place"
            " CROSS JOIN versions v ON v.id = e.version CROSS JOIN writers w ON w.slot = v.slot"
            " WHERE e.parent = ? AND (e.shown, e.name, e.entry) > (?, ?, ?)"
            " AND e.alive = 0 AND v.deleted = 1 AND e.hlc <= ? AND e.hlc >= ? AND w.author = ?"
            " ORDER BY e.shown, e.name, e.entry LIMIT ?",
            (
                folder.version.entry,
                *(after or (0, b"", b"")),
                folder.hlc,
                folder.hlc - SAME_REMOVAL_HLC,
                folder.dot.author,
                limit,
            ),
        )
        following = (int(rows[-1][13]), bytes(rows[-1][14]), EntryId(rows[-1][15])) if len(rows) == limit else None
        return [self._view.held(row) for row in rows if row[3] != RECOVERED_ENTRY], following


def _same_removal(hlc: int, folder_hlc: int) -> bool:
    return folder_hlc - SAME_REMOVAL_HLC <= hlc <= folder_hlc
