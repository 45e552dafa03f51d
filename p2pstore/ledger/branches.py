"""Chains of commits, compared with those of others, and the branches of writers whose chain has forked."""

from __future__ import annotations

from dataclasses import dataclass

from p2pstore.ids import Incarnation, PeerId
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.vector import Writer
from p2pstore.seams.disk import Database


@dataclass(frozen=True, slots=True)
class Link:
    """One commit of a chain.

    Attributes:
        first, last: its sequence numbers.
        hash: what names it.
    """

    first: int
    last: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends.

    Attributes:
        writer: whose.
        sequence: of its last operation.
        hash: of its last commit.
    """

    writer: Writer
    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class StatedFork:
    """A fork that the household knows of.

    Attributes:
        writer: whose chain has two branches.
        upto: the last operation of both.
        hlc: when it was last said, by the clock of who said it.
    """

    writer: Writer
    upto: int
    hlc: int


class Branches:
    """Answers about chains, and what was stated of forks."""

    def __init__(self, database: Database, writers: Writers) -> None:
        self._database = database
        self._writers = writers
        self._upto: dict[Writer, int] = {}
        self._settled: set[bytes] = set()
        self.reload()

    def reload(self) -> None:
        """Read anew what is kept in memory: after a transaction or savepoint was undone."""
        self._upto.clear()
        self._settled.clear()
        for author, incarnation, upto, settled in self._database.execute(
            "SELECT author, incarnation, upto, settled FROM forked"
        ):
            self._note(Forked(Writer(PeerId(author), Incarnation(incarnation)), upto, settled))

    def _note(self, forked: Forked) -> None:
        self._upto[forked.writer] = min(forked.upto, self._upto.get(forked.writer, forked.upto))
        if forked.settled is not None:
            self._settled.add(forked.settled)

    # --- what was stated ----------------------------------------------------------------------------------------------

    def state(self, slot: int, sequence: int, forked: Forked) -> None:
        """Somebody says that a writer's chain has forked."""
        self._database.execute(
            "INSERT OR IGNORE INTO forked VALUES(?, ?, ?, ?, ?, ?)",
            (slot, sequence, *forked.writer, forked.upto, forked.settled),
        )
        self._note(forked)
        if self.is_settled(forked.writer) and (state := self._writers.get(forked.writer)) is not None:
            self._database.execute("DELETE FROM frozen WHERE slot = ?", (state.slot,))

    def limit(self, writer: Writer) -> int | None:
        """The last operation of `writer` that counts; None if its chain is not known to have forked."""
        return self._upto.get(writer)

    def limits(self) -> dict[Writer, int]:
        """The same of all that have forked."""
        return dict(self._upto)

    def first_of_branch(self, writer: Writer) -> bytes | None:
        """The hash of the first commit of the branch that is here; None if nothing beyond the fork is."""
        link = self.link_at(writer, self._upto[writer] + 1)
        return None if link is None else link.hash

    def is_settled(self, writer: Writer) -> bool:
        """Whether the branch that is here has been written anew, or nothing of any is here."""
        first = self.first_of_branch(writer)
        return first is None or first in self._settled

    def unsettled(self) -> list[Writer]:
        """Writers that have forked and of whom a branch is here that nobody has written anew."""
        return [writer for writer in sorted(self._upto) if not self.is_settled(writer)]

    def stated(self) -> list[StatedFork]:
        """Every writer that has forked, the one stated last first."""
        rows = self._database.execute(
            "SELECT f.author, f.incarnation, min(f.upto), max(c.hlc) FROM forked f JOIN commits c ON c.slot = f.slot"
            " AND c.first <= f.sequence AND c.last >= f.sequence GROUP BY f.author, f.incarnation"
            " ORDER BY max(c.hlc) DESC, f.author, f.incarnation"
        )
        return [
            StatedFork(Writer(PeerId(author), Incarnation(incarnation)), upto, hlc)
            for author, incarnation, upto, hlc in rows
        ]

    # --- chains -------------------------------------------------------------------------------------------------------

    def heads(self) -> list[Head]:
        """Where every chain that is here ends, by writer."""
        found = []
        for writer, sequence in self._writers.vector().sorted_entries():
            state = self._writers.get(writer)
            assert state is not None
            found.append(Head(writer, sequence, state.commit_hash))
        return found

    def differs(self, head: Head) -> bool:
        """Whether our chain reaches as far as `head` and is another one there."""
        state = self._writers.get(head.writer)
        if state is None or state.sequence < head.sequence:
            return False
        rows = self._database.execute(
            "SELECT hash FROM commits WHERE slot = ? AND first <= ? AND last >= ?",
            (state.slot, head.sequence, head.sequence),
        )
        return bool(rows) and rows != [(head.hash,)]

    def link_at(self, writer: Writer, first: int) -> Link | None:
        """Our commit of `writer` that begins with operation `first`."""
        state = self._writers.get(writer)
        if state is None:
            return None
        rows = self._database.execute(
            "SELECT first, last, hash FROM commits WHERE slot = ? AND first = ?", (state.slot, first)
        )
        return Link(*rows[0]) if rows else None

    def links(self, writer: Writer, before: int, limit: int) -> list[Link]:
        """Our commits of `writer` that begin before operation `before`, the latest first."""
        state = self._writers.get(writer)
        if state is None:
            return []
        rows = self._database.execute(
            "SELECT first, last, hash FROM commits WHERE slot = ? AND first < ? ORDER BY first DESC LIMIT ?",
            (state.slot, before, limit),
        )
        return [Link(*row) for row in rows]

    def raw_at(self, writer: Writer, first: int) -> bytes | None:
        """Our commit of `writer` that begins with operation `first`, as it was signed."""
        state = self._writers.get(writer)
        if state is None:
            return None
        rows = self._database.execute("SELECT raw FROM commits WHERE slot = ? AND first = ?", (state.slot, first))
        return bytes(rows[0][0]) if rows else None

    def raw_after(self, writer: Writer, upto: int) -> list[bytes]:
        """Our commits of `writer` beyond operation `upto`, in order."""
        state = self._writers.get(writer)
        if state is None:
            return []
        rows = self._database.execute(
            "SELECT raw FROM commits WHERE slot = ? AND first > ? ORDER BY first", (state.slot, upto)
        )
        return [bytes(raw) for (raw,) in rows]
