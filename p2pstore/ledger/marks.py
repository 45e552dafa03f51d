"""Tags and snapshots in the ledger's rows."""

from __future__ import annotations

from dataclasses import dataclass

from p2pstore.ids import Dot, EntryId
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.marks import Snapshot
from p2pstore.metadata.vector import Vector
from p2pstore.seams.disk import Database


@dataclass(frozen=True, slots=True)
class MadeSnapshot:
    """A snapshot and what its commit says about it.

    Attributes:
        snapshot: its name and cut.
        dot: the operation that made it; its author made the snapshot.
        hlc: when.
    """

    snapshot: Snapshot
    dot: Dot
    hlc: int


def live_snapshots(database: Database, writers: Writers, *, name: str | None = None) -> list[MadeSnapshot]:
    """Snapshots that nobody took away, those of one name or all, the latest first."""
    rows = database.execute(
        "SELECT slot, sequence, hlc, id, name, cut FROM snapshots WHERE live = 1 AND (?1 IS NULL OR name = ?1)"
        " ORDER BY hlc DESC, id",
        (name,),
    )
    return [
        MadeSnapshot(Snapshot(number, named, Vector.decode(cut)), writers.dot(slot, sequence), hlc)
        for slot, sequence, hlc, number, named, cut in rows
    ]


def live_tag_dots(database: Database, writers: Writers, entry: EntryId, word: str) -> list[Dot]:
    """The operations that put `word` on `entry` and that nothing superseded, sorted."""
    rows = database.execute(
        "SELECT slot, sequence FROM tags WHERE live = 1 AND entry = ? AND word = ?", (entry, word)
    )
    return sorted(writers.dot(slot, sequence) for slot, sequence in rows)


def tags_of(database: Database, entry: EntryId) -> list[str]:
    """The tags on `entry`, sorted."""
    rows = database.execute("SELECT DISTINCT word FROM tags WHERE live = 1 AND entry = ? ORDER BY word", (entry,))
    return [word for (word,) in rows]


def all_tags(database: Database) -> list[tuple[str, int]]:
    """Every tag in use and how many entries have it, by word."""
    rows = database.execute(
        "SELECT word, count(DISTINCT entry) FROM tags WHERE live = 1 GROUP BY word ORDER BY word LIMIT 10000"
    )
    return [(word, count) for word, count in rows]
