"""The durable memory of watched folders: which there are, and what each path was like when the store had the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import trio

from p2pstore.errors import DatabaseDamaged
from p2pstore.metadata.watching import Known, Watch, pack_dots, pack_watch, read_dots, read_watch
from p2pstore.seams.disk import Database, Disk
from p2pstore.seams.local_files import Stamp
from p2pstore.seams.workers import Workers

DATABASE_NAME: Final = "watches.db"

DAMAGED_NAME: Final = "watches.db.damaged"
"""Where a damaged one goes. Without it folders must be added anew; nothing that is stored is stored a second time."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS watches(number INTEGER PRIMARY KEY AUTOINCREMENT, watch BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS known(watch INTEGER NOT NULL, folder BLOB NOT NULL, path BLOB NOT NULL,
      kind TEXT NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
      mode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, dots BLOB NOT NULL,
      PRIMARY KEY(watch, folder, path)) WITHOUT ROWID""",
)

T = TypeVar("T")


class WatchStore:
    """Tables in a database of their own, which is made when the first folder is watched."""

    def __init__(self, disk: Disk, workers: Workers) -> None:
        self._disk = disk
        self._workers = workers
        self._database: Database | None = None
        self._turn = trio.Lock()

    @property
    def _there(self) -> Database:
        if self._database is None:
            self._database = self._open()
        return self._database

    def _open(self) -> Database:
        try:
            return self._opened()
        except DatabaseDamaged:
            for suffix in ("", "-wal", "-shm"):
                if DATABASE_NAME + suffix in self._disk.names():
                    self._disk.rename(DATABASE_NAME + suffix, DAMAGED_NAME + suffix)
            return self._opened()

    def _opened(self) -> Database:
        database = self._disk.open_database(DATABASE_NAME)
        with database.transaction():
            for table in _TABLES:
                database.execute(table)
        return database

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await self._workers.run(work)

    async def close(self) -> None:
        """Let go of the file."""
        async with self._turn:
            if self._database is not None:
                await self._workers.run(self._database.close)
                self._database = None

    # --- folders --------------------------------------------------------------------------------------------------

    async def watches(self) -> list[Watch]:
        """Every watched folder, oldest first."""

        def reading() -> list[Watch]:
            if self._database is None and DATABASE_NAME not in self._disk.names():
                return []
            return [read_watch(*row) for row in self._there.execute("SELECT * FROM watches ORDER BY number")]

        return await self._do(reading)

    async def add(
        self, local: bytes, target: tuple[bytes, ...], *, ignored: tuple[str, ...], added_s: float
    ) -> Watch:
        """Remember a folder; durable on return."""
        watch = Watch(0, local, target, False, ignored, added_s)

        def writing() -> int:
            with self._there.transaction():
                self._there.execute("INSERT INTO watches(watch) VALUES(?)", (pack_watch(watch),))
                [(number,)] = self._there.execute("SELECT last_insert_rowid()")
            return int(number)

        return replace(watch, number=await self._do(writing))

    async def remove(self, watch: Watch) -> None:
        """Forget a folder and all that is known of it."""

        def writing() -> None:
            with self._there.transaction():
                self._there.execute("DELETE FROM watches WHERE number = ?", (watch.number,))
                self._there.execute("DELETE FROM known WHERE watch = ?", (watch.number,))

        await self._do(writing)

    # --- what is known --------------------------------------------------------------------------------------------

    async def count(self, watch: Watch) -> int:
        """How many paths are known."""

        def reading() -> int:
            sql = "SELECT count(*) FROM known WHERE watch = ? AND path != x''"
            [(count,)] = self._there.execute(sql, (watch.number,))
            return int(count)

        return await self._do(reading)

    async def known(self, watch: Watch, path: bytes) -> Known | None:
        """What is known of a path."""
        sql = "SELECT * FROM known WHERE watch = ? AND folder = ? AND path = ?"
        rows = await self._do(lambda: self._there.execute(sql, (watch.number, path.rpartition(b"/")[0], path)))
        return _read_known(rows[0]) if rows else None

    async def inside(self, watch: Watch, folder: bytes) -> dict[bytes, Known]:
        """What is known of the names in a folder, by path."""
        sql = "SELECT * FROM known WHERE watch = ? AND folder = ? AND path != x'' ORDER BY path"
        rows = await self._do(lambda: self._there.execute(sql, (watch.number, folder)))
        return {row[2]: _read_known(row) for row in rows}

    async def below(self, watch: Watch, folder: bytes) -> dict[bytes, Known]:
        """What is known of all below a folder, by path."""

        def reading() -> list[Any]:
            number = watch.number
            if not folder:
                sql = "SELECT * FROM known WHERE watch = ? AND path != x''"
                return self._there.execute(sql, (number,))
            sql = "SELECT * FROM known WHERE watch = ? AND folder = ?"
            deeper = "SELECT * FROM known WHERE watch = ? AND folder > ? AND folder < ?"
            return [
                *self._there.execute(sql, (number, folder)),
                *self._there.execute(deeper, (number, folder + b"/", folder + b"0")),  # "0" is next to "/"
            ]

        return {row[2]: _read_known(row) for row in sorted(await self._do(reading), key=lambda row: row[2])}

    async def learn(self, watch: Watch, known: Sequence[Known], *, forget: Sequence[bytes] = ()) -> None:
        """Keep what is known now, in place of what was known of the same paths and of those to forget; durable on
        return."""
        rows = [
            (
                watch.number, each.path.rpartition(b"/")[0], each.path, each.stamp.kind, _signed(each.stamp.device),
                _signed(each.stamp.inode), each.stamp.size, each.stamp.mode, each.stamp.mtime_ns, each.stamp.ctime_ns,
                pack_dots(each.dots),
            )
            for each in known
        ]  # fmt: skip
        gone = [(watch.number, path.rpartition(b"/")[0], path) for path in forget]

        def writing() -> None:
            with self._there.transaction():
                self._there.execute_many("DELETE FROM known WHERE watch = ? AND folder = ? AND path = ?", gone)
                self._there.execute_many("INSERT OR REPLACE INTO known VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

        if rows or gone:
            await self._do(writing)


def _read_known(row: Sequence[Any]) -> Known:
    _, _, path, kind, device, inode, size, mode, mtime_ns, ctime_ns, dots = row
    stamp = Stamp(kind, device % 2**64, inode % 2**64, size, mode, mtime_ns, ctime_ns)
    return Known(path, stamp, read_dots(dots))


def _signed(number: int) -> int:
    """SQLite's integers are signed; some file systems use all 64 bits of an inode."""
    return number - 2**64 if number >= 2**63 else number
