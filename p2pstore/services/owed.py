"""The durable list of stripes that are owed to their promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from p2pstore.ids import EncodingId, encoding_id
from p2pstore.seams.disk import Database, Disk
from p2pstore.seams.workers import Workers

DATABASE_NAME: Final = "owed.db"


class OwedStripes:
    """A table of encodings, one thread at a time."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._turn = trio.Lock()

    @classmethod
    async def open(cls, disk: Disk, workers: Workers) -> OwedStripes:
        """Open or create the list in `disk`."""

        def opening() -> Database:
            database = disk.open_database(DATABASE_NAME)
            database.execute("CREATE TABLE IF NOT EXISTS owed(encoding BLOB PRIMARY KEY) WITHOUT ROWID")
            return database

        return cls(await workers.run(opening), workers)

    async def owed(self) -> list[EncodingId]:
        """Every owed stripe, sorted."""

        def reading() -> list[EncodingId]:
            rows = self._database.execute("SELECT encoding FROM owed ORDER BY encoding")
            return [encoding_id(row[0]) for row in rows]

        async with self._turn:
            return await self._workers.run(reading)

    async def add_owed(self, encodings: Sequence[EncodingId]) -> None:
        """Add to the list; durable on return."""
        await self._change("INSERT OR IGNORE INTO owed VALUES(?)", encodings)

    async def remove_owed(self, encodings: Sequence[EncodingId]) -> None:
        """Take from the list."""
        await self._change("DELETE FROM owed WHERE encoding = ?", encodings)

    async def _change(self, sql: str, encodings: Sequence[EncodingId]) -> None:
        def writing() -> None:
            with self._database.transaction():
                self._database.execute_many(sql, [(encoding,) for encoding in encodings])

        async with self._turn:
            await self._workers.run(writing, cost_s=0.001)

    async def close(self) -> None:
        """Let go of the file."""
        async with self._turn:
            await self._workers.run(self._database.close)
