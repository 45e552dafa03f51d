"""Reads the tree from the ledger's rows: listings, paths, history, trash. One folder's rows at a time."""

# ruff: noqa: S608 - only this file's own column names and question marks are put into SQL

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from p2pstore.ids import EntryId, PeerId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.row_check import CHECKED_COLUMNS, checked_mode
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.tree import CONFLICT_MARK, RECOVERED_HELD, ROOT_ITEM, Item, PeerName, arrange
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Kind, Version, content_from_fields
from p2pstore.packing import unpack
from p2pstore.seams.disk import Database

COLUMNS: Final = CHECKED_COLUMNS
"""Of a version, in the order in which `TreeView.held` reads them."""

_SHOWN_COLUMNS: Final = COLUMNS.replace("v.slot, v.sequence", "e.slot, e.sequence", 1)
"""The same of an entry's winner; where its row is lost, who reads it can say which."""

_CONTENT_BYTES_MAX: Final = 8192


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a folder.

    Attributes:
        items: sorted by name; conflict copies stand right behind the one that kept their name.
        after: what to ask the next page with; None after the last.
    """

    items: tuple[Item, ...]
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Past:
    """A version in an entry's history.

    Attributes:
        held: the version.
        live: whether nothing superseded it.
    """

    held: Held
    live: bool


class TreeView:
    """Answers about the tree as it is in the database now."""

    at: Vector | None = None
    """The cut that is shown: `PastView` has one."""

    def __init__(self, database: Database, writers: Writers, peer_name: PeerName) -> None:
        self._database = database
        self._writers = writers
        self._peer_name = peer_name

    def name_of(self, peer: PeerId) -> str:
        """What people call a peer."""
        return self._peer_name(peer)

    def held(self, row: Sequence[Any]) -> Held:
        """The version in a row that begins with COLUMNS. Raises RowDamaged."""
        slot, sequence, hlc, entry, parent, name, kind, content, size, mtime_ns, _, deleted, former = row[:13]
        mode = checked_mode(row)
        version = Version(
            EntryId(entry),
            EntryId(parent),
            name,
            Kind(kind),
            None if content is None else content_from_fields(unpack(content, bytes_max=_CONTENT_BYTES_MAX)),
            size,
            mtime_ns,
            mode,
            bool(deleted),
            None if former is None else EntryId(former),
        )
        return Held(self._writers.dot(slot, sequence), hlc, version)

    # --- names ----------------------------------------------------------------------------------------------------

    def _rows(self, folder: Sequence[EntryId], where: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows of shown entries in the folder made of the entries `folder`: a version, name shown, entry, contested."""
        places = ", ".join("?" * len(folder))
        return self._database.execute(
            f"SELECT {_SHOWN_COLUMNS}, e.name, e.entry, e.contested FROM entries e"
            f" LEFT JOIN versions v ON v.id = e.version WHERE e.parent IN ({places}) AND e.shown = 1 AND {where}",
            (*folder, *parameters),
        )

    def _is_taken(self, folder: Sequence[EntryId], name: bytes) -> bool:
        places = ", ".join("?" * len(folder))
        return bool(
            self._database.execute(
                f"SELECT 1 FROM entries WHERE parent IN ({places}) AND shown = 1 AND name = ? LIMIT 1",
                (*folder, name),
            )
        )

    def arranged(self, folder: Sequence[EntryId], rows: Sequence[tuple[Any, ...]]) -> list[Item]:
        """The items of one name."""
        name = rows[0][13]
        versions: list[Held] = []
        for row in rows:
            if row[14] == RECOVERED_ENTRY:
                versions.append(RECOVERED_HELD)
            elif row[15]:
                versions.extend(self.live_versions(EntryId(row[14])))
            else:
                versions.append(self.held(row))
        if len(versions) == 1:
            held = versions[0]
            entry = held.version.entry
            dots = (held.dot,) if held.dot.sequence else ()
            return [Item(name, entry, held, (entry,), dots, at=self.at)]
        items = arrange(
            name, versions, peer_name=self._peer_name, is_taken=lambda wanted: self._is_taken(folder, wanted)
        )
        return items if self.at is None else [replace(item, at=self.at) for item in items]

    def _named(self, folder: Sequence[EntryId], name: bytes) -> list[tuple[Any, ...]]:
        """Rows of what wants to be shown as `name`."""
        return self._rows(folder, "e.name = ?", (name,))

    def _page(self, folder: Sequence[EntryId], after: bytes, count: int) -> list[tuple[Any, ...]]:
        """The first `count` rows after a name, by name; fewer only at the end."""
        return self._rows(folder, "e.name > ? ORDER BY e.name LIMIT ?", (after, count))

    def _contested_names(self, folder: Sequence[EntryId]) -> list[bytes]:
        """Names that have conflict copies, and maybe some that have none."""
        places = ", ".join("?" * len(folder))
        rows = self._database.execute(
            f"SELECT name FROM entries WHERE parent IN ({places}) AND shown = 1"
            " GROUP BY name HAVING count(*) > 1 OR max(contested) > 0 ORDER BY name",
            tuple(folder),
        )
        return [name for (name,) in rows]

    def live_versions(self, entry: EntryId) -> list[Held]:
        """All versions of `entry` that nothing superseded, tombstones too, sorted by dot."""
        rows = self._database.execute(f"SELECT {COLUMNS} FROM versions v WHERE v.entry = ? AND v.live = 1", (entry,))
        return sorted((self.held(row) for row in rows), key=lambda held: held.dot)

    def child(self, folder: Sequence[EntryId], name: bytes) -> Item | None:
        """What is shown as `name` in the folder made of `folder`."""
        if rows := self._named(folder, name):
            return self.arranged(folder, rows)[0]
        if CONFLICT_MARK not in name:
            return None
        stem, _, rest = name.rpartition(CONFLICT_MARK)
        guess = stem + rest.partition(b")")[2]
        for item in self._copies(folder, guess):
            if item.name == name:
                return item
        for other in self._contested_names(folder):
            for item in self._copies(folder, other):
                if item.name == name:
                    return item
        return None

    def _copies(self, folder: Sequence[EntryId], name: bytes) -> list[Item]:
        return self.items_named(folder, name)[1:]

    def items_named(self, folder: Sequence[EntryId], name: bytes) -> list[Item]:
        """What is shown for `name` in the folder made of `folder`: what keeps it, then its conflict copies."""
        rows = self._named(folder, name)
        return self.arranged(folder, rows) if rows else []

    def resolve(self, path: Path) -> Item | None:
        """What is at `path`; None for nothing."""
        item: Item | None = ROOT_ITEM if self.at is None else replace(ROOT_ITEM, at=self.at)
        for name in path:
            if item is None or item.kind is not Kind.FOLDER:
                return None
            item = self.child(item.entries, name)
        return item

    def children(self, folder: Sequence[EntryId], after: bytes | None, limit: int) -> Listing:
        """Up to `limit` names (a name and its conflict copies count as one, and are never parted)."""
        rows = self._page(folder, b"" if after is None else after, limit + 1)
        more = len(rows) > limit
        if more:
            # the last name is read whole, by the next page; unless it is the only one of this page
            last = rows[-1][13]
            whole = [row for row in rows if row[13] != last]
            rows = whole or self._named(folder, last)
        items: list[Item] = []
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end][13] != rows[start][13]:
                items.extend(self.arranged(folder, rows[start:end]))
                start = end
        return Listing(tuple(items), rows[-1][13] if more else None)

    def name_count(self, folder: Sequence[EntryId]) -> int:
        """How many names the folder made of `folder` shows; conflict copies are beside them."""
        [(count,)] = self._database.execute(f"SELECT count(*) FROM ({self._names(folder)})", tuple(folder))
        return int(count)

    def name_at(self, folder: Sequence[EntryId], index: int) -> bytes | None:
        """The name at `index` of that folder's sorted names; None beyond the last."""
        rows = self._database.execute(f"{self._names(folder)} ORDER BY name LIMIT 1 OFFSET ?", (*folder, index))
        return rows[0][0] if rows else None

    def names_before(self, folder: Sequence[EntryId], name: bytes) -> int:
        """How many of that folder's names come before `name`."""
        places = ", ".join("?" * len(folder))
        [(count,)] = self._database.execute(
            f"SELECT count(DISTINCT name) FROM entries WHERE parent IN ({places}) AND shown = 1 AND name < ?",
            (*folder, name),
        )
        return int(count)

    def _names(self, folder: Sequence[EntryId]) -> str:
        places = ", ".join("?" * len(folder))
        return f"SELECT name FROM entries WHERE parent IN ({places}) AND shown = 1 GROUP BY name"

    # --- the past -------------------------------------------------------------------------------------------------

    def history(self, entry: EntryId) -> list[Past]:
        """Every version of `entry` that is still known, newest first."""
        rows = self._database.execute(
            f"SELECT {COLUMNS}, v.live FROM versions v WHERE v.entry = ? ORDER BY v.hlc DESC, v.id DESC", (entry,)
        )
        return [Past(self.held(row), bool(row[13])) for row in rows]

    def trash(self, before: tuple[int, EntryId] | None, limit: int) -> list[Held]:
        """Tombstones of entries that are not shown, latest deletion first, from before (hlc, entry) on."""
        hlc, entry = before or (2**63 - 1, EntryId(b"\xff" * 16))
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM entries e JOIN versions v ON v.id = e.version WHERE e.alive = 0 AND e.shown = 0"
            " AND v.deleted = 1 AND (e.hlc, e.entry) < (?, ?) ORDER BY e.hlc DESC, e.entry DESC LIMIT ?",
            (hlc, entry, limit),
        )
        return [self.held(row) for row in rows]
