"""Frozen operations: what removed machines wrote beyond their cut, and copies of one installation after they parted.
Which they are, and what they would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2pstore.ids import EntryId, PeerId
from p2pstore.ledger.branches import Branches
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.adoption import Adoption, join_all
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import Kind, Version, content_fields
from p2pstore.packing import pack
from p2pstore.seams.disk import Database


@dataclass(frozen=True, slots=True)
class FrozenChange:
    """One frozen version.

    Attributes:
        path: where it would lie, or what it would remove.
        kind: file, folder or link.
        size: plain bytes.
        deleted: whether it removes.
        hlc: when, by its author's clock.
    """

    path: Path
    kind: Kind
    size: int
    deleted: bool
    hlc: int


class Frozen:
    """How far the operations of each writer count."""

    def __init__(self, database: Database, writers: Writers, branches: Branches) -> None:
        self._database = database
        self._branches = branches
        self._writers = writers
        self._cuts: dict[PeerId, Vector] = {}
        self._adopted: Mapping[PeerId, Vector] = {}
        self.reload()

    def reload(self) -> None:
        """Read anew what is kept in memory: after a transaction or savepoint was undone."""
        self._cuts = {
            PeerId(author): Vector.decode(cut) for author, cut in self._database.execute("SELECT author, cut FROM cuts")
        }
        self._find_adopted()

    def _find_adopted(self) -> None:
        # An adoption counts if its own author's removal does not hold it back; that another adoption brings it back
        # in is not asked, so that two machines cannot adopt each other.
        counting = []
        rows = self._database.execute("SELECT slot, sequence, author, upto FROM adoptions ORDER BY slot, sequence")
        for slot, sequence, author, upto in rows:
            cut = self._cuts.get((by := self._writers.by_slot(slot).writer).author)
            if cut is None or cut[by] >= sequence:
                counting.append((PeerId(author), Vector.decode(upto)))
        self._adopted = join_all(counting)

    @property
    def has_cuts(self) -> bool:
        """Whether anything may be frozen: a machine was removed with a cut, or a chain has forked."""
        return bool(self._cuts) or bool(self._branches.limits())

    def limit(self, writer: Writer) -> int | None:
        """Up to which sequence the operations of `writer` count; None for all."""
        forked, reach = self._branches.limit(writer), self.reach(writer)
        return min(forked, reach) if forked is not None and reach is not None else forked if reach is None else reach

    def reach(self, writer: Writer) -> int | None:
        """The same by removals and adoptions alone."""
        cut = self._cuts.get(writer.author)
        if cut is None:
            return None
        adopted = self._adopted.get(writer.author)
        return max(cut[writer], 0 if adopted is None else adopted[writer])

    def limits(self) -> dict[Writer, int]:
        """For every writer of whom something is here, how far that counts."""
        found = {}
        for writer, sequence in self._writers.vector().entries.items():
            limit = self.limit(writer)
            found[writer] = sequence if limit is None else min(sequence, limit)
        return found

    def set_cuts(self, cuts: Mapping[PeerId, Vector]) -> bool:
        """Other machines are removed, or other cuts count; whether operations that are here freeze or thaw by it."""
        if cuts == self._cuts:
            return False
        before = self.limits()
        self._database.execute("DELETE FROM cuts")
        self._database.execute_many(
            "INSERT INTO cuts VALUES(?, ?)", [(peer, cut.encode()) for peer, cut in sorted(cuts.items())]
        )
        self._cuts = dict(cuts)
        self._find_adopted()
        return self.limits() != before

    def adopt(self, slot: int, sequence: int, adoption: Adoption) -> bool:
        """An adoption; whether operations that are here thaw by it."""
        before = self.limits()
        self._database.execute(
            "INSERT OR IGNORE INTO adoptions VALUES(?, ?, ?, ?)",
            (slot, sequence, adoption.author, adoption.upto.encode()),
        )
        self._find_adopted()
        return self.limits() != before

    def keep(self, slot: int, sequence: int, hlc: int, version: Version) -> None:
        """A frozen version: listed, and its content not collected while it may be adopted."""
        writer = self._writers.by_slot(slot).writer
        if self._branches.limit(writer) is not None and self._branches.is_settled(writer):
            return
        content = content_fields(version.content)
        self._database.execute(
            "INSERT OR IGNORE INTO frozen VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                slot,
                sequence,
                hlc,
                version.parent,
                version.name,
                int(version.kind),
                None if content is None else pack(content),
                version.size,
                version.deleted,
            ),
        )

    def counts(self) -> dict[PeerId, int]:
        """How many versions of each machine are frozen."""
        found: dict[PeerId, int] = {}
        for slot, count in self._database.execute("SELECT slot, count(*) FROM frozen GROUP BY slot"):
            author = self._writers.by_slot(slot).writer.author
            found[author] = found.get(author, 0) + count
        return dict(sorted(found.items()))

    def changes(self, author: PeerId, past: HistoryView, limit: int) -> list[FrozenChange]:
        """The first `limit` frozen versions of one machine, in the order in which it wrote them."""
        found: list[FrozenChange] = []
        for slot, *_ in self._database.execute("SELECT slot, min(sequence) FROM frozen GROUP BY slot ORDER BY slot"):
            if self._writers.by_slot(slot).writer.author != author:
                continue
            for parent, name, kind, size, deleted, hlc in self._database.execute(
                "SELECT parent, name, kind, size, deleted, hlc FROM frozen WHERE slot = ? ORDER BY sequence LIMIT ?",
                (slot, limit - len(found)),
            ):
                path = (*past.place_of(EntryId(parent)), name)
                found.append(FrozenChange(path, Kind(kind), size, bool(deleted), hlc))
        return found

    def upto(self, author: PeerId) -> Vector:
        """All that is here of a machine: what an adoption now would name."""
        entries = self._writers.vector().entries
        return Vector({writer: sequence for writer, sequence in entries.items() if writer.author == author})
