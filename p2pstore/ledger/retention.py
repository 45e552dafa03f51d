"""History in the ledger's rows: which rules hold where, and dropping what they no longer ask to keep.

Dropped are rows: a superseded version leaves the history, a tombstone leaves the trash. What they named is then
referred to by nothing here (`references.py`); its shards are for collection to judge.
"""



from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId
from p2pstore.ledger.marks import live_snapshots
from p2pstore.ledger.writers import Writers
from p2pstore.limits import HISTORY_FLOOR_DAYS
from p2pstore.metadata.clock import COUNTER_BITS, hlc_ms
from p2pstore.metadata.name_match import indexed
from p2pstore.metadata.retention import DEFAULT, Retention, is_over, longest
from p2pstore.metadata.vector import Vector
from p2pstore.seams.disk import Database

_DEPTH_MAX: Final = 4096

Position = tuple[int, int]
"""(clock at which it ended, id of the version): the order in which history is gone through."""


@dataclass(frozen=True, slots=True)
class SetRule:
    """A rule that is in force.

    Attributes:
        rule: what it says.
        dots: the operations that said it; a new rule supersedes them.
    """

    rule: Retention
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Swept:
    """A page of history that was gone through.

    Attributes:
        dropped: versions and tombstones that are gone.
        after: where the next page begins; None after the last.
    """

    dropped: int
    after: Position | None


@dataclass(frozen=True, slots=True)
class HistorySize:
    """How much lies in the history and the trash.

    Attributes:
        versions: superseded versions.
        removed: things in the trash.
        bytes: plain bytes of both, each content counted once for every version.
    """

    versions: int
    removed: int
    bytes: int


def live_rules(database: Database, writers: Writers, entry: EntryId) -> SetRule | None:
    """The rule that was set on `entry` itself."""
    rows = database.execute(
        "SELECT slot, sequence, days, quota FROM retentions WHERE live = 1 AND entry = ?", (entry,)
    )
    if not rows:
        return None
    dots = sorted(writers.dot(slot, sequence) for slot, sequence, _, _ in rows)
    return SetRule(longest(Retention(entry, days, quota) for _, _, days, quota in rows), tuple(dots))


def all_rules(database: Database) -> dict[EntryId, Retention]:
    """Every rule in force, by what it is on."""
    found: dict[EntryId, list[Retention]] = {}
    for entry, days, quota in database.execute("SELECT entry, days, quota FROM retentions WHERE live = 1"):
        found.setdefault(EntryId(entry), []).append(Retention(EntryId(entry), days, quota))
    return {entry: longest(rules) for entry, rules in sorted(found.items())}


def history_size(database: Database) -> HistorySize:
    """How much is kept of what was."""
    [(versions, size)] = database.execute("SELECT count(*), coalesce(sum(size), 0) FROM versions WHERE ended NOT NULL")
    [(removed, trash)] = database.execute(
        "SELECT count(*), coalesce(sum(v.size), 0) FROM entries e JOIN versions v ON v.id = e.version"
        " WHERE e.alive = 0 AND e.shown = 0 AND v.deleted = 1"
    )
    return HistorySize(versions, removed, size + trash)


class Sweep:
    """One going through of all history, by the rules as they are when each page is read."""

    def __init__(self, database: Database, writers: Writers, now_ms: int) -> None:
        self._database = database
        self._writers = writers
        self._now_ms = now_ms
        self._rules = all_rules(database)
        self._days_of: dict[EntryId, int] = {ROOT_ENTRY: self._of_root().days or DEFAULT.days or 0}
        self._cuts = [self._reach(made.snapshot.cut) for made in live_snapshots(database, writers)]

    def _of_root(self) -> Retention:
        return self._rules.get(ROOT_ENTRY, DEFAULT)

    def _reach(self, cut: Vector | None) -> dict[int, int]:
        entries = {} if cut is None else cut.entries
        return {state.slot: sequence for writer, sequence in entries.items() if (state := self._writers.get(writer))}

    def days(self, entry: EntryId) -> int:
        """How long history of `entry` is kept, by its own rule or that of the nearest folder above it."""
        above: list[EntryId] = []
        at = entry
        while at not in self._days_of and len(above) < _DEPTH_MAX and at not in above:
            if (rule := self._rules.get(at)) is not None and rule.days is not None:
                self._days_of[at] = rule.days
                break
            above.append(at)
            rows = self._database.execute("SELECT parent FROM entries WHERE entry = ?", (at,))
            at = EntryId(rows[0][0]) if rows else ROOT_ENTRY
        days = self._days_of.get(at, self._days_of[ROOT_ENTRY])
        for each in above:
            self._days_of[each] = days
        if len(self._days_of) > 100_000:
            self._days_of = {ROOT_ENTRY: self._days_of[ROOT_ENTRY]}
        return days

    # --- superseded versions ------------------------------------------------------------------------------------------

    def versions(self, after: Position | None, limit: int) -> Swept:
        """Drop what is due of the next `limit` superseded versions, the longest superseded first."""
        rows = self._database.execute(
            "SELECT ended, id, slot, sequence, entry, name FROM versions WHERE ended NOT NULL AND (ended, id) > (?, ?)"
            " AND ended < ? ORDER BY ended, id LIMIT ?",
            (*(after or (-1, 0)), self._now_ms << COUNTER_BITS, limit),
        )
        due = [
            row
            for row in rows
            if is_over(self.days(EntryId(row[4])), hlc_ms(row[0]), self._now_ms) and not self._is_named(row[2], row[3])
        ]
        self._drop(due)
        return Swept(len(due), (rows[-1][0], rows[-1][1]) if len(rows) == limit else None)

    def _is_named(self, slot: int, sequence: int) -> bool:
        """Whether a snapshot shows this version."""
        for cut in self._cuts:
            if cut.get(slot, 0) < sequence:
                continue
            by = self._database.execute(
                "SELECT by_slot, by_sequence FROM replaced WHERE slot = ? AND sequence = ?", (slot, sequence)
            )
            if all(cut.get(by_slot, 0) < by_sequence for by_slot, by_sequence in by):
                return True
        return False

    def _drop(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        self._database.execute_many(
            "INSERT INTO names(names, rowid, name) VALUES('delete', ?, ?)", [(row[1], indexed(row[5])) for row in rows]
        )
        self._database.execute_many("DELETE FROM versions WHERE id = ?", [(row[1],) for row in rows])
        self._database.execute_many(
            "DELETE FROM replaced WHERE slot = ? AND sequence = ?", [(row[2], row[3]) for row in rows]
        )

    # --- the trash ----------------------------------------------------------------------------------------------------

    def trash(self, after: Position | None, limit: int) -> Swept:
        """Let go of what is due of the next `limit` things in the trash, the longest removed first.

        Their tombstones stay, so that what was removed stays removed; they name nothing that must be kept.
        """
        rows = self._database.execute(
            "SELECT e.hlc, v.id, e.entry, v.came FROM entries e JOIN versions v ON v.id = e.version"
            " WHERE e.alive = 0 AND v.deleted = 1 AND (e.hlc, v.id) > (?, ?) AND e.hlc < ?"
            " ORDER BY e.hlc, v.id LIMIT ?",
            (*(after or (-1, 0)), self._now_ms << COUNTER_BITS, limit),
        )
        due = [
            row for row in rows if is_over(self.days(EntryId(row[2])), hlc_ms(max(row[0], row[3])), self._now_ms)
        ]
        self._bury(due)
        return Swept(len(due), (rows[-1][0], rows[-1][1]) if len(rows) == limit else None)

    def _bury(self, rows: Sequence[tuple[Any, ...]]) -> None:
        # every tombstone of the entry: two machines may have removed it at once
        self._database.execute_many(
            "UPDATE versions SET deleted = 2 WHERE entry = ? AND live = 1 AND deleted = 1", [(row[2],) for row in rows]
        )

    # --- the quota ----------------------------------------------------------------------------------------------------

    def over_quota(self, limit: int) -> int:
        """Drop history beyond the quota: what ended first goes first, nothing younger than HISTORY_FLOOR_DAYS.

        Returns how many, at most about `limit`: call it again while it drops something.
        """
        quota = self._of_root().quota_bytes
        if quota is None:
            return 0
        excess = history_size(self._database).bytes - quota
        if excess <= 0:
            return 0
        oldest = max(0, self._now_ms - HISTORY_FLOOR_DAYS * 86_400_000) << COUNTER_BITS
        versions = self._database.execute(
            "SELECT ended, id, slot, sequence, entry, name, size FROM versions WHERE ended NOT NULL AND ended < ?"
            " AND size > 0 ORDER BY ended, id LIMIT ?",
            (oldest, limit),
        )
        removed = self._database.execute(
            "SELECT e.hlc, v.id, e.entry, v.size FROM entries e JOIN versions v ON v.id = e.version"
            " WHERE e.alive = 0 AND v.deleted = 1 AND e.hlc < ?1 AND v.came < ?1 AND v.size > 0"
            " ORDER BY e.hlc, v.id LIMIT ?2",
            (oldest, limit),
        )
        dropped = 0
        # of both lists together only the first `limit` are the oldest
        for row in sorted([*versions, *removed], key=lambda each: (each[0], each[1]))[:limit]:
            if excess <= 0:
                break
            if len(row) == 4:
                self._bury([row])
            elif self._is_named(row[2], row[3]):
                continue
            else:
                self._drop([row])
            excess -= row[-1]
            dropped += 1
        return dropped
