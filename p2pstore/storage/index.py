"""The index of a store: which shard lies where, in SQLite. It says nothing that the packs do not say, so it may lag
behind them after a power cut and be rebuilt from them when it is damaged."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from p2pstore.errors import DatabaseDamaged
from p2pstore.ids import EncodingId, ShardId, StoreId
from p2pstore.seams.disk import Database, Disk, Row
from p2pstore.storage.entries import NO_PACK, Entry, ShardState
from p2pstore.storage.records import RECORD_HEADER_BYTES
from p2pstore.storage.space import PackUse

INDEX_NAME: Final = "index.sqlite"
INDEX_FILES: Final = (INDEX_NAME, f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm", f"{INDEX_NAME}-journal")

SCHEMA_VERSION: Final = 1

EPOCH_BYTES: Final = 8

_SCHEMA: Final = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID",
    "CREATE TABLE packs (pack INTEGER PRIMARY KEY, length INTEGER NOT NULL, live_bytes INTEGER NOT NULL)",
    """CREATE TABLE shards (
        change INTEGER PRIMARY KEY,
        encoding BLOB NOT NULL,
        number INTEGER NOT NULL,
        state INTEGER NOT NULL,
        stamp INTEGER NOT NULL,
        pack INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        header_bytes INTEGER NOT NULL,
        payload_bytes INTEGER NOT NULL,
        payload_hash BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX shards_by_id ON shards (encoding, number)",
    "CREATE INDEX shards_by_pack ON shards (pack)",
)

_COLUMNS: Final = "change, encoding, number, state, stamp, pack, offset, header_bytes, payload_bytes, payload_hash"


_STATES: Final = {int(state): state for state in ShardState}


def _entry(row: Row) -> Entry:
    change, encoding, number, state, *rest = row
    if state not in _STATES:
        raise DatabaseDamaged(f"index: state {state}")
    return Entry(change, ShardId(EncodingId(encoding), number), _STATES[state], *rest)


def _row(entry: Entry) -> Row:
    change, (encoding, number), state, *rest = entry
    return (change, encoding, number, int(state), *rest)


class Index:
    """Typed access to the index database. Calls block; one thread at a time inside a transaction."""

    def __init__(self, database: Database, epoch: bytes, *, new: bool) -> None:
        self._database = database
        self._epoch = epoch
        self._closed = False
        self.new = new
        """True if it was made just now and knows nothing."""

    @classmethod
    def open(cls, disk: Disk, store: StoreId, rng: random.Random) -> Index:
        """Open the index of `store`, or make an empty one.

        Raises:
            DatabaseDamaged: it is not sound, is another store's, or was written by a newer build: it must be rebuilt.
            Busy: another process has this store open.
        """
        database = disk.open_database(INDEX_NAME, rebuildable=True)
        try:
            if new := not database.execute("SELECT 1 FROM sqlite_master LIMIT 1"):
                cls._make(database, store, rng)
            return cls(database, cls._check(database, store), new=new)
        except BaseException:
            database.close()
            raise

    @staticmethod
    def _make(database: Database, store: StoreId, rng: random.Random) -> None:
        facts = [
            ("schema", SCHEMA_VERSION),
            ("store", store),
            ("epoch", rng.randbytes(EPOCH_BYTES)),
            ("last_stamp", 0),
        ]
        with database.transaction():
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute_many("INSERT INTO facts VALUES (?, ?)", facts)

    @staticmethod
    def _check(database: Database, store: StoreId) -> bytes:
        """The epoch, if everything else is as it should be."""
        if (verdict := database.execute("PRAGMA quick_check(1)")) != [("ok",)]:
            raise DatabaseDamaged(f"index: {verdict[0][0]}")
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if not tables >= {"facts", "packs", "shards", "shards_by_id", "shards_by_pack"}:
            raise DatabaseDamaged("index: tables are missing")
        facts: dict[str, Any] = dict(database.execute("SELECT name, value FROM facts"))
        if facts.get("schema") != SCHEMA_VERSION or facts.get("store") != store:
            raise DatabaseDamaged("index: another schema or another store")
        found = facts.get("epoch")
        if not isinstance(found, bytes) or len(found) != EPOCH_BYTES:
            raise DatabaseDamaged("index: no epoch")
        return found

    @staticmethod
    def remove(disk: Disk) -> None:
        """Delete the database's files, durably, so that `open` makes an empty one."""
        for name in INDEX_FILES:
            disk.remove(name)
        disk.sync_folder()

    @property
    def epoch(self) -> bytes:
        """Changes whenever the change feed can no longer be continued from an old counter."""
        return self._epoch

    def transaction(self) -> AbstractContextManager[None]:
        """See seams.disk.Database.transaction."""
        return self._database.transaction()

    def sync(self) -> None:
        """Every transaction so far survives a power cut once this returns."""
        self._database.execute("PRAGMA wal_checkpoint(FULL)")

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    def close(self) -> None:
        """Let go of the database."""
        if not self._closed:
            self._closed = True
            self._database.close()

    # --- shards ---------------------------------------------------------------------------------------------------

    def find(self, shard: ShardId) -> Entry | None:
        """What is known of `shard`."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM shards WHERE encoding = ? AND number = ?",  # noqa: S608
            shard,
        )
        return _entry(rows[0]) if rows else None

    def write(self, entries: Iterable[Entry]) -> None:
        """Store `entries`, each in place of what was known of its shard."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, entries)
        )

    def change_taken(self, change: int) -> bool:
        """True if some shard has this position in the feed."""
        return bool(self._database.execute("SELECT 1 FROM shards WHERE change = ?", (change,)))

    def numbers_of(self, encoding: EncodingId) -> list[int]:
        """Indices of the shards of `encoding` that are held intact, ascending."""
        rows = self._database.execute(
            "SELECT number FROM shards WHERE encoding = ? AND state = 0 ORDER BY number", (encoding,)
        )
        return [number for (number,) in rows]

    def after(self, change: int, limit: int) -> list[Entry]:
        """The first `limit` entries whose last change is later than `change`, in order."""
        return self._select("change > ? ORDER BY change LIMIT ?", (change, limit))

    def damaged(self, limit: int) -> list[ShardId]:
        """Up to `limit` shards in quarantine, oldest first."""
        return [entry.shard for entry in self._select("state = 2 ORDER BY change LIMIT ?", (limit,))]

    def in_pack(self, pack: int, limit: int) -> list[Entry]:
        """Up to `limit` entries whose record lies in `pack`."""
        return self._select("pack = ? ORDER BY change LIMIT ?", (pack, limit))

    def beyond(self, pack: int, length: int) -> list[Entry]:
        """Entries whose record lies in `pack` but ends after `length`."""
        return [entry for entry in self._select("pack = ?", (pack,)) if entry.offset + entry.record_bytes > length]

    def _select(self, where: str, parameters: Sequence[int]) -> list[Entry]:
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM shards WHERE {where}", parameters)  # noqa: S608
        return list(map(_entry, rows))

    def count(self, state: ShardState) -> int:
        """How many shards are in `state`."""
        return int(self._database.execute("SELECT count(*) FROM shards WHERE state = ?", (int(state),))[0][0])

    def last_change(self) -> int:
        """The largest position in the change feed; 0 if it is empty."""
        return int(self._database.execute("SELECT ifnull(max(change), 0) FROM shards")[0][0])

    def last_stamp(self) -> int:
        """The largest stamp or change that was ever given out, as far as the index knows."""
        rows = self._database.execute(
            "SELECT max((SELECT value FROM facts WHERE name = 'last_stamp'), ifnull(max(change), 0)) FROM shards"
        )
        return int(rows[0][0])

    # --- packs ----------------------------------------------------------------------------------------------------

    def packs(self) -> dict[int, PackUse]:
        """All packs, by number."""
        rows = self._database.execute("SELECT pack, length, live_bytes FROM packs ORDER BY pack")
        return {pack: PackUse(pack, length, live_bytes) for pack, length, live_bytes in rows}

    def write_packs(self, packs: Iterable[PackUse]) -> None:
        """Store the figures of `packs`."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO packs VALUES (?, ?, ?)", [(use.pack, use.length, use.live_bytes) for use in packs]
        )

    def forget_pack(self, pack: int) -> None:
        """Take `pack` off the list; no entry may lie in it."""
        self._database.execute("DELETE FROM packs WHERE pack = ?", (pack,))

    def recount_packs(self) -> None:
        """Compute the living bytes of every pack anew."""
        self._database.execute(
            """UPDATE packs SET live_bytes = ifnull((
                SELECT sum(? + header_bytes + payload_bytes) FROM shards
                WHERE shards.pack = packs.pack AND state IN (0, 1)), 0)""",
            (RECORD_HEADER_BYTES,),
        )

    # --- drops that need no record any more -----------------------------------------------------------------------

    def count_forgettable(self) -> int:
        """Drops that only the change feed still remembers."""
        rows = self._database.execute("SELECT count(*) FROM shards WHERE pack = ? AND state = 1", (NO_PACK,))
        return int(rows[0][0])

    def forget_drops(self, rng: random.Random) -> None:
        """Forget them. The feed cannot be continued across that, so a new epoch begins."""
        epoch = rng.randbytes(EPOCH_BYTES)
        with self._database.transaction():
            self._database.execute("UPDATE facts SET value = ? WHERE name = 'last_stamp'", (self.last_stamp(),))
            self._database.execute("DELETE FROM shards WHERE pack = ? AND state = 1", (NO_PACK,))
            self._database.execute("UPDATE facts SET value = ? WHERE name = 'epoch'", (epoch,))
        self._epoch = epoch
