"""Finds names that have conflict copies."""

# ruff: noqa: S608 - only this file's own SQL and question marks are put together

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2pstore.ids import EntryId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.tree_view import TreeView
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind
from p2pstore.seams.disk import Database

SCANNED: Final = 50_000
"""Names of one page: 40 ms."""

Place = tuple[EntryId, int, bytes]
"""(folder, whether shown, name): the order of the index."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A name and its conflict copies.

    Attributes:
        folder: where they are.
        items: the one that keeps the name, then the copies.
    """

    folder: Path
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class ConflictPage:
    """A part of all conflicts.

    Attributes:
        conflicts: in no order that a person would know.
        after: what to ask the next page with; None after the last.
    """

    conflicts: tuple[Conflict, ...]
    after: Place | None


class ConflictView:
    """Answers about names that are contested."""

    def __init__(self, database: Database, view: TreeView, past: HistoryView) -> None:
        self._database = database
        self._view = view
        self._past = past

    def page(self, after: Place | None, limit: int) -> ConflictPage:
        """Names with conflict copies: one entry with several live versions, or several entries of one name. Looks at
        SCANNED names, so a page may be empty and yet not the last."""
        start = after or (EntryId(b""), 1, b"")
        end = self._place_after(start)
        upto = end or (EntryId(b"\xff" * 17), 1, b"")
        several = self._database.execute(
            "SELECT parent, shown, name FROM entries INDEXED BY entries_contested WHERE contested > 0"
            " AND (parent, shown, name) > (?, ?, ?) AND (parent, shown, name) <= (?, ?, ?)"
            " GROUP BY parent, shown, name HAVING +shown = 1 ORDER BY parent, shown, name LIMIT ?",
            (*start, *upto, limit),
        )
        shared = self._database.execute(
            # written so that it follows the index and sorts nothing
            "SELECT parent, shown, name FROM entries INDEXED BY entries_by_place"
            " WHERE (parent, shown, name) > (?, ?, ?) AND (parent, shown, name) <= (?, ?, ?)"
            " GROUP BY parent, shown, name HAVING count(*) > 1 AND +shown = 1 ORDER BY parent, shown, name LIMIT ?",
            (*start, *upto, limit),
        )
        places = sorted({(EntryId(row[0]), int(row[1]), bytes(row[2])) for row in (*several, *shared)})[:limit]
        found: dict[tuple[Path, bytes], Conflict] = {}
        for parent, _, name in places:
            for conflict in self._conflicts_at(self._past.place_of(parent), name):
                found[conflict.folder, conflict.items[0].name] = conflict
        return ConflictPage(tuple(found.values()), places[-1] if len(places) == limit else end)

    def _place_after(self, start: Place) -> Place | None:
        """The place of the name SCANNED names after `start`; None if there are fewer."""
        rows = self._database.execute(
            "SELECT parent, shown, name FROM entries INDEXED BY entries_by_place"
            " WHERE (parent, shown, name) > (?, ?, ?) ORDER BY parent, shown, name LIMIT 1 OFFSET ?",
            (*start, SCANNED),
        )
        return (EntryId(rows[0][0]), int(rows[0][1]), bytes(rows[0][2])) if rows else None

    def _conflicts_at(self, folder: Path, name: bytes) -> list[Conflict]:
        """The conflict of one name; where folders of that name are shown as one, those of what both contain."""
        above = self._view.resolve(folder)
        if above is None or above.kind is not Kind.FOLDER:
            return []
        items = self._view.items_named(above.entries, name)
        found = [Conflict(folder, tuple(items))] if any(item.conflict for item in items) else []
        merged = [item for item in items if item.kind is Kind.FOLDER and len(item.entries) > 1]
        for item in merged:
            marks = ", ".join("?" * len(item.entries))
            rows = self._database.execute(
                f"SELECT name FROM entries WHERE parent IN ({marks}) AND shown = 1 GROUP BY name"
                " HAVING count(*) > 1 ORDER BY name LIMIT 1000",
                item.entries,
            )
            for (inner,) in rows:
                found.extend(self._conflicts_at((*folder, item.name), inner))
        return found

    def around(self, path: Path) -> tuple[Item, Conflict | None] | None:
        """What is at `path`, and the conflict that it is in, if any; None if nothing is there."""
        item = self._view.resolve(path)
        if item is None or not path:
            return None
        folder = self._view.resolve(path[:-1])
        rows = self._database.execute("SELECT name FROM entries WHERE entry = ?", (item.held.version.entry,))
        if folder is None or not rows:
            return item, None
        items = self._view.items_named(folder.entries, rows[0][0])
        contested = any(each.conflict for each in items) and any(each.name == item.name for each in items)
        return item, Conflict(path[:-1], tuple(items)) if contested else None
