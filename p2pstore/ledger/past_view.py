"""The tree as it was at a cut: the rules of `metadata.tree` over the versions that were live then.

A version was live at a cut if the cut covers it and no operation that the cut covers superseded it. Nothing is kept for
this: each listing reads the versions that ever lay in the folder. What lay in `/Recovered` then is looked for among
what is out of place now.
"""

# ruff: noqa: S608 - only this file's own SQL and question marks are put together

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from p2pstore.ids import ROOT_ENTRY, EntryId
from p2pstore.ledger.tree_view import COLUMNS, TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.tree import Node, PeerName, place, rank, winner
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Kind
from p2pstore.seams.disk import Database

_LIVE: Final = (
    "v.sequence <= coalesce((SELECT c.sequence FROM cut c WHERE c.slot = v.slot), 0)"
    " AND (v.live = 1 OR NOT EXISTS (SELECT 1 FROM replaced r JOIN cut c ON c.slot = r.by_slot"
    " WHERE r.slot = v.slot AND r.sequence = v.sequence AND r.by_sequence <= c.sequence))"
)


class PastView(TreeView):
    """Answers about the tree as it was at a cut; for one question, as what it learns it remembers."""

    def __init__(self, database: Database, writers: Writers, peer_name: PeerName, at: Vector) -> None:
        super().__init__(database, writers, peer_name)
        self.at = at
        reach = [(state.slot, at[writer]) for writer in sorted(at.entries) if (state := writers.get(writer))]
        self._reach = tuple(number for pair in reach for number in pair)
        values = ", ".join(["(?, ?)"] * len(reach)) or "(-1, 0)"
        self._with_cut = f"WITH cut(slot, sequence) AS MATERIALIZED (VALUES {values}) "
        self._live: dict[EntryId, list[Held]] = {}
        self._shown: dict[EntryId, bool] = {}

    def _select(self, what: str, where: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Columns of versions that were live then."""
        return self._database.execute(
            f"{self._with_cut}SELECT {what} FROM versions v WHERE {_LIVE} AND {where}", (*self._reach, *parameters)
        )

    # --- entries ------------------------------------------------------------------------------------------------------

    def live_versions(self, entry: EntryId) -> list[Held]:
        """All versions of `entry` that were live then, tombstones too, sorted by dot."""
        if entry not in self._live:
            rows = self._select(COLUMNS, "v.entry = ?", (entry,))
            self._live[entry] = sorted((self.held(row) for row in rows), key=lambda held: held.dot)
        return self._live[entry]

    def _node(self, entry: EntryId) -> Node | None:
        versions = self.live_versions(entry)
        if not versions:
            return None
        first = winner(versions)
        return Node(first.version.parent, first.version.former_parent, first.version.kind, rank(first))

    def _is_shown(self, entry: EntryId) -> bool:
        """Alive, or a folder above something alive."""
        if entry in self._shown:
            return self._shown[entry]
        if entry == RECOVERED_ENTRY:
            shown = bool(self._strays())
        else:
            self._shown[entry] = False  # for a folder that would be asked about itself
            versions = self.live_versions(entry)
            first = winner(versions).version if versions else None
            shown = first is not None and (
                not first.deleted or (first.kind is Kind.FOLDER and self._has_children(entry))
            )
        self._shown[entry] = shown
        return shown

    def _has_children(self, folder: EntryId) -> bool:
        wanting = self._select(
            "v.entry", "v.parent = ? AND (v.deleted = 0 OR v.kind = ?)", (folder, int(Kind.FOLDER))
        )
        candidates = [EntryId(entry) for (entry,) in wanting] + self._moved_from((folder,))
        return any(self._lies_in(entry, (folder,)) and self._is_shown(entry) for entry in sorted(set(candidates)))

    def _lies_in(self, entry: EntryId, folder: Sequence[EntryId]) -> bool:
        return bool(self.live_versions(entry)) and place(entry, self._node) in folder

    def _moved_from(self, folder: Sequence[EntryId]) -> list[EntryId]:
        """Folders that a cycle of moves may show where they lay before."""
        places = ", ".join("?" * len(folder))
        where = f"v.former IN ({places}) AND v.kind = ? AND v.deleted = 0"
        return [EntryId(entry) for (entry,) in self._select("v.entry", where, (*folder, int(Kind.FOLDER)))]

    def _strays(self) -> list[EntryId]:
        """What was shown in `/Recovered`."""
        found = [EntryId(entry) for (entry,) in self._database.execute("SELECT entry FROM misplaced ORDER BY entry")]
        return [entry for entry in found if self._lies_in(entry, (RECOVERED_ENTRY,)) and self._is_shown(entry)]

    # --- names --------------------------------------------------------------------------------------------------------

    def _row(self, entry: EntryId) -> tuple[Any, ...]:
        """What `TreeView` reads of an entry: the columns of a version are only asked for where it cannot do without."""
        if entry == RECOVERED_ENTRY:
            return (*(None,) * 13, b"Recovered", entry, 0)
        versions = self.live_versions(entry)
        return (*(None,) * 13, winner(versions).version.name, entry, 1)

    def _out_of_place(self, folder: Sequence[EntryId]) -> list[EntryId]:
        """Entries that may be shown in `folder` though they want to lie elsewhere."""
        if RECOVERED_ENTRY in folder:
            return self._strays()
        moved = [entry for entry in self._moved_from(folder) if self._lies_in(entry, folder)]
        return [*moved, RECOVERED_ENTRY] if ROOT_ENTRY in folder and self._is_shown(RECOVERED_ENTRY) else moved

    def _rows_of(self, folder: Sequence[EntryId], candidates: list[EntryId]) -> list[tuple[Any, ...]]:
        """One row for each of the candidates that is shown in `folder`, by name."""
        rows = [
            self._row(entry)
            for entry in sorted(set(candidates))
            if entry == RECOVERED_ENTRY or (self._lies_in(entry, folder) and self._is_shown(entry))
        ]
        return sorted(rows, key=lambda row: (row[13], row[14]))

    def _named(self, folder: Sequence[EntryId], name: bytes) -> list[tuple[Any, ...]]:
        places = ", ".join("?" * len(folder))
        where = f"v.parent IN ({places}) AND v.name = ? AND (v.deleted = 0 OR v.kind = ?)"
        found = self._select("v.entry", where, (*folder, name, int(Kind.FOLDER)))
        candidates = [EntryId(entry) for (entry,) in found] + self._out_of_place(folder)
        return [row for row in self._rows_of(folder, candidates) if row[13] == name]

    def _page(self, folder: Sequence[EntryId], after: bytes, count: int) -> list[tuple[Any, ...]]:
        places = ", ".join("?" * len(folder))
        where = f"v.parent IN ({places}) AND v.name > ? AND (v.deleted = 0 OR v.kind = ?) ORDER BY v.name LIMIT ?"
        others = [row for row in self._rows_of(folder, self._out_of_place(folder)) if row[13] > after]
        rows: list[tuple[Any, ...]] = []
        while len(rows) < count:
            found = self._select("v.entry, v.name", where, (*folder, after, int(Kind.FOLDER), count))
            full = len(found) == count
            upto = found[-1][1] if found else b""
            if full:
                # what has the last name is taken whole, so that the next look begins after it
                found = [*found, *self._select(
                    "v.entry, v.name", f"v.parent IN ({places}) AND v.name = ?", (*folder, upto)
                )]  # fmt: skip
            page = self._rows_of(folder, [EntryId(entry) for entry, _ in found])
            rows.extend(row for row in page if after < row[13] and (not full or row[13] <= upto))
            if not full:
                break
            after = upto
        else:
            others = [row for row in others if row[13] <= rows[-1][13]]
        unique = {row[14]: row for row in (*rows, *others)}
        return sorted(unique.values(), key=lambda row: (row[13], row[14]))[:count]

    def _is_taken(self, folder: Sequence[EntryId], name: bytes) -> bool:
        return bool(self._named(folder, name))

    def _contested_names(self, folder: Sequence[EntryId]) -> list[bytes]:
        places = ", ".join("?" * len(folder))
        rows = self._select("v.name", f"v.parent IN ({places}) GROUP BY v.name HAVING count(*) > 1", tuple(folder))
        return [name for (name,) in rows]
