"""Keeps the table `entries` equal to what the rules of `metadata.tree` say of the live versions, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId
from p2pstore.ledger.row_check import row_check
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.metadata.marks import Mark, Tag
from p2pstore.metadata.name_match import indexed
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.tree import Node, Rank, place
from p2pstore.metadata.vector import writer_of
from p2pstore.metadata.version import RECOVERED_ENTRY, Kind, Version, content_fields
from p2pstore.packing import pack
from p2pstore.seams.disk import Database

_NAMES_AT_ONCE = 1000
"""Names that wait to be indexed: a commit's."""

_STANDING = (ROOT_ENTRY, RECOVERED_ENTRY)


class TreeIndex:
    """Adds versions and keeps what follows from them.

    Attributes:
        changed_folders: folders whose listing may have changed since somebody last cleared this set.
        structure: rises whenever what a path of folders leads to may have changed.
    """

    def __init__(self, database: Database, writers: Writers) -> None:
        self._database = database
        self._writers = writers
        self.changed_folders: set[EntryId] = set()
        self.structure = 0
        self.now_hlc = 0
        """This machine's time; what comes or is superseded now is no older than this, whatever its author's clock."""
        self._names: list[tuple[int, str]] = []
        self.reload()

    def reload(self) -> None:
        """Read anew what is kept in memory: after a transaction or savepoint was undone."""
        self.structure += 1
        self._names.clear()
        self._has_foretold = bool(self._database.execute("SELECT 1 FROM foretold LIMIT 1"))
        self._has_misplaced = bool(self._database.execute("SELECT 1 FROM misplaced LIMIT 1"))

    def write_names(self) -> None:
        """Put the names of versions added meanwhile into the index of names: before the end of each transaction and of
        each savepoint. One by one they would cost more than everything else about a version."""
        if self._names:
            self._database.execute_many("INSERT INTO names(rowid, name) VALUES(?, ?)", self._names)
            self._names.clear()

    def add(self, slot: int, sequence: int, hlc: int, version: Version, superseded: Iterable[Dot]) -> None:
        """A version and what it supersedes, in whatever order operations arrive; once each."""
        touched = {version.entry}
        for dot in superseded:
            touched.update(self._bury(dot, slot, sequence, hlc))
        live = not self._is_foretold(slot, sequence)
        content = content_fields(version.content)
        row = (
            slot,
            sequence,
            hlc,
            version.entry,
            version.parent,
            version.name,
            int(version.kind),
            None if content is None else pack(content),
            version.size,
            version.mtime_ns,
            version.mode,
            version.deleted,
            version.former_parent,
        )
        [(number,)] = self._database.execute(
            "INSERT INTO versions(slot, sequence, hlc, entry, parent, name, kind, content, size, mtime_ns, mode,"
            " deleted, former, row_check, live, ended, came)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (*row, row_check(row), live, None if live else self._ended(slot, sequence, hlc), self.now_hlc),
        )
        self._names.append((number, indexed(version.name)))
        if len(self._names) >= _NAMES_AT_ONCE:
            self.write_names()
        if live and len(touched) == 1 and self._add_simple(number, slot, sequence, hlc, version):
            return
        for entry in sorted(touched):
            self.refresh(entry)

    def _add_simple(self, number: int, slot: int, sequence: int, hlc: int, version: Version) -> bool:
        """The common case in few statements: a living entry's first version, in a folder that is shown where it wants
        to be. False if it is not that case; then nothing was written."""
        folder = version.kind is Kind.FOLDER
        if version.deleted or (folder and self._has_misplaced) or version.parent == RECOVERED_ENTRY:
            return False
        if self._database.execute("SELECT 1 FROM entries WHERE entry = ?", (version.entry,)):
            return False
        if version.parent != ROOT_ENTRY and self._database.execute(
            "SELECT kind, shown FROM entries WHERE entry = ?", (version.parent,)
        ) != [(int(Kind.FOLDER), 1)]:
            return False
        self._database.execute(
            "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1, 0)",
            (
                version.entry,
                number,
                slot,
                sequence,
                hlc,
                version.parent,
                version.former_parent,
                version.parent,
                version.name,
                int(version.kind),
            ),
        )
        self.structure += folder
        self.changed_folders.add(version.parent)
        return True

    def mark(
        self,
        slot: int,
        sequence: int,
        hlc: int,
        mark: Mark | Retention | FolderPromise,
        superseded: Iterable[Dot],
    ) -> None:
        """A tag, snapshot, rule or promise, or the end of those in `superseded`; in whatever order, once each."""
        for dot in superseded:
            self._end_mark(dot)
        live = not self._is_foretold(-slot, sequence)
        if isinstance(mark, Tag):
            if mark.present:
                self._database.execute(
                    "INSERT OR IGNORE INTO tags VALUES(?, ?, ?, ?, ?)", (slot, sequence, live, mark.entry, mark.word)
                )
        elif isinstance(mark, Retention):
            if mark.days is not None:
                self._database.execute(
                    "INSERT OR IGNORE INTO retentions VALUES(?, ?, ?, ?, ?, ?)",
                    (slot, sequence, live, mark.entry, mark.days, mark.quota_bytes),
                )
        elif isinstance(mark, FolderPromise):
            if mark.word is not None:
                self._database.execute(
                    "INSERT OR IGNORE INTO folder_promises VALUES(?, ?, ?, ?, ?)",
                    (slot, sequence, live, mark.entry, mark.word),
                )
        elif mark.cut is not None:
            self._database.execute(
                "INSERT OR IGNORE INTO snapshots VALUES(?, ?, ?, ?, ?, ?, ?)",
                (slot, sequence, live, hlc, mark.id, mark.name, mark.cut.encode()),
            )

    def _end_mark(self, dot: Dot) -> None:
        slot = self._writers.ensure(writer_of(dot)).slot
        for table in ("tags", "snapshots", "retentions", "folder_promises"):
            ended = f"UPDATE {table} SET live = 0 WHERE slot = ? AND sequence = ? RETURNING slot"  # noqa: S608
            if self._database.execute(ended, (slot, dot.sequence)):
                return
        # with its slot negated: what ends a mark ends no version
        self._foretell(-slot, dot.sequence)

    def _is_foretold(self, slot: int, sequence: int) -> bool:
        return self._has_foretold and bool(
            self._database.execute("SELECT 1 FROM foretold WHERE slot = ? AND sequence = ?", (slot, sequence))
        )

    def _foretell(self, slot: int, sequence: int) -> None:
        self._has_foretold = True
        self._database.execute("INSERT OR IGNORE INTO foretold VALUES(?, ?)", (slot, sequence))

    def _bury(self, dot: Dot, by_slot: int, by_sequence: int, hlc: int) -> list[EntryId]:
        """Entries that lose a version; a dot that is not here yet is remembered."""
        slot, ended = self._writers.ensure(writer_of(dot)).slot, max(hlc, self.now_hlc)
        self._database.execute(
            "INSERT OR IGNORE INTO replaced VALUES(?, ?, ?, ?)", (slot, dot.sequence, by_slot, by_sequence)
        )
        rows = self._database.execute(
            "UPDATE versions SET live = 0, ended = min(coalesce(ended, ?), ?) WHERE slot = ? AND sequence = ?"
            " RETURNING entry",
            (ended, ended, slot, dot.sequence),
        )
        if not rows:
            self._foretell(slot, dot.sequence)
        return [EntryId(entry) for (entry,) in rows]

    def _ended(self, slot: int, sequence: int, hlc: int) -> int:
        """When what came after its successor was superseded."""
        [(ended,)] = self._database.execute(
            "SELECT min(max(v.hlc, v.came)) FROM replaced r"
            " JOIN versions v ON v.slot = r.by_slot AND v.sequence = r.by_sequence"
            " WHERE r.slot = ? AND r.sequence = ?",
            (slot, sequence),
        )
        return hlc if ended is None else max(hlc, int(ended))

    def lay_again(
        self, slot: int, sequence: int, hlc: int, version: Version, superseded: Iterable[Dot], *, dead: bool
    ) -> None:
        """Make the row of a version anew that was lost or is damaged; what it superseded stays so."""
        self._database.execute("DELETE FROM versions WHERE slot = ? AND sequence = ?", (slot, sequence))
        if dead:
            self._foretell(slot, sequence)
        self.add(slot, sequence, hlc, version, superseded)
        self.refresh(version.entry)

    def foretell_mark(self, slot: int, sequence: int) -> None:
        """A tag or snapshot that is about to be laid again has ended."""
        self._foretell(-slot, sequence)

    # --- one entry ------------------------------------------------------------------------------------------------

    def _rank(self, slot: int, sequence: int, hlc: int) -> Rank:
        writer = self._writers.by_slot(slot).writer
        return Rank(hlc, writer.author, sequence, writer.incarnation)

    def _node(self, entry: EntryId) -> Node | None:
        if entry in _STANDING:
            return None
        rows = self._database.execute(
            "SELECT wanted, former, kind, slot, sequence, hlc FROM entries WHERE entry = ?", (entry,)
        )
        if not rows:
            return None
        wanted, former, kind, slot, sequence, hlc = rows[0]
        return Node(
            EntryId(wanted),
            None if former is None else EntryId(former),
            Kind(kind),
            self._rank(slot, sequence, hlc),
        )

    def refresh(self, entry: EntryId) -> None:
        """Recompute the row of one entry from its live versions, and whatever follows for others."""
        rows = self._database.execute(
            "SELECT id, slot, sequence, hlc, deleted, parent, former, name, kind FROM versions"
            " WHERE entry = ? AND live = 1",
            (entry,),
        )
        old = self._database.execute("SELECT wanted, parent, kind, shown FROM entries WHERE entry = ?", (entry,))
        if not rows:
            if old:
                self._remove(entry, old[0])
            return
        first = rows[0] if len(rows) == 1 else self._winner(rows)
        number, slot, sequence, hlc, deleted, wanted, former, name, kind = first
        alive = not deleted
        if old:
            was_wanted, parent, was_kind, was_shown = old[0]
            self._database.execute(
                "UPDATE entries SET version = ?, slot = ?, sequence = ?, hlc = ?, wanted = ?, former = ?, name = ?,"
                " kind = ?, alive = ?, contested = ? WHERE entry = ?",
                (number, slot, sequence, hlc, wanted, former, name, kind, alive, len(rows) - 1, entry),
            )
        else:
            was_wanted, parent, was_kind, was_shown = None, wanted, None, 0
            self._database.execute(
                "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
                (entry, number, slot, sequence, hlc, wanted, former, wanted, name, kind, alive, len(rows) - 1),
            )
        self.changed_folders.add(EntryId(parent))
        structural = was_wanted != wanted or was_kind != kind
        folder = kind == Kind.FOLDER or was_kind == Kind.FOLDER
        self.structure += folder
        if structural or (folder and self._has_misplaced):
            self._place_around(entry, folder=folder, kind=kind, was_kind=was_kind)
        self._show(entry)
        if was_shown and was_kind == Kind.FOLDER:
            self.changed_folders.add(entry)

    def _winner(self, rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        return max(rows, key=lambda row: (not row[4], self._rank(row[1], row[2], row[3])))

    def _remove(self, entry: EntryId, old: tuple[Any, ...]) -> None:
        """No version is left: another entry's operation superseded the last."""
        _, parent, kind, _ = old
        self._database.execute("DELETE FROM entries WHERE entry = ?", (entry,))
        self._database.execute("DELETE FROM misplaced WHERE entry = ?", (entry,))
        self.changed_folders.add(EntryId(parent))
        if kind == Kind.FOLDER:
            self.structure += 1
            self._place_children(entry)
            self._place_misplaced()
        self._hide_if_empty(EntryId(parent))

    # --- places ---------------------------------------------------------------------------------------------------

    def _place_around(self, entry: EntryId, *, folder: bool, kind: int, was_kind: int | None) -> None:
        """Places that may differ now that `entry` wants another parent, or is of another kind."""
        if not folder:
            self._place(entry)
            return
        # the breaker of a cycle which `entry` has just closed goes first, so that shown parents never form a cycle;
        # breakers of old cycles are among the misplaced
        at, seen = entry, {entry}
        while (node := self._node(at)) is not None and node.parent not in seen:
            at = node.parent
            seen.add(at)
        if node is not None:
            for member in sorted(seen - {entry}):
                self._place(member)
        self._place(entry)
        if was_kind not in (None, kind):
            self._place_children(entry)
        self._place_misplaced()

    def _place_children(self, entry: EntryId) -> None:
        children = self._database.execute("SELECT entry FROM entries WHERE parent = ? OR wanted = ?", (entry, entry))
        for (child,) in sorted(children):
            if child not in _STANDING:
                self._place(EntryId(child))

    def _place_misplaced(self) -> None:
        if self._has_misplaced:
            for (other,) in self._database.execute("SELECT entry FROM misplaced ORDER BY entry"):
                self._place(EntryId(other))
            self._has_misplaced = bool(self._database.execute("SELECT 1 FROM misplaced LIMIT 1"))

    def _place(self, entry: EntryId) -> None:
        """Move `entry` to where the rules show it."""
        parent = place(entry, self._node)
        [(wanted, was, shown)] = self._database.execute(
            "SELECT wanted, parent, shown FROM entries WHERE entry = ?", (entry,)
        )
        if parent != wanted:
            self._has_misplaced = True
            self._database.execute("INSERT OR IGNORE INTO misplaced VALUES(?)", (entry,))
        elif self._has_misplaced:
            self._database.execute("DELETE FROM misplaced WHERE entry = ?", (entry,))
        if parent == was:
            return
        self.structure += 1
        self._database.execute("UPDATE entries SET parent = ? WHERE entry = ?", (parent, entry))
        self.changed_folders.update((EntryId(was), parent))
        if shown:
            self._show_parents(parent)
            self._hide_if_empty(EntryId(was))

    # --- what is shown --------------------------------------------------------------------------------------------

    def _show(self, entry: EntryId) -> None:
        """Show or hide `entry` as its own versions and what is shown below it say."""
        [(parent, alive, shown, kind)] = self._database.execute(
            "SELECT parent, alive, shown, kind FROM entries WHERE entry = ?", (entry,)
        )
        wanted = alive or (kind == Kind.FOLDER and self._has_children(entry))
        if wanted == shown:
            return
        self._database.execute("UPDATE entries SET shown = ? WHERE entry = ?", (wanted, entry))
        self.structure += kind == Kind.FOLDER
        if wanted:
            self._show_parents(EntryId(parent))
        else:
            self._hide_if_empty(EntryId(parent))

    def _has_children(self, entry: EntryId) -> bool:
        return bool(self._database.execute("SELECT 1 FROM entries WHERE parent = ? AND shown = 1 LIMIT 1", (entry,)))

    def _show_parents(self, entry: EntryId) -> None:
        """What is alive keeps the folders above it alive."""
        rows = self._database.execute(
            "UPDATE entries SET shown = 1 WHERE entry = ? AND shown = 0 RETURNING parent", (entry,)
        )
        while rows:
            self.structure += 1
            parent = EntryId(rows[0][0])
            self.changed_folders.add(parent)
            rows = self._database.execute(
                "UPDATE entries SET shown = 1 WHERE entry = ? AND shown = 0 RETURNING parent", (parent,)
            )

    def _hide_if_empty(self, entry: EntryId) -> None:
        """A deleted folder goes when the last thing shown below it has gone."""
        while not self._has_children(entry):
            rows = self._database.execute(
                "UPDATE entries SET shown = 0 WHERE entry = ? AND alive = 0 AND shown = 1 RETURNING parent", (entry,)
            )
            if not rows:
                return
            self.structure += 1
            entry = EntryId(rows[0][0])
            self.changed_folders.add(entry)
