"""Fills new tables and columns of later schema versions from what an older ledger has: its commits and versions."""

from __future__ import annotations

from typing import Final

from p2pstore.ledger.live_dots import LiveDots
from p2pstore.ledger.row_check import row_check
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.name_match import indexed
from p2pstore.metadata.operations import SealedOperation, readable_operations
from p2pstore.metadata.vector import writer_of
from p2pstore.seams.disk import Database

_PAGE: Final = 200
"""Commits held in memory: at most 900 KiB each, far less as a rule."""


def fill_history(database: Database) -> None:
    """Times of commits, who superseded whom, and the index of names. Inside a transaction.

    Which operation superseded which stands in the clear header of an operation; it counted if the operation's version
    was taken into the tree.
    """
    slots = {
        (bytes(author), bytes(incarnation)): slot
        for slot, author, incarnation in database.execute("SELECT slot, author, incarnation FROM writers")
    }
    last = 0
    while rows := database.execute(
        "SELECT id, slot, raw FROM commits WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE)
    ):
        for number, slot, raw in rows:
            last = number
            commit = decode_commit(raw)
            database.execute("UPDATE commits SET hlc = ? WHERE id = ?", (commit.hlc, number))
            for sequence, operation in readable_operations(commit.operations, commit.writer, first=commit.first):
                if not isinstance(operation, SealedOperation) or not operation.superseded:
                    continue
                if database.execute("SELECT 1 FROM versions WHERE slot = ? AND sequence = ?", (slot, sequence)):
                    database.execute_many(
                        "INSERT OR IGNORE INTO replaced VALUES(?, ?, ?, ?)",
                        [(slots[writer_of(dot)], dot.sequence, slot, sequence) for dot in operation.superseded],
                    )
    last = 0
    while rows := database.execute("SELECT id, name FROM versions WHERE id > ? ORDER BY id LIMIT 1000", (last,)):
        database.execute_many(
            "INSERT INTO names(rowid, name) VALUES(?, ?)", [(number, indexed(name)) for number, name in rows]
        )
        last = rows[-1][0]


def fill_live(database: Database) -> None:
    """Schema version 5: which operations are live, their fingerprint, and a check in each row of `versions`. Inside a
    transaction."""
    writers = Writers(database)
    live = LiveDots(database, writers)
    last = 0
    while rows := database.execute("SELECT id, raw FROM commits WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE)):
        for number, raw in rows:
            last = number
            commit = decode_commit(raw)
            for _, operation in readable_operations(commit.operations, commit.writer):
                if isinstance(operation, SealedOperation):
                    live.bury(operation.superseded)
    live.recompute()
    live.write()
    last = 0
    while rows := database.execute(
        "SELECT slot, sequence, hlc, entry, parent, name, kind, content, size, mtime_ns, mode, deleted, former, id"
        " FROM versions WHERE id > ? ORDER BY id LIMIT 1000",
        (last,),
    ):
        database.execute_many(
            "UPDATE versions SET row_check = ? WHERE id = ?", [(row_check(row[:13]), row[13]) for row in rows]
        )
        last = rows[-1][13]
