"""Mass changes in the ledger's rows: who has removed or rewritten so much of a folder that somebody should look first.

Told from signed operations and their own clocks, so that every machine that reads them finds the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.ids import ROOT_ENTRY, EntryId, PeerId
from p2pstore.ledger.writers import Writers
from p2pstore.limits import BRAKE_ENTRIES_MIN, BRAKE_SHARES
from p2pstore.metadata.clock import COUNTER_BITS
from p2pstore.seams.disk import Database

_DEPTH_MAX: Final = 4096
_STEPS: Final = 6
"""A window is laid anew after each sixth of its length, and is a sixth longer: none of the right length is missed."""


@dataclass(frozen=True, slots=True)
class MassChange:
    """What one machine did to one folder.

    Attributes:
        author: the machine.
        folder: the topmost folder of which it is too much.
        since: hybrid clock of the first of these operations.
        upto: of the last.
        count: entries that were there before and were removed or rewritten.
        entries: entries that were in the folder and below it before.
    """

    author: PeerId
    folder: EntryId
    since: int
    upto: int
    count: int
    entries: int

    def covers(self, other: MassChange) -> bool:
        """Whether `other` is a part of this."""
        same = (self.author, self.folder) == (other.author, other.folder)
        return same and self.since <= other.since and other.upto <= self.upto


@dataclass(frozen=True, slots=True)
class Touch:
    """An entry removed or rewritten: when, by which row, and since when there is a state that this one ended."""

    hlc: int
    slot: int
    sequence: int
    entry: EntryId
    born: int


def last_commit(database: Database) -> int:
    """The number of the commit that came last."""
    return int(database.execute("SELECT coalesce(max(id), 0) FROM commits")[0][0])


def authors_since(database: Database, writers: Writers, after: int) -> dict[PeerId, tuple[int, int]]:
    """Who wrote what came after a commit, and the first and last clock of it."""
    found: dict[PeerId, tuple[int, int]] = {}
    rows = database.execute("SELECT slot, min(hlc), max(hlc) FROM commits WHERE id > ? GROUP BY slot", (after,))
    for slot, first, last in rows:
        author = writers.by_slot(slot).writer.author
        before = found.get(author, (first, last))
        found[author] = min(before[0], first), max(before[1], last)
    return dict(sorted(found.items()))


def touches(database: Database, writers: Writers, author: PeerId, since: int, upto: int) -> list[Touch]:
    """What `author` removed or rewrote between two clocks, in their order."""
    found: list[Touch] = []
    for (slot,) in database.execute("SELECT slot FROM writers WHERE author = ? ORDER BY slot", (author,)):
        assert writers.by_slot(slot).writer.author == author
        [(first, last)] = database.execute(
            "SELECT min(first), max(last) FROM commits WHERE slot = ? AND hlc BETWEEN ? AND ?", (slot, since, upto)
        )
        if first is None:
            continue
        rows: list[tuple[Any, ...]] = database.execute(
            "SELECT v.hlc, v.sequence, v.entry, (SELECT min(o.hlc) FROM versions o WHERE o.entry = v.entry"
            " AND o.hlc < v.hlc AND o.deleted = 0 AND (v.deleted > 0 OR o.content IS NOT v.content)) AS born"
            " FROM versions v WHERE v.slot = ? AND v.sequence BETWEEN ? AND ? AND v.hlc BETWEEN ? AND ?"
            " AND born IS NOT NULL",
            (slot, first, last, since, upto),
        )
        found += [Touch(hlc, slot, sequence, EntryId(entry), born) for hlc, sequence, entry, born in rows]
    return sorted(found, key=lambda each: (each.hlc, each.slot, each.sequence))


def mass_changes(
    database: Database, writers: Writers, author: PeerId, since: int, upto: int, allowed: int
) -> list[MassChange]:
    """What is too much of all that `author` did in the windows that touch [since, upto], later than `allowed`."""
    longest = max(span_ms for span_ms, _ in BRAKE_SHARES) * 2 << COUNTER_BITS
    all_touches = touches(database, writers, author, max(since - longest, allowed + 1), upto + longest)
    clocks = [each.hlc for each in all_touches]
    above: dict[EntryId, tuple[EntryId, ...]] = {}
    found: list[MassChange] = []
    for span_ms, share in BRAKE_SHARES:
        step = (span_ms << COUNTER_BITS) // _STEPS
        at = 0
        while at < len(all_touches):
            start = clocks[at]
            end = bisect_right(clocks, start + (span_ms << COUNTER_BITS) + step)
            change = _too_much(database, above, all_touches[at:end], share) if end - at >= BRAKE_ENTRIES_MIN else None
            if change is None:
                at = bisect_right(clocks, start + step, lo=at)
            else:
                folder, count, entries = change
                found.append(MassChange(author, folder, start, clocks[end - 1], count, entries))
                at = end
    return found


def _too_much(
    database: Database, above: dict[EntryId, tuple[EntryId, ...]], window: list[Touch], share: float
) -> tuple[EntryId, int, int] | None:
    """The topmost folder of which `window` changes too much, how many of its entries, and how many it had."""
    start = window[0].hlc
    touched: defaultdict[EntryId, set[EntryId]] = defaultdict(set)
    for each in window:
        if each.born < start:
            for folder in _folders_above(database, above, each.entry):
                touched[folder].add(each.entry)
    for folder, entries in sorted(touched.items(), key=lambda item: (-len(item[1]), item[0] != ROOT_ENTRY, item[0])):
        if len(entries) < BRAKE_ENTRIES_MIN:
            break
        limit = int(len(entries) / share) + 1
        before = _entries_at(database, folder, start, limit)
        if before < limit and len(entries) > share * before:
            return folder, len(entries), before
    return None


def _folders_above(
    database: Database, known: dict[EntryId, tuple[EntryId, ...]], entry: EntryId
) -> tuple[EntryId, ...]:
    rows = database.execute("SELECT parent FROM entries WHERE entry = ?", (entry,))
    parent = EntryId(rows[0][0]) if rows else ROOT_ENTRY
    if parent not in known:
        folders = [parent]
        while folders[-1] != ROOT_ENTRY and len(folders) < _DEPTH_MAX:
            rows = database.execute("SELECT parent FROM entries WHERE entry = ?", (folders[-1],))
            folders.append(EntryId(rows[0][0]) if rows and rows[0][0] else ROOT_ENTRY)
        known[parent] = tuple(folders)
    return known[parent]


def _entries_at(database: Database, folder: EntryId, at: int, limit: int) -> int:
    """How many entries were below `folder` at a clock, at most `limit`."""
    [(count,)] = database.execute(
        "WITH RECURSIVE below(entry, kind) AS (SELECT entry, kind FROM entries WHERE parent = ?1"
        " UNION SELECT e.entry, e.kind FROM below b JOIN entries e ON e.parent = b.entry WHERE b.kind = 1)"
        " SELECT count(*) FROM (SELECT 1 FROM below b WHERE EXISTS(SELECT 1 FROM versions v WHERE v.entry = b.entry"
        " AND v.hlc < ?2 AND v.deleted = 0 AND (v.ended IS NULL OR v.ended >= ?2)) LIMIT ?3)",
        (folder, at, limit),
    )
    return int(count)


def left_as_it_is(database: Database, writers: Writers, change: MassChange) -> int:
    """How many entries are still as the mass change left them."""
    found = 0
    for each in touches(database, writers, change.author, change.since, change.upto):
        found += bool(
            database.execute(
                "SELECT 1 FROM entries WHERE entry = ? AND slot = ? AND sequence = ?",
                (each.entry, each.slot, each.sequence),
            )
        )
    return found
