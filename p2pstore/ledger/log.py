"""Who did what, when: read from commits, and the commits themselves for whoever checks them."""

# ruff: noqa: S608 - only this file's own SQL and question marks are put together

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.ids import PeerId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.tree_view import COLUMNS, TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.vector import Writer
from p2pstore.seams.disk import Database

SAMPLES: Final = 3
"""Names given for each kind of change of one commit: a line of a list."""

OPERATIONS_PAGE: Final = 2000
"""Operations described in one question: 0.1 s at most."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One kind of change in one commit.

    Attributes:
        change: a `ChangeKind`, or "tagged", "snapshot", "retention", "adopted" or "forked".
        count: how many entries.
        samples: paths, or names, of the first few.
    """

    change: str
    count: int
    samples: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit.

    Attributes:
        number: rises in the order in which commits were applied here.
        author: who signed it.
        hlc: when, by the author's clock.
        hash: what the author's next commit names.
        operations: how many it carries.
        deeds: what it did, as far as this machine can read it.
    """

    number: int
    author: PeerId
    hlc: int
    hash: bytes
    operations: int
    deeds: tuple[Deed, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """How far one writer's commits go here.

    Attributes:
        slot: its number in the ledger's tables.
        writer: author and incarnation.
        sequence, commit_hash: of the last commit.
        frozen: whether a fork was found.
    """

    slot: int
    writer: Writer
    sequence: int
    commit_hash: bytes
    frozen: bool


class LogView:
    """Answers about commits."""

    def __init__(self, database: Database, writers: Writers, view: TreeView, past: HistoryView) -> None:
        self._database = database
        self._writers = writers
        self._view = view
        self._past = past

    def page(
        self, before: tuple[int, int] | None, since_hlc: int, author: PeerId | None, limit: int
    ) -> tuple[list[LogEntry], tuple[int, int] | None]:
        """Commits, the latest first by their authors' clocks; and what to ask the next page with."""
        of_author, slots = self._of_author(author)
        rows = self._database.execute(
            "SELECT id, slot, first, last, hlc, hash FROM commits INDEXED BY commits_by_time WHERE (hlc, id) < (?, ?)"
            f" AND hlc >= ?{of_author} ORDER BY hlc DESC, id DESC LIMIT ?",
            (*(before or (2**63 - 1, 2**63 - 1)), since_hlc, *slots, limit),
        )
        taken = _within(rows)
        entries = [self._entry(row) for row in taken]
        more = len(taken) < len(rows) or len(rows) == limit
        return entries, (taken[-1][4], taken[-1][0]) if more and taken else None

    def after(self, number: int, author: PeerId | None, limit: int) -> list[LogEntry]:
        """Commits applied after number `number`, in that order."""
        of_author, slots = self._of_author(author)
        rows = self._database.execute(
            f"SELECT id, slot, first, last, hlc, hash FROM commits WHERE id > ?{of_author} ORDER BY id LIMIT ?",
            (number, *slots, limit),
        )
        return [self._entry(row) for row in _within(rows)]

    def last_number(self) -> int:
        """The number of the commit applied last; 0 for none."""
        return int(self._database.execute("SELECT coalesce(max(id), 0) FROM commits")[0][0])

    def _of_author(self, author: PeerId | None) -> tuple[str, list[int]]:
        """SQL that keeps one author's commits, and its parameters. The plus keeps SQLite from sorting all of them."""
        if author is None:
            return "", []
        slots = [chain.slot for chain in self.chains() if chain.writer.author == author]
        return f" AND +slot IN ({', '.join('?' * len(slots))})", slots

    def _entry(self, row: Sequence[Any]) -> LogEntry:
        number, slot, first, last, hlc, commit_hash = row
        author = self._writers.by_slot(slot).writer.author
        return LogEntry(number, author, hlc, commit_hash, last - first + 1, self._deeds(slot, first, last))

    def _deeds(self, slot: int, first: int, last: int) -> tuple[Deed, ...]:
        counts: dict[str, int] = {}
        samples: dict[str, list[Path]] = {}

        def note(change: str, path: Path) -> None:
            counts[change] = counts.get(change, 0) + 1
            if len(named := samples.setdefault(change, [])) < SAMPLES:
                named.append(path)

        where = "slot = ? AND sequence >= ? AND sequence <= ? ORDER BY sequence"
        for row in self._database.execute(f"SELECT {COLUMNS} FROM versions v WHERE v.{where}", (slot, first, last)):
            held = self._view.held(row)
            change = str(self._past.change_of(held))
            full = len(samples.get(change, ())) == SAMPLES
            note(change, () if full else (*self._past.place_of(held.version.parent), held.version.name))
        for entry, _ in self._database.execute(f"SELECT entry, word FROM tags WHERE {where}", (slot, first, last)):
            note("tagged", self._past.place_of(entry))
        for (name,) in self._database.execute(f"SELECT name FROM snapshots WHERE {where}", (slot, first, last)):
            note("snapshot", (name.encode(),))
        for (entry,) in self._database.execute(f"SELECT entry FROM retentions WHERE {where}", (slot, first, last)):
            note("retention", self._past.place_of(entry))
        for change, table in (("adopted", "adoptions"), ("forked", "forked")):
            for (author,) in self._database.execute(f"SELECT author FROM {table} WHERE {where}", (slot, first, last)):
                note(change, (self._view.name_of(PeerId(author)).encode(),))
        return tuple(Deed(change, counts[change], tuple(samples[change])) for change in counts)

    # --- for whoever checks -------------------------------------------------------------------------------------------

    def chains(self) -> list[Chain]:
        """Every writer of whom commits are here, by name."""
        found = []
        for writer, sequence in self._writers.vector().sorted_entries():
            state = self._writers.get(writer)
            assert state is not None
            found.append(Chain(state.slot, writer, sequence, state.commit_hash, state.frozen))
        return found

    def raw_commits(self, slot: int, after: int, limit: int) -> list[bytes]:
        """A writer's commits that begin after sequence number `after`, in order."""
        rows = self._database.execute(
            "SELECT raw FROM commits WHERE slot = ? AND first > ? ORDER BY first LIMIT ?", (slot, after, limit)
        )
        return [raw for (raw,) in rows]


def _within(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows, with at most OPERATIONS_PAGE operations together; at least one."""
    operations = 0
    for count, row in enumerate(rows):
        operations += row[3] - row[2] + 1
        if count and operations > OPERATIONS_PAGE:
            return rows[:count]
    return rows
